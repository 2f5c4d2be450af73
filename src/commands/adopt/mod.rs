//! `encrypted-queue adopt`: manifests for queues that exist, or the queues of a cluster that is gone for the one that took its place.

mod cluster;
mod found;
mod manifests;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::explain;
use super::plan::LoadError;
use super::reader::Reader;
use crate::aws::AwsError;
use crate::names::RoleArn;

/// Arguments of `encrypted-queue adopt`.
#[derive(clap::Args, Clone, Debug)]
#[command(
    about = "Write manifests for queues that exist, or give those of a cluster that is gone to this one",
    long_about = "Writes an EncryptedQueue for every queue of an account and Region, or of those named, that nobody owns and nothing declares: settings as they \
        are; producers, consumers, observers and redrivers from the policies of the queue, its dead-letter queue and its key; tenant and tier guessed from \
        tags, and marked so. What a declaration cannot say stands in comments: LOST for access that it does not give, WIDER for access that it gives \
        beyond. What Tenants must admit first is said at the end. Nothing is changed: read the manifests, then encrypted-queue plan -f, then apply.\n\n\
        Asked are the accounts of the Tenants, of the cluster or of -f, or else the one of the credentials.\n\n\
        With --from-cluster, the queues and keys of those accounts that by their tags belong to another cluster are given to this one instead, so that the \
        same EncryptedQueues, applied here, find them again: keys get this cluster's alias, and both its tag. Nobody's access changes, and no message is \
        touched. The other cluster must be gone: an operator that still runs there would call it drift.",
    after_help = "Exit status: 0 if all went well; 3 if manifests were written and some account did not answer; 1 if not all could be adopted, if you said no, \
        or the cluster or AWS refused; 2 for wrong arguments."
)]
pub struct Arguments {
    /// Queues, by their names in AWS [default: all]
    #[arg(value_name = "NAME", conflicts_with = "from_cluster")]
    pub names: Vec<String>,
    /// Tenants and SensitivityTiers, as files or folders, instead of the cluster's; queues declared there are left out
    #[arg(short, long = "filename", value_name = "PATH", num_args = 1.., conflicts_with = "from_cluster")]
    pub filenames: Vec<PathBuf>,
    /// Ask no cluster: the account of the credentials, and what -f holds, are all there is
    #[arg(long, conflicts_with = "from_cluster")]
    pub offline: bool,
    /// Folder for the manifests, a file each; none that is there is overwritten [default: standard output]
    #[arg(short, long, value_name = "PATH", conflicts_with = "from_cluster")]
    pub directory: Option<PathBuf>,
    /// Regions [default: those of the Tenants, else that of the credentials]
    #[arg(long = "region", value_name = "REGION", conflicts_with = "from_cluster")]
    pub regions: Vec<String>,
    /// Tenant of queues whose tags and names tell none
    #[arg(long, value_name = "NAME", conflicts_with = "from_cluster")]
    pub default_tenant: Option<String>,
    /// SensitivityTier of queues whose tags tell none
    #[arg(long, value_name = "NAME", conflicts_with = "from_cluster")]
    pub default_tier: Option<String>,
    /// Namespace of the manifests [default: the first that the Tenant names, else the Tenant's name]
    #[arg(short, long, conflicts_with = "from_cluster")]
    pub namespace: Option<String>,
    /// Id of the cluster that is gone: the tag encryptedqueue.dev/cluster of its queues and keys
    #[arg(long, value_name = "ID", conflicts_with = "reader_role_name")]
    pub from_cluster: Option<String>,
    /// Id of this cluster in AWS tags and aliases [default: the UID of kube-system]
    #[arg(long, env = "ENCRYPTED_QUEUE_CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// Tenants whose accounts are meant [default: all]
    #[arg(long = "tenant", value_name = "NAME")]
    pub tenants: Vec<String>,
    /// With --from-cluster: do it without asking
    #[arg(short, long, requires = "from_cluster", conflicts_with = "dry_run")]
    pub yes: bool,
    /// With --from-cluster: only show what would be done
    #[arg(long, requires = "from_cluster")]
    pub dry_run: bool,
    /// The operator's own role, for tenants that name no role to assume [default: asked of AWS]
    #[arg(long, value_name = "ARN", env = "ENCRYPTED_QUEUE_OPERATOR_ROLE_ARN", value_parser = RoleArn::parse)]
    pub operator_role_arn: Option<RoleArn>,
    /// Who asks AWS.
    #[command(flatten)]
    pub reader: Reader,
    /// Context of the kubeconfig
    #[arg(long)]
    pub context: Option<String>,
    /// Format of the answer: for people, which is YAML for manifests, or JSON
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// Formats.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// For people.
    #[value(alias = "yaml")]
    Table,
    /// For programs.
    Json,
}

/// Why nothing, or not all, was adopted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No cluster, or no answer.
    #[error(transparent)]
    Cluster(#[from] explain::Error),
    /// The namespace kube-system, whose UID names the cluster, cannot be read.
    #[error("namespace kube-system has no UID; name the cluster with --cluster-id")]
    NoClusterId,
    /// It is the same cluster.
    #[error("--from-cluster {0} is this cluster: nothing needs to be adopted")]
    SameCluster(String),
    /// There is no such tenant.
    #[error("--tenant {0}: there is no such Tenant; apply it first")]
    NoTenant(String),
    /// There is no such queue.
    #[error("{0}: there is no such queue in the accounts and Regions that were asked")]
    NoQueue(String),
    /// AWS refused or did not answer.
    #[error("AWS: {0}")]
    Aws(#[from] AwsError),
    /// Nobody can be asked.
    #[error("nothing was changed: this is not a terminal, where you could be asked; --yes adopts what is shown above")]
    NotATerminal,
    /// The answer was no.
    #[error("nothing was changed")]
    Declined,
    /// Some could not be adopted.
    #[error("{0} of {1} could not be adopted; what is said above tells why, and the command can be run again")]
    Partly(usize, usize),
    /// A manifest cannot be written.
    #[error("cannot write {path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The terminal or standard output fails.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the command on a runtime of its own.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match &arguments.from_cluster {
        Some(from) => runtime.block_on(cluster::execute(arguments, from)).map(|()| ExitCode::SUCCESS),
        None => runtime.block_on(manifests::execute(arguments)),
    }
}
