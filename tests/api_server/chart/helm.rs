//! The real Helm against a control plane of its own, which has no kubelet: what runs pods there is played here, with the real binary and with exactly
//! the rights of the pod's ServiceAccount.

use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodSpec, ServiceAccount};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::{ControlPlane, User};
use tokio::process::Command;
use tokio::task::JoinHandle;

const RELEASE: &str = "encrypted-queue-operator";
pub const NAMESPACE: &str = "encrypted-queue-operator";

pub fn chart() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("charts/encrypted-queue-operator")
}

/// Helm, and a cluster for it.
pub struct Helm {
    pub control_plane: ControlPlane,
    pub client: Client,
    program: PathBuf,
    home: TempDir,
    pods: JoinHandle<()>,
}

impl Drop for Helm {
    fn drop(&mut self) {
        self.pods.abort();
    }
}

impl Helm {
    pub async fn start() -> Self {
        let program = test_support::chart::helm().unwrap();
        let control_plane = ControlPlane::start().await.unwrap();
        let client = control_plane.client(User::Admin).await.unwrap();
        let kubeconfig = serde_json::from_str(control_plane.kubeconfig()).unwrap();
        let home = tempfile::tempdir().unwrap();
        let pods = tokio::spawn(run_pods(client.clone(), kubeconfig, home.path().to_owned()));
        Self { control_plane, client, program, home, pods }
    }

    /// `helm COMMAND RELEASE …` in the release's namespace.
    pub async fn run(&self, command: &str, arguments: &[&str]) -> Output {
        let mut helm = Command::new(&self.program);
        helm.env_clear().env("HOME", self.home.path()).env("KUBECONFIG", self.control_plane.kubeconfig_path());
        helm.args(command.split(' ')).args([RELEASE, "--namespace", NAMESPACE]).args(arguments).kill_on_drop(true);
        helm.output().await.unwrap()
    }

    pub async fn succeeds(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments).await;
        assert!(output.status.success(), "helm {command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Installs or upgrades with everything on but what the Prometheus Operator's kinds are needed for.
    pub async fn deploys(&self, command: &str, more: &[&str]) -> String {
        let (chart, values) = (chart(), chart().join("ci/full-values.yaml"));
        let without = "metrics.serviceMonitor.create=false,metrics.prometheusRule.create=false";
        let arguments = [chart.to_str().unwrap(), "--values", values.to_str().unwrap(), "--set", without, "--timeout", "60s"];
        self.succeeds(command, &[&arguments, more].concat()).await
    }
}

/// Runs each Job and each bare pod of the namespace once, as it comes up.
async fn run_pods(client: Client, kubeconfig: Value, directory: PathBuf) {
    let jobs = Api::<Job>::namespaced(client.clone(), NAMESPACE);
    let pods = Api::<Pod>::namespaced(client.clone(), NAMESPACE);
    loop {
        for job in jobs.list(&ListParams::default()).await.unwrap() {
            if job.status.as_ref().is_some_and(|status| status.start_time.is_some()) {
                continue;
            }
            let succeeded = run_pod(&client, &kubeconfig, &directory, job.spec.as_ref().unwrap().template.spec.as_ref().unwrap()).await;
            let write = async |status| jobs.patch_status(&job.name_any(), &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await;
            // Servers before 1.32 know the first of the two conditions for indexed Jobs only.
            if write(job_status(succeeded, true)).await.is_err() {
                write(job_status(succeeded, false)).await.unwrap();
            }
        }
        for pod in pods.list(&ListParams::default()).await.unwrap() {
            if pod.status.as_ref().is_some_and(|status| status.phase.as_deref().is_some_and(|phase| phase != "Pending")) {
                continue;
            }
            let succeeded = run_pod(&client, &kubeconfig, &directory, pod.spec.as_ref().unwrap()).await;
            let status = json!({"status": {"phase": if succeeded { "Succeeded" } else { "Failed" }}});
            pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn job_status(succeeded: bool, says_why: bool) -> Value {
    let now = Timestamp::now().to_string();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": now});
    let (why, what) = if succeeded { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") };
    let conditions: Vec<_> = [says_why.then(|| condition(why)), Some(condition(what))].into_iter().flatten().collect();
    if succeeded {
        json!({"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions})
    } else {
        json!({"startTime": now, "failed": 1, "conditions": conditions})
    }
}

/// Whether the container's command succeeds as the pod's ServiceAccount.
async fn run_pod(client: &Client, kubeconfig: &Value, directory: &std::path::Path, spec: &PodSpec) -> bool {
    let service_account = spec.service_account_name.as_deref().unwrap();
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), NAMESPACE);
    let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}})).unwrap();
    let issued = accounts.create_token_request(service_account, &PostParams::default(), &request).await.unwrap();
    let mut kubeconfig = kubeconfig.clone();
    kubeconfig["users"] = json!([{"name": "pod", "user": {"token": issued.status.unwrap().token}}]);
    kubeconfig["contexts"] = json!([{"name": "pod", "context": {"cluster": "test", "user": "pod"}}]);
    kubeconfig["current-context"] = "pod".into();
    let path = directory.join(service_account);
    std::fs::write(&path, kubeconfig.to_string()).unwrap();
    let arguments = spec.containers[0].args.clone().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_encrypted-queue"));
    command.env_clear().env("KUBECONFIG", path).args(&arguments).kill_on_drop(true);
    let output = command.output().await.unwrap();
    // Shown when the test fails.
    eprintln!("{arguments:?}: {output:?}");
    output.status.success()
}
