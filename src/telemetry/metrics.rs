//! Metrics for Prometheus. Every label is from a closed set, so the number of series does not grow with the number of queues.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, LabelValueEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::events::{EventMetrics, EventOutcome};
use super::figures::{FigureMetrics, Figures, Findings};
use crate::aws::{CallCount, CallCounts, CallLimits};

/// From one call to AWS to waiting for many.
const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

macro_rules! label {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// As in the label.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut LabelValueEncoder) -> fmt::Result {
                self.as_str().encode(encoder)
            }
        }
    };
}
pub(super) use label;

label! {
    /// Label `kind`.
    Kind {
        /// An EncryptedQueue.
        EncryptedQueue = "EncryptedQueue",
        /// A QueueKey.
        QueueKey = "QueueKey",
        /// A Tenant.
        Tenant = "Tenant",
        /// A SensitivityTier.
        SensitivityTier = "SensitivityTier",
        /// An AccessApproval.
        AccessApproval = "AccessApproval",
    }
}

label! {
    /// How a reconcile ended: label `result`.
    ReconcileResult {
        /// Nothing is left to do.
        Complete = "complete",
        /// Nothing can be done now.
        Held = "held",
        /// A call failed.
        Failed = "failed",
    }
}

label! {
    /// The status of the condition Ready: label `ready`.
    Ready {
        /// True.
        True = "true",
        /// False.
        False = "false",
        /// Unknown, or not yet there.
        Unknown = "unknown",
    }
}

/// How many objects there are; what is left out is zero.
pub type ObjectCounts = BTreeMap<(Kind, Ready), u64>;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reconciles {
    kind: Kind,
    result: ReconcileResult,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Objects {
    kind: Kind,
    ready: Ready,
}

/// All metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    durations: Family<Reconciles, Histogram, fn() -> Histogram>,
    reconciles: Family<Reconciles, Counter>,
    events: EventMetrics,
    figures: Arc<FigureMetrics>,
    now: Arc<Now>,
}

impl Metrics {
    /// With the calls that are counted there.
    pub fn new(aws_calls: Arc<CallCounts>) -> Self {
        let mut registry = Registry::with_prefix("encrypted_queue");
        let durations = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        let reconciles = Family::default();
        let now = Arc::new(Now { aws_calls, leader: Source::default(), objects: Source::default() });
        registry.register("build", "What is running", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register_with_unit("reconcile_duration", "How long reconciling an object took", Unit::Seconds, durations.clone());
        registry.register("reconcile", "Reconciles of an object, by how they ended", reconciles.clone());
        let events = EventMetrics::default();
        events.register(&mut registry);
        let figures = Arc::new(FigureMetrics::default());
        figures.register(&mut registry);
        registry.register_collector(Box::new(now.clone()));
        Self(Arc::new(Inner { registry, durations, reconciles, events, figures, now }))
    }

    /// Counts a reconcile.
    pub fn reconciled(&self, kind: Kind, result: ReconcileResult, took: Duration) {
        let labels = Reconciles { kind, result };
        self.0.durations.get_or_create(&labels).observe(took.as_secs_f64());
        self.0.reconciles.get_or_create(&labels).inc();
    }

    /// Counts an event from AWS.
    pub fn event(&self, outcome: EventOutcome) {
        self.0.events.event(outcome);
    }

    /// Counts a failure to read the queue of events.
    pub fn event_queue_failed(&self) {
        self.0.events.failed();
    }

    /// What tells at each scrape whether this process leads; until then it does not. Only the first call counts.
    pub fn set_leader(&self, leads: impl Fn() -> bool + Send + Sync + 'static) {
        self.0.now.leader.set(leads);
    }

    /// What counts the objects at each scrape. Only the first call counts.
    pub fn set_objects(&self, count: impl Fn() -> ObjectCounts + Send + Sync + 'static) {
        self.0.now.objects.set(count);
    }

    /// What tells the figures at each scrape. Only the first call counts.
    pub fn set_figures(&self, figures: impl Fn() -> Figures + Send + Sync + 'static) {
        self.0.figures.counted.set(figures);
    }

    /// What tells at each scrape by operation what held calls to AWS up. Only the first call counts.
    pub fn set_call_limits(&self, limits: impl Fn() -> BTreeMap<String, CallLimits> + Send + Sync + 'static) {
        self.0.figures.limits.set(limits);
    }

    /// Notes how long a queue was not as declared.
    pub fn remedied(&self, tenant: &str, tier: &str, took: Duration) {
        self.0.figures.remedied(tenant, tier, took);
    }

    /// Counts a use of a key that KMS denied.
    pub fn denied(&self, tenant: &str, tier: &str) {
        self.0.figures.denied(tenant, tier);
    }

    /// Notes what the last audit of a tenant found, in place of what the one before did. Checks and severities are closed sets.
    pub fn record_findings(&self, tenant: &str, findings: Findings) {
        self.0.figures.record_findings(tenant, findings);
    }

    /// Forgets what the audits of a tenant found: there is none of that name any more.
    pub fn forget_findings(&self, tenant: &str) {
        self.0.figures.forget_findings(tenant);
    }

    /// Notes how many keys of an account and Region nothing records.
    pub fn record_orphans(&self, place: impl Into<String>, count: u64) {
        self.0.figures.record_orphans(place.into(), count);
    }

    /// All metrics in OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

/// Something that is asked when it is needed, once it is known whom to ask.
pub(super) struct Source<T>(OnceLock<Box<dyn Fn() -> T + Send + Sync>>);

impl<T: Default> Source<T> {
    pub(super) fn set(&self, source: impl Fn() -> T + Send + Sync + 'static) {
        self.0.get_or_init(|| Box::new(source));
    }

    pub(super) fn get(&self) -> T {
        self.0.get().map(|source| source()).unwrap_or_default()
    }
}

impl<T> Default for Source<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> fmt::Debug for Source<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Source").finish_non_exhaustive()
    }
}

/// What is found out at each scrape.
#[derive(Debug)]
struct Now {
    aws_calls: Arc<CallCounts>,
    leader: Source<bool>,
    objects: Source<ObjectCounts>,
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let leader = ConstGauge::new(i64::from(self.leader.get()));
        leader.encode(encoder.encode_descriptor("leader", "1 in the process that writes, 0 in the others.", None, MetricType::Gauge)?)?;

        let present = self.objects.get();
        let mut objects = encoder.encode_descriptor("objects", "Objects, by the condition Ready.", None, MetricType::Gauge)?;
        for kind in Kind::ALL.iter().copied() {
            for ready in Ready::ALL.iter().copied() {
                let count = present.get(&(kind, ready)).copied().unwrap_or_default();
                ConstGauge::new(count).encode(objects.encode_family(&Objects { kind, ready })?)?;
            }
        }

        // Attempts and errors, not successes: what is under way is neither yet, and a counter must not go back.
        let calls = self.aws_calls.snapshot();
        let mut counter = |name, help, value: fn(&CallCount) -> u64| -> fmt::Result {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            calls.iter().try_for_each(|(operation, count)| {
                ConstCounter::new(value(count)).encode(family.encode_family(&[("operation", operation.as_str())])?)
            })
        };
        counter("aws_calls", "Requests to AWS, repeated ones included.", |count| count.attempts)?;
        counter("aws_call_errors", "Requests to AWS that failed.", |count| count.errors)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::collections::BTreeSet;

    use super::*;

    fn metrics() -> Metrics {
        Metrics::new(Arc::new(CallCounts::default()))
    }

    fn value(metrics: &Metrics, series: &str) -> Option<f64> {
        let text = metrics.encode().unwrap();
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).map(|value| value.parse().unwrap())
    }

    #[test]
    fn reconciles_are_counted_and_timed() {
        let metrics = metrics();
        metrics.reconciled(Kind::EncryptedQueue, ReconcileResult::Complete, Duration::from_millis(300));
        metrics.clone().reconciled(Kind::EncryptedQueue, ReconcileResult::Complete, Duration::from_millis(20));
        metrics.reconciled(Kind::QueueKey, ReconcileResult::Failed, Duration::from_mins(2));
        let queue = r#"kind="EncryptedQueue",result="complete""#;
        let get = |series: &str| value(&metrics, series);
        assert_eq!(get(&format!("encrypted_queue_reconcile_total{{{queue}}}")), Some(2.0));
        assert_eq!(get(r#"encrypted_queue_reconcile_total{kind="QueueKey",result="failed"}"#), Some(1.0));
        assert_eq!(get(&format!("encrypted_queue_reconcile_duration_seconds_sum{{{queue}}}")), Some(0.32));
        assert_eq!(get(&format!("encrypted_queue_reconcile_duration_seconds_bucket{{le=\"0.025\",{queue}}}")), Some(1.0));
        assert_eq!(get(r#"encrypted_queue_reconcile_duration_seconds_bucket{le="30.0",kind="QueueKey",result="failed"}"#), Some(0.0));
    }

    #[test]
    fn calls_are_read_at_each_scrape() {
        let counts = Arc::new(CallCounts::default());
        let metrics = Metrics::new(counts.clone());
        let series = r#"encrypted_queue_aws_calls_total{operation="kms:CreateKey"}"#;
        assert_eq!(value(&metrics, series), None);
        counts.update("kms:CreateKey".to_owned(), |count| count.attempts += 3);
        assert_eq!(value(&metrics, series), Some(3.0));
        counts.update("kms:CreateKey".to_owned(), |count| count.errors += 1);
        assert_eq!(value(&metrics, series), Some(3.0));
        assert_eq!(value(&metrics, r#"encrypted_queue_aws_call_errors_total{operation="kms:CreateKey"}"#), Some(1.0));
    }

    #[test]
    fn the_leader_and_the_objects_are_asked_for_at_each_scrape() {
        let metrics = metrics();
        assert_eq!(value(&metrics, "encrypted_queue_leader"), Some(0.0));
        let lease = Arc::new(());
        let held = Arc::downgrade(&lease);
        metrics.set_leader(move || held.strong_count() > 0);
        assert_eq!(value(&metrics, "encrypted_queue_leader"), Some(1.0));
        drop(lease);
        assert_eq!(value(&metrics, "encrypted_queue_leader"), Some(0.0));

        let ready = r#"encrypted_queue_objects{kind="Tenant",ready="true"}"#;
        assert_eq!(value(&metrics, ready), Some(0.0));
        metrics.set_objects(|| ObjectCounts::from([((Kind::Tenant, Ready::True), 7)]));
        assert_eq!(value(&metrics, ready), Some(7.0));
        assert_eq!(value(&metrics, r#"encrypted_queue_objects{kind="Tenant",ready="false"}"#), Some(0.0));
    }

    #[test]
    fn the_text_is_complete_and_carries_the_prefix_once() {
        let metrics = metrics();
        metrics.reconciled(Kind::QueueKey, ReconcileResult::Held, Duration::ZERO);
        let text = metrics.encode().unwrap();
        assert!(text.ends_with("# EOF\n"));
        assert_eq!(value(&metrics, &format!("encrypted_queue_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), Some(1.0));
        let described: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let expected = [
            "encrypted_queue_build info",
            "encrypted_queue_leader gauge",
            "encrypted_queue_objects gauge",
            "encrypted_queue_reconcile counter",
            "encrypted_queue_reconcile_duration_seconds histogram",
        ];
        assert!(expected.iter().all(|line| described.contains(line)), "{text}");
        assert!(text.lines().filter(|line| line.starts_with("# HELP")).all(|line| line.ends_with('.') && !line.ends_with("..")), "{text}");
    }
}
