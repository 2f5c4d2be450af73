//! The answer as one page that needs nothing else: no script from elsewhere, no font, no image. Everything that was read from AWS is escaped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use super::checks::Severity;
use super::report::{AuditReport, CheckReport, FindingReport, ResourceKind, ResourceReport, SeverityCounts};
use super::text::{counted, per_cent, told};
use crate::preview::turns_writing;

const STYLE: &str = include_str!("html/report.css");
const SCRIPT: &str = include_str!("html/report.js");
/// Nothing but what stands in the page itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Text that stands for itself in a page, in quoted attributes too. Control characters, and those that turn the direction of writing, do not.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other if other.is_control() || turns_writing(other) => f.write_char('\u{fffd}')?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// The answer as a page.
pub fn audit_html(report: &AuditReport) -> String {
    let mut page = String::new();
    let _ = write_page(&mut page, report);
    page
}

fn write_page(page: &mut String, report: &AuditReport) -> fmt::Result {
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<title>SQS queue audit</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    )?;
    head(page, report)?;
    page.push_str("<main>\n");
    by_tenant(page, report)?;
    by_check(page, report)?;
    resources(page, report)?;
    checks(page, report)?;
    write!(
        page,
        "</main>\n<footer class=\"muted\">Written by encrypted-queue {}. A queue is compliant when neither it nor its key has an open finding above info.\
         </footer>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn head(page: &mut String, report: &AuditReport) -> fmt::Result {
    let summary = &report.summary;
    write!(
        page,
        "<header>\n<h1>SQS queue audit</h1>\n<p class=\"muted\">{} and {} in {} of {}, read {}</p>\n",
        counted(summary.queues, "queue", "queues"),
        counted(summary.keys, "customer managed key", "customer managed keys"),
        counted(summary.regions, "Region", "Regions"),
        counted(summary.accounts, "account", "accounts"),
        Escaped(&report.generated_at.replace('T', " ").replace('Z', " UTC")),
    )?;
    if report.partial {
        page.push_str("<div class=\"card alert\" role=\"alert\"><strong>Incomplete: not everything could be read.</strong><ul>");
        for problem in &report.problems {
            write!(page, "<li>{}</li>", Escaped(&told(problem)))?;
        }
        page.push_str("</ul></div>\n");
    }
    page.push_str("<div class=\"overview\">\n");
    share(page, summary.compliant_queues, summary.queues)?;
    page.push_str("<dl class=\"card tiles\" aria-label=\"Open findings by severity\">\n");
    for severity in Severity::ALL {
        writeln!(page, "<div><dt>{}</dt><dd>{}</dd></div>", badge(severity), summary.findings.of(severity))?;
    }
    page.push_str("</dl>\n</div>\n");
    if summary.accepted > 0 {
        writeln!(
            page,
            "<p class=\"muted\">{} by the baseline and not counted.</p>",
            counted(summary.accepted, "finding is accepted", "findings are accepted")
        )?;
    }
    for note in &report.notes {
        writeln!(page, "<p class=\"muted\">Note: {}.</p>", Escaped(note))?;
    }
    page.push_str("</header>\n");
    Ok(())
}

/// The share of compliant queues as a ring.
fn share(page: &mut String, compliant: usize, all: usize) -> fmt::Result {
    const AROUND: usize = 264;
    let (share, drawn) = (per_cent(compliant, all), (compliant * AROUND).checked_div(all).unwrap_or(AROUND));
    writeln!(
        page,
        "<div class=\"card share\"><svg viewBox=\"0 0 100 100\" role=\"img\" aria-label=\"{share} per cent of the queues are compliant\">\
         <circle cx=\"50\" cy=\"50\" r=\"42\" fill=\"none\" stroke=\"var(--track)\" stroke-width=\"11\"/>\
         <circle cx=\"50\" cy=\"50\" r=\"42\" fill=\"none\" stroke=\"var(--good)\" stroke-width=\"11\" stroke-dasharray=\"{drawn} {AROUND}\" \
         transform=\"rotate(-90 50 50)\"/>\
         <text x=\"50\" y=\"57\" text-anchor=\"middle\" font-size=\"22\" font-weight=\"650\" fill=\"var(--text)\">{share} %</text></svg>\
         <p><strong>{compliant} of {}</strong><span class=\"muted\">compliant</span></p></div>",
        counted(all, "queue", "queues"),
    )
}

fn badge(severity: Severity) -> String {
    format!("<span class=\"badge {severity}\">{severity}</span>")
}

fn number(page: &mut String, count: usize) -> fmt::Result {
    write!(page, "<td class=\"number{}\">{count}</td>", if count == 0 { " zero" } else { "" })
}

fn by_tenant(page: &mut String, report: &AuditReport) -> fmt::Result {
    let mut counts = BTreeMap::<Option<&str>, SeverityCounts>::new();
    for (resource, finding) in report.open() {
        counts.entry(resource.tenant.as_deref()).or_default().add(finding.severity);
    }
    let queues = report.by_tenant();
    let tenants: BTreeSet<Option<&str>> = counts.keys().chain(queues.keys()).copied().collect();
    page.push_str("<section aria-labelledby=\"tenants\"><h2 id=\"tenants\">By tenant</h2><div class=\"card scroll\"><table><caption>Compliant queues and open findings by tenant</caption>");
    page.push_str("<thead><tr><th scope=\"col\">Tenant</th><th scope=\"col\">Compliant queues</th>");
    for severity in Severity::ALL {
        write!(page, "<th scope=\"col\" class=\"number\">{severity}</th>")?;
    }
    page.push_str("</tr></thead><tbody>\n");
    for tenant in tenants {
        let (compliant, all) = queues.get(&tenant).copied().unwrap_or_default();
        let share = per_cent(compliant, all);
        let name = tenant.map_or_else(|| "<span class=\"muted\">unknown</span>".to_owned(), |tenant| Escaped(tenant).to_string());
        write!(page, "<tr><th scope=\"row\">{name}</th><td>")?;
        if all > 0 {
            write!(page, "<span class=\"bar\" aria-hidden=\"true\"><span style=\"width:{share}%\"></span></span>{compliant} of {all}")?;
        }
        page.push_str("</td>");
        for severity in Severity::ALL {
            number(page, counts.get(&tenant).map_or(0, |counts| counts.of(severity)))?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div></section>\n");
    Ok(())
}

/// Checks with open findings, and how many; the worst and most frequent first.
fn fired(report: &AuditReport) -> Vec<(&CheckReport, usize)> {
    let mut counts = BTreeMap::<&str, usize>::new();
    for (_, finding) in report.open() {
        *counts.entry(finding.check).or_default() += 1;
    }
    let mut fired: Vec<_> = report.checks.iter().filter_map(|check| Some((check, *counts.get(check.id)?))).collect();
    fired.sort_by(|(a, x), (b, y)| (b.severity, y, a.id).cmp(&(a.severity, x, b.id)));
    fired
}

fn by_check(page: &mut String, report: &AuditReport) -> fmt::Result {
    page.push_str("<section aria-labelledby=\"by-check\"><h2 id=\"by-check\">By check</h2>");
    let fired = fired(report);
    if fired.is_empty() {
        page.push_str("<p>No open findings.</p></section>\n");
        return Ok(());
    }
    page.push_str("<div class=\"card scroll\"><table><caption>Open findings by check</caption><thead><tr><th scope=\"col\">Severity</th>");
    page.push_str("<th scope=\"col\">Check</th><th scope=\"col\">What</th><th scope=\"col\" class=\"number\">Findings</th></tr></thead><tbody>\n");
    for (check, count) in fired {
        let (badge, id, title) = (badge(check.severity), check.id, Escaped(check.title));
        write!(page, "<tr><td>{badge}</td><th scope=\"row\"><a href=\"#check-{id}\"><code>{id}</code></a></th><td>{title}</td>")?;
        number(page, count)?;
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div></section>\n");
    Ok(())
}

fn resources(page: &mut String, report: &AuditReport) -> fmt::Result {
    let remedies: BTreeMap<&str, &CheckReport> = report.checks.iter().map(|check| (check.id, check)).collect();
    page.push_str("<section aria-labelledby=\"resources\"><h2 id=\"resources\">Queues and keys</h2>\n");
    page.push_str("<form class=\"filter\"><label>Search<input type=\"search\" placeholder=\"name, tenant, account …\"></label>");
    page.push_str("<label>Severity<select><option value=\"\">any</option>");
    for severity in Severity::ALL {
        write!(page, "<option>{severity}</option>")?;
    }
    page.push_str("</select></label><output class=\"muted\"></output></form>\n");
    let (with, without): (Vec<_>, Vec<_>) = report.resources.iter().partition(|resource| !resource.findings.is_empty());
    for resource in with {
        resource_details(page, resource, &remedies)?;
    }
    if !without.is_empty() {
        write!(
            page,
            "<details class=\"card\"><summary style=\"padding:.65rem 1rem;cursor:pointer\"><span class=\"badge good\">clean</span> {} without findings</summary><ul class=\"plain\">",
            counted(without.len(), "queue or key", "queues and keys")
        )?;
        for resource in without {
            write!(page, "<li>{}</li>", Escaped(&resource.name))?;
        }
        page.push_str("</ul></details>\n");
    }
    page.push_str("</section>\n");
    Ok(())
}

fn resource_details(page: &mut String, resource: &ResourceReport, checks: &BTreeMap<&str, &CheckReport>) -> fmt::Result {
    let open: BTreeSet<Severity> = resource.open().map(|finding| finding.severity).collect();
    let severities: Vec<&str> = open.iter().map(|severity| severity.as_str()).collect();
    let worst = open.last().map_or_else(|| "<span class=\"badge good\">accepted</span>".to_owned(), |severity| badge(*severity));
    let kind = if resource.kind == ResourceKind::Key { "key" } else { "queue" };
    let tenant = resource.tenant.as_deref().map_or_else(String::new, |tenant| format!(", tenant {}", Escaped(tenant)));
    write!(
        page,
        "<details class=\"card resource\" data-severities=\"{}\"><summary>{worst}<span class=\"name\">{}</span><span class=\"place muted\">{kind}{tenant}, {}</span></summary><div class=\"body\">",
        severities.join(" "),
        Escaped(&resource.name),
        Escaped(&resource.region),
    )?;
    write!(page, "<p class=\"muted\"><code>{}</code>", Escaped(&resource.arn))?;
    for (what, value) in [("declared by", &resource.object), ("tier", &resource.sensitivity_tier), ("key", &resource.key)] {
        if let Some(value) = value {
            write!(page, "<br>{what} <code>{}</code>", Escaped(value))?;
        }
    }
    page.push_str("</p>\n");
    for finding in &resource.findings {
        finding_block(page, finding, checks)?;
    }
    page.push_str("</div></details>\n");
    Ok(())
}

fn finding_block(page: &mut String, finding: &FindingReport, checks: &BTreeMap<&str, &CheckReport>) -> fmt::Result {
    let id = finding.check;
    let Some(check) = checks.get(id) else { return Ok(()) };
    let accepted = if finding.accepted.is_some() { " accepted" } else { "" };
    write!(page, "<div class=\"finding{accepted}\"><h3>{} {} <code>{id}</code></h3><ul>", badge(finding.severity), Escaped(check.title))?;
    for detail in &finding.details {
        write!(page, "<li>{}</li>", Escaped(detail))?;
    }
    page.push_str("</ul>");
    match &finding.accepted {
        Some(accepted) => writeln!(page, "<p class=\"muted\">Accepted until {}: {}</p></div>", Escaped(&accepted.until), Escaped(&accepted.reason)),
        None => writeln!(page, "<p class=\"remedy\"><strong>Remedy:</strong> {}</p></div>", Escaped(check.remedy)),
    }
}

fn checks(page: &mut String, report: &AuditReport) -> fmt::Result {
    let fired = fired(report);
    if fired.is_empty() {
        return Ok(());
    }
    page.push_str("<section aria-labelledby=\"checks\"><h2 id=\"checks\">What the checks are about</h2>\n");
    for (check, _) in fired {
        let (id, badge) = (check.id, badge(check.severity));
        write!(page, "<div class=\"card check\" id=\"check-{id}\"><h3>{badge} {} <code>{id}</code></h3>", Escaped(check.title))?;
        write!(page, "<p>{}</p><p class=\"remedy\"><strong>Remedy:</strong> {}</p>", Escaped(check.why), Escaped(check.remedy))?;
        if !check.controls.is_empty() {
            write!(page, "<p class=\"muted\">Answers {}</p>", Escaped(&check.controls.join(", ")))?;
        }
        page.push_str("</div>\n");
    }
    page.push_str("</section>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::audit::baseline::Baseline;
    use crate::audit::inventory::{Encryption, Inventory, PlaceFacts, PolicyFacts, QueueFacts};
    use crate::audit::{audit_sarif, audit_text};
    use crate::names::{Partition, Place};

    const ODD: &str = "<b onclick=\"x\">&'</b>\u{202e}\u{1b}[31m\n=cmd|' /C calc'!A0 søk";

    /// A policy and tags of somebody who means ill.
    fn odd() -> AuditReport {
        let place = Place { partition: Partition::Aws, account: "123456789012".to_owned(), region: "eu-west-1".to_owned() };
        let statement = json!({"Sid": ODD, "Effect": "Allow", "Principal": {"AWS": [ODD, "*"]}, "Action": [ODD, "sqs:*"], "Resource": "*"});
        let queue = QueueFacts {
            arn: place.queue_arn("odd"),
            attributes: [("KmsMasterKeyId".to_owned(), ODD.to_owned())].into(),
            tags: Some([(ODD.to_owned(), ODD.to_owned()), ("encryptedqueue.dev/tenant".to_owned(), ODD.to_owned())].into()),
            policy: PolicyFacts::of(Some(&json!({"Version": "2012-10-17", "Statement": [statement]}).to_string())),
            encryption: Encryption::Missing,
            tenant: Some(ODD.to_owned()),
            declared: None,
        };
        let facts = PlaceFacts { place, queues: vec![queue], keys: Vec::new(), all_queues: true, all_keys: true, declarations: true };
        let inventory = Inventory { places: vec![facts], problems: Vec::new() };
        AuditReport::of(&inventory, &Baseline::default(), Timestamp::from_second(1_800_000_000).unwrap())
    }

    #[test]
    fn odd_characters_stand_for_themselves_in_every_format() {
        let report = odd();
        assert!(report.open().len() >= 4, "{report:?}");
        let page = audit_html(&report);
        assert!(!page.contains("<b ") && page.contains("&lt;b onclick=&quot;x&quot;&gt;&amp;&#39;") && page.contains("søk"));
        let unsafe_in_text = |character: char| (character.is_control() && character != '\n') || character == '\u{202e}';
        assert!(!page.contains(unsafe_in_text));
        let table = audit_text(&report, None);
        assert!(!table.contains(unsafe_in_text), "{table:?}");
        let rows = table.lines().take_while(|line| !line.is_empty()).count();
        assert_eq!(rows, report.open().len() + 1, "a line each: {table}");
        let sarif = audit_sarif(&report).to_string();
        assert!(serde_json::from_str::<serde_json::Value>(&sarif).is_ok() && !sarif.contains(char::is_control));
    }
}
