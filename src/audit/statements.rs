//! What statements of a policy say, as far as checks ask. Conditions are read generously: what may hold, counts as holding.

use crate::policy::document::{Document, Effect, Principals, Statement, Values};
use crate::policy::read_back::shown;

/// Condition keys that hold a caller to one account, organisation, principal or source.
const PINS: [&str; 14] = [
    "aws:PrincipalAccount",
    "aws:PrincipalArn",
    "aws:PrincipalOrgID",
    "aws:PrincipalOrgPaths",
    "aws:SourceAccount",
    "aws:SourceArn",
    "aws:SourceIp",
    "aws:SourceOrgID",
    "aws:SourceOrgPaths",
    "aws:SourceOwner",
    "aws:SourceVpc",
    "aws:SourceVpce",
    "aws:userid",
    "kms:CallerAccount",
];
/// Those of them that speak of what a service acts for.
const SOURCES: [&str; 5] = ["aws:SourceAccount", "aws:SourceArn", "aws:SourceOrgID", "aws:SourceOrgPaths", "aws:SourceOwner"];
const QUEUE_CONTEXT: &str = "kms:EncryptionContext:aws:sqs:arn";

/// Whom a statement names.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Who<'a> {
    Anyone,
    /// ARN, account id, or the id of a principal that was deleted.
    Aws(&'a str),
    Service(&'a str),
    /// Federated users and others.
    Other(&'a str),
}

impl Who<'_> {
    pub(super) fn text(self) -> String {
        match self {
            Self::Anyone => "everyone".to_owned(),
            Self::Aws(name) | Self::Service(name) | Self::Other(name) => shown(name),
        }
    }

    /// The account, where the name tells.
    pub(super) fn account(&self) -> Option<&str> {
        let Self::Aws(name) = self else { return None };
        let of_arn = name.starts_with("arn:").then(|| name.split(':').nth(4)).flatten();
        of_arn.or_else(|| is_account(name).then_some(*name)).filter(|account| is_account(account))
    }

    /// Whether this is an account as a whole: its IAM decides who.
    pub(super) fn is_account(&self) -> bool {
        matches!(self, Self::Aws(name) if is_account(name) || name.ends_with(":root"))
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The statements that allow.
pub(super) fn allows(document: &Document) -> impl Iterator<Item = &Statement> {
    document.statements.iter().filter(|statement| statement.effect == Effect::Allow)
}

/// Those that deny.
pub(super) fn denies(document: &Document) -> impl Iterator<Item = &Statement> {
    document.statements.iter().filter(|statement| statement.effect == Effect::Deny)
}

/// Whom a statement names; nobody where it says so by exclusion.
pub(super) fn principals(statement: &Statement) -> Vec<Who<'_>> {
    match &statement.principals {
        Principals::Absent => Vec::new(),
        Principals::Anyone => vec![Who::Anyone],
        Principals::Named(kinds) => kinds
            .iter()
            .flat_map(|(kind, names)| {
                names.iter().map(move |name| match (kind.as_str(), name.as_str()) {
                    ("AWS", "*") => Who::Anyone,
                    ("AWS", name) => Who::Aws(name),
                    ("Service", name) => Who::Service(name),
                    (_, name) => Who::Other(name),
                })
            })
            .collect(),
    }
}

/// Whether it says by exclusion whom or what it allows.
pub(super) fn excludes(statement: &Statement) -> bool {
    ["NotPrincipal", "NotAction"].iter().any(|element| statement.other.contains_key(*element))
}

/// Whether it speaks of an action.
pub(super) fn names_action(statement: &Statement, action: &str) -> bool {
    if let Some(not) = statement.other.get("NotAction") {
        let listed = |value: &serde_json::Value| value.as_str().is_some_and(|pattern| like(pattern, action));
        return !not.as_array().map_or_else(|| listed(not), |values| values.iter().any(listed));
    }
    statement.actions.iter().any(|pattern| like(pattern, action))
}

/// Whether it speaks of every action of a service.
pub(super) fn names_all_actions(statement: &Statement, service: &str) -> bool {
    statement.actions.iter().any(|action| action == "*" || action.eq_ignore_ascii_case(&format!("{service}:*")))
}

/// IAM's wildcards, without regard to case.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                (p, t) = (at + 1, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Conditions that only hold when their key is there and has one of these values.
fn required(statement: &Statement) -> impl Iterator<Item = (&str, &Values)> {
    let positive = |operator: &str| {
        let operator = operator.strip_prefix("ForAnyValue:").unwrap_or(operator);
        ["StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress"]
            .iter()
            .any(|known| operator.eq_ignore_ascii_case(known))
    };
    statement
        .conditions
        .iter()
        .filter(move |(operator, _)| positive(operator))
        .flat_map(|(_, keys)| keys.iter().map(|(key, values)| (key.as_str(), values)))
}

fn pinned_by(statement: &Statement, keys: &[&str]) -> bool {
    required(statement).any(|(key, values)| {
        let known = keys.iter().find(|known| known.eq_ignore_ascii_case(key));
        known.is_some_and(|known| !values.is_empty() && values.iter().all(|value| is_fixed(known, value)))
    })
}

/// Whether a condition's value admits only what somebody chose.
fn is_fixed(key: &str, value: &str) -> bool {
    let open = |text: &str| text.contains(['*', '?']) || text.contains("${");
    match key {
        "aws:SourceIp" => {
            let bits = value.split_once('/').map_or(Some(128), |(_, bits)| bits.parse::<u8>().ok());
            bits.is_some_and(|bits| bits >= if value.contains(':') { 32 } else { 8 })
        }
        "aws:SourceArn" | "aws:PrincipalArn" => {
            let fields: Vec<&str> = value.splitn(6, ':').collect();
            match fields.as_slice() {
                // A bucket's ARN has no account; its name is one owner's.
                ["arn", _, "s3", _, "", bucket] => !open(bucket.split('*').next().unwrap_or_default()) && !bucket.starts_with('*'),
                ["arn", _, _, _, account, _] => is_account(account),
                _ => false,
            }
        }
        "aws:PrincipalOrgPaths" | "aws:SourceOrgPaths" => {
            value.split('/').next().is_some_and(|organization| !open(organization) && organization.len() > 2)
        }
        _ => !open(value),
    }
}

/// Whether its conditions hold callers to somebody chosen.
pub(super) fn is_pinned(statement: &Statement) -> bool {
    pinned_by(statement, &PINS)
}

/// Whether its conditions say what a service must act for.
pub(super) fn has_source(statement: &Statement) -> bool {
    pinned_by(statement, &SOURCES)
}

/// The queues that the key may be used through; none: through any, or without one.
pub(super) fn contexts(statement: &Statement) -> Option<Vec<&String>> {
    let found: Vec<&Values> = required(statement).filter(|(key, _)| key.eq_ignore_ascii_case(QUEUE_CONTEXT)).map(|(_, values)| values).collect();
    (!found.is_empty()).then(|| found.into_iter().flatten().collect())
}

/// Whether a key's statement is about SQS: through it, or with a queue as context.
pub(super) fn is_through_sqs(statement: &Statement) -> bool {
    let via = |(key, values): (&str, &Values)| key.eq_ignore_ascii_case("kms:ViaService") && values.iter().any(|value| value.starts_with("sqs."));
    contexts(statement).is_some() || required(statement).any(via)
}

/// Organisations and others that conditions hold everyone to, for people.
pub(super) fn pins(statement: &Statement) -> String {
    let told = required(statement).filter(|(key, _)| PINS.iter().any(|pin| pin.eq_ignore_ascii_case(key)));
    let texts: Vec<String> = told
        .map(|(key, values)| format!("{} {}", shown(key), values.iter().take(3).map(|value| shown(value)).collect::<Vec<_>>().join(", ")))
        .collect();
    texts.join(" and ")
}
