//! KMS's rules that the emulator does not know.

use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Stage, unique};

const ROLE: &str = "arn:aws:iam::123456789012:role/operator";

fn policy(statements: &[Value]) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn allow(sid: &str, role: &str, action: &str) -> Value {
    json!({"Sid": sid, "Effect": "Allow", "Principal": {"AWS": role}, "Action": [action, "kms:GetKeyPolicy"], "Resource": "*"})
}

#[tokio::test]
async fn keys_go_by_arn_and_by_id_through_all_states() {
    let stage = Stage::new().await;
    let arn = stage.key().await;
    let id = arn.rsplit('/').next().unwrap();
    let key_state = || async { stage.kms("DescribeKey", json!({"KeyId": arn})).await.ok()["KeyMetadata"]["KeyState"].clone() };
    for key in [arn.as_str(), id] {
        stage.kms("DisableKey", json!({"KeyId": key})).await.ok();
        assert_eq!(key_state().await, "Disabled");
        stage.kms("EnableKeyRotation", json!({"KeyId": key})).await.refused("DisabledException");
        stage.kms("EnableKey", json!({"KeyId": key})).await.ok();
        assert_eq!(key_state().await, "Enabled");
        stage.kms("CancelKeyDeletion", json!({"KeyId": key})).await.refused("KMSInvalidStateException");
        stage.kms("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 6})).await.refused("ValidationException");
        let scheduled = stage.kms("ScheduleKeyDeletion", json!({"KeyId": key, "PendingWindowInDays": 7})).await.ok();
        assert_eq!((scheduled["KeyId"].as_str(), scheduled["KeyState"].as_str()), (Some(&*arn), Some("PendingDeletion")));
        for (operation, mut params) in [
            ("EnableKey", json!({})),
            ("DisableKey", json!({})),
            ("EnableKeyRotation", json!({})),
            ("ScheduleKeyDeletion", json!({})),
            ("TagResource", json!({"Tags": [{"TagKey": "a", "TagValue": "b"}]})),
            ("UntagResource", json!({"TagKeys": ["a"]})),
            ("CreateAlias", json!({"AliasName": format!("alias/{}", unique("a"))})),
        ] {
            params[if operation == "CreateAlias" { "TargetKeyId" } else { "KeyId" }] = json!(key);
            stage.kms(operation, params).await.refused("KMSInvalidStateException");
        }
        stage.kms("PutKeyPolicy", json!({"KeyId": key, "Policy": policy(&[allow("a", "*", "kms:*")])})).await.ok();
        assert_eq!(stage.kms("CancelKeyDeletion", json!({"KeyId": key})).await.ok()["KeyId"], *arn);
        assert_eq!(key_state().await, "Disabled", "a cancelled deletion leaves the key disabled");
        stage.kms("EnableKey", json!({"KeyId": key})).await.ok();
    }
    stage.kms("EnableKey", json!({"KeyId": "00000000-0000-0000-0000-000000000000"})).await.refused("NotFoundException");
}

#[tokio::test]
async fn rotation_has_a_period_a_date_and_a_limit() {
    let stage = Stage::new().await;
    let key = stage.key().await;
    let status = || async { stage.kms("GetKeyRotationStatus", json!({"KeyId": key})).await.ok() };
    assert_eq!(status().await["KeyRotationEnabled"], false);
    stage.kms("EnableKeyRotation", json!({"KeyId": key, "RotationPeriodInDays": 89})).await.refused("ValidationException");
    stage.kms("EnableKeyRotation", json!({"KeyId": key, "RotationPeriodInDays": 90})).await.ok();
    let enabled = status().await;
    assert_eq!((&enabled["KeyRotationEnabled"], &enabled["RotationPeriodInDays"]), (&json!(true), &json!(90)));
    assert!(enabled["NextRotationDate"].as_f64().unwrap() > 1e9);
    stage.kms("ScheduleKeyDeletion", json!({"KeyId": key})).await.ok();
    assert_eq!(status().await["KeyRotationEnabled"], false, "not while deletion is pending");
    stage.kms("CancelKeyDeletion", json!({"KeyId": key})).await.ok();
    stage.kms("EnableKey", json!({"KeyId": key})).await.ok();
    stage.kms("DisableKeyRotation", json!({"KeyId": key})).await.ok();
    assert!(status().await.get("RotationPeriodInDays").is_none());
    for _ in 0..25 {
        stage.kms("RotateKeyOnDemand", json!({"KeyId": key})).await.ok();
    }
    stage.kms("RotateKeyOnDemand", json!({"KeyId": key})).await.refused("LimitExceededException");
    assert_eq!(stage.kms("ListKeyRotations", json!({"KeyId": key})).await.ok()["Rotations"].as_array().unwrap().len(), 25);
}

#[tokio::test]
async fn the_caller_does_not_lock_itself_out() {
    let mut stage = Stage::new().await;
    stage.acting_as("AKIALOCKOUTLOCKOUT00");
    let locked = policy(&[allow("a", ROLE, "kms:DescribeKey")]);
    stage.proxy.add_principal(ROLE);
    stage.kms("CreateKey", json!({"Policy": locked})).await.ok();
    stage.proxy.caller_is(stage.access_key(), ROLE);
    stage.kms("CreateKey", json!({"Policy": locked})).await.refused("MalformedPolicyDocumentException");
    let mut conditioned = allow("a", ROLE, "kms:PutKeyPolicy");
    conditioned["Condition"] = json!({"StringEquals": {"kms:ViaService": "sqs.eu-west-1.amazonaws.com"}});
    stage.kms("CreateKey", json!({"Policy": policy(&[conditioned])})).await.refused("MalformedPolicyDocumentException");
    stage.kms("CreateKey", json!({"Policy": locked, "BypassPolicyLockoutSafetyCheck": true})).await.ok();
    let made = stage.kms("CreateKey", json!({"Policy": policy(&[allow("a", ROLE, "kms:Put*")])})).await.ok();
    let key = made["KeyMetadata"]["Arn"].as_str().unwrap();
    stage.kms("PutKeyPolicy", json!({"KeyId": key, "Policy": locked})).await.refused("MalformedPolicyDocumentException");
    stage.kms("PutKeyPolicy", json!({"KeyId": key, "Policy": "x".repeat(32_769)})).await.refused("LimitExceededException");
}

#[tokio::test]
async fn policies_come_back_in_another_form() {
    let stage = Stage::new().await;
    let statements: Vec<_> = (0..6).map(|i| allow(&format!("s{i}"), "arn:aws:iam::123456789012:root", "kms:PutKeyPolicy")).collect();
    let text = policy(&statements);
    let made = stage.kms("CreateKey", json!({"Policy": text})).await.ok();
    let key = made["KeyMetadata"]["Arn"].as_str().unwrap();
    let read = || async { stage.kms("GetKeyPolicy", json!({"KeyId": key})).await.ok()["Policy"].as_str().unwrap().to_owned() };
    let sids = |text: &str| {
        let document: Value = serde_json::from_str(text).unwrap();
        document["Statement"].as_array().unwrap().iter().map(|statement| statement["Sid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let shuffled = read().await;
    assert_eq!(shuffled, read().await, "the same each time");
    let (mut came, sent) = (sids(&shuffled), sids(&text));
    assert_ne!(came, sent);
    came.sort();
    assert_eq!(came, sent);
    let mut rules = stage.proxy.strictness();
    rules.reorder_policies = None;
    stage.proxy.set_strictness(rules);
    assert_eq!(read().await, text);
}

#[tokio::test]
async fn new_keys_and_tags_show_up_late() {
    let stage = Stage::with(|rules| {
        rules.keys_visible_after = Duration::from_millis(300);
        rules.tags_visible_after = Duration::from_millis(900);
        rules.late_list_resource_tags = true;
    })
    .await;
    let owner = unique("owner");
    let made = stage.kms("CreateKey", json!({"Tags": [{"TagKey": "owner", "TagValue": owner}]})).await.ok();
    let key = made["KeyMetadata"]["Arn"].as_str().unwrap();
    let found = || async {
        let filter = json!({"TagFilters": [{"Key": "owner", "Values": [owner]}], "ResourceTypeFilters": ["kms:key"]});
        stage.tagging(filter).await.ok()["ResourceTagMappingList"].as_array().unwrap().len()
    };
    stage.kms("DescribeKey", json!({"KeyId": key})).await.refused("NotFoundException");
    tokio::time::sleep(Duration::from_millis(350)).await;
    stage.kms("DescribeKey", json!({"KeyId": key})).await.ok();
    assert_eq!(found().await, 0);
    assert_eq!(stage.kms("ListResourceTags", json!({"KeyId": key})).await.ok()["Tags"], json!([]));
    tokio::time::sleep(Duration::from_millis(650)).await;
    assert_eq!(found().await, 1);
    stage.kms("TagResource", json!({"KeyId": key, "Tags": [{"TagKey": "aws:x", "TagValue": "y"}]})).await.refused("TagException");
    stage.kms("TagResource", json!({"KeyId": key, "Tags": [{"TagKey": "late", "TagValue": "y"}]})).await.ok();
    assert_eq!(found().await, 1, "a late tag does not hide the others");
    assert_eq!(stage.kms("ListResourceTags", json!({"KeyId": key})).await.ok()["Tags"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn quotas_refuse_what_comes_too_soon() {
    let stage = Stage::new().await;
    stage.proxy.set_quotas(Some(0.4));
    let mut refused = 0;
    for _ in 0..5 {
        let reply = stage.kms("CreateKey", json!({})).await;
        if reply.status == 400 {
            reply.refused("ThrottlingException");
            refused += 1;
        }
    }
    assert!(refused >= 2, "two at once and two a second: {refused} of five were refused");
    assert_eq!(stage.proxy.effects("CreateKey"), 5 - refused);
    stage.proxy.set_quotas(None);
    stage.key().await;
}

#[tokio::test]
async fn grants_are_made_listed_and_revoked() {
    let stage = Stage::new().await;
    let key = stage.key().await;
    let grants = || async { stage.kms("ListGrants", json!({"KeyId": key})).await.ok()["Grants"].as_array().unwrap().len() };
    let grant = stage.kms("CreateGrant", json!({"KeyId": key, "GranteePrincipal": ROLE, "Operations": ["Decrypt"]})).await.ok();
    assert_eq!(grants().await, 1);
    stage.kms("RevokeGrant", json!({"KeyId": key, "GrantId": grant["GrantId"]})).await.ok();
    assert_eq!(grants().await, 0);
}

#[tokio::test]
async fn another_accounts_key_can_be_used_but_not_managed() {
    let mut stage = Stage::new().await;
    let key = stage.key().await;
    stage.become_guest().await;
    stage.kms("DescribeKey", json!({"KeyId": key})).await.ok();
    stage.kms("GenerateDataKey", json!({"KeyId": key, "KeySpec": "AES_256"})).await.ok();
    stage.kms("DisableKey", json!({"KeyId": key})).await.refused("AccessDeniedException");
    let own = stage.kms("ListKeys", json!({})).await.ok();
    assert!(!own.to_string().contains(&key));
}
