//! How often a peer may ask.
//!
//! Each peer has a virtual schedule, by which its requests are evenly spaced; one may come as much ahead of it as a burst allows
//! (the generic cell rate algorithm, ITU-T I.371 §6.2).

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// Peers with a schedule of their own; all further ones share one.
const MAX_PEERS: usize = 4096;

/// How often any one peer may ask.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rate {
    /// Requests a second, for ever.
    pub(crate) per_second: NonZeroU32,
    /// Requests at once, after a while without.
    pub(crate) burst: NonZeroU32,
}

/// When the next request of each peer is due, for those who are ahead.
#[derive(Debug)]
pub(crate) struct Schedules {
    rate: Rate,
    due: HashMap<Option<IpAddr>, Instant>,
}

impl Rate {
    fn interval(self) -> Duration {
        Duration::from_secs(1) / self.per_second.get()
    }
}

impl Schedules {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, due: HashMap::new() }
    }

    /// Counts a request, if its peer may ask now.
    pub(crate) fn admit(&mut self, peer: IpAddr, now: Instant) -> bool {
        let interval = self.rate.interval();
        let key = self.key(peer, now);
        let due = self.due.entry(key).or_insert(now);
        let ahead = due.saturating_duration_since(now);
        if ahead > interval * (self.rate.burst.get() - 1) {
            return false;
        }
        *due = now + ahead + interval;
        true
    }

    /// Whose schedule counts. Room is made of those that are not ahead any more.
    fn key(&mut self, peer: IpAddr, now: Instant) -> Option<IpAddr> {
        if !self.due.contains_key(&Some(peer)) && self.due.len() >= MAX_PEERS {
            self.due.retain(|_, due| *due > now);
            if self.due.len() >= MAX_PEERS {
                return None;
            }
        }
        Some(peer)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const MANY: u32 = 5000;

    fn schedules(per_second: u32, burst: u32) -> Schedules {
        let number = |number| NonZeroU32::new(number).expect("it is not 0");
        Schedules::new(Rate { per_second: number(per_second), burst: number(burst) })
    }

    fn peer(number: u32) -> IpAddr {
        Ipv4Addr::from_bits(number).into()
    }

    /// How many of so many requests may be asked at once.
    fn admitted(schedules: &mut Schedules, from: u32, now: Instant) -> usize {
        (0..MANY).filter(|_| schedules.admit(peer(from), now)).count()
    }

    #[test]
    fn a_peer_may_ask_so_often_and_after_a_pause_so_much_at_once() {
        let mut schedules = schedules(10, 3);
        let start = crate::gateway::now();
        let after = |milliseconds| start + Duration::from_millis(milliseconds);
        assert_eq!(admitted(&mut schedules, 1, start), 3);
        assert_eq!(admitted(&mut schedules, 2, start), 3, "others have their own");
        assert_eq!(admitted(&mut schedules, 1, after(99)), 0);
        assert_eq!(admitted(&mut schedules, 1, after(100)), 1);
        assert_eq!(admitted(&mut schedules, 1, after(250)), 1);
        assert_eq!(admitted(&mut schedules, 1, after(300)), 1);
        assert_eq!(admitted(&mut schedules, 1, after(10_000)), 3, "a long pause earns no more than a burst");
        let over_a_minute = (0..60_000).filter(|passed| schedules.admit(peer(1), after(20_000 + passed))).count();
        assert_eq!(over_a_minute, 600 + 2);
    }

    #[test]
    fn no_number_of_peers_takes_more_room_or_gets_around_the_limit() {
        let mut schedules = schedules(1, 1);
        let start = crate::gateway::now();
        let count =
            |schedules: &mut Schedules, now| (0..MANY).filter(|number| schedules.admit(peer(*number), now)).count();
        assert_eq!(count(&mut schedules, start), MAX_PEERS + 1);
        assert_eq!(schedules.due.len(), MAX_PEERS + 1);
        assert_eq!(count(&mut schedules, start + Duration::from_millis(999)), 0);
        assert_eq!(
            count(&mut schedules, start + Duration::from_secs(1)),
            MAX_PEERS + 1,
            "who is not ahead is forgotten"
        );
    }
}
