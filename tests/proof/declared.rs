//! Random declarations: tenant, tier and the queues of one key. Small pools, so that principals, sources and names meet often.

use std::collections::{BTreeMap, BTreeSet};

use encrypted_queue::api::{EncryptedQueue, SensitivityTier, Tenant};
use encrypted_queue::desired::{QueueInput, ServiceAccountRole, desired_queue};
use encrypted_queue::names::{Partition, Place, RoleArn};
use encrypted_queue::policy::access::{KeyAccess, QueueAccess};
use proptest::collection::{btree_set, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub const OWN: &str = "111122223333";
pub const PARTNER: &str = "444455556666";
pub const ACCOUNTS: [&str; 2] = [OWN, PARTNER];
pub const ROLES: [&str; 5] = ["reader", "writer", "log", "team/log", "a/b/deep"];
pub const OPERATOR: &str = "platform/encrypted-queue-operator";
pub const ADMINISTRATORS: [&str; 2] = ["security-admin", "team/security-admin"];
pub const BREAK_GLASS: [&str; 1] = ["break-glass"];
pub const ORGANIZATIONS: [&str; 2] = ["o-aaaaaaaaaa", "o-bbbbbbbbbb"];
/// Units of either organisation; the last is below the first.
pub const UNITS: [&str; 3] = ["r-1/ou-1/", "r-1/ou-2/", "r-1/ou-1/ou-3/"];
pub const QUEUES: [&str; 3] = ["orders", "bills", "mail"];

/// A ServiceAccount for each role of either account.
pub fn service_account(account: &str, role: &str) -> String {
    format!("{}-{}", if account == OWN { "own" } else { "partner" }, role.replace('/', "-"))
}

pub fn role_arn(partition: Partition, account: &str, name: &str) -> String {
    format!("arn:{partition}:iam::{account}:role/{name}")
}

/// Topics, buckets and rules of an account: service, ARN.
pub fn sources(place: &Place, account: &str) -> [(&'static str, String); 6] {
    let Place { partition, region, .. } = place;
    [
        ("sns.amazonaws.com", format!("arn:{partition}:sns:{region}:{account}:orders")),
        ("sns.amazonaws.com", format!("arn:{partition}:sns:{region}:{account}:bills")),
        ("s3.amazonaws.com", format!("arn:{partition}:s3:::acme-uploads")),
        ("s3.amazonaws.com", format!("arn:{partition}:s3:::acme-reports")),
        ("events.amazonaws.com", format!("arn:{partition}:events:{region}:{account}:rule/orders")),
        ("events.amazonaws.com", format!("arn:{partition}:events:{region}:{account}:rule/bus/bills")),
    ]
}

/// A principal as a manifest names it; indices into the pools.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Said {
    Role { account: usize, role: usize },
    ServiceAccount { account: usize, role: usize },
    Service { account: usize, source: usize, key_condition: Option<&'static str> },
    Organization { id: usize, paths: BTreeSet<(usize, bool)>, role: usize },
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DeadLetters {
    pub consumers: Vec<Said>,
    pub redrivers: Vec<Said>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Queue {
    pub producers: Vec<Said>,
    pub consumers: Vec<Said>,
    pub observers: Vec<Said>,
    pub dead_letters: Option<DeadLetters>,
}

/// All that is declared of one key.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Declaration {
    pub place: Place,
    /// One queue: a key of its own. Several: the tenant's.
    pub queues: Vec<Queue>,
    pub administrators: Vec<&'static str>,
    pub break_glass: Vec<&'static str>,
    pub unstated: bool,
    pub suspended: bool,
}

fn role(accounts: std::ops::Range<usize>) -> impl Strategy<Value = Said> {
    (accounts, 0..ROLES.len(), prop::bool::weighted(0.3)).prop_map(|(account, role, through_service_account)| {
        if through_service_account { Said::ServiceAccount { account, role } } else { Said::Role { account, role } }
    })
}

fn service() -> impl Strategy<Value = Said> {
    let condition = select(vec![None, Some("SourceArn"), Some("SourceAccount"), Some("None")]);
    (0..2_usize, 0..6_usize, condition).prop_map(|(account, source, key_condition)| Said::Service { account, source, key_condition })
}

fn organization() -> impl Strategy<Value = Said> {
    let paths = prop_oneof![1 => Just(BTreeSet::new()), 1 => btree_set((0..UNITS.len(), any::<bool>()), 1..=2)];
    (0..2_usize, paths, 2..4_usize).prop_map(|(id, paths, role)| Said::Organization { id, paths, role })
}

/// No two that come to the same principal: those are refused.
fn distinct(said: Vec<Said>) -> Vec<Said> {
    let same = |said: &Said| match said {
        Said::ServiceAccount { account, role } => Said::Role { account: *account, role: *role },
        // A bucket's ARN names no account, and the default condition of a service may be the one that another names.
        Said::Service { account, source, .. } => Said::Service { account: *account, source: *source, key_condition: None },
        other => other.clone(),
    };
    let mut seen = BTreeSet::new();
    said.into_iter().filter(|one| seen.insert(same(one))).collect()
}

fn queue() -> impl Strategy<Value = Queue> {
    let producers = prop_oneof![4 => role(0..2), 3 => service(), 3 => organization()];
    let roles = |at_most| vec(role(0..2), 0..=at_most).prop_map(distinct);
    let consumers = vec(role(0..2), 1..=3).prop_map(distinct);
    let redrivers = vec(role(0..1), 0..=2).prop_map(distinct);
    let dead_letters = (roles(2), redrivers).prop_map(|(consumers, redrivers)| DeadLetters { consumers, redrivers });
    (vec(producers, 1..=5).prop_map(distinct), consumers, roles(1), weighted(0.7, dead_letters))
        .prop_map(|(producers, consumers, observers, dead_letters)| Queue { producers, consumers, observers, dead_letters })
}

pub fn declarations(partition: Partition) -> impl Strategy<Value = Declaration> {
    let region = match partition {
        Partition::Aws => "eu-west-1",
        Partition::China => "cn-north-1",
        Partition::GovCloud => "us-gov-west-1",
    };
    let place = Place { partition, account: OWN.to_owned(), region: region.to_owned() };
    let queues = prop_oneof![3 => vec(queue(), 1), 2 => shared()];
    let some = |names: &'static [&'static str]| prop::sample::subsequence(names, 0..=names.len());
    (queues, some(&ADMINISTRATORS), some(&BREAK_GLASS), prop::bool::weighted(0.25), prop::bool::weighted(0.1)).prop_map(
        move |(queues, administrators, break_glass, unstated, suspended)| Declaration {
            place: place.clone(),
            queues,
            administrators,
            break_glass,
            unstated,
            suspended,
        },
    )
}

/// Queues of one tenant often have the same principals: then their statements are merged.
fn shared() -> impl Strategy<Value = Vec<Queue>> {
    (vec(queue(), 2..=3), vec(prop::bool::weighted(0.4), 3)).prop_map(|(mut queues, same)| {
        let (first, others) = queues.split_at_mut(1);
        for (queue, _) in others.iter_mut().zip(same).filter(|(_, same)| *same) {
            queue.producers.clone_from(&first[0].producers);
            queue.consumers.clone_from(&first[0].consumers);
        }
        queues
    })
}

impl Said {
    fn manifest(&self, place: &Place) -> Value {
        match self {
            Self::Role { account, role } => json!({"role": role_arn(place.partition, ACCOUNTS[*account], ROLES[*role])}),
            Self::ServiceAccount { account, role } => json!({"serviceAccount": {"name": service_account(ACCOUNTS[*account], ROLES[*role])}}),
            Self::Service { account, source, key_condition } => {
                let (principal, arn) = &sources(place, ACCOUNTS[*account])[*source];
                let mut service = json!({"principal": principal, "sourceArn": arn, "sourceAccount": ACCOUNTS[*account]});
                if let Some(condition) = key_condition {
                    service["keySourceCondition"] = (*condition).into();
                }
                json!({"service": service})
            }
            Self::Organization { id, paths, role } => {
                let id = ORGANIZATIONS[*id];
                let paths: Vec<_> = paths.iter().map(|(unit, below)| format!("{id}/{}{}", UNITS[*unit], if *below { "*" } else { "" })).collect();
                json!({"organization": {"id": id, "paths": paths, "roleName": ROLES[*role]}})
            }
        }
    }
}

fn object<T: DeserializeOwned>(kind: &str, name: &str, spec: &Value) -> T {
    let api_version = "encryptedqueue.dev/v1alpha1";
    let metadata = json!({"name": name, "namespace": "prod", "uid": format!("uid-{name}"), "generation": 1});
    serde_json::from_value(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec})).unwrap()
}

impl Declaration {
    fn tenant(&self) -> Tenant {
        let Place { partition, account, region } = &self.place;
        let own = |names: &[&str]| names.iter().map(|name| role_arn(*partition, account, name)).collect::<Vec<_>>();
        let patterns = ACCOUNTS.iter().flat_map(|account| ["*", "*/*", "*/*/*"].map(|pattern| role_arn(*partition, account, pattern)));
        object(
            "Tenant",
            "acme",
            &json!({
                "namespaces": {"names": ["prod"]},
                "aws": {"accountId": account, "regions": [region], "roleArn": role_arn(*partition, account, OPERATOR)},
                "keyAdministrators": own(&self.administrators),
                "breakGlassAdministrators": own(&self.break_glass),
                "access": if self.suspended { "Suspended" } else { "Active" },
                "sensitivityTiers": ["tier"],
                "principals": {
                    "roles": patterns.collect::<Vec<_>>(),
                    "services": ["sns.amazonaws.com", "s3.amazonaws.com", "events.amazonaws.com"],
                    "sourceAccounts": ACCOUNTS, "organizations": ORGANIZATIONS,
                },
            }),
        )
    }

    fn tier(&self) -> SensitivityTier {
        let access = json!({
            "crossAccount": "Allow", "services": "Allow", "organizations": "Allow", "others": if self.unstated { "Unstated" } else { "Deny" },
        });
        let scope = if self.queues.len() > 1 { "Tenant" } else { "Queue" };
        object("SensitivityTier", "tier", &json!({"description": "A tier.", "key": {"scope": scope}, "access": access}))
    }

    fn manifest(&self, queue: &Queue, name: &str) -> EncryptedQueue {
        let all = |said: &[Said]| said.iter().map(|said| said.manifest(&self.place)).collect::<Vec<_>>();
        let mut spec = json!({
            "tenant": "acme", "sensitivityTier": "tier",
            "producers": all(&queue.producers), "consumers": all(&queue.consumers), "observers": all(&queue.observers),
        });
        if let Some(DeadLetters { consumers, redrivers }) = &queue.dead_letters {
            spec["deadLetter"] = json!({"consumers": all(consumers), "redrivers": all(redrivers)});
        }
        object("EncryptedQueue", name, &spec)
    }

    /// What the product makes of it.
    pub fn access(&self) -> KeyAccess {
        let (tenant, tier) = (self.tenant(), self.tier());
        let partition = self.place.partition;
        let roles: BTreeMap<_, _> = ACCOUNTS
            .iter()
            .flat_map(|account| ROLES.iter().map(move |role| (service_account(account, role), role_arn(partition, account, role))))
            .collect();
        let service_account = |name: &str| roles.get(name).map_or(ServiceAccountRole::Missing, |role| ServiceAccountRole::Role(role.clone()));
        let operator = RoleArn::parse(&role_arn(partition, OWN, OPERATOR)).unwrap();
        let access = |(queue, name): (&Queue, &str)| -> QueueAccess {
            let desired = desired_queue(&QueueInput {
                object: &self.manifest(queue, name),
                namespace_labels: Some(&BTreeMap::new()),
                tenant: Some(&tenant),
                tier: Some(&tier),
                service_account: &service_account,
                cluster_id: "cluster",
                operator_role: Some(&operator),
                within_limit: true,
                key_generation: 1,
                leaves_approval: false,
                settle: jiff::SignedDuration::ZERO,
            });
            desired.unwrap_or_else(|refusal| panic!("{:?}", refusal.violations)).access
        };
        let own = |names: &[&str]| names.iter().map(|name| RoleArn::parse(&role_arn(partition, OWN, name)).unwrap()).collect();
        KeyAccess {
            operator: operator.clone(),
            administrators: own(&self.administrators),
            break_glass: own(&self.break_glass),
            users: self.queues.iter().zip(QUEUES).map(access).collect(),
            suspended: self.suspended,
            place: self.place.clone(),
        }
    }
}
