//! Where media must never be sent, whatever signalling says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How far an address reaches, the nearest first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Scope {
    /// This machine.
    Loopback,
    /// This wire (RFC 3927, RFC 4291 §2.5.6).
    LinkLocal,
    /// This network, or that of this provider (RFC 1918, RFC 4193, RFC 6598).
    Private,
    /// Everywhere.
    Global,
}

impl Scope {
    /// The scope of an address; `None` if nothing must be sent to it: unspecified, multicast, broadcast, reserved.
    pub(crate) fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6) => Self::of_v6(v6),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Option<Self> {
        const SHARED: u8 = 0b0100_0000;
        let [a, b, ..] = address.octets();
        if a == 0 || a >= 224 {
            return None; // this network, multicast, reserved, broadcast
        }
        Some(if address.is_loopback() {
            Self::Loopback
        } else if address.is_link_local() {
            Self::LinkLocal
        } else if address.is_private() || (a == 100 && b & 0b1100_0000 == SHARED) {
            Self::Private
        } else {
            Self::Global
        })
    }

    fn of_v6(address: Ipv6Addr) -> Option<Self> {
        if address.is_unspecified() || address.is_multicast() {
            return None;
        }
        Some(if address.is_loopback() {
            Self::Loopback
        } else if address.is_unicast_link_local() {
            Self::LinkLocal
        } else if address.is_unique_local() {
            Self::Private
        } else {
            Self::Global
        })
    }
}

/// Which addresses a relay may send to: none nearer than the nearest of its own.
///
/// So a relay on public addresses cannot be talked into probing the machine or the network it stands in, and one on
/// the loopback address reaches everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach(Option<Scope>);

impl Reach {
    /// The reach of a relay bound to these addresses.
    pub(crate) fn of(bound: impl Iterator<Item = IpAddr>) -> Self {
        Self(bound.filter_map(Scope::of).min())
    }

    /// Says whether an address may be sent to.
    pub(crate) fn allows(self, to: SocketAddr) -> bool {
        let nearest = self.0;
        to.port() != 0 && Scope::of(to.ip()).is_some_and(|scope| nearest.is_some_and(|nearest| nearest <= scope))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(bound: &[&str]) -> Reach {
        Reach::of(bound.iter().map(|address| address.parse().expect("a literal address")))
    }

    fn allows(reach: Reach, to: &str) -> bool {
        reach.allows(to.parse().expect("a literal address"))
    }

    #[test]
    fn some_addresses_are_nobodys() {
        for to in ["0.0.0.0:9", "255.255.255.255:9", "224.0.0.1:9", "240.0.0.1:9", "[::]:9", "[ff02::1]:9", "1.2.3.4:0"]
        {
            assert!(!allows(reach(&["127.0.0.1"]), to), "{to}");
        }
        assert!(!allows(reach(&["127.0.0.1"]), "[::ffff:0.0.0.0]:9"));
    }

    #[test]
    fn nothing_nearer_than_our_own_address_is_sent_to() {
        let order = ["127.0.0.1:9", "169.254.1.1:9", "10.0.0.1:9", "192.0.2.1:9"];
        let public = reach(&["198.51.100.1", "2001:db8::1"]);
        assert_eq!(order.map(|to| allows(public, to)), [false, false, false, true]);
        assert!(!allows(public, "[::1]:9") && !allows(public, "[fe80::1]:9") && !allows(public, "[fd00::1]:9"));
        assert!(!allows(public, "100.64.0.1:9") && !allows(public, "[::ffff:127.0.0.1]:9"));
        assert!(allows(public, "100.128.0.1:9") && allows(public, "[2001:db8::2]:9"));
        assert_eq!(order.map(|to| allows(reach(&["192.168.1.1"]), to)), [false, false, true, true]);
        assert_eq!(order.map(|to| allows(reach(&["127.0.0.1"]), to)), [true; 4]);
    }
}
