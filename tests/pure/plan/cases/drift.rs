//! Someone else changes a queue.

use super::{DEAD_LETTER, SOURCE, key_mut, orders, queue_mut};
use crate::plan::aws::Queue;
use crate::plan::operator::Run;
use crate::plan::world::{Scene, World};

/// What a check does after someone changed this queue; everything is as declared then.
fn repair(name: &str, change: impl Fn(&mut Queue)) -> Vec<String> {
    let (mut world, scene) = orders();
    world.meddle(|world| change(queue_mut(world, &scene, name)));
    let run = world.check(&scene);
    world.assert_rest(&scene);
    run.writes()
}

#[test]
fn each_attribute_is_set_again() {
    let (world, scene) = orders();
    for name in [SOURCE, DEAD_LETTER] {
        for (attribute, value) in world.aws.at(&scene.place()).queues[name].attributes.clone() {
            let wrong = match attribute.as_str() {
                "Policy" => r#"{"Version":"2012-10-17","Statement":[]}"#,
                _ if value.parse::<u32>().is_ok() => "61",
                _ => "{}",
            };
            let writes = repair(name, |queue| drop(queue.attributes.insert(attribute.clone(), wrong.to_owned())));
            assert_eq!(writes, ["SetQueueAttributes"], "{attribute} of {name}");
            let writes = repair(name, |queue| drop(queue.attributes.remove(&attribute)));
            assert_eq!(writes, ["SetQueueAttributes"], "{attribute} of {name}");
        }
    }
}

#[test]
fn a_queue_switched_to_sse_sqs_gets_its_key_back() {
    assert_eq!(repair(SOURCE, Queue::switch_to_sse_sqs), ["SetQueueAttributes"]);
}

#[test]
fn a_redrive_policy_that_nobody_declared_is_cleared() {
    let writes = repair(DEAD_LETTER, |queue| drop(queue.attributes.insert("RedrivePolicy".to_owned(), r#"{"maxReceiveCount":1}"#.to_owned())));
    assert_eq!(writes, ["SetQueueAttributes"]);
}

#[test]
fn a_redrive_policy_in_other_words_is_left_alone() {
    let writes = repair(SOURCE, |queue| {
        let policy: serde_json::Value = serde_json::from_str(&queue.attributes["RedrivePolicy"]).unwrap();
        let count = policy["maxReceiveCount"].to_string();
        let said = serde_json::json!({"maxReceiveCount": count, "deadLetterTargetArn": policy["deadLetterTargetArn"]});
        queue.attributes.insert("RedrivePolicy".to_owned(), said.to_string());
    });
    assert_eq!(writes, [""; 0]);
}

#[test]
fn a_statement_that_someone_added_is_removed() {
    let added = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}]}"#;
    assert_eq!(repair(SOURCE, |queue| drop(queue.attributes.insert("Policy".to_owned(), added.to_owned()))), ["SetQueueAttributes"]);
}

/// What no policy of ours looks like, and what nobody can read.
fn strange_policies() -> Vec<String> {
    let enormous = |statements: usize| {
        let statement = r#"{"Sid":"x","Effect":"Allow","Principal":{"AWS":"*"},"Action":"sqs:*","Resource":"*"}"#;
        format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, vec![statement; statements].join(","))
    };
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let texts = ["no JSON", "{}", "[]", "null", r#"{"Statement":[{"Effect":"Perhaps"}]}"#, r#"{"Statement":{"Effect":"Allow","Principal":7}}"#];
    texts.into_iter().map(str::to_owned).chain([deep, enormous(1_000), enormous(20_000)]).collect()
}

#[test]
fn a_queue_policy_that_nobody_can_read_is_repaired() {
    for policy in strange_policies() {
        for name in [SOURCE, DEAD_LETTER] {
            let writes = repair(name, |queue| drop(queue.attributes.insert("Policy".to_owned(), policy.clone())));
            assert_eq!(writes, ["SetQueueAttributes"], "{name}: {policy:.80}");
        }
    }
}

#[test]
fn a_key_policy_that_nobody_can_read_is_repaired_and_of_a_paused_queue_told() {
    for policy in strange_policies() {
        let (mut world, scene) = orders();
        world.meddle(|world| key_mut(world, &scene).policy.clone_from(&policy));
        let (mut paused, held) = (world.clone(), scene.clone().paused("orders"));
        let told = paused.check(&held);
        assert_eq!(told.writes(), [""; 0], "{policy:.80}");
        assert!(told.told().iter().any(|said| said.contains("put the policy of key")), "{:?}", told.told());
        assert_eq!(world.check(&scene).writes(), ["PutKeyPolicy"], "{policy:.80}");
        world.assert_rest(&scene);
    }
}

#[test]
fn tags_are_written_again_and_foreign_ones_stay() {
    assert_eq!(repair(SOURCE, |queue| drop(queue.tags.insert("workload".to_owned(), "other".to_owned()))), ["TagQueue"]);
    assert_eq!(repair(SOURCE, |queue| drop(queue.tags.remove("owner"))), ["TagQueue"]);
    assert_eq!(repair(SOURCE, |queue| drop(queue.tags.insert("backup".to_owned(), "daily".to_owned()))), [""; 0]);
}

#[test]
fn a_queue_deleted_by_hand_is_made_again() {
    let (mut world, scene) = orders();
    world.meddle(|world| drop(world.aws.at_mut(&scene.place()).queues.remove(SOURCE)));
    assert_eq!(world.check(&scene).writes(), ["CreateQueue"]);
    world.assert_rest(&scene);
}

#[test]
fn a_queue_with_anothers_tags_is_left_alone() {
    let (mut world, scene) = orders();
    world.meddle(|world| {
        let queue = queue_mut(world, &scene, SOURCE);
        queue.tags.insert("encryptedqueue.dev/cluster".to_owned(), "another".to_owned());
        queue.attributes.insert("VisibilityTimeout".to_owned(), "1".to_owned());
    });
    let run: Run = world.check(&scene);
    assert_eq!((run.writes(), run.held()), (vec![], vec!["QueueConflict"]));
}

#[test]
fn drift_that_nothing_told_of_waits_for_a_check() {
    let (mut world, scene): (World, Scene) = orders();
    world.meddle(|world| drop(queue_mut(world, &scene, SOURCE).attributes.insert("DelaySeconds".to_owned(), "9".to_owned())));
    assert_eq!(world.settle(&scene).names(), [""; 0]);
    assert_eq!(world.check(&scene).names(), ["ReadQueues", "ForgetApplied", "SetQueueAttributes", "ReadKey"]);
}

/// By a clock that was set back the queue is made in the future.
#[test]
fn a_clock_that_was_set_back_holds_nobody_up() {
    let (mut world, scene) = orders();
    world.now -= jiff::SignedDuration::from_hours(1);
    let run = world.settle(&scene);
    assert_eq!((run.writes(), run.held()), (Vec::new(), Vec::new()));
    world.assert_rest(&scene);
}
