//! What ARCHITECTURE.md says of the sources is true of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

/// Modules that decide and do nothing.
const PURE: &[&str] = &[
    "src/adopt",
    "src/api",
    "src/audit",
    "src/cost",
    "src/desired",
    "src/drift",
    "src/explain",
    "src/names.rs",
    "src/outcome",
    "src/plan",
    "src/policy",
    "src/who_decrypted",
];

/// What reads for such a module, in its folder.
const READING: &[&str] = &["src/audit/scan.rs", "src/audit/look.rs"];

/// What reaches the world outside, or tells the time.
const IMPURE: &str = r"(?x)
    \b(aws_config|aws_sdk_\w+|aws_smithy_\w+|axum|hyper\w*|rand|tokio|tracing)::
  | \bcrate::(aws|commands|controller|telemetry)\b
  | \bkube::(Api|Client|Config|api|client|config|discovery|runtime)\b
  | \bkube::\{[^;]*\b(Api|Client|Config|api|client|config|discovery|runtime)\b
  | \bstd::(env|fs|io|net|os|process|thread)\b
  | \b(Instant|SystemTime|Timestamp|Zoned)::now\b";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Rust files of a file or folder, tests left out.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return if path.extension().is_some_and(|extension| extension == "rs") { vec![path.to_owned()] } else { Vec::new() };
    }
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| !path.ends_with("tests") && !path.ends_with("tests.rs")).flat_map(|path| sources(&path)).collect()
}

/// The code of a file, without comments and tests.
fn code(path: &Path) -> String {
    let text = read(path);
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

#[test]
fn pure_modules_do_no_input_or_output() {
    let impure = Regex::new(IMPURE).unwrap();
    let files = PURE.iter().flat_map(|place| sources(&root().join(place)));
    let files: Vec<_> = files.filter(|file| !READING.iter().any(|reading| file.ends_with(reading))).collect();
    let found: Vec<_> =
        files.iter().filter_map(|file| impure.find(&code(file)).map(|found| format!("{}: {}", file.display(), found.as_str()))).collect();
    assert_eq!(found, Vec::<String>::new());
    // What the pattern is for, it finds.
    for place in ["src/aws", "src/controller", "src/commands"] {
        assert!(sources(&root().join(place)).iter().any(|file| impure.is_match(&code(file))), "{place}");
    }
}

#[test]
fn only_src_aws_imports_an_sdk() {
    let sdk = Regex::new(r"\baws_(config|sdk_\w+|smithy_\w+)\b").unwrap();
    let others = sources(&root().join("src")).into_iter().filter(|file| !file.starts_with(root().join("src/aws")));
    let found: Vec<_> = others.filter(|file| sdk.is_match(&code(file))).collect();
    assert_eq!(found, Vec::<PathBuf>::new());
}

#[test]
fn only_the_clock_tells_the_time_of_day() {
    let clock = Regex::new(r"\b(SystemTime|Timestamp|Zoned)::now\b").unwrap();
    let is_asking = |file: &PathBuf| clock.is_match(&code(file));
    let mut found: Vec<_> = sources(&root().join("src")).into_iter().filter(is_asking).collect();
    found.sort();
    // The lease's times are for people, and compared by nobody.
    assert_eq!(found, ["src/clock.rs", "src/controller/leader/lease.rs"].map(|file| root().join(file)));
}

#[test]
fn every_test_that_the_page_names_exists() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let named = Regex::new(r"`([\w/]+\.rs)::(\w+)`").unwrap();
    let missing = |(file, name): &(&str, &str)| !read(&root().join(file)).contains(&format!("fn {name}("));
    let tests: Vec<(&str, &str)> = named.captures_iter(&page).map(|found| found.extract().1).map(|[file, name]| (file, name)).collect();
    assert!(tests.len() > 20, "{tests:?}");
    assert_eq!(tests.into_iter().filter(missing).collect::<Vec<_>>(), []);
}

#[test]
fn every_part_of_the_source_is_on_the_map() {
    let page = read(&root().join("ARCHITECTURE.md"));
    for folder in ["src", "tests"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let place = if path.is_dir() { format!("| `{folder}/{name}/` |") } else { format!("| `{folder}/{name}` |") };
            // The flow as module documentation.
            assert!(name == "lib.rs" || page.contains(&place), "{place} is not on the map");
        }
    }
}
