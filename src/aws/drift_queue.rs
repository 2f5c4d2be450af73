//! The operator's own queue, into which EventBridge puts events. The operator reads and empties it, and no other.

use std::time::Duration;

use aws_config::Region;
use aws_config::timeout::TimeoutConfig;

use super::accounts::Accounts;
use super::calls::Recorder;
use super::error::AwsError;

/// The longest that SQS lets a receiver wait for a message (Amazon SQS API reference, ReceiveMessage).
const LONG_POLL: Duration = Duration::from_secs(20);
/// Most messages that one call takes or deletes.
const BATCH: i32 = 10;

/// The queue of events.
#[derive(Clone, Debug)]
pub struct DriftQueue {
    client: aws_sdk_sqs::Client,
    url: String,
    timeouts: TimeoutConfig,
}

/// A message taken from it.
#[derive(Clone, Debug)]
pub struct Received {
    /// The event.
    pub body: String,
    /// By which it is deleted.
    pub receipt: String,
}

impl Accounts {
    /// The queue of events, read with the operator's own credentials. The Region is the one given, else the one in the URL, else the operator's own.
    pub fn drift_queue(&self, url: &str, region: Option<&str>) -> DriftQueue {
        let region = region.or_else(|| region_of(url)).map(|region| Region::new(region.to_owned())).or_else(|| self.own_config().region().cloned());
        let (counts, named) = (self.call_counts().clone(), region.as_ref().map_or("", Region::as_ref).into());
        let recorder = Recorder { counts, account: "operator".into(), region: named, pace: None };
        let config = self.own_config().to_builder().region(region).build();
        let usual = self.own_config().timeout_config().cloned().unwrap_or_else(TimeoutConfig::disabled);
        let longer = |limit: Option<Duration>| limit.map_or(LONG_POLL * 2, |limit| limit + LONG_POLL);
        let mut timeouts = TimeoutConfig::builder();
        timeouts.set_connect_timeout(usual.connect_timeout());
        let timeouts = timeouts
            .read_timeout(longer(usual.read_timeout()))
            .operation_attempt_timeout(longer(usual.operation_attempt_timeout()))
            .operation_timeout(longer(usual.operation_timeout()))
            .build();
        DriftQueue {
            client: aws_sdk_sqs::Client::from_conf(aws_sdk_sqs::config::Builder::from(&config).interceptor(recorder).build()),
            url: url.to_owned(),
            timeouts,
        }
    }
}

/// `https://sqs.REGION.amazonaws.com/…`, and its FIPS and China variants.
fn region_of(url: &str) -> Option<&str> {
    let host = url.split("//").nth(1)?.split('/').next()?;
    let rest = host.strip_prefix("sqs.").or_else(|| host.strip_prefix("sqs-fips."))?;
    rest.split_once(".amazonaws.com").map(|(region, _)| region)
}

impl DriftQueue {
    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes up to ten messages; waits up to twenty seconds for the first: `sqs:ReceiveMessage`.
    pub async fn receive(&self) -> Result<Vec<Received>, AwsError> {
        let wait = i32::try_from(LONG_POLL.as_secs()).unwrap_or(i32::MAX);
        let call = self.client.receive_message().queue_url(&self.url).max_number_of_messages(BATCH).wait_time_seconds(wait);
        let patient = aws_sdk_sqs::config::Builder::new().timeout_config(self.timeouts.clone());
        let answer = call.customize().config_override(patient).send().await;
        let messages = answer.map_err(|error| AwsError::from_sdk("sqs:ReceiveMessage", &error))?.messages.unwrap_or_default();
        Ok(messages
            .into_iter()
            .filter_map(|message| Some(Received { body: message.body.unwrap_or_default(), receipt: message.receipt_handle? }))
            .collect())
    }

    /// Deletes messages that were taken: `sqs:DeleteMessageBatch`. One that cannot be deleted comes again.
    pub async fn delete(&self, messages: &[Received]) -> Result<(), AwsError> {
        const OPERATION: &str = "sqs:DeleteMessageBatch";
        let entry = |(number, message): (usize, &Received)| {
            let entry = aws_sdk_sqs::types::DeleteMessageBatchRequestEntry::builder().id(number.to_string()).receipt_handle(&message.receipt);
            entry.build().map_err(|error| AwsError::incomplete(OPERATION, &error.to_string()))
        };
        let entries = messages.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
        let call = self.client.delete_message_batch().queue_url(&self.url).set_entries(Some(entries));
        let answer = call.send().await.map_err(|error| AwsError::from_sdk(OPERATION, &error))?;
        if !answer.failed.is_empty() {
            tracing::warn!(messages = answer.failed.len(), "some events could not be deleted and come again");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_tells_the_region() {
        assert_eq!(region_of("https://sqs.eu-west-1.amazonaws.com/111122223333/drift"), Some("eu-west-1"));
        assert_eq!(region_of("https://sqs-fips.us-gov-west-1.amazonaws.com/111122223333/drift"), Some("us-gov-west-1"));
        assert_eq!(region_of("https://sqs.cn-north-1.amazonaws.com.cn/111122223333/drift"), Some("cn-north-1"));
        assert_eq!(region_of("http://127.0.0.1:4566/111122223333/drift"), None);
        assert_eq!(region_of("drift"), None);
    }
}
