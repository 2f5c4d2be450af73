#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use clap::{CommandFactory, Parser};

use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
}

#[test]
fn arguments() {
    Cli::command().debug_assert();
    let parsed = |arguments: &[&str]| Cli::try_parse_from(std::iter::once(&"audit").chain(arguments)).map(|cli| cli.arguments);
    let given = parsed(&["--offline", "--region", "eu-west-1", "--region", "eu-central-1", "-o", "sarif", "--fail-on", "high"]).unwrap();
    assert_eq!((given.regions.len(), given.output, given.fail_on), (2, Output::Sarif, FailOn::High));
    assert_eq!(parsed(&[]).unwrap().fail_on, FailOn::Low);
    for refused in [&["-f", "x.yaml"][..], &["--offline", "--context", "x"], &["--fail-on", "worst"], &["-o", "xml"], &["--schema", "--offline"]] {
        assert!(parsed(refused).is_err(), "{refused:?}");
    }
}
