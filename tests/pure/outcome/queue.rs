//! Status of an EncryptedQueue.

use encrypted_queue::api::conditions::types;
use encrypted_queue::api::{EncryptedQueueStatus, QueueKeyStatus, Reason};
use encrypted_queue::desired::{DesiredQueue, Violation, queue_owner_tags};
use encrypted_queue::outcome::End;
use encrypted_queue::outcome::queue::QueuePass;
use encrypted_queue::plan::queue::applied_sha256;
use encrypted_queue::plan::state::QueueState;
use encrypted_queue::plan::{Hold, ObservedKeyObject, ObservedQueue, Seen};
use serde_json::json;

use super::{MORNING, NOON, at, line, message};
use crate::declare::{CLUSTER, Declared, declared};

const KEY_ARN: &str = "arn:aws:kms:eu-west-1:111122223333:key/one";
const FINE: &str = "Ready=True/InSync Accepted=True/Accepted KeyReady=True/KeyAvailable QueueReady=True/QueueAvailable AccessInSync=True/InSync";

/// A pass as it ends when all is well; each case changes something.
struct Case {
    desired: Result<DesiredQueue, Vec<Violation>>,
    observed: ObservedQueue,
    end: End,
    paused: Option<Vec<String>>,
    deleting: bool,
    kept_sha256: Option<String>,
}

fn of(declared: &Declared) -> Case {
    let tags = queue_owner_tags(CLUSTER, &declared.queue);
    let found = |name: &str| Seen::Present(QueueState { url: format!("https://sqs/{name}"), attributes: [].into(), tags: tags.clone() });
    let holds = declared.judged().ok().map(|desired| desired.access.sha256());
    let key = ObservedKeyObject { arn: Some(KEY_ARN.to_owned()), holds, ..ObservedKeyObject::default() };
    Case {
        desired: declared.judged().map_err(|refusal| refusal.violations),
        observed: ObservedQueue {
            key: Some(key),
            applied_tag_keys: vec!["was".to_owned()],
            source: found("orders"),
            dead_letter: found("orders-dlq"),
            ..ObservedQueue::default()
        },
        end: End::Complete,
        paused: None,
        deleting: false,
        kept_sha256: Some("kept".to_owned()),
    }
}

impl Case {
    fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    fn held(self, reason: Reason) -> Self {
        self.ending(End::Held(Hold::new(reason, "the message")))
    }

    fn failed(self, reason: Reason) -> Self {
        self.ending(End::Failed { reason, message: "sqs:CreateQueue: no".to_owned() })
    }

    fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn told(&self, previous: &EncryptedQueueStatus, now: &str) -> EncryptedQueueStatus {
        let key = QueueKeyStatus { arn: Some(KEY_ARN.to_owned()), alias: Some("alias/one".to_owned()), ..QueueKeyStatus::default() };
        let pass = QueuePass {
            desired: self.desired.as_ref().map_err(Vec::as_slice),
            observed: &self.observed,
            end: &self.end,
            key: Some(&key),
            paused: self.paused.as_deref(),
            deleting: self.deleting,
            checked_now: None,
            kept_sha256: self.kept_sha256.clone(),
            generation: Some(7),
        };
        pass.status(previous, at(now))
    }

    fn status(&self) -> EncryptedQueueStatus {
        self.told(&EncryptedQueueStatus::default(), NOON)
    }
}

fn fine() -> Case {
    of(&declared())
}

fn refused() -> Case {
    of(&declared().with_queue(json!({"spec": {"queue": {"messageRetentionSeconds": 60}, "region": "us-east-1"}})))
}

#[test]
fn since_when_it_is_not_as_declared_is_kept_until_it_is() {
    let since = |status: &EncryptedQueueStatus| status.non_compliant_since.as_ref().map(|since| since.0);
    // What is being made was never as declared: nothing is remedied.
    let making = fine().held(Reason::WaitingForKey).status();
    assert_eq!(since(&making), None);
    let ready = fine().told(&making, NOON);
    assert_eq!(since(&ready), None);
    let refused_then = refused().told(&ready, NOON);
    assert_eq!(since(&refused_then), Some(at(NOON)));
    let still = fine().failed(Reason::AwsUnavailable).told(&refused_then, "2026-11-24T12:00:00Z");
    assert_eq!(since(&still), Some(at(NOON)), "the first time counts");
    assert_eq!(since(&fine().told(&still, "2026-11-25T12:00:00Z")), None);
    let ending = fine().but(|case| case.deleting = true);
    assert_eq!(since(&ending.told(&still, "2026-11-25T12:00:00Z")), None);
}

#[test]
fn each_end_and_its_conditions() {
    let suspended = of(&declared().with_tenant(json!({"spec": {"access": "Suspended"}})));
    let rest = "QueueReady=Unknown/Pending AccessInSync=Unknown/Pending";
    let cases = [
        ("all is well", fine(), FINE.to_owned()),
        (
            "the key is being made",
            fine().held(Reason::WaitingForKey),
            format!("Ready=False/WaitingForKey Reconciling=True/WaitingForKey Accepted=True/Accepted KeyReady=False/WaitingForKey {rest}"),
        ),
        (
            "the key is not usable",
            fine().held(Reason::KeyUnusable),
            format!("Ready=False/KeyUnusable Stalled=True/KeyUnusable Accepted=True/Accepted KeyReady=False/KeyUnusable {rest}"),
        ),
        (
            "the queue's first second",
            fine().held(Reason::WaitingForQueue),
            "Ready=False/WaitingForQueue Reconciling=True/WaitingForQueue Accepted=True/Accepted KeyReady=True/KeyAvailable \
             QueueReady=False/WaitingForQueue AccessInSync=True/InSync"
                .to_owned(),
        ),
        (
            "a queue that is not ours",
            fine().held(Reason::QueueConflict),
            "Ready=False/QueueConflict Stalled=True/QueueConflict Accepted=True/Accepted KeyReady=True/KeyAvailable \
             QueueReady=False/QueueConflict AccessInSync=Unknown/Pending"
                .to_owned(),
        ),
        (
            "AWS says no",
            fine().failed(Reason::AccessDenied),
            "Ready=False/AccessDenied Stalled=True/AccessDenied Accepted=True/Accepted KeyReady=True/KeyAvailable \
             QueueReady=False/AccessDenied AccessInSync=Unknown/Pending"
                .to_owned(),
        ),
        (
            "AWS asks for slower calls",
            fine().failed(Reason::Throttled),
            "Ready=False/Throttled Reconciling=True/Throttled Accepted=True/Accepted KeyReady=True/KeyAvailable \
             QueueReady=False/Throttled AccessInSync=Unknown/Pending"
                .to_owned(),
        ),
        (
            "refused",
            refused(),
            format!("Ready=False/RegionNotAllowed Stalled=True/RegionNotAllowed Accepted=False/RegionNotAllowed KeyReady=Unknown/Pending {rest}"),
        ),
        (
            "paused",
            fine().but(|case| case.paused = Some(vec![])),
            "Ready=False/Paused Stalled=True/Paused Accepted=True/Accepted KeyReady=True/KeyAvailable QueueReady=False/Paused AccessInSync=True/InSync"
                .to_owned(),
        ),
        (
            "being deleted",
            fine().but(|case| case.deleting = true),
            "Ready=False/Deleting Reconciling=True/Deleting Accepted=True/Accepted KeyReady=True/KeyAvailable QueueReady=False/Deleting \
             AccessInSync=True/InSync"
                .to_owned(),
        ),
        (
            "deletion waits for messages",
            fine().held(Reason::QueueNotEmpty).but(|case| case.deleting = true),
            "Ready=False/QueueNotEmpty Stalled=True/QueueNotEmpty Accepted=True/Accepted KeyReady=True/KeyAvailable \
             QueueReady=False/QueueNotEmpty AccessInSync=Unknown/Pending"
                .to_owned(),
        ),
        (
            "the tenant is suspended",
            suspended,
            "Ready=False/TenantSuspended Stalled=True/TenantSuspended Accepted=True/Accepted KeyReady=True/KeyAvailable \
             QueueReady=True/QueueAvailable AccessInSync=False/TenantSuspended"
                .to_owned(),
        ),
        ("others are not denied", of(&declared().with_tier(json!({"spec": {"access": {"others": "Unstated"}}}))), FINE.to_owned()),
    ];
    for (name, case, expected) in cases {
        let status = case.status();
        assert_eq!(line(&status.conditions), expected, "{name}");
        assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(7) && !condition.message.is_empty()), "{name}");
        assert_eq!(status.observed_generation, Some(7), "{name}");
        let kstatus: Vec<_> = status.conditions.iter().filter(|c| [types::RECONCILING, types::STALLED].contains(&c.type_.as_str())).collect();
        assert!(kstatus.len() <= 1 && kstatus.iter().all(|condition| condition.status == "True"), "{name}");
    }
}

#[test]
fn a_queue_that_was_never_made_is_not_called_ready_and_what_it_waits_for_is() {
    let waits = fine().held(Reason::AwaitingApproval).but(|case| {
        (case.observed.source, case.observed.dead_letter) = (Seen::Absent, Seen::Absent);
        case.observed.key.as_mut().unwrap().holds = None;
    });
    let conditions = waits.status().conditions;
    assert_eq!(
        line(&conditions),
        "Ready=False/AwaitingApproval Reconciling=True/AwaitingApproval Accepted=True/Accepted KeyReady=Unknown/WaitingForKey \
         QueueReady=Unknown/Pending AccessInSync=False/AwaitingApproval"
    );
}

#[test]
fn messages_say_what_is_wrong() {
    let status = refused().status();
    let accepted = message(&status.conditions, types::ACCEPTED);
    assert!(accepted.starts_with("spec.region: ") && accepted.contains("; spec.queue.messageRetentionSeconds: "), "{accepted}");
    assert_eq!(message(&status.conditions, types::READY), accepted);
    let failed = fine().failed(Reason::AccessDenied).status();
    assert_eq!(message(&failed.conditions, types::READY), "sqs:CreateQueue: no");
    let paused = fine().but(|case| case.paused = Some(vec!["set DelaySeconds of queue orders".to_owned()])).status();
    assert!(message(&paused.conditions, types::READY).ends_with("not done: set DelaySeconds of queue orders"));
    let unstated = of(&declared().with_tier(json!({"spec": {"access": {"others": "Unstated"}}}))).status();
    assert!(message(&unstated.conditions, types::ACCESS_IN_SYNC).contains("least access cannot be shown"));
}

#[test]
fn the_record_is_there_exactly_when_it_is_true() {
    let applied = applied_sha256(&declared().judged().unwrap(), KEY_ARN);
    let (applied, kept) = (Some(applied.as_str()), Some("kept"));
    let cases = [
        ("all is well", fine(), applied),
        ("all but the first second", fine().held(Reason::WaitingForQueue), applied),
        ("waiting for the key", fine().held(Reason::WaitingForKey), None),
        ("failed", fine().failed(Reason::Throttled), None),
        ("refused, and the rules hold", refused(), kept),
        ("refused, and narrowing failed", refused().failed(Reason::Throttled), None),
        ("refused, and nothing was made", refused().but(|case| case.kept_sha256 = None), None),
        ("paused", fine().but(|case| case.paused = Some(vec![])), kept),
        ("deleting", fine().but(|case| case.deleting = true), None),
        ("no key yet", fine().but(|case| case.observed.key = None), None),
    ];
    for (name, case, expected) in cases {
        let previous = EncryptedQueueStatus { applied_sha256: Some("of before".to_owned()), ..EncryptedQueueStatus::default() };
        assert_eq!(case.told(&previous, NOON).applied_sha256.as_deref(), expected, "{name}");
    }
}

#[test]
fn tag_keys_are_replaced_only_when_all_tags_are_applied() {
    let declared = declared().judged().unwrap().tags.into_keys().collect::<Vec<_>>();
    let was = vec!["was".to_owned()];
    let cases = [
        ("all is well", fine(), &declared),
        ("failed", fine().failed(Reason::Throttled), &was),
        ("waiting for the key", fine().held(Reason::WaitingForKey), &was),
        ("paused", fine().but(|case| case.paused = Some(vec![])), &was),
        ("refused", refused(), &was),
        ("deleting", fine().but(|case| case.deleting = true), &was),
    ];
    for (name, case, expected) in cases {
        assert_eq!(case.status().applied_tag_keys, *expected, "{name}");
    }
}

#[test]
fn references_are_told_and_kept() {
    let status = fine().status();
    let (queue, dead_letter, key) = (status.queue.clone().unwrap(), status.dead_letter_queue.clone().unwrap(), status.key.clone().unwrap());
    assert_eq!((queue.url.as_str(), queue.arn.as_str()), ("https://sqs/orders", "arn:aws:sqs:eu-west-1:111122223333:acme-acme-prod-orders"));
    assert_eq!(dead_letter.name, "acme-acme-prod-orders-dlq");
    assert_eq!((key.arn.as_deref(), key.alias.as_deref()), (Some(KEY_ARN), Some("alias/one")));
    // 2,678,400 / 600 × (2·1 + 1) requests of a producer and a consumer: four cents, and a dollar for the key.
    assert_eq!(status.estimated_monthly_usd.as_deref(), Some("1.04"));
    let refused = refused().told(&status, NOON);
    assert_eq!((&refused.queue, &refused.dead_letter_queue, &refused.key), (&status.queue, &status.dead_letter_queue, &status.key));
}

#[test]
fn the_same_again_changes_nothing() {
    let first = fine().told(&EncryptedQueueStatus::default(), MORNING);
    assert_eq!(fine().told(&first, NOON), first);
    let worse = fine().held(Reason::QueueConflict).told(&first, NOON);
    let moved = |type_: &str| worse.conditions.iter().find(|condition| condition.type_ == type_).unwrap().last_transition_time.0 == at(NOON);
    let all = [types::READY, types::STALLED, types::ACCEPTED, types::KEY_READY, types::QUEUE_READY];
    assert_eq!(all.map(moved), [true, true, false, false, true]);
}

#[test]
fn anothers_queue_is_not_on_record() {
    let another = |case: &mut Case| {
        for seen in [&mut case.observed.source, &mut case.observed.dead_letter] {
            if let Seen::Present(queue) = seen {
                queue.tags.insert("encryptedqueue.dev/object".to_owned(), "globex/theirs".to_owned());
            }
        }
    };
    let status = fine().but(another).held(Reason::QueueConflict).status();
    assert_eq!((status.queue, status.dead_letter_queue), (None, None));
}
