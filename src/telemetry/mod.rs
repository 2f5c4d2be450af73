//! What the operator tells about itself: logs, metrics, health.

pub mod events;
pub mod findings;
pub mod http;
pub mod logging;
pub mod metrics;
