//! What is played. One more is one more entry: what is there before, and what is done then, until its end shows.

use aws_sdk_sqs::types::QueueAttributeName;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::stage::{DOOMED, Stage, documents, example};
use super::state::sdk;

type Script = for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, ()>;

/// A story of queues.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Undisturbed.
    pub(crate) before: Script,
    /// Disturbed, and its end waited for.
    pub(crate) act: Script,
    /// Whether it is also played with pairs of crashes.
    pub(crate) pairs: bool,
}

/// Roles that the examples name, and some that are added.
const ROLES: [&str; 13] = [
    "arn:aws:iam::123456789012:role/acme-orders-api",
    "arn:aws:iam::123456789012:role/acme-orders-worker",
    "arn:aws:iam::123456789012:role/acme-orders-support",
    "arn:aws:iam::123456789012:role/keda-operator",
    "arn:aws:iam::123456789012:role/acme-notifier",
    "arn:aws:iam::123456789012:role/acme-mailer",
    "arn:aws:iam::123456789012:role/acme-second",
    "arn:aws:iam::123456789012:role/security-admin",
    "arn:aws:iam::210987654321:role/globex-payments",
    "arn:aws:iam::210987654321:role/globex-ledger",
    "arn:aws:iam::210987654321:role/security-admin",
    "arn:aws:iam::210987654321:role/encrypted-queue-operator",
    "arn:aws:iam::210987654321:role/test-administrator",
];

const WORKER: &str = "arn:aws:iam::123456789012:role/acme-orders-worker";
const SECOND: &str = "arn:aws:iam::123456789012:role/acme-second";
const ORDERS: &str = "acme-prod/orders";
const EMAILS: &str = "acme-prod/emails";
const NOTIFICATIONS: &str = "acme-prod/notifications";
const QUEUE: &str = "EncryptedQueue";

async fn platform(stage: &Stage) {
    stage.roles(&ROLES);
    stage.examples(&["tier-internal", "tier-public", "tier-restricted", "tenant-acme", "tenant-globex"]).await;
}

async fn changed(stage: &Stage, name: &str, spec: Value) {
    stage.change(QUEUE, name, json!({"spec": spec})).await;
    stage.ready(name).await;
}

/// The queue of `queue-orders.yaml`, changed.
fn orders(change: &Value) -> Value {
    let mut orders = documents(&example("queue-orders")).remove(0);
    for (name, value) in change.as_object().expect("fields") {
        orders["spec"][name] = value.clone();
    }
    orders
}

async fn with_orders(stage: &Stage) {
    platform(stage).await;
    stage.examples(&["queue-orders"]).await;
    stage.ready(ORDERS).await;
}

/// Messages that live for a minute, so that their key's time is over soon.
async fn with_short_orders(stage: &Stage) {
    platform(stage).await;
    stage.change("SensitivityTier", "restricted", json!({"spec": {"deletionPolicy": "Delete"}})).await;
    let change = json!({"queue": {"name": "acme-orders", "messageRetentionSeconds": 60}, "deletionPolicy": "Delete"});
    let mut orders = orders(&change);
    orders["spec"]["deadLetter"]["messageRetentionSeconds"] = json!(120);
    stage.apply(&orders).await;
    stage.ready(ORDERS).await;
}

async fn with_shared(stage: &Stage) {
    platform(stage).await;
    stage.examples(&["queue-emails", "queue-notifications"]).await;
    stage.ready(EMAILS).await;
    stage.ready(NOTIFICATIONS).await;
}

async fn delete(stage: &Stage, name: &str) {
    stage.delete(QUEUE, name).await;
    stage.gone(QUEUE, name).await;
}

fn key_of(queue: &Value) -> String {
    queue.pointer("/status/key/name").and_then(Value::as_str).expect("a key").to_owned()
}

/// Waits until a queue has left its key, and the key has ended.
async fn key_ended(stage: &Stage, name: &str, key: &str) {
    let moved = async || stage.get(QUEUE, name).await.is_some_and(|queue| key_of(&queue) != key);
    stage.until("the queue has another key", moved).await;
    stage.ready(name).await;
    stage.gone("QueueKey", key).await;
}

/// Approves what waits for it.
async fn approve(stage: &Stage, queue: &str, name: &str) {
    let waiting = stage.condition(QUEUE, queue, "AccessInSync", "False", "AwaitingApproval").await;
    let key = key_of(&waiting);
    let mut hash = None;
    let pending = async || {
        let found = stage.get("QueueKey", &key).await.and_then(|key| Some(key.pointer("/status/pendingGrants/0/sha256")?.as_str()?.to_owned()));
        hash = found;
        hash.is_some()
    };
    stage.until("the key says what waits", pending).await;
    let spec = json!({"queueKey": key, "grantsSha256": hash, "reason": "a test", "approvedBy": "maria@example.com"});
    stage.apply(&json!({"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "AccessApproval", "metadata": {"name": name}, "spec": spec})).await;
}

fn roles(names: &[&str]) -> Value {
    names.iter().map(|role| json!({"role": role})).collect()
}

macro_rules! scenarios {
    ($($name:literal $($pairs:ident)? { before: $before:expr, act: |$stage:ident| $act:block })*) => {
        /// All of them.
        pub(crate) const SCENARIOS: &[Scenario] = &[$(Scenario {
            name: $name,
            before: |stage| $before(stage).boxed_local(),
            act: |$stage| async move $act.boxed_local(),
            pairs: scenarios!(@pairs $($pairs)?),
        }),*];
    };
    (@pairs) => { false };
    (@pairs pairs) => { true };
}

scenarios! {
    "create-own-key" pairs { before: platform, act: |stage| {
        stage.examples(&["queue-orders"]).await;
        stage.ready(ORDERS).await;
    } }
    "create-fifo" { before: platform, act: |stage| {
        stage.examples(&["queue-ledger"]).await;
        stage.ready("globex-prod/ledger").await;
    } }
    "create-shared-key" { before: platform, act: |stage| {
        stage.examples(&["queue-emails"]).await;
        stage.ready(EMAILS).await;
    } }
    "create-service-producer" { before: platform, act: |stage| {
        stage.examples(&["queue-notifications"]).await;
        stage.ready(NOTIFICATIONS).await;
    } }
    "second-on-shared-key" { before: with_emails, act: |stage| {
        stage.examples(&["queue-notifications"]).await;
        stage.ready(NOTIFICATIONS).await;
    } }
    "widen" { before: with_orders, act: |stage| {
        changed(stage, ORDERS, json!({"consumers": roles(&[WORKER, SECOND])})).await;
    } }
    "narrow" { before: with_orders, act: |stage| {
        changed(stage, ORDERS, json!({"observers": [], "deadLetter": {"redrivers": []}})).await;
    } }
    "replace-consumer" { before: with_orders, act: |stage| {
        changed(stage, ORDERS, json!({"consumers": roles(&[SECOND])})).await;
    } }
    "attributes" { before: with_orders, act: |stage| {
        changed(stage, ORDERS, json!({"queue": {"visibilityTimeoutSeconds": 90, "delaySeconds": 5}, "deadLetter": {"maxReceiveCount": 7}})).await;
    } }
    "tags" { before: with_orders, act: |stage| {
        changed(stage, ORDERS, json!({"tags": {"workload": "orders2", "colour": "blue"}})).await;
    } }
    "rotation-on-demand" { before: with_orders, act: |stage| {
        stage.change(QUEUE, ORDERS, json!({"spec": {"key": {"rotateRequestedAt": "2100-01-01T00:00:00Z"}}})).await;
        let key = key_of(&stage.ready(ORDERS).await);
        let served = async || stage.get("QueueKey", &key).await.is_some_and(|key| !key["status"]["rotation"]["requestedAt"].is_null());
        stage.until("the request is served", served).await;
    } }
    "reuse" { before: with_orders, act: |stage| {
        changed(stage, ORDERS, json!({"key": {"dataKeyReuseSeconds": 600, "rotationPeriodDays": 120}})).await;
    } }
    "tier-change" pairs { before: with_short_orders, act: |stage| {
        let key = key_of(&stage.ready(ORDERS).await);
        stage.change(QUEUE, ORDERS, json!({"spec": {"sensitivityTier": "internal", "key": null}})).await;
        key_ended(stage, ORDERS, &key).await;
    } }
    "scope-change" { before: with_short_orders, act: |stage| {
        let key = key_of(&stage.ready(ORDERS).await);
        stage.change("SensitivityTier", "restricted", json!({"spec": {"key": {"scope": "Tenant"}}})).await;
        key_ended(stage, ORDERS, &key).await;
    } }
    "delete-retain" { before: with_orders, act: |stage| {
        let key = key_of(&stage.ready(ORDERS).await);
        delete(stage, ORDERS).await;
        stage.gone("QueueKey", &key).await;
    } }
    "delete-delete" { before: with_short_orders, act: |stage| {
        let key = key_of(&stage.ready(ORDERS).await);
        delete(stage, ORDERS).await;
        stage.gone("QueueKey", &key).await;
    } }
    "delete-on-shared-key" { before: with_shared_to_delete, act: |stage| {
        delete(stage, EMAILS).await;
        stage.ready(NOTIFICATIONS).await;
    } }
    "retain-on-shared-key" { before: with_shared, act: |stage| {
        delete(stage, EMAILS).await;
        stage.ready(NOTIFICATIONS).await;
    } }
    "approval" { before: with_approvals, act: |stage| {
        stage.change(QUEUE, ORDERS, json!({"spec": {"consumers": roles(&[SECOND])}})).await;
        approve(stage, ORDERS, "second").await;
        stage.ready(ORDERS).await;
        let applied = async || stage.get("AccessApproval", "second").await.is_some_and(|approval| !approval["status"]["appliedAt"].is_null());
        stage.until("the approval is used up", applied).await;
    } }
    "recreate-after-retain" { before: with_orders, act: |stage| {
        delete(stage, ORDERS).await;
        stage.examples(&["queue-orders"]).await;
        stage.ready(ORDERS).await;
    } }
    "adopt" { before: with_found_queue, act: |stage| {
        adopt_found_queue(stage).await;
        stage.ready(ORDERS).await;
    } }
    "adopt-from-foreign-key" { before: with_found_queue_under_key, act: |stage| {
        adopt_found_queue(stage).await;
        stage.ready(ORDERS).await;
    } }
    "dead-letter-queue-goes" { before: with_dead_letters, act: |stage| {
        changed(stage, NOTIFICATIONS, json!({"deadLetter": null})).await;
        let gone = async || stage.get(QUEUE, NOTIFICATIONS).await.is_some_and(|queue| queue["status"]["deadLetterQueue"].is_null());
        stage.until("the dead-letter queue is gone", gone).await;
    } }
    "tenant-deleted-first" { before: with_orders, act: |stage| {
        stage.delete("Tenant", "acme").await;
        stage.condition("Tenant", "acme", "Ready", "False", "InUse").await;
        delete(stage, ORDERS).await;
        stage.gone("Tenant", "acme").await;
    } }
    "namespace-deleted-first" { before: with_doomed_namespace, act: |stage| {
        stage.delete_namespace(DOOMED).await;
        // As the namespace's controller does.
        delete(stage, "acme-doomed/orders").await;
    } }
    "suspend-and-back" { before: with_orders, act: |stage| {
        stage.change("Tenant", "acme", json!({"spec": {"access": "Suspended"}})).await;
        stage.condition(QUEUE, ORDERS, "Ready", "False", "TenantSuspended").await;
        stage.rest(std::time::Duration::from_millis(100)).await;
        stage.change("Tenant", "acme", json!({"spec": {"access": "Active"}})).await;
        stage.ready(ORDERS).await;
    } }
}

/// A queue that was there before anyone declared it.
async fn found_queue(stage: &Stage, attribute: (&str, &str)) {
    platform(stage).await;
    stage.change("Tenant", "acme", json!({"spec": {"adoptableQueueNames": ["acme-orders"]}})).await;
    let sqs = aws_sdk_sqs::Client::new(&sdk(stage, "123456789012", "eu-west-1").await);
    let name = QueueAttributeName::from(attribute.0);
    let making = sqs.create_queue().queue_name("acme-orders").attributes(name, attribute.1).tags("team", "legacy");
    making.send().await.expect("the queue is made");
}

async fn with_found_queue(stage: &Stage) {
    found_queue(stage, ("SqsManagedSseEnabled", "true")).await;
}

async fn with_found_queue_under_key(stage: &Stage) {
    let kms = aws_sdk_kms::Client::new(&sdk(stage, "123456789012", "eu-west-1").await);
    let key = kms.create_key().description("theirs").send().await.expect("the key is made").key_metadata.expect("its metadata");
    found_queue(stage, ("KmsMasterKeyId", &key.key_id)).await;
}

async fn adopt_found_queue(stage: &Stage) {
    let mut orders = orders(&json!({"adoption": "IfUnowned", "queue": {"name": "acme-orders"}}));
    orders["metadata"]["name"] = json!("orders");
    stage.apply(&orders).await;
}

async fn with_dead_letters(stage: &Stage) {
    platform(stage).await;
    let mut queue = documents(&example("queue-notifications")).remove(0);
    queue["spec"]["deadLetter"] = json!({"maxReceiveCount": 5});
    stage.apply(&queue).await;
    stage.ready(NOTIFICATIONS).await;
}

async fn with_emails(stage: &Stage) {
    platform(stage).await;
    stage.examples(&["queue-emails"]).await;
    stage.ready(EMAILS).await;
}

async fn with_shared_to_delete(stage: &Stage) {
    with_shared(stage).await;
    changed(stage, EMAILS, json!({"deletionPolicy": "Delete"})).await;
}

/// A queue in a namespace that is about to go.
async fn with_doomed_namespace(stage: &Stage) {
    platform(stage).await;
    stage.change("Tenant", "acme", json!({"spec": {"namespaces": {"names": ["acme-prod", DOOMED]}}})).await;
    stage.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": DOOMED}})).await;
    let mut orders = orders(&json!({}));
    orders["metadata"]["namespace"] = json!(DOOMED);
    stage.apply(&orders).await;
    stage.ready("acme-doomed/orders").await;
}

async fn with_approvals(stage: &Stage) {
    platform(stage).await;
    stage.change("SensitivityTier", "restricted", json!({"spec": {"approval": "OnWidening"}})).await;
    stage.examples(&["queue-orders"]).await;
    approve(stage, ORDERS, "first").await;
    stage.ready(ORDERS).await;
}
