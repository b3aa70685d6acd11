//! RTCP from one leg in the words of the other (RFC 3550 §7.2, RFC 8079 §3.2).
//!
//! A packet speaks of two kinds of SSRC. Those of its senders become ours towards the far leg, as their media does.
//! Those it reports on are ours towards the near leg, and become again the sources at the far leg that feed them; so do
//! sequence numbers and timestamps, which travel against the media. What cannot be translated is left out singly.

use model::Ssrc;

use super::{PictureRequests, ReportBlock, RtcpError, RtcpPacket, SenderInfo, Walk, Writer, packet_type};
use crate::{packet::Packet, rewrite::Rewriter, rtp::SeqNo};

/// The longest compound packet that is written.
const MAX_COMPOUND: usize = 2048;

/// The streams between the two legs, as translation asks for them. RTCP comes from the near leg and goes to the far.
pub trait Streams {
    /// The rewriter towards the far leg that a source of the near leg feeds ([`Rewriter::is_fed_by`]).
    fn fed_by(&mut self, source: Ssrc) -> Option<&mut Rewriter>;

    /// The rewriter towards the near leg that sends under an SSRC ([`Rewriter::ssrc`]).
    fn sent_as(&mut self, ssrc: Ssrc) -> Option<&mut Rewriter>;

    /// The SSRC towards the far leg that speaks for sources of the near leg which send no media.
    fn speaker(&self) -> Ssrc;
}

/// What the far leg understands.
#[derive(Clone, Copy, Debug)]
pub struct OtherLeg<'a> {
    /// The canonical name that all our SSRCs have there (RFC 7022), at most 255 bytes.
    pub cname: &'a str,
    /// It negotiated feedback (RFC 4585): AVPF. Without, it gets reports only.
    pub feedback: bool,
    /// The requests for a picture that it negotiated; others end here.
    pub pictures: PictureRequests,
    /// It negotiated reduced-size RTCP (RFC 5506). Without, every packet begins with a report and a CNAME.
    pub reduced_size: bool,
    /// Reports, descriptions and goodbyes end here, because we make our own (RFC 8079 §3.3). What asks something of the
    /// far leg's encoder still passes.
    pub terminated: bool,
}

/// What became of a compound packet: how many of its packets or blocks were left out, and why.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Translated {
    /// They describe one hop only, and end here: TWCC, CCFB, ECN, APP.
    pub terminated: u16,
    /// They speak of an SSRC or sequence number that the far leg does not know.
    pub unmapped: u16,
    /// Feedback, and the far leg did not negotiate it.
    pub feedback: u16,
    /// They are of no kind that we know, malformed, or too long.
    pub unknown: u16,
}

/// Why a packet or block was left out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Omission {
    Terminated,
    Unmapped,
    Feedback,
    Unknown,
}

impl From<RtcpError> for Omission {
    fn from(_: RtcpError) -> Self {
        Self::Unknown
    }
}

/// Translates a compound packet in place.
///
/// # Errors
///
/// Nothing of it can be passed on.
pub fn translate(
    packet: &mut Packet<'_>,
    streams: &mut impl Streams,
    to: OtherLeg<'_>,
) -> Result<Translated, RtcpError> {
    let mut buffer = [0; MAX_COMPOUND];
    let out = Writer::new(&mut buffer);
    let mut translator = Translator { streams, to, out, described: false, omitted: Translated::default() };
    for (place, single) in Walk::new(packet).enumerate() {
        match single {
            Ok(single) => translator.single(&single),
            Err(error) if place == 0 => return Err(error),
            Err(_) => translator.omit(Omission::Unknown),
        }
    }
    let (length, omitted) = translator.finish();
    if length == 0 {
        return Err(RtcpError::Empty);
    }
    packet.replace(&buffer[..length]).map_err(|_| RtcpError::NoRoom)?;
    Ok(omitted)
}

pub(super) struct Translator<'t, S> {
    pub(super) streams: &'t mut S,
    pub(super) to: OtherLeg<'t>,
    pub(super) out: Writer<'t>,
    /// A CNAME was written.
    described: bool,
    omitted: Translated,
}

impl<S: Streams> Translator<'_, S> {
    /// Translates one packet, or leaves it out as if it had not been there.
    fn single(&mut self, packet: &RtcpPacket<'_>) {
        let before = (self.out.length(), self.described);
        if let Err(omission) = self.try_single(packet) {
            self.out.truncate(before.0);
            self.described = before.1;
            self.omit(omission);
        }
    }

    fn try_single(&mut self, packet: &RtcpPacket<'_>) -> Result<(), Omission> {
        match packet.packet_type {
            packet_type::SR | packet_type::RR | packet_type::SDES | packet_type::BYE | packet_type::XR
                if self.to.terminated =>
            {
                Err(Omission::Terminated)
            }
            packet_type::SR | packet_type::RR => self.report(packet),
            packet_type::SDES => self.description(packet),
            packet_type::BYE => self.goodbye(packet),
            packet_type::APP => Err(Omission::Terminated),
            packet_type::RTPFB | packet_type::PSFB if !self.to.feedback => Err(Omission::Feedback),
            packet_type::RTPFB => self.transport_feedback(packet),
            packet_type::PSFB => self.payload_feedback(packet),
            packet_type::XR => self.extended_report(packet),
            _ => Err(Omission::Unknown),
        }
    }

    /// An SR of a source that is not forwarded now says nothing of our stream, but its blocks are as good as an RR's.
    fn report(&mut self, packet: &RtcpPacket<'_>) -> Result<(), Omission> {
        let sender = packet.sender().ok_or(Omission::Unknown)?;
        let info = packet.sender_info().and_then(|info| self.sender_info(sender, info));
        if packet.packet_type == packet_type::SR && info.is_none() {
            self.omit(Omission::Unmapped);
        }
        let sender = self.origin(sender);
        let start = self.out.open()?;
        self.out.word(sender.0)?;
        if let Some(info) = info {
            self.out.sender_info(&info)?;
        }
        let mut count = 0;
        for block in packet.report_blocks() {
            match report_block(self.streams, block) {
                Some(block) => {
                    self.out.block(&block)?;
                    count += 1;
                }
                None => self.omit(Omission::Unmapped),
            }
        }
        Ok(self.out.close(start, if info.is_some() { packet_type::SR } else { packet_type::RR }, count)?)
    }

    fn sender_info(&mut self, sender: Ssrc, info: SenderInfo) -> Option<SenderInfo> {
        let rewriter = self.streams.fed_by(sender)?;
        let time = rewriter.outgoing_time(info.time).filter(|_| rewriter.source() == Some(sender))?;
        Some(SenderInfo::new(info.ntp, time, rewriter.sent()))
    }

    /// Whatever a source says of itself, we say only our canonical name.
    fn description(&mut self, packet: &RtcpPacket<'_>) -> Result<(), Omission> {
        let mut ssrcs = [Ssrc(0); 31];
        let mut count = 0;
        let mut chunks = packet.body;
        for place in ssrcs.iter_mut().take(usize::from(packet.count)) {
            let (ssrc, rest) = split_chunk(chunks).ok_or(Omission::Unknown)?;
            *place = self.origin(ssrc);
            count += 1;
            chunks = rest;
        }
        self.begin_with_report()?;
        self.describe(&ssrcs[..count])
    }

    /// Only a source that is forwarded now can take our SSRC along.
    fn goodbye(&mut self, packet: &RtcpPacket<'_>) -> Result<(), Omission> {
        let mut ssrcs = [Ssrc(0); 31];
        let mut count = 0;
        for leaver in packet.leavers() {
            let rewriter = self.streams.fed_by(leaver).filter(|rewriter| rewriter.source() == Some(leaver));
            match rewriter.map(|rewriter| rewriter.ssrc()) {
                Some(ours) => {
                    ssrcs[count] = ours;
                    count += 1;
                }
                None => self.omit(Omission::Unmapped),
            }
        }
        if count == 0 {
            return Ok(());
        }
        self.begin()?;
        Ok(self.out.bye(&ssrcs[..count])?)
    }

    /// The SSRC under which a sender at the near leg is known at the far.
    pub(super) fn origin(&mut self, sender: Ssrc) -> Ssrc {
        match self.streams.fed_by(sender) {
            Some(rewriter) => rewriter.ssrc(),
            None => self.streams.speaker(),
        }
    }

    /// The source at the far leg that feeds what the near leg knows under an SSRC; 0 is nobody and stays so.
    pub(super) fn target(&mut self, ssrc: Ssrc) -> Result<Ssrc, Omission> {
        if ssrc.0 == 0 {
            return Ok(ssrc);
        }
        self.streams.sent_as(ssrc).and_then(|rewriter| rewriter.source()).ok_or(Omission::Unmapped)
    }

    /// Puts a report and a CNAME before the first packet, if the far leg wants whole compounds (RFC 3550 §6.1).
    pub(super) fn begin(&mut self) -> Result<(), Omission> {
        if self.begin_with_report()? {
            let speaker = self.streams.speaker();
            self.describe(&[speaker])?;
        }
        Ok(())
    }

    fn begin_with_report(&mut self) -> Result<bool, Omission> {
        let begins = self.out.length() == 0 && !self.to.reduced_size;
        if begins {
            let speaker = self.streams.speaker();
            self.out.receiver_report(speaker, &[])?;
        }
        Ok(begins)
    }

    fn describe(&mut self, ssrcs: &[Ssrc]) -> Result<(), Omission> {
        if self.described {
            return Ok(());
        }
        self.described = true;
        Ok(self.out.cname(ssrcs, self.to.cname)?)
    }

    pub(super) fn omit(&mut self, omission: Omission) {
        let counter = match omission {
            Omission::Terminated => &mut self.omitted.terminated,
            Omission::Unmapped => &mut self.omitted.unmapped,
            Omission::Feedback => &mut self.omitted.feedback,
            Omission::Unknown => &mut self.omitted.unknown,
        };
        *counter = counter.saturating_add(1);
    }

    /// Sees to it that a report has a CNAME with it. Returns the length of the whole.
    fn finish(mut self) -> (usize, Translated) {
        if self.out.length() != 0 && !self.to.reduced_size {
            let speaker = self.streams.speaker();
            if let Err(omission) = self.describe(&[speaker]) {
                self.omit(omission);
            }
        }
        (self.out.length(), self.omitted)
    }
}

/// A block that reports on what we send to the near leg becomes one that reports on what the far leg's source sends.
fn report_block(streams: &mut impl Streams, block: ReportBlock) -> Option<ReportBlock> {
    let [.., high, low] = block.highest.to_be_bytes();
    let rewriter = streams.sent_as(block.ssrc)?;
    let (epoch, index) = rewriter.sent_at_or_before(SeqNo(u16::from_be_bytes([high, low])))?;
    Some(ReportBlock { ssrc: epoch.source, highest: lower_half(epoch.incoming(index)?.index()), ..block })
}

/// Takes a chunk off an SDES packet: SSRC, items, null octets up to the next word (RFC 3550 §6.5).
fn split_chunk(chunks: &[u8]) -> Option<(Ssrc, &[u8])> {
    let (ssrc, items) = chunks.split_first_chunk()?;
    let mut end = 0;
    while *items.get(end)? != 0 {
        end += 2 + usize::from(*items.get(end + 1)?);
    }
    // The SSRC is a word, so that words of the items are words of the packet.
    let rest = items.get((end / 4 + 1) * 4..)?;
    Some((Ssrc(u32::from_be_bytes(*ssrc)), rest))
}

/// A number modulo 2^32, as counters on the wire wrap.
fn lower_half(number: u64) -> u32 {
    let [.., a, b, c, d] = number.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use model::PayloadType;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        rewrite::{Origin, Settings},
        rtp::{Header, RtpTime},
    };

    /// What the near leg calls itself, and what we call it towards the far leg.
    const NEAR: (u32, u32) = (0xA, 0xAAAA_0000);
    /// What the far leg calls itself, and what we call it towards the near leg.
    const FAR: (u32, u32) = (0xF, 0xFFFF_0000);
    const UNKNOWN: u32 = 0x1234_5678;

    const BOTH: PictureRequests = PictureRequests { loss: true, intra: true };
    const FULL: OtherLeg<'_> =
        OtherLeg { cname: "we", feedback: true, pictures: BOTH, reduced_size: true, terminated: false };

    /// A packet of a compound: count, type, words of the body.
    type Single = (u8, u8, Vec<u32>);

    #[test]
    fn a_sender_report_becomes_ours_and_its_blocks_the_sources() {
        let mut bench = Bench::new();
        let block = |ssrc, highest| [ssrc, 0x1000_0007, highest, 5, 6, 7];
        let report = |ssrc, info: [u32; 5], blocks: &[[u32; 6]]| {
            let count = u8::try_from(blocks.len()).expect("few");
            (count, 200, [&[ssrc][..], &info, blocks.as_flattened()].concat())
        };
        let from =
            report(NEAR.0, [1, 2, 5160, 77, 7777], &[block(FAR.1, 62), block(UNKNOWN, 9), block(FAR.1, 0x7003F)]);
        let to = report(NEAR.1, [1, 2, 1160, 4, 12], &[block(FAR.0, 502), block(FAR.0, 503)]);
        assert_eq!(bench.translate(&[from], FULL), (vec![to], Translated { unmapped: 1, ..NOTHING }));
    }

    #[test]
    fn the_report_of_a_source_that_is_not_forwarded_is_that_of_a_receiver() {
        let mut bench = Bench::new();
        let from = (1, 200, [&[UNKNOWN, 1, 2, 3, 4, 5][..], &[FAR.1, 0, 60, 0, 0, 0]].concat());
        let to = (1, 201, vec![NEAR.1, FAR.0, 0, 500, 0, 0, 0]);
        assert_eq!(bench.translate(&[from], FULL), (vec![to], Translated { unmapped: 1, ..NOTHING }));
        let (from, to) = ((0, 201, vec![1]), (0, 201, vec![NEAR.1]));
        assert_eq!(bench.translate(&[from], FULL), (vec![to], NOTHING));
    }

    #[test]
    fn a_report_speaks_of_the_source_that_sent_the_packet() {
        let mut bench = Bench::new();
        bench.far_switches_to(0xE);
        let from = |highest| (1, 201, vec![1, FAR.1, 0, highest, 0, 0, 0]);
        let to = |ssrc, highest| vec![(1, 201, vec![NEAR.1, ssrc, 0, highest, 0, 0, 0])];
        assert_eq!(bench.translate(&[from(63)], FULL).0, to(FAR.0, 503));
        assert_eq!(bench.translate(&[from(64)], FULL).0, to(0xE, 9));
    }

    #[test]
    fn nothing_of_a_source_is_described_but_our_name_for_it() {
        let mut bench = Bench::new();
        let items = u32::from_be_bytes([1, 2, b'm', b'e']);
        let tool = [u32::from_be_bytes([6, 1, b'x', 0]), 0];
        let from = (2, 202, vec![NEAR.0, items, 0, UNKNOWN, tool[0]]);
        let name = [u32::from_be_bytes([1, 2, b'w', b'e']), 0];
        let to = (2, 202, vec![NEAR.1, name[0], name[1], NEAR.1, name[0], name[1]]);
        assert_eq!(bench.translate(&[from], FULL), (vec![to], NOTHING));
        let unended = (1, 202, vec![NEAR.0, u32::from_be_bytes([1, 2, b'm', b'e'])]);
        assert_eq!(bench.translate_to_error(&[unended]), RtcpError::Empty);
    }

    #[test]
    fn only_the_source_that_is_forwarded_takes_our_ssrc_along() {
        let mut bench = Bench::new();
        bench.near_switches_to(0xC);
        let from = (3, 203, vec![NEAR.0, 0xC, UNKNOWN, 0x0362_7965]);
        let to = (1, 203, vec![NEAR.1]);
        assert_eq!(bench.translate(&[from], FULL), (vec![to], Translated { unmapped: 2, ..NOTHING }));
        assert_eq!(bench.translate_to_error(&[(1, 203, vec![NEAR.0])]), RtcpError::Empty);
    }

    #[test]
    fn lost_packets_are_named_as_their_sources_named_them() {
        let mut bench = Bench::new();
        let nack = |sender, media, entries: &[u32]| (1, 205, [&[sender, media], entries].concat());
        let to = nack(NEAR.1, FAR.0, &[500 << 16 | 0b101]);
        assert_eq!(bench.translate(&[nack(NEAR.0, FAR.1, &[60 << 16 | 0b101])], FULL), (vec![to], NOTHING));
        bench.originate();
        bench.far_switches_to(0xE);
        let to = vec![nack(NEAR.1, FAR.0, &[503 << 16]), nack(NEAR.1, 0xE, &[9 << 16])];
        let from = nack(NEAR.0, FAR.1, &[63 << 16 | 0b11]);
        assert_eq!(bench.translate(&[from], FULL), (to, NOTHING), "64 was our own");
        let from =
            [nack(NEAR.0, FAR.1, &[64 << 16]), nack(NEAR.0, FAR.1, &[9000 << 16]), nack(NEAR.0, UNKNOWN, &[60 << 16])];
        assert_eq!(bench.translate_to_error(&from), RtcpError::Empty);
    }

    #[test]
    fn payload_feedback_goes_to_the_source() {
        let mut bench = Bench::new();
        let rpsi = |pt: u8| u32::from_be_bytes([0, pt, 0xAB, 0xCD]);
        for (format, from, to) in [(1, vec![], vec![]), (2, vec![5], vec![5]), (3, vec![rpsi(96)], vec![rpsi(111)])] {
            let from = (format, 206, [&[NEAR.0, FAR.1][..], &from].concat());
            let to = (format, 206, [&[NEAR.1, FAR.0][..], &to].concat());
            assert_eq!(bench.translate(&[from], FULL), (vec![to], NOTHING));
        }
        let unknown = (1, 206, vec![NEAR.0, UNKNOWN]);
        assert_eq!(bench.translate_to_error(&[unknown]), RtcpError::Empty);
    }

    #[test]
    fn entries_name_the_source_and_full_intra_requests_are_counted_anew() {
        let mut bench = Bench::new();
        for (format, packet_type) in [(3, 205), (4, 205), (5, 206), (6, 206)] {
            let from = (format, packet_type, vec![NEAR.0, 0, UNKNOWN, 1, FAR.1, 0x0900_0001]);
            let to = (format, packet_type, vec![NEAR.1, 0, FAR.0, 0x0900_0001]);
            assert_eq!(bench.translate(&[from], FULL), (vec![to], Translated { unmapped: 1, ..NOTHING }));
        }
        for (number, ours) in [(9, 0), (9, 0), (10, 1)] {
            let from = (4, 206, vec![NEAR.0, 0, FAR.1, number << 24]);
            assert_eq!(bench.translate(&[from], FULL).0, [(4, 206, vec![NEAR.1, 0, FAR.0, ours << 24])]);
        }
        let notification = (4, 205, vec![NEAR.0, 0]);
        assert_eq!(bench.translate(&[notification], FULL).0, [(4, 205, vec![NEAR.1, 0])]);
        assert_eq!(bench.translate_to_error(&[(3, 205, vec![NEAR.0, 0])]), RtcpError::Empty);
    }

    #[test]
    fn back_channel_messages_and_bandwidth_estimates_name_the_source() {
        let mut bench = Bench::new();
        let message = |ssrc, pt: u32| [ssrc, 7 << 24 | pt << 16 | 5, 0x6162_6364, 0x6500_0000];
        let from = (7, 206, [&[NEAR.0, 0][..], &message(FAR.1, 96), &message(UNKNOWN, 96)].concat());
        let to = (7, 206, [&[NEAR.1, 0][..], &message(FAR.0, 111)].concat());
        assert_eq!(bench.translate(&[from], FULL), (vec![to], Translated { unmapped: 1, ..NOTHING }));
        let remb = u32::from_be_bytes(*b"REMB");
        let from = (15, 206, vec![NEAR.0, 0, remb, 2 << 24 | 0x0812_3456 & 0xFF_FFFF, FAR.1, UNKNOWN]);
        let to = (15, 206, vec![NEAR.1, 0, remb, 1 << 24 | 0x12_3456, FAR.0]);
        assert_eq!(bench.translate(&[from], FULL), (vec![to], Translated { unmapped: 1, ..NOTHING }));
    }

    #[test]
    fn what_describes_one_hop_ends_here_and_takes_nothing_along() {
        let mut bench = Bench::new();
        let report = |ssrc| (0, 201, vec![ssrc]);
        let compound = [
            report(NEAR.0),
            (15, 205, vec![NEAR.0, FAR.1, 1, 2]),
            (11, 205, vec![NEAR.0, FAR.1, 1, 2]),
            (8, 205, vec![NEAR.0, FAR.1, 1]),
            (15, 206, vec![NEAR.0, FAR.1, 0x6162_6364]),
            (0, 204, vec![NEAR.0, 1, 2]),
            (9, 206, vec![NEAR.0, FAR.1]),
            (0, 210, vec![NEAR.0]),
        ];
        let omitted = Translated { terminated: 5, unknown: 2, ..NOTHING };
        assert_eq!(bench.translate(&compound, FULL), (vec![report(NEAR.1)], omitted));
    }

    #[test]
    fn extended_reports_speak_of_the_source_block_by_block() {
        let mut bench = Bench::new();
        let from = (
            0,
            207,
            [
                &[NEAR.0][..],
                &[0x0100_0003, FAR.1, 61 << 16 | 64, 0x4001_0000],
                &[0x0300_0004, FAR.1, 60 << 16 | 62, 1000, 1160],
                &[0x0400_0002, 11, 12],
                &[0x0500_0006, FAR.1, 1, 2, UNKNOWN, 3, 4],
                &[0x0600_0003, FAR.1, 60 << 16 | 70, 9],
                &[0x0700_0002, FAR.1, 8],
                &[0x0900_0001, 7],
            ]
            .concat(),
        );
        let to = (
            0,
            207,
            [
                &[NEAR.1][..],
                &[0x0100_0003, FAR.0, 501 << 16 | 504, 0x4001_0000],
                &[0x0300_0004, FAR.0, 500 << 16 | 502, 5000, 5160],
                &[0x0400_0002, 11, 12],
                &[0x0500_0003, FAR.0, 1, 2],
                &[0x0700_0002, FAR.0, 8],
            ]
            .concat(),
        );
        let omitted = Translated { unmapped: 2, unknown: 1, ..NOTHING };
        assert_eq!(bench.translate(&[from], FULL), (vec![to], omitted));
    }

    #[test]
    fn a_leg_without_feedback_gets_whole_compounds_of_reports() {
        let mut bench = Bench::new();
        let plain = OtherLeg { feedback: false, reduced_size: false, ..FULL };
        let name = u32::from_be_bytes([1, 2, b'w', b'e']);
        let described = (1, 202, vec![NEAR.1, name, 0]);
        let compound = [(0, 201, vec![NEAR.0]), (1, 206, vec![NEAR.0, FAR.1])];
        let to = vec![(0, 201, vec![NEAR.1]), described.clone()];
        assert_eq!(bench.translate(&compound, plain), (to.clone(), Translated { feedback: 1, ..NOTHING }));
        let whole = OtherLeg { feedback: true, ..plain };
        let request = (1, 206, vec![NEAR.1, FAR.0]);
        assert_eq!(bench.translate(&compound[1..], whole), ([to, vec![request]].concat(), NOTHING));
    }

    #[test]
    fn requests_for_a_picture_that_were_not_negotiated_end_here() {
        let mut bench = Bench::new();
        let loss = (1, 206, vec![NEAR.0, FAR.1]);
        let intra = (4, 206, vec![NEAR.0, 0, FAR.1, 1 << 24]);
        for (pictures, passes) in [
            (PictureRequests { loss: true, intra: false }, vec![(1, 206, vec![NEAR.1, FAR.0])]),
            (PictureRequests { loss: false, intra: true }, vec![(4, 206, vec![NEAR.1, 0, FAR.0, 0])]),
        ] {
            let (passed, omitted) = bench.translate(&[loss.clone(), intra.clone()], OtherLeg { pictures, ..FULL });
            assert_eq!((passed, omitted), (passes, Translated { feedback: 1, ..NOTHING }));
        }
    }

    #[test]
    fn where_we_report_ourselves_only_what_concerns_the_encoder_passes() {
        let mut bench = Bench::new();
        let terminated = OtherLeg { terminated: true, ..FULL };
        let reports = [
            (0, 200, vec![NEAR.0, 1, 2, 3, 4, 5]),
            (0, 201, vec![NEAR.0]),
            (1, 202, vec![NEAR.0, u32::from_be_bytes([1, 1, b'm', 0]), 0]),
            (0, 207, vec![NEAR.0, 0x0400_0002, 11, 12]),
            (1, 203, vec![NEAR.0]),
        ];
        let requests = [(1, 205, vec![NEAR.0, FAR.1, 60 << 16]), (1, 206, vec![NEAR.0, FAR.1])];
        let passed = vec![(1, 205, vec![NEAR.1, FAR.0, 500 << 16]), (1, 206, vec![NEAR.1, FAR.0])];
        let omitted = Translated { terminated: 5, ..NOTHING };
        assert_eq!(bench.translate(&[&reports[..], &requests].concat(), terminated), (passed, omitted));
        assert_eq!(bench.translate_bytes(&bytes(&reports), terminated), Err(RtcpError::Empty));
    }

    #[test]
    fn a_thinned_report_is_told_only_where_the_same_packets_are_meant() {
        let mut bench = Bench::new();
        // Of the numbers from 60 to 63 every fourth: 60 here, 500 there. Every eighth would be 64 here and 504 there,
        // but they move by 440, which eight divides; sixteen does not.
        let from =
            |thinning: u32| (0, 207, vec![NEAR.0, 0x0100_0003 | thinning << 16, FAR.1, 60 << 16 | 64, 0x4001_0000]);
        let to =
            |thinning: u32| (0, 207, vec![NEAR.1, 0x0100_0003 | thinning << 16, FAR.0, 500 << 16 | 504, 0x4001_0000]);
        for thinning in [0, 2, 3] {
            assert_eq!(bench.translate(&[from(thinning)], FULL), (vec![to(thinning)], NOTHING));
        }
        assert_eq!(bench.translate_to_error(&[from(4)]), RtcpError::Empty);
    }

    #[test]
    fn what_is_malformed_ends_the_compound() {
        let mut bench = Bench::new();
        let mut bytes = bytes(&[(0, 201, vec![NEAR.0])]);
        bytes.extend([0x80, 200, 0, 9]);
        assert_eq!(bench.translate_bytes(&bytes, FULL).map(|(_, omitted)| omitted.unknown), Ok(1));
        assert_eq!(bench.translate_bytes(&bytes[8..], FULL), Err(RtcpError::Malformed));
        assert_eq!(bench.translate_bytes(&[], FULL), Err(RtcpError::Empty));
    }

    proptest! {
        #[test]
        fn any_compound_becomes_a_sound_one(
            packets in prop::collection::vec((0..32_u8, 198..210_u8, prop::collection::vec(word(), 0..20)), 1..8),
            feedback in any::<bool>(),
            reduced_size in any::<bool>(),
        ) {
            let mut bench = Bench::new();
            bench.originate();
            bench.far_switches_to(0xE);
            if let Ok((bytes, _)) = bench.translate_bytes(&bytes(&packets), OtherLeg { feedback, reduced_size, ..FULL }) {
                let types: Vec<_> = Walk::new(&bytes).map(|packet| packet.map(|packet| packet.packet_type)).collect();
                prop_assert!(types.iter().all(Result::is_ok), "{types:?}");
                prop_assert!(reduced_size || matches!(types[0], Ok(200 | 201)) && types.contains(&Ok(202)), "{types:?}");
                prop_assert!(feedback || !types.contains(&Ok(205)) && !types.contains(&Ok(206)), "{types:?}");
            }
        }

        /// The table of what is rewritten, row by row: nobody's own SSRC reaches the other leg, in any field.
        #[test]
        fn no_ssrc_of_one_leg_appears_on_the_other(
            packets in prop::collection::vec(well_formed(), 1..12),
            switched in any::<bool>(),
            terminated in any::<bool>(),
        ) {
            let mut bench = Bench::new();
            if switched {
                bench.originate();
                bench.far_switches_to(0xE);
            }
            if let Ok((bytes, _)) = bench.translate_bytes(&bytes(&packets), OtherLeg { terminated, ..FULL }) {
                for packet in Walk::new(&bytes).map(|packet| packet.expect("sound")) {
                    let (words, _) = packet.body.as_chunks();
                    let words: Vec<u32> = words.iter().map(|word| u32::from_be_bytes(*word)).collect();
                    let foreign = [NEAR.0, FAR.1, UNKNOWN];
                    prop_assert!(!words.iter().any(|word| foreign.contains(word)), "{packet:x?} of {packets:x?}");
                }
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Bench::new().translate_bytes(&bytes, FULL);
        }
    }

    /// A packet of each kind, with SSRCs where SSRCs belong and numbers that are none elsewhere.
    fn well_formed() -> impl Strategy<Value = Single> {
        let sender = prop::sample::select(vec![NEAR.0, UNKNOWN]);
        let target = prop::sample::select(vec![FAR.1, FAR.1, UNKNOWN]);
        (0..20_usize, sender, prop::collection::vec(target, 2), 40..70_u32).prop_map(|(kind, near, far, seq)| {
            let block = |ssrc| [ssrc, 0x4000_0000, seq, 0x4000_0001, 0x4000_0002, 0x4000_0003];
            let run = seq << 16 | (seq + 2);
            let pair = |first: &[u32], ssrc: u32, rest: &[u32]| [first, &[ssrc], rest].concat();
            let blocks = [block(far[0]), block(far[1])].concat();
            let remb = [near, 0, u32::from_be_bytes(*b"REMB"), 0x0212_3456, far[0], far[1]];
            match kind {
                0 => (2, 200, [&[near, 0x4000_0000, 0x4000_0001, 0x4000_0002, 77, 777][..], &blocks].concat()),
                1 => (2, 201, [&[near][..], &blocks].concat()),
                2 => (1, 202, vec![near, u32::from_be_bytes([1, 2, b'm', b'e']), 0]),
                3 => (2, 203, vec![near, UNKNOWN]),
                4 => (0, 204, vec![near, 0x4000_0000]),
                5 => (1, 205, vec![near, far[0], seq << 16 | 0x5555]),
                6 => (3, 205, vec![near, 0, far[0], 0x4000_0000, far[1], 0x4000_0000]),
                7 => (4, 205, vec![near, 0, far[0], 0x4000_0000]),
                8 => (11, 205, vec![near, far[0], run, 0x4000_0000]),
                9 => (15, 205, vec![near, far[0], run, 0x4000_0000]),
                10 => (1, 206, vec![near, far[0]]),
                11 => (2, 206, vec![near, far[0], 0x4000_0000]),
                12 => (3, 206, vec![near, far[0], 96 << 16]),
                13 => (4, 206, vec![near, 0, far[0], 9 << 24, far[1], 9 << 24]),
                14 => (5, 206, vec![near, 0, far[0], 0x4000_0000]),
                15 => (7, 206, vec![near, 0, far[0], 7 << 24 | 96 << 16 | 4, 0x4000_0000]),
                16 => (15, 206, remb.to_vec()),
                17 => (0, 207, pair(&[near, 0x0100_0003], far[0], &[run, 0x4001_0000])),
                18 => (0, 207, [near, 0x0500_0006, far[0], 0x4000_0000, 0x4000_0001, far[1], 0x4000_0002, 0].to_vec()),
                _ => {
                    (0, 207, pair(&pair(&[near, 0x0700_0002], far[0], &[0x4000_0000, 0x0600_0003]), far[1], &[run, 0]))
                }
            }
        })
    }

    fn word() -> impl Strategy<Value = u32> {
        let known = [0, NEAR.0, NEAR.1, FAR.0, FAR.1, 60 << 16 | 3, 63 << 16 | 64, 0x0100_0002, 0x524D_4542];
        prop_oneof![prop::sample::select(known.to_vec()), any::<u32>(), 0..16_u32]
    }

    const NOTHING: Translated = Translated { terminated: 0, unmapped: 0, feedback: 0, unknown: 0 };

    /// Four packets went each way: 100 to 103 of the near leg as 40 to 43, 500 to 503 of the far leg as 60 to 63.
    struct Bench {
        forward: Rewriter,
        reverse: Rewriter,
        start: Instant,
    }

    impl Streams for Bench {
        fn fed_by(&mut self, source: Ssrc) -> Option<&mut Rewriter> {
            Some(&mut self.forward).filter(|rewriter| rewriter.is_fed_by(source))
        }

        fn sent_as(&mut self, ssrc: Ssrc) -> Option<&mut Rewriter> {
            Some(&mut self.reverse).filter(|rewriter| rewriter.ssrc() == ssrc)
        }

        fn speaker(&self) -> Ssrc {
            self.forward.ssrc()
        }
    }

    impl Bench {
        fn new() -> Self {
            let rewriter = |ssrc, seq| {
                let origin = Origin { ssrc: Ssrc(ssrc), seq: SeqNo(seq), time: RtpTime(1000) };
                Rewriter::new(origin, Settings::audio(&[(111, 96)]))
            };
            #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
            let start = Instant::now();
            let mut bench = Self { forward: rewriter(NEAR.1, 40), reverse: rewriter(FAR.1, 60), start };
            for step in 0..4 {
                send(&mut bench.forward, NEAR.0, 100 + step, start);
                send(&mut bench.reverse, FAR.0, 500 + step, start);
            }
            bench
        }

        fn near_switches_to(&mut self, ssrc: u32) {
            send(&mut self.forward, ssrc, 9, self.start);
        }

        fn far_switches_to(&mut self, ssrc: u32) {
            send(&mut self.reverse, ssrc, 9, self.start);
        }

        fn originate(&mut self) {
            self.reverse.originate(pt(101), 4, self.start + Duration::from_millis(20));
        }

        fn translate(&mut self, packets: &[Single], to: OtherLeg<'_>) -> (Vec<Single>, Translated) {
            let (bytes, omitted) = self.translate_bytes(&bytes(packets), to).expect("something passes");
            let single = |packet: RtcpPacket<'_>| {
                let (words, rest) = packet.body.as_chunks();
                assert!(rest.is_empty());
                (packet.count, packet.packet_type, words.iter().map(|word| u32::from_be_bytes(*word)).collect())
            };
            (Walk::new(&bytes).map(|packet| single(packet.expect("sound"))).collect(), omitted)
        }

        fn translate_to_error(&mut self, packets: &[Single]) -> RtcpError {
            self.translate_bytes(&bytes(packets), FULL).expect_err("nothing passes")
        }

        fn translate_bytes(&mut self, bytes: &[u8], to: OtherLeg<'_>) -> Result<(Vec<u8>, Translated), RtcpError> {
            let mut buffer = bytes.to_vec();
            buffer.resize(bytes.len() + 256, 0);
            let mut packet = Packet::new(&mut buffer, bytes.len()).expect("it fits");
            let omitted = translate(&mut packet, self, to)?;
            Ok((packet.to_vec(), omitted))
        }
    }

    fn pt(number: u8) -> PayloadType {
        PayloadType::try_from(number).expect("a payload type")
    }

    /// Sends a packet of three bytes of payload through a rewriter, sampled 160 ticks after the one before.
    fn send(rewriter: &mut Rewriter, ssrc: u32, seq: u16, now: Instant) {
        let mut bytes = [0; 15];
        let time = RtpTime(5000 + 160 * u32::from(seq % 100));
        Header::new(pt(111), SeqNo(seq), time, Ssrc(ssrc)).write(&mut bytes).expect("room");
        let mut packet = Packet::new(&mut bytes, 15).expect("it fits");
        rewriter.apply(&mut packet, now).expect("it passes");
    }

    fn bytes(packets: &[Single]) -> Vec<u8> {
        let single = |(count, packet_type, words): &Single| {
            let length = u16::try_from(words.len()).expect("few").to_be_bytes();
            let body = words.iter().flat_map(|word| word.to_be_bytes());
            [0x80 | count, *packet_type, length[0], length[1]].into_iter().chain(body).collect::<Vec<_>>()
        };
        packets.iter().flat_map(single).collect()
    }
}
