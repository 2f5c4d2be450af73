//! Queues that were there before: taken over with their messages, never encrypted less than they were, or left alone with the reason said.

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;

use crate::life::{apply_examples, platform};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";

/// What the example's queue was before anyone declared it.
async fn exists(world: &World, name: &str, attributes: &[(&str, &str)]) -> String {
    let attributes = attributes.iter().map(|(name, value)| (QueueAttributeName::from(*name), (*value).to_owned())).collect();
    let sqs = world.sqs(ACCOUNT, REGION).await;
    let made = sqs.create_queue().queue_name(name).set_attributes(Some(attributes)).tags("team", "legacy").send().await.unwrap();
    made.queue_url.unwrap()
}

async fn may_be_adopted(world: &World, names: &[&str]) {
    world.change_tenant("acme", json!({"spec": {"adoptableQueueNames": names}})).await;
}

async fn declare(world: &World, change: serde_json::Value) {
    let text = std::fs::read_to_string(format!("{}/examples/queue-orders.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut queue: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    queue["spec"]["adoption"] = "IfUnowned".into();
    for (field, value) in change.as_object().unwrap() {
        queue["spec"][field] = value.clone();
    }
    world.apply_object(&queue).await;
}

#[tokio::test]
async fn a_queue_under_a_foreign_key_is_taken_over_with_its_messages() {
    let world = World::with_operator().await;
    platform(&world).await;
    may_be_adopted(&world, &["acme-orders*"]).await;
    let (sqs, kms) = (world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    let foreign = kms.create_key().description("theirs").send().await.unwrap().key_metadata.unwrap();
    let foreign_arn = foreign.arn.clone().unwrap();
    let foreign_policy = kms.get_key_policy().key_id(&foreign_arn).send().await.unwrap().policy;
    let dead = exists(&world, "acme-orders-old-dlq", &[("SqsManagedSseEnabled", "true")]).await;
    let redrive = json!({"deadLetterTargetArn": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:acme-orders-old-dlq"), "maxReceiveCount": 7}).to_string();
    // Declared without: stays. Declared with 345,600 by default: stays too.
    let found =
        [("KmsMasterKeyId", foreign.key_id.as_str()), ("VisibilityTimeout", "77"), ("MessageRetentionPeriod", "172800"), ("RedrivePolicy", &redrive)];
    let url = exists(&world, "acme-orders", &found).await;
    sqs.send_message().queue_url(&url).message_body("sent before").send().await.unwrap();

    // Its dead-letter queue must be named.
    declare(&world, json!({"queue": {"name": "acme-orders"}, "deadLetter": {}})).await;
    let refused = world.until_condition("acme-prod", "orders", "QueueReady", "False", "QueueNotAdoptable").await;
    let says = crate::bad_input::message(&refused, "QueueReady");
    assert!(says.contains("declare spec.deadLetter.name: acme-orders-old-dlq"), "{says}");
    assert_eq!(world.proxy.effects("CreateKey"), 1, "no key is made for it but theirs");
    world.queues("acme-prod").delete("orders", &kube::api::DeleteParams::default()).await.unwrap();
    world.until("the declaration has gone", async || world.queues("acme-prod").get_opt("orders").await.unwrap().is_none()).await;

    declare(&world, json!({"queue": {"name": "acme-orders"}, "deadLetter": {"name": "acme-orders-old-dlq"}})).await;
    let moving = world.until_condition("acme-prod", "orders", "Ready", "False", "Migrating").await;
    assert!(moving.status.unwrap().queue.is_none(), "not its own yet");
    assert_eq!(world.attributes(&sqs, &url).await["KmsMasterKeyId"], foreign.key_id, "the new key settles first");
    let adopted = world.until_ready("acme-prod", "orders").await;
    let status = adopted.status.clone().unwrap();
    let own = status.key.clone().unwrap().arn.unwrap();
    for queue in [&url, &dead] {
        let attributes = world.attributes(&sqs, queue).await;
        assert_eq!(attributes["KmsMasterKeyId"], own);
        let tags = sqs.list_queue_tags().queue_url(queue).send().await.unwrap().tags.unwrap();
        assert_eq!((tags["team"].as_str(), tags["encryptedqueue.dev/tenant"].as_str()), ("legacy", "acme"));
    }
    let attributes = world.attributes(&sqs, &url).await;
    assert_eq!((attributes["VisibilityTimeout"].as_str(), attributes["MessageRetentionPeriod"].as_str()), ("77", "172800"));
    let received = sqs.receive_message().queue_url(&url).send().await.unwrap();
    assert_eq!(received.messages()[0].body(), Some("sent before"));

    // What is theirs is as it was, and its owner is told what to keep.
    let [previous] = &status.previous_keys[..] else { panic!("{:?}", status.previous_keys) };
    assert_eq!((previous.arn.as_str(), previous.managed), (foreign_arn.as_str(), false));
    let says = world.until_condition("acme-prod", "orders", "KeyReady", "True", "ForeignKeyUnverified").await;
    let says = crate::bad_input::message(&says, "KeyReady");
    assert!(says.contains(&foreign_arn) && says.contains("role/acme-orders-worker"), "{says}");
    assert_eq!(kms.get_key_policy().key_id(&foreign_arn).send().await.unwrap().policy, foreign_policy);
    assert!(kms.list_resource_tags().key_id(&foreign_arn).send().await.unwrap().tags().is_empty());
    let events = world.events("acme-prod", "orders").await;
    assert!(events.iter().any(|(reason, note)| reason == "Applied" && note.contains("tag queue acme-orders")), "{events:?}");
}

#[tokio::test]
async fn without_a_key_or_under_the_default_one_it_is_taken_over_at_no_moment_encrypted_less() {
    let world = World::with_operator().await;
    platform(&world).await;
    may_be_adopted(&world, &["acme-*"]).await;
    let sqs = world.sqs(ACCOUNT, REGION).await;
    let mut urls = Vec::new();
    for (name, found) in
        [("plain", ("SqsManagedSseEnabled", "false")), ("managed", ("SqsManagedSseEnabled", "true")), ("shared", ("KmsMasterKeyId", "alias/aws/sqs"))]
    {
        let queue = format!("acme-{name}");
        let url = exists(&world, &queue, &[found]).await;
        sqs.send_message().queue_url(&url).message_body(name).send().await.unwrap();
        urls.push((name, url));
        let text = std::fs::read_to_string(format!("{}/examples/queue-orders.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let mut declared: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        declared["metadata"]["name"] = name.into();
        declared["spec"]["queue"] = json!({"name": queue});
        declared["spec"]["adoption"] = "IfUnowned".into();
        world.apply_object(&declared).await;
    }
    for (name, url) in &urls {
        let status = world.until_ready("acme-prod", name).await.status.unwrap();
        let attributes = world.attributes(&sqs, url).await;
        assert_eq!(Some(&attributes["KmsMasterKeyId"]), status.key.unwrap().arn.as_ref());
        let received = sqs.receive_message().queue_url(url).send().await.unwrap();
        assert_eq!(received.messages()[0].body(), Some(*name));
    }
    // Encryption is changed by one call each, which names the key.
    for call in world.proxy.writes().iter().filter(|call| call.is("SetQueueAttributes") && call.access_key == "operator") {
        assert!(
            call.request.to_string().contains("KmsMasterKeyId") && !call.request.to_string().contains("SqsManagedSseEnabled"),
            "{}",
            call.request
        );
    }
}

#[tokio::test]
async fn another_owner_is_named_and_the_tenant_decides() {
    let world = World::with_operator().await;
    platform(&world).await;
    let sqs = world.sqs(ACCOUNT, REGION).await;
    let url = exists(&world, "acme-orders", &[]).await;
    let tags = [("cluster", "another"), ("object", "shop/orders"), ("tenant", "acme")];
    let tags = tags.map(|(name, value)| (format!("encryptedqueue.dev/{name}"), value.to_owned()));
    sqs.tag_queue().queue_url(&url).set_tags(Some(tags.clone().into())).send().await.unwrap();
    declare(&world, json!({"queue": {"name": "acme-orders"}})).await;
    let conflict = world.until_condition("acme-prod", "orders", "QueueReady", "False", "QueueConflict").await;
    let says = crate::bad_input::message(&conflict, "QueueReady");
    assert!(says.contains("belongs to shop/orders of cluster another"), "{says}");

    sqs.untag_queue().queue_url(&url).set_tag_keys(Some(tags.iter().map(|(name, _)| name.clone()).collect())).send().await.unwrap();
    world.change_queue("acme-prod", "orders", json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": "1"}}})).await;
    let refused = world.until_condition("acme-prod", "orders", "QueueReady", "False", "QueueNotAdoptable").await;
    let says = crate::bad_input::message(&refused, "QueueReady");
    assert!(says.contains("spec.adoptableQueueNames of Tenant acme does not have it"), "{says}");
    assert!(world.proxy.writes().iter().all(|call| call.access_key != "operator" || !call.took_effect), "nothing is written");
    may_be_adopted(&world, &["acme-orders"]).await;
    world.until_ready("acme-prod", "orders").await;
    apply_examples(&world, &["queue-orders"]).await;
    world.until_ready("acme-prod", "orders").await;
}
