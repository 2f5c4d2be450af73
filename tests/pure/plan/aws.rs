//! A simulated SQS and KMS: what accounts hold, changed by the actions of the plans and by nobody else, unless a test meddles.
//!
//! Refusals are those that AWS documents and that the plans must not run into. Policies come back reordered, as AWS may return them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use encrypted_queue::names::Place;
use encrypted_queue::plan::effect::{KeyEffect, QueueEffect};
use encrypted_queue::plan::observed::{FoundKey, KeyEvidence, LastUse};
use encrypted_queue::plan::state::{Attributes, KeyLifecycle, KeyMetadata, KeyState, KmsGrant, QueueState, RotationState, Tags};
use encrypted_queue::plan::{KeyAction, QueueAction, QueueLocator};
use encrypted_queue::policy::document::{Document, Principals};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// AWS refused a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused(pub &'static str);

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Aws {
    sites: BTreeMap<(String, String), Site>,
    keys_made: u32,
    /// Roles that were deleted and not made again: KMS refuses a policy that names one.
    pub missing: BTreeSet<String>,
    /// How long the tags of a new key stay hidden from a search.
    pub tags_visible_after: SignedDuration,
    /// KMS does not tell when a key was used.
    pub hides_use: bool,
}

/// One account and Region.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Site {
    pub queues: BTreeMap<String, Queue>,
    pub keys: BTreeMap<String, Key>,
    pub aliases: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Queue {
    pub attributes: Attributes,
    pub tags: Tags,
    pub messages: u32,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Key {
    pub metadata: KeyMetadata,
    pub policy: String,
    pub tags: Tags,
    pub rotation: RotationState,
    pub grants: Vec<KmsGrant>,
    pub rotated_at: Vec<Timestamp>,
    /// Its last use.
    pub used: Option<(Timestamp, String)>,
}

fn name_in(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}

fn url_of(place: &Place, name: &str) -> String {
    format!("https://sqs.{}.amazonaws.com/{}/{name}", place.region, place.account)
}

/// The policy in another order, as AWS may show it.
fn as_shown(policy: &str) -> String {
    thread_local!(static SHOWN: RefCell<HashMap<String, String>> = RefCell::default());
    let reorder = || {
        let Ok(mut document) = serde_json::from_str::<Value>(policy) else { return policy.to_owned() };
        if let Some(Value::Array(statements)) = document.get_mut("Statement") {
            statements.reverse();
        }
        serde_json::to_string_pretty(&document).unwrap()
    };
    SHOWN.with_borrow_mut(|shown| shown.entry(policy.to_owned()).or_insert_with(reorder).clone())
}

fn with_id(policy: &str, arn: &str, id: &str) -> String {
    let mut document: Value = serde_json::from_str(policy).unwrap();
    for statement in document["Statement"].as_array_mut().unwrap() {
        match statement.pointer_mut("/Principal/AWS") {
            Some(Value::Array(names)) => names.iter_mut().filter(|name| **name == arn).for_each(|name| *name = id.into()),
            Some(name) if *name == arn => *name = id.into(),
            _ => {}
        }
    }
    document.to_string()
}

/// What KMS says of a policy that names someone who does not exist.
pub const INVALID_PRINCIPALS: Refused = Refused("Policy contains a statement with one or more invalid principals.");

impl Aws {
    pub fn at(&self, place: &Place) -> Site {
        self.sites.get(&(place.account.clone(), place.region.clone())).cloned().unwrap_or_default()
    }

    pub fn at_mut(&mut self, place: &Place) -> &mut Site {
        self.sites.entry((place.account.clone(), place.region.clone())).or_default()
    }

    /// All keys that there are.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.sites.values().flat_map(|site| site.keys.values())
    }

    /// All queues that there are, by name.
    pub fn queues(&self) -> impl Iterator<Item = (&String, &Queue)> {
        self.sites.values().flat_map(|site| &site.queues)
    }

    /// Someone deletes a role: from now on every policy that names it shows its unique id.
    pub fn delete_role(&mut self, arn: &str, id: &str) {
        self.missing.insert(arn.to_owned());
        for site in self.sites.values_mut() {
            let of_queues = site.queues.values_mut().filter_map(|queue| queue.attributes.get_mut("Policy"));
            for policy in of_queues.chain(site.keys.values_mut().map(|key| &mut key.policy)) {
                *policy = with_id(policy, arn, id);
            }
        }
    }

    /// Someone makes a role of the name again, which is another.
    pub fn make_role_again(&mut self, arn: &str) {
        self.missing.remove(arn);
    }

    fn last_use(&self, key: Option<&Key>) -> LastUse {
        match key.map(|key| &key.used) {
            Some(Some((at, operation))) if !self.hides_use => LastUse::At { at: *at, operation: operation.clone() },
            Some(None) if !self.hides_use => LastUse::Never,
            _ => LastUse::Unknown,
        }
    }

    /// Makes a key as `CreateKey` does.
    pub fn create_key(&mut self, place: &Place, policy: &str, tags: &Tags, description: &str, now: Timestamp) -> KeyMetadata {
        self.keys_made += 1;
        let id = format!("key-{}", self.keys_made);
        let metadata = KeyMetadata {
            arn: place.key_arn(&id),
            id: id.clone(),
            lifecycle: KeyLifecycle::Enabled,
            description: description.to_owned(),
            created_at: Some(now),
            deletion_date: None,
        };
        let (policy, tags) = (policy.to_owned(), tags.clone());
        let key = Key {
            metadata: metadata.clone(),
            policy,
            tags,
            rotation: RotationState::default(),
            grants: Vec::new(),
            rotated_at: Vec::new(),
            used: None,
        };
        self.at_mut(place).keys.insert(id, key);
        metadata
    }

    /// Carries out what concerns SQS.
    pub fn apply_to_queue(&mut self, place: &Place, action: &QueueAction) -> Result<QueueEffect, Refused> {
        let site = self.at_mut(place);
        match action {
            QueueAction::ReadQueues { source, dead_letter } => Ok(QueueEffect::Queues {
                source: site.read_queue(place, source),
                dead_letter: dead_letter.as_ref().and_then(|locator| site.read_queue(place, locator)),
            }),
            QueueAction::ReadFoundKey { key } => {
                let found =
                    site.aliases.get(key).or(Some(key)).and_then(|id| site.keys.values().find(|k| k.metadata.id == *id || k.metadata.arn == *id));
                Ok(QueueEffect::FoundKey(found.map(|key| key.metadata.arn.clone())))
            }
            QueueAction::ReadDeadLetterSources { url } => {
                let names = format!(":{}\"", name_in(url));
                let sends = |queue: &Queue| queue.attributes.get("RedrivePolicy").is_some_and(|redrive| redrive.contains(&names));
                Ok(QueueEffect::DeadLetterSources(site.queues.iter().filter(|(_, queue)| sends(queue)).map(|(name, _)| name.clone()).collect()))
            }
            QueueAction::CreateQueue { name, attributes, tags, .. } => {
                if site.queues.contains_key(name) {
                    return Err(Refused("QueueAlreadyExists"));
                }
                site.queues.insert(name.clone(), Queue { attributes: attributes.clone(), tags: tags.clone(), messages: 0 });
                Ok(QueueEffect::Created { url: url_of(place, name) })
            }
            QueueAction::SetQueueAttributes { url, attributes, .. } => site.queue(url).map(|queue| queue.set(attributes)),
            QueueAction::TagQueue { url, tags, .. } => site.queue(url).map(|queue| queue.tags.extend(tags.clone())).map(|()| QueueEffect::Done),
            QueueAction::UntagQueue { url, keys, .. } => {
                site.queue(url).map(|queue| queue.tags.retain(|key, _| !keys.contains(key))).map(|()| QueueEffect::Done)
            }
            QueueAction::DeleteQueue { url, .. } => site.queues.remove(name_in(url)).map(|_| QueueEffect::Done).ok_or(Refused("NonExistentQueue")),
            QueueAction::AddFinalizer
            | QueueAction::EnsureKey { .. }
            | QueueAction::ForgetApplied { .. }
            | QueueAction::RecordNextKey { .. }
            | QueueAction::RecordKeys { .. }
            | QueueAction::RecordAdoption { .. }
            | QueueAction::RecordDeadLetterUnused
            | QueueAction::ForgetDeadLetter
            | QueueAction::SetKeyDeletionPolicy { .. }
            | QueueAction::RemoveFinalizer
            | QueueAction::Hold(_) => panic!("{action:?} is not for AWS"),
        }
    }

    /// Carries out what concerns KMS.
    pub fn apply_to_key(&mut self, place: &Place, action: &KeyAction, now: Timestamp) -> Result<KeyEffect, Refused> {
        let visible = |key: &&Key| key.metadata.created_at.is_none_or(|made| made + self.tags_visible_after <= now);
        match action {
            KeyAction::FindByAlias { alias } => Ok(KeyEffect::ByAlias(self.at(place).by_alias(alias))),
            KeyAction::FindByTags { tags } => {
                let matching = |key: &&Key| tags.iter().all(|(name, value)| key.tags.get(name) == Some(value));
                let site = self.at(place);
                let found = site.keys.values().filter(visible).filter(matching).map(Key::found);
                Ok(KeyEffect::ByTags(found.collect()))
            }
            KeyAction::CreateKey { policy, .. } | KeyAction::PutKeyPolicy { policy, .. } if self.missing.iter().any(|role| policy.contains(role)) => {
                Err(INVALID_PRINCIPALS)
            }
            KeyAction::CreateKey { policy, tags, description } => {
                keeps_its_operator(policy)?;
                Ok(KeyEffect::Created(self.create_key(place, policy, tags, description, now)))
            }
            KeyAction::ReadKey { id } => Ok(KeyEffect::Key(self.at(place).read_key(id).map(Box::new))),
            KeyAction::CreateAlias { alias, id } => {
                let site = self.at_mut(place);
                site.usable(id)?;
                if site.aliases.contains_key(alias) {
                    return Ok(KeyEffect::AliasTaken);
                }
                site.aliases.insert(alias.clone(), id.clone());
                Ok(KeyEffect::Done)
            }
            KeyAction::UpdateAlias { alias, id } => {
                let site = self.at_mut(place);
                site.usable(id)?;
                site.aliases.insert(alias.clone(), id.clone()).map(|_| KeyEffect::Done).ok_or(Refused("NotFoundException"))
            }
            KeyAction::ReadRotations { id } => Ok(KeyEffect::Rotations(self.at_mut(place).key(id)?.rotated_at.clone())),
            KeyAction::FindQueuesUnderKey { arn } => Ok(KeyEffect::QueuesUnderKey(self.at(place).queues_under(arn))),
            KeyAction::ReadLastUse { id } => Ok(KeyEffect::LastUse(self.last_use(self.at(place).keys.get(id)))),
            KeyAction::ReadEvidence { ids } => {
                let site = self.at(place);
                let evidence = |id: &String| KeyEvidence {
                    id: id.clone(),
                    policy: site.keys.get(id).map(|key| as_shown(&key.policy)),
                    queues: site.queues_under(&place.key_arn(id)),
                    last_use: self.last_use(site.keys.get(id)),
                };
                Ok(KeyEffect::Evidence(ids.iter().map(evidence).collect()))
            }
            _ => self.at_mut(place).change_key(action, now).map(|()| KeyEffect::Done),
        }
    }
}

/// KMS's lock-out check: the caller must keep `kms:PutKeyPolicy`, unconditioned.
fn keeps_its_operator(policy: &str) -> Result<(), Refused> {
    let document = Document::parse(policy).map_err(|_| Refused("MalformedPolicyDocumentException"))?;
    let keeps = document.statements.iter().any(|statement| {
        let named = matches!(&statement.principals, Principals::Named(kinds) if kinds.values().flatten().any(|name| name.ends_with("encrypted-queue-operator")));
        named && statement.conditions.is_empty() && statement.actions.contains("kms:PutKeyPolicy")
    });
    if keeps { Ok(()) } else { Err(Refused("the new key policy will not allow you to update the key policy in the future")) }
}

impl Site {
    fn queues_under(&self, arn: &str) -> Vec<String> {
        let under = self.queues.iter().filter(|(_, queue)| queue.attributes.get("KmsMasterKeyId").is_some_and(|key| key == arn));
        under.map(|(name, _)| name.clone()).collect()
    }

    fn read_queue(&self, place: &Place, locator: &QueueLocator) -> Option<QueueState> {
        let name = locator.url.as_deref().map_or(locator.name.as_str(), name_in);
        let queue = self.queues.get(name)?;
        let mut attributes = queue.attributes.clone();
        if let Some(policy) = attributes.get_mut("Policy") {
            *policy = as_shown(policy);
        }
        attributes.insert("ApproximateNumberOfMessages".to_owned(), queue.messages.to_string());
        Some(QueueState { url: url_of(place, name), attributes, tags: queue.tags.clone() })
    }

    fn queue(&mut self, url: &str) -> Result<&mut Queue, Refused> {
        self.queues.get_mut(name_in(url)).ok_or(Refused("NonExistentQueue"))
    }

    fn key(&mut self, id: &str) -> Result<&mut Key, Refused> {
        self.keys.get_mut(id).ok_or(Refused("NotFoundException"))
    }

    /// Tags and aliases can be written while a key is disabled, but not while its deletion is pending.
    fn usable(&mut self, id: &str) -> Result<&mut Key, Refused> {
        let key = self.key(id)?;
        if key.metadata.lifecycle == KeyLifecycle::PendingDeletion { Err(Refused("KMSInvalidStateException")) } else { Ok(key) }
    }

    fn enabled(&mut self, id: &str) -> Result<&mut Key, Refused> {
        let key = self.key(id)?;
        if key.metadata.lifecycle == KeyLifecycle::Enabled { Ok(key) } else { Err(Refused("DisabledException")) }
    }

    fn by_alias(&self, alias: &str) -> Option<FoundKey> {
        self.keys.get(self.aliases.get(alias)?).map(Key::found)
    }

    fn read_key(&self, id: &str) -> Option<KeyState> {
        let Key { metadata, policy, tags, rotation, grants, .. } = self.keys.get(id)?.clone();
        let aliases: BTreeSet<String> = self.aliases.iter().filter(|(_, target)| *target == id).map(|(alias, _)| alias.clone()).collect();
        Some(KeyState { metadata, policy: as_shown(&policy), tags, aliases, rotation, grants })
    }

    fn change_key(&mut self, action: &KeyAction, now: Timestamp) -> Result<(), Refused> {
        match action {
            KeyAction::CancelKeyDeletion { id } => {
                let key = self.key(id)?;
                if key.metadata.lifecycle != KeyLifecycle::PendingDeletion {
                    return Err(Refused("KMSInvalidStateException"));
                }
                (key.metadata.lifecycle, key.metadata.deletion_date) = (KeyLifecycle::Disabled, None);
            }
            KeyAction::EnableKey { id } => self.usable(id)?.metadata.lifecycle = KeyLifecycle::Enabled,
            KeyAction::PutKeyPolicy { id, policy } => {
                keeps_its_operator(policy)?;
                self.key(id)?.policy.clone_from(policy);
            }
            KeyAction::RevokeGrant { id, grant, .. } => self.key(id)?.grants.retain(|held| held.id != *grant),
            KeyAction::EnableKeyRotation { id, period_days } => {
                self.enabled(id)?.rotation = RotationState { enabled: true, period_days: Some(*period_days), next_at: None };
            }
            KeyAction::TagKey { id, tags } => self.usable(id)?.tags.extend(tags.clone()),
            KeyAction::UntagKey { id, keys } => self.usable(id)?.tags.retain(|key, _| !keys.contains(key)),
            KeyAction::RotateKeyOnDemand { id } => self.enabled(id)?.rotated_at.push(now),
            KeyAction::ScheduleKeyDeletion { id, window_days } => {
                let key = self.usable(id)?;
                key.metadata.lifecycle = KeyLifecycle::PendingDeletion;
                key.metadata.deletion_date = Some(now + SignedDuration::from_hours(24 * i64::from(*window_days)));
            }
            _ => panic!("{action:?} is not for AWS"),
        }
        Ok(())
    }
}

impl Queue {
    /// One kind of encryption at a time, as SQS has it.
    fn set(&mut self, changes: &Attributes) -> QueueEffect {
        for (name, value) in changes {
            if value.is_empty() {
                self.attributes.remove(name);
            } else {
                self.attributes.insert(name.clone(), value.clone());
            }
        }
        if changes.contains_key("KmsMasterKeyId") {
            self.attributes.remove("SqsManagedSseEnabled");
        }
        QueueEffect::Done
    }

    /// Someone switches the queue to SSE-SQS.
    pub fn switch_to_sse_sqs(&mut self) {
        self.attributes.remove("KmsMasterKeyId");
        self.attributes.insert("SqsManagedSseEnabled".to_owned(), "true".to_owned());
    }
}

impl Key {
    fn found(&self) -> FoundKey {
        FoundKey { metadata: self.metadata.clone(), tags: self.tags.clone() }
    }
}
