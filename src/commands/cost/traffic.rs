//! Traffic that CloudWatch measured.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::aws::{Accounts, AwsError};
use crate::controller::account_key;
use crate::cost::{Basis, CostInput, Traffic};
use crate::explain::Snapshot;
use crate::names::QueueArn;

/// Asks CloudWatch about every queue; true: some accounts did not answer, and their queues stay as declared.
pub(super) async fn measure(input: &mut CostInput, snapshot: &Snapshot, accounts: &Accounts, days: u16, now: Timestamp) -> bool {
    let mut places: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for queue in &input.queues {
        let names = std::iter::once(&queue.queue).chain(&queue.dead_letter_queue).map(|arn| arn.name().to_owned());
        places.entry((queue.tenant.clone(), queue.place.region.clone())).or_default().extend(names);
    }
    let mut partial = false;
    for ((tenant, region), names) in places {
        let names: Vec<String> = names.into_iter().collect();
        eprintln!("asking CloudWatch about {} queues of Tenant {tenant}, {region}", names.len());
        match of_place(snapshot, accounts, (&tenant, &region), &names, days, now).await {
            Ok(traffic) => give(input, &tenant, &region, &traffic),
            Err(error) => {
                partial = true;
                input.notes.push(format!("queues of Tenant {tenant} in {region} are estimated as declared: {error}"));
            }
        }
    }
    partial
}

async fn of_place(
    snapshot: &Snapshot,
    accounts: &Accounts,
    (tenant, region): (&str, &str),
    names: &[String],
    days: u16,
    now: Timestamp,
) -> Result<BTreeMap<String, Traffic>, AwsError> {
    let Some(tenant) = snapshot.tenants.get(tenant) else { return Ok(BTreeMap::new()) };
    let counts = accounts.message_counts(&account_key(tenant, Some(region))).await?;
    counts.of(names, usize::from(days) * 24, now).await
}

fn give(input: &mut CostInput, tenant: &str, region: &str, traffic: &BTreeMap<String, Traffic>) {
    let of = |arn: &QueueArn| traffic.get(arn.name()).cloned();
    for queue in input.queues.iter_mut().filter(|queue| queue.tenant == tenant && queue.place.region == region) {
        queue.traffic = of(&queue.queue);
        queue.dead_letter_traffic = queue.dead_letter_queue.as_ref().and_then(of);
        if queue.traffic.is_some() {
            queue.basis = Basis::CloudWatch;
        }
    }
}
