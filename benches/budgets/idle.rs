//! The examples, or a fleet, at rest: nothing is written anywhere but the lease.

use std::collections::BTreeMap;
use std::time::Duration;

use test_support::Audited;
use test_support::proxy::Kind;

use crate::creation::number;
use crate::emulator::Emulator;
use crate::figure::{Budget, Figure, Figures, Unit};
use crate::fleet::{NO_CHECK, NO_QUOTAS, make, platform, settle};
use crate::memory::stop;
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
    progress(&format!("every object is compared with AWS each {CHECK_PERIOD} meanwhile"));
    watch(&stage, watched, Budget::None).await
}

/// So many queues with the queue of events instead of checks.
pub(crate) async fn measure_fleet(queues: usize, watched: Duration) -> Figures {
    let emulator = Emulator::start().await;
    let mut stage = Stage::over(&emulator.endpoint()).await;
    platform(&stage).await;
    make(&mut stage, queues, NO_QUOTAS).await;
    stop(&mut stage).await;
    let events = Emulator::events();
    stage.world.start_operator(&["--aws-quotas", NO_QUOTAS, "--check-period", NO_CHECK, "--drift-queue-url", &events]);
    let process = stage.process().await;
    settle(&process).await;
    tokio::time::sleep(SETTLED).await;
    let before = process.cpu();
    let mut figures = watch(&stage, watched, Budget::AtMost(0.0)).await;
    let cpu = (process.cpu() - before) * 1e3;
    figures.extend([Figure::new(format!("CPU of the operator, {queues} queues"), Unit::Milliseconds, Budget::None, vec![cpu])]);
    figures
}

/// Counts what goes on; `reads`: what reads are held to.
async fn watch(stage: &Stage, watched: Duration, reads: Budget) -> Figures {
    let (proxy, control_plane) = (&stage.world.proxy, &stage.world.control_plane);
    let (mark, before) = (proxy.mark(), control_plane.writes().expect("the audit log is read").len());
    progress(&format!("watching for {watched:?}"));
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
        figure("AWS reads, of the slow check if it comes in this time", reads, calls.iter().filter(|call| call.kind == Kind::Read).count()),
        figure("long polls for events", Budget::None, calls.iter().filter(|call| call.is("ReceiveMessage")).count()),
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
