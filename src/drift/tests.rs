//! Events as CloudTrail and AWS KMS deliver them through EventBridge, and what is not one.

#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const KEY: &str = "1234abcd-12ab-34cd-56ef-1234567890ab";

fn arn() -> String {
    format!("arn:aws:kms:eu-west-1:111122223333:key/{KEY}")
}

fn event(source: &str, name: &str, more: &Value) -> Value {
    let mut detail = json!({
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "AssumedRole",
            "arn": "arn:aws:sts::111122223333:assumed-role/admin/eve",
            "sessionContext": {"sessionIssuer": {"type": "Role", "arn": "arn:aws:iam::111122223333:role/team/admin"}}
        },
        "eventSource": format!("{}.amazonaws.com", source.trim_start_matches("aws.")),
        "eventName": name,
        "awsRegion": "eu-west-1",
        "requestParameters": null,
        "responseElements": null,
        "requestID": "req-1",
        "recipientAccountId": "111122223333"
    });
    detail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({
        "version": "0", "id": "e-1", "detail-type": "AWS API Call via CloudTrail", "source": source, "account": "111122223333",
        "time": "2026-11-23T10:00:00Z", "region": "eu-west-1", "resources": [], "detail": detail
    })
}

fn told(event: &Value) -> Told {
    read(&event.to_string()).unwrap()
}

fn subjects(event: &Value) -> Vec<Subject> {
    match told(event) {
        Told::Change(change) => change.subjects,
        other => panic!("{other:?}"),
    }
}

fn queue(name: &str) -> Subject {
    Subject::Queue { account: "111122223333".into(), region: "eu-west-1".into(), name: name.into() }
}

#[test]
fn every_change_of_a_queue_names_it() {
    for name in QUEUE_CHANGES {
        // A host of long ago, as some callers still use it.
        let url = json!({"requestParameters": {"queueUrl": "https://eu-west-1.queue.amazonaws.com/111122223333/acme-orders"}});
        assert_eq!(subjects(&event("aws.sqs", name, &url)), [queue("acme-orders")], "{name}");
    }
    let created = json!({
        "requestParameters": {"queueName": "acme-new"},
        "responseElements": {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/acme-new"}
    });
    assert_eq!(subjects(&event("aws.sqs", "CreateQueue", &created)), [queue("acme-new")]);
    let by_name = json!({"requestParameters": {"queueName": "acme-new"}});
    assert_eq!(subjects(&event("aws.sqs", "CreateQueue", &by_name)), [queue("acme-new")]);
}

#[test]
fn every_change_of_a_key_names_it() {
    for name in KEY_CHANGES {
        let by_resource =
            json!({"resources": [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": arn()}], "requestParameters": {"keyId": "other"}});
        assert_eq!(subjects(&event("aws.kms", name, &by_resource)), [Subject::Key(KEY.into())], "{name}");
        for named in [KEY.to_owned(), arn()] {
            let by_parameter = json!({"requestParameters": {"keyId": named}});
            assert_eq!(subjects(&event("aws.kms", name, &by_parameter)), [Subject::Key(KEY.into())], "{name}");
        }
    }
    let moved = json!({"requestParameters": {"aliasName": "alias/encryptedqueue/c/acme", "targetKeyId": KEY}});
    let alias = Subject::Alias { account: "111122223333".into(), region: "eu-west-1".into(), name: "alias/encryptedqueue/c/acme".into() };
    assert_eq!(subjects(&event("aws.kms", "UpdateAlias", &moved)), [Subject::Key(KEY.into()), alias.clone()]);
    let deleted = json!({"requestParameters": {"aliasName": "alias/encryptedqueue/c/acme"}});
    assert_eq!(subjects(&event("aws.kms", "DeleteAlias", &deleted)), [alias]);
}

#[test]
fn kms_tells_of_keys_itself() {
    for kind in KEY_EVENTS {
        for detail in [json!({"key-id": KEY}), json!({"key-id": arn()}), json!({})] {
            let event = json!({
                "version": "0", "id": "e-1", "detail-type": kind, "source": "aws.kms", "account": "111122223333", "time": "2026-11-23T10:00:00Z",
                "region": "eu-west-1", "resources": [arn()], "detail": detail
            });
            assert_eq!(subjects(&event), [Subject::Key(KEY.into())], "{kind}");
        }
    }
}

#[test]
fn says_who_and_which_request() {
    let url = json!({"requestParameters": {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/acme-orders"}});
    let Told::Change(change) = told(&event("aws.sqs", "TagQueue", &url)) else { panic!() };
    assert_eq!((change.what.as_str(), change.by.as_str()), ("sqs:TagQueue", "arn:aws:iam::111122223333:role/team/admin"));
    assert_eq!(change.request_id.as_deref(), Some("req-1"));
    let mut by_user = event("aws.sqs", "TagQueue", &url);
    by_user["detail"]["userIdentity"] = json!({"type": "IAMUser", "arn": "arn:aws:iam::111122223333:user/eve"});
    let Told::Change(change) = told(&by_user) else { panic!() };
    assert_eq!(change.by, "arn:aws:iam::111122223333:user/eve");
}

#[test]
fn failed_calls_and_reads_change_nothing() {
    let failed = json!({"errorCode": "AccessDenied", "requestParameters": {"keyId": KEY}});
    assert_eq!(told(&event("aws.kms", "PutKeyPolicy", &failed)), Told::Nothing);
    assert_eq!(told(&event("aws.sqs", "SetQueueAttributes", &failed)), Told::Nothing);
    assert_eq!(told(&event("aws.kms", "DescribeKey", &json!({"requestParameters": {"keyId": KEY}}))), Told::Nothing);
    assert_eq!(told(&event("aws.s3", "PutBucketPolicy", &json!({}))), Told::Nothing);
    assert_eq!(told(&event("aws.kms", "Decrypt", &json!({"requestParameters": {"keyId": KEY}}))), Told::Nothing);
}

#[test]
fn refusals_name_key_queue_and_caller() {
    let context = json!({"encryptionContext": {"aws:sqs:arn": "arn:aws:sqs:eu-west-1:111122223333:acme-orders"}});
    let refused = event("aws.kms", "Decrypt", &json!({"errorCode": "AccessDenied", "resources": [{"ARN": arn()}], "requestParameters": context}));
    let expected = Denied {
        key: KEY.into(),
        queue: Some("arn:aws:sqs:eu-west-1:111122223333:acme-orders".into()),
        what: "kms:Decrypt".into(),
        by: "arn:aws:iam::111122223333:role/team/admin".into(),
    };
    assert_eq!(told(&refused), Told::Denied(expected.clone()));
    // A refused call may come without parameters and resources.
    let message =
        format!("User: arn:aws:sts::1:assumed-role/a/b is not authorized to perform: kms:Decrypt on resource: {} because no policy allows it", arn());
    let bare = event("aws.kms", "Decrypt", &json!({"errorCode": "AccessDeniedException", "errorMessage": message}));
    assert_eq!(told(&bare), Told::Denied(Denied { queue: None, ..expected }));
    // Of an unknown key there is nothing to tell.
    assert_eq!(told(&event("aws.kms", "Decrypt", &json!({"errorCode": "AccessDenied"}))), Told::Nothing);
}

#[test]
fn what_is_not_an_event_is_malformed() {
    let no_queue = event("aws.sqs", "TagQueue", &json!({})).to_string();
    let no_key = event("aws.kms", "PutKeyPolicy", &json!({})).to_string();
    let mut detail = event("aws.kms", "PutKeyPolicy", &json!({}));
    detail["detail"] = json!("none");
    for body in ["", "{", "null", "[]", "\"hello\"", "{\"source\": 3}", &no_queue, &no_key, &detail.to_string()] {
        assert!(read(body).is_err(), "{body}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_fall_over(body in any::<String>()) {
        let _ = read(&body);
    }

    /// Any value in any field of an event.
    #[test]
    fn no_field_makes_it_fall_over(field in prop::sample::select(vec![
        "/detail/userIdentity", "/detail/requestParameters", "/detail/responseElements", "/detail/resources", "/detail/errorCode",
        "/detail/errorMessage", "/detail/eventName", "/detail/requestParameters/queueUrl", "/resources", "/account", "/region", "/detail",
    ]), value in prop::sample::select(vec![
        json!(null), json!(""), json!(":key/"), json!("arn:kms:key/"), json!("/"), json!("é/ü"), json!([]), json!([null]), json!({}), json!([{"ARN": 1}]), json!(7),
    ]), kms in any::<bool>()) {
        let mut event = event(if kms { "aws.kms" } else { "aws.sqs" }, if kms { "PutKeyPolicy" } else { "TagQueue" }, &json!({
            "requestParameters": {"queueUrl": "https://sqs.eu-west-1.amazonaws.com/111122223333/acme-orders", "keyId": KEY}
        }));
        event["detail"]["resources"] = json!([{"ARN": arn()}]);
        event["detail"]["errorCode"] = json!(null);
        event["detail"]["errorMessage"] = json!(null);
        *event.pointer_mut(field).unwrap() = value;
        let _ = read(&event.to_string());
    }
}
