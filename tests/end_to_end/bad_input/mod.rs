//! Bad input: each cause is named with its way out, nothing is made or loosened, and the queue heals when the cause goes.

mod ends;
mod faults;
mod judged;
mod records;
mod refused;
mod tightened;
mod upkeep;

use serde_json::{Value, json};

use crate::world::{ACCOUNT, World};

/// Every queue of these tests lives here, but for those whose namespace is what is wrong.
pub(crate) const NAMESPACE: &str = "team";
pub(crate) const PRODUCER: &str = "arn:aws:iam::123456789012:role/app-producer";
pub(crate) const CONSUMER: &str = "arn:aws:iam::123456789012:role/app-consumer";

/// `change` merged into `value` as a JSON merge patch (RFC 7386).
fn merged(mut value: Value, change: &Value) -> Value {
    let Value::Object(fields) = change else { return change.clone() };
    if !value.is_object() {
        value = json!({});
    }
    for (name, change) in fields {
        if change.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            value[name] = merged(value[name].take(), change);
        }
    }
    value
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "encryptedqueue.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A tenant that admits queues of the namespace, a tier of the same name, and the roles `app-*`.
pub(crate) fn tenant(name: &str, change: &Value) -> Value {
    let spec = json!({
        "namespaces": {"names": [NAMESPACE]},
        "aws": {"accountId": ACCOUNT, "regions": ["eu-west-1"]},
        "sensitivityTiers": [name],
        "principals": {"roles": ["arn:aws:iam::123456789012:role/app-*"]},
    });
    object("Tenant", name, &merged(spec, change))
}

pub(crate) fn tier(name: &str, change: &Value) -> Value {
    object("SensitivityTier", name, &merged(json!({"description": "A tier."}), change))
}

/// A queue of the tenant and tier of its name.
pub(crate) fn queue(namespace: &str, name: &str, change: &Value) -> Value {
    let spec = json!({"tenant": name, "sensitivityTier": name, "producers": [{"role": PRODUCER}], "consumers": [{"role": CONSUMER}]});
    let mut queue = object("EncryptedQueue", name, &merged(spec, change));
    queue["metadata"]["namespace"] = namespace.into();
    queue
}

pub(crate) async fn namespace(world: &World, name: &str, labels: Value) {
    world.apply_object(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})).await;
}

/// A world with an operator, the namespace and the two roles.
async fn world() -> World {
    let world = World::with_operator().await;
    world.create_roles(&[PRODUCER, CONSUMER]).await;
    namespace(&world, NAMESPACE, json!({})).await;
    world
}

/// Waits until an Event about the object carries the reason.
pub(crate) async fn until_event(world: &World, namespace: &str, name: &str, reason: &str) {
    world
        .until(&format!("an Event says {reason} of {name}"), async || world.events(namespace, name).await.iter().any(|(found, _)| found == reason))
        .await;
}

/// The message of a condition.
pub(crate) fn message(queue: &encrypted_queue::api::EncryptedQueue, type_: &str) -> String {
    let conditions = queue.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
    conditions.iter().find(|condition| condition.type_ == type_).map(|condition| condition.message.clone()).unwrap_or_default()
}
