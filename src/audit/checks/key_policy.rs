//! Whom a key's own policy, and its grants, admit.

use super::policy::{self, actions, declared_principals, of_allows, strangers};
use super::{Check, Severity, Subject, checkov, config, custodian, prowler, security_hub, when};
use crate::audit::inventory::{KeyFacts, View};
use crate::audit::statements::{Who, allows, excludes, has_source, is_through_sqs, names_action, names_all_actions, principals};
use crate::policy::access::Grant;
use crate::policy::document::Statement;
use crate::policy::read_back::{read_key_policy, shown};

pub(super) const CHECKS: [Check; 11] = [
    Check {
        id: "key-policy-unreadable",
        severity: Severity::High,
        title: "The key's policy does not parse, or is not understood.",
        why: "Whom it admits cannot be told, and AWS may read it otherwise than its author meant.",
        remedy: "Write the policy anew; the key policy of an EncryptedQueue is rendered from what it declares.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Key(unreadable),
    },
    Check {
        id: "key-public",
        severity: Severity::Critical,
        title: "The key's policy admits everyone.",
        why: "Any AWS account can use or manage the key; with a queue's policy as open, anybody reads the messages.",
        remedy: "Name the principals, or hold the statement to an account or organisation (kms:CallerAccount, aws:PrincipalOrgID).",
        needs_declarations: false,
        controls: &[
            security_hub("KMS.5"),
            config("kms-key-policy-no-public-access"),
            prowler("kms_key_not_publicly_accessible"),
            checkov("CKV_AWS_33"),
            custodian("kms-key cross-account"),
        ],
        subject: Subject::Key(public),
    },
    Check {
        id: "key-allows-by-exclusion",
        severity: Severity::High,
        title: "A statement allows everyone or everything but what it lists.",
        why: "NotPrincipal and NotAction in an Allow admit whatever is made later: new accounts, roles and actions.",
        remedy: "Name the principals and actions that are meant.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Key(by_exclusion),
    },
    Check {
        id: "key-cross-account",
        severity: Severity::Medium,
        title: "Principals of other accounts are admitted without a declaration.",
        why: "Whether that account still needs it, and who in it, nobody here can see; its IAM decides.",
        remedy: "Declare them as producers or consumers (the tier's access.crossAccount must allow it), or remove the statement.",
        needs_declarations: false,
        controls: &[custodian("kms-key cross-account")],
        subject: Subject::Key(cross_account),
    },
    Check {
        id: "key-delegates-to-iam",
        severity: Severity::Medium,
        title: "Use of a queue's key is left to the account's IAM policies.",
        why: "The account's root is admitted to decrypt: whoever can write an IAM policy can hand out the messages, and no list says to whom he did.",
        remedy: "Declare the queue as an EncryptedQueue: its key admits the declared roles, and the account's root for recovery only.",
        needs_declarations: false,
        controls: &[checkov("CKV2_AWS_64")],
        subject: Subject::Key(delegates_to_iam),
    },
    Check {
        id: "key-full-access",
        severity: Severity::High,
        title: "A principal may both manage and use a queue's key.",
        why: "Who may change the policy of a key should not read what it protects.",
        remedy: "Give administrators kms:PutKeyPolicy and the like without kms:Decrypt, and users kms:Decrypt alone.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Key(full_access),
    },
    Check {
        id: "key-unmanageable",
        severity: Severity::High,
        title: "Nobody may change the key's policy.",
        why: "Access can never be taken away or repaired again without AWS Support.",
        remedy: "Ask AWS Support, or move the queues to another key; the operator keeps root and itself in every key policy.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Key(unmanageable),
    },
    Check {
        id: "key-service-without-source",
        severity: Severity::High,
        title: "A service is admitted to the key for whomever it acts.",
        why: "Anybody's topic or bucket can make the service encrypt and decrypt (confused deputy). EventBridge tells KMS no source and is not judged.",
        remedy: "Hold the statement to aws:SourceArn or aws:SourceAccount; a service producer of an EncryptedQueue is.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Key(service_without_source),
    },
    Check {
        id: "key-grants",
        severity: Severity::High,
        title: "Grants admit somebody past the policy of a queue's key.",
        why: "They show in no policy and survive every repair of it; SQS needs none.",
        remedy: "aws kms revoke-grant; the operator revokes them on its own keys and denies kms:CreateGrant.",
        needs_declarations: false,
        controls: &[custodian("kms grant-count")],
        subject: Subject::Key(grants),
    },
    Check {
        id: "key-deleted-principal",
        severity: Severity::Low,
        title: "The policy names a principal that was deleted.",
        why: "AWS shows its id in place of its name: who used it has lost access, and a role made again under its name does not have it.",
        remedy: "Remove the id; if a role was made again and is meant, name it by its ARN.",
        needs_declarations: false,
        controls: &[],
        subject: Subject::Key(deleted_principal),
    },
    Check {
        id: "key-access-not-declared",
        severity: Severity::High,
        title: "The policy admits more than is declared.",
        why: "Somebody changed it past the declaration: access that nobody reviewed.",
        remedy: "The operator puts its policy back at the next check (annotation encryptedqueue.dev/check-now); declare what is needed.",
        needs_declarations: true,
        controls: &[],
        subject: Subject::Key(not_declared),
    },
];

const CRYPTOGRAPHY: [&str; 4] = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom"];

fn unreadable(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    policy::unreadable(&key.policy)
}

fn public(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    policy::public(&key.policy)
}

fn by_exclusion(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    policy::by_exclusion(&key.policy)
}

fn cross_account(key: &KeyFacts, view: &View<'_>) -> Vec<String> {
    let grants = key.declared.as_ref().and_then(|declared| declared.grants.as_ref());
    let declared = grants.map(|grants| declared_principals(grants.values().flatten())).unwrap_or_default();
    of_allows(&key.policy, |statement| {
        let strangers = strangers(statement, &view.facts.place.account, &declared);
        (!strangers.is_empty()).then(|| format!("{} may {}", strangers.join(", "), actions(statement)))
    })
}

fn names_cryptography(statement: &Statement) -> bool {
    CRYPTOGRAPHY.iter().any(|action| names_action(statement, action))
}

fn delegates_to_iam(key: &KeyFacts, view: &View<'_>) -> Vec<String> {
    if view.users_of(key).is_empty() {
        return Vec::new();
    }
    let own = view.facts.place.account.as_str();
    of_allows(&key.policy, |statement| {
        let root = principals(statement).into_iter().any(|who| who.is_account() && who.account() == Some(own));
        (root && names_cryptography(statement)).then(|| format!("the account's root may {}", actions(statement)))
    })
}

fn full_access(key: &KeyFacts, view: &View<'_>) -> Vec<String> {
    if view.users_of(key).is_empty() {
        return Vec::new();
    }
    of_allows(&key.policy, |statement| {
        let by_name = principals(statement).into_iter().filter(|who| matches!(who, Who::Aws(_)) && !who.is_account());
        let names: Vec<String> = by_name.map(Who::text).collect();
        let both = names_all_actions(statement, "kms") || (names_cryptography(statement) && names_action(statement, "kms:PutKeyPolicy"));
        (both && !names.is_empty()).then(|| format!("{} may {}", names.join(", "), actions(statement)))
    })
}

fn unmanageable(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    let Some(document) = key.policy.document() else { return Vec::new() };
    let somebody = |statement: &Statement| {
        names_action(statement, "kms:PutKeyPolicy")
            && (excludes(statement) || principals(statement).iter().any(|who| *who == Who::Anyone || who.account().is_some()))
    };
    when(!allows(document).any(somebody), || "no statement allows kms:PutKeyPolicy to anybody who exists".to_owned())
}

fn service_without_source(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    of_allows(&key.policy, |statement| {
        let services = principals(statement).into_iter().filter(|who| matches!(who, Who::Service(name) if !name.starts_with("events.")));
        let services: Vec<String> = services.map(Who::text).collect();
        let open = !services.is_empty() && names_cryptography(statement) && !has_source(statement) && !is_through_sqs(statement);
        open.then(|| format!("{} may {}", services.join(", "), actions(statement)))
    })
}

fn grants(key: &KeyFacts, view: &View<'_>) -> Vec<String> {
    if view.users_of(key).is_empty() && key.declared.is_none() {
        return Vec::new();
    }
    let told = key.grants.iter().flatten().map(|grant| {
        let operations: Vec<&str> = grant.operations.iter().map(String::as_str).collect();
        format!("grant {}: {} may {}", shown(&grant.id), shown(&grant.grantee), super::encryption::list(&operations))
    });
    told.collect()
}

fn deleted_principal(key: &KeyFacts, _: &View<'_>) -> Vec<String> {
    policy::deleted(&key.policy)
}

fn not_declared(key: &KeyFacts, view: &View<'_>) -> Vec<String> {
    let (Some(declared), Some(document)) = (&key.declared, key.policy.document()) else { return Vec::new() };
    let Some(grants) = &declared.grants else { return Vec::new() };
    let read = read_key_policy(document, &view.facts.place, &declared.users);
    let mut lines = read.foreign.clone();
    for (queue, observed) in &read.grants {
        let expected = grants.get(queue);
        let more = observed.iter().filter(|grant: &&Grant| !expected.is_some_and(|expected| expected.contains(grant)));
        lines.extend(more.map(|grant| format!("{} through {} is not declared", shown(&grant.to_string()), queue.name())));
    }
    if let Some(administrators) = &declared.administrators {
        let observed = read.administration.values().flatten();
        lines.extend(observed.filter(|arn| !administrators.contains(*arn)).map(|arn| format!("{} administers it undeclared", shown(arn))));
    }
    lines
}
