//! A recording proxy between the operator and the AWS emulator.
//!
//! It records every call, injects delays, errors, lost connections and pauses, and enforces what AWS does and the emulator does not ([`Strictness`]).
//! All clients point at it with `AWS_ENDPOINT_URL`.
//!
//! Other processes drive it over HTTP: `GET /_proxy/ledger[?since=SEQ]`, `GET /_proxy/counts`, and `POST` of JSON to `/_proxy/inject` (a [`Rule`]),
//! `caller` (`access_key`, `role_arn`), `principals` (`add`, `remove`), `delay` (`milliseconds`), `quotas` (`scale`), `strictness` (a whole
//! [`Strictness`], durations in milliseconds) and `clear`; `DELETE /_proxy/inject` disarms.

mod answer;
mod cbor;
mod classify;
mod control;
mod eks;
pub(crate) mod inject;
mod ledger;
mod quota;
mod server;
mod strict;
mod trail_history;
mod upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Uri;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) use classify::WITH_WEB_IDENTITY;
pub use classify::{Kind, Request, xml_text};
pub use inject::{Effect, Matcher, Matching, Moment, PausePoint, Rule};
pub use ledger::{Call, Mark, Outcome};
pub use strict::Strictness;

use inject::Injector;
use ledger::Ledger;
use quota::Quotas;
use server::Shared;
use strict::Strict;
use upstream::Upstream;

/// A running proxy; it stops when dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    endpoint: String,
    server: JoinHandle<std::convert::Infallible>,
}

/// Sees the calls, and keeps the ledger alive.
#[derive(Clone)]
pub struct Reader(Arc<Shared>);

impl Reader {
    /// The calls of an operation that ended so far.
    pub fn calls_of(&self, operation: &str) -> Vec<Call> {
        self.0.ledger.since(Mark::default()).into_iter().filter(|call| call.is(operation)).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.injector.clear();
        self.server.abort();
    }
}

impl Proxy {
    /// Starts on a free port of 127.0.0.1, before the emulator at `upstream`.
    pub async fn start(upstream: Uri) -> io::Result<Self> {
        Self::start_on(0, upstream).await
    }

    /// Starts on this port of 127.0.0.1; 0 takes a free one.
    pub async fn start_on(port: u16, upstream: Uri) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, port).into(), upstream).await
    }

    /// Starts at this address of the machine.
    pub async fn start_at(address: SocketAddr, upstream: Uri) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            upstream: Upstream::new(&upstream)?,
            ledger: Ledger::default(),
            injector: Injector::default(),
            quotas: Quotas::default(),
            strict: Strict::default(),
            eks: eks::Eks::default(),
            trail_history: trail_history::TrailHistory::default(),
            delay_micros: AtomicU64::new(0),
            started: Instant::now(),
        });
        let server = tokio::spawn(crate::http::serve(listener, Arc::clone(&shared), server::answer));
        Ok(Self { shared, endpoint, server })
    }

    /// The URL for `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// All calls that ended, in order of arrival.
    pub fn ledger(&self) -> Vec<Call> {
        self.calls_since(Mark::default())
    }

    /// The calls that arrived after the mark and ended.
    pub fn calls_since(&self, mark: Mark) -> Vec<Call> {
        self.shared.ledger.since(mark)
    }

    /// When a call last arrived or ended.
    pub fn last_call(&self) -> Instant {
        self.shared.ledger.last().unwrap_or(self.shared.started)
    }

    /// A view of the calls for a question that is asked of each arriving call ([`Matcher::such_that`]).
    pub fn reader(&self) -> Reader {
        Reader(Arc::clone(&self.shared))
    }

    /// The present place in the ledger.
    pub fn mark(&self) -> Mark {
        self.shared.ledger.mark()
    }

    /// Time since the proxy's start, as [`Call::started`] counts it.
    pub fn elapsed(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// Forgets the calls so far; numbering goes on.
    pub fn clear(&self) {
        self.shared.ledger.clear();
    }

    /// Appends every call that ends from now on to this file, one JSON object a line.
    pub fn write_ledger_to(&self, path: &Path) -> io::Result<()> {
        self.shared.ledger.write_to(path)
    }

    /// Calls that would change configuration, whatever became of them.
    pub fn writes(&self) -> Vec<Call> {
        self.writes_since(Mark::default())
    }

    /// The same, after the mark.
    pub fn writes_since(&self, mark: Mark) -> Vec<Call> {
        self.calls_since(mark).into_iter().filter(|call| call.kind == Kind::Write).collect()
    }

    /// Calls of one operation.
    pub fn calls_of(&self, operation: &str) -> Vec<Call> {
        self.ledger().into_iter().filter(|call| call.is(operation)).collect()
    }

    /// How many calls of one operation.
    pub fn count(&self, operation: &str) -> usize {
        self.count_since(Mark::default(), operation)
    }

    /// How many calls of one operation after the mark.
    pub fn count_since(&self, mark: Mark, operation: &str) -> usize {
        self.shared.ledger.count_since(mark, |call| call.is(operation))
    }

    /// Forgets what calls ask and are answered, so that many may come.
    pub fn forget_bodies(&self) {
        self.shared.ledger.forget_bodies();
    }

    /// How many calls of one operation the emulator carried out.
    pub fn effects(&self, operation: &str) -> usize {
        self.shared.ledger.count_since(Mark::default(), |call| call.took_effect && call.is(operation))
    }

    /// Arms a fault.
    pub fn inject(&self, rule: Rule) {
        self.shared.injector.arm(rule);
    }

    /// Holds the first matching call at that moment.
    #[must_use = "dropping the pause point lets the call go on"]
    pub fn pause_at(&self, matching: Matcher, when: Moment) -> PausePoint {
        self.shared.injector.pause(matching, when, false)
    }

    /// Holds every matching call at that moment, until the pause point is released, lost or dropped.
    #[must_use = "dropping the pause point lets the calls go on"]
    pub fn pause_all_at(&self, matching: Matcher, when: Moment) -> PausePoint {
        self.shared.injector.pause(matching, when, true)
    }

    /// Disarms all faults and releases all pauses.
    pub fn clear_injections(&self) {
        self.shared.injector.clear();
    }

    /// Delays every call by so much, before it is sent.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.delay_micros.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Enforces AWS's request rates times `scale`; `None` (the default) enforces none.
    pub fn set_quotas(&self, scale: Option<f64>) {
        self.shared.quotas.set(scale);
    }

    /// What is enforced now.
    pub fn strictness(&self) -> Strictness {
        self.shared.strict.strictness()
    }

    /// Changes what is enforced.
    pub fn set_strictness(&self, strictness: Strictness) {
        self.shared.strict.set_strictness(strictness);
    }

    /// Says which role an access key stands for, for the lock-out check; the role exists from then on.
    pub fn caller_is(&self, access_key: &str, role_arn: &str) {
        self.shared.strict.caller_is(access_key, role_arn);
    }

    /// Makes an IAM principal exist, with a unique id of its own.
    pub fn add_principal(&self, arn: &str) {
        self.shared.strict.add_principal(arn);
    }

    /// Makes an EKS cluster of this name be known.
    pub fn add_cluster(&self, cluster: &str) {
        self.shared.eks.add_cluster(cluster);
    }

    /// Gives a ServiceAccount a role by a Pod Identity association, which may go on to a target role.
    pub fn associate(&self, cluster: &str, namespace: &str, account: &str, role: &str, target: Option<&str>) {
        self.shared.eks.associate(cluster, namespace, account, role, target);
    }

    /// Ends a Pod Identity association.
    pub fn dissociate(&self, cluster: &str, namespace: &str, account: &str) {
        self.shared.eks.dissociate(cluster, namespace, account);
    }

    /// Has CloudTrail's event history hold a record, of this second since 1970.
    pub fn add_trail_record(&self, account: &str, region: &str, second: i64, record: serde_json::Value) {
        self.shared.trail_history.add(account, region, second, record);
    }

    /// Deletes an IAM principal: stored policies show its unique id, also when it is made again.
    pub fn remove_principal(&self, arn: &str) {
        self.shared.strict.remove_principal(arn);
    }
}
