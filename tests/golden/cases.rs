//! The cases, one trait of the access model each.

use std::collections::BTreeSet;

use encrypted_queue::api::encrypted_queue::{KeySourceCondition, ServicePrincipal};
use encrypted_queue::api::sensitivity_tier::Others;
use encrypted_queue::desired::{PrincipalRules, ServiceAccountRole};
use encrypted_queue::names::{Partition, Place, RoleArn};
use encrypted_queue::policy::access::{Capability, Grant, KeyAccess, OrganizationRoles, Principal, QueueAccess, ServiceSource};
use serde_json::json;

use crate::declare;

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

fn role_of(account: &str, name: &str, capability: Capability) -> Grant {
    Grant { principal: Principal::Role(role_arn(Partition::Aws, account, name)), capability }
}

/// What a manifest says, ServiceAccounts resolved: they stand in the policies as the roles that they are.
fn service_accounts() -> KeyAccess {
    let change = json!({"spec": {
        "producers": [{"serviceAccount": {"name": "orders-api"}}], "consumers": [{"serviceAccount": {"name": "orders-worker"}}], "deadLetter": null,
    }});
    let role = |name: &str| ServiceAccountRole::Role(declare::role(name));
    let declared = declare::declared().with_queue(change);
    let declared = declared.with_service_account("orders-api", role("acme-api")).with_service_account("orders-worker", role("acme-worker"));
    let desired = declared.judged().unwrap();
    key(desired.place, vec![desired.access])
}

/// A whole organisation, and paths of another, for roles of one name.
fn two_organizations() -> KeyAccess {
    let paths = ["o-f6e5d4c3b2/r-ab12/ou-ab12-11111111/*", "o-f6e5d4c3b2/r-ab12/ou-ab12-22222222/"];
    orders(&[organization("o-a1b2c3d4e5", &[], "log-shipper"), organization("o-f6e5d4c3b2", &paths, "log-shipper")])
}

/// One of each kind of principal in one key's queues, all with dead letters.
fn tenant_scope_of_every_kind() -> KeyAccess {
    let topic = "arn:aws:sns:eu-west-1:111122223333:orders";
    let service = service(ServicePrincipal::Sns, topic, KeySourceCondition::SourceArn);
    let mut access = orders(&[producer(), service, organization("o-a1b2c3d4e5", &[], "log-shipper"), consumer()]);
    let redriver = role("acme-redriver", Capability::Redrive);
    let bills = queue(&access.place, "acme-bills", &[producer(), consumer(), redriver]);
    access.users.push(bills);
    with_dead_letters(access)
}

/// What a queue that had every kind of grant keeps when its tier forbids one kind.
fn tightened(rule: &str) -> KeyAccess {
    let topic = "arn:aws:sns:eu-west-1:111122223333:orders";
    let grants = [
        producer(),
        role_of(OTHER_ACCOUNT, "acme-partner", Capability::Send),
        service(ServicePrincipal::Sns, topic, KeySourceCondition::SourceArn),
        organization("o-a1b2c3d4e5", &[], "log-shipper"),
        consumer(),
        role_of(OTHER_ACCOUNT, "acme-auditor", Capability::Receive),
    ];
    let admits = json!({"spec": {"principals": {"roles": [declare::role("acme-*"), format!("arn:aws:iam::{OTHER_ACCOUNT}:role/acme-*")]}}});
    let tenant = declare::patched(&declare::tenant(), &admits);
    let allowed = json!({"spec": {"access": {"crossAccount": "Allow", "services": "Allow", "organizations": "Allow"}}});
    let tier = declare::patched(&declare::patched(&declare::tier(), &allowed), &json!({"spec": {"access": {rule: "Deny"}}}));
    let rules = PrincipalRules::new(&tenant.spec, &tier.spec, Partition::Aws, None);
    let mut access = orders(&grants);
    let all = access.users[0].clone();
    access.users = vec![all.clone().retain(|grant| rules.check(grant).is_ok())];
    assert!(access.users[0].grants.len() < all.grants.len() && access.users[0].grants.len() > 2, "{rule} forbids some");
    access
}

fn govcloud() -> KeyAccess {
    let place = place(Partition::GovCloud, "us-gov-west-1");
    let grant = |name, capability| Grant { principal: Principal::Role(role_arn(Partition::GovCloud, ACCOUNT, name)), capability };
    let topic = "arn:aws-us-gov:sns:us-gov-west-1:111122223333:orders";
    let grants = [service(ServicePrincipal::Sns, topic, KeySourceCondition::SourceArn), grant("acme-orders-worker", Capability::Receive)];
    let queue = queue(&place, "acme-orders", &grants);
    key(place, vec![queue])
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
        ("organizations-of-one-role-name", two_organizations()),
        ("service-account", service_accounts()),
        ("other-account-consumer", orders(&[role_of(OTHER_ACCOUNT, "team/partner", Capability::Receive)])),
        ("tier-cross-account-denied", tightened("crossAccount")),
        ("tier-services-denied", tightened("services")),
        ("tier-organizations-denied", tightened("organizations")),
        ("others-unstated", others_unstated()),
        ("suspended", suspended()),
        ("administrators", administered()),
        ("tenant-scope", tenant_scope()),
        ("tenant-scope-of-every-kind", tenant_scope_of_every_kind()),
        ("china", china()),
        ("govcloud", govcloud()),
    ]
}
