//! What a receiver sees, whatever comes in.

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
            settings.payload_types.insert_passage(pt(101), Passage { outgoing: pt(110), clock_rate: None, durations });
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
    assert_eq!(bench.time(A, 104, 123 + 2 * FRAME, 90_040), RtpTime(1000 + 90 * 8000 + 2 * FRAME), "a stopped clock");
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
        let settings = Settings::audio(&[(PCMU, PCMU), (OPUS, 96)]);
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

#[test]
fn a_stream_may_go_by_the_numbers_of_its_source() {
    let mut bench = Bench::new();
    bench.rewriter.set(Settings { numbers: Numbers::Source, ..Settings::audio(&[(PCMU, PCMU)]) });
    let seen = |header: Header| (header.ssrc, header.seq, header.time, header.marker);
    let first = bench.at(A, 65_535, 5000, 0).expect("it passes");
    assert_eq!(seen(first), (A, SeqNo(65_535), RtpTime(5000), false), "as it came");
    let second = bench.at(A, 0, 5000 + FRAME, 20).expect("it passes");
    assert_eq!(seen(second), (A, SeqNo(0), RtpTime(5160), false));
    let lost = bench.at(A, 3, 5000 + 4 * FRAME, 80).expect("it passes");
    assert_eq!(seen(lost), (A, SeqNo(3), RtpTime(5640), false), "with its gaps");
    assert_eq!(bench.seq(A, 1), Ok(1), "and out of order");
    let other = bench.at(B, 7, 9, 120).expect("it passes");
    assert_eq!(seen(other), (B, SeqNo(7), RtpTime(9), false), "another source has its own");
    assert_eq!(bench.rewriter.ssrc(), B);
    assert_eq!(bench.seq(A, 4), Err(RewriteError::Probation), "one that was left has to mean it");
    let back = bench.at(A, 5, 5000 + 6 * FRAME, 140).expect("it passes");
    assert_eq!(seen(back), (A, SeqNo(5), RtpTime(5960), false));
    // What is left out leaves no gap, as ever.
    assert_eq!(bench.send(13, A, 6, 0, 0), Err(RewriteError::PayloadType));
    assert_eq!(bench.seq(A, 7), Ok(6));
}
