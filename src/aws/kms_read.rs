//! KMS: what is read of keys.

use std::collections::BTreeSet;

use aws_sdk_kms::types;
use jiff::Timestamp;

use super::clients::Clients;
use super::codes::Kind;
use super::error::{AwsError, NO_CODE, found};
use super::identity::timestamp;
use crate::plan::state::{KeyLifecycle, KeyMetadata, KeyState, KmsGrant, RotationState, Tags};

/// Why key material was rotated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RotationCause {
    /// Its period was over.
    Automatic,
    /// Someone asked for it.
    OnDemand,
}

/// A rotation that took place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyRotation {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: RotationCause,
}

/// What KMS knows of a key's use.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyLastUsed {
    /// The last use; absent: none since `tracked_since`.
    pub at: Option<Timestamp>,
    /// Its operation.
    pub operation: Option<String>,
    /// CloudTrail's id of the event.
    pub event_id: Option<String>,
    /// Since when KMS looks.
    pub tracked_since: Option<Timestamp>,
    /// When the key was made.
    pub created_at: Option<Timestamp>,
}

impl Clients {
    /// A key by id, ARN or alias, if it exists: `kms:DescribeKey`.
    pub async fn describe_key(&self, key: &str) -> Result<Option<KeyMetadata>, AwsError> {
        let answer = self.kms.describe_key().key_id(key).send().await;
        let answer = found(answer.map_err(|error| AwsError::from_sdk("kms:DescribeKey", &error)))?;
        Ok(answer.and_then(|answer| answer.key_metadata).map(metadata))
    }

    /// ARN of the key that a queue names; none where it does not exist or its owner lets nobody look, and for SQS's own, which stays an alias:
    /// `kms:DescribeKey`.
    pub async fn key_arn(&self, key: &str) -> Result<Option<String>, AwsError> {
        if key.starts_with("alias/aws/") {
            return Ok(None);
        }
        match self.describe_key(key).await {
            Ok(metadata) => Ok(metadata.map(|metadata| metadata.arn)),
            Err(error) if matches!(error.kind, Kind::AccessDenied | Kind::Invalid) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All of a key that the operator manages, if it exists: `kms:DescribeKey`, then at once `kms:GetKeyPolicy`, `kms:GetKeyRotationStatus`,
    /// `kms:ListResourceTags`, `kms:ListAliases` and `kms:ListGrants`.
    pub async fn read_key(&self, key: &str) -> Result<Option<KeyState>, AwsError> {
        let Some(metadata) = self.describe_key(key).await? else {
            return Ok(None);
        };
        let id = metadata.id.as_str();
        let rest = tokio::try_join!(self.key_policy(id), self.key_rotation(id), self.key_tags(id), self.key_aliases(id), self.key_grants(id));
        Ok(found(rest)?.map(|(policy, rotation, tags, aliases, grants)| KeyState { metadata, policy, tags, aliases, rotation, grants }))
    }

    /// A key's tags: `kms:ListResourceTags`.
    pub async fn key_tags(&self, id: &str) -> Result<Tags, AwsError> {
        let pages = self.kms.list_resource_tags().key_id(id).into_paginator().items().send();
        let tags: Vec<types::Tag> = pages.try_collect().await.map_err(|error| AwsError::from_sdk("kms:ListResourceTags", &error))?;
        Ok(tags.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect())
    }

    /// The rotations that a key has had: `kms:ListKeyRotations`.
    pub async fn list_key_rotations(&self, id: &str) -> Result<Vec<KeyRotation>, AwsError> {
        let pages = self.kms.list_key_rotations().key_id(id).into_paginator().items().send();
        let entries: Vec<types::RotationsListEntry> =
            pages.try_collect().await.map_err(|error| AwsError::from_sdk("kms:ListKeyRotations", &error))?;
        let rotation = |entry: types::RotationsListEntry| {
            let cause = match entry.rotation_type? {
                types::RotationType::OnDemand => RotationCause::OnDemand,
                _ => RotationCause::Automatic,
            };
            Some(KeyRotation { at: entry.rotation_date.as_ref().and_then(timestamp)?, cause })
        };
        Ok(entries.into_iter().filter_map(rotation).collect())
    }

    /// A key's last use; `None` where the endpoint does not know the call, which means "unknown" and never "unused": `kms:GetKeyLastUsage`.
    pub async fn key_last_used(&self, id: &str) -> Result<Option<KeyLastUsed>, AwsError> {
        let answer = self.kms.get_key_last_usage().key_id(id).send().await;
        match answer.map_err(|error| AwsError::from_sdk("kms:GetKeyLastUsage", &error)) {
            Ok(answer) => {
                let tracked_since = answer.tracking_start_date.as_ref().and_then(timestamp);
                let created_at = answer.key_creation_date.as_ref().and_then(timestamp);
                let Some(usage) = answer.key_last_usage else {
                    return Ok(Some(KeyLastUsed { tracked_since, created_at, ..KeyLastUsed::default() }));
                };
                Ok(Some(KeyLastUsed {
                    at: usage.timestamp.as_ref().and_then(timestamp),
                    operation: usage.operation.map(|operation| operation.as_str().to_owned()),
                    event_id: usage.cloud_trail_event_id,
                    tracked_since,
                    created_at,
                }))
            }
            // An emulator that does not know the call fails without a code; AWS always gives one.
            Err(error) if error.kind == Kind::Unsupported || error.code == NO_CODE => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Policy of the key that a queue names, by id, ARN or alias; none where it does not exist or may not be read: `kms:DescribeKey`, `kms:GetKeyPolicy`.
    pub async fn readable_key_policy(&self, key: &str) -> Result<Option<String>, AwsError> {
        let Some(arn) = self.key_arn(key).await? else { return Ok(None) };
        match self.key_policy(&arn).await {
            Ok(policy) => Ok(Some(policy)),
            Err(error) if matches!(error.kind, Kind::AccessDenied | Kind::Invalid | Kind::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn key_policy(&self, id: &str) -> Result<String, AwsError> {
        const OPERATION: &str = "kms:GetKeyPolicy";
        let answer = self.kms.get_key_policy().key_id(id).policy_name("default").send().await;
        answer.map_err(|error| AwsError::from_sdk(OPERATION, &error))?.policy.ok_or_else(|| AwsError::incomplete(OPERATION, "policy"))
    }

    /// No rotation where the key's kind or state has none.
    pub(super) async fn key_rotation(&self, id: &str) -> Result<RotationState, AwsError> {
        let answer = self.kms.get_key_rotation_status().key_id(id).send().await;
        match answer.map_err(|error| AwsError::from_sdk("kms:GetKeyRotationStatus", &error)) {
            Ok(answer) => Ok(RotationState {
                enabled: answer.key_rotation_enabled,
                period_days: answer.rotation_period_in_days,
                next_at: answer.next_rotation_date.as_ref().and_then(timestamp),
            }),
            Err(error) if matches!(error.kind, Kind::Unsupported | Kind::KeyUnusable) => Ok(RotationState::default()),
            Err(error) => Err(error),
        }
    }

    /// Aliases of a key: `kms:ListAliases`.
    pub async fn key_aliases(&self, id: &str) -> Result<BTreeSet<String>, AwsError> {
        let pages = self.kms.list_aliases().key_id(id).into_paginator().items().send();
        let aliases: Vec<types::AliasListEntry> = pages.try_collect().await.map_err(|error| AwsError::from_sdk("kms:ListAliases", &error))?;
        Ok(aliases.into_iter().filter_map(|alias| alias.alias_name).collect())
    }

    pub(super) async fn key_grants(&self, id: &str) -> Result<Vec<KmsGrant>, AwsError> {
        let pages = self.kms.list_grants().key_id(id).into_paginator().items().send();
        let grants: Vec<types::GrantListEntry> = pages.try_collect().await.map_err(|error| AwsError::from_sdk("kms:ListGrants", &error))?;
        Ok(grants.into_iter().map(grant).collect())
    }
}

pub(super) fn metadata(key: types::KeyMetadata) -> KeyMetadata {
    let lifecycle = match key.key_state {
        Some(types::KeyState::Enabled) => KeyLifecycle::Enabled,
        Some(types::KeyState::Disabled) => KeyLifecycle::Disabled,
        Some(types::KeyState::PendingDeletion) => KeyLifecycle::PendingDeletion,
        Some(other) => KeyLifecycle::Other(other.as_str().to_owned()),
        None => KeyLifecycle::Other("Unknown".to_owned()),
    };
    KeyMetadata {
        id: key.key_id,
        arn: key.arn.unwrap_or_default(),
        lifecycle,
        description: key.description.unwrap_or_default(),
        created_at: key.creation_date.as_ref().and_then(timestamp),
        deletion_date: key.deletion_date.as_ref().and_then(timestamp),
    }
}

fn grant(grant: types::GrantListEntry) -> KmsGrant {
    KmsGrant {
        id: grant.grant_id.unwrap_or_default(),
        grantee: grant.grantee_principal.or(grant.grantee_service_principal).unwrap_or_default(),
        operations: grant.operations.unwrap_or_default().iter().map(|operation| operation.as_str().to_owned()).collect(),
    }
}
