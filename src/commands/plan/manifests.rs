//! Manifests → objects, with the place of every mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::queue_key::NamespacedName;
use crate::api::{EncryptedQueue, GROUP, SensitivityTier, Tenant};
use crate::commands::explain::cluster::ROLE_ANNOTATION;
use crate::desired::{ServiceAccountRole, object_name};
use crate::explain::Snapshot;

/// Why manifests could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Not YAML, or not an object of its kind.
    #[error("{path}:{line}:{column}: {message}")]
    Malformed {
        /// File.
        path: String,
        /// Line, from 1.
        line: u64,
        /// Column, from 1.
        column: u64,
        /// What is wrong.
        message: String,
    },
}

/// The objects of the input that bear upon queues.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    queues: BTreeMap<NamespacedName, EncryptedQueue>,
    tenants: BTreeMap<String, Tenant>,
    tiers: BTreeMap<String, SensitivityTier>,
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
    service_accounts: BTreeMap<NamespacedName, ServiceAccountRole>,
    skipped: BTreeMap<(String, String), usize>,
}

/// What every object begins with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: ObjectMeta,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Value>,
}

impl Manifests {
    /// Loads files, folders with all below them, and `-`, which is standard input. `namespace` is that of objects that name none.
    pub fn load(paths: &[PathBuf], namespace: &str) -> Result<Self, LoadError> {
        let mut manifests = Self::default();
        for path in paths {
            if path == Path::new("-") {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).map_err(|source| LoadError::Read { path: "standard input".into(), source })?;
                manifests.add("standard input", &text, namespace)?;
                continue;
            }
            for file in files(path)? {
                let text = fs::read_to_string(&file).map_err(|source| LoadError::Read { path: file.display().to_string(), source })?;
                manifests.add(&file.display().to_string(), &text, namespace)?;
            }
        }
        Ok(manifests)
    }

    /// Adds the documents of one file.
    pub fn add(&mut self, path: &str, text: &str, namespace: &str) -> Result<(), LoadError> {
        documents(text).try_for_each(|document| self.add_document(path, &document, namespace))
    }

    fn add_document(&mut self, path: &str, text: &str, namespace: &str) -> Result<(), LoadError> {
        let Some(header) = parse::<Option<Header>>(path, text)? else { return Ok(()) };
        let own = header.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP);
        if own && header.api_version != format!("{GROUP}/v1alpha1") {
            return Err(malformed(path, text, format!("{} is not served; write {GROUP}/v1alpha1", header.api_version)));
        }
        match (header.api_version.as_str(), header.kind.as_str()) {
            (_, "EncryptedQueue") if own => {
                let mut queue: EncryptedQueue = parse(path, text)?;
                // What the API server keeps is not taken from a file.
                queue.metadata = declared(queue.metadata, Some(namespace));
                queue.status = None;
                let name = object_name(&queue);
                self.queues.insert(NamespacedName { name: named(path, text, &name.name)?, ..name }, queue);
            }
            (_, "Tenant") if own => {
                let mut tenant: Tenant = parse(path, text)?;
                tenant.metadata = declared(tenant.metadata, None);
                self.tenants.insert(named(path, text, &header.metadata.name.unwrap_or_default())?, tenant);
            }
            (_, "SensitivityTier") if own => {
                let mut tier: SensitivityTier = parse(path, text)?;
                tier.metadata = declared(tier.metadata, None);
                self.tiers.insert(named(path, text, &header.metadata.name.unwrap_or_default())?, tier);
            }
            ("v1", "Namespace") => {
                let mut labels = header.metadata.labels.unwrap_or_default();
                let name = named(path, text, &header.metadata.name.unwrap_or_default())?;
                // The API server puts this one on.
                labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
                self.namespaces.insert(name, labels);
            }
            ("v1", "ServiceAccount") => {
                let role = header.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ROLE_ANNOTATION)).cloned();
                let name = named(path, text, &header.metadata.name.unwrap_or_default())?;
                let namespace = header.metadata.namespace.unwrap_or_else(|| namespace.to_owned());
                let role = role.map_or(ServiceAccountRole::WithoutRole, ServiceAccountRole::Role);
                self.service_accounts.insert(NamespacedName { namespace, name }, role);
            }
            ("v1", "List") => {
                for item in parse::<List>(path, text)?.items {
                    let item = item.to_string();
                    self.add_document(&format!("{path} (item of a List)"), &item, namespace)?;
                }
            }
            (_, kind) => {
                let kind = if kind.is_empty() { "without a kind".to_owned() } else { format!("of kind {kind}") };
                *self.skipped.entry((path.to_owned(), kind)).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Documents that do not bear upon queues, or that only the operator or an approver writes.
    pub fn skipped(&self) -> impl Iterator<Item = String> {
        self.skipped.iter().map(|((path, kind), count)| {
            let documents = if *count == 1 { "a document" } else { "documents" };
            format!("{path}: skipped {documents} {kind}{}", if *count > 1 { format!(" ({count})") } else { String::new() })
        })
    }

    /// Whether a queue is in the input, or named by a tenant or tier of it.
    fn touches(&self, name: &NamespacedName, queue: &EncryptedQueue) -> bool {
        self.queues.contains_key(name) || self.tenants.contains_key(&queue.spec.tenant) || self.tiers.contains_key(&queue.spec.sensitivity_tier)
    }

    /// The queues of the cluster with those of the input laid over them, as far as they share a tenant with any that is touched.
    pub fn lay_over_queues(&self, mut queues: BTreeMap<NamespacedName, EncryptedQueue>, now: Timestamp) -> BTreeMap<NamespacedName, EncryptedQueue> {
        for (name, declared) in &self.queues {
            let mut declared = declared.clone();
            if let Some(live) = queues.remove(name) {
                let mut metadata = live.metadata;
                metadata.annotations.get_or_insert_default().extend(declared.metadata.annotations.take().unwrap_or_default());
                declared = EncryptedQueue { metadata, spec: declared.spec, status: live.status };
            } else {
                // A new queue is the youngest: it pushes none out of the tenant's limit.
                declared.metadata.creation_timestamp = Some(Time(now));
                // Only the API server knows the UID; its tag's key is all that is shown.
                declared.metadata.uid = Some("UID".to_owned());
            }
            queues.insert(name.clone(), declared);
        }
        let tenants: BTreeSet<String> =
            queues.iter().filter(|(name, queue)| self.touches(name, queue)).map(|(_, queue)| queue.spec.tenant.clone()).collect();
        queues.retain(|_, queue| tenants.contains(&queue.spec.tenant));
        queues
    }

    /// The manifests as all there is, and the queues to plan.
    pub fn alone(&self, now: Timestamp) -> (Snapshot, BTreeSet<NamespacedName>) {
        let mut snapshot = Snapshot { queues: self.lay_over_queues(BTreeMap::new(), now), ..Snapshot::default() };
        let queues = self.lay_over(&mut snapshot);
        (snapshot, queues)
    }

    /// Every object of the manifests, whether or not any bears upon another.
    pub fn everything(&self, now: Timestamp) -> Snapshot {
        let mut snapshot = self.alone(now).0;
        snapshot.queues.extend(self.queues.clone());
        snapshot
    }

    /// Lays everything else over the cluster's; returns the queues to plan.
    pub fn lay_over(&self, snapshot: &mut Snapshot) -> BTreeSet<NamespacedName> {
        snapshot.tenants.extend(self.tenants.clone());
        snapshot.tiers.extend(self.tiers.clone());
        for (name, labels) in &self.namespaces {
            snapshot.namespaces.entry(name.clone()).or_default().extend(labels.clone());
        }
        snapshot.service_accounts.extend(self.service_accounts.clone());
        snapshot.queues.iter().filter(|(name, queue)| self.touches(name, queue)).map(|(name, _)| name.clone()).collect()
    }
}

/// YAML and JSON files of a folder and all below, or the file itself.
fn files(path: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let read = |source| LoadError::Read { path: path.display().to_string(), source };
    if !fs::metadata(path).map_err(read)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries = fs::read_dir(path).map_err(read)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(read)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let manifest = entry.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
        if manifest || entry.is_dir() {
            found.extend(files(&entry)?);
        }
    }
    Ok(found)
}

/// Each document, at the line where it stands in the file.
fn documents(text: &str) -> impl Iterator<Item = String> {
    let mut documents = vec![String::new()];
    for (number, line) in text.lines().enumerate() {
        let marker = line.strip_prefix("---").filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t']));
        if marker.is_some() {
            documents.push("\n".repeat(number));
        }
        if let Some(document) = documents.last_mut() {
            match marker {
                Some(rest) => document.extend(["   ", rest, "\n"]),
                None => document.extend([line, "\n"]),
            }
        }
    }
    documents.into_iter()
}

fn parse<T: DeserializeOwned>(path: &str, text: &str) -> Result<T, LoadError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |location| (location.line(), location.column()));
        let mut message = error.without_snippet().to_string();
        // It is said already where.
        if let Some(at) = message.find(" at line ") {
            message.truncate(at);
        }
        LoadError::Malformed { path: path.to_owned(), line, column, message }
    })
}

/// A mistake of a whole document, told at its first line.
fn malformed(path: &str, text: &str, message: String) -> LoadError {
    let line = text.lines().position(|line| !line.trim().is_empty()).unwrap_or_default() + 1;
    LoadError::Malformed { path: path.to_owned(), line: line.try_into().unwrap_or(u64::MAX), column: 1, message }
}

fn named(path: &str, text: &str, name: &str) -> Result<String, LoadError> {
    if name.is_empty() { Err(malformed(path, text, "metadata.name is missing".to_owned())) } else { Ok(name.to_owned()) }
}

fn declared(metadata: ObjectMeta, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta {
        name: metadata.name,
        namespace: namespace.map(|default| metadata.namespace.unwrap_or_else(|| default.to_owned())),
        labels: metadata.labels,
        annotations: metadata.annotations,
        ..ObjectMeta::default()
    }
}
