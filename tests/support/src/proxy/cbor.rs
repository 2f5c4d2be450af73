//! The SDK speaks to CloudWatch in CBOR (Smithy RPC v2), which the emulator does not understand: translated to JSON and back, so that the rest of the
//! proxy sees what it sees of other services.

use ciborium::Value as Cbor;
use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, http::HeaderName};
use serde_json::{Map, Number, Value};

use super::answer::Answer;

const PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
const RPC_V2: HeaderValue = HeaderValue::from_static("rpc-v2-cbor");
/// Seconds since 1970.
const EPOCH: u64 = 1;

/// A call in CBOR as one in JSON: path, headers and body; none: it is not in CBOR.
pub(super) fn as_json(path: &str, headers: &HeaderMap, body: &[u8]) -> Option<(String, HeaderMap, Bytes)> {
    let (service, operation) = path.strip_prefix("/service/")?.split_once("/operation/")?;
    if headers.get(PROTOCOL) != Some(&RPC_V2) {
        return None;
    }
    let asked = if body.is_empty() { Cbor::Map(Vec::new()) } else { ciborium::from_reader(body).ok()? };
    let mut headers = headers.clone();
    headers.remove(PROTOCOL);
    headers.remove(CONTENT_LENGTH);
    headers.insert("x-amz-target", HeaderValue::from_str(&format!("{service}.{operation}")).ok()?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    Some(("/".to_owned(), headers, Bytes::from(json(asked).to_string())))
}

/// The answer to such a call.
pub(super) fn answer(mut answer: Answer) -> Answer {
    let said = serde_json::from_slice(&answer.body).unwrap_or_else(|_| Value::Object(Map::new()));
    let mut body = Vec::new();
    if ciborium::into_writer(&cbor("", said), &mut body).is_ok() {
        answer.body = Bytes::from(body);
    }
    answer.headers.remove(CONTENT_LENGTH);
    answer.headers.insert(PROTOCOL, RPC_V2);
    answer.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cbor"));
    answer
}

fn json(value: Cbor) -> Value {
    match value {
        Cbor::Integer(number) => i64::try_from(number).map_or(Value::Null, Value::from),
        Cbor::Float(number) => whole(number).map_or_else(|| Number::from_f64(number).map_or(Value::Null, Value::Number), Value::from),
        Cbor::Text(text) => Value::String(text),
        Cbor::Bool(yes) => Value::Bool(yes),
        Cbor::Tag(_, inner) => json(*inner),
        Cbor::Array(values) => values.into_iter().map(json).collect(),
        Cbor::Map(entries) => entries.into_iter().filter_map(|(key, value)| Some((key.into_text().ok()?, json(value)))).collect(),
        _ => Value::Null,
    }
}

#[allow(clippy::cast_possible_truncation)]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
}

/// Fields of times have them as tagged numbers.
fn cbor(field: &str, value: Value) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(yes) => Cbor::Bool(yes),
        Value::Number(number) if field.contains("Timestamp") => Cbor::Tag(EPOCH, Box::new(Cbor::Float(number.as_f64().unwrap_or_default()))),
        Value::Number(number) => number.as_i64().map_or_else(|| Cbor::Float(number.as_f64().unwrap_or_default()), Cbor::from),
        Value::String(text) => Cbor::Text(text),
        Value::Array(values) => Cbor::Array(values.into_iter().map(|value| cbor(field, value)).collect()),
        Value::Object(fields) => Cbor::Map(fields.into_iter().map(|(name, value)| (Cbor::Text(name.clone()), cbor(&name, value))).collect()),
    }
}
