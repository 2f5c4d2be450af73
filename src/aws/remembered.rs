//! An answer obtained once for all who ask.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::error::AwsError;
use crate::clock;

/// An answer that is obtained once and kept, while a failure is kept for a short time only: long enough that a thousand queues of a tenant do not each
/// ask again, short enough that what was mended is seen soon.
#[derive(Debug)]
pub(super) struct Remembered<T> {
    failure_kept: Duration,
    known: Mutex<Option<(Instant, Result<T, AwsError>)>>,
}

impl<T: Clone> Remembered<T> {
    pub(super) fn new(failure_kept: Duration) -> Self {
        Self { failure_kept, known: Mutex::new(None) }
    }

    /// The answer; whoever asks while another is asking waits for the same one.
    pub(super) async fn get<F: Future<Output = Result<T, AwsError>>>(&self, ask: impl FnOnce() -> F) -> Result<T, AwsError> {
        let mut known = self.known.lock().await;
        match &*known {
            Some((_, Ok(value))) => Ok(value.clone()),
            Some((at, Err(error))) if clock::since(*at) < self.failure_kept => Err(error.clone()),
            _ => {
                let answer = ask().await;
                known.insert((Instant::now(), answer)).1.clone()
            }
        }
    }

    /// Treats the answer like a failure: it was no help, and may be another soon.
    pub(super) async fn doubt(&self) {
        let mut known = self.known.lock().await;
        if known.as_ref().is_some_and(|(at, _)| clock::since(*at) >= self.failure_kept) {
            *known = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::codes::Kind;
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    async fn next(asked: &AtomicU32, fail: bool) -> Result<u32, AwsError> {
        tokio::task::yield_now().await;
        let number = asked.fetch_add(1, Ordering::Relaxed);
        if fail { Err(AwsError::new("sts:GetCallerIdentity", Kind::Unavailable, "Timeout", "")) } else { Ok(number) }
    }

    #[tokio::test]
    async fn many_ask_at_once_and_aws_is_asked_once() {
        let (asked, remembered) = (AtomicU32::new(0), Remembered::new(LONG));
        let answers = futures::future::join_all((0..10).map(|_| remembered.get(|| next(&asked, false)))).await;
        assert!(answers.iter().all(|answer| matches!(answer, Ok(0))));
        let failing = Remembered::<u32>::new(LONG);
        let answers = futures::future::join_all((0..10).map(|_| failing.get(|| next(&asked, true)))).await;
        assert!(answers.iter().all(Result::is_err));
        assert_eq!(asked.into_inner(), 2);
    }

    #[tokio::test]
    async fn a_failure_is_forgotten_and_a_success_is_not() {
        let (asked, remembered) = (AtomicU32::new(0), Remembered::new(Duration::ZERO));
        assert!(remembered.get(|| next(&asked, true)).await.is_err());
        for _ in 0..2 {
            assert!(matches!(remembered.get(|| next(&asked, false)).await, Ok(1)));
        }
    }

    #[tokio::test]
    async fn a_doubted_answer_is_asked_for_again_but_not_at_once() {
        for (failure_kept, second) in [(Duration::ZERO, 1), (LONG, 0)] {
            let (asked, remembered) = (AtomicU32::new(0), Remembered::new(failure_kept));
            assert!(matches!(remembered.get(|| next(&asked, false)).await, Ok(0)));
            remembered.doubt().await;
            assert!(matches!(remembered.get(|| next(&asked, false)).await, Ok(number) if number == second));
        }
    }
}
