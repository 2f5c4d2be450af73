//! Reads queues and keys of accounts and Regions. What cannot be read is told, and the rest is read all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};

use super::inventory::{Encryption, Inventory, KeyFacts, LastUse, PlaceFacts, PolicyFacts, Problem, QueueFacts};
use crate::aws::{AccountKey, Accounts, Alias, AwsError, Clients, KeyLastUsed, patiently};
use crate::names::{Place, QueueArn, queue_name_of};
use crate::plan::state::{Attributes, KeyLifecycle, Tags};

/// The tag index lags: so many queues that it does not know are asked for their tags themselves, of which SQS answers five a second.
const CONFIRMED_UNTAGGED: usize = 50;

/// How gently to read.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Accounts and Regions at once.
    pub places: usize,
    /// Calls at once in each.
    pub calls: usize,
    /// Between the reads of one resource and of the next; zero: none.
    pub pause: Duration,
    /// Attempts at a call that is throttled, the first included.
    pub attempts: u32,
}

impl Pace {
    /// Somebody waits for the answer.
    pub const BRISK: Self = Self { places: 4, calls: 16, pause: Duration::ZERO, attempts: 7 };
    /// Nobody does.
    pub const GENTLE: Self = Self { places: 1, calls: 1, pause: Duration::from_millis(50), attempts: 7 };
}

/// How far a scan is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Where.
    pub place: &'a Place,
    /// `queues` or `keys`.
    pub what: &'static str,
    /// How many have been read.
    pub done: usize,
    /// Of how many.
    pub all: usize,
}

/// Reads these accounts and Regions. Several ways into one are tried in order.
pub async fn scan(accounts: &Accounts, targets: Vec<AccountKey>, pace: Pace, progress: &(dyn Fn(Progress<'_>) + Sync)) -> Inventory {
    let mut ways = BTreeMap::<Place, Vec<AccountKey>>::new();
    for target in targets {
        let known = ways.entry(target.place()).or_default();
        if !known.contains(&target) {
            known.push(target);
        }
    }
    let scans: Vec<BoxFuture<'_, _>> = ways.into_iter().map(|(place, ways)| scan_place(accounts, place, ways, pace, progress).boxed()).collect();
    let mut scanned: Vec<(PlaceFacts, Vec<Problem>)> = stream::iter(scans).buffer_unordered(pace.places).collect().await;
    scanned.sort_by(|(a, _), (b, _)| a.place.cmp(&b.place));
    let (places, problems): (Vec<_>, Vec<_>) = scanned.into_iter().unzip();
    let mut problems: Vec<Problem> = problems.into_iter().flatten().collect();
    problems.sort();
    Inventory { places, problems }
}

async fn scan_place(
    accounts: &Accounts,
    at: Place,
    ways: Vec<AccountKey>,
    pace: Pace,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> (PlaceFacts, Vec<Problem>) {
    let mut refused = None;
    for way in ways {
        match accounts.clients(&way).await {
            Ok(clients) => {
                let scanner = Scanner { clients, place: at, pace, progress, problems: Mutex::default() };
                let facts = scanner.read().await;
                return (facts, scanner.problems.into_inner().unwrap_or_else(PoisonError::into_inner));
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let problems = refused.map(|error| problem(&at, None, &error)).into_iter().collect();
    (PlaceFacts { place: at, queues: Vec::new(), keys: Vec::new(), all_queues: false, all_keys: false, declarations: false }, problems)
}

pub(super) fn problem(place: &Place, resource: Option<&str>, error: &AwsError) -> Problem {
    Problem {
        account: place.account.clone(),
        region: place.region.clone(),
        operation: error.operation.to_owned(),
        resource: resource.map(str::to_owned),
        message: format!("{}: {}", error.code, error.message),
    }
}

pub(super) struct Scanner<'a> {
    pub(super) clients: Arc<Clients>,
    pub(super) place: Place,
    pub(super) pace: Pace,
    pub(super) progress: &'a (dyn Fn(Progress<'_>) + Sync),
    pub(super) problems: Mutex<Vec<Problem>>,
}

/// The keys of a place by what queues call them.
#[derive(Default)]
pub(super) struct KeyNames {
    /// None: they could not be listed.
    pub(super) aliases: Option<BTreeMap<String, Option<String>>>,
    /// None: they could not be listed.
    pub(super) ids: Option<BTreeSet<String>>,
}

impl KeyNames {
    /// Ids of the keys that AWS manages, as far as aliases tell.
    fn aws_managed(&self) -> BTreeSet<&str> {
        let aliases = self.aliases.iter().flatten();
        aliases.filter(|(alias, _)| alias.starts_with("alias/aws/")).filter_map(|(_, target)| target.as_deref()).collect()
    }

    /// The id behind a name that is not another account's.
    fn id_of<'a>(&'a self, named: &'a str) -> Option<&'a str> {
        match alias_in(named) {
            Some(alias) => self.aliases.as_ref()?.get(alias)?.as_deref(),
            None => Some(named.rsplit_once(":key/").map_or(named, |(_, id)| id)),
        }
    }
}

/// The alias that a name is, ARN or not.
pub(super) fn alias_in(named: &str) -> Option<&str> {
    let at = if named.starts_with("alias/") { 0 } else { named.find(":alias/")? + 1 };
    named.get(at..)
}

impl Scanner<'_> {
    async fn read(&self) -> PlaceFacts {
        let (queues, aliases, ids) =
            futures::join!(self.queues(), self.patient(|| self.clients.list_aliases()), self.patient(|| self.clients.list_key_ids()));
        let aliases = self.noted(None, aliases).map(|aliases: Vec<Alias>| aliases.into_iter().collect());
        let names = KeyNames { aliases, ids: self.noted(None, ids).map(|ids| ids.into_iter().collect()) };
        let (queues, all_queues) = queues;
        let used: BTreeSet<String> = queues.iter().filter_map(|queue| names.id_of(queue.named_key())).map(str::to_owned).collect();
        let keys = self.keys(&names, &used).await;
        let mut facts = PlaceFacts { place: self.place.clone(), queues, keys, all_queues, all_keys: names.ids.is_some(), declarations: false };
        self.resolve(&mut facts, &names).await;
        facts
    }

    /// All queues but for what their keys are, and whether they are all.
    async fn queues(&self) -> (Vec<QueueFacts>, bool) {
        let Some(urls) = self.noted(None, self.patient(|| self.clients.list_queue_urls()).await) else { return (Vec::new(), false) };
        let tags = self.patient(|| self.clients.tags_of_all("sqs")).await.ok();
        let (read, all) = (Arc::new(AtomicUsize::new(0)), urls.len());
        let reads: Vec<BoxFuture<'_, _>> = urls.into_iter().map(|url| self.queue(url, read.clone(), all).boxed()).collect();
        let found: Vec<Option<(String, QueueArn, Attributes)>> = stream::iter(reads).buffer_unordered(self.pace.calls).collect().await;
        let found: Vec<_> = found.into_iter().flatten().collect();
        let unknown = |arn: &QueueArn| tags.as_ref().is_none_or(|tags| !tags.contains_key(arn.as_str()));
        let ask = tags.is_none() || found.iter().filter(|(_, arn, _)| unknown(arn)).count() <= CONFIRMED_UNTAGGED;
        let with_tags: Vec<BoxFuture<'_, QueueFacts>> = found
            .into_iter()
            .map(|(url, arn, attributes)| {
                let known = tags.as_ref().and_then(|tags| tags.get(arn.as_str())).cloned();
                self.with_tags(url, arn, attributes, known, ask).boxed()
            })
            .collect();
        let mut queues: Vec<QueueFacts> = stream::iter(with_tags).buffer_unordered(self.pace.calls).collect().await;
        queues.sort_by(|a, b| a.arn.cmp(&b.arn));
        (queues, true)
    }

    /// A queue but for its tags; none: it was deleted since it was listed, or may not be looked at.
    pub(super) async fn queue(&self, url: String, read: Arc<AtomicUsize>, all: usize) -> Option<(String, QueueArn, Attributes)> {
        let name = queue_name_of(&url);
        let attributes = self.noted(Some(name), self.patient(|| self.clients.read_queue_attributes(&url)).await);
        self.told("queues", &read, all).await;
        let attributes = attributes.flatten()?;
        let arn = attributes.get("QueueArn").and_then(|arn| QueueArn::parse(arn).ok()).unwrap_or_else(|| self.place.queue_arn(name));
        Some((url, arn, attributes))
    }

    /// The same with its tags: those that are known, else as it says itself where it is to be asked.
    pub(super) async fn with_tags(&self, url: String, arn: QueueArn, attributes: Attributes, known: Option<Tags>, ask: bool) -> QueueFacts {
        let tags = match known {
            Some(tags) => Some(tags),
            None if ask => self.noted(Some(arn.name()), self.patient(|| self.clients.tags_of_queue(&url)).await).map(Option::unwrap_or_default),
            None => Some(Tags::new()),
        };
        let policy = PolicyFacts::of(attributes.get("Policy").map(String::as_str));
        QueueFacts { arn, attributes, tags, policy, encryption: Encryption::Unknown, tenant: None, declared: None }
    }

    async fn keys(&self, names: &KeyNames, used: &BTreeSet<String>) -> Vec<KeyFacts> {
        // Without a list, at least those that queues are under.
        let ids = names.ids.as_ref().unwrap_or(used);
        let aws_managed = names.aws_managed();
        let ids: Vec<String> = ids.iter().filter(|id| !aws_managed.contains(id.as_str())).cloned().collect();
        let tags = self.patient(|| self.clients.tags_of_all("kms:key")).await.unwrap_or_default();
        let (read, all) = (Arc::new(AtomicUsize::new(0)), ids.len());
        let reads: Vec<BoxFuture<'_, Option<KeyFacts>>> =
            ids.into_iter().map(|id| self.counted_key(id, names, used, &tags, read.clone(), all).boxed()).collect();
        let keys: Vec<Option<KeyFacts>> = stream::iter(reads).buffer_unordered(self.pace.calls).collect().await;
        let mut keys: Vec<KeyFacts> = keys.into_iter().flatten().collect();
        keys.sort_by(|a, b| a.arn.cmp(&b.arn));
        keys
    }

    async fn counted_key(
        &self,
        id: String,
        names: &KeyNames,
        used: &BTreeSet<String>,
        tags: &BTreeMap<String, Tags>,
        read: Arc<AtomicUsize>,
        all: usize,
    ) -> Option<KeyFacts> {
        let key = Box::pin(self.key(&id, names, used.contains(&id), tags)).await;
        self.told("keys", &read, all).await;
        key
    }

    /// A customer's key; none: AWS manages it, it is gone, or it may not be looked at.
    pub(super) async fn key(&self, id: &str, names: &KeyNames, is_used: bool, tags: &BTreeMap<String, Tags>) -> Option<KeyFacts> {
        let clients = &self.clients;
        let described = self.noted(Some(id), self.patient(|| clients.describe_fully(id)).await)??;
        if !described.is_customers {
            return None;
        }
        let symmetric = described.spec == "SYMMETRIC_DEFAULT";
        let known = tags.get(&described.metadata.arn).cloned();
        let (policy, rotation, own_tags, grants, last_use) = futures::join!(
            self.patient(|| clients.read_key_policy(id)),
            unless(!symmetric, self.patient(|| clients.read_key_rotation(id))),
            unless(known.is_some(), self.patient(|| clients.read_key_tags(id))),
            unless(!is_used, self.patient(|| clients.read_key_grants(id))),
            unless(is_used, self.patient(|| clients.read_last_use(id))),
        );
        let policy = match self.noted(Some(id), policy) {
            Some(text) => PolicyFacts::of(text.as_deref()),
            None => PolicyFacts::Unknown,
        };
        let own_tags = own_tags.and_then(|answer| self.noted(Some(id), answer)).flatten();
        let aliases = names.aliases.iter().flatten().filter(|(_, target)| target.as_deref() == Some(id)).map(|(alias, _)| alias.clone());
        let metadata = described.metadata;
        Some(KeyFacts {
            arn: metadata.arn,
            id: metadata.id,
            lifecycle: metadata.lifecycle,
            created_at: metadata.created_at,
            deletion_date: metadata.deletion_date,
            origin: described.origin,
            spec: described.spec,
            multi_region: described.multi_region,
            policy,
            tags: known.or(own_tags),
            aliases: aliases.collect(),
            rotation: rotation.and_then(|answer| self.noted(Some(id), answer)).flatten(),
            grants: grants.and_then(|answer| self.noted(Some(id), answer)).flatten(),
            // A call that few roles may make: without it, use is judged by the queues alone.
            last_use: last_use.and_then(Result::ok).flatten().as_ref().map(last_use_of).unwrap_or_default(),
            tenant: None,
            declared: None,
        })
    }

    /// Tells what each queue's key is.
    pub(super) async fn resolve(&self, facts: &mut PlaceFacts, names: &KeyNames) {
        let known: BTreeMap<String, String> = facts.keys.iter().map(|key| (key.id.clone(), key.arn.clone())).collect();
        let mut foreign = BTreeMap::<String, Option<KeyLifecycle>>::new();
        for queue in &mut facts.queues {
            let own_name = queue.named_key().to_owned();
            queue.encryption = match encryption(queue, names, &known, &self.place) {
                Encryption::Foreign { arn, .. } => {
                    if !foreign.contains_key(&arn) {
                        // Its owner need not let it be seen.
                        let state = self.patient(|| self.clients.describe_fully(&own_name)).await.ok().flatten();
                        foreign.insert(arn.clone(), state.map(|key| key.metadata.lifecycle));
                    }
                    Encryption::Foreign { state: foreign.get(&arn).cloned().flatten(), arn }
                }
                other => other,
            };
        }
    }

    /// What was read, or none and a note of what was not.
    pub(super) fn noted<T>(&self, resource: Option<&str>, result: Result<T, AwsError>) -> Option<T> {
        result.map_err(|error| self.problems.lock().unwrap_or_else(PoisonError::into_inner).push(problem(&self.place, resource, &error))).ok()
    }

    async fn told(&self, what: &'static str, read: &AtomicUsize, all: usize) {
        let done = read.fetch_add(1, Ordering::Relaxed) + 1;
        (self.progress)(Progress { place: &self.place, what, done, all });
        if !self.pace.pause.is_zero() {
            tokio::time::sleep(self.pace.pause).await;
        }
    }

    pub(super) async fn patient<T, F: Future<Output = Result<T, AwsError>>>(&self, call: impl Fn() -> F) -> Result<T, AwsError> {
        patiently(self.pace.attempts, call).await
    }
}

async fn unless<T>(not: bool, call: impl Future<Output = T>) -> Option<T> {
    if not { None } else { Some(call.await) }
}

fn last_use_of(used: &KeyLastUsed) -> LastUse {
    match (used.at, used.tracked_since.max(used.created_at)) {
        (Some(at), _) => LastUse::At(at),
        (None, Some(since)) => LastUse::NoneSince(since),
        (None, None) => LastUse::Unknown,
    }
}

/// What a queue is encrypted with, as far as names tell.
fn encryption(queue: &QueueFacts, key_names: &KeyNames, known: &BTreeMap<String, String>, place: &Place) -> Encryption {
    let named = queue.named_key();
    if named.is_empty() {
        let managed = queue.attributes.get("SqsManagedSseEnabled").is_some_and(|enabled| enabled == "true");
        return if managed { Encryption::SqsManaged } else { Encryption::Off };
    }
    if alias_in(named).is_some_and(|alias| alias.starts_with("alias/aws/")) {
        return Encryption::AwsManaged;
    }
    let fields: Vec<&str> = named.split(':').collect();
    if let ["arn", _, "kms", region, account, _] = fields.as_slice() {
        if *account != place.account {
            return Encryption::Foreign { arn: named.to_owned(), state: None };
        }
        if *region != place.region {
            return Encryption::Missing;
        }
    }
    match key_names.id_of(named) {
        Some(id) if known.contains_key(id) => known.get(id).cloned().map_or(Encryption::Unknown, Encryption::Key),
        Some(id) if key_names.aws_managed().contains(id) => Encryption::AwsManaged,
        // Listed, but not to be looked at.
        Some(id) if key_names.ids.as_ref().is_none_or(|ids| ids.contains(id)) => Encryption::Unknown,
        Some(_) => Encryption::Missing,
        None if key_names.aliases.is_some() => Encryption::Missing,
        None => Encryption::Unknown,
    }
}
