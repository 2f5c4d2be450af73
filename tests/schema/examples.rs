//! The manifests of `examples/`.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// Each document with its file, in the order in which `kubectl apply -f examples` takes them.
pub fn all() -> Vec<(String, Value)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths
        .iter()
        .flat_map(|path| {
            let documents: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap();
            documents.into_iter().map(|document| (path.display().to_string(), document))
        })
        .collect()
}
