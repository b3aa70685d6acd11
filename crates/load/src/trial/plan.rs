//! What is to be run, checked.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A trial as it was asked for, before it is checked. Its default is what the command line fills in.
#[derive(Clone, Debug, PartialEq)]
pub struct RawPlan {
    /// `ng:HOST:PORT` or `channel`.
    pub target: String,
    /// Calls that are up at once; in a search, the most that it tries.
    pub calls: u32,
    /// Calls are added evenly over this time.
    pub ramp: Duration,
    /// How long media is measured; in a search, each step.
    pub duration: Duration,
    /// `rtp`, `sdes-cm80`, `sdes-gcm` or `dtls`.
    pub media: String,
    /// The first end of each call uses ICE (RFC 8445).
    pub ice: bool,
    /// `paced`, `saturate`, `churn` or `find-max`.
    pub mode: String,
    /// In the mode `churn`: calls begun per second; calls divided by hold where it is not given.
    pub rate: Option<f64>,
    /// In the mode `churn`: how long a call lasts.
    pub hold: Duration,
    /// In the mode `churn`: calls have no media, and begin as others end.
    pub no_media: bool,
    /// Without media: calls that stay up meanwhile.
    pub open: u32,
    /// What [`Impairment`] reads; empty for none.
    pub impair: String,
    /// Bytes of payload of a packet.
    pub payload: u16,
    /// Time between two packets of one end.
    pub ptime: Duration,
    /// The process whose processor time and memory are measured.
    pub pid: Option<u32>,
    /// The share of packets, from 0 to 1, that may be lost.
    pub max_loss: Option<f64>,
    /// What the 99th percentile of the added latency may be.
    pub max_p99: Option<Duration>,
    /// Decides every random choice.
    pub seed: u64,
    /// Where the ends are bound.
    pub address: IpAddr,
    /// With the target `channel`: how its relay is started.
    pub relay: OwnRelay,
}

impl Default for RawPlan {
    fn default() -> Self {
        Self {
            target: "channel".into(),
            calls: 100,
            ramp: Duration::ZERO,
            duration: Duration::from_secs(10),
            media: "rtp".into(),
            ice: false,
            mode: "paced".into(),
            rate: None,
            hold: Duration::from_secs(1),
            no_media: false,
            open: 0,
            impair: String::new(),
            payload: 160,
            ptime: Duration::from_millis(20),
            pid: None,
            max_loss: None,
            max_p99: None,
            seed: 1,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            relay: OwnRelay::default(),
        }
    }
}

/// What is to be run. Made only from a [`RawPlan`] that is possible.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plan {
    /// The relay under test.
    pub target: TargetAddress,
    /// Calls that are up at once; in a search, the most that it tries.
    pub calls: u32,
    /// Calls are added evenly over this time.
    pub ramp: Duration,
    /// How long media is measured; in a search, each step.
    pub duration: Duration,
    /// How media is protected.
    pub media: MediaSecurity,
    /// The first end of each call uses ICE (RFC 8445).
    pub ice: bool,
    /// What the load is.
    pub mode: Mode,
    /// What the sender does to its own packets.
    pub impair: Impairment,
    /// Bytes of payload of a packet; [`Plan::RTP_HEADER`] more make the packet.
    pub payload: u16,
    /// Time between two packets of one end.
    pub ptime: Duration,
    /// The process whose processor time and memory are measured; a target that starts its own fills it in.
    pub pid: Option<u32>,
    /// What is still good enough.
    pub limits: Limits,
    /// Decides every random choice.
    pub seed: u64,
    /// Where the ends are bound.
    pub address: IpAddr,
    /// How a relay of our own is started. `None` with another's, and in reports from before it was written down.
    #[serde(default)]
    pub relay: Option<OwnRelay>,
}

impl Plan {
    /// Bytes of the RTP header that the generator writes (RFC 3550 §5.1, no CSRC, no extension).
    pub const RTP_HEADER: u16 = 12;

    /// Bytes of the shortest payload: what the receiver needs for its checks.
    pub const SHORTEST_PAYLOAD: u16 = 48;

    /// Bytes of the longest payload: packet and tag fit into one Ethernet frame.
    pub const LONGEST_PAYLOAD: u16 = 1400;

    /// The most calls of a trial.
    pub const MOST_CALLS: u32 = 100_000;
}

/// The relay under test.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum TargetAddress {
    /// A relay that speaks ng over UDP, at `HOST:PORT`.
    Ng(String),
    /// A relay of our own, started for the trial.
    Channel,
}

/// How a relay of our own is started: one worker, on any processor, and a port for each end, unless told otherwise.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OwnRelay {
    /// Threads that forward.
    pub workers: NonZeroU16,
    /// The processor that it runs on, from 0, if it is to be one.
    pub processor: Option<u16>,
    /// The UDP port that all ends with ICE share, instead of one each.
    pub ice_port: Option<NonZeroU16>,
}

impl Default for OwnRelay {
    fn default() -> Self {
        Self { workers: NonZeroU16::MIN, processor: None, ice_port: None }
    }
}

/// How media is protected: that of the first end of each call. The second has RTP in clear.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum MediaSecurity {
    /// RTP in clear on both legs.
    Rtp,
    /// One leg AES_CM_128_HMAC_SHA1_80 by SDES (RFC 4568), the other RTP in clear.
    SdesCm80,
    /// One leg AEAD_AES_128_GCM by SDES (RFC 7714), the other RTP in clear.
    SdesGcm,
    /// One leg DTLS-SRTP (RFC 5764), the other RTP in clear.
    Dtls,
}

/// What the load is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub enum Mode {
    /// Each end sends a packet every ptime, by a schedule that waits for nothing.
    Paced,
    /// Each end has as many packets on their way as its window allows.
    Saturate,
    /// Calls come and go.
    Churn {
        /// Calls begun per second.
        rate: f64,
        /// How long a call lasts.
        hold: Duration,
    },
    /// Calls without media come and go, each as soon as another has ended: what the relay is asked, and nothing else.
    Signalling {
        /// Calls that stay up meanwhile.
        open: u32,
    },
    /// Paced steps with more and fewer calls, until the highest load within the limits is known.
    FindMax,
}

/// What is still good enough. A run beyond a limit fails.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Limits {
    /// The share of packets, from 0 to 1, that may be lost.
    pub max_loss: Option<f64>,
    /// What the 99th percentile of the added latency may be.
    pub max_p99: Option<Duration>,
}

/// What the sender does to its own packets, each share from 0 to 1. Written `loss=1%,jitter=10ms`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Impairment {
    /// Share of packets that are not sent.
    pub loss: f64,
    /// A packet is sent up to this much later than scheduled.
    pub jitter: Duration,
    /// Share of packets that are sent after the one that follows them.
    pub reorder: f64,
    /// Share of packets that are sent twice.
    pub duplicate: f64,
}

/// A trial cannot be run as it was asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key} is {value}, but has to be {accepted}")]
pub struct PlanError {
    /// What was set.
    pub key: &'static str,
    /// To what.
    pub value: String,
    /// What would be accepted.
    pub accepted: &'static str,
}

impl TryFrom<RawPlan> for Plan {
    type Error = PlanError;

    fn try_from(raw: RawPlan) -> Result<Self, PlanError> {
        within("calls", raw.calls, 1..=Self::MOST_CALLS, "from 1 to 100000")?;
        within("payload", raw.payload, Self::SHORTEST_PAYLOAD..=Self::LONGEST_PAYLOAD, "from 48 to 1400 bytes")?;
        duration("ptime", raw.ptime, 1..=1000, "from 1ms to 1s")?;
        duration("duration", raw.duration, 100..=86_400_000, "from 100ms to a day")?;
        duration("ramp", raw.ramp, 0..=86_400_000, "at most a day")?;
        if let Some(loss) = raw.max_loss {
            within("max-loss", loss, 0.0..=1.0, "from 0% to 100%")?;
        }
        let target = raw.target.parse()?;
        let impair = raw.impair.parse()?;
        if raw.mode == "saturate" && impair != Impairment::default() {
            return Err(error("impair", &raw.impair, "left out with mode saturate, which has no schedule to break"));
        }
        Ok(Self {
            relay: (target == TargetAddress::Channel).then_some(raw.relay),
            target,
            calls: raw.calls,
            ramp: raw.ramp,
            duration: raw.duration,
            media: raw.media.parse()?,
            ice: raw.ice,
            mode: mode(&raw)?,
            impair,
            payload: raw.payload,
            ptime: raw.ptime,
            pid: raw.pid,
            limits: Limits { max_loss: raw.max_loss, max_p99: raw.max_p99 },
            seed: raw.seed,
            address: raw.address,
        })
    }
}

fn mode(raw: &RawPlan) -> Result<Mode, PlanError> {
    match raw.mode.as_str() {
        "paced" => Ok(Mode::Paced),
        "saturate" => Ok(Mode::Saturate),
        "find-max" => Ok(Mode::FindMax),
        "churn" if raw.no_media => {
            within("open", raw.open, 0..=Plan::MOST_CALLS, "at most 100000")?;
            Ok(Mode::Signalling { open: raw.open })
        }
        "churn" => {
            duration("hold", raw.hold, 20..=3_600_000, "from 20ms to an hour")?;
            let rate = raw.rate.unwrap_or(f64::from(raw.calls) / raw.hold.as_secs_f64());
            within("rate", rate, 0.1..=100_000.0, "from 0.1 to 100000 calls a second")?;
            Ok(Mode::Churn { rate, hold: raw.hold })
        }
        other => Err(error("mode", other, "paced, saturate, churn or find-max")),
    }
}

impl FromStr for TargetAddress {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let is_address = |address: &str| {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
            port.is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0))
        };
        match text.split_once(':') {
            None if text == "channel" => Ok(Self::Channel),
            Some(("ng", address)) if is_address(address) => Ok(Self::Ng(address.to_owned())),
            Some(_) | None => Err(error("target", text, "ng:HOST:PORT or channel")),
        }
    }
}

impl FromStr for MediaSecurity {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        match text {
            "rtp" => Ok(Self::Rtp),
            "sdes-cm80" => Ok(Self::SdesCm80),
            "sdes-gcm" => Ok(Self::SdesGcm),
            "dtls" => Ok(Self::Dtls),
            other => Err(error("media", other, "rtp, sdes-cm80, sdes-gcm or dtls")),
        }
    }
}

impl FromStr for Impairment {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        const ACCEPTED: &str = "a list such as loss=1%,jitter=10ms,reorder=1%,duplicate=1%";
        let mut impairment = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let unknown = || error("impair", part, ACCEPTED);
            let (key, value) = part.split_once('=').ok_or_else(unknown)?;
            let share = || parse_share(value).ok_or_else(unknown);
            match key {
                "loss" => impairment.loss = share()?,
                "reorder" => impairment.reorder = share()?,
                "duplicate" => impairment.duplicate = share()?,
                "jitter" => impairment.jitter = parse_milliseconds(value).ok_or_else(unknown)?,
                _ => return Err(unknown()),
            }
        }
        Ok(impairment)
    }
}

/// Reads a share of the whole, from 0 to 1: `1.5%`, or `0.015`.
pub fn parse_share(text: &str) -> Option<f64> {
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (0.0..=1.0).contains(&share).then_some(share)
}

/// Reads `10ms`, up to a second.
fn parse_milliseconds(text: &str) -> Option<Duration> {
    let milliseconds: f64 = text.strip_suffix("ms")?.trim().parse().ok()?;
    (0.0..=1000.0).contains(&milliseconds).then(|| Duration::from_secs_f64(milliseconds / 1000.0))
}

fn within<T: PartialOrd + ToString>(
    key: &'static str,
    value: T,
    range: std::ops::RangeInclusive<T>,
    accepted: &'static str,
) -> Result<(), PlanError> {
    if range.contains(&value) { Ok(()) } else { Err(error(key, &value.to_string(), accepted)) }
}

fn duration(
    key: &'static str,
    value: Duration,
    milliseconds: std::ops::RangeInclusive<u64>,
    accepted: &'static str,
) -> Result<(), PlanError> {
    let range = Duration::from_millis(*milliseconds.start())..=Duration::from_millis(*milliseconds.end());
    if range.contains(&value) { Ok(()) } else { Err(error(key, &format!("{value:?}"), accepted)) }
}

fn error(key: &'static str, value: &str, accepted: &'static str) -> PlanError {
    PlanError { key, value: value.to_owned(), accepted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_possible() {
        let plan = Plan::try_from(RawPlan::default()).expect("it is");
        assert_eq!((plan.target, plan.mode, plan.impair), (TargetAddress::Channel, Mode::Paced, Impairment::default()));
        assert_eq!(plan.relay, Some(OwnRelay::default()));
    }

    #[test]
    fn how_our_relay_is_started_says_nothing_of_another() {
        let raw = RawPlan { target: "ng:localhost:2223".into(), ..RawPlan::default() };
        assert_eq!(Plan::try_from(raw).expect("it is possible").relay, None);
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let default = RawPlan::default;
        for (raw, key) in [
            (RawPlan { calls: 0, ..default() }, "calls"),
            (RawPlan { payload: 47, ..default() }, "payload"),
            (RawPlan { ptime: Duration::ZERO, ..default() }, "ptime"),
            (RawPlan { duration: Duration::ZERO, ..default() }, "duration"),
            (RawPlan { ramp: Duration::from_secs(90_000), ..default() }, "ramp"),
            (RawPlan { max_loss: Some(f64::NAN), ..default() }, "max-loss"),
            (RawPlan { target: "ng:localhost".into(), ..default() }, "target"),
            (RawPlan { target: "ng:localhost:0".into(), ..default() }, "target"),
            (RawPlan { target: "relay".into(), ..default() }, "target"),
            (RawPlan { media: "zrtp".into(), ..default() }, "media"),
            (RawPlan { mode: "fast".into(), ..default() }, "mode"),
            (RawPlan { mode: "churn".into(), rate: Some(0.0), ..default() }, "rate"),
            (RawPlan { mode: "churn".into(), hold: Duration::ZERO, ..default() }, "hold"),
            (RawPlan { impair: "loss=101%".into(), ..default() }, "impair"),
            (RawPlan { impair: "jitter=10".into(), ..default() }, "impair"),
            (RawPlan { impair: "delay=10ms".into(), ..default() }, "impair"),
            (RawPlan { mode: "saturate".into(), impair: "loss=1%".into(), ..default() }, "impair"),
        ] {
            let error = Plan::try_from(raw).expect_err(key);
            assert_eq!(error.key, key);
        }
    }

    #[test]
    fn an_impairment_is_read_from_its_list() {
        let read: Impairment = "loss=1%, jitter=10ms,reorder=0.005,duplicate=2.5%".parse().expect("it is good");
        let jitter = Duration::from_millis(10);
        assert_eq!(read, Impairment { loss: 0.01, jitter, reorder: 0.005, duplicate: 0.025 });
    }

    #[test]
    fn an_ng_relay_is_named_by_host_and_port() {
        let address = |text: &str| text.parse::<TargetAddress>().expect("it is good");
        assert_eq!(address("ng:127.0.0.1:2223"), TargetAddress::Ng("127.0.0.1:2223".into()));
        assert_eq!(address("ng:[::1]:2223"), TargetAddress::Ng("[::1]:2223".into()));
    }
}
