//! IAM policy documents as types: written deterministically, read in every shape AWS may return.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Number, Value};

/// Largest text that is parsed. KMS keeps at most 32 KiB and SQS 8 KiB, so anything larger is not a policy of theirs.
pub const MAXIMUM_BYTES: usize = 256 * 1024;

/// The current version of the policy language (IAM user guide, `Version`).
pub const VERSION: &str = "2012-10-17";

/// Version that IAM assumes when the element is absent.
pub(super) const DEFAULT_VERSION: &str = "2008-10-17";

/// Values of one element: IAM gives neither order nor repetition a meaning.
pub type Values = BTreeSet<String>;

/// Operator → condition key → values. All must hold, each through any of its values.
pub type Conditions = BTreeMap<String, BTreeMap<String, Values>>;

/// Why a text is not a policy document.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DocumentError {
    /// Too large to be one.
    #[error("policy of {bytes} bytes: at most {MAXIMUM_BYTES} are read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not JSON, nested too deeply, or with an element given twice.
    #[error("policy is not valid JSON: {0}")]
    Json(String),
    /// JSON, but not a policy.
    #[error("policy element {element}: expected {expected}")]
    Element {
        /// Where.
        element: String,
        /// What should stand there.
        expected: &'static str,
    },
}

/// Whether a statement allows or denies.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Effect {
    /// Allows.
    Allow,
    /// Denies, whatever else allows.
    Deny,
}

impl Effect {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Deny => "Deny",
        }
    }
}

/// Whom a statement speaks of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Principals {
    /// No `Principal` element.
    Absent,
    /// `"*"`: everyone, anonymous callers and services included.
    Anyone,
    /// By kind: `AWS`, `Service`, `Federated`, `CanonicalUser`.
    Named(BTreeMap<String, Values>),
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Its name.
    pub sid: Option<String>,
    /// Allow or Deny.
    pub effect: Effect,
    /// Whom it speaks of.
    pub principals: Principals,
    /// Which actions.
    pub actions: Values,
    /// On which resources.
    pub resources: Values,
    /// Under which conditions.
    pub conditions: Conditions,
    /// Elements that are kept but not understood: `NotAction`, `NotPrincipal`, `NotResource`, and any of a shape that IAM does not document.
    pub other: BTreeMap<String, Value>,
}

/// A policy document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Version of the policy language.
    pub version: String,
    /// The policy's id.
    pub id: Option<String>,
    /// Its statements, in the order given.
    pub statements: Vec<Statement>,
}

impl Document {
    /// A document of the current version.
    pub fn new(id: Option<&str>, statements: Vec<Statement>) -> Self {
        Self { version: VERSION.to_owned(), id: id.map(str::to_owned), statements }
    }

    /// Reads a document; never panics, whatever the text.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        if text.len() > MAXIMUM_BYTES {
            return Err(DocumentError::TooLarge { bytes: text.len() });
        }
        super::plain::read(text).map_or_else(|| Self::parse_with_care(text), Ok)
    }

    /// The same, whatever its shape.
    pub(super) fn parse_with_care(text: &str) -> Result<Self, DocumentError> {
        let Unique(value) = serde_json::from_str(text).map_err(|error| DocumentError::Json(error.to_string().chars().take(200).collect()))?;
        let mut elements = object(value, "(root)")?;
        let version = optional_string(&mut elements, "Version")?.unwrap_or_else(|| DEFAULT_VERSION.to_owned());
        let id = optional_string(&mut elements, "Id")?;
        let statements = match elements.remove("Statement") {
            Some(Value::Array(statements)) => statements,
            Some(single) => vec![single],
            None => return Err(unexpected("Statement", "a statement or an array of them")),
        };
        if let Some(unknown) = elements.keys().next() {
            return Err(unexpected(unknown, "Version, Id and Statement only"));
        }
        let statements = statements.into_iter().enumerate().map(|(index, value)| statement(value, index)).collect::<Result<_, _>>()?;
        Ok(Self { version, id, statements })
    }

    /// Whether an Allow names a principal that was deleted.
    pub fn names_deleted_principals(&self) -> bool {
        let mut allows = self.statements.iter().filter(|statement| statement.effect == Effect::Allow);
        allows.any(|statement| match &statement.principals {
            Principals::Named(kinds) => kinds.values().flatten().any(|name| super::read_back::is_deleted(name)),
            Principals::Absent | Principals::Anyone => false,
        })
    }

    /// Compact JSON; equal documents give equal text.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same for people.
    pub fn to_pretty_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl Statement {
    /// A statement without conditions.
    pub fn new(sid: impl Into<String>, effect: Effect, principals: Principals, actions: &[&str], resource: &str) -> Self {
        Self {
            sid: Some(sid.into()),
            effect,
            principals,
            actions: actions.iter().map(|&action| action.to_owned()).collect(),
            resources: Values::from([resource.to_owned()]),
            conditions: Conditions::new(),
            other: BTreeMap::new(),
        }
    }

    /// The same with one more condition; values of a key given twice are alternatives.
    #[must_use]
    pub fn when<V: Into<String>>(mut self, operator: &str, key: &str, values: impl IntoIterator<Item = V>) -> Self {
        let entry = self.conditions.entry(operator.to_owned()).or_default().entry(key.to_owned()).or_default();
        entry.extend(values.into_iter().map(Into::into));
        self
    }

    /// All values any operator gives a condition key, whose case does not matter.
    pub fn condition_values(&self, key: &str) -> Values {
        let pairs = self.conditions.values().flatten();
        pairs.filter(|(name, _)| name.eq_ignore_ascii_case(key)).flat_map(|(_, values)| values.iter().cloned()).collect()
    }
}

fn unexpected(element: &str, expected: &'static str) -> DocumentError {
    DocumentError::Element { element: element.escape_debug().take(100).collect(), expected }
}

fn object(value: Value, element: &str) -> Result<Map<String, Value>, DocumentError> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(unexpected(element, "an object")),
    }
}

fn optional_string(elements: &mut Map<String, Value>, name: &str) -> Result<Option<String>, DocumentError> {
    match elements.remove(name) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(unexpected(name, "a string")),
        None => Ok(None),
    }
}

fn statement(value: Value, index: usize) -> Result<Statement, DocumentError> {
    let mut elements = object(value, &format!("Statement[{index}]"))?;
    let effect = match elements.remove("Effect") {
        Some(Value::String(text)) if text == "Allow" => Effect::Allow,
        Some(Value::String(text)) if text == "Deny" => Effect::Deny,
        _ => return Err(unexpected(&format!("Statement[{index}].Effect"), "Allow or Deny")),
    };
    let mut other = BTreeMap::new();
    let mut take = |name: &str, accept: &mut dyn FnMut(&Value) -> bool| {
        if let Some(value) = elements.remove(name)
            && !accept(&value)
        {
            other.insert(name.to_owned(), value);
        }
    };
    let (mut sid, mut principals) = (None, Principals::Absent);
    let (mut actions, mut resources, mut conditions) = (Values::new(), Values::new(), Conditions::new());
    take("Sid", &mut |value| value.as_str().map(|text| sid = Some(text.to_owned())).is_some());
    take("Principal", &mut |value| principals_of(value).map(|read| principals = read).is_some());
    take("Action", &mut |value| strings(value).map(|read| actions = read).is_some());
    take("Resource", &mut |value| strings(value).map(|read| resources = read).is_some());
    take("Condition", &mut |value| conditions_of(value).map(|read| conditions = read).is_some());
    other.extend(elements);
    Ok(Statement { sid, effect, principals, actions, resources, conditions, other })
}

fn one_or_many(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

fn strings(value: &Value) -> Option<Values> {
    one_or_many(value).iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

/// IAM compares condition values as text, whatever their JSON type.
fn scalars(value: &Value) -> Option<Values> {
    let scalar = |item: &Value| match item {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    one_or_many(value).iter().map(scalar).collect()
}

fn principals_of(value: &Value) -> Option<Principals> {
    match value {
        Value::String(text) if text == "*" => Some(Principals::Anyone),
        Value::Object(kinds) => kinds.iter().map(|(kind, names)| Some((kind.clone(), strings(names)?))).collect::<Option<_>>().map(Principals::Named),
        _ => None,
    }
}

fn conditions_of(value: &Value) -> Option<Conditions> {
    let keys = |value: &Value| value.as_object()?.iter().map(|(key, values)| Some((key.clone(), scalars(values)?))).collect::<Option<_>>();
    value.as_object()?.iter().map(|(operator, value)| Some((operator.clone(), keys(value)?))).collect()
}

/// Any JSON in which no object gives a name twice: which of the two AWS would follow is not documented.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Unique, E> {
        Ok(Unique(Value::Bool(flag)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Unique, E> {
        Ok(Unique(Value::Number(number.into())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Unique, E> {
        Ok(Unique(Value::Number(number.into())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Unique, E> {
        Ok(Unique(Number::from_f64(number).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Unique, E> {
        Ok(Unique(Value::String(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        let mut array = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            array.push(item);
        }
        Ok(Unique(Value::Array(array)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
        let mut map = Map::new();
        while let Some((name, Unique(value))) = entries.next_entry::<String, Unique>()? {
            if map.insert(name.clone(), value).is_some() {
                return Err(A::Error::custom(format_args!("{:?} is given twice", name.chars().take(80).collect::<String>())));
            }
        }
        Ok(Unique(Value::Object(map)))
    }
}

/// A single value is written as a scalar, as AWS does.
struct OneOrMany<'a>(&'a Values);

impl Serialize for OneOrMany<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.first() {
            Some(only) if self.0.len() == 1 => serializer.serialize_str(only),
            _ => serializer.collect_seq(self.0),
        }
    }
}

impl Serialize for Principals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_unit(),
            Self::Anyone => serializer.serialize_str("*"),
            Self::Named(kinds) => serializer.collect_map(kinds.iter().map(|(kind, names)| (kind, OneOrMany(names)))),
        }
    }
}

struct ConditionsJson<'a>(&'a Conditions);

impl Serialize for ConditionsJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(operator, keys)| (operator, KeysJson(keys))))
    }
}

struct KeysJson<'a>(&'a BTreeMap<String, Values>);

impl Serialize for KeysJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, values)| (key, OneOrMany(values))))
    }
}

impl Serialize for Statement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(sid) = &self.sid {
            map.serialize_entry("Sid", sid)?;
        }
        map.serialize_entry("Effect", self.effect.as_str())?;
        if self.principals != Principals::Absent {
            map.serialize_entry("Principal", &self.principals)?;
        }
        if !self.actions.is_empty() {
            map.serialize_entry("Action", &OneOrMany(&self.actions))?;
        }
        if !self.resources.is_empty() {
            map.serialize_entry("Resource", &OneOrMany(&self.resources))?;
        }
        if !self.conditions.is_empty() {
            map.serialize_entry("Condition", &ConditionsJson(&self.conditions))?;
        }
        for (name, value) in &self.other {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("Version", &self.version)?;
        if let Some(id) = &self.id {
            map.serialize_entry("Id", id)?;
        }
        map.serialize_entry("Statement", &self.statements)?;
        map.end()
    }
}
