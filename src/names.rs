//! Names of AWS as newtypes: parsed once, so that later code cannot meet a malformed one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a name could not be parsed; the text tells a person what is expected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} {value:?} is not valid: {expected}")]
pub struct InvalidName {
    /// What kind of name.
    pub what: &'static str,
    /// What was given.
    pub value: String,
    /// What is expected.
    pub expected: &'static str,
}

/// An AWS partition.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Partition {
    /// Commercial Regions.
    #[serde(rename = "aws")]
    Aws,
    /// China.
    #[serde(rename = "aws-cn")]
    China,
    /// GovCloud (US).
    #[serde(rename = "aws-us-gov")]
    GovCloud,
}

impl Partition {
    /// The partition a Region belongs to, told by its prefix.
    pub fn of_region(region: &str) -> Self {
        if region.starts_with("cn-") {
            Self::China
        } else if region.starts_with("us-gov-") {
            Self::GovCloud
        } else {
            Self::Aws
        }
    }

    /// As ARNs have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::China => "aws-cn",
            Self::GovCloud => "aws-us-gov",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Aws, Self::China, Self::GovCloud].into_iter().find(|p| p.as_str() == text)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// ARN of an IAM role, path included: `arn:aws:iam::111122223333:role/path/name`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoleArn(String);

impl RoleArn {
    const EXPECTED: &'static str = "expected arn:PARTITION:iam::ACCOUNT:role/[PATH/]NAME without wildcards";

    /// Parses a role's ARN.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName { what: "role ARN", value: text.to_owned(), expected: Self::EXPECTED };
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or_else(invalid);
        let (arn, partition, service, region, account, resource) = (next()?, next()?, next()?, next()?, next()?, next()?);
        let path = resource.strip_prefix("role/").ok_or_else(invalid)?;
        let name = path.rsplit('/').next().unwrap_or_default();
        let well_formed = arn == "arn"
            && Partition::parse(partition).is_some()
            && service == "iam"
            && region.is_empty()
            && is_account(account)
            && (1..=64).contains(&name.len())
            && path.len() <= 512 + 64
            && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@-_/".contains(&b))
            && path.split('/').all(|segment| !segment.is_empty());
        if well_formed { Ok(Self(text.to_owned())) } else { Err(invalid()) }
    }

    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The account's id.
    pub fn account(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or_default()
    }

    /// The partition.
    pub fn partition(&self) -> Partition {
        self.0.split(':').nth(1).and_then(Partition::parse).unwrap_or(Partition::Aws)
    }

    /// Path and name: what follows `role/`.
    pub fn path_and_name(&self) -> &str {
        self.0.split_once("role/").map_or("", |(_, rest)| rest)
    }

    /// The name alone, as `iam:GetRole` wants it.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

/// Name of an IAM role, path included, in whichever account: `path/name`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoleName(String);

impl RoleName {
    /// Parses a role's name.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName { what: "role name", value: text.to_owned(), expected: "expected [PATH/]NAME without wildcards, not an ARN" };
        RoleArn::parse(&format!("arn:aws:iam::000000000000:role/{text}")).map_err(|_| invalid())?;
        Ok(Self(text.to_owned()))
    }

    /// The role of this name in the account of `other`.
    pub fn beside(&self, other: &RoleArn) -> RoleArn {
        RoleArn(format!("arn:{}:iam::{}:role/{}", other.partition(), other.account(), self.0))
    }
}

impl TryFrom<String> for RoleArn {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<RoleArn> for String {
    fn from(arn: RoleArn) -> Self {
        arn.0
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a queue or key lives.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Partition.
    pub partition: Partition,
    /// Account id, twelve digits.
    pub account: String,
    /// Region.
    pub region: String,
}

impl Place {
    /// The account root's ARN.
    pub fn root_arn(&self) -> String {
        format!("arn:{}:iam::{}:root", self.partition, self.account)
    }

    /// A queue's ARN here.
    pub fn queue_arn(&self, name: &str) -> QueueArn {
        QueueArn(format!("arn:{}:sqs:{}:{}:{name}", self.partition, self.region, self.account))
    }

    /// A key's ARN here.
    pub fn key_arn(&self, id: &str) -> String {
        format!("arn:{}:kms:{}:{}:key/{id}", self.partition, self.region, self.account)
    }
}

/// ARN of an SQS queue.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct QueueArn(String);

impl QueueArn {
    /// Parses a queue's ARN.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let parts: Vec<&str> = text.split(':').collect();
        let well_formed = matches!(parts.as_slice(), ["arn", partition, "sqs", region, account, name]
            if Partition::parse(partition).is_some() && !region.is_empty() && is_account(account) && !name.is_empty());
        if well_formed {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName { what: "queue ARN", value: text.to_owned(), expected: "expected arn:PARTITION:sqs:REGION:ACCOUNT:NAME" })
        }
    }

    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The queue's name.
    pub fn name(&self) -> &str {
        self.0.rsplit(':').next().unwrap_or_default()
    }
}

impl fmt::Display for QueueArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of the queue that a URL is of.
pub fn queue_name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

/// Hex of the SHA-256 of some text.
pub fn sha256_hex(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn role_arns() {
        let role = RoleArn::parse("arn:aws:iam::111122223333:role/team/acme-orders").unwrap();
        assert_eq!(role.account(), "111122223333");
        assert_eq!(role.path_and_name(), "team/acme-orders");
        assert_eq!(role.name(), "acme-orders");
        assert_eq!(RoleArn::parse("arn:aws-cn:iam::111122223333:role/x").unwrap().partition(), Partition::China);
        for bad in [
            "arn:aws:iam::111122223333:user/x",
            "arn:aws:iam::1111:role/x",
            "arn:aws:iam::111122223333:role/",
            "arn:aws:iam::111122223333:role//x",
            "arn:aws:iam::111122223333:role/*",
            "arn:aws:iam:eu-west-1:111122223333:role/x",
            "arn:elsewhere:iam::111122223333:role/x",
            "arn:aws:sts::111122223333:assumed-role/x/session",
            "x",
        ] {
            assert!(RoleArn::parse(bad).is_err(), "{bad}");
        }
    }
}
