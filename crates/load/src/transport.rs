//! One component of an end of a call, without its socket and its clock: where the peer is, and what stands between us
//! and its media.
//!
//! The two are found side by side. Where the peer is: it was signalled, or ICE selects a pair (RFC 8445). What protects
//! its media: nothing, keys that were signalled (RFC 4568), or those of a DTLS association, which begins as soon as there
//! is somewhere to send to (RFC 5763).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use dtls::{AssociationId, Certificate, Engine, FromDtls, Role, ToDtls};
use ice::{Agent, Pair};
use media::demux::{Media, Protocol};
use media::packet::Packet;
use media::srtp::{Inbound, KeyError, MasterKey, Outbound};
use model::{
    Candidate, Component, Crypto, DtlsState, Fingerprint, FingerprintVerdict, IceParameters, IceState, Security,
    SrtpSuite,
};

use crate::negotiation::{Agreed, NegotiationError};

/// Handshake packets that are kept until the answer is there: a ClientHello may be two.
const MAX_EARLY: usize = 4;

/// A component has one association.
const ASSOCIATION: AssociationId = AssociationId(0);

/// What stands between an end and its media.
pub enum Protection {
    /// Nothing: RTP in clear.
    Plain,
    /// SRTP: what seals and what opens. A packet in clear towards this end is never believed.
    Srtp(Box<(Outbound, Inbound)>),
}

impl Protection {
    /// SRTP by the keys of two descriptions.
    fn from_sdes(ours: &Crypto, theirs: &Crypto) -> Result<Self, KeyError> {
        Ok(Self::srtp(&MasterKey::from_sdes(ours)?, &MasterKey::from_sdes(theirs)?))
    }

    fn srtp(ours: &MasterKey, theirs: &MasterKey) -> Self {
        Self::Srtp(Box::new((Outbound::new(ours), Inbound::new(theirs))))
    }
}

/// One component.
///
/// After any call with a time, drain [`Transport::poll_transmit`], then ask [`Transport::poll_timeout`].
pub(crate) struct Transport {
    local: SocketAddr,
    agent: Option<Agent>,
    /// Where we send to: what ICE selected, or what was signalled.
    remote: Option<SocketAddr>,
    keys: Keys,
    /// The association that will be opened, or was.
    association: Option<Association>,
    engine: Option<Engine>,
    dtls: Option<DtlsState>,
    suite: Option<SrtpSuite>,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
}

/// How the association is opened.
struct Association {
    certificate: Arc<Certificate>,
    role: Role,
    /// What the peer promised.
    fingerprints: Vec<Fingerprint>,
}

/// How far we are with what protects the media.
enum Keys {
    /// Nothing flows yet.
    Awaited {
        /// Handshake packets that came sooner than the answer.
        early: Vec<Vec<u8>>,
    },
    /// The DTLS association runs.
    Handshaking,
    /// Media can flow.
    Agreed(Protection),
    /// Media can flow, and somebody else protects it.
    Taken,
}

/// What a datagram was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Arrived {
    /// STUN or DTLS, and dealt with.
    Handled,
    /// Media, from where the peer may be.
    Media,
}

impl Transport {
    /// Makes a component whose socket is bound to an address.
    pub(crate) const fn new(local: SocketAddr, agent: Option<Agent>) -> Self {
        Self {
            local,
            agent,
            remote: None,
            keys: Keys::Awaited { early: Vec::new() },
            association: None,
            engine: None,
            dtls: None,
            suite: None,
            transmits: VecDeque::new(),
        }
    }

    /// Where its socket is bound.
    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Our candidates, if ICE is used.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        self.agent.as_ref().map(Agent::local_candidates).unwrap_or_default()
    }

    /// Where ICE is, if it is used.
    pub(crate) fn ice_state(&self) -> Option<IceState> {
        self.agent.as_ref().map(Agent::state)
    }

    /// Where DTLS is, once it has begun.
    pub(crate) const fn dtls_state(&self) -> Option<DtlsState> {
        self.dtls
    }

    /// The suite, once there are keys.
    pub(crate) const fn suite(&self) -> Option<SrtpSuite> {
        self.suite
    }

    /// Where media goes, once that is known.
    pub(crate) const fn remote(&self) -> Option<SocketAddr> {
        self.remote
    }

    /// Says whether media can be sent.
    pub(crate) const fn is_ready(&self) -> bool {
        self.remote.is_some() && matches!(self.keys, Keys::Agreed(_))
    }

    /// Begins what was agreed, or goes on with what changed.
    ///
    /// # Errors
    ///
    /// The peer's keys or credentials are of no use.
    pub(crate) fn agree(
        &mut self,
        component: Component,
        security: Security,
        agreed: &Agreed,
        certificate: &Arc<Certificate>,
        now: Instant,
    ) -> Result<(), NegotiationError> {
        let remote = &agreed.remote;
        match security {
            Security::Rtp => self.protect(Protection::Plain, None),
            Security::Sdes => {
                if let Some((ours, theirs)) = &agreed.crypto {
                    let protection = Protection::from_sdes(ours, theirs);
                    self.protect(protection.map_err(|_| NegotiationError("an unusable key"))?, Some(ours.suite));
                }
            }
            Security::Dtls => self.associate(agreed, certificate),
        }
        if self.agent.is_none() {
            self.remote = match component {
                Component::Rtp => remote.rtp,
                Component::Rtcp => remote.rtcp.or_else(|| remote.rtp.map(next_port)),
            };
        }
        if let (Some(agent), Some(ice)) = (&mut self.agent, &remote.ice) {
            agent.set_remote_credentials(ice, now).map_err(|_| NegotiationError("unusable ICE credentials"))?;
            self.add_candidates(&remote.candidates, Some(&ice.ufrag), remote.end_of_candidates, now);
        }
        self.settle(now);
        Ok(())
    }

    fn protect(&mut self, protection: Protection, suite: Option<SrtpSuite>) {
        self.suite = suite;
        self.keys = Keys::Agreed(protection);
    }

    /// Lets an association be opened as soon as there is somewhere to send to. One that was opened goes on.
    fn associate(&mut self, agreed: &Agreed, certificate: &Arc<Certificate>) {
        let Some(dtls) = &agreed.remote.dtls else { return };
        self.association.get_or_insert_with(|| Association {
            certificate: Arc::clone(certificate),
            role: if agreed.dtls_client { Role::Client } else { Role::Server },
            fingerprints: dtls.fingerprints.clone(),
        });
    }

    /// Hands out what protects the media, which is then somebody else's to do. `None` while there are no keys.
    pub(crate) fn take_protection(&mut self) -> Option<Protection> {
        match std::mem::replace(&mut self.keys, Keys::Taken) {
            Keys::Agreed(protection) => Some(protection),
            other @ (Keys::Awaited { .. } | Keys::Handshaking | Keys::Taken) => {
                self.keys = other;
                None
            }
        }
    }

    /// Adds candidates of the peer.
    pub(crate) fn add_candidates(&mut self, candidates: &[Candidate], ufrag: Option<&str>, end: bool, now: Instant) {
        let Some(agent) = &mut self.agent else { return };
        for candidate in candidates {
            // One that cannot be used leaves the others.
            let _ = agent.add_remote_candidate(candidate, ufrag, now);
        }
        if end {
            agent.end_of_candidates(now);
        }
        self.settle(now);
    }

    /// Restarts ICE with new credentials of ours (RFC 8445 §9).
    pub(crate) fn restart(&mut self, credentials: IceParameters, now: Instant) {
        if let Some(agent) = &mut self.agent {
            agent.restart(credentials, now);
        }
        self.settle(now);
    }

    /// Takes a datagram. `None`: it was not understood or not believed.
    pub(crate) fn handle_packet(&mut self, from: SocketAddr, datagram: &[u8], now: Instant) -> Option<Arrived> {
        let arrived = match Protocol::of(datagram).ok()? {
            Protocol::Stun => self.handle_stun(from, datagram, now).map(|()| Arrived::Handled),
            Protocol::Dtls => self.handle_handshake(from, datagram, now).map(|()| Arrived::Handled),
            Protocol::Media => self.trusts(from).then_some(Arrived::Media),
        };
        self.settle(now);
        arrived
    }

    fn handle_stun(&mut self, from: SocketAddr, message: &[u8], now: Instant) -> Option<()> {
        let pair = Pair { local: self.local, remote: from };
        self.agent.as_mut()?.handle_packet(message, pair, now).ok()
    }

    fn handle_handshake(&mut self, from: SocketAddr, packet: &[u8], now: Instant) -> Option<()> {
        if !self.trusts(from) {
            return None;
        }
        self.remote.get_or_insert(from); // the pair is valid, though we may not have checked it yet
        let bytes = packet.to_vec();
        match &mut self.keys {
            Keys::Awaited { early } if early.len() < MAX_EARLY => early.push(bytes),
            Keys::Awaited { .. } => return None,
            Keys::Handshaking | Keys::Agreed(_) | Keys::Taken => {
                self.engine.as_mut()?.handle(ToDtls::Packet { association: ASSOCIATION, bytes }, now);
            }
        }
        Some(())
    }

    /// Says whether the peer may be there: ICE found it there, or signalling said so.
    fn trusts(&self, from: SocketAddr) -> bool {
        match &self.agent {
            Some(agent) => agent.is_validated(Pair { local: self.local, remote: from }),
            None => self.remote == Some(from),
        }
    }

    /// Opens media that arrived. `None`: it is not believed, or there are no keys.
    pub(crate) fn open(&mut self, packet: &mut Packet<'_>, kind: Media) -> Option<()> {
        match &mut self.keys {
            Keys::Agreed(Protection::Plain) => Some(()),
            Keys::Agreed(Protection::Srtp(directions)) => directions.1.open(packet, kind).ok(),
            Keys::Awaited { .. } | Keys::Handshaking | Keys::Taken => None,
        }
    }

    /// Protects media that is to be sent, and says where to. `None`: there are no keys, or no address.
    pub(crate) fn seal(&mut self, packet: &mut Packet<'_>, kind: Media) -> Option<SocketAddr> {
        let remote = self.remote?;
        match &mut self.keys {
            Keys::Agreed(Protection::Plain) => Some(remote),
            Keys::Agreed(Protection::Srtp(directions)) => directions.0.seal(packet, kind).ok().map(|()| remote),
            Keys::Awaited { .. } | Keys::Handshaking | Keys::Taken => None,
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if let Some(agent) = &mut self.agent {
            agent.handle_timeout(now);
        }
        if let Some(engine) = &mut self.engine {
            engine.handle_timeout(now);
        }
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let agent = self.agent.as_ref().and_then(Agent::poll_timeout);
        agent.into_iter().chain(self.engine.as_ref().and_then(Engine::poll_timeout)).min()
    }

    /// The next datagram to send that is not media.
    pub(crate) fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    /// Says goodbye to the peer's DTLS.
    pub(crate) fn close(&mut self, now: Instant) {
        if let Some(engine) = &mut self.engine {
            engine.handle(ToDtls::Close { association: ASSOCIATION }, now);
        }
        self.settle(now);
    }

    /// Takes the news of ICE and DTLS, each of which may be the other's to act on.
    fn settle(&mut self, now: Instant) {
        if let Some(agent) = &mut self.agent {
            while let Some(transmit) = agent.poll_transmit() {
                self.transmits.push_back((transmit.pair.remote, transmit.bytes));
            }
            while let Some(event) = agent.poll_event() {
                match event {
                    ice::Event::Selected(pair) => self.remote = Some(pair.remote),
                    ice::Event::ConsentLost => self.remote = None,
                    ice::Event::State(_) => {}
                }
            }
            // Until a pair is selected, any valid one will do (RFC 8445 §12.1).
            self.remote = self.remote.or_else(|| agent.valid().map(|pair| pair.remote));
        }
        self.open_association(now);
        while let Some(told) = self.engine.as_mut().and_then(Engine::poll) {
            self.handle_dtls(told);
        }
    }

    /// Opens the association once packets can flow and both fingerprints are known.
    fn open_association(&mut self, now: Instant) {
        let (Some(association), Some(_), Keys::Awaited { early }) = (&self.association, self.remote, &mut self.keys)
        else {
            return;
        };
        let early = std::mem::take(early);
        self.keys = Keys::Handshaking;
        self.dtls = Some(DtlsState::Handshaking);
        let certificate = Arc::clone(&association.certificate);
        let engine = self.engine.insert(Engine::new(dtls::Config { certificate, max_associations: 1 }));
        let open = ToDtls::Open {
            association: ASSOCIATION,
            role: association.role,
            suites: dtls::SUITES.to_vec(),
            fingerprints: association.fingerprints.clone(),
            certificate: None,
        };
        engine.handle(open, now);
        for bytes in early {
            engine.handle(ToDtls::Packet { association: ASSOCIATION, bytes }, now);
        }
    }

    fn handle_dtls(&mut self, told: FromDtls) {
        match told {
            FromDtls::Transmit { bytes, .. } => {
                self.transmits.extend(self.remote.map(|remote| (remote, bytes)));
            }
            FromDtls::Connected { suite, keys, .. } => {
                let key = |bytes: &[u8]| {
                    let (key, salt) = bytes.split_at_checked(suite.key_length())?;
                    MasterKey::new(suite, key, salt).ok()
                };
                let (Some(ours), Some(theirs)) = (key(keys.local.reveal()), key(keys.remote.reveal())) else { return };
                self.protect(Protection::srtp(&ours, &theirs), Some(suite));
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

/// Where RTCP goes where nothing is said of it (RFC 3550 §11).
fn next_port(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port().wrapping_add(1))
}
