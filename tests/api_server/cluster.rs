//! A control plane with the definitions installed, shared by all tests.

use std::time::Duration;

use encrypted_queue::commands::crds;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams};
use kube::runtime::{conditions, wait::await_condition};
use kube::{Client, ResourceExt};
use serde_json::Value;
use test_support::{ControlPlane, User};
use tokio::sync::OnceCell;

/// The administrator's client; the definitions are established.
pub async fn client() -> Client {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let client = ControlPlane::shared().await.unwrap().client(User::Admin).await.unwrap();
    INSTALLED.get_or_init(|| install(&client)).await;
    client
}

pub async fn install(client: &Client) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    for definition in crds::all() {
        let name = definition.name_any();
        api.patch(&name, &PatchParams::apply("test"), &Patch::Apply(&definition)).await.unwrap();
        let established = await_condition(api.clone(), &name, conditions::is_crd_established());
        tokio::time::timeout(Duration::from_secs(30), established).await.expect("established within 30 s").unwrap();
    }
}

/// The collection that the object belongs to.
pub fn collection(client: &Client, object: &Value) -> Api<DynamicObject> {
    let kind = object["kind"].as_str().unwrap();
    let definition = crds::all().into_iter().find(|definition| definition.spec.names.kind == kind).unwrap();
    let resource = ApiResource {
        group: definition.spec.group.clone(),
        version: "v1alpha1".to_owned(),
        api_version: format!("{}/v1alpha1", definition.spec.group),
        kind: kind.to_owned(),
        plural: definition.spec.names.plural.clone(),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

/// Server-side apply, as `kubectl apply --server-side` does.
pub async fn apply(client: &Client, object: &Value, dry_run: bool) -> Result<DynamicObject, String> {
    let parameters = PatchParams { dry_run, ..PatchParams::apply("test").validation_strict() };
    let name = object["metadata"]["name"].as_str().unwrap();
    collection(client, object).patch(name, &parameters, &Patch::Apply(object)).await.map_err(|error| error.to_string())
}
