//! Keys that no QueueKey records.

use encrypted_queue::api::labels::{TAG_NONCE, TAG_RELEASED};
use encrypted_queue::api::queue_key::Creation;
use encrypted_queue::plan::KeyAction;
use encrypted_queue::plan::late::{Stray, end_late, judge};
use encrypted_queue::plan::observed::{FoundKey, KeyEvidence, LastUse};
use encrypted_queue::plan::state::KeyLifecycle;

use super::orders;
use crate::plan::aws::Key;

/// A key of the object's, made with another nonce than the one on record.
fn late() -> (Key, FoundKey, encrypted_queue::api::QueueKeyStatus) {
    let (world, _) = orders();
    let mut key = world.aws.keys().next().unwrap().clone();
    "key-2".clone_into(&mut key.metadata.id);
    key.metadata.description = key.metadata.description.replace("nonce-1", "nonce-0");
    key.policy = key.policy.replace("nonce-1", "nonce-0");
    key.tags.insert(TAG_NONCE.to_owned(), "nonce-0".to_owned());
    let found = FoundKey { metadata: key.metadata.clone(), tags: key.tags.clone() };
    (key, found, world.keys.values().next().unwrap().status.0.clone())
}

#[test]
fn a_key_is_late_only_if_its_object_records_another() {
    let (_, found, status) = late();
    assert_eq!(judge(&found, Some(&status)), Stray::Late { recorded: "key-1".to_owned() });
    let own = FoundKey { metadata: encrypted_queue::plan::state::KeyMetadata { id: "key-1".to_owned(), ..found.metadata.clone() }, ..found.clone() };
    assert_eq!(judge(&own, Some(&status)), Stray::Known);
    let mut pending = found.clone();
    pending.metadata.lifecycle = KeyLifecycle::PendingDeletion;
    assert_eq!([judge(&pending, Some(&status)), judge(&pending, None)], [Stray::Known, Stray::Known]);
    // It is about to be found, or the record is not to be trusted.
    let edits: [fn(&mut encrypted_queue::api::QueueKeyStatus); 4] = [
        |status| (status.key_id, status.arn) = (None, None),
        |status| status.arn = Some("arn:aws:kms:eu-west-1:111122223333:key/key-3".to_owned()),
        |status| status.creation = status.creation.take().map(|creation| Creation { nonce: "mine".to_owned(), ..creation }),
        |status| status.key_sha256 = None,
    ];
    for edit in edits {
        let mut status = status.clone();
        edit(&mut status);
        assert_eq!(judge(&found, Some(&status)), Stray::Known, "{status:?}");
    }
    let mut released = found.clone();
    released.tags.insert(TAG_RELEASED.to_owned(), "2026-11-23T00:00:00Z".to_owned());
    assert_eq!([judge(&found, None), judge(&released, None)], [Stray::Orphan, Stray::Known]);
}

#[test]
fn a_late_key_ends_only_where_everything_says_that_nobody_needs_it() {
    let (key, found, status) = late();
    let evidence = KeyEvidence { id: "key-2".to_owned(), policy: Some(key.policy.clone()), queues: Vec::new(), last_use: LastUse::Never };
    let ends = |found: &FoundKey, evidence: &KeyEvidence| end_late(found, "key-1", evidence, 7);
    let [KeyAction::TagKey { tags, .. }, KeyAction::ScheduleKeyDeletion { id, window_days: 7 }] = ends(&found, &evidence).unwrap() else { panic!() };
    assert_eq!((tags["encryptedqueue.dev/superseded-by"].as_str(), id.as_str()), ("key-1", "key-2"));
    let at = status.creation.unwrap().started_at.0;
    let doubtful = [
        KeyEvidence { queues: vec!["strangers".to_owned()], ..evidence.clone() },
        KeyEvidence { last_use: LastUse::Unknown, ..evidence.clone() },
        KeyEvidence { last_use: LastUse::At { at, operation: "Decrypt".to_owned() }, ..evidence.clone() },
        KeyEvidence { policy: None, ..evidence.clone() },
        KeyEvidence { policy: Some(r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned()), ..evidence.clone() },
    ];
    for evidence in doubtful {
        assert_eq!(ends(&found, &evidence), None, "{evidence:?}");
    }
    let mut forged = found.clone();
    forged.metadata.description = "mine".to_owned();
    let mut without_nonce = found;
    without_nonce.tags.insert(TAG_NONCE.to_owned(), String::new());
    assert_eq!([ends(&forged, &evidence), ends(&without_nonce, &evidence)], [None, None]);
}
