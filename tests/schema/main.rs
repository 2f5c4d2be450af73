//! The schemas, tried in process: every case against bounds and CEL rules, and what the definitions promise as a whole.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
mod examples;
mod promises;
mod structural;

use std::collections::BTreeMap;

use cases::{Case, Object};
use encrypted_queue::api::{AccessApproval, EncryptedQueue, QueueKey, SensitivityTier, Tenant};
use encrypted_queue::commands::crds;
use kube::core::cel::Validator;
use serde_json::Value;

/// The schema of each kind.
fn schemas() -> BTreeMap<String, Value> {
    crds::all()
        .into_iter()
        .map(|definition| {
            let schema = definition.spec.versions[0].schema.clone().and_then(|validation| validation.open_api_v3_schema).unwrap();
            (definition.spec.names.kind, serde_json::to_value(schema).unwrap())
        })
        .collect()
}

/// The rules are judged only where the bounds hold, as in the API server.
fn judge(schema: &Value, before: Option<&Object>, object: &Object) -> Result<(), String> {
    let faults = structural::faults(schema, &object.0, "");
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    let without_nulls = |object: &Object| drop_nulls(object.0.clone());
    Validator::new().validate(schema, &without_nulls(object), before.map(without_nulls).as_ref()).map_err(|errors| errors.to_string())
}

/// The API server puts the default in the place of a null.
fn drop_nulls(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(|field| *field = drop_nulls(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = drop_nulls(item.take())),
        _ => {}
    }
    value
}

fn wrong(schemas: &BTreeMap<String, Value>, case: &Case) -> Option<String> {
    let schema = &schemas[case.object.kind()];
    if let Some(Err(message)) = case.before.as_ref().map(|before| judge(schema, None, before)) {
        return Some(format!("what was there before is rejected: {message}"));
    }
    match (judge(schema, case.before.as_ref(), &case.object), case.rejected) {
        (Ok(()), None) => reads(drop_nulls(case.object.0.clone())).err().map(|error| format!("accepted, but does not fit the Rust type: {error}")),
        (Ok(()), Some(_)) => Some("accepted".to_owned()),
        (Err(message), None) => Some(format!("rejected: {message}")),
        (Err(message), Some(part)) => (!message.contains(part)).then(|| format!("rejected, but not for {part:?}: {message}")),
    }
}

/// Whether the operator can read the object.
fn reads(value: Value) -> Result<(), serde_json::Error> {
    match value["kind"].as_str().unwrap() {
        "EncryptedQueue" => serde_json::from_value::<EncryptedQueue>(value).map(drop),
        "Tenant" => serde_json::from_value::<Tenant>(value).map(drop),
        "SensitivityTier" => serde_json::from_value::<SensitivityTier>(value).map(drop),
        "QueueKey" => serde_json::from_value::<QueueKey>(value).map(drop),
        "AccessApproval" => serde_json::from_value::<AccessApproval>(value).map(drop),
        other => panic!("unknown kind {other}"),
    }
}

#[test]
fn bounds_and_rules_judge_every_case_as_told() {
    let schemas = schemas();
    let wrong: Vec<String> =
        cases::all().iter().filter_map(|case| wrong(&schemas, case).map(|why| format!("{} {:?}: {why}", case.object.kind(), case.name))).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases::all().len(), wrong.join("\n"));
}

#[test]
fn the_examples_are_accepted() {
    let schemas = schemas();
    let examples = examples::all();
    for (file, document) in &examples {
        if let Some(schema) = schemas.get(document["kind"].as_str().unwrap()) {
            judge(schema, None, &Object(document.clone())).unwrap_or_else(|message| panic!("{file}: {message}"));
            reads(document.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
    }
    let count = |kind: &str| examples.iter().filter(|(_, document)| document["kind"] == kind).count();
    assert_eq!((count("Tenant"), count("SensitivityTier"), count("EncryptedQueue")), (2, 3, 4));
}
