//! One writer: a Lease of `coordination.k8s.io/v1` that one process at a time holds.
//!
//! The holder replaces the Lease with its resourceVersion, so nobody overwrites what they have not seen. It leads until `duration - safety_margin`
//! after it *sent* the last renewal that succeeded; the others wait `duration` from when they *saw* that renewal, which is later. Both count on their own
//! monotonic clock, so wall clocks may be wrong; the times in the Lease are for people. The monotonic clock goes on while a process is stopped, but
//! not while its machine is suspended.
//!
//! A term ends by time or by release, never by hand: whoever deletes the Lease or clears its holder changes nothing for those who saw it. Only a process
//! that starts while there is no Lease takes over at once, since it cannot know of a holder.

mod contender;
mod held;
mod lease;

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use contender::Contender;

/// Which Lease, whose, and for how long.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// Who this process is. A namesake in the Lease, such as a predecessor that crashed, is someone else: its term is waited for.
    pub identity: String,
    /// How long the others wait after the last renewal they saw. In the Lease it is rounded up to seconds.
    pub duration: Duration,
    /// How often the holder renews.
    pub renew_every: Duration,
    /// How much earlier than `duration` the holder stops: for calls under way, and clocks that run at different speeds.
    pub safety_margin: Duration,
}

impl LeaseSettings {
    /// With the usual times: 15 s, renewed every 5 s, given up after 12 s without renewal.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>, identity: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_every: Duration::from_secs(5),
            safety_margin: Duration::from_secs(3),
        }
    }

    /// With another duration, and the other times in proportion.
    #[must_use]
    pub fn with_duration(self, duration: Duration) -> Self {
        Self { duration, renew_every: duration / 3, safety_margin: duration / 5, ..self }
    }

    fn check(&self) -> Result<(), LeaderError> {
        if self.identity.is_empty() {
            return Err(LeaderError::Settings("the identity is empty"));
        }
        if self.renew_every.is_zero() {
            return Err(LeaderError::Settings("the Lease must be renewed at intervals above zero"));
        }
        if self.renew_every + self.safety_margin >= self.duration {
            return Err(LeaderError::Settings("the Lease must last longer than the renewal interval and the safety margin together"));
        }
        Ok(())
    }

    /// Between attempts that fail.
    fn pause(&self) -> Duration {
        self.renew_every / 5
    }
}

/// Why leadership cannot be waited for.
#[derive(Debug, Error)]
pub enum LeaderError {
    /// The settings contradict each other.
    #[error("leader election: {0}")]
    Settings(&'static str),
    /// The API server will go on refusing: no permission, no such namespace.
    #[error("Lease {namespace}/{name}: {source}")]
    Refused {
        /// The Lease's namespace.
        namespace: String,
        /// The Lease's name.
        name: String,
        /// What the API server said.
        source: Box<kube::Error>,
    },
}

/// Why this process may not write any more.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum LeadershipLost {
    /// No renewal succeeded in time.
    #[error("the Lease was not renewed in time")]
    Expired,
    /// Someone else is written in the Lease.
    #[error("the Lease was taken by {holder}")]
    Taken {
        /// Who.
        holder: String,
    },
    /// This process gave it up.
    #[error("the Lease was released")]
    Released,
}

#[derive(Clone, Debug)]
enum Term {
    Always,
    Until(Instant),
    Ended(LeadershipLost),
}

impl Term {
    fn check(&self) -> Result<(), LeadershipLost> {
        match self {
            Self::Always => Ok(()),
            Self::Until(deadline) if Instant::now() < *deadline => Ok(()),
            Self::Until(_) => Err(LeadershipLost::Expired),
            Self::Ended(why) => Err(why.clone()),
        }
    }
}

/// The right to write. Once lost it never comes back; renewal ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Leadership {
    term: watch::Receiver<Term>,
    release: Arc<watch::Sender<bool>>,
}

impl Leadership {
    /// Waits until this process holds the Lease, and goes on renewing it.
    pub async fn acquire(client: Client, settings: LeaseSettings) -> Result<Self, LeaderError> {
        settings.check()?;
        let held = Contender::new(client, settings).win().await?;
        let (term, terms) = watch::channel(Term::Until(held.deadline()));
        let (release, stop) = watch::channel(false);
        tokio::spawn(held.keep(term, stop));
        Ok(Self { term: terms, release: Arc::new(release) })
    }

    /// Leadership without election, for a process that is known to be alone.
    pub fn always() -> Self {
        Self { term: watch::channel(Term::Always).1, release: Arc::new(watch::channel(false).0) }
    }

    /// Whether this process may write now.
    pub fn check(&self) -> Result<(), LeadershipLost> {
        let term = self.term.borrow();
        match *term {
            Term::Until(_) if *self.release.borrow() => Err(LeadershipLost::Released),
            _ => term.check(),
        }
    }

    /// Resolves when leadership is lost. The process should then end: what it has under way cannot be called back.
    pub async fn lost(&self) -> LeadershipLost {
        let mut terms = self.term.clone();
        loop {
            let term = terms.borrow_and_update().clone();
            if let Err(why) = term.check() {
                return why;
            }
            let deadline = async {
                match term {
                    Term::Until(deadline) => sleep_until(deadline).await,
                    Term::Always | Term::Ended(_) => std::future::pending().await,
                }
            };
            tokio::select! {
                () = deadline => {}
                // Without a renewing task the deadline stands.
                () = async { if terms.changed().await.is_err() { std::future::pending().await } } => {}
            }
        }
    }

    /// Gives the Lease up, so that the next one takes it at once. Call it when all writing has ended; [`Leadership::check`] fails from here on.
    pub async fn release(&self) {
        self.release.send_replace(true);
        let mut terms = self.term.clone();
        while terms.changed().await.is_ok() {}
    }
}
