//! The report of a few queues, counted by hand.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use super::*;
use crate::api::queue_key::NamespacedName;
use crate::api::sensitivity_tier::{Bounds, KeyScope};
use crate::names::{Partition, Place};

fn place(account: &str) -> Place {
    Place { partition: Partition::Aws, account: account.to_owned(), region: "eu-west-1".to_owned() }
}

fn queue(name: &str, key: &str, own_key: bool) -> QueueUse {
    let place = place("111122223333");
    QueueUse {
        object: NamespacedName { namespace: "prod".to_owned(), name: name.to_owned() },
        tenant: "acme".to_owned(),
        tier: "internal".to_owned(),
        queue: place.queue_arn(name),
        dead_letter_queue: None,
        place,
        key: key.to_owned(),
        own_key,
        reuse_seconds: 300,
        reuse_bounds: Bounds { default: 300, minimum: 120, maximum: 3600 },
        users: Users { producers: 1, consumers: 1 },
        dead_letter_users: Users { producers: 0, consumers: 1 },
        basis: Basis::Declared,
        traffic: None,
        dead_letter_traffic: None,
    }
}

fn keys(names: &[(&str, u64)]) -> BTreeMap<String, KeyUse> {
    let key = |rotations| KeyUse { tenant: "acme".to_owned(), tier: "internal".to_owned(), place: place("111122223333"), rotations };
    names.iter().map(|(name, rotations)| ((*name).to_owned(), key(*rotations))).collect()
}

#[test]
fn sums_are_exact_and_free_calls_are_an_accounts() {
    let queues = vec![queue("a", "a-1", true), queue("b", "b-1", true)];
    let budgets = BTreeMap::from([("acme".to_owned(), Money::whole(3))]);
    let input = CostInput { queues, keys: keys(&[("a-1", 0), ("b-1", 1), ("left-1", 5)]), budgets, notes: Vec::new() };
    let report = estimate(&input, Prices::embedded());
    let (tenant, account) = (&report.tenants[0], &report.accounts[0]);
    assert_eq!((tenant.totals.queues, tenant.totals.keys, tenant.totals.requests), (2, 3, 53_568));
    assert_eq!([tenant.totals.keys_usd, tenant.totals.requests_usd, tenant.totals.usd].map(|usd| usd.to_string()), ["6.00", "0.160704", "6.160704"]);
    assert_eq!((tenant.budget_usd, account.totals.free_usd.to_string()), (Some(Money::whole(3)), "0.06".to_owned()));
    assert_eq!((report.total.usd.to_string(), report.total.usd), ("6.100704".to_owned(), account.totals.usd));
    let [a, b] = &report.queues[..] else { panic!("{:?}", report.queues) };
    assert_eq!((a.usd.to_string(), b.usd.to_string()), ("1.080352".to_owned(), "2.080352".to_owned()));
    assert!(cost_text(&report).contains("3.00 (over)"), "{}", cost_text(&report));
}

#[test]
fn other_reuse_periods_are_within_the_tier_and_say_how_long_a_revocation_lags() {
    let input = CostInput { queues: vec![queue("a", "a-1", true)], keys: keys(&[("a-1", 0)]), ..CostInput::default() };
    let report = estimate(&input, Prices::embedded());
    let others: Vec<_> =
        report.queues[0].other_reuse.iter().map(|other| (other.data_key_reuse_seconds, other.revocation_lag_seconds, other.requests)).collect();
    assert_eq!(others, [(120, 120, 66_960), (900, 900, 8_928), (3600, 3600, 2_232)]);
    assert_eq!(report.queues[0].revocation_lag_seconds, 300);
}

#[test]
fn the_other_scope_of_a_tenants_tier_is_told_with_its_price_in_security() {
    let queues = vec![queue("a", "a-1", true), queue("b", "b-1", true), queue("c", "c-1", true)];
    let input = CostInput { queues, keys: keys(&[("a-1", 0), ("b-1", 0), ("c-1", 2)]), ..CostInput::default() };
    let [scope] = &estimate(&input, Prices::embedded()).scopes[..] else { panic!() };
    assert_eq!((scope.scope, scope.keys, scope.keys_usd), (KeyScope::Queue, 3, Money::whole(5)));
    assert_eq!((scope.other_scope, scope.other_keys, scope.other_keys_usd), (KeyScope::Tenant, 1, Money::whole(1)));
    assert!(scope.security.contains("stops all of them"));

    let shared = CostInput { queues: vec![queue("a", "s-1", false), queue("b", "s-1", false)], keys: keys(&[("s-1", 0)]), ..CostInput::default() };
    let report = estimate(&shared, Prices::embedded());
    assert_eq!((report.queues[0].key_usd, report.total.keys, report.total.keys_usd), (Money::ZERO, 1, Money::whole(1)));
    assert_eq!((report.scopes[0].other_scope, report.scopes[0].other_keys), (KeyScope::Queue, 2));
}

#[test]
fn traffic_bounds_the_calls_and_dead_letters_count_once_they_are_known() {
    let one_a_day = Traffic::even(1, 1);
    let known = QueueUse { traffic: Some(one_a_day.clone()), basis: Basis::Rates, ..queue("a", "a-1", true) };
    let with_dead_letters = QueueUse { dead_letter_traffic: Some(one_a_day), ..known.clone() };
    let input = CostInput { queues: vec![known, with_dead_letters], keys: keys(&[("a-1", 0)]), ..CostInput::default() };
    let report = estimate(&input, Prices::embedded());
    let calls: Vec<_> = report.queues.iter().map(|queue| (queue.requests, queue.dead_letter_requests)).collect();
    assert_eq!(calls, [(93, 0), (124, 31)]);
}

#[test]
fn nothing_costs_nothing() {
    let report = estimate(&CostInput::default(), Prices::embedded());
    assert_eq!(report.total, Totals::default());
    assert!(cost_text(&report).starts_with("Estimate: $0.00 a month for 0 keys"));
}
