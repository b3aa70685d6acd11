//! The media end of a call: real sockets, ICE, DTLS, SRTP or plain RTP, a tone out and an ear in.
//!
//! - `core`: all of it without sockets and clock
//! - `voice`: the tone and the ear

mod core;
mod voice;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use model::{Candidate, Component, Description, DtlsState, IceState, Security, SrtpSuite};
use tokio::net::UdpSocket;
use tokio::sync::Notify;

use self::core::Core;
pub use crate::negotiation::NegotiationError;

/// What an endpoint is.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where its sockets are bound, at free ports.
    pub address: IpAddr,
    /// It makes the first offer, and so controls ICE.
    pub offers: bool,
    /// Full ICE, or straight to the signalled address.
    pub ice: bool,
    /// How its media is protected.
    pub security: Security,
    /// RTP and RTCP on one port.
    pub rtcp_mux: bool,
    /// The tone it plays, in hertz.
    pub tone: f32,
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Status {
    /// Where ICE is, if it is used.
    pub ice: Option<IceState>,
    /// Where DTLS is, once it has begun.
    pub dtls: Option<DtlsState>,
    /// The suite, once there are keys.
    pub suite: Option<SrtpSuite>,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received and believed.
    pub packets_received: u64,
    /// RTP packets that never came (RFC 3550 §A.3).
    pub packets_lost: i64,
    /// Interarrival jitter in milliseconds (RFC 3550 §A.8).
    pub jitter_ms: f32,
    /// Datagrams that were not understood or not believed.
    pub dropped: u64,
    /// The tone it hears, in hertz, to about 5 Hz.
    pub heard: Option<f32>,
}

/// One end of the media of one call: one audio stream, PCMU. It ends when it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<Core>,
    /// The core has something to send, or another deadline.
    changed: Notify,
}

impl Endpoint {
    /// Binds the sockets and starts, on the current tokio runtime. Nothing is sent before there is an answer.
    ///
    /// # Errors
    ///
    /// The address cannot be bound, or cannot be an ICE candidate.
    pub fn start(config: Config) -> anyhow::Result<Self> {
        let (rtp, rtcp) = bind_pair(config.address).context("no pair of ports")?;
        let core = Core::new(config, rtp.local_addr()?, rtcp.local_addr()?, now())?;
        let shared = Arc::new(Shared { core: Mutex::new(core), changed: Notify::new() });
        tokio::spawn(run(Arc::clone(&shared), rtp, rtcp));
        Ok(Self { shared })
    }

    /// Our offer, with all candidates.
    pub fn offer(&self) -> Description {
        self.shared.core().offer()
    }

    /// Takes the peer's offer, and answers it.
    ///
    /// # Errors
    ///
    /// Nothing in it suits us.
    pub fn answer(&self, offer: &Description) -> Result<Description, NegotiationError> {
        let answer = self.shared.core().answer(offer, now());
        self.shared.changed.notify_one();
        answer
    }

    /// Takes the peer's answer to our offer.
    ///
    /// # Errors
    ///
    /// It does not fit the offer.
    pub fn accept(&self, answer: &Description) -> Result<(), NegotiationError> {
        let accepted = self.shared.core().accept(answer, now());
        self.shared.changed.notify_one();
        accepted
    }

    /// Adds trickled candidates of the peer.
    pub fn add_candidates(&self, candidates: &[Candidate], ufrag: Option<&str>, end_of_candidates: bool) {
        self.shared.core().add_candidates(candidates, ufrag, end_of_candidates, now());
        self.shared.changed.notify_one();
    }

    /// How it is now.
    pub fn status(&self) -> Status {
        self.shared.core().status(now())
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.core().close(now());
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The loop: flush, wait, receive, timers.
async fn run(shared: Arc<Shared>, rtp: UdpSocket, rtcp: UdpSocket) {
    const FAR: Duration = Duration::from_secs(3600);
    let (mut rtp_buffer, mut rtcp_buffer) = (vec![0; 2048], vec![0; 2048]);
    loop {
        let deadline = {
            let mut core = shared.core();
            while let Some((component, to, bytes)) = core.poll_transmit() {
                let socket = match component {
                    Component::Rtp => &rtp,
                    Component::Rtcp => &rtcp,
                };
                // What the kernel does not take is lost, as UDP may lose it.
                let _ = socket.try_send_to(&bytes, to);
            }
            if core.is_closed() {
                return;
            }
            core.poll_timeout().unwrap_or_else(|| now() + FAR)
        };
        tokio::select! {
            received = rtp.recv_from(&mut rtp_buffer) => shared.take(Component::Rtp, received, &mut rtp_buffer),
            received = rtcp.recv_from(&mut rtcp_buffer) => shared.take(Component::Rtcp, received, &mut rtcp_buffer),
            () = tokio::time::sleep_until(deadline.into()) => shared.core().handle_timeout(now()),
            () = shared.changed.notified() => {}
        }
    }
}

impl Shared {
    fn take(&self, component: Component, received: io::Result<(usize, SocketAddr)>, buffer: &mut [u8]) {
        if let Ok((length, from)) = received
            && let Some(datagram) = buffer.get_mut(..length)
        {
            self.core().handle_packet(component, from, datagram, now());
        }
    }
}

/// Binds two sockets at neighbouring ports, the first one even (RFC 3550 §11).
fn bind_pair(address: IpAddr) -> anyhow::Result<(UdpSocket, UdpSocket)> {
    const ATTEMPTS: usize = 100;
    for _ in 0..ATTEMPTS {
        let rtp = std::net::UdpSocket::bind((address, 0))?;
        let port = rtp.local_addr()?.port();
        if port % 2 != 0 {
            continue;
        }
        if let Ok(rtcp) = std::net::UdpSocket::bind((address, port + 1)) {
            rtp.set_nonblocking(true)?;
            rtcp.set_nonblocking(true)?;
            return Ok((UdpSocket::from_std(rtp)?, UdpSocket::from_std(rtcp)?));
        }
    }
    anyhow::bail!("{ATTEMPTS} attempts found no two neighbouring ports at {address}")
}

#[expect(clippy::disallowed_methods, reason = "this is the shell that gives the endpoint its time")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use model::{Direction, Setup};
    use tokio::time::{interval, sleep, timeout};

    use super::*;

    #[tokio::test]
    async fn two_ends_hear_each_other_by_ice_and_dtls_on_one_port_or_two() {
        for rtcp_mux in [true, false] {
            let both = talk(Config { ice: true, security: Security::Dtls, rtcp_mux, ..config() }).await;
            for status in both.iter().map(Endpoint::status) {
                assert_eq!(status.ice, Some(IceState::Connected));
                assert!(matches!(status.dtls, Some(DtlsState::Connected { .. })), "{status:?}");
            }
        }
    }

    #[tokio::test]
    async fn two_ends_hear_each_other_by_ice_without_protection() {
        talk(Config { ice: true, ..config() }).await;
    }

    #[tokio::test]
    async fn two_ends_hear_each_other_at_their_signalled_addresses() {
        talk(config()).await;
        let both = talk(Config { security: Security::Sdes, ..config() }).await;
        for status in both.iter().map(Endpoint::status) {
            assert_eq!((status.suite, status.dropped), (Some(SrtpSuite::AeadAes128Gcm), 0));
        }
    }

    #[tokio::test]
    async fn an_end_that_goes_says_goodbye() {
        let [caller, callee] = talk(Config { ice: true, security: Security::Dtls, ..config() }).await;
        drop(caller);
        let closed = async {
            while callee.status().dtls != Some(DtlsState::Closed) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(5), closed).await.expect("a close_notify comes");
    }

    #[tokio::test]
    async fn an_end_on_hold_falls_silent_and_the_setup_role_stays_as_it_was() {
        let [caller, callee] = talk(Config { ice: true, security: Security::Dtls, ..config() }).await;
        let mut hold = callee.offer();
        hold.streams[0].direction = Direction::SendOnly;
        let answer = caller.answer(&hold).expect("the offer is good");
        let path = &answer.streams[0].path;
        assert_eq!(path.dtls.as_ref().map(|dtls| dtls.setup), Some(Setup::Passive));
        assert_eq!(answer.streams[0].direction, Direction::RecvOnly);
        assert_eq!(callee.accept(&answer), Ok(()));
        sleep(Duration::from_millis(700)).await;
        assert!(callee.status().heard.is_none() && caller.status().heard.is_some());
    }

    #[tokio::test]
    async fn an_offer_with_new_credentials_restarts_ice() {
        let config = Config { ice: true, security: Security::Dtls, ..config() };
        let [caller, callee] = talk(config.clone()).await;
        // Another endpoint stands for the caller after its restart: new credentials, new addresses.
        let moved = Endpoint::start(config).expect("loopback has ports");
        let mut offer = moved.offer();
        offer.streams[0].path.dtls = caller.offer().streams[0].path.dtls.clone();
        let before = callee.offer().streams[0].path.ice.clone();
        let answer = callee.answer(&offer).expect("the offer is good");
        let after = &answer.streams[0].path;
        assert_ne!(after.ice, before);
        assert!(after.candidates.iter().all(|candidate| candidate.generation == 1));
        moved.accept(&answer).expect("the answer is good");
        let connected = async {
            while moved.status().ice != Some(IceState::Connected) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(5), connected).await.expect("the restart connects");
    }

    #[tokio::test]
    async fn an_answer_of_actpass_or_without_protection_is_refused() {
        let secured = Config { ice: true, security: Security::Dtls, offers: true, ..config() };
        let caller = Endpoint::start(secured.clone()).expect("loopback has ports");
        let callee = Endpoint::start(Config { offers: false, ..secured }).expect("loopback has ports");
        let answer = callee.answer(&caller.offer()).expect("the offer is good");
        let mut bad = answer.clone();
        bad.streams[0].path.dtls.as_mut().expect("it is DTLS").setup = Setup::Actpass;
        assert!(caller.accept(&bad).is_err());
        bad.streams[0].path.dtls = None;
        assert!(caller.accept(&bad).is_err());
        assert_eq!(caller.accept(&answer), Ok(()));
    }

    fn config() -> Config {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Config { address, offers: true, ice: false, security: Security::Rtp, rtcp_mux: false, tone: 440.0 }
    }

    /// Lets two ends talk until each hears the other's tone.
    async fn talk(config: Config) -> [Endpoint; 2] {
        let caller = Endpoint::start(config.clone()).expect("loopback has ports");
        let callee = Endpoint::start(Config { offers: false, tone: 660.0, ..config }).expect("loopback has ports");
        let answer = callee.answer(&caller.offer()).expect("the offer is good");
        caller.accept(&answer).expect("the answer is good");
        let listen = async {
            let mut tick = interval(Duration::from_millis(20));
            loop {
                tick.tick().await;
                let both = [caller.status(), callee.status()];
                let near = |status: &Status, tone: f32| status.heard.is_some_and(|heard| (heard - tone).abs() <= 10.0);
                if near(&both[0], 660.0) && near(&both[1], 440.0) {
                    return;
                }
            }
        };
        let heard = timeout(Duration::from_secs(10), listen).await;
        heard.unwrap_or_else(|_| panic!("{:?} {:?}", caller.status(), callee.status()));
        [caller, callee]
    }
}
