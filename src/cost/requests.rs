//! How often SQS calls KMS.
//!
//! `R = B/D × (2P + C)` (SQS developer guide): within a reuse period of D seconds SQS asks KMS twice for each producer (GenerateDataKey, Decrypt) and once
//! for each consumer. That is what principals cost who are busy all the time. Where traffic is known it bounds this: who sends nothing within a reuse
//! period costs nothing in it, and no number of messages costs more calls than twice as many to send and as many to receive them.

use crate::policy::access::{Capability, QueueAccess};

/// Seconds of a billed month of 31 days.
pub const MONTH_SECONDS: u64 = 2_678_400;

/// How many principals use one SQS queue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Users {
    /// Who sends.
    pub producers: u64,
    /// Who receives.
    pub consumers: u64,
}

/// Messages of equally long, consecutive spans of time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Traffic {
    /// Length of each span.
    pub span_seconds: u64,
    /// Messages sent and received in each.
    pub spans: Vec<Messages>,
}

/// Messages within a span of time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Messages {
    /// Sent.
    pub sent: u64,
    /// Received.
    pub received: u64,
}

impl Users {
    /// Of a queue, as declared. Each producer and consumer counts as one, an organisation's roles of one name too.
    pub fn of(access: &QueueAccess) -> Self {
        Self { producers: count(access, Capability::Send), consumers: count(access, Capability::Receive) }
    }

    /// Of its dead-letter queue: SQS moves messages there without KMS.
    pub fn of_dead_letters(access: &QueueAccess) -> Self {
        Self { producers: 0, consumers: count(access, Capability::ReceiveDeadLetters) }
    }

    /// `B/D × (2P + C)`, all of them busy all the time.
    pub fn requests(self, billed_seconds: u64, reuse_seconds: u64) -> u64 {
        billed_seconds.div_ceil(reuse_seconds.max(1)).saturating_mul(self.producers.saturating_mul(2).saturating_add(self.consumers))
    }

    /// The same in a month, but no more than this traffic explains.
    pub fn requests_for(self, traffic: &Traffic, reuse_seconds: u64) -> u64 {
        let (span, reuse) = (traffic.span_seconds.max(1), reuse_seconds.max(1));
        // Spans are put together until they are no shorter than a reuse period; each then has so many periods.
        let together = usize::try_from(reuse.div_ceil(span)).unwrap_or(usize::MAX);
        let calls = traffic.spans.chunks(together).map(|spans| {
            let seconds = span * spans.len() as u64;
            let periods = u128::from(seconds.div_ceil(reuse));
            let total = |of: fn(&Messages) -> u64| spans.iter().map(|span| u128::from(of(span))).sum::<u128>();
            let (sent, received) = (total(|messages| messages.sent), total(|messages| messages.received));
            2 * sent.min(periods * u128::from(self.producers)) + received.min(periods * u128::from(self.consumers))
        });
        let seen = u128::from(span) * traffic.spans.len() as u128;
        let month = (calls.sum::<u128>() * u128::from(MONTH_SECONDS)).div_ceil(seen.max(1));
        u64::try_from(month).unwrap_or(u64::MAX)
    }
}

impl Traffic {
    /// An even flow of so many messages a day.
    pub fn even(sent_a_day: u64, received_a_day: u64) -> Self {
        let month = |a_day: u64| a_day.saturating_mul(MONTH_SECONDS / 86_400);
        Self { span_seconds: MONTH_SECONDS, spans: vec![Messages { sent: month(sent_a_day), received: month(received_a_day) }] }
    }

    /// All messages of it.
    pub fn total(&self) -> Messages {
        self.spans.iter().fold(Messages::default(), |all, span| Messages {
            sent: all.sent.saturating_add(span.sent),
            received: all.received.saturating_add(span.received),
        })
    }
}

fn count(access: &QueueAccess, capability: Capability) -> u64 {
    access.grants.keys().filter(|grant| grant.capability == capability && grant.is_effective(access.dead_letter_queue.is_some())).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn users(producers: u64, consumers: u64) -> Users {
        Users { producers, consumers }
    }

    fn hours(messages: &[(u64, u64)]) -> Traffic {
        let spans = messages.iter().map(|&(sent, received)| Messages { sent, received }).collect();
        Traffic { span_seconds: 3600, spans }
    }

    #[test]
    fn the_developer_guides_examples() {
        assert_eq!(users(1, 1).requests(2_678_400, 300), 26_784);
        let several = users(3, 1).requests(2_419_200, 86_400) + users(5, 2).requests(2_419_200, 86_400);
        assert_eq!(several, 532);
    }

    #[test]
    fn an_idle_queue_calls_nobody() {
        assert_eq!(users(20, 20).requests_for(&hours(&[(0, 0); 336]), 60), 0);
        assert_eq!(users(20, 20).requests_for(&Traffic::default(), 60), 0);
        assert_eq!(users(0, 0).requests_for(&hours(&[(9, 9)]), 60), 0);
    }

    #[test]
    fn a_busy_queue_calls_as_the_formula_says() {
        let busy = hours(&[(1_000_000, 1_000_000); 744]);
        assert_eq!(users(1, 1).requests_for(&busy, 300), users(1, 1).requests(MONTH_SECONDS, 300));
        assert_eq!(users(3, 2).requests_for(&busy, 86_400), users(3, 2).requests(MONTH_SECONDS, 86_400));
    }

    #[test]
    fn few_messages_bound_the_calls() {
        // Of 744 hours one has three messages: twice three calls to send them, three to receive them.
        let mut month = [(0, 0); 744];
        month[7] = (3, 3);
        assert_eq!(users(20, 20).requests_for(&hours(&month), 60), 9);
        // Within a reuse period of a day the second and third message find a data key.
        assert_eq!(users(1, 1).requests_for(&hours(&month), 86_400), 3);
        // Half a month seen: twice as many.
        assert_eq!(users(1, 1).requests_for(&hours(&month[..372]), 86_400), 6);
        assert_eq!(users(2, 1).requests_for(&Traffic::even(1, 0), 300), 62);
    }
}
