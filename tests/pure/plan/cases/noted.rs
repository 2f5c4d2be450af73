//! What an action did is noted as AWS has it: the next round of the same pass plans from that, without reading again.

use std::collections::BTreeSet;

use encrypted_queue::names::QueueArn;
use encrypted_queue::plan::effect::{KeyEffect, QueueEffect};
use encrypted_queue::plan::observed::{CurrentKey, NextKeyRecord};
use encrypted_queue::plan::state::{KeyLifecycle, KeyMetadata, KeyState, KmsGrant, QueueState, RotationState, Tags};
use encrypted_queue::plan::{KeyAction, ObservedKey, ObservedQueue, QueueAction, Seen};
use encrypted_queue::policy::queue_policy::QueueKind;
use jiff::{SignedDuration, Timestamp};

fn now() -> Timestamp {
    "2026-11-23T00:00:00Z".parse().unwrap()
}

fn tags(names: &[&str]) -> Tags {
    names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect()
}

fn queue() -> ObservedQueue {
    let state = QueueState { url: "url".to_owned(), attributes: [].into(), tags: tags(&["a", "b"]) };
    ObservedQueue { source: Seen::Present(state), dead_letter: Seen::Absent, ..ObservedQueue::default() }
}

fn key() -> ObservedKey {
    let metadata = KeyMetadata {
        arn: "arn".to_owned(),
        id: "id".to_owned(),
        lifecycle: KeyLifecycle::PendingDeletion,
        description: String::new(),
        created_at: None,
        deletion_date: None,
    };
    let (policy, tags, aliases) = (String::new(), tags(&["a", "b"]), [].into());
    let state = KeyState { metadata, policy, tags, aliases, rotation: RotationState::default(), grants: Vec::new() };
    ObservedKey { state: Seen::Present(state), ..ObservedKey::default() }
}

fn done(mut observed: ObservedKey, action: &KeyAction) -> ObservedKey {
    observed.note(action, KeyEffect::Done, now());
    observed
}

#[test]
fn tags_that_were_removed_are_gone_and_the_others_are_there() {
    let (mut queue, keys) = (queue(), vec!["a".to_owned()]);
    let untag = QueueAction::UntagQueue { which: QueueKind::Source, url: "url".to_owned(), keys };
    queue.note(&untag, QueueEffect::Done, now());
    assert_eq!(queue.source.present().unwrap().tags, tags(&["b"]));
}

#[test]
fn the_key_to_come_is_forgotten_once_the_queue_is_under_another_than_before() {
    let record = |name: &str| QueueAction::RecordKeys { current: CurrentKey { name: name.to_owned(), arn: None }, previous: Vec::new() };
    let next = NextKeyRecord { name: "new".to_owned(), grants_sha256: String::new(), granted_at: now() };
    let mut queue = ObservedQueue { next_key: Some(next.clone()), current_key: Some(CurrentKey { name: "old".to_owned(), arn: None }), ..queue() };
    queue.note(&record("old"), QueueEffect::Done, now());
    assert_eq!(queue.next_key, Some(next));
    queue.note(&record("new"), QueueEffect::Done, now());
    assert_eq!(queue.next_key, None);
}

#[test]
fn after_a_lost_answer_the_queues_are_read_anew() {
    let mut queue = queue();
    queue.note_unknown();
    assert_eq!((queue.source, queue.dead_letter, queue.check), (Seen::NotRead, Seen::NotRead, true));
}

#[test]
fn a_key_whose_deletion_was_cancelled_is_disabled() {
    let observed = done(key(), &KeyAction::CancelKeyDeletion { id: "id".to_owned() });
    assert_eq!(observed.state.present().unwrap().metadata.lifecycle, KeyLifecycle::Disabled);
}

#[test]
fn a_rotation_is_due_its_period_after_it_was_enabled() {
    let observed = done(key(), &KeyAction::EnableKeyRotation { id: "id".to_owned(), period_days: 90 });
    assert_eq!(observed.state.present().unwrap().rotation.next_at, Some(now() + SignedDuration::from_hours(90 * 24)));
}

#[test]
fn rotations_on_demand_are_counted_unless_none_was_needed() {
    let served = |rotated| KeyAction::RecordRotationServed { requested_at: now(), rotated };
    let count = |before, rotated| done(ObservedKey { rotations_on_demand: before, ..key() }, &served(rotated)).rotations_on_demand;
    assert_eq!([count(3, true), count(3, false)], [4, 3]);
}

#[test]
fn a_dead_letter_queue_that_is_about_to_be_made_is_on_record_from_then_on() {
    let dead = QueueArn::parse("arn:aws:sqs:eu-central-1:111122223333:dead").unwrap();
    let forget = |dead_letter: Option<&QueueArn>| QueueAction::ForgetApplied { tag_keys: Vec::new(), dead_letter: dead_letter.cloned() };
    let mut queue = queue();
    queue.note(&forget(None), QueueEffect::Done, now());
    assert!(!queue.dead_letter_recorded);
    queue.note(&forget(Some(&dead)), QueueEffect::Done, now());
    assert!(queue.dead_letter_recorded);
    queue.note(&forget(None), QueueEffect::Done, now());
    assert!(queue.dead_letter_recorded);
}

#[test]
fn a_grant_that_was_revoked_is_gone_and_the_others_are_there() {
    let mut observed = key();
    let Seen::Present(state) = &mut observed.state else { panic!() };
    let grant = |id: &str| KmsGrant { id: id.to_owned(), grantee: String::new(), operations: BTreeSet::new() };
    state.grants = vec![grant("one"), grant("two")];
    let revoke = KeyAction::RevokeGrant { id: "id".to_owned(), grant: "one".to_owned(), grantee: String::new() };
    assert_eq!(done(observed, &revoke).state.present().unwrap().grants, [grant("two")]);
}

#[test]
fn an_approval_that_was_used_is_remembered() {
    let approval = Some(("granted".to_owned(), "maria".to_owned()));
    let observed = done(key(), &KeyAction::RecordUsers { users: Vec::new(), access_revision: 1, approval });
    assert_eq!(observed.approval.as_deref(), Some("granted"));
    let observed = done(observed, &KeyAction::RecordUsers { users: Vec::new(), access_revision: 2, approval: None });
    assert_eq!(observed.approval.as_deref(), Some("granted"), "until the next");
}
