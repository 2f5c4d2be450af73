//! The time the operator goes by. Nothing else asks for the time of day, so that tests can let it run faster or jump.
//!
//! With the feature `test-clock`, which no shipped binary has, `ENCRYPTED_QUEUE_TEST_CLOCK` names a file with three numbers: a real time and the
//! operator's time at that moment, both in milliseconds since 1970, and how much faster the operator's time runs. The file is read anew for each
//! question. Leases and the time-outs of calls go by real time, as the other side does.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Now.
pub fn now() -> Timestamp {
    source::now()
}

/// How long to sleep until so much time has passed.
pub fn real(stretch: Duration) -> Duration {
    stretch.div_f64(source::speed())
}

/// How much time has passed since.
pub fn since(start: Instant) -> Duration {
    start.elapsed().mul_f64(source::speed())
}

/// The clock may be set meanwhile, and a sleep does not notice: nobody sleeps longer without looking at it again.
const LONGEST_SLEEP: Duration = Duration::from_mins(10);

/// How long to sleep until then, or until the clock is to be looked at again.
pub fn wait_until(then: Timestamp) -> Duration {
    real(Duration::try_from(then.duration_since(now())).unwrap_or_default().min(LONGEST_SLEEP))
}

#[cfg(not(feature = "test-clock"))]
mod source {
    pub(super) use jiff::Timestamp;

    pub(super) fn now() -> Timestamp {
        Timestamp::now()
    }

    pub(super) fn speed() -> f64 {
        1.0
    }
}

#[cfg(feature = "test-clock")]
mod source {
    use jiff::{SignedDuration, Timestamp};

    struct Course {
        real: Timestamp,
        shown: Timestamp,
        speed: f64,
    }

    fn course() -> Option<Course> {
        let text = std::fs::read_to_string(std::env::var_os("ENCRYPTED_QUEUE_TEST_CLOCK")?).ok()?;
        let mut numbers = text.split_whitespace();
        let mut time = || Timestamp::from_millisecond(numbers.next()?.parse().ok()?).ok();
        let (real, shown) = (time()?, time()?);
        Some(Course { real, shown, speed: numbers.next()?.parse().ok().filter(|speed| *speed > 0.0)? })
    }

    pub(super) fn now() -> Timestamp {
        let now = Timestamp::now();
        let Some(Course { real, shown, speed }) = course() else { return now };
        let passed = SignedDuration::try_from_secs_f64(now.duration_since(real).as_secs_f64() * speed).unwrap_or_default();
        shown.checked_add(passed).unwrap_or(now)
    }

    pub(super) fn speed() -> f64 {
        course().map_or(1.0, |course| course.speed)
    }
}
