//! Which ports are free: pairs of an even port for RTP and the odd one above it for RTCP (RFC 3550 §11).

use crate::PortShare;

/// The pairs of one worker's share, and which of them are in use.
///
/// They are handed out in turn, so that a port rests as long as possible before the next call gets it.
#[derive(Debug)]
pub(crate) struct Ports {
    pairs: Vec<Pair>,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    rtp: u16,
    used: bool,
}

/// A pair of ports that is in use.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct PortPair {
    /// The even port.
    pub(crate) rtp: u16,
    /// The odd port above it.
    pub(crate) rtcp: u16,
}

impl Ports {
    /// All pairs of the share, beginning somewhere in it.
    pub(crate) fn new(share: &PortShare, begin: usize) -> Self {
        let first = share.range.start().max(&2).next_multiple_of(2);
        let pairs: Vec<Pair> = (first..*share.range.end())
            .step_by(2)
            .skip(usize::from(share.number))
            .step_by(usize::from(share.of.max(1)))
            .map(|rtp| Pair { rtp, used: false })
            .collect();
        let next = begin % pairs.len().max(1);
        Self { pairs, next }
    }

    /// Takes the next free pair.
    pub(crate) fn take(&mut self) -> Option<PortPair> {
        let (behind, ahead) = self.pairs.split_at_mut(self.next);
        let pair = ahead.iter_mut().chain(behind).find(|pair| !pair.used)?;
        pair.used = true;
        let taken = PortPair { rtp: pair.rtp, rtcp: pair.rtp + 1 };
        let place = self.place(taken)?;
        self.next = (place + 1) % self.pairs.len();
        Some(taken)
    }

    /// Gives a pair back.
    pub(crate) fn give_back(&mut self, pair: PortPair) {
        if let Some(place) = self.place(pair) {
            self.pairs[place].used = false;
        }
    }

    fn place(&self, pair: PortPair) -> Option<usize> {
        self.pairs.binary_search_by_key(&pair.rtp, |known| known.rtp).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(first: u16, last: u16, number: u16, of: u16) -> PortShare {
        PortShare { range: first..=last, number, of }
    }

    fn all(share: &PortShare) -> Vec<u16> {
        let mut ports = Ports::new(share, 0);
        std::iter::from_fn(|| ports.take()).map(|pair| pair.rtp).collect()
    }

    #[test]
    fn a_pair_is_an_even_port_and_the_odd_one_above_it() {
        assert_eq!(all(&share(101, 107, 0, 1)), [102, 104, 106]);
        assert_eq!(all(&share(100, 106, 0, 1)), [100, 102, 104]);
        assert_eq!(all(&share(65533, 65535, 0, 1)), [65534]);
        assert_eq!(all(&share(7, 7, 0, 1)), []);
    }

    #[test]
    fn shares_do_not_overlap_and_leave_nothing_out() {
        let mut pairs: Vec<u16> = (0..3).flat_map(|number| all(&share(100, 119, number, 3))).collect();
        pairs.sort_unstable();
        assert_eq!(pairs, all(&share(100, 119, 0, 1)));
    }

    #[test]
    fn a_pair_given_back_is_the_last_to_be_used_again() {
        let mut ports = Ports::new(&share(100, 105, 0, 1), 1);
        let first = ports.take().expect("three are free");
        assert_eq!(first, PortPair { rtp: 102, rtcp: 103 });
        ports.give_back(first);
        let order: Vec<u16> = std::iter::from_fn(|| ports.take()).map(|pair| pair.rtp).collect();
        assert_eq!(order, [104, 100, 102]);
        assert_eq!(ports.take(), None);
    }
}
