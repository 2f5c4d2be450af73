//! Reads single queues and keys, with what they refer to: far fewer calls than a scan of their account.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::inventory::{Inventory, KeyFacts, PlaceFacts, QueueFacts};
use super::scan::{KeyNames, Pace, Scanner, alias_in, problem};
use crate::aws::{AccountKey, Accounts, AwsError};
use crate::names::{Place, queue_name_of};
use crate::plan::state::Tags;

/// Queues that send their dead letters to one that is looked at: more are not read.
const MOST_SOURCES: usize = 20;

/// What to look at.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Target {
    /// A queue, by its name.
    Queue(String),
    /// A key, by its id.
    Key(String),
}

impl Target {
    /// Its ARN.
    pub fn arn(&self, place: &Place) -> String {
        match self {
            Self::Queue(name) => place.queue_arn(name).to_string(),
            Self::Key(id) => place.key_arn(id),
        }
    }
}

/// Reads these of one account and Region. Several ways into it are tried in order. What does not exist is left out; what could not be read is a problem.
pub async fn look(accounts: &Accounts, ways: Vec<AccountKey>, targets: &BTreeSet<Target>) -> Inventory {
    let mut inventory = Inventory::default();
    for way in ways {
        match accounts.clients(&way).await {
            Ok(clients) => {
                let pace = Pace { places: 1, calls: 4, pause: Duration::ZERO, attempts: 7 };
                let scanner = Scanner { clients, place: way.place(), pace, progress: &|_| {}, problems: Mutex::default() };
                inventory.places.push(scanner.look(targets).await);
                inventory.problems = scanner.problems.into_inner().unwrap_or_else(PoisonError::into_inner);
                return inventory;
            }
            Err(error) if inventory.problems.is_empty() => inventory.problems.push(problem(&way.place(), None, &error)),
            Err(_) => {}
        }
    }
    inventory
}

impl Scanner<'_> {
    async fn look(&self, targets: &BTreeSet<Target>) -> PlaceFacts {
        let mut queues = BTreeMap::<String, QueueFacts>::new();
        for target in targets {
            if let Target::Queue(name) = target
                && let Some(queue) = self.queue_named(name, &mut queues).await
            {
                // Its checks ask for its dead-letter queue, and for those whose it is.
                if let Some(dead) =
                    queue.dead_letter_target().and_then(|arn| Some(arn.strip_prefix(&self.place.queue_arn("").to_string())?.to_owned()))
                {
                    self.queue_named(&dead, &mut queues).await;
                }
                self.sources_of(name, &mut queues).await;
            }
        }
        let mut queues: Vec<QueueFacts> = queues.into_values().collect();
        queues.sort_by(|a, b| a.arn.cmp(&b.arn));
        let used: BTreeSet<String> = queues.iter().map(|queue| queue.named_key().to_owned()).filter(|key| !key.is_empty()).collect();
        let (names, keys) = self.keys_named(used, targets).await;
        // Of the queues that are looked at, everything is there that their checks ask for.
        let mut facts = PlaceFacts { place: self.place.clone(), queues, keys, all_queues: true, all_keys: false, declarations: false };
        self.resolve(&mut facts, &names).await;
        facts
    }

    /// Reads a queue unless it is read already.
    async fn queue_named(&self, name: &str, known: &mut BTreeMap<String, QueueFacts>) -> Option<QueueFacts> {
        if let Some(queue) = known.get(name) {
            return Some(queue.clone());
        }
        let url = self.noted(Some(name), self.patient(|| self.clients.queue_url(name)).await).flatten()?;
        let (url, arn, attributes) = self.queue(url, std::sync::Arc::default(), 0).await?;
        // The tag index lags by minutes: the queue itself is asked.
        let queue = self.with_tags(url, arn, attributes, None, true).await;
        known.insert(name.to_owned(), queue.clone());
        Some(queue)
    }

    async fn sources_of(&self, name: &str, known: &mut BTreeMap<String, QueueFacts>) {
        let Some(url) = self.noted(Some(name), self.patient(|| self.clients.queue_url(name)).await).flatten() else { return };
        let sources = self.noted(Some(name), self.patient(|| self.clients.dead_letter_sources(&url)).await).unwrap_or_default();
        for source in sources.iter().take(MOST_SOURCES) {
            self.queue_named(queue_name_of(source), known).await;
        }
    }

    /// The keys of this account that queues name or that are looked at, and what is known of names.
    async fn keys_named(&self, used: BTreeSet<String>, targets: &BTreeSet<Target>) -> (KeyNames, Vec<KeyFacts>) {
        let (mut aliases, mut ids, mut customers) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        for name in used.iter().filter(|name| !is_elsewhere(name, &self.place)) {
            match self.patient(|| self.clients.describe_fully(name)).await {
                Ok(Some(key)) => {
                    let id = key.metadata.id;
                    if let Some(alias) = alias_in(name) {
                        aliases.insert(alias.to_owned(), Some(id.clone()));
                    }
                    if key.is_customers {
                        customers.insert(id.clone());
                    } else {
                        aliases.insert("alias/aws/sqs".to_owned(), Some(id.clone()));
                    }
                    ids.insert(id);
                }
                Ok(None) => {}
                Err(error) => drop(self.noted::<()>(Some(name), Err(unreadable(&mut ids, name, error)))),
            }
        }
        for target in targets {
            if let Target::Key(id) = target {
                let of_key = self.noted(Some(id), self.patient(|| self.clients.read_key_aliases(id)).await).flatten().unwrap_or_default();
                aliases.extend(of_key.into_iter().map(|alias| (alias, Some(id.clone()))));
                customers.insert(id.clone());
            }
        }
        let names = KeyNames { aliases: Some(aliases), ids: Some(ids) };
        let mut keys = Vec::new();
        for id in &customers {
            keys.extend(Box::pin(self.key(id, &names, true, &BTreeMap::<String, Tags>::new())).await);
        }
        (names, keys)
    }
}

/// There is such a key, but nothing more is known of it.
fn unreadable(ids: &mut BTreeSet<String>, name: &str, error: AwsError) -> AwsError {
    ids.insert(name.rsplit_once(":key/").map_or(name, |(_, id)| id).to_owned());
    error
}

/// Whether a name is that of a key in another account or Region.
fn is_elsewhere(name: &str, place: &Place) -> bool {
    let fields: Vec<&str> = name.split(':').collect();
    matches!(fields.as_slice(), ["arn", _, "kms", region, account, _] if *region != place.region || *account != place.account)
}
