//! What the watches hold of queues, keys and ConfigMaps, of which there are many: of each a few facts that are asked of all, and the object itself packed.
//!
//! An object takes a tenth of what it takes whole, and some microseconds to unpack when one of its own is reconciled.

mod facts;
mod packed;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::watch::Holder;
use crate::api::queue_key::NamespacedName;
use packed::{Bases, Packed};

pub(super) use facts::{QueueFacts, hash_of, moment_of, ready_of};

/// What objects have in common with many: tenant and tier.
type Family = (Arc<str>, Arc<str>);

/// A kind of which a cache holds many.
pub(super) trait Kept: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static {
    /// What is asked of all objects at once.
    type Facts: Send + Sync + 'static;
    /// Whether the object itself is kept too.
    const WHOLE: bool;

    fn facts(&self, names: &mut Names) -> Self::Facts;

    /// Whose it is, where that is counted.
    fn tenant(facts: &Self::Facts) -> Option<&Arc<str>>;

    /// Objects that are alike; none of one that is still to become like the others.
    fn family(facts: &Self::Facts) -> Option<Family>;
}

/// Names that many objects have in common, once each.
#[derive(Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        self.0.retain(|known| Arc::strong_count(known) > 1);
        let name: Arc<str> = name.into();
        self.0.insert(name.clone());
        name
    }
}

struct Entry<F> {
    version: u64,
    /// In which list, or after it, the object was last seen.
    seen: u32,
    facts: F,
    packed: Option<Packed>,
}

struct Objects<K: Kept> {
    entries: BTreeMap<Box<str>, Entry<K::Facts>>,
    names: Names,
    bases: Bases<Family>,
    /// How many each tenant has.
    counts: HashMap<Arc<str>, usize>,
    list: u32,
}

/// Objects of one kind, for many readers.
pub(super) struct Cache<K: Kept> {
    objects: Arc<RwLock<Objects<K>>>,
    ready: watch::Receiver<bool>,
}

/// Keeps a cache as its watch tells.
pub(super) struct CacheWriter<K: Kept> {
    objects: Arc<RwLock<Objects<K>>>,
    ready: watch::Sender<bool>,
}

/// An empty cache and who fills it.
pub(super) fn cache<K: Kept>() -> (Cache<K>, CacheWriter<K>) {
    let objects = Objects { entries: BTreeMap::new(), names: Names::default(), bases: Bases::default(), counts: HashMap::new(), list: 0 };
    let objects = Arc::new(RwLock::new(objects));
    let (sender, ready) = watch::channel(false);
    (Cache { objects: objects.clone(), ready }, CacheWriter { objects, ready: sender })
}

/// Name of an object in its cache, as it is written.
pub(super) fn cached_name(object: &impl ResourceExt) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}

/// The other way round, of an object in a namespace.
pub(super) fn named(name: &str) -> NamespacedName {
    let (namespace, name) = name.split_once('/').unwrap_or_default();
    NamespacedName { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// resourceVersions of one kind are decimal numbers that grow (Kubernetes API concepts, since 1.35 by contract).
fn version(object: &impl ResourceExt) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default()
}

impl<K: Kept> Objects<K> {
    /// Keeps an object unless a newer one is known.
    fn put_newer(&mut self, object: &K) {
        if self.entries.get(cached_name(object).as_str()).is_none_or(|known| known.version <= version(object)) {
            self.put(object);
        }
    }

    fn put(&mut self, object: &K) {
        let (name, version, seen) = (cached_name(object), version(object), self.list);
        let facts = object.facts(&mut self.names);
        let packed = if K::WHOLE { self.bases.pack(object, K::family(&facts)) } else { None };
        self.remove(&name);
        if let Some(tenant) = K::tenant(&facts) {
            *self.counts.entry(tenant.clone()).or_default() += 1;
        }
        self.entries.insert(name.into(), Entry { version, seen, facts, packed });
    }

    fn remove(&mut self, name: &str) {
        let Some(Entry { facts, .. }) = self.entries.remove(name) else { return };
        if let Some(tenant) = K::tenant(&facts)
            && let Some(count) = self.counts.get_mut(tenant)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(tenant);
            }
        }
    }
}

impl<K: Kept> Cache<K> {
    fn read(&self) -> RwLockReadGuard<'_, Objects<K>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once the first list is here; also if the process is ending.
    pub(super) async fn wait_until_ready(&self) {
        self.ready.clone().wait_for(|ready| *ready).await.ok();
    }

    /// An object, as a person would write its name: `namespace/name`, or `name`.
    pub(super) fn get(&self, name: &str) -> Option<Arc<K>> {
        self.read().entries.get(name)?.packed.as_ref()?.unpack().map(Arc::new)
    }

    /// What is known of an object without unpacking it.
    pub(super) fn facts<T>(&self, name: &str, of: impl FnOnce(&K::Facts) -> T) -> Option<T> {
        self.read().entries.get(name).map(|entry| of(&entry.facts))
    }

    /// Looks at the facts of all objects, in order of their names.
    pub(super) fn look(&self, mut at: impl FnMut(&str, &K::Facts)) {
        self.read().entries.iter().for_each(|(name, entry)| at(name, &entry.facts));
    }

    /// What is picked of the facts of all objects.
    pub(super) fn select<T>(&self, pick: impl Fn(&str, &K::Facts) -> Option<T>) -> Vec<T> {
        self.read().entries.iter().filter_map(|(name, entry)| pick(name, &entry.facts)).collect()
    }

    /// How many objects a tenant has.
    pub(super) fn count_of(&self, tenant: &str) -> usize {
        self.read().counts.get(tenant).copied().unwrap_or_default()
    }

    /// The objects with such facts, one after the other unpacked.
    pub(super) fn objects(&self, such: impl Fn(&K::Facts) -> bool) -> impl Iterator<Item = Arc<K>> {
        self.select(|name, facts| such(facts).then(|| Box::<str>::from(name))).into_iter().filter_map(|name| self.get(&name))
    }

    /// The objects whose names begin so.
    pub(super) fn beginning_with(&self, prefix: &str) -> Vec<K> {
        let objects = self.read();
        let from = objects.entries.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.take_while(|(name, _)| name.starts_with(prefix)).filter_map(|(_, entry)| entry.packed.as_ref()?.unpack()).collect()
    }

    /// Keeps what a write returned, unless the watch knows newer, or that the object went.
    pub(super) fn note(&self, written: &K) {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        if objects.entries.contains_key(cached_name(written).as_str()) {
            objects.put_newer(written);
        }
    }
}

impl<K: Kept> CacheWriter<K> {
    fn write(&self) -> RwLockWriteGuard<'_, Objects<K>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Kept> Holder<K> for CacheWriter<K> {
    fn hold(&mut self, event: &Event<K>) -> Vec<ObjectRef<K>> {
        match event {
            Event::Init => {
                let mut objects = self.write();
                objects.list = objects.list.wrapping_add(1);
            }
            // What a list says counts, even if it is older: a cluster that was restored from a backup counts its versions anew.
            Event::InitApply(object) => self.write().put(object),
            Event::Apply(object) => self.write().put_newer(object),
            Event::Delete(object) => self.write().remove(&cached_name(object)),
            Event::InitDone => {
                let mut objects = self.write();
                let list = objects.list;
                let gone: Vec<Box<str>> = objects.entries.iter().filter(|(_, entry)| entry.seen != list).map(|(name, _)| name.clone()).collect();
                for name in &gone {
                    objects.remove(name);
                }
                drop(objects);
                self.ready.send_replace(true);
                return gone.iter().map(|name| reference(name)).collect();
            }
        }
        Vec::new()
    }
}

fn reference<K: Kept>(name: &str) -> ObjectRef<K> {
    match name.split_once('/') {
        Some((namespace, name)) => ObjectRef::new(name).within(namespace),
        None => ObjectRef::new(name),
    }
}

#[cfg(test)]
mod tests;
