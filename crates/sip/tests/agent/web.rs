//! Peers that connect by WebSocket (RFC 7118).

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use sip::agent::{Tls, Transport};
use sip::message::{FromAgent, Response};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::Message as Frame;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::peer::Message;
use crate::{Side, T1, sdp};

/// A browser.
struct Web<S> {
    stream: WebSocketStream<S>,
    transport: &'static str,
}

async fn connect<S: AsyncRead + AsyncWrite + Unpin>(stream: S, protocol: Option<&str>) -> Option<WebSocketStream<S>> {
    let mut request = "ws://localhost/".into_client_request().expect("a URL");
    if let Some(protocol) = protocol {
        let protocol = HeaderValue::from_str(protocol).expect("a word");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    }
    let (stream, response) = client_async(request, stream).await.ok()?;
    assert_eq!(response.headers().get("Sec-WebSocket-Protocol").map(HeaderValue::as_bytes), Some(&b"sip"[..]));
    Some(stream)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Web<S> {
    /// A request as a browser makes it: it has no address to speak of (RFC 7118 §5).
    fn request(&self, method: &str, number: u32, to_tag: &str, body: &str) -> String {
        let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/{} df7jal23ls0d.invalid;branch=z9hG4bKw{method}{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@example.com>;tag=a1\r\nTo: <sip:bob@example.org>{to_tag}\r\n\
             Call-ID: w1\r\nCSeq: {number} {method}\r\nContact: <sip:alice@df7jal23ls0d.invalid;transport=ws>\r\n{kind}\r\n{body}",
            self.transport
        )
    }

    async fn send(&mut self, text: String) {
        self.stream.send(Frame::text(text)).await.expect("the connection is open");
    }

    async fn receive(&mut self) -> Message {
        let frame = tokio::time::timeout(std::time::Duration::from_secs(10), self.stream.next()).await;
        let frame = frame.expect("a message in time").expect("the connection is open").expect("the connection works");
        Message { text: frame.into_text().expect("text").to_string() }
    }

    async fn until(&mut self, start: &str) -> Message {
        loop {
            let message = self.receive().await;
            if message.line().starts_with(start) {
                return message;
            }
        }
    }

    /// Calls, changes its mind about nothing, and is hung up on.
    async fn calls(&mut self, side: &mut Side) {
        let offer = self.request("INVITE", 1, "", &sdp(1));
        self.stream.send(Frame::binary(offer.into_bytes())).await.expect("the connection is open");
        assert_eq!(self.receive().await.status(), 100);
        let dialog = side.invited().await.dialog;
        side.respond(dialog, Response::with_sdp(200, sdp(2))).await;
        let ok = self.until("SIP/2.0 200").await;
        assert!(ok.required("Contact").contains(";transport=ws>"), "{}", ok.text);
        assert_eq!(ok.body(), sdp(2));
        let ack = self.request("ACK", 1, ok.tag("To"), "");
        self.send(ack).await;
        assert!(matches!(side.news().await, FromAgent::Acknowledged { .. }));
        // The only way to it is the one it opened.
        side.bye(dialog).await;
        let bye = self.until("BYE").await;
        assert!(bye.required("Via").starts_with(&format!("SIP/2.0/{} ", self.transport)), "{}", bye.text);
        self.send(bye.response("200 OK", "", "", "")).await;
        side.silence(T1).await;
    }
}

async fn listening(transport: Transport) -> Side {
    let mut config = Side::config(transport);
    let file = |name: &str| Some(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent/tls").join(name));
    config.tls = Tls { certificate: file("certificate.pem"), key: file("key.pem"), authorities: file("authority.pem") };
    Side::start(config).await
}

#[tokio::test]
async fn a_browser_calls() {
    let mut side = listening(Transport::Ws).await;
    let stream = TcpStream::connect(side.address()).await.expect("it listens");
    let stream = connect(stream, Some("chat, sip")).await.expect("a WebSocket");
    let mut web = Web { stream, transport: "WS" };
    web.send("\r\n\r\n".to_owned()).await;
    assert_eq!(web.receive().await.text, "\r\n");
    web.calls(&mut side).await;
}

#[tokio::test]
async fn a_browser_calls_over_tls() {
    let mut side = listening(Transport::Wss).await;
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agent/tls/authority.pem");
    let mut roots = rustls::RootCertStore::empty();
    let authority = rustls::pki_types::CertificateDer::from_pem_file(authority).expect("a certificate");
    roots.add(authority).expect("an authority");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(side.address()).await.expect("it listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("TLS");
    let stream = connect(stream, Some("sip")).await.expect("a WebSocket");
    Web { stream, transport: "WSS" }.calls(&mut side).await;
}

#[tokio::test]
async fn who_does_not_speak_sip_is_not_let_in() {
    let side = listening(Transport::Ws).await;
    for protocol in [None, Some("chat"), Some("sipx")] {
        let stream = TcpStream::connect(side.address()).await.expect("it listens");
        assert!(connect(stream, protocol).await.is_none(), "{protocol:?}");
    }
    let mut stream = TcpStream::connect(side.address()).await.expect("it listens");
    stream.write_all(b"OPTIONS sip:x SIP/2.0\r\n\r\n").await.expect("it is read");
    while side.agent.statistics().connections_refused < 4 {
        tokio::time::sleep(T1).await;
    }
}

#[tokio::test]
async fn nonsense_and_too_much_cost_the_connection_at_most() {
    let mut side = listening(Transport::Ws).await;
    let open = async |side: &Side| {
        let stream = TcpStream::connect(side.address()).await.expect("it listens");
        Web { stream: connect(stream, Some("sip")).await.expect("a WebSocket"), transport: "WS" }
    };
    let mut web = open(&side).await;
    web.send("hello".to_owned()).await;
    web.send("OPTIONS sip:x SIP/2.0\r\n\r\n".to_owned()).await;
    let options = web.request("OPTIONS", 7, "", "");
    web.send(options).await;
    assert_eq!(web.until("SIP/2.0 200").await.required("CSeq"), "7 OPTIONS");
    // Longer than any message may be.
    drop(web.stream.send(Frame::text("x".repeat(100_000))).await);
    while let Some(Ok(_)) = web.stream.next().await {}
    // A call whose WebSocket is gone is over when somebody finds out.
    let mut web = open(&side).await;
    let offer = web.request("INVITE", 1, "", &sdp(1));
    web.send(offer).await;
    let dialog = side.invited().await.dialog;
    drop(web);
    tokio::time::sleep(T1).await;
    side.respond(dialog, Response::with_sdp(200, sdp(2))).await;
    assert!(matches!(side.news().await, FromAgent::Ended { .. }));
}
