//! What Kubernetes objects record → what plans start from. The controller and `encrypted-queue plan` both start here.

use jiff::Timestamp;

use super::action::QueueLocator;
use super::migration::needed_of_previous;
use super::observed::{ObservedKey, ObservedKeyObject, ObservedQueue};
use super::record::{is_genuine, is_lost, is_url_of};
use super::teardown::{EndingQueue, KeptQueue};
use crate::api::conditions::types;
use crate::api::encrypted_queue::QueueReference;
use crate::api::labels::{DELETE_NON_EMPTY, FINALIZER, PAUSED};
use crate::api::sensitivity_tier::{KeyScope, Others};
use crate::api::tenant::TenantAccess;
use crate::api::{DeletionPolicy, EncryptedQueue, QueueKey, Reason, SensitivityTier, Tenant};
use crate::desired::{
    DesiredQueue, KeyUserInput, PrincipalRules, QueueSide, Refusal, Retiring, claimed_names, object_name, place_of, queue_owner_tags,
};
use crate::names::{QueueArn, RoleArn};

/// Whether a person stopped all changes of a queue in AWS.
pub fn is_paused(queue: &EncryptedQueue) -> bool {
    annotation(queue, PAUSED).is_some_and(|value| value == "true")
}

/// The queue's and the dead-letter queue's ARNs as status records them.
pub fn recorded_arns(queue: &EncryptedQueue) -> Option<(QueueArn, Option<QueueArn>)> {
    let status = queue.status.as_ref()?;
    let parse = |reference: &Option<QueueReference>| reference.as_ref().and_then(|reference| QueueArn::parse(&reference.arn).ok());
    Some((parse(&status.queue)?, parse(&status.dead_letter_queue)))
}

/// A queue before anything is read; `key` is its QueueKey, unless that is ending, `others` those it uses or used beside that.
pub fn observed_queue(object: &EncryptedQueue, key: Option<&QueueKey>, others: &[&QueueKey], check: bool) -> ObservedQueue {
    ObservedQueue {
        finalizer: object.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER),
        key: key.map(|key| observed_key_object(key, object)),
        other_keys: others.iter().map(|key| observed_key_object(key, object)).collect(),
        check,
        ..ObservedQueue::recorded(&object.status.clone().unwrap_or_default())
    }
}

/// A key before anything is read.
pub fn observed_key(object: &QueueKey, check: bool) -> ObservedKey {
    ObservedKey { check, ..ObservedKey::recorded(&object.status.clone().unwrap_or_default()) }
}

/// What a queue needs to know of its key's object.
pub fn observed_key_object(key: &QueueKey, queue: &EncryptedQueue) -> ObservedKeyObject {
    let (status, uid, arns) = (key.status.as_ref(), queue.metadata.uid.as_deref(), recorded_arns(queue));
    let queue = &object_name(queue);
    let user = status.and_then(|s| s.users.iter().find(|u| u.namespace == queue.namespace && u.name == queue.name && Some(u.uid.as_str()) == uid));
    let ready = status.and_then(|s| s.conditions.iter().find(|condition| condition.type_ == types::READY && condition.status == "False"));
    ObservedKeyObject {
        deletion_policy: key.spec.deletion_policy,
        name: key.metadata.name.clone().unwrap_or_default(),
        shared: key.spec.scope == KeyScope::Tenant,
        lost: status.is_some_and(is_lost),
        arn: status.filter(|s| is_genuine(s)).and_then(|s| s.arn.clone()),
        releases: arns.is_some_and(|(arn, _)| status.is_some_and(|s| s.released_queues.iter().any(|released| released.arn == arn.as_str()))),
        holds: user.map(|user| user.grants_sha256.clone()),
        awaits_approval: status
            .and_then(|s| s.pending_grants.iter().find(|pending| pending.namespace == queue.namespace && pending.name == queue.name))
            .map(|pending| pending.gains.clone()),
        refused: status.iter().flat_map(|s| &s.refused_principals).filter_map(|arn| RoleArn::parse(arn).ok()).collect(),
        deleted: status.map(|s| s.deleted_principals.clone()).unwrap_or_default(),
        not_ready: ready.and_then(|condition| Some((Reason::parse(&condition.reason)?, condition.message.clone()))),
    }
}

/// A queue's rules, as far as they exist.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Its tenant.
    pub tenant: Option<&'a Tenant>,
    /// Its tier.
    pub tier: Option<&'a SensitivityTier>,
    /// The operator's role in the tenant's account.
    pub operator_role: Option<&'a RoleArn>,
}

impl Rules<'_> {
    /// What tenant and tier admit for a queue of theirs; None: one of them is missing.
    pub fn principals(&self, queue: &EncryptedQueue) -> Option<PrincipalRules> {
        let (tenant, tier) = self.tenant.zip(self.tier)?;
        let partition = place_of(tenant, queue.spec.region.as_deref()).partition;
        Some(PrincipalRules::new(&tenant.spec, &tier.spec, partition, self.operator_role))
    }
}

/// What a refused or paused queue keeps: what is applied, less what tenant and tier no longer admit. `granted`: its key holds grants of it, so that a
/// crash may have left queues that no status records.
pub fn kept_queue(object: &EncryptedQueue, rules: Rules<'_>, granted: bool, cluster_id: &str) -> Option<KeptQueue> {
    let tenant = rules.tenant?;
    let place = place_of(tenant, object.spec.region.as_deref());
    let named = || {
        let [name, dead_letter] = claimed_names(object).map(|name| place.queue_arn(&name));
        (name, Some(dead_letter))
    };
    let (queue, dead_letter_queue) = recorded_arns(object).or_else(|| granted.then(named))?;
    Some(KeptQueue {
        queue,
        dead_letter_queue,
        rules: rules.principals(object),
        place,
        owner: queue_owner_tags(cluster_id, object),
        others: rules.tier.map_or(Others::Unstated, |tier| tier.spec.access.others),
        suspended: tenant.spec.access == TenantAccess::Suspended,
    })
}

/// What happens to a queue in AWS when its declaration ends: what the tier forces, else what is declared. Where the tier is missing, what it forced is
/// not known, and nothing is lost.
pub fn deletion_policy(queue: &EncryptedQueue, tier: Option<&SensitivityTier>) -> DeletionPolicy {
    tier.map_or(DeletionPolicy::Retain, |tier| tier.spec.deletion_policy.unwrap_or(queue.spec.deletion_policy))
}

/// How a queue ends; `desired` if it is accepted.
pub fn ending_queue(object: &EncryptedQueue, desired: Option<&DesiredQueue>, tier: Option<&SensitivityTier>, cluster_id: &str) -> EndingQueue {
    let status = object.status.as_ref();
    let recorded = |reference: &Option<QueueReference>, side: Option<&QueueSide>| {
        let reference = reference.as_ref()?;
        let trusted = side.is_none_or(|side| is_url_of(&reference.url, &side.arn));
        trusted.then(|| QueueLocator { name: reference.name.clone(), url: reference.known_url().map(str::to_owned) })
    };
    // Without a record, or with one that somebody edited, there may be a queue all the same: its name is looked up.
    let named = |side: &QueueSide| QueueLocator { name: side.arn.name().to_owned(), url: None };
    let (source, dead_letter) = (desired.map(|d| &d.source), desired.and_then(|d| d.dead_letter.as_ref()));
    EndingQueue {
        owner: queue_owner_tags(cluster_id, object),
        policy: deletion_policy(object, tier),
        even_if_not_empty: annotation(object, DELETE_NON_EMPTY).is_some_and(|value| value == "true"),
        source: status.and_then(|s| recorded(&s.queue, source)).or_else(|| source.map(named)),
        dead_letter: status.and_then(|s| recorded(&s.dead_letter_queue, dead_letter)).or_else(|| dead_letter.map(named)),
    }
}

fn annotation<'a>(object: &'a EncryptedQueue, name: &str) -> Option<&'a String> {
    object.metadata.annotations.as_ref()?.get(name)
}

/// Names of the QueueKeys that a queue's status records: the one it is under, the one it is moved to, those it was moved away from.
pub fn recorded_keys(queue: &EncryptedQueue) -> impl Iterator<Item = &str> {
    queue.status.iter().flat_map(|status| {
        let others = status.next_key.iter().map(|key| &key.name).chain(status.previous_keys.iter().filter_map(|key| key.name.as_ref()));
        status.key.iter().map(|key| &key.name).chain(others).map(String::as_str)
    })
}

/// Whether a key holds grants of a queue whose record of its keys somebody cleared, or that is not made yet.
pub fn holds_unrecorded(key: &QueueKey, queue: &EncryptedQueue) -> bool {
    let (name, uid) = (object_name(queue), queue.metadata.uid.as_deref());
    let mut users = key.status.iter().flat_map(|status| &status.users);
    recorded_keys(queue).next().is_none()
        && users.any(|user| user.namespace == name.namespace && user.name == name.name && Some(user.uid.as_str()) == uid)
}

/// Whether and how a queue uses a key: as desired, or as far as messages need it that are still under it, or keeping what it has while it is refused or
/// paused, or leaves a shared key.
pub fn key_user(
    key: &QueueKey,
    queue: &EncryptedQueue,
    desired: Result<DesiredQueue, Box<Refusal>>,
    rules: Rules<'_>,
    now: Timestamp,
) -> Option<KeyUserInput> {
    let (name, status) = (key.metadata.name.as_deref()?, queue.status.as_ref());
    let is_target = desired.as_ref().map_or_else(|_| status.is_none_or(|status| status.key.is_none()), |desired| desired.key_name == name);
    // Until the queue's own pass has found out what it is under, and was, the key keeps what it holds.
    let unrecorded = holds_unrecorded(key, queue);
    if !is_target && !unrecorded && !recorded_keys(queue).any(|recorded| recorded == name) {
        return None;
    }
    let ends = queue.metadata.deletion_timestamp.is_some() && recorded_arns(queue).is_some();
    let leaving = ends && key.spec.scope == KeyScope::Tenant && deletion_policy(queue, rules.tier) == DeletionPolicy::Retain;
    let mut retiring = (!is_target).then_some(Retiring::Current);
    let desired = match desired {
        Ok(_) if is_paused(queue) || leaving => Err(Some(rules.principals(queue)?)),
        Ok(desired) if is_target => Ok(desired),
        // A queue that was not made yet leaves nothing under the key.
        Ok(_) if recorded_arns(queue).is_none() && !unrecorded => return None,
        Ok(mut desired) => {
            let is_current = unrecorded || status.and_then(|status| status.key.as_ref()).is_some_and(|key| key.name == name);
            if !is_current {
                // Neither under it nor about to be: taken back, or moved away from.
                let previous = status?.previous_keys.iter().find(|previous| previous.name.as_deref() == Some(name))?;
                let (access, until) = needed_of_previous(&desired.access, previous.switched_at.0, previous.decrypt_until.0, now)?;
                let (switched_at, decrypt_until) = (previous.switched_at.0, previous.decrypt_until.0);
                (desired.access, retiring) = (access, Some(Retiring::Previous { switched_at, changes_at: until, decrypt_until }));
            }
            Ok(desired)
        }
        Err(refusal) => Err(refusal.rules),
    };
    let uid = queue.metadata.uid.clone().unwrap_or_default();
    let deleted = status.iter().filter_map(|status| status.access.as_ref()).flat_map(|access| access.deleted_principals.clone()).collect();
    let (object, recorded, paused) = (object_name(queue), recorded_arns(queue), is_paused(queue));
    Some(KeyUserInput { object, uid, recorded, desired, retiring, deleted, paused, leaving })
}
