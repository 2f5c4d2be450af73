//! A queue that runs moves to another tier's key: never without encryption, nobody shut out, no message lost.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::life::{apply_examples, platform};
use crate::world::{ACCOUNT, World};

#[tokio::test]
async fn another_tier_gives_the_queue_another_key_and_messages_stay_readable() {
    let world = World::with_operator().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders"]).await;
    let before = world.until_ready("acme-prod", "orders").await.status.unwrap();
    let (url, old) = (before.queue.clone().unwrap().url, before.key.clone().unwrap());
    let (sqs, kms) = (world.sqs(ACCOUNT, "eu-west-1").await, world.kms(ACCOUNT, "eu-west-1").await);
    sqs.send_message().queue_url(&url).message_body("sent before").send().await.unwrap();

    let mark = world.proxy.mark();
    world.change_queue("acme-prod", "orders", json!({"spec": {"sensitivityTier": "internal", "key": null}})).await;
    world.until_condition("acme-prod", "orders", "Ready", "False", "Migrating").await;
    assert_eq!(world.attributes(&sqs, &url).await.get("KmsMasterKeyId"), old.arn.as_ref(), "the new key settles first");
    let after = world.until_ready("acme-prod", "orders").await.status.unwrap();
    let new = after.key.clone().unwrap();
    assert_ne!((&new.name, &new.arn), (&old.name, &old.arn));
    for queue in [&url, &after.dead_letter_queue.as_ref().unwrap().url] {
        assert_eq!(world.attributes(&sqs, queue).await.get("KmsMasterKeyId"), new.arn.as_ref());
    }
    assert_eq!(sqs.list_queue_tags().queue_url(&url).send().await.unwrap().tags.unwrap()["encryptedqueue.dev/sensitivity-tier"], "internal");
    let previous = &after.previous_keys;
    assert!(previous.len() == 1 && previous[0].managed && previous[0].name.as_ref() == Some(&old.name), "{previous:?}");

    // The old key stays, enabled and for the consumers, and the message that is under it is read.
    let policy = kms.get_key_policy().key_id(old.arn.clone().unwrap()).send().await.unwrap().policy.unwrap();
    assert!(policy.contains("acme-orders-worker"), "{policy}");
    let old_arn = old.arn.clone().unwrap();
    assert!(kms.describe_key().key_id(&old_arn).send().await.unwrap().key_metadata.unwrap().enabled());
    let received = sqs.receive_message().queue_url(&url).send().await.unwrap();
    assert_eq!(received.messages()[0].body(), Some("sent before"));
    let retiring = async || world.keys().get(&old.name).await.unwrap().status.unwrap().retirement.is_some();
    world.until("the old QueueKey says until when it is needed", retiring).await;
    let operations: Vec<_> = world.proxy.writes_since(mark).into_iter().map(|call| call.operation).collect();
    assert!(!operations.iter().any(|name| name == "DisableKey" || name == "ScheduleKeyDeletion"), "{operations:?}");
    let events = world.events("acme-prod", "orders").await;
    assert!(events.iter().any(|(reason, _)| reason == "Migrating"), "{events:?}");

    // The key that messages are under is not forgotten with the record of it.
    let fields = ["queue", "deadLetterQueue", "key", "previousKeys", "conditions", "appliedSha256", "observedGeneration"];
    let nothing: serde_json::Map<_, _> = fields.iter().map(|field| ((*field).to_owned(), json!(null))).collect();
    let cleared = Patch::Merge(json!({"status": nothing}));
    world.queues("acme-prod").patch_status("orders", &PatchParams::default(), &cleared).await.unwrap();
    let found_again = async || {
        let status = world.queue("acme-prod", "orders").await.status.unwrap();
        status.key.as_ref() == Some(&new) && status.previous_keys.iter().any(|previous| previous.name.as_ref() == Some(&old.name))
    };
    world.until("both keys are on record again", found_again).await;
    world.until_ready("acme-prod", "orders").await;
    let policies: Vec<_> = world.proxy.writes_since(mark).into_iter().filter(|call| call.operation == "PutKeyPolicy").collect();
    let still = kms.get_key_policy().key_id(old_arn).send().await.unwrap().policy.unwrap();
    assert!(still.contains("acme-orders-worker"), "{still} after {policies:?}");
}

#[tokio::test]
async fn leaving_a_tier_with_approval_needs_one() {
    let world = World::with_operator().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders"]).await;
    world.until_ready("acme-prod", "orders").await;
    world.change_tier("restricted", json!({"spec": {"approval": "OnWidening"}})).await;
    world.change_queue("acme-prod", "orders", json!({"spec": {"sensitivityTier": "internal", "key": null}})).await;
    world.until_condition("acme-prod", "orders", "AccessInSync", "False", "AwaitingApproval").await;
    assert_eq!(world.proxy.effects("CreateKey"), 1, "no key is made before somebody else agrees");
    world.change_tier("restricted", json!({"spec": {"approval": "None"}})).await;
    world.until_ready("acme-prod", "orders").await;
    assert_eq!(world.proxy.effects("CreateKey"), 2);
}
