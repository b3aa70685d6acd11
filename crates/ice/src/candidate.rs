//! Our candidates, and which of the peer's are accepted.

use std::net::{IpAddr, SocketAddr};

use model::{Candidate, CandidateKind, Component};
use thiserror::Error;

/// An address of ours that a socket is bound to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LocalAddress {
    /// Where the socket is bound: the base of the candidate.
    pub bound: SocketAddr,
    /// What the peer is told instead, where a 1:1 NAT stands before us.
    pub advertised: Option<SocketAddr>,
}

/// Why a candidate of the peer is not used.
#[derive(Clone, Copy, Debug, Eq, Error, Hash, PartialEq)]
#[non_exhaustive]
pub enum CandidateError {
    /// It is for the other component.
    #[error("candidate of another component")]
    OtherComponent,
    /// It names no host that can be sent to: unspecified, multicast, broadcast, port zero.
    #[error("candidate address cannot be sent to")]
    Unusable,
    /// It is a loopback or link-local address, and we have none such ourselves.
    #[error("candidate address is not reachable from here")]
    OutOfScope,
    /// It is an address of our own.
    #[error("candidate is our own address")]
    Loop,
    /// It belongs to credentials that have been replaced.
    #[error("candidate of an earlier generation")]
    OldGeneration,
    /// The peer has named as many as we keep.
    #[error("too many candidates")]
    TooMany,
}

/// Tells the peer about an address of ours: a host candidate, even where a NAT lends it (RFC 8445 §5.1.1.1).
pub(crate) fn host(address: &LocalAddress, component: Component, place: Place, generation: u32) -> Candidate {
    Candidate {
        foundation: place.foundation.to_string(),
        component,
        priority: place.priority,
        address: address.advertised.unwrap_or(address.bound),
        kind: CandidateKind::Host,
        related: None,
        generation,
    }
}

/// What tells a candidate of ours from the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Equal for equal base addresses (RFC 8445 §5.1.1.3); a small number, since old Jingle clients parse it as one.
    pub(crate) foundation: usize,
    /// RFC 8445 §5.1.2.1.
    pub(crate) priority: u32,
}

/// Says whether a candidate's address is one that checks may be sent to.
pub(crate) fn check_address(remote: SocketAddr, locals: &[LocalAddress]) -> Result<(), CandidateError> {
    let ip = remote.ip();
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if remote.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast {
        return Err(CandidateError::Unusable);
    }
    let in_scope = |in_scope: fn(IpAddr) -> bool| !in_scope(ip) || locals.iter().any(|own| in_scope(own.bound.ip()));
    if !in_scope(is_loopback) || !in_scope(is_link_local) {
        return Err(CandidateError::OutOfScope);
    }
    if locals.iter().any(|own| own.bound == remote || own.advertised == Some(remote)) {
        return Err(CandidateError::Loop);
    }
    Ok(())
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
