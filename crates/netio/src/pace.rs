//! How long a worker lets packets gather before it looks at them.
//!
//! At ordinary load a packet costs less than the wake-up it causes: 200 calls are 20,000 wake-ups a second, each for one
//! packet. So a worker with something to do looks once per interval, and sleeps for what its work left of it:
//!
//! ```text
//! look, work, sleep . . . | look, work, sleep . . . | look, work work work work | look, work
//! |<-- the longest wait ->|                           more than enough to do: no sleep
//! ```
//!
//! No packet waits for longer than the interval, and a worker with too much to do never sleeps. An idle worker does not
//! wait either, since there is nothing to save.

use std::time::{Duration, Instant};

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
    is_busy: bool,
    /// When the worker last looked.
    looked: Instant,
}

impl Pace {
    /// Begins idle. No packet is to wait for more than `longest`.
    pub(crate) fn new(longest: Duration, now: Instant) -> Self {
        Self { longest, counted: 0, since: now, is_busy: false, looked: now }
    }

    /// Counts the packets that a look at `now` found.
    pub(crate) fn count(&mut self, packets: u32, now: Instant) {
        self.looked = now;
        self.counted = self.counted.saturating_add(packets);
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= WINDOW {
            self.is_busy = f64::from(self.counted) >= BUSY * elapsed.as_secs_f64();
            (self.counted, self.since) = (0, now);
        }
    }

    /// When to look next at the earliest. `None`: at once.
    pub(crate) fn look_at(&self) -> Option<Instant> {
        (self.is_busy && !self.longest.is_zero()).then(|| self.looked + self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(1);

    #[test]
    fn an_idle_worker_does_not_wait() {
        assert_eq!(wait(&after(500, LONGEST)), None);
    }

    #[test]
    fn a_busy_worker_looks_once_per_interval_however_much_it_finds() {
        for rate in [5_000, 100_000, 1_000_000] {
            assert_eq!(wait(&after(rate, LONGEST)), Some(LONGEST));
        }
    }

    #[test]
    fn a_worker_that_may_not_wait_does_not() {
        assert_eq!(wait(&after(5_000, Duration::ZERO)), None);
    }

    #[test]
    fn a_worker_becomes_idle_when_packets_stop() {
        let mut pace = after(100_000, LONGEST);
        let looked = pace.looked;
        pace.count(0, looked + WINDOW);
        assert_eq!(wait(&pace), None);
    }

    /// How long after its last look a worker waits.
    fn wait(pace: &Pace) -> Option<Duration> {
        pace.look_at().map(|at| at - pace.looked)
    }

    /// A pace after a second at a rate.
    fn after(rate: u32, longest: Duration) -> Pace {
        #[expect(clippy::disallowed_methods, reason = "any time will do to begin with")]
        let mut now = Instant::now();
        let mut pace = Pace::new(longest, now);
        for _ in 0..100 {
            now += WINDOW;
            pace.count(rate / 100, now);
        }
        pace
    }
}
