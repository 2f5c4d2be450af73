//! `explain` against what the API server stores of the manifests of `examples/`.

use encrypted_queue::api::EncryptedQueue;
use encrypted_queue::api::queue_key::NamespacedName;
use encrypted_queue::commands::explain::{Error, Known, explain_principal, explain_queue};
use encrypted_queue::explain::{Asked, Permission, PrincipalKind, queue_text};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use test_support::{ControlPlane, User};
use tokio::sync::OnceCell;

use crate::cluster::{apply, client};
use crate::examples;

/// The examples under names of this test's own, since all tests share the server.
fn renamed(document: &Value) -> Value {
    let mut text = document.to_string().replace("acme", "told").replace("globex", "other");
    for tier in ["restricted", "internal", "public"] {
        text = text.replace(&format!("\"{tier}\""), &format!("\"told-{tier}\""));
    }
    serde_json::from_str(&text).unwrap()
}

async fn examples_applied() -> Client {
    static APPLIED: OnceCell<()> = OnceCell::const_new();
    let client = client().await;
    APPLIED.get_or_init(|| apply_examples(&client)).await;
    client
}

async fn apply_examples(client: &Client) {
    let (namespaces, others): (Vec<_>, Vec<_>) =
        examples::all().into_iter().map(|(_, document)| renamed(&document)).partition(|document| document["kind"] == "Namespace");
    for document in namespaces {
        let name = document["metadata"]["name"].as_str().unwrap();
        Api::<Namespace>::all(client.clone()).patch(name, &PatchParams::apply("test"), &Patch::Apply(&document)).await.unwrap();
    }
    for document in others {
        apply(client, &document, false).await.unwrap();
    }
}

fn queue(namespace: &str, name: &str) -> NamespacedName {
    NamespacedName { namespace: namespace.into(), name: name.into() }
}

#[tokio::test]
async fn an_example_is_explained_as_it_is_declared() {
    let client = examples_applied().await;
    let report = explain_queue(&client, &queue("told-prod", "orders"), Known::default()).await.unwrap();
    assert!(report.violations.is_empty(), "{report:#?}");
    assert_eq!(report.queue_arn.as_deref(), Some("arn:aws:sqs:eu-west-1:123456789012:told-orders"));
    let can = |role: &str, permission: Permission| {
        let rows = report.principals.iter().filter(|row| row.principal.as_deref().is_some_and(|principal| principal.ends_with(role)));
        rows.flat_map(|row| &row.permissions).any(|known| known.permission == permission && known.denied_by.is_empty())
    };
    assert!(can("told-orders-api", Permission::Send) && !can("told-orders-api", Permission::Receive));
    assert!(can("told-orders-worker", Permission::Receive) && !can("told-orders-worker", Permission::Send));
    assert!(can("told-orders-support", Permission::Redrive) && !can("keda-operator", Permission::Decrypt));
    assert!(report.principals.iter().any(|row| row.kind == PrincipalKind::Operator && row.principal.is_none()));
    let text = queue_text(&report);
    for part in ["told-prod/orders", "role/told-orders-api", "spec.producers[0]", "DenyOthersReceive", "spec.keyAdministrators[0]"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    // The namespace of the other tenant is matched by its label.
    assert!(explain_queue(&client, &queue("other-prod", "ledger"), Known::default()).await.unwrap().violations.is_empty());
    let shared = explain_queue(&client, &queue("told-prod", "emails"), Known::default()).await.unwrap();
    assert_eq!(shared.key.unwrap().shared_with, ["told-prod/notifications"]);
}

#[tokio::test]
async fn a_principal_is_looked_for_in_all_queues() {
    let client = examples_applied().await;
    let asked: Asked = "arn:aws:sts::123456789012:assumed-role/told-notifier/session".parse().unwrap();
    let report = explain_principal(&client, Some("told-prod"), &asked, Known::default()).await.unwrap();
    let names: Vec<_> = report.queues.iter().map(|queue| queue.name.as_str()).collect();
    assert_eq!((names, report.queues_examined >= 3), (vec!["emails", "notifications"], true));
    let everywhere = explain_principal(&client, None, &asked, Known::default()).await.unwrap();
    assert!(everywhere.queues == report.queues && everywhere.queues_examined > report.queues_examined);
}

#[tokio::test]
async fn the_role_of_a_service_account_comes_from_its_annotation() {
    let client = examples_applied().await;
    let object = json!({
        "apiVersion": "encryptedqueue.dev/v1alpha1",
        "kind": "EncryptedQueue",
        "metadata": {"name": "by-account", "namespace": "told-prod"},
        "spec": {
            "tenant": "told",
            "sensitivityTier": "told-restricted",
            "producers": [{"role": "arn:aws:iam::123456789012:role/told-orders-api"}],
            "consumers": [{"serviceAccount": {"name": "worker"}}],
            "tags": {"workload": "accounts"},
        },
    });
    let created: EncryptedQueue = apply(&client, &object, false).await.unwrap().try_parse().unwrap();
    let name = queue("told-prod", created.metadata.name.as_deref().unwrap());
    let refused = explain_queue(&client, &name, Known::default()).await.unwrap();
    assert_eq!(refused.violations.iter().map(|violation| violation.reason.as_str()).collect::<Vec<_>>(), ["ServiceAccountNotFound"]);

    let role = "arn:aws:iam::123456789012:role/told-worker";
    let account: ServiceAccount =
        serde_json::from_value(json!({"metadata": {"name": "worker", "annotations": {"eks.amazonaws.com/role-arn": role}}})).unwrap();
    Api::<ServiceAccount>::namespaced(client.clone(), "told-prod").create(&PostParams::default(), &account).await.unwrap();
    let report = explain_queue(&client, &name, Known::default()).await.unwrap();
    let worker = report.principals.iter().find(|row| row.principal.as_deref() == Some(role)).unwrap();
    assert_eq!(worker.permissions[0].declared_by, ["spec.consumers[0] (ServiceAccount worker)"]);
}

#[tokio::test]
async fn what_is_not_there_or_not_allowed_is_said() {
    let client = examples_applied().await;
    let missing = explain_queue(&client, &queue("told-prod", "absent"), Known::default()).await.unwrap_err();
    assert_eq!(missing.to_string(), "EncryptedQueue absent does not exist in namespace told-prod (-n names another namespace)");

    let viewer = ControlPlane::shared().await.unwrap().client(User::Viewer).await.unwrap();
    let forbidden = explain_queue(&viewer, &queue("told-prod", "orders"), Known::default()).await.unwrap_err();
    assert!(matches!(&forbidden, Error::Forbidden { what, .. } if what == "EncryptedQueue told-prod/orders"), "{forbidden}");
    assert!(forbidden.to_string().contains("viewer"), "{forbidden}");

    // Who may read single objects but list none gets an answer that says what it lacks.
    let rules = json!([
        {"apiGroups": ["encryptedqueue.dev"], "resources": ["encryptedqueues", "tenants", "sensitivitytiers"], "verbs": ["get"]},
        {"apiGroups": ["encryptedqueue.dev"], "resources": ["queuekeys"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["namespaces", "serviceaccounts"], "verbs": ["get"]},
    ]);
    let role: ClusterRole = serde_json::from_value(json!({"metadata": {"name": "explained"}, "rules": rules})).unwrap();
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "explained"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "explained"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": User::Author.name()}],
    }))
    .unwrap();
    Api::<ClusterRole>::all(client.clone()).create(&PostParams::default(), &role).await.unwrap();
    Api::<ClusterRoleBinding>::all(client.clone()).create(&PostParams::default(), &binding).await.unwrap();
    let author = ControlPlane::shared().await.unwrap().client(User::Author).await.unwrap();
    let report = eventually(async || explain_queue(&author, &queue("told-prod", "orders"), Known::default()).await).await;
    assert!(report.notes.iter().any(|note| note.starts_with("You may not list")), "{:?}", report.notes);
    assert!(report.violations.is_empty() && report.principals.len() == 7);
}

/// The program itself: kubeconfig, context, namespace, formats, exit status.
#[tokio::test]
async fn the_command_answers_and_exits_as_its_help_says() {
    examples_applied().await;
    let kubeconfig = ControlPlane::shared().await.unwrap().kubeconfig_path();
    let explain = async |arguments: &str| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_encrypted-queue"));
        command.arg("explain").args(arguments.split(' ')).env("KUBECONFIG", &kubeconfig).env_remove("ENCRYPTED_QUEUE_OPERATOR_ROLE_ARN");
        let output = command.output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, text, _) = explain("queue/orders -n told-prod --context admin").await;
    assert_eq!(status, Some(0));
    assert!(text.starts_with("told-prod/orders "), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours");

    let role = "arn:aws:iam::123456789012:role/the-operator";
    let (status, json, _) = explain(&format!("eq/orders -n told-prod -o json --operator-role-arn {role}")).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((status, &json["schemaVersion"], &json["name"]), (Some(0), &json!(1), &json!("orders")));
    assert!(json["principals"].as_array().unwrap().iter().any(|row| row["kind"] == "Operator" && row["principal"] == role));

    let (status, text, _) = explain("--principal arn:aws:iam::123456789012:role/told-orders-api --namespace told-prod").await;
    assert!(status == Some(0) && text.contains("told-prod/orders"), "{text}");

    for (arguments, status, message) in [
        ("queue/absent -n told-prod", 1, "error: EncryptedQueue absent does not exist in namespace told-prod"),
        ("queue/orders", 1, "error: EncryptedQueue orders does not exist in namespace default"),
        ("queue/orders --context nobody", 1, "error: no cluster to ask"),
        ("queue/orders -n told-prod --context viewer", 1, "error: you may not read EncryptedQueue told-prod/orders"),
        ("tenant/told", 2, "tenant is not a queue"),
    ] {
        let (code, stdout, stderr) = explain(arguments).await;
        assert!(code == Some(status) && stdout.is_empty() && stderr.contains(message), "{arguments}: {code:?} {stderr}");
    }
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "gone",
        "clusters": [{"name": "gone", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "gone", "user": {}}],
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "gone"}}],
    });
    std::fs::write(&path, config.to_string()).unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_encrypted-queue")).args(["explain", "orders"]).env("KUBECONFIG", &path).output();
    let output = output.await.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && stderr.starts_with("error: the cluster did not answer when asked for EncryptedQueue default/orders"),
        "{stderr}"
    );
}

/// The authorizer learns of new bindings a moment later.
async fn eventually<T>(attempt: impl AsyncFn() -> Result<T, Error>) -> T {
    for _ in 0..50 {
        match attempt().await {
            Err(Error::Forbidden { .. }) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            answer => return answer.unwrap(),
        }
    }
    panic!("still forbidden after 5 s");
}
