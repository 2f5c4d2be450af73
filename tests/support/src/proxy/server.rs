//! The way of a call: arrive, pause, delay, inject, refuse, forward, correct, record.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use serde_json::Value;

use super::answer::Answer;
use super::cbor;
use super::classify::Request;
use super::control;
use super::eks::Eks;
use super::inject::{Effect, Injector, Matcher, Moment, Trigger, Way};
use super::ledger::{Call, Ledger, Outcome};
use super::quota::Quotas;
use super::strict::Strict;
use super::trail_history::TrailHistory;
use super::upstream::Upstream;

/// What all connections share.
pub(super) struct Shared {
    pub upstream: Upstream,
    pub ledger: Ledger,
    pub injector: Injector<Matcher>,
    pub quotas: Quotas,
    pub strict: Strict,
    pub eks: Eks,
    pub trail_history: TrailHistory,
    pub delay_micros: AtomicU64,
    pub started: Instant,
}

/// How a call ends for the caller.
enum End {
    Answer(Answer),
    Dropped,
    Silence,
}

pub(super) async fn answer(shared: Arc<Shared>, request: hyper::Request<Incoming>) -> io::Result<hyper::Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    if let Some(command) = path.strip_prefix("/_proxy/") {
        return Ok(response(control::answer(&shared, &head.method, command, &body)));
    }
    let translated = cbor::as_json(&path, &head.headers, &body);
    let in_cbor = translated.is_some();
    let (path, headers, body) = translated.unwrap_or((path, head.headers, body));
    let request = Request::parse(head.method, path, headers, body);
    // A task of its own: a caller that dies while its call is under way does not undo it.
    let end = tokio::spawn(handle(shared, request)).await.map_err(io::Error::other)?;
    match end {
        End::Answer(answer) => Ok(response(if in_cbor { cbor::answer(answer) } else { answer })),
        End::Dropped => Err(io::Error::other("connection dropped on purpose")),
        End::Silence => std::future::pending().await,
    }
}

fn response(answer: Answer) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}

async fn handle(shared: Arc<Shared>, mut request: Request) -> End {
    let arrived = Instant::now();
    request.seq = shared.ledger.arrive();
    request.account = shared.strict.account_of(&request.access_key);
    let mut journey = Journey { shared: &shared, asked: request.params.clone(), outcome: Outcome::Forwarded, took_effect: false };
    let met = shared.injector.arrive(&request);
    let end = journey.run(&mut request, &met).await;
    let asked = std::mem::take(&mut journey.asked);
    let (outcome, took_effect) = (journey.outcome, journey.took_effect);
    let (status, response, error, request_id) = match &end {
        End::Answer(answer) => (answer.status.as_u16(), answer.value(), answer.error_code(), answer.request_id()),
        End::Dropped | End::Silence => (0, Value::Null, None, None),
    };
    shared.ledger.record(Call {
        seq: request.seq,
        started: arrived.duration_since(shared.started),
        duration: arrived.elapsed(),
        service: request.service,
        operation: request.operation,
        account: request.account,
        region: request.region,
        access_key: request.access_key,
        kind: request.kind,
        request: asked,
        status,
        response,
        error,
        request_id,
        outcome,
        took_effect,
    });
    end
}

struct Journey<'a> {
    shared: &'a Shared,
    asked: Value,
    outcome: Outcome,
    took_effect: bool,
}

impl Journey<'_> {
    async fn run(&mut self, request: &mut Request, met: &[(Moment, Trigger)]) -> End {
        let shared = self.shared;
        let delay = Duration::from_micros(shared.delay_micros.load(Ordering::Relaxed));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if let Some(end) = self.meet(request, met, Moment::BeforeSending).await {
            return end;
        }
        if let Some(refusal) = shared.quotas.refuse(request, Instant::now()) {
            self.outcome = Outcome::Refused;
            return End::Answer(refusal);
        }
        if let Some(answer) = shared.eks.answer(request).or_else(|| shared.trail_history.answer(request)) {
            self.outcome = if answer.status.is_success() { Outcome::Forwarded } else { Outcome::Refused };
            return self.meet(request, met, Moment::AfterEffect).await.unwrap_or(End::Answer(answer));
        }
        let answer = match shared.strict.before(&shared.upstream, request).await {
            Err(refusal) => {
                self.outcome = Outcome::Refused;
                refusal
            }
            Ok(kept) => {
                let mut answer = shared.upstream.forward(request).await;
                self.took_effect = answer.status.is_success();
                shared.strict.after(&shared.upstream, request, kept, &mut answer);
                answer
            }
        };
        self.meet(request, met, Moment::AfterEffect).await.unwrap_or(End::Answer(answer))
    }

    /// Meets what is armed for this moment; the first that ends the call wins.
    async fn meet(&mut self, request: &Request, met: &[(Moment, Trigger)], moment: Moment) -> Option<End> {
        for (_, trigger) in met.iter().filter(|(when, _)| *when == moment) {
            let end = match trigger {
                Trigger::Effect(Effect::Delay(milliseconds)) => {
                    tokio::time::sleep(Duration::from_millis(*milliseconds)).await;
                    continue;
                }
                Trigger::Pause(gate) => match gate.pass(request.seq).await {
                    Way::Lost => End::Dropped,
                    Way::Open | Way::Closed => continue,
                },
                Trigger::Effect(Effect::Error { status, code, message }) => End::Answer(Answer::error(request, *status, code, message)),
                Trigger::Effect(Effect::DropConnection) => End::Dropped,
                Trigger::Effect(Effect::Timeout) => End::Silence,
            };
            self.outcome = Outcome::Injected;
            return Some(end);
        }
        None
    }
}
