//! The operator's process, as Linux tells of it.

use std::fs;
use std::process::Command;

/// A process.
pub(crate) struct Process {
    id: u32,
}

/// Memory in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: f64,
    pub(crate) peak: f64,
}

impl Process {
    /// The operator that was started with this in its environment.
    pub(crate) fn find(variable: &str) -> Option<Self> {
        let program = fs::canonicalize(env!("CARGO_BIN_EXE_encrypted-queue")).ok()?;
        let ids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        ids.map(|id| Self { id }).find(|process| {
            let environment = || fs::read(process.path("environ")).unwrap_or_default();
            fs::read_link(process.path("exe")).is_ok_and(|exe| exe == program)
                && environment().split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
        })
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.id)
    }

    pub(crate) fn memory(&self) -> Memory {
        let status = fs::read_to_string(self.path("status")).expect("the process runs");
        let kibibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).expect("a number of kB")
        };
        Memory { resident: kibibytes("VmRSS") / 1024.0, peak: kibibytes("VmHWM") / 1024.0 }
    }

    /// Seconds of CPU that it has used.
    pub(crate) fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(self.path("stat")).expect("the process runs");
        // After the program's name, which is in parentheses: utime and stime are the 12th and 13th field, in hundredths of a second.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<f64>().expect("a number of ticks");
        (ticks(11) + ticks(12)) / 100.0
    }

    /// Asks it to end, so that it gives its lease up.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.id.to_string()]).status().expect("kill runs");
        assert!(status.success(), "the process had ended");
    }

    pub(crate) fn has_ended(&self) -> bool {
        fs::read_link(self.path("exe")).is_err()
    }
}
