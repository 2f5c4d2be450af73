//! Reconciles Tenant and SensitivityTier: what they count, whether the account answers, and that they outlive what needs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::core::ClusterResourceScope;
use kube::runtime::controller::Action;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::claim;
use super::context::Context;
use super::status::write_cluster_status;
use super::wake::name_of;
use super::{Failure, Reconciled};
use crate::api::conditions::{self, Finding, merge, summarise, types};
use crate::api::labels::FINALIZER;
use crate::api::{EncryptedQueue, QueueKey, Reason, SensitivityTier, SensitivityTierStatus, Tenant, TenantStatus};
use crate::clock;
use crate::cost::{Money, Prices};
use crate::desired::within_limit;
use crate::telemetry::metrics::ReconcileResult;

/// Counts and money are rewritten at most this often.
const COUNT_EVERY: Duration = Duration::from_secs(30);

/// When counts were last written, by object.
#[derive(Default)]
pub(super) struct CountWrites(Mutex<HashMap<String, Instant>>);

impl CountWrites {
    /// How long counts must still wait; None: they may be written now, which is noted.
    fn must_wait(&self, object: &str) -> Option<Duration> {
        let mut writes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = writes.get(object).and_then(|at| COUNT_EVERY.checked_sub(clock::since(*at)));
        if wait.is_none() {
            writes.insert(object.to_owned(), Instant::now());
        }
        wait
    }
}

pub(super) async fn reconcile(tenant: Arc<Tenant>, ctx: Arc<Context>) -> Result<Reconciled, Failure> {
    // Counts that were just written are not those that the watch has told: a wake in between would find nothing to correct.
    let tenant = ctx.fresh_tenants.newest(tenant);
    let tenant = match claim::claim(&ctx, tenant).await? {
        Ok(tenant) => tenant,
        Err(next) => return Ok((ReconcileResult::Held, next)),
    };
    let (name, id) = (tenant.name_any(), format!("Tenant {}", tenant.name_any()));
    let queues = ctx.stores.queues.state();
    let queues: Vec<_> = queues.iter().filter(|queue| queue.spec.tenant == name).collect();
    let keys = ctx.stores.keys.state();
    let keys: Vec<_> = keys.iter().filter(|key| key.spec.tenant == name).collect();
    if !hold_or_release(&ctx, tenant.as_ref(), &queues, &keys).await? {
        return Ok((ReconcileResult::Complete, Action::await_change()));
    }
    let account = match tenant.metadata.deletion_timestamp {
        Some(_) => Finding::of(types::READY, Reason::InUse, users(&queues, &keys)),
        None => match ctx.clients(&tenant, None).await {
            Ok(_) => Finding::of(types::READY, Reason::InSync, format!("account {} answers", tenant.spec.aws.account_id)),
            Err(error) => {
                let Failure { reason, message, .. } = Failure::no_account(&tenant, error);
                Finding::of(types::READY, reason, message)
            }
        },
    };
    wake_within_limit(&ctx, &tenant, &queues);
    let failed = account.reason != Reason::InSync && tenant.metadata.deletion_timestamp.is_none();
    let previous = tenant.status.clone().unwrap_or_default();
    let mut status = previous.clone();
    status.observed_generation = tenant.metadata.generation;
    status.controller = Some(ctx.identity.clone());
    let cost = count(&mut status, &queues, &keys);
    let findings = conditions_of(&tenant, &account, cost);
    status.conditions = merge(&previous.conditions, &findings, tenant.metadata.generation, clock::now());
    let only_counts = TenantStatus {
        // What the budget's condition says beside its status is a count too.
        conditions: if say_the_same(&previous.conditions, &status.conditions) { status.conditions.clone() } else { previous.conditions.clone() },
        observed_generation: previous.observed_generation,
        controller: previous.controller.clone(),
        ..status.clone()
    } == status;
    if status != previous {
        if let Some(wait) = only_counts.then(|| ctx.count_writes.must_wait(&id)).flatten() {
            return Ok((ReconcileResult::Complete, Action::requeue(clock::real(wait))));
        }
        let written = write_cluster_status(&ctx, tenant.as_ref(), tenant.status.as_ref(), &status).await?;
        if let Some(written) = written {
            ctx.fresh_tenants.note(written);
        }
        announce(&ctx, tenant.as_ref(), &previous.conditions, &status.conditions);
        announce_budget(&ctx, &tenant, &previous.conditions, &status.conditions);
    }
    let was_ready = conditions::is_true(&previous.conditions, types::READY);
    if !failed && !was_ready {
        // What failed for the account's sake is tried again now.
        for queue in &queues {
            ctx.wake.queue(&name_of(queue.as_ref()));
        }
        for key in &keys {
            ctx.wake.key(&key.name_any());
        }
    }
    if failed {
        return Ok((ReconcileResult::Failed, Action::requeue(ctx.backoff.after_failure(&id, Reason::AwsUnavailable))));
    }
    ctx.backoff.succeeded(&id);
    Ok((ReconcileResult::Complete, Action::await_change()))
}

/// Says why a Tenant or tier is not Ready, once for each new reason or message.
fn announce<K: Resource<DynamicType = ()>>(ctx: &Context, object: &K, previous: &[Condition], now: &[Condition]) {
    let not_ready = |conditions: &[Condition]| {
        conditions.iter().find(|c| c.type_ == types::READY && c.status != "True").map(|c| (c.reason.clone(), c.message.clone()))
    };
    if let Some((reason, message)) = not_ready(now).filter(|now| not_ready(previous).as_ref() != Some(now))
        && let Some(reason) = Reason::parse(&reason)
    {
        ctx.events.reason(object, reason, &message);
    }
}

/// Whether two lists of conditions differ in nothing but the amounts that the budget's tells.
fn say_the_same(previous: &[Condition], now: &[Condition]) -> bool {
    let without_amounts = |conditions: &[Condition]| -> Vec<Condition> {
        let mut conditions = conditions.to_vec();
        conditions.iter_mut().filter(|condition| condition.type_ == types::WITHIN_BUDGET).for_each(|condition| condition.message.clear());
        conditions
    };
    without_amounts(previous) == without_amounts(now)
}

/// Whether its status says so.
pub(super) fn is_over_budget(tenant: &Tenant) -> bool {
    let conditions = tenant.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions.iter().any(|condition| condition.type_ == types::WITHIN_BUDGET && condition.status == "False")
}

/// Says once that the estimate passed the budget, and once that it is within it again.
fn announce_budget(ctx: &Context, tenant: &Tenant, previous: &[Condition], now: &[Condition]) {
    let of = |conditions: &[Condition]| conditions.iter().find(|condition| condition.type_ == types::WITHIN_BUDGET).cloned();
    let over = |condition: &Condition| condition.status == "False";
    let was_over = of(previous).as_ref().is_some_and(over);
    match of(now) {
        Some(condition) if over(&condition) && !was_over => ctx.events.reason(tenant, Reason::OverBudget, &condition.message),
        Some(condition) if !over(&condition) && was_over => ctx.events.reason(tenant, Reason::WithinBudget, &condition.message),
        _ => {}
    }
}

/// A queue that went makes room for one that was refused for the limit's sake.
fn wake_within_limit(ctx: &Context, tenant: &Tenant, queues: &[&Arc<EncryptedQueue>]) {
    let over_limit = |queue: &EncryptedQueue| {
        let conditions = queue.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|c| c.type_ == types::ACCEPTED && c.status == "False" && c.reason == Reason::QueueLimitReached.as_str())
    };
    let all = || queues.iter().map(AsRef::as_ref);
    for queue in queues.iter().filter(|queue| over_limit(queue) && within_limit(queue, tenant, all())) {
        ctx.wake.queue(&name_of(queue.as_ref()));
    }
}

/// Counts, and the estimated cost.
fn count(status: &mut TenantStatus, queues: &[&Arc<EncryptedQueue>], keys: &[&Arc<QueueKey>]) -> Money {
    let number = |count: usize| i32::try_from(count).ok();
    let ready = |queue: &&&Arc<EncryptedQueue>| queue.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, types::READY));
    status.queues = number(queues.len());
    status.keys = number(keys.len());
    status.compliant_queues = number(queues.iter().filter(ready).count());
    let cost = queues.iter().filter_map(|queue| Money::parse(queue.status.as_ref()?.estimated_monthly_usd.as_ref()?)).sum::<Money>();
    // A queue's estimate has its own key in it; shared keys are added.
    let shared = keys.iter().filter(|key| key.spec.queue.is_none()).count() as u64;
    let cost = cost + Prices::embedded().key(0) * shared;
    status.estimated_monthly_usd = Some(cost.cents());
    cost
}

fn conditions_of(tenant: &Tenant, account: &Finding, cost: Money) -> Vec<Finding> {
    let mut findings = summarise(std::slice::from_ref(account), &account.message);
    if let Some(budget) = tenant.spec.limits.monthly_kms_usd {
        let limit = Money::whole(u64::try_from(budget).unwrap_or(0));
        let (reason, said) = if cost > limit { (Reason::OverBudget, "over") } else { (Reason::WithinBudget, "within") };
        let message = format!("estimated ${} a month, {said} spec.limits.monthlyKmsUsd ({budget}); nothing is blocked", cost.cents());
        findings.push(Finding::of(types::WITHIN_BUDGET, reason, message));
    }
    findings
}

fn users(queues: &[&Arc<EncryptedQueue>], keys: &[&Arc<QueueKey>]) -> String {
    let names = queues
        .iter()
        .map(|queue| format!("EncryptedQueue {}", name_of(queue.as_ref())))
        .chain(keys.iter().map(|key| format!("QueueKey {}", key.name_any())));
    let mut names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(10);
    names.truncate(10);
    let and = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("deletion waits for {}{and}", names.join(", "))
}

/// Puts the finalizer on, or takes it off once nothing needs the object; false: the object has ended.
async fn hold_or_release<K>(ctx: &Context, object: &K, queues: &[&Arc<EncryptedQueue>], keys: &[&Arc<QueueKey>]) -> Result<bool, Failure>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let held = object.finalizers().iter().any(|name| name == FINALIZER);
    let deleting = object.meta().deletion_timestamp.is_some();
    let wanted = !deleting || !queues.is_empty() || !keys.is_empty();
    if held == wanted || (deleting && !held) {
        return Ok(wanted);
    }
    let mut finalizers: Vec<&str> = object.finalizers().iter().map(String::as_str).filter(|name| *name != FINALIZER).collect();
    if wanted {
        finalizers.push(FINALIZER);
    }
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    match Api::<K>::all(ctx.client.clone()).patch_metadata(&object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(wanted),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn reconcile_tier(tier: Arc<SensitivityTier>, ctx: Arc<Context>) -> Result<Reconciled, Failure> {
    let tier = ctx.fresh_tiers.newest(tier);
    let (name, id) = (tier.name_any(), format!("SensitivityTier {}", tier.name_any()));
    let queues = ctx.stores.queues.state();
    let queues: Vec<_> = queues.iter().filter(|queue| queue.spec.sensitivity_tier == name).collect();
    let keys = ctx.stores.keys.state();
    let keys: Vec<_> = keys.iter().filter(|key| key.spec.sensitivity_tier == name).collect();
    if !hold_or_release(&ctx, tier.as_ref(), &queues, &keys).await? {
        return Ok((ReconcileResult::Complete, Action::await_change()));
    }
    let ready = if tier.metadata.deletion_timestamp.is_some() {
        Finding::of(types::READY, Reason::InUse, users(&queues, &keys))
    } else {
        Finding::of(types::READY, Reason::InSync, "the tier is in force")
    };
    let previous = tier.status.clone().unwrap_or_default();
    let findings = summarise(std::slice::from_ref(&ready), &ready.message);
    let status = SensitivityTierStatus {
        observed_generation: tier.metadata.generation,
        queues: i32::try_from(queues.len()).ok(),
        conditions: merge(&previous.conditions, &findings, tier.metadata.generation, clock::now()),
    };
    let only_counts = status.conditions == previous.conditions && status.observed_generation == previous.observed_generation;
    if status != previous {
        if let Some(wait) = only_counts.then(|| ctx.count_writes.must_wait(&id)).flatten() {
            return Ok((ReconcileResult::Complete, Action::requeue(clock::real(wait))));
        }
        let written = write_cluster_status(&ctx, tier.as_ref(), tier.status.as_ref(), &status).await?;
        if let Some(written) = written {
            ctx.fresh_tiers.note(written);
        }
        announce(&ctx, tier.as_ref(), &previous.conditions, &status.conditions);
    }
    Ok((ReconcileResult::Complete, Action::await_change()))
}
