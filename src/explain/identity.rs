//! What IAM in other accounts must allow: across accounts a queue's or key's policy alone is not enough.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{IdentityPolicyReport, PolicyKind};
use super::rows::Policies;
use crate::policy::access::Principal;
use crate::policy::document::{Document, Effect, Principals, Statement, Values};

/// One policy for each role of another account, and for the roles of each organisation.
pub(super) fn identity_policies(policies: &Policies<'_>, key_arn: &str) -> Vec<IdentityPolicyReport> {
    let mut actions: BTreeMap<String, BTreeMap<(PolicyKind, String), Values>> = BTreeMap::new();
    for (kind, statement) in policies.statements() {
        let roles: BTreeSet<String> = policies.grants(kind, statement).into_iter().filter_map(|grant| foreign(policies, grant.principal)).collect();
        for role in roles {
            let resources = statement.resources.iter().map(|resource| if kind == PolicyKind::Key { key_arn } else { resource });
            let entries = actions.entry(role).or_default();
            for resource in resources {
                entries.entry((kind, resource.to_owned())).or_default().extend(statement.actions.iter().cloned());
            }
        }
    }
    actions
        .into_iter()
        .map(|(role, entries)| IdentityPolicyReport { role, policy: Document::new(None, entries.into_iter().map(allow).collect()) })
        .collect()
}

fn foreign(policies: &Policies<'_>, principal: Principal) -> Option<String> {
    match principal {
        Principal::Role(role) => (role.account() != policies.place.account).then(|| role.to_string()),
        Principal::Organization(roles) => Some(format!("arn:{}:iam::*:role/{}", policies.place.partition, roles.role_name)),
        Principal::Service(_) => None,
    }
}

fn allow(((kind, resource), actions): ((PolicyKind, String), Values)) -> Statement {
    let sid = match kind {
        PolicyKind::Queue => "Queue",
        PolicyKind::DeadLetterQueue => "DeadLetterQueue",
        PolicyKind::Key => "Key",
    };
    let actions: Vec<&str> = actions.iter().map(String::as_str).collect();
    Statement::new(sid, Effect::Allow, Principals::Absent, &actions, &resource)
}
