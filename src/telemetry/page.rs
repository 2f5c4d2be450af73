//! `docs/metrics.md`, from what the registry itself says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use super::events::EventOutcome;
use super::figures::{Figures, Findings, GroupFigures};
use super::metrics::{Kind, Metrics, ReconcileResult};
use crate::aws::{CallCounts, CallLimits};
use crate::cost::Money;

const PREFACE: &str = "# Metrics

What `/metrics` tells, in OpenMetrics text. Generated from the registry by `make generate`; do not edit.

Every label is from a closed set, but for `tenant` and `tier`: of those the first 200 have series of their own, and `other` adds up the rest. No queue's
name is a label. Only the process that holds the lease tells of objects; `encrypted_queue_leader` says which that is. Counters begin at 0 with each process.

Money is in US dollars a month and estimated from declared values, which is the most it can be; `encrypted-queue cost` asks CloudWatch instead. The
compliant share is `encrypted_queue_compliant_queues / encrypted_queue_queues`, an approval's age `time() -
encrypted_queue_approval_oldest_request_timestamp_seconds` unless that is 0.

| metric | type | labels | what |
|---|---|---|---|
";

/// The page.
pub fn page() -> Result<String, fmt::Error> {
    let text = sample().encode()?;
    let mut page = PREFACE.to_owned();
    let mut help: BTreeMap<&str, &str> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, said)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            help.insert(name, said);
        }
    }
    let kinds: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for (name, kind) in kinds {
        let labels: BTreeSet<&str> = text.lines().filter(|line| is_of(line, name)).flat_map(labels).filter(|label| *label != "le").collect();
        let labels: Vec<String> = labels.into_iter().map(|label| format!("`{label}`")).collect();
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        writeln!(page, "| `{name}{suffix}` | {kind} | {} | {} |", labels.join(", "), help.get(name).unwrap_or(&""))?;
    }
    Ok(page)
}

/// Whether a line is a sample of this metric.
fn is_of(line: &str, name: &str) -> bool {
    let rest = line.strip_prefix(name).unwrap_or("?");
    ["_total", "_info", "_bucket", "_sum", "_count", ""]
        .iter()
        .any(|suffix| rest.strip_prefix(suffix).is_some_and(|rest| rest.starts_with(['{', ' '])))
}

/// Names of a sample's labels; their values here hold neither quotes nor commas.
fn labels(line: &str) -> Vec<&str> {
    let Some((_, rest)) = line.split_once('{') else { return Vec::new() };
    let labels = rest.rsplit_once('}').map_or("", |(labels, _)| labels);
    labels.split(',').filter_map(|label| label.split_once('=').map(|(name, _)| name)).collect()
}

/// One of everything.
fn sample() -> Metrics {
    let counts = Arc::new(CallCounts::default());
    counts.update("kms:CreateKey".to_owned(), |count| count.attempts += 1);
    let metrics = Metrics::new(counts);
    let (tenant, tier) = ("acme", "internal");
    metrics.reconciled(Kind::QueueKey, ReconcileResult::Complete, Duration::ZERO);
    metrics.event(EventOutcome::Change);
    metrics.remedied(tenant, tier, Duration::ZERO);
    metrics.denied(tenant, tier);
    metrics.record_findings(tenant, Findings::from([(("check", "high"), 1)]));
    metrics.set_call_limits(|| BTreeMap::from([("kms:CreateKey".to_owned(), CallLimits::default())]));
    metrics.set_figures(|| Figures {
        groups: BTreeMap::from([(("acme".to_owned(), "internal".to_owned()), GroupFigures::default())]),
        budgets: BTreeMap::from([("acme".to_owned(), Money::ZERO)]),
        ..Figures::default()
    });
    metrics
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn every_metric_is_described_with_its_labels() {
        let page = super::page().unwrap();
        for line in [
            "| `encrypted_queue_compliant_queues` | gauge | `tenant`, `tier` | EncryptedQueues that are as declared: Ready. |",
            "| `encrypted_queue_aws_calls_total` | counter | `operation` | Requests to AWS, repeated ones included. |",
            "| `encrypted_queue_reconcile_duration_seconds` | histogram | `kind`, `result` | How long reconciling an object took. |",
            "| `encrypted_queue_audit_findings` | gauge | `check`, `severity`, `tenant` |",
            "| `encrypted_queue_leader` | gauge |  |",
            "| `encrypted_queue_build_info` | info | `version` |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        assert!(!page.contains("|  |\n"), "what has no help: {page}");
        let kept = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
        assert_eq!(kept, page, "docs/metrics.md is stale: run `make generate`");
    }
}
