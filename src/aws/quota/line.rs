//! The line before one API of one account and Region: how fast it moves, who stands in it, whose turn it is. Pure: time comes in as an argument.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::{Caller, Subject};

/// As much of the published rate as is used: others call in the same account.
const SHARE: f64 = 0.8;
/// Calls at once, as a share of the calls of a second.
const BURST: f64 = 0.4;
/// A wait that is slept through; longer ones free the worker.
const SHORT: Duration = Duration::from_secs(1);
/// How long whoever's turn it is has to come.
const TURN: Duration = Duration::from_secs(15);
/// How long it may then go on: a pass makes several of these calls, and one that waited anew for each would come to no end.
const GOES_ON: Duration = Duration::from_secs(3);
/// After AWS said that calls come too fast: the rate is halved, at most once in this time, and regained by so much of the whole each second.
const HALVED_ONCE_IN: Duration = Duration::from_secs(1);
const REGAINED_A_SECOND: f64 = 0.02;
const SLOWEST: f64 = 1.0 / 64.0;
/// What is told of a place in line stays as it is for so long.
const TOLD_AGAIN: Duration = Duration::from_mins(1);

/// When a call may be made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Turn {
    /// Now.
    Now,
    /// After this time; the call is counted already.
    Soon(Duration),
    /// Not yet: ask again after this time. Nothing is counted.
    Later(Duration),
    /// In its turn, of which the caller is told: so many stand before it, and it takes about so long. What was said of it stands for a minute.
    InLine {
        /// Place, from 1.
        place: usize,
        /// Until its turn.
        estimate: Duration,
    },
}

/// Who waits, and what was said of it.
#[derive(Debug)]
struct Waiting {
    subject: Subject,
    told: (Instant, usize, Duration),
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// Calls a second when AWS does not object.
    rate: f64,
    burst: f64,
    /// Share of the rate that AWS admits, as far as is known, and since when.
    factor: f64,
    slowed: Option<Instant>,
    /// Calls that may be made at once; below zero: how many are owed.
    tokens: f64,
    filled: Instant,
    /// Those who wait, by tenant; tenants take turns.
    tenants: HashMap<String, VecDeque<Waiting>>,
    turns: VecDeque<String>,
    /// Whose turn it is, until when, and whether it came.
    called: HashMap<Subject, (Instant, bool)>,
}

impl Line {
    /// A line before an API that admits so many calls a second.
    pub(super) fn new(published: f64, now: Instant) -> Self {
        let burst = (published * BURST).max(1.0);
        Self {
            rate: published * SHARE,
            burst,
            factor: 1.0,
            slowed: None,
            tokens: burst,
            filled: now,
            tenants: HashMap::new(),
            turns: VecDeque::new(),
            called: HashMap::new(),
        }
    }

    /// Asks for one call. Nobody in particular has no place in line and sleeps as long as it takes.
    pub(super) fn ask(&mut self, caller: Option<&Caller>, now: Instant) -> Turn {
        self.fill(now);
        match caller {
            Some(Caller::SlowCheck) => self.ask_low(),
            Some(Caller::Reconcile { subject, tenant }) => match self.called.insert(subject.clone(), (now + GOES_ON, true)) {
                Some((_, false)) => Turn::Now,
                Some((_, true)) => self.take(),
                None => {
                    self.called.remove(subject);
                    self.ask_in_turn(subject, tenant, now)
                }
            },
            None => self.take(),
        }
    }

    /// Asks for a call that is made later: whose turn it is keeps it.
    pub(super) fn reserve(&mut self, caller: &Caller, now: Instant) -> Turn {
        let turn = self.ask(Some(caller), now);
        if let (Turn::Now | Turn::Soon(_), Caller::Reconcile { subject, .. }) = (&turn, caller) {
            self.called.insert(subject.clone(), (now + TURN, false));
        }
        turn
    }

    /// Those whose turn it is now, and when to look again; none: nobody waits.
    pub(super) fn call(&mut self, now: Instant) -> (Vec<Subject>, Option<Duration>) {
        self.fill(now);
        let mut called = Vec::new();
        while self.tokens >= 1.0
            && let Some(next) = self.next()
        {
            self.tokens -= 1.0;
            self.called.insert(next.clone(), (now + TURN, false));
            called.push(next);
        }
        let again = (!self.turns.is_empty()).then(|| self.wait_for(1.0));
        (called, again)
    }

    /// AWS refused a call because of the rate.
    pub(super) fn throttled(&mut self, now: Instant) {
        self.fill(now);
        self.tokens = self.tokens.min(0.0);
        if self.slowed.is_none_or(|at| now.duration_since(at) >= HALVED_ONCE_IN) {
            self.factor = (self.factor / 2.0).max(SLOWEST);
            self.slowed = Some(now);
        }
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.tenants.values().map(VecDeque::len).sum()
    }

    /// The place in line of an object that waits for its turn.
    pub(super) fn place(&mut self, subject: &Subject, tenant: &str, now: Instant) -> Option<Turn> {
        self.stands(subject, tenant).map(|_| self.ask_in_turn(subject, tenant, now))
    }

    /// How many of its tenant stand before an object that waits.
    fn stands(&self, subject: &Subject, tenant: &str) -> Option<usize> {
        self.tenants.get(tenant)?.iter().position(|waiting| waiting.subject == *subject)
    }

    /// Half of what may be made at once is always left to whoever cannot wait.
    fn ask_low(&mut self) -> Turn {
        let wanted = 1.0 + (self.burst - 1.0) / 2.0;
        if !self.turns.is_empty() || self.tokens < wanted {
            return Turn::Later(self.wait_for(wanted).max(SHORT / 20));
        }
        self.tokens -= 1.0;
        Turn::Now
    }

    fn ask_in_turn(&mut self, subject: &Subject, tenant: &str, now: Instant) -> Turn {
        let stands = self.stands(subject, tenant);
        if stands.is_none() && self.turns.is_empty() && self.wait_for(1.0) <= SHORT {
            return self.take();
        }
        let ahead = stands.unwrap_or_else(|| self.tenants.get(tenant).map_or(0, VecDeque::len));
        let others = self.tenants.iter().filter(|(other, _)| *other != tenant).map(|(_, queue)| queue.len().min(ahead + 1));
        let place = ahead + others.sum::<usize>() + 1;
        let told = (now, place, self.wait_for(f64::from(u32::try_from(place).unwrap_or(u32::MAX))));
        let queue = self.tenants.entry(tenant.to_owned()).or_default();
        let told = match stands.and_then(|at| queue.get_mut(at)) {
            Some(waiting) if now.duration_since(waiting.told.0) < TOLD_AGAIN => waiting.told,
            Some(waiting) => {
                waiting.told = told;
                told
            }
            None => {
                if queue.is_empty() {
                    self.turns.push_back(tenant.to_owned());
                }
                queue.push_back(Waiting { subject: subject.clone(), told });
                told
            }
        };
        Turn::InLine { place: told.1, estimate: told.2 }
    }

    fn take(&mut self) -> Turn {
        let wait = self.wait_for(1.0);
        self.tokens -= 1.0;
        if wait.is_zero() { Turn::Now } else { Turn::Soon(wait) }
    }

    /// The next in line: one of the tenant whose turn it is.
    fn next(&mut self) -> Option<Subject> {
        let tenant = self.turns.pop_front()?;
        let queue = self.tenants.get_mut(&tenant)?;
        let next = queue.pop_front().map(|waiting| waiting.subject);
        if queue.is_empty() {
            self.tenants.remove(&tenant);
        } else {
            self.turns.push_back(tenant);
        }
        next
    }

    /// Until there are so many tokens.
    fn wait_for(&self, tokens: f64) -> Duration {
        Duration::from_secs_f64(((tokens - self.tokens) / (self.rate * self.factor)).clamp(0.0, 1e6))
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + passed * self.rate * self.factor).min(self.burst);
        if self.slowed.is_some_and(|at| now.duration_since(at) >= HALVED_ONCE_IN) {
            self.factor = (self.factor + passed * REGAINED_A_SECOND).min(1.0);
        }
        // Whoever did not come in its turn did not need the call.
        let missed = self.called.values().filter(|(until, came)| *until <= now && !came).count();
        self.called.retain(|_, (until, _)| *until > now);
        self.tokens = (self.tokens + f64::from(u32::try_from(missed).unwrap_or(u32::MAX))).min(self.burst);
    }
}
