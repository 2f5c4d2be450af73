//! What a pass came to, as status tells it.

mod conditions;
mod key;
mod queue;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Conditions in a line: `Ready=True/InSync …`.
fn line(conditions: &[Condition]) -> String {
    conditions.iter().map(|condition| format!("{}={}/{}", condition.type_, condition.status, condition.reason)).collect::<Vec<_>>().join(" ")
}

fn message<'a>(conditions: &'a [Condition], type_: &str) -> &'a str {
    &conditions.iter().find(|condition| condition.type_ == type_).unwrap().message
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

const MORNING: &str = "2026-11-23T08:00:00Z";
const NOON: &str = "2026-11-23T12:00:00Z";
