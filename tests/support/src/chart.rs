//! What the chart gives the operator in Kubernetes: its ServiceAccount, with exactly the chart's rights, and a token of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::{Error, ask_script};

/// The namespace that the chart is installed in.
pub const NAMESPACE: &str = "encrypted-queue-operator";
/// The release when nothing else is said, and the name of all that it makes.
pub const RELEASE: &str = "encrypted-queue-operator";

const TEMPLATES: [&str; 2] = ["templates/serviceaccount.yaml", "templates/rbac/operator.yaml"];

/// The program Helm, at the version that the chart is tested with.
pub fn helm() -> Result<PathBuf, Error> {
    ask_script("tools/helm.sh", "--path")
}

/// The ServiceAccount, roles and bindings of a release, as `helm template` makes them. Names of objects and lease are the release's.
pub fn operator_rights(release: &str) -> Result<String, Error> {
    static RENDERED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let mut rendered = RENDERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(manifests) = rendered.get(release) {
        return Ok(manifests.clone());
    }
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/encrypted-queue-operator");
    let mut helm = Command::new(helm()?);
    helm.args(["template", release]).arg(chart).args(["--namespace", NAMESPACE, "--set", &format!("fullnameOverride={release}")]);
    helm.args(TEMPLATES.iter().flat_map(|template| ["--show-only", template]));
    let output = helm.output().map_err(Error::io("helm template"))?;
    if !output.status.success() {
        return Err(Error::io("helm template")(std::io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned())));
    }
    let manifests = String::from_utf8_lossy(&output.stdout).into_owned();
    rendered.insert(release.to_owned(), manifests.clone());
    Ok(manifests)
}

/// A kubeconfig like this one, in which nobody is known but the ServiceAccount, by a token made for it.
pub async fn service_account_kubeconfig(client: Client, kubeconfig: &str, name: &str) -> Result<String, Error> {
    let unexpected = |error: String| Error::Kubernetes(error.into());
    let accounts: Api<ServiceAccount> = Api::namespaced(client, NAMESPACE);
    let request =
        TokenRequest { spec: TokenRequestSpec { expiration_seconds: Some(3600), ..TokenRequestSpec::default() }, ..TokenRequest::default() };
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await.map_err(|error| Error::Kubernetes(error.into()))?;
    let token = answer.status.ok_or_else(|| unexpected("the request for a token was not answered".to_owned()))?.token;
    let config: Value = serde_json::from_str(kubeconfig).map_err(|error| Error::Kubernetes(error.into()))?;
    let own = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "operator", "clusters": config["clusters"],
        "users": [{"name": "operator", "user": {"token": token}}],
        "contexts": [{"name": "operator", "context": {"cluster": config["clusters"][0]["name"], "user": "operator", "namespace": NAMESPACE}}],
    });
    Ok(format!("{own:#}\n"))
}
