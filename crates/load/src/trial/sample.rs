//! Reports that tests write down: what a run could have found.

#![expect(clippy::cast_possible_truncation, reason = "counts of a sample need not be exact")]

use std::time::Duration;

use super::plan::{Mode, Plan, RawPlan};
use super::report::{
    Bucket, Flow, Flows, Generator, Latency, Machine, Process, Rates, Report, Second, SetUp, Spread, Step, Totals,
};

/// A run of 200 calls for 20 seconds, with a little loss.
pub(super) fn report() -> Report {
    lasting(20)
}

/// A run of 200 calls for as many seconds.
pub(super) fn lasting(seconds: u32) -> Report {
    let plan = plan(RawPlan { calls: 200, duration: Duration::from_secs(seconds.into()), ..RawPlan::default() });
    let packets = 20_000 * u64::from(seconds);
    let seconds: Vec<_> = (1..=seconds).map(second).collect();
    let lost = seconds.iter().map(|second| second.lost).sum();
    let length = seconds.len() as f64;
    let rate = (packets - lost) as f64 / length;
    Report {
        totals: Totals {
            scheduled: packets,
            sent: packets,
            received: packets - lost,
            lost,
            reordered: 3,
            ..Totals::default()
        },
        rates: Rates { seconds: length, sent: 20_000.0, received: rate, received_bits: rate * 172.0 * 8.0 },
        relay_drops: vec![("source not vouched for".into(), 12), ("replayed".into(), 4), ("too short".into(), 0)],
        latency: latency(packets - lost),
        flows: flows(),
        seconds,
        process: Some(process()),
        generator: Generator {
            threads: 1,
            cpu_percent: 31.0,
            busiest_percent: 31.0,
            late_p50_us: 12.0,
            late_p99_us: 160.0,
            late_max_us: 900.0,
            overflowed: 0,
        },
        set_up: SetUp {
            calls: 200,
            failed: 0,
            torn_down: 0,
            per_second: 4_800.0,
            took_ms: spread(0.12, 0.2, 1.3),
            cpu_us_per_call: Some(31.0),
        },
        ..Report::empty(plan, machine())
    }
}

/// A run in which no call was set up.
pub(super) fn nothing() -> Report {
    Report::empty(plan(RawPlan::default()), Machine::default())
}

/// A search that found 3,000 calls.
pub(super) fn search() -> Report {
    let limits = RawPlan { max_loss: Some(0.001), max_p99: Some(Duration::from_millis(2)), ..RawPlan::default() };
    let mut report = report();
    report.plan = plan(RawPlan { mode: "find-max".into(), calls: 10_000, ..limits });
    assert_eq!(report.plan.mode, Mode::FindMax);
    report.steps =
        [(500, 300.0), (1_000, 410.0), (2_000, 800.0), (4_000, 61_000.0), (3_000, 1_900.0), (3_500, 4_000.0)]
            .map(|(calls, p99_us)| Step {
                calls,
                received_per_second: f64::from(calls) * 100.0,
                loss: if calls == 4_000 { 0.02 } else { 0.0 },
                p99_us,
                cpu_percent: Some(f64::from(calls) * 0.03),
                cpu_us_per_packet: Some(3.0),
                passed: p99_us < 2_000.0,
                generator_limited: calls == 3_500,
            })
            .to_vec();
    report
}

fn plan(raw: RawPlan) -> Plan {
    Plan::try_from(raw).expect("it is possible")
}

fn machine() -> Machine {
    Machine {
        processor: "a processor".into(),
        cores: vec![0, 1],
        kernel: "Linux 6.1.0".into(),
        memory: 8 << 30,
        generator: "0.1.0".into(),
        began: 1_767_225_600,
        generator_cores: vec![1],
        process_cores: vec![0],
    }
}

/// Figures that go up and down a little, without two alike in a row.
fn second(at: u32) -> Second {
    let wave = (f64::from(at) * 1.7).sin();
    let lost = if at % 7 == 3 { 5 } else { 0 };
    Second {
        at: f64::from(at),
        length: 1.0,
        calls: 200,
        sent: 20_000,
        received: 20_000 - lost,
        lost,
        p50_us: Some(240.0 + 20.0 * wave),
        p99_us: Some(900.0 + 200.0 * wave),
        cpu_percent: Some(8.6 + 0.3 * wave),
        cpu_us_per_packet: Some(4.3 + 0.15 * wave),
        rss: Some((14 << 20) + u64::from(at) * 8_192),
        generator_percent: 31.0 + wave,
    }
}

/// A body around 240 µs and a tail.
fn latency(count: u64) -> Latency {
    let weight = |up_to_us: f64| {
        let body = (-((up_to_us / 240.0).ln() / 0.35).powi(2) / 2.0).exp();
        (body + 2e-3 / (1.0 + (up_to_us / 900.0).powi(2))) * up_to_us
    };
    let places: Vec<f64> = (0..180).map(|n| 40.0 * 1.03_f64.powi(n)).collect();
    let sum: f64 = places.iter().map(|place| weight(*place)).sum();
    let bucket =
        |up_to_us: &f64| Bucket { up_to_us: *up_to_us, count: (weight(*up_to_us) / sum * count as f64) as u64 };
    let histogram: Vec<_> = places.iter().map(bucket).filter(|bucket| bucket.count > 0).collect();
    let all: u64 = histogram.iter().map(|bucket| bucket.count).sum();
    let percentile = |share: f64| {
        let mut below = 0;
        let reached = histogram.iter().find(|bucket| {
            below += bucket.count;
            below as f64 >= share * all as f64
        });
        reached.map_or(0.0, |bucket| bucket.up_to_us)
    };
    Latency {
        count: all,
        min_us: percentile(0.0),
        mean_us: 260.0,
        p50_us: percentile(0.5),
        p90_us: percentile(0.9),
        p99_us: percentile(0.99),
        p99_9_us: percentile(0.999),
        p99_99_us: percentile(0.9999),
        max_us: percentile(1.0),
        histogram,
    }
}

fn flows() -> Flows {
    let flow = |call: u32| Flow {
        call,
        from_end: u8::from(call.is_multiple_of(2)),
        sent: 1_000,
        received: 999 - u64::from(call % 3),
        lost: 1 + u64::from(call % 3),
        duplicates: 0,
        reordered: u64::from(call % 2),
        jitter_ms: 0.3,
        latency_ms: 0.26,
        mos: 4.1 + f64::from(call) / 100.0,
    };
    Flows {
        count: 400,
        loss: spread(0.0, 0.0, 0.003),
        jitter_ms: spread(0.05, 0.08, 0.3),
        mos: spread(4.1, 4.36, 4.37),
        worst: (0..10).map(flow).collect(),
    }
}

fn process() -> Process {
    Process {
        pid: 4_711,
        name: "stox".into(),
        threads: 3,
        cpu_seconds: 1.72,
        cpu_percent: 8.6,
        cpu_us_per_packet: 4.3,
        cpu_us_per_packet_spread: spread(4.15, 4.3, 4.45),
        rss_before: 12 << 20,
        rss: 14 << 20,
        rss_peak: 14 << 20,
        pss_before: Some(11 << 20),
        pss: Some(13 << 20),
    }
}

fn spread(min: f64, median: f64, max: f64) -> Spread {
    Spread { min, median, mean: median, p95: (median + max) / 2.0, max }
}
