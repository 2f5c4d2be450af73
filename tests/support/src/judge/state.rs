//! What AWS holds after each recorded write: policies, encryption, tags, grants.

use std::collections::BTreeMap;

use serde_json::Value;

use super::evaluator::items;
use crate::proxy::Call;

/// A queue.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Its policy; null: none.
    pub policy: Value,
    /// `KmsMasterKeyId`.
    pub key: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A key.
#[derive(Clone, Debug, Default)]
pub struct Key {
    /// Its policy.
    pub policy: Value,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// KMS grants by id.
    pub grants: BTreeMap<String, Value>,
}

/// Queues and keys by ARN.
#[derive(Clone, Debug, Default)]
pub struct Aws {
    /// All queues.
    pub queues: BTreeMap<String, Queue>,
    /// All keys.
    pub keys: BTreeMap<String, Key>,
    /// Keys whose making was not answered, by account and Region, until a call names one.
    unnamed: Vec<(String, Key)>,
}

/// What a write concerned.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Touched {
    /// The queue with this ARN.
    Queue(String),
    /// The key with this ARN.
    Key(String),
}

/// The partition of a Region.
pub(super) fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

fn policy(text: Option<&str>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Tags as SQS writes them, an object, or as KMS does, a list.
pub(super) fn tags(value: &Value) -> BTreeMap<String, String> {
    if let Value::Object(tags) = value {
        return tags.iter().filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    }
    let pair = |tag: &Value| Some((text(tag, "TagKey")?.to_owned(), text(tag, "TagValue")?.to_owned()));
    items(value).into_iter().filter_map(pair).collect()
}

impl Queue {
    /// `SetQueueAttributes` or `CreateQueue`: setting a key ends SSE-SQS, and the other way round.
    fn set(&mut self, attributes: &Value) {
        if let Some(text) = text(attributes, "Policy") {
            self.policy = policy(Some(text));
        }
        if text(attributes, "SqsManagedSseEnabled") == Some("true") {
            self.key = None;
        }
        if let Some(key) = text(attributes, "KmsMasterKeyId") {
            self.key = (!key.is_empty()).then(|| key.to_owned());
        }
    }
}

impl Aws {
    /// Takes a write that AWS carried out; what it concerned, if it is a queue or a key.
    pub fn apply(&mut self, call: &Call) -> Option<Touched> {
        match call.service.as_str() {
            "sqs" => self.apply_sqs(call),
            "kms" => self.apply_kms(call),
            _ => None,
        }
    }

    fn apply_sqs(&mut self, call: &Call) -> Option<Touched> {
        let request = &call.request;
        let name = text(request, "QueueName").or_else(|| text(request, "QueueUrl").and_then(|url| url.rsplit('/').next()))?;
        let arn = format!("arn:{}:sqs:{}:{}:{name}", partition(&call.region), call.region, call.account);
        if call.is("CreateQueue") && !self.queues.contains_key(&arn) {
            let mut queue = Queue { tags: tags(request.get("tags").unwrap_or(&Value::Null)), ..Queue::default() };
            queue.set(request.get("Attributes").unwrap_or(&Value::Null));
            self.queues.insert(arn.clone(), queue);
        } else if call.is("DeleteQueue") {
            self.queues.remove(&arn);
        } else if let Some(queue) = self.queues.get_mut(&arn) {
            match call.operation.as_str() {
                "SetQueueAttributes" => queue.set(request.get("Attributes").unwrap_or(&Value::Null)),
                "TagQueue" => queue.tags.extend(tags(request.get("Tags").unwrap_or(&Value::Null))),
                "UntagQueue" => items(&request["TagKeys"]).into_iter().filter_map(Value::as_str).for_each(|key| drop(queue.tags.remove(key))),
                _ => {}
            }
        }
        Some(Touched::Queue(arn))
    }

    /// The key that a call names, reads included: the first to name one that nobody was told of finds it.
    pub(super) fn named_key(&mut self, call: &Call) -> Option<String> {
        let place = format!("arn:{}:kms:{}:{}:key/", partition(&call.region), call.region, call.account);
        let id = text(&call.request, "KeyId").or_else(|| text(&call.request, "TargetKeyId"))?;
        let arn = if id.starts_with("arn:") { id.to_owned() } else { format!("{place}{id}") };
        if id.contains("alias/") {
            return None;
        }
        if !self.keys.contains_key(&arn) {
            let at = self.unnamed.iter().position(|(at, _)| *at == place)?;
            let (_, key) = self.unnamed.remove(at);
            self.keys.insert(arn.clone(), key);
        }
        Some(arn)
    }

    fn apply_kms(&mut self, call: &Call) -> Option<Touched> {
        let (request, response) = (&call.request, &call.response);
        let place = format!("arn:{}:kms:{}:{}:key/", partition(&call.region), call.region, call.account);
        if call.is("CreateKey") {
            let tags = tags(request.get("Tags").unwrap_or(&Value::Null));
            let key = Key { policy: policy(text(request, "Policy")), tags, grants: BTreeMap::new() };
            let Some(arn) = response.pointer("/KeyMetadata/Arn").and_then(Value::as_str) else {
                self.unnamed.push((place, key));
                return None;
            };
            self.keys.insert(arn.to_owned(), key);
            return Some(Touched::Key(arn.to_owned()));
        }
        let arn = self.named_key(call)?;
        let key = self.keys.get_mut(&arn)?;
        match call.operation.as_str() {
            "PutKeyPolicy" => key.policy = policy(text(request, "Policy")),
            "TagResource" => key.tags.extend(tags(request.get("Tags").unwrap_or(&Value::Null))),
            "UntagResource" => items(&request["TagKeys"]).into_iter().filter_map(Value::as_str).for_each(|name| drop(key.tags.remove(name))),
            "CreateGrant" => {
                key.grants.extend(text(response, "GrantId").map(|id| (id.to_owned(), request.clone())));
            }
            "RevokeGrant" | "RetireGrant" => drop(text(request, "GrantId").map(|id| key.grants.remove(id))),
            _ => {}
        }
        Some(Touched::Key(arn))
    }
}
