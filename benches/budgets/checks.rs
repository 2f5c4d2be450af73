//! What a comparison with AWS costs when nothing differs.

use std::time::Duration;

use serde_json::json;

use crate::creation::{number, queue_name};
use crate::figure::{Budget, Figure, Unit};
use crate::stage::{NAMESPACE, Stage};
use crate::{RUNS, progress};

/// The check of a queue and that of its key have ended by then.
const AFTERMATH: Duration = Duration::from_secs(2);

/// Checks the first queue that was created, with its dead-letter queue and key, as the annotation `check-now` asks: everything is read directly. What the
/// slow check asks for each of many, `fleet.rs` counts.
pub(crate) async fn measure(stage: &Stage) -> Vec<Figure> {
    let (world, name) = (&stage.world, queue_name(0));
    let (mut reads, mut writes) = (Vec::new(), Vec::new());
    for run in 0..RUNS {
        let (mark, value) = (world.proxy.mark(), format!("run {run}"));
        world.change_queue(NAMESPACE, &name, json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": value}}})).await;
        let checked = async || world.queue(NAMESPACE, &name).await.status.and_then(|status| status.checked_now).as_deref() == Some(&value);
        world.until("the queue is checked", checked).await;
        world.until("the key is checked", async || world.proxy.count_since(mark, "GetKeyPolicy") > 0).await;
        tokio::time::sleep(AFTERMATH).await;
        reads.push(number(world.proxy.calls_since(mark).len()));
        writes.push(number(world.proxy.writes_since(mark).len()));
        let operations: Vec<_> = world.proxy.calls_since(mark).into_iter().map(|call| call.operation).collect();
        progress(&format!("check {} of {RUNS}: {}", run + 1, operations.join(", ")));
    }
    vec![
        Figure::new("AWS calls of check-now, queue, dead-letter queue and key", Unit::Count, Budget::None, reads),
        Figure::new("AWS writes of check-now when nothing differs", Unit::Count, Budget::AtMost(0.0), writes),
    ]
}
