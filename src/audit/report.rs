//! The answer as data: the schema of `-o json`. Fields are only ever added; [`SCHEMA_VERSION`] is raised if one is removed or changes its meaning.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::baseline::Baseline;
use super::checks::{self, Check, Severity, Subject};
use super::inventory::{Encryption, Inventory, KeyFacts, PlaceFacts, Problem, QueueFacts, View};

/// Version of the schema, in every answer as `schemaVersion`.
pub const SCHEMA_VERSION: u32 = 1;

/// Answer of `audit`.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When AWS was read.
    pub generated_at: String,
    /// Whether something could not be read: `problems` says what.
    pub partial: bool,
    /// How much of what.
    pub summary: Summary,
    /// Every queue and every customer managed key, those without findings included; the worst first.
    pub resources: Vec<ResourceReport>,
    /// Every check.
    pub checks: Vec<CheckReport>,
    /// What could not be read.
    pub problems: Vec<ProblemReport>,
    /// What else a reader should know, a sentence each.
    pub notes: Vec<String>,
}

/// How much of what.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// AWS accounts.
    pub accounts: usize,
    /// Regions, counted for each account.
    pub regions: usize,
    /// Queues.
    pub queues: usize,
    /// Queues that neither themselves nor through their key have an open finding above `info`.
    pub compliant_queues: usize,
    /// Customer managed keys.
    pub keys: usize,
    /// Open findings.
    pub findings: SeverityCounts,
    /// Findings that the baseline accepts.
    pub accepted: usize,
}

/// Findings by severity.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
#[allow(missing_docs)]
pub struct SeverityCounts {
    pub critical: usize,
    pub high: usize,
    pub medium: usize,
    pub low: usize,
    pub info: usize,
}

impl SeverityCounts {
    pub(super) fn add(&mut self, severity: Severity) {
        *match severity {
            Severity::Critical => &mut self.critical,
            Severity::High => &mut self.high,
            Severity::Medium => &mut self.medium,
            Severity::Low => &mut self.low,
            Severity::Info => &mut self.info,
        } += 1;
    }

    /// How many of one severity.
    pub const fn of(&self, severity: Severity) -> usize {
        match severity {
            Severity::Critical => self.critical,
            Severity::High => self.high,
            Severity::Medium => self.medium,
            Severity::Low => self.low,
            Severity::Info => self.info,
        }
    }
}

/// A queue or a key.
#[derive(Clone, Copy, Debug, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
pub enum ResourceKind {
    /// An SQS queue.
    Queue,
    /// A customer managed KMS key.
    Key,
}

impl ResourceKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "Queue",
            Self::Key => "Key",
        }
    }
}

/// A queue or a key, and what is wrong with it.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceReport {
    /// `Queue` or `Key`.
    pub kind: ResourceKind,
    /// ARN.
    pub arn: String,
    /// The queue's name; the key's alias, or id.
    pub name: String,
    /// AWS account.
    pub account: String,
    /// AWS Region.
    pub region: String,
    /// The Tenant, as far as that can be told; null: it cannot.
    pub tenant: Option<String>,
    /// The SensitivityTier; null: it is not declared.
    pub sensitivity_tier: Option<String>,
    /// The EncryptedQueue (`namespace/name`) or QueueKey that declares it; null: none.
    pub object: Option<String>,
    /// Of a queue: its key as it names it; null: none.
    pub key: Option<String>,
    /// Whether nothing above `info` is open about it; of a queue, about its key neither.
    pub compliant: bool,
    /// The worst first.
    pub findings: Vec<FindingReport>,
}

impl ResourceReport {
    /// Findings that count.
    pub fn open(&self) -> impl Iterator<Item = &FindingReport> {
        self.findings.iter().filter(|finding| finding.accepted.is_none())
    }

    fn worst(&self) -> Option<Severity> {
        self.open().map(|finding| finding.severity).max()
    }
}

/// What a check says of a resource.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingReport {
    /// The check.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, a line each.
    pub details: Vec<String>,
    /// That it is accepted; null: it is not.
    pub accepted: Option<AcceptedReport>,
}

/// That a finding is accepted.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AcceptedReport {
    /// The last day.
    pub until: String,
    /// Why.
    pub reason: String,
}

/// A check.
#[derive(Clone, Debug, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Its name.
    pub id: &'static str,
    /// How bad its findings are.
    pub severity: Severity,
    /// What is wrong.
    pub title: &'static str,
    /// Why that matters.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Controls that it answers: `Prowler kms_cmk_rotation_enabled`.
    pub controls: Vec<String>,
}

/// Something that could not be read.
#[derive(Clone, Debug, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProblemReport {
    /// AWS account.
    pub account: String,
    /// AWS Region.
    pub region: String,
    /// The call.
    pub operation: String,
    /// The first of the queues and keys that it was about; null: the account and Region.
    pub resource: Option<String>,
    /// How many they are.
    pub count: usize,
    /// What AWS said.
    pub message: String,
}

impl AuditReport {
    /// Judges what a scan found.
    pub fn of(inventory: &Inventory, baseline: &Baseline, now: Timestamp) -> Self {
        let mut used = BTreeSet::new();
        let mut resources: Vec<ResourceReport> = inventory.places.iter().flat_map(|facts| place(facts, baseline, now, &mut used)).collect();
        resources.sort_by(|a, b| (b.worst(), a.kind, &a.arn).cmp(&(a.worst(), b.kind, &b.arn)));
        let problems = problems(&inventory.problems);
        let accounts: BTreeSet<&str> = inventory.places.iter().map(|facts| facts.place.account.as_str()).collect();
        let mut summary = Summary { accounts: accounts.len(), regions: inventory.places.len(), ..Summary::default() };
        for resource in &resources {
            match resource.kind {
                ResourceKind::Queue => summary.queues += 1,
                ResourceKind::Key => summary.keys += 1,
            }
            summary.compliant_queues += usize::from(resource.kind == ResourceKind::Queue && resource.compliant);
            summary.accepted += resource.findings.len() - resource.open().count();
            resource.open().for_each(|finding| summary.findings.add(finding.severity));
        }
        Self {
            schema_version: SCHEMA_VERSION,
            generated_at: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            partial: !problems.is_empty(),
            summary,
            resources,
            checks: checks::all().map(CheckReport::of).collect(),
            problems,
            notes: baseline.notes(now, &used),
        }
    }

    /// Open findings with their resources, the worst first.
    pub fn open(&self) -> Vec<(&ResourceReport, &FindingReport)> {
        let mut open: Vec<_> = self.resources.iter().flat_map(|resource| resource.open().map(move |finding| (resource, finding))).collect();
        open.sort_by(|(a, x), (b, y)| (y.severity, x.check, &a.name, &a.arn).cmp(&(x.severity, y.check, &b.name, &b.arn)));
        open
    }

    /// Whether a finding is at least as bad as this.
    pub fn fails(&self, threshold: Option<Severity>) -> bool {
        threshold.is_some_and(|threshold| self.resources.iter().flat_map(ResourceReport::open).any(|finding| finding.severity >= threshold))
    }

    /// Tenants of queues with how many they have, compliant and all; none: it cannot be told whose they are.
    pub fn by_tenant(&self) -> BTreeMap<Option<&str>, (usize, usize)> {
        let mut tenants = BTreeMap::<_, (usize, usize)>::new();
        for queue in self.resources.iter().filter(|resource| resource.kind == ResourceKind::Queue) {
            let (compliant, all) = tenants.entry(queue.tenant.as_deref()).or_default();
            *compliant += usize::from(queue.compliant);
            *all += 1;
        }
        tenants
    }
}

impl CheckReport {
    fn of(check: &Check) -> Self {
        let Check { id, severity, title, why, remedy, needs_declarations: _, controls, subject: _ } = check;
        Self { id, severity: *severity, title, why, remedy, controls: controls.iter().map(ToString::to_string).collect() }
    }
}

fn place(facts: &PlaceFacts, baseline: &Baseline, now: Timestamp, used: &mut BTreeSet<usize>) -> Vec<ResourceReport> {
    let view = View::new(facts, now);
    let mut accept = |arn: &str, found: Vec<(&'static Check, Vec<String>)>| -> Vec<FindingReport> {
        let mut findings: Vec<FindingReport> = found
            .into_iter()
            .map(|(check, details)| {
                let accepted = baseline.accepting(check.id, arn, now, used);
                let accepted = accepted.map(|entry| AcceptedReport { until: entry.until.to_string(), reason: entry.reason.clone() });
                FindingReport { check: check.id, severity: check.severity, details, accepted }
            })
            .collect();
        findings.sort_by(|a, b| (b.severity, a.check).cmp(&(a.severity, b.check)));
        findings
    };
    let keys: Vec<_> = facts.keys.iter().map(|key| key_report(key, facts, accept(&key.arn, judge_key(key, &view)))).collect();
    let faulty: BTreeSet<String> = keys.iter().filter(|key| !key.compliant).map(|key| key.arn.clone()).collect();
    let queues = facts.queues.iter().map(|queue| {
        let findings = accept(queue.arn.as_str(), judge_queue(queue, &view));
        let key_is_faulty = matches!(&queue.encryption, Encryption::Key(arn) if faulty.contains(arn));
        queue_report(queue, facts, findings, key_is_faulty)
    });
    let queues: Vec<_> = queues.collect();
    queues.into_iter().chain(keys).collect()
}

/// What is wrong with a queue.
pub fn judge_queue(queue: &QueueFacts, view: &View<'_>) -> Vec<(&'static Check, Vec<String>)> {
    let found = checks::all().filter_map(|check| if let Subject::Queue(look) = check.subject { Some((check, look(queue, view))) } else { None });
    found.filter(|(_, details)| !details.is_empty()).collect()
}

/// What is wrong with a key.
pub fn judge_key(key: &KeyFacts, view: &View<'_>) -> Vec<(&'static Check, Vec<String>)> {
    let found = checks::all().filter_map(|check| if let Subject::Key(look) = check.subject { Some((check, look(key, view))) } else { None });
    found.filter(|(_, details)| !details.is_empty()).collect()
}

fn is_compliant(findings: &[FindingReport]) -> bool {
    findings.iter().all(|finding| finding.accepted.is_some() || finding.severity == Severity::Info)
}

fn queue_report(queue: &QueueFacts, facts: &PlaceFacts, findings: Vec<FindingReport>, key_is_faulty: bool) -> ResourceReport {
    let declared = queue.declared.as_ref();
    ResourceReport {
        kind: ResourceKind::Queue,
        arn: queue.arn.to_string(),
        name: queue.arn.name().to_owned(),
        account: facts.place.account.clone(),
        region: facts.place.region.clone(),
        tenant: queue.tenant.clone(),
        sensitivity_tier: declared.map(|declared| declared.tier.clone()),
        object: declared.map(|declared| declared.object.to_string()),
        key: Some(queue.named_key().to_owned()).filter(|key| !key.is_empty()),
        compliant: is_compliant(&findings) && !key_is_faulty,
        findings,
    }
}

fn key_report(key: &KeyFacts, facts: &PlaceFacts, findings: Vec<FindingReport>) -> ResourceReport {
    let declared = key.declared.as_ref();
    ResourceReport {
        kind: ResourceKind::Key,
        arn: key.arn.clone(),
        name: key.aliases.first().unwrap_or(&key.id).clone(),
        account: facts.place.account.clone(),
        region: facts.place.region.clone(),
        tenant: key.tenant.clone(),
        sensitivity_tier: declared.map(|declared| declared.tier.clone()),
        object: declared.map(|declared| declared.object.clone()),
        key: None,
        compliant: is_compliant(&findings),
        findings,
    }
}

/// The same refusal of many resources is told once.
fn problems(problems: &[Problem]) -> Vec<ProblemReport> {
    let mut told = BTreeMap::<_, ProblemReport>::new();
    for problem in problems {
        let Problem { account, region, operation, resource, message } = problem.clone();
        // A refusal names its resource: its words would tell every one apart.
        let report = told.entry((account.clone(), region.clone(), operation.clone(), resource.is_some())).or_insert(ProblemReport {
            account,
            region,
            operation,
            resource,
            count: 0,
            message,
        });
        report.count += 1;
    }
    told.into_values().collect()
}
