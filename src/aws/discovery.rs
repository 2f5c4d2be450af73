//! Finding keys by their tags, and telling whether a role exists.

use std::collections::BTreeSet;

use aws_sdk_resourcegroupstagging::types::TagFilter;
use futures::{StreamExt, TryStreamExt, stream};

use super::clients::Clients;
use super::codes::Kind;
use super::error::{AwsError, found};
use crate::names::RoleArn;
use crate::plan::state::{KeyMetadata, Tags};

/// Keys read at once during a search.
const CONCURRENT_READS: usize = 8;

/// A key and its tags.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TaggedKey {
    /// The key.
    pub metadata: KeyMetadata,
    /// All its tags.
    pub tags: Tags,
}

impl Clients {
    /// Keys that carry all these tags, deleted ones left out: by the tag index, and by listing every key where the index may not be asked or finds
    /// none, since it lags.
    pub async fn find_keys(&self, tags: &Tags) -> Result<Vec<TaggedKey>, AwsError> {
        match self.find_keys_by_tags(tags).await {
            Ok(keys) if !keys.is_empty() => Ok(keys),
            Err(error) if !matches!(error.kind, Kind::AccessDenied | Kind::Unsupported | Kind::Invalid) => Err(error),
            Ok(_) | Err(_) => self.find_keys_by_listing(tags).await,
        }
    }

    /// Keys that carry all these tags and are not among those that are known, deleted ones left out. The known ones cost nothing but their place in a list
    /// of a hundred, or of a thousand where the tag index may not be asked or knows none of them.
    pub async fn find_other_keys(&self, tags: &Tags, known: &BTreeSet<String>) -> Result<Vec<TaggedKey>, AwsError> {
        let indexed = match self.indexed(tags).await {
            Ok(ids) if known.is_empty() || ids.iter().any(|id| known.contains(id)) => Some(ids),
            Err(error) if !matches!(error.kind, Kind::AccessDenied | Kind::Unsupported | Kind::Invalid) => return Err(error),
            Ok(_) | Err(_) => None,
        };
        let listed = indexed.is_none();
        let ids = match indexed {
            Some(ids) => ids,
            None => self.listed().await?,
        };
        self.confirm(ids.into_iter().filter(|id| !known.contains(id)).collect(), tags, listed).await
    }

    /// [`Clients::find_keys`] by the tag index alone: `tag:GetResources`, each key confirmed by `kms:DescribeKey` and `kms:ListResourceTags`, since the
    /// index keeps what was tagged once.
    pub async fn find_keys_by_tags(&self, tags: &Tags) -> Result<Vec<TaggedKey>, AwsError> {
        self.confirm(self.indexed(tags).await?, tags, false).await
    }

    /// Ids of what the tag index knows by these tags.
    async fn indexed(&self, tags: &Tags) -> Result<Vec<String>, AwsError> {
        let filters = tags.iter().map(|(key, value)| TagFilter::builder().key(key).values(value).build()).collect();
        let call = self.tagging.get_resources().resource_type_filters("kms:key").resources_per_page(100).set_tag_filters(Some(filters));
        let found = call.into_paginator().items().send().try_collect().await;
        let resources: Vec<_> = found.map_err(|error| AwsError::from_sdk("tag:GetResources", &error))?;
        Ok(resources.iter().filter_map(|resource| Some(resource.resource_arn()?.rsplit_once(":key/")?.1.to_owned())).collect())
    }

    /// [`Clients::find_keys`] by reading the tags of every key: `kms:ListKeys`, `kms:ListResourceTags` and `kms:DescribeKey`. Keys whose tags the
    /// operator may not read are not its own.
    pub async fn find_keys_by_listing(&self, tags: &Tags) -> Result<Vec<TaggedKey>, AwsError> {
        self.confirm(self.listed().await?, tags, true).await
    }

    /// Ids of all keys.
    pub(super) async fn listed(&self) -> Result<Vec<String>, AwsError> {
        let listed = self.kms.list_keys().limit(1000).into_paginator().items().send().try_collect().await;
        let keys: Vec<_> = listed.map_err(|error| AwsError::from_sdk("kms:ListKeys", &error))?;
        Ok(keys.into_iter().filter_map(|key| key.key_id).collect())
    }

    /// Those of `ids` that exist and carry `tags`.
    async fn confirm(&self, ids: Vec<String>, tags: &Tags, skip_denied: bool) -> Result<Vec<TaggedKey>, AwsError> {
        let mut keys: Vec<TaggedKey> = stream::iter(ids)
            .map(|id| self.confirm_one(id, tags, skip_denied))
            .buffer_unordered(CONCURRENT_READS)
            .try_filter_map(|key| async { Ok(key) })
            .try_collect()
            .await?;
        keys.sort_by(|a, b| a.metadata.id.cmp(&b.metadata.id));
        Ok(keys)
    }

    async fn confirm_one(&self, id: String, wanted: &Tags, skip_denied: bool) -> Result<Option<TaggedKey>, AwsError> {
        let tags = match found(self.key_tags(&id).await) {
            Ok(Some(tags)) => tags,
            Ok(None) => return Ok(None),
            Err(error) if skip_denied && error.kind == Kind::AccessDenied => return Ok(None),
            Err(error) => return Err(error),
        };
        if !wanted.iter().all(|(key, value)| tags.get(key) == Some(value)) {
            return Ok(None);
        }
        Ok(self.describe_key(&id).await?.map(|metadata| TaggedKey { metadata, tags }))
    }

    /// Whether a role of this account exists; `None` when the operator cannot know, for a role elsewhere or without the permission: `iam:GetRole`.
    pub async fn role_exists(&self, role: &RoleArn) -> Result<Option<bool>, AwsError> {
        if role.account() != self.place().account {
            return Ok(None);
        }
        let answer = self.iam.get_role().role_name(role.name()).send().await;
        match found(answer.map_err(|error| AwsError::from_sdk("iam:GetRole", &error))) {
            // A role of this name under another path is another principal.
            Ok(answer) => Ok(Some(answer.and_then(|answer| answer.role).is_some_and(|known| known.arn == role.as_str()))),
            Err(error) if error.kind == Kind::AccessDenied => Ok(None),
            Err(error) => Err(error),
        }
    }
}
