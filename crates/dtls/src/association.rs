//! One DTLS association: an OpenSSL object between two queues of datagrams.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use model::{Fingerprint, FingerprintVerdict, Secret, SrtpSuite};
use openssl::error::ErrorStack;
use openssl::ssl::{
    self, ErrorCode, Ssl, SslContext, SslContextRef, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslStream,
    SslVerifyMode, SslVersion,
};
use smallvec::SmallVec;

use crate::certificate::{self, Certificate};
use crate::engine::{FailureReason, Role, SUITES, SrtpKeys};
use crate::retransmission::{self, COPIES};

/// The largest datagram we send.
const MTU: u32 = 1200;
/// First retransmission of a flight; each later one waits twice as long (RFC 6347 §4.2.4.1 would begin with 1 s).
const FIRST_TIMEOUT: Duration = Duration::from_millis(400);
/// Slowest retransmission.
const MAX_TIMEOUT: Duration = Duration::from_secs(4);
/// A handshake that takes longer has failed. The retransmissions end before: 0.4, 1.2, 2.8, 6, 10, … 26 s.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// How long the OpenSSL object, which takes 50 KB, outlives the handshake to repeat the last flight: as long as we
/// would ask for it.
const LINGER: Duration = GIVE_UP_AFTER;
/// Datagrams read during a handshake. A dozen are enough without loss.
const MAX_HANDSHAKE_DATAGRAMS: u32 = 500;
/// Forward secrecy and a real cipher; for ECDSA and for the RSA certificates of old peers. Level 0 lets pass whatever
/// the peer's certificate is signed with: it is known by its fingerprint.
const CIPHERS: &str = "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:@SECLEVEL=0";
/// What the handshake itself may be signed with.
const SIGNATURES: &str = "ECDSA+SHA256:RSA-PSS+SHA256:RSA+SHA256:ECDSA+SHA384:RSA-PSS+SHA384:RSA+SHA384:\
    ECDSA+SHA512:RSA-PSS+SHA512:RSA+SHA512:ed25519";
const CURVES: &str = "X25519:P-256:P-384:P-521";
/// RFC 5764 §4.2.
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";

/// Makes what all associations with one certificate share.
pub(crate) fn context(certificate: &Certificate) -> Result<SslContext, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::dtls())?;
    context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_options(SslOptions::NO_QUERY_MTU | SslOptions::NO_TICKET | SslOptions::NO_RENEGOTIATION);
    context.set_mode(SslMode::RELEASE_BUFFERS);
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_cipher_list(CIPHERS)?;
    context.set_sigalgs_list(SIGNATURES)?;
    context.set_groups_list(CURVES)?;
    context.set_certificate(&certificate.x509)?;
    context.set_private_key(&certificate.key)?;
    // A certificate is asked for, and any is let pass: its fingerprint is compared afterwards.
    context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
    Ok(context.build())
}

/// What became of an association.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It goes on.
    Pending,
    Connected {
        suite: SrtpSuite,
        keys: SrtpKeys,
    },
    Refused {
        suite: SrtpSuite,
        verdict: FingerprintVerdict,
    },
    Failed(FailureReason),
    Closed,
}

pub(crate) struct Association {
    role: Role,
    fingerprints: Vec<Fingerprint>,
    phase: Phase,
    datagrams_read: u32,
}

enum Phase {
    /// No datagram has come or gone.
    Idle(Box<SslStream<Datagrams>>),
    Handshaking {
        stream: Box<SslStream<Datagrams>>,
        give_up_at: Instant,
        retransmission: Option<Retransmission>,
    },
    /// The handshake is done before signalling has told the fingerprints.
    Unverified {
        stream: Box<SslStream<Datagrams>>,
        give_up_at: Instant,
    },
    Connected {
        stream: Box<SslStream<Datagrams>>,
        forget_at: Instant,
    },
    /// Connected long ago: only the datagram that will say goodbye is left. It lies here, so that no small piece of memory
    /// keeps the OpenSSL object's pages from being given back.
    Dormant {
        farewell: SmallVec<[u8; 96]>,
    },
    /// In between, and after the end.
    Dead,
}

/// The copies of our last flight that are still to be sent.
struct Retransmission {
    copies: VecDeque<Vec<Vec<u8>>>,
    at: Instant,
    timeout: Duration,
}

impl Association {
    pub(crate) fn new(
        context: &SslContextRef,
        role: Role,
        suites: &[SrtpSuite],
        fingerprints: Vec<Fingerprint>,
    ) -> Result<Self, ErrorStack> {
        let mut ssl = Ssl::new(context)?;
        let offered: Vec<&str> =
            SUITES.iter().filter(|suite| suites.contains(suite)).filter_map(profile_name).collect();
        ssl.set_tlsext_use_srtp(&offered.join(":"))?;
        ssl.set_mtu(MTU)?;
        match role {
            Role::Client => ssl.set_connect_state(),
            Role::Server => ssl.set_accept_state(),
        }
        retransmission::take_over(&mut ssl);
        let stream = Box::new(SslStream::new(ssl, Datagrams::default())?);
        Ok(Self { role, fingerprints, phase: Phase::Idle(stream), datagrams_read: 0 })
    }

    /// Sends the ClientHello, if that is ours to do.
    pub(crate) fn begin(&mut self, now: Instant, transmits: &mut Vec<Vec<u8>>) -> Outcome {
        match self.role {
            Role::Client => self.drive(None, now, transmits),
            Role::Server => Outcome::Pending,
        }
    }

    /// Takes a datagram; says `None` where it is empty, which OpenSSL would take for the end, or one too many.
    pub(crate) fn handle_packet(
        &mut self,
        datagram: Vec<u8>,
        now: Instant,
        transmits: &mut Vec<Vec<u8>>,
    ) -> Option<Outcome> {
        if datagram.is_empty() {
            return None;
        }
        match self.phase {
            Phase::Idle(_) | Phase::Handshaking { .. } | Phase::Unverified { .. } => {
                self.datagrams_read += 1;
                if self.datagrams_read > MAX_HANDSHAKE_DATAGRAMS {
                    return None;
                }
            }
            Phase::Connected { .. } => {}
            Phase::Dormant { .. } | Phase::Dead => return None,
        }
        Some(self.drive(Some(datagram), now, transmits))
    }

    pub(crate) fn set_fingerprints(
        &mut self,
        fingerprints: Vec<Fingerprint>,
        now: Instant,
        transmits: &mut Vec<Vec<u8>>,
    ) -> Outcome {
        self.fingerprints = fingerprints;
        match std::mem::replace(&mut self.phase, Phase::Dead) {
            Phase::Unverified { stream, give_up_at } => self.verify(stream, give_up_at, now, transmits),
            other @ (Phase::Idle(_)
            | Phase::Handshaking { .. }
            | Phase::Connected { .. }
            | Phase::Dormant { .. }
            | Phase::Dead) => {
                self.phase = other;
                Outcome::Pending
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, transmits: &mut Vec<Vec<u8>>) -> Outcome {
        match &mut self.phase {
            Phase::Handshaking { give_up_at, .. } | Phase::Unverified { give_up_at, .. } if *give_up_at <= now => {
                self.phase = Phase::Dead;
                return Outcome::Failed(FailureReason::Timeout);
            }
            Phase::Handshaking { retransmission: Some(retransmission), .. } if retransmission.at <= now => {
                transmits.extend(retransmission.copies.pop_front().unwrap_or_default());
                retransmission.timeout = (retransmission.timeout * 2).min(MAX_TIMEOUT);
                retransmission.at = now + retransmission.timeout;
            }
            Phase::Connected { stream, forget_at } if *forget_at <= now => {
                let farewell = shut_down(stream).into_iter().next().unwrap_or_default();
                self.phase = Phase::Dormant { farewell: SmallVec::from_slice(&farewell) };
                self.fingerprints = Vec::new();
            }
            Phase::Idle(_)
            | Phase::Handshaking { .. }
            | Phase::Unverified { .. }
            | Phase::Connected { .. }
            | Phase::Dormant { .. }
            | Phase::Dead => {}
        }
        Outcome::Pending
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Handshaking { give_up_at, retransmission: Some(next), .. } if !next.copies.is_empty() => {
                Some(next.at.min(*give_up_at))
            }
            Phase::Handshaking { give_up_at, .. } | Phase::Unverified { give_up_at, .. } => Some(*give_up_at),
            Phase::Connected { forget_at, .. } => Some(*forget_at),
            Phase::Idle(_) | Phase::Dormant { .. } | Phase::Dead => None,
        }
    }

    /// Says whether it has an OpenSSL object.
    pub(crate) const fn is_heavy(&self) -> bool {
        !matches!(self.phase, Phase::Dormant { .. } | Phase::Dead)
    }

    /// Says goodbye.
    pub(crate) fn close(self, transmits: &mut Vec<Vec<u8>>) {
        match self.phase {
            Phase::Connected { mut stream, .. } | Phase::Unverified { mut stream, .. } => {
                transmits.extend(shut_down(&mut stream));
            }
            Phase::Dormant { farewell } if farewell.is_empty() => {} // the peer had said goodbye
            Phase::Dormant { farewell } => transmits.push(farewell.to_vec()),
            Phase::Idle(_) | Phase::Handshaking { .. } | Phase::Dead => {}
        }
    }

    /// Lets OpenSSL read a datagram and go as far as it can.
    fn drive(&mut self, datagram: Option<Vec<u8>>, now: Instant, transmits: &mut Vec<Vec<u8>>) -> Outcome {
        match std::mem::replace(&mut self.phase, Phase::Dead) {
            Phase::Idle(stream) => {
                let give_up_at = now + GIVE_UP_AFTER;
                self.shake_hands(Handshake { stream, give_up_at, retransmission: None }, datagram, now, transmits)
            }
            Phase::Handshaking { stream, give_up_at, retransmission } => {
                self.shake_hands(Handshake { stream, give_up_at, retransmission }, datagram, now, transmits)
            }
            Phase::Unverified { mut stream, give_up_at } => {
                let outcome = read(&mut stream, datagram, transmits);
                if matches!(outcome, Outcome::Pending) {
                    self.phase = Phase::Unverified { stream, give_up_at };
                }
                outcome
            }
            Phase::Connected { mut stream, forget_at } => {
                let outcome = read(&mut stream, datagram, transmits);
                if matches!(outcome, Outcome::Pending) {
                    self.phase = Phase::Connected { stream, forget_at };
                }
                outcome
            }
            over @ (Phase::Dormant { .. } | Phase::Dead) => {
                self.phase = over;
                Outcome::Pending
            }
        }
    }

    fn shake_hands(
        &mut self,
        handshake: Handshake,
        datagram: Option<Vec<u8>>,
        now: Instant,
        transmits: &mut Vec<Vec<u8>>,
    ) -> Outcome {
        let Handshake { mut stream, give_up_at, mut retransmission } = handshake;
        retransmission::begin();
        stream.get_mut().incoming = datagram;
        let result = stream.do_handshake();
        transmits.append(&mut stream.get_mut().outgoing);
        let copies = std::mem::take(&mut stream.get_mut().copies);
        match result {
            Ok(()) => self.verify(stream, give_up_at, now, transmits),
            Err(error) if error.code() == ErrorCode::WANT_READ => {
                if !copies.is_empty() {
                    let at = now + FIRST_TIMEOUT;
                    retransmission = Some(Retransmission { copies: copies.into(), at, timeout: FIRST_TIMEOUT });
                }
                self.phase = Phase::Handshaking { stream, give_up_at, retransmission };
                Outcome::Pending
            }
            Err(error) => Outcome::Failed(failure(&error)),
        }
    }

    /// Compares the certificate; only then are there keys.
    fn verify(
        &mut self,
        mut stream: Box<SslStream<Datagrams>>,
        give_up_at: Instant,
        now: Instant,
        transmits: &mut Vec<Vec<u8>>,
    ) -> Outcome {
        let profile = stream.ssl().selected_srtp_profile().map(|profile| profile.id().as_raw());
        let negotiated = |suite: &&SrtpSuite| profile.is_some() && suite.dtls_id().map(u64::from) == profile;
        let Some(suite) = SUITES.iter().find(negotiated).copied() else {
            transmits.extend(shut_down(&mut stream));
            return Outcome::Failed(FailureReason::NoCommonSuite);
        };
        if self.fingerprints.is_empty() {
            self.phase = Phase::Unverified { stream, give_up_at };
            return Outcome::Pending;
        }
        let certificate = stream.ssl().peer_certificate();
        let verdict = certificate::compare(certificate.as_deref(), &self.fingerprints);
        if verdict != FingerprintVerdict::Matched {
            transmits.extend(shut_down(&mut stream));
            return Outcome::Refused { suite, verdict };
        }
        match export_keys(&stream, suite, self.role) {
            Ok(keys) => {
                self.phase = Phase::Connected { stream, forget_at: now + LINGER };
                Outcome::Connected { suite, keys }
            }
            Err(_) => Outcome::Failed(FailureReason::Library),
        }
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association").field("role", &self.role).finish_non_exhaustive()
    }
}

struct Handshake {
    stream: Box<SslStream<Datagrams>>,
    give_up_at: Instant,
    retransmission: Option<Retransmission>,
}

/// What OpenSSL reads from and writes to.
#[derive(Debug, Default)]
struct Datagrams {
    incoming: Option<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
    /// Each copy of the last flight.
    copies: Vec<Vec<Vec<u8>>>,
}

impl Read for Datagrams {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.take().ok_or(ErrorKind::WouldBlock)?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok(length)
    }
}

impl Write for Datagrams {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        match retransmission::copy() {
            0 => self.outgoing.push(datagram.to_vec()),
            copy => {
                self.copies.resize_with(copy.min(COPIES).max(self.copies.len()), Vec::new);
                self.copies[copy.min(COPIES) - 1].push(datagram.to_vec());
            }
        }
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads after the handshake: a repeated Finished makes OpenSSL repeat our last flight, an alert ends the association.
fn read(stream: &mut SslStream<Datagrams>, datagram: Option<Vec<u8>>, transmits: &mut Vec<Vec<u8>>) -> Outcome {
    retransmission::begin();
    stream.get_mut().incoming = datagram;
    let mut application_data = [0; 2048];
    let result = loop {
        match stream.ssl_read(&mut application_data) {
            Ok(_) => {} // nobody has negotiated data over DTLS
            Err(error) => break error,
        }
    };
    transmits.append(&mut stream.get_mut().outgoing);
    if result.code() == ErrorCode::WANT_READ { Outcome::Pending } else { Outcome::Closed }
}

/// Writes a close_notify.
fn shut_down(stream: &mut SslStream<Datagrams>) -> Vec<Vec<u8>> {
    retransmission::begin();
    // It may fail where the peer has ended the association first: then there is nothing to write.
    let _ = stream.shutdown();
    std::mem::take(&mut stream.get_mut().outgoing)
}

/// Splits the exported bytes: client key, server key, client salt, server salt (RFC 5764 §4.2).
fn export_keys(stream: &SslStream<Datagrams>, suite: SrtpSuite, role: Role) -> Result<SrtpKeys, ErrorStack> {
    let (key, salt) = (suite.key_length(), suite.salt_length());
    let mut exported = vec![0; 2 * (key + salt)];
    stream.ssl().export_keying_material(&mut exported, EXPORTER, None)?;
    let (keys, salts) = exported.split_at(2 * key);
    let half = |which: usize| {
        let (key, salt) = (&keys[which * key..][..key], &salts[which * salt..][..salt]);
        Secret::new([key, salt].concat())
    };
    let (client, server) = (half(0), half(1));
    Ok(match role {
        Role::Client => SrtpKeys { local: client, remote: server },
        Role::Server => SrtpKeys { local: server, remote: client },
    })
}

fn failure(error: &ssl::Error) -> FailureReason {
    /// What OpenSSL adds to the number of an alert it received.
    const ALERT: i32 = 1000;
    let reasons = error.ssl_error().into_iter().flat_map(ErrorStack::errors);
    if reasons.into_iter().any(|reason| (ALERT..ALERT + 256).contains(&reason.reason_code())) {
        FailureReason::Alert
    } else {
        FailureReason::Handshake
    }
}

/// OpenSSL's name of a profile.
fn profile_name(suite: &SrtpSuite) -> Option<&'static str> {
    match suite {
        SrtpSuite::AeadAes128Gcm => Some("SRTP_AEAD_AES_128_GCM"),
        SrtpSuite::AeadAes256Gcm => Some("SRTP_AEAD_AES_256_GCM"),
        SrtpSuite::AesCm128Sha1_80 => Some("SRTP_AES128_CM_SHA1_80"),
        SrtpSuite::AesCm128Sha1_32 => Some("SRTP_AES128_CM_SHA1_32"),
        SrtpSuite::Aes256CmSha1_80
        | SrtpSuite::Aes256CmSha1_32
        | SrtpSuite::Aes192CmSha1_80
        | SrtpSuite::Aes192CmSha1_32 => None,
    }
}
