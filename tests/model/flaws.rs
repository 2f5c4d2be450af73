//! That the checker notices: what is wrong on purpose has a counterexample, which can be written down and replayed.

use crate::explore::{Extent, explore};
use crate::flaw::Flaw;
use crate::history::History;
use crate::scenario::{Scenario, named};

fn is_noticed(scenario: &Scenario, flaw: Flaw, as_what: &[&str]) {
    let flawed = scenario.clone().flawed(flaw);
    let found = explore(&flawed, Extent::Whole(120)).unwrap_or_else(|| panic!("nobody notices {flaw:?}"));
    assert!(as_what.iter().any(|what| found.breaks.contains(what)), "{}", found.print());
    let read = History::parse(&found.print());
    assert_eq!(read, found);
    assert_eq!(read.replay(&flawed), Some(found.breaks.clone()));
    assert_eq!(read.replay(scenario), None, "the plan is right without the flaw: {}", found.print());
}

#[test]
fn a_key_without_a_nonce_on_record() {
    is_noticed(&named("create").with(1, 1, 0, 0), Flaw::NoNonce, &["No duplicates"]);
}

#[test]
fn a_record_that_is_no_longer_true() {
    is_noticed(&named("edit").with(1, 1, 0, 0), Flaw::NoForgetting, &["the record is not true", "on record, but not", "the key policy says"]);
}

#[test]
fn users_on_record_before_the_policy_admits_them() {
    is_noticed(&named("edit").with(1, 0, 0, 0), Flaw::RecordFirst, &["on record, but not"]);
}

#[test]
fn a_queue_that_gets_its_key_afterwards() {
    is_noticed(&named("create").with(1, 0, 0, 0), Flaw::KeyAfterwards, &["Encrypted"]);
}

#[test]
fn a_key_that_messages_are_still_under() {
    is_noticed(&named("migrate").with(1, 0, 0, 0), Flaw::NoPrevious, &["No message lost"]);
}

#[test]
fn two_leaders_that_overwrite_each_other() {
    is_noticed(&named("create").with(1, 1, 0, 1), Flaw::Unchecked, &[""]);
}
