//! A report as a table of text: what was run, what was measured, and in the last lines the verdict.

use std::cmp::Reverse;
use std::fmt::{self, Write as _};

use super::plan::Mode;
use super::report::{Flows, Report, Requests, Spread, Step, Verdict};
use super::unit::{bits, bytes, count, duration, micros, number, percent, seconds, share};

/// Columns of the first cell of a row.
const NAME: usize = 12;
/// Columns of each other cell.
const CELL: usize = 11;
/// How many reasons for which the relay dropped packets are shown.
const DROPS: usize = 8;

/// A report as text, at most 80 columns wide but for what others say (reasons, names).
#[derive(Clone, Copy, Debug)]
pub struct Table<'a>(pub &'a Report);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        writeln!(f, "{}: {}", report.plan.target, report.plan)?;
        packets(f, report)?;
        latency(f, report)?;
        flows(f, &report.flows)?;
        set_up(f, report)?;
        requests(f, &report.requests)?;
        processor(f, report)?;
        steps(f, &report.steps)?;
        drops(f, &report.relay_drops)?;
        notes(f, report)?;
        verdict(f, &report.verdict)
    }
}

fn packets(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    if matches!(report.plan.mode, Mode::Signalling { .. }) {
        return Ok(());
    }
    let (totals, rates) = (&report.totals, &report.rates);
    head(f, "packets", &["sent", "received", "lost", "loss", "reordered", "duplicates"])?;
    let counts = [totals.sent, totals.received, totals.lost].map(count);
    let others = [totals.reordered, totals.duplicates].map(count);
    row(f, "all", counts.into_iter().chain([share(totals.loss())]).chain(others))?;
    row(
        f,
        "a second",
        [number(rates.sent), number(rates.received), format!("  = {} of RTP", bits(rates.received_bits))],
    )
}

fn latency(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let latency = &report.latency;
    if latency.count == 0 {
        return Ok(());
    }
    head(f, "latency", &["p50", "p90", "p99", "p99.9", "p99.99", "max"])?;
    let added = [latency.p50_us, latency.p90_us, latency.p99_us, latency.p99_9_us, latency.p99_99_us, latency.max_us];
    row(f, "added", added.map(micros))
}

fn flows(f: &mut fmt::Formatter<'_>, flows: &Flows) -> fmt::Result {
    if flows.count == 0 {
        return Ok(());
    }
    head(f, &format!("{} flows", count(flows.count)), &["least", "median", "mean", "p95", "most"])?;
    spread(f, "loss", &flows.loss, share)?;
    spread(f, "jitter", &flows.jitter_ms, |milliseconds| micros(milliseconds * 1e3))?;
    spread(f, "MOS", &flows.mos, |score| format!("{score:.2}"))
}

fn set_up(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let set_up = &report.set_up;
    if set_up.calls + set_up.failed == 0 {
        return Ok(());
    }
    head(f, "calls", &["set up", "failed", "a second", "median", "most", "CPU each"])?;
    let took = [set_up.took_ms.median, set_up.took_ms.max].map(|milliseconds| micros(milliseconds * 1e3));
    let cpu = set_up.cpu_us_per_call.map_or_else(String::new, micros);
    let cells = [count(set_up.calls), count(set_up.failed), number(set_up.per_second)];
    row(f, "set-up", cells.into_iter().chain(took).chain([cpu]))
}

fn requests(f: &mut fmt::Formatter<'_>, requests: &[Requests]) -> fmt::Result {
    if requests.is_empty() {
        return Ok(());
    }
    head(f, "replies", &["count", "p50", "p99", "p99.9", "max"])?;
    for Requests { command, count: replies, p50_us, p99_us, p99_9_us, max_us } in requests {
        row(f, command, [count(*replies)].into_iter().chain([*p50_us, *p99_us, *p99_9_us, *max_us].map(micros)))?;
    }
    Ok(())
}

fn processor(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let generator = &report.generator;
    if let Some(process) = &report.process {
        head(f, "relay", &["CPU", "a packet", "least", "most", "resident", "a call"])?;
        let spread = &process.cpu_us_per_packet_spread;
        let per_call = memory_per_call(report).map_or_else(String::new, bytes);
        let per_packet = [process.cpu_us_per_packet, spread.min, spread.max].map(micros);
        let cells = [percent(process.cpu_percent)].into_iter().chain(per_packet);
        row(f, &format!("pid {}", process.pid), cells.chain([bytes(process.rss as f64), per_call]))?;
    }
    head(f, "generator", &["CPU", "busiest", "late p50", "late p99", "late max", "overflowed"])?;
    let late = [generator.late_p50_us, generator.late_p99_us, generator.late_max_us].map(micros);
    let cpu = [generator.cpu_percent, generator.busiest_percent].map(percent);
    let name = format!("{} thread{}", generator.threads, if generator.threads == 1 { "" } else { "s" });
    row(f, &name, cpu.into_iter().chain(late).chain([count(generator.overflowed)]))
}

fn steps(f: &mut fmt::Formatter<'_>, steps: &[Step]) -> fmt::Result {
    if steps.is_empty() {
        return Ok(());
    }
    head(f, "search", &["calls", "packets/s", "loss", "p99", "CPU", "a packet"])?;
    for step in steps {
        let outcome = step_outcome(step);
        let figures =
            [count(step.calls.into()), number(step.received_per_second), share(step.loss), micros(step.p99_us)];
        let cpu = step.cpu_percent.map_or_else(String::new, percent);
        let per_packet = step.cpu_us_per_packet.map_or_else(String::new, micros);
        row(f, outcome, figures.into_iter().chain([cpu, per_packet]))?;
    }
    Ok(())
}

/// Whether a step stayed within the limits. Where the generator was at its own limit, nobody knows.
pub(super) const fn step_outcome(step: &Step) -> &'static str {
    match (step.passed, step.generator_limited) {
        (true, _) => "within",
        (false, false) => "beyond",
        (false, true) => "generator",
    }
}

fn drops(f: &mut fmt::Formatter<'_>, drops: &[(String, u64)]) -> fmt::Result {
    let mut counted: Vec<_> = drops.iter().filter(|(_, packets)| *packets > 0).collect();
    if counted.is_empty() {
        return Ok(());
    }
    counted.sort_by_key(|(_, packets)| Reverse(*packets));
    head(f, "dropped", &["packets"])?;
    for (reason, packets) in counted.iter().take(DROPS) {
        writeln!(f, "  {:NAME$}{:>CELL$}  {}", "", count(*packets), one_line(reason))?;
    }
    if let Some(more) = counted.len().checked_sub(DROPS).filter(|more| *more > 0) {
        writeln!(f, "  {:NAME$}{:>CELL$}  in {more} more reasons, all in the JSON report", "", "…")?;
    }
    Ok(())
}

/// What a reader has to know to read the figures rightly.
pub(super) fn remarks(report: &Report) -> Vec<String> {
    let (totals, mut remarks) = (&report.totals, Vec::new());
    if let Some(highest) = highest_load(&report.steps) {
        remarks.push(format!("the highest load within the limits is {} calls", count(highest.into())));
    }
    if shares_cores(report) {
        remarks.push("generator and relay share processor cores: each slows the other".into());
    }
    if totals.withheld + totals.copies > 0 {
        let (withheld, copies) = (count(totals.withheld), count(totals.copies));
        remarks.push(format!(
            "the impairment withheld {withheld} packets and sent {copies} twice; neither counts as loss"
        ));
    }
    if totals.unsent > 0 {
        remarks
            .push(format!("{} packets were not taken by the kernel; they do not count as sent", count(totals.unsent)));
    }
    if totals.strays > 0 {
        remarks.push(format!("{} datagrams came that are none of this trial's", count(totals.strays)));
    }
    let planned = report.plan.duration.as_secs_f64();
    if !matches!(report.plan.mode, Mode::FindMax | Mode::Signalling { .. }) && report.rates.seconds < planned * 0.9 {
        let measured = seconds(report.rates.seconds);
        remarks.push(format!("media was measured for {measured} of {}", duration(report.plan.duration)));
    }
    remarks
}

fn notes(f: &mut fmt::Formatter<'_>, report: &Report) -> fmt::Result {
    let remarks = remarks(report);
    if !remarks.is_empty() {
        writeln!(f)?;
    }
    remarks.iter().try_for_each(|remark| writeln!(f, "  note: {remark}"))
}

fn verdict(f: &mut fmt::Formatter<'_>, verdict: &Verdict) -> fmt::Result {
    match verdict {
        Verdict::Passed => writeln!(f, "\npassed"),
        Verdict::Failed(reasons) => {
            writeln!(f, "\nFAILED")?;
            reasons.iter().try_for_each(|reason| writeln!(f, "  {}", one_line(&reason.to_string())))
        }
    }
}

/// Whether generator and relay, on this machine both, were not kept on cores of their own.
pub(super) fn shares_cores(report: &Report) -> bool {
    report.process.is_some() && report.machine.apart() != Some(true)
}

/// The highest load that a search found within the limits.
pub(super) fn highest_load(steps: &[Step]) -> Option<u32> {
    steps.iter().filter(|step| step.passed).map(|step| step.calls).max()
}

/// Calls below which the memory that a relay takes once hides what each of them takes.
const ENOUGH_CALLS: u32 = 20;

/// What a call takes of the relay's memory: its own where the kernel tells, else what is resident.
pub(super) fn memory_per_call(report: &Report) -> Option<f64> {
    let process = report.process.as_ref()?;
    let calls = set_up_at_the_end(report);
    let (before, after) = match (process.pss_before, process.pss) {
        (Some(before), Some(after)) => (before, after),
        (None, _) | (_, None) => (process.rss_before, process.rss),
    };
    (calls >= ENOUGH_CALLS).then(|| after.saturating_sub(before) as f64 / f64::from(calls))
}

fn set_up_at_the_end(report: &Report) -> u32 {
    report.seconds.last().map_or(0, |second| second.calls)
}

/// Text of others without what would begin a line or move the cursor.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn spread(f: &mut fmt::Formatter<'_>, name: &str, spread: &Spread, written: impl Fn(f64) -> String) -> fmt::Result {
    row(f, name, [spread.min, spread.median, spread.mean, spread.p95, spread.max].map(written))
}

/// A blank line and the names of columns.
fn head(f: &mut fmt::Formatter<'_>, name: &str, columns: &[&str]) -> fmt::Result {
    writeln!(f)?;
    row(f, name, columns.iter().map(ToString::to_string))
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, cells: impl IntoIterator<Item = String>) -> fmt::Result {
    let mut line = format!("  {name:NAME$}");
    for cell in cells {
        write!(line, " {cell:>width$}", width = CELL - 1)?;
    }
    writeln!(f, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::report::Reason;
    use crate::trial::sample;

    #[test]
    fn a_table_fits_into_80_columns() {
        for report in [sample::report(), sample::nothing(), sample::search()] {
            let table = Table(&report).to_string();
            // The first line says what was run, at any length.
            for line in table.lines().skip(1) {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }

    #[test]
    fn every_cell_stands_below_the_name_of_its_column() {
        let table = Table(&sample::report()).to_string();
        let lines: Vec<_> = table.lines().collect();
        let ends = |line: &str, text: &str| line.find(text).map(|at| line[..at + text.len()].chars().count());
        let head = lines.iter().position(|line| line.contains("p99.99")).expect("the latency is there");
        for (name, value) in [("p50", "µs"), ("max", "ms")] {
            let column = ends(lines[head], name).expect("the column is there");
            let row: String = lines[head + 1].chars().take(column).collect();
            assert!(row.ends_with(value), "{row:?}");
        }
    }

    #[test]
    fn the_last_lines_are_the_verdict_and_its_reasons() {
        let mut report = sample::report();
        assert!(Table(&report).to_string().ends_with("\npassed\n"));
        let reasons = vec![Reason::WrongCall(3), Reason::Relay("gone\u{1b}[2J\nnow".into())];
        report.verdict = Verdict::Failed(reasons);
        let table = Table(&report).to_string();
        let last: Vec<_> = table.lines().rev().take(3).collect();
        assert_eq!(last, ["  gone [2J now", "  3 packets went to another call than theirs", "FAILED"]);
    }

    #[test]
    fn a_search_names_the_highest_load() {
        assert!(Table(&sample::search()).to_string().contains("the highest load within the limits is 3,000 calls"));
    }

    #[test]
    fn the_first_line_names_how_our_relay_was_started() {
        let table = Table(&sample::report()).to_string();
        assert!(table.lines().next().is_some_and(|line| line.ends_with("; relay with 1 worker")), "{table}");
    }

    #[test]
    fn a_run_that_was_ended_early_says_so() {
        let mut report = sample::report();
        report.rates.seconds = 7.5;
        assert!(Table(&report).to_string().contains("media was measured for 7.5s of 20s"));
    }

    #[test]
    fn only_reasons_that_dropped_something_are_listed() {
        let table = Table(&sample::report()).to_string();
        assert!(table.contains("12  source not vouched for") && !table.contains("too short"), "{table}");
    }
}
