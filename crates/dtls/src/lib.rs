//! DTLS-SRTP (RFC 5763, RFC 5764) as a core without I/O.
//!
//! An [`Engine`] runs the handshakes of many associations over OpenSSL. It takes [`ToDtls`] and the time, and gives
//! [`FromDtls`]: plain values, so that the half millisecond of arithmetic a handshake costs can be spent on a thread
//! beside the one that forwards media. DTLS 1.2 only. A peer is believed by the fingerprint of its certificate and by
//! nothing else: no dates, no authorities.
//!
//! - [`certificate`]: our certificates, and the comparing of fingerprints
//! - [`engine`]: all associations, their timers and their bounds

pub mod certificate;
pub mod engine;

pub use certificate::{Certificate, CertificateError};
pub use engine::{AssociationId, Config, Engine, FailureReason, FromDtls, Role, SUITES, SrtpKeys, ToDtls};
