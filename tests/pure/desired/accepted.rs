//! What an admitted declaration becomes.

use std::collections::BTreeSet;

use encrypted_queue::api::DeletionPolicy;
use encrypted_queue::api::encrypted_queue::KeySourceCondition;
use encrypted_queue::policy::access::{Capability, Principal};
use serde_json::{Value, json};

use crate::declare::{Declared, declared, role};

fn queue(patch: Value) -> Declared {
    declared().with_queue(json!({"spec": patch}))
}

/// Who may do what, in words.
fn grants(declared: &Declared) -> BTreeSet<String> {
    let desired = declared.judged().unwrap();
    desired.access.grants.keys().map(|grant| grant.to_string().replace("arn:aws:iam::111122223333:role/acme-", "")).collect()
}

fn lines(lines: &[&str]) -> BTreeSet<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn what_is_not_said_comes_from_the_tier() {
    let desired = declared().judged().unwrap();
    assert_eq!((desired.data_key_reuse_seconds, desired.rotation_period_days), (600, 180));
    assert_eq!(desired.source.attributes["KmsDataKeyReusePeriodSeconds"], "600");
    assert_eq!(desired.dead_letter.unwrap().attributes["KmsDataKeyReusePeriodSeconds"], "600");
    let said = queue(json!({"key": {"dataKeyReuseSeconds": 300, "rotationPeriodDays": 90}})).judged().unwrap();
    assert_eq!((said.data_key_reuse_seconds, said.rotation_period_days), (300, 90));
}

#[test]
fn attributes_are_spelled_as_sqs_does() {
    let desired =
        queue(json!({"queue": {"visibilityTimeoutSeconds": 60, "delaySeconds": 1, "receiveMessageWaitSeconds": 20, "maximumMessageBytes": 2048}}));
    let desired = desired.judged().unwrap();
    let expected: Vec<(&str, String)> = vec![
        ("DelaySeconds", "1".into()),
        ("KmsDataKeyReusePeriodSeconds", "600".into()),
        ("MaximumMessageSize", "2048".into()),
        ("MessageRetentionPeriod", "345600".into()),
        ("ReceiveMessageWaitTimeSeconds", "20".into()),
        (
            "RedrivePolicy",
            json!({"deadLetterTargetArn": "arn:aws:sqs:eu-west-1:111122223333:acme-acme-prod-orders-dlq", "maxReceiveCount": 5}).to_string(),
        ),
        ("VisibilityTimeout", "60".into()),
    ];
    let found: Vec<_> = desired.source.attributes.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    assert_eq!(found, expected);
    let dead_letter = desired.dead_letter.unwrap().attributes;
    assert_eq!(dead_letter["MessageRetentionPeriod"], "1209600");
    let allow = json!({"redrivePermission": "byQueue", "sourceQueueArns": ["arn:aws:sqs:eu-west-1:111122223333:acme-acme-prod-orders"]});
    assert_eq!(dead_letter["RedriveAllowPolicy"], allow.to_string());
}

#[test]
fn a_fifo_queue_and_its_dead_letter_queue_are_both_fifo() {
    let fifo = json!({"contentBasedDeduplication": true, "deduplicationScope": "MessageGroup", "throughputLimit": "PerMessageGroup"});
    let desired = queue(json!({"queue": {"fifo": fifo}})).judged().unwrap();
    let dead_letter = desired.dead_letter.unwrap();
    assert_eq!((desired.source.arn.name(), dead_letter.arn.name()), ("acme-acme-prod-orders.fifo", "acme-acme-prod-orders-dlq.fifo"));
    for attributes in [&desired.source.attributes, &dead_letter.attributes] {
        let found = ["FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"].map(|name| attributes[name].as_str());
        assert_eq!(found, ["true", "true", "messageGroup", "perMessageGroupId"]);
    }
    assert!(!declared().judged().unwrap().source.attributes.contains_key("FifoQueue"), "FifoQueue=false is an error");
}

#[test]
fn a_dead_letter_queue_is_there_when_declared_or_required() {
    let none = queue(json!({"deadLetter": null}));
    let required = none.clone().with_tier(json!({"spec": {"deadLetter": "Required"}}));
    let desired = none.judged().unwrap();
    assert!(desired.dead_letter.is_none() && !desired.source.attributes.contains_key("RedrivePolicy"));
    let desired = required.judged().unwrap();
    assert!(desired.source.attributes["RedrivePolicy"].contains("\"maxReceiveCount\":5"));
    assert_eq!(desired.dead_letter.unwrap().attributes["MessageRetentionPeriod"], "1209600");
}

#[test]
fn who_may_do_what() {
    assert_eq!(grants(&declared()), lines(&["api may send", "worker may receive", "worker may receive dead letters"]));
    let own = queue(json!({
        "observers": [{"role": role("acme-keda")}],
        "deadLetter": {"consumers": [{"role": role("acme-night")}], "redrivers": [{"role": role("acme-support")}]}
    }));
    let expected =
        ["api may send", "worker may receive", "night may receive dead letters", "support may move dead letters back", "keda may read attributes"];
    assert_eq!(grants(&own), lines(&expected));
    assert_eq!(grants(&queue(json!({"deadLetter": null}))), lines(&["api may send", "worker may receive"]));
}

#[test]
fn a_services_key_condition_is_the_strictest_that_works() {
    let condition = |service: &str, source: &str, said: Value| {
        let declared = queue(
            json!({"producers": [{"service": {"principal": service, "sourceArn": source, "sourceAccount": "111122223333", "keySourceCondition": said}}]}),
        );
        let all =
            declared.with_tenant(json!({"spec": {"principals": {"services": ["sns.amazonaws.com", "s3.amazonaws.com", "events.amazonaws.com"]}}}));
        let desired = all.judged().unwrap();
        let sender = desired.access.grants.keys().find(|grant| grant.capability == Capability::Send).unwrap().principal.clone();
        if let Principal::Service(source) = sender { source.key_condition } else { panic!("{sender}") }
    };
    assert_eq!(condition("sns.amazonaws.com", "arn:aws:sns:eu-west-1:111122223333:t", Value::Null), KeySourceCondition::SourceArn);
    assert_eq!(condition("s3.amazonaws.com", "arn:aws:s3:::bucket", Value::Null), KeySourceCondition::SourceAccount);
    assert_eq!(condition("events.amazonaws.com", "arn:aws:events:eu-west-1:111122223333:rule/r", Value::Null), KeySourceCondition::None);
    assert_eq!(condition("sns.amazonaws.com", "arn:aws:sns:eu-west-1:111122223333:t", json!("None")), KeySourceCondition::None);
}

#[test]
fn tags_are_the_operators_then_the_tenants_then_the_queues() {
    let tags = declared().judged().unwrap().tags;
    let expected = [
        ("encryptedqueue.dev/cluster", "0b8c1e70-cluster"),
        ("encryptedqueue.dev/object", "acme-prod/orders"),
        ("encryptedqueue.dev/sensitivity-tier", "internal"),
        ("encryptedqueue.dev/tenant", "acme"),
        ("encryptedqueue.dev/uid", "uid-of-orders"),
        ("owner", "team-payments"),
        ("workload", "orders"),
    ];
    assert_eq!(tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn place_and_deletion_policy() {
    let desired = declared().judged().unwrap();
    assert_eq!((desired.place.account.as_str(), desired.place.region.as_str()), ("111122223333", "eu-west-1"), "the tenant's first Region");
    assert_eq!(queue(json!({"region": "eu-central-1"})).judged().unwrap().place.region, "eu-central-1");
    let delete = queue(json!({"deletionPolicy": "Delete"}));
    assert_eq!(delete.judged().unwrap().deletion_policy, DeletionPolicy::Delete);
    let forced = delete.with_tier(json!({"spec": {"deletionPolicy": "Retain"}}));
    assert_eq!(forced.judged().unwrap().deletion_policy, DeletionPolicy::Retain, "the tier forces it");
}

#[test]
fn a_suspended_tenants_declaration_stays_and_its_access_says_so() {
    let suspended = declared().with_tenant(json!({"spec": {"access": "Suspended"}}));
    assert!(suspended.judged().unwrap().access.suspended);
    assert_eq!(grants(&suspended), grants(&declared()));
}
