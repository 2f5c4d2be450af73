//! Commands that somebody waits for, and audits, ask again where a reconcile would come back later.

use std::time::Duration;

use rand::RngExt;

use super::codes::Kind;
use super::error::AwsError;

const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Asks up to so many times, each time later, while AWS says that it was asked too often; once more where it did not answer.
pub async fn patiently<T, F: Future<Output = Result<T, AwsError>>>(attempts: u32, call: impl Fn() -> F) -> Result<T, AwsError> {
    let (mut wait, mut attempt) = (FIRST_WAIT, 1);
    loop {
        match call().await {
            Err(error) if error.kind == Kind::Throttled && attempt < attempts => {}
            Err(error) if error.kind == Kind::Unavailable && attempt < attempts.min(2) => {}
            answered => return answered,
        }
        let share = rand::rng().random_range(0.5..1.0);
        tokio::time::sleep(wait.mul_f64(share)).await;
        (wait, attempt) = (wait * 2, attempt + 1);
    }
}
