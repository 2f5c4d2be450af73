//! Policy documents: well-formed, within limits, and no lock-out.

use std::collections::HashSet;

use serde_json::Value;

use super::{Refusal, Verdict};

const KEY_POLICY_BYTES: usize = 32_768;
const QUEUE_POLICY_BYTES: usize = 8_192;
const QUEUE_STATEMENTS: usize = 20;
const QUEUE_PRINCIPALS: usize = 50;
const CONDITIONS: usize = 10;
const ACTIONS: usize = 7;

/// The statements, whether one or an array.
pub(super) fn statements(document: &Value) -> Vec<&Value> {
    document.get("Statement").map(one_or_many).unwrap_or_default()
}

fn one_or_many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    }
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    value.map(one_or_many).unwrap_or_default().into_iter().filter_map(Value::as_str).collect()
}

/// Kind and name of each principal of a statement, those of `NotPrincipal` included.
pub(super) fn principals(statement: &Value) -> Vec<(&str, &str)> {
    ["Principal", "NotPrincipal"].into_iter().filter_map(|element| statement.get(element)).flat_map(named_principals).collect()
}

fn named_principals(principal: &Value) -> Vec<(&str, &str)> {
    match principal {
        Value::String(name) => vec![("AWS", name)],
        Value::Object(kinds) => {
            kinds.iter().flat_map(|(kind, names)| strings(Some(names)).into_iter().map(move |name| (kind.as_str(), name))).collect()
        }
        _ => Vec::new(),
    }
}

/// Visits each AWS principal, to change it.
pub(super) fn each_aws_principal(document: &mut Value, visit: &mut impl FnMut(&mut String)) {
    let statements = match document.get_mut("Statement") {
        Some(Value::Array(statements)) => statements.as_mut_slice(),
        Some(statement) => std::slice::from_mut(statement),
        None => return,
    };
    for statement in statements {
        match statement.get_mut("Principal").and_then(|principal| principal.get_mut("AWS")) {
            Some(Value::String(name)) => visit(name),
            Some(Value::Array(names)) => names.iter_mut().for_each(|name| {
                if let Value::String(name) = name {
                    visit(name);
                }
            }),
            _ => {}
        }
    }
}

/// The document, if it is one.
fn parse(text: &str) -> Option<Value> {
    const ELEMENTS: [&str; 9] = ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"];
    let document: Value = serde_json::from_str(text).ok()?;
    let known = document.as_object()?.keys().all(|name| matches!(name.as_str(), "Version" | "Id" | "Statement"));
    let version = document.get("Version").is_none_or(|version| version == "2012-10-17" || version == "2008-10-17");
    let statements = statements(&document);
    let well_formed = |statement: &&Value| {
        statement.as_object().is_some_and(|elements| elements.keys().all(|name| ELEMENTS.contains(&name.as_str())))
            && matches!(statement.get("Effect").and_then(Value::as_str), Some("Allow" | "Deny"))
            && statement.get("Principal").is_some() != statement.get("NotPrincipal").is_some()
            && statement.get("Condition").is_none_or(|condition| condition.as_object().is_some_and(|all| all.values().all(Value::is_object)))
    };
    let sids: Vec<_> = statements.iter().filter_map(|statement| statement.get("Sid")).map(Value::to_string).collect();
    let unique = sids.iter().collect::<HashSet<_>>().len() == sids.len();
    (known && version && unique && !statements.is_empty() && statements.iter().all(well_formed)).then_some(document)
}

/// A queue policy within SQS's rules, parsed.
pub(super) fn queue_policy(text: &str) -> Verdict<Value> {
    let invalid = || Refusal::new("InvalidAttributeValue", "Invalid value for the parameter Policy.");
    if text.len() > QUEUE_POLICY_BYTES {
        return Err(invalid());
    }
    let document = parse(text).ok_or_else(invalid)?;
    let statements = statements(&document);
    within("Statements", statements.len(), QUEUE_STATEMENTS)?;
    within("Principals", statements.iter().map(|statement| principals(statement).len()).sum(), QUEUE_PRINCIPALS)?;
    for statement in statements {
        let actions = strings(statement.get("Action").or_else(|| statement.get("NotAction")));
        let ours = |action: &&str| *action == "*" || action.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("sqs:"));
        let resources = strings(statement.get("Resource").or_else(|| statement.get("NotResource")));
        if actions.is_empty() || !actions.iter().all(ours) || resources.is_empty() {
            return Err(invalid());
        }
        within("Actions", actions.len(), ACTIONS)?;
        within("Conditions", conditions(statement), CONDITIONS)?;
    }
    Ok(document)
}

fn within(what: &str, count: usize, limit: usize) -> Verdict {
    if count > limit {
        return Err(Refusal::new("OverLimit", format!("{count} {what} were found, maximum allowed is {limit}.")));
    }
    Ok(())
}

/// Pairs of operator and key.
fn conditions(statement: &Value) -> usize {
    let operators = statement.get("Condition").and_then(Value::as_object);
    operators.map_or(0, |operators| operators.values().filter_map(Value::as_object).map(serde_json::Map::len).sum())
}

/// A key policy within KMS's rules, parsed.
pub(super) fn key_policy(text: &str) -> Verdict<Value> {
    if text.len() > KEY_POLICY_BYTES {
        return Err(Refusal::new(
            "LimitExceededException",
            format!("The key policy has {} bytes, maximum allowed is {KEY_POLICY_BYTES}.", text.len()),
        ));
    }
    parse(text).ok_or_else(|| Refusal::new("MalformedPolicyDocumentException", "The policy is not a valid policy document."))
}

/// Whether a role may put the key's policy again, whatever the circumstances. A statement for the account is no help: it only lets IAM decide.
pub(super) fn keeps_put_key_policy(document: &Value, role: &str) -> bool {
    let applies = |statement: &&Value| {
        let actions = strings(statement.get("Action"));
        let resources = strings(statement.get("Resource"));
        let names = named_principals(statement.get("Principal").unwrap_or(&Value::Null));
        statement.get("Condition").is_none()
            && actions.iter().any(|action| glob(&action.to_ascii_lowercase(), "kms:putkeypolicy"))
            && !resources.is_empty()
            && names.iter().any(|(kind, name)| *kind == "AWS" && (*name == role || *name == "*"))
    };
    let effect = |wanted: &str| {
        statements(document).iter().any(|statement| statement.get("Effect").and_then(Value::as_str) == Some(wanted) && applies(statement))
    };
    effect("Allow") && !effect("Deny")
}

/// `*` and `?` as IAM reads them.
fn glob(pattern: &str, text: &str) -> bool {
    match (pattern.as_bytes(), text.as_bytes()) {
        ([], []) => true,
        ([b'*', ..], _) => glob(&pattern[1..], text) || (!text.is_empty() && glob(pattern, &text[1..])),
        ([b'?', ..], [_, ..]) => glob(&pattern[1..], &text[1..]),
        ([a, ..], [b, ..]) => a == b && glob(&pattern[1..], &text[1..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    const ROLE: &str = "arn:aws:iam::111111111111:role/operator";

    fn statement() -> Value {
        json!({"Effect": "Allow", "Principal": {"AWS": ROLE}, "Action": "sqs:SendMessage", "Resource": "*"})
    }

    fn code<T>(verdict: Verdict<T>) -> Option<&'static str> {
        verdict.err().map(|refusal| refusal.code())
    }

    fn queue(statements: &[Value]) -> Option<&'static str> {
        code(queue_policy(&json!({"Version": "2012-10-17", "Statement": statements}).to_string()))
    }

    fn with(element: &str, value: Value) -> Vec<Value> {
        let mut changed = statement();
        changed[element] = value;
        vec![changed]
    }

    #[test]
    fn queue_policies_meet_each_limit_exactly() {
        let principals = |n: usize| with("Principal", json!({"AWS": vec![ROLE; n]}));
        let actions = |n: usize| with("Action", json!(vec!["sqs:SendMessage"; n]));
        let conditions = |n: usize| {
            with("Condition", json!({"StringEquals": (0..n).map(|i| (format!("aws:k{i}"), json!("v"))).collect::<serde_json::Map<_, _>>()}))
        };
        for (name, at, over) in [
            ("statements", vec![statement(); 20], vec![statement(); 21]),
            ("principals", principals(50), principals(51)),
            ("actions", actions(7), actions(8)),
            ("conditions", conditions(10), conditions(11)),
        ] {
            assert_eq!(queue(&at), None, "{name}");
            assert_eq!(queue(&over), Some("OverLimit"), "{name}");
        }
        let sized = |bytes: usize| {
            let bare = json!({"Id": "", "Statement": [statement()]}).to_string();
            json!({"Id": "x".repeat(bytes - bare.len()), "Statement": [statement()]}).to_string()
        };
        assert_eq!(code(queue_policy(&sized(8_192))), None);
        assert_eq!(code(queue_policy(&sized(8_193))), Some("InvalidAttributeValue"));
        assert_eq!(code(key_policy(&sized(32_768))), None);
        assert_eq!(code(key_policy(&sized(32_769))), Some("LimitExceededException"));
    }

    #[test]
    fn malformed_policies_are_refused() {
        let twice = |sid: &str| [with("Sid", json!(sid)), with("Sid", json!(sid))].concat();
        for (name, statements) in [
            ("effect", with("Effect", json!("allow"))),
            ("unknown element", with("Actions", json!("sqs:*"))),
            ("both principals", with("NotPrincipal", json!("*"))),
            ("condition", with("Condition", json!({"StringEquals": "x"}))),
            ("repeated sid", twice("a")),
            ("none", vec![]),
            ("foreign action", with("Action", json!("kms:Decrypt"))),
        ] {
            assert_eq!(queue(&statements), Some("InvalidAttributeValue"), "{name}");
        }
        assert_eq!(code(key_policy("{")), Some("MalformedPolicyDocumentException"));
        assert_eq!(
            code(key_policy(&json!({"Version": "2026-01-01", "Statement": [statement()]}).to_string())),
            Some("MalformedPolicyDocumentException")
        );
    }

    #[test]
    fn the_caller_must_keep_put_key_policy() {
        let root = "arn:aws:iam::111111111111:root";
        for (name, principal, action, extra, kept) in [
            ("plain", ROLE, "kms:PutKeyPolicy", json!({}), true),
            ("wildcard", ROLE, "kms:Put*", json!({}), true),
            ("everything", "*", "*", json!({}), true),
            ("conditioned", ROLE, "kms:PutKeyPolicy", json!({"Condition": {"Bool": {"aws:SecureTransport": "true"}}}), false),
            ("another role", "arn:aws:iam::111111111111:role/other", "kms:*", json!({}), false),
            ("only the account", root, "kms:*", json!({}), false),
            ("another action", ROLE, "kms:GetKeyPolicy", json!({}), false),
            ("denied", ROLE, "kms:*", json!({"Effect": "Deny"}), false),
            ("no resource", ROLE, "kms:*", json!({"Resource": []}), false),
        ] {
            let mut statement = json!({"Effect": "Allow", "Principal": {"AWS": [principal]}, "Action": [action], "Resource": "*"});
            statement.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            assert_eq!(keeps_put_key_policy(&json!({"Statement": [statement]}), ROLE), kept, "{name}");
        }
        let mut denied = statement();
        denied["Action"] = json!("kms:PutKeyPolicy");
        let allowed = denied.clone();
        denied["Effect"] = json!("Deny");
        assert!(!keeps_put_key_policy(&json!({"Statement": [allowed, denied]}), ROLE));
    }
}
