//! Status of a QueueKey.

use encrypted_queue::api::queue_key::Creation;
use encrypted_queue::api::{QueueKey, QueueKeyStatus, Reason};
use encrypted_queue::desired::{DesiredKey, KeyInput, KeyUserInput, desired_key};
use encrypted_queue::outcome::End;
use encrypted_queue::outcome::key::KeyPass;
use encrypted_queue::plan::key::applied_sha256;
use encrypted_queue::plan::observed::NonceRecord;
use encrypted_queue::plan::state::{KeyLifecycle, KeyMetadata, KeyState, RotationState};
use encrypted_queue::plan::{Hold, ObservedKey, Seen};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{MORNING, NOON, at, line};
use crate::declare::{CLUSTER, declared, object, operator};

fn desired() -> DesiredKey {
    let declared = declared();
    let queue = declared.judged().unwrap();
    let spec = json!({"tenant": "acme", "sensitivityTier": "internal", "region": "eu-west-1", "scope": "Queue", "queue": queue.object});
    let metadata = json!({"name": queue.key_name, "uid": "uid-of-key"});
    let object: QueueKey = object(json!({"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "QueueKey", "metadata": metadata, "spec": spec}));
    let user = KeyUserInput {
        object: queue.object.clone(),
        uid: queue.uid.clone(),
        recorded: None,
        desired: Ok(queue),
        deleted: Vec::new(),
        paused: false,
        leaving: false,
    };
    let (tenant, tier) = (declared.tenant.as_ref().unwrap(), declared.tier.as_ref());
    desired_key(KeyInput { object: &object, tenant, tier, cluster_id: CLUSTER, operator_role: &operator(), users: vec![user], approvals: Vec::new() })
}

fn observed() -> ObservedKey {
    let metadata = KeyMetadata {
        id: "one".to_owned(),
        arn: "arn:aws:kms:eu-west-1:111122223333:key/one".to_owned(),
        lifecycle: KeyLifecycle::Enabled,
        description: String::new(),
        created_at: None,
        deletion_date: None,
    };
    let rotation = RotationState { enabled: true, period_days: Some(180), next_at: Some(at(NOON)) };
    ObservedKey {
        key_id: Some("one".to_owned()),
        nonce: Some(NonceRecord { nonce: "nonce".to_owned(), started_at: at(MORNING), fresh: false }),
        state: Seen::Present(KeyState { metadata, policy: String::new(), tags: [].into(), aliases: [].into(), rotation, grants: vec![] }),
        ..ObservedKey::default()
    }
}

fn previous() -> QueueKeyStatus {
    let creation = Creation { nonce: "nonce".to_owned(), started_at: Time(at(MORNING)) };
    QueueKeyStatus {
        creation: Some(creation),
        applied_sha256: Some("of before".to_owned()),
        applied_tag_keys: vec!["was".to_owned()],
        ..QueueKeyStatus::default()
    }
}

fn told(end: &End, observed: &ObservedKey) -> QueueKeyStatus {
    KeyPass { desired: Some(&desired()), observed, end, checked_now: None, generation: Some(3) }.status(&previous(), at(NOON))
}

fn held(reason: Reason) -> End {
    End::Held(Hold::new(reason, "the message"))
}

fn failed(reason: Reason) -> End {
    End::Failed { reason, message: "kms:PutKeyPolicy: no".to_owned() }
}

#[test]
fn each_end_its_conditions_and_its_record() {
    let desired = desired();
    let applied = applied_sha256(&desired, &observed(), "nonce");
    let applied = Some(applied.as_str());
    let others = "AccessApproved=True/NotRequired RotationInSync=Unknown/Pending";
    let rotation = |reason: &str| format!("PolicyInSync=True/InSync AccessApproved=True/NotRequired RotationInSync=False/{reason}");
    let cases = [
        (End::Complete, "Ready=True/InSync PolicyInSync=True/InSync AccessApproved=True/NotRequired RotationInSync=True/InSync".to_owned(), applied),
        (
            held(Reason::SearchingForKey),
            format!("Ready=False/SearchingForKey Reconciling=True/SearchingForKey PolicyInSync=False/SearchingForKey {others}"),
            None,
        ),
        (
            held(Reason::AmbiguousOwnership),
            format!("Ready=False/AmbiguousOwnership Stalled=True/AmbiguousOwnership PolicyInSync=False/AmbiguousOwnership {others}"),
            None,
        ),
        (
            failed(Reason::PrincipalInvalid),
            format!("Ready=False/PrincipalInvalid Stalled=True/PrincipalInvalid PolicyInSync=False/PrincipalInvalid {others}"),
            None,
        ),
        (
            held(Reason::RotationPending),
            format!("Ready=False/RotationPending Reconciling=True/RotationPending {}", rotation("RotationPending")),
            applied,
        ),
        (held(Reason::RotationsUsedUp), format!("Ready=False/RotationsUsedUp Stalled=True/RotationsUsedUp {}", rotation("RotationsUsedUp")), applied),
    ];
    for (end, conditions, expected) in cases {
        let status = told(&end, &observed());
        assert_eq!(line(&status.conditions), conditions);
        assert_eq!(status.applied_sha256.as_deref(), expected, "{end:?}");
        let tags = if expected.is_some() { desired.tags.keys().cloned().collect() } else { vec!["was".to_owned()] };
        assert_eq!(status.applied_tag_keys, tags, "{end:?}");
        assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(3)), "{end:?}");
    }
}

#[test]
fn without_a_desired_key_nothing_is_known_to_be_applied() {
    let status = KeyPass { desired: None, observed: &observed(), end: &held(Reason::TenantNotFound), checked_now: None, generation: None }
        .status(&previous(), at(NOON));
    assert_eq!(status.applied_sha256, None);
}

#[test]
fn what_kms_says_of_the_key_is_told() {
    let status = told(&End::Complete, &observed());
    let rotation = status.rotation.unwrap();
    assert_eq!(
        (status.key_state.as_deref(), rotation.period_days, rotation.next_at.map(|time| time.0)),
        (Some("Enabled"), Some(180), Some(at(NOON)))
    );
}

#[test]
fn a_nonce_is_forgotten_only_when_surely_no_key_was_made_with_it() {
    let with = |fresh| ObservedKey { nonce: observed().nonce.map(|nonce| NonceRecord { fresh, ..nonce }), ..ObservedKey::default() };
    let cases = [
        ("CreateKey was refused", failed(Reason::PrincipalInvalid), true, false),
        ("its answer was lost", failed(Reason::AwsUnavailable), false, true),
        ("the key is being looked for", held(Reason::SearchingForKey), false, true),
        ("done", End::Complete, false, true),
    ];
    for (case, end, fresh, stays) in cases {
        assert_eq!(told(&end, &with(fresh)).creation.is_some(), stays, "{case}");
    }
}

#[test]
fn the_same_again_changes_nothing() {
    let first = told(&End::Complete, &observed());
    let again = KeyPass { desired: Some(&desired()), observed: &observed(), end: &End::Complete, checked_now: None, generation: Some(3) }
        .status(&first, at("2026-11-24T00:00:00Z"));
    assert_eq!(again, first);
}
