//! What a slow check reads: tags and aliases of many resources together, all else of each by itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::clients::Clients;
use super::error::{AwsError, found};
use crate::plan::effect::{KeyEffect, QueueEffect};
use crate::plan::state::{KeyState, QueueState, Tags};
use crate::plan::{KeyAction, QueueAction, QueueLocator};

/// ARNs that `tag:GetResources` takes at once (Resource Groups Tagging API reference).
const ARNS: usize = 100;

/// Aliases by the id of the key they point at.
pub type Aliases = HashMap<String, BTreeSet<String>>;

/// Tags of some resources and the aliases of an account and Region.
#[derive(Debug)]
pub struct ReadTogether {
    /// Tags by ARN; a resource that has none may be missing.
    pub tags: HashMap<String, Tags>,
    /// Aliases.
    pub aliases: Arc<Aliases>,
}

/// Reads single resources, but for what was read of many together a while ago. The tag index lags, too: a difference that shows here is none until a direct
/// read shows it.
#[derive(Debug)]
pub struct Reader<'a> {
    /// Reads.
    pub clients: &'a Clients,
    /// None: everything is read directly.
    pub together: Option<&'a ReadTogether>,
}

impl Clients {
    /// Tags of these resources, by ARN, a hundred a call; one that has none may be missing: `tag:GetResources`.
    pub async fn tags_of(&self, arns: &[String]) -> Result<HashMap<String, Tags>, AwsError> {
        let mut tags = HashMap::with_capacity(arns.len());
        for arns in arns.chunks(ARNS) {
            let answer = self.tagging.get_resources().set_resource_arn_list(Some(arns.to_vec())).send().await;
            let answer = answer.map_err(|error| AwsError::from_sdk("tag:GetResources", &error))?;
            for resource in answer.resource_tag_mapping_list.unwrap_or_default() {
                let of_resource = resource.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect();
                tags.extend(resource.resource_arn.map(|arn| (arn, of_resource)));
            }
        }
        Ok(tags)
    }

    /// The aliases that begin so, of all keys: `kms:ListAliases`.
    pub async fn all_aliases(&self, prefix: &str) -> Result<Aliases, AwsError> {
        let mut aliases = Aliases::new();
        let mut pages = self.kms.list_aliases().limit(100).into_paginator().items().send();
        while let Some(alias) = pages.try_next().await.map_err(|error| AwsError::from_sdk("kms:ListAliases", &error))? {
            if let (Some(name), Some(key)) = (alias.alias_name.filter(|name| name.starts_with(prefix)), alias.target_key_id) {
                aliases.entry(key).or_default().insert(name);
            }
        }
        Ok(aliases)
    }
}

impl Reader<'_> {
    /// As [`Clients::observe_queues`].
    pub async fn observe_queues(&self, action: &QueueAction) -> Result<Option<QueueEffect>, AwsError> {
        let (QueueAction::ReadQueues { source, dead_letter }, Some(together)) = (action, self.together) else {
            return self.clients.observe_queues(action).await;
        };
        let (source, dead_letter) = tokio::try_join!(self.locate(Some(source), together), self.locate(dead_letter.as_ref(), together))?;
        Ok(Some(QueueEffect::Queues { source, dead_letter }))
    }

    async fn locate(&self, locator: Option<&QueueLocator>, together: &ReadTogether) -> Result<Option<QueueState>, AwsError> {
        let Some(QueueLocator { name, url }) = locator else { return Ok(None) };
        let url = match url {
            Some(url) => url.clone(),
            None => match self.clients.queue_url(name).await? {
                Some(url) => url,
                None => return Ok(None),
            },
        };
        let tags = together.tags.get(self.clients.place().queue_arn(name).as_str()).cloned().unwrap_or_default();
        Ok(found(self.clients.all_attributes(&url).await)?.map(|attributes| QueueState { url, attributes, tags }))
    }

    /// As [`Clients::observe_key`].
    pub async fn observe_key(&self, action: &KeyAction) -> Result<Option<KeyEffect>, AwsError> {
        let (KeyAction::ReadKey { id }, Some(together)) = (action, self.together) else { return self.clients.observe_key(action).await };
        let tags = together.tags.get(&self.clients.place().key_arn(id)).cloned().unwrap_or_default();
        let aliases = together.aliases.get(id).cloned().unwrap_or_default();
        let rest =
            tokio::try_join!(self.clients.describe_key(id), self.clients.key_policy(id), self.clients.key_rotation(id), self.clients.key_grants(id));
        let state = found(rest)?
            .and_then(|(metadata, policy, rotation, grants)| metadata.map(|metadata| KeyState { metadata, policy, tags, aliases, rotation, grants }));
        Ok(Some(KeyEffect::Key(state.map(Box::new))))
    }
}
