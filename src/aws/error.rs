//! The one error of this module, made from whatever the SDK reports.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::RequestId;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::codes::{Intent, Kind};
use crate::api::reasons::Reason;

/// Stands for the code of an answer that has none.
pub(super) const NO_CODE: &str = "Unknown";

/// A call to AWS that did not succeed.
///
/// Its text is the same each time the same thing goes wrong (the request's id is kept apart), so that it can stand in a status.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation}: {code}: {message}")]
pub struct AwsError {
    /// The action as IAM names it: `kms:CreateKey`.
    pub operation: &'static str,
    /// The code as received, or a word of ours where AWS gave none.
    pub code: String,
    /// What AWS, the SDK or this operator says about it.
    pub message: String,
    /// AWS's id of the request, for its support and for CloudTrail.
    pub request_id: Option<String>,
    /// What kind of error it is.
    pub kind: Kind,
    /// How long its turn takes to come, of a call that was not sent since it would be too fast.
    pub wait: Option<Duration>,
    /// The call may have been carried out: it was sent, and no answer told what became of it.
    pub outcome_unknown: bool,
}

impl AwsError {
    /// An error found here, without an answer of AWS.
    pub(super) fn new(operation: &'static str, kind: Kind, code: &str, message: impl Into<String>) -> Self {
        Self { operation, code: code.to_owned(), message: message.into(), request_id: None, kind, wait: None, outcome_unknown: false }
    }

    /// An answer that lacks what it must hold.
    pub(super) fn incomplete(operation: &'static str, what: &str) -> Self {
        Self::new(operation, Kind::Unavailable, "InvalidResponse", format!("the answer holds no {what}"))
    }

    /// What may help.
    pub const fn intent(&self) -> Intent {
        self.kind.intent()
    }

    /// The reason that a condition shows.
    pub const fn reason(&self) -> Reason {
        self.kind.reason()
    }

    /// Makes the error of a call from what the SDK reports.
    pub(super) fn from_sdk<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let request_id = error.request_id().map(str::to_owned);
        let status = error.raw_response().map(|response| response.status().as_u16());
        let lost = |code, message: String| Self { outcome_unknown: true, ..Self::new(operation, Kind::Unavailable, code, message) };
        let described = match error {
            SdkError::ServiceError(context) if !context.raw().status().is_success() => Self::answered(operation, context.err(), context.raw()),
            SdkError::TimeoutError(_) => lost("Timeout", "AWS did not answer in time".to_owned()),
            SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => Self::undelivered(operation, error),
            // The SDK also reports a successful answer that it cannot parse as an error of the service.
            _ => lost("InvalidResponse", format!("the answer could not be understood: {}", innermost(error))),
        };
        // A 5xx answer does not say whether the service had done its work before it failed.
        let outcome_unknown = described.outcome_unknown || status.is_some_and(|status| status >= 500);
        Self { request_id: request_id.or(described.request_id), outcome_unknown, ..described }
    }

    fn answered(operation: &'static str, error: &impl ProvideErrorMetadata, response: &HttpResponse) -> Self {
        let code = error.code().map(str::to_owned).or_else(|| raw_code(response)).unwrap_or_else(|| NO_CODE.to_owned());
        let message = error.message().unwrap_or("AWS gave no explanation").to_owned();
        let kind = Kind::of(operation, &code, &message, response.status().as_u16());
        Self { operation, code, message, request_id: None, kind, wait: None, outcome_unknown: false }
    }

    /// No answer at all: no credentials, a malformed request, or no connection.
    fn undelivered<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: Error + Send + Sync + 'static,
    {
        if let Some(cause) = find::<Self>(error) {
            return if cause.kind == Kind::AwaitingQuota { Self { operation, ..cause.clone() } } else { cause.clone() };
        }
        if let Some(cause) = find::<CredentialsError>(error) {
            return Self::without_credentials(operation, cause);
        }
        if matches!(error, SdkError::ConstructionFailure(_)) {
            return Self::new(operation, Kind::Invalid, "InvalidRequest", innermost(error));
        }
        // Without a connection nothing was sent.
        let connected = !find::<hyper_util::client::legacy::Error>(error).is_some_and(hyper_util::client::legacy::Error::is_connect);
        let message = format!("AWS could not be reached: {}", innermost(error));
        Self { outcome_unknown: connected, ..Self::new(operation, Kind::Unavailable, "ConnectionFailed", message) }
    }

    fn without_credentials(operation: &'static str, error: &CredentialsError) -> Self {
        if let Some(SdkError::ServiceError(context)) = find::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>(error) {
            return Self::answered("sts:AssumeRoleWithWebIdentity", context.err(), context.raw()).while_obtaining_credentials();
        }
        let kind = match error {
            CredentialsError::ProviderTimedOut(_) => Kind::Unavailable,
            _ => Kind::CredentialsUnavailable,
        };
        Self::new(operation, kind, "NoCredentials", format!("no credentials: {}", innermost(error)))
    }

    /// A refusal to hand out credentials is not a refusal of the call they were wanted for; it was certainly not carried out.
    pub(super) fn while_obtaining_credentials(self) -> Self {
        let kind = match self.kind {
            Kind::Throttled | Kind::Unavailable => self.kind,
            _ => Kind::CredentialsUnavailable,
        };
        Self { kind, outcome_unknown: false, ..self }
    }
}

/// `None` for what does not exist.
pub(super) fn found<T>(result: Result<T, AwsError>) -> Result<Option<T>, AwsError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The code of an answer read from the answer itself: the query-compatible header, the error-type header, or `__type` in a JSON body.
pub(super) fn raw_code(response: &HttpResponse) -> Option<String> {
    let headers = response.headers();
    let header = headers.get("x-amzn-query-error").and_then(|value| value.split(';').next()).or_else(|| headers.get("x-amzn-errortype"));
    header.map(str::to_owned).or_else(|| {
        let body: serde_json::Value = serde_json::from_slice(response.body().bytes()?).ok()?;
        Some(body.get("__type")?.as_str()?.to_owned())
    })
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |cause| (*cause).source())
}

pub(super) fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(|cause| cause.downcast_ref())
}

/// The last cause's own words: the outer ones of the SDK only say that something failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}
