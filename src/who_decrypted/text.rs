//! The answer for people.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use super::{Row, WhoDecryptedReport};
use crate::preview::one_line;

/// The answer as text.
pub fn who_decrypted_text(report: &WhoDecryptedReport) -> String {
    let mut lines = Vec::new();
    if !report.rows.is_empty() {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(["QUEUE", "PRINCIPAL", "DECRYPTED", "DENIED", "FAILED", "FIRST", "LAST"]);
        for Row { queue, principal, kind: _, decrypted, denied, failed, first, last, keys: _ } in &report.rows {
            let name = queue.rsplit(':').next().unwrap_or_default();
            table.add_row([
                one_line(name),
                one_line(principal),
                decrypted.to_string(),
                denied.to_string(),
                failed.to_string(),
                one_line(first),
                one_line(last),
            ]);
        }
        lines.extend(table.to_string().lines().map(|line| line.trim_end().to_owned()));
        lines.push(String::new());
    }
    let queues: std::collections::BTreeSet<&str> = report.rows.iter().map(|row| row.queue.as_str()).collect();
    lines.push(format!("{} Decrypt events of {} queues; {} without a queue.", report.events, queues.len(), report.other_events));
    if report.malformed > 0 {
        lines.push(format!("{} texts are no events of CloudTrail.", report.malformed));
    }
    lines.push("Note: an event stands for a data key that SQS unwrapped, not for a message.".to_owned());
    lines.extend(report.notes.iter().map(|note| format!("Note: {}.", one_line(note))));
    lines.into_iter().map(|line| line + "\n").collect()
}
