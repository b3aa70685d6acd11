//! `stox demo`: a call in each direction on loopback, with real sockets, real ICE and real DTLS-SRTP, and the proof
//! that both ends heard each other.
//!
//! ```text
//! alice (Jingle) --XML-- component server --XML-- gateway --SIP-- phone
//!        \______ICE, DTLS-SRTP_______________ relay ______RTP______/
//! ```

mod screen;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use load::component_server::ComponentServer;
use load::endpoint::Status;
use load::jingle::{self, Client};
use load::phone::{self, Phone};
use model::{Secret, Security};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, timeout};

use self::screen::{Row, Screen};
use crate::config::Config;
use crate::gateway::{self, Gateway};
use crate::log;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const DOMAIN: &str = "sip.localhost";
const SECRET: &str = "demo";
const ALICE: &str = "alice@localhost/demo";
const NUMBER: &str = "100";

/// What alice plays, in hertz.
const ALICE_TONE: f32 = 440.0;
/// What the phone plays, in hertz.
const PHONE_TONE: f32 = 660.0;
/// How far a tone may be off, in hertz.
const TOLERANCE: f32 = 10.0;

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long media flows, once each end hears the other.
const LISTEN: Duration = Duration::from_millis(1500);

/// Runs the demonstration. With `hold` the second call stays up until Ctrl-C.
pub(crate) fn demo(hold: bool) -> ExitCode {
    match crate::two_threads().block_on(run(hold)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nFAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(hold: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut scene = Scene::set_up().await?;
    let out = scene.call_to_the_phone().await.context("call from Jingle to SIP")?;
    let back = scene.call_to_alice(hold).await.context("call from SIP to Jingle")?;
    scene.tear_down().await;
    println!("\nBoth calls went well, in {:.1} s:", started.elapsed().as_secs_f32());
    println!("  Jingle to SIP: {out}");
    println!("  SIP to Jingle: {back}");
    Ok(())
}

/// Everybody who takes part.
struct Scene {
    alice: Client,
    phone: Phone,
    gateway: Gateway,
    server: ComponentServer,
    /// Where the gateway takes SIP.
    sip: SocketAddr,
    screen: Screen,
}

/// What happened next.
#[derive(Debug)]
enum Happened {
    Alice(jingle::Event),
    Phone(phone::Event),
    /// Time passed.
    Tick,
}

impl Scene {
    async fn set_up() -> anyhow::Result<Self> {
        println!("stox demo, on loopback only, at ports that are free");
        let anywhere = SocketAddr::new(LOOPBACK, 0);
        let server = ComponentServer::start(anywhere, DOMAIN, Secret::new(SECRET.to_owned()))
            .await
            .context("XMPP server for the component")?;
        println!("  XMPP server  {}, for the component {DOMAIN}", server.address());
        let phone_config =
            phone::Config { listen: anywhere, user: NUMBER.to_owned(), security: Security::Rtp, tone: PHONE_TONE };
        let phone = Phone::start(phone_config).await.context("SIP phone")?;
        println!("  SIP phone    sip:{NUMBER}@{}, plays {PHONE_TONE} Hz, plain RTP", phone.address());
        let user = server.join(ALICE.parse().context("alice's address")?);
        let alice = Client::new(user, jingle::Profile::CONVERSATIONS, LOOPBACK, ALICE_TONE);
        println!("  Jingle user  {ALICE}, plays {ALICE_TONE} Hz, ICE and DTLS-SRTP");

        let config = Config::parse(&config(server.address(), phone.address())).context("configuration")?;
        log::start(&config.log);
        let gateway = gateway::start(config).await.context("gateway")?;
        let sip = gateway.sip_addresses().first().context("the gateway takes no SIP")?.address;
        timeout(PATIENCE, server.connected()).await.context("the gateway did not join the XMPP server")?;
        println!("  gateway      sip:{sip}, media ports from 30000");
        Ok(Self { alice, phone, gateway, server, sip, screen: Screen::new() })
    }

    /// Alice calls the phone, they listen to each other, and she hangs up.
    async fn call_to_the_phone(&mut self) -> anyhow::Result<String> {
        println!("\nalice@localhost calls {NUMBER}@{DOMAIN}");
        let begun = Instant::now();
        self.alice.call(format!("{NUMBER}@{DOMAIN}").parse()?)?;
        self.expect("the phone rings", |happened| matches!(happened, Happened::Phone(phone::Event::Incoming { .. })))
            .await?;
        self.expect("alice hears that it rings", |happened| {
            matches!(happened, Happened::Alice(jingle::Event::Ringing))
        })
        .await?;
        self.phone.answer()?;
        self.expect("alice's call is answered", |happened| {
            matches!(happened, Happened::Alice(jingle::Event::Answered))
        })
        .await?;
        let heard = self.listen(begun).await?;
        self.alice.hang_up();
        self.expect("the phone learns that alice hung up", |happened| {
            matches!(happened, Happened::Phone(phone::Event::Ended))
        })
        .await?;
        Ok(heard)
    }

    /// The phone calls alice, they listen to each other, and it hangs up.
    async fn call_to_alice(&mut self, hold: bool) -> anyhow::Result<String> {
        println!("\nsip:{NUMBER}@{} calls alice@localhost", self.phone.address());
        let begun = Instant::now();
        self.phone.call(&format!("sip:alice@{}", self.sip))?;
        self.expect("alice is called", |happened| matches!(happened, Happened::Alice(jingle::Event::Incoming { .. })))
            .await?;
        self.expect("the phone hears that it rings", |happened| {
            matches!(happened, Happened::Phone(phone::Event::Ringing))
        })
        .await?;
        self.alice.answer()?;
        self.expect("the phone's call is answered", |happened| {
            matches!(happened, Happened::Phone(phone::Event::Answered))
        })
        .await?;
        let heard = self.listen(begun).await?;
        if hold {
            self.hold().await?;
        }
        self.phone.hang_up()?;
        self.expect("alice learns that the phone hung up", |happened| {
            matches!(happened, Happened::Alice(jingle::Event::Ended(_)))
        })
        .await?;
        Ok(heard)
    }

    /// Waits for one thing to happen. Other things may happen before, but not the end of the call.
    async fn expect(&mut self, what: &str, wanted: impl Fn(&Happened) -> bool) -> anyhow::Result<()> {
        let waiting = async {
            loop {
                let happened = self.next().await?;
                if wanted(&happened) {
                    return Ok(());
                }
                match happened {
                    Happened::Alice(jingle::Event::Ended(reason)) => bail!("alice's call ended: {reason:?}"),
                    Happened::Phone(phone::Event::Failed(status)) => bail!("the phone's call failed with {status}"),
                    Happened::Phone(phone::Event::Ended) => bail!("the phone's call ended"),
                    Happened::Alice(_) | Happened::Phone(_) | Happened::Tick => {}
                }
            }
        };
        let outcome = timeout(PATIENCE, waiting).await;
        outcome
            .unwrap_or_else(|_| Err(anyhow::anyhow!("nothing within {} s", PATIENCE.as_secs())))
            .context(what.to_owned())?;
        self.screen.line(&format!("  {what}"));
        Ok(())
    }

    /// Lets the tones flow until each end has heard the other's for a while. Says what was heard.
    async fn listen(&mut self, begun: Instant) -> anyhow::Result<String> {
        let answered = Instant::now();
        let mut both_since = None;
        loop {
            self.show();
            let (alice, phone) = (self.alice.media(), self.phone.media());
            let missing = missing(alice, phone);
            match (missing, both_since) {
                (None, None) => both_since = Some(Instant::now()),
                (None, Some(since)) if since.elapsed() >= LISTEN => {
                    self.screen.leave_table();
                    let (setup, media) = ((answered - begun).as_millis(), (since - answered).as_millis());
                    let hears = |status: Option<Status>| status.and_then(|status| status.heard).unwrap_or_default();
                    return Ok(format!(
                        "answered after {setup} ms, heard both ways {media} ms later; alice heard {:.0} Hz, the phone {:.0} Hz",
                        hears(alice),
                        hears(phone)
                    ));
                }
                (None, Some(_)) => {}
                (Some(missing), _) => {
                    both_since = None;
                    ensure!(answered.elapsed() < 2 * PATIENCE, "media: {missing}");
                }
            }
            match self.next().await? {
                Happened::Alice(jingle::Event::Ended(reason)) => bail!("media: alice's call ended: {reason:?}"),
                Happened::Phone(phone::Event::Ended) => bail!("media: the phone's call ended"),
                Happened::Alice(_) | Happened::Phone(_) | Happened::Tick => {}
            }
        }
    }

    /// Keeps the call up until Ctrl-C.
    async fn hold(&mut self) -> anyhow::Result<()> {
        let mut interrupted = signal(SignalKind::interrupt()).context("Ctrl-C")?;
        self.screen.line(&format!("  held: XMPP server {}, SIP {}; Ctrl-C ends it", self.server.address(), self.sip));
        loop {
            self.show();
            tokio::select! {
                _ = interrupted.recv() => {
                    self.screen.leave_table();
                    return Ok(());
                }
                happened = self.next() => match happened? {
                    Happened::Alice(jingle::Event::Ended(reason)) => bail!("alice's call ended: {reason:?}"),
                    Happened::Phone(phone::Event::Ended) => bail!("the phone's call ended"),
                    Happened::Alice(_) | Happened::Phone(_) | Happened::Tick => {}
                },
            }
        }
    }

    async fn next(&mut self) -> anyhow::Result<Happened> {
        let mut tick = interval(Duration::from_millis(200));
        tick.reset();
        tokio::select! {
            event = self.alice.next() => event.map(Happened::Alice).context("alice"),
            event = self.phone.next() => event.map(Happened::Phone).context("the phone"),
            _ = tick.tick() => Ok(Happened::Tick),
        }
    }

    fn show(&mut self) {
        let rows = [
            self.alice.media().map(|status| Row { leg: "Jingle", security: "DTLS", status }),
            self.phone.media().map(|status| Row { leg: "SIP", security: "plain RTP", status }),
        ];
        self.screen.table(rows.into_iter().flatten());
    }

    async fn tear_down(self) {
        self.gateway.stop().await;
        self.phone.stop(Duration::from_secs(1)).await;
    }
}

/// What is still to be heard, if anything.
fn missing(alice: Option<Status>, phone: Option<Status>) -> Option<String> {
    for (who, status, tone) in [("alice", alice, PHONE_TONE), ("the phone", phone, ALICE_TONE)] {
        let Some(status) = status else { return Some(format!("{who} has no call")) };
        match status.heard {
            Some(heard) if (heard - tone).abs() <= TOLERANCE => {}
            Some(heard) => return Some(format!("{who} hears {heard:.0} Hz in place of {tone:.0} Hz")),
            None => return Some(format!("{who} hears nothing ({} packets received)", status.packets_received)),
        }
    }
    None
}

/// The configuration of the gateway: the smallest useful file, at ports that are free.
fn config(server: SocketAddr, phone: SocketAddr) -> String {
    format!(
        r#"
[xmpp]
component = "{DOMAIN}"
server = "{server}"
secret = "{SECRET}"
[sip]
listen = ["udp:{LOOPBACK}:0"]
[sip.trunk.phones]
uri = "sip:{phone}"
media = "rtp"
[relay]
addresses = [{{ bind = "{LOOPBACK}" }}]
[[route]]
from = "xmpp"
user = '(\+?[0-9]+)'
to = "trunk:phones/{{1}}"
[[route]]
from = "trunk:phones"
user = '(.+)'
to = "xmpp:{{1}}@localhost"
[log]
level = "warn"
"#
    )
}
