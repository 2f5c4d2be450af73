//! `encrypted-queue audit --who-decrypted`: reads CloudTrail's Decrypt events, from its event history or from log files.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use jiff::{SignedDuration, Timestamp};

use crate::aws::{AccountKey, Accounts};
use crate::who_decrypted::{Tally, WhoDecryptedReport};

/// Events of one account and Region that are looked up: at two calls a second an hour and a half.
const MOST_EVENTS: usize = 500_000;
/// How often progress is told.
const EACH: usize = 5_000;
/// Largest log file that is read, unpacked: CloudTrail's are far smaller.
const MOST_BYTES: u64 = 1 << 30;

/// Arguments beside those of `encrypted-queue audit`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct WhoDecrypted {
    /// Instead of the checks: tell by CloudTrail's Decrypt events who reads which queue, by its event history (90 days; two calls a second) or --from
    #[arg(long, conflicts_with_all = ["baseline", "fail_on"])]
    pub who_decrypted: bool,
    /// CloudTrail's log files (JSON, also .gz) or folders of them, instead of its event history; neither cluster nor AWS is asked
    #[arg(long, value_name = "PATH", num_args = 1.., requires = "who_decrypted")]
    pub from: Vec<PathBuf>,
    /// Days of the event history to look at
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=90), requires = "who_decrypted", conflicts_with = "from")]
    pub days: u16,
}

/// A log file or folder cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {source}")]
pub struct ReadError {
    /// Which.
    pub path: String,
    /// Why.
    pub source: io::Error,
}

/// What log files tell.
pub fn from_files(paths: &[PathBuf]) -> Result<WhoDecryptedReport, ReadError> {
    let (mut tally, mut files) = (Tally::default(), 0_usize);
    for path in paths {
        for file in log_files(path)? {
            tally.add_file(&text_of(&file).map_err(|source| ReadError { path: file.display().to_string(), source })?);
            files += 1;
            if files.is_multiple_of(EACH) {
                eprintln!("read {files} files");
            }
        }
    }
    Ok(tally.report(vec![format!("from {files} files")], false))
}

/// What the event history of these accounts and Regions tells; one that does not answer is named, and the others count.
pub async fn from_history(accounts: &Accounts, places: &[AccountKey], days: u16, now: Timestamp) -> WhoDecryptedReport {
    let from = now - SignedDuration::from_hours(24 * i64::from(days));
    let (mut tally, mut notes, mut partial) = (Tally::default(), Vec::new(), false);
    for place in places {
        let named = format!("account {}, {}", place.account_id, place.region);
        eprintln!("looking up Decrypt events of {named}");
        let mut seen = 0_usize;
        let each = |event: &str| {
            tally.add_text(event);
            seen += 1;
            if seen.is_multiple_of(EACH) {
                eprintln!("{seen} events of {named}");
            }
            seen < MOST_EVENTS
        };
        let ended = match accounts.trail(place).await {
            Ok(trail) => trail.events("Decrypt", from, now, each).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            partial = true;
            notes.push(format!("{named}, could not be looked at to the end: {error}"));
        } else if seen >= MOST_EVENTS {
            partial = true;
            notes.push(format!("{named}: only the latest {MOST_EVENTS} events were looked at; log files have all of them (--from)"));
        }
    }
    notes.push(format!("CloudTrail's event history from {from:.0} to {now:.0}; an event may come a quarter of an hour late"));
    tally.report(notes, partial)
}

/// The file, or the log files of a folder and all below it.
fn log_files(path: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let unread = |source| ReadError { path: path.display().to_string(), source };
    if !fs::metadata(path).map_err(unread)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(unread)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut entries = entries.map_err(unread)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let is_log = entry.extension().is_some_and(|extension| ["json", "gz"].iter().any(|known| extension == *known));
        if is_log || entry.is_dir() {
            found.extend(log_files(&entry)?);
        }
    }
    Ok(found)
}

fn text_of(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> = if packed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut text = String::new();
    let read = reader.take(MOST_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MOST_BYTES { Err(io::Error::other("larger than 1 GiB")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn a_folder_of_logs_is_read_packed_or_not() {
        let record = |id: &str| {
            format!(
                r#"{{"Records":[{{"eventID":"{id}","eventSource":"kms.amazonaws.com","eventName":"Decrypt","userIdentity":{{"arn":"a"}},
                "requestParameters":{{"encryptionContext":{{"aws:sqs:arn":"q"}}}}}}]}}"#
            )
        };
        let directory = tempfile::tempdir().unwrap();
        let below = directory.path().join("2026/11");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join("one.json"), record("1")).unwrap();
        std::fs::write(below.join("README"), "not a log").unwrap();
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(record("2").as_bytes()).unwrap();
        std::fs::write(below.join("two.json.gz"), packed.finish().unwrap()).unwrap();
        let report = from_files(&[directory.path().to_owned()]).unwrap();
        assert_eq!((report.events, report.malformed, report.rows.len()), (2, 0, 1));
        std::fs::write(below.join("bad.json.gz"), "not packed").unwrap();
        let error = from_files(&[directory.path().to_owned()]).unwrap_err();
        assert!(error.to_string().contains("bad.json.gz"), "{error}");
        assert!(from_files(&[directory.path().join("nowhere")]).is_err());
    }
}
