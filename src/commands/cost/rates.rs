//! Rates of messages that are given, not measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{Arguments, Error};
use crate::cost::{Basis, CostInput, Traffic};

/// Messages a day of one queue, as the file names them.
#[allow(clippy::struct_field_names)]
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rate {
    sent_per_day: u64,
    received_per_day: Option<u64>,
    #[serde(default)]
    dead_letters_received_per_day: u64,
}

/// Rates by `NAMESPACE/NAME`, and for all others.
#[derive(Debug, Default)]
pub(super) struct Rates {
    named: BTreeMap<String, Rate>,
    others: Option<Rate>,
}

/// A file's text.
pub(super) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| Error::File { path: path.display().to_string(), message: error.to_string() })
}

impl Rates {
    pub(super) fn of(arguments: &Arguments) -> Result<Self, Error> {
        let named = match &arguments.rates {
            Some(path) => {
                let invalid =
                    |error: serde_saphyr::Error| Error::File { path: path.display().to_string(), message: error.without_snippet().to_string() };
                serde_saphyr::from_str(&read(path)?).map_err(invalid)?
            }
            None => BTreeMap::new(),
        };
        let others = arguments.sent_per_day.map(|sent_per_day| Rate {
            sent_per_day,
            received_per_day: arguments.received_per_day,
            dead_letters_received_per_day: 0,
        });
        Ok(Self { named, others })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.others.is_none()
    }

    /// Gives each queue its rates; one without stays as declared.
    pub(super) fn apply(&self, input: &mut CostInput) {
        for queue in &mut input.queues {
            let Some(rate) = self.named.get(&queue.object.to_string()).or(self.others.as_ref()) else { continue };
            queue.basis = Basis::Rates;
            queue.traffic = Some(Traffic::even(rate.sent_per_day, rate.received_per_day.unwrap_or(rate.sent_per_day)));
            queue.dead_letter_traffic = queue.dead_letter_queue.is_some().then(|| Traffic::even(0, rate.dead_letters_received_per_day));
        }
        let known = |name: &&String| input.queues.iter().any(|queue| queue.object.to_string() == **name);
        let unknown: Vec<&String> = self.named.keys().filter(|name| !known(name)).collect();
        let notes = unknown.iter().map(|name| format!("--rates names {name}, and there is no such accepted queue"));
        let notes: Vec<String> = notes.collect();
        input.notes.extend(notes);
    }
}
