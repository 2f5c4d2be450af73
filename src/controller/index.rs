//! Which objects a change touches.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

/// Objects by what they depend on. A change of a dependency wakes exactly the objects under its key.
#[derive(Debug)]
pub(super) struct Index<O, K> {
    objects: HashMap<O, BTreeSet<K>>,
    dependants: HashMap<K, BTreeSet<O>>,
}

impl<O, K> Default for Index<O, K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), dependants: HashMap::new() }
    }
}

impl<O: Clone + Eq + Hash + Ord, K: Clone + Eq + Hash + Ord> Index<O, K> {
    /// Notes what an object depends on now; answers what it depended on before.
    pub(super) fn replace(&mut self, object: &O, keys: &BTreeSet<K>) -> BTreeSet<K> {
        let before =
            if keys.is_empty() { self.objects.remove(object) } else { self.objects.insert(object.clone(), keys.clone()) }.unwrap_or_default();
        for gone in before.difference(keys) {
            if let Some(dependants) = self.dependants.get_mut(gone) {
                dependants.remove(object);
                if dependants.is_empty() {
                    self.dependants.remove(gone);
                }
            }
        }
        for new in keys.difference(&before) {
            self.dependants.entry(new.clone()).or_default().insert(object.clone());
        }
        before
    }

    /// What an object depends on.
    pub(super) fn of(&self, object: &O) -> impl Iterator<Item = &K> {
        self.objects.get(object).into_iter().flatten()
    }

    /// The objects that depend on a key.
    pub(super) fn dependants(&self, key: &K) -> Vec<O> {
        self.dependants.get(key).into_iter().flatten().cloned().collect()
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
        index.replace(&"orders", &[].into());
        index.replace(&"mail", &[].into());
        assert!(index.objects.is_empty() && index.dependants.is_empty());
    }
}
