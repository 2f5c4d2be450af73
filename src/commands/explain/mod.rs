//! `encrypted-queue explain`: who can do what with a queue, and by which statement.

pub(super) mod cluster;

use std::io::{self, Write};
use std::time::Duration;

use clap::ValueEnum;
use kube::Client;
use kube::config::KubeConfigOptions;
use schemars::{JsonSchema, schema_for};
use serde::Serialize;

use crate::api::queue_key::NamespacedName;
use crate::aws::{Accounts, AwsError, PodIdentity, Settings};
use crate::explain::{Asked, Explainer, QueueReport, RoleReport, Snapshot, principal_text, queue_text};
use crate::names::RoleArn;

/// How long the cluster may take for an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `encrypted-queue explain`.
#[derive(clap::Args, Clone, Debug)]
#[command(
    about = "Tell who can send, receive, decrypt and administer, and by which statement",
    long_about = "Tells who can send, receive, decrypt and administer, by which statement of which policy, and which field declares it.\n\n\
        It reads the EncryptedQueue, its Tenant, SensitivityTier and all else that bears upon it from the cluster, and computes the policies as the \
        operator does. AWS is not asked, but EKS if its cluster is named.",
    after_help = "Exit status: 0 if there is an answer, also about a declaration that is refused (the answer says why, field by field); 1 if the object does \
        not exist or the cluster does not answer; 2 for wrong arguments."
)]
pub struct Arguments {
    /// The EncryptedQueue: queue/NAME, or just NAME
    #[arg(value_name = "queue/NAME", value_parser = queue_name, required_unless_present_any = ["principal", "schema"], conflicts_with = "principal")]
    pub queue: Option<String>,
    /// What can this principal do? ARN of a role, of a role's session, of an account's root, or of the topic, bucket or rule a service acts for;
    /// over all EncryptedQueues of the cluster, or of the namespace given
    #[arg(long, value_name = "ARN")]
    pub principal: Option<Asked>,
    /// Namespace of the EncryptedQueue [default: that of the kubeconfig's context]
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Context of the kubeconfig
    #[arg(long)]
    pub context: Option<String>,
    /// Format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// The operator's own role, for tenants that name no role to assume
    #[arg(long, value_name = "ARN", env = "ENCRYPTED_QUEUE_OPERATOR_ROLE_ARN", value_parser = RoleArn::parse)]
    pub operator_role_arn: Option<RoleArn>,
    /// EKS cluster whose Pod Identity associations give ServiceAccounts their roles, as the operator has it; EKS is asked for them
    #[arg(long, env = "ENCRYPTED_QUEUE_EKS_CLUSTER_NAME")]
    pub eks_cluster_name: Option<String>,
    /// Print the JSON Schema of what -o json answers, and nothing else
    #[arg(long, exclusive = true)]
    pub schema: bool,
}

/// What `-o json` answers.
#[derive(JsonSchema, Serialize)]
#[serde(untagged)]
#[schemars(title = "Answer of encrypted-queue explain", description = "About a queue, or with --principal about a principal.")]
enum Answer {
    Queue(Box<QueueReport>),
    Principal(RoleReport),
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
    /// There is no cluster to ask.
    #[error("no cluster to ask: {0}")]
    Configuration(String),
    /// No such object.
    #[error("EncryptedQueue {} does not exist in namespace {} (-n names another namespace)", .0.name, .0.namespace)]
    NotFound(NamespacedName),
    /// The cluster does not know the kinds.
    #[error(
        "the cluster knows no EncryptedQueues: install the CustomResourceDefinitions first (encrypted-queue crds | kubectl apply --server-side -f -)"
    )]
    NotInstalled,
    /// You may not read it.
    #[error("you may not read {what}: {message}")]
    Forbidden {
        /// What.
        what: String,
        /// The cluster's words.
        message: String,
    },
    /// The cluster refused.
    #[error("cannot read {what}: {source}")]
    Refused {
        /// What.
        what: String,
        /// Its words.
        source: Box<kube::Error>,
    },
    /// No answer.
    #[error("the cluster did not answer when asked for {what}: {source}")]
    NoAnswer {
        /// What.
        what: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// EKS refused or did not answer.
    #[error("AWS: {0} (without --eks-cluster-name annotations alone count)")]
    Aws(#[from] AwsError),
    /// The answer could not be written.
    #[error("cannot write the answer: {0}")]
    Write(#[from] io::Error),
    /// The answer has no form in JSON.
    #[error("cannot write the answer as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Runs the command on a runtime of its own.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(execute(arguments))
}

/// Asks the cluster that the arguments name and writes the answer to standard output.
pub async fn execute(arguments: &Arguments) -> Result<(), Error> {
    let answer = answer(arguments).await?;
    match io::stdout().write_all(answer.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

async fn answer(arguments: &Arguments) -> Result<String, Error> {
    let Arguments { queue, principal, namespace, context, output, operator_role_arn, eks_cluster_name, schema } = arguments;
    if *schema {
        return json(&schema_for!(Answer));
    }
    let (client, default_namespace) = connect(context.as_deref()).await?;
    let pod_identity = match eks_cluster_name {
        Some(cluster) => Some(Accounts::connect(Settings::default()).await?.pod_identity(cluster)),
        None => None,
    };
    let known = Known { operator_role: operator_role_arn.clone(), pod_identity };
    if let Some(asked) = principal {
        let report = explain_principal(&client, namespace.as_deref(), asked, known).await?;
        return if *output == Output::Json { json(&Answer::Principal(report)) } else { Ok(principal_text(&report)) };
    }
    let name = queue.clone().unwrap_or_default();
    let name = NamespacedName { namespace: namespace.clone().unwrap_or(default_namespace), name };
    let report = explain_queue(&client, &name, known).await?;
    if *output == Output::Json { json(&Answer::Queue(Box::new(report))) } else { Ok(queue_text(&report)) }
}

/// What the cluster does not tell.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The operator's own role, for tenants that name no role to assume.
    pub operator_role: Option<RoleArn>,
    /// Where ServiceAccounts' Pod Identity associations are.
    pub pod_identity: Option<PodIdentity>,
}

impl Known {
    async fn add_to(&self, snapshot: &mut Snapshot) -> Result<(), Error> {
        match &self.pod_identity {
            Some(source) => Ok(super::pod_identity::associate(snapshot, source).await?),
            None => Ok(()),
        }
    }
}

/// Who can do what with a queue of the cluster.
pub async fn explain_queue(client: &Client, name: &NamespacedName, known: Known) -> Result<QueueReport, Error> {
    let mut snapshot = cluster::one(client, name, known.operator_role.clone()).await?;
    known.add_to(&mut snapshot).await?;
    Explainer::new(&snapshot).explain(name).ok_or_else(|| Error::NotFound(name.clone()))
}

/// What a principal can do with the queues of the cluster, or of a namespace.
pub async fn explain_principal(client: &Client, namespace: Option<&str>, asked: &Asked, known: Known) -> Result<RoleReport, Error> {
    let mut snapshot = cluster::all(client, namespace, known.operator_role.clone()).await?;
    known.add_to(&mut snapshot).await?;
    let explainer = Explainer::new(&snapshot);
    let names = snapshot.queues.keys().filter(|name| namespace.is_none_or(|namespace| name.namespace == namespace));
    let queues: Vec<_> = names.filter_map(|name| explainer.explain(name)).collect();
    Ok(asked.report(&queues))
}

/// A client for the context, and the context's namespace.
pub(super) async fn connect(context: Option<&str>) -> Result<(Client, String), Error> {
    let config = match context {
        None => kube::Config::infer().await.map_err(|error| Error::Configuration(error.to_string())),
        Some(context) => {
            let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
            kube::Config::from_kubeconfig(&options).await.map_err(|error| Error::Configuration(error.to_string()))
        }
    };
    let mut config = config?;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| Error::Configuration(error.to_string()))?;
    Ok((client, namespace))
}

pub(super) fn json(report: &impl serde::Serialize) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(report)? + "\n")
}

/// The name in `queue/NAME`, by any of the kind's names.
fn queue_name(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        None => text,
        Some(("queue" | "eq" | "encryptedqueue" | "encryptedqueues", name)) => name,
        Some((kind, _)) => return Err(format!("{kind} is not a queue: expected queue/NAME (-n names the namespace)")),
    };
    if name.is_empty() || name.contains('/') { Err("expected queue/NAME".to_owned()) } else { Ok(name.to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Cli::try_parse_from(std::iter::once(&"explain").chain(arguments)).map(|cli| cli.arguments)
    }

    #[test]
    fn a_queue_or_a_principal_is_asked_for() {
        Cli::command().debug_assert();
        for text in ["orders", "queue/orders", "eq/orders", "encryptedqueues/orders"] {
            assert_eq!(parsed(&[text]).unwrap().queue.as_deref(), Some("orders"), "{text}");
        }
        let role = "arn:aws:iam::123456789012:role/acme-orders";
        assert!(parsed(&["--principal", role, "-n", "acme-prod"]).unwrap().principal.is_some());
        let refused: [&[&str]; 7] = [
            &[],
            &["tenant/acme"],
            &["queue/"],
            &["queue/a/b"],
            &["--principal", "maria"],
            &["orders", "--principal", role],
            &["orders", "--operator-role-arn", "arn:aws:sts::123456789012:assumed-role/x/y"],
        ];
        for arguments in refused {
            assert!(parsed(arguments).is_err(), "{arguments:?}");
        }
    }
}
