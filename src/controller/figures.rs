//! What the caches tell of compliance, keys, cost and approvals, counted at each scrape.

use super::context::Stores;
use crate::api::conditions::types;
use crate::cost::{Money, Prices};
use crate::telemetry::figures::Figures;
use crate::telemetry::metrics::Ready;

pub(super) fn figures(stores: &Stores) -> Figures {
    let mut figures = Figures::default();
    stores.queues.look(|_, queue| {
        let group = figures.groups.entry((queue.tenant.to_string(), queue.tier.to_string())).or_default();
        group.queues += 1;
        group.compliant += u64::from(queue.ready == Ready::True);
        group.cost += queue.cost;
    });
    stores.keys.look(|_, key| {
        figures.approvals_waiting += u64::from(key.waiting);
        figures.oldest_approval = key.waiting_since.into_iter().chain(figures.oldest_approval).min();
        // What is about to be deleted costs nothing.
        if key.is_billed {
            let group = figures.groups.entry((key.tenant.to_string(), key.tier.to_string())).or_default();
            group.keys += 1;
            // A queue's estimate has its own key in it.
            group.cost += if key.is_own { Money::ZERO } else { Prices::embedded().key(0) };
        }
    });
    for tenant in stores.tenants.state() {
        let name = tenant.metadata.name.clone().unwrap_or_default();
        let limit = tenant.spec.limits.monthly_kms_usd.and_then(|dollars| u64::try_from(dollars).ok());
        figures.budgets.extend(limit.map(|dollars| (name, Money::whole(dollars))));
        let conditions = tenant.status.iter().flat_map(|status| &status.conditions);
        figures.over_budget += u64::from(conditions.into_iter().any(|c| c.type_ == types::WITHIN_BUDGET && c.status == "False"));
    }
    figures
}
