//! What is traced: each pass over an object, and under it each call to AWS that it makes. Where nothing is traced, nothing is recorded.
//!
//! Spans are made of what is known here, not of what is logged: no filter of the log silences them, and they add nothing to it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::{Span, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::SdkTracer;

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// From here on, spans are recorded.
pub(super) fn record_with(tracer: SdkTracer) {
    // The first counts: a process begins once.
    TRACER.set(tracer).ok();
}

/// A pass over an object, as long as this lives.
#[derive(Debug)]
pub struct Pass(Option<Context>);

impl Pass {
    /// Begins; `name` is `NAMESPACE/NAME`, or the name of an object that has no namespace.
    pub fn begin(kind: &'static str, name: impl FnOnce() -> String) -> Self {
        Self(TRACER.get().map(|tracer| {
            let name = name();
            let (namespace, name) = name.split_once('/').map_or((None, &*name), |(namespace, name)| (Some(namespace), name));
            let mut attributes = vec![KeyValue::new("k8s.object.kind", kind), KeyValue::new("k8s.object.name", name.to_owned())];
            attributes.extend(namespace.map(|namespace| KeyValue::new("k8s.namespace.name", namespace.to_owned())));
            let span = SpanBuilder::from_name("reconcile").with_kind(SpanKind::Internal).with_attributes(attributes);
            let none = Context::new();
            none.with_span(tracer.build_with_context(span, &none))
        }))
    }

    /// What is done meanwhile belongs to the pass.
    pub async fn over<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|task| {
            let _current = self.0.clone().map(Context::attach);
            work.as_mut().poll(task)
        })
        .await
    }

    /// Ends with a result, and why it failed.
    pub fn end(self, result: &'static str, error: Option<(&'static str, &str)>) {
        let Some(context) = self.0 else { return };
        let span = context.span();
        span.set_attribute(KeyValue::new("reconcile.result", result));
        if let Some((reason, message)) = error {
            span.set_attribute(KeyValue::new("error.type", reason));
            span.set_status(Status::error(message.to_owned()));
        }
        span.end();
    }
}

/// A call to AWS that has ended.
pub(crate) struct AwsCall<'a> {
    pub(crate) service: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) account: &'a str,
    pub(crate) region: &'a str,
    pub(crate) duration: Duration,
    pub(crate) status: Option<u16>,
    pub(crate) request_id: Option<&'a str>,
    /// Its code, if it failed.
    pub(crate) error: Option<String>,
}

/// Whether the calls that are made now belong to a pass that is traced.
pub(crate) fn in_pass() -> bool {
    TRACER.get().is_some() && Context::map_current(TraceContextExt::has_active_span)
}

/// Records a call as part of the current pass, of which [`in_pass`] says whether there is one.
pub(crate) fn aws_call(call: AwsCall<'_>) {
    let Some(tracer) = TRACER.get() else { return };
    let now = opentelemetry::time::now();
    let AwsCall { service, operation, account, region, duration, status, request_id, error } = call;
    let mut attributes = vec![
        KeyValue::new("rpc.system", "aws-api"),
        KeyValue::new("rpc.service", service.to_owned()),
        KeyValue::new("rpc.method", operation.to_owned()),
        KeyValue::new("cloud.region", region.to_owned()),
    ];
    if !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit()) {
        attributes.push(KeyValue::new("cloud.account.id", account.to_owned()));
    }
    attributes.extend(request_id.map(|id| KeyValue::new("aws.request_id", id.to_owned())));
    attributes.extend(status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
    attributes.extend(error.clone().map(|code| KeyValue::new("error.type", code)));
    let span = SpanBuilder::from_name(format!("{service}.{operation}"))
        .with_kind(SpanKind::Client)
        .with_start_time(now.checked_sub(duration).unwrap_or(now))
        .with_attributes(attributes);
    let mut span = tracer.build_with_context(span, &Context::current());
    span.set_status(error.map_or(Status::Unset, Status::error));
    span.end_with_timestamp(now);
}
