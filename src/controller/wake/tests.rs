#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::json;

use super::*;

/// A queue under its own key, about to move to another one.
fn queue(next: Option<&str>) -> EncryptedQueue {
    let mut queue: EncryptedQueue = serde_saphyr::from_str(include_str!("../../../examples/queue-orders.yaml")).unwrap();
    queue.metadata.uid = Some("1".to_owned());
    let next = next.map(|name| json!({"name": name}));
    queue.status = Some(serde_json::from_value(json!({"key": {"name": "own"}, "nextKey": next})).unwrap());
    queue
}

fn key(name: &str) -> QueueKey {
    serde_json::from_value(json!({
        "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "QueueKey", "metadata": {"name": name},
        "spec": {"tenant": "acme", "sensitivityTier": "internal", "region": "eu-west-1", "scope": "Tenant", "deletionPolicy": "Retain"},
    }))
    .unwrap()
}

fn count<N: Clone + Eq + std::hash::Hash>(woken: &Woken<N>) -> usize {
    std::iter::from_fn(|| woken.take()).count()
}

#[test]
fn who_waits_for_a_key_hears_of_its_end_whichever_is_told_first() {
    for key_goes_first in [true, false] {
        let (wake, triggers) = Wake::new();
        let mut ears = Ears(wake);
        for name in ["own", "shared-1"] {
            ears.applied(&key(name));
        }
        ears.applied(&queue(None));
        count(&triggers.queues);
        let gone = ObjectRef::<QueueKey>::new("shared-1");
        if key_goes_first {
            ears.deleted(&gone);
            ears.applied(&queue(Some("shared-1")));
        } else {
            ears.applied(&queue(Some("shared-1")));
            assert_eq!(count(&triggers.queues), 0, "its own record wakes nobody while the key is there");
            ears.deleted(&gone);
        }
        assert!(count(&triggers.queues) > 0, "the queue is woken, the key going first: {key_goes_first}");
    }
}

#[test]
fn an_object_that_was_made_again_hears_that_its_key_holds_the_same_grants_for_it() {
    let holding = |uid: &str| {
        let user = json!({"namespace": "acme-prod", "name": "orders", "uid": uid, "grantsSha256": "0".repeat(64)});
        QueueKey { status: Some(serde_json::from_value(json!({"users": [user]})).unwrap()), ..key("own") }
    };
    let (wake, triggers) = Wake::new();
    let mut ears = Ears(wake);
    ears.applied(&queue(None));
    ears.applied(&holding("of-before"));
    count(&triggers.queues);
    ears.applied(&holding("of-before"));
    assert_eq!(count(&triggers.queues), 0);
    ears.applied(&holding("1"));
    assert!(count(&triggers.queues) > 0);
}
