//! One component of a transport: its sockets, how the peer is reached on them, and what protects what flows.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dtls::{AssociationId, ToDtls};
use ice::Pair;
use lanes::Message;
use media::demux::Media;
use media::packet::Packet;
use media::srtp::{Inbound, MasterKey, Outbound, Tag, Untagged};
use model::{
    CallId, Component as Number, Crypto, DtlsState, Fingerprint, FingerprintVerdict, IceState, LegId, News, SrtpSuite,
    Ssrc, StreamId,
};

use crate::latch::{Latch, Standing};
use crate::resources::{Place, Resources, Socket};
use crate::shared::Source;
use crate::strangers::Strangers;
use crate::{Dropped, SocketId, Transmit};

/// DTLS datagrams that are kept until the answer says whether to believe them.
const MAX_EARLY: usize = 4;

/// Sources of a peer that are known on the shared port; the oldest makes room.
const MAX_SHARED_SOURCES: usize = 16;

/// A component's DTLS datagrams are this far apart in the long run: fifty a second.
const DTLS_PACE: Duration = Duration::from_millis(20);

/// So much of them may come at once: a hundred.
const DTLS_BURST: Duration = Duration::from_secs(2);

/// How long the key before the last is still accepted.
const OLD_KEY_TIME: Duration = Duration::from_secs(5);

/// One component of a transport. The fields stand as a packet needs them, so that it fetches few cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Component {
    protection: Protection,
    path: Path,
    place: Place,
    sockets: Vec<Socket>,
    /// What the shared port knows it by, if it is there.
    sharing: Option<Sharing>,
    dtls: Dtls,
    forget_key_at: Option<Instant>,
    /// When an empty datagram is sent next.
    pierce_at: Option<Instant>,
    /// When the DTLS datagrams that came so far would have come at the pace that is allowed.
    dtls_until: Option<Instant>,
}

/// What the shared port knows a component by.
#[derive(Debug, Default)]
struct Sharing {
    ufrags: Vec<String>,
    sources: VecDeque<Source>,
}

/// How the peer is reached.
#[derive(Debug)]
enum Path {
    /// Not known before the peer's description.
    Unknown,
    /// By ICE.
    Ice {
        agent: Box<ice::Agent>,
        /// Where the selected pair leads, while the peer consents.
        selected: Option<Destination>,
        /// Where DTLS came from last, for answers before a pair is selected.
        dtls_from: Option<Destination>,
    },
    /// At the address the peer named.
    Signalled { socket: SocketId, latch: Latch },
}

/// Where a datagram goes, and from where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Destination {
    pub(crate) from: SocketId,
    pub(crate) to: SocketAddr,
}

/// What protects what flows. Chosen when keys are there, never per packet.
#[derive(Default)]
pub(crate) enum Protection {
    /// Nothing may flow: there are no keys yet, or the peer is not who it should be.
    #[default]
    Nothing,
    /// Plain RTP was agreed on.
    Plain {
        /// The keys before, in case the peer's comes back.
        before: Option<Box<Srtp>>,
    },
    /// SRTP.
    Srtp(Box<Srtp>),
}

/// The keys of both directions.
pub(crate) struct Srtp {
    suite: SrtpSuite,
    inbound: Inbound,
    outbound: Outbound,
    /// Ours and theirs, where they came with the descriptions.
    sdes: Option<(Crypto, Crypto)>,
}

/// What DTLS needs, as far as it was agreed on.
#[derive(Clone, Debug)]
pub(crate) struct DtlsTerms {
    /// Who sends the ClientHello.
    pub(crate) role: dtls::Role,
    /// The peer's certificate must match one of them.
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// The suites that may be negotiated.
    pub(crate) suites: Vec<SrtpSuite>,
    /// What we show.
    pub(crate) certificate: Arc<dtls::Certificate>,
}

#[derive(Debug)]
enum Dtls {
    /// Nothing is agreed on: the peer may be early.
    Undecided { early: Vec<Early> },
    /// Agreed on, and to be opened as soon as packets can flow.
    Agreed { terms: DtlsTerms, early: Vec<Early> },
    /// Open.
    Open { association: AssociationId, terms: DtlsTerms },
    /// Not used, or over.
    None,
}

/// A DTLS datagram that came before it could be looked at. Whether its source may send is judged then: an offer of ICE
/// may be answered without it.
#[derive(Debug)]
struct Early {
    pair: Pair,
    bytes: Vec<u8>,
}

/// What a component calls itself in its news.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    pub(crate) call: CallId,
    pub(crate) leg: LegId,
    pub(crate) stream: StreamId,
}

impl Component {
    /// Makes a component on its sockets. How the peer is reached is not known yet.
    pub(crate) fn new(place: Place, sockets: Vec<Socket>) -> Self {
        Self {
            place,
            sockets,
            sharing: None,
            path: Path::Unknown,
            protection: Protection::Nothing,
            dtls: Dtls::Undecided { early: Vec::new() },
            forget_key_at: None,
            pierce_at: None,
            dtls_until: None,
        }
    }

    /// Makes its sockets those of the shared port.
    pub(crate) fn sharing(self) -> Self {
        Self { sharing: Some(Sharing::default()), ..self }
    }

    /// Ends its association and has its sockets closed, once what is to be sent through them was sent.
    pub(crate) fn close(self, resources: &mut Resources, now: Instant) {
        if let Some(Sharing { ufrags, sources }) = &self.sharing {
            ufrags.iter().for_each(|ufrag| resources.shared.forget_ufrag(ufrag));
            sources.iter().for_each(|source| resources.shared.forget_source(*source, self.place));
        }
        let farewell = match self.dtls {
            Dtls::Open { association, .. } => {
                resources.close_association(association);
                self.dtls_destination().map(|destination| (association, destination))
            }
            Dtls::Undecided { .. } | Dtls::Agreed { .. } | Dtls::None => None,
        };
        resources.retire(self.sockets, farewell, now);
    }

    /// What peers know the first of its sockets by.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.sockets.first().map(|socket| socket.advertised)
    }

    /// Its sockets, as ICE wants to know them.
    pub(crate) fn local_addresses(&self) -> Vec<ice::LocalAddress> {
        self.sockets
            .iter()
            .map(|socket| ice::LocalAddress {
                bound: socket.bound,
                advertised: (socket.advertised != socket.bound).then_some(socket.advertised),
            })
            .collect()
    }

    // How the peer is reached.

    /// Uses ICE.
    pub(crate) fn use_ice(&mut self, agent: ice::Agent) {
        self.path = Path::Ice { agent: Box::new(agent), selected: None, dtls_from: None };
    }

    /// The ICE agent, if ICE is used.
    pub(crate) fn agent(&self) -> Option<&ice::Agent> {
        match &self.path {
            Path::Ice { agent, .. } => Some(agent),
            Path::Unknown | Path::Signalled { .. } => None,
        }
    }

    /// The same, to be changed; [`Component::drain_ice`] has to follow.
    pub(crate) fn agent_mut(&mut self) -> Option<&mut ice::Agent> {
        match &mut self.path {
            Path::Ice { agent, .. } => Some(agent),
            Path::Unknown | Path::Signalled { .. } => None,
        }
    }

    /// Uses the address that the peer named; none at all where it wants nothing sent.
    pub(crate) fn use_signalled(&mut self, latch: Latch, now: Instant) {
        let named = latch.named();
        let fits = |socket: &&Socket| named.is_none_or(|named| named.is_ipv4() == socket.bound.is_ipv4());
        if let Some(socket) = self.sockets.iter().find(fits) {
            let latch = match &self.path {
                Path::Signalled { latch: last, .. } => latch.after(last),
                Path::Unknown | Path::Ice { .. } => latch,
            };
            self.pierce_at = latch.to_pierce().map(|_| now);
            self.path = Path::Signalled { socket: socket.id, latch };
        }
    }

    /// Sends nothing, so that a translator in front of us lets the peer's packets pass.
    fn pierce(&mut self, resources: &mut Resources, now: Instant) {
        const AGAIN: Duration = Duration::from_secs(1);
        let Path::Signalled { socket, latch } = &self.path else { return self.pierce_at = None };
        self.pierce_at = latch.to_pierce().map(|to| {
            resources.transmits.push_back(Transmit { from: *socket, to, bytes: Vec::new() });
            now + AGAIN
        });
    }

    /// Says whether one of its sockets is of the family of an address.
    pub(crate) fn has_family_of(&self, address: SocketAddr) -> bool {
        self.sockets.iter().any(|socket| socket.bound.is_ipv4() == address.is_ipv4())
    }

    /// Where to send.
    pub(crate) fn destination(&self) -> Option<Destination> {
        match &self.path {
            Path::Ice { selected, .. } => *selected,
            Path::Signalled { socket, latch } => latch.destination().map(|to| Destination { from: *socket, to }),
            Path::Unknown => None,
        }
    }

    /// Says whether a source is vouched for, by ICE or by the description.
    pub(crate) fn check_source(&self, from: SocketAddr, bound: SocketAddr, now: Instant) -> Result<Standing, Dropped> {
        match &self.path {
            Path::Ice { agent, .. } if agent.is_validated(Pair { local: bound, remote: from }) => Ok(Standing::Known),
            Path::Ice { .. } => Err(Dropped::UnknownSource),
            Path::Signalled { latch, .. } => latch.standing(from, now),
            Path::Unknown => Err(Dropped::NoAnswer),
        }
    }

    /// Believes a source on trial, if it has shown enough.
    pub(crate) fn learn(&mut self, from: SocketAddr, ssrc: Ssrc, now: Instant) -> Result<(), Dropped> {
        let believed = match &mut self.path {
            Path::Signalled { latch, .. } => latch.learn(from, ssrc, now),
            Path::Ice { .. } | Path::Unknown => true,
        };
        if believed { Ok(()) } else { Err(Dropped::SourceOnTrial) }
    }

    /// Takes a STUN message.
    pub(crate) fn handle_stun(
        &mut self,
        message: &[u8],
        from: SocketAddr,
        bound: SocketAddr,
        name: Name,
        resources: &mut Resources,
        now: Instant,
    ) -> Result<(), Dropped> {
        let pair = Pair { local: bound, remote: from };
        let agent = self.agent_mut().ok_or(Dropped::StunUnexpected)?;
        let is_stranger = !agent.is_validated(pair);
        if is_stranger {
            resources.strangers.admit(from.ip(), now)?;
        }
        let handled = agent.handle_packet(message, pair, now);
        self.drain_ice(name, resources, now);
        match handled {
            Ok(()) => self.share(pair, resources, now),
            Err(_) if is_stranger => resources.strangers.was_wrong(from.ip(), now),
            Err(_) => {}
        }
        handled.map_err(Dropped::from)
    }

    /// Lets the shared port know a source that ICE validated.
    fn share(&mut self, pair: Pair, resources: &mut Resources, now: Instant) {
        let (Some(sharing), Path::Ice { agent, .. }) = (&mut self.sharing, &self.path) else { return };
        let Some(socket) = self.sockets.iter().find(|socket| socket.bound == pair.local) else { return };
        if !agent.is_validated(pair) {
            return;
        }
        let source = (socket.id, pair.remote);
        if !resources.shared.know_by_source(source, self.place, agent.answered_on(pair), now) {
            return resources.count_drop(Dropped::SourceTaken);
        }
        if !sharing.sources.contains(&source) {
            sharing.sources.push_back(source);
        }
        if sharing.sources.len() > MAX_SHARED_SOURCES
            && let Some(oldest) = sharing.sources.pop_front()
        {
            resources.shared.forget_source(oldest, self.place);
        }
    }

    /// Lets the shared port know the user name fragments that checks may come for.
    pub(crate) fn register(&mut self, resources: &mut Resources) {
        let (Some(sharing), Path::Ice { agent, .. }) = (&mut self.sharing, &self.path) else { return };
        for old in sharing.ufrags.extract_if(.., |known| agent.local_ufrags().all(|ufrag| ufrag != known)) {
            resources.shared.forget_ufrag(&old);
        }
        for ufrag in agent.local_ufrags() {
            if !sharing.ufrags.iter().any(|known| known == ufrag) {
                sharing.ufrags.push(ufrag.to_owned());
                resources.shared.know_by_ufrag(ufrag, self.place);
            }
        }
    }

    /// Turns what the ICE agent wants and tells into ours.
    pub(crate) fn drain_ice(&mut self, name: Name, resources: &mut Resources, now: Instant) {
        self.register(resources);
        let Path::Ice { agent, selected, .. } = &mut self.path else { return };
        let socket = |local: SocketAddr| self.sockets.iter().find(|socket| socket.bound == local).map(|s| s.id);
        while let Some(transmit) = agent.poll_transmit() {
            if let Some(from) = socket(transmit.pair.local) {
                if self.sharing.is_some()
                    && let Some(transaction) = ice::stun::transaction_of_request(&transmit.bytes)
                {
                    resources.shared.expect(transaction, self.place, now);
                }
                resources.transmits.push_back(Transmit { from, to: transmit.pair.remote, bytes: transmit.bytes });
            }
        }
        let Name { call, leg, stream } = name;
        let component = self.place.component;
        while let Some(event) = agent.poll_event() {
            match event {
                ice::Event::State(state) => {
                    if state == IceState::Failed {
                        *selected = None;
                    }
                    resources.tell(call, News::Ice { leg, stream, component, state });
                }
                ice::Event::Selected(pair) => {
                    *selected = socket(pair.local).map(|from| Destination { from, to: pair.remote });
                }
                ice::Event::ConsentLost => {
                    *selected = None;
                    resources.tell(call, News::ConsentLost { leg, stream });
                }
            }
        }
        self.open_dtls(name, resources);
    }

    // What protects what flows.

    /// Lets plain RTP flow.
    pub(crate) fn protect_nothing(&mut self, resources: &mut Resources) {
        self.end_dtls(resources);
        let before = match std::mem::take(&mut self.protection) {
            Protection::Nothing => None,
            Protection::Plain { before } => before,
            Protection::Srtp(mut srtp) => {
                srtp.inbound.forget_previous();
                Some(srtp)
            }
        };
        self.protection = Protection::Plain { before };
    }

    /// Uses keys of the descriptions. Those that stay the same go on.
    pub(crate) fn protect_with(&mut self, ours: &Crypto, theirs: &Crypto, resources: &mut Resources, now: Instant) {
        self.end_dtls(resources);
        let (Ok(our_key), Ok(their_key)) = (MasterKey::from_sdes(ours), MasterKey::from_sdes(theirs)) else {
            self.protection = Protection::Nothing; // keys that cannot be used were refused before it came to this
            return;
        };
        if let Protection::Plain { before } = &mut self.protection
            && let Some(mut srtp) = before.take()
        {
            srtp.outbound = Outbound::new(&our_key); // a new one, whose rollover counters the peer expects at zero
            self.protection = Protection::Srtp(srtp);
        }
        let (old_ours, old_theirs) = match self.srtp().and_then(|srtp| srtp.sdes.as_ref()) {
            Some((ours, theirs)) => (Some(ours), Some(theirs)),
            None => (None, None),
        };
        let our_key = (!old_ours.is_some_and(|old| is_unchanged(old, ours))).then_some(our_key);
        let their_key = (!old_theirs.is_some_and(|old| is_unchanged(old, theirs))).then_some(their_key);
        self.replace_keys(our_key, their_key, now);
        if let Protection::Srtp(srtp) = &mut self.protection {
            srtp.suite = theirs.suite;
            srtp.sdes = Some((ours.clone(), theirs.clone()));
        }
    }

    fn srtp(&self) -> Option<&Srtp> {
        match &self.protection {
            Protection::Srtp(srtp) => Some(srtp),
            Protection::Nothing | Protection::Plain { .. } => None,
        }
    }

    /// The suite in use.
    pub(crate) fn suite(&self) -> Option<SrtpSuite> {
        self.srtp().map(|srtp| srtp.suite)
    }

    /// Says whether media can be protected as agreed.
    pub(crate) const fn is_protected(&self) -> bool {
        !matches!(self.protection, Protection::Nothing)
    }

    /// Takes new keys, or leaves a direction as it is. Rollover counters go on (RFC 3711 §3.3.1), and the peer's last key
    /// is still accepted for a while.
    fn replace_keys(&mut self, ours: Option<MasterKey>, theirs: Option<MasterKey>, now: Instant) {
        match (&mut self.protection, ours, theirs) {
            (Protection::Srtp(srtp), ours, theirs) => {
                if let Some(ours) = ours {
                    srtp.outbound.rekey(&ours);
                }
                if let Some(theirs) = theirs {
                    srtp.inbound.rekey(&theirs);
                    self.forget_key_at = Some(now + OLD_KEY_TIME);
                }
            }
            (Protection::Nothing | Protection::Plain { .. }, Some(ours), Some(theirs)) => {
                self.protection = Protection::Srtp(Box::new(Srtp {
                    suite: ours.suite(),
                    inbound: Inbound::new(&theirs),
                    outbound: Outbound::new(&ours),
                    sdes: None,
                }));
            }
            (Protection::Nothing | Protection::Plain { .. }, _, _) => {}
        }
    }

    /// Takes over the RTCP of a component that is given up for muxing: under one key no index is used again.
    pub(crate) fn take_over(&mut self, rtcp: &Self) {
        if let (Protection::Srtp(srtp), Protection::Srtp(other)) = (&mut self.protection, &rtcp.protection) {
            srtp.outbound.go_on_behind(&other.outbound);
        }
    }

    /// What the tag of a packet will be computed of, if it is from a source that is vouched for.
    pub(crate) fn foresee<'a>(
        &'a self,
        from: SocketAddr,
        bound: SocketAddr,
        packet: &'a [u8],
        now: Instant,
    ) -> Option<Message<'a>> {
        let message = self.srtp()?.inbound.foresee(packet)?;
        (self.check_source(from, bound, now) == Ok(Standing::Known)).then_some(message)
    }

    /// Authenticates and decrypts a packet in place; what its tag should be may have been computed ahead.
    pub(crate) fn open(&mut self, packet: &mut Packet<'_>, media: Media, ahead: Option<&Tag>) -> Result<(), Dropped> {
        match &mut self.protection {
            Protection::Nothing => Err(Dropped::NoKeys),
            Protection::Plain { .. } => Ok(()),
            Protection::Srtp(srtp) => Ok(srtp.inbound.open_expecting(packet, media, ahead)?),
        }
    }

    /// The same for a packet whose source is on trial: too many that are wrong are not looked into.
    pub(crate) fn try_open(
        &mut self,
        packet: &mut Packet<'_>,
        media: Media,
        from: IpAddr,
        strangers: &mut Strangers,
        now: Instant,
    ) -> Result<(), Dropped> {
        if self.srtp().is_none() {
            return self.open(packet, media, None);
        }
        strangers.admit(from, now)?;
        self.open(packet, media, None).inspect_err(|_| strangers.was_wrong(from, now))
    }

    /// Encrypts a packet in place and appends its tag, or a place for it.
    pub(crate) fn seal_untagged(&mut self, packet: &mut Packet<'_>, media: Media) -> Result<Option<Untagged>, Dropped> {
        match &mut self.protection {
            Protection::Nothing => Err(Dropped::OtherLegNotReady),
            Protection::Plain { .. } => Ok(None),
            Protection::Srtp(srtp) => Ok(srtp.outbound.seal_untagged(packet, media)?),
        }
    }

    /// Encrypts a packet in place and appends its tag.
    pub(crate) fn seal(&mut self, packet: &mut Packet<'_>, media: Media) -> Result<(), Dropped> {
        match &mut self.protection {
            Protection::Nothing => Err(Dropped::OtherLegNotReady),
            Protection::Plain { .. } => Ok(()),
            Protection::Srtp(srtp) => Ok(srtp.outbound.seal(packet, media)?),
        }
    }

    // DTLS.

    /// Takes what was agreed on about DTLS. An association that fits goes on, another one is replaced (RFC 8842 §3.1):
    /// then it says so.
    pub(crate) fn protect_by_dtls(
        &mut self,
        terms: DtlsTerms,
        afresh: bool,
        name: Name,
        resources: &mut Resources,
    ) -> bool {
        let mut replaced = false;
        if matches!(self.protection, Protection::Plain { .. }) {
            self.protection = Protection::Nothing;
        }
        let early = match std::mem::replace(&mut self.dtls, Dtls::None) {
            Dtls::Undecided { early } | Dtls::Agreed { early, .. } => early,
            Dtls::Open { association, terms: open } if open.goes_on(&terms) && !afresh => {
                self.dtls = Dtls::Open { association, terms };
                return false;
            }
            Dtls::Open { association, .. } => {
                resources.close_association(association);
                replaced = true;
                Vec::new()
            }
            Dtls::None => Vec::new(),
        };
        self.dtls = Dtls::Agreed { terms, early };
        self.open_dtls(name, resources);
        replaced
    }

    /// Sends a STUN request that needs no answer, so that a translator between us and a peer whose ClientHello we wait
    /// for lets it pass (RFC 5763 §6.7.2).
    pub(crate) fn knock(&self, resources: &mut Resources) {
        const BINDING_REQUEST: [u8; 8] = [0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xA4, 0x42];
        if let Some(Destination { from, to }) = self.destination() {
            let mut bytes = BINDING_REQUEST.to_vec();
            bytes.resize(20, 0);
            (resources.random)(&mut bytes[8..]);
            resources.transmits.push_back(Transmit { from, to, bytes });
        }
    }

    /// Leaves DTLS undone while its setup role is `holdconn`.
    pub(crate) fn hold_dtls(&mut self) {
        if matches!(self.protection, Protection::Plain { .. }) {
            self.protection = Protection::Nothing;
        }
    }

    /// Who sends the ClientHello of the association there is.
    pub(crate) fn dtls_role(&self) -> Option<dtls::Role> {
        match &self.dtls {
            Dtls::Agreed { terms, .. } | Dtls::Open { terms, .. } => Some(terms.role),
            Dtls::Undecided { .. } | Dtls::None => None,
        }
    }

    fn end_dtls(&mut self, resources: &mut Resources) {
        if let Dtls::Open { association, .. } = std::mem::replace(&mut self.dtls, Dtls::None) {
            resources.close_association(association);
        }
    }

    /// Opens the association if it is agreed on and packets can flow: a client sends its ClientHello then, a server
    /// may wait for the first one.
    fn open_dtls(&mut self, name: Name, resources: &mut Resources) {
        let reached = self.dtls_destination().is_some();
        let Dtls::Agreed { early, .. } = &self.dtls else { return };
        if !reached && !early.iter().any(|early| self.may_send_dtls(early.pair)) {
            return;
        }
        let Dtls::Agreed { terms, early } = std::mem::replace(&mut self.dtls, Dtls::None) else { return };
        let association = resources.new_association(self.place);
        let DtlsTerms { role, fingerprints, suites, certificate } = terms.clone();
        resources.to_dtls.push_back(ToDtls::Open {
            association,
            role,
            suites,
            fingerprints,
            certificate: Some(certificate),
        });
        self.dtls = Dtls::Open { association, terms };
        self.tell_dtls(name, DtlsState::Handshaking, resources);
        for Early { pair, bytes } in early {
            if self.may_send_dtls(pair) {
                self.greet(pair.remote);
                resources.to_dtls.push_back(ToDtls::Packet { association, bytes });
            } else {
                resources.count_drop(Dropped::UnknownSource);
            }
        }
    }

    /// Takes a DTLS datagram.
    pub(crate) fn handle_dtls(
        &mut self,
        bytes: &[u8],
        from: SocketAddr,
        on: Socket,
        name: Name,
        resources: &mut Resources,
        now: Instant,
    ) -> Result<(), Dropped> {
        let pair = Pair { local: on.bound, remote: from };
        let may_send = self.may_send_dtls(pair);
        if may_send {
            self.pace_dtls(now)?;
            self.greet(from);
        }
        if may_send && let Path::Ice { dtls_from, .. } = &mut self.path {
            *dtls_from = Some(Destination { from: on.id, to: from });
        }
        match &mut self.dtls {
            Dtls::Open { .. } if !may_send => Err(Dropped::UnknownSource),
            Dtls::Open { association, .. } => {
                resources.to_dtls.push_back(ToDtls::Packet { association: *association, bytes: bytes.to_vec() });
                Ok(())
            }
            Dtls::Undecided { early } | Dtls::Agreed { early, .. } if early.len() < MAX_EARLY => {
                early.push(Early { pair, bytes: bytes.to_vec() });
                self.open_dtls(name, resources);
                Ok(())
            }
            Dtls::Undecided { .. } | Dtls::Agreed { .. } => Err(Dropped::DtlsTooEarly),
            Dtls::None => Err(Dropped::DtlsUnexpected),
        }
    }

    /// Takes note of where DTLS came from last, on a component without ICE.
    fn greet(&mut self, from: SocketAddr) {
        match &mut self.path {
            Path::Signalled { latch, .. } => latch.greet(from),
            Path::Ice { .. } | Path::Unknown => {}
        }
    }

    /// Bounds what one peer gives the engine to do, which serves many: nothing in a handshake is authentic before its end.
    fn pace_dtls(&mut self, now: Instant) -> Result<(), Dropped> {
        let until = self.dtls_until.map_or(now, |until| until.max(now));
        if until > now + DTLS_BURST {
            return Err(Dropped::DtlsTooMany);
        }
        self.dtls_until = Some(until + DTLS_PACE);
        Ok(())
    }

    /// Says whether DTLS may come over a pair of addresses: ICE validated it, the description names it, or it may be learnt.
    fn may_send_dtls(&self, pair: Pair) -> bool {
        match &self.path {
            Path::Ice { agent, .. } => agent.is_validated(pair),
            Path::Signalled { latch, .. } => latch.takes_dtls_from(pair.remote),
            Path::Unknown => false,
        }
    }

    /// Where DTLS is sent: it may flow on any valid pair, before one is selected (RFC 8445 §12.1).
    fn dtls_destination(&self) -> Option<Destination> {
        match &self.path {
            Path::Ice { agent, selected, dtls_from } => selected.or(*dtls_from).or_else(|| {
                let pair = agent.valid()?;
                let socket = self.sockets.iter().find(|socket| socket.bound == pair.local)?;
                Some(Destination { from: socket.id, to: pair.remote })
            }),
            Path::Signalled { socket, latch } => latch.dtls_destination().map(|to| Destination { from: *socket, to }),
            Path::Unknown => None,
        }
    }

    /// Takes what the DTLS engine tells of this component's association.
    pub(crate) fn handle_from_dtls(
        &mut self,
        from: dtls::FromDtls,
        name: Name,
        resources: &mut Resources,
        now: Instant,
    ) {
        match from {
            dtls::FromDtls::Transmit { bytes, .. } => {
                if let Some(Destination { from, to }) = self.dtls_destination() {
                    resources.transmits.push_back(Transmit { from, to, bytes });
                } else {
                    resources.count_drop(Dropped::NoDestination);
                }
            }
            dtls::FromDtls::Connected { suite, keys, .. } => {
                self.believe(suite, &keys, now);
                if let Path::Signalled { latch, .. } = &mut self.path {
                    latch.learn_greeted();
                }
                let fingerprint = FingerprintVerdict::Matched;
                self.tell_dtls(name, DtlsState::Connected { suite, fingerprint }, resources);
            }
            dtls::FromDtls::Refused { association, suite, verdict } => {
                resources.forget_association(association);
                self.dtls = Dtls::None;
                self.protection = Protection::Nothing;
                self.tell_dtls(name, DtlsState::Connected { suite, fingerprint: verdict }, resources);
            }
            dtls::FromDtls::Failed { association, .. } => {
                resources.forget_association(association);
                self.dtls = Dtls::None;
                self.tell_dtls(name, DtlsState::Failed, resources);
            }
            dtls::FromDtls::Closed { association } => {
                resources.forget_association(association);
                self.dtls = Dtls::None;
                self.protection = Protection::Nothing; // what comes after a close_notify counts no more
                self.tell_dtls(name, DtlsState::Closed, resources);
            }
        }
    }

    /// Takes the keys of a handshake with the peer whose certificate was promised: only now media is believed
    /// (RFC 5763 §5, RFC 8122 §6.2).
    fn believe(&mut self, suite: SrtpSuite, keys: &dtls::SrtpKeys, now: Instant) {
        let master = |key_and_salt: &[u8]| {
            let (key, salt) = key_and_salt.split_at_checked(suite.key_length())?;
            MasterKey::new(suite, key, salt).ok()
        };
        let (Some(ours), Some(theirs)) = (master(keys.local.reveal()), master(keys.remote.reveal())) else {
            self.protection = Protection::Nothing;
            return;
        };
        let outbound = Outbound::new(&ours);
        self.replace_keys(Some(ours), Some(theirs), now);
        if let Protection::Srtp(srtp) = &mut self.protection {
            // Another association is another SRTP session: its rollover counters begin at zero (RFC 5764 §3).
            (srtp.outbound, srtp.suite, srtp.sdes) = (outbound, suite, None);
        }
    }

    fn tell_dtls(&self, name: Name, state: DtlsState, resources: &mut Resources) {
        let Name { call, leg, stream } = name;
        resources.tell(call, News::Dtls { leg, stream, component: self.place.component, state });
    }

    // Time.

    /// When [`Component::handle_timeout`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let agent = self.agent().and_then(ice::Agent::poll_timeout);
        agent.into_iter().chain(self.forget_key_at).chain(self.pierce_at).min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, name: Name, resources: &mut Resources, now: Instant) {
        if self.forget_key_at.is_some_and(|at| at <= now) {
            self.forget_key_at = None;
            if let Protection::Srtp(srtp) = &mut self.protection {
                srtp.inbound.forget_previous();
            }
        }
        if self.pierce_at.is_some_and(|at| at <= now) {
            self.pierce(resources, now);
        }
        if let Some(agent) = self.agent_mut()
            && agent.poll_timeout().is_some_and(|at| at <= now)
        {
            agent.handle_timeout(now);
            self.drain_ice(name, resources, now);
        }
    }

    /// Which component this is.
    pub(crate) const fn number(&self) -> Number {
        self.place.component
    }

    /// The socket of a number.
    pub(crate) fn socket(&self, id: SocketId) -> Option<Socket> {
        self.sockets.iter().copied().find(|socket| socket.id == id)
    }
}

/// Says whether two lines come to the same, whatever their tags.
fn is_unchanged(one: &Crypto, other: &Crypto) -> bool {
    let parts = |key: &Crypto| (key.suite, key.mki, key.lifetime, key.unencrypted_srtcp);
    one.key_and_salt == other.key_and_salt && parts(one) == parts(other)
}

impl DtlsTerms {
    /// Says whether an association of these terms serves other ones too: same role, same certificates
    /// (RFC 8842 §3.1).
    fn goes_on(&self, other: &Self) -> bool {
        let promised = |terms: &Self, fingerprint| terms.fingerprints.contains(fingerprint);
        self.role == other.role
            && self.fingerprints.iter().all(|fingerprint| promised(other, fingerprint))
            && other.fingerprints.iter().all(|fingerprint| promised(self, fingerprint))
    }
}

impl std::fmt::Debug for Protection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => f.write_str("Nothing"),
            Self::Plain { .. } => f.write_str("Plain"),
            Self::Srtp(srtp) => f.debug_tuple("Srtp").field(&srtp.suite).finish(),
        }
    }
}
