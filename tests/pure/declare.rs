//! Declarations to start from, changed as a person would change a manifest.

use std::collections::BTreeMap;

use encrypted_queue::api::{EncryptedQueue, SensitivityTier, Tenant};
use encrypted_queue::desired::{DesiredQueue, QueueInput, Refusal, ServiceAccountRole, desired_queue};
use encrypted_queue::names::RoleArn;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub const ACCOUNT: &str = "111122223333";
/// How long another key settles.
pub const SETTLE: jiff::SignedDuration = jiff::SignedDuration::from_secs(300);
pub const CLUSTER: &str = "0b8c1e70-cluster";

/// ARN of a role in the tenant's account.
pub fn role(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

pub fn operator() -> RoleArn {
    RoleArn::parse(&role("encrypted-queue-operator")).unwrap()
}

/// An object of Kubernetes from what a manifest says.
pub fn object<T: DeserializeOwned>(manifest: Value) -> T {
    serde_json::from_value(manifest).unwrap()
}

/// The same object with a JSON merge patch applied.
pub fn patched<T: Serialize + DeserializeOwned>(original: &T, patch: &Value) -> T {
    fn merge(target: &mut Value, patch: &Value) {
        let Value::Object(changes) = patch else { return target.clone_from(patch) };
        if !target.is_object() {
            *target = json!({});
        }
        for (name, change) in changes {
            if change.is_null() {
                target.as_object_mut().unwrap().remove(name);
            } else {
                merge(&mut target[name.as_str()], change);
            }
        }
    }
    let mut value = serde_json::to_value(original).unwrap();
    merge(&mut value, patch);
    object(value)
}

pub fn tenant() -> Tenant {
    object(json!({
        "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "acme"},
        "spec": {
            "namespaces": {"names": ["acme-prod"], "selector": {"matchLabels": {"tenant": "acme"}}},
            "aws": {"accountId": ACCOUNT, "regions": ["eu-west-1", "eu-central-1"]},
            "keyAdministrators": [role("security-admin")],
            "breakGlassAdministrators": [role("break-glass")],
            "sensitivityTiers": ["internal"],
            "principals": {
                "roles": [role("acme-*"), "arn:aws:iam::999988887777:role/acme-*"],
                "services": ["sns.amazonaws.com"],
                "sourceAccounts": [ACCOUNT],
                "organizations": ["o-a1b2c3d4e5"]
            },
            "tags": {"owner": "team-payments"}
        }
    }))
}

pub fn tier() -> SensitivityTier {
    object(json!({
        "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "SensitivityTier", "metadata": {"name": "internal"},
        "spec": {
            "key": {"rotationPeriodDays": {"default": 180, "minimum": 90, "maximum": 365}},
            "dataKeyReuseSeconds": {"default": 600, "minimum": 300, "maximum": 3600},
            "messageRetentionSeconds": {"minimum": 3600, "maximum": 1_209_600},
            "requiredTags": ["owner"]
        }
    }))
}

/// A queue with a dead-letter queue.
pub fn queue(name: &str) -> EncryptedQueue {
    object(json!({
        "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": "EncryptedQueue",
        "metadata": {"namespace": "acme-prod", "name": name, "uid": format!("uid-of-{name}"), "generation": 1},
        "spec": {
            "tenant": "acme", "sensitivityTier": "internal",
            "producers": [{"role": role("acme-api")}],
            "consumers": [{"role": role("acme-worker")}],
            "deadLetter": {},
            "tags": {"workload": name}
        }
    }))
}

/// A declaration and all that judges it.
#[derive(Clone)]
pub struct Declared {
    pub tenant: Option<Tenant>,
    pub tier: Option<SensitivityTier>,
    pub queue: EncryptedQueue,
    pub labels: Option<BTreeMap<String, String>>,
    pub service_accounts: BTreeMap<&'static str, ServiceAccountRole>,
    pub operator: Option<RoleArn>,
    pub within_limit: bool,
    pub leaves_approval: bool,
    pub key_generation: u32,
}

/// The declaration that all others differ from: everything in it is admitted.
pub fn declared() -> Declared {
    Declared {
        tenant: Some(tenant()),
        tier: Some(tier()),
        queue: queue("orders"),
        labels: Some(BTreeMap::new()),
        service_accounts: BTreeMap::new(),
        operator: Some(operator()),
        within_limit: true,
        leaves_approval: false,
        key_generation: 1,
    }
}

impl Declared {
    pub fn with_tenant(mut self, patch: Value) -> Self {
        self.tenant = self.tenant.map(|tenant| patched(&tenant, &patch));
        self
    }

    pub fn with_tier(mut self, patch: Value) -> Self {
        self.tier = self.tier.map(|tier| patched(&tier, &patch));
        self
    }

    pub fn with_queue(mut self, patch: Value) -> Self {
        self.queue = patched(&self.queue, &patch);
        self
    }

    pub fn with_service_account(mut self, name: &'static str, role: ServiceAccountRole) -> Self {
        self.service_accounts.insert(name, role);
        self
    }

    pub fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub fn judged(&self) -> Result<DesiredQueue, Box<Refusal>> {
        let service_account = |name: &str| self.service_accounts.get(name).cloned().unwrap_or(ServiceAccountRole::Missing);
        desired_queue(&QueueInput {
            object: &self.queue,
            namespace_labels: self.labels.as_ref(),
            tenant: self.tenant.as_ref(),
            tier: self.tier.as_ref(),
            service_account: &service_account,
            cluster_id: CLUSTER,
            operator_role: self.operator.as_ref(),
            within_limit: self.within_limit,
            key_generation: self.key_generation,
            leaves_approval: self.leaves_approval,
            settle: SETTLE,
        })
    }
}
