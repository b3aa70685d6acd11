//! What a receiver knows of one flow: loss, duplicates, reordering, jitter, score.

use std::time::Duration;

use media::emodel::{Equipment, Passage, burst_ratio, mouth_to_ear};

use super::impair::Fates;
use crate::trial::report::Flow;

/// A flow that is silent for so long, in nanoseconds, while packets are on their way, has lost them.
const SILENCE: u64 = 400_000_000;

/// Counts of one flow or of many.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) scheduled: u64,
    pub(super) withheld: u64,
    pub(super) sent: u64,
    pub(super) copies: u64,
    pub(super) unsent: u64,
    pub(super) received: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    /// Negative where what counted as lost came after all.
    pub(super) lost: i64,
    /// Runs of lost packets.
    pub(super) runs: u64,
    /// Nanoseconds of added latency, of all received packets together.
    pub(super) latency: u64,
}

impl Counts {
    /// Adds those of another flow.
    pub(super) fn add(&mut self, other: &Self) {
        self.scheduled += other.scheduled;
        self.withheld += other.withheld;
        self.sent += other.sent;
        self.copies += other.copies;
        self.unsent += other.unsent;
        self.received += other.received;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
        self.lost += other.lost;
        self.runs += other.runs;
        self.latency += other.latency;
    }

    /// What came since earlier counts of the same flow.
    pub(super) const fn since(&self, earlier: &Self) -> Self {
        Self {
            scheduled: self.scheduled - earlier.scheduled,
            withheld: self.withheld - earlier.withheld,
            // Less when what was on its way could not be sent.
            sent: self.sent.saturating_sub(earlier.sent),
            copies: self.copies - earlier.copies,
            unsent: self.unsent - earlier.unsent,
            received: self.received - earlier.received,
            duplicates: self.duplicates - earlier.duplicates,
            reordered: self.reordered - earlier.reordered,
            lost: self.lost - earlier.lost,
            runs: self.runs - earlier.runs,
            latency: self.latency - earlier.latency,
        }
    }
}

/// How a packet came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Came {
    /// For the first time.
    First,
    /// Again, as it was sent; or so late that nobody knows.
    Again,
    /// More often than it was sent.
    TooOften,
}

/// One flow, from the view of both its ends.
#[derive(Debug)]
pub(super) struct Stream {
    /// Its number among all flows of the trial.
    number: u64,
    /// The next sequence number to send.
    pub(super) next: u64,
    counts: Counts,
    taken: Counts,
    seen: Seen,
    /// Every packet below it was received, withheld, or is lost.
    expected: u64,
    /// Packets below `expected` that were withheld.
    withheld_below: u64,
    /// The highest that was received, and one more.
    above_highest: u64,
    transit: Option<i64>,
    jitter: f64,
    heard: u64,
    /// Lost packets that a window counts no more, and those that it will count no more next time.
    forgiven: [i64; 2],
}

impl Stream {
    /// Begins a flow that tells apart the last `window` packets.
    pub(super) fn new(number: u64, window: usize) -> Self {
        Self {
            number,
            next: 0,
            counts: Counts::default(),
            taken: Counts::default(),
            seen: Seen::new(window),
            expected: 0,
            withheld_below: 0,
            above_highest: 0,
            transit: None,
            jitter: 0.0,
            heard: 0,
            forgiven: [0; 2],
        }
    }

    /// Its number among all flows of the trial.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// What was counted of sending.
    pub(super) const fn sending(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// Packets sent that may still come.
    pub(super) const fn on_their_way(&self) -> u64 {
        self.next - self.expected
    }

    /// Packets that were sent, or are about to be, and did not come: on their way, overtaken on it, or lost.
    pub(super) const fn missing(&self) -> u64 {
        let Counts { withheld, unsent, received, .. } = self.counts;
        self.next.saturating_sub(withheld + unsent + received)
    }

    /// Packets that count against a window: on their way, or lost so recently that they may sit in a queue which is too
    /// long already.
    pub(super) fn in_window(&self) -> u64 {
        let lost = self.counts().lost;
        self.on_their_way() + u64::try_from(lost - self.forgiven[0].min(lost)).unwrap_or(0)
    }

    /// Lets what was lost at the time of the last call count no more.
    pub(super) fn forgive(&mut self) {
        let lost = self.counts().lost;
        self.forgiven = [self.forgiven[1].min(lost), lost];
    }

    /// Takes a received packet: when it was scheduled and when it came, in nanoseconds.
    pub(super) fn receive(&mut self, sequence: u64, scheduled: u64, arrived: u64, fates: &Fates) -> Came {
        if sequence >= self.next {
            return Came::TooOften; // it was never sent
        }
        self.heard = arrived;
        let copied = || fates.of(self.number, sequence).copied;
        let came = match self.seen.mark(sequence) {
            Before::Never => Came::First,
            Before::Once if copied() => Came::Again,
            Before::Once | Before::Often => Came::TooOften,
            Before::Forgotten => Came::Again,
        };
        if came != Came::First {
            self.counts.duplicates += 1;
            return came;
        }
        self.counts.received += 1;
        self.counts.latency += arrived.saturating_sub(scheduled);
        if sequence >= self.above_highest {
            self.counts.runs += u64::from(self.expect(sequence, fates) > 0);
            self.expect(sequence + 1, fates);
            self.above_highest = sequence + 1;
        } else if fates.of(self.number, sequence).delay == 0 {
            self.counts.reordered += 1;
        }
        self.follow_jitter(scheduled, arrived);
        Came::First
    }

    /// Expects every packet below `end` to have come, and says how many of the new ones have to come at all.
    fn expect(&mut self, end: u64, fates: &Fates) -> u64 {
        let begin = self.expected.min(end);
        let withheld = match fates.withhold() {
            true => (begin..end).filter(|sequence| fates.of(self.number, *sequence).withheld).count() as u64,
            false => 0,
        };
        self.expected = self.expected.max(end);
        self.withheld_below += withheld;
        end - begin - withheld
    }

    /// Interarrival jitter (RFC 3550 §6.4.1), in nanoseconds; the time a packet was scheduled for is its timestamp.
    fn follow_jitter(&mut self, scheduled: u64, arrived: u64) {
        let transit = arrived.cast_signed() - scheduled.cast_signed();
        if let Some(before) = self.transit.replace(transit) {
            self.jitter += ((transit - before).abs() as f64 - self.jitter) / 16.0;
        }
    }

    /// Gives up what is on its way, if nothing came for long.
    pub(super) fn give_up_if_silent(&mut self, now: u64, fates: &Fates) {
        if self.on_their_way() > 0 && now.saturating_sub(self.heard) > SILENCE {
            self.give_up(fates);
        }
    }

    /// Gives up what is on its way.
    pub(super) fn give_up(&mut self, fates: &Fates) {
        self.counts.runs += u64::from(self.expect(self.next, fates) > 0);
    }

    /// Silence counts from now on.
    pub(super) const fn listen_from(&mut self, now: u64) {
        self.heard = now;
    }

    /// All counts so far.
    pub(super) fn counts(&self) -> Counts {
        let came = self.counts.received + self.withheld_below + self.counts.unsent;
        Counts { lost: self.expected.cast_signed() - came.cast_signed(), ..self.counts }
    }

    /// Counts since the last time this was asked, of packets whose fate is known: what is on its way belongs to the
    /// time to come.
    pub(super) fn take(&mut self) -> Counts {
        let counts = Counts {
            scheduled: self.expected,
            withheld: self.withheld_below,
            sent: (self.expected - self.withheld_below).saturating_sub(self.counts.unsent),
            ..self.counts()
        };
        let since = counts.since(&self.taken);
        self.taken = counts;
        since
    }

    /// Interarrival jitter in nanoseconds.
    pub(super) const fn jitter(&self) -> f64 {
        self.jitter
    }
}

/// The figures of a flow that are reported.
pub(super) fn figures(call: u32, from_end: u8, counts: &Counts, jitter: f64) -> Flow {
    let lost = u64::try_from(counts.lost).unwrap_or(0);
    let latency = Duration::from_nanos(counts.latency / counts.received.max(1));
    let expected = counts.received + lost;
    let passage = Passage {
        delay: mouth_to_ear(latency, Duration::from_secs_f64(jitter.max(0.0) / 1e9)),
        lost: lost as f64 / expected.max(1) as f64,
        burst_ratio: burst_ratio(expected, lost, counts.runs),
    };
    Flow {
        call,
        from_end,
        sent: counts.sent,
        received: counts.received,
        lost,
        duplicates: counts.duplicates,
        reordered: counts.reordered,
        jitter_ms: jitter / 1e6,
        latency_ms: latency.as_secs_f64() * 1000.0,
        mos: passage.score(Equipment::of("PCMU")),
    }
}

/// How often a sequence number was seen before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Before {
    Never,
    Once,
    Often,
    /// It is too long ago to know.
    Forgotten,
}

/// How often each of the last sequence numbers was seen.
#[derive(Debug)]
struct Seen {
    once: Vec<u64>,
    often: Vec<u64>,
    /// Numbers from here on were not seen yet.
    end: u64,
}

impl Seen {
    fn new(window: usize) -> Self {
        let words = window.next_multiple_of(64).max(64) / 64;
        Self { once: vec![0; words], often: vec![0; words], end: 0 }
    }

    /// Marks a number and says how often it was seen before.
    fn mark(&mut self, sequence: u64) -> Before {
        let window = self.once.len() as u64 * 64;
        if sequence + window < self.end {
            return Before::Forgotten;
        }
        self.end = self.end.max((sequence + 1).saturating_sub(window));
        while self.end <= sequence {
            let (word, bit) = self.place(self.end);
            self.once[word] &= !bit;
            self.often[word] &= !bit;
            self.end += 1;
        }
        let (word, bit) = self.place(sequence);
        let before = match (self.once[word] & bit != 0, self.often[word] & bit != 0) {
            (false, _) => Before::Never,
            (true, false) => Before::Once,
            (true, true) => Before::Often,
        };
        self.often[word] |= self.once[word] & bit;
        self.once[word] |= bit;
        before
    }

    const fn place(&self, sequence: u64) -> (usize, u64) {
        let word = (sequence / 64 % self.once.len() as u64) as usize;
        (word, 1 << (sequence % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::plan::Impairment;

    const MS: u64 = 1_000_000;

    fn unimpaired() -> Fates {
        Fates::new(1, Impairment::default(), 20 * MS)
    }

    /// Sends so many packets and receives those of a list, each 1 ms after it was scheduled.
    fn flow(sent: u64, received: &[u64]) -> Stream {
        let mut flow = Stream::new(0, 128);
        flow.next = sent;
        for sequence in received {
            flow.receive(*sequence, sequence * 20 * MS, sequence * 20 * MS + MS, &unimpaired());
        }
        flow
    }

    #[test]
    fn losses_duplicates_and_reordering_are_told_apart() {
        for (received, lost, duplicates, reordered) in [
            (&[0, 1, 2, 3, 4][..], 0, 0, 0),
            (&[0, 1, 3, 4], 1, 0, 0),
            (&[0, 1, 3, 2, 4], 0, 0, 1),
            (&[0, 1, 1, 4, 4, 4], 2, 3, 0),
            (&[2, 4], 3, 0, 0),
            (&[4, 3, 2, 1, 0], 0, 0, 4),
        ] {
            let counts = flow(5, received).counts();
            assert_eq!(
                (counts.lost, counts.duplicates, counts.reordered),
                (lost, duplicates, reordered),
                "{received:?}"
            );
        }
    }

    #[test]
    fn what_is_on_its_way_is_not_lost_before_there_was_silence() {
        let mut flow = flow(10, &[0, 1]);
        assert_eq!((flow.on_their_way(), flow.counts().lost), (8, 0));
        flow.give_up_if_silent(21 * MS + SILENCE, &unimpaired());
        assert_eq!(flow.on_their_way(), 8);
        flow.give_up_if_silent(22 * MS + SILENCE, &unimpaired());
        assert_eq!((flow.on_their_way(), flow.counts().lost), (0, 8));
        flow.receive(5, 100 * MS, 900 * MS, &unimpaired());
        assert_eq!(flow.counts().lost, 7);
    }

    #[test]
    fn what_was_overtaken_is_missing_until_it_comes_and_what_is_withheld_never_is() {
        let mut flow = flow(6, &[0, 1, 3, 4]);
        flow.sending().withheld += 1; // the last
        assert_eq!((flow.on_their_way(), flow.missing()), (1, 1));
        flow.receive(2, 40 * MS, 90 * MS, &unimpaired());
        assert_eq!((flow.on_their_way(), flow.missing()), (1, 0));
    }

    #[test]
    fn a_lost_packet_counts_against_the_window_for_a_while() {
        let mut flow = flow(10, &[0, 1, 5]);
        assert_eq!((flow.on_their_way(), flow.in_window()), (4, 7));
        flow.forgive();
        assert_eq!(flow.in_window(), 7);
        flow.receive(3, 0, 0, &unimpaired());
        assert_eq!(flow.in_window(), 6);
        flow.forgive();
        assert_eq!(flow.in_window(), 4);
    }

    #[test]
    fn a_packet_that_comes_again_without_having_been_copied_came_too_often() {
        let mut flow = flow(3, &[0]);
        assert_eq!(flow.receive(0, 0, 2 * MS, &unimpaired()), Came::TooOften);
        assert_eq!(flow.receive(9, 0, 2 * MS, &unimpaired()), Came::TooOften);
        let copies = Fates::new(1, Impairment { duplicate: 1.0, ..Impairment::default() }, 20 * MS);
        assert_eq!(flow.receive(1, 0, 2 * MS, &copies), Came::First);
        assert_eq!(flow.receive(1, 0, 2 * MS, &copies), Came::Again);
        assert_eq!(flow.receive(1, 0, 2 * MS, &copies), Came::TooOften);
    }

    #[test]
    fn a_very_late_packet_is_neither_news_nor_wrong() {
        let mut flow = flow(1_000, &[0, 999]);
        assert_eq!(flow.receive(3, 0, 0, &unimpaired()), Came::Again);
        assert_eq!(flow.receive(950, 0, 0, &unimpaired()), Came::First);
    }

    #[test]
    fn what_the_sender_withholds_is_not_lost() {
        let fates = Fates::new(1, Impairment { loss: 0.3, ..Impairment::default() }, 20 * MS);
        let mut flow = Stream::new(0, 128);
        flow.next = 100;
        for sequence in (0..100).filter(|sequence| !fates.of(0, *sequence).withheld) {
            flow.receive(sequence, 0, MS, &fates);
        }
        flow.give_up(&fates);
        assert!(flow.counts().received < 85);
        assert_eq!((flow.counts().lost, flow.counts().runs), (0, 0));
    }

    #[test]
    fn jitter_follows_rfc_3550() {
        // Transit times of 1, 5 and 1 ms: differences of 4 ms each. J = 4/16, then J + (4 - J)/16.
        let mut flow = Stream::new(0, 128);
        flow.next = 3;
        for (sequence, transit) in [(0, 1), (1, 5), (2, 1)] {
            flow.receive(sequence, sequence * 20 * MS, (sequence * 20 + transit) * MS, &unimpaired());
        }
        let expected = 0.25 + (4.0 - 0.25) / 16.0;
        assert!((flow.jitter() / 1e6 - expected).abs() < 1e-9, "{}", flow.jitter());
    }

    #[test]
    fn the_score_falls_with_loss() {
        let score = |received: &[u64]| {
            let mut flow = flow(20, received);
            flow.give_up(&unimpaired());
            figures(0, 0, &flow.counts(), flow.jitter()).mos
        };
        let all: Vec<_> = (0..20).collect();
        assert!(score(&all) > 4.3, "{}", score(&all));
        assert!(score(&all[..16]) < 3.5, "{}", score(&all[..16]));
    }

    #[test]
    fn counts_are_taken_once() {
        let mut flow = flow(5, &[0, 1, 3]);
        assert_eq!((flow.take().received, flow.take().received), (3, 0));
        flow.receive(4, 0, 0, &unimpaired());
        assert_eq!((flow.take().received, flow.counts().received), (1, 4));
    }
}
