//! From `kubectl apply` to Ready: one queue with its dead-letter queue and a key of its own.

use std::time::Duration;

use encrypted_queue::api::EncryptedQueue;
use encrypted_queue::api::conditions::{is_true, types};
use kube::runtime::wait::await_condition;
use test_support::proxy::{Call, Kind};

use crate::figure::{Budget, Figure, Unit};
use crate::stage::{NAMESPACE, Stage, example};
use crate::{RUNS, progress};

/// What AWS takes for a call, roughly, from within the Region.
const DELAY: Duration = Duration::from_millis(40);
/// What is still under way when a queue turns Ready has ended by then.
const AFTERMATH: Duration = Duration::from_secs(2);
const QUIET: Duration = Duration::from_secs(10);

/// The example queue under another name.
pub(crate) fn manifest(name: &str) -> String {
    example("queue-orders").replace("name: acme-orders", &format!("name: acme-{name}")).replace("name: orders", &format!("name: {name}"))
}

/// Name of the queue of a run.
pub(crate) fn queue_name(run: usize) -> String {
    format!("bench-{run}")
}

/// One creation; times in milliseconds since the API request was sent.
struct Creation {
    calls: Vec<Call>,
    last_write: f64,
    created: f64,
    ready: f64,
}

pub(crate) async fn measure(stage: &Stage) -> Vec<Figure> {
    let proxy = &stage.world.proxy;
    proxy.set_delay(DELAY);
    let mut creations = Vec::new();
    for run in 0..RUNS {
        let creation = create(stage, &queue_name(run)).await;
        let (calls, last_write, ready) = (creation.calls.len(), creation.last_write, creation.ready);
        progress(&format!(
            "creation {} of {RUNS}: {calls} AWS calls, last write answered after {last_write:.0} ms, Ready after {ready:.0} ms",
            run + 1
        ));
        creations.push(creation);
    }
    progress(&format!("no call for {QUIET:?}?"));
    let mark = proxy.mark();
    tokio::time::sleep(QUIET).await;
    let later = proxy.calls_since(mark).len();
    proxy.set_delay(Duration::ZERO);

    let figure = |name: &str, unit, budget, value: fn(&Creation) -> f64| Figure::new(name, unit, budget, creations.iter().map(value).collect());
    vec![
        figure("AWS calls to make queue, dead-letter queue and key", Unit::Count, Budget::AtMost(9.0), |creation| number(creation.calls.len())),
        Figure::new("AWS calls in the 10 s after that", Unit::Count, Budget::AtMost(0.0), vec![number(later)]),
        figure("apply → last AWS write answered, 40 ms added a call", Unit::Milliseconds, Budget::AtMost(600.0), |creation| creation.last_write),
        figure("queue created → Ready", Unit::Milliseconds, Budget::Between(1000.0, 1300.0), |creation| creation.ready - creation.created),
    ]
}

async fn create(stage: &Stage, name: &str) -> Creation {
    let world = &stage.world;
    let (mark, queues) = (world.proxy.mark(), world.queues(NAMESPACE));
    let ready = |queue: Option<&EncryptedQueue>| {
        queue.and_then(|queue| queue.status.as_ref()).is_some_and(|status| is_true(&status.conditions, types::READY))
    };
    let until_ready = async {
        await_condition(queues, name, ready).await.expect("the watch holds");
        world.proxy.elapsed()
    };
    let apply = async {
        // The watch stands by then.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let sent = world.proxy.elapsed();
        world.apply(&manifest(name)).await;
        sent
    };
    let (ready, sent) = futures::join!(until_ready, apply);
    tokio::time::sleep(AFTERMATH).await;
    let calls = world.proxy.calls_since(mark);
    let since = |time: Duration| (time.as_secs_f64() - sent.as_secs_f64()) * 1000.0;
    let answered = |call: &Call| since(call.started + call.duration);
    if std::env::var_os("BENCH_CALLS").is_some() {
        for call in &calls {
            progress(&format!("{:>6.0} to {:>4.0} ms {} {}", since(call.started), answered(call), call.name(), call.status));
        }
    }
    let last = |calls: &mut dyn Iterator<Item = &Call>| calls.map(answered).max_by(f64::total_cmp).expect("there were such calls");
    let last_write = last(&mut calls.iter().filter(|call| call.kind == Kind::Write));
    let created = last(&mut calls.iter().filter(|call| call.is("CreateQueue")));
    Creation { calls, last_write, created, ready: since(ready) }
}

pub(crate) fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a small number"))
}
