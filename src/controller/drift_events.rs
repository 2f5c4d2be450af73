//! Events from AWS, out of the operator's own queue: each names an object to compare with AWS now. What no event tells, the slow check finds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::ResourceExt;
use rand::RngExt;
use tokio::task::JoinSet;

use super::claim::Standing;
use super::context::{Compared, Context};
use crate::api::Tenant;
use crate::api::queue_key::NamespacedName;
use crate::audit::look::Target;
use crate::aws::{DriftQueue, Received};
use crate::desired::place_of;
use crate::drift::{Change, Debounce, Denied, Subject, Told, read};
use crate::names::QueueArn;
use crate::telemetry::events::EventOutcome;
use crate::telemetry::metrics::Metrics;

/// At most one comparison of an object in this time, and one more at its end.
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// The same refusal is told once in this time.
const BETWEEN_REFUSALS: Duration = Duration::from_mins(5);
/// After a failure to receive; doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Batches that wait for their last look at once: more are not taken.
const BATCHES: usize = 64;

/// Reads the queue of events.
pub(super) struct Consumer {
    ctx: Arc<Context>,
    metrics: Metrics,
    queue: DriftQueue,
    looks: Mutex<Debounce<Compared>>,
    refusals: Mutex<Debounce<(String, String, String)>>,
}

/// Runs until dropped.
pub(super) async fn consume(ctx: Arc<Context>, metrics: Metrics, queue: DriftQueue) {
    let consumer = Arc::new(Consumer {
        ctx,
        metrics,
        queue,
        looks: Mutex::new(Debounce::new(BETWEEN_LOOKS)),
        refusals: Mutex::new(Debounce::new(BETWEEN_REFUSALS)),
    });
    let (mut batches, mut pause) = (JoinSet::new(), FIRST_PAUSE);
    loop {
        match consumer.queue.receive().await {
            Ok(messages) => {
                pause = FIRST_PAUSE;
                if !messages.is_empty() {
                    batches.spawn(consumer.clone().batch(messages));
                }
            }
            Err(error) => {
                consumer.metrics.event_queue_failed();
                tracing::warn!(queue = consumer.queue.url(), %error, ?pause, "cannot receive events: until then only the slow check finds drift");
                let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
                tokio::time::sleep(jittered).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        while batches.len() >= BATCHES || batches.try_join_next().is_some() {
            if batches.len() >= BATCHES {
                batches.join_next().await;
            }
        }
    }
}

impl Consumer {
    /// Wakes what the messages are about; only then they are deleted, so that a crash before leaves them to the next process.
    async fn batch(self: Arc<Self>, messages: Vec<Received>) {
        let mut later: Vec<(Duration, Compared)> = Vec::new();
        for message in &messages {
            let (outcome, objects) = self.understand(&message.body);
            self.metrics.event(outcome);
            for object in objects {
                let wait = self.looks.lock().unwrap_or_else(PoisonError::into_inner).wait(object.clone(), Instant::now());
                if wait.is_zero() {
                    self.ctx.compare(&object);
                } else {
                    later.push((wait, object));
                }
            }
        }
        later.sort();
        later.dedup();
        let start = Instant::now();
        for (wait, object) in later {
            tokio::time::sleep(wait.saturating_sub(start.elapsed())).await;
            self.ctx.compare(&object);
        }
        if let Err(error) = self.queue.delete(&messages).await {
            tracing::warn!(queue = self.queue.url(), %error, "cannot delete events: they come again");
        }
    }

    fn understand(&self, body: &str) -> (EventOutcome, Vec<Compared>) {
        match read(body) {
            Ok(Told::Change(change)) => self.changed(&change),
            Ok(Told::Denied(denied)) => (self.denied(&denied), Vec::new()),
            Ok(Told::Nothing) => (EventOutcome::Irrelevant, Vec::new()),
            Err(error) => {
                tracing::warn!(%error, bytes = body.len(), "dropped a message that is not an event");
                (EventOutcome::Malformed, Vec::new())
            }
        }
    }

    fn changed(&self, change: &Change) -> (EventOutcome, Vec<Compared>) {
        if change.request_id.as_deref().is_some_and(|id| self.ctx.accounts.own_requests().contains(id)) {
            self.audit(change, false);
            return (EventOutcome::Own, Vec::new());
        }
        let objects: Vec<Compared> = change.subjects.iter().flat_map(|subject| self.objects(subject)).collect();
        self.audit(change, objects.is_empty());
        if objects.is_empty() {
            return (EventOutcome::Unrelated, objects);
        }
        tracing::info!(what = change.what, by = change.by, ?objects, "somebody changed something in AWS");
        (EventOutcome::Change, objects)
    }

    /// Has the audit look at what was changed: at what nothing declares, and otherwise only if it would tell of something that may be mended now.
    /// What is declared is compared and put right.
    fn audit(&self, change: &Change, undeclared: bool) {
        let tenants = self.ctx.stores.tenants.state();
        for subject in &change.subjects {
            let (account, region, target) = match subject {
                Subject::Queue { account, region, name } => (account, region, Target::Queue(name.clone())),
                Subject::Key(id) => (&change.account, &change.region, Target::Key(id.clone())),
                // With it comes its key.
                Subject::Alias { .. } => continue,
            };
            let ours = |tenant: &&Arc<Tenant>| {
                let aws = &tenant.spec.aws;
                aws.account_id == *account && aws.regions.contains(region) && self.ctx.claims.standing(tenant) == Standing::Ours
            };
            let Some(tenant) = tenants.iter().find(ours) else { continue };
            if undeclared || self.ctx.looks.has_findings(&target.arn(&place_of(tenant, Some(region)))) {
                self.ctx.looks.request(account, region, target);
            }
        }
    }

    /// Objects of this install that a subject belongs to.
    fn objects(&self, subject: &Subject) -> Vec<Compared> {
        let wake = &self.ctx.wake;
        let keys = |names: Vec<String>, is_there: &dyn Fn(&str, &str) -> bool| {
            let ours = |name: &String| {
                let Some(key) = self.ctx.key(name) else { return false };
                self.is_ours(&key.spec.tenant, Some(&key.spec.region), is_there)
            };
            names.into_iter().filter(ours).map(Compared::Key).collect()
        };
        match subject {
            Subject::Queue { account, region, name } => {
                let ours = |object: &NamespacedName| {
                    let Some(queue) = self.ctx.queue(object) else { return false };
                    self.is_ours(&queue.spec.tenant, queue.spec.region.as_deref(), &|its, there| its == account && there == region)
                };
                wake.queues_named(name).into_iter().filter(ours).map(Compared::Queue).collect()
            }
            Subject::Key(id) => keys(wake.keys_with_id(id), &|_, _| true),
            Subject::Alias { account, region, name } => keys(wake.keys_with_alias(name), &|its, there| its == account && there == region),
        }
    }

    fn is_ours(&self, tenant: &str, region: Option<&str>, is_there: &dyn Fn(&str, &str) -> bool) -> bool {
        self.ctx.tenant(tenant).is_some_and(|tenant| {
            let place = place_of(&tenant, region);
            self.ctx.claims.standing(&tenant) == Standing::Ours && is_there(&place.account, &place.region)
        })
    }

    /// Tells of a refusal on the queue, else on its key.
    fn denied(&self, denied: &Denied) -> EventOutcome {
        let Some(key) = self.objects(&Subject::Key(denied.key.clone())).into_iter().find_map(|object| match object {
            Compared::Key(name) => self.ctx.key(&name),
            Compared::Queue(_) => None,
        }) else {
            return EventOutcome::Unrelated;
        };
        self.metrics.denied(&key.spec.tenant, &key.spec.sensitivity_tier);
        let queue = denied.queue.as_deref().and_then(|arn| QueueArn::parse(arn).ok());
        let about = (denied.by.clone(), denied.what.clone(), queue.as_ref().map_or_else(|| key.name_any(), ToString::to_string));
        if !self.refusals.lock().unwrap_or_else(PoisonError::into_inner).wait(about, Instant::now()).is_zero() {
            return EventOutcome::Denied;
        }
        let users = key.status.iter().flat_map(|status| &status.users).map(|user| format!("{}/{}", user.namespace, user.name));
        let mut queues = users.filter_map(|user| self.ctx.stores.queues.get(&user));
        let named = |arn: &QueueArn| {
            queues.find(|queue| {
                let status = queue.status.as_ref();
                let references = status.into_iter().flat_map(|status| [&status.queue, &status.dead_letter_queue]).flatten();
                references.map(|reference| reference.arn.as_str()).any(|its| its == arn.as_str())
            })
        };
        let note = format!("{} was denied {} on the key {}", denied.by, denied.what, key.name_any());
        match queue.as_ref().and_then(named) {
            Some(queue) => self.ctx.events.warn(queue.as_ref(), "KeyAccessDenied", &note),
            None => self.ctx.events.warn(key.as_ref(), "KeyAccessDenied", &note),
        }
        EventOutcome::Denied
    }
}
