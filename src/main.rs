//! `encrypted-queue`: parses the arguments and hands over to the command.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use encrypted_queue::commands::{adopt, approve, audit, cost, crds, explain, plan, run};
use encrypted_queue::telemetry::page;

/// Gives back to the system what a burst of work took, and mixes what is kept with it less than others do (`.cargo/config.toml` says how it is set).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Keeps every SQS queue encrypted under the right KMS key, for exactly the declared principals.
#[derive(Parser)]
#[command(name = "encrypted-queue", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Adopt(adopt::Arguments),
    Approve(approve::Arguments),
    Audit(audit::Arguments),
    Cost(cost::Arguments),
    /// Print the CustomResourceDefinitions, or bring a cluster's to this version.
    Crds(crds::Arguments),
    /// Print the page that describes the metrics.
    #[command(hide = true)]
    Metrics,
    /// Run the controllers.
    Run(Box<run::Arguments>),
    Explain(explain::Arguments),
    Plan(plan::Arguments),
}

fn print_metrics() -> io::Result<()> {
    let page = page::page().map_err(io::Error::other)?;
    io::stdout().write_all(page.as_bytes())
}

pub(crate) fn main() -> ExitCode {
    let result: Result<ExitCode, Box<dyn std::error::Error>> = match Cli::parse().command {
        Command::Adopt(arguments) => adopt::run(&arguments).map_err(Into::into),
        Command::Approve(arguments) => approve::run(&arguments).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Command::Audit(arguments) => audit::run(&arguments).map_err(Into::into),
        Command::Cost(arguments) => cost::run(&arguments).map_err(Into::into),
        Command::Crds(arguments) => crds::run(&arguments).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Command::Metrics => print_metrics().map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Command::Run(arguments) => run::run(&arguments).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Command::Explain(arguments) => explain::run(&arguments).map(|()| ExitCode::SUCCESS).map_err(Into::into),
        Command::Plan(arguments) => plan::run(&arguments).map_err(Into::into),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
