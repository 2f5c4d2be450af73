//! Status edited by hand, keys and queues stripped of their tags, keys that are gone: nothing is lost or loosened, and it heals or says what to do.

use std::time::Duration;

use encrypted_queue::api::EncryptedQueueStatus;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use test_support::proxy::{Effect, Matcher, Rule};

use super::{NAMESPACE, message, queue, tenant, tier, until_event, world};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";
/// Longer than the window within which a new key need not show.
const SETTLED: Duration = Duration::from_millis(3_200);

async fn made(world: &World, change: &Value) -> EncryptedQueueStatus {
    world.apply_object(&tenant("acme", &json!({}))).await;
    world.apply_object(&tier("acme", &json!({}))).await;
    world.apply_object(&queue(NAMESPACE, "acme", change)).await;
    world.until_ready(NAMESPACE, "acme").await.status.unwrap()
}

async fn check(world: &World, value: &str) {
    world.change_queue(NAMESPACE, "acme", json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": value}}})).await;
}

fn id_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap()
}

#[tokio::test]
async fn a_lost_key_is_replaced_and_the_loss_is_told() {
    let world = world().await;
    let before = made(&world, &json!({"deadLetter": {}})).await;
    let (url, key) = (before.queue.unwrap().url, before.key.unwrap());
    let arn = key.arn.unwrap();
    tokio::time::sleep(SETTLED).await;
    let kms = world.kms(ACCOUNT, REGION).await;
    kms.delete_alias().alias_name(key.alias.unwrap()).send().await.unwrap();
    world.proxy.inject(Rule::once(Matcher::any().service("kms").resource(id_of(&arn)), Effect::error("NotFoundException", "no such key")).times(0));
    check(&world, "1").await;
    let moved = async || world.queue(NAMESPACE, "acme").await.status.unwrap().key.is_some_and(|now| now.name != key.name && now.arn.is_some());
    world.until("the queue is under another key", moved).await;
    let after = world.until_ready(NAMESPACE, "acme").await;
    let status = after.status.clone().unwrap();
    let (new, sqs) = (status.key.unwrap(), world.sqs(ACCOUNT, REGION).await);
    assert!(new.name.ends_with("-2") && new.arn.as_ref() != Some(&arn), "{new:?}");
    for url in [&url, &status.dead_letter_queue.unwrap().url] {
        assert_eq!(world.attributes(&sqs, url).await.get("KmsMasterKeyId"), new.arn.as_ref());
    }
    let said = message(&after, "KeyReady");
    assert!(said.contains(&arn) && said.contains("cannot be read"), "{said}");
    until_event(&world, NAMESPACE, "acme", "KeyLost").await;
    until_event(&world, "default", &key.name, "KeyLost").await;
    world.until("the lost one's QueueKey has ended", async || world.keys().get_opt(&key.name).await.unwrap().is_none()).await;
    sqs.send_message().queue_url(&url).message_body("goes on").send().await.unwrap();
    assert_eq!(world.proxy.effects("CreateKey"), 2);
}

#[tokio::test]
async fn a_key_that_is_to_be_deleted_and_may_not_be_kept_is_told_and_kept_once_it_may() {
    let world = world().await;
    let key = made(&world, &json!({})).await.key.unwrap();
    let (kms, arn) = (world.kms(ACCOUNT, REGION).await, key.arn.unwrap());
    kms.schedule_key_deletion().key_id(id_of(&arn)).pending_window_in_days(7).send().await.unwrap();
    world.proxy.inject(Rule::once(Matcher::operation("CancelKeyDeletion"), Effect::error("AccessDeniedException", "not you")).times(0));
    check(&world, "1").await;
    until_event(&world, "default", &key.name, "AccessDenied").await;
    assert_eq!(world.proxy.effects("CreateKey"), 1, "a key that is there is not replaced");
    world.proxy.clear_injections();
    check(&world, "2").await;
    world
        .until("the key is enabled again", async || kms.describe_key().key_id(id_of(&arn)).send().await.unwrap().key_metadata.unwrap().enabled())
        .await;
    world.until_ready(NAMESPACE, "acme").await;
    assert_eq!(world.proxy.effects("CreateKey"), 1);
}

#[tokio::test]
async fn a_queue_made_again_within_the_window_takes_its_key_back_from_deletion() {
    let world = world().await;
    let before = made(&world, &json!({"deletionPolicy": "Delete"})).await.key.unwrap();
    let mut strictness = world.proxy.strictness();
    strictness.name_free_after = Duration::ZERO;
    world.proxy.set_strictness(strictness);
    world.queues(NAMESPACE).delete("acme", &DeleteParams::default()).await.unwrap();
    world.until("the QueueKey has ended", async || world.keys().get_opt(&before.name).await.unwrap().is_none()).await;
    let kms = world.kms(ACCOUNT, REGION).await;
    let state =
        async || kms.describe_key().key_id(id_of(before.arn.as_ref().unwrap())).send().await.unwrap().key_metadata.unwrap().key_state.unwrap();
    assert_eq!(state().await.as_str(), "PendingDeletion");
    let after = made(&world, &json!({"deletionPolicy": "Delete"})).await.key.unwrap();
    assert_eq!((after.arn, state().await.as_str()), (before.arn.clone(), "Enabled"));
    assert_eq!(world.proxy.effects("CreateKey"), 1);
}

#[tokio::test]
async fn an_edited_status_of_a_queue_key_is_put_right() {
    let world = world().await;
    let status = made(&world, &json!({})).await;
    let (url, key) = (status.queue.unwrap().url, status.key.unwrap());
    let (arn, sqs, kms) = (key.arn.unwrap(), world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    let stranger = kms.create_key().description("a stranger's").send().await.unwrap().key_metadata.unwrap();
    let recorded = world.keys().get(&key.name).await.unwrap().status.unwrap();
    tokio::time::sleep(SETTLED).await;
    let mark = world.proxy.mark();
    let elsewhere = format!("arn:aws:kms:us-east-1:210987654321:key/{}", id_of(&arn));
    let edits = [
        json!({"keyId": stranger.key_id(), "arn": stranger.arn()}),
        json!({"arn": elsewhere}),
        json!({"keyId": null, "arn": null}),
        json!({"creation": {"nonce": "mine"}}),
        json!({"users": null}),
        json!({"lostAt": "2026-01-01T00:00:00Z"}),
    ];
    for edit in edits {
        world.keys().patch_status(&key.name, &PatchParams::default(), &Patch::Merge(json!({"status": edit}))).await.unwrap();
        world
            .until(&format!("{edit} is put right"), async || {
                let now = world.keys().get(&key.name).await.unwrap().status.unwrap();
                let same = |a: &encrypted_queue::api::QueueKeyStatus, b: &encrypted_queue::api::QueueKeyStatus| {
                    (&a.key_id, &a.arn, &a.key_sha256, &a.lost_at, &a.users) == (&b.key_id, &b.arn, &b.key_sha256, &b.lost_at, &b.users)
                        && a.applied_sha256.is_some()
                };
                same(&now, &recorded) && world.keys().list(&kube::api::ListParams::default()).await.unwrap().items.len() == 1
            })
            .await;
        world.until_ready(NAMESPACE, "acme").await;
        assert_eq!(world.attributes(&sqs, &url).await.get("KmsMasterKeyId"), Some(&arn), "{edit}");
    }
    let touched: Vec<_> = world.proxy.writes_since(mark).into_iter().filter(|call| call.request.to_string().contains(stranger.key_id())).collect();
    assert!(touched.is_empty(), "{touched:?}");
    assert_eq!(world.proxy.count_since(mark, "ScheduleKeyDeletion"), 0);
}

#[tokio::test]
async fn an_edited_status_of_a_queue_is_put_right() {
    let world = world().await;
    let status = made(&world, &json!({"deadLetter": {}})).await;
    let sqs = world.sqs(ACCOUNT, REGION).await;
    let stranger = sqs.create_queue().queue_name("strangers").send().await.unwrap().queue_url.unwrap();
    let mark = world.proxy.mark();
    let arn = "arn:aws:sqs:eu-west-1:123456789012:strangers";
    let edits = [
        json!({"queue": {"name": "strangers", "url": stranger, "arn": arn}}),
        json!({"queue": {"url": stranger}}),
        json!({"deadLetterQueue": {"arn": arn}}),
        json!({"key": {"arn": "arn:aws:kms:eu-west-1:210987654321:key/1"}}),
        json!({"key": {"name": "another"}}),
        json!({"queue": null, "deadLetterQueue": null, "key": null, "conditions": null, "appliedSha256": null, "observedGeneration": null}),
    ];
    for edit in edits {
        world.queues(NAMESPACE).patch_status("acme", &PatchParams::default(), &Patch::Merge(json!({"status": edit}))).await.unwrap();
        world
            .until(&format!("{edit} is put right"), async || {
                let now = world.queue(NAMESPACE, "acme").await.status.unwrap();
                now.queue == status.queue
                    && now.dead_letter_queue == status.dead_letter_queue
                    && now.key == status.key
                    && now.applied_sha256.is_some()
            })
            .await;
        world.until_ready(NAMESPACE, "acme").await;
    }
    let writes = world.proxy.writes_since(mark);
    assert!(writes.is_empty(), "{writes:?}");
}

#[tokio::test]
async fn tags_that_somebody_took_off_are_put_back() {
    let world = world().await;
    let status = made(&world, &json!({})).await;
    let (url, arn) = (status.queue.unwrap().url, status.key.unwrap().arn.unwrap());
    let (sqs, kms) = (world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    let ours = ["cluster", "uid", "object", "tenant", "sensitivity-tier"].map(|tag| format!("encryptedqueue.dev/{tag}"));
    let tags_of = async || {
        let of_queue = sqs.list_queue_tags().queue_url(&url).send().await.unwrap().tags.unwrap_or_default();
        let of_key = kms.list_resource_tags().key_id(id_of(&arn)).send().await.unwrap().tags.unwrap_or_default();
        (of_queue, of_key.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect::<std::collections::HashMap<_, _>>())
    };
    let before = tags_of().await;
    kms.untag_resource().key_id(id_of(&arn)).set_tag_keys(Some(ours.to_vec())).send().await.unwrap();
    sqs.untag_queue().queue_url(&url).set_tag_keys(Some(ours.to_vec())).send().await.unwrap();
    check(&world, "1").await;
    world.until("the tags are back", async || tags_of().await == before).await;
    world.until_ready(NAMESPACE, "acme").await;
    until_event(&world, NAMESPACE, "acme", "DriftRepaired").await;
}
