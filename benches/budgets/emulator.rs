//! SQS, KMS and the tag index of one account and Region in memory: as much as the operator asks, and fast. What AWS would refuse it accepts, as moto does.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::world::{ACCOUNT, OPERATOR};

const REGION: &str = "eu-west-1";
/// Items of a list that AWS answers at once, where the caller names no number.
const PAGE: usize = 100;
/// The queue of events.
const EVENTS: &str = "events";
/// How long a long poll waits.
const LONG_POLL: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Queue {
    attributes: Map<String, Value>,
    tags: Map<String, Value>,
}

struct Key {
    metadata: Value,
    policy: Value,
    tags: Vec<Value>,
    rotation: Option<i64>,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<String, Queue>,
    keys: BTreeMap<String, Key>,
    /// Key ids by alias.
    aliases: BTreeMap<String, String>,
    /// Events that nobody has taken yet.
    events: VecDeque<Value>,
}

/// A running emulator; it ends with this value.
pub(crate) struct Emulator {
    address: SocketAddr,
    server: JoinHandle<Infallible>,
    state: Arc<Mutex<State>>,
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Emulator {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<Mutex<State>>::default();
        let server = tokio::spawn(test_support::http::serve(listener, state.clone(), answer));
        Self { address, server, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// URL of the queue of events.
    pub(crate) fn events() -> String {
        url(EVENTS)
    }

    /// Somebody sets a queue's attribute, and an event tells of it.
    pub(crate) fn somebody_sets(&self, queue: &str, attribute: &str, value: &str) {
        let mut state = self.state();
        state.queues.get_mut(queue).expect("it is there").attributes.insert(attribute.to_owned(), json!(value));
        let detail = json!({
            "eventSource": "sqs.amazonaws.com", "eventName": "SetQueueAttributes", "awsRegion": REGION, "recipientAccountId": ACCOUNT,
            "userIdentity": {"sessionContext": {"sessionIssuer": {"arn": format!("arn:aws:iam::{ACCOUNT}:role/somebody")}}},
            "requestParameters": {"queueUrl": url(queue), "attributes": {attribute: value}}, "requestID": format!("{queue} {attribute} {value}"),
        });
        let body = json!({"detail-type": "AWS API Call via CloudTrail", "source": "aws.sqs", "account": ACCOUNT, "region": REGION, "detail": detail});
        state.events.push_back(body);
    }

    /// A queue's attribute.
    pub(crate) fn attribute(&self, queue: &str, attribute: &str) -> String {
        self.state().queues.get(queue).map(|queue| text(&Value::Object(queue.attributes.clone()), attribute).to_owned()).unwrap_or_default()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let input: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (_, operation) = target.rsplit_once('.').unwrap_or_default();
    let answered = match operation {
        "" => return Ok(who_am_i()),
        "ReceiveMessage" => Ok(take_events(&state).await),
        _ => state.lock().unwrap_or_else(PoisonError::into_inner).answer(operation, &input),
    };
    let (status, body) = match answered {
        Ok(body) => (200, body),
        Err(code) => (400, json!({"__type": code, "message": format!("{operation}: {code}")})),
    };
    let response = Response::builder().status(status).header("content-type", "application/x-amz-json-1.1");
    Ok(response.body(Full::from(body.to_string())).expect("a response"))
}

/// Waits for events as a long poll does.
async fn take_events(state: &Mutex<State>) -> Value {
    let began = std::time::Instant::now();
    loop {
        let events: Vec<Value> = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            let some = state.events.len().min(10);
            state.events.drain(..some).collect()
        };
        if !events.is_empty() || began.elapsed() > LONG_POLL {
            let message = |event: Value| json!({"MessageId": "m", "ReceiptHandle": "r", "Body": event.to_string()});
            return json!({"Messages": events.into_iter().map(message).collect::<Vec<_>>()});
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// `sts:GetCallerIdentity` is all that is asked in the older protocol.
fn who_am_i() -> Response<Full<Bytes>> {
    let arn = OPERATOR.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/");
    Response::new(Full::from(format!(
        "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>{arn}/bench</Arn><UserId>AROABENCH:bench</UserId><Account>{ACCOUNT}</Account>\
         </GetCallerIdentityResult></GetCallerIdentityResponse>"
    )))
}

fn text<'a>(input: &'a Value, name: &str) -> &'a str {
    input[name].as_str().unwrap_or_default()
}

fn url(name: &str) -> String {
    format!("https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}")
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// One page of a list, as KMS answers it.
fn page(name: &str, list: impl Iterator<Item = Value>, input: &Value) -> Value {
    let from: usize = text(input, "Marker").parse().unwrap_or_default();
    let limit = input["Limit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE);
    let mut items: Vec<Value> = list.skip(from).take(limit + 1).collect();
    let truncated = items.len() > limit;
    items.truncate(limit);
    let mut answer = json!({name: items, "Truncated": truncated});
    if truncated {
        answer["NextMarker"] = json!((from + limit).to_string());
    }
    answer
}

impl State {
    fn answer(&mut self, operation: &str, input: &Value) -> Result<Value, &'static str> {
        match operation {
            "CreateQueue" | "GetQueueUrl" | "GetQueueAttributes" | "SetQueueAttributes" | "ListQueueTags" | "TagQueue" | "UntagQueue"
            | "ListQueues" | "DeleteQueue" => self.sqs(operation, input),
            // What was taken is gone.
            "DeleteMessageBatch" => {
                let entries = input["Entries"].as_array().into_iter().flatten();
                Ok(json!({"Successful": entries.map(|entry| json!({"Id": entry["Id"]})).collect::<Vec<_>>(), "Failed": []}))
            }
            "GetResources" => Ok(json!({"ResourceTagMappingList": self.resources(input), "PaginationToken": ""})),
            _ => self.kms(operation, input),
        }
    }

    fn sqs(&mut self, operation: &str, input: &Value) -> Result<Value, &'static str> {
        const GONE: &str = "com.amazonaws.sqs#QueueDoesNotExist";
        let name = name_of(input["QueueUrl"].as_str().unwrap_or_else(|| text(input, "QueueName"))).to_owned();
        match operation {
            "CreateQueue" => {
                self.queues.insert(name.clone(), Queue { attributes: map(&input["Attributes"]), tags: map(&input["tags"]) });
                return Ok(json!({"QueueUrl": url(&name)}));
            }
            "ListQueues" => return Ok(json!({"QueueUrls": self.queues.keys().map(|name| url(name)).collect::<Vec<_>>()})),
            "DeleteQueue" => return self.queues.remove(&name).map(|_| json!({})).ok_or(GONE),
            _ => {}
        }
        let queue = self.queues.get_mut(&name).ok_or(GONE)?;
        Ok(match operation {
            "GetQueueAttributes" => json!({"Attributes": queue.attributes}),
            "SetQueueAttributes" => {
                queue.attributes.extend(map(&input["Attributes"]));
                json!({})
            }
            "ListQueueTags" => json!({"Tags": queue.tags}),
            "TagQueue" => {
                queue.tags.extend(map(&input["Tags"]));
                json!({})
            }
            "UntagQueue" => {
                queue.tags.retain(|key, _| !input["TagKeys"].as_array().is_some_and(|keys| keys.contains(&json!(key))));
                json!({})
            }
            _ => json!({"QueueUrl": url(&name)}),
        })
    }

    fn kms(&mut self, operation: &str, input: &Value) -> Result<Value, &'static str> {
        const GONE: &str = "NotFoundException";
        let id = text(input, "KeyId").rsplit('/').next().unwrap_or_default().to_owned();
        match operation {
            "CreateKey" => return Ok(self.create_key(input)),
            "CreateAlias" | "UpdateAlias" => {
                self.aliases.insert(text(input, "AliasName").to_owned(), text(input, "TargetKeyId").to_owned());
                return Ok(json!({}));
            }
            "ListAliases" => {
                let of_key = |key: &str| input["KeyId"].as_str().is_none_or(|_| id == key);
                let list = self.aliases.iter().filter(|(_, key)| of_key(key)).map(|(alias, key)| json!({"AliasName": alias, "TargetKeyId": key}));
                return Ok(page("Aliases", list, input));
            }
            "ListKeys" => return Ok(page("Keys", self.keys.keys().map(|id| json!({"KeyId": id})), input)),
            _ => {}
        }
        let id = self.aliases.get(text(input, "KeyId")).cloned().unwrap_or(id);
        let key = self.keys.get_mut(&id).ok_or(GONE)?;
        Ok(match operation {
            "DescribeKey" => json!({"KeyMetadata": key.metadata}),
            "GetKeyPolicy" => json!({"Policy": key.policy}),
            "PutKeyPolicy" => {
                key.policy = input["Policy"].clone();
                json!({})
            }
            "EnableKeyRotation" => {
                key.rotation = input["RotationPeriodInDays"].as_i64();
                json!({})
            }
            "GetKeyRotationStatus" => json!({"KeyRotationEnabled": key.rotation.is_some(), "RotationPeriodInDays": key.rotation}),
            "ListResourceTags" => json!({"Tags": key.tags, "Truncated": false}),
            "TagResource" => {
                key.tags.extend(input["Tags"].as_array().cloned().unwrap_or_default());
                json!({})
            }
            "ListGrants" => json!({"Grants": [], "Truncated": false}),
            _ => return Err("UnknownOperationException"),
        })
    }

    fn create_key(&mut self, input: &Value) -> Value {
        let id = format!("00000000-0000-4000-8000-{:012x}", self.keys.len());
        let arn = format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{id}");
        let metadata = json!({"KeyId": id, "Arn": arn, "KeyState": "Enabled", "Enabled": true, "Description": input["Description"],
            "CreationDate": std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |now| now.as_secs())});
        let tags = input["Tags"].as_array().cloned().unwrap_or_default();
        self.keys.insert(id, Key { metadata: metadata.clone(), policy: input["Policy"].clone(), tags, rotation: None });
        json!({"KeyMetadata": metadata})
    }

    fn resources(&self, input: &Value) -> Vec<Value> {
        let of = |arn: &str| {
            if let Some((_, id)) = arn.rsplit_once('/') {
                self.keys.get(id).map(|key| key.tags.iter().map(|tag| json!({"Key": tag["TagKey"], "Value": tag["TagValue"]})).collect())
            } else {
                let queue = self.queues.get(arn.rsplit(':').next().unwrap_or_default())?;
                Some(queue.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect::<Vec<_>>())
            }
        };
        let wanted = input["ResourceARNList"].as_array().into_iter().flatten().filter_map(Value::as_str);
        wanted.filter_map(|arn| Some(json!({"ResourceARN": arn, "Tags": of(arn)?}))).collect()
    }
}
