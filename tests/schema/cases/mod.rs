//! Objects that the schemas must accept or reject, and why. Each is tried twice: in process, and by a real API server.

pub mod access_approval;
pub mod encrypted_queue;
mod fifo;
mod principals;
pub mod queue_key;
pub mod sensitivity_tier;
pub mod tenant;

use serde_json::{Value, json};

/// One object, or one change of an object, and whether it is accepted.
pub struct Case {
    /// What is special about it.
    pub name: &'static str,
    /// What is there before; `None`: the object is new.
    pub before: Option<Object>,
    /// What is asked for.
    pub object: Object,
    /// `None`: accepted. Otherwise part of the message: of a rule its text, of a bound the field's path.
    pub rejected: Option<&'static str>,
}

pub fn accepts(name: &'static str, object: Object) -> Case {
    Case { name, before: None, object, rejected: None }
}

pub fn rejects(name: &'static str, object: Object, message: &'static str) -> Case {
    Case { name, before: None, object, rejected: Some(message) }
}

pub fn accepts_change(name: &'static str, before: Object, object: Object) -> Case {
    Case { name, before: Some(before), object, rejected: None }
}

pub fn rejects_change(name: &'static str, before: Object, object: Object, message: &'static str) -> Case {
    Case { name, before: Some(before), object, rejected: Some(message) }
}

/// All cases.
pub fn all() -> Vec<Case> {
    [
        access_approval::cases(),
        encrypted_queue::cases(),
        fifo::cases(),
        principals::cases(),
        queue_key::cases(),
        sensitivity_tier::cases(),
        tenant::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// An object as a user would write it.
#[derive(Clone)]
pub struct Object(pub Value);

impl Object {
    fn new(kind: &str, name: &str, spec: &Value) -> Self {
        let mut object = json!({ "apiVersion": "encryptedqueue.dev/v1alpha1", "kind": kind, "metadata": { "name": name }, "spec": spec });
        if kind == "EncryptedQueue" {
            object["metadata"]["namespace"] = json!("default");
        }
        Self(object)
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap()
    }

    /// The same object with another value at `path`: fields and indices, joined by dots.
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        let mut place = &mut self.0;
        for step in path.split('.') {
            place = match step.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[step],
            };
        }
        *place = value.into();
        self
    }

    /// The same object without the field at `path`.
    pub fn without(mut self, path: &str) -> Self {
        let (parent, field) = path.rsplit_once('.').unwrap();
        let removed = self.0.pointer_mut(&format!("/{}", parent.replace('.', "/"))).and_then(|parent| parent.as_object_mut()?.remove(field));
        assert!(removed.is_some(), "{path} is not there");
        self
    }
}

/// ARN of a role.
pub fn role(name: &str) -> Value {
    json!({ "role": format!("arn:aws:iam::111122223333:role/{name}") })
}

/// As many entries as asked for, each different.
pub fn many(count: usize, entry: impl Fn(usize) -> Value) -> Value {
    (0..count).map(entry).collect()
}

/// Tags, on any kind that takes them.
pub fn tags(of: impl Fn() -> Object) -> Vec<Case> {
    let tagged = |key: &str, value: &str| of().with("spec.tags", json!({ key: value }));
    let number = |count: usize| -> Value { (0..count).map(|i| (format!("tag-{i}"), json!("x"))).collect::<serde_json::Map<_, _>>().into() };
    vec![
        accepts("a tag", tagged("cost centre", "47/11 = a+b@c:d_e.f-é")),
        accepts("an empty value", tagged("workload", "")),
        accepts("the longest tag", tagged(&"k".repeat(128), &"v".repeat(256))),
        rejects("a longer key", tagged(&"k".repeat(129), "v"), "1 to 128 characters"),
        rejects("an empty key", tagged("", "v"), "1 to 128 characters"),
        rejects("a longer value", tagged("k", &"v".repeat(257)), "spec.tags"),
        rejects("a sign that AWS refuses in a key", tagged("a?b", "v"), "a tag's key holds letters, digits"),
        rejects("a sign that AWS refuses in a value", tagged("k", "a?b"), "spec.tags"),
        rejects("a tag of AWS", tagged("aws:created", "v"), "belong to AWS"),
        rejects("a tag of the operator", tagged("encryptedqueue.dev/uid", "v"), "belong to the operator"),
        accepts("40 tags", of().with("spec.tags", number(40))),
        rejects("41 tags", of().with("spec.tags", number(41)), "spec.tags"),
    ]
}
