//! Which operations a key admits in which state.

use super::{Refusal, Verdict};

/// What an operation needs of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    Existing,
    NotPendingDeletion,
    Enabled,
    PendingDeletion,
}

/// What this operation needs; `None` where the emulator's own check does.
pub(super) fn need(operation: &str) -> Option<Need> {
    Some(match operation {
        "PutKeyPolicy" | "GetKeyRotationStatus" | "ListGrants" | "RevokeGrant" | "GetKeyLastUsage" => Need::Existing,
        "CreateAlias"
        | "UpdateAlias"
        | "DisableKey"
        | "EnableKey"
        | "ScheduleKeyDeletion"
        | "TagResource"
        | "UntagResource"
        | "UpdateKeyDescription" => Need::NotPendingDeletion,
        "CreateGrant"
        | "EnableKeyRotation"
        | "DisableKeyRotation"
        | "RotateKeyOnDemand"
        | "Encrypt"
        | "Decrypt"
        | "GenerateDataKey"
        | "GenerateDataKeyWithoutPlaintext" => Need::Enabled,
        "CancelKeyDeletion" => Need::PendingDeletion,
        _ => return None,
    })
}

/// Refuses what a key in this state does not admit.
pub(super) fn admit(need: Need, state: &str, arn: &str) -> Verdict {
    let invalid = |what: &str| Err(Refusal::new("KMSInvalidStateException", format!("{arn} is {what}.")));
    match (need, state) {
        (Need::Existing, _)
        | (Need::NotPendingDeletion, "Enabled" | "Disabled")
        | (Need::Enabled, "Enabled")
        | (Need::PendingDeletion, "PendingDeletion") => Ok(()),
        (Need::Enabled, "Disabled") => Err(Refusal::new("DisabledException", format!("{arn} is disabled."))),
        (Need::PendingDeletion, _) => invalid("not pending deletion"),
        (_, "PendingDeletion") => invalid("pending deletion"),
        (_, state) => invalid(state),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const INVALID: &str = "KMSInvalidStateException";

    #[test]
    fn states_and_operations() {
        let refusal = |operation: &str, state: &str| admit(need(operation).unwrap(), state, "arn").err().map_or("", |refusal| refusal.code());
        for (operation, enabled, disabled, pending) in [
            ("PutKeyPolicy", "", "", ""),
            ("RevokeGrant", "", "", ""),
            ("EnableKey", "", "", INVALID),
            ("DisableKey", "", "", INVALID),
            ("TagResource", "", "", INVALID),
            ("CreateAlias", "", "", INVALID),
            ("ScheduleKeyDeletion", "", "", INVALID),
            ("EnableKeyRotation", "", "DisabledException", INVALID),
            ("GenerateDataKey", "", "DisabledException", INVALID),
            ("CancelKeyDeletion", INVALID, INVALID, ""),
        ] {
            let refused = (refusal(operation, "Enabled"), refusal(operation, "Disabled"), refusal(operation, "PendingDeletion"));
            assert_eq!(refused, (enabled, disabled, pending), "{operation}");
        }
        assert_eq!(need("GetKeyPolicy"), None);
    }
}
