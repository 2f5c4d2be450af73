//! Who decrypts what: CloudTrail's Decrypt events by queue and principal. Pure.
//!
//! KMS writes one for each data key that SQS unwraps on a caller's behalf, not for each message: a number of events says who reads and when, not how much.

#[cfg(test)]
mod tests;
mod text;

pub use text::who_decrypted_text;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// Version of the schema, in every answer as `schemaVersion`.
pub const SCHEMA_VERSION: u32 = 1;
/// Rows that are kept; events of more are counted alone.
const MOST_ROWS: usize = 100_000;

/// Answer of `audit --who-decrypted`.
#[derive(Clone, Debug, Default, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WhoDecryptedReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Whether some events could not be looked at: `notes` says which.
    pub partial: bool,
    /// Decrypt events that were counted.
    pub events: u64,
    /// By queue and principal.
    pub rows: Vec<Row>,
    /// Decrypt events without a queue's ARN: other uses of KMS, not counted above.
    pub other_events: u64,
    /// Texts that are no events.
    pub malformed: u64,
    /// What else a reader should know, a sentence or two each.
    pub notes: Vec<String>,
}

/// What one principal decrypted of one queue.
#[derive(Clone, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// ARN of the queue, from the encryption context.
    pub queue: String,
    /// ARN of the role, without its session; of a user; or the service.
    pub principal: String,
    /// As CloudTrail has it: `AssumedRole`, `IAMUser`, `AWSService` and others.
    pub kind: String,
    /// Calls that went through.
    pub decrypted: u64,
    /// Calls that were denied.
    pub denied: u64,
    /// Calls that failed otherwise.
    pub failed: u64,
    /// Time of the first, as CloudTrail has it.
    pub first: String,
    /// Time of the last.
    pub last: String,
    /// Keys that were used.
    pub keys: BTreeSet<String>,
}

/// Counts events as they come.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    rows: BTreeMap<(String, String), Row>,
    seen: BTreeSet<String>,
    events: u64,
    other_events: u64,
    malformed: u64,
    beyond: u64,
}

impl Tally {
    /// Counts one record of CloudTrail, given as JSON.
    pub fn add_text(&mut self, text: &str) {
        match serde_json::from_str(text) {
            Ok(record) => self.add(&record),
            Err(_) => self.malformed += 1,
        }
    }

    /// Counts a log file: an object with `Records`, one record, or a record a line.
    pub fn add_file(&mut self, text: &str) {
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(mut file)) if file.get("Records").is_some_and(Value::is_array) => {
                file.remove("Records").as_ref().and_then(Value::as_array).into_iter().flatten().for_each(|record| self.add(record));
            }
            Ok(Value::Array(records)) => records.iter().for_each(|record| self.add(record)),
            Ok(record) => self.add(&record),
            Err(_) => text.lines().filter(|line| !line.trim().is_empty()).for_each(|line| self.add_text(line)),
        }
    }

    /// Counts one record; those of other calls do not count.
    pub fn add(&mut self, record: &Value) {
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str);
        let (Some(name), Some(source)) = (text("/eventName"), text("/eventSource")) else {
            self.malformed += 1;
            return;
        };
        if name != "Decrypt" || source != "kms.amazonaws.com" {
            return;
        }
        // The same event may be in several files and in the history.
        if text("/eventID").is_some_and(|id| !self.seen.insert(id.to_owned())) {
            return;
        }
        let Some(queue) = text("/requestParameters/encryptionContext/aws:sqs:arn") else {
            self.other_events += 1;
            return;
        };
        self.events += 1;
        let (principal, kind) = principal_of(record);
        let key = (queue.to_owned(), principal);
        if self.rows.len() >= MOST_ROWS && !self.rows.contains_key(&key) {
            self.beyond += 1;
            return;
        }
        let row = self.rows.entry(key).or_insert_with_key(|(queue, principal)| Row {
            queue: queue.clone(),
            principal: principal.clone(),
            kind,
            ..Row::default()
        });
        match text("/errorCode") {
            None => row.decrypted += 1,
            Some(code) if code.contains("AccessDenied") => row.denied += 1,
            Some(_) => row.failed += 1,
        }
        let time = text("/eventTime").unwrap_or_default();
        if row.first.is_empty() || time < row.first.as_str() {
            time.clone_into(&mut row.first);
        }
        if time > row.last.as_str() {
            time.clone_into(&mut row.last);
        }
        let keys = record["resources"].as_array().into_iter().flatten().filter_map(|resource| resource["ARN"].as_str());
        row.keys.extend(keys.take(8).map(str::to_owned));
    }

    /// What was counted, the busiest of each queue first.
    pub fn report(self, notes: Vec<String>, partial: bool) -> WhoDecryptedReport {
        let mut rows: Vec<Row> = self.rows.into_values().collect();
        rows.sort_by(|a, b| a.queue.cmp(&b.queue).then(b.decrypted.cmp(&a.decrypted)).then(a.principal.cmp(&b.principal)));
        let beyond = (self.beyond > 0).then(|| format!("{} events of further queues and principals are counted, and not shown", self.beyond));
        let partial = partial || self.beyond > 0;
        let (events, other_events, malformed) = (self.events, self.other_events, self.malformed);
        WhoDecryptedReport {
            schema_version: SCHEMA_VERSION,
            partial,
            events,
            rows,
            other_events,
            malformed,
            notes: notes.into_iter().chain(beyond).collect(),
        }
    }
}

/// Who called, whatever the session.
fn principal_of(record: &Value) -> (String, String) {
    let identity = &record["userIdentity"];
    let text = |pointer: &str| identity.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let who = text("/sessionContext/sessionIssuer/arn").or_else(|| text("/arn")).or_else(|| text("/invokedBy")).or_else(|| text("/principalId"));
    let kind = text("/type").unwrap_or("Unknown");
    // Of a caller of another account CloudTrail tells the account alone.
    let account = || text("/accountId").map(|account| format!("somebody of account {account}"));
    (who.map(str::to_owned).or_else(account).unwrap_or_else(|| "unknown".to_owned()), kind.to_owned())
}
