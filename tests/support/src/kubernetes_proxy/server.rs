//! The way of a request: arrive, pause, inject, forward, record.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};
use kube::client::Body;
use serde_json::json;

use super::call::{Call, KubernetesMatcher};
use super::watches::{EventEffect, Watches};
use crate::proxy::inject::{Effect, Injector, Moment, Trigger, Way};

/// Headers that belong to one connection, or to whom the proxy asks as.
const NOT_FORWARDED: [HeaderName; 5] = [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::HOST, header::AUTHORIZATION];

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

struct Book {
    next: u64,
    writes: BTreeMap<u64, Call>,
    last_write: Instant,
}

/// What all connections share.
pub(super) struct Shared {
    upstream: kube::Client,
    pub injector: Injector<KubernetesMatcher>,
    pub watches: Watches,
    pub started: Instant,
    book: Mutex<Book>,
}

impl Shared {
    pub fn new(upstream: kube::Client) -> Self {
        let started = Instant::now();
        let book = Mutex::new(Book { next: 0, writes: BTreeMap::new(), last_write: started });
        Self { upstream, injector: Injector::default(), watches: Watches::default(), started, book }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self, call: &mut Call) {
        let mut book = self.book();
        book.next += 1;
        (call.seq, call.started) = (book.next, self.started.elapsed());
        if call.is_write() {
            book.last_write = Instant::now();
        }
    }

    fn record(&self, call: Call) {
        if call.is_write() {
            let mut book = self.book();
            book.last_write = Instant::now();
            book.writes.insert(call.seq, call);
        }
    }

    pub fn writes_since(&self, seq: u64) -> Vec<Call> {
        self.book().writes.range(seq + 1..).map(|(_, call)| call.clone()).collect()
    }

    pub fn mark(&self) -> u64 {
        self.book().next
    }

    pub fn last_write(&self) -> Instant {
        self.book().last_write
    }

    /// A question of the proxy's own.
    pub async fn get(&self, path: &str) -> Result<Bytes, kube::Error> {
        let request = hyper::Request::get(path).body(Body::empty()).map_err(kube::Error::HttpError)?;
        let answer = self.upstream.send(request).await?;
        answer.into_body().collect().await.map(http_body_util::Collected::to_bytes)
    }
}

/// How a request ends for the caller.
enum End {
    Answer(Answer),
    Dropped,
    Silence,
}

pub(super) async fn answer(shared: Arc<Shared>, request: hyper::Request<Incoming>) -> io::Result<Answer> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let call = Call::parse(&head.method, &path, &body);
    // A task of its own: a caller that dies while its request is under way does not undo it.
    let end = tokio::spawn(handle(shared, call, head.method, head.headers, body)).await.map_err(io::Error::other)?;
    match end {
        End::Answer(answer) => Ok(answer),
        End::Dropped => Err(io::Error::other("connection dropped on purpose")),
        End::Silence => std::future::pending().await,
    }
}

async fn handle(shared: Arc<Shared>, mut call: Call, method: Method, headers: HeaderMap, body: Bytes) -> End {
    shared.arrive(&mut call);
    let met = shared.injector.arrive(&call);
    let end = if let Some(end) = meet(&met, Moment::BeforeSending, &call).await {
        end
    } else {
        let answer = forward(&shared, &call, method, headers, body).await;
        call.took_effect = call.is_write() && answer.status().is_success();
        meet(&met, Moment::AfterEffect, &call).await.unwrap_or(End::Answer(answer))
    };
    call.status = if let End::Answer(answer) = &end { answer.status().as_u16() } else { 0 };
    shared.record(call);
    end
}

/// Meets what is armed for this moment; the first that ends the request wins.
async fn meet(met: &[(Moment, Trigger)], moment: Moment, call: &Call) -> Option<End> {
    for (_, trigger) in met.iter().filter(|(when, _)| *when == moment) {
        match trigger {
            Trigger::Effect(Effect::Delay(milliseconds)) => tokio::time::sleep(Duration::from_millis(*milliseconds)).await,
            Trigger::Effect(Effect::Error { status, code, message }) => return Some(End::Answer(status_answer(*status, code, message))),
            Trigger::Effect(Effect::DropConnection) => return Some(End::Dropped),
            Trigger::Effect(Effect::Timeout) => return Some(End::Silence),
            Trigger::Pause(gate) => {
                if gate.pass(call.seq).await == Way::Lost {
                    return Some(End::Dropped);
                }
            }
        }
    }
    None
}

fn full(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body).map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn status_answer(code: u16, reason: &str, message: &str) -> Answer {
    let status =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": reason, "message": message, "code": code});
    full(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), Bytes::from(status.to_string()))
}

async fn forward(shared: &Arc<Shared>, call: &Call, method: Method, mut headers: HeaderMap, body: Bytes) -> Answer {
    if call.verb == "list"
        && let Some(before) = shared.watches.before(&call.resource, &call.path)
    {
        return full(StatusCode::OK, before);
    }
    for name in &NOT_FORWARDED {
        headers.remove(name);
    }
    let mut request = hyper::Request::new(Body::from(body));
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    let Ok(uri) = call.path.parse() else { return status_answer(400, "BadRequest", "not a path") };
    *request.uri_mut() = uri;
    let (head, body) = match shared.upstream.send(request).await {
        Ok(answer) => answer.into_parts(),
        Err(error) => return status_answer(502, "InternalError", &format!("API server: {error}")),
    };
    let mut answer = if call.verb == "watch" && head.status.is_success() {
        let events = events(Arc::clone(shared), call.resource.clone(), body);
        Response::new(BodyExt::boxed_unsync(StreamBody::new(events)))
    } else {
        match body.collect().await {
            Ok(body) => {
                let bytes = body.to_bytes();
                if call.verb == "list" && head.status.is_success() {
                    shared.watches.listed(&call.path, &bytes);
                }
                full(head.status, bytes)
            }
            Err(error) => return status_answer(502, "InternalError", &format!("API server: {error}")),
        }
    };
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    for name in &NOT_FORWARDED {
        answer.headers_mut().remove(name);
    }
    answer
}

/// A watch's events on their way: body, what of the next line has come, and lines that are complete.
struct Lines {
    shared: Arc<Shared>,
    resource: String,
    body: BodyStream<Body>,
    partial: Vec<u8>,
    complete: VecDeque<Vec<u8>>,
}

impl Lines {
    /// The next line; None at the end.
    async fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(line) = self.complete.pop_front() {
                return Some(line);
            }
            let frame = self.body.next().await?.ok()?;
            let Ok(data) = frame.into_data() else { continue };
            for piece in data.split_inclusive(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(piece);
                if piece.ends_with(b"\n") {
                    self.complete.push_back(std::mem::take(&mut self.partial));
                }
            }
        }
    }

    /// The next line that is to be told, at its time.
    async fn told(&mut self) -> Option<Vec<u8>> {
        loop {
            let shared = Arc::clone(&self.shared);
            let line = tokio::select! {
                line = self.line() => line?,
                () = shared.watches.broken.notified() => return None,
            };
            match self.shared.watches.meets(&self.resource, &line) {
                None => return Some(line),
                Some(EventEffect::Delay(time)) => {
                    tokio::time::sleep(time).await;
                    return Some(line);
                }
                Some(EventEffect::Drop) => {}
                Some(EventEffect::EndWatch) => return None,
            }
        }
    }
}

fn events(shared: Arc<Shared>, resource: String, body: Body) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send {
    let lines = Lines { shared, resource, body: BodyStream::new(body), partial: Vec::new(), complete: VecDeque::new() };
    futures::stream::unfold(lines, |mut lines| async move {
        let line = lines.told().await?;
        Some((Ok(Frame::data(Bytes::from(line))), lines))
    })
}
