//! Queues that were there before: taken over with their messages, never encrypted less than they were, or left alone with the reason said.

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::json;

use crate::life::{apply_examples, platform};
use crate::world::{ACCOUNT, World};

const REGION: &str = "eu-west-1";

/// What the example's queue was before anyone declared it.
async fn exists(world: &World, name: &str, attributes: &[(&str, &str)]) -> String {
    let attributes = attributes.iter().map(|(name, value)| (QueueAttributeName::from(*name), (*value).to_owned())).collect();
    let sqs = world.sqs(ACCOUNT, REGION).await;
    let made = sqs.create_queue().queue_name(name).set_attributes(Some(attributes)).tags("team", "legacy").send().await.unwrap();
    made.queue_url.unwrap()
}

async fn may_be_adopted(world: &World, names: &[&str]) {
    world.change_tenant("acme", json!({"spec": {"adoptableQueueNames": names}})).await;
}

async fn declare(world: &World, change: serde_json::Value) {
    let text = std::fs::read_to_string(format!("{}/examples/queue-orders.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut queue: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    queue["spec"]["adoption"] = "IfUnowned".into();
    for (field, value) in change.as_object().unwrap() {
        queue["spec"][field] = value.clone();
    }
    world.apply_object(&queue).await;
}

#[tokio::test]
async fn a_queue_under_a_foreign_key_is_taken_over_with_its_messages() {
    let world = World::with_operator().await;
    platform(&world).await;
    may_be_adopted(&world, &["acme-orders*"]).await;
    let (sqs, kms) = (world.sqs(ACCOUNT, REGION).await, world.kms(ACCOUNT, REGION).await);
    let foreign = kms.create_key().description("theirs").send().await.unwrap().key_metadata.unwrap();
    let foreign_arn = foreign.arn.clone().unwrap();
    let foreign_policy = kms.get_key_policy().key_id(&foreign_arn).send().await.unwrap().policy;
    let dead = exists(&world, "acme-orders-old-dlq", &[("SqsManagedSseEnabled", "true")]).await;
    let redrive = json!({"deadLetterTargetArn": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:acme-orders-old-dlq"), "maxReceiveCount": 7}).to_string();
    // Declared without: stays. Declared with 345,600 by default: stays too.
    let found =
        [("KmsMasterKeyId", foreign.key_id.as_str()), ("VisibilityTimeout", "77"), ("MessageRetentionPeriod", "172800"), ("RedrivePolicy", &redrive)];
    let url = exists(&world, "acme-orders", &found).await;
    sqs.send_message().queue_url(&url).message_body("sent before").send().await.unwrap();

    // Its dead-letter queue must be named.
    declare(&world, json!({"queue": {"name": "acme-orders"}, "deadLetter": {}})).await;
    let refused = world.until_condition("acme-prod", "orders", "QueueReady", "False", "QueueNotAdoptable").await;
    let says = crate::bad_input::message(&refused, "QueueReady");
    assert!(says.contains("declare spec.deadLetter.name: acme-orders-old-dlq"), "{says}");
    assert_eq!(world.proxy.effects("CreateKey"), 1, "no key is made for it but theirs");
    world.queues("acme-prod").delete("orders", &kube::api::DeleteParams::default()).await.unwrap();
    world.until("the declaration has gone", async || world.queues("acme-prod").get_opt("orders").await.unwrap().is_none()).await;

    declare(&world, json!({"queue": {"name": "acme-orders"}, "deadLetter": {"name": "acme-orders-old-dlq"}})).await;
    let moving = world.until_condition("acme-prod", "orders", "Ready", "False", "Migrating").await;
    assert!(moving.status.unwrap().queue.is_none(), "not its own yet");
    assert_eq!(world.attributes(&sqs, &url).await["KmsMasterKeyId"], foreign.key_id, "the new key settles first");
    let adopted = world.until_ready("acme-prod", "orders").await;
    let status = adopted.status.clone().unwrap();
    let own = status.key.clone().unwrap().arn.unwrap();
    for queue in [&url, &dead] {
        let attributes = world.attributes(&sqs, queue).await;
        assert_eq!(attributes["KmsMasterKeyId"], own);
        let tags = sqs.list_queue_tags().queue_url(queue).send().await.unwrap().tags.unwrap();
        assert_eq!((tags["team"].as_str(), tags["encryptedqueue.dev/tenant"].as_str()), ("legacy", "acme"));
    }
    let attributes = world.attributes(&sqs, &url).await;
    assert_eq!((attributes["VisibilityTimeout"].as_str(), attributes["MessageRetentionPeriod"].as_str()), ("77", "172800"));
    let received = sqs.receive_message().queue_url(&url).send().await.unwrap();
    assert_eq!(received.messages()[0].body(), Some("sent before"));

    // What is theirs is as it was, and its owner is told what to keep.
    let [previous] = &status.previous_keys[..] else { panic!("{:?}", status.previous_keys) };
    assert_eq!((previous.arn.as_str(), previous.managed), (foreign_arn.as_str(), false));
    let says = world.until_condition("acme-prod", "orders", "KeyReady", "True", "ForeignKeyUnverified").await;
    let says = crate::bad_input::message(&says, "KeyReady");
    assert!(says.contains(&foreign_arn) && says.contains("role/acme-orders-worker"), "{says}");
    assert_eq!(kms.get_key_policy().key_id(&foreign_arn).send().await.unwrap().policy, foreign_policy);
    assert!(kms.list_resource_tags().key_id(&foreign_arn).send().await.unwrap().tags().is_empty());
    let events = world.events("acme-prod", "orders").await;
    assert!(events.iter().any(|(reason, note)| reason == "Applied" && note.contains("tag queue acme-orders")), "{events:?}");
}

#[tokio::test]
async fn without_a_key_or_under_the_default_one_it_is_taken_over_at_no_moment_encrypted_less() {
    let world = World::with_operator().await;
    platform(&world).await;
    may_be_adopted(&world, &["acme-*"]).await;
    let sqs = world.sqs(ACCOUNT, REGION).await;
    let mut urls = Vec::new();
    for (name, found) in
        [("plain", ("SqsManagedSseEnabled", "false")), ("managed", ("SqsManagedSseEnabled", "true")), ("shared", ("KmsMasterKeyId", "alias/aws/sqs"))]
    {
        let queue = format!("acme-{name}");
        let url = exists(&world, &queue, &[found]).await;
        sqs.send_message().queue_url(&url).message_body(name).send().await.unwrap();
        urls.push((name, url));
        let text = std::fs::read_to_string(format!("{}/examples/queue-orders.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let mut declared: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        declared["metadata"]["name"] = name.into();
        declared["spec"]["queue"] = json!({"name": queue});
        declared["spec"]["adoption"] = "IfUnowned".into();
        world.apply_object(&declared).await;
    }
    for (name, url) in &urls {
        let status = world.until_ready("acme-prod", name).await.status.unwrap();
        let attributes = world.attributes(&sqs, url).await;
        assert_eq!(Some(&attributes["KmsMasterKeyId"]), status.key.unwrap().arn.as_ref());
        let received = sqs.receive_message().queue_url(url).send().await.unwrap();
        assert_eq!(received.messages()[0].body(), Some(*name));
    }
    // Encryption is changed by one call each, which names the key.
    for call in world.proxy.writes().iter().filter(|call| call.is("SetQueueAttributes") && call.access_key == "operator") {
        assert!(
            call.request.to_string().contains("KmsMasterKeyId") && !call.request.to_string().contains("SqsManagedSseEnabled"),
            "{}",
            call.request
        );
    }
}

#[tokio::test]
async fn another_owner_is_named_and_the_tenant_decides() {
    let world = World::with_operator().await;
    platform(&world).await;
    let sqs = world.sqs(ACCOUNT, REGION).await;
    let url = exists(&world, "acme-orders", &[]).await;
    let tags = [("cluster", "another"), ("object", "shop/orders"), ("tenant", "acme")];
    let tags = tags.map(|(name, value)| (format!("encryptedqueue.dev/{name}"), value.to_owned()));
    sqs.tag_queue().queue_url(&url).set_tags(Some(tags.clone().into())).send().await.unwrap();
    declare(&world, json!({"queue": {"name": "acme-orders"}})).await;
    let conflict = world.until_condition("acme-prod", "orders", "QueueReady", "False", "QueueConflict").await;
    let says = crate::bad_input::message(&conflict, "QueueReady");
    assert!(says.contains("belongs to shop/orders of cluster another"), "{says}");

    sqs.untag_queue().queue_url(&url).set_tag_keys(Some(tags.iter().map(|(name, _)| name.clone()).collect())).send().await.unwrap();
    world.change_queue("acme-prod", "orders", json!({"metadata": {"annotations": {"encryptedqueue.dev/check-now": "1"}}})).await;
    let refused = world.until_condition("acme-prod", "orders", "QueueReady", "False", "QueueNotAdoptable").await;
    let says = crate::bad_input::message(&refused, "QueueReady");
    assert!(says.contains("spec.adoptableQueueNames of Tenant acme does not have it"), "{says}");
    assert!(world.proxy.writes().iter().all(|call| call.access_key != "operator" || !call.took_effect), "nothing is written");
    may_be_adopted(&world, &["acme-orders"]).await;
    world.until_ready("acme-prod", "orders").await;
    apply_examples(&world, &["queue-orders"]).await;
    world.until_ready("acme-prod", "orders").await;
}

/// Ends an object at once, whatever its finalizers wait for.
async fn vanishes<K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned>(api: &kube::Api<K>, name: &str) {
    let patch = kube::api::Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.delete(name, &kube::api::DeleteParams::default()).await.unwrap();
    api.patch(name, &kube::api::PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_was_rebuilt_gets_its_queues_and_keys_back() {
    let mut world = World::new().await;
    world.start_operator(&["--cluster-id", "the-former-one"]);
    platform(&world).await;
    apply_examples(&world, &["queue-orders", "queue-emails", "queue-notifications"]).await;
    let names = [("acme-prod", "orders"), ("acme-prod", "emails"), ("acme-prod", "notifications")];
    let mut before = Vec::new();
    for (namespace, name) in names {
        before.push(world.until_ready(namespace, name).await.status.unwrap());
    }
    world.stop_operator();
    for (namespace, name) in names {
        vanishes(&world.queues(namespace), name).await;
    }
    for key in world.keys().list(&kube::api::ListParams::default()).await.unwrap() {
        vanishes(&world.keys(), &crate::world::name(&key)).await;
    }
    let made = world.proxy.effects("CreateKey");
    world.start_operator(&[]);
    apply_examples(&world, &["queue-orders", "queue-emails", "queue-notifications"]).await;
    let conflict = world.until_condition("acme-prod", "orders", "QueueReady", "False", "QueueConflict").await;
    let says = crate::bad_input::message(&conflict, "QueueReady");
    assert!(says.contains("run `encrypted-queue adopt --from-cluster the-former-one`"), "{says}");

    let adopt = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_encrypted-queue"));
        command.arg("adopt").args(arguments).env("KUBECONFIG", world.control_plane.kubeconfig_path());
        command.env("AWS_ENDPOINT_URL", world.proxy.endpoint()).env("AWS_ACCESS_KEY_ID", "operator").env("AWS_SECRET_ACCESS_KEY", "secret");
        command.env("AWS_REGION", REGION).env("AWS_EC2_METADATA_DISABLED", "true").env("ENCRYPTED_QUEUE_OPERATOR_ROLE_ARN", crate::world::OPERATOR);
        let run = move || command.output().unwrap();
        async move {
            let output = tokio::task::spawn_blocking(run).await.unwrap();
            let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            (output.status.code(), text)
        }
    };
    let mark = world.proxy.mark();
    let (status, shown) = adopt(&["--from-cluster", "the-former-one", "--dry-run"]).await;
    assert!(status == Some(0) && shown.contains("acme-orders-dlq") && shown.contains("acme-prod/orders"), "{shown}");
    let (status, refused) = adopt(&["--from-cluster", "the-former-one"]).await;
    assert!(status == Some(1) && refused.contains("--yes adopts what is shown above"), "{refused}");
    assert!(world.proxy.writes_since(mark).iter().all(|call| !call.took_effect), "{:?}", world.proxy.writes_since(mark));
    let (status, done) = adopt(&["--from-cluster", "the-former-one", "--yes"]).await;
    assert!(status == Some(0) && done.contains("0 failed"), "{done}");
    let (status, nothing) = adopt(&["--from-cluster", "the-former-one", "--yes"]).await;
    assert!(status == Some(0) && nothing.contains("Nothing in the accounts"), "{nothing}");

    for ((namespace, name), before) in names.into_iter().zip(before) {
        let after = world.until_ready(namespace, name).await.status.unwrap();
        assert_eq!((after.queue, after.dead_letter_queue), (before.queue, before.dead_letter_queue));
        assert_eq!(after.key.unwrap().arn, before.key.unwrap().arn);
    }
    assert_eq!(world.proxy.effects("CreateKey"), made, "no second key");
    let kms = world.kms(ACCOUNT, REGION).await;
    let aliases = kms.list_aliases().send().await.unwrap().aliases.unwrap();
    let ours = aliases.iter().filter(|alias| alias.alias_name().unwrap().starts_with("alias/encryptedqueue/")).count();
    assert_eq!(ours, made, "each key has one alias of ours");
}

/// Runs the command as an operator's colleague would: exit status, standard output, standard error.
pub(crate) async fn command(world: &World, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_encrypted-queue"));
    command.args(arguments).env("KUBECONFIG", world.control_plane.kubeconfig_path());
    command.env("AWS_ENDPOINT_URL", world.proxy.endpoint()).env("AWS_ACCESS_KEY_ID", "operator").env("AWS_SECRET_ACCESS_KEY", "secret");
    command.env("AWS_REGION", REGION).env("AWS_EC2_METADATA_DISABLED", "true").env("ENCRYPTED_QUEUE_OPERATOR_ROLE_ARN", crate::world::OPERATOR);
    let output = command.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// An Allow for a queue of the account.
fn allow(queue: &str, principal: &serde_json::Value, actions: &[&str]) -> serde_json::Value {
    let resource = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}");
    json!({"Effect": "Allow", "Principal": principal, "Action": actions, "Resource": resource})
}

fn policy(statements: &[serde_json::Value]) -> String {
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}

#[tokio::test]
async fn manifests_written_for_a_whole_account_are_planned_and_applied_without_a_loss() {
    const CONSUME: [&str; 3] = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"];
    let mut world = World::new().await;
    platform(&world).await;
    let role = |name: &str| json!({"AWS": format!("arn:aws:iam::{ACCOUNT}:role/{name}")});
    let (api, worker) = (role("acme-orders-api"), role("acme-orders-worker"));
    let dead = policy(&[allow("acme-old-dead", &worker, &CONSUME)]);
    exists(&world, "acme-old-dead", &[("Policy", &dead), ("MessageRetentionPeriod", "1209600")]).await;
    let redrive = json!({"deadLetterTargetArn": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:acme-old-dead"), "maxReceiveCount": 7}).to_string();
    let old = policy(&[allow("acme-old", &api, &["sqs:SendMessage"]), allow("acme-old", &worker, &CONSUME)]);
    let attributes = [("Policy", old.as_str()), ("RedrivePolicy", &redrive), ("VisibilityTimeout", "77")];
    let url = exists(&world, "acme-old", &attributes).await;
    let topic = format!("arn:aws:sns:{REGION}:{ACCOUNT}:orders");
    let mut from_topic = allow("acme-fan-out.fifo", &json!("*"), &["SQS:SendMessage"]);
    from_topic["Condition"] = json!({"ArnEquals": {"aws:SourceArn": topic}});
    let fan_out = policy(&[from_topic, allow("acme-fan-out.fifo", &worker, &CONSUME)]);
    exists(&world, "acme-fan-out.fifo", &[("Policy", &fan_out), ("FifoQueue", "true"), ("ContentBasedDeduplication", "true")]).await;
    exists(&world, "acme-nobody", &[]).await;
    let owned = exists(&world, "acme-owned", &[]).await;
    let sqs = world.sqs(ACCOUNT, REGION).await;
    let tags = [("cluster", "another"), ("object", "shop/owned")].map(|(name, value)| (format!("encryptedqueue.dev/{name}"), value.to_owned()));
    sqs.tag_queue().queue_url(&owned).set_tags(Some(tags.into())).send().await.unwrap();
    for queue in ["acme-old", "acme-fan-out.fifo", "acme-nobody"] {
        let url = sqs.get_queue_url().queue_name(queue).send().await.unwrap().queue_url.unwrap();
        sqs.tag_queue().queue_url(&url).tags("data-classification", "Internal").send().await.unwrap();
    }

    let mark = world.proxy.mark();
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().to_str().unwrap();
    let (status, said, problems) = command(&world, &["adopt", "--tenant", "acme", "--directory", folder]).await;
    assert_eq!(status, Some(0), "{said}{problems}");
    assert!(world.proxy.writes_since(mark).is_empty(), "nothing is written to AWS");
    assert!(said.contains("skipped acme-owned") && said.contains("belongs to shop/owned of cluster another"), "{said}");
    assert!(
        said.contains("skipped acme-old-dead") && said.contains("spec.adoptableQueueNames: acme-fan-out.fifo, acme-nobody, acme-old, acme-old-dead"),
        "{said}"
    );
    let nobody = std::fs::read_to_string(directory.path().join("acme-prod-acme-nobody.yaml")).unwrap();
    assert!(nobody.contains("no policy names anybody: declare who sends"), "{nobody}");
    std::fs::remove_file(directory.path().join("acme-prod-acme-nobody.yaml")).unwrap();
    let again = command(&world, &["adopt", "acme-old", "--tenant", "acme", "--directory", folder]).await;
    assert!(again.0 == Some(1) && again.2.contains("acme-prod-acme-old.yaml"), "none is overwritten: {again:?}");

    // As the report asks.
    may_be_adopted(&world, &["acme-fan-out.fifo", "acme-old", "acme-old-dead"]).await;
    let (status, planned, problems) = command(&world, &["plan", "-f", folder, "-o", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&planned).unwrap_or_else(|_| panic!("{problems}"));
    assert_eq!((status, &report["summary"]["refused"], &report["summary"]["stalled"]), (Some(2), &json!(0), &json!(0)), "{report:#}");
    world.start_operator(&[]);
    for name in ["acme-old", "acme-fan-out"] {
        world.apply(&std::fs::read_to_string(directory.path().join(format!("acme-prod-{name}.yaml"))).unwrap()).await;
    }
    for name in ["acme-old", "acme-fan-out"] {
        world.until_ready("acme-prod", name).await;
    }
    let attributes = world.attributes(&sqs, &url).await;
    assert_eq!(attributes["VisibilityTimeout"], "77");
    // Judged by asking everyone whom the old policies could mean.
    for (queue, old) in [("acme-old", &old), ("acme-old-dead", &dead), ("acme-fan-out.fifo", &fan_out)] {
        let url = sqs.get_queue_url().queue_name(queue).send().await.unwrap().queue_url.unwrap();
        let new: serde_json::Value = serde_json::from_str(&world.attributes(&sqs, &url).await["Policy"]).unwrap();
        let old: serde_json::Value = serde_json::from_str(old).unwrap();
        let arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}");
        let after = test_support::judge::probes::queue_holders(&new, &arn, false);
        let before = test_support::judge::probes::queue_holders(&old, &arn, false);
        assert!(!before.is_empty(), "{queue}");
        let is_own = |subject: &test_support::judge::probes::Subject| {
            format!("{subject:?}").contains(ACCOUNT) && !format!("{subject:?}").contains("999999999999")
        };
        let lost: Vec<_> = before.iter().filter(|held| is_own(&held.0) && !after.contains(held)).collect();
        assert!(
            lost.iter()
                .all(|(subject, _)| matches!(subject, test_support::judge::probes::Subject::Service { name, .. } if !name.starts_with("sns."))),
            "{queue}: {lost:?}"
        );
    }
}
