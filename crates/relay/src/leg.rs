//! One leg of a call: its offers and answers (RFC 3264), its streams and the transports that carry them.
//!
//! ```text
//! peer offers:  RemoteOffer -> (candidates) -> LocalAnswer -> agreed
//! we offer:     LocalOffer  -> (candidates) -> RemoteAnswer -> agreed (-> another RemoteAnswer -> agreed)
//! either:       the same side offers again -> that offer in place of the first
//! either:       Rollback -> as it was before
//! either:       Renew -> the next of these is with somebody else, on transports of its own
//! ```
//!
//! Nothing agreed on changes before the answer, and nothing at all if that cannot be carried out.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::demux::Media;
use media::rewrite::Numbers;
use media::rtcp::PictureRequests;
use media::rtp::Header;
use model::{
    AddressFamily, Candidate, CommandError, Description, Direction, IceParameters, IceRole, LegId, LegPolicy,
    LegStatistics, MediaKind, MediaPath, MediaStream, Mute, Numbering, PathPolicy, Reporting, RestartedPath, Security,
    StreamId,
};
use smallvec::SmallVec;

use crate::component::{Destination, Name};
use crate::drops::Drops;
use crate::keypress::KeyPresses;
use crate::negotiation::{self, Keying, MAX_STREAMS, Policy};
use crate::report;
use crate::resources::{Place, Resources, Side, Work};
use crate::stream::LegStream;
use crate::transport::{NewTransport, Terms, Transport};
use crate::{Address, CertificatePolicy, Dropped, Traffic};

/// Candidates of a path that are kept, as many as ICE keeps of two components.
const MAX_CANDIDATES: usize = 128;

/// Trickled candidates that are kept until the answer.
const MAX_EARLY_CANDIDATES: usize = 64;

/// One leg of a call; what every packet needs stands at the beginning. The usual one stream on its one transport lie in
/// the leg itself, so that a packet finds all it needs without following pointers from one cold place to the next.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    /// Whether its silence was told.
    pub(crate) told_silence: bool,
    /// When something of the peer was last believed, or the call began; nothing before.
    pub(crate) silent_since: Option<Instant>,
    /// RTCP packets of its peer that were believed, and their bytes.
    pub(crate) rtcp_received: (u64, u64),
    /// Key presses on their way to the peer.
    pub(crate) key_presses: KeyPresses,
    /// Its streams, agreed on or offered by us.
    pub(crate) streams: SmallVec<[LegStream; 1]>,
    transports: SmallVec<[Option<Transport>; 1]>,
    /// The canonical name of all we send to this leg (RFC 7022).
    pub(crate) cname: String,
    /// When to see whether RTCP is due.
    pub(crate) report_at: Option<Instant>,
    /// We report to its peer, and take its reports.
    pub(crate) terminates: bool,
    /// What to add to its peer's NTP times to get ours; nothing before its first sender report.
    pub(crate) clock_offset: Option<u64>,
    place: Place,
    name: Name,
    policy: LegPolicy,
    /// What we show; none where the policy has no DTLS.
    certificate: Option<Arc<dtls::Certificate>>,
    addresses: Vec<Address>,
    exchange: Exchange,
    early: Vec<EarlyCandidate>,
    hold: Direction,
    /// What of its peer's media is not to be heard.
    pub(crate) mute: Mute,
    we_offered_first: Option<bool>,
    /// Somebody else is about to take the peer's place: the transports of the streams that were offered to it.
    renewal: Option<Vec<(StreamId, usize)>>,
    /// Why packets of this leg's peer went no further, once one did not.
    dropped: Option<Box<Drops>>,
}

/// Where offer and answer are.
#[derive(Debug)]
enum Exchange {
    /// Nothing was offered yet, or everything was answered by us.
    Settled,
    /// The peer's offer waits for our answer.
    PeerOffers(Description),
    /// Our offer waits for the peer's answer.
    WeOffer(Description),
    /// Our offer was answered; the peer may still answer otherwise.
    WeOffered(Description),
}

/// A candidate that came before the answer.
#[derive(Debug)]
struct EarlyCandidate {
    stream: StreamId,
    ufrag: Option<String>,
    what: EarlyNews,
}

#[derive(Debug)]
enum EarlyNews {
    Candidate(Candidate),
    End,
}

/// A stream with the transport that carries it.
pub(crate) struct Outlet<'a> {
    pub(crate) stream: &'a mut LegStream,
    pub(crate) transport: &'a mut Transport,
}

/// One transport's part of an exchange, decided but not carried out.
struct Decision {
    streams: Vec<StreamId>,
    transport: usize,
    terms: Terms,
}

impl Leg {
    /// Makes a leg that holds nothing yet.
    ///
    /// # Errors
    ///
    /// The relay has no address of the name that the policy asks for, or cannot make a certificate.
    pub(crate) fn new(
        call: model::CallId,
        at: usize,
        side: Side,
        policy: LegPolicy,
        resources: &mut Resources,
    ) -> Result<Self, CommandError> {
        let named = |address: &&Address| policy.address.is_none() || policy.address == address.name;
        let mut addresses: Vec<Address> = resources.config.addresses.iter().filter(named).cloned().collect();
        // A peer that is told one address, before it has named one of its own, is told one of the family it signals in.
        let family = policy.family.or(policy.sender.map(AddressFamily::of));
        addresses.sort_by_key(|ours| family.is_some_and(|family| family != AddressFamily::of(ours.bind)));
        if addresses.is_empty() {
            return Err(CommandError::NoUsableAddress);
        }
        // One that goes by several names is told in the first way.
        let mut bound = HashSet::new();
        addresses.retain(|ours| bound.insert(ours.bind));
        let certificate = match &resources.config.certificates {
            CertificatePolicy::PerProcess(certificate) => Some(Arc::clone(certificate)),
            CertificatePolicy::PerCall if policy.security.contains(&Security::Dtls) => {
                Some(Arc::new(dtls::Certificate::generate().map_err(|_| CommandError::NoUsableKey)?))
            }
            CertificatePolicy::PerCall => None,
        };
        let mut cname = [0; 16];
        (resources.random)(&mut cname[4..]); // 96 bits (RFC 7022 §4.2)
        Ok(Self {
            id: policy.leg,
            streams: SmallVec::new(),
            cname: format!("{:024x}", u128::from_be_bytes(cname)),
            dropped: None,
            silent_since: None,
            rtcp_received: (0, 0),
            told_silence: false,
            report_at: None,
            key_presses: KeyPresses::default(),
            terminates: false,
            clock_offset: None,
            place: Place { call: at, side, transport: 0, component: model::Component::Rtp },
            name: Name { call, leg: policy.leg, stream: StreamId(0) },
            policy,
            certificate,
            addresses,
            exchange: Exchange::Settled,
            transports: SmallVec::new(),
            early: Vec::new(),
            hold: Direction::SendRecv,
            mute: Mute::default(),
            we_offered_first: None,
            renewal: None,
        })
    }

    /// Closes everything.
    pub(crate) fn close(&mut self, work: &mut Work<'_>) {
        self.renewal = None;
        self.keep(|_| false, work);
        self.close_unused(work);
    }

    /// Takes leave of the streams that are not to be kept.
    fn keep(&mut self, stays: impl Fn(&LegStream) -> bool, work: &mut Work<'_>) {
        let gone: Vec<StreamId> = self.streams.iter().filter(|stream| !stays(stream)).map(|stream| stream.id).collect();
        for place in self.places().filter(|_| !gone.is_empty()) {
            report::say_goodbye(self, place, &gone, work.resources, work.now);
        }
        self.keep_streams(work.resources, stays);
    }

    /// By whose numbers its peer knows what it is sent.
    pub(crate) const fn numbers(&self) -> Numbers {
        match self.policy.numbering {
            Numbering::Relay => Numbers::Ours,
            Numbering::Source => Numbers::Source,
        }
    }

    /// Says whether the relay is to report to its peer, as the policy asks.
    pub(crate) fn wants_reports(&self) -> bool {
        self.policy.reporting == Reporting::Terminated
    }

    // Offers and answers.

    /// Has the next exchange be with somebody else, who takes the peer's place if it comes to an agreement. Until then
    /// everything goes on as it is.
    pub(crate) fn renew(&mut self) -> Result<(), CommandError> {
        if self.has_open_offer() {
            return Err(CommandError::OutOfOrder);
        }
        self.renewal = Some(Vec::new());
        Ok(())
    }

    /// The transport of a stream in the exchange that goes on.
    fn place_of(&self, id: StreamId) -> Option<usize> {
        match &self.renewal {
            Some(places) => places.iter().find(|(other, _)| *other == id).map(|(_, place)| *place),
            None => self.stream(id).map(|stream| stream.transport),
        }
    }

    /// Takes the peer's offer. Nothing changes before our answer.
    pub(crate) fn remote_offer(&mut self, offer: Description, work: &mut Work<'_>) -> Result<(), CommandError> {
        if matches!(self.exchange, Exchange::WeOffer(_)) {
            return Err(CommandError::OutOfOrder);
        }
        let offered = offer.streams.iter().filter(|stream| !stream.rejected);
        let considered: Vec<_> = offered.map(|stream| self.consider(&offer, stream.id)).collect();
        if let Some(refusal) = considered.iter().find_map(|verdict| verdict.clone().err())
            && !considered.contains(&Ok(()))
        {
            return Err(refusal);
        }
        self.we_offered_first.get_or_insert(false);
        self.early.clear();
        self.exchange = Exchange::PeerOffers(bounded(offer, work.resources));
        Ok(())
    }

    /// Says whether a stream of the peer's offer could be accepted at all.
    fn consider(&self, offer: &Description, id: StreamId) -> Result<(), CommandError> {
        let path = negotiation::path(offer, id).ok_or(CommandError::UnknownStream)?;
        self.negotiable().ice(path)?;
        self.negotiable().choose(path).map(|_| ())
    }

    /// Answers the peer's offer.
    pub(crate) fn local_answer(
        &mut self,
        mut answer: Description,
        work: &mut Work<'_>,
    ) -> Result<Description, CommandError> {
        let Exchange::PeerOffers(offer) = &self.exchange else { return Err(CommandError::OutOfOrder) };
        if !negotiation::fits(&answer, offer) {
            return Err(CommandError::AnswerMismatch);
        }
        let offer = offer.clone();
        for (place, stream) in answer.streams.iter_mut().enumerate() {
            let offered = negotiation::stream(&offer, stream.id).is_some_and(|offered| !offered.rejected);
            stream.rejected |= !offered || place >= MAX_STREAMS || self.consider(&offer, stream.id).is_err();
        }
        let new = |stream: &&MediaStream| !stream.rejected && self.stream(stream.id).is_none();
        if answer.streams.iter().filter(new).count() > work.resources.room_for_streams() {
            return Err(CommandError::TooManyStreams);
        }
        let decisions = match self.decide_on_offer(&offer, &answer, work) {
            Ok(decisions) => decisions,
            Err(error) => {
                self.renewal = None;
                self.close_unused(work);
                return Err(error);
            }
        };
        self.carry_out(decisions, &answer, &offer, work);
        self.exchange = Exchange::Settled;
        for stream in &mut answer.streams {
            let transport = self.transport_of(stream.id);
            stream.path = transport.map(|transport| transport.answer(policy_of(&self.policy))).unwrap_or_default();
        }
        answer.bundle.retain(|id| self.streams.iter().any(|stream| stream.id == *id));
        Ok(answer)
    }

    fn decide_on_offer(
        &mut self,
        offer: &Description,
        answer: &Description,
        work: &mut Work<'_>,
    ) -> Result<Vec<Decision>, CommandError> {
        let mut decisions: Vec<Decision> = Vec::new();
        for streams in negotiation::groups(answer, offer) {
            let path = streams.first().and_then(|id| negotiation::path(offer, *id));
            let path = path.ok_or(CommandError::UnknownStream)?;
            let present = streams.iter().find_map(|id| self.place_of(*id));
            let present = present.filter(|place| decisions.iter().all(|decision| decision.transport != *place));
            let policy = policy_of(&self.policy);
            let mux = self.policy.rtcp_mux;
            let transport = present.and_then(|place| self.transports.get(place)?.as_ref());
            let terms = Transport::consider_offer(transport, policy, path, mux, work.resources)?;
            let transport = match present {
                Some(place) => place,
                None => {
                    let kinds =
                        streams.iter().filter_map(|id| negotiation::stream(answer, *id)).map(|stream| stream.kind);
                    let place = self.open_transport(Some(path), !terms.rtcp_mux, self.traffic(kinds), work)?;
                    if let Some(places) = &mut self.renewal {
                        places.extend(streams.iter().map(|id| (*id, place)));
                    }
                    place
                }
            };
            decisions.push(Decision { streams, transport, terms });
        }
        Ok(decisions)
    }

    /// Offers.
    pub(crate) fn local_offer(
        &mut self,
        mut offer: Description,
        work: &mut Work<'_>,
    ) -> Result<Description, CommandError> {
        if matches!(self.exchange, Exchange::PeerOffers(_)) {
            return Err(CommandError::OutOfOrder);
        }
        self.early.clear();
        self.exchange = Exchange::Settled;
        let offered = |id| negotiation::stream(&offer, id).is_some_and(|stream| !stream.rejected);
        self.keep_streams(work.resources, |stream| stream.agreed.is_some() || offered(stream.id));
        self.close_unused(work);
        let before = self.we_offered_first;
        self.we_offered_first.get_or_insert(true);
        for stream in offer.streams.iter().filter(|stream| !stream.rejected) {
            if let Err(error) = self.make_ready(stream, &offer.bundle, work) {
                self.we_offered_first = before;
                self.renewal = None;
                self.forget_unanswered(work);
                return Err(error);
            }
        }
        let policy = policy_of(&self.policy);
        for stream in &mut offer.streams {
            let place = self.place_of(stream.id);
            let transport = place.and_then(|place| self.transports.get_mut(place)?.as_mut());
            stream.path = match transport {
                Some(transport) if !stream.rejected => {
                    let security = policy.security.first().copied().unwrap_or(model::Security::Rtp);
                    let profile = negotiation::offered_profile(security, stream);
                    transport.offer(policy, self.policy.rtcp_mux, profile, work.resources)
                }
                Some(_) | None => MediaPath::default(),
            };
        }
        offer.bundle.retain(|id| self.streams.iter().any(|stream| stream.id == *id));
        self.exchange = Exchange::WeOffer(offer.clone());
        Ok(offer)
    }

    /// Gives a stream that we offer a transport: that of the bundle it joins, or one of its own until the answer
    /// decides (RFC 8843 §7.2).
    fn make_ready(
        &mut self,
        stream: &MediaStream,
        bundle: &[StreamId],
        work: &mut Work<'_>,
    ) -> Result<(), CommandError> {
        if self.place_of(stream.id).is_some() {
            return Ok(());
        }
        if self.streams.len() >= MAX_STREAMS || work.resources.room_for_streams() == 0 {
            return Err(CommandError::TooManyStreams);
        }
        let is_bundled = |id: StreamId| bundle.contains(&stream.id) && bundle.contains(&id);
        let joined = match &self.renewal {
            Some(places) => places.iter().find(|(id, _)| is_bundled(*id)).map(|(_, place)| *place),
            None => {
                let known = self.streams.iter().find(|known| known.agreed.is_some() && is_bundled(known.id));
                known.map(|known| known.transport)
            }
        };
        let transport = match joined {
            Some(transport) => transport,
            None => self.open_transport(None, !self.policy.rtcp_mux_only, self.traffic([stream.kind]), work)?,
        };
        if let Some(places) = &mut self.renewal {
            places.push((stream.id, transport));
        }
        if self.stream(stream.id).is_none() {
            let new = LegStream::new(stream.id, stream.kind, transport, &mut work.resources.random);
            self.add_stream(new, work.resources);
        }
        Ok(())
    }

    /// Takes the peer's answer to our offer, or another one instead of the last.
    pub(crate) fn remote_answer(&mut self, answer: Description, work: &mut Work<'_>) -> Result<(), CommandError> {
        let answer = &bounded(answer, work.resources);
        let (Exchange::WeOffer(offer) | Exchange::WeOffered(offer)) = &self.exchange else {
            return Err(CommandError::OutOfOrder);
        };
        if !negotiation::fits(answer, offer) {
            return Err(CommandError::AnswerMismatch);
        }
        let again = matches!(self.exchange, Exchange::WeOffered(_));
        let offer = offer.clone();
        let mut decisions: Vec<Decision> = Vec::new();
        for streams in negotiation::groups(answer, &offer) {
            let id = *streams.first().ok_or(CommandError::UnknownStream)?;
            let place = self.place_of(id).ok_or(CommandError::AnswerMismatch)?;
            if decisions.iter().any(|decision| decision.transport == place) {
                return Err(CommandError::AnswerMismatch); // of one bundle it cannot make two transports
            }
            let transport = self.transports.get(place).and_then(Option::as_ref).ok_or(CommandError::AnswerMismatch)?;
            let answered = negotiation::path(answer, id).ok_or(CommandError::UnknownStream)?;
            let offered = &negotiation::stream(&offer, id).ok_or(CommandError::UnknownStream)?.path;
            let policy = policy_of(&self.policy);
            let terms = transport.consider_answer(policy, offered, answered, work.resources)?;
            decisions.push(Decision { streams, transport: place, terms: Terms { again, ..terms } });
        }
        self.carry_out(decisions, &offer, answer, work);
        self.exchange = Exchange::WeOffered(offer);
        Ok(())
    }

    /// Brings into force what was decided. `local` and `remote` are the two descriptions, whoever offered.
    fn carry_out(&mut self, decisions: Vec<Decision>, local: &Description, remote: &Description, work: &mut Work<'_>) {
        let touched = |id: StreamId| negotiation::stream(local, id).is_some();
        let accepted = |id: StreamId| decisions.iter().any(|decision| decision.streams.contains(&id));
        // Nobody is left who would have what the new peer has not.
        let stays = self.renewal.take().is_none();
        self.keep(|stream| stays && !touched(stream.id) || accepted(stream.id), work);
        for Decision { streams, transport, terms } in decisions {
            for id in &streams {
                let (Some(ours), Some(theirs)) = (negotiation::stream(local, *id), negotiation::stream(remote, *id))
                else {
                    continue;
                };
                if self.stream(*id).is_none() {
                    let stream = LegStream::new(*id, ours.kind, transport, &mut work.resources.random);
                    self.add_stream(stream, work.resources);
                }
                if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == *id) {
                    stream.transport = transport;
                    stream.agree(ours.clone(), theirs.clone());
                }
            }
            let name = self.name_of(transport);
            if let Some(transport) = self.transports.get_mut(transport).and_then(Option::as_mut) {
                transport.agree(terms, policy_of(&self.policy), name, work);
            }
        }
        self.close_unused(work);
        self.add_early_candidates(work);
        report::begin(self, work.resources, work.now);
        self.report_at = self.next_report(work.now);
    }

    /// Gives up the offer that is open.
    pub(crate) fn rollback(&mut self, work: &mut Work<'_>) -> Result<(), CommandError> {
        if !self.has_open_offer() {
            return Err(CommandError::OutOfOrder);
        }
        self.exchange = Exchange::Settled;
        self.renewal = None;
        self.early.clear();
        self.forget_unanswered(work);
        if self.streams.is_empty() {
            self.we_offered_first = None;
        }
        Ok(())
    }

    /// Takes away the streams that only our open offer has.
    fn forget_unanswered(&mut self, work: &mut Work<'_>) {
        self.keep_streams(work.resources, |stream| stream.agreed.is_some());
        self.close_unused(work);
    }

    const fn has_open_offer(&self) -> bool {
        self.renewal.is_some() || matches!(self.exchange, Exchange::PeerOffers(_) | Exchange::WeOffer(_))
    }

    // Candidates and ICE restarts.

    /// Takes trickled candidates. Those that come before the answer are kept for it.
    pub(crate) fn add_candidates(
        &mut self,
        stream: StreamId,
        ufrag: Option<&str>,
        candidates: Vec<Candidate>,
        end: bool,
        work: &mut Work<'_>,
    ) -> Result<(), CommandError> {
        let known = self.stream(stream).map(|known| (known.transport, known.agreed.is_some()));
        let offered = match &self.exchange {
            Exchange::PeerOffers(offer) | Exchange::WeOffer(offer) => negotiation::stream(offer, stream).is_some(),
            Exchange::Settled | Exchange::WeOffered(_) => false,
        };
        match known {
            Some((transport, true)) => self.add_to_transport(transport, ufrag, &candidates, end, work),
            _ if offered => {
                let end = end.then_some(EarlyNews::End);
                for what in candidates.into_iter().map(EarlyNews::Candidate).chain(end) {
                    if self.early.len() == MAX_EARLY_CANDIDATES {
                        work.resources.count_drop(Dropped::CandidateTooMany);
                    } else {
                        self.early.push(EarlyCandidate { stream, ufrag: ufrag.map(str::to_owned), what });
                    }
                }
            }
            Some((_, false)) | None => return Err(CommandError::UnknownStream),
        }
        Ok(())
    }

    fn add_early_candidates(&mut self, work: &mut Work<'_>) {
        for EarlyCandidate { stream, ufrag, what } in std::mem::take(&mut self.early) {
            let Some(transport) = self.stream(stream).map(|stream| stream.transport) else { continue };
            match what {
                EarlyNews::Candidate(candidate) => {
                    self.add_to_transport(transport, ufrag.as_deref(), &[candidate], false, work);
                }
                EarlyNews::End => self.add_to_transport(transport, ufrag.as_deref(), &[], true, work),
            }
        }
    }

    fn add_to_transport(
        &mut self,
        transport: usize,
        ufrag: Option<&str>,
        candidates: &[Candidate],
        end: bool,
        work: &mut Work<'_>,
    ) {
        let name = self.name_of(transport);
        let Some(transport) = self.transports.get_mut(transport).and_then(Option::as_mut) else { return };
        for candidate in candidates {
            transport.add_candidate(candidate, ufrag, name, work.resources, work.now);
        }
        if end {
            transport.end_of_candidates(name, work.resources, work.now);
        }
    }

    /// Restarts ICE on a stream's transport or on all, or takes the peer's answer to that.
    pub(crate) fn restart_ice(
        &mut self,
        stream: Option<StreamId>,
        remote: Option<&IceParameters>,
        work: &mut Work<'_>,
    ) -> Result<Vec<RestartedPath>, CommandError> {
        if let Some(remote) = remote {
            ice::check_credentials(remote).map_err(|_| CommandError::NoUsableKey)?;
        }
        let only = match stream {
            Some(id) => Some(self.stream(id).ok_or(CommandError::UnknownStream)?.transport),
            None => None,
        };
        let mut restarted = Vec::new();
        for place in self.places().filter(|place| only.is_none_or(|only| only == *place)) {
            let name = self.name_of(place);
            let Some(transport) = self.transports.get_mut(place).and_then(Option::as_mut) else { continue };
            if transport.terms().is_none() {
                continue; // not answered yet: there is nothing to restart
            }
            if let Some(ice) = transport.restart_ice(remote, name, work) {
                restarted.push(RestartedPath { stream: name.stream, ice, candidates: transport.local_candidates() });
            }
        }
        if restarted.is_empty() { Err(CommandError::IceRequired) } else { Ok(restarted) }
    }

    // What flows.

    /// Narrows which way media may flow, until the next time.
    pub(crate) fn set_hold(&mut self, hold: Direction) {
        self.hold = hold;
    }

    /// Takes away a stream; says whether there was one.
    pub(crate) fn remove_stream(&mut self, id: StreamId, work: &mut Work<'_>) -> bool {
        let before = self.streams.len();
        self.keep(|stream| stream.id != id, work);
        self.close_unused(work);
        self.streams.len() < before
    }

    /// Which way each stream may flow now.
    pub(crate) fn hold(&self) -> Direction {
        self.hold
    }

    /// Says whether it has an answer.
    pub(crate) fn is_agreed(&self) -> bool {
        self.streams.iter().any(|stream| stream.agreed.is_some())
    }

    /// When the next report of ours is due; one that could not be sent is tried again a second later.
    pub(crate) fn next_report(&self, now: Instant) -> Option<Instant> {
        const AGAIN: Duration = Duration::from_secs(1);
        let due = |transport: &Transport| transport.rtcp.due.map(|due| due.max(now + AGAIN));
        self.transports.iter().flatten().filter_map(due).min()
    }

    /// Where RTCP is sent from a transport, if it can be protected.
    pub(crate) fn rtcp_destination(&mut self, place: usize) -> Option<Destination> {
        let component = self.transport_mut(place)?.carrier(Media::Rtcp);
        component.destination().filter(|_| component.is_protected())
    }

    /// How the peer may be asked for a picture of the streams on a transport.
    pub(crate) fn pictures(&self, place: usize) -> PictureRequests {
        let on = self.streams.iter().filter(|stream| stream.transport == place);
        on.filter_map(|stream| stream.agreed.as_deref()).fold(PictureRequests::default(), |all, agreed| {
            PictureRequests { loss: all.loss || agreed.pictures.loss, intra: all.intra || agreed.pictures.intra }
        })
    }

    /// Begins to wait for media, when the call begins and when the peer, from whom none was expected, may send again.
    pub(crate) fn listen(&mut self, expected: bool, now: Instant) {
        if self.silent_since.is_none() || (self.expects_media() && !expected) {
            self.silent_since = Some(now);
        }
    }

    /// Says whether the peer is expected to send.
    pub(crate) fn expects_media(&self) -> bool {
        self.streams.iter().any(|stream| stream.receives)
    }

    /// Whether its media authenticates itself.
    pub(crate) fn is_secure(&self, stream: &LegStream) -> bool {
        self.transport(stream.transport)
            .and_then(Transport::terms)
            .is_some_and(|terms| !matches!(terms.keying, Keying::Plain))
    }

    /// The stream that an RTP packet on a transport belongs to: the only one there, or as RFC 8843 §9.2 says: that of
    /// its SSRC, unless it names another by MID, else the only one with its payload type.
    pub(crate) fn stream_of(
        &mut self,
        place: usize,
        header: &Header,
        packet: &[u8],
    ) -> Result<&mut LegStream, Dropped> {
        let Self { streams, transports, .. } = self;
        let transport = transports.get_mut(place).and_then(Option::as_mut).ok_or(Dropped::NoAnswer)?;
        let on = |stream: &&LegStream| stream.transport == place && stream.agreed.is_some();
        let id = match streams.iter().filter(on).count() {
            0 => return Err(Dropped::NoAnswer),
            1 => streams.iter().find(on).map(|stream| stream.id),
            _ => {
                let named = streams.iter().filter(on).find(|stream| stream.is_named_by(header, packet));
                let bound = named.map(|stream| stream.id).or_else(|| transport.binding(header.ssrc));
                let claimed = bound.or_else(|| {
                    let mut claims = streams.iter().filter(on).filter(|stream| stream.knows(header.payload_type));
                    claims.next().filter(|_| claims.next().is_none()).map(|stream| stream.id)
                });
                if let Some(stream) = claimed {
                    transport.bind(header.ssrc, stream);
                }
                claimed
            }
        };
        streams.iter_mut().find(|stream| Some(stream.id) == id).ok_or(Dropped::UnknownStream)
    }

    fn add_stream(&mut self, stream: LegStream, resources: &mut Resources) {
        self.streams.push(stream);
        resources.counters.streams += 1;
    }

    fn keep_streams(&mut self, resources: &mut Resources, mut keep: impl FnMut(&LegStream) -> bool) {
        let before = self.streams.len();
        self.streams.retain(|stream| keep(stream));
        resources.counters.streams -= before - self.streams.len();
    }

    // Its parts.

    /// The stream of a number.
    pub(crate) fn stream(&self, id: StreamId) -> Option<&LegStream> {
        self.streams.iter().find(|stream| stream.id == id)
    }

    /// The same, to be changed.
    pub(crate) fn stream_mut(&mut self, id: StreamId) -> Option<&mut LegStream> {
        self.streams.iter_mut().find(|stream| stream.id == id)
    }

    /// A stream with the transport that carries it.
    pub(crate) fn outlet(&mut self, id: StreamId) -> Option<Outlet<'_>> {
        let stream = self.streams.iter_mut().find(|stream| stream.id == id && stream.agreed.is_some())?;
        let transport = self.transports.get_mut(stream.transport)?.as_mut()?;
        Some(Outlet { stream, transport })
    }

    /// The transport at a place.
    pub(crate) fn transport(&self, place: usize) -> Option<&Transport> {
        self.transports.get(place)?.as_ref()
    }

    /// The same, to be changed.
    pub(crate) fn transport_mut(&mut self, place: usize) -> Option<&mut Transport> {
        self.transports.get_mut(place)?.as_mut()
    }

    fn transport_of(&self, id: StreamId) -> Option<&Transport> {
        self.transport(self.stream(id)?.transport)
    }

    /// The places of its transports, some of which may be free.
    pub(crate) fn places(&self) -> Range<usize> {
        0..self.transports.len()
    }

    /// What a transport calls itself in its news: the first stream that it carries.
    pub(crate) fn name_of(&self, place: usize) -> Name {
        let first = self.streams.iter().filter(|stream| stream.transport == place).map(|stream| stream.id).min();
        Name { stream: first.unwrap_or(self.name.stream), ..self.name }
    }

    /// What a transport of such streams carries: as soon as there is sound it is sound.
    fn traffic(&self, kinds: impl IntoIterator<Item = MediaKind>) -> Traffic {
        match self.policy.traffic_class {
            Some(tos) => Traffic::Marked(tos),
            None if kinds.into_iter().all(|kind| kind == MediaKind::Video) => Traffic::Video,
            None => Traffic::Audio,
        }
    }

    /// Opens a transport towards a peer of which we know the path, or nothing yet.
    fn open_transport(
        &mut self,
        peer: Option<&MediaPath>,
        separate_rtcp: bool,
        traffic: Traffic,
        work: &mut Work<'_>,
    ) -> Result<usize, CommandError> {
        let policy = policy_of(&self.policy);
        let place = self.transports.iter().position(Option::is_none).unwrap_or(self.transports.len());
        let uses_ice = match peer {
            Some(path) => policy.ice(path)?.is_some(),
            None => matches!(self.policy.path, PathPolicy::Ice { .. }),
        };
        let addresses = if uses_ice { self.addresses.clone() } else { vec![self.address_towards(peer)?] };
        // One that may do without ICE could not be told from the others there.
        let requires_ice = matches!(self.policy.path, PathPolicy::Ice { required: true, .. });
        let new = NewTransport {
            place: Place { transport: place, ..self.place },
            addresses: &addresses,
            traffic,
            separate_rtcp,
            shared: requires_ice && work.resources.shared.is_open(),
            ice: uses_ice.then(|| self.ice_role(peer)),
            certificate: self.certificate.clone(),
        };
        let transport = Some(Transport::open(new, work)?);
        match self.transports.get_mut(place) {
            Some(free) => *free = transport,
            None => self.transports.push(transport),
        }
        Ok(place)
    }

    /// The address of ours that a peer without ICE is told: the first, or the first of its family.
    fn address_towards(&self, peer: Option<&MediaPath>) -> Result<Address, CommandError> {
        let named = peer.and_then(|path| path.rtp);
        let fits = |address: &&Address| named.is_none_or(|named| named.is_ipv4() == address.bind.is_ipv4());
        self.addresses.iter().find(fits).cloned().ok_or(CommandError::NoUsableAddress)
    }

    /// RFC 8445 §6.1.1.
    fn ice_role(&self, peer: Option<&MediaPath>) -> ice::Role {
        let peer_is_lite = peer.and_then(|path| path.ice.as_ref()).is_some_and(|ice| ice.lite);
        let role = match self.policy.path {
            PathPolicy::Ice { role, .. } => role,
            PathPolicy::Plain { .. } => IceRole::Offerer,
        };
        let controls = match role {
            IceRole::Offerer => self.we_offered_first == Some(true),
            IceRole::Controlling => true,
            IceRole::Controlled => false,
        };
        if controls || peer_is_lite { ice::Role::Controlling } else { ice::Role::Controlled }
    }

    /// Closes the transports that carry no stream.
    fn close_unused(&mut self, work: &mut Work<'_>) {
        for (place, slot) in self.transports.iter_mut().enumerate() {
            let is_new = self.renewal.iter().flatten().any(|(_, new)| *new == place);
            if !is_new
                && !self.streams.iter().any(|stream| stream.transport == place)
                && let Some(transport) = slot.take()
            {
                transport.close(work);
            }
        }
    }

    fn negotiable(&self) -> Policy<'_> {
        policy_of(&self.policy)
    }

    /// Counts a packet of its peer that went no further.
    pub(crate) fn count_drop(&mut self, reason: Dropped) {
        self.dropped.get_or_insert_default().count(reason);
    }

    /// The figures so far, beside those of the other leg.
    pub(crate) fn statistics(&self, other: &Self, now: Instant) -> LegStatistics {
        let transport = self.transports.iter().flatten().find(|transport| transport.terms().is_some());
        LegStatistics {
            leg: self.id,
            security: transport.and_then(Transport::terms).map(|terms| terms.keying.security()),
            suite: transport.and_then(Transport::suite),
            streams: self.streams.iter().map(|stream| stream.statistics(other.stream(stream.id))).collect(),
            rtcp_packets_received: self.rtcp_received.0,
            rtcp_bytes_received: self.rtcp_received.1,
            silent_ms: self.silent_since.map(|since| millis(now.saturating_duration_since(since))),
            dropped: self
                .dropped
                .iter()
                .flat_map(|drops| drops.named())
                .map(|(name, times)| (name.to_owned(), times))
                .collect(),
        }
    }

    /// When a transport has something to do.
    pub(crate) fn transport_deadline(&self) -> Option<Instant> {
        self.transports.iter().flatten().filter_map(Transport::deadline).min()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A description without the candidates beyond those we keep.
fn bounded(mut description: Description, resources: &mut Resources) -> Description {
    for stream in &mut description.streams {
        let candidates = &mut stream.path.candidates;
        (MAX_CANDIDATES..candidates.len()).for_each(|_| resources.count_drop(Dropped::CandidateTooMany));
        candidates.truncate(MAX_CANDIDATES);
    }
    description
}

fn policy_of(policy: &LegPolicy) -> Policy<'_> {
    Policy {
        security: &policy.security,
        offers_all: policy.offers_all,
        dtls_server: policy.dtls_server,
        fingerprint: policy.fingerprint,
        suites: &policy.suites,
        suite_tags: &policy.suite_tags,
        path: policy.path,
        without_ice: policy.without_ice,
        sender: policy.sender,
        unencrypted_srtcp: policy.unencrypted_srtcp,
    }
}
