//! Watches: one task a kind keeps its store and says what changed, once, whatever the API server repeats.

use std::collections::HashSet;
use std::fmt::Debug;
use std::mem;

use futures::{Stream, StreamExt};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

/// Objects listed at once: a start reads all of them, and its peak is what a page takes.
const PAGE: u32 = 100;

/// Hears of every object that is there, changed or went.
pub(super) trait Listener<K>: Send + 'static {
    /// The object is there or changed.
    fn applied(&mut self, object: &K);
    /// The object went.
    fn deleted(&mut self, reference: &ObjectRef<K>)
    where
        K: Lookup;
}

/// Holds what a watch tells.
pub(super) trait Holder<K: Lookup>: Send + 'static {
    /// Takes an event; answers, at the end of a list, what went while nobody watched.
    fn hold(&mut self, event: &Event<K>) -> Vec<ObjectRef<K>>;
}

/// Holds whole objects.
pub(super) struct Whole<K: Resource<DynamicType = ()> + Clone + 'static> {
    writer: Writer<K>,
    known: HashSet<ObjectRef<K>>,
    listed: HashSet<ObjectRef<K>>,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Whole<K> {
    pub(super) fn new(writer: Writer<K>) -> Self {
        Self { writer, known: HashSet::new(), listed: HashSet::new() }
    }
}

impl<K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static> Holder<K> for Whole<K> {
    fn hold(&mut self, event: &Event<K>) -> Vec<ObjectRef<K>> {
        self.writer.apply_watcher_event(event);
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => drop(self.listed.insert(ObjectRef::from_obj(object))),
            Event::InitDone => {
                let before = mem::replace(&mut self.known, mem::take(&mut self.listed));
                return before.difference(&self.known).cloned().collect();
            }
            Event::Apply(object) => drop(self.known.insert(ObjectRef::from_obj(object))),
            Event::Delete(object) => drop(self.known.remove(&ObjectRef::from_obj(object))),
        }
        Vec::new()
    }
}

/// Keeps `holder` up to date and tells `listener`; runs until dropped.
pub(super) async fn objects<K, L>(api: Api<K>, config: watcher::Config, holder: impl Holder<K>, listener: L)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    L: Listener<K>,
{
    let stream = watch_objects(api, config.page_size(PAGE)).modify(forget_what_nobody_reads);
    follow(stream, holder, listener).await;
}

/// The other copies of a spec that objects carry.
fn forget_what_nobody_reads(object: &mut impl Resource) {
    let meta = object.meta_mut();
    meta.managed_fields = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// What a person has to do about it, where that is known.
fn way_out(error: &watcher::Error) -> &'static str {
    use watcher::Error::{InitialListFailed, WatchError, WatchFailed, WatchStartFailed};
    let code = match error {
        InitialListFailed(kube::Error::Api(status)) | WatchStartFailed(kube::Error::Api(status)) | WatchFailed(kube::Error::Api(status)) => {
            status.code
        }
        WatchError(status) => status.code,
        _ => 0,
    };
    match code {
        404 => ". The kind is not served: install this version's definitions (helm upgrade, or encrypted-queue crds --apply)",
        403 => ". The operator's ClusterRole lacks list or watch of this kind: nothing is done until it has them; the chart's has all that is needed",
        _ => "",
    }
}

async fn follow<K, L>(stream: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send, mut holder: impl Holder<K>, mut listener: L)
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    L: Listener<K>,
{
    let mut stream = std::pin::pin!(stream.default_backoff());
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "watch failed; it is started again{}", way_out(&error));
                continue;
            }
        };
        // The store first: whoever is woken reads it.
        let gone = holder.hold(&event);
        match event {
            Event::Init => {}
            Event::InitApply(object) | Event::Apply(object) => listener.applied(&object),
            Event::InitDone => gone.iter().for_each(|gone| listener.deleted(gone)),
            Event::Delete(object) => listener.deleted(&ObjectRef::from_obj(&object)),
        }
    }
}
