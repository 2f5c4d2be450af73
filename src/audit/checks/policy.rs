//! What is asked of a policy alike, whether a queue's or a key's.

use std::collections::BTreeSet;

use crate::audit::inventory::PolicyFacts;
use crate::audit::statements::{Who, allows, excludes, is_pinned, like, pins, principals};
use crate::policy::access::{Grant, Principal};
use crate::policy::document::{Document, Statement};
use crate::policy::read_back::{is_deleted, name, shown};

/// Elements that the parser keeps without understanding them.
fn not_understood(document: &Document) -> Vec<String> {
    let strange = |statement: &Statement| {
        let elements: Vec<String> = statement
            .other
            .keys()
            .filter(|element| !matches!(element.as_str(), "NotPrincipal" | "NotAction" | "NotResource"))
            .map(|element| shown(element))
            .collect();
        (!elements.is_empty()).then(|| format!("{}: {} is not understood", name(statement), elements.join(", ")))
    };
    document.statements.iter().filter_map(strange).collect()
}

pub(super) fn unreadable(policy: &PolicyFacts) -> Vec<String> {
    match policy {
        PolicyFacts::Malformed(why) => vec![shown(why)],
        PolicyFacts::Document(document) => not_understood(document),
        PolicyFacts::Absent | PolicyFacts::Unknown => Vec::new(),
    }
}

/// A line for each Allow statement of which something is told. One without actions or resources says nothing.
pub(super) fn of_allows(policy: &PolicyFacts, tell: impl Fn(&Statement) -> Option<String>) -> Vec<String> {
    let statements = policy.document().into_iter().flat_map(allows);
    statements.filter_map(|statement| Some(format!("{}: {}", name(statement), tell(statement)?))).collect()
}

pub(super) fn public(policy: &PolicyFacts) -> Vec<String> {
    of_allows(policy, |statement| {
        let open = principals(statement).contains(&Who::Anyone) && !is_pinned(statement);
        open.then(|| format!("everyone may {}", actions(statement)))
    })
}

pub(super) fn by_exclusion(policy: &PolicyFacts) -> Vec<String> {
    of_allows(policy, |statement| excludes(statement).then(|| "allows by NotPrincipal or NotAction".to_owned()))
}

/// The actions of a statement, for people.
pub(super) fn actions(statement: &Statement) -> String {
    let names: Vec<&str> = statement.actions.iter().map(String::as_str).collect();
    if names.is_empty() { "do all but what it lists".to_owned() } else { super::encryption::list(&names) }
}

/// Principals of other accounts, and organisations, that nobody declared.
pub(super) fn strangers<'a>(statement: &'a Statement, own: &str, declared: &BTreeSet<Principal>) -> Vec<String> {
    let known =
        |who: &Who<'_>| declared.iter().any(|principal| matches!((principal, who), (Principal::Role(role), Who::Aws(arn)) if role.as_str() == *arn));
    let other = |who: &Who<'a>| who.account().is_some_and(|account| account != own) && !known(who);
    let mut strangers: Vec<String> = principals(statement).into_iter().filter(other).map(Who::text).collect();
    let organisations = declared.iter().any(|principal| matches!(principal, Principal::Organization(_)));
    if principals(statement).contains(&Who::Anyone) && is_pinned(statement) && !organisations && reaches_others(statement, own) {
        strangers.push(format!("everyone with {}", pins(statement)));
    }
    strangers
}

/// Whether what pins a statement lies outside the account; sources are what services act for, and judged as such.
fn reaches_others(statement: &Statement, own: &str) -> bool {
    let inside = ["aws:PrincipalAccount", "kms:CallerAccount", "aws:PrincipalArn", "aws:SourceAccount", "aws:SourceOwner", "aws:SourceArn"]
        .iter()
        .any(|key| {
            let values = statement.condition_values(key);
            !values.is_empty() && values.iter().all(|value| value == own || value.split(':').nth(4) == Some(own))
        });
    let buckets = statement.condition_values("aws:SourceArn");
    !inside && (buckets.is_empty() || !buckets.iter().all(|arn| like("arn:*:s3:::*", arn)))
}

pub(super) fn declared_principals<'a>(grants: impl IntoIterator<Item = &'a Grant>) -> BTreeSet<Principal> {
    grants.into_iter().map(|grant| grant.principal.clone()).collect()
}

/// Ids of deleted principals that a policy names.
pub(super) fn deleted(policy: &PolicyFacts) -> Vec<String> {
    let statements = policy.document().into_iter().flat_map(|document| &document.statements);
    let ids = statements.flat_map(|statement| principals(statement).into_iter().map(move |who| (statement, who)));
    let told = ids
        .filter_map(|(statement, who)| if let Who::Aws(id) = who { is_deleted(id).then(|| format!("{} names {id}", name(statement))) } else { None });
    told.collect()
}
