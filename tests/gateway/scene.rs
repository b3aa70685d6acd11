//! Who takes part in a call: a component server, a Jingle client, a phone, and the gateway between them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use load::component_server::ComponentServer;
use load::jingle::{self, Client, Profile};
use load::phone::{self, Phone};
use model::{Secret, Security};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::binary::Stox;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Generous, because two slow cores run many tests at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How often something is looked at that does not tell by itself.
const POLL: Duration = Duration::from_millis(50);

/// What the component shares with its server.
pub(crate) const SECRET: &str = "never-to-be-shown";
const ALICE_TONE: f32 = 440.0;
const PHONE_TONE: f32 = 660.0;

/// Everybody.
pub(crate) struct Scene {
    pub(crate) stox: Stox,
    pub(crate) alice: Client,
    pub(crate) phone: Phone,
    /// Where the gateway takes SIP.
    pub(crate) sip: SocketAddr,
    http: SocketAddr,
    seen_by_alice: Vec<jingle::Event>,
    seen_by_phone: Vec<phone::Event>,
    server: Option<ComponentServer>,
}

impl Scene {
    /// Starts everybody. `more` is added to the configuration: keys of `[relay]`, then other tables.
    pub(crate) async fn set_up(security: Security, more: &str) -> Self {
        Self::set_up_with(Profile::CONVERSATIONS, security, more).await
    }

    /// The same with a client of other habits.
    pub(crate) async fn set_up_with(profile: Profile, security: Security, more: &str) -> Self {
        let anywhere = SocketAddr::new(LOOPBACK, 0);
        let secret = Secret::new(SECRET.to_owned());
        let server = ComponentServer::start(anywhere, "sip.localhost", secret).await.expect("loopback has ports");
        let phone = phone::Config { listen: anywhere, user: "100".to_owned(), security, tone: PHONE_TONE };
        let phone = Phone::start(phone).await.expect("loopback has ports");
        let user = server.join("alice@localhost/test".parse().expect("a full JID"));
        let alice = Client::new(user, profile, LOOPBACK, ALICE_TONE);
        let (sip, http) = (free_udp(), free_tcp());
        let media = match security {
            Security::Rtp => "rtp",
            Security::Sdes => "sdes",
            Security::Dtls => "dtls",
        };
        let config = config(server.address(), sip, phone.address(), http, media, more);
        let stox = Stox::run(&config, ("STOX_TEST_SECRET", SECRET));
        let (seen_by_alice, seen_by_phone) = Default::default();
        let scene = Self { stox, alice, phone, sip, http, seen_by_alice, seen_by_phone, server: Some(server) };
        scene.is_healthy().await;
        scene
    }

    async fn is_healthy(&self) {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(self.http).await.is_err() || self.get("/healthz").await.1 != "ok\n" {
            assert!(Instant::now() < deadline, "it is not healthy:\n{}", self.stox.output());
            sleep(POLL).await;
        }
    }

    /// The XMPP server goes away.
    pub(crate) fn without_server(mut self) -> Self {
        self.server = None;
        self
    }

    /// Waits for something to happen to alice.
    pub(crate) async fn alice_sees(&mut self, what: &str, wanted: impl Fn(&jingle::Event) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen_by_alice.drain(..).any(|event| wanted(&event)) {
            assert!(Instant::now() < deadline, "alice: no {what}:\n{}", self.stox.output());
            self.go_on().await;
        }
    }

    /// Waits for something to happen to the phone.
    pub(crate) async fn phone_sees(&mut self, what: &str, wanted: impl Fn(&phone::Event) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen_by_phone.drain(..).any(|event| wanted(&event)) {
            assert!(Instant::now() < deadline, "the phone: no {what}:\n{}", self.stox.output());
            self.go_on().await;
        }
    }

    /// Lets alice and the phone go on for a while: they act only while somebody waits for their news.
    async fn go_on(&mut self) {
        tokio::select! {
            event = self.alice.next() => self.seen_by_alice.push(event.expect("her call can be set up")),
            event = self.phone.next() => self.seen_by_phone.push(event.expect("its call can be set up")),
            () = sleep(POLL) => (),
        }
    }

    /// Alice calls the phone, which rings.
    pub(crate) async fn alice_calls(&mut self) {
        // A client that does not propose calls the one resource of the gateway's user.
        self.alice.call("100@sip.localhost/sip".parse().expect("a JID")).expect("she has no call");
        self.phone_sees("call", |event| matches!(event, phone::Event::Incoming { .. })).await;
    }

    /// The phone calls alice, who has it ring.
    pub(crate) async fn phone_calls(&mut self) {
        self.phone.call(&format!("sip:alice@{}", self.sip)).expect("it has no call");
        self.alice_sees("call", |event| matches!(event, jingle::Event::Incoming { .. })).await;
    }

    /// Tells the gateway what alice's client can do, which it asks about once it knows of her presence.
    pub(crate) async fn alice_announces_herself(&mut self) {
        self.alice.announce("100@sip.localhost".parse().expect("a JID"));
        // She answers the question while she waits; nothing tells when it has been asked.
        let asked = Instant::now() + Duration::from_millis(300);
        while Instant::now() < asked {
            self.go_on().await;
        }
    }

    /// Alice calls the phone, which answers.
    pub(crate) async fn alice_calls_and_is_answered(&mut self) {
        self.alice_calls().await;
        self.phone.answer().expect("it rings");
        self.alice_sees("answer", |event| *event == jingle::Event::Answered).await;
    }

    /// Waits until each hears the tone of the other.
    pub(crate) async fn both_hear_each_other(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let hears = |status: Option<load::endpoint::Status>, tone: f32| {
            status.and_then(|status| status.heard).is_some_and(|heard| (heard - tone).abs() < 10.0)
        };
        while !(hears(self.alice.media(), PHONE_TONE) && hears(self.phone.media(), ALICE_TONE)) {
            assert!(Instant::now() < deadline, "{:?} {:?}", self.alice.media(), self.phone.media());
            self.go_on().await;
        }
    }

    /// The status line and the body of a resource.
    pub(crate) async fn get(&self, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.http).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nHost: stox\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers with text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }

    /// The value of a metric, once it is what is wanted.
    pub(crate) async fn metric(&self, name: &str, wanted: impl Fn(u64) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (_, text) = self.get("/metrics").await;
            let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
            let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
            if value.is_some_and(&wanted) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} is {value:?} in:\n{text}");
            sleep(POLL).await;
        }
    }
}

/// A UDP port that nobody has; somebody else may take it before we do, which is rare.
pub(crate) fn free_udp() -> SocketAddr {
    UdpSocket::bind((LOOPBACK, 0)).and_then(|socket| socket.local_addr()).expect("loopback has ports")
}

/// The same for TCP.
pub(crate) fn free_tcp() -> SocketAddr {
    TcpListener::bind((LOOPBACK, 0)).and_then(|socket| socket.local_addr()).expect("loopback has ports")
}

/// The smallest useful configuration, with a secret from the environment.
pub(crate) fn config(
    server: SocketAddr,
    sip: SocketAddr,
    phone: SocketAddr,
    http: SocketAddr,
    media: &str,
    more: &str,
) -> String {
    format!(
        r#"
[xmpp]
component = "sip.localhost"
server = "{server}"
secret = {{ env = "STOX_TEST_SECRET" }}
[sip]
listen = ["udp:{sip}"]
[sip.trunk.phones]
uri = "sip:{phone}"
media = "{media}"
[http]
listen = "{http}"
[[route]]
from = "xmpp"
user = '(\+?[0-9]+)'
to = "trunk:phones/{{1}}"
[[route]]
from = "trunk:phones"
user = '(.+)'
to = "xmpp:{{1}}@localhost"
[relay]
addresses = [{{ bind = "127.0.0.1" }}]
{more}
"#
    )
}
