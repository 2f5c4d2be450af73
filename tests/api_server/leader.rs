//! One writer at a time, whatever happens to the Lease, the network and the processes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use encrypted_queue::controller::leader::{LeaderError, Leadership, LeadershipLost, LeaseSettings};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use test_support::{Audited, ControlPlane, User};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::gate::Gate;

const DURATION: Duration = Duration::from_secs(2);
const RENEW_EVERY: Duration = Duration::from_millis(400);
/// What the API server and two busy cores may take.
const SOON: Duration = Duration::from_millis(900);

fn settings(name: &str, identity: &str) -> LeaseSettings {
    let settings = LeaseSettings::new("default", name, identity).with_duration(DURATION);
    LeaseSettings { renew_every: RENEW_EVERY, ..settings }
}

async fn admin() -> Client {
    ControlPlane::shared().await.unwrap().client(User::Admin).await.unwrap()
}

async fn acquire(name: &str, identity: &str) -> Leadership {
    Leadership::acquire(admin().await, settings(name, identity)).await.unwrap()
}

/// One that already waits: it saw the holder's last renewal when it was made.
async fn waiting(name: &'static str, identity: &'static str) -> JoinHandle<(Leadership, Instant)> {
    let acquired = Leadership::acquire(admin().await, settings(name, identity));
    let task = tokio::spawn(async move { (acquired.await.unwrap(), Instant::now()) });
    sleep(RENEW_EVERY * 2).await;
    assert!(!task.is_finished(), "{identity} leads already");
    task
}

async fn leases() -> Api<Lease> {
    Api::namespaced(admin().await, "default")
}

async fn spec(name: &str) -> LeaseSpec {
    leases().await.get(name).await.unwrap().spec.unwrap()
}

async fn patch(leases: &Api<Lease>, name: &str, change: Value) {
    leases.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
}

async fn create(name: &str, spec: Option<LeaseSpec>) {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    leases().await.create(&PostParams::default(), &Lease { metadata, spec }).await.unwrap();
}

async fn writes(name: &str) -> Vec<Audited> {
    let writes = ControlPlane::shared().await.unwrap().writes().unwrap();
    writes.into_iter().filter(|write| write.resource == "leases" && write.name == name).collect()
}

#[tokio::test]
async fn the_holder_writes_once_a_renewal_and_keeps_what_others_added() {
    let leader = acquire("quiet", "a").await;
    let first = spec("quiet").await;
    assert_eq!((first.holder_identity.as_deref(), first.lease_duration_seconds, first.lease_transitions), (Some("a"), Some(2), Some(0)));
    sleep(RENEW_EVERY * 6).await;
    let renewed = spec("quiet").await;
    assert_eq!(renewed.acquire_time, first.acquire_time);
    assert!(renewed.renew_time.as_ref().unwrap().0 > first.renew_time.unwrap().0);
    let (created, renewals) = (1, writes("quiet").await.len() - 1);
    assert!((4..=6).contains(&renewals), "{renewals} renewals in six intervals");
    assert!(writes("quiet").await[created..].iter().all(|write| write.verb == "update" && write.status == 200));

    patch(&leases().await, "quiet", json!({"metadata": {"labels": {"team": "platform"}}})).await;
    sleep(RENEW_EVERY * 2).await;
    leader.check().unwrap();
    let lease = leases().await.get("quiet").await.unwrap();
    assert_eq!(lease.labels()["team"], "platform");
    assert!(lease.spec.unwrap().renew_time.unwrap().0 > renewed.renew_time.unwrap().0, "renewed over the changed version");
}

#[tokio::test]
async fn a_crashed_holder_is_followed_when_its_term_is_over() {
    let leader = acquire("crash", "a").await;
    let next = waiting("crash", "b").await;
    drop(leader);
    let dropped = Instant::now();
    // What others write into the Lease does not prolong the term.
    for label in 0..3 {
        sleep(RENEW_EVERY).await;
        patch(&leases().await, "crash", json!({"metadata": {"labels": {"touched": label.to_string()}}})).await;
    }
    let (next, at) = next.await.unwrap();
    // The last renewal was at most one interval ago.
    let after = at - dropped;
    assert!(after + RENEW_EVERY >= DURATION && after <= DURATION + SOON, "{after:?}");
    next.check().unwrap();
    let spec = spec("crash").await;
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("b"), Some(1)));
}

/// A restarted process cannot know whether its namesake is gone.
#[tokio::test]
async fn a_namesake_is_someone_else() {
    let leader = acquire("namesake", "a").await;
    let next = waiting("namesake", "a").await;
    sleep(DURATION).await;
    leader.check().unwrap();
    drop(leader);
    next.await.unwrap().0.check().unwrap();
}

#[tokio::test]
async fn a_released_lease_is_taken_at_once() {
    let leader = acquire("release", "a").await;
    let next = waiting("release", "b").await;
    let clone = leader.clone();
    let lost = tokio::spawn(async move { clone.lost().await });
    leader.release().await;
    let released = Instant::now();
    assert_eq!(leader.check(), Err(LeadershipLost::Released));
    assert_eq!(lost.await.unwrap(), LeadershipLost::Released);
    let (next, at) = next.await.unwrap();
    assert!(at.saturating_duration_since(released) < SOON, "{:?}", at - released);

    next.release().await;
    next.release().await;
    assert_eq!(spec("release").await.holder_identity, None);
    let newcomer = timeout(SOON, acquire("release", "c")).await.expect("a newcomer takes it at once");
    newcomer.check().unwrap();
    assert_eq!(spec("release").await.lease_transitions, Some(2));
}

#[tokio::test]
async fn deleting_the_lease_or_clearing_its_holder_changes_nothing() {
    let leader = acquire("by-hand", "a").await;
    let next = waiting("by-hand", "b").await;
    for _ in 0..2 {
        leases().await.delete("by-hand", &DeleteParams::default()).await.unwrap();
        sleep(RENEW_EVERY * 2).await;
        assert_eq!(spec("by-hand").await.holder_identity.as_deref(), Some("a"), "written anew");
        patch(&leases().await, "by-hand", json!({"spec": {"holderIdentity": null}})).await;
        sleep(RENEW_EVERY * 2).await;
        assert_eq!(spec("by-hand").await.holder_identity.as_deref(), Some("a"), "written again");
        leader.check().unwrap();
        assert!(!next.is_finished());
    }
    next.abort();
}

#[tokio::test]
async fn a_holder_that_sees_another_stops() {
    let leader = acquire("intruder", "a").await;
    patch(&leases().await, "intruder", json!({"spec": {"holderIdentity": "intruder"}})).await;
    let taken = LeadershipLost::Taken { holder: "intruder".to_owned() };
    assert_eq!(timeout(RENEW_EVERY + SOON, leader.lost()).await.unwrap(), taken);
    assert_eq!(leader.check(), Err(taken));
    let version = leases().await.get("intruder").await.unwrap().resource_version();
    leader.release().await;
    sleep(RENEW_EVERY * 2).await;
    assert_eq!(leases().await.get("intruder").await.unwrap().resource_version(), version, "written by one that lost it");
}

#[tokio::test]
async fn a_holder_without_network_stops_before_the_next_one_starts() {
    let gate = Gate::start().await;
    let leader = Leadership::acquire(gate.client().await, settings("network", "a")).await.unwrap();
    let next = waiting("network", "b").await;

    // A gap that is short enough is survived.
    gate.close();
    sleep(RENEW_EVERY * 2).await;
    gate.open();
    sleep(RENEW_EVERY * 2).await;
    leader.check().unwrap();

    gate.close();
    let closed = Instant::now();
    assert_eq!(leader.lost().await, LeadershipLost::Expired);
    assert!(closed.elapsed() < DURATION, "{:?}", closed.elapsed());
    assert!(!next.is_finished());
    let (next, at) = next.await.unwrap();
    assert!(at - closed <= DURATION + SOON, "{:?}", at - closed);

    // What was held back arrives late, and counts no more.
    gate.open();
    sleep(RENEW_EVERY * 2).await;
    assert_eq!(leader.check(), Err(LeadershipLost::Expired));
    next.check().unwrap();
    assert_eq!(spec("network").await.holder_identity.as_deref(), Some("b"));
}

/// Its only thread sleeps, as a stopped process does: nothing renews, and no timer fires before `check` is asked.
#[tokio::test]
async fn a_holder_that_was_stopped_finds_out_when_it_goes_on() {
    let leader = acquire("stopped", "a").await;
    let other = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = ControlPlane::shared().await.unwrap().client(User::Admin).await.unwrap();
            let next = Leadership::acquire(client, settings("stopped", "b")).await.unwrap();
            next.check().unwrap();
            next
        })
    });
    std::thread::sleep(DURATION + SOON * 2);
    assert!(other.is_finished(), "the other leads");
    assert_eq!(leader.check(), Err(LeadershipLost::Expired));
    assert_eq!(leader.lost().await, LeadershipLost::Expired);
    sleep(SOON).await;
    assert_eq!(spec("stopped").await.holder_identity.as_deref(), Some("b"));
    assert!(writes("stopped").await.iter().all(|write| write.status < 300), "it does not try to renew what it lost");
}

#[tokio::test]
async fn odd_leases_are_taken_when_their_term_is_over() {
    create("no-spec", None).await;
    create("no-holder", Some(LeaseSpec { holder_identity: Some(String::new()), ..LeaseSpec::default() })).await;
    for name in ["no-spec", "no-holder"] {
        let leader = timeout(SOON, acquire(name, "a")).await.expect("free");
        leader.check().unwrap();
    }
    create("no-duration", Some(LeaseSpec { holder_identity: Some("old".to_owned()), ..LeaseSpec::default() })).await;
    create("shorter", Some(LeaseSpec { holder_identity: Some("old".to_owned()), lease_duration_seconds: Some(1), ..LeaseSpec::default() })).await;
    for (name, term) in [("no-duration", DURATION), ("shorter", Duration::from_secs(1))] {
        let started = Instant::now();
        acquire(name, "a").await.check().unwrap();
        let waited = started.elapsed();
        assert!(waited >= term && waited <= term + SOON, "{name}: {waited:?}");
    }
}

#[tokio::test]
async fn what_the_api_server_refuses_is_an_error_and_no_wait() {
    let operator = ControlPlane::shared().await.unwrap().client(User::Operator).await.unwrap();
    let forbidden = Leadership::acquire(operator, settings("forbidden", "a")).await.unwrap_err();
    assert!(forbidden.to_string().contains("Lease default/forbidden: "), "{forbidden}");
    assert!(forbidden.to_string().contains("cannot get resource \"leases\""), "{forbidden}");

    let elsewhere = LeaseSettings { namespace: "missing".to_owned(), ..settings("any", "a") };
    let missing = Leadership::acquire(admin().await, elsewhere).await.unwrap_err();
    assert!(missing.to_string().contains("namespaces \"missing\" not found"), "{missing}");

    for wrong in [
        LeaseSettings { safety_margin: DURATION, ..settings("any", "a") },
        LeaseSettings { renew_every: Duration::ZERO, ..settings("any", "a") },
        settings("any", ""),
    ] {
        assert!(matches!(Leadership::acquire(admin().await, wrong).await, Err(LeaderError::Settings(_))));
    }
}

#[tokio::test]
async fn without_election_one_always_leads() {
    let leader = Leadership::always();
    leader.release().await;
    leader.check().unwrap();
    assert!(timeout(Duration::from_millis(50), leader.lost()).await.is_err());
}

/// Leads again and again, and ends it orderly or not.
async fn come_and_go(gate: Gate, client: Client, identity: &'static str, leaders: Arc<Mutex<Vec<Leadership>>>) {
    for round in 0_u32.. {
        let leader = Leadership::acquire(client.clone(), settings("contended", identity)).await.unwrap();
        leaders.lock().unwrap().push(leader.clone());
        sleep(RENEW_EVERY * (1 + round % 3)).await;
        if round % 2 == 0 {
            leader.release().await;
        } else {
            gate.close();
            leader.lost().await;
            sleep(RENEW_EVERY).await;
            gate.open();
        }
    }
}

async fn meddle(leases: Api<Lease>) {
    loop {
        for change in [json!({"metadata": {"labels": {"a": "b"}}}), json!({"spec": {"holderIdentity": null}}), json!({"metadata": {"labels": null}})]
        {
            sleep(Duration::from_millis(1300)).await;
            patch(&leases, "contended", change).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_lead_at_a_time() {
    acquire("contended", "first").await.release().await;
    let leaders = Arc::new(Mutex::new(Vec::<Leadership>::new()));
    let mut tasks = vec![tokio::spawn(meddle(leases().await))];
    for identity in ["a", "b", "c"] {
        let gate = Gate::start().await;
        let client = gate.client().await;
        tasks.push(tokio::spawn(come_and_go(gate, client, identity, leaders.clone())));
    }
    let end = Instant::now() + Duration::from_secs(12);
    while Instant::now() < end {
        let known = leaders.lock().unwrap().clone();
        let leading: Vec<_> = known.iter().filter(|leader| leader.check().is_ok()).collect();
        if let Some((_last, earlier)) = leading.split_last() {
            // One that leads now led all the while, when the last one did too.
            assert!(earlier.iter().all(|leader| leader.check().is_err()), "two lead");
        }
        sleep(Duration::from_millis(1)).await;
    }
    tasks.iter().for_each(JoinHandle::abort);
    let terms = leaders.lock().unwrap().len();
    assert!(terms >= 5, "{terms} terms only");
}
