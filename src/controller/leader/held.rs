//! Holding the Lease: renewal, and giving it up.

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::lease::{acquired, holder, is_outdated, named, now, write};
use super::{LeadershipLost, LeaseSettings, Term};

/// The Lease with a deadline that counts from `sent`.
pub(super) struct Held {
    pub(super) api: Api<Lease>,
    pub(super) settings: LeaseSettings,
    pub(super) lease: Lease,
    pub(super) sent: Instant,
}

enum Failure {
    Lost(LeadershipLost),
    Transient(String),
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        Self::Transient(error.to_string())
    }
}

impl Held {
    pub(super) fn deadline(&self) -> Instant {
        self.sent + self.settings.duration - self.settings.safety_margin
    }

    /// Renews until the Lease is lost, released, or nobody is left to ask for it. Dropping `term` at the end tells `release` that it is done.
    pub(super) async fn keep(mut self, term: watch::Sender<Term>, mut stop: watch::Receiver<bool>) {
        let mut next = self.sent + self.settings.renew_every;
        loop {
            tokio::select! {
                stopped = stop.changed() => {
                    if stopped.is_ok() {
                        term.send_replace(Term::Ended(LeadershipLost::Released));
                        self.give_up().await;
                    }
                    return;
                }
                () = sleep_until(next) => {}
            }
            let lost = match self.attempt(&term).await {
                Ok(()) => {
                    next = self.sent + self.settings.renew_every;
                    continue;
                }
                Err(Failure::Transient(error)) => {
                    tracing::warn!(lease = self.settings.name, error, "could not renew the Lease");
                    next = (Instant::now() + self.settings.pause()).min(self.deadline());
                    continue;
                }
                Err(Failure::Lost(lost)) => lost,
            };
            tracing::error!(lease = self.settings.name, "{lost}");
            term.send_replace(Term::Ended(lost));
            return;
        }
    }

    /// Nothing is sent after the deadline, and an answer after it does not bring back what `check` may have denied already.
    async fn attempt(&mut self, term: &watch::Sender<Term>) -> Result<(), Failure> {
        let (deadline, limit) = (self.deadline(), Instant::now() + self.settings.renew_every);
        if deadline <= Instant::now() {
            return Err(Failure::Lost(LeadershipLost::Expired));
        }
        match timeout_at(deadline.min(limit), self.renew()).await {
            Ok(Ok(())) if extend(term, self.deadline()) => Ok(()),
            Ok(Ok(())) => Err(Failure::Lost(LeadershipLost::Expired)),
            Ok(Err(failure)) => Err(failure),
            Err(elapsed) => Err(Failure::Transient(elapsed.to_string())),
        }
    }

    /// One PUT, unless someone touched the Lease since.
    async fn renew(&mut self) -> Result<(), Failure> {
        loop {
            let sent = Instant::now();
            let mut lease = self.lease.clone();
            lease.spec.get_or_insert_default().renew_time = Some(now());
            match write(&self.api, &lease).await {
                Ok(lease) => {
                    self.lease = lease;
                    self.sent = sent;
                    return Ok(());
                }
                Err(error) if is_outdated(&lease, &error) => self.read_again().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the resourceVersion of a Lease that is still this process's: an answer was lost, someone set a label, deleted it or cleared the holder.
    async fn read_again(&mut self) -> Result<(), Failure> {
        self.lease.metadata = match self.api.get_opt(&self.settings.name).await? {
            None => named(&self.settings.name),
            Some(found) => {
                let other = holder(&found).filter(|holder| *holder != self.settings.identity || acquired(&found) != acquired(&self.lease));
                if let Some(other) = other {
                    return Err(Failure::Lost(LeadershipLost::Taken { holder: other.to_owned() }));
                }
                found.metadata
            }
        };
        Ok(())
    }

    /// Without holder and duration the Lease is free.
    async fn give_up(mut self) {
        let spec = self.lease.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = None;
        let deadline = self.deadline();
        match timeout_at(deadline, self.renew()).await {
            Ok(Ok(())) => tracing::info!(lease = self.settings.name, "released the Lease"),
            Ok(Err(Failure::Transient(error))) => tracing::warn!(lease = self.settings.name, error, "could not release the Lease: it expires"),
            Ok(Err(Failure::Lost(_))) | Err(_) => {}
        }
    }
}

/// False when the deadline passed before.
fn extend(term: &watch::Sender<Term>, deadline: Instant) -> bool {
    term.send_if_modified(|term| {
        let in_time = term.check().is_ok();
        if in_time {
            *term = Term::Until(deadline);
        }
        in_time
    })
}
