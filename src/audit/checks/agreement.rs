//! Where the policies of a queue and of its key disagree: who may send or receive must be able to encrypt and decrypt, and the reverse.

use std::collections::BTreeSet;

use super::{Check, Severity, Subject, when};
use crate::audit::inventory::{KeyFacts, QueueFacts, View};
use crate::audit::statements::{Who, allows, contexts, excludes, is_through_sqs, names_action, principals};
use crate::policy::document::{Document, Statement};
use crate::policy::read_back::is_deleted;

pub(super) const CHECKS: [Check; 2] = [
    Check {
        id: "queue-access-not-in-key-policy",
        severity: Severity::Medium,
        title: "The queue's policy admits somebody whom its key's policy forgets.",
        why: "Sending or receiving fails with KMS.AccessDeniedException, and a service such as SNS drops what it cannot deliver.",
        remedy: "Admit them in the key's policy too: kms:GenerateDataKey and kms:Decrypt to send, kms:Decrypt to receive. An EncryptedQueue renders both.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(not_in_key_policy),
    },
    Check {
        id: "key-access-not-in-queue-policy",
        severity: Severity::Low,
        title: "The key's policy admits somebody to SQS whom no queue's policy names.",
        why: "The access is left over or half of a change: it becomes real as soon as an IAM policy or a queue's policy is widened.",
        remedy: "Remove them from the key's policy, or admit them in the queue's. An EncryptedQueue renders both.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Key(not_in_queue_policy),
    },
];

const ENCRYPT: [&str; 2] = ["kms:GenerateDataKey", "kms:Decrypt"];
const DECRYPT: [&str; 1] = ["kms:Decrypt"];

fn not_in_key_policy(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    let (Some(queue_policy), Some(key)) = (queue.policy.document(), view.key_of(queue)) else { return Vec::new() };
    let Some(key_policy) = key.policy.document() else { return Vec::new() };
    let mut lines = BTreeSet::new();
    for (action, verb, needed) in [("sqs:SendMessage", "send", &ENCRYPT[..]), ("sqs:ReceiveMessage", "receive", &DECRYPT[..])] {
        for who in admitted(queue_policy, action) {
            let missing: Vec<&str> = needed.iter().copied().filter(|needed| !may_use(key_policy, who, needed, queue.arn.as_str())).collect();
            if !missing.is_empty() {
                lines.insert(format!("{} may {verb}, but not {}", who.text(), missing.join(" and ")));
            }
        }
    }
    lines.into_iter().collect()
}

/// Roles, users and services that a queue's policy admits by name; of whole accounts and of everyone, IAM and conditions decide.
fn admitted<'a>(policy: &'a Document, action: &str) -> BTreeSet<Who<'a>> {
    let statements = allows(policy).filter(|statement| names_action(statement, action));
    statements.flat_map(principals).filter(|who| is_by_name(*who)).collect()
}

fn is_by_name(who: Who<'_>) -> bool {
    match who {
        Who::Aws(name) => !who.is_account() && !is_deleted(name),
        Who::Service(_) => true,
        Who::Anyone | Who::Other(_) => false,
    }
}

/// Whether the key's policy may let somebody do this through a queue: by name, through the IAM of an account that it admits, or as one of everyone.
fn may_use(policy: &Document, who: Who<'_>, action: &str, queue: &str) -> bool {
    let admits = |statement: &Statement| {
        let named = excludes(statement)
            || principals(statement).into_iter().any(|admitted| match admitted {
                Who::Anyone => true,
                Who::Aws(_) if admitted.is_account() => admitted.account().is_some() && admitted.account() == who.account(),
                _ => admitted == who,
            });
        let through = contexts(statement).is_none_or(|queues| queues.iter().any(|pattern| crate::audit::statements::like(pattern, queue)));
        named && through && names_action(statement, action)
    };
    allows(policy).any(admits)
}

fn not_in_queue_policy(key: &KeyFacts, view: &View<'_>) -> Vec<String> {
    let users = view.users_of(key);
    let policies: Option<Vec<&Document>> = users.iter().map(|queue| queue.policy.document()).collect();
    let (Some(key_policy), Some(policies)) = (key.policy.document(), policies.filter(|policies| !policies.is_empty())) else { return Vec::new() };
    let through_sqs =
        allows(key_policy).filter(|statement| is_through_sqs(statement) || principals(statement).iter().any(|who| matches!(who, Who::Service(_))));
    let using = through_sqs.filter(|statement| ENCRYPT.iter().any(|action| names_action(statement, action)));
    let forgotten: BTreeSet<Who<'_>> =
        using.flat_map(principals).filter(|who| is_by_name(*who)).filter(|who| !policies.iter().any(|policy| names(policy, *who))).collect();
    let names: Vec<String> = forgotten.into_iter().map(Who::text).collect();
    when(!names.is_empty(), || {
        let queues: Vec<&str> = users.iter().map(|queue| queue.arn.name()).collect();
        format!("{} may use the key through SQS, but no policy of {} names them", names.join(", "), super::encryption::list(&queues))
    })
}

/// Whether a queue's policy may let somebody send or receive.
fn names(policy: &Document, who: Who<'_>) -> bool {
    let data = ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:StartMessageMoveTask"];
    allows(policy).filter(|statement| data.iter().any(|action| names_action(statement, action))).any(|statement| {
        excludes(statement)
            || principals(statement)
                .into_iter()
                .any(|admitted| admitted == Who::Anyone || admitted == who || (admitted.is_account() && admitted.account() == who.account()))
    })
}
