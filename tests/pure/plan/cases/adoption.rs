//! Taking over queues that exist.

use encrypted_queue::api::DeletionPolicy;
use encrypted_queue::policy::access::Capability;
use jiff::SignedDuration;
use serde_json::json;

use super::{DEAD_LETTER, SOURCE, made, queue_mut, with_any_fault};
use crate::declare::{SETTLE, role};
use crate::plan::aws::Queue;
use crate::plan::judge::{read_key, read_queue};
use crate::plan::operator::Run;
use crate::plan::worker::Faults;
use crate::plan::world::{Scene, World, named};
use encrypted_queue::policy::queue_policy::QueueKind;

const FOREIGN: &str = "arn:aws:kms:eu-west-1:111122223333:key/theirs";
const WEEK: i64 = 604_800;

fn taking_over() -> Scene {
    Scene::of(&["orders"])
        .with_tenant(json!({"spec": {"adoptableQueueNames": ["acme-acme-prod-*"]}}))
        .with_queue("orders", json!({"spec": {"adoption": "IfUnowned"}}))
}

fn someone_may_receive() -> String {
    let arn = format!("arn:aws:sqs:eu-west-1:111122223333:{SOURCE}");
    json!({"Version": "2012-10-17", "Statement": [
        {"Sid": "Old", "Effect": "Allow", "Principal": {"AWS": role("acme-old")}, "Action": "sqs:ReceiveMessage", "Resource": arn},
    ]})
    .to_string()
}

/// A queue that was there before, with settings, a policy, a tag and messages of its own.
fn exists(world: &mut World, scene: &Scene, name: &str, attributes: &[(&str, &str)]) {
    let settings = [("VisibilityTimeout", "77"), ("MessageRetentionPeriod", "604800"), ("DelaySeconds", "0")];
    let attributes = settings.iter().chain(attributes).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let tags = [("team".to_owned(), "legacy".to_owned())].into();
    world.aws.at_mut(&scene.place()).queues.insert(name.to_owned(), Queue { attributes, tags, messages: 3 });
}

fn world_with(scene: &Scene, attributes: &[(&str, &str)]) -> World {
    let mut world = World::default();
    exists(&mut world, scene, SOURCE, attributes);
    world
}

fn at(run: &Run, name: &str) -> usize {
    run.names().iter().position(|did| did == name).unwrap_or_else(|| panic!("no {name} in {:?}", run.names()))
}

fn own_key(world: &World) -> String {
    world.keys.values().next().unwrap().status.0.arn.clone().unwrap()
}

#[test]
fn a_queue_without_a_key_is_taken_over_once_its_key_has_settled() {
    let (scene, policy) = (taking_over(), someone_may_receive());
    for encryption in [[("SqsManagedSseEnabled", "true")], [("SqsManagedSseEnabled", "false")]] {
        let mut world = world_with(&scene, &[encryption[0], ("Policy", &policy)]);
        let (began, name) = (world.now, named("orders"));
        let run = world.settle(&scene);
        assert!(world.now >= began + SETTLE && run.held().is_empty(), "{:?}", run.names());
        assert!(at(&run, "CreateKey") < at(&run, "RecordNextKey") && at(&run, "RecordNextKey") < at(&run, "RecordAdoption"));
        assert!(at(&run, "RecordAdoption") < at(&run, "TagQueue") && at(&run, "TagQueue") < at(&run, "SetQueueAttributes"));
        assert!(at(&run, "SetQueueAttributes") < at(&run, "RecordKeys"));
        let records = run.names().iter().filter(|did| *did == "RecordAdoption").count();
        assert_eq!(records, 2, "all that was found, before anything of it is written, and that it is done: {:?}", run.names());
        world.assert_rest(&scene);
        let queue = queue_mut(&mut world, &scene, SOURCE).clone();
        assert_eq!(queue.attributes.get("KmsMasterKeyId"), Some(&own_key(&world)));
        assert_eq!((queue.messages, queue.tags["team"].as_str()), (3, "legacy"), "what was there stays");
        assert_eq!((queue.attributes["VisibilityTimeout"].as_str(), queue.attributes["MessageRetentionPeriod"].as_str()), ("77", "604800"));
        assert!(!queue.attributes["Policy"].contains("acme-old"), "who is not declared has no access");
        let status = world.queue_status(&name);
        let adoption = status.adoption.unwrap();
        assert!(adoption.completed_at.is_some() && adoption.found_keys.is_empty() && status.previous_keys.is_empty() && status.next_key.is_none());
        assert_eq!(adoption.settings.keys().map(String::as_str).collect::<Vec<_>>(), ["MessageRetentionPeriod", "VisibilityTimeout"]);
    }
}

#[test]
fn until_the_key_has_settled_nothing_of_it_is_written() {
    let scene = taking_over();
    let mut world = world_with(&scene, &[("KmsMasterKeyId", FOREIGN)]);
    let before = queue_mut(&mut world, &scene, SOURCE).clone();
    let (mut did, name) = (Vec::new(), named("orders"));
    for _ in 0..2 {
        // Before the key is made nothing is read again, and whose the queue is is open.
        world.pass_over_queue(&scene, &name, false, &mut Faults::none(), &mut did);
        let status = world.queue_status(&name);
        assert!(status.queue.is_none() && status.dead_letter_queue.is_none() && status.key.is_none() && status.next_key.is_some());
    }
    for _ in 0..4 {
        world.pass_over_queue(&scene, &name, false, &mut Faults::none(), &mut did);
        for key in world.keys.keys().cloned().collect::<Vec<_>>() {
            world.pass_over_key(&scene, &key, false, &mut Faults::none(), &mut did);
        }
    }
    assert_eq!(*queue_mut(&mut world, &scene, SOURCE), before);
    assert!(!world.aws.at(&scene.place()).queues.contains_key(DEAD_LETTER), "nor is its dead-letter queue made");
    let status = world.queue_status(&name);
    assert!(status.queue.is_none() && status.key.is_none() && status.next_key.unwrap().granted_at.is_some());
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    assert_eq!(ready.reason, "Migrating");
    // Taken back before, nothing is left but the key, which nobody uses.
    world.settle(&scene.clone().deleted("orders"));
    assert_eq!(*queue_mut(&mut world, &scene, SOURCE), before);
    assert!(world.queues.is_empty() && world.keys.is_empty());
}

#[test]
fn a_foreign_key_is_on_record_until_its_messages_have_expired_and_never_touched() {
    let scene = taking_over();
    let mut world = world_with(&scene, &[("KmsMasterKeyId", FOREIGN)]);
    exists(&mut world, &scene, DEAD_LETTER, &[("KmsMasterKeyId", "alias/aws/sqs"), ("MessageRetentionPeriod", "1209600")]);
    let redrive = json!({"deadLetterTargetArn": scene.place().queue_arn(DEAD_LETTER).as_str(), "maxReceiveCount": 3}).to_string();
    queue_mut(&mut world, &scene, SOURCE).attributes.insert("RedrivePolicy".to_owned(), redrive);
    world.settle(&scene);
    world.assert_rest(&scene);
    let status = world.queue_status(&named("orders"));
    let [first, second] = &status.previous_keys[..] else { panic!("{:?}", status.previous_keys) };
    assert_eq!((first.arn.as_str(), second.arn.as_str(), first.managed, &first.name), (FOREIGN, "alias/aws/sqs", false, &None));
    assert_eq!(first.decrypt_until.0, first.switched_at.0 + SignedDuration::from_secs(120 + WEEK + 1_209_600));
    let of_key = status.conditions.iter().find(|condition| condition.type_ == "KeyReady").unwrap();
    assert_eq!((of_key.status.as_str(), of_key.reason.as_str()), ("True", "ForeignKeyUnverified"));
    assert!(
        of_key.message.contains(FOREIGN) && of_key.message.contains(&role("acme-worker")) && !of_key.message.contains(&role("acme-api")),
        "{}",
        of_key.message
    );
    assert!(!of_key.message.contains("alias/aws/sqs"), "nobody can keep or lose that one");
    // Its own key is the only one that was written.
    assert_eq!(world.aws.keys().count(), 1);
    let until = first.decrypt_until.0;
    world.now = until;
    world.settle(&scene);
    let status = world.queue_status(&named("orders"));
    assert!(status.previous_keys.is_empty());
    assert_eq!(status.conditions.iter().find(|condition| condition.type_ == "KeyReady").unwrap().reason, "KeyAvailable");
}

#[test]
fn a_fault_anywhere_leads_to_the_same_end() {
    let scene = taking_over();
    let mut found = world_with(&scene, &[("KmsMasterKeyId", FOREIGN)]);
    exists(&mut found, &scene, DEAD_LETTER, &[("SqsManagedSseEnabled", "true")]);
    let actions = with_any_fault(&found, &scene, |world, which| {
        let status = world.queue_status(&named("orders"));
        let adoption = status.adoption.unwrap();
        assert_eq!(adoption.found_keys, [FOREIGN], "{which}");
        assert_eq!((adoption.settings["VisibilityTimeout"].as_str(), adoption.found_retention_seconds), ("77", Some(2 * WEEK)));
        assert_eq!((status.previous_keys.len(), world.aws.keys().count()), (1, 1));
    });
    assert!(actions > 15);
}

#[test]
fn whoever_owns_it_is_named_and_keeps_it() {
    let scene = taking_over();
    let owned = [
        (
            "another cluster",
            "encryptedqueue.dev/cluster",
            "other-cluster",
            "acme-prod/orders",
            "run `encrypted-queue adopt --from-cluster other-cluster`",
        ),
        ("another object", "encryptedqueue.dev/cluster", crate::declare::CLUSTER, "acme-prod/theirs", "belongs to acme-prod/theirs"),
    ];
    for (who, _, cluster, object, says) in owned {
        let mut world = world_with(&scene, &[]);
        let tags = [("cluster", cluster), ("object", object), ("tenant", "acme")];
        let tags = tags.map(|(name, value)| (format!("encryptedqueue.dev/{name}"), value.to_owned()));
        queue_mut(&mut world, &scene, SOURCE).tags.extend(tags);
        let run = world.settle(&scene);
        assert_eq!(run.held(), ["QueueConflict"], "{who}");
        assert!(run.names().iter().all(|did| did == "ReadQueues"), "{:?}", run.names());
        let ready = world.queue_status(&named("orders")).conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert!(ready.message.contains(says), "{}", ready.message);
        assert_eq!((world.queue_status(&named("orders")).queue, world.keys.len()), (None, 0));
        // Let go of, it may be had.
        queue_mut(&mut world, &scene, SOURCE).tags.insert("encryptedqueue.dev/released".to_owned(), "2026-11-01T00:00:00Z".to_owned());
        world.settle(&scene);
        world.assert_rest(&scene);
    }
}

#[test]
fn what_cannot_be_taken_over_is_left_alone_and_the_way_out_is_said() {
    let (scene, place) = (taking_over(), taking_over().place());
    let redrive = |name: &str| json!({"deadLetterTargetArn": place.queue_arn(name).as_str(), "maxReceiveCount": "3"}).to_string();
    let without = taking_over().with_queue("orders", json!({"spec": {"deadLetter": null}}));
    let short = taking_over().with_tier(json!({"spec": {"messageRetentionSeconds": {"maximum": 432_000}}}));
    let short = short.with_queue("orders", json!({"spec": {"deadLetter": {"messageRetentionSeconds": 432_000}}}));
    let cases = [
        (Scene::of(&["orders"]), redrive(DEAD_LETTER), "QueueConflict", "spec.adoption: IfUnowned"),
        (
            scene.clone().with_tenant(json!({"spec": {"adoptableQueueNames": ["legacy-*"]}})),
            redrive(DEAD_LETTER),
            "QueueNotAdoptable",
            "spec.adoptableQueueNames of Tenant acme",
        ),
        (scene.clone(), redrive("acme-dead"), "QueueNotAdoptable", "declare spec.deadLetter.name: acme-dead"),
        (without, redrive("acme-dead"), "QueueNotAdoptable", "declare spec.deadLetter.name: acme-dead"),
        (short, redrive(DEAD_LETTER), "QueueNotAdoptable", "declare spec.queue.messageRetentionSeconds"),
    ];
    for (scene, redrive, reason, says) in cases {
        let mut world = world_with(&scene, &[("RedrivePolicy", &redrive)]);
        let before = world.aws.clone();
        let run = world.settle(&scene);
        let ready = world.queue_status(&named("orders")).conditions.into_iter().find(|condition| condition.type_ == "Ready").unwrap();
        assert_eq!((ready.reason.as_str(), run.writes().len()), (reason, 0), "{}", ready.message);
        assert!(ready.message.contains(says), "{}", ready.message);
        assert!(world.aws == before && world.keys.is_empty());
    }
}

#[test]
fn a_retention_that_the_tier_just_allows_is_kept() {
    let retention = |found: &str, minimum: i64, maximum: i64| {
        let scene = taking_over()
            .with_tier(json!({"spec": {"messageRetentionSeconds": {"minimum": minimum, "maximum": maximum}}}))
            .with_queue("orders", json!({"spec": {"deadLetter": {"messageRetentionSeconds": maximum}}}));
        let mut world = world_with(&scene, &[]);
        queue_mut(&mut world, &scene, SOURCE).attributes.insert("MessageRetentionPeriod".to_owned(), found.to_owned());
        let held = world.settle(&scene).held();
        (held, queue_mut(&mut world, &scene, SOURCE).attributes.contains_key("KmsMasterKeyId"))
    };
    assert_eq!(retention("604800", 60, 604_800), (vec![], true));
    assert_eq!(retention("300000", 300_000, 604_800), (vec![], true));
    assert_eq!(retention("299999", 300_000, 604_800), (vec!["QueueNotAdoptable"], false));
}

#[test]
fn a_key_that_the_queue_names_otherwise_is_on_record_by_its_arn() {
    let scene = taking_over();
    for name in ["alias/theirs", "key-1"] {
        let mut world = World::default();
        let now = world.now;
        let policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
        let theirs = world.aws.create_key(&scene.place(), policy, &[].into(), "a stranger's", now);
        world.aws.at_mut(&scene.place()).aliases.insert("alias/theirs".to_owned(), theirs.id.clone());
        exists(&mut world, &scene, SOURCE, &[("KmsMasterKeyId", name)]);
        world.settle(&scene);
        let previous = world.queue_status(&named("orders")).previous_keys;
        assert_eq!(previous.iter().map(|previous| &previous.arn).collect::<Vec<_>>(), [&theirs.arn]);
    }
}

#[test]
fn a_key_that_was_left_before_is_still_on_record_when_a_dead_letter_queue_is_taken_over() {
    let before =
        taking_over().with_tenant(json!({"spec": {"adoptableQueueNames": ["acme-*"]}})).with_queue("orders", json!({"spec": {"deadLetter": null}}));
    let mut world = World::default();
    world.settle(&before);
    let old = own_key(&world);
    let moved = before.in_another_tier();
    world.settle(&moved);
    let after = moved.with_queue("orders", json!({"spec": {"deadLetter": {"name": "acme-dead"}}}));
    exists(&mut world, &after, "acme-dead", &[("KmsMasterKeyId", FOREIGN)]);
    world.settle(&after);
    let status = world.queue_status(&named("orders"));
    assert!(status.adoption.is_some_and(|adoption| adoption.completed_at.is_some()));
    let previous: Vec<_> = status.previous_keys.iter().map(|previous| (previous.arn.as_str(), previous.managed)).collect();
    assert_eq!(previous, [(old.as_str(), true), (FOREIGN, false)]);
}

#[test]
fn a_dead_letter_queue_that_others_use_is_not_taken_from_them() {
    let scene = taking_over();
    let mut world = world_with(&scene, &[]);
    let redrive = json!({"deadLetterTargetArn": scene.place().queue_arn(DEAD_LETTER).as_str(), "maxReceiveCount": 3}).to_string();
    exists(&mut world, &scene, DEAD_LETTER, &[]);
    exists(&mut world, &scene, "billing", &[("RedrivePolicy", &redrive)]);
    let run = world.settle(&scene);
    assert_eq!((run.held(), run.writes().len()), (vec!["QueueNotAdoptable"], 0));
    world.aws.at_mut(&scene.place()).queues.remove("billing");
    world.settle(&scene);
    world.assert_rest(&scene);
}

#[test]
fn a_dead_letter_queue_is_taken_over_by_its_name() {
    let scene = taking_over()
        .with_tenant(json!({"spec": {"adoptableQueueNames": ["acme-*"]}}))
        .with_queue("orders", json!({"spec": {"deadLetter": {"name": "acme-dead"}}}));
    let redrive = json!({"deadLetterTargetArn": scene.place().queue_arn("acme-dead").as_str(), "maxReceiveCount": 9}).to_string();
    let mut world = world_with(&scene, &[("RedrivePolicy", &redrive)]);
    exists(&mut world, &scene, "acme-dead", &[]);
    world.settle(&scene);
    world.assert_rest(&scene);
    let site = world.aws.at(&scene.place());
    assert_eq!(site.queues["acme-dead"].attributes.get("KmsMasterKeyId"), Some(&own_key(&world)));
    assert!(site.queues[SOURCE].attributes["RedrivePolicy"].contains("acme-dead") && !site.queues.contains_key(DEAD_LETTER));
    assert_eq!(world.queue_status(&named("orders")).dead_letter_queue.unwrap().name, "acme-dead");
}

#[test]
fn a_setting_that_is_declared_at_last_is_no_longer_kept() {
    let scene = taking_over();
    let mut world = world_with(&scene, &[]);
    world.settle(&scene);
    let visibility = |world: &mut World| queue_mut(world, &scene, SOURCE).attributes["VisibilityTimeout"].clone();
    assert_eq!(visibility(&mut world), "77");
    let declared = taking_over().with_queue("orders", json!({"spec": {"queue": {"visibilityTimeoutSeconds": 90}}}));
    world.settle(&declared);
    world.assert_rest(&declared);
    assert_eq!(visibility(&mut world), "90");
    world.settle(&scene);
    world.assert_rest(&scene);
    assert_eq!(visibility(&mut world), "30", "the default is a value like any other now");
    assert!(queue_mut(&mut world, &scene, SOURCE).attributes["MessageRetentionPeriod"] == "604800", "and the rest stays");
}

#[test]
fn nor_is_one_of_a_dead_letter_queue() {
    let scene = taking_over();
    let mut world = world_with(&scene, &[]);
    exists(&mut world, &scene, DEAD_LETTER, &[]);
    world.settle(&scene);
    let retention = |world: &mut World| queue_mut(world, &scene, DEAD_LETTER).attributes["MessageRetentionPeriod"].clone();
    assert_eq!(retention(&mut world), "604800");
    let declared = taking_over().with_queue("orders", json!({"spec": {"deadLetter": {"messageRetentionSeconds": 86_400}}}));
    world.settle(&declared);
    assert_eq!(retention(&mut world), "86400");
    world.settle(&scene);
    world.assert_rest(&scene);
    assert_eq!(retention(&mut world), "1209600");
}

#[test]
fn messages_expire_by_the_retention_that_was_found_also_when_less_is_declared() {
    let scene = taking_over().with_queue("orders", json!({"spec": {"queue": {"messageRetentionSeconds": 86_400}}}));
    let mut world = world_with(&scene, &[("KmsMasterKeyId", FOREIGN)]);
    world.settle(&scene);
    let status = world.queue_status(&named("orders"));
    let previous = &status.previous_keys[0];
    // The new dead-letter queue keeps them as long as it is declared to, the queue as long as it did.
    assert!(previous.decrypt_until.0 >= previous.switched_at.0 + SignedDuration::from_secs(120 + WEEK));
    assert_eq!(queue_mut(&mut world, &scene, SOURCE).attributes["MessageRetentionPeriod"], "86400");
}

#[test]
fn where_access_needs_an_approval_nothing_is_touched_before_it() {
    let scene = taking_over().with_tier(json!({"spec": {"approval": "OnWidening"}}));
    let mut world = world_with(&scene, &[("KmsMasterKeyId", FOREIGN)]);
    let before = world.aws.clone();
    let run = world.settle(&scene);
    assert!(run.held().contains(&"AwaitingApproval"), "{:?}", run.held());
    assert_eq!(world.aws, before);
}

#[test]
fn under_a_shared_key_it_is_one_queue_among_others() {
    let scene = Scene::sharing_a_key(&["billing", "orders"])
        .with_tenant(json!({"spec": {"adoptableQueueNames": ["acme-acme-prod-*"]}}))
        .with_queue("orders", json!({"spec": {"adoption": "IfUnowned"}}));
    let mut world = world_with(&scene, &[("SqsManagedSseEnabled", "true")]);
    world.settle(&scene);
    world.assert_rest(&scene);
    assert_eq!(world.aws.keys().count(), 1);
    let key = world.aws.keys().next().unwrap();
    let capabilities = |name: &str| {
        let grants = read_key(key, &scene).grants[&scene.place().queue_arn(name)].clone();
        grants.iter().map(|grant| grant.capability).collect::<Vec<_>>()
    };
    assert_eq!(capabilities(SOURCE), capabilities("acme-acme-prod-billing"));
}

#[test]
fn another_tier_in_mid_adoption_takes_the_other_key() {
    let scene = taking_over();
    let mut world = world_with(&scene, &[("KmsMasterKeyId", FOREIGN)]);
    let (mut did, name) = (Vec::new(), named("orders"));
    for _ in 0..2 {
        world.pass_over_queue(&scene, &name, false, &mut Faults::none(), &mut did);
        for key in world.keys.keys().cloned().collect::<Vec<_>>() {
            world.pass_over_key(&scene, &key, false, &mut Faults::none(), &mut did);
        }
    }
    let shared = scene.with_tier(json!({"spec": {"key": {"scope": "Tenant"}}}));
    world.settle(&shared);
    world.assert_rest(&shared);
    let queue = queue_mut(&mut world, &shared, SOURCE).clone();
    let status = world.queue_status(&name);
    assert_eq!(queue.attributes.get("KmsMasterKeyId"), status.key.unwrap().arn.as_ref());
    assert_eq!(status.previous_keys.iter().map(|previous| previous.arn.as_str()).collect::<Vec<_>>(), [FOREIGN]);
    assert_eq!(world.keys.len(), 1, "the key it was never under has ended");
}

#[test]
fn an_adopted_queue_is_one_like_any_other() {
    let scene = taking_over();
    let mut world = world_with(&scene, &[]);
    world.settle(&scene);
    let edited = taking_over().with_queue("orders", json!({"spec": {"consumers": [{"role": role("acme-second")}], "adoption": "Never"}}));
    world.settle(&edited);
    world.assert_rest(&edited);
    let policy = read_queue(world.aws.at(&scene.place()).queues.get(SOURCE), QueueKind::Source, &scene.place().queue_arn(SOURCE), &scene.place());
    assert!(policy.grants.iter().any(|grant| grant.capability == Capability::Receive && grant.principal.to_string() == role("acme-second")));
    world.settle(&edited.deleted("orders"));
    assert!(queue_mut(&mut world, &scene, SOURCE).tags.contains_key("encryptedqueue.dev/released"));
    assert_eq!(encrypted_queue::api::DeletionPolicy::default(), DeletionPolicy::Retain);
    let again = made(&Scene::of(&["orders"]));
    assert_eq!(again.keys.len(), 1);
}
