//! Reports over the manifests of `examples/`, changed where a case needs it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod golden;
mod reading;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::*;
use crate::api::queue_key::NamespacedName;
use crate::desired::{ServiceAccountRole, object_name};
use crate::names::RoleArn;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn name(namespace: &str, name: &str) -> NamespacedName {
    NamespacedName { namespace: namespace.into(), name: name.into() }
}

fn orders() -> NamespacedName {
    name("acme-prod", "orders")
}

/// The examples as the cluster has them, each document changed by `edit` first.
fn cluster(edit: impl Fn(&mut Value)) -> Snapshot {
    let role = RoleArn::parse("arn:aws:iam::123456789012:role/platform/encrypted-queue-operator").unwrap();
    let mut snapshot = Snapshot { operator_role: Some(role), ..Snapshot::default() };
    let entries = std::fs::read_dir(repository().join("examples")).unwrap().map(|entry| entry.unwrap().path());
    for file in entries.filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(file).unwrap();
        for mut document in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
            edit(&mut document);
            add(&mut snapshot, document);
        }
    }
    snapshot
}

fn add(snapshot: &mut Snapshot, document: Value) {
    let name = document["metadata"]["name"].as_str().unwrap().to_owned();
    match document["kind"].as_str().unwrap() {
        "Namespace" => {
            let labels = document["metadata"].get("labels").cloned().unwrap_or_else(|| json!({}));
            snapshot.namespaces.insert(name, serde_json::from_value(labels).unwrap());
        }
        "Tenant" => drop(snapshot.tenants.insert(name, serde_json::from_value(document).unwrap())),
        "SensitivityTier" => drop(snapshot.tiers.insert(name, serde_json::from_value(document).unwrap())),
        "QueueKey" => drop(snapshot.keys.insert(name, serde_json::from_value(document).unwrap())),
        "EncryptedQueue" => {
            let queue: crate::api::EncryptedQueue = serde_json::from_value(document).unwrap();
            snapshot.queues.insert(object_name(&queue), queue);
        }
        kind => panic!("{kind}"),
    }
}

fn is(document: &Value, kind: &str, name: &str) -> bool {
    document["kind"] == kind && document["metadata"]["name"] == name
}

fn report(snapshot: &Snapshot, queue: &NamespacedName) -> QueueReport {
    Explainer::new(snapshot).explain(queue).unwrap()
}

fn all(snapshot: &Snapshot) -> Vec<QueueReport> {
    let explainer = Explainer::new(snapshot);
    snapshot.queues.keys().map(|name| explainer.explain(name).unwrap()).collect()
}

/// A row by the end of its principal.
fn row<'a>(report: &'a QueueReport, principal: &str) -> &'a PrincipalReport {
    let ends = |row: &&PrincipalReport| row.principal.as_deref().is_some_and(|known| known.ends_with(principal));
    report.principals.iter().find(ends).unwrap_or_else(|| panic!("no {principal} in {report:#?}"))
}

fn permissions(row: &PrincipalReport) -> Vec<Permission> {
    row.permissions.iter().map(|known| known.permission).collect()
}
