//! Whatever the bytes: no panic, no unbounded work, and what was read is read again from what is written.
#![no_main]

#[path = "../policy/mod.rs"]
mod policy;

use libfuzzer_sys::fuzz_target;
use policy::document::{Document, DocumentError, MAXIMUM_BYTES};
use policy::equivalence::equivalent;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let document = match Document::parse(&text) {
        Ok(document) => document,
        Err(error) => {
            assert_eq!(matches!(error, DocumentError::TooLarge { .. }), text.len() > MAXIMUM_BYTES);
            assert!(error.to_string().len() < 1_500, "a message fit for a status: {error}");
            return;
        }
    };
    let written = document.to_json();
    let again = Document::parse(&written).expect("what is written is a policy");
    assert_eq!(again, document);
    assert_eq!(again.to_json(), written);
    assert!(equivalent(&again, &document));
});
