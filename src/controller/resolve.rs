//! Kubernetes objects → desired state: gathers what the pure judges need from the caches.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::access_approval;
use super::cache::{QueueFacts, cached_name, named};
use super::context::{Context, account_key};
use super::wake::{ROLE_ANNOTATION, service_accounts};
use crate::api::queue_key::NamespacedName;
use crate::api::sensitivity_tier::KeyScope;
use crate::api::{EncryptedQueue, QueueKey, SensitivityTier, Tenant};
use crate::aws::AwsError;
use crate::clock;
use crate::desired::{
    DesiredKey, DesiredQueue, KeyIdentity, KeyInput, KeyUserInput, QueueInput, Refusal, ServiceAccountRole, desired_key, desired_queue,
    key_generation, key_identity, leaves_approval, object_name, queue_limit, unless_taken,
};
use crate::names::RoleArn;
use crate::plan::objects::{self, Rules};

/// A queue's declaration with all that judges it.
pub(super) struct ResolvedQueue {
    pub(super) tenant: Option<Arc<Tenant>>,
    pub(super) tier: Option<Arc<SensitivityTier>>,
    pub(super) operator_role: Option<RoleArn>,
    /// Whether a ServiceAccount's role could not be looked up: nobody tells when it can.
    pub(super) looked_up_in_vain: bool,
    pub(super) desired: Result<DesiredQueue, Box<Refusal>>,
}

impl ResolvedQueue {
    pub(super) fn rules(&self) -> Rules<'_> {
        Rules { tenant: self.tenant.as_deref(), tier: self.tier.as_deref(), operator_role: self.operator_role.as_ref() }
    }
}

/// Judges a declaration as it is now; `asked`: someone wants it to be compared with AWS.
pub(super) async fn resolve_queue(ctx: &Context, object: &EncryptedQueue, asked: bool) -> ResolvedQueue {
    Box::pin(ctx.pod_identities.look_up(&accounts_of(object), asked, &ctx.wake)).await;
    let tenant = ctx.tenant(&object.spec.tenant);
    let operator_role = match &tenant {
        // Without it the one check that needs it, separation of duties, is made again once AWS answers: the key cannot be made before.
        Some(tenant) => ctx.accounts.operator_role(&account_key(tenant, object.spec.region.as_deref())).await.ok(),
        None => None,
    };
    resolve_queue_with(ctx, object, operator_role)
}

fn accounts_of(object: &EncryptedQueue) -> BTreeSet<NamespacedName> {
    let namespace = object.namespace().unwrap_or_default();
    service_accounts(object).map(|name| NamespacedName { namespace: namespace.clone(), name: name.to_owned() }).collect()
}

fn resolve_queue_with(ctx: &Context, object: &EncryptedQueue, operator_role: Option<RoleArn>) -> ResolvedQueue {
    let resolved = judge(ctx, object, operator_role);
    let namesakes = namesakes(ctx, object);
    if namesakes.is_empty() {
        return resolved;
    }
    let Ok(desired) = resolved.desired.clone() else { return resolved };
    let others: Vec<_> = namesakes.into_iter().map(|other| (judge(ctx, &other, None).desired.ok(), other)).collect();
    let others = others.iter().map(|(accepted, other)| (other.as_ref(), accepted.as_ref()));
    let desired = unless_taken(desired, object, || resolved.rules().principals(object), others);
    ResolvedQueue { desired, ..resolved }
}

/// Other queues that may name the same queue in AWS.
fn namesakes(ctx: &Context, object: &EncryptedQueue) -> Vec<Arc<EncryptedQueue>> {
    let own = object_name(object);
    ctx.wake.namesakes(object).iter().filter(|name| **name != own).filter_map(|name| ctx.queue(name)).collect()
}

/// As it is by itself, whatever the names of others.
fn judge(ctx: &Context, object: &EncryptedQueue, operator_role: Option<RoleArn>) -> ResolvedQueue {
    let (tenant, tier) = (ctx.tenant(&object.spec.tenant), ctx.tier(&object.spec.sensitivity_tier));
    let namespace = object.namespace().unwrap_or_default();
    let labels: Option<BTreeMap<String, String>> = ctx.stores.namespaces.get(&ObjectRef::new(&namespace)).map(|meta| meta.labels().clone());
    let in_vain = Cell::new(false);
    let service_account = |name: &str| match ctx.stores.service_accounts.get(&ObjectRef::new(name).within(&namespace)) {
        None => ServiceAccountRole::Missing,
        Some(account) => {
            let name = NamespacedName { namespace: namespace.clone(), name: name.to_owned() };
            let role = ctx.pod_identities.role(&name, account.annotations().get(ROLE_ANNOTATION));
            in_vain.set(in_vain.get() || matches!(role, ServiceAccountRole::Unknown { .. }));
            role
        }
    };
    let desired = desired_queue(&QueueInput {
        object,
        namespace_labels: labels.as_ref(),
        tenant: tenant.as_deref(),
        tier: tier.as_deref(),
        service_account: &service_account,
        cluster_id: &ctx.cluster_id,
        operator_role: operator_role.as_ref(),
        within_limit: tenant.as_ref().is_none_or(|tenant| within_limit(ctx, object, tenant)),
        key_generation: generation(ctx, object, tenant.as_deref(), tier.as_deref()),
        leaves_approval: leaves_approval_of(ctx, object),
        settle: ctx.settle,
    });
    ResolvedQueue { tenant, tier, operator_role, looked_up_in_vain: in_vain.get(), desired }
}

fn leaves_approval_of(ctx: &Context, object: &EncryptedQueue) -> bool {
    let key = object.status.as_ref().and_then(|status| status.key.as_ref()).and_then(|key| ctx.key(&key.name));
    let tier = key.as_ref().and_then(|key| ctx.tier(&key.spec.sensitivity_tier));
    leaves_approval(object, key.as_deref(), |_| tier.as_deref())
}

/// A recorded key, or one with room: without tenant and tier no key is chosen.
fn generation(ctx: &Context, object: &EncryptedQueue, tenant: Option<&Tenant>, tier: Option<&SensitivityTier>) -> u32 {
    tenant.zip(tier).map_or(1, |(tenant, tier)| {
        let keys = ctx.stores.keys.beginning_with(&key_identity(object, tenant, tier).name_prefix());
        key_generation(object, tenant, tier, &keys)
    })
}

/// As [`desired::within_limit`], and without a look at each queue unless the tenant has more than it may.
fn within_limit(ctx: &Context, object: &EncryptedQueue, tenant: &Tenant) -> bool {
    let (Some(limit), queues, own) = (queue_limit(tenant), &ctx.stores.queues, cached_name(object)) else { return true };
    let others = queues.count_of(&object.spec.tenant) - usize::from(queues.facts(&own, |_| ()).is_some());
    if others < limit {
        return true;
    }
    let created = object.metadata.creation_timestamp.as_ref().map(|created| created.0);
    let (own, mut older) = ((created, own.split_once('/')), 0);
    queues.look(|name, queue| older += usize::from(*queue.tenant == *object.spec.tenant && (queue.created, name.split_once('/')) < own));
    older < limit
}

/// What a key should be, from all queues that use it.
pub(super) async fn resolve_key(ctx: &Context, object: &QueueKey, tenant: &Tenant) -> Result<DesiredKey, AwsError> {
    let operator_role = ctx.accounts.operator_role(&account_key(tenant, Some(&object.spec.region))).await?;
    let queues = user_objects(ctx, object);
    let accounts = queues.iter().flat_map(|queue| accounts_of(queue)).collect();
    Box::pin(ctx.pod_identities.look_up(&accounts, false, &ctx.wake)).await;
    let users = queues.into_iter().filter_map(|queue| key_user(ctx, object, &queue, &operator_role)).collect();
    let tier = ctx.tier(&object.spec.sensitivity_tier);
    let approvals = access_approval::usable(ctx, &object.name_any(), clock::now());
    Ok(desired_key(KeyInput { object, tenant, tier: tier.as_deref(), cluster_id: &ctx.cluster_id, operator_role: &operator_role, users, approvals }))
}

fn user_objects(ctx: &Context, key: &QueueKey) -> Vec<Arc<EncryptedQueue>> {
    let mut names: Vec<NamespacedName> = ctx.wake.users_of_key(&key.name_any());
    names.extend(key.spec.queue.clone());
    // Also whose record somebody cleared.
    names.extend(
        key.status.iter().flat_map(|status| &status.users).map(|user| NamespacedName { namespace: user.namespace.clone(), name: user.name.clone() }),
    );
    if key.spec.scope == KeyScope::Tenant {
        // The key's object comes before the queue's record of it: without these a new shared key would look unused.
        let identity = KeyIdentity::of(&key.spec);
        let is_of_kind = |queue: &QueueFacts| *queue.tenant == *key.spec.tenant && *queue.tier == *key.spec.sensitivity_tier;
        let recorded = |name: &NamespacedName| ctx.wake.recorded_keys(name).iter().any(|name| identity.generation_of(name).is_some());
        names.extend(ctx.stores.queues.select(|name, queue| is_of_kind(queue).then(|| (named(name), queue.is_made))).into_iter().filter_map(
            // It is not made yet, or under no key of this identity.
            |(name, is_made)| (!is_made || !recorded(&name)).then_some(name),
        ));
    }
    names.sort();
    names.dedup();
    names.iter().filter_map(|name| ctx.queue(name)).collect()
}

fn key_user(ctx: &Context, key: &QueueKey, queue: &EncryptedQueue, operator_role: &RoleArn) -> Option<KeyUserInput> {
    let resolved = resolve_queue_with(ctx, queue, Some(operator_role.clone()));
    // Of a shared key, one that was refused before it had a key is no user.
    if resolved.desired.is_err() && key.spec.scope == KeyScope::Tenant && objects::recorded_keys(queue).next().is_none() {
        return None;
    }
    let rules = resolved.rules();
    objects::key_user(key, queue, resolved.desired.clone(), rules, clock::now())
}
