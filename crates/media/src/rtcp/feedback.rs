//! Translation of feedback (RFC 4585, RFC 5104, REMB).
//!
//! ```text
//! V P FMT | type 205 or 206 | length | sender SSRC | media SSRC | feedback control information
//! ```

use model::{PayloadType, Ssrc};

use super::{
    RtcpPacket, Streams, packet_type,
    translate::{Omission, Translator},
};
use crate::rtp::SeqNo;

/// Formats of transport-layer feedback, packet type 205.
mod transport {
    pub(super) const NACK: u8 = 1;
    pub(super) const TMMBR: u8 = 3;
    pub(super) const TMMBN: u8 = 4;
    pub(super) const ECN: u8 = 8;
    pub(super) const CCFB: u8 = 11;
    pub(super) const TWCC: u8 = 15;
}

/// Picture Loss Indication.
pub(super) const PLI: u8 = 1;
/// Full Intra Request.
pub(super) const FIR: u8 = 4;

/// Formats of payload-specific feedback, packet type 206.
mod payload {
    pub(super) use super::{FIR, PLI};

    pub(super) const SLI: u8 = 2;
    pub(super) const RPSI: u8 = 3;
    pub(super) const TSTR: u8 = 5;
    pub(super) const TSTN: u8 = 6;
    pub(super) const VBCM: u8 = 7;
    pub(super) const APPLICATION: u8 = 15;
}

/// A feedback packet taken apart.
struct Feedback<'a> {
    format: u8,
    sender: Ssrc,
    media: Ssrc,
    information: &'a [u8],
}

impl<'a> Feedback<'a> {
    fn parse(packet: &RtcpPacket<'a>) -> Result<Self, Omission> {
        let (sender, rest) = split_word(packet.body)?;
        let (media, information) = split_word(rest)?;
        Ok(Self { format: packet.count, sender: Ssrc(sender), media: Ssrc(media), information })
    }
}

impl<S: Streams> Translator<'_, S> {
    pub(super) fn transport_feedback(&mut self, packet: &RtcpPacket<'_>) -> Result<(), Omission> {
        let feedback = Feedback::parse(packet)?;
        match feedback.format {
            transport::NACK => self.nack(&feedback),
            transport::TMMBR | transport::TMMBN => self.entries(packet_type::RTPFB, &feedback),
            transport::ECN | transport::CCFB | transport::TWCC => Err(Omission::Terminated),
            _ => Err(Omission::Unknown),
        }
    }

    pub(super) fn payload_feedback(&mut self, packet: &RtcpPacket<'_>) -> Result<(), Omission> {
        let feedback = Feedback::parse(packet)?;
        match feedback.format {
            payload::PLI if !self.to.pictures.loss => Err(Omission::Feedback),
            payload::FIR if !self.to.pictures.intra => Err(Omission::Feedback),
            payload::PLI | payload::SLI => self.pass(&feedback, feedback.information),
            payload::RPSI => self.picture_selection(&feedback),
            payload::FIR | payload::TSTR | payload::TSTN => self.entries(packet_type::PSFB, &feedback),
            payload::VBCM => self.back_channel(&feedback),
            payload::APPLICATION if feedback.information.starts_with(b"REMB") => self.remb(&feedback),
            payload::APPLICATION => Err(Omission::Terminated),
            _ => Err(Omission::Unknown),
        }
    }

    /// `PID(16) | BLP(16)`: a lost packet and which of the sixteen after it (RFC 4585 §6.2.1). One packet goes to each
    /// source that sent some of them.
    fn nack(&mut self, feedback: &Feedback<'_>) -> Result<(), Omission> {
        let rewriter = self.streams.sent_as(feedback.media).ok_or(Omission::Unmapped)?;
        let mut sources = [None; 4];
        for seq in lost(feedback.information) {
            if let Some((epoch, _)) = rewriter.sent_in(seq)
                && !sources.contains(&Some(epoch.source))
                && let Some(place) = sources.iter_mut().find(|place| place.is_none())
            {
                *place = Some(epoch.source);
            }
        }
        if sources.iter().all(Option::is_none) {
            return Err(Omission::Unmapped);
        }
        sources.into_iter().flatten().try_for_each(|source| self.nack_to(source, feedback))
    }

    fn nack_to(&mut self, source: Ssrc, feedback: &Feedback<'_>) -> Result<(), Omission> {
        let start = self.open(feedback.sender, source)?;
        let rewriter = self.streams.sent_as(feedback.media).ok_or(Omission::Unmapped)?;
        let ours = lost(feedback.information).filter_map(|seq| rewriter.sent_in(seq));
        let theirs = ours.filter(|(epoch, _)| epoch.source == source);
        let mut entry: Option<(SeqNo, u16)> = None;
        for seq in theirs.filter_map(|(epoch, index)| Some(epoch.incoming(index)?.seq())) {
            match &mut entry {
                Some((first, following)) if (1..=16).contains(&seq.since(*first)) => {
                    *following |= 1 << (seq.since(*first) - 1);
                }
                Some((first, _)) if *first == seq => {}
                Some(_) | None => {
                    if let Some(full) = entry.replace((seq, 0)) {
                        self.out.word(nack_entry(full))?;
                    }
                }
            }
        }
        if let Some(last) = entry {
            self.out.word(nack_entry(last))?;
        }
        Ok(self.out.close(start, packet_type::RTPFB, transport::NACK)?)
    }

    /// Entries of eight bytes that begin with an SSRC: TMMBR, TMMBN (RFC 5104 §4.2), FIR (§4.3.1), TSTR, TSTN (§4.3.2).
    /// Those of FIR go on with a command number, which is ours towards each source.
    fn entries(&mut self, packet_type: u8, feedback: &Feedback<'_>) -> Result<(), Omission> {
        let is_fir = packet_type == packet_type::PSFB && feedback.format == payload::FIR;
        let start = self.open(feedback.sender, Ssrc(0))?;
        let (entries, _) = feedback.information.as_chunks();
        let mut left = 0;
        for &[a, b, c, d, number, e, f, g] in entries {
            let rewriter = self.streams.sent_as(Ssrc(u32::from_be_bytes([a, b, c, d])));
            let Some((rewriter, source)) =
                rewriter.and_then(|rewriter| rewriter.source().map(|source| (rewriter, source)))
            else {
                self.omit(Omission::Unmapped);
                continue;
            };
            let number = if is_fir { rewriter.fir_number(number) } else { number };
            self.out.word(source.0)?;
            self.out.bytes(&[number, e, f, g])?;
            left += 1;
        }
        // A TMMBN without entries says that nothing limits the sender any more; all others would say nothing.
        let is_notification = packet_type == packet_type::RTPFB && feedback.format == transport::TMMBN;
        if left == 0 && !(is_notification && entries.is_empty()) {
            return Err(Omission::Unmapped);
        }
        Ok(self.out.close(start, packet_type, feedback.format)?)
    }

    /// Payload-specific feedback that names nothing but its media source: PLI, SLI.
    fn pass(&mut self, feedback: &Feedback<'_>, information: &[u8]) -> Result<(), Omission> {
        let media = self.target(feedback.media)?;
        let start = self.open(feedback.sender, media)?;
        self.out.bytes(information)?;
        Ok(self.out.close(start, packet_type::PSFB, feedback.format)?)
    }

    /// `PB(8) | 0 | payload type(7) | bits` (RFC 4585 §6.3.3).
    fn picture_selection(&mut self, feedback: &Feedback<'_>) -> Result<(), Omission> {
        let [padding, payload_type, bits @ ..] = feedback.information else { return Err(Omission::Unknown) };
        let payload_type = self.incoming_payload_type(feedback.media, *payload_type)?;
        let media = self.target(feedback.media)?;
        let start = self.open(feedback.sender, media)?;
        self.out.bytes(&[*padding, payload_type])?;
        self.out.bytes(bits)?;
        Ok(self.out.close(start, packet_type::PSFB, payload::RPSI)?)
    }

    /// `SSRC | sequence number(8) | 0 | payload type(7) | length(16) | octets`, padded to a word (RFC 5104 §4.3.4).
    fn back_channel(&mut self, feedback: &Feedback<'_>) -> Result<(), Omission> {
        let start = self.open(feedback.sender, Ssrc(0))?;
        let mut messages = feedback.information;
        let mut left = 0;
        while !messages.is_empty() {
            let (ssrc, rest) = split_word(messages)?;
            let (&[number, payload_type, high, low], rest) = rest.split_first_chunk().ok_or(Omission::Unknown)?;
            let length = usize::from(u16::from_be_bytes([high, low])).next_multiple_of(4);
            let (octets, rest) = rest.split_at_checked(length).ok_or(Omission::Unknown)?;
            messages = rest;
            let ssrc = Ssrc(ssrc);
            match (self.target(ssrc), self.incoming_payload_type(ssrc, payload_type)) {
                (Ok(source), Ok(payload_type)) => {
                    self.out.word(source.0)?;
                    self.out.bytes(&[number, payload_type, high, low])?;
                    self.out.bytes(octets)?;
                    left += 1;
                }
                (Err(omission), _) | (_, Err(omission)) => self.omit(omission),
            }
        }
        if left == 0 {
            return Err(Omission::Unmapped);
        }
        Ok(self.out.close(start, packet_type::PSFB, payload::VBCM)?)
    }

    /// `'REMB' | number(8) | exponent(6) | mantissa(18) | SSRCs` (draft-alvestrand-rmcat-remb §2.2): the bandwidth that
    /// a receiver has for some streams, which it has behind us too.
    fn remb(&mut self, feedback: &Feedback<'_>) -> Result<(), Omission> {
        const FIXED: usize = 8;
        let (fixed, ssrcs) = feedback.information.split_first_chunk::<FIXED>().ok_or(Omission::Unknown)?;
        let [.., number, e, m, n] = *fixed;
        let (ssrcs, _) = ssrcs.as_chunks();
        let start = self.open(feedback.sender, Ssrc(0))?;
        let place = self.out.length() + 4;
        self.out.bytes(b"REMB")?;
        self.out.bytes(&[0, e, m, n])?;
        let mut left = 0_u8;
        for ssrc in ssrcs.iter().take(usize::from(number)) {
            match self.target(Ssrc(u32::from_be_bytes(*ssrc))) {
                Ok(source) => {
                    self.out.word(source.0)?;
                    left += 1;
                }
                Err(omission) => self.omit(omission),
            }
        }
        if left == 0 {
            return Err(Omission::Unmapped);
        }
        self.out.set(place, left);
        Ok(self.out.close(start, packet_type::PSFB, payload::APPLICATION)?)
    }

    /// Begins a feedback packet.
    fn open(&mut self, sender: Ssrc, media: Ssrc) -> Result<usize, Omission> {
        let sender = self.origin(sender);
        self.begin()?;
        let start = self.out.open()?;
        self.out.word(sender.0)?;
        self.out.word(media.0)?;
        Ok(start)
    }

    /// What a payload type towards the near leg is called by the source.
    fn incoming_payload_type(&mut self, media: Ssrc, number: u8) -> Result<u8, Omission> {
        let outgoing = PayloadType::try_from(number).map_err(|_| Omission::Unknown)?;
        let rewriter = self.streams.sent_as(media).ok_or(Omission::Unmapped)?;
        rewriter.incoming_payload_type(outgoing).map(u8::from).ok_or(Omission::Unmapped)
    }
}

/// The sequence numbers that the entries of a NACK name.
fn lost(information: &[u8]) -> impl Iterator<Item = SeqNo> {
    let (entries, _) = information.as_chunks();
    entries.iter().flat_map(|&[a, b, c, d]| {
        let (first, following) = (SeqNo(u16::from_be_bytes([a, b])), u16::from_be_bytes([c, d]));
        let following = (1..=16).filter(move |step| following >> (step - 1) & 1 == 1);
        std::iter::once(first).chain(following.map(move |step| first.plus(step)))
    })
}

fn nack_entry((first, following): (SeqNo, u16)) -> u32 {
    u32::from(first.0) << 16 | u32::from(following)
}

fn split_word(bytes: &[u8]) -> Result<(u32, &[u8]), Omission> {
    let (word, rest) = bytes.split_first_chunk().ok_or(Omission::Unknown)?;
    Ok((u32::from_be_bytes(*word), rest))
}
