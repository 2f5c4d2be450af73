//! The answer for people.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::input::Basis;
use super::report::{CostReport, GroupCost, OtherReuse, OtherScope, QueueCost, Totals};
use crate::api::sensitivity_tier::KeyScope;
use crate::preview::one_line;

/// The answer as text.
pub fn cost_text(report: &CostReport) -> String {
    let mut parts = Vec::new();
    if !report.queues.is_empty() {
        parts.push(queues(&report.queues));
        parts.push(others(&report.queues));
    }
    for (title, groups) in [("TENANT", &report.tenants), ("TIER", &report.tiers), ("ACCOUNT", &report.accounts)] {
        if !groups.is_empty() {
            parts.push(grouped(title, groups));
        }
    }
    parts.extend((!report.scopes.is_empty()).then(|| scopes(&report.scopes)));
    parts.push(summary(report));
    let text = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n") + "\n";
    text.lines().map(|line| one_line(line).trim_end().to_owned() + "\n").collect()
}

fn table(header: &[&str], numbers_from: usize) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.iter().copied());
    for column in table.column_iter_mut().skip(numbers_from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn queues(queues: &[QueueCost]) -> String {
    let mut table = table(&["QUEUE", "TENANT", "TIER", "FROM", "REUSE", "CALLS", "CALLS $", "KEY $", "SUM $"], 4);
    for queue in queues {
        let key = if queue.own_key { queue.key_usd.cents() } else { "shared".to_owned() };
        table.add_row([
            format!("{}/{}", queue.namespace, queue.name),
            queue.tenant.clone(),
            queue.sensitivity_tier.clone(),
            basis(queue.basis).to_owned(),
            seconds(queue.data_key_reuse_seconds),
            queue.requests.to_string(),
            queue.requests_usd.cents(),
            key,
            queue.usd.cents(),
        ]);
    }
    table.to_string()
}

const fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Declared => "declared",
        Basis::Rates => "rates",
        Basis::CloudWatch => "CloudWatch",
    }
}

/// Queues that would fare alike share a line.
fn others(queues: &[QueueCost]) -> String {
    let mut table = table(&["WITH REUSE", "QUEUE", "CALLS", "SUM $", "A REVOCATION MAY LAG"], 2);
    for queue in queues {
        for OtherReuse { data_key_reuse_seconds, revocation_lag_seconds, requests, usd } in &queue.other_reuse {
            table.add_row([
                seconds(*data_key_reuse_seconds),
                format!("{}/{}", queue.namespace, queue.name),
                requests.to_string(),
                usd.cents(),
                seconds(*revocation_lag_seconds),
            ]);
        }
    }
    if table.is_empty() { String::new() } else { table.to_string() }
}

fn grouped(title: &str, groups: &[GroupCost]) -> String {
    let mut table = table(&[title, "QUEUES", "KEYS", "CALLS", "KEYS $", "CALLS $", "FREE $", "SUM $", "BUDGET $"], 1);
    for GroupCost { name, budget_usd, totals } in groups {
        let Totals { queues, keys, requests, keys_usd, requests_usd, free_usd, usd } = totals;
        let budget = budget_usd.map_or_else(String::new, |budget| if *usd > budget { format!("{} (over)", budget.cents()) } else { budget.cents() });
        table.add_row([
            name.clone(),
            queues.to_string(),
            keys.to_string(),
            requests.to_string(),
            keys_usd.cents(),
            requests_usd.cents(),
            free_usd.cents(),
            usd.cents(),
            budget,
        ]);
    }
    table.to_string()
}

fn scopes(scopes: &[OtherScope]) -> String {
    let line = |scope: &OtherScope| {
        let OtherScope { tenant, sensitivity_tier, region, scope, keys, keys_usd, other_scope, other_keys, other_keys_usd, security, .. } = scope;
        format!(
            "{tenant}, tier {sensitivity_tier}, {region}: key scope {} has {keys} for ${}; {} would have {other_keys} for ${}: {security}.",
            name(*scope),
            keys_usd.cents(),
            name(*other_scope),
            other_keys_usd.cents()
        )
    };
    scopes.iter().map(line).collect::<Vec<_>>().join("\n")
}

const fn name(scope: KeyScope) -> &'static str {
    match scope {
        KeyScope::Queue => "Queue",
        KeyScope::Tenant => "Tenant",
    }
}

fn summary(report: &CostReport) -> String {
    let Totals { queues, keys, requests, free_usd, usd, .. } = report.total;
    let mut lines = vec![format!(
        "Estimate: ${} a month for {keys} keys and {requests} calls of {queues} EncryptedQueues, ${} of free calls taken off (KMS prices of {}).",
        usd.cents(),
        free_usd.cents(),
        report.prices.as_of
    )];
    lines.extend(report.notes.iter().map(|note| format!("Note: {note}.")));
    lines.join("\n")
}

/// `5m`, `1h`, `90s`.
fn seconds(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        day if day % 86_400 == 0 => format!("{}d", day / 86_400),
        hour if hour % 3600 == 0 => format!("{}h", hour / 3600),
        minute if minute % 60 == 0 => format!("{}m", minute / 60),
        other => format!("{other}s"),
    }
}
