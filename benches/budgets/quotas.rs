//! A fleet made under AWS's own request quotas, time scaled: the quotas are so many times as high, for AWS as for the operator.

use crate::creation::number;
use crate::emulator::Emulator;
use crate::figure::{Budget, Figure, Unit};
use crate::fleet::{make, platform};
use crate::memory::stop;
use crate::stage::Stage;

/// Calls that a creation makes of the API with the lowest quota: `CreateKey`, and `CreateAlias` beside it.
const CREATE_KEY: f64 = 5.0;
/// As much of a quota as the operator takes.
const SHARE: f64 = 0.8;
/// Quotas a second of what the operator calls while it makes queues.
const PUBLISHED: [(&str, f64); 8] = [
    ("kms:CreateKey", CREATE_KEY),
    ("kms:CreateAlias", 5.0),
    ("kms:EnableKeyRotation", 15.0),
    ("kms:PutKeyPolicy", 15.0),
    ("kms:TagResource", 10.0),
    ("kms:DescribeKey", 2000.0),
    ("sqs:tags", 5.0),
    ("other", 100.0),
];

pub(crate) async fn measure(queues: usize, scale: f64) -> Vec<Figure> {
    let emulator = Emulator::start().await;
    let mut stage = Stage::over(&emulator.endpoint()).await;
    platform(&stage).await;
    stage.world.proxy.set_quotas(Some(scale));
    let quotas: Vec<String> = PUBLISHED.iter().map(|(api, rate)| format!("{api}={}", (rate * scale).min(100_000.0))).collect();
    let (elapsed, _) = make(&mut stage, queues, &quotas.join(",")).await;
    stop(&mut stage).await;
    let calls = stage.world.proxy.ledger();
    let throttled = calls.iter().filter(|call| call.error.as_deref().is_some_and(|code| code.contains("Throttl"))).count();
    let bound = number(queues) / (CREATE_KEY * scale * SHARE);
    let named = |what: &str| format!("{queues} queues under quotas, time scaled by {scale}: {what}");
    let percent = |part: f64, whole: f64| vec![part / whole * 100.0];
    vec![
        Figure::new(
            named("time, of what CreateKey at four fifths of its quota takes"),
            Unit::Percent,
            Budget::AtMost(110.0),
            percent(elapsed.as_secs_f64(), bound),
        ),
        Figure::new(named("time, of what CreateKey at its quota takes"), Unit::Percent, Budget::None, percent(elapsed.as_secs_f64(), bound * SHARE)),
        Figure::new(named("throttled calls"), Unit::Percent, Budget::AtMost(0.1), percent(number(throttled), number(calls.len()))),
    ]
}
