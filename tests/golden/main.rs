//! Each case, the exact policies: small enough to review by eye. `UPDATE_GOLDEN=1 cargo test --test golden` writes them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cases;
#[allow(dead_code, clippy::needless_pass_by_value)]
#[path = "../pure/declare.rs"]
mod declare;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use encrypted_queue::policy::access::KeyAccess;
use encrypted_queue::policy::document::Document;
use encrypted_queue::policy::limits::{check_key, check_queue};
use encrypted_queue::policy::{key_policy, queue_policy};
use similar::TextDiff;

/// File name → text.
fn rendered(access: &KeyAccess) -> BTreeMap<String, String> {
    let key = key_policy::render(access, "golden");
    assert_eq!(check_key(&key), []);
    let mut files = BTreeMap::from([("key-policy.json".to_owned(), pretty(&key))]);
    for user in &access.users {
        let policies = [Some((&user.queue, queue_policy::render_queue(user, &access.place)))];
        let dead_letters = user.dead_letter_queue.as_ref().zip(queue_policy::render_dead_letter(user, &access.place));
        for (queue, policy) in policies.into_iter().chain([dead_letters]).flatten() {
            assert_eq!(check_queue(&policy), []);
            files.insert(format!("{}.json", queue.name()), pretty(&policy));
        }
    }
    files
}

fn pretty(document: &Document) -> String {
    document.to_pretty_json() + "\n"
}

fn committed(folder: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return BTreeMap::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap())).collect()
}

fn update(folder: &Path, files: &BTreeMap<String, String>) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).unwrap();
    }
    std::fs::create_dir_all(folder).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

#[test]
fn policies() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/policies");
    let cases: BTreeMap<_, _> = cases::all().into_iter().collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        update(&root, &BTreeMap::new());
        for (case, access) in &cases {
            update(&root.join(case), &rendered(access));
        }
    }
    let mut report = String::new();
    for (case, access) in &cases {
        let (expected, actual) = (committed(&root.join(case)), rendered(access));
        for name in expected.keys().chain(actual.keys()).collect::<std::collections::BTreeSet<_>>() {
            let text = |files: &BTreeMap<String, String>| files.get(name).cloned().unwrap_or_default();
            let (expected, actual) = (text(&expected), text(&actual));
            if expected != actual {
                let diff = TextDiff::from_lines(&expected, &actual);
                let header = (format!("committed {case}/{name}"), format!("rendered {case}/{name}"));
                write!(report, "{}", diff.unified_diff().header(&header.0, &header.1)).unwrap();
            }
        }
    }
    let folders = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    for stale in folders.filter(|folder| !cases.contains_key(folder.as_str())) {
        writeln!(report, "{stale}: no such case any more").unwrap();
    }
    assert!(report.is_empty(), "golden files differ; if that is intended, UPDATE_GOLDEN=1 writes them anew\n{report}");
}
