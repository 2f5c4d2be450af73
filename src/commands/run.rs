//! `encrypted-queue run`: the controllers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Namespace;
use kube::core::Selector;
use kube::{Api, Client, ResourceExt};
use tokio::signal::unix::{SignalKind, signal};

use crate::aws::{Accounts, Rates, Settings};
use crate::controller::leader::{Leadership, LeaseSettings};
use crate::controller::{self, ControllerSettings, Parts};
use crate::names::{InvalidName, RoleArn};
use crate::plan::SearchWindow;
use crate::telemetry::http::{BindError, Health, Server};
use crate::telemetry::logging::{self, LogFormat, LoggingError};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::otlp::{self, Endpoint, TracesError};

/// For what is left of the process's tasks when everything that matters has ended.
const STOP_WITHIN: Duration = Duration::from_millis(500);

/// Arguments of `run`; each also as environment variable `ENCRYPTED_QUEUE_…`, but for the one that OpenTelemetry has a name for.
#[derive(clap::Args, Clone, Debug)]
pub struct Arguments {
    /// Id of this cluster in AWS tags and aliases [default: the UID of kube-system]
    #[arg(long, env = "ENCRYPTED_QUEUE_CLUSTER_ID")]
    cluster_id: Option<String>,
    /// ARN of the IAM role the operator runs as, path included [default: asked of AWS]
    #[arg(long, env = "ENCRYPTED_QUEUE_OPERATOR_ROLE_ARN", value_parser = parse_role)]
    operator_role_arn: Option<RoleArn>,
    /// How often every object is compared with AWS
    #[arg(long, env = "ENCRYPTED_QUEUE_CHECK_PERIOD", default_value = "1h", value_parser = parse_duration)]
    check_period: Duration,
    /// How often every queue and key of the tenants' accounts, declared or not, is audited; what events tell of (--drift-queue-url) is within seconds
    #[arg(long, env = "ENCRYPTED_QUEUE_AUDIT_PERIOD", default_value = "24h", value_parser = parse_duration)]
    audit_period: Duration,
    /// URL of the SQS queue into which EventBridge puts CloudTrail's events, so that drift is undone within seconds [default: none, the check of every
    /// period finds it]
    #[arg(long, env = "ENCRYPTED_QUEUE_DRIFT_QUEUE_URL", value_parser = parse_queue_url)]
    drift_queue_url: Option<String>,
    /// Region of that queue [default: the one in its URL, else the operator's own]
    #[arg(long, env = "ENCRYPTED_QUEUE_DRIFT_REGION", requires = "drift_queue_url")]
    drift_region: Option<String>,
    /// EKS cluster, in the operator's own account and Region, whose Pod Identity associations give ServiceAccounts their roles
    /// [default: none, IRSA annotations alone count]
    #[arg(long, env = "ENCRYPTED_QUEUE_EKS_CLUSTER_NAME")]
    eks_cluster_name: Option<String>,
    /// Objects of each kind worked on at once
    #[arg(long, env = "ENCRYPTED_QUEUE_CONCURRENCY", default_value_t = 16)]
    concurrency: u16,
    /// Address of /metrics, /healthz and /readyz
    #[arg(long, env = "ENCRYPTED_QUEUE_HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    http_address: SocketAddr,
    /// Wait for a lease before anything is written
    #[arg(long, env = "ENCRYPTED_QUEUE_LEADER_ELECTION", default_value_t = true, action = ArgAction::Set)]
    leader_election: bool,
    /// Namespace of the lease [default: the pod's, else "default"]
    #[arg(long, env = "ENCRYPTED_QUEUE_LEASE_NAMESPACE")]
    lease_namespace: Option<String>,
    /// Name of the lease
    #[arg(long, env = "ENCRYPTED_QUEUE_LEASE_NAME", default_value = "encrypted-queue-operator")]
    lease_name: String,
    /// How long a lease holds without renewal
    #[arg(long, env = "ENCRYPTED_QUEUE_LEASE_DURATION", default_value = "15s", value_parser = parse_duration)]
    lease_duration: Duration,
    /// How long to look for a key that a crash may have left before another is made
    #[arg(long, env = "ENCRYPTED_QUEUE_KEY_SEARCH_WINDOW", default_value = "6m", value_parser = parse_duration)]
    key_search_window: Duration,
    /// How long another key's policy is given to spread before a live queue is pointed at it
    #[arg(long, env = "ENCRYPTED_QUEUE_KEY_SETTLE_PERIOD", default_value = "5m", value_parser = parse_duration)]
    key_settle_period: Duration,
    /// Labels of the Tenants to manage, as `kubectl --selector` takes them; several installs of a cluster share its Tenants so [default: all]
    #[arg(long, env = "ENCRYPTED_QUEUE_TENANT_SELECTOR", default_value = "", hide_default_value = true, value_parser = super::selector::parse)]
    tenant_selector: Selector,
    /// Requests a second that AWS admits, where a higher quota was granted: kms:CreateKey=50,sqs:tags=20 [default: what AWS publishes]. Four fifths of a
    /// rate are used
    #[arg(long, env = "ENCRYPTED_QUEUE_AWS_QUOTAS", default_value = "", hide_default_value = true, value_parser = parse_rates)]
    aws_quotas: Rates,
    /// Plan and report, change nothing in AWS
    #[arg(long, env = "ENCRYPTED_QUEUE_DRY_RUN")]
    dry_run: bool,
    /// For an AWS call, instead of the usual time-outs
    #[cfg(feature = "test-clock")]
    #[arg(long, hide = true, env = "ENCRYPTED_QUEUE_AWS_TIMEOUT", value_parser = parse_duration)]
    aws_timeout: Option<Duration>,
    /// Format of the log on standard error
    #[arg(long, env = "ENCRYPTED_QUEUE_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// File that says what is logged, as RUST_LOG does, and is looked at every two seconds: a mounted ConfigMap changes it without a restart
    /// [default: none, RUST_LOG alone counts]
    #[arg(long, env = "ENCRYPTED_QUEUE_LOG_FILTER_FILE")]
    log_filter_file: Option<PathBuf>,
    /// URL of the HTTP port of an OpenTelemetry collector, as http://collector.monitoring:4318, that traces of reconciles and their AWS calls are sent to
    /// [default: none, nothing is traced]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", default_value = "", hide_default_value = true, value_name = "URL")]
    otlp_endpoint: String,
}

fn parse_role(text: &str) -> Result<RoleArn, InvalidName> {
    RoleArn::parse(text)
}

/// `SCHEME://HOST/ACCOUNT/NAME`.
fn parse_queue_url(text: &str) -> Result<String, String> {
    let expected = || "write the URL of an SQS queue, as https://sqs.eu-west-1.amazonaws.com/111122223333/NAME".to_owned();
    let (scheme, rest) = text.split_once("://").ok_or_else(expected)?;
    let parts: Vec<&str> = rest.split('/').collect();
    let is_queue = matches!(parts.as_slice(), [host, account, name]
        if !host.is_empty() && account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty());
    if is_queue && ["http", "https"].contains(&scheme) { Ok(text.to_owned()) } else { Err(expected()) }
}

fn parse_rates(text: &str) -> Result<Rates, String> {
    Rates::with(text.split(',').filter(|entry| !entry.trim().is_empty()))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|error| format!("{error}; write for example 90s, 5m or 1h"))?;
    let duration = Duration::try_from(parsed).map_err(|_| "a duration cannot be negative".to_owned())?;
    if duration.is_zero() { Err("a duration cannot be zero".to_owned()) } else { Ok(duration) }
}

/// Why `run` ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cluster could be reached.
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] kube::Error),
    /// The kubeconfig is of no use.
    #[error("Kubernetes configuration: {0}")]
    Configuration(#[from] kube::config::InferConfigError),
    /// The namespace kube-system, whose UID names the cluster, cannot be read.
    #[error("namespace kube-system has no UID; name the cluster with --cluster-id")]
    NoClusterId,
    /// AWS could not be reached or refused the credentials.
    #[error("AWS: {0}")]
    Aws(#[from] crate::aws::AwsError),
    /// The lease could not be taken.
    #[error(transparent)]
    Leader(#[from] controller::leader::LeaderError),
    /// The address cannot be listened on, or signals cannot be heard.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The address of the HTTP server is taken.
    #[error(transparent)]
    Http(#[from] BindError),
    /// Nothing can be logged.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// Traces cannot be sent.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// Another instance leads now.
    #[error("{0}; another instance takes over")]
    LeadershipLost(#[from] controller::leader::LeadershipLost),
}

/// Runs until a signal or until leadership is lost.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    let endpoint = Endpoint::parse(&arguments.otlp_endpoint)?;
    let filter = logging::init(arguments.log_format, "info")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some(file) = &arguments.log_filter_file {
        runtime.spawn(filter.follow(file.clone()));
    }
    let traces = otlp::init(&endpoint, runtime.handle())?;
    let ended = runtime.block_on(operate(arguments));
    traces.end();
    // Looking up a collector's name is not to be waited for.
    runtime.shutdown_timeout(STOP_WITHIN);
    ended
}

async fn operate(arguments: &Arguments) -> Result<(), Error> {
    let config = kube::Config::infer().await?;
    let namespace = arguments.lease_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config)?;
    let cluster_id = match &arguments.cluster_id {
        Some(id) => id.clone(),
        None => Api::<Namespace>::all(client.clone()).get("kube-system").await?.uid().ok_or(Error::NoClusterId)?,
    };
    let accounts = Accounts::connect(aws_settings(arguments)).await?;
    let metrics = Metrics::new(accounts.call_counts().clone());
    let health = Health::default();
    let (stop, stopping) = stop_signal()?;
    let server = Server::bind(arguments.http_address).await?;
    tracing::info!(address = %server.address(), %cluster_id, "started");
    let http = tokio::spawn(server.run(metrics.clone(), health.clone(), stopping.clone().wait()));
    // A standby is ready: it answers, and takes over when it must.
    health.set_ready(true);
    let leadership = tokio::select! {
        leadership = lead(arguments, &client, &namespace) => leadership?,
        () = stopping.clone().wait() => return Ok(()),
    };
    let leads = leadership.clone();
    metrics.set_leader(move || leads.check().is_ok());
    health.set_ready(false);
    let settings = ControllerSettings {
        cluster_id,
        identity: format!("{namespace}/{}", arguments.lease_name),
        concurrency: arguments.concurrency,
        check_period: arguments.check_period,
        audit_period: arguments.audit_period,
        drift_queue: arguments.drift_queue_url.as_deref().map(|url| accounts.drift_queue(url, arguments.drift_region.as_deref())),
        eks_cluster_name: arguments.eks_cluster_name.clone(),
        search_window: SearchWindow(SignedDuration::try_from(arguments.key_search_window).unwrap_or(SignedDuration::MAX)),
        settle: SignedDuration::try_from(arguments.key_settle_period).unwrap_or(SignedDuration::MAX),
        tenant_selector: arguments.tenant_selector.clone(),
        lease_duration: arguments.lease_duration,
        dry_run: arguments.dry_run,
    };
    let parts = Parts { client, accounts, metrics, leadership: leadership.clone() };
    controller::run(parts, settings, || health.set_ready(true), stopping.wait()).await;
    health.set_ready(false);
    let lost = leadership.check();
    leadership.release().await;
    stop.abort();
    http.abort();
    Ok(lost?)
}

fn aws_settings(arguments: &Arguments) -> Settings {
    let settings = Settings { operator_role_arn: arguments.operator_role_arn.clone(), rates: arguments.aws_quotas.clone(), ..Settings::default() };
    #[cfg(feature = "test-clock")]
    if let Some(limit) = arguments.aws_timeout {
        return Settings { connect_timeout: limit, read_timeout: limit, operation_timeout: limit * 2, ..settings };
    }
    settings
}

async fn lead(arguments: &Arguments, client: &Client, namespace: &str) -> Result<Leadership, Error> {
    if !arguments.leader_election {
        return Ok(Leadership::always());
    }
    let identity = format!("{}_{}", hostname(), hex::encode(rand::random::<[u8; 4]>()));
    let settings = LeaseSettings::new(namespace, &arguments.lease_name, identity).with_duration(arguments.lease_duration);
    Ok(Leadership::acquire(client.clone(), settings).await?)
}

/// A pod's name is its host's name.
fn hostname() -> String {
    std::env::var("HOSTNAME")
        .ok()
        .or_else(|| std::fs::read_to_string("/etc/hostname").ok())
        .map_or_else(|| "encrypted-queue".to_owned(), |name| name.trim().to_owned())
}

/// Resolves once a signal asked the process to end.
#[derive(Clone)]
struct Stopping(tokio::sync::watch::Receiver<bool>);

impl Stopping {
    async fn wait(mut self) {
        self.0.wait_for(|stop| *stop).await.ok();
    }
}

fn stop_signal() -> Result<(tokio::task::JoinHandle<()>, Stopping), std::io::Error> {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let task = tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        sender.send_replace(true);
        // Kept alive, so that nobody takes a dropped sender for a signal.
        std::future::pending::<()>().await;
    });
    Ok((task, Stopping(receiver)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn queue_urls() {
        for good in ["https://sqs.eu-west-1.amazonaws.com/111122223333/drift", "http://127.0.0.1:4566/111122223333/drift.fifo"] {
            assert_eq!(parse_queue_url(good).unwrap(), good);
        }
        for bad in
            ["", "drift", "arn:aws:sqs:eu-west-1:111122223333:drift", "https://sqs.eu-west-1.amazonaws.com/drift", "https:///111122223333/drift"]
        {
            assert!(parse_queue_url(bad).unwrap_err().contains("https://sqs."), "{bad}");
        }
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("1h").unwrap(), Duration::from_hours(1));
        for bad in ["", "5", "0s", "-3s", "soon"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
