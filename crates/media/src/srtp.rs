//! SRTP and SRTCP (RFC 3711), with AES in counter mode and HMAC-SHA1, or AES-GCM (RFC 7714).
//!
//! One [`Inbound`] or [`Outbound`] is one direction of one transport under one master key: all SSRCs of a bundle
//! share it. What is kept per SSRC (rollover counter, replay window) is bounded, and on the receiving side exists only
//! once a packet of that SSRC has authenticated.

mod inbound;
mod key;
mod outbound;

use crate::{packet::NoRoom, rtp::ExtSeqNo};
use model::Ssrc;

pub use inbound::Inbound;
pub use key::{DtlsKeys, KeyError, MasterKey};
pub use outbound::Outbound;

/// How many SSRCs one master key serves in one direction.
pub const MAX_SOURCES: usize = 16;

/// The most bytes that protection adds to a packet, without a master key identifier: tag and SRTCP index.
pub const MAX_OVERHEAD: usize = 16 + 4;

/// How far a source has come: what must be carried over when its keys, or the process, are exchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rollover {
    /// The source.
    pub ssrc: Ssrc,
    /// The highest packet index it has used.
    pub highest: ExtSeqNo,
}

/// Why a packet was not opened or sealed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SrtpError {
    /// It is no RTP or RTCP packet, or too short for its tag.
    #[error("malformed packet")]
    Malformed,
    /// Its master key identifier is not ours.
    #[error("unknown master key identifier")]
    UnknownMki,
    /// An index that was seen before, or is too old to know.
    #[error("replayed packet")]
    Replayed,
    /// The tag does not fit.
    #[error("authentication failed")]
    Authentication,
    /// SRTCP without encryption, which we never agree to.
    #[error("unencrypted SRTCP")]
    Unencrypted,
    /// A source beyond [`MAX_SOURCES`].
    #[error("too many sources")]
    TooManySources,
    /// The key has protected as many packets as it may (RFC 3711 §9.2): rekey.
    #[error("key used up")]
    KeyUsedUp,
    /// We were about to protect two packets with one index, which would give both away.
    #[error("packet index used before")]
    IndexReused,
    /// The buffer has no room for tag and index.
    #[error("no room for the tag")]
    NoRoom,
}

impl From<NoRoom> for SrtpError {
    fn from(NoRoom: NoRoom) -> Self {
        Self::NoRoom
    }
}
