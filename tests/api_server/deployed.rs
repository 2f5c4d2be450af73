//! Control planes with what `deploy/` says about rights and admission, apart from the shared one: it concerns everybody's requests.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::{Client, Config};
use serde_json::{Value, json};
use test_support::{ControlPlane, User};
use tokio::sync::OnceCell;

use crate::cluster::install;

/// The GitOps identity that the policy names here.
pub const GITOPS: &str = "system:serviceaccount:security:approvals";
/// How long anything may take to become true.
const PATIENCE: Duration = Duration::from_secs(30);

/// The policies as they are, but for the variables that they are made to be changed by.
pub fn manifests(folder: &str, variables: &[(&str, &str)]) -> Vec<Value> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(folder);
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let kustomization: Value = serde_saphyr::from_str(&read("kustomization.yaml")).unwrap();
    let resources = kustomization["resources"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let mut documents: Vec<Value> = resources.flat_map(|name| serde_saphyr::from_multiple::<Value>(&read(name)).unwrap()).collect();
    for (name, expression) in variables {
        let of_all = documents.iter_mut().filter_map(|document| document.pointer_mut("/spec/variables")?.as_array_mut()).flatten();
        let found: Vec<_> = of_all.filter(|variable| variable["name"] == *name).collect();
        assert_eq!(found.len(), 1, "{name}");
        for variable in found {
            variable["expression"] = (*expression).into();
        }
    }
    documents
}

pub async fn apply_any(client: &Client, object: &Value) {
    let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).unwrap());
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let name = object["metadata"]["name"].as_str().unwrap();
    let applied = api.patch(name, &PatchParams::apply("test").force().validation_strict(), &Patch::Apply(object)).await;
    applied.unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// With the definitions, roles and policies, and the test's users bound as `deploy/rbac` tells: the author in the namespace `team-a` only.
pub async fn start(variables: &[(&str, &str)]) -> ControlPlane {
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client(User::Admin).await.unwrap();
    install(&client).await;
    for name in ["team-a", "team-b"] {
        apply_any(&client, &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await;
    }
    for object in manifests("rbac", &[]).iter().chain(&manifests("admission", variables)) {
        apply_any(&client, object).await;
    }
    bind(&client, User::Author.name(), "encrypted-queue-author", Some("team-a")).await;
    for (user, role) in [(User::Approver, "approver"), (User::Viewer, "viewer"), (User::Operator, "operator")] {
        bind(&client, user.name(), &format!("encrypted-queue-{role}"), None).await;
    }
    bind(&client, GITOPS, "encrypted-queue-approver", None).await;
    until_in_force(&control_plane, &client).await;
    control_plane
}

/// One for all tests that change no policy.
pub async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    let gitops = format!("['{GITOPS}']");
    SHARED.get_or_init(async || start(&[("gitOpsIdentities", &gitops), ("protectedKeys", "['tenant']")]).await).await
}

/// Gives a user a ClusterRole, in a namespace or everywhere.
pub async fn bind(client: &Client, user: &str, role: &str, namespace: Option<&str>) {
    let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
    let name = format!("{}-{role}", user.replace(':', "."));
    let mut binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    });
    if let Some(namespace) = namespace {
        binding["metadata"]["namespace"] = namespace.into();
    }
    apply_any(client, &binding).await;
}

/// Makes a ClusterRole of one rule.
pub async fn role(client: &Client, name: &str, group: &str, resources: &[&str], verbs: &[&str]) {
    let rule = json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": [rule]});
    apply_any(client, &object).await;
}

/// A client that the API server takes for this user.
pub async fn client_of(control_plane: &ControlPlane, user: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(control_plane.kubeconfig()).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.auth_info.impersonate = Some(user.to_owned());
    config.try_into().unwrap()
}

/// Policies are not in force at the moment they are made. Both refuse something that the administrator, respectively nobody without rights, could do.
async fn until_in_force(control_plane: &ControlPlane, admin: &Client) {
    role(admin, "namespace-owner", "", &["namespaces", "namespaces/status"], &["get", "create", "update", "patch"]).await;
    bind(admin, "owner", "namespace-owner", None).await;
    let owner = client_of(control_plane, "owner").await;
    let start = Instant::now();
    let approval = json!({
        "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "AccessApproval", "metadata": {"name": "probe"},
        "spec": {"queueKey": "key", "grantsSha256": "0".repeat(64), "reason": "a probe", "approvedBy": "somebody-else"},
    });
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let approval: encrypted_queue::api::AccessApproval = serde_json::from_value(approval).unwrap();
    let approvals = Api::all(admin.clone());
    while approvals.create(&parameters, &approval).await.is_ok()
        || label(&owner, "team-b", json!({"encryptedqueue.dev/probe": "1"}), true).await.is_ok()
    {
        assert!(start.elapsed() < PATIENCE, "the policies are not in force");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Merges labels into a namespace's.
pub async fn label(client: &Client, namespace: &str, labels: Value, dry_run: bool) -> Result<(), String> {
    let api = Api::<k8s_openapi::api::core::v1::Namespace>::all(client.clone());
    let parameters = PatchParams { dry_run, ..PatchParams::default() };
    let patched = api.patch(namespace, &parameters, &Patch::Merge(json!({"metadata": {"labels": labels}}))).await;
    patched.map(|_| ()).map_err(|error| error.to_string())
}
