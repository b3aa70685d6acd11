//! How good both directions of a stream are: round trips, and scores by the E-model, measured every few seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use media::emodel::{self, Equipment, Passage};
use media::rtcp::ReportBlock;
use media::statistics::Tally;
use model::Mos;

/// How often scores are taken.
pub(crate) const MEASURE_INTERVAL: Duration = Duration::from_secs(5);

/// Sender reports to which a peer may still refer.
const MAX_REPORTS: usize = 4;

/// What is known of the quality of one stream of a leg.
#[derive(Debug, Default)]
pub(crate) struct Quality {
    /// The sender reports that went to the peer: what it will call them, and when they went. They may be the far end's,
    /// whose clock does not matter: the peer says how long it waited, and we know how long the answer took.
    reports: VecDeque<(u32, Instant)>,
    round_trip: Option<Duration>,
    told: Option<Told>,
    received: Scores,
    sent: Scores,
}

/// What the peer reported last of what we send to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Packets that never came, since the beginning.
    pub(crate) lost: i32,
    /// Interarrival jitter.
    pub(crate) jitter: Duration,
    /// The share lost since the report before, 0 to 1.
    share_lost: f64,
    /// It came since the last measurement.
    is_new: bool,
}

/// What came from a peer since the last measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) tally: Tally,
    pub(crate) jitter: Duration,
    /// What the codec does to speech; nothing where the stream is not speech.
    pub(crate) equipment: Option<Equipment>,
    pub(crate) round_trip: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Scores {
    current: f64,
    min: f64,
    max: f64,
    sum: f64,
    count: u32,
}

impl Quality {
    /// Remembers a sender report that went to the peer, by the middle of its NTP time (RFC 3550 §6.4.1).
    pub(crate) fn note_report(&mut self, middle: u32, now: Instant) {
        if self.reports.len() == MAX_REPORTS {
            self.reports.pop_front();
        }
        self.reports.push_back((middle, now));
    }

    /// Takes what the peer reports of what we send to it, on a clock of so many ticks a second.
    pub(crate) fn handle_block(&mut self, block: &ReportBlock, clock_rate: u32, now: Instant) {
        self.told = Some(Told {
            lost: block.lost,
            jitter: Duration::from_secs_f64(f64::from(block.jitter) / f64::from(clock_rate.max(1))),
            share_lost: f64::from(block.fraction_lost) / 256.0,
            is_new: true,
        });
        let answered = self.reports.iter().rev().find(|(middle, _)| block.last_sr != 0 && *middle == block.last_sr);
        if let Some((_, sent)) = answered {
            let held = Duration::from_secs_f64(f64::from(block.delay_since_last_sr) / 65_536.0);
            let elapsed = now.saturating_duration_since(*sent);
            // Clocks that tick otherwise, or a peer that rounds up, make a short way no shorter than nothing.
            self.round_trip = Some(elapsed.saturating_sub(held));
        }
    }

    /// To the peer and back.
    pub(crate) const fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// What the peer reported last.
    pub(crate) const fn told(&self) -> Option<Told> {
        self.told
    }

    /// The scores of both directions: from the peer, and to it.
    pub(crate) fn scores(&self) -> (Option<Mos>, Option<Mos>) {
        (self.received.mos(), self.sent.mos())
    }

    /// Takes the scores of what came from the peer, and of what went to it: as the peer tells, or else as it came from
    /// the other one, whose losses it shares. Returns them.
    pub(crate) fn measure(&mut self, here: Arrival, there: Arrival) -> [Option<f64>; 2] {
        let half = |trips: [Option<Duration>; 2]| trips.into_iter().flatten().sum::<Duration>() / 2;
        let received = here.equipment.filter(|_| here.tally.expected > 0).map(|equipment| {
            let score = here.passage(half([here.round_trip, None])).score(equipment);
            self.received.add(score)
        });
        let all_the_way = half([here.round_trip, there.round_trip]);
        let told = self.told.filter(|told| told.is_new);
        if let Some(told) = &mut self.told {
            told.is_new = false;
        }
        let sent = there.equipment.filter(|_| there.tally.expected > 0).map(|equipment| {
            let passage = match told {
                Some(told) => Passage {
                    delay: emodel::mouth_to_ear(all_the_way, told.jitter),
                    lost: told.share_lost,
                    burst_ratio: there.tally.burst_ratio(),
                },
                None => there.passage(all_the_way),
            };
            self.sent.add(passage.score(equipment))
        });
        [received, sent]
    }
}

impl Arrival {
    fn passage(&self, delay: Duration) -> Passage {
        Passage {
            delay: emodel::mouth_to_ear(delay, self.jitter),
            lost: self.tally.share_lost(),
            burst_ratio: self.tally.burst_ratio(),
        }
    }
}

impl Scores {
    fn add(&mut self, score: f64) -> f64 {
        let first = self.count == 0;
        self.min = if first { score } else { self.min.min(score) };
        self.max = if first { score } else { self.max.max(score) };
        self.current = score;
        self.sum += score;
        self.count = self.count.saturating_add(1);
        score
    }

    #[expect(clippy::cast_possible_truncation, reason = "a score has two digits that matter")]
    fn mos(&self) -> Option<Mos> {
        let average = (self.sum / f64::from(self.count)) as f32;
        let [current, min, max] = [self.current, self.min, self.max].map(|score| score as f32);
        (self.count > 0).then_some(Mos { current, min, max, average })
    }
}

#[cfg(test)]
mod tests {
    use model::Ssrc;

    use super::*;

    const BLOCK: ReportBlock = ReportBlock {
        ssrc: Ssrc(1),
        fraction_lost: 0,
        lost: 0,
        highest: 0,
        jitter: 80,
        last_sr: 0,
        delay_since_last_sr: 0,
    };

    #[test]
    fn a_round_trip_needs_an_answer_to_a_report_that_went_to_the_peer() {
        let (mut quality, start) = (Quality::default(), start());
        let at = |ms| start + Duration::from_millis(ms);
        for (middle, ms) in [(5, 0), (6, 1000), (7, 2000), (8, 3000), (9, 4000)] {
            quality.note_report(middle, at(ms));
        }
        quality.handle_block(&BLOCK, 8000, at(4100));
        quality.handle_block(&ReportBlock { last_sr: 5, ..BLOCK }, 8000, at(4100));
        assert_eq!(quality.round_trip(), None, "none was answered, or one that is long forgotten");
        quality.handle_block(&ReportBlock { last_sr: 8, delay_since_last_sr: 0x1_0000, ..BLOCK }, 8000, at(4100));
        assert_eq!(quality.round_trip(), Some(Duration::from_millis(100)));
        assert_eq!(quality.told().map(|told| told.jitter), Some(Duration::from_millis(10)));
        quality.handle_block(&ReportBlock { last_sr: 9, delay_since_last_sr: 0x1_0000, ..BLOCK }, 8000, at(4500));
        assert_eq!(quality.round_trip(), Some(Duration::ZERO));
    }

    #[test]
    fn what_the_peer_tells_counts_more_than_what_came_from_the_other() {
        let equipment = Some(Equipment::of("PCMU"));
        let tally = Tally { expected: 250, received: 250, gaps: 0 };
        let good = Arrival { tally, jitter: Duration::ZERO, equipment, round_trip: None };
        let bad = Arrival { tally: Tally { received: 200, gaps: 50, ..tally }, ..good };
        let mut quality = Quality::default();
        quality.measure(good, bad);
        let (Some(received), Some(sent)) = quality.scores() else { panic!("both are measured") };
        assert!(received.current > 4.3 && sent.current < 3.0, "{received:?} {sent:?}");
        quality.handle_block(&ReportBlock { fraction_lost: 26, ..BLOCK }, 8000, start());
        quality.measure(good, good);
        let told = quality.scores().1.expect("it is measured");
        assert!(told.current < 3.5 && told.min == sent.min && told.average < told.current, "{told:?}");
        quality.measure(good, good);
        assert!(quality.scores().1.expect("it is measured").current > 4.3, "what was told once is not told again");
        let silent = Arrival { tally: Tally::default(), ..good };
        let video = Arrival { equipment: None, ..good };
        let mut nothing = Quality::default();
        nothing.measure(silent, video);
        assert_eq!(nothing.scores(), (None, None));
    }

    fn start() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        Instant::now()
    }
}
