//! `encrypted-queue crds`: the CustomResourceDefinitions, as YAML or in a cluster.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::Condition;
use kube::{Api, Client, CustomResourceExt, ResourceExt};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::explain;
use crate::api::{AccessApproval, EncryptedQueue, QueueKey, SensitivityTier, Tenant};

/// Who owns what `--apply` writes.
const FIELD_MANAGER: &str = "encrypted-queue-crds";
/// How long a definition may take from being written to being served.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);

/// Arguments of `encrypted-queue crds`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Arguments {
    /// Write one file a kind into this directory, in place of all to standard output
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Bring the cluster's definitions to this version, by server-side apply, and wait until they are served
    #[arg(long, group = "cluster", conflicts_with = "output_dir")]
    pub apply: bool,
    /// Compare the cluster's definitions with this version; fail if one is missing, differs or is not served
    #[arg(long, group = "cluster", conflicts_with = "output_dir")]
    pub check: bool,
    /// Context of the kubeconfig
    #[arg(long, requires = "cluster")]
    pub context: Option<String>,
}

/// Why the definitions could not be written, or are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no cluster to ask.
    #[error(transparent)]
    Connect(#[from] explain::Error),
    /// The cluster refused, or did not answer.
    #[error("cannot {what} CustomResourceDefinition {name}: {source}")]
    Cluster {
        /// What was tried.
        what: &'static str,
        /// Name of the definition.
        name: String,
        /// Why.
        source: Box<kube::Error>,
    },
    /// It was written, and is not served.
    #[error("CustomResourceDefinition {0} is applied, but not served after {PATIENCE:?}: see its conditions")]
    NotServed(String),
    /// The cluster's definitions are not this version's.
    #[error("the cluster's definitions are not those of this version: {}; `encrypted-queue crds --apply` brings them there", .0.join(", "))]
    Outdated(Vec<String>),
    /// A definition has no form in YAML.
    #[error("cannot write {name} as YAML: {message}")]
    Yaml {
        /// Name of the definition.
        name: String,
        /// What the serializer says.
        message: String,
    },
    /// A file, or standard output, cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// The definitions of all kinds.
pub fn all() -> Vec<CustomResourceDefinition> {
    let mut definitions = vec![EncryptedQueue::crd(), Tenant::crd(), SensitivityTier::crd(), QueueKey::crd(), AccessApproval::crd()];
    for definition in &mut definitions {
        definition.metadata.labels = Some([("app.kubernetes.io/name".to_owned(), "encrypted-queue-operator".to_owned())].into());
    }
    definitions
}

/// Writes the definitions to standard output, a file each into the directory, or into the cluster.
pub fn run(arguments: &Arguments) -> Result<(), Error> {
    if arguments.apply || arguments.check {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let source = |source| Error::Write { path: "the cluster".to_owned(), source };
        return runtime.map_err(source)?.block_on(in_cluster(arguments));
    }
    let Some(directory) = &arguments.output_dir else {
        return print(&documents()?);
    };
    for (name, yaml) in files()? {
        let path = directory.join(name);
        let source = |source| Error::Write { path: path.display().to_string(), source };
        fs::create_dir_all(directory).and_then(|()| fs::write(&path, yaml)).map_err(source)?;
    }
    Ok(())
}

fn print(text: &str) -> Result<(), Error> {
    io::stdout().write_all(text.as_bytes()).map_err(|source| Error::Write { path: "standard output".to_owned(), source })
}

async fn in_cluster(arguments: &Arguments) -> Result<(), Error> {
    let (client, _) = explain::connect(arguments.context.as_deref()).await?;
    if arguments.check {
        return check(client).await;
    }
    for definition in all() {
        apply(client.clone(), &definition).await?;
        print(&format!("customresourcedefinition/{} applied\n", definition.name_any()))?;
    }
    Ok(())
}

/// Whatever of the definition was written by others, such as an older chart, is this version's from now on.
async fn apply(client: Client, definition: &CustomResourceDefinition) -> Result<(), Error> {
    let (api, name) = (Api::<CustomResourceDefinition>::all(client), definition.name_any());
    let failed = |what| cluster_error(what, &name);
    api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(definition)).await.map_err(failed("apply"))?;
    let deadline = Instant::now() + PATIENCE;
    while !is_crd_established().matches_object(api.get_opt(&name).await.map_err(failed("read"))?.as_ref()) {
        if Instant::now() > deadline {
            return Err(Error::NotServed(name));
        }
        sleep(PAUSE).await;
    }
    Ok(())
}

async fn check(client: Client) -> Result<(), Error> {
    let api = Api::<CustomResourceDefinition>::all(client);
    let mut outdated = Vec::new();
    for definition in all() {
        let name = definition.name_any();
        let found = api.get_opt(&name).await.map_err(cluster_error("read", &name))?;
        if let Some(why) = difference(found.as_ref(), &definition) {
            outdated.push(format!("{name} {why}"));
        }
    }
    if outdated.is_empty() { print("the definitions in the cluster are those of this version\n") } else { Err(Error::Outdated(outdated)) }
}

/// The API server fills in names and conversion, and nothing in the versions.
fn difference(found: Option<&CustomResourceDefinition>, definition: &CustomResourceDefinition) -> Option<&'static str> {
    match found {
        None => Some("is missing"),
        Some(found) if found.spec.versions != definition.spec.versions => Some("differs"),
        found if !is_crd_established().matches_object(found) => Some("is not served"),
        Some(_) => None,
    }
}

fn cluster_error(what: &'static str, name: &str) -> impl FnOnce(kube::Error) -> Error {
    move |source| Error::Cluster { what, name: name.to_owned(), source: Box::new(source) }
}

/// All definitions as one stream of documents.
fn documents() -> Result<String, Error> {
    Ok(files()?.into_iter().flat_map(|(_, yaml)| ["---\n".to_owned(), yaml]).collect())
}

/// Each definition as a file: `<group>_<plural>.yaml`, and what it holds.
fn files() -> Result<Vec<(String, String)>, Error> {
    all().iter().map(file).collect()
}

fn file(definition: &CustomResourceDefinition) -> Result<(String, String), Error> {
    let fail = |message: String| Error::Yaml { name: definition.spec.names.kind.clone(), message };
    let mut value = serde_json::to_value(definition).map_err(|error| fail(error.to_string()))?;
    whole_numbers(&mut value);
    value.sort_all_objects();
    let yaml = serde_saphyr::to_string(&value).map_err(|error| fail(error.to_string()))?;
    let name = format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural);
    Ok((name, format!("# Generated by `encrypted-queue crds`; do not edit.\n{}\n", yaml.trim_end())))
}

/// Bounds are floats in the type; `60` reads better than `60.0`.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = number.to_string().strip_suffix(".0").and_then(|digits| digits.parse::<i64>().ok()) {
                *number = whole.into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(whole_numbers),
        Value::Object(values) => values.values_mut().for_each(whole_numbers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn what_is_written_reads_back_as_the_definition() {
        for (definition, (name, yaml)) in all().iter().zip(files().unwrap()) {
            let read: CustomResourceDefinition = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(*definition, read, "{name}");
        }
    }

    #[test]
    fn standard_output_is_all_of_them() {
        let read: Vec<CustomResourceDefinition> = serde_saphyr::from_multiple(&documents().unwrap()).unwrap();
        assert_eq!(read, all());
    }

    #[test]
    fn the_files_in_the_repository_are_the_generated_ones() {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crds");
        let mut kept: Vec<String> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        kept.sort();
        let mut generated = files().unwrap();
        generated.sort();
        assert_eq!(kept, generated.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        for (name, yaml) in generated {
            let kept = fs::read_to_string(directory.join(&name)).unwrap();
            assert!(kept == yaml, "crds/{name} is stale: run `encrypted-queue crds --output-dir crds`");
        }
    }

    #[test]
    fn arguments_that_do_not_go_together() {
        #[derive(Debug, clap::Parser)]
        struct Command {
            #[command(flatten)]
            arguments: Arguments,
        }
        let parse = |line: &str| <Command as clap::Parser>::try_parse_from(line.split(' ')).map(|command| command.arguments);
        assert!(parse("crds --apply --context a").unwrap().apply);
        assert!(parse("crds --check").unwrap().check);
        for wrong in ["crds --apply --check", "crds --apply --output-dir a", "crds --check --output-dir a", "crds --context a"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_directory_gets_one_file_a_kind() {
        let directory = tempfile::tempdir().unwrap();
        run(&Arguments { output_dir: Some(directory.path().join("new")), ..Arguments::default() }).unwrap();
        assert_eq!(fs::read_dir(directory.path().join("new")).unwrap().count(), 5);
    }

    #[test]
    fn strings_that_yaml_could_take_for_something_else_survive() {
        for text in
            ["yes", "no", "null", "~", "0o17", "1e3", "2026-11-23", "^[a-z]*$", "a: b", "- a", "*.fifo", "two\nlines\n", " padded ", "", "#x", "é"]
        {
            let yaml = serde_saphyr::to_string(&serde_json::json!({ "text": text })).unwrap();
            let read: Value = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(read["text"], *text, "{yaml}");
        }
    }
}
