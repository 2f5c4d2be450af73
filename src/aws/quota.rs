//! Keeps calls below the rates that AWS publishes, for each account, Region and API.
//!
//! A call that may be made within a second waits where it is made. One that may not fails with [`Kind::AwaitingQuota`] before it is sent, and its object
//! stands in line: the worker is free, and [`Quotas::call`] tells when it is the object's turn. Tenants take turns. Slow checks take what users leave.

mod gate;
mod line;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

pub(super) use gate::{Action, gated};
use line::{Line, Turn};

use super::codes::Kind;
use super::error::AwsError;
use crate::names::Place;

/// The rate of calls that nothing is published of.
const OTHER: &str = "other";
/// Whoever makes the call names it.
const UNNAMED: &str = "aws";
/// Looked at again at the latest, whoever calls.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

/// An object that calls are made for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    /// An EncryptedQueue.
    Queue {
        /// Namespace.
        namespace: String,
        /// Name.
        name: String,
    },
    /// A QueueKey.
    Key {
        /// Name.
        name: String,
    },
}

/// On whose behalf calls are made.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A reconcile, which someone may wait for.
    Reconcile {
        /// The object.
        subject: Subject,
        /// Its tenant.
        tenant: String,
    },
    /// A comparison that nobody waits for.
    SlowCheck,
}

tokio::task_local! {
    static CALLER: Caller;
}

/// Makes the calls of `work` on behalf of `caller`. Without one they wait where they are made, as long as it takes.
pub fn on_behalf<F: Future>(caller: Caller, work: F) -> impl Future<Output = F::Output> {
    CALLER.scope(caller, work)
}

/// Requests a second by API (`kms:CreateKey`); `sqs:tags` is all tag calls of SQS, `other` each call that is not listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates(BTreeMap<String, f64>);

impl Default for Rates {
    fn default() -> Self {
        // A test reads it.
        Self(serde_saphyr::from_str(include_str!("quota/rates.yaml")).unwrap_or_default())
    }
}

impl Rates {
    /// The published ones, with others for some APIs, `kms:CreateKey=50`: where AWS granted a higher quota.
    pub fn with<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut rates = Self::default();
        for entry in entries {
            let known = entry.split_once('=').and_then(|(name, rate)| Some((rates.0.get_mut(name.trim())?, rate.trim().parse::<f64>().ok()?)));
            let Some((rate, given)) = known.filter(|(_, given)| (0.1..=1e6).contains(given)) else {
                let names = rates.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                return Err(format!(
                    "{entry}: write API=REQUESTS, such as kms:CreateKey=50; the APIs are {names}; requests a second are 0.1 to 1000000"
                ));
            };
            *rate = given;
        }
        Ok(rates)
    }

    fn of(&self, api: &str) -> f64 {
        self.0.get(api).or_else(|| self.0.get(OTHER)).copied().unwrap_or(1.0)
    }
}

/// What AWS counts together.
fn api_of(action: &str) -> &str {
    if matches!(action, "sqs:TagQueue" | "sqs:UntagQueue" | "sqs:ListQueueTags") { "sqs:tags" } else { action }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct LineKey {
    account: String,
    /// Empty where AWS counts an account's Regions together.
    region: String,
    api: String,
}

impl LineKey {
    fn new(place: &Place, action: &str) -> Self {
        let api = api_of(action);
        let region = if api == "sqs:tags" { String::new() } else { place.region.clone() };
        Self { account: place.account.clone(), region, api: api.to_owned() }
    }
}

/// The lines before all APIs.
#[derive(Debug)]
pub struct Quotas {
    rates: Rates,
    lines: Mutex<HashMap<LineKey, Line>>,
    /// Somebody came into a line.
    came: Notify,
    limits: Mutex<BTreeMap<String, CallLimits>>,
}

/// What held calls of one operation up since the start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CallLimits {
    /// Requests that AWS throttled.
    pub throttled: u64,
    /// How long requests waited for the quota before they were sent.
    pub waited: Duration,
}

impl Quotas {
    /// Nobody has called yet.
    pub fn new(rates: Rates) -> Self {
        Self { rates, lines: Mutex::default(), came: Notify::new(), limits: Mutex::default() }
    }

    /// Tells `wake` of each object whose turn it is. Runs until dropped.
    pub async fn call(&self, wake: impl Fn(&Subject)) {
        loop {
            let (mut called, mut pause) = (Vec::new(), LOOK_AGAIN);
            for line in self.lines.lock().unwrap_or_else(PoisonError::into_inner).values_mut() {
                let (theirs, again) = line.call(Instant::now());
                called.extend(theirs);
                pause = pause.min(again.unwrap_or(LOOK_AGAIN));
            }
            called.iter().for_each(&wake);
            // A millisecond more, so that the token is there.
            tokio::select! {
                () = tokio::time::sleep(pause + Duration::from_millis(1)) => {}
                () = self.came.notified() => {}
            }
        }
    }

    /// How many objects wait in all lines.
    pub fn waiting(&self) -> usize {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).values().map(Line::waiting).sum()
    }

    /// What held calls up, by operation.
    pub fn limits(&self) -> BTreeMap<String, CallLimits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, action: &str, change: impl FnOnce(&mut CallLimits)) {
        change(self.limits.lock().unwrap_or_else(PoisonError::into_inner).entry(action.to_owned()).or_default());
    }

    /// A request waited so long.
    fn waited(&self, action: &str, so_long: Duration) {
        self.note(action, |limits| limits.waited += so_long);
    }

    /// Waits for, or takes a place in line for, a call that the current caller makes in a moment; it is then made without another wait.
    pub(super) async fn reserve(&self, place: &Place, operation: &'static str) -> Result<(), AwsError> {
        let Ok(caller) = CALLER.try_with(Caller::clone) else { return Ok(()) };
        loop {
            let turn = self.with_line(place, operation, |line, now| line.reserve(&caller, now));
            let (wait, again) = self.settle(place, operation, turn)?;
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
                self.waited(operation, wait);
            }
            if !again {
                return Ok(());
            }
        }
    }

    /// Fails if the current caller stands in line for a call.
    pub(super) fn stands_in_line(&self, place: &Place, operation: &'static str) -> Result<(), AwsError> {
        let Ok(Caller::Reconcile { subject, tenant }) = CALLER.try_with(Caller::clone) else { return Ok(()) };
        match self.with_line(place, operation, |line, now| line.place(&subject, &tenant, now)) {
            Some(turn) => self.settle(place, operation, turn).map(|_| ()),
            None => Ok(()),
        }
    }

    /// How long the current caller's call must wait, and whether it must ask again then.
    fn ask(&self, place: &Place, action: &str) -> Result<(Duration, bool), AwsError> {
        let caller = CALLER.try_with(Caller::clone).ok();
        self.settle(place, UNNAMED, self.with_line(place, action, |line, now| line.ask(caller.as_ref(), now)))
    }

    fn settle(&self, place: &Place, operation: &'static str, turn: Turn) -> Result<(Duration, bool), AwsError> {
        match turn {
            Turn::Now => Ok((Duration::ZERO, false)),
            Turn::Soon(wait) => Ok((wait, false)),
            Turn::Later(wait) => Ok((wait, true)),
            Turn::InLine { place: number, estimate } => {
                self.came.notify_one();
                Err(awaiting(place, operation, number, estimate))
            }
        }
    }

    /// AWS said that a call came too fast.
    pub(super) fn throttled(&self, place: &Place, action: &str) {
        self.note(action, |limits| limits.throttled += 1);
        self.with_line(place, action, Line::throttled);
    }

    fn with_line<T>(&self, place: &Place, action: &str, change: impl FnOnce(&mut Line, Instant) -> T) -> T {
        let (key, now) = (LineKey::new(place, action), Instant::now());
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = self.rates.of(&key.api);
        change(lines.entry(key).or_insert_with(|| Line::new(rate, now)), now)
    }
}

/// The object stands in line.
fn awaiting(place: &Place, operation: &'static str, number: usize, estimate: Duration) -> AwsError {
    let about = match estimate.as_secs() {
        0..60 => format!("{} s", estimate.as_secs().max(1)),
        seconds => format!("{} min", seconds.div_ceil(60)),
    };
    let message = format!(
        "place {number} in line for account {} in {}, about {about}: AWS admits so many of these calls a second",
        place.account, place.region
    );
    AwsError { wait: Some(estimate), ..AwsError::new(operation, Kind::AwaitingQuota, "AwaitingQuota", message) }
}

/// Shared by everything that calls.
pub(super) type SharedQuotas = Arc<Quotas>;
