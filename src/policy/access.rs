//! Who may do what with a queue and its key: the one model from which both policies are rendered, and into which observed policies are read back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use crate::api::encrypted_queue::{KeySourceCondition, ServicePrincipal};
use crate::api::sensitivity_tier::Others;
use crate::names::{Place, QueueArn, RoleArn, sha256_hex};

/// Someone who can be granted something.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Principal {
    /// An IAM role and its sessions.
    Role(RoleArn),
    /// An AWS service acting for one source.
    Service(ServiceSource),
    /// Roles of one name in an organisation's accounts.
    Organization(OrganizationRoles),
}

/// A service and the source it may act for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ServiceSource {
    /// The service.
    pub service: ServicePrincipal,
    /// ARN of the topic, bucket or rule.
    pub source_arn: String,
    /// Account that owns it.
    pub source_account: String,
    /// Source condition of the key statement.
    pub key_condition: KeySourceCondition,
}

/// Roles of one name in an organisation's accounts.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct OrganizationRoles {
    /// Organisation id.
    pub id: String,
    /// Organisation paths; empty: the whole organisation.
    pub paths: BTreeSet<String>,
    /// Path and name of the role.
    pub role_name: String,
}

/// What a principal may do.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Capability {
    /// Send to the queue (and encrypt).
    Send,
    /// Receive from the queue, delete, change visibility (and decrypt).
    Receive,
    /// The same on the dead-letter queue.
    ReceiveDeadLetters,
    /// Move messages from the dead-letter queue back.
    Redrive,
    /// Read attributes of both; no message, no decryption.
    Observe,
}

/// One principal, one capability.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Grant {
    /// Who.
    pub principal: Principal,
    /// May do what.
    pub capability: Capability,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(role) => write!(f, "{role}"),
            Self::Service(ServiceSource { service, source_arn, source_account, key_condition }) => {
                let service = super::grantees::service_name(*service);
                write!(f, "{service} for {source_arn} of account {source_account} (key source condition {key_condition:?})")
            }
            Self::Organization(OrganizationRoles { id, paths, role_name }) if paths.is_empty() => {
                write!(f, "any role {role_name} of organisation {id}")
            }
            Self::Organization(OrganizationRoles { paths, role_name, .. }) => {
                let paths: Vec<_> = paths.iter().map(String::as_str).collect();
                write!(f, "any role {role_name} of organisation paths {}", paths.join(", "))
            }
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "send",
            Self::Receive => "receive",
            Self::ReceiveDeadLetters => "receive dead letters",
            Self::Redrive => "move dead letters back",
            Self::Observe => "read attributes",
        })
    }
}

impl Grant {
    /// Whether any policy says it: services and organisations only ever send (they are producers), and without a dead-letter queue nobody receives from
    /// it or moves messages back.
    pub fn is_effective(&self, has_dead_letters: bool) -> bool {
        match self.capability {
            Capability::Send => true,
            Capability::Receive | Capability::Observe => matches!(self.principal, Principal::Role(_)),
            Capability::ReceiveDeadLetters | Capability::Redrive => has_dead_letters && matches!(self.principal, Principal::Role(_)),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} may {}", self.principal, self.capability)
    }
}

/// All access to one queue, its dead-letter queue, and to their key through them.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub struct QueueAccess {
    /// The queue.
    pub queue: QueueArn,
    /// Its dead-letter queue.
    pub dead_letter_queue: Option<QueueArn>,
    /// What is granted, each with the field that declares it (`spec.producers[0]`).
    pub grants: BTreeMap<Grant, String>,
    /// Whether everyone else is denied explicitly.
    pub others: Others,
    /// Whether the tenant is cut off: Denies for all, grants unchanged.
    pub suspended: bool,
}

impl QueueAccess {
    /// Hash of the access: equal exactly when the same principals may do the same under the same conditions. Where a grant was declared does not count.
    pub fn sha256(&self) -> String {
        /// A struct, since the order of `json!` depends on a feature of serde_json that any dependency may turn on.
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Canonical<'a> {
            version: u8,
            queue: &'a QueueArn,
            dead_letter_queue: &'a Option<QueueArn>,
            grants: Vec<&'a Grant>,
            others_denied: bool,
            suspended: bool,
        }
        let Self { queue, dead_letter_queue, grants, others, suspended } = self;
        let grants = grants.keys().collect();
        let canonical = Canonical { version: 1, queue, dead_letter_queue, grants, others_denied: *others == Others::Deny, suspended: *suspended };
        sha256_hex(&serde_json::to_string(&canonical).unwrap_or_default())
    }

    /// The grants that the policies say: equal to what is read back from them.
    pub fn effective_grants(&self) -> BTreeSet<Grant> {
        self.grants.keys().filter(|grant| grant.is_effective(self.dead_letter_queue.is_some())).cloned().collect()
    }

    /// The same access with only those grants that `keep` admits.
    #[must_use]
    pub fn retain(mut self, keep: impl Fn(&Grant) -> bool) -> Self {
        self.grants.retain(|grant, _| keep(grant));
        self
    }
}

/// All access to one key.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KeyAccess {
    /// Where the key lives.
    pub place: Place,
    /// The operator's role in that account.
    pub operator: RoleArn,
    /// Roles that may read, enable, cancel a deletion.
    pub administrators: BTreeSet<RoleArn>,
    /// Roles that may also put the key policy.
    pub break_glass: BTreeSet<RoleArn>,
    /// The queues that use the key, in a stable order.
    pub users: Vec<QueueAccess>,
    /// Whether the tenant is cut off.
    pub suspended: bool,
}
