//! AccessApproval.

use serde_json::json;

use super::{Case, Object, accepts, accepts_change, rejects, rejects_change};

pub fn approval() -> Object {
    Object::new(
        "AccessApproval",
        "orders-worker",
        &json!({
            "queueKey": "acme-restricted-acme-prod-orders-5f3c9a1b2c-1",
            "grantsSha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "reason": "CHG-1234: new worker",
            "approvedBy": "maria@example.com",
        }),
    )
}

pub fn cases() -> Vec<Case> {
    let with = |field: &str, value: &str| approval().with(field, value);
    vec![
        accepts("an approval", approval()),
        rejects("a hash of 63 digits", with("spec.grantsSha256", &"a".repeat(63)), "spec.grantsSha256"),
        rejects("a hash in capitals", with("spec.grantsSha256", &"A".repeat(64)), "spec.grantsSha256"),
        rejects("no reason", with("spec.reason", ""), "spec.reason"),
        accepts("the longest reason", with("spec.reason", &"r".repeat(1024))),
        rejects("a longer reason", with("spec.reason", &"r".repeat(1025)), "spec.reason"),
        rejects("nobody", with("spec.approvedBy", ""), "spec.approvedBy"),
        accepts("the longest approver", with("spec.approvedBy", &"a".repeat(256))),
        rejects("a longer approver", with("spec.approvedBy", &"a".repeat(257)), "spec.approvedBy"),
        rejects("no key", with("spec.queueKey", ""), "spec.queueKey"),
        rejects("a name that no key has", with("spec.queueKey", "Orders"), "spec.queueKey"),
        accepts("an approval for a queue", approval().with("spec.queue", json!({"namespace": "acme-prod", "name": "orders"}))),
        rejects("a queue without a namespace", approval().with("spec.queue", json!({"name": "orders"})), "spec.queue.namespace"),
        rejects_change(
            "a queue, afterwards",
            approval(),
            approval().with("spec.queue", json!({"namespace": "acme-prod", "name": "orders"})),
            "is immutable",
        ),
        accepts_change("the same", approval(), approval()),
        rejects_change("another key", approval(), with("spec.queueKey", "other"), "is immutable"),
        rejects_change("another hash", approval(), with("spec.grantsSha256", &"b".repeat(64)), "is immutable"),
        rejects_change("another reason", approval(), with("spec.reason", "because"), "is immutable"),
        rejects_change("another approver", approval(), with("spec.approvedBy", "eve@example.com"), "is immutable"),
    ]
}
