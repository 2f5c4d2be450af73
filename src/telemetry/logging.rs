//! Logs on standard error. What is logged can be changed while the process runs, by a file that it watches: a mounted ConfigMap, in the chart.

use std::env;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use thiserror::Error;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, fmt, reload};

/// What is told too much at the usual levels; a filter that names these crates wins.
const QUIET: &str = "aws_=warn,h2=warn,hyper=warn,rustls=warn,tower=warn";

/// How often the file with the filter is read.
const LOOK_AT_FILE: Duration = Duration::from_secs(2);

/// How a log entry is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A JSON object a line.
    Json,
    /// A line for people.
    #[default]
    Text,
}

/// Why there are no logs.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The filter cannot be read.
    #[error("{variable}={filter:?}: {source}")]
    Filter {
        /// Where it comes from.
        variable: &'static str,
        /// As given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something else logs already.
    #[error(transparent)]
    Installed(#[from] TryInitError),
}

/// Logs from here on. `RUST_LOG`, when it is set, replaces `default_filter` (`info`, or `warn,encrypted_queue=debug`).
pub fn init(format: LogFormat, default_filter: &str) -> Result<FilterHandle, LoggingError> {
    let given = env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty());
    let (variable, filter) = given.map_or_else(|| ("filter", default_filter.to_owned()), |filter| ("RUST_LOG", filter));
    let parsed = parse(&filter).map_err(|source| LoggingError::Filter { variable, filter: filter.clone(), source })?;
    let (logger, replace) = subscriber(format, parsed, io::stderr().is_terminal(), io::stderr);
    logger.try_init()?;
    Ok(FilterHandle::new(replace, filter))
}

fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().with_default_directive(LevelFilter::ERROR.into()).parse(format!("{QUIET},{filter}"))
}

type Logger = Box<dyn Subscriber + Send + Sync>;
type Replace = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

fn subscriber<W>(format: LogFormat, filter: EnvFilter, colours: bool, writer: W) -> (Logger, Replace)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Json => {
            let builder = builder.json().with_span_list(false).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(builder.finish()), Box::new(move |filter| handle.reload(filter)))
        }
        LogFormat::Text => {
            let builder = builder.with_ansi(colours).with_filter_reloading();
            let handle = builder.reload_handle();
            (Box::new(builder.finish()), Box::new(move |filter| handle.reload(filter)))
        }
    }
}

/// Changes what is logged.
pub struct FilterHandle {
    replace: Replace,
    /// What counts when a file says nothing.
    at_start: String,
    /// What was asked for last.
    asked: String,
}

impl FilterHandle {
    fn new(replace: Replace, filter: String) -> Self {
        Self { replace, asked: filter.clone(), at_start: filter }
    }

    /// Logs what the file says, whenever that changes. A file that is empty, or not there, leaves what was said at the start; one that cannot be read as a
    /// filter, what was last in force.
    pub async fn follow(mut self, file: PathBuf) {
        let mut tick = tokio::time::interval(LOOK_AT_FILE);
        loop {
            tick.tick().await;
            self.look_at(&file);
        }
    }

    fn look_at(&mut self, file: &Path) {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let said = Some(text.trim()).filter(|said| !said.is_empty()).unwrap_or(&self.at_start);
        if said == self.asked {
            return;
        }
        self.asked = said.to_owned();
        let filter = self.asked.as_str();
        let replaced = parse(filter).map_err(|error| error.to_string()).and_then(|parsed| (self.replace)(parsed).map_err(|error| error.to_string()));
        match replaced {
            Ok(()) => tracing::info!(filter, "log filter in force"),
            Err(error) => tracing::error!(filter, file = %file.display(), error, "not a log filter; what was in force stays"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        tracing::subscriber::with_default(subscriber(format, parse(filter).unwrap(), false, move || writer.clone()).0, log);
        String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_has_an_object_a_line() {
        let text = logged(LogFormat::Json, "info", || {
            tracing::info!(queue = "a/b", attempts = 2, "line one\nline two");
            let _span = tracing::info_span!("reconcile", object = "c").entered();
            tracing::warn!(target: "elsewhere", "second");
        });
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [first, second] = lines.as_slice() else { panic!("{text}") };
        assert!(first["timestamp"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{first}");
        assert_eq!(first["level"], "INFO");
        assert_eq!(first["target"], module_path!());
        assert_eq!(first["fields"], json!({"message": "line one\nline two", "queue": "a/b", "attempts": 2}));
        assert_eq!((&second["level"], &second["target"]), (&json!("WARN"), &json!("elsewhere")));
        assert_eq!(second["span"], json!({"name": "reconcile", "object": "c"}));
    }

    #[test]
    fn text_is_for_people() {
        let text = logged(LogFormat::Text, "info", || tracing::info!(queue = "a/b", "made a queue"));
        assert!(text.ends_with(&format!(" INFO {}: made a queue queue=\"a/b\"\n", module_path!())), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn libraries_are_quiet_unless_asked() {
        let log = || {
            tracing::info!(target: "aws_smithy_runtime::client", "aws info");
            tracing::warn!(target: "aws_config::imds", "aws warn");
            tracing::info!(target: "hyper_util::client", "hyper info");
            tracing::debug!(target: "encrypted_queue::aws", "own debug");
            tracing::info!(target: "encrypted_queue::aws", "own info");
        };
        let messages = |filter| {
            let text = logged(LogFormat::Json, filter, log);
            text.lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"]["message"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(messages("info"), ["aws warn", "own info"]);
        assert_eq!(messages("debug"), ["aws warn", "own debug", "own info"]);
        assert_eq!(messages("info,hyper=info,aws_config=off"), ["hyper info", "own info"]);
        assert_eq!(messages("warn,aws_=info"), ["aws info", "aws warn"]);
    }

    #[test]
    fn a_file_changes_what_is_logged_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("filter");
        let written = Written::default();
        let writer = written.clone();
        let (logger, replace) = subscriber(LogFormat::Json, parse("info").unwrap(), false, move || writer.clone());
        let _guard = tracing::subscriber::set_default(logger);
        let mut handle = FilterHandle::new(replace, "info".to_owned());
        let mut told = |said: Option<&str>| {
            match said {
                Some(text) => std::fs::write(&file, text).unwrap(),
                None => std::fs::remove_file(&file).unwrap_or_default(),
            }
            written.0.lock().unwrap().clear();
            handle.look_at(&file);
            tracing::debug!("a detail");
            String::from_utf8(written.0.lock().unwrap().clone()).unwrap()
        };
        assert_eq!(told(None), "");
        assert!(told(Some("debug\n")).contains("a detail"));
        assert_eq!(told(Some("warn")), "");
        assert!(told(Some(concat!("error,", module_path!(), "=debug"))).contains("a detail"));
        // Rubbish changes nothing, and is told once.
        let refused = told(Some("error,encrypted_queue=loud"));
        assert!(refused.contains("a detail") && refused.contains("not a log filter"), "{refused}");
        assert!(!told(Some("error,encrypted_queue=loud")).contains("not a log filter"));
        let as_at_start = told(Some("\n"));
        assert!(as_at_start.contains("log filter in force") && !as_at_start.contains("a detail"), "{as_at_start}");
        assert!(told(Some("debug")).contains("a detail") && !told(None).contains("a detail"));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_an_error() {
        assert!(parse("info,encrypted_queue=loud").is_err());
        assert!(matches!(init(LogFormat::Json, "=="), Err(LoggingError::Filter { variable: "filter", .. })));
    }
}
