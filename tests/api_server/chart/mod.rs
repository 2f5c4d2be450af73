//! `charts/encrypted-queue-operator`, installed by the real Helm.

mod helm;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use encrypted_queue::aws::CallCounts;
use encrypted_queue::telemetry::metrics::{Kind, Metrics, ReconcileResult};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::{Client, ResourceExt};
use regex::Regex;
use serde_json::{Value, json};

use helm::{Helm, NAMESPACE, chart};

/// Everything of the release, and the definitions, with what changes when they change.
async fn versions(helm: &Helm) -> BTreeMap<String, String> {
    let manifest = helm.succeeds("get manifest", &[]).await;
    let mut versions = BTreeMap::new();
    for object in serde_saphyr::from_multiple::<Value>(&manifest).unwrap().iter().filter(|object| object.is_object()) {
        let (key, api) = (key(object), api(&helm.client, object));
        versions.insert(key, api.get(&name(object)).await.unwrap().resource_version().unwrap());
    }
    let definitions = Api::<CustomResourceDefinition>::all(helm.client.clone()).list(&ListParams::default()).await.unwrap();
    // The API server writes conditions at times of its own.
    versions.extend(definitions.iter().map(|object| (format!("CustomResourceDefinition {}", object.name_any()), generation(object))));
    versions
}

fn generation(definition: &CustomResourceDefinition) -> String {
    definition.metadata.generation.unwrap().to_string()
}

fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

fn key(object: &Value) -> String {
    format!("{} {}", object["kind"].as_str().unwrap(), name(object))
}

fn api(client: &Client, object: &Value) -> Api<DynamicObject> {
    let types: TypeMeta = serde_json::from_value(object.clone()).unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).unwrap());
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Of these objects, those that are there.
async fn present(helm: &Helm, manifest: &str) -> BTreeSet<String> {
    let mut present = BTreeSet::new();
    for object in serde_saphyr::from_multiple::<Value>(manifest).unwrap().iter().filter(|object| object.is_object()) {
        if api(&helm.client, object).get_opt(&name(object)).await.unwrap().is_some() {
            present.insert(key(object));
        }
    }
    present
}

#[tokio::test]
async fn an_upgrade_without_changes_changes_nothing_and_uninstalling_keeps_rules_and_definitions() {
    let helm = Helm::start().await;
    let notes = helm.deploys("install", &["--create-namespace"]).await;
    assert!(notes.contains("Tenants: acme. Tiers: restricted."), "{notes}");
    let installed = versions(&helm).await;
    assert!(installed.len() > 20 && installed.contains_key("Deployment queues"), "{installed:?}");

    helm.deploys("upgrade", &[]).await;
    assert_eq!(versions(&helm).await, installed);

    let manifest = helm.succeeds("get manifest", &[]).await;
    helm.succeeds("uninstall", &[]).await;
    assert_eq!(present(&helm, &manifest).await, ["SensitivityTier restricted", "Tenant acme"].map(str::to_owned).into());
    let definitions = Api::<CustomResourceDefinition>::all(helm.client.clone());
    assert_eq!(definitions.list(&ListParams::default()).await.unwrap().items.len(), 5);
    let hooks: Vec<_> = Api::<ClusterRole>::all(helm.client.clone()).list(&ListParams::default()).await.unwrap().items;
    assert!(hooks.iter().all(|role| !role.name_any().starts_with("queues")), "a hook's role is left");

    // What was kept belongs to the next install, as it is.
    helm.deploys("install", &[]).await;
    let again = versions(&helm).await;
    assert_eq!(again.keys().collect::<Vec<_>>(), installed.keys().collect::<Vec<_>>());
    for kept in ["Tenant acme", "CustomResourceDefinition tenants.encryptedqueue.dev"] {
        assert_eq!(again[kept], installed[kept], "{kept}");
    }
}

#[tokio::test]
async fn in_a_restricted_namespace_older_definitions_are_noticed_and_upgraded() {
    let helm = Helm::start().await;
    let metadata = json!({"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}});
    let namespace: Namespace = serde_json::from_value(json!({"metadata": metadata})).unwrap();
    Api::all(helm.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    helm.deploys("install", &[]).await;
    assert_restricted(&helm).await;
    assert!(helm.succeeds("test", &[]).await.contains("Phase:          Succeeded"));

    let definitions = Api::<CustomResourceDefinition>::all(helm.client.clone());
    let mut tenants = serde_json::to_value(definitions.get("tenants.encryptedqueue.dev").await.unwrap()).unwrap();
    let spec = tenants.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap().as_object_mut().unwrap();
    spec.remove("limits").unwrap();
    spec.insert("withdrawn".to_owned(), json!({"type": "string"}));
    let parameters = PostParams { field_manager: Some("helm".to_owned()), ..PostParams::default() };
    definitions.replace("tenants.encryptedqueue.dev", &parameters, &serde_json::from_value(tenants).unwrap()).await.unwrap();
    definitions.delete("accessapprovals.encryptedqueue.dev", &DeleteParams::default()).await.unwrap();
    while definitions.get_opt("accessapprovals.encryptedqueue.dev").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!helm.run("test", &[]).await.status.success(), "older definitions are taken for this version's");

    helm.deploys("upgrade", &[]).await;
    assert!(helm.succeeds("test", &[]).await.contains("Phase:          Succeeded"));
}

/// The restricted profile admits the operator's pods, and would not without what their template says. Here the pods of hooks and tests are admitted too.
async fn assert_restricted(helm: &Helm) {
    let deployment = Api::<Deployment>::namespaced(helm.client.clone(), NAMESPACE).get("queues").await.unwrap();
    let mut spec = deployment.spec.unwrap().template.spec.unwrap();
    spec.priority_class_name = None;
    let pods = Api::<Pod>::namespaced(helm.client.clone(), NAMESPACE);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let mut pod: Pod = serde_json::from_value(json!({"metadata": {"name": "tried"}, "spec": spec})).unwrap();
    pods.create(&dry_run, &pod).await.unwrap();
    pod.spec.as_mut().unwrap().security_context = None;
    let refused = pods.create(&dry_run, &pod).await.unwrap_err().to_string();
    assert!(refused.contains("runAsNonRoot != true") && refused.contains("seccompProfile"), "{refused}");
}

/// The values' schema takes the examples for what they are, and its rules are the definitions'.
#[test]
fn tenants_and_tiers_of_the_examples_are_values() {
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json")).unwrap()).unwrap();
    let mut seen = 0;
    for (file, document) in crate::examples::all() {
        let definition = match document["kind"].as_str().unwrap() {
            "Tenant" => "tenant",
            "SensitivityTier" => "sensitivityTier",
            _ => continue,
        };
        seen += 1;
        let schema = &schema["definitions"][definition];
        jsonschema::validate(schema, &document["spec"]).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut wrong = document["spec"].clone();
        wrong["unheardOf"] = true.into();
        assert!(!jsonschema::is_valid(schema, &wrong), "{file}");
    }
    assert!(seen >= 5, "{seen}");
}

/// No option of `run` is forgotten, and none is set that it does not have.
#[test]
fn every_option_of_the_operator_is_set_by_the_chart() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_encrypted-queue")).args(["run", "--help"]).output().unwrap();
    let template = std::fs::read_to_string(chart().join("templates/deployment.yaml")).unwrap();
    let variable = Regex::new("ENCRYPTED_QUEUE_[A-Z_]+").unwrap();
    let names = |text: &str| variable.find_iter(text).map(|found| found.as_str().to_owned()).collect::<BTreeSet<_>>();
    let mut options = names(std::str::from_utf8(&help.stdout).unwrap());
    // Without an election two pods would write.
    assert!(options.remove("ENCRYPTED_QUEUE_LEADER_ELECTION"));
    assert_eq!(names(&template), options);
}

#[test]
fn a_chart_installs_the_operator_it_was_made_with() {
    let text = std::fs::read_to_string(chart().join("Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!((&chart["version"], &chart["appVersion"]), (&json!(env!("CARGO_PKG_VERSION")), &json!(env!("CARGO_PKG_VERSION"))));
}

/// Alerts and dashboard ask for what the operator exports, and each alert has a section in the runbooks.
#[test]
fn alerts_and_dashboard_are_about_metrics_that_exist() {
    let metrics = Metrics::new(Arc::new(CallCounts::default()));
    metrics.reconciled(Kind::QueueKey, ReconcileResult::Failed, Duration::from_secs(1));
    metrics.remedied("acme", "internal", Duration::from_secs(1));
    metrics.denied("acme", "internal");
    let text = metrics.encode().unwrap();
    let series = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let exported: BTreeSet<String> = series.flat_map(|(name, kind)| names(name, kind)).collect();
    let named = Regex::new(r"encrypted_queue_[a-z_]+").unwrap();
    let read = |name: &str| std::fs::read_to_string(chart().join("files").join(name)).unwrap();
    for file in ["alerts.yaml", "dashboard.json"] {
        let text = read(file);
        let asked: BTreeSet<String> = named.find_iter(&text).map(|found| found.as_str().to_owned()).collect();
        assert!(asked.len() >= 5 && asked.is_subset(&exported), "{file} asks for {:?}", asked.difference(&exported));
    }
    let runbooks = std::fs::read_to_string(format!("{}/docs/runbooks.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (alerts, name) = (read("alerts.yaml"), Regex::new(r"- alert: (\w+)").unwrap());
    for alert in name.captures_iter(&alerts).map(|found| found[1].to_owned()) {
        assert!(runbooks.contains(&format!("## {alert}\n")), "{alert} has no runbook");
        assert!(alerts.contains(&format!("runbook_url: {{{{ .runbook }}}}#{}", alert.to_lowercase())), "{alert} points to no runbook");
    }
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().iter().all(|panel| panel["targets"][0]["expr"].is_string()));
}

fn names(name: &str, kind: &str) -> Vec<String> {
    let suffixes: &[&str] = match kind {
        "counter" => &["_total"],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        _ => &[""],
    };
    suffixes.iter().map(|suffix| format!("{name}{suffix}")).collect()
}
