//! Everything that was measured in a trial, and the verdict.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::unit::{self, micros};

/// What a trial found. Serialises; a reader checks [`Report::VERSION`] first.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Report {
    /// Of this structure; grows when a field changes its meaning or goes.
    pub version: u32,
    /// What was run.
    pub plan: Plan,
    /// Where and when.
    pub machine: Machine,
    /// Whether it passed.
    pub verdict: Verdict,
    /// Packets.
    pub totals: Totals,
    /// Packets and bytes per second.
    pub rates: Rates,
    /// Packets that the relay says it dropped, by its own words for the reasons.
    pub relay_drops: Vec<(String, u64)>,
    /// From a packet's scheduled time to its arrival.
    pub latency: Latency,
    /// One flow is what one end sends to the other.
    pub flows: Flows,
    /// Second by second.
    pub seconds: Vec<Second>,
    /// The process under test, where its number is known.
    pub process: Option<Process>,
    /// What the generator knows of itself.
    pub generator: Generator,
    /// How calls were set up.
    pub set_up: SetUp,
    /// How long the relay took to answer, by what it was asked; empty where calls have media.
    #[serde(default)]
    pub requests: Vec<Requests>,
    /// The steps of a search, in the order in which they were made; empty in other modes.
    pub steps: Vec<Step>,
}

impl Report {
    /// The version that this code writes.
    pub const VERSION: u32 = 1;

    /// The report of a run in which nothing happened.
    pub fn empty(plan: Plan, machine: Machine) -> Self {
        Self {
            version: Self::VERSION,
            plan,
            machine,
            verdict: Verdict::Passed,
            totals: Totals::default(),
            rates: Rates::default(),
            relay_drops: Vec::new(),
            latency: Latency::default(),
            flows: Flows::default(),
            seconds: Vec::new(),
            process: None,
            generator: Generator::default(),
            set_up: SetUp::default(),
            requests: Vec::new(),
            steps: Vec::new(),
        }
    }

    /// Reads what [`Report::to_json`] wrote.
    ///
    /// # Errors
    ///
    /// It is something else, or of another version.
    pub fn from_json(text: &str) -> Result<Self, ReadError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_str(text)?;
        if version != Self::VERSION {
            return Err(ReadError::Version(version));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// Writes it for machines.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("plain data with names for keys can be written")
    }
}

/// A text is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is not JSON, or not what a report has.
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    /// It is of a version that this code does not read.
    #[error("it is of version {0}, this program reads version {known}", known = Report::VERSION)]
    Version(u32),
}

/// Whether a run passed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Verdict {
    /// It did.
    Passed,
    /// It did not: why, the worst first.
    Failed(Vec<Reason>),
}

/// Why a run failed. Ordered from what must never happen to what is merely too slow.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub enum Reason {
    /// The relay gave packets of one call to another.
    WrongCall(u64),
    /// The relay gave packets back to the end that sent them.
    WrongDirection(u64),
    /// Packets came in clear on a leg that is protected.
    InClear(u64),
    /// Packets came that do not open with the key of the leg (RFC 3711 §3.3).
    NotAuthentic(u64),
    /// Packets came with another content than they were sent with.
    Altered(u64),
    /// Packets came more often than they were sent.
    Replayed(u64),
    /// More packets were lost than the limit allows.
    Loss {
        /// Share of the packets sent, from 0 to 1.
        share: f64,
        /// The limit.
        limit: f64,
    },
    /// The 99th percentile of the added latency is beyond the limit.
    Latency {
        /// In microseconds.
        p99_us: u64,
        /// The limit, in microseconds.
        limit_us: u64,
    },
    /// Nothing came through at all.
    Silence,
    /// Calls could not be set up.
    CallsFailed {
        /// How many.
        count: u64,
        /// What the first was told.
        first: String,
    },
    /// Calls came later than they should: the relay sets them up too slowly.
    CallsLate {
        /// Calls per second that were asked for.
        wanted: f64,
        /// Calls per second that were begun.
        begun: f64,
    },
    /// The relay went away, or a call could not be torn down.
    Relay(String),
    /// The process under test ended while it was measured.
    ProcessGone(u32),
    /// The generator was the bottleneck: a thread of it was busy all the time.
    GeneratorBusy {
        /// Processor time of its busiest thread, in percent of one core.
        percent: f64,
    },
    /// The generator was the bottleneck: it sent later than scheduled.
    GeneratorLate {
        /// The 99th percentile of how much later, in microseconds.
        p99_us: u64,
    },
    /// The generator was the bottleneck: its sockets overflowed.
    GeneratorOverflowed(u64),
    /// No step of the search stayed within the limits.
    NothingWithinLimits,
    /// The search ended where the generator was the bottleneck.
    SearchLimited {
        /// With so many calls.
        calls: u32,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongCall(count) => write!(f, "{count} packets went to another call than theirs"),
            Self::WrongDirection(count) => write!(f, "{count} packets came back to the end that sent them"),
            Self::InClear(count) => write!(f, "{count} packets came in clear on a protected leg"),
            Self::NotAuthentic(count) => write!(f, "{count} packets did not open with the key of their leg"),
            Self::Altered(count) => write!(f, "{count} packets came with another content than they were sent with"),
            Self::Replayed(count) => write!(f, "{count} packets came more often than they were sent"),
            Self::Loss { share, limit } => {
                write!(f, "{} of the packets were lost, more than {}", unit::share(*share), unit::share(*limit))
            }
            Self::Latency { p99_us, limit_us } => {
                let (p99, limit) = (micros(*p99_us as f64), micros(*limit_us as f64));
                write!(f, "the 99th percentile of the added latency is {p99}, more than {limit}")
            }
            Self::Silence => f.write_str("no packet came through"),
            Self::CallsFailed { count, first } => write!(f, "{count} calls could not be set up: {first}"),
            Self::CallsLate { wanted, begun } => {
                write!(f, "{begun:.1} calls a second could be begun, fewer than {wanted:.1}")
            }
            Self::Relay(error) => f.write_str(error),
            Self::ProcessGone(pid) => write!(f, "process {pid} ended while it was measured"),
            Self::GeneratorBusy { percent } => {
                write!(f, "the generator is the bottleneck: a thread of it used {percent:.0} % of its core")
            }
            Self::GeneratorLate { p99_us } => {
                let p99 = micros(*p99_us as f64);
                write!(f, "the generator is the bottleneck: the 99th percentile of its lateness is {p99}")
            }
            Self::GeneratorOverflowed(count) => {
                write!(f, "the generator is the bottleneck: its sockets lost {count} packets that had arrived")
            }
            Self::SearchLimited { calls } => {
                let calls = unit::count((*calls).into());
                write!(
                    f,
                    "the generator is the bottleneck from {calls} calls on: the relay may bear more than was found"
                )
            }
            Self::NothingWithinLimits => f.write_str("no step of the search stayed within the limits"),
        }
    }
}

/// Where and when a trial was run.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: Vec<usize>,
    /// The kernel's name and release.
    pub kernel: String,
    /// Bytes of memory.
    pub memory: u64,
    /// The version of the generator.
    pub generator: String,
    /// When it began, in seconds since 1970 (UTC).
    pub began: u64,
    /// Cores that the generator's threads were kept on; empty where they were not.
    pub generator_cores: Vec<usize>,
    /// Cores that the process under test may run on; empty where it is not known.
    pub process_cores: Vec<usize>,
}

impl Machine {
    /// Whether the generator and the process under test ran on cores of their own; `None` where it is not known.
    pub fn apart(&self) -> Option<bool> {
        let known = !self.generator_cores.is_empty() && !self.process_cores.is_empty();
        known.then(|| self.generator_cores.iter().all(|core| !self.process_cores.contains(core)))
    }
}

/// Packets of a whole run.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Totals {
    /// Due by the schedule.
    pub scheduled: u64,
    /// Not sent, because the impairment says so.
    pub withheld: u64,
    /// Handed to the kernel, copies not counted.
    pub sent: u64,
    /// Copies sent on purpose.
    pub copies: u64,
    /// Not taken by the kernel; neither sent nor lost.
    pub unsent: u64,
    /// Received with the right content, each counted once.
    pub received: u64,
    /// Received again.
    pub duplicates: u64,
    /// Received after a packet that was sent later.
    pub reordered: u64,
    /// Sent and never received.
    pub lost: u64,
    /// What was received and is wrong.
    pub wrong: Wrong,
    /// Datagrams that are none of a trial's: RTCP of the relay, packets of an earlier trial.
    pub strays: u64,
}

impl Totals {
    /// Share of the packets sent that were lost, from 0 to 1.
    pub fn loss(&self) -> f64 {
        self.lost as f64 / self.sent.max(1) as f64
    }
}

/// Packets that are wrong; a single one fails the run.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Wrong {
    /// Of another call.
    pub call: u64,
    /// Of the end that received it.
    pub direction: u64,
    /// In clear on a protected leg.
    pub in_clear: u64,
    /// Not to be opened with the key of the leg.
    pub not_authentic: u64,
    /// With another content.
    pub altered: u64,
    /// More often than sent.
    pub replayed: u64,
}

/// What flowed per second of the measured time.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Rates {
    /// Seconds measured.
    pub seconds: f64,
    /// Packets sent per second.
    pub sent: f64,
    /// Packets received per second: what the relay forwarded.
    pub received: f64,
    /// Bits of received RTP packets per second, without IP and UDP headers.
    pub received_bits: f64,
}

/// Added latency: from the time a packet was scheduled for to its arrival, in microseconds. A packet that was sent
/// late, because something stalled, counts from its scheduled time all the same.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    /// Packets measured.
    pub count: u64,
    /// The smallest.
    pub min_us: f64,
    /// The mean.
    pub mean_us: f64,
    /// The median.
    pub p50_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p99_9_us: f64,
    /// 99.99th percentile.
    pub p99_99_us: f64,
    /// The largest.
    pub max_us: f64,
    /// The whole distribution, upwards, without empty buckets.
    pub histogram: Vec<Bucket>,
}

/// A bucket of a histogram.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Bucket {
    /// The largest value that falls into it, in microseconds.
    pub up_to_us: f64,
    /// Values in it.
    pub count: u64,
}

/// The distribution of a figure over flows or over intervals.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The mean.
    pub mean: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The largest.
    pub max: f64,
}

/// The figures of flows.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Flows {
    /// How many.
    pub count: u64,
    /// Share of lost packets, from 0 to 1.
    pub loss: Spread,
    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: Spread,
    /// Mean opinion score, 1 to 4.5, by the E-model (ITU-T G.107).
    pub mos: Spread,
    /// The flows with the lowest score, the worst first.
    pub worst: Vec<Flow>,
}

/// The figures of one flow.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Flow {
    /// The call's number.
    pub call: u32,
    /// The end that sends: 0 or 1.
    pub from_end: u8,
    /// Packets sent.
    pub sent: u64,
    /// Packets received, each counted once.
    pub received: u64,
    /// Packets sent and never received.
    pub lost: u64,
    /// Packets received again.
    pub duplicates: u64,
    /// Packets received after one that was sent later.
    pub reordered: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// Mean added latency in milliseconds.
    pub latency_ms: f64,
    /// Mean opinion score.
    pub mos: f64,
}

/// One second of a run, or what is left at its end.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Second {
    /// Its end, in seconds since media was first measured.
    pub at: f64,
    /// Its length in seconds.
    pub length: f64,
    /// Calls that were up at its end.
    pub calls: u32,
    /// Packets sent in it.
    pub sent: u64,
    /// Packets received in it, each counted once.
    pub received: u64,
    /// Packets that were found lost in it.
    pub lost: u64,
    /// Median of the added latency in microseconds; `None` when nothing came.
    pub p50_us: Option<f64>,
    /// 99th percentile of the same.
    pub p99_us: Option<f64>,
    /// Processor time of the process under test, in percent of one core.
    pub cpu_percent: Option<f64>,
    /// Processor time of the process under test per packet that it forwarded, in microseconds.
    pub cpu_us_per_packet: Option<f64>,
    /// Resident memory of the process under test, in bytes.
    pub rss: Option<u64>,
    /// Processor time of the generator's busiest thread, in percent of one core.
    pub generator_percent: f64,
}

/// What the process under test used while media was measured.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// Threads at the end.
    pub threads: u32,
    /// Processor time of all threads, in seconds.
    pub cpu_seconds: f64,
    /// The same in percent of one core.
    pub cpu_percent: f64,
    /// Microseconds of processor time per forwarded packet, over the whole run.
    pub cpu_us_per_packet: f64,
    /// The same in each second, over the seconds.
    pub cpu_us_per_packet_spread: Spread,
    /// Resident memory before the first call, in bytes.
    pub rss_before: u64,
    /// Resident memory at the end, with all calls still up.
    pub rss: u64,
    /// The most that was resident at once.
    pub rss_peak: u64,
    /// Proportional share of resident memory before the first call, in bytes, where the kernel tells.
    pub pss_before: Option<u64>,
    /// The same at the end, with all calls still up.
    pub pss: Option<u64>,
}

/// What the generator knows of itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Generator {
    /// Threads that send and receive.
    pub threads: u32,
    /// Processor time of all of them, in percent of one core.
    pub cpu_percent: f64,
    /// Processor time of the busiest one, in percent of one core.
    pub busiest_percent: f64,
    /// Median of how much later than scheduled packets were sent, in microseconds.
    pub late_p50_us: f64,
    /// 99th percentile of the same.
    pub late_p99_us: f64,
    /// The largest.
    pub late_max_us: f64,
    /// Datagrams that its sockets lost after they had arrived.
    pub overflowed: u64,
}

/// How calls were set up.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct SetUp {
    /// Calls set up.
    pub calls: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Calls torn down while others went on.
    pub torn_down: u64,
    /// Calls set up per second while calls were set up.
    pub per_second: f64,
    /// How long a set-up took, in milliseconds.
    pub took_ms: Spread,
    /// Processor time of the process under test per call, in microseconds, over the time in which calls were set up
    /// without media.
    pub cpu_us_per_call: Option<f64>,
}

/// Requests of one kind, from the sending until the reply was read, in microseconds.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Requests {
    /// What was asked.
    pub command: String,
    /// Replies.
    pub count: u64,
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p99_9_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// One step of a search.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Step {
    /// Calls.
    pub calls: u32,
    /// Packets received per second.
    pub received_per_second: f64,
    /// Share of lost packets, from 0 to 1.
    pub loss: f64,
    /// 99th percentile of the added latency in microseconds.
    pub p99_us: f64,
    /// Processor time of the process under test, in percent of one core.
    pub cpu_percent: Option<f64>,
    /// Processor time of the process under test per forwarded packet, in microseconds.
    pub cpu_us_per_packet: Option<f64>,
    /// Whether it stayed within the limits.
    pub passed: bool,
    /// Whether the generator, not the relay, was the bottleneck: the search can tell nothing above.
    pub generator_limited: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::plan::RawPlan;

    #[test]
    fn a_report_is_read_back_as_it_was_written() {
        let plan = Plan::try_from(RawPlan { mode: "churn".into(), ..RawPlan::default() }).expect("it is possible");
        let verdict = Verdict::Failed(vec![Reason::Loss { share: 0.5, limit: 0.1 }, Reason::Silence]);
        let report = Report { verdict, ..Report::empty(plan, Machine::default()) };
        assert_eq!(Report::from_json(&report.to_json()).expect("we wrote it"), report);
    }

    #[test]
    fn a_report_from_before_it_named_how_our_relay_is_started_is_read() {
        let plan = Plan::try_from(RawPlan::default()).expect("it is possible");
        let mut report = Report::empty(plan, Machine::default());
        let named = "\"relay\":{\"workers\":1,\"processor\":null,\"ice_port\":null}";
        let text = report.to_json();
        assert_eq!(text.matches(named).count(), 1, "{text}");
        let earlier = text.replace(&format!(",{named}"), "");
        report.plan.relay = None;
        assert_eq!(Report::from_json(&earlier).expect("it is a report"), report);
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let plan = Plan::try_from(RawPlan::default()).expect("it is possible");
        let text = Report::empty(plan, Machine::default()).to_json();
        let newer = text.replace("\"version\":1", "\"version\":2");
        assert!(matches!(Report::from_json(&newer), Err(ReadError::Version(2))));
        for broken in ["", "{}", "{\"version\":1}", &text[1..]] {
            assert!(matches!(Report::from_json(broken), Err(ReadError::Form(_))), "{broken}");
        }
    }
}
