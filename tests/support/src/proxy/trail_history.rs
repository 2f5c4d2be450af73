//! CloudTrail's event history, which the emulator does not have: answered from what the test fills in, latest first and in pages.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hyper::StatusCode;
use serde_json::{Value, json};

use super::answer::Answer;
use super::classify::Request;

/// Most events of a page, whatever is asked for.
const PAGE: usize = 50;

/// Account and Region.
type Place = (String, String);

/// Records by place, each with its time in seconds.
#[derive(Default)]
pub(super) struct TrailHistory(Mutex<BTreeMap<Place, Vec<(i64, Value)>>>);

impl TrailHistory {
    pub fn add(&self, account: &str, region: &str, second: i64, record: Value) {
        let mut history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        history.entry((account.to_owned(), region.to_owned())).or_default().push((second, record));
    }

    /// Answers `LookupEvents`; none: it is another call.
    pub fn answer(&self, request: &Request) -> Option<Answer> {
        if (request.service.as_str(), request.operation.as_str()) != ("cloudtrail", "LookupEvents") {
            return None;
        }
        let history = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = history.get(&(request.account.clone(), request.region.clone())).map_or(&[][..], Vec::as_slice);
        let bound = |name: &str| request.params.get(name).and_then(Value::as_f64);
        let name = request.params.pointer("/LookupAttributes/0/AttributeValue").and_then(Value::as_str);
        #[allow(clippy::cast_precision_loss)]
        let within = |at: i64| bound("StartTime").is_none_or(|start| start <= at as f64) && bound("EndTime").is_none_or(|end| at as f64 <= end);
        let mut found: Vec<&(i64, Value)> = all.iter().filter(|(at, record)| within(*at) && name == record["eventName"].as_str()).collect();
        found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let start = match request.text("NextToken").map(str::parse::<usize>) {
            None => 0,
            Some(Ok(start)) => start,
            Some(Err(_)) => return Some(Answer::error(request, 400, "InvalidNextTokenException", "no such token")),
        };
        let most = request.params.get("MaxResults").and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok()).unwrap_or(PAGE);
        let end = (start + most.min(PAGE)).min(found.len());
        let events: Vec<Value> = found.get(start..end).unwrap_or_default().iter().map(|(at, record)| event(*at, record)).collect();
        let mut answer = json!({"Events": events});
        if end < found.len() {
            answer["NextToken"] = end.to_string().into();
        }
        Some(Answer::json(StatusCode::OK, &answer))
    }
}

/// A record as `LookupEvents` wraps it.
fn event(at: i64, record: &Value) -> Value {
    json!({
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "EventSource": record["eventSource"],
        "EventTime": at,
        "ReadOnly": "true",
        "CloudTrailEvent": record.to_string(),
    })
}
