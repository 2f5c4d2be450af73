//! FIFO queues.

use serde_json::json;

use super::encrypted_queue::queue;
use super::{Case, Object, accepts, accepts_change, rejects, rejects_change};

fn fifo() -> Object {
    queue().with("spec.queue.fifo", json!({}))
}

pub fn cases() -> Vec<Case> {
    let deduplicated = |scope: &str, limit: &str| fifo().with("spec.queue.fifo", json!({ "deduplicationScope": scope, "throughputLimit": limit }));
    vec![
        accepts("a FIFO queue with a name made for it", fifo()),
        accepts("a FIFO queue with its suffix", fifo().with("spec.queue.name", "ledger.fifo")),
        accepts("the longest FIFO name", fifo().with("spec.queue.name", format!("{}.fifo", "q".repeat(75)))),
        rejects("a longer FIFO name", fifo().with("spec.queue.name", format!("{}.fifo", "q".repeat(76))), "spec.queue.name"),
        rejects("a FIFO queue without its suffix", fifo().with("spec.queue.name", "ledger"), "must end in .fifo if fifo is given, and only then"),
        rejects(
            "the suffix on a standard queue",
            queue().with("spec.queue.name", "ledger.fifo"),
            "must end in .fifo if fifo is given, and only then",
        ),
        rejects("nothing but the suffix", fifo().with("spec.queue.name", ".fifo"), "spec.queue.name"),
        accepts("high throughput", deduplicated("MessageGroup", "PerMessageGroup")),
        accepts("deduplication in each group, throughput of the queue", deduplicated("MessageGroup", "PerQueue")),
        rejects("high throughput, deduplication in the queue", deduplicated("Queue", "PerMessageGroup"), "PerMessageGroup needs deduplicationScope"),
        rejects(
            "high throughput, deduplication unsaid",
            fifo().with("spec.queue.fifo.throughputLimit", "PerMessageGroup"),
            "PerMessageGroup needs deduplicationScope",
        ),
        rejects("an unknown scope", deduplicated("Everywhere", "PerQueue"), "spec.queue.fifo.deduplicationScope"),
        rejects_change("a queue turned FIFO", queue(), fifo(), "a queue cannot become FIFO, nor cease to be"),
        rejects_change("a FIFO queue turned standard", fifo(), queue(), "a queue cannot become FIFO, nor cease to be"),
        rejects_change(
            "a FIFO queue turned standard by leaving out its settings",
            fifo(),
            fifo().without("spec.queue"),
            "a queue cannot become FIFO",
        ),
        accepts_change("deduplication by content", fifo(), fifo().with("spec.queue.fifo.contentBasedDeduplication", true)),
    ]
}
