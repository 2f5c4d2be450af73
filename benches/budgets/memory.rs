//! Memory of the operator's process at rest.

use std::time::Duration;

use crate::figure::{Budget, Figure, Unit};
use crate::process::Memory;
use crate::stage::Stage;
use crate::{RUNS, progress};

/// From the start to rest: the lease, the caches, the first reconciles.
const SETTLED: Duration = Duration::from_secs(6);

pub(crate) async fn measure() -> Vec<Figure> {
    let mut stage = Stage::empty().await;
    let none = starts(&mut stage, "without queues").await;
    stage.platform().await;
    stage.world.start_operator(&[]);
    stage.example_queues().await;
    tokio::time::sleep(SETTLED).await;
    let made = stage.process().await.memory();
    stop(&mut stage).await;
    let examples = starts(&mut stage, "with the example queues").await;
    let resident = |samples: &[Memory]| samples.iter().map(|memory| memory.resident).collect();
    let peak = |samples: &[Memory]| samples.iter().map(|memory| memory.peak).collect();
    vec![
        Figure::new("memory at rest, no queues", Unit::Mebibytes, Budget::AtMost(20.0), resident(&none)),
        Figure::new("peak memory, no queues", Unit::Mebibytes, Budget::AtMost(20.0), peak(&none)),
        Figure::new("memory at rest, example queues, after a start", Unit::Mebibytes, Budget::None, resident(&examples)),
        Figure::new("peak memory, example queues, after a start", Unit::Mebibytes, Budget::None, peak(&examples)),
        Figure::new("memory at rest, example queues, after making them", Unit::Mebibytes, Budget::None, vec![made.resident]),
        Figure::new("peak memory, example queues, after making them", Unit::Mebibytes, Budget::None, vec![made.peak]),
    ]
}

/// Starts the operator again and again and measures each once it rests.
async fn starts(stage: &mut Stage, what: &str) -> Vec<Memory> {
    let mut samples = Vec::new();
    for run in 0..RUNS {
        stage.world.start_operator(&[]);
        let process = stage.process().await;
        tokio::time::sleep(SETTLED).await;
        let memory = process.memory();
        progress(&format!("memory {what}, {} of {RUNS}: {:.1} MiB, peak {:.1} MiB", run + 1, memory.resident, memory.peak));
        samples.push(memory);
        stop(stage).await;
    }
    samples
}

/// Ends the operator as a rollout does.
pub(crate) async fn stop(stage: &mut Stage) {
    let process = stage.process().await;
    process.terminate();
    stage.world.until("the operator has ended", async || process.has_ended()).await;
    stage.world.stop_operator();
}
