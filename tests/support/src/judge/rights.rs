//! Whether the policies of `deploy/aws` would have let the operator do what it did, by the tags and key policies of each moment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::evaluator::{Caller, Request, Verdict, evaluate, items, texts};
use super::state::{Aws, Queue, Touched, partition, tags};
use crate::proxy::{Call, Kind, WITH_WEB_IDENTITY};

const CLUSTER: &str = "encryptedqueue.dev/cluster";

/// What a role in the operator's own account has, and what one in a tenant's account has.
const OWN: [&str; 6] = ["tenant-roles", "queues-and-keys", "adoption", "pod-identity-associations", "cost", "drift-consumer"];
const TENANT: [&str; 3] = ["queues-and-keys", "adoption", "cost"];

/// A policy of `deploy/aws/policies` with its placeholders filled in.
///
/// # Panics
/// When there is no such file, or a placeholder has no value.
#[allow(clippy::panic, reason = "for tests alone")]
pub fn policy(name: &str, values: &[(&str, &str)]) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../deploy/aws/policies/{name}.json"));
    let mut text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for (placeholder, value) in values {
        text = text.replace(&format!("${{{placeholder}}}"), value);
    }
    assert!(!text.contains("${"), "{name} has a placeholder without a value: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same for an account; what else the deployment takes is as wide as can be.
pub fn policy_of(name: &str, partition: &str, account: &str, cluster: &str, queue_names: &str) -> Value {
    let values = [
        ("Partition", partition),
        ("AccountId", account),
        ("ClusterId", cluster),
        ("Region", "eu-west-1"),
        ("QueueNames", queue_names),
        ("AdoptableQueueNames", "*"),
        ("TenantRoleName", "encrypted-queue-operator"),
        ("EksClusterName", "*"),
        ("DriftQueueName", "drift"),
    ];
    policy(name, &values)
}

/// An identity's policy as one of a resource: nobody is named there, since it speaks of whoever has it.
pub fn of_anyone(policy: &Value) -> Value {
    let named = |statement: &Value| {
        let mut statement = statement.clone();
        statement["Principal"] = "*".into();
        statement
    };
    json!({"Version": "2012-10-17", "Statement": items(&policy["Statement"]).into_iter().map(named).collect::<Vec<_>>()})
}

/// Policies by name.
type Named = Vec<(&'static str, Value)>;

/// What it took to do what was done.
#[derive(Clone, Debug, Default)]
pub struct Taken {
    /// Calls that were judged.
    pub calls: usize,
    /// `policy action`: no key policy would have sufficed instead.
    pub needed: BTreeSet<String>,
    /// `policy action`: allowed there, and by a key policy too.
    pub allowed: BTreeSet<String>,
    /// A line for each call that nothing allows.
    pub refused: Vec<String>,
}

/// One thing that AWS asks of policies for a call.
struct Ask {
    action: String,
    resource: String,
    context: BTreeMap<String, Vec<String>>,
}

struct Replay {
    aws: Aws,
    /// By ARN, the key's ARN.
    aliases: BTreeMap<String, String>,
    /// Tags of queues that were deleted.
    deleted: BTreeMap<String, BTreeMap<String, String>>,
    /// The role behind each access key of the operator.
    roles: BTreeMap<String, String>,
    clusters: BTreeSet<String>,
    /// The operator's own account.
    account: String,
    /// Queues that it made.
    made: BTreeSet<String>,
    /// By account, partition, cluster and whether it is about a new queue.
    policies: BTreeMap<(String, &'static str, String, bool), Named>,
    taken: Taken,
}

/// Judges all calls that were made with the operator's access key, or with one of a role that it assumed.
pub fn rights_taken(calls: &[Call], access_key: &str, role: &str) -> Taken {
    let roles = BTreeMap::from([(access_key.to_owned(), role.to_owned())]);
    let account = role.split(':').nth(4).unwrap_or_default().to_owned();
    let (made, policies) = (BTreeSet::new(), BTreeMap::new());
    let mut replay = Replay {
        aws: Aws::default(),
        aliases: BTreeMap::new(),
        deleted: BTreeMap::new(),
        roles,
        clusters: BTreeSet::new(),
        account,
        made,
        policies,
        taken: Taken::default(),
    };
    for call in calls {
        replay.learn_role(call);
    }
    let tagged = calls.iter().filter(|call| replay.roles.contains_key(&call.access_key) && call.kind == Kind::Write);
    replay.clusters = tagged.filter_map(|call| requested_tags(call).remove(CLUSTER)).collect();
    if replay.clusters.is_empty() {
        replay.clusters.insert("none".to_owned());
    }
    for call in calls {
        replay.take(call);
    }
    replay.taken
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn requested_tags(call: &Call) -> BTreeMap<String, String> {
    ["tags", "Tags"].iter().map(|name| tags(&call.request[*name])).find(|tags| !tags.is_empty()).unwrap_or_default()
}

fn arn(call: &Call, service: &str, resource: &str) -> String {
    format!("arn:{}:{service}:{}:{}:{resource}", partition(&call.region), call.region, call.account)
}

impl Ask {
    fn new(action: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { action: action.into(), resource: resource.into(), context: BTreeMap::new() }
    }

    fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.entry(key.into()).or_default().push(value.into());
        self
    }

    fn requesting(mut self, tags: &BTreeMap<String, String>) -> Self {
        for (key, value) in tags {
            self = self.with(format!("aws:RequestTag/{key}"), value).with("aws:TagKeys", key);
        }
        self
    }

    fn on(mut self, tags: Option<&BTreeMap<String, String>>) -> Self {
        for (key, value) in tags.into_iter().flatten() {
            self = self.with(format!("aws:ResourceTag/{key}"), value);
        }
        self
    }

    fn request(&self, role: &str) -> Request {
        let context = self.context.clone();
        let caller = Caller::Session { role: role.to_owned(), name: "session".to_owned() };
        let request = Request { caller, action: self.action.clone(), resource: self.resource.clone(), context };
        let own = [("aws:PrincipalArn", role), ("aws:SecureTransport", "true")];
        own.into_iter().fold(request, |mut request, (key, value)| {
            request.context.insert(key.to_owned(), vec![value.to_owned()]);
            request
        })
    }
}

impl Replay {
    fn learn_role(&mut self, call: &Call) {
        let answer = call.response.as_str().and_then(|xml| xml.split_once("<AccessKeyId>")?.1.split_once('<')).map(|(key, _)| key);
        let role = text(&call.request, "RoleArn");
        let is_operator = call.is(WITH_WEB_IDENTITY) && self.roles.values().any(|own| own == role);
        if (is_operator || call.is("AssumeRole") && self.roles.contains_key(&call.access_key))
            && let Some(key) = answer
        {
            self.roles.insert(key.to_owned(), role.to_owned());
        }
    }

    fn take(&mut self, call: &Call) {
        if call.took_effect && call.service == "kms" {
            self.aws.named_key(call);
        }
        if let Some(role) = self.roles.get(&call.access_key).cloned() {
            self.taken.calls += 1;
            for ask in self.asks(call) {
                self.judge(call, &ask, &role);
            }
        }
        if call.took_effect && (call.kind == Kind::Write || call.is("CreateGrant")) {
            self.note_alias(call);
            self.note_end(call);
            let touched = self.aws.apply(call);
            if let Some(Touched::Queue(queue)) = touched
                && call.is("CreateQueue")
                && self.roles.contains_key(&call.access_key)
            {
                self.made.insert(queue);
            }
        }
    }

    fn note_end(&mut self, call: &Call) {
        let queue = arn(call, "sqs", text(&call.request, "QueueUrl").rsplit('/').next().unwrap_or_default());
        if call.is("DeleteQueue")
            && let Some(Queue { tags, .. }) = self.aws.queues.get(&queue)
        {
            self.deleted.insert(queue, tags.clone());
        }
    }

    fn note_alias(&mut self, call: &Call) {
        let alias = arn(call, "kms", text(&call.request, "AliasName"));
        match call.operation.as_str() {
            "CreateAlias" | "UpdateAlias" => drop(self.aliases.insert(alias, self.key(call, "TargetKeyId").unwrap_or_default())),
            "DeleteAlias" => drop(self.aliases.remove(&alias)),
            _ => {}
        }
    }

    /// The ARN of the key that a parameter names; of an alias only when it is there.
    fn key(&self, call: &Call, parameter: &str) -> Option<String> {
        let id = text(&call.request, parameter);
        match id {
            id if id.contains("alias/aws/") => Some(arn(call, "kms", "key/of-aws")),
            id if id.starts_with("alias/") => self.aliases.get(&arn(call, "kms", id)).cloned(),
            id if id.starts_with("arn:") && id.contains(":alias/") => self.aliases.get(id).cloned(),
            id if id.starts_with("arn:") => Some(id.to_owned()),
            id => Some(arn(call, "kms", &format!("key/{id}"))),
        }
    }

    fn asks(&self, call: &Call) -> Vec<Ask> {
        match call.service.as_str() {
            "kms" => self.asks_of_kms(call),
            "sqs" => self.asks_of_sqs(call),
            "tagging" => vec![Ask::new(format!("tag:{}", call.operation), "*")],
            "monitoring" => vec![Ask::new(format!("cloudwatch:{}", call.operation), "*")],
            "iam" => {
                vec![Ask::new(format!("iam:{}", call.operation), format!("arn:aws:iam::{}:role/{}", call.account, text(&call.request, "RoleName")))]
            }
            "eks" if call.is("ListPodIdentityAssociations") => vec![Ask::new(format!("eks:{}", call.operation), arn(call, "eks", "cluster/prod"))],
            "eks" => vec![Ask::new(format!("eks:{}", call.operation), arn(call, "eks", "podidentityassociation/prod/a-1"))],
            // Whoever has credentials may ask whose they are.
            "sts" if call.is("GetCallerIdentity") => Vec::new(),
            service => vec![Ask::new(format!("{service}:{}", call.operation), text(&call.request, "RoleArn"))],
        }
    }

    fn asks_of_kms(&self, call: &Call) -> Vec<Ask> {
        let action = format!("kms:{}", call.operation);
        let alias = || Ask::new(action.clone(), arn(call, "kms", text(&call.request, "AliasName")));
        let of_key = |key: String| {
            let tags = self.aws.keys.get(&key).map(|key| &key.tags);
            Ask::new(action.clone(), key).requesting(&requested_tags(call)).on(tags)
        };
        let bypasses = || call.request["BypassPolicyLockoutSafetyCheck"].as_bool().unwrap_or_default().to_string();
        match call.operation.as_str() {
            "CreateKey" => {
                let (tags, defaults) =
                    (requested_tags(call), [("KeySpec", "SYMMETRIC_DEFAULT"), ("KeyUsage", "ENCRYPT_DECRYPT"), ("KeyOrigin", "AWS_KMS")]);
                let ask = Ask::new(action, "*").requesting(&tags).with("kms:BypassPolicyLockoutSafetyCheck", bypasses());
                let ask = defaults.into_iter().fold(ask, |ask, (name, default)| {
                    let asked = text(&call.request, name);
                    ask.with(format!("kms:{name}"), if asked.is_empty() { default } else { asked })
                });
                vec![ask, Ask::new("kms:TagResource", arn(call, "kms", "key/*")).requesting(&tags)]
            }
            "ListKeys" | "ListAliases" => vec![Ask::new(action, "*")],
            "CreateAlias" => std::iter::once(alias()).chain(self.key(call, "TargetKeyId").map(of_key)).collect(),
            "UpdateAlias" | "DeleteAlias" => {
                let before = self.aliases.get(&arn(call, "kms", text(&call.request, "AliasName"))).cloned();
                let target = self.key(call, "TargetKeyId").filter(|_| call.is("UpdateAlias"));
                std::iter::once(alias()).chain(before.into_iter().chain(target).map(of_key)).collect()
            }
            "PutKeyPolicy" => {
                self.key(call, "KeyId").map(of_key).map(|ask| ask.with("kms:BypassPolicyLockoutSafetyCheck", bypasses())).into_iter().collect()
            }
            _ => self.key(call, "KeyId").map(of_key).into_iter().collect(),
        }
    }

    fn asks_of_sqs(&self, call: &Call) -> Vec<Ask> {
        // A batch takes the right to each of its messages.
        let (action, request) = (format!("sqs:{}", call.operation.trim_end_matches("Batch")), &call.request);
        let name = match text(request, "QueueName") {
            "" => text(request, "QueueUrl").rsplit('/').next().unwrap_or_default(),
            name => name,
        };
        let queue = arn(call, "sqs", name);
        // Whoever did not hear that a queue was deleted asks again.
        let held = self.aws.queues.get(&queue).map(|queue| &queue.tags).or_else(|| self.deleted.get(&queue).filter(|_| call.is("DeleteQueue")));
        let requested = requested_tags(call);
        match call.operation.as_str() {
            "ListQueues" => vec![Ask::new(action, "*")],
            // Tags at creation take the right to tag.
            "CreateQueue" => {
                vec![Ask::new(action, queue.clone()).requesting(&requested), Ask::new("sqs:TagQueue", queue).requesting(&requested).on(held)]
            }
            _ => vec![Ask::new(action, queue).requesting(&requested).on(held)],
        }
    }

    fn judge(&mut self, call: &Call, ask: &Ask, role: &str) {
        let request = ask.request(role);
        let by_key = self.aws.keys.get(&ask.resource).filter(|key| !key.policy.is_null()).map(|key| evaluate(&key.policy, &request));
        let by_queue = self.aws.queues.get(&ask.resource).map(|queue| evaluate(&queue.policy, &request));
        // Whether a queue is new cannot be told in a policy. That adoption takes its own is seen where its names are not those of new queues.
        let is_new = call.is("CreateQueue") || self.made.contains(&ask.resource);
        let by_identity = self.by_identity(call, role, is_new, &request);
        let suffices = match by_key {
            Some(Verdict::Denied | Verdict::Silent) => false,
            Some(Verdict::Allowed) => true,
            Some(Verdict::Delegated) | None => by_identity.as_ref().is_some_and(|allowing| !allowing.is_empty()),
        };
        if by_identity.is_none() || by_queue == Some(Verdict::Denied) || !suffices {
            let what = format!("{} on {} is allowed by nothing", ask.action, ask.resource);
            self.taken.refused.push(format!("call {} {}: {what}\n  {}", call.seq, call.name(), call.request));
        }
        let set = if by_key == Some(Verdict::Allowed) { &mut self.taken.allowed } else { &mut self.taken.needed };
        set.extend(by_identity.into_iter().flatten().map(|name| format!("{name} {}", ask.action)));
    }

    /// The role's policies that allow it; `None` when one denies it.
    fn by_identity(&mut self, call: &Call, role: &str, is_new: bool, request: &Request) -> Option<Vec<&'static str>> {
        let account = role.split(':').nth(4).unwrap_or_default();
        let partition = partition(&call.region);
        let mut found = Vec::new();
        for cluster in &self.clusters {
            let of_role = (account.to_owned(), partition, cluster.clone(), is_new);
            let made = || {
                let names: &[&'static str] = if account == self.account { &OWN } else { &TENANT };
                let (queue_names, adopts) = if is_new { ("*", false) } else { ("new", true) };
                let values = |name| (name, of_anyone(&policy_of(name, partition, account, cluster, queue_names)));
                names.iter().copied().filter(|name| adopts || *name != "adoption").map(values).collect()
            };
            let policies: &Named = self.policies.entry(of_role).or_insert_with(made);
            let verdicts: Vec<_> = policies.iter().map(|(name, policy)| (*name, evaluate(policy, request))).collect();
            if verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Denied) {
                return None;
            }
            found.extend(verdicts.into_iter().filter(|(_, verdict)| *verdict == Verdict::Allowed).map(|(name, _)| name));
        }
        Some(found)
    }
}

/// Every action that the policy allows, with the statement's name.
pub fn actions(policy: &Value) -> Vec<(String, String)> {
    let allowing = items(&policy["Statement"]).into_iter().filter(|statement| statement["Effect"] == "Allow");
    let of = |statement: &Value| {
        let sid = text(statement, "Sid").to_owned();
        texts(&statement["Action"]).into_iter().map(move |action| (sid.clone(), action.to_owned())).collect::<Vec<_>>()
    };
    allowing.flat_map(of).collect()
}
