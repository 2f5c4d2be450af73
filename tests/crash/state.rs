//! What is there at the end of a run: objects and AWS, without what differs from run to run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kms::Client as Kms;
use aws_sdk_sqs::Client as Sqs;
use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_sqs::types::QueueAttributeName;
use futures::future::join_all;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use regex::Regex;
use serde_json::{Map, Value, json};

use super::stage::Stage;

/// Accounts and Regions of the example tenants.
pub(super) const PLACES: [(&str, &str); 2] = [("123456789012", "eu-west-1"), ("210987654321", "eu-central-1")];
const KINDS: [&str; 5] = ["EncryptedQueue", "QueueKey", "Tenant", "SensitivityTier", "AccessApproval"];
pub(super) const CLUSTER: (&str, &str) = ("encryptedqueue.dev/cluster", "crash");
pub(super) const RELEASED: &str = "encryptedqueue.dev/released";
const OBJECT: &str = "encryptedqueue.dev/object";

/// The end of a run.
#[derive(Clone, Default)]
pub(crate) struct State {
    /// Everything, to compare.
    pub(crate) text: String,
    /// Keys left usable beside another one that was made for the same object.
    pub(crate) duplicates: Vec<String>,
    /// Queues, keys and QueueKeys that nothing points to.
    pub(crate) orphans: Vec<String>,
}

struct Queue {
    arn: String,
    attributes: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

struct Key {
    id: String,
    state: String,
    made: i64,
    description: String,
    policy: String,
    tags: BTreeMap<String, String>,
    aliases: Vec<String>,
    rotation: Value,
}

/// As somebody of that account, who is not the operator.
pub(crate) async fn sdk(stage: &Stage, account: &str, region: &str) -> SdkConfig {
    let config = |id: &str, secret: &str, token: Option<String>| {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .sleep_impl(aws_smithy_async::rt::sleep::TokioSleep::new())
            .region(Region::new(region.to_owned()))
            .endpoint_url(stage.proxy.endpoint())
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(id, secret, token, None, "test")))
            .build()
    };
    let own = config("someone", "secret", None);
    if account == PLACES[0].0 {
        return own;
    }
    let role = format!("arn:aws:iam::{account}:role/test-administrator");
    let answer = aws_sdk_sts::Client::new(&own).assume_role().role_arn(role).role_session_name("test").send().await.expect("assumed");
    let credentials = answer.credentials().expect("credentials");
    stage.foreign.add(&credentials.access_key_id);
    config(&credentials.access_key_id, &credentials.secret_access_key, Some(credentials.session_token.clone()))
}

async fn queues(sqs: &Sqs) -> Vec<Queue> {
    let urls = sqs.list_queues().send().await.expect("queues").queue_urls.unwrap_or_default();
    let read = urls.iter().map(|url| async move {
        let all = sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let (attributes, tags) = futures::join!(all.send(), sqs.list_queue_tags().queue_url(url).send());
        let attributes = attributes.expect("attributes").attributes.unwrap_or_default();
        let attributes: BTreeMap<_, _> = attributes.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect();
        let tags = tags.expect("tags").tags.unwrap_or_default().into_iter().collect();
        Queue { arn: attributes.get("QueueArn").cloned().unwrap_or_default(), attributes, tags }
    });
    join_all(read).await
}

async fn keys(kms: &Kms) -> Vec<Key> {
    let listed = kms.list_keys().send().await.expect("keys").keys.unwrap_or_default();
    let aliases = kms.list_aliases().send().await.expect("aliases").aliases.unwrap_or_default();
    let read = listed.iter().filter_map(|key| key.key_id.clone()).map(|id| {
        let aliases = aliases.iter().filter(|alias| alias.target_key_id() == Some(&id)).filter_map(|alias| alias.alias_name.clone()).collect();
        key(kms, id, aliases)
    });
    let mut keys: Vec<Key> = join_all(read).await.into_iter().flatten().collect();
    keys.sort_by_key(|key| key.made);
    keys
}

/// None: a key that AWS keeps for itself.
async fn key(kms: &Kms, id: String, aliases: Vec<String>) -> Option<Key> {
    let (described, policy, tags, rotation) = futures::join!(
        kms.describe_key().key_id(&id).send(),
        kms.get_key_policy().key_id(&id).policy_name("default").send(),
        kms.list_resource_tags().key_id(&id).send(),
        kms.get_key_rotation_status().key_id(&id).send(),
    );
    let metadata = described.expect("the key").key_metadata.expect("metadata");
    if metadata.key_manager.as_ref().is_some_and(|manager| manager.as_str() == "AWS") {
        return None;
    }
    let tags = tags.expect("tags").tags.unwrap_or_default().into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect();
    let rotation = rotation.map_or(Value::Null, |status| json!({"enabled": status.key_rotation_enabled, "period": status.rotation_period_in_days}));
    Some(Key {
        state: metadata.key_state.as_ref().map_or("", |state| state.as_str()).to_owned(),
        made: metadata.creation_date.map_or(0, |at| at.as_nanos().try_into().unwrap_or(i64::MAX)),
        description: metadata.description.unwrap_or_default(),
        policy: policy.ok().and_then(|answer| answer.policy).unwrap_or_default(),
        tags,
        aliases,
        rotation,
        id,
    })
}

/// Policies mean the same in any order, and one value is the same as a list of it.
fn canonical(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(canonical).collect();
            items.sort_by_key(ToString::to_string);
            if items.len() == 1 { items.remove(0) } else { Value::Array(items) }
        }
        Value::Object(fields) => Value::Object(in_order(fields.into_iter().map(|(name, value)| (name, canonical(value))))),
        other => other,
    }
}

fn in_order(fields: impl Iterator<Item = (String, Value)>) -> Map<String, Value> {
    fields.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// All fields in order of their names.
fn ordered(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(ordered).collect(),
        Value::Object(fields) => Value::Object(in_order(fields.into_iter().map(|(name, value)| (name, ordered(value))))),
        other => other,
    }
}

fn policy(text: &str) -> Value {
    serde_json::from_str(text).map(canonical).unwrap_or_default()
}

/// Counts and times of the emulator's.
fn attributes(queue: &Queue) -> Map<String, Value> {
    let own = queue.attributes.iter().filter(|(name, _)| !name.starts_with("Approximate") && !name.ends_with("Timestamp"));
    let value = |name: &str, text: &String| if name.ends_with("Policy") { policy(text) } else { Value::String(text.clone()) };
    own.map(|(name, text)| (name.clone(), value(name, text))).collect()
}

/// An object without what the server counts.
fn object(mut object: Value) -> Value {
    let generation = object["metadata"]["generation"].clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"] {
            metadata.remove(name);
        }
        if metadata.get("annotations").is_some_and(|annotations| annotations.as_object().is_some_and(Map::is_empty)) {
            metadata.remove("annotations");
        }
    }
    // Only who made a queue knows since when it is there.
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        if let Some(observed) = status.get_mut("observedGeneration") {
            *observed = json!(if *observed == generation { "current" } else { "older" });
        }
        status.remove("createdAt");
        // Some runs ask for it.
        status.remove("checkedNow");
        // Told only by who saw it as declared before.
        status.remove("nonCompliantSince");
        // Told by whoever narrowed access, and only for a while.
        if let Some(access) = status.get_mut("access").and_then(Value::as_object_mut) {
            access.remove("cachedDataKeysUntil");
            if access.is_empty() {
                status.remove("access");
            }
        }
        // Absent is the same as none.
        if status.get("accessRevision") == Some(&json!(0)) {
            status.remove("accessRevision");
        }
    }
    if let Some(conditions) = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        for condition in conditions {
            let current = condition["observedGeneration"] == generation;
            condition["observedGeneration"] = json!(if current { "current" } else { "older" });
        }
    }
    object
}

/// Names, instead of what is drawn anew in each run.
fn normalise(text: &str, names: &BTreeMap<String, String>) -> String {
    static UUID: LazyLock<Regex> = LazyLock::new(|| Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap());
    // Both are AWS's names of an account.
    static ROOT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"arn:[a-z-]+:iam::(\d{12}):root").unwrap());
    static HEX: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b[0-9a-f]{32,64}\b").unwrap());
    static TIME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z").unwrap());
    static ADDRESS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"http://127\.0\.0\.1:\d+").unwrap());
    let text = UUID.replace_all(text, |found: &regex::Captures<'_>| names.get(&found[0]).cloned().unwrap_or_else(|| "<uuid>".to_owned()));
    let text = ROOT.replace_all(&text, "$1");
    let text = HEX.replace_all(&text, "<hash>");
    let text = TIME.replace_all(&text, "<time>");
    ADDRESS.replace_all(&text, "http://aws").into_owned()
}

fn is_ours(tags: &BTreeMap<String, String>) -> bool {
    tags.get(CLUSTER.0).is_some_and(|value| value == CLUSTER.1)
}

impl State {
    /// Reads everything.
    pub(crate) async fn read(stage: &Stage) -> Self {
        let mut objects = Map::new();
        for kind in KINDS {
            objects.insert(kind.to_owned(), Value::Array(stage.all(kind).await));
        }
        let maps: Api<k8s_openapi::api::core::v1::ConfigMap> = Api::all(stage.client.clone());
        let maps = maps.list(&ListParams::default()).await.expect("ConfigMaps").items;
        let maps = maps.into_iter().filter(|map| map.labels().keys().any(|label| label.starts_with("encryptedqueue.dev/")));
        objects.insert("ConfigMap".to_owned(), maps.map(|map| serde_json::to_value(map).expect("serialises")).collect());
        let (mut all_queues, mut all_keys) = (Vec::new(), Vec::new());
        for (account, region) in PLACES {
            let sdk = sdk(stage, account, region).await;
            let (sqs, kms) = (Sqs::new(&sdk), Kms::new(&sdk));
            let (queues, keys) = futures::join!(queues(&sqs), keys(&kms));
            all_queues.extend(queues);
            all_keys.extend(keys);
        }
        let (duplicates, orphans) = loose_ends(&objects, &all_queues, &all_keys);
        Self { text: text(objects, &all_queues, &all_keys), duplicates, orphans }
    }
}

fn text(objects: Map<String, Value>, queues: &[Queue], keys: &[Key]) -> String {
    let mut names = BTreeMap::new();
    let mut counts = BTreeMap::<&str, u32>::new();
    for key in keys {
        let object = key.tags.get(OBJECT).map_or("", String::as_str);
        let count = counts.entry(object).and_modify(|count| *count += 1).or_insert(1);
        names.insert(key.id.clone(), format!("<key {count} of {object}>"));
    }
    let objects: Map<String, Value> =
        objects.into_iter().map(|(kind, list)| (kind, list.as_array().cloned().unwrap_or_default().into_iter().map(object).collect())).collect();
    let queues: BTreeMap<&str, Value> =
        queues.iter().map(|queue| (queue.arn.as_str(), json!({"attributes": attributes(queue), "tags": queue.tags}))).collect();
    let keys: BTreeMap<&str, Value> = keys
        .iter()
        .map(|key| {
            // Whether the last step before a key's end was taken apart from it is a matter of time, and nobody can use it any more.
            let policy = if key.state == "PendingDeletion" { Value::Null } else { policy(&key.policy) };
            let said = json!({
                "state": key.state, "description": key.description, "policy": policy, "tags": key.tags, "aliases": key.aliases,
                "rotation": key.rotation,
            });
            (names.get(&key.id).map_or("", String::as_str), said)
        })
        .collect();
    let all = ordered(json!({"objects": objects, "queues": queues, "keys": keys}));
    normalise(&serde_json::to_string_pretty(&all).expect("serialises"), &names)
}

/// Duplicates and orphans.
fn loose_ends(objects: &Map<String, Value>, queues: &[Queue], keys: &[Key]) -> (Vec<String>, Vec<String>) {
    let list = |kind: &str| objects.get(kind).and_then(Value::as_array).cloned().unwrap_or_default();
    let said = |kind: &str| list(kind).iter().map(|object| object["status"].to_string()).collect::<Vec<_>>().join("\n");
    let (of_keys, of_queues) = (said("QueueKey"), said("EncryptedQueue"));
    let (mut duplicates, mut orphans, mut made_for) = (Vec::new(), Vec::new(), BTreeSet::new());
    for key in keys.iter().filter(|key| is_ours(&key.tags) && key.state != "PendingDeletion") {
        let object = key.tags.get(OBJECT).cloned().unwrap_or_default();
        if !made_for.insert(object.clone()) {
            duplicates.push(format!("key {} is not the only one of {object}", key.id));
        } else if !of_keys.contains(&key.id) && !key.tags.contains_key(RELEASED) {
            orphans.push(format!("key {} of {object} is on no record", key.id));
        }
    }
    for queue in queues.iter().filter(|queue| is_ours(&queue.tags) && !queue.tags.contains_key(RELEASED)) {
        if !of_queues.contains(&queue.arn) {
            orphans.push(format!("queue {} is on no record", queue.arn));
        }
    }
    for key in list("QueueKey") {
        let name = key["metadata"]["name"].as_str().unwrap_or_default();
        let has_released = key.pointer("/status/releasedQueues").and_then(Value::as_array).is_some_and(|queues| !queues.is_empty());
        if !has_released && !of_queues.contains(&format!("\"{name}\"")) {
            orphans.push(format!("QueueKey {name} is of no queue"));
        }
    }
    (duplicates, orphans)
}
