//! Condition blocks.

use std::collections::BTreeMap;

use serde_json::Value;

use super::evaluator::{glob, items};

type Context = BTreeMap<String, Vec<String>>;

/// All operators and keys must hold; `presumed` is the answer for an operator that is not known here.
pub(super) fn all_hold(condition: &Value, context: &Context, presumed: bool) -> bool {
    let Some(operators) = condition.as_object() else { return condition.is_null() || presumed };
    operators.iter().all(|(operator, keys)| {
        let Some(operator) = Operator::parse(operator) else { return presumed };
        keys.as_object().is_none_or(|keys| keys.iter().all(|(key, wanted)| operator.holds(key, wanted, context)))
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Quantifier {
    ForAllValues,
    ForAnyValue,
}

#[derive(Clone, Copy, PartialEq)]
enum Comparison {
    Equals,
    EqualsIgnoreCase,
    Like,
    Arn,
    Bool,
    Null,
}

struct Operator {
    quantifier: Option<Quantifier>,
    comparison: Comparison,
    negated: bool,
    if_exists: bool,
}

impl Operator {
    fn parse(name: &str) -> Option<Self> {
        let lower = name.to_ascii_lowercase();
        let (quantifier, bare) = match lower.split_once(':') {
            Some(("forallvalues", bare)) => (Some(Quantifier::ForAllValues), bare),
            Some(("foranyvalue", bare)) => (Some(Quantifier::ForAnyValue), bare),
            Some(_) => return None,
            None => (None, lower.as_str()),
        };
        let (bare, if_exists) = bare.strip_suffix("ifexists").map_or((bare, false), |bare| (bare, true));
        let (comparison, negated) = match bare {
            "stringequals" => (Comparison::Equals, false),
            "stringnotequals" => (Comparison::Equals, true),
            "stringequalsignorecase" => (Comparison::EqualsIgnoreCase, false),
            "stringnotequalsignorecase" => (Comparison::EqualsIgnoreCase, true),
            "stringlike" => (Comparison::Like, false),
            "stringnotlike" => (Comparison::Like, true),
            "arnequals" | "arnlike" => (Comparison::Arn, false),
            "arnnotequals" | "arnnotlike" => (Comparison::Arn, true),
            "bool" => (Comparison::Bool, false),
            "null" => (Comparison::Null, false),
            _ => return None,
        };
        Some(Self { quantifier, comparison, negated, if_exists })
    }

    fn holds(&self, key: &str, wanted: &Value, context: &Context) -> bool {
        let held = context.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, values)| values);
        let wanted: Vec<String> = items(wanted).into_iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect();
        if self.comparison == Comparison::Null {
            return wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(if held.is_none() { "true" } else { "false" }));
        }
        // A negated operator: none of the values matches.
        let one = |value: &String| wanted.iter().any(|wanted| self.comparison.matches(wanted, value)) != self.negated;
        match (self.quantifier, held) {
            (Some(Quantifier::ForAllValues), held) => held.is_none_or(|values| values.iter().all(one)),
            (Some(Quantifier::ForAnyValue), held) => held.is_some_and(|values| values.iter().any(one)),
            (None, None) => self.if_exists || self.negated,
            (None, Some(values)) => values.iter().all(one),
        }
    }
}

impl Comparison {
    fn matches(self, wanted: &str, value: &str) -> bool {
        match self {
            Self::Equals => wanted == value,
            Self::EqualsIgnoreCase | Self::Bool => wanted.eq_ignore_ascii_case(value),
            Self::Like => glob(wanted, value),
            Self::Arn => {
                // Six parts, each matched by itself: a wildcard does not cross a colon, but in the last.
                let (wanted, value): (Vec<_>, Vec<_>) = (wanted.splitn(6, ':').collect(), value.splitn(6, ':').collect());
                wanted.len() == 6 && value.len() == 6 && wanted.iter().zip(value).all(|(wanted, value)| glob(wanted, value))
            }
            Self::Null => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn context(held: &[&str]) -> Context {
        if held.is_empty() { Context::new() } else { Context::from([("aws:K".to_owned(), held.iter().map(|&v| v.to_owned()).collect())]) }
    }

    /// Each row is one of IAM's documented rules, with what it says for the key absent and present.
    #[test]
    fn operators_as_documented() {
        let arn = "arn:aws:iam::1:role/a";
        for (operator, wanted, held, holds) in [
            ("StringEquals", json!("a"), vec![], false),
            ("StringEquals", json!(["b", "a"]), vec!["a"], true),
            ("StringEquals", json!("a*"), vec!["ab"], false),
            ("StringNotEquals", json!("a"), vec![], true),
            ("StringNotEquals", json!(["a", "b"]), vec!["a"], false),
            ("StringNotEquals", json!(["a", "b"]), vec!["c"], true),
            ("StringEqualsIfExists", json!("a"), vec![], true),
            ("StringEqualsIfExists", json!("a"), vec!["b"], false),
            ("StringLike", json!("a*c?"), vec!["abbcd"], true),
            ("stringlike", json!("a*c?"), vec!["abbc"], false),
            ("StringNotLike", json!("a*"), vec!["ab"], false),
            ("ArnLike", json!("arn:aws:iam::*:role/a"), vec![arn], true),
            ("ArnEquals", json!("arn:aws:iam::*:role/a"), vec![arn], true),
            ("ArnLike", json!("arn:*:role/a"), vec![arn], false),
            ("ArnNotLike", json!("arn:aws:iam::*:role/b"), vec![], true),
            ("ArnNotEquals", json!(arn), vec![arn], false),
            ("Bool", json!("false"), vec![], false),
            ("Bool", json!(false), vec!["false"], true),
            ("BoolIfExists", json!("false"), vec![], true),
            ("BoolIfExists", json!("false"), vec!["true"], false),
            ("Null", json!("true"), vec![], true),
            ("Null", json!(true), vec!["x"], false),
            ("Null", json!("false"), vec!["x"], true),
            ("ForAllValues:StringLike", json!("a*"), vec![], true),
            ("ForAllValues:StringLike", json!("a*"), vec!["a", "b"], false),
            ("ForAllValues:StringNotLike", json!("a*"), vec!["c", "b"], true),
            ("ForAllValues:StringNotLike", json!("a*"), vec!["c", "a"], false),
            ("ForAnyValue:StringLike", json!("a*"), vec![], false),
            ("ForAnyValue:StringLike", json!("a*"), vec!["a", "b"], true),
        ] {
            let condition = json!({operator: {"AWS:k": wanted}});
            for presumed in [false, true] {
                assert_eq!(all_hold(&condition, &context(&held), presumed), holds, "{condition} of {held:?}");
            }
        }
        assert!(all_hold(&json!({"DateGreaterThan": {"aws:K": "x"}}), &context(&[]), true), "what is not known is presumed");
        assert!(!all_hold(&json!({"DateGreaterThan": {"aws:K": "x"}}), &context(&[]), false));
        assert!(!all_hold(&json!({"StringEquals": {"aws:K": "a"}, "StringLike": {"aws:K": "b"}}), &context(&["a"]), true), "all must hold");
    }
}
