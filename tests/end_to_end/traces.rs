//! What an OpenTelemetry collector is told, and an operator whose collector does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use serde_json::json;
use test_support::http::serve;
use test_support::proxy::Call;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::life::{apply_examples, platform};
use crate::rights::secrets_of;
use crate::starts::{has_ended, terminate};
use crate::world::{SECRET_ACCESS_KEY, World};

/// A collector that keeps what it is sent.
struct Collector {
    endpoint: String,
    requests: Arc<Mutex<Vec<Sent>>>,
    server: JoinHandle<Infallible>,
}

#[derive(Debug)]
struct Sent {
    path: String,
    content_type: String,
    body: Bytes,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Collector {
    async fn start() -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn listen(listener: TcpListener) -> Self {
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::default();
        let server = tokio::spawn(serve(listener, Arc::clone(&requests), keep));
        Self { endpoint, requests, server }
    }

    /// Attributes of what is traced, and all spans.
    fn told(&self) -> (BTreeMap<String, String>, Vec<Told>) {
        let (mut resource, mut spans) = (BTreeMap::new(), Vec::new());
        for request in &*self.requests.lock().unwrap() {
            assert_eq!((&*request.path, &*request.content_type), ("/v1/traces", "application/x-protobuf"));
            for of_resource in ExportTraceServiceRequest::decode(&*request.body).unwrap().resource_spans {
                resource = texts(&of_resource.resource.unwrap().attributes);
                spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans).map(Told::new));
            }
        }
        (resource, spans)
    }
}

async fn keep(requests: Arc<Mutex<Vec<Sent>>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let content_type = request.headers()["content-type"].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    requests.lock().unwrap().push(Sent { path, content_type, body });
    Ok(Response::new(Full::default()))
}

/// A span as it was told.
#[derive(Debug)]
struct Told {
    name: String,
    kind: SpanKind,
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    during: (u64, u64),
    failed: bool,
    attributes: BTreeMap<String, String>,
}

impl Told {
    fn new(span: opentelemetry_proto::tonic::trace::v1::Span) -> Self {
        Self {
            kind: span.kind(),
            name: span.name,
            trace: span.trace_id,
            id: span.span_id,
            parent: span.parent_span_id,
            during: (span.start_time_unix_nano, span.end_time_unix_nano),
            failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
            attributes: texts(&span.attributes),
        }
    }

    fn says(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}

/// Ends the operator as its pod is ended, and tells how long that took.
async fn end(world: &World) -> Duration {
    let (process, asked) = (world.operator_process(), Instant::now());
    terminate(process);
    world.until("it has ended", async || has_ended(process)).await;
    asked.elapsed()
}

/// What a call to AWS did and where, for all of which a span has to be told.
fn assert_is_told(call: &Call, span: &Told, passes: &BTreeMap<&[u8], &Told>) {
    let expected = [
        ("rpc.system", "aws-api"),
        ("rpc.method", &call.operation),
        ("cloud.region", &call.region),
        ("cloud.account.id", &call.account),
        ("http.response.status_code", &call.status.to_string()),
    ];
    for (attribute, value) in expected {
        assert_eq!(span.says(attribute), value, "{attribute} of {span:?} for {call:?}");
    }
    assert_eq!(span.name, format!("{}.{}", span.says("rpc.service"), call.operation));
    assert_eq!((span.kind, span.failed), (SpanKind::Client, call.error.is_some()), "{span:?}");
    assert_eq!(span.attributes.contains_key("error.type"), call.error.is_some(), "{span:?}");
    let pass = passes[&*span.parent];
    assert_eq!(pass.trace, span.trace);
    assert!(pass.during.0 <= span.during.0 && span.during.0 < span.during.1 && span.during.1 <= pass.during.1, "{span:?} in {pass:?}");
}

#[tokio::test]
async fn passes_and_their_calls_are_told_and_no_secret() {
    let collector = Collector::start().await;
    let mut world = World::new().await;
    platform(&world).await;
    // At this level the log has each call; traces hold as much when it is silent.
    world.log_filter = "error";
    let mark = world.proxy.mark();
    world.start_operator(&["--otlp-endpoint", &collector.endpoint]);
    // One tenant by the operator's own credentials, one by an assumed role.
    apply_examples(&world, &["queue-orders", "queue-ledger"]).await;
    world.until_ready("acme-prod", "orders").await;
    world.until_ready("globex-prod", "ledger").await;
    world.until("something was sent", async || !collector.requests.lock().unwrap().is_empty()).await;
    // These passes end just before the process does.
    world.change_queue("acme-prod", "orders", json!({"spec": {"queue": {"visibilityTimeoutSeconds": 77}}})).await;
    let changed = async || world.proxy.writes_since(mark).iter().any(|call| call.operation == "SetQueueAttributes" && call.account == "123456789012");
    world.until("the change is made", changed).await;
    let sent_before = collector.requests.lock().unwrap().len();
    end(&world).await;
    assert!(collector.requests.lock().unwrap().len() > sent_before, "the last spans are sent at the end");

    let (resource, spans) = collector.told();
    assert_eq!(resource["service.name"], "encrypted-queue-operator");
    let passes: BTreeMap<_, _> = spans.iter().filter(|span| span.name == "reconcile").map(|span| (&*span.id, span)).collect();
    assert!(passes.values().all(|pass| pass.parent.is_empty() && pass.kind == SpanKind::Internal && !pass.says("reconcile.result").is_empty()));
    let of_orders = |pass: &&&Told| pass.says("k8s.namespace.name") == "acme-prod" && pass.says("k8s.object.name") == "orders";
    assert!(passes.values().filter(of_orders).all(|pass| pass.says("k8s.object.kind") == "EncryptedQueue"));
    assert!(passes.values().filter(of_orders).any(|pass| pass.says("reconcile.result") == "complete"));
    let kinds: BTreeSet<_> = passes.values().map(|pass| pass.says("k8s.object.kind")).collect();
    assert!(["EncryptedQueue", "QueueKey", "SensitivityTier", "Tenant"].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");

    let calls: BTreeMap<_, _> = spans.iter().filter(|span| span.name != "reconcile").map(|span| (span.says("aws.request_id"), span)).collect();
    let writes = world.proxy.writes_since(mark);
    assert!(writes.iter().any(|call| call.operation == "CreateKey") && writes.len() > 8);
    for call in &writes {
        assert_is_told(call, calls[&**call.request_id.as_ref().unwrap()], &passes);
    }
    assert!(calls.values().all(|call| passes.contains_key(&*call.parent)), "each belongs to a pass");
    assert!(spans.iter().any(|span| span.failed && span.says("error.type").contains("NonExistentQueue")), "a queue was looked for");
    assert_holds_no_secret(&world, &collector);
}

fn assert_holds_no_secret(world: &World, collector: &Collector) {
    let mut secrets = vec![SECRET_ACCESS_KEY.to_owned(), world.operator_token()];
    let assumed = world.proxy.calls_of("AssumeRole").into_iter().filter(|call| call.access_key == "operator");
    assumed.for_each(|call| secrets.extend(secrets_of(&call)));
    assert!(secrets.len() >= 4 && secrets.iter().all(|secret| secret.len() >= 16), "{secrets:?}");
    // Neither is a policy: which principals have access is for the cluster's readers alone.
    secrets.push("\"Statement\"".to_owned());
    for request in &*collector.requests.lock().unwrap() {
        let holds = |secret: &String| request.body.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!secrets.iter().any(holds), "{}", String::from_utf8_lossy(&request.body));
    }
}

#[tokio::test]
async fn a_collector_that_does_not_answer_holds_nobody_up() {
    // Connections are made, and nothing is said.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut world = World::new().await;
    platform(&world).await;
    world.start_operator(&["--otlp-endpoint", &format!("http://{}", mute.local_addr().unwrap())]);
    apply_examples(&world, &["queue-orders"]).await;
    world.until_ready("acme-prod", "orders").await;
    let told = || world.operator_log().matches("traces cannot be sent").count();
    world.until("it is told", async || told() > 0).await;
    // A batch is on its way when the process is to end, and others wait.
    for seconds in [77, 78] {
        let mark = world.proxy.mark();
        world.change_queue("acme-prod", "orders", json!({"spec": {"queue": {"visibilityTimeoutSeconds": seconds}}})).await;
        world.until("the change is made", async || !world.proxy.writes_since(mark).is_empty()).await;
        tokio::time::sleep(Duration::from_secs(6)).await;
    }
    let took = end(&world).await;
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!(told(), 1, "{}", world.operator_log());
}

#[tokio::test]
async fn a_collector_that_comes_later_is_told_what_happens_then() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut world = World::new().await;
    platform(&world).await;
    world.start_operator(&["--otlp-endpoint", &format!("http://{address}")]);
    let logged = |text: &str| world.operator_log().matches(text).count();
    world.until("it is told", async || logged("traces cannot be sent") > 0).await;
    assert!(logged("Connection refused") == 1 && logged("traces are sent again") == 0, "{}", world.operator_log());
    let collector = Collector::listen(TcpListener::bind(address).await.unwrap());
    apply_examples(&world, &["queue-orders"]).await;
    world.until_ready("acme-prod", "orders").await;
    world.until("that is over", async || logged("traces are sent again") > 0).await;
    assert_eq!((logged("traces cannot be sent"), logged("traces are sent again")), (1, 1));
    assert!(collector.told().1.iter().any(|span| span.name == "reconcile"));
}

#[tokio::test]
async fn what_is_no_url_of_a_collector_is_refused_at_the_start() {
    for (url, because) in [("collector:4317", "write the URL"), ("https://maria:open-sesame@collector", "OTEL_EXPORTER_OTLP_HEADERS")] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_encrypted-queue"));
        let refused = command.args(["run", "--otlp-endpoint", url]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("--otlp-endpoint: ") && said.contains(because) && !said.contains("sesame"), "{said}");
    }
}
