//! The operator's own requests, so that the events they cause are told from other people's.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use super::calls::request_id;

/// So many requests are remembered: at the quotas of AWS KMS, more than the quarter of an hour that an event may take to come.
const REMEMBERED: usize = 16_384;

/// AWS's ids of the requests that this process made and that changed something. A role alone would not do: whoever steals its credentials has it too.
#[derive(Clone, Debug, Default)]
pub struct OwnRequests(Arc<Mutex<Ids>>);

#[derive(Debug, Default)]
struct Ids {
    known: HashSet<Box<str>>,
    in_order: VecDeque<Box<str>>,
}

impl OwnRequests {
    /// Whether this process made the request.
    pub fn contains(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).known.contains(id)
    }

    fn note(&self, id: &str) {
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !ids.known.insert(id.into()) {
            return;
        }
        ids.in_order.push_back(id.into());
        if ids.in_order.len() > REMEMBERED
            && let Some(oldest) = ids.in_order.pop_front()
        {
            ids.known.remove(&oldest);
        }
    }
}

fn is_read(operation: &str) -> bool {
    ["Get", "List", "Describe", "Assume", "Receive"].iter().any(|prefix| operation.starts_with(prefix))
}

impl Intercept for OwnRequests {
    fn name(&self) -> &'static str {
        "OwnRequests"
    }

    fn read_after_attempt(&self, context: &FinalizerInterceptorContextRef<'_>, _: &RuntimeComponents, cfg: &mut ConfigBag) -> Result<(), BoxError> {
        let is_write = cfg.load::<Metadata>().is_some_and(|metadata| !is_read(metadata.name()));
        let id = context.response().and_then(request_id);
        if let Some(id) = id.filter(|_| is_write) {
            self.note(id);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let requests = OwnRequests::default();
        for number in 0..=REMEMBERED {
            requests.note(&number.to_string());
            requests.note(&number.to_string());
        }
        assert!(!requests.contains("0") && requests.contains("1") && requests.contains(&REMEMBERED.to_string()));
        let ids = requests.0.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!((ids.known.len(), ids.in_order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn reads_are_told_from_writes() {
        assert!(["GetKeyPolicy", "ListGrants", "DescribeKey", "ReceiveMessage"].iter().all(|name| is_read(name)));
        assert!(!["PutKeyPolicy", "CreateKey", "DeleteQueue", "UntagQueue", "RevokeGrant"].iter().any(|name| is_read(name)));
    }
}
