//! Principals that exist, do not, and no longer do.

use serde_json::{Value, json};

use crate::stage::{ACCOUNT, Stage, unique};

const TRUST: &str = "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%5D%7D";

async fn make_role(stage: &Stage, name: &str) {
    stage.query("iam", &format!("Action=CreateRole&Version=2010-05-08&RoleName={name}&AssumeRolePolicyDocument={TRUST}")).await;
}

async fn delete_role(stage: &Stage, name: &str) {
    stage.query("iam", &format!("Action=DeleteRole&Version=2010-05-08&RoleName={name}")).await;
}

fn policy(role: &str, action: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Sid": "only", "Effect": "Allow", "Principal": {"AWS": role}, "Action": action, "Resource": "*"}]})
        .to_string()
}

fn principal(policy: &Value) -> String {
    let document: Value = serde_json::from_str(policy.as_str().unwrap()).unwrap();
    let names = &document["Statement"][0]["Principal"]["AWS"];
    names.as_str().or_else(|| names[0].as_str()).unwrap().to_owned()
}

#[tokio::test]
async fn a_policy_names_only_who_exists() {
    let stage = Stage::new().await;
    let name = unique("app");
    let role = format!("arn:aws:iam::{ACCOUNT}:role/{name}");
    let key = stage.key().await;
    let url = stage.queue(&unique("orders"), json!({})).await;
    let put = || stage.kms("PutKeyPolicy", json!({"KeyId": key, "Policy": policy(&role, "kms:PutKeyPolicy")}));
    let set = || stage.set(&url, json!({"Policy": policy(&role, "sqs:SendMessage")}));
    let refusal = put().await;
    refusal.refused("MalformedPolicyDocumentException");
    assert_eq!(refusal.message(), "Policy contains a statement with one or more invalid principals.");
    set().await.refused("InvalidAttributeValue");
    make_role(&stage, &name).await;
    put().await.ok();
    set().await.ok();
}

#[tokio::test]
async fn a_role_made_again_is_another_principal() {
    let stage = Stage::new().await;
    let name = unique("app");
    let role = format!("arn:aws:iam::{ACCOUNT}:role/{name}");
    make_role(&stage, &name).await;
    let key = stage.key().await;
    stage.kms("PutKeyPolicy", json!({"KeyId": key, "Policy": policy(&role, "kms:PutKeyPolicy")})).await.ok();
    let url = stage.queue(&unique("orders"), json!({"Policy": policy(&role, "sqs:SendMessage")})).await;
    let shown = || async {
        let of_key = principal(&stage.kms("GetKeyPolicy", json!({"KeyId": key})).await.ok()["Policy"]);
        (of_key, principal(&stage.attributes(&url).await["Policy"]))
    };
    assert_eq!(shown().await, (role.clone(), role.clone()));

    delete_role(&stage, &name).await;
    let (of_key, of_queue) = shown().await;
    assert!(of_key.starts_with("AROA") && of_key == of_queue, "{of_key} {of_queue}");
    let assumed = stage.try_query("sts", &format!("Action=AssumeRole&Version=2011-06-15&RoleArn={role}&RoleSessionName=late")).await;
    assert!(assumed.status == 403 && assumed.body.as_str().unwrap().contains("<Code>AccessDenied</Code>"), "{assumed:?}");
    stage.kms("PutKeyPolicy", json!({"KeyId": key, "Policy": policy(&of_key, "kms:PutKeyPolicy")})).await.refused("MalformedPolicyDocumentException");

    make_role(&stage, &name).await;
    assert_eq!(shown().await, (of_key.clone(), of_key.clone()), "a new role of that name is not the old one");
    stage.set(&url, json!({"DelaySeconds": "1"})).await.ok();
    assert_eq!(shown().await.1, of_key, "other settings change nothing");
    stage.kms("PutKeyPolicy", json!({"KeyId": key, "Policy": policy(&role, "kms:PutKeyPolicy")})).await.ok();
    stage.set(&url, json!({"Policy": policy(&role, "sqs:SendMessage")})).await.ok();
    assert_eq!(shown().await, (role.clone(), role), "naming it again binds the new one");
}
