//! Ends that something is in the way of: they say what they wait for, and finish when they can.

use encrypted_queue::api::EncryptedQueueStatus;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use test_support::proxy::{Effect, Matcher, Rule};

use super::{CONSUMER, NAMESPACE, PRODUCER, message, queue, tenant, tier, world};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";

async fn made(world: &World, change: &Value) -> EncryptedQueueStatus {
    world.apply_object(&tenant("acme", &json!({}))).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    world.apply_object(&queue(NAMESPACE, "acme", change)).await;
    world.until_ready(NAMESPACE, "acme").await.status.unwrap()
}

async fn until_ended(world: &World, key: &str) {
    world.until("the queue's object has ended", async || world.queues(NAMESPACE).get_opt("acme").await.unwrap().is_none()).await;
    world.until("the QueueKey has ended", async || world.keys().get_opt(key).await.unwrap().is_none()).await;
}

#[tokio::test]
async fn a_namespace_and_a_tenant_that_go_first_wait_and_then_go() {
    let world = world().await;
    let key = made(&world, &json!({})).await.key.unwrap();
    // Whatever is asked of AWS is refused: nobody may be left waiting in silence.
    world.proxy.inject(Rule::once(Matcher::operation("TagQueue"), Effect::error("AccessDenied", "not you")).times(0));
    world.tenants().delete("acme", &DeleteParams::default()).await.unwrap();
    Api::<Namespace>::all(world.client.clone()).delete(NAMESPACE, &DeleteParams::default()).await.unwrap();
    // As the namespace controller does.
    world.queues(NAMESPACE).delete("acme", &DeleteParams::default()).await.unwrap();
    let told = world.until_condition(NAMESPACE, "acme", "Stalled", "True", "AccessDenied").await;
    assert!(message(&told, "Ready").contains("sqs:TagQueue"), "{}", message(&told, "Ready"));
    let waiting = async || {
        let conditions = world.tenants().get("acme").await.unwrap().status.unwrap().conditions;
        conditions.iter().any(|c| c.type_ == "Ready" && c.reason == "InUse" && c.message.contains("EncryptedQueue team/acme"))
    };
    world.until("the tenant says what it waits for", waiting).await;
    world.proxy.clear_injections();
    world.change_queue(NAMESPACE, "acme", json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": "1"}}})).await;
    until_ended(&world, &key.name).await;
    world.until("the tenant has ended", async || world.tenants().get_opt("acme").await.unwrap().is_none()).await;
}

#[tokio::test]
async fn without_its_finalizer_a_queue_is_left_and_its_key_with_it() {
    let mut world = World::new().await;
    world.start_operator(&["--lease-duration", "4s"]);
    world.create_roles(&[PRODUCER, CONSUMER]).await;
    super::namespace(&world, NAMESPACE, json!({})).await;
    let before = made(&world, &json!({"deletionPolicy": "Delete"})).await;
    let key = before.key.unwrap();
    let url = before.queue.unwrap().url;
    // Nobody is there to see it go.
    world.stop_operator();
    let off = Patch::Json::<()>(serde_json::from_value(json!([{"op": "remove", "path": "/metadata/finalizers"}])).unwrap());
    world.queues(NAMESPACE).delete("acme", &DeleteParams::default()).await.unwrap();
    world.queues(NAMESPACE).patch("acme", &PatchParams::default(), &off).await.unwrap();
    world.start_operator(&["--lease-duration", "4s"]);
    world
        .until("the QueueKey says which queue needs the key", async || {
            let conditions = world.keys().get(&key.name).await.unwrap().status.unwrap().conditions;
            conditions.iter().any(|c| c.reason == "InUse" && c.message.contains("acme-team-acme"))
        })
        .await;
    let sqs = world.sqs(ACCOUNT, REGION).await;
    assert_eq!(world.attributes(&sqs, &url).await.get("KmsMasterKeyId"), key.arn.as_ref());
    world.apply_object(&queue(NAMESPACE, "acme", &json!({"deletionPolicy": "Delete"}))).await;
    let after = world.until_ready(NAMESPACE, "acme").await.status.unwrap().key.unwrap();
    assert_eq!(after.arn, key.arn, "the object made again takes its key back");
    assert_eq!(world.proxy.effects("CreateKey"), 1);
}
