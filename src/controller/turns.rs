//! Whose turn it is: objects are reconciled once at a time, so many at once, when somebody wakes them and when their time has come.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Display;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::Instrument;

/// No object rests longer after a pass.
const LONGEST_REST: Duration = Duration::from_secs(1);

/// When an object is looked at again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Action(Option<Duration>);

impl Action {
    /// After so long, or when somebody wakes it.
    pub(super) const fn requeue(wait: Duration) -> Self {
        Self(Some(wait))
    }

    /// When somebody wakes it.
    pub(super) const fn await_change() -> Self {
        Self(None)
    }
}

/// Objects that were woken, each once, in order.
pub(super) struct Woken<N> {
    waiting: Mutex<Waiting<N>>,
    told: Notify,
}

struct Waiting<N> {
    line: VecDeque<Arc<N>>,
    known: HashSet<Arc<N>>,
}

impl<N> Default for Woken<N> {
    fn default() -> Self {
        Self { waiting: Mutex::new(Waiting { line: VecDeque::new(), known: HashSet::new() }), told: Notify::new() }
    }
}

impl<N: Clone + Eq + Hash> Woken<N> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<N>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes an object; one that waits already is woken once.
    pub(super) fn wake(&self, name: &N) {
        let mut waiting = self.waiting();
        if !waiting.known.contains(name) {
            let name = Arc::new(name.clone());
            waiting.known.insert(name.clone());
            waiting.line.push_back(name);
            drop(waiting);
            self.told.notify_one();
        }
    }

    /// Who was woken first.
    pub(super) fn take(&self) -> Option<N> {
        let mut waiting = self.waiting();
        let name = waiting.line.pop_front()?;
        waiting.known.remove(&name);
        if waiting.line.is_empty() {
            // A start wakes everyone: no room is kept for the next one.
            *waiting = Waiting { line: VecDeque::new(), known: HashSet::new() };
        }
        Some(Arc::unwrap_or_clone(name))
    }
}

/// Objects and when their turn comes: the earliest of what was asked for.
struct Turns<N> {
    order: BTreeSet<(Instant, N)>,
    times: HashMap<N, Instant>,
    /// Being reconciled, and since when.
    running: HashMap<N, Instant>,
    /// Asked for meanwhile.
    asked: HashSet<N>,
    /// Whether the last was one whose time had come, not one who was woken: they alternate, so that no crowd of the one holds the other up.
    timed: bool,
    /// How long an object rests after a pass, in times of what that took.
    rest: u32,
    /// Until when objects rest.
    resting: HashMap<N, Instant>,
}

impl<N: Clone + Eq + Hash + Ord> Turns<N> {
    fn new(rest: u32) -> Self {
        let (order, times, running) = (BTreeSet::new(), HashMap::new(), HashMap::new());
        Self { order, times, running, asked: HashSet::new(), timed: false, rest, resting: HashMap::new() }
    }

    fn ask(&mut self, name: N, at: Instant) {
        if self.running.contains_key(&name) {
            self.asked.insert(name);
            return;
        }
        let at = self.resting.get(&name).map_or(at, |until| at.max(*until));
        match self.times.get(&name) {
            Some(known) if *known <= at => return,
            Some(known) => drop(self.order.remove(&(*known, name.clone()))),
            None => {}
        }
        self.times.insert(name.clone(), at);
        self.order.insert((at, name));
    }

    /// Whose turn has come, from now on running.
    fn next(&mut self, now: Instant) -> Option<N> {
        if self.order.first().is_none_or(|(at, _)| *at > now) {
            return None;
        }
        let (_, name) = self.order.pop_first()?;
        self.times.remove(&name);
        self.running.insert(name.clone(), now);
        self.timed = true;
        Some(name)
    }

    /// Who was woken first, and neither runs nor rests, from now on running.
    fn next_woken(&mut self, woken: &Woken<N>, now: Instant) -> Option<N> {
        loop {
            let name = woken.take()?;
            if self.running.contains_key(&name) || self.resting.get(&name).is_some_and(|until| *until > now) {
                self.ask(name, now);
                continue;
            }
            if let Some(at) = self.times.remove(&name) {
                self.order.remove(&(at, name.clone()));
            }
            self.running.insert(name.clone(), now);
            self.timed = false;
            return Some(name);
        }
    }

    /// Whose time has come, or who was woken.
    fn next_of(&mut self, woken: &Woken<N>, now: Instant) -> Option<N> {
        if self.timed { self.next_woken(woken, now).or_else(|| self.next(now)) } else { self.next(now).or_else(|| self.next_woken(woken, now)) }
    }

    fn ended(&mut self, name: N, Action(again): Action, now: Instant) {
        let began = self.running.remove(&name).unwrap_or(now);
        if self.rest > 0 {
            self.resting.retain(|_, until| *until > now);
            self.resting.insert(name.clone(), now + LONGEST_REST.min(now.duration_since(began) * self.rest));
        }
        let wait = if self.asked.remove(&name) { Some(Duration::ZERO) } else { again };
        if let Some(at) = wait.and_then(|wait| now.checked_add(wait)) {
            self.ask(name, at);
        }
    }
}

/// Reconciles whoever is woken until `stop` resolves, then lets what is under way finish. `reconcile` answers None of an object that is not there.
///
/// After a pass an object rests for `rest` times as long as that took, up to a second, however often it is woken.
pub(super) async fn take_turns<N, F>(woken: Arc<Woken<N>>, concurrency: u16, rest: u32, stop: impl Future<Output = ()> + Send, mut reconcile: F)
where
    N: Clone + Display + Eq + Hash + Ord + Send + Sync,
    F: FnMut(&N) -> Option<BoxFuture<'static, Action>> + Send,
{
    let most = if concurrency == 0 { usize::MAX } else { usize::from(concurrency) };
    let (mut turns, mut running) = (Turns::new(rest), FuturesUnordered::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        while running.len() < most
            && let Some(name) = turns.next_of(&woken, Instant::now())
        {
            let span = tracing::info_span!("reconciling object", "object.ref" = %name);
            match span.in_scope(|| reconcile(&name)) {
                Some(work) => running.push(work.map(|again| (name, again)).instrument(span)),
                None => turns.ended(name, Action::await_change(), Instant::now()),
            }
        }
        let next = turns.order.first().map(|(at, _)| *at).filter(|_| running.len() < most);
        tokio::select! {
            () = &mut stop => break,
            Some((name, again)) = running.next() => turns.ended(name, again, Instant::now()),
            () = woken.told.notified(), if running.len() < most => {}
            () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
    while running.next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{Semaphore, oneshot};

    use super::*;

    #[test]
    fn the_earliest_that_was_asked_for_counts_and_who_runs_waits() {
        let (mut turns, now, second) = (Turns::new(0), Instant::now(), Duration::from_secs(1));
        turns.ask("a", now + 2 * second);
        turns.ask("a", now + second);
        turns.ask("a", now + 3 * second);
        turns.ask("b", now);
        assert_eq!([turns.next(now), turns.next(now)], [Some("b"), None]);
        turns.ask("b", now);
        assert_eq!(turns.next(now), None, "it runs");
        turns.ended("b", Action::requeue(9 * second), now + second);
        assert_eq!([turns.next(now + second), turns.next(now + second)], [Some("a"), Some("b")]);
        turns.ended("a", Action::requeue(second), now + second);
        turns.ended("b", Action::await_change(), now + second);
        assert_eq!([turns.next(now + second), turns.next(now + 2 * second), turns.next(now + 99 * second)], [None, Some("a"), None]);
        turns.ended("a", Action::await_change(), now);
        assert!(turns.order.is_empty() && turns.times.is_empty() && turns.running.is_empty() && turns.asked.is_empty());
    }

    #[test]
    fn neither_a_crowd_whose_time_has_come_nor_a_crowd_that_was_woken_holds_the_other_up() {
        let (mut turns, woken, now) = (Turns::new(0), Woken::default(), Instant::now());
        (0..100).for_each(|name| turns.ask(name, now));
        (100..200).for_each(|name| woken.wake(&name));
        // One that is woken although its time has come too runs once.
        woken.wake(&99);
        let order: Vec<i32> = std::iter::from_fn(|| turns.next_of(&woken, now)).collect();
        assert_eq!(order[..4], [0, 100, 1, 101]);
        assert_eq!((order.len(), order[198], order[199]), (200, 99, 199));
        assert!(turns.order.is_empty() && turns.times.is_empty());
    }

    #[test]
    fn who_rests_is_not_woken() {
        let (mut turns, now, moment) = (Turns::new(9), Instant::now(), Duration::from_millis(10));
        turns.ask("a", now);
        assert_eq!(turns.next(now), Some("a"));
        turns.ended("a", Action::await_change(), now + moment);
        turns.ask("a", now + 2 * moment);
        assert_eq!([turns.next(now + 9 * moment), turns.next(now + 10 * moment)], [None, Some("a")]);
        turns.ask("a", now + 11 * moment);
        turns.ended("a", Action::await_change(), now + 1000 * moment);
        assert_eq!([turns.next(now + 1099 * moment), turns.next(now + 1100 * moment)], [None, Some("a")]);
    }

    #[tokio::test]
    async fn so_many_run_at_once_again_when_their_time_comes_and_what_is_under_way_finishes() {
        let woken = Arc::new(Woken::default());
        let (began, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let gate = Arc::new(Semaphore::new(0));
        let (counts, shared) = ((began.clone(), ended.clone()), gate.clone());
        let reconcile = move |name: &u32| {
            let (name, (began, ended), gate) = (*name, counts.clone(), shared.clone());
            (name != 0).then(|| {
                async move {
                    let times = began.fetch_add(1, Ordering::SeqCst);
                    gate.acquire().await.unwrap().forget();
                    ended.fetch_add(1, Ordering::SeqCst);
                    if times == 0 { Action::requeue(Duration::from_millis(1)) } else { Action::await_change() }
                }
                .boxed()
            })
        };
        let until = async |counter: &AtomicUsize, count| {
            while counter.load(Ordering::SeqCst) != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
            assert_eq!(counter.load(Ordering::SeqCst), count, "no more than that");
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let turns = tokio::spawn(take_turns(woken.clone(), 2, 0, async { drop(stopped.await) }, reconcile));
        (0..=3).chain([3]).for_each(|name| woken.wake(&name));
        until(&began, 2).await;
        gate.add_permits(3);
        // Each of the three, and the first once more.
        until(&began, 4).await;
        until(&ended, 3).await;
        stop.send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        woken.wake(&2);
        gate.add_permits(9);
        turns.await.unwrap();
        assert_eq!([began.load(Ordering::SeqCst), ended.load(Ordering::SeqCst)], [4, 4]);
    }
}
