//! A recording proxy between the operator and the API server: plain HTTP on 127.0.0.1, TLS and the bearer token behind it.
//!
//! It numbers every request, records every write, and can fail, lose or hold any of them with the words of the AWS proxy: [`Rule`], [`Moment`],
//! [`PausePoint`]. Watches stream through; their events can be delayed or dropped ([`EventRule`]), and lists answered as they were before.

mod call;
mod server;
mod watches;

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use call::{Call, KubernetesMatcher};
pub use watches::{EventEffect, EventRule};

use crate::proxy::{Moment, PausePoint, Rule};
use server::Shared;

/// A running proxy; it stops when dropped.
pub struct KubernetesProxy {
    shared: Arc<Shared>,
    url: String,
    server: JoinHandle<std::convert::Infallible>,
}

impl Drop for KubernetesProxy {
    fn drop(&mut self) {
        self.shared.injector.clear();
        self.server.abort();
    }
}

impl KubernetesProxy {
    /// Starts before the API server that `upstream` is a client of, with that client's rights.
    pub async fn start(upstream: kube::Client) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::new(upstream));
        let server = tokio::spawn(crate::http::serve(listener, Arc::clone(&shared), server::answer));
        Ok(Self { shared, url, server })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A kubeconfig that leads here, as text.
    pub fn kubeconfig(&self) -> String {
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        });
        format!("{config:#}\n")
    }

    /// All writes that ended, in order of arrival.
    pub fn writes(&self) -> Vec<Call> {
        self.writes_since(0)
    }

    /// The writes that arrived after this number and ended.
    pub fn writes_since(&self, seq: u64) -> Vec<Call> {
        self.shared.writes_since(seq)
    }

    /// The number of the last request that arrived.
    pub fn mark(&self) -> u64 {
        self.shared.mark()
    }

    /// Time since the proxy's start, as [`Call::started`] counts it.
    pub fn elapsed(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// When the last write arrived or ended.
    pub fn last_write(&self) -> Instant {
        self.shared.last_write()
    }

    /// Arms a fault. An [`Effect::Error`](crate::proxy::Effect::Error)'s code is the Status's reason.
    pub fn inject(&self, rule: Rule<KubernetesMatcher>) {
        self.shared.injector.arm(rule);
    }

    /// Holds the first matching request at that moment.
    #[must_use = "dropping the pause point lets the request go on"]
    pub fn pause_at(&self, matching: KubernetesMatcher, when: Moment) -> PausePoint {
        self.shared.injector.pause(matching, when, false)
    }

    /// Holds every matching request at that moment, until the pause point is released, lost or dropped.
    #[must_use = "dropping the pause point lets the requests go on"]
    pub fn pause_all_at(&self, matching: KubernetesMatcher, when: Moment) -> PausePoint {
        self.shared.injector.pause(matching, when, true)
    }

    /// Disarms everything and releases all pauses.
    pub fn clear_injections(&self) {
        self.shared.injector.clear();
        self.shared.watches.clear();
    }

    /// Delays or drops watch events.
    pub fn meet_events(&self, rule: EventRule) {
        self.shared.watches.arm(rule);
    }

    /// Ends all watches at once, as a lost connection does: clients watch again from what they saw last.
    pub fn break_watches(&self) {
        self.shared.watches.broken.notify_waiters();
    }

    /// What every list that was asked for before would answer now, for [`KubernetesProxy::answer_lists_from`].
    pub async fn snapshot(&self) -> io::Result<Snapshot> {
        let mut answers = HashMap::new();
        for path in self.shared.watches.paths() {
            let answer = self.shared.get(&path).await.map_err(io::Error::other)?;
            answers.insert(path, answer);
        }
        Ok(Snapshot(answers))
    }

    /// Answers so many lists of a resource (`None`: any) as they were then. A client watches on from there, so it learns the rest by events.
    pub fn answer_lists_from(&self, snapshot: Snapshot, resource: Option<&str>, times: u64) {
        self.shared.watches.answer_as_before(resource, times, snapshot.0);
    }
}

/// Lists as they were at some time.
#[derive(Clone, Debug)]
pub struct Snapshot(HashMap<String, hyper::body::Bytes>);
