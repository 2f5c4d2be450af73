//! `encrypted-queue approve`: shows who would gain and lose access, and makes the AccessApproval.

mod proposal;

use std::io::{self, Write};
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;
use kube::Client;
use kube::config::KubeConfigOptions;
use serde_json::json;

use crate::api::queue_key::NamespacedName;

pub use proposal::{Proposal, Request, create, propose};

/// How long the cluster may take for an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Arguments of `encrypted-queue approve`.
#[derive(clap::Args, Clone, Debug)]
#[command(
    about = "Show who would gain and lose access, and approve it",
    long_about = "Shows which access waits on a QueueKey, who would gain and who loses what, and approves exactly that: it makes an AccessApproval in your \
        name. What is declared afterwards waits again.\n\n\
        It takes the ClusterRole encrypted-queue-approver. The admission policy access-approvals refuses whoever may edit the queue.",
    after_help = "Exit status: 0 if the approval is made (with --dry-run: printed); 1 if nothing was approved, since nothing waits, it is approved \
        already, you said no, or the cluster refused; 2 for wrong arguments."
)]
pub struct Arguments {
    /// The QueueKey: its name, or queuekey/NAME
    #[arg(value_name = "KEY", value_parser = key_name)]
    pub key: String,
    /// The EncryptedQueue whose access is meant, if that of several waits
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = queue_name)]
    pub queue: Option<NamespacedName>,
    /// Why, such as the number of the change request
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub reason: String,
    /// Approve without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Only print the AccessApproval, for a repository that GitOps applies
    #[arg(long)]
    pub dry_run: bool,
    /// Who approves [default: you, as the cluster knows you]
    #[arg(long, value_name = "USER", value_parser = NonEmptyStringValueParser::new())]
    pub approved_by: Option<String>,
    /// Context of the kubeconfig
    #[arg(long)]
    pub context: Option<String>,
    /// Format of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Formats.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// For people; with --dry-run the manifest as YAML.
    Text,
    /// For programs: the approval, gains and losses; with --dry-run the manifest.
    Json,
}

/// Why nothing was approved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cluster to ask.
    #[error("no cluster to ask: {0}")]
    Configuration(String),
    /// No such key.
    #[error("QueueKey {0} does not exist (kubectl get queuekeys lists them)")]
    NoKey(String),
    /// The cluster does not know the kinds.
    #[error("the cluster knows no QueueKeys: install the CustomResourceDefinitions first (encrypted-queue crds | kubectl apply --server-side -f -)")]
    NotInstalled,
    /// No access waits.
    #[error("no access waits for an approval on QueueKey {key}: {state}")]
    NothingWaits {
        /// The key.
        key: String,
        /// How it stands.
        state: String,
    },
    /// The access of this queue does not wait.
    #[error("no access to EncryptedQueue {queue} waits on QueueKey {key}, but to {}", .waiting.join(", "))]
    QueueDoesNotWait {
        /// The key.
        key: String,
        /// The queue asked for.
        queue: NamespacedName,
        /// Those that wait.
        waiting: Vec<String>,
    },
    /// It is not clear which access is meant.
    #[error("access to several queues waits on QueueKey {key}; name one with --queue: {}", .waiting.join(", "))]
    SeveralWait {
        /// The key.
        key: String,
        /// Those that wait.
        waiting: Vec<String>,
    },
    /// Somebody approved it before.
    #[error("this access is approved already: AccessApproval {name} by {by}, {state}")]
    AlreadyApproved {
        /// The approval.
        name: String,
        /// Who approved.
        by: String,
        /// What became of it.
        state: String,
    },
    /// The cluster does not tell who asks.
    #[error("the cluster does not tell who you are ({0}): say so with --approved-by USER, the name by which the cluster knows you")]
    Requester(String),
    /// Nobody can be asked.
    #[error("nothing was approved: this is not a terminal, where you could be asked; --yes approves what is shown above")]
    NotATerminal,
    /// The answer was no.
    #[error("nothing was approved")]
    Declined,
    /// RBAC refuses.
    #[error("you may not {what}; the ClusterRole {role} lets you: {message}")]
    Forbidden {
        /// What.
        what: String,
        /// A role that allows it.
        role: &'static str,
        /// The cluster's words.
        message: String,
    },
    /// An admission policy refuses.
    #[error("the approval is refused: {0}")]
    Denied(String),
    /// The cluster refuses otherwise, or does not answer.
    #[error("cannot {what}: {source}")]
    Cluster {
        /// What.
        what: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// The terminal or standard output fails.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The manifest has no such form.
    #[error("cannot write the answer: {0}")]
    Format(String),
}

/// Runs the command on a runtime of its own.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(execute(arguments))
}

/// Approves in the cluster that the arguments name.
pub async fn execute(arguments: &Arguments) -> Result<(), Error> {
    let client = connect(arguments.context.as_deref()).await?;
    let Arguments { key, queue, reason, approved_by, .. } = arguments;
    let request = Request { key: key.clone(), queue: queue.clone(), reason: reason.clone(), approved_by: approved_by.clone() };
    let proposal = propose(&client, &request).await?;
    let text = proposal.text(crate::clock::now());
    if arguments.dry_run {
        io::stderr().write_all(text.as_bytes())?;
        return print(&manifest(&proposal, arguments.output)?);
    }
    match arguments.output {
        Output::Text => print(&text)?,
        Output::Json => io::stderr().write_all(text.as_bytes())?,
    }
    if !arguments.yes {
        confirm(&proposal.approval.spec.approved_by)?;
    }
    let approval = create(&client, &proposal).await?;
    let name = approval.metadata.name.as_deref().unwrap_or_default();
    match arguments.output {
        Output::Text => print(&format!("AccessApproval {name} is made; kubectl get accessapproval {name} shows when it is applied\n")),
        Output::Json => {
            let Proposal { approval: _, pending, key_arn } = &proposal;
            let answer = json!({"approval": approval, "keyArn": key_arn, "requestedAt": pending.requested_at, "gains": pending.gains, "losses": pending.losses});
            print(&json_text(&answer)?)
        }
    }
}

fn confirm(approved_by: &str) -> Result<(), Error> {
    match super::confirmed(&format!("Approve this as {approved_by}?"))? {
        Some(true) => Ok(()),
        Some(false) => Err(Error::Declined),
        None => Err(Error::NotATerminal),
    }
}

fn manifest(proposal: &Proposal, output: Output) -> Result<String, Error> {
    match output {
        Output::Json => json_text(&proposal.approval),
        Output::Text => serde_saphyr::to_string(&proposal.approval).map_err(|error| Error::Format(error.to_string())),
    }
}

fn json_text(value: &impl serde::Serialize) -> Result<String, Error> {
    Ok(serde_json::to_string_pretty(value).map_err(|error| Error::Format(error.to_string()))? + "\n")
}

fn print(text: &str) -> Result<(), Error> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

async fn connect(context: Option<&str>) -> Result<Client, Error> {
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
    Client::try_from(config).map_err(|error| Error::Configuration(error.to_string()))
}

/// The name in `queuekey/NAME`, by any of the kind's names.
fn key_name(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        None => text,
        Some(("key" | "qk" | "queuekey" | "queuekeys", name)) => name,
        Some((kind, _)) => return Err(format!("{kind} is not a key: expected the name of a QueueKey")),
    };
    if name.is_empty() || name.contains('/') { Err("expected the name of a QueueKey".to_owned()) } else { Ok(name.to_owned()) }
}

fn queue_name(text: &str) -> Result<NamespacedName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(NamespacedName { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err("expected NAMESPACE/NAME of an EncryptedQueue".to_owned()),
    }
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

    #[test]
    fn a_key_and_a_reason_are_asked_for() {
        Cli::command().debug_assert();
        let parsed = |arguments: &[&str]| Cli::try_parse_from(std::iter::once(&"approve").chain(arguments)).map(|cli| cli.arguments);
        for key in ["orders-1", "qk/orders-1", "queuekey/orders-1"] {
            assert_eq!(parsed(&[key, "--reason", "CHG-1"]).unwrap().key, "orders-1");
        }
        let queue = parsed(&["orders-1", "--reason", "CHG-1", "--queue", "acme-prod/orders"]).unwrap().queue.unwrap();
        assert_eq!((queue.namespace.as_str(), queue.name.as_str()), ("acme-prod", "orders"));
        let refused: [&[&str]; 6] = [
            &["orders-1"],
            &["orders-1", "--reason", ""],
            &["--reason", "CHG-1"],
            &["tenant/acme", "--reason", "CHG-1"],
            &["orders-1", "--reason", "CHG-1", "--queue", "orders"],
            &["orders-1", "--reason", "CHG-1", "--approved-by", ""],
        ];
        for arguments in refused {
            assert!(parsed(arguments).is_err(), "{arguments:?}");
        }
    }
}
