//! Actions in words, as Events and `plan` tell them.

use encrypted_queue::plan::observed::{AdoptionRecord, CurrentKey, PreviousKeyRecord};
use encrypted_queue::plan::render::{key_action, queue_action};
use encrypted_queue::plan::{KeyAction, QueueAction};
use encrypted_queue::policy::queue_policy::QueueKind;

const URL: &str = "https://sqs.eu-west-1.amazonaws.com/111122223333/orders";

fn map(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn of_queues_short_values_are_told_and_policies_named() {
    let (url, attributes) = (URL.to_owned(), map(&[("DelaySeconds", "1"), ("Policy", "{}"), ("RedrivePolicy", "")]));
    let set = QueueAction::SetQueueAttributes { which: QueueKind::Source, url: url.clone(), attributes, revokes: false };
    assert_eq!(queue_action(&set), "set DelaySeconds=1, Policy, RedrivePolicy of queue orders");
    let tag = QueueAction::TagQueue { which: QueueKind::DeadLetter, url, tags: map(&[("owner", "a"), ("stage", "b")]) };
    assert_eq!(queue_action(&tag), "tag dead-letter queue orders with owner, stage");
}

#[test]
fn keys_that_a_queue_was_moved_away_from_are_told_as_long_as_there_are_any() {
    let current = CurrentKey { name: "acme".to_owned(), arn: None };
    let now = "2026-11-23T00:00:00Z".parse().unwrap();
    let earlier = PreviousKeyRecord { name: None, arn: "arn".to_owned(), managed: false, switched_at: now, decrypt_until: now };
    let told = |previous: Vec<_>| queue_action(&QueueAction::RecordKeys { current: current.clone(), previous });
    assert_eq!(told(Vec::new()), "note that the queue is under QueueKey acme alone");
    assert_eq!(told(vec![earlier]), "note that the queue is under QueueKey acme and what earlier keys are for");
}

#[test]
fn of_keys_the_tags_are_named() {
    let tag = KeyAction::TagKey { id: "1234".to_owned(), tags: map(&[("owner", "a"), ("stage", "b")]) };
    assert_eq!(key_action(&tag), "tag key 1234 with owner, stage");
}

#[test]
fn of_a_queue_that_is_taken_over_beginning_and_end_are_told() {
    let told = |completed_at| queue_action(&QueueAction::RecordAdoption { record: AdoptionRecord { completed_at, ..AdoptionRecord::default() } });
    assert_eq!(told(None), "note how the queue was found");
    assert_eq!(told(Some("2026-11-23T00:00:00Z".parse().unwrap())), "note that the queue is taken over");
}
