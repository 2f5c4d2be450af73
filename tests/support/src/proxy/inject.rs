//! Faults and pauses, armed by the tests and met by the calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;

use super::classify::{Kind, Request};

/// Which calls are meant, of a proxy whose calls are of that type.
pub trait Matching {
    /// A call as it arrived.
    type Call;

    /// Whether this call is meant.
    fn matches(&self, call: &Self::Call) -> bool;

    /// From which of those on, counted from 1.
    fn first(&self) -> u64;
}

/// Any other question about a call.
pub(crate) struct Predicate<C>(Arc<dyn Fn(&C) -> bool + Send + Sync>);

impl<C> Predicate<C> {
    pub(crate) fn new(question: impl Fn(&C) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(question))
    }

    pub(crate) fn holds(&self, call: &C) -> bool {
        (self.0)(call)
    }
}

impl<C> Clone for Predicate<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> std::fmt::Debug for Predicate<C> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a question")
    }
}

/// Which calls to AWS are meant; what is not said matches all.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matcher {
    service: Option<String>,
    operation: Option<String>,
    account: Option<String>,
    region: Option<String>,
    resource: Option<String>,
    kind: Option<Kind>,
    nth: Option<u64>,
    #[serde(skip)]
    such_that: Option<Predicate<Request>>,
}

impl Matcher {
    /// Every call.
    pub fn any() -> Self {
        Self::default()
    }

    /// Calls of one operation.
    pub fn operation(name: &str) -> Self {
        Self { operation: Some(name.to_owned()), ..Self::default() }
    }

    /// Calls that change something.
    pub fn writes() -> Self {
        Self { kind: Some(Kind::Write), ..Self::default() }
    }

    /// Only this service (`sqs`, `kms`, `sts`, `iam`, `tagging`).
    #[must_use]
    pub fn service(mut self, name: &str) -> Self {
        self.service = Some(name.to_owned());
        self
    }

    /// Only calls by this account.
    #[must_use]
    pub fn account(mut self, id: &str) -> Self {
        self.account = Some(id.to_owned());
        self
    }

    /// Only calls in this Region.
    #[must_use]
    pub fn region(mut self, name: &str) -> Self {
        self.region = Some(name.to_owned());
        self
    }

    /// Only calls whose parameters contain this text.
    #[must_use]
    pub fn resource(mut self, text: &str) -> Self {
        self.resource = Some(text.to_owned());
        self
    }

    /// From the nth of them on, counted from 1 in order of arrival.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Self {
        self.nth = Some(n);
        self
    }

    /// Only calls of which this is true. Asked of each call that fits otherwise, once, in order of arrival.
    #[must_use]
    pub fn such_that(mut self, question: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Self {
        self.such_that = Some(Predicate::new(question));
        self
    }
}

impl Matching for Matcher {
    type Call = Request;

    fn first(&self) -> u64 {
        self.nth.unwrap_or(1)
    }

    fn matches(&self, request: &Request) -> bool {
        let same = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
        same(&self.service, &request.service)
            && same(&self.operation, &request.operation)
            && same(&self.account, &request.account)
            && same(&self.region, &request.region)
            && self.kind.is_none_or(|kind| kind == request.kind)
            && self.resource.as_deref().is_none_or(|text| request.params.to_string().contains(text))
            && self.such_that.as_ref().is_none_or(|question| question.holds(request))
    }
}

/// Before the server sees the call, or after it carried it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// The call is lost.
    #[default]
    BeforeSending,
    /// Only the answer is lost.
    AfterEffect,
}

/// What happens instead of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// An error, in the protocol of the service.
    Error {
        /// HTTP status.
        status: u16,
        /// Error code; for SQS the shape or the header's code.
        code: String,
        /// Message.
        message: String,
    },
    /// The answer, so many milliseconds later.
    Delay(u64),
    /// The connection closes without an answer.
    DropConnection,
    /// No answer at all; the connection stays open until the caller gives up.
    Timeout,
}

impl Effect {
    /// An error with status 400.
    pub fn error(code: &str, message: &str) -> Self {
        Self::Error { status: 400, code: code.to_owned(), message: message.to_owned() }
    }
}

/// A fault to inject.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule<M = Matcher> {
    /// Which calls.
    #[serde(default, bound(deserialize = "M: Default + Deserialize<'de>"))]
    pub matching: M,
    /// How many of them; 0 for all.
    #[serde(default = "once")]
    pub times: u64,
    /// When.
    #[serde(default)]
    pub when: Moment,
    /// What.
    pub effect: Effect,
}

fn once() -> u64 {
    1
}

impl<M> Rule<M> {
    /// The first matching call fails so before it is sent.
    pub fn once(matching: M, effect: Effect) -> Self {
        Self { matching, times: 1, when: Moment::BeforeSending, effect }
    }

    /// The first matching call is carried out, and its answer replaced.
    pub fn after_effect(matching: M, effect: Effect) -> Self {
        Self { matching, times: 1, when: Moment::AfterEffect, effect }
    }

    /// So many calls; 0 for all.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

/// What a call meets on its way.
#[derive(Clone)]
pub(crate) enum Trigger {
    Effect(Effect),
    Pause(Arc<Gate>),
}

struct Armed<M> {
    matching: M,
    when: Moment,
    seen: u64,
    left: Option<u64>,
    trigger: Trigger,
}

/// Everything that is armed.
pub(crate) struct Injector<M>(Mutex<Vec<Armed<M>>>);

impl<M> Default for Injector<M> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<M: Matching> Injector<M> {
    fn armed(&self) -> MutexGuard<'_, Vec<Armed<M>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn arm(&self, rule: Rule<M>) {
        let left = (rule.times > 0).then_some(rule.times);
        self.armed().push(Armed { matching: rule.matching, when: rule.when, seen: 0, left, trigger: Trigger::Effect(rule.effect) });
    }

    /// Holds the first call that fits, or with `all` each of them.
    pub fn pause(&self, matching: M, when: Moment, all: bool) -> PausePoint {
        let gate = Arc::new(Gate { reached: watch::Sender::new(None), way: watch::Sender::new(Way::Closed) });
        self.armed().push(Armed { matching, when, seen: 0, left: (!all).then_some(1), trigger: Trigger::Pause(Arc::clone(&gate)) });
        PausePoint(gate)
    }

    pub fn clear(&self) {
        for armed in self.armed().drain(..) {
            if let Trigger::Pause(gate) = armed.trigger {
                gate.open();
            }
        }
    }

    /// Counts an arriving call and answers all it will meet, in the order of arming.
    pub fn arrive(&self, request: &M::Call) -> Vec<(Moment, Trigger)> {
        let mut met = Vec::new();
        self.armed().retain_mut(|armed| {
            if !armed.matching.matches(request) {
                return true;
            }
            armed.seen += 1;
            if armed.seen < armed.matching.first() {
                return true;
            }
            met.push((armed.when, armed.trigger.clone()));
            match &mut armed.left {
                Some(left) => {
                    *left -= 1;
                    *left > 0
                }
                None => true,
            }
        });
        met
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Closed,
    Open,
    Lost,
}

pub(crate) struct Gate {
    reached: watch::Sender<Option<u64>>,
    way: watch::Sender<Way>,
}

impl Gate {
    /// What is lost already stays lost.
    fn open(&self) {
        self.way.send_if_modified(|way| {
            let held = *way == Way::Closed;
            if held {
                *way = Way::Open;
            }
            held
        });
    }

    /// Tells the test that the call is here and waits for its word.
    pub async fn pass(&self, seq: u64) -> Way {
        self.reached.send_replace(Some(seq));
        let mut way = self.way.subscribe();
        let word = way.wait_for(|way| *way != Way::Closed).await;
        word.map_or(Way::Open, |way| *way)
    }
}

/// A call held at an exact moment. Dropping it lets the call go on.
pub struct PausePoint(Arc<Gate>);

impl PausePoint {
    /// Waits until a call is held here; answers its number.
    pub async fn reached(&self) -> u64 {
        let mut reached = self.0.reached.subscribe();
        let seq = reached.wait_for(Option::is_some).await;
        seq.ok().and_then(|seq| *seq).unwrap_or_default()
    }

    /// The same, with a bound: `None` when no call came in time.
    pub async fn reached_within(&self, limit: Duration) -> Option<u64> {
        tokio::time::timeout(limit, self.reached()).await.ok()
    }

    /// Lets the call go on.
    pub fn release(self) {
        self.0.open();
    }

    /// Closes the connection without an answer. Held before sending, the call never reaches the emulator.
    pub fn lose(self) {
        self.0.way.send_replace(Way::Lost);
    }
}

impl Drop for PausePoint {
    fn drop(&mut self) {
        self.0.open();
    }
}
