//! Whom a queue's own policy admits.

use super::policy::{self, actions, declared_principals, of_allows, strangers};
use super::{Check, Severity, Subject, checkov, config, custodian, prowler, security_hub, when};
use crate::audit::inventory::{PolicyFacts, QueueFacts, View};
use crate::audit::statements::{Who, denies, has_source, names_action, names_all_actions, principals};
use crate::policy::document::Statement;
use crate::policy::read_back::{read_queue_policy, shown};

pub(super) const CHECKS: [Check; 9] = [
    Check {
        id: "queue-policy-unreadable",
        severity: Severity::High,
        title: "The queue's policy does not parse, or is not understood.",
        why: "Whom it admits cannot be told, and AWS may read it otherwise than its author meant.",
        remedy: "Write the policy anew; an EncryptedQueue's is rendered from what it declares.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(unreadable),
    },
    Check {
        id: "queue-public",
        severity: Severity::Critical,
        title: "The queue's policy admits everyone.",
        why: "Any AWS account, or anybody at all where the queue is not encrypted, can do what the statement allows.",
        remedy: "Name the principals, or hold the statement to a source or an organisation (aws:SourceArn with an account, aws:PrincipalOrgID).",
        needs_declarations: false,
        controls: &[
            security_hub("SQS.3"),
            config("sqs-queue-no-public-access"),
            prowler("sqs_queues_not_publicly_accessible"),
            checkov("CKV_AWS_168"),
            checkov("CKV_AWS_387"),
            custodian("sqs cross-account"),
        ],
        subject: Subject::Queue(public),
    },
    Check {
        id: "queue-allows-by-exclusion",
        severity: Severity::High,
        title: "A statement allows everyone or everything but what it lists.",
        why: "NotPrincipal and NotAction in an Allow admit whatever is made later: new accounts, roles and actions.",
        remedy: "Name the principals and actions that are meant.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(by_exclusion),
    },
    Check {
        id: "queue-full-access",
        severity: Severity::High,
        title: "A statement allows every SQS action.",
        why: "Who only sends or receives may then also purge, delete and open the queue for others.",
        remedy: "Allow producers sqs:SendMessage and consumers sqs:ReceiveMessage, DeleteMessage and ChangeMessageVisibility.",
        needs_declarations: false,
        controls: &[config("sqs-queue-policy-full-access-check"), checkov("CKV_AWS_72")],
        subject: Subject::Queue(full_access),
    },
    Check {
        id: "queue-cross-account",
        severity: Severity::Medium,
        title: "Principals of other accounts are admitted without a declaration.",
        why: "Whether that account still needs it, and who in it, nobody here can see.",
        remedy: "Declare them as producers or consumers (the tier's access.crossAccount must allow it), or remove the statement.",
        needs_declarations: false,
        controls: &[custodian("sqs cross-account")],
        subject: Subject::Queue(cross_account),
    },
    Check {
        id: "queue-service-without-source",
        severity: Severity::High,
        title: "A service is admitted for whomever it acts.",
        why: "Anybody's topic, bucket or rule can make the service send here (confused deputy).",
        remedy: "Hold the statement to aws:SourceArn and aws:SourceAccount; a service producer of an EncryptedQueue always is.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(service_without_source),
    },
    Check {
        id: "queue-without-tls",
        severity: Severity::Medium,
        title: "Calls without TLS are not denied.",
        why: "Messages and signatures can cross a network in plain text.",
        remedy: "Deny sqs:* when aws:SecureTransport is false; every EncryptedQueue's policy does.",
        needs_declarations: false,
        controls: &[prowler("sqs_queues_secure_transport_enabled")],
        subject: Subject::Queue(without_tls),
    },
    Check {
        id: "queue-deleted-principal",
        severity: Severity::Low,
        title: "The policy names a principal that was deleted.",
        why: "AWS shows its id in place of its name: who used it has lost access, and a role made again under its name does not have it.",
        remedy: "Remove the id; if a role was made again and is meant, name it by its ARN.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Queue(deleted_principal),
    },
    Check {
        id: "queue-access-not-declared",
        severity: Severity::High,
        title: "The policy admits more than is declared.",
        why: "Somebody changed it past the declaration: access that nobody reviewed.",
        remedy: "The operator puts its policy back at the next check (annotation encryptedqueue.dev/check-now); declare what is needed.",
        needs_declarations: true,
        controls: &[],
        subject: Subject::Queue(not_declared),
    },
];

fn unreadable(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    policy::unreadable(&queue.policy)
}

fn public(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    policy::public(&queue.policy)
}

fn by_exclusion(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    policy::by_exclusion(&queue.policy)
}

fn full_access(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    of_allows(&queue.policy, |statement| {
        let who: Vec<String> = principals(statement).into_iter().map(Who::text).collect();
        names_all_actions(statement, "sqs").then(|| format!("{} may {}", who.join(", "), actions(statement)))
    })
}

fn cross_account(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    let access = queue.declared.as_ref().and_then(|declared| declared.access.as_ref());
    let declared = access.map(|access| declared_principals(access.grants.keys())).unwrap_or_default();
    of_allows(&queue.policy, |statement| {
        let strangers = strangers(statement, &view.facts.place.account, &declared);
        (!strangers.is_empty()).then(|| format!("{} may {}", strangers.join(", "), actions(statement)))
    })
}

fn service_without_source(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    of_allows(&queue.policy, |statement| {
        let services: Vec<String> = principals(statement).into_iter().filter(|who| matches!(who, Who::Service(_))).map(Who::text).collect();
        (!services.is_empty() && !has_source(statement)).then(|| format!("{} may {}", services.join(", "), actions(statement)))
    })
}

/// Whether a statement denies calls without TLS to everyone.
fn asks_for_tls(statement: &Statement) -> bool {
    let plain = statement.condition_values("aws:SecureTransport");
    let only_condition = statement.conditions.values().map(std::collections::BTreeMap::len).sum::<usize>() == 1;
    principals(statement).contains(&Who::Anyone)
        && only_condition
        && statement.conditions.keys().all(|operator| operator.eq_ignore_ascii_case("Bool") || operator.eq_ignore_ascii_case("BoolIfExists"))
        && plain.iter().any(|value| value.eq_ignore_ascii_case("false"))
        && ["sqs:SendMessage", "sqs:ReceiveMessage"].iter().all(|action| names_action(statement, action))
}

fn without_tls(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    let asked = match &queue.policy {
        PolicyFacts::Document(document) => denies(document).any(asks_for_tls),
        PolicyFacts::Absent => false,
        // What is not understood is told of already.
        PolicyFacts::Unknown | PolicyFacts::Malformed(_) => true,
    };
    when(!asked, || "no statement denies calls with aws:SecureTransport false".to_owned())
}

fn deleted_principal(queue: &QueueFacts, _: &View<'_>) -> Vec<String> {
    policy::deleted(&queue.policy)
}

fn not_declared(queue: &QueueFacts, view: &View<'_>) -> Vec<String> {
    let (Some(declared), Some(document)) = (&queue.declared, queue.policy.document()) else { return Vec::new() };
    let Some(access) = &declared.access else { return Vec::new() };
    let read = read_queue_policy(document, declared.kind, &queue.arn, &view.facts.place);
    let expected = access.effective_grants();
    let more = read.grants.difference(&expected).map(|grant| format!("{} is not declared", shown(&grant.to_string())));
    read.foreign.iter().cloned().chain(more).collect()
}
