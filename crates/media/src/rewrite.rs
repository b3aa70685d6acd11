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
    /// The SSRC of the stream, for its whole life if it goes by [`Numbers::Ours`].
    pub ssrc: Ssrc,
    /// The first sequence number.
    pub seq: SeqNo,
    /// The first timestamp.
    pub time: RtpTime,
}

/// What the two legs agreed on; a new offer and answer may change it. The fields stand as a packet needs them, so that it
/// fetches few cache lines.
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
    /// By whose numbers the receiver knows the stream.
    pub numbers: Numbers,
    /// Which header extensions pass.
    pub extensions: ExtensionMap,
}

#[cfg(test)]
impl Settings {
    /// Audio at 8000 Hz with these payload types, incoming and outgoing; whoever sends it is welcome.
    pub(crate) fn audio(payload_types: &[(u8, u8)]) -> Self {
        let pt = |number| PayloadType::try_from(number).expect("a payload type");
        let mut passing = PayloadTypeMap::default();
        payload_types.iter().for_each(|(incoming, outgoing)| passing.insert(pt(*incoming), pt(*outgoing)));
        Self {
            kind: MediaKind::Audio,
            clock_rate: 8000,
            payload_types: passing,
            newcomers: Newcomers::Welcome,
            numbers: Numbers::Ours,
            extensions: ExtensionMap::NONE,
        }
    }
}

/// By whose numbers a receiver knows a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Numbers {
    /// Ours: one SSRC, whose numbers go on, whichever source is heard.
    Ours,
    /// Each source's own, as long as nothing is left out and nothing put in. With another source the stream begins anew.
    Source,
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

/// One outgoing stream: where its numbers stand, and from which sources they came. What every packet needs stands first,
/// since fetching it into the processor's cache is what costs.
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

    /// Says whether the stream goes by the numbers of its source.
    pub const fn follows(&self) -> bool {
        matches!(self.settings.numbers, Numbers::Source)
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

    /// Begins anew with the numbers of a source.
    fn follow(&mut self, header: &rtp::Header) {
        self.origin = Origin { ssrc: header.ssrc, seq: header.seq, time: header.time };
        self.next = ExtSeqNo::new(0, header.seq);
        self.newest = None;
        self.epochs.clear();
    }

    /// Goes on with another source, or another place in the same one: next number, and the time that has passed.
    fn switch(&mut self, header: &rtp::Header, clock: Option<u32>, now: Instant) -> Result<Place, RewriteError> {
        let follows = self.follows() && self.current != Some(header.ssrc);
        if follows {
            self.follow(header);
        }
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
        Ok(Place { seq: out.seq(), time_offset, is_first: !follows })
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
mod tests;
