//! One request against one resource policy.

use std::collections::BTreeMap;

use serde_json::Value;

use super::condition;

/// What AWS knows of one call.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who calls.
    pub caller: Caller,
    /// `sqs:SendMessage`.
    pub action: String,
    /// ARN of the queue or key.
    pub resource: String,
    /// Condition keys and their values; a key that has several may hold any number.
    pub context: BTreeMap<String, Vec<String>>,
}

/// Who calls, as AWS has authenticated it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Caller {
    /// A session of an IAM role: nobody is a role but through a session.
    Session {
        /// The role's ARN, path included.
        role: String,
        /// The session's name.
        name: String,
    },
    /// The root user of an account.
    Root {
        /// Partition.
        partition: String,
        /// Account id.
        account: String,
    },
    /// An AWS service on its own behalf.
    Service(String),
    /// Nobody: an unsigned call.
    Anonymous,
}

impl Caller {
    /// The account whose IAM policies speak of the caller.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Session { role, .. } => role.split(':').nth(4),
            Self::Root { account, .. } => Some(account),
            Self::Service(_) | Self::Anonymous => None,
        }
    }

    /// The ARNs that name exactly this caller. A role's ARN names all its sessions; a session's own ARN drops the role's path.
    fn names(&self) -> Vec<String> {
        match self {
            Self::Session { role, name } => {
                let parts: Vec<_> = role.splitn(6, ':').collect();
                let short = role.rsplit('/').next().unwrap_or_default();
                let (partition, account) = (parts.get(1).unwrap_or(&""), parts.get(4).unwrap_or(&""));
                vec![role.clone(), format!("arn:{partition}:sts::{account}:assumed-role/{short}/{name}")]
            }
            Self::Root { partition, account } => vec![format!("arn:{partition}:iam::{account}:root"), account.clone()],
            Self::Service(_) | Self::Anonymous => Vec::new(),
        }
    }
}

/// What a resource policy says of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// An explicit Deny, which nothing outweighs.
    Denied,
    /// The caller is allowed, by ARN, as a service or as anyone.
    Allowed,
    /// The caller's account is allowed: its IAM policies decide.
    Delegated,
    /// Nothing.
    Silent,
}

/// How far a statement's principal reaches a caller.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Reach {
    None,
    Account,
    Caller,
}

/// What [`Verdict`] and IAM policies come to, by service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Service {
    /// Within the account, IAM policies and the queue policy each suffice.
    Sqs,
    /// IAM policies count only where the key policy lets the account.
    Kms,
}

/// The account that a queue or key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Whose rules hold.
    pub service: Service,
    /// The account's id.
    pub account: &'a str,
}

/// All that decides a request.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// Of the queue or key.
    pub owner: Owner<'a>,
    /// Its policy.
    pub policy: &'a Value,
    /// Whether the caller's IAM policies allow everything, or nothing. The root user needs none.
    pub iam: bool,
}

impl Evidence<'_> {
    /// Whether the request goes through.
    pub fn allows(&self, request: &Request) -> bool {
        self.follows(evaluate(self.policy, request), &request.caller)
    }

    /// Whether a request with this verdict goes through.
    pub fn follows(&self, verdict: Verdict, caller: &Caller) -> bool {
        let Some(account) = caller.account() else { return verdict == Verdict::Allowed };
        let iam = self.iam || matches!(caller, Caller::Root { .. });
        let at_home = account == self.owner.account;
        match verdict {
            Verdict::Denied => false,
            Verdict::Allowed => at_home || iam,
            Verdict::Delegated => iam,
            Verdict::Silent => iam && at_home && self.owner.service == Service::Sqs,
        }
    }
}

/// An explicit Deny wins, then any Allow.
pub fn evaluate(policy: &Value, request: &Request) -> Verdict {
    let reach = |effect: &str| {
        let statements = items(&policy["Statement"]).into_iter().filter(|statement| statement["Effect"] == effect);
        statements.map(|statement| reach(statement, request, effect == "Allow")).max().unwrap_or(Reach::None)
    };
    match (reach("Deny"), reach("Allow")) {
        (Reach::Account | Reach::Caller, _) => Verdict::Denied,
        (Reach::None, Reach::Caller) => Verdict::Allowed,
        (Reach::None, Reach::Account) => Verdict::Delegated,
        (Reach::None, Reach::None) => Verdict::Silent,
    }
}

pub(super) fn items(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items.iter().collect(),
        single => vec![single],
    }
}

pub(super) fn texts(value: &Value) -> Vec<&str> {
    items(value).into_iter().filter_map(Value::as_str).collect()
}

/// `presumed` is the answer where the statement says what is not known here.
fn reach(statement: &Value, request: &Request, presumed: bool) -> Reach {
    let action = |patterns: &Value| texts(patterns).iter().any(|pattern| glob(&pattern.to_lowercase(), &request.action.to_lowercase()));
    let resource = |patterns: &Value| texts(patterns).iter().any(|pattern| glob(pattern, &request.resource));
    let applies = either(statement, "Action", "NotAction", action)
        && either(statement, "Resource", "NotResource", resource)
        && condition::all_hold(&statement["Condition"], &request.context, presumed);
    if !applies {
        return Reach::None;
    }
    match (&statement["Principal"], &statement["NotPrincipal"]) {
        (Value::Null, Value::Null) => Reach::None,
        (Value::Null, _) if presumed => Reach::Caller,
        (Value::Null, _) => Reach::None,
        (principal, _) => principal_reach(principal, &request.caller),
    }
}

/// A statement without Action or Resource is without effect.
fn either(statement: &Value, element: &str, negated: &str, matches: impl Fn(&Value) -> bool) -> bool {
    match (statement.get(element), statement.get(negated)) {
        (Some(patterns), _) => matches(patterns),
        (None, Some(patterns)) => !matches(patterns),
        (None, None) => false,
    }
}

fn principal_reach(principal: &Value, caller: &Caller) -> Reach {
    let named = texts(&principal["AWS"]);
    if principal == "*" || named.contains(&"*") {
        return Reach::Caller;
    }
    if let Caller::Service(service) = caller {
        return if texts(&principal["Service"]).contains(&service.as_str()) { Reach::Caller } else { Reach::None };
    }
    let own_names = caller.names();
    let is_account = |name: &str, account: &str| name == account || (name.ends_with(":root") && name.split(':').nth(4) == Some(account));
    let of = |name: &&str| match caller.account() {
        _ if own_names.iter().any(|own| own == name) => Reach::Caller,
        Some(account) if is_account(name, account) => Reach::Account,
        _ => Reach::None,
    };
    named.iter().map(of).max().unwrap_or(Reach::None)
}

/// `*` and `?` as IAM reads them.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                // The last `*` takes one more.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, t) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}
