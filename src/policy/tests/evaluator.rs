//! A second opinion: decides requests by AWS's evaluation rules, reading the policy's JSON text with no code of the product.

use std::collections::BTreeMap;

use serde_json::Value;

/// What AWS knows of one call.
#[derive(Clone, Debug)]
pub struct Request {
    /// ARN for roles, name for services; none for anonymous callers.
    pub caller: Caller,
    pub action: &'static str,
    pub resource: String,
    pub context: BTreeMap<&'static str, Vec<String>>,
}

#[derive(Clone, Debug)]
pub enum Caller {
    Role(String),
    Service(String),
    Anonymous,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Denied,
    Allowed,
    Silent,
}

/// An explicit Deny wins, then any Allow; else the policy is silent, and IAM policies decide.
pub fn evaluate(policy: &Value, request: &Request) -> Verdict {
    let applies =
        |effect: &str| items(&policy["Statement"]).into_iter().any(|statement| statement["Effect"] == effect && matches(statement, request));
    match (applies("Deny"), applies("Allow")) {
        (true, _) => Verdict::Denied,
        (false, true) => Verdict::Allowed,
        (false, false) => Verdict::Silent,
    }
}

fn items(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |items| items.iter().collect())
}

fn texts(value: &Value) -> Vec<&str> {
    items(value).into_iter().filter_map(Value::as_str).collect()
}

fn matches(statement: &Value, request: &Request) -> bool {
    principal_matches(&statement["Principal"], &request.caller)
        && texts(&statement["Action"]).iter().any(|pattern| glob(&pattern.to_lowercase(), &request.action.to_lowercase()))
        && texts(&statement["Resource"]).iter().any(|pattern| glob(pattern, &request.resource))
        && statement["Condition"].as_object().is_none_or(|operators| operators.iter().all(|(operator, keys)| condition(operator, keys, request)))
}

fn principal_matches(principal: &Value, caller: &Caller) -> bool {
    if principal == "*" {
        return true;
    }
    match caller {
        // A role's ARN names its sessions; an account's root stands for whoever the account lets, which only matters with IAM policies.
        Caller::Role(arn) => texts(&principal["AWS"]).iter().any(|name| name == arn || *name == "*"),
        Caller::Service(service) => texts(&principal["Service"]).iter().any(|name| name == service),
        Caller::Anonymous => texts(&principal["AWS"]).contains(&"*"),
    }
}

fn condition(operator: &str, keys: &Value, request: &Request) -> bool {
    let (quantifier, operator) = operator.split_once(':').map_or((None, operator), |(quantifier, operator)| (Some(quantifier), operator));
    let (operator, if_exists) = operator.strip_suffix("IfExists").map_or((operator, false), |operator| (operator, true));
    keys.as_object().unwrap().iter().all(|(key, wanted)| {
        let held = request.context.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, values)| values);
        let wanted = texts(wanted);
        let negated = operator.contains("Not");
        let any = |value: &String| wanted.iter().any(|wanted| compare(operator, wanted, value));
        let one = |value: &String| any(value) != negated;
        match (quantifier, held) {
            (Some("ForAllValues"), held) => held.is_none_or(|values| values.iter().all(one)),
            (Some("ForAnyValue"), held) => held.is_some_and(|values| values.iter().any(one)),
            (Some(other), _) => panic!("unknown quantifier {other}"),
            (None, None) => if_exists || negated,
            (None, Some(values)) => values.iter().all(one),
        }
    })
}

fn compare(operator: &str, wanted: &str, value: &str) -> bool {
    match operator {
        "StringEquals" | "StringNotEquals" => wanted == value,
        "StringLike" | "StringNotLike" => glob(wanted, value),
        "Bool" => wanted.eq_ignore_ascii_case(value),
        "ArnEquals" | "ArnLike" | "ArnNotEquals" | "ArnNotLike" => {
            // Six parts, each matched by itself: a wildcard does not cross a colon, but in the last.
            let (wanted, value): (Vec<_>, Vec<_>) = (wanted.splitn(6, ':').collect(), value.splitn(6, ':').collect());
            wanted.len() == 6 && value.len() == 6 && wanted.iter().zip(value).all(|(wanted, value)| glob(wanted, value))
        }
        other => panic!("unknown operator {other}"),
    }
}

fn glob(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), _) => glob(&pattern[1..], text) || (!text.is_empty() && glob(pattern, &text[text.chars().next().map_or(1, char::len_utf8)..])),
        (Some('?'), Some(c)) => glob(&pattern[1..], &text[c.len_utf8()..]),
        (Some(p), Some(c)) if p == c => glob(&pattern[p.len_utf8()..], &text[c.len_utf8()..]),
        _ => false,
    }
}
