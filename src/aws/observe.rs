//! What plans ask AWS. The controller and `encrypted-queue plan` both read through here.

use super::clients::Clients;
use super::codes::Kind;
use super::error::AwsError;
use super::kms_read::{KeyLastUsed, RotationCause};
use crate::plan::effect::{KeyEffect, QueueEffect};
use crate::plan::observed::{FoundKey, KeyEvidence, LastUse};
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
            KeyAction::ReadEvidence { ids } => KeyEffect::Evidence(self.evidence(ids).await?),
            KeyAction::ReadLastUse { id } => KeyEffect::LastUse(self.last_use(id).await?),
            KeyAction::FindQueuesUnderKey { arn } => KeyEffect::QueuesUnderKey(self.queues_under_key(arn).await?),
            _ => return Ok(None),
        }))
    }

    /// What tells whether keys are needed; every queue of the account and Region is looked at once.
    pub async fn evidence(&self, ids: &[String]) -> Result<Vec<KeyEvidence>, AwsError> {
        let mut found = Vec::new();
        for id in ids {
            let arn = self.place().key_arn(id);
            let policy = match self.key_policy(id).await {
                Ok(policy) => Some(policy),
                Err(error) if matches!(error.kind, Kind::AccessDenied | Kind::NotFound) => None,
                Err(error) => return Err(error),
            };
            let (queues, last_use) = tokio::try_join!(self.queues_under_key(&arn), self.last_use(id))?;
            found.push(KeyEvidence { id: id.clone(), policy, queues, last_use });
        }
        Ok(found)
    }

    /// Unknown as well where the operator may not ask: what is not known is never taken for unused.
    async fn last_use(&self, id: &str) -> Result<LastUse, AwsError> {
        Ok(match self.key_last_used(id).await {
            Ok(Some(KeyLastUsed { at: Some(at), operation, .. })) => LastUse::At { at, operation: operation.unwrap_or_default() },
            Ok(Some(KeyLastUsed { tracked_since: Some(since), created_at: Some(created), .. })) if since <= created => LastUse::Never,
            Ok(_) => LastUse::Unknown,
            Err(error) if error.kind == Kind::AccessDenied => LastUse::Unknown,
            Err(error) => return Err(error),
        })
    }
}
