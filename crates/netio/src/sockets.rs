//! The sockets of one worker, opened and closed at its relay's request.

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
        };
        let buffer = match traffic {
            Traffic::Audio | Traffic::Video => self.receive_buffer,
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

/// The open sockets, by their number.
#[derive(Debug)]
pub(crate) struct OpenSockets {
    registry: Registry,
    options: SocketOptions,
    open: Vec<Option<UdpSocket>>,
}

impl OpenSockets {
    pub(crate) fn new(registry: Registry, options: SocketOptions) -> Self {
        Self { registry, options, open: Vec::new() }
    }

    /// The socket of a number, if it is open.
    pub(crate) fn socket(&self, id: SocketId) -> Option<BorrowedFd<'_>> {
        Some(self.open.get(id.0 as usize)?.as_ref()?.as_fd())
    }

    pub(crate) fn close_all(&mut self) {
        self.open.clear();
    }
}

impl Sockets for OpenSockets {
    fn open(&mut self, id: SocketId, address: SocketAddr, traffic: Traffic) -> Result<(), OpenError> {
        let mut socket = UdpSocket::from_std(self.options.bind(address, traffic).map_err(refusal)?);
        let slot = id.0 as usize;
        self.registry.register(&mut socket, Token(slot), Interest::READABLE).map_err(refusal)?;
        if self.open.len() <= slot {
            self.open.resize_with(slot + 1, || None);
        }
        self.open[slot] = Some(socket);
        Ok(())
    }

    fn close(&mut self, id: SocketId) {
        // Closing the descriptor takes it off the poll.
        if let Some(slot) = self.open.get_mut(id.0 as usize) {
            *slot = None;
        }
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
        for (traffic, tos) in [(Traffic::Audio, 184), (Traffic::Shared, 184), (Traffic::Video, 136)] {
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
        let poll = mio::Poll::new().expect("the machine has descriptors");
        let registry = poll.registry().try_clone().expect("the machine has descriptors");
        let mut sockets = OpenSockets::new(registry, SocketOptions { tos: 0, video_tos: 0, receive_buffer: None });
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
}
