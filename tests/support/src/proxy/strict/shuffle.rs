//! The same policy in another order and form, as AWS may give it back.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Map, Value};

/// Orders statements, elements and sets anew, turns scalars into arrays of one and back, and accounts into their root ARN and back.
pub(super) fn shuffle(document: &Value, text: &str, seed: u64) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let mut dice = Dice(hasher.finish() ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut document = document.clone();
    if let Some(Value::Array(statements)) = document.get_mut("Statement") {
        dice.order(statements);
        for statement in statements.iter_mut().filter_map(Value::as_object_mut) {
            dice.statement(statement);
        }
    }
    let mut out = String::with_capacity(text.len() + 64);
    dice.write(&document, &mut out);
    out
}

struct Dice(u64);

impl Dice {
    /// SplitMix64.
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.roll() & 1 == 1
    }

    fn order<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let below = u64::try_from(i).unwrap_or(u64::MAX).saturating_add(1);
            items.swap(i, usize::try_from(self.roll() % below).unwrap_or_default());
        }
    }

    fn statement(&mut self, statement: &mut Map<String, Value>) {
        for (element, value) in statement.iter_mut() {
            match (element.as_str(), value) {
                ("Action" | "NotAction" | "Resource" | "NotResource", value) => self.set(value),
                ("Principal" | "NotPrincipal", Value::Object(kinds)) => {
                    if let Some(accounts) = kinds.get_mut("AWS") {
                        self.accounts(accounts);
                    }
                    kinds.values_mut().for_each(|names| self.set(names));
                }
                ("Condition", Value::Object(operators)) => {
                    let keys = operators.values_mut().filter_map(Value::as_object_mut);
                    keys.flat_map(Map::values_mut).for_each(|values| self.set(values));
                }
                _ => {}
            }
        }
    }

    fn set(&mut self, value: &mut Value) {
        match value {
            Value::Array(values) if values.len() == 1 && self.coin() => *value = values.remove(0),
            Value::Array(values) => self.order(values),
            scalar if self.coin() => *scalar = Value::Array(vec![scalar.take()]),
            _ => {}
        }
    }

    fn accounts(&mut self, names: &mut Value) {
        match names {
            Value::Array(names) => names.iter_mut().for_each(|name| self.accounts(name)),
            Value::String(name) => {
                let account = name.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root")).map(str::to_owned);
                if let Some(account) = account {
                    if self.coin() {
                        *name = account;
                    }
                } else if name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit()) {
                    *name = format!("arn:aws:iam::{name}:root");
                }
            }
            _ => {}
        }
    }

    fn write(&mut self, value: &Value, out: &mut String) {
        match value {
            Value::Object(object) => {
                let mut entries: Vec<_> = object.iter().collect();
                self.order(&mut entries);
                out.push('{');
                for (i, (name, value)) in entries.into_iter().enumerate() {
                    out.push_str(if i == 0 { "" } else { "," });
                    out.push_str(&Value::from(name.as_str()).to_string());
                    out.push_str(" : ");
                    self.write(value, out);
                }
                out.push('}');
            }
            Value::Array(values) => {
                out.push('[');
                for (i, value) in values.iter().enumerate() {
                    out.push_str(if i == 0 { " " } else { ", " });
                    self.write(value, out);
                }
                out.push_str(" ]");
            }
            scalar => out.push_str(&scalar.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    fn policy() -> Value {
        let statement = |sid: &str| {
            json!({"Sid": sid, "Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam::111111111111:root"]}, "Action": ["kms:a", "kms:b", "kms:c"],
                "Resource": "*", "Condition": {"StringEquals": {"aws:x": "1"}}})
        };
        json!({"Version": "2012-10-17", "Statement": [statement("one"), statement("two"), statement("three")]})
    }

    /// Sets and elements sorted (whether or not `serde_json` keeps the order it read), scalars as arrays, accounts as root ARNs.
    fn canonical(value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                let sorted: std::collections::BTreeMap<_, _> = object.iter().collect();
                let element = |value: &Value| canonical(&if value.is_string() { json!([value]) } else { value.clone() });
                sorted.into_iter().map(|(name, value)| (name.clone(), element(value))).collect()
            }
            Value::Array(values) => {
                let mut values: Vec<_> = values.iter().map(canonical).collect();
                values.sort_by_key(Value::to_string);
                Value::Array(values)
            }
            Value::String(text) if text == "111111111111" => json!("arn:aws:iam::111111111111:root"),
            other => other.clone(),
        }
    }

    #[test]
    fn the_meaning_stays_and_the_text_changes() {
        let original = policy();
        let text = original.to_string();
        let shuffled: Vec<_> = (0..20).map(|seed| shuffle(&original, &text, seed)).collect();
        for shuffled in &shuffled {
            assert_eq!(canonical(&serde_json::from_str(shuffled).unwrap()), canonical(&original));
        }
        assert!(shuffled.iter().all(|shuffled| *shuffled != text));
        let first = |text: &String| serde_json::from_str::<Value>(text).unwrap()["Statement"][0]["Sid"].clone();
        assert!(shuffled.iter().any(|shuffled| first(shuffled) != "one"));
        assert!(shuffled.iter().any(|shuffled| shuffled.contains("\"111111111111\"")));
        assert_eq!(shuffled[3], shuffle(&original, &text, 3), "the same seed gives the same text");
    }
}
