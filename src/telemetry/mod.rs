//! What the operator tells about itself: logs, metrics, traces, health.

pub mod events;
pub mod figures;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod otlp;
pub mod page;
pub mod traces;
