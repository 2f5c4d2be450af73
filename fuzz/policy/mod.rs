//! The product's own sources.
#![allow(dead_code)]

#[path = "../../src/policy/document.rs"]
pub mod document;
#[path = "../../src/policy/equivalence.rs"]
pub mod equivalence;
