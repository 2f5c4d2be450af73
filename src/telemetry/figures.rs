//! Figures that a security programme is run by: compliance, keys, cost, approvals, findings, refusals. Tenants and tiers are labels, up to a number; what
//! comes later is counted as `other`, so that the number of series is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::Source;
use crate::aws::CallLimits;
use crate::cost::Money;

/// From a minute to a month.
const REMEDY_SECONDS: [f64; 10] = [60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0, 604_800.0, 2_592_000.0];
/// Tenants, and tiers, that have series of their own.
const MOST_NAMES: usize = 200;
/// Stands for all that came later.
const OTHER: &str = "other";

/// What is known of all objects at one time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Figures {
    /// By tenant and tier.
    pub groups: BTreeMap<(String, String), GroupFigures>,
    /// Tenants' budgets.
    pub budgets: BTreeMap<String, Money>,
    /// How many Tenants are over theirs.
    pub over_budget: u64,
    /// Queues whose access waits for an approval.
    pub approvals_waiting: u64,
    /// When the one was asked for that has waited longest, in seconds since 1970.
    pub oldest_approval: Option<i64>,
}

/// Of one tenant's queues of one tier.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct GroupFigures {
    /// EncryptedQueues.
    pub queues: u64,
    /// Those that are Ready.
    pub compliant: u64,
    /// Keys that AWS bills.
    pub keys: u64,
    /// Estimated cost a month.
    pub cost: Money,
}

/// Findings of an audit: how many of each check and severity.
pub type Findings = BTreeMap<(&'static str, &'static str), u64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Group {
    tenant: String,
    tier: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FindingLabels {
    tenant: String,
    check: &'static str,
    severity: &'static str,
}

/// The names that have series of their own: whoever came first.
#[derive(Debug, Default)]
struct Names(Mutex<BTreeSet<String>>);

impl Names {
    fn label(&self, name: &str) -> String {
        let mut known = locked(&self.0);
        if known.contains(name) || (known.len() < MOST_NAMES && known.insert(name.to_owned())) { name.to_owned() } else { OTHER.to_owned() }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Name, help and value.
type GroupCount = (&'static str, &'static str, fn(&GroupFigures) -> u64);

/// The figures.
#[derive(Debug, Default)]
pub(super) struct FigureMetrics {
    tenants: Names,
    tiers: Names,
    remedies: Remedies,
    denied: Family<Group, Counter>,
    findings: Mutex<BTreeMap<String, Findings>>,
    orphans: Mutex<BTreeMap<String, u64>>,
    pub(super) counted: Source<Figures>,
    pub(super) limits: Source<BTreeMap<String, CallLimits>>,
}

#[derive(Debug)]
struct Remedies(Family<Group, Histogram, fn() -> Histogram>);

impl Default for Remedies {
    fn default() -> Self {
        Self(Family::new_with_constructor((|| Histogram::new(REMEDY_SECONDS)) as fn() -> Histogram))
    }
}

impl FigureMetrics {
    pub(super) fn register(self: &Arc<Self>, registry: &mut Registry) {
        let help = "From when a queue was first seen not to be as declared, after it was, until it was again, across restarts";
        registry.register_with_unit("time_to_remedy", help, Unit::Seconds, self.remedies.0.clone());
        let help = "Uses of keys that KMS denied, as CloudTrail's events tell them (drift.deniedCalls)";
        registry.register("denied_kms_calls", help, self.denied.clone());
        registry.register_collector(Box::new(self.clone()));
    }

    fn group(&self, tenant: &str, tier: &str) -> Group {
        Group { tenant: self.tenants.label(tenant), tier: self.tiers.label(tier) }
    }

    pub(super) fn remedied(&self, tenant: &str, tier: &str, took: Duration) {
        self.remedies.0.get_or_create(&self.group(tenant, tier)).observe(took.as_secs_f64());
    }

    pub(super) fn denied(&self, tenant: &str, tier: &str) {
        self.denied.get_or_create(&self.group(tenant, tier)).inc();
    }

    pub(super) fn record_findings(&self, tenant: &str, findings: Findings) {
        locked(&self.findings).insert(tenant.to_owned(), findings);
    }

    pub(super) fn forget_findings(&self, tenant: &str) {
        locked(&self.findings).remove(tenant);
    }

    pub(super) fn record_orphans(&self, place: String, count: u64) {
        locked(&self.orphans).insert(place, count);
    }

    /// Those of tenants without series of their own are added up.
    fn groups(&self, figures: &Figures) -> BTreeMap<(String, String), GroupFigures> {
        let mut groups: BTreeMap<(String, String), GroupFigures> = BTreeMap::new();
        for ((tenant, tier), more) in &figures.groups {
            let Group { tenant, tier } = self.group(tenant, tier);
            let sums = groups.entry((tenant, tier)).or_default();
            sums.queues += more.queues;
            sums.compliant += more.compliant;
            sums.keys += more.keys;
            sums.cost += more.cost;
        }
        groups
    }

    fn encode_groups(&self, encoder: &mut DescriptorEncoder<'_>, figures: &Figures) -> fmt::Result {
        let groups = self.groups(figures);
        let counts: [GroupCount; 3] = [
            ("queues", "EncryptedQueues.", |group| group.queues),
            ("compliant_queues", "EncryptedQueues that are as declared: Ready.", |group| group.compliant),
            ("keys", "KMS keys that are billed.", |group| group.keys),
        ];
        for (name, help, value) in counts {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for ((tenant, tier), group) in &groups {
                let labels = Group { tenant: tenant.clone(), tier: tier.clone() };
                ConstGauge::new(value(group)).encode(family.encode_family(&labels)?)?;
            }
        }
        let dollars = Unit::Other("dollars".to_owned());
        let help = "Estimated KMS cost a month, from declared values.";
        let mut family = encoder.encode_descriptor("estimated_monthly_cost", help, Some(&dollars), MetricType::Gauge)?;
        for ((tenant, tier), group) in &groups {
            let labels = Group { tenant: tenant.clone(), tier: tier.clone() };
            ConstGauge::new(as_dollars(group.cost)).encode(family.encode_family(&labels)?)?;
        }
        let help = "A tenant's limit of its estimated KMS cost a month (spec.limits.monthlyKmsUsd).";
        let mut family = encoder.encode_descriptor("monthly_budget", help, Some(&dollars), MetricType::Gauge)?;
        for (tenant, budget) in &figures.budgets {
            // A sum of budgets is no budget.
            if self.tenants.label(tenant) == *tenant {
                ConstGauge::new(as_dollars(*budget)).encode(family.encode_family(&[("tenant", tenant.as_str())])?)?;
            }
        }
        Ok(())
    }

    fn encode_findings(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut sums: BTreeMap<(String, &'static str, &'static str), u64> = BTreeMap::new();
        for (tenant, findings) in locked(&self.findings).iter() {
            for ((check, severity), count) in findings {
                *sums.entry((self.tenants.label(tenant), check, severity)).or_default() += count;
            }
        }
        let help = "Findings of the last audit that are not accepted, by check and severity.";
        let mut family = encoder.encode_descriptor("audit_findings", help, None, MetricType::Gauge)?;
        for ((tenant, check, severity), count) in sums {
            ConstGauge::new(count).encode(family.encode_family(&FindingLabels { tenant, check, severity })?)?;
        }
        Ok(())
    }

    fn encode_limits(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let limits = self.limits.get();
        let help = "Requests to AWS that AWS throttled.";
        let mut family = encoder.encode_descriptor("aws_throttles", help, None, MetricType::Counter)?;
        for (operation, limit) in &limits {
            ConstCounter::new(limit.throttled).encode(family.encode_family(&[("operation", operation.as_str())])?)?;
        }
        let help = "How long requests to AWS waited for its quota before they were sent.";
        let mut family = encoder.encode_descriptor("aws_quota_wait", help, Some(&Unit::Seconds), MetricType::Counter)?;
        for (operation, limit) in &limits {
            ConstCounter::new(limit.waited.as_secs_f64()).encode(family.encode_family(&[("operation", operation.as_str())])?)?;
        }
        Ok(())
    }
}

/// Prometheus knows floats only.
#[allow(clippy::cast_precision_loss)]
fn as_dollars(money: Money) -> f64 {
    money.as_micro() as f64 / 1_000_000.0
}

impl Collector for FigureMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.counted.get();
        self.encode_groups(&mut encoder, &figures)?;
        let orphans: u64 = locked(&self.orphans).values().sum();
        let single: [(&str, &str, u64); 3] = [
            ("tenants_over_budget", "Tenants whose estimated cost is over their budget.", figures.over_budget),
            ("approvals_waiting", "EncryptedQueues whose access waits for an AccessApproval.", figures.approvals_waiting),
            ("orphaned_keys", "Keys of this cluster that no QueueKey records and that were never let go of, as last swept.", orphans),
        ];
        for (name, help, value) in single {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let help = "When the approval was asked for that has waited longest; 0: none waits.";
        let oldest = encoder.encode_descriptor("approval_oldest_request_timestamp", help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(figures.oldest_approval.unwrap_or(0)).encode(oldest)?;
        self.encode_findings(&mut encoder)?;
        self.encode_limits(&mut encoder)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::aws::CallCounts;
    use crate::telemetry::metrics::Metrics;

    fn metrics() -> Metrics {
        Metrics::new(Arc::new(CallCounts::default()))
    }

    fn value(metrics: &Metrics, series: &str) -> Option<String> {
        let text = metrics.encode().unwrap();
        text.lines().find_map(|line| line.strip_prefix(&format!("encrypted_queue_{series} "))).map(str::to_owned)
    }

    fn figures(tenants: usize) -> Figures {
        let group = GroupFigures { queues: 4, compliant: 3, keys: 2, cost: Money::parse("2.5").unwrap() };
        let groups = (0..tenants).map(|number| ((format!("tenant-{number:03}"), "internal".to_owned()), group)).collect();
        let budgets = (0..tenants).map(|number| (format!("tenant-{number:03}"), Money::whole(9))).collect();
        Figures { groups, budgets, over_budget: 1, approvals_waiting: 2, oldest_approval: Some(1_700_000_000) }
    }

    #[test]
    fn figures_are_told_by_tenant_and_tier() {
        let metrics = metrics();
        metrics.set_figures(|| figures(1));
        let get = |series: &str| value(&metrics, series);
        let labels = r#"{tenant="tenant-000",tier="internal"}"#;
        assert_eq!(get(&format!("compliant_queues{labels}")).as_deref(), Some("3"));
        assert_eq!(get(&format!("estimated_monthly_cost_dollars{labels}")).as_deref(), Some("2.5"));
        assert_eq!(get(r#"monthly_budget_dollars{tenant="tenant-000"}"#).as_deref(), Some("9.0"));
        assert_eq!(get("approvals_waiting").as_deref(), Some("2"));
        assert_eq!(get("approval_oldest_request_timestamp_seconds").as_deref(), Some("1700000000"));
        assert_eq!(get("tenants_over_budget").as_deref(), Some("1"));
    }

    #[test]
    fn tenants_past_the_cap_are_one_series() {
        let metrics = metrics();
        metrics.set_figures(|| figures(MOST_NAMES + 30));
        let text = metrics.encode().unwrap();
        let series = text.lines().filter(|line| line.starts_with("encrypted_queue_queues{")).count();
        assert_eq!(series, MOST_NAMES + 1);
        assert_eq!(value(&metrics, r#"queues{tenant="other",tier="internal"}"#).as_deref(), Some("120"));
        metrics.denied("somebody-late", "internal");
        assert_eq!(value(&metrics, r#"denied_kms_calls_total{tenant="other",tier="internal"}"#).as_deref(), Some("1"));
        assert!(!text.contains(r#"monthly_budget_dollars{tenant="other"}"#));
    }

    #[test]
    fn what_happens_is_counted_and_what_is_found_is_replaced() {
        let metrics = metrics();
        metrics.remedied("acme", "internal", Duration::from_mins(10));
        let labels = r#"tenant="acme",tier="internal""#;
        assert_eq!(value(&metrics, &format!("time_to_remedy_seconds_bucket{{le=\"300.0\",{labels}}}")).as_deref(), Some("0"));
        assert_eq!(value(&metrics, &format!("time_to_remedy_seconds_bucket{{le=\"900.0\",{labels}}}")).as_deref(), Some("1"));
        let check = r#"audit_findings{tenant="acme",check="sqs-public",severity="critical"}"#;
        metrics.record_findings("acme", Findings::from([(("sqs-public", "critical"), 3)]));
        assert_eq!(value(&metrics, check).as_deref(), Some("3"));
        metrics.record_findings("acme", Findings::new());
        assert_eq!(value(&metrics, check), None);
        metrics.record_orphans("111122223333/eu-west-1", 2);
        metrics.record_orphans("111122223333/eu-central-1", 1);
        assert_eq!(value(&metrics, "orphaned_keys").as_deref(), Some("3"));
        metrics.record_orphans("111122223333/eu-west-1", 0);
        assert_eq!(value(&metrics, "orphaned_keys").as_deref(), Some("1"));
    }

    #[test]
    fn limits_of_calls_are_read_at_each_scrape() {
        let metrics = metrics();
        metrics.set_call_limits(|| BTreeMap::from([("kms:CreateKey".to_owned(), CallLimits { throttled: 4, waited: Duration::from_millis(1500) })]));
        assert_eq!(value(&metrics, r#"aws_throttles_total{operation="kms:CreateKey"}"#).as_deref(), Some("4"));
        assert_eq!(value(&metrics, r#"aws_quota_wait_seconds_total{operation="kms:CreateKey"}"#).as_deref(), Some("1.5"));
    }
}
