//! The RTP header (RFC 3550 §5.1): read, checked, changed and written in place.
//!
//! ```text
//!  0                   1                   2                   3
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |                             SSRC                              |
//! |                    CSRC, CC times                             |
//! |  profile (if X)               |  length in words              |
//! |                    extension (RFC 8285)                       |
//! |                    payload, padding                           |
//! ```

use std::{ops::Range, time::Duration};

use model::{PayloadType, Ssrc};

use crate::packet::Packet;

/// Bytes of the part of the header that every packet has.
pub const FIXED_HEADER: usize = 12;

/// A larger step forward than this is a restart of the source (RFC 3550 §A.1).
pub(crate) const MAX_DROPOUT: i64 = 3000;

/// A larger step back than this is a restart of the source (RFC 3550 §A.1).
pub(crate) const MAX_MISORDER: i64 = 100;

const VERSION: u8 = 2 << 6;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const CSRC_COUNT: u8 = 0x0F;
const MARKER: u8 = 0x80;

/// Sequence number as on the wire, 16 bits; it wraps.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// How far this lies behind `other`: positive if it is newer, modulo 2^16.
    pub const fn since(self, other: Self) -> i16 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// The number `steps` later.
    #[must_use]
    pub const fn plus(self, steps: u16) -> Self {
        Self(self.0.wrapping_add(steps))
    }
}

/// Sequence number with the count of its rollovers above it: the packet index of RFC 3711 §3.3.1, 48 bits.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ExtSeqNo(u64);

impl ExtSeqNo {
    /// The last index there is under one key.
    pub const MAX: Self = Self((1 << 48) - 1);

    /// Puts rollover counter and sequence number together.
    pub const fn new(rollovers: u32, seq: SeqNo) -> Self {
        Self((rollovers as u64) << 16 | seq.0 as u64)
    }

    /// The number as a whole.
    pub const fn index(self) -> u64 {
        self.0
    }

    /// The upper 32 bits: the rollover counter.
    pub const fn rollovers(self) -> u32 {
        let [_, _, a, b, c, d, _, _] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// The lower 16 bits, as on the wire.
    pub const fn seq(self) -> SeqNo {
        let [.., high, low] = self.0.to_be_bytes();
        SeqNo(u16::from_be_bytes([high, low]))
    }

    /// Guesses the whole of a sequence number on the wire, this being the highest known so far (RFC 3711 §3.3.1).
    ///
    /// `None` before index 0 and beyond [`ExtSeqNo::MAX`].
    pub fn nearest(self, seq: SeqNo) -> Option<Self> {
        const HALF: u16 = 1 << 15;
        let highest = self.seq().0;
        let rollovers = if highest < HALF {
            if seq.0.saturating_sub(highest) > HALF { self.rollovers().checked_sub(1)? } else { self.rollovers() }
        } else if highest - HALF > seq.0 {
            self.rollovers().checked_add(1)?
        } else {
            self.rollovers()
        };
        Some(Self::new(rollovers, seq))
    }

    /// How many indices this lies behind `other`.
    pub const fn steps_from(self, other: Self) -> i64 {
        self.0.cast_signed() - other.0.cast_signed()
    }

    /// The index `steps` away; `None` where there is none.
    pub fn offset(self, steps: i64) -> Option<Self> {
        self.0.checked_add_signed(steps).map(Self).filter(|index| *index <= Self::MAX)
    }
}

/// RTP timestamp, in ticks of the payload's clock; it wraps.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct RtpTime(pub u32);

impl RtpTime {
    /// Ticks from `other` to this, modulo 2^32.
    pub const fn since(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }

    /// The time `ticks` later.
    #[must_use]
    pub const fn plus(self, ticks: u32) -> Self {
        Self(self.0.wrapping_add(ticks))
    }
}

/// A time in ticks of a clock, modulo 2^32.
pub(crate) fn ticks(time: Duration, clock_rate: u32) -> u32 {
    const NANOS: u64 = 1_000_000_000;
    let rate = u64::from(clock_rate);
    let ticks = time.as_secs().wrapping_mul(rate).wrapping_add(u64::from(time.subsec_nanos()) * rate / NANOS);
    let [.., a, b, c, d] = ticks.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// The header of one packet, taken apart.
///
/// To change a packet: parse, change fields, [`Header::write`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    flags: u8,
    /// The marker bit: first packet of a talkspurt, last of a picture.
    pub marker: bool,
    /// What the payload is.
    pub payload_type: PayloadType,
    /// Sequence number.
    pub seq: SeqNo,
    /// When the payload was sampled.
    pub time: RtpTime,
    /// Whose it is.
    pub ssrc: Ssrc,
    length: usize,
}

impl Header {
    /// Makes the header of a packet without CSRCs, extension or padding.
    pub const fn new(payload_type: PayloadType, seq: SeqNo, time: RtpTime, ssrc: Ssrc) -> Self {
        Self { flags: VERSION, marker: false, payload_type, seq, time, ssrc, length: FIXED_HEADER }
    }

    /// Reads and checks a header (RFC 3550 §A.1). It says nothing of the padding, which SRTP encrypts.
    ///
    /// # Errors
    ///
    /// The packet is not RTP, or is shorter than its header says.
    pub fn parse(packet: &[u8]) -> Result<Self, RtpError> {
        let Some(&[flags, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3]) = packet.first_chunk() else {
            return Err(RtpError::TooShort);
        };
        if flags & 0xC0 != VERSION {
            return Err(RtpError::Version);
        }
        let header = Self {
            flags,
            marker: second & MARKER != 0,
            payload_type: PayloadType::try_from(second & !MARKER).expect("seven bits are at most 127"),
            seq: SeqNo(u16::from_be_bytes([s0, s1])),
            time: RtpTime(u32::from_be_bytes([t0, t1, t2, t3])),
            ssrc: Ssrc(u32::from_be_bytes([c0, c1, c2, c3])),
            length: FIXED_HEADER,
        };
        let mut length = header.csrc_end();
        if header.has_extension() {
            let Some([_, _, high, low]) = packet.get(length..length + 4) else { return Err(RtpError::Extension) };
            length += 4 + 4 * usize::from(u16::from_be_bytes([*high, *low]));
        }
        if packet.len() < length {
            return Err(if header.has_extension() { RtpError::Extension } else { RtpError::TooShort });
        }
        Ok(Self { length, ..header })
    }

    /// Writes the first twelve bytes back: flags, marker, payload type, sequence number, timestamp, SSRC.
    ///
    /// # Errors
    ///
    /// There is no room for them.
    pub fn write(&self, packet: &mut [u8]) -> Result<(), RtpError> {
        let fixed = packet.first_chunk_mut::<FIXED_HEADER>().ok_or(RtpError::TooShort)?;
        fixed[0] = self.flags;
        fixed[1] = u8::from(self.payload_type) | if self.marker { MARKER } else { 0 };
        fixed[2..4].copy_from_slice(&self.seq.0.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.time.0.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ssrc.0.to_be_bytes());
        Ok(())
    }

    /// Bytes of the whole header: with CSRCs and extension.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Says whether a header extension follows the CSRCs.
    pub const fn has_extension(&self) -> bool {
        self.flags & EXTENSION != 0
    }

    /// The profile word and the elements of the extension, as a range of the packet.
    pub const fn extension(&self) -> Option<Range<usize>> {
        if self.has_extension() { Some(self.csrc_end()..self.length) } else { None }
    }

    /// Where the payload lies in the packet, without its padding.
    ///
    /// # Errors
    ///
    /// The padding is empty or longer than the payload.
    pub fn payload(&self, packet: &[u8]) -> Result<Range<usize>, RtpError> {
        let room = packet.len().checked_sub(self.length).ok_or(RtpError::TooShort)?;
        if self.flags & PADDING == 0 {
            return Ok(self.length..packet.len());
        }
        match packet.last() {
            Some(&padding) if padding != 0 && usize::from(padding) <= room => {
                Ok(self.length..packet.len() - usize::from(padding))
            }
            Some(_) | None => Err(RtpError::Padding),
        }
    }

    /// Takes CSRCs and extension out of the packet by moving the fixed header forward over them, and writes it.
    ///
    /// # Errors
    ///
    /// The packet is shorter than this header.
    pub fn strip(&mut self, packet: &mut Packet<'_>, what: Strip) -> Result<(), RtpError> {
        let surplus = match what {
            Strip::Csrcs => self.csrc_end() - FIXED_HEADER,
            Strip::CsrcsAndExtension => self.length - FIXED_HEADER,
        };
        if packet.len() < self.length {
            return Err(RtpError::TooShort);
        }
        packet.advance(surplus);
        self.length -= surplus;
        self.flags &= match what {
            Strip::Csrcs => !CSRC_COUNT,
            Strip::CsrcsAndExtension => !(CSRC_COUNT | EXTENSION),
        };
        self.write(packet)
    }

    /// Says whether the packet names contributing sources.
    pub const fn has_csrcs(&self) -> bool {
        self.flags & CSRC_COUNT != 0
    }

    const fn csrc_end(&self) -> usize {
        FIXED_HEADER + 4 * (self.flags & CSRC_COUNT) as usize
    }
}

/// What [`Header::strip`] takes out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Strip {
    /// The list of contributing sources: their SSRCs mean nothing on another leg.
    Csrcs,
    /// That, and the whole header extension.
    CsrcsAndExtension,
}

/// Why a packet is not RTP (RFC 3550 §A.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RtpError {
    /// It ends within the header.
    #[error("too short for an RTP header")]
    TooShort,
    /// The version is not 2.
    #[error("not RTP version 2")]
    Version,
    /// The header extension goes beyond the end.
    #[error("header extension beyond the packet")]
    Extension,
    /// The padding is empty or longer than the payload.
    #[error("bad padding")]
    Padding,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_index_is_guessed_as_rfc_3711_3_3_1_says() {
        let highest = ExtSeqNo::new(0, SeqNo(65_530));
        assert_eq!(highest.nearest(SeqNo(3)), Some(ExtSeqNo::new(1, SeqNo(3))));
        assert_eq!(ExtSeqNo::new(1, SeqNo(3)).index(), 65_539);
        assert_eq!(ExtSeqNo::new(1, SeqNo(3)).nearest(SeqNo(65_533)), Some(ExtSeqNo::new(0, SeqNo(65_533))));
        assert_eq!(ExtSeqNo::new(0, SeqNo(3)).nearest(SeqNo(65_533)), None, "before the first");
        assert_eq!(ExtSeqNo::MAX.nearest(SeqNo(0)), None, "after the last");
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let packet = *b"\x80\x00\x00\x01\0\0\0\xA0\0\0\0\x01";
        let with = |flags: u8, rest: &[u8]| [&[flags], &packet[1..], rest].concat();
        assert_eq!(Header::parse(&packet[..11]), Err(RtpError::TooShort));
        assert_eq!(Header::parse(&with(0x40, b"")), Err(RtpError::Version));
        assert_eq!(Header::parse(&with(0x82, b"1234567")), Err(RtpError::TooShort));
        assert_eq!(Header::parse(&with(0x90, b"\xBE\xDE\x00")), Err(RtpError::Extension));
        assert_eq!(Header::parse(&with(0x90, b"\xBE\xDE\x00\x01abc")), Err(RtpError::Extension));
        let payload = |bytes: &[u8]| Header::parse(bytes).and_then(|header| header.payload(bytes));
        assert_eq!(payload(&with(0xA0, b"ab\x02")), Ok(12..13));
        assert_eq!(payload(&with(0xA0, b"ab\x03")), Ok(12..12));
        for padding in [&b"ab\x00"[..], b"ab\x04", b""] {
            assert_eq!(payload(&with(0xA0, padding)), Err(RtpError::Padding));
        }
    }

    /// The packet on which another implementation panics: an extension in the one-byte form that ends in its middle.
    #[test]
    fn a_truncated_extension_element_is_harmless() {
        let packet = crate::vectors::unhex("b06f000100000044cafebabebede00011080cf00");
        let header = Header::parse(&packet).expect("the header itself is sound");
        assert_eq!(header.payload(&packet), Err(RtpError::Padding));
    }

    proptest! {
        #[test]
        fn a_header_that_was_written_parses_back(
            pt in 0_u8..128, seq in any::<u16>(), time in any::<u32>(), ssrc in any::<u32>(), marker in any::<bool>()
        ) {
            let payload_type = PayloadType::try_from(pt).expect("at most 127");
            let header = Header { marker, ..Header::new(payload_type, SeqNo(seq), RtpTime(time), Ssrc(ssrc)) };
            let mut bytes = [0; 20];
            prop_assert_eq!(header.write(&mut bytes), Ok(()));
            prop_assert_eq!(Header::parse(&bytes), Ok(header));
        }

        #[test]
        fn any_header_that_parses_is_written_back_unchanged(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(header) = Header::parse(&bytes) {
                let before = bytes.clone();
                prop_assert_eq!(header.write(&mut bytes), Ok(()));
                prop_assert_eq!(&bytes, &before);
                prop_assert!(header.length() <= bytes.len());
                if let Ok(payload) = header.payload(&bytes) {
                    prop_assert!(payload.start <= payload.end && payload.end <= bytes.len());
                }
            }
        }

        #[test]
        fn the_nearest_index_is_nearest(highest in 0_u64..1 << 40, seq in any::<u16>()) {
            let highest = ExtSeqNo::default().offset(highest.cast_signed()).expect("below 2^48");
            if let Some(index) = highest.nearest(SeqNo(seq)) {
                prop_assert_eq!(index.seq(), SeqNo(seq));
                prop_assert!(index.steps_from(highest).abs() <= 1 << 15);
            } else {
                prop_assert!(highest.index() < 1 << 15);
            }
        }
    }
}
