//! How bytes reach a leg: addresses, candidates, fingerprints, keys.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Secret;

/// Everything a writer says about its transport: a `<transport/>`, or the `c=`, `m=` port and attributes of an SDP.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct MediaPath {
    /// Where RTP goes without ICE, or by ICE's default candidate.
    pub rtp: Option<SocketAddr>,
    /// Where RTCP goes when it has a port of its own (`a=rtcp`, RFC 3605); RTP's port plus one where nothing is said.
    pub rtcp: Option<SocketAddr>,
    /// RTP and RTCP share a port (RFC 5761). In an offer: may share.
    pub rtcp_mux: bool,
    /// Never falls back to two ports (RFC 8858).
    pub rtcp_mux_only: bool,
    /// The transport and profile words of the `m=` line.
    pub profile: Profile,
    /// ICE, if it is used.
    pub ice: Option<IceParameters>,
    /// What the writer can be reached at, by ICE.
    pub candidates: Vec<Candidate>,
    /// No candidates will follow.
    pub end_of_candidates: bool,
    /// DTLS, if it is used.
    pub dtls: Option<DtlsParameters>,
    /// Keys in the description (RFC 4568), best first.
    pub crypto: Vec<Crypto>,
    /// What is known of the way to the writer, beside what it says.
    #[serde(default)]
    pub surroundings: Surroundings,
}

/// What is known of the way to the writer of a description that is reached without ICE.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Surroundings {
    /// The address that the signalling which brought the description came from, where it is another than the policy says.
    pub sender: Option<IpAddr>,
    /// Nothing is sent before the peer was heard, so that a translator in front of it is open (RFC 4961 §4).
    pub waits: bool,
    /// Empty datagrams are sent until the peer was heard, so that a translator in front of us is open (RFC 6263 §4.1).
    pub pierces: bool,
}

/// The credentials of an ICE session (RFC 8445 §5.3), and what the agent behind them is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IceParameters {
    /// User name fragment, 4 to 256 characters.
    pub ufrag: String,
    /// Password, 22 to 256 characters.
    pub pwd: Secret<String>,
    /// A lite agent, which never sends checks.
    pub lite: bool,
}

/// Which half of a stream a candidate carries (RFC 8445 §3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Component {
    /// Component 1: RTP, and RTCP too when they are muxed.
    Rtp,
    /// Component 2: RTCP on a port of its own.
    Rtcp,
}

impl Component {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Rtp => 1,
            Self::Rtcp => 2,
        }
    }

    /// The component of a number; only 1 and 2 have a meaning here.
    pub const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::Rtp),
            2 => Some(Self::Rtcp),
            _ => None,
        }
    }
}

/// A UDP transport address a leg may be reached at (RFC 8839 §5.1). Other transports are left out when parsing.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Candidate {
    /// Equal for candidates of one kind and base; 1 to 32 characters.
    pub foundation: String,
    /// RTP or RTCP.
    pub component: Component,
    /// 1 to 2^31 - 1, larger is better.
    pub priority: u32,
    /// Where it is.
    pub address: SocketAddr,
    /// How it was found.
    pub kind: CandidateKind,
    /// The base of a reflexive or relayed candidate.
    pub related: Option<SocketAddr>,
    /// Which ICE generation it belongs to, 0 for the first (XEP-0176).
    pub generation: u32,
}

/// How a candidate was found (RFC 8445 §5.1.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum CandidateKind {
    /// An address of the host itself.
    Host,
    /// Seen by a STUN server.
    ServerReflexive,
    /// Seen by the peer.
    PeerReflexive,
    /// Lent by a TURN server.
    Relayed,
}

impl CandidateKind {
    /// The word on the wire, the same in SDP and Jingle.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::ServerReflexive => "srflx",
            Self::PeerReflexive => "prflx",
            Self::Relayed => "relay",
        }
    }
}

/// The error of a word that names nothing we know.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unknown {0}")]
pub struct UnknownName(&'static str);

impl FromStr for CandidateKind {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        [Self::Host, Self::ServerReflexive, Self::PeerReflexive, Self::Relayed]
            .into_iter()
            .find(|kind| kind.as_str() == word)
            .ok_or(UnknownName("candidate type"))
    }
}

/// What a writer says for DTLS-SRTP (RFC 8842).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DtlsParameters {
    /// The peer's certificate must match one of them (RFC 8122 §5).
    pub fingerprints: Vec<Fingerprint>,
    /// Who opens the association.
    pub setup: Setup,
    /// What the writer calls the association; another name is another association (RFC 8842 §5.1).
    #[serde(default)]
    pub tls_id: Option<String>,
}

/// The hash of a certificate (RFC 8122 §5).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fingerprint {
    /// The hash function.
    pub hash: HashFunction,
    /// Its value over the DER form of the certificate.
    pub digest: Vec<u8>,
}

impl Fingerprint {
    /// Parses `AA:BB:…` in either case.
    ///
    /// # Errors
    ///
    /// The text is not hexadecimal pairs joined by colons, or its length is not that of the hash function.
    pub fn parse(hash: HashFunction, text: &str) -> Result<Self, UnknownName> {
        let digest = text
            .trim()
            .split(':')
            .map(|pair| if pair.len() == 2 { u8::from_str_radix(pair, 16).ok() } else { None })
            .collect::<Option<Vec<u8>>>()
            .filter(|digest| digest.len() == hash.length())
            .ok_or(UnknownName("fingerprint"))?;
        Ok(Self { hash, digest })
    }

    /// The digest as upper-case hexadecimal pairs joined by colons.
    pub fn hex(&self) -> String {
        self.digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }
}

/// The hash functions a fingerprint may use; MD2 and MD5 must not be (RFC 8122 §5).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum HashFunction {
    /// SHA-1, accepted from old peers.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256, the one we send.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashFunction {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The word on the wire, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha1 => "sha-1",
            Self::Sha224 => "sha-224",
            Self::Sha256 => "sha-256",
            Self::Sha384 => "sha-384",
            Self::Sha512 => "sha-512",
        }
    }

    /// Bytes of its value.
    pub const fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl FromStr for HashFunction {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|hash| hash.as_str().eq_ignore_ascii_case(word)).ok_or(UnknownName("hash function"))
    }
}

/// Who opens a DTLS association (RFC 4145 §4, RFC 8842 §5.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Setup {
    /// The writer sends the ClientHello.
    Active,
    /// The writer waits for it.
    Passive,
    /// Either; only in an offer.
    Actpass,
    /// Nobody for now.
    Holdconn,
}

impl Setup {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::Actpass => "actpass",
            Self::Holdconn => "holdconn",
        }
    }
}

impl FromStr for Setup {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        [Self::Active, Self::Passive, Self::Actpass, Self::Holdconn]
            .into_iter()
            .find(|setup| setup.as_str().eq_ignore_ascii_case(word))
            .ok_or(UnknownName("setup"))
    }
}

/// An SDES key (RFC 4568 §9.1): one `a=crypto` line or `<crypto/>` element that we understood.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Crypto {
    /// Names the line; the answer repeats it.
    pub tag: u32,
    /// The suite.
    pub suite: SrtpSuite,
    /// Master key and master salt, one after the other, of the suite's lengths.
    pub key_and_salt: Secret<Vec<u8>>,
    /// Master key identifier and its length in bytes (1 to 128), if packets carry one.
    pub mki: Option<(u64, u8)>,
    /// How many packets of RTP, and as many of RTCP, the key may protect (RFC 4568 §6.1); nothing where the writer names
    /// no number.
    #[serde(default)]
    pub lifetime: Option<Lifetime>,
    /// RTCP is authenticated and not encrypted (RFC 4568 §6.3.2).
    #[serde(default)]
    pub unencrypted_srtcp: bool,
}

impl Crypto {
    /// The session parameter that both sides have to write for RTCP in clear (RFC 4568 §6.3.2).
    pub const UNENCRYPTED_SRTCP: &str = "UNENCRYPTED_SRTCP";

    /// A key that has no identifier, no lifetime and no session parameter.
    pub const fn new(tag: u32, suite: SrtpSuite, key_and_salt: Secret<Vec<u8>>) -> Self {
        Self { tag, suite, key_and_salt, mki: None, lifetime: None, unencrypted_srtcp: false }
    }
}

/// How many packets a key may protect: 1 to 2^48 (RFC 4568 §6.1, RFC 3711 §9.2).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Lifetime(u64);

impl Lifetime {
    /// The most there is: as many as there are packet indices.
    pub const MAX: Self = Self(1 << 48);

    /// The number.
    pub const fn packets(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for Lifetime {
    type Error = UnknownName;

    fn try_from(packets: u64) -> Result<Self, UnknownName> {
        if (1..=Self::MAX.0).contains(&packets) { Ok(Self(packets)) } else { Err(UnknownName("lifetime")) }
    }
}

impl From<Lifetime> for u64 {
    fn from(Lifetime(packets): Lifetime) -> Self {
        packets
    }
}

/// A number in decimal, or as a power of two: `2^31`.
impl FromStr for Lifetime {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        let number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit()).then(|| digits.parse().ok())?;
        let packets = match word.strip_prefix("2^") {
            Some(exponent) => number(exponent).and_then(|exponent| 1_u64.checked_shl(u32::try_from(exponent).ok()?)),
            None => number(word),
        };
        packets.ok_or(UnknownName("lifetime"))?.try_into()
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_power_of_two() {
            true => write!(f, "2^{}", self.0.trailing_zeros()),
            false => write!(f, "{}", self.0),
        }
    }
}

/// The SRTP suites we speak, by their SDP names (RFC 4568 §6.2, RFC 6188 §4, RFC 7714 §14).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum SrtpSuite {
    /// AEAD_AES_128_GCM.
    AeadAes128Gcm,
    /// AEAD_AES_256_GCM.
    AeadAes256Gcm,
    /// AES_256_CM_HMAC_SHA1_80; by SDES only.
    Aes256CmSha1_80,
    /// AES_256_CM_HMAC_SHA1_32; by SDES only.
    Aes256CmSha1_32,
    /// AES_192_CM_HMAC_SHA1_80; by SDES only.
    Aes192CmSha1_80,
    /// AES_192_CM_HMAC_SHA1_32; by SDES only.
    Aes192CmSha1_32,
    /// AES_CM_128_HMAC_SHA1_80.
    AesCm128Sha1_80,
    /// AES_CM_128_HMAC_SHA1_32.
    AesCm128Sha1_32,
}

impl SrtpSuite {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::AeadAes256Gcm,
        Self::AeadAes128Gcm,
        Self::Aes256CmSha1_80,
        Self::Aes256CmSha1_32,
        Self::Aes192CmSha1_80,
        Self::Aes192CmSha1_32,
        Self::AesCm128Sha1_80,
        Self::AesCm128Sha1_32,
    ];

    /// Those that are used where nobody names any, in the order in which we offer them.
    pub const USUAL: [Self; 5] =
        [Self::AeadAes256Gcm, Self::AeadAes128Gcm, Self::Aes256CmSha1_80, Self::AesCm128Sha1_80, Self::AesCm128Sha1_32];

    /// The name in SDP and in Jingle's `crypto-suite`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::Aes256CmSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::Aes256CmSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::Aes192CmSha1_80 => "AES_192_CM_HMAC_SHA1_80",
            Self::Aes192CmSha1_32 => "AES_192_CM_HMAC_SHA1_32",
            Self::AesCm128Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// The number in DTLS's `use_srtp` (RFC 5764 §4.1.2), if it has one.
    pub const fn dtls_id(self) -> Option<u16> {
        match self {
            Self::AesCm128Sha1_80 => Some(0x0001),
            Self::AesCm128Sha1_32 => Some(0x0002),
            Self::AeadAes128Gcm => Some(0x0007),
            Self::AeadAes256Gcm => Some(0x0008),
            Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 | Self::Aes192CmSha1_80 | Self::Aes192CmSha1_32 => None,
        }
    }

    /// Bytes of the master key.
    pub const fn key_length(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AesCm128Sha1_80 | Self::AesCm128Sha1_32 => 16,
            Self::Aes192CmSha1_80 | Self::Aes192CmSha1_32 => 24,
            Self::AeadAes256Gcm | Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 => 32,
        }
    }

    /// Bytes of the master salt.
    pub const fn salt_length(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::Aes256CmSha1_80
            | Self::Aes256CmSha1_32
            | Self::Aes192CmSha1_80
            | Self::Aes192CmSha1_32
            | Self::AesCm128Sha1_80
            | Self::AesCm128Sha1_32 => 14,
        }
    }
}

impl FromStr for SrtpSuite {
    type Err = UnknownName;

    fn from_str(word: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|suite| suite.as_str() == word).ok_or(UnknownName("SRTP suite"))
    }
}

/// The transport and profile of an `m=` line (RFC 3551, 3711, 4585, 5124, 5764).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Profile {
    /// `RTP/AVP`.
    #[default]
    Avp,
    /// `RTP/AVPF`: with early feedback.
    Avpf,
    /// `RTP/SAVP`: SRTP with keys in the description.
    Savp,
    /// `RTP/SAVPF`.
    Savpf,
    /// `UDP/TLS/RTP/SAVP`: SRTP with keys from DTLS.
    TlsSavp,
    /// `UDP/TLS/RTP/SAVPF`.
    TlsSavpf,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Avp, Self::Avpf, Self::Savp, Self::Savpf, Self::TlsSavp, Self::TlsSavpf];

    /// The words of the `m=` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Avp => "RTP/AVP",
            Self::Avpf => "RTP/AVPF",
            Self::Savp => "RTP/SAVP",
            Self::Savpf => "RTP/SAVPF",
            Self::TlsSavp => "UDP/TLS/RTP/SAVP",
            Self::TlsSavpf => "UDP/TLS/RTP/SAVPF",
        }
    }

    /// Says whether early RTCP feedback is allowed.
    pub const fn has_feedback(self) -> bool {
        matches!(self, Self::Avpf | Self::Savpf | Self::TlsSavpf)
    }

    /// Says whether the media is SRTP.
    pub const fn is_secure(self) -> bool {
        !matches!(self, Self::Avp | Self::Avpf)
    }

    /// The same transport with or without early feedback.
    #[must_use]
    pub const fn with_feedback(self, feedback: bool) -> Self {
        match (self, feedback) {
            (Self::Avp | Self::Avpf, false) => Self::Avp,
            (Self::Avp | Self::Avpf, true) => Self::Avpf,
            (Self::Savp | Self::Savpf, false) => Self::Savp,
            (Self::Savp | Self::Savpf, true) => Self::Savpf,
            (Self::TlsSavp | Self::TlsSavpf, false) => Self::TlsSavp,
            (Self::TlsSavp | Self::TlsSavpf, true) => Self::TlsSavpf,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = UnknownName;

    fn from_str(words: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str().eq_ignore_ascii_case(words))
            .ok_or(UnknownName("transport protocol"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_back() {
        for suite in SrtpSuite::ALL {
            assert_eq!(suite.as_str().parse(), Ok(suite));
        }
        assert!(SrtpSuite::USUAL.iter().all(|suite| SrtpSuite::ALL.contains(suite)));
        for profile in Profile::ALL {
            assert_eq!(profile.as_str().parse(), Ok(profile));
        }
        for hash in HashFunction::ALL {
            assert_eq!(hash.as_str().to_uppercase().parse(), Ok(hash));
        }
    }

    #[test]
    fn a_lifetime_is_a_number_or_a_power_of_two_within_what_a_key_may_protect() {
        for (word, packets) in [("2^31", 1 << 31), ("2^48", 1 << 48), ("2^0", 1), ("1000", 1000), ("1", 1)] {
            let lifetime: Lifetime = word.parse().expect("it is within bounds");
            assert_eq!(lifetime.packets(), packets);
            assert_eq!(lifetime.to_string().parse(), Ok(lifetime));
        }
        for word in ["0", "2^49", "2^64", "2^4294967297", "281474976710657", "", "2^", "+1", "-1", "2^+3", "x"] {
            assert!(word.parse::<Lifetime>().is_err(), "{word}");
        }
    }

    #[test]
    fn a_fingerprint_of_the_wrong_length_is_refused() {
        let hex = vec!["ab"; 32].join(":");
        let parsed = Fingerprint::parse(HashFunction::Sha256, &hex).expect("32 bytes are SHA-256");
        assert_eq!(parsed.hex(), hex.to_uppercase());
        assert!(Fingerprint::parse(HashFunction::Sha1, &hex).is_err());
        assert!(Fingerprint::parse(HashFunction::Sha256, "A:BB").is_err());
        assert!(Fingerprint::parse(HashFunction::Sha256, "+1").is_err());
    }
}
