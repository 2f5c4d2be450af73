//! Many queues: how long they take to be made and what that costs, what the operator holds of them, that a start reads nothing, what a check of all of them
//! asks and that it delays no edit, and how soon drift is undone that an event tells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use encrypted_queue::api::EncryptedQueue;
use futures::{StreamExt, stream};
use kube::api::PostParams;
use serde_json::json;
use test_support::proxy::Mark;

use crate::creation::{manifest, number};
use crate::emulator::Emulator;
use crate::figure::{Budget, Figure, Unit};
use crate::memory::stop;
use crate::process::Process;
use crate::progress;
use crate::stage::{NAMESPACE, Stage, example};

/// No quota is enforced, and none is kept.
pub(crate) const NO_QUOTAS: &str = "kms:CreateKey=100000,kms:CreateAlias=100000,kms:EnableKeyRotation=100000,kms:PutKeyPolicy=100000,kms:TagResource=100000,\
     kms:GetKeyPolicy=100000,kms:DescribeKey=100000,kms:GetKeyRotationStatus=100000,sqs:tags=100000,tag:GetResources=100000,other=100000";
/// Requests to the API server at once.
const AT_ONCE: usize = 16;
const EDITS: i32 = 100;
const DRIFTS: usize = 100;
/// No check comes in this time.
pub(crate) const NO_CHECK: &str = "8760h";

pub(crate) async fn measure(queues: usize) -> Vec<Figure> {
    let emulator = Emulator::start().await;
    let mut stage = Stage::over(&emulator.endpoint()).await;
    platform(&stage).await;
    let limits = |per_thousand: f64| per_thousand * number(queues) / 1000.0;
    let (elapsed, cpu) = make(&mut stage, queues, NO_QUOTAS).await;
    stop(&mut stage).await;
    let start = start_anew(&mut stage, queues).await;
    let (each, together) = check(&mut stage, queues).await;
    let edits = edit_during_check(&stage, queues).await;
    stop(&mut stage).await;
    let drifts = repair(&mut stage, &emulator, queues).await;
    let budget = if queues > 1000 { 64.0 } else { 28.0 };
    let named = |what: &str| format!("{queues} queues: {what}");
    vec![
        Figure::new(named("made, no quota"), Unit::Milliseconds, Budget::AtMost(limits(25_000.0)), vec![elapsed.as_secs_f64() * 1e3]),
        Figure::new(named("CPU of the operator to make them"), Unit::Milliseconds, Budget::AtMost(limits(6_000.0)), vec![cpu * 1e3]),
        Figure::new(named("memory at rest after a start"), Unit::Mebibytes, Budget::AtMost(budget), vec![start.at_rest]),
        Figure::new(named("peak memory, start included"), Unit::Mebibytes, Budget::AtMost(budget), vec![start.peak]),
        Figure::new(named("CPU of a start"), Unit::Milliseconds, Budget::None, vec![start.cpu * 1e3]),
        Figure::new(named("AWS reads of a start"), Unit::Count, Budget::AtMost(20.0), vec![number(start.reads)]),
        Figure::new(named("AWS writes of a start"), Unit::Count, Budget::AtMost(0.0), vec![number(start.writes)]),
        Figure::new(named("AWS calls of a slow check, queue, dead-letter queue and key"), Unit::Each, Budget::AtMost(6.0), vec![each]),
        Figure::new(named("pages of tags and aliases beside, each queue"), Unit::Each, Budget::None, vec![together]),
        Figure::new(named("edit → AWS written, while all are compared, p99"), Unit::SlowestMilliseconds, Budget::AtMost(500.0), edits),
        Figure::new(named("drift event → repaired, p99"), Unit::SlowestMilliseconds, Budget::AtMost(2000.0), drifts),
    ]
}

/// The examples' tiers and tenant, without its limits.
pub(crate) async fn platform(stage: &Stage) {
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

/// Starts an operator, declares queues, and waits until all are made: how long that took, and the operator's CPU.
pub(crate) async fn make(stage: &mut Stage, queues: usize, quotas: &str) -> (Duration, f64) {
    stage.world.start_operator(&["--aws-quotas", quotas, "--check-period", NO_CHECK, "--concurrency", "32"]);
    let process = stage.process().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (started, before, api) = (Instant::now(), process.cpu(), stage.world.queues(NAMESPACE));
    let create = async |number| {
        let queue: EncryptedQueue = serde_saphyr::from_str(&manifest(&name(number))).expect("it fits its kind");
        api.create(&PostParams::default(), &queue).await.expect("it is accepted");
    };
    stream::iter(0..queues).for_each_concurrent(AT_ONCE, create).await;
    progress(&format!("{queues} queues declared after {:?}", started.elapsed()));
    let made = until_quiet(stage, started, queues).await;
    // What is written to Kubernetes after the last call is part of it.
    let cpu = process.cpu() - before;
    let memory = process.memory();
    progress(&format!(
        "{queues} queues made in {made:?} with {cpu:.1} s of CPU, {:.1} MiB, peak {:.1} MiB: {:?}",
        memory.resident,
        memory.peak,
        tally(stage, Mark::default())
    ));
    (made, cpu)
}

/// Calls by operation.
fn tally(stage: &Stage, since: Mark) -> BTreeMap<String, usize> {
    let mut calls = BTreeMap::new();
    for call in stage.world.proxy.calls_since(since) {
        *calls.entry(call.operation).or_default() += 1;
    }
    calls
}

/// When the last call came, once all queues and keys are made and none came for five seconds.
async fn until_quiet(stage: &Stage, started: Instant, queues: usize) -> Duration {
    let proxy = &stage.world.proxy;
    let made = |operation: &str| proxy.effects(operation);
    let mut told = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let last = proxy.last_call();
        if last.elapsed() > Duration::from_secs(5) && made("EnableKeyRotation") >= queues && made("CreateQueue") >= 2 * queues {
            return last.duration_since(started);
        }
        if told.elapsed() > Duration::from_secs(20) {
            progress(&format!("{} keys after {:.0?}", made("CreateKey"), started.elapsed()));
            told = Instant::now();
        }
        assert!(started.elapsed() < Duration::from_mins(30), "it does not come to an end: {:?}", tally(stage, Mark::default()));
    }
}

/// A start over a fleet that is in order.
struct Start {
    at_rest: f64,
    peak: f64,
    cpu: f64,
    reads: usize,
    writes: usize,
}

async fn start_anew(stage: &mut Stage, queues: usize) -> Start {
    let mark = stage.world.proxy.mark();
    stage.world.start_operator(&["--aws-quotas", NO_QUOTAS, "--check-period", NO_CHECK]);
    let process = stage.process().await;
    settle(&process).await;
    let (memory, cpu) = (process.memory(), process.cpu());
    let (calls, writes) = (stage.world.proxy.calls_since(mark).len(), stage.world.proxy.writes_since(mark).len());
    progress(&format!("{queues} queues: {:.1} MiB, peak {:.1} MiB, {cpu:.1} s of CPU, {calls} AWS calls", memory.resident, memory.peak));
    stop(stage).await;
    Start { at_rest: memory.resident, peak: memory.peak, cpu, reads: calls - writes, writes }
}

/// Until the process has used no CPU to speak of for a while.
pub(crate) async fn settle(process: &Process) {
    let mut before = -1.0;
    tokio::time::sleep(Duration::from_secs(8)).await;
    while process.cpu() - before > 0.1 {
        before = process.cpu();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}

/// Long enough that the machine keeps up with a check of all.
fn check_period(queues: usize) -> Duration {
    Duration::from_secs(u64::try_from(queues / 50).unwrap_or_default().max(100))
}

/// Leaves an operator running that compares all queues again and again; its calls for each that it compared, and the pages beside. Counted in the first
/// half of a period, in which the audit does not begin.
async fn check(stage: &mut Stage, queues: usize) -> (f64, f64) {
    let period = check_period(queues);
    stage.world.start_operator(&["--aws-quotas", NO_QUOTAS, "--check-period", &format!("{}s", period.as_secs())]);
    let process = stage.process().await;
    while process.cpu() < 0.1 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mark = stage.world.proxy.mark();
    tokio::time::sleep(period.mul_f64(0.45)).await;
    let calls = tally(stage, mark);
    progress(&format!("checks in a part of {period:?}: {calls:?}"));
    // Each key is described once, and compared in the same moment as its queue.
    let compared = number(calls.get("DescribeKey").copied().expect("keys are compared"));
    let together = |operation: &str| matches!(operation, "GetResources" | "ListAliases" | "GetCallerIdentity");
    let sum = |are: bool| calls.iter().filter(|(operation, _)| together(operation) == are).map(|(_, count)| *count).sum::<usize>();
    (number(sum(false)) / compared, number(sum(true)) / compared)
}

/// How long edits take meanwhile.
async fn edit_during_check(stage: &Stage, queues: usize) -> Vec<f64> {
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
    samples
}

/// How long it takes from an event to its repair.
async fn repair(stage: &mut Stage, emulator: &Emulator, queues: usize) -> Vec<f64> {
    const ATTRIBUTE: &str = "VisibilityTimeout";
    let events = Emulator::events();
    stage.world.start_operator(&["--aws-quotas", NO_QUOTAS, "--check-period", NO_CHECK, "--drift-queue-url", &events]);
    settle(&stage.process().await).await;
    let mut samples = Vec::new();
    for drift in 0..DRIFTS {
        let queue = format!("acme-{}", name(drift * queues / DRIFTS));
        let (declared, began) = (emulator.attribute(&queue, ATTRIBUTE), Instant::now());
        emulator.somebody_sets(&queue, ATTRIBUTE, "7");
        while emulator.attribute(&queue, ATTRIBUTE) != declared {
            tokio::time::sleep(Duration::from_millis(2)).await;
            assert!(began.elapsed() < Duration::from_secs(30), "drift of {queue} is not repaired");
        }
        samples.push(began.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    samples
}
