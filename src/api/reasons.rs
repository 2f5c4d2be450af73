//! Every reason that a condition or an Event can carry, documented once. [`Reason::class`] is the one table that says what each means for `Ready`,
//! `Reconciling` and `Stalled`.

/// What a reason means for a person who waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// As it should be: `Ready=True`.
    Fine,
    /// On its way, no one needs to act: `Reconciling=True`.
    Progressing,
    /// Someone must act: `Stalled=True`.
    Stalled,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident => $class:ident,)+) => {
        /// Reason of a condition or an Event.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// All reasons, in the order of their documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)+];

            /// The CamelCase word that status and Events carry.
            pub const fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name),)+ }
            }

            /// The reason that status spells this way.
            pub fn parse(text: &str) -> Option<Reason> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
            }

            /// What the reason means.
            pub const fn description(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc),+),)+ }
            }

            /// What it means for `Ready`, `Reconciling` and `Stalled`.
            pub const fn class(self) -> Class {
                match self { $(Reason::$name => Class::$class,)+ }
            }
        }
    };
}

reasons! {
    /// Everything declared is so in AWS.
    InSync => Fine,
    /// The declaration satisfies tenant and tier.
    Accepted => Fine,
    /// The key exists, is enabled, and its policy holds this queue's grants.
    KeyAvailable => Fine,
    /// The queue exists with the declared settings.
    QueueAvailable => Fine,
    /// The tier asks for no approval.
    NotRequired => Fine,
    /// All access was approved.
    Approved => Fine,
    /// An approval was used.
    Applied => Fine,
    /// An approval was not used within 14 days.
    Lapsed => Stalled,
    /// The estimated cost is within the tenant's budget.
    WithinBudget => Fine,

    /// Named Tenant does not exist.
    TenantNotFound => Stalled,
    /// The Tenant itself is not Ready; its status says why.
    TenantNotReady => Stalled,
    /// Named SensitivityTier does not exist.
    SensitivityTierNotFound => Stalled,
    /// The SensitivityTier contradicts itself; its status says where.
    SensitivityTierInvalid => Stalled,
    /// The tenant does not list the tier in spec.sensitivityTiers.
    SensitivityTierNotAllowed => Stalled,
    /// The tenant admits neither this namespace's name nor its labels.
    NamespaceNotAllowed => Stalled,
    /// The tenant does not list the Region in spec.aws.regions.
    RegionNotAllowed => Stalled,
    /// The queue's name does not match the tenant's spec.queueNames.
    QueueNameNotAllowed => Stalled,
    /// The queue's name is not one that SQS accepts.
    QueueNameInvalid => Stalled,
    /// A principal is outside what the tenant's spec.principals admits.
    PrincipalNotAllowed => Stalled,
    /// A principal is not a valid ARN of an IAM role, or of another partition.
    PrincipalMalformed => Stalled,
    /// A principal is declared twice in one list.
    DuplicatePrincipal => Stalled,
    /// The operator, a key administrator or the account root is declared as a user of the queue.
    SeparationOfDuties => Stalled,
    /// The tier forbids roles of other accounts.
    CrossAccountNotAllowed => Stalled,
    /// The tier forbids service producers.
    ServicesNotAllowed => Stalled,
    /// The tier forbids organisation producers.
    OrganizationsNotAllowed => Stalled,
    /// A ServiceAccount that the queue names does not exist.
    ServiceAccountNotFound => Stalled,
    /// A ServiceAccount that the queue names has no IAM role.
    ServiceAccountWithoutRole => Stalled,
    /// A value is outside the bounds of the tier.
    OutsideTierBounds => Stalled,
    /// A tag that the tier requires is absent.
    RequiredTagMissing => Stalled,
    /// A tag is one that AWS or this operator reserves, or there are too many.
    TagInvalid => Stalled,
    /// The policy would be larger than SQS or KMS accepts.
    PolicyTooLarge => Stalled,
    /// The policy of a shared key has no room for another queue, which gets the next key.
    KeyFull => Progressing,
    /// The tenant has as many queues as its spec.limits.queues allows.
    QueueLimitReached => Stalled,
    /// The queue is on its way to another key.
    Migrating => Progressing,
    /// An existing queue cannot be taken over as declared.
    QueueNotAdoptable => Stalled,
    /// Messages may still be under a key that is not this operator's: its owner must keep what the message says until then.
    ForeignKeyUnverified => Fine,
    /// Another EncryptedQueue declares the same queue in AWS.
    QueueNameTaken => Stalled,

    /// The key is being made, or its policy does not hold this queue's grants yet.
    WaitingForKey => Progressing,
    /// AWS asks for one second between a queue's creation and its use.
    WaitingForQueue => Progressing,
    /// The controller has not worked on the object yet.
    Pending => Progressing,
    /// A change is being applied in AWS.
    Applying => Progressing,
    /// A key may have been made just before a crash: its tags are looked for until they must have become visible.
    SearchingForKey => Progressing,
    /// AWS differs from what was declared; it is being repaired.
    DriftDetected => Progressing,
    /// The object is paused: what differs is shown and not repaired.
    Paused => Stalled,
    /// The object is being deleted.
    Deleting => Progressing,
    /// Deletion waits for the objects that the message names.
    InUse => Progressing,
    /// The queue still holds messages; deletion waits until it is empty.
    QueueNotEmpty => Stalled,
    /// A queue of this name exists and is not this object's.
    QueueConflict => Stalled,
    /// A key that carries this key's name belongs to another owner.
    KeyConflict => Stalled,
    /// More than one key claims to be this one; a person must tell which.
    AmbiguousOwnership => Stalled,
    /// The key is disabled, pending deletion or gone, and could not be brought back.
    KeyUnusable => Stalled,
    /// KMS holds the key no longer: messages under it cannot be read any more. Its queues move to another key.
    KeyLost => Stalled,
    /// KMS says that a principal of the policy does not exist.
    PrincipalInvalid => Stalled,
    /// A role in the policy was deleted; AWS shows its unique id instead of its name.
    PrincipalDeleted => Stalled,
    /// The assumed role belongs to another account than the tenant says.
    WrongAccount => Stalled,
    /// The tenant's role could not be assumed, or there are no credentials.
    CredentialsUnavailable => Stalled,
    /// AWS refused a call; the message names it.
    AccessDenied => Stalled,
    /// AWS refused a request as invalid; the message holds its words.
    RequestRefused => Stalled,
    /// A quota of AWS is used up.
    QuotaExceeded => Stalled,
    /// AWS asks for slower calls; they are tried again.
    Throttled => Progressing,
    /// So many calls wait that this one stands in line, below the rate that AWS admits; the message says where and for how long.
    AwaitingQuota => Progressing,
    /// AWS did not answer or failed; it is tried again.
    AwsUnavailable => Progressing,
    /// Access waits for an AccessApproval.
    AwaitingApproval => Progressing,
    /// The tenant is suspended: nobody may use its queues.
    TenantSuspended => Stalled,
    /// The estimated cost is over the tenant's budget.
    OverBudget => Stalled,
    /// This tenant belongs to another controller.
    ForeignController => Stalled,
    /// An on-demand rotation waits: a key is rotated on demand at most once a day.
    RotationPending => Progressing,
    /// KMS allows 25 on-demand rotations in a key's life; this key has had them.
    RotationsUsedUp => Stalled,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
