//! AWS's published request rates, as token buckets for each account, Region and operation.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::answer::Answer;
use super::classify::Request;

/// Requests a second that AWS admits.
fn rate(service: &str, operation: &str) -> Option<f64> {
    Some(match (service, operation) {
        (
            "kms",
            "CreateKey"
            | "CreateAlias"
            | "UpdateAlias"
            | "UntagResource"
            | "EnableKey"
            | "DisableKey"
            | "DisableKeyRotation"
            | "UpdateKeyDescription"
            | "CancelKeyDeletion",
        )
        | ("sqs", "TagQueue" | "UntagQueue" | "ListQueueTags") => 5.0,
        ("kms", "TagResource") => 10.0,
        ("kms", "PutKeyPolicy" | "EnableKeyRotation" | "ScheduleKeyDeletion" | "DeleteAlias") => 15.0,
        ("kms", "ListKeys" | "ListAliases") => 500.0,
        ("kms", "GetKeyPolicy" | "GetKeyRotationStatus") => 1_000.0,
        ("kms", "DescribeKey" | "ListResourceTags") => 2_000.0,
        _ => return None,
    })
}

struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// The buckets; no quota is enforced until a scale is set.
#[derive(Default)]
pub(super) struct Quotas(Mutex<State>);

#[derive(Default)]
struct State {
    scale: Option<f64>,
    buckets: HashMap<(String, String, String, String), Bucket>,
}

impl Quotas {
    /// Enforces the published rates times `scale`, from full buckets on; `None` switches them off.
    pub fn set(&self, scale: Option<f64>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { scale, buckets: HashMap::new() };
    }

    /// The refusal of a call that comes too soon.
    pub fn refuse(&self, request: &Request, now: Instant) -> Option<Answer> {
        let published = rate(&request.service, &request.operation)?;
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = published * state.scale?;
        let burst = rate.max(1.0);
        // SQS counts all tag calls of an account together.
        let operation = if request.service == "sqs" { "tags" } else { &request.operation };
        let key = (request.account.clone(), request.region.clone(), request.service.clone(), operation.to_owned());
        let bucket = state.buckets.entry(key).or_insert(Bucket { tokens: burst, filled: now });
        bucket.tokens = (bucket.tokens + now.duration_since(bucket.filled).as_secs_f64() * rate).min(burst);
        bucket.filled = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return None;
        }
        Some(match request.service.as_str() {
            "sqs" => Answer::error(request, 403, "RequestThrottled", "Request is throttled."),
            _ => Answer::error(
                request,
                400,
                "ThrottlingException",
                "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls.",
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::Duration;

    use hyper::body::Bytes;
    use hyper::{HeaderMap, Method};

    use super::*;

    fn call(service: &str, operation: &str, account: &str) -> Request {
        let mut request = Request::parse(Method::POST, "/".to_owned(), HeaderMap::new(), Bytes::new());
        request.service = service.to_owned();
        request.operation = operation.to_owned();
        request.account = account.to_owned();
        request
    }

    #[test]
    fn a_full_bucket_then_the_published_rate() {
        let quotas = Quotas::default();
        let start = Instant::now();
        let create = call("kms", "CreateKey", "1");
        assert!((0..100).all(|_| quotas.refuse(&create, start).is_none()), "off by default");
        quotas.set(Some(1.0));
        assert_eq!((0..10).filter(|_| quotas.refuse(&create, start).is_none()).count(), 5);
        assert!(quotas.refuse(&call("kms", "CreateKey", "2"), start).is_none(), "each account has its own");
        assert!(quotas.refuse(&call("kms", "PutKeyPolicy", "1"), start).is_none(), "each operation has its own");
        let later = start + Duration::from_millis(401);
        assert_eq!((0..10).filter(|_| quotas.refuse(&create, later).is_none()).count(), 2);
    }

    #[test]
    fn sqs_tag_calls_share_one_bucket() {
        let quotas = Quotas::default();
        quotas.set(Some(1.0));
        let now = Instant::now();
        let admitted = ["TagQueue", "UntagQueue", "ListQueueTags", "TagQueue", "TagQueue", "TagQueue"]
            .iter()
            .filter(|operation| quotas.refuse(&call("sqs", operation, "1"), now).is_none());
        assert_eq!(admitted.count(), 5);
    }
}
