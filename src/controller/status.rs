//! Writes status: server-side apply, one field manager, and nothing when nothing changed.

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::context::Context;
use crate::api::{EncryptedQueue, EncryptedQueueStatus, QueueKey, QueueKeyStatus};

/// Field manager of everything the controllers write.
pub(super) const MANAGER: &str = "encrypted-queue-operator";

/// Applies a whole status; `checked` asks that nobody wrote the object since.
async fn apply<K, S>(api: &Api<K>, object: &K, status: &S, checked: bool) -> kube::Result<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
    S: Serialize,
{
    // The UID keeps the status of a deleted object off its successor of the same name.
    let mut metadata = json!({"name": object.name_any(), "uid": object.uid()});
    if let (true, Some(version)) = (checked, object.resource_version()) {
        metadata["resourceVersion"] = version.into();
    }
    let patch = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "status": status});
    let written = api.patch_status(&object.name_any(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(&patch)).await?;
    // What somebody added by hand is theirs for an apply, and stays.
    let Some(added) = added(&written, status) else { return Ok(written) };
    let patch = json!({"metadata": {"uid": object.uid(), "resourceVersion": written.resource_version()}, "status": added});
    api.patch_status(&object.name_any(), &PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }, &Patch::Merge(&patch))
        .await
}

/// A merge patch that takes away the fields of the written object's status that are not in `status`; none: there are no such fields.
fn added(written: &impl Serialize, status: &impl Serialize) -> Option<Value> {
    let (written, wanted) = (serde_json::to_value(written).ok()?, serde_json::to_value(status).ok()?);
    let fields = written.get("status")?.as_object()?.keys().filter(|field| wanted.get(*field).is_none());
    let removed: serde_json::Map<String, Value> = fields.map(|field| (field.clone(), Value::Null)).collect();
    (!removed.is_empty()).then_some(Value::Object(removed))
}

/// Writes an EncryptedQueue's status, unless it is there already.
pub(super) async fn write_queue_status(ctx: &Context, object: &EncryptedQueue, status: &EncryptedQueueStatus) -> kube::Result<bool> {
    if object.status.as_ref() == Some(status) {
        return Ok(false);
    }
    let api: Api<EncryptedQueue> = Api::namespaced(ctx.client.clone(), &object.namespace().unwrap_or_default());
    ctx.stores.queues.note(&apply(&api, object, status, false).await?);
    Ok(true)
}

/// Writes an EncryptedQueue's first status, unless somebody wrote the object since.
pub(super) async fn write_first_queue_status(ctx: &Context, object: &EncryptedQueue, status: &EncryptedQueueStatus) -> kube::Result<()> {
    let api: Api<EncryptedQueue> = Api::namespaced(ctx.client.clone(), &object.namespace().unwrap_or_default());
    apply(&api, object, status, true).await.map(drop)
}

/// Writes a QueueKey's status, checked by resourceVersion: two writers never both go on from the same state.
pub(super) async fn write_key_status(ctx: &Context, object: &QueueKey, status: &QueueKeyStatus) -> kube::Result<QueueKey> {
    if object.status.as_ref() == Some(status) {
        return Ok(object.clone());
    }
    let written = apply(&Api::all(ctx.client.clone()), object, status, true).await?;
    ctx.stores.keys.note(&written);
    Ok(written)
}

/// Writes the status of a cluster-scoped object of the platform's or security team's; the object as written, if it was.
pub(super) async fn write_cluster_status<K, S>(ctx: &Context, object: &K, previous: Option<&S>, status: &S) -> kube::Result<Option<K>>
where
    K: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
    S: Serialize + PartialEq,
{
    if previous == Some(status) {
        return Ok(None);
    }
    apply(&Api::<K>::all(ctx.client.clone()), object, status, false).await.map(Some)
}
