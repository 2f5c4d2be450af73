//! Metrics of the queue of events.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::metrics::label;

label! {
    /// What an event was: label `outcome`.
    EventOutcome {
        /// Somebody changed something of ours.
        Change = "change",
        /// Somebody was denied the use of a key of ours.
        Denied = "denied",
        /// This process's own call.
        Own = "own",
        /// About something that is nobody's here.
        Unrelated = "unrelated",
        /// A failed call, or one that changes nothing.
        Irrelevant = "irrelevant",
        /// Not an event.
        Malformed = "malformed",
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Outcome {
    outcome: EventOutcome,
}

/// Counts events.
#[derive(Debug, Default)]
pub(super) struct EventMetrics {
    events: Family<Outcome, Counter>,
    failures: Counter,
}

impl EventMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("drift_events", "Events taken from the queue of events, by what they told", self.events.clone());
        registry.register("drift_queue_failures", "Failed attempts to read the queue of events", self.failures.clone());
    }

    pub(super) fn event(&self, outcome: EventOutcome) {
        self.events.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn failed(&self) {
        self.failures.inc();
    }
}
