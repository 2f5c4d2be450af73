//! The operator's own audit, and the command with a cluster: what the operator makes is compliant, and what is not its own is told.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::bad_input::{namespace, tenant};
use crate::budget::{metric, metric_name};
use crate::life::{apply_examples, platform};
use crate::world::{ACCOUNT, OPERATOR, World};

/// The definition of the reports, as far as they are used here; what it does not name is pruned.
fn definition() -> Value {
    let text = json!({"type": "string"});
    let reference = json!({"type": "object", "properties": {"apiVersion": text, "kind": text, "namespace": text, "name": text, "uid": text}});
    let result = json!({"type": "object", "required": ["policy"], "properties": {
        "source": text, "policy": text, "category": text, "scored": {"type": "boolean"}, "message": text,
        "severity": {"type": "string", "enum": ["critical", "high", "low", "medium", "info"]},
        "result": {"type": "string", "enum": ["pass", "fail", "warn", "error", "skip"]},
        "timestamp": {"type": "object", "required": ["seconds", "nanos"], "properties": {
            "seconds": {"type": "integer", "format": "int64"}, "nanos": {"type": "integer", "format": "int32"}}},
        "properties": {"type": "object", "additionalProperties": text},
        "resources": {"type": "array", "items": reference},
    }});
    let count = json!({"type": "integer"});
    let summary = json!({"type": "object", "properties": {"pass": count, "fail": count, "warn": count, "error": count, "skip": count}});
    let schema = json!({"type": "object", "properties": {"scope": reference, "summary": summary, "results": {"type": "array", "items": result}}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "clusterpolicyreports.wgpolicyk8s.io"},
        "spec": {
            "group": "wgpolicyk8s.io", "scope": "Cluster",
            "names": {"kind": "ClusterPolicyReport", "listKind": "ClusterPolicyReportList", "plural": "clusterpolicyreports", "singular": "clusterpolicyreport"},
            "versions": [{"name": "v1alpha2", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn reports(world: &World) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("wgpolicyk8s.io", "v1alpha2", "ClusterPolicyReport");
    Api::all_with(world.client.clone(), &ApiResource::from_gvk_with_plural(&kind, "clusterpolicyreports"))
}

/// The tenant's report: the policies and ARNs of its results.
async fn results(world: &World) -> Option<(DynamicObject, Vec<(String, String)>)> {
    let report = reports(world).get_opt("encrypted-queue-tenant-acme").await.unwrap()?;
    let told = |result: &Value| (result["policy"].as_str().unwrap().to_owned(), result["properties"]["arn"].as_str().unwrap().to_owned());
    let results = report.data["results"].as_array().map(|results| results.iter().map(told).collect()).unwrap_or_default();
    Some((report, results))
}

/// `encrypted-queue audit -o json` with the cluster: exit status and report.
async fn audit(world: &World) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_encrypted-queue"))
        .args(["audit", "-o", "json", "--tenant", "acme"])
        .env("KUBECONFIG", world.control_plane.kubeconfig_path())
        .env("AWS_ENDPOINT_URL", world.proxy.endpoint())
        .env("AWS_ACCESS_KEY_ID", "operator")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("ENCRYPTED_QUEUE_OPERATOR_ROLE_ARN", OPERATOR)
        .output()
        .await
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

#[tokio::test]
async fn what_the_operator_makes_is_compliant_and_the_rest_is_told() {
    let mut world = World::new().await;
    world.apply_object(&definition()).await;
    platform(&world).await;
    world.start_operator(&["--audit-period", "6s"]);
    apply_examples(&world, &["queue-orders", "queue-notifications", "queue-emails"]).await;
    for name in ["orders", "notifications", "emails"] {
        world.until_ready("acme-prod", name).await;
    }

    let (exit, report) = audit(&world).await;
    let wrong: Vec<_> = report["resources"].as_array().unwrap().iter().filter(|resource| resource["findings"] != json!([])).collect();
    assert_eq!((wrong, exit), (vec![], Some(0)), "what the operator makes has no findings");
    assert!(report["resources"].as_array().unwrap().iter().all(|resource| resource["object"].is_string()), "{report:#}");

    let sqs = world.sqs(ACCOUNT, "eu-west-1").await;
    let managed = aws_sdk_sqs::types::QueueAttributeName::SqsManagedSseEnabled;
    let legacy = sqs.create_queue().queue_name("acme-legacy").attributes(managed, "true").send().await.unwrap().queue_url.unwrap();
    let arn = format!("arn:aws:sqs:eu-west-1:{ACCOUNT}:acme-legacy");
    let expected = |check: &str| (check.to_owned(), arn.clone());
    world
        .until("the report tells of it", async || results(&world).await.is_some_and(|(_, results)| results.contains(&expected("queue-sse-sqs"))))
        .await;
    let (first, found) = results(&world).await.unwrap();
    assert!(found.iter().all(|(_, of)| *of == arn), "nothing is wrong with what the operator made: {found:?}");
    assert!(found.contains(&expected("queue-undeclared")) && found.contains(&expected("queue-untagged")), "{found:?}");
    assert_eq!((first.data["scope"]["name"].as_str(), first.metadata.owner_references.as_ref().unwrap().len()), (Some("acme"), 1));
    world
        .until("an Event tells of it on the tenant", async || {
            world.events("default", "acme").await.iter().any(|(reason, note)| reason == "AuditFinding" && note.contains("queue-sse-sqs"))
        })
        .await;
    let (_, report) = audit(&world).await;
    assert_eq!((report["summary"]["queues"].as_u64(), report["summary"]["findings"]["medium"].as_u64()), (Some(5), Some(2)), "{}", report["summary"]);

    // Unchanged, it is not written again.
    tokio::time::sleep(std::time::Duration::from_secs(13)).await;
    let (later, _) = results(&world).await.unwrap();
    assert_eq!(later.metadata.resource_version, first.metadata.resource_version);

    sqs.delete_queue().queue_url(legacy).send().await.unwrap();
    world.until("what is mended is told no more", async || results(&world).await.is_some_and(|(_, results)| results.is_empty())).await;
}

/// The definition as OpenReports has it.
fn openreports() -> Value {
    let path = test_support::openreports_definition().expect("tools/openreports.sh");
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn open_reports(world: &World) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("openreports.io", "v1alpha1", "ClusterReport");
    Api::all_with(world.client.clone(), &ApiResource::from_gvk_with_plural(&kind, "clusterreports"))
}

async fn legacy(world: &World, names: &[&str]) {
    let sqs = world.sqs(ACCOUNT, "eu-west-1").await;
    for name in names {
        let managed = aws_sdk_sqs::types::QueueAttributeName::SqsManagedSseEnabled;
        sqs.create_queue().queue_name(*name).attributes(managed, "true").send().await.unwrap();
    }
}

#[tokio::test]
async fn a_restart_remembers_and_what_is_known_of_a_tenant_goes_with_it() {
    let mut world = World::new().await;
    namespace(&world, "team", json!({})).await;
    legacy(&world, &["acme-legacy", "other-legacy"]).await;
    world.start_operator(&["--leader-election", "false", "--audit-period", "4s"]);
    world.apply_object(&tenant("acme", &json!({}))).await;
    world.apply_object(&tenant("globex", &json!({}))).await;
    // Without a definition, nothing but metrics and Events; what is missing is said.
    world.until("the metric tells of it", async || metric(&world, &metric_name("queue-sse-sqs", "acme")).await.as_deref() == Some("1")).await;
    let missing = "install the CustomResourceDefinition clusterpolicyreports.wgpolicyk8s.io (v1alpha2) or clusterreports.openreports.io (v1alpha1)";
    assert_eq!(world.operator_log().matches(missing).count(), 1);

    world.apply_object(&openreports()).await;
    let reports = open_reports(&world);
    let report = async |name: &str| reports.get_opt(name).await.ok().flatten();
    world.until("the reports are written", async || report("encrypted-queue-account-123456789012").await.is_some()).await;
    let written = report("encrypted-queue-tenant-acme").await.unwrap();
    let of_acme: Vec<&str> = written.data["results"].as_array().unwrap().iter().map(|result| result["policy"].as_str().unwrap()).collect();
    assert!(of_acme.contains(&"queue-sse-sqs") && of_acme.contains(&"queue-undeclared"), "{of_acme:?}");
    assert_eq!(
        (written.data["scope"]["name"].as_str(), written.data["results"][0]["source"].as_str()),
        (Some("acme"), Some("encrypted-queue-operator"))
    );

    // Another process goes on from the reports: it neither reads AWS for them nor tells of anything as new.
    world.stop_operator();
    let told = world.events("default", "acme").await.len();
    let mark = world.proxy.mark();
    world.start_operator(&["--leader-election", "false", "--audit-period", "1000h"]);
    world.until("the metric is back", async || metric(&world, &metric_name("queue-sse-sqs", "acme")).await.as_deref() == Some("1")).await;
    assert!(world.proxy.calls_since(mark).iter().all(|call| call.operation != "ListQueues"));
    assert_eq!(world.events("default", "acme").await.len(), told);

    // Nothing collects garbage here: the operator itself deletes it.
    world.tenants().delete("acme", &kube::api::DeleteParams::default()).await.unwrap();
    world.until("the report is gone", async || report("encrypted-queue-tenant-acme").await.is_none()).await;
    world.until("so is the metric", async || metric(&world, &metric_name("queue-sse-sqs", "acme")).await.is_none()).await;
    assert!(report("encrypted-queue-tenant-globex").await.is_some() && report("encrypted-queue-account-123456789012").await.is_some());
    world.tenants().delete("globex", &kube::api::DeleteParams::default()).await.unwrap();
    world.until("with the last tenant the account's goes", async || report("encrypted-queue-account-123456789012").await.is_none()).await;
}
