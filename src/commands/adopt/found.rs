//! Reads the queues of an account and Region that nobody owns.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde_json::Value;

use crate::adopt::FoundQueue;
use crate::api::labels::{TAG_CLUSTER, TAG_OBJECT, TAG_RELEASED};
use crate::aws::{AwsError, Clients};
use crate::names::{QueueArn, queue_name_of};
use crate::plan::state::QueueState;

/// Queues read at once.
const CONCURRENT_READS: usize = 8;
/// How often progress is told.
const EACH: usize = 100;

/// A queue that no manifest is written for.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Skipped {
    pub(super) queue: String,
    pub(super) account: String,
    pub(super) region: String,
    pub(super) reason: String,
}

/// What an account and Region hold.
#[derive(Default)]
pub(super) struct Place {
    pub(super) found: Vec<FoundQueue>,
    pub(super) skipped: Vec<Skipped>,
}

/// The queues named, or all, without those of `declared` names, those that somebody owns, and the dead-letter queues of others.
pub(super) async fn read(clients: &Clients, names: &[String], declared: &BTreeSet<String>) -> Result<Place, AwsError> {
    let urls = urls(clients, names).await?;
    let queues = Box::pin(queues(clients, urls)).await?;
    let dead_letters: BTreeSet<String> = queues.values().filter_map(dead_letter_of).collect();
    let mut place = Place::default();
    let mut policies: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (name, queue) in &queues {
        let reason = owner(queue).or_else(|| declared.contains(name).then(|| "an EncryptedQueue declares it".to_owned()));
        let reason =
            reason.or_else(|| dead_letters.contains(name).then(|| "it is the dead-letter queue of another, and declared with that".to_owned()));
        if let Some(reason) = reason {
            let of = clients.place();
            place.skipped.push(Skipped { queue: name.clone(), account: of.account.clone(), region: of.region.clone(), reason });
            continue;
        }
        place.found.push(Box::pin(whole(clients, queue, &queues, &mut policies)).await?);
    }
    Ok(place)
}

async fn urls(clients: &Clients, names: &[String]) -> Result<Vec<String>, AwsError> {
    if names.is_empty() {
        return clients.list_queue_urls().await;
    }
    let mut urls = Vec::new();
    for name in names {
        urls.extend(clients.queue_url(name).await?);
    }
    Ok(urls)
}

/// By name; one that is deleted meanwhile is left out.
async fn queues(clients: &Clients, urls: Vec<String>) -> Result<BTreeMap<String, QueueState>, AwsError> {
    let all = urls.len();
    let reads = stream::iter(urls).map(|url| async move { clients.read_queue(&url).await }).buffer_unordered(CONCURRENT_READS);
    let mut reads = std::pin::pin!(reads.enumerate().map(|(index, read)| read.map(|queue| (index, queue))));
    let mut queues = BTreeMap::new();
    while let Some((index, queue)) = reads.try_next().await? {
        if (index + 1) % EACH == 0 {
            eprintln!("looked at {} of {all} queues", index + 1);
        }
        queues.extend(queue.map(|queue| (queue_name_of(&queue.url).to_owned(), queue)));
    }
    Ok(queues)
}

async fn whole(
    clients: &Clients,
    queue: &QueueState,
    queues: &BTreeMap<String, QueueState>,
    policies: &mut BTreeMap<String, Option<String>>,
) -> Result<FoundQueue, AwsError> {
    let dead_letter = match dead_letter_of(queue) {
        Some(name) => match queues.get(&name) {
            Some(known) => Some(known.clone()),
            None => clients.find_queue(&name).await?,
        },
        None => None,
    };
    let dead_letter_sources = match &dead_letter {
        Some(dead_letter) => clients.dead_letter_sources(&dead_letter.url).await?,
        None => Vec::new(),
    };
    let key = queue.attributes.get("KmsMasterKeyId").filter(|key| !key.is_empty());
    let key_policy = match key {
        Some(key) if !policies.contains_key(key) => {
            let policy = clients.readable_key_policy(key).await?;
            policies.insert(key.clone(), policy.clone());
            policy
        }
        Some(key) => policies.get(key).cloned().flatten(),
        None => None,
    };
    Ok(FoundQueue { place: clients.place().clone(), queue: queue.clone(), dead_letter, dead_letter_sources, key_policy })
}

fn dead_letter_of(queue: &QueueState) -> Option<String> {
    let policy: Value = serde_json::from_str(queue.attributes.get("RedrivePolicy")?).ok()?;
    Some(QueueArn::parse(policy["deadLetterTargetArn"].as_str()?).ok()?.name().to_owned())
}

/// Whose it is by its tags; what was released is nobody's.
fn owner(queue: &QueueState) -> Option<String> {
    let tags = &queue.tags;
    let (object, cluster) = (tags.get(TAG_OBJECT)?, tags.get(TAG_CLUSTER)?);
    (!tags.contains_key(TAG_RELEASED)).then(|| format!("it belongs to {object} of cluster {cluster}"))
}
