//! The life of a queue: made, changed, repaired, ended.

use std::time::Duration;

use encrypted_queue::policy::document::Document;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use test_support::proxy::Kind;

use crate::world::{ACCOUNT, World, name};

/// Roles that the examples name.
const EXAMPLE_ROLES: &[&str] = &[
    "arn:aws:iam::123456789012:role/acme-orders-api",
    "arn:aws:iam::123456789012:role/acme-orders-worker",
    "arn:aws:iam::123456789012:role/acme-orders-support",
    "arn:aws:iam::123456789012:role/keda-operator",
    "arn:aws:iam::123456789012:role/acme-notifier",
    "arn:aws:iam::123456789012:role/acme-mailer",
    "arn:aws:iam::123456789012:role/security-admin",
    "arn:aws:iam::210987654321:role/globex-payments",
    "arn:aws:iam::210987654321:role/globex-ledger",
    "arn:aws:iam::210987654321:role/security-admin",
    "arn:aws:iam::210987654321:role/encrypted-queue-operator",
];

pub(crate) async fn apply_examples(world: &World, names: &[&str]) {
    for name in names {
        let path = format!("{}/examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        world.apply(&std::fs::read_to_string(path).unwrap()).await;
    }
}

pub(crate) async fn platform(world: &World) {
    world.create_roles(EXAMPLE_ROLES).await;
    apply_examples(world, &["namespaces", "tier-internal", "tier-public", "tier-restricted", "tenant-acme", "tenant-globex"]).await;
}

#[tokio::test]
async fn a_queue_is_made_with_few_calls_and_told() {
    let world = World::with_operator().await;
    platform(&world).await;
    world.until("the tenant's account is verified", async || world.tenants().get("acme").await.is_ok_and(|tenant| tenant.status.is_some())).await;
    let mark = world.proxy.mark();
    apply_examples(&world, &["queue-orders"]).await;
    let queue = world.until_ready("acme-prod", "orders").await;

    let calls: Vec<_> =
        world.proxy.calls_since(mark).into_iter().filter(|call| matches!(call.service.as_str(), "sqs" | "kms" | "iam" | "tagging")).collect();
    let names: Vec<_> = calls.iter().map(|call| call.operation.clone()).collect();
    assert!(calls.len() <= 9, "{names:?}");
    // Grant, then use: the key with its policy before any queue; the dead-letter queue before the queue that names it.
    let position = |operation: &str| names.iter().position(|name| name == operation).unwrap();
    assert!(position("CreateKey") < position("CreateQueue"), "{names:?}");

    let status = queue.status.unwrap();
    let (source, dead_letter, key) = (status.queue.unwrap(), status.dead_letter_queue.unwrap(), status.key.unwrap());
    assert_eq!(source.arn, "arn:aws:sqs:eu-west-1:123456789012:acme-orders");
    let sqs = world.sqs(ACCOUNT, "eu-west-1").await;
    for url in [&source.url, &dead_letter.url] {
        let attributes = world.attributes(&sqs, url).await;
        assert_eq!(attributes.get("KmsMasterKeyId"), key.arn.as_ref());
        assert_eq!(attributes.get("SqsManagedSseEnabled").map(String::as_str), Some("false"));
        assert!(Document::parse(&attributes["Policy"]).is_ok());
    }
    let kms = world.kms(ACCOUNT, "eu-west-1").await;
    let described = kms.describe_key().key_id(key.alias.unwrap()).send().await.unwrap().key_metadata.unwrap();
    assert_eq!(described.arn, key.arn);
    let rotation = kms.get_key_rotation_status().key_id(described.key_id()).send().await.unwrap();
    assert!(rotation.key_rotation_enabled());

    let map = world.config_maps("acme-prod").get("orders").await.unwrap();
    let data = map.data.clone().unwrap();
    assert_eq!(
        (data["QUEUE_URL"].as_str(), data["QUEUE_ARN"].as_str(), data["DLQ_URL"].as_str(), data["AWS_REGION"].as_str()),
        (source.url.as_str(), source.arn.as_str(), dead_letter.url.as_str(), "eu-west-1")
    );
    assert_eq!(name(&map), "orders");
}

#[tokio::test]
async fn every_example_becomes_ready_and_then_nothing_is_written() {
    let world = World::with_operator().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders", "queue-notifications", "queue-emails", "queue-ledger"]).await;
    for (namespace, name) in [("acme-prod", "orders"), ("acme-prod", "notifications"), ("acme-prod", "emails"), ("globex-prod", "ledger")] {
        world.until_ready(namespace, name).await;
    }
    // One key for each queue of the restricted tier, one for both of the tenant-scoped one.
    let keys = world.keys().list(&ListParams::default()).await.unwrap();
    assert_eq!(keys.items.len(), 3);
    assert_eq!(world.proxy.effects("CreateKey"), 3);
    let ledger = world.queue("globex-prod", "ledger").await.status.unwrap();
    assert_eq!(ledger.dead_letter_queue.unwrap().arn, "arn:aws:sqs:eu-central-1:210987654321:globex-ledger-dlq.fifo");

    world
        .until("the tenants' counts are written", async || {
            world.tenants().get("acme").await.unwrap().status.is_some_and(|status| status.compliant_queues == Some(3) || status.queues.is_some())
        })
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mark, written) = (world.proxy.mark(), world.control_plane.writes().unwrap().len());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.proxy.writes_since(mark).len(), 0);
    let writes: Vec<_> = world
        .control_plane
        .writes()
        .unwrap()
        .split_off(written)
        .into_iter()
        .filter(|write| write.resource != "leases" && write.resource != "tenants")
        .collect();
    assert!(writes.is_empty(), "{writes:?}");
}

#[tokio::test]
async fn drift_is_repaired() {
    let world = World::with_operator().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders"]).await;
    let status = world.until_ready("acme-prod", "orders").await.status.unwrap();
    let (url, key) = (status.queue.unwrap().url, status.key.unwrap());
    let (sqs, kms) = (world.sqs(ACCOUNT, "eu-west-1").await, world.kms(ACCOUNT, "eu-west-1").await);
    sqs.set_queue_attributes().queue_url(&url).attributes("SqsManagedSseEnabled".into(), "true").send().await.unwrap();
    sqs.tag_queue().queue_url(&url).tags("backup", "daily").send().await.unwrap();
    sqs.untag_queue().queue_url(&url).tag_keys("owner").send().await.unwrap();
    let id = key.arn.clone().unwrap().rsplit('/').next().unwrap().to_owned();
    kms.disable_key().key_id(&id).send().await.unwrap();
    assert_eq!(world.attributes(&sqs, &url).await.get("KmsMasterKeyId"), None);

    world.change_queue("acme-prod", "orders", json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": "1"}}})).await;
    world.until("the queue is under its key again", async || world.attributes(&sqs, &url).await.get("KmsMasterKeyId") == key.arn.as_ref()).await;
    world.until("the key is enabled again", async || kms.describe_key().key_id(&id).send().await.unwrap().key_metadata.unwrap().enabled()).await;
    world.until_ready("acme-prod", "orders").await;
    let tags = async || sqs.list_queue_tags().queue_url(&url).send().await.unwrap().tags.unwrap();
    // It was Ready before, and the attributes come first.
    world.until("the tag is back", async || tags().await.get("owner").is_some_and(|owner| owner == "team-commerce")).await;
    assert_eq!(tags().await["backup"], "daily");
    world.until("an Event tells", async || world.events("acme-prod", "orders").await.iter().any(|(reason, _)| reason == "DriftRepaired")).await;
}

#[tokio::test]
async fn a_policy_that_aws_reordered_is_not_written() {
    let world = World::with_operator().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders"]).await;
    world.until_ready("acme-prod", "orders").await;
    let mark = world.proxy.mark();
    world.change_queue("acme-prod", "orders", json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": "1"}}})).await;
    world.until("the check was made", async || world.queue("acme-prod", "orders").await.status.unwrap().checked_now.as_deref() == Some("1")).await;
    world.until("the key was read", async || world.proxy.count_since(mark, "GetKeyPolicy") > 0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(world.proxy.count_since(mark, "GetQueueAttributes") >= 2);
    assert_eq!(world.proxy.writes_since(mark).iter().filter(|call| call.kind == Kind::Write).count(), 0);
}

#[tokio::test]
async fn an_edit_is_applied_and_a_removed_consumer_loses_both_policies() {
    let world = World::with_operator().await;
    platform(&world).await;
    world.create_roles(&["arn:aws:iam::123456789012:role/acme-second"]).await;
    apply_examples(&world, &["queue-orders"]).await;
    let status = world.until_ready("acme-prod", "orders").await.status.unwrap();
    let (url, key) = (status.queue.unwrap().url, status.key.unwrap().arn.unwrap());
    let (sqs, kms) = (world.sqs(ACCOUNT, "eu-west-1").await, world.kms(ACCOUNT, "eu-west-1").await);
    let edit = json!({"spec": {"consumers": [{"role": "arn:aws:iam::123456789012:role/acme-second"}], "queue": {"visibilityTimeoutSeconds": 90}, "tags": {"workload": "orders2"}}});
    world.change_queue("acme-prod", "orders", edit).await;
    world.until_ready("acme-prod", "orders").await;
    let attributes = world.attributes(&sqs, &url).await;
    assert_eq!(attributes["VisibilityTimeout"], "90");
    let policies = [attributes["Policy"].clone(), kms.get_key_policy().key_id(&key).send().await.unwrap().policy.unwrap()];
    for policy in policies {
        assert!(policy.contains("role/acme-second") && !policy.contains("role/acme-orders-worker"), "{policy}");
    }
    assert_eq!(sqs.list_queue_tags().queue_url(&url).send().await.unwrap().tags.unwrap()["workload"], "orders2");
}

#[tokio::test]
async fn delete_waits_for_messages_then_takes_queue_and_key() {
    let world = World::with_operator().await;
    platform(&world).await;
    apply_examples(&world, &["queue-notifications"]).await;
    world.change_queue("acme-prod", "notifications", json!({"spec": {"deletionPolicy": "Delete"}})).await;
    let status = world.until_ready("acme-prod", "notifications").await.status.unwrap();
    let (url, key) = (status.queue.unwrap().url, status.key.unwrap());
    let sqs = world.sqs(ACCOUNT, "eu-west-1").await;
    sqs.send_message().queue_url(&url).message_body("hello").send().await.unwrap();
    world.queues("acme-prod").delete("notifications", &DeleteParams::default()).await.unwrap();
    world.until_condition("acme-prod", "notifications", "Stalled", "True", "QueueNotEmpty").await;
    world.change_queue("acme-prod", "notifications", json!({"metadata": {"annotations": {"encryptedqueue.dev/delete-non-empty": "true"}}})).await;
    world.until("the object has ended", async || world.queues("acme-prod").get_opt("notifications").await.unwrap().is_none()).await;
    assert!(sqs.get_queue_attributes().queue_url(&url).send().await.is_err(), "the queue is gone");
    world.until("the QueueKey has ended", async || world.keys().get_opt(&key.name).await.unwrap().is_none()).await;
}

#[tokio::test]
async fn retain_releases_and_a_new_object_takes_back() {
    let world = World::with_operator().await;
    platform(&world).await;
    apply_examples(&world, &["queue-orders"]).await;
    let before = world.until_ready("acme-prod", "orders").await.status.unwrap();
    let (url, key) = (before.queue.unwrap().url, before.key.unwrap());
    let sqs = world.sqs(ACCOUNT, "eu-west-1").await;
    world.queues("acme-prod").delete("orders", &DeleteParams::default()).await.unwrap();
    world.until("the object has ended", async || world.queues("acme-prod").get_opt("orders").await.unwrap().is_none()).await;
    world.until("the QueueKey has ended", async || world.keys().get_opt(&key.name).await.unwrap().is_none()).await;
    let tags = sqs.list_queue_tags().queue_url(&url).send().await.unwrap().tags.unwrap();
    assert!(tags.contains_key("encryptedqueue.dev/released"), "{tags:?}");
    apply_examples(&world, &["queue-orders"]).await;
    let after = world.until_ready("acme-prod", "orders").await.status.unwrap();
    assert_eq!((after.queue.unwrap().url, after.key.unwrap().arn), (url.clone(), key.arn));
    assert_eq!(world.proxy.effects("CreateKey"), 1);
    assert!(!sqs.list_queue_tags().queue_url(&url).send().await.unwrap().tags.unwrap().contains_key("encryptedqueue.dev/released"));
}
