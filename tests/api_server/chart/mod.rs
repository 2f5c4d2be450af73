//! `charts/encrypted-queue-operator`, installed by the real Helm.

mod helm;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use encrypted_queue::api::{SensitivityTier, Tenant};
use encrypted_queue::aws::CallCounts;
use encrypted_queue::telemetry::metrics::{Kind, Metrics, ReconcileResult};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use regex::Regex;
use serde_json::{Value, json};

use helm::{Helm, NAMESPACE, chart};

/// Definitions and rules, which outlive the release: what they are, and which version of them.
async fn lasting(helm: &Helm) -> BTreeMap<String, String> {
    let version = |name: String, version: Option<String>| (name, version.unwrap());
    let all = Api::<CustomResourceDefinition>::all(helm.client.clone()).list(&ListParams::default()).await.unwrap();
    // The API server writes conditions at times of its own.
    let definitions = all.iter().map(|object| version(object.name_any(), object.metadata.generation.map(|generation| generation.to_string())));
    let tenants = Api::<Tenant>::all(helm.client.clone()).list(&ListParams::default()).await.unwrap();
    let tiers = Api::<SensitivityTier>::all(helm.client.clone()).list(&ListParams::default()).await.unwrap();
    let rules = tenants.iter().map(|tenant| version(format!("tenant {}", tenant.name_any()), tenant.resource_version()));
    definitions.chain(rules).chain(tiers.iter().map(|tier| version(format!("tier {}", tier.name_any()), tier.resource_version()))).collect()
}

/// What was written since, but for Helm's own records and what its hooks are made of.
fn written_since(helm: &Helm, before: usize) -> Vec<String> {
    let of_helm = |resource: &str, name: &str| resource == "secrets" || resource == "tokenreviews" || name.ends_with("-crds");
    let writes = helm.control_plane.writes().unwrap().into_iter().skip(before);
    let writes = writes.filter(|write| !of_helm(&write.resource, &write.name) && write.resource != "customresourcedefinitions");
    writes.map(|write| format!("{} {} {} {}", write.user, write.verb, write.resource, write.name)).collect()
}

#[tokio::test]
async fn an_upgrade_without_changes_changes_nothing_and_uninstalling_keeps_rules_and_definitions() {
    let helm = Helm::start().await;
    let notes = helm.deploys("install", &["--create-namespace"]).await;
    assert!(notes.contains("Tenants: acme. Tiers: restricted."), "{notes}");
    let installed = lasting(&helm).await;
    assert_eq!(installed.len(), 7, "{installed:?}");
    let deployments = Api::<Deployment>::namespaced(helm.client.clone(), NAMESPACE);
    let deployment = deployments.get("queues").await.unwrap();

    let before = helm.control_plane.writes().unwrap().len();
    helm.deploys("upgrade", &[]).await;
    assert_eq!(written_since(&helm, before), [""; 0]);
    assert_eq!(lasting(&helm).await, installed);
    assert_eq!(deployments.get("queues").await.unwrap().resource_version(), deployment.resource_version());

    helm.succeeds("uninstall", &[]).await;
    assert_eq!(lasting(&helm).await, installed);
    assert!(deployments.get_opt("queues").await.unwrap().is_none());
    let roles = Api::<ClusterRole>::all(helm.client.clone());
    for role in ["queues", "queues-crds", "encrypted-queue-author"] {
        assert!(roles.get_opt(role).await.unwrap().is_none(), "{role} is left");
    }

    // What was kept belongs to the next install.
    helm.deploys("install", &[]).await;
    assert_eq!(lasting(&helm).await.keys().collect::<Vec<_>>(), installed.keys().collect::<Vec<_>>());
}

#[tokio::test]
async fn older_definitions_are_noticed_and_upgraded() {
    let helm = Helm::start().await;
    helm.deploys("install", &["--create-namespace"]).await;
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

/// Every pod of the chart is one that the restricted profile admits, and would not be without what its template says.
#[tokio::test]
async fn the_pods_are_restricted() {
    let helm = Helm::start().await;
    let labels = json!({"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}});
    let namespace: Namespace = serde_json::from_value(json!({"metadata": labels})).unwrap();
    Api::all(helm.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    helm.deploys("install", &[]).await;
    helm.succeeds("test", &[]).await;

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

/// Alerts and dashboard ask for what the operator exports, and each alert has a section in the runbooks.
#[test]
fn alerts_and_dashboard_are_about_metrics_that_exist() {
    let metrics = Metrics::new(Arc::new(CallCounts::default()));
    metrics.reconciled(Kind::QueueKey, ReconcileResult::Failed, Duration::from_secs(1));
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
