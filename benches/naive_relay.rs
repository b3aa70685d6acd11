//! The floor to compare a relay with: one socket for each end of a call, and a loop that receives and sends.
//!
//! It speaks as much of the ng protocol as `stox load relay` needs, forwards plain RTP as it is, and checks nothing.
//! `benches/against-rtpengine` starts it; alone: `cargo run --release -p stox-control --example naive_relay -- 2224`,
//! which listens on that port of 127.0.0.1.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use control::{Dictionary, Frame};
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token};

const CONTROL: Token = Token(0);

/// One end of a call: our socket towards it, where it is, and the token of the other end.
struct End {
    socket: UdpSocket,
    peer: Option<SocketAddr>,
    other: usize,
}

struct Naive {
    poll: Poll,
    control: UdpSocket,
    ends: HashMap<usize, End>,
    calls: HashMap<String, [usize; 2]>,
    next: usize,
}

fn main() -> io::Result<()> {
    let port = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(2224);
    let mut naive = Naive::new(port)?;
    let mut events = Events::with_capacity(1024);
    loop {
        naive.poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                CONTROL => naive.obey()?,
                Token(token) => naive.forward(token),
            }
        }
    }
}

impl Naive {
    fn new(port: u16) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut control = UdpSocket::bind((Ipv4Addr::LOCALHOST, port).into())?;
        poll.registry().register(&mut control, CONTROL, Interest::READABLE)?;
        Ok(Self { poll, control, ends: HashMap::new(), calls: HashMap::new(), next: 1 })
    }

    /// Receives and sends, one by one, until nothing is left.
    fn forward(&mut self, token: usize) {
        let mut buffer = [0; 2048];
        let Some(end) = self.ends.get(&token) else { return };
        let Some(other) = self.ends.get(&end.other) else { return };
        while let Ok((length, _)) = end.socket.recv_from(&mut buffer) {
            if let Some(peer) = other.peer {
                let _ = other.socket.send_to(&buffer[..length], peer);
            }
        }
    }

    fn obey(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, from)) = self.control.recv_from(&mut buffer) {
            let Ok(frame) = Frame::split(&buffer[..length]) else { continue };
            let Ok((encoding, request)) = frame.read() else { continue };
            let reply = self.reply(&request)?;
            self.control.send_to(&Frame::write(frame.cookie, encoding, &reply), from)?;
        }
        Ok(())
    }

    fn reply(&mut self, request: &Dictionary<'_>) -> io::Result<Dictionary<'static>> {
        let call = request.text("call-id").unwrap_or_default().to_owned();
        let side = match request.text("command") {
            Some("ping") => return Ok(Dictionary::new().with("result", "pong")),
            Some("offer") => 0,
            Some("answer") => 1,
            _ => {
                for token in self.calls.remove(&call).into_iter().flatten() {
                    self.ends.remove(&token);
                }
                return Ok(Dictionary::new().with("result", "ok"));
            }
        };
        let tokens = match self.calls.get(&call) {
            Some(tokens) => *tokens,
            None => self.open(call)?,
        };
        let sdp = request.text("sdp").unwrap_or_default();
        if let Some(end) = self.ends.get_mut(&tokens[side]) {
            end.peer = address_in(sdp);
        }
        let ours = self.ends[&tokens[1 - side]].socket.local_addr()?;
        Ok(Dictionary::new().with("result", "ok").with("sdp", with_port(sdp, ours.port())))
    }

    fn open(&mut self, call: String) -> io::Result<[usize; 2]> {
        let tokens = [self.next, self.next + 1];
        self.next += 2;
        for (token, other) in [(tokens[0], tokens[1]), (tokens[1], tokens[0])] {
            let mut socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0).into())?;
            self.poll.registry().register(&mut socket, Token(token), Interest::READABLE)?;
            self.ends.insert(token, End { socket, peer: None, other });
        }
        self.calls.insert(call, tokens);
        Ok(tokens)
    }
}

/// Where a description wants its media: on this machine, at the port of its first `m=`.
fn address_in(sdp: &str) -> Option<SocketAddr> {
    let media = sdp.lines().find_map(|line| line.strip_prefix("m="))?;
    Some((Ipv4Addr::LOCALHOST, media.split(' ').nth(1)?.parse().ok()?).into())
}

/// A description with another port, and with nothing that names a port of RTCP.
fn with_port(sdp: &str, port: u16) -> String {
    let line = |line: &str| {
        let mut words = line.splitn(3, ' ');
        match (line.starts_with("m="), words.next(), words.next(), words.next()) {
            (true, Some(kind), Some(_), Some(rest)) => format!("{kind} {port} {rest}\r\n"),
            _ => format!("{line}\r\n"),
        }
    };
    sdp.lines().filter(|line| !line.starts_with("a=rtcp:")).map(line).collect()
}
