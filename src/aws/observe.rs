//! What plans ask AWS. The controller and `encrypted-queue plan` both read through here.

use super::clients::Clients;
use super::error::AwsError;
use super::kms_read::RotationCause;
use crate::plan::effect::{KeyEffect, QueueEffect};
use crate::plan::observed::FoundKey;
use crate::plan::state::QueueState;
use crate::plan::{KeyAction, QueueAction, QueueLocator};

impl Clients {
    /// Answers an action that reads; none: it is not one.
    pub async fn observe_queues(&self, action: &QueueAction) -> Result<Option<QueueEffect>, AwsError> {
        Ok(Some(match action {
            QueueAction::ReadQueues { source, dead_letter } => {
                let (source, dead_letter) = tokio::try_join!(Box::pin(self.locate(Some(source))), Box::pin(self.locate(dead_letter.as_ref())))?;
                QueueEffect::Queues { source, dead_letter }
            }
            QueueAction::ReadFoundKey { key } => QueueEffect::FoundKey(self.key_arn(key).await?),
            QueueAction::ReadDeadLetterSources { url } => QueueEffect::DeadLetterSources(self.dead_letter_sources(url).await?),
            _ => return Ok(None),
        }))
    }

    async fn locate(&self, locator: Option<&QueueLocator>) -> Result<Option<QueueState>, AwsError> {
        match locator {
            Some(QueueLocator { url: Some(url), name: _ }) => self.read_queue(url).await,
            Some(QueueLocator { url: None, name }) => self.find_queue(name).await,
            None => Ok(None),
        }
    }

    /// Answers an action that reads; none: it is not one.
    pub async fn observe_key(&self, action: &KeyAction) -> Result<Option<KeyEffect>, AwsError> {
        Ok(Some(match action {
            KeyAction::FindByAlias { alias } => {
                let Some(metadata) = self.describe_key(alias).await? else { return Ok(Some(KeyEffect::ByAlias(None))) };
                let tags = self.key_tags(&metadata.id).await?;
                KeyEffect::ByAlias(Some(FoundKey { metadata, tags }))
            }
            KeyAction::FindByTags { tags } => {
                let found = self.find_keys(tags).await?;
                KeyEffect::ByTags(found.into_iter().map(|key| FoundKey { metadata: key.metadata, tags: key.tags }).collect())
            }
            KeyAction::ReadKey { id } => KeyEffect::Key(self.read_key(id).await?.map(Box::new)),
            KeyAction::ReadRotations { id } => {
                let rotations = self.list_key_rotations(id).await?;
                KeyEffect::Rotations(rotations.into_iter().filter(|r| r.cause == RotationCause::OnDemand).map(|r| r.at).collect())
            }
            KeyAction::FindQueuesUnderKey { arn } => KeyEffect::QueuesUnderKey(self.queues_under_key(arn).await?),
            _ => return Ok(None),
        }))
    }
}
