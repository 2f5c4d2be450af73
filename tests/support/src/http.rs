//! The few plain HTTP requests that fixtures make. A client for each request, because a pooled connection belongs to the runtime of one test.

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

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
