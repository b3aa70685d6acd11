//! All associations, their timers and their bounds.

use std::sync::Arc;
use std::time::Instant;

use model::{Fingerprint, FingerprintVerdict, Secret, SrtpSuite};
use thiserror::Error;

use crate::Certificate;

/// The suites that DTLS can negotiate (RFC 5764 §4.1.2, RFC 7714 §14.2), in the order in which we prefer them.
pub const SUITES: [SrtpSuite; 4] =
    [SrtpSuite::AeadAes128Gcm, SrtpSuite::AeadAes256Gcm, SrtpSuite::AesCm128Sha1_80, SrtpSuite::AesCm128Sha1_32];

/// Names an association; chosen by whoever opens it, and never used again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct AssociationId(pub u64);

/// Who sends the ClientHello (RFC 5763 §5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// We do: `setup:active`.
    Client,
    /// The peer does: `setup:passive`.
    Server,
}

/// What the engine is told.
#[derive(Clone, Debug)]
pub enum ToDtls {
    /// Begins an association. A client sends its ClientHello at once, so open it when packets can flow.
    Open {
        /// A name not in use.
        association: AssociationId,
        /// Who sends the ClientHello.
        role: Role,
        /// The suites that may be negotiated; the order is that of [`SUITES`].
        suites: Vec<SrtpSuite>,
        /// What signalling promised. Empty: not known yet, [`ToDtls::SetFingerprints`] will come.
        fingerprints: Vec<Fingerprint>,
        /// What we show; the engine's own without.
        certificate: Option<Arc<Certificate>>,
    },
    /// A DTLS datagram came.
    Packet {
        /// For which association.
        association: AssociationId,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// The peer's fingerprints, where its hello came before its answer. Until they are known a finished handshake is
    /// not reported.
    SetFingerprints {
        /// For which association.
        association: AssociationId,
        /// What signalling promised.
        fingerprints: Vec<Fingerprint>,
    },
    /// Ends an association; a close_notify goes to the peer, and nothing more is reported.
    Close {
        /// Which.
        association: AssociationId,
    },
}

/// What the engine tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FromDtls {
    /// Send this datagram.
    Transmit {
        /// Of which association.
        association: AssociationId,
        /// Its bytes, at most 1,200.
        bytes: Vec<u8>,
    },
    /// The handshake is done, and the peer's certificate is the promised one ([`FingerprintVerdict::Matched`]).
    Connected {
        /// Which association.
        association: AssociationId,
        /// The negotiated SRTP suite.
        suite: SrtpSuite,
        /// The keys of both directions.
        keys: SrtpKeys,
    },
    /// The handshake is done, but with somebody else: there are no keys, and the association is dead.
    Refused {
        /// Which association.
        association: AssociationId,
        /// The negotiated SRTP suite.
        suite: SrtpSuite,
        /// What is wrong with the certificate; never [`FingerprintVerdict::Matched`].
        verdict: FingerprintVerdict,
    },
    /// The association is dead; nothing more will come.
    Failed {
        /// Which.
        association: AssociationId,
        /// Why.
        reason: FailureReason,
    },
    /// The peer ended a connected association.
    Closed {
        /// Which.
        association: AssociationId,
    },
}

/// The master keys and salts of an association (RFC 5764 §4.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SrtpKeys {
    /// What we protect with: key, then salt.
    pub local: Secret<Vec<u8>>,
    /// What the peer protects with: key, then salt.
    pub remote: Secret<Vec<u8>>,
}

/// Why an association died.
#[derive(Clone, Copy, Debug, Eq, Error, Hash, PartialEq)]
#[non_exhaustive]
pub enum FailureReason {
    /// The handshake took longer than is allowed.
    #[error("DTLS handshake timed out")]
    Timeout,
    /// The peer sent a fatal alert.
    #[error("DTLS alert from the peer")]
    Alert,
    /// The peer broke the protocol, or speaks none of our versions or ciphers.
    #[error("DTLS handshake failed")]
    Handshake,
    /// No SRTP suite in common (RFC 5764 §4.1.1).
    #[error("no common SRTP suite")]
    NoCommonSuite,
    /// The engine has as many associations as it is allowed.
    #[error("too many DTLS associations")]
    TooMany,
}

/// The bounds of an engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// What we show where an association names no certificate of its own.
    pub certificate: Arc<Certificate>,
    /// Associations at once.
    pub max_associations: usize,
}

/// All DTLS associations of a relay, or of one of its threads.
///
/// After any `handle_*`, drain [`Engine::poll`], then ask [`Engine::poll_timeout`].
#[derive(Debug)]
pub struct Engine {
    config: Config,
}

impl Engine {
    /// Makes an engine without associations.
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Takes one instruction.
    pub fn handle(&mut self, input: ToDtls, now: Instant) {
        let _ = (input, now, &self.config);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// What is to be sent or told next.
    pub fn poll(&mut self) -> Option<FromDtls> {
        None
    }

    /// When [`Engine::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}
