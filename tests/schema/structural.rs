//! The part of a structural schema that is not CEL: types, bounds, patterns, required fields.

use regex::Regex;
use serde_json::Value;

/// What is wrong with the value, each with the path of its field.
pub fn faults(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    if value.is_null() && !schema["default"].is_null() {
        return Vec::new();
    }
    let mut faults: Vec<String> = own_faults(schema, value).into_iter().map(|fault| format!("{path}: {fault}")).collect();
    if let Value::Object(fields) = value {
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if fields.get(required).is_none_or(Value::is_null) {
                faults.push(format!("{}: Required value", join(path, required)));
            }
        }
        for (name, field) in fields {
            let field_schema = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
            faults.extend(self::faults(field_schema, field, &join(path, name)));
        }
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        faults.extend(self::faults(&schema["items"], item, &format!("{path}[{index}]")));
    }
    faults
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn own_faults(schema: &Value, value: &Value) -> Vec<String> {
    let size = match value {
        Value::String(text) => text.chars().count(),
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    let limit = |keyword: &str| schema[keyword].as_f64();
    #[allow(clippy::cast_precision_loss)]
    let size = size as f64;
    let number = value.as_f64().unwrap_or_default();
    let (shortest, longest) = match value {
        Value::String(_) => ("minLength", "maxLength"),
        Value::Array(_) => ("minItems", "maxItems"),
        _ => ("minProperties", "maxProperties"),
    };
    let checks = [
        ("type", schema["type"].as_str().is_some_and(|kind| !has_type(value, kind))),
        ("enum", schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value))),
        (
            "pattern",
            schema["pattern"].as_str().is_some_and(|pattern| !value.as_str().is_some_and(|text| Regex::new(pattern).unwrap().is_match(text))),
        ),
        ("format", schema["format"] == "date-time" && value.as_str().is_none_or(|text| text.parse::<jiff::Timestamp>().is_err())),
        (shortest, limit(shortest).is_some_and(|limit| size < limit)),
        (longest, limit(longest).is_some_and(|limit| size > limit)),
        ("minimum", limit("minimum").is_some_and(|limit| number < limit)),
        ("maximum", limit("maximum").is_some_and(|limit| number > limit)),
    ];
    checks.into_iter().filter(|(_, wrong)| *wrong).map(|(keyword, _)| format!("{value} is against {keyword} {}", schema[keyword])).collect()
}

fn has_type(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        _ => false,
    }
}
