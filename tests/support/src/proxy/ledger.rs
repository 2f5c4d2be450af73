//! The record of every call.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::classify::Kind;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The emulator's own answer went back, perhaps corrected to what AWS answers.
    Forwarded,
    /// Refused (or answered) by the proxy as AWS does and the emulator does not; the emulator never saw it.
    Refused,
    /// An injected error, silence or lost connection went back.
    Injected,
}

/// One call, as recorded when it ended.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// Number in order of arrival, from 1.
    pub seq: u64,
    /// Arrival, since the proxy's start.
    pub started: Duration,
    /// From arrival to answer.
    pub duration: Duration,
    /// Signing name of the service.
    pub service: String,
    /// Operation.
    pub operation: String,
    /// Account of the caller.
    pub account: String,
    /// Region.
    pub region: String,
    /// Access key of the caller.
    pub access_key: String,
    /// Read, write or data.
    pub kind: Kind,
    /// Parameters as the caller sent them.
    pub request: Value,
    /// HTTP status sent back; 0 when nothing was.
    pub status: u16,
    /// Answer sent back.
    pub response: Value,
    /// Error code sent back.
    pub error: Option<String>,
    /// AWS's id of the request, as the answer told it.
    pub request_id: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// Whether the emulator carried it out, whatever the caller was told.
    pub took_effect: bool,
}

impl Call {
    /// Whether this is that operation.
    pub fn is(&self, operation: &str) -> bool {
        self.operation == operation
    }

    /// Whether the request mentions this text.
    pub fn mentions(&self, text: &str) -> bool {
        self.request.to_string().contains(text)
    }

    /// `sqs:CreateQueue`, for messages.
    pub fn name(&self) -> String {
        format!("{}:{}", self.service, self.operation)
    }
}

/// A place in the ledger: calls that arrived later come after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub(super) u64);

#[derive(Default)]
struct Book {
    next: u64,
    calls: BTreeMap<u64, Call>,
    file: Option<File>,
    last: Option<Instant>,
    without_bodies: bool,
}

/// All calls, by number.
#[derive(Default)]
pub struct Ledger(Mutex<Book>);

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next number.
    pub fn arrive(&self) -> u64 {
        let mut book = self.book();
        book.next += 1;
        book.last = Some(Instant::now());
        book.next
    }

    /// Records a call that ended.
    pub fn record(&self, mut call: Call) {
        let mut book = self.book();
        if book.without_bodies {
            (call.request, call.response) = (Value::Null, Value::Null);
        }
        if let Some(file) = &mut book.file
            && let Ok(mut line) = serde_json::to_vec(&call)
        {
            line.push(b'\n');
            if let Err(error) = file.write_all(&line) {
                tracing::warn!(%error, "ledger file");
                book.file = None;
            }
        }
        book.last = Some(Instant::now());
        book.calls.insert(call.seq, call);
    }

    /// When a call last arrived or ended.
    pub fn last(&self) -> Option<Instant> {
        self.book().last
    }

    /// The calls after a mark, in order of arrival.
    pub fn since(&self, mark: Mark) -> Vec<Call> {
        self.book().calls.range(mark.0 + 1..).map(|(_, call)| call.clone()).collect()
    }

    /// How many calls after a mark are such.
    pub fn count_since(&self, mark: Mark, such: impl Fn(&Call) -> bool) -> usize {
        self.book().calls.range(mark.0 + 1..).filter(|(_, call)| such(call)).count()
    }

    /// From now on what calls ask and are answered is not kept.
    pub fn forget_bodies(&self) {
        self.book().without_bodies = true;
    }

    /// The place after the last arrival.
    pub fn mark(&self) -> Mark {
        Mark(self.book().next)
    }

    /// Forgets the calls; numbers go on.
    pub fn clear(&self) {
        self.book().calls.clear();
    }

    /// Appends each call that ends from now on to a file, one JSON object a line.
    pub fn write_to(&self, path: &Path) -> std::io::Result<()> {
        let file = File::options().create(true).append(true).open(path)?;
        self.book().file = Some(file);
        Ok(())
    }
}
