//! An endpoint of a test: it offers and answers, runs ICE and DTLS, and sends and hears media.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtls::{AssociationId, FromDtls, ToDtls};
use media::demux::{Media, Protocol};
use media::packet::Packet;
use media::rtcp::Writer;
use media::rtp::{FIXED_HEADER, Header, RtpTime, SeqNo};
use media::srtp::{Inbound, MasterKey, Outbound};
use model::{
    Candidate, Codec, Component as Number, Crypto, Description, DtlsParameters, Fingerprint, HashFunction,
    IceParameters, MediaKind, MediaPath, MediaStream, PayloadType, Profile, Reporting, Secret, Security, Setup,
    SrtpSuite, Ssrc, StreamId,
};

use crate::network::Flying;

/// What an endpoint is like.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) ip: IpAddr,
    pub(crate) ice: bool,
    pub(crate) security: Security,
    pub(crate) suites: Vec<SrtpSuite>,
    /// It has early feedback (RFC 4585), and its profile says so.
    pub(crate) feedback: bool,
    pub(crate) rtcp_mux: bool,
    pub(crate) bundle: bool,
    /// What it answers to `actpass`.
    pub(crate) setup: Setup,
    pub(crate) kinds: Vec<MediaKind>,
    /// It promises another certificate than it shows.
    pub(crate) lies: bool,
    /// Who reports to it.
    pub(crate) reporting: Reporting,
}

impl Habits {
    /// A Jingle client of today.
    pub(crate) fn jingle() -> Self {
        Self {
            ip: ip("192.0.2.10"),
            ice: true,
            security: Security::Dtls,
            suites: vec![SrtpSuite::AeadAes128Gcm, SrtpSuite::AesCm128Sha1_80],
            feedback: true,
            rtcp_mux: true,
            bundle: true,
            setup: Setup::Active,
            kinds: vec![MediaKind::Audio],
            lies: false,
            reporting: Reporting::Translated,
        }
    }

    /// A SIP phone of old.
    pub(crate) fn phone() -> Self {
        Self {
            ip: ip("192.0.2.20"),
            ice: false,
            security: Security::Rtp,
            feedback: false,
            rtcp_mux: false,
            bundle: false,
            ..Self::jingle()
        }
    }

    /// What it writes into its descriptions.
    pub(crate) fn profile(&self) -> Profile {
        let profile = match self.security {
            Security::Rtp => Profile::Avp,
            Security::Sdes => Profile::Savp,
            Security::Dtls => Profile::TlsSavp,
        };
        profile.with_feedback(self.feedback)
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("a literal address")
}

/// An endpoint.
pub(crate) struct Peer {
    pub(crate) habits: Habits,
    pub(crate) certificate: Arc<dtls::Certificate>,
    pub(crate) engine: dtls::Engine,
    pub(crate) transports: Vec<Transport>,
    pub(crate) streams: Vec<Stream>,
    /// It sends media.
    pub(crate) talks: bool,
    /// The associations that the other side ended.
    pub(crate) closed: Vec<AssociationId>,
    controlling: bool,
}

/// One transport of an endpoint.
pub(crate) struct Transport {
    pub(crate) rtp: Component,
    pub(crate) rtcp: Option<Component>,
    pub(crate) ice: Option<IceParameters>,
    pub(crate) crypto: Vec<Crypto>,
}

/// One component of an endpoint.
pub(crate) struct Component {
    pub(crate) number: Number,
    pub(crate) address: SocketAddr,
    pub(crate) agent: Option<ice::Agent>,
    /// Where it sends, without ICE.
    pub(crate) to: Option<SocketAddr>,
    pub(crate) association: Option<AssociationId>,
    role: Option<dtls::Role>,
    fingerprints: Vec<Fingerprint>,
    pub(crate) inbound: Option<Inbound>,
    pub(crate) outbound: Option<Outbound>,
}

/// One stream of an endpoint.
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) kind: MediaKind,
    pub(crate) transport: usize,
    pub(crate) ssrc: Ssrc,
    pub(crate) seq: u16,
    pub(crate) time: u32,
    pub(crate) payload_type: u8,
    /// What it heard: header and payload.
    pub(crate) heard: Vec<(Header, Vec<u8>)>,
}

/// What reached an endpoint and was no media of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Odd {
    Rtcp(Vec<u8>),
    NotOpened,
    Unprotected,
}

impl Peer {
    pub(crate) fn new(habits: Habits) -> Self {
        let certificate = Arc::new(dtls::Certificate::generate().expect("OpenSSL works"));
        let config = dtls::Config { certificate: Arc::clone(&certificate), max_associations: 16 };
        Self {
            certificate,
            engine: dtls::Engine::new(config),
            transports: Vec::new(),
            streams: Vec::new(),
            talks: true,
            closed: Vec::new(),
            controlling: false,
            habits,
        }
    }

    // Offer and answer.

    pub(crate) fn offer(&mut self) -> Description {
        self.controlling = true;
        self.make_streams();
        let setup = Setup::Actpass;
        let description = self.describe(setup);
        Description { bundle: self.bundle(), ..description }
    }

    /// Takes the other side's offer and answers it.
    pub(crate) fn answer(&mut self, offer: &Description, now: Instant) -> Description {
        self.make_streams();
        let setup = match offer.streams[0].path.dtls.as_ref().map(|dtls| dtls.setup) {
            Some(Setup::Active) => Setup::Passive,
            Some(Setup::Passive) => Setup::Active,
            _ => self.habits.setup,
        };
        let bundle = if offer.bundle.is_empty() { Vec::new() } else { self.bundle() };
        if !bundle.is_empty() {
            self.transports.truncate(1);
            self.streams.iter_mut().for_each(|stream| stream.transport = 0);
        }
        self.take(offer, setup, now);
        let mut answer = self.describe(setup);
        for stream in &mut answer.streams {
            if let [ours] = stream.path.crypto.as_mut_slice() {
                let offered = &offer.streams[0].path.crypto;
                ours.tag = offered.iter().find(|crypto| crypto.suite == ours.suite).expect("chosen from these").tag;
            }
        }
        Description { bundle, ..answer }
    }

    /// Takes the other side's answer to our offer.
    pub(crate) fn take_answer(&mut self, answer: &Description, now: Instant) {
        if answer.bundle.len() > 1 {
            self.transports.truncate(1);
            self.streams.iter_mut().for_each(|stream| stream.transport = 0);
        }
        let setup = match answer.streams[0].path.dtls.as_ref().map(|dtls| dtls.setup) {
            Some(Setup::Active) => Setup::Passive,
            _ => Setup::Active,
        };
        self.take(answer, setup, now);
    }

    fn bundle(&self) -> Vec<StreamId> {
        if self.habits.bundle { self.streams.iter().map(|stream| stream.id).collect() } else { Vec::new() }
    }

    fn make_streams(&mut self) {
        if !self.streams.is_empty() {
            return;
        }
        for (place, kind) in self.habits.kinds.clone().into_iter().enumerate() {
            let transport = self.new_transport(place);
            self.transports.push(transport);
            let number = u16::try_from(place).expect("few streams");
            self.streams.push(Stream {
                id: StreamId(number),
                kind,
                transport: place,
                ssrc: Ssrc(0x1000 + u32::from(number) + 0x100 * u32::from(self.habits.ice)),
                seq: 65_500,
                time: 1000,
                payload_type: codecs(kind)[0].payload_type.into(),
                heard: Vec::new(),
            });
        }
    }

    fn new_transport(&self, place: usize) -> Transport {
        let port = 5000 + 2 * u16::try_from(place).expect("few streams");
        let credentials = ice::new_credentials();
        let component = |number, port| {
            let address = SocketAddr::new(self.habits.ip, port);
            Component {
                number,
                address,
                agent: self.habits.ice.then(|| {
                    ice::Agent::new(ice::Config {
                        component: number,
                        role: if self.controlling { ice::Role::Controlling } else { ice::Role::Controlled },
                        credentials: credentials.clone(),
                        tie_breaker: 7,
                        addresses: vec![ice::LocalAddress { bound: address, advertised: None }],
                    })
                    .expect("a good address")
                }),
                to: None,
                association: None,
                role: None,
                fingerprints: Vec::new(),
                inbound: None,
                outbound: None,
            }
        };
        let crypto = match self.habits.security {
            Security::Sdes => (1..)
                .zip(&self.habits.suites)
                .map(|(tag, suite)| Crypto {
                    tag,
                    suite: *suite,
                    key_and_salt: Secret::new(vec![0x5A; suite.key_length() + suite.salt_length()]),
                    mki: None,
                    lifetime: None,
                    unencrypted_srtcp: false,
                })
                .collect(),
            Security::Rtp | Security::Dtls => Vec::new(),
        };
        Transport {
            rtp: component(Number::Rtp, port),
            rtcp: Some(component(Number::Rtcp, port + 1)),
            ice: self.habits.ice.then_some(credentials),
            crypto,
        }
    }

    pub(crate) fn describe(&self, setup: Setup) -> Description {
        let mut description = Description::default();
        for stream in &self.streams {
            let transport = &self.transports[stream.transport];
            let mut digest = self.certificate.fingerprint(HashFunction::Sha256);
            if self.habits.lies {
                digest.digest[0] ^= 1;
            }
            let components = || [Some(&transport.rtp), transport.rtcp.as_ref()].into_iter().flatten();
            let path = MediaPath {
                rtp: Some(transport.rtp.address),
                rtcp: transport.rtcp.as_ref().map(|rtcp| rtcp.address),
                rtcp_mux: self.habits.rtcp_mux,
                profile: self.habits.profile(),
                ice: transport.ice.clone(),
                candidates: components()
                    .filter_map(|component| component.agent.as_ref())
                    .flat_map(ice::Agent::local_candidates)
                    .collect(),
                end_of_candidates: transport.ice.is_some(),
                dtls: (self.habits.security == Security::Dtls).then(|| DtlsParameters {
                    fingerprints: vec![digest],
                    setup,
                    tls_id: None,
                }),
                crypto: transport.crypto.clone(),
                ..MediaPath::default()
            };
            description.streams.push(MediaStream { path, ..media_stream(stream.id, stream.kind) });
        }
        description
    }

    fn take(&mut self, theirs: &Description, setup: Setup, now: Instant) {
        for (place, transport) in self.transports.iter_mut().enumerate() {
            let carried = self.streams.iter().find(|stream| stream.transport == place).expect("each carries one").id;
            let path = &theirs.streams.iter().find(|stream| stream.id == carried).expect("they answer all").path;
            if path.rtcp_mux && self.habits.rtcp_mux {
                transport.rtcp = None;
            }
            if let Some(first) = path.crypto.first() {
                let theirs = path.crypto.iter().find(|c| self.habits.suites.contains(&c.suite)).unwrap_or(first);
                transport.crypto.retain(|ours| ours.suite == theirs.suite);
            }
            let sdes = transport.crypto.first().cloned();
            for component in [Some(&mut transport.rtp), transport.rtcp.as_mut()].into_iter().flatten() {
                component.take(path, now);
                if let (Some(ours), Some(theirs)) =
                    (&sdes, path.crypto.iter().find(|c| Some(c.suite) == sdes.as_ref().map(|ours| ours.suite)))
                {
                    component.inbound = Some(Inbound::new(&MasterKey::from_sdes(theirs).expect("a good key")));
                    component.outbound = Some(Outbound::new(&MasterKey::from_sdes(ours).expect("a good key")));
                }
                if let Some(dtls) = &path.dtls {
                    component.fingerprints.clone_from(&dtls.fingerprints);
                    component.role = Some(if setup == Setup::Active { dtls::Role::Client } else { dtls::Role::Server });
                }
            }
        }
    }

    /// Takes new credentials of the other side after a restart of ICE.
    pub(crate) fn take_restart(&mut self, theirs: &IceParameters, candidates: &[Candidate], now: Instant) {
        for component in components(&mut self.transports) {
            let agent = component.agent.as_mut().expect("it uses ICE");
            agent.set_remote_credentials(theirs, now).expect("good credentials");
            for candidate in candidates.iter().filter(|candidate| candidate.component == component.number) {
                agent.add_remote_candidate(candidate, None, now).expect("a good candidate");
            }
        }
    }

    /// Takes another certificate, and a new association with it.
    pub(crate) fn renew(&mut self) {
        self.certificate = Arc::new(dtls::Certificate::generate().expect("OpenSSL works"));
        let config = dtls::Config { certificate: Arc::clone(&self.certificate), max_associations: 16 };
        self.engine = dtls::Engine::new(config);
        for component in components(&mut self.transports) {
            component.association = None;
        }
    }

    /// Restarts ICE.
    pub(crate) fn restart(&mut self, now: Instant) -> IceParameters {
        let fresh = ice::new_credentials();
        for transport in &mut self.transports {
            transport.ice = Some(fresh.clone());
        }
        for component in components(&mut self.transports) {
            component.agent.as_mut().expect("it uses ICE").restart(fresh.clone(), now);
        }
        fresh
    }

    // Packets and time.

    pub(crate) fn handle(&mut self, datagram: &Flying, now: Instant, odd: &mut Vec<Odd>) -> bool {
        let muxed: Vec<bool> = self.transports.iter().map(|transport| transport.rtcp.is_none()).collect();
        for (place, transport) in self.transports.iter_mut().enumerate() {
            for component in [Some(&mut transport.rtp), transport.rtcp.as_mut()].into_iter().flatten() {
                if component.address != datagram.to {
                    continue;
                }
                match Protocol::of(&datagram.bytes) {
                    Ok(Protocol::Stun) => {
                        let pair = ice::Pair { local: component.address, remote: datagram.from };
                        if let Some(agent) = &mut component.agent {
                            let _ = agent.handle_packet(&datagram.bytes, pair, now);
                        }
                    }
                    Ok(Protocol::Dtls) => {
                        if let Some(association) = component.association {
                            let bytes = datagram.bytes.clone();
                            self.engine.handle(ToDtls::Packet { association, bytes }, now);
                        }
                    }
                    Ok(Protocol::Media) => {
                        let kind = match (component.number, muxed[place]) {
                            (Number::Rtcp, _) => Media::Rtcp,
                            (Number::Rtp, true) => Media::of(&datagram.bytes),
                            (Number::Rtp, false) => Media::Rtp,
                        };
                        let mut bytes = datagram.bytes.clone();
                        let length = bytes.len();
                        let mut packet = Packet::new(&mut bytes, length).expect("it fits");
                        match (&mut component.inbound, self.habits.security) {
                            (Some(inbound), _) => {
                                if inbound.open(&mut packet, kind).is_err() {
                                    odd.push(Odd::NotOpened);
                                    return true;
                                }
                            }
                            (None, Security::Dtls | Security::Sdes) => {
                                odd.push(Odd::Unprotected);
                                return true;
                            }
                            (None, Security::Rtp) => {}
                        }
                        if kind == Media::Rtcp {
                            odd.push(Odd::Rtcp(packet.to_vec()));
                            return true;
                        }
                        let header = Header::parse(&packet).expect("the relay sends RTP");
                        let payload = header.payload(&packet).expect("with good padding");
                        let known = |stream: &&mut Stream| {
                            let types = codecs(stream.kind);
                            stream.transport == place
                                && types.iter().any(|codec| codec.payload_type == header.payload_type)
                        };
                        let stream = self.streams.iter_mut().find(known).expect("of a known payload type");
                        stream.heard.push((header, packet[payload].to_vec()));
                    }
                    Err(_) => {}
                }
                return true;
            }
        }
        false
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let agents = self.transports.iter().flat_map(|t| [Some(&t.rtp), t.rtcp.as_ref()]).flatten();
        agents.filter_map(|component| component.agent.as_ref()?.poll_timeout()).chain(self.engine.poll_timeout()).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for component in components(&mut self.transports) {
            if let Some(agent) = component.agent.as_mut()
                && agent.poll_timeout().is_some_and(|at| at <= now)
            {
                agent.handle_timeout(now);
            }
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= now) {
            self.engine.handle_timeout(now);
        }
    }

    /// Everything it wants sent.
    pub(crate) fn drain(&mut self, now: Instant, associations: &mut u64) -> Vec<Flying> {
        let mut out = Vec::new();
        for component in components(&mut self.transports) {
            if let Some(agent) = component.agent.as_mut() {
                while let Some(transmit) = agent.poll_transmit() {
                    let ice::Pair { local: from, remote: to } = transmit.pair;
                    out.push(Flying { from, to, bytes: transmit.bytes });
                }
                while agent.poll_event().is_some() {}
            }
            if let (Some(role), None, Some(_)) = (component.role, component.association, component.destination()) {
                *associations += 1;
                let association = AssociationId(*associations);
                component.association = Some(association);
                let open = ToDtls::Open {
                    association,
                    role,
                    suites: self.habits.suites.clone(),
                    fingerprints: component.fingerprints.clone(),
                    certificate: None,
                };
                self.engine.handle(open, now);
            }
        }
        while let Some(from) = self.engine.poll() {
            match from {
                FromDtls::Transmit { association, bytes } => {
                    let component = components(&mut self.transports).find(|c| c.association == Some(association));
                    if let Some(component) = component
                        && let Some(to) = component.destination()
                    {
                        out.push(Flying { from: component.address, to, bytes });
                    }
                }
                FromDtls::Connected { association, suite, keys } => {
                    let key = |both: &Secret<Vec<u8>>| {
                        let (key, salt) = both.reveal().split_at(suite.key_length());
                        MasterKey::new(suite, key, salt).expect("of the suite's length")
                    };
                    for component in components(&mut self.transports).filter(|c| c.association == Some(association)) {
                        component.inbound = Some(Inbound::new(&key(&keys.remote)));
                        component.outbound = Some(Outbound::new(&key(&keys.local)));
                    }
                }
                FromDtls::Closed { association } => self.closed.push(association),
                FromDtls::Refused { .. } | FromDtls::Failed { .. } => {}
            }
        }
        out
    }

    /// Twenty milliseconds of media.
    pub(crate) fn talk(&mut self) -> Vec<Flying> {
        if !self.talks {
            return Vec::new();
        }
        let mut out = Vec::new();
        for stream in &mut self.streams {
            let payload_type = PayloadType::try_from(stream.payload_type).expect("a payload type");
            let header = Header::new(payload_type, SeqNo(stream.seq), RtpTime(stream.time), stream.ssrc);
            let component = &mut self.transports[stream.transport].rtp;
            stream.seq = stream.seq.wrapping_add(1);
            stream.time = stream.time.wrapping_add(160);
            out.extend(component.send_rtp(&header, &stream.ssrc.0.to_be_bytes(), self.habits.security));
        }
        out
    }

    /// An RTCP report of the first stream.
    pub(crate) fn report(&mut self) -> Option<Flying> {
        let stream = self.streams.first()?;
        let mut bytes = [0; 256];
        let mut writer = Writer::new(&mut bytes);
        writer.receiver_report(stream.ssrc, &[]).expect("it fits");
        writer.cname(&[stream.ssrc], "user@host.private").expect("it fits");
        let length = writer.length();
        let transport = stream.transport;
        self.send_rtcp(&bytes[..length], transport)
    }

    /// The last packet that its first stream heard was lost, it says (RFC 4585 §6.2.1).
    pub(crate) fn nack(&mut self) -> Option<Flying> {
        let stream = self.streams.first()?;
        let (lost, _) = stream.heard.last()?;
        let words = [0x81CD_0003, stream.ssrc.0, lost.ssrc.0, u32::from(lost.seq.0) << 16];
        let transport = stream.transport;
        self.send_rtcp(&words.map(u32::to_be_bytes).concat(), transport)
    }

    fn send_rtcp(&mut self, plain: &[u8], transport: usize) -> Option<Flying> {
        let transport = &mut self.transports[transport];
        let component = transport.rtcp.as_mut().unwrap_or(&mut transport.rtp);
        component.send(plain, Media::Rtcp, self.habits.security)
    }
}

impl Component {
    fn take(&mut self, path: &MediaPath, now: Instant) {
        if let (Some(agent), Some(ice)) = (&mut self.agent, &path.ice) {
            agent.set_remote_credentials(ice, now).expect("good credentials");
            for candidate in path.candidates.iter().filter(|candidate| candidate.component == self.number) {
                agent.add_remote_candidate(candidate, None, now).expect("a good candidate");
            }
        } else {
            self.agent = None;
            self.to = match self.number {
                Number::Rtp => path.rtp,
                Number::Rtcp => path.rtcp.or(path.rtp.map(|rtp| SocketAddr::new(rtp.ip(), rtp.port() + 1))),
            };
        }
    }

    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        match &self.agent {
            Some(agent) => agent.selected().map(|pair| pair.remote),
            None => self.to,
        }
    }

    pub(crate) fn send_rtp(&mut self, header: &Header, payload: &[u8], security: Security) -> Option<Flying> {
        let mut bytes = vec![0; FIXED_HEADER];
        header.write(&mut bytes).expect("it fits");
        bytes.extend_from_slice(payload);
        self.send(&bytes, Media::Rtp, security)
    }

    pub(crate) fn send(&mut self, plain: &[u8], kind: Media, security: Security) -> Option<Flying> {
        let to = self.destination()?;
        let mut bytes = plain.to_vec();
        bytes.resize(plain.len() + 64, 0);
        let mut packet = Packet::new(&mut bytes, plain.len()).expect("it fits");
        match (&mut self.outbound, security) {
            (Some(outbound), _) => outbound.seal(&mut packet, kind).expect("a good packet"),
            (None, Security::Rtp) => {}
            (None, Security::Sdes | Security::Dtls) => return None,
        }
        Some(Flying { from: self.address, to, bytes: packet.to_vec() })
    }
}

pub(crate) fn components(transports: &mut [Transport]) -> impl Iterator<Item = &mut Component> {
    transports.iter_mut().flat_map(|transport| [Some(&mut transport.rtp), transport.rtcp.as_mut()]).flatten()
}

pub(crate) fn media_stream(id: StreamId, kind: MediaKind) -> MediaStream {
    MediaStream { codecs: codecs(kind), rtcp_reduced_size: true, ..MediaStream::new(id, id.0.to_string(), kind) }
}

pub(crate) fn codecs(kind: MediaKind) -> Vec<Codec> {
    let codec = |number: u8, name: &str, clock| {
        Codec::new(PayloadType::try_from(number).expect("a payload type"), name, clock, 1)
    };
    match kind {
        MediaKind::Audio => vec![codec(0, "PCMU", 8000), codec(101, "telephone-event", 8000)],
        MediaKind::Video => vec![codec(96, "VP8", 90_000)],
    }
}

/// What was heard, by SSRC.
pub(crate) fn by_source(heard: &[(Header, Vec<u8>)]) -> BTreeMap<u32, Vec<u16>> {
    let mut sources: BTreeMap<u32, Vec<u16>> = BTreeMap::new();
    for (header, _) in heard {
        sources.entry(header.ssrc.0).or_default().push(header.seq.0);
    }
    sources
}

pub(crate) const FRAME: Duration = Duration::from_millis(20);
