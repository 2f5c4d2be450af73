//! The key policy: who may administer a key, and who may use it through which queues.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::RoleArn;

use super::access::{Capability, KeyAccess};
use super::document::{Document, Effect, Principals, Statement, Values};
use super::grantees::{Grantees, capability_label, group, short_hash};

/// The operator manages the key and can never use it. No conditions: KMS's lock-out check at `CreateKey` and `PutKeyPolicy` wants `kms:PutKeyPolicy`
/// unconditioned for the caller.
const OPERATOR: [&str; 21] = [
    "kms:CancelKeyDeletion",
    "kms:CreateAlias",
    "kms:DeleteAlias",
    "kms:DescribeKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyLastUsage",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:PutKeyPolicy",
    "kms:RevokeGrant",
    "kms:RotateKeyOnDemand",
    "kms:ScheduleKeyDeletion",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateAlias",
    "kms:UpdateKeyDescription",
];
const ADMINISTRATOR: [&str; 5] = ["kms:CancelKeyDeletion", "kms:Describe*", "kms:EnableKey", "kms:Get*", "kms:List*"];
/// Recovery: whoever holds `kms:PutKeyPolicy` can still grant himself anything, which is detected and repaired, not prevented.
const RECOVERY: [&str; 6] = ["kms:CancelKeyDeletion", "kms:Describe*", "kms:EnableKey", "kms:Get*", "kms:List*", "kms:PutKeyPolicy"];

/// Producing needs both: SQS decrypts the data keys it has cached for a producer.
const ENCRYPT: [&str; 2] = ["kms:Decrypt", "kms:GenerateDataKey"];
const DECRYPT: [&str; 1] = ["kms:Decrypt"];

/// KMS actions of a capability; the same for every kind of principal.
pub(super) const fn actions(capability: Capability) -> &'static [&'static str] {
    match capability {
        Capability::Send | Capability::Redrive => &ENCRYPT,
        Capability::Receive | Capability::ReceiveDeadLetters => &DECRYPT,
        Capability::Observe => &[],
    }
}

/// The administration that a key policy allows.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Administration {
    /// The operator's own role: all management, no cryptography.
    Operator,
    /// The account's root, that is whoever the account's IAM lets: reads, `PutKeyPolicy`, enabling, cancelling a deletion.
    Root,
    /// The tenant's key administrators: reads, enabling, cancelling a deletion.
    KeyAdministrators,
    /// The tenant's break-glass administrators: the same and `PutKeyPolicy`.
    BreakGlass,
}

impl Administration {
    /// All of them, in the order of the policy.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Root, Self::KeyAdministrators, Self::BreakGlass];

    /// Sid of its statement.
    pub const fn sid(self) -> &'static str {
        match self {
            Self::Operator => "Operator",
            Self::Root => "RootAdministration",
            Self::KeyAdministrators => "KeyAdministrators",
            Self::BreakGlass => "BreakGlassAdministrators",
        }
    }

    pub(super) const fn actions(self) -> &'static [&'static str] {
        match self {
            Self::Operator => &OPERATOR,
            Self::KeyAdministrators => &ADMINISTRATOR,
            Self::Root | Self::BreakGlass => &RECOVERY,
        }
    }

    /// Its statement for these principals; none for nobody, since KMS refuses an empty list.
    pub(super) fn statement(self, principals: &Values) -> Option<Statement> {
        let named = Principals::Named(BTreeMap::from([("AWS".to_owned(), principals.clone())]));
        (!principals.is_empty()).then(|| Statement::new(self.sid(), Effect::Allow, named, self.actions(), "*"))
    }
}

/// Renders the key's policy. `id` becomes the policy's id.
pub fn render(access: &KeyAccess, id: &str) -> Document {
    let arns = |roles: &BTreeSet<RoleArn>| roles.iter().map(|role| role.as_str().to_owned()).collect::<Values>();
    let administration = Administration::ALL.into_iter().filter_map(|kind| {
        kind.statement(&match kind {
            Administration::Operator => Values::from([access.operator.as_str().to_owned()]),
            Administration::Root => Values::from([access.place.root_arn()]),
            Administration::KeyAdministrators => arns(&access.administrators),
            Administration::BreakGlass => arns(&access.break_glass),
        })
    });
    let denials = std::iter::once(deny_grants()).chain(access.suspended.then(deny_suspended));
    Document::new(Some(id), administration.chain(uses(access)).chain(denials).collect())
}

/// Statements for use: one for each capability and group of principals, several queues in one where everything but the queue is the same.
fn uses(access: &KeyAccess) -> Vec<Statement> {
    let mut queues: BTreeMap<(Capability, Grantees), (Values, Values)> = BTreeMap::new();
    for user in &access.users {
        let arns = std::iter::once(&user.queue).chain(&user.dead_letter_queue).map(|arn| arn.as_str().to_owned());
        for (capability, grantees) in group(user) {
            if actions(capability).is_empty() {
                continue;
            }
            let (names, contexts) = queues.entry((capability, grantees)).or_default();
            names.insert(user.queue.as_str().to_owned());
            contexts.extend(arns.clone());
        }
    }
    let shared = access.users.len() > 1;
    let statement = |((capability, grantees), (names, contexts)): ((Capability, Grantees), (Values, Values))| {
        let queue = if shared { short_hash(names.iter().map(String::as_str)) } else { String::new() };
        let sid = format!("{}{}{queue}", capability_label(capability), grantees.label());
        grantees.key_statement(sid, actions(capability), &contexts, &access.place)
    };
    queues.into_iter().map(statement).collect()
}

/// Nobody may hand on use of the key past its policy; SQS needs no grants.
pub(super) fn deny_grants() -> Statement {
    Statement::new("DenyGrants", Effect::Deny, Principals::Anyone, &["kms:CreateGrant"], "*")
}

/// A tenant cut off: no cryptography for anyone, services included; administration stays.
pub(super) fn deny_suspended() -> Statement {
    let actions = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"];
    Statement::new("DenySuspended", Effect::Deny, Principals::Anyone, &actions, "*")
}
