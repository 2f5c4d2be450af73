//! Rules tightened over queues that run, tenants suspended, objects paused, and queues that share a key: what must go goes at once, all else stays.

use std::collections::BTreeSet;

use encrypted_queue::api::EncryptedQueueStatus;
use encrypted_queue::names::{Partition, Place, QueueArn};
use encrypted_queue::policy::document::Document;
use encrypted_queue::policy::queue_policy::{Denial, QueueKind};
use encrypted_queue::policy::read_back::{ReadBack, read_key_policy, read_queue_policy};
use serde_json::{Value, json};

use super::{CONSUMER, NAMESPACE, PRODUCER, message, queue, tenant, tier, world};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";
const LEGACY: &str = "arn:aws:iam::123456789012:role/legacy-worker";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:news";

/// What the policies of a queue, its dead-letter queue and its key say.
#[derive(Debug, PartialEq)]
struct Held {
    queue: BTreeSet<String>,
    dead_letters: BTreeSet<String>,
    key: BTreeSet<String>,
    /// Whether queue, dead-letter queue and key deny everyone.
    suspended: [bool; 3],
}

async fn held(world: &World, status: &EncryptedQueueStatus) -> Held {
    let place = Place { partition: Partition::Aws, account: ACCOUNT.into(), region: REGION.into() };
    let (sqs, kms) = (world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    let (source, dead, key) = (status.queue.clone().unwrap(), status.dead_letter_queue.clone(), status.key.clone().unwrap().arn.unwrap());
    let arn = |text: &str| QueueArn::parse(text).unwrap();
    let policy = Document::parse(&world.attributes(&sqs, &source.url).await["Policy"]).unwrap();
    let queue = read_queue_policy(&policy, QueueKind::Source, &arn(&source.arn), &place);
    let dead_letters = match &dead {
        Some(dead) => {
            let policy = Document::parse(&world.attributes(&sqs, &dead.url).await["Policy"]).unwrap();
            read_queue_policy(&policy, QueueKind::DeadLetter, &arn(&dead.arn), &place)
        }
        None => ReadBack::default(),
    };
    let policy = Document::parse(&kms.get_key_policy().key_id(key).send().await.unwrap().policy.unwrap()).unwrap();
    let queues = [(arn(&source.arn), dead.map(|dead| arn(&dead.arn)))].into();
    let key = read_key_policy(&policy, &place, &queues);
    let said = |grants: &BTreeSet<encrypted_queue::policy::access::Grant>| grants.iter().map(ToString::to_string).collect();
    Held {
        queue: said(&queue.grants),
        dead_letters: said(&dead_letters.grants),
        key: said(&key.grants.into_values().flatten().collect()),
        suspended: [&queue.denied, &dead_letters.denied, &key.denied].map(|denied| denied.contains(&Denial::Suspended)),
    }
}

/// What is held less the grants that mention any of these.
fn less(mut held: Held, gone: &[&str]) -> Held {
    for grants in [&mut held.queue, &mut held.dead_letters, &mut held.key] {
        grants.retain(|grant| !gone.iter().any(|word| grant.contains(word)));
    }
    held
}

/// Waits until the policies say just this; the last state is told.
async fn until_held(world: &World, status: &EncryptedQueueStatus, expected: &Held) {
    let last = std::cell::RefCell::new(None);
    let what = || format!("policies hold {expected:#?}\nbut {:#?}", last.borrow());
    let start = std::time::Instant::now();
    loop {
        let now = held(world, status).await;
        if now == *expected {
            return;
        }
        last.replace(Some(now));
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{}", what());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

fn wide() -> Value {
    json!({
        "principals": {
            "roles": ["arn:aws:iam::123456789012:role/app-*", "arn:aws:iam::123456789012:role/legacy-*"],
            "services": ["sns.amazonaws.com"], "sourceAccounts": [ACCOUNT],
        },
    })
}

/// A queue with every kind of grant that is tightened here.
fn granted(tenant: &str) -> Value {
    json!({
        "tenant": tenant, "sensitivityTier": tenant,
        "producers": [{"role": PRODUCER}, {"service": {"principal": "sns.amazonaws.com", "sourceArn": TOPIC, "sourceAccount": ACCOUNT}}],
        "consumers": [{"role": CONSUMER}, {"role": LEGACY}],
        "deadLetter": {"redrivers": [{"role": LEGACY}]},
    })
}

async fn pause(world: &World, name: &str, paused: bool) {
    let value = paused.then_some("true");
    world.change_queue(NAMESPACE, name, json!({"metadata": {"annotations": {"encryptedqueue.dev/paused": value}}})).await;
}

/// Two queues of a tenant, each with a key of its own; the second is paused.
async fn one_running_one_paused(world: &World) -> [(&'static str, EncryptedQueueStatus); 2] {
    world.create_roles(&[LEGACY]).await;
    world.apply_object(&tenant("acme", &wide())).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    for name in ["running", "paused"] {
        world.apply_object(&queue(NAMESPACE, name, &granted("acme"))).await;
    }
    let running = world.until_ready(NAMESPACE, "running").await.status.unwrap();
    let paused = world.until_ready(NAMESPACE, "paused").await.status.unwrap();
    pause(world, "paused", true).await;
    world.until_condition(NAMESPACE, "paused", "Ready", "False", "Paused").await;
    [("running", running), ("paused", paused)]
}

#[tokio::test]
async fn a_tightened_rule_removes_just_what_it_forbids() {
    let world = world().await;
    let queues = one_running_one_paused(&world).await;
    let mut before = Vec::new();
    for (_, status) in &queues {
        before.push(held(&world, status).await);
    }
    assert_eq!((before[0].queue.len(), before[0].dead_letters.len(), before[0].key.len()), (5, 3, 7), "{before:?}");

    let mark = world.proxy.mark();
    world.apply_object(&tier("acme", &json!({"access": {"services": "Deny"}}))).await;
    let mut expected = Vec::new();
    for ((_, status), held) in queues.iter().zip(before) {
        let held = less(held, &["sns"]);
        until_held(&world, status, &held).await;
        expected.push(held);
    }
    world.until_condition(NAMESPACE, "running", "Accepted", "False", "ServicesNotAllowed").await;
    world.apply_object(&tenant("acme", &json!({"principals": {"services": ["sns.amazonaws.com"], "sourceAccounts": [ACCOUNT]}}))).await;
    for ((_, status), held) in queues.iter().zip(expected) {
        until_held(&world, status, &less(held, &["legacy"])).await;
    }
    let told = message(&world.queue(NAMESPACE, "running").await, "Accepted");
    assert!(told.contains("spec.producers[1]: the tier's spec.access.services is Deny; spec.consumers[1]"), "{told}");
    let written: BTreeSet<_> = world.proxy.writes_since(mark).into_iter().map(|call| call.operation).collect();
    assert_eq!(written, ["PutKeyPolicy", "SetQueueAttributes"].map(str::to_owned).into(), "nothing but policies is touched");

    // Loosened again: what runs has its grants back, what is paused waits.
    world.apply_object(&tenant("acme", &wide())).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    world.until_ready(NAMESPACE, "running").await;
    let [(_, running), (_, paused)] = &queues;
    assert_eq!(held(&world, running).await.key.len(), 7);
    assert_eq!(held(&world, paused).await.key.len(), 3);
    let told = world.until_condition(NAMESPACE, "paused", "QueueReady", "False", "Paused").await;
    assert!(message(&told, "QueueReady").contains("not done: "), "{}", message(&told, "QueueReady"));
    pause(&world, "paused", false).await;
    world.until_ready(NAMESPACE, "paused").await;
    assert_eq!(held(&world, paused).await.key.len(), 7);
}

#[tokio::test]
async fn a_suspended_tenant_is_cut_off_until_it_is_active() {
    let world = world().await;
    let queues = one_running_one_paused(&world).await;
    // A third, whose declaration is refused.
    world.apply_object(&queue(NAMESPACE, "refused", &granted("acme"))).await;
    let refused = world.until_ready(NAMESPACE, "refused").await.status.unwrap();
    world.change_queue(NAMESPACE, "refused", json!({"spec": {"key": {"rotationPeriodDays": 90}}})).await;
    world.apply_object(&tier("acme", &json!({"key": {"rotationPeriodDays": {"default": 365, "minimum": 180, "maximum": 365}}}))).await;
    world.until_condition(NAMESPACE, "refused", "Accepted", "False", "OutsideTierBounds").await;
    let [running, paused] = queues;
    let queues = [running, paused, ("refused", refused)];

    let mut before = Vec::new();
    for (_, status) in &queues {
        before.push(held(&world, status).await);
    }
    for (access, suspended) in [("Suspended", [true; 3]), ("Active", [false; 3])] {
        world.change_tenant("acme", json!({"spec": {"access": access}})).await;
        for ((_, status), held) in queues.iter().zip(&mut before) {
            held.suspended = suspended;
            until_held(&world, status, held).await;
        }
        if suspended[0] {
            world.until_condition(NAMESPACE, "running", "Ready", "False", "TenantSuspended").await;
        }
    }
    world.until_ready(NAMESPACE, "running").await;
}

#[tokio::test]
async fn a_paused_object_shows_what_differs_and_changes_nothing() {
    let world = world().await;
    let [_, (name, status)] = one_running_one_paused(&world).await;
    let sqs = world.sqs(ACCOUNT, REGION).await;
    let url = status.queue.clone().unwrap().url;
    let mark = world.proxy.mark();
    sqs.set_queue_attributes().queue_url(&url).attributes("SqsManagedSseEnabled".into(), "true").send().await.unwrap();
    let more = json!([{"role": CONSUMER}, {"role": LEGACY}, {"role": "arn:aws:iam::123456789012:role/app-second"}]);
    world.change_queue(NAMESPACE, name, json!({"spec": {"queue": {"visibilityTimeoutSeconds": 77}, "consumers": more}})).await;
    let shows = async |words: &[&str]| {
        world
            .until(&format!("the message shows {words:?}"), async || {
                let told = message(&world.queue(NAMESPACE, name).await, "QueueReady");
                words.iter().all(|word| told.contains(word))
            })
            .await;
    };
    shows(&["KmsMasterKeyId", "VisibilityTimeout=77", "grant this queue's access"]).await;
    assert_eq!(message(&world.queue(NAMESPACE, name).await, "AccessInSync"), "not as declared, or not known, while the object is paused");
    let kms = world.kms(ACCOUNT, REGION).await;
    let id = status.key.clone().unwrap().arn.unwrap().rsplit('/').next().unwrap().to_owned();
    kms.disable_key().key_id(&id).send().await.unwrap();
    world.change_queue(NAMESPACE, name, json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": "1"}}})).await;
    world.until("the check was made", async || world.queue(NAMESPACE, name).await.status.unwrap().checked_now.as_deref() == Some("1")).await;
    shows(&["enable key"]).await;
    let written: Vec<_> = world.proxy.writes_since(mark).into_iter().filter(|call| call.access_key == "operator").map(|call| call.name()).collect();
    assert!(written.is_empty(), "{written:?}");

    world.create_roles(&["arn:aws:iam::123456789012:role/app-second"]).await;
    pause(&world, name, false).await;
    world.until_ready(NAMESPACE, name).await;
    let attributes = world.attributes(&sqs, &url).await;
    assert_eq!(attributes["VisibilityTimeout"], "77");
    assert_eq!(attributes.get("KmsMasterKeyId"), status.key.unwrap().arn.as_ref());
    world.until("the key is enabled", async || kms.describe_key().key_id(&id).send().await.unwrap().key_metadata.unwrap().enabled()).await;
}

#[tokio::test]
async fn in_a_shared_key_a_refused_queue_keeps_its_grants_and_delays_nobody() {
    let world = world().await;
    world.apply_object(&tenant("acme", &json!({}))).await;
    world.apply_object(&tier("acme", &json!({"key": {"scope": "Tenant"}}))).await;
    let spec = json!({"tenant": "acme", "sensitivityTier": "acme"});
    // From the start one of the three names a role that does not exist.
    let nobody = "arn:aws:iam::123456789012:role/app-nobody";
    let mut absent = spec.clone();
    absent["consumers"] = json!([{"role": nobody}]);
    world.apply_object(&queue(NAMESPACE, "absent", &absent)).await;
    for name in ["steady", "refused"] {
        world.apply_object(&queue(NAMESPACE, name, &spec)).await;
    }
    let steady = world.until_ready(NAMESPACE, "steady").await.status.unwrap();
    let refused = world.until_ready(NAMESPACE, "refused").await.status.unwrap();
    assert_eq!(steady.key.as_ref().unwrap().name, refused.key.as_ref().unwrap().name);
    let told = world.until_condition(NAMESPACE, "absent", "Stalled", "True", "PrincipalInvalid").await;
    assert!(message(&told, "Stalled").contains(nobody), "{}", message(&told, "Stalled"));

    let before = held(&world, &refused).await;
    assert_eq!(before.key.len(), 2);
    world.change_queue(NAMESPACE, "refused", json!({"spec": {"consumers": [{"role": LEGACY}]}})).await;
    world.until_condition(NAMESPACE, "refused", "Accepted", "False", "PrincipalNotAllowed").await;
    // A sibling's change does not wait for either of them.
    world.change_queue(NAMESPACE, "steady", json!({"spec": {"consumers": [{"role": PRODUCER}]}})).await;
    world.until_ready(NAMESPACE, "steady").await;
    assert_eq!(held(&world, &refused).await, before);
    let now = held(&world, &steady).await;
    assert!(now.key.iter().all(|grant| grant.contains(PRODUCER)) && now.key.len() == 2, "{now:?}");
    world.create_roles(&[nobody]).await;
    world.until_ready(NAMESPACE, "absent").await;
    assert_eq!(held(&world, &refused).await, before);
    assert_eq!(world.proxy.effects("CreateKey"), 1);
}
