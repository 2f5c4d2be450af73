//! What should come of a request, read from the access model and in the documentation's words; no policy is looked at.

#[path = "capabilities.rs"]
pub mod capabilities;

use encrypted_queue::api::encrypted_queue::{KeySourceCondition, ServicePrincipal};
use encrypted_queue::api::sensitivity_tier::Others;
use encrypted_queue::names::Place;
use encrypted_queue::policy::access::{Capability, Grant, KeyAccess, OrganizationRoles, Principal, QueueAccess, ServiceSource};

use self::capabilities::{DATA_PLANE, giving, giving_use, service_name, tolerated};
use crate::declared::{ORGANIZATIONS, UNITS, role_arn};
use crate::questions::{Context, Question, Via, Who};

/// What should come of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answer {
    pub allowed: bool,
    /// Refused by an explicit Deny, which no IAM policy and no other statement outweighs.
    pub outright: bool,
}

pub fn answer(access: &KeyAccess, question: &Question) -> Answer {
    let outright = if question.is_kms() { key_denies(access, question) } else { queue_denies(access, question) };
    let allowed = !outright && if question.is_kms() { key_allows(access, question) } else { queue_allows(access, question) };
    Answer { allowed, outright }
}

fn queue_denies(access: &KeyAccess, question: &Question) -> bool {
    let Question { who, action, dead_letters, .. } = question;
    let user = question.user(access);
    if !question.tls {
        return true;
    }
    if !DATA_PLANE.contains(action) {
        return false;
    }
    let declared = [giving, tolerated].iter().any(|capabilities| has(who, capabilities(action, *dead_letters), user, &access.place));
    // A service is never denied: IAM policies add nothing for it, so that silence is enough.
    let others = user.others == Others::Deny && !matches!(who, Who::Service { .. }) && !declared;
    others || user.suspended
}

fn queue_allows(access: &KeyAccess, question: &Question) -> bool {
    let Question { who, action, dead_letters, .. } = question;
    let declared = has(who, giving(action, *dead_letters), question.user(access), &access.place);
    match who {
        Who::Service { .. } => declared && *action == "sqs:SendMessage",
        Who::Anonymous => false,
        Who::Session { .. } | Who::Root { .. } => {
            let (at_home, iam) = (at_home(who, &access.place), with_iam(question));
            // Within the account either suffices, from another account both are needed.
            if at_home { declared || iam } else { declared && iam }
        }
    }
}

fn key_denies(access: &KeyAccess, question: &Question) -> bool {
    let is_cryptography = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncrypt"].iter().any(|name| question.action.starts_with(name));
    question.action == "kms:CreateGrant" || (access.suspended && is_cryptography)
}

fn key_allows(access: &KeyAccess, question: &Question) -> bool {
    let (who, user, place, capabilities) = (&question.who, question.user(access), &access.place, giving_use(question.action));
    match who {
        Who::Anonymous => false,
        Who::Service { .. } => {
            let through = |any: &&QueueAccess| match question.context {
                Context::Queue | Context::DeadLetters => any.queue == user.queue,
                // What a service does not tell, it is not held to.
                Context::None => true,
                Context::Foreign => false,
            };
            access.users.iter().filter(through).any(|any| service_may_use(who, capabilities, any, place))
        }
        Who::Session { .. } | Who::Root { .. } => {
            let through_queue = question.via == Via::Sqs && matches!(question.context, Context::Queue | Context::DeadLetters);
            let named = (through_queue && has(who, capabilities, user, place)) || administers(access, who, question.action);
            let recovery = at_home(who, place) && with_iam(question) && recovers(question.action);
            recovery || (named && (at_home(who, place) || with_iam(question)))
        }
    }
}

fn reads(action: &str) -> bool {
    ["kms:Describe", "kms:Get", "kms:List"].iter().any(|prefix| action.starts_with(prefix))
}

/// What the account's root may, and with it whoever the account's IAM policies let.
fn recovers(action: &str) -> bool {
    reads(action) || ["kms:PutKeyPolicy", "kms:EnableKey", "kms:CancelKeyDeletion"].contains(&action)
}

fn administers(access: &KeyAccess, who: &Who, action: &str) -> bool {
    let Who::Session { account, role, .. } = who else { return false };
    let arn = role_arn(access.place.partition, account, role);
    if access.operator.as_str() == arn {
        let never = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncrypt", "kms:CreateGrant", "kms:DisableKey"];
        return !never.iter().any(|prefix| action.starts_with(prefix) && action != "kms:DisableKeyRotation");
    }
    let is_one_of = |roles: &std::collections::BTreeSet<encrypted_queue::names::RoleArn>| roles.iter().any(|role| role.as_str() == arn);
    (is_one_of(&access.administrators) && recovers(action) && action != "kms:PutKeyPolicy") || (is_one_of(&access.break_glass) && recovers(action))
}

fn at_home(who: &Who, place: &Place) -> bool {
    matches!(who, Who::Session { account, .. } | Who::Root { account } if *account == place.account)
}

/// The root user is not bound by IAM policies.
fn with_iam(question: &Question) -> bool {
    question.iam || matches!(question.who, Who::Root { .. })
}

fn has(who: &Who, capabilities: &[Capability], access: &QueueAccess, place: &Place) -> bool {
    access.effective_grants().iter().any(|Grant { principal, capability }| capabilities.contains(capability) && is(who, principal, place))
}

fn is(who: &Who, principal: &Principal, place: &Place) -> bool {
    match (who, principal) {
        (Who::Session { account, role, .. }, Principal::Role(arn)) => role_arn(place.partition, account, role) == arn.as_str(),
        (
            Who::Session { role, organization: Some((id, unit)), .. },
            Principal::Organization(OrganizationRoles { id: declared, paths, role_name }),
        ) => {
            let id = ORGANIZATIONS[*id];
            let path = format!("{id}/{}", UNITS.get(*unit).unwrap_or(&"r-1/"));
            let within = |wanted: &String| wanted.strip_suffix('*').map_or(path == *wanted, |above| path.starts_with(above));
            id == declared && role == role_name && (paths.is_empty() || paths.iter().any(within))
        }
        (Who::Service { name, source, source_account }, Principal::Service(declared)) => {
            *name == service_name(declared.service) && *source_account == Some(&declared.source_account) && {
                source.is_some_and(|source| source.arn(place) == declared.source_arn)
            }
        }
        _ => false,
    }
}

/// As the key's source condition says: the rest is for the queue policy.
fn service_may_use(who: &Who, capabilities: &[Capability], access: &QueueAccess, place: &Place) -> bool {
    let Who::Service { name, source_account, .. } = who else { return false };
    let may = |declared: &ServiceSource| {
        *name == service_name(declared.service)
            && match declared.key_condition {
                KeySourceCondition::SourceArn => is(who, &Principal::Service(declared.clone()), place),
                KeySourceCondition::SourceAccount => *source_account == Some(&declared.source_account),
                KeySourceCondition::None => true,
            }
    };
    let mut grants = access.effective_grants().into_iter().filter(|grant| capabilities.contains(&grant.capability));
    grants.any(|grant| matches!(&grant.principal, Principal::Service(declared) if may(declared)))
}
