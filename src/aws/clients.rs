//! The clients of one account and Region.

use std::sync::Arc;

use aws_config::{Region, SdkConfig};

use super::calls::{CallCounts, LimitsDoNotHeal, Recorder};
use super::own_requests::OwnRequests;
use crate::names::Place;

/// Calls to one account and Region; the methods stand with the services they belong to.
#[derive(Debug)]
pub struct Clients {
    place: Place,
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
    pub(super) fn new(config: &SdkConfig, place: Place, counts: &Arc<CallCounts>, own: &OwnRequests) -> Self {
        let config = &config.to_builder().region(Region::new(place.region.clone())).build();
        let recorder = Recorder { counts: counts.clone(), account: place.account.as_str().into(), region: place.region.as_str().into() };
        Self {
            sqs: client!(aws_sdk_sqs, config, place, recorder, own),
            kms: client!(aws_sdk_kms, config, place, recorder, own),
            tagging: client!(aws_sdk_resourcegroupstagging, config, place, recorder, own),
            iam: client!(aws_sdk_iam, config, place, recorder, own),
            place,
        }
    }

    /// Where these clients act.
    pub fn place(&self) -> &Place {
        &self.place
    }
}
