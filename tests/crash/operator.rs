//! The operator's process: started, killed, started again.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use test_support::kubernetes_proxy::KubernetesProxy;
use test_support::proxy::Proxy;

use super::results::directory;
use super::stage::{OPERATOR, SPEED, locked};

/// The operator's time begins so long before the real one, jumps of an hour included: AWS and the API server date what they make by theirs, and nothing
/// that is made should be older than the wish for it.
const BEHIND: i64 = 10_800_000;

/// Builds the operator with its test clock, and keeps a copy that no later build replaces.
fn build() -> &'static (PathBuf, String) {
    static BINARY: OnceLock<(PathBuf, String)> = OnceLock::new();
    BINARY.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // Beside the profile's directory of test programs, where this one is.
        let own = std::env::current_exe().expect("this program");
        let profile = own.parent().and_then(Path::parent).expect("a profile's directory");
        let name = profile.file_name().and_then(OsStr::to_str).filter(|name| *name != "debug").unwrap_or("dev");
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet", "--locked", "--profile", name, "--features", "test-clock", "--bin", "encrypted-queue-test-clock"]);
        assert!(command.current_dir(root).status().expect("cargo runs").success(), "the operator does not build");
        let built = profile.join("encrypted-queue-test-clock");
        let digest = hex::encode(Sha256::digest(std::fs::read(&built).expect("the operator's program")));
        let copy = directory().join(format!("operator-{}", &digest[..12]));
        std::fs::create_dir_all(directory()).expect("a directory");
        if !copy.exists() {
            std::fs::copy(&built, &copy).expect("a copy");
        }
        (copy, digest)
    })
}

/// Tells one build from another.
pub(crate) fn digest() -> &'static str {
    &build().1
}

/// The process group of all operators. Its leader waits for the end of this process, however that comes, and then ends the group.
fn group() -> i32 {
    static LEADER: OnceLock<Mutex<Child>> = OnceLock::new();
    let leader = LEADER.get_or_init(|| {
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP INT TERM; cat >/dev/null; kill -KILL 0"]).stdin(Stdio::piped()).process_group(0);
        Mutex::new(command.spawn().expect("a shell"))
    });
    i32::try_from(locked(leader).id()).expect("a process id")
}

fn clock_file(directory: &Path) -> PathBuf {
    directory.join("clock")
}

/// Whole at each moment: the operator reads it at any.
fn set_clock(directory: &Path, (real, shown): (i64, i64)) {
    let next = directory.join("clock.next");
    std::fs::write(&next, format!("{real} {shown} {SPEED}\n")).expect("a clock");
    std::fs::rename(next, clock_file(directory)).expect("the clock is set");
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis().try_into().expect("not that late")
}

pub(crate) struct Operator {
    directory: PathBuf,
    arguments: Vec<(String, String)>,
    /// The operator's time at a real one, both in milliseconds since 1970.
    clock: Mutex<(i64, i64)>,
    child: Mutex<Option<Child>>,
    /// Where the log of the process that was started last begins.
    begun: Mutex<usize>,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Operator {
    pub(crate) fn new(directory: PathBuf, kubernetes: &KubernetesProxy, proxy: &Proxy, worker: usize, time_out: &str) -> Self {
        std::fs::create_dir_all(&directory).expect("a directory");
        let (kubeconfig, clock) = (directory.join("kubeconfig"), clock_file(&directory));
        std::fs::write(&kubeconfig, kubernetes.kubeconfig()).expect("a kubeconfig");
        let course = (now(), now() - BEHIND);
        set_clock(&directory, course);
        let _ = File::create(directory.join("log"));
        let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let arguments = vec![
            of("KUBECONFIG", &kubeconfig.display().to_string()),
            of("ENCRYPTED_QUEUE_TEST_CLOCK", &clock.display().to_string()),
            of("AWS_ENDPOINT_URL", proxy.endpoint()),
            of("AWS_ACCESS_KEY_ID", "operator"),
            of("AWS_SECRET_ACCESS_KEY", "secret"),
            of("AWS_REGION", "eu-west-1"),
            of("AWS_EC2_METADATA_DISABLED", "true"),
            of("NO_COLOR", "1"),
            of("HOSTNAME", &format!("worker-{worker}")),
            of("ENCRYPTED_QUEUE_CLUSTER_ID", "crash"),
            of("ENCRYPTED_QUEUE_OPERATOR_ROLE_ARN", OPERATOR),
            of("ENCRYPTED_QUEUE_HTTP_ADDRESS", "127.0.0.1:0"),
            // Longer than the time-out of a call whose answer is lost, as always: it may still take effect.
            of("ENCRYPTED_QUEUE_KEY_SEARCH_WINDOW", "400s"),
            of("ENCRYPTED_QUEUE_KEY_SETTLE_PERIOD", "30s"),
            // Nothing but what happens should be looked at.
            of("ENCRYPTED_QUEUE_CHECK_PERIOD", "100h"),
            of("ENCRYPTED_QUEUE_AUDIT_PERIOD", "100000h"),
            of("ENCRYPTED_QUEUE_AWS_TIMEOUT", time_out),
            of("RUST_LOG", "info,encrypted_queue=debug"),
        ];
        Self { directory, arguments, clock: Mutex::new(course), child: Mutex::new(None), begun: Mutex::new(0) }
    }

    /// Lets the operator's clock jump by so many milliseconds.
    pub(crate) fn jump(&self, by: i64) {
        let mut clock = locked(&self.clock);
        let (real, shown) = *clock;
        let now = now();
        *clock = (now, shown + (now - real) * i64::from(SPEED) + by);
        set_clock(&self.directory, *clock);
    }

    pub(crate) fn start(&self) {
        let log = File::options().create(true).append(true).open(self.directory.join("log")).expect("a log");
        *locked(&self.begun) = self.log().len();
        let mut command = Command::new(&build().0);
        command.arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(group());
        command.envs(self.arguments.iter().map(|(name, value)| (name, value)));
        *locked(&self.child) = Some(command.spawn().expect("the operator starts"));
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = locked(&self.child).take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it ended by itself, as a process may that its kubelet starts again.
    pub(crate) fn has_ended(&self) -> bool {
        locked(&self.child).as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Whether the process that was started last has filled its caches.
    pub(crate) fn is_awake(&self) -> bool {
        let log = self.log();
        let begun = *locked(&self.begun);
        log.get(begun..).is_some_and(|log| log.contains("caches are full"))
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read(self.directory.join("log")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
