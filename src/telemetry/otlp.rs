//! Sends traces to an OpenTelemetry collector: OTLP as protobuf over HTTP, through the TLS that everything here speaks. A collector that does not answer holds
//! nobody up: spans are dropped, and it is told once.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Uri;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, SdkProvidedResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;

use super::traces;

/// What traces are of, unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` say.
const SERVICE: &str = "encrypted-queue-operator";
/// For a batch to be sent and answered.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// At the end of the process, for what is left.
const FLUSH_WITHIN: Duration = Duration::from_millis(1500);
/// Of an answer, which says at most how many spans were refused and why.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Where a collector listens; none: no traces.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Endpoint(Option<Uri>);

impl Endpoint {
    /// Reads a URL, to which the collector's path for traces is added. An empty one means none, as in all variables of OpenTelemetry.
    pub fn parse(text: &str) -> Result<Self, TracesError> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        // What was written is not repeated: it may hold what it should not.
        let expected = || TracesError::Endpoint("write the URL of an OpenTelemetry collector's HTTP port, as http://collector.monitoring:4318");
        let base: Uri = text.parse().map_err(|_| expected())?;
        let host = base.authority().is_some_and(|authority| !authority.host().is_empty());
        if !host || !matches!(base.scheme_str(), Some("http" | "https")) || base.query().is_some() || text.contains('#') {
            return Err(expected());
        }
        if base.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(TracesError::Endpoint("credentials do not belong into the URL; OTEL_EXPORTER_OTLP_HEADERS takes them"));
        }
        format!("{}/v1/traces", text.trim_end_matches('/')).parse().map(|uri| Self(Some(uri))).map_err(|_| expected())
    }
}

/// Why no traces can be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The URL is of no use.
    #[error("--otlp-endpoint: {0}")]
    Endpoint(&'static str),
    /// What this machine trusts cannot be read.
    #[error("--otlp-endpoint: {0}")]
    Roots(#[from] io::Error),
    /// A variable says what cannot be.
    #[error("--otlp-endpoint: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Traces that are sent.
pub struct Traces(Option<SdkTracerProvider>);

/// Sends traces from here on, if there is somewhere to send them to; connections live in the runtime.
pub fn init(endpoint: &Endpoint, runtime: &Handle) -> Result<Traces, TracesError> {
    let Some(uri) = &endpoint.0 else { return Ok(Traces(None)) };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Sender::new(runtime.clone())?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(uri.to_string())
        .build()?;
    let provider = SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
    traces::record_with(provider.tracer(SERVICE));
    tracing::info!(endpoint = %uri, "traces are sent");
    Ok(Traces(Some(provider)))
}

/// What is traced, as the environment names it.
fn resource() -> Resource {
    let defaults = [KeyValue::new("service.name", SERVICE), KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let builder = Resource::builder_empty().with_attributes(defaults).with_detector(Box::new(EnvResourceDetector::new()));
    // It knows the variable of the name, and where there is none a name of its own.
    let named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty());
    if named { builder.with_detector(Box::new(SdkProvidedResourceDetector)).build() } else { builder.build() }
}

impl Traces {
    /// Sends what is left, for a moment.
    pub fn end(self) {
        // What failed was told when it did.
        self.0.map(|provider| provider.shutdown_with_timeout(FLUSH_WITHIN).ok());
    }
}

type Connections = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Requests to the collector. They are made by a thread of the SDK's, and carried out in the runtime.
struct Sender {
    runtime: Handle,
    client: Connections,
    failing: Arc<AtomicBool>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sender")
    }
}

impl Sender {
    fn new(runtime: Handle) -> io::Result<Self> {
        let provider = rustls::crypto::ring::default_provider();
        let connector = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider)?.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { runtime, client, failing: Arc::default() })
    }
}

impl HttpClient for Sender {
    fn send_bytes<'s, 'f>(&'s self, mut request: Request<Bytes>) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        // A header may be what the collector knows its callers by.
        request.headers_mut().values_mut().for_each(|value| value.set_sensitive(true));
        let (client, failing) = (self.client.clone(), self.failing.clone());
        let sending = self.runtime.spawn(async move {
            let sent = tokio::time::timeout(SEND_WITHIN, send(client, request)).await;
            let answer = sent.unwrap_or_else(|_| Err(format!("no answer within {SEND_WITHIN:?}").into()));
            tell(&failing, &answer);
            answer
        });
        Box::pin(async move { sending.await? })
    }
}

async fn send(client: Connections, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
    let body = Limited::new(body, LONGEST_ANSWER).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}

/// Logs when sending begins to fail, and when it succeeds again.
fn tell(failing: &AtomicBool, answer: &Result<Response<Bytes>, HttpError>) {
    let error = match answer {
        Ok(response) if response.status().is_success() => None,
        Ok(response) => Some(format!("the answer is {}", response.status())),
        Err(error) => Some(whole(&**error)),
    };
    let failed_before = failing.swap(error.is_some(), Ordering::Relaxed);
    match error {
        Some(error) if !failed_before => tracing::warn!(error, "traces cannot be sent, and are dropped until they can"),
        None if failed_before => tracing::info!("traces are sent again"),
        _ => {}
    }
}

/// With its causes, which an error of hyper's does not tell.
fn whole(error: &(dyn StdError + Send + Sync + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| StdError::source(*cause));
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn endpoints() {
        let uri = |text: &str| Endpoint::parse(text).unwrap().0.map(|uri| uri.to_string());
        assert_eq!(uri(""), None);
        assert_eq!(uri("http://127.0.0.1:4318").unwrap(), "http://127.0.0.1:4318/v1/traces");
        assert_eq!(uri("https://otlp.example.com/tenants/a/").unwrap(), "https://otlp.example.com/tenants/a/v1/traces");
        for bad in ["collector:4318", "collector", "grpc://collector:4317", "http://", "http://a b", "http://c/?x=y", "http://c/#x", "/v1/traces"] {
            assert!(Endpoint::parse(bad).unwrap_err().to_string().contains("http://collector"), "{bad}");
        }
        let refused = Endpoint::parse("https://user:secret-word@collector:4318").unwrap_err().to_string();
        assert!(refused.contains("OTEL_EXPORTER_OTLP_HEADERS") && !refused.contains("secret-word"), "{refused}");
    }
}
