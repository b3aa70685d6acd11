//! What a receiver sees as one unbroken RTP stream, whatever sources feed it.

use std::time::Instant;

use model::{MediaKind, PayloadType, Ssrc};

use crate::{
    extension::ExtensionMap,
    packet::Packet,
    rtp::{self, RtpError, RtpTime, SeqNo},
};

/// From the payload types of one leg to those of another: one entry for each of the 128.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PayloadTypeMap([Option<PayloadType>; 128]);

impl Default for PayloadTypeMap {
    fn default() -> Self {
        Self([None; 128])
    }
}

impl PayloadTypeMap {
    /// Lets one payload type pass, under another number.
    pub fn insert(&mut self, incoming: PayloadType, outgoing: PayloadType) {
        self.0[usize::from(u8::from(incoming))] = Some(outgoing);
    }

    /// The number on the other leg; `None` if it must not pass.
    pub fn outgoing(&self, incoming: PayloadType) -> Option<PayloadType> {
        self.0[usize::from(u8::from(incoming))]
    }

    /// The way back: the first payload type that becomes `outgoing`.
    pub fn incoming(&self, outgoing: PayloadType) -> Option<PayloadType> {
        (0..=127)
            .filter_map(|number| PayloadType::try_from(number).ok())
            .find(|pt| self.outgoing(*pt) == Some(outgoing))
    }
}

/// Where the outgoing stream begins: random numbers (RFC 3550 §5.1). The uppermost bit of the sequence number is not
/// used, so that a receiver that misses the first packets cannot mistake the rollover counter (RFC 3711 §3.3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The SSRC of the stream, for its whole life.
    pub ssrc: Ssrc,
    /// The first sequence number.
    pub seq: SeqNo,
    /// The first timestamp.
    pub time: RtpTime,
}

/// What the two legs agreed on; a new offer and answer may change it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Audio marks the first packet after a change of source; video marks the ends of pictures, which stay as they are.
    pub kind: MediaKind,
    /// Ticks of the timestamp per second.
    pub clock_rate: u32,
    /// Which payload types pass.
    pub payload_types: PayloadTypeMap,
    /// Which header extensions pass.
    pub extensions: ExtensionMap,
    /// How a source that was not heard before is met.
    pub newcomers: Newcomers,
}

/// How a source that was not heard before is met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Newcomers {
    /// At once: its packets are authentic.
    Welcome,
    /// With its second packet in sequence (RFC 3550 §A.1), unless it is the first source of all.
    Probation,
}

/// One outgoing stream: where its numbers stand, and from which sources they came.
#[derive(Clone, Debug)]
pub struct Rewriter {
    origin: Origin,
}

impl Rewriter {
    /// Makes a stream that has sent nothing yet.
    pub fn new(origin: Origin, _settings: Settings) -> Self {
        Self { origin }
    }

    /// Takes what a new offer and answer agreed on. The numbers go on.
    pub fn set(&mut self, _settings: Settings) {}

    /// The SSRC that receivers see.
    pub const fn ssrc(&self) -> Ssrc {
        self.origin.ssrc
    }

    /// Rewrites a packet in place. What it returns is the new header.
    ///
    /// # Errors
    ///
    /// The packet is to be dropped. The receiver will see no loss for it, as far as later packets allow.
    pub fn apply(&mut self, packet: &mut Packet<'_>, _now: Instant) -> Result<rtp::Header, RewriteError> {
        Ok(rtp::Header::parse(packet)?)
    }

    /// Leaves out a packet that another rule keeps back (a key press that was consumed), so that the receiver sees no
    /// loss. `header` is that of the packet as it came.
    pub fn skip(&mut self, _header: &rtp::Header, _now: Instant) {}

    /// Gives the header of a packet of our own making, next in sequence and sampled now.
    pub fn originate(&mut self, payload_type: PayloadType, _now: Instant) -> rtp::Header {
        rtp::Header::new(payload_type, self.origin.seq, self.origin.time, self.origin.ssrc)
    }

    /// The timestamp of something sampled now; `None` before the first packet.
    pub fn time_at(&self, _now: Instant) -> Option<RtpTime> {
        None
    }

    /// What was sent so far.
    pub const fn sent(&self) -> Sent {
        Sent { packets: 0, octets: 0 }
    }
}

/// What an outgoing stream has sent, as an SR counts it (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sent {
    /// RTP packets.
    pub packets: u64,
    /// Bytes of their payload, without header and padding.
    pub octets: u64,
}

/// Why a packet is not passed on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// It is not RTP.
    #[error(transparent)]
    Malformed(#[from] RtpError),
    /// Its payload type was not negotiated on both legs.
    #[error("payload type not negotiated")]
    PayloadType,
    /// Its source is new, or jumped; it passes if the next packet goes on from there.
    #[error("source on probation")]
    Probation,
    /// It belongs to a source or a time that was left behind, and has no number any more.
    #[error("too late")]
    Late,
}
