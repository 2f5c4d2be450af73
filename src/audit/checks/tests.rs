//! Each check has a case in which it fires and one in which it does not; a case changes one thing of a queue and a key that are as they should be.
#![allow(clippy::needless_pass_by_value, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::audit::inventory::{DeclaredKey, DeclaredQueue, Encryption, LastUse, PlaceFacts, PolicyFacts, TierRules};
use crate::audit::report::{judge_key, judge_queue};
use crate::names::{Partition, Place, QueueArn, RoleArn};
use crate::plan::state::{KeyLifecycle, KmsGrant, RotationState};
use crate::policy::access::{Capability, Grant, Principal, QueueAccess};
use crate::policy::queue_policy::{QueueKind, render_queue};

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/k";
const APP: &str = "arn:aws:iam::123456789012:role/app";
const ROOT: &str = "arn:aws:iam::123456789012:root";
const DELETED: &str = "AROAEXAMPLEDELETED123";

struct Case {
    facts: PlaceFacts,
    now: jiff::Timestamp,
}

fn place() -> Place {
    Place { partition: Partition::Aws, account: "123456789012".into(), region: "eu-west-1".into() }
}

fn arn(name: &str) -> QueueArn {
    place().queue_arn(name)
}

fn statement(effect: &str, principal: Value, action: Value, condition: Value) -> Value {
    json!({"Sid": "S", "Effect": effect, "Principal": principal, "Action": action, "Resource": "*", "Condition": condition})
}

fn tls() -> Value {
    statement("Deny", json!("*"), json!("sqs:*"), json!({"Bool": {"aws:SecureTransport": "false"}}))
}

fn policy(statements: Vec<Value>) -> PolicyFacts {
    PolicyFacts::of(Some(&json!({"Version": "2012-10-17", "Statement": statements}).to_string()))
}

fn use_through_sqs(role: &str) -> Value {
    statement(
        "Allow",
        json!({"AWS": role}),
        json!(["kms:Decrypt", "kms:GenerateDataKey"]),
        json!({"StringEquals": {"kms:ViaService": "sqs.eu-west-1.amazonaws.com"}}),
    )
}

fn administration() -> Value {
    statement("Allow", json!({"AWS": ROOT}), json!(["kms:Get*", "kms:PutKeyPolicy"]), json!({}))
}

fn queue(name: &str) -> QueueFacts {
    let dead = json!({"deadLetterTargetArn": arn("dead").as_str(), "maxReceiveCount": 5}).to_string();
    let attributes =
        [("KmsMasterKeyId", KEY), ("KmsDataKeyReusePeriodSeconds", "300"), ("MessageRetentionPeriod", "345600"), ("RedrivePolicy", &dead)];
    let app = statement("Allow", json!({"AWS": APP}), json!(["sqs:SendMessage", "sqs:ReceiveMessage"]), json!({}));
    QueueFacts {
        arn: arn(name),
        attributes: attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        tags: Some([("owner".to_owned(), "payments".to_owned())].into()),
        policy: policy(vec![tls(), app]),
        encryption: Encryption::Key(KEY.to_owned()),
        tenant: None,
        declared: None,
    }
}

fn key() -> KeyFacts {
    KeyFacts {
        arn: KEY.to_owned(),
        id: "k".to_owned(),
        lifecycle: KeyLifecycle::Enabled,
        created_at: None,
        deletion_date: None,
        origin: "AWS_KMS".to_owned(),
        spec: "SYMMETRIC_DEFAULT".to_owned(),
        multi_region: false,
        policy: policy(vec![administration(), use_through_sqs(APP)]),
        tags: Some([("owner".to_owned(), "payments".to_owned())].into()),
        aliases: BTreeSet::new(),
        rotation: Some(RotationState { enabled: true, period_days: Some(365), next_at: None }),
        grants: Some(Vec::new()),
        last_use: LastUse::Unknown,
        tenant: None,
        declared: None,
    }
}

/// A queue, its dead-letter queue and their key, all as they should be, after a change.
fn case(change: impl FnOnce(&mut PlaceFacts)) -> Case {
    let mut dead = queue("dead");
    dead.attributes.remove("RedrivePolicy");
    dead.attributes.insert("MessageRetentionPeriod".to_owned(), "1209600".to_owned());
    let mut facts =
        PlaceFacts { place: place(), queues: vec![queue("orders"), dead], keys: vec![key()], all_queues: true, all_keys: true, declarations: false };
    change(&mut facts);
    Case { facts, now: "2026-11-23T12:00:00Z".parse().unwrap() }
}

fn found(case: &Case) -> BTreeSet<&'static str> {
    let view = View::new(&case.facts, case.now);
    let queues = case.facts.queues.iter().flat_map(|queue| judge_queue(queue, &view));
    let keys = case.facts.keys.iter().flat_map(|key| judge_key(key, &view));
    queues.chain(keys).map(|(check, _)| check.id).collect()
}

/// A change, and all that is found then.
type Named = (&'static str, fn(&mut PlaceFacts), &'static [&'static str]);

fn set(facts: &mut PlaceFacts, attribute: &str, value: &str) {
    facts.queues[0].attributes.insert(attribute.to_owned(), value.to_owned());
}

/// Adds a statement to the queue's policy.
fn admit(facts: &mut PlaceFacts, statement: Value) {
    let app = crate::audit::checks::tests::statement("Allow", json!({"AWS": APP}), json!(["sqs:SendMessage", "sqs:ReceiveMessage"]), json!({}));
    facts.queues[0].policy = policy(vec![tls(), app, statement]);
}

/// Adds a statement to the key's policy.
fn admit_to_key(facts: &mut PlaceFacts, statement: Value) {
    facts.keys[0].policy = policy(vec![administration(), use_through_sqs(APP), statement]);
}

fn grant(role: &str, capability: Capability) -> Grant {
    Grant { principal: Principal::Role(RoleArn::parse(role).unwrap()), capability }
}

fn rules() -> TierRules {
    TierRules {
        data_key_reuse_seconds: (60, 3600),
        rotation_period_days: (90, 365),
        message_retention_seconds: (60, 345_600),
        required_tags: vec!["owner".to_owned()],
    }
}

/// Declares the queue, and the key, for sending and receiving by the app.
fn declare(facts: &mut PlaceFacts) {
    facts.declarations = true;
    let grants: BTreeMap<Grant, String> = [Capability::Send, Capability::Receive].map(|capability| (grant(APP, capability), String::new())).into();
    let access = QueueAccess {
        queue: arn("orders"),
        dead_letter_queue: Some(arn("dead")),
        grants,
        others: crate::api::sensitivity_tier::Others::Deny,
        suspended: false,
    };
    facts.queues[0].policy = PolicyFacts::Document(render_queue(&access, &place()));
    for (index, kind) in [QueueKind::Source, QueueKind::DeadLetter].into_iter().enumerate() {
        facts.queues[index].declared = Some(DeclaredQueue {
            object: crate::api::queue_key::NamespacedName { namespace: "acme-prod".to_owned(), name: "orders".to_owned() },
            tenant: "acme".to_owned(),
            tier: "internal".to_owned(),
            kind,
            rules: Some(rules()),
            key_arn: Some(KEY.to_owned()),
            access: Some(access.clone()),
        });
    }
    facts.queues[1].policy = PolicyFacts::Document(crate::policy::queue_policy::render_dead_letter(&access, &place()).unwrap());
    let operator = RoleArn::parse("arn:aws:iam::123456789012:role/operator").unwrap();
    let key_access = crate::policy::access::KeyAccess {
        place: place(),
        operator: operator.clone(),
        administrators: BTreeSet::new(),
        break_glass: BTreeSet::new(),
        users: vec![access.clone()],
        suspended: false,
    };
    facts.keys[0].policy = PolicyFacts::Document(crate::policy::key_policy::render(&key_access, "id"));
    facts.keys[0].declared = Some(DeclaredKey {
        object: "acme-internal-acme-prod-orders".to_owned(),
        tenant: "acme".to_owned(),
        tier: "internal".to_owned(),
        rules: Some(rules()),
        users: [(arn("orders"), Some(arn("dead")))].into(),
        grants: Some([(arn("orders"), access.effective_grants())].into()),
        administrators: Some([operator.to_string(), ROOT.to_owned()].into()),
        retired: false,
    });
    facts.queues[1].attributes.insert("MessageRetentionPeriod".to_owned(), "345600".to_owned());
    facts.queues[0].attributes.insert("MessageRetentionPeriod".to_owned(), "86400".to_owned());
}

/// Leaves the key without any queue.
fn abandon(facts: &mut PlaceFacts) {
    facts.queues.clear();
}

const QUEUE_CASES: &[Named] = &[
    ("all is as it should be", |_| {}, &[]),
    (
        "neither kind of encryption",
        |facts| (facts.queues[0].encryption, facts.queues[1].encryption) = (Encryption::Off, Encryption::Key(KEY.into())),
        &["queue-not-encrypted"],
    ),
    ("SSE-SQS", |facts| facts.queues[0].encryption = Encryption::SqsManaged, &["queue-sse-sqs"]),
    ("alias/aws/sqs", |facts| facts.queues[0].encryption = Encryption::AwsManaged, &["queue-aws-managed-key"]),
    ("no such key", |facts| facts.queues[0].encryption = Encryption::Missing, &["queue-key-missing"]),
    ("a key that cannot be told", |facts| facts.queues[0].encryption = Encryption::Unknown, &["queue-key-unknown"]),
    (
        "a key of another account",
        |facts| facts.queues[0].encryption = Encryption::Foreign { arn: "arn:aws:kms:eu-west-1:111122223333:key/f".into(), state: None },
        &["queue-key-foreign"],
    ),
    (
        "a key of another account that is disabled",
        |facts| facts.queues[0].encryption = Encryption::Foreign { arn: "arn:f".into(), state: Some(KeyLifecycle::Disabled) },
        &["queue-key-foreign", "queue-key-disabled"],
    ),
    ("by alias", |facts| set(facts, "KmsMasterKeyId", "alias/orders"), &["queue-key-by-alias"]),
    (
        "a key of another Region",
        |facts| {
            set(facts, "KmsMasterKeyId", "arn:aws:kms:us-east-1:123456789012:key/k");
            facts.queues[0].encryption = Encryption::Missing;
        },
        &["queue-key-unusable-kind"],
    ),
    ("dead letters under SSE-SQS", |facts| facts.queues[1].encryption = Encryption::SqsManaged, &["dead-letter-key-differs", "queue-sse-sqs"]),
    ("no dead letters", |facts| drop(facts.queues[0].attributes.remove("RedrivePolicy")), &["queue-without-dead-letters"]),
    (
        "the dead-letter queue says itself what it is for",
        |facts| {
            facts.queues.remove(0);
            set(facts, "RedriveAllowPolicy", r#"{"redrivePermission":"allowAll"}"#);
        },
        &[],
    ),
    ("no dead-letter queue of that name", |facts| drop(facts.queues.remove(1)), &["dead-letter-queue-gone"]),
    (
        "perhaps a dead-letter queue that could not be listed",
        |facts| {
            facts.queues.remove(1);
            facts.all_queues = false;
        },
        &[],
    ),
    ("dead letters that expire on arrival", |facts| set(facts, "MessageRetentionPeriod", "1209600"), &["dead-letter-retention"]),
    ("no tags but AWS's", |facts| facts.queues[0].tags = Some([("aws:cloudformation:stack-name".into(), "s".into())].into()), &["queue-untagged"]),
    ("tags that could not be read", |facts| facts.queues[0].tags = None, &[]),
    ("a policy that does not parse", |facts| facts.queues[0].policy = PolicyFacts::of(Some("{")), &["queue-policy-unreadable"]),
    ("a policy that could not be read", |facts| facts.queues[0].policy = PolicyFacts::Unknown, &[]),
    ("no policy", |facts| facts.queues[0].policy = PolicyFacts::Absent, &["queue-without-tls"]),
    ("everyone", |facts| admit(facts, statement("Allow", json!("*"), json!("sqs:SendMessage"), json!({}))), &["queue-public"]),
    (
        "everyone, spelled otherwise",
        |facts| admit(facts, statement("Allow", json!({"AWS": ["*"]}), json!("sqs:*"), json!({"StringLike": {"aws:SourceAccount": "*"}}))),
        &["queue-public", "queue-full-access"],
    ),
    (
        "everyone of an organisation",
        |facts| {
            admit(facts, statement("Allow", json!("*"), json!("sqs:SendMessage"), json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}})));
        },
        &["queue-cross-account"],
    ),
    ("everyone, denied", |facts| admit(facts, statement("Deny", json!("*"), json!("sqs:*"), json!({}))), &[]),
    (
        "all but one",
        |facts| {
            admit(facts, json!({"Effect": "Allow", "NotPrincipal": {"AWS": APP}, "Action": "sqs:SendMessage", "Resource": "*"}));
        },
        &["queue-allows-by-exclusion"],
    ),
    (
        "another account",
        |facts| admit(facts, statement("Allow", json!({"AWS": "111122223333"}), json!("sqs:SendMessage"), json!({}))),
        &["queue-cross-account"],
    ),
    (
        "a service for whomever",
        |facts| {
            admit(facts, statement("Allow", json!({"Service": "sns.amazonaws.com"}), json!("sqs:SendMessage"), json!({})));
            admit_to_key(
                facts,
                statement(
                    "Allow",
                    json!({"Service": "sns.amazonaws.com"}),
                    json!(["kms:Decrypt", "kms:GenerateDataKey"]),
                    json!({"StringEquals": {"aws:SourceAccount": "123456789012"}}),
                ),
            );
        },
        &["queue-service-without-source"],
    ),
    (
        "a deleted role",
        |facts| admit(facts, statement("Allow", json!({"AWS": DELETED}), json!("sqs:SendMessage"), json!({}))),
        &["queue-deleted-principal"],
    ),
    (
        "a role that the key forgets",
        |facts| admit(facts, statement("Allow", json!({"AWS": "arn:aws:iam::123456789012:role/new"}), json!("sqs:ReceiveMessage"), json!({}))),
        &["queue-access-not-in-key-policy"],
    ),
    (
        "a role that the key admits through another queue",
        |facts| {
            let context = json!({"StringEquals": {"kms:EncryptionContext:aws:sqs:arn": "arn:aws:sqs:eu-west-1:123456789012:other"}});
            facts.keys[0].policy = policy(vec![administration(), statement("Allow", json!({"AWS": APP}), json!("kms:*"), context)]);
        },
        &["queue-access-not-in-key-policy", "key-full-access"],
    ),
];

const KEY_CASES: &[Named] = &[
    ("rotation off", |facts| facts.keys[0].rotation.as_mut().unwrap().enabled = false, &["key-rotation-off"]),
    ("rotation unknown", |facts| facts.keys[0].rotation = None, &[]),
    ("disabled, with a queue under it", |facts| facts.keys[0].lifecycle = KeyLifecycle::Disabled, &["key-disabled", "queue-key-disabled"]),
    ("pending deletion", |facts| facts.keys[0].lifecycle = KeyLifecycle::PendingDeletion, &["key-pending-deletion", "queue-key-pending-deletion"]),
    ("a key for signing", |facts| facts.keys[0].spec = "RSA_2048".into(), &["queue-key-unusable-kind"]),
    ("made for queues, none under it", abandon, &["key-unused"]),
    (
        "unused for a month, made for queues",
        |facts| {
            abandon(facts);
            facts.keys[0].last_use = LastUse::NoneSince("2026-10-20T00:00:00Z".parse().unwrap());
        },
        &["key-unused"],
    ),
    (
        "unused for a month, made for something else",
        |facts| {
            abandon(facts);
            facts.keys[0].policy = policy(vec![administration()]);
            facts.keys[0].last_use = LastUse::At("2026-10-20T00:00:00Z".parse().unwrap());
        },
        &[],
    ),
    (
        "perhaps a queue under it that could not be listed",
        |facts| {
            abandon(facts);
            facts.all_queues = false;
        },
        &[],
    ),
    ("several Regions", |facts| facts.keys[0].multi_region = true, &["key-multi-region"]),
    ("imported material", |facts| facts.keys[0].origin = "EXTERNAL".into(), &["key-material-imported"]),
    ("no tags", |facts| facts.keys[0].tags = Some(BTreeMap::new()), &["key-untagged"]),
    (
        "two tenants under one key",
        |facts| (facts.queues[0].tenant, facts.queues[1].tenant) = (Some("acme".into()), Some("globex".into())),
        &["key-shared"],
    ),
    ("a policy that does not parse", |facts| facts.keys[0].policy = PolicyFacts::of(Some("[]")), &["key-policy-unreadable"]),
    ("everyone", |facts| admit_to_key(facts, statement("Allow", json!("*"), json!("kms:Decrypt"), json!({}))), &["key-public"]),
    (
        "everyone of the account",
        |facts| {
            admit_to_key(facts, statement("Allow", json!("*"), json!("kms:Decrypt"), json!({"StringEquals": {"kms:CallerAccount": "123456789012"}})));
        },
        &[],
    ),
    (
        "another account",
        |facts| admit_to_key(facts, statement("Allow", json!({"AWS": "arn:aws:iam::111122223333:root"}), json!("kms:Decrypt"), json!({}))),
        &["key-cross-account"],
    ),
    (
        "the account's root decrypts",
        |facts| admit_to_key(facts, statement("Allow", json!({"AWS": ROOT}), json!("kms:*"), json!({}))),
        &["key-delegates-to-iam"],
    ),
    (
        "manages and uses",
        |facts| admit_to_key(facts, statement("Allow", json!({"AWS": APP}), json!(["kms:Decrypt", "kms:PutKeyPolicy"]), json!({}))),
        &["key-full-access"],
    ),
    ("nobody manages it", |facts| facts.keys[0].policy = policy(vec![use_through_sqs(APP)]), &["key-unmanageable"]),
    (
        "a service for whomever",
        |facts| {
            abandon(facts);
            facts.all_queues = false;
            admit_to_key(facts, statement("Allow", json!({"Service": "sns.amazonaws.com"}), json!("kms:GenerateDataKey*"), json!({})));
        },
        &["key-service-without-source"],
    ),
    (
        "all actions but one",
        |facts| admit_to_key(facts, json!({"Effect": "Allow", "Principal": {"AWS": APP}, "NotAction": "kms:Decrypt", "Resource": "*"})),
        &["key-allows-by-exclusion", "key-full-access"],
    ),
    (
        "a grant",
        |facts| facts.keys[0].grants = Some(vec![KmsGrant { id: "g".into(), grantee: APP.into(), operations: ["Decrypt".to_owned()].into() }]),
        &["key-grants"],
    ),
    ("a deleted role", |facts| admit_to_key(facts, use_through_sqs(DELETED)), &["key-deleted-principal"]),
    (
        "a role that no queue names",
        |facts| admit_to_key(facts, use_through_sqs("arn:aws:iam::123456789012:role/former")),
        &["key-access-not-in-queue-policy"],
    ),
];

const DECLARED_CASES: &[Named] = &[
    ("all is as declared", declare, &[]),
    (
        "another queue is not declared",
        |facts| {
            declare(facts);
            let mut stranger = queue("stranger");
            stranger.encryption = Encryption::SqsManaged;
            facts.queues.push(stranger);
        },
        &["queue-undeclared", "queue-sse-sqs", "dead-letter-retention"],
    ),
    (
        "data keys reused for a day",
        |facts| {
            declare(facts);
            set(facts, "KmsDataKeyReusePeriodSeconds", "86400");
        },
        &["queue-reuse-period"],
    ),
    (
        "kept for two weeks",
        |facts| {
            declare(facts);
            set(facts, "MessageRetentionPeriod", "1209600");
        },
        &["queue-retention", "dead-letter-retention"],
    ),
    (
        "a required tag is empty",
        |facts| {
            declare(facts);
            facts.queues[0].tags = Some([("owner".into(), String::new())].into());
        },
        &["queue-required-tags"],
    ),
    (
        "another key than the declared",
        |facts| {
            declare(facts);
            facts.queues[0].declared.as_mut().unwrap().key_arn = Some("arn:aws:kms:eu-west-1:123456789012:key/other".into());
        },
        &["queue-key-not-declared"],
    ),
    (
        "rotated too seldom",
        |facts| {
            declare(facts);
            facts.keys[0].rotation.as_mut().unwrap().period_days = Some(730);
        },
        &["key-rotation-period"],
    ),
    (
        "retired by the operator",
        |facts| {
            declare(facts);
            abandon(facts);
            facts.keys[0].lifecycle = KeyLifecycle::PendingDeletion;
            facts.keys[0].declared.as_mut().unwrap().retired = true;
        },
        &[],
    ),
    (
        "a producer that is not declared any more",
        |facts| {
            declare(facts);
            let declared = |facts: &mut PlaceFacts, index: usize| {
                let access = facts.queues[index].declared.as_mut().unwrap().access.as_mut().unwrap();
                access.grants.remove(&grant(APP, Capability::Send));
            };
            declared(facts, 0);
            declared(facts, 1);
        },
        &["queue-access-not-declared"],
    ),
    (
        "a grant through the key that is not declared any more",
        |facts| {
            declare(facts);
            facts.keys[0].declared.as_mut().unwrap().grants = Some(BTreeMap::new());
        },
        &["key-access-not-declared"],
    ),
    (
        "an administrator too many",
        |facts| {
            declare(facts);
            facts.keys[0].declared.as_mut().unwrap().administrators = Some([ROOT.to_owned()].into());
        },
        &["key-access-not-declared"],
    ),
];

#[test]
fn each_case_has_exactly_its_findings() {
    for (name, change, expected) in QUEUE_CASES.iter().chain(KEY_CASES).chain(DECLARED_CASES) {
        let expected: BTreeSet<&str> = expected.iter().copied().collect();
        assert_eq!(found(&case(change)), expected, "{name}");
    }
}

#[test]
fn each_check_has_a_case_that_fires_and_one_that_does_not() {
    let (mut fired, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for (_, change, expected) in QUEUE_CASES.iter().chain(KEY_CASES).chain(DECLARED_CASES) {
        fired.extend(expected.iter().copied());
        let facts = case(change).facts;
        // Silent counts only where there is something that the check could find fault with.
        let judged = |check: &&Check| {
            let present = if matches!(check.subject, Subject::Queue(_)) { !facts.queues.is_empty() } else { !facts.keys.is_empty() };
            present && (facts.declarations || !check.needs_declarations) && !expected.contains(&check.id)
        };
        silent.extend(all().filter(judged).map(|check| check.id));
    }
    let all: BTreeSet<&str> = all().map(|check| check.id).collect();
    assert_eq!((&fired, &silent), (&all, &all));
}

/// A key that is looked at by itself is judged without the queues under it.
#[test]
fn just_the_checks_that_are_said_to_ask_for_the_queues_of_a_key_do() {
    let of_key = |case: &Case| -> BTreeSet<&'static str> {
        let view = View::new(&case.facts, case.now);
        case.facts.keys.iter().flat_map(|key| judge_key(key, &view)).map(|(check, _)| check.id).collect()
    };
    let mut asking = BTreeSet::new();
    for (_, change, _) in QUEUE_CASES.iter().chain(KEY_CASES).chain(DECLARED_CASES) {
        let alone = case(|facts| {
            change(facts);
            facts.queues.clear();
            facts.all_queues = false;
        });
        asking.extend(of_key(&case(change)).symmetric_difference(&of_key(&alone)).copied());
    }
    assert_eq!(asking, BTreeSet::from(ASK_FOR_USERS));
}

#[test]
fn every_check_is_told_well() {
    let mut ids = BTreeSet::new();
    for check in all() {
        assert!(ids.insert(check.id), "{}", check.id);
        assert!(check.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", check.id);
        let subject = if matches!(check.subject, Subject::Queue(_)) {
            check.id.starts_with("queue-") || check.id.starts_with("dead-letter-")
        } else {
            check.id.starts_with("key-")
        };
        assert!(subject, "{}", check.id);
        for text in [check.title, check.why, check.remedy] {
            assert!(text.ends_with('.') && text.len() < 240, "{}: {text}", check.id);
        }
    }
}

#[test]
fn the_page_of_checks_is_as_generated() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/checks.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, documentation()).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == documentation(), "docs/checks.md is stale (UPDATE_GOLDEN=1 writes it anew)");
}
