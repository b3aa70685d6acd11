//! Kamailio before `stox relay`: it drives the relay by its rtpengine module, and phones register at it and call each other.
//!
//! Its configuration is the example of `deploy/kamailio`, as it stands there. A call is heard by the tones that the phones play;
//! but baresip 1.0 records nothing any more once the direction or the codec has changed, and from then on it is keys pressed
//! during the call that show whether media arrives (RFC 4733).

use std::process::Command;

use crate::baresip::{Account, Baresip, Phone};
use crate::browser::{Browser, Setup};
use crate::gateway::{Gateway, Trunk};
use crate::log::{Log, pause};
use crate::ports;
use crate::process::Process;
use crate::prosody::Prosody;
use crate::secure::certificates;
use crate::sipp::Sipp;
use crate::temp_dir::TempDir;

const ALICE: u32 = 440;
const BOB: u32 = 880;

/// How baresip names protections that it does not do without.
const SDES: &str = "srtp-mand";
const DTLS: &str = "dtls_srtp";

/// How Kamailio's requests come to the relay.
#[derive(Clone, Copy)]
enum Door {
    Udp,
    WebSocket,
    /// WebSocket over TLS.
    Secure,
}

/// `stox relay`, which may be killed and started again.
struct Relay {
    process: Option<Process>,
    ng: u16,
    http: u16,
    https: u16,
    media: u16,
}

impl Relay {
    const MEDIA_PORTS: u16 = 100;

    fn start() -> Self {
        let (ng, http, https, media) = (ports::free(1), ports::free(1), ports::free(1), ports::free(Self::MEDIA_PORTS));
        let mut relay = Self { process: None, ng, http, https, media };
        relay.start_again();
        relay
    }

    /// Without a chance to say goodbye.
    fn kill(&mut self) {
        self.process = None;
    }

    fn start_again(&mut self) {
        let Self { ng, http, https, media, .. } = *self;
        let process = Process::start("stox", env!("CARGO_BIN_EXE_stox"), |command| {
            command.args(["relay", "--address", "127.0.0.1", "--workers", "1"]);
            for listen in
                [format!("udp:127.0.0.1:{ng}"), format!("http:127.0.0.1:{http}"), format!("https:127.0.0.1:{https}")]
            {
                command.arg("--ng").arg(listen);
            }
            command
                .arg("--tls-certificate")
                .arg(certificates("certificate.pem"))
                .arg("--tls-key")
                .arg(certificates("key.pem"));
            command.arg("--ports").arg(format!("{media}-{}", media + Self::MEDIA_PORTS - 1)).env("RUST_LOG", "debug");
        });
        process.log().wait_for("ready");
        self.process = Some(process);
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it runs")
    }
}

struct Kamailio {
    process: Process,
    port: u16,
    control: String,
    _dir: TempDir,
}

impl Kamailio {
    fn start(relay: &Relay, door: Door) -> Self {
        let relay = match door {
            Door::Udp => format!("udp:127.0.0.1:{}", relay.ng),
            Door::WebSocket => format!("ws://127.0.0.1:{}/", relay.http),
            Door::Secure => format!("wss://127.0.0.1:{}/", relay.https),
        };
        Self::start_with(&relay)
    }

    /// Starts it with relays as its module takes them.
    fn start_with(relays: &str) -> Self {
        let dir = TempDir::new("kamailio");
        let port = ports::free(1);
        let control = format!("unix:{}/control", dir.path().display());
        let process = Process::start("kamailio", "kamailio", |command| {
            command.arg("-f").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kamailio/kamailio.cfg"));
            command.arg("-Y").arg(dir.path()).args(["-DD", "-E", "-n", "2", "-m", "32", "-M", "4"]);
            command.arg("-A").arg(format!("LISTEN=udp:127.0.0.1:{port}"));
            command.arg("-A").arg(format!("RELAY=\"{relays}\"")).arg("-A").arg(format!("CONTROL=\"{control}\""));
            // A relay that is gone is missed soon.
            command.args(["-A", "RELAY_TIMEOUT=200", "-A", "RELAY_TRIES=2", "-A", "RELAY_REST=1"]);
            if relays.starts_with("ws") {
                command.args(["-A", "WITH_WEBSOCKET"]).env("SSL_CERT_FILE", certificates("authority.pem"));
            }
        });
        let kamailio = Self { process, port, control, _dir: dir };
        kamailio.shows_relay("disabled: 0");
        kamailio
    }

    fn log(&self) -> &Log {
        self.process.log()
    }

    /// What an operator is told by Kamailio's control tool.
    fn ask(&self, words: &[&str]) -> String {
        let output = Command::new("kamcmd").arg("-s").arg(&self.control).args(words).output();
        let output = output.unwrap_or_else(|error| panic!("cannot start kamcmd: {error}"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until Kamailio shows its relay so.
    fn shows_relay(&self, status: &str) {
        let mut shown = String::new();
        for _ in 0..200 {
            shown = self.ask(&["rtpengine.show", "all"]);
            if shown.contains(status) {
                return;
            }
            pause();
        }
        panic!("Kamailio's relay is not {status}: {shown}");
    }

    fn phone(&self, user: &'static str, phone: Phone) -> Baresip {
        if let Some(encryption) = phone.encryption {
            let profile = if encryption == DTLS { "UDP/TLS/RTP/SAVPF" } else { "RTP/SAVP" };
            self.ask(&["htable.sets", "profiles", &format!("s:{user}"), profile]);
        }
        let account = Some(Account { user, password: "change-me", registrar: self.port });
        // baresip takes the port above its own as well.
        Baresip::start(ports::free(2), Phone { account, ..phone })
    }
}

/// Two phones, Kamailio, and the relay.
struct Scene {
    alice: Baresip,
    bob: Baresip,
    kamailio: Kamailio,
    relay: Relay,
}

impl Scene {
    fn start(door: Door, alice: Phone, bob: Phone) -> Self {
        let relay = Relay::start();
        let kamailio = Kamailio::start(&relay, door);
        let alice = kamailio.phone("100", Phone { frequency: ALICE, ..alice });
        let bob = kamailio.phone("200", Phone { frequency: BOB, ..bob });
        Self { alice, bob, kamailio, relay }
    }

    fn bob_uri(&self) -> String {
        format!("sip:200@127.0.0.1:{}", self.kamailio.port)
    }

    fn alice_calls_bob(&mut self) {
        self.alice.dial(&self.bob_uri());
        self.bob.event("CALL_INCOMING");
        self.bob.answer();
        self.alice.hears(BOB);
        self.bob.hears(ALICE);
    }

    fn alice_holds_and_resumes(&mut self) {
        self.alice.hold();
        self.bob.log().wait_for("a=sendonly");
        self.alice.log().wait_for("a=recvonly");
        self.bob.log().mark();
        self.alice.log().mark();
        self.alice.resume();
        self.bob.log().wait_for("a=sendrecv");
        self.alice.log().wait_for("call: got SDP answer");
        self.keys_arrive();
    }

    fn keys_arrive(&mut self) {
        self.alice.press("5");
        assert_eq!(self.bob.event("CALL_DTMF_START")["param"], "5");
        self.bob.press("7");
        assert_eq!(self.alice.event("CALL_DTMF_START")["param"], "7");
    }

    fn bob_hangs_up(&mut self) {
        self.bob.hang_up();
        self.alice.event("CALL_CLOSED");
    }
}

#[test]
#[ignore = "needs Kamailio and baresip"]
fn phones_of_kamailio_call_through_the_relay() {
    let mut scene = Scene::start(Door::Udp, Phone::default(), Phone::default());
    scene.alice_calls_bob();
    scene.alice_holds_and_resumes();
    scene.bob_hangs_up();
    let figures = scene.kamailio.log().wait_for(" is over: RTP: ");
    assert!(!figures.contains("RTP: 0 bytes"), "{figures}");
}

#[test]
#[ignore = "needs Kamailio and baresip"]
fn a_phone_with_srtp_and_one_without_call_each_other() {
    let plain = Phone::default();
    let [sdes, dtls] = [SDES, DTLS].map(|encryption| Phone { encryption: Some(encryption), ..plain });
    for (alice, bob) in [(sdes, plain), (plain, sdes), (dtls, plain), (sdes, dtls)] {
        let mut scene = Scene::start(Door::Udp, alice, bob);
        scene.alice_calls_bob();
        scene.alice_holds_and_resumes();
        scene.bob_hangs_up();
    }
}

#[test]
#[ignore = "needs Kamailio and baresip"]
fn kamailio_may_ask_over_web_socket_and_over_tls() {
    for door in [Door::WebSocket, Door::Secure] {
        let mut scene = Scene::start(door, Phone::default(), Phone::default());
        scene.alice_calls_bob();
        scene.alice_holds_and_resumes();
        scene.bob_hangs_up();
    }
}

#[test]
#[ignore = "needs Kamailio, baresip and SIPp"]
fn codecs_may_change_their_order_in_a_call_with_a_phone_behind_nat() {
    let relay = Relay::start();
    let kamailio = Kamailio::start(&relay, Door::Udp);
    let mut bob = kamailio.phone("200", Phone { codec: "PCMU/8000/1,PCMA/8000/1", frequency: BOB, ..Phone::default() });
    // SIPp sends back what it hears: who hears himself, was heard.
    let sipp = Sipp::calls_at(kamailio.port, ports::free(1), "codec_order", "200");
    bob.event("CALL_INCOMING");
    bob.answer();
    bob.log().wait_for("Set audio encoder: PCMU");
    bob.hears(BOB);
    // Then it is SIPp's turn.
    bob.reinvite();
    bob.log().wait_for("Set audio decoder: PCMA");
    bob.log().wait_for("Set audio encoder: PCMA");
    bob.press("5");
    assert_eq!(bob.event("CALL_DTMF_START")["param"], "5");
    bob.hang_up();
    sipp.succeeds();
}

#[test]
#[ignore = "needs Kamailio and baresip"]
fn kamailio_sees_the_relay_leave_and_come_back() {
    let mut scene = Scene::start(Door::Udp, Phone::default(), Phone::default());
    scene.alice_calls_bob();
    scene.relay.kill();
    scene.bob_hangs_up();
    scene.kamailio.shows_relay("disabled: 1");
    scene.alice.forget_past();
    scene.bob.forget_past();
    scene.alice.dial(&scene.bob_uri());
    scene.alice.call_ended("503 No Media Relay");
    scene.relay.start_again();
    scene.alice_calls_bob();
    scene.kamailio.shows_relay("disabled: 0");
}

// With SRTP it does so only with phones that take new keys during a call, which baresip learnt with version 3.12.
#[test]
#[ignore = "needs Kamailio and baresip"]
fn a_call_goes_on_through_a_relay_that_was_started_again_once_it_is_negotiated_anew() {
    let mut scene = Scene::start(Door::Udp, Phone::default(), Phone::default());
    scene.alice_calls_bob();
    scene.relay.kill();
    scene.relay.start_again();
    scene.alice.log().mark();
    scene.alice.reinvite();
    scene.alice.log().wait_for("call: got SDP answer");
    scene.keys_arrive();
}

#[test]
#[ignore = "needs Kamailio and baresip"]
fn all_phones_of_a_user_ring_and_the_one_that_answers_is_heard() {
    const CAROL: u32 = 1_320;
    let mut scene = Scene::start(Door::Udp, Phone::default(), Phone::default());
    let mut carol = scene.kamailio.phone("200", Phone { frequency: CAROL, ..Phone::default() });
    scene.alice.dial(&scene.bob_uri());
    scene.bob.event("CALL_INCOMING");
    carol.event("CALL_INCOMING");
    carol.answer();
    scene.alice.hears(CAROL);
    carol.hears(ALICE);
    scene.bob.event("CALL_CLOSED");
    carol.press("3");
    assert_eq!(scene.alice.event("CALL_DTMF_START")["param"], "3");
    carol.hang_up();
    scene.alice.event("CALL_CLOSED");
}

#[test]
#[ignore = "needs Kamailio and baresip"]
fn a_relay_that_is_to_stop_leaves_new_calls_to_another() {
    let (busy, idle) = (Relay::start(), Relay::start());
    // All but one call of 100,000 is for the first.
    let kamailio = Kamailio::start_with(&format!("udp:127.0.0.1:{}=99999 udp:127.0.0.1:{}=1", busy.ng, idle.ng));
    let [alice, bob] = [("100", ALICE), ("200", BOB)]
        .map(|(user, frequency)| kamailio.phone(user, Phone { frequency, ..Phone::default() }));
    let sdp = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let offered = Command::new(env!("CARGO_BIN_EXE_stox"))
        .args(["ng", "send", "--to", &format!("udp:127.0.0.1:{}", busy.ng), "offer", "call-id=one", "from-tag=a"])
        .arg(format!("sdp={sdp}"))
        .output()
        .expect("the binary was built");
    assert!(offered.status.success(), "{offered:?}");
    busy.process().terminate();
    busy.process().log().wait_for("stopping when the last call is over");
    let mut scene = Scene { alice, bob, kamailio, relay: idle };
    scene.alice_calls_bob();
    busy.process().log().wait_for("Parallel session limit reached");
}

/// The gateway as one more phone of Kamailio's, for a browser: requests within calls go by the proxy, which asks for a
/// password and has a relay of its own.
#[test]
#[ignore = "needs Prosody, Chromium, Kamailio and baresip"]
fn a_browser_calls_a_phone_by_a_proxy_and_is_called() {
    let relay = Relay::start();
    let kamailio = Kamailio::start(&relay, Door::Udp);
    let prosody = Prosody::start();
    prosody.befriend("alice", "200@sip.localhost");
    let gateway = Gateway::start(&prosody, Trunk { proxy: Some(kamailio.port), ..Trunk::default() });
    gateway.log().wait_for("registered");
    let mut bob = kamailio.phone("200", Phone { frequency: BOB, ..Phone::default() });
    let alice = Browser::log_in(&prosody, "alice", Setup::Direct);
    alice.dial("200", ALICE);
    bob.event("CALL_INCOMING");
    bob.answer();
    alice.hears(BOB);
    bob.hears(ALICE);
    // What comes within the call finds its way in both directions.
    bob.log().mark();
    alice.hold();
    bob.log().wait_for("a=sendonly");
    alice.resume();
    bob.log().wait_for("a=sendrecv");
    bob.hang_up();
    alice.call_ended("success");

    alice.forget_past();
    bob.dial(&format!("sip:100@127.0.0.1:{}", kamailio.port));
    alice.event("incoming");
    alice.accept(ALICE);
    alice.hears(BOB);
    alice.hang_up("success");
    bob.event("CALL_CLOSED");
}

/// The gateway as one more phone of Kamailio's: it registers with its password, and OPTIONS find Kamailio there.
#[test]
#[ignore = "needs Kamailio"]
fn the_gateway_registers_and_finds_its_registrar_there() {
    let relay = Relay::start();
    let kamailio = Kamailio::start(&relay, Door::Udp);
    let dir = TempDir::new("registering");
    let (sip, media, registrar) = (ports::free(1), ports::free(10), kamailio.port);
    let config = format!(
        r#"
[xmpp]
component = "sip.localhost"
server = "127.0.0.1:1"
secret = "s3cret"
[sip]
listen = ["udp:127.0.0.1:{sip}"]
[sip.trunk.proxy]
uri = ["sip:127.0.0.1:{registrar}", "sip:127.0.0.1:1"]
username = "100"
password = "change-me"
register = true
keep_alive = "1s"
[relay]
addresses = [{{ bind = "127.0.0.1" }}]
ports = "{media}-{}"
[[route]]
from = "xmpp"
user = '(.+)'
to = "trunk:proxy/{{1}}"
"#,
        media + 9
    );
    let config = dir.write("stox.toml", config);
    let gateway = Process::start("stox", env!("CARGO_BIN_EXE_stox"), |command| {
        command.arg("run").arg("--config").arg(config).env("RUST_LOG", "info");
    });
    gateway.log().wait_for("registered");
    // Nobody is at the second address.
    gateway.log().wait_for("does not answer OPTIONS: calls go elsewhere");
    let contact = kamailio.ask(&["ul.dump"]);
    assert!(contact.contains("AoR: 100") && contact.contains(&format!("127.0.0.1:{sip}")), "{contact}");
}
