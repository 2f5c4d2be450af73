//! What Kubernetes objects record → what plans start from. The controller and `encrypted-queue plan` both start here.

use super::observed::{ObservedKey, ObservedKeyObject, ObservedQueue};
use super::teardown::KeptQueue;
use crate::api::conditions::types;
use crate::api::encrypted_queue::QueueReference;
use crate::api::labels::{FINALIZER, PAUSED};
use crate::api::queue_key::NamespacedName;
use crate::api::sensitivity_tier::Others;
use crate::api::tenant::TenantAccess;
use crate::api::{EncryptedQueue, QueueKey, Reason, SensitivityTier, Tenant};
use crate::desired::{DesiredQueue, KeyUserInput, PrincipalRules, Refusal, object_name, place_of, queue_owner_tags};
use crate::names::{QueueArn, RoleArn};

/// Whether a person stopped all changes of a queue in AWS.
pub fn is_paused(queue: &EncryptedQueue) -> bool {
    queue.metadata.annotations.as_ref().and_then(|annotations| annotations.get(PAUSED)).is_some_and(|value| value == "true")
}

/// The queue's and the dead-letter queue's ARNs as status records them.
pub fn recorded_arns(queue: &EncryptedQueue) -> Option<(QueueArn, Option<QueueArn>)> {
    let status = queue.status.as_ref()?;
    let parse = |reference: &Option<QueueReference>| reference.as_ref().and_then(|reference| QueueArn::parse(&reference.arn).ok());
    Some((parse(&status.queue)?, parse(&status.dead_letter_queue)))
}

/// A queue before anything is read; `key` is its QueueKey, unless that is ending.
pub fn observed_queue(object: &EncryptedQueue, key: Option<&QueueKey>, check: bool) -> ObservedQueue {
    ObservedQueue {
        finalizer: object.metadata.finalizers.iter().flatten().any(|name| name == FINALIZER),
        key: key.map(|key| observed_key_object(key, &object_name(object), object.metadata.uid.as_deref())),
        check,
        ..ObservedQueue::recorded(&object.status.clone().unwrap_or_default())
    }
}

/// A key before anything is read.
pub fn observed_key(object: &QueueKey, check: bool) -> ObservedKey {
    ObservedKey { check, ..ObservedKey::recorded(&object.status.clone().unwrap_or_default()) }
}

/// What a queue needs to know of its key's object.
pub fn observed_key_object(key: &QueueKey, queue: &NamespacedName, uid: Option<&str>) -> ObservedKeyObject {
    let status = key.status.as_ref();
    let user = status.and_then(|s| s.users.iter().find(|u| u.namespace == queue.namespace && u.name == queue.name && Some(u.uid.as_str()) == uid));
    let ready = status.and_then(|s| s.conditions.iter().find(|condition| condition.type_ == types::READY && condition.status == "False"));
    ObservedKeyObject {
        deletion_policy: key.spec.deletion_policy,
        arn: status.and_then(|s| s.arn.clone()),
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

/// What a refused or paused queue keeps: what is applied, less what tenant and tier no longer admit.
pub fn kept_queue(object: &EncryptedQueue, rules: Rules<'_>, cluster_id: &str) -> Option<KeptQueue> {
    let (tenant, tier, (queue, dead_letter_queue)) = (rules.tenant?, rules.tier?, recorded_arns(object)?);
    let place = place_of(tenant, object.spec.region.as_deref());
    Some(KeptQueue {
        queue,
        dead_letter_queue,
        rules: PrincipalRules::new(&tenant.spec, &tier.spec, place.partition, rules.operator_role),
        place,
        owner: queue_owner_tags(cluster_id, object),
        others: if tier.spec.access.others == Others::Deny { Others::Deny } else { Others::Unstated },
        suspended: tenant.spec.access == TenantAccess::Suspended,
    })
}

/// Whether and how a queue uses a key: as desired, or keeping what it has while it is refused or paused.
pub fn key_user(key: &str, queue: &EncryptedQueue, desired: Result<DesiredQueue, Box<Refusal>>, rules: Rules<'_>) -> Option<KeyUserInput> {
    let recorded = queue.status.as_ref().and_then(|status| status.key.as_ref()).map(|recorded| recorded.name.as_str());
    if recorded.is_some_and(|name| name != key) {
        return None;
    }
    let desired = match desired {
        Ok(desired) if desired.key_name != key => return None,
        Ok(_) if is_paused(queue) => {
            let (tenant, tier) = rules.tenant.zip(rules.tier)?;
            let partition = place_of(tenant, queue.spec.region.as_deref()).partition;
            Err(Some(PrincipalRules::new(&tenant.spec, &tier.spec, partition, rules.operator_role)))
        }
        Ok(desired) => Ok(desired),
        Err(refusal) => Err(refusal.rules),
    };
    let uid = queue.metadata.uid.clone().unwrap_or_default();
    let deleted = queue.status.iter().filter_map(|status| status.access.as_ref()).flat_map(|access| access.deleted_principals.clone()).collect();
    Some(KeyUserInput { object: object_name(queue), uid, recorded: recorded_arns(queue), desired, deleted, paused: is_paused(queue) })
}
