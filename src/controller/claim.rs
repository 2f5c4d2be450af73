//! Whose tenant it is. Several installs may share a cluster; `Tenant.status.controller` names the Lease of the one that manages a tenant, and no other writes
//! to AWS, or to the objects, of that tenant.
//!
//! A claim is written with the resourceVersion that was seen, so that one of two wins. It is released when the tenant's labels leave the holder's selector,
//! and taken over when the holder's Lease stands still, or is away, for several times as long as it holds: by then the holder has stopped itself. A holder
//! that restarts, or hands over to its standby, keeps its tenants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Patch, PatchParams};
use kube::core::{Selector, SelectorExt};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use super::Failure;
use super::context::Context;
use super::status::{MANAGER, write_first_queue_status};
use super::turns::Action;
use crate::api::{EncryptedQueue, Reason, Tenant};
use crate::clock;
use crate::desired::Violation;
use crate::outcome::End;
use crate::outcome::queue::QueuePass;
use crate::plan::ObservedQueue;

/// So many times the Lease's duration a holder is waited for: a pod that is replaced is back by then.
const PATIENCE: u32 = 4;
/// So old is a queue that nobody manages when it is told so: another install may just be about to take it.
const TELL_AFTER: Duration = Duration::from_secs(30);

/// Where a tenant stands with this install.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// Ours.
    Ours,
    /// Ours, and not selected any more.
    Leaving,
    /// Nobody's, and selected.
    Free,
    /// Selected, and another's.
    Foreign(String),
    /// Not selected: another's, or nobody's.
    NotSelected(Option<String>),
}

fn standing(identity: &str, selected: bool, holder: Option<&str>) -> Standing {
    match (holder.filter(|holder| !holder.is_empty()), selected) {
        (Some(holder), true) if holder == identity => Standing::Ours,
        (Some(holder), false) if holder == identity => Standing::Leaving,
        (Some(holder), true) => Standing::Foreign(holder.to_owned()),
        (None, true) => Standing::Free,
        (holder, false) => Standing::NotSelected(holder.map(str::to_owned)),
    }
}

/// Another holder's Lease as last seen; None: there is none.
struct Seen {
    lease: Option<LeaseSpec>,
    since: Instant,
    looked: Instant,
}

impl Seen {
    /// Only what changes counts, on this process's own monotonic clock.
    fn note(&mut self, lease: Option<LeaseSpec>, now: Instant) {
        if lease != self.lease {
            (self.lease, self.since) = (lease, now);
        }
        self.looked = now;
    }

    fn has_expired(&self, least: Duration, now: Instant) -> bool {
        let held = self.lease.as_ref().and_then(|lease| lease.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
        now.duration_since(self.since) >= PATIENCE * least.max(Duration::from_secs(held.unwrap_or_default()))
    }
}

/// The claims of this install.
pub(super) struct Claims {
    identity: String,
    selector: Selector,
    lease_duration: Duration,
    holders: Mutex<HashMap<String, Seen>>,
    gates: Mutex<HashMap<String, Arc<RwLock<()>>>>,
}

impl Claims {
    pub(super) fn new(identity: String, selector: Selector, lease_duration: Duration) -> Self {
        Self { identity, selector, lease_duration, holders: Mutex::default(), gates: Mutex::default() }
    }

    pub(super) fn standing(&self, tenant: &Tenant) -> Standing {
        let holder = tenant.status.as_ref().and_then(|status| status.controller.as_deref());
        standing(&self.identity, self.selector.matches(tenant.labels()), holder)
    }

    /// As long as the answer is kept, the tenant is not released.
    pub(super) async fn enter(&self, tenant: &str) -> OwnedRwLockReadGuard<()> {
        self.gate(tenant).read_owned().await
    }

    fn gate(&self, tenant: &str) -> Arc<RwLock<()>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner).entry(tenant.to_owned()).or_default().clone()
    }

    /// Whether another install has stopped. Its Lease is read once for all its tenants.
    async fn has_expired(&self, client: &Client, holder: &str) -> Result<bool, kube::Error> {
        let now = Instant::now();
        let known = |seen: &HashMap<String, Seen>| {
            seen.get(holder)
                .filter(|seen| now.duration_since(seen.looked) < self.lease_duration / 3)
                .map(|seen| seen.has_expired(self.lease_duration, now))
        };
        if let Some(expired) = known(&self.holders.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(expired);
        }
        let lease = match holder.split_once('/') {
            Some((namespace, name)) => Api::<Lease>::namespaced(client.clone(), namespace).get_opt(name).await?.and_then(|lease| lease.spec),
            None => None,
        };
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = holders.entry(holder.to_owned()).or_insert_with(|| Seen { lease: lease.clone(), since: now, looked: now });
        seen.note(lease, now);
        Ok(seen.has_expired(self.lease_duration, now))
    }
}

/// Makes the tenant this install's, if it is to be; else when to look again.
pub(super) async fn claim(ctx: &Context, tenant: Arc<Tenant>) -> Result<Result<Arc<Tenant>, Action>, Failure> {
    let standing = ctx.claims.standing(&tenant);
    match &standing {
        Standing::Ours => return Ok(Ok(tenant)),
        Standing::NotSelected(_) => return Ok(Err(Action::await_change())),
        Standing::Leaving => {
            // What is under way for it ends first.
            let _alone = ctx.claims.gate(&tenant.name_any()).write_owned().await;
            write(ctx, &tenant, None).await?;
            ctx.events.done(tenant.as_ref(), "Released", &format!("{} does not select this tenant any more", ctx.identity));
            return Ok(Err(Action::await_change()));
        }
        Standing::Foreign(holder) => {
            if !ctx.claims.has_expired(&ctx.client, holder).await? {
                if ctx.check_asked("claim", &tenant.name_any(), Some(holder)) {
                    let note = format!("{}; {} leaves it alone", belongs_to(&tenant.name_any(), Some(holder)), ctx.identity);
                    ctx.events.reason(tenant.as_ref(), Reason::ForeignController, &note);
                }
                return Ok(Err(Action::requeue(ctx.claims.lease_duration)));
            }
            tracing::warn!(tenant = tenant.name_any(), holder, "the holder's Lease has expired: taking the tenant over");
        }
        Standing::Free => {}
    }
    let claimed = match write(ctx, &tenant, Some(&ctx.identity)).await {
        Ok(claimed) => claimed,
        // Somebody wrote it since, perhaps this install.
        Err(Failure { conflict: true, .. }) => return Ok(Err(Action::requeue(clock::real(Duration::from_millis(500))))),
        Err(failure) => return Err(failure),
    };
    if let Standing::Foreign(holder) = standing {
        ctx.events.warn(&claimed, "TakenOver", &format!("the Lease of {holder} has expired; {} manages this tenant now", ctx.identity));
    }
    Ok(Ok(Arc::new(claimed)))
}

async fn write(ctx: &Context, tenant: &Tenant, holder: Option<&str>) -> Result<Tenant, Failure> {
    ctx.leadership.check()?;
    let patch = json!({"metadata": {"uid": tenant.uid(), "resourceVersion": tenant.resource_version()}, "status": {"controller": holder}});
    let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
    Ok(Api::<Tenant>::all(ctx.client.clone()).patch_status(&tenant.name_any(), &params, &Patch::Merge(&patch)).await?)
}

fn belongs_to(tenant: &str, holder: Option<&str>) -> String {
    match holder {
        Some(holder) => format!("Tenant {tenant} belongs to the install {holder}"),
        None => format!("no running install has claimed Tenant {tenant}: its labels must satisfy the --tenant-selector of one"),
    }
}

/// Leaves another's queue alone. A queue that nobody has told anything is told whose it is: its status is written once, over nobody's.
pub(super) async fn leave_alone(ctx: &Context, object: &EncryptedQueue, standing: &Standing) -> Result<Action, Failure> {
    let told = object.status.as_ref().is_some_and(|status| !status.conditions.is_empty());
    let age = object.creation_timestamp().and_then(|created| Duration::try_from(clock::now().duration_since(created.0)).ok()).unwrap_or_default();
    let holder = match standing {
        // It is about to be ours, or was: the tenant's own reconcile says.
        Standing::Ours | Standing::Leaving | Standing::Free => return Ok(Action::await_change()),
        Standing::Foreign(holder) => Some(holder.as_str()),
        Standing::NotSelected(holder) => holder.as_deref(),
    };
    if told || object.metadata.deletion_timestamp.is_some() {
        return Ok(Action::await_change());
    }
    if age < TELL_AFTER {
        return Ok(Action::requeue(clock::real(TELL_AFTER.saturating_sub(age))));
    }
    let violations = [Violation::new(Reason::ForeignController, "spec.tenant", belongs_to(&object.spec.tenant, holder))];
    let pass = QueuePass {
        desired: Err(&violations),
        observed: &ObservedQueue::default(),
        end: &End::Complete,
        key: None,
        paused: None,
        deleting: false,
        checked_now: None,
        kept_sha256: None,
        generation: object.metadata.generation,
    };
    write_first_queue_status(ctx, object, &pass.status(&object.status.clone().unwrap_or_default(), clock::now())).await?;
    Ok(Action::await_change())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_ours_anothers_or_free() {
        let ours = |selected, holder| standing("a/one", selected, holder);
        assert_eq!([ours(true, Some("a/one")), ours(false, Some("a/one"))], [Standing::Ours, Standing::Leaving]);
        assert_eq!([ours(true, None), ours(true, Some(""))], [Standing::Free, Standing::Free]);
        assert_eq!(ours(true, Some("b/two")), Standing::Foreign("b/two".to_owned()));
        assert_eq!([ours(false, None), ours(false, Some("b/two"))], [Standing::NotSelected(None), Standing::NotSelected(Some("b/two".to_owned()))]);
    }

    #[test]
    fn a_lease_expires_when_it_stood_still_for_long() {
        let lease =
            |renewals: i32, seconds| LeaseSpec { lease_transitions: Some(renewals), lease_duration_seconds: Some(seconds), ..LeaseSpec::default() };
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut seen = Seen { lease: Some(lease(1, 15)), since: start, looked: start };
        let expired = |seen: &Seen, after| seen.has_expired(5 * second, start + after);
        assert!(!expired(&seen, 59 * second) && expired(&seen, 60 * second), "by its own duration, where that is longer");
        seen.note(Some(lease(1, 15)), start + 50 * second);
        assert!(expired(&seen, 60 * second), "looking at it does not renew it");
        seen.note(Some(lease(2, 15)), start + 50 * second);
        assert!(!expired(&seen, 109 * second) && expired(&seen, 110 * second));
        // Released, or deleted: a successor has time to come.
        seen.note(None, start + 100 * second);
        assert!(!expired(&seen, 119 * second) && expired(&seen, 120 * second));
    }
}
