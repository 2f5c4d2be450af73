//! Races: what the operator sees too late, and who acts beside it.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use aws_sdk_sqs::types::QueueAttributeName;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use test_support::kubernetes_proxy::{EventEffect, EventRule};

use super::attempt::{Armed, Progress, free_lease};
use super::plan::{Blow, Race};
use super::points::{Moment, Place, Point};
use super::stage::Stage;
use super::state::{CLUSTER, PLACES, RELEASED, sdk};

/// Less than the operator must be quiet for, so that nothing comes after it was taken to be at rest.
const LATE: Duration = Duration::from_millis(250);
/// How long events are late or lost.
const WHILE: Duration = Duration::from_millis(1500);
const HOUR: i64 = 3_600_000;
/// More than the lists that a start asks for.
const LISTS: u64 = 20;
const NEWCOMER: &str = "arn:aws:iam::123456789012:role/acme-second";
const CHECK: &str = "encryptedqueue.dev/check-now";

/// All events, until it is taken back.
fn all(effect: EventEffect) -> EventRule {
    EventRule { resource: None, name: None, type_: None, times: 0, effect }
}

/// Lets the race begin while the call is held.
pub(super) async fn run(stage: &Stage, at: &Point, race: Race, progress: &Progress) {
    let before = match race {
        Race::StaleLists => Some(stage.kubernetes.snapshot().await.expect("lists")),
        _ => None,
    };
    let gate = Armed::at(stage, &Blow { place: Place::At(at.clone()), moment: Moment::BeforeSending });
    gate.reached().await;
    progress.busy.store(true, Ordering::Relaxed);
    match race {
        Race::LateEvents => {
            stage.kubernetes.meet_events(all(EventEffect::Delay(LATE)));
            gate.release();
            tokio::time::sleep(WHILE).await;
            stage.kubernetes.clear_injections();
        }
        Race::LostEvents => {
            stage.kubernetes.meet_events(all(EventEffect::Drop));
            gate.release();
            tokio::time::sleep(WHILE).await;
            stage.kubernetes.clear_injections();
            stage.kubernetes.break_watches();
        }
        Race::StaleLists => {
            stage.operator.kill();
            gate.lose();
            stage.kubernetes.answer_lists_from(before.expect("it was taken"), None, LISTS);
            free_lease(stage).await;
            stage.operator.start();
            stage.awake().await;
        }
        Race::EditAndBack => {
            edit_and_back(stage).await;
            gate.release();
        }
        Race::OtherActor => {
            meddle(stage, at).await;
            gate.release();
        }
        Race::ClockForward => {
            stage.operator.jump(HOUR);
            gate.release();
        }
        Race::ClockBack => {
            stage.operator.jump(-HOUR);
            gate.release();
            tokio::time::sleep(WHILE).await;
            stage.operator.jump(HOUR);
        }
    }
}

async fn annotate(stage: &Stage, kind: &str, object: &Value, annotation: &str, value: &Value) {
    let (api, name) = stage.object(kind, &path(object));
    let change = json!({"metadata": {"annotations": {annotation: value}}});
    // One that has just gone needs nothing.
    api.patch(&name, &PatchParams::default(), &Patch::Merge(&change)).await.ok();
}

/// `namespace/name`, or `name`.
fn path(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    if text("namespace").is_empty() { text("name").to_owned() } else { format!("{}/{}", text("namespace"), text("name")) }
}

/// Lets somebody else consume from every queue, and takes it back at once.
async fn edit_and_back(stage: &Stage) {
    for queue in stage.all("EncryptedQueue").await {
        let before = queue["spec"]["consumers"].clone();
        let mut more = before.as_array().cloned().unwrap_or_default();
        more.push(json!({"role": NEWCOMER}));
        for consumers in [json!(more), before] {
            stage.try_change("EncryptedQueue", &path(&queue), json!({"spec": {"consumers": consumers}})).await;
        }
    }
}

/// Has every queue and key compared with AWS.
pub(super) async fn look_at_everything(stage: &Stage) {
    for value in [json!("now"), Value::Null] {
        for kind in ["QueueKey", "EncryptedQueue"] {
            for object in stage.all(kind).await {
                annotate(stage, kind, &object, CHECK, &value).await;
            }
        }
        stage.rest(Duration::from_millis(300)).await;
    }
}

/// Somebody with rights in the accounts changes what the operator has made and keeps, one way or another.
async fn meddle(stage: &Stage, at: &Point) {
    let way = Sha256::digest(at.to_string())[0] % 3;
    // Of what is being let go of nobody puts anything right.
    let queues = stage.all("EncryptedQueue").await;
    if queues.is_empty() || queues.iter().any(|queue| !queue["metadata"]["deletionTimestamp"].is_null()) {
        return;
    }
    let is_kept = |tags: &HashMap<String, String>| tags.contains_key(CLUSTER.0) && !tags.contains_key(RELEASED);
    for (account, region) in PLACES {
        let config = sdk(stage, account, region).await;
        let (sqs, kms) = (aws_sdk_sqs::Client::new(&config), aws_sdk_kms::Client::new(&config));
        for url in sqs.list_queues().send().await.expect("queues").queue_urls.unwrap_or_default() {
            let tags = sqs.list_queue_tags().queue_url(&url).send().await.expect("tags").tags.unwrap_or_default();
            let call = sqs.set_queue_attributes().queue_url(&url);
            // Declared of both queues, whatever else is.
            let call = match way {
                0 => call.attributes(QueueAttributeName::KmsDataKeyReusePeriodSeconds, "86400"),
                1 => call.attributes(QueueAttributeName::Policy, ""),
                _ => continue,
            };
            if is_kept(&tags) {
                call.send().await.ok();
            }
        }
        for key in kms.list_keys().send().await.expect("keys").keys.unwrap_or_default().into_iter().filter_map(|key| key.key_id) {
            let tags = kms.list_resource_tags().key_id(&key).send().await.expect("tags").tags.unwrap_or_default();
            if way == 2 && is_kept(&tags.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect()) {
                // One that is pending deletion cannot be.
                kms.disable_key().key_id(key).send().await.ok();
            }
        }
    }
}
