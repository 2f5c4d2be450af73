//! Findings that somebody has accepted, each until a day.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::checks;
use crate::desired::glob;

/// Why a baseline cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{path}:{line}:{column}: {message}")]
pub struct BaselineError {
    /// File.
    pub path: String,
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// The field, and what is wrong with it.
    pub message: String,
}

/// One entry: these findings are accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// The check.
    pub check: &'static str,
    /// ARNs of queues or keys, `*` allowed.
    pub resource: String,
    /// The last day, in UTC.
    pub until: Date,
    /// Why.
    pub reason: String,
}

impl Accepted {
    fn has_expired(&self, now: Timestamp) -> bool {
        self.until < now.to_zoned(TimeZone::UTC).date()
    }
}

/// Accepted findings.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Baseline {
    /// The entries, in the file's order.
    pub accepted: Vec<Accepted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    accepted: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    check: Spanned<String>,
    resource: Spanned<String>,
    until: Spanned<String>,
    reason: Spanned<String>,
}

impl Baseline {
    /// Reads a file's text.
    pub fn parse(path: &str, text: &str) -> Result<Self, BaselineError> {
        let wrong =
            |location: Location, message: String| BaselineError { path: path.to_owned(), line: location.line(), column: location.column(), message };
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let file: File = serde_saphyr::from_str(text).map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
            let mut message = error.without_snippet().to_string();
            // It is said already where.
            if let Some(at) = message.find(" at line ") {
                message.truncate(at);
            }
            BaselineError { path: path.to_owned(), line, column, message }
        })?;
        let entry = |(index, entry): (usize, Entry)| {
            let field = |name: &str| format!("accepted[{index}].{name}");
            let id = entry.check.value.as_str();
            let check = checks::by_id(id)
                .ok_or_else(|| wrong(entry.check.referenced, format!("{}: there is no check {id:?} (docs/checks.md lists them)", field("check"))))?;
            if !entry.resource.value.starts_with("arn:") {
                return Err(wrong(entry.resource.referenced, format!("{}: expected the ARN of a queue or key, * allowed", field("resource"))));
            }
            let until = entry
                .until
                .value
                .parse::<Date>()
                .map_err(|_| wrong(entry.until.referenced, format!("{}: expected a day as YYYY-MM-DD", field("until"))))?;
            if entry.reason.value.trim().is_empty() {
                return Err(wrong(entry.reason.referenced, format!("{}: say why it is accepted", field("reason"))));
            }
            Ok(Accepted { check: check.id, resource: entry.resource.value, until, reason: entry.reason.value })
        };
        Ok(Self { accepted: file.accepted.into_iter().enumerate().map(entry).collect::<Result<_, _>>()? })
    }

    /// The entry that accepts a finding now; its index is noted as used. One that has expired accepts nothing, and is used all the same.
    pub(super) fn accepting(&self, check: &str, arn: &str, now: Timestamp, used: &mut BTreeSet<usize>) -> Option<&Accepted> {
        let fits = |entry: &Accepted| entry.check == check && glob(&entry.resource, arn);
        let fitting: Vec<_> = self.accepted.iter().enumerate().filter(|(_, entry)| fits(entry)).collect();
        used.extend(fitting.iter().map(|(index, _)| index));
        fitting.into_iter().map(|(_, entry)| entry).filter(|entry| !entry.has_expired(now)).max_by_key(|entry| entry.until)
    }

    /// What its keeper should know: entries that have expired, and those that fit nothing.
    pub(super) fn notes(&self, now: Timestamp, used: &BTreeSet<usize>) -> Vec<String> {
        let note = |(index, entry): (usize, &Accepted)| {
            let Accepted { check, resource, until, .. } = entry;
            match (used.contains(&index), entry.has_expired(now)) {
                (true, true) => Some(format!("the baseline's {check} of {resource} expired on {until}: it counts again")),
                (false, _) => Some(format!("the baseline's {check} of {resource} fits nothing any more: remove it")),
                (true, false) => None,
            }
        };
        self.accepted.iter().enumerate().filter_map(note).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "# ours\naccepted:\n- check: queue-sse-sqs\n  resource: arn:aws:sqs:eu-west-1:123456789012:legacy-*\n  until: 2027-01-31\n  reason: moves in January\n";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_entry_accepts_until_its_last_day() {
        let baseline = Baseline::parse("b.yaml", GOOD).unwrap();
        let mut used = BTreeSet::new();
        let arn = "arn:aws:sqs:eu-west-1:123456789012:legacy-orders";
        for (now, accepted) in [("2027-01-31T23:59:59Z", true), ("2027-02-01T00:00:00Z", false)] {
            assert_eq!(baseline.accepting("queue-sse-sqs", arn, at(now), &mut used).is_some(), accepted, "{now}");
        }
        assert!(baseline.accepting("queue-public", arn, at("2027-01-01T00:00:00Z"), &mut used).is_none());
        assert!(baseline.notes(at("2027-02-01T00:00:00Z"), &used)[0].contains("it counts again"));
        assert!(baseline.notes(at("2027-01-01T00:00:00Z"), &used).is_empty());
        assert!(baseline.notes(at("2027-01-01T00:00:00Z"), &BTreeSet::new())[0].contains("fits nothing"));
    }

    #[test]
    fn mistakes_are_told_with_file_line_and_field() {
        for (from, to, told) in [
            ("queue-sse-sqs", "queue-sse", "b.yaml:3:10: accepted[0].check: there is no check \"queue-sse\""),
            ("arn:aws:sqs:eu-west-1:123456789012:legacy-*", "legacy", "b.yaml:4:13: accepted[0].resource: expected the ARN"),
            ("2027-01-31", "soon", "b.yaml:5:10: accepted[0].until: expected a day"),
            ("moves in January", "''", "b.yaml:6:11: accepted[0].reason: say why"),
            ("  reason: moves in January\n", "", "b.yaml:5:"),
            ("reason:", "because:", "b.yaml:6:"),
            ("accepted:", "accept:", "b.yaml:2:"),
        ] {
            let error = Baseline::parse("b.yaml", &GOOD.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
        for (text, field) in [(GOOD.replacen("  reason: moves in January\n", "", 1), "reason"), (GOOD.replacen("reason:", "because:", 1), "because")]
        {
            assert!(Baseline::parse("b.yaml", &text).unwrap_err().to_string().contains(field));
        }
        assert_eq!(Baseline::parse("b.yaml", "# none yet\n").unwrap(), Baseline::default());
    }
}
