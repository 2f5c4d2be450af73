//! AccessApprovals: which may be used, which were, and which lapsed.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt};

use super::context::Context;
use super::status::write_cluster_status;
use super::turns::Action;
use super::{Failure, Reconciled};
use crate::api::conditions::{Finding, merge, types};
use crate::api::{AccessApproval, AccessApprovalStatus, Reason};
use crate::clock;
use crate::desired::Approval;
use crate::telemetry::metrics::ReconcileResult;

/// An approval that was not used for so long can be used no more.
const LIFETIME: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Approvals of access to a key that were neither used nor lapsed.
pub(super) fn usable(ctx: &Context, queue_key: &str, now: Timestamp) -> Vec<Approval> {
    usable_of(ctx.stores.approvals.state().iter().map(AsRef::as_ref), queue_key, now)
}

/// The same among these.
pub(crate) fn usable_of<'a>(approvals: impl IntoIterator<Item = &'a AccessApproval>, queue_key: &str, now: Timestamp) -> Vec<Approval> {
    let open = approvals.into_iter().filter(|approval| approval.spec.queue_key == queue_key && is_open(approval, now));
    let mut usable: Vec<Approval> = open
        .map(|approval| Approval {
            name: approval.name_any(),
            grants_sha256: approval.spec.grants_sha256.clone(),
            queue: approval.spec.queue.clone(),
            approved_by: approval.spec.approved_by.clone(),
        })
        .collect();
    usable.sort_by(|a, b| a.name.cmp(&b.name));
    usable
}

fn is_open(approval: &AccessApproval, now: Timestamp) -> bool {
    let used = approval.status.as_ref().is_some_and(|status| status.applied_at.is_some() || status.lapsed_at.is_some());
    !used && approval.metadata.deletion_timestamp.is_none() && now < lapses_at(approval)
}

fn lapses_at(approval: &AccessApproval) -> Timestamp {
    approval.metadata.creation_timestamp.as_ref().map_or(Timestamp::MAX, |made| made.0 + LIFETIME)
}

/// Writes that an approval is used, which it can be once.
pub(super) async fn mark_applied(ctx: &Context, name: &str, now: Timestamp) -> Result<(), Failure> {
    let api: Api<AccessApproval> = Api::all(ctx.client.clone());
    let Some(approval) = api.get_opt(name).await? else { return Ok(()) };
    write(ctx, &approval, AccessApprovalStatus { applied_at: Some(Time(now)), ..approval.status.clone().unwrap_or_default() }, now).await?;
    ctx.events.reason(
        &approval,
        Reason::Applied,
        &format!("approved by {}, applied to QueueKey {}", approval.spec.approved_by, approval.spec.queue_key),
    );
    Ok(())
}

async fn write(ctx: &Context, approval: &AccessApproval, mut status: AccessApprovalStatus, now: Timestamp) -> Result<(), Failure> {
    let finding = match (&status.applied_at, &status.lapsed_at) {
        (Some(at), _) => Finding::of(types::APPLIED, Reason::Applied, format!("applied at {}", at.0)),
        (None, Some(at)) => Finding::of(types::APPLIED, Reason::Lapsed, format!("not used within 14 days: lapsed at {}; approve again", at.0)),
        (None, None) => Finding::of(types::APPLIED, Reason::Pending, not_used_yet(ctx, approval)),
    };
    let previous = approval.status.clone().unwrap_or_default();
    status.conditions = merge(&previous.conditions, &[finding], approval.metadata.generation, now);
    write_cluster_status(ctx, approval, approval.status.as_ref(), &status).await?;
    Ok(())
}

/// Why an approval waits: the key is not there, or what it approves is not what waits.
fn not_used_yet(ctx: &Context, approval: &AccessApproval) -> String {
    let name = &approval.spec.queue_key;
    let Some(key) = ctx.key(name) else { return format!("QueueKey {name} does not exist (yet)") };
    let waits = key.status.iter().flat_map(|status| &status.pending_grants).find(|pending| pending.sha256 == approval.spec.grants_sha256);
    if let Some(pending) = waits {
        let object = pending.object();
        if let Some(queue) = approval.spec.queue.as_ref().filter(|queue| **queue != object) {
            return format!("what waits with this hash on QueueKey {name} is of EncryptedQueue {object}, not {queue}: approve that");
        }
        format!("is being applied to QueueKey {name}")
    } else {
        format!("nothing with this hash waits on QueueKey {name}: the declaration has changed, was narrowed since, or is not there yet")
    }
}

pub(super) async fn reconcile(approval: Arc<AccessApproval>, ctx: Arc<Context>) -> Result<Reconciled, Failure> {
    let (now, name) = (clock::now(), approval.name_any());
    let mut status = approval.status.clone().unwrap_or_default();
    if status.applied_at.is_some() || status.lapsed_at.is_some() {
        return Ok((ReconcileResult::Complete, Action::await_change()));
    }
    let key = ctx.key(&approval.spec.queue_key);
    let applied = key.and_then(|key| key.status.as_ref().and_then(|status| status.approval.clone())).filter(|applied| applied.name == name);
    if let Some(applied) = applied {
        status.applied_at = Some(applied.applied_at);
    } else if now >= lapses_at(&approval) {
        status.lapsed_at = Some(Time(now));
    }
    let open = status.applied_at.is_none() && status.lapsed_at.is_none();
    write(&ctx, &approval, status, now).await?;
    if open {
        ctx.wake.key(&approval.spec.queue_key);
        return Ok((ReconcileResult::Held, Action::requeue(clock::wait_until(lapses_at(&approval)))));
    }
    Ok((ReconcileResult::Complete, Action::await_change()))
}
