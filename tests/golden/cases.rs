//! The cases, one trait of the access model each.

use std::collections::BTreeSet;

use encrypted_queue::api::encrypted_queue::{KeySourceCondition, ServicePrincipal};
use encrypted_queue::api::sensitivity_tier::Others;
use encrypted_queue::names::{Partition, Place, RoleArn};
use encrypted_queue::policy::access::{Capability, Grant, KeyAccess, OrganizationRoles, Principal, QueueAccess, ServiceSource};

const ACCOUNT: &str = "111122223333";
const OTHER_ACCOUNT: &str = "444455556666";

fn role_arn(partition: Partition, account: &str, name: &str) -> RoleArn {
    RoleArn::parse(&format!("arn:{partition}:iam::{account}:role/{name}")).unwrap()
}

fn role(name: &str, capability: Capability) -> Grant {
    Grant { principal: Principal::Role(role_arn(Partition::Aws, ACCOUNT, name)), capability }
}

fn producer() -> Grant {
    role("acme-orders-api", Capability::Send)
}

fn consumer() -> Grant {
    role("acme-orders-worker", Capability::Receive)
}

fn service(service: ServicePrincipal, source_arn: &str, key_condition: KeySourceCondition) -> Grant {
    let (source_arn, source_account) = (source_arn.to_owned(), ACCOUNT.to_owned());
    Grant { principal: Principal::Service(ServiceSource { service, source_arn, source_account, key_condition }), capability: Capability::Send }
}

fn organization(id: &str, paths: &[&str], role_name: &str) -> Grant {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    let roles = OrganizationRoles { id: id.to_owned(), paths, role_name: role_name.to_owned() };
    Grant { principal: Principal::Organization(roles), capability: Capability::Send }
}

fn place(partition: Partition, region: &str) -> Place {
    Place { partition, account: ACCOUNT.to_owned(), region: region.to_owned() }
}

fn queue(place: &Place, name: &str, grants: &[Grant]) -> QueueAccess {
    QueueAccess {
        queue: place.queue_arn(name),
        dead_letter_queue: None,
        grants: grants.iter().map(|grant| (grant.clone(), String::new())).collect(),
        others: Others::Deny,
        suspended: false,
    }
}

fn key(place: Place, users: Vec<QueueAccess>) -> KeyAccess {
    let operator = role_arn(place.partition, ACCOUNT, "platform/encrypted-queue-operator");
    KeyAccess { place, operator, administrators: BTreeSet::new(), break_glass: BTreeSet::new(), users, suspended: false }
}

/// One queue with a key of its own.
fn orders(grants: &[Grant]) -> KeyAccess {
    let place = place(Partition::Aws, "eu-west-1");
    let queue = queue(&place, "acme-orders", grants);
    key(place, vec![queue])
}

fn with_dead_letters(mut access: KeyAccess) -> KeyAccess {
    for user in &mut access.users {
        user.dead_letter_queue = Some(access.place.queue_arn(&format!("{}-dead-letters", user.queue.name())));
    }
    access
}

fn administered() -> KeyAccess {
    let administrator = |name| BTreeSet::from([role_arn(Partition::Aws, ACCOUNT, name)]);
    KeyAccess { administrators: administrator("security-admin"), break_glass: administrator("break-glass"), ..orders(&[]) }
}

fn suspended() -> KeyAccess {
    let mut access = with_dead_letters(orders(&[producer(), consumer()]));
    access.suspended = true;
    access.users.iter_mut().for_each(|user| user.suspended = true);
    access
}

fn others_unstated() -> KeyAccess {
    let mut access = with_dead_letters(orders(&[producer(), consumer()]));
    access.users.iter_mut().for_each(|user| user.others = Others::Unstated);
    access
}

/// Two queues, one key: the consumer is the same, so his statements become one; the producers differ.
fn tenant_scope() -> KeyAccess {
    let mut access = orders(&[producer(), consumer()]);
    let bills = queue(&access.place, "acme-bills", &[role("acme-bills-api", Capability::Send), consumer()]);
    access.users.push(bills);
    access
}

fn china() -> KeyAccess {
    let place = place(Partition::China, "cn-north-1");
    let grant = |name, capability| Grant { principal: Principal::Role(role_arn(Partition::China, ACCOUNT, name)), capability };
    let grants = [grant("acme-orders-api", Capability::Send), organization("o-a1b2c3d4e5", &[], "log-shipper")];
    let queue = queue(&place, "acme-orders", &grants);
    key(place, vec![queue])
}

fn other_account() -> KeyAccess {
    let stranger = Principal::Role(role_arn(Partition::Aws, OTHER_ACCOUNT, "team/partner"));
    orders(&[producer(), Grant { principal: stranger, capability: Capability::Send }])
}

/// A role granted by name keeps its right, though it bears the name of an organisation's role.
fn organization_and_namesake() -> KeyAccess {
    orders(&[organization("o-a1b2c3d4e5", &[], "log-shipper"), role("log-shipper", Capability::Send)])
}

fn dead_letters() -> KeyAccess {
    let grants = [producer(), consumer(), role("acme-on-call", Capability::ReceiveDeadLetters), role("acme-redriver", Capability::Redrive)];
    with_dead_letters(orders(&grants))
}

/// All cases by name.
pub fn all() -> Vec<(&'static str, KeyAccess)> {
    use KeySourceCondition::{None as AnySource, SourceAccount, SourceArn};
    use ServicePrincipal::{EventBridge, S3, Sns};
    let topic = "arn:aws:sns:eu-west-1:111122223333:orders";
    let rule = "arn:aws:events:eu-west-1:111122223333:rule/orders";
    vec![
        ("nobody", orders(&[])),
        ("role-producer", orders(&[producer()])),
        ("role-consumer", orders(&[consumer()])),
        ("other-account-producer", other_account()),
        ("observer", with_dead_letters(orders(&[role("keda-operator", Capability::Observe)]))),
        ("dead-letters-and-redriver", dead_letters()),
        ("service-sns-source-arn", orders(&[service(Sns, topic, SourceArn)])),
        ("service-sns-source-account", orders(&[service(Sns, topic, SourceAccount)])),
        ("service-sns-any-source", orders(&[service(Sns, topic, AnySource)])),
        ("service-s3-source-arn", orders(&[service(S3, "arn:aws:s3:::acme-uploads", SourceArn)])),
        ("service-s3-source-account", orders(&[service(S3, "arn:aws:s3:::acme-uploads", SourceAccount)])),
        ("service-s3-wildcard", orders(&[service(S3, "arn:aws:s3:::acme-*", SourceArn)])),
        ("service-eventbridge-any-source", orders(&[service(EventBridge, rule, AnySource)])),
        ("service-eventbridge-source-arn", orders(&[service(EventBridge, rule, SourceArn)])),
        ("organization", orders(&[organization("o-a1b2c3d4e5", &[], "log-shipper")])),
        ("organization-paths", orders(&[organization("o-a1b2c3d4e5", &["o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/*"], "log-shipper")])),
        ("organization-and-namesake", organization_and_namesake()),
        ("others-unstated", others_unstated()),
        ("suspended", suspended()),
        ("administrators", administered()),
        ("tenant-scope", tenant_scope()),
        ("china", china()),
    ]
}
