//! The engine of a trial: threads that send and receive, and what they are told when.
//!
//! An open loop: a packet is due when the schedule says, whatever became of those before it, and its latency counts
//! from that time. A relay that stalls for 200 ms shows in every packet that it held up, and a generator that stalls
//! does, too: then it fails the run itself.
//!
//! - [`run`]: a whole trial
//! - `crew`, `worker`, `seat`: all threads, one thread, one end of a call
//! - `schedule`, `impair`, `stamp`: when a packet is sent, what becomes of it, what it says
//! - `flow`, `verdict`: what its receiver counts, and what is made of it
//! - `search`: the highest load
//! - `net`, `process`: the kernel's side

mod churn;
mod crew;
mod flow;
mod impair;
mod net;
mod process;
mod schedule;
mod search;
mod seat;
mod signalling;
mod stamp;
#[cfg(test)]
mod tests;
mod verdict;
mod worker;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;

use crew::Crew;
use impair::Fates;
use process::Meter;
use search::{Outcome, Search};
use seat::Shape;
use worker::{Measured, Pace};

use super::plan::{Limits, Mode, Plan};
use super::progress::{Phase, Snapshot};
use super::report::{Generator, Machine, Process, Rates, Reason, Report, Second, SetUp, Step, Verdict, Wrong};
use super::target::{CallNumber, Target, TargetError};

/// Calls that are set up before the next look at the clock.
const PORTION: usize = 32;

/// Nanoseconds between two snapshots.
const GLANCE: u64 = 250_000_000;

/// Nanoseconds that packets which did not come are awaited at the end.
const PATIENCE: u64 = 1_000_000_000;

/// What is still good enough in a search that states no limits.
const SEARCH_LIMITS: Limits = Limits { max_loss: Some(0.001), max_p99: Some(Duration::from_millis(10)) };

/// Takes how a trial is, and says whether it is to go on.
pub type Show<'a> = dyn FnMut(&Snapshot) -> ControlFlow<()> + 'a;

/// Runs a trial, shows how it goes, and says what it found. What goes wrong is in the verdict. A trial that is not to go
/// on ends early, with a report on what was measured until then.
pub fn run(plan: &Plan, target: &mut dyn Target, show: &mut Show<'_>) -> Report {
    let mut trial = match Trial::begin(plan, target, show) {
        Ok(trial) => trial,
        Err(error) => {
            let reasons = vec![Reason::Relay(format!("the generator cannot start: {error}"))];
            return Report { verdict: Verdict::Failed(reasons), ..Report::empty(plan.clone(), Machine::default()) };
        }
    };
    match plan.mode {
        Mode::Paced | Mode::Saturate => trial.steady(),
        Mode::Churn { rate, hold } => trial.churn(rate, hold),
        Mode::Signalling { open } => trial.signalling(open),
        Mode::FindMax => trial.find_max(),
    }
    trial.finish()
}

/// A trial that runs. Times are nanoseconds.
struct Trial<'a> {
    plan: Plan,
    target: &'a mut dyn Target,
    show: &'a mut Show<'a>,
    /// It is not to go on.
    ended: bool,
    crew: Crew,
    meter: Option<Meter>,
    began: u64,
    /// How long all of it will take.
    total: Option<Duration>,
    phase: Phase,
    /// Calls that are up, in the order in which they were set up.
    up: Vec<CallNumber>,
    next: u32,
    failed: Option<TargetError>,
    reasons: Vec<Reason>,
    took_ms: Vec<f64>,
    report: Report,
    shown: Shown,
}

/// What was shown, or looked at, last.
#[derive(Clone, Copy, Debug, Default)]
struct Shown {
    at: u64,
    sent: u64,
    received: u64,
    lost: i64,
    processor: Option<u64>,
}

/// What was measured over a time.
struct Window {
    measured: Measured,
    /// Datagrams that sockets of the generator lost after they had arrived.
    overflowed: u64,
    length: u64,
    /// Packets sent, and received, in that time; `measured` counts those that came after it, too.
    sent: u64,
    received: u64,
    seconds: Vec<Second>,
    /// Nanoseconds of processor time of the process under test.
    processor: Option<u64>,
    busy: u64,
    busiest: u64,
}

impl<'a> Trial<'a> {
    fn begin(plan: &Plan, target: &'a mut dyn Target, show: &'a mut Show<'a>) -> std::io::Result<Self> {
        let mut plan = plan.clone();
        plan.pid = plan.pid.or_else(|| target.pid());
        let meter = plan.pid.and_then(Meter::new);
        let cores = net::allowed_cores();
        let process_cores = meter.as_ref().map(Meter::cores).unwrap_or_default();
        let own = cores_for_us(&cores, &process_cores);
        let pace = if plan.mode == Mode::Saturate { Pace::Saturating } else { Pace::Scheduled };
        let ptime = nanos(plan.ptime);
        let began = net::now();
        #[expect(clippy::cast_possible_truncation, reason = "half of a random number is random")]
        let shape = Shape {
            trial: stamp::mix(began ^ plan.seed) as u32,
            payload: plan.payload.into(),
            ptime,
            fates: Fates::new(plan.seed, plan.impair, ptime),
            window: if pace == Pace::Saturating { 8_192 } else { 1_024 },
        };
        let threads = if own.is_empty() { cores.len() / 2 } else { own.len() };
        let crew = Crew::start(threads.clamp(1, 8), &own, shape, pace)?;
        let mut report = Report::empty(plan.clone(), process::machine(cores, own, process_cores));
        if let Some(meter) = &meter {
            let (rss_before, pss_before) = (meter.rss().unwrap_or(0), meter.pss());
            report.process =
                Some(Process { pid: meter.pid(), name: meter.name(), rss_before, pss_before, ..Process::default() });
        }
        Ok(Self {
            total: None,
            plan,
            target,
            show,
            ended: false,
            crew,
            meter,
            began,
            phase: Phase::SettingUp,
            up: Vec::new(),
            next: 0,
            failed: None,
            reasons: Vec::new(),
            took_ms: Vec::new(),
            report,
            shown: Shown { at: began, ..Shown::default() },
        })
    }

    /// The modes in which calls stay up: all of them, then media, then measuring.
    fn steady(&mut self) {
        self.total = Some(self.plan.ramp + self.plan.duration);
        let recorder = if self.plan.ramp.is_zero() {
            self.set_up_silently(self.plan.calls);
            self.phase = Phase::Measuring;
            // Before media flows, so that every packet is measured: one that is overtaken as measuring begins would be
            // received in a time in which it was not sent.
            let mut recorder = Recorder::begin(self);
            recorder.begin_now(self);
            self.crew.start_media();
            recorder
        } else {
            self.crew.start_media();
            self.ramp_to(self.plan.calls, self.plan.ramp);
            self.phase = Phase::Measuring;
            Recorder::begin(self)
        };
        let window = self.record(recorder, self.plan.duration, true);
        self.report_window(window);
    }

    /// Steps of more and fewer calls, until the highest load is known.
    fn find_max(&mut self) {
        let limits = self.limits();
        let settle = self.plan.duration.min(Duration::from_secs(1));
        let mut search = Search::new(self.plan.calls);
        let mut best: Option<(u32, Window)> = None;
        self.crew.start_media();
        while let Some(calls) = search.next() {
            let step = u32::try_from(self.report.steps.len() + 1).unwrap_or(u32::MAX);
            self.phase = Phase::Searching { step, calls };
            self.shrink_to(calls);
            self.ramp_to(calls, settle);
            self.wait(settle);
            let recorder = Recorder::begin(self);
            let window = self.record(recorder, self.plan.duration, false);
            if self.ended {
                best = best.or(Some((calls, window)));
                break; // a step that was cut short is not judged
            }
            let found = self.judge(calls, &window, &limits);
            self.report.steps.push(found);
            search.take(calls, if found.passed { Outcome::Passed } else { Outcome::Failed });
            if window.measured.wrong != Wrong::default() || self.failed.is_some() {
                best = Some((calls, window));
                break;
            }
            if found.passed || best.is_none() {
                best = Some((calls, window));
            }
        }
        let lowest = self.report.steps.iter().filter(|step| !step.passed).min_by_key(|step| step.calls);
        let limited = lowest.filter(|step| step.generator_limited).map(|step| step.calls);
        if search.best().is_none() {
            self.reasons.push(Reason::NothingWithinLimits);
        }
        if let Some((_, window)) = best {
            self.report_window(window);
        }
        if let Some(calls) = limited {
            self.reasons.push(Reason::SearchLimited { calls });
        }
    }

    fn limits(&self) -> Limits {
        match self.plan.mode {
            Mode::FindMax => Limits {
                max_loss: self.plan.limits.max_loss.or(SEARCH_LIMITS.max_loss),
                max_p99: self.plan.limits.max_p99.or(SEARCH_LIMITS.max_p99),
            },
            Mode::Paced | Mode::Saturate | Mode::Churn { .. } | Mode::Signalling { .. } => self.plan.limits,
        }
    }

    /// How a step of a search went.
    fn judge(&self, calls: u32, window: &Window, limits: &Limits) -> Step {
        let totals = verdict::totals(&window.measured);
        let latency = verdict::latency(&window.measured.latency);
        let generator = self.generator(window);
        let rates = self.rates(window);
        let generator_limited = !verdict::bottleneck(&self.plan, &generator, None).is_empty();
        let reasons = verdict::reasons(&self.plan, limits, &totals, &latency, &generator, None);
        Step {
            calls,
            received_per_second: rates.received,
            loss: totals.loss(),
            p99_us: latency.p99_us,
            cpu_percent: window.processor.map(|time| percent(time, window.length)),
            cpu_us_per_packet: window.processor.map(|time| per_packet(time, window.received)),
            passed: reasons.is_empty() && self.failed.is_none(),
            generator_limited,
        }
    }

    /// Sets calls up while nothing else happens, so that their cost is known.
    fn set_up_silently(&mut self, calls: u32) {
        let (began, processor) = (net::now(), self.processor_time());
        while (self.up.len() as u64) < u64::from(calls) && self.goes_on() {
            self.set_up(PORTION.min(calls as usize - self.up.len()));
            self.glance();
        }
        let count = self.up.len().max(1) as f64;
        self.report.set_up.per_second = self.up.len() as f64 / seconds(net::now() - began).max(1e-9);
        let used = self.processor_time().zip(processor).map(|(after, before)| after.saturating_sub(before));
        self.report.set_up.cpu_us_per_call = used.map(|used| used as f64 / 1e3 / count);
    }

    /// Adds calls evenly over a time, while media flows.
    fn ramp_to(&mut self, calls: u32, over: Duration) {
        let (began, first) = (net::now(), self.up.len());
        let more = (calls as usize).saturating_sub(first);
        while self.up.len() < calls as usize && self.goes_on() {
            let share = seconds(net::now() - began) / over.as_secs_f64().max(1e-9);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the calls")]
            let due = first + (more as f64 * share.min(1.0)).ceil() as usize;
            match due.saturating_sub(self.up.len()) {
                0 => net::sleep_until(net::now() + 5_000_000),
                some => self.set_up(some.min(PORTION)),
            }
            self.glance();
        }
        if more > 0 {
            self.report.set_up.per_second = more as f64 / seconds(net::now() - began).max(1e-9);
        }
    }

    /// Sets so many calls up. The first failure is remembered; no more are tried then.
    fn set_up(&mut self, count: usize) {
        let numbers: Vec<CallNumber> = (self.next..).take(count).map(CallNumber).collect();
        self.next = self.next.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        let mut ready = Vec::with_capacity(count);
        for result in self.target.set_up(&numbers) {
            match result {
                Ok(call) => ready.push(call),
                Err(error) => {
                    self.report.set_up.failed += 1;
                    self.failed.get_or_insert(error);
                }
            }
        }
        self.report.set_up.calls += ready.len() as u64;
        self.took_ms.extend(ready.iter().map(|call| call.took.as_secs_f64() * 1000.0));
        self.up.extend(ready.iter().map(|call| call.number));
        self.crew.add(ready);
    }

    /// Tears the latest calls down until so many are left.
    fn shrink_to(&mut self, calls: u32) {
        if self.up.len() > calls as usize {
            let over = self.up.split_off(calls as usize);
            self.crew.hush(&over);
            self.wait(Duration::from_millis(200));
            self.tear_down(&over);
        }
    }

    /// Tears calls down, at the relay first, so that nothing of theirs comes to a port that is used again.
    fn tear_down(&mut self, calls: &[CallNumber]) {
        let retired = self.crew.remove(calls);
        for calls in calls.chunks(PORTION) {
            if let Err(error) = self.target.tear_down(calls) {
                self.reasons.push(Reason::Relay(error.to_string()));
                break;
            }
        }
        drop(retired);
    }

    /// Lets time go by, and shows it.
    fn wait(&mut self, time: Duration) {
        let end = net::now() + nanos(time);
        while net::now() < end && !self.ended {
            net::sleep_until(end.min(net::now() + GLANCE));
            self.glance();
        }
    }

    /// Measures for a time. The last measurement ends when all that was sent came, or is lost.
    fn record(&mut self, mut recorder: Recorder, time: Duration, last: bool) -> Window {
        let end = recorder.began + nanos(time);
        while net::now() < end && !self.ended {
            net::sleep_until(end.min(self.shown.at + GLANCE));
            recorder.look(self, end);
        }
        recorder.end(self, last)
    }

    /// Shows how it is, if it is time to. Returns what happened since then.
    fn glance(&mut self) {
        if net::now() >= self.shown.at + GLANCE {
            self.look();
        }
    }

    /// Looks at everything, and shows it.
    fn look(&mut self) -> Look {
        let now = net::now();
        let length = now - self.shown.at;
        let told = self.crew.tell();
        let processor = self.processor_time();
        let used = processor.zip(self.shown.processor).map(|(after, before)| after.saturating_sub(before));
        self.shown = Shown {
            at: now,
            sent: self.shown.sent + told.sent,
            received: self.shown.received + told.received,
            lost: self.shown.lost + told.lost,
            processor,
        };
        let rss = self.meter.as_ref().and_then(Meter::rss);
        let in_microseconds = |percentile: f64| {
            let value = (!told.latency.is_empty()).then(|| told.latency.value_at_percentile(percentile));
            value.map(|nanos| nanos / 1_000)
        };
        let snapshot = Snapshot {
            phase: self.phase.clone(),
            elapsed: Duration::from_nanos(now - self.began),
            total: self.total,
            calls: u32::try_from(self.up.len()).unwrap_or(u32::MAX),
            failed_calls: self.report.set_up.failed,
            sent: self.shown.sent,
            received: self.shown.received,
            lost: u64::try_from(self.shown.lost).unwrap_or(0),
            received_per_second: told.received as f64 / seconds(length).max(1e-9),
            p50_us: in_microseconds(50.0),
            p99_us: in_microseconds(99.0),
            cpu_percent: used.map(|used| percent(used, length)),
            rss,
            generator_percent: percent(told.busiest, length),
        };
        self.ended |= (self.show)(&snapshot).is_break();
        Look { at: now, length, told, used, rss }
    }

    /// Nothing stands in the way of more calls and more media.
    fn goes_on(&self) -> bool {
        self.failed.is_none() && !self.ended
    }

    fn processor_time(&mut self) -> Option<u64> {
        self.meter.as_mut().and_then(Meter::processor_time)
    }

    fn rates(&self, window: &Window) -> Rates {
        let per_second = |count: u64| count as f64 / seconds(window.length).max(1e-9);
        let bits = 8.0 * f64::from(self.plan.payload + Plan::RTP_HEADER);
        let received = per_second(window.received);
        Rates {
            seconds: seconds(window.length),
            sent: per_second(window.sent),
            received,
            received_bits: received * bits,
        }
    }

    fn generator(&self, window: &Window) -> Generator {
        let late = |percentile| verdict::percentile(&window.measured.late, percentile).unwrap_or(0.0);
        Generator {
            threads: u32::try_from(self.crew.len()).unwrap_or(u32::MAX),
            cpu_percent: percent(window.busy, window.length),
            busiest_percent: percent(window.busiest, window.length),
            late_p50_us: late(50.0),
            late_p99_us: late(99.0),
            late_max_us: late(100.0),
            overflowed: window.overflowed,
        }
    }

    /// Puts what was measured into the report.
    fn report_window(&mut self, window: Window) {
        let (generator, rates) = (self.generator(&window), self.rates(&window));
        let report = &mut self.report;
        report.generator = generator;
        report.totals = verdict::totals(&window.measured);
        report.rates = rates;
        report.latency = verdict::latency(&window.measured.latency);
        if let (Some(process), Some(meter), Some(used)) = (&mut report.process, &mut self.meter, window.processor) {
            process.cpu_seconds = seconds(used);
            process.cpu_percent = percent(used, window.length);
            process.cpu_us_per_packet = per_packet(used, window.received);
            let each = window.seconds.iter().filter_map(|second| second.cpu_us_per_packet).collect();
            process.cpu_us_per_packet_spread = verdict::spread(each);
            process.rss = meter.rss().unwrap_or(0);
            process.pss = meter.pss();
            process.rss_peak = window.seconds.iter().filter_map(|second| second.rss).fold(process.rss, u64::max);
            process.threads = meter.threads();
            process.name = meter.name();
        }
        report.flows = verdict::flows(window.measured.flows);
        report.seconds = window.seconds;
    }

    /// Tears everything down and comes to a verdict.
    fn finish(mut self) -> Report {
        self.phase = Phase::Finishing;
        self.report.relay_drops = self.target.dropped();
        self.look();
        if let Some(meter) = &mut self.meter
            && meter.processor_time().is_none()
        {
            self.reasons.push(Reason::ProcessGone(meter.pid()));
        }
        let up = std::mem::take(&mut self.up);
        self.tear_down(&up);
        let (report, limits) = (&self.report, self.limits());
        let mut reasons = verdict::reasons(
            &self.plan,
            &limits,
            &report.totals,
            &report.latency,
            &report.generator,
            report.process.as_ref(),
        );
        if let Some(first) = &self.failed {
            reasons.push(Reason::CallsFailed { count: report.set_up.failed, first: first.to_string() });
        }
        for reason in self.reasons {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        let took_ms = verdict::spread(self.took_ms);
        let set_up = SetUp { took_ms, ..self.report.set_up };
        let verdict = if reasons.is_empty() { Verdict::Passed } else { Verdict::Failed(reasons) };
        Report { verdict, set_up, ..self.report }
    }
}

/// What a look found since the look before.
struct Look {
    at: u64,
    length: u64,
    told: crew::Told,
    /// Nanoseconds of processor time of the process under test.
    used: Option<u64>,
    rss: Option<u64>,
}

/// Gathers looks into seconds.
struct Recorder {
    began: u64,
    window: Window,
    /// Looks of the second that is not over.
    open: Vec<Look>,
}

impl Recorder {
    fn begin(trial: &mut Trial<'_>) -> Self {
        trial.look();
        let (measured, overflowed) = trial.crew.take(); // what came before counts no more
        let began = trial.shown.at;
        let window = Window {
            measured,
            overflowed,
            length: 0,
            sent: 0,
            received: 0,
            seconds: Vec::new(),
            processor: None,
            busy: 0,
            busiest: 0,
        };
        Self { began, window, open: Vec::new() }
    }

    /// Lets the time of a recorder to which nothing has happened yet begin only now.
    fn begin_now(&mut self, trial: &mut Trial<'_>) {
        trial.shown.at = net::now();
        self.began = trial.shown.at;
    }

    /// Looks, and closes the second if it is over.
    fn look(&mut self, trial: &mut Trial<'_>, end: u64) {
        self.open.push(trial.look());
        let length: u64 = self.open.iter().map(|look| look.length).sum();
        if length + GLANCE / 2 > 1_000_000_000 || trial.shown.at >= end {
            self.close(trial);
        }
    }

    fn close(&mut self, trial: &Trial<'_>) {
        let looks = std::mem::take(&mut self.open);
        let Some(last) = looks.last() else { return };
        let length: u64 = looks.iter().map(|look| look.length).sum();
        let sum = |what: fn(&Look) -> u64| looks.iter().map(what).sum::<u64>();
        let mut latency = worker::histogram();
        looks.iter().for_each(|look| latency.add(&look.told.latency).expect("all have the same bounds"));
        let (sent, received) = (sum(|look| look.told.sent), sum(|look| look.told.received));
        let busiest = sum(|look| look.told.busiest);
        let used: Option<u64> = looks.iter().map(|look| look.used).sum();
        let window = &mut self.window;
        window.length += length;
        window.sent += sent;
        window.received += received;
        window.busiest += busiest;
        window.busy += sum(|look| look.told.busy);
        window.processor = used.map(|used| window.processor.unwrap_or(0) + used).or(window.processor);
        window.seconds.push(Second {
            at: seconds(last.at - self.began),
            length: seconds(length),
            calls: u32::try_from(trial.up.len()).unwrap_or(u32::MAX),
            sent,
            received,
            lost: u64::try_from(looks.iter().map(|look| look.told.lost).sum::<i64>()).unwrap_or(0),
            p50_us: verdict::percentile(&latency, 50.0),
            p99_us: verdict::percentile(&latency, 99.0),
            cpu_percent: used.map(|used| percent(used, length)),
            cpu_us_per_packet: used.filter(|_| received > 0).map(|used| per_packet(used, received)),
            rss: last.rss,
            generator_percent: percent(busiest, length),
        });
    }

    /// Ends the window; the last one when all that was sent came, or is lost.
    fn end(mut self, trial: &mut Trial<'_>, last: bool) -> Window {
        self.close(trial);
        if last {
            trial.crew.hush_all();
            let jitter = nanos(trial.plan.impair.jitter) + 2 * nanos(trial.plan.ptime);
            let end = net::now() + PATIENCE + jitter;
            net::sleep_until(net::now() + jitter);
            while trial.crew.missing(true) > 0 && net::now() < end {
                net::sleep_until(net::now() + 10_000_000);
            }
            trial.crew.missing(false);
        }
        (self.window.measured, self.window.overflowed) = trial.crew.take();
        self.window
    }
}

/// The cores on which the process under test does not run; none where it may run on all of them.
fn cores_for_us(allowed: &[usize], process: &[usize]) -> Vec<usize> {
    let theirs: BTreeSet<usize> = process.iter().copied().collect();
    if theirs.is_empty() { Vec::new() } else { allowed.iter().copied().filter(|core| !theirs.contains(core)).collect() }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn percent(used: u64, of: u64) -> f64 {
    used as f64 * 100.0 / of.max(1) as f64
}

/// Microseconds per packet.
fn per_packet(nanos: u64, packets: u64) -> f64 {
    nanos as f64 / 1e3 / packets.max(1) as f64
}
