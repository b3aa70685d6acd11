//! The sockets of one worker, opened and closed at its relay's request.
//!
//! A closed one rests: it stays bound, what still comes is read and dropped, and the next call that gets its port finds
//! it ready. Binding, watching and closing four sockets is two thirds of what setting up a call costs.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use relay::{OpenError, SocketId, Sockets, Traffic};
use socket2::{Domain, Protocol, Socket, Type};

/// What the kernel should hold of what arrives for many legs, as far as `net.core.rmem_max` lets it: ten thousand calls
/// bring so much in some ten milliseconds.
const SHARED_BUFFER: usize = 4 << 20;

/// How a socket is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOptions {
    /// See [`crate::Config::tos`].
    pub(crate) tos: u8,
    /// See [`crate::Config::video_tos`].
    pub(crate) video_tos: u8,
    /// See [`crate::Config::receive_buffer`].
    pub(crate) receive_buffer: Option<usize>,
}

impl SocketOptions {
    /// Binds a UDP socket that never blocks.
    pub(crate) fn bind(self, address: SocketAddr, traffic: Traffic) -> io::Result<std::net::UdpSocket> {
        let tos = match traffic {
            Traffic::Audio | Traffic::Shared => self.tos,
            Traffic::Video => self.video_tos,
            Traffic::Marked(tos) => tos,
        };
        let buffer = match traffic {
            Traffic::Audio | Traffic::Video | Traffic::Marked(_) => self.receive_buffer,
            Traffic::Shared => Some(self.receive_buffer.unwrap_or(0).max(SHARED_BUFFER)),
        };
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(u32::from(tos))?;
        } else {
            socket.set_tos_v4(u32::from(tos))?;
        }
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(&address.into())?;
        Ok(socket.into())
    }
}

/// The sockets that are bound: open, or at rest.
#[derive(Debug)]
pub(crate) struct OpenSockets {
    registry: Registry,
    options: SocketOptions,
    /// By their number.
    open: Vec<Option<Bound>>,
    /// By their address.
    resting: HashMap<SocketAddr, Bound>,
    /// What each token of the poll stands for.
    holders: Vec<Holder>,
    /// Where the socket of each token is bound. Apart from the rest, which every packet passes by.
    places: Vec<Place>,
    free_tokens: Vec<usize>,
    /// So many may be bound while some of them rest.
    most: usize,
    /// Datagrams that came for a call that was over.
    late: u64,
}

/// A socket that the poll watches.
#[derive(Debug)]
struct Bound {
    socket: UdpSocket,
    token: usize,
}

/// What a socket was bound for.
#[derive(Clone, Copy, Debug)]
struct Place {
    address: SocketAddr,
    traffic: Traffic,
}

/// What a token stands for.
#[derive(Clone, Copy, Debug)]
enum Holder {
    Open(SocketId),
    Resting,
    Nobody,
}

impl OpenSockets {
    /// None yet. As long as fewer than `most` are bound, a closed one rests.
    pub(crate) fn new(registry: Registry, options: SocketOptions, most: usize) -> Self {
        Self {
            registry,
            options,
            open: Vec::new(),
            resting: HashMap::new(),
            holders: Vec::new(),
            places: Vec::new(),
            free_tokens: Vec::new(),
            most,
            late: 0,
        }
    }

    /// The socket of a number, if it is open.
    pub(crate) fn socket(&self, id: SocketId) -> Option<BorrowedFd<'_>> {
        Some(self.open.get(id.0 as usize)?.as_ref()?.socket.as_fd())
    }

    /// The open socket that an event of the poll tells of. What came for one that rests is dropped: the call is over.
    pub(crate) fn readable(&mut self, token: Token) -> Option<SocketId> {
        match self.holders.get(token.0)? {
            Holder::Open(id) => return Some(*id),
            Holder::Resting => {
                if let Some(bound) = self.resting.get(&self.places[token.0].address) {
                    bound.drain(&mut self.late);
                }
            }
            Holder::Nobody => {}
        }
        None
    }

    /// How many datagrams came for a call that was over.
    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    pub(crate) fn close_all(&mut self) {
        (self.open, self.resting) = (Vec::new(), HashMap::new());
        (self.holders, self.places, self.free_tokens) = (Vec::new(), Vec::new(), Vec::new());
    }

    /// Takes a socket that rests, as if it had just been opened.
    fn wake(&mut self, address: SocketAddr, traffic: Traffic) -> Option<Bound> {
        let bound = self.resting.remove(&address)?;
        if self.places[bound.token].traffic == traffic && bound.drain(&mut self.late) {
            return Some(bound);
        }
        self.drop_bound(bound);
        None
    }

    /// Binds a socket and has it watched.
    fn bind(&mut self, address: SocketAddr, traffic: Traffic) -> Result<Bound, OpenError> {
        if self.bound() >= self.most {
            self.drop_one_at_rest();
        }
        let socket = match self.options.bind(address, traffic).map_err(refusal) {
            // The rest of the process may need more than is left.
            Err(OpenError::NoDescriptor) if self.drop_one_at_rest() => self.options.bind(address, traffic),
            Err(error) => return Err(error),
            Ok(socket) => Ok(socket),
        };
        let mut socket = UdpSocket::from_std(socket.map_err(refusal)?);
        let token = self.free_tokens.last().copied().unwrap_or(self.holders.len());
        self.registry.register(&mut socket, Token(token), Interest::READABLE).map_err(refusal)?;
        let place = Place { address, traffic };
        if self.free_tokens.pop().is_some() {
            self.places[token] = place;
        } else {
            self.holders.push(Holder::Nobody);
            self.places.push(place);
        }
        Ok(Bound { socket, token })
    }

    /// How many are bound.
    fn bound(&self) -> usize {
        self.holders.len() - self.free_tokens.len()
    }

    /// Says whether there was one.
    fn drop_one_at_rest(&mut self) -> bool {
        let Some(address) = self.resting.keys().next().copied() else { return false };
        if let Some(bound) = self.resting.remove(&address) {
            self.drop_bound(bound);
        }
        true
    }

    /// Closing the descriptor takes it off the poll.
    fn drop_bound(&mut self, bound: Bound) {
        self.holders[bound.token] = Holder::Nobody;
        self.free_tokens.push(bound.token);
    }
}

impl Bound {
    /// Drops what came, unless that has no end, and counts it. Says whether nothing is left.
    fn drain(&self, late: &mut u64) -> bool {
        /// More than a socket holds by default.
        const MOST: usize = 1024;
        for _ in 0..MOST {
            match self.socket.recv(&mut []) {
                Ok(_) => *late += 1,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        false
    }
}

impl Sockets for OpenSockets {
    fn open(&mut self, id: SocketId, address: SocketAddr, traffic: Traffic) -> Result<(), OpenError> {
        let bound = match self.wake(address, traffic) {
            Some(bound) => bound,
            None => self.bind(address, traffic)?,
        };
        self.holders[bound.token] = Holder::Open(id);
        let slot = id.0 as usize;
        if self.open.len() <= slot {
            self.open.resize_with(slot + 1, || None);
        }
        self.open[slot] = Some(bound);
        Ok(())
    }

    fn close(&mut self, id: SocketId) {
        let Some(bound) = self.open.get_mut(id.0 as usize).and_then(Option::take) else { return };
        let Place { address, traffic } = self.places[bound.token];
        if self.bound() > self.most || matches!(traffic, Traffic::Shared) {
            return self.drop_bound(bound);
        }
        self.holders[bound.token] = Holder::Resting;
        self.resting.insert(address, bound);
    }
}

/// Which of the machine's means ran out.
fn refusal(error: io::Error) -> OpenError {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => OpenError::PortTaken,
        Some(libc::EADDRNOTAVAIL) => OpenError::AddressGone,
        Some(libc::EMFILE | libc::ENFILE) => OpenError::NoDescriptor,
        Some(libc::ENOMEM | libc::ENOBUFS | libc::ENOSPC) => OpenError::NoMemory, // ENOSPC: of what epoll may watch
        Some(_) | None => OpenError::Other(error),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use socket2::SockRef;

    use super::*;

    #[test]
    fn what_is_sent_bears_the_mark_in_either_family() {
        let options = SocketOptions { tos: 46 << 2, video_tos: 34 << 2, receive_buffer: None };
        let marks = [(Traffic::Audio, 184), (Traffic::Shared, 184), (Traffic::Video, 136), (Traffic::Marked(8), 8)];
        for (traffic, tos) in marks {
            let socket = options.bind((Ipv4Addr::LOCALHOST, 0).into(), traffic).expect("loopback has ports");
            assert_eq!(SockRef::from(&socket).tos_v4().expect("it has one"), tos);
            // A machine without IPv6 has nothing to mark.
            if let Ok(socket) = options.bind((Ipv6Addr::LOCALHOST, 0).into(), traffic) {
                assert_eq!(SockRef::from(&socket).tclass_v6().expect("it has one"), tos);
            }
        }
    }

    #[test]
    fn a_socket_that_is_not_to_be_had_says_why() {
        let registry = mio::Poll::new().and_then(|poll| poll.registry().try_clone()).expect("it has descriptors");
        let mut sockets = OpenSockets::new(registry, OPTIONS, 8);
        let taken = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
        let taken = taken.local_addr().map(|address| (taken, address)).expect("it is bound");
        assert!(matches!(sockets.open(SocketId(0), taken.1, Traffic::Audio), Err(OpenError::PortTaken)));
        let elsewhere = (Ipv4Addr::new(192, 0, 2, 1), 0).into();
        assert!(matches!(sockets.open(SocketId(0), elsewhere, Traffic::Audio), Err(OpenError::AddressGone)));
        for (number, is_descriptor) in [(libc::EMFILE, true), (libc::ENFILE, true), (libc::ENOBUFS, false)] {
            let refused = refusal(io::Error::from_raw_os_error(number));
            assert_eq!(matches!(refused, OpenError::NoDescriptor), is_descriptor, "{number}");
            assert_eq!(matches!(refused, OpenError::NoMemory), !is_descriptor, "{number}");
        }
    }

    #[test]
    fn a_closed_socket_rests_and_what_came_for_its_call_never_reaches_the_next() {
        let mut poll = mio::Poll::new().expect("the machine has descriptors");
        let registry = poll.registry().try_clone().expect("the machine has descriptors");
        let mut sockets = OpenSockets::new(registry, OPTIONS, 1);
        let (address, other) = (free_address(), free_address());
        let peer = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
        let holds = |sockets: &OpenSockets, id| {
            let descriptor = sockets.socket(id).expect("it is open").try_clone_to_owned().expect("it has descriptors");
            let mut buffer = [0; 8];
            std::net::UdpSocket::from(descriptor).recv(&mut buffer).map(|length| buffer[..length].to_vec()).ok()
        };

        sockets.open(SocketId(0), address, Traffic::Audio).expect("the port is free");
        peer.send_to(b"before", address).expect("loopback takes it");
        sockets.close(SocketId(0));
        assert!(sockets.socket(SocketId(0)).is_none());
        peer.send_to(b"between", address).expect("loopback takes it");
        let mut events = mio::Events::with_capacity(8);
        poll.poll(&mut events, None).expect("something came");
        assert_eq!(events.iter().filter_map(|event| sockets.readable(event.token())).count(), 0);
        assert_eq!(sockets.late(), 2);

        peer.send_to(b"unread", address).expect("loopback takes it");
        sockets.open(SocketId(3), address, Traffic::Audio).expect("it rested");
        assert_eq!((sockets.late(), holds(&sockets, SocketId(3))), (3, None));
        peer.send_to(b"after", address).expect("loopback takes it");
        poll.poll(&mut events, None).expect("something came");
        let readable: Vec<_> = events.iter().filter_map(|event| sockets.readable(event.token())).collect();
        assert_eq!(readable, [SocketId(3)]);
        assert_eq!(holds(&sockets, SocketId(3)), Some(b"after".to_vec()));

        // Its mark would be wrong, so it is bound anew.
        sockets.close(SocketId(3));
        sockets.open(SocketId(0), address, Traffic::Video).expect("nobody else took the port");
        // No more than one may be bound while one rests.
        sockets.close(SocketId(0));
        sockets.open(SocketId(0), other, Traffic::Audio).expect("the port is free");
        std::net::UdpSocket::bind(address).expect("the one at rest made room");
        sockets.open(SocketId(1), address, Traffic::Audio).expect("the port is free");
        sockets.close(SocketId(1));
        std::net::UdpSocket::bind(address).expect("two were bound, so it did not rest");
    }

    const OPTIONS: SocketOptions = SocketOptions { tos: 0, video_tos: 0, receive_buffer: None };

    fn free_address() -> SocketAddr {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
        socket.local_addr().expect("it is bound")
    }
}
