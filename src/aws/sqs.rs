//! SQS: queues by name and URL. Never a message.

use std::collections::HashMap;

use aws_sdk_sqs::types::QueueAttributeName;
use futures::{StreamExt, TryStreamExt, stream};

use super::clients::Clients;
use super::error::{AwsError, found};
use crate::names::queue_name_of;
use crate::plan::state::{Attributes, QueueState, Tags};

impl Clients {
    /// A queue's URL, if it exists: `sqs:GetQueueUrl`.
    pub async fn queue_url(&self, name: &str) -> Result<Option<String>, AwsError> {
        let answer = self.sqs.get_queue_url().queue_name(name).send().await;
        Ok(found(answer.map_err(|error| AwsError::from_sdk("sqs:GetQueueUrl", &error)))?.and_then(|answer| answer.queue_url))
    }

    /// All of a queue, if it exists: `sqs:GetQueueAttributes` and `sqs:ListQueueTags`, at once.
    pub async fn read_queue(&self, url: &str) -> Result<Option<QueueState>, AwsError> {
        let both = tokio::try_join!(self.all_attributes(url), self.queue_tags(url));
        Ok(found(both)?.map(|(attributes, tags)| QueueState { url: url.to_owned(), attributes, tags }))
    }

    /// [`Clients::queue_url`], then [`Clients::read_queue`].
    pub async fn find_queue(&self, name: &str) -> Result<Option<QueueState>, AwsError> {
        match self.queue_url(name).await? {
            Some(url) => self.read_queue(&url).await,
            None => Ok(None),
        }
    }

    /// The key that a queue names, as it names it; none for a queue without one, or no queue: `sqs:GetQueueAttributes`.
    pub async fn queue_key_id(&self, url: &str) -> Result<Option<String>, AwsError> {
        let attributes = found(self.queue_attributes(url, QueueAttributeName::KmsMasterKeyId).await)?;
        Ok(attributes.and_then(|mut attributes| attributes.remove(QueueAttributeName::KmsMasterKeyId.as_str())).filter(|key| !key.is_empty()))
    }

    /// URLs of all queues of the account and Region: `sqs:ListQueues`.
    pub async fn list_queue_urls(&self) -> Result<Vec<String>, AwsError> {
        // Without a page size SQS answers at most 1,000 queues and no way to go on.
        let pages = self.sqs.list_queues().max_results(1000).into_paginator().items().send();
        pages.try_collect().await.map_err(|error| AwsError::from_sdk("sqs:ListQueues", &error))
    }

    /// Names of the queues that send their dead letters to this one: `sqs:ListDeadLetterSourceQueues`.
    pub async fn dead_letter_sources(&self, url: &str) -> Result<Vec<String>, AwsError> {
        let pages = self.sqs.list_dead_letter_source_queues().queue_url(url).max_results(1000).into_paginator().items().send();
        let urls: Vec<String> = pages.try_collect().await.map_err(|error| AwsError::from_sdk("sqs:ListDeadLetterSourceQueues", &error))?;
        Ok(urls.iter().map(|url| queue_name_of(url).to_owned()).collect())
    }

    /// Names of the queues of the account and Region that point at a key, aliases resolved: `sqs:ListQueues`, `sqs:GetQueueAttributes`,
    /// `kms:DescribeKey` for each other way of naming a key.
    pub async fn queues_under_key(&self, key_arn: &str) -> Result<Vec<String>, AwsError> {
        let mut named: HashMap<String, bool> = HashMap::new();
        let urls = self.list_queue_urls().await?;
        let mut reads = stream::iter(urls).map(|url| async move { Ok::<_, AwsError>((self.queue_key_id(&url).await?, url)) }).buffered(8);
        let mut queues = Vec::new();
        while let Some((key, url)) = reads.try_next().await? {
            let Some(key) = key else { continue };
            let points = match named.get(&key) {
                Some(points) => *points,
                None if key == key_arn => true,
                None => self.describe_key(&key).await?.is_some_and(|metadata| metadata.arn == key_arn),
            };
            named.insert(key, points);
            if points {
                queues.push(queue_name_of(&url).to_owned());
            }
        }
        Ok(queues)
    }

    /// Makes a queue with all its attributes, policy and tags, and returns its URL: `sqs:CreateQueue`.
    pub async fn create_queue(&self, name: &str, attributes: &Attributes, tags: &Tags) -> Result<String, AwsError> {
        const OPERATION: &str = "sqs:CreateQueue";
        let call = self.sqs.create_queue().queue_name(name).set_attributes(Some(to_sdk(attributes))).set_tags(Some(to_map(tags)));
        let answer = call.send().await.map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        answer.queue_url.ok_or_else(|| AwsError::incomplete(OPERATION, "queue URL"))
    }

    /// Sets those attributes that are given: `sqs:SetQueueAttributes`.
    pub async fn set_queue_attributes(&self, url: &str, attributes: &Attributes) -> Result<(), AwsError> {
        let call = self.sqs.set_queue_attributes().queue_url(url).set_attributes(Some(to_sdk(attributes)));
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("sqs:SetQueueAttributes", &error))
    }

    /// Adds tags or gives them new values: `sqs:TagQueue`.
    pub async fn tag_queue(&self, url: &str, tags: &Tags) -> Result<(), AwsError> {
        let call = self.sqs.tag_queue().queue_url(url).set_tags(Some(to_map(tags)));
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("sqs:TagQueue", &error))
    }

    /// Removes tags: `sqs:UntagQueue`.
    pub async fn untag_queue(&self, url: &str, keys: &[String]) -> Result<(), AwsError> {
        let call = self.sqs.untag_queue().queue_url(url).set_tag_keys(Some(keys.to_vec()));
        call.send().await.map(drop).map_err(|error| AwsError::from_sdk("sqs:UntagQueue", &error))
    }

    /// Deletes a queue and its messages; nothing to do when it is gone: `sqs:DeleteQueue`.
    pub async fn delete_queue(&self, url: &str) -> Result<(), AwsError> {
        let answer = self.sqs.delete_queue().queue_url(url).send().await;
        found(answer.map_err(|error| AwsError::from_sdk("sqs:DeleteQueue", &error))).map(drop)
    }

    /// All attributes of a queue: `sqs:GetQueueAttributes`.
    pub(super) async fn all_attributes(&self, url: &str) -> Result<Attributes, AwsError> {
        self.queue_attributes(url, QueueAttributeName::All).await
    }

    pub(super) async fn queue_attributes(&self, url: &str, name: QueueAttributeName) -> Result<Attributes, AwsError> {
        let answer = self.sqs.get_queue_attributes().queue_url(url).attribute_names(name).send().await;
        let attributes = answer.map_err(|error| AwsError::from_sdk("sqs:GetQueueAttributes", &error))?.attributes.unwrap_or_default();
        Ok(attributes.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect())
    }

    /// A queue's tags, if it exists: `sqs:ListQueueTags`.
    pub async fn tags_of_queue(&self, url: &str) -> Result<Option<Tags>, AwsError> {
        found(self.queue_tags(url).await)
    }

    async fn queue_tags(&self, url: &str) -> Result<Tags, AwsError> {
        let answer = self.sqs.list_queue_tags().queue_url(url).send().await;
        Ok(answer.map_err(|error| AwsError::from_sdk("sqs:ListQueueTags", &error))?.tags.unwrap_or_default().into_iter().collect())
    }
}

fn to_sdk(attributes: &Attributes) -> HashMap<QueueAttributeName, String> {
    attributes.iter().map(|(name, value)| (QueueAttributeName::from(name.as_str()), value.clone())).collect()
}

fn to_map(tags: &Tags) -> HashMap<String, String> {
    tags.clone().into_iter().collect()
}
