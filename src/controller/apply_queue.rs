//! Applies queue actions: one arm each, and no choices.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use super::Failure;
use super::context::Context;
use super::status::{MANAGER, write_queue_status};
use crate::api::labels::FINALIZER;
use crate::api::queue_key::QueueKeySpec;
use crate::api::{DeletionPolicy, EncryptedQueue, QueueKey, Tenant};
use crate::aws::Clients;
use crate::clock;
use crate::plan::effect::QueueEffect;
use crate::plan::objects::observed_key_object;
use crate::plan::{ObservedKeyObject, QueueAction, record};

/// Where the actions on one EncryptedQueue are applied.
pub(super) struct QueueApplier<'a> {
    pub(super) ctx: &'a Context,
    pub(super) object: &'a EncryptedQueue,
    pub(super) tenant: Option<&'a Tenant>,
}

impl QueueApplier<'_> {
    async fn aws(&self) -> Result<Arc<Clients>, Failure> {
        let tenant = self.tenant.ok_or_else(|| Failure::missing_tenant(&self.object.spec.tenant))?;
        self.ctx.clients(tenant, self.object.spec.region.as_deref()).await.map_err(|error| Failure::no_account(tenant, error))
    }

    fn api(&self) -> Api<EncryptedQueue> {
        Api::namespaced(self.ctx.client.clone(), &self.object.namespace().unwrap_or_default())
    }

    /// Applies one action.
    pub(super) async fn apply(&self, action: &QueueAction) -> Result<QueueEffect, Failure> {
        match action {
            QueueAction::AddFinalizer => self.finalizer(&[FINALIZER]).await,
            QueueAction::RemoveFinalizer => self.finalizer(&[]).await,
            QueueAction::EnsureKey { name, spec } => self.ensure_key(name, spec).await,
            QueueAction::ForgetApplied { .. }
            | QueueAction::RecordNextKey { .. }
            | QueueAction::RecordKeys { .. }
            | QueueAction::RecordAdoption { .. }
            | QueueAction::RecordDeadLetterUnused
            | QueueAction::ForgetDeadLetter => self.record(action).await,
            QueueAction::ReadQueues { .. } | QueueAction::ReadFoundKey { .. } | QueueAction::ReadDeadLetterSources { .. } => {
                Ok(self.aws().await?.observe_queues(action).await?.unwrap_or(QueueEffect::Done))
            }
            QueueAction::CreateQueue { which: _, name, attributes, tags } => {
                let url = self.aws().await?.create_queue(name, attributes, tags).await?;
                Ok(QueueEffect::Created { url })
            }
            QueueAction::SetQueueAttributes { which: _, url, attributes, revokes: _ } => {
                self.aws().await?.set_queue_attributes(url, attributes).await?;
                Ok(QueueEffect::Done)
            }
            QueueAction::TagQueue { which: _, url, tags } => {
                self.aws().await?.tag_queue(url, tags).await?;
                Ok(QueueEffect::Done)
            }
            QueueAction::UntagQueue { which: _, url, keys } => {
                self.aws().await?.untag_queue(url, keys).await?;
                Ok(QueueEffect::Done)
            }
            QueueAction::DeleteQueue { which: _, url } => {
                self.aws().await?.delete_queue(url).await?;
                Ok(QueueEffect::Done)
            }
            QueueAction::SetKeyDeletionPolicy { name, policy } => self.set_deletion_policy(name, *policy).await,
            QueueAction::Hold(_) => Ok(QueueEffect::Done),
        }
    }

    /// Our finalizers are a list of our own manager's: others' stay.
    async fn finalizer(&self, ours: &[&str]) -> Result<QueueEffect, Failure> {
        let mut finalizers: Vec<String> = self.object.finalizers().iter().filter(|name| *name != FINALIZER).cloned().collect();
        finalizers.extend(ours.iter().map(|name| (*name).to_owned()));
        let version = self.object.resource_version();
        let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": version}});
        match self.api().patch_metadata(&self.object.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(QueueEffect::Done),
            Err(kube::Error::Api(status)) if status.is_not_found() && ours.is_empty() => Ok(QueueEffect::Done),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes what the action records into the newest status.
    async fn record(&self, action: &QueueAction) -> Result<QueueEffect, Failure> {
        let object = self.ctx.newest_queue(self.object);
        let mut status = object.status.clone().unwrap_or_default();
        record::record_queue(&mut status, action, clock::now());
        write_queue_status(self.ctx, &object, &status).await?;
        Ok(QueueEffect::Done)
    }

    async fn set_deletion_policy(&self, name: &str, policy: DeletionPolicy) -> Result<QueueEffect, Failure> {
        let patch = json!({"spec": {"deletionPolicy": policy}});
        match Api::<QueueKey>::all(self.ctx.client.clone()).patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(QueueEffect::Done),
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(QueueEffect::Done),
            Err(error) => Err(error.into()),
        }
    }

    async fn ensure_key(&self, name: &str, spec: &QueueKeySpec) -> Result<QueueEffect, Failure> {
        let api: Api<QueueKey> = Api::all(self.ctx.client.clone());
        let key = QueueKey {
            metadata: ObjectMeta { name: Some(name.to_owned()), finalizers: Some(vec![FINALIZER.to_owned()]), ..ObjectMeta::default() },
            spec: spec.clone(),
            status: None,
        };
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let key = match api.create(&params, &key).await {
            Ok(key) => key,
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                let patch = json!({"spec": {"deletionPolicy": spec.deletion_policy}});
                api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await?
            }
            Err(error) => return Err(error.into()),
        };
        let observed: ObservedKeyObject = observed_key_object(&key, self.object);
        Ok(QueueEffect::Key(observed))
    }
}
