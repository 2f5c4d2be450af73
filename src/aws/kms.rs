//! KMS: what is written to keys. Never data, never a grant.

use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::types::Tag;
use jiff::Timestamp;

use super::clients::Clients;
use super::codes::Kind;
use super::error::{AwsError, found};
use super::identity::timestamp;
use super::kms_read::metadata;
use crate::plan::state::{KeyMetadata, Tags};

/// The call that makes a key; its turn is reserved before.
pub const CREATE_KEY: &str = "kms:CreateKey";

/// For calls that must not be repeated behind the caller's back.
fn once() -> aws_sdk_kms::config::Builder {
    aws_sdk_kms::config::Config::builder().retry_config(RetryConfig::disabled())
}

/// The id in a key's ARN; several calls are refused by emulators when they name a key by its ARN, and AWS takes both.
fn bare_id(key: &str) -> &str {
    key.rsplit_once(":key/").map_or(key, |(_, id)| id)
}

fn to_sdk(operation: &'static str, tags: &Tags) -> Result<Vec<Tag>, AwsError> {
    let tag = |(key, value): (&String, &String)| Tag::builder().tag_key(key).tag_value(value).build();
    tags.iter().map(tag).collect::<Result<_, _>>().map_err(|error| AwsError::new(operation, Kind::Invalid, "InvalidRequest", error.to_string()))
}

impl Clients {
    /// Makes a symmetric key: `kms:CreateKey`. It is sent once only, since the call has no idempotency token and a repetition would make a second key:
    /// after [`AwsError::outcome_unknown`] look for it by its tags.
    pub async fn create_key(&self, policy: &str, tags: &Tags, description: &str) -> Result<KeyMetadata, AwsError> {
        let call = self.kms.create_key().policy(policy).description(description).set_tags(Some(to_sdk(CREATE_KEY, tags)?));
        let answer = call.customize().config_override(once()).send().await.map_err(|error| AwsError::from_sdk(CREATE_KEY, &error))?;
        answer.key_metadata.map(metadata).ok_or_else(|| AwsError { outcome_unknown: true, ..AwsError::incomplete(CREATE_KEY, "key") })
    }

    /// Replaces a key's policy, with KMS's check that the caller keeps `kms:PutKeyPolicy`: `kms:PutKeyPolicy`.
    pub async fn put_key_policy(&self, key: &str, policy: &str) -> Result<(), AwsError> {
        let call = self.kms.put_key_policy().key_id(bare_id(key)).policy_name("default").policy(policy);
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("kms:PutKeyPolicy", &error))
    }

    /// Gives a key a new description: `kms:UpdateKeyDescription`.
    pub async fn update_key_description(&self, key: &str, description: &str) -> Result<(), AwsError> {
        let call = self.kms.update_key_description().key_id(bare_id(key)).description(description);
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("kms:UpdateKeyDescription", &error))
    }

    /// Makes an alias, `alias/…`: `kms:CreateAlias`.
    pub async fn create_alias(&self, alias: &str, key: &str) -> Result<(), AwsError> {
        let call = self.kms.create_alias().alias_name(alias).target_key_id(bare_id(key));
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("kms:CreateAlias", &error))
    }

    /// Points an alias at another key: `kms:UpdateAlias`.
    pub async fn update_alias(&self, alias: &str, key: &str) -> Result<(), AwsError> {
        let call = self.kms.update_alias().alias_name(alias).target_key_id(bare_id(key));
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("kms:UpdateAlias", &error))
    }

    /// Deletes an alias; nothing to do when it is gone: `kms:DeleteAlias`.
    pub async fn delete_alias(&self, alias: &str) -> Result<(), AwsError> {
        let answer = self.kms.delete_alias().alias_name(alias).send().await;
        found(answer.map_err(|error| AwsError::from_sdk("kms:DeleteAlias", &error))).map(drop)
    }

    /// Turns automatic rotation on, or changes its period: `kms:EnableKeyRotation`.
    pub async fn enable_key_rotation(&self, key: &str, period_days: i32) -> Result<(), AwsError> {
        let call = self.kms.enable_key_rotation().key_id(bare_id(key)).rotation_period_in_days(period_days);
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("kms:EnableKeyRotation", &error))
    }

    /// Turns automatic rotation off: `kms:DisableKeyRotation`.
    pub async fn disable_key_rotation(&self, key: &str) -> Result<(), AwsError> {
        let call = self.kms.disable_key_rotation().key_id(bare_id(key));
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("kms:DisableKeyRotation", &error))
    }

    /// Rotates now: `kms:RotateKeyOnDemand`. It is sent once only, since a key has 25 of these in its life.
    pub async fn rotate_key_on_demand(&self, key: &str) -> Result<(), AwsError> {
        let call = self.kms.rotate_key_on_demand().key_id(bare_id(key)).customize().config_override(once());
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("kms:RotateKeyOnDemand", &error))
    }

    /// Adds tags or gives them new values: `kms:TagResource`.
    pub async fn tag_key(&self, key: &str, tags: &Tags) -> Result<(), AwsError> {
        const OPERATION: &str = "kms:TagResource";
        let call = self.kms.tag_resource().key_id(bare_id(key)).set_tags(Some(to_sdk(OPERATION, tags)?));
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk(OPERATION, &error))
    }

    /// Removes tags: `kms:UntagResource`.
    pub async fn untag_key(&self, key: &str, tag_keys: &[String]) -> Result<(), AwsError> {
        let call = self.kms.untag_resource().key_id(bare_id(key)).set_tag_keys(Some(tag_keys.to_vec()));
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("kms:UntagResource", &error))
    }

    /// Makes a disabled key usable: `kms:EnableKey`.
    pub async fn enable_key(&self, key: &str) -> Result<(), AwsError> {
        let call = self.kms.enable_key().key_id(bare_id(key));
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("kms:EnableKey", &error))
    }

    /// Takes a key back from deletion; it is disabled afterwards: `kms:CancelKeyDeletion`.
    pub async fn cancel_key_deletion(&self, key: &str) -> Result<(), AwsError> {
        let call = self.kms.cancel_key_deletion().key_id(bare_id(key));
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("kms:CancelKeyDeletion", &error))
    }

    /// Schedules a key's deletion and returns when it is due: `kms:ScheduleKeyDeletion`.
    pub async fn schedule_key_deletion(&self, key: &str, window_days: i32) -> Result<Timestamp, AwsError> {
        const OPERATION: &str = "kms:ScheduleKeyDeletion";
        let call = self.kms.schedule_key_deletion().key_id(bare_id(key)).pending_window_in_days(window_days);
        let answer = call.send().await.map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        answer.deletion_date.as_ref().and_then(timestamp).ok_or_else(|| AwsError::incomplete(OPERATION, "deletion date"))
    }

    /// Takes a grant back; nothing to do when it is gone: `kms:RevokeGrant`.
    pub async fn revoke_grant(&self, key: &str, grant_id: &str) -> Result<(), AwsError> {
        let answer = self.kms.revoke_grant().key_id(bare_id(key)).grant_id(grant_id).send().await;
        found(answer.map_err(|error| AwsError::from_sdk("kms:RevokeGrant", &error))).map(drop)
    }
}
