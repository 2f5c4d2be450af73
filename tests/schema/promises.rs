//! What holds for the definitions as a whole, whatever field is added later.

use std::collections::BTreeSet;

use encrypted_queue::commands::crds;
use serde_json::Value;

use crate::{cases, judge, schemas};

/// Every schema node with its path, depth first.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(field, &format!("{path}.{name}"), visit);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            walk(&schema[key], &format!("{path}{suffix}"), visit);
        }
    }
}

fn findings(mut wrong: impl FnMut(&str, &Value) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (kind, schema) in schemas() {
        walk(&schema, &kind, &mut |path, node| {
            if wrong(path, node) {
                found.push(path.to_owned());
            }
        });
    }
    found
}

#[test]
fn everything_has_a_bound() {
    let unbounded = findings(|_, node| match node["type"].as_str() {
        Some("string") => node["maxLength"].is_null() && node["enum"].is_null() && node["format"] != "date-time",
        Some("array") => node["maxItems"].is_null(),
        Some("integer") => node["minimum"].is_null() || (node["maximum"].is_null() && node["format"].is_null()),
        Some("object") => node["additionalProperties"].is_object() && node["maxProperties"].is_null(),
        Some("boolean") => false,
        _ => true,
    });
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn every_field_is_described() {
    let silent = findings(|path, node| !path.ends_with("[]") && !path.ends_with("{}") && node["description"].as_str().is_none_or(str::is_empty));
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn every_optional_setting_has_a_default_or_tells_what_its_absence_means() {
    let words = ["Default:", "Absent:", "Optional."];
    let mut quiet = BTreeSet::new();
    for (kind, schema) in schemas() {
        let mut required = BTreeSet::new();
        let spec = &schema["properties"]["spec"];
        walk(spec, "", &mut |path, node| {
            for name in node["required"].as_array().into_iter().flatten() {
                required.insert(format!("{path}.{}", name.as_str().unwrap()));
            }
        });
        walk(spec, "", &mut |path, node| {
            let scalar = matches!(node["type"].as_str(), Some("string" | "integer" | "boolean")) && !path.ends_with(['}', ']']);
            let description = node["description"].as_str().unwrap_or_default();
            // What a union or a label selector leaves out is told by its parent.
            let alternative = path.rsplit('.').next() == Some("role") || path.contains(".selector");
            if scalar && !alternative && node["default"].is_null() && !required.contains(path) && !words.iter().any(|word| description.contains(word))
            {
                quiet.insert(format!("{kind}{path}"));
            }
        });
    }
    assert_eq!(quiet, BTreeSet::new());
}

/// Pointers of all rules below `schema`.
fn rules(schema: &Value, pointer: &str, found: &mut Vec<String>) {
    let count = schema["x-kubernetes-validations"].as_array().map_or(0, Vec::len);
    found.extend((0..count).map(|index| format!("{pointer}/x-kubernetes-validations/{index}")));
    for (key, below) in schema.as_object().into_iter().flatten().filter(|(key, _)| *key != "x-kubernetes-validations") {
        if below.is_object() {
            rules(below, &format!("{pointer}/{key}"), found);
        }
    }
}

#[test]
fn every_rule_has_a_message_and_a_case_that_it_alone_rejects() {
    let cases = cases::all();
    let mut untried = Vec::new();
    for (kind, schema) in schemas() {
        let mut pointers = Vec::new();
        rules(&schema, "", &mut pointers);
        assert!(!pointers.is_empty(), "{kind} has no rule");
        for pointer in pointers {
            let mut without = schema.clone();
            let rule = without.pointer_mut(&pointer).unwrap();
            let message = rule["message"].as_str().unwrap_or_else(|| panic!("{kind}{pointer}: no message")).to_owned();
            rule["rule"] = Value::from("true");
            let needed = cases
                .iter()
                .filter(|case| case.object.kind() == kind && case.rejected.is_some_and(|part| message.contains(part)))
                .any(|case| judge(&without, case.before.as_ref(), &case.object).is_ok());
            if !needed {
                untried.push(format!("{kind}{pointer}: {message}"));
            }
        }
    }
    assert_eq!(untried, Vec::<String>::new());
}

#[test]
fn conditions_and_users_are_merged_by_key_and_short_names_stand() {
    for (kind, schema) in schemas() {
        let conditions = &schema["properties"]["status"]["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map", "{kind}");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], serde_json::json!(["type"]), "{kind}");
    }
    let status = &schemas()["QueueKey"]["properties"]["status"]["properties"];
    for list in ["users", "pendingGrants"] {
        assert_eq!(status[list]["x-kubernetes-list-map-keys"], serde_json::json!(["namespace", "name"]));
    }
    let names: Vec<Option<Vec<String>>> = crds::all().into_iter().map(|definition| definition.spec.names.short_names).collect();
    let short = |name: &str| Some(vec![name.to_owned()]);
    assert_eq!(names, [short("eq"), None, short("tier"), short("qk"), short("aa")]);
}

/// kubectl takes a category before a kind: `kubectl describe encryptedqueue orders` would ask for `orders` of every kind of the category, and be refused.
#[test]
fn no_category_is_a_name_of_a_kind() {
    let all = crds::all();
    let names = all.iter().flat_map(|definition| {
        let names = &definition.spec.names;
        [Some(&names.plural), names.singular.as_ref()].into_iter().flatten().chain(names.short_names.iter().flatten())
    });
    let names: std::collections::BTreeSet<&String> = names.collect();
    let categories: Vec<&String> = all.iter().flat_map(|definition| definition.spec.names.categories.iter().flatten()).collect();
    assert_eq!(categories, ["encrypted-queue"; 5]);
    assert!(categories.iter().all(|category| !names.contains(category)), "{categories:?}");
}
