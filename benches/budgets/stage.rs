//! A world with the platform's and security team's objects, as the examples have them.

use std::collections::BTreeSet;
use std::fs::read_to_string;

use encrypted_queue::api::conditions::{is_true, types};
use regex::Regex;
use test_support::proxy::Strictness;

use crate::process::Process;
use crate::progress;
use crate::world::World;

/// Namespace of the first example tenant.
pub(crate) const NAMESPACE: &str = "acme-prod";
/// The example queues.
const QUEUES: [(&str, &str); 4] = [("acme-prod", "orders"), ("acme-prod", "notifications"), ("acme-prod", "emails"), ("globex-prod", "ledger")];
const PLATFORM: [&str; 6] = ["namespaces", "tier-internal", "tier-public", "tier-restricted", "tenant-acme", "tenant-globex"];

/// A file of `examples/`.
pub(crate) fn example(name: &str) -> String {
    read_to_string(format!("{}/examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"))).expect("the example is there")
}

/// A running world.
pub(crate) struct Stage {
    pub(crate) world: World,
}

impl Stage {
    /// Servers and definitions; no operator, no objects.
    pub(crate) async fn empty() -> Self {
        progress("starting API server and AWS emulator");
        Self { world: World::new().await.without_witness() }
    }

    /// The same over an emulator of AWS that is fast.
    pub(crate) async fn over(emulator: &str) -> Self {
        progress("starting API server");
        let stage = Self { world: World::over(emulator).await.without_witness().quiet() };
        // It forwards and counts.
        stage.world.proxy.set_strictness(Strictness::nothing());
        stage.world.proxy.forget_bodies();
        stage
    }

    /// The same with the platform's objects and an operator that has verified both accounts.
    pub(crate) async fn with_operator(arguments: &[&str]) -> Self {
        let mut stage = Self::empty().await;
        stage.platform().await;
        stage.world.start_operator(arguments);
        for tenant in ["acme", "globex"] {
            let ready = async || {
                let status = stage.world.tenants().get(tenant).await.ok().and_then(|tenant| tenant.status);
                status.is_some_and(|status| is_true(&status.conditions, types::READY))
            };
            stage.world.until("the accounts are verified", ready).await;
        }
        stage
    }

    /// Namespaces, tiers, tenants, and the roles that they and the queues name.
    pub(crate) async fn platform(&self) {
        let role = Regex::new(r"arn:aws:iam::[0-9]{12}:role/[A-Za-z0-9/_-]+\b").expect("a pattern");
        let files: Vec<String> = PLATFORM.into_iter().map(example).chain(QUEUES.map(|(_, name)| example(&format!("queue-{name}")))).collect();
        let roles: BTreeSet<&str> = files.iter().flat_map(|file| role.find_iter(file)).map(|found| found.as_str()).collect();
        self.world.create_roles(&Vec::from_iter(roles)).await;
        for name in PLATFORM {
            self.world.apply(&example(name)).await;
        }
    }

    /// Applies the four example queues and waits until they are Ready.
    pub(crate) async fn example_queues(&self) {
        for (_, name) in QUEUES {
            self.world.apply(&example(&format!("queue-{name}"))).await;
        }
        for (namespace, name) in QUEUES {
            self.world.until_ready(namespace, name).await;
        }
    }

    /// The operator's process.
    pub(crate) async fn process(&self) -> Process {
        // Only its own operator calls the stage's proxy.
        let variable = format!("AWS_ENDPOINT_URL={}", self.world.proxy.endpoint());
        self.world.until("the operator runs", async || Process::find(&variable).is_some()).await;
        Process::find(&variable).expect("it was there")
    }
}
