//! One queue or key for each way of being wrong, and clean ones: what is found of each.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_kms::types::{KeySpec, KeyUsageType, OriginType};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};

use crate::world::{ACCOUNT, Aws, REGION};

const APP: &str = "arn:aws:iam::123456789012:role/zoo-app";
const STRANGER: &str = "arn:aws:iam::999988887777:role/partner";
const DELETED: &str = "AROAEXAMPLEDELETED123";

/// What is expected of every queue and key, by name.
pub(crate) type Expected = BTreeMap<String, Vec<&'static str>>;

fn queue_arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn policy(statements: &[Value]) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

fn with_tls(statements: &[Value]) -> String {
    let tls = json!({"Sid": "Tls", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}});
    policy(&[std::slice::from_ref(&tls), statements].concat())
}

fn allow(principal: &Value, actions: &Value, condition: &Value) -> Value {
    let mut statement = json!({"Sid": "Zoo", "Effect": "Allow", "Principal": principal, "Action": actions, "Resource": "*"});
    if !condition.is_null() {
        statement["Condition"] = condition.clone();
    }
    statement
}

fn role(arn: &str) -> Value {
    json!({"AWS": arn})
}

fn administration() -> Value {
    allow(
        &role(&format!("arn:aws:iam::{ACCOUNT}:root")),
        &json!(["kms:Get*", "kms:List*", "kms:Describe*", "kms:PutKeyPolicy", "kms:EnableKey"]),
        &Value::Null,
    )
}

/// Use of a key through SQS.
fn through_sqs(arn: &str) -> Value {
    let via = json!({"StringEquals": {"kms:ViaService": format!("sqs.{REGION}.amazonaws.com")}});
    allow(&role(arn), &json!(["kms:Decrypt", "kms:GenerateDataKey"]), &via)
}

fn of_account() -> Value {
    json!({"StringEquals": {"aws:SourceAccount": ACCOUNT}})
}

/// Makes the animals, and notes what is expected of them.
pub(crate) struct Keeper<'a> {
    pub(crate) aws: &'a Aws,
    pub(crate) keys: HashMap<String, String>,
    pub(crate) expected: Expected,
}

#[allow(clippy::struct_excessive_bools)]
struct KeyPlan {
    policy: String,
    rotation: bool,
    tags: bool,
    spec: KeySpec,
    multi_region: bool,
    external: bool,
}

impl Default for KeyPlan {
    fn default() -> Self {
        let policy = policy(&[administration()]);
        Self { policy, rotation: true, tags: true, spec: KeySpec::SymmetricDefault, multi_region: false, external: false }
    }
}

impl Keeper<'_> {
    async fn key(&mut self, name: &str, plan: KeyPlan, expected: &[&'static str]) -> String {
        let usage = if plan.spec == KeySpec::SymmetricDefault { KeyUsageType::EncryptDecrypt } else { KeyUsageType::SignVerify };
        let origin = if plan.external { OriginType::External } else { OriginType::AwsKms };
        let tag = aws_sdk_kms::types::Tag::builder().tag_key("owner").tag_value("zoo").build().unwrap();
        let call = self
            .aws
            .kms
            .create_key()
            .policy(&plan.policy)
            .key_spec(plan.spec.clone())
            .key_usage(usage)
            .origin(origin)
            .multi_region(plan.multi_region);
        let made = call.set_tags(plan.tags.then(|| vec![tag])).send().await.unwrap().key_metadata.unwrap();
        if plan.rotation && plan.spec == KeySpec::SymmetricDefault && !plan.external {
            self.aws.kms.enable_key_rotation().key_id(&made.key_id).send().await.unwrap();
        }
        let alias = format!("alias/zoo-{name}");
        self.aws.kms.create_alias().alias_name(&alias).target_key_id(&made.key_id).send().await.unwrap();
        self.expected.insert(alias, expected.to_vec());
        self.keys.insert(name.to_owned(), made.key_id);
        made.arn.unwrap()
    }

    async fn key_with(&mut self, name: &str, statements: &[Value], expected: &[&'static str]) -> String {
        let statements = [&[administration()], statements].concat();
        self.key(name, KeyPlan { policy: policy(&statements), ..KeyPlan::default() }, expected).await
    }

    async fn queue(&mut self, name: &str, attributes: &[(&str, &str)], tags: &[(&str, &str)], expected: &[&'static str]) {
        let mut call = self.aws.sqs.create_queue().queue_name(name);
        for (key, value) in attributes {
            call = call.attributes(QueueAttributeName::from(*key), *value);
        }
        for (key, value) in tags {
            call = call.tags(*key, *value);
        }
        call.send().await.unwrap();
        self.expected.insert(name.to_owned(), expected.to_vec());
    }

    /// A queue that is as it should be but for what `changes` says; no value: the attribute is left out.
    async fn like_clean(&mut self, name: &str, key: &str, changes: &[(&str, Option<&str>)], expected: &[&'static str]) {
        let redrive = json!({"deadLetterTargetArn": queue_arn("graveyard"), "maxReceiveCount": 5}).to_string();
        let tls = with_tls(&[]);
        let mut attributes = BTreeMap::from([("KmsMasterKeyId", key), ("RedrivePolicy", redrive.as_str()), ("Policy", tls.as_str())]);
        for (attribute, value) in changes {
            match value {
                Some(value) => drop(attributes.insert(attribute, value)),
                None => drop(attributes.remove(attribute)),
            }
        }
        let attributes: Vec<_> = attributes.into_iter().collect();
        self.queue(name, &attributes, &[("owner", "zoo")], expected).await;
    }

    async fn with_policy(&mut self, name: &str, key: &str, statement: Value, expected: &[&'static str]) {
        self.like_clean(name, key, &[("Policy", Some(&with_tls(&[statement])))], expected).await;
    }

    pub(crate) async fn populate(&mut self) {
        let clean = self.clean().await;
        self.encryption(&clean).await;
        self.settings(&clean).await;
        self.queue_policies(&clean).await;
        self.keys().await;
        self.key_policies().await;
    }

    async fn clean(&mut self) -> String {
        let clean = self.key_with("clean", &[through_sqs(APP)], &[]).await;
        let graves = [("KmsMasterKeyId", clean.as_str()), ("MessageRetentionPeriod", "1209600"), ("Policy", &with_tls(&[]))];
        // Queues under other keys send their dead letters there too.
        self.queue("graveyard", &graves, &[("owner", "zoo")], &["dead-letter-key-differs"]).await;
        let app = allow(&role(APP), &json!(["sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage"]), &Value::Null);
        self.with_policy("clean", &clean, app, &[]).await;
        let odd = [("owner", "<b>\"&'</b>"), ("søk:名/+=@ -", "\u{202e}txt"), ("=cmd|' /C calc'!A0", "")];
        let redrive = json!({"deadLetterTargetArn": queue_arn("graveyard"), "maxReceiveCount": 5}).to_string();
        let attributes = [("KmsMasterKeyId", clean.as_str()), ("RedrivePolicy", &redrive), ("Policy", &with_tls(&[]))];
        self.queue("odd-tags", &attributes, &odd, &[]).await;
        clean
    }

    async fn encryption(&mut self, clean: &str) {
        let none = ("KmsMasterKeyId", None);
        self.like_clean("plain-text", clean, &[none, ("SqsManagedSseEnabled", Some("false"))], &["queue-not-encrypted"]).await;
        self.like_clean("sse-sqs", clean, &[none, ("SqsManagedSseEnabled", Some("true"))], &["queue-sse-sqs"]).await;
        self.like_clean("aws-managed", "alias/aws/sqs", &[], &["queue-aws-managed-key"]).await;
        self.like_clean("aws-managed-arn", &format!("arn:aws:kms:{REGION}:{ACCOUNT}:alias/aws/sqs"), &[], &["queue-aws-managed-key"]).await;
        let absent = "00000000-1111-2222-3333-444444444444";
        self.like_clean("key-gone", &format!("arn:aws:kms:{REGION}:{ACCOUNT}:key/{absent}"), &[], &["queue-key-missing"]).await;
        self.like_clean("key-nonsense", "nonsense", &[], &["queue-key-missing"]).await;
        self.like_clean("alias-gone", "alias/nothing", &[], &["queue-key-missing"]).await;
        self.like_clean("key-foreign", &format!("arn:aws:kms:{REGION}:999988887777:key/{absent}"), &[], &["queue-key-foreign"]).await;
        self.like_clean("key-elsewhere", &format!("arn:aws:kms:us-east-1:{ACCOUNT}:key/{absent}"), &[], &["queue-key-unusable-kind"]).await;
        self.like_clean("by-alias", "alias/zoo-clean", &[], &["queue-key-by-alias"]).await;
        let id = self.keys["clean"].clone();
        self.like_clean("by-id", &id, &[], &["queue-key-by-alias"]).await;
        let plan = KeyPlan { spec: KeySpec::Rsa2048, ..KeyPlan::default() };
        let signing = self.key("signing", plan, &[]).await;
        self.like_clean("key-signing", &signing, &[], &["queue-key-unusable-kind"]).await;
        let disabled = self.key("disabled", KeyPlan::default(), &["key-disabled"]).await;
        self.aws.kms.disable_key().key_id(&self.keys["disabled"]).send().await.unwrap();
        self.like_clean("key-disabled", &disabled, &[], &["queue-key-disabled"]).await;
        let dying = self.key("dying", KeyPlan::default(), &["key-pending-deletion"]).await;
        self.aws.kms.schedule_key_deletion().key_id(&self.keys["dying"]).pending_window_in_days(7).send().await.unwrap();
        self.like_clean("key-dying", &dying, &[], &["queue-key-pending-deletion"]).await;
    }

    async fn settings(&mut self, clean: &str) {
        self.like_clean("no-dead-letters", clean, &[("RedrivePolicy", None)], &["queue-without-dead-letters"]).await;
        self.like_clean("no-policy", clean, &[("Policy", None)], &["queue-without-tls"]).await;
        let tls = with_tls(&[]);
        let redrive = |target: &str| json!({"deadLetterTargetArn": queue_arn(target), "maxReceiveCount": 5}).to_string();
        self.queue("untagged", &[("KmsMasterKeyId", clean), ("Policy", &tls), ("RedrivePolicy", &redrive("graveyard"))], &[], &["queue-untagged"])
            .await;
        self.queue("short-dead", &[("KmsMasterKeyId", clean), ("Policy", &tls)], &[("owner", "zoo")], &["dead-letter-retention"]).await;
        self.like_clean("short", clean, &[("RedrivePolicy", Some(&redrive("short-dead")))], &[]).await;
        let other = self.key("other", KeyPlan::default(), &[]).await;
        let long = ("MessageRetentionPeriod", "1209600");
        self.queue("split-dead", &[("KmsMasterKeyId", &other), ("Policy", &tls), long], &[("owner", "zoo")], &["dead-letter-key-differs"]).await;
        self.like_clean("split", clean, &[("RedrivePolicy", Some(&redrive("split-dead")))], &[]).await;
        self.queue("fifo-dead.fifo", &[("KmsMasterKeyId", clean), ("Policy", &tls), ("FifoQueue", "true")], &[("owner", "zoo")], &[]).await;
        self.like_clean("fifo.fifo", clean, &[("FifoQueue", Some("true")), ("RedrivePolicy", Some(&redrive("fifo-dead.fifo")))], &[]).await;
        self.queue("doomed", &[], &[], &[]).await;
        self.like_clean("dead-gone", clean, &[("RedrivePolicy", Some(&redrive("doomed")))], &["dead-letter-queue-gone"]).await;
        let doomed = self.aws.sqs.get_queue_url().queue_name("doomed").send().await.unwrap().queue_url.unwrap();
        self.aws.sqs.delete_queue().queue_url(doomed).send().await.unwrap();
        self.expected.remove("doomed");
    }

    async fn queue_policies(&mut self, clean: &str) {
        let send = json!("sqs:SendMessage");
        let everyone = json!("*");
        self.with_policy("public", clean, allow(&everyone, &send, &Value::Null), &["queue-public"]).await;
        let any_source = json!({"ArnLike": {"aws:SourceArn": "arn:aws:sns:*:*:*"}});
        self.with_policy("public-any-source", clean, allow(&role("*"), &send, &any_source), &["queue-public"]).await;
        let if_exists = json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}});
        self.with_policy("public-if-exists", clean, allow(&everyone, &send, &if_exists), &["queue-public"]).await;
        let topic = json!({"ArnEquals": {"aws:SourceArn": format!("arn:aws:sns:{REGION}:{ACCOUNT}:orders")}});
        self.with_policy("any-with-topic", clean, allow(&everyone, &send, &topic), &[]).await;
        let organisation = json!({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}});
        self.with_policy("organisation", clean, allow(&everyone, &send, &organisation), &["queue-cross-account"]).await;
        self.with_policy("everything", clean, allow(&role(APP), &json!("SQS:*"), &Value::Null), &["queue-full-access"]).await;
        let forgotten = "queue-access-not-in-key-policy";
        self.with_policy("partner", clean, allow(&role(STRANGER), &send, &Value::Null), &["queue-cross-account", forgotten]).await;
        let newcomer = "arn:aws:iam::123456789012:role/zoo-newcomer";
        self.with_policy("key-forgets-role", clean, allow(&role(newcomer), &json!("sqs:ReceiveMessage"), &Value::Null), &[forgotten]).await;
        let sns = json!({"Service": "sns.amazonaws.com"});
        self.with_policy("key-forgets-sns", clean, allow(&sns, &send, &topic), &[forgotten]).await;
        let s3 = json!({"Service": ["s3.amazonaws.com", "sns.amazonaws.com"]});
        let uses = json!(["kms:GenerateDataKey", "kms:Decrypt"]);
        let services = self.key_with("services", &[allow(&s3, &uses, &of_account())], &[]).await;
        let bucket = json!({"ArnLike": {"aws:SourceArn": "arn:aws:s3:::uploads-*"}, "StringEquals": {"aws:SourceAccount": ACCOUNT}});
        self.with_policy("s3-documented", &services, allow(&s3, &send, &bucket), &[]).await;
        self.with_policy("service-open", &services, allow(&sns, &send, &Value::Null), &["queue-service-without-source"]).await;
        let mut by_exclusion = allow(&everyone, &send, &Value::Null);
        by_exclusion.as_object_mut().unwrap().remove("Principal");
        by_exclusion["NotPrincipal"] = role(APP);
        self.with_policy("all-but", clean, by_exclusion, &["queue-allows-by-exclusion"]).await;
        self.with_policy("deleted-role", clean, allow(&role(DELETED), &send, &Value::Null), &["queue-deleted-principal"]).await;
        let strange =
            json!({"Sid": "Strange", "Effect": "Allow", "Principal": role(APP), "Action": "sqs:SendMessage", "Resource": "*", "When": "always"});
        self.with_policy("strange-policy", clean, strange, &["queue-policy-unreadable"]).await;
        let half = json!({"Sid": "Tls", "Effect": "Deny", "Principal": "*", "Action": "sqs:SendMessage", "Resource": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}});
        self.like_clean("half-tls", clean, &[("Policy", Some(&policy(&[half])))], &["queue-without-tls"]).await;
        let perhaps = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Perhaps"}]}"#;
        self.like_clean("malformed-policy", clean, &[("Policy", Some(perhaps))], &["queue-policy-unreadable"]).await;
    }

    async fn keys(&mut self) {
        self.key("rotation-off", KeyPlan { rotation: false, ..KeyPlan::default() }, &["key-rotation-off"]).await;
        self.key("untagged", KeyPlan { tags: false, ..KeyPlan::default() }, &["key-untagged"]).await;
        self.key("several-regions", KeyPlan { multi_region: true, ..KeyPlan::default() }, &["key-multi-region"]).await;
        // KMS has seen no use since it was made, just now.
        self.key_with("new", &[through_sqs(APP)], &[]).await;
        let broken = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Perhaps"}]}"#.to_owned();
        self.key("broken-policy", KeyPlan { policy: broken, ..KeyPlan::default() }, &["key-policy-unreadable"]).await;
        let shared = self.key("shared", KeyPlan::default(), &["key-shared"]).await;
        let redrive = json!({"deadLetterTargetArn": queue_arn("graveyard"), "maxReceiveCount": 5}).to_string();
        for tenant in ["acme", "globex"] {
            let tags = [("encryptedqueue.dev/tenant", tenant), ("encryptedqueue.dev/sensitivity-tier", "internal")];
            let attributes = [("KmsMasterKeyId", shared.as_str()), ("Policy", &with_tls(&[])), ("RedrivePolicy", &redrive)];
            self.queue(&format!("shared-{tenant}"), &attributes, &tags, &[]).await;
        }
    }

    async fn key_policies(&mut self) {
        let (decrypt, everyone) = (json!("kms:Decrypt"), json!("*"));
        self.key_with("public", &[allow(&everyone, &decrypt, &Value::Null)], &["key-public"]).await;
        let caller = json!({"StringEquals": {"kms:CallerAccount": ACCOUNT, "kms:ViaService": "ec2.eu-west-1.amazonaws.com"}});
        self.key_with("public-but-pinned", &[allow(&everyone, &decrypt, &caller)], &[]).await;
        self.key_with("partner", &[allow(&role("arn:aws:iam::999988887777:root"), &decrypt, &Value::Null)], &["key-cross-account"]).await;
        let root = allow(&role(&format!("arn:aws:iam::{ACCOUNT}:root")), &json!("kms:*"), &Value::Null);
        let delegating =
            self.key("delegating", KeyPlan { policy: policy(std::slice::from_ref(&root)), ..KeyPlan::default() }, &["key-delegates-to-iam"]).await;
        self.like_clean("under-delegating", &delegating, &[], &[]).await;
        self.key("default-policy", KeyPlan { policy: policy(&[root]), ..KeyPlan::default() }, &[]).await;
        let full = self.key_with("full-access", &[allow(&role(APP), &json!("kms:*"), &Value::Null)], &["key-full-access"]).await;
        self.like_clean("under-full-access", &full, &[], &[]).await;
        let lost = policy(&[allow(&role(DELETED), &json!("kms:*"), &Value::Null)]);
        self.key("unmanageable", KeyPlan { policy: lost, ..KeyPlan::default() }, &["key-unmanageable", "key-deleted-principal"]).await;
        let (sns, events) = (json!({"Service": "sns.amazonaws.com"}), json!({"Service": "events.amazonaws.com"}));
        self.key_with("service-open", &[allow(&sns, &decrypt, &Value::Null)], &["key-service-without-source"]).await;
        self.key_with("events-open", &[allow(&events, &decrypt, &Value::Null)], &[]).await;
        self.key_with("deleted-role", &[allow(&role(DELETED), &decrypt, &Value::Null)], &["key-deleted-principal"]).await;
        let mut all_but = allow(&role(APP), &Value::Null, &Value::Null);
        all_but.as_object_mut().unwrap().remove("Action");
        all_but["NotAction"] = json!("kms:Decrypt");
        self.key_with("all-but", &[all_but], &["key-allows-by-exclusion"]).await;
        let left = self.key_with("left-over", &[through_sqs(APP)], &["key-access-not-in-queue-policy"]).await;
        self.like_clean("under-left-over", &left, &[], &[]).await;
        let granted = self.key("granted", KeyPlan::default(), &["key-grants"]).await;
        let grant = self.aws.kms.create_grant().key_id(&self.keys["granted"]).grantee_principal(STRANGER);
        grant.operations(aws_sdk_kms::types::GrantOperation::Decrypt).send().await.unwrap();
        self.like_clean("under-granted", &granted, &[], &[]).await;
    }
}
