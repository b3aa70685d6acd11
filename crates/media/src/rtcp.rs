//! RTCP (RFC 3550 §6): compound packets walked, written, and translated from one leg to the other.

mod translate;
mod write;

use crate::rtp::RtpTime;
use model::Ssrc;

pub use translate::{OtherLeg, Streams, Translated, translate};
pub use write::Writer;

/// What a sender says of its stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SenderInfo {
    /// Wall clock, NTP form: seconds since 1900 in the upper 32 bits.
    pub ntp: u64,
    /// The same instant as timestamp of the stream.
    pub time: RtpTime,
    /// RTP packets sent.
    pub packets: u32,
    /// Bytes of their payload.
    pub octets: u32,
}

/// What a receiver says of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: Ssrc,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost in all, 24 bits; negative where duplicates came.
    pub lost: i32,
    /// Sequence number cycles above 16 bits of sequence number.
    pub highest: u32,
    /// Interarrival jitter in ticks.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last SR from the source, 0 if none.
    pub last_sr: u32,
    /// Since then, in 65536ths of a second.
    pub delay_since_last_sr: u32,
}

/// Why RTCP is not passed on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RtcpError {
    /// Its first packet is not RTCP.
    #[error("malformed RTCP")]
    Malformed,
    /// Nothing in it has a meaning on the other leg.
    #[error("nothing to pass on")]
    Empty,
    /// There is no room for it.
    #[error("no room for RTCP")]
    NoRoom,
}
