//! The policies of `deploy/aws` and the chart's roles: what they refuse, and that all that they allow is needed. That they suffice is seen in every
//! end-to-end test.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use test_support::chart::{RELEASE, operator_rights};
use test_support::judge::evaluator::evaluate;
use test_support::judge::rights::{actions, of_anyone, policy, policy_of};
use test_support::judge::{Caller, Request, Verdict};

use crate::opinions::Opinion;

const ACCOUNT: &str = "111122223333";
const OPERATOR: &str = "arn:aws:iam::111122223333:role/encrypted-queue-operator";
const QUEUE: &str = "arn:aws:sqs:eu-west-1:111122223333:acme-orders";
const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1";
const CLUSTER: &str = "encryptedqueue.dev/cluster";

/// All that is attached to roles of the operator and of readers.
const ATTACHED: [&str; 8] = ["tenant-roles", "queues-and-keys", "adoption", "pod-identity-associations", "cost", "drift-consumer", "audit", "plan"];
/// What of this the operator itself has nowhere.
const OF_READERS: [&str; 2] = ["audit", "plan"];

fn attached(name: &str) -> Value {
    policy_of(name, "aws", ACCOUNT, "mine", "acme-*")
}

fn request(action: &str, resource: &str, context: &[(&str, &str)]) -> Request {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::from([("aws:SecureTransport".to_owned(), vec!["true".to_owned()])]);
    for (key, value) in context {
        keys.entry((*key).to_owned()).or_default().push((*value).to_owned());
    }
    let caller = Caller::Session { role: OPERATOR.to_owned(), name: "session".to_owned() };
    Request { caller, action: action.to_owned(), resource: resource.to_owned(), context: keys }
}

/// What both evaluators say.
fn verdict(policy: &Value, request: &Request) -> Verdict {
    let said = evaluate(policy, request);
    assert_eq!(Opinion::of(policy).verdict(request), said, "the evaluators differ on {request:?}\n{policy:#}");
    said
}

/// The operator's tags on a resource, and in a request.
const MINE: (&str, &str) = ("aws:ResourceTag/encryptedqueue.dev/cluster", "mine");
const OTHERS: (&str, &str) = ("aws:ResourceTag/encryptedqueue.dev/cluster", "other");
const ASKED: (&str, &str) = ("aws:RequestTag/encryptedqueue.dev/cluster", "mine");
const NONCE: (&str, &str) = ("aws:RequestTag/encryptedqueue.dev/nonce", "n");

#[test]
fn nothing_uses_or_gives_away_a_queue_or_key() {
    let of_queues =
        ["SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "PurgeQueue", "StartMessageMoveTask", "AddPermission"];
    let of_keys = [
        "Decrypt",
        "Encrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "ReEncryptFrom",
        "ReEncryptTo",
        "CreateGrant",
        "RetireGrant",
        "PutKeyPolicy",
        "DisableKey",
        "ScheduleKeyDeletion",
        "ReplicateKey",
    ];
    let queues = of_queues.iter().map(|name| (format!("sqs:{name}"), QUEUE));
    let all: Vec<_> = queues.chain(of_keys.iter().map(|name| (format!("kms:{name}"), KEY))).collect();
    for name in ATTACHED {
        let policy = of_anyone(&attached(name));
        for (action, resource) in &all {
            for context in [&[][..], &[MINE, ASKED, NONCE], &[("kms:ViaService", "sqs.eu-west-1.amazonaws.com"), MINE]] {
                assert_ne!(verdict(&policy, &request(action, resource, context)), Verdict::Allowed, "{name} allows {action} {context:?}");
            }
        }
        for (sid, action) in actions(&policy) {
            assert!(!action.contains(['*', '?']), "{name}/{sid} allows {action}");
        }
    }
    // The one queue that is the operator's own to read.
    let own = request("sqs:ReceiveMessage", "arn:aws:sqs:eu-west-1:111122223333:drift", &[]);
    assert_eq!(verdict(&of_anyone(&attached("drift-consumer")), &own), Verdict::Allowed);
}

/// Each row stands for a condition or resource without which it would read otherwise.
#[test]
fn what_is_not_the_operators_is_refused() {
    let (new_key, alias) = ("arn:aws:kms:eu-west-1:111122223333:key/*", "arn:aws:kms:eu-west-1:111122223333:alias/encryptedqueue/a/b-1");
    let bypass = |value| ("kms:BypassPolicyLockoutSafetyCheck", value);
    let role = |name: &str| format!("arn:aws:iam::444455556666:role/{name}");
    for (name, action, resource, context, allowed) in [
        ("queues-and-keys", "kms:CreateKey", new_key, vec![ASKED, NONCE, bypass("false")], true),
        ("queues-and-keys", "kms:CreateKey", new_key, vec![ASKED, NONCE, bypass("true")], false),
        ("queues-and-keys", "kms:CreateKey", new_key, vec![ASKED], false),
        ("queues-and-keys", "kms:CreateKey", new_key, vec![NONCE], false),
        ("queues-and-keys", "kms:CreateKey", new_key, vec![(ASKED.0, "other"), NONCE], false),
        ("queues-and-keys", "kms:CreateKey", new_key, vec![ASKED, NONCE, ("kms:KeySpec", "RSA_2048")], false),
        ("queues-and-keys", "kms:TagResource", new_key, vec![ASKED, NONCE], true),
        ("queues-and-keys", "kms:TagResource", new_key, vec![ASKED], false),
        ("queues-and-keys", "kms:UntagResource", KEY, vec![MINE], false),
        ("queues-and-keys", "kms:CreateAlias", alias, vec![], true),
        ("queues-and-keys", "kms:CreateAlias", KEY, vec![], false),
        ("queues-and-keys", "kms:UpdateAlias", "arn:aws:kms:eu-west-1:111122223333:alias/payments", vec![], false),
        ("queues-and-keys", "sqs:CreateQueue", QUEUE, vec![ASKED], true),
        ("queues-and-keys", "sqs:CreateQueue", QUEUE, vec![], false),
        ("queues-and-keys", "sqs:CreateQueue", "arn:aws:sqs:eu-west-1:111122223333:payments", vec![ASKED], false),
        ("queues-and-keys", "sqs:TagQueue", QUEUE, vec![ASKED], true),
        ("queues-and-keys", "sqs:TagQueue", QUEUE, vec![ASKED, OTHERS], false),
        ("queues-and-keys", "sqs:TagQueue", "arn:aws:sqs:eu-west-1:111122223333:payments", vec![ASKED], false),
        ("queues-and-keys", "sqs:SetQueueAttributes", QUEUE, vec![MINE], true),
        ("queues-and-keys", "sqs:SetQueueAttributes", QUEUE, vec![OTHERS], false),
        ("queues-and-keys", "sqs:SetQueueAttributes", QUEUE, vec![], false),
        ("queues-and-keys", "sqs:DeleteQueue", QUEUE, vec![OTHERS], false),
        ("queues-and-keys", "sqs:DeleteQueue", "arn:aws:sqs:eu-west-1:444455556666:acme-orders", vec![MINE], false),
        ("adoption", "sqs:TagQueue", QUEUE, vec![ASKED, OTHERS], true),
        ("adoption", "sqs:TagQueue", QUEUE, vec![], false),
        ("tenant-roles", "sts:AssumeRole", &role("encrypted-queue-operator"), vec![], true),
        ("tenant-roles", "sts:AssumeRole", &role("administrator"), vec![], false),
        ("drift-consumer", "sqs:ReceiveMessage", QUEUE, vec![MINE], false),
        ("audit", "sqs:GetQueueAttributes", QUEUE, vec![], true),
        ("audit", "sqs:SetQueueAttributes", QUEUE, vec![MINE], false),
        ("plan", "sqs:GetQueueUrl", QUEUE, vec![], true),
        ("plan", "sqs:GetQueueUrl", "arn:aws:sqs:eu-west-1:444455556666:acme-orders", vec![], false),
        ("plan", "kms:ListKeyRotations", KEY, vec![], true),
    ] {
        let said = verdict(&of_anyone(&attached(name)), &request(action, resource, &context));
        assert_eq!(said == Verdict::Allowed, allowed, "{name}: {action} on {resource} {context:?} is {said:?}");
    }
}

/// `plan` and `adopt` read by the operator's own calls.
#[test]
fn readers_read_what_the_operator_reads() {
    let of = |name: &str| actions(&attached(name)).into_iter().map(|(_, action)| action).collect::<BTreeSet<String>>();
    let reads =
        |action: &String| action.split_once(':').is_some_and(|(_, name)| ["Describe", "Get", "List"].iter().any(|verb| name.starts_with(verb)));
    let operators: BTreeSet<String> = of("queues-and-keys").into_iter().filter(reads).collect();
    let readers = &of("audit") | &of("plan");
    // `audit --who-decrypted` alone reads CloudTrail's events, the operator alone tells which declared roles do not exist.
    let differing: Vec<&str> = operators.symmetric_difference(&readers).map(String::as_str).collect();
    assert_eq!(differing, ["cloudtrail:LookupEvents", "iam:GetRole"]);
}

#[test]
fn a_tenants_role_asks_for_the_external_id() {
    let tenant_role = "arn:aws:iam::444455556666:role/encrypted-queue-operator";
    for (name, trusted) in [("tenant-role-trust", "OperatorRoleArn"), ("reader-trust", "ReaderPrincipalArns")] {
        let mut trust = policy(name, &[(trusted, OPERATOR), ("ExternalId", "acme-7f3a")]);
        // A role's trust policy is about the role itself, and names no resource.
        trust["Statement"][0]["Resource"] = "*".into();
        for (context, allowed) in [(&[("sts:ExternalId", "acme-7f3a")][..], true), (&[("sts:ExternalId", "globex")], false), (&[], false)] {
            let mut asked = request("sts:AssumeRole", tenant_role, context);
            assert_eq!(verdict(&trust, &asked) == Verdict::Allowed, allowed, "{name} {context:?}");
            asked.caller = Caller::Session { role: "arn:aws:iam::111122223333:role/other".to_owned(), name: "s".to_owned() };
            assert_eq!(verdict(&trust, &asked), Verdict::Silent);
        }
    }
}

#[test]
fn the_service_control_policy_reserves_what_is_the_operators() {
    let (glass, deployer) = ("arn:aws:iam::111122223333:role/break-glass", "arn:aws:iam::111122223333:role/deployer");
    let values = [("OperatorRoles", "arn:aws:iam::*:role/encrypted-queue-operator"), ("BreakGlassRoleArn", glass), ("DeploymentRoleArn", deployer)];
    let scp = of_anyone(&policy("service-control", &values));
    let tag = ("aws:TagKeys", CLUSTER);
    let admin = "arn:aws:iam::111122223333:role/admin";
    for (action, resource, context, lets) in [
        ("kms:PutKeyPolicy", KEY, vec![OTHERS], &[OPERATOR, glass][..]),
        ("kms:ScheduleKeyDeletion", KEY, vec![MINE], &[OPERATOR, glass]),
        ("kms:CreateGrant", KEY, vec![MINE], &[glass]),
        ("kms:DisableKey", KEY, vec![MINE], &[glass]),
        ("sqs:SetQueueAttributes", QUEUE, vec![MINE], &[OPERATOR, glass]),
        ("sqs:AddPermission", QUEUE, vec![MINE], &[OPERATOR, glass]),
        ("sqs:TagQueue", QUEUE, vec![tag, ("aws:TagKeys", "owner")], &[OPERATOR, glass]),
        ("sqs:UntagQueue", QUEUE, vec![tag], &[OPERATOR, glass]),
        ("kms:TagResource", KEY, vec![tag], &[OPERATOR, glass]),
        ("iam:UpdateAssumeRolePolicy", OPERATOR, vec![], &[glass, deployer]),
        // What is not the operator's is left to everybody.
        ("kms:PutKeyPolicy", KEY, vec![], &[OPERATOR, glass, deployer, admin]),
        ("sqs:SetQueueAttributes", QUEUE, vec![("aws:ResourceTag/owner", "x")], &[OPERATOR, glass, deployer, admin]),
        ("sqs:TagQueue", QUEUE, vec![("aws:TagKeys", "owner")], &[OPERATOR, glass, deployer, admin]),
        ("iam:UpdateAssumeRolePolicy", admin, vec![], &[OPERATOR, glass, deployer, admin]),
    ] {
        for caller in [OPERATOR, glass, deployer, admin] {
            let mut asked = request(action, resource, &[&context[..], &[("aws:PrincipalArn", caller)]].concat());
            asked.caller = Caller::Session { role: caller.to_owned(), name: "s".to_owned() };
            assert_eq!(verdict(&scp, &asked) != Verdict::Denied, lets.contains(&caller), "{caller}: {action} {context:?}");
        }
    }
}

/// What the tests of this checkout took, as end-to-end tests note it.
fn taken() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/rights-taken");
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}; the end-to-end tests write it"));
    text.lines().map(str::to_owned).collect()
}

/// Allowed, and taken by no test, for a reason.
const UNTAKEN: [(&str, &str); 8] = [
    ("queues-and-keys kms:GetKeyLastUsage", "before a key's deletion; the emulator does not have it"),
    ("queues-and-keys kms:UpdateAlias", "the account's policies have to allow it for the alias, the key's own for the key"),
    ("queues-and-keys kms:ListKeyRotations", "after a crash during a rotation, where somebody took the operator out of the key's policy"),
    ("configmaps any create", "a ConfigMap is made by server-side apply, for which the API server asks for both rights and tells of one"),
    ("clusterpolicyreports any create", "as a ConfigMap"),
    ("clusterreports any create", "as a ConfigMap"),
    ("clusterpolicyreports any delete", "the test in which a report goes serves clusterreports; the way to both is one"),
    ("encryptedqueues/finalizers any update", "clusters that look who may block deletion ask for it, as OpenShift does"),
];

/// After the end-to-end tests: `make test` runs it then.
#[test]
#[ignore = "judges what the end-to-end tests noted"]
fn every_right_is_taken_by_some_test() {
    let taken = taken();
    let (mut unused, mut found) = (Vec::new(), BTreeSet::new());
    let excused = |right: &str| UNTAKEN.iter().any(|(excused, _)| *excused == right);
    for name in ATTACHED.iter().filter(|name| !OF_READERS.contains(name)) {
        for (_, action) in actions(&attached(name)) {
            let right = format!("{name} {action}");
            if taken.contains(&format!("aws {right} needed")) {
                found.insert(right);
            } else if !excused(&right) {
                unused.push(right);
            }
        }
    }
    for (rule, group, resource) in rules() {
        for verb in rule["verbs"].as_array().unwrap().iter().map(|verb| verb.as_str().unwrap()) {
            let scope = if rule["own"] == true { "own" } else { "any" };
            let right = format!("{resource} {scope} {verb}");
            if taken.contains(&format!("kubernetes {group:?} {right}")) {
                found.insert(right);
            } else if !excused(&right) {
                unused.push(right);
            }
        }
    }
    assert!(unused.is_empty(), "no test takes {unused:#?}");
    let stale: Vec<_> = UNTAKEN.iter().filter(|(right, _)| found.contains(*right)).collect();
    assert!(stale.is_empty(), "taken after all: {stale:#?}");
}

/// The chart's rules for the operator, by group and resource; those of its Role are marked `own`.
fn rules() -> Vec<(Value, String, String)> {
    let manifests = operator_rights(RELEASE).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&manifests).unwrap();
    let mut found = Vec::new();
    for object in objects.iter().filter(|object| object["rules"].is_array()) {
        for rule in object["rules"].as_array().unwrap() {
            let texts = |field: &str| rule[field].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect::<Vec<_>>();
            for group in texts("apiGroups") {
                let marked = json!({"verbs": rule["verbs"], "own": object["kind"] == "Role"});
                found.extend(texts("resources").into_iter().map(|resource| (marked.clone(), group.clone(), resource)));
            }
        }
    }
    assert!(found.len() > 10, "{found:?}");
    found
}
