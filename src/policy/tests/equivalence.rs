//! Policies that AWS normalised compare equal; any change of meaning compares unequal.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::cases;
use super::strategies::{key_access, placed_queue_access};
use crate::policy::document::Document;
use crate::policy::equivalence::equivalent;
use crate::policy::{key_policy, queue_policy};

/// Choices from a seed (SplitMix64), so that failures repeat and shrink.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap() % bound
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last + 1);
            items.swap(last, other);
        }
    }
}

fn documents() -> impl Strategy<Value = Document> {
    prop_oneof![
        placed_queue_access().prop_map(|(place, access)| queue_policy::render_queue(&access, &place)),
        placed_queue_access().prop_map(|(place, access)| {
            queue_policy::render_dead_letter(&access, &place).unwrap_or_else(|| queue_policy::render_queue(&access, &place))
        }),
        key_access().prop_map(|access| key_policy::render(&access, "encrypted-queue-1")),
    ]
}

fn many(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

fn case_changed(text: &str, dice: &mut Dice) -> String {
    text.chars().map(|c| if dice.coin() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect()
}

/// An array in another order, with repetitions, or a scalar where one will do.
fn rearranged(value: &Value, dice: &mut Dice) -> Value {
    let mut items = many(value);
    if dice.coin() && !items.is_empty() {
        let again = items[dice.below(items.len())].clone();
        items.push(again);
    }
    dice.shuffle(&mut items);
    items.dedup();
    if items.len() == 1 && dice.coin() { items.remove(0) } else { Value::Array(items) }
}

fn principal_normalised(value: &Value, dice: &mut Dice) -> Value {
    let Value::Object(kinds) = value else { return if dice.coin() { json!({"AWS": "*"}) } else { value.clone() } };
    let name = |name: &Value, dice: &mut Dice| match name.as_str().and_then(|name| name.strip_suffix(":root")) {
        Some(root) if dice.coin() => root.rsplit(':').next().unwrap().into(),
        _ => name.clone(),
    };
    let names = |names: &Value, dice: &mut Dice| {
        let names: Vec<_> = many(names).iter().map(|one| name(one, dice)).collect();
        rearranged(&Value::Array(names), dice)
    };
    Value::Object(kinds.iter().map(|(kind, value)| (kind.clone(), names(value, dice))).collect())
}

fn condition_normalised(value: &Value, dice: &mut Dice) -> Value {
    let mut operators = Map::new();
    for (operator, keys) in value.as_object().unwrap() {
        let keys = keys.as_object().unwrap().iter().map(|(key, values)| {
            let values = if operator.starts_with("Bool") && dice.coin() { json!(values == "true") } else { rearranged(values, dice) };
            (if dice.coin() { case_changed(key, dice) } else { key.clone() }, values)
        });
        let keys = keys.collect();
        operators.insert(if dice.coin() { case_changed(operator, dice) } else { operator.clone() }, Value::Object(keys));
    }
    Value::Object(operators)
}

fn statement_normalised(statement: &Value, dice: &mut Dice) -> Value {
    let mut elements: Vec<_> = statement.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, value) in &mut elements {
        *value = match name.as_str() {
            "Principal" => principal_normalised(value, dice),
            "Action" => {
                let actions: Vec<Value> = many(value).iter().map(|action| case_changed(action.as_str().unwrap(), dice).into()).collect();
                rearranged(&Value::Array(actions), dice)
            }
            "Resource" => rearranged(value, dice),
            "Condition" => condition_normalised(value, dice),
            _ => value.clone(),
        };
    }
    dice.shuffle(&mut elements);
    Value::Object(elements.into_iter().collect())
}

fn normalised(document: &Document, dice: &mut Dice) -> String {
    let mut value: Value = serde_json::from_str(&document.to_json()).unwrap();
    let mut statements: Vec<_> = many(&value["Statement"]).iter().map(|statement| statement_normalised(statement, dice)).collect();
    if dice.coin() {
        let again = statements[dice.below(statements.len())].clone();
        statements.push(again);
    }
    dice.shuffle(&mut statements);
    value["Statement"] = if statements.len() == 1 && dice.coin() { statements.remove(0) } else { Value::Array(statements) };
    value.to_string()
}

/// Every place in the document where a text stands, as JSON pointers.
fn texts(value: &Value, at: String, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(at),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, item)| texts(item, format!("{at}/{index}"), found)),
        Value::Object(map) => {
            map.iter().for_each(|(name, item)| texts(item, format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")), found));
        }
        _ => {}
    }
}

/// One change of meaning: a text changed, a value or an element more or less.
fn mutated(document: &Document, dice: &mut Dice) -> (String, String) {
    let mut value: Value = serde_json::from_str(&document.to_json()).unwrap();
    let count = value["Statement"].as_array().unwrap().len();
    let statement = dice.below(count);
    let change = dice.below(6);
    let target = &mut value["Statement"][statement];
    match change {
        0 => {
            let mut places = Vec::new();
            texts(&value, String::new(), &mut places);
            let place = &places[dice.below(places.len())];
            let text = value.pointer_mut(place).unwrap();
            let effect = place.ends_with("/Effect");
            *text = match text.as_str().unwrap() {
                "Allow" if effect => "Deny".into(),
                "Deny" if effect => "Allow".into(),
                "*" if place.ends_with("/Principal") => json!({"AWS": "111122223333"}),
                other => format!("{other}x").into(),
            };
            return (value.to_string(), format!("{place} changed"));
        }
        1 => drop(value["Statement"].as_array_mut().unwrap().remove(statement)),
        2 => {
            let mut actions = many(&target["Action"]);
            if actions.len() > 1 && dice.coin() {
                actions.remove(0);
            } else {
                actions.push("sqs:AddPermission".into());
            }
            target["Action"] = actions.into();
        }
        3 => target["Condition"]["StringEquals"]["aws:PrincipalTag/team"] = "x".into(),
        4 => match target.as_object_mut().unwrap().remove("Condition") {
            Some(_) => {}
            None => target["NotResource"] = "x".into(),
        },
        _ => {
            let mut names = many(&target["Principal"]["AWS"]);
            names.retain(|name| !name.is_null());
            names.push("arn:aws:iam::999999999999:user/mallory".into());
            target["Principal"] = json!({"AWS": names});
        }
    }
    (value.to_string(), format!("change {change} of statement {statement}"))
}

proptest! {
    #![proptest_config(cases(5_000))]

    #[test]
    fn normalised_policies_are_equal(document in documents(), seed in any::<u64>()) {
        let text = normalised(&document, &mut Dice(seed));
        let read = Document::parse(&text).unwrap();
        prop_assert!(equivalent(&document, &read), "{}\n{}", document, text);
    }

    #[test]
    fn changed_policies_are_not_equal(document in documents(), seed in any::<u64>()) {
        let mut dice = Dice(seed);
        let (text, change) = mutated(&document, &mut dice);
        let read = Document::parse(&text).unwrap();
        prop_assert!(!equivalent(&document, &read), "{}\n{}\n{}", change, document, text);
    }
}

fn parse(text: &str) -> Document {
    Document::parse(text).unwrap()
}

fn policy(principal: &str, rest: &str) -> Document {
    parse(&format!(r#"{{"Statement":{{"Effect":"Allow","Principal":{principal},"Action":"kms:Decrypt","Resource":"*"{rest}}}}}"#))
}

#[test]
fn same_meaning() {
    let no = "";
    for (one, other) in [
        (policy(r#""*""#, no), policy(r#"{"AWS":["*"]}"#, no)),
        (policy(r#"{"AWS":["*","arn:aws:iam::111122223333:role/x"]}"#, no), policy(r#""*""#, no)),
        (policy(r#"{"AWS":"111122223333"}"#, no), policy(r#"{"AWS":"arn:aws-cn:iam::111122223333:root"}"#, no)),
        (policy(r#""*""#, r#","Sid":"""#), policy(r#""*""#, no)),
        (policy(r#""*""#, r#","Condition":{}"#), policy(r#""*""#, r#","Condition":{"StringEquals":{}}"#)),
        (policy(r#""*""#, r#","Condition":{"Null":{"a:B":true}}"#), policy(r#""*""#, r#","Condition":{"null":{"a:b":"True"}}"#)),
        (policy(r#""*""#, r#","NotAction":["b","a"]"#), policy(r#""*""#, r#","NotAction":["a","b"]"#)),
        (policy(r#""*""#, r#","NotAction":["b"]"#), policy(r#""*""#, r#","NotAction":"b""#)),
    ] {
        assert!(equivalent(&one, &other), "{one}\n{other}");
    }
}

#[test]
fn other_meaning() {
    let no = "";
    for (one, other) in [
        (policy(r#""*""#, no), policy(r#"{"Service":"*"}"#, no)),
        (policy(r#"{"AWS":"111122223333"}"#, no), policy(r#"{"AWS":"arn:aws:iam::111122223333:role/root"}"#, no)),
        (policy(r#"{"AWS":"111122223333"}"#, no), policy(r#"{"CanonicalUser":"111122223333"}"#, no)),
        (policy(r#""*""#, r#","Sid":"a""#), policy(r#""*""#, r#","Sid":"A""#)),
        (policy(r#""*""#, r#","Condition":{"StringEquals":{"a:b":"x"}}"#), policy(r#""*""#, r#","Condition":{"StringEquals":{"a:b":"X"}}"#)),
        (policy(r#""*""#, r#","NotAction":"b""#), policy(r#""*""#, r#","NotResource":"b""#)),
        // Two spellings of one key must both hold; one key with two values needs either.
        (
            policy(r#""*""#, r#","Condition":{"StringEquals":{"a:b":"x","a:B":"y"}}"#),
            policy(r#""*""#, r#","Condition":{"StringEquals":{"a:b":["x","y"]}}"#),
        ),
        (parse(r#"{"Statement":[]}"#), parse(r#"{"Version":"2012-10-17","Statement":[]}"#)),
        (parse(r#"{"Id":"a","Statement":[]}"#), parse(r#"{"Id":"b","Statement":[]}"#)),
    ] {
        assert!(!equivalent(&one, &other), "{one}\n{other}");
    }
}
