//! The Lease as an object.

use jiff::{Timestamp, Unit};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::ResourceExt;
use kube::api::{Api, ObjectMeta, PostParams};

/// Replaces exactly the version in the metadata, or creates it when there is none.
pub(super) async fn write(api: &Api<Lease>, lease: &Lease) -> kube::Result<Lease> {
    match lease.metadata.resource_version {
        Some(_) => api.replace(&lease.name_any(), &PostParams::default(), lease).await,
        None => api.create(&PostParams::default(), lease).await,
    }
}

pub(super) fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

pub(super) fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

pub(super) fn acquired(lease: &Lease) -> Option<&MicroTime> {
    lease.spec.as_ref()?.acquire_time.as_ref()
}

/// As precise as the API server keeps it.
pub(super) fn now() -> MicroTime {
    let now = Timestamp::now();
    MicroTime(now.round(Unit::Microsecond).unwrap_or(now))
}

fn code(error: &kube::Error) -> Option<u16> {
    if let kube::Error::Api(status) = error { Some(status.code) } else { None }
}

/// Whether the Lease is not as `written` supposed: changed, there already, or gone (but not found when creating means that the namespace is missing).
pub(super) fn is_outdated(written: &Lease, error: &kube::Error) -> bool {
    match code(error) {
        Some(409) => true,
        Some(404) => written.metadata.resource_version.is_some(),
        _ => false,
    }
}

pub(super) fn is_refusal(error: &kube::Error) -> bool {
    code(error).is_some_and(|code| (400..500).contains(&code) && !matches!(code, 408 | 409 | 429))
}
