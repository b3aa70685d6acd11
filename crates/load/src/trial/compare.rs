//! Two reports side by side: what differs, by how much, and whether that is more than noise.
//!
//! A figure that is known for each second of a run has a confidence interval: that of the difference of both means
//! ([`statistics`]). It tells how far the seconds of *these two* runs scatter. Two runs of the same thing can differ by
//! more, so a small difference wants several runs of each, in turn.

pub mod statistics;

use std::fmt;

use self::statistics::{Interval, difference};
use super::plan::{Mode, Plan, TargetAddress};
use super::report::{Reason, Report, Second, Verdict};
use super::table::{highest_load, memory_per_call, one_line, shares_cores};
use super::unit::{bytes, count, micros, number, percent, share};
use super::words::Setting;

/// A difference of less than this share matters to nobody.
const NEGLIGIBLE: f64 = 0.01;

/// Two reports side by side.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What makes the two hard to compare; empty where nothing does.
    pub warnings: Vec<String>,
    /// The figures that both reports have.
    pub rows: Vec<Row>,
    /// What they say of the second report, in a few sentences.
    pub conclusion: String,
}

/// One figure in both reports.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// In the first report.
    pub a: f64,
    /// In the second report.
    pub b: f64,
    /// The interval that holds the true difference, second less first, with 95 % confidence. `None` for a figure that
    /// a run has only once.
    pub interval: Option<Interval>,
    /// What that says of the second report.
    pub finding: Finding,
    /// How the figure is written.
    written: fn(f64) -> String,
}

/// What a difference says of the second report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finding {
    /// Both are the same.
    Same,
    /// The seconds of a run scatter more than that.
    WithinNoise,
    /// It is no noise, but too small to matter.
    Negligible,
    /// It is better.
    Better,
    /// It is worse.
    Worse,
    /// It is lower, which by itself is neither good nor bad.
    Lower,
    /// It is higher, which by itself is neither good nor bad.
    Higher,
    /// A run has the figure only once, or is too short: nothing says whether it is noise.
    Unknown,
}

impl Finding {
    /// What is said of the second report.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::WithinNoise => "within noise",
            Self::Negligible => "under 1 %",
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::Lower => "lower",
            Self::Higher => "higher",
            Self::Unknown => "one value each",
        }
    }
}

/// Which way a figure gets better.
#[derive(Clone, Copy)]
enum Good {
    Low,
    High,
    /// A consequence of other figures.
    Neither,
}

impl Comparison {
    /// Puts two reports side by side.
    pub fn of(a: &Report, b: &Report) -> Self {
        let search = |report: &Report| matches!(report.plan.mode, Mode::FindMax);
        let mut rows = Vec::new();
        // The seconds of a search are those of one of its loads.
        if !search(a) && !search(b) {
            rows.extend(by_seconds(a, b));
        }
        rows.extend(by_runs(a, b));
        let conclusion = match (search(a), search(b)) {
            (false, false) => of_figures(&rows),
            (true, true) => of_searches(a, b),
            (true, false) | (false, true) => {
                "One is a search and the other is none: nothing tells better from worse.".into()
            }
        };
        Self { warnings: warnings(a, b), rows, conclusion }
    }
}

/// A figure that each second of a run has.
type OfSecond = (&'static str, fn(&Second) -> Option<f64>, Good, fn(f64) -> String);

const OF_SECONDS: [OfSecond; 7] = [
    ("packets received/s", |second| Some(second.received as f64 / second.length), Good::High, number),
    ("loss", |second| (second.sent > 0).then(|| second.lost as f64 / second.sent as f64), Good::Low, share),
    ("latency p50", |second| second.p50_us, Good::Low, micros),
    ("latency p99", |second| second.p99_us, Good::Low, micros),
    ("relay CPU", |second| second.cpu_percent, Good::Neither, percent),
    ("relay CPU/packet", |second| second.cpu_us_per_packet, Good::Low, micros),
    ("generator CPU", |second| Some(second.generator_percent), Good::Neither, percent),
];

fn by_seconds(a: &Report, b: &Report) -> impl Iterator<Item = Row> {
    let samples = |report: &Report, figure: fn(&Second) -> Option<f64>| -> Vec<f64> {
        // What is left over at the end of a run is no whole second.
        report.seconds.iter().filter(|second| second.length > 0.5).filter_map(figure).collect()
    };
    OF_SECONDS.into_iter().filter_map(move |(name, figure, good, written)| {
        let (of_a, of_b) = (samples(a, figure), samples(b, figure));
        let (a, b) = (statistics::mean(&of_a)?, statistics::mean(&of_b)?);
        let interval = difference(&of_a, &of_b);
        Some(Row { name, a, b, interval, finding: finding(a, b, interval, good), written })
    })
}

/// A figure that a run has once.
type OfRun = (&'static str, fn(&Report) -> Option<f64>, fn(f64) -> String);

const OF_RUNS: [OfRun; 11] = [
    ("highest load", |report| highest_load(&report.steps).map(f64::from), number),
    ("latency p99.9", |report| (report.latency.count > 0).then_some(report.latency.p99_9_us), micros),
    ("latency p99.99", |report| (report.latency.count > 0).then_some(report.latency.p99_99_us), micros),
    ("latency max", |report| (report.latency.count > 0).then_some(report.latency.max_us), micros),
    ("jitter, median", |report| of_flows(report, report.flows.jitter_ms.median * 1e3), micros),
    ("MOS, median", |report| of_flows(report, report.flows.mos.median), number),
    ("MOS, worst", |report| of_flows(report, report.flows.mos.min), number),
    ("relay resident", |report| report.process.as_ref().map(|process| process.rss as f64), bytes),
    ("relay memory/call", memory_per_call, bytes),
    ("calls set up/s", |report| (report.set_up.calls > 0).then_some(report.set_up.per_second), number),
    ("set-up, median", |report| of_set_up(report, report.set_up.took_ms.median * 1e3), micros),
];

fn of_flows(report: &Report, figure: f64) -> Option<f64> {
    (report.flows.count > 0).then_some(figure)
}

fn of_set_up(report: &Report, figure: f64) -> Option<f64> {
    (report.set_up.calls > 0).then_some(figure)
}

fn by_runs(a: &Report, b: &Report) -> impl Iterator<Item = Row> {
    OF_RUNS.into_iter().filter_map(move |(name, figure, written)| {
        let (a, b) = (figure(a)?, figure(b)?);
        let finding = if a == b { Finding::Same } else { Finding::Unknown };
        Some(Row { name, a, b, interval: None, finding, written })
    })
}

fn finding(a: f64, b: f64, interval: Option<Interval>, good: Good) -> Finding {
    match interval {
        _ if a == b => Finding::Same,
        None => Finding::Unknown,
        Some(interval) if interval.low <= 0.0 && interval.high >= 0.0 => Finding::WithinNoise,
        Some(_) if (b - a).abs() < NEGLIGIBLE * a.abs() => Finding::Negligible,
        Some(_) => match (good, b > a) {
            (Good::Low, false) | (Good::High, true) => Finding::Better,
            (Good::Low, true) | (Good::High, false) => Finding::Worse,
            (Good::Neither, false) => Finding::Lower,
            (Good::Neither, true) => Finding::Higher,
        },
    }
}

/// What makes two reports hard to compare.
fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    for (name, report) in [("A", a), ("B", b)] {
        if let Verdict::Failed(reasons) = &report.verdict {
            let first = reasons.first().map_or_else(String::new, |reason| format!(": {reason}"));
            warnings.push(one_line(&format!("{name} failed{first}")));
        }
        if shares_cores(report) {
            warnings.push(format!("in {name}, generator and relay shared processor cores: each slowed the other"));
        }
    }
    warnings.extend(differing("plans", a.plan.settings(), b.plan.settings()));
    warnings.extend(differing_relays(&a.plan, &b.plan));
    warnings.extend(differing("machines", a.machine.circumstances(), b.machine.circumstances()));
    warnings
}

/// How relays of our own were started, where there are two. Earlier reports do not say.
fn differing_relays(a: &Plan, b: &Plan) -> Vec<String> {
    let unnamed = |name| vec![format!("{name} does not say with which workers, processor and ice-port its relay ran")];
    match (a.relay, b.relay) {
        (Some(of_a), Some(of_b)) => differing("plans", of_a.settings(), of_b.settings()).collect(),
        (None, Some(_)) if a.target == TargetAddress::Channel => unnamed("A"),
        (Some(_), None) if b.target == TargetAddress::Channel => unnamed("B"),
        (None, _) | (_, None) => Vec::new(),
    }
}

fn differing<const N: usize>(what: &str, a: [Setting; N], b: [Setting; N]) -> impl Iterator<Item = String> {
    let pairs = a.into_iter().zip(b).filter(|(a, b)| a != b);
    pairs.map(move |((name, a), (_, b))| one_line(&format!("the {what} differ: {name} {a} in A, {b} in B")))
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["figure", "A", "B", "B less A", "in percent", "95 % confidence", "B is"].map(str::to_owned);
        for [name, a, b, less, relative, interval, finding] in std::iter::once(head).chain(self.rows.iter().map(cells))
        {
            writeln!(f, "  {name:<19}{a:>12}{b:>12}{less:>12}{relative:>11}{interval:>25}  {finding}")?;
        }
        writeln!(f, "\n{}", self.conclusion)?;
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

/// What the figures with an interval say of B.
fn of_figures(rows: &[Row]) -> String {
    let named = |finding| {
        let rows = rows.iter().filter(move |row| row.finding == finding);
        rows.map(|row| row.name).collect::<Vec<_>>().join(", ")
    };
    let parts = [("better", named(Finding::Better)), ("worse", named(Finding::Worse))];
    let parts = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<_> = parts.map(|(word, names)| format!("{word} in {names}")).collect();
    let sentence = match rows.iter().any(|row| row.interval.is_some()) {
        true if parts.is_empty() => "B is neither better nor worse than A beyond noise.".into(),
        true => format!("B is {}.", parts.join("; ")),
        false => "There are too few seconds to tell a difference from noise.".into(),
    };
    let caution = "The intervals come from the seconds of these two runs alone: where a difference is small,\n\
                   run each several times, in turn, before it counts.";
    format!("{sentence}\n{caution}")
}

/// What the highest loads that two searches found say of B.
fn of_searches(a: &Report, b: &Report) -> String {
    let (of_a, of_b) = (Highest::of(a), Highest::of(b));
    let more = match (of_a.calls, of_b.calls) {
        (0, _) | (_, 0) => String::new(),
        (in_a, in_b) if in_a == in_b && !of_a.open && !of_b.open => ": B bears as much as A".into(),
        // A load that may be higher still is only known to be above the other.
        (in_a, in_b) if in_b > in_a && !of_a.open => {
            format!(": B bears {}{} more", of_b.at_least(), share_of(in_b - in_a, in_a))
        }
        (in_a, in_b) if in_b < in_a && !of_b.open => {
            format!(": B bears {}{} less", of_a.at_least(), share_of(in_a - in_b, in_a))
        }
        (_, _) => ": which of them bears more is not known".into(),
    };
    let caution = "A search ends within 2 % of what is borne: where the difference is small, search several times, in turn,\n\
                   before it counts. The other figures are those at the highest load of each.";
    format!("The highest load within the limits is {of_a} in A, {of_b} in B{more}.\n{caution}")
}

/// The highest load that a search found.
#[derive(Clone, Copy, Debug)]
struct Highest {
    /// None within the limits where it is 0.
    calls: u32,
    /// The relay may bear more: the generator could not, or was not asked for more.
    open: bool,
}

impl Highest {
    fn of(report: &Report) -> Self {
        let calls = highest_load(&report.steps).unwrap_or(0);
        let limited = |reason: &Reason| matches!(reason, Reason::SearchLimited { .. });
        let limited = match &report.verdict {
            Verdict::Passed => false,
            Verdict::Failed(reasons) => reasons.iter().any(limited),
        };
        Self { calls, open: limited || calls == report.plan.calls }
    }

    const fn at_least(self) -> &'static str {
        if self.open { "at least " } else { "" }
    }
}

impl fmt::Display for Highest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.calls {
            0 => f.write_str("none"),
            calls => write!(f, "{}{} calls", self.at_least(), count(calls.into())),
        }
    }
}

fn share_of(part: u32, of: u32) -> String {
    percent(f64::from(part) * 100.0 / f64::from(of))
}

fn cells(row: &Row) -> [String; 7] {
    let signed = |value: f64| format!("{}{}", if value > 0.0 { "+" } else { "" }, (row.written)(value));
    let less = row.b - row.a;
    let relative = if less == 0.0 {
        String::new()
    } else if row.a == 0.0 {
        "from 0".into()
    } else {
        let percent = less / row.a * 100.0;
        if percent.abs() < 0.05 { "under 0.1 %".into() } else { format!("{percent:+.1} %") }
    };
    let interval = row.interval.filter(|interval| less != 0.0 || interval.high > interval.low);
    [
        row.name.to_owned(),
        (row.written)(row.a),
        (row.written)(row.b),
        signed(less),
        relative,
        interval.map_or_else(String::new, |Interval { low, high }| format!("{} to {}", signed(low), signed(high))),
        row.finding.as_str().to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::plan::OwnRelay;
    use crate::trial::sample;

    fn row<'a>(comparison: &'a Comparison, name: &str) -> &'a Row {
        comparison.rows.iter().find(|row| row.name == name).expect("it is compared")
    }

    /// The sample with every second's processor time multiplied.
    fn costing(factor: f64) -> Report {
        let mut report = sample::report();
        for second in &mut report.seconds {
            second.cpu_us_per_packet = second.cpu_us_per_packet.map(|cost| cost * factor);
        }
        report
    }

    #[test]
    fn a_report_is_the_same_as_itself() {
        let comparison = Comparison::of(&sample::report(), &sample::report());
        assert!(comparison.rows.iter().all(|row| row.finding == Finding::Same), "{comparison}");
        assert_eq!(comparison.warnings, Vec::<String>::new());
        assert!(comparison.to_string().contains("neither better nor worse"), "{comparison}");
    }

    #[test]
    fn better_and_worse_are_what_is_beyond_noise() {
        let of = |factor| row(&Comparison::of(&sample::report(), &costing(factor)), "relay CPU/packet").finding;
        let findings = [0.8, 0.993, 1.004, 1.2].map(of);
        assert_eq!(findings, [Finding::Better, Finding::WithinNoise, Finding::WithinNoise, Finding::Worse]);
    }

    #[test]
    fn a_difference_that_is_no_noise_can_still_be_too_small_to_matter() {
        let steady = |cost: f64| {
            let mut report = sample::report();
            report.seconds.iter_mut().for_each(|second| second.cpu_us_per_packet = Some(cost));
            report
        };
        let comparison = Comparison::of(&steady(4.0), &steady(4.03));
        assert_eq!(row(&comparison, "relay CPU/packet").finding, Finding::Negligible);
    }

    #[test]
    fn more_packets_are_better_and_more_loss_is_worse() {
        let mut lossy = sample::report();
        for second in &mut lossy.seconds {
            second.lost += 2_000;
            second.received -= 2_000;
        }
        let comparison = Comparison::of(&sample::report(), &lossy);
        assert_eq!(row(&comparison, "packets received/s").finding, Finding::Worse);
        assert_eq!(row(&comparison, "loss").finding, Finding::Worse);
        let back = Comparison::of(&lossy, &sample::report());
        assert_eq!(row(&back, "packets received/s").finding, Finding::Better);
    }

    #[test]
    fn a_figure_of_a_whole_run_has_no_interval() {
        let mut slower = sample::report();
        slower.latency.p99_99_us += 1_000.0;
        let comparison = Comparison::of(&sample::report(), &slower);
        let row = row(&comparison, "latency p99.99");
        assert_eq!((row.interval, row.finding), (None, Finding::Unknown));
    }

    #[test]
    fn a_run_of_two_seconds_concludes_nothing() {
        let comparison = Comparison::of(&sample::lasting(2), &costing(2.0));
        assert!(comparison.rows.iter().all(|row| row.interval.is_none()));
        assert!(comparison.to_string().contains("too few seconds"), "{comparison}");
    }

    #[test]
    fn differing_plans_and_machines_and_failures_are_warned_of() {
        let mut other = sample::report();
        other.plan.calls = 300;
        other.plan.pid = Some(7);
        other.machine.kernel = "Linux 7".into();
        other.machine.process_cores = other.machine.generator_cores.clone();
        other.machine.began += 1;
        other.verdict = Verdict::Failed(vec![Reason::Silence]);
        let warnings = Comparison::of(&sample::report(), &other).warnings;
        for part in ["calls 200 in A, 300 in B", "kernel Linux 6.1.0 in A", "relay's cores", "share", "no packet"] {
            assert_eq!(warnings.iter().filter(|warning| warning.contains(part)).count(), 1, "{part}: {warnings:?}");
        }
        assert_eq!(warnings.len(), 5, "{warnings:?}");
    }

    #[test]
    fn how_relays_of_our_own_were_started_is_compared_where_both_say_so() {
        let with = |relay| {
            let mut report = sample::report();
            report.plan.relay = relay;
            report
        };
        let usual = with(Some(OwnRelay::default()));
        let pinned = with(Some(OwnRelay { processor: Some(1), ..OwnRelay::default() }));
        let mut other = with(None);
        other.plan.target = TargetAddress::Ng("localhost:2223".into());
        let of = |a: &Report, b: &Report| Comparison::of(a, b).warnings;
        assert_eq!(of(&usual, &pinned), ["the plans differ: processor any in A, 1 in B"]);
        let unnamed =
            |name| vec![format!("{name} does not say with which workers, processor and ice-port its relay ran")];
        assert_eq!(of(&usual, &with(None)), unnamed("B"));
        assert_eq!(of(&with(None), &pinned), unnamed("A"));
        for (a, b) in [(&with(None), &with(None)), (&other, &pinned), (&pinned, &other)] {
            assert_eq!(of(a, b), Vec::<String>::new());
        }
    }

    #[test]
    fn searches_are_compared_by_their_highest_load() {
        let comparison = Comparison::of(&sample::search(), &sample::search());
        assert_eq!(row(&comparison, "highest load").a, 3_000.0);
        assert!(comparison.rows.iter().all(|row| row.interval.is_none()), "seconds of different loads");
    }

    #[test]
    fn the_words_on_two_searches_speak_of_the_highest_load_alone() {
        let to = |calls: u32| {
            let mut report = sample::search();
            report.steps.iter_mut().for_each(|step| step.passed = step.calls <= calls);
            report
        };
        let limited =
            |calls: u32| Report { verdict: Verdict::Failed(vec![Reason::SearchLimited { calls: 3_500 }]), ..to(calls) };
        let all = |calls: u32| {
            let mut report = to(calls);
            report.plan.calls = calls;
            report
        };
        for (a, b, words) in [
            (to(2_000), to(3_000), "2,000 calls in A, 3,000 calls in B: B bears 50.0 % more."),
            (to(3_000), to(2_000), "3,000 calls in A, 2,000 calls in B: B bears 33.3 % less."),
            (to(3_000), to(3_000), "3,000 calls in A, 3,000 calls in B: B bears as much as A."),
            (to(2_000), limited(3_000), "2,000 calls in A, at least 3,000 calls in B: B bears at least 50.0 % more."),
            (all(4_000), to(3_000), "at least 4,000 calls in A, 3,000 calls in B: B bears at least 25.0 % less."),
            (
                limited(3_000),
                to(4_000),
                "at least 3,000 calls in A, 4,000 calls in B: which of them bears more is not known.",
            ),
            (
                limited(3_000),
                to(3_000),
                "at least 3,000 calls in A, 3,000 calls in B: which of them bears more is not known.",
            ),
            (to(100), to(500), "none in A, 500 calls in B."),
        ] {
            let text = Comparison::of(&a, &b).to_string();
            assert!(text.contains(&format!("The highest load within the limits is {words}\n")), "{words}: {text}");
            assert!(!text.contains("seconds") && !text.contains("B is neither"), "{text}");
        }
    }

    #[test]
    fn a_search_and_a_run_that_is_none_say_nothing_of_each_other() {
        let (search, paced) = (sample::search(), sample::report());
        for comparison in [Comparison::of(&search, &paced), Comparison::of(&paced, &search)] {
            assert!(comparison.conclusion.starts_with("One is a search"), "{comparison}");
        }
    }
}
