//! Translation of extended reports (RFC 3611): `sender SSRC`, then blocks `type(8) | specific(8) | length(16) | contents`.

use model::Ssrc;

use super::{
    RtcpPacket, Streams, packet_type,
    translate::{Omission, Translator},
};
use crate::rtp::SeqNo;

/// Block types (RFC 3611 §4).
mod block {
    pub(super) const LOSS_RUNS: u8 = 1;
    pub(super) const DUPLICATE_RUNS: u8 = 2;
    pub(super) const RECEIPT_TIMES: u8 = 3;
    pub(super) const REFERENCE_TIME: u8 = 4;
    pub(super) const DELAY_SINCE_REFERENCE: u8 = 5;
    pub(super) const STATISTICS: u8 = 6;
    pub(super) const VOIP_METRICS: u8 = 7;
}

/// Where a run of packets lies for the source that sent it.
struct Run {
    source: Ssrc,
    begin: SeqNo,
    end: SeqNo,
    time_offset: u32,
}

impl<S: Streams> Translator<'_, S> {
    pub(super) fn extended_report(&mut self, packet: &RtcpPacket<'_>) -> Result<(), Omission> {
        let sender = packet.sender().ok_or(Omission::Unknown)?;
        let sender = self.origin(sender);
        self.begin()?;
        let start = self.out.open()?;
        self.out.word(sender.0)?;
        let empty = self.out.length();
        let mut blocks = packet.body.get(4..).unwrap_or_default();
        while let Some((&[kind, specific, high, low], rest)) = blocks.split_first_chunk() {
            let length = 4 * usize::from(u16::from_be_bytes([high, low]));
            let (contents, rest) = rest.split_at_checked(length).ok_or(Omission::Unknown)?;
            blocks = rest;
            let before = self.out.length();
            if let Err(omission) = self.block([kind, specific, high, low], contents) {
                self.out.truncate(before);
                self.omit(omission);
            }
        }
        if self.out.length() == empty {
            return Err(Omission::Unmapped);
        }
        Ok(self.out.close(start, packet_type::XR, 0)?)
    }

    fn block(&mut self, header: [u8; 4], contents: &[u8]) -> Result<(), Omission> {
        let [kind, specific, ..] = header;
        match kind {
            block::LOSS_RUNS | block::DUPLICATE_RUNS | block::STATISTICS => {
                let (_, rest) = self.run(header, contents)?;
                Ok(self.out.bytes(rest)?)
            }
            block::RECEIPT_TIMES => {
                let (run, rest) = self.run(header, contents)?;
                let (times, _) = rest.as_chunks();
                let times = times.iter().map(|time| u32::from_be_bytes(*time).wrapping_sub(run.time_offset));
                Ok(times.into_iter().try_for_each(|time| self.out.word(time))?)
            }
            block::REFERENCE_TIME => {
                self.out.bytes(&header)?;
                Ok(self.out.bytes(contents)?)
            }
            block::DELAY_SINCE_REFERENCE => self.delays(specific, contents),
            block::VOIP_METRICS => {
                let (ssrc, rest) = contents.split_first_chunk().ok_or(Omission::Unknown)?;
                let source = self.target(Ssrc(u32::from_be_bytes(*ssrc)))?;
                self.out.bytes(&header)?;
                self.out.word(source.0)?;
                Ok(self.out.bytes(rest)?)
            }
            _ => Err(Omission::Unknown),
        }
    }

    /// `SSRC | begin(16) | end(16)` begin the blocks that speak of a run of packets; `end` is the first one behind it.
    /// A run that was not moved by one offset cannot be told to its source.
    fn run<'a>(&mut self, header: [u8; 4], contents: &'a [u8]) -> Result<(Run, &'a [u8]), Omission> {
        let (&[a, b, c, d, e, f, g, h], rest) = contents.split_first_chunk().ok_or(Omission::Unknown)?;
        let (begin, end) = (SeqNo(u16::from_be_bytes([e, f])), SeqNo(u16::from_be_bytes([g, h])));
        let rewriter = self.streams.sent_as(Ssrc(u32::from_be_bytes([a, b, c, d]))).ok_or(Omission::Unmapped)?;
        let moved = |seq| {
            let (epoch, index) = rewriter.sent_in(seq)?;
            Some((epoch, epoch.incoming(index)?.seq()))
        };
        let (first, begin_there) = moved(begin).ok_or(Omission::Unmapped)?;
        let (last, last_there) = moved(end.plus(u16::MAX)).ok_or(Omission::Unmapped)?;
        let end_there = last_there.plus(1);
        if first.source != last.source || end_there.since(begin_there) != end.since(begin) {
            return Err(Omission::Unmapped);
        }
        // A thinned block speaks of the packets whose numbers 2^T divides (RFC 3611 §4.1): they must stay the same.
        let [kind, specific, ..] = header;
        let thinning = if kind == block::STATISTICS { 0 } else { specific & 0x0F };
        if begin_there.since(begin).trailing_zeros() < thinning.into() {
            return Err(Omission::Unmapped);
        }
        let run = Run { source: first.source, begin: begin_there, end: end_there, time_offset: first.time_offset };
        self.out.bytes(&header)?;
        self.out.word(run.source.0)?;
        self.out.bytes(&run.begin.0.to_be_bytes())?;
        self.out.bytes(&run.end.0.to_be_bytes())?;
        Ok((run, rest))
    }

    /// `SSRC | last reference | delay`, any number of times (RFC 3611 §4.5).
    fn delays(&mut self, specific: u8, contents: &[u8]) -> Result<(), Omission> {
        let place = self.out.length();
        self.out.bytes(&[block::DELAY_SINCE_REFERENCE, specific, 0, 0])?;
        let (delays, _) = contents.as_chunks::<12>();
        for [a, b, c, d, times @ ..] in delays {
            match self.target(Ssrc(u32::from_be_bytes([*a, *b, *c, *d]))) {
                Ok(source) => {
                    self.out.word(source.0)?;
                    self.out.bytes(times)?;
                }
                Err(omission) => self.omit(omission),
            }
        }
        let words = u16::try_from((self.out.length() - place) / 4 - 1).map_err(|_| Omission::Unknown)?;
        if words == 0 {
            return Err(Omission::Unmapped);
        }
        let [high, low] = words.to_be_bytes();
        self.out.set(place + 2, high);
        self.out.set(place + 3, low);
        Ok(())
    }
}
