//! Which objects a change touches.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::mem;
use std::sync::Arc;

use super::cache::hash_of;

/// Up to so many are kept side by side: most dependencies have one dependant, and a tree takes ten times the room.
const FEW: usize = 8;

/// What objects depend on.
pub(super) trait Key: Clone + Hash + Ord {
    /// Whether anyone asks what an object depends on, and not only what depends on it: the rest is known by its hash alone.
    fn is_read_back(&self) -> bool;
}

/// Objects in order.
#[derive(Debug)]
enum Dependants<O> {
    One(Arc<O>),
    Few(Vec<Arc<O>>),
    Many(BTreeSet<Arc<O>>),
}

impl<O: Clone + Ord> Dependants<O> {
    fn insert(&mut self, object: &Arc<O>) {
        match self {
            Self::One(one) if one == object => {}
            Self::One(one) => {
                let mut few = vec![one.clone(), object.clone()];
                few.sort();
                *self = Self::Few(few);
            }
            Self::Few(few) => {
                if let Err(at) = few.binary_search(object) {
                    few.reserve_exact(1);
                    few.insert(at, object.clone());
                }
                if few.len() > FEW {
                    *self = Self::Many(mem::take(few).into_iter().collect());
                }
            }
            Self::Many(many) => drop(many.insert(object.clone())),
        }
    }

    /// Whether any is left.
    fn remove(&mut self, object: &Arc<O>) -> bool {
        match self {
            Self::One(one) => one != object,
            Self::Few(few) => {
                few.retain(|known| known != object);
                !few.is_empty()
            }
            Self::Many(many) => {
                many.remove(object);
                !many.is_empty()
            }
        }
    }

    fn to_vec(&self) -> Vec<O> {
        match self {
            Self::One(one) => vec![O::clone(one)],
            Self::Few(few) => few.iter().map(|object| O::clone(object)).collect(),
            Self::Many(many) => many.iter().map(|object| O::clone(object)).collect(),
        }
    }
}

#[derive(Debug)]
struct Dependency<O, K> {
    key: Option<Box<K>>,
    dependants: Dependants<O>,
}

/// Objects by what they depend on. A change of a dependency wakes the objects under its key. Keys are compared by hashes of 64 bits: should two ever be
/// equal, somebody is woken for nothing.
#[derive(Debug)]
pub(super) struct Index<O, K> {
    objects: HashMap<Arc<O>, Box<[u64]>>,
    dependencies: HashMap<u64, Dependency<O, K>>,
}

impl<O, K> Default for Index<O, K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), dependencies: HashMap::new() }
    }
}

impl<O: Clone + Eq + Hash + Ord, K: Key> Index<O, K> {
    /// Notes what an object depends on now; answers what of it that is read back it depended on before.
    pub(super) fn replace(&mut self, object: &O, keys: &BTreeSet<K>) -> BTreeSet<K> {
        let before: BTreeSet<K> = self.of(object).cloned().collect();
        let (object, known) = self.objects.remove_entry(object).unwrap_or_else(|| (Arc::new(object.clone()), Box::default()));
        let hashes: BTreeSet<u64> = keys.iter().map(|key| hash_of(key)).collect();
        for gone in known.iter().filter(|hash| !hashes.contains(hash)) {
            if self.dependencies.get_mut(gone).is_some_and(|dependency| !dependency.dependants.remove(&object)) {
                self.dependencies.remove(gone);
            }
        }
        for key in keys {
            let new = || Dependency { key: key.is_read_back().then(|| Box::new(key.clone())), dependants: Dependants::One(object.clone()) };
            self.dependencies.entry(hash_of(key)).or_insert_with(new).dependants.insert(&object);
        }
        if !keys.is_empty() {
            self.objects.insert(object, hashes.into_iter().collect());
        }
        before
    }

    /// Whether the object depends on anything.
    pub(super) fn knows(&self, object: &O) -> bool {
        self.objects.contains_key(object)
    }

    /// What of that which is read back an object depends on.
    pub(super) fn of(&self, object: &O) -> impl Iterator<Item = &K> {
        let hashes = self.objects.get(object).into_iter().flat_map(|hashes| hashes.iter());
        hashes.filter_map(|hash| self.dependencies.get(hash)?.key.as_deref())
    }

    /// The objects that depend on a key.
    pub(super) fn dependants(&self, key: &K) -> Vec<O> {
        self.dependencies.get(&hash_of(key)).map(|dependency| dependency.dependants.to_vec()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Key for &str {
        fn is_read_back(&self) -> bool {
            !self.starts_with("name")
        }
    }

    #[test]
    fn follows_changes_and_forgets() {
        let mut index = Index::default();
        index.replace(&"orders", &["tenant acme", "tier restricted"].into());
        index.replace(&"mail", &["tenant acme"].into());
        assert_eq!(index.dependants(&"tenant acme"), ["mail", "orders"]);
        let before = index.replace(&"orders", &["tenant acme", "tier internal"].into());
        assert_eq!(before, ["tenant acme", "tier restricted"].into());
        assert!(index.dependants(&"tier restricted").is_empty());
        index.replace(&"orders", &["tenant acme", "name of orders"].into());
        assert_eq!((index.of(&"orders").copied().collect::<Vec<_>>(), index.dependants(&"name of orders")), (vec!["tenant acme"], vec!["orders"]));
        assert!(index.knows(&"orders") && !index.knows(&"another"));
        let many: Vec<String> = (0..20).map(|number| format!("queue-{number:02}")).collect();
        let mut crowd = Index::default();
        many.iter().rev().for_each(|name| drop(crowd.replace(name, &["tenant acme"].into())));
        assert_eq!(crowd.dependants(&"tenant acme"), many);
        for name in &many {
            crowd.replace(name, &[].into());
        }
        assert!(crowd.objects.is_empty() && crowd.dependencies.is_empty());
        index.replace(&"orders", &[].into());
        index.replace(&"mail", &[].into());
        assert!(index.objects.is_empty() && index.dependencies.is_empty());
    }
}
