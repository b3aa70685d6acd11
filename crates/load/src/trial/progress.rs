//! Live figures of a trial.

use std::time::Duration;

/// How a trial is, shown every quarter of a second.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// What it is at.
    pub phase: Phase,
    /// Since the trial began.
    pub elapsed: Duration,
    /// How long it will last, if that is known: not for a search.
    pub total: Option<Duration>,
    /// Calls that are set up now.
    pub calls: u32,
    /// Calls that could not be set up so far.
    pub failed_calls: u64,
    /// Packets sent so far.
    pub sent: u64,
    /// Packets received so far, each counted once.
    pub received: u64,
    /// Packets that count as lost so far.
    pub lost: u64,
    /// Packets received per second since the snapshot before.
    pub received_per_second: f64,
    /// Median of the added latency since the snapshot before, in microseconds; `None` when nothing came.
    pub p50_us: Option<u64>,
    /// 99th percentile of the same.
    pub p99_us: Option<u64>,
    /// Processor time of the process under test since the snapshot before, in percent of one core.
    pub cpu_percent: Option<f64>,
    /// Resident memory of the process under test, in bytes.
    pub rss: Option<u64>,
    /// Processor time of the busiest thread of the generator since the snapshot before, in percent of one core.
    pub generator_percent: f64,
}

/// What a trial is at.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Calls are set up.
    SettingUp,
    /// Media flows, measured.
    Measuring,
    /// A step of a search for the highest load.
    Searching {
        /// From 1.
        step: u32,
        /// Calls of this step.
        calls: u32,
    },
    /// What is still on its way is awaited, and calls are torn down.
    Finishing,
}
