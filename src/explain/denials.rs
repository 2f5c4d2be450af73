//! The Deny statements of the policies, in words.

use super::report::DenialReport;
use super::rows::Policies;
use crate::policy::document::{Effect, Principals, Statement, Values};

/// All of them; what several policies say alike is said once.
pub(super) fn denials(policies: &Policies<'_>) -> Vec<DenialReport> {
    let mut denials: Vec<DenialReport> = Vec::new();
    for (kind, statement) in policies.statements().filter(|(_, statement)| statement.effect == Effect::Deny) {
        let sid = statement.sid.clone().unwrap_or_default();
        let new = DenialReport { policies: vec![kind], sid, actions: statement.actions.iter().cloned().collect(), whom: whom(statement) };
        match denials.iter_mut().find(|known| DenialReport { policies: vec![kind], ..(*known).clone() } == new) {
            Some(known) => known.policies.push(kind),
            None => denials.push(new),
        }
    }
    denials
}

/// Whom a Deny concerns, from its principals and all of its conditions.
fn whom(statement: &Statement) -> String {
    let mut base = match &statement.principals {
        Principals::Anyone => "everyone".to_owned(),
        Principals::Absent => "nobody".to_owned(),
        Principals::Named(kinds) => list(kinds.values().flatten()),
    };
    let (mut but, mut rest) = (Vec::new(), Vec::new());
    for (operator, keys) in &statement.conditions {
        for (key, values) in keys {
            match (operator.as_str(), key.as_str()) {
                ("ArnNotEquals" | "ArnNotLike", "aws:PrincipalArn") => but.extend(values.iter().cloned()),
                ("ArnEquals" | "ArnLike", "aws:PrincipalArn") => base = list(values),
                ("BoolIfExists", "aws:PrincipalIsAWSService") if is_false(values) => but.push("AWS services".to_owned()),
                ("Bool", "aws:SecureTransport") if is_false(values) => rest.push(" without TLS".to_owned()),
                ("StringNotEquals", "aws:PrincipalOrgID") => rest.push(format!(" outside organisation {}", list(values))),
                ("ForAllValues:StringNotLike", "aws:PrincipalOrgPaths") => rest.push(format!(" outside organisation paths {}", list(values))),
                _ => rest.push(format!(" if {operator} {key} {}", list(values))),
            }
        }
    }
    let but = if but.is_empty() { String::new() } else { format!(" but {}", but.join(", ")) };
    format!("{base}{}{but}", rest.concat())
}

fn is_false(values: &Values) -> bool {
    values.len() == 1 && values.contains("false")
}

fn list<'a>(values: impl IntoIterator<Item = &'a String>) -> String {
    values.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
