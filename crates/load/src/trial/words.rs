//! How plans and live figures read: each setting as it is written on the command line, all of them as one sentence, and
//! one line on how a trial is.

use std::fmt;

use super::plan::{Impairment, MediaSecurity, Mode, OwnRelay, Plan, TargetAddress};
use super::progress::{Phase, Snapshot};
use super::report::Machine;
use super::unit::{bytes, count, duration, micros, number, percent, share};

impl fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ng(address) => write!(f, "ng:{address}"),
            Self::Channel => f.write_str("channel"),
        }
    }
}

impl fmt::Display for MediaSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rtp => "rtp",
            Self::SdesCm80 => "sdes-cm80",
            Self::SdesGcm => "sdes-gcm",
            Self::Dtls => "dtls",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paced => "paced",
            Self::Saturate => "saturate",
            Self::Churn { .. } | Self::Signalling { .. } => "churn",
            Self::FindMax => "find-max",
        })
    }
}

impl fmt::Display for Impairment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| (share > 0.0).then(|| format!("{}%", (share * 1e8).round() / 1e6));
        let parts = [
            ("loss", percent(self.loss)),
            ("jitter", (!self.jitter.is_zero()).then(|| format!("{}ms", self.jitter.as_secs_f64() * 1e3))),
            ("reorder", percent(self.reorder)),
            ("duplicate", percent(self.duplicate)),
        ];
        let parts = parts.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        f.write_str(&parts.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, ptime) = (count(self.calls.into()), duration(self.ptime));
        let bytes = self.payload + Self::RTP_HEADER;
        match self.mode {
            Mode::Paced => write!(f, "{calls} calls, {bytes}-byte packets every {ptime} each way")?,
            Mode::Saturate => write!(f, "{calls} calls, {bytes}-byte packets as fast as they go through")?,
            Mode::Churn { rate, hold } => {
                let (rate, hold) = (number(rate), duration(hold));
                write!(f, "{rate} new calls a second that last {hold}, {bytes}-byte packets every {ptime} each way")?;
            }
            Mode::Signalling { open } => {
                write!(f, "{calls} calls at once that come and go without media, beside {} open", count(open.into()))?;
            }
            Mode::FindMax => {
                write!(f, "search up to {calls} calls, {bytes}-byte packets every {ptime} each way")?;
            }
        }
        write!(f, ", {}{}", self.media, if self.ice { " with ICE" } else { "" })?;
        if self.impair != Impairment::default() {
            write!(f, ", impaired by {}", self.impair)?;
        }
        let each = if matches!(self.mode, Mode::FindMax) { " a step" } else { "" };
        write!(f, ", {}{each}", duration(self.duration))?;
        self.relay.as_ref().map_or(Ok(()), |relay| write!(f, "; relay with {relay}"))
    }
}

impl fmt::Display for OwnRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} worker{}", self.workers, if self.workers.get() == 1 { "" } else { "s" })?;
        if let Some(processor) = self.processor {
            write!(f, " on processor {processor}")?;
        }
        self.ice_port.map_or(Ok(()), |port| write!(f, ", ICE on port {port}"))
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SettingUp => f.write_str("setting up"),
            Self::Measuring => f.write_str("measuring"),
            Self::Searching { step, calls } => write!(f, "step {step} with {} calls", count((*calls).into())),
            Self::Finishing => f.write_str("finishing"),
        }
    }
}

impl fmt::Display for Snapshot {
    /// The live figures in one line; those that are not known, and failures that there are none of, are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} calls", count(self.calls.into()))?;
        if self.failed_calls > 0 {
            write!(f, " ({} failed)", count(self.failed_calls))?;
        }
        write!(f, ", {} packets/s, {} lost", number(self.received_per_second), count(self.lost))?;
        if let (Some(p50), Some(p99)) = (self.p50_us, self.p99_us) {
            write!(f, ", p50 {}, p99 {}", micros(p50 as f64), micros(p99 as f64))?;
        }
        if let Some(cpu) = self.cpu_percent {
            write!(f, ", relay {}", percent(cpu))?;
        }
        if let Some(rss) = self.rss {
            write!(f, ", {}", bytes(rss as f64))?;
        }
        write!(f, ", generator {}", percent(self.generator_percent))
    }
}

/// The name of something that was set or found, and its value as it is written.
pub(super) type Setting = (&'static str, String);

impl Plan {
    /// What is asked of any relay, one by one, by the names of the command line.
    pub(super) fn settings(&self) -> [Setting; 11] {
        let limit = |limit: Option<String>| limit.unwrap_or_else(|| "none".into());
        let mode = match self.mode {
            Mode::Churn { rate, hold } => {
                format!("{}, {} calls a second for {}", self.mode, number(rate), duration(hold))
            }
            Mode::Signalling { open } => {
                format!("{}, without media, beside {} open calls", self.mode, count(open.into()))
            }
            Mode::Paced | Mode::Saturate | Mode::FindMax => self.mode.to_string(),
        };
        [
            ("mode", mode),
            ("calls", self.calls.to_string()),
            ("ramp", duration(self.ramp)),
            ("duration", duration(self.duration)),
            ("media", self.media.to_string()),
            ("ice", if self.ice { "on" } else { "off" }.into()),
            ("impair", limit(Some(self.impair.to_string()).filter(|impair| !impair.is_empty()))),
            ("payload", format!("{} bytes", self.payload)),
            ("ptime", duration(self.ptime)),
            ("max-loss", limit(self.limits.max_loss.map(share))),
            ("max-p99", limit(self.limits.max_p99.map(duration))),
        ]
    }
}

impl OwnRelay {
    /// What is asked of a relay of our own alone, one by one, by the names of the command line.
    pub(super) fn settings(&self) -> [Setting; 3] {
        [
            ("workers", self.workers.to_string()),
            ("processor", self.processor.map_or_else(|| "any".into(), |processor| processor.to_string())),
            ("ice-port", self.ice_port.map_or_else(|| "a port each".into(), |port| port.to_string())),
        ]
    }
}

impl Machine {
    /// What a figure depends on beside plan and relay.
    pub(super) fn circumstances(&self) -> [Setting; 7] {
        let cores = |cores: &[usize]| {
            let listed: Vec<_> = cores.iter().map(ToString::to_string).collect();
            if listed.is_empty() { "any".into() } else { listed.join(", ") }
        };
        [
            ("processor", self.processor.clone()),
            ("kernel", self.kernel.clone()),
            ("memory", bytes(self.memory as f64)),
            ("version of stox", self.generator.clone()),
            ("cores", cores(&self.cores)),
            ("generator's cores", cores(&self.generator_cores)),
            ("relay's cores", cores(&self.process_cores)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;
    use std::time::Duration;

    use super::*;
    use crate::trial::plan::RawPlan;

    #[test]
    fn what_is_written_can_be_asked_for() {
        for target in [TargetAddress::Channel, TargetAddress::Ng("[::1]:2223".into())] {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        for media in [MediaSecurity::Rtp, MediaSecurity::SdesCm80, MediaSecurity::SdesGcm, MediaSecurity::Dtls] {
            assert_eq!(media.to_string().parse(), Ok(media));
        }
        let jitter = Duration::from_millis(10);
        let all = Impairment { loss: 0.015, jitter, reorder: 0.001, duplicate: 0.3 };
        for impair in [Impairment::default(), all, Impairment { loss: 0.07, ..Impairment::default() }] {
            assert_eq!(impair.to_string().parse(), Ok(impair));
        }
    }

    #[test]
    fn live_figures_leave_out_what_is_not_known() {
        let mut snapshot = Snapshot {
            phase: Phase::Measuring,
            elapsed: Duration::from_secs(3),
            total: None,
            calls: 1_000,
            failed_calls: 0,
            sent: 40_000,
            received: 39_999,
            lost: 1,
            received_per_second: 20_000.0,
            p50_us: None,
            p99_us: None,
            cpu_percent: None,
            rss: None,
            generator_percent: 31.0,
        };
        assert_eq!(snapshot.to_string(), "1,000 calls, 20,000 packets/s, 1 lost, generator 31.0 %");
        snapshot.failed_calls = 2;
        (snapshot.p50_us, snapshot.p99_us) = (Some(240), Some(1_200));
        (snapshot.cpu_percent, snapshot.rss) = (Some(8.6), Some(14 << 20));
        let all = "1,000 calls (2 failed), 20,000 packets/s, 1 lost, p50 240 µs, p99 1.20 ms, relay 8.60 %, 14.0 MiB, \
                   generator 31.0 %";
        assert_eq!(snapshot.to_string(), all);
    }

    #[test]
    fn a_plan_is_one_sentence() {
        let of = |raw: RawPlan| Plan::try_from(raw).expect("it is possible").to_string();
        let ng = || RawPlan { target: "ng:[::1]:2223".into(), ..RawPlan::default() };
        assert_eq!(of(ng()), "100 calls, 172-byte packets every 20ms each way, rtp, 10s");
        let raw = RawPlan { media: "dtls".into(), ice: true, impair: "loss=1%".into(), ..ng() };
        let tail = "dtls with ICE, impaired by loss=1%, 10s";
        assert!(of(raw).ends_with(tail));
        assert!(of(RawPlan { mode: "find-max".into(), ..ng() }).ends_with("10s a step"));
        assert!(of(RawPlan::default()).ends_with("rtp, 10s; relay with 1 worker"));
        let relay = OwnRelay {
            workers: NonZeroU16::MIN.saturating_add(1),
            processor: Some(0),
            ice_port: NonZeroU16::new(3_478),
        };
        let tail = "10s; relay with 2 workers on processor 0, ICE on port 3478";
        assert!(of(RawPlan { relay, ..RawPlan::default() }).ends_with(tail));
    }
}
