//! Reconciles an EncryptedQueue: resolve → plan → apply, until nothing is left → status, Events, ConfigMap.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::apply_queue::QueueApplier;
use super::claim::{Standing, leave_alone};
use super::config_map::{self, ConfigMapState};
use super::context::{Compared, Context};
use super::principals::refused_principals;
use super::resolve::{ResolvedQueue, resolve_queue};
use super::status::write_queue_status;
use super::turns::Action;
use super::wake::name_of;
use super::{Failure, MOST_ROUNDS, Reconciled, Retry, SHORT_WAIT, check_asked, cut, next_in_line, result_of, tenant, wait_in_line};
use crate::api::conditions::{self, Finding, types};
use crate::api::labels::CHECK_NOW;
use crate::api::queue_key::NamespacedName;
use crate::api::{EncryptedQueue, EncryptedQueueStatus, QueueKey, Reason};
use crate::aws::{AwsError, Caller, Reader, Subject, on_behalf};
use crate::clock;
use crate::desired::POLICY;
use crate::outcome::End;
use crate::outcome::queue::QueuePass;
use crate::plan::objects::{self, is_paused};
use crate::plan::teardown::{KeptQueue, plan_kept_queue, plan_queue_end};
use crate::plan::{ObservedQueue, QueueAction, Seen, deleted, plan_queue, render};
use crate::telemetry::metrics::ReconcileResult;

const KIND: &str = "EncryptedQueue";
/// How often something is looked at that nobody tells of.
const LOOK_AGAIN: Duration = Duration::from_secs(20);

/// Whether a pass over a queue that is Ready would do or tell anything if AWS is as `reader` says.
pub(super) async fn differs(ctx: &Context, object: &EncryptedQueue, reader: &Reader<'_>) -> Result<bool, AwsError> {
    let resolved = resolve_queue(ctx, object, false).await;
    let mut pass = Pass::new(ctx, object, &resolved, true);
    for _ in 0..MOST_ROUNDS {
        let now = clock::now();
        let end = match pass.plan(now).into_iter().next() {
            None => End::Complete,
            Some(QueueAction::Hold(hold)) => End::Held(hold),
            Some(action) => match Box::pin(reader.observe_queues(&action)).await? {
                Some(effect) => {
                    pass.observed.note(&action, effect, now);
                    continue;
                }
                None => return Ok(true),
            },
        };
        let previous = object.status.clone().unwrap_or_default();
        return Ok(pass.status(&end, None, &previous) != previous);
    }
    Ok(true)
}

/// Keys that hold grants of a queue that has none on record.
fn unrecorded_keys(ctx: &Context, object: &EncryptedQueue) -> Vec<Arc<QueueKey>> {
    if objects::recorded_keys(object).next().is_some() {
        return Vec::new();
    }
    let holding = ctx.wake.keys_holding(&name_of(object)).into_iter().filter_map(|name| ctx.key(&name));
    holding.filter(|key| objects::holds_unrecorded(key, object)).collect()
}

/// One pass over one object.
struct Pass<'a> {
    ctx: &'a Context,
    object: &'a EncryptedQueue,
    resolved: &'a ResolvedQueue,
    observed: ObservedQueue,
    kept: Option<KeptQueue>,
    paused: bool,
    deleting: bool,
}

pub(super) async fn reconcile(object: Arc<EncryptedQueue>, ctx: Arc<Context>) -> Result<Reconciled, Failure> {
    let NamespacedName { namespace, name } = name_of(object.as_ref());
    let caller = Caller::Reconcile { subject: Subject::Queue { namespace, name }, tenant: object.spec.tenant.clone() };
    on_behalf(caller, Box::pin(reconcile_one(object, ctx))).await
}

async fn reconcile_one(object: Arc<EncryptedQueue>, ctx: Arc<Context>) -> Result<Reconciled, Failure> {
    let _within = ctx.claims.enter(&object.spec.tenant).await;
    if let Some(standing) = ctx.tenant(&object.spec.tenant).map(|tenant| ctx.claims.standing(&tenant)).filter(|standing| *standing != Standing::Ours)
    {
        return Ok((ReconcileResult::Held, leave_alone(&ctx, &object, &standing).await?));
    }
    let resolved = resolve_queue(&ctx, &object, check_asked(object.as_ref(), served_check(&object)).is_some()).await;
    let check = ctx.checks.take(KIND, &name_of(object.as_ref()).to_string());
    let mut pass = Pass::new(&ctx, &object, &resolved, check);
    let end = Box::pin(pass.run()).await?;
    if let Some(uid) = object.uid() {
        ctx.absences.note(uid, pass.observed.source == Seen::Absent && pass.observed.dead_letter.present().is_none());
    }
    if pass.deleting && end == End::Complete {
        ctx.backoff.succeeded(&pass.id());
        return Ok((ReconcileResult::Complete, Action::await_change()));
    }
    if let Some(wait) = wait_in_line(&end).filter(|wait| *wait < SHORT_WAIT) {
        return Ok((ReconcileResult::Held, next_in_line(wait)));
    }
    let differences = Box::pin(pass.differences()).await?;
    let told = pass.tell(&end, differences.as_deref()).await?;
    let next = pass.next(&end);
    // Nobody tells when a stranger's ConfigMap goes.
    Ok((result_of(&end), if told || next != Action::await_change() { next } else { Action::requeue(clock::real(LOOK_AGAIN)) }))
}

impl<'a> Pass<'a> {
    fn new(ctx: &'a Context, object: &'a EncryptedQueue, resolved: &'a ResolvedQueue, check: bool) -> Self {
        let (paused, deleting) = (is_paused(object), object.metadata.deletion_timestamp.is_some());
        let status = object.status.clone().unwrap_or_default();
        let key_name = resolved.desired.as_ref().map(|desired| desired.key_name.clone()).ok().or_else(|| status.key.clone().map(|key| key.name));
        let key = key_name.and_then(|name| ctx.key(&name)).filter(|key| key.metadata.deletion_timestamp.is_none());
        let asked = check_asked(object, served_check(object));
        if let (Some(_), Some(key)) = (asked, &key) {
            ctx.compare(&Compared::Key(key.name_any()));
        }
        let absent = !deleting && status.queue.is_none() && object.uid().is_some_and(|uid| ctx.absences.holds(&uid));
        let others: Vec<Arc<QueueKey>> = objects::recorded_keys(object)
            .filter(|name| key.as_ref().is_none_or(|key| key.name_any() != *name))
            .filter_map(|name| ctx.key(name))
            .chain(unrecorded_keys(ctx, object))
            .collect();
        let others: Vec<&QueueKey> = others.iter().map(AsRef::as_ref).collect();
        let mut observed = objects::observed_queue(object, key.as_deref(), &others, check || asked.is_some());
        if absent {
            (observed.source, observed.dead_letter) = (Seen::Absent, Seen::Absent);
        }
        let granted = observed.key.as_ref().is_some_and(|key| key.holds.is_some());
        let kept = (paused || resolved.desired.is_err()).then(|| objects::kept_queue(object, resolved.rules(), granted, &ctx.cluster_id)).flatten();
        Self { ctx, object, resolved, observed, kept, paused, deleting }
    }

    fn id(&self) -> String {
        format!("{KIND} {}", name_of(self.object))
    }

    fn plan(&self, now: Timestamp) -> Vec<QueueAction> {
        if self.deleting {
            let desired = self.resolved.desired.as_ref().ok();
            let ending = objects::ending_queue(self.object, desired, self.resolved.tier.as_deref(), &self.ctx.cluster_id);
            return plan_queue_end(&ending, &self.observed, now);
        }
        match &self.resolved.desired {
            Ok(desired) if !self.paused => plan_queue(desired, &self.observed, now),
            _ => self.kept.as_ref().map_or_else(Vec::new, |kept| plan_kept_queue(kept, &self.observed)),
        }
    }

    /// Plans and applies until nothing is left, nothing can be done now, or a call fails.
    async fn run(&mut self) -> Result<End, Failure> {
        let applier = QueueApplier { ctx: self.ctx, object: self.object, tenant: self.resolved.tenant.as_deref() };
        let mut looked_again = false;
        for _ in 0..MOST_ROUNDS {
            let actions = self.plan(clock::now());
            if actions.is_empty() {
                return Ok(End::Complete);
            }
            for action in &actions {
                if let QueueAction::Hold(hold) = action {
                    return Ok(End::Held(hold.clone()));
                }
                if self.ctx.dry_run && action.writes_aws() {
                    return Ok(super::dry_run(&actions.iter().filter(|a| a.writes_aws()).map(render::queue_action).collect::<Vec<_>>()));
                }
                // Records too: what a former leader writes late is not true any more.
                self.ctx.leadership.check()?;
                match Box::pin(applier.apply(action)).await {
                    Ok(effect) => {
                        self.observed.note(action, effect, clock::now());
                        self.announce(action);
                    }
                    Err(failure) if failure.kubernetes => return Err(failure),
                    // The roles SQS cannot know are left out, the rest is applied.
                    Err(failure) if failure.reason == Reason::PrincipalInvalid && self.leave_out(action).await => break,
                    // AWS is not as it was observed: look again, once.
                    Err(failure) if failure.retry == Retry::Now && !looked_again => {
                        looked_again = true;
                        self.observed.note_unknown();
                        break;
                    }
                    Err(failure) => return Ok(failure.into()),
                }
                if *action == QueueAction::RemoveFinalizer {
                    return Ok(End::Complete);
                }
            }
        }
        Ok(super::no_end(MOST_ROUNDS))
    }

    /// Notes the roles that SQS refuses; false: there is none to leave out that was not left out before.
    async fn leave_out(&mut self, action: &QueueAction) -> bool {
        let QueueAction::SetQueueAttributes { which, attributes, .. } = action else { return false };
        let (Some(tenant), Some(policy), Ok(desired)) = (&self.resolved.tenant, attributes.get(POLICY), &self.resolved.desired) else { return false };
        let before = self.observed.queue(*which).present().and_then(|queue| queue.attributes.get(POLICY)).map(String::as_str);
        let refused = refused_principals(self.ctx, tenant, &desired.place.region, policy, before).await;
        let known = self.observed.refused.len();
        self.observed.refused.extend(refused);
        self.observed.refused.len() > known
    }

    fn announce(&self, action: &QueueAction) {
        if let (QueueAction::ReadQueues { .. }, Ok(desired)) = (action, &self.resolved.desired) {
            let shown = deleted::shown_by_queue(desired, &self.observed);
            if !shown.is_empty() {
                let note = format!("{}; QueueKey {} puts it on record", deleted::said(Some(&desired.access), &shown), desired.key_name);
                self.ctx.events.reason(self.object, Reason::PrincipalDeleted, &note);
            }
        }
        if let QueueAction::RecordKeys { previous, .. } = action {
            let known = self.object.status.iter().flat_map(|status| &status.previous_keys).map(|known| &known.arn).collect::<Vec<_>>();
            for lost in previous.iter().filter(|previous| previous.is_lost() && !known.contains(&&previous.arn)) {
                self.ctx.events.reason(self.object, Reason::KeyLost, &lost.said_lost());
            }
        }
        if !action.writes_aws() {
            return;
        }
        let said = match (action, self.observed.cached_data_keys_until) {
            (QueueAction::SetQueueAttributes { revokes: true, .. }, Some(until)) => {
                let (done, until) = (render::queue_action(action), until.strftime("%Y-%m-%dT%H:%M:%SZ"));
                format!("{done}; data keys that SQS cached may serve whoever lost access until {until}")
            }
            _ => render::queue_action(action),
        };
        let was_ready = self
            .object
            .status
            .as_ref()
            .is_some_and(|s| s.observed_generation == self.object.metadata.generation && conditions::is_true(&s.conditions, types::READY));
        tracing::info!(object = %name_of(self.object), action = said, "applied");
        if was_ready && self.observed.check && !self.deleting {
            self.ctx.events.warn(self.object, "DriftRepaired", &format!("AWS differed from what is declared: {said}"));
        } else {
            self.ctx.events.done(self.object, "Applied", &said);
        }
    }

    /// Of a paused object: what would be done. Read only when the record does not already say that nothing differs.
    async fn differences(&mut self) -> Result<Option<Vec<String>>, Failure> {
        let Ok(desired) = &self.resolved.desired else { return Ok(None) };
        if !self.paused || self.deleting {
            return Ok(None);
        }
        let applier = QueueApplier { ctx: self.ctx, object: self.object, tenant: self.resolved.tenant.as_deref() };
        let mut actions = plan_queue(desired, &self.observed, clock::now());
        if let [read @ QueueAction::ReadQueues { .. }] = actions.as_slice() {
            match Box::pin(applier.apply(read)).await {
                Ok(effect) => self.observed.note(read, effect, clock::now()),
                Err(failure) if failure.kubernetes => return Err(failure),
                Err(failure) => return Ok(Some(vec![failure.message])),
            }
            actions = plan_queue(desired, &self.observed, clock::now());
        }
        let of_key = self.observed.key.as_ref().and_then(|key| key.not_ready.as_ref()).filter(|(reason, _)| *reason == Reason::Paused);
        let of_key = of_key.map(|(_, message)| format!("QueueKey {}: {message}", desired.key_name));
        let mut differences: Vec<String> = actions.iter().filter_map(difference).chain(of_key).collect();
        differences.dedup();
        Ok(Some(differences))
    }

    /// Writes status and ConfigMap, and tells why something waits; false: the app could not be told.
    async fn tell(&self, end: &End, paused: Option<&[String]>) -> Result<bool, Failure> {
        // As it stands after what this pass wrote itself.
        let object = &self.ctx.newest_queue(self.object);
        let previous = object.status.clone().unwrap_or_default();
        let status = self.status(end, paused, &previous);
        // The app's address before Ready; status also when it cannot be written.
        let told = if self.deleting { Ok(true) } else { self.tell_app(&status).await };
        if write_queue_status(self.ctx, object, &status).await? {
            self.announce_reason(&previous, &status);
            if let (Some(since), None, false) = (&previous.non_compliant_since, &status.non_compliant_since, self.deleting) {
                let took = clock::now().duration_since(since.0).try_into().unwrap_or_default();
                self.ctx.metrics.remedied(&self.object.spec.tenant, &self.object.spec.sensitivity_tier, took);
            }
        }
        told
    }

    fn status(&self, end: &End, paused: Option<&[String]>, previous: &EncryptedQueueStatus) -> EncryptedQueueStatus {
        let key_name = self.resolved.desired.as_ref().ok().map(|desired| desired.key_name.as_str());
        let key = key_name.and_then(|name| self.ctx.key(name));
        let pass = QueuePass {
            desired: self.resolved.desired.as_ref().map_err(|refusal| refusal.violations.as_slice()),
            observed: &self.observed,
            end,
            key: key.as_ref().and_then(|key| key.status.as_ref()),
            paused,
            deleting: self.deleting,
            checked_now: self.object.annotations().get(CHECK_NOW).map(|value| cut(value).to_owned()),
            kept_sha256: self.kept.as_ref().map(KeptQueue::sha256),
            generation: self.object.metadata.generation,
        };
        let mut status = pass.status(previous, clock::now());
        status.conditions.extend(self.budget(&previous.conditions));
        status
    }

    /// Said while the tenant is over its budget; it blocks nothing.
    fn budget(&self, previous: &[Condition]) -> Vec<Condition> {
        let tenant = self.resolved.tenant.as_deref().filter(|tenant| tenant::is_over_budget(tenant));
        let Some(tenant) = tenant else { return Vec::new() };
        let message = format!("Tenant {} is over its spec.limits.monthlyKmsUsd; nothing is blocked", tenant.name_any());
        let finding = Finding::of(types::WITHIN_BUDGET, Reason::OverBudget, message);
        conditions::merge(previous, &[finding], self.object.metadata.generation, clock::now())
    }

    /// Writes the ConfigMap; false: one of its name is somebody else's.
    async fn tell_app(&self, status: &EncryptedQueueStatus) -> Result<bool, Failure> {
        let Ok(desired) = &self.resolved.desired else { return Ok(true) };
        let ConfigMapState::Foreign(uid) = config_map::ensure(self.ctx, self.object, status, &desired.place.region).await? else {
            return Ok(true);
        };
        if self.ctx.check_asked("ConfigMap", &self.id(), Some(&uid)) {
            let name = self.object.name_any();
            let kind = <ConfigMap as k8s_openapi::Resource>::KIND;
            let note = format!(
                "{kind} {name} exists and is not this operator's: it is left as it is, and the queue's address is in status only; rename or delete it"
            );
            self.ctx.events.warn(self.object, "ConfigMapConflict", &note);
        }
        Ok(false)
    }

    fn announce_reason(&self, previous: &EncryptedQueueStatus, status: &EncryptedQueueStatus) {
        let ready =
            |status: &EncryptedQueueStatus| status.conditions.iter().find(|c| c.type_ == types::READY).map(|c| (c.reason.clone(), c.message.clone()));
        let (before, after) = (ready(previous), ready(status));
        if let Some((reason, message)) = after.filter(|after| before.as_ref() != Some(after))
            && let Some(reason) = Reason::parse(&reason)
        {
            self.ctx.events.reason(self.object, reason, &message);
        }
    }

    fn next(&self, end: &End) -> Action {
        match end {
            _ if self.resolved.looked_up_in_vain => Action::requeue(self.ctx.backoff.after_failure(&self.id(), Reason::AwsUnavailable)),
            End::Complete => {
                self.ctx.backoff.succeeded(&self.id());
                // Nobody tells when messages under an earlier key have expired.
                let until = self.observed.previous_keys.iter().map(|previous| previous.decrypt_until).min();
                until.map_or_else(Action::await_change, |until| Action::requeue(clock::wait_until(until)))
            }
            // Nobody tells when a role comes to be.
            End::Held(_) if !self.observed.refused.is_empty() => {
                Action::requeue(self.ctx.backoff.after_failure(&self.id(), Reason::PrincipalInvalid))
            }
            End::Held(hold) => {
                self.ctx.backoff.succeeded(&self.id());
                if let Some(wait) = wait_in_line(end) {
                    return next_in_line(wait);
                }
                match hold.until {
                    Some(until) => Action::requeue(clock::wait_until(until)),
                    // SQS does not tell when a queue becomes empty, and nobody tells when a conflict is gone.
                    None if matches!(hold.reason, Reason::QueueNotEmpty | Reason::QueueConflict | Reason::QueueNotAdoptable) => {
                        Action::requeue(clock::real(LOOK_AGAIN))
                    }
                    None => Action::await_change(),
                }
            }
            End::Failed { reason, .. } => Action::requeue(self.ctx.backoff.after_failure(&self.id(), *reason)),
        }
    }
}

/// What a paused object's action would change; access that waits for the key is a difference too.
fn difference(action: &QueueAction) -> Option<String> {
    match action {
        QueueAction::Hold(hold) => (hold.reason != Reason::WaitingForQueue).then(|| hold.message.clone()),
        _ => action.writes_aws().then(|| render::queue_action(action)),
    }
}

fn served_check(object: &EncryptedQueue) -> Option<&str> {
    object.status.as_ref()?.checked_now.as_deref()
}
