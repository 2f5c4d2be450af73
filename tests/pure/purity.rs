//! What the pure modules may not know: clients, runtimes, clocks and chance.

use std::path::{Path, PathBuf};

use regex::Regex;

const PURE: [&str; 9] = ["adopt", "api", "cost", "desired", "plan", "outcome", "policy", "who_decrypted", "names.rs"];

/// Words that reach out of the process, or that answer differently each time.
const FORBIDDEN: &str = r"(?x)
    \bkube::(Client|Api|client|api|runtime|config|Config)\b | \bkube::\{[^}]*\b(Client|Api|client|api|runtime|config|Config)\b
    | \baws_[a-z_]+ | \bsmithy | \bcrate::(aws|controller|commands|telemetry)\b
    | \b(tokio|futures|async_trait|reqwest|hyper)\b | \basync\s+fn\b | \.await\b
    | \b(Timestamp|Zoned)::now\b | \bSystemTime\b | \bInstant\b | \brand(om)?::
    | \bstd::(fs|net|env|process|thread|time)\b | \b(thread_rng|println!|eprintln!)
    | \bstatic\s+mut\b | \b(Mutex|RwLock|RefCell|OnceLock|Atomic[A-Z]\w*)\b
";

/// Of the kube crate the schema needs these alone.
const KUBE_ALLOWED: [&str; 3] = ["kube::CustomResource", "kube::KubeSchema", "kube::core::"];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs")).flat_map(|path| sources(&path)).collect()
}

/// The code without comments and without its tests.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    before_tests.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn violations(text: &str) -> Vec<String> {
    let (forbidden, kube) = (Regex::new(FORBIDDEN).unwrap(), Regex::new(r"\bkube::[\w:{]*").unwrap());
    let code = code(text);
    let reaching_out = forbidden.find_iter(&code).map(|found| found.as_str().to_owned());
    let of_kube = kube.find_iter(&code).map(|found| found.as_str()).filter(|found| !KUBE_ALLOWED.iter().any(|allowed| found.starts_with(allowed)));
    reaching_out.chain(of_kube.map(str::to_owned)).collect()
}

#[test]
fn pure_modules_reach_for_nothing_outside() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: Vec<_> = PURE.iter().flat_map(|module| sources(&root.join(module))).filter(|path| !path.iter().any(|part| part == "tests")).collect();
    assert!(files.len() > 30, "the sources are somewhere else: {files:?}");
    let found: Vec<_> = files
        .iter()
        .flat_map(|path| violations(&std::fs::read_to_string(path).unwrap()).into_iter().map(|what| format!("{}: {what}", path.display())))
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn what_is_forbidden_is_seen() {
    let forbidden = [
        "use kube::Client;",
        "use kube::{Api, ResourceExt};",
        "use kube::ResourceExt;",
        "use kube::runtime::watcher;",
        "use aws_sdk_sqs::types::QueueAttributeName;",
        "let now = jiff::Timestamp::now();",
        "let began = std::time::Instant::now();",
        "use crate::aws::Clients;",
        "use crate::controller::Failure;",
        "tokio::spawn(work());",
        "let nonce = rand::random::<u64>();",
        "async fn read() {}",
    ];
    for line in forbidden {
        assert!(!violations(line).is_empty(), "{line}");
    }
    let allowed = [
        "use kube::CustomResource;",
        "use jiff::{SignedDuration, Timestamp};",
        "/// Like kube::Client, but `Timestamp::now()` comes in as an argument.",
        "let arn = format!(\"arn:aws:kms:{region}\"); let aws = 1;",
        "#[cfg(test)]\nmod tests {\n use std::time::Instant;\n}",
    ];
    for line in allowed {
        assert_eq!(violations(line), [""; 0], "{line}");
    }
}
