//! A relay that is driven by the ng protocol over UDP: rtpengine, or our own.
//!
//! - `client`: requests, replies and retransmissions, without I/O

mod client;

use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use model::Description;

use self::client::Client;
use super::calls::{Control, Told};
use super::{CallNumber, TargetError};

/// Bytes of the longest datagram.
const LONGEST: usize = 65_535;

/// How long the relay may take to answer the ping at the beginning, and how often it is repeated.
const PING_EVERY: Duration = Duration::from_millis(500);
const PINGS: usize = 4;

/// A relay that speaks ng.
pub(super) struct Ng {
    socket: UdpSocket,
    client: Client,
    buffer: Vec<u8>,
}

impl Ng {
    /// Reaches the relay at `HOST:PORT`, and makes sure that it answers.
    pub(super) fn connect(address: &str) -> Result<Self, TargetError> {
        let gone = |why: &dyn std::fmt::Display| TargetError::Gone(format!("ng:{address}: {why}"));
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| TargetError::Exhausted(format!("randomness ({error})")))?;
        let mut relay = Self {
            socket: reach(address).map_err(|error| gone(&error))?,
            client: Client::new(u64::from_be_bytes(random)),
            buffer: vec![0; LONGEST],
        };
        relay.ping().map_err(|error| gone(&error))?;
        relay.socket.set_nonblocking(true).map_err(|error| gone(&error))?;
        Ok(relay)
    }

    /// Waits for the relay to answer.
    fn ping(&mut self) -> io::Result<()> {
        let (cookie, ping) = self.client.ping();
        self.socket.set_read_timeout(Some(PING_EVERY))?;
        for _ in 0..PINGS {
            self.socket.send(&ping)?;
            match self.socket.recv(&mut self.buffer) {
                Ok(length) if Client::is_pong(&cookie, &self.buffer[..length]) => return Ok(()),
                Ok(_) => return Err(io::Error::other("whoever answers there does not speak ng")),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("nobody answers"))
    }

    fn flush(&mut self) {
        while let Some(message) = self.client.poll_transmit() {
            // What the kernel does not take now goes out again in a moment.
            let _ = self.socket.send(&message);
        }
    }
}

fn reach(address: &str) -> io::Result<UdpSocket> {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
    let mut last = io::Error::other("the name has no address");
    for relay in address.to_socket_addrs()? {
        let any: IpAddr = if relay.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let connected = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(relay).map(|()| socket));
        match connected {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Control for Ng {
    fn offer(&mut self, call: CallNumber, offer: &Description, now: Instant) {
        self.client.offer(call, offer, now);
        self.flush();
    }

    fn answer(&mut self, call: CallNumber, answer: &Description, now: Instant) {
        self.client.answer(call, answer, now);
        self.flush();
    }

    fn end(&mut self, call: CallNumber, now: Instant) {
        self.client.end(call, now);
        self.flush();
    }

    fn source(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn receive(&mut self) -> Result<(), TargetError> {
        loop {
            match self.socket.recv(&mut self.buffer) {
                Ok(length) => self.client.handle_message(&self.buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TargetError::Gone(error.to_string())),
            }
        }
        self.flush();
        Ok(())
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.client.handle_timeout(now);
        self.flush();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    fn poll(&mut self) -> Option<(CallNumber, Told)> {
        self.client.poll()
    }
}
