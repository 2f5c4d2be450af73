//! Who can do what with a queue or through a key, found by asking: everyone whom the policy mentions in any way, and strangers of every kind.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::evaluator::{Caller, Evidence, Owner, Request, Service, items, texts};

/// An account and an organisation that nobody declares.
const FOREIGN_ACCOUNT: &str = "999999999999";
const FOREIGN_ORGANIZATION: &str = "o-foreign000";

const DATA_PLANE: [&str; 6] =
    ["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:PurgeQueue", "sqs:StartMessageMoveTask"];
const CRYPTOGRAPHY: [&str; 5] = ["kms:Decrypt", "kms:GenerateDataKey", "kms:Encrypt", "kms:ReEncryptFrom", "kms:CreateGrant"];

/// Someone who is asked about.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    /// A session of the role, or the user, with this ARN, outside any organisation.
    Arn(String),
    /// A service for a source.
    Service {
        /// The service.
        name: String,
        /// `aws:SourceArn`.
        source: String,
        /// `aws:SourceAccount`.
        account: String,
    },
    /// A session of a role in a member account of an organisation.
    Member {
        /// ARN without what follows `role/`.
        prefix: String,
        /// Path and name of the role.
        role: String,
        /// The organisation's id.
        organization: String,
        /// The account's path in it.
        path: String,
    },
    /// An unsigned call.
    Anonymous,
}

/// One use of a queue, or of a key through a queue.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Use {
    /// The action.
    pub action: &'static str,
    /// ARN of the queue; empty: the key's direct use, past SQS.
    pub queue: String,
}

/// Who can do what.
pub type Holders = BTreeSet<(Subject, Use)>;

impl Subject {
    /// ARN of the role, where it is one.
    pub(super) fn role_arn(&self) -> Option<String> {
        match self {
            Self::Arn(arn) => Some(arn.clone()),
            Self::Member { prefix, role, .. } => Some(format!("{prefix}{role}")),
            Self::Service { .. } | Self::Anonymous => None,
        }
    }

    fn request(&self, action: &str, resource: &str) -> Request {
        let mut context = BTreeMap::new();
        let mut put = |key: &str, value: &str| drop(context.insert(key.to_owned(), vec![value.to_owned()]));
        put("aws:SecureTransport", "true");
        let caller = match self {
            Self::Arn(_) | Self::Member { .. } => {
                let role = self.role_arn().unwrap_or_default();
                put("aws:PrincipalArn", &role);
                put("aws:PrincipalIsAWSService", "false");
                Caller::Session { role, name: "session".to_owned() }
            }
            Self::Service { name, source, account } => {
                put("aws:PrincipalIsAWSService", "true");
                put("aws:SourceArn", source);
                put("aws:SourceAccount", account);
                Caller::Service(name.clone())
            }
            Self::Anonymous => Caller::Anonymous,
        };
        if let Self::Member { organization, path, .. } = self {
            put("aws:PrincipalOrgID", organization);
            put("aws:PrincipalOrgPaths", path);
        }
        Request { caller, action: action.to_owned(), resource: resource.to_owned(), context }
    }
}

/// All texts of a document.
fn strings<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) => drop(found.insert(text)),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, found)),
        _ => {}
    }
}

fn condition_values<'a>(policy: &'a Value, wanted: &str) -> BTreeSet<&'a str> {
    let operators = items(&policy["Statement"]).into_iter().filter_map(|statement| statement["Condition"].as_object());
    let keys = operators.flat_map(|operators| operators.values()).filter_map(Value::as_object).flatten();
    keys.filter(|(key, _)| key.eq_ignore_ascii_case(wanted)).flat_map(|(_, values)| texts(values)).collect()
}

/// Everyone whom a policy of a resource of this account could mean.
fn subjects(policy: &Value, partition: &str, account: &str) -> BTreeSet<Subject> {
    let role_of = |account: &str| format!("arn:{partition}:iam::{account}:role/");
    let mut subjects = BTreeSet::from([
        Subject::Anonymous,
        Subject::Arn(role_of(account) + "stranger"),
        Subject::Arn(role_of(FOREIGN_ACCOUNT) + "stranger"),
        Subject::Service { name: "lambda.amazonaws.com".to_owned(), source: String::new(), account: account.to_owned() },
    ]);
    let mut mentioned = BTreeSet::new();
    strings(policy, &mut mentioned);
    let mut names = BTreeSet::from(["stranger"]);
    for text in mentioned {
        match text.split_once(":role/").or_else(|| text.split_once(":user/")) {
            Some((head, name)) if head.ends_with('*') => drop(names.insert(name)),
            Some(_) => drop(subjects.insert(Subject::Arn(text.to_owned()))),
            None if text.ends_with(":root") => subjects.extend(text.split(':').nth(4).map(|id| Subject::Arn(role_of(id) + "stranger"))),
            None if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                subjects.insert(Subject::Arn(role_of(text) + "stranger"));
            }
            None => {}
        }
    }
    let prefixes = [role_of(account), role_of(FOREIGN_ACCOUNT)];
    subjects.extend(names.iter().flat_map(|name| prefixes.iter().map(move |prefix| Subject::Arn(format!("{prefix}{name}")))));
    subjects.extend(members(policy, &names, &prefixes));
    subjects.extend(services(policy, account));
    subjects
}

fn members(policy: &Value, names: &BTreeSet<&str>, prefixes: &[String]) -> Vec<Subject> {
    let paths = condition_values(policy, "aws:PrincipalOrgPaths");
    let mut members = Vec::new();
    for organization in condition_values(policy, "aws:PrincipalOrgID").into_iter().chain([FOREIGN_ORGANIZATION]) {
        let own = paths.iter().filter(|path| path.starts_with(organization)).map(|path| path.trim_end_matches('*').to_owned());
        for path in own.chain([format!("{organization}/r-none/")]) {
            members.extend(names.iter().flat_map(|role| {
                prefixes.iter().map(|prefix| Subject::Member {
                    prefix: prefix.clone(),
                    role: (*role).to_owned(),
                    organization: organization.to_owned(),
                    path: path.clone(),
                })
            }));
        }
    }
    members
}

fn services(policy: &Value, account: &str) -> Vec<Subject> {
    let named = items(&policy["Statement"]).into_iter().flat_map(|statement| texts(&statement["Principal"]["Service"]));
    let named: BTreeSet<_> = named.collect();
    let sources = condition_values(policy, "aws:SourceArn").into_iter().filter(|source| *source != "*").chain(["arn:aws:s3:::foreign"]);
    let sources: BTreeSet<_> = sources.collect();
    let accounts = condition_values(policy, "aws:SourceAccount").into_iter().filter(|id| *id != "*").chain([account, FOREIGN_ACCOUNT]);
    let accounts: BTreeSet<_> = accounts.collect();
    let service =
        |name: &str, source: &str, account: &str| Subject::Service { name: name.to_owned(), source: source.to_owned(), account: account.to_owned() };
    let pairs = || sources.iter().flat_map(|source| accounts.iter().map(move |account| (*source, *account)));
    named.iter().flat_map(|name| pairs().map(move |(source, account)| service(name, source, account))).collect()
}

/// The policy without the Denies of a suspended tenant: what it says of grants.
fn unsuspended(policy: &Value) -> Value {
    let statements = items(&policy["Statement"]).into_iter().filter(|statement| statement["Sid"] != "DenySuspended").cloned();
    serde_json::json!({"Statement": statements.collect::<Vec<_>>()})
}

/// Partition, Region and account of an ARN.
pub(super) fn place_of(arn: &str) -> (&str, &str, &str) {
    let mut parts = arn.split(':').skip(1);
    let partition = parts.next().unwrap_or_default();
    (partition, parts.nth(1).unwrap_or_default(), parts.next().unwrap_or_default())
}

/// Who can do what. With `everyone_has_iam` each caller's IAM policies allow everything, else only those of other accounts do.
pub fn queue_holders(policy: &Value, queue: &str, everyone_has_iam: bool) -> Holders {
    let (partition, _, account) = place_of(queue);
    let policy = unsuspended(policy);
    let mut holders = Holders::new();
    for subject in subjects(&policy, partition, account) {
        for action in DATA_PLANE {
            let request = subject.request(action, queue);
            if may(&policy, Service::Sqs, account, &request, everyone_has_iam) {
                holders.insert((subject.clone(), Use { action, queue: queue.to_owned() }));
            }
        }
    }
    holders
}

/// Who can use the key, through which queues or past all of them.
pub fn key_holders(policy: &Value, key: &str, everyone_has_iam: bool) -> Holders {
    let (partition, region, account) = place_of(key);
    let policy = unsuspended(policy);
    let suffix = if partition == "aws-cn" { ".cn" } else { "" };
    let foreign = format!("arn:{partition}:sqs:{region}:{account}:foreign");
    let mut queues = condition_values(&policy, "kms:EncryptionContext:aws:sqs:arn");
    queues.extend(["", foreign.as_str()]);
    let mut holders = Holders::new();
    for subject in subjects(&policy, partition, account) {
        let is_service = matches!(subject, Subject::Service { .. });
        for (action, queue, via_sqs) in CRYPTOGRAPHY.into_iter().flat_map(|action| queues.iter().map(move |queue| (action, *queue))).flat_map(both) {
            // Services call without ViaService, and one that tells no queue is not held to one.
            if is_service && (queue.is_empty() || via_sqs) {
                continue;
            }
            let mut request = subject.request(action, key);
            if !queue.is_empty() {
                request.context.insert("kms:EncryptionContext:aws:sqs:arn".to_owned(), vec![queue.to_owned()]);
            }
            if via_sqs {
                request.context.insert("kms:ViaService".to_owned(), vec![format!("sqs.{region}.amazonaws.com{suffix}")]);
            }
            if may(&policy, Service::Kms, account, &request, everyone_has_iam) {
                let queue = if via_sqs || is_service { queue.to_owned() } else { String::new() };
                holders.insert((subject.clone(), Use { action, queue }));
            }
        }
    }
    holders
}

/// Through SQS and past it.
fn both<A: Copy, B: Copy>((action, queue): (A, B)) -> [(A, B, bool); 2] {
    [(action, queue, true), (action, queue, false)]
}

fn may(policy: &Value, service: Service, account: &str, request: &Request, everyone_has_iam: bool) -> bool {
    let iam = everyone_has_iam || request.caller.account() != Some(account);
    Evidence { owner: Owner { service, account }, policy, iam }.allows(request)
}
