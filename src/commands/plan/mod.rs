//! `encrypted-queue plan`: what would change in AWS if manifests were applied, and who gains and loses what.

mod manifests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use schemars::schema_for;

pub use self::manifests::{LoadError, Manifests};
use super::explain::{self, cluster, json};
use super::reader::Reader;
use crate::api::Tenant;
use crate::api::queue_key::NamespacedName;
use crate::aws::{Accounts, AwsError};
use crate::clock;
use crate::controller::{account_key, usable_of};
use crate::explain::Snapshot;
use crate::names::{RoleArn, sha256_hex};
use crate::plan::effect::{KeyEffect, QueueEffect};
use crate::plan::{KeyAction, SearchWindow};
use crate::preview::{PlanReport, Preview, PreviewInput, Question, one_line, plan_markdown, plan_text};

/// As `run` has it by default.
const WINDOW: SearchWindow = SearchWindow(SignedDuration::from_mins(6));

/// Formats.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs; --schema tells its form.
    Json,
    /// For a comment on a pull request.
    Markdown,
}

/// Arguments of `encrypted-queue plan`.
#[derive(clap::Args, Clone, Debug)]
#[command(
    about = "Tell what would change in AWS if manifests were applied, and who gains and loses access",
    long_about = "Tells what the operator would make, change and remove in AWS if these manifests were applied, in which order, and who gains and \
        loses what.\n\n\
        EncryptedQueues, Tenants, SensitivityTiers, Namespaces and ServiceAccounts of the input are laid over those of the cluster; queues of the \
        cluster that a Tenant or SensitivityTier of the input bears upon are planned too. What is in AWS is read as the operator reads it, and nothing \
        is written anywhere. Documents of other kinds are skipped.\n\n\
        The schema's own rules (patterns, ranges, CEL) are the API server's to check: kubectl apply --dry-run=server.",
    after_help = "Exit status: 0 if nothing would change; 2 if something would change or wait for an approval; 1 if a declaration is refused (the answer \
        says why, field by field) or cannot be carried out before a person acts (a queue of its name is someone else's, say), if a manifest is \
        malformed, or if the cluster or AWS does not answer. Wrong arguments end with 2 too, and a message on standard error alone."
)]
pub struct Arguments {
    /// File or folder of manifests, or - for standard input (kustomize build … | encrypted-queue plan -f -)
    #[arg(short, long = "filename", value_name = "PATH", required_unless_present = "schema", num_args = 1..)]
    pub filenames: Vec<PathBuf>,
    /// Ask neither cluster nor AWS: the manifests are all there is, and in AWS nothing is
    #[arg(long)]
    pub offline: bool,
    /// Compare with AWS also where the operator's record says that nothing differs
    #[arg(long, conflicts_with = "offline")]
    pub check: bool,
    /// Format of the answer
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Context of the kubeconfig
    #[arg(long)]
    pub context: Option<String>,
    /// Namespace of objects that name none [default: that of the kubeconfig's context; offline: default]
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Id of the cluster in AWS tags and aliases [default: the UID of kube-system]
    #[arg(long, env = "ENCRYPTED_QUEUE_CLUSTER_ID")]
    pub cluster_id: Option<String>,
    /// The operator's own role, for tenants that name no role to assume [default: asked of AWS]
    #[arg(long, value_name = "ARN", env = "ENCRYPTED_QUEUE_OPERATOR_ROLE_ARN", value_parser = RoleArn::parse)]
    pub operator_role_arn: Option<RoleArn>,
    /// Who asks AWS.
    #[command(flatten)]
    pub reader: Reader,
    /// EKS cluster whose Pod Identity associations give ServiceAccounts their roles, as the operator has it; not asked with --offline
    #[arg(long, env = "ENCRYPTED_QUEUE_EKS_CLUSTER_NAME")]
    pub eks_cluster_name: Option<String>,
    /// Print the JSON Schema of what -o json answers, and nothing else
    #[arg(long, exclusive = true)]
    pub schema: bool,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// No cluster, or no answer.
    #[error("{0} (--offline plans the manifests alone)")]
    Cluster(#[from] explain::Error),
    /// The namespace kube-system, whose UID names the cluster, cannot be read.
    #[error("namespace kube-system has no UID; name the cluster with --cluster-id")]
    NoClusterId,
    /// AWS refused or did not answer.
    #[error("AWS: {0} (--offline plans the manifests alone)")]
    Aws(#[from] AwsError),
    /// The answer could not be written.
    #[error("cannot write the answer: {0}")]
    Write(#[from] io::Error),
}

/// Runs the command on a runtime of its own.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    if arguments.schema {
        write(&json(&schema_for!(PlanReport))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(plan(arguments))?;
    let text = match arguments.output {
        Format::Table => plan_text(&report),
        Format::Json => json(&report)?,
        Format::Markdown => plan_markdown(&report),
    };
    write(&text)?;
    Ok(ExitCode::from(report.exit_code()))
}

/// Writes an answer to standard output.
pub(super) fn write(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The plan that the arguments ask for.
pub async fn plan(arguments: &Arguments) -> Result<PlanReport, Error> {
    let now = clock::now();
    if arguments.offline {
        let manifests = load(arguments, "default")?;
        return Ok(offline(&manifests, arguments.operator_role_arn.as_ref(), arguments.cluster_id.as_deref(), now));
    }
    let (client, namespace) = explain::connect(arguments.context.as_deref()).await?;
    let manifests = load(arguments, &namespace)?;
    let mut snapshot = cluster::laid_over(&client, |queues| manifests.lay_over_queues(queues, now)).await?;
    let queues = manifests.lay_over(&mut snapshot);
    let (approvals, id) = cluster::approvals_and_id(&client).await?;
    let cluster_id = arguments.cluster_id.clone().or(id).ok_or(Error::NoClusterId)?;
    let accounts = arguments.reader.connect(arguments.operator_role_arn.as_ref()).await?;
    if let Some(cluster) = &arguments.eks_cluster_name {
        super::pod_identity::associate(&mut snapshot, &accounts.pod_identity(cluster)).await?;
    }
    let mut operator_roles = BTreeMap::new();
    for (name, tenant) in planned_tenants(&snapshot, &queues) {
        operator_roles.insert(name.clone(), accounts.operator_role(&account_key(tenant, None)).await?);
    }
    let names = approvals.iter().map(|approval| &approval.spec.queue_key);
    let approvals = names.map(|key| (key.clone(), usable_of(&approvals, key, now))).collect();
    let tenants = snapshot.tenants.clone();
    let input = PreviewInput { snapshot, queues, cluster_id, operator_roles, approvals, window: WINDOW, check: arguments.check };
    let mut preview = Preview::new(input);
    while let Some(question) = preview.advance(now) {
        Box::pin(ask(&mut preview, &question, &accounts, &tenants, now)).await?;
    }
    Ok(preview.report(false, Vec::new()))
}

fn load(arguments: &Arguments, namespace: &str) -> Result<Manifests, Error> {
    let manifests = Manifests::load(&arguments.filenames, arguments.namespace.as_deref().unwrap_or(namespace))?;
    for note in manifests.skipped() {
        eprintln!("note: {}", one_line(&note));
    }
    Ok(manifests)
}

/// Tenants of the queues to plan, as far as they exist.
fn planned_tenants<'a>(snapshot: &'a Snapshot, queues: &BTreeSet<NamespacedName>) -> BTreeMap<&'a String, &'a Tenant> {
    let named = queues.iter().filter_map(|name| Some(&snapshot.queues.get(name)?.spec.tenant));
    named.filter_map(|name| snapshot.tenants.get_key_value(name)).collect()
}

/// Reads from AWS as the controller does.
async fn ask(
    preview: &mut Preview,
    question: &Question,
    accounts: &Accounts,
    tenants: &BTreeMap<String, Tenant>,
    now: Timestamp,
) -> Result<(), AwsError> {
    let (Question::Queues { tenant, region, .. } | Question::Key { tenant, region, .. }) = question;
    let Some(tenant) = tenants.get(tenant) else { return Ok(()) };
    let clients = accounts.clients(&account_key(tenant, Some(region))).await?;
    match question {
        Question::Queues { action, .. } => {
            let effect = clients.observe_queues(action).await?.unwrap_or(QueueEffect::Done);
            preview.answer_queues(action, effect, now);
        }
        Question::Key { action, .. } => {
            let effect = clients.observe_key(action).await?.unwrap_or(KeyEffect::Done);
            preview.answer_key(action, effect, now);
        }
    }
    Ok(())
}

/// The plan of manifests that are all there is.
pub fn offline(manifests: &Manifests, operator_role: Option<&RoleArn>, cluster_id: Option<&str>, now: Timestamp) -> PlanReport {
    let (snapshot, queues) = manifests.alone(now);
    let mut notes = vec!["neither the cluster nor AWS was asked: all that the manifests do not hold is taken to be absent".to_owned()];
    let mut operator_roles = BTreeMap::new();
    for (name, tenant) in planned_tenants(&snapshot, &queues) {
        let named = tenant.spec.aws.role_arn.as_deref().and_then(|arn| RoleArn::parse(arn).ok()).or_else(|| operator_role.cloned());
        let place = crate::desired::place_of(tenant, None);
        let stand_in = || {
            let role = format!("arn:{}:iam::{}:role/encrypted-queue-operator", place.partition, place.account);
            notes.push(format!("Tenant {} names no role to assume: {role} stands for the operator's own (--operator-role-arn)", tenant.name_any()));
            RoleArn::parse(&role).ok()
        };
        operator_roles.extend(named.or_else(stand_in).map(|role| (name.clone(), role)));
    }
    let id = cluster_id.unwrap_or_default().to_owned();
    let unknown_alias = format!("alias/encryptedqueue/{}/", &sha256_hex(&id)[..8]);
    let input = PreviewInput { snapshot, queues, cluster_id: id, operator_roles, approvals: BTreeMap::new(), window: WINDOW, check: false };
    let mut preview = Preview::new(input);
    while let Some(question) = preview.advance(now) {
        match question {
            Question::Queues { action, .. } => preview.answer_queues(&action, QueueEffect::Queues { source: None, dead_letter: None }, now),
            Question::Key { action, .. } => preview.answer_key(&action, nothing(&action), now),
        }
    }
    let mut report = preview.report(true, notes);
    if cluster_id.is_none() {
        for action in report.objects.iter_mut().flat_map(|object| &mut object.actions) {
            action.text = action.text.replace(&unknown_alias, "alias/encryptedqueue/CLUSTER/");
        }
    }
    report
}

/// The answer of an account that holds nothing.
fn nothing(action: &KeyAction) -> KeyEffect {
    match action {
        KeyAction::FindByAlias { .. } => KeyEffect::ByAlias(None),
        KeyAction::FindByTags { .. } => KeyEffect::ByTags(Vec::new()),
        KeyAction::ReadKey { .. } => KeyEffect::Key(None),
        KeyAction::ReadRotations { .. } => KeyEffect::Rotations(Vec::new()),
        KeyAction::FindQueuesUnderKey { .. } => KeyEffect::QueuesUnderKey(Vec::new()),
        _ => KeyEffect::Done,
    }
}
