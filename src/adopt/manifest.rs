//! A queue's attributes, tags and policies → its declaration.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::guess::{Guess, Known, guess, label};
use super::{Adopted, FoundQueue, Remark, RemarkKind, access, key};
use crate::api::encrypted_queue::{
    Adoption, Consumer, DeadLetter, DeduplicationScope, Fifo, KeySettings, OrganizationProducer, Producer, QueueSettings, ServiceProducer,
    ThroughputLimit,
};
use crate::api::labels::TAG_PREFIX;
use crate::api::{EncryptedQueue, EncryptedQueueSpec};
use crate::names::{QueueArn, queue_name_of, sha256_hex};
use crate::plan::state::{Attributes, QueueState};
use crate::policy::access::{Capability, Grant, Principal};
use crate::policy::document::Document;
use crate::policy::queue_policy::QueueKind;

/// Most principals of each list of the schema.
const MOST: [(&str, usize); 5] =
    [("spec.producers", 20), ("spec.consumers", 20), ("spec.observers", 10), ("spec.deadLetter.consumers", 20), ("spec.deadLetter.redrivers", 10)];

/// The declaration that would take a queue over.
pub fn adopt(found: &FoundQueue, known: &Known) -> Adopted {
    let Guess { tenant, tier, namespace, remarks } = guess(found, known);
    let mut maker = Maker { found, known, name: queue_name_of(&found.queue.url).to_owned(), remarks };
    let grants = maker.grants();
    let mut dead_letter = maker.dead_letter();
    let (producers, consumers, observers) = maker.principals(&grants, dead_letter.as_mut());
    maker.remark(
        RemarkKind::Note,
        "spec",
        "roles of the account that use the queue by IAM policies alone stand in no policy seen here; a tier whose access.others is Deny denies them: \
         CloudTrail's Decrypt events tell who they are",
    );
    let tags = maker.tags(&tenant);
    let spec = EncryptedQueueSpec {
        region: Some(found.place.region.clone()),
        producers,
        consumers,
        observers,
        queue: maker.settings(),
        dead_letter,
        key: maker.key(&tier),
        tags,
        deletion_policy: crate::api::DeletionPolicy::Retain,
        adoption: Adoption::IfUnowned,
        tenant,
        sensitivity_tier: tier,
    };
    let mut object = EncryptedQueue::new(&object_name(&maker.name), spec);
    object.metadata.namespace = Some(namespace);
    let mut remarks = maker.remarks;
    remarks.sort();
    remarks.dedup();
    Adopted { object, remarks }
}

/// The queue's name as an object's; one that had to be changed is made unique by a hash.
fn object_name(queue: &str) -> String {
    let stem = queue.strip_suffix(".fifo").unwrap_or(queue);
    let name = label(stem);
    if name == stem {
        return name;
    }
    let cut: String = name.chars().take(56).collect();
    format!("{}-{}", cut.trim_matches('-'), &sha256_hex(queue)[..6]).trim_start_matches('-').to_owned()
}

struct Maker<'a> {
    found: &'a FoundQueue,
    known: &'a Known,
    name: String,
    remarks: Vec<Remark>,
}

impl Maker<'_> {
    fn remark(&mut self, kind: RemarkKind, field: &str, text: impl Into<String>) {
        self.remarks.push(Remark::new(kind, field, text));
    }

    fn arn(&self, queue: &QueueState) -> QueueArn {
        self.found.place.queue_arn(queue_name_of(&queue.url))
    }

    /// What the policies of both queues and of the key say.
    fn grants(&mut self) -> BTreeSet<Grant> {
        let found = self.found;
        let mut grants = BTreeSet::new();
        for (kind, queue) in
            std::iter::once((QueueKind::Source, &found.queue)).chain(found.dead_letter.iter().map(|queue| (QueueKind::DeadLetter, queue)))
        {
            match queue.attributes.get("Policy").filter(|policy| !policy.is_empty()).map(|policy| Document::parse(policy)) {
                Some(Ok(document)) => {
                    let read = access::read(&document, kind, &self.arn(queue), &found.place);
                    for bucket in read.guessed_accounts {
                        self.remark(
                            RemarkKind::Guessed,
                            "spec.producers",
                            format!("{bucket} is taken to be of the queue's account: no condition tells"),
                        );
                    }
                    self.remarks.extend(read.remarks);
                    grants.extend(read.grants);
                }
                Some(Err(error)) => {
                    self.remark(RemarkKind::Lost, "spec", format!("the policy of {} cannot be read: {error}", queue_name_of(&queue.url)));
                }
                None => {}
            }
        }
        self.by_key(&mut grants);
        grants
    }

    fn by_key(&mut self, grants: &mut BTreeSet<Grant>) {
        let Some(policy) = &self.found.key_policy else { return };
        let document = match Document::parse(policy) {
            Ok(document) => document,
            Err(error) => return self.remark(RemarkKind::Note, "spec", format!("the policy of the queue's key cannot be read: {error}")),
        };
        let (users, others) = key::users(&document, &self.arn(&self.found.queue), &self.found.place);
        for grant in users {
            let known = grants.iter().any(|known| known.principal == grant.principal);
            if !known {
                let field = if grant.capability == Capability::Send { "spec.producers" } else { "spec.consumers" };
                self.remark(
                    RemarkKind::Guessed,
                    field,
                    format!("{} stands in the key's policy alone; IAM policies may let it use the queue", grant.principal),
                );
                grants.insert(grant);
            }
        }
        for role in others.into_iter().filter(|role| !grants.iter().any(|grant| grant.principal == Principal::Role(role.clone()))) {
            self.remark(RemarkKind::Note, "spec", format!("{role} may use the key for anything; declare it if it uses the queue"));
        }
    }

    fn principals(&mut self, grants: &BTreeSet<Grant>, dead_letter: Option<&mut DeadLetter>) -> (Vec<Producer>, Vec<Consumer>, Vec<Consumer>) {
        let with = |capability: Capability| grants.iter().filter(move |grant| grant.capability == capability).map(|grant| &grant.principal);
        let roles = |capability| -> Vec<Consumer> {
            with(capability)
                .filter_map(|principal| match principal {
                    Principal::Role(role) => Some(Consumer { role: Some(role.to_string()), service_account: None }),
                    Principal::Service(_) | Principal::Organization(_) => None,
                })
                .collect()
        };
        // Who moves messages back sends them to the queue.
        let moves = |principal: &Principal| with(Capability::Redrive).any(|redriver| redriver == principal);
        let mut producers: Vec<Producer> = with(Capability::Send).filter(|principal| !moves(principal)).map(producer).collect();
        let (mut consumers, dead_consumers, mut redrivers) =
            (roles(Capability::Receive), roles(Capability::ReceiveDeadLetters), roles(Capability::Redrive));
        // Whoever may more sees attributes anyway.
        let more = |consumer: &Consumer| {
            grants
                .iter()
                .any(|grant| grant.capability != Capability::Observe && grant.principal.to_string() == consumer.role.clone().unwrap_or_default())
        };
        let mut observers: Vec<Consumer> = roles(Capability::Observe).into_iter().filter(|consumer| !more(consumer)).collect();
        for role in with(Capability::Send).filter(|principal| moves(principal)) {
            self.remark(
                RemarkKind::Note,
                "spec.producers",
                format!("{role} may send as one that moves messages back; declare it here too if it also produces"),
            );
        }
        if let Some(dead_letter) = dead_letter {
            let mut own = if dead_consumers == consumers { Vec::new() } else { dead_consumers };
            if own.is_empty() && !consumers.is_empty() && with(Capability::ReceiveDeadLetters).next().is_none() {
                self.remark(
                    RemarkKind::Wider,
                    "spec.deadLetter",
                    "nobody stands in the dead-letter queue's policy: the queue's consumers may read it",
                );
            }
            self.cut(3, &mut own);
            self.cut(4, &mut redrivers);
            (dead_letter.consumers, dead_letter.redrivers) = (own, redrivers);
        }
        self.cut(0, &mut producers);
        self.cut(1, &mut consumers);
        self.cut(2, &mut observers);
        for (field, nobody, who) in [("spec.producers", producers.is_empty(), "sends"), ("spec.consumers", consumers.is_empty(), "receives")] {
            if nobody {
                self.remark(RemarkKind::Note, field, format!("no policy names anybody: declare who {who}, without which it is not accepted"));
            }
        }
        (producers, consumers, observers)
    }

    fn cut<T: serde::Serialize>(&mut self, list: usize, principals: &mut Vec<T>) {
        let (field, most) = MOST[list];
        let beyond = principals.split_off(principals.len().min(most));
        for principal in beyond {
            let principal = serde_json::to_string(&principal).unwrap_or_default();
            self.remark(RemarkKind::Lost, field, format!("takes {most} at most; left out: {principal}"));
        }
    }

    fn settings(&mut self) -> QueueSettings {
        let (attributes, default) = (&self.found.queue.attributes, QueueSettings::default());
        let number = |name: &str, default: i32| attributes.get(name).and_then(|value| value.parse().ok()).unwrap_or(default);
        let is = |name: &str, value: &str| attributes.get(name).is_some_and(|known| known.eq_ignore_ascii_case(value));
        let fifo = is("FifoQueue", "true").then(|| Fifo {
            content_based_deduplication: is("ContentBasedDeduplication", "true"),
            deduplication_scope: if is("DeduplicationScope", "messageGroup") { DeduplicationScope::MessageGroup } else { DeduplicationScope::Queue },
            throughput_limit: if is("FifoThroughputLimit", "perMessageGroupId") {
                ThroughputLimit::PerMessageGroup
            } else {
                ThroughputLimit::PerQueue
            },
        });
        QueueSettings {
            name: Some(self.name.clone()),
            fifo,
            visibility_timeout_seconds: number("VisibilityTimeout", default.visibility_timeout_seconds),
            message_retention_seconds: number("MessageRetentionPeriod", default.message_retention_seconds),
            delay_seconds: number("DelaySeconds", default.delay_seconds),
            receive_message_wait_seconds: number("ReceiveMessageWaitTimeSeconds", default.receive_message_wait_seconds),
            maximum_message_bytes: number("MaximumMessageSize", default.maximum_message_bytes),
        }
    }

    fn dead_letter(&mut self) -> Option<DeadLetter> {
        let policy: Value = serde_json::from_str(self.found.queue.attributes.get("RedrivePolicy")?).ok()?;
        let target = QueueArn::parse(policy["deadLetterTargetArn"].as_str()?).ok()?;
        let count = &policy["maxReceiveCount"];
        let max_receive_count = count.as_i64().or_else(|| count.as_str()?.parse().ok()).and_then(|count| i32::try_from(count).ok());
        let default = DeadLetter::default();
        let Some(dead_letter) = &self.found.dead_letter else {
            let text = format!("dead-letter queue {} does not exist or may not be read; it is made if it is declared", target.name());
            self.remark(RemarkKind::Note, "spec.deadLetter", text);
            return Some(DeadLetter {
                name: Some(target.name().to_owned()),
                max_receive_count: max_receive_count.unwrap_or(default.max_receive_count),
                ..default
            });
        };
        let others: Vec<&str> = self.found.dead_letter_sources.iter().map(String::as_str).filter(|name| *name != self.name).collect();
        if !others.is_empty() {
            let text =
                format!("{} takes the dead letters of {} too: it cannot be taken over before they have another", target.name(), others.join(", "));
            self.remark(RemarkKind::Note, "spec.deadLetter", text);
        }
        let retention =
            |attributes: &Attributes, default: i32| attributes.get("MessageRetentionPeriod").and_then(|text| text.parse().ok()).unwrap_or(default);
        let own = retention(&self.found.queue.attributes, QueueSettings::default().message_retention_seconds);
        // What SQS assumes.
        let mut message_retention_seconds = retention(&dead_letter.attributes, 345_600);
        if message_retention_seconds <= own && self.name.strip_suffix(".fifo").is_none() {
            let text = format!(
                "it keeps messages for {message_retention_seconds} seconds, no longer than the queue, and stays so: a message keeps its enqueue time, so declare more"
            );
            self.remark(RemarkKind::Note, "spec.deadLetter.messageRetentionSeconds", text);
            message_retention_seconds = default.message_retention_seconds;
        }
        Some(DeadLetter {
            name: Some(target.name().to_owned()),
            max_receive_count: max_receive_count.unwrap_or(default.max_receive_count),
            message_retention_seconds,
            ..default
        })
    }

    /// The reuse period as found, within the tier's bounds where they are known.
    fn key(&mut self, tier: &str) -> KeySettings {
        let attributes = &self.found.queue.attributes;
        let under_key = attributes.get("KmsMasterKeyId").is_some_and(|key| !key.is_empty());
        let found: Option<i32> = attributes.get("KmsDataKeyReusePeriodSeconds").filter(|_| under_key).and_then(|text| text.parse().ok());
        let bounds = self.known.tiers.get(tier).map(|tier| tier.spec.data_key_reuse_seconds);
        let within = found.map(|found| bounds.map_or(found, |bounds| found.clamp(bounds.minimum, bounds.maximum)));
        if let Some((found, within)) = found.zip(within).filter(|(found, within)| found != within) {
            self.remark(RemarkKind::Note, "spec.key", format!("the reuse period was {found} seconds; the tier admits {within}"));
        }
        if !under_key {
            self.remark(RemarkKind::Note, "spec.key", "it was under no key of its own");
        }
        KeySettings { data_key_reuse_seconds: within, ..KeySettings::default() }
    }

    /// The queue's tags but for those of AWS, of this operator, and those that the tenant sets.
    fn tags(&mut self, tenant: &str) -> BTreeMap<String, String> {
        let of_tenant = self.known.tenants.get(tenant).map(|tenant| tenant.spec.tags.clone()).unwrap_or_default();
        let mut tags = self.found.queue.tags.clone();
        tags.retain(|key, _| !key.starts_with("aws:") && !key.starts_with(TAG_PREFIX) && !of_tenant.contains_key(key));
        // Rules of AWS that older tags were not held to, and that the schema has.
        let odd: Vec<String> = tags.iter().filter(|(key, value)| !is_tag(key, value)).map(|(key, _)| key.clone()).collect();
        for key in odd {
            tags.remove(&key);
            self.remark(
                RemarkKind::Note,
                "spec.tags",
                format!("{key:?} is left out, as no declaration can have its characters; it stays on the queue"),
            );
        }
        let beyond: Vec<String> = tags.keys().skip(40).cloned().collect();
        for key in beyond {
            tags.remove(&key);
            self.remark(RemarkKind::Note, "spec.tags", format!("{key:?} is left out, as there is no room for it; it stays on the queue"));
        }
        tags
    }
}

fn producer(principal: &Principal) -> Producer {
    match principal {
        Principal::Role(role) => Producer { role: Some(role.to_string()), ..Producer::default() },
        Principal::Service(source) => {
            let service = ServiceProducer {
                principal: source.service,
                source_arn: source.source_arn.clone(),
                source_account: source.source_account.clone(),
                key_source_condition: None,
            };
            Producer { service: Some(service), ..Producer::default() }
        }
        Principal::Organization(roles) => {
            let organization =
                OrganizationProducer { id: roles.id.clone(), paths: roles.paths.iter().cloned().collect(), role_name: roles.role_name.clone() };
            Producer { organization: Some(organization), ..Producer::default() }
        }
    }
}

/// Whether a declaration can have a tag: letters, digits, spaces and `_.:/=+@-`, within AWS's lengths.
fn is_tag(key: &str, value: &str) -> bool {
    let fits = |text: &str, longest: usize| {
        text.chars().count() <= longest && text.chars().all(|character| character.is_alphanumeric() || " _.:/=+@-".contains(character))
    };
    !key.is_empty() && fits(key, 128) && fits(value, 256)
}
