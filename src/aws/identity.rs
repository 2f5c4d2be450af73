//! Who the operator is in AWS: assuming a tenant's role, asking who one is, and naming the role for key policies.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, future};
use jiff::Timestamp;

use super::codes::Kind;
use super::error::AwsError;
use crate::names::RoleArn;

/// A role chained from other credentials lives for at most an hour.
const SESSION_SECONDS: i32 = 3600;

/// Credentials of an assumed role.
///
/// Its STS client keeps the operator's own credentials in their cache and is recorded like any other client; `aws-config`'s provider does neither.
#[derive(Debug)]
pub(super) struct AssumedRole {
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) role: RoleArn,
    pub(super) external_id: Option<String>,
    pub(super) session_name: String,
}

impl AssumedRole {
    /// `sts:AssumeRole`.
    async fn assume(&self) -> Result<Credentials, AwsError> {
        const OPERATION: &str = "sts:AssumeRole";
        let answer = self
            .sts
            .assume_role()
            .role_arn(self.role.as_str())
            .set_external_id(self.external_id.clone())
            .role_session_name(&self.session_name)
            .duration_seconds(SESSION_SECONDS)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(OPERATION, &error).while_obtaining_credentials())?;
        let incomplete = || AwsError::incomplete(OPERATION, "credentials");
        let given = answer.credentials().ok_or_else(incomplete)?;
        let expiry = UNIX_EPOCH + Duration::from_secs(u64::try_from(given.expiration().secs()).map_err(|_| incomplete())?);
        Ok(Credentials::new(given.access_key_id(), given.secret_access_key(), Some(given.session_token().to_owned()), Some(expiry), "AssumedRole"))
    }
}

impl ProvideCredentials for AssumedRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { self.assume().await.map_err(CredentialsError::provider_error) as provider::Result })
    }
}

/// Whom AWS takes the caller for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Caller {
    pub(super) account: String,
    pub(super) arn: String,
    pub(super) user_id: String,
}

/// A role as its session shows it: the path is lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SessionRole<'a> {
    pub(super) name: &'a str,
    pub(super) id: &'a str,
}

impl Caller {
    /// `sts:GetCallerIdentity`.
    pub(super) async fn ask(sts: &aws_sdk_sts::Client) -> Result<Self, AwsError> {
        const OPERATION: &str = "sts:GetCallerIdentity";
        let answer = sts.get_caller_identity().send().await.map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        match (answer.account, answer.arn, answer.user_id) {
            (Some(account), Some(arn), Some(user_id)) => Ok(Self { account, arn, user_id }),
            _ => Err(AwsError::incomplete(OPERATION, "identity")),
        }
    }

    /// The role behind `arn:P:sts::ACCOUNT:assumed-role/NAME/SESSION`; none for users and the root.
    pub(super) fn session_role(&self) -> Option<SessionRole<'_>> {
        let mut resource = self.arn.splitn(6, ':').nth(5)?.split('/');
        let (kind, name, session) = (resource.next()?, resource.next()?, resource.next()?);
        let id = self.user_id.strip_suffix(session)?.strip_suffix(':')?;
        (kind == "assumed-role" && !name.is_empty() && !id.is_empty()).then_some(SessionRole { name, id })
    }

    /// Refuses a configured role that cannot be the caller's: a key policy built from it would lock the operator out. Of a user nothing is known.
    pub(super) fn check_configured(&self, configured: &RoleArn) -> Result<(), AwsError> {
        let fits = self.session_role().is_none_or(|role| role.name == configured.name() && self.account == configured.account());
        if fits {
            return Ok(());
        }
        let message =
            format!("the configured operator role is {configured}, but the credentials belong to {}; correct --operator-role-arn", self.arn);
        Err(AwsError::new("sts:GetCallerIdentity", Kind::OperatorRoleUnknown, "OperatorRoleMismatch", message))
    }

    /// `iam:GetRole`: the caller's role with its path, accepted only when its unique id is the session's; a namesake must never enter a key policy.
    pub(super) async fn find_role(&self, iam: &aws_sdk_iam::Client) -> Result<RoleArn, AwsError> {
        const OPERATION: &str = "iam:GetRole";
        let unknown = |why: String| {
            let message = format!("{why}; name the operator's own role with --operator-role-arn");
            AwsError::new(OPERATION, Kind::OperatorRoleUnknown, "OperatorRoleUnknown", message)
        };
        let session = self.session_role().ok_or_else(|| unknown(format!("{} is not a role's session", self.arn)))?;
        let answer = iam.get_role().role_name(session.name).send().await.map_err(|error| AwsError::from_sdk(OPERATION, &error));
        let role = match answer {
            Ok(answer) => answer.role.ok_or_else(|| unknown("the answer holds no role".to_owned()))?,
            Err(error) if matches!(error.kind, Kind::AccessDenied | Kind::NotFound) => return Err(unknown(error.message)),
            Err(error) => return Err(error),
        };
        if role.role_id != session.id {
            return Err(unknown(format!("{} has the id {}, but the session's role has {}", role.arn, role.role_id, session.id)));
        }
        RoleArn::parse(&role.arn).map_err(|error| unknown(error.to_string()))
    }
}

/// A time as the SDK gives it.
pub(super) fn timestamp(time: &aws_smithy_types::DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn caller(arn: &str, user_id: &str) -> Caller {
        Caller { account: "111122223333".to_owned(), arn: arn.to_owned(), user_id: user_id.to_owned() }
    }

    #[test]
    fn a_session_names_its_role() {
        let session = caller("arn:aws:sts::111122223333:assumed-role/operator/pod-1", "AROAEXAMPLE:pod-1");
        assert_eq!(session.session_role(), Some(SessionRole { name: "operator", id: "AROAEXAMPLE" }));
        let odd = caller("arn:aws:sts::111122223333:assumed-role/operator/a@b.c", "AROAEXAMPLE:a@b.c");
        assert_eq!(odd.session_role().map(|role| role.id), Some("AROAEXAMPLE"));
        for (arn, user_id) in [
            ("arn:aws:iam::111122223333:user/ops", "AIDAEXAMPLE"),
            ("arn:aws:iam::111122223333:user/team/ops/x", "AIDAEXAMPLE:x"),
            ("arn:aws:iam::111122223333:root", "111122223333"),
            ("arn:aws:sts::111122223333:assumed-role/operator/pod-1", "AROAEXAMPLE:pod-2"),
            ("arn:aws:sts::111122223333:federated-user/bob", "111122223333:bob"),
            ("", ""),
        ] {
            assert_eq!(caller(arn, user_id).session_role(), None, "{arn} {user_id}");
        }
    }

    #[test]
    fn a_configured_role_must_be_the_callers() {
        let session = caller("arn:aws:sts::111122223333:assumed-role/operator/pod-1", "AROAEXAMPLE:pod-1");
        let check = |arn| session.check_configured(&RoleArn::parse(arn).unwrap());
        assert!(check("arn:aws:iam::111122223333:role/platform/operator").is_ok());
        assert_eq!(check("arn:aws:iam::111122223333:role/other").unwrap_err().kind, Kind::OperatorRoleUnknown);
        assert_eq!(check("arn:aws:iam::444455556666:role/operator").unwrap_err().kind, Kind::OperatorRoleUnknown);
        let user = caller("arn:aws:iam::111122223333:user/ops", "AIDAEXAMPLE");
        assert!(user.check_configured(&RoleArn::parse("arn:aws:iam::444455556666:role/operator").unwrap()).is_ok());
    }

    #[test]
    fn times_keep_their_fraction() {
        let time = timestamp(&aws_smithy_types::DateTime::from_secs_and_nanos(1_700_000_000, 500_000_000)).unwrap();
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.5Z");
    }
}
