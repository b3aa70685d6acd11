//! From what was measured to what is reported, and whether it is good enough.

use hdrhistogram::Histogram;

use super::worker::Measured;
use crate::trial::plan::{Limits, Mode, Plan};
use crate::trial::report::{Bucket, Flow, Flows, Generator, Latency, Process, Reason, Spread, Totals, Wrong};

/// Percent of a core that a thread of the generator may use.
const BUSY: f64 = 90.0;

/// Percent of a core from which on a relay is taken to have all that it can use.
const SATURATED: f64 = 90.0;

/// Microseconds by which the 99th percentile of the generator's sends may be late.
const LATE_US: f64 = 2_000.0;

/// Flows that are reported one by one.
const WORST: usize = 10;

impl Wrong {
    /// Adds what another thread saw.
    pub(super) const fn add(&mut self, other: &Self) {
        self.call += other.call;
        self.direction += other.direction;
        self.in_clear += other.in_clear;
        self.not_authentic += other.not_authentic;
        self.altered += other.altered;
        self.replayed += other.replayed;
    }

    fn reasons(&self) -> Vec<Reason> {
        let each = [
            (self.in_clear, Reason::InClear as fn(u64) -> Reason),
            (self.call, Reason::WrongCall),
            (self.direction, Reason::WrongDirection),
            (self.altered, Reason::Altered),
            (self.not_authentic, Reason::NotAuthentic),
            (self.replayed, Reason::Replayed),
        ];
        each.into_iter().filter(|(count, _)| *count > 0).map(|(count, reason)| reason(count)).collect()
    }
}

/// Why a measurement is not good enough, the worst first.
pub(super) fn reasons(
    plan: &Plan,
    limits: &Limits,
    totals: &Totals,
    latency: &Latency,
    generator: &Generator,
    process: Option<&Process>,
) -> Vec<Reason> {
    let mut reasons = totals.wrong.reasons();
    if totals.received == 0 && !matches!(plan.mode, Mode::Signalling { .. }) {
        reasons.push(Reason::Silence);
    }
    reasons.extend(bottleneck(plan, generator, process));
    if let Some(limit) = limits.max_loss.filter(|limit| totals.loss() > *limit) {
        reasons.push(Reason::Loss { share: totals.loss(), limit });
    }
    if let Some(limit) = limits.max_p99.filter(|limit| latency.p99_us > limit.as_secs_f64() * 1e6) {
        reasons.push(Reason::Latency { p99_us: whole(latency.p99_us), limit_us: whole(limit.as_secs_f64() * 1e6) });
    }
    reasons
}

/// Whether the generator, not the relay, was what the load ended at.
///
/// A thread that saturates a relay works whenever there is room in a window, so that it may be busy as long as the
/// relay is, too.
pub(super) fn bottleneck(plan: &Plan, generator: &Generator, process: Option<&Process>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let saturating = plan.mode == Mode::Saturate;
    let relay_is_busy = process.is_some_and(|process| process.cpu_percent >= SATURATED);
    if generator.busiest_percent > BUSY && !(saturating && relay_is_busy) {
        reasons.push(Reason::GeneratorBusy { percent: generator.busiest_percent });
    }
    if !saturating && generator.late_p99_us > LATE_US {
        reasons.push(Reason::GeneratorLate { p99_us: whole(generator.late_p99_us) });
    }
    if generator.overflowed > 0 {
        reasons.push(Reason::GeneratorOverflowed(generator.overflowed));
    }
    reasons
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "microseconds of at most a minute")]
fn whole(microseconds: f64) -> u64 {
    microseconds.round() as u64
}

/// The packets of a run.
pub(super) fn totals(measured: &Measured) -> Totals {
    let counts = &measured.counts;
    Totals {
        scheduled: counts.scheduled,
        withheld: counts.withheld,
        sent: counts.sent,
        copies: counts.copies,
        unsent: counts.unsent,
        received: counts.received,
        duplicates: counts.duplicates,
        reordered: counts.reordered,
        lost: u64::try_from(counts.lost).unwrap_or(0),
        wrong: measured.wrong,
        strays: measured.strays,
    }
}

/// The percentiles of added latency.
pub(super) fn latency(histogram: &Histogram<u64>) -> Latency {
    if histogram.is_empty() {
        return Latency::default();
    }
    let at = |percentile| microseconds(histogram.value_at_percentile(percentile));
    let recorded = histogram.iter_recorded();
    Latency {
        count: histogram.len(),
        min_us: microseconds(histogram.min()),
        mean_us: histogram.mean() / 1e3,
        p50_us: at(50.0),
        p90_us: at(90.0),
        p99_us: at(99.0),
        p99_9_us: at(99.9),
        p99_99_us: at(99.99),
        max_us: microseconds(histogram.max()),
        histogram: recorded
            .map(|step| Bucket { up_to_us: microseconds(step.value_iterated_to()), count: step.count_at_value() })
            .collect(),
    }
}

/// A percentile in microseconds, if there is anything.
pub(super) fn percentile(histogram: &Histogram<u64>, percentile: f64) -> Option<f64> {
    (!histogram.is_empty()).then(|| microseconds(histogram.value_at_percentile(percentile)))
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

/// The figures of flows; those that sent and received nothing are left out.
pub(super) fn flows(mut flows: Vec<Flow>) -> Flows {
    flows.retain(|flow| flow.sent > 0 || flow.received > 0);
    flows.sort_by(|one, other| one.mos.total_cmp(&other.mos).then(other.lost.cmp(&one.lost)));
    let over = |figure: fn(&Flow) -> f64| spread(flows.iter().map(figure).collect());
    Flows {
        count: flows.len() as u64,
        loss: over(|flow| flow.lost as f64 / (flow.lost + flow.received).max(1) as f64),
        jitter_ms: over(|flow| flow.jitter_ms),
        mos: over(|flow| flow.mos),
        worst: flows.iter().take(WORST).copied().collect(),
    }
}

/// The distribution of values; all zero for none.
pub(super) fn spread(mut values: Vec<f64>) -> Spread {
    values.sort_by(f64::total_cmp);
    let (Some(min), Some(max)) = (values.first().copied(), values.last().copied()) else { return Spread::default() };
    let rank = |percent: usize| values[(values.len() - 1) * percent / 100];
    let half = values.len() / 2;
    let median =
        if values.len().is_multiple_of(2) { f64::midpoint(values[half - 1], values[half]) } else { values[half] };
    Spread { min, median, mean: values.iter().sum::<f64>() / values.len() as f64, p95: rank(95), max }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trial::engine::worker::histogram;
    use crate::trial::plan::RawPlan;

    fn plan(mode: &str) -> Plan {
        Plan::try_from(RawPlan { mode: mode.into(), ..RawPlan::default() }).expect("it is possible")
    }

    #[test]
    fn a_spread_says_where_values_lie() {
        let found = spread((1..=100).map(f64::from).rev().collect());
        assert_eq!(found, Spread { min: 1.0, median: 50.5, mean: 50.5, p95: 95.0, max: 100.0 });
        assert_eq!(spread(vec![3.0]).median, 3.0);
        assert_eq!(spread(Vec::new()), Spread::default());
    }

    #[test]
    fn percentiles_come_from_all_values() {
        let mut values = histogram();
        (1..=10_000_u64).for_each(|value| values.record(value * 1_000).expect("it is in bounds"));
        let found = latency(&values);
        for (value, expected) in [(found.p50_us, 5_000.0), (found.p99_us, 9_900.0), (found.p99_99_us, 9_999.0)] {
            assert!((value - expected).abs() < expected / 500.0, "{value} is not {expected}");
        }
        assert_eq!(found.histogram.iter().map(|bucket| bucket.count).sum::<u64>(), 10_000);
    }

    #[test]
    fn beyond_a_limit_or_wrong_is_not_good_enough() {
        let limits = Limits { max_loss: Some(0.01), max_p99: Some(Duration::from_millis(1)) };
        let good = Totals { sent: 1_000, received: 1_000, ..Totals::default() };
        let of = |totals: Totals, p99_us, generator: Generator| {
            let latency = Latency { p99_us, ..Latency::default() };
            reasons(&plan("paced"), &limits, &totals, &latency, &generator, None)
        };
        let idle = Generator::default();
        assert_eq!(of(good, 1_000.0, idle), []);
        assert_eq!(of(Totals { lost: 11, ..good }, 0.0, idle), [Reason::Loss { share: 0.011, limit: 0.01 }]);
        assert_eq!(of(good, 1_001.0, idle), [Reason::Latency { p99_us: 1_001, limit_us: 1_000 }]);
        assert_eq!(of(Totals { received: 0, ..good }, 0.0, idle), [Reason::Silence]);
        let wrong = Wrong { call: 1, in_clear: 2, ..Wrong::default() };
        assert_eq!(of(Totals { wrong, ..good }, 0.0, idle), [Reason::InClear(2), Reason::WrongCall(1)]);
    }

    #[test]
    fn a_generator_that_is_the_bottleneck_fails_the_run() {
        let busy = Generator { busiest_percent: 97.0, ..Generator::default() };
        let of = |mode, generator: &Generator, relay| {
            let process = Process { cpu_percent: relay, ..Process::default() };
            bottleneck(&plan(mode), generator, Some(&process)).len()
        };
        assert_eq!((of("paced", &busy, 99.0), of("saturate", &busy, 99.0), of("saturate", &busy, 50.0)), (1, 0, 1));
        assert_eq!(of("paced", &Generator { late_p99_us: 2_001.0, ..Generator::default() }, 0.0), 1);
        assert_eq!(of("saturate", &Generator { overflowed: 1, ..Generator::default() }, 99.0), 1);
    }
}
