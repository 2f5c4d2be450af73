//! Events: what the operator did and why something waits, told where `kubectl describe` shows it.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use crate::api::Reason;
use crate::api::reasons::Class;

/// Longest note the API server takes (events.k8s.io/v1).
const LONGEST_NOTE: usize = 1024;

/// Publishes Events; failures are logged and never hold a reconcile up.
#[derive(Clone)]
pub(super) struct Events(Recorder);

impl Events {
    pub(super) fn new(client: Client, instance: &str) -> Self {
        Self(Recorder::new(client, Reporter { controller: "encryptedqueue.dev/operator".into(), instance: Some(instance.into()) }))
    }

    /// Says that a reason came up; Stalled ones are warnings.
    pub(super) fn reason(&self, object: &impl Resource<DynamicType = ()>, reason: Reason, note: &str) {
        let type_ = if reason.class() == Class::Stalled { EventType::Warning } else { EventType::Normal };
        self.publish(object, type_, reason.as_str(), "Reconcile", note);
    }

    /// Says what was done in AWS.
    pub(super) fn done(&self, object: &impl Resource<DynamicType = ()>, what: &str, note: &str) {
        self.publish(object, EventType::Normal, what, "Apply", note);
    }

    /// Says what someone should look at.
    pub(super) fn warn(&self, object: &impl Resource<DynamicType = ()>, what: &str, note: &str) {
        self.publish(object, EventType::Warning, what, "Apply", note);
    }

    fn publish(&self, object: &impl Resource<DynamicType = ()>, type_: EventType, reason: &str, action: &str, note: &str) {
        let reference: ObjectReference = object.object_ref(&());
        let note: String = note.chars().take(LONGEST_NOTE - 24).collect();
        let event = Event { type_, reason: reason.into(), note: Some(note), action: action.into(), secondary: None };
        let recorder = self.0.clone();
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &reference).await {
                tracing::warn!(%error, reason = event.reason, "could not publish an Event");
            }
        });
    }
}
