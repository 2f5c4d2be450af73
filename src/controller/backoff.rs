//! How long to wait after a failure: doubling, with jitter, per object, capped.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;

use crate::api::Reason;
use crate::clock;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);
/// What a person mends and nobody tells of: a role that did not exist.
const LONGEST_FOR_PRINCIPALS: Duration = Duration::from_secs(30);

/// Failures in a row by object.
#[derive(Default)]
pub(super) struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// The next wait after one more failure.
    pub(super) fn after_failure(&self, object: &str, reason: Reason) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        let wait =
            nominal(*count).min(if matches!(reason, Reason::PrincipalInvalid | Reason::PrincipalDeleted) { LONGEST_FOR_PRINCIPALS } else { LONGEST });
        *count = count.saturating_add(1);
        clock::real(wait.mul_f64(rand::rng().random_range(0.75..1.25)))
    }

    /// Forgets failures after a success.
    pub(super) fn succeeded(&self, object: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

fn nominal(failures: u32) -> Duration {
    FIRST.saturating_mul(2u32.saturating_pow(failures.min(16))).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_and_forgets() {
        assert_eq!([0, 1, 2, 20].map(nominal), [FIRST, 2 * FIRST, 4 * FIRST, LONGEST]);
        let backoff = Backoff::default();
        for expected in [1, 2, 4] {
            let wait = backoff.after_failure("queue a/b", Reason::AwsUnavailable).as_secs_f64();
            assert!((0.74..1.26).contains(&(wait / f64::from(expected))), "{wait}");
        }
        backoff.succeeded("queue a/b");
        assert!(backoff.after_failure("queue a/b", Reason::AwsUnavailable).as_secs_f64() < 1.3);
        let waits: Vec<_> = (0..12).map(|_| backoff.after_failure("key c", Reason::PrincipalInvalid)).collect();
        assert!(waits[11] < Duration::from_secs(38), "a role that was made is noticed soon: {waits:?}");
    }
}
