//! Random access: small pools, so that principals, sources and names meet often.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use crate::api::encrypted_queue::{KeySourceCondition, ServicePrincipal};
use crate::api::sensitivity_tier::Others;
use crate::names::{Partition, Place, RoleArn};
use crate::policy::access::{Capability, Grant, KeyAccess, OrganizationRoles, Principal, QueueAccess, ServiceSource};

pub const ACCOUNTS: [&str; 2] = ["111122223333", "444455556666"];
pub const ROLES: [&str; 4] = ["reader", "writer", "team/log", "log"];
pub const ORGANIZATIONS: [&str; 2] = ["o-aaaaaaaaaa", "o-bbbbbbbbbb"];
pub const UNITS: [&str; 2] = ["r-1/ou-1/", "r-1/ou-2/"];
pub const SOURCES: [(ServicePrincipal, &str); 5] = [
    (ServicePrincipal::Sns, "arn:aws:sns:eu-west-1:111122223333:orders"),
    (ServicePrincipal::Sns, "arn:aws:sns:eu-west-1:111122223333:bills"),
    (ServicePrincipal::S3, "arn:aws:s3:::acme-uploads"),
    (ServicePrincipal::S3, "arn:aws:s3:::acme-*"),
    (ServicePrincipal::EventBridge, "arn:aws:events:eu-west-1:111122223333:rule/orders"),
];

pub fn place() -> impl Strategy<Value = Place> {
    select(vec![(Partition::Aws, "eu-west-1"), (Partition::China, "cn-north-1"), (Partition::GovCloud, "us-gov-west-1")])
        .prop_map(|(partition, region)| Place { partition, account: ACCOUNTS[0].to_owned(), region: region.to_owned() })
}

pub fn role(partition: Partition, account: &str, name: &str) -> RoleArn {
    RoleArn::parse(&format!("arn:{partition}:iam::{account}:role/{name}")).unwrap()
}

fn roles(partition: Partition) -> impl Strategy<Value = RoleArn> {
    (select(&ACCOUNTS[..]), select(&ROLES[..])).prop_map(move |(account, name)| role(partition, account, name))
}

fn services() -> impl Strategy<Value = Principal> {
    let conditions = select(vec![KeySourceCondition::SourceArn, KeySourceCondition::SourceAccount, KeySourceCondition::None]);
    (select(&SOURCES[..]), select(&ACCOUNTS[..]), conditions).prop_map(|((service, source_arn), source_account, key_condition)| {
        let (source_arn, source_account) = (source_arn.to_owned(), source_account.to_owned());
        Principal::Service(ServiceSource { service, source_arn, source_account, key_condition })
    })
}

fn organizations() -> impl Strategy<Value = Principal> {
    (select(&ORGANIZATIONS[..]), btree_set((select(&UNITS[..]), any::<bool>()), 0..=2), select(&ROLES[2..])).prop_map(|(id, units, role_name)| {
        let paths = units.into_iter().map(|(unit, below)| format!("{id}/{unit}{}", if below { "*" } else { "" })).collect();
        Principal::Organization(OrganizationRoles { id: id.to_owned(), paths, role_name: role_name.to_owned() })
    })
}

/// Grants as declarations make them, and now and then one that no policy says.
fn grants(partition: Partition) -> impl Strategy<Value = BTreeMap<Grant, String>> {
    let capabilities = [Capability::Send, Capability::Receive, Capability::ReceiveDeadLetters, Capability::Redrive, Capability::Observe];
    let principals = prop_oneof![4 => roles(partition).prop_map(Principal::Role), 2 => services(), 2 => organizations()];
    let grant = (principals, select(capabilities.to_vec()), prop::bool::weighted(0.9)).prop_map(|(principal, capability, declared)| {
        let capability = if declared && !matches!(principal, Principal::Role(_)) { Capability::Send } else { capability };
        Grant { principal, capability }
    });
    btree_map(grant, Just(String::new()), 0..10)
}

pub fn queue_access(place: &Place, name: &'static str) -> impl Strategy<Value = QueueAccess> + use<> {
    let queue = place.queue_arn(name);
    let dead = prop::option::weighted(0.7, Just(place.queue_arn(&format!("{name}-dead-letters"))));
    let others = select(vec![Others::Deny, Others::Unstated]);
    (grants(place.partition), dead, others, prop::bool::weighted(0.1)).prop_map(move |(grants, dead_letter_queue, others, suspended)| QueueAccess {
        queue: queue.clone(),
        dead_letter_queue,
        grants,
        others,
        suspended,
    })
}

pub fn placed_queue_access() -> impl Strategy<Value = (Place, QueueAccess)> {
    place().prop_flat_map(|place| (Just(place.clone()), queue_access(&place, "acme-orders")))
}

pub fn key_access() -> impl Strategy<Value = KeyAccess> {
    place().prop_flat_map(|place| {
        let names = ["acme-orders", "acme-bills", "acme-mail", "acme-log"];
        // Queues of one tenant often have the same principals: then their statements are merged.
        let users = vec(queue_access(&place, names[0]), 1..=4).prop_flat_map(|users| (Just(users), vec(any::<bool>(), 4)));
        let administrators = || btree_set(roles(place.partition), 0..3);
        let place = place.clone();
        (administrators(), administrators(), users, prop::bool::weighted(0.1)).prop_map(
            move |(administrators, break_glass, (users, same), suspended)| {
                let place = place.clone();
                let first = users[0].grants.clone();
                let users = users.into_iter().zip(names).zip(same).map(|((user, name), same)| QueueAccess {
                    queue: place.queue_arn(name),
                    dead_letter_queue: user.dead_letter_queue.map(|_| place.queue_arn(&format!("{name}-dead-letters"))),
                    grants: if same { first.clone() } else { user.grants },
                    ..user
                });
                let users = users.collect();
                let operator = role(place.partition, ACCOUNTS[0], "encrypted-queue-operator");
                KeyAccess { place, operator, administrators, break_glass, users, suspended }
            },
        )
    })
}

/// Grants of these capabilities.
pub fn only(grants: BTreeSet<Grant>, capabilities: &[Capability]) -> BTreeSet<Grant> {
    grants.into_iter().filter(|grant| capabilities.contains(&grant.capability)).collect()
}
