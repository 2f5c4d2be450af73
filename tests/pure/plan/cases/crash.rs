//! The process dies, or an answer is lost, while a key is being made.

use encrypted_queue::plan::state::{KeyLifecycle, Tags};
use jiff::SignedDuration;

use crate::plan::operator::Did;
use crate::plan::worker::{Fault, Faults, KeyWorker, Step};
use crate::plan::world::{Scene, WINDOW, World};

/// Actions of the first passes: ReadQueues, AddFinalizer, EnsureKey, FindByAlias, then these.
const RECORD_NONCE: usize = 4;
const CREATE_KEY: usize = 5;

fn befallen(at: usize, fault: Fault, tags_visible_after: SignedDuration) -> (World, Scene) {
    let (mut world, scene) = (World::default(), Scene::of(&["orders"]));
    world.aws.tags_visible_after = tags_visible_after;
    world.run(&scene, false, Faults::on(at, fault));
    (world, scene)
}

fn delays() -> [SignedDuration; 3] {
    [SignedDuration::ZERO, SignedDuration::from_secs(40), WINDOW.0 - SignedDuration::from_secs(1)]
}

#[test]
fn between_nonce_and_create_key() {
    for delay in delays() {
        let (mut world, scene) = befallen(RECORD_NONCE, Fault::Crash, delay);
        assert_eq!((world.nonces, world.aws.keys().count()), (1, 0));
        let began = world.now;
        world.settle(&scene);
        world.assert_rest(&scene);
        assert_eq!((world.nonces, world.aws.keys().count()), (2, 1));
        assert!(world.now >= began + WINDOW.0, "a key may have been made, and its tags may be late");
    }
}

#[test]
fn between_create_key_and_record_key() {
    for delay in delays() {
        let (mut world, scene) = befallen(CREATE_KEY, Fault::Crash, delay);
        assert_eq!(world.aws.keys().count(), 1);
        let began = world.now;
        world.settle(&scene);
        world.assert_rest(&scene);
        assert_eq!((world.nonces, world.aws.keys().count()), (1, 1));
        let slack = SignedDuration::from_secs(16);
        assert!(world.now <= began + delay + slack, "a key that shows is taken at once");
    }
}

#[test]
fn the_answer_of_create_key_is_lost() {
    for delay in delays() {
        let (mut world, scene) = befallen(CREATE_KEY, Fault::LostAnswer, delay);
        world.settle(&scene);
        world.assert_rest(&scene);
        assert_eq!(world.aws.keys().count(), 1);
    }
}

#[test]
fn a_refused_create_key_is_tried_again_without_a_search() {
    let (mut world, scene) = (World::default(), Scene::of(&["orders"]));
    let began = world.now;
    let run = world.run(&scene, false, Faults::on(CREATE_KEY, Fault::Refusal));
    assert!(!run.names().contains(&"FindByTags".to_owned()), "{:?}", run.names());
    world.assert_rest(&scene);
    assert_eq!(world.now.duration_since(began).as_secs(), 1, "the queue's first second, and no window");
}

/// Names of the next actions of a pass over the only key.
fn next<const N: usize>(pass: &mut KeyWorker, world: &mut World, scene: &Scene) -> [String; N] {
    std::array::from_fn(|_| match pass.step(world, scene, &mut Faults::none()) {
        Step::Did(action) => Did::Key(action).name(),
        other => panic!("{other:?}"),
    })
}

fn pass_over_key(world: &World, scene: &Scene) -> KeyWorker {
    KeyWorker::begin(world, scene, world.keys.keys().next().unwrap(), false)
}

#[test]
fn a_search_that_took_as_long_as_the_window_is_made_again() {
    let (mut world, scene) = befallen(CREATE_KEY, Fault::Crash, SignedDuration::from_secs(40));
    let mut pass = pass_over_key(&world, &scene);
    assert_eq!(next(&mut pass, &mut world, &scene), ["FindByTags"]);
    // The tags were not visible yet when it began.
    world.wait(WINDOW.0.as_secs());
    assert_eq!(next(&mut pass, &mut world, &scene), ["FindByTags", "ReadKey", "RecordKey"]);
    assert_eq!(world.aws.keys().count(), 1);
}

#[test]
fn a_pass_that_was_held_up_after_its_nonce_writes_another_one() {
    let (mut world, scene) = befallen(RECORD_NONCE - 1, Fault::Crash, SignedDuration::from_secs(40));
    let mut pass = pass_over_key(&world, &scene);
    assert_eq!(next(&mut pass, &mut world, &scene), ["FindByAlias", "RecordNonce"]);
    world.wait(WINDOW.0.as_secs());
    assert_eq!(next(&mut pass, &mut world, &scene), ["RecordNonce", "CreateKey"]);
    // The process dies; a search counts from the second nonce.
    world.settle(&scene);
    world.assert_rest(&scene);
    assert_eq!(world.aws.keys().count(), 1);
}

/// Tags that anyone could have given a key.
fn our_tags(world: &World, scene: &Scene) -> Tags {
    let name = world.keys.keys().next().unwrap();
    world.desired_key(scene, name).tags
}

#[test]
fn keys_that_bear_our_tags_but_not_all_our_marks_are_not_taken() {
    let (world, scene) = befallen(RECORD_NONCE, Fault::Crash, SignedDuration::ZERO);
    let forged = our_tags(&world, &scene);
    let with_nonce: Tags = forged.clone().into_iter().chain([("encryptedqueue.dev/nonce".to_owned(), "nonce-1".to_owned())]).collect();
    let policy = r#"{"Version":"2012-10-17","Id":"encryptedqueue.dev/nonce-1","Statement":[]}"#;
    let foreign_policy = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let of_earlier: Tags = forged.clone().into_iter().chain([("encryptedqueue.dev/nonce".to_owned(), "nonce-0".to_owned())]).collect();
    let earlier = (of_earlier, r#"{"Version":"2012-10-17","Id":"encryptedqueue.dev/nonce-0","Statement":[]}"#, "(nonce-0)", 0);
    let cases = [
        ("another nonce", vec![(forged.clone(), policy, "(nonce-1)", 0)]),
        ("another description", vec![(with_nonce.clone(), policy, "mine", 0)]),
        ("another policy id", vec![(with_nonce.clone(), foreign_policy, "(nonce-1)", 0)]),
        ("older than the nonce", vec![(with_nonce.clone(), policy, "(nonce-1)", -3600)]),
        ("two, and neither has all", vec![(with_nonce.clone(), foreign_policy, "(nonce-1)", 0), (forged.clone(), policy, "(nonce-1)", 0)]),
        ("two that only their policies tell", vec![(with_nonce.clone(), policy, "theirs", 0), (forged.clone(), policy, "theirs too", 0)]),
        ("one by its tags, the other of an earlier nonce", vec![(with_nonce.clone(), foreign_policy, "(nonce-1)", 0), earlier.clone()]),
        ("one by its policy, the other of an earlier nonce", vec![(with_nonce.clone(), policy, "mine", 0), earlier]),
        ("one that fits and one that nobody knows", vec![(with_nonce.clone(), policy, "(nonce-1)", 0), (with_nonce, foreign_policy, "mine", 0)]),
    ];
    for (case, keys) in cases {
        let mut world = world.clone();
        for (tags, policy, description, age) in keys {
            let made_at = world.now + SignedDuration::from_secs(age);
            world.aws.create_key(&scene.place(), policy, &tags, description, made_at);
        }
        let before = world.aws.clone();
        let run = world.settle(&scene);
        assert!(run.held().contains(&"AmbiguousOwnership"), "{case}: {:?}", run.ends);
        assert!(run.told().iter().any(|message| message.contains("key-1") && message.contains("remove the tags")), "{case}: {:?}", run.told());
        assert_eq!(world.aws, before, "{case}");
    }
    // Nothing says more of one that does not fit than its marks, and it may be one that the operator must not read.
    let mut world = world;
    let now = world.now;
    world.aws.create_key(&scene.place(), policy, &forged, "(nonce-1)", now);
    let run = world.settle(&scene);
    assert!(!run.names().iter().any(|name| name == "ReadEvidence" || name == "ReadKey"), "{:?}", run.names());
    assert!(run.told().iter().any(|message| message.contains("not all of its marks")), "{:?}", run.told());
}

/// Keys that all bear the nonce and every other mark: each as if an answer had been lost.
fn made_thrice() -> (World, Scene) {
    let (mut world, scene) = befallen(CREATE_KEY, Fault::Crash, SignedDuration::ZERO);
    let made = world.aws.keys().next().unwrap().clone();
    for later in [1, 2] {
        let made_at = made.metadata.created_at.unwrap() + SignedDuration::from_secs(later);
        world.aws.create_key(&scene.place(), &made.policy, &made.tags, &made.metadata.description, made_at);
    }
    world.wait(2);
    (world, scene)
}

#[test]
fn of_three_keys_with_the_nonce_one_is_taken_and_the_others_end() {
    let (mut world, scene) = made_thrice();
    world.settle(&scene);
    world.assert_rest(&scene);
    let ends: Vec<_> = world.aws.keys().filter(|key| key.metadata.lifecycle == KeyLifecycle::PendingDeletion).collect();
    assert_eq!(ends.len(), 2);
    for key in ends {
        assert_eq!(key.tags["encryptedqueue.dev/superseded-by"], "key-1", "the oldest stays");
        assert_eq!(key.metadata.deletion_date.unwrap().duration_since(world.now).as_hours() / 24, 29, "{key:?}");
    }
}

#[test]
fn of_several_keys_the_one_that_is_used_stays() {
    let (mut world, scene) = made_thrice();
    let place = scene.place();
    let queue = super::Queue { attributes: [("KmsMasterKeyId".to_owned(), place.key_arn("key-3"))].into(), ..super::Queue::default() };
    world.aws.at_mut(&place).queues.insert("strangers".to_owned(), queue.clone());
    let mut one = world.clone();
    one.settle(&scene);
    assert_eq!(one.keys.values().next().unwrap().status.0.key_id.as_deref(), Some("key-3"));
    // Two that may be needed, or use that KMS does not tell: a person decides.
    let now = world.now;
    let mut used = world.clone();
    used.aws.at_mut(&place).keys.get_mut("key-2").unwrap().used = Some((now, "Decrypt".to_owned()));
    let mut hidden = world;
    hidden.aws.at_mut(&place).queues.clear();
    hidden.aws.hides_use = true;
    for mut world in [used, hidden] {
        let before = world.aws.clone();
        let run = world.settle(&scene);
        assert!(run.held().contains(&"AmbiguousOwnership"), "{:?}", run.ends);
        assert!(run.told().iter().any(|message| message.contains("key-1, key-2, key-3")), "{:?}", run.told());
        assert_eq!(world.aws, before);
    }
}

#[test]
fn a_crash_among_several_keys_leads_to_the_same_end() {
    for at in 0..8 {
        for fault in [Fault::Crash, Fault::LostAnswer, Fault::Refusal] {
            let (mut world, scene) = made_thrice();
            world.run(&scene, false, Faults::on(at, fault));
            world.settle(&scene);
            world.assert_rest(&scene);
            assert_eq!((world.aws.keys().count(), world.nonces), (3, 1), "{fault:?} {at}");
        }
    }
}

#[test]
fn a_key_of_another_cluster_is_not_in_the_way() {
    let (mut world, scene) = befallen(RECORD_NONCE, Fault::Crash, SignedDuration::ZERO);
    let mut theirs = our_tags(&world, &scene);
    theirs.insert("encryptedqueue.dev/cluster".to_owned(), "another".to_owned());
    let now = world.now;
    world.aws.create_key(&scene.place(), "{}", &theirs, "theirs", now);
    world.settle(&scene);
    world.assert_rest(&scene);
}

#[test]
fn a_key_that_someone_disabled_before_it_was_recorded_is_still_the_one() {
    let (mut world, scene) = befallen(CREATE_KEY, Fault::Crash, SignedDuration::ZERO);
    super::key_mut(&mut world, &scene).metadata.lifecycle = KeyLifecycle::Disabled;
    world.settle(&scene);
    world.assert_rest(&scene);
    assert_eq!(world.aws.keys().count(), 1);
}
