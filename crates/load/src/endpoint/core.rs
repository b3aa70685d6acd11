//! An endpoint without its sockets and its clock.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use dtls::Certificate;
use ice::{Agent, LocalAddress};
use media::demux::Media;
use media::packet::Packet;
use model::{Candidate, Component, Description, DtlsState, HashFunction, IceState, MediaPath, Security, SrtpSuite};

use super::voice::Voice;
use super::{Config, Status};
use crate::negotiation::{Agreed, Local, NegotiationError};
use crate::transport::{Arrived, Transport};

/// The longest packet we make, with its tag.
const BUFFER: usize = 512;

/// Which keys SDES offers, best first.
const SDES_SUITES: [SrtpSuite; 2] = [SrtpSuite::AeadAes128Gcm, SrtpSuite::AesCm128Sha1_80];

/// One end of the media of one call.
pub(super) struct Core {
    config: Config,
    /// RTP, then RTCP where it has a port of its own.
    transports: Vec<(Component, Transport)>,
    certificate: Arc<Certificate>,
    credentials: model::IceParameters,
    voice: Voice,
    offer: Option<Description>,
    agreed: Option<Agreed>,
    dropped: u64,
    closed: bool,
    transmits: VecDeque<(Component, SocketAddr, Vec<u8>)>,
}

impl Core {
    /// Makes an endpoint whose sockets are bound to these addresses.
    pub(super) fn new(config: Config, rtp: SocketAddr, rtcp: SocketAddr, now: Instant) -> anyhow::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random)?;
        let credentials = ice::new_credentials();
        let tie_breaker = ice::new_tie_breaker();
        let transport = |component, local| -> anyhow::Result<(Component, Transport)> {
            let agent = config.ice.then(|| {
                Agent::new(ice::Config {
                    component,
                    role: if config.offers { ice::Role::Controlling } else { ice::Role::Controlled },
                    credentials: credentials.clone(),
                    tie_breaker,
                    addresses: vec![LocalAddress { bound: local, advertised: None }],
                })
            });
            Ok((component, Transport::new(local, agent.transpose()?)))
        };
        let transports = vec![transport(Component::Rtp, rtp)?, transport(Component::Rtcp, rtcp)?];
        let voice = Voice::new(config.tone, random, now);
        Ok(Self {
            config,
            transports,
            certificate: Arc::new(Certificate::generate()?),
            credentials,
            voice,
            offer: None,
            agreed: None,
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
            for (_, transport) in &mut self.transports {
                transport.restart(self.credentials.clone(), now);
            }
        }
    }

    fn local(&self) -> Local<'_> {
        let address = |wanted| {
            let mut transports = self.transports.iter();
            transports.find(|(component, _)| *component == wanted).map(|(_, transport)| transport.local())
        };
        let path = MediaPath {
            rtp: address(Component::Rtp),
            rtcp: address(Component::Rtcp),
            ice: self.config.ice.then(|| self.credentials.clone()),
            candidates: self.transports.iter().flat_map(|(_, transport)| transport.candidates()).collect(),
            end_of_candidates: self.config.ice,
            ..MediaPath::default()
        };
        let secured = self.config.security == Security::Dtls;
        let fingerprint = secured.then(|| self.certificate.fingerprint(HashFunction::Sha256));
        let dtls_client = self.agreed.as_ref().filter(|_| secured).map(|agreed| agreed.dtls_client);
        let Config { ice, security, rtcp_mux, .. } = self.config;
        Local { ice, security, suites: &SDES_SUITES, rtcp_mux, path, fingerprint, dtls_client }
    }

    /// Begins what was agreed, or goes on with what changed.
    fn agree(&mut self, agreed: Agreed, now: Instant) -> Result<(), NegotiationError> {
        if agreed.rtcp_mux {
            self.transports.truncate(1);
        }
        self.voice.listen(agreed.receives);
        self.voice.mute(!agreed.direction.sends());
        for (component, transport) in &mut self.transports {
            transport.agree(*component, self.config.security, &agreed, &self.certificate, now)?;
        }
        self.agreed = Some(agreed);
        self.settle(now);
        Ok(())
    }

    /// Adds trickled candidates of the peer.
    pub(super) fn add_candidates(&mut self, candidates: &[Candidate], ufrag: Option<&str>, end: bool, now: Instant) {
        for (_, transport) in &mut self.transports {
            transport.add_candidates(candidates, ufrag, end, now);
        }
        self.settle(now);
    }

    /// Takes a datagram. What is not understood or not believed is dropped.
    pub(super) fn handle_packet(&mut self, component: Component, from: SocketAddr, buffer: &mut [u8], now: Instant) {
        let arrived = self.transport(component).and_then(|transport| transport.handle_packet(from, buffer, now));
        let believed = match arrived {
            Some(Arrived::Handled) => Some(()),
            Some(Arrived::Media) => self.handle_media(component, buffer, now),
            None => None,
        };
        self.dropped += u64::from(believed.is_none());
        self.settle(now);
    }

    fn handle_media(&mut self, component: Component, buffer: &mut [u8], now: Instant) -> Option<()> {
        let kind = match (component, self.transports.len()) {
            (Component::Rtp, 1) => Media::of(buffer),
            (Component::Rtp, _) => Media::Rtp,
            (Component::Rtcp, _) => Media::Rtcp,
        };
        let length = buffer.len();
        let mut packet = Packet::new(buffer, length)?;
        self.transport(component)?.open(&mut packet, kind)?;
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
        for (_, transport) in &mut self.transports {
            transport.handle_timeout(now);
        }
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
        let transports = self.transports.iter().filter_map(|(_, transport)| transport.poll_timeout());
        transports.chain(self.voice.poll_timeout()).min()
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
            dtls: self.dtls_state(),
            suite: self.transports.iter().find_map(|(_, transport)| transport.suite()),
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
        for (_, transport) in &mut self.transports {
            transport.close(now);
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
        let states = self.transports.iter().filter_map(|(_, transport)| transport.ice_state());
        states.max_by_key(|state| match state {
            IceState::Connected => 0,
            IceState::Checking => 1,
            IceState::Disconnected => 2,
            IceState::Failed => 3,
        })
    }

    /// The state of the component that is furthest on.
    fn dtls_state(&self) -> Option<DtlsState> {
        let states = self.transports.iter().filter_map(|(_, transport)| transport.dtls_state());
        states.max_by_key(|state| match state {
            DtlsState::Handshaking => 0,
            DtlsState::Connected { .. } => 1,
            DtlsState::Closed => 2,
            DtlsState::Failed => 3,
        })
    }

    fn transport(&mut self, wanted: Component) -> Option<&mut Transport> {
        self.transports.iter_mut().find(|(component, _)| *component == wanted).map(|(_, transport)| transport)
    }

    /// Protects a packet and sends it; without keys or an address it is not sent.
    fn send(&mut self, component: Component, kind: Media, buffer: &mut [u8], length: usize) {
        let Some(mut packet) = Packet::new(buffer, length) else { return };
        if let Some(remote) = self.transport(component).and_then(|transport| transport.seal(&mut packet, kind)) {
            let bytes = packet.to_vec();
            self.transmits.push_back((component, remote, bytes));
        }
    }

    /// Takes what the transports want sent, and begins to talk once it can be heard.
    fn settle(&mut self, now: Instant) {
        for (component, transport) in &mut self.transports {
            while let Some((remote, bytes)) = transport.poll_transmit() {
                self.transmits.push_back((*component, remote, bytes));
            }
        }
        if let (Some(agreed), Some((_, rtp))) = (&self.agreed, self.transports.first())
            && rtp.is_ready()
        {
            self.voice.talk(agreed.sends, now);
        }
    }
}
