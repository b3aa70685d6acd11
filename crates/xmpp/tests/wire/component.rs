//! The component against a server on loopback that does what servers do, and some things they should not.

use std::time::Duration;

use jid::Jid;
use minidom::Element;
use model::Secret;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;
use xmpp::component::{Component, Config, Event, SendError, Status};
use xmpp::presence;
use xmpp::stanza::{Payload, PresenceKind, Stanza};
use xmpp::stream::{self, Incoming, StreamReader};

const DOMAIN: &str = "sip.localhost";
const SECRET: &str = "s3cret";
/// Nothing here takes longer, unless it fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server's end of one connection.
struct Server {
    socket: TcpStream,
    reader: StreamReader,
    buffer: Vec<u8>,
}

impl Server {
    async fn accept(listener: &TcpListener) -> Self {
        let (socket, _) = timeout(PATIENCE, listener.accept()).await.expect("it connects").expect("it connects");
        Self { socket, reader: StreamReader::new(), buffer: Vec::new() }
    }

    /// Accepts a component and checks its handshake.
    async fn authenticate(listener: &TcpListener) -> Self {
        let mut server = Self::accept(listener).await;
        assert_eq!(server.next().await, Incoming::Opened { id: None, to: Some(DOMAIN.into()) });
        server.put(&stream::accept(DOMAIN, "42")).await;
        let Incoming::Element(handshake) = server.next().await else { panic!("a handshake") };
        assert_eq!(handshake.text(), stream::handshake("42", SECRET));
        server.put("<handshake/>").await;
        server
    }

    async fn put(&mut self, xml: &str) {
        self.socket.write_all(xml.as_bytes()).await.expect("the component reads");
    }

    /// What the component sends next.
    async fn next(&mut self) -> Incoming {
        loop {
            let mut bytes = &self.buffer[..];
            let incoming = self.reader.read(&mut bytes).expect("the component writes XML");
            let used = self.buffer.len() - bytes.len();
            self.buffer.drain(..used);
            if let Some(incoming) = incoming {
                return incoming;
            }
            let read = timeout(PATIENCE, self.socket.read_buf(&mut self.buffer)).await.expect("something is sent");
            if read.expect("the connection is up") == 0 {
                panic!("the component closed the connection");
            }
        }
    }

    async fn element(&mut self) -> Element {
        let incoming = self.next().await;
        let Incoming::Element(element) = incoming else { panic!("{incoming:?}") };
        element
    }
}

/// A listener, and the configuration of a component that finds it and does not wait long for anything.
async fn listen() -> (TcpListener, Config) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let server = listener.local_addr().expect("it is bound").to_string();
    let config = Config {
        first_retry: Duration::from_millis(10),
        longest_retry: Duration::from_millis(40),
        ..Config::new(server, DOMAIN, Secret::new(SECRET.to_owned()))
    };
    (listener, config)
}

async fn next(events: &mut Receiver<Event>) -> Event {
    timeout(PATIENCE, events.recv()).await.expect("something happens").expect("the component runs")
}

async fn next_stanza(events: &mut Receiver<Event>) -> Stanza {
    let event = next(events).await;
    let Event::Stanza(stanza) = event else { panic!("{event:?}") };
    *stanza
}

fn presence(kind: PresenceKind) -> Stanza {
    let from = Jid::new(&format!("100@{DOMAIN}/sip")).expect("it is a JID");
    presence::bare(from, Jid::new("alice@localhost").expect("it is a JID"), kind)
}

#[tokio::test]
async fn stanzas_go_both_ways_and_a_stop_closes_the_stream_after_the_last() {
    let (listener, config) = listen().await;
    let (component, mut events) = Component::start(config);
    let mut server = Server::authenticate(&listener).await;
    assert_eq!(next(&mut events).await, Event::Connected);
    assert_eq!(component.status(), Status::Connected);
    server.put("<presence from='alice@localhost' to='100@sip.localhost' type='subscribe'/>").await;
    let subscribe = next_stanza(&mut events).await;
    assert!(matches!(subscribe.payload, Payload::Presence { kind: PresenceKind::Subscribe, .. }));
    component.send(&presence(PresenceKind::Subscribed)).expect("there is room");
    assert_eq!(server.element().await.attr("type"), Some("subscribed"));

    component.send(&presence(PresenceKind::Unavailable)).expect("there is room");
    let stopping = tokio::spawn({
        let component = component.clone();
        async move { component.stop().await }
    });
    assert_eq!(server.element().await.attr("type"), Some("unavailable"));
    assert_eq!(server.next().await, Incoming::Closed);
    server.put(stream::CLOSE).await;
    timeout(PATIENCE, stopping).await.expect("it stops").expect("it does not panic");
    assert_eq!(component.status(), Status::Stopped);
    assert_eq!(component.send(&presence(PresenceKind::Available)), Err(SendError::Stopped));
    assert_eq!(events.recv().await, None);
    let statistics = component.statistics();
    assert_eq!((statistics.connections, statistics.received, statistics.sent), (1, 1, 2));
}

#[tokio::test]
async fn a_wrong_secret_is_said_and_tried_again() {
    let (listener, config) = listen().await;
    let (component, mut events) = Component::start(config);
    for _ in 0..3 {
        let mut server = Server::accept(&listener).await;
        server.next().await;
        server.put(&stream::accept(DOMAIN, "1")).await;
        server.next().await;
        server
            .put("<stream:error><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>")
            .await;
    }
    let mut status = component.status();
    while status == Status::Disconnected("not connected yet".into()) {
        tokio::task::yield_now().await;
        status = component.status();
    }
    assert_eq!(status, Status::Disconnected("not-authorized".into()));
    let _server = Server::authenticate(&listener).await;
    assert_eq!(next(&mut events).await, Event::Connected, "failed attempts are no events");
}

#[tokio::test]
async fn what_waits_survives_a_lost_connection() {
    let (listener, config) = listen().await;
    let (component, mut events) = Component::start(config);
    let server = Server::authenticate(&listener).await;
    assert_eq!(next(&mut events).await, Event::Connected);
    drop(server);
    assert!(matches!(next(&mut events).await, Event::Disconnected(_)));
    component.send(&presence(PresenceKind::Probe)).expect("there is room");
    let mut server = Server::authenticate(&listener).await;
    assert_eq!(server.element().await.attr("type"), Some("probe"));
    assert_eq!(next(&mut events).await, Event::Connected);
}

#[tokio::test]
async fn what_waits_is_bounded_in_bytes_and_in_age() {
    let (_listener, config) = listen().await;
    let (component, _events) = Component::start(Config { queue_bytes: 200, ..config.clone() });
    assert_eq!(component.send(&presence(PresenceKind::Probe)), Ok(()));
    assert_eq!(component.send(&presence(PresenceKind::Probe)), Err(SendError::Full));
    assert_eq!(component.statistics().overflowed, 1);

    let (component, _events) = Component::start(Config { queue_bytes: 200, queue_age: Duration::ZERO, ..config });
    assert_eq!(component.send(&presence(PresenceKind::Probe)), Ok(()));
    assert_eq!(component.send(&presence(PresenceKind::Probe)), Ok(()), "the first is too old by now");
    assert_eq!(component.statistics().expired, 1);
}

#[tokio::test]
async fn what_xml_cannot_say_is_not_sent() {
    let (_listener, config) = listen().await;
    let (component, _events) = Component::start(config);
    assert_eq!(component.send(&Stanza { id: "\u{1}".into(), ..presence(PresenceKind::Probe) }), Err(SendError::NotXml));
}

#[tokio::test]
async fn no_stanza_ends_the_stream() {
    let (listener, config) = listen().await;
    let (component, mut events) = Component::start(config);
    let mut server = Server::authenticate(&listener).await;
    assert_eq!(next(&mut events).await, Event::Connected);

    let head = "from='alice@localhost/a' to='100@sip.localhost' id='1'";
    let deep = format!("{}{}", "<a>".repeat(40_000), "</a>".repeat(40_000));
    let large = "x".repeat(300_000);
    for (stanza, condition) in [
        (format!("<presence {head} type='sleeping'/>"), "bad-request"),
        (format!("<iq {head} type='ask'><a xmlns='b'/></iq>"), "bad-request"),
        (format!("<iq {head} type='get'/>"), "bad-request"),
        (format!("<message {head}>{deep}</message>"), "policy-violation"),
        (format!("<message {head}><body>{large}</body></message>"), "policy-violation"),
        (format!("<message {head}><body a='{large}'/></message>"), "policy-violation"),
        ("<iq from='alice@localhost/a' to='@' type='get' id='1'><a/></iq>".to_owned(), "jid-malformed"),
    ] {
        server.put(&stanza).await;
        let answer = server.element().await;
        assert_eq!((answer.attr("type"), answer.attr("to")), (Some("error"), Some("alice@localhost/a")));
        assert!(answer.attr("from").is_some_and(|from| from.ends_with(DOMAIN)));
        let error = answer.get_child("error", "jabber:component:accept").expect("it is an error");
        assert!(error.has_child(condition, "urn:ietf:params:xml:ns:xmpp-stanzas"), "{condition}");
    }
    // Nobody to answer, or nothing to say; and presence that a stricter reader chokes on.
    let error = format!("<iq {head} type='error'/>");
    for stanza in ["<whatever/>", "<iq from='@' to='a@sip.localhost'/>", "<message to='mallory@example'/>", " ", &error]
    {
        server.put(stanza).await;
    }
    server.put(&format!("<message {}/>", head.replace("sip.localhost", "other.localhost"))).await;
    server.put(&format!("<presence {head}><priority>1000</priority></presence>")).await;
    assert!(matches!(next_stanza(&mut events).await.payload, Payload::Error { .. }));
    let last = next_stanza(&mut events).await;
    assert!(matches!(last.payload, Payload::Presence { kind: PresenceKind::Available, .. }));
    let statistics = component.statistics();
    assert_eq!((statistics.too_large, statistics.misrouted, statistics.received), (3, 1, 2));
    assert_eq!(statistics.malformed, 4 + 3);
}

#[tokio::test]
async fn a_silent_server_is_pinged_and_a_dead_one_given_up() {
    let (listener, config) = listen().await;
    let short = Duration::from_millis(30);
    let (_component, mut events) = Component::start(Config { keepalive: short, response_timeout: short, ..config });
    let mut server = Server::authenticate(&listener).await;
    assert_eq!(next(&mut events).await, Event::Connected);
    let ping = server.element().await;
    assert!(ping.has_child("ping", "urn:xmpp:ping"));
    assert_eq!((ping.attr("from"), ping.attr("to")), (Some(DOMAIN), Some(DOMAIN)));
    let routed = String::from_utf8(stream::write(&ping).expect("it is XML")).expect("it is UTF-8");
    server.put(&routed).await;
    server.element().await;
    assert_eq!(next(&mut events).await, Event::Disconnected("no answer to a ping".into()));
}

#[tokio::test]
async fn a_stream_error_and_bad_xml_are_reasons_to_reconnect() {
    let (listener, config) = listen().await;
    let (component, mut events) = Component::start(config);
    for (xml, why) in [
        (
            "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>
            <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>replaced</text></stream:error>",
            "conflict: replaced",
        ),
        ("<iq></message>", "not well-formed"),
        (stream::CLOSE, "the server closed the stream"),
    ] {
        let mut server = Server::authenticate(&listener).await;
        assert_eq!(next(&mut events).await, Event::Connected);
        server.put(xml).await;
        assert_eq!(next(&mut events).await, Event::Disconnected(why.into()));
    }
    timeout(PATIENCE, component.stop()).await.expect("a component without a connection stops too");
}
