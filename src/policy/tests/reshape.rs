//! Policies written differently: with the same meaning, as AWS may return them, and with another. The fuzz targets use it as well.

use serde_json::{Map, Value, json};

use crate::policy::document::Document;

/// Choices from a seed (SplitMix64), so that failures repeat and shrink.
pub struct Dice(pub u64);

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

fn json_of(document: &Document) -> Value {
    serde_json::from_str(&document.to_json()).unwrap()
}

fn many(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.clone(),
        single => vec![single.clone()],
    }
}

fn is_list(value: &Value) -> bool {
    value.is_string() || value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
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

/// The account of `arn:PARTITION:iam::ACCOUNT:root`.
fn account_of_root(name: &str) -> Option<&str> {
    let parts: Vec<_> = name.split(':').collect();
    let ["arn", _, "iam", "", account, "root"] = parts.as_slice() else { return None };
    (account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit())).then_some(*account)
}

fn principal_normalised(value: &Value, dice: &mut Dice) -> Value {
    let Value::Object(kinds) = value else { return if value == "*" && dice.coin() { json!({"AWS": "*"}) } else { value.clone() } };
    if !kinds.values().all(is_list) {
        return value.clone();
    }
    let name = |kind: &str, name: &Value, dice: &mut Dice| match name.as_str().and_then(account_of_root) {
        Some(account) if kind == "AWS" && dice.coin() => account.into(),
        _ => name.clone(),
    };
    let names = |kind: &str, names: &Value, dice: &mut Dice| {
        let names: Vec<_> = many(names).iter().map(|one| name(kind, one, dice)).collect();
        rearranged(&Value::Array(names), dice)
    };
    Value::Object(kinds.iter().map(|(kind, value)| (kind.clone(), names(kind, value, dice))).collect())
}

/// Another case, unless a twin is there: two spellings are two conditions.
fn key_normalised(key: &str, siblings: &Map<String, Value>, dice: &mut Dice) -> String {
    let twins = siblings.keys().filter(|other| other.eq_ignore_ascii_case(key)).count();
    if twins == 1 && dice.coin() { case_changed(key, dice) } else { key.to_owned() }
}

fn condition_normalised(value: &Value, dice: &mut Dice) -> Value {
    let Value::Object(operators) = value else { return value.clone() };
    let mut normalised = Map::new();
    for (operator, held) in operators {
        let Some(keys) = held.as_object().filter(|keys| keys.values().all(is_list)) else { return value.clone() };
        let keys = keys.iter().map(|(key, values)| {
            let flag = values.as_str().filter(|text| operator.starts_with("Bool") && ["true", "false"].contains(text));
            let values = match flag {
                Some(flag) if dice.coin() => json!(flag == "true"),
                _ => rearranged(values, dice),
            };
            (key_normalised(key, keys, dice), values)
        });
        let keys = keys.collect();
        normalised.insert(key_normalised(operator, operators, dice), Value::Object(keys));
    }
    Value::Object(normalised)
}

fn statement_normalised(statement: &Value, dice: &mut Dice) -> Value {
    let mut elements: Vec<_> = statement.as_object().unwrap().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    for (name, value) in &mut elements {
        *value = match name.as_str() {
            "Principal" => principal_normalised(value, dice),
            "Action" if is_list(value) => {
                let actions: Vec<Value> = many(value).iter().map(|action| case_changed(action.as_str().unwrap(), dice).into()).collect();
                rearranged(&Value::Array(actions), dice)
            }
            "Resource" | "NotAction" | "NotResource" if is_list(value) => rearranged(value, dice),
            "Condition" => condition_normalised(value, dice),
            _ => value.clone(),
        };
    }
    dice.shuffle(&mut elements);
    Value::Object(elements.into_iter().collect())
}

/// The same policy as AWS may return it: reordered, repeated, scalars and arrays, account ids for roots, other case where case says nothing.
pub fn normalised(document: &Document, dice: &mut Dice) -> String {
    let mut value = json_of(document);
    let mut statements: Vec<_> = many(&value["Statement"]).iter().map(|statement| statement_normalised(statement, dice)).collect();
    if dice.coin() && !statements.is_empty() {
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

/// One text changed to what stands nowhere else.
fn text_changed(statement: &mut Value, unique: &str, dice: &mut Dice) -> String {
    let names_anyone = many(&statement["Principal"]["AWS"]).contains(&json!("*"));
    let mut places = Vec::new();
    texts(statement, String::new(), &mut places);
    // Beside `*` no other name means anything.
    places.retain(|place| !(names_anyone && place.starts_with("/Principal/AWS")));
    let place = places[dice.below(places.len())].clone();
    let text = statement.pointer_mut(&place).unwrap();
    *text = match text.as_str().unwrap() {
        "Allow" if place == "/Effect" => "Deny".into(),
        "Deny" if place == "/Effect" => "Allow".into(),
        "*" if place == "/Principal" => json!({"AWS": "111122223333"}),
        other => format!("{other}{unique}").into(),
    };
    format!("{place} changed")
}

/// One more action, condition or principal; or no condition where there was one.
fn element_changed(statement: &mut Value, unique: &str, dice: &mut Dice) -> String {
    let change = dice.below(4);
    let holds =
        |condition: &Value| condition.as_object().is_some_and(|all| all.values().any(|keys| keys.as_object().is_some_and(|keys| !keys.is_empty())));
    match change {
        0 => statement["Action"] = many(&statement["Action"]).into_iter().chain([format!("sqs:{unique}").into()]).collect(),
        1 => {
            if statement["Condition"].as_object().is_none_or(|all| !all.values().all(Value::is_object)) {
                statement["Condition"] = json!({});
            }
            statement["Condition"]["StringEquals"][unique] = "x".into();
        }
        2 if holds(&statement["Condition"]) => drop(statement.as_object_mut().unwrap().remove("Condition")),
        2 => statement["NotResource"] = unique.into(),
        _ => {
            let mut names = if statement["Principal"].is_object() { many(&statement["Principal"]["AWS"]) } else { Vec::new() };
            names.retain(|name| name != "*");
            names.push(format!("arn:aws:iam::999999999999:user/{unique}").into());
            statement["Principal"] = json!({"AWS": names});
        }
    }
    format!("change {change}")
}

/// A policy, and the same with one change of meaning, told in words. Of a policy without statements none.
pub fn changed(document: &Document, dice: &mut Dice) -> Option<(String, String, String)> {
    let mut value = json_of(document);
    let mut unique = "x".to_owned();
    while value.to_string().to_ascii_lowercase().contains(&unique) {
        unique.push('x');
    }
    let count = value["Statement"].as_array().map_or(0, Vec::len);
    if count == 0 {
        return None;
    }
    // No other statement says the same.
    let chosen = dice.below(count);
    value["Statement"][chosen]["Sid"] = "TheOnlyOne".into();
    for (index, other) in value["Statement"].as_array_mut().unwrap().iter_mut().enumerate() {
        if index != chosen && other["Sid"] == "TheOnlyOne" {
            other["Sid"] = "Another".into();
        }
    }
    let before = value.to_string();
    let change = match dice.below(5) {
        0 => {
            value["Statement"].as_array_mut().unwrap().remove(chosen);
            "removed".to_owned()
        }
        1 | 2 => text_changed(&mut value["Statement"][chosen], &unique, dice),
        _ => element_changed(&mut value["Statement"][chosen], &unique, dice),
    };
    Some((before, value.to_string(), format!("statement {chosen}: {change}")))
}
