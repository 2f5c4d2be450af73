//! Waiting for the Lease, and taking it.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::held::Held;
use super::lease::{holder, is_outdated, is_refusal, named, now, write};
use super::{LeaderError, LeaseSettings};

/// One that wants the Lease.
pub(super) struct Contender {
    api: Api<Lease>,
    settings: LeaseSettings,
    /// The Lease last seen.
    seen: Option<LeaseSpec>,
    /// When what was seen has expired.
    free_at: Instant,
    reported: Option<String>,
}

impl Contender {
    pub(super) fn new(client: Client, settings: LeaseSettings) -> Self {
        let api = Api::namespaced(client, &settings.namespace);
        Self { api, settings, seen: None, free_at: Instant::now(), reported: None }
    }

    pub(super) async fn win(mut self) -> Result<Held, LeaderError> {
        let mut changes = pin!(watch_object(self.api.clone(), &self.settings.name).default_backoff());
        loop {
            let read = timeout(self.settings.renew_every, self.api.get_opt(&self.settings.name)).await;
            let Some(found) = self.answer(read)? else {
                sleep(self.settings.pause()).await;
                continue;
            };
            self.note(found.as_ref());
            if self.is_free() {
                match self.take(found).await? {
                    Some(held) => return Ok(held),
                    None => continue,
                }
            }
            // The watch only shortens or lengthens the wait: what is taken was read just before.
            while !self.is_free() {
                tokio::select! {
                    () = sleep_until(self.free_at) => {}
                    Some(change) = changes.next() => match change {
                        Ok(lease) => self.note(lease.as_ref()),
                        Err(error) => tracing::warn!(lease = self.settings.name, %error, "could not watch the Lease"),
                    },
                }
            }
        }
    }

    fn is_free(&self) -> bool {
        self.free_at <= Instant::now()
    }

    /// Each renewal writes another time. A label is none, and a holder keeps its time when the Lease is deleted.
    fn note(&mut self, lease: Option<&Lease>) {
        let Some(lease) = lease else { return };
        let spec = lease.spec.clone().unwrap_or_default();
        if self.seen.as_ref() == Some(&spec) {
            return;
        }
        let holder = holder(lease);
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        self.seen = Some(spec);
        let term = match (seconds, holder) {
            (Some(seconds @ 1..), _) => Duration::from_secs(seconds),
            (_, Some(_)) => self.settings.duration,
            (_, None) => Duration::ZERO,
        };
        self.free_at = Instant::now() + term;
        if let Some(holder) = holder
            && self.reported.as_deref() != Some(holder)
        {
            tracing::info!(lease = self.settings.name, holder, "waiting for the Lease");
            self.reported = Some(holder.to_owned());
        }
    }

    /// None when someone was faster, or no answer came in time.
    async fn take(&mut self, found: Option<Lease>) -> Result<Option<Held>, LeaderError> {
        let lease = self.claim(found);
        let sent = Instant::now();
        let written = match timeout(self.settings.renew_every, write(&self.api, &lease)).await {
            Ok(Err(error)) if is_outdated(&lease, &error) => return Ok(None),
            written => self.answer(written)?,
        };
        let Some(lease) = written else {
            sleep(self.settings.pause()).await;
            return Ok(None);
        };
        let held = Held { api: self.api.clone(), settings: self.settings.clone(), lease, sent };
        if held.deadline() <= Instant::now() {
            return Ok(None);
        }
        tracing::info!(lease = self.settings.name, identity = self.settings.identity, "acquired the Lease");
        Ok(Some(held))
    }

    fn claim(&self, found: Option<Lease>) -> Lease {
        let transitions =
            found.as_ref().map(|lease| lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default().saturating_add(1));
        let seconds = self.settings.duration.as_secs() + u64::from(self.settings.duration.subsec_nanos() > 0);
        let time = now();
        Lease {
            metadata: found.map_or_else(|| named(&self.settings.name), |lease| lease.metadata),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.settings.identity.clone()),
                lease_duration_seconds: Some(i32::try_from(seconds).unwrap_or(i32::MAX)),
                lease_transitions: Some(transitions.unwrap_or_default()),
                acquire_time: Some(time.clone()),
                renew_time: Some(time),
                ..LeaseSpec::default()
            }),
        }
    }

    /// None when it is worth another try.
    fn answer<T>(&self, answer: Result<kube::Result<T>, tokio::time::error::Elapsed>) -> Result<Option<T>, LeaderError> {
        let error = match answer {
            Ok(Ok(value)) => return Ok(Some(value)),
            Ok(Err(error)) if is_refusal(&error) => {
                let LeaseSettings { namespace, name, .. } = self.settings.clone();
                return Err(LeaderError::Refused { namespace, name, source: Box::new(error) });
            }
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::warn!(lease = self.settings.name, error, "could not take the Lease");
        Ok(None)
    }
}
