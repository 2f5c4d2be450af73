//! What the API server makes of the definitions: structure, defaults, columns, selectors, status.

use encrypted_queue::api::{AccessApproval, EncryptedQueue, QueueKey, SensitivityTier, Tenant};
use encrypted_queue::commands::crds;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::cases::Object;
use crate::cases::{access_approval::approval, encrypted_queue::queue, queue_key::key, sensitivity_tier::tier, tenant::tenant};
use crate::cluster::{apply, client, collection};
use crate::examples;

#[tokio::test]
async fn the_definitions_are_structural_and_stored_as_generated() {
    let client = client().await;
    let api = Api::<CustomResourceDefinition>::all(client);
    for generated in crds::all() {
        let stored = api.get(&generated.name_any()).await.unwrap();
        let conditions = stored.status.unwrap().conditions.unwrap_or_default();
        let faults: Vec<_> =
            conditions.iter().filter(|c| c.type_ == "NonStructuralSchema" || (c.type_ == "NamesAccepted" && c.status != "True")).collect();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(stored.spec.versions, generated.spec.versions, "{}", generated.name_any());
    }
}

/// What the server stores of the smallest object is what the Rust type reads from it: the defaults of schema and type are the same.
#[tokio::test]
async fn the_server_fills_in_the_defaults_of_the_types() {
    async fn spec_of(client: &Client, object: &Object) -> Value {
        serde_json::to_value(apply(client, &object.0, true).await.unwrap()).unwrap()["spec"].clone()
    }
    let client = client().await;
    let queue = queue().with("spec.deadLetter", json!({})).with("spec.queue.fifo", json!({}));
    macro_rules! same {
        ($kind:ty, $object:expr) => {
            let read: $kind = serde_json::from_value($object.0.clone()).unwrap();
            assert_eq!(spec_of(&client, &$object).await, serde_json::to_value(&read.spec).unwrap());
        };
    }
    same!(EncryptedQueue, queue);
    same!(Tenant, tenant());
    same!(SensitivityTier, tier());
    same!(QueueKey, key());
    same!(AccessApproval, approval());
}

#[tokio::test]
async fn kubectl_get_shows_the_columns() {
    let client = client().await;
    let expected = [
        ("encryptedqueues", "Name Tenant Tier Ready Reason Age", "Queue Key Region Message"),
        ("tenants", "Name Account Queues Compliant Ready Cost Age", "Reason Message"),
        ("sensitivitytiers", "Name Scope Approval Queues Ready Age", ""),
        ("queuekeys", "Name Tenant Tier State Ready Reason Age", "Alias KeyId Message"),
        ("accessapprovals", "Name Key Namespace Queue Approved-By Applied Age", ""),
    ];
    for (plural, always, wide) in expected {
        let request = http::Request::get(format!("/apis/encryptedqueue.dev/v1alpha1/{plural}"))
            .header("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
            .body(Vec::new())
            .unwrap();
        let table: Value = client.request(request).await.unwrap();
        let of_priority = |wide: bool| {
            let columns = table["columnDefinitions"].as_array().unwrap().iter();
            columns.filter(|c| (c["priority"] != 0) == wide).map(|c| c["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!((of_priority(false).as_str(), of_priority(true).as_str()), (always, wide), "{plural}");
    }
}

#[tokio::test]
async fn objects_are_selected_by_tenant_tier_and_key() {
    let client = client().await;
    let objects = [
        (queue().with("spec.tenant", "selected"), "spec.tenant=selected,spec.sensitivityTier=restricted"),
        (key().with("spec.tenant", "selected"), "spec.tenant=selected,spec.sensitivityTier=restricted"),
        (approval().with("spec.queueKey", "selected"), "spec.queueKey=selected"),
    ];
    for (object, selector) in objects {
        let object = object.with("metadata.name", "selected");
        apply(&client, &object.0, false).await.unwrap();
        let api = collection(&client, &object.0);
        let found = api.list(&ListParams::default().fields(selector)).await.unwrap();
        assert_eq!(found.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["selected"], "{}", object.kind());
    }
}

/// Status is a subresource, its lists merge by key, and its conditions are bounded.
#[tokio::test]
async fn status_is_written_apart_and_merged_by_key() {
    let client = client().await;
    let object = key().with("metadata.name", "status").with("status", json!({ "keyId": "ignored" }));
    let applied = apply(&client, &object.0, false).await.unwrap();
    assert_eq!(applied.data.get("status"), None, "apply writes no status");

    let api = collection(&client, &object.0);
    let write = async |manager: &str, status: Value| {
        let patch = json!({ "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "QueueKey", "status": status });
        api.patch_status("status", &PatchParams::apply(manager), &Patch::Apply(&patch)).await.map_err(|error| error.to_string())
    };
    let condition = |kind: &str, reason: &str| json!([{ "type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-11-23T00:00:00Z" }]);
    let user = |name: &str| json!([{ "namespace": "acme-prod", "name": name, "uid": "2c1d7f3e-0000-4000-8000-000000000000", "grantsSha256": "a".repeat(64) }]);
    write("one", json!({ "conditions": condition("Ready", "InSync"), "users": user("orders") })).await.unwrap();
    let merged = write("two", json!({ "conditions": condition("PolicyInSync", "InSync"), "users": user("invoices") })).await.unwrap();
    assert_eq!(merged.data["status"]["conditions"].as_array().unwrap().len(), 2);
    assert_eq!(merged.data["status"]["users"].as_array().unwrap().len(), 2);

    let refused = write("three", json!({ "conditions": condition("Ready", "not camel case") })).await.unwrap_err();
    assert!(refused.contains("status.conditions"), "{refused}");
}

#[tokio::test]
async fn the_examples_are_accepted() {
    let client = client().await;
    for (file, document) in examples::all() {
        if document["kind"] == "Namespace" {
            let name = document["metadata"]["name"].as_str().unwrap();
            Api::<Namespace>::all(client.clone()).patch(name, &PatchParams::apply("test"), &Patch::Apply(&document)).await.unwrap();
        } else {
            apply(&client, &document, true).await.unwrap_or_else(|message| panic!("{file}: {message}"));
        }
    }
}
