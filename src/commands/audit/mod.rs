//! `encrypted-queue audit`: every queue and key of the accounts against the checks.

mod progress;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use kube::ResourceExt;
use schemars::schema_for;

use self::progress::Teller;
use super::explain::{self, cluster, json};
use super::plan::{LoadError, Manifests};
use super::reader::Reader;
use super::who_decrypted::{self, WhoDecrypted};
use crate::api::Tenant;
use crate::audit::baseline::{Baseline, BaselineError};
use crate::audit::checks::Severity;
use crate::audit::declared::Declarations;
use crate::audit::report::AuditReport;
use crate::audit::scan::{Pace, scan};
use crate::audit::{audit_html, audit_sarif, audit_text};
use crate::aws::{AccountKey, Accounts, AwsError};
use crate::clock;
use crate::controller::account_key;
use crate::explain::Snapshot;
use crate::names::{Partition, RoleArn};
use crate::preview::one_line;
use crate::who_decrypted::who_decrypted_text;

/// Arguments of `encrypted-queue audit`.
#[derive(clap::Args, Clone, Debug)]
#[command(
    about = "Judge every queue and key of the accounts: how it is encrypted, whom it admits, and what to do",
    long_about = "Reads every SQS queue and customer managed KMS key in the accounts and Regions of the cluster's Tenants, declared or not, and judges it \
        by the checks of docs/checks.md: those of Security Hub, AWS Config, Prowler, Checkov and Cloud Custodian, and more. Each Tenant's role is \
        assumed as the operator does. Nothing is written, and no message is read.\n\n\
        Without a cluster: --offline, with the credentials at hand and --region, or with -f and manifests that hold the Tenants.",
    after_help = "Exit status: 0 if nothing is as bad as --fail-on; 2 if something is; 1 if something could not be read (the answer is written all the \
        same, marked as partial, and says what), or if there is no answer. Wrong arguments end with 2 too, and a message on standard error alone.\n\n\
        A baseline file accepts findings, each until a day (in UTC):\n\n  \
        accepted:\n  - check: queue-sse-sqs\n    resource: arn:aws:sqs:eu-west-1:111122223333:legacy-*\n    until: 2027-03-31\n    reason: moves with the next release"
)]
pub struct Arguments {
    /// Do not ask the cluster: the Tenants of -f, or the account of the credentials at hand
    #[arg(long)]
    pub offline: bool,
    /// File or folder of manifests, or - for standard input: what is declared, with --offline
    #[arg(short, long = "filename", value_name = "PATH", num_args = 1.., requires = "offline")]
    pub filenames: Vec<PathBuf>,
    /// Region to look at, may be repeated [default: those of the Tenants; without Tenants `AWS_REGION`]
    #[arg(long = "region", value_name = "REGION")]
    pub regions: Vec<String>,
    /// Tenant whose account to look at, may be repeated [default: all]
    #[arg(long = "tenant", value_name = "NAME")]
    pub tenants: Vec<String>,
    /// Format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The mildest finding that makes the command fail
    #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = FailOn::Low)]
    pub fail_on: FailOn,
    /// File of accepted findings
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, conflicts_with = "offline")]
    pub context: Option<String>,
    /// The operator's own role, for tenants that name no role to assume [default: asked of AWS]
    #[arg(long, value_name = "ARN", env = "ENCRYPTED_QUEUE_OPERATOR_ROLE_ARN", value_parser = RoleArn::parse)]
    pub operator_role_arn: Option<RoleArn>,
    /// Who asks AWS.
    #[command(flatten)]
    pub reader: Reader,
    /// EKS cluster whose Pod Identity associations give ServiceAccounts their roles, as the operator has it; not asked with --offline
    #[arg(long, env = "ENCRYPTED_QUEUE_EKS_CLUSTER_NAME")]
    pub eks_cluster_name: Option<String>,
    /// Who decrypts, instead of the checks.
    #[command(flatten)]
    pub who_decrypted: WhoDecrypted,
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
    /// SARIF 2.1.0, for code scanning and security dashboards.
    Sarif,
    /// One page that needs nothing else.
    Html,
}

/// Thresholds.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[allow(missing_docs)]
pub enum FailOn {
    Critical,
    High,
    Medium,
    Low,
    Info,
    /// Nothing fails.
    None,
}

impl FailOn {
    const fn severity(self) -> Option<Severity> {
        match self {
            Self::Critical => Some(Severity::Critical),
            Self::High => Some(Severity::High),
            Self::Medium => Some(Severity::Medium),
            Self::Low => Some(Severity::Low),
            Self::Info => Some(Severity::Info),
            Self::None => None,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The baseline cannot be read.
    #[error("cannot read {path}: {source}")]
    ReadBaseline {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The baseline is malformed.
    #[error("baseline {0}")]
    Baseline(#[from] BaselineError),
    /// No cluster, or no answer.
    #[error("{0} (--offline audits the account of the credentials at hand)")]
    Cluster(#[from] explain::Error),
    /// There is no such tenant.
    #[error("--tenant {0}: there is no such Tenant")]
    NoTenant(String),
    /// There are no accounts to look at.
    #[error("there are no Tenants, and so no accounts to look at; --offline audits the account of the credentials at hand")]
    NoTenants,
    /// None of the Regions is a tenant's.
    #[error("--region {0}: no Tenant has it")]
    NoSuchRegion(String),
    /// No Region.
    #[error("no Region to look at: name one with --region, or set AWS_REGION")]
    NoRegion,
    /// AWS refused or did not answer.
    #[error("AWS: {0}")]
    Aws(#[from] AwsError),
    /// A log file cannot be read.
    #[error(transparent)]
    Logs(#[from] who_decrypted::ReadError),
    /// There is no such format.
    #[error("--who-decrypted answers as table or json")]
    NoSuchFormat,
    /// The answer could not be written.
    #[error("cannot write the answer: {0}")]
    Write(#[from] io::Error),
    /// The answer has no form in JSON.
    #[error("cannot write the answer as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Runs the command on a runtime of its own.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    if arguments.schema {
        write(&json(&schema_for!(AuditReport))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if arguments.who_decrypted.who_decrypted {
        return runtime.block_on(tell_who_decrypted(arguments));
    }
    let report = runtime.block_on(audit(arguments))?;
    write(&text(&report, arguments.output)?)?;
    let code = if report.partial { 1 } else { u8::from(report.fails(arguments.fail_on.severity())) * 2 };
    Ok(ExitCode::from(code))
}

fn text(report: &AuditReport, output: Output) -> Result<String, Error> {
    Ok(match output {
        Output::Table => {
            let width = io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
            audit_text(report, width.map(|(width, _)| width.0))
        }
        Output::Json => json(report)?,
        Output::Sarif => serde_json::to_string_pretty(&audit_sarif(report))? + "\n",
        Output::Html => audit_html(report),
    })
}

fn write(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The answer that the arguments ask for.
pub async fn audit(arguments: &Arguments) -> Result<AuditReport, Error> {
    // First what needs nobody: a mistake in it is told at once.
    let baseline = baseline(arguments)?;
    let accounts = arguments.reader.connect(arguments.operator_role_arn.as_ref()).await?;
    let snapshot = if arguments.offline { from_manifests(arguments)? } else { from_cluster(arguments, &accounts).await? };
    let targets = targets(arguments, &snapshot, &accounts).await?;
    let teller = Teller::new();
    let mut inventory = scan(&accounts, targets, Pace::BRISK, &|progress| teller.tell(progress)).await;
    Declarations::of(&snapshot, "").lay_over(&mut inventory);
    let calls = accounts.call_counts().snapshot().values().map(|count| count.attempts).sum();
    teller.done(&inventory, calls);
    Ok(AuditReport::of(&inventory, &baseline, clock::now()))
}

async fn tell_who_decrypted(arguments: &Arguments) -> Result<ExitCode, Error> {
    let WhoDecrypted { from, days, .. } = &arguments.who_decrypted;
    let report = if from.is_empty() {
        let accounts = arguments.reader.connect(arguments.operator_role_arn.as_ref()).await?;
        let snapshot = if arguments.offline { from_manifests(arguments)? } else { from_cluster(arguments, &accounts).await? };
        let targets = targets(arguments, &snapshot, &accounts).await?;
        who_decrypted::from_history(&accounts, &targets, *days, clock::now()).await
    } else {
        who_decrypted::from_files(from)?
    };
    write(&match arguments.output {
        Output::Table => who_decrypted_text(&report),
        Output::Json => json(&report)?,
        Output::Sarif | Output::Html => return Err(Error::NoSuchFormat),
    })?;
    Ok(ExitCode::from(u8::from(report.partial)))
}

fn baseline(arguments: &Arguments) -> Result<Baseline, Error> {
    let Some(path) = &arguments.baseline else { return Ok(Baseline::default()) };
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|source| Error::ReadBaseline { path: name.clone(), source })?;
    Ok(Baseline::parse(&name, &text)?)
}

fn from_manifests(arguments: &Arguments) -> Result<Snapshot, Error> {
    let manifests = Manifests::load(&arguments.filenames, "default")?;
    for note in manifests.skipped() {
        eprintln!("note: {}", one_line(&note));
    }
    let queues = manifests.lay_over_queues(BTreeMap::new(), clock::now());
    let mut snapshot = Snapshot { queues, operator_role: arguments.operator_role_arn.clone(), ..Snapshot::default() };
    manifests.lay_over(&mut snapshot);
    Ok(snapshot)
}

async fn from_cluster(arguments: &Arguments, accounts: &Accounts) -> Result<Snapshot, Error> {
    let (client, _) = explain::connect(arguments.context.as_deref()).await?;
    let mut snapshot = cluster::all(&client, None, arguments.operator_role_arn.clone()).await?;
    let (tenants, _) = cluster::tenants_and_id(&client).await?;
    snapshot.tenants.extend(tenants.into_iter().map(|tenant| (tenant.name_any(), tenant)));
    if let Some(cluster) = &arguments.eks_cluster_name {
        super::pod_identity::associate(&mut snapshot, &accounts.pod_identity(cluster)).await?;
    }
    let unnamed = snapshot.tenants.values().find(|tenant| tenant.spec.aws.role_arn.is_none());
    if let (None, Some(tenant)) = (&snapshot.operator_role, unnamed) {
        // Where it cannot be told, who administers those tenants' keys is not compared.
        snapshot.operator_role = accounts.operator_role(&account_key(tenant, None)).await.ok();
    }
    Ok(snapshot)
}

/// The accounts and Regions to look at, and the ways into them.
async fn targets(arguments: &Arguments, snapshot: &Snapshot, accounts: &Accounts) -> Result<Vec<AccountKey>, Error> {
    if let Some(missing) = arguments.tenants.iter().find(|name| !snapshot.tenants.contains_key(*name)) {
        return Err(Error::NoTenant(missing.clone()));
    }
    if snapshot.tenants.is_empty() {
        return if arguments.offline { own(arguments, accounts).await } else { Err(Error::NoTenants) };
    }
    let meant = |tenant: &&Tenant| arguments.tenants.is_empty() || arguments.tenants.contains(&tenant.name_any());
    let tenants: Vec<&Tenant> = snapshot.tenants.values().filter(meant).collect();
    let has = |region: &String| tenants.iter().any(|tenant| tenant.spec.aws.regions.contains(region));
    if let Some(unknown) = arguments.regions.iter().find(|region| !has(region)) {
        return Err(Error::NoSuchRegion(unknown.clone()));
    }
    let wanted = |region: &&String| arguments.regions.is_empty() || arguments.regions.contains(region);
    let regions = tenants.iter().flat_map(|tenant| tenant.spec.aws.regions.iter().filter(wanted).map(|region| account_key(tenant, Some(region))));
    Ok(regions.collect())
}

/// The account of the credentials at hand.
async fn own(arguments: &Arguments, accounts: &Accounts) -> Result<Vec<AccountKey>, Error> {
    let (account, region) = accounts.own().await?;
    let regions = if arguments.regions.is_empty() { region.into_iter().collect() } else { arguments.regions.clone() };
    if regions.is_empty() {
        return Err(Error::NoRegion);
    }
    let key = |region: String| AccountKey {
        account_id: account.clone(),
        partition: Partition::of_region(&region),
        region,
        role_arn: None,
        external_id: None,
    };
    Ok(regions.into_iter().map(key).collect())
}
