//! Observed policies read back into grants, so that what AWS holds can be compared with what is declared.
//!
//! A statement counts as ours if its Sid names a capability and its principals, resource and conditions are exactly those that would be rendered for the
//! grants it seems to make. Every other Allow, and every action beyond the capability's, is foreign: one line for people each.
//!
//! What a policy can show: the queue's Send, Receive, Redrive and Observe; the dead-letter queue's ReceiveDeadLetters, Redrive and Observe; the key's all
//! but Observe, which needs no key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::api::sensitivity_tier::Others;
use crate::names::{Place, QueueArn, RoleArn};

use super::access::{Capability, Grant, Principal, QueueAccess};
use super::document::{Document, Effect, Principals, Statement, Values};
use super::equivalence::{NormalStatement, normal_form};
use super::grantees::{Grantees, QUEUE_CONTEXT, capability_of_sid};
use super::key_policy::{self, Administration};
use super::queue_policy::{self, Denial, QueueKind};

/// At most this many foreign lines; the rest are counted.
const MAXIMUM_LINES: usize = 50;

/// What the policy of a queue, or of its dead-letter queue, says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ReadBack {
    /// The grants it makes.
    pub grants: BTreeSet<Grant>,
    /// What it allows beyond any grant, a line each.
    pub foreign: Vec<String>,
    /// Denials that stand as they would be rendered for these grants.
    pub denied: BTreeSet<Denial>,
    /// Ids (`AROA…`, `AIDA…`) that AWS shows in place of a principal that was deleted.
    pub deleted_principals: BTreeSet<String>,
}

/// What the policy of a key says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyReadBack {
    /// The grants it makes through each queue.
    pub grants: BTreeMap<QueueArn, BTreeSet<Grant>>,
    /// Who administers the key: ARNs.
    pub administration: BTreeMap<Administration, BTreeSet<String>>,
    /// What it allows beyond, a line each.
    pub foreign: Vec<String>,
    /// Denials that stand as they would be rendered: `Grants`, `Suspended`.
    pub denied: BTreeSet<Denial>,
    /// Ids (`AROA…`, `AIDA…`) that AWS shows in place of a principal that was deleted.
    pub deleted_principals: BTreeSet<String>,
}

/// Reads the policy of a queue or, with [`QueueKind::DeadLetter`], of a dead-letter queue.
pub fn read_queue_policy(document: &Document, kind: QueueKind, queue: &QueueArn, place: &Place) -> ReadBack {
    let mut reader = Reader::default();
    let mut grants = BTreeSet::new();
    for statement in allows(document) {
        let read = reader.uses(statement, place, |capability, grantees, sid| {
            let actions = queue_policy::actions(capability, grantees, kind);
            (!actions.is_empty()).then(|| grantees.queue_statement(sid, actions, queue.as_str(), place.partition))
        });
        grants.extend(read);
    }
    // Denials depend on the grants alone; the dead-letter queue need only be there.
    let access = QueueAccess {
        queue: queue.clone(),
        dead_letter_queue: Some(queue.clone()),
        grants: grants.iter().map(|grant| (grant.clone(), String::new())).collect(),
        others: Others::Deny,
        suspended: true,
    };
    let rendered = queue_policy::render(&access, kind, queue.as_str(), place);
    let denied = intact(document, rendered.statements.iter().filter(|statement| statement.effect == Effect::Deny));
    ReadBack { grants, foreign: bounded(reader.foreign), denied, deleted_principals: reader.deleted }
}

/// Reads a key's policy. `queues` are the queues that use the key, each with its dead-letter queue: use through any other is foreign.
pub fn read_key_policy(document: &Document, place: &Place, queues: &BTreeMap<QueueArn, Option<QueueArn>>) -> KeyReadBack {
    let mut reader = Reader::default();
    let mut read = KeyReadBack::default();
    for statement in allows(document) {
        if let Some(kind) = Administration::ALL.into_iter().find(|kind| statement.sid.as_deref() == Some(kind.sid())) {
            read.administration.entry(kind).or_default().extend(reader.administration(statement, kind, place));
            continue;
        }
        let contexts = statement.condition_values(QUEUE_CONTEXT);
        let through: Vec<_> = queues.iter().filter(|(queue, _)| contexts.contains(queue.as_str())).collect();
        let grants = reader.uses(statement, place, |capability, grantees, sid| {
            let actions = key_policy::actions(capability);
            (!actions.is_empty()).then(|| grantees.key_statement(sid, actions, &contexts, place))
        });
        if grants.is_empty() {
            continue;
        }
        let known = |arn: &str| through.iter().any(|(queue, dead)| queue.as_str() == arn || dead.as_ref().is_some_and(|dead| dead.as_str() == arn));
        for stranger in contexts.iter().filter(|arn| !known(arn)) {
            reader.foreign.push(format!("{}: also through {}, not a queue of this key", name(statement), shown(stranger)));
        }
        for (queue, _) in through {
            read.grants.entry(queue.clone()).or_default().extend(grants.iter().cloned());
        }
    }
    read.denied = intact(document, &[key_policy::deny_grants(), key_policy::deny_suspended()]);
    KeyReadBack { foreign: bounded(reader.foreign), deleted_principals: reader.deleted, ..read }
}

/// Queues, dead-letter ones among them, through which statements of a key's policy that bear one of our Sids admit someone.
pub fn queues_named(document: &Document) -> BTreeSet<QueueArn> {
    let ours = allows(document).filter(|statement| statement.sid.as_deref().is_some_and(|sid| capability_of_sid(sid).is_some()));
    ours.flat_map(|statement| statement.condition_values(QUEUE_CONTEXT)).filter_map(|arn| QueueArn::parse(&arn).ok()).collect()
}

fn allows(document: &Document) -> impl Iterator<Item = &Statement> {
    document.statements.iter().filter(|statement| statement.effect == Effect::Allow)
}

/// A denial of several statements stands if all of them do.
fn intact<'a>(document: &Document, expected: impl IntoIterator<Item = &'a Statement>) -> BTreeSet<Denial> {
    let normal = normal_form(document);
    let mut denials: BTreeMap<Denial, bool> = BTreeMap::new();
    for statement in expected {
        if let Some(denial) = statement.sid.as_deref().and_then(Denial::of_sid) {
            *denials.entry(denial).or_insert(true) &= normal.contains(statement);
        }
    }
    denials.into_iter().filter_map(|(denial, stands)| stands.then_some(denial)).collect()
}

#[derive(Default)]
struct Reader {
    foreign: Vec<String>,
    deleted: BTreeSet<String>,
}

impl Reader {
    /// The grants an Allow statement makes; `expected` renders the statement for what was understood.
    fn uses(
        &mut self,
        statement: &Statement,
        place: &Place,
        expected: impl Fn(Capability, &Grantees, String) -> Option<Statement>,
    ) -> BTreeSet<Grant> {
        let understood = || {
            let sid = statement.sid.as_deref()?;
            let (capability, label) = capability_of_sid(sid)?;
            let grantees = Grantees::read(label, statement, place.partition)?;
            let expected = expected(capability, &grantees, sid.to_owned())?;
            let extra = beyond(statement, &expected, matches!(grantees, Grantees::Roles(_)))?;
            Some((capability, grantees, extra))
        };
        let Some((capability, grantees, extra)) = understood() else {
            self.foreign.push(describe(statement));
            return BTreeSet::new();
        };
        self.extra(statement, &extra);
        let principals = match grantees {
            Grantees::Roles(_) => self.roles(statement, &capability.to_string()).into_iter().map(Principal::Role).collect(),
            other => other.principals(),
        };
        let grants = principals.into_iter().map(|principal| Grant { principal, capability });
        // A service with a Receive statement would have been understood: no such grant exists.
        let (grants, strange): (BTreeSet<_>, BTreeSet<_>) = grants.partition(|grant| grant.is_effective(true));
        self.foreign.extend(strange.iter().map(|grant| shown(&grant.to_string())));
        grants
    }

    fn administration(&mut self, statement: &Statement, kind: Administration, place: &Place) -> BTreeSet<String> {
        let Some(extra) = kind.statement(&Values::from([String::new()])).and_then(|expected| beyond(statement, &expected, true)) else {
            self.foreign.push(describe(statement));
            return BTreeSet::new();
        };
        self.extra(statement, &extra);
        if kind != Administration::Root {
            return self.roles(statement, "administer").into_iter().map(String::from).collect();
        }
        let root = Administration::Root.statement(&Values::from([place.root_arn()]));
        if root.is_some_and(|root| NormalStatement::of(&root).principals == NormalStatement::of(statement).principals) {
            return BTreeSet::from([place.root_arn()]);
        }
        self.foreign.push(describe(statement));
        BTreeSet::new()
    }

    fn extra(&mut self, statement: &Statement, extra: &Values) {
        if !extra.is_empty() {
            self.foreign.push(format!("{}: also allows {}", name(statement), list(extra)));
        }
    }

    /// The roles a statement names. Deleted principals are kept apart; users, accounts, services and `*` are foreign.
    fn roles(&mut self, statement: &Statement, verb: &str) -> Vec<RoleArn> {
        let Principals::Named(kinds) = &statement.principals else {
            self.foreign.push(describe(statement));
            return Vec::new();
        };
        let mut roles = Vec::new();
        for (kind, principal) in kinds.iter().flat_map(|(kind, names)| names.iter().map(move |name| (kind, name))) {
            match RoleArn::parse(principal) {
                Ok(role) if kind == "AWS" => roles.push(role),
                _ if kind == "AWS" && is_deleted(principal) => drop(self.deleted.insert(principal.clone())),
                _ => self.foreign.push(format!("{}: {} {} may {verb}", name(statement), shown(kind), shown(principal))),
            }
        }
        roles
    }
}

/// What the statement allows beyond the expected one; none if it is another statement altogether.
fn beyond(statement: &Statement, expected: &Statement, any_principals: bool) -> Option<Values> {
    let (observed, expected) = (NormalStatement::of(statement), NormalStatement::of(expected));
    let same = observed.resources == expected.resources
        && observed.conditions == expected.conditions
        && observed.other == expected.other
        && (any_principals || observed.principals == expected.principals)
        && observed.actions.is_superset(&expected.actions);
    same.then(|| observed.actions.difference(&expected.actions).cloned().collect())
}

/// KMS and SQS show a deleted role or user by its unique id (IAM user guide, "Unique identifiers").
pub(crate) fn is_deleted(principal: &str) -> bool {
    let is_id = |rest: &str| rest.len() >= 12 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    principal.len() <= 128 && ["AROA", "AIDA"].iter().any(|prefix| principal.strip_prefix(prefix).is_some_and(is_id))
}

fn describe(statement: &Statement) -> String {
    let principals = match &statement.principals {
        Principals::Absent => "nobody named".to_owned(),
        Principals::Anyone => "everyone".to_owned(),
        Principals::Named(kinds) => list(kinds.values().flatten()),
    };
    let conditions = statement.conditions.iter().flat_map(|(operator, keys)| keys.keys().map(move |key| format!("{operator} {key}")));
    let conditions = list(&conditions.collect::<Values>());
    let when = if conditions.is_empty() { "without condition".to_owned() } else { format!("under {conditions}") };
    let other = if statement.other.is_empty() { String::new() } else { format!(", with {}", list(statement.other.keys())) };
    let actions = if statement.actions.is_empty() { "unnamed actions".to_owned() } else { list(&statement.actions) };
    format!("unknown {} allows {principals} {actions} {when}{other}", name(statement))
}

pub(crate) fn name(statement: &Statement) -> String {
    format!("statement {}", statement.sid.as_deref().map_or_else(|| "(unnamed)".to_owned(), shown))
}

/// The first of several, and how many more.
fn list<'a>(items: impl IntoIterator<Item = &'a String>) -> String {
    let mut items = items.into_iter();
    let mut text = items.by_ref().take(5).map(|item| shown(item)).collect::<Vec<_>>().join(", ");
    match items.count() {
        0 => text,
        more => {
            let _ = write!(text, " and {more} more");
            text
        }
    }
}

/// Text from AWS, fit for a status message: one line, bounded.
pub(crate) fn shown(text: &str) -> String {
    text.escape_debug().take(300).collect()
}

fn bounded(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MAXIMUM_LINES {
        let more = lines.len() - MAXIMUM_LINES;
        lines.truncate(MAXIMUM_LINES);
        lines.push(format!("and {more} more"));
    }
    lines
}
