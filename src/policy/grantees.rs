//! How grants are put into statements: which principals and conditions stand for whom, and back.
//!
//! Grants share a statement where that loses nothing: roles of one capability; sources of one service, account and key condition; role names of one
//! organisation and its paths. Every statement can be read back to the grants it was made of.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::api::encrypted_queue::{KeySourceCondition, ServicePrincipal};
use crate::names::{Partition, Place, RoleArn, sha256_hex};

use super::access::{Capability, Grant, OrganizationRoles, Principal, QueueAccess, ServiceSource};
use super::document::{Effect, Principals, Statement, Values};

pub(super) const SOURCE_ARN: &str = "aws:SourceArn";
const SOURCE_ACCOUNT: &str = "aws:SourceAccount";
pub(super) const PRINCIPAL_ARN: &str = "aws:PrincipalArn";
pub(super) const PRINCIPAL_ORGANIZATION: &str = "aws:PrincipalOrgID";
pub(super) const PRINCIPAL_PATHS: &str = "aws:PrincipalOrgPaths";
pub(super) const VIA_SERVICE: &str = "kms:ViaService";
pub(super) const QUEUE_CONTEXT: &str = "kms:EncryptionContext:aws:sqs:arn";

const SERVICES: [(ServicePrincipal, &str, &str); 3] = [
    (ServicePrincipal::Sns, "Sns", "sns.amazonaws.com"),
    (ServicePrincipal::S3, "S3", "s3.amazonaws.com"),
    (ServicePrincipal::EventBridge, "EventBridge", "events.amazonaws.com"),
];

/// Longest first where one begins another.
const KEY_CONDITIONS: [(KeySourceCondition, &str); 3] =
    [(KeySourceCondition::SourceArn, "SourceArn"), (KeySourceCondition::SourceAccount, "SourceAccount"), (KeySourceCondition::None, "AnySource")];

const CAPABILITIES: [(Capability, &str); 5] = [
    (Capability::ReceiveDeadLetters, "ReceiveDeadLetters"),
    (Capability::Receive, "Receive"),
    (Capability::Redrive, "Redrive"),
    (Capability::Observe, "Observe"),
    (Capability::Send, "Send"),
];

/// Name of a service principal.
pub(super) fn service_name(service: ServicePrincipal) -> &'static str {
    SERVICES.iter().find(|(known, ..)| *known == service).map_or("", |(_, _, name)| name)
}

/// As Sids have it.
pub(super) fn capability_label(capability: Capability) -> &'static str {
    CAPABILITIES.iter().find(|(known, _)| *known == capability).map_or("", |(_, label)| label)
}

/// Capability and the rest of a Sid of ours.
pub(super) fn capability_of_sid(sid: &str) -> Option<(Capability, &str)> {
    CAPABILITIES.iter().find_map(|(capability, label)| sid.strip_prefix(label).map(|rest| (*capability, rest)))
}

/// Ten hex digits that tell texts apart in a Sid, which takes letters and digits only.
pub(super) fn short_hash<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let text: Vec<_> = texts.into_iter().collect();
    sha256_hex(&text.join("\n")).chars().take(10).collect()
}

/// Roles named `name` in any account.
pub(super) fn role_pattern(partition: Partition, name: &str) -> String {
    format!("arn:{partition}:iam::*:role/{name}")
}

/// Whom one Allow statement speaks of.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Grantees {
    Roles(BTreeSet<RoleArn>),
    Service { service: ServicePrincipal, account: String, key_condition: KeySourceCondition, sources: Values },
    Organization { id: String, paths: Values, role_names: Values },
}

/// Effective grants by capability and statement.
pub(super) fn group(access: &QueueAccess) -> Vec<(Capability, Grantees)> {
    let mut groups: BTreeMap<_, Grantees> = BTreeMap::new();
    let effective = access.grants.keys().filter(|grant| grant.is_effective(access.dead_letter_queue.is_some()));
    for Grant { principal, capability } in effective {
        // What grants must have in common to share a statement, and what of this one is its own.
        let shared = match principal {
            Principal::Role(_) => Grantees::Roles(BTreeSet::new()),
            Principal::Service(ServiceSource { service, source_account, key_condition, .. }) => {
                let (account, sources) = (source_account.clone(), Values::new());
                Grantees::Service { service: *service, account, key_condition: *key_condition, sources }
            }
            Principal::Organization(OrganizationRoles { id, paths, .. }) => {
                Grantees::Organization { id: id.clone(), paths: paths.clone(), role_names: Values::new() }
            }
        };
        let group = match groups.entry((*capability, shared)) {
            Entry::Vacant(entry) => {
                let (_, shared) = entry.key().clone();
                entry.insert(shared)
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        group.add(principal);
    }
    groups.into_iter().map(|((capability, _), grantees)| (capability, grantees)).collect()
}

impl Grantees {
    fn add(&mut self, principal: &Principal) {
        match (self, principal) {
            (Self::Roles(roles), Principal::Role(role)) => drop(roles.insert(role.clone())),
            (Self::Service { sources, .. }, Principal::Service(source)) => drop(sources.insert(source.source_arn.clone())),
            (Self::Organization { role_names, .. }, Principal::Organization(roles)) => drop(role_names.insert(roles.role_name.clone())),
            _ => {}
        }
    }

    /// What a Sid says after the capability. The key's source condition stands in the queue policy's Sids too, so that both policies read back to the
    /// same grants.
    pub(super) fn label(&self) -> String {
        match self {
            Self::Roles(_) => String::new(),
            Self::Service { service, account, key_condition, .. } => {
                let service = SERVICES.iter().find(|(known, ..)| known == service).map_or("", |(_, label, _)| label);
                let condition = KEY_CONDITIONS.iter().find(|(known, _)| known == key_condition).map_or("", |(_, label)| label);
                format!("{service}{condition}{account}")
            }
            Self::Organization { id, paths, .. } => {
                format!("Organization{}", short_hash(std::iter::once(id.as_str()).chain(paths.iter().map(String::as_str))))
            }
        }
    }

    /// The grants the statement stands for.
    pub(super) fn principals(&self) -> Vec<Principal> {
        match self {
            Self::Roles(roles) => roles.iter().cloned().map(Principal::Role).collect(),
            Self::Service { service, account, key_condition, sources } => {
                let source = |source_arn: &String| ServiceSource {
                    service: *service,
                    source_arn: source_arn.clone(),
                    source_account: account.clone(),
                    key_condition: *key_condition,
                };
                sources.iter().map(source).map(Principal::Service).collect()
            }
            Self::Organization { id, paths, role_names } => {
                let roles = |name: &String| OrganizationRoles { id: id.clone(), paths: paths.clone(), role_name: name.clone() };
                role_names.iter().map(roles).map(Principal::Organization).collect()
            }
        }
    }

    fn element(&self) -> Principals {
        let named = |kind: &str, names: Values| Principals::Named(BTreeMap::from([(kind.to_owned(), names)]));
        match self {
            Self::Roles(roles) => named("AWS", roles.iter().map(|role| role.as_str().to_owned()).collect()),
            Self::Service { service, .. } => named("Service", Values::from([service_name(*service).to_owned()])),
            Self::Organization { .. } => Principals::Anyone,
        }
    }

    /// The queue policy's statement. Services always carry both source conditions there (confused deputy).
    pub(super) fn queue_statement(&self, sid: String, actions: &[&str], queue: &str, partition: Partition) -> Statement {
        let statement = Statement::new(sid, Effect::Allow, self.element(), actions, queue);
        match self {
            Self::Roles(_) => statement,
            Self::Service { account, sources, .. } => pinned_to_sources(statement, account, sources),
            Self::Organization { .. } => self.pinned_to_organization(statement, partition),
        }
    }

    /// The key policy's statement, for use through queues with these ARNs only.
    ///
    /// Services call without `kms:ViaService`. That they pass the queue's ARN as encryption context is seen everywhere but documented nowhere, so it is
    /// required of them only if they pass one (`IfExists`): a service that passes another queue's ARN is refused, one that passes none is not. With
    /// `KeySourceCondition::None` such a service is then held by the queue policy alone. A source that must not be required is still named, beside `*`
    /// and `IfExists`, which any request meets: this changes nothing and lets the policy be read back.
    pub(super) fn key_statement(&self, sid: String, actions: &[&str], queues: &Values, place: &Place) -> Statement {
        let statement = Statement::new(sid, Effect::Allow, self.element(), actions, "*");
        let Self::Service { account, key_condition, sources, .. } = self else {
            let through_queues = statement.when("StringEquals", VIA_SERVICE, via_service(place)).when("StringEquals", QUEUE_CONTEXT, queues.clone());
            return self.pinned_to_organization(through_queues, place.partition);
        };
        let statement = statement.when("StringEqualsIfExists", QUEUE_CONTEXT, queues.clone());
        let or_any = |values: Values| values.into_iter().chain(["*".to_owned()]);
        match key_condition {
            KeySourceCondition::SourceArn => pinned_to_sources(statement, account, sources),
            KeySourceCondition::SourceAccount => {
                let statement = statement.when("StringEquals", SOURCE_ACCOUNT, [account.clone()]);
                statement.when("StringLikeIfExists", SOURCE_ARN, or_any(sources.clone()))
            }
            KeySourceCondition::None => statement.when("StringLikeIfExists", SOURCE_ACCOUNT, or_any(Values::from([account.clone()]))).when(
                "StringLikeIfExists",
                SOURCE_ARN,
                or_any(sources.clone()),
            ),
        }
    }

    /// `"*"` is safe in an Allow only with conditions that pin it to the organisation and to roles of one name.
    fn pinned_to_organization(&self, statement: Statement, partition: Partition) -> Statement {
        let Self::Organization { id, paths, role_names } = self else { return statement };
        let statement = statement.when("StringEquals", PRINCIPAL_ORGANIZATION, [id.clone()]).when(
            "ArnLike",
            PRINCIPAL_ARN,
            role_names.iter().map(|name| role_pattern(partition, name)),
        );
        if paths.is_empty() { statement } else { statement.when("ForAnyValue:StringLike", PRINCIPAL_PATHS, paths.clone()) }
    }

    /// Whom a statement with this rest of a Sid speaks of. Only a first reading: it holds if a statement made from it says the same again.
    pub(super) fn read(label: &str, statement: &Statement, partition: Partition) -> Option<Self> {
        let without_any = |key: &str| statement.condition_values(key).into_iter().filter(|value| value != "*").collect::<Values>();
        if label.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()) {
            return Some(Self::Roles(BTreeSet::new()));
        }
        if label.starts_with("Organization") {
            let prefix = role_pattern(partition, "");
            let names: Option<Values> =
                statement.condition_values(PRINCIPAL_ARN).iter().map(|pattern| pattern.strip_prefix(&prefix).map(str::to_owned)).collect();
            let id = statement.condition_values(PRINCIPAL_ORGANIZATION).pop_first()?;
            return Some(Self::Organization { id, paths: statement.condition_values(PRINCIPAL_PATHS), role_names: names? });
        }
        let (service, rest) = SERVICES.iter().find_map(|(service, name, _)| label.strip_prefix(name).map(|rest| (*service, rest)))?;
        let key_condition = KEY_CONDITIONS.iter().find_map(|(condition, name)| rest.starts_with(name).then_some(*condition))?;
        let account = without_any(SOURCE_ACCOUNT).pop_first()?;
        Some(Self::Service { service, account, key_condition, sources: without_any(SOURCE_ARN) })
    }
}

/// `ArnEquals` and `ArnLike` behave alike; the second tells a reader that there is a wildcard.
pub(super) fn arn_operator(values: &Values, equals: &'static str, like: &'static str) -> &'static str {
    if values.iter().any(|value| value.contains(['*', '?'])) { like } else { equals }
}

fn pinned_to_sources(statement: Statement, account: &str, sources: &Values) -> Statement {
    let operator = arn_operator(sources, "ArnEquals", "ArnLike");
    statement.when(operator, SOURCE_ARN, sources.clone()).when("StringEquals", SOURCE_ACCOUNT, [account])
}

/// SQS as KMS names it. In China AWS uses both suffixes; either can only be SQS there.
fn via_service(place: &Place) -> Vec<String> {
    let name = format!("sqs.{}.amazonaws.com", place.region);
    if place.partition == Partition::China { vec![format!("{name}.cn"), name] } else { vec![name] }
}
