//! What the sender does to its own packets. The same for the same seed, so that the receiver knows it too.

use crate::trial::plan::Impairment;

use super::stamp::mix;

/// Decides the fate of every packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fates {
    seed: u64,
    impairment: Impairment,
    ptime: u64,
}

/// What the sender does to one packet.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Fate {
    /// It is not sent.
    pub(super) withheld: bool,
    /// It is sent that many nanoseconds later.
    pub(super) delay: u64,
    /// It is sent twice.
    pub(super) copied: bool,
}

impl Fates {
    /// Makes the fates of a trial whose flows send every `ptime` nanoseconds.
    pub(super) const fn new(seed: u64, impairment: Impairment, ptime: u64) -> Self {
        Self { seed, impairment, ptime }
    }

    /// Whether any packet may be withheld.
    pub(super) fn withhold(&self) -> bool {
        self.impairment.loss > 0.0
    }

    /// Whether any packet may be sent twice.
    pub(super) fn copy(&self) -> bool {
        self.impairment.duplicate > 0.0
    }

    /// The fate of a packet of a flow.
    pub(super) fn of(&self, flow: u64, sequence: u64) -> Fate {
        if self.impairment == Impairment::default() {
            return Fate::default();
        }
        let packet = mix(mix(self.seed ^ mix(flow)) ^ sequence);
        let draw = |which: u64| share(mix(packet ^ which));
        if draw(1) < self.impairment.loss {
            return Fate { withheld: true, ..Fate::default() };
        }
        let jitter = self.impairment.jitter.as_nanos() as f64 * draw(2);
        let behind = if draw(3) < self.impairment.reorder { self.ptime as f64 * 1.25 } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most two seconds, never less than 0"
        )]
        let delay = (jitter + behind) as u64;
        Fate { withheld: false, delay, copied: draw(4) < self.impairment.duplicate }
    }
}

/// A number from 0 to 1, 1 excluded.
fn share(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn as_many_packets_suffer_as_was_asked_for_and_always_the_same() {
        let impairment = Impairment { loss: 0.01, jitter: Duration::from_millis(10), reorder: 0.02, duplicate: 0.05 };
        let fates = Fates::new(3, impairment, 20_000_000);
        let all: Vec<_> = (0..100_000).map(|sequence| fates.of(5, sequence)).collect();
        let count = |what: fn(&Fate) -> bool| all.iter().filter(|fate| what(fate)).count();
        assert!((900..1_100).contains(&count(|fate| fate.withheld)));
        assert!((4_600..5_300).contains(&count(|fate| fate.copied)));
        assert!((1_800..2_200).contains(&count(|fate| fate.delay >= 25_000_000)));
        assert!(all.iter().all(|fate| fate.delay < 35_000_000));
        assert!(
            (0..100_000).all(|sequence| fates.of(5, sequence) == all[usize::try_from(sequence).expect("it is small")])
        );
        assert!((0..1_000).any(|sequence| fates.of(6, sequence) != fates.of(5, sequence)));
    }
}
