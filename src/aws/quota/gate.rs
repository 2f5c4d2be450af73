//! Where every request passes on its way to AWS, repetitions included: it waits for its turn, or turns back.

use std::time::Instant;

use aws_smithy_runtime_api::client::http::{HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;

use super::SharedQuotas;
use crate::names::Place;

/// Names the call that a request makes.
#[derive(Clone, Debug)]
pub(in crate::aws) struct Action(pub(in crate::aws) String);

#[derive(Debug)]
struct Gate {
    inner: SharedHttpConnector,
    quotas: SharedQuotas,
    place: Place,
}

/// The same client behind the gate of one account and Region.
pub(in crate::aws) fn gated(inner: SharedHttpClient, quotas: SharedQuotas, place: Place) -> SharedHttpClient {
    http_client_fn(move |settings, components| {
        let inner = inner.http_connector(settings, components);
        SharedHttpConnector::new(Gate { inner, quotas: quotas.clone(), place: place.clone() })
    })
}

impl HttpConnector for Gate {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Some(Action(action)) = request.extension::<Action>().cloned() else {
            return self.inner.call(request);
        };
        match self.quotas.ask(&self.place, &action) {
            Ok((wait, false)) if wait.is_zero() => self.inner.call(request),
            Ok(first) => {
                let (inner, quotas, place) = (self.inner.clone(), self.quotas.clone(), self.place.clone());
                HttpConnectorFuture::new(async move {
                    let (mut next, started) = (first, Instant::now());
                    while let (wait, true) = next {
                        tokio::time::sleep(wait).await;
                        next = quotas.ask(&place, &action).map_err(|error| ConnectorError::other(error.into(), None))?;
                    }
                    tokio::time::sleep(next.0).await;
                    quotas.waited(&action, started.elapsed());
                    inner.call(request).await
                })
            }
            Err(error) => HttpConnectorFuture::ready(Err(ConnectorError::other(error.into(), None))),
        }
    }
}
