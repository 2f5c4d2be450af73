//! A key of a tenant: many queues, and another key when its policy is full.

use std::collections::BTreeMap;

use serde_json::json;

use crate::life::platform;
use crate::world::World;

#[tokio::test]
async fn a_full_key_opens_the_next_one_and_holds_nobody_up() {
    let world = World::with_operator().await;
    platform(&world).await;
    // Different principals in each queue: their statements cannot be merged, so that about a dozen queues fill 32,768 bytes.
    let role = |number: usize| format!("arn:aws:iam::123456789012:role/acme-service-with-a-rather-long-name-{number:03}");
    (0..60).for_each(|number| world.proxy.add_principal(&role(number)));
    let roles = |first: usize| (0..20).map(|number| json!({"role": role(first + number)})).collect::<Vec<_>>();
    for number in 0..14 {
        let queue = json!({
            "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "EncryptedQueue", "metadata": {"namespace": "acme-prod", "name": format!("q{number}")},
            "spec": {"tenant": "acme", "sensitivityTier": "internal", "producers": roles(number), "consumers": roles(number + 20)},
        });
        world.apply(&queue.to_string()).await;
    }
    let mut queues_by_key: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..14 {
        let status = world.until_ready("acme-prod", &format!("q{number}")).await.status.unwrap();
        *queues_by_key.entry(status.key.unwrap().name).or_default() += 1;
    }
    assert_eq!(queues_by_key.len(), 2, "{queues_by_key:?}");
    assert_eq!(world.proxy.effects("CreateKey"), 2);
    for name in queues_by_key.keys() {
        world
            .until("the key is ready", async || {
                let status = world.keys().get(name).await.unwrap().status.unwrap();
                status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
            })
            .await;
    }
}
