//! What `/metrics` of `stox relay` shows.

mod familiar;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use control::calls::{Calls, Counts};
use netio::RelayThreads;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use super::counters::Kind;
use super::intake::Intake;
use crate::gateway::now;
use crate::metrics::{Families, exposition};

/// The relay's counters and those of requests, read when asked.
#[derive(Clone)]
pub(crate) struct Metrics {
    relay: Arc<RelayThreads>,
    intake: Arc<Intake>,
    sessions: Arc<Sessions>,
    /// Where media goes through, and how many ports there are at each.
    addresses: Vec<relay::Address>,
    ports: u64,
    started: Instant,
}

/// What became of the calls, as of late.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<(u64, Counts)>);

impl Sessions {
    /// Takes a copy of what is so now.
    pub(crate) fn publish(&self, calls: &Calls) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (calls.len() as u64, calls.counts());
    }

    fn read(&self) -> (u64, Counts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metrics {
    pub(crate) fn new(relay: Arc<RelayThreads>, intake: Arc<Intake>, config: &crate::config::Relay) -> Self {
        let (addresses, ports) = (config.addresses.clone(), config.ports.len() as u64);
        Self { relay, intake, sessions: Arc::default(), addresses, ports, started: now() }
    }

    /// Where the calls tell how they are.
    pub(crate) const fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    fn uptime(&self) -> Duration {
        now().saturating_duration_since(self.started)
    }

    /// The text of `/metrics`.
    pub(crate) fn exposition(&self) -> String {
        exposition(self.clone())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        families.relay(self.relay.counters())?;
        let odd = self.intake.counters.all_odd();
        families.labelled("stox_ng_dropped", "Messages and connections that went no further", "reason", odd)?;
        let repeated = self.intake.repeated();
        families.counter("stox_ng_repeated", "Requests that were repeated, and not done again", repeated.repeated)?;
        families.counter("stox_ng_replies_evicted", "Replies forgotten before their time", repeated.evicted)?;
        let answered = self.intake.counters.all_answered();
        let labels_of = |kind: &Kind| {
            [("peer", kind.peer_label()), ("command", kind.command.into()), ("result", kind.result.into())]
        };
        let counter = ConstCounter::new(0u64).metric_type();
        let mut requests = families.0.encode_descriptor("stox_ng_requests", "Requests answered", None, counter)?;
        for (kind, tally) in &answered {
            ConstCounter::new(tally.count).encode(requests.encode_family(&labels_of(kind))?)?;
        }
        let counter = ConstCounter::new(0.0).metric_type();
        let mut seconds =
            families.0.encode_descriptor("stox_ng_request_seconds", "Time until they were", None, counter)?;
        for (kind, tally) in &answered {
            ConstCounter::new(tally.time.as_secs_f64()).encode(seconds.encode_family(&labels_of(kind))?)?;
        }
        self.familiar(&mut families, &answered)
    }
}
