//! Metrics of the operator's own audit.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Tenants that have series of their own; what the others have is summed up under `other`.
const MOST_TENANTS: usize = 200;

/// Open findings, by tenant (empty: it cannot be told whose), check and severity.
pub type FindingCounts = BTreeMap<(String, &'static str, &'static str), u64>;
/// Queues by tenant: compliant ones, and all.
pub type ComplianceCounts = BTreeMap<String, (u64, u64)>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FindingLabels {
    tenant: String,
    check: String,
    severity: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueueLabels {
    tenant: String,
    compliant: String,
}

/// What the last audit found.
#[derive(Debug, Default)]
pub(super) struct FindingMetrics {
    findings: Family<FindingLabels, Gauge>,
    queues: Family<QueueLabels, Gauge>,
}

impl FindingMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("audit_findings", "Open findings of the last audit, by tenant, check and severity", self.findings.clone());
        registry.register("audit_queues", "Queues of the last audit, declared or not, by tenant and whether they are compliant", self.queues.clone());
    }

    pub(super) fn set(&self, findings: &FindingCounts, queues: &ComplianceCounts) {
        let tenants: Vec<&String> = queues.keys().take(MOST_TENANTS).collect();
        let named = |tenant: &String| if tenants.binary_search(&tenant).is_ok() { tenant.clone() } else { "other".to_owned() };
        self.findings.clear();
        for ((tenant, check, severity), count) in findings {
            let labels = FindingLabels { tenant: named(tenant), check: (*check).to_owned(), severity: (*severity).to_owned() };
            self.findings.get_or_create(&labels).inc_by(i64::try_from(*count).unwrap_or(i64::MAX));
        }
        self.queues.clear();
        for (tenant, (compliant, all)) in queues {
            for (is, count) in [("true", *compliant), ("false", all - compliant)] {
                let labels = QueueLabels { tenant: named(tenant), compliant: is.to_owned() };
                self.queues.get_or_create(&labels).inc_by(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }
}
