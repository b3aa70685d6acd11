//! What `/metrics` of `stox relay` shows.

use std::fmt;
use std::sync::Arc;

use netio::RelayThreads;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use super::counters::Kind;
use super::intake::Intake;
use crate::metrics::{Families, exposition};

/// The relay's counters and those of requests, read when asked.
#[derive(Clone)]
pub(crate) struct Metrics {
    relay: Arc<RelayThreads>,
    intake: Arc<Intake>,
}

impl Metrics {
    pub(crate) const fn new(relay: Arc<RelayThreads>, intake: Arc<Intake>) -> Self {
        Self { relay, intake }
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
            let peer = kind.peer.map_or_else(|| "other".to_owned(), |peer| peer.to_string());
            [("peer", peer), ("command", kind.command.into()), ("result", kind.result.into())]
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
        Ok(())
    }
}
