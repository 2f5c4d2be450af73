//! Properties of every run. The invariants are judged after every single action of each: see [`super::judge`].

use std::collections::BTreeMap;

use jiff::SignedDuration;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::Config;

use super::judge::{as_declared, read_key, read_queue};
use super::strategies::{Setting, choice, fault, faults, meddling, setting};
use super::worker::{Fault, Faults, KeyWorker, QueueWorker, Step};
use super::world::{Scene, WINDOW, World, named};
use encrypted_queue::plan::state::KeyLifecycle;
use encrypted_queue::policy::queue_policy::QueueKind;

/// Cases of each property; `PROPTEST_CASES` asks for more.
fn cases(default: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// How long tags of a new key stay hidden: never as long as the window.
fn delay() -> impl Strategy<Value = SignedDuration> {
    prop_oneof![Just(SignedDuration::ZERO), (1..WINDOW.0.as_secs()).prop_map(SignedDuration::from_secs)]
}

/// What AWS holds of queues that are not let go of and of their keys, but for the names of keys and nonces and the words of policies.
fn essence(world: &World, scene: &Scene) -> impl PartialEq + std::fmt::Debug {
    let (place, site) = (scene.place(), world.aws.at(&scene.place()));
    let queues: BTreeMap<_, _> = site
        .queues
        .iter()
        .filter(|(_, queue)| !queue.tags.contains_key("encryptedqueue.dev/released"))
        .map(|(name, queue)| {
            let which = if name.ends_with("-dlq") { QueueKind::DeadLetter } else { QueueKind::Source };
            let settings: BTreeMap<_, _> =
                queue.attributes.iter().filter(|(name, _)| !["KmsMasterKeyId", "Policy"].contains(&name.as_str())).collect();
            let key =
                queue.attributes.get("KmsMasterKeyId").and_then(|arn| world.keys.iter().find(|(_, key)| key.status.0.arn.as_ref() == Some(arn)));
            let said = read_queue(Some(queue), which, &place.queue_arn(name), &place);
            (name.clone(), format!("{settings:?} {:?} {:?} {said:?}", queue.tags, key.map(|(name, _)| name)))
        })
        .collect();
    let keys: BTreeMap<_, _> = world
        .keys
        .iter()
        .filter_map(|(name, object)| {
            let id = object.status.0.key_id.as_ref()?;
            let key = &site.keys[id];
            let tags: BTreeMap<_, _> = key.tags.iter().filter(|(name, _)| !name.ends_with("/nonce")).collect();
            let aliases: Vec<_> = site.aliases.iter().filter(|(_, target)| *target == id).map(|(alias, _)| alias).collect();
            let users: Vec<_> = object.status.0.users.iter().map(|user| (&user.name, &user.grants_sha256)).collect();
            let said = read_key(key, scene);
            Some((name.clone(), format!("{:?} {tags:?} {aliases:?} {:?} {users:?} {said:?}", key.metadata.lifecycle, key.rotation)))
        })
        .collect();
    let live = site.keys.values().filter(|key| key.metadata.lifecycle != KeyLifecycle::PendingDeletion).count();
    (queues, keys, live)
}

proptest! {
    #![proptest_config(cases(300))]

    /// Whatever was half done, by us and by others, the loop comes to rest with everything as declared, and then finds nothing to do.
    #[test]
    fn from_any_state_everything_becomes_as_declared(
        setting in setting(), delay in delay(), past in vec((choice(), faults(fault())), 1..4), meddlings in vec(meddling(), 0..3), last in choice(),
    ) {
        let mut world = setting.world(delay);
        for (choice, faults) in &past {
            world.run(&choice.scene(setting), false, *faults);
        }
        let scene = last.scene(setting);
        for meddling in &meddlings {
            meddling.apply(&mut world, &scene);
        }
        if meddlings.is_empty() { world.settle(&scene) } else { world.check(&scene) };
        world.assert_rest(&scene);
    }

    /// Killed after any action, or with its answer lost, or refused, and started again from what is recorded: the same end, and no second key.
    #[test]
    fn a_fault_anywhere_leads_to_the_same_end(setting in setting(), delay in delay(), first in choice(), then in choice(), faults in faults(fault()), fresh in any::<bool>()) {
        let mut undisturbed = setting.world(delay);
        if !fresh {
            undisturbed.settle(&first.scene(setting));
        }
        let (mut disturbed, scene) = (undisturbed.clone(), then.scene(setting));
        undisturbed.settle(&scene);
        disturbed.run(&scene, false, faults);
        disturbed.settle(&scene);
        prop_assert_eq!(as_declared(&disturbed, &scene), Ok(()));
        prop_assert_eq!(format!("{:?}", essence(&undisturbed, &scene)), format!("{:?}", essence(&disturbed, &scene)));
    }

    /// An edit that is taken back after a crash half-way leaves nothing behind, although AWS is not compared with what was there before.
    #[test]
    fn an_edit_taken_back_half_way_leaves_nothing(
        setting in setting(), before in choice(), edit in choice(), at in 0..25_usize, again in prop::option::of(0..12_usize),
    ) {
        let (before, edit) = (before.accepted().scene(setting), edit.scene(setting));
        let mut world = setting.world(SignedDuration::ZERO);
        world.settle(&before);
        let applied = format!("{:?}", essence(&world, &before));
        world.run(&edit, false, Faults::on(at, Fault::Crash));
        if let Some(at) = again {
            world.run(&before, false, Faults::on(at, Fault::Crash));
        }
        world.settle(&before);
        prop_assert_eq!(as_declared(&world, &before), Ok(()));
        prop_assert_eq!(applied, format!("{:?}", essence(&world, &before)));
    }

    /// Passes over all objects at once, in any order of their actions, with edits in between that passes under way do not know of.
    #[test]
    fn interleaved_passes_lead_to_the_same_end(setting in setting(), choices in vec((choice(), vec((0..4_usize, prop::bool::weighted(0.03)), 0..30)), 1..4)) {
        let mut world = setting.world(SignedDuration::ZERO);
        world.interleaved = true;
        let mut passes = Passes::of(setting);
        for (choice, turns) in &choices {
            let scene = choice.scene(setting);
            for (turn, crash) in turns {
                passes.step(&mut world, &scene, *turn, *crash);
            }
        }
        let scene = choices.last().unwrap().0.scene(setting);
        passes.finish(&mut world, &scene);
        world.interleaved = false;
        world.settle(&scene);
        world.assert_rest(&scene);
    }
}

/// At most one pass over each object.
struct Passes {
    setting: Setting,
    queues: BTreeMap<&'static str, QueueWorker>,
    keys: BTreeMap<String, KeyWorker>,
}

impl Passes {
    fn of(setting: Setting) -> Self {
        Self { setting, queues: BTreeMap::new(), keys: BTreeMap::new() }
    }

    /// One action of one pass; it begins if none is under way.
    fn step(&mut self, world: &mut World, scene: &Scene, turn: usize, crash: bool) {
        let mut faults = if crash { Faults::on(0, Fault::Crash) } else { Faults::none() };
        let crashed = if let Some(name) = self.setting.names().get(turn) {
            let worker = self.queues.entry(name).or_insert_with(|| QueueWorker::begin(world, scene, &named(name), false));
            let step = worker.step(world, scene, &mut faults);
            if let Step::Ended(_) = step {
                self.queues.remove(name);
            }
            step == Step::Crashed
        } else {
            let Some(name) = world.keys.keys().nth(turn - self.setting.names().len()).cloned() else { return };
            let worker = self.keys.entry(name.clone()).or_insert_with(|| KeyWorker::begin(world, scene, &name, false));
            let step = worker.step(world, scene, &mut faults);
            if let Step::Ended(_) = step {
                self.keys.remove(&name);
            }
            step == Step::Crashed
        };
        if crashed {
            *self = Self::of(self.setting);
        }
    }

    /// Lets every pass under way end.
    fn finish(&mut self, world: &mut World, scene: &Scene) {
        for _ in 0..100 {
            for turn in 0..4 {
                let under_way = self.setting.names().get(turn).map_or_else(
                    || world.keys.keys().nth(turn - self.setting.names().len()).is_some_and(|name| self.keys.contains_key(name)),
                    |name| self.queues.contains_key(name),
                );
                if under_way {
                    self.step(world, scene, turn, false);
                }
            }
        }
        assert!(self.queues.is_empty() && self.keys.is_empty(), "a pass never ends");
    }
}
