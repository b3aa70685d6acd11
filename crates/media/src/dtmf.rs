//! Key presses as RTP payload (RFC 4733).
//!
//! ```text
//! event(8) | E(1) R(1) volume(6) | duration(16)
//! ```
//!
//! All packets of a key press have one timestamp, that of its beginning; each says how long it has lasted so far, and
//! the last one, with E set, is sent three times. A press that lasts longer than 16 bits can say goes on in a new
//! segment, whose timestamp lies as far behind.

use std::time::{Duration, Instant};

use model::{DtmfDigit, Ssrc};

use crate::rtp::{Header, RtpTime, ticks};

/// The longest segment, in ticks (RFC 4733 §2.5.1.3).
const MAX_SEGMENT: u32 = 0xFFFF;

const END: u8 = 0x80;

/// A key that was pressed and let go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyPress {
    /// The key.
    pub digit: DtmfDigit,
    /// How long it was down.
    pub duration: Duration,
}

/// Recognises key presses in a stream of telephone-event packets.
#[derive(Clone, Debug)]
pub struct Receiver {
    clock_rate: u32,
    down: Option<Down>,
    /// The last press that ended: repetitions of its packets say nothing new.
    ended: Option<(Ssrc, RtpTime)>,
}

/// A key that is down.
#[derive(Clone, Copy, Debug)]
struct Down {
    digit: DtmfDigit,
    ssrc: Ssrc,
    /// When the current segment began.
    time: RtpTime,
    /// Ticks of the segments before it.
    before: u32,
    /// Ticks of the current segment.
    duration: u16,
    /// When it counts as let go if nothing more comes.
    deadline: Instant,
}

impl Receiver {
    /// How long a key that is down may be silent: 100 ms and three updates of 50 ms.
    const SILENCE: Duration = Duration::from_millis(250);

    /// Begins with nothing pressed; durations tick `clock_rate` times a second.
    pub const fn new(clock_rate: u32) -> Self {
        Self { clock_rate, down: None, ended: None }
    }

    /// Takes one telephone-event packet. Returns a key when it ends, once; events that are no keys are ignored.
    pub fn handle_packet(&mut self, header: &Header, payload: &[u8], now: Instant) -> Option<KeyPress> {
        let &[event, flags, high, low] = payload.first_chunk()?;
        let digit = DtmfDigit::from_event(event)?;
        let duration = u16::from_be_bytes([high, low]);
        if self.is_over(header) {
            return None;
        }
        let before = self.down.filter(|down| down.is_continued_by(header, digit));
        let lost_end = if before.is_none() { self.let_go() } else { None };
        let mut down = before.unwrap_or(Down {
            digit,
            ssrc: header.ssrc,
            time: header.time,
            before: 0,
            duration: 0,
            deadline: now,
        });
        if down.time != header.time {
            down = Down { time: header.time, before: down.before.saturating_add(MAX_SEGMENT), duration: 0, ..down };
        }
        down.duration = down.duration.max(duration);
        down.deadline = now + Self::SILENCE;
        let is_end = flags & END != 0;
        if is_end && lost_end.is_some() {
            // Two presses end at once; the second is reported by the timeout that is due now.
            down.deadline = now;
        }
        self.down = Some(down);
        if is_end && lost_end.is_none() { self.let_go() } else { lost_end }
    }

    /// Returns a key whose end never came, when it has been silent for long enough.
    pub fn handle_timeout(&mut self, now: Instant) -> Option<KeyPress> {
        if self.down?.deadline <= now { self.let_go() } else { None }
    }

    /// When to call [`Receiver::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.down.map(|down| down.deadline)
    }

    /// Says whether a packet belongs to a press that has ended, or was overtaken by the next.
    fn is_over(&self, header: &Header) -> bool {
        let ended = self.ended.is_some_and(|(ssrc, time)| ssrc == header.ssrc && header.time.since(time) <= 0);
        let overtaken = self.down.is_some_and(|down| down.ssrc == header.ssrc && header.time.since(down.time) < 0);
        ended || overtaken
    }

    fn let_go(&mut self) -> Option<KeyPress> {
        let down = self.down.take()?;
        self.ended = Some((down.ssrc, down.time));
        let ticks = u64::from(down.before) + u64::from(down.duration);
        let duration = Duration::from_micros(ticks * 1_000_000 / u64::from(self.clock_rate.max(1)));
        Some(KeyPress { digit: down.digit, duration })
    }
}

impl Down {
    /// A packet goes on with a press if it has its timestamp, or begins its next segment.
    fn is_continued_by(&self, header: &Header, digit: DtmfDigit) -> bool {
        let next_segment = self.time.plus(MAX_SEGMENT);
        let same_time = header.time == self.time || header.time == next_segment && !header.marker;
        self.ssrc == header.ssrc && self.digit == digit && same_time
    }
}

/// Puts the duration of a telephone-event into ticks of another clock. What exceeds a segment is left to the
/// timestamp, which moves on by what is returned (RFC 4733 §2.5.1.3).
pub(crate) fn change_clock(event: &mut [u8], from: u32, to: u32) -> u32 {
    let [_, _, high, low, ..] = event else { return 0 };
    let ticks = u64::from(u16::from_be_bytes([*high, *low])) * u64::from(to) / u64::from(from.max(1));
    let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
    let before = ticks.saturating_sub(1) / MAX_SEGMENT * MAX_SEGMENT;
    [.., *high, *low] = (ticks - before).to_be_bytes();
    before
}

/// The packets of one key press to be sent.
#[derive(Clone, Debug)]
pub struct Sender {
    digit: DtmfDigit,
    clock_rate: u32,
    /// Ticks from the beginning to the end.
    length: u32,
    /// Ticks that were told so far.
    told: u32,
    /// How often the end was told.
    ends: u8,
}

/// One packet of a key press. The sequence numbers go on from packet to packet; the timestamp does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Update {
    /// What to send.
    pub payload: [u8; 4],
    /// Set on the first packet only.
    pub marker: bool,
    /// How long after the one before it this packet is due; zero for the first.
    pub after: Duration,
    /// How far its timestamp lies behind that of the first packet: zero but for very long presses.
    pub time_offset: u32,
}

impl Sender {
    /// Time between two packets.
    const UPDATE: Duration = Duration::from_millis(20);

    /// In -dBm0 (RFC 4733 §2.3.3).
    const VOLUME: u8 = 10;

    /// How often the last packet is sent (RFC 4733 §2.5.1.4).
    const ENDS: u8 = 3;

    /// Prepares a key press of a length, with an update every 20 ms. It lasts for one update at least.
    pub fn new(digit: DtmfDigit, duration: Duration, clock_rate: u32) -> Self {
        const LONGEST: Duration = Duration::from_secs(3600);
        let length = ticks(duration.clamp(Self::UPDATE, LONGEST), clock_rate);
        Self { digit, clock_rate, length, told: 0, ends: 0 }
    }
}

impl Iterator for Sender {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        if self.ends == Self::ENDS {
            return None;
        }
        let is_first = self.told == 0;
        let update = ticks(Self::UPDATE, self.clock_rate);
        let step = update.min(self.length - self.told);
        self.told += step;
        let is_end = self.told == self.length;
        self.ends += u8::from(is_end);
        let segment = self.told.saturating_sub(1) / MAX_SEGMENT;
        let time_offset = segment * MAX_SEGMENT;
        let [.., high, low] = (self.told - time_offset).to_be_bytes();
        let flags = Self::VOLUME | if is_end { END } else { 0 };
        // The end is told again at the same pace, lest one burst of loss take all of it (RFC 4733 §2.5.1.4).
        let after = if step == 0 { update } else { step };
        let after = if is_first { 0 } else { u64::from(after) * 1_000_000 / u64::from(self.clock_rate.max(1)) };
        Some(Update {
            payload: [self.digit.event(), flags, high, low],
            marker: is_first,
            after: Duration::from_micros(after),
            time_offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::SeqNo;

    #[test]
    fn a_press_of_a_tenth_of_a_second_is_seven_packets() {
        let updates: Vec<_> = Sender::new(digit('5'), Duration::from_millis(100), 8000).collect();
        let payloads: Vec<_> = updates.iter().map(|update| u32::from_be_bytes(update.payload)).collect();
        let end = 0x058a_0320;
        assert_eq!(payloads, [0x050a_00a0, 0x050a_0140, 0x050a_01e0, 0x050a_0280, end, end, end]);
        let after: Vec<_> = updates.iter().map(|update| update.after.as_millis()).collect();
        assert_eq!(after, [0, 20, 20, 20, 20, 20, 20]);
        let markers: Vec<_> = updates.iter().map(|update| update.marker).collect();
        assert_eq!(markers, [true, false, false, false, false, false, false]);
    }

    #[test]
    fn a_press_is_reported_once_at_its_end() {
        let mut bench = Bench::new(8000);
        let pressed = bench.send('5', 100, 1000);
        assert_eq!(pressed, [press('5', 100)]);
        assert_eq!(bench.receiver.poll_timeout(), None);
        assert_eq!(bench.send('5', 40, 1000), [], "repetitions of what has ended");
        assert_eq!(bench.send('5', 60, 9000), [press('5', 60)], "the same key again");
    }

    #[test]
    fn a_press_whose_end_was_lost_ends_in_silence_or_with_the_next() {
        let mut bench = Bench::new(8000);
        assert_eq!(bench.packet(1000, [1, 10, 0, 160]), None);
        let silent = bench.receiver.poll_timeout().expect("a key is down");
        assert_eq!(bench.receiver.handle_timeout(silent - Duration::from_millis(1)), None);
        assert_eq!(bench.receiver.handle_timeout(silent), Some(press('1', 20)));
        assert_eq!(bench.packet(1000, [1, 0x8A, 1, 64]), None, "too late");
        assert_eq!(bench.packet(3000, [2, 10, 0, 160]), None);
        assert_eq!(bench.packet(5000, [3, 0x8A, 0, 160]), Some(press('2', 20)));
        assert_eq!(bench.receiver.handle_timeout(bench.now), Some(press('3', 20)));
        assert_eq!(bench.receiver.handle_timeout(bench.now), None);
    }

    #[test]
    fn a_press_that_was_overtaken_is_not_taken_up_again() {
        let mut bench = Bench::new(8000);
        assert_eq!(bench.packet(3000, [2, 10, 0, 160]), None);
        assert_eq!(bench.packet(1000, [1, 10, 0, 160]), None);
        assert_eq!(bench.packet(3000, [2, 0x8A, 0, 160]), Some(press('2', 20)));
    }

    #[test]
    fn what_is_no_key_is_ignored() {
        let mut bench = Bench::new(8000);
        assert_eq!(bench.packet(1000, [16, 0x8A, 0, 160]), None);
        let header = bench.header(2000, false);
        assert_eq!(bench.receiver.handle_packet(&header, &[1, 0x8A, 0], bench.now), None);
        assert_eq!(bench.receiver.poll_timeout(), None);
    }

    #[test]
    fn a_very_long_press_goes_on_in_segments() {
        let updates: Vec<_> = Sender::new(digit('#'), Duration::from_secs(3), 48_000).collect();
        let offsets: std::collections::BTreeSet<_> = updates.iter().map(|update| update.time_offset).collect();
        assert_eq!(offsets.into_iter().collect::<Vec<_>>(), [0, 0xFFFF, 2 * 0xFFFF]);
        assert_eq!(Bench::new(48_000).send('#', 3000, u32::MAX - 100), [press('#', 3000)]);
    }

    proptest! {
        #[test]
        fn what_is_sent_is_recognised(
            event in 0_u8..16,
            ms in 20_u64..5000,
            clock_rate in prop::sample::select(vec![8000_u32, 16_000, 48_000]),
            time in any::<u32>(),
            lost in prop::collection::vec(any::<bool>(), 2),
        ) {
            let digit = DtmfDigit::from_event(event).expect("below 16");
            let mut bench = Bench::new(clock_rate);
            let updates: Vec<_> = Sender::new(digit, Duration::from_millis(ms), clock_rate).collect();
            let mut pressed = Vec::new();
            for (number, update) in updates.iter().enumerate() {
                if !lost.get(number).copied().unwrap_or(false) {
                    pressed.extend(bench.update(update, time));
                }
            }
            if pressed.is_empty() {
                pressed.extend(bench.receiver.handle_timeout(bench.now + Receiver::SILENCE));
            }
            prop_assert_eq!(pressed.len(), 1);
            prop_assert_eq!(pressed[0].digit, digit);
            prop_assert!(pressed[0].duration.as_millis() <= u128::from(ms));
        }

        #[test]
        fn no_bytes_panic(packets in prop::collection::vec((any::<u32>(), any::<[u8; 4]>()), 0..50)) {
            let mut bench = Bench::new(8000);
            for (time, payload) in packets {
                bench.packet(time, payload);
            }
        }
    }

    fn digit(key: char) -> DtmfDigit {
        DtmfDigit::try_from(key).expect("a key")
    }

    fn press(key: char, ms: u64) -> KeyPress {
        KeyPress { digit: digit(key), duration: Duration::from_millis(ms) }
    }

    struct Bench {
        receiver: Receiver,
        now: Instant,
    }

    impl Bench {
        fn new(clock_rate: u32) -> Self {
            #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
            let now = Instant::now();
            Self { receiver: Receiver::new(clock_rate), now }
        }

        fn header(&self, time: u32, marker: bool) -> Header {
            let payload_type = 101.try_into().expect("a payload type");
            let mut header = Header::new(payload_type, SeqNo(0), RtpTime(time), Ssrc(1));
            header.marker = marker;
            header
        }

        fn packet(&mut self, time: u32, payload: [u8; 4]) -> Option<KeyPress> {
            self.receiver.handle_packet(&self.header(time, false), &payload, self.now)
        }

        fn update(&mut self, update: &Update, time: u32) -> Option<KeyPress> {
            self.now += update.after;
            let header = self.header(time.wrapping_add(update.time_offset), update.marker);
            self.receiver.handle_packet(&header, &update.payload, self.now)
        }

        fn send(&mut self, key: char, ms: u64, time: u32) -> Vec<KeyPress> {
            let updates = Sender::new(digit(key), Duration::from_millis(ms), self.receiver.clock_rate);
            updates.filter_map(|update| self.update(&update, time)).collect()
        }
    }
}
