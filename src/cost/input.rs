//! What an estimate is made from.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::money::Money;
use super::requests::{Traffic, Users};
use crate::api::QueueKey;
use crate::api::queue_key::NamespacedName;
use crate::api::sensitivity_tier::Bounds;
use crate::desired::{DesiredQueue, place_of};
use crate::explain::Snapshot;
use crate::names::{Place, QueueArn};

/// What a queue's calls are estimated from.
#[derive(Clone, Copy, Debug, Default, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Basis {
    /// Every declared principal busy all month, dead letters the exception: the most it can be.
    #[default]
    Declared,
    /// Rates that were given.
    Rates,
    /// CloudWatch's counts of messages.
    CloudWatch,
}

/// All that an estimate needs.
#[derive(Clone, Debug, Default)]
pub struct CostInput {
    /// The queues.
    pub queues: Vec<QueueUse>,
    /// The keys that exist, or would, by the names of their QueueKeys.
    pub keys: BTreeMap<String, KeyUse>,
    /// Tenants' budgets.
    pub budgets: BTreeMap<String, Money>,
    /// What is to be said beside.
    pub notes: Vec<String>,
}

/// A queue.
#[derive(Clone, Debug)]
pub struct QueueUse {
    /// The object.
    pub object: NamespacedName,
    /// Its Tenant.
    pub tenant: String,
    /// Its SensitivityTier.
    pub tier: String,
    /// Where it lives.
    pub place: Place,
    /// The queue.
    pub queue: QueueArn,
    /// Its dead-letter queue.
    pub dead_letter_queue: Option<QueueArn>,
    /// Name of its QueueKey.
    pub key: String,
    /// Whether that is its own.
    pub own_key: bool,
    /// Reuse period.
    pub reuse_seconds: u64,
    /// What the tier admits.
    pub reuse_bounds: Bounds,
    /// Who uses the queue.
    pub users: Users,
    /// Who uses its dead-letter queue.
    pub dead_letter_users: Users,
    /// What the calls are estimated from.
    pub basis: Basis,
    /// Messages; none: not known.
    pub traffic: Option<Traffic>,
    /// Messages of the dead-letter queue; none: not known, and then it is taken to be idle.
    pub dead_letter_traffic: Option<Traffic>,
}

/// A key that AWS bills.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyUse {
    /// Its Tenant.
    pub tenant: String,
    /// Its SensitivityTier.
    pub tier: String,
    /// Where it lives.
    pub place: Place,
    /// Rotations so far.
    pub rotations: u64,
}

impl CostInput {
    /// What a snapshot of objects says: accepted queues, their keys, and keys that no queue uses any more.
    pub fn of(snapshot: &Snapshot, now: Timestamp) -> Self {
        let namesakes = snapshot.namesakes();
        let mut input = Self::default();
        for (name, object) in &snapshot.queues {
            match snapshot.judge(object, &namesakes, "", None) {
                Ok(desired) => input.add(snapshot, &desired),
                Err(refusal) => {
                    let why = refusal.violations.first().map(ToString::to_string).unwrap_or_default();
                    input.notes.push(format!("EncryptedQueue {name} is refused and left out: {why}"));
                }
            }
        }
        for (name, key) in &snapshot.keys {
            let Some(tenant) = snapshot.tenants.get(&key.spec.tenant) else { continue };
            // What is about to be deleted costs nothing.
            let state = key.status.as_ref().and_then(|status| status.key_state.as_deref());
            let exists = key.status.as_ref().is_some_and(|status| status.key_id.is_some()) && state != Some("PendingDeletion");
            let place = place_of(tenant, Some(&key.spec.region));
            let rotations = rotations(key, now);
            match input.keys.get_mut(name) {
                Some(known) => known.rotations = rotations,
                None if exists => {
                    let (tenant, tier) = (key.spec.tenant.clone(), key.spec.sensitivity_tier.clone());
                    input.notes.push(format!("QueueKey {name} is billed and no accepted queue uses it"));
                    input.keys.insert(name.clone(), KeyUse { tenant, tier, place, rotations });
                }
                None => {}
            }
        }
        for (name, tenant) in &snapshot.tenants {
            let limit = tenant.spec.limits.monthly_kms_usd.and_then(|dollars| u64::try_from(dollars).ok());
            input.budgets.extend(limit.map(|dollars| (name.clone(), Money::whole(dollars))));
        }
        input
    }

    fn add(&mut self, snapshot: &Snapshot, desired: &DesiredQueue) {
        let identity = &desired.key;
        let Some(tier) = snapshot.tiers.get(&identity.sensitivity_tier) else { return };
        let key = KeyUse { tenant: identity.tenant.clone(), tier: identity.sensitivity_tier.clone(), place: desired.place.clone(), rotations: 0 };
        self.keys.entry(desired.key_name.clone()).or_insert(key);
        self.queues.push(QueueUse {
            object: desired.object.clone(),
            tenant: identity.tenant.clone(),
            tier: identity.sensitivity_tier.clone(),
            place: desired.place.clone(),
            queue: desired.source.arn.clone(),
            dead_letter_queue: desired.dead_letter.as_ref().map(|side| side.arn.clone()),
            key: desired.key_name.clone(),
            own_key: identity.queue.is_some(),
            reuse_seconds: u64::try_from(desired.data_key_reuse_seconds).unwrap_or(1).max(1),
            reuse_bounds: tier.spec.data_key_reuse_seconds,
            users: Users::of(&desired.access),
            dead_letter_users: Users::of_dead_letters(&desired.access),
            basis: Basis::Declared,
            traffic: None,
            dead_letter_traffic: None,
        });
    }
}

/// Rotations of a key so far: on demand as recorded, automatic ones by its age.
fn rotations(key: &QueueKey, now: Timestamp) -> u64 {
    let Some(rotation) = key.status.as_ref().and_then(|status| status.rotation.as_ref()) else { return 0 };
    let on_demand = rotation.on_demand.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    let age = key.metadata.creation_timestamp.as_ref().map_or(0, |created| now.duration_since(created.0).as_hours().max(0) / 24);
    let automatic = rotation.period_days.map_or(0, |period| age / i64::from(period.max(1)));
    on_demand + u64::try_from(automatic).unwrap_or(0)
}
