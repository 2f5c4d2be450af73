#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::*;
use crate::api::EncryptedQueue;

fn queue(name: &str, version: u32) -> EncryptedQueue {
    let mut queue: EncryptedQueue = serde_saphyr::from_str(include_str!("../../../examples/queue-orders.yaml")).unwrap();
    queue.metadata.name = Some(name.to_owned());
    queue.metadata.resource_version = Some(version.to_string());
    queue.metadata.uid = Some(crate::names::sha256_hex(name));
    queue
}

fn names(cache: &Cache<EncryptedQueue>) -> Vec<Box<str>> {
    cache.select(|name, _| Some(name.into()))
}

#[test]
fn an_object_comes_out_as_it_went_in() {
    let (cache, mut writer) = cache();
    for name in ["a", "b"] {
        let mut queue = queue(name, 1);
        queue.status = Some(serde_json::from_value(json!({"queue": {"name": name, "url": "u", "arn": "a"}, "estimatedMonthlyUSD": "1.20"})).unwrap());
        writer.hold(&Event::Apply(queue.clone()));
        assert_eq!(serde_json::to_value(cache.get(&format!("acme-prod/{name}"))).unwrap(), serde_json::to_value(&queue).unwrap());
    }
    assert!(cache.get("acme-prod/c").is_none() && cache.get("a").is_none());
    assert_eq!(cache.beginning_with("acme-prod/a").len(), 1);
}

#[test]
fn the_newest_is_kept_whoever_tells_of_it() {
    let (cache, mut writer) = cache::<EncryptedQueue>();
    let version = || cache.get("acme-prod/a").and_then(|queue| queue.resource_version());
    cache.note(&queue("a", 3));
    assert_eq!(version(), None, "the watch has not told of it, or told that it went");
    writer.hold(&Event::Apply(queue("a", 3)));
    cache.note(&queue("a", 5));
    writer.hold(&Event::Apply(queue("a", 4)));
    assert_eq!(version().as_deref(), Some("5"), "10 is more than 9, and the watch lags");
    writer.hold(&Event::Apply(queue("a", 10)));
    assert_eq!(version().as_deref(), Some("10"));
    writer.hold(&Event::Delete(queue("a", 11)));
    cache.note(&queue("a", 10));
    assert_eq!(version(), None);
}

#[test]
fn what_went_while_nobody_watched_is_told() {
    let (cache, mut writer) = cache();
    assert!(!*cache.ready.borrow());
    writer.hold(&Event::Init);
    for name in ["a", "b"] {
        writer.hold(&Event::InitApply(queue(name, 1)));
    }
    assert_eq!(writer.hold(&Event::InitDone), []);
    assert!(*cache.ready.borrow());
    writer.hold(&Event::Apply(queue("c", 2)));
    cache.note(&queue("b", 5));
    writer.hold(&Event::Init);
    assert_eq!(names(&cache).len(), 3, "until the list is here all is as it was");
    writer.hold(&Event::InitApply(queue("b", 4)));
    let gone: Vec<String> = writer.hold(&Event::InitDone).iter().map(|gone| gone.name.clone()).collect();
    assert_eq!((gone, names(&cache)), (vec!["a".to_owned(), "c".to_owned()], vec!["acme-prod/b".into()]));
    assert_eq!((cache.count_of("acme"), cache.count_of("globex")), (1, 0));
}

#[test]
fn a_cluster_that_was_restored_is_followed() {
    let (cache, mut writer) = cache::<EncryptedQueue>();
    let version = || cache.get("acme-prod/a").and_then(|queue| queue.resource_version());
    writer.hold(&Event::Apply(queue("a", 900)));
    writer.hold(&Event::Init);
    writer.hold(&Event::InitApply(queue("a", 20)));
    writer.hold(&Event::InitDone);
    assert_eq!(version().as_deref(), Some("20"));
    writer.hold(&Event::Apply(queue("a", 21)));
    assert_eq!(version().as_deref(), Some("21"));
}

#[test]
fn of_a_config_map_it_is_known_what_it_says() {
    let map = |data: serde_json::Value| -> ConfigMap {
        let labels = json!({crate::api::labels::OWNED_BY: "uid"});
        serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "m", "labels": labels}, "data": data})).unwrap()
    };
    let facts = map(json!({"QUEUE_URL": "u", "more": "theirs"})).facts(&mut Names::default());
    assert!(facts.says("uid", &[("QUEUE_URL", "u")].into()));
    assert!(!facts.says("another", &[("QUEUE_URL", "u")].into()));
    assert!(!facts.says("uid", &[("QUEUE_URL", "v")].into()) && !facts.says("uid", &[("DLQ_URL", "u")].into()));
}
