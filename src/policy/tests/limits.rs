//! Limits are told by how much they are exceeded; differences by who gains and loses.

use std::collections::BTreeSet;

use crate::api::encrypted_queue::{KeySourceCondition, ServicePrincipal};
use crate::api::sensitivity_tier::Others;
use crate::names::{Partition, Place};
use crate::policy::access::{Capability, Grant, KeyAccess, OrganizationRoles, Principal, QueueAccess, ServiceSource};
use crate::policy::difference::difference;
use crate::policy::document::{Document, Effect, Principals, Statement};
use crate::policy::key_policy;
use crate::policy::limits::{Limit, LimitExceeded, check_key, check_queue};
use crate::policy::queue_policy::render_queue;

use super::strategies::{ACCOUNTS, role};

fn place() -> Place {
    Place { partition: Partition::Aws, account: ACCOUNTS[0].to_owned(), region: "eu-west-1".to_owned() }
}

fn role_grant(name: &str, capability: Capability) -> Grant {
    Grant { principal: Principal::Role(role(Partition::Aws, ACCOUNTS[0], name)), capability }
}

fn access(grants: impl IntoIterator<Item = Grant>) -> QueueAccess {
    let grants = grants.into_iter().map(|grant| (grant, String::new())).collect();
    QueueAccess { queue: place().queue_arn("orders"), dead_letter_queue: None, grants, others: Others::Deny, suspended: false }
}

fn topic(index: usize, account: &str) -> Grant {
    let source = ServiceSource {
        service: ServicePrincipal::Sns,
        source_arn: format!("arn:aws:sns:eu-west-1:{account}:topic-{index}"),
        source_account: account.to_owned(),
        key_condition: KeySourceCondition::SourceArn,
    };
    Grant { principal: Principal::Service(source), capability: Capability::Send }
}

fn limits(document: &Document) -> Vec<(Limit, usize)> {
    check_queue(document).into_iter().map(|exceeded| (exceeded.limit, exceeded.excess())).collect()
}

#[test]
fn twenty_topics_of_one_account_fit_in_one_statement() {
    let document = render_queue(&access((0..20).map(|index| topic(index, ACCOUNTS[0]))), &place());
    assert_eq!((limits(&document), document.statements.len()), (vec![], 5));
}

#[test]
fn too_many_of_each() {
    let accounts = access((0..20).map(|index| topic(index, &format!("{index:012}"))));
    assert_eq!(limits(&render_queue(&accounts, &place())), [(Limit::QueuePolicyStatements, 4)]);

    let long = "x".repeat(60);
    let document = render_queue(&access((0..45).map(|index| role_grant(&format!("{long}{index}"), Capability::Receive))), &place());
    assert_eq!(limits(&document), [(Limit::QueuePolicyBytes, document.to_json().len() - 8_192)]);

    let roles = access((0..50).map(|index| role_grant(&format!("r{index}"), Capability::Observe)));
    let exceeded = check_queue(&render_queue(&roles, &place()));
    assert_eq!(exceeded[0].to_string(), "54 principals in the queue policy, AWS accepts 50: 4 too many");

    let actions: Vec<_> = (0..8).map(|index| format!("sqs:Action{index}")).collect();
    let actions: Vec<_> = actions.iter().map(String::as_str).collect();
    let statement = Statement::new("Many", Effect::Deny, Principals::Anyone, &actions, "*");
    let statement = (0..11).fold(statement, |statement, index| statement.when("StringEquals", &format!("aws:Key{index}"), ["x"]));
    let many = |limit, found| LimitExceeded { limit, found, sid: Some("Many".to_owned()) };
    let document = Document::new(None, vec![statement]);
    assert_eq!(check_queue(&document), [many(Limit::QueuePolicyConditions, 11), many(Limit::QueuePolicyActions, 8)]);
    assert!(check_queue(&document)[1].to_string().ends_with("1 too many in Many"));
}

#[test]
fn a_key_holds_many_queues_with_the_same_principals_and_fewer_with_others() {
    let key = |same: bool, queues: usize| {
        let queue = |index| {
            let name = |what: &str| if same { what.to_owned() } else { format!("{what}-{index}") };
            let grants = [role_grant(&name("writer"), Capability::Send), role_grant(&name("reader"), Capability::Receive)];
            QueueAccess { queue: place().queue_arn(&format!("queue-{index}")), ..access(grants) }
        };
        let operator = role(Partition::Aws, ACCOUNTS[0], "operator");
        let (administrators, break_glass) = (BTreeSet::new(), BTreeSet::new());
        let access = KeyAccess { place: place(), operator, administrators, break_glass, users: (0..queues).map(queue).collect(), suspended: false };
        check_key(&key_policy::render(&access, "id"))
    };
    assert_eq!(key(true, 300), []);
    assert_eq!(key(false, 40), []);
    assert_eq!(key(false, 60)[0].limit, Limit::KeyPolicyBytes);
}

#[test]
fn gains_and_losses() {
    let old = access([role_grant("a", Capability::Send), role_grant("b", Capability::Receive)]);
    assert!(difference(Some(&old), &old).is_empty());
    let first = difference(None, &old);
    assert!(first.widens() && !first.narrows() && first.gains == old.effective_grants());

    let organization = OrganizationRoles { id: "o-1".into(), paths: ["o-1/r-1/".to_owned()].into(), role_name: "log".into() };
    let organization = Grant { principal: Principal::Organization(organization), capability: Capability::Send };
    let new = QueueAccess { others: Others::Unstated, ..access([role_grant("a", Capability::Receive), topic(1, ACCOUNTS[0]), organization]) };
    let change = difference(Some(&old), &new);
    assert!(change.widens() && change.narrows());
    assert_eq!(
        change.gain_lines(),
        [
            "arn:aws:iam::111122223333:role/a may receive",
            "sns.amazonaws.com for arn:aws:sns:eu-west-1:111122223333:topic-1 of account 111122223333 (key source condition SourceArn) may send",
            "any role log of organisation paths o-1/r-1/ may send",
            "others are no longer denied: IAM policies of the account may let them in",
        ]
    );
    assert_eq!(
        change.loss_lines(),
        ["arn:aws:iam::111122223333:role/a may no longer send", "arn:aws:iam::111122223333:role/b may no longer receive"]
    );

    let suspended = difference(Some(&old), &QueueAccess { suspended: true, ..old.clone() });
    assert!(suspended.narrows() && !suspended.widens());
    assert_eq!(suspended.loss_lines(), ["the tenant is suspended: nobody may use the queue"]);
    let dead_letters = access([role_grant("a", Capability::Send), role_grant("b", Capability::Receive), role_grant("c", Capability::Redrive)]);
    assert!(difference(Some(&old), &dead_letters).is_empty(), "without a dead-letter queue nobody moves messages back");
}
