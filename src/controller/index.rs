//! Which objects a change touches.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::mem;

/// Up to so many are kept side by side: most dependencies have one dependant, and a tree takes ten times the room.
const FEW: usize = 8;

/// Objects in order.
#[derive(Debug)]
enum Dependants<O> {
    Few(Vec<O>),
    Many(BTreeSet<O>),
}

impl<O: Clone + Ord> Dependants<O> {
    fn insert(&mut self, object: &O) {
        match self {
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
    fn remove(&mut self, object: &O) -> bool {
        match self {
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
            Self::Few(few) => few.clone(),
            Self::Many(many) => many.iter().cloned().collect(),
        }
    }
}

/// Objects by what they depend on. A change of a dependency wakes exactly the objects under its key.
#[derive(Debug)]
pub(super) struct Index<O, K> {
    objects: HashMap<O, Box<[K]>>,
    dependants: HashMap<K, Dependants<O>>,
}

impl<O, K> Default for Index<O, K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), dependants: HashMap::new() }
    }
}

impl<O: Clone + Eq + Hash + Ord, K: Clone + Eq + Hash + Ord> Index<O, K> {
    /// Notes what an object depends on now; answers what it depended on before.
    pub(super) fn replace(&mut self, object: &O, keys: &BTreeSet<K>) -> BTreeSet<K> {
        let before = if keys.is_empty() { self.objects.remove(object) } else { self.objects.insert(object.clone(), keys.iter().cloned().collect()) };
        let before: BTreeSet<K> = before.unwrap_or_default().into_iter().collect();
        for gone in before.difference(keys) {
            if self.dependants.get_mut(gone).is_some_and(|dependants| !dependants.remove(object)) {
                self.dependants.remove(gone);
            }
        }
        for new in keys.difference(&before) {
            self.dependants.entry(new.clone()).or_insert_with(|| Dependants::Few(Vec::new())).insert(object);
        }
        before
    }

    /// What an object depends on.
    pub(super) fn of(&self, object: &O) -> impl Iterator<Item = &K> {
        self.objects.get(object).into_iter().flat_map(|keys| keys.iter())
    }

    /// The objects that depend on a key.
    pub(super) fn dependants(&self, key: &K) -> Vec<O> {
        self.dependants.get(key).map(Dependants::to_vec).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_changes_and_forgets() {
        let mut index = Index::default();
        index.replace(&"orders", &["tenant acme", "tier restricted"].into());
        index.replace(&"mail", &["tenant acme"].into());
        assert_eq!(index.dependants(&"tenant acme"), ["mail", "orders"]);
        let before = index.replace(&"orders", &["tenant acme", "tier internal"].into());
        assert_eq!(before, ["tenant acme", "tier restricted"].into());
        assert!(index.dependants(&"tier restricted").is_empty());
        let many: Vec<String> = (0..20).map(|number| format!("queue-{number:02}")).collect();
        let mut crowd = Index::default();
        many.iter().rev().for_each(|name| drop(crowd.replace(name, &["tenant acme"].into())));
        assert_eq!(crowd.dependants(&"tenant acme"), many);
        for name in &many {
            crowd.replace(name, &[].into());
        }
        assert!(crowd.objects.is_empty() && crowd.dependants.is_empty());
        index.replace(&"orders", &[].into());
        index.replace(&"mail", &[].into());
        assert!(index.objects.is_empty() && index.dependants.is_empty());
    }
}
