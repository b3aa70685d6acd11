//! The plots of a report.

#![expect(clippy::cast_possible_truncation, reason = "the places of bars are few; a cast of a float saturates")]

use super::axis::Axis;
use super::plot::{Colour, Plot};
use crate::trial::plan::Mode;
use crate::trial::report::{Bucket, Latency, Report, Second};
use crate::trial::unit::{bytes, micros, number, percent, seconds, share};

/// Bars of the latency's distribution in a decade.
const BARS_PER_DECADE: f64 = 20.0;
/// The most points of a line.
const POINTS: usize = 400;

/// The distribution of the added latency, and the latency by percentile.
pub(super) fn latency(report: &Report) -> String {
    let latency = &report.latency;
    if latency.histogram.is_empty() {
        return "<p>No packet came through.</p>".into();
    }
    let limit = report.plan.limits.max_p99.map(|limit| limit.as_secs_f64() * 1e6);
    distribution(latency) + &percentiles(latency, limit)
}

/// A bar of the distribution.
struct Bar {
    from: f64,
    to: f64,
    share: f64,
}

fn distribution(latency: &Latency) -> String {
    let bars = bars(latency);
    let (low, high) = (bars.first().map_or(1.0, |bar| bar.from), bars.last().map_or(10.0, |bar| bar.to));
    let most = bars.iter().map(|bar| bar.share).fold(0.0, f64::max);
    let mut plot = Plot::new("Share of packets", Axis::logarithmic(low, high, micros), Axis::linear(most, share));
    for bar in bars.iter().filter(|bar| bar.share > 0.0) {
        plot.bar(bar.from, bar.to, bar.share, Colour::First);
    }
    for (name, at) in marks(latency) {
        plot.mark(at, &format!("{name} {}", micros(at)));
    }
    for bar in bars {
        plot.tip(bar.from, bar.to, &format!("{} to {}: {}", micros(bar.from), micros(bar.to), share(bar.share)));
    }
    plot.finish()
}

fn marks(latency: &Latency) -> [(&'static str, f64); 5] {
    [
        ("p50", latency.p50_us),
        ("p90", latency.p90_us),
        ("p99", latency.p99_us),
        ("p99.9", latency.p99_9_us),
        ("p99.99", latency.p99_99_us),
    ]
}

/// The histogram's buckets, gathered into bars that are equally wide on a logarithmic axis.
fn bars(latency: &Latency) -> Vec<Bar> {
    let place = |value: f64| (value.max(1.0).log10() * BARS_PER_DECADE).floor() as i32;
    let edge = |place: i32| 10_f64.powf(f64::from(place) / BARS_PER_DECADE);
    let (Some(first), Some(last)) = (latency.histogram.first(), latency.histogram.last()) else { return Vec::new() };
    let (first, last) = (place(first.up_to_us), place(last.up_to_us));
    let all: u64 = latency.histogram.iter().map(|bucket| bucket.count).sum();
    let mut bars: Vec<Bar> =
        (first..=last).map(|place| Bar { from: edge(place), to: edge(place + 1), share: 0.0 }).collect();
    for Bucket { up_to_us, count } in &latency.histogram {
        bars[(place(*up_to_us) - first) as usize].share += *count as f64 / all.max(1) as f64;
    }
    bars
}

fn percentiles(latency: &Latency, limit: Option<f64>) -> String {
    let all: u64 = latency.histogram.iter().map(|bucket| bucket.count).sum();
    let mut below = 0;
    let mut points = Vec::new();
    for bucket in &latency.histogram {
        let up_to = bucket.up_to_us.max(1.0);
        points.push((rarity(below, all), up_to));
        below += bucket.count;
        points.push((rarity(below.min(all - 1), all), up_to));
    }
    let points = thinned(points);
    let (low, high) = (points.first().map_or(1.0, |point| point.1), points.last().map_or(10.0, |point| point.1));
    let high = limit.map_or(high, |limit| high.max(limit));
    let y = Axis::logarithmic(low * 0.8, high * 1.2, micros);
    let mut plot = Plot::new("By percentile", Axis::percentiles(all as f64), y);
    if let Some(limit) = limit {
        plot.limit(limit, &format!("limit of p99: {}", micros(limit)));
    }
    plot.line("latency", Colour::First, points.iter().map(|(x, y)| (*x, Some(*y))));
    for (name, at) in marks(latency) {
        let x = name[1..].parse::<f64>().map_or(1.0, |percentile| 100.0 / (100.0 - percentile));
        if x <= all as f64 {
            plot.dot(x, at, Colour::First);
        }
    }
    plot.finish()
}

/// On the axis of percentiles: how many values there are for each that is above.
fn rarity(below: u64, all: u64) -> f64 {
    all as f64 / (all - below).max(1) as f64
}

/// Points that can be told apart in a drawing: neighbours differ by a hundredth in either direction.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let (mut kept, last) = (Vec::<(f64, f64)>::new(), points.last().copied());
    for point in points {
        let apart = |last: &(f64, f64)| point.0 / last.0 > 1.01 || point.1 / last.1 > 1.01;
        if kept.last().is_none_or(apart) {
            kept.push(point);
        }
    }
    kept.extend(last);
    kept
}

/// Everything that is known for each second.
pub(super) fn over_time(report: &Report) -> String {
    let moments = Moments::of(&report.seconds);
    if moments.0.is_empty() {
        return "<p>Nothing was measured.</p>".into();
    }
    let mut plots = vec![packets(&moments), lost(&moments), latency_over_time(&moments, report)];
    if moments.has(|moment| moment.cpu_percent) {
        plots.push(processor(&moments));
        plots.push(per_packet(&moments));
        plots.push(memory(&moments));
    } else {
        plots.push(generator(&moments));
    }
    if matches!(report.plan.mode, Mode::Churn { .. } | Mode::FindMax) {
        plots.push(calls(&moments));
    }
    plots.concat()
}

/// One or several seconds, as one point of each line.
struct Moment {
    begin: f64,
    end: f64,
    calls: f64,
    sent: f64,
    received: f64,
    lost: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    cpu_percent: Option<f64>,
    cpu_us_per_packet: Option<f64>,
    rss: Option<f64>,
    generator_percent: f64,
}

impl Moment {
    fn of(seconds: &[Second]) -> Self {
        let length: f64 = seconds.iter().map(|second| second.length).sum();
        let end = seconds.last().map_or(0.0, |second| second.at);
        let rate = |of: fn(&Second) -> u64| seconds.iter().map(of).sum::<u64>() as f64 / length.max(1e-9);
        let most = |of: fn(&Second) -> Option<f64>| seconds.iter().filter_map(of).reduce(f64::max);
        let mean = |of: fn(&Second) -> Option<f64>| {
            let known = seconds.iter().filter_map(of);
            let (sum, count) = known.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
            (count > 0.0).then(|| sum / count)
        };
        Self {
            begin: end - length,
            end,
            calls: most(|second| Some(second.calls.into())).unwrap_or(0.0),
            sent: rate(|second| second.sent),
            received: rate(|second| second.received),
            lost: rate(|second| second.lost),
            p50_us: mean(|second| second.p50_us),
            p99_us: most(|second| second.p99_us),
            cpu_percent: mean(|second| second.cpu_percent),
            cpu_us_per_packet: mean(|second| second.cpu_us_per_packet),
            rss: most(|second| second.rss.map(|rss| rss as f64)),
            generator_percent: mean(|second| Some(second.generator_percent)).unwrap_or(0.0),
        }
    }

    fn middle(&self) -> f64 {
        f64::midpoint(self.begin, self.end)
    }

    fn when(&self) -> String {
        format!("{} to {}", seconds(self.begin), seconds(self.end))
    }
}

/// A whole run, in no more moments than can be told apart.
struct Moments(Vec<Moment>);

impl Moments {
    fn of(seconds: &[Second]) -> Self {
        // What is left over at the end is too short for rates.
        let whole: Vec<_> = seconds.iter().filter(|second| second.length > 0.5).copied().collect();
        let seconds = if whole.is_empty() { seconds } else { &whole };
        Self(seconds.chunks(seconds.len().div_ceil(POINTS).max(1)).map(Moment::of).collect())
    }

    fn has(&self, figure: fn(&Moment) -> Option<f64>) -> bool {
        self.0.iter().any(|moment| figure(moment).is_some())
    }

    fn most(&self, figure: impl Fn(&Moment) -> Option<f64>) -> f64 {
        self.0.iter().filter_map(figure).fold(0.0, f64::max)
    }

    fn time(&self) -> Axis {
        Axis::time(self.0.last().map_or(1.0, |moment| moment.end))
    }

    fn line(&self, plot: &mut Plot, name: &str, colour: Colour, figure: fn(&Moment) -> Option<f64>) {
        plot.line(name, colour, self.0.iter().map(|moment| (moment.middle(), figure(moment))));
    }

    fn tips(&self, plot: &mut Plot, text: impl Fn(&Moment) -> String) {
        for moment in &self.0 {
            plot.tip(moment.begin, moment.end, &format!("{}: {}", moment.when(), text(moment)));
        }
    }
}

fn packets(moments: &Moments) -> String {
    let most = moments.most(|moment| Some(moment.sent.max(moment.received)));
    let mut plot = Plot::new("Packets a second", moments.time(), Axis::linear(most, number));
    moments.line(&mut plot, "sent", Colour::Behind, |moment| Some(moment.sent));
    moments.line(&mut plot, "received", Colour::First, |moment| Some(moment.received));
    moments.tips(&mut plot, |m| format!("sent {}, received {} a second", number(m.sent), number(m.received)));
    plot.finish()
}

fn lost(moments: &Moments) -> String {
    let most = moments.most(|moment| Some(moment.lost));
    let mut plot = Plot::new("Packets lost a second", moments.time(), Axis::linear(most, number));
    for moment in moments.0.iter().filter(|moment| moment.lost > 0.0) {
        plot.bar(moment.begin, moment.end, moment.lost, Colour::Bad);
    }
    if most == 0.0 {
        plot.say("none");
    }
    moments.tips(&mut plot, |moment| format!("lost {} a second", number(moment.lost)));
    plot.finish()
}

fn latency_over_time(moments: &Moments, report: &Report) -> String {
    let known = || moments.0.iter().flat_map(|moment| [moment.p50_us, moment.p99_us]).flatten();
    let limit = report.plan.limits.max_p99.map(|limit| limit.as_secs_f64() * 1e6);
    let (low, high) = (known().fold(f64::MAX, f64::min), known().chain(limit).fold(1.0, f64::max));
    let y = Axis::logarithmic(low.min(high) * 0.8, high * 1.2, micros);
    let mut plot = Plot::new("Added latency", moments.time(), y);
    if let Some(limit) = limit {
        plot.limit(limit, &format!("limit of p99: {}", micros(limit)));
    }
    moments.line(&mut plot, "p99", Colour::Second, |moment| moment.p99_us);
    moments.line(&mut plot, "median", Colour::First, |moment| moment.p50_us);
    let written = |value: Option<f64>| value.map_or_else(|| "none".into(), micros);
    moments.tips(&mut plot, |moment| format!("median {}, p99 {}", written(moment.p50_us), written(moment.p99_us)));
    plot.finish()
}

fn processor(moments: &Moments) -> String {
    let most = moments.most(|moment| moment.cpu_percent.map(|relay| relay.max(moment.generator_percent)));
    let mut plot = Plot::new("CPU, of one core", moments.time(), Axis::linear(most, percent));
    moments.line(&mut plot, "generator's busiest thread", Colour::Second, |moment| Some(moment.generator_percent));
    moments.line(&mut plot, "relay, all threads", Colour::First, |moment| moment.cpu_percent);
    let relay = |moment: &Moment| moment.cpu_percent.map_or_else(|| "?".into(), percent);
    moments.tips(&mut plot, |m| format!("relay {}, generator {}", relay(m), percent(m.generator_percent)));
    plot.finish()
}

fn per_packet(moments: &Moments) -> String {
    let most = moments.most(|moment| moment.cpu_us_per_packet);
    let mut plot = Plot::new("CPU of the relay for a packet", moments.time(), Axis::linear(most, micros));
    moments.line(&mut plot, "relay", Colour::First, |moment| moment.cpu_us_per_packet);
    moments.tips(&mut plot, |moment| moment.cpu_us_per_packet.map_or_else(|| "?".into(), micros));
    plot.finish()
}

fn memory(moments: &Moments) -> String {
    const MEBIBYTE: f64 = 1024.0 * 1024.0;
    let most = moments.most(|moment| moment.rss);
    // Ticks that are round in the unit in which they are written.
    let unit = if most < MEBIBYTE {
        1024.0
    } else if most < 1024.0 * MEBIBYTE {
        MEBIBYTE
    } else {
        1024.0 * MEBIBYTE
    };
    let name = if most < MEBIBYTE {
        "KiB"
    } else if most < 1024.0 * MEBIBYTE {
        "MiB"
    } else {
        "GiB"
    };
    let y = Axis::linear(most / unit, |value| format!("{} {name}", number(value)));
    let mut plot = Plot::new("Resident memory of the relay", moments.time(), y);
    plot.line("relay", Colour::First, moments.0.iter().map(|m| (m.middle(), m.rss.map(|rss| rss / unit))));
    moments.tips(&mut plot, |moment| moment.rss.map_or_else(|| "?".into(), bytes));
    plot.finish()
}

fn generator(moments: &Moments) -> String {
    let most = moments.most(|moment| Some(moment.generator_percent));
    let name = "CPU of the generator's busiest thread, of one core";
    let mut plot = Plot::new(name, moments.time(), Axis::linear(most, percent));
    moments.line(&mut plot, "generator", Colour::First, |moment| Some(moment.generator_percent));
    moments.tips(&mut plot, |moment| percent(moment.generator_percent));
    plot.finish()
}

fn calls(moments: &Moments) -> String {
    let most = moments.most(|moment| Some(moment.calls));
    let mut plot = Plot::new("Calls that are up", moments.time(), Axis::linear(most, number));
    moments.line(&mut plot, "calls", Colour::First, |moment| Some(moment.calls));
    moments.tips(&mut plot, |moment| format!("{} calls", number(moment.calls)));
    plot.finish()
}

/// The steps of a search: the load of each against its latency.
pub(super) fn search(report: &Report) -> String {
    let steps = &report.steps;
    let most = steps.iter().map(|step| step.calls).max().unwrap_or(1);
    let p99 = || steps.iter().map(|step| step.p99_us).filter(|p99| *p99 > 0.0);
    let limit = report.plan.limits.max_p99.map(|limit| limit.as_secs_f64() * 1e6);
    let (low, high) = (p99().fold(f64::MAX, f64::min), p99().chain(limit).fold(1.0, f64::max));
    let y = Axis::logarithmic(low.min(high) * 0.7, high * 1.4, micros);
    let mut plot = Plot::new("p99 of the added latency, by calls", Axis::linear(most.into(), number), y);
    if let Some(limit) = limit {
        plot.limit(limit, &format!("limit: {}", micros(limit)));
    }
    let room = f64::from(most) / 100.0;
    for step in steps {
        let (calls, colour) = (f64::from(step.calls), if step.passed { Colour::First } else { Colour::Bad });
        plot.dot(calls, step.p99_us.max(1.0), colour);
        let text = format!("{} calls: p99 {}, loss {}", number(calls), micros(step.p99_us), share(step.loss));
        plot.tip(calls - room, calls + room, &text);
    }
    plot.finish()
}
