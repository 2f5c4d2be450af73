//! Reads policy documents of the usual shape in one go; whatever is not of that shape is left to [`super::document`], which decides what it is.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::document::{Conditions, DEFAULT_VERSION, Document, Effect, Principals, Statement, Values};

/// The document, or none if it must be read the careful way.
pub(super) fn read(text: &str) -> Option<Document> {
    serde_json::from_str(text).ok().map(|Plain(document)| document)
}

/// Not of the usual shape.
fn unusual<E: Error>() -> E {
    E::custom("unusual")
}

/// One of the usual shape.
struct Plain<T>(T);

/// Reads an object; what it says of each field is up to `T`.
trait Fields: Default {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error>;
}

struct Object<T>(PhantomData<T>);

impl<'de, T: Fields> Visitor<'de> for Object<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut object = T::default();
        // Names that are escaped are unusual.
        while let Some(name) = map.next_key::<&'de str>()? {
            object.field(name, &mut map)?;
        }
        Ok(object)
    }
}

/// Sets what must not be set yet.
fn once<T, E: Error>(slot: &mut Option<T>, value: T) -> Result<(), E> {
    if slot.replace(value).is_some() { Err(unusual()) } else { Ok(()) }
}

#[derive(Default)]
struct Elements {
    version: Option<String>,
    id: Option<String>,
    statements: Option<Vec<Statement>>,
}

impl Fields for Elements {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Version" => once(&mut self.version, map.next_value()?),
            "Id" => once(&mut self.id, map.next_value()?),
            "Statement" => once(&mut self.statements, map.next_value::<Vec<Plain<Statement>>>()?.into_iter().map(|Plain(s)| s).collect()),
            _ => Err(unusual()),
        }
    }
}

impl<'de> Deserialize<'de> for Plain<Document> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Elements { version, id, statements } = deserializer.deserialize_map(Object(PhantomData))?;
        let version = version.unwrap_or_else(|| DEFAULT_VERSION.to_owned());
        Ok(Self(Document { version, id, statements: statements.ok_or_else(unusual)? }))
    }
}

#[derive(Default)]
struct StatementElements {
    sid: Option<String>,
    effect: Option<Effect>,
    principals: Option<Principals>,
    actions: Option<Values>,
    resources: Option<Values>,
    conditions: Option<Conditions>,
}

impl Fields for StatementElements {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        match name {
            "Sid" => once(&mut self.sid, map.next_value()?),
            "Effect" => match map.next_value::<&'de str>()? {
                "Allow" => once(&mut self.effect, Effect::Allow),
                "Deny" => once(&mut self.effect, Effect::Deny),
                _ => Err(unusual()),
            },
            "Principal" => once(&mut self.principals, map.next_value::<Plain<Principals>>()?.0),
            "Action" => once(&mut self.actions, map.next_value::<Plain<Values>>()?.0),
            "Resource" => once(&mut self.resources, map.next_value::<Plain<Values>>()?.0),
            "Condition" => once(&mut self.conditions, map.next_value::<Named<Named<Plain<Values>>>>()?.into_conditions()),
            _ => Err(unusual()),
        }
    }
}

impl<'de> Deserialize<'de> for Plain<Statement> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read: StatementElements = deserializer.deserialize_map(Object(PhantomData))?;
        Ok(Self(Statement {
            sid: read.sid,
            effect: read.effect.ok_or_else(unusual)?,
            principals: read.principals.unwrap_or(Principals::Absent),
            actions: read.actions.unwrap_or_default(),
            resources: read.resources.unwrap_or_default(),
            conditions: read.conditions.unwrap_or_default(),
            other: [].into(),
        }))
    }
}

/// Values under names, none of which is given twice.
struct Named<T>(Vec<(String, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: for<'a> Deserialize<'a>> Fields for Named<T> {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(unusual());
        }
        self.0.push((name.to_owned(), map.next_value()?));
        Ok(())
    }
}

impl<'de, T: for<'a> Deserialize<'a>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object(PhantomData))
    }
}

impl Named<Named<Plain<Values>>> {
    fn into_conditions(self) -> Conditions {
        self.0.into_iter().map(|(operator, keys)| (operator, keys.0.into_iter().map(|(key, Plain(values))| (key, values)).collect())).collect()
    }
}

struct PrincipalsVisitor;

impl<'de> Visitor<'de> for PrincipalsVisitor {
    type Value = Plain<Principals>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("principals")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if text == "*" { Ok(Plain(Principals::Anyone)) } else { Err(unusual()) }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let Named(kinds) = Object::<Named<Plain<Values>>>(PhantomData).visit_map(map)?;
        Ok(Plain(Principals::Named(kinds.into_iter().map(|(kind, Plain(names))| (kind, names)).collect())))
    }
}

impl<'de> Deserialize<'de> for Plain<Principals> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PrincipalsVisitor)
    }
}

/// One text or many: anything else is unusual, numbers too.
struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Plain<Values>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Plain(Values::from([text.to_owned()])))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut values: Vec<String> = Vec::with_capacity(8);
        while let Some(item) = items.next_element()? {
            values.push(item);
        }
        Ok(Plain(values.into_iter().collect()))
    }
}

impl<'de> Deserialize<'de> for Plain<Values> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor)
    }
}
