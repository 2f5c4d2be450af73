//! What the caches tell of compliance, keys, cost and approvals, counted at each scrape.

use super::context::Stores;
use crate::api::conditions::{self, types};
use crate::cost::{Money, Prices};
use crate::telemetry::figures::Figures;

pub(super) fn figures(stores: &Stores) -> Figures {
    let mut figures = Figures::default();
    for queue in stores.queues.state() {
        let group = figures.groups.entry((queue.spec.tenant.clone(), queue.spec.sensitivity_tier.clone())).or_default();
        group.queues += 1;
        let Some(status) = &queue.status else { continue };
        group.compliant += u64::from(conditions::is_true(&status.conditions, types::READY));
        group.cost += status.estimated_monthly_usd.as_deref().and_then(Money::parse).unwrap_or_default();
    }
    for key in stores.keys.state() {
        let Some(status) = &key.status else { continue };
        figures.approvals_waiting += status.pending_grants.len() as u64;
        let oldest = status.pending_grants.iter().map(|pending| pending.requested_at.0.as_second()).chain(figures.oldest_approval).min();
        figures.oldest_approval = oldest;
        // What is about to be deleted costs nothing.
        if status.key_id.is_some() && status.key_state.as_deref() != Some("PendingDeletion") {
            let group = figures.groups.entry((key.spec.tenant.clone(), key.spec.sensitivity_tier.clone())).or_default();
            group.keys += 1;
            // A queue's estimate has its own key in it.
            group.cost += if key.spec.queue.is_none() { Prices::embedded().key(0) } else { Money::ZERO };
        }
    }
    for tenant in stores.tenants.state() {
        let name = tenant.metadata.name.clone().unwrap_or_default();
        let limit = tenant.spec.limits.monthly_kms_usd.and_then(|dollars| u64::try_from(dollars).ok());
        figures.budgets.extend(limit.map(|dollars| (name, Money::whole(dollars))));
        let conditions = tenant.status.iter().flat_map(|status| &status.conditions);
        figures.over_budget += u64::from(conditions.into_iter().any(|c| c.type_ == types::WITHIN_BUDGET && c.status == "False"));
    }
    figures
}
