//! An endpoint without its sockets and its clock.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use dtls::{AssociationId, Certificate, Engine, FromDtls, Role, ToDtls};
use ice::{Agent, LocalAddress, Pair};
use media::demux::{Media, Protocol};
use media::packet::Packet;
use media::srtp::{Inbound, MasterKey, Outbound};
use model::{
    Candidate, Component, Description, DtlsState, FingerprintVerdict, HashFunction, IceState, MediaPath, Security,
    SrtpSuite,
};

use super::negotiation::{Agreed, Local};
use super::voice::Voice;
use super::{Config, NegotiationError, Status};

/// The longest packet we make, with its tag.
const BUFFER: usize = 512;

/// Handshake packets that are kept until the answer is there: a ClientHello may be two.
const MAX_EARLY: usize = 4;

/// One end of the media of one call.
pub(super) struct Core {
    config: Config,
    /// RTP, then RTCP where it has a port of its own.
    transports: Vec<Transport>,
    engine: Engine,
    certificate: Arc<Certificate>,
    credentials: model::IceParameters,
    voice: Voice,
    offer: Option<Description>,
    agreed: Option<Agreed>,
    dtls: Option<DtlsState>,
    suite: Option<SrtpSuite>,
    dropped: u64,
    closed: bool,
    transmits: VecDeque<(Component, SocketAddr, Vec<u8>)>,
}

/// One component.
struct Transport {
    component: Component,
    local: SocketAddr,
    agent: Option<Agent>,
    /// Where we send to: what ICE selected, or what was signalled.
    remote: Option<SocketAddr>,
    protection: Protection,
}

/// What stands between us and the media of a transport.
enum Protection {
    /// There are no keys yet: nothing flows.
    Awaited {
        /// Handshake packets that came sooner than the answer.
        early: Vec<Vec<u8>>,
    },
    /// The DTLS association runs.
    Handshaking,
    /// Nothing.
    Plain,
    /// SRTP.
    Srtp(Box<(Outbound, Inbound)>),
}

impl Transport {
    /// Media can be sent.
    const fn is_ready(&self) -> bool {
        self.remote.is_some() && matches!(self.protection, Protection::Plain | Protection::Srtp(_))
    }
}

impl Core {
    /// Makes an endpoint whose sockets are bound to these addresses.
    pub(super) fn new(config: Config, rtp: SocketAddr, rtcp: SocketAddr, now: Instant) -> anyhow::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let certificate = Arc::new(Certificate::generate()?);
        let engine = Engine::new(dtls::Config { certificate: Arc::clone(&certificate), max_associations: 2 });
        let credentials = ice::new_credentials();
        let tie_breaker = ice::new_tie_breaker();
        let transport = |component, local| -> anyhow::Result<Transport> {
            let agent = config.ice.then(|| {
                Agent::new(ice::Config {
                    component,
                    role: if config.offers { ice::Role::Controlling } else { ice::Role::Controlled },
                    credentials: credentials.clone(),
                    tie_breaker,
                    addresses: vec![LocalAddress { bound: local, advertised: None }],
                })
            });
            Ok(Transport {
                component,
                local,
                agent: agent.transpose()?,
                remote: None,
                protection: Protection::Awaited { early: Vec::new() },
            })
        };
        let transports = vec![transport(Component::Rtp, rtp)?, transport(Component::Rtcp, rtcp)?];
        let voice = Voice::new(config.tone, random, now);
        Ok(Self {
            config,
            transports,
            engine,
            certificate,
            credentials,
            voice,
            offer: None,
            agreed: None,
            dtls: None,
            suite: None,
            dropped: 0,
            closed: false,
            transmits: VecDeque::new(),
        })
    }

    /// Our offer.
    pub(super) fn offer(&mut self) -> Description {
        let offer = self.local().offer();
        self.offer = Some(offer.clone());
        if let Some(codec) = offer.streams.first().and_then(|stream| stream.codecs.first()) {
            self.voice.listen(codec.payload_type);
        }
        offer
    }

    /// Takes the peer's offer, and answers it.
    pub(super) fn answer(&mut self, offer: &Description, now: Instant) -> Result<Description, NegotiationError> {
        self.follow_restart(offer, now);
        let (answer, agreed) = self.local().answer(offer)?;
        self.agree(agreed, now)?;
        Ok(answer)
    }

    /// Takes the peer's answer to our offer.
    pub(super) fn accept(&mut self, answer: &Description, now: Instant) -> Result<(), NegotiationError> {
        let offer = self.offer.clone().ok_or(NegotiationError("an answer without an offer"))?;
        let agreed = self.local().accept(&offer, answer)?;
        self.agree(agreed, now)
    }

    /// Restarts ICE where an offer comes with new credentials (RFC 8445 §9).
    fn follow_restart(&mut self, offer: &Description, now: Instant) {
        let known = self.agreed.as_ref().and_then(|agreed| agreed.remote.ice.as_ref());
        let offered = offer.streams.iter().find_map(|stream| stream.path.ice.as_ref());
        if let (Some(known), Some(offered)) = (known, offered)
            && known.ufrag != offered.ufrag
            && known.pwd != offered.pwd
        {
            self.credentials = ice::new_credentials();
            for agent in self.transports.iter_mut().filter_map(|transport| transport.agent.as_mut()) {
                agent.restart(self.credentials.clone(), now);
            }
        }
    }

    fn local(&self) -> Local<'_> {
        let addresses = |component| self.transports.iter().find(|transport| transport.component == component);
        let candidates = self.transports.iter().filter_map(|transport| transport.agent.as_ref());
        let path = MediaPath {
            rtp: addresses(Component::Rtp).map(|transport| transport.local),
            rtcp: addresses(Component::Rtcp).map(|transport| transport.local),
            ice: self.config.ice.then(|| self.credentials.clone()),
            candidates: candidates.flat_map(Agent::local_candidates).collect(),
            end_of_candidates: self.config.ice,
            ..MediaPath::default()
        };
        let secured = self.config.security == Security::Dtls;
        let fingerprint = secured.then(|| self.certificate.fingerprint(HashFunction::Sha256));
        let dtls_client = self.agreed.as_ref().filter(|_| secured).map(|agreed| agreed.dtls_client);
        Local { config: &self.config, path, fingerprint, dtls_client }
    }

    /// Begins what was agreed, or goes on with what changed.
    fn agree(&mut self, agreed: Agreed, now: Instant) -> Result<(), NegotiationError> {
        if agreed.rtcp_mux {
            self.transports.truncate(1);
        }
        self.voice.listen(agreed.receives);
        self.voice.mute(!agreed.direction.sends());
        for transport in &mut self.transports {
            match &agreed.crypto {
                Some((ours, theirs)) => {
                    let key = |crypto| MasterKey::from_sdes(crypto).map_err(|_| NegotiationError("an unusable key"));
                    let directions = (Outbound::new(&key(ours)?), Inbound::new(&key(theirs)?));
                    transport.protection = Protection::Srtp(Box::new(directions));
                    self.suite = Some(ours.suite);
                }
                None if self.config.security == Security::Rtp => transport.protection = Protection::Plain,
                None => {}
            }
            if transport.agent.is_none() {
                transport.remote = match transport.component {
                    Component::Rtp => agreed.remote.rtp,
                    Component::Rtcp => agreed.remote.rtcp.or_else(|| agreed.remote.rtp.map(next_port)),
                };
            }
        }
        let remote = agreed.remote.clone();
        self.agreed = Some(agreed);
        if let Some(ice) = &remote.ice {
            for agent in self.transports.iter_mut().filter_map(|transport| transport.agent.as_mut()) {
                agent.set_remote_credentials(ice, now).map_err(|_| NegotiationError("unusable ICE credentials"))?;
            }
            self.add_candidates(&remote.candidates, Some(&ice.ufrag), remote.end_of_candidates, now);
        }
        self.settle(now);
        Ok(())
    }

    /// Adds trickled candidates of the peer.
    pub(super) fn add_candidates(&mut self, candidates: &[Candidate], ufrag: Option<&str>, end: bool, now: Instant) {
        for agent in self.transports.iter_mut().filter_map(|transport| transport.agent.as_mut()) {
            for candidate in candidates {
                // One that cannot be used leaves the others.
                let _ = agent.add_remote_candidate(candidate, ufrag, now);
            }
            if end {
                agent.end_of_candidates(now);
            }
        }
        self.settle(now);
    }

    /// Takes a datagram. What is not understood or not believed is dropped.
    pub(super) fn handle_packet(&mut self, component: Component, from: SocketAddr, buffer: &mut [u8], now: Instant) {
        let believed = match Protocol::of(buffer) {
            Ok(Protocol::Stun) => self.handle_stun(component, from, buffer, now),
            Ok(Protocol::Dtls) => self.handle_handshake(component, from, buffer, now),
            Ok(Protocol::Media) => self.handle_media(component, from, buffer, now),
            Err(_) => None,
        };
        self.dropped += u64::from(believed.is_none());
        self.settle(now);
    }

    fn handle_stun(&mut self, component: Component, from: SocketAddr, message: &[u8], now: Instant) -> Option<()> {
        let transport = self.transport(component)?;
        let pair = Pair { local: transport.local, remote: from };
        transport.agent.as_mut()?.handle_packet(message, pair, now).ok()
    }

    fn handle_handshake(&mut self, component: Component, from: SocketAddr, packet: &[u8], now: Instant) -> Option<()> {
        let transport = self.transport(component).filter(|transport| transport.trusts(from))?;
        transport.remote.get_or_insert(from); // the pair is valid, though we may not have checked it yet
        let bytes = packet.to_vec();
        match &mut transport.protection {
            Protection::Awaited { early } if early.len() < MAX_EARLY => early.push(bytes),
            Protection::Awaited { .. } => return None,
            Protection::Handshaking | Protection::Plain | Protection::Srtp(_) => {
                self.engine.handle(ToDtls::Packet { association: association(component), bytes }, now);
            }
        }
        Some(())
    }

    fn handle_media(&mut self, component: Component, from: SocketAddr, buffer: &mut [u8], now: Instant) -> Option<()> {
        let kind = match (component, self.transports.len()) {
            (Component::Rtp, 1) => Media::of(buffer),
            (Component::Rtp, _) => Media::Rtp,
            (Component::Rtcp, _) => Media::Rtcp,
        };
        let transport = self.transport(component).filter(|transport| transport.trusts(from))?;
        let length = buffer.len();
        let mut packet = Packet::new(buffer, length)?;
        match &mut transport.protection {
            Protection::Srtp(keys) => keys.1.open(&mut packet, kind).ok()?,
            Protection::Plain => {}
            Protection::Awaited { .. } | Protection::Handshaking => return None,
        }
        match kind {
            Media::Rtp => {
                self.voice.hear(&packet, now);
                Some(())
            }
            Media::Rtcp => self.voice.handle_report(&packet, now).ok(),
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        for agent in self.transports.iter_mut().filter_map(|transport| transport.agent.as_mut()) {
            agent.handle_timeout(now);
        }
        self.engine.handle_timeout(now);
        let mut buffer = [0; BUFFER];
        if let Some(length) = self.voice.packet(&mut buffer, now) {
            self.send(Component::Rtp, Media::Rtp, &mut buffer, length);
        }
        if let Some(length) = self.voice.report(&mut buffer, now) {
            let component = if self.transports.len() > 1 { Component::Rtcp } else { Component::Rtp };
            self.send(component, Media::Rtcp, &mut buffer, length);
        }
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let agents = self.transports.iter().filter_map(|transport| transport.agent.as_ref()?.poll_timeout());
        agents.chain(self.engine.poll_timeout()).chain(self.voice.poll_timeout()).min()
    }

    /// The next datagram to send, through the socket of a component.
    pub(super) fn poll_transmit(&mut self) -> Option<(Component, SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// How it is.
    pub(super) fn status(&self, now: Instant) -> Status {
        let reception = self.voice.reception();
        Status {
            ice: self.ice_state(),
            dtls: self.dtls,
            suite: self.suite,
            packets_sent: self.voice.sent(),
            packets_received: reception.map_or(0, |reception| reception.packets()),
            packets_lost: reception.map_or(0, |reception| reception.lost()),
            jitter_ms: reception.map_or(0.0, |reception| reception.jitter_ms()),
            dropped: self.dropped,
            heard: self.voice.heard(now),
        }
    }

    /// Ends what runs, and says goodbye to the peer's DTLS.
    pub(super) fn close(&mut self, now: Instant) {
        for component in [Component::Rtp, Component::Rtcp] {
            self.engine.handle(ToDtls::Close { association: association(component) }, now);
        }
        self.settle(now);
        self.closed = true;
    }

    /// Says whether it is closed: nothing is to be done but to send what is left.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The state of the component that is worst off.
    fn ice_state(&self) -> Option<IceState> {
        let states = self.transports.iter().filter_map(|transport| transport.agent.as_ref().map(Agent::state));
        states.max_by_key(|state| match state {
            IceState::Connected => 0,
            IceState::Checking => 1,
            IceState::Disconnected => 2,
            IceState::Failed => 3,
        })
    }

    fn transport(&mut self, component: Component) -> Option<&mut Transport> {
        self.transports.iter_mut().find(|transport| transport.component == component)
    }

    /// Protects a packet and sends it; without keys or an address it is not sent.
    fn send(&mut self, component: Component, kind: Media, buffer: &mut [u8], length: usize) {
        let Some(transport) = self.transport(component) else { return };
        let (Some(remote), Some(mut packet)) = (transport.remote, Packet::new(buffer, length)) else { return };
        let ready = match &mut transport.protection {
            Protection::Plain => true,
            Protection::Srtp(keys) => keys.0.seal(&mut packet, kind).is_ok(),
            Protection::Awaited { .. } | Protection::Handshaking => false,
        };
        if ready {
            let bytes = packet.to_vec();
            self.transmits.push_back((component, remote, bytes));
        }
    }

    /// Takes the news of ICE and DTLS, each of which may be the other's to act on.
    fn settle(&mut self, now: Instant) {
        for transport in &mut self.transports {
            let Some(agent) = &mut transport.agent else { continue };
            while let Some(transmit) = agent.poll_transmit() {
                self.transmits.push_back((transport.component, transmit.pair.remote, transmit.bytes));
            }
            while let Some(event) = agent.poll_event() {
                match event {
                    ice::Event::Selected(pair) => transport.remote = Some(pair.remote),
                    ice::Event::ConsentLost => transport.remote = None,
                    ice::Event::State(_) => {}
                }
            }
            // Until a pair is selected, any valid one will do (RFC 8445 §12.1).
            transport.remote = transport.remote.or_else(|| agent.valid().map(|pair| pair.remote));
        }
        self.open_associations(now);
        while let Some(told) = self.engine.poll() {
            self.handle_dtls(told);
        }
        if let (Some(agreed), Some(rtp)) = (&self.agreed, self.transports.first())
            && rtp.is_ready()
        {
            self.voice.talk(agreed.sends, now);
        }
    }

    /// Opens a DTLS association wherever packets can flow and both fingerprints are known.
    fn open_associations(&mut self, now: Instant) {
        let Some(agreed) = self.agreed.as_ref().filter(|_| self.config.security == Security::Dtls) else { return };
        let Some(remote) = &agreed.remote.dtls else { return };
        for transport in &mut self.transports {
            if transport.remote.is_some()
                && let Protection::Awaited { early } = &mut transport.protection
            {
                let early = std::mem::take(early);
                transport.protection = Protection::Handshaking;
                self.dtls.get_or_insert(DtlsState::Handshaking);
                let open = ToDtls::Open {
                    association: association(transport.component),
                    role: if agreed.dtls_client { Role::Client } else { Role::Server },
                    suites: dtls::SUITES.to_vec(),
                    fingerprints: remote.fingerprints.clone(),
                    certificate: None,
                };
                self.engine.handle(open, now);
                for bytes in early {
                    self.engine.handle(ToDtls::Packet { association: association(transport.component), bytes }, now);
                }
            }
        }
    }

    fn handle_dtls(&mut self, told: FromDtls) {
        match told {
            FromDtls::Transmit { association, bytes } => {
                let component = component(association);
                if let Some(remote) = self.transport(component).and_then(|transport| transport.remote) {
                    self.transmits.push_back((component, remote, bytes));
                }
            }
            FromDtls::Connected { association, suite, keys } => {
                let key = |bytes: &[u8]| {
                    let (key, salt) = bytes.split_at_checked(suite.key_length())?;
                    MasterKey::new(suite, key, salt).ok()
                };
                let (Some(local), Some(remote)) = (key(keys.local.reveal()), key(keys.remote.reveal())) else { return };
                if let Some(transport) = self.transport(component(association)) {
                    let directions = (Outbound::new(&local), Inbound::new(&remote));
                    transport.protection = Protection::Srtp(Box::new(directions));
                }
                self.suite = Some(suite);
                self.dtls = Some(DtlsState::Connected { suite, fingerprint: FingerprintVerdict::Matched });
            }
            FromDtls::Refused { suite, verdict, .. } => {
                self.dtls = Some(DtlsState::Connected { suite, fingerprint: verdict });
            }
            FromDtls::Failed { .. } => self.dtls = Some(DtlsState::Failed),
            FromDtls::Closed { .. } => self.dtls = Some(DtlsState::Closed),
        }
    }
}

impl Transport {
    /// Says whether the peer may be there: ICE found it there, or signalling said so.
    fn trusts(&self, from: SocketAddr) -> bool {
        match &self.agent {
            Some(agent) => agent.is_validated(Pair { local: self.local, remote: from }),
            None => self.remote == Some(from),
        }
    }
}

/// Each component has an association of its own, named after it.
const fn association(component: Component) -> AssociationId {
    AssociationId(component.number() as u64)
}

const fn component(association: AssociationId) -> Component {
    match association.0 {
        2 => Component::Rtcp,
        _ => Component::Rtp,
    }
}

/// Where RTCP goes where nothing is said of it (RFC 3550 §11).
fn next_port(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port().wrapping_add(1))
}
