//! What objects record is what plans start from.

use encrypted_queue::api::labels::FINALIZER;
use encrypted_queue::api::queue_key::PendingGrants;
use encrypted_queue::api::{EncryptedQueue, QueueKey};
use encrypted_queue::names::QueueArn;
use encrypted_queue::plan::objects::{Rules, is_paused, key_user, observed_key, observed_key_object, observed_queue, recorded_arns, recorded_keys};
use serde_json::json;

use super::orders;
use crate::declare::{declared, object, operator, patched, tenant, tier};
use crate::plan::world::named;

/// A queue and its key as Kubernetes holds them, at rest.
fn stored() -> (EncryptedQueue, QueueKey) {
    let (world, scene) = orders();
    let mut queue = scene.queues[&named("orders")].clone();
    queue.status = Some(world.queue_status(&named("orders")));
    (queue, world.key_object(world.keys.keys().next().unwrap()).unwrap())
}

#[test]
fn only_our_finalizer_counts() {
    let (queue, _) = stored();
    for (finalizers, ours) in [(json!(null), false), (json!(["other.dev/keep"]), false), (json!(["other.dev/keep", FINALIZER]), true)] {
        let queue = patched(&queue, &json!({"metadata": {"finalizers": finalizers}}));
        assert_eq!(observed_queue(&queue, None, &[], false).finalizer, ours);
    }
}

#[test]
fn a_queue_is_paused_by_true_alone() {
    let (queue, _) = stored();
    let paused = |value: &str| is_paused(&patched(&queue, &json!({"metadata": {"annotations": {"encryptedqueue.dev/paused": value}}})));
    assert_eq!([paused("true"), paused("false"), is_paused(&queue)], [true, false, false]);
}

#[test]
fn status_and_the_keys_objects_are_observed() {
    let (queue, key) = stored();
    let observed = observed_queue(&queue, Some(&key), &[&key], true);
    let status = queue.status.clone().unwrap();
    assert_eq!((observed.applied_sha256.as_ref(), observed.check), (status.applied_sha256.as_ref(), true));
    assert_eq!(observed.source_url, status.queue.map(|queue| queue.url));
    assert_eq!(observed.key.as_ref().map(|key| key.name.as_str()), key.metadata.name.as_deref());
    assert_eq!(observed.other_keys, [observed.key.unwrap()]);
    let observed = observed_key(&key, true);
    let status = key.status.clone().unwrap();
    assert_eq!((observed.key_id, observed.applied_sha256, observed.check), (status.key_id, status.applied_sha256, true));
    assert_eq!(observed.users, status.users);
}

#[test]
fn a_key_holds_the_grants_of_the_very_object_only() {
    let (queue, key) = stored();
    assert!(observed_key_object(&key, &queue).holds.is_some());
    for other in [json!({"uid": "another"}), json!({"name": "bills"}), json!({"namespace": "acme-test"})] {
        let queue = patched(&queue, &json!({ "metadata": other }));
        assert_eq!(observed_key_object(&key, &queue).holds, None, "{other}");
    }
}

#[test]
fn a_queue_awaits_its_own_approval_only() {
    let (queue, mut key) = stored();
    let pending = |namespace: &str, name: &str| {
        let (sha256, gains) = ("0".repeat(64), [format!("{namespace}/{name}")]);
        object::<PendingGrants>(
            json!({"namespace": namespace, "name": name, "sha256": sha256, "gains": gains, "requestedAt": "2026-11-23T00:00:00Z"}),
        )
    };
    let others = [pending("acme-test", "orders"), pending("acme-prod", "bills")];
    key.status.as_mut().unwrap().pending_grants = others.to_vec();
    assert_eq!(observed_key_object(&key, &queue).awaits_approval, None);
    key.status.as_mut().unwrap().pending_grants.push(pending("acme-prod", "orders"));
    assert_eq!(observed_key_object(&key, &queue).awaits_approval, Some(vec!["acme-prod/orders".to_owned()]));
}

#[test]
fn a_key_that_is_not_ready_says_why() {
    let (queue, mut key) = stored();
    assert_eq!(observed_key_object(&key, &queue).not_ready, None);
    let conditions = &mut key.status.as_mut().unwrap().conditions;
    for condition in conditions.iter_mut() {
        // Another condition that is False is not what the queue waits for.
        let is_ready = condition.type_ == "Ready";
        (condition.status, condition.message) = (if is_ready { "True" } else { "False" }.to_owned(), condition.type_.clone());
    }
    assert_eq!(observed_key_object(&key, &queue).not_ready, None);
    let ready = key.status.as_mut().unwrap().conditions.iter_mut().find(|condition| condition.type_ == "Ready").unwrap();
    (ready.status, ready.reason, ready.message) = ("False".to_owned(), "KeyUnusable".to_owned(), "it is gone".to_owned());
    let (reason, message) = observed_key_object(&key, &queue).not_ready.unwrap();
    assert_eq!((reason.as_str(), message.as_str()), ("KeyUnusable", "it is gone"));
}

#[test]
fn the_keys_and_queues_on_record_are_found() {
    let (queue, key) = stored();
    assert_eq!(recorded_keys(&queue).collect::<Vec<_>>(), [key.metadata.name.as_deref().unwrap()]);
    let later = json!({
        "status": {
            "nextKey": {"name": "next", "grantsSha256": "0", "grantedAt": "2026-11-23T00:00:00Z"},
            "previousKeys": [
                {"name": "previous", "arn": "a", "managed": true, "switchedAt": "2026-11-23T00:00:00Z", "decryptUntil": "2026-11-23T00:00:00Z"},
                {"arn": "b", "managed": false, "switchedAt": "2026-11-23T00:00:00Z", "decryptUntil": "2026-11-23T00:00:00Z"}
            ]
        }
    });
    assert_eq!(recorded_keys(&patched(&queue, &later)).skip(1).collect::<Vec<_>>(), ["next", "previous"]);
    let (source, dead_letter) = recorded_arns(&queue).unwrap();
    assert_eq!((source.name(), dead_letter.as_ref().map(QueueArn::name)), (super::SOURCE, Some(super::DEAD_LETTER)));
    assert_eq!(recorded_arns(&patched(&queue, &json!({"status": {"queue": null}}))), None);
}

#[test]
fn a_queue_that_was_never_made_leaves_nothing_under_a_key_that_it_does_not_use() {
    let (queue, mut key) = stored();
    key.metadata.name = Some("another".to_owned());
    let (tenant, tier, operator, now) = (tenant(), tier(), operator(), "2026-11-23T00:00:00Z".parse().unwrap());
    let rules = Rules { tenant: Some(&tenant), tier: Some(&tier), operator_role: Some(&operator) };
    let uses = |queue: &EncryptedQueue| key_user(&key, queue, Ok(declared().judged().unwrap()), rules, now).is_some();
    assert!(!uses(&queue), "neither its own nor on record");
    let under = patched(&queue, &json!({"status": {"key": {"name": "another"}}}));
    assert!(uses(&under), "its queues are under it");
    assert!(!uses(&patched(&under, &json!({"status": {"queue": null, "deadLetterQueue": null}}))));
}

#[test]
fn a_reference_that_contradicts_itself_is_not_believed() {
    let (queue, _) = stored();
    let url = |reference: serde_json::Value| observed_queue(&patched(&queue, &json!({"status": {"queue": reference}})), None, &[], false).source_url;
    assert!(url(json!({})).is_some_and(|url| !url.is_empty()));
    for edit in [json!({"url": "https://sqs.eu-west-1.amazonaws.com/111122223333/strangers"}), json!({"name": "strangers"})] {
        assert_eq!(url(edit.clone()).as_deref(), Some(""), "{edit}");
    }
}

#[test]
fn deleted_principals_that_a_queue_reports_and_the_loss_of_a_key_are_observed() {
    let (queue, key) = stored();
    let reporting = patched(&queue, &json!({"status": {"access": {"deletedPrincipals": [{"id": "AROAWORKERS0FIRST0LIFE", "roles": []}]}}}));
    let ids = |queue| observed_queue(queue, None, &[], false).deleted.into_iter().map(|deleted| deleted.id).collect::<Vec<_>>();
    assert_eq!((ids(&queue), ids(&reporting)), (vec![], vec!["AROAWORKERS0FIRST0LIFE".to_owned()]));
    let lost = patched(&key, &json!({"status": {"lostAt": "2026-11-23T00:00:00Z"}}));
    assert_eq!([observed_key(&key, false).lost, observed_key(&lost, false).lost], [false, true]);
}
