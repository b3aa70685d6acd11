//! Master keys, and where they come from.

use model::{Crypto, SrtpSuite};
use zeroize::Zeroizing;

/// A master key with its salt, for one direction (RFC 3711 §3.2.1). It has no `Debug`.
#[derive(Clone)]
pub struct MasterKey {
    pub(super) suite: SrtpSuite,
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) salt: Zeroizing<Vec<u8>>,
    pub(super) mki: Vec<u8>,
    pub(super) max_rtp_packets: u64,
    pub(super) max_rtcp_packets: u64,
    pub(super) unencrypted_srtcp: bool,
}

/// The most packets that a key may protect (RFC 3711 §9.2).
const MAX_RTP_PACKETS: u64 = 1 << 48;
const MAX_RTCP_PACKETS: u64 = 1 << 31;

impl MasterKey {
    /// Takes key and salt as they are.
    ///
    /// # Errors
    ///
    /// A length is not the suite's.
    pub fn new(suite: SrtpSuite, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        if key.len() != suite.key_length() || salt.len() != suite.salt_length() {
            return Err(KeyError::Length);
        }
        Ok(Self {
            suite,
            key: Zeroizing::new(key.to_vec()),
            salt: Zeroizing::new(salt.to_vec()),
            mki: Vec::new(),
            max_rtp_packets: MAX_RTP_PACKETS,
            max_rtcp_packets: MAX_RTCP_PACKETS,
            unencrypted_srtcp: false,
        })
    }

    /// Takes the key of an SDES line (RFC 4568 §6.1).
    ///
    /// # Errors
    ///
    /// Key and salt do not have the suite's length, or the master key identifier not the length it claims.
    pub fn from_sdes(crypto: &Crypto) -> Result<Self, KeyError> {
        let (key, salt) =
            crypto.key_and_salt.reveal().split_at_checked(crypto.suite.key_length()).ok_or(KeyError::Length)?;
        let mut master = Self::new(crypto.suite, key, salt)?;
        if let Some((value, length)) = crypto.mki {
            master.mki = mki_bytes(value, length)?;
        }
        if let Some(lifetime) = crypto.lifetime {
            master.max_rtp_packets = lifetime.packets().min(MAX_RTP_PACKETS);
            master.max_rtcp_packets = lifetime.packets().min(MAX_RTCP_PACKETS);
        }
        master.unencrypted_srtcp = crypto.unencrypted_srtcp;
        Ok(master)
    }

    /// The suite it is for.
    pub const fn suite(&self) -> SrtpSuite {
        self.suite
    }

    /// Says whether two are one key, whatever the terms: what one of them protects the other opens.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && self.salt == other.salt
    }
}

/// An identifier in as many bytes as it was declared to have (RFC 4568 §6.1).
fn mki_bytes(value: u64, length: u8) -> Result<Vec<u8>, KeyError> {
    const MAX_LENGTH: usize = 128;
    let length = usize::from(length);
    let value = value.to_be_bytes();
    let significant = value.iter().position(|byte| *byte != 0).map_or(0, |zeros| value.len() - zeros);
    if length == 0 || length > MAX_LENGTH || significant > length {
        return Err(KeyError::Mki);
    }
    let mut bytes = vec![0; length];
    for (byte, of_value) in bytes.iter_mut().rev().zip(value.iter().rev()) {
        *byte = *of_value;
    }
    Ok(bytes)
}

/// The two master keys that a DTLS handshake yields (RFC 5764 §4.2).
#[derive(Clone)]
pub struct DtlsKeys {
    /// The DTLS client seals with it, the server opens.
    pub client: MasterKey,
    /// The DTLS server seals with it, the client opens.
    pub server: MasterKey,
}

impl DtlsKeys {
    /// The label under which DTLS exports key material.
    pub const EXPORTER_LABEL: &str = "EXTRACTOR-dtls_srtp";

    /// Bytes to export for a suite.
    pub const fn exported_length(suite: SrtpSuite) -> usize {
        2 * (suite.key_length() + suite.salt_length())
    }

    /// Cuts exported key material apart: client key, server key, client salt, server salt.
    ///
    /// # Errors
    ///
    /// It has not the suite's length, or the suite is none of DTLS's.
    pub fn split(suite: SrtpSuite, exported: &[u8]) -> Result<Self, KeyError> {
        if suite.dtls_id().is_none() {
            return Err(KeyError::Suite);
        }
        if exported.len() != Self::exported_length(suite) {
            return Err(KeyError::Length);
        }
        let (keys, salts) = exported.split_at(2 * suite.key_length());
        let (client_key, server_key) = keys.split_at(suite.key_length());
        let (client_salt, server_salt) = salts.split_at(suite.salt_length());
        let master =
            |key, salt| MasterKey::new(suite, key, salt).map(|master| MasterKey { max_rtp_packets: 1 << 31, ..master });
        Ok(Self { client: master(client_key, client_salt)?, server: master(server_key, server_salt)? })
    }
}

/// Why key material cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Key and salt have not the suite's length.
    #[error("wrong length of key or salt")]
    Length,
    /// The master key identifier does not fit into its length, or that is not 1 to 128.
    #[error("bad master key identifier")]
    Mki,
    /// DTLS cannot negotiate the suite.
    #[error("not a suite of DTLS-SRTP")]
    Suite,
}
