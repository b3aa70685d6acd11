//! A report as one HTML page that needs nothing beside itself: no network, no script, plots as inline SVG, light or dark
//! as the reader's system is.
//!
//! Text that comes from elsewhere (a relay's reasons, names of processes and processors) is escaped, and the page
//! forbids itself to load anything.

mod axis;
mod charts;
mod plot;
mod tables;

use std::fmt;

use super::plan::Mode;
use super::report::{Machine, Report, Verdict};
use super::table::{highest_load, memory_per_call, remarks};
use super::unit::{bits, bytes, count, micros, number, percent, share};

/// A report as a page.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a>(pub &'a Report);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let (outcome, word) = match report.verdict {
            Verdict::Passed => ("passed", "passed"),
            Verdict::Failed(_) => ("failed", "FAILED"),
        };
        let (target, plan) = (escaped(&report.plan.target.to_string()), escaped(&report.plan.to_string()));
        let (style, machine) = (include_str!("html/page.css"), escaped(&machine(&report.machine)));
        write!(
            f,
            r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{target}: {word}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{style}</style></head><body class="{outcome}">
<header><h1>stox load relay: {target}</h1><span class="verdict">{word}</span><p class="plan">{plan}</p><p class="machine">{machine}</p></header>
"#
        )?;
        if let Verdict::Failed(reasons) = &report.verdict {
            list(f, "reasons", reasons)?;
        }
        list(f, "remarks", &remarks(report))?;
        tiles(f, report)?;
        write!(f, r#"<h2>Added latency</h2><section class="plots">{}</section>"#, charts::latency(report))?;
        write!(f, r#"<h2>Over time</h2><section class="plots">{}</section>"#, charts::over_time(report))?;
        tables::search(f, report)?;
        f.write_str(r#"<h2>Packets and flows</h2><section class="cards">"#)?;
        tables::packets(f, report)?;
        tables::drops(f, report)?;
        tables::flows(f, &report.flows)?;
        f.write_str("</section>")?;
        tables::worst(f, &report.flows)?;
        f.write_str(r#"<h2>Circumstances</h2><section class="cards">"#)?;
        tables::processor(f, report)?;
        tables::set_up(f, report)?;
        tables::plan(f, report)?;
        tables::machine(f, &report.machine)?;
        let generator = escaped(&report.machine.generator);
        let footer = "Latency counts from the time a packet was scheduled for, so that a stall is not hidden by the \
                      packets it held back.";
        writeln!(f, "</section><footer>Written by stox {generator}. {footer}</footer></body></html>")
    }
}

fn list(f: &mut fmt::Formatter<'_>, class: &str, lines: &[impl ToString]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    write!(f, r#"<ul class="{class}">"#)?;
    lines.iter().try_for_each(|line| write!(f, "<li>{}</li>", escaped(&line.to_string())))?;
    f.write_str("</ul>")
}

/// The figures that are looked at first.
fn tiles(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    f.write_str(r#"<section class="tiles">"#)?;
    let (latency, rates, flows) = (&report.latency, &report.rates, &report.flows);
    if let (Mode::FindMax, highest) = (report.plan.mode, highest_load(&report.steps)) {
        let highest = highest.map_or_else(|| "none".into(), |calls| count(calls.into()));
        tile(f, "highest load", &highest, &format!("calls, after {} steps", report.steps.len()))?;
    }
    tile(f, "forwarded", &format!("{}/s", number(rates.received)), &format!("packets, {}", bits(rates.received_bits)))?;
    tile(
        f,
        "lost",
        &share(report.totals.loss()),
        &format!("{} of {}", count(report.totals.lost), count(report.totals.sent)),
    )?;
    if latency.count > 0 {
        tile(f, "latency, p99", &micros(latency.p99_us), &format!("median {}", micros(latency.p50_us)))?;
    }
    if let Some(process) = &report.process {
        let per_packet = micros(process.cpu_us_per_packet);
        tile(f, "CPU for a packet", &per_packet, &format!("{} of a core", percent(process.cpu_percent)))?;
        let per_call = memory_per_call(report).map_or_else(String::new, |memory| format!("{} a call", bytes(memory)));
        tile(f, "resident memory", &bytes(process.rss as f64), &per_call)?;
    }
    if flows.count > 0 {
        tile(f, "worst MOS", &format!("{:.2}", flows.mos.min), &format!("median {:.2}", flows.mos.median))?;
    }
    if matches!(report.plan.mode, Mode::Churn { .. }) {
        let took = micros(report.set_up.took_ms.median * 1e3);
        tile(f, "calls set up", &format!("{}/s", number(report.set_up.per_second)), &format!("median {took}"))?;
    }
    f.write_str("</section>\n")
}

fn tile(f: &mut fmt::Formatter<'_>, name: &str, figure: &str, more: &str) -> fmt::Result {
    let [name, figure, more] = [name, figure, more].map(escaped);
    write!(f, r#"<div class="tile"><span>{name}</span><b>{figure}</b><small>{more}</small></div>"#)
}

/// One line on where and when.
fn machine(machine: &Machine) -> String {
    let cores = if machine.cores.len() == 1 { "core" } else { "cores" };
    let parts = [
        machine.processor.clone(),
        format!("{} {cores}", machine.cores.len()),
        machine.kernel.clone(),
        utc(machine.began),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ")
}

/// Writes seconds since 1970 as date and time.
pub(super) fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years begin in March, so that a leap day is the last; eras of 400 years are all alike.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", second / 3600, second / 60 % 60)
}

/// Text as it stands in HTML, between tags or in an attribute.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::trial::plan::OwnRelay;
    use crate::trial::report::Reason;
    use crate::trial::sample;

    #[test]
    fn a_page_needs_nothing_beside_itself() {
        let page = Page(&sample::report()).to_string();
        for word in ["http:", "https:", "//", "<script", "<link", "src=", "href=", "url(", "@import"] {
            let style_ends = page.find("</style>").expect("it has a style");
            assert!(!page[style_ends..].contains(word) && !page[..style_ends].contains(word), "{word}");
        }
    }

    #[test]
    fn text_from_elsewhere_is_escaped() {
        let evil = "<script>alert('&\"')</script>";
        let mut report = sample::report();
        report.verdict = Verdict::Failed(vec![Reason::Relay(evil.into())]);
        report.relay_drops = vec![(evil.into(), 3)];
        report.machine.processor = evil.into();
        report.machine.kernel = evil.into();
        report.machine.generator = evil.into();
        report.process.as_mut().expect("it has one").name = evil.into();
        let page = Page(&report).to_string();
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)"));
    }

    #[test]
    fn every_tag_is_closed() {
        for report in [sample::report(), sample::nothing(), sample::search()] {
            let page = Page(&report).to_string();
            for tag in
                ["section", "figure", "svg", "table", "tr", "td", "th", "ul", "li", "div", "body", "html", "text"]
            {
                let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
                assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
            }
            assert!(!page.contains("NaN") && !page.contains("inf"), "a figure that is none");
        }
    }

    #[test]
    fn every_reason_for_a_drop_and_every_percentile_is_there() {
        let report = sample::report();
        let page = Page(&report).to_string();
        for (reason, packets) in &report.relay_drops {
            assert_eq!(
                page.contains(&format!("<td>{reason}</td><td>{}</td>", count(*packets))),
                *packets > 0,
                "{reason}"
            );
        }
        for percentile in ["p50 ", "p90 ", "p99 ", "p99.9 ", "p99.99 "] {
            assert!(
                page.contains(&format!("text-anchor=\"start\">{percentile}"))
                    || page.contains(&format!("text-anchor=\"end\">{percentile}")),
                "{percentile}"
            );
        }
    }

    #[test]
    fn how_our_relay_was_started_is_among_what_was_asked_for() {
        let mut report = sample::report();
        report.plan.relay =
            Some(OwnRelay { processor: Some(7), ice_port: NonZeroU16::new(3_478), ..OwnRelay::default() });
        let page = Page(&report).to_string();
        for (name, value) in [("workers", "1"), ("processor", "7"), ("ice-port", "3478")] {
            assert!(page.contains(&format!("<tr><th>{name}</th><td>{value}</td></tr>")), "{name}");
        }
        report.plan.relay = None;
        assert!(!Page(&report).to_string().contains("<th>workers</th>"));
    }

    #[test]
    fn a_day_of_seconds_makes_no_larger_page_than_an_hour() {
        let of = |seconds| Page(&sample::lasting(seconds)).to_string().len();
        assert!(of(86_400) < 2 * of(3_600));
    }

    #[test]
    fn a_moment_is_written_in_utc() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (951_868_799, "2000-02-29 23:59 UTC"),
            (1_767_225_600, "2026-01-01 00:00 UTC"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
