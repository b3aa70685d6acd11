//! All associations, their timers and their bounds.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use model::{Fingerprint, FingerprintVerdict, Secret, SrtpSuite};
use openssl::error::ErrorStack;
use openssl::ssl::SslContext;
use thiserror::Error;

use crate::Certificate;
use crate::association::{self, Association, Outcome};

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
    /// OpenSSL itself failed: no memory, no random source.
    #[error("DTLS library failed")]
    Library,
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

/// What an engine counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Datagrams for an association that is not open.
    pub unknown_association: u64,
    /// Datagrams that are more than a handshake needs, or after its end.
    pub unwanted: u64,
    /// OpenSSL objects that were let go of, 50 KB each.
    pub released: u64,
}

/// All DTLS associations of a relay, or of one of its threads.
///
/// After any `handle_*`, drain [`Engine::poll`], then ask [`Engine::poll_timeout`].
#[derive(Debug)]
pub struct Engine {
    config: Config,
    /// For associations that name no certificate; made with the first of them.
    context: Option<SslContext>,
    associations: HashMap<AssociationId, Association>,
    deadlines: BTreeSet<(Instant, AssociationId)>,
    output: VecDeque<FromDtls>,
    counters: Counters,
}

impl Engine {
    /// Makes an engine without associations.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            context: None,
            associations: HashMap::new(),
            deadlines: BTreeSet::new(),
            output: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Takes one instruction.
    pub fn handle(&mut self, input: ToDtls, now: Instant) {
        match input {
            ToDtls::Open { association, role, suites, fingerprints, certificate } => {
                self.remove(association);
                let certificate = certificate.filter(|shown| !Arc::ptr_eq(shown, &self.config.certificate));
                match self.make(role, &suites, fingerprints, certificate.as_deref()) {
                    Ok(made) => {
                        self.associations.insert(association, made);
                        self.with(association, |made, transmits| made.begin(now, transmits));
                    }
                    Err(reason) => self.output.push_back(FromDtls::Failed { association, reason }),
                }
            }
            ToDtls::Packet { association, bytes } => {
                let mut unwanted = false;
                let known = self.with(association, |open, transmits| {
                    open.handle_packet(bytes, now, transmits).unwrap_or_else(|| {
                        unwanted = true;
                        Outcome::Pending
                    })
                });
                self.counters.unknown_association += u64::from(!known);
                self.counters.unwanted += u64::from(unwanted);
            }
            ToDtls::SetFingerprints { association, fingerprints } => {
                self.with(association, |open, transmits| open.set_fingerprints(fingerprints, now, transmits));
            }
            ToDtls::Close { association } => {
                if let Some(open) = self.remove(association) {
                    let mut transmits = Vec::new();
                    open.close(&mut transmits);
                    self.transmit(association, transmits);
                }
            }
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(due @ (_, association)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&due);
            self.with(association, |open, transmits| open.handle_timeout(now, transmits));
        }
    }

    /// What is to be sent or told next.
    pub fn poll(&mut self) -> Option<FromDtls> {
        self.output.pop_front()
    }

    /// When [`Engine::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn make(
        &mut self,
        role: Role,
        suites: &[SrtpSuite],
        fingerprints: Vec<Fingerprint>,
        certificate: Option<&Certificate>,
    ) -> Result<Association, FailureReason> {
        if self.associations.len() >= self.config.max_associations {
            return Err(FailureReason::TooMany);
        }
        if !SUITES.iter().any(|suite| suites.contains(suite)) {
            return Err(FailureReason::NoCommonSuite);
        }
        let context = match certificate {
            Some(certificate) => association::context(certificate),
            None => self.own_context(),
        };
        context
            .and_then(|context| Association::new(&context, role, suites, fingerprints))
            .map_err(|_| FailureReason::Library)
    }

    fn own_context(&mut self) -> Result<SslContext, ErrorStack> {
        if let Some(context) = &self.context {
            return Ok(context.clone());
        }
        let context = association::context(&self.config.certificate)?;
        Ok(self.context.insert(context).clone())
    }

    /// Lets one association act, and turns what became of it into what is told. Says whether it is open.
    fn with(
        &mut self,
        association: AssociationId,
        act: impl FnOnce(&mut Association, &mut Vec<Vec<u8>>) -> Outcome,
    ) -> bool {
        let Some(open) = self.associations.get_mut(&association) else { return false };
        let mut transmits = Vec::new();
        let (before, was_heavy) = (open.deadline(), open.is_heavy());
        let outcome = act(open, &mut transmits);
        let after = open.deadline();
        self.counters.released += u64::from(was_heavy && !open.is_heavy());
        before.map(|at| self.deadlines.remove(&(at, association)));
        after.map(|at| self.deadlines.insert((at, association)));
        self.transmit(association, transmits);
        let news = match outcome {
            Outcome::Pending => return true,
            Outcome::Connected { suite, keys } => FromDtls::Connected { association, suite, keys },
            Outcome::Refused { suite, verdict } => FromDtls::Refused { association, suite, verdict },
            Outcome::Failed(reason) => FromDtls::Failed { association, reason },
            Outcome::Closed => FromDtls::Closed { association },
        };
        if !matches!(news, FromDtls::Connected { .. }) {
            self.remove(association);
        }
        self.output.push_back(news);
        true
    }

    fn remove(&mut self, association: AssociationId) -> Option<Association> {
        let removed = self.associations.remove(&association)?;
        self.counters.released += u64::from(removed.is_heavy());
        removed.deadline().map(|at| self.deadlines.remove(&(at, association)));
        Some(removed)
    }

    fn transmit(&mut self, association: AssociationId, transmits: Vec<Vec<u8>>) {
        self.output.extend(transmits.into_iter().map(|bytes| FromDtls::Transmit { association, bytes }));
    }
}
