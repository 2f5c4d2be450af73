//! Many queues: how long they take to be made and what that costs, what the operator holds of them, and that a check of all of them delays no edit.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use encrypted_queue::api::EncryptedQueue;
use futures::{StreamExt, stream};
use kube::api::PostParams;
use serde_json::json;

use crate::creation::{manifest, number};
use crate::emulator::Emulator;
use crate::figure::{Budget, Figure, Unit};
use crate::memory::stop;
use crate::process::Process;
use crate::progress;
use crate::stage::{NAMESPACE, Stage, example};

/// No quota is enforced, and none is kept.
const NO_QUOTAS: &str = "kms:CreateKey=100000,kms:CreateAlias=100000,kms:EnableKeyRotation=100000,kms:PutKeyPolicy=100000,kms:TagResource=100000,\
                         kms:GetKeyPolicy=100000,kms:DescribeKey=100000,sqs:tags=100000,tag:GetResources=100000,other=100000";
/// Requests to the API server at once.
const AT_ONCE: usize = 16;
const EDITS: i32 = 40;

pub(crate) async fn measure(queues: usize) -> Vec<Figure> {
    let emulator = Emulator::start().await;
    let mut stage = Stage::over(&emulator.endpoint()).await;
    platform(&stage).await;
    let limits = |per_thousand: f64| per_thousand * number(queues) / 1000.0;
    let (elapsed, cpu) = make(&mut stage, queues).await;
    stop(&mut stage).await;
    let (at_rest, reads, writes) = start_anew(&mut stage, queues).await;
    let edits = edit_during_check(&mut stage, queues).await;
    let budget = if queues > 1000 { 64.0 } else { 28.0 };
    let named = |what: &str| format!("{queues} queues: {what}");
    vec![
        Figure::new(named("made, no quota"), Unit::Milliseconds, Budget::AtMost(limits(25_000.0)), vec![elapsed.as_secs_f64() * 1e3]),
        Figure::new(named("CPU of the operator to make them"), Unit::Milliseconds, Budget::AtMost(limits(6_000.0)), vec![cpu * 1e3]),
        Figure::new(named("memory at rest after a start"), Unit::Mebibytes, Budget::AtMost(budget), vec![at_rest.0]),
        Figure::new(named("peak memory, start included"), Unit::Mebibytes, Budget::AtMost(budget), vec![at_rest.1]),
        Figure::new(named("AWS reads of a start"), Unit::Count, Budget::AtMost(20.0), vec![number(reads)]),
        Figure::new(named("AWS writes of a start"), Unit::Count, Budget::AtMost(0.0), vec![number(writes)]),
        Figure::new(named("edit → AWS written, while all are compared, p99"), Unit::Milliseconds, Budget::AtMost(500.0), edits),
    ]
}

/// The examples' tiers and tenant, without its limits.
async fn platform(stage: &Stage) {
    for name in ["namespaces", "tier-internal", "tier-restricted"] {
        stage.world.apply(&example(name)).await;
    }
    let tenant = example("tenant-acme");
    let (unlimited, _) = tenant.split_once("  limits:").expect("it has limits");
    stage.world.apply(unlimited).await;
}

fn name(number: usize) -> String {
    format!("fleet-{number}")
}

async fn make(stage: &mut Stage, queues: usize) -> (Duration, f64) {
    stage.world.start_operator(&["--aws-quotas", NO_QUOTAS, "--check-period", "24h", "--concurrency", "32"]);
    let process = stage.process().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (started, before, api) = (Instant::now(), process.cpu(), stage.world.queues(NAMESPACE));
    let create = async |number| {
        let queue: EncryptedQueue = serde_saphyr::from_str(&manifest(&name(number))).expect("it fits its kind");
        api.create(&PostParams::default(), &queue).await.expect("it is accepted");
    };
    stream::iter(0..queues).for_each_concurrent(AT_ONCE, create).await;
    progress(&format!("{queues} queues declared after {:?}", started.elapsed()));
    let made = until_quiet(stage, started, |calls| calls.get("EnableKeyRotation").is_some_and(|times| *times >= queues)).await;
    // What is written to Kubernetes after the last call is part of it.
    let cpu = process.cpu() - before;
    progress(&format!("{queues} queues made in {made:?} with {cpu:.1} s of CPU: {:?}", tally(stage)));
    (made, cpu)
}

fn tally(stage: &Stage) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for call in stage.world.proxy.ledger() {
        *calls.entry(call.operation).or_default() += 1;
    }
    calls
}

/// When the last call came, once there were so many and none for five seconds.
async fn until_quiet(stage: &Stage, started: Instant, complete: impl Fn(&BTreeMap<String, usize>) -> bool) -> Duration {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let last = stage.world.proxy.last_call();
        if last.elapsed() > Duration::from_secs(5) && complete(&tally(stage)) {
            return last.duration_since(started);
        }
        assert!(started.elapsed() < Duration::from_mins(20), "it does not come to an end: {:?}", tally(stage));
    }
}

/// Memory at rest and at its peak, and the AWS reads and writes of a start.
async fn start_anew(stage: &mut Stage, queues: usize) -> ((f64, f64), usize, usize) {
    let mark = stage.world.proxy.mark();
    stage.world.start_operator(&["--aws-quotas", NO_QUOTAS, "--check-period", "24h"]);
    let process = stage.process().await;
    settle(&process).await;
    let memory = process.memory();
    let (calls, writes) = (stage.world.proxy.calls_since(mark).len(), stage.world.proxy.writes_since(mark).len());
    progress(&format!("{queues} queues: {:.1} MiB, peak {:.1} MiB, {:.1} s of CPU, {calls} AWS calls", memory.resident, memory.peak, process.cpu()));
    stop(stage).await;
    ((memory.resident, memory.peak), calls - writes, writes)
}

/// Until the process has used no CPU to speak of for a while.
async fn settle(process: &Process) {
    let mut before = -1.0;
    tokio::time::sleep(Duration::from_secs(8)).await;
    while process.cpu() - before > 0.1 {
        before = process.cpu();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// How long edits take while every queue is compared within a minute; the worst is what is judged.
async fn edit_during_check(stage: &mut Stage, queues: usize) -> Vec<f64> {
    stage.world.start_operator(&["--aws-quotas", NO_QUOTAS, "--check-period", "60s"]);
    settle_briefly(&stage.process().await).await;
    let mut samples = Vec::new();
    for edit in 0..EDITS {
        let (mark, began) = (stage.world.proxy.mark(), Instant::now());
        let number = usize::try_from(edit).unwrap_or_default() * queues / usize::try_from(EDITS).unwrap_or(1);
        stage.world.change_queue(NAMESPACE, &name(number), json!({"spec": {"queue": {"visibilityTimeoutSeconds": 61 + edit}}})).await;
        while stage.world.proxy.count_since(mark, "SetQueueAttributes") == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert!(began.elapsed() < Duration::from_secs(30), "the edit is not applied");
        }
        samples.push(began.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    samples.sort_by(f64::total_cmp);
    samples
}

async fn settle_briefly(process: &Process) {
    while process.cpu() < 0.1 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
}
