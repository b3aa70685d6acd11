//! Which ports are free: pairs of an even port for RTP and the odd one above it for RTCP (RFC 3550 §11).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::PortShare;

/// The pairs of one worker's share that are not in use.
///
/// A pair rests before it is used again, so that what a peer still sends to a call that is over never reaches the next
/// one. Once it has, it comes before those that were never used: its sockets may still be at hand. Where none is left that
/// did not have to rest, a short rest is better than a call refused: the pair that has rested longest comes next.
#[derive(Debug)]
pub(crate) struct Ports {
    /// Those that were used, and since when they rest: the first has rested longest.
    rested: VecDeque<(PortPair, Instant)>,
    /// Those that never were, or could not be.
    unused: VecDeque<PortPair>,
    quarantine: Duration,
}

/// The part of the quarantine that a pair rests even where no other is left.
const SHORTEST_REST: u32 = 50;

/// A pair of ports that is in use.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PortPair {
    /// The even port.
    pub(crate) rtp: u16,
    /// The odd port above it.
    pub(crate) rtcp: u16,
}

impl Ports {
    /// All pairs of the share, beginning somewhere in it. One that is given back rests for the quarantine.
    pub(crate) fn new(share: &PortShare, begin: usize, quarantine: Duration) -> Self {
        let first = share.range.start().max(&2).next_multiple_of(2);
        let mut unused: VecDeque<PortPair> = (first..*share.range.end())
            .step_by(2)
            .skip(usize::from(share.number))
            .step_by(usize::from(share.of.max(1)))
            .map(|rtp| PortPair { rtp, rtcp: rtp + 1 })
            .collect();
        unused.rotate_left(begin % unused.len().max(1));
        Self { rested: VecDeque::new(), unused, quarantine }
    }

    /// Takes the pair that has rested longest, if that is long enough, or one that was never used, or else one that has
    /// rested a little.
    pub(crate) fn take(&mut self, now: Instant) -> Option<PortPair> {
        self.take_rested(self.quarantine, now)
            .or_else(|| self.unused.pop_front())
            .or_else(|| self.take_rested(self.quarantine / SHORTEST_REST, now))
    }

    /// Takes the pair that has rested longest, if that is longer than so long: its sockets close at the end of the turn
    /// that gave it back.
    fn take_rested(&mut self, rest: Duration, now: Instant) -> Option<PortPair> {
        let (_, since) = self.rested.front()?;
        if now.saturating_duration_since(*since) <= rest {
            return None;
        }
        self.rested.pop_front().map(|(pair, _)| pair)
    }

    /// Takes note that something else has a port of a pair: it is tried again after all others.
    pub(crate) fn pass_over(&mut self, pair: PortPair) {
        self.unused.push_back(pair);
    }

    /// Gives a pair back.
    pub(crate) fn give_back(&mut self, pair: PortPair, now: Instant) {
        self.rested.push_back((pair, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(5);
    const TURN: Duration = Duration::from_millis(1);

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "any instant will do as the beginning of a test")]
        Instant::now()
    }

    fn share(first: u16, last: u16, number: u16, of: u16) -> PortShare {
        PortShare { range: first..=last, number, of }
    }

    fn all(share: &PortShare) -> Vec<u16> {
        let mut ports = Ports::new(share, 0, REST);
        rest(&mut ports, start())
    }

    fn rest(ports: &mut Ports, now: Instant) -> Vec<u16> {
        std::iter::from_fn(|| ports.take(now)).map(|pair| pair.rtp).collect()
    }

    #[test]
    fn a_pair_is_an_even_port_and_the_odd_one_above_it() {
        assert_eq!(all(&share(101, 107, 0, 1)), [102, 104, 106]);
        assert_eq!(all(&share(100, 106, 0, 1)), [100, 102, 104]);
        assert_eq!(all(&share(65533, 65535, 0, 1)), [65534]);
        assert!(all(&share(7, 7, 0, 1)).is_empty());
    }

    #[test]
    fn shares_do_not_overlap_and_leave_nothing_out() {
        let mut pairs: Vec<u16> = (0..3).flat_map(|number| all(&share(100, 119, number, 3))).collect();
        pairs.sort_unstable();
        assert_eq!(pairs, all(&share(100, 119, 0, 1)));
    }

    #[test]
    fn a_pair_given_back_rests_and_is_then_the_first_to_be_used_again() {
        let now = start();
        let mut ports = Ports::new(&share(100, 105, 0, 1), 1, REST);
        let first = ports.take(now).expect("three are free");
        assert_eq!(first, PortPair { rtp: 102, rtcp: 103 });
        ports.give_back(first, now);
        let early = now + REST - Duration::from_millis(1);
        assert_eq!(ports.take(early), Some(PortPair { rtp: 104, rtcp: 105 }));
        assert_eq!(rest(&mut ports, now + REST + TURN), [102, 100]);
    }

    #[test]
    fn where_no_other_is_left_the_pair_that_rested_longest_rests_a_little() {
        let mut ports = Ports::new(&share(100, 103, 0, 1), 0, REST);
        let (now, little) = (start(), REST / SHORTEST_REST);
        let [first, second] = [0, 1].map(|_| ports.take(now).expect("two are free"));
        ports.give_back(second, now);
        ports.give_back(first, now + TURN);
        assert_eq!(ports.take(now + little), None);
        assert_eq!(ports.take(now + little + TURN), Some(second));
        assert_eq!(ports.take(now + little + TURN), None);
        assert_eq!(ports.take(now + little + 3 * TURN), Some(first));
    }

    #[test]
    fn without_a_quarantine_a_pair_is_free_in_the_next_turn() {
        let mut now = start();
        let mut ports = Ports::new(&share(100, 101, 0, 1), 0, Duration::ZERO);
        for _ in 0..3 {
            let pair = ports.take(now).expect("it is free again");
            ports.give_back(pair, now);
            assert_eq!(ports.take(now), None);
            now += TURN;
        }
    }
}
