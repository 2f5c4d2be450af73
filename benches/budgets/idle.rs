//! The examples at rest: nothing is written anywhere but the lease.

use std::collections::BTreeMap;
use std::time::Duration;

use test_support::Audited;
use test_support::proxy::Kind;

use crate::creation::number;
use crate::figure::{Budget, Figure, Figures, Unit};
use crate::progress;
use crate::stage::Stage;

/// Counts are written at most every 30 s, and Events after the fact.
const SETTLED: Duration = Duration::from_secs(45);
/// Often enough that every object is checked while it is watched.
const CHECK_PERIOD: &str = "4m";

pub(crate) async fn measure(watched: Duration) -> Figures {
    let stage = Stage::with_operator(&["--check-period", CHECK_PERIOD]).await;
    stage.example_queues().await;
    progress(&format!("the example queues are Ready; waiting {SETTLED:?} until counts and Events are written"));
    tokio::time::sleep(SETTLED).await;
    let (proxy, control_plane) = (&stage.world.proxy, &stage.world.control_plane);
    let (mark, before) = (proxy.mark(), control_plane.writes().expect("the audit log is read").len());
    progress(&format!("watching for {watched:?}; every object is compared with AWS each {CHECK_PERIOD} meanwhile"));
    tokio::time::sleep(watched).await;
    let calls = proxy.calls_since(mark);
    let (lease, other): (Vec<Audited>, Vec<Audited>) =
        control_plane.writes().expect("the audit log is read").split_off(before).into_iter().partition(|write| write.resource == "leases");
    let writes = calls.iter().filter(|call| call.kind == Kind::Write);
    tally("AWS writes", writes.clone().map(test_support::proxy::Call::name));
    tally("AWS reads", calls.iter().filter(|call| call.kind == Kind::Read).map(test_support::proxy::Call::name));
    tally("Kubernetes writes", other.iter().map(|write| format!("{} {}/{} {}", write.verb, write.resource, write.subresource, write.name)));
    let figure = |name: &str, budget, count| Figure::new(name, Unit::Count, budget, vec![number(count)]);
    let mut figures = Figures::default();
    figures.extend([
        figure("AWS writes", Budget::AtMost(0.0), writes.count()),
        figure("AWS reads, all of the slow check", Budget::None, calls.iter().filter(|call| call.kind == Kind::Read).count()),
        figure("Kubernetes writes but the lease's", Budget::AtMost(0.0), other.len()),
        figure("renewals of the lease", Budget::None, lease.len()),
    ]);
    figures
}

fn tally(what: &str, names: impl Iterator<Item = String>) {
    let mut counts = BTreeMap::<String, usize>::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    let list: Vec<_> = counts.into_iter().map(|(name, count)| format!("{count} {name}")).collect();
    progress(&format!("{what}: {}", if list.is_empty() { "none".to_owned() } else { list.join(", ") }));
}
