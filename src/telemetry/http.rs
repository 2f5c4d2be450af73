//! `/metrics`, `/healthz` and `/readyz`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::FutureExt;
use thiserror::Error;
use tokio::net::TcpListener;

use super::metrics::Metrics;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// For answers under way when the server is told to end.
const GRACE: Duration = Duration::from_secs(2);

/// Whether this process can do its part. It starts as not ready; clones share it.
///
/// A process is ready when its caches are filled, whether it leads or stands by: a standby that were not ready would hold up every rollout, since it
/// leads only once the old leader has gone. It is alive as long as it answers at all, that is, while its event loop turns.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<AtomicBool>);

impl Health {
    /// What `/readyz` answers from here on.
    pub fn set_ready(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The address cannot be listened on.
#[derive(Debug, Error)]
#[error("--http-address {address}: {source}")]
pub struct BindError {
    address: SocketAddr,
    source: io::Error,
}

/// A server that listens; it answers while [`Server::run`] runs.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens; port 0 is any free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            Ok(Self { address: listener.local_addr()?, listener })
        };
        bound.await.map_err(|source| BindError { address, source })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` resolves, then completes the answers under way, for two seconds at most.
    pub async fn run(self, metrics: Metrics, health: Health, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let shutdown = shutdown.shared();
        let routes = Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(ready).with_state(health))
            .route("/metrics", get(encoded).with_state(metrics));
        let serve = axum::serve(self.listener, routes).with_graceful_shutdown(shutdown.clone());
        tokio::select! {
            ended = serve.into_future() => ended,
            () = async { shutdown.await; tokio::time::sleep(GRACE).await } => Ok(()),
        }
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.is_ready() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting or stopping\n") }
}

async fn encoded(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;
    use crate::aws::CallCounts;

    struct Running {
        address: SocketAddr,
        health: Health,
        stop: oneshot::Sender<()>,
        task: JoinHandle<io::Result<()>>,
    }

    async fn running() -> Running {
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let (address, health) = (server.address(), Health::default());
        let (stop, stopped) = oneshot::channel();
        let metrics = Metrics::new(Arc::new(CallCounts::default()));
        let task = tokio::spawn(server.run(metrics, health.clone(), async { stopped.await.unwrap() }));
        Running { address, health, stop, task }
    }

    /// The whole answer.
    async fn request(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn readiness_follows_and_liveness_does_not() {
        let Running { address, health, stop: _stop, .. } = running().await;
        assert_ne!(address.port(), 0);
        for (ready, status) in [(false, "503"), (true, "200"), (false, "503")] {
            health.set_ready(ready);
            assert!(request(address, "GET /readyz").await.starts_with(&format!("HTTP/1.1 {status} ")));
            assert!(request(address, "GET /healthz").await.starts_with("HTTP/1.1 200 "));
        }
    }

    #[tokio::test]
    async fn metrics_are_served_as_open_metrics() {
        let Running { address, stop: _stop, .. } = running().await;
        let answer = request(address, "GET /metrics").await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("content-type: {OPEN_METRICS}")), "{head}");
        assert!(body.contains("\nencrypted_queue_leader 0\n") && body.ends_with("# EOF\n"), "{body}");
        assert!(request(address, "GET /").await.starts_with("HTTP/1.1 404 "));
        assert!(request(address, "POST /metrics").await.starts_with("HTTP/1.1 405 "));
    }

    #[tokio::test]
    async fn it_ends_when_told_even_if_a_client_dawdles() {
        let Running { address, stop, task, .. } = running().await;
        let mut dawdling = TcpStream::connect(address).await.unwrap();
        dawdling.write_all(b"GET /metrics HTTP/1.1\r\nHost").await.unwrap();
        assert!(request(address, "GET /healthz").await.starts_with("HTTP/1.1 200 "));
        stop.send(()).unwrap();
        timeout(GRACE * 2, task).await.expect("ends").unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_taken_address_is_told_with_the_flag() {
        let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = Server::bind(first.address()).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("--http-address {}: Address already in use", first.address())), "{error}");
    }
}
