//! SQS as AWS runs it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use hyper::header::HeaderValue;
use serde_json::{Map, Value, json};

use super::super::answer::Answer;
use super::super::classify::{Kind, Request};
use super::super::upstream::{ACCOUNT_HEADER, Place};
use super::kms::{self, Usage};
use super::{Context, Kept, Queue, Refusal, Verdict, policy, queue_rules, tags};

/// A queue as its name, URL and account say.
struct Target {
    account: String,
    name: String,
    arn: String,
}

impl Target {
    fn of(request: &Request) -> Self {
        let url = request.text("QueueUrl").unwrap_or_default();
        let mut parts = url.rsplit('/');
        let name = parts.next().filter(|name| !name.is_empty()).or_else(|| request.text("QueueName")).unwrap_or_default().to_owned();
        let in_url = parts.next().filter(|account| account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()));
        let account = in_url.or_else(|| request.text("QueueOwnerAWSAccountId")).unwrap_or(&request.account).to_owned();
        Self { arn: format!("arn:aws:sqs:{}:{account}:{name}", request.region), account, name }
    }

    fn fifo(&self) -> bool {
        self.name.strip_suffix(".fifo").is_some()
    }

    /// The emulator's own attributes of this queue.
    async fn attributes(&self, context: &Context<'_>, region: &str) -> Result<Map<String, Value>, Answer> {
        let params = json!({"QueueUrl": format!("http://localhost/{}/{}", self.account, self.name), "AttributeNames": ["All"]});
        let mut answer = context.upstream.ask(Place { account: &self.account, region }, "AmazonSQS.GetQueueAttributes", &params).await?;
        Ok(answer.get_mut("Attributes").and_then(Value::as_object_mut).map(std::mem::take).unwrap_or_default())
    }
}

fn requested(request: &Request) -> Map<String, Value> {
    request.params.get("Attributes").and_then(Value::as_object).cloned().unwrap_or_default()
}

fn text<'a>(attributes: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(Value::as_str)
}

pub(super) async fn before(context: &Context<'_>, request: &mut Request) -> Verdict<Kept> {
    let target = Target::of(request);
    let mut kept = Kept { arn: target.arn.clone(), ..Kept::default() };
    if context.rules.cross_account {
        cross_account(request, &target)?;
    }
    match request.operation.as_str() {
        "CreateQueue" => {
            kept.writing = Some(lock(context, &target.arn).await);
            kept.attributes = create(context, request, &target).await?;
        }
        "SetQueueAttributes" => {
            kept.writing = Some(lock(context, &target.arn).await);
            kept.attributes = requested(request);
            set(context, request, &target).await?;
        }
        "AddPermission" | "RemovePermission" | "DeleteQueue" => kept.writing = Some(lock(context, &target.arn).await),
        "GetQueueAttributes" => kept.names = ask_all(context, request)?,
        "TagQueue" if context.rules.tag_rules => tag(context, request, &target).await?,
        "SendMessage" | "SendMessageBatch" | "ReceiveMessage" if context.rules.key_state => {
            kept.key = key_usable(context, request, &target).await?;
        }
        _ => {}
    }
    Ok(kept)
}

async fn lock(context: &Context<'_>, arn: &str) -> tokio::sync::OwnedMutexGuard<()> {
    let writing = Arc::clone(&context.world().queues.entry(arn.to_owned()).or_default().writing);
    writing.lock_owned().await
}

/// Another account's queue takes messages; management calls stay at home.
fn cross_account(request: &mut Request, target: &Target) -> Verdict {
    if target.account == request.account {
        return Ok(());
    }
    let shared = request.kind == Kind::Data
        || matches!(request.operation.as_str(), "GetQueueUrl" | "GetQueueAttributes" | "PurgeQueue" | "ListDeadLetterSourceQueues");
    if !shared {
        let message = format!("Access to the resource {} is denied.", request.text("QueueUrl").unwrap_or_default());
        return Err(Answer::error(request, 403, "AccessDenied", &message).into());
    }
    if let Ok(account) = HeaderValue::from_str(&target.account) {
        request.headers.insert(ACCOUNT_HEADER, account);
    }
    Ok(())
}

/// Answers the attributes of a queue that will be new.
async fn create(context: &Context<'_>, request: &mut Request, target: &Target) -> Verdict<Map<String, Value>> {
    let attributes = requested(request);
    let fifo = text(&attributes, "FifoQueue") == Some("true");
    if context.rules.attribute_rules {
        queue_rules::attributes(&attributes, fifo, true)?;
    }
    if context.rules.name_rules {
        queue_rules::name(&target.name, fifo)?;
    }
    check_content(context, &attributes)?;
    if context.rules.tag_rules {
        let wanted = request.params.get("tags").and_then(Value::as_object).cloned().unwrap_or_default();
        check_tags(&wanted, &HashSet::new())?;
    }
    let deleted = context.world().queues.get(&target.arn).and_then(|queue| queue.deleted);
    if deleted.is_some_and(|deleted| deleted.elapsed() < context.rules.name_free_after) {
        return Err(Refusal::new(
            "QueueDeletedRecently",
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        ));
    }
    match target.attributes(context, &request.region).await {
        Ok(existing) => same_queue(context, request, &attributes, &existing, target).map(|()| Map::new()),
        Err(answer) if answer.status.is_client_error() => {
            rewrite_attributes(request, &one_sse_kind(context, attributes.clone()));
            Ok(attributes)
        }
        Err(answer) => Err(answer.into()),
    }
}

/// A queue that is there already: its URL when all attributes given are its own, and nothing of it changes.
fn same_queue(context: &Context<'_>, request: &mut Request, wanted: &Map<String, Value>, existing: &Map<String, Value>, target: &Target) -> Verdict {
    let mut existing = existing.clone();
    if let Some(allow) = context.world().queues.get(&target.arn).and_then(|queue| queue.redrive_allow.clone()) {
        existing.insert("RedriveAllowPolicy".to_owned(), allow.into());
    }
    let meaning = |value: Option<&Value>| {
        let text = value.and_then(Value::as_str).unwrap_or_default();
        serde_json::from_str::<Value>(text).ok().filter(Value::is_object).unwrap_or_else(|| Value::from(text))
    };
    let differs = wanted.iter().find(|(name, value)| meaning(Some(value)) != meaning(existing.get(*name)));
    if let Some((name, _)) = differs {
        return Err(Refusal::new("QueueNameExists", format!("A queue already exists with the same name and a different value for attribute {name}")));
    }
    request.rewrite(|params| params.retain(|name, _| name == "QueueName"));
    Ok(())
}

async fn set(context: &Context<'_>, request: &mut Request, target: &Target) -> Verdict {
    let attributes = requested(request);
    if context.rules.attribute_rules {
        queue_rules::attributes(&attributes, target.fifo(), false)?;
    }
    check_content(context, &attributes)?;
    let mut attributes = one_sse_kind(context, attributes);
    // The emulator drops the policy whenever a setting does not repeat it.
    if context.rules.queue_memory && !attributes.contains_key("Policy") {
        let existing = target.attributes(context, &request.region).await?;
        if let Some(policy) = existing.get("Policy") {
            attributes.insert("Policy".to_owned(), policy.clone());
        }
    }
    rewrite_attributes(request, &attributes);
    Ok(())
}

/// Rules that concern what a policy says, and both kinds of encryption at once.
fn check_content(context: &Context<'_>, attributes: &Map<String, Value>) -> Verdict {
    let key = text(attributes, "KmsMasterKeyId").is_some_and(|key| !key.is_empty());
    if context.rules.one_sse_kind && key && text(attributes, "SqsManagedSseEnabled") == Some("true") {
        let message = "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.";
        return Err(Refusal::new("InvalidAttributeName", message));
    }
    let Some(document) = text(attributes, "Policy").filter(|text| !text.is_empty()) else { return Ok(()) };
    let document =
        if context.rules.queue_policy_rules { policy::queue_policy(document)? } else { serde_json::from_str(document).unwrap_or_default() };
    if context.principals_exist(&document) {
        return Ok(());
    }
    Err(Refusal::new("InvalidAttributeValue", "Invalid value for the parameter Policy."))
}

/// Setting a key ends SSE-SQS, turning SSE-SQS on ends the key; clearing the key turns nothing on.
fn one_sse_kind(context: &Context<'_>, mut attributes: Map<String, Value>) -> Map<String, Value> {
    if context.rules.one_sse_kind {
        if text(&attributes, "KmsMasterKeyId").is_some_and(|key| !key.is_empty()) {
            attributes.insert("SqsManagedSseEnabled".to_owned(), "false".into());
        } else if text(&attributes, "SqsManagedSseEnabled") == Some("true") {
            attributes.insert("KmsMasterKeyId".to_owned(), "".into());
        }
    }
    attributes
}

fn rewrite_attributes(request: &mut Request, attributes: &Map<String, Value>) {
    request.rewrite(|params| {
        if !attributes.is_empty() {
            params.insert("Attributes".to_owned(), Value::Object(attributes.clone()));
        }
    });
}

/// The emulator knows fewer names than AWS: it is asked for all, and `after` picks.
fn ask_all(context: &Context<'_>, request: &mut Request) -> Verdict<Vec<String>> {
    let names = request.params.get("AttributeNames").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let names: Vec<_> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if context.rules.attribute_rules {
        queue_rules::readable(&names)?;
    }
    if !names.is_empty() {
        request.rewrite(|params| {
            params.insert("AttributeNames".to_owned(), json!(["All"]));
        });
    }
    Ok(names)
}

async fn tag(context: &Context<'_>, request: &Request, target: &Target) -> Verdict {
    let wanted = request.params.get("Tags").and_then(Value::as_object).cloned().unwrap_or_default();
    let params = json!({"QueueUrl": request.text("QueueUrl")});
    let place = Place { account: &target.account, region: &request.region };
    let existing = context.upstream.ask(place, "AmazonSQS.ListQueueTags", &params).await?;
    let existing = existing.get("Tags").and_then(Value::as_object).map(|tags| tags.keys().cloned().collect()).unwrap_or_default();
    check_tags(&wanted, &existing)
}

fn check_tags(wanted: &Map<String, Value>, existing: &HashSet<String>) -> Verdict {
    tags::fault(wanted, existing).map_or(Ok(()), |fault| Err(Refusal::new("InvalidParameterValue", fault)))
}

/// Messages pass only while the queue's key can be used; answers the key.
async fn key_usable(context: &Context<'_>, request: &Request, target: &Target) -> Verdict<Option<String>> {
    let Ok(attributes) = target.attributes(context, &request.region).await else { return Ok(None) };
    let Some(key) = text(&attributes, "KmsMasterKeyId").filter(|key| !key.is_empty() && !key.ends_with("alias/aws/sqs")) else { return Ok(None) };
    let mut scope = key.split(':').skip(3);
    let (region, account) = (scope.next().unwrap_or(&request.region), scope.next().unwrap_or(&target.account));
    let metadata = kms::describe(context, Place { account, region }, key).await;
    let Some(metadata) = metadata? else {
        return Err(Refusal::new("KmsNotFound", format!("Key '{key}' does not exist")));
    };
    match metadata.state.as_str() {
        "Enabled" => Ok(Some(metadata.arn)),
        "Disabled" => Err(Refusal::new("KmsDisabled", format!("{} is disabled.", metadata.arn))),
        _ => Err(Refusal::new("KmsInvalidState", format!("{} is pending deletion.", metadata.arn))),
    }
}

pub(super) fn after(context: &Context<'_>, request: &Request, kept: &Kept, answer: &mut Answer) {
    match request.operation.as_str() {
        "CreateQueue" => {
            let tags = request.params.get("tags").and_then(Value::as_object);
            context.world().tags.add(&kept.arn, tags.into_iter().flat_map(Map::keys), context.rules.tags_visible_after);
            learn(context, kept);
        }
        "SetQueueAttributes" => learn(context, kept),
        "TagQueue" => {
            let tags = request.params.get("Tags").and_then(Value::as_object);
            context.world().tags.add(&kept.arn, tags.into_iter().flat_map(Map::keys), context.rules.tags_visible_after);
        }
        "DeleteQueue" => {
            if let Some(queue) = context.world().queues.get_mut(&kept.arn) {
                *queue = Queue { deleted: Some(Instant::now()), writing: Arc::clone(&queue.writing), ..Queue::default() };
            }
        }
        "GetQueueAttributes" => correct(context, kept, answer),
        "SendMessage" | "SendMessageBatch" => note_use(context, kept, "GenerateDataKey"),
        "ReceiveMessage" if answer.value().get("Messages").is_some() => note_use(context, kept, "Decrypt"),
        _ => {}
    }
}

fn note_use(context: &Context<'_>, kept: &Kept, operation: &'static str) {
    if let Some(key) = &kept.key {
        context.world().keys.entry(key.clone()).or_default().used = Some(Usage::now(operation));
    }
}

fn learn(context: &Context<'_>, kept: &Kept) {
    let world = &mut *context.world();
    let queue = world.queues.entry(kept.arn.clone()).or_default();
    queue.deleted = None;
    if let Some(allow) = text(&kept.attributes, "RedriveAllowPolicy") {
        let nothing = allow.is_empty() || serde_json::from_str(allow).is_ok_and(|value: Map<String, Value>| value.is_empty());
        queue.redrive_allow = (!nothing).then(|| allow.to_owned());
    }
    if let Some(policy) = text(&kept.attributes, "Policy").and_then(|text| serde_json::from_str(text).ok()) {
        queue.bound = world.principals.bind(&policy);
    }
}

fn correct(context: &Context<'_>, kept: &Kept, answer: &mut Answer) {
    let mut body = answer.value();
    let Some(attributes) = body.get_mut("Attributes").and_then(Value::as_object_mut) else { return };
    let (allow, bound) = context.world().queues.get(&kept.arn).map(|queue| (queue.redrive_allow.clone(), queue.bound.clone())).unwrap_or_default();
    if context.rules.queue_memory
        && let Some(allow) = allow
    {
        attributes.insert("RedriveAllowPolicy".to_owned(), allow.into());
    }
    if let Some(Value::String(policy)) = attributes.get_mut("Policy") {
        *policy = context.shown(policy, &bound);
    }
    for name in ["CreatedTimestamp", "LastModifiedTimestamp"] {
        if let Some(Value::String(time)) = attributes.get_mut(name) {
            time.truncate(time.find('.').unwrap_or(time.len()));
        }
    }
    if !kept.names.iter().any(|name| name == "All") {
        attributes.retain(|name, _| kept.names.contains(name));
    }
    answer.set_value(&body);
}
