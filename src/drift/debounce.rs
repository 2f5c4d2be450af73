//! One look a moment at what many events are about.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Lets the first event of a burst through at once and holds the others back until a period after it, for one more look.
#[derive(Debug)]
pub struct Debounce<T> {
    period: Duration,
    /// The last look, made or promised.
    looks: HashMap<T, Instant>,
}

impl<T: Eq + Hash> Debounce<T> {
    /// At most one look a period at each thing.
    pub fn new(period: Duration) -> Self {
        Self { period, looks: HashMap::new() }
    }

    /// How long to wait before something is looked at, given that an event about it came.
    pub fn wait(&mut self, about: T, now: Instant) -> Duration {
        self.looks.retain(|_, look| now.saturating_duration_since(*look) < self.period);
        let look = match self.looks.get(&about) {
            None => now,
            // One is promised, and will see this change too.
            Some(promised) if *promised > now => *promised,
            Some(last) => *last + self.period,
        };
        self.looks.insert(about, look);
        look.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_looked_at_first_and_last() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut debounce = Debounce::new(Duration::from_secs(1));
        assert_eq!(debounce.wait("orders", at(0)), Duration::ZERO);
        assert_eq!(debounce.wait("mail", at(0)), Duration::ZERO);
        // Whatever comes within the second is seen by the look at its end.
        assert_eq!(debounce.wait("orders", at(100)), Duration::from_millis(900));
        assert_eq!(debounce.wait("orders", at(900)), Duration::from_millis(100));
        // What comes after that look waits for the next.
        assert_eq!(debounce.wait("orders", at(1000)), Duration::from_secs(1));
        assert_eq!(debounce.wait("orders", at(1500)), Duration::from_millis(500));
        // Nothing is kept of what is quiet.
        assert_eq!(debounce.wait("orders", at(9000)), Duration::ZERO);
        assert_eq!(debounce.looks.len(), 1);
    }
}
