//! The property can fail: each way to corrupt a rendered policy is noticed.

use std::cell::RefCell;

use encrypted_queue::names::Partition;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use serde_json::{Map, Value, json};

use crate::judged::{Policies, Tally, cases};

/// How to corrupt one statement: its Sid and the statement.
type Corruption = fn(&str, &mut Value);

fn object<'a>(value: &'a mut Value, pointer: &str) -> Option<&'a mut Map<String, Value>> {
    value.pointer_mut(pointer).and_then(Value::as_object_mut)
}

fn without(statement: &mut Value, keys: &[&str]) {
    let Some(operators) = object(statement, "/Condition") else { return };
    for held in operators.values_mut().filter_map(Value::as_object_mut) {
        held.retain(|key, _| !keys.contains(&key.as_str()));
    }
}

fn operator(statement: &mut Value, from: &str, to: &str) {
    let Some(operators) = object(statement, "/Condition") else { return };
    if let Some(keys) = operators.remove(from) {
        let into = operators.entry(to).or_insert_with(|| json!({}));
        into.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    }
}

fn allows(statement: &Value) -> bool {
    statement["Effect"] == "Allow"
}

fn one_more_action(statement: &mut Value, action: &str) {
    let actions = statement["Action"].as_array().cloned().unwrap_or_else(|| vec![statement["Action"].clone()]);
    statement["Action"] = actions.into_iter().chain([action.into()]).collect();
}

fn one_less(statement: &mut Value, pointer: &str) {
    if let Some(Value::Array(items)) = statement.pointer_mut(pointer) {
        items.pop();
    }
}

/// Without effect: nothing is allowed and nothing denied.
fn gone(statement: &mut Value) {
    *statement = json!({"Effect": "Deny", "Principal": {"Service": "nobody.amazonaws.com"}, "Action": "sqs:None", "Resource": "*"});
}

fn if_sid(prefix: &str, sid: &str, statement: &mut Value, change: impl Fn(&mut Value)) {
    if sid.starts_with(prefix) {
        change(statement);
    }
}

const ALLOWING: [(&str, Corruption); 18] = [
    ("without kms:ViaService", |_, s| without(s, &["kms:ViaService"])),
    ("without the queue's ARN as encryption context", |_, s| without(s, &["kms:EncryptionContext:aws:sqs:arn"])),
    ("the encryption context only if there is one", |_, s| operator(s, "StringEquals", "StringEqualsIfExists")),
    ("without aws:SourceAccount", |_, s| without(s, &["aws:SourceAccount"])),
    ("without aws:SourceArn", |_, s| without(s, &["aws:SourceArn"])),
    ("without any source", |_, s| without(s, &["aws:SourceArn", "aws:SourceAccount"])),
    ("a key's source only if there is one", |_, s| {
        operator(s, "ArnEquals", "ArnEqualsIfExists");
    }),
    ("without the organisation", |_, s| {
        if allows(s) {
            without(s, &["aws:PrincipalOrgID"]);
        }
    }),
    ("without the organisation's paths", |_, s| {
        if allows(s) {
            without(s, &["aws:PrincipalOrgPaths"]);
        }
    }),
    ("without the role's name", |_, s| {
        if allows(s) {
            without(s, &["aws:PrincipalArn"]);
        }
    }),
    ("all paths but these", |_, s| operator(s, "ForAnyValue:StringLike", "ForAllValues:StringNotLike")),
    ("roles by account", |_, s| {
        if allows(s) && s.pointer("/Principal/AWS").is_some_and(|names| names.to_string().contains(":role/")) {
            s["Principal"] = json!({"AWS": "111122223333"});
        }
    }),
    ("one role less", |_, s| one_less(s, "/Principal/AWS")),
    ("one queue less in the context", |_, s| one_less(s, "/Condition/StringEquals/kms:EncryptionContext:aws:sqs:arn")),
    ("who sends may receive", |sid, s| if_sid("Send", sid, s, |s| one_more_action(s, "sqs:ReceiveMessage"))),
    ("who receives may encrypt", |sid, s| if_sid("Receive", sid, s, |s| one_more_action(s, "kms:GenerateDataKey"))),
    ("who receives may delete the queue", |sid, s| if_sid("Receive", sid, s, |s| one_more_action(s, "sqs:DeleteQueue"))),
    ("redrivers may not send back", |sid, s| {
        if_sid("Redrive", sid, s, |s| s["Action"] = json!(["sqs:GetQueueUrl", "sqs:StartMessageMoveTask"]));
    }),
];

const ADMINISTRATION: [(&str, Corruption); 6] = [
    ("the operator may decrypt", |sid, s| if_sid("Operator", sid, s, |s| one_more_action(s, "kms:Decrypt"))),
    ("the operator needs a condition", |sid, s| {
        if_sid("Operator", sid, s, |s| s["Condition"] = json!({"StringEquals": {"kms:ViaService": "sqs.eu-west-1.amazonaws.com"}}));
    }),
    ("the account's IAM decides all", |sid, s| if_sid("RootAdministration", sid, s, |s| s["Action"] = "kms:*".into())),
    ("no administration by the account", |sid, s| if_sid("RootAdministration", sid, s, gone)),
    ("key administrators may put the policy", |sid, s| if_sid("KeyAdministrators", sid, s, |s| one_more_action(s, "kms:PutKeyPolicy"))),
    ("no break-glass administrators", |sid, s| if_sid("BreakGlassAdministrators", sid, s, gone)),
];

const DENYING: [(&str, Corruption); 17] = [
    ("grants not denied", |sid, s| if_sid("DenyGrants", sid, s, gone)),
    ("suspension not written", |sid, s| if_sid("DenySuspended", sid, s, gone)),
    ("suspension lets SendMessage through", |sid, s| {
        if_sid("DenySuspended", sid, s, |s| s["Action"].as_array_mut().unwrap().retain(|a| a != "sqs:SendMessage"));
    }),
    ("without TLS allowed", |sid, s| if_sid("DenyInsecureTransport", sid, s, gone)),
    ("TLS denied instead", |sid, s| {
        if_sid("DenyInsecureTransport", sid, s, |s| s["Condition"] = json!({"Bool": {"aws:SecureTransport": "true"}}));
    }),
    ("others may send", |sid, s| if_sid("DenyOthersSend", sid, s, gone)),
    ("others may receive", |sid, s| if_sid("DenyOthersReceive", sid, s, gone)),
    ("others may move messages back", |sid, s| if_sid("DenyOthersRedrive", sid, s, gone)),
    ("others may purge", |sid, s| if_sid("DenyOthersReceive", sid, s, |s| s["Action"].as_array_mut().unwrap().retain(|a| a != "sqs:PurgeQueue"))),
    ("services denied as well", |sid, s| if_sid("DenyOthers", sid, s, |s| without(s, &["aws:PrincipalIsAWSService"]))),
    ("anonymous callers not denied", |sid, s| if_sid("DenyOthers", sid, s, |s| operator(s, "BoolIfExists", "Bool"))),
    ("only services denied", |sid, s| {
        if_sid("DenyOthers", sid, s, |s| s["Condition"]["BoolIfExists"] = json!({"aws:PrincipalIsAWSService": "true"}));
    }),
    ("the declared denied, not the others", |sid, s| {
        if_sid("DenyOthers", sid, s, |s| {
            operator(s, "ArnNotEquals", "ArnEquals");
            operator(s, "ArnNotLike", "ArnLike");
        });
    }),
    ("the declared denied as well", |sid, s| if_sid("DenyOthers", sid, s, |s| without(s, &["aws:PrincipalArn"]))),
    ("namesakes outside the organisation not denied", |sid, s| if_sid("DenyOutsideOrganization", sid, s, gone)),
    ("namesakes granted by ARN denied", |sid, s| {
        if_sid("DenyOutsideOrganization", sid, s, |s| {
            let operators = object(s, "/Condition").unwrap();
            operators.retain(|operator, _| operator != "ArnNotEquals" && operator != "ArnNotLike");
        });
    }),
    ("any path is enough to be denied", |sid, s| {
        if_sid("DenyOutsideOrganization", sid, s, |s| operator(s, "ForAllValues:StringNotLike", "ForAnyValue:StringLike"));
    }),
];

fn corrupted(policy: &mut Value, corruption: Corruption) {
    for statement in policy["Statement"].as_array_mut().unwrap() {
        let sid = statement["Sid"].as_str().unwrap().to_owned();
        corruption(&sid, statement);
        if let Some(operators) = object(statement, "/Condition") {
            operators.retain(|_, keys| keys.as_object().is_some_and(|keys| !keys.is_empty()));
        }
    }
}

/// Decisions until the corruption is noticed; none: it never is. The same declarations and requests each time.
fn noticed_after(corruption: Corruption, declarations: u32) -> Option<usize> {
    let config = Config { cases: declarations, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let tally = RefCell::new(Tally::default());
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let end = runner.run(&cases(Partition::Aws), |(declaration, questions)| {
        let policies = Policies::of(declaration.access(), |policy| corrupted(policy, corruption));
        let mut tally = tally.borrow_mut();
        questions.iter().try_for_each(|question| policies.ask(question, &mut tally)).map_err(TestCaseError::fail)
    });
    match end {
        Ok(()) => None,
        // Both evaluators see the corrupted policy alike: what is noticed is that it is not what was declared.
        Err(TestError::Fail(why, _)) => why.message().contains("is declared").then(|| tally.borrow().decisions),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

#[test]
fn every_corruption_is_noticed() {
    assert_eq!(noticed_after(|_, _| {}, 100), None, "an unchanged policy is as declared");
    let all = ALLOWING.iter().chain(&ADMINISTRATION).chain(&DENYING);
    let missed: Vec<_> = all.filter(|(_, corruption)| noticed_after(*corruption, 1_500).is_none()).map(|(what, _)| *what).collect();
    assert_eq!(missed, Vec::<&str>::new());
}
