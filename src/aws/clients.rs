//! The clients of one account and Region.

use std::sync::Arc;

use aws_config::{Region, SdkConfig};

use super::calls::{CallCounts, LimitsDoNotHeal, Pace, Recorder};
use super::error::AwsError;
use super::own_requests::OwnRequests;
use super::quota::{SharedQuotas, gated};
use crate::names::Place;

/// Calls to one account and Region; the methods stand with the services they belong to.
#[derive(Debug)]
pub struct Clients {
    place: Place,
    quotas: SharedQuotas,
    pub(super) sqs: aws_sdk_sqs::Client,
    pub(super) kms: aws_sdk_kms::Client,
    pub(super) tagging: aws_sdk_resourcegroupstagging::Client,
    pub(super) iam: aws_sdk_iam::Client,
}

/// A service's client with what every call passes through. Attempts are counted against an account's own budget of repetitions, so that one that is
/// throttled does not starve the others.
macro_rules! client {
    ($sdk:ident, $config:expr, $place:expr, $recorder:expr, $own:expr) => {
        $sdk::Client::from_conf(
            $sdk::config::Builder::from($config)
                .interceptor($recorder.clone())
                .interceptor($own.clone())
                .retry_classifier(LimitsDoNotHeal)
                .retry_partition($sdk::config::retry::RetryPartition::new(format!("{}-{}-{}", stringify!($sdk), $place.account, $place.region)))
                .build(),
        )
    };
}

impl Clients {
    pub(super) fn new(config: &SdkConfig, place: Place, counts: &Arc<CallCounts>, quotas: &SharedQuotas, own: &OwnRequests) -> Self {
        let mut builder = config.to_builder().region(Region::new(place.region.clone()));
        if let Some(http_client) = config.http_client() {
            builder.set_http_client(Some(gated(http_client, quotas.clone(), place.clone())));
        }
        let config = &builder.build();
        let recorder = Recorder {
            counts: counts.clone(),
            account: place.account.as_str().into(),
            region: place.region.as_str().into(),
            pace: Some(Pace { quotas: quotas.clone(), place: place.clone() }),
        };
        Self {
            sqs: client!(aws_sdk_sqs, config, place, recorder, own),
            kms: client!(aws_sdk_kms, config, place, recorder, own),
            tagging: client!(aws_sdk_resourcegroupstagging, config, place, recorder, own),
            iam: client!(aws_sdk_iam, config, place, recorder, own),
            quotas: quotas.clone(),
            place,
        }
    }

    /// Waits for the turn of a call that is made in a moment and must not wait then, or takes a place in line for it.
    pub async fn reserve(&self, operation: &'static str) -> Result<(), AwsError> {
        self.quotas.reserve(&self.place, operation).await
    }

    /// Fails as [`Self::reserve`] does if the current caller stands in line already; makes no call and takes no place.
    pub fn stands_in_line(&self, operation: &'static str) -> Result<(), AwsError> {
        self.quotas.stands_in_line(&self.place, operation)
    }

    /// Where these clients act.
    pub fn place(&self) -> &Place {
        &self.place
    }
}
