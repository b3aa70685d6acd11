//! When the next report is due (RFC 3550 §6.2, §6.3.1, §A.7).

use std::time::Duration;

/// What is known of those who share the bandwidth of a session's reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// SSRCs known, ours included.
    pub members: u32,
    /// Those of them that send RTP.
    pub senders: u32,
    /// We are one of the senders.
    pub we_send: bool,
    /// Bytes a second for reports: a twentieth of the session's bandwidth.
    pub bandwidth: f64,
    /// The mean size of a compound packet in bytes, with UDP and IP.
    pub average_size: f64,
    /// No report was sent yet.
    pub initial: bool,
}

impl Schedule {
    /// How long to wait for the next report. `random` is evenly distributed over all of its values, so that the
    /// members of a session do not report all at once.
    pub fn interval(&self, random: u32) -> Duration {
        /// The least time between reports.
        const LEAST: f64 = 5.0;
        /// The share of the bandwidth that is the senders', while they are few.
        const SENDERS_SHARE: f64 = 0.25;
        /// `e - 3/2`: what reconsideration of the timer would take off (§6.3.1).
        const COMPENSATION: f64 = std::f64::consts::E - 1.5;
        let (members, senders) = (f64::from(self.members), f64::from(self.senders));
        let (sharers, bandwidth) = match self.we_send {
            _ if senders > members * SENDERS_SHARE => (members, self.bandwidth),
            true => (senders, self.bandwidth * SENDERS_SHARE),
            false => (members - senders, self.bandwidth * (1.0 - SENDERS_SHARE)),
        };
        let least = if self.initial { LEAST / 2.0 } else { LEAST };
        let seconds = (self.average_size * sharers / bandwidth.max(1.0)).max(least);
        let random = f64::from(random) / f64::from(u32::MAX);
        Duration::from_secs_f64(seconds.min(3600.0) * (random + 0.5) / COMPENSATION)
    }

    /// The mean size after one more packet (§6.3.3).
    pub fn average(before: f64, size: usize) -> f64 {
        before + (size as f64 - before) / 16.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: Schedule =
        Schedule { members: 2, senders: 2, we_send: true, bandwidth: 400.0, average_size: 120.0, initial: false };

    fn seconds(schedule: Schedule, random: u32) -> f64 {
        schedule.interval(random).as_secs_f64()
    }

    #[test]
    fn two_members_report_every_five_seconds_more_or_less() {
        let ends = [seconds(PAIR, 0), seconds(PAIR, u32::MAX)];
        assert!((ends[0] - 2.052).abs() < 0.001 && (ends[1] - 6.156).abs() < 0.001, "{ends:?}");
    }

    #[test]
    fn the_first_report_comes_in_half_the_time() {
        let first = Schedule { initial: true, ..PAIR };
        assert!((seconds(first, 1 << 31) * 2.0 - seconds(PAIR, 1 << 31)).abs() < 1e-6);
    }

    #[test]
    fn many_members_share_the_bandwidth_and_few_senders_have_a_quarter_of_it() {
        let half = 1 << 31; // times 1 / 1.21828
        let crowd = Schedule { members: 1000, senders: 10, ..PAIR };
        let listener = Schedule { we_send: false, ..crowd };
        assert!((seconds(crowd, half) - 120.0 * 10.0 / 100.0 / 1.21828).abs() < 0.01);
        assert!((seconds(listener, half) - 120.0 * 990.0 / 300.0 / 1.21828).abs() < 0.01);
        let all = Schedule { senders: 500, ..crowd };
        assert!((seconds(all, half) - 120.0 * 1000.0 / 400.0 / 1.21828).abs() < 0.01);
        assert!(seconds(Schedule { bandwidth: 0.0, ..crowd }, half) < 3600.0, "nothing divides by nothing");
    }

    #[test]
    fn the_mean_size_follows_slowly() {
        let size = (0..100).fold(100.0, |size, _| Schedule::average(size, 200));
        assert!((199.0..200.0).contains(&size), "{size}");
    }
}
