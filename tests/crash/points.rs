//! Where a run is disturbed: a call of the operator, named so that another run has it too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use test_support::kubernetes_proxy::{self, KubernetesProxy};
use test_support::proxy::{Mark, Proxy, Reader, Request};

/// The n-th call of a name: what is called, and on which object. Calls run side by side, so a place in the whole order would be another one each time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) ordinal: u32,
}

impl fmt::Display for Point {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} #{}", self.name, self.ordinal)
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, ordinal) = text.rsplit_once(" #").ok_or_else(|| format!("no point: {text}"))?;
        Ok(Self { name: name.to_owned(), ordinal: ordinal.parse().map_err(|_| format!("no number: {ordinal}"))? })
    }
}

impl Point {
    /// AWS calls are named `service:Operation`.
    pub(crate) fn is_aws(&self) -> bool {
        self.name.split(' ').next().is_some_and(|call| call.contains(':'))
    }

    /// The AWS operation.
    pub(crate) fn operation(&self) -> &str {
        self.name.split([':', ' ']).nth(1).unwrap_or_default()
    }
}

/// When a call is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    BeforeSending,
    AfterEffect,
    AfterAnswer,
}

impl Moment {
    pub(crate) const ALL: [Self; 3] = [Self::BeforeSending, Self::AfterEffect, Self::AfterAnswer];
    const NAMES: [&str; 3] = ["before-sending", "after-effect", "after-answer"];
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(Self::NAMES[*self as usize])
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let at = Self::NAMES.iter().position(|name| *name == text).ok_or_else(|| format!("no moment: {text}"))?;
        Ok(Self::ALL[at])
    }
}

/// Names the operator's calls. Access keys of the harness are not the operator's.
#[derive(Clone)]
pub(crate) struct Namer {
    reader: Reader,
    foreign: BTreeSet<String>,
}

impl Namer {
    pub(crate) fn new(proxy: &Proxy, foreign: BTreeSet<String>) -> Self {
        Self { reader: proxy.reader(), foreign }
    }

    pub(crate) fn aws(&self, request: &Request) -> Option<String> {
        self.name(&request.access_key, &request.service, &request.operation, &request.params)
    }

    fn name(&self, access_key: &str, service: &str, operation: &str, params: &Value) -> Option<String> {
        if self.foreign.contains(access_key) {
            return None;
        }
        let text = |name: &str| params.get(name).and_then(Value::as_str);
        let queue = || text("QueueName").or_else(|| text("QueueUrl")?.rsplit('/').next()).map(str::to_owned);
        let object = match service {
            "sqs" => queue(),
            "kms" if operation == "CreateKey" => tag(params, "encryptedqueue.dev/object"),
            "kms" => text("AliasName").map(str::to_owned).or_else(|| Some(self.key(text("KeyId")?))),
            _ => text("RoleArn").or_else(|| text("RoleName")).map(str::to_owned),
        };
        Some(format!("{service}:{operation} {}", object.unwrap_or_default()).trim_end().to_owned())
    }

    /// The QueueKey that a key was made for.
    fn key(&self, id: &str) -> String {
        if id.contains("alias/") {
            return id.to_owned();
        }
        let id = id.rsplit('/').next().unwrap_or(id);
        let made = self.reader.calls_of("CreateKey").into_iter();
        let mut found = made.filter(|call| call.response.pointer("/KeyMetadata/KeyId").and_then(Value::as_str) == Some(id));
        found.find_map(|call| tag(&call.request, "encryptedqueue.dev/object")).unwrap_or_else(|| "key".to_owned())
    }
}

fn tag(request: &Value, name: &str) -> Option<String> {
    let tags = request.get("Tags")?.as_array()?;
    let found = tags.iter().find(|tag| tag["TagKey"] == name)?;
    found["TagValue"].as_str().map(str::to_owned)
}

/// Leases are renewed by time, and Events tell what happened: neither decides anything.
pub(crate) fn kubernetes(call: &kubernetes_proxy::Call) -> Option<String> {
    let counts = call.is_write() && !matches!(call.resource.as_str(), "leases" | "events");
    counts.then(|| call.title())
}

/// Where a blow falls.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    At(Point),
    /// The n-th call of all, counted from when it is armed.
    Nth(u64),
}

/// Tells the one call that is meant, across both proxies.
#[derive(Clone)]
pub(crate) struct Aim {
    place: Place,
    seen: Arc<AtomicU64>,
}

impl Aim {
    pub(crate) fn new(place: &Place) -> Self {
        Self { place: place.clone(), seen: Arc::default() }
    }

    pub(crate) fn hits(&self, name: Option<&str>) -> bool {
        let Some(name) = name else { return false };
        let wanted = match &self.place {
            Place::At(point) if point.name != name => return false,
            Place::At(point) => u64::from(point.ordinal),
            Place::Nth(number) => *number,
        };
        self.seen.fetch_add(1, Ordering::Relaxed) + 1 == wanted
    }
}

/// All points of what the operator did since the marks, in order.
pub(crate) fn recorded(proxy: &Proxy, since: Mark, kubernetes_proxy: &KubernetesProxy, number: u64, namer: &Namer) -> Vec<Point> {
    let offset = proxy.elapsed().saturating_sub(kubernetes_proxy.elapsed());
    let aws = proxy.calls_since(since).into_iter();
    let aws = aws.filter_map(|call| Some((call.started, namer.name(&call.access_key, &call.service, &call.operation, &call.request)?)));
    let writes = kubernetes_proxy.writes_since(number).into_iter().filter_map(|call| Some((call.started + offset, kubernetes(&call)?)));
    let mut all: Vec<(Duration, String)> = aws.chain(writes).collect();
    all.sort();
    let mut counts = BTreeMap::<String, u32>::new();
    let numbered = all.into_iter().map(|(_, name)| {
        let ordinal = counts.entry(name.clone()).and_modify(|count| *count += 1).or_insert(1);
        Point { name, ordinal: *ordinal }
    });
    numbered.collect()
}

/// Every call of the operator, and what became of it, a line each.
pub(crate) fn chronicle(proxy: &Proxy, kubernetes_proxy: &KubernetesProxy, namer: &Namer) -> String {
    let offset = proxy.elapsed().saturating_sub(kubernetes_proxy.elapsed());
    let aws = proxy.ledger().into_iter().filter_map(|call| {
        let name = namer.name(&call.access_key, &call.service, &call.operation, &call.request)?;
        let line =
            format!("{name} -> {} {} {}", call.status, call.error.as_deref().unwrap_or_default(), if call.took_effect { "" } else { "no effect" });
        Some((call.started, line))
    });
    let writes = kubernetes_proxy.writes().into_iter().filter(|call| call.resource != "events").map(|call| {
        let line = format!("{} -> {} {}", call.title(), call.status, if call.took_effect { call.body.to_string() } else { "no effect".to_owned() });
        (call.started + offset, line)
    });
    let mut all: Vec<(Duration, String)> = aws.chain(writes).collect();
    all.sort();
    let lines: Vec<String> = all.into_iter().map(|(at, line)| format!("{:8.3} {line}", at.as_secs_f64())).collect();
    lines.join("\n")
}

/// Access keys of the harness, as it learns them.
#[derive(Clone, Default)]
pub(crate) struct Foreign(Arc<Mutex<BTreeSet<String>>>);

impl Foreign {
    pub(crate) fn add(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned());
    }

    pub(crate) fn all(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
