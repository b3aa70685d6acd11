//! What a receiver sees as one unbroken RTP stream, whatever sources feed it.
//!
//! In the steady state every number moves by the same offset: gaps and reordering pass through, so that the receiver
//! counts the true loss. The offset changes when the source does, when we leave a packet out, and when we put one in.
//! A short history of the offsets finds the number of a late packet, and the way back for RTCP, which reports on our
//! numbers and must speak of the source's.
//!
//! ```text
//! source A   100 101 102 103(left out) 104 105 │ source B   7   8   9
//! receiver    40  41  42                43  44 │           45  46  47
//! epochs     from 100 as 40,    from 104 as 43,   from 7 of B as 45
//! ```

mod fir;
mod payload_types;

use std::time::{Duration, Instant};

use model::{MediaKind, PayloadType, Ssrc};
use smallvec::SmallVec;

use self::fir::FirSequence;

use crate::{
    dtmf,
    extension::ExtensionMap,
    packet::Packet,
    rtp::{self, ExtSeqNo, MAX_DROPOUT, MAX_MISORDER, RtpError, RtpTime, SeqNo, Strip, ticks},
};

pub use self::payload_types::{Durations, Passage, PayloadTypeMap};

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
#[repr(C)]
pub struct Settings {
    /// Audio marks the first packet after a change of source; video marks the ends of pictures, which stay as they are.
    pub kind: MediaKind,
    /// Ticks of the timestamp per second, before a payload type with a clock of its own passes.
    pub clock_rate: u32,
    /// Which payload types pass.
    pub payload_types: PayloadTypeMap,
    /// How a source that was not heard before is met.
    pub newcomers: Newcomers,
    /// Which header extensions pass.
    pub extensions: ExtensionMap,
}

/// How a source that was not heard before is met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Newcomers {
    /// At once: its packets are authentic.
    Welcome,
    /// With its second packet in sequence (RFC 3550 §A.1), unless it is the first source of all.
    Probation,
}

/// More sources than these are not remembered; the one that came first is forgotten.
const MAX_SOURCES: usize = 4;

/// Offsets before these are forgotten: packets that late have no number any more.
const MAX_EPOCHS: usize = 16;

/// Timestamps that stray so far from the clock on the wall begin anew.
const MAX_TIME_JUMP: Duration = Duration::from_secs(10);

/// After a pause, or with another clock, timestamps that stray so far from the clock on the wall begin anew: no
/// network delays that much, and a source that was told to stop may have stopped its clock.
const MAX_RESUME_JUMP: Duration = Duration::from_millis(250);

/// How long packets of a run that was left behind may still come in, and are not taken for its return.
const TAIL: Duration = Duration::from_millis(200);

/// The least that lies between two packets of different sources.
const SHORTEST_FRAME: Duration = Duration::from_millis(20);

/// One outgoing stream: where its numbers stand, and from which sources they came.
///
/// What every packet needs stands together at the beginning: among many streams it is no longer in the processor's cache
/// when the next packet comes, and costs what fetching its lines costs.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Rewriter {
    origin: Origin,
    /// Ticks per second of the newest timestamp.
    clock_rate: u32,
    /// The one that is forwarded now.
    current: Option<Ssrc>,
    /// The first index that is neither used nor kept for a late packet.
    next: ExtSeqNo,
    /// The newest timestamp, and when it was first sent.
    newest: Option<(Instant, RtpTime)>,
    sent: Sent,
    /// A source, or a place in the current one, that goes on from here if the next packet bears this number.
    contender: Option<(Ssrc, SeqNo)>,
    /// Something was kept back since the last packet.
    resuming: bool,
    /// The sources heard, in the order of their coming.
    sources: SmallVec<[Source; 1]>,
    /// The oldest first.
    epochs: SmallVec<[Epoch; 2]>,
    settings: Settings,
    /// When another source, or another place in the same one, was last taken up.
    switched: Option<Instant>,
    fir: FirSequence,
}

/// A source of the stream.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: Ssrc,
    /// The index after the highest one that came.
    next: ExtSeqNo,
}

/// A run of packets that were moved by one offset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    /// Whose they were.
    pub(crate) source: Ssrc,
    /// The first, as the source counts.
    first_in: ExtSeqNo,
    /// The first, as we count.
    first_out: ExtSeqNo,
    /// The last, as we count.
    last_out: ExtSeqNo,
    /// What was added to their timestamps.
    pub(crate) time_offset: u32,
}

impl Epoch {
    fn outgoing(&self, index: ExtSeqNo) -> Option<ExtSeqNo> {
        let steps = index.steps_from(self.first_in);
        self.first_out.offset(steps).filter(|out| steps >= 0 && *out <= self.last_out)
    }

    /// What the source calls the packet that we call `index`; beyond the last one, what it calls that.
    pub(crate) fn incoming(&self, index: ExtSeqNo) -> Option<ExtSeqNo> {
        self.first_in.offset(index.min(self.last_out).steps_from(self.first_out))
    }
}

impl Rewriter {
    /// Makes a stream that has sent nothing yet.
    pub fn new(origin: Origin, settings: Settings) -> Self {
        const TOP_BIT: u16 = 1 << 15;
        let first = SeqNo(origin.seq.0 & !TOP_BIT);
        Self {
            origin,
            clock_rate: settings.clock_rate,
            settings,
            sources: SmallVec::new(),
            current: None,
            contender: None,
            epochs: SmallVec::new(),
            next: ExtSeqNo::new(0, first),
            newest: None,
            resuming: false,
            switched: None,
            sent: Sent::default(),
            fir: FirSequence::default(),
        }
    }

    /// Takes what a new offer and answer agreed on. The numbers go on.
    pub fn set(&mut self, settings: Settings) {
        if self.newest.is_none() {
            self.clock_rate = settings.clock_rate;
        }
        self.settings = settings;
    }

    /// Ticks of the timestamp per second, as the packets have it that were sent last.
    pub const fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// The SSRC that receivers see.
    pub const fn ssrc(&self) -> Ssrc {
        self.origin.ssrc
    }

    /// Says whether an SSRC is one of the sources that feed this stream.
    pub fn is_fed_by(&self, source: Ssrc) -> bool {
        self.sources.iter().any(|known| known.ssrc == source)
    }

    /// The source that is forwarded now.
    pub const fn source(&self) -> Option<Ssrc> {
        self.current
    }

    /// Rewrites a packet in place. What it returns is the new header.
    ///
    /// # Errors
    ///
    /// The packet is to be dropped. The receiver will see no loss for it, as far as later packets allow.
    pub fn apply(&mut self, packet: &mut Packet<'_>, now: Instant) -> Result<rtp::Header, RewriteError> {
        let mut header = rtp::Header::parse(packet)?;
        let payload = header.payload(packet)?;
        let Some(passage) = self.settings.payload_types.passage(header.payload_type).copied() else {
            self.leave_out(&header);
            return Err(RewriteError::PayloadType);
        };
        let place = self.place(&header, passage.clock_rate, now)?;
        header.ssrc = self.origin.ssrc;
        header.payload_type = passage.outgoing;
        header.seq = place.seq;
        header.time = header.time.plus(place.time_offset);
        header.marker |= place.is_first && self.settings.kind == MediaKind::Audio;
        self.sent.packets += 1;
        self.sent.octets += payload.len() as u64;
        if let Some(Durations { incoming, outgoing }) = passage.durations
            && let Some(event) = packet.get_mut(payload)
        {
            let segment = dtmf::change_clock(event, incoming, outgoing);
            header.time = header.time.plus(segment);
            header.marker &= segment == 0;
        }
        self.rewrite_extension(&mut header, packet)?;
        Ok(header)
    }

    /// Keeps back a packet that must not pass now (the stream is on hold, or a key press takes its place), so that the
    /// receiver sees no loss however long that lasts, and whatever the network loses meanwhile. `header` is that of the
    /// packet as it came.
    pub fn skip(&mut self, header: &rtp::Header) {
        self.resuming = true;
        match self.in_sequence(header) {
            Some((index, 0..=MAX_DROPOUT)) => self.pass_over(index, 0),
            Some((_, gap)) if (-MAX_MISORDER..0).contains(&gap) => {}
            Some(_) | None => self.contender = Some((header.ssrc, header.seq.plus(1))),
        }
    }

    /// Leaves out a packet of a payload type that never passes. The packets before it may still come, and get the
    /// numbers that are kept for them.
    fn leave_out(&mut self, header: &rtp::Header) {
        if let Some((index, gap @ 0..=MAX_DROPOUT)) = self.in_sequence(header) {
            let is_idle = self.epochs.last().is_some_and(|epoch| epoch.first_out == self.next);
            self.pass_over(index, if is_idle { 0 } else { gap });
        }
    }

    /// The index of a packet of the current source, and how many are missing before it.
    fn in_sequence(&mut self, header: &rtp::Header) -> Option<(ExtSeqNo, i64)> {
        let next = self.current_source(header.ssrc)?.next;
        let index = next.nearest(header.seq)?;
        Some((index, index.steps_from(next)))
    }

    /// Lets the current source go on after an index, and the receiver after so many numbers.
    fn pass_over(&mut self, index: ExtSeqNo, numbers: i64) {
        let (Some(next_in), Some(next_out)) = (index.offset(1), self.next.offset(numbers)) else { return };
        if let Some(current) = self.current
            && let Some(source) = self.current_source(current)
        {
            source.next = next_in;
        }
        self.next = next_out;
        self.contender = None;
        self.go_on();
    }

    /// Gives the header of a packet of our own making, next in sequence and sampled now. While a key press is sent,
    /// the packets of the source are best left out with [`Rewriter::skip`].
    pub fn originate(&mut self, payload_type: PayloadType, payload: usize, now: Instant) -> rtp::Header {
        let (_, time) = *self.newest.get_or_insert((now, self.origin.time));
        let time = self.time_at(now).unwrap_or(time);
        let header = rtp::Header::new(payload_type, self.next.seq(), time, self.origin.ssrc);
        self.end_epochs(self.next);
        self.next = self.next.offset(1).unwrap_or(self.next);
        self.go_on();
        self.sent.packets += 1;
        self.sent.octets += payload as u64;
        header
    }

    /// The timestamp of something sampled now; `None` before the first packet.
    pub fn time_at(&self, now: Instant) -> Option<RtpTime> {
        self.newest.map(|(at, time)| time.plus(self.ticks(now.saturating_duration_since(at))))
    }

    /// What was sent so far.
    pub const fn sent(&self) -> Sent {
        self.sent
    }

    /// What the far side's payload type is called by the source.
    pub(crate) fn incoming_payload_type(&self, outgoing: PayloadType) -> Option<PayloadType> {
        self.settings.payload_types.incoming(outgoing)
    }

    /// The timestamp that goes with what the source that is forwarded now samples some time after a timestamp of its
    /// own.
    pub fn time_after(&self, time: RtpTime, elapsed: Duration) -> Option<RtpTime> {
        self.outgoing_time(time).map(|time| time.plus(self.ticks(elapsed)))
    }

    /// Begins another stream in place of this one, with nothing sent yet, because its SSRC turned out to be another's
    /// too (RFC 3550 §8.2).
    pub fn renew(&mut self, origin: Origin) {
        let settings = self.settings.clone();
        *self = Self::new(origin, settings);
    }

    /// The timestamp that goes with one of the source that is forwarded now.
    pub(crate) fn outgoing_time(&self, time: RtpTime) -> Option<RtpTime> {
        self.epochs.last().map(|epoch| time.plus(epoch.time_offset))
    }

    /// The index of a sequence number of ours, and the epoch it was sent in.
    pub(crate) fn sent_in(&self, seq: SeqNo) -> Option<(&Epoch, ExtSeqNo)> {
        let (epoch, index) = self.sent_at_or_before(seq)?;
        (index <= epoch.last_out).then_some((epoch, index))
    }

    /// The same; for the number of a packet of our own making, the last one before it that came from a source.
    pub(crate) fn sent_at_or_before(&self, seq: SeqNo) -> Option<(&Epoch, ExtSeqNo)> {
        let newest = self.next.offset(-1)?;
        let index = newest.nearest(seq).filter(|index| *index <= newest)?;
        let epoch = self.epochs.iter().rev().find(|epoch| epoch.first_out <= index)?;
        Some((epoch, index))
    }

    /// The command number towards the source for one of a Full Intra Request from the receiver.
    pub(crate) fn fir_number(&mut self, from_receiver: u8) -> u8 {
        self.fir.translate(from_receiver)
    }

    /// The command number towards the source for a Full Intra Request of our own.
    pub fn next_fir_number(&mut self) -> u8 {
        self.fir.next()
    }

    /// Finds the number of a packet, and moves everything on.
    fn place(&mut self, header: &rtp::Header, clock: Option<u32>, now: Instant) -> Result<Place, RewriteError> {
        if self.current_source(header.ssrc).is_some() {
            return self.place_current(header, clock, now);
        }
        if let Some(source) = self.sources.iter().find(|source| source.ssrc == header.ssrc) {
            if let Some(late) = source.next.nearest(header.seq).filter(|index| *index < source.next) {
                return self.place_late(header.ssrc, late);
            }
        } else if self.current.is_none() || self.settings.newcomers == Newcomers::Welcome {
            return self.switch(header, clock, now);
        }
        self.contend(header, clock, now)
    }

    fn place_current(&mut self, header: &rtp::Header, clock: Option<u32>, now: Instant) -> Result<Place, RewriteError> {
        let (index, gap) = self.in_sequence(header).ok_or(RewriteError::Late)?;
        // What fits by chance is no less a restart if its time is that of another life.
        if !(-MAX_MISORDER..=MAX_DROPOUT).contains(&gap) || (gap != 0 && self.strays(header.time, MAX_TIME_JUMP, now)) {
            return self.contend(header, clock, now);
        }
        if gap < 0 {
            return self.place_late(header.ssrc, index);
        }
        let out = self.next.offset(gap).ok_or(RewriteError::Late)?;
        self.keep_time(header.time, clock, now, index, out);
        let time_offset = self.epochs.last().map_or(0, |epoch| epoch.time_offset);
        self.note_time(header.time.plus(time_offset), now);
        self.next = out.offset(1).ok_or(RewriteError::Late)?;
        self.contender = None;
        if let (Some(next_in), Some(source)) = (index.offset(1), self.current_source(header.ssrc)) {
            source.next = next_in;
        }
        Ok(Place { seq: out.seq(), time_offset, is_first: false })
    }

    fn place_late(&self, source: Ssrc, index: ExtSeqNo) -> Result<Place, RewriteError> {
        let epoch = self.epochs.iter().rev().find(|epoch| epoch.source == source && epoch.first_in <= index);
        let (epoch, out) = epoch.and_then(|epoch| Some((epoch, epoch.outgoing(index)?))).ok_or(RewriteError::Late)?;
        Ok(Place { seq: out.seq(), time_offset: epoch.time_offset, is_first: false })
    }

    /// Two packets in a row make a new beginning (RFC 3550 §A.1), unless they are the last of a run that was just left.
    fn contend(&mut self, header: &rtp::Header, clock: Option<u32>, now: Instant) -> Result<Place, RewriteError> {
        if self.switched.is_some_and(|at| now.saturating_duration_since(at) < TAIL)
            && let Some((epoch, behind)) = self.tail_of(header)
        {
            let out = epoch.last_out.offset(-behind).filter(|out| behind >= 0 && *out >= epoch.first_out);
            let out = out.ok_or(RewriteError::Late)?;
            return Ok(Place { seq: out.seq(), time_offset: epoch.time_offset, is_first: false });
        }
        if self.contender == Some((header.ssrc, header.seq)) {
            return self.switch(header, clock, now);
        }
        self.contender = Some((header.ssrc, header.seq.plus(1)));
        Err(RewriteError::Probation)
    }

    /// The run, other than the present one, that a packet belongs to the end of, and how far before its end.
    fn tail_of(&self, header: &rtp::Header) -> Option<(&Epoch, i64)> {
        let runs = self.epochs.iter().rev().skip(1).filter(|epoch| epoch.source == header.ssrc);
        runs.filter_map(|epoch| {
            let behind = i64::from(epoch.incoming(epoch.last_out)?.seq().since(header.seq));
            (-MAX_DROPOUT..=MAX_MISORDER).contains(&behind).then_some((epoch, behind))
        })
        .next()
    }

    /// Goes on with another source, or another place in the same one: next number, and the time that has passed.
    fn switch(&mut self, header: &rtp::Header, clock: Option<u32>, now: Instant) -> Result<Place, RewriteError> {
        let index = self
            .sources
            .iter()
            .find(|source| source.ssrc == header.ssrc)
            .and_then(|source| source.next.nearest(header.seq))
            .unwrap_or(ExtSeqNo::new(0, header.seq));
        let (Some(next_in), Some(next_out)) = (index.offset(1), self.next.offset(1)) else {
            return Err(RewriteError::Late);
        };
        self.sources.retain(|source| source.ssrc != header.ssrc);
        if self.sources.len() == MAX_SOURCES {
            self.sources.remove(0);
        }
        self.sources.push(Source { ssrc: header.ssrc, next: next_in });
        let time = self.newest.map_or(self.origin.time, |(at, time)| {
            time.plus(self.ticks(now.saturating_duration_since(at).max(SHORTEST_FRAME)))
        });
        let time_offset = time.0.wrapping_sub(header.time.0);
        let out = self.next;
        // What the network let the very first packet overtake is not lost: there are numbers before it.
        let overtaken = if self.newest.is_none() { self.room_before(index, out) } else { 0 };
        if let (Some(first_in), Some(first_out)) = (index.offset(-overtaken), out.offset(-overtaken)) {
            let last_out = ExtSeqNo::MAX;
            self.begin_epoch(Epoch { source: header.ssrc, first_in, first_out, last_out, time_offset });
        }
        if self.newest.is_some() {
            self.switched = Some(now);
        }
        self.current = Some(header.ssrc);
        self.contender = None;
        self.resuming = false;
        self.next = next_out;
        self.newest = Some((now, time));
        self.clock_rate = clock.unwrap_or(self.clock_rate);
        Ok(Place { seq: out.seq(), time_offset, is_first: true })
    }

    /// How many packets before the first may still come.
    fn room_before(&self, first_in: ExtSeqNo, first_out: ExtSeqNo) -> i64 {
        let zero = ExtSeqNo::default();
        first_in.steps_from(zero).min(first_out.steps_from(zero)).min(MAX_MISORDER)
    }

    /// Begins the timestamps anew if they strayed from the clock on the wall.
    fn keep_time(&mut self, time: RtpTime, clock: Option<u32>, now: Instant, first_in: ExtSeqNo, first_out: ExtSeqNo) {
        let is_new_clock = clock.is_some_and(|clock| clock != self.clock_rate);
        let limit = if self.resuming || is_new_clock { MAX_RESUME_JUMP } else { MAX_TIME_JUMP };
        self.resuming = false;
        if self.strays(time, limit, now)
            && let (Some((at, newest)), Some(epoch)) = (self.newest, self.epochs.last().copied())
        {
            // What lies between two clocks is counted by the one before (RFC 7160 §4.1).
            let expected = newest.plus(self.ticks(now.saturating_duration_since(at).max(SHORTEST_FRAME)));
            let time_offset = expected.0.wrapping_sub(time.0);
            self.begin_epoch(Epoch { first_in, first_out, last_out: ExtSeqNo::MAX, time_offset, ..epoch });
        }
        self.clock_rate = clock.unwrap_or(self.clock_rate);
    }

    /// Says whether a timestamp of the current source is far from where the clock on the wall puts it.
    fn strays(&self, time: RtpTime, limit: Duration, now: Instant) -> bool {
        let (Some((at, newest)), Some(epoch)) = (self.newest, self.epochs.last()) else { return false };
        let limit = self.ticks(limit);
        let expected = newest.plus(self.ticks(now.saturating_duration_since(at)));
        let time = time.plus(epoch.time_offset);
        // A clock that does not tick says nothing, and a key that is held down has one timestamp for long.
        limit != 0 && time != newest && time.since(expected).unsigned_abs() > limit
    }

    /// Remembers the newest timestamp. Packets of one picture or one key press share theirs.
    fn note_time(&mut self, time: RtpTime, now: Instant) {
        if self.newest.is_none_or(|(_, newest)| time.since(newest) > 0) {
            self.newest = Some((now, time));
        }
    }

    /// The next packet of the current source takes the next number, whatever lies between.
    fn go_on(&mut self) {
        let source = self.current.and_then(|ssrc| self.sources.iter().find(|source| source.ssrc == ssrc));
        if let (Some(source), Some(epoch)) = (source, self.epochs.last()) {
            let next = Epoch { first_in: source.next, first_out: self.next, last_out: ExtSeqNo::MAX, ..*epoch };
            self.begin_epoch(next);
        }
    }

    /// Ends the epochs before this one; those that sent nothing are forgotten at once.
    fn begin_epoch(&mut self, epoch: Epoch) {
        self.end_epochs(epoch.first_out);
        self.epochs.retain(|earlier| earlier.first_out <= earlier.last_out);
        if self.epochs.len() == MAX_EPOCHS {
            self.epochs.remove(0);
        }
        self.epochs.push(epoch);
    }

    /// Lets no epoch have a number from `next` on.
    fn end_epochs(&mut self, next: ExtSeqNo) {
        if let Some(last) = next.offset(-1) {
            for epoch in &mut self.epochs {
                epoch.last_out = epoch.last_out.min(last);
            }
        }
    }

    fn current_source(&mut self, ssrc: Ssrc) -> Option<&mut Source> {
        let current = self.current.filter(|current| *current == ssrc)?;
        self.sources.iter_mut().find(|source| source.ssrc == current)
    }

    fn rewrite_extension(&self, header: &mut rtp::Header, packet: &mut Packet<'_>) -> Result<(), RtpError> {
        let passes = header.extension().and_then(|range| packet.get_mut(range));
        let passes = passes.is_some_and(|extension| self.settings.extensions.apply(extension));
        header.strip(packet, if passes { Strip::Csrcs } else { Strip::CsrcsAndExtension })
    }

    fn ticks(&self, time: Duration) -> u32 {
        ticks(time, self.clock_rate)
    }
}

/// Where a packet belongs in the outgoing stream.
struct Place {
    seq: SeqNo,
    time_offset: u32,
    is_first: bool,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::Header;

    const OUT: Ssrc = Ssrc(0x0010_0010);
    const A: Ssrc = Ssrc(0xA);
    const B: Ssrc = Ssrc(0xB);
    const PCMU: u8 = 0;
    const OPUS: u8 = 111;
    const FRAME: u32 = 160;

    #[test]
    fn gaps_and_reordering_pass_through() {
        let mut bench = Bench::new();
        let sent: Vec<_> = [100, 101, 104, 103, 102, 105].map(|seq| bench.seq(A, seq)).to_vec();
        assert_eq!(sent, [Ok(40), Ok(41), Ok(44), Ok(43), Ok(42), Ok(45)]);
    }

    #[test]
    fn a_packet_is_rewritten_in_place() {
        let mut bench = Bench::new();
        let mut bytes = [0_u8; 64];
        let packet = b"\xB2\x6F\x00\x64\x00\x00\x00\xA0\x00\x00\x00\x0A????????\xBE\xDE\x00\x01\x10\x7F\0\0payload\x01";
        bytes[..packet.len()].copy_from_slice(packet);
        let mut packet = Packet::new(&mut bytes, packet.len()).expect("it fits");
        let header = bench.rewriter.apply(&mut packet, bench.start).expect("it passes");
        assert_eq!(&*packet, b"\xA0\xE0\x00\x28\x00\x00\x03\xE8\x00\x10\x00\x10payload\x01");
        assert_eq!(Header::parse(&packet), Ok(header));
        assert_eq!(bench.rewriter.sent(), Sent { packets: 1, octets: 7 });
    }

    #[test]
    fn what_was_not_negotiated_leaves_no_gap() {
        let mut bench = Bench::new();
        assert_eq!(bench.seq(A, 100), Ok(40));
        for seq in 101..105 {
            assert_eq!(bench.send(13, A, seq, 0, 0), Err(RewriteError::PayloadType));
        }
        assert_eq!(bench.seq(A, 105), Ok(41));
        assert_eq!(bench.send(13, A, 107, 0, 0), Err(RewriteError::PayloadType));
        assert_eq!(bench.seq(A, 108), Ok(43));
        assert_eq!(bench.seq(A, 106), Ok(42), "a late packet still finds its number");
        assert_eq!(bench.send(13, A, 104, 0, 0), Err(RewriteError::PayloadType), "a repetition changes nothing");
        assert_eq!(bench.seq(A, 109), Ok(44));
    }

    #[test]
    fn a_new_source_goes_on_where_the_old_one_stopped() {
        let mut bench = Bench::new();
        let first = bench.at(A, 100, 5000, 0).expect("it passes");
        assert_eq!((first.seq, first.time, first.marker), (SeqNo(40), RtpTime(1000), true));
        let second = bench.at(A, 101, 5000 + FRAME, 20).expect("it passes");
        assert_eq!((second.seq, second.time, second.marker), (SeqNo(41), RtpTime(1160), false));
        let switched = bench.at(B, 60_000, 0xFFFF_FFFF, 120).expect("it passes");
        assert_eq!((switched.seq, switched.time, switched.marker), (SeqNo(42), RtpTime(1160 + 800), true));
        let quickly = bench.at(Ssrc(3), 7, 9, 120).expect("it passes");
        assert_eq!((quickly.seq, quickly.time), (SeqNo(43), RtpTime(1960 + 160)), "at least a frame later");
    }

    #[test]
    fn a_source_that_is_not_authentic_is_believed_with_its_second_packet() {
        let mut bench = Bench::new();
        bench.set(|settings| settings.newcomers = Newcomers::Probation);
        assert_eq!(bench.seq(A, 100), Ok(40), "the very first at once");
        assert_eq!(bench.seq(B, 500), Err(RewriteError::Probation));
        assert_eq!(bench.seq(A, 101), Ok(41));
        assert_eq!(bench.seq(B, 501), Err(RewriteError::Probation), "not in a row");
        assert_eq!(bench.seq(B, 502), Ok(42));
    }

    #[test]
    fn the_last_packets_of_an_old_source_do_not_bring_it_back() {
        let mut bench = Bench::new();
        assert_eq!([100, 101].map(|seq| bench.seq(A, seq)), [Ok(40), Ok(41)]);
        assert_eq!(bench.seq(B, 500), Ok(42));
        assert_eq!([102, 103].map(|seq| bench.seq(A, seq)), [Err(RewriteError::Late); 2], "the network held them up");
        assert_eq!(bench.seq(A, 99), Ok(39), "one that the first had overtaken");
        assert_eq!(bench.seq(A, 100), Ok(40), "a repetition of what was sent keeps its number");
        assert_eq!(bench.seq(B, 501), Ok(43));
        bench.ms = 201;
        assert_eq!([104, 105].map(|seq| bench.seq(A, seq)), [Err(RewriteError::Probation), Ok(44)], "it is back");
    }

    #[test]
    fn the_last_packets_before_a_restart_do_not_undo_it() {
        let mut bench = Bench::new();
        assert_eq!([100, 101].map(|seq| bench.seq(A, seq)), [Ok(40), Ok(41)]);
        assert_eq!([30_000, 30_001].map(|seq| bench.seq(A, seq)), [Err(RewriteError::Probation), Ok(42)]);
        assert_eq!([102, 103].map(|seq| bench.seq(A, seq)), [Err(RewriteError::Late); 2]);
        assert_eq!(bench.seq(A, 101), Ok(41));
        assert_eq!(bench.seq(A, 30_002), Ok(43));
    }

    #[test]
    fn a_restart_that_seems_to_fit_is_told_by_its_time() {
        for restart in [50, 2000] {
            let mut bench = Bench::new();
            assert_eq!(bench.at(A, 100, 0, 0).map(|header| header.seq), Ok(SeqNo(40)));
            assert_eq!(bench.at(A, restart, 1 << 30, 20), Err(RewriteError::Probation));
            let second = bench.at(A, restart + 1, (1 << 30) + FRAME, 40).expect("it passes");
            assert_eq!((second.seq, second.time), (SeqNo(41), RtpTime(1000 + 2 * FRAME)));
        }
    }

    #[test]
    fn packets_that_the_first_overtook_are_not_lost() {
        let mut bench = Bench::new();
        assert_eq!(
            [102, 101, 103, 100, 2].map(|seq| bench.seq(A, seq).ok()),
            [Some(40), Some(39), Some(41), Some(38), None]
        );
        let mut bench = Bench::new();
        assert_eq!([1, 0, 2].map(|seq| bench.seq(A, seq)), [Ok(40), Ok(39), Ok(41)]);
    }

    #[test]
    fn what_the_network_loses_during_a_hold_leaves_no_gap() {
        let mut bench = Bench::new();
        assert_eq!(bench.seq(A, 0), Ok(40));
        for seq in (2..u16::MAX - 10).step_by(2) {
            bench.skip(A, seq);
        }
        assert_eq!(bench.seq(A, u16::MAX - 10), Ok(41));
    }

    #[test]
    fn a_source_that_changes_during_a_hold_goes_on_with_its_first_packet() {
        for newcomer in [(A, 30_000), (B, 7)] {
            let mut bench = Bench::new();
            bench.set(|settings| settings.newcomers = Newcomers::Probation);
            assert_eq!(bench.seq(A, 0), Ok(40));
            bench.skip(newcomer.0, newcomer.1);
            assert_eq!(bench.seq(newcomer.0, newcomer.1 + 1), Ok(41));
        }
    }

    #[test]
    fn a_source_that_stopped_its_clock_while_it_was_held_goes_on_with_that_on_the_wall() {
        let mut bench = Bench::new();
        assert_eq!(bench.time(A, 100, 5000, 0), RtpTime(1000));
        bench.skip(A, 101);
        assert_eq!(bench.time(A, 102, 5000 + 2 * FRAME, 5000), RtpTime(1000 + 5 * 8000));
        assert_eq!(bench.time(A, 103, 5000 + 3 * FRAME, 5020), RtpTime(1000 + 5 * 8000 + FRAME));
        bench.skip(A, 104);
        assert_eq!(bench.time(A, 105, 5000 + 5 * FRAME, 5070), RtpTime(1000 + 5 * 8000 + 3 * FRAME), "mere jitter");
    }

    #[test]
    fn time_goes_on_behind_a_long_key_press() {
        let mut bench = Bench::new();
        assert_eq!(bench.time(A, 100, 0, 0), RtpTime(1000));
        for step in 1..=1000_u16 {
            assert_eq!(bench.time(A, 100 + step, FRAME, 20 * u64::from(step)), RtpTime(1000 + FRAME));
        }
        assert_eq!(bench.time(A, 1101, 1001 * FRAME, 1001 * 20), RtpTime(1000 + 1001 * FRAME));
    }

    #[test]
    fn a_codec_of_another_clock_goes_on_from_where_the_last_one_was() {
        for follows in [true, false] {
            let mut bench = Bench::new();
            bench.set(|settings| {
                for (incoming, clock_rate) in [(PCMU, 8000), (OPUS, 48_000)] {
                    let incoming = PayloadType::try_from(incoming).expect("a payload type");
                    let passage = Passage { outgoing: incoming, clock_rate: Some(clock_rate), durations: None };
                    settings.payload_types.insert_passage(incoming, passage);
                }
            });
            let mut time = |pt, seq, time, ms| bench.send(pt, A, seq, time, ms).expect("it passes").time;
            assert_eq!(time(PCMU, 1, 0, 0), RtpTime(1000));
            let first = if follows { FRAME } else { 5 * 48_000 };
            assert_eq!(time(OPUS, 2, first, 20), RtpTime(1000 + FRAME));
            assert_eq!(time(OPUS, 3, first + 960, 40), RtpTime(1000 + FRAME + 960));
            let back = if follows { first + 2 * 960 } else { 3 * 8000 };
            assert_eq!(time(PCMU, 4, back, 60), RtpTime(1000 + FRAME + 2 * 960));
            assert_eq!(bench.rewriter.clock_rate(), 8000);
            assert_eq!(
                bench.rewriter.time_at(bench.start + Duration::from_millis(80)),
                Some(RtpTime(1000 + FRAME + 2 * 960 + FRAME))
            );
        }
    }

    #[test]
    fn the_duration_of_a_key_press_is_put_into_ticks_of_the_other_clock() {
        for (clocks, came, left) in [
            ((8000, 48_000), 160, (0, 960)),
            ((48_000, 8000), 4800, (0, 800)),
            ((8000, 48_000), 12_000, (0xFFFF, 72_000 - 0xFFFF)),
            ((8000, 48_000), 0xFFFF, (5 * 0xFFFF, 0xFFFF)),
        ] {
            let mut bench = Bench::new();
            let pt = |number: u8| PayloadType::try_from(number).expect("a payload type");
            bench.set(|settings| {
                let durations = Some(Durations { incoming: clocks.0, outgoing: clocks.1 });
                settings
                    .payload_types
                    .insert_passage(pt(101), Passage { outgoing: pt(110), clock_rate: None, durations });
            });
            let mut bytes = [0; 16];
            let mut header = Header::new(pt(101), SeqNo(1), RtpTime(0), A);
            header.marker = true;
            header.write(&mut bytes).expect("room");
            bytes[14..].copy_from_slice(&u16::to_be_bytes(came));
            let header = bench.rewriter.apply(&mut Packet::new(&mut bytes, 16).expect("it fits"), bench.start);
            let header = header.expect("it passes");
            assert_eq!((header.payload_type, header.time), (pt(110), RtpTime(1000 + left.0)));
            assert_eq!(u32::from(u16::from_be_bytes([bytes[14], bytes[15]])), left.1);
        }
    }

    #[test]
    fn a_source_that_restarts_is_followed_after_two_packets() {
        let mut bench = Bench::new();
        assert_eq!(bench.seq(A, 100), Ok(40));
        assert_eq!(bench.seq(A, 30_000), Err(RewriteError::Probation));
        assert_eq!(bench.seq(A, 30_001), Ok(41));
        assert_eq!(bench.seq(A, 30_003), Ok(43));
        assert_eq!([9_000, 9_001].map(|seq| bench.seq(A, seq)), [Err(RewriteError::Probation), Ok(44)]);
    }

    #[test]
    fn timestamps_that_stray_from_the_clock_begin_anew() {
        let mut bench = Bench::new();
        assert_eq!(bench.time(A, 100, 5000, 0), RtpTime(1000));
        assert_eq!(bench.time(A, 101, 5000 + 60 * 8000, 60_000), RtpTime(1000 + 60 * 8000), "a long pause");
        assert_eq!(bench.time(A, 102, 123, 60_020), RtpTime(1000 + 60 * 8000 + FRAME), "a jump");
        assert_eq!(bench.time(A, 103, 123 + FRAME, 60_040), RtpTime(1000 + 60 * 8000 + 2 * FRAME));
        assert_eq!(
            bench.time(A, 104, 123 + 2 * FRAME, 90_040),
            RtpTime(1000 + 90 * 8000 + 2 * FRAME),
            "a stopped clock"
        );
    }

    #[test]
    fn packets_of_our_own_fit_into_the_sequence() {
        let mut bench = Bench::new();
        assert_eq!([100, 101].map(|seq| bench.seq(A, seq)), [Ok(40), Ok(41)]);
        let own = bench.originate(20);
        assert_eq!((own.seq, own.time, own.ssrc), (SeqNo(42), RtpTime(1000 + FRAME), OUT));
        assert_eq!(bench.seq(A, 102), Ok(43));
        assert_eq!(bench.seq(A, 104), Ok(45));
        bench.originate(20);
        assert_eq!(bench.seq(A, 103), Ok(44), "a late packet still finds its number");
        assert_eq!(bench.seq(A, 105), Ok(47));
        assert_eq!(bench.back(43), Some((A, 102)));
        assert_eq!(bench.back(42), None, "the source knows nothing of it");
        assert_eq!(bench.back(48), None, "not sent yet");
    }

    #[test]
    fn a_key_press_in_place_of_sound_costs_one_epoch() {
        let mut bench = Bench::new();
        assert_eq!([100, 101].map(|seq| bench.seq(A, seq)), [Ok(40), Ok(41)]);
        for seq in 102..152 {
            bench.skip(A, seq);
            bench.originate(20);
        }
        assert_eq!(bench.seq(A, 152), Ok(92));
        assert_eq!(bench.back(41), Some((A, 101)));
        assert_eq!(bench.back(60), None);
        assert_eq!(bench.rewriter.epochs.len(), 2);
    }

    #[test]
    fn a_stream_without_a_source_can_send_of_its_own() {
        let mut bench = Bench::new();
        assert_eq!(bench.rewriter.time_at(bench.start), None);
        assert_eq!((bench.originate(0).seq, bench.originate(40).time), (SeqNo(40), RtpTime(1320)));
        assert_eq!(bench.at(A, 7, 7, 100).map(|header| (header.seq, header.time)), Ok((SeqNo(42), RtpTime(1800))));
    }

    #[test]
    fn every_number_leads_back_to_the_source_it_came_from() {
        let mut bench = Bench::new();
        for seq in [65_534, 65_535, 0, 1] {
            bench.seq(A, seq).expect("it passes");
        }
        bench.skip(A, 2);
        bench.seq(A, 3).expect("it passes");
        bench.seq(B, 7).expect("it passes");
        let back: Vec<_> = (40..46).map(|seq| bench.back(seq)).collect();
        let (a, b) = (|index| Some((A, index)), |index| Some((B, index)));
        assert_eq!(back, [a(65_534), a(65_535), a(65_536), a(65_537), a(65_539), b(7)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Packet { source: u32, step: u16, back: u16, payload_type: u8 },
        Originate,
        Skip { source: u32 },
        Restart { source: u32, seq: u16 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            20 => (1..6_u32, 0..4_u16, 0..3_u16, prop_oneof![9 => Just(PCMU), 1 => Just(77)])
                .prop_map(|(source, step, back, payload_type)| Step::Packet { source, step, back, payload_type }),
            2 => Just(Step::Originate),
            2 => (1..6_u32).prop_map(|source| Step::Skip { source }),
            1 => (1..6_u32, any::<u16>()).prop_map(|(source, seq)| Step::Restart { source, seq }),
        ]
    }

    proptest! {
        /// No number is ever given to two packets of the sources (SRTP would give both away), none is skipped by more
        /// than the sources themselves skipped, and every number given leads back to the packet that got it.
        #[test]
        fn no_number_is_given_twice(steps in prop::collection::vec(step(), 1..300)) {
            let mut bench = Bench::new();
            let mut given = std::collections::HashMap::new();
            let mut at = [0_u16; 6];
            for step in steps {
                bench.ms += 50;
                match step {
                    Step::Originate => {
                        let seq = bench.originate(20).seq;
                        prop_assert!(given.insert(seq, (OUT, 0)).is_none());
                    }
                    Step::Skip { source } => bench.skip(Ssrc(source), at[source as usize]),
                    Step::Restart { source, seq } => at[source as usize] = seq,
                    Step::Packet { source, step, back, payload_type } => {
                        let next = at[source as usize].wrapping_add(step);
                        at[source as usize] = next;
                        let seq = next.wrapping_sub(back);
                        if let Ok(header) = bench.send(payload_type, Ssrc(source), seq, 0, bench.ms) {
                            let packet = (Ssrc(source), seq);
                            prop_assert_eq!(*given.entry(header.seq).or_insert(packet), packet);
                            let back = bench.rewriter.sent_in(header.seq).map(|(epoch, _)| epoch.source);
                            prop_assert_eq!(back, Some(Ssrc(source)));
                        }
                    }
                }
            }
        }

        #[test]
        fn rewriting_keeps_a_packet_valid(mut bytes in prop::collection::vec(any::<u8>(), 12..200)) {
            bytes[0] = 0x80 | bytes[0] & 0x3F;
            bytes[1] &= 0x80;
            let mut bench = Bench::new();
            let (before, length) = (Header::parse(&bytes), bytes.len());
            let payload = before.and_then(|header| Ok(bytes[header.payload(&bytes)?].to_vec()));
            let mut packet = Packet::new(&mut bytes, length).expect("it fits");
            match bench.rewriter.apply(&mut packet, bench.start) {
                Ok(header) => {
                    prop_assert_eq!(Header::parse(&packet), Ok(header));
                    prop_assert_eq!(header.payload(&packet).map(|range| packet[range].to_vec()), payload);
                    prop_assert!(!header.has_csrcs() && header.ssrc == OUT);
                }
                Err(error) => prop_assert_eq!(Err(error), payload.map(drop).map_err(RewriteError::Malformed)),
            }
        }
    }

    /// A rewriter, and packets for it.
    struct Bench {
        rewriter: Rewriter,
        settings: Settings,
        start: Instant,
        ms: u64,
    }

    impl Bench {
        fn new() -> Self {
            let pt = |number: u8| PayloadType::try_from(number).expect("a payload type");
            let mut payload_types = PayloadTypeMap::default();
            payload_types.insert(pt(PCMU), pt(PCMU));
            payload_types.insert(pt(OPUS), pt(96));
            let settings = Settings {
                kind: MediaKind::Audio,
                clock_rate: 8000,
                payload_types,
                extensions: ExtensionMap::NONE,
                newcomers: Newcomers::Welcome,
            };
            let origin = Origin { ssrc: OUT, seq: SeqNo(0x8000 | 40), time: RtpTime(1000) };
            #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
            let start = Instant::now();
            Self { rewriter: Rewriter::new(origin, settings.clone()), settings, start, ms: 0 }
        }

        fn set(&mut self, change: impl FnOnce(&mut Settings)) {
            change(&mut self.settings);
            self.rewriter.set(self.settings.clone());
        }

        fn send(&mut self, pt: u8, ssrc: Ssrc, seq: u16, time: u32, ms: u64) -> Result<Header, RewriteError> {
            let mut bytes = [0; 20];
            let pt = PayloadType::try_from(pt).expect("a payload type");
            Header::new(pt, SeqNo(seq), RtpTime(time), ssrc).write(&mut bytes).expect("room");
            let mut packet = Packet::new(&mut bytes, 20).expect("it fits");
            let header = self.rewriter.apply(&mut packet, self.start + Duration::from_millis(ms))?;
            assert_eq!(Header::parse(&packet), Ok(header));
            Ok(header)
        }

        fn at(&mut self, ssrc: Ssrc, seq: u16, time: u32, ms: u64) -> Result<Header, RewriteError> {
            self.send(PCMU, ssrc, seq, time, ms)
        }

        fn time(&mut self, ssrc: Ssrc, seq: u16, time: u32, ms: u64) -> RtpTime {
            self.at(ssrc, seq, time, ms).expect("it passes").time
        }

        fn seq(&mut self, ssrc: Ssrc, seq: u16) -> Result<u16, RewriteError> {
            self.at(ssrc, seq, 0, self.ms).map(|header| header.seq.0)
        }

        fn skip(&mut self, ssrc: Ssrc, seq: u16) {
            let pt = PayloadType::try_from(PCMU).expect("a payload type");
            self.rewriter.skip(&Header::new(pt, SeqNo(seq), RtpTime(0), ssrc));
        }

        fn originate(&mut self, ms: u64) -> Header {
            let pt = PayloadType::try_from(101).expect("a payload type");
            self.rewriter.originate(pt, 4, self.start + Duration::from_millis(ms))
        }

        fn back(&self, seq: u16) -> Option<(Ssrc, u64)> {
            let (epoch, index) = self.rewriter.sent_in(SeqNo(seq))?;
            Some((epoch.source, epoch.incoming(index)?.index()))
        }
    }
}
