//! The gateway as a process, between the built-in Jingle client and the built-in SIP phone: calls by clients of every
//! habit, through trunks with every protection, and every way in which a call can end.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use load::component_server::ComponentServer;
use load::endpoint::Status;
use load::jingle::{self, Client, Profile};
use load::phone::{self, Phone};
use model::{Secret, Security};
use tokio::time::{Instant, sleep, timeout};
use xmpp::jingle::ReasonCondition;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(10);
const ALICE_TONE: f32 = 440.0;
const PHONE_TONE: f32 = 660.0;

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_every_habit_call_the_phone_and_are_called() {
    for profile in [Profile::CONVERSATIONS, Profile::DINO, Profile::MONAL, Profile::STANZA_JS, Profile::GAJIM] {
        let mut scene = Scene::new(profile, Security::Rtp).await;
        scene.alice_calls().await;
        scene.talk().await;
        scene.alice_hangs_up().await;

        scene.phone_calls().await;
        scene.talk().await;
        scene.phone_hangs_up().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_may_ask_for_sdes_or_dtls() {
    for security in [Security::Sdes, Security::Dtls] {
        let mut scene = Scene::new(Profile::CONVERSATIONS, security).await;
        scene.alice_calls().await;
        scene.talk().await;
        scene.phone_hangs_up().await;

        scene.phone_calls().await;
        scene.talk().await;
        scene.alice_hangs_up().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_the_caller_as_what_it_is() {
    for profile in [Profile::CONVERSATIONS, Profile::STANZA_JS] {
        let mut scene = Scene::new(profile, Security::Rtp).await;
        for (status, reason) in
            [(486, ReasonCondition::Busy), (603, ReasonCondition::Decline), (404, ReasonCondition::Gone)]
        {
            scene.ring_phone().await;
            scene.phone.reject(status).expect("it rings");
            assert_eq!(scene.next_of_alice().await, jingle::Event::Ended(reason), "{status}");
        }
        scene.ring_alice().await;
        scene.alice.hang_up();
        assert_eq!(scene.phone_after_ringing().await, phone::Event::Failed(486));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_give_up_while_it_rings() {
    for profile in [Profile::CONVERSATIONS, Profile::STANZA_JS] {
        let mut scene = Scene::new(profile, Security::Rtp).await;
        scene.ring_phone().await;
        scene.alice.hang_up();
        assert_eq!(scene.next_of_phone().await, phone::Event::Ended);

        scene.ring_alice().await;
        scene.phone.hang_up().expect("there is a call");
        assert_eq!(scene.next_of_alice().await, jingle::Event::Ended(ReasonCondition::Cancel));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_who_is_not_there_is_reported() {
    let mut scene = Scene::new(Profile::CONVERSATIONS, Security::Rtp).await;
    let to = format!("sip:nobody@{}", scene.sip);
    scene.phone.call(&to).expect("there is no call yet");
    assert_eq!(scene.next_of_phone().await, phone::Event::Failed(480));

    scene.alice.call("no.such.number@sip.localhost".parse().expect("a JID")).expect("there is no call yet");
    assert!(matches!(scene.next_of_alice().await, jingle::Event::Ended(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_stopped_ends_its_calls() {
    let mut scene = Scene::new(Profile::CONVERSATIONS, Security::Rtp).await;
    scene.alice_calls().await;
    scene.gateway.terminate();
    assert!(matches!(scene.next_of_alice().await, jingle::Event::Ended(_)));
    assert_eq!(scene.next_of_phone().await, phone::Event::Ended);
    assert!(scene.gateway.wait().await.success());
}

/// A gateway and those around it.
struct Scene {
    alice: Client,
    phone: Phone,
    gateway: Gateway,
    /// Where the gateway takes SIP.
    sip: SocketAddr,
    proposes: bool,
    _server: ComponentServer,
}

impl Scene {
    async fn new(profile: Profile, security: Security) -> Self {
        let anywhere = SocketAddr::new(LOOPBACK, 0);
        let secret = Secret::new("s3cret".to_owned());
        let server = ComponentServer::start(anywhere, "sip.localhost", secret).await.expect("a free port");
        let config = phone::Config { listen: anywhere, user: "100".to_owned(), security, tone: PHONE_TONE };
        let phone = Phone::start(config).await.expect("a free port");
        let user = server.join("alice@localhost/test".parse().expect("a full JID"));
        let alice = Client::new(user, profile, LOOPBACK, ALICE_TONE);

        let sip = free_address();
        let gateway = Gateway::start(&config_file(&server, &phone, sip, security));
        timeout(PATIENCE, server.connected()).await.expect("the gateway joins the server");
        let mut scene = Self { alice, phone, gateway, sip, proposes: profile.proposes, _server: server };
        scene.alice.announce("100@sip.localhost".parse().expect("a JID"));
        // The gateway asks what a client can do that it has not met; until it knows, it proposes.
        if !profile.proposes {
            let _ = timeout(Duration::from_millis(300), scene.alice.next()).await;
        }
        scene
    }

    async fn ring_phone(&mut self) {
        let to = if self.proposes { "100@sip.localhost" } else { "100@sip.localhost/sip" };
        self.alice.call(to.parse().expect("a JID")).expect("there is no call yet");
        assert!(matches!(self.next_of_phone().await, phone::Event::Incoming { .. }));
        assert_eq!(self.next_of_alice().await, jingle::Event::Ringing);
    }

    async fn ring_alice(&mut self) {
        let to = format!("sip:alice@{}", self.sip);
        self.phone.call(&to).expect("there is no call yet");
        assert!(matches!(self.next_of_alice().await, jingle::Event::Incoming { .. }));
    }

    async fn alice_calls(&mut self) {
        self.ring_phone().await;
        self.phone.answer().expect("it rings");
        assert_eq!(self.next_of_phone().await, phone::Event::Answered);
        assert_eq!(self.next_of_alice().await, jingle::Event::Answered);
    }

    async fn phone_calls(&mut self) {
        self.ring_alice().await;
        self.alice.answer().expect("it rings");
        assert_eq!(self.next_of_alice().await, jingle::Event::Answered);
        assert_eq!(self.phone_after_ringing().await, phone::Event::Answered);
    }

    async fn alice_hangs_up(&mut self) {
        self.alice.hang_up();
        assert_eq!(self.next_of_phone().await, phone::Event::Ended);
    }

    async fn phone_hangs_up(&mut self) {
        self.phone.hang_up().expect("there is a call");
        assert_eq!(self.next_of_alice().await, jingle::Event::Ended(ReasonCondition::Success));
    }

    /// Lets the tones flow until each end hears the other's.
    async fn talk(&mut self) {
        let near = |status: Option<Status>, tone: f32| {
            status.and_then(|status| status.heard).is_some_and(|heard| (heard - tone).abs() <= 10.0)
        };
        let begun = Instant::now();
        while !(near(self.alice.media(), PHONE_TONE) && near(self.phone.media(), ALICE_TONE)) {
            assert!(begun.elapsed() < PATIENCE, "{:?} {:?}", self.alice.media(), self.phone.media());
            // Both answer what comes while they listen.
            tokio::select! {
                event = self.alice.next() => panic!("alice: {event:?}"),
                event = self.phone.next() => panic!("the phone: {event:?}"),
                () = sleep(Duration::from_millis(20)) => {}
            }
        }
    }

    /// What happens to the phone after it may have heard ringing: not every client says that it rings.
    async fn phone_after_ringing(&mut self) -> phone::Event {
        match self.next_of_phone().await {
            phone::Event::Ringing => self.next_of_phone().await,
            event @ (phone::Event::Incoming { .. }
            | phone::Event::Answered
            | phone::Event::Failed(_)
            | phone::Event::Ended) => event,
        }
    }

    async fn next_of_alice(&mut self) -> jingle::Event {
        timeout(PATIENCE, self.alice.next()).await.expect("something happens to alice").expect("her call goes on")
    }

    async fn next_of_phone(&mut self) -> phone::Event {
        timeout(PATIENCE, self.phone.next()).await.expect("something happens to the phone").expect("its call goes on")
    }
}

fn config_file(server: &ComponentServer, phone: &Phone, sip: SocketAddr, security: Security) -> String {
    let (server, phone) = (server.address(), phone.address());
    let media = match security {
        Security::Rtp => "rtp",
        Security::Sdes => "sdes",
        Security::Dtls => "dtls",
    };
    format!(
        r#"
[xmpp]
component = "sip.localhost"
server = "{server}"
secret = "s3cret"
[sip]
listen = ["udp:{sip}"]
[sip.trunk.phones]
uri = "sip:{phone}"
media = "{media}"
[relay]
addresses = [{{ bind = "{LOOPBACK}" }}]
[call]
allow_plain_jingle = true
[[route]]
from = "xmpp"
user = '([0-9]+)'
to = "trunk:phones/{{1}}"
[[route]]
from = "trunk:phones"
user = '(.+)'
to = "xmpp:{{1}}@localhost"
"#
    )
}

/// The gateway's process, which ends with its test.
struct Gateway {
    child: Child,
    config: PathBuf,
}

impl Gateway {
    fn start(config: &str) -> Self {
        static COUNT: AtomicU16 = AtomicU16::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("stox-{}-{number}-built-in.toml", std::process::id()));
        std::fs::write(&file, config).expect("the temporary directory can be written to");
        let mut command = Command::new(env!("CARGO_BIN_EXE_stox"));
        let child = command.arg("run").arg("--config").arg(&file).spawn().expect("the binary was built");
        Self { child, config: file }
    }

    /// Asks it to end, as a service manager does.
    fn terminate(&self) {
        let sent = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(sent.expect("every system has kill").success());
    }

    async fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it still runs");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.config);
    }
}

/// An address of loopback that nobody listens at.
fn free_address() -> SocketAddr {
    let socket = UdpSocket::bind((LOOPBACK, 0)).expect("loopback has ports");
    socket.local_addr().expect("it is bound")
}
