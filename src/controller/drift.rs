//! The slow check: every object is compared with AWS once a period, so that what no event tells is found.
//!
//! An object's moment within the period follows from its name alone, so that checks are spread evenly, several instances do not check together, and one
//! that was started anew goes on where it is in the period. What is compared here and does not differ wakes nobody. What seems to differ is read once
//! more by itself, since tags and aliases were read for many objects together; what differs then is left to a reconcile.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use super::cache::{moment_of, named};
use super::claim::Standing;
use super::context::{Compared, Context, account_key};
use super::{encrypted_queue, queue_key};
use crate::api::conditions::{self, types};
use crate::api::{EncryptedQueue, QueueKey, Tenant};
use crate::aws::{AccountKey, Aliases, AwsError, Caller, Clients, ReadTogether, Reader, on_behalf};
use crate::clock;
use crate::plan::objects::is_paused;
use crate::telemetry::metrics::Ready;

/// Objects whose tags are read together: as many as a call takes, of a queue with its dead-letter queue and key.
const TOGETHER: u32 = 33;
/// Tags are at most this part of a period old.
const LEAST_BATCHES: u32 = 4;
/// Part of a period after which it is looked again which objects there are.
const LOOK_AGAIN: f64 = 1.0 / 16.0;
/// An account that does not answer holds up so many.
const AT_ONCE: usize = 8;
/// All aliases that the operator makes begin so.
const OUR_ALIASES: &str = "alias/encryptedqueue/";

/// What is read of AWS for a batch.
struct Known {
    clients: Arc<Clients>,
    together: ReadTogether,
}

struct SlowCheck {
    ctx: Arc<Context>,
    period: Duration,
    /// Aliases by account and Region, and in which period they were read.
    aliases: Mutex<HashMap<AccountKey, (f64, Arc<Aliases>)>>,
}

/// Runs until dropped.
pub(super) async fn slow_check(ctx: Arc<Context>, period: Duration) {
    let check = Arc::new(SlowCheck { ctx, period, aliases: Mutex::default() });
    let mut from = position(clock::now(), period);
    loop {
        let objects = check.objects();
        let batch = 1.0 / f64::from((u32::try_from(objects.len()).unwrap_or(u32::MAX) / TOGETHER).clamp(LEAST_BATCHES, 100_000));
        // A fleet is looked through some times a period, not for each batch.
        let end = from + batch.max(LOOK_AGAIN);
        let mut ahead = due(objects, from, end).into_iter().peekable();
        while from < end {
            from += batch;
            let due: Vec<_> = std::iter::from_fn(|| ahead.next_if(|(at, _)| *at < from || from >= end)).collect();
            Box::pin(check.clone().batch(due)).await;
            check.sleep_until(from.min(end)).await;
        }
        from = end;
    }
}

/// Time in periods.
pub(super) fn position(now: Timestamp, period: Duration) -> f64 {
    Duration::try_from(now.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default().div_duration_f64(period)
}

/// Where in its period an object is checked, from 0 to 1.
pub(super) fn phase(moment: u32) -> f64 {
    f64::from(moment) / (f64::from(u32::MAX) + 1.0)
}

/// The objects whose moment comes in this stretch of time, in order, and when that is.
pub(super) fn due<T>(objects: Vec<(f64, T)>, from: f64, until: f64) -> Vec<(f64, T)> {
    let moment = |phase: f64| {
        let this = from.floor() + phase;
        if this < from { this + 1.0 } else { this }
    };
    let mut due: Vec<_> = objects.into_iter().map(|(phase, object)| (moment(phase), object)).filter(|(at, _)| *at < until).collect();
    due.sort_by(|a, b| a.0.total_cmp(&b.0));
    due
}

impl SlowCheck {
    async fn sleep_until(&self, moment: f64) {
        let rest = moment - position(clock::now(), self.period);
        if rest > 0.0 {
            tokio::time::sleep(clock::real(self.period.mul_f64(rest))).await;
        }
    }

    /// What is settled: the rest is being worked on anyway. A key comes with its queue.
    fn objects(&self) -> Vec<(f64, Compared)> {
        let mut objects = Vec::new();
        self.ctx.stores.queues.look(|name, queue| {
            if queue.is_settled {
                objects.push((phase(moment_of(name)), Compared::Queue(named(name))));
            }
        });
        self.ctx.stores.keys.look(|name, key| {
            if key.ready == Ready::True {
                objects.push((phase(key.moment), Compared::Key(name.to_owned())));
            }
        });
        objects
    }

    async fn batch(self: Arc<Self>, objects: Vec<(f64, Compared)>) {
        let Some((first, _)) = objects.first() else { return };
        // Not before: a start reads nothing, and what is read is not older than it need be.
        self.sleep_until(*first).await;
        let known = Arc::new(on_behalf(Caller::SlowCheck, Box::pin(self.read_together(&objects))).await);
        let mut checks = JoinSet::new();
        for (at, object) in objects {
            self.sleep_until(at).await;
            if checks.len() >= AT_ONCE {
                checks.join_next().await;
            }
            let (check, known) = (self.clone(), known.clone());
            checks.spawn(on_behalf(Caller::SlowCheck, async move { check.check(&object, &known).await }));
        }
        checks.join_all().await;
    }

    /// Tags of a batch, and aliases, for each account and Region. Where they cannot be read, each object is read by itself.
    async fn read_together(&self, objects: &[(f64, Compared)]) -> HashMap<AccountKey, Known> {
        let mut arns: BTreeMap<String, (AccountKey, Vec<String>)> = BTreeMap::new();
        for (_, object) in objects {
            if let Some((place, resources)) = self.resources(object) {
                arns.entry(format!("{place:?}")).or_insert_with(|| (place, Vec::new())).1.extend(resources);
            }
        }
        let mut known = HashMap::new();
        for (place, arns) in arns.into_values() {
            match self.read_place(&place, &arns).await {
                Ok(read) => drop(known.insert(place, read)),
                Err(error) => tracing::warn!(account = place.account_id, region = place.region, %error, "could not read tags and aliases together"),
            }
        }
        known
    }

    async fn read_place(&self, place: &AccountKey, arns: &[String]) -> Result<Known, AwsError> {
        let clients = self.ctx.accounts.clients(place).await?;
        let now = position(clock::now(), self.period);
        let kept =
            self.aliases.lock().unwrap_or_else(PoisonError::into_inner).get(place).filter(|(at, _)| now - at < 1.0).map(|(_, known)| known.clone());
        let aliases = if let Some(aliases) = kept {
            aliases
        } else {
            let read = Arc::new(clients.all_aliases(OUR_ALIASES).await?);
            self.aliases.lock().unwrap_or_else(PoisonError::into_inner).insert(place.clone(), (now, read.clone()));
            read
        };
        Ok(Known { together: ReadTogether { tags: clients.tags_of(arns).await?, aliases }, clients })
    }

    /// Where an object's resources are, and what their ARNs are.
    fn resources(&self, object: &Compared) -> Option<(AccountKey, Vec<String>)> {
        match object {
            Compared::Queue(name) => {
                let queue = self.ctx.queue(name)?;
                let (tenant, status) = (self.ctx.tenant(&queue.spec.tenant)?, queue.status.as_ref()?);
                let arns = status.queue.iter().chain(&status.dead_letter_queue).map(|reference| reference.arn.clone()).collect();
                Some((account_key(&tenant, queue.spec.region.as_deref()), arns))
            }
            Compared::Key(name) => {
                let key = self.ctx.key(name)?;
                let tenant = self.ctx.tenant(&key.spec.tenant)?;
                Some((account_key(&tenant, Some(&key.spec.region)), key.status.as_ref()?.arn.clone().into_iter().collect()))
            }
        }
    }

    async fn check(&self, object: &Compared, known: &HashMap<AccountKey, Known>) {
        let place = self.resources(object).map(|(place, _)| place);
        let known = place.and_then(|place| known.get(&place));
        let differs = match object {
            Compared::Queue(name) => match self.ctx.queue(name) {
                Some(queue) => self.queue_differs(&queue, known).await,
                None => return,
            },
            Compared::Key(name) => match self.ctx.key(name) {
                Some(key) => self.key_differs(&key, known).await,
                None => return,
            },
        };
        if let Err(error) = &differs {
            tracing::debug!(%error, "could not compare with AWS");
        }
        // A reconcile tells of what cannot be read.
        if differs.unwrap_or(true) {
            self.ctx.compare(object);
        }
    }

    /// Whether this install manages the tenant; as long as the first is kept, it stays so.
    async fn entered(&self, tenant: &str) -> Option<(impl Drop + use<>, Arc<Tenant>)> {
        let within = self.ctx.claims.enter(tenant).await;
        let tenant = self.ctx.tenant(tenant)?;
        (self.ctx.claims.standing(&tenant) == Standing::Ours).then_some((within, tenant))
    }

    async fn queue_differs(&self, queue: &EncryptedQueue, known: Option<&Known>) -> Result<bool, AwsError> {
        let Some(_entered) = self.entered(&queue.spec.tenant).await else { return Ok(false) };
        let is_ready = queue.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, types::READY));
        let Some(Known { clients, together }) = known.filter(|_| is_ready && !is_paused(queue) && queue.metadata.deletion_timestamp.is_none()) else {
            return Ok(true);
        };
        let reader = |together| Reader { clients, together };
        Ok(encrypted_queue::differs(&self.ctx, queue, &reader(Some(together))).await?
            && encrypted_queue::differs(&self.ctx, queue, &reader(None)).await?)
    }

    async fn key_differs(&self, key: &QueueKey, known: Option<&Known>) -> Result<bool, AwsError> {
        let Some((_entered, tenant)) = self.entered(&key.spec.tenant).await else { return Ok(false) };
        let Some(Known { clients, together }) = known.filter(|_| key.metadata.deletion_timestamp.is_none()) else { return Ok(true) };
        let reader = |together| Reader { clients, together };
        Ok(queue_key::differs(&self.ctx, key, &tenant, &reader(Some(together))).await?
            && queue_key::differs(&self.ctx, key, &tenant, &reader(None)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_object_has_its_moment_once_a_period_wherever_it_starts() {
        let objects: Vec<(f64, usize)> = (0..1000).map(|number| (phase(moment_of(&format!("team/queue-{number}"))), number)).collect();
        for start in [0.0, 493_000.37, 493_000.999] {
            let mut seen = vec![0; 1000];
            let mut from = start;
            for _ in 0..50 {
                let batch = due(objects.clone(), from, from + 0.02);
                assert!(batch.len() < 50, "spread evenly: {}", batch.len());
                assert!(batch.is_sorted_by(|a, b| a.0 <= b.0) && batch.iter().all(|(at, _)| (from..from + 0.02).contains(at)));
                for (_, number) in &batch {
                    seen[*number] += 1;
                }
                from += 0.02;
            }
            assert!(seen.iter().filter(|times| **times != 1).count() <= 1, "rounding may move the one on the edge");
        }
    }
}
