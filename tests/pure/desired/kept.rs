//! What stays of applied grants when a rule is tightened.

use encrypted_queue::desired::PrincipalRules;
use encrypted_queue::policy::access::Grant;
use serde_json::{Value, json};

use crate::declare::{Declared, declared, operator, role};

fn rules(declared: &Declared) -> PrincipalRules {
    let (tenant, tier) = (declared.tenant.as_ref().unwrap(), declared.tier.as_ref().unwrap());
    PrincipalRules::new(&tenant.spec, &tier.spec, encrypted_queue::names::Partition::Aws, Some(&operator()))
}

/// Everyone who can be declared.
fn everyone() -> Declared {
    declared().with_tier(json!({"spec": {"access": {"crossAccount": "Allow", "organizations": "Allow"}}})).with_queue(json!({"spec": {
        "producers": [
            {"role": role("acme-api")},
            {"service": {"principal": "sns.amazonaws.com", "sourceArn": "arn:aws:sns:eu-west-1:111122223333:t", "sourceAccount": "111122223333"}},
            {"organization": {"id": "o-a1b2c3d4e5", "roleName": "shipper"}}
        ],
        "consumers": [{"role": role("acme-worker")}, {"role": "arn:aws:iam::999988887777:role/acme-partner"}]
    }}))
}

#[test]
fn each_tightened_rule_takes_its_grants_and_no_others() {
    let tenant = |patch: Value| everyone().with_tenant(json!({"spec": patch}));
    let access = |patch: Value| everyone().with_tier(json!({"spec": {"access": patch}}));
    let cases = [
        ("nothing", everyone(), vec![]),
        ("a role's pattern", tenant(json!({"principals": {"roles": [role("acme-a*"), "arn:aws:iam::999988887777:role/*"]}})), vec!["acme-worker"]),
        ("other accounts", access(json!({"crossAccount": "Deny"})), vec!["acme-partner"]),
        ("services", access(json!({"services": "Deny"})), vec!["sns"]),
        ("one service", tenant(json!({"principals": {"services": []}})), vec!["sns"]),
        ("source accounts", tenant(json!({"principals": {"sourceAccounts": []}})), vec!["sns"]),
        ("organisations", access(json!({"organizations": "Deny"})), vec!["shipper"]),
        ("one organisation", tenant(json!({"principals": {"organizations": []}})), vec!["shipper"]),
        ("a new administrator", tenant(json!({"keyAdministrators": [role("acme-api")]})), vec!["acme-api"]),
    ];
    let grants: Vec<Grant> = everyone().judged().unwrap().access.grants.into_keys().collect();
    for (case, tightened, lost) in cases {
        let refused: Vec<String> =
            grants.iter().filter(|grant| rules(&tightened).check(grant).is_err()).map(|grant| grant.principal.to_string()).collect();
        assert!(refused.iter().all(|principal| lost.iter().any(|name| principal.contains(name))), "{case}: {refused:?}");
        assert!(lost.iter().all(|name| refused.iter().any(|principal| principal.contains(name))), "{case}: {refused:?}");
    }
}
