//! Events: what the operator did and why something waits, told where `kubectl describe` shows it.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};

use crate::api::Reason;
use crate::api::reasons::Class;

/// Longest note the API server takes (events.k8s.io/v1).
const LONGEST_NOTE: usize = 1024;

/// So many Events a recorder publishes. It keeps each for six minutes, to count what comes again, and looks through all of them for every next one:
/// ten thousand new queues would cost it the square of that.
const PUBLISHED_BY_ONE: usize = 256;

/// Publishes Events; failures are logged and never hold a reconcile up.
#[derive(Clone)]
pub(super) struct Events {
    client: Client,
    reporter: Reporter,
    current: Arc<Mutex<(Recorder, usize)>>,
}

impl Events {
    pub(super) fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter { controller: "encryptedqueue.dev/operator".into(), instance: Some(instance.into()) };
        let recorder = Recorder::new(client.clone(), reporter.clone());
        Self { client, reporter, current: Arc::new(Mutex::new((recorder, 0))) }
    }

    /// The recorder of the next Event. An Event that comes again after a change of recorders is a new one.
    fn recorder(&self) -> Recorder {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let (recorder, published) = &mut *current;
        if *published == PUBLISHED_BY_ONE {
            *recorder = Recorder::new(self.client.clone(), self.reporter.clone());
            *published = 0;
        }
        *published += 1;
        recorder.clone()
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
        let recorder = self.recorder();
        tokio::spawn(async move {
            if let Err(error) = recorder.publish(&event, &reference).await {
                tracing::warn!(%error, reason = event.reason, "could not publish an Event");
            }
        });
    }
}
