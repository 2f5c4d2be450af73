//! What was declared, and when: every version of every object that a test applied, as the API server showed it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::evaluator::{glob, items, texts};
use super::probes::{Subject, Use};

/// Kinds that decide who may do what.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// `EncryptedQueue`.
    Queue,
    /// `Tenant`.
    Tenant,
    /// `SensitivityTier`.
    Tier,
    /// `ServiceAccount`, or what EKS associates with one.
    ServiceAccount,
}

/// Which object.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct ObjectName {
    kind: Kind,
    namespace: String,
    name: String,
}

#[derive(Clone, Debug)]
struct Version {
    from: Duration,
    until: Duration,
    object: Value,
}

/// A stretch of time, from the proxy's start.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its beginning.
    pub from: Duration,
    /// Its end.
    pub until: Duration,
}

/// Every version of every object.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    versions: BTreeMap<ObjectName, Vec<Version>>,
    /// ServiceAccount → roles that EKS was seen to associate with it.
    associated: BTreeMap<(String, String), BTreeSet<String>>,
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

impl Declarations {
    /// Notes what an object is from now on; `None`: it is gone.
    pub fn see(&mut self, now: Duration, kind: Kind, namespace: &str, name: &str, object: Option<Value>) {
        let name = ObjectName { kind, namespace: namespace.to_owned(), name: name.to_owned() };
        let versions = self.versions.entry(name).or_default();
        let open = versions.last_mut().filter(|last| last.until == Duration::MAX);
        if let Some(last) = open {
            if object.as_ref().is_some_and(|object| said(object) == said(&last.object)) {
                return;
            }
            last.until = now;
        }
        versions.extend(object.map(|object| Version { from: now, until: Duration::MAX, object }));
    }

    /// Notes the objects of a kind that there are from now on: all others are gone.
    pub fn see_all(&mut self, now: Duration, kind: Kind, objects: Vec<Value>) {
        let mut gone: BTreeSet<(String, String)> =
            self.versions.keys().filter(|name| name.kind == kind).map(|name| (name.namespace.clone(), name.name.clone())).collect();
        for object in objects {
            let (namespace, name) = (at(&object, "/metadata/namespace").to_owned(), at(&object, "/metadata/name").to_owned());
            gone.remove(&(namespace.clone(), name.clone()));
            self.see(now, kind, &namespace, &name, Some(object));
        }
        for (namespace, name) in &gone {
            self.see(now, kind, namespace, name, None);
        }
    }

    /// Notes that EKS associates a role with a ServiceAccount.
    pub(super) fn associate(&mut self, namespace: &str, service_account: &str, role: &str) {
        self.associated.entry((namespace.to_owned(), service_account.to_owned())).or_default().insert(role.to_owned());
    }

    fn during<'a>(
        &'a self,
        window: Window,
        kind: Kind,
        namespace: &'a str,
        name: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a ObjectName, &'a Value)> {
        let wanted = move |found: &&ObjectName| found.kind == kind && name.is_none_or(|name| found.name == name && found.namespace == namespace);
        let versions = self.versions.iter().filter(move |(found, _)| wanted(found));
        versions.flat_map(move |(name, versions)| {
            let live = versions.iter().filter(move |version| version.from <= window.until && version.until >= window.from);
            live.map(move |version| (name, &version.object))
        })
    }

    /// What tenants said during that time.
    pub(super) fn tenants<'a>(&'a self, window: Window, name: &'a str) -> Vec<&'a Value> {
        self.during(window, Kind::Tenant, "", Some(name)).map(|(_, object)| object).collect()
    }

    /// Whether some version of that time declares that this subject may do this.
    pub(super) fn allow(&self, window: Window, subject: &Subject, what: &Use) -> bool {
        self.during(window, Kind::Queue, "", None).any(|(name, object)| {
            let declared = Declared { all: self, window, namespace: &name.namespace, object };
            self.tenants(window, at(object, "/spec/tenant")).into_iter().any(|tenant| declared.allows(tenant, subject, what))
        })
    }

    /// Whether any tier of a queue with this ARN left others to IAM during that time.
    pub(super) fn leaves_others_to_iam(&self, window: Window, tier: &str) -> bool {
        self.during(window, Kind::Tier, "", Some(tier)).any(|(_, object)| at(object, "/spec/access/others") == "Unstated")
    }
}

/// What of an object says who may do what: not its status, nor what the server keeps of it.
fn said(object: &Value) -> (Option<&Value>, Option<&Value>) {
    (object.get("spec"), object.pointer("/metadata/annotations"))
}

/// One version of one queue.
struct Declared<'a> {
    all: &'a Declarations,
    window: Window,
    namespace: &'a str,
    object: &'a Value,
}

impl Declared<'_> {
    /// ARNs of the queue and of its dead-letter queue, whether or not there is one.
    fn arns(&self, tenant: &Value) -> [String; 2] {
        let spec = &self.object["spec"];
        let region = spec["region"].as_str().unwrap_or_else(|| at(tenant, "/spec/aws/regions/0"));
        let partition = match region.split('-').next() {
            Some("cn") => "aws-cn",
            _ if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        let suffix = if spec.pointer("/queue/fifo").is_some() { ".fifo" } else { "" };
        let default = || format!("{}-{}-{}", at(spec, "/tenant"), self.namespace, at(self.object, "/metadata/name"));
        let name = spec.pointer("/queue/name").and_then(Value::as_str).map_or_else(default, str::to_owned);
        let stem = name.strip_suffix(".fifo").unwrap_or(&name);
        let arn = |name: String| format!("arn:{partition}:sqs:{region}:{}:{name}{suffix}", at(tenant, "/spec/aws/accountId"));
        let dead_letters = spec.pointer("/deadLetter/name").and_then(Value::as_str).map(|name| name.strip_suffix(".fifo").unwrap_or(name).to_owned());
        [arn(stem.to_owned()), arn(dead_letters.unwrap_or_else(|| format!("{stem}-dlq")))]
    }

    fn allows(&self, tenant: &Value, subject: &Subject, what: &Use) -> bool {
        let [source, dead_letters] = self.arns(tenant);
        let is_source = what.queue == source;
        if !is_source && what.queue != dead_letters {
            return false;
        }
        let spec = &self.object["spec"];
        let list = |pointer: &str| spec.pointer(pointer).map(items).unwrap_or_default();
        let named = |pointer: &str| list(pointer).into_iter().any(|principal| self.names(principal, subject));
        let produces = || list("/producers").into_iter().any(|principal| self.produces(principal, subject, what.action.starts_with("kms:")));
        let own = if list("/deadLetter/consumers").is_empty() { "/consumers" } else { "/deadLetter/consumers" };
        let (consumes, consumes_dead_letters, redrives) = (|| named("/consumers"), || named(own), || named("/deadLetter/redrivers"));
        match (what.action, is_source) {
            ("sqs:SendMessage", true) | ("kms:GenerateDataKey", _) => produces() || redrives(),
            ("sqs:ReceiveMessage" | "sqs:DeleteMessage" | "sqs:ChangeMessageVisibility" | "sqs:PurgeQueue", true) => consumes(),
            ("sqs:ReceiveMessage" | "sqs:DeleteMessage" | "sqs:ChangeMessageVisibility" | "sqs:PurgeQueue", false) => {
                consumes_dead_letters() || redrives()
            }
            ("sqs:StartMessageMoveTask", false) => redrives(),
            ("kms:Decrypt", _) => produces() || consumes() || consumes_dead_letters() || redrives(),
            _ => false,
        }
    }

    /// Whether an entry `role` or `serviceAccount` is this subject.
    fn names(&self, principal: &Value, subject: &Subject) -> bool {
        let Some(arn) = subject.role_arn() else { return false };
        if let Some(account) = principal.pointer("/serviceAccount/name").and_then(Value::as_str) {
            let mut versions = self.all.during(self.window, Kind::ServiceAccount, self.namespace, Some(account));
            let associated = self.all.associated.get(&(self.namespace.to_owned(), account.to_owned()));
            return versions.any(|(_, object)| at(object, "/metadata/annotations/eks.amazonaws.com~1role-arn") == arn)
                || associated.is_some_and(|roles| roles.contains(&arn));
        }
        at(principal, "/role") == arn
    }

    fn produces(&self, principal: &Value, subject: &Subject, with_key: bool) -> bool {
        match (subject, principal.get("service"), principal.get("organization")) {
            (Subject::Service { name, source, account }, Some(service), _) => {
                let default = match name.as_str() {
                    "sns.amazonaws.com" => "SourceArn",
                    "s3.amazonaws.com" => "SourceAccount",
                    _ => "None",
                };
                // The queue policy always has both; the key policy what the service is known to tell KMS.
                let condition = service["keySourceCondition"].as_str().filter(|_| with_key).unwrap_or(if with_key { default } else { "SourceArn" });
                at(service, "/principal") == name
                    && (condition == "None" || at(service, "/sourceAccount") == account)
                    && (condition != "SourceArn" || glob(at(service, "/sourceArn"), source))
            }
            (Subject::Member { role, organization, path, .. }, _, Some(declared)) => {
                let paths = texts(&declared["paths"]);
                at(declared, "/id") == organization
                    && at(declared, "/roleName") == role
                    && (paths.is_empty() || paths.iter().any(|wanted| glob(wanted, path)))
            }
            _ => self.names(principal, subject),
        }
    }
}
