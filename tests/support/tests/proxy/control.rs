//! The control API.

use serde_json::{Value, json};

use crate::stage::{Stage, unique};

#[tokio::test]
async fn other_processes_drive_the_proxy_over_http() {
    let stage = Stage::new().await;
    let role = "arn:aws:iam::123456789012:role/controlled";
    let policy =
        json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": role}, "Action": "kms:Get*", "Resource": "*"}]});
    let create = || stage.kms("CreateKey", json!({"Policy": policy.to_string()}));
    create().await.refused("MalformedPolicyDocumentException");
    stage.control("POST", "principals", json!({"add": [role]})).await.ok();
    create().await.ok();
    stage.control("POST", "caller", json!({"access_key": stage.access_key(), "role_arn": role})).await.ok();
    create().await.refused("MalformedPolicyDocumentException");
    stage.control("POST", "strictness", json!({"lockout_check": false, "name_free_after": 0})).await.ok();
    create().await.ok();

    let name = unique("controlled");
    let fault = json!({"matching": {"service": "sqs", "operation": "CreateQueue", "resource": name}, "when": "after_effect",
        "effect": {"error": {"status": 500, "code": "InternalError", "message": "lost"}}});
    stage.control("POST", "inject", fault).await.ok();
    stage.sqs("CreateQueue", json!({"QueueName": name})).await.refused("InternalError");
    stage.control("POST", "inject", json!({"effect": {"delay": 1}, "times": 0})).await.ok();
    stage.control("DELETE", "inject", Value::Null).await.ok();

    assert_eq!(stage.control("GET", "counts", Value::Null).await.ok(), json!({"kms:CreateKey": 4, "sqs:CreateQueue": 1}));
    let ledger = stage.control("GET", "ledger?since=4", Value::Null).await.ok();
    assert_eq!((ledger.as_array().unwrap().len(), &ledger[0]["operation"], &ledger[0]["took_effect"]), (1, &json!("CreateQueue"), &json!(true)));
    assert_eq!(stage.control("POST", "inject", json!({"effect": "explode"})).await.status, 400);
    assert_eq!(stage.control("GET", "nothing", Value::Null).await.status, 404);
    stage.control("POST", "clear", json!({})).await.ok();
    assert_eq!(stage.control("GET", "counts", Value::Null).await.ok(), json!({}));
}
