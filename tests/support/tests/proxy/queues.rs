//! SQS's rules that the emulator does not know.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::stage::{ACCOUNT, GUEST, REGION, Stage, unique};

fn sse(attributes: &Value) -> (Option<&str>, &str) {
    (attributes["KmsMasterKeyId"].as_str(), attributes["SqsManagedSseEnabled"].as_str().unwrap())
}

#[tokio::test]
async fn a_queue_has_one_kind_of_encryption() {
    let stage = Stage::new().await;
    let plain = stage.queue(&unique("sse"), json!({})).await;
    assert_eq!(sse(&stage.attributes(&plain).await), (None, "true"), "a new queue has SSE-SQS");
    let both = json!({"KmsMasterKeyId": "k", "SqsManagedSseEnabled": "true"});
    let refusal = stage.set(&plain, both.clone()).await;
    refusal.refused("InvalidAttributeName");
    assert!(refusal.message().starts_with("You can use one type of server-side encryption (SSE) at one time"));
    stage.sqs("CreateQueue", json!({"QueueName": unique("sse"), "Attributes": both})).await.refused("InvalidAttributeName");

    stage.set(&plain, json!({"KmsMasterKeyId": "k"})).await.ok();
    assert_eq!(sse(&stage.attributes(&plain).await), (Some("k"), "false"), "a key ends SSE-SQS");
    stage.set(&plain, json!({"KmsMasterKeyId": ""})).await.ok();
    assert_eq!(sse(&stage.attributes(&plain).await), (None, "false"), "clearing the key turns nothing on");
    let encrypted = stage.queue(&unique("sse"), json!({"KmsMasterKeyId": "k", "KmsDataKeyReusePeriodSeconds": "600"})).await;
    assert_eq!(sse(&stage.attributes(&encrypted).await), (Some("k"), "false"));
    stage.set(&encrypted, json!({"SqsManagedSseEnabled": "true"})).await.ok();
    let attributes = stage.attributes(&encrypted).await;
    assert_eq!(sse(&attributes), (None, "true"), "SSE-SQS ends the key");
    assert!(attributes.get("KmsDataKeyReusePeriodSeconds").is_none());
}

#[tokio::test]
async fn a_rule_can_be_switched_off() {
    let stage = Stage::with(|rules| rules.one_sse_kind = false).await;
    let both = json!({"KmsMasterKeyId": "k", "SqsManagedSseEnabled": "true"});
    stage.queue(&unique("both"), both).await;
}

#[tokio::test]
async fn bad_attributes_names_and_tags_are_refused() {
    let stage = Stage::new().await;
    let create = |name: String, attributes: Value| stage.sqs("CreateQueue", json!({"QueueName": name, "Attributes": attributes}));
    create(unique("bad"), json!({"Colour": "red"})).await.refused("InvalidAttributeName");
    create(unique("bad"), json!({"DelaySeconds": "901"})).await.refused("InvalidAttributeValue");
    create(unique("bad"), json!({"FifoQueue": "false"})).await.refused("InvalidAttributeName");
    create(unique("bad") + ".fifo", json!({})).await.refused("InvalidParameterValue");
    create(unique("bad"), json!({"FifoQueue": "true"})).await.refused("InvalidParameterValue");
    assert_eq!(stage.proxy.effects("CreateQueue"), 0);
    let url = stage.queue(&(unique("good") + ".fifo"), json!({"FifoQueue": "true", "ContentBasedDeduplication": "true"})).await;
    stage.set(&url, json!({"FifoQueue": "true"})).await.refused("InvalidAttributeValue");
    stage.sqs("GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": ["Colour"]})).await.refused("InvalidAttributeName");

    let many = |range: std::ops::Range<u32>| range.map(|i| (format!("k{i}"), json!("v"))).collect::<Map<_, _>>();
    stage.sqs("CreateQueue", json!({"QueueName": unique("bad"), "tags": {"aws:x": "y"}})).await.refused("InvalidParameterValue");
    stage.sqs("TagQueue", json!({"QueueUrl": url, "Tags": many(0..50)})).await.ok();
    stage.sqs("TagQueue", json!({"QueueUrl": url, "Tags": many(49..50)})).await.ok();
    stage.sqs("TagQueue", json!({"QueueUrl": url, "Tags": many(50..51)})).await.refused("InvalidParameterValue");
}

#[tokio::test]
async fn policy_and_redrive_permission_survive_other_settings() {
    let stage = Stage::with(|rules| rules.reorder_policies = None).await;
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Sid": "tls", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]});
    let allow = json!({"redrivePermission": "denyAll"}).to_string();
    let url = stage.queue(&unique("memory"), json!({"Policy": policy.to_string(), "RedriveAllowPolicy": allow})).await;
    stage.set(&url, json!({"DelaySeconds": "7"})).await.ok();
    let attributes = stage.attributes(&url).await;
    assert_eq!(serde_json::from_str::<Value>(attributes["Policy"].as_str().unwrap()).unwrap(), policy);
    assert_eq!((attributes["DelaySeconds"].as_str(), attributes["RedriveAllowPolicy"].as_str()), (Some("7"), Some(&*allow)));
    let asked = stage.sqs("GetQueueAttributes", json!({"QueueUrl": url, "AttributeNames": ["RedriveAllowPolicy", "DelaySeconds"]})).await.ok();
    assert_eq!(asked["Attributes"], json!({"DelaySeconds": "7", "RedriveAllowPolicy": allow}));
    stage.set(&url, json!({"Policy": "", "RedriveAllowPolicy": ""})).await.ok();
    let attributes = stage.attributes(&url).await;
    assert!(attributes.get("Policy").is_none() && attributes.get("RedriveAllowPolicy").is_none());
}

#[tokio::test]
async fn the_same_queue_again_is_the_same_and_another_is_refused() {
    let stage = Stage::new().await;
    let name = unique("same");
    let redrive_allow = json!({"redrivePermission": "denyAll"});
    let attributes = json!({"KmsMasterKeyId": "k", "DelaySeconds": "3", "RedriveAllowPolicy": redrive_allow.to_string()});
    let url = stage.queue(&name, attributes.clone()).await;
    stage.sqs("TagQueue", json!({"QueueUrl": url, "Tags": {"a": "b"}})).await.ok();
    assert_eq!(stage.queue(&name, attributes).await, url);
    assert_eq!(stage.queue(&name, json!({})).await, url);
    stage.sqs("CreateQueue", json!({"QueueName": name, "Attributes": {"DelaySeconds": "4"}, "tags": {"c": "d"}})).await.refused("QueueAlreadyExists");
    assert_eq!(stage.sqs("ListQueueTags", json!({"QueueUrl": url})).await.ok()["Tags"], json!({"a": "b"}));
    assert_eq!(sse(&stage.attributes(&url).await), (Some("k"), "false"));
}

#[tokio::test]
async fn the_name_of_a_deleted_queue_is_free_later() {
    let stage = Stage::with(|rules| rules.name_free_after = Duration::from_secs(1)).await;
    let name = unique("gone");
    let url = stage.queue(&name, json!({})).await;
    stage.sqs("DeleteQueue", json!({"QueueUrl": url})).await.ok();
    stage.sqs("CreateQueue", json!({"QueueName": name})).await.refused("AWS.SimpleQueueService.QueueDeletedRecently");
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    stage.queue(&name, json!({})).await;
}

#[tokio::test]
async fn messages_pass_only_under_a_key_that_can_be_used() {
    let stage = Stage::new().await;
    let key = stage.key().await;
    let url = stage.queue(&unique("sealed"), json!({"KmsMasterKeyId": key})).await;
    let send = || stage.sqs("SendMessage", json!({"QueueUrl": url, "MessageBody": "hello"}));
    let receive = || stage.sqs("ReceiveMessage", json!({"QueueUrl": url}));
    let usage = || async { stage.kms("GetKeyLastUsage", json!({"KeyId": key})).await.ok()["KeyLastUsage"]["Operation"].clone() };
    assert_eq!(usage().await, Value::Null);
    send().await.ok();
    assert_eq!(usage().await, "GenerateDataKey");
    assert_eq!(receive().await.ok()["Messages"][0]["Body"], "hello");
    assert_eq!(usage().await, "Decrypt");
    stage.kms("DisableKey", json!({"KeyId": key})).await.ok();
    send().await.refused("KMS.DisabledException");
    receive().await.refused("KMS.DisabledException");
    stage.kms("ScheduleKeyDeletion", json!({"KeyId": key})).await.ok();
    send().await.refused("KMS.KMSInvalidStateException");
    stage.set(&url, json!({"KmsMasterKeyId": format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/00000000-0000-0000-0000-000000000000")})).await.ok();
    send().await.refused("KMS.NotFoundException");
    stage.set(&url, json!({"KmsMasterKeyId": "alias/aws/sqs"})).await.ok();
    send().await.ok();
}

#[tokio::test]
async fn another_account_may_send_but_not_manage() {
    let mut stage = Stage::new().await;
    let url = stage.queue(&unique("shared"), json!({})).await;
    stage.become_guest().await;
    stage.sqs("SendMessage", json!({"QueueUrl": url, "MessageBody": "hello"})).await.ok();
    stage.set(&url, json!({"DelaySeconds": "1"})).await.refused("AccessDenied");
    assert_eq!(stage.proxy.calls_of("SendMessage")[0].account, GUEST);
    let own = stage.queue(&unique("own"), json!({})).await;
    assert!(own.contains(&format!("/{GUEST}/")));
}
