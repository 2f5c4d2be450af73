//! Real servers for the tests and the demo: a Kubernetes control plane ([`ControlPlane`]) and the AWS emulator moto ([`Moto`]).
//!
//! Every server listens on a free port of 127.0.0.1, keeps its files in a directory of its own under the system's temporary directory, and is killed
//! and removed with it when the process that started it ends, however that ends. `tools/build-control-plane.sh` and `tools/moto/setup.sh` provide the
//! programs; `make test` and `make demo` run both first.
//!
//! Tests of one binary share servers through [`ControlPlane::shared`] and [`Moto::shared`].
//!
//! Between the operator and them stand two recording proxies: [`proxy`] before the emulator, [`kubernetes_proxy`] before the API server.
//!
//! [`judge`] decides by AWS's own rules who can do what. [`trail`] tells of calls as CloudTrail does.

pub mod chart;
mod control_plane;
pub mod http;
pub mod judge;
pub mod kubernetes_proxy;
mod moto;
mod process;
pub mod proxy;
pub mod trail;

pub use control_plane::{Audited, ControlPlane, User};
pub use moto::Moto;
pub use process::Server;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Why a server could not be provided. Its `Debug` is its `Display`, since tests unwrap it and a log's lines should stay lines.
#[derive(thiserror::Error)]
pub enum Error {
    /// What a script of `tools/` provides is not there.
    #[error("{program} was not found: run {script} once (it tells its progress), or `make test`, which does")]
    NotInstalled {
        /// The path that was expected.
        program: String,
        /// The script that provides it.
        script: &'static str,
    },
    /// The server ended before it was ready.
    #[error("{name} ended with exit status {status}; its log ends:\n{log}")]
    Exited {
        /// The server.
        name: &'static str,
        /// As the shell counts it.
        status: String,
        /// The end of what it wrote.
        log: String,
    },
    /// The server runs but does not answer as it should.
    #[error("{name} was not ready within {within:?}; its log ends:\n{log}")]
    NotReady {
        /// The server.
        name: &'static str,
        /// How long it was given.
        within: Duration,
        /// The end of what it wrote.
        log: String,
    },
    /// A file or process operation failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// An HTTP request to a server failed.
    #[error("{request}: {reason}")]
    Http {
        /// Method and address.
        request: String,
        /// What was answered, or why nothing was.
        reason: String,
    },
    /// The Kubernetes client could not be made or refused the kubeconfig.
    #[error("Kubernetes client: {0}")]
    Kubernetes(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system's random generator failed.
    #[error("no random bytes from the system")]
    Random,
}

impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Error {
    fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// The file that defines OpenReports' kind ClusterReport.
pub fn openreports_definition() -> Result<PathBuf, Error> {
    ask_script("tools/openreports.sh", "--path")
}

/// What a script of `tools/` answers when asked where it puts things. The script alone knows the cache, the versions and `KUBEBUILDER_ASSETS`.
fn ask_script(script: &'static str, question: &str) -> Result<PathBuf, Error> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(script);
    let output = Command::new(&path).arg(question).output().map_err(Error::io(script))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::io(script)(std::io::Error::other(message)));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()))
}

/// `program`, or an error that says which script provides it.
fn installed(program: PathBuf, script: &'static str) -> Result<PathBuf, Error> {
    if program.is_file() { Ok(program) } else { Err(Error::NotInstalled { program: program.display().to_string(), script }) }
}
