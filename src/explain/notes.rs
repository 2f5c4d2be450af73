//! What a table cannot say, in plain words. Each sentence is there only if the policies, or the declaration, make it true.

use super::report::{KeyReport, Permission, PrincipalKind, PrincipalReport, ReadyReport};
use super::rows::Policies;
use crate::api::EncryptedQueue;
use crate::api::labels::PAUSED;
use crate::api::queue_key::PendingGrants;
use crate::api::sensitivity_tier::Others;
use crate::policy::document::{Effect, Statement};
use crate::policy::key_policy::Administration;

/// About the policies of an accepted queue.
pub(super) fn of_policies(policies: &Policies<'_>, tenant: &str, principals: &[PrincipalReport], key: &KeyReport) -> Vec<String> {
    let mut notes = Vec::new();
    if policies.access.suspended {
        notes.push(format!(
            "Tenant {tenant} is suspended: DenySuspended cuts everyone off until its spec.access is Active again; what is declared stays."
        ));
    }
    if policies.access.others == Others::Unstated {
        notes.push(
            "The tier's spec.access.others is Unstated: IAM policies of the account may let others send and receive, so least access cannot be shown. \
             Nobody else can decrypt under the key."
                .to_owned(),
        );
    }
    notes.extend(producers(policies, principals));
    notes.extend(key_policy(&policies.key.statements));
    notes.extend(principals.iter().filter_map(caveat));
    if !key.shared_with.is_empty() {
        let others = key.shared_with.join(", ");
        notes.push(format!("The key is shared with {others}; the key policy holds the users of each queue to messages of that queue."));
    }
    notes
}

/// About access that waits.
pub(super) fn of_pending(pending: &PendingGrants, key: &str) -> String {
    format!(
        "Waits for approval since {}: {}. A security officer runs `encrypted-queue approve {key}` (hash {}); until then it is declared, not granted.",
        pending.requested_at.0,
        pending.gains.join(", "),
        pending.sha256
    )
}

fn producers(policies: &Policies<'_>, principals: &[PrincipalReport]) -> Option<String> {
    let has = |principal: &PrincipalReport, permission| principal.permissions.iter().any(|known| known.permission == permission);
    let blind = |principal: &&PrincipalReport| {
        has(principal, Permission::Decrypt) && !has(principal, Permission::Receive) && !has(principal, Permission::ReceiveDeadLetters)
    };
    principals.iter().find(blind)?;
    let kept = match policies.access.others {
        Others::Deny => "the queue's policy lets none receive",
        Others::Unstated => "an IAM policy that lets one receive lets it read messages",
    };
    Some(format!("Producers hold kms:Decrypt because SQS decrypts cached data keys for them; {kept}."))
}

/// What the key's policy says of administration and grants.
fn key_policy(statements: &[Statement]) -> Vec<String> {
    let by_sid = |sid: &str| statements.iter().find(|statement| statement.sid.as_deref() == Some(sid));
    let mut notes = Vec::new();
    let uses_key = |statement: &Statement| {
        let use_of_key = ["kms:*", "kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncrypt", "kms:CreateGrant"];
        statement.actions.iter().any(|action| use_of_key.iter().any(|prefix| action.starts_with(prefix)))
    };
    let administration: Vec<_> = Administration::ALL.into_iter().filter_map(|kind| by_sid(kind.sid())).collect();
    let root = by_sid(Administration::Root.sid()).filter(|root| !uses_key(root));
    if root.is_some() && administration.iter().all(|statement| !uses_key(statement)) {
        notes.push(
            "Administration is without cryptography: through RootAdministration the account's IAM can read, enable and recover the key and change its \
             policy, but no IAM policy can hand out its use."
                .to_owned(),
        );
    }
    if administration.iter().any(|statement| statement.actions.contains("kms:PutKeyPolicy")) {
        notes.push(
            "Whoever may change the key policy can give himself anything: that is detected and repaired, not prevented (an SCP prevents it)."
                .to_owned(),
        );
    }
    if by_sid("DenyGrants").is_some_and(|statement| statement.effect == Effect::Deny) {
        notes.push("KMS grants: nobody may create one (DenyGrants); one that is there all the same is revoked by the operator.".to_owned());
    }
    notes
}

/// What to know of one principal.
fn caveat(principal: &PrincipalReport) -> Option<String> {
    let name = principal.principal.as_deref().unwrap_or_default();
    match principal.kind {
        PrincipalKind::Organization => {
            let role = name.split_once(":role/").map_or(name, |(_, role)| role);
            let organization = principal.organization.as_ref()?;
            let part = if organization.paths.is_empty() { String::new() } else { format!(" ({})", organization.paths.join(", ")) };
            Some(format!("Whoever may create a role named {role} in a member account of organisation {}{part} can send.", organization.id))
        }
        PrincipalKind::Service => {
            let decrypt = principal.permissions.iter().find(|known| known.permission == Permission::Decrypt)?;
            let held = |required: &str| {
                format!(
                    "{name} tells KMS {required}: the key statement holds it to no source; the queue statement holds it to {}.",
                    principal.source_arn.as_deref().unwrap_or_default()
                )
            };
            match decrypt.condition.as_deref() {
                Some("any source") => Some(held("neither source nor account")),
                Some("account") => Some(format!(
                    "{name} may use the key for any source of account {}; the queue's policy holds it to {}.",
                    principal.source_account.as_deref().unwrap_or_default(),
                    principal.source_arn.as_deref().unwrap_or_default()
                )),
                _ => None,
            }
        }
        _ => None,
    }
}

/// About the object and what is known of it. A refused one says whether there are rules that still narrow what it has.
pub(super) fn of_object(object: &EncryptedQueue, accepted: Result<(), bool>, ready: &ReadyReport) -> Vec<String> {
    let mut notes = Vec::new();
    if object.metadata.deletion_timestamp.is_some() {
        notes.push("The object is being deleted.".to_owned());
    }
    if object.metadata.annotations.as_ref().is_some_and(|annotations| annotations.get(PAUSED).is_some_and(|value| value == "true")) {
        notes.push(format!("The object is paused ({PAUSED}): AWS keeps what was applied last, less what tenant and tier no longer allow."));
    } else if accepted.is_ok() && (ready.status != "True" || ready.outdated) {
        notes.push("This is what is declared; AWS may still differ, since the queue is not Ready.".to_owned());
    }
    let Err(narrows) = accepted else { return notes };
    let less = if narrows { ", less what tenant and tier no longer allow" } else { "" };
    notes.push(if object.status.as_ref().is_some_and(|status| status.queue.is_some() || status.key.is_some()) {
        format!("What was applied last stays{less}. Its grants are in AWS alone, where this command does not look.")
    } else {
        "Nothing is made in AWS until the declaration is accepted.".to_owned()
    });
    notes
}

/// About the policies that identity policies must complete.
pub(super) fn of_other_accounts(key_known: bool) -> String {
    let key = if key_known { "" } else { " The key has no ARN yet: KEY-ID stands for its id." };
    format!("Roles of other accounts need, beside this, IAM policies in their own accounts, since both sides must allow.{key}")
}

/// When not all queues could be listed.
pub(super) fn incomplete() -> String {
    "You may not list all EncryptedQueues, Namespaces or ServiceAccounts that bear upon this one: the tenant's limit is not judged, and of a shared key the \
     other users, which Sids depend on, are not known."
        .to_owned()
}
