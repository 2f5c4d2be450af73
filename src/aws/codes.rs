//! One table of the codes that AWS answers with, and what each kind of error means for whoever met it.

use crate::api::reasons::Reason;

/// What went wrong, whichever service said so.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// What the call names does not exist, or is not visible yet.
    NotFound,
    /// A queue of this name exists with other attributes.
    QueueExists,
    /// An alias of this name exists.
    AlreadyExists,
    /// A queue of this name was deleted less than 60 seconds ago.
    DeletedRecently,
    /// Something else changes the same resource now.
    Conflict,
    /// Too many calls.
    Throttled,
    /// Not sent: it stands in line, so that AWS's published rates are kept.
    AwaitingQuota,
    /// AWS failed, did not answer in time or could not be reached.
    Unavailable,
    /// The caller may not do this.
    AccessDenied,
    /// The credentials have expired; the next call has fresh ones.
    CredentialsExpired,
    /// There are no credentials, AWS does not know them, or the role cannot be assumed.
    CredentialsUnavailable,
    /// The credentials belong to another account than the one asked for.
    WrongAccount,
    /// The role that the operator runs as could not be established.
    OperatorRoleUnknown,
    /// A policy names a principal that KMS does not know, or not yet.
    InvalidPrincipal,
    /// A policy is larger than its service accepts.
    PolicyTooLarge,
    /// A quota is used up.
    LimitExceeded,
    /// The key has had all the on-demand rotations of its life.
    RotationsUsedUp,
    /// The key's state forbids the call.
    KeyUnusable,
    /// This endpoint or this kind of resource does not offer the call.
    Unsupported,
    /// The request itself is refused.
    Invalid,
}

/// What may help.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Intent {
    /// The world is not as it was observed: observe and plan again at once.
    RetryNow,
    /// The same again later, each time a little later.
    BackOff,
    /// Someone must change something in AWS or in the credentials: try seldom.
    WaitForChange,
    /// Only another request can succeed.
    Stalled,
}

impl Kind {
    /// What may help.
    pub const fn intent(self) -> Intent {
        match self {
            Self::NotFound | Self::QueueExists | Self::AlreadyExists | Self::Conflict => Intent::RetryNow,
            Self::DeletedRecently
            | Self::Throttled
            | Self::AwaitingQuota
            | Self::Unavailable
            | Self::CredentialsExpired
            | Self::InvalidPrincipal
            | Self::KeyUnusable => Intent::BackOff,
            Self::AccessDenied | Self::CredentialsUnavailable | Self::WrongAccount | Self::OperatorRoleUnknown | Self::LimitExceeded => {
                Intent::WaitForChange
            }
            Self::PolicyTooLarge | Self::RotationsUsedUp | Self::Unsupported | Self::Invalid => Intent::Stalled,
        }
    }

    /// The reason that a condition shows.
    pub const fn reason(self) -> Reason {
        match self {
            Self::NotFound | Self::Conflict => Reason::DriftDetected,
            Self::QueueExists => Reason::QueueConflict,
            Self::AlreadyExists => Reason::KeyConflict,
            Self::DeletedRecently => Reason::WaitingForQueue,
            Self::Throttled => Reason::Throttled,
            Self::AwaitingQuota => Reason::AwaitingQuota,
            Self::Unavailable | Self::CredentialsExpired => Reason::AwsUnavailable,
            Self::AccessDenied => Reason::AccessDenied,
            Self::CredentialsUnavailable | Self::OperatorRoleUnknown => Reason::CredentialsUnavailable,
            Self::WrongAccount => Reason::WrongAccount,
            Self::InvalidPrincipal => Reason::PrincipalInvalid,
            Self::PolicyTooLarge => Reason::PolicyTooLarge,
            Self::LimitExceeded => Reason::QuotaExceeded,
            Self::RotationsUsedUp => Reason::RotationsUsedUp,
            Self::KeyUnusable => Reason::KeyUnusable,
            Self::Unsupported | Self::Invalid => Reason::RequestRefused,
        }
    }

    /// The kind of an answer: by its code, refined by operation and words; an unknown code by its HTTP status.
    pub(super) fn of(operation: &str, code: &str, message: &str, status: u16) -> Self {
        let bare = bare(code);
        let refined = REFINEMENTS
            .iter()
            .find(|(op, known, words, _)| (op.is_empty() || *op == operation) && *known == bare && message.contains(words))
            .map(|(.., kind)| *kind);
        refined.or_else(|| Self::of_code(bare)).unwrap_or(match status {
            429 => Self::Throttled,
            401 | 403 => Self::AccessDenied,
            501 => Self::Unsupported,
            500.. => Self::Unavailable,
            _ => Self::Invalid,
        })
    }

    /// The kind of a code alone, when the table has it.
    pub(super) fn of_code(code: &str) -> Option<Self> {
        let bare = bare(code);
        TABLE.iter().find(|(known, _)| *known == bare).map(|(_, kind)| *kind)
    }
}

/// A code without what services and protocols put around it: `com.amazonaws.sqs#QueueDoesNotExist`,
/// `AWS.SimpleQueueService.NonExistentQueue`, `KMS.DisabledException`, `NotFoundException:http://…`.
fn bare(code: &str) -> &str {
    let code = code.rsplit_once('#').map_or(code, |(_, name)| name);
    let code = code.split(':').next().unwrap_or(code);
    ["AWS.SimpleQueueService.", "KMS."].iter().find_map(|prefix| code.strip_prefix(prefix)).unwrap_or(code)
}

/// Codes that mean different things by operation (empty: any) or by words in the message.
const REFINEMENTS: &[(&str, &str, &str, Kind)] = &[
    ("", "MalformedPolicyDocumentException", "invalid principals", Kind::InvalidPrincipal),
    // A policy of ours is well-formed and within the limits: what SQS can refuse of it is a principal.
    ("", "InvalidAttributeValue", "parameter Policy", Kind::InvalidPrincipal),
    ("kms:PutKeyPolicy", "LimitExceededException", "", Kind::PolicyTooLarge),
    ("kms:RotateKeyOnDemand", "LimitExceededException", "", Kind::RotationsUsedUp),
];

/// Every code known, in its bare spelling: the shape's name and, where they differ, the older one of the header `x-amzn-query-error`.
pub(super) const TABLE: &[(&str, Kind)] = &[
    // SQS
    ("QueueDoesNotExist", Kind::NotFound),
    ("NonExistentQueue", Kind::NotFound),
    ("QueueNameExists", Kind::QueueExists),
    ("QueueAlreadyExists", Kind::QueueExists),
    ("QueueDeletedRecently", Kind::DeletedRecently),
    ("OverLimit", Kind::LimitExceeded),
    ("RequestThrottled", Kind::Throttled),
    ("InvalidAttributeName", Kind::Invalid),
    ("InvalidAttributeValue", Kind::Invalid),
    ("InvalidAddress", Kind::Invalid),
    ("InvalidSecurity", Kind::Invalid),
    ("UnsupportedOperation", Kind::Unsupported),
    ("KmsAccessDenied", Kind::AccessDenied),
    ("KmsDisabled", Kind::KeyUnusable),
    ("KmsInvalidKeyUsage", Kind::KeyUnusable),
    ("KmsInvalidState", Kind::KeyUnusable),
    ("KmsNotFound", Kind::KeyUnusable),
    ("KmsOptInRequired", Kind::CredentialsUnavailable),
    ("KmsThrottled", Kind::Throttled),
    // KMS
    ("NotFoundException", Kind::NotFound),
    ("AlreadyExistsException", Kind::AlreadyExists),
    ("ConflictException", Kind::Conflict),
    ("LimitExceededException", Kind::LimitExceeded),
    ("MalformedPolicyDocumentException", Kind::Invalid),
    ("DisabledException", Kind::KeyUnusable),
    ("KMSInvalidStateException", Kind::KeyUnusable),
    ("InvalidStateException", Kind::KeyUnusable),
    ("InvalidKeyUsageException", Kind::KeyUnusable),
    ("KeyUnavailableException", Kind::Unavailable),
    ("KMSInternalException", Kind::Unavailable),
    ("DependencyTimeoutException", Kind::Unavailable),
    ("UnsupportedOperationException", Kind::Unsupported),
    ("InvalidAliasNameException", Kind::Invalid),
    ("InvalidArnException", Kind::Invalid),
    ("InvalidGrantIdException", Kind::NotFound),
    ("InvalidMarkerException", Kind::Invalid),
    ("TagException", Kind::Invalid),
    // STS, IAM
    ("NoSuchEntity", Kind::NotFound),
    ("NoSuchEntityException", Kind::NotFound),
    ("ServiceFailure", Kind::Unavailable),
    ("ServiceFailureException", Kind::Unavailable),
    ("RegionDisabledException", Kind::CredentialsUnavailable),
    ("InvalidIdentityToken", Kind::CredentialsUnavailable),
    ("IDPRejectedClaim", Kind::CredentialsUnavailable),
    ("IDPCommunicationError", Kind::Unavailable),
    ("ExpiredTokenException", Kind::CredentialsExpired),
    // Resource Groups Tagging
    ("PaginationTokenExpiredException", Kind::Conflict),
    ("InvalidParameterException", Kind::Invalid),
    ("InternalServiceException", Kind::Unavailable),
    ("ThrottledException", Kind::Throttled),
    // EKS
    ("ResourceNotFoundException", Kind::NotFound),
    ("InvalidRequestException", Kind::Invalid),
    ("ServerException", Kind::Unavailable),
    // Any service
    ("AccessDenied", Kind::AccessDenied),
    ("AccessDeniedException", Kind::AccessDenied),
    ("NotAuthorized", Kind::AccessDenied),
    ("UnauthorizedOperation", Kind::AccessDenied),
    ("ExpiredToken", Kind::CredentialsExpired),
    ("RequestExpired", Kind::CredentialsExpired),
    ("IncompleteSignature", Kind::CredentialsUnavailable),
    ("InvalidAccessKeyId", Kind::CredentialsUnavailable),
    ("InvalidClientTokenId", Kind::CredentialsUnavailable),
    ("InvalidSignatureException", Kind::CredentialsUnavailable),
    ("MissingAuthenticationToken", Kind::CredentialsUnavailable),
    ("MissingAuthenticationTokenException", Kind::CredentialsUnavailable),
    ("OptInRequired", Kind::CredentialsUnavailable),
    ("SignatureDoesNotMatch", Kind::CredentialsUnavailable),
    ("UnrecognizedClientException", Kind::CredentialsUnavailable),
    ("BandwidthLimitExceeded", Kind::Throttled),
    ("RequestLimitExceeded", Kind::Throttled),
    ("RequestThrottledException", Kind::Throttled),
    ("SlowDown", Kind::Throttled),
    ("Throttling", Kind::Throttled),
    ("ThrottlingException", Kind::Throttled),
    ("TooManyRequestsException", Kind::Throttled),
    ("InternalError", Kind::Unavailable),
    ("InternalFailure", Kind::Unavailable),
    ("InternalServerError", Kind::Unavailable),
    ("RequestTimeout", Kind::Unavailable),
    ("RequestTimeoutException", Kind::Unavailable),
    ("ServiceUnavailable", Kind::Unavailable),
    ("ServiceUnavailableException", Kind::Unavailable),
    ("InvalidAction", Kind::Unsupported),
    ("UnknownOperationException", Kind::Unsupported),
    ("InvalidParameterValue", Kind::Invalid),
    ("InvalidQueryParameter", Kind::Invalid),
    ("MalformedQueryString", Kind::Invalid),
    ("MissingParameter", Kind::Invalid),
    ("SerializationException", Kind::Invalid),
    ("ValidationError", Kind::Invalid),
    ("ValidationException", Kind::Invalid),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_stands_once_and_bare() {
        let codes: BTreeSet<_> = TABLE.iter().map(|(code, _)| *code).collect();
        assert_eq!(codes.len(), TABLE.len());
        for (code, _) in TABLE {
            assert_eq!(bare(code), *code, "the look-up would never find {code}");
        }
        for (_, code, ..) in REFINEMENTS {
            assert!(codes.contains(code), "{code}");
        }
    }

    #[test]
    fn every_spelling_of_a_code_is_one_kind() {
        for (spellings, kind) in [
            (
                &["QueueDoesNotExist", "com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "NonExistentQueue"][..],
                Kind::NotFound,
            ),
            (&["QueueNameExists", "QueueAlreadyExists", "com.amazonaws.sqs#QueueNameExists"], Kind::QueueExists),
            (&["QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently"], Kind::DeletedRecently),
            (&["KmsDisabled", "KMS.DisabledException", "com.amazonaws.kms#DisabledException"], Kind::KeyUnusable),
            (&["KmsInvalidState", "KMS.InvalidStateException", "KMSInvalidStateException"], Kind::KeyUnusable),
            (&["AccessDenied", "AccessDeniedException", "KmsAccessDenied", "KMS.AccessDeniedException"], Kind::AccessDenied),
            (&["RequestThrottled", "ThrottlingException", "Throttling", "KMS.ThrottlingException"], Kind::Throttled),
            (&["NotFoundException", "NotFoundException:http://internal.amazon.com/coral/"], Kind::NotFound),
        ] {
            for code in spellings {
                assert_eq!(Kind::of("kms:TagResource", code, "", 400), kind, "{code}");
            }
        }
    }

    #[test]
    fn operation_and_words_refine() {
        let malformed = |message| Kind::of("kms:PutKeyPolicy", "MalformedPolicyDocumentException", message, 400);
        assert_eq!(malformed("Policy contains a statement with one or more invalid principals."), Kind::InvalidPrincipal);
        assert_eq!(malformed("The new key policy will not allow you to update the key policy in the future."), Kind::Invalid);
        let limit = |operation| Kind::of(operation, "LimitExceededException", "", 400);
        assert_eq!(limit("kms:PutKeyPolicy"), Kind::PolicyTooLarge);
        assert_eq!(limit("kms:RotateKeyOnDemand"), Kind::RotationsUsedUp);
        assert_eq!(limit("kms:CreateKey"), Kind::LimitExceeded);
        assert_eq!(limit("kms:CreateKey").intent(), Intent::WaitForChange);
    }

    #[test]
    fn an_unknown_code_goes_by_its_status() {
        for (status, kind) in [
            (400, Kind::Invalid),
            (403, Kind::AccessDenied),
            (429, Kind::Throttled),
            (500, Kind::Unavailable),
            (501, Kind::Unsupported),
            (503, Kind::Unavailable),
        ] {
            assert_eq!(Kind::of("sqs:CreateQueue", "NewToUs", "", status), kind, "{status}");
        }
    }
}
