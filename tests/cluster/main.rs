//! The operator as real pods: the chart, installed by Helm into the cluster that KUBECONFIG names, with the emulator of AWS on this machine.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it tells people how far it is")]

mod cluster;
mod story;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use test_support::Moto;
use test_support::proxy::Proxy;

use cluster::Cluster;

/// Installs the chart into the cluster of KUBECONFIG, plays the main scenario with its pods, and takes everything away again
#[derive(Parser)]
struct Arguments {
    /// The operator's image, as REPOSITORY:TAG; the cluster's nodes have it
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// Where the emulator listens on this machine
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4566")]
    listen: SocketAddr,
    /// The same as pods reach it
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// Leaves everything behind when something fails, to look at
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<comfy_table::Table, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let moto = Moto::start().await.map_err(|error| told(&error))?;
    let upstream = moto.endpoint().parse().map_err(|error: hyper::http::uri::InvalidUri| told(&error))?;
    let proxy = Proxy::start_at(arguments.listen, upstream).await.map_err(|error| format!("{}: {error}", arguments.listen))?;
    let cluster = Cluster::connect(&arguments.image, &arguments.endpoint).await?;
    // Whose cluster this is, and what else runs there, is not known: nothing is touched that is there already.
    cluster.is_free().await?;
    let played = story::play(&cluster, &proxy).await;
    if let Err(why) = &played {
        eprintln!("error: {why}\n{}", Cluster::state());
        if arguments.keep {
            return played;
        }
    }
    cluster.clear().await;
    played
}
