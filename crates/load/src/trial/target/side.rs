//! One end of a call while it is set up.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use dtls::Certificate;
use ice::{Agent, LocalAddress};
use model::{Component, Description, HashFunction, IceParameters, MediaPath, PayloadType, Security, SrtpSuite};

use super::TargetError;
use crate::negotiation::{Agreed, Local, NegotiationError};
use crate::transport::Transport;
use crate::trial::end::{End, Keeper};
use crate::trial::plan::MediaSecurity;

/// Bytes of the longest packet that is no media: DTLS fills an Ethernet frame at most.
const BUFFER: usize = 1500;

/// What one end of every call is.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// Where its sockets are bound.
    pub(super) address: IpAddr,
    pub(super) ice: bool,
    pub(super) security: Security,
    /// The only suite that SDES offers; empty where there are no keys in the description.
    pub(super) suites: Vec<SrtpSuite>,
    /// What DTLS shows.
    pub(super) certificate: Arc<Certificate>,
}

impl Terms {
    /// An end whose media is protected, by ICE or at its signalled address.
    pub(super) fn new(address: IpAddr, media: MediaSecurity, ice: bool, certificate: &Arc<Certificate>) -> Self {
        let (security, suites) = match media {
            MediaSecurity::Rtp => (Security::Rtp, Vec::new()),
            MediaSecurity::SdesCm80 => (Security::Sdes, vec![SrtpSuite::AesCm128Sha1_80]),
            MediaSecurity::SdesGcm => (Security::Sdes, vec![SrtpSuite::AeadAes128Gcm]),
            MediaSecurity::Dtls => (Security::Dtls, Vec::new()),
        };
        Self { address, ice, security, suites, certificate: Arc::clone(certificate) }
    }

    /// Says whether an end has to exchange packets with the relay before media can flow.
    pub(super) const fn connects(&self) -> bool {
        self.ice || matches!(self.security, Security::Dtls)
    }
}

/// One end of a call.
pub(super) struct Side {
    terms: Arc<Terms>,
    socket: UdpSocket,
    transport: Transport,
    credentials: IceParameters,
    offer: Option<Description>,
    sends: Option<PayloadType>,
}

impl Side {
    /// Binds a socket. The end that will offer controls ICE.
    pub(super) fn new(terms: &Arc<Terms>, role: ice::Role) -> Result<Self, TargetError> {
        let bind = || -> io::Result<(UdpSocket, SocketAddr)> {
            let socket = UdpSocket::bind((terms.address, 0))?;
            socket.set_nonblocking(true)?;
            let local = socket.local_addr()?;
            Ok((socket, local))
        };
        let (socket, local) = bind().map_err(|error| TargetError::Exhausted(format!("socket ({error})")))?;
        let credentials = ice::new_credentials();
        let agent = terms.ice.then(|| {
            Agent::new(ice::Config {
                component: Component::Rtp,
                role,
                credentials: credentials.clone(),
                tie_breaker: ice::new_tie_breaker(),
                addresses: vec![LocalAddress { bound: local, advertised: None }],
            })
        });
        let agent = agent.transpose().map_err(|error| TargetError::Exhausted(format!("address for ICE ({error})")))?;
        let transport = Transport::new(local, agent);
        Ok(Self { terms: Arc::clone(terms), socket, transport, credentials, offer: None, sends: None })
    }

    pub(super) const fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// What it offers.
    pub(super) fn offer(&mut self) -> Description {
        self.offer.insert(self.local().offer()).clone()
    }

    /// Takes an offer of the relay's, and answers it.
    pub(super) fn answer(&mut self, offer: &Description, now: Instant) -> Result<Description, NegotiationError> {
        let (answer, agreed) = self.local().answer(offer)?;
        self.agree(&agreed, now)?;
        Ok(answer)
    }

    /// Takes the relay's answer to its offer.
    pub(super) fn accept(&mut self, answer: &Description, now: Instant) -> Result<(), NegotiationError> {
        let offer = self.offer.take().ok_or(NegotiationError("an answer without an offer"))?;
        let agreed = self.local().accept(&offer, answer)?;
        self.agree(&agreed, now)
    }

    fn local(&self) -> Local<'_> {
        let Terms { ice, security, .. } = *self.terms;
        let path = MediaPath {
            rtp: Some(self.transport.local()),
            ice: ice.then(|| self.credentials.clone()),
            candidates: self.transport.candidates(),
            end_of_candidates: ice,
            ..MediaPath::default()
        };
        let secured = security == Security::Dtls;
        let fingerprint = secured.then(|| self.terms.certificate.fingerprint(HashFunction::Sha256));
        Local { ice, security, suites: &self.terms.suites, rtcp_mux: true, path, fingerprint, dtls_client: None }
    }

    fn agree(&mut self, agreed: &Agreed, now: Instant) -> Result<(), NegotiationError> {
        self.sends = Some(agreed.sends);
        self.transport.agree(Component::Rtp, self.terms.security, agreed, &self.terms.certificate, now)?;
        self.flush();
        Ok(())
    }

    /// Says whether media can flow.
    pub(super) const fn is_ready(&self) -> bool {
        self.transport.is_ready()
    }

    /// What it still waits for, in words.
    pub(super) fn waits_for(&self) -> String {
        format!("ICE {:?}, DTLS {:?}", self.transport.ice_state(), self.transport.dtls_state())
    }

    /// Takes everything that has arrived.
    pub(super) fn receive(&mut self, now: Instant) {
        let mut buffer = [0; BUFFER];
        // An error is the relay's port being closed, or nothing being there: the time limit takes care of both.
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            self.transport.handle_packet(from, &buffer[..length], now);
        }
        self.flush();
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.transport.poll_timeout().is_some_and(|at| at <= now) {
            self.transport.handle_timeout(now);
            self.flush();
        }
    }

    fn flush(&mut self) {
        while let Some((to, bytes)) = self.transport.poll_transmit() {
            // What the kernel does not take is lost, as UDP may lose it.
            let _ = self.socket.send_to(&bytes, to);
        }
    }

    /// Becomes an end that media can flow at. `None`: it is not ready.
    pub(super) fn into_end(mut self) -> Option<End> {
        let (to, payload_type) = (self.transport.remote()?, self.sends?);
        let protection = self.transport.take_protection()?;
        let keeper = self.terms.connects().then(|| Box::new(Kept { ice: self.terms.ice, transport: self.transport }));
        Some(End {
            rtp: self.socket,
            to,
            protection,
            payload_type: payload_type.into(),
            keeper: keeper.map(|kept| kept as Box<dyn Keeper>),
        })
    }
}

/// ICE and DTLS of an end whose media somebody else protects.
struct Kept {
    ice: bool,
    transport: Transport,
}

impl Keeper for Kept {
    fn handle_packet(&mut self, from: SocketAddr, bytes: &mut [u8], now: Instant) {
        // What is not believed changes nothing.
        let _ = self.transport.handle_packet(from, bytes, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.transport.handle_timeout(now);
    }

    fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transport.poll_transmit()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.transport.poll_timeout()
    }

    fn remote(&self) -> Option<SocketAddr> {
        self.transport.remote().filter(|_| self.ice)
    }
}
