//! What is asked of all objects at once, so that none need be unpacked for it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{Kept, Names};
use crate::api::conditions::types;
use crate::api::labels::OWNED_BY;
use crate::api::{EncryptedQueue, QueueKey, Reason};
use crate::cost::Money;
use crate::telemetry::metrics::Ready;

/// Of a queue.
#[derive(Clone, Debug)]
pub(in crate::controller) struct QueueFacts {
    pub(in crate::controller) tenant: Arc<str>,
    pub(in crate::controller) tier: Arc<str>,
    pub(in crate::controller) created: Option<Timestamp>,
    pub(in crate::controller) ready: Ready,
    /// Status says something about Ready.
    pub(in crate::controller) is_settled: bool,
    /// Status records a queue in AWS.
    pub(in crate::controller) is_made: bool,
    /// Refused because its tenant has too many.
    pub(in crate::controller) is_over_limit: bool,
    pub(in crate::controller) cost: Money,
}

/// Of a key.
#[derive(Clone, Debug)]
pub(in crate::controller) struct KeyFacts {
    pub(in crate::controller) tenant: Arc<str>,
    pub(in crate::controller) tier: Arc<str>,
    pub(in crate::controller) ready: Ready,
    /// It is for one queue.
    pub(in crate::controller) is_own: bool,
    /// Hash of the queue it is for, or of its own name.
    pub(in crate::controller) moment: u32,
    /// There is a key in AWS that is not about to be deleted.
    pub(in crate::controller) is_billed: bool,
    /// How many queues' access waits for an approval.
    pub(in crate::controller) waiting: u32,
    /// Since when, in seconds since 1970.
    pub(in crate::controller) waiting_since: Option<i64>,
}

/// Of a ConfigMap nothing is read but whether it says the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::controller) struct MapFacts {
    owner: Option<u64>,
    entries: Box<[u64]>,
}

impl MapFacts {
    /// Whether the map is this object's and says all of this; what others add beside it is theirs.
    pub(in crate::controller) fn says(&self, owner: &str, data: &BTreeMap<&str, &str>) -> bool {
        self.owner == Some(hash_of(&owner)) && data.iter().all(|entry| self.entries.contains(&hash_of(&entry)))
    }
}

pub(in crate::controller) fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// When in its period an object is checked.
pub(in crate::controller) fn moment_of(name: &str) -> u32 {
    u32::try_from(hash_of(&name) >> 32).unwrap_or_default()
}

/// What conditions say of Ready.
pub(in crate::controller) fn ready_of(conditions: &[Condition]) -> Ready {
    match conditions.iter().find(|condition| condition.type_ == types::READY).map(|condition| condition.status.as_str()) {
        Some("True") => Ready::True,
        Some("False") => Ready::False,
        _ => Ready::Unknown,
    }
}

impl Kept for EncryptedQueue {
    type Facts = QueueFacts;
    const WHOLE: bool = true;

    fn facts(&self, names: &mut Names) -> QueueFacts {
        let status = self.status.as_ref();
        let conditions = status.map_or(&[][..], |status| &status.conditions);
        let over_limit = |c: &Condition| c.type_ == types::ACCEPTED && c.status == "False" && c.reason == Reason::QueueLimitReached.as_str();
        QueueFacts {
            tenant: names.shared(&self.spec.tenant),
            tier: names.shared(&self.spec.sensitivity_tier),
            created: self.metadata.creation_timestamp.as_ref().map(|created| created.0),
            ready: ready_of(conditions),
            is_settled: conditions.iter().any(|condition| condition.type_ == types::READY),
            is_made: status.is_some_and(|status| status.queue.is_some()),
            is_over_limit: conditions.iter().any(over_limit),
            cost: status.and_then(|status| Money::parse(status.estimated_monthly_usd.as_ref()?)).unwrap_or_default(),
        }
    }

    fn tenant(facts: &QueueFacts) -> Option<&Arc<str>> {
        Some(&facts.tenant)
    }

    fn family(facts: &QueueFacts) -> Option<(Arc<str>, Arc<str>)> {
        facts.is_made.then(|| (facts.tenant.clone(), facts.tier.clone()))
    }
}

impl Kept for QueueKey {
    type Facts = KeyFacts;
    const WHOLE: bool = true;

    fn facts(&self, names: &mut Names) -> KeyFacts {
        let status = self.status.as_ref();
        let pending = status.map_or(&[][..], |status| &status.pending_grants);
        KeyFacts {
            tenant: names.shared(&self.spec.tenant),
            tier: names.shared(&self.spec.sensitivity_tier),
            ready: ready_of(status.map_or(&[][..], |status| &status.conditions)),
            is_own: self.spec.queue.is_some(),
            moment: moment_of(&self.spec.queue.as_ref().map_or_else(|| self.name_any(), ToString::to_string)),
            is_billed: status.is_some_and(|status| status.key_id.is_some() && status.key_state.as_deref() != Some("PendingDeletion")),
            waiting: u32::try_from(pending.len()).unwrap_or(u32::MAX),
            waiting_since: pending.iter().map(|pending| pending.requested_at.0.as_second()).min(),
        }
    }

    fn tenant(facts: &KeyFacts) -> Option<&Arc<str>> {
        Some(&facts.tenant)
    }

    fn family(facts: &KeyFacts) -> Option<(Arc<str>, Arc<str>)> {
        facts.is_billed.then(|| (facts.tenant.clone(), facts.tier.clone()))
    }
}

impl Kept for ConfigMap {
    type Facts = MapFacts;
    const WHOLE: bool = false;

    fn facts(&self, _: &mut Names) -> MapFacts {
        let entries = self.data.iter().flatten().map(|(key, value)| hash_of(&(key.as_str(), value.as_str()))).collect();
        MapFacts { owner: self.labels().get(OWNED_BY).map(|owner| hash_of(&owner.as_str())), entries }
    }

    fn tenant(_: &MapFacts) -> Option<&Arc<str>> {
        None
    }

    fn family(_: &MapFacts) -> Option<(Arc<str>, Arc<str>)> {
        None
    }
}
