//! The ConfigMap that tells an app where its queue is.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;

use super::Failure;
use super::cache::cached_name;
use super::context::Context;
use super::status::MANAGER;
use crate::api::labels::OWNED_BY;
use crate::api::{EncryptedQueue, EncryptedQueueStatus};

/// Whether the ConfigMap is as it should be.
pub(super) enum ConfigMapState {
    /// It is, or there is nothing to tell yet.
    Fine,
    /// One of this name, with this UID, is not the operator's and stays untouched.
    Foreign(String),
}

/// Whether a map is this object's to write: another controller's is not, whatever its labels.
fn is_ours(map: &impl ResourceExt, uid: &str) -> bool {
    let is_another = |owner: &OwnerReference| owner.controller == Some(true) && owner.uid != uid;
    let owners = map.owner_references();
    (map.labels().contains_key(OWNED_BY) || owners.iter().any(|owner| owner.uid == uid)) && !owners.iter().any(is_another)
}

/// Writes the ConfigMap of a queue that exists; unchanged content is not written.
pub(super) async fn ensure(ctx: &Context, object: &EncryptedQueue, status: &EncryptedQueueStatus, region: &str) -> Result<ConfigMapState, Failure> {
    let Some(queue) = &status.queue else { return Ok(ConfigMapState::Fine) };
    let (name, namespace, uid) = (object.name_any(), object.namespace().unwrap_or_default(), object.uid().unwrap_or_default());
    let mut data: BTreeMap<&str, &str> = [("AWS_REGION", region), ("QUEUE_ARN", &queue.arn), ("QUEUE_URL", &queue.url)].into();
    if let Some(dead_letter) = &status.dead_letter_queue {
        data.extend(dead_letter.known_url().map(|url| ("DLQ_URL", url)));
    }
    let cached = ctx.stores.config_maps.facts(&cached_name(object), |map| map.says(&uid, &data));
    if cached == Some(true) {
        return Ok(ConfigMapState::Fine);
    }
    let api: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &namespace);
    // The cache holds only maps with our label: what is not in it may still exist, and anyone may set a label.
    if let Some(map) = api.get_metadata_opt(&name).await?
        && !is_ours(&map, &uid)
    {
        return Ok(ConfigMapState::Foreign(map.uid().unwrap_or_default()));
    }
    let metadata = json!({"name": name, "labels": {OWNED_BY: uid}, "ownerReferences": [object.controller_owner_ref(&())]});
    let patch = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
    api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch)).await?;
    Ok(ConfigMapState::Fine)
}
