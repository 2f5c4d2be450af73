//! EncryptedQueue but its principals and FIFO.

use serde_json::{Value, json};

use super::{Case, Object, accepts, accepts_change, rejects, rejects_change, role, tags};

pub fn queue() -> Object {
    Object::new(
        "EncryptedQueue",
        "orders",
        &json!({ "tenant": "acme", "sensitivityTier": "restricted", "producers": [role("producer")], "consumers": [role("consumer")] }),
    )
}

fn named(name: &str) -> Object {
    queue().with("metadata.name", name)
}

pub fn cases() -> Vec<Case> {
    [names(), settings(), dead_letters(), tags(queue), immutability()].into_iter().flatten().collect()
}

fn names() -> Vec<Case> {
    let longest = "a".repeat(63);
    vec![
        accepts("the smallest queue", queue()),
        accepts("a name of 63 characters", named(&longest)),
        rejects("a name of 64 characters", named(&format!("{longest}a")), "metadata.name must be a DNS label"),
        rejects("a name with a dot", named("orders.eu"), "metadata.name must be a DNS label"),
        rejects("a tenant with a dot", queue().with("spec.tenant", "acme.eu"), "spec.tenant"),
        rejects("a tenant of 64 characters", queue().with("spec.tenant", format!("{longest}a")), "spec.tenant"),
        rejects("an empty tenant", queue().with("spec.tenant", ""), "spec.tenant"),
        rejects("no tenant", queue().without("spec.tenant"), "spec.tenant"),
        rejects("a tier in capitals", queue().with("spec.sensitivityTier", "Restricted"), "spec.sensitivityTier"),
        rejects("no tier", queue().without("spec.sensitivityTier"), "spec.sensitivityTier"),
        accepts("a Region", queue().with("spec.region", "us-gov-west-1")),
        rejects("an availability zone for a Region", queue().with("spec.region", "eu-west-1a"), "spec.region"),
        rejects("a null for a Region", queue().with("spec.region", Value::Null), "spec.region"),
        accepts("a null where there is a default", queue().with("spec.queue", Value::Null)),
        accepts("the longest name in AWS", queue().with("spec.queue.name", "q".repeat(80))),
        rejects("a longer name in AWS", queue().with("spec.queue.name", "q".repeat(81)), "spec.queue.name"),
        rejects("a name in AWS with a dot", queue().with("spec.queue.name", "acme.orders"), "spec.queue.name"),
        rejects("a wildcard in a queue's name", queue().with("spec.queue.name", "acme-*"), "spec.queue.name"),
    ]
}

/// Each number at and beyond its bounds.
fn settings() -> Vec<Case> {
    let bounds = [
        ("spec.queue.visibilityTimeoutSeconds", 0, 43_200),
        ("spec.queue.messageRetentionSeconds", 60, 1_209_600),
        ("spec.queue.delaySeconds", 0, 900),
        ("spec.queue.receiveMessageWaitSeconds", 0, 20),
        ("spec.queue.maximumMessageBytes", 1024, 1_048_576),
        ("spec.key.dataKeyReuseSeconds", 60, 86_400),
        ("spec.key.rotationPeriodDays", 90, 2560),
        ("spec.deadLetter.maxReceiveCount", 1, 1000),
    ];
    let mut cases: Vec<Case> = bounds
        .into_iter()
        .flat_map(|(field, minimum, maximum)| {
            [
                accepts(field, queue().with(field, minimum)),
                accepts(field, queue().with(field, maximum)),
                rejects(field, queue().with(field, minimum - 1), field),
                rejects(field, queue().with(field, maximum + 1), field),
            ]
        })
        .collect();
    cases.extend([
        rejects("a fraction of a second", queue().with("spec.queue.delaySeconds", 0.5), "spec.queue.delaySeconds"),
        accepts("a rotation asked for", queue().with("spec.key.rotateRequestedAt", "2026-11-23T00:00:00Z")),
        rejects("a rotation asked for by a date", queue().with("spec.key.rotateRequestedAt", "2026-11-23"), "spec.key.rotateRequestedAt"),
        accepts("deletion", queue().with("spec.deletionPolicy", "Delete")),
        rejects("an unknown deletion policy", queue().with("spec.deletionPolicy", "Orphan"), "spec.deletionPolicy"),
        accepts("adoption", queue().with("spec.adoption", "IfUnowned")),
        rejects("an unknown adoption", queue().with("spec.adoption", "Always"), "spec.adoption"),
    ]);
    cases
}

fn dead_letters() -> Vec<Case> {
    let retentions = |queue_seconds: i32, dead_letter_seconds: i32| {
        queue().with("spec.queue.messageRetentionSeconds", queue_seconds).with("spec.deadLetter.messageRetentionSeconds", dead_letter_seconds)
    };
    vec![
        accepts("dead letters with the defaults", queue().with("spec.deadLetter", json!({}))),
        accepts("dead letters kept a second longer", retentions(345_600, 345_601)),
        rejects("dead letters kept as long", retentions(345_600, 345_600), "must exceed queue.messageRetentionSeconds"),
        rejects("dead letters kept less than the default", queue().with("spec.deadLetter.messageRetentionSeconds", 345_600), "must exceed"),
        rejects("the longest retention, leaving none for dead letters", retentions(1_209_600, 1_209_600), "must exceed"),
        accepts("a FIFO queue's dead letters, whose clock starts again", retentions(345_600, 60).with("spec.queue.fifo", json!({}))),
        accepts("a name", queue().with("spec.deadLetter.name", "acme-dead")),
        rejects("a name with a slash", queue().with("spec.deadLetter.name", "acme/dead"), "spec.deadLetter.name"),
        accepts("redrivers", queue().with("spec.deadLetter.redrivers", json!([role("redriver")]))),
        rejects("the same redriver twice", queue().with("spec.deadLetter.redrivers", json!([role("a"), role("a")])), "same entry twice"),
        rejects("the same consumer of dead letters twice", queue().with("spec.deadLetter.consumers", json!([role("a"), role("a")])), "same entry"),
    ]
}

fn immutability() -> Vec<Case> {
    let named = || queue().with("spec.queue.name", "acme-orders");
    let placed = || queue().with("spec.region", "eu-west-1");
    vec![
        rejects_change("another tenant", queue(), queue().with("spec.tenant", "globex"), "is immutable"),
        accepts_change("another tier", queue(), queue().with("spec.sensitivityTier", "internal")),
        accepts_change("the same Region", placed(), placed().with("spec.queue.delaySeconds", 1)),
        rejects_change("another Region", placed(), placed().with("spec.region", "eu-central-1"), "region is immutable"),
        rejects_change("a Region set later", queue(), placed(), "region is immutable"),
        rejects_change("a Region removed", placed(), queue(), "region is immutable"),
        rejects_change("another name in AWS", named(), queue().with("spec.queue.name", "acme-invoices"), "name is immutable"),
        rejects_change("a name in AWS set later", queue(), named(), "name is immutable"),
        rejects_change("a name in AWS removed", named(), queue(), "name is immutable"),
        accepts_change("settings and principals", named(), named().with("spec.queue.delaySeconds", 5).with("spec.producers", json!([role("other")]))),
        rejects_change(
            "another name of the dead-letter queue",
            queue().with("spec.deadLetter.name", "acme-dead"),
            queue().with("spec.deadLetter.name", "acme-lost"),
            "name is immutable",
        ),
        accepts_change("a named dead-letter queue that goes", queue().with("spec.deadLetter.name", "acme-dead"), queue()),
        accepts_change("dead letters added", queue(), queue().with("spec.deadLetter", json!({}))),
    ]
}
