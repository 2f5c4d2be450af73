//! An object made small: JSON, compressed against an object that is like it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A packed object.
pub(super) struct Packed {
    /// What it was compressed against.
    base: Option<Arc<[u8]>>,
    length: u32,
    bytes: Box<[u8]>,
}

impl Packed {
    pub(super) fn new(json: &[u8], base: Option<Arc<[u8]>>) -> Self {
        let bytes = match &base {
            Some(base) => lz4_flex::block::compress_with_dict(json, base),
            None => lz4_flex::block::compress(json),
        };
        Self { base, length: u32::try_from(json.len()).unwrap_or(u32::MAX), bytes: bytes.into() }
    }

    /// None only of what was not packed by this.
    pub(super) fn unpack<K: DeserializeOwned>(&self) -> Option<K> {
        let length = usize::try_from(self.length).ok()?;
        let json = match &self.base {
            Some(base) => lz4_flex::block::decompress_with_dict(&self.bytes, length, base),
            None => lz4_flex::block::decompress(&self.bytes, length),
        };
        serde_json::from_slice(&json.ok()?).ok()
    }
}

/// What objects are compressed against: the first of each family.
pub(super) struct Bases<F>(HashMap<F, Arc<[u8]>>);

impl<F> Default for Bases<F> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<F: Eq + Hash> Bases<F> {
    /// Packs an object of a family, or one that is not like any other yet.
    pub(super) fn pack(&mut self, object: &impl Serialize, family: Option<F>) -> Option<Packed> {
        let json = serde_json::to_vec(object).ok()?;
        let Some(family) = family else { return Some(Packed::new(&json, None)) };
        if !self.0.contains_key(&family) {
            // Nobody needs those of families that have gone.
            self.0.retain(|_, base| Arc::strong_count(base) > 1);
        }
        let base = self.0.entry(family).or_insert_with(|| json.as_slice().into());
        Some(Packed::new(&json, Some(base.clone())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_was_packed_is_unpacked_and_the_like_take_little() {
        let object = |number: u32| json!({"name": format!("queue-{number}"), "hash": crate::names::sha256_hex(&number.to_string()), "text": "x y z ".repeat(99)});
        let mut bases = Bases::default();
        for number in 0..3 {
            let packed = bases.pack(&object(number), Some("family")).unwrap();
            assert_eq!(packed.unpack::<Value>(), Some(object(number)));
            assert!(number == 0 || packed.bytes.len() < 110, "{}", packed.bytes.len());
        }
        let alone = bases.pack(&object(3), None::<&str>).unwrap();
        assert!(alone.base.is_none() && alone.unpack::<Value>() == Some(object(3)));
        drop(alone);
        bases.pack(&object(4), Some("another")).unwrap();
        assert_eq!(bases.0.len(), 1, "the first family has gone");
    }
}
