//! Somebody edits an EncryptedQueue's or a QueueKey's status.

use encrypted_queue::api::encrypted_queue::QueueReference;
use encrypted_queue::plan::QueueAction;

use super::{SOURCE, orders};
use crate::plan::operator::Did;
use crate::plan::worker::Faults;
use crate::plan::world::{World, named};

fn reference(name: &str) -> QueueReference {
    QueueReference {
        name: name.to_owned(),
        url: format!("https://sqs.eu-west-1.amazonaws.com/111122223333/{name}"),
        arn: format!("arn:aws:sqs:eu-west-1:111122223333:{name}"),
    }
}

#[test]
fn a_queue_goes_by_no_arn_that_somebody_wrote_into_its_keys_status() {
    let (mut world, scene) = orders();
    let place = scene.place();
    let arn = world.keys.values().next().unwrap().status.0.arn.clone();
    world.meddle(|world| {
        let status = &mut world.keys.values_mut().next().unwrap().status.0;
        (status.key_id, status.arn) = (Some("key-9".to_owned()), Some(place.key_arn("key-9")));
    });
    let mut did = Vec::new();
    let end = world.pass_over_queue(&scene, &named("orders"), true, &mut Faults::none(), &mut did).unwrap();
    assert_eq!(end.obstacle().unwrap().0.as_str(), "WaitingForKey");
    assert!(!did.iter().any(Did::writes_aws), "{did:?}");
    world.wait(600);
    world.settle(&scene);
    world.assert_rest(&scene);
    assert_eq!(world.keys.values().next().unwrap().status.0.arn, arn);
}

#[test]
fn another_queue_or_key_in_status_is_neither_read_nor_written() {
    let edits: [fn(&mut World); 6] = [
        |world| status(world).key.as_mut().unwrap().name = "another".to_owned(),
        |world| status(world).key.as_mut().unwrap().arn = Some("arn:aws:kms:eu-west-1:111122223333:key/key-9".to_owned()),
        |world| status(world).queue = Some(reference("strangers")),
        |world| status(world).queue.as_mut().unwrap().url = reference("strangers").url,
        |world| status(world).queue.as_mut().unwrap().arn = reference("strangers").arn,
        |world| *status(world) = encrypted_queue::api::EncryptedQueueStatus::default(),
    ];
    for edit in edits {
        let (mut world, scene) = orders();
        let stranger = super::Queue::default();
        world.aws.at_mut(&scene.place()).queues.insert("strangers".to_owned(), stranger.clone());
        let (before, key) = (world.queue_status(&named("orders")).queue, world.queue_status(&named("orders")).key);
        world.meddle(edit);
        let run = world.settle(&scene);
        let reads = |did: &Did| matches!(did, Did::Queue(QueueAction::ReadQueues { source, .. }) if source.name != SOURCE);
        assert!(!run.did.iter().any(reads) && run.writes().is_empty(), "{:?}", run.did);
        let status = world.queue_status(&named("orders"));
        assert_eq!((status.queue, status.key, status.previous_keys), (before, key, vec![]));
        world.assert_rest(&scene);
        assert_eq!(world.aws.at(&scene.place()).queues["strangers"], stranger);
    }
}

#[test]
fn the_end_finds_the_queues_by_their_names() {
    let (mut world, scene) = orders();
    world.meddle(|world| status(world).queue = Some(reference("strangers")));
    world.settle(&scene.clone().deleted("orders"));
    let queues = &world.aws.at(&scene.place()).queues;
    assert!(queues[SOURCE].tags.contains_key("encryptedqueue.dev/released"));
    assert!(world.queues.is_empty() && world.keys.is_empty());
}

#[test]
fn tags_that_somebody_took_off_a_queue_are_put_back() {
    let (world, scene) = orders();
    let stripped = || {
        let mut world = world.clone();
        world.meddle(|world| world.aws.at_mut(&scene.place()).queues.values_mut().for_each(|queue| queue.tags.clear()));
        world
    };
    let mut taken_off = stripped();
    assert_eq!(taken_off.check(&scene).writes(), ["TagQueue", "TagQueue"]);
    taken_off.assert_rest(&scene);
    let mut ending = stripped();
    ending.settle(&scene.clone().deleted("orders"));
    assert!(ending.aws.queues().all(|(_, queue)| queue.tags.contains_key("encryptedqueue.dev/released")));
    // Under another key nothing tells whose it is.
    let mut moved = stripped();
    moved.meddle(|world| super::queue_mut(world, &scene, SOURCE).switch_to_sse_sqs());
    let before = moved.aws.at(&scene.place()).queues[SOURCE].clone();
    let run = moved.check(&scene);
    assert_eq!(run.held(), ["QueueConflict"]);
    assert!(run.told()[0].contains("give it its tags"), "{:?}", run.told());
    assert_eq!(moved.aws.at(&scene.place()).queues[SOURCE], before);
}

fn status(world: &mut World) -> &mut encrypted_queue::api::EncryptedQueueStatus {
    &mut world.queues.get_mut(&named("orders")).unwrap().status.0
}
