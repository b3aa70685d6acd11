//! What arrives, before it becomes a transaction: datagrams are parsed, broken requests answered, and further copies of
//! a 2xx to an INVITE go to its call, because acknowledging them is the call's business (RFC 3261 §13.2.2.4).

use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use rsipstack::sip::{Header, Request, Response as WireResponse, SipMessage, Version};
use rsipstack::transaction::endpoint::{EndpointInner, EndpointInnerRef, MessageInspector, TransportEventInspector};
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{SipAddr, SipConnection, TransportEvent};
use tokio::net::UdpSocket;

use super::Transport;
use super::call::Input;
use super::endpoint::{Counters, Directory, LOCAL, SOURCE, count};
use super::trunk::Trunks;
use super::wire::{self, ALLOW, header};
use crate::address::SipUri;
use crate::message::Response;

const MAX_DATAGRAM: usize = 65_535;
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 200;
const MAX_HEADER: usize = 4 * 1024;
const MAX_BODY: usize = 64 * 1024;
/// Transactions beyond this mean that somebody floods us: new requests are dropped until it is over.
const MAX_TRANSACTIONS: usize = 60_000;
/// Connections at once, not counting those of trunks.
pub(super) const MAX_CONNECTIONS: usize = 500;

/// How long a socket that fails is left alone.
const PAUSE: Duration = Duration::from_millis(10);

/// Headers that a request must have once (RFC 3261 §8.1.1).
const ONCE: [&str; 4] = ["From", "To", "Call-ID", "CSeq"];

const METHODS: [&str; 14] = [
    "ACK",
    "BYE",
    "CANCEL",
    "INFO",
    "INVITE",
    "MESSAGE",
    "NOTIFY",
    "OPTIONS",
    "PRACK",
    "PUBLISH",
    "REFER",
    "REGISTER",
    "SUBSCRIBE",
    "UPDATE",
];

/// The gate between sockets and transactions.
pub(super) struct Ingress {
    pub(super) directory: Arc<Directory>,
    pub(super) counters: Arc<Counters>,
    pub(super) user_agent: String,
    /// Known once it is built; it is built with this.
    pub(super) stack: OnceLock<Weak<EndpointInner>>,
}

impl Ingress {
    /// Reads datagrams until the socket is gone.
    pub(super) async fn read(self: Arc<Self>, socket: Arc<UdpSocket>, connection: UdpConnection) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        loop {
            let (length, source) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    tracing::debug!(%error, "cannot receive");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(bytes) = buffer.get(..length) else {
                continue;
            };
            if let Some(answer) = self.take(bytes, SipConnection::Udp(connection.clone()), source).await {
                drop(socket.send_to(&answer, source).await);
            }
        }
    }

    /// Takes what arrived as a whole: a datagram, or a message of a WebSocket. What comes back is to be sent there as it
    /// is.
    pub(super) async fn take(&self, bytes: &[u8], connection: SipConnection, source: SocketAddr) -> Option<Vec<u8>> {
        match read_datagram(bytes, source) {
            Datagram::Message(message) => self.arrived(*message, connection, source).await,
            Datagram::Ping => return Some(b"\r\n".to_vec()),
            Datagram::Nothing => {}
            Datagram::NotSip => count(&self.counters.not_sip),
            Datagram::Refused(response) => {
                count(&self.counters.malformed);
                return Some(response);
            }
        }
        None
    }

    async fn arrived(&self, message: SipMessage, connection: SipConnection, source: SocketAddr) {
        let Some(message) = self.admit(message, &connection, source).await else {
            return;
        };
        let Some(stack) = self.stack() else {
            return;
        };
        let from = SipAddr { r#type: Some(Transport::of(&connection).wire()), addr: source.into() };
        if let Err(error) = stack.on_received_message(message, connection, &from).await {
            tracing::debug!(%source, %error, "message dropped");
            count(&self.counters.not_sip);
        }
    }

    /// Lets a message through to the transactions, or deals with it here.
    async fn admit(&self, message: SipMessage, connection: &SipConnection, source: SocketAddr) -> Option<SipMessage> {
        match message {
            SipMessage::Response(response) => self.admit_response(response, connection).map(SipMessage::Response),
            SipMessage::Request(request) => {
                let request = self.admit_request(request, connection, source).await?;
                Some(SipMessage::Request(request))
            }
        }
    }

    fn admit_response(&self, response: WireResponse, connection: &SipConnection) -> Option<WireResponse> {
        let (_, method) = wire::cseq(&response.headers)?;
        let status = response.status_code.code();
        if method != "INVITE" || !(200..300).contains(&status) {
            return Some(response);
        }
        let key = TransactionKey::from_response(&response, TransactionRole::Client).ok()?;
        if self.stack().is_some_and(|stack| stack.transactions.get(&key).is_some()) {
            return Some(response);
        }
        let tag = wire::tag(&response.headers, "From")?;
        match wire::call_id(&response.headers).and_then(|call_id| self.directory.by_tag(call_id, &tag)) {
            Some(call) => {
                let answered = Input::Answered { response: Box::new(response), connection: connection.clone() };
                if call.try_send(answered).is_err() {
                    count(&self.counters.call_overrun);
                }
            }
            None => tracing::debug!("2xx for no call of ours"),
        }
        None
    }

    async fn admit_request(
        &self,
        mut request: Request,
        connection: &SipConnection,
        source: SocketAddr,
    ) -> Option<Request> {
        if let Err(status) = check(&request) {
            count(&self.counters.malformed);
            let method = request.method.to_string();
            if method != "ACK" && ONCE.iter().all(|name| wire::value(&request.headers, name).is_some()) {
                let tag = wire::random(8);
                let mut refusal = wire::respond(&request, Some(&tag), &self.user_agent, &Response::new(status));
                refusal.headers.push(header("Allow", ALLOW));
                if let Err(error) = connection.send(SipMessage::Response(refusal), None).await {
                    tracing::debug!(%source, %error, "cannot answer a broken request");
                }
            }
            return None;
        }
        let initial = wire::tag(&request.headers, "To").is_none();
        if initial && self.is_flooded() {
            count(&self.counters.flooded);
            return None;
        }
        request.headers.retain(|own| own.name() != SOURCE);
        request.headers.push(Header::Other(SOURCE.to_owned(), source.to_string()));
        Some(request)
    }

    fn stack(&self) -> Option<EndpointInnerRef> {
        self.stack.get()?.upgrade()
    }

    /// Says whether one more connection may come in. Those of trunks always may.
    pub(super) fn lets_in(&self, address: IpAddr, trunks: &Trunks) -> bool {
        let full = self.stack().is_some_and(|stack| stack.transport_layer.connections_count() >= MAX_CONNECTIONS);
        let refused = full && !trunks.knows(address);
        if refused {
            count(&self.counters.connections_refused);
        }
        !refused
    }

    fn is_flooded(&self) -> bool {
        self.stack().is_some_and(|stack| {
            let stats = stack.get_stats();
            stats.running_transactions + stats.finished_transactions > MAX_TRANSACTIONS
        })
    }
}

/// The gate for streams: TCP and TLS.
pub(super) struct StreamGate(pub(super) Arc<Ingress>);

#[async_trait]
impl TransportEventInspector for StreamGate {
    async fn handle(&self, event: TransportEvent) -> Option<TransportEvent> {
        match event {
            TransportEvent::Incoming(message, connection, from) => {
                let source = from.get_socketaddr().ok()?;
                let message = self.0.admit(message, &connection, source).await?;
                Some(TransportEvent::Incoming(message, connection, from))
            }
            TransportEvent::New(_) | TransportEvent::Closed(_) => Some(event),
        }
    }
}

/// Marks the responses that the stack makes up when a request times out or its connection breaks.
pub(super) struct LocalMark;

impl MessageInspector for LocalMark {
    fn before_send(&self, mut message: SipMessage, _: Option<&SipAddr>) -> SipMessage {
        let headers = match &mut message {
            SipMessage::Request(request) => &mut request.headers,
            SipMessage::Response(response) => &mut response.headers,
        };
        headers.retain(|own| own.name() != LOCAL && own.name() != SOURCE);
        message
    }

    fn after_received(&self, mut message: SipMessage, from: Option<&SipAddr>) -> SipMessage {
        if let SipMessage::Response(response) = &mut message {
            response.headers.retain(|own| own.name() != LOCAL);
            if from.is_none() {
                response.headers.push(Header::Other(LOCAL.to_owned(), String::new()));
            }
        }
        message
    }
}

/// Checks what every request must have; the error is the status to refuse it with.
fn check(request: &Request) -> Result<(), u16> {
    if request.version != Version::V2 {
        return Err(505);
    }
    let headers = &request.headers;
    if headers.len() > MAX_HEADERS || headers.iter().any(|own| own.value().len() > MAX_HEADER) {
        return Err(513);
    }
    if request.body.len() > MAX_BODY {
        return Err(513);
    }
    if wire::value(headers, "Via").is_none() || ONCE.iter().any(|name| wire::values(headers, name).count() != 1) {
        return Err(400);
    }
    let (_, method) = wire::cseq(headers).ok_or(400_u16)?;
    if method != request.method.to_string() || wire::tag(headers, "From").is_none() {
        return Err(400);
    }
    let mut hops = wire::values(headers, "Max-Forwards");
    if hops.next().is_some_and(|hops| hops.parse::<u8>().is_err()) || hops.next().is_some() {
        return Err(400);
    }
    Ok(())
}

/// What a datagram is.
enum Datagram {
    Message(Box<SipMessage>),
    /// Keep-alive that wants an answer (RFC 5626 §3.5.1).
    Ping,
    /// Keep-alive that wants none.
    Nothing,
    NotSip,
    /// A request that cannot be read; the answer.
    Refused(Vec<u8>),
}

/// Reads a datagram: one message (RFC 3261 §18.3).
fn read_datagram(bytes: &[u8], source: SocketAddr) -> Datagram {
    let start = bytes.iter().position(|byte| !byte.is_ascii_whitespace());
    let Some(bytes) = start.and_then(|start| bytes.get(start..)) else {
        return if bytes == b"\r\n\r\n" { Datagram::Ping } else { Datagram::Nothing };
    };
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = match end {
        Some(end) => (bytes.get(..end).unwrap_or_default(), bytes.get(end + 4..).unwrap_or_default()),
        None => (bytes, &[][..]),
    };
    let head = String::from_utf8_lossy(head);
    let refuse = |status| refuse(&head, status, source).map_or(Datagram::NotSip, Datagram::Refused);
    if end.is_none() {
        return refuse(400);
    }
    if head.len() > MAX_HEAD {
        return refuse(513);
    }
    let mut message = match SipMessage::try_from(format!("{head}\r\n\r\n").as_bytes()) {
        Ok(message) => message,
        Err(_) => return refuse(unreadable_status(&head)),
    };
    let (headers, own_body) = match &mut message {
        SipMessage::Request(request) => (&mut request.headers, &mut request.body),
        SipMessage::Response(response) => (&mut response.headers, &mut response.body),
    };
    let length = match wire::value(headers, "Content-Length").map(str::parse::<usize>) {
        None => body.len(),
        Some(Ok(length)) => length,
        Some(Err(_)) => return refuse(400),
    };
    let Some(body) = body.get(..length) else {
        return refuse(400);
    };
    *own_body = body.to_vec();
    if let SipMessage::Request(request) = &mut message {
        let via = request.headers.iter_mut().find_map(|own| if let Header::Via(via) = own { Some(via) } else { None });
        match via.and_then(|via| Some((stamp(via.value(), source)?, via))) {
            Some((stamped, via)) => via.replace(stamped),
            None => return refuse(400),
        }
    }
    Datagram::Message(Box::new(message))
}

/// Why the parser did not take a request, as a status.
fn unreadable_status(head: &str) -> u16 {
    let mut words = head.lines().next().unwrap_or_default().split_whitespace();
    let method = words.next().unwrap_or_default();
    match words.nth(1) {
        Some("SIP/2.0") if !METHODS.contains(&method) => 501,
        Some(_) | None => 400,
    }
}

/// Makes the answer to a request that cannot be parsed, out of its lines. `None`: it is no request, or an ACK, or it
/// lacks what an answer needs.
fn refuse(head: &str, status: u16, source: SocketAddr) -> Option<Vec<u8>> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split_whitespace();
    let method = words.next().filter(|method| !method.starts_with("SIP/") && *method != "ACK")?;
    let is_request = method.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte))
        && words.last()?.starts_with("SIP/");
    if !is_request {
        return None;
    }
    let fields: Vec<(&str, &str)> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim())).collect();
    let field = |long: &str, short: &str| {
        let mut found =
            fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short));
        found.next().map(|(_, value)| *value)
    };
    let phrase = match status {
        501 => "Not Implemented",
        513 => "Message Too Large",
        _ => "Bad Request",
    };
    let mut answer = format!("SIP/2.0 {status} {phrase}\r\nVia: {}\r\n", stamp(field("Via", "v")?, source)?);
    for (_, via) in fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("via") || *name == "v").skip(1) {
        answer.push_str(&format!("Via: {via}\r\n"));
    }
    let to = field("To", "t")?;
    let tag = if to.contains(";tag=") { String::new() } else { format!(";tag={}", wire::random(8)) };
    let (from, call_id, cseq) = (field("From", "f")?, field("Call-ID", "i")?, field("CSeq", "CSeq")?);
    answer.push_str(&format!("From: {from}\r\nTo: {to}{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n"));
    answer.push_str(&format!("Allow: {ALLOW}\r\nContent-Length: 0\r\n\r\n"));
    Some(answer.into_bytes())
}

/// Notes the source of a request in its top Via: `received` where the sent-by does not say it, and the port where
/// `rport` asks for it (RFC 3261 §18.2.1, RFC 3581 §4).
fn stamp(via: &str, source: SocketAddr) -> Option<String> {
    let (top, rest) = via.split_once(',').map_or((via, None), |(top, rest)| (top, Some(rest)));
    let mut parts = top.split(';').map(str::trim);
    let sent_by = parts.next()?.split_whitespace().last()?;
    let host = SipUri::parse(&format!("sip:{sent_by}")).ok()?.host;
    let mut stamped = top.split(';').next()?.trim().to_owned();
    let mut asks = false;
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default().trim();
        if name.eq_ignore_ascii_case("rport") {
            asks = true;
        } else if !name.eq_ignore_ascii_case("received") {
            stamped.push_str(&format!(";{parameter}"));
        }
    }
    let says = host.trim_start_matches('[').trim_end_matches(']').parse() == Ok(source.ip());
    if asks || !says {
        stamped.push_str(&format!(";received={}", source.ip()));
    }
    if asks {
        stamped.push_str(&format!(";rport={}", source.port()));
    }
    if let Some(rest) = rest {
        stamped.push_str(&format!(", {}", rest.trim()));
    }
    Some(stamped)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOURCE_ADDRESS: &str = "192.0.2.7:5099";

    fn source() -> SocketAddr {
        SOURCE_ADDRESS.parse().expect("an address")
    }

    fn request(line: &str, more: &str, body: &str) -> String {
        format!(
            "{line}\r\nVia: SIP/2.0/UDP pc33.example.com;branch=z9hG4bK1;rport\r\nFrom: <sip:a@example.com>;tag=1\r\n\
             To: <sip:b@example.org>\r\nCall-ID: c1\r\nCSeq: 1 {}\r\n{more}\r\n{body}",
            line.split(' ').next().unwrap_or_default()
        )
    }

    fn body_of(text: &str) -> Vec<u8> {
        match read_datagram(text.as_bytes(), source()) {
            Datagram::Message(message) => match *message {
                SipMessage::Request(request) => request.body,
                SipMessage::Response(response) => response.body,
            },
            Datagram::Ping | Datagram::Nothing | Datagram::NotSip | Datagram::Refused(_) => {
                panic!("no message: {text}")
            }
        }
    }

    fn refusal(text: &str) -> String {
        match read_datagram(text.as_bytes(), source()) {
            Datagram::Refused(answer) => String::from_utf8(answer).expect("text"),
            Datagram::Message(_) | Datagram::Ping | Datagram::Nothing | Datagram::NotSip => {
                panic!("not refused: {text}")
            }
        }
    }

    #[test]
    fn the_source_is_noted_where_the_via_does_not_say_it() {
        for (via, stamped) in [
            ("SIP/2.0/UDP 192.0.2.7:5099;branch=z", "SIP/2.0/UDP 192.0.2.7:5099;branch=z"),
            ("SIP/2.0/UDP 192.0.2.7:5060;branch=z", "SIP/2.0/UDP 192.0.2.7:5060;branch=z"),
            (
                "SIP/2.0/UDP 192.0.2.7:5060;rport;branch=z",
                "SIP/2.0/UDP 192.0.2.7:5060;branch=z;received=192.0.2.7;rport=5099",
            ),
            (
                "SIP/2.0/UDP pc.lan;branch=z;received=1.2.3.4, SIP/2.0/TCP x",
                "SIP/2.0/UDP pc.lan;branch=z;received=192.0.2.7, SIP/2.0/TCP x",
            ),
            (
                "SIP / 2.0 / UDP [2001:db8::9]:5060;branch=z",
                "SIP / 2.0 / UDP [2001:db8::9]:5060;branch=z;received=192.0.2.7",
            ),
        ] {
            assert_eq!(stamp(via, source()).as_deref(), Some(stamped));
        }
        assert_eq!(stamp("", source()), None);
    }

    #[test]
    fn the_length_of_a_body_is_what_content_length_says_or_the_rest() {
        let options = "OPTIONS sip:x@example.org SIP/2.0";
        assert_eq!(body_of(&request(options, "", "abc")), b"abc");
        assert_eq!(body_of(&request(options, "l: 2\r\n", "abc")), b"ab");
        assert!(refusal(&request(options, "Content-Length: 4\r\n", "abc")).starts_with("SIP/2.0 400 "));
        assert!(refusal(&request(options, "Content-Length: -1\r\n", "")).starts_with("SIP/2.0 400 "));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_the_right_status() {
        assert!(refusal(&request("FLY sip:x@example.org SIP/2.0", "", "")).starts_with("SIP/2.0 501 "));
        let bad = refusal(&request("OPTIONS sip: SIP/2.0", "", ""));
        assert!(bad.starts_with("SIP/2.0 400 ") && bad.contains("received=192.0.2.7;rport=5099"));
        assert!(bad.contains("To: <sip:b@example.org>;tag="));
    }

    #[test]
    fn an_ack_a_response_and_noise_get_no_answer() {
        for text in ["ACK sip: SIP/2.0\r\nVia: x\r\n\r\n", "SIP/2.0 abc\r\n\r\n", "hello", "GET / HTTP/1.1\r\n\r\n"] {
            assert!(matches!(read_datagram(text.as_bytes(), source()), Datagram::NotSip), "{text}");
        }
        assert!(matches!(read_datagram(b"\r\n\r\n", source()), Datagram::Ping));
        assert!(matches!(read_datagram(b"\r\n", source()), Datagram::Nothing));
        assert!(matches!(read_datagram(b"", source()), Datagram::Nothing));
    }

    proptest! {
        #[test]
        fn no_datagram_breaks_the_reader(bytes: Vec<u8>, cut in 0..400_usize, change: u8) {
            let _ = read_datagram(&bytes, source());
            let mut message = request("INVITE sip:x@example.org SIP/2.0", "Content-Length: 3\r\n", "abc").into_bytes();
            if let Some(byte) = message.get_mut(cut) {
                *byte = change;
            }
            if let Datagram::Message(read) = read_datagram(&message, source())
                && let SipMessage::Request(request) = *read
            {
                let _ = check(&request);
            }
            message.truncate(cut);
            let _ = read_datagram(&message, source());
        }
    }
}
