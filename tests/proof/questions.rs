//! Random requests, of every kind of caller and with right, wrong and missing context.

use std::collections::BTreeMap;

use encrypted_queue::names::{Partition, Place};
use encrypted_queue::policy::access::KeyAccess;
use proptest::prelude::*;
use proptest::sample::select;
use test_support::judge::{Caller, Request};

use crate::declared::{ACCOUNTS, ADMINISTRATORS, BREAK_GLASS, OPERATOR, ORGANIZATIONS, OWN, ROLES, UNITS, role_arn, sources};
use crate::oracle::capabilities::SQS_ACTIONS;

/// Roles that no declaration can name; the second only looks like the operator's.
const OTHERS: [&str; 7] = ["stranger", "encrypted-queue-operator", OPERATOR, "other/log", ADMINISTRATORS[0], ADMINISTRATORS[1], BREAK_GLASS[0]];

pub const KMS_ACTIONS: [&str; 18] = [
    "kms:Decrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:Encrypt",
    "kms:ReEncryptFrom",
    "kms:CreateGrant",
    "kms:RevokeGrant",
    "kms:ListGrants",
    "kms:PutKeyPolicy",
    "kms:GetKeyPolicy",
    "kms:DescribeKey",
    "kms:EnableKey",
    "kms:DisableKey",
    "kms:ScheduleKeyDeletion",
    "kms:CancelKeyDeletion",
    "kms:TagResource",
    "kms:RotateKeyOnDemand",
    "kms:ListResourceTags",
];

#[derive(Clone, Debug)]
pub enum Who {
    /// A session of a role; organisation and unit by index.
    Session {
        account: &'static str,
        role: &'static str,
        organization: Option<(usize, usize)>,
    },
    Root {
        account: &'static str,
    },
    /// A service; the source is another of its own or one that is declared nowhere, and may be told or not.
    Service {
        name: &'static str,
        source: Option<Source>,
        source_account: Option<&'static str>,
    },
    Anonymous,
}

#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// One of [`sources`], by account and index.
    Known(&'static str, usize),
    Foreign,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Via {
    Sqs,
    SqsOfAnotherRegion,
    S3,
    None,
}

/// The queue's ARN as KMS hears it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Context {
    Queue,
    DeadLetters,
    Foreign,
    None,
}

#[derive(Clone, Debug)]
pub struct Question {
    pub who: Who,
    pub action: &'static str,
    /// Which of the key's queues.
    pub queue: prop::sample::Index,
    /// Whether its dead-letter queue is asked.
    pub dead_letters: bool,
    pub tls: bool,
    pub via: Via,
    pub context: Context,
    /// Whether the caller's IAM policies allow everything, or nothing.
    pub iam: bool,
}

fn sessions() -> impl Strategy<Value = Who> {
    let roles = prop_oneof![3 => select(&ROLES[..]), 1 => select(&OTHERS[..])];
    let organization = prop_oneof![2 => Just(None), 3 => (0..ORGANIZATIONS.len(), 0..UNITS.len() + 1).prop_map(Some)];
    let account = prop_oneof![2 => Just(OWN), 1 => Just(ACCOUNTS[1])];
    (account, roles, organization).prop_map(|(account, role, organization)| Who::Session { account, role, organization })
}

fn services() -> impl Strategy<Value = Who> {
    let account = || select(&ACCOUNTS[..]);
    let known = (account(), 0..6_usize).prop_map(|(account, source)| Source::Known(account, source));
    let source = prop_oneof![8 => known.prop_map(Some), 1 => Just(Some(Source::Foreign)), 1 => Just(None)];
    let agreeing = prop_oneof![6 => Just(true), 1 => Just(false)];
    let other = prop::option::weighted(0.7, account());
    (source, agreeing, other, select(vec!["sns.amazonaws.com", "s3.amazonaws.com", "events.amazonaws.com", "lambda.amazonaws.com"])).prop_map(
        |(source, agreeing, other, name)| match source {
            Some(Source::Known(account, index)) if agreeing => {
                let name = ["sns.amazonaws.com", "s3.amazonaws.com", "events.amazonaws.com"][index / 2];
                Who::Service { name, source, source_account: Some(account) }
            }
            source => Who::Service { name, source, source_account: other },
        },
    )
}

pub fn questions() -> impl Strategy<Value = Question> {
    let root = select(&ACCOUNTS[..]).prop_map(|account| Who::Root { account });
    let who = prop_oneof![14 => sessions(), 5 => services(), 1 => root, 1 => Just(Who::Anonymous)];
    // What matters most is asked most often.
    let sqs = prop_oneof![2 => select(&SQS_ACTIONS[..2]), 3 => select(&SQS_ACTIONS[..])];
    let kms = prop_oneof![2 => select(&KMS_ACTIONS[..2]), 2 => select(&KMS_ACTIONS[..])];
    let via = prop_oneof![6 => Just(Via::Sqs), 1 => Just(Via::SqsOfAnotherRegion), 1 => Just(Via::S3), 1 => Just(Via::None)];
    let context = prop_oneof![6 => Just(Context::Queue), 2 => Just(Context::DeadLetters), 1 => Just(Context::Foreign), 1 => Just(Context::None)];
    let often = prop::bool::weighted(0.93);
    let target = (any::<prop::sample::Index>(), prop::bool::weighted(0.3));
    (who, prop_oneof![sqs, kms], target, often, via, context, any::<bool>()).prop_map(
        |(who, action, (queue, dead_letters), tls, via, context, iam)| Question { who, action, queue, dead_letters, tls, via, context, iam },
    )
}

impl Who {
    fn caller(&self, place: &Place) -> Caller {
        match self {
            Self::Session { account, role, .. } => Caller::Session { role: role_arn(place.partition, account, role), name: "session".to_owned() },
            Self::Root { account } => Caller::Root { partition: place.partition.to_string(), account: (*account).to_owned() },
            Self::Service { name, .. } => Caller::Service((*name).to_owned()),
            Self::Anonymous => Caller::Anonymous,
        }
    }

    /// What AWS itself says of the caller in every request.
    fn describe(&self, place: &Place, context: &mut BTreeMap<String, Vec<String>>) {
        let mut put = |key: &str, value: String| drop(context.insert(key.to_owned(), vec![value]));
        match self {
            Self::Session { account, role, organization } => {
                put("aws:PrincipalArn", role_arn(place.partition, account, role));
                put("aws:PrincipalAccount", (*account).to_owned());
                put("aws:PrincipalIsAWSService", "false".to_owned());
                if let Some((id, unit)) = organization {
                    put("aws:PrincipalOrgID", ORGANIZATIONS[*id].to_owned());
                    // Beyond the last: directly under the organisation's root.
                    put("aws:PrincipalOrgPaths", format!("{}/{}", ORGANIZATIONS[*id], UNITS.get(*unit).unwrap_or(&"r-1/")));
                }
            }
            Self::Root { account } => {
                put("aws:PrincipalArn", format!("arn:{}:iam::{account}:root", place.partition));
                put("aws:PrincipalAccount", (*account).to_owned());
                put("aws:PrincipalIsAWSService", "false".to_owned());
            }
            Self::Service { source, source_account, .. } => {
                put("aws:PrincipalIsAWSService", "true".to_owned());
                if let Some(source) = source {
                    put("aws:SourceArn", source.arn(place));
                }
                if let Some(account) = source_account {
                    put("aws:SourceAccount", (*account).to_owned());
                }
            }
            Self::Anonymous => {}
        }
    }
}

impl Source {
    pub fn arn(self, place: &Place) -> String {
        match self {
            Self::Known(account, index) => sources(place, account)[index].1.clone(),
            Self::Foreign => format!("arn:{}:s3:::foreign", place.partition),
        }
    }
}

impl Question {
    pub fn is_kms(&self) -> bool {
        self.action.starts_with("kms:")
    }

    /// The queue asked, or whose key is.
    pub fn user<'a>(&self, access: &'a KeyAccess) -> &'a encrypted_queue::policy::access::QueueAccess {
        self.queue.get(&access.users)
    }

    /// The request; none where a dead-letter queue is asked that is not there.
    pub fn request(&self, access: &KeyAccess) -> Option<Request> {
        let (place, user) = (&access.place, self.user(access));
        let mut context = BTreeMap::from([("aws:SecureTransport".to_owned(), vec![self.tls.to_string()])]);
        self.who.describe(place, &mut context);
        let resource = if self.is_kms() {
            self.describe_use(access, &mut context)?;
            place.key_arn("1234abcd-12ab-34cd-56ef-1234567890ab")
        } else {
            let queue = if self.dead_letters { user.dead_letter_queue.as_ref()? } else { &user.queue };
            queue.to_string()
        };
        Some(Request { caller: self.who.caller(place), action: self.action.to_owned(), resource, context })
    }

    /// What KMS hears of the use.
    fn describe_use(&self, access: &KeyAccess, context: &mut BTreeMap<String, Vec<String>>) -> Option<()> {
        let (place, user) = (&access.place, self.user(access));
        let queue = match self.context {
            Context::Queue => Some(user.queue.to_string()),
            Context::DeadLetters => Some(user.dead_letter_queue.as_ref()?.to_string()),
            Context::Foreign => Some(place.queue_arn("foreign").to_string()),
            Context::None => None,
        };
        context.extend(queue.map(|queue| ("kms:EncryptionContext:aws:sqs:arn".to_owned(), vec![queue])));
        let (service, region) = match self.via {
            Via::Sqs => ("sqs", place.region.as_str()),
            Via::SqsOfAnotherRegion => ("sqs", "eu-north-1"),
            Via::S3 => ("s3", place.region.as_str()),
            Via::None => return Some(()),
        };
        // Services act on their own behalf. In China the name is seen with either suffix.
        let suffix = if place.partition == Partition::China && self.dead_letters { ".cn" } else { "" };
        if !matches!(self.who, Who::Service { .. }) {
            context.insert("kms:ViaService".to_owned(), vec![format!("{service}.{region}.amazonaws.com{suffix}")]);
        }
        Some(())
    }
}
