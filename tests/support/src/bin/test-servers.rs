//! Starts a control plane, an AWS emulator and the recording proxy before it, says on one line of JSON where they are, and runs until SIGINT or
//! SIGTERM. `make demo` uses it.

use std::io::Write;
use std::path::PathBuf;

use clap::Parser;
use serde_json::json;
use test_support::proxy::Proxy;
use test_support::{ControlPlane, Moto};
use tokio::signal::unix::{SignalKind, signal};

/// Servers for the demo and for work by hand: prints {"kubeconfig": PATH, "awsEndpoint": URL} once they answer.
#[derive(Parser)]
struct Arguments {
    /// Role that calls with the operator's access key are made as: AWS checks that a key policy does not lock its caller out
    #[arg(long, value_name = "ARN", requires = "operator_access_key")]
    operator_role: Option<String>,
    /// The operator's access key
    #[arg(long, value_name = "ID", requires = "operator_role")]
    operator_access_key: Option<String>,
    /// File to which every AWS call is appended, one JSON object a line
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = serve(&arguments) => result,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Never ends by itself: dropping it stops the servers.
async fn serve(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let (control_plane, moto) = tokio::try_join!(ControlPlane::start(), Moto::start())?;
    let proxy = Proxy::start(moto.endpoint().parse()?).await?;
    if let (Some(access_key), Some(role)) = (&arguments.operator_access_key, &arguments.operator_role) {
        proxy.caller_is(access_key, role);
    }
    if let Some(file) = &arguments.ledger {
        proxy.write_ledger_to(file)?;
    }
    let places = json!({"kubeconfig": control_plane.kubeconfig_path(), "awsEndpoint": proxy.endpoint()});
    let mut output = std::io::stdout();
    writeln!(output, "{places}")?;
    output.flush()?;
    std::future::pending().await
}
