//! The command on the examples, without a cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use clap::{CommandFactory, Parser};

use super::*;
use crate::cost::{Basis, Money};

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

fn parsed(arguments: &[&str]) -> Result<Arguments, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"cost").chain(arguments)).map(|cli| cli.arguments)
}

async fn of_examples(more: &[&str]) -> CostReport {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let arguments: Vec<&str> = ["-f", examples].iter().chain(more).copied().collect();
    let (report, partial) = cost(&parsed(&arguments).unwrap()).await.unwrap();
    assert!(!partial);
    report
}

#[tokio::test]
async fn manifests_alone_are_enough() {
    let report = of_examples(&[]).await;
    assert!(report.queues.len() > 3 && report.queues.iter().all(|queue| queue.basis == Basis::Declared), "{report:#?}");
    let keys: Money = report.tenants.iter().map(|tenant| tenant.totals.keys_usd).sum();
    assert_eq!((keys, report.total.keys), (report.total.keys_usd, report.tenants.iter().map(|tenant| tenant.totals.keys).sum()));
    let requests: u64 = report.queues.iter().map(|queue| queue.requests).sum();
    assert_eq!(requests, report.total.requests);
    assert!(report.queues.iter().all(|queue| queue.other_reuse.iter().all(|other| other.data_key_reuse_seconds != queue.data_key_reuse_seconds)));
    let value = serde_json::to_value(&report).unwrap();
    let schema = serde_json::to_value(schema_for!(CostReport)).unwrap();
    let said: Vec<_> = jsonschema::validator_for(&schema).unwrap().iter_errors(&value).map(|error| error.to_string()).collect();
    assert_eq!(said, Vec::<String>::new());
}

#[tokio::test]
async fn rates_bound_what_is_declared() {
    let declared = of_examples(&[]).await;
    let idle = of_examples(&["--sent-per-day", "0"]).await;
    assert_eq!(idle.total.requests, 0);
    assert_eq!(idle.total.keys_usd, declared.total.keys_usd);
    let directory = tempfile::tempdir().unwrap();
    let (file, name) = (directory.path().join("rates.yaml"), format!("{}/{}", declared.queues[0].namespace, declared.queues[0].name));
    std::fs::write(&file, format!("{name}: {{sentPerDay: 1, receivedPerDay: 0}}\nnowhere/nothing: {{sentPerDay: 1}}\n")).unwrap();
    let given = of_examples(&["--rates", file.to_str().unwrap()]).await;
    assert_eq!((given.queues[0].basis, given.queues[0].requests), (Basis::Rates, 62));
    assert!(given.queues[1..].iter().all(|queue| queue.basis == Basis::Declared));
    assert!(given.notes.iter().any(|note| note.contains("nowhere/nothing")), "{:?}", given.notes);
    std::fs::write(&file, "a/b: {sentPerDay: -1}").unwrap();
    let error = cost(&parsed(&["-f", directory.path().to_str().unwrap(), "--rates", file.to_str().unwrap()]).unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::File { .. } | Error::Load(_)), "{error}");
}

#[tokio::test]
async fn a_tenant_is_told_apart() {
    let all = of_examples(&[]).await;
    let name = all.tenants[0].name.clone();
    let one = of_examples(&["--tenant", &name]).await;
    assert_eq!((&one.tenants[..], one.tenants.len()), (&all.tenants[..1], 1));
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let unknown = cost(&parsed(&["-f", examples, "--tenant", "nobody"]).unwrap()).await.unwrap_err();
    assert!(unknown.to_string().contains("--tenant nobody"), "{unknown}");
}

#[test]
fn arguments_that_contradict_each_other_are_refused() {
    Cli::command().debug_assert();
    let refused: [&[&str]; 5] =
        [&["--declared", "--rates", "x"], &["--received-per-day", "1"], &["--days", "0"], &["--days", "64"], &["--schema", "--declared"]];
    for arguments in refused {
        assert!(parsed(arguments).is_err(), "{arguments:?}");
    }
}
