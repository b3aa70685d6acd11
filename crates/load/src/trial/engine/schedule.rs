//! When each flow sends: a packet every ptime, the flows spread evenly over it, and none ever left out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A place in the worker's table of ends, and which of its tenants is meant.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Tenant {
    pub(super) slot: usize,
    pub(super) serial: u64,
}

/// The times at which flows send. An open loop: what is late is sent late, and the next is due when it always was.
#[derive(Debug)]
pub(super) struct Schedule {
    ptime: u64,
    due: BinaryHeap<Reverse<(u64, Tenant)>>,
}

impl Schedule {
    /// Begins without a flow; times are nanoseconds.
    pub(super) fn new(ptime: u64) -> Self {
        Self { ptime, due: BinaryHeap::new() }
    }

    /// Adds a flow, which sends from `start` on at its phase.
    pub(super) fn add(&mut self, tenant: Tenant, flow: u64, start: u64) {
        self.due.push(Reverse((start + phase(flow, self.ptime), tenant)));
    }

    /// When the next packet is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// The next packet that is due, and when it was. It has to be scheduled again, or its flow is over.
    pub(super) fn pop_due(&mut self, now: u64) -> Option<(u64, Tenant)> {
        self.next_due().filter(|due| *due <= now)?;
        self.due.pop().map(|Reverse(entry)| entry)
    }

    /// Schedules the packet after the one that was due then.
    pub(super) fn again(&mut self, due: u64, tenant: Tenant) {
        self.due.push(Reverse((due + self.ptime, tenant)));
    }
}

/// The part of ptime that a flow waits before its first packet. Multiples of the golden ratio fill it evenly, however
/// many flows there are, so that calls can be added at any time.
fn phase(flow: u64, ptime: u64) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let share = flow.wrapping_mul(GOLDEN) >> 32;
    (share * ptime) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTIME: u64 = 20_000_000;

    fn tenant(slot: usize) -> Tenant {
        Tenant { slot, serial: 0 }
    }

    #[test]
    fn flows_are_spread_evenly_over_ptime_however_many_there_are() {
        for count in [10, 100, 1_000, 1_001] {
            let mut phases: Vec<_> = (0..count).map(|flow| phase(flow, PTIME)).collect();
            phases.sort_unstable();
            let widest = phases.windows(2).map(|pair| pair[1] - pair[0]).max().expect("there are two");
            assert!(widest <= 3 * PTIME / count, "{count} flows leave a gap of {widest} ns");
        }
    }

    #[test]
    fn a_stall_delays_packets_and_leaves_none_out() {
        let mut schedule = Schedule::new(PTIME);
        schedule.add(tenant(0), 0, 1_000);
        let mut sent = Vec::new();
        for now in [1_000, 1_000 + PTIME, 1_000 + 10 * PTIME] {
            while let Some((due, tenant)) = schedule.pop_due(now) {
                sent.push(due);
                schedule.again(due, tenant);
            }
        }
        let expected: Vec<_> = (0..=10).map(|packet| 1_000 + packet * PTIME).collect();
        assert_eq!(sent, expected);
        assert_eq!(schedule.next_due(), Some(1_000 + 11 * PTIME));
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let mut schedule = Schedule::new(PTIME);
        assert_eq!(schedule.next_due(), None);
        schedule.add(tenant(3), 0, 1_000);
        assert_eq!(schedule.pop_due(999), None);
        assert_eq!(schedule.pop_due(1_000), Some((1_000, tenant(3))));
    }
}
