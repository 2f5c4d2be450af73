//! A policy equals itself however AWS may write it, and no longer once its meaning has changed.
#![no_main]

#[path = "../policy/mod.rs"]
mod policy;
#[path = "../../src/policy/tests/reshape.rs"]
mod reshape;

use std::hash::{DefaultHasher, Hash, Hasher};

use libfuzzer_sys::fuzz_target;
use policy::document::Document;
use policy::equivalence::equivalent;
use reshape::{Dice, changed, normalised};

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = std::str::from_utf8(bytes).map_err(drop).and_then(|text| Document::parse(text).map_err(drop)) else { return };
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let mut dice = Dice(hasher.finish());
    let read = |text: &str| Document::parse(text).expect("a policy");
    for _ in 0..4 {
        let same = normalised(&document, &mut dice);
        assert!(equivalent(&document, &read(&same)), "{document}\n{same}");
        if let Some((before, after, change)) = changed(&document, &mut dice) {
            assert!(!equivalent(&read(&before), &read(&after)), "{change}\n{before}\n{after}");
        }
    }
});
