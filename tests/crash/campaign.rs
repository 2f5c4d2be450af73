//! All runs: which there are, who plays them, what is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use similar::TextDiff;
use tokio::runtime::Runtime;

use super::attempt::{Ended, play};
use super::plan::{Blow, Fault, Plan, Race};
use super::points::{Moment, Place, Point};
use super::results::{Results, Run, directory};
use super::scenarios::Scenario;
use super::stage::{Servers, locked};
use super::state::State;

/// A call that did not come is waited for in so many more runs.
const AGAIN: usize = 2;

/// Which runs are wanted.
pub(crate) struct Wanted {
    pub(crate) crashes: bool,
    pub(crate) faults: bool,
    /// Of each kind and scenario; 0: none.
    pub(crate) races: u64,
    /// Of each scenario with pairs.
    pub(crate) pairs: u64,
    pub(crate) scenarios: Vec<&'static Scenario>,
    /// So many of them only, chosen by the seed.
    pub(crate) sample: Option<usize>,
    pub(crate) seed: u64,
}

/// A run to do.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) scenario: &'static Scenario,
    pub(crate) plan: Plan,
}

impl Job {
    pub(crate) fn id(&self) -> String {
        format!("{} | {}", self.scenario.name, self.plan)
    }
}

/// A number for a question, the same each time.
fn drawn(seed: u64, about: &str, number: u64, of: u64) -> u64 {
    let digest = Sha256::digest(format!("{seed} {about} {number}"));
    let bytes: [u8; 8] = digest[..8].try_into().expect("eight bytes");
    u64::from_be_bytes(bytes) % of.max(1)
}

impl Wanted {
    /// All runs, given the points of each scenario.
    pub(crate) fn jobs(&self, points: &BTreeMap<String, Vec<String>>) -> Vec<Job> {
        let mut jobs = Vec::new();
        for &scenario in &self.scenarios {
            let texts = points.get(scenario.name).map(Vec::as_slice).unwrap_or_default();
            let points: Vec<Point> = texts.iter().filter_map(|text| text.parse().ok()).collect();
            let plans = self.crash_plans(scenario, &points).into_iter().chain(self.fault_plans(&points)).chain(self.race_plans(scenario, &points));
            jobs.extend(plans.map(|plan| Job { scenario, plan }));
        }
        // Two pairs may have been drawn alike.
        let mut ids = BTreeSet::new();
        jobs.retain(|job| ids.insert(job.id()));
        // In an order of its own, so that what is common shows early.
        jobs.sort_by_cached_key(|job| drawn(self.seed, &job.id(), 0, u64::MAX));
        jobs.truncate(self.sample.unwrap_or(usize::MAX));
        jobs
    }

    fn crash_plans(&self, scenario: &Scenario, points: &[Point]) -> Vec<Plan> {
        if !self.crashes {
            return Vec::new();
        }
        let blow = |point: &Point, moment| Blow { place: Place::At(point.clone()), moment };
        let mut plans: Vec<Plan> = points.iter().flat_map(|point| Moment::ALL.map(|moment| Plan::Crashes(vec![blow(point, moment)]))).collect();
        let pairs = if scenario.pairs && !points.is_empty() { self.pairs } else { 0 };
        for number in 0..pairs {
            let draw = |what: &str, of: usize| drawn(self.seed, &format!("{} {what}", scenario.name), number, of as u64);
            let moment = |what: &str| Moment::ALL[usize::try_from(draw(what, 3)).unwrap_or_default()];
            let first = &points[usize::try_from(draw("first", points.len())).unwrap_or_default()];
            let second = Blow { place: Place::Nth(1 + draw("second", points.len().min(25))), moment: moment("second moment") };
            plans.push(Plan::Crashes(vec![blow(first, moment("first moment")), second]));
        }
        plans
    }

    fn fault_plans(&self, points: &[Point]) -> Vec<Plan> {
        if !self.faults {
            return Vec::new();
        }
        let aws = points.iter().filter(|point| point.is_aws());
        let each = |at: &Point| {
            let plan = |fault, lasting| Plan::Fault { at: at.clone(), fault, lasting };
            Fault::ALL.into_iter().flat_map(|fault| [plan(fault, false), plan(fault, true)]).collect::<Vec<_>>()
        };
        aws.flat_map(each).collect()
    }
}

impl Wanted {
    fn race_plans(&self, scenario: &Scenario, points: &[Point]) -> Vec<Plan> {
        let draw = |race: Race, number| {
            let drawn = drawn(self.seed, &format!("{} {race:?}", scenario.name), number, points.len() as u64);
            Plan::Race { at: points[usize::try_from(drawn).unwrap_or_default()].clone(), race }
        };
        let races = if points.is_empty() { 0 } else { self.races };
        Race::ALL.into_iter().flat_map(|race| (0..races).map(move |number| draw(race, number))).collect()
    }
}

/// A player: servers, and the runtime that their connections belong to.
struct Worker {
    number: usize,
    runtime: Runtime,
    servers: Servers,
}

impl Worker {
    fn start(number: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let servers = runtime.block_on(Servers::start(number));
        Self { number, runtime, servers }
    }
}

/// Everyone who plays, and what is known.
pub(crate) struct Campaign {
    workers: Vec<Worker>,
    pub(crate) results: Mutex<Results>,
    /// How each scenario ends undisturbed.
    ends: Mutex<BTreeMap<&'static str, State>>,
}

impl Campaign {
    pub(crate) fn start(workers: usize, results: Results) -> Self {
        let workers = thread::scope(|scope| {
            let starting: Vec<_> = (0..workers).map(|number| scope.spawn(move || Worker::start(number))).collect();
            starting.into_iter().map(|worker| worker.join().expect("servers start")).collect()
        });
        Self { workers, results: Mutex::new(results), ends: Mutex::default() }
    }

    /// Plays scenarios undisturbed: how they end, and what the operator calls. What is wrong already then.
    pub(crate) fn learn(&mut self, scenarios: &[&'static Scenario], twice: bool) -> Vec<Run> {
        let free = || scenarios.iter().map(|scenario| Job { scenario, plan: Plan::Free }).collect();
        let mut wrong = self.play(free(), false);
        if twice {
            wrong.extend(self.play(free(), false));
        }
        wrong
    }

    /// Plays them all; those in which something was wrong.
    pub(crate) fn play(&mut self, jobs: Vec<Job>, recorded: bool) -> Vec<Run> {
        let (total, started) = (jobs.len(), Instant::now());
        let (queue, wrong) = (Mutex::new(VecDeque::from(jobs)), Mutex::new(Vec::new()));
        let (results, ends, done) = (&self.results, &self.ends, AtomicUsize::new(0));
        thread::scope(|scope| {
            for worker in &mut self.workers {
                let (queue, wrong, done) = (&queue, &wrong, &done);
                scope.spawn(move || {
                    while let Some(job) = next(queue) {
                        let expected = locked(ends).get(job.scenario.name).cloned();
                        let (run, ended) = worker.runtime.block_on(one(&worker.servers, &job, expected.as_ref(), worker.number));
                        if let Some(ended) = ended.filter(|_| matches!(job.plan, Plan::Free)) {
                            learned(&mut locked(results), &mut locked(ends), job.scenario, ended);
                        }
                        if !run.wrong.is_empty() {
                            tell(&run);
                            locked(wrong).push(run.clone());
                        }
                        if recorded {
                            locked(results).add(run);
                        }
                        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                        if done % 25 == 0 || done == total {
                            progress(total, done, started);
                        }
                    }
                });
            }
        });
        wrong.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next(queue: &Mutex<VecDeque<Job>>) -> Option<Job> {
    locked(queue).pop_front()
}

fn progress(total: usize, done: usize, started: Instant) {
    let left = total - done;
    let each = started.elapsed().as_secs_f64() / f64::from(u32::try_from(done.max(1)).unwrap_or(u32::MAX));
    let to_go = Duration::from_secs_f64((each * f64::from(u32::try_from(left).unwrap_or(u32::MAX))).round());
    eprintln!("{done} of {total} runs, {each:.2} s each, {to_go:?} to go");
}

fn learned(results: &mut Results, ends: &mut BTreeMap<&'static str, State>, scenario: &'static Scenario, ended: Ended) {
    let known = results.points.get(scenario.name).cloned().unwrap_or_default();
    let mut all = known.clone();
    let seen: BTreeSet<String> = known.iter().cloned().collect();
    all.extend(ended.points.iter().map(ToString::to_string).filter(|point| !seen.contains(point)));
    if all.len() > known.len() {
        results.know_points(scenario.name, &all);
    }
    ends.entry(scenario.name).or_insert(ended.state);
}

/// One run, again while what was planned does not come about.
async fn one(servers: &Servers, job: &Job, expected: Option<&State>, worker: usize) -> (Run, Option<Ended>) {
    let started = Instant::now();
    let place = directory().join(format!("worker-{worker}"));
    let mut run = Run { scenario: job.scenario.name.to_owned(), plan: job.plan.to_string(), ..Run::default() };
    let mut last = None;
    for _ in 0..=AGAIN {
        match Box::pin(play(servers, job.scenario, &job.plan, expected, &place)).await {
            Ok(ended) => {
                judge(&mut run, &ended);
                let enough = run.disturbed || !run.wrong.is_empty();
                if !run.wrong.is_empty() {
                    let before = expected.map_or("", |expected| expected.text.as_str());
                    let difference = TextDiff::from_lines(before, &ended.state.text);
                    let difference = difference.unified_diff().context_radius(6).header("undisturbed", "this run").to_string();
                    keep(&run, &place, &difference);
                }
                last = Some(ended);
                if enough {
                    break;
                }
            }
            Err(why) => {
                run.wrong.push(why);
                keep(&run, &place, "");
                break;
            }
        }
    }
    run.seconds = started.elapsed().as_secs_f64();
    (run, last)
}

fn judge(run: &mut Run, ended: &Ended) {
    run.disturbed = ended.disturbed;
    run.writes += ended.writes;
    run.exits += ended.exits;
    (run.duplicates, run.orphans, run.violations) = (ended.state.duplicates.len(), ended.state.orphans.len(), ended.violations.len());
    run.differs = !ended.as_expected;
    run.wrong.clear();
    run.wrong.extend(ended.state.duplicates.iter().map(|what| format!("duplicate: {what}")));
    run.wrong.extend(ended.state.orphans.iter().map(|what| format!("orphan: {what}")));
    run.wrong.extend(ended.violations.iter().map(|what| format!("violation: {what}")));
    run.wrong.extend(run.differs.then(|| "the end differs from the undisturbed one".to_owned()));
    run.wrong.extend((!ended.at_rest).then(|| "the operator does not come to rest".to_owned()));
    run.wrong.extend(ended.silent.clone());
}

/// Keeps the operator's log and what differs.
fn keep(run: &Run, place: &Path, difference: &str) {
    let failures = directory().join("failures");
    let name = hex::encode(&Sha256::digest(run.id())[..6]);
    let read = |name: &str| std::fs::read_to_string(place.join(name)).unwrap_or_default();
    let text = format!("{}\n\n{}\n\n{difference}\n{}\n{}", run.id(), run.wrong.join("\n"), read("chronicle"), read("log"));
    let written = std::fs::create_dir_all(&failures).and_then(|()| std::fs::write(failures.join(format!("{name}.txt")), text));
    written.expect("the failure is kept");
}

/// What was wrong, where its log is, and how to see it again.
fn tell(run: &Run) {
    let name = hex::encode(&Sha256::digest(run.id())[..6]);
    eprintln!("FAILED {}\n  {}", run.id(), run.wrong.join("\n  "));
    eprintln!("  log: {}", directory().join("failures").join(format!("{name}.txt")).display());
    eprintln!("  again: cargo test --test crash -- --only {:?}", run.id());
}
