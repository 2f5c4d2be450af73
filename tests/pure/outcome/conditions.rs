//! Conditions put together: summary, kstatus, transition times.

use encrypted_queue::api::Reason;
use encrypted_queue::api::conditions::{Finding, is_true, merge, summarise, types};
use encrypted_queue::api::reasons::Class;

use super::{MORNING, NOON, at, line, message};

fn findings(reason: Reason) -> Vec<Finding> {
    vec![Finding::of(types::ACCEPTED, Reason::Accepted, "fine"), Finding::of(types::KEY_READY, reason, "the key")]
}

#[test]
fn every_reason_is_ready_or_else_exactly_one_of_reconciling_and_stalled() {
    for reason in Reason::ALL {
        let conditions = merge(&[], &summarise(&findings(*reason), "ready"), Some(1), at(NOON));
        let expected = match reason.class() {
            Class::Fine => "Ready=True/InSync".to_owned(),
            Class::Progressing => format!("Ready=False/{reason} Reconciling=True/{reason}"),
            Class::Stalled => format!("Ready=False/{reason} Stalled=True/{reason}"),
        };
        assert_eq!(line(&conditions), expected);
        assert_eq!(is_true(&conditions, types::READY), reason.class() == Class::Fine);
        assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        assert!(!reason.description().is_empty());
    }
}

#[test]
fn what_a_person_must_act_on_comes_before_what_is_under_way() {
    let both = [Finding::of(types::KEY_READY, Reason::WaitingForKey, "wait"), Finding::of(types::QUEUE_READY, Reason::QueueConflict, "act")];
    let conditions = merge(&[], &summarise(&both, "ready"), None, at(NOON));
    assert_eq!(line(&conditions), "Ready=False/QueueConflict Stalled=True/QueueConflict");
    assert_eq!(message(&conditions, types::READY), "act");
}

#[test]
fn why_it_is_held_up_comes_before_what_is_only_not_known_yet() {
    let unknown = || Finding::unknown(types::KEY_READY, Reason::WaitingForKey, "not yet");
    let both = [unknown(), Finding::of(types::QUEUE_READY, Reason::AwsUnavailable, "the credentials have expired")];
    assert_eq!(message(&merge(&[], &summarise(&both, "ready"), None, at(NOON)), types::READY), "the credentials have expired");
    assert_eq!(message(&merge(&[], &summarise(&[unknown()], "ready"), None, at(NOON)), types::READY), "not yet");
}

#[test]
fn a_transition_time_moves_with_the_status_and_nothing_else() {
    let before = merge(&[], &findings(Reason::WaitingForKey), Some(1), at(MORNING));
    let cases = [
        ("nothing", findings(Reason::WaitingForKey), [MORNING, MORNING]),
        (
            "another reason and message",
            vec![findings(Reason::WaitingForKey).remove(0), Finding::of(types::KEY_READY, Reason::KeyUnusable, "gone")],
            [MORNING, MORNING],
        ),
        ("False becomes True", findings(Reason::KeyAvailable), [MORNING, NOON]),
        (
            "False becomes Unknown",
            vec![findings(Reason::Accepted).remove(0), Finding::unknown(types::KEY_READY, Reason::Pending, "")],
            [MORNING, NOON],
        ),
    ];
    for (case, now, expected) in cases {
        let after = merge(&before, &now, Some(2), at(NOON));
        assert_eq!(after.iter().map(|condition| condition.last_transition_time.0).collect::<Vec<_>>(), expected.map(at), "{case}");
        assert!(after.iter().all(|condition| condition.observed_generation == Some(2)), "{case}");
    }
}
