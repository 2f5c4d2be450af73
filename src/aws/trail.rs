//! CloudTrail: who called KMS. Read-only management events, such as Decrypt, are kept for 90 days without any trail.

use std::time::Duration;

use aws_sdk_cloudtrail::types::{LookupAttribute, LookupAttributeKey};
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use super::accounts::{AccountKey, Accounts};
use super::calls::LimitsDoNotHeal;
use super::error::AwsError;
use super::patience::patiently;

const OPERATION: &str = "cloudtrail:LookupEvents";
/// Others may use up the rate.
const ATTEMPTS: u32 = 7;
/// AWS takes two calls a second, whoever makes them.
const BETWEEN_PAGES: Duration = Duration::from_millis(600);

/// CloudTrail's event history of one account and Region.
#[derive(Clone, Debug)]
pub struct Trail(aws_sdk_cloudtrail::Client);

impl Accounts {
    /// The event history of an account and Region.
    pub async fn trail(&self, key: &AccountKey) -> Result<Trail, AwsError> {
        let (config, recorder) = self.configuration(key).await?;
        let config = aws_sdk_cloudtrail::config::Builder::from(&config).interceptor(recorder).retry_classifier(LimitsDoNotHeal);
        Ok(Trail(aws_sdk_cloudtrail::Client::from_conf(config.build())))
    }
}

impl Trail {
    /// Hands the events of this name, each as CloudTrail's JSON, to `each`, page by page and latest first, until it answers false or there are no more:
    /// `cloudtrail:LookupEvents`, of which AWS takes two a second.
    pub async fn events(&self, name: &str, from: Timestamp, until: Timestamp, mut each: impl FnMut(&str) -> bool) -> Result<(), AwsError> {
        let attribute = LookupAttribute::builder().attribute_key(LookupAttributeKey::EventName).attribute_value(name).build();
        let attribute = attribute.map_err(|_| AwsError::incomplete(OPERATION, "attribute"))?;
        let call = self.0.lookup_events().lookup_attributes(attribute).max_results(50);
        let call = call.start_time(DateTime::from_secs(from.as_second())).end_time(DateTime::from_secs(until.as_second()));
        let mut token = None;
        loop {
            let ask = || async { call.clone().set_next_token(token.clone()).send().await.map_err(|error| AwsError::from_sdk(OPERATION, &error)) };
            let page = patiently(ATTEMPTS, ask).await?;
            let goes_on = page.events().iter().filter_map(|event| event.cloud_trail_event()).all(&mut each);
            token = page.next_token.filter(|token| goes_on && !token.is_empty());
            if token.is_none() {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_PAGES).await;
        }
    }
}
