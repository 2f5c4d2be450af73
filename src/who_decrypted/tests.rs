//! Records as CloudTrail writes them.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn record(id: &str, principal: &str, queue: Option<&str>, error: Option<&str>, time: &str) -> Value {
    let mut record = json!({
        "eventVersion": "1.11", "eventID": id, "eventTime": time, "eventSource": "kms.amazonaws.com", "eventName": "Decrypt", "readOnly": true,
        "userIdentity": {
            "type": "AssumedRole", "arn": format!("arn:aws:sts::111122223333:assumed-role/{principal}/i-1"), "accountId": "111122223333",
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": format!("arn:aws:iam::111122223333:role/team/{principal}")}},
            "invokedBy": "sqs.amazonaws.com",
        },
        "requestParameters": {"encryptionAlgorithm": "SYMMETRIC_DEFAULT"},
        "resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": "arn:aws:kms:eu-west-1:111122223333:key/k"}],
    });
    if let Some(queue) = queue {
        record["requestParameters"]["encryptionContext"] = json!({"aws:sqs:arn": format!("arn:aws:sqs:eu-west-1:111122223333:{queue}")});
    }
    if let Some(error) = error {
        record["errorCode"] = error.into();
    }
    record
}

#[test]
fn events_are_counted_by_queue_and_role_once_each() {
    let records = [
        record("1", "worker", Some("orders"), None, "2026-11-23T10:00:00Z"),
        record("2", "worker", Some("orders"), None, "2026-11-23T09:00:00Z"),
        record("2", "worker", Some("orders"), None, "2026-11-23T09:00:00Z"),
        record("3", "stranger", Some("orders"), Some("AccessDenied"), "2026-11-23T11:00:00Z"),
        record("4", "worker", Some("bills"), Some("KMSInvalidStateException"), "2026-11-23T11:00:00Z"),
        record("5", "worker", None, None, "2026-11-23T11:00:00Z"),
        json!({"eventName": "Encrypt", "eventSource": "kms.amazonaws.com"}),
    ];
    let mut tally = Tally::default();
    tally.add_file(&json!({"Records": records}).to_string());
    tally.add_file("not JSON\n{\"eventName\": 1}\n");
    let report = tally.report(Vec::new(), false);
    let rows: Vec<_> = report
        .rows
        .iter()
        .map(|row| (row.queue.rsplit(':').next().unwrap(), row.principal.rsplit('/').next().unwrap(), row.decrypted, row.denied, row.failed))
        .collect();
    assert_eq!(rows, [("bills", "worker", 0, 0, 1), ("orders", "worker", 2, 0, 0), ("orders", "stranger", 0, 1, 0)]);
    assert_eq!((report.events, report.other_events, report.malformed), (4, 1, 2));
    let orders = &report.rows[1];
    assert_eq!(orders.principal, "arn:aws:iam::111122223333:role/team/worker", "the role, with its path, not the session");
    assert_eq!((orders.first.as_str(), orders.last.as_str(), orders.keys.len()), ("2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z", 1));
    let text = who_decrypted_text(&report);
    assert!(text.contains("4 Decrypt events of 2 queues; 1 without a queue.") && text.contains("2 texts are no events"), "{text}");
}

#[test]
fn each_shape_of_a_file_is_read() {
    let one = record("1", "worker", Some("orders"), None, "2026-11-23T10:00:00Z");
    for text in [
        json!({"Records": [one]}).to_string(),
        json!([one]).to_string(),
        one.to_string(),
        format!("{one}\n\n{}\n", json!({"eventName": "x", "eventSource": "y"})),
    ] {
        let mut tally = Tally::default();
        tally.add_file(&text);
        let report = tally.report(Vec::new(), false);
        assert_eq!((report.events, report.malformed), (1, 0), "{text}");
    }
}

#[test]
fn whom_cloudtrail_does_not_name_has_an_account() {
    let mut elsewhere = record("1", "worker", Some("orders"), None, "2026-11-23T10:00:00Z");
    elsewhere["userIdentity"] = json!({"type": "AWSAccount", "accountId": "444455556666"});
    let mut tally = Tally::default();
    tally.add(&elsewhere);
    let report = tally.report(Vec::new(), false);
    assert_eq!((report.rows[0].principal.as_str(), report.rows[0].kind.as_str()), ("somebody of account 444455556666", "AWSAccount"));
}

proptest! {
    #[test]
    fn no_text_makes_it_fail(text in ".{0,200}") {
        let mut tally = Tally::default();
        tally.add_file(&text);
        let _ = who_decrypted_text(&tally.report(Vec::new(), false));
    }
}
