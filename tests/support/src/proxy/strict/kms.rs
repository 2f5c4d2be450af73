//! KMS as AWS runs it.

use std::collections::HashSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::{Map, Value, json};

use super::super::answer::Answer;
use super::super::classify::{Kind, Request};
use super::super::upstream::{ACCOUNT_HEADER, Place};
use super::key_rules::{admit, need};
use super::{Context, Kept, Refusal, Verdict, policy, tags};

const ROTATION_DAYS: std::ops::RangeInclusive<u64> = 90..=2_560;
const DEFAULT_ROTATION_DAYS: u64 = 365;
const DELETION_DAYS: std::ops::RangeInclusive<u64> = 7..=30;
const ROTATIONS_ON_DEMAND: usize = 25;
const DAY: f64 = 86_400.0;

/// Automatic rotation as it was switched on.
#[derive(Clone, Copy)]
pub(super) struct Rotation {
    days: u64,
    next: f64,
}

/// The last use of a key.
#[derive(Clone, Copy)]
pub(super) struct Usage {
    operation: &'static str,
    at: f64,
}

impl Usage {
    pub fn now(operation: &'static str) -> Self {
        Self { operation, at: now() }
    }
}

/// What the emulator says of a key.
pub(super) struct Metadata {
    pub id: String,
    pub arn: String,
    pub state: String,
    pub created: Value,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A key by id, ARN or alias; `None` when there is none.
pub(super) async fn describe(context: &Context<'_>, place: Place<'_>, key: &str) -> Result<Option<Metadata>, Answer> {
    match context.upstream.ask(place, "TrentService.DescribeKey", &json!({"KeyId": key})).await {
        Ok(answer) => {
            let metadata = answer.get("KeyMetadata").cloned().unwrap_or_default();
            let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            Ok(Some(Metadata {
                id: text("KeyId"),
                arn: text("Arn"),
                state: text("KeyState"),
                created: metadata.get("CreationDate").cloned().unwrap_or_default(),
            }))
        }
        Err(answer) if answer.error_code().as_deref() == Some("NotFoundException") => Ok(None),
        Err(answer) => Err(answer),
    }
}

/// Where the key is: its ARN may name another account.
fn place<'a>(request: &'a Request, arn: &'a str) -> Place<'a> {
    Place { account: arn.split(':').nth(4).unwrap_or(&request.account), region: &request.region }
}

/// Another account's key can be looked at and used, not managed. Whether its policy lets the caller is not evaluated.
fn cross_account(request: &mut Request, arn: &str) -> Verdict {
    let account = place(request, arn).account;
    if account == request.account {
        return Ok(());
    }
    let shared = request.kind == Kind::Data
        || matches!(
            request.operation.as_str(),
            "DescribeKey" | "GetKeyRotationStatus" | "GetPublicKey" | "CreateGrant" | "ListGrants" | "RevokeGrant"
        );
    if !shared {
        let message = format!("User is not authorized to perform: kms:{} on resource: {arn}", request.operation);
        return Err(Refusal::new("AccessDeniedException", message));
    }
    if let Ok(account) = HeaderValue::from_str(account) {
        request.headers.insert(ACCOUNT_HEADER, account);
    }
    Ok(())
}

/// The key a request is about, as it was named.
fn named(request: &Request) -> Option<&str> {
    request.text("TargetKeyId").or_else(|| request.text("KeyId"))
}

fn arn(request: &Request, key: &str) -> String {
    if key.starts_with("arn:") { key.to_owned() } else { format!("arn:aws:kms:{}:{}:key/{key}", request.region, request.account) }
}

fn not_found(arn: &str) -> Refusal {
    Refusal::new("NotFoundException", format!("Key '{arn}' does not exist"))
}

pub(super) async fn before(context: &Context<'_>, request: &mut Request) -> Verdict<Kept> {
    if request.operation == "CreateKey" {
        check_policy(context, request)?;
        check_tags(context, request, &HashSet::new())?;
        return Ok(Kept::default());
    }
    let Some(key) = named(request).map(str::to_owned) else { return Ok(Kept::default()) };
    let mut kept = Kept { arn: arn(request, &key), ..Kept::default() };
    if context.rules.cross_account {
        cross_account(request, &kept.arn)?;
    }
    let created = context.world().keys.get(&kept.arn).and_then(|key| key.created);
    if created.is_some_and(|created| created.elapsed() < context.rules.keys_visible_after) {
        return Err(not_found(&kept.arn));
    }
    if let Some(need) = need(&request.operation) {
        let metadata = describe(context, place(request, &kept.arn), &key).await?;
        let metadata = metadata.ok_or_else(|| not_found(&kept.arn))?;
        if context.rules.key_state {
            admit(need, &metadata.state, &metadata.arn)?;
        }
        prepare(context, request, &metadata).await?;
        kept.arn = metadata.arn;
        kept.state = metadata.state;
    } else if request.operation == "GetKeyPolicy" {
        default_policy_name(request);
    }
    Ok(kept)
}

/// What single operations need beyond a key in the right state.
async fn prepare(context: &Context<'_>, request: &mut Request, key: &Metadata) -> Verdict {
    match request.operation.as_str() {
        // The emulator fails on an ARN here.
        "EnableKey" | "DisableKey" | "CancelKeyDeletion" => by_id(request, key),
        "ScheduleKeyDeletion" => {
            within(request, "PendingWindowInDays", &DELETION_DAYS)?;
            by_id(request, key);
        }
        "PutKeyPolicy" => {
            check_policy(context, request)?;
            default_policy_name(request);
        }
        "TagResource" => {
            let existing = context.upstream.ask(place(request, &key.arn), "TrentService.ListResourceTags", &json!({"KeyId": key.id})).await?;
            let existing = tags::kms_tags(existing.get("Tags")).unwrap_or_default().into_iter().map(|(name, _)| name).collect();
            check_tags(context, request, &existing)?;
        }
        "EnableKeyRotation" if context.rules.rotation => within(request, "RotationPeriodInDays", &ROTATION_DAYS)?,
        "RotateKeyOnDemand" if context.rules.rotation => {
            let rotations = context.upstream.ask(place(request, &key.arn), "TrentService.ListKeyRotations", &json!({"KeyId": key.id})).await?;
            if rotations.get("Rotations").and_then(Value::as_array).map_or(0, Vec::len) >= ROTATIONS_ON_DEMAND {
                return Err(Refusal::new("LimitExceededException", format!("{} has been rotated on demand {ROTATIONS_ON_DEMAND} times.", key.arn)));
            }
        }
        "CreateAlias" | "UpdateAlias" if request.text("AliasName").is_some_and(|alias| alias.starts_with("alias/aws/")) => {
            return Err(Refusal::new("NotAuthorizedException", "Aliases that begin with alias/aws/ are reserved."));
        }
        "GetKeyLastUsage" => return Err(last_usage(context, key).into()),
        _ => {}
    }
    Ok(())
}

fn by_id(request: &mut Request, key: &Metadata) {
    request.rewrite(|params| {
        params.insert("KeyId".to_owned(), key.id.as_str().into());
    });
}

/// AWS's default, which the emulator wants to be said.
fn default_policy_name(request: &mut Request) {
    request.rewrite(|params| {
        params.entry("PolicyName").or_insert_with(|| "default".into());
    });
}

fn within(request: &Request, name: &str, range: &std::ops::RangeInclusive<u64>) -> Verdict {
    match request.params.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(value) if value.as_u64().is_some_and(|value| range.contains(&value)) => Ok(()),
        Some(value) => {
            let message = format!("Value '{value}' at '{name}' must be between {} and {}.", range.start(), range.end());
            Err(Refusal::new("ValidationException", message))
        }
    }
}

fn check_policy(context: &Context<'_>, request: &Request) -> Verdict {
    let Some(text) = request.text("Policy") else { return Ok(()) };
    let document = if context.rules.key_policy_rules { policy::key_policy(text)? } else { serde_json::from_str(text).unwrap_or_default() };
    let malformed = |message: &str| Err(Refusal::new("MalformedPolicyDocumentException", message));
    if !context.principals_exist(&document) {
        return malformed("Policy contains a statement with one or more invalid principals.");
    }
    let bypass = request.params.get("BypassPolicyLockoutSafetyCheck") == Some(&Value::Bool(true));
    let role = context.world().callers.get(&request.access_key).and_then(|caller| caller.role.clone());
    match role {
        Some(role) if context.rules.lockout_check && !bypass && !policy::keeps_put_key_policy(&document, &role) => {
            malformed("The new key policy will not allow you to update the key policy in the future.")
        }
        _ => Ok(()),
    }
}

fn check_tags(context: &Context<'_>, request: &Request, existing: &HashSet<String>) -> Verdict {
    if !context.rules.tag_rules {
        return Ok(());
    }
    let tags = tags::kms_tags(request.params.get("Tags")).ok_or_else(|| Refusal::new("TagException", "Duplicate tag keys found."))?;
    tags::fault(&tags, existing).map_or(Ok(()), |fault| Err(Refusal::new("TagException", fault)))
}

/// The emulator has no such operation.
fn last_usage(context: &Context<'_>, key: &Metadata) -> Answer {
    let mut body = json!({"KeyId": key.arn, "KeyCreationDate": key.created, "TrackingStartDate": key.created});
    if let Some(used) = context.world().keys.get(&key.arn).and_then(|key| key.used) {
        body["KeyLastUsage"] = json!({"Operation": used.operation, "Timestamp": used.at, "KmsRequestId": "proxy"});
    }
    Answer::json(StatusCode::OK, &body)
}

pub(super) fn after(context: &Context<'_>, request: &Request, kept: &Kept, answer: &mut Answer) {
    match request.operation.as_str() {
        "CreateKey" => created(context, request, answer),
        "PutKeyPolicy" => bind(context, &kept.arn, request),
        "GetKeyPolicy" => {
            let bound = context.world().keys.get(&kept.arn).map(|key| key.bound.clone()).unwrap_or_default();
            amend(answer, |body| {
                if let Some(Value::String(policy)) = body.get_mut("Policy") {
                    *policy = context.shown(policy, &bound);
                }
                body.insert("PolicyName".to_owned(), "default".into());
            });
        }
        "TagResource" => late_tags(context, request, &kept.arn),
        "ListResourceTags" if context.rules.late_list_resource_tags => context.world().tags.hide_listed(&kept.arn, answer),
        "ScheduleKeyDeletion" | "CancelKeyDeletion" | "RotateKeyOnDemand" => amend(answer, |body| {
            body.insert("KeyId".to_owned(), kept.arn.as_str().into());
            if request.operation == "ScheduleKeyDeletion" {
                body.insert("KeyState".to_owned(), "PendingDeletion".into());
                let days = request.params.get("PendingWindowInDays").and_then(Value::as_u64).unwrap_or(*DELETION_DAYS.end());
                body.insert("PendingWindowInDays".to_owned(), days.into());
            }
        }),
        "EnableKeyRotation" => {
            let days = request.params.get("RotationPeriodInDays").and_then(Value::as_u64).unwrap_or(DEFAULT_ROTATION_DAYS);
            context.world().keys.entry(kept.arn.clone()).or_default().rotation = Some(Rotation::from_now(days));
        }
        "DisableKeyRotation" => context.world().keys.entry(kept.arn.clone()).or_default().rotation = None,
        "GetKeyRotationStatus" if context.rules.rotation => rotation_status(context, kept, answer),
        "Encrypt" => use_key(context, kept, "Encrypt"),
        "Decrypt" => use_key(context, kept, "Decrypt"),
        "GenerateDataKey" | "GenerateDataKeyWithoutPlaintext" => use_key(context, kept, "GenerateDataKey"),
        _ => {}
    }
}

fn amend(answer: &mut Answer, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut body = answer.value();
    if let Value::Object(object) = &mut body {
        change(object);
        answer.set_value(&body);
    }
}

fn use_key(context: &Context<'_>, kept: &Kept, operation: &'static str) {
    if !kept.arn.is_empty() {
        context.world().keys.entry(kept.arn.clone()).or_default().used = Some(Usage::now(operation));
    }
}

fn created(context: &Context<'_>, request: &Request, answer: &mut Answer) {
    let mut arn = String::new();
    amend(answer, |body| {
        let Some(metadata) = body.get_mut("KeyMetadata").and_then(Value::as_object_mut) else { return };
        metadata.get("Arn").and_then(Value::as_str).unwrap_or_default().clone_into(&mut arn);
        for (name, default) in [("KeyUsage", json!("ENCRYPT_DECRYPT")), ("MultiRegion", json!(false))] {
            metadata.entry(name).and_modify(|value| {
                if value.is_null() {
                    *value = default;
                }
            });
        }
    });
    context.world().keys.entry(arn.clone()).or_default().created = Some(Instant::now());
    bind(context, &arn, request);
    late_tags(context, request, &arn);
}

/// Remembers whom the policy means, not only what it calls them.
fn bind(context: &Context<'_>, arn: &str, request: &Request) {
    let Some(document) = request.text("Policy").and_then(|text| serde_json::from_str::<Value>(text).ok()) else { return };
    let world = &mut *context.world();
    let bound = world.principals.bind(&document);
    world.keys.entry(arn.to_owned()).or_default().bound = bound;
}

fn late_tags(context: &Context<'_>, request: &Request, arn: &str) {
    let tags = tags::kms_tags(request.params.get("Tags")).unwrap_or_default();
    context.world().tags.add(arn, tags.keys(), context.rules.tags_visible_after);
}

impl Rotation {
    #[allow(clippy::cast_precision_loss, reason = "days")]
    fn from_now(days: u64) -> Self {
        Self { days, next: now() + days as f64 * DAY }
    }
}

fn rotation_status(context: &Context<'_>, kept: &Kept, answer: &mut Answer) {
    let rotation = context.world().keys.get(&kept.arn).and_then(|key| key.rotation);
    amend(answer, |body| {
        body.insert("KeyId".to_owned(), kept.arn.as_str().into());
        let enabled = body.get("KeyRotationEnabled") == Some(&Value::Bool(true)) && kept.state != "PendingDeletion";
        body.insert("KeyRotationEnabled".to_owned(), enabled.into());
        if enabled {
            let rotation = rotation.unwrap_or_else(|| Rotation::from_now(DEFAULT_ROTATION_DAYS));
            body.insert("RotationPeriodInDays".to_owned(), rotation.days.into());
            body.insert("NextRotationDate".to_owned(), rotation.next.into());
        }
    });
}
