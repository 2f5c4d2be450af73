//! Label selectors as `kubectl --selector` takes them.

use kube::core::{Expression, Selector};

/// Parses `team=payments,env in (prod, test),!legacy`; empty selects everything.
pub(super) fn parse(text: &str) -> Result<Selector, String> {
    split(text).into_iter().map(str::trim).filter(|part| !part.is_empty()).map(requirement).collect()
}

/// At the commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_i32;
    text.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    })
    .collect()
}

fn requirement(part: &str) -> Result<Expression, String> {
    if let Some(name) = part.strip_prefix('!') {
        return Ok(Expression::DoesNotExist(key(name)?));
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Ok(Expression::NotEqual(key(name)?, label(value)?));
    }
    if let Some((name, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Ok(Expression::Equal(key(name)?, label(value)?));
    }
    let Some((head, list)) = part.split_once('(') else { return Ok(Expression::Exists(key(part)?)) };
    let list = list.strip_suffix(')').ok_or_else(|| format!("{part:?} lacks a closing parenthesis"))?;
    let values = list.split(',').map(label).collect::<Result<_, _>>()?;
    match head.split_whitespace().collect::<Vec<_>>()[..] {
        [name, "in"] => Ok(Expression::In(key(name)?, values)),
        [name, "notin"] => Ok(Expression::NotIn(key(name)?, values)),
        _ => Err(format!("{part:?} is no requirement; write for example team=payments, env in (prod,test) or !legacy")),
    }
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn key(text: &str) -> Result<String, String> {
    let name = text.trim();
    let (prefix, rest) = name.rsplit_once('/').unwrap_or(("", name));
    let valid = !rest.is_empty() && is_label(rest) && prefix.split('.').all(is_label);
    if valid { Ok(name.to_owned()) } else { Err(format!("{name:?} is no label's key")) }
}

fn label(text: &str) -> Result<String, String> {
    let value = text.trim();
    if is_label(value) { Ok(value.to_owned()) } else { Err(format!("{value:?} is no label's value")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use kube::core::SelectorExt;

    use super::*;

    #[test]
    fn selects_as_kubectl_does() {
        let labels: BTreeMap<String, String> =
            [("team", "pay"), ("env", "prod"), ("example.org/x", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for text in
            ["", "team=pay", "team==pay,env!=test", "env in (test, prod),team", "env notin (test)", "!legacy", "example.org/x", "example.org/x="]
        {
            assert!(parse(text).unwrap().matches(&labels), "{text}");
        }
        for text in ["team=other", "legacy", "!team", "env in (test)", "env notin (prod,x),team=pay"] {
            assert!(!parse(text).unwrap().matches(&labels), "{text}");
        }
        for text in ["=x", "a b", "env in (prod", "env of (prod)", "team=a b", "te@m", "a,(b)"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
