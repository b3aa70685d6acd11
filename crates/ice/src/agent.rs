//! The agent of one component.

use std::net::SocketAddr;
use std::time::Instant;

use model::{Candidate, Component, IceParameters, IceState};
use thiserror::Error;

use crate::{CandidateError, CredentialsError, LocalAddress};

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

/// The ICE agent of one component.
///
/// After any call with a time, drain [`Agent::poll_transmit`] and [`Agent::poll_event`], then ask
/// [`Agent::poll_timeout`].
#[derive(Debug)]
pub struct Agent {
    config: Config,
}

impl Agent {
    /// Makes an agent. It does nothing until the peer's credentials are known.
    ///
    /// # Errors
    ///
    /// There is no address, or one that cannot be a candidate.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        if config.addresses.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        Ok(Self { config })
    }

    /// Who nominates now.
    pub fn role(&self) -> Role {
        self.config.role
    }

    /// Our credentials of the newest generation.
    pub fn local_credentials(&self) -> &IceParameters {
        &self.config.credentials
    }

    /// Our candidates, to be told to the peer.
    pub fn local_candidates(&self) -> Vec<Candidate> {
        Vec::new()
    }

    /// How many restarts there were.
    pub fn generation(&self) -> u32 {
        0
    }

    /// Learns the peer's credentials for our newest ones, and begins to check. Saying the same again changes nothing.
    ///
    /// # Errors
    ///
    /// They are malformed, or differ from those known: that takes [`Agent::restart`] first.
    pub fn set_remote_credentials(&mut self, remote: &IceParameters, now: Instant) -> Result<(), CredentialsError> {
        let _ = now;
        crate::credentials::check(remote)
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
        let _ = (ufrag, now);
        crate::candidate::check_address(candidate.address, &self.config.addresses)
    }

    /// Learns that no more candidates of the peer will come (RFC 8838 §14): failure need not wait for them.
    pub fn end_of_candidates(&mut self, now: Instant) {
        let _ = now;
    }

    /// Begins a new generation with these credentials of ours (RFC 8445 §9). The selected pair stays in use, and checks
    /// for the old credentials are answered, until the new generation has selected one.
    pub fn restart(&mut self, credentials: IceParameters, now: Instant) {
        let _ = now;
        self.config.credentials = credentials;
    }

    /// Takes a STUN message.
    ///
    /// # Errors
    ///
    /// It was not used, and why. It may have been answered with an error all the same.
    pub fn handle_packet(&mut self, datagram: &[u8], pair: Pair, now: Instant) -> Result<(), Dropped> {
        let _ = (datagram, pair, now);
        Err(Dropped::Malformed)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The next datagram to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// The next piece of news.
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }

    /// When [`Agent::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Where ICE is.
    pub fn state(&self) -> IceState {
        IceState::Checking
    }

    /// The pair to send on, if there is one and the peer consents.
    pub fn selected(&self) -> Option<Pair> {
        None
    }

    /// Says whether the peer has proved that it is at the far end of a pair: by a response to a check of ours, or by a
    /// check of its own with the right password. Media from anywhere else is not to be believed.
    pub fn is_validated(&self, pair: Pair) -> bool {
        let _ = pair;
        false
    }
}
