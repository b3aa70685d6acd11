//! A SIP peer played by hand, over a UDP socket.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;

/// The peer.
pub(crate) struct Peer {
    socket: UdpSocket,
    agent: Option<SocketAddr>,
}

/// A message as text.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) text: String,
}

impl Message {
    /// The first line.
    pub(crate) fn line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    pub(crate) fn status(&self) -> u16 {
        let status = self.line().strip_prefix("SIP/2.0 ").and_then(|rest| rest.split(' ').next());
        status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no response: {}", self.text))
    }

    pub(crate) fn method(&self) -> &str {
        self.line().split(' ').next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn required(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {}", self.text))
    }

    pub(crate) fn tag(&self, name: &str) -> &str {
        self.required(name).split(";tag=").nth(1).unwrap_or_else(|| panic!("no tag in {name} of {}", self.text))
    }

    pub(crate) fn uri(&self) -> &str {
        self.line().split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// A response to this request.
    pub(crate) fn response(&self, status: &str, to_tag: &str, more: &str, body: &str) -> String {
        let to = self.required("To");
        let to = if to.contains(";tag=") { to.to_owned() } else { format!("{to};tag={to_tag}") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            self.required("Via"),
            self.required("From"),
            self.required("Call-ID"),
            self.required("CSeq"),
            body.len(),
        )
    }
}

impl Peer {
    pub(crate) async fn bind() -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").await.expect("a port"), agent: None }
    }

    /// A peer that sends to the agent at an address.
    pub(crate) async fn towards(agent: SocketAddr) -> Self {
        Self { agent: Some(agent), ..Self::bind().await }
    }

    /// Sends to the agent at an address from now on.
    pub(crate) const fn meet(&mut self, agent: SocketAddr) {
        self.agent = Some(agent);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    pub(crate) async fn send(&self, text: impl AsRef<[u8]>) {
        let agent = self.agent.expect("the agent's address is known");
        self.socket.send_to(text.as_ref(), agent).await.expect("loopback works");
    }

    /// The next message.
    pub(crate) async fn receive(&mut self) -> Message {
        self.within(Duration::from_secs(10)).await.expect("a message within ten seconds")
    }

    pub(crate) async fn within(&mut self, time: Duration) -> Option<Message> {
        let mut buffer = vec![0; 65_535];
        let (length, from) = tokio::time::timeout(time, self.socket.recv_from(&mut buffer)).await.ok()?.ok()?;
        self.agent = Some(from);
        buffer.truncate(length);
        Some(Message { text: String::from_utf8(buffer).expect("text") })
    }

    /// The next message that is a request of a method, or a response of a status; others before it are skipped.
    pub(crate) async fn until(&mut self, start: &str) -> Message {
        loop {
            let message = self.receive().await;
            if message.line().starts_with(start) {
                return message;
            }
        }
    }

    /// A request of ours.
    pub(crate) fn request(&self, method: &str, number: u32, more: &str, body: &str) -> String {
        self.request_in(method, number, ("sip:bob@example.org", "c1", "a1", ""), more, body)
    }

    /// A request of ours in a call that the agent made, known by a request of it.
    pub(crate) fn request_back(&self, of: &Message, method: &str, number: u32, more: &str, body: &str) -> String {
        let uri = of.required("Contact").trim_start_matches('<').split('>').next().unwrap_or_default();
        let theirs = of.required("From").split(";tag=").nth(1).unwrap_or_default();
        self.request_in(method, number, (uri, of.required("Call-ID"), "b1", theirs), more, body)
    }

    /// A request of ours in a dialog: Request-URI, Call-ID, our tag, theirs.
    pub(crate) fn request_in(
        &self,
        method: &str,
        number: u32,
        (uri, call_id, own, theirs): (&str, &str, &str, &str),
        more: &str,
        body: &str,
    ) -> String {
        let address = self.address();
        let theirs = if theirs.is_empty() { String::new() } else { format!(";tag={theirs}") };
        let kind =
            if body.is_empty() || more.contains("Content-Type") { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{call_id}{method}{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag={own}\r\nTo: <sip:bob@example.org>{theirs}\r\n\
             Call-ID: {call_id}\r\nCSeq: {number} {method}\r\nContact: <sip:alice@{address}>\r\n{more}{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len(),
        )
    }
}
