//! Measures the operator's release binary between a real API server and the AWS emulator behind the recording proxy, and compares with the budgets.
//!
//! `cargo bench --bench budgets` prints one table; the names of sections (`pure`, `creation`, `checks`, `memory`) choose among them. `--idle MINUTES`
//! watches the examples at rest instead; `--fleet QUEUES` makes so many, starts the operator anew over them, and edits one while they are compared. A missed budget is a `no` in the table; only a failure to measure ends with an error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod checks;
mod creation;
mod emulator;
mod figure;
#[path = "../fixture/mod.rs"]
mod fixture;
mod fleet;
mod idle;
mod memory;
mod process;
mod pure;
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
    if let [flag, minutes] = arguments.as_slice()
        && flag == "--idle"
    {
        let minutes: u64 = minutes.parse().expect("a number of minutes");
        return println!("{}", idle::measure(Duration::from_mins(minutes)).await);
    }
    if let [flag, queues] = arguments.as_slice()
        && flag == "--fleet"
    {
        let mut figures = Figures::default();
        figures.extend(fleet::measure(queues.parse().expect("a number of queues")).await);
        return println!("{figures}\nThe AWS emulator is one of this bench's own, in memory: moto makes 17 keys a second.");
    }
    let chosen = |section: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == section);
    let mut figures = Figures::default();
    if chosen("pure") {
        figures.extend(pure::measure());
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

/// Says what is going on.
fn progress(what: &str) {
    eprintln!("bench: {what}");
}
