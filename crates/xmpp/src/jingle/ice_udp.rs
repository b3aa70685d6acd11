//! The ICE-UDP transport (XEP-0176).

use std::net::{IpAddr, SocketAddr};

use minidom::Element;
use model::{Candidate, CandidateKind, Component, IceParameters, Secret};

use super::{Action, IceUdp, dtls};
use crate::xml::{element, value};

pub(super) const NS: &str = "urn:xmpp:jingle:transports:ice-udp:1";

/// Largest priority of a candidate (RFC 8445 §5.1.2).
const MAX_PRIORITY: u64 = (1 << 31) - 1;

pub(super) fn parse(transport: &Element, action: Action) -> IceUdp {
    let ufrag = value(transport, "ufrag").map(str::to_owned);
    let pwd = value(transport, "pwd").map(str::to_owned);
    let ice = ufrag.clone().zip(pwd).map(|(ufrag, pwd)| IceParameters { ufrag, pwd: Secret::new(pwd), lite: false });
    let candidates =
        transport.children().filter(|child| child.is("candidate", NS)).filter_map(parse_candidate).collect();
    IceUdp {
        ufrag,
        ice,
        candidates,
        gathering_complete: transport.children().any(|child| child.name() == "gathering-complete"),
        dtls: dtls::parse(transport, action),
    }
}

/// Reads a candidate we can use: UDP, an IP address (not a name such as mDNS makes), a port, component 1 or 2.
/// `id`, `generation` and `network` may be missing.
fn parse_candidate(candidate: &Element) -> Option<Candidate> {
    if !value(candidate, "protocol").is_none_or(|protocol| protocol.eq_ignore_ascii_case("udp")) {
        return None;
    }
    let priority: u64 = value(candidate, "priority")?.parse().ok()?;
    Some(Candidate {
        foundation: value(candidate, "foundation")
            .filter(|foundation| !foundation.is_empty())
            .unwrap_or("0")
            .to_owned(),
        component: value(candidate, "component")?.parse().ok().and_then(Component::from_number)?,
        priority: u32::try_from(priority.clamp(1, MAX_PRIORITY)).ok()?,
        address: parse_address(value(candidate, "ip")?, value(candidate, "port")?)?,
        kind: value(candidate, "type").map_or(Ok(CandidateKind::Host), str::parse).ok()?,
        related: value(candidate, "rel-addr")
            .zip(value(candidate, "rel-port"))
            .and_then(|(ip, port)| related(ip, port)),
        generation: value(candidate, "generation").and_then(|generation| generation.parse().ok()).unwrap_or(0),
    })
}

fn parse_address(ip: &str, port: &str) -> Option<SocketAddr> {
    related(ip, port).filter(|address| address.port() != 0)
}

/// An address that is only told, so that its port may be 0, which is how browsers hide it.
fn related(ip: &str, port: &str) -> Option<SocketAddr> {
    let ip: IpAddr = ip.parse().ok()?;
    Some(SocketAddr::new(ip, port.parse().ok()?))
}

pub(super) fn to_element(transport: &IceUdp) -> Element {
    let ufrag = transport.ice.as_ref().map(|ice| ice.ufrag.as_str()).or(transport.ufrag.as_deref());
    let pwd = transport.ice.as_ref().map(|ice| ice.pwd.reveal().as_str());
    let mut element = element!("transport", NS, "ufrag" = ufrag, "pwd" = pwd);
    for fingerprint in transport.dtls.iter().flat_map(dtls::to_elements) {
        element.append_child(fingerprint);
    }
    for candidate in &transport.candidates {
        element.append_child(candidate_element(candidate));
    }
    if transport.gathering_complete {
        element.append_child(element!("gathering-complete", NS));
    }
    element
}

fn candidate_element(candidate: &Candidate) -> Element {
    element!(
        "candidate",
        NS,
        "component" = candidate.component.number(),
        "foundation" = candidate.foundation.as_str(),
        "generation" = candidate.generation,
        "id" = candidate_id(candidate),
        "ip" = candidate.address.ip().to_string(),
        "network" = 0,
        "port" = candidate.address.port(),
        "priority" = candidate.priority,
        "protocol" = "udp",
        "rel-addr" = candidate.related.map(|related| related.ip().to_string()),
        "rel-port" = candidate.related.map(|related| related.port()),
        "type" = candidate.kind.as_str(),
    )
}

/// A name that no other candidate of the session has, of the characters of an NCName.
fn candidate_id(candidate: &Candidate) -> String {
    let ip = candidate.address.ip().to_string().replace(':', "-");
    let (kind, component) = (candidate.kind.as_str(), candidate.component.number());
    format!("c{}-{component}-{kind}-{ip}-{}", candidate.generation, candidate.address.port())
}
