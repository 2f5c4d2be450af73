//! Reconciles a QueueKey: collects every queue that uses it → plan → apply, until nothing is left → status, Events.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::apply_key::KeyApplier;
use super::claim::Standing;
use super::context::Context;
use super::principals::refused_principals;
use super::resolve::resolve_key;
use super::status::write_key_status;
use super::turns::Action;
use super::{Failure, MOST_ROUNDS, Reconciled, Retry, SHORT_WAIT, check_asked, cut, next_in_line, result_of, wait_in_line};
use crate::api::conditions::types;
use crate::api::labels::{CHECK_NOW, TAG_CLUSTER, TAG_SUPERSEDED_BY};
use crate::api::{EncryptedQueue, QueueKey, Reason, Tenant};
use crate::aws::{AwsError, Caller, Reader, Subject, on_behalf};
use crate::clock;
use crate::desired::DesiredKey;
use crate::names::RoleArn;
use crate::outcome::End;
use crate::outcome::key::KeyPass;
use crate::plan::teardown::{plan_key_end, plan_key_remade};
use crate::plan::{Hold, KeyAction, ObservedKey, deleted, objects, plan_key, render};
use crate::telemetry::metrics::ReconcileResult;

const KIND: &str = "QueueKey";

pub(super) async fn reconcile(object: Arc<QueueKey>, ctx: Arc<Context>) -> Result<Reconciled, Failure> {
    let caller = Caller::Reconcile { subject: Subject::Key { name: object.name_any() }, tenant: object.spec.tenant.clone() };
    on_behalf(caller, Box::pin(reconcile_one(object, ctx))).await
}

async fn reconcile_one(object: Arc<QueueKey>, ctx: Arc<Context>) -> Result<Reconciled, Failure> {
    let name = object.name_any();
    let Some(tenant) = ctx.tenant(&object.spec.tenant) else {
        let message = format!("Tenant {} does not exist; the key stays as it is", object.spec.tenant);
        return tell(&ctx, &object, None, &observed_key(&ctx, &object), &End::Held(Hold::new(Reason::TenantNotFound, message))).await;
    };
    let _within = ctx.claims.enter(&object.spec.tenant).await;
    if ctx.claims.standing(&tenant) != Standing::Ours {
        return Ok((ReconcileResult::Held, Action::await_change()));
    }
    let desired = match resolve_key(&ctx, &object, &tenant).await {
        Ok(desired) => desired,
        Err(error) => {
            let Failure { reason, message, .. } = Failure::no_account(&tenant, error);
            let end = End::Failed { reason, message };
            return tell(&ctx, &object, None, &observed_key(&ctx, &object), &end).await;
        }
    };
    // The caches may lag: before a key ends, the API server itself is asked.
    if !desired.is_used() && has_live_users(&ctx, &object).await? {
        return Ok((ReconcileResult::Held, Action::requeue(clock::real(Duration::from_secs(1)))));
    }
    let observed = observed_key(&ctx, &object);
    let recorded_arn = observed.arn.clone();
    let mut pass = Pass {
        ctx: &ctx,
        tenant: &tenant,
        desired,
        observed,
        recorded_arn,
        applier: KeyApplier { ctx: &ctx, object: object.as_ref().clone(), tenant: &tenant },
    };
    let end = pass.run().await?;
    let end = pass.with_refused(end);
    if pass.ended(&end) {
        ctx.backoff.succeeded(&format!("{KIND} {name}"));
        return Ok((ReconcileResult::Complete, Action::await_change()));
    }
    let Pass { desired, observed, applier, .. } = pass;
    // A nonce that no key was made with must go even so.
    if let Some(wait) = wait_in_line(&end).filter(|wait| *wait < SHORT_WAIT && observed.nonce.as_ref().is_none_or(|nonce| !nonce.fresh)) {
        return Ok((ReconcileResult::Held, next_in_line(wait)));
    }
    tell(&ctx, &applier.object, Some(&desired), &observed, &end).await
}

/// Whether a pass over a key that is Ready would do or tell anything if AWS is as `reader` says.
pub(super) async fn differs(ctx: &Context, object: &QueueKey, tenant: &Tenant, reader: &Reader<'_>) -> Result<bool, AwsError> {
    let desired = resolve_key(ctx, object, tenant).await?;
    let mut observed = objects::observed_key(object, true);
    for _ in 0..if desired.is_used() { MOST_ROUNDS } else { 0 } {
        let now = clock::now();
        let end = match plan_key(&desired, &observed, ctx.window, now).into_iter().next() {
            None => End::Complete,
            Some(KeyAction::Hold(hold)) => End::Held(hold),
            Some(action) => match Box::pin(reader.observe_key(&action)).await? {
                Some(effect) => {
                    observed.note(&action, effect, now);
                    continue;
                }
                None => return Ok(true),
            },
        };
        let previous = object.status.clone().unwrap_or_default();
        let pass = KeyPass { desired: Some(&desired), observed: &observed, end: &end, checked_now: None, generation: object.metadata.generation };
        return Ok(pass.status(&previous, now) != previous);
    }
    Ok(true)
}

struct Pass<'a> {
    ctx: &'a Context,
    tenant: &'a Tenant,
    desired: DesiredKey,
    observed: ObservedKey,
    /// What status named when the pass began.
    recorded_arn: Option<String>,
    applier: KeyApplier<'a>,
}

impl Pass<'_> {
    /// Roles that were left out are tried again later: they may have been made just now.
    fn with_refused(&self, end: End) -> End {
        if self.observed.refused.is_empty() || matches!(end, End::Failed { .. }) {
            return end;
        }
        let roles = self.observed.refused.iter().map(RoleArn::as_str).collect::<Vec<_>>().join(", ");
        let deleted: Vec<_> = self.observed.deleted.iter().filter(|deleted| deleted.roles.iter().any(|arn| roles.contains(arn))).collect();
        if !deleted.is_empty() {
            let message = format!("{}; what it may do is left out until it exists again, all else is applied", deleted::said(None, deleted));
            return End::Failed { reason: Reason::PrincipalDeleted, message };
        }
        let message = format!(
            "KMS refuses the key policy: it knows no role {roles}; create it or correct the declaration. A role made seconds ago becomes known by itself: this is tried again"
        );
        End::Failed { reason: Reason::PrincipalInvalid, message }
    }

    fn plan(&self, now: Timestamp) -> Vec<KeyAction> {
        let deleted_by_hand = self.applier.object.metadata.deletion_timestamp.is_some();
        match self.desired.is_used() {
            true if deleted_by_hand => plan_key_remade(&self.desired, &self.observed, self.ctx.window, now),
            true => plan_key(&self.desired, &self.observed, self.ctx.window, now),
            false => plan_key_end(&self.desired, &self.observed, self.ctx.window, now),
        }
    }

    fn ended(&self, end: &End) -> bool {
        *end == End::Complete && (!self.desired.is_used() || self.applier.object.metadata.deletion_timestamp.is_some())
    }

    /// Plans and applies until nothing is left, nothing can be done now, or a call fails.
    async fn run(&mut self) -> Result<End, Failure> {
        let mut looked_again = false;
        for _ in 0..MOST_ROUNDS {
            let actions = self.plan(clock::now());
            if actions.is_empty() {
                return Ok(End::Complete);
            }
            for action in &actions {
                if let KeyAction::Hold(hold) = action {
                    return Ok(End::Held(hold.clone()));
                }
                if self.ctx.dry_run && (action.writes_aws() || *action == KeyAction::RecordNonce) {
                    // The nonce stands for the key that is made next.
                    let is_told = |action: &&KeyAction| action.writes_aws() || **action == KeyAction::RecordNonce;
                    return Ok(super::dry_run(&actions.iter().filter(is_told).map(render::key_action).collect::<Vec<_>>()));
                }
                // Records too: what a former leader writes late is not true any more.
                self.ctx.leadership.check()?;
                let began = clock::now();
                match self.applier.apply(action, began).await {
                    Ok(effect) => {
                        self.observed.note(action, effect, began);
                        self.announce(action);
                    }
                    Err(failure) if failure.kubernetes => return Err(failure),
                    // The roles KMS cannot know are left out, the rest is applied.
                    Err(failure) if failure.reason == Reason::PrincipalInvalid && self.leave_out(action).await => break,
                    Err(failure) => {
                        if failure.retry == Retry::Now {
                            self.observed.note_unknown(action);
                        }
                        if failure.retry == Retry::Later || looked_again {
                            return Ok(failed(action, failure));
                        }
                        looked_again = true;
                        break;
                    }
                }
                if matches!(action, KeyAction::EndObject { .. }) {
                    return Ok(End::Complete);
                }
                // What comes after depends on what was found.
                if matches!(action, KeyAction::CreateAlias { .. }) && self.observed.alias_taken {
                    break;
                }
            }
        }
        Ok(super::no_end(MOST_ROUNDS))
    }

    /// Notes the roles that KMS refuses; false: there is none to leave out that was not left out before.
    async fn leave_out(&mut self, action: &KeyAction) -> bool {
        let (KeyAction::CreateKey { policy, .. } | KeyAction::PutKeyPolicy { policy, .. }) = action else { return false };
        let before = self.observed.state.present().map(|state| state.policy.as_str());
        let refused = refused_principals(self.ctx, self.tenant, &self.applier.object.spec.region, policy, before).await;
        let access = &self.desired.access;
        // No key is made without its administrators; of one that there is they are left out like others.
        let is_new = matches!(action, KeyAction::CreateKey { .. });
        let is_fixed =
            |role: &RoleArn| *role == access.operator || (is_new && (access.administrators.contains(role) || access.break_glass.contains(role)));
        let known = self.observed.refused.len();
        self.observed.refused.extend(refused.into_iter().filter(|role| !is_fixed(role)));
        self.observed.refused.len() > known
    }

    fn announce(&self, action: &KeyAction) {
        if let KeyAction::RecordKey { arn, .. } = action
            && let Some(before) = self.recorded_arn.as_ref().filter(|before| *before != arn)
        {
            let note = format!("status named key {before}; by its alias or its marks the key is {arn}");
            self.ctx.events.warn(&self.applier.object, "RecordCorrected", &note);
        }
        if let KeyAction::RecordDeletedPrincipals { deleted, access_revision, .. } = action {
            let note = format!("{}; its access ended with it: access revision {access_revision}", deleted::said(None, deleted));
            self.ctx.events.reason(&self.applier.object, Reason::PrincipalDeleted, &note);
        }
        if !action.writes_aws() {
            return;
        }
        let (said, object) = (render::key_action(action), &self.applier.object);
        tracing::info!(object = object.name_any(), action = said, "applied");
        match action {
            KeyAction::TagKey { tags, .. } if tags.contains_key(TAG_SUPERSEDED_BY) => {
                self.ctx.events.warn(object, "SupersededKey", &format!("a key that was made twice ends: {said}"));
            }
            KeyAction::EnableKey { .. } | KeyAction::CancelKeyDeletion { .. } | KeyAction::RevokeGrant { .. } => {
                self.ctx.events.warn(object, "DriftRepaired", &format!("AWS differed from what is declared: {said}"));
            }
            KeyAction::TagKey { tags, .. } if tags.contains_key(TAG_CLUSTER) => {
                self.ctx.events.warn(object, "DriftRepaired", &format!("AWS differed from what is declared: {said}"));
            }
            _ => self.ctx.events.done(object, "Applied", &said),
        }
    }
}

fn failed(action: &KeyAction, failure: Failure) -> End {
    if let (Reason::PrincipalInvalid, KeyAction::CreateKey { .. } | KeyAction::PutKeyPolicy { .. }) = (failure.reason, action) {
        let message = "KMS refuses the key policy: an administrator or the operator's role in spec.keyAdministrators, spec.breakGlassAdministrators or spec.aws of the tenant does not exist; create it or correct the tenant";
        return End::Failed { reason: Reason::PrincipalInvalid, message: message.to_owned() };
    }
    failure.into()
}

fn observed_key(ctx: &Context, object: &QueueKey) -> ObservedKey {
    let served = object.status.as_ref().and_then(|status| status.checked_now.as_deref());
    let check = ctx.checks.take(KIND, &object.name_any()) || check_asked(object, served).is_some();
    objects::observed_key(object, check)
}

/// Whether an EncryptedQueue that the API server holds uses the key.
async fn has_live_users(ctx: &Context, key: &QueueKey) -> Result<bool, Failure> {
    if let Some(queue) = &key.spec.queue {
        let api: Api<EncryptedQueue> = Api::namespaced(ctx.client.clone(), &queue.namespace);
        let live = api.get_opt(&queue.name).await?;
        let is_meant = |live: &EncryptedQueue| live.spec.sensitivity_tier == key.spec.sensitivity_tier || objects::holds_unrecorded(key, live);
        return Ok(live.is_some_and(|live| uses(&live, key).unwrap_or_else(|| is_meant(&live))));
    }
    let api: Api<EncryptedQueue> = Api::all(ctx.client.clone());
    let live = api.list(&ListParams::default().fields(&format!("spec.tenant={}", key.spec.tenant))).await?;
    Ok(live.iter().any(|live| uses(live, key).unwrap_or_else(|| objects::holds_unrecorded(key, live))))
}

/// None: nothing is on record yet.
fn uses(queue: &EncryptedQueue, key: &QueueKey) -> Option<bool> {
    let recorded: Vec<&str> = objects::recorded_keys(queue).collect();
    (!recorded.is_empty()).then(|| recorded.contains(&key.name_any().as_str()))
}

async fn tell(ctx: &Context, object: &QueueKey, desired: Option<&DesiredKey>, observed: &ObservedKey, end: &End) -> Result<Reconciled, Failure> {
    let previous = object.status.clone().unwrap_or_default();
    let checked_now = object.annotations().get(CHECK_NOW).map(|value| cut(value).to_owned());
    let status = KeyPass { desired, observed, end, checked_now, generation: object.metadata.generation }.status(&previous, clock::now());
    let ready = |conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]| {
        conditions.iter().find(|c| c.type_ == types::READY).map(|c| (c.reason.clone(), c.message.clone()))
    };
    write_key_status(ctx, object, &status).await?;
    let (before, after) = (ready(&previous.conditions), ready(&status.conditions));
    if let Some((reason, message)) = after.filter(|after| before.as_ref() != Some(after))
        && let Some(reason) = Reason::parse(&reason)
    {
        ctx.events.reason(object, reason, &message);
    }
    let id = format!("{KIND} {}", object.name_any());
    let next = match end {
        End::Failed { reason, .. } => Action::requeue(ctx.backoff.after_failure(&id, *reason)),
        End::Complete => {
            ctx.backoff.succeeded(&id);
            desired.and_then(|desired| desired.changes_at).map_or_else(Action::await_change, |at| Action::requeue(clock::wait_until(at)))
        }
        End::Held(hold) => {
            ctx.backoff.succeeded(&id);
            if let Some(wait) = wait_in_line(end) {
                return Ok((result_of(end), next_in_line(wait)));
            }
            hold.until.map_or_else(Action::await_change, |until| Action::requeue(clock::wait_until(until)))
        }
    };
    Ok((result_of(end), next))
}
