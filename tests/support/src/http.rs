//! The few plain HTTP requests that fixtures make (a client for each, because a pooled connection belongs to the runtime of one test), and the server of both
//! proxies.

use std::convert::Infallible;
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Error;

/// The body of a successful answer.
pub async fn request(method: Method, address: &str) -> Result<Bytes, Error> {
    let name = format!("{method} {address}");
    let failed = |reason: String| Error::Http { request: name.clone(), reason };
    let request = Request::builder().method(method).uri(address).body(Empty::<Bytes>::new()).map_err(|error| failed(error.to_string()))?;
    let response = Client::builder(TokioExecutor::new()).build_http().request(request).await.map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| failed(error.to_string()))?.to_bytes();
    if status.is_success() { Ok(body) } else { Err(failed(format!("{status}: {}", String::from_utf8_lossy(&body)))) }
}

/// Accepts until it is aborted; connections end with it.
pub async fn serve<S, F, B, E>(listener: TcpListener, shared: Arc<S>, answer: fn(Arc<S>, Request<Incoming>) -> F) -> Infallible
where
    S: Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, E>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn StdError + Send + Sync>>> + Send + 'static,
    E: Into<Box<dyn StdError + Send + Sync>> + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        stream.set_nodelay(true).ok();
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
        });
    }
}
