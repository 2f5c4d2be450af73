//! The slow check: every object is compared with AWS once a period, spread evenly over it, so that what no event tells is found.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use rand::RngExt;

use super::context::Context;
use super::wake::name_of;
use crate::api::conditions::{self, types};
use crate::api::queue_key::NamespacedName;

enum Object {
    Queue(NamespacedName),
    Key(String),
}

/// Runs until dropped.
pub(super) async fn slow_check(ctx: Arc<Context>, period: Duration) {
    // A random start: several instances do not check at once, and a restart does not check everything at once.
    tokio::time::sleep(jittered(period / 2, 0.0, 1.0)).await;
    loop {
        let objects = objects(&ctx);
        let pause = period / u32::try_from(objects.len().max(1)).unwrap_or(u32::MAX);
        if objects.is_empty() {
            tokio::time::sleep(period).await;
        }
        for object in objects {
            match object {
                Object::Queue(name) => {
                    ctx.checks.request("EncryptedQueue", &name.to_string());
                    ctx.wake.queue(&name);
                }
                Object::Key(name) => {
                    ctx.checks.request("QueueKey", &name);
                    ctx.wake.key(&name);
                }
            }
            tokio::time::sleep(jittered(pause, 0.9, 1.1)).await;
        }
    }
}

fn jittered(duration: Duration, least: f64, most: f64) -> Duration {
    duration.mul_f64(rand::rng().random_range(least..most))
}

/// What is settled: the rest is being worked on anyway.
fn objects(ctx: &Context) -> Vec<Object> {
    let settled = |conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]| conditions.iter().any(|c| c.type_ == types::READY);
    let queues = ctx.stores.queues.state();
    let queues = queues
        .iter()
        .filter(|queue| queue.status.as_ref().is_some_and(|status| settled(&status.conditions)))
        .map(|queue| Object::Queue(name_of(queue.as_ref())));
    let keys = ctx.stores.keys.state();
    let keys = keys
        .iter()
        .filter(|key| key.status.as_ref().is_some_and(|status| conditions::is_true(&status.conditions, types::READY)))
        .map(|key| Object::Key(key.name_any()));
    queues.chain(keys).collect()
}
