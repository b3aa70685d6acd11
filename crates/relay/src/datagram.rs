//! What goes in and out of the relay's sockets.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use thiserror::Error;

/// One of the relay's sockets: a dense index that the relay chooses and reuses after [`Sockets::close`] or
/// [`Relay::poll_close`](crate::Relay::poll_close).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SocketId(pub u32);

/// A datagram that arrived.
#[derive(Debug, PartialEq)]
pub struct Datagram<'a> {
    /// The socket it came to.
    pub arrived_on: SocketId,
    /// Who sent it.
    pub from: SocketAddr,
    /// The datagram, and behind it room for an SRTP tag: at least [`Datagram::TAIL_ROOM`] bytes.
    pub buffer: &'a mut [u8],
    /// Bytes of the datagram, at the beginning of the buffer.
    pub length: usize,
}

impl Datagram<'_> {
    /// The most that a datagram may grow: the longest SRTP or SRTCP trailer, with an MKI.
    pub const TAIL_ROOM: usize = 192;
}

/// A datagram that goes on, rewritten in the buffer it arrived in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forward {
    /// The socket to send it from.
    pub from: SocketId,
    /// Where to.
    pub to: SocketAddr,
    /// Which bytes of [`Datagram::buffer`].
    pub bytes: Range<usize>,
}

/// A datagram that the relay itself wants sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// The socket to send it from.
    pub from: SocketId,
    /// Where to.
    pub to: SocketAddr,
    /// The datagram.
    pub bytes: Vec<u8>,
}

/// Where the relay gets its sockets from.
pub trait Sockets {
    /// Binds a UDP socket to an address and gives it the number under which its datagrams arrive.
    ///
    /// # Errors
    ///
    /// Why there is none. After [`OpenError::PortTaken`] the relay tries its next port; the others make it give up.
    fn open(&mut self, id: SocketId, address: SocketAddr, traffic: Traffic) -> Result<(), OpenError>;

    /// Closes a socket that was opened just now, because another that it needs cannot be. Its number may be used again
    /// at once.
    fn close(&mut self, id: SocketId);
}

/// What a socket will carry, which decides how it is set up: how its datagrams are marked (RFC 8837 §5), and how many the
/// kernel should hold for us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Traffic {
    /// Sound, perhaps with video beside it.
    Audio,
    /// Video alone.
    Video,
    /// What bears this octet in its Type of Service or Traffic Class field, whatever it is.
    Marked(u8),
    /// That of many legs.
    Shared,
}

/// Why a socket was not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Somebody else uses the port.
    #[error("port is taken")]
    PortTaken,
    /// The address is no longer, or never was, this machine's.
    #[error("not an address of this machine")]
    AddressGone,
    /// The process, or the machine, has as many files open as it may.
    #[error("too many open files")]
    NoDescriptor,
    /// The kernel has no memory for it.
    #[error("no memory for a socket")]
    NoMemory,
    /// Anything else.
    #[error(transparent)]
    Other(#[from] io::Error),
}
