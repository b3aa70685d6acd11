//! RTCP (RFC 3550 §6): compound packets walked, written, and translated from one leg to the other.

mod feedback;
mod schedule;
mod translate;
mod write;
mod xr;

use std::time::Duration;

use model::Ssrc;

use crate::rewrite::Sent;
use crate::rtp::RtpTime;

pub use schedule::Schedule;
pub use translate::{OtherLeg, Streams, Translated, translate};
pub use write::Writer;

/// The packet types (RFC 3550 §12.1, RFC 4585 §6.1, RFC 3611 §2).
mod packet_type {
    pub(super) const SR: u8 = 200;
    pub(super) const RR: u8 = 201;
    pub(super) const SDES: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const APP: u8 = 204;
    pub(super) const RTPFB: u8 = 205;
    pub(super) const PSFB: u8 = 206;
    pub(super) const XR: u8 = 207;
}

/// One of the packets of a compound: `V=2 P count(5) | type(8) | length(16) | body`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RtcpPacket<'a> {
    /// The five bits that count blocks or tell the format.
    pub count: u8,
    /// What it is.
    pub packet_type: u8,
    /// What follows the first four bytes, without padding.
    pub body: &'a [u8],
}

impl<'a> RtcpPacket<'a> {
    /// The SSRC of whoever sent it: the first word of every packet but SDES and BYE.
    pub fn sender(&self) -> Option<Ssrc> {
        self.body.first_chunk().map(|word| Ssrc(u32::from_be_bytes(*word)))
    }

    /// What it says of its sender's stream, if it is an SR.
    pub fn sender_info(&self) -> Option<SenderInfo> {
        if self.packet_type != packet_type::SR {
            return None;
        }
        self.body.get(4..)?.first_chunk().map(SenderInfo::parse)
    }

    /// What it says of the streams its sender receives, if it is an SR or RR.
    pub fn report_blocks(&self) -> impl Iterator<Item = ReportBlock> + use<'a> {
        let blocks = match self.packet_type {
            packet_type::SR => self.body.get(4 + SenderInfo::LENGTH..),
            packet_type::RR => self.body.get(4..),
            _ => None,
        };
        let (blocks, _) = blocks.unwrap_or_default().as_chunks();
        blocks.iter().take(usize::from(self.count)).map(ReportBlock::parse)
    }

    /// The SSRCs that leave, if it is a BYE.
    pub fn leavers(&self) -> impl Iterator<Item = Ssrc> + use<'a> {
        let ssrcs = if self.packet_type == packet_type::BYE { self.body } else { &[] };
        let (ssrcs, _) = ssrcs.as_chunks();
        ssrcs.iter().take(usize::from(self.count)).map(|ssrc| Ssrc(u32::from_be_bytes(*ssrc)))
    }

    /// The SSRCs whose picture it asks for, if it is a PLI or FIR, and by which of them.
    pub fn picture_requests(&self) -> impl Iterator<Item = (Ssrc, PictureRequests)> + use<'a> {
        let is = |format| self.packet_type == packet_type::PSFB && self.count == format;
        let media = self.body.get(4..).filter(|_| is(feedback::PLI)).and_then(<[u8]>::first_chunk);
        let (entries, _) = self.body.get(8..).filter(|_| is(feedback::FIR)).unwrap_or_default().as_chunks::<8>();
        let lost = media.map(|ssrc| (Ssrc(u32::from_be_bytes(*ssrc)), PictureRequests { loss: true, intra: false }));
        lost.into_iter().chain(entries.iter().map(|[a, b, c, d, ..]| {
            (Ssrc(u32::from_be_bytes([*a, *b, *c, *d])), PictureRequests { loss: false, intra: true })
        }))
    }
}

/// The ways to ask a sender of video for a whole picture; on a leg those that were negotiated.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PictureRequests {
    /// Picture Loss Indication (RFC 4585 §6.3.1): `nack pli`.
    pub loss: bool,
    /// Full Intra Request (RFC 5104 §4.3.1): `ccm fir`.
    pub intra: bool,
}

impl PictureRequests {
    /// Says whether there is any.
    pub const fn any(self) -> bool {
        self.loss || self.intra
    }
}

/// Walks through a compound packet. A packet that is malformed ends the walk with an error; those before it count.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    /// Begins with the first packet.
    pub const fn new(compound: &'a [u8]) -> Self {
        Self { rest: compound }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<RtcpPacket<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let packet = split(self.rest);
        self.rest = packet.map_or(&[], |(_, rest)| rest);
        Some(packet.map(|(packet, _)| packet).ok_or(RtcpError::Malformed))
    }
}

/// Takes the first packet off a compound (RFC 3550 §A.2).
fn split(compound: &[u8]) -> Option<(RtcpPacket<'_>, &[u8])> {
    const VERSION: u8 = 2;
    const PADDING: u8 = 0x20;
    let (&[flags, packet_type, high, low], rest) = compound.split_first_chunk()?;
    let (body, rest) = rest.split_at_checked(4 * usize::from(u16::from_be_bytes([high, low])))?;
    if flags >> 6 != VERSION || !(192..=223).contains(&packet_type) {
        return None;
    }
    let padding = if flags & PADDING == 0 { 0 } else { usize::from(*body.last()?) };
    let honest = flags & PADDING == 0 || padding != 0 && padding % 4 == 0;
    let body = body.get(..body.len().checked_sub(padding)?).filter(|_| honest)?;
    Some((RtcpPacket { count: flags & 0x1F, packet_type, body }, rest))
}

/// A span of time in NTP form: seconds in the upper 32 bits, fractions of a second in the lower (RFC 3550 §4).
pub fn ntp_span(time: Duration) -> u64 {
    const NANOS: u64 = 1_000_000_000;
    let fraction = (u64::from(time.subsec_nanos()) << 32) / NANOS;
    time.as_secs() << 32 | fraction
}

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

impl SenderInfo {
    const LENGTH: usize = 20;

    /// What we say of a stream of ours, given the wall clock, the timestamp that goes with it, and what was sent.
    pub fn new(ntp: u64, time: RtpTime, sent: Sent) -> Self {
        let wrapped = |count: u64| {
            let [.., a, b, c, d] = count.to_be_bytes();
            u32::from_be_bytes([a, b, c, d])
        };
        Self { ntp, time, packets: wrapped(sent.packets), octets: wrapped(sent.octets) }
    }

    fn parse(bytes: &[u8; Self::LENGTH]) -> Self {
        let [ntp_high, ntp_low, time, packets, octets] = words(bytes);
        Self { ntp: u64::from(ntp_high) << 32 | u64::from(ntp_low), time: RtpTime(time), packets, octets }
    }

    /// The middle 32 bits of the wall clock, by which receivers refer to the report.
    pub const fn middle(&self) -> u32 {
        let [_, _, a, b, c, d, _, _] = self.ntp.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
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

impl ReportBlock {
    const LENGTH: usize = 24;

    /// The largest loss that 24 bits can say.
    pub const MAX_LOST: i32 = 0x7F_FFFF;

    fn parse(bytes: &[u8; Self::LENGTH]) -> Self {
        let [ssrc, loss, highest, jitter, last_sr, delay_since_last_sr] = words(bytes);
        let [fraction_lost, ..] = loss.to_be_bytes();
        let lost = (loss << 8).cast_signed() >> 8;
        Self { ssrc: Ssrc(ssrc), fraction_lost, lost, highest, jitter, last_sr, delay_since_last_sr }
    }

    fn bytes(&self) -> [u8; Self::LENGTH] {
        let lost = self.lost.clamp(-Self::MAX_LOST - 1, Self::MAX_LOST).cast_unsigned();
        let loss = u32::from(self.fraction_lost) << 24 | lost & 0xFF_FFFF;
        let words = [self.ssrc.0, loss, self.highest, self.jitter, self.last_sr, self.delay_since_last_sr];
        let mut bytes = [0; Self::LENGTH];
        bytes.as_chunks_mut().0.iter_mut().zip(words).for_each(|(bytes, word)| *bytes = word.to_be_bytes());
        bytes
    }

    /// The round trip to whoever wrote this block, in 65536ths of a second, given the middle 32 bits of the NTP time at
    /// which it arrived (RFC 3550 §6.4.1); `None` if it had no report of ours to refer to.
    pub fn round_trip(&self, arrival: u32) -> Option<u32> {
        let trip = arrival.wrapping_sub(self.last_sr).wrapping_sub(self.delay_since_last_sr);
        (self.last_sr != 0 && trip.cast_signed() >= 0).then_some(trip)
    }
}

/// The words of a fixed run of bytes.
fn words<const BYTES: usize, const WORDS: usize>(bytes: &[u8; BYTES]) -> [u32; WORDS] {
    let mut words = [0; WORDS];
    words.iter_mut().zip(bytes.as_chunks().0).for_each(|(word, bytes)| *word = u32::from_be_bytes(*bytes));
    words
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::unhex;

    /// The packets on which another implementation panics.
    #[test]
    fn packets_that_break_others_are_harmless() {
        for hex in ["8faa8b8e", "8fce0005cafebabe00000000524d4542"] {
            assert_eq!(Walk::new(&unhex(hex)).collect::<Vec<_>>(), [Err(RtcpError::Malformed)]);
        }
    }

    #[test]
    fn a_malformed_packet_ends_the_walk_and_those_before_it_count() {
        let compound = unhex("80c90001cafebabe80c9ffff");
        let walked: Vec<_> = Walk::new(&compound).collect();
        let report = RtcpPacket { count: 0, packet_type: 201, body: &compound[4..8] };
        assert_eq!(walked, [Ok(report), Err(RtcpError::Malformed)]);
        for padding in ["a0c90002cafebabe00000000", "a0c90002cafebabe00000003", "a0c90002cafebabe0000000c"] {
            assert_eq!(Walk::new(&unhex(padding)).next(), Some(Err(RtcpError::Malformed)));
        }
        let padded = unhex("a0c90002cafebabe00000004");
        assert_eq!(Walk::new(&padded).next(), Some(Ok(report)));
    }

    #[test]
    fn half_a_second_is_half_of_the_lower_word() {
        assert_eq!(ntp_span(Duration::from_millis(3500)), 0x0000_0003_8000_0000);
        assert_eq!(ntp_span(Duration::from_nanos(999_999_999)) >> 32, 0);
    }

    #[test]
    fn a_round_trip_is_the_arrival_less_report_and_delay() {
        // RFC 3550 §6.4.1, figure 2.
        let block = ReportBlock {
            ssrc: Ssrc(0),
            fraction_lost: 0,
            lost: 0,
            highest: 0,
            jitter: 0,
            last_sr: 0xb705_2000,
            delay_since_last_sr: 0x0005_4000,
        };
        assert_eq!(block.round_trip(0xb710_8000), Some(0x0006_2000));
        assert_eq!(block.round_trip(0xb705_2000), None, "a clock that goes backwards");
        assert_eq!(ReportBlock { last_sr: 0, ..block }.round_trip(0xb710_8000), None);
    }

    proptest! {
        #[test]
        fn reports_parse_back(
            ssrc in any::<u32>(),
            info in any::<[u32; 4]>(),
            blocks in prop::collection::vec((any::<[u32; 5]>(), any::<u8>(), -0x80_0000..0x80_0000), 0..31),
        ) {
            let block = |(words, fraction_lost, lost): ([u32; 5], u8, i32)| ReportBlock {
                ssrc: Ssrc(words[0]),
                fraction_lost,
                lost,
                highest: words[1],
                jitter: words[2],
                last_sr: words[3],
                delay_since_last_sr: words[4],
            };
            let blocks: Vec<_> = blocks.into_iter().map(block).collect();
            let [ntp, time, packets, octets] = info;
            let info = SenderInfo { ntp: u64::from(ntp) << 20, time: RtpTime(time), packets, octets };
            let mut buffer = [0; 2048];
            let mut writer = Writer::new(&mut buffer);
            writer.sender_report(Ssrc(ssrc), &info, &blocks).expect("room");
            writer.receiver_report(Ssrc(ssrc), &blocks).expect("room");
            writer.bye(&[Ssrc(ssrc), Ssrc(1)]).expect("room");
            writer.picture_loss(Ssrc(ssrc), Ssrc(2)).expect("room");
            writer.full_intra_request(Ssrc(ssrc), Ssrc(3), 9).expect("room");
            let length = writer.length();
            let packets: Vec<_> = Walk::new(&buffer[..length]).map(|packet| packet.expect("sound")).collect();
            prop_assert_eq!(packets.iter().map(|packet| packet.packet_type).collect::<Vec<_>>(), [200, 201, 203, 206, 206]);
            prop_assert!(packets.iter().all(|packet| packet.sender() == Some(Ssrc(ssrc))));
            prop_assert_eq!(packets[0].sender_info(), Some(info));
            prop_assert_eq!(packets[1].sender_info(), None);
            prop_assert_eq!(packets[0].report_blocks().collect::<Vec<_>>(), &blocks[..]);
            prop_assert_eq!(packets[1].report_blocks().collect::<Vec<_>>(), blocks);
            prop_assert_eq!(packets[2].leavers().collect::<Vec<_>>(), [Ssrc(ssrc), Ssrc(1)]);
            let asked: Vec<_> = packets.iter().flat_map(RtcpPacket::picture_requests).collect();
            let (loss, intra) = (PictureRequests { loss: true, intra: false }, PictureRequests { loss: false, intra: true });
            prop_assert_eq!(asked, [(Ssrc(2), loss), (Ssrc(3), intra)]);
            prop_assert_eq!(packets[4].body.get(8..), Some(&[0, 0, 0, 3, 9, 0, 0, 0][..]));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            for packet in Walk::new(&bytes).flatten() {
                let _ = (packet.sender(), packet.sender_info(), packet.report_blocks().count(), packet.leavers().count());
                let _ = packet.picture_requests().count();
            }
        }
    }
}
