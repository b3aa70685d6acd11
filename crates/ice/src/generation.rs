//! The checks of one ICE generation: one pair of credentials on each side, from the start or the last restart on.
//!
//! The checklist is that of the `is` crate. What it does not do is done here:
//!
//! - it answers a check only once it knows the peer's credentials, though ours suffice (RFC 8445 §7.3)
//! - it takes a response from anywhere (RFC 8445 §7.2.5.2.1)
//! - it keeps a pair as long as the peer sends checks, though only responses are consent (RFC 7675 §5.1)
//! - it keeps the tie-breaker when it yields its role (RFC 8445 §7.2.5.1)
//! - it stays with a pair for 26 seconds of silence where another one works
//! - it stores every source and every mapped address that a peer with the password can think of

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use is::stun::{StunMessage, StunPacket};
use is::{IceAgent, IceAgentEvent, IceConnectionState, IceCreds, Protocol};
use model::{Candidate, CandidateKind, IceParameters};

use crate::agent::{Dropped, Pair, Role, Transmit};
use crate::candidate::{CandidateError, LocalAddress};
use crate::credentials::new_tie_breaker;
use crate::stun::{self, Message, TransactionId};

/// Pairs in the checklist (RFC 8445 §6.1.2.5).
const MAX_PAIRS: usize = 100;
/// Addresses of the peer, named or seen.
const MAX_SOURCES: usize = 64;
/// Addresses of ours as the peer sees them, where they are none of those we know.
const MAX_MAPPED: usize = 8;
/// Checks kept for the time when the peer's credentials are known.
const MAX_EARLY: usize = 16;
/// A response that comes later than this is of no use.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(10);
/// First retransmission of a check.
const INITIAL_RTO: Duration = Duration::from_millis(250);
/// Slowest retransmission of a check, and the pace of consent (RFC 7675 §5.1).
const MAX_RTO: Duration = Duration::from_secs(5);
/// Slowest retransmission while the selected pair is in doubt.
const MAX_RTO_IN_DOUBT: Duration = INITIAL_RTO;
/// How often a check is sent. With the first two above a pair that fell silent is given up after 26 seconds.
const RETRANSMITS: usize = 7;

/// What a generation is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed<'a> {
    pub(crate) number: u32,
    pub(crate) role: Role,
    pub(crate) tie_breaker: u64,
    pub(crate) credentials: &'a IceParameters,
    pub(crate) addresses: &'a [LocalAddress],
}

pub(crate) struct Generation {
    pub(crate) number: u32,
    pub(crate) local: IceParameters,
    pub(crate) remote: Option<IceParameters>,
    /// When the peer's credentials became known.
    pub(crate) started: Option<Instant>,
    /// The pair to send on.
    pub(crate) selected: Option<Pair>,
    /// The peer will name no more candidates.
    pub(crate) no_more_candidates: bool,
    pub(crate) consent_lost: bool,
    /// Since when it is in doubt whether the peer is still at the far end of the selected pair.
    pub(crate) doubted: Option<Instant>,
    checks: IceAgent,
    candidates: Vec<Candidate>,
    sources: Vec<SocketAddr>,
    /// Addresses of ours as the peer sees them, where they are none of those we know.
    mapped: Vec<SocketAddr>,
    own: Vec<SocketAddr>,
    validated: Vec<Validated>,
    early: Vec<Early>,
    /// Requests that have no response yet.
    outstanding: VecDeque<Outstanding>,
}

/// A pair at whose far end the peer is.
struct Validated {
    pair: Pair,
    /// The last response to a check of ours.
    answered: Option<Instant>,
}

/// A request of ours.
struct Outstanding {
    transaction: TransactionId,
    pair: Pair,
    sent: Instant,
}

/// A check that came before the peer's credentials.
struct Early {
    pair: Pair,
    datagram: Vec<u8>,
}

impl Generation {
    pub(crate) fn new(seed: Seed<'_>) -> Self {
        let credentials = is_credentials(seed.credentials);
        let mut checks = IceAgent::new(credentials);
        checks.set_controlling(seed.role == Role::Controlling);
        checks.set_control_tie_breaker(seed.tie_breaker);
        checks.set_max_candidate_pairs(MAX_PAIRS);
        checks.set_initial_stun_rto(INITIAL_RTO);
        checks.set_max_stun_rto(MAX_RTO);
        checks.set_max_stun_retransmits(RETRANSMITS);
        let order: Vec<SocketAddr> = seed.addresses.iter().map(|address| address.bound).collect();
        checks.set_local_preference(move |candidate: &is::Candidate, _| {
            let place = order.iter().position(|bound| *bound == candidate.addr()).unwrap_or(order.len());
            u32::from(crate::candidate::local_preference(place))
        });
        for address in seed.addresses {
            if let Ok(candidate) = is::Candidate::host(address.bound, "udp") {
                checks.add_local_candidate(candidate);
            }
        }
        Self {
            number: seed.number,
            local: seed.credentials.clone(),
            remote: None,
            started: None,
            selected: None,
            no_more_candidates: false,
            consent_lost: false,
            doubted: None,
            checks,
            candidates: Vec::new(),
            sources: Vec::new(),
            mapped: Vec::new(),
            own: seed.addresses.iter().map(|address| address.bound).collect(),
            validated: Vec::new(),
            early: Vec::new(),
            outstanding: VecDeque::new(),
        }
    }

    pub(crate) fn role(&self) -> Role {
        if self.checks.controlling() { Role::Controlling } else { Role::Controlled }
    }

    /// Begins to check. No pair has been formed before, so the role may still change.
    pub(crate) fn begin(&mut self, remote: &IceParameters, now: Instant) {
        if remote.lite {
            self.checks.set_controlling(true);
        }
        self.checks.set_remote_credentials(is_credentials(remote));
        self.remote = Some(remote.clone());
        self.started = Some(now);
        for early in std::mem::take(&mut self.early) {
            if let Ok(check) = StunMessage::parse(&early.datagram) {
                self.deliver(check, early.pair, now);
            }
        }
        self.checks.handle_timeout(now);
    }

    /// Pairs a candidate of the peer, whose credentials are known.
    pub(crate) fn add_candidate(&mut self, candidate: &Candidate, now: Instant) -> Result<(), CandidateError> {
        let again = |known: &Candidate| known.address == candidate.address && known.kind == candidate.kind;
        if self.candidates.iter().any(again) {
            return Ok(());
        }
        if self.candidates.len() >= MAX_SOURCES {
            return Err(CandidateError::TooMany);
        }
        self.note_source(candidate.address).map_err(|_| CandidateError::TooMany)?;
        self.candidates.push(candidate.clone());
        self.checks.add_remote_candidate(is::Candidate::from_parts(
            candidate.foundation.clone(),
            1, // as far as the checklist is concerned: it is that of one component, and knows no other
            Protocol::Udp,
            candidate.priority.clamp(1, i32::MAX.unsigned_abs()),
            candidate.address,
            is_kind(candidate.kind),
            None,
            None,
            None,
        ));
        self.checks.handle_timeout(now);
        Ok(())
    }

    /// Takes a check whose MESSAGE-INTEGRITY is right. Gives the answer where the checklist cannot yet.
    pub(crate) fn handle_check(
        &mut self,
        datagram: &[u8],
        message: &Message<'_>,
        check: StunMessage<'_>,
        pair: Pair,
        now: Instant,
    ) -> Result<Option<Transmit>, Dropped> {
        if self.consent_lost {
            return Err(Dropped::ConsentLost);
        }
        let sender = message.ufrags().map(|(_, sender)| sender);
        if self.remote.as_ref().is_some_and(|remote| Some(remote.ufrag.as_str()) != sender) {
            return Err(Dropped::UnknownUsername);
        }
        self.note_source(pair.remote)?;
        self.note_validated(pair);
        if self.remote.is_none() {
            return self.handle_early(datagram, &check, pair);
        }
        self.deliver(check, pair, now);
        Ok(None)
    }

    /// Answers a check before the peer's credentials are known, and keeps it to be acted on then (RFC 8445 §7.3).
    fn handle_early(
        &mut self,
        datagram: &[u8],
        check: &StunMessage<'_>,
        pair: Pair,
    ) -> Result<Option<Transmit>, Dropped> {
        let datagram = datagram.to_vec();
        if let Some(early) = self.early.iter_mut().find(|early| early.pair == pair) {
            early.datagram = datagram;
        } else if self.early.len() < MAX_EARLY {
            self.early.push(Early { pair, datagram });
        } else {
            return Err(Dropped::TooMany);
        }
        let conflict = match self.role() {
            Role::Controlling => check.ice_controlling(),
            Role::Controlled => check.ice_controlled(),
        };
        if conflict.is_some() {
            return Ok(None); // the checklist will repair it
        }
        let bytes = stun::success_response(check, pair.remote, self.local.pwd.reveal());
        Ok(bytes.map(|bytes| Transmit { pair, bytes }))
    }

    /// Says whether a response is one to a request of this generation.
    pub(crate) fn has_sent(&self, transaction: TransactionId) -> bool {
        self.outstanding.iter().any(|request| request.transaction == transaction)
    }

    /// Takes the response to a request of this generation.
    pub(crate) fn handle_response(
        &mut self,
        transaction: TransactionId,
        response: StunMessage<'_>,
        pair: Pair,
        now: Instant,
    ) -> Result<(), Dropped> {
        let asked = |request: &Outstanding| request.transaction == transaction && request.pair == pair;
        let position = self.outstanding.iter().position(asked);
        let position = position.ok_or(Dropped::UnexpectedResponse)?; // RFC 8445 §7.2.5.2.1
        let remote = self.remote.as_ref().ok_or(Dropped::UnexpectedResponse)?;
        if !stun::verify(&response, remote.pwd.reveal()) {
            return Err(Dropped::Integrity);
        }
        if self.consent_lost {
            return Err(Dropped::ConsentLost);
        }
        if response.is_successful_binding_response() {
            self.note_mapped(response.mapped_address())?;
            self.note_validated(pair);
            let validated = self.validated.iter_mut().find(|validated| validated.pair == pair);
            let before = validated.and_then(|validated| validated.answered.replace(now));
            if before.is_none() && self.has_moved_to(pair) {
                self.doubt(now);
            }
        } else if response.error_code().is_some_and(|(code, _)| code == 403) && self.selected == Some(pair) {
            self.lose_consent(); // RFC 7675 §5.2
        }
        self.outstanding.remove(position);
        let before = self.role();
        self.deliver(response, pair, now);
        if response.is_failed_binding_response() && self.role() != before {
            self.checks.set_control_tie_breaker(new_tie_breaker()); // RFC 8445 §7.2.5.1
        }
        Ok(())
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.is_checking() {
            self.checks.handle_timeout(now);
        }
    }

    /// Moves out what the checklist wants sent, and sees which pair it selected.
    pub(crate) fn drain(&mut self, transmits: &mut VecDeque<Transmit>, now: Instant) {
        while self.outstanding.front().is_some_and(|request| request.sent + MAX_RESPONSE_TIME <= now) {
            self.outstanding.pop_front();
        }
        while let Some(transmit) = self.checks.poll_transmit() {
            if self.consent_lost {
                continue;
            }
            let pair = Pair { local: transmit.source, remote: transmit.destination };
            let bytes = Vec::from(transmit.contents);
            if let Ok(Message { class: stun::Class::Request, transaction, .. }) = Message::parse(&bytes) {
                self.outstanding.push_back(Outstanding { transaction, pair, sent: now });
            }
            transmits.push_back(Transmit { pair, bytes });
        }
        while let Some(event) = self.checks.poll_event() {
            match event {
                IceAgentEvent::NominatedSend { source, destination, .. } if !self.consent_lost => {
                    self.selected = Some(Pair { local: source, remote: destination });
                }
                IceAgentEvent::NominatedSend { .. }
                | IceAgentEvent::IceRestart(_)
                | IceAgentEvent::IceConnectionStateChange(_)
                | IceAgentEvent::DiscoveredRecv { .. } => {}
            }
        }
    }

    /// When the selected pair answered last.
    pub(crate) fn last_answer(&self) -> Option<Instant> {
        self.answered_on(self.selected?)
    }

    /// When a pair answered last.
    pub(crate) fn answered_on(&self, pair: Pair) -> Option<Instant> {
        self.validated.iter().find(|validated| validated.pair == pair)?.answered
    }

    /// Says whether a pair that answers for the first time may be where a translator has put the peer since: it has a
    /// selected pair, and did not name this address.
    fn has_moved_to(&self, pair: Pair) -> bool {
        let named = self.candidates.iter().any(|candidate| candidate.address == pair.remote);
        !named && self.selected.is_some_and(|selected| selected.remote != pair.remote)
    }

    /// Checks often for a while, the selected pair too.
    fn doubt(&mut self, now: Instant) {
        self.doubted = Some(now);
        self.checks.set_max_stun_rto(MAX_RTO_IN_DOUBT);
    }

    /// Ends the doubt: the selected pair has answered, or not.
    pub(crate) fn end_doubt(&mut self) {
        self.doubted = None;
        self.checks.set_max_stun_rto(MAX_RTO);
    }

    /// Leaves a selected pair that fell silent, if the peer answers on another.
    pub(crate) fn fail_over(&mut self, fresh: Duration, now: Instant) -> bool {
        let Some(silent) = self.selected else { return false };
        let is_fresh = |validated: &&Validated| validated.answered.is_some_and(|answered| answered + fresh >= now);
        let others = self.validated.iter().filter(|validated| validated.pair.remote != silent.remote);
        let Some(other) = others.filter(is_fresh).max_by_key(|validated| validated.answered) else { return false };
        self.selected = Some(other.pair);
        let named = self.checks.remote_candidates().filter(|candidate| candidate.addr() == silent.remote);
        for candidate in named.collect::<Vec<_>>() {
            self.checks.invalidate_candidate(&candidate);
        }
        self.checks.handle_timeout(now); // nominates anew, if that is ours to do
        true
    }

    /// Says whether every pair was tried in vain.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.checks.state() == IceConnectionState::Disconnected
    }

    /// Ends the generation: its credentials must not be used again (RFC 7675 §5.1).
    pub(crate) fn lose_consent(&mut self) {
        self.consent_lost = true;
        self.selected = None;
        self.validated.clear();
    }

    /// A pair on which the peer answered.
    pub(crate) fn valid(&self) -> Option<Pair> {
        self.validated.iter().find(|validated| validated.answered.is_some()).map(|validated| validated.pair)
    }

    pub(crate) fn is_validated(&self, pair: Pair) -> bool {
        self.validated.iter().any(|validated| validated.pair == pair)
    }

    pub(crate) fn poll_timeout(&mut self) -> Option<Instant> {
        if self.is_checking() { self.checks.poll_timeout() } else { None }
    }

    fn is_checking(&self) -> bool {
        self.remote.is_some() && !self.consent_lost
    }

    fn deliver(&mut self, message: StunMessage<'_>, pair: Pair, now: Instant) {
        let packet = StunPacket { proto: Protocol::Udp, source: pair.remote, destination: pair.local, message };
        self.checks.handle_packet(now, packet);
        // A triggered check or a nomination goes out at once instead of at the next timer.
        self.checks.handle_timeout(now);
    }

    fn note_source(&mut self, source: SocketAddr) -> Result<(), Dropped> {
        note(&mut self.sources, source, MAX_SOURCES)
    }

    fn note_mapped(&mut self, mapped: Option<SocketAddr>) -> Result<(), Dropped> {
        match mapped {
            Some(mapped) if !self.own.contains(&mapped) => note(&mut self.mapped, mapped, MAX_MAPPED),
            Some(_) | None => Ok(()),
        }
    }

    fn note_validated(&mut self, pair: Pair) {
        if !self.is_validated(pair) {
            self.validated.push(Validated { pair, answered: None });
        }
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("number", &self.number)
            .field("selected", &self.selected)
            .finish_non_exhaustive()
    }
}

fn note(known: &mut Vec<SocketAddr>, address: SocketAddr, limit: usize) -> Result<(), Dropped> {
    if !known.contains(&address) {
        if known.len() >= limit {
            return Err(Dropped::TooMany);
        }
        known.push(address);
    }
    Ok(())
}

fn is_credentials(parameters: &IceParameters) -> IceCreds {
    IceCreds { ufrag: parameters.ufrag.clone(), pass: parameters.pwd.reveal().clone() }
}

const fn is_kind(kind: CandidateKind) -> is::CandidateKind {
    match kind {
        CandidateKind::Host => is::CandidateKind::Host,
        CandidateKind::ServerReflexive => is::CandidateKind::ServerReflexive,
        CandidateKind::PeerReflexive => is::CandidateKind::PeerReflexive,
        CandidateKind::Relayed => is::CandidateKind::Relayed,
    }
}
