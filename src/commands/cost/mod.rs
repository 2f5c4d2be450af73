//! `encrypted-queue cost`: what keys and calls to KMS cost, and what another choice would.

mod rates;
#[cfg(test)]
mod tests;
mod traffic;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use kube::Client;
use schemars::schema_for;

use self::rates::Rates;
use super::explain::{self, cluster};
use super::plan::{LoadError, Manifests};
use super::reader::Reader;
use crate::aws::AwsError;
use crate::clock;
use crate::cost::{CostInput, CostReport, Prices, cost_text, estimate};
use crate::explain::Snapshot;
use crate::preview::one_line;

/// Exit status where some accounts did not answer.
const PARTIAL: u8 = 3;

/// Arguments of `encrypted-queue cost`.
#[derive(clap::Args, Clone, Debug)]
#[command(
    about = "Estimate what keys and calls to KMS cost, and what another reuse period or key scope would",
    long_about = "Estimates what keys and calls to KMS cost in a month of 31 days: by queue, tenant, tier and account; what other reuse periods within the \
        tier's bounds and the other key scope would cost; and what each means for security, that is for how long a revocation may lag.\n\n\
        SQS calls KMS R = B/D x (2P + C) times for a queue: B seconds billed, D the reuse period, P producers, C consumers. P and C are those declared; \
        CloudWatch's counts of messages, hour by hour, or rates that you give bound it: an idle queue makes no calls. With --declared, every principal is \
        taken to be busy all month, which is the most it can be.\n\n\
        Reads the cluster's objects, or manifests alone with -f.",
    after_help = "Exit status: 0 if there is an answer; 3 if some accounts did not answer CloudWatch's questions, whose queues are then estimated as declared \
        (the notes say which); 1 if the cluster does not answer or a file cannot be read; 2 for wrong arguments."
)]
pub struct Arguments {
    /// File or folder of manifests, or - for standard input: they are all there is, and neither cluster nor AWS is asked
    #[arg(short, long = "filename", value_name = "PATH", num_args = 1..)]
    pub filenames: Vec<PathBuf>,
    /// Count every declared principal as busy all month; AWS is not asked
    #[arg(long)]
    pub declared: bool,
    /// File of rates by queue, YAML or JSON: NAMESPACE/NAME: {sentPerDay: N, receivedPerDay: N, deadLettersReceivedPerDay: N}
    #[arg(long, value_name = "FILE", conflicts_with = "declared")]
    pub rates: Option<PathBuf>,
    /// Messages a day that each queue gets which --rates does not name
    #[arg(long, value_name = "N", conflicts_with = "declared")]
    pub sent_per_day: Option<u64>,
    /// Messages a day that are received from it [default: as many as are sent]
    #[arg(long, value_name = "N", requires = "sent_per_day")]
    pub received_per_day: Option<u64>,
    /// Days that CloudWatch is asked about
    #[arg(long, value_name = "N", default_value_t = 14, value_parser = clap::value_parser!(u16).range(1..=63))]
    pub days: u16,
    /// Tenants that are meant [default: all]
    #[arg(long = "tenant", value_name = "NAME")]
    pub tenants: Vec<String>,
    /// Prices other than those built in, as a file like src/cost/prices.json
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Context of the kubeconfig
    #[arg(long)]
    pub context: Option<String>,
    /// Namespace of manifests that name none
    #[arg(short, long, default_value = "default", requires = "filenames")]
    pub namespace: String,
    /// EKS cluster whose Pod Identity associations give ServiceAccounts their roles, as the operator has it
    #[arg(long, env = "ENCRYPTED_QUEUE_EKS_CLUSTER_NAME")]
    pub eks_cluster_name: Option<String>,
    /// Who asks AWS.
    #[command(flatten)]
    pub reader: Reader,
    /// Print the JSON Schema of what -o json answers, and nothing else
    #[arg(long, exclusive = true)]
    pub schema: bool,
}

/// Formats.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs; --schema tells its form.
    Json,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Rates or prices cannot be read.
    #[error("{path}: {message}")]
    File {
        /// Which.
        path: String,
        /// Why.
        message: String,
    },
    /// No cluster, or no answer.
    #[error("{0} (-f reads manifests alone)")]
    Cluster(#[from] explain::Error),
    /// There is no such tenant.
    #[error("--tenant {0}: there is no such Tenant")]
    NoTenant(String),
    /// AWS refused or did not answer.
    #[error("AWS: {0} (--declared asks it nothing)")]
    Aws(#[from] AwsError),
    /// The answer could not be written.
    #[error("cannot write the answer: {0}")]
    Write(#[from] io::Error),
}

/// Runs the command on a runtime of its own.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    if arguments.schema {
        super::plan::write(&explain::json(&schema_for!(CostReport))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (report, partial) = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(cost(arguments))?;
    let text = if arguments.output == Output::Json { explain::json(&report)? } else { cost_text(&report) };
    super::plan::write(&text)?;
    Ok(if partial { ExitCode::from(PARTIAL) } else { ExitCode::SUCCESS })
}

/// The report that the arguments ask for, and whether some accounts did not answer.
pub async fn cost(arguments: &Arguments) -> Result<(CostReport, bool), Error> {
    let now = clock::now();
    let prices = match &arguments.prices {
        Some(path) => Prices::parse(&rates::read(path)?).map_err(|message| Error::File { path: path.display().to_string(), message })?,
        None => Prices::embedded().clone(),
    };
    let rates = Rates::of(arguments)?;
    let offline = !arguments.filenames.is_empty();
    let snapshot = if offline { of_manifests(arguments)? } else { of_cluster(arguments).await? };
    let mut input = CostInput::of(&snapshot, now);
    restrict(&mut input, &snapshot, &arguments.tenants)?;
    let mut partial = false;
    if !rates.is_empty() {
        rates.apply(&mut input);
    } else if !arguments.declared && !offline {
        let accounts = arguments.reader.connect(None).await?;
        partial = Box::pin(traffic::measure(&mut input, &snapshot, &accounts, arguments.days, now)).await;
    }
    input.notes.extend(notes(&input));
    Ok((estimate(&input, &prices), partial))
}

fn of_manifests(arguments: &Arguments) -> Result<Snapshot, Error> {
    let manifests = Manifests::load(&arguments.filenames, &arguments.namespace)?;
    for note in manifests.skipped() {
        eprintln!("note: {}", one_line(&note));
    }
    Ok(manifests.alone(clock::now()).0)
}

async fn of_cluster(arguments: &Arguments) -> Result<Snapshot, Error> {
    let (client, _): (Client, _) = explain::connect(arguments.context.as_deref()).await?;
    let mut snapshot = cluster::all(&client, None, None).await?;
    if let Some(cluster) = &arguments.eks_cluster_name {
        let accounts = arguments.reader.connect(None).await?;
        super::pod_identity::associate(&mut snapshot, &accounts.pod_identity(cluster)).await?;
    }
    Ok(snapshot)
}

/// Leaves out what other tenants have.
fn restrict(input: &mut CostInput, snapshot: &Snapshot, tenants: &[String]) -> Result<(), Error> {
    if let Some(name) = tenants.iter().find(|name| !snapshot.tenants.contains_key(*name)) {
        return Err(Error::NoTenant(name.clone()));
    }
    if !tenants.is_empty() {
        input.queues.retain(|queue| tenants.contains(&queue.tenant));
        input.keys.retain(|_, key| tenants.contains(&key.tenant));
        input.budgets.retain(|name, _| tenants.contains(name));
    }
    Ok(())
}

fn notes(input: &CostInput) -> Vec<String> {
    let mut notes = vec!["an account's free calls are taken off as if nothing else in it used KMS".to_owned()];
    if input.queues.iter().any(|queue| queue.dead_letter_queue.is_some() && queue.dead_letter_traffic.is_none()) {
        notes.push("dead-letter queues are taken to be idle where their traffic is not known".to_owned());
    }
    notes
}
