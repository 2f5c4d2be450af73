//! Watch events that come late or never, and lists of before.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use serde_json::Value;
use tokio::sync::Notify;

/// What happens to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventEffect {
    /// It comes so much later, and those after it on the same watch not before it.
    Delay(Duration),
    /// It never comes.
    Drop,
    /// The watch ends, as watches do; the client watches again.
    EndWatch,
}

/// Which events of which watches; what is not said matches all.
#[derive(Clone, Debug)]
pub struct EventRule {
    /// Plural resource name.
    pub resource: Option<String>,
    /// Name of the object.
    pub name: Option<String>,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub type_: Option<String>,
    /// How many events; 0 for all.
    pub times: u64,
    /// What happens.
    pub effect: EventEffect,
}

impl EventRule {
    /// The next event of any object of this resource.
    pub fn once(resource: &str, effect: EventEffect) -> Self {
        Self { resource: Some(resource.to_owned()), name: None, type_: None, times: 1, effect }
    }

    fn matches(&self, resource: &str, event: &Value) -> bool {
        let same = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        // Bookmarks and errors are the protocol's own.
        let is_change = matches!(text("/type"), "ADDED" | "MODIFIED" | "DELETED");
        is_change && same(&self.resource, resource) && same(&self.name, text("/object/metadata/name")) && same(&self.type_, text("/type"))
    }
}

/// What is armed for watches, and what lists answered.
#[derive(Default)]
pub(super) struct Watches {
    rules: Mutex<Vec<EventRule>>,
    /// Path with query → its last answer.
    answers: Mutex<HashMap<String, Bytes>>,
    /// Resource → how often the kept answers are given instead of the server's.
    old: Mutex<Option<Old>>,
    /// Ends all watches.
    pub broken: Notify,
}

struct Old {
    resource: Option<String>,
    answers: HashMap<String, Bytes>,
    left: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watches {
    pub fn arm(&self, rule: EventRule) {
        locked(&self.rules).push(rule);
    }

    pub fn clear(&self) {
        locked(&self.rules).clear();
        *locked(&self.old) = None;
    }

    /// What happens to an event: the first rule that fits.
    pub fn meets(&self, resource: &str, line: &[u8]) -> Option<EventEffect> {
        let mut rules = locked(&self.rules);
        if rules.is_empty() {
            return None;
        }
        let event: Value = serde_json::from_slice(line).ok()?;
        let at = rules.iter().position(|rule| rule.matches(resource, &event))?;
        let effect = rules[at].effect;
        if rules[at].times == 1 {
            rules.remove(at);
        } else {
            rules[at].times = rules[at].times.saturating_sub(1);
        }
        Some(effect)
    }

    /// Notes what a list answered.
    pub fn listed(&self, path: &str, answer: &Bytes) {
        locked(&self.answers).insert(path.to_owned(), answer.clone());
    }

    /// Paths that were listed.
    pub fn paths(&self) -> Vec<String> {
        locked(&self.answers).keys().cloned().collect()
    }

    /// From now on so many lists of the resource (all: `None`) are answered as kept.
    pub fn answer_as_before(&self, resource: Option<&str>, times: u64, answers: HashMap<String, Bytes>) {
        *locked(&self.old) = Some(Old { resource: resource.map(str::to_owned), answers, left: times });
    }

    /// The answer of before, if one is to be given.
    pub fn before(&self, resource: &str, path: &str) -> Option<Bytes> {
        let mut old = locked(&self.old);
        let kept = old.as_mut().filter(|old| old.left > 0 && old.resource.as_deref().is_none_or(|wanted| wanted == resource))?;
        let answer = kept.answers.get(path)?.clone();
        kept.left -= 1;
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_rule_is_met_as_often_as_it_says() {
        let watches = Watches::default();
        watches.arm(EventRule { type_: Some("MODIFIED".to_owned()), times: 2, ..EventRule::once("queuekeys", EventEffect::Drop) });
        let event = |type_: &str| serde_json::to_vec(&serde_json::json!({"type": type_, "object": {"metadata": {"name": "k"}}})).unwrap();
        assert_eq!(watches.meets("queuekeys", &event("ADDED")), None);
        assert_eq!(watches.meets("tenants", &event("MODIFIED")), None);
        for expected in [Some(EventEffect::Drop), Some(EventEffect::Drop), None] {
            assert_eq!(watches.meets("queuekeys", &event("MODIFIED")), expected);
        }
    }

    #[test]
    fn a_list_of_before_is_given_as_often_as_said() {
        let watches = Watches::default();
        watches.answer_as_before(Some("tenants"), 1, HashMap::from([("/t".to_owned(), Bytes::from_static(b"old"))]));
        assert_eq!(watches.before("queuekeys", "/t"), None);
        assert_eq!(watches.before("tenants", "/t").unwrap(), "old");
        assert_eq!(watches.before("tenants", "/t"), None);
    }
}
