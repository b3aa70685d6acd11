//! The tables of a report's page.

use std::cmp::Reverse;
use std::fmt;

use super::{charts, escaped, utc};
use crate::trial::plan::OwnRelay;
use crate::trial::report::{Flows, Machine, Report, Spread};
use crate::trial::table::{memory_per_call, step_outcome};
use crate::trial::unit::{bytes, count, micros, number, percent, share};

/// What became of the packets.
pub(super) fn packets(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let (totals, wrong) = (&report.totals, &report.totals.wrong);
    let rows = [
        ("due by the schedule", totals.scheduled),
        ("withheld by the impairment", totals.withheld),
        ("not taken by the kernel", totals.unsent),
        ("sent", totals.sent),
        ("sent twice by the impairment", totals.copies),
        ("received", totals.received),
        ("lost", totals.lost),
        ("received again", totals.duplicates),
        ("received after a later one", totals.reordered),
        ("of another call", wrong.call),
        ("come back to their sender", wrong.direction),
        ("in clear on a protected leg", wrong.in_clear),
        ("not opening with the leg's key", wrong.not_authentic),
        ("with another content", wrong.altered),
        ("more often than sent", wrong.replayed),
        ("none of this trial's", totals.strays),
    ];
    let always = ["sent", "received", "lost"];
    let shown = rows.into_iter().filter(|(name, packets)| *packets > 0 || always.contains(name));
    let rows: Vec<_> = shown.map(|(name, packets)| [name.to_owned(), count(packets)]).collect();
    table(f, "What became of the packets", &["packets", "count"], &rows)
}

/// What the relay says it dropped.
pub(super) fn drops(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let mut drops: Vec<_> = report.relay_drops.iter().filter(|(_, packets)| *packets > 0).collect();
    drops.sort_by_key(|(_, packets)| Reverse(*packets));
    let Some((_, most)) = drops.first() else {
        return card(f, "Drops by reason", "<p>The relay names none.</p>");
    };
    let mut rows = String::from("<table><thead><tr><th>reason</th><th>packets</th><th></th></tr></thead>");
    for (reason, packets) in &drops {
        let (reason, bar) = (escaped(reason), bar(*packets as f64 / *most as f64, "bad"));
        rows += &format!("<tr><td>{reason}</td><td>{}</td><td class=\"share\">{bar}</td></tr>", count(*packets));
    }
    card(f, "Drops by reason, as the relay counts them", &(rows + "</table>"))
}

/// How the flows are distributed.
pub(super) fn flows(f: &mut fmt::Formatter<'_>, flows: &Flows) -> fmt::Result {
    if flows.count == 0 {
        return Ok(());
    }
    let milliseconds = |value: f64| micros(value * 1e3);
    let rows = [
        spread("loss", &flows.loss, share),
        spread("jitter (RFC 3550)", &flows.jitter_ms, milliseconds),
        spread("MOS (E-model)", &flows.mos, |score| format!("{score:.2}")),
    ];
    let name = format!("{} flows", count(flows.count));
    table(f, &name, &["", "least", "median", "mean", "p95", "most"], &rows)
}

fn spread(name: &str, spread: &Spread, written: impl Fn(f64) -> String) -> [String; 6] {
    let [a, b, c, d, e] = [spread.min, spread.median, spread.mean, spread.p95, spread.max].map(written);
    [name.to_owned(), a, b, c, d, e]
}

/// The flows that sound worst.
pub(super) fn worst(f: &mut fmt::Formatter<'_>, flows: &Flows) -> fmt::Result {
    if flows.worst.is_empty() {
        return Ok(());
    }
    let head =
        ["flow", "sent", "lost", "reordered", "jitter", "latency", "MOS", ""].map(|name| format!("<th>{name}</th>"));
    let mut rows = format!("<table><thead><tr>{}</tr></thead>", head.concat());
    for flow in &flows.worst {
        let direction = if flow.from_end == 0 { "first to second" } else { "second to first" };
        let cells = [
            format!("call {}, {direction}", flow.call),
            count(flow.sent),
            count(flow.lost),
            count(flow.reordered),
            micros(flow.jitter_ms * 1e3),
            micros(flow.latency_ms * 1e3),
            format!("{:.2}", flow.mos),
        ];
        let cells = cells.map(|cell| format!("<td>{cell}</td>")).concat();
        // The scale is that of a mean opinion score: 1 to 4.5.
        let bar = bar((flow.mos - 1.0) / 3.5, "one");
        rows += &format!("<tr>{cells}<td class=\"share\">{bar}</td></tr>");
    }
    card(f, "The flows that sound worst", &(rows + "</table>"))
}

/// The steps of a search, with their plot.
pub(super) fn search(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    if report.steps.is_empty() {
        return Ok(());
    }
    write!(f, r#"<h2>Search for the highest load</h2><section class="plots">{}"#, charts::search(report))?;
    let head = ["calls", "packets/s", "loss", "p99", "CPU", "CPU for a packet", "limits"];
    let mut rows = format!("<table><thead><tr>{}</tr></thead>", head.map(|name| format!("<th>{name}</th>")).concat());
    for step in &report.steps {
        let cells = [
            count(step.calls.into()),
            number(step.received_per_second),
            share(step.loss),
            micros(step.p99_us),
            step.cpu_percent.map_or_else(String::new, percent),
            step.cpu_us_per_packet.map_or_else(String::new, micros),
        ];
        let (cells, outcome) = (cells.map(|cell| format!("<td>{cell}</td>")).concat(), step_outcome(step));
        let class = if step.passed { "within" } else { "beyond" };
        rows += &format!("<tr>{cells}<td class=\"{class}\">{outcome}</td></tr>");
    }
    card(f, "Steps, in the order in which they were made", &(rows + "</table>"))?;
    f.write_str("</section>")
}

/// Processor time and memory, of the relay and of the generator.
pub(super) fn processor(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    if let Some(process) = &report.process {
        let spread = &process.cpu_us_per_packet_spread;
        let mut rows = vec![
            ("process", format!("{}, pid {}, {} threads", process.name, process.pid, process.threads)),
            ("CPU", format!("{} s, {} of a core", number(process.cpu_seconds), percent(process.cpu_percent))),
            ("CPU for a packet", format!("{} over all", micros(process.cpu_us_per_packet))),
            (
                "in each second",
                format!("{} to {}, median {}", micros(spread.min), micros(spread.max), micros(spread.median)),
            ),
            (
                "resident",
                format!("{}, {} before the first call", bytes(process.rss as f64), bytes(process.rss_before as f64)),
            ),
            ("most resident", bytes(process.rss_peak as f64)),
        ];
        if let (Some(before), Some(pss)) = (process.pss_before, process.pss) {
            rows.push(("its own share", format!("{}, {} before", bytes(pss as f64), bytes(before as f64))));
        }
        rows.extend(memory_per_call(report).map(|memory| ("memory for a call", bytes(memory))));
        words(f, "Relay", &rows)?;
    }
    let generator = &report.generator;
    let late = [generator.late_p50_us, generator.late_p99_us, generator.late_max_us].map(micros);
    let rows = [
        ("threads", generator.threads.to_string()),
        (
            "CPU",
            format!(
                "{} of a core, busiest thread {}",
                percent(generator.cpu_percent),
                percent(generator.busiest_percent)
            ),
        ),
        ("sent late by", format!("median {}, p99 {}, at most {}", late[0], late[1], late[2])),
        ("lost by its sockets", format!("{} packets", count(generator.overflowed))),
    ];
    words(f, "Generator", &rows)
}

/// How calls were set up.
pub(super) fn set_up(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let (set_up, milliseconds) = (&report.set_up, |value: f64| micros(value * 1e3));
    let took = &set_up.took_ms;
    let mut rows = vec![
        ("set up", format!("{}, {} failed", count(set_up.calls), count(set_up.failed))),
        ("torn down meanwhile", count(set_up.torn_down)),
        ("pace", format!("{} a second", number(set_up.per_second))),
        (
            "took",
            format!(
                "median {}, p95 {}, at most {}",
                milliseconds(took.median),
                milliseconds(took.p95),
                milliseconds(took.max)
            ),
        ),
    ];
    rows.extend(set_up.cpu_us_per_call.map(|cpu| ("CPU of the relay for a call", micros(cpu))));
    words(f, "Calls", &rows)
}

/// What was asked for.
pub(super) fn plan(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let plan = &report.plan;
    let mut rows = vec![("target", plan.target.to_string())];
    rows.extend(plan.settings());
    rows.extend(plan.relay.iter().flat_map(OwnRelay::settings));
    rows.push(("seed", plan.seed.to_string()));
    rows.push(("address", plan.address.to_string()));
    words(f, "Plan", &rows)
}

/// Where it ran.
pub(super) fn machine(f: &mut fmt::Formatter<'_>, machine: &Machine) -> fmt::Result {
    let mut rows = vec![("began", utc(machine.began))];
    rows.extend(machine.circumstances());
    words(f, "Machine", &rows)
}

/// A table of words: a name and what there is to say of it in each row.
fn words(f: &mut fmt::Formatter<'_>, name: &str, rows: &[(&str, String)]) -> fmt::Result {
    let row = |(name, text): &(&str, String)| format!("<tr><th>{}</th><td>{}</td></tr>", escaped(name), escaped(text));
    let rows: String = rows.iter().map(row).collect();
    card(f, name, &format!("<table class=\"words\">{rows}</table>"))
}

/// A table of figures.
fn table<const N: usize>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    head: &[&str; N],
    rows: &[[String; N]],
) -> fmt::Result {
    let head = head.map(|name| format!("<th>{}</th>", escaped(name))).concat();
    let row = |row: &[String; N]| {
        format!("<tr>{}</tr>", row.each_ref().map(|cell| format!("<td>{}</td>", escaped(cell))).concat())
    };
    let rows: String = rows.iter().map(row).collect();
    card(f, name, &format!("<table><thead><tr>{head}</tr></thead>{rows}</table>"))
}

/// A box with a name. The body is HTML already.
fn card(f: &mut fmt::Formatter<'_>, name: &str, body: &str) -> fmt::Result {
    write!(f, r#"<div class="card"><h3>{}</h3>{body}</div>"#, escaped(name))
}

/// A horizontal bar that fills a share of its cell.
fn bar(share: f64, class: &str) -> String {
    let width = (share * 100.0).clamp(0.5, 100.0);
    format!(
        r#"<svg viewBox="0 0 100 8" preserveAspectRatio="none"><rect class="bar {class}" width="{width:.1}" height="8"/></svg>"#
    )
}
