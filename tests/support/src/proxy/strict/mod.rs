//! What AWS enforces and the emulator does not.
//!
//! `before` refuses or corrects the request; `after` learns from the answer and corrects it. State is kept only for what the emulator forgets.

mod key_rules;
mod kms;
mod policy;
mod principals;
mod queue_rules;
mod shuffle;
mod sqs;
mod tags;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::OwnedMutexGuard;

use super::answer::Answer;
use super::classify::{Request, xml_text};
use super::upstream::Upstream;

use principals::{Bound, Principals};

/// moto's account for keys it does not know.
const DEFAULT_ACCOUNT: &str = "123456789012";

/// What is enforced; everything AWS always does is on by default, delays are zero.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Strictness {
    /// A queue has one kind of server-side encryption: setting one ends the other, asking for both is refused.
    pub one_sse_kind: bool,
    /// Unknown attributes and values out of range are refused.
    pub attribute_rules: bool,
    /// Queue names and the `.fifo` suffix.
    pub name_rules: bool,
    /// At most 50 tags, allowed characters, no `aws:` prefix.
    pub tag_rules: bool,
    /// Queue policies are well-formed and within SQS's limits.
    pub queue_policy_rules: bool,
    /// Key policies are well-formed and at most 32,768 bytes.
    pub key_policy_rules: bool,
    /// Every principal of a policy exists; a deleted one is shown by its unique id.
    pub principals_exist: bool,
    /// The caller keeps an unconditioned `kms:PutKeyPolicy`.
    pub lockout_check: bool,
    /// Keys that are disabled or pending deletion refuse what AWS refuses, sending and receiving under them included.
    pub key_state: bool,
    /// Rotation period, next date, at most 25 rotations on demand.
    pub rotation: bool,
    /// What the emulator forgets of a queue: `RedriveAllowPolicy`, and the policy when other attributes are set.
    pub queue_memory: bool,
    /// Queues and keys of another account are found there and can be used, not managed.
    pub cross_account: bool,
    /// How long the name of a deleted queue stays taken.
    #[serde(with = "milliseconds")]
    pub name_free_after: Duration,
    /// Seed by which policies come back in another order and form; `None` leaves them as they were.
    pub reorder_policies: Option<u64>,
    /// How long `tag:GetResources` does not see new tags.
    #[serde(with = "milliseconds")]
    pub tags_visible_after: Duration,
    /// Whether `ListResourceTags` is as late as `tag:GetResources`.
    pub late_list_resource_tags: bool,
    /// How long KMS does not find a new key.
    #[serde(with = "milliseconds")]
    pub keys_visible_after: Duration,
}

impl Strictness {
    /// Nothing is enforced.
    pub const fn nothing() -> Self {
        Self {
            one_sse_kind: false,
            attribute_rules: false,
            name_rules: false,
            tag_rules: false,
            queue_policy_rules: false,
            key_policy_rules: false,
            principals_exist: false,
            lockout_check: false,
            key_state: false,
            rotation: false,
            queue_memory: false,
            cross_account: false,
            name_free_after: Duration::ZERO,
            reorder_policies: None,
            tags_visible_after: Duration::ZERO,
            late_list_resource_tags: false,
            keys_visible_after: Duration::ZERO,
        }
    }
}

impl Default for Strictness {
    fn default() -> Self {
        Self {
            one_sse_kind: true,
            attribute_rules: true,
            name_rules: true,
            tag_rules: true,
            queue_policy_rules: true,
            key_policy_rules: true,
            principals_exist: true,
            lockout_check: true,
            key_state: true,
            rotation: true,
            queue_memory: true,
            cross_account: true,
            name_free_after: Duration::from_mins(1),
            reorder_policies: Some(1),
            tags_visible_after: Duration::ZERO,
            late_list_resource_tags: false,
            keys_visible_after: Duration::ZERO,
        }
    }
}

/// Durations as milliseconds in the control API.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer};

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

struct Caller {
    account: String,
    role: Option<String>,
}

/// What is remembered of a queue.
#[derive(Default)]
struct Queue {
    redrive_allow: Option<String>,
    bound: Bound,
    deleted: Option<Instant>,
    writing: Arc<tokio::sync::Mutex<()>>,
}

/// What is remembered of a key.
#[derive(Default)]
struct Key {
    created: Option<Instant>,
    bound: Bound,
    rotation: Option<kms::Rotation>,
    used: Option<kms::Usage>,
}

#[derive(Default)]
struct World {
    callers: HashMap<String, Caller>,
    principals: Principals,
    /// By ARN.
    queues: HashMap<String, Queue>,
    /// By ARN.
    keys: HashMap<String, Key>,
    tags: tags::Late,
}

/// What `before` keeps for `after`.
#[derive(Default)]
pub(super) struct Kept {
    /// Writes to one queue go one at a time, since what is stored is read and sent again with the next.
    writing: Option<OwnedMutexGuard<()>>,
    /// ARN of the queue or key.
    arn: String,
    /// State of the key.
    state: String,
    /// ARN of the key that a message's passing uses.
    key: Option<String>,
    /// Attribute names the caller asked for.
    names: Vec<String>,
    /// Attributes the caller sets.
    attributes: Map<String, Value>,
}

/// A refusal: code and message, or a whole answer.
enum Refusal {
    Code(&'static str, String),
    Answer(Box<Answer>),
}

impl From<Answer> for Refusal {
    fn from(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self::Code(code, message.into())
    }

    #[cfg(test)]
    fn code(&self) -> &'static str {
        match self {
            Self::Code(code, _) => code,
            Self::Answer(_) => "an answer",
        }
    }
}

type Verdict<T = ()> = Result<T, Refusal>;

/// One call's view of rules, memory and emulator.
struct Context<'a> {
    rules: Strictness,
    world: &'a Mutex<World>,
    upstream: &'a Upstream,
}

impl Context<'_> {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all principals of a policy exist.
    fn principals_exist(&self, policy: &Value) -> bool {
        !self.rules.principals_exist || self.world().principals.all_exist(policy)
    }

    /// A stored policy as AWS would show it.
    fn shown(&self, text: &str, bound: &Bound) -> String {
        let Ok(mut policy) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
        let changed = self.rules.principals_exist && self.world().principals.show(&mut policy, bound);
        match self.rules.reorder_policies {
            Some(seed) => shuffle::shuffle(&policy, text, seed),
            None if changed => policy.to_string(),
            None => text.to_owned(),
        }
    }
}

/// Rules and memory.
#[derive(Default)]
pub(super) struct Strict {
    rules: RwLock<Strictness>,
    world: Mutex<World>,
}

impl Strict {
    pub fn strictness(&self) -> Strictness {
        *self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_strictness(&self, strictness: Strictness) {
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = strictness;
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn account_of(&self, access_key: &str) -> String {
        self.world().callers.get(access_key).map_or_else(|| DEFAULT_ACCOUNT.to_owned(), |caller| caller.account.clone())
    }

    pub fn caller_is(&self, access_key: &str, role_arn: &str) {
        let mut world = self.world();
        world.principals.add(role_arn);
        let caller = world.callers.entry(access_key.to_owned()).or_insert_with(|| Caller { account: DEFAULT_ACCOUNT.to_owned(), role: None });
        caller.role = Some(role_arn.to_owned());
    }

    pub fn add_principal(&self, arn: &str) {
        self.world().principals.add(arn);
    }

    pub fn remove_principal(&self, arn: &str) {
        self.world().principals.remove(arn);
    }

    /// Refuses the call, answers it, or prepares it for the emulator.
    pub async fn before(&self, upstream: &Upstream, request: &mut Request) -> Result<Kept, Answer> {
        let context = Context { rules: self.strictness(), world: &self.world, upstream };
        let verdict = match request.service.as_str() {
            "sqs" => sqs::before(&context, request).await,
            "kms" => kms::before(&context, request).await,
            "sts" => assume_role(&context, request),
            _ => Ok(Kept::default()),
        };
        verdict.map_err(|refusal| match refusal {
            Refusal::Code(code, message) => Answer::error(request, 400, code, &message),
            Refusal::Answer(answer) => *answer,
        })
    }

    /// Learns from the emulator's answer and makes it AWS's.
    pub fn after(&self, upstream: &Upstream, request: &Request, kept: Kept, answer: &mut Answer) {
        if !answer.status.is_success() {
            return;
        }
        let context = Context { rules: self.strictness(), world: &self.world, upstream };
        match request.service.as_str() {
            "sqs" => sqs::after(&context, request, &kept, answer),
            "kms" => kms::after(&context, request, &kept, answer),
            "tagging" => context.world().tags.hide(request, answer),
            "sts" => self.learn_caller(request, answer),
            "iam" => self.learn_principal(request, answer),
            _ => {}
        }
        drop(kept.writing);
    }

    fn learn_caller(&self, request: &Request, answer: &Answer) {
        let body = String::from_utf8_lossy(&answer.body);
        let (Some(access_key), Some(role)) = (xml_text(&body, "AccessKeyId"), request.text("RoleArn")) else { return };
        let account = role.split(':').nth(4).unwrap_or(DEFAULT_ACCOUNT).to_owned();
        let mut world = self.world();
        world.principals.add(role);
        world.callers.insert(access_key.to_owned(), Caller { account, role: Some(role.to_owned()) });
    }

    fn learn_principal(&self, request: &Request, answer: &Answer) {
        let body = String::from_utf8_lossy(&answer.body);
        let principals = &mut self.world().principals;
        match request.operation.as_str() {
            "CreateRole" | "CreateUser" => {
                let id = xml_text(&body, "RoleId").or_else(|| xml_text(&body, "UserId"));
                if let (Some(arn), Some(id)) = (xml_text(&body, "Arn"), id) {
                    principals.add_with_id(arn, id);
                }
            }
            "DeleteRole" => principals.remove_named(&request.account, "role", request.text("RoleName").unwrap_or_default()),
            "DeleteUser" => principals.remove_named(&request.account, "user", request.text("UserName").unwrap_or_default()),
            _ => {}
        }
    }
}

/// The emulator lets anyone assume any role; AWS none that was deleted.
fn assume_role(context: &Context<'_>, request: &Request) -> Verdict<Kept> {
    let role = request.text("RoleArn").unwrap_or_default();
    if request.operation.starts_with("AssumeRole") && context.rules.principals_exist && context.world().principals.was_deleted(role) {
        let message = format!("User is not authorized to perform: sts:{} on resource: {role}", request.operation);
        return Err(Answer::error(request, 403, "AccessDenied", &message).into());
    }
    Ok(Kept::default())
}
