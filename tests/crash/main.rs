//! The crash harness: the real operator is killed before and after each of its calls, and AWS fails at each of them, in every scenario; after each run
//! it is judged what was left. `--help` tells how it is asked for less than everything.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod attempt;
mod campaign;
mod operator;
mod plan;
mod points;
mod race;
mod results;
mod scenarios;
mod stage;
mod state;

use std::process::ExitCode;

use clap::Parser;

use campaign::{Campaign, Job, Wanted};
use results::{Results, directory};
use scenarios::{SCENARIOS, Scenario};
use stage::locked;

/// Kills the operator everywhere, and judges what was left.
#[derive(Parser)]
struct Arguments {
    /// Only crashes
    #[arg(long, conflicts_with = "faults")]
    crashes: bool,
    /// Only faults of AWS
    #[arg(long, conflicts_with = "races")]
    faults: bool,
    /// Only races: late and lost events, stale lists, edits taken back, other people in AWS, jumps of the clock
    #[arg(long, conflicts_with = "crashes")]
    races: bool,
    /// Moments at which each kind of race is played in each scenario
    #[arg(long, value_name = "N", default_value_t = 4)]
    race_points: u64,
    /// Only scenarios whose name contains this; may be repeated
    #[arg(long, value_name = "TEXT")]
    scenario: Vec<String>,
    /// Only this many runs, chosen by the seed
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Chooses the sample, and the pairs of crashes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Pairs of crashes in each scenario that is played with pairs
    #[arg(long, value_name = "N", default_value_t = 500)]
    pairs: u64,
    /// Only this run, as a failure named it
    #[arg(long, value_name = "RUN")]
    only: Option<String>,
    /// Runs at once, each with servers of its own
    #[arg(long, value_name = "N", default_value_t = 8)]
    workers: usize,
    /// Forget the results of earlier runs
    #[arg(long)]
    fresh: bool,
}

fn chosen(arguments: &Arguments) -> Result<(Vec<&'static Scenario>, Option<Job>), String> {
    if let Some(id) = &arguments.only {
        let (name, plan) = id.split_once(" | ").ok_or("a run is named SCENARIO | PLAN")?;
        let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name).ok_or_else(|| format!("no scenario: {name}"))?;
        return Ok((vec![scenario], Some(Job { scenario, plan: plan.parse()? })));
    }
    let is_wanted = |scenario: &&Scenario| arguments.scenario.is_empty() || arguments.scenario.iter().any(|text| scenario.name.contains(text));
    let scenarios: Vec<_> = SCENARIOS.iter().filter(is_wanted).collect();
    if scenarios.is_empty() { Err("no scenario has such a name".to_owned()) } else { Ok((scenarios, None)) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was wrong.
fn run(arguments: &Arguments) -> Result<bool, String> {
    let (scenarios, only) = chosen(arguments)?;
    let operator = operator::digest();
    // A part is a campaign of its own: it neither uses nor spoils the whole one's results.
    let is_part = arguments.sample.is_some() || only.is_some();
    let file = directory().join(if is_part { "sample.jsonl" } else { "results.jsonl" });
    let results = Results::open(&file, operator, arguments.fresh || is_part);
    let mut campaign = Campaign::start(if only.is_some() { 1 } else { arguments.workers }, results);
    let mut wrong = campaign.learn(&scenarios, !is_part);
    let jobs = if let Some(job) = only {
        vec![job]
    } else {
        let wanted = Wanted {
            crashes: !arguments.faults && !arguments.races,
            faults: !arguments.crashes && !arguments.races,
            races: if arguments.crashes || arguments.faults { 0 } else { arguments.race_points },
            pairs: arguments.pairs,
            scenarios,
            sample: arguments.sample,
            seed: arguments.seed,
        };
        let results = locked(&campaign.results);
        let done = results.done();
        wanted.jobs(&results.points).into_iter().filter(|job| !done.contains(&job.id())).collect()
    };
    campaign.play(jobs, true);
    let results = locked(&campaign.results);
    wrong.extend(results.runs.iter().filter(|run| !run.wrong.is_empty()).cloned());
    println!("{}", results.table());
    println!("{} runs in which something was wrong", wrong.len());
    for run in wrong.iter().take(100) {
        println!("  {}: {}", run.id(), run.wrong.first().and_then(|text| text.lines().next()).unwrap_or_default());
    }
    Ok(wrong.is_empty())
}
