//! The agent of one component.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use is::stun::StunMessage;
use model::{Candidate, Component, IceParameters, IceState};
use thiserror::Error;

use crate::candidate::{self, CandidateError, LocalAddress};
use crate::credentials::{self, CredentialsError};
use crate::generation::{Generation, Seed};
use crate::stun::{self, Class, Message, ParseError};

/// A peer that has not answered for this long no longer consents (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);
/// A selected pair that has not answered for this long, two checks, is left for another, or reported as disconnected.
const SILENT_AFTER: Duration = Duration::from_secs(10);
/// A selected pair that has not answered for this long, four checks, since the peer answered from a new address is left for
/// that: a translator has moved the peer.
const MOVED_AFTER: Duration = Duration::from_secs(1);
/// Without a valid pair this long after the peer's credentials are known, ICE has failed.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// Checks for the old credentials are answered this long after a restart has selected a pair.
const RETIRE_AFTER: Duration = Duration::from_secs(5);
/// Candidates kept for credentials that are not known yet.
const MAX_WAITING: usize = 64;
/// Error responses of an agent.
const MAX_ERRORS_PER_SECOND: u32 = 10;

/// Error codes of RFC 8489 §14.8, less 400.
const BAD_REQUEST: u8 = 0;
const UNAUTHENTICATED: u8 = 1;
const UNKNOWN_ATTRIBUTE: u8 = 20;

/// Who nominates (RFC 8445 §6.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// We nominate.
    Controlling,
    /// The peer nominates.
    Controlled,
}

/// What an agent is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which component it is for.
    pub component: Component,
    /// Its first role; a conflict with the peer may change it.
    pub role: Role,
    /// Our credentials, shared by the components of a leg.
    pub credentials: IceParameters,
    /// Settles role conflicts; shared by the components of a leg.
    pub tie_breaker: u64,
    /// Where our sockets are bound, best first.
    pub addresses: Vec<LocalAddress>,
}

/// Why there can be no agent.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// No address was given.
    #[error("no local address for ICE")]
    NoAddress,
    /// An address cannot be a candidate: unspecified, multicast, broadcast, port zero, IPv4 link-local.
    #[error("{0} cannot be an ICE candidate")]
    BadAddress(SocketAddr),
}

/// A local and a remote transport address.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Pair {
    /// Where our socket is bound.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

/// A datagram that the agent wants sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// From where, to where.
    pub pair: Pair,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// News of the agent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// ICE went on or failed.
    State(IceState),
    /// Send on this pair from now on.
    Selected(Pair),
    /// The peer no longer agrees to receive (RFC 7675 §5.1): send nothing until a pair is selected again, which takes
    /// a restart.
    ConsentLost,
}

/// Why a datagram was not used.
#[derive(Clone, Copy, Debug, Eq, Error, Hash, PartialEq)]
#[non_exhaustive]
pub enum Dropped {
    /// It is not a STUN message of RFC 8489, or its FINGERPRINT is wrong.
    #[error("malformed STUN message")]
    Malformed,
    /// It is for other credentials than ours, or for none.
    #[error("STUN message for other credentials")]
    UnknownUsername,
    /// Its MESSAGE-INTEGRITY is missing or wrong.
    #[error("STUN message integrity missing or wrong")]
    Integrity,
    /// It answers no request of ours, or comes from elsewhere than the request went.
    #[error("unexpected STUN response")]
    UnexpectedResponse,
    /// It needs something we do not know.
    #[error("unsupported STUN message")]
    Unsupported,
    /// It did not come to one of our addresses.
    #[error("STUN message to an unknown address")]
    UnknownAddress,
    /// It comes from one more source than we keep.
    #[error("too many ICE sources")]
    TooMany,
    /// Consent was lost; only a restart helps.
    #[error("ICE consent lost")]
    ConsentLost,
}

impl From<ParseError> for Dropped {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::Malformed => Self::Malformed,
            ParseError::OtherMethod => Self::Unsupported,
        }
    }
}

/// The ICE agent of one component.
///
/// After any call with a time, drain [`Agent::poll_transmit`] and [`Agent::poll_event`], then ask
/// [`Agent::poll_timeout`].
#[derive(Debug)]
pub struct Agent {
    component: Component,
    tie_breaker: u64,
    addresses: Vec<LocalAddress>,
    current: Generation,
    /// The one before a restart, in use until the current one has selected a pair, and a little longer to answer.
    previous: Option<Generation>,
    /// When the previous one is forgotten.
    retire_at: Option<Instant>,
    /// Candidates for credentials of the peer that are not known yet.
    waiting: Vec<Waiting>,
    errors: ErrorBudget,
    state: IceState,
    told: Option<Pair>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    next: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    ufrag: Option<String>,
    candidate: Candidate,
}

impl Agent {
    /// Makes an agent. It does nothing until the peer's credentials are known.
    ///
    /// # Errors
    ///
    /// There is no address, or one that cannot be a candidate.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let Config { component, role, credentials, tie_breaker, addresses } = config;
        if addresses.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        let unfit =
            |address: &&LocalAddress| address.bound.port() == 0 || is::Candidate::host(address.bound, "udp").is_err();
        if let Some(address) = addresses.iter().find(unfit) {
            return Err(ConfigError::BadAddress(address.bound));
        }
        let seed = Seed { number: 0, role, tie_breaker, credentials: &credentials, addresses: &addresses };
        Ok(Self {
            component,
            tie_breaker,
            current: Generation::new(seed),
            addresses,
            previous: None,
            retire_at: None,
            waiting: Vec::new(),
            errors: ErrorBudget::default(),
            state: IceState::Checking,
            told: None,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            next: None,
        })
    }

    /// Who nominates now.
    pub fn role(&self) -> Role {
        self.current.role()
    }

    /// Our credentials of the newest generation.
    pub fn local_credentials(&self) -> &IceParameters {
        &self.current.local
    }

    /// The user name fragments of ours that checks may come for: the newest, and the one before a restart as long as
    /// that is answered.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current).chain(&self.previous).map(|generation| generation.local.ufrag.as_str())
    }

    /// Our candidates, to be told to the peer.
    pub fn local_candidates(&self) -> Vec<Candidate> {
        candidate::hosts(&self.addresses, self.component, self.current.number)
    }

    /// How many restarts there were.
    pub fn generation(&self) -> u32 {
        self.current.number
    }

    /// Learns the peer's credentials for our newest ones, and begins to check. Saying the same again changes nothing.
    ///
    /// # Errors
    ///
    /// They are malformed, or differ from those known: that takes [`Agent::restart`] first.
    pub fn set_remote_credentials(&mut self, remote: &IceParameters, now: Instant) -> Result<(), CredentialsError> {
        credentials::check(remote)?;
        if let Some(known) = &self.current.remote {
            return match (known.ufrag == remote.ufrag, known.pwd == remote.pwd) {
                (true, true) => Ok(()),
                (false, false) => Err(CredentialsError::NotRestarted),
                (true, false) | (false, true) => Err(CredentialsError::HalfChanged),
            };
        }
        self.current.begin(remote, now);
        for Waiting { ufrag, candidate } in std::mem::take(&mut self.waiting) {
            // What is for other credentials waits on; what is one too many was counted when it was named.
            let _ = self.add_remote_candidate(&candidate, ufrag.as_deref(), now);
        }
        self.settle(now);
        Ok(())
    }

    /// Adds a candidate of the peer, before its credentials are known or after. Saying one again changes nothing.
    ///
    /// With `ufrag` the candidate is for the peer's credentials of that fragment: one for credentials yet to come waits
    /// for them.
    ///
    /// # Errors
    ///
    /// The candidate is not used, and why.
    pub fn add_remote_candidate(
        &mut self,
        candidate: &Candidate,
        ufrag: Option<&str>,
        now: Instant,
    ) -> Result<(), CandidateError> {
        if candidate.component != self.component {
            return Err(CandidateError::OtherComponent);
        }
        candidate::check_address(candidate.address, &self.addresses)?;
        let is_of = |generation: &Generation| {
            generation.remote.as_ref().is_some_and(|remote| ufrag.is_none_or(|ufrag| ufrag == remote.ufrag))
        };
        if is_of(&self.current) {
            self.current.add_candidate(candidate, now)?;
            self.settle(now);
            return Ok(());
        }
        if ufrag.is_some() && self.previous.as_ref().is_some_and(is_of) {
            return Err(CandidateError::OldGeneration);
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(CandidateError::TooMany);
        }
        self.waiting.push(Waiting { ufrag: ufrag.map(str::to_owned), candidate: candidate.clone() });
        Ok(())
    }

    /// Learns that no more candidates of the peer will come (RFC 8838 §14): failure need not wait for them.
    pub fn end_of_candidates(&mut self, now: Instant) {
        self.current.no_more_candidates = true;
        self.settle(now);
    }

    /// Begins a new generation with these credentials of ours (RFC 8445 §9). The selected pair stays in use, and checks
    /// for the old credentials are answered, until the new generation has selected one.
    pub fn restart(&mut self, credentials: IceParameters, now: Instant) {
        let seed = Seed {
            number: self.current.number + 1,
            role: self.current.role(),
            tie_breaker: self.tie_breaker,
            credentials: &credentials,
            addresses: &self.addresses,
        };
        let replaced = std::mem::replace(&mut self.current, Generation::new(seed));
        if replaced.selected.is_some() || self.previous.is_none() {
            self.previous = Some(replaced);
        }
        self.retire_at = None;
        self.waiting.retain(|waiting| waiting.ufrag.is_some());
        self.settle(now);
    }

    /// Takes a STUN message.
    ///
    /// # Errors
    ///
    /// It was not used, and why. It may have been answered with an error all the same.
    pub fn handle_packet(&mut self, datagram: &[u8], pair: Pair, now: Instant) -> Result<(), Dropped> {
        let message = Message::parse(datagram)?;
        let handled = match message.class {
            Class::Request => self.handle_request(datagram, &message, pair, now),
            Class::Success | Class::Failure => self.handle_response(datagram, &message, pair, now),
            Class::Indication => Ok(()), // keeps a NAT open and has no other purpose (RFC 8445 §11)
        };
        self.settle(now);
        handled
    }

    fn handle_request(
        &mut self,
        datagram: &[u8],
        message: &Message<'_>,
        pair: Pair,
        now: Instant,
    ) -> Result<(), Dropped> {
        if !self.addresses.iter().any(|address| address.bound == pair.local) {
            return Err(Dropped::UnknownAddress);
        }
        let mut refuse = |code, unknown: &[u16], password| {
            let bytes = stun::error_response(message, code, unknown, password);
            if bytes.len() <= datagram.len() && self.errors.spend(now) {
                self.transmits.push_back(Transmit { pair, bytes });
            }
        };
        let Some((local, _)) = message.ufrags().filter(|_| message.has_integrity()) else {
            refuse(BAD_REQUEST, &[], None);
            return Err(Dropped::Integrity);
        };
        let mut generations = std::iter::once(&mut self.current).chain(&mut self.previous);
        let Some(generation) = generations.find(|generation| generation.local.ufrag == local) else {
            refuse(UNAUTHENTICATED, &[], None);
            return Err(Dropped::UnknownUsername);
        };
        let Ok(check) = StunMessage::parse(datagram) else {
            refuse(BAD_REQUEST, &[], None);
            return Err(Dropped::Malformed);
        };
        let password = generation.local.pwd.reveal();
        if !stun::verify(&check, password) {
            refuse(UNAUTHENTICATED, &[], None);
            return Err(Dropped::Integrity);
        }
        let unknown = message.unknown_attributes();
        if !unknown.is_empty() {
            refuse(UNKNOWN_ATTRIBUTE, &unknown, Some(password));
            return Err(Dropped::Unsupported);
        }
        let answer = generation.handle_check(datagram, message, check, pair, now)?;
        self.transmits.extend(answer);
        Ok(())
    }

    fn handle_response(
        &mut self,
        datagram: &[u8],
        message: &Message<'_>,
        pair: Pair,
        now: Instant,
    ) -> Result<(), Dropped> {
        let mut generations = std::iter::once(&mut self.current).chain(&mut self.previous);
        let generation = generations.find(|generation| generation.has_sent(message.transaction));
        let generation = generation.ok_or(Dropped::UnexpectedResponse)?;
        let response = StunMessage::parse(datagram).map_err(|_| Dropped::Malformed)?;
        generation.handle_response(message.transaction, response, pair, now)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.retire_at.is_some_and(|at| at <= now) {
            self.previous = None;
            self.retire_at = None;
        }
        self.current.handle_timeout(now);
        if let Some(previous) = &mut self.previous {
            previous.handle_timeout(now);
        }
        self.settle(now);
    }

    /// The next datagram to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next piece of news.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Agent::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Where ICE is.
    pub fn state(&self) -> IceState {
        self.state
    }

    /// The pair to send on, if there is one and the peer consents.
    pub fn selected(&self) -> Option<Pair> {
        self.in_use().and_then(|generation| generation.selected)
    }

    /// The selected pair, or before there is one any on which the peer has answered a check of ours: what should not wait
    /// for the selection may be sent there (RFC 8445 §12.1.1).
    pub fn valid(&self) -> Option<Pair> {
        self.selected().or_else(|| self.current.valid())
    }

    /// Says whether the peer has proved that it is at the far end of a pair: by a response to a check of ours, or by a
    /// check of its own with the right password. Media from anywhere else is not to be believed.
    pub fn is_validated(&self, pair: Pair) -> bool {
        self.current.is_validated(pair) || self.previous.as_ref().is_some_and(|previous| previous.is_validated(pair))
    }

    /// When the peer last answered a check of ours on a pair.
    pub fn answered_on(&self, pair: Pair) -> Option<Instant> {
        std::iter::once(&self.current).chain(&self.previous).filter_map(|generation| generation.answered_on(pair)).max()
    }

    fn in_use(&self) -> Option<&Generation> {
        std::iter::once(&self.current).chain(&self.previous).find(|generation| generation.selected.is_some())
    }

    /// Turns what the checklists did into what the world is told.
    fn settle(&mut self, now: Instant) {
        for generation in std::iter::once(&mut self.current).chain(&mut self.previous) {
            generation.drain(&mut self.transmits, now);
            check_consent(generation, now);
            generation.drain(&mut self.transmits, now);
        }
        if self.previous.is_some() && self.current.selected.is_some() && self.retire_at.is_none() {
            self.retire_at = Some(now + RETIRE_AFTER);
        }
        let selected = self.selected();
        if self.told != selected {
            self.told = selected;
            self.events.push_back(selected.map_or(Event::ConsentLost, Event::Selected));
        }
        let state = self.state_at(now);
        if self.state != state {
            self.state = state;
            self.events.push_back(Event::State(state));
        }
        self.next = self.next_deadline(now);
    }

    fn state_at(&self, now: Instant) -> IceState {
        let Some(generation) = self.in_use() else {
            return match self.current.started {
                Some(_) if self.current.consent_lost => IceState::Disconnected,
                Some(started) if started + GIVE_UP_AFTER <= now => IceState::Failed,
                Some(_) if self.current.no_more_candidates && self.current.is_exhausted() => IceState::Failed,
                Some(_) | None => IceState::Checking,
            };
        };
        let silent = generation.last_answer().is_some_and(|answered| answered + SILENT_AFTER <= now);
        if silent { IceState::Disconnected } else { IceState::Connected }
    }

    fn next_deadline(&mut self, now: Instant) -> Option<Instant> {
        let answered = self.in_use().and_then(Generation::last_answer);
        let started = if answered.is_none() { self.current.started } else { None };
        let ours = [
            answered.map(|answered| answered + SILENT_AFTER),
            answered.map(|answered| answered + CONSENT),
            started.map(|started| started + GIVE_UP_AFTER),
            self.in_use().and_then(|generation| generation.doubted).map(|since| since + MOVED_AFTER),
            self.retire_at,
        ];
        let checks = [self.current.poll_timeout(), self.previous.as_mut().and_then(Generation::poll_timeout)];
        let ours = ours.into_iter().flatten().filter(|at| *at > now);
        ours.chain(checks.into_iter().flatten()).min()
    }
}

/// Stops sending where the peer has not agreed for too long (RFC 7675 §5.1).
fn check_consent(generation: &mut Generation, now: Instant) {
    if let Some(since) = generation.doubted {
        let is_over = since + MOVED_AFTER <= now;
        let has_answered = generation.last_answer().is_none_or(|answered| answered >= since);
        if has_answered || is_over {
            generation.end_doubt();
        }
        if !has_answered && is_over && generation.fail_over(MOVED_AFTER, now) {
            return;
        }
    }
    let silent_for = |time| generation.last_answer().is_some_and(|answered| answered + time <= now);
    let (silent, expired) = (silent_for(SILENT_AFTER), silent_for(CONSENT));
    if silent && generation.fail_over(SILENT_AFTER, now) {
        return;
    }
    if generation.selected.is_some() && (expired || generation.is_exhausted()) {
        generation.lose_consent();
    }
}

/// Keeps us from answering a flood of strangers with a flood of our own.
#[derive(Debug, Default)]
struct ErrorBudget {
    since: Option<Instant>,
    spent: u32,
}

impl ErrorBudget {
    fn spend(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| since + Duration::from_secs(1) <= now) {
            *self = Self { since: Some(now), spent: 0 };
        }
        self.spent += 1;
        self.spent <= MAX_ERRORS_PER_SECOND
    }
}
