//! A server that cannot outlive the process that started it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Error;

/// Runs a server and cleans up after it. Its standard input is a pipe that only the test's process holds, so it ends when that process ends in any
/// way, `kill -9` included; then the server is killed and its directory removed. An exit status in the directory says that the server ended first.
/// Its own process group keeps a terminal's Ctrl-C away until then.
const SUPERVISOR: &str = r#"
trap '' HUP INT TERM
directory=$1
shift
exec 3<&0
"$@" </dev/null >"$directory/log" 2>&1 3<&- &
server=$!
{ cat <&3 >/dev/null; [ -e "$directory/exit-status" ] || kill -KILL "$server"; } 2>/dev/null &
wait "$server"
echo $? >"$directory/exit-status"
exec 3<&-
wait
rm -rf "$directory"
"#;

const READY_WITHIN: Duration = Duration::from_mins(1);
const PROBE_EVERY: Duration = Duration::from_millis(25);

/// A running server and its directory. Both are gone when this is dropped, or when the process ends without dropping it.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    directory: PathBuf,
    supervisor: Child,
}

impl Server {
    /// Starts `program`, whose output goes to the file `log` in `directory`.
    pub fn start(name: &'static str, directory: TempDir, program: &Path, arguments: &[OsString]) -> Result<Self, Error> {
        let supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "sh"])
            .arg(directory.path())
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Error::io(name))?;
        // From here on the supervisor removes it.
        Ok(Self { name, directory: directory.keep(), supervisor })
    }

    /// An empty directory for a server's files.
    pub fn directory(name: &'static str) -> Result<TempDir, Error> {
        tempfile::Builder::new().prefix(&format!("encrypted-queue-{name}-")).tempdir().map_err(Error::io("temporary directory"))
    }

    /// Where the server's files are.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Everything the server has written so far.
    pub fn log(&self) -> String {
        std::fs::read(self.directory.join("log")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until `probe` finds something. A server that ends, or takes too long, is an error that shows the end of its log.
    pub async fn until<T>(&self, probe: impl AsyncFn() -> Option<T>) -> Result<T, Error> {
        let started = Instant::now();
        loop {
            if let Some(found) = probe().await {
                return Ok(found);
            }
            if let Ok(status) = std::fs::read_to_string(self.directory.join("exit-status")) {
                return Err(Error::Exited { name: self.name, status: status.trim().to_owned(), log: self.log_end() });
            }
            if started.elapsed() > READY_WITHIN {
                return Err(Error::NotReady { name: self.name, within: READY_WITHIN, log: self.log_end() });
            }
            tokio::time::sleep(PROBE_EVERY).await;
        }
    }

    fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        // An error means that it was waited for already.
        let _ = self.supervisor.wait();
    }
}
