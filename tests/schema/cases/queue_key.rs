//! QueueKey.

use serde_json::json;

use super::{Case, Object, accepts, accepts_change, rejects, rejects_change};

pub fn key() -> Object {
    Object::new(
        "QueueKey",
        "acme-restricted-acme-prod-orders-5f3c9a1b2c-1",
        &json!({
            "tenant": "acme", "sensitivityTier": "restricted", "region": "eu-west-1",
            "scope": "Queue", "queue": { "namespace": "acme-prod", "name": "orders" },
        }),
    )
}

fn shared() -> Object {
    key().with("spec.scope", "Tenant").without("spec.queue")
}

pub fn cases() -> Vec<Case> {
    vec![
        accepts("the key of a queue", key()),
        accepts("a shared key", shared()),
        rejects("the key of a queue that is not named", key().without("spec.queue"), "must be given for scope Queue, and only then"),
        rejects("a shared key of one queue", key().with("spec.scope", "Tenant"), "must be given for scope Queue, and only then"),
        rejects("a queue in a namespace with a dot", key().with("spec.queue.namespace", "acme.prod"), "spec.queue.namespace"),
        rejects("a key without a Region", key().without("spec.region"), "spec.region"),
        accepts_change("another deletion policy", key(), key().with("spec.deletionPolicy", "Delete")),
        rejects_change("another tenant", key(), key().with("spec.tenant", "globex"), "is immutable"),
        rejects_change("another tier", key(), key().with("spec.sensitivityTier", "internal"), "is immutable"),
        rejects_change("another Region", key(), key().with("spec.region", "eu-central-1"), "is immutable"),
        rejects_change("another scope", key(), shared(), "queue is immutable"),
        rejects_change("another queue", key(), key().with("spec.queue.name", "invoices"), "queue is immutable"),
    ]
}
