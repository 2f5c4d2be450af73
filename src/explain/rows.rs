//! Rendered policies → who can do what: each Allow statement is read back alone, so that every permission knows its statement.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{OrganizationReport, Permission, PermissionReport, PolicyKind, PrincipalKind, PrincipalReport, StatementReference};
use crate::names::{Partition, Place, QueueArn};
use crate::policy::access::{Grant, OrganizationRoles, Principal, QueueAccess, ServiceSource};
use crate::policy::document::{Document, Effect, Principals, Statement};
use crate::policy::key_policy::Administration;
use crate::policy::queue_policy::QueueKind;
use crate::policy::read_back::{read_key_policy, read_queue_policy};

/// The policies that concern one queue.
pub(super) struct Policies<'a> {
    pub(super) place: &'a Place,
    pub(super) access: &'a QueueAccess,
    pub(super) queue: Document,
    pub(super) dead_letter_queue: Option<Document>,
    pub(super) key: Document,
    /// The queues that use the key, each with its dead-letter queue.
    pub(super) users: BTreeMap<QueueArn, Option<QueueArn>>,
    /// Grants that wait for an approval, as status has them.
    pub(super) pending: BTreeSet<String>,
}

impl Policies<'_> {
    /// Every policy with its kind.
    pub(super) fn all(&self) -> impl Iterator<Item = (PolicyKind, &Document)> {
        let dead_letters = self.dead_letter_queue.iter().map(|document| (PolicyKind::DeadLetterQueue, document));
        std::iter::once((PolicyKind::Queue, &self.queue)).chain(dead_letters).chain(std::iter::once((PolicyKind::Key, &self.key)))
    }

    /// Every statement with its policy.
    pub(super) fn statements(&self) -> impl Iterator<Item = (PolicyKind, &Statement)> {
        self.all().flat_map(|(kind, document)| document.statements.iter().map(move |statement| (kind, statement)))
    }

    /// The grants that one statement makes on this queue.
    pub(super) fn grants(&self, kind: PolicyKind, statement: &Statement) -> Vec<Grant> {
        let alone = Document::new(None, vec![statement.clone()]);
        let of_queue = |kind, queue| read_queue_policy(&alone, kind, queue, self.place).grants.into_iter().collect();
        match (kind, &self.access.dead_letter_queue) {
            (PolicyKind::Queue, _) => of_queue(QueueKind::Source, &self.access.queue),
            (PolicyKind::DeadLetterQueue, Some(queue)) => of_queue(QueueKind::DeadLetter, queue),
            (PolicyKind::DeadLetterQueue, None) => Vec::new(),
            (PolicyKind::Key, _) => {
                let mut grants = read_key_policy(&alone, self.place, &self.users).grants;
                grants.remove(&self.access.queue).unwrap_or_default().into_iter().collect()
            }
        }
    }

    /// The users of the queue, in the order of their declaration.
    pub(super) fn users(&self) -> Vec<PrincipalReport> {
        let mut rows: BTreeMap<Principal, Vec<PermissionReport>> = BTreeMap::new();
        for (kind, statement) in self.statements() {
            for grant in self.grants(kind, statement) {
                let field = self.access.grants.get(&grant);
                let awaits_approval = self.pending.contains(&grant.to_string());
                let permissions = rows.entry(grant.principal).or_default();
                for (permission, action) in PERMISSIONS.iter().filter(|(of, ..)| *of == kind).map(|(_, action, permission)| (*permission, *action)) {
                    if statement.actions.contains(action) {
                        let denied_by = self.denied_by(kind, action);
                        add(
                            permissions,
                            PermissionReport {
                                permission,
                                allowed_by: vec![reference(kind, statement)],
                                denied_by,
                                condition: condition(statement).map(str::to_owned),
                                declared_by: field.cloned().into_iter().collect(),
                                awaits_approval,
                            },
                        );
                    }
                }
            }
        }
        let mut rows: Vec<_> = rows.into_iter().collect();
        rows.sort_by_key(|(principal, _)| self.declared_at(principal));
        rows.into_iter().map(|(principal, permissions)| principal_report(principal, permissions, self.place.partition)).collect()
    }

    /// Where a principal is declared first: by list, then by place in it.
    fn declared_at(&self, principal: &Principal) -> Option<(crate::policy::access::Capability, usize)> {
        let index = |field: &str| field.rsplit_once('[').and_then(|(_, rest)| rest.strip_suffix(']')?.parse().ok()).unwrap_or(usize::MAX);
        let own = self.access.grants.iter().filter(|(grant, _)| grant.principal == *principal);
        own.map(|(grant, field)| (grant.capability, index(field))).min()
    }

    /// Statements that deny an action to everyone.
    fn denied_by(&self, policy: PolicyKind, action: &str) -> Vec<StatementReference> {
        let covers = |pattern: &String| pattern.strip_suffix('*').map_or(pattern == action, |prefix| action.starts_with(prefix));
        let denies = |statement: &Statement| {
            statement.effect == Effect::Deny
                && statement.principals == Principals::Anyone
                && statement.conditions.is_empty()
                && statement.actions.iter().any(covers)
        };
        self.statements()
            .filter(|(kind, statement)| *kind == policy && denies(statement))
            .map(|(kind, statement)| reference(kind, statement))
            .collect()
    }
}

/// Who administers the key, and by which statement. Where it is declared is not in the policy.
pub(super) fn administrators(key: &Document, place: &Place) -> Vec<(Administration, String, PrincipalReport)> {
    let mut rows = Vec::new();
    for statement in key.statements.iter().filter(|statement| statement.effect == Effect::Allow) {
        let alone = Document::new(None, vec![statement.clone()]);
        for (administration, arns) in read_key_policy(&alone, place, &BTreeMap::new()).administration {
            let puts_policy = statement.actions.contains("kms:PutKeyPolicy").then_some(Permission::ChangeKeyPolicy);
            let permission = |permission| PermissionReport {
                permission,
                allowed_by: vec![reference(PolicyKind::Key, statement)],
                denied_by: Vec::new(),
                condition: condition(statement).map(str::to_owned),
                declared_by: Vec::new(),
                awaits_approval: false,
            };
            let permissions: Vec<_> = std::iter::once(Permission::Administer).chain(puts_policy).map(permission).collect();
            let kind = match administration {
                Administration::Operator => PrincipalKind::Operator,
                Administration::Root => PrincipalKind::AccountRoot,
                Administration::KeyAdministrators => PrincipalKind::KeyAdministrator,
                Administration::BreakGlass => PrincipalKind::BreakGlassAdministrator,
            };
            rows.extend(arns.into_iter().map(|arn| {
                let report = PrincipalReport { permissions: permissions.clone(), ..bare(kind, Some(arn.clone())) };
                (administration, arn, report)
            }));
        }
    }
    rows
}

/// Which action in which policy means which permission.
const PERMISSIONS: [(PolicyKind, &str, Permission); 7] = [
    (PolicyKind::Queue, "sqs:SendMessage", Permission::Send),
    (PolicyKind::Queue, "sqs:ReceiveMessage", Permission::Receive),
    (PolicyKind::Queue, "sqs:GetQueueAttributes", Permission::ReadAttributes),
    (PolicyKind::DeadLetterQueue, "sqs:ReceiveMessage", Permission::ReceiveDeadLetters),
    (PolicyKind::DeadLetterQueue, "sqs:StartMessageMoveTask", Permission::Redrive),
    (PolicyKind::DeadLetterQueue, "sqs:GetQueueAttributes", Permission::ReadAttributes),
    (PolicyKind::Key, "kms:Decrypt", Permission::Decrypt),
];

pub(super) fn reference(policy: PolicyKind, statement: &Statement) -> StatementReference {
    StatementReference { policy, sid: statement.sid.clone().unwrap_or_default() }
}

/// Adds a permission, or what is new about one that is there.
fn add(permissions: &mut Vec<PermissionReport>, new: PermissionReport) {
    let Some(known) = permissions.iter_mut().find(|known| known.permission == new.permission) else {
        permissions.push(new);
        permissions.sort_by_key(|known| known.permission);
        return;
    };
    union(&mut known.allowed_by, new.allowed_by);
    union(&mut known.denied_by, new.denied_by);
    union(&mut known.declared_by, new.declared_by);
    // What another statement allows need not wait.
    known.awaits_approval &= new.awaits_approval;
    // Any statement without a condition is enough.
    if known.condition != new.condition {
        known.condition = known.condition.take().zip(new.condition).map(|(known, new)| format!("{known} or {new}"));
    }
}

fn union<T: PartialEq>(known: &mut Vec<T>, new: Vec<T>) {
    for item in new {
        if !known.contains(&item) {
            known.push(item);
        }
    }
}

/// The condition of an Allow statement in a word or two.
fn condition(statement: &Statement) -> Option<&'static str> {
    let has = |operators: &[&str], key: &str| {
        operators.iter().any(|operator| statement.conditions.get(*operator).is_some_and(|keys| keys.contains_key(key)))
    };
    if has(&["StringEquals"], "kms:ViaService") {
        Some("via SQS")
    } else if has(&["ArnEquals", "ArnLike"], "aws:SourceArn") {
        Some("source")
    } else if has(&["StringEquals"], "aws:SourceAccount") {
        Some("account")
    } else if has(&["StringEquals"], "aws:PrincipalOrgID") {
        Some("in org")
    } else {
        (!statement.conditions.is_empty()).then_some("any source")
    }
}

fn bare(kind: PrincipalKind, principal: Option<String>) -> PrincipalReport {
    PrincipalReport { kind, principal, source_arn: None, source_account: None, organization: None, permissions: Vec::new() }
}

fn principal_report(principal: Principal, permissions: Vec<PermissionReport>, partition: Partition) -> PrincipalReport {
    match principal {
        Principal::Role(role) => PrincipalReport { permissions, ..bare(PrincipalKind::Role, Some(role.to_string())) },
        Principal::Service(ServiceSource { service, source_arn, source_account, key_condition: _ }) => PrincipalReport {
            source_arn: Some(source_arn),
            source_account: Some(source_account),
            permissions,
            ..bare(PrincipalKind::Service, Some(service.as_str().to_owned()))
        },
        Principal::Organization(OrganizationRoles { id, paths, role_name }) => PrincipalReport {
            organization: Some(OrganizationReport { id, paths: paths.into_iter().collect() }),
            permissions,
            ..bare(PrincipalKind::Organization, Some(format!("arn:{partition}:iam::*:role/{role_name}")))
        },
    }
}
