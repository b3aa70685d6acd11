//! Who listens: what left the relay towards one endpoint, held against what a receiver may expect.
//!
//! The watcher stands before the network, so that it sees every packet that the relay made, in order. It counts
//! rollovers by itself.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use media::rtp::{Header, SeqNo};
use model::Ssrc;

use crate::source::{FRAME, Format, Origin};

/// What was seen of one stream.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) ssrc: Option<Ssrc>,
    /// The payload types with their clocks, as the endpoint knows them.
    formats: Vec<Format>,
    telephone_event: u8,
    newest: Option<Newest>,
    /// Which packet was sent under a number; none for one of the relay's own.
    sent: HashMap<u64, Option<Origin>>,
    /// Packets were kept back since the newest, on purpose.
    pub(crate) is_interrupted: bool,
    /// The source stopped its clock since the newest.
    pub(crate) clock_stopped: bool,
    /// The most that the network moves a packet in time.
    pub(crate) jitter: Duration,
    /// Packets that a source sent, which were passed on.
    pub(crate) passed: u64,
    /// The key presses that began.
    pub(crate) keys: u32,
    /// Beginnings at which the time may be wrong by the jitter of a packet.
    breaks: u32,
    drift: i64,
}

#[derive(Clone, Copy, Debug)]
struct Newest {
    index: u64,
    time: u32,
    clock_rate: u32,
    /// The newest packet of a source, and the timestamp under which it was sent.
    origin: Option<(Origin, u32)>,
    key: Option<Key>,
}

/// A key press that is being sent.
#[derive(Clone, Copy, Debug)]
struct Key {
    time: u32,
    duration: u16,
    ends: u8,
    at: Instant,
}

impl Watcher {
    pub(crate) fn new(formats: &[Format], telephone_event: u8) -> Self {
        Self {
            ssrc: None,
            formats: formats.to_vec(),
            telephone_event,
            newest: None,
            sent: HashMap::new(),
            is_interrupted: false,
            clock_stopped: false,
            jitter: Duration::ZERO,
            passed: 0,
            keys: 0,
            breaks: 0,
            drift: 0,
        }
    }

    /// Takes a packet in clear, and says what its whole index is.
    pub(crate) fn see(&mut self, header: &Header, payload: &[u8], now: Instant) -> u64 {
        assert_eq!(*self.ssrc.get_or_insert(header.ssrc), header.ssrc, "one SSRC for the whole call");
        let index = nearest(self.newest.map(|newest| newest.index), header.seq);
        if u8::from(header.payload_type) == self.telephone_event {
            self.see_key(header, payload, index, now);
        } else {
            let origin = Origin::from_bytes(payload).expect("a packet of a source");
            self.see_sound(header, origin, index);
        }
        index
    }

    fn see_sound(&mut self, header: &Header, origin: Origin, index: u64) {
        self.passed += 1;
        if let Some(before) = self.sent.insert(index, Some(origin)) {
            assert_eq!(before, Some(origin), "number {index} is given to one packet only");
            return;
        }
        let payload_type = u8::from(header.payload_type);
        let format = self.formats.iter().find(|format| format.payload_type == payload_type);
        let clock_rate = format.expect("a payload type that the endpoint knows").clock_rate;
        match self.newest {
            Some(newest) if index < newest.index => return, // a late one, in a place that was kept for it
            Some(newest) => self.follow(&newest, header, origin, index, clock_rate),
            None => {}
        }
        let origin = Some((origin, header.time.0));
        self.newest = Some(Newest { index, time: header.time.0, clock_rate, origin, key: None });
        (self.is_interrupted, self.clock_stopped) = (false, false);
    }

    fn follow(&mut self, newest: &Newest, header: &Header, origin: Origin, index: u64, clock_rate: u32) {
        let step = index - newest.index;
        let Some((before, time_before)) = newest.origin else { return assert_eq!(step, 1) };
        let advance = i64::from(header.time.0.wrapping_sub(time_before).cast_signed());
        assert!(advance > 0, "time goes on: {newest:?} {header:?} {origin:?}");
        let same_run = origin.run == before.run;
        if same_run {
            assert!(origin.number > before.number, "{newest:?} {header:?} {origin:?}");
        }
        let between = if same_run { origin.number - before.number } else { 1 };
        // Over a long gap nobody can say when the clock changed: that is a restart too (RFC 3550 §A.1).
        let is_unclear = between > 3000 || clock_rate != newest.clock_rate;
        let is_steady = same_run && !self.is_interrupted && newest.key.is_none() && !(is_unclear && step == 1);
        if is_steady {
            assert_eq!(step, between, "gaps are those of the source: {newest:?} {header:?} {origin:?}");
        } else {
            assert!((1..=between).contains(&step), "no gap: {newest:?} {header:?} {origin:?}");
        }
        let elapsed = i64::try_from(origin.sampled - before.sampled).expect("hours") * i64::from(newest.clock_rate);
        let wrong = advance * 1_000_000 - elapsed;
        let wrong = Duration::from_micros(wrong.unsigned_abs() / u64::from(newest.clock_rate));
        let is_exact = same_run && !self.clock_stopped && i64::from(origin.time.wrapping_sub(before.time)) == advance;
        if !is_exact {
            let resumed = if self.clock_stopped { Duration::from_millis(250) } else { Duration::ZERO };
            assert!(wrong <= 2 * self.jitter + FRAME + resumed, "{wrong:?}: {newest:?} {header:?} {origin:?} {self:?}");
            self.breaks += 1;
        }
        self.drift += advance * 1_000_000 / i64::from(newest.clock_rate)
            - i64::try_from(origin.sampled - before.sampled).expect("hours");
        let limit = i64::from(self.breaks) * 250_000 + 1_000;
        assert!(self.drift.abs() <= limit, "{} us after {} breaks", self.drift, self.breaks);
    }

    fn see_key(&mut self, header: &Header, payload: &[u8], index: u64, now: Instant) {
        let &[_, flags, high, low] = payload else { panic!("no telephone-event: {payload:?}") };
        let (is_end, duration) = (flags & 0x80 != 0, u16::from_be_bytes([high, low]));
        assert_eq!(self.sent.insert(index, None), None, "number {index} is given to one packet only");
        let newest = self.newest.expect("keys are pressed after sound");
        assert!(index == newest.index + 1, "next in sequence: {newest:?} {header:?}");
        let key = match newest.key {
            Some(key) if !header.marker => {
                assert_eq!(header.time.0, key.time, "the time of its beginning");
                assert!(duration >= key.duration && (key.ends == 0 || duration == key.duration));
                let told = FRAME.min(Duration::from_micros(u64::from(duration - key.duration) * 125));
                assert_eq!(now - key.at, if key.ends == 0 { told } else { FRAME }, "an update each 20 ms");
                Key { duration, ends: key.ends + u8::from(is_end), at: now, ..key }
            }
            _ => {
                assert!(header.marker && newest.key.is_none_or(|key| key.ends == 3), "{newest:?} {header:?}");
                self.keys += 1;
                assert!(header.time.0.wrapping_sub(newest.time).cast_signed() >= 0, "{newest:?} {header:?}");
                Key { time: header.time.0, duration, ends: u8::from(is_end), at: now }
            }
        };
        assert!(key.ends <= 3);
        self.newest = Some(Newest { index, time: header.time.0, key: Some(key), ..newest });
        self.is_interrupted = true;
    }

    /// The payload type of key presses.
    pub(crate) const fn telephone_event(&self) -> u8 {
        self.telephone_event
    }

    /// The highest index that was seen.
    pub(crate) fn index(&self) -> Option<u64> {
        self.newest.map(|newest| newest.index)
    }

    /// How many numbers were used.
    pub(crate) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// Numbers that were passed over: what the receiver takes for lost.
    pub(crate) fn missing(&self) -> u64 {
        let first = self.sent.keys().min().copied().unwrap_or_default();
        self.newest.map_or(0, |newest| newest.index + 1 - first) - self.sent.len() as u64
    }

    /// The times that the sequence numbers wrapped.
    pub(crate) fn wraps(&self) -> u64 {
        self.newest.map_or(0, |newest| (newest.index >> 16) - START)
    }
}

/// Rollovers are counted from here, so that there is a place before the first.
const START: u64 = 1;

/// The whole index of a sequence number, given the newest.
pub(crate) fn nearest(newest: Option<u64>, SeqNo(seq): SeqNo) -> u64 {
    let newest = newest.unwrap_or(START << 16 | u64::from(seq));
    let [.., high, low] = newest.to_be_bytes();
    let step = SeqNo(seq).since(SeqNo(u16::from_be_bytes([high, low])));
    newest.checked_add_signed(i64::from(step)).expect("not before the first")
}

/// Which SRTP indices were used, under which keys.
#[derive(Debug, Default)]
pub(crate) struct Indices(HashSet<(Vec<u8>, &'static str, Ssrc, u64)>);

impl Indices {
    /// Notes that an index is used.
    pub(crate) fn used(&mut self, key: &[u8], of: &'static str, ssrc: Ssrc, index: u64) {
        assert!(self.0.insert((key.to_vec(), of, ssrc, index)), "{of} index {index:#x} of {ssrc} is used twice");
    }
}
