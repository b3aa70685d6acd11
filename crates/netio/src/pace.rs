//! How long a worker lets packets gather before it looks at them.
//!
//! At ordinary load a packet costs less than the wake-up it causes: 200 calls are 20,000 wake-ups a second, each for one
//! packet. So a worker with enough to do waits until a few packets are there, never longer than it is allowed to. An
//! idle worker does not wait, since there is nothing to save, and neither does one that finds enough packets anyway.

use std::time::{Duration, Instant};

/// As many packets at a time make the wake-up cheap.
const ENOUGH: u32 = 16;
/// Below this rate, in packets per second, a worker is idle.
const BUSY: f64 = 1000.0;
/// How long packets are counted before the rate is judged anew.
const WINDOW: Duration = Duration::from_millis(10);

/// The pace of one worker.
#[derive(Debug)]
pub(crate) struct Pace {
    longest: Duration,
    counted: u32,
    since: Instant,
    /// Packets per second in the last window.
    rate: f64,
    /// Packets of the last turn.
    last: u32,
}

impl Pace {
    /// Begins idle. No packet is to wait for more than `longest`.
    pub(crate) fn new(longest: Duration, now: Instant) -> Self {
        Self { longest, counted: 0, since: now, rate: 0.0, last: 0 }
    }

    /// Counts the packets of a turn.
    pub(crate) fn count(&mut self, packets: u32, now: Instant) {
        self.last = packets;
        self.counted = self.counted.saturating_add(packets);
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            self.rate = f64::from(self.counted) / elapsed.as_secs_f64();
            (self.counted, self.since) = (0, now);
        }
    }

    /// How long to let packets gather now.
    pub(crate) fn hold(&self) -> Duration {
        if self.rate < BUSY || self.last >= ENOUGH {
            return Duration::ZERO;
        }
        self.longest.min(Duration::from_secs_f64(f64::from(ENOUGH - self.last) / self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(1);

    #[test]
    fn an_idle_worker_does_not_wait() {
        assert_eq!(after(500, 1).hold(), Duration::ZERO);
    }

    #[test]
    fn a_busy_worker_waits_for_enough_packets_but_not_long() {
        assert_eq!(after(5_000, 1).hold(), LONGEST);
        let hold = after(100_000, 1).hold();
        assert!(hold > Duration::from_micros(100) && hold < Duration::from_micros(200), "{hold:?}");
    }

    #[test]
    fn a_worker_that_finds_enough_packets_does_not_wait() {
        assert_eq!(after(100_000, 20).hold(), Duration::ZERO);
    }

    #[test]
    fn a_worker_that_may_not_wait_does_not() {
        assert_eq!(Pace { longest: Duration::ZERO, ..after(5_000, 1) }.hold(), Duration::ZERO);
    }

    /// A pace after a second at a rate, whose last turn found some packets.
    fn after(rate: u32, last: u32) -> Pace {
        #[expect(clippy::disallowed_methods, reason = "any time will do to begin with")]
        let mut now = Instant::now();
        let mut pace = Pace::new(LONGEST, now);
        for _ in 0..100 {
            now += WINDOW;
            pace.count(rate / 100, now);
        }
        pace.count(last, now);
        pace
    }
}
