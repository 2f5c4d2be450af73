//! A key of a tenant: many queues, another key when its policy is full, one queue a name, and queues that stay when their objects go.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::DeleteParams;
use serde_json::json;

use crate::life::platform;
use crate::world::{ACCOUNT, World};

#[tokio::test]
async fn a_full_key_opens_the_next_one_and_holds_nobody_up() {
    let world = World::with_operator().await;
    platform(&world).await;
    // Different principals in each queue: their statements cannot be merged, so that about a dozen queues fill 32,768 bytes.
    let role = |number: usize| format!("arn:aws:iam::123456789012:role/acme-service-with-a-rather-long-name-{number:03}");
    (0..60).for_each(|number| world.proxy.add_principal(&role(number)));
    let roles = |first: usize| (0..20).map(|number| json!({"role": role(first + number)})).collect::<Vec<_>>();
    for number in 0..14 {
        let queue = json!({
            "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "EncryptedQueue", "metadata": {"namespace": "acme-prod", "name": format!("q{number}")},
            "spec": {"tenant": "acme", "sensitivityTier": "internal", "producers": roles(number), "consumers": roles(number + 20)},
        });
        world.apply(&queue.to_string()).await;
    }
    let mut queues_by_key: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..14 {
        let status = world.until_ready("acme-prod", &format!("q{number}")).await.status.unwrap();
        *queues_by_key.entry(status.key.unwrap().name).or_default() += 1;
    }
    assert_eq!(queues_by_key.len(), 2, "{queues_by_key:?}");
    assert_eq!(world.proxy.effects("CreateKey"), 2);
    for name in queues_by_key.keys() {
        world
            .until("the key is ready", async || {
                let status = world.keys().get(name).await.unwrap().status.unwrap();
                status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
            })
            .await;
    }
}

const SECOND_WORKER: &str = "arn:aws:iam::123456789012:role/acme-second-worker";

fn named(object: &str, aws_name: &str, consumer: &str) -> String {
    let roles = [json!({"role": "arn:aws:iam::123456789012:role/acme-notifier"})];
    json!({
        "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "EncryptedQueue", "metadata": {"namespace": "acme-prod", "name": object},
        "spec": {
            "tenant": "acme", "sensitivityTier": "internal", "queue": {"name": aws_name}, "producers": roles, "consumers": [{"role": consumer}],
        },
    })
    .to_string()
}

#[tokio::test]
async fn of_two_objects_that_name_one_queue_the_second_is_told_and_gets_nothing() {
    let world = World::with_operator().await;
    platform(&world).await;
    world.create_roles(&[SECOND_WORKER]).await;
    world.apply(&named("first", "acme-jobs", "arn:aws:iam::123456789012:role/acme-mailer")).await;
    let first = world.until_ready("acme-prod", "first").await.status.unwrap();
    let mark = world.proxy.mark();
    world.apply(&named("second", "acme-jobs", SECOND_WORKER)).await;
    let told = world.until_condition("acme-prod", "second", "Accepted", "False", "QueueNameTaken").await.status.unwrap();
    let accepted = told.conditions.iter().find(|condition| condition.type_ == "Accepted").unwrap();
    assert!(accepted.message.contains("spec.queue.name: queue acme-jobs") && accepted.message.contains("acme-prod/first; choose another name"));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.proxy.writes_since(mark).len(), 0, "no key policy ever names its consumer");
    let events = world.events("acme-prod", "second").await;
    assert!(events.iter().any(|(reason, _)| reason == "QueueNameTaken"), "{events:?}");

    // The name goes with its owner, not to whoever waits: the queue and its messages are the first's, though released.
    world.queues("acme-prod").delete("first", &DeleteParams::default()).await.unwrap();
    world.until_condition("acme-prod", "second", "Ready", "False", "QueueConflict").await;
    world.queues("acme-prod").delete("second", &DeleteParams::default()).await.unwrap();
    world.until("it ends, since it never had a queue", async || world.queues("acme-prod").get_opt("second").await.unwrap().is_none()).await;
    let sqs = world.sqs(ACCOUNT, "eu-west-1").await;
    assert!(world.attributes(&sqs, &first.queue.unwrap().url).await["Policy"].contains("acme-mailer"));
}

#[tokio::test]
async fn a_retained_queue_keeps_its_grants_under_the_shared_key() {
    let world = World::with_operator().await;
    platform(&world).await;
    world.create_roles(&[SECOND_WORKER]).await;
    world.apply(&named("stays", "acme-stays", SECOND_WORKER)).await;
    world.apply(&named("goes", "acme-goes", "arn:aws:iam::123456789012:role/acme-mailer")).await;
    let key = world.until_ready("acme-prod", "stays").await.status.unwrap().key.unwrap();
    let goes = world.until_ready("acme-prod", "goes").await.status.unwrap();
    assert_eq!(goes.key.unwrap().arn, key.arn);
    let kms = world.kms(ACCOUNT, "eu-west-1").await;
    let policy = async || kms.get_key_policy().key_id(key.arn.clone().unwrap()).send().await.unwrap().policy.unwrap();
    world.queues("acme-prod").delete("goes", &DeleteParams::default()).await.unwrap();
    world.until("the object has ended", async || world.queues("acme-prod").get_opt("goes").await.unwrap().is_none()).await;
    let released = world.keys().get(&key.name).await.unwrap().status.unwrap().released_queues;
    assert_eq!(released.iter().map(|queue| queue.arn.as_str()).collect::<Vec<_>>(), ["arn:aws:sqs:eu-west-1:123456789012:acme-goes"]);
    // Edits and checks of the queue that stays leave them.
    world.change_queue("acme-prod", "stays", json!({"spec": {"consumers": [{"role": "arn:aws:iam::123456789012:role/acme-notifier"}]}})).await;
    world.until_ready("acme-prod", "stays").await;
    let now = policy().await;
    assert!(now.contains("acme-goes") && now.contains("acme-mailer") && !now.contains(SECOND_WORKER), "{now}");
    world.apply(&named("goes", "acme-goes", "arn:aws:iam::123456789012:role/acme-mailer")).await;
    world.until_ready("acme-prod", "goes").await;
    assert!(world.keys().get(&key.name).await.unwrap().status.unwrap().released_queues.is_empty());
    assert_eq!(world.proxy.effects("CreateKey"), 1);
}
