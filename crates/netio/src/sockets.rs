//! The sockets of one worker, opened and closed at its relay's request.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use relay::{SocketId, Sockets};
use socket2::{Domain, Protocol, Socket, Type};

/// How a socket is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketOptions {
    /// See [`crate::Config::tos`].
    pub(crate) tos: u8,
    /// See [`crate::Config::receive_buffer`].
    pub(crate) receive_buffer: Option<usize>,
}

impl SocketOptions {
    /// Binds a UDP socket that never blocks.
    pub(crate) fn bind(self, address: SocketAddr) -> io::Result<std::net::UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_tclass_v6(u32::from(self.tos))?;
        } else {
            socket.set_tos_v4(u32::from(self.tos))?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_nonblocking(true)?;
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
    fn open(&mut self, id: SocketId, address: SocketAddr) -> io::Result<()> {
        let mut socket = UdpSocket::from_std(self.options.bind(address)?);
        let slot = id.0 as usize;
        self.registry.register(&mut socket, Token(slot), Interest::READABLE)?;
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

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use socket2::SockRef;

    use super::*;

    #[test]
    fn what_is_sent_bears_the_mark_in_either_family() {
        let options = SocketOptions { tos: 46 << 2, receive_buffer: None };
        let socket = options.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("loopback has ports");
        assert_eq!(SockRef::from(&socket).tos_v4().expect("it has one"), 184);
        // A machine without IPv6 has nothing to mark.
        if let Ok(socket) = options.bind((Ipv6Addr::LOCALHOST, 0).into()) {
            assert_eq!(SockRef::from(&socket).tclass_v6().expect("it has one"), 184);
        }
    }
}
