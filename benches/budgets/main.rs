//! Measures the operator's release binary between a real API server and the AWS emulator behind the recording proxy, and compares with the budgets.
//!
//! `cargo bench --bench budgets` prints one table; the names of sections (`pure`, `creation`, `checks`, `memory`) choose among them. `--idle MINUTES`
//! watches the examples at rest instead; `--fleet QUEUES` makes so many, starts the operator anew over them, edits some while all are compared, and has
//! some drift; `--quotas QUEUES SCALE` makes them under AWS's quotas times SCALE; `--rest QUEUES MINUTES` watches them at rest. A missed budget is a `no` in
//! the table; only a failure to measure ends with an error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod checks;
mod creation;
mod emulator;
mod figure;
#[path = "../fixture/mod.rs"]
mod fixture;
mod fleet;
mod idle;
mod instructions;
mod memory;
mod process;
mod pure;
mod quotas;
mod stage;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/end_to_end/world.rs"]
mod world;

use std::time::Duration;

use figure::Figures;
use stage::Stage;

/// How often each figure is measured.
const RUNS: usize = 7;

#[tokio::main]
async fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(figures) = special(&arguments).await {
        return println!("{figures}\nThe AWS emulator of fleets is one of this bench's own, in memory: moto makes 17 keys a second.");
    }
    let chosen = |section: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == section);
    let mut figures = Figures::default();
    if chosen("pure") {
        figures.extend(pure::measure());
        figures.extend(instructions::measure());
    }
    if chosen("creation") || chosen("checks") {
        let stage = Stage::with_operator(&["--check-period", "24h"]).await;
        figures.extend(creation::measure(&stage).await);
        if chosen("checks") {
            figures.extend(checks::measure(&stage).await);
        }
    }
    if chosen("memory") {
        figures.extend(memory::measure().await);
    }
    println!("{figures}");
    println!("Counts and memory are judged by their worst, times by their median. The AWS emulator is moto, which takes its own time for each call.");
}

/// What takes long, or is asked for by another process.
async fn special(arguments: &[String]) -> Option<Figures> {
    let count = |text: &String| text.parse().expect("a number");
    let mut figures = Figures::default();
    match arguments {
        [flag, minutes] if flag == "--idle" => return Some(idle::measure(Duration::from_mins(minutes.parse().expect("a number of minutes"))).await),
        [flag, queues] if flag == "--fleet" => figures.extend(fleet::measure(count(queues)).await),
        [flag, queues, scale] if flag == "--quotas" => figures.extend(quotas::measure(count(queues), scale.parse().expect("a number")).await),
        [flag, queues, minutes] if flag == "--rest" => {
            return Some(idle::measure_fleet(count(queues), Duration::from_mins(minutes.parse().expect("a number of minutes"))).await);
        }
        [flag, passes] if flag == instructions::FLAG => {
            pure::repeat(count(passes));
            std::process::exit(0);
        }
        _ => return None,
    }
    Some(figures)
}

/// Says what is going on.
fn progress(what: &str) {
    eprintln!("bench: {what}");
}
