//! CloudWatch: how many messages queues had.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_smithy_types::DateTime;
use jiff::Timestamp;

use super::accounts::{AccountKey, Accounts};
use super::calls::LimitsDoNotHeal;
use super::error::AwsError;
use super::patience::patiently;
use crate::cost::{Messages, Traffic};

const OPERATION: &str = "cloudwatch:GetMetricData";
/// Others may use up the rate.
const ATTEMPTS: u32 = 7;
/// Length of the spans that are asked for.
const SPAN_SECONDS: i32 = 3600;
/// What one call may ask for (CloudWatch API reference, GetMetricData).
const MOST_QUERIES: usize = 500;
const MOST_POINTS: usize = 100_800;
/// Of each queue.
const METRICS: [&str; 2] = ["NumberOfMessagesSent", "NumberOfMessagesReceived"];

/// CloudWatch's counts of one account and Region.
#[derive(Clone, Debug)]
pub struct MessageCounts(aws_sdk_cloudwatch::Client);

impl Accounts {
    /// How many messages the queues of an account and Region had.
    pub async fn message_counts(&self, key: &AccountKey) -> Result<MessageCounts, AwsError> {
        let (config, recorder) = self.configuration(key).await?;
        let config = aws_sdk_cloudwatch::config::Builder::from(&config).interceptor(recorder).retry_classifier(LimitsDoNotHeal);
        Ok(MessageCounts(aws_sdk_cloudwatch::Client::from_conf(config.build())))
    }
}

impl MessageCounts {
    /// Traffic of each of these queues in the last `hours` full hours before `now`; a queue that CloudWatch knows nothing of had none:
    /// `cloudwatch:GetMetricData`.
    pub async fn of(&self, queues: &[String], hours: usize, now: Timestamp) -> Result<BTreeMap<String, Traffic>, AwsError> {
        let span = i64::from(SPAN_SECONDS);
        let end = now.as_second().div_euclid(span) * span;
        let start = end - span * i64::try_from(hours).unwrap_or(0);
        let idle = Traffic { span_seconds: span.unsigned_abs(), spans: vec![Messages::default(); hours] };
        let mut traffic: BTreeMap<String, Traffic> = queues.iter().map(|queue| (queue.clone(), idle.clone())).collect();
        let at_once = MOST_QUERIES.min(MOST_POINTS / hours.max(1)).max(METRICS.len()) / METRICS.len();
        for queues in queues.chunks(at_once) {
            let queries: Vec<_> =
                queues.iter().enumerate().flat_map(|(index, queue)| (0..METRICS.len()).map(move |metric| query(index, metric, queue))).collect();
            let call = self.0.get_metric_data().start_time(DateTime::from_secs(start)).end_time(DateTime::from_secs(end));
            let call = call.set_metric_data_queries(Some(queries));
            let mut token = None;
            loop {
                let ask = || async { call.clone().set_next_token(token.clone()).send().await.map_err(|error| AwsError::from_sdk(OPERATION, &error)) };
                let page = patiently(ATTEMPTS, ask).await?;
                for result in page.metric_data_results() {
                    let Some((queue, metric)) = result.id().and_then(|id| named(id, queues)) else { continue };
                    let Some(known) = traffic.get_mut(queue) else { continue };
                    for (at, value) in result.timestamps().iter().zip(result.values()) {
                        let span = usize::try_from((at.secs() - start) / span).ok().and_then(|span| known.spans.get_mut(span));
                        if let Some(span) = span {
                            *count(span, metric) += whole(*value);
                        }
                    }
                }
                token = page.next_token.filter(|token| !token.is_empty());
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(traffic)
    }
}

fn count(messages: &mut Messages, metric: usize) -> &mut u64 {
    if metric == 0 { &mut messages.sent } else { &mut messages.received }
}

/// CloudWatch tells counts as floats.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

/// Ids begin with a small letter.
fn query(index: usize, metric: usize, queue: &str) -> MetricDataQuery {
    let dimension = Dimension::builder().name("QueueName").value(queue).build();
    let named = Metric::builder().namespace("AWS/SQS").metric_name(METRICS[metric]).dimensions(dimension).build();
    let statistic = MetricStat::builder().metric(named).period(SPAN_SECONDS).stat("Sum").build();
    MetricDataQuery::builder().id(format!("q{index}_{metric}")).metric_stat(statistic).return_data(true).build()
}

fn named<'a>(id: &str, queues: &'a [String]) -> Option<(&'a String, usize)> {
    let (index, metric) = id.strip_prefix('q')?.split_once('_')?;
    Some((queues.get(index.parse::<usize>().ok()?)?, metric.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::{Arc, Mutex};

    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::Credentials;
    use aws_sdk_cloudwatch::operation::get_metric_data::GetMetricDataOutput;
    use aws_sdk_cloudwatch::types::MetricDataResult;
    use aws_smithy_mocks::MockResponseInterceptor;
    use aws_smithy_mocks::{RuleMode, create_mock_http_client, mock};

    use super::*;

    fn client(rule: &aws_smithy_mocks::Rule) -> MessageCounts {
        let config = aws_sdk_cloudwatch::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(Credentials::new("id", "secret", None, None, "tests"))
            .http_client(create_mock_http_client())
            .interceptor(MockResponseInterceptor::new().rule_mode(RuleMode::MatchAny).with_rule(rule));
        MessageCounts(aws_sdk_cloudwatch::Client::from_conf(config.build()))
    }

    #[tokio::test]
    async fn messages_are_counted_hour_by_hour_and_queue_by_queue() {
        let now: Timestamp = "2026-11-23T10:20:00Z".parse().unwrap();
        let hour = move |hour: i64| DateTime::from_secs(now.as_second() / 3600 * 3600 - hour * 3600);
        let asked = Arc::new(Mutex::new(0));
        let counted = asked.clone();
        let rule = mock!(aws_sdk_cloudwatch::Client::get_metric_data)
            .match_requests(move |request| {
                *counted.lock().unwrap() += request.metric_data_queries().len();
                let full = request.end_time() == Some(&hour(0)) && request.start_time() == Some(&hour(24));
                full && request.metric_data_queries().len() <= MOST_QUERIES
            })
            .then_output(move || {
                let of = |id: &str, points: &[(i64, f64)]| {
                    let (times, values) = points.iter().map(|(at, value)| (hour(*at), *value)).unzip::<_, _, Vec<_>, Vec<_>>();
                    MetricDataResult::builder().id(id).set_timestamps(Some(times)).set_values(Some(values)).build()
                };
                // A time outside, an id that was not asked for.
                let sent = of("q0_0", &[(1, 40.0), (24, 3.0), (25, 9.0)]);
                GetMetricDataOutput::builder()
                    .metric_data_results(sent)
                    .metric_data_results(of("q0_1", &[(3, 7.0)]))
                    .metric_data_results(of("x", &[(1, 1.0)]))
                    .build()
            });
        let queues: Vec<String> = std::iter::once("busy".to_owned()).chain((0..300).map(|number| format!("idle-{number:03}"))).collect();
        let traffic = client(&rule).of(&queues, 24, now).await.unwrap();
        assert_eq!((traffic.len(), *asked.lock().unwrap(), rule.num_calls()), (301, 602, 2));
        let busy = &traffic["busy"];
        assert_eq!((busy.spans.len(), busy.span_seconds, busy.total()), (24, 3600, Messages { sent: 43, received: 7 }));
        assert_eq!(
            (busy.spans[23], busy.spans[0], busy.spans[21]),
            (Messages { sent: 40, received: 0 }, Messages { sent: 3, received: 0 }, Messages { sent: 0, received: 7 })
        );
        assert_eq!(traffic["idle-007"].total(), Messages::default());
    }
}
