//! The inspector passes a ledger as the operator writes it, and notices each violation put into one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use serde_json::{Value, json};

use super::rights::rights_taken;
use super::{Declarations, Kind, Parties, Report, inspect};
use crate::proxy::{self, Call, Outcome};

const ACCOUNT: &str = "123456789012";
const OPERATOR: &str = "arn:aws:iam::123456789012:role/operator";
const PARTIES: Parties<'_> = Parties { operator: "operator", others: &["someone"], role: OPERATOR };
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/1";
const QUEUE: &str = "arn:aws:sqs:eu-west-1:123456789012:acme-team-orders";
const PRODUCER: &str = "arn:aws:iam::123456789012:role/producer";
const CONSUMER: &str = "arn:aws:iam::123456789012:role/consumer";
const STRANGER: &str = "arn:aws:iam::123456789012:role/mallory";

fn call(access_key: &str, name: &str, request: Value, response: Value) -> Call {
    let (service, operation) = name.split_once(':').unwrap();
    Call {
        seq: 0,
        started: Duration::from_secs(10),
        duration: Duration::from_millis(1),
        service: service.to_owned(),
        operation: operation.to_owned(),
        account: ACCOUNT.to_owned(),
        region: "eu-west-1".to_owned(),
        access_key: access_key.to_owned(),
        kind: proxy::Kind::Write,
        request,
        status: 200,
        response,
        error: None,
        request_id: None,
        outcome: Outcome::Forwarded,
        took_effect: true,
    }
}

fn declarations(suspended: bool) -> Declarations {
    let mut declarations = Declarations::default();
    let mut see = |kind, namespace: &str, name: &str, spec: Value| {
        let object = json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec});
        declarations.see(Duration::from_secs(9), kind, namespace, name, Some(object));
    };
    let access = if suspended { "Suspended" } else { "Active" };
    let admin = "arn:aws:iam::123456789012:role/admin";
    see(Kind::Tenant, "", "acme", json!({"aws": {"accountId": ACCOUNT, "regions": ["eu-west-1"]}, "keyAdministrators": [admin], "access": access}));
    see(Kind::Tier, "", "tier", json!({"access": {"others": "Deny"}}));
    let spec = json!({"tenant": "acme", "sensitivityTier": "tier", "producers": [{"role": PRODUCER}], "consumers": [{"role": CONSUMER}]});
    see(Kind::Queue, "team", "orders", spec);
    declarations
}

fn administration() -> Vec<Value> {
    let manage = ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:EnableKey", "kms:CancelKeyDeletion", "kms:PutKeyPolicy"];
    let allow = |sid: &str, who: &str, actions: &[&str]| json!({"Sid": sid, "Effect": "Allow", "Principal": {"AWS": who}, "Action": actions, "Resource": "*"});
    vec![
        allow("Operator", OPERATOR, &manage),
        allow("Root", "arn:aws:iam::123456789012:root", &manage),
        allow("Administrators", "arn:aws:iam::123456789012:role/admin", &manage[..4]),
    ]
}

fn usage(who: &[&str], action: &str) -> Value {
    json!({
        "Effect": "Allow", "Principal": {"AWS": who}, "Action": action, "Resource": "*",
        "Condition": {"StringEquals": {"kms:ViaService": "sqs.eu-west-1.amazonaws.com", "kms:EncryptionContext:aws:sqs:arn": QUEUE}},
    })
}

fn key_policy(decrypt: &[&str]) -> Value {
    let statements: Vec<_> = administration().into_iter().chain([usage(decrypt, "kms:Decrypt"), usage(&[PRODUCER], "kms:GenerateDataKey")]).collect();
    json!({"Statement": statements})
}

fn deny_others(actions: &[&str], but: &[&str]) -> Value {
    json!({
        "Effect": "Deny", "Principal": "*", "Action": actions, "Resource": QUEUE,
        "Condition": {"ArnNotEquals": {"aws:PrincipalArn": but}, "BoolIfExists": {"aws:PrincipalIsAWSService": "false"}},
    })
}

fn queue_policy(receivers: &[&str]) -> Value {
    let allow = |who: &[&str], action: &str| json!({"Effect": "Allow", "Principal": {"AWS": who}, "Action": action, "Resource": QUEUE});
    json!({"Statement": [
        allow(&[PRODUCER], "sqs:SendMessage"), allow(receivers, "sqs:ReceiveMessage"),
        deny_others(&["sqs:SendMessage"], &[PRODUCER]),
        deny_others(&["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:PurgeQueue"], receivers),
        deny_others(&["sqs:StartMessageMoveTask"], &[]),
    ]})
}

fn tag_list(tenant: &str) -> Value {
    json!([
        {"TagKey": "encryptedqueue.dev/cluster", "TagValue": "c"}, {"TagKey": "encryptedqueue.dev/tenant", "TagValue": tenant},
        {"TagKey": "encryptedqueue.dev/sensitivity-tier", "TagValue": "tier"},
    ])
}

fn create_key(policy: &Value, tenant: &str) -> Call {
    let request = json!({"Policy": policy.to_string(), "Tags": tag_list(tenant)});
    call("operator", "kms:CreateKey", request, json!({"KeyMetadata": {"Arn": KEY}}))
}

fn create_queue(policy: &Value, key: &str) -> Call {
    let tags = json!({"encryptedqueue.dev/cluster": "c", "encryptedqueue.dev/tenant": "acme", "encryptedqueue.dev/sensitivity-tier": "tier"});
    let attributes = json!({"Policy": policy.to_string(), "KmsMasterKeyId": key});
    call("operator", "sqs:CreateQueue", json!({"QueueName": "acme-team-orders", "Attributes": attributes, "tags": tags}), Value::Null)
}

fn set(access_key: &str, attributes: &Value) -> Call {
    let url = "http://127.0.0.1/123456789012/acme-team-orders";
    call(access_key, "sqs:SetQueueAttributes", json!({"QueueUrl": url, "Attributes": attributes}), Value::Null)
}

fn put_key_policy(access_key: &str, policy: &Value) -> Call {
    call(access_key, "kms:PutKeyPolicy", json!({"KeyId": "1", "Policy": policy.to_string()}), Value::Null)
}

/// A key and its queue, as the operator makes them.
fn made() -> Vec<Call> {
    vec![create_key(&key_policy(&[PRODUCER, CONSUMER]), "acme"), create_queue(&queue_policy(&[CONSUMER]), KEY)]
}

fn judged(suspended: bool, more: &[Call]) -> Report {
    inspect(&[made().as_slice(), more].concat(), &declarations(suspended), &PARTIES)
}

#[test]
fn what_the_operator_does_passes() {
    let narrower = [set("operator", &json!({"Policy": queue_policy(&[]).to_string()})), put_key_policy("operator", &key_policy(&[PRODUCER]))];
    let report = judged(false, &narrower);
    assert_eq!((report.writes, report.violations), (4, vec![]));
}

/// Someone opens everything, the operator tags, then repairs: only what it does itself is judged.
#[test]
fn what_others_do_is_not_blamed_on_the_operator() {
    let open = json!({"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}}).to_string();
    let report = judged(
        false,
        &[
            set("someone", &json!({"Policy": open, "SqsManagedSseEnabled": "true"})),
            set("operator", &json!({"KmsMasterKeyId": KEY})),
            set("operator", &json!({"Policy": queue_policy(&[CONSUMER]).to_string()})),
        ],
    );
    assert_eq!(report.violations, Vec::<String>::new());
}

#[test]
fn an_administrator_who_was_deleted_cannot_be_named() {
    let mut policy = key_policy(&[PRODUCER, CONSUMER]);
    policy["Statement"].as_array_mut().unwrap().remove(2);
    let put = put_key_policy("operator", &policy);
    assert!(!judged(false, std::slice::from_ref(&put)).violations.is_empty());
    let deleted = call("someone", "iam:DeleteRole", json!({"RoleName": "admin"}), Value::Null);
    assert_eq!(judged(false, &[deleted, put]).violations, [""; 0]);
}

#[test]
fn every_violation_is_noticed() {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut policy = key_policy(&[PRODUCER, CONSUMER]);
        change(&mut policy);
        put_key_policy("operator", &policy)
    };
    let without = |index: usize| with(&|policy| drop(policy["Statement"].as_array_mut().unwrap().remove(index)));
    let drop_condition =
        |key: &'static str| with(&move |policy| drop(policy["Statement"][3]["Condition"]["StringEquals"].as_object_mut().unwrap().remove(key)));
    let policy = |receivers: &[&str]| json!({"Policy": queue_policy(receivers).to_string()});
    let mut undenied = queue_policy(&[CONSUMER]);
    undenied["Statement"].as_array_mut().unwrap().truncate(3);
    for (what, invariant, write) in [
        ("encryption cleared", "Encrypted", set("operator", &json!({"KmsMasterKeyId": ""}))),
        ("the other kind of encryption", "Encrypted", set("operator", &json!({"SqsManagedSseEnabled": "true"}))),
        ("a stranger receives", "Least access", set("operator", &policy(&[CONSUMER, STRANGER]))),
        ("the producer receives", "Least access", set("operator", &policy(&[CONSUMER, PRODUCER]))),
        ("others are left to IAM", "Least access", set("operator", &json!({"Policy": undenied.to_string()}))),
        ("the policy is removed", "Least access", set("operator", &json!({"Policy": ""}))),
        ("a stranger decrypts", "Least access", put_key_policy("operator", &key_policy(&[PRODUCER, CONSUMER, STRANGER]))),
        ("the account decrypts", "Least access", put_key_policy("operator", &key_policy(&[ACCOUNT]))),
        ("any service's use", "Least access", drop_condition("kms:ViaService")),
        ("any queue's messages", "Least access", drop_condition("kms:EncryptionContext:aws:sqs:arn")),
        ("an unknown caller", "nobody knows", set("another", &json!({}))),
        ("a grant", "Least access", call("operator", "kms:CreateGrant", json!({"KeyId": KEY}), json!({"GrantId": "g"}))),
        ("no operator", "No lock-out", without(0)),
        ("no root", "No lock-out", without(1)),
        ("no administrators", "No lock-out", without(2)),
        (
            "the operator only over TLS",
            "No lock-out",
            with(&|policy| policy["Statement"][0]["Condition"] = json!({"Bool": {"aws:SecureTransport": "true"}})),
        ),
        (
            "lock-out denied",
            "No lock-out",
            with(&|policy| {
                let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "kms:Put*", "Resource": "*"});
                policy["Statement"].as_array_mut().unwrap().push(deny);
            }),
        ),
    ] {
        let report = judged(false, std::slice::from_ref(&write));
        assert!(report.violations.iter().any(|line| line.contains(invariant)), "{what}: {:?}", report.violations);
    }
    let other_tenant = [create_key(&key_policy(&[CONSUMER]), "globex"), create_queue(&queue_policy(&[CONSUMER]), KEY)];
    let report = inspect(&other_tenant, &declarations(false), &PARTIES);
    assert!(report.violations.iter().any(|line| line.contains("not of its tenant")), "{:?}", report.violations);
}

#[test]
fn a_suspended_tenant_stays_cut_off() {
    let mut cut_off = queue_policy(&[CONSUMER]);
    cut_off["Statement"]
        .as_array_mut()
        .unwrap()
        .push(json!({"Sid": "DenySuspended", "Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*"}));
    let writes =
        [set("operator", &json!({"Policy": cut_off.to_string()})), set("operator", &json!({"Policy": queue_policy(&[CONSUMER]).to_string()}))];
    assert_eq!(judged(false, &writes).violations, Vec::<String>::new());
    assert!(judged(true, &writes).violations.iter().any(|line| line.contains("suspended")));
}

/// A ServiceAccount stands for the role it is annotated with, or that EKS associates with it.
#[test]
fn service_accounts_are_resolved() {
    let resolved = |annotation: Option<&str>, association: Option<&str>| {
        let mut declarations = declarations(false);
        let spec = json!({
            "tenant": "acme", "sensitivityTier": "tier", "producers": [{"role": PRODUCER}], "consumers": [{"serviceAccount": {"name": "worker"}}],
        });
        let queue = json!({"metadata": {"namespace": "team", "name": "orders"}, "spec": spec});
        declarations.see(Duration::from_secs(1), Kind::Queue, "team", "orders", Some(queue));
        let annotated = json!({"metadata": {"annotations": {"eks.amazonaws.com/role-arn": annotation}}});
        declarations.see(Duration::from_secs(1), Kind::ServiceAccount, "team", "worker", Some(annotated));
        let association = json!({"association": {"namespace": "team", "serviceAccount": "worker", "roleArn": association}});
        let mut calls = made();
        calls.insert(0, call("operator", "eks:DescribePodIdentityAssociation", Value::Null, association));
        inspect(&calls, &declarations, &PARTIES).violations.is_empty()
    };
    assert!(resolved(Some(CONSUMER), None) && resolved(None, Some(CONSUMER)));
    assert!(!resolved(None, None) && !resolved(Some(STRANGER), Some(STRANGER)));
}

/// Access withdrawn some time ago is not declared any more, and a change under way is old and new.
#[test]
fn declarations_have_their_time() {
    let regained = [
        set("operator", &json!({"Policy": queue_policy(&[]).to_string()})),
        set("operator", &json!({"Policy": queue_policy(&[STRANGER]).to_string()})),
    ];
    for (withdrawn, passes) in [(9, true), (1, false)] {
        let mut declarations = declarations(false);
        let spec = |role: &str| json!({"metadata": {"namespace": "team", "name": "orders"}, "spec": {"tenant": "acme", "sensitivityTier": "tier", "producers": [{"role": PRODUCER}], "consumers": [{"role": role}]}});
        let mut see = |at, role: &str| declarations.see(Duration::from_secs(at), Kind::Queue, "team", "orders", Some(spec(role)));
        see(0, STRANGER);
        see(withdrawn, CONSUMER);
        let report = inspect(&[made().as_slice(), &regained].concat(), &declarations, &PARTIES);
        assert_eq!(report.violations.is_empty(), passes, "{:?}", report.violations);
    }
}

#[test]
fn whoever_did_not_hear_that_a_queue_was_deleted_may_ask_again_for_nothing_else() {
    let tags = json!({"encryptedqueue.dev/cluster": "c", "encryptedqueue.dev/object": "team/orders", "encryptedqueue.dev/kind": "EncryptedQueue"});
    let url = json!({"QueueUrl": "http://127.0.0.1:1/123456789012/acme-team-orders"});
    let made = call("operator", "sqs:CreateQueue", json!({"QueueName": "acme-team-orders", "tags": tags, "Attributes": {}}), Value::Null);
    let delete = call("operator", "sqs:DeleteQueue", url.clone(), Value::Null);
    let repeated = Call { took_effect: false, ..delete.clone() };
    let refused = |calls: &[Call]| rights_taken(calls, "operator", OPERATOR).refused;
    assert_eq!(refused(&[made.clone(), delete.clone(), repeated.clone()]), Vec::<String>::new());
    let foreign = call("someone", "sqs:CreateQueue", json!({"QueueName": "acme-team-orders", "Attributes": {}}), Value::Null);
    assert_eq!(refused(&[made.clone(), delete.clone(), foreign, repeated]).len(), 1, "another queue of the name is not its own");
    let set = call("operator", "sqs:SetQueueAttributes", url, Value::Null);
    assert_eq!(refused(&[made, delete, set]).len(), 1, "a queue that is gone is not changed");
}
