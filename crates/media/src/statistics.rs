//! What a receiver knows of one source: loss, jitter, extended highest sequence number (RFC 3550 §A.1, §A.3, §A.8).

use std::time::Instant;

use model::Ssrc;

use crate::{
    emodel,
    rtcp::{ReportBlock, SenderInfo},
    rtp::{ExtSeqNo, Header, MAX_DROPOUT, MAX_MISORDER, RtpTime, SeqNo, ticks},
};

/// The figures of one source; those that every packet changes stand together.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Reception {
    ssrc: Ssrc,
    clock_rate: u32,
    packets: u64,
    octets: u64,
    /// Of the packet that came last in its place.
    time: RtpTime,
    run: Option<Run>,
    /// A place from where the source goes on if the next packet bears this number.
    contender: Option<SeqNo>,
    jitter: Jitter,
    gaps: u64,
    last_sender_report: Option<(SenderInfo, Instant)>,
    /// What came of the runs before this one.
    past: Tally,
    /// What was known at the last sample.
    sampled: Tally,
}

/// How many packets were to come, and how many did.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Packets between the first and the highest sequence number, both included.
    pub expected: i64,
    /// Packets that came, duplicates too.
    pub received: i64,
    /// Times that the sequence numbers left some out.
    pub gaps: u64,
}

impl Tally {
    /// Packets that did not come; negative where duplicates came.
    pub const fn lost(&self) -> i64 {
        self.expected - self.received
    }

    /// The share of packets that did not come, 0 to 1.
    pub fn share_lost(&self) -> f64 {
        if self.expected <= 0 { 0.0 } else { (self.lost().max(0) as f64 / self.expected as f64).min(1.0) }
    }

    /// How much longer the runs of lost packets are than chance makes them ([`emodel::burst_ratio`]).
    pub fn burst_ratio(&self) -> f64 {
        let positive = |number: i64| u64::try_from(number).unwrap_or(0);
        emodel::burst_ratio(positive(self.expected), positive(self.lost()), self.gaps)
    }

    /// Adds the tally of another source, or another run.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            expected: self.expected + other.expected,
            received: self.received + other.received,
            gaps: self.gaps + other.gaps,
        }
    }

    const fn since(self, earlier: Self) -> Self {
        Self {
            expected: self.expected - earlier.expected,
            received: self.received - earlier.received,
            gaps: self.gaps - earlier.gaps,
        }
    }
}

/// Packets since the source began or restarted.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: ExtSeqNo,
    highest: ExtSeqNo,
    received: i64,
    /// What was expected, and received, at the last report.
    reported: (i64, i64),
}

impl Run {
    const fn new(first: SeqNo) -> Self {
        let first = ExtSeqNo::new(0, first);
        Self { first, highest: first, received: 0, reported: (0, 0) }
    }

    const fn expected(&self) -> i64 {
        self.highest.steps_from(self.first) + 1
    }
}

/// Interarrival jitter (RFC 3550 §A.8), in sixteenths of a tick.
#[derive(Clone, Copy, Debug, Default)]
struct Jitter {
    /// Arrivals are counted from here.
    epoch: Option<Instant>,
    transit: Option<u32>,
    sixteenths: u32,
}

impl Reception {
    /// Begins with a source whose timestamps tick `clock_rate` times a second.
    pub const fn new(ssrc: Ssrc, clock_rate: u32) -> Self {
        Self {
            ssrc,
            clock_rate,
            packets: 0,
            octets: 0,
            time: RtpTime(0),
            run: None,
            contender: None,
            jitter: Jitter { epoch: None, transit: None, sixteenths: 0 },
            last_sender_report: None,
            past: Tally { expected: 0, received: 0, gaps: 0 },
            sampled: Tally { expected: 0, received: 0, gaps: 0 },
            gaps: 0,
        }
    }

    /// Counts a packet that is authentic or otherwise believed, with so many bytes of payload.
    pub fn count(&mut self, header: &Header, payload: usize, now: Instant) {
        self.packets += 1;
        self.octets += payload as u64;
        if self.follow(header.seq) {
            self.time = header.time;
            self.jitter.count(header, self.clock_rate, now);
        }
    }

    /// Remembers a sender report, so that the next report of ours can answer it.
    pub const fn handle_sender_report(&mut self, info: &SenderInfo, now: Instant) {
        self.last_sender_report = Some((*info, now));
    }

    /// The last sender report, and when it came.
    pub const fn sender_report(&self) -> Option<(SenderInfo, Instant)> {
        self.last_sender_report
    }

    /// The report on this source, and the beginning of the next interval. `None` before the first packet.
    pub fn report(&mut self, now: Instant) -> Option<ReportBlock> {
        let run = self.run.as_mut()?;
        let (expected, received) = (run.expected(), run.received);
        let lost = i32::try_from(expected - received).unwrap_or(ReportBlock::MAX_LOST);
        let interval = (expected - run.reported.0, received - run.reported.1);
        run.reported = (expected, received);
        let [.., a, b, c, d] = run.highest.index().to_be_bytes();
        let (last_sr, since) = self.last_sender_report.map_or((0, now), |(info, at)| (info.middle(), at));
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction_lost(interval),
            lost: lost.clamp(-ReportBlock::MAX_LOST - 1, ReportBlock::MAX_LOST),
            highest: u32::from_be_bytes([a, b, c, d]),
            jitter: self.jitter.sixteenths >> 4,
            last_sr,
            delay_since_last_sr: ticks(now.saturating_duration_since(since), 1 << 16),
        })
    }

    /// Packets counted.
    pub const fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes of their payload.
    pub const fn octets(&self) -> u64 {
        self.octets
    }

    /// The timestamp of the packet that came last in its place.
    pub const fn time(&self) -> RtpTime {
        self.time
    }

    /// The highest sequence number; 0 before the first packet.
    pub fn highest(&self) -> SeqNo {
        self.run.map_or(SeqNo(0), |run| run.highest.seq())
    }

    /// What came since the beginning, over all restarts of the source.
    pub fn tally(&self) -> Tally {
        let (expected, received) = self.run.map_or((0, 0), |run| (run.expected(), run.received));
        self.past.plus(Tally { expected, received, gaps: self.gaps })
    }

    /// What came since the last sample.
    pub fn sample(&mut self) -> Tally {
        let tally = self.tally();
        tally.since(std::mem::replace(&mut self.sampled, tally))
    }

    /// Packets that never came; negative where duplicates came.
    pub fn lost(&self) -> i64 {
        self.tally().lost()
    }

    /// Interarrival jitter in milliseconds.
    pub fn jitter_ms(&self) -> f32 {
        self.jitter.sixteenths as f32 / 16.0 * 1000.0 / self.clock_rate.max(1) as f32
    }

    /// Follows the sequence numbers; false for a packet that fits nowhere yet.
    fn follow(&mut self, seq: SeqNo) -> bool {
        let run = self.run.get_or_insert(Run::new(seq));
        let index = run.highest.nearest(seq);
        let step = index.map_or(i64::MIN, |index| index.steps_from(run.highest));
        if (-MAX_MISORDER..=MAX_DROPOUT).contains(&step) {
            run.highest = run.highest.max(index.unwrap_or_default());
            self.gaps += u64::from(step > 1);
        } else if self.contender == Some(seq) {
            self.past = self.past.plus(Tally { expected: run.expected(), received: run.received, gaps: 0 });
            *run = Run::new(seq);
            self.jitter.transit = None;
        } else {
            self.contender = Some(seq.plus(1));
            return false;
        }
        run.received += 1;
        self.contender = None;
        true
    }
}

impl Jitter {
    fn count(&mut self, header: &Header, clock_rate: u32, now: Instant) {
        let epoch = *self.epoch.get_or_insert(now);
        let arrival = ticks(now.saturating_duration_since(epoch), clock_rate);
        let transit = arrival.wrapping_sub(header.time.0);
        if let Some(before) = self.transit.replace(transit) {
            let difference = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            let decay = (self.sixteenths.saturating_add(8)) >> 4;
            self.sixteenths = self.sixteenths.saturating_add(difference) - decay;
        }
    }
}

/// In 256ths; nothing where duplicates outweigh the loss (RFC 3550 §A.3).
fn fraction_lost((expected, received): (i64, i64)) -> u8 {
    let lost = expected - received;
    if expected <= 0 || lost <= 0 { 0 } else { u8::try_from(256 * lost / expected).unwrap_or(u8::MAX) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::rtp::RtpTime;

    #[test]
    fn a_packet_that_never_comes_is_lost_and_one_that_comes_twice_is_not() {
        let mut bench = Bench::new();
        for seq in [65_534, 65_535, 0, 2, 1, 5] {
            bench.packet(seq, 0, 0);
        }
        let report = bench.report(0);
        assert_eq!((report.lost, report.fraction_lost, report.highest), (2, 64, 65_536 + 5));
        bench.packet(5, 0, 0);
        let report = bench.report(0);
        assert_eq!((report.lost, report.fraction_lost), (1, 0), "of the interval nothing is lost");
        bench.packet(7, 0, 0);
        assert_eq!(bench.report(0).fraction_lost, 128);
        assert_eq!((bench.reception.packets(), bench.reception.octets()), (8, 80));
    }

    #[test]
    fn a_restart_is_no_loss() {
        let mut bench = Bench::new();
        for seq in [100, 101, 40_000, 40_001, 40_002] {
            bench.packet(seq, 0, 0);
        }
        let report = bench.report(0);
        assert_eq!((report.lost, report.highest), (0, 40_002));
    }

    #[test]
    fn a_restart_forgets_no_loss_and_a_sample_begins_anew() {
        let mut bench = Bench::new();
        for seq in [100, 101, 104, 105, 108] {
            bench.packet(seq, 0, 0);
        }
        let first = Tally { expected: 9, received: 5, gaps: 2 };
        assert_eq!((bench.reception.tally(), bench.reception.sample()), (first, first));
        assert!((first.share_lost() - 4.0 / 9.0).abs() < 1e-9 && first.burst_ratio() > 1.0);
        for seq in [40_000, 40_001, 40_002] {
            bench.packet(seq, 0, 0);
        }
        assert_eq!(bench.reception.sample(), Tally { expected: 2, received: 2, gaps: 0 });
        assert_eq!((bench.reception.lost(), bench.report(0).lost), (4, 0), "a report speaks of the restarted source");
        assert_eq!((Tally::default().share_lost(), Tally::default().burst_ratio()), (0.0, 1.0));
    }

    #[test]
    fn jitter_is_the_mean_deviation_of_the_transit() {
        let mut bench = Bench::new();
        for step in 0..100_u16 {
            bench.packet(step, 160 * u32::from(step), 20 * u64::from(step));
        }
        assert_eq!(bench.report(0).jitter, 0);
        for step in 100..1000_u16 {
            let late = if step % 2 == 0 { 0 } else { 10 };
            bench.packet(step, 160 * u32::from(step), 20 * u64::from(step) + late);
        }
        assert!((78..=80).contains(&bench.report(0).jitter), "10 ms are 80 ticks");
        assert!((9.5..=10.1).contains(&bench.reception.jitter_ms()));
    }

    #[test]
    fn a_report_answers_the_last_sender_report() {
        let mut bench = Bench::new();
        assert_eq!(bench.reception.report(bench.start), None);
        bench.packet(1, 0, 0);
        assert_eq!((bench.report(0).last_sr, bench.report(0).delay_since_last_sr), (0, 0));
        let info = SenderInfo { ntp: 0x1122_3344_5566_7788, ..SenderInfo::default() };
        bench.reception.handle_sender_report(&info, bench.start);
        assert_eq!((bench.report(1500).last_sr, bench.report(1500).delay_since_last_sr), (0x3344_5566, 0x1_8000));
    }

    proptest! {
        #[test]
        fn no_sequence_of_packets_panics(packets in prop::collection::vec((any::<u16>(), any::<u32>(), 0..1000_u64), 1..200)) {
            let mut bench = Bench::new();
            for (seq, time, ms) in packets {
                bench.packet(seq, time, ms);
                bench.report(ms);
            }
        }
    }

    struct Bench {
        reception: Reception,
        start: Instant,
    }

    impl Bench {
        fn new() -> Self {
            #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
            let start = Instant::now();
            Self { reception: Reception::new(Ssrc(1), 8000), start }
        }

        fn packet(&mut self, seq: u16, time: u32, ms: u64) {
            let header = Header::new(0.try_into().expect("a payload type"), SeqNo(seq), RtpTime(time), Ssrc(1));
            self.reception.count(&header, 10, self.start + Duration::from_millis(ms));
        }

        fn report(&mut self, ms: u64) -> ReportBlock {
            self.reception.report(self.start + Duration::from_millis(ms)).expect("packets came")
        }
    }
}
