//! What every call to AWS passes through: it is counted, logged and traced, and repeated by the SDK only when that can help.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextMut, Error, FinalizerInterceptorContextRef, InterceptorContext,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpResponse, Metadata, OrchestratorError};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};

use super::codes::Kind;
use super::error::{AwsError, find, raw_code};
use super::quota::{Action, SharedQuotas};
use crate::names::Place;
use crate::telemetry::traces::{self, AwsCall};

/// How often an operation was called.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct CallCount {
    /// Requests, the SDK's own repetitions included.
    pub attempts: u64,
    /// Those that failed.
    pub errors: u64,
}

/// Calls since the start, by action (`kms:CreateKey`).
#[derive(Debug, Default)]
pub struct CallCounts(Mutex<BTreeMap<String, CallCount>>);

impl CallCounts {
    /// All counts as they are now.
    pub fn snapshot(&self) -> BTreeMap<String, CallCount> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn update(&self, action: String, change: impl FnOnce(&mut CallCount)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(action).or_default());
    }
}

/// Counts each attempt and logs each call of one account and Region.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    pub(super) counts: Arc<CallCounts>,
    pub(super) account: Arc<str>,
    pub(super) region: Arc<str>,
    pub(super) pace: Option<Pace>,
}

/// The lines that the calls of one account and Region pass.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    pub(super) quotas: SharedQuotas,
    pub(super) place: Place,
}

#[derive(Debug)]
struct Started(Instant);

impl Storable for Started {
    type Storer = StoreReplace<Self>;
}

/// The action as IAM names it.
fn action(cfg: &ConfigBag) -> String {
    let Some(metadata) = cfg.load::<Metadata>() else {
        return "unknown".to_owned();
    };
    let prefix = match metadata.service() {
        "Resource Groups Tagging API" => "tag".to_owned(),
        service => service.to_lowercase(),
    };
    format!("{prefix}:{}", metadata.name())
}

impl Intercept for Recorder {
    fn name(&self) -> &'static str {
        "Recorder"
    }

    fn read_before_execution(&self, _: &BeforeSerializationInterceptorContextRef<'_>, cfg: &mut ConfigBag) -> Result<(), BoxError> {
        cfg.interceptor_state().store_put(Started(Instant::now()));
        Ok(())
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().add_extension(Action(action(cfg)));
        Ok(())
    }

    fn read_after_attempt(&self, context: &FinalizerInterceptorContextRef<'_>, _: &RuntimeComponents, cfg: &mut ConfigBag) -> Result<(), BoxError> {
        let ended = context.output_or_error();
        if ended.and_then(std::result::Result::err).is_some_and(was_not_sent) {
            return Ok(());
        }
        let failed = !matches!(ended, Some(Ok(_)));
        self.counts.update(action(cfg), |count| {
            count.attempts += 1;
            count.errors += u64::from(failed);
        });
        if let (true, Some(pace), Some(response)) = (failed, &self.pace, context.response())
            && raw_code(response).is_some_and(|code| Kind::of_code(&code) == Some(Kind::Throttled))
        {
            pace.quotas.throttled(&pace.place, &action(cfg));
        }
        Ok(())
    }

    fn read_after_execution(&self, context: &FinalizerInterceptorContextRef<'_>, _: &RuntimeComponents, cfg: &mut ConfigBag) -> Result<(), BoxError> {
        let duration = cfg.load::<Started>().map(|started| started.0.elapsed());
        let response = context.response();
        tracing::debug!(
            operation = action(cfg),
            account = &*self.account,
            region = &*self.region,
            duration_ms = duration.map(|duration| duration.as_secs_f64() * 1000.0),
            status = response.map(|response| response.status().as_u16()),
            request_id = response.and_then(request_id),
            "called AWS"
        );
        if traces::in_pass() {
            self.trace(context, cfg, duration.unwrap_or_default());
        }
        Ok(())
    }
}

impl Recorder {
    fn trace(&self, context: &FinalizerInterceptorContextRef<'_>, cfg: &ConfigBag, duration: Duration) {
        let failure = context.output_or_error().and_then(std::result::Result::err);
        let response = context.response();
        if response.is_none() && failure.is_some_and(was_not_sent) {
            return;
        }
        let code = |failure: &Failure| response.and_then(raw_code).unwrap_or_else(|| unanswered(failure).to_owned());
        let metadata = cfg.load::<Metadata>();
        traces::aws_call(AwsCall {
            service: metadata.map_or("unknown", Metadata::service),
            operation: metadata.map_or("unknown", Metadata::name),
            account: &self.account,
            region: &self.region,
            duration,
            status: response.map(|response| response.status().as_u16()),
            request_id: response.and_then(request_id),
            error: failure.map(code),
        });
    }
}

type Failure = OrchestratorError<Error>;

/// AWS's id of the request.
pub(super) fn request_id(response: &HttpResponse) -> Option<&str> {
    response.headers().get("x-amzn-requestid")
}

/// A call that waits for its turn instead.
fn was_not_sent(failure: &Failure) -> bool {
    let error = failure.as_connector_error();
    error.is_some_and(|error| find::<AwsError>(error).is_some_and(|error| error.kind == Kind::AwaitingQuota))
}

/// Why there is no code of AWS's.
fn unanswered(failure: &Failure) -> &'static str {
    let connector = failure.as_connector_error();
    if failure.is_timeout_error() || connector.is_some_and(ConnectorError::is_timeout) {
        "timeout"
    } else if connector.is_some() {
        "connection"
    } else {
        "_OTHER"
    }
}

/// Stops the SDK from repeating a call that a quota or a size limit refused: the SDK takes `LimitExceededException` for throttling.
#[derive(Debug)]
pub(super) struct LimitsDoNotHeal;

impl ClassifyRetry for LimitsDoNotHeal {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let code = context.response().filter(|response| response.status().is_client_error()).and_then(raw_code);
        match code.and_then(|code| Kind::of_code(&code)) {
            Some(Kind::LimitExceeded) => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "LimitsDoNotHeal"
    }
}
