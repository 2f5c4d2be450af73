//! The proxy before the API server: recorded, held, failed, late.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use test_support::kubernetes_proxy::{EventEffect, EventRule, KubernetesMatcher, KubernetesProxy};
use test_support::proxy::{Effect, Moment, Rule};
use test_support::{ControlPlane, User};

/// A proxy, ConfigMaps as seen through it, and as they are.
async fn through() -> (KubernetesProxy, Api<ConfigMap>, Api<ConfigMap>) {
    let direct = ControlPlane::shared().await.unwrap().client(User::Admin).await.unwrap();
    let proxy = KubernetesProxy::start(direct.clone()).await.unwrap();
    let parsed = Kubeconfig::from_yaml(&proxy.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    (proxy, Api::namespaced(client, "default"), Api::namespaced(direct, "default"))
}

fn map(name: &str, value: &str) -> ConfigMap {
    let data = BTreeMap::from([("value".to_owned(), value.to_owned())]);
    ConfigMap { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, data: Some(data), ..ConfigMap::default() }
}

#[tokio::test]
async fn writes_are_recorded_and_reads_are_not() {
    let (proxy, maps, _) = through().await;
    let made = maps.create(&PostParams::default(), &map("recorded", "1")).await.unwrap();
    maps.get("recorded").await.unwrap();
    maps.replace("recorded", &PostParams::default(), &ConfigMap { data: None, ..made.clone() }).await.unwrap();
    let change = Patch::Merge(json!({"data": {"value": "2"}}));
    maps.patch("recorded", &PatchParams::default(), &change).await.unwrap();
    maps.delete("recorded", &DeleteParams::default()).await.unwrap();
    let writes = proxy.writes();
    let titles: Vec<_> = writes.iter().map(|call| (call.title(), call.status)).collect();
    let title = |verb: &str| format!("{verb} configmaps default/recorded");
    assert_eq!(titles, [(title("create"), 201), (title("update"), 200), (title("patch"), 200), (title("delete"), 200)]);
    assert_eq!(writes[1].resource_version(), made.metadata.resource_version.as_deref());
    assert!(writes.iter().all(|call| call.took_effect));
}

#[tokio::test]
async fn a_write_is_held_before_and_after_it_takes_effect() {
    let (proxy, maps, direct) = through().await;
    for (moment, name, took_effect) in [(Moment::BeforeSending, "held-before", false), (Moment::AfterEffect, "held-after", true)] {
        let point = proxy.pause_at(KubernetesMatcher::writes().name(name), moment);
        let writer = maps.clone();
        let writing = tokio::spawn(async move { writer.create(&PostParams::default(), &map(name, "1")).await });
        point.reached_within(Duration::from_secs(10)).await.unwrap();
        assert_eq!(direct.get_opt(name).await.unwrap().is_some(), took_effect);
        point.lose();
        assert!(writing.await.unwrap().is_err());
        assert_eq!(direct.get_opt(name).await.unwrap().is_some(), took_effect);
    }
    assert_eq!(proxy.writes().iter().map(|call| (call.status, call.took_effect)).collect::<Vec<_>>(), [(0, false), (0, true)]);
}

#[tokio::test]
async fn a_write_is_refused_as_often_as_said() {
    let (proxy, maps, _) = through().await;
    let conflict = Effect::Error { status: 409, code: "Conflict".to_owned(), message: "someone was faster".to_owned() };
    proxy.inject(Rule::once(KubernetesMatcher::any().resource("configmaps").verb("create"), conflict));
    let refused = maps.create(&PostParams::default(), &map("refused", "1")).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"));
    maps.create(&PostParams::default(), &map("refused", "1")).await.unwrap();
}

#[tokio::test]
async fn events_come_late_or_never() {
    let (proxy, maps, direct) = through().await;
    let now = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let late = Duration::from_millis(400);
    for (name, effect) in [("never-told", EventEffect::Drop), ("told-late", EventEffect::Delay(late))] {
        proxy.meet_events(EventRule { name: Some(name.to_owned()), ..EventRule::once("configmaps", effect) });
    }
    let only = WatchParams::default().fields("metadata.namespace=default");
    let mut events = Box::pin(maps.watch(&only, &now).await.unwrap());
    let start = Instant::now();
    for name in ["never-told", "told-late"] {
        direct.create(&PostParams::default(), &map(name, "1")).await.unwrap();
    }
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), events.next()).await.unwrap().unwrap().unwrap();
        let WatchEvent::Added(object) = event else { continue };
        let name = object.metadata.name.unwrap();
        assert_ne!(name, "never-told");
        if name == "told-late" {
            break;
        }
    }
    assert!(start.elapsed() >= late);
}

#[tokio::test]
async fn a_list_is_answered_as_it_was() {
    let (proxy, maps, direct) = through().await;
    let names = async |maps: &Api<ConfigMap>| -> Vec<String> {
        let list = maps.list(&ListParams::default().fields("metadata.name=appears")).await.unwrap();
        list.items.into_iter().filter_map(|map| map.metadata.name).collect()
    };
    assert!(names(&maps).await.is_empty());
    let before = proxy.snapshot().await.unwrap();
    direct.create(&PostParams::default(), &map("appears", "1")).await.unwrap();
    proxy.answer_lists_from(before, Some("configmaps"), 1);
    assert!(names(&maps).await.is_empty(), "as it was");
    assert_eq!(names(&maps).await, ["appears"], "and then as it is");
}
