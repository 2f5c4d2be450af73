//! From queues and keys to the report.

use std::collections::{BTreeMap, BTreeSet};

use super::input::{CostInput, KeyUse, QueueUse};
use super::money::Money;
use super::prices::Prices;
use super::report::{CostReport, GroupCost, OtherReuse, OtherScope, QueueCost, SCHEMA_VERSION, Totals};
use super::requests::MONTH_SECONDS;
use crate::api::sensitivity_tier::KeyScope;
use crate::names::Place;

/// Reuse periods that are tried where the tier admits them, in seconds: those between which people choose.
const STEPS: [u64; 7] = [60, 300, 900, 3600, 14_400, 43_200, 86_400];

/// What everything costs.
pub fn estimate(input: &CostInput, prices: &Prices) -> CostReport {
    let queues: Vec<QueueCost> = input.queues.iter().map(|queue| queue_cost(queue, &input.keys, prices)).collect();
    let sums = Sums { queues: &queues, keys: &input.keys, prices };
    let mut accounts = sums.by(|queue| queue.account.clone(), |key| key.place.account.clone());
    for account in &mut accounts {
        account.totals.free_usd = prices.free(account.totals.requests);
        account.totals.usd = account.totals.usd.less(account.totals.free_usd);
    }
    let mut tenants = sums.by(|queue| queue.tenant.clone(), |key| key.tenant.clone());
    for tenant in &mut tenants {
        tenant.budget_usd = input.budgets.get(&tenant.name).copied();
    }
    let tiers = sums.by(|queue| queue.sensitivity_tier.clone(), |key| key.tier.clone());
    let total = accounts.iter().fold(Totals::default(), |all, account| all.with(&account.totals));
    let scopes = scopes(input, prices);
    CostReport {
        schema_version: SCHEMA_VERSION,
        prices: prices.clone(),
        month_seconds: MONTH_SECONDS,
        total,
        accounts,
        tenants,
        tiers,
        queues,
        scopes,
        notes: input.notes.clone(),
    }
}

/// Calls of the queue and of its dead-letter queue.
fn requests(queue: &QueueUse, reuse: u64) -> (u64, u64) {
    let own = queue.traffic.as_ref().map_or_else(|| queue.users.requests(MONTH_SECONDS, reuse), |traffic| queue.users.requests_for(traffic, reuse));
    (own, queue.dead_letter_traffic.as_ref().map_or(0, |traffic| queue.dead_letter_users.requests_for(traffic, reuse)))
}

fn queue_cost(queue: &QueueUse, keys: &BTreeMap<String, KeyUse>, prices: &Prices) -> QueueCost {
    let key = keys.get(&queue.key).filter(|_| queue.own_key).map_or(Money::ZERO, |key| prices.key(key.rotations));
    let (own, dead_letter_requests) = requests(queue, queue.reuse_seconds);
    let requests_usd = prices.calls(own + dead_letter_requests);
    QueueCost {
        namespace: queue.object.namespace.clone(),
        name: queue.object.name.clone(),
        tenant: queue.tenant.clone(),
        sensitivity_tier: queue.tier.clone(),
        account: queue.place.account.clone(),
        region: queue.place.region.clone(),
        queue: queue.queue.name().to_owned(),
        key: queue.key.clone(),
        own_key: queue.own_key,
        basis: queue.basis,
        producers: queue.users.producers,
        consumers: queue.users.consumers,
        data_key_reuse_seconds: queue.reuse_seconds,
        revocation_lag_seconds: queue.reuse_seconds,
        requests: own + dead_letter_requests,
        dead_letter_requests,
        key_usd: key,
        requests_usd,
        usd: key + requests_usd,
        other_reuse: other_reuse(queue, key, prices),
    }
}

/// The tier's bounds and what lies between them, but for the period that is declared.
fn other_reuse(queue: &QueueUse, key: Money, prices: &Prices) -> Vec<OtherReuse> {
    let bound = |seconds: i32| u64::try_from(seconds).unwrap_or(1).max(1);
    let (minimum, maximum) = (bound(queue.reuse_bounds.minimum), bound(queue.reuse_bounds.maximum));
    let between = STEPS.into_iter().filter(|step| (minimum..=maximum).contains(step));
    let periods: BTreeSet<u64> = between.chain([minimum, maximum]).filter(|period| *period != queue.reuse_seconds).collect();
    let other = |reuse: u64| {
        let (own, dead_letters) = requests(queue, reuse);
        let requests = own + dead_letters;
        OtherReuse { data_key_reuse_seconds: reuse, revocation_lag_seconds: reuse, requests, usd: key + prices.calls(requests) }
    };
    periods.into_iter().map(other).collect()
}

struct Sums<'a> {
    queues: &'a [QueueCost],
    keys: &'a BTreeMap<String, KeyUse>,
    prices: &'a Prices,
}

impl Sums<'_> {
    fn by(&self, of_queue: impl Fn(&QueueCost) -> String, of_key: impl Fn(&KeyUse) -> String) -> Vec<GroupCost> {
        let mut groups: BTreeMap<String, Totals> = BTreeMap::new();
        for queue in self.queues {
            let totals = groups.entry(of_queue(queue)).or_default();
            totals.queues += 1;
            totals.requests += queue.requests;
        }
        for key in self.keys.values() {
            let totals = groups.entry(of_key(key)).or_default();
            totals.keys += 1;
            totals.keys_usd += self.prices.key(key.rotations);
        }
        let group = |(name, mut totals): (String, Totals)| {
            totals.requests_usd = self.prices.calls(totals.requests);
            totals.usd = totals.keys_usd + totals.requests_usd;
            GroupCost { name, budget_usd: None, totals }
        };
        groups.into_iter().map(group).collect()
    }
}

impl Totals {
    fn with(self, more: &Self) -> Self {
        Self {
            queues: self.queues + more.queues,
            keys: self.keys + more.keys,
            requests: self.requests + more.requests,
            keys_usd: self.keys_usd + more.keys_usd,
            requests_usd: self.requests_usd + more.requests_usd,
            free_usd: self.free_usd + more.free_usd,
            usd: self.usd + more.usd,
        }
    }
}

/// Tenant, tier, place, and whether each queue has its own key.
type Group<'a> = (&'a str, &'a str, &'a Place, bool);
/// How many queues, and the keys that they are under.
type Users<'a> = (u64, BTreeSet<&'a str>);

/// The other scope of every tenant, tier and Region.
fn scopes(input: &CostInput, prices: &Prices) -> Vec<OtherScope> {
    let mut groups: BTreeMap<Group<'_>, Users<'_>> = BTreeMap::new();
    for queue in &input.queues {
        let (queues, keys) = groups.entry((&queue.tenant, &queue.tier, &queue.place, queue.own_key)).or_default();
        *queues += 1;
        keys.insert(&queue.key);
    }
    let scope = |((tenant, tier, place, own), (queues, keys)): (Group<'_>, Users<'_>)| {
        let rotations = |name: &&str| input.keys.get(*name).map_or(0, |key| key.rotations);
        let (scope, other_scope, other_keys) = if own { (KeyScope::Queue, KeyScope::Tenant, 1) } else { (KeyScope::Tenant, KeyScope::Queue, queues) };
        OtherScope {
            tenant: tenant.to_owned(),
            sensitivity_tier: tier.to_owned(),
            account: place.account.clone(),
            region: place.region.clone(),
            queues,
            scope,
            keys: keys.len() as u64,
            keys_usd: keys.iter().map(|name| prices.key(rotations(name))).sum(),
            other_scope,
            other_keys,
            other_keys_usd: prices.key(0) * other_keys,
            security: security(other_scope, queues),
        }
    };
    groups.into_iter().map(scope).collect()
}

fn security(scope: KeyScope, queues: u64) -> String {
    match scope {
        KeyScope::Tenant => format!(
            "one key for {queues} queues: disabling or losing it stops all of them, and its policy, of at most 32 KB, holds everyone's access; who may \
             use which queue stays apart by encryption context"
        ),
        KeyScope::Queue => format!("{queues} keys: each can be disabled, rotated and deleted alone"),
    }
}
