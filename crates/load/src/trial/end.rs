//! One end of a call, ready for media.

use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

pub use crate::transport::Protection;

/// One end of a call: its socket, where it sends to, and what protects its media.
pub struct End {
    /// Sends and receives RTP; the relay's RTCP comes there too (RFC 5761). Bound; made non-blocking by the engine.
    pub rtp: UdpSocket,
    /// The relay's address towards this end.
    pub to: SocketAddr,
    /// What stands between this end and its media.
    pub protection: Protection,
    /// The payload type of what this end sends (RFC 3551).
    pub payload_type: u8,
    /// What has to be kept alive beside the media.
    pub keeper: Option<Box<dyn Keeper>>,
}

/// An ICE agent, a DTLS association or both, that lives as long as its end (RFC 7675: consent has to be renewed).
///
/// The engine hands it what arrives and is not media, and calls it when it is due. After each `handle_*` it sends what
/// [`Self::poll_transmit`] has.
pub trait Keeper: Send {
    /// Takes a STUN or DTLS packet.
    fn handle_packet(&mut self, from: SocketAddr, bytes: &mut [u8], now: Instant);

    /// Does what is due.
    fn handle_timeout(&mut self, now: Instant);

    /// The next packet to send from the end's RTP socket.
    fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)>;

    /// When [`Self::handle_timeout`] is due.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Where media goes now, if that can change while the call lasts: the pair that ICE selected.
    fn remote(&self) -> Option<SocketAddr> {
        None
    }
}

impl fmt::Debug for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Srtp(_) => "Srtp",
        })
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End").field("rtp", &self.rtp).field("to", &self.to).finish_non_exhaustive()
    }
}
