//! Which key a queue uses, and what a key should be.

use encrypted_queue::api::{DeletionPolicy, QueueKey};
use encrypted_queue::desired::{DesiredKey, DesiredQueue, KeyInput, KeyUserInput, desired_key};
use serde_json::json;

use crate::declare::{CLUSTER, Declared, declared, object, operator, queue, role};

fn sharing(declared: Declared) -> Declared {
    declared.with_tier(json!({"spec": {"key": {"scope": "Tenant"}}}))
}

fn of(name: &str) -> Declared {
    declared().but(|declared| declared.queue = queue(name))
}

fn key_of(declared: &Declared, queues: &[DesiredQueue]) -> DesiredKey {
    let first = &queues[0];
    let mut spec = json!({"tenant": "acme", "sensitivityTier": "internal", "region": "eu-west-1", "scope": first.key.scope()});
    if let Some(queue) = &first.key.queue {
        spec["queue"] = json!(queue);
    }
    let metadata = json!({"name": first.key_name, "uid": "uid-of-key"});
    let object: QueueKey = object(json!({"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "QueueKey", "metadata": metadata, "spec": spec}));
    let user = |queue: &DesiredQueue| KeyUserInput {
        object: queue.object.clone(),
        uid: queue.uid.clone(),
        recorded: None,
        desired: Ok(queue.clone()),
        deleted: Vec::new(),
        paused: false,
        leaving: false,
    };
    let users = queues.iter().map(user).collect();
    let (tenant, tier) = (declared.tenant.as_ref().unwrap(), declared.tier.as_ref());
    desired_key(KeyInput { object: &object, tenant, tier, cluster_id: CLUSTER, operator_role: &operator(), users, approvals: Vec::new() })
}

#[test]
fn a_queue_has_its_own_key_or_the_tenants() {
    let (orders, bills) = (of("orders").judged().unwrap(), of("bills").judged().unwrap());
    assert_ne!(orders.key_name, bills.key_name);
    assert!(orders.key_name.starts_with("acme-internal-acme-prod-orders-"), "{}", orders.key_name);
    let (orders, bills) = (sharing(of("orders")).judged().unwrap(), sharing(of("bills")).judged().unwrap());
    assert_eq!(orders.key_name, bills.key_name);
    assert!(orders.key_name.starts_with("acme-internal-eu-west-1-"), "{}", orders.key_name);
}

#[test]
fn a_shared_key_is_of_one_region_and_one_tier() {
    let here = sharing(of("orders"));
    let abroad = sharing(of("orders")).with_queue(json!({"spec": {"region": "eu-central-1"}}));
    let other_tier = sharing(of("orders"))
        .with_tenant(json!({"spec": {"sensitivityTiers": ["public"]}}))
        .with_queue(json!({"spec": {"sensitivityTier": "public"}}));
    let names = [here, abroad, other_tier].map(|declared| declared.judged().unwrap().key_name);
    assert!(names[0] != names[1] && names[0] != names[2] && names[1] != names[2], "{names:?}");
}

#[test]
fn a_key_has_the_access_of_all_its_queues() {
    let (orders, bills) = (sharing(of("orders")), sharing(of("bills")));
    let key = key_of(&orders, &[orders.judged().unwrap(), bills.judged().unwrap()]);
    assert_eq!(key.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["bills", "orders"]);
    assert_eq!(key.users[1].access.sha256(), orders.judged().unwrap().access.sha256());
    assert_eq!(key.access.administrators.iter().map(|role| role.as_str().to_owned()).collect::<Vec<_>>(), [role("security-admin")]);
    assert_eq!(key.access.break_glass.iter().map(|role| role.as_str().to_owned()).collect::<Vec<_>>(), [role("break-glass")]);
    assert_eq!(key.access.operator, operator());
    assert!(key.is_used() && key.alias.ends_with("/acme/internal/shared-1"), "{}", key.alias);
}

#[test]
fn a_shared_key_takes_the_tags_its_queues_agree_upon_and_the_shortest_rotation() {
    let orders = sharing(of("orders")).with_queue(json!({"spec": {"tags": {"stage": "live"}, "key": {"rotationPeriodDays": 100}}}));
    let bills = sharing(of("bills")).with_queue(json!({"spec": {"tags": {"stage": "live"}, "key": {"rotationPeriodDays": 300}}}));
    let key = key_of(&orders, &[orders.judged().unwrap(), bills.judged().unwrap()]);
    assert_eq!(
        (key.tags.get("stage").map(String::as_str), key.tags.get("workload"), key.tags.get("owner").map(String::as_str)),
        (Some("live"), None, Some("team-payments"))
    );
    assert_eq!(key.tags["encryptedqueue.dev/object"], key.name);
    assert_eq!(key.rotation_period_days, Some(100));
}

#[test]
fn the_latest_request_for_rotation_counts() {
    let asking = |name: &str, at: &str| sharing(of(name)).with_queue(json!({"spec": {"key": {"rotateRequestedAt": at}}}));
    let (orders, bills) = (asking("orders", "2026-11-23T00:00:00Z"), asking("bills", "2026-11-24T00:00:00Z"));
    let key = key_of(&orders, &[orders.judged().unwrap(), bills.judged().unwrap()]);
    assert_eq!(key.rotate_requested_at.unwrap().to_string(), "2026-11-24T00:00:00Z");
}

#[test]
fn without_its_tier_a_key_waits_as_long_as_kms_allows() {
    let declared = declared().with_tier(json!({"spec": {"key": {"deletionWindowDays": 7}}}));
    let queues = [declared.judged().unwrap()];
    assert_eq!(key_of(&declared, &queues).deletion_window_days, 7);
    let gone = declared.but(|declared| declared.tier = None);
    let key = key_of(&gone, &queues);
    assert_eq!((key.deletion_window_days, key.deletion_policy), (30, DeletionPolicy::Retain));
}
