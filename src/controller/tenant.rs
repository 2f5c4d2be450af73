//! Reconciles Tenant and SensitivityTier: what they count, whether the account answers, and that they outlive what needs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::core::ClusterResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::cache::{QueueFacts, named};
use super::claim;
use super::context::Context;
use super::status::write_cluster_status;
use super::turns::Action;
use super::{Failure, Reconciled};
use crate::api::conditions::{self, Finding, merge, summarise, types};
use crate::api::labels::FINALIZER;
use crate::api::{Reason, SensitivityTier, SensitivityTierStatus, Tenant, TenantStatus};
use crate::clock;
use crate::cost::{Money, Prices};
use crate::desired::queue_limit;
use crate::telemetry::metrics::{Ready, ReconcileResult};

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
    let users = Users::of(&ctx, |tenant, _| tenant == name);
    if !hold_or_release(&ctx, tenant.as_ref(), users.any()).await? {
        return Ok((ReconcileResult::Complete, Action::await_change()));
    }
    let account = match tenant.metadata.deletion_timestamp {
        Some(_) => Finding::of(types::READY, Reason::InUse, users.said()),
        None => match ctx.clients(&tenant, None).await {
            Ok(_) => Finding::of(types::READY, Reason::InSync, format!("account {} answers", tenant.spec.aws.account_id)),
            Err(error) => {
                let Failure { reason, message, .. } = Failure::no_account(&tenant, error);
                Finding::of(types::READY, reason, message)
            }
        },
    };
    if users.over_limit {
        wake_within_limit(&ctx, &tenant);
    }
    let failed = account.reason != Reason::InSync && tenant.metadata.deletion_timestamp.is_none();
    let previous = tenant.status.clone().unwrap_or_default();
    let mut status = previous.clone();
    status.observed_generation = tenant.metadata.generation;
    status.controller = Some(ctx.identity.clone());
    let cost = users.count(&mut status);
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
        for queue in ctx.stores.queues.select(|of, queue| (*queue.tenant == *name).then(|| named(of))) {
            ctx.wake.queue(&queue);
        }
        for key in ctx.stores.keys.select(|of, key| (*key.tenant == *name).then(|| of.to_owned())) {
            ctx.wake.key(&key);
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
fn wake_within_limit(ctx: &Context, tenant: &Tenant) {
    let name = tenant.name_any();
    let of = |of: &str, queue: &QueueFacts| (*queue.tenant == *name).then(|| (queue.created, named(of), queue.is_over_limit));
    let mut queues = ctx.stores.queues.select(of);
    queues.sort();
    let within = queues.into_iter().take(queue_limit(tenant).unwrap_or(usize::MAX));
    within.filter(|(_, _, is_over_limit)| *is_over_limit).for_each(|(_, queue, _)| ctx.wake.queue(&queue));
}

/// The queues and keys of a tenant or tier.
#[derive(Default)]
struct Users {
    queues: usize,
    compliant: usize,
    keys: usize,
    shared_keys: u64,
    cost: Money,
    /// A queue is refused because there are too many.
    over_limit: bool,
    /// Some of them, as they are told.
    named: Vec<String>,
}

impl Users {
    fn of(ctx: &Context, such: impl Fn(&str, &str) -> bool) -> Self {
        let mut users = Self::default();
        ctx.stores.queues.look(|name, queue| {
            if such(&queue.tenant, &queue.tier) {
                users.queues += 1;
                users.compliant += usize::from(queue.ready == Ready::True);
                users.cost += queue.cost;
                users.over_limit |= queue.is_over_limit;
                users.name("EncryptedQueue", name);
            }
        });
        ctx.stores.keys.look(|name, key| {
            if such(&key.tenant, &key.tier) {
                users.keys += 1;
                users.shared_keys += u64::from(!key.is_own);
                users.name("QueueKey", name);
            }
        });
        users
    }

    fn any(&self) -> bool {
        self.queues + self.keys > 0
    }

    fn name(&mut self, kind: &str, name: &str) {
        if self.named.len() < 10 {
            self.named.push(format!("{kind} {name}"));
        }
    }

    fn said(&self) -> String {
        let more = self.queues + self.keys - self.named.len();
        let and = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("deletion waits for {}{and}", self.named.join(", "))
    }

    /// Counts, and the estimated cost.
    fn count(&self, status: &mut TenantStatus) -> Money {
        let number = |count: usize| i32::try_from(count).ok();
        status.queues = number(self.queues);
        status.keys = number(self.keys);
        status.compliant_queues = number(self.compliant);
        // A queue's estimate has its own key in it; shared keys are added.
        let cost = self.cost + Prices::embedded().key(0) * self.shared_keys;
        status.estimated_monthly_usd = Some(cost.cents());
        cost
    }
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

/// Puts the finalizer on, or takes it off once nothing needs the object; false: the object has ended.
async fn hold_or_release<K>(ctx: &Context, object: &K, is_used: bool) -> Result<bool, Failure>
where
    K: Resource<DynamicType = (), Scope = ClusterResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let held = object.finalizers().iter().any(|name| name == FINALIZER);
    let deleting = object.meta().deletion_timestamp.is_some();
    let wanted = !deleting || is_used;
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
    let users = Users::of(&ctx, |_, tier| tier == name);
    if !hold_or_release(&ctx, tier.as_ref(), users.any()).await? {
        return Ok((ReconcileResult::Complete, Action::await_change()));
    }
    let ready = if tier.metadata.deletion_timestamp.is_some() {
        Finding::of(types::READY, Reason::InUse, users.said())
    } else {
        Finding::of(types::READY, Reason::InSync, "the tier is in force")
    };
    let previous = tier.status.clone().unwrap_or_default();
    let findings = summarise(std::slice::from_ref(&ready), &ready.message);
    let status = SensitivityTierStatus {
        observed_generation: tier.metadata.generation,
        queues: i32::try_from(users.queues).ok(),
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
