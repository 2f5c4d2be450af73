//! Every case of `tests/schema/cases`, as server-side dry-run applies.

use futures::{StreamExt, stream};
use kube::Client;

use crate::cases::{self, Case};
use crate::cluster::{apply, client};

/// What the API server did other than told.
async fn wrong(client: &Client, number: usize, case: Case) -> Option<String> {
    let Case { name, before, mut object, rejected } = case;
    if let Some(before) = before {
        // Cases share one server: an object that is there has a name of its own.
        let own = format!("case-{number}");
        object = object.with("metadata.name", own.as_str());
        if let Err(message) = apply(client, &before.with("metadata.name", own).0, false).await {
            return Some(format!("{name:?}: what was there before is rejected: {message}"));
        }
    }
    match (apply(client, &object.0, true).await, rejected) {
        (Ok(_), None) => None,
        (Ok(_), Some(_)) => Some(format!("{} {name:?}: accepted", object.kind())),
        (Err(message), None) => Some(format!("{} {name:?}: rejected: {message}", object.kind())),
        (Err(message), Some(part)) => {
            (!message.contains(part)).then(|| format!("{} {name:?}: rejected, but not for {part:?}: {message}", object.kind()))
        }
    }
}

#[tokio::test]
async fn the_api_server_judges_every_case_as_told() {
    let client = client().await;
    let cases = cases::all();
    let count = cases.len();
    let wrong: Vec<String> = stream::iter(cases.into_iter().enumerate())
        .map(|(number, case)| wrong(&client, number, case))
        .buffer_unordered(8)
        .filter_map(async |wrong| wrong)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}
