//! How much is looked into of what comes from nobody in particular.
//!
//! A STUN request from a source that ICE has not validated costs an HMAC, and so does SRTP from one that is on trial. Those
//! that prove to be wrong are counted against the network they come from, and once there were too many in a second the
//! next are dropped unread.
//!
//! What is right costs a source nothing, however much of it comes, and what comes from a validated source is never refused
//! here: many calls behind one address do not disturb each other, and whoever forges an address can at worst delay calls
//! that begin from there, for as long as it goes on.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::Dropped;

/// Networks that are watched at a time. Another one in the same place pushes one out, so that nobody is refused for what
/// others did.
const PLACES: usize = 1024;

/// How long a source may have been wrong as often as it may at once.
const BURST: Duration = Duration::from_secs(1);

/// How often each network was wrong of late.
pub(crate) struct Strangers {
    /// What one wrong packet costs; nothing where there is no limit.
    cost: Duration,
    hash: RandomState,
    places: Box<[Option<Debt>]>,
}

#[derive(Clone, Copy, Debug)]
struct Debt {
    network: IpAddr,
    /// When it will be paid.
    until: Instant,
}

impl Strangers {
    /// Allows so many wrong packets a second from one network; without limit for zero.
    pub(crate) fn new(per_second: u32) -> Self {
        let cost = BURST.checked_div(per_second).unwrap_or(Duration::ZERO);
        Self { cost, hash: RandomState::new(), places: vec![None; PLACES].into_boxed_slice() }
    }

    /// Says whether one more packet may be looked into.
    ///
    /// # Errors
    ///
    /// Too many from there were wrong of late.
    pub(crate) fn admit(&self, from: IpAddr, now: Instant) -> Result<(), Dropped> {
        let network = network(from);
        let debt = self.places[self.place_of(network)].filter(|debt| debt.network == network);
        if debt.is_some_and(|debt| debt.until > now + BURST) { Err(Dropped::TooManyWrong) } else { Ok(()) }
    }

    /// Takes note that a packet was wrong.
    pub(crate) fn was_wrong(&mut self, from: IpAddr, now: Instant) {
        let network = network(from);
        let place = self.place_of(network);
        let before = self.places[place].filter(|debt| debt.network == network).map_or(now, |debt| debt.until);
        self.places[place] = Some(Debt { network, until: before.max(now) + self.cost });
    }

    fn place_of(&self, network: IpAddr) -> usize {
        usize::try_from(self.hash.hash_one(network) % PLACES as u64).expect("less than the number of places")
    }
}

/// Of IPv6 a host has a whole network of 64 bits to choose from (RFC 4291 §2.5.1).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "any instant will do as the beginning of a test")]
        Instant::now()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("a literal address")
    }

    #[test]
    fn a_network_may_be_wrong_so_often_in_a_second() {
        let (mut strangers, now) = (Strangers::new(10), start());
        let wrong_in_a_row = |strangers: &mut Strangers, from, now| {
            let mut taken = 0;
            while strangers.admit(from, now).is_ok() {
                strangers.was_wrong(from, now);
                taken += 1;
            }
            taken
        };
        assert_eq!(wrong_in_a_row(&mut strangers, ip("192.0.2.1"), now), 11);
        assert_eq!(strangers.admit(ip("192.0.2.2"), now), Ok(()), "its neighbour did nothing");
        assert_eq!(wrong_in_a_row(&mut strangers, ip("192.0.2.1"), now + BURST / 2), 5);
        assert_eq!(wrong_in_a_row(&mut strangers, ip("2001:db8::1"), now), 11);
        assert_eq!(strangers.admit(ip("2001:db8::ffff:2"), now), Err(Dropped::TooManyWrong), "it is the same host");
        assert_eq!(strangers.admit(ip("2001:db8:0:1::1"), now), Ok(()));
    }

    #[test]
    fn without_a_limit_nobody_is_refused() {
        let (mut strangers, now) = (Strangers::new(0), start());
        (0..1000).for_each(|_| strangers.was_wrong(ip("192.0.2.1"), now));
        assert_eq!(strangers.admit(ip("192.0.2.1"), now), Ok(()));
    }
}
