//! What `/metrics` of a gateway shows, in the OpenMetrics text format: the relay's counters and the translator's, read
//! when asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use netio::RelayThreads;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use signaling::DirectionCounters;
use sip::agent::TrunkStates;
use xmpp::component::{Component, Status};

use crate::records;

/// Everything that is counted, and who counts it.
#[derive(Clone)]
pub(crate) struct Metrics {
    relay: Arc<RelayThreads>,
    component: Component,
    agent: Arc<sip::agent::Counters>,
    trunks: TrunkStates,
    records: Arc<records::Counters>,
    signaling: Arc<Mutex<signaling::Counters>>,
}

impl Metrics {
    /// Metrics of these parts.
    pub(crate) fn new(
        relay: Arc<RelayThreads>,
        component: Component,
        (agent, trunks): (Arc<sip::agent::Counters>, TrunkStates),
        records: Arc<records::Counters>,
    ) -> Self {
        Self { relay, component, agent, trunks, records, signaling: Arc::default() }
    }

    /// Takes a copy of what the translator counted.
    pub(crate) fn publish(&self, counters: &signaling::Counters) {
        self.signaling.lock().unwrap_or_else(PoisonError::into_inner).clone_from(counters);
    }

    /// What keeps calls from being made, if anything.
    pub(crate) fn obstacle(&self) -> Option<String> {
        match self.component.status() {
            Status::Connected => None,
            Status::Stopped => Some("stopping".to_owned()),
            Status::Disconnected(why) => Some(format!("no stream to the XMPP server: {why}")),
        }
    }

    /// The text of `/metrics`.
    pub(crate) fn exposition(&self) -> String {
        exposition(self.clone())
    }
}

/// The text of what a collector collects.
pub(crate) fn exposition(collector: impl Collector) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut families = Families(encoder);
        families.relay(self.relay.counters())?;
        let agent = self.agent.read();
        let trunks = self.trunks.read();
        let trunks: Vec<_> = trunks.iter().map(|(name, up)| ([("trunk", name.as_str())], u64::from(*up))).collect();
        let rows: Vec<_> = trunks.iter().map(|(labels, up)| (&labels[..], *up)).collect();
        families.gauges("stox_sip_trunk_up", "1 while one of its addresses answers", &rows)?;
        families.labelled("stox_sip_agent", "What the SIP side took, refused and dropped", "event", agent.rows())?;
        let signaling = self.signaling.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let directions = [("xmpp_to_sip", &signaling.from_xmpp), ("sip_to_xmpp", &signaling.from_sip)];
        families.each("stox_calls_started", "Calls attempted and not refused at once", &directions, |d| &d.started)?;
        families.each("stox_calls_answered", "Calls that were answered", &directions, |d| &d.answered)?;
        families.gauge("stox_calls", "Calls now", signaling.from_xmpp.active + signaling.from_sip.active)?;
        let half_open = signaling.from_xmpp.half_open + signaling.from_sip.half_open;
        families.gauge("stox_calls_half_open", "Calls that wait for an answer", half_open)?;
        families.reasons("stox_setup_failures", "Calls that ended unanswered", &directions, |d| &d.failed)?;
        families.reasons("stox_calls_ended", "Calls that ended after the answer", &directions, |d| &d.ended)?;
        families.counter("stox_calls_tried_another", "Times a trunk was passed by", signaling.tried_another)?;
        let refused = signaling.refused.iter().map(|(reason, count)| (*reason, *count));
        families.labelled("stox_refused", "Stanzas and requests that were refused", "reason", refused)?;
        let records = self.records.rows();
        families.labelled("stox_records", "What became of the records of calls", "event", records)?;
        let connected = self.component.status() == Status::Connected;
        families.gauge("stox_xmpp_connected", "1 while the XMPP server takes our stream", u64::from(connected))?;
        Ok(())
    }
}

/// Writes families of metrics.
pub(crate) struct Families<'a>(pub(crate) DescriptorEncoder<'a>);

impl Families<'_> {
    /// What the relay counts.
    pub(crate) fn relay(&mut self, counters: netio::Counters) -> fmt::Result {
        let netio::Counters { relay, io } = counters;
        self.gauge("stox_relay_calls", "Calls the relay holds", relay.calls as u64)?;
        self.gauge("stox_relay_streams", "Streams of their legs", relay.streams as u64)?;
        self.gauge("stox_relay_ports_in_use", "UDP sockets open for media", relay.ports_in_use as u64)?;
        self.counter("stox_packets_received", "Datagrams that arrived for media", relay.packets_received)?;
        self.counter("stox_bytes_received", "Their bytes", relay.bytes_received)?;
        self.counter("stox_packets_forwarded", "Media packets passed on", relay.packets_forwarded)?;
        self.counter("stox_bytes_forwarded", "Their bytes", relay.bytes_forwarded)?;
        let dropped = relay::Dropped::ALL.iter().map(|reason| (reason.name(), relay.dropped(*reason)));
        self.labelled("stox_packets_dropped", "Datagrams that went no further", "reason", dropped)?;
        let scores = ["1-2", "2-3", "3-4", "4-5"].into_iter().zip(relay.scores);
        let help = "Directions of streams measured every five seconds, by mean opinion score (E-model)";
        self.labelled("stox_streams_scored", help, "mos", scores)?;
        self.labelled("stox_socket_errors", "Datagrams lost at the sockets", "reason", io.lost())?;
        self.counter("stox_relay_commands_refused", "Commands for which there was no room", io.commands_refused)?;
        self.counter("stox_relay_worker_failures", "Times a media worker was made anew", io.failures)
    }

    /// Gauges by their labels.
    pub(crate) fn gauges(&mut self, name: &str, help: &str, values: &[(&[(&str, &str)], u64)]) -> fmt::Result {
        let kind = ConstGauge::new(0i64).metric_type();
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in values {
            ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX)).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }

    /// Counters by their labels.
    pub(crate) fn counters(&mut self, name: &str, help: &str, values: &[(&[(&str, &str)], u64)]) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, ConstCounter::new(0u64).metric_type())?;
        for (labels, value) in values {
            ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }

    pub(crate) fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(self.0.encode_descriptor(name, help, None, gauge.metric_type())?)
    }

    pub(crate) fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let counter = ConstCounter::new(value);
        counter.encode(self.0.encode_descriptor(name, help, None, counter.metric_type())?)
    }

    pub(crate) fn labelled<'a>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, ConstCounter::new(0u64).metric_type())?;
        for (of, value) in values {
            ConstCounter::new(value).encode(family.encode_family(&[(label, of)])?)?;
        }
        Ok(())
    }

    /// One counter for each direction of calls.
    fn each(&mut self, name: &str, help: &str, directions: &Directions<'_>, of: Count<u64>) -> fmt::Result {
        self.labelled(name, help, "direction", directions.map(|(name, direction)| (name, *of(direction))))
    }

    /// One counter for each direction of calls and each reason.
    fn reasons(
        &mut self,
        name: &str,
        help: &str,
        directions: &Directions<'_>,
        of: Count<BTreeMap<&'static str, u64>>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, ConstCounter::new(0u64).metric_type())?;
        for (direction, counters) in directions {
            for (reason, count) in of(counters) {
                let labels = [("direction", *direction), ("reason", reason)];
                ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// The two directions of calls by their label.
type Directions<'a> = [(&'static str, &'a DirectionCounters); 2];

/// What to show of a direction.
type Count<T> = fn(&DirectionCounters) -> &T;
