//! DTLS-SRTP (RFC 5763, RFC 5764) as a core without I/O.
//!
//! An [`Engine`] runs the handshakes of many associations over OpenSSL. It takes [`ToDtls`] and the time, and gives
//! [`FromDtls`]: plain values, so that the half millisecond of arithmetic a handshake costs can be spent on a thread
//! beside the one that forwards media. DTLS 1.2 only. A peer is believed by the fingerprint of its certificate and by
//! nothing else: no dates, no authorities.
//!
//! - [`certificate`]: our certificates, and the comparing of fingerprints
//! - [`engine`]: all associations, their timers and their bounds
//! - `association`: one of them, around its OpenSSL object
//! - `retransmission`: OpenSSL's retransmissions by our clock; the only `unsafe`

mod association;
pub mod certificate;
pub mod engine;
mod retransmission;
#[cfg(test)]
mod tests;

pub use certificate::{Certificate, CertificateError};
pub use engine::{AssociationId, Config, Counters, Engine, FailureReason, FromDtls, Role, SUITES, SrtpKeys, ToDtls};
