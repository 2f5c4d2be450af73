//! The control API under `/_proxy/`, for scripts and other processes. The ledger does not record it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answer::Answer;
use super::inject::Rule;
use super::ledger::Mark;
use super::server::Shared;

#[derive(Deserialize)]
struct Caller {
    access_key: String,
    role_arn: String,
}

#[derive(Deserialize)]
struct Principals {
    #[serde(default)]
    add: Vec<String>,
    #[serde(default)]
    remove: Vec<String>,
}

#[derive(Deserialize)]
struct Delay {
    milliseconds: u64,
}

#[derive(Deserialize)]
struct Scale {
    scale: Option<f64>,
}

pub(super) fn answer(shared: &Shared, method: &Method, command: &str, body: &[u8]) -> Answer {
    let (name, query) = command.split_once('?').unwrap_or((command, ""));
    let result = match (method.as_str(), name) {
        ("GET", "ledger") => {
            let since = query.strip_prefix("since=").and_then(|text| text.parse().ok()).unwrap_or_default();
            serde_json::to_value(shared.ledger.since(Mark(since))).map_err(|error| error.to_string())
        }
        ("GET", "counts") => Ok(counts(shared)),
        ("POST", "clear") => {
            shared.ledger.clear();
            Ok(json!({}))
        }
        ("DELETE", "inject") => {
            shared.injector.clear();
            Ok(json!({}))
        }
        ("POST", _) => post(shared, name, body),
        _ => return Answer::json(StatusCode::NOT_FOUND, &json!({"error": format!("no {method} {name}")})),
    };
    match result {
        Ok(value) => Answer::json(StatusCode::OK, &value),
        Err(error) => Answer::json(StatusCode::BAD_REQUEST, &json!({"error": error})),
    }
}

fn post(shared: &Shared, name: &str, body: &[u8]) -> Result<Value, String> {
    match name {
        "inject" => shared.injector.arm(read::<Rule>(body)?),
        "caller" => {
            let Caller { access_key, role_arn } = read(body)?;
            shared.strict.caller_is(&access_key, &role_arn);
        }
        "principals" => {
            let Principals { add, remove } = read(body)?;
            for arn in &add {
                shared.strict.add_principal(arn);
            }
            for arn in &remove {
                shared.strict.remove_principal(arn);
            }
        }
        "delay" => shared.delay_micros.store(read::<Delay>(body)?.milliseconds.saturating_mul(1_000), Ordering::Relaxed),
        "quotas" => shared.quotas.set(read::<Scale>(body)?.scale),
        "strictness" => shared.strict.set_strictness(read(body)?),
        _ => return Err(format!("no POST {name}")),
    }
    Ok(json!({}))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn counts(shared: &Shared) -> Value {
    let mut counts = BTreeMap::<String, u64>::new();
    for call in shared.ledger.since(Mark::default()) {
        *counts.entry(call.name()).or_default() += 1;
    }
    json!(counts)
}
