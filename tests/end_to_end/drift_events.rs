//! Events: what somebody changes in AWS is put right although no check is due. A trail makes events of the calls that pass the proxy, as CloudTrail and
//! EventBridge do.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use serde_json::{Value, json};
use test_support::proxy::Mark;
use test_support::trail;

use crate::bad_input::{CONSUMER, NAMESPACE, PRODUCER, namespace, queue, tenant, tier, until_event};
use crate::world::{ACCOUNT, OPERATOR, World};

const REGION: &str = "eu-west-1";
const SOMEONE: &str = "arn:aws:iam::123456789012:role/someone";

struct Scene {
    world: World,
    sqs: aws_sdk_sqs::Client,
    kms: aws_sdk_kms::Client,
    /// The queue of events.
    events: String,
    url: String,
    key: String,
}

/// A queue with dead-letter queue that is in order, an operator whose checks never come, and its queue of events.
async fn scene() -> Scene {
    let mut world = World::new().await;
    world.create_roles(&[PRODUCER, CONSUMER]).await;
    namespace(&world, NAMESPACE, json!({})).await;
    let (sqs, kms) = (world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    let events = sqs.create_queue().queue_name("drift").send().await.unwrap().queue_url.unwrap();
    world.start_operator(&["--leader-election", "false", "--check-period", "100h", "--drift-queue-url", &events]);
    world.apply_object(&tenant("acme", &json!({}))).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    world.apply_object(&queue(NAMESPACE, "acme", &json!({"deadLetter": {"maxReceiveCount": 3}}))).await;
    let status = world.until_ready(NAMESPACE, "acme").await.status.unwrap();
    Scene { url: status.queue.unwrap().url, key: status.key.unwrap().arn.unwrap(), world, sqs, kms, events }
}

impl Scene {
    async fn send(&self, body: &str) {
        self.sqs.send_message().queue_url(&self.events).message_body(body).send().await.unwrap();
    }

    /// Sends the events of all writes since a mark; how many there were of the operator's own, and of others.
    async fn forward(&self, since: Mark) -> (usize, usize) {
        let mut sent = (0, 0);
        for call in self.world.proxy.calls_since(since) {
            let own = call.access_key == "operator";
            let Some(event) = trail::event(&call, if own { OPERATOR } else { SOMEONE }) else { continue };
            self.send(&event.to_string()).await;
            if own { sent.0 += 1 } else { sent.1 += 1 }
        }
        sent
    }

    /// Waits until all events are dealt with.
    async fn until_drained(&self) {
        let counts = [Attribute::ApproximateNumberOfMessages, Attribute::ApproximateNumberOfMessagesNotVisible];
        self.world
            .until("the queue of events is empty", async || {
                let call = self.sqs.get_queue_attributes().queue_url(&self.events).set_attribute_names(Some(counts.to_vec()));
                call.send().await.unwrap().attributes.unwrap().values().all(|count| count == "0")
            })
            .await;
    }

    /// The operator's reads of what it manages.
    fn reads(&self, since: Mark) -> usize {
        let calls = self.world.proxy.calls_since(since).into_iter();
        let own = calls.filter(|call| call.access_key == "operator" && !matches!(call.operation.as_str(), "ReceiveMessage" | "DeleteMessageBatch"));
        own.filter(|call| ["Get", "List", "Describe"].iter().any(|prefix| call.operation.starts_with(prefix))).count()
    }

    async fn attribute(&self, name: &str) -> Option<String> {
        self.world.attributes(&self.sqs, &self.url).await.remove(name)
    }

    async fn key_policy(&self) -> String {
        self.kms.get_key_policy().key_id(&self.key).send().await.unwrap().policy.unwrap()
    }
}

/// One change after the other: told of, it is put right; the operator's own part in it is told of too and looked at by nobody.
#[tokio::test]
async fn what_somebody_changes_is_put_right_when_an_event_tells() {
    let scene = scene().await;
    let (world, kms, sqs) = (&scene.world, &scene.kms, &scene.sqs);
    let (policy, key_policy) = (scene.attribute("Policy").await.unwrap(), scene.key_policy().await);
    let key_id = scene.key.rsplit('/').next().unwrap();

    // Without an event nobody notices.
    let mark = world.proxy.mark();
    sqs.set_queue_attributes().queue_url(&scene.url).attributes(Attribute::VisibilityTimeout, "99").send().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!((scene.attribute("VisibilityTimeout").await.as_deref(), scene.reads(mark)), (Some("99"), 0));
    assert_eq!(scene.forward(mark).await, (0, 1));
    world.until("the attribute is put right", async || scene.attribute("VisibilityTimeout").await.as_deref() == Some("30")).await;

    let mark = world.proxy.mark();
    let open = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sqs:*", "Resource": "*"}]});
    sqs.set_queue_attributes().queue_url(&scene.url).attributes(Attribute::Policy, open.to_string()).send().await.unwrap();
    let mut widened: Value = serde_json::from_str(&key_policy).unwrap();
    let grant = json!({"Sid": "Mine", "Effect": "Allow", "Principal": {"AWS": CONSUMER}, "Action": "kms:*", "Resource": "*"});
    widened["Statement"].as_array_mut().unwrap().push(grant);
    kms.put_key_policy().key_id(key_id).policy_name("default").policy(widened.to_string()).send().await.unwrap();
    scene.forward(mark).await;
    world
        .until("both policies are put right", async || {
            scene.attribute("Policy").await.is_some_and(|found| found == policy) && !scene.key_policy().await.contains("Mine")
        })
        .await;

    let mark = world.proxy.mark();
    kms.disable_key().key_id(key_id).send().await.unwrap();
    kms.delete_alias()
        .alias_name(world.keys().list(&kube::api::ListParams::default()).await.unwrap().items[0].status.as_ref().unwrap().alias.as_ref().unwrap())
        .send()
        .await
        .unwrap();
    scene.forward(mark).await;
    world
        .until("the key is enabled and has its alias", async || {
            let enabled = kms.describe_key().key_id(key_id).send().await.unwrap().key_metadata.unwrap().enabled;
            enabled && !kms.list_aliases().key_id(key_id).send().await.unwrap().aliases.unwrap_or_default().is_empty()
        })
        .await;
    world.until_ready(NAMESPACE, "acme").await;

    // The operator's own calls come back as events, each of them known.
    scene.until_drained().await;
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let mark = world.proxy.mark();
    let (own, others) = scene.forward(Mark::default()).await;
    assert!(own >= 8 && others >= 5, "{own} {others}");
    scene.until_drained().await;
    let objects: BTreeSet<_> =
        world.proxy.calls_since(mark).into_iter().filter(|call| call.access_key == "operator").map(|call| call.name()).collect();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // Those of others are looked at once more, at most twice an object; and the audit looks, once or on a busy machine twice, at the queue of events, which
    // nothing declares.
    let reads = scene.reads(mark);
    assert!(reads > 0 && reads <= 2 * 12 + 2 * 6, "{reads} reads: {objects:?}");

    let mark = world.proxy.mark();
    for call in world.proxy.calls_since(Mark::default()).into_iter().filter(|call| call.access_key == "operator") {
        if let Some(event) = trail::event(&call, OPERATOR) {
            scene.send(&event.to_string()).await;
        }
    }
    scene.until_drained().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(scene.reads(mark), 0, "its own calls are not drift");
    // The same calls by someone who has its role's credentials are.
    let mark = world.proxy.mark();
    let stolen =
        world.proxy.calls_since(Mark::default()).into_iter().find(|call| call.operation == "SetQueueAttributes" && call.access_key == "someone");
    scene.send(&trail::event(&stolen.unwrap(), OPERATOR).unwrap().to_string()).await;
    world.until("it is looked at", async || scene.reads(mark) > 0).await;
}

#[tokio::test]
async fn bursts_are_looked_at_twice_and_rubbish_never_blocks() {
    let scene = scene().await;
    let world = &scene.world;
    let rubbish = ["", " ", "{", "null", "{\"source\": \"aws.kms\"}", "<xml/>", "\u{1F511}"];
    for body in rubbish.iter().filter(|body| !body.is_empty()) {
        scene.send(body).await;
    }
    // A queue and a key that nobody declared.
    let mark = world.proxy.mark();
    let other = scene.sqs.create_queue().queue_name("acme-elsewhere").send().await.unwrap().queue_url.unwrap();
    scene.sqs.tag_queue().queue_url(&other).tags("a", "b").send().await.unwrap();
    scene.kms.create_key().send().await.unwrap();
    scene.forward(mark).await;
    scene.until_drained().await;
    assert_eq!(scene.reads(mark), 0);

    // A burst about one object, from many connections at once.
    let mark = world.proxy.mark();
    scene.sqs.tag_queue().queue_url(&scene.url).tags("note", "x").send().await.unwrap();
    let call = world.proxy.calls_since(mark).into_iter().find(|call| call.operation == "TagQueue").unwrap();
    let body = trail::event(&call, SOMEONE).unwrap().to_string();
    let sent = Arc::new(Mutex::new(0));
    futures::future::join_all((0..100).map(|_| {
        let (scene, body, sent) = (&scene, &body, sent.clone());
        async move {
            scene.send(body).await;
            *sent.lock().unwrap() += 1;
        }
    }))
    .await;
    assert_eq!(*sent.lock().unwrap(), 100);
    scene.until_drained().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let reads =
        world.proxy.calls_since(mark).into_iter().filter(|call| call.access_key == "operator" && call.operation == "GetQueueAttributes").count();
    // Both queues, at the first event and once a second after that.
    assert!((2..=12).contains(&reads), "{reads}");
    // The tag is somebody's own.
    let tags = scene.sqs.list_queue_tags().queue_url(&scene.url).send().await.unwrap().tags.unwrap();
    assert_eq!(tags.get("note").map(String::as_str), Some("x"));
}

#[tokio::test]
async fn refusals_are_told_on_the_queue() {
    let scene = scene().await;
    let queue = scene.world.queue(NAMESPACE, "acme").await.status.unwrap().queue.unwrap().arn;
    let mark = scene.world.proxy.mark();
    scene
        .kms
        .tag_resource()
        .key_id(&scene.key)
        .tags(aws_sdk_kms::types::Tag::builder().tag_key("a").tag_value("b").build().unwrap())
        .send()
        .await
        .unwrap();
    let call = scene.world.proxy.calls_since(mark).into_iter().find(|call| call.operation == "TagResource").unwrap();
    let mut event = trail::event(&call, SOMEONE).unwrap();
    event["detail"]["eventName"] = json!("Decrypt");
    event["detail"]["errorCode"] = json!("AccessDenied");
    event["detail"]["requestParameters"] = json!({"encryptionContext": {"aws:sqs:arn": queue}});
    scene.send(&event.to_string()).await;
    until_event(&scene.world, NAMESPACE, "acme", "KeyAccessDenied").await;
    let events = scene.world.events(NAMESPACE, "acme").await;
    let note = &events.iter().find(|(reason, _)| reason == "KeyAccessDenied").unwrap().1;
    assert!(note.contains(SOMEONE) && note.contains("kms:Decrypt"), "{note}");
}

/// A queue of events that cannot be read stops nothing, is told, and is read as soon as it can be.
#[tokio::test]
async fn a_queue_of_events_that_cannot_be_read_stops_nothing() {
    let scene = scene().await;
    let world = &scene.world;
    scene.sqs.delete_queue().queue_url(&scene.events).send().await.unwrap();
    world.until("it is told", async || world.operator_log().contains("cannot receive events")).await;
    world.change_queue(NAMESPACE, "acme", json!({"spec": {"queue": {"delaySeconds": 3}}})).await;
    world.until("the edit is served", async || scene.attribute("DelaySeconds").await.as_deref() == Some("3")).await;
}

#[tokio::test]
async fn what_nothing_declares_is_audited_within_seconds_of_an_event() {
    let scene = scene().await;
    let arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:acme-legacy");
    let finding = |check: &str| crate::budget::metric_name(check, "acme");
    let count = async |check: &str| crate::budget::metric(&scene.world, &finding(check)).await;
    assert_eq!(count("queue-sse-sqs").await, None, "no audit has been");

    // The queue of events itself is nobody's either.
    let mark = scene.world.proxy.mark();
    let open = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}]}).to_string();
    let made =
        scene.sqs.create_queue().queue_name("acme-legacy").attributes(Attribute::Policy, &open).attributes(Attribute::SqsManagedSseEnabled, "true");
    let url = made.send().await.unwrap().queue_url.unwrap();
    let key = scene.kms.create_key().send().await.unwrap().key_metadata.unwrap();
    scene.kms.disable_key().key_id(&key.key_id).send().await.unwrap();
    for _ in 0..5 {
        scene.sqs.tag_queue().queue_url(&url).tags("owner", "payments").send().await.unwrap();
    }
    scene.forward(mark).await;
    let started = std::time::Instant::now();
    scene.world.until("it is found", async || count("queue-public").await.as_deref() == Some("1")).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(count("queue-sse-sqs").await.as_deref(), Some("1"));
    assert_eq!((count("key-disabled").await.as_deref(), count("key-untagged").await.as_deref()), (Some("1"), Some("1")));
    until_event(&scene.world, "default", "acme", "AuditFinding").await;
    let reads = |operation: &str| {
        let calls = scene.world.proxy.calls_since(mark).into_iter();
        calls.filter(|call| call.access_key == "operator" && call.operation == operation && call.request.to_string().contains("acme-legacy")).count()
    };
    assert_eq!(
        (reads("GetQueueAttributes"), scene.world.proxy.calls_since(mark).iter().filter(|call| call.is("ListQueues")).count()),
        (1, 0),
        "{arn}"
    );

    // What is mended, or gone, is told no more.
    let mark = scene.world.proxy.mark();
    scene.sqs.set_queue_attributes().queue_url(&url).attributes(Attribute::Policy, "").send().await.unwrap();
    scene.forward(mark).await;
    scene.world.until("the policy is closed", async || count("queue-public").await.is_none()).await;
    assert_eq!(count("queue-sse-sqs").await.as_deref(), Some("1"));
    let mark = scene.world.proxy.mark();
    scene.sqs.delete_queue().queue_url(&url).send().await.unwrap();
    scene.forward(mark).await;
    scene.world.until("the queue is gone", async || count("queue-sse-sqs").await.is_none()).await;
}
