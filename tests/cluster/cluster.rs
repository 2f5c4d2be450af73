//! The cluster: what kubectl and Helm do with it, and what is asked of it.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use test_support::chart::{self, NAMESPACE, RELEASE};

use encrypted_queue::api::EncryptedQueue;

/// How long anything may take to become true. Pods start within seconds; a lease that nobody gave back holds for a quarter of a minute.
const PATIENCE: Duration = Duration::from_mins(2);
const PODS: &str = "app.kubernetes.io/name=encrypted-queue-operator";

pub(crate) struct Cluster {
    pub(crate) client: Client,
    helm: String,
    image: String,
    endpoint: String,
}

/// What a command said.
fn output(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}").replace('"', "");
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().map_err(|error| format!("{shown}: {error}"))?;
    if status.success() {
        Ok(String::from_utf8_lossy(&stdout).into_owned())
    } else {
        Err(format!("{shown}: {status}\n{}", String::from_utf8_lossy(&stderr).trim()))
    }
}

/// A file of JSON, for a command that takes one; it goes when it is dropped.
pub(crate) fn in_a_file(value: &Value) -> Result<tempfile::NamedTempFile, String> {
    let file = tempfile::NamedTempFile::with_suffix(".json").map_err(|error| error.to_string())?;
    std::fs::write(file.path(), value.to_string()).map_err(|error| error.to_string())?;
    Ok(file)
}

pub(crate) fn kubectl(arguments: &[&str]) -> Result<String, String> {
    output(Command::new("kubectl").args(arguments))
}

impl Cluster {
    pub(crate) async fn connect(image: &str, endpoint: &str) -> Result<Self, String> {
        let client = Client::try_default().await.map_err(|error| format!("KUBECONFIG: {error}"))?;
        let version = client.apiserver_version().await.map_err(|error| format!("the cluster of KUBECONFIG does not answer: {error}"))?;
        eprintln!("Kubernetes {}", version.git_version);
        let helm = chart::helm().map_err(|error| error.to_string())?;
        Ok(Self { client, helm: helm.display().to_string(), image: image.to_owned(), endpoint: endpoint.to_owned() })
    }

    /// Err: what of ours is there already.
    pub(crate) async fn is_free(&self) -> Result<(), String> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        if namespaces.get_opt(NAMESPACE).await.map_err(|error| error.to_string())?.is_some() {
            return Err(format!("namespace {NAMESPACE} exists: choose a cluster without an operator, or uninstall it"));
        }
        let ours = self.definitions().await?;
        ours.first().map_or(Ok(()), |name| Err(format!("definition {name} exists: choose a cluster without an operator, or delete its definitions")))
    }

    /// Names of the operator's definitions, of whatever version.
    async fn definitions(&self) -> Result<Vec<String>, String> {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        let all = definitions.list_metadata(&ListParams::default()).await.map_err(|error| error.to_string())?;
        Ok(all.iter().map(ResourceExt::name_any).filter(|name| name.ends_with(".encryptedqueue.dev")).collect())
    }

    /// Installs or upgrades the release, and waits until its pods are ready.
    pub(crate) fn install(&self, more: &[&str]) -> Result<(), String> {
        let (repository, tag) = self.image.rsplit_once(':').ok_or("--image: REPOSITORY:TAG")?;
        let port = self.endpoint.rsplit(':').next().unwrap_or_default().trim_end_matches('/');
        let chart = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/encrypted-queue-operator");
        let environment = [
            ("AWS_ENDPOINT_URL", self.endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "operator"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        let environment: Vec<Value> = environment.into_iter().map(|(name, value)| serde_json::json!({"name": name, "value": value})).collect();
        let egress =
            serde_json::json!([{"ports": [{"port": port.parse::<u16>().map_err(|_| "--endpoint: http://ADDRESS:PORT")?, "protocol": "TCP"}]}]);
        let values = serde_json::json!({
            "image": {"repository": repository, "tag": tag, "pullPolicy": "IfNotPresent"},
            "operator": {"env": environment, "keySearchWindow": "10s", "keySettlePeriod": "5s", "clusterId": "test-cluster"},
            "aws": {"region": "eu-west-1", "roleArn": crate::story::OPERATOR},
            "networkPolicy": {"extraEgress": egress},
        });
        let file = in_a_file(&values)?;
        let mut helm = Command::new(&self.helm);
        helm.args(["upgrade", "--install", RELEASE, chart, "--namespace", NAMESPACE, "--wait", "--timeout", "2m"]);
        helm.arg("--values").arg(file.path()).args(more);
        output(&mut helm).map(drop)
    }

    /// What else Helm does with the release.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        output(Command::new(&self.helm).args(arguments).args(["--namespace", NAMESPACE]))
    }

    /// The operator's pods that are not about to go.
    pub(crate) async fn pods(&self) -> Result<Vec<Pod>, String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), NAMESPACE);
        let all = pods.list(&ListParams::default().labels(PODS)).await.map_err(|error| error.to_string())?;
        let is_operator = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.containers.iter().any(|container| container.name == "operator"));
        Ok(all.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none() && is_operator(pod)).collect())
    }

    /// The pod that leads. None: nobody does, or it is gone.
    pub(crate) async fn leader(&self) -> Option<String> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), NAMESPACE);
        let holder = leases.get_opt(RELEASE).await.ok()??.spec?.holder_identity?;
        let pod = holder.rsplit_once('_')?.0.to_owned();
        self.pods().await.ok()?.iter().any(|found| found.name_any() == pod).then_some(pod)
    }

    /// Waits until something is true, and says after how long.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) -> Result<Duration, String> {
        let start = Instant::now();
        while !holds().await {
            if start.elapsed() > PATIENCE {
                return Err(format!("not within {PATIENCE:?}: {what}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(start.elapsed())
    }

    /// Waits until every queue is ready as it is declared now.
    pub(crate) async fn until_ready(&self) -> Result<Duration, String> {
        self.until("every queue is ready", async || {
            let queues = Api::<EncryptedQueue>::all(self.client.clone()).list(&ListParams::default()).await;
            queues.is_ok_and(|queues| !queues.items.is_empty() && queues.iter().all(is_ready))
        })
        .await
    }

    /// For people who look at what failed.
    pub(crate) fn state() -> String {
        let asked: [&[&str]; 4] = [
            &["-n", NAMESPACE, "get", "pods,deployments,leases", "-o", "wide"],
            &["-n", NAMESPACE, "get", "events", "--sort-by=.lastTimestamp"],
            &["get", "encryptedqueues,queuekeys,tenants,sensitivitytiers", "--all-namespaces", "-o", "wide"],
            &["-n", NAMESPACE, "logs", "--selector", PODS, "--tail", "30", "--prefix"],
        ];
        asked.iter().map(|arguments| kubectl(arguments).unwrap_or_else(|error| error) + "\n").collect()
    }

    /// Takes everything away: the objects while the operator can end them, then the release and the definitions.
    pub(crate) async fn clear(&self) {
        let mut steps: Vec<Result<String, String>> = vec![
            kubectl(&["delete", "encryptedqueues", "--all", "--all-namespaces", "--timeout", "60s"]),
            kubectl(&["delete", "queuekeys,tenants,sensitivitytiers", "--all", "--timeout", "60s"]),
            self.helm(&["uninstall", RELEASE, "--wait"]),
        ];
        match self.definitions().await {
            Ok(names) => steps.extend(names.iter().map(|name| kubectl(&["delete", "crd", name, "--timeout", "30s"]))),
            Err(error) => steps.push(Err(error)),
        }
        steps.push(kubectl(&["delete", "namespace", NAMESPACE, "--timeout", "60s"]));
        steps.push(kubectl(&["delete", "--ignore-not-found", "--timeout", "60s", "-f", crate::story::NAMESPACES]));
        for error in steps.into_iter().filter_map(Result::err) {
            eprintln!("clearing up: {error}");
        }
    }
}

fn is_ready(queue: &EncryptedQueue) -> bool {
    let conditions = queue.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True" && c.observed_generation == queue.metadata.generation)
}
