//! How good a conversation is: the E-model (ITU-T G.107) for what a relay can measure, which is delay and loss.
//!
//! ```text
//! R = Ro - Is - Id - Ie,eff + A        from 0, bad, to 93.2, the best that narrow-band telephony has
//! ```
//!
//! Everything that is not measured has the default value of G.107, table 2: the noise and the loudness of good
//! telephones, an echo path of 65 dB, no advantage factor. The scale is that of narrow-band speech: wide-band codecs
//! are not rated above it, so that figures of different calls can be compared.

use std::time::Duration;

/// `Ro - Is` of the default values (G.107, §7.2 and §7.3): the rating before delay, codec and loss.
const BASIC: f64 = 94.7688 - 1.4136;

/// The rating that G.107 gives to a call without any delay or loss (§7.7).
pub const BEST_RATING: f64 = 93.2;

/// What a codec does to speech (G.113, appendix I).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equipment {
    /// `Ie`: what coding alone costs.
    pub impairment: f64,
    /// `Bpl`: how well it bears the loss of packets, with the concealment its receivers have.
    pub robustness: f64,
}

/// The codecs by the names of their payload formats. G.722 and Opus have no place on the narrow-band scale; they lose
/// nothing by coding there, and conceal loss at least as well as G.711 with its appendix I.
const CODECS: [(&str, Equipment); 7] = [
    ("PCMU", Equipment { impairment: 0.0, robustness: 25.1 }),
    ("PCMA", Equipment { impairment: 0.0, robustness: 25.1 }),
    ("G722", Equipment { impairment: 0.0, robustness: 25.1 }),
    ("opus", Equipment { impairment: 0.0, robustness: 25.1 }),
    ("GSM-EFR", Equipment { impairment: 5.0, robustness: 10.0 }),
    ("G729", Equipment { impairment: 11.0, robustness: 19.0 }),
    ("G723", Equipment { impairment: 15.0, robustness: 16.1 }),
];

impl Equipment {
    /// The row of a codec, whatever the case of its name; one that has none is taken for G.711.
    pub fn of(codec: &str) -> Self {
        let row = CODECS.iter().find(|(name, _)| name.eq_ignore_ascii_case(codec));
        row.map_or(CODECS[0].1, |(_, equipment)| *equipment)
    }
}

/// What packets of speech went through on their way from mouth to ear.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Passage {
    /// From mouth to ear ([`mouth_to_ear`]).
    pub delay: Duration,
    /// The share of packets that did not come, 0 to 1.
    pub lost: f64,
    /// How much longer the runs of lost packets were than chance makes them, at least 1 ([`burst_ratio`]).
    pub burst_ratio: f64,
}

impl Passage {
    /// The transmission rating R (G.107, §7.1), 0 to 93.2.
    pub fn rating(&self, equipment: Equipment) -> f64 {
        (BASIC - delay_impairment(self.delay) - self.loss_impairment(equipment)).clamp(0.0, BEST_RATING)
    }

    /// The mean opinion score of that rating.
    pub fn score(&self, equipment: Equipment) -> f64 {
        mean_opinion_score(self.rating(equipment))
    }

    /// `Ie,eff` (G.107, §7.5): the codec, and the loss it has to conceal.
    fn loss_impairment(&self, Equipment { impairment, robustness }: Equipment) -> f64 {
        let percent = 100.0 * self.lost.clamp(0.0, 1.0);
        impairment + (95.0 - impairment) * percent / (percent / self.burst_ratio.max(1.0) + robustness)
    }
}

/// The score that people would give on average (G.107, annex B): 1, bad, to 4.5, excellent.
pub fn mean_opinion_score(rating: f64) -> f64 {
    if rating >= 100.0 {
        return 4.5;
    }
    let rating = rating.max(0.0);
    // The curve dips below 1 for ratings less than 6.5.
    (1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6).max(1.0)
}

/// The delay from mouth to ear, given that of the network and the jitter: a packet is sent once it is full, after
/// 20 ms, and a receiver's buffer holds twice the jitter.
pub fn mouth_to_ear(network: Duration, jitter: Duration) -> Duration {
    const FRAME: Duration = Duration::from_millis(20);
    network.saturating_add(jitter.saturating_mul(2)).saturating_add(FRAME)
}

/// `BurstR` (G.107, §7.5): how long runs of lost packets were, against how long they would be if each packet were
/// lost by chance. Out of `expected` packets `lost` did not come, in `runs` runs.
pub fn burst_ratio(expected: u64, lost: u64, runs: u64) -> f64 {
    if lost == 0 || runs == 0 || lost >= expected {
        return 1.0;
    }
    let mean_run = lost as f64 / runs as f64;
    let by_chance = expected as f64 / (expected - lost) as f64;
    (mean_run / by_chance).max(1.0)
}

/// `Id = Idte + Idle + Idd` (G.107, §7.4), with the same absolute delay for talker, listener and conversation.
fn delay_impairment(delay: Duration) -> f64 {
    let ms = delay.as_secs_f64() * 1000.0;
    talker_echo(ms) + listener_echo(2.0 * ms) + conversation_delay(ms)
}

/// `Idte`: hearing oneself, by an echo path of 65 dB (TELR) at the default side tone.
fn talker_echo(ms: f64) -> f64 {
    const TELR: f64 = 65.0;
    const ROE: f64 = 94.7688; // -1.5 (No - RLR)
    if ms < 1.0 {
        return 0.0;
    }
    let terv = TELR - 40.0 * ((1.0 + ms / 10.0) / (1.0 + ms / 150.0)).log10() + 6.0 * (-0.3 * ms * ms).exp();
    let half = (ROE - (80.0 + 2.5 * (terv - 14.0))) / 2.0;
    ((half + (half * half + 100.0).sqrt() - 1.0) * (1.0 - (-ms).exp())).max(0.0)
}

/// `Idle`: hearing the other side twice, by a closed loop of 110 dB (WEPL).
fn listener_echo(round_trip_ms: f64) -> f64 {
    const WEPL: f64 = 110.0;
    const RO: f64 = 94.7688;
    let half = (RO - 10.5 * (WEPL + 7.0) * (round_trip_ms + 1.0).powf(-0.25)) / 2.0;
    half + (half * half + 169.0).sqrt()
}

/// `Idd`: waiting for each other, which nobody notices below 100 ms.
fn conversation_delay(ms: f64) -> f64 {
    if ms <= 100.0 {
        return 0.0;
    }
    let x = (ms / 100.0).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const G711: Equipment = CODECS[0].1;

    #[test]
    fn the_default_values_give_the_rating_of_the_recommendation() {
        let perfect = passage(0, 0.0);
        assert!((perfect.rating(G711) - 93.2).abs() < 0.05, "{}", perfect.rating(G711));
        assert!((perfect.score(G711) - 4.41).abs() < 0.005, "{}", perfect.score(G711));
    }

    #[test]
    fn ratings_become_scores_as_annex_b_tabulates() {
        for (rating, score) in [(0.0, 1.0), (50.0, 2.58), (60.0, 3.10), (70.0, 3.60), (80.0, 4.03), (90.0, 4.34)] {
            assert!((mean_opinion_score(rating) - score).abs() < 0.01, "{rating}");
        }
        assert_eq!((mean_opinion_score(3.0), mean_opinion_score(101.0)), (1.0, 4.5));
    }

    /// G.113, appendix I: the impairment by random loss of some percent, rounded there.
    #[test]
    fn loss_costs_what_the_tables_of_g_113_say() {
        let g729 = [(0, 11.0), (1, 15.0), (2, 19.0), (4, 26.0), (8, 36.0)];
        let g711 = [(0, 0.0), (2, 7.0), (3, 10.0), (5, 15.0), (10, 27.0)];
        for (codec, table) in [("G729", g729), ("pcmu", g711)] {
            for (percent, impairment) in table {
                let ours = passage(0, f64::from(percent) / 100.0).loss_impairment(Equipment::of(codec));
                assert!((ours - impairment).abs() < 1.0, "{codec} {percent} %: {ours}");
            }
        }
    }

    /// G.107, equation 7-28; the limit of G.114, §4, and twice that.
    #[test]
    fn delay_costs_little_up_to_150_ms_and_much_at_400() {
        assert_eq!((conversation_delay(100.0), conversation_delay(99.0)), (0.0, 0.0));
        assert!((conversation_delay(400.0) - 24.07).abs() < 0.01, "{}", conversation_delay(400.0));
        let ratings = [100, 150, 400].map(|ms| passage(ms, 0.0).rating(G711));
        assert!(ratings[0] > 90.0 && ratings[1] > 88.0 && (55.0..65.0).contains(&ratings[2]), "{ratings:?}");
    }

    #[test]
    fn lost_packets_in_a_row_are_worse_than_lost_packets_here_and_there() {
        assert_eq!(burst_ratio(1000, 0, 0), 1.0);
        assert_eq!(burst_ratio(1000, 100, 100), 1.0);
        assert!((burst_ratio(1000, 100, 25) - 3.6).abs() < 1e-9, "four at a time, where chance makes 1.11");
        assert_eq!(burst_ratio(10, 10, 1), 1.0);
        let scattered = passage(0, 0.1);
        let bursts = Passage { burst_ratio: 3.6, ..scattered };
        assert!(bursts.score(G711) < scattered.score(G711));
    }

    #[test]
    fn a_codec_without_a_row_is_taken_for_g_711() {
        assert_eq!(Equipment::of("speex"), G711);
        assert_eq!(Equipment::of("OPUS"), Equipment::of("opus"));
    }

    #[test]
    fn a_packet_is_filled_sent_and_buffered() {
        let ms = Duration::from_millis;
        assert_eq!(mouth_to_ear(ms(50), ms(5)), ms(80));
        assert_eq!(mouth_to_ear(Duration::MAX, ms(1)), Duration::MAX);
    }

    proptest! {
        #[test]
        fn more_loss_or_delay_never_sounds_better(
            delay in 0..3000_u32, later in 0..1000_u32, lost in 0.0..1.0, more in 0.0..1.0, burst in 0.0..20.0,
        ) {
            let score = |delay: u32, lost| {
                Passage { burst_ratio: burst, ..passage(delay, lost) }.score(Equipment::of("opus"))
            };
            let here = score(delay, lost);
            prop_assert!((1.0..=4.5).contains(&here));
            prop_assert!(score(delay + later, lost) <= here + 1e-9);
            prop_assert!(score(delay, lost + more) <= here + 1e-9);
        }
    }

    fn passage(delay_ms: u32, lost: f64) -> Passage {
        Passage { delay: Duration::from_millis(delay_ms.into()), lost, burst_ratio: 1.0 }
    }
}
