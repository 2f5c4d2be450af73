//! Whom a queue may admit.

use encrypted_queue::api::Reason;
use encrypted_queue::desired::ServiceAccountRole;
use serde_json::{Value, json};

use super::{Rule, hold, violations};
use crate::declare::{Declared, declared, role};

const ABROAD: &str = "arn:aws:iam::999988887777:role/acme-partner";

fn queue(patch: Value) -> Declared {
    declared().with_queue(json!({"spec": patch}))
}

fn consumed_by(arn: &str) -> Declared {
    queue(json!({"consumers": [{"role": arn}]}))
}

fn across_accounts(declared: Declared) -> Declared {
    declared.with_tier(json!({"spec": {"access": {"crossAccount": "Allow"}}}))
}

fn topic() -> Value {
    json!({"principal": "sns.amazonaws.com", "sourceArn": "arn:aws:sns:eu-west-1:111122223333:orders", "sourceAccount": "111122223333"})
}

fn produced_by_service(service: Value) -> Declared {
    queue(json!({"producers": [{"service": service}]}))
}

fn with(mut service: Value, field: &str, value: &str) -> Value {
    service[field] = value.into();
    service
}

fn produced_by_organization(id: &str, paths: &[&str]) -> Declared {
    let allowed = declared().with_tier(json!({"spec": {"access": {"organizations": "Allow"}}}));
    allowed.with_queue(json!({"spec": {"producers": [{"organization": {"id": id, "paths": paths, "roleName": "log-shipper"}}]}}))
}

fn account_with(role: ServiceAccountRole) -> Declared {
    queue(json!({"consumers": [{"serviceAccount": {"name": "worker"}}]})).with_service_account("worker", role)
}

pub(super) fn rules() -> Vec<Rule> {
    [rules_of_roles(), rules_of_services(), rules_of_the_rest()].into_iter().flatten().collect()
}

fn rules_of_roles() -> Vec<Rule> {
    let named = |field: &'static str, broken, by, way_out, near, kept_by| Rule {
        reason: Reason::PrincipalNotAllowed,
        broken,
        by,
        field,
        way_out,
        near,
        kept_by,
    };
    vec![
        named(
            "spec.consumers[0]",
            "the role matches none of the tenant's patterns",
            consumed_by(&role("other")),
            "ask the platform team to admit it",
            "it matches",
            consumed_by(&role("acme-other")),
        ),
        named(
            "spec.consumers[0]",
            "the pattern does not reach into a path",
            consumed_by(&role("acme-team/worker")),
            "matches none",
            "the pattern has a path",
            consumed_by(&role("acme-team/worker")).with_tenant(json!({"spec": {"principals": {"roles": [role("acme-*"), role("acme-*/*")]}}})),
        ),
        Rule {
            reason: Reason::PrincipalMalformed,
            broken: "a user is no role",
            by: consumed_by("arn:aws:iam::111122223333:user/acme-me"),
            field: "spec.consumers[0].role",
            way_out: "expected arn:PARTITION:iam::ACCOUNT:role/",
            near: "a role of the same name",
            kept_by: consumed_by(&role("acme-me")),
        },
        Rule {
            reason: Reason::PrincipalMalformed,
            broken: "the account's root is no role",
            by: consumed_by("arn:aws:iam::111122223333:root"),
            field: "spec.consumers[0].role",
            way_out: "without wildcards",
            near: "a role named root",
            kept_by: consumed_by(&role("acme-root")),
        },
        Rule {
            reason: Reason::PrincipalMalformed,
            broken: "a role of another partition",
            by: consumed_by("arn:aws-cn:iam::111122223333:role/acme-worker"),
            field: "spec.consumers[0]",
            way_out: "of another partition than the tenant's Region (aws)",
            near: "a role of this one",
            kept_by: consumed_by("arn:aws:iam::111122223333:role/acme-worker"),
        },
        Rule {
            reason: Reason::SeparationOfDuties,
            broken: "a key administrator consumes",
            by: consumed_by(&role("security-admin")).with_tenant(json!({"spec": {"principals": {"roles": [role("*")]}}})),
            field: "spec.consumers[0]",
            way_out: "declare another role",
            near: "a role of a similar name",
            kept_by: consumed_by(&role("security-admins")).with_tenant(json!({"spec": {"principals": {"roles": [role("*")]}}})),
        },
        Rule {
            reason: Reason::SeparationOfDuties,
            broken: "a break-glass administrator observes",
            by: queue(json!({"observers": [{"role": role("break-glass")}]})).with_tenant(json!({"spec": {"principals": {"roles": [role("*")]}}})),
            field: "spec.observers[0]",
            way_out: "declare another role",
            near: "a role of that name behind a path",
            kept_by: queue(json!({"observers": [{"role": role("team/break-glass")}]}))
                .with_tenant(json!({"spec": {"principals": {"roles": [role("*"), role("*/*")]}}})),
        },
        Rule {
            reason: Reason::SeparationOfDuties,
            broken: "the role that the operator assumes for the tenant consumes, by way of a ServiceAccount",
            by: account_with(ServiceAccountRole::Role(role("acme-operator")))
                .with_tenant(json!({"spec": {"aws": {"roleArn": role("acme-operator")}}})),
            field: "spec.consumers[0]",
            way_out: "operates or administers keys of this tenant",
            near: "it consumes in a tenant for which the operator assumes another",
            kept_by: account_with(ServiceAccountRole::Role(role("acme-operator"))).with_tenant(json!({"spec": {"aws": {"roleArn": role("other")}}})),
        },
        Rule {
            reason: Reason::SeparationOfDuties,
            broken: "the operator produces",
            by: queue(json!({"producers": [{"role": role("encrypted-queue-operator")}]}))
                .with_tenant(json!({"spec": {"principals": {"roles": [role("*")]}}})),
            field: "spec.producers[0]",
            way_out: "may not use its queues",
            near: "another role produces",
            kept_by: queue(json!({"producers": [{"role": role("producer")}]})).with_tenant(json!({"spec": {"principals": {"roles": [role("*")]}}})),
        },
        Rule {
            reason: Reason::SeparationOfDuties,
            broken: "a break-glass administrator observes",
            by: queue(json!({"observers": [{"role": role("acme-glass")}]}))
                .with_tenant(json!({"spec": {"breakGlassAdministrators": [role("acme-glass")]}})),
            field: "spec.observers[0]",
            way_out: "declare another role",
            near: "he is none",
            kept_by: queue(json!({"observers": [{"role": role("acme-glass")}]})),
        },
        Rule {
            reason: Reason::CrossAccountNotAllowed,
            broken: "a role of another account",
            by: consumed_by(ABROAD),
            field: "spec.consumers[0]",
            way_out: "spec.access.crossAccount is Deny",
            near: "the tier allows it",
            kept_by: across_accounts(consumed_by(ABROAD)),
        },
        Rule {
            reason: Reason::CrossAccountNotAllowed,
            broken: "a redriver of another account",
            by: across_accounts(queue(json!({"deadLetter": {"redrivers": [{"role": ABROAD}]}}))),
            field: "spec.deadLetter.redrivers[0]",
            way_out: "within the queue's account 111122223333 only",
            near: "a redriver of this account",
            kept_by: across_accounts(queue(json!({"deadLetter": {"redrivers": [{"role": role("acme-support")}]}}))),
        },
    ]
}

fn rules_of_services() -> Vec<Rule> {
    vec![
        Rule {
            reason: Reason::ServicesNotAllowed,
            broken: "the tier forbids services",
            by: produced_by_service(topic()).with_tier(json!({"spec": {"access": {"services": "Deny"}}})),
            field: "spec.producers[0]",
            way_out: "spec.access.services is Deny",
            near: "it allows them",
            kept_by: produced_by_service(topic()),
        },
        Rule {
            reason: Reason::PrincipalNotAllowed,
            broken: "a service that the tenant does not list",
            by: produced_by_service(topic()).with_tenant(json!({"spec": {"principals": {"services": ["s3.amazonaws.com"]}}})),
            field: "spec.producers[0]",
            way_out: "not in the tenant's spec.principals.services",
            near: "it lists it",
            kept_by: produced_by_service(topic())
                .with_tenant(json!({"spec": {"principals": {"services": ["s3.amazonaws.com", "sns.amazonaws.com"]}}})),
        },
        Rule {
            reason: Reason::PrincipalNotAllowed,
            broken: "a source in an account that the tenant does not list",
            by: produced_by_service(topic()).with_tenant(json!({"spec": {"principals": {"sourceAccounts": ["999988887777"]}}})),
            field: "spec.producers[0]",
            way_out: "not in the tenant's spec.principals.sourceAccounts",
            near: "it lists it",
            kept_by: produced_by_service(topic()).with_tenant(json!({"spec": {"principals": {"sourceAccounts": ["999988887777", "111122223333"]}}})),
        },
        Rule {
            reason: Reason::PrincipalMalformed,
            broken: "a topic of another account than said",
            by: produced_by_service(with(topic(), "sourceArn", "arn:aws:sns:eu-west-1:999988887777:orders")),
            field: "spec.producers[0]",
            way_out: "but sourceAccount says 111122223333",
            near: "a bucket's ARN names no account",
            kept_by: produced_by_service(json!({"principal": "s3.amazonaws.com", "sourceArn": "arn:aws:s3:::acme", "sourceAccount": "111122223333"}))
                .with_tenant(json!({"spec": {"principals": {"services": ["s3.amazonaws.com"]}}})),
        },
        Rule {
            reason: Reason::PrincipalMalformed,
            broken: "a topic of another partition",
            by: produced_by_service(with(topic(), "sourceArn", "arn:aws-cn:sns:cn-north-1:111122223333:orders")),
            field: "spec.producers[0]",
            way_out: "of another partition",
            near: "a topic of another Region",
            kept_by: produced_by_service(with(topic(), "sourceArn", "arn:aws:sns:eu-central-1:111122223333:orders")),
        },
    ]
}

fn rules_of_the_rest() -> Vec<Rule> {
    vec![
        Rule {
            reason: Reason::OrganizationsNotAllowed,
            broken: "the tier forbids organisations",
            by: produced_by_organization("o-a1b2c3d4e5", &[]).with_tier(json!({"spec": {"access": {"organizations": "Deny"}}})),
            field: "spec.producers[0]",
            way_out: "spec.access.organizations is Deny",
            near: "it allows them",
            kept_by: produced_by_organization("o-a1b2c3d4e5", &[]),
        },
        Rule {
            reason: Reason::PrincipalNotAllowed,
            broken: "an organisation that the tenant does not list",
            by: produced_by_organization("o-zzzzzzzzzz", &[]),
            field: "spec.producers[0]",
            way_out: "not in the tenant's spec.principals.organizations",
            near: "it lists it",
            kept_by: produced_by_organization("o-a1b2c3d4e5", &[]),
        },
        Rule {
            reason: Reason::PrincipalMalformed,
            broken: "a path of another organisation",
            by: produced_by_organization("o-a1b2c3d4e5", &["o-zzzzzzzzzz/r-1/"]),
            field: "spec.producers[0]",
            way_out: "is not within o-a1b2c3d4e5",
            near: "a path of its own",
            kept_by: produced_by_organization("o-a1b2c3d4e5", &["o-a1b2c3d4e5/r-1/"]),
        },
        Rule {
            reason: Reason::ServiceAccountNotFound,
            broken: "the ServiceAccount does not exist",
            by: account_with(ServiceAccountRole::Missing),
            field: "spec.consumers[0].serviceAccount.name",
            way_out: "create it or name a role",
            near: "it has a role",
            kept_by: account_with(ServiceAccountRole::Role(role("acme-worker"))),
        },
        Rule {
            reason: Reason::ServiceAccountWithoutRole,
            broken: "the ServiceAccount has no role",
            by: account_with(ServiceAccountRole::WithoutRole),
            field: "spec.consumers[0].serviceAccount.name",
            way_out: "annotate it with eks.amazonaws.com/role-arn",
            near: "it has one",
            kept_by: account_with(ServiceAccountRole::Role(role("acme-worker"))),
        },
        Rule {
            reason: Reason::ServiceAccountWithoutRole,
            broken: "the ServiceAccount has neither annotation nor association",
            by: account_with(ServiceAccountRole::NotAssociated { cluster: "prod".to_owned() }),
            field: "spec.consumers[0].serviceAccount.name",
            way_out: "or make a Pod Identity association in EKS cluster prod",
            near: "it has an association",
            kept_by: account_with(ServiceAccountRole::Associated { role: role("acme-worker"), ignored: None }),
        },
        Rule {
            reason: Reason::PrincipalNotAllowed,
            broken: "the association's role is outside the tenant's patterns",
            by: account_with(ServiceAccountRole::Associated { role: role("other"), ignored: Some(role("acme-worker")) }),
            field: "spec.consumers[0]",
            way_out: "matches none of the tenant's spec.principals.roles",
            near: "the role of an annotation that has no effect is",
            kept_by: account_with(ServiceAccountRole::Associated { role: role("acme-worker"), ignored: Some(role("other")) }),
        },
        Rule {
            reason: Reason::PrincipalMalformed,
            broken: "the ServiceAccount's annotation is no role",
            by: account_with(ServiceAccountRole::Role("acme-worker".to_owned())),
            field: "spec.consumers[0].serviceAccount.name",
            way_out: "the role of ServiceAccount worker",
            near: "it is one",
            kept_by: account_with(ServiceAccountRole::Role(role("acme-worker"))),
        },
        Rule {
            reason: Reason::PrincipalMalformed,
            broken: "two kinds of producer in one entry",
            by: queue(json!({"producers": [{"role": role("acme-api"), "service": topic()}]})),
            field: "spec.producers[0]",
            way_out: "exactly one of role, serviceAccount, service or organization",
            near: "one entry each",
            kept_by: queue(json!({"producers": [{"role": role("acme-api")}, {"service": topic()}]})),
        },
        Rule {
            reason: Reason::PrincipalMalformed,
            broken: "a consumer of no kind",
            by: queue(json!({"consumers": [{"role": role("acme-worker")}, {}]})),
            field: "spec.consumers[1]",
            way_out: "exactly one of role or serviceAccount",
            near: "without the empty entry",
            kept_by: consumed_by(&role("acme-worker")),
        },
        Rule {
            reason: Reason::DuplicatePrincipal,
            broken: "a role twice, once by way of a ServiceAccount",
            by: queue(json!({"consumers": [{"role": role("acme-worker")}, {"serviceAccount": {"name": "worker"}}], "deadLetter": {"consumers": [{"role": role("acme-dlq")}]}}))
                .with_service_account("worker", ServiceAccountRole::Role(role("acme-worker"))),
            field: "spec.consumers[1]",
            way_out: "the same principal as spec.consumers[0]; remove one",
            near: "the same role in two lists",
            kept_by: queue(json!({"observers": [{"role": role("acme-worker")}]})),
        },
    ]
}

#[test]
fn which_roles_are_admitted() {
    hold(&rules_of_roles());
}

#[test]
fn which_services_are_admitted() {
    hold(&rules_of_services());
}

#[test]
fn which_others_are_admitted() {
    hold(&rules_of_the_rest());
}

#[test]
fn a_role_that_could_not_be_looked_up_refuses_and_keeps_what_the_rules_admit() {
    let unknown = ServiceAccountRole::Unknown { reason: Reason::AccessDenied, message: "not allowed".to_owned() };
    let refused = account_with(unknown).judged().unwrap_err();
    let said: Vec<String> = refused.violations.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["spec.consumers[0].serviceAccount.name: ServiceAccount worker: not allowed"]);
    assert!(refused.violations[0].reason == Reason::AccessDenied && refused.rules.is_some());
}

#[test]
fn an_annotation_that_has_no_effect_is_noted() {
    let both = account_with(ServiceAccountRole::Associated { role: role("acme-worker"), ignored: Some(role("acme-other")) });
    let desired = both.judged().unwrap();
    assert!(desired.notes.len() == 1 && desired.notes[0].contains(&role("acme-other")), "{:?}", desired.notes);
    assert!(!desired.access.grants.keys().any(|grant| grant.principal.to_string() == role("acme-other")));
}

#[test]
fn what_is_wrong_with_a_consumer_is_said_once_although_it_also_reads_dead_letters() {
    let found = violations(&consumed_by(&role("stranger")));
    assert_eq!(found.len(), 1, "{found:?}");
}
