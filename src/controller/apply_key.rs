//! Applies key actions: one arm each, and no choices.

use std::sync::Arc;

use jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use rand::RngExt;
use serde_json::json;

use super::Failure;
use super::context::Context;
use super::status::write_key_status;
use crate::api::labels::FINALIZER;
use crate::api::{QueueKey, QueueKeyStatus, Tenant};
use crate::aws::{CREATE_KEY, Clients, Kind};
use crate::plan::effect::KeyEffect;
use crate::plan::{KeyAction, record};

/// Where the actions on one QueueKey are applied; `object` is the newest version, since every durable write is checked against it.
pub(super) struct KeyApplier<'a> {
    pub(super) ctx: &'a Context,
    pub(super) object: QueueKey,
    pub(super) tenant: &'a Tenant,
}

impl KeyApplier<'_> {
    async fn aws(&self) -> Result<Arc<Clients>, Failure> {
        self.ctx.clients(self.tenant, Some(&self.object.spec.region)).await.map_err(|error| Failure::no_account(self.tenant, error))
    }

    /// Applies one action.
    pub(super) async fn apply(&mut self, action: &KeyAction, now: Timestamp) -> Result<KeyEffect, Failure> {
        match action {
            // Looked up before it came to stand in line, and again when it is its turn.
            KeyAction::FindByAlias { .. } => {
                let aws = self.aws().await?;
                aws.stands_in_line(CREATE_KEY)?;
                Ok(aws.observe_key(action).await?.unwrap_or(KeyEffect::Done))
            }
            KeyAction::FindByTags { .. }
            | KeyAction::ReadEvidence { .. }
            | KeyAction::ReadLastUse { .. }
            | KeyAction::ReadKey { .. }
            | KeyAction::ReadRotations { .. }
            | KeyAction::FindQueuesUnderKey { .. } => Ok(self.aws().await?.observe_key(action).await?.unwrap_or(KeyEffect::Done)),
            KeyAction::RecordNonce => {
                // Once a nonce is on record the key is made at once, or may have been made: whoever has no turn yet writes none.
                self.aws().await?.reserve(CREATE_KEY).await?;
                self.ctx.leadership.check()?;
                self.record_nonce(now).await
            }
            KeyAction::CreateKey { policy, tags, description } => {
                let aws = self.aws().await?;
                aws.reserve(CREATE_KEY).await?;
                // Obtaining credentials may have taken long: whoever may not lead any more must not make a key.
                self.ctx.leadership.check()?;
                Ok(KeyEffect::Created(aws.create_key(policy, tags, description).await?))
            }
            KeyAction::CancelKeyDeletion { id } => done(self.aws().await?.cancel_key_deletion(id).await),
            KeyAction::EnableKey { id } => done(self.aws().await?.enable_key(id).await),
            KeyAction::PutKeyPolicy { id, policy } => done(self.aws().await?.put_key_policy(id, policy).await),
            KeyAction::RevokeGrant { id, grant, grantee: _ } => done(self.aws().await?.revoke_grant(id, grant).await),
            KeyAction::CreateAlias { alias, id } => match self.aws().await?.create_alias(alias, id).await {
                Err(error) if error.kind == Kind::AlreadyExists => Ok(KeyEffect::AliasTaken),
                other => done(other),
            },
            KeyAction::UpdateAlias { alias, id } => done(self.aws().await?.update_alias(alias, id).await),
            KeyAction::EnableKeyRotation { id, period_days } => done(self.aws().await?.enable_key_rotation(id, *period_days).await),
            KeyAction::TagKey { id, tags } => done(self.aws().await?.tag_key(id, tags).await),
            KeyAction::UntagKey { id, keys } => done(self.aws().await?.untag_key(id, keys).await),
            KeyAction::RecordKey { .. }
            | KeyAction::ForgetApplied { .. }
            | KeyAction::RecordUsers { .. }
            | KeyAction::RecordDeletedPrincipals { .. }
            | KeyAction::RecordReleased { .. }
            | KeyAction::RecordRotationStart { .. }
            | KeyAction::RecordRotationServed { .. } => self.record(|status| record::record(status, action, now)).await,
            KeyAction::MarkApproval { name } => {
                super::access_approval::mark_applied(self.ctx, name, now).await?;
                Ok(KeyEffect::Done)
            }
            KeyAction::RotateKeyOnDemand { id } => done(self.aws().await?.rotate_key_on_demand(id).await),
            KeyAction::ScheduleKeyDeletion { id, window_days } => {
                self.aws().await?.schedule_key_deletion(id, *window_days).await?;
                Ok(KeyEffect::Done)
            }
            KeyAction::EndObject { policy: _ } => self.end_object().await,
            KeyAction::Hold(_) => Ok(KeyEffect::Done),
        }
    }

    /// Writes status, checked by resourceVersion; what comes back is the newest version.
    async fn record(&mut self, change: impl FnOnce(&mut QueueKeyStatus)) -> Result<KeyEffect, Failure> {
        let mut status = self.object.status.clone().unwrap_or_default();
        change(&mut status);
        self.object = write_key_status(self.ctx, &self.object, &status).await?;
        Ok(KeyEffect::Done)
    }

    async fn record_nonce(&mut self, now: Timestamp) -> Result<KeyEffect, Failure> {
        let nonce = hex::encode(rand::rng().random::<[u8; 16]>());
        let mut status = self.object.status.clone().unwrap_or_default();
        let written = record::record_nonce(&mut status, nonce, now);
        self.object = write_key_status(self.ctx, &self.object, &status).await?;
        Ok(KeyEffect::Nonce(written))
    }

    async fn end_object(&mut self) -> Result<KeyEffect, Failure> {
        let (api, name): (Api<QueueKey>, _) = (Api::all(self.ctx.client.clone()), self.object.name_any());
        // By UID: a queue may have made the object again meanwhile.
        let uid = self.object.uid();
        if self.object.metadata.deletion_timestamp.is_none() {
            let preconditions = Preconditions { uid: uid.clone(), resource_version: None };
            match api.delete(&name, &DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() }).await {
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return Ok(KeyEffect::Done),
                deleted => drop(deleted?),
            }
        }
        let finalizers: Vec<&String> = self.object.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
        match api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&json!({"metadata": {"finalizers": finalizers, "uid": uid}}))).await {
            Ok(_) => Ok(KeyEffect::Done),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(KeyEffect::Done),
            Err(error) => Err(error.into()),
        }
    }
}

fn done<E: Into<Failure>>(result: Result<(), E>) -> Result<KeyEffect, Failure> {
    result.map(|()| KeyEffect::Done).map_err(Into::into)
}
