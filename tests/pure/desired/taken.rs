//! Two declarations that name one queue in AWS: one of them has it, the other is told whose it is.

use encrypted_queue::api::queue_key::NamespacedName;
use encrypted_queue::api::{EncryptedQueue, Reason};
use encrypted_queue::desired::{DesiredQueue, PrincipalRules, Refusal, claimed_names, unless_taken};
use encrypted_queue::names::Partition;
use serde_json::{Value, json};

use crate::declare::{Declared, declared, patched, tenant, tier};

fn named(name: &str, created: &str, aws_name: &str) -> Declared {
    let patch = json!({"metadata": {"name": name, "creationTimestamp": created}, "spec": {"queue": {"name": aws_name}, "deadLetter": null}});
    declared().with_queue(patch)
}

fn judged(own: &Declared, other: &Declared) -> Result<DesiredQueue, Box<Refusal>> {
    let accepted = other.judged().ok();
    let rules = || Some(PrincipalRules::new(&tenant().spec, &tier().spec, Partition::Aws, None));
    unless_taken(own.judged().unwrap(), &own.queue, rules, [(&other.queue, accepted.as_ref()), (&own.queue, None)])
}

/// Status as it is once the queue is made.
fn made(declared: Declared, arn: &str) -> Declared {
    let name = arn.rsplit(':').next().unwrap().to_owned();
    declared.with_queue(json!({"status": {"queue": {"name": name, "url": format!("https://x/{name}"), "arn": arn}}}))
}

#[test]
fn who_asked_first_has_the_name_unless_the_other_has_the_queue() {
    let arn = "arn:aws:sqs:eu-west-1:111122223333:acme-jobs";
    let (first, second) = (named("a", "2026-01-01T00:00:00Z", "acme-jobs"), named("b", "2026-01-02T00:00:00Z", "acme-jobs"));
    assert!(judged(&first, &second).is_ok());
    let refusal = judged(&second, &first).unwrap_err();
    assert_eq!(refusal.violations[0].reason, Reason::QueueNameTaken);
    assert_eq!(
        refusal.violations[0].to_string(),
        "spec.queue.name: queue acme-jobs of account 111122223333 in eu-west-1 is that of EncryptedQueue acme-prod/a; choose another name"
    );
    assert!(refusal.rules.is_some() && refusal.place.is_some());
    let second = made(second, arn);
    assert!(judged(&second, &first).is_ok());
    assert_eq!(judged(&first, &second).unwrap_err().violations[0].reason, Reason::QueueNameTaken);
    // Of equals the name decides, and never both or none.
    let (a, b) = (named("a", "2026-01-01T00:00:00Z", "acme-jobs"), named("b", "2026-01-01T00:00:00Z", "acme-jobs"));
    assert_eq!((judged(&a, &b).is_ok(), judged(&b, &a).is_ok()), (true, false));
    let (a, b) = (made(a, arn), made(b, arn));
    assert_eq!((judged(&a, &b).is_ok(), judged(&b, &a).is_ok()), (true, false));
}

#[test]
fn a_dead_letter_queue_takes_a_name_too() {
    let with_dead_letters = named("a", "2026-01-01T00:00:00Z", "acme-jobs").with_queue(json!({"spec": {"deadLetter": {}}}));
    let of_that_name = named("b", "2026-01-02T00:00:00Z", "acme-jobs-dlq");
    assert_eq!(judged(&of_that_name, &with_dead_letters).unwrap_err().violations[0].reason, Reason::QueueNameTaken);
    let without = named("a", "2026-01-01T00:00:00Z", "acme-jobs");
    assert!(judged(&of_that_name, &without).is_ok());
    assert!(claimed_names(&of_that_name.queue).iter().any(|name| claimed_names(&with_dead_letters.queue).contains(name)));
}

#[test]
fn another_place_or_a_refused_stranger_takes_nothing() {
    let own = named("b", "2026-01-02T00:00:00Z", "acme-jobs");
    let change = |patch: Value| named("a", "2026-01-01T00:00:00Z", "acme-jobs").with_queue(patch);
    assert!(judged(&own, &change(json!({"spec": {"region": "eu-central-1"}}))).is_ok());
    let refused = change(json!({"spec": {"tags": {"aws:x": "1"}}}));
    assert!(refused.judged().is_err() && judged(&own, &refused).is_ok());
}

#[test]
fn names_are_claimed_as_they_are_derived() {
    let queue: EncryptedQueue = patched(&declared().queue, &json!({"spec": {"queue": {"fifo": {}}}}));
    assert_eq!(claimed_names(&queue), ["acme-acme-prod-orders.fifo", "acme-acme-prod-orders-dlq.fifo"]);
    let accepted = Declared { queue, ..declared() }.judged().unwrap();
    assert_eq!(
        [accepted.source.arn.name(), accepted.dead_letter.unwrap().arn.name()],
        ["acme-acme-prod-orders.fifo", "acme-acme-prod-orders-dlq.fifo"]
    );
    assert_eq!(accepted.object, NamespacedName { namespace: "acme-prod".into(), name: "orders".into() });
}
