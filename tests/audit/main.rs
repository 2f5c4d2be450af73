//! `encrypted-queue audit` against the emulator: exactly the expected findings for each of a zoo of queues and keys, in every format, and what happens
//! when not everything can be read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod faults;
mod formats;
mod who_decrypted;
mod world;
mod zoo;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use world::Aws;
use zoo::{Expected, Keeper};

/// The zoo, and what is expected of each of its animals.
async fn zoo() -> (Aws, Expected) {
    let aws = Aws::start().await;
    let mut keeper = Keeper { aws: &aws, keys: HashMap::new(), expected: Expected::new() };
    keeper.populate().await;
    let expected = keeper.expected;
    (aws, expected)
}

/// Checks by resource.
fn found(report: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let resources = report["resources"].as_array().unwrap().iter();
    let checks =
        |resource: &Value| resource["findings"].as_array().unwrap().iter().map(|finding| finding["check"].as_str().unwrap().to_owned()).collect();
    resources.map(|resource| (resource["name"].as_str().unwrap().to_owned(), checks(resource))).collect()
}

#[tokio::test]
async fn each_animal_of_the_zoo_has_exactly_its_findings() {
    let (aws, expected) = zoo().await;
    assert!(expected.len() >= 60, "{}", expected.len());
    let fired: BTreeSet<&str> = expected.values().flatten().copied().collect();
    let alone = encrypted_queue::audit::checks::all().filter(|check| !check.needs_declarations).map(|check| check.id);
    let missing: Vec<&str> = alone.filter(|id| !fired.contains(id)).collect();
    // What the emulator cannot show: a key that may not be looked at, imported material, and the month that an unused key has to be old.
    assert_eq!(missing, ["queue-key-unknown", "key-unused", "key-material-imported"], "every other check finds its animal");
    let answer = aws.audit(&["--offline", "-o", "json"]).await;
    let report = answer.json();
    let found = found(&report);
    let expected: BTreeMap<_, BTreeSet<String>> =
        expected.into_iter().map(|(name, checks)| (name, checks.into_iter().map(str::to_owned).collect())).collect();
    let wrong: Vec<_> =
        expected.iter().filter(|(name, checks)| found.get(*name) != Some(checks)).map(|(name, checks)| (name, checks, found.get(name))).collect();
    assert!(wrong.is_empty(), "expected and found: {wrong:#?}");
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert_eq!((answer.exit, report["partial"].as_bool()), (2, Some(false)), "{}", report["problems"]);
    assert!(aws.proxy.writes().is_empty(), "nothing is written");
    formats::all(&aws, &report).await;
}
