//! What an event said was changed, and what the audits know: shared with the reader of events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::known::Known;
use crate::audit::look::Target;

/// After the first event of a burst, so that the rest of it is looked at together.
const COLLECT: Duration = Duration::from_secs(1);
/// Between looks at an account.
const BETWEEN: Duration = Duration::from_secs(10);
/// More waiting targets of an account than this, and the whole account is audited instead.
const MOST_TARGETS: usize = 100;

/// What waits to be looked at in an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// These, by Region.
    Some(BTreeSet<(String, Target)>),
    /// All of it.
    All,
}

#[derive(Default)]
struct Waiting {
    due: BTreeMap<String, (Instant, Wanted)>,
    /// When an account may be looked at again.
    rest: BTreeMap<String, Instant>,
}

/// What was changed, and what was found.
#[derive(Default)]
pub(in crate::controller) struct Looks {
    waiting: Mutex<Waiting>,
    /// By the name of the report.
    known: Mutex<BTreeMap<String, Known>>,
    changed: Notify,
}

impl Looks {
    /// Has something looked at soon.
    pub(in crate::controller) fn request(&self, account: &str, region: &str, target: Target) {
        self.request_at(account, region, target, Instant::now());
        self.changed.notify_one();
    }

    fn request_at(&self, account: &str, region: &str, target: Target, now: Instant) {
        let mut waiting = locked(&self.waiting);
        let Waiting { due, rest } = &mut *waiting;
        rest.retain(|_, until| *until > now);
        let first = || (rest.get(account).copied().unwrap_or(now).max(now + COLLECT), Wanted::Some(BTreeSet::new()));
        let (_, wanted) = due.entry(account.to_owned()).or_insert_with(first);
        if let Wanted::Some(targets) = wanted {
            targets.insert((region.to_owned(), target));
            if targets.len() > MOST_TARGETS {
                *wanted = Wanted::All;
            }
        }
    }

    /// Whether something was found of a queue or key.
    pub(in crate::controller) fn has_findings(&self, arn: &str) -> bool {
        locked(&self.known).values().any(|known| known.has_findings(arn))
    }

    pub(super) fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        locked(&self.known)
    }

    /// Waits until something is requested.
    pub(super) async fn requested(&self) {
        self.changed.notified().await;
    }

    /// How long until something is due.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        locked(&self.waiting).due.values().map(|(due, _)| due.saturating_duration_since(now)).min()
    }

    /// Takes what is due.
    pub(super) fn take(&self, now: Instant) -> Vec<(String, Wanted)> {
        let mut waiting = locked(&self.waiting);
        let due: Vec<String> = waiting.due.iter().filter(|(_, (due, _))| *due <= now).map(|(account, _)| account.clone()).collect();
        due.into_iter()
            .filter_map(|account| {
                let (_, wanted) = waiting.due.remove(&account)?;
                waiting.rest.insert(account.clone(), now + BETWEEN);
                Some((account, wanted))
            })
            .collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(number: usize) -> Target {
        Target::Queue(format!("q{number}"))
    }

    #[test]
    fn a_burst_is_looked_at_together_and_an_account_has_its_rest() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let looks = Looks::default();
        assert_eq!((looks.wait(start), looks.take(start)), (None, Vec::new()));
        for (millis, number) in [(0, 1), (300, 2), (600, 1)] {
            looks.request_at("a", "eu-west-1", queue(number), at(millis));
        }
        assert_eq!((looks.wait(at(600)), looks.take(at(999))), (Some(Duration::from_millis(400)), Vec::new()));
        let both = BTreeSet::from([1, 2].map(|number| ("eu-west-1".to_owned(), queue(number))));
        assert_eq!(looks.take(at(1000)), [("a".to_owned(), Wanted::Some(both))]);
        // What comes now waits; another account does not.
        looks.request_at("a", "eu-west-1", queue(3), at(1500));
        looks.request_at("b", "eu-west-1", queue(4), at(1500));
        assert_eq!((looks.take(at(2500)).len(), looks.wait(at(2500))), (1, Some(Duration::from_millis(8500))));
        assert_eq!(looks.take(at(11_000)).len(), 1);
        // Nothing is kept of what is quiet.
        looks.request_at("c", "eu-west-1", queue(5), at(60_000));
        assert_eq!(locked(&looks.waiting).rest.len(), 0);
    }

    #[test]
    fn too_many_are_the_whole_account() {
        let looks = Looks::default();
        let start = Instant::now();
        (0..=MOST_TARGETS).for_each(|number| looks.request_at("a", "eu-west-1", queue(number), start));
        looks.request_at("a", "eu-west-1", queue(7), start);
        assert_eq!(looks.take(start + COLLECT), [("a".to_owned(), Wanted::All)]);
    }
}
