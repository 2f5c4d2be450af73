//! The policies of a queue and of its dead-letter queue.
//!
//! With `others: Deny` they also deny, for each part of the data plane, everyone but the declared, since IAM policies of the account add to what a queue
//! policy allows. Management (attributes, policy, tags, deletion) is never denied: a queue must not lock its operator out.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::sensitivity_tier::Others;
use crate::names::{Place, RoleArn};

use super::access::{Capability, Principal, QueueAccess};
use super::document::{Document, Effect, Principals, Statement, Values};
use super::grantees::{
    Grantees, PRINCIPAL_ARN, PRINCIPAL_ORGANIZATION, PRINCIPAL_PATHS, arn_operator, capability_label, group, role_pattern, short_hash,
};

/// Which of the two queues a policy belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum QueueKind {
    /// The queue itself, the source of dead letters.
    Source,
    /// Its dead-letter queue.
    DeadLetter,
}

/// An explicit Deny that the operator writes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Denial {
    /// Calls without TLS.
    InsecureTransport,
    /// Sending by others than the declared; nobody sends to a dead-letter queue (SQS moves messages there without asking its policy).
    OthersSend,
    /// Sending by roles of a declared name outside the declared organisation.
    OutsideOrganization,
    /// Receiving, deleting, changing visibility and purging by others than the declared.
    OthersReceive,
    /// Moving dead letters back by others than the declared.
    OthersRedrive,
    /// All of the data plane, or of the cryptography, while the tenant is suspended.
    Suspended,
    /// Creating grants on the key.
    Grants,
}

impl Denial {
    /// The denial that a Sid names.
    pub(super) fn of_sid(sid: &str) -> Option<Self> {
        Some(match sid {
            "DenyInsecureTransport" => Self::InsecureTransport,
            "DenyOthersSend" => Self::OthersSend,
            "DenyOthersReceive" => Self::OthersReceive,
            "DenyOthersRedrive" => Self::OthersRedrive,
            "DenySuspended" => Self::Suspended,
            "DenyGrants" => Self::Grants,
            outside if outside.starts_with("DenyOutsideOrganization") => Self::OutsideOrganization,
            _ => return None,
        })
    }
}

const OBSERVE: [&str; 2] = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl"];
const SEND: [&str; 3] = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"];
const SERVICE_SEND: [&str; 1] = ["sqs:SendMessage"];
const RECEIVE: [&str; 5] = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage"];
const REDRIVE: [&str; 7] = [
    "sqs:CancelMessageMoveTask",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ListMessageMoveTasks",
    "sqs:ReceiveMessage",
    "sqs:StartMessageMoveTask",
];
const DENY_RECEIVE: [&str; 4] = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:PurgeQueue", "sqs:ReceiveMessage"];
const DENY_REDRIVE: [&str; 2] = ["sqs:CancelMessageMoveTask", "sqs:StartMessageMoveTask"];
const DATA_PLANE: [&str; 7] = [
    "sqs:CancelMessageMoveTask",
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:PurgeQueue",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
    "sqs:StartMessageMoveTask",
];

/// SQS actions of a capability on one of the two queues. A batch call needs the permission of the single one.
pub(super) const fn actions(capability: Capability, grantees: &Grantees, kind: QueueKind) -> &'static [&'static str] {
    match (capability, kind) {
        (Capability::Send, QueueKind::Source) if matches!(grantees, Grantees::Service { .. }) => &SERVICE_SEND,
        // Moving back runs with the caller's rights: it takes from the dead-letter queue and sends to the source.
        (Capability::Send | Capability::Redrive, QueueKind::Source) => &SEND,
        (Capability::Receive, QueueKind::Source) | (Capability::ReceiveDeadLetters, QueueKind::DeadLetter) => &RECEIVE,
        (Capability::Redrive, QueueKind::DeadLetter) => &REDRIVE,
        (Capability::Observe, _) => &OBSERVE,
        (Capability::ReceiveDeadLetters, QueueKind::Source) | (Capability::Send | Capability::Receive, QueueKind::DeadLetter) => &[],
    }
}

/// Effective grants by capability and statement.
type Groups = [(Capability, Grantees)];

/// Renders the queue's policy.
pub fn render_queue(access: &QueueAccess, place: &Place) -> Document {
    render(access, QueueKind::Source, access.queue.as_str(), place)
}

/// Renders the dead-letter queue's policy, if there is such a queue.
pub fn render_dead_letter(access: &QueueAccess, place: &Place) -> Option<Document> {
    access.dead_letter_queue.as_ref().map(|queue| render(access, QueueKind::DeadLetter, queue.as_str(), place))
}

/// Renders one of the two policies.
pub(super) fn render(access: &QueueAccess, kind: QueueKind, queue: &str, place: &Place) -> Document {
    let groups = group(access);
    let allows = groups.iter().filter_map(|(capability, grantees)| {
        let actions = actions(*capability, grantees, kind);
        let sid = format!("{}{}", capability_label(*capability), grantees.label());
        (!actions.is_empty()).then(|| grantees.queue_statement(sid, actions, queue, place.partition))
    });
    let others = if access.others == Others::Deny { deny_others(access, &groups, kind, queue, place) } else { Vec::new() };
    let suspended = access.suspended.then(|| deny("DenySuspended", &DATA_PLANE, queue));
    Document::new(None, std::iter::once(deny_insecure_transport(queue)).chain(allows).chain(others).chain(suspended).collect())
}

fn deny(sid: impl Into<String>, actions: &[&str], queue: &str) -> Statement {
    Statement::new(sid, Effect::Deny, Principals::Anyone, actions, queue)
}

fn deny_insecure_transport(queue: &str) -> Statement {
    deny("DenyInsecureTransport", &["sqs:*"], queue).when("Bool", "aws:SecureTransport", ["false"])
}

/// Denies everyone but these. `aws:PrincipalArn` is the role's ARN, path included, whatever the session; a negated operator holds when the key is
/// absent, so anonymous callers are denied too. So would services be, which have no such ARN: they are left to the Allow statements, since IAM policies
/// add nothing for a service.
fn deny_all_but(sid: &str, actions: &[&str], queue: &str, principals: Values) -> Statement {
    except(deny(sid, actions, queue), principals).when("BoolIfExists", "aws:PrincipalIsAWSService", ["false"])
}

fn except(statement: Statement, principals: Values) -> Statement {
    if principals.is_empty() {
        return statement;
    }
    let operator = arn_operator(&principals, "ArnNotEquals", "ArnNotLike");
    statement.when(operator, PRINCIPAL_ARN, principals)
}

fn deny_others(access: &QueueAccess, groups: &Groups, kind: QueueKind, queue: &str, place: &Place) -> Vec<Statement> {
    use Capability::{Receive, ReceiveDeadLetters, Redrive};
    let arns = |capabilities: &[Capability]| roles(groups, capabilities).map(ToString::to_string).collect::<Values>();
    let (send, outside, receive, redrive) = match kind {
        QueueKind::Source => {
            (senders(access, groups, place), deny_outside_organization(access, groups, queue, place), arns(&[Receive]), Values::new())
        }
        QueueKind::DeadLetter => (Values::new(), Vec::new(), arns(&[ReceiveDeadLetters, Redrive]), arns(&[Redrive])),
    };
    let mut statements = vec![deny_all_but("DenyOthersSend", &SERVICE_SEND, queue, send)];
    statements.extend(outside);
    statements.push(deny_all_but("DenyOthersReceive", &DENY_RECEIVE, queue, receive));
    statements.push(deny_all_but("DenyOthersRedrive", &DENY_REDRIVE, queue, redrive));
    statements
}

/// Roles with one of these capabilities, as far as there is a queue for it.
fn roles<'a>(groups: &'a Groups, capabilities: &[Capability]) -> impl Iterator<Item = &'a RoleArn> {
    let wanted = groups.iter().filter(|(capability, _)| capabilities.contains(capability));
    wanted.filter_map(|(_, grantees)| if let Grantees::Roles(roles) = grantees { Some(roles) } else { None }).flatten()
}

/// Organisation and paths allowed for each role name.
fn organizations(access: &QueueAccess) -> BTreeMap<&str, BTreeSet<(&str, &BTreeSet<String>)>> {
    let mut by_name: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for grant in access.grants.keys().filter(|grant| grant.capability == Capability::Send) {
        if let Principal::Organization(roles) = &grant.principal {
            by_name.entry(roles.role_name.as_str()).or_default().insert((roles.id.as_str(), &roles.paths));
        }
    }
    by_name
}

/// Who may send: roles by ARN, and organisations' roles by name, wherever they are.
fn senders(access: &QueueAccess, groups: &Groups, place: &Place) -> Values {
    let roles = roles(groups, &[Capability::Send, Capability::Redrive]).map(ToString::to_string);
    roles.chain(organizations(access).into_keys().map(|name| role_pattern(place.partition, name))).collect()
}

/// A role of a declared name outside the organisation, or outside its paths, is not denied by `DenyOthersSend`, whose exception knows names only,
/// and IAM policies of the queue's account may allow it. One statement for all names with the same organisations.
fn deny_outside_organization(access: &QueueAccess, groups: &Groups, queue: &str, place: &Place) -> Vec<Statement> {
    let mut names: BTreeMap<_, BTreeSet<&str>> = BTreeMap::new();
    for (name, organizations) in organizations(access) {
        names.entry(organizations).or_default().insert(name);
    }
    let by_arn: BTreeSet<&RoleArn> = roles(groups, &[Capability::Send, Capability::Redrive]).collect();
    let statement = |(organizations, names): (BTreeSet<(&str, &BTreeSet<String>)>, BTreeSet<&str>)| {
        let patterns: Values = names.iter().map(|name| role_pattern(place.partition, name)).collect();
        let sid = format!("DenyOutsideOrganization{}", short_hash(names.iter().copied()));
        let statement = deny(sid, &SERVICE_SEND, queue).when("ArnLike", PRINCIPAL_ARN, patterns);
        // Roles granted by name stay allowed wherever they are.
        let namesakes = by_arn.iter().filter(|role| names.contains(role.path_and_name())).map(ToString::to_string).collect();
        let statement = except(statement, namesakes);
        if organizations.iter().all(|(_, paths)| paths.is_empty()) {
            return statement.when("StringNotEquals", PRINCIPAL_ORGANIZATION, organizations.iter().map(|(id, _)| *id));
        }
        // Paths begin with their organisation's id. ForAllValues holds when the key is absent: outside any organisation is denied. A path of another
        // organisation is no exception: the Allow asks for the id as well.
        let paths = organizations.iter().flat_map(|(id, paths)| {
            let own = format!("{id}/");
            let whole = paths.is_empty().then(|| format!("{own}*"));
            whole.into_iter().chain(paths.iter().filter(move |path| path.starts_with(&own)).cloned())
        });
        let paths: Values = paths.collect();
        if paths.is_empty() { statement } else { statement.when("ForAllValues:StringNotLike", PRINCIPAL_PATHS, paths) }
    };
    names.into_iter().map(statement).collect()
}
