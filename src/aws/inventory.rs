//! Reads of whole accounts: in pages and sweeps where AWS has them, one resource at a time where not.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_kms::types;
use aws_sdk_resourcegroupstagging::types::ResourceTagMapping;
use aws_sdk_sqs::types::QueueAttributeName;

use super::clients::Clients;
use super::error::{AwsError, found};
use super::kms_read::{KeyLastUsed, metadata};
use crate::plan::state::{Attributes, KeyMetadata, KmsGrant, RotationState, Tags};

/// A key as `DescribeKey` reports it, with what an audit asks beside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyDescription {
    /// What the operator asks.
    pub metadata: KeyMetadata,
    /// Whether it is a customer's, not one that AWS manages.
    pub is_customers: bool,
    /// Where its material comes from.
    pub origin: String,
    /// Its kind: `SYMMETRIC_DEFAULT` and others.
    pub spec: String,
    /// Whether its material is that of keys in other Regions.
    pub multi_region: bool,
}

/// An alias and the id of the key that it points at; none: AWS has not made that key yet.
pub type Alias = (String, Option<String>);

impl Clients {
    /// All of a queue but its tags, if it exists: `sqs:GetQueueAttributes`.
    pub async fn read_queue_attributes(&self, url: &str) -> Result<Option<Attributes>, AwsError> {
        found(self.queue_attributes(url, QueueAttributeName::All).await)
    }

    /// Tags of all resources of a kind (`sqs`, `kms:key`) that have any, by ARN, a hundred a page: `tag:GetResources`. The index lags by minutes.
    pub async fn tags_of_all(&self, kind: &str) -> Result<BTreeMap<String, Tags>, AwsError> {
        let pages = self.tagging.get_resources().resource_type_filters(kind).resources_per_page(100).into_paginator().items().send();
        let resources: Vec<ResourceTagMapping> = pages.try_collect().await.map_err(|error| AwsError::from_sdk("tag:GetResources", &error))?;
        let tags = |resource: &ResourceTagMapping| resource.tags().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
        Ok(resources.iter().filter_map(|resource| Some((resource.resource_arn()?.to_owned(), tags(resource)))).collect())
    }

    /// All aliases of the account and Region: `kms:ListAliases`.
    pub async fn list_aliases(&self) -> Result<Vec<Alias>, AwsError> {
        let pages = self.kms.list_aliases().limit(100).into_paginator().items().send();
        let aliases: Vec<types::AliasListEntry> = pages.try_collect().await.map_err(|error| AwsError::from_sdk("kms:ListAliases", &error))?;
        Ok(aliases.into_iter().filter_map(|alias| Some((alias.alias_name?, alias.target_key_id))).collect())
    }

    /// Ids of all keys of the account and Region, AWS managed ones included: `kms:ListKeys`.
    pub async fn list_key_ids(&self) -> Result<Vec<String>, AwsError> {
        self.listed().await
    }

    /// A key, if it exists: `kms:DescribeKey`.
    pub async fn describe_fully(&self, key: &str) -> Result<Option<KeyDescription>, AwsError> {
        let answer = self.kms.describe_key().key_id(key).send().await;
        let answer = found(answer.map_err(|error| AwsError::from_sdk("kms:DescribeKey", &error)))?;
        Ok(answer.and_then(|answer| answer.key_metadata).map(description))
    }

    /// A key's policy, if it exists: `kms:GetKeyPolicy`.
    pub async fn read_key_policy(&self, id: &str) -> Result<Option<String>, AwsError> {
        found(self.key_policy(id).await)
    }

    /// A key's rotation, if it exists; off where its kind or state has none: `kms:GetKeyRotationStatus`.
    pub async fn read_key_rotation(&self, id: &str) -> Result<Option<RotationState>, AwsError> {
        found(self.key_rotation(id).await)
    }

    /// A key's grants, if it exists: `kms:ListGrants`.
    pub async fn read_key_grants(&self, id: &str) -> Result<Option<Vec<KmsGrant>>, AwsError> {
        found(self.key_grants(id).await)
    }

    /// A key's tags, if it exists: `kms:ListResourceTags`.
    pub async fn read_key_tags(&self, id: &str) -> Result<Option<Tags>, AwsError> {
        found(self.key_tags(id).await)
    }

    /// A key's aliases, if it exists: `kms:ListAliases`.
    pub async fn read_key_aliases(&self, id: &str) -> Result<Option<BTreeSet<String>>, AwsError> {
        found(self.key_aliases(id).await)
    }

    /// What KMS knows of a key's use; none where it does not tell: `kms:GetKeyLastUsage`.
    pub async fn read_last_use(&self, id: &str) -> Result<Option<KeyLastUsed>, AwsError> {
        self.key_last_used(id).await
    }
}

fn description(key: types::KeyMetadata) -> KeyDescription {
    KeyDescription {
        is_customers: key.key_manager != Some(types::KeyManagerType::Aws),
        origin: key.origin.as_ref().map_or("AWS_KMS", types::OriginType::as_str).to_owned(),
        spec: key.key_spec.as_ref().map_or("SYMMETRIC_DEFAULT", types::KeySpec::as_str).to_owned(),
        multi_region: key.multi_region.unwrap_or_default(),
        metadata: metadata(key),
    }
}
