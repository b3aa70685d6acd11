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

/// What the peer is told of our addresses: host candidates, even where a NAT lends one (RFC 8445 §5.1.1.1).
pub(crate) fn hosts(addresses: &[LocalAddress], component: Component, generation: u32) -> Vec<Candidate> {
    let foundation = |place: usize| {
        let same_base = |address: &LocalAddress| address.bound.ip() == addresses[place].bound.ip();
        addresses.iter().position(same_base).unwrap_or(place) + 1
    };
    let candidate = |(place, address): (usize, &LocalAddress)| Candidate {
        // Equal for equal bases (RFC 8445 §5.1.1.3), and a small number, since old Jingle clients parse it as one.
        foundation: foundation(place).to_string(),
        component,
        priority: host_priority(place, component),
        address: address.advertised.unwrap_or(address.bound),
        kind: CandidateKind::Host,
        related: None,
        generation,
    };
    addresses.iter().enumerate().map(candidate).collect()
}

/// RFC 8445 §5.1.2.1.
fn host_priority(place: usize, component: Component) -> u32 {
    const TYPE_PREFERENCE: u32 = 126;
    (TYPE_PREFERENCE << 24) + (u32::from(local_preference(place)) << 8) + 256 - u32::from(component.number())
}

/// The first of our addresses is the best, and no two are equal (RFC 8445 §5.1.2.1).
pub(crate) fn local_preference(place: usize) -> u16 {
    u16::MAX.saturating_sub(u16::try_from(place).unwrap_or(u16::MAX))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_those_of_rfc_8445_and_foundations_follow_the_base() {
        let addresses = ["192.0.2.1:30000", "192.0.2.1:30002", "[2001:db8::1]:30000"]
            .map(|bound| LocalAddress { bound: bound.parse().expect("an address"), advertised: None });
        let candidates = hosts(&addresses, Component::Rtp, 0);
        assert_eq!(
            candidates.iter().map(|host| host.priority).collect::<Vec<_>>(),
            [2130706431, 2130706175, 2130705919]
        );
        assert_eq!(candidates.iter().map(|host| host.foundation.as_str()).collect::<Vec<_>>(), ["1", "1", "3"]);
        assert_eq!(hosts(&addresses, Component::Rtcp, 0)[0].priority, 2130706430);
    }

    #[test]
    fn a_natted_address_is_shown_by_its_public_name() {
        let address = LocalAddress {
            bound: "10.0.0.1:30000".parse().expect("an address"),
            advertised: Some("192.0.2.1:40000".parse().expect("an address")),
        };
        let candidates = hosts(&[address], Component::Rtp, 3);
        assert_eq!((Some(candidates[0].address), candidates[0].generation), (address.advertised, 3));
    }

    #[test]
    fn addresses_that_must_not_be_sent_to_are_refused() {
        let public = LocalAddress { bound: "192.0.2.1:30000".parse().expect("an address"), advertised: None };
        let loopback = LocalAddress { bound: "127.0.0.1:30000".parse().expect("an address"), advertised: None };
        for (remote, verdict) in [
            ("198.51.100.1:9", Ok(())),
            ("10.0.0.1:9", Ok(())),
            ("198.51.100.1:0", Err(CandidateError::Unusable)),
            ("0.0.0.0:9", Err(CandidateError::Unusable)),
            ("[::]:9", Err(CandidateError::Unusable)),
            ("224.0.0.1:9", Err(CandidateError::Unusable)),
            ("255.255.255.255:9", Err(CandidateError::Unusable)),
            ("127.0.0.1:9", Err(CandidateError::OutOfScope)),
            ("[::1]:9", Err(CandidateError::OutOfScope)),
            ("[::ffff:127.0.0.1]:9", Err(CandidateError::OutOfScope)),
            ("169.254.169.254:80", Err(CandidateError::OutOfScope)),
            ("[fe80::1]:9", Err(CandidateError::OutOfScope)),
            ("192.0.2.1:30000", Err(CandidateError::Loop)),
        ] {
            assert_eq!(check_address(remote.parse().expect("an address"), &[public]), verdict, "{remote}");
        }
        let remote = "127.0.0.1:9".parse().expect("an address");
        assert_eq!(check_address(remote, &[public, loopback]), Ok(()));
    }
}
