//! What the relay is told once, when it is made.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// The settings of one relay, which is one worker's share of the machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// The local addresses, best first. A leg without ICE uses the first that fits.
    pub addresses: Vec<Address>,
    /// The ports it may open.
    pub ports: PortShare,
    /// The UDP port that legs which require ICE share on each address, so that each needs no port of its own. Another
    /// worker needs another port: a datagram has to come to the worker of its call, which only the port can tell before
    /// it is looked into.
    pub ice_port: Option<u16>,
    /// How long a port rests after a call before another may use it, so that what the old peer still sends reaches nobody.
    /// Where no other is left, at least a fiftieth of it.
    pub port_quarantine: Duration,
    /// Whose certificate a leg shows.
    pub certificates: CertificatePolicy,
    /// Calls it holds at most.
    pub max_calls: usize,
    /// Streams that all legs together have at most, where that is to be less than the sixteen that each may have. With them the candidates of peers are bounded: for
    /// each component of a stream 64 are kept.
    pub max_streams: usize,
    /// Packets a second from one address, or from one network of 64 bits, that may prove to be wrong before the next are
    /// dropped unread: STUN from a source that ICE has not validated, SRTP from one on trial. Without limit for zero.
    pub max_wrong_packets: u32,
    /// After this long without media that could be believed a leg that should send is reported.
    pub media_timeout: Duration,
    /// The same for a leg that need not send: on hold, or only listening.
    pub silent_timeout: Duration,
}

impl Config {
    /// The usual settings.
    pub fn new(addresses: Vec<Address>, ports: PortShare, certificates: CertificatePolicy) -> Self {
        Self {
            addresses,
            ports,
            ice_port: None,
            port_quarantine: Duration::from_secs(5),
            certificates,
            max_calls: 1000,
            max_streams: usize::MAX,
            max_wrong_packets: 100,
            media_timeout: Duration::from_secs(60),
            silent_timeout: Duration::from_secs(3600),
        }
    }
}

/// A local address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    /// The name by which [`model::LegPolicy::address`] asks for it.
    pub name: Option<String>,
    /// Where sockets are bound.
    pub bind: IpAddr,
    /// What peers are told instead, where the machine sits behind a one-to-one translation.
    pub advertise: Option<IpAddr>,
}

/// A share of a range of ports: of the even and odd pairs in the range every `of`-th, beginning with number `number`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortShare {
    /// The range that all workers share.
    pub range: RangeInclusive<u16>,
    /// Which share this is, from 0.
    pub number: u16,
    /// How many shares there are, at least 1.
    pub of: u16,
}

/// Whose certificate a leg shows.
#[derive(Clone, Debug)]
pub enum CertificatePolicy {
    /// This one, which is also that of the DTLS engine.
    PerProcess(Arc<dtls::Certificate>),
    /// A fresh one for each call, so that calls cannot be told to come from one machine.
    PerCall,
}
