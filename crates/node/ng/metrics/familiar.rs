//! What dashboards made for rtpengine look for, under its names: of its metrics, those that mean the same here.
//!
//! Left out are those that we do not count (streams by what came over them, scores), and those of what we do not do.

use std::collections::BTreeMap;
use std::fmt;

use control::calls::Counts;
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::metrics::counter::ConstCounter;

use super::Metrics;
use crate::metrics::Families;
use crate::ng::counters::{Kind, Tally};

/// Packets go through threads of the relay, never through a module of the kernel.
const USERSPACE: &[(&str, &str)] = &[("type", "userspace")];

impl Metrics {
    pub(super) fn familiar(&self, families: &mut Families<'_>, answered: &[(Kind, Tally)]) -> fmt::Result {
        let (calls, Counts { begun, refused, deleted, timed_out, unanswered }) = self.sessions.read();
        families.gauges("rtpengine_sessions", "Calls now", &[(&[("type", "own")], calls)])?;
        // As a counter, its family would have the name of the one above (OpenMetrics 1.0).
        families.gauge("rtpengine_sessions_total", "Calls since the start", begun)?;
        let closed =
            [("rejected", refused), ("timeout", timed_out), ("offer_timeout", unanswered), ("terminated", deleted)];
        families.labelled("rtpengine_closed_sessions", "Calls that are over, or were never begun", "reason", closed)?;
        families.gauge("rtpengine_uptime_seconds", "Time since the start", self.uptime().as_secs())?;
        let relay = self.relay.counters().relay;
        for (name, help, count) in [
            ("rtpengine_packets", "Media packets passed on", relay.packets_forwarded),
            ("rtpengine_bytes", "Their bytes", relay.bytes_forwarded),
            ("rtpengine_packet_errors", "Datagrams that went no further", relay.all_dropped()),
        ] {
            families.counters(name, help, &[(USERSPACE, count)])?;
        }
        self.familiar_ports(families, relay.ports_in_use as u64)?;
        familiar_requests(families, answered)
    }

    /// Where there are several addresses, nobody counts the ports of each.
    fn familiar_ports(&self, families: &mut Families<'_>, used: u64) -> fmt::Result {
        let [address] = self.addresses.as_slice() else { return Ok(()) };
        let ip = address.bind.to_string();
        let labels = [("name", address.name.as_deref().unwrap_or("default")), ("address", ip.as_str())];
        families.gauges("rtpengine_ports", "UDP ports for media", &[(&labels, self.ports)])?;
        families.gauges("rtpengine_ports_used", "Those in use", &[(&labels, used)])?;
        families.gauges("rtpengine_ports_free", "The others", &[(&labels, self.ports.saturating_sub(used))])
    }
}

/// Requests by who asked and what, whatever came of them.
fn familiar_requests(families: &mut Families<'_>, answered: &[(Kind, Tally)]) -> fmt::Result {
    let (mut requests, mut errors) = (BTreeMap::<_, Tally>::new(), BTreeMap::<_, u64>::new());
    for (kind, tally) in answered {
        let sum = requests.entry((kind.peer_label(), kind.command)).or_default();
        *sum = sum.plus(*tally);
        *errors.entry(kind.peer_label()).or_default() += if kind.is_refused() { tally.count } else { 0 };
    }
    let counter = ConstCounter::new(0u64).metric_type();
    let mut family = families.0.encode_descriptor("rtpengine_requests", "Requests answered", None, counter)?;
    for ((proxy, request), tally) in &requests {
        let labels = [("proxy", proxy.as_str()), ("request", request)];
        ConstCounter::new(tally.count).encode(family.encode_family(&labels)?)?;
    }
    let mut family =
        families.0.encode_descriptor("rtpengine_request_seconds", "Time until they were", None, counter)?;
    for ((proxy, request), tally) in &requests {
        let labels = [("proxy", proxy.as_str()), ("request", request)];
        ConstCounter::new(tally.time.as_secs_f64()).encode(family.encode_family(&labels)?)?;
    }
    families.labelled(
        "rtpengine_errors",
        "Requests that were refused",
        "proxy",
        errors.iter().map(|(proxy, count)| (proxy.as_str(), *count)),
    )
}
