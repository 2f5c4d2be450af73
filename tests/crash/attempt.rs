//! One run: a scenario, disturbed as planned, until it is at rest, and what became of it.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::Value;
use test_support::judge::rights::rights_taken;
use test_support::judge::{Parties, inspect};
use test_support::kubernetes_proxy::KubernetesMatcher;
use test_support::proxy::{Matcher, Moment as Met, PausePoint, Rule};

use super::plan::{Blow, Fault, Plan, Race};
use super::points::{Aim, Moment, Place, Point, chronicle, kubernetes, recorded};
use super::race;
use super::scenarios::Scenario;
use super::stage::{OPERATOR, PATIENCE, Servers, Stage, locked};
use super::state::State;

/// Without a call for so long, the operator is at rest: half a minute, by its clock.
const QUIET: Duration = Duration::from_millis(300);
/// The same for the run that all others are compared with.
const QUITE_QUIET: Duration = Duration::from_millis(1500);
/// The answer's way to the operator.
const DELIVERY: Duration = Duration::from_millis(15);
/// How long a lasting fault lasts.
const OUTAGE: Duration = Duration::from_millis(2500);

/// What a run came to.
pub(crate) struct Ended {
    /// What the operator did while the scenario played.
    pub(crate) points: Vec<Point>,
    pub(crate) state: State,
    /// AWS writes that were judged.
    pub(crate) writes: usize,
    pub(crate) violations: Vec<String>,
    /// Whether every planned disturbance took place.
    pub(crate) disturbed: bool,
    /// A lasting fault of which no condition told.
    pub(crate) silent: Option<String>,
    /// Whether the end is the expected one.
    pub(crate) as_expected: bool,
    pub(crate) at_rest: bool,
    /// How often the operator ended by itself.
    pub(crate) exits: usize,
}

/// How far the disturbances came.
#[derive(Default)]
pub(super) struct Progress {
    done: AtomicBool,
    pub(super) busy: AtomicBool,
    silent: Mutex<Option<String>>,
}

/// Longer than any run takes.
const LONGEST: Duration = Duration::from_mins(2);

/// Plays a scenario. Err: why it did not come to an end. All that the operator did is left in the directory.
pub(crate) async fn play(servers: &Servers, scenario: &Scenario, plan: &Plan, expected: Option<&State>, place: &Path) -> Result<Ended, String> {
    let stage = Box::pin(Stage::set(servers, place.to_owned(), plan.time_out())).await;
    let exits = AtomicUsize::new(0);
    let playing = async {
        tokio::select! {
            ended = played(&stage, scenario, plan, expected) => Ended { exits: exits.load(Ordering::Relaxed), ..ended },
            () = keep_running(&stage, &exits) => unreachable!("it never ends"),
        }
    };
    let ended = match tokio::time::timeout(LONGEST, AssertUnwindSafe(playing).catch_unwind()).await {
        Ok(Ok(ended)) => Ok(ended),
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(text.unwrap_or_else(|| "it panicked".to_owned()))
        }
        Err(_) => Err(format!("it did not end within {LONGEST:?}")),
    };
    stage.operator.kill();
    let chronicle = chronicle(&stage.proxy, &stage.kubernetes, &stage.namer());
    std::fs::write(place.join("chronicle"), chronicle).expect("the chronicle is written");
    ended
}

async fn played(stage: &Stage, scenario: &Scenario, plan: &Plan, expected: Option<&State>) -> Ended {
    (scenario.before)(stage).await;
    stage.awake().await;
    stage.rest(QUIET).await;
    let (mark, number) = (stage.proxy.mark(), stage.kubernetes.mark());
    let progress = Progress::default();
    let at_rest = {
        let story = async {
            (scenario.act)(stage).await;
            stage.rest(if matches!(plan, Plan::Free) { QUITE_QUIET } else { QUIET }).await
        };
        let disturbance = disturb(stage, plan, &progress);
        tokio::pin!(story, disturbance);
        let at_rest = tokio::select! {
            at_rest = &mut story => at_rest,
            () = &mut disturbance => story.await,
        };
        if progress.busy.load(Ordering::Relaxed) && !progress.done.load(Ordering::Relaxed) {
            let _ = tokio::time::timeout(PATIENCE, disturbance).await;
            stage.rest(QUIET).await
        } else {
            at_rest
        }
    };
    stage.proxy.clear_injections();
    stage.kubernetes.clear_injections();
    let at_rest = if matches!(plan, Plan::Race { race: Race::OtherActor, .. }) {
        // Nobody told the operator.
        race::look_at_everything(stage).await;
        stage.rest(QUIET).await
    } else {
        at_rest
    };
    let points = recorded(&stage.proxy, mark, &stage.kubernetes, number, &stage.namer());
    let (end, as_expected) = end_state(stage, expected).await;
    let mut report = {
        let declarations = locked(&stage.declarations).clone();
        inspect(&stage.proxy.ledger(), &declarations, &Parties { operator: "operator", others: &["someone"], role: OPERATOR })
    };
    report.violations.extend(rights_taken(&stage.proxy.ledger(), "operator", OPERATOR).refused);
    Ended {
        points,
        state: end,
        writes: report.writes,
        violations: report.violations,
        disturbed: matches!(plan, Plan::Free) || progress.done.load(Ordering::Relaxed),
        silent: locked(&progress.silent).take(),
        as_expected,
        at_rest,
        exits: 0,
    }
}

/// The end, given time to become the expected one.
async fn end_state(stage: &Stage, expected: Option<&State>) -> (State, bool) {
    let start = Instant::now();
    loop {
        let end = State::read(stage).await;
        let as_expected = expected.is_none_or(|expected| expected.text == end.text);
        if as_expected || start.elapsed() > PATIENCE / 2 {
            return (end, as_expected);
        }
        tokio::time::sleep(QUIET).await;
        stage.rest(QUIET).await;
    }
}

/// Starts the operator again whenever it ended by itself, as its kubelet does.
async fn keep_running(stage: &Stage, exits: &AtomicUsize) {
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if stage.operator.has_ended() {
            exits.fetch_add(1, Ordering::Relaxed);
            free_lease(stage).await;
            stage.operator.start();
        }
    }
}

/// A process that starts while there is no Lease leads at once. Only after a kill: nobody holds it any more.
pub(super) async fn free_lease(stage: &Stage) {
    let leases: Api<Lease> = Api::namespaced(stage.client.clone(), "default");
    leases.delete("encrypted-queue-operator", &DeleteParams::default()).await.ok();
}

async fn disturb(stage: &Stage, plan: &Plan, progress: &Progress) {
    match plan {
        Plan::Free => return std::future::pending().await,
        Plan::Crashes(blows) => crashes(stage, blows, progress).await,
        Plan::Fault { at, fault, lasting } => fail(stage, at, *fault, *lasting, progress).await,
        Plan::Race { at, race } => race::run(stage, at, *race, progress).await,
    }
    progress.done.store(true, Ordering::Relaxed);
}

/// A pause point in each proxy, of which the aim lets one be reached.
pub(super) struct Armed {
    aws: PausePoint,
    kubernetes: PausePoint,
}

impl Armed {
    pub(super) fn at(stage: &Stage, blow: &Blow) -> Self {
        let when = if blow.moment == Moment::BeforeSending { Met::BeforeSending } else { Met::AfterEffect };
        let (aim, namer) = (Aim::new(&blow.place), stage.namer());
        let aimed = aim.clone();
        let aws = stage.proxy.pause_at(Matcher::any().such_that(move |request| aimed.hits(namer.aws(request).as_deref())), when);
        let kubernetes = stage.kubernetes.pause_at(KubernetesMatcher::any().such_that(move |call| aim.hits(kubernetes(call).as_deref())), when);
        Self { aws, kubernetes }
    }

    pub(super) async fn reached(&self) {
        tokio::select! { _ = self.aws.reached() => {}, _ = self.kubernetes.reached() => {} }
    }

    pub(super) fn lose(self) {
        self.aws.lose();
        self.kubernetes.lose();
    }

    pub(super) fn release(self) {
        self.aws.release();
        self.kubernetes.release();
    }
}

async fn crashes(stage: &Stage, blows: &[Blow], progress: &Progress) {
    let mut armed = blows.first().map(|blow| Armed::at(stage, blow));
    for (number, blow) in blows.iter().enumerate() {
        let Some(gates) = armed.take() else { return };
        tokio::select! {
            () = gates.reached() => {}
            // What is met while the operator starts is met all the same.
            () = async { stage.awake().await; std::future::pending().await } => {}
        }
        progress.busy.store(true, Ordering::Relaxed);
        if blow.moment == Moment::AfterAnswer {
            let namer = stage.namer();
            let rest = stage.proxy.pause_all_at(Matcher::any().such_that(move |request| namer.aws(request).is_some()), Met::BeforeSending);
            let writes = stage.kubernetes.pause_all_at(KubernetesMatcher::any(), Met::BeforeSending);
            gates.release();
            tokio::time::sleep(DELIVERY).await;
            stage.operator.kill();
            rest.lose();
            writes.lose();
        } else {
            stage.operator.kill();
            gates.lose();
        }
        stage.proxy.clear_injections();
        stage.kubernetes.clear_injections();
        armed = blows.get(number + 1).map(|blow| Armed::at(stage, blow));
        free_lease(stage).await;
        stage.operator.start();
        if armed.is_some() {
            progress.busy.store(false, Ordering::Relaxed);
        }
    }
    stage.awake().await;
}

async fn fail(stage: &Stage, at: &Point, fault: Fault, lasting: bool, progress: &Progress) {
    let (aim, namer) = (Aim::new(&Place::At(at.clone())), stage.namer());
    let (hits, notify) = (Arc::new(Mutex::new(None)), Arc::new(tokio::sync::Notify::new()));
    let (noted, notified, operation) = (Arc::clone(&hits), Arc::clone(&notify), at.operation().to_owned());
    let matcher = Matcher::any().such_that(move |request| {
        let Some(name) = namer.aws(request) else { return false };
        let (mut noted, now) = (locked(&noted), Instant::now());
        let fails = if noted.is_some() { lasting && request.operation == operation } else { aim.hits(Some(&name)) };
        if fails {
            let first = noted.map_or(now, |(first, _)| first);
            *noted = Some((first, now));
            notified.notify_one();
        }
        fails
    });
    let (when, effect) = fault.effect(at.name.split(':').next().unwrap_or_default());
    stage.proxy.inject(Rule { matching: matcher, times: u64::from(!lasting), when, effect });
    notify.notified().await;
    progress.busy.store(true, Ordering::Relaxed);
    if !lasting {
        return;
    }
    let start = Instant::now();
    // A pass that was under way when its object went has nobody to tell of.
    let mut told = !fault.must_be_told() || is_of_ended_key(stage, at).await;
    while start.elapsed() < OUTAGE {
        told = told || tells(stage, at.operation()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    told = told || tells(stage, at.operation()).await;
    stage.proxy.clear_injections();
    // Whoever still waits has asked again meanwhile.
    let waits = locked(&hits).is_some_and(|(first, last): (Instant, Instant)| last - first > OUTAGE / 2);
    if !told && waits {
        *locked(&progress.silent) = Some(format!("no condition names {} while it fails", at.operation()));
    }
}

/// Whether the call is one about the key of a QueueKey that is gone.
async fn is_of_ended_key(stage: &Stage, at: &Point) -> bool {
    match at.name.split_once(' ') {
        Some((operation, name)) if operation.starts_with("kms:") && !name.contains('/') => stage.get("QueueKey", name).await.is_none(),
        _ => false,
    }
}

/// Whether some object says that it waits for this call.
async fn tells(stage: &Stage, operation: &str) -> bool {
    for kind in ["EncryptedQueue", "QueueKey", "Tenant"] {
        for object in stage.all(kind).await {
            let conditions = object.pointer("/status/conditions").and_then(Value::as_array).cloned().unwrap_or_default();
            let is_wait = |c: &Value| match c["type"].as_str() {
                Some("Reconciling" | "Stalled") => c["status"] == "True",
                _ => c["status"] == "False",
            };
            if conditions.iter().any(|c| is_wait(c) && c["message"].as_str().is_some_and(|message| message.contains(operation))) {
                return true;
            }
        }
    }
    false
}
