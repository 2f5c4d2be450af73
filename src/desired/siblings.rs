//! What a queue's siblings decide about it: whether there is room for it, whether its name in AWS is free, and which key is its own. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::naming::dead_letter_name;
use super::{DesiredQueue, KeyIdentity, PrincipalRules, Refusal, Violation, default_queue_name, place_of};
use crate::api::conditions::types;
use crate::api::queue_key::NamespacedName;
use crate::api::sensitivity_tier::{Approval, KeyScope};
use crate::api::{EncryptedQueue, QueueKey, QueueKeyStatus, Reason, SensitivityTier, Tenant};
use crate::names::QueueArn;
use crate::plan::record::is_lost;

/// Namespace and name of a queue's object.
pub fn object_name(queue: &EncryptedQueue) -> NamespacedName {
    let metadata = &queue.metadata;
    NamespacedName { namespace: metadata.namespace.clone().unwrap_or_default(), name: metadata.name.clone().unwrap_or_default() }
}

/// Whether the tenant's limit leaves room for a queue. Queues are counted by age, so that a new one never pushes an old one out.
pub fn within_limit<'a>(object: &EncryptedQueue, tenant: &Tenant, queues: impl IntoIterator<Item = &'a EncryptedQueue>) -> bool {
    let Some(limit) = queue_limit(tenant) else { return true };
    let age = |queue: &EncryptedQueue| (queue.metadata.creation_timestamp.as_ref().map(|Time(created)| *created), object_name(queue));
    let own = age(object);
    let older = queues.into_iter().filter(|queue| queue.spec.tenant == object.spec.tenant && age(queue) < own).count();
    older < limit
}

/// How many queues a tenant may have.
pub fn queue_limit(tenant: &Tenant) -> Option<usize> {
    tenant.spec.limits.queues.map(|limit| usize::try_from(limit).unwrap_or(0))
}

/// Names in AWS that a queue may take, its own and its dead-letter queue's, wherever it lives: those of two queues that get in each other's way meet.
pub fn claimed_names(queue: &EncryptedQueue) -> [String; 2] {
    let spec = &queue.spec;
    let name = spec.queue.name.clone().unwrap_or_else(|| default_queue_name(&spec.tenant, &object_name(queue), spec.queue.fifo.is_some()));
    let declared = spec.dead_letter.as_ref().and_then(|dead_letter| dead_letter.name.clone());
    let dead_letter = declared.unwrap_or_else(|| dead_letter_name(&name));
    [name, dead_letter]
}

/// An accepted queue's claim, judged against those of other queues, accepted or not: refused if one of them has a queue of that name in AWS, or has
/// asked for it earlier.
pub fn unless_taken<'a>(
    desired: DesiredQueue,
    object: &EncryptedQueue,
    rules: impl FnOnce() -> Option<PrincipalRules>,
    others: impl IntoIterator<Item = (&'a EncryptedQueue, Option<&'a DesiredQueue>)>,
) -> Result<DesiredQueue, Box<Refusal>> {
    let wanted = desired_arns(&desired);
    let age = |queue: &EncryptedQueue| (queue.metadata.creation_timestamp.as_ref().map(|Time(created)| *created), object_name(queue));
    let own = (recorded_arns(object), age(object));
    let taken = others.into_iter().filter(|(other, _)| object_name(other) != object_name(object)).find_map(|(other, accepted)| {
        let has = recorded_arns(other);
        let asks = accepted.map(desired_arns).unwrap_or_default();
        let arn = wanted.iter().find(|arn| {
            let comes_first = || asks.contains(arn) && !own.0.contains(arn) && age(other) < own.1;
            has.contains(arn) && !(own.0.contains(arn) && own.1 < age(other)) || comes_first()
        })?;
        Some((arn.name().to_owned(), object_name(other)))
    });
    let Some((name, other)) = taken else { return Ok(desired) };
    let message = format!(
        "queue {name} of account {} in {} is that of EncryptedQueue {other}; choose another name",
        desired.place.account, desired.place.region
    );
    Err(Box::new(Refusal {
        violations: vec![Violation::new(Reason::QueueNameTaken, "spec.queue.name", message)],
        rules: rules(),
        suspended: desired.access.suspended,
        place: Some(desired.place),
    }))
}

fn desired_arns(desired: &DesiredQueue) -> Vec<QueueArn> {
    std::iter::once(&desired.source).chain(&desired.dead_letter).map(|side| side.arn.clone()).collect()
}

fn recorded_arns(queue: &EncryptedQueue) -> Vec<QueueArn> {
    let recorded = queue.status.iter().flat_map(|status| status.queue.iter().chain(&status.dead_letter_queue));
    recorded.filter_map(|reference| QueueArn::parse(&reference.arn).ok()).collect()
}

/// What a queue's key is for.
pub fn key_identity(object: &EncryptedQueue, tenant: &Tenant, tier: &SensitivityTier) -> KeyIdentity {
    KeyIdentity {
        tenant: object.spec.tenant.clone(),
        sensitivity_tier: object.spec.sensitivity_tier.clone(),
        region: place_of(tenant, object.spec.region.as_deref()).region,
        queue: (tier.spec.key.scope == KeyScope::Queue).then(|| object_name(object)),
    }
}

/// Generation of a queue's key: the recorded key's, else that of the key that holds its grants, else of the newest key of its identity, else the first;
/// of a shared key that has no room for it, and of one that KMS lost, the next.
pub fn key_generation<'a>(object: &EncryptedQueue, tenant: &Tenant, tier: &SensitivityTier, keys: impl IntoIterator<Item = &'a QueueKey>) -> u32 {
    let identity = key_identity(object, tenant, tier);
    let prefix = identity.name_prefix();
    let generation_of = |key: &QueueKey| key.metadata.name.as_deref()?.strip_prefix(&prefix)?.parse().ok();
    let keys: Vec<(u32, &QueueKey)> = keys.into_iter().filter_map(|key| Some((generation_of(key)?, key))).collect();
    let newest = keys.iter().map(|(generation, _)| *generation).max().unwrap_or(1);
    // A recorded key of another identity is being left.
    let recorded = object.status.as_ref().and_then(|status| status.key.as_ref()).and_then(|key| identity.generation_of(&key.name));
    let has_room = |wanted: u32| {
        !keys.iter().any(|(generation, key)| *generation == wanted && (key.status.as_ref().is_some_and(is_lost) || has_no_room_for(key, object)))
    };
    // Between its grants and its record there is a newer key when another queue finds this one full.
    let grants = |key: &QueueKey| key.status.as_ref().is_some_and(|status| holds_grants_of(status, object));
    let granted = || keys.iter().filter(|(_, key)| grants(key)).map(|(generation, _)| *generation).max();
    // Who finds their key full goes to the newest with the others, and only past that to another.
    [recorded.or_else(granted).unwrap_or(newest), newest].into_iter().find(|generation| has_room(*generation)).unwrap_or(newest + 1)
}

/// Whether the key that a queue is under and now leaves is of a tier that asks for approvals; where that cannot be told, it is.
pub fn leaves_approval<'a>(object: &EncryptedQueue, key: Option<&QueueKey>, tier: impl FnOnce(&str) -> Option<&'a SensitivityTier>) -> bool {
    if object.status.as_ref().is_none_or(|status| status.key.is_none()) {
        return false;
    }
    let Some(key) = key else { return true };
    let left = &key.spec.sensitivity_tier;
    *left != object.spec.sensitivity_tier && tier(left).is_none_or(|tier| tier.spec.approval == Approval::OnWidening)
}

fn has_no_room_for(key: &QueueKey, object: &EncryptedQueue) -> bool {
    let Some(status) = &key.status else { return false };
    let is_full = status.conditions.iter().any(|condition| condition.type_ == types::READY && condition.reason == Reason::KeyFull.as_str());
    is_full && !holds_grants_of(status, object)
}

fn holds_grants_of(status: &QueueKeyStatus, object: &EncryptedQueue) -> bool {
    let name = object_name(object);
    status.users.iter().any(|user| user.namespace == name.namespace && user.name == name.name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn the_recorded_key_comes_before_the_newest_and_the_first() {
        let principals = json!([{"role": "arn:aws:iam::111122223333:role/acme-x"}]);
        let mut queue: EncryptedQueue = serde_json::from_value(json!({
            "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "EncryptedQueue", "metadata": {"namespace": "acme-prod", "name": "orders"},
            "spec": {"tenant": "acme", "sensitivityTier": "internal", "producers": principals, "consumers": principals},
        }))
        .unwrap();
        let tenant: Tenant = serde_json::from_value(json!({
            "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme"},
            "spec": {
                "namespaces": {"names": ["acme-prod"]}, "aws": {"accountId": "111122223333", "regions": ["eu-west-1"]},
                "sensitivityTiers": ["internal"], "principals": {},
            },
        }))
        .unwrap();
        let tier: SensitivityTier = serde_json::from_value(json!({
            "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "SensitivityTier", "metadata": {"name": "internal"},
            "spec": {"key": {"scope": "Tenant"}},
        }))
        .unwrap();
        let identity = |tenant: &str| KeyIdentity {
            tenant: tenant.to_owned(),
            sensitivity_tier: "internal".to_owned(),
            region: "eu-west-1".to_owned(),
            queue: None,
        };
        let key = |tenant: &str, generation: u32, status: serde_json::Value| -> QueueKey {
            serde_json::from_value(json!({
                "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "QueueKey", "metadata": {"name": identity(tenant).object_name(generation)},
                "spec": {"tenant": tenant, "sensitivityTier": "internal", "region": "eu-west-1", "scope": "Tenant"}, "status": status,
            }))
            .unwrap()
        };
        let mut keys = vec![key("acme", 2, json!({})), key("acme", 11, json!({})), key("globex", 40, json!({}))];
        assert_eq!(key_generation(&queue, &tenant, &tier, []), 1);
        assert_eq!(key_generation(&queue, &tenant, &tier, &keys), 11);
        queue.status = Some(serde_json::from_value(json!({"key": {"name": identity("acme").object_name(2)}})).unwrap());
        assert_eq!(key_generation(&queue, &tenant, &tier, &keys), 2);
        let condition = json!({"type": "Ready", "status": "False", "reason": "KeyFull", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        keys[0] = key("acme", 2, json!({"conditions": [condition]}));
        assert_eq!(key_generation(&queue, &tenant, &tier, &keys), 11, "no room: the newest key, where the others went");
        keys[1] = key("acme", 11, json!({"conditions": [condition]}));
        assert_eq!(key_generation(&queue, &tenant, &tier, &keys), 12, "no room there either: the next key");
        let user = json!({"namespace": "acme-prod", "name": "orders", "uid": "u", "grantsSha256": "0"});
        keys[0] = key("acme", 2, json!({"conditions": [condition], "users": [user]}));
        assert_eq!(key_generation(&queue, &tenant, &tier, &keys), 2, "who is in stays");
        queue.status = None;
        assert_eq!(key_generation(&queue, &tenant, &tier, &keys), 2, "also before that is on record");
    }
}
