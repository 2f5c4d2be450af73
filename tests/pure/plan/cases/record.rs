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
fn another_queue_in_status_is_neither_read_nor_written() {
    let edits: [fn(&mut World); 4] = [
        |world| status(world).queue = Some(reference("strangers")),
        |world| status(world).queue.as_mut().unwrap().url = reference("strangers").url,
        |world| status(world).queue.as_mut().unwrap().arn = reference("strangers").arn,
        |world| *status(world) = Default::default(),
    ];
    for edit in edits {
        let (mut world, scene) = orders();
        let stranger = super::Queue::default();
        world.aws.at_mut(&scene.place()).queues.insert("strangers".to_owned(), stranger.clone());
        let before = world.queue_status(&named("orders")).queue;
        world.meddle(edit);
        let run = world.settle(&scene);
        let read = run.did.iter().any(|did| matches!(did, Did::Queue(QueueAction::ReadQueues { source, .. }) if source.name == SOURCE));
        assert!(read && run.writes().is_empty(), "{:?}", run.did);
        assert_eq!(world.queue_status(&named("orders")).queue, before);
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

fn status(world: &mut World) -> &mut encrypted_queue::api::EncryptedQueueStatus {
    &mut world.queues.get_mut(&named("orders")).unwrap().status.0
}
