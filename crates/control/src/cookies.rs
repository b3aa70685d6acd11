//! Duplicates: a request that is repeated, because its reply was lost or is late, is done once and answered each time.
//!
//! A client repeats a request with the cookie it had. Replies are kept in two generations, of which the older is
//! forgotten every 30 s, so that each is kept for 30 to 60 s. Where a generation becomes too large it is not waited so
//! long. A request counts as repeated only by the peer that sent it, so that nobody hears another's reply.
//!
//! ```
//! use control::cookies::{Begun, Cookies, Limits};
//! use std::time::Instant;
//!
//! let now = Instant::now();
//! let mut cookies = Cookies::new(Limits::default(), now);
//! assert_eq!(cookies.begin("proxy", b"1_1", "first", now), Begun::First);
//! assert_eq!(cookies.begin("proxy", b"1_1", "second", now), Begun::Waits);
//! assert_eq!(cookies.finish("proxy", b"1_1", b"1_1 d6:result4:ponge".as_slice().into(), now), ["first", "second"]);
//! assert!(matches!(cookies.begin("proxy", b"1_1", "third", now), Begun::Done("third", _)));
//! ```

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a generation of replies grows, and is then kept.
const GENERATION: Duration = Duration::from_secs(30);

/// Who waits for one reply at most. Kamailio repeats four times.
const MAX_WAITERS: usize = 8;

/// How much is remembered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Replies that are kept, and requests that are worked on, each.
    pub entries: usize,
    /// Bytes of the replies that are kept, with their cookies.
    pub bytes: usize,
}

impl Default for Limits {
    /// Those of a thousand requests a second.
    fn default() -> Self {
        Self { entries: 65_536, bytes: 128 << 20 }
    }
}

/// What is to be done with a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Begun<W> {
    /// It is new: to be worked on, until [`Cookies::finish`] or [`Cookies::abandon`].
    First,
    /// The first one is still worked on; whoever asked waits with the one who asked first.
    Waits,
    /// It was done, and this was the reply.
    Done(W, Arc<[u8]>),
    /// Too many are worked on, or wait for this one: it is to be dropped.
    Full,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Requests that were repeated.
    pub repeated: u64,
    /// Replies that were forgotten before their time, for want of room.
    pub evicted: u64,
    /// Requests that were dropped, for want of room.
    pub full: u64,
}

/// A peer and the cookie of its request.
type Key<P> = (P, Box<[u8]>);

/// Requests that are worked on, and replies that may be asked for once more. `P` is a peer, `W` whoever waits for a
/// reply.
#[derive(Debug)]
pub struct Cookies<P, W> {
    limits: Limits,
    worked_on: HashMap<Key<P>, Vec<W>>,
    young: Generation<P>,
    old: Generation<P>,
    /// When the young generation began.
    since: Instant,
    counters: Counters,
}

#[derive(Debug)]
struct Generation<P> {
    replies: HashMap<Key<P>, Arc<[u8]>>,
    bytes: usize,
}

impl<P: Copy + Eq + Hash, W> Cookies<P, W> {
    /// Remembers nothing yet.
    pub fn new(limits: Limits, now: Instant) -> Self {
        let (young, old) = Default::default();
        Self { limits, worked_on: HashMap::new(), young, old, since: now, counters: Counters::default() }
    }

    /// Takes a request.
    pub fn begin(&mut self, peer: P, cookie: &[u8], waiter: W, now: Instant) -> Begun<W> {
        self.grow_old(now);
        let key: Key<P> = (peer, Box::from(cookie));
        if let Some(reply) = self.young.replies.get(&key).or_else(|| self.old.replies.get(&key)) {
            self.counters.repeated += 1;
            return Begun::Done(waiter, Arc::clone(reply));
        }
        if let Some(waiters) = self.worked_on.get_mut(&key) {
            self.counters.repeated += 1;
            if waiters.len() < MAX_WAITERS {
                waiters.push(waiter);
                return Begun::Waits;
            }
        } else if self.worked_on.len() < self.limits.entries {
            self.worked_on.insert(key, vec![waiter]);
            return Begun::First;
        }
        self.counters.full += 1;
        Begun::Full
    }

    /// Takes the reply to a request that was [`Begun::First`]. Returns everybody who waits for it.
    pub fn finish(&mut self, peer: P, cookie: &[u8], reply: Arc<[u8]>, now: Instant) -> Vec<W> {
        self.grow_old(now);
        let Some((key, waiters)) = self.worked_on.remove_entry(&(peer, Box::from(cookie))) else { return Vec::new() };
        let bytes = cookie.len() + reply.len();
        // Each generation has half of the room.
        if self.young.replies.len() >= self.limits.entries / 2 || self.young.bytes + bytes > self.limits.bytes / 2 {
            self.counters.evicted += self.old.replies.len() as u64;
            self.swap(now);
        }
        self.young.bytes += bytes;
        self.young.replies.insert(key, reply);
        waiters
    }

    /// Forgets a request that was [`Begun::First`] and gets no reply. Returns everybody who waits for it.
    pub fn abandon(&mut self, peer: P, cookie: &[u8]) -> Vec<W> {
        self.worked_on.remove(&(peer, Box::from(cookie))).unwrap_or_default()
    }

    /// What was counted.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Forgets what is too old. Nothing but a request asks for it, so an idle relay keeps what it has.
    fn grow_old(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.since);
        if age >= GENERATION {
            self.swap(now);
        }
        if age >= 2 * GENERATION {
            self.old = Generation::default();
        }
    }

    fn swap(&mut self, now: Instant) {
        self.old = mem::take(&mut self.young);
        self.since = now;
    }
}

impl<P> Default for Generation<P> {
    fn default() -> Self {
        Self { replies: HashMap::new(), bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Limits = Limits { entries: 100, bytes: 10_000 };

    fn clock() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "some instant is needed to begin with")]
        Instant::now()
    }

    /// Does a request at once.
    fn ask(cookies: &mut Cookies<u8, ()>, peer: u8, cookie: u32, now: Instant) {
        let cookie = cookie.to_string();
        assert_eq!(cookies.begin(peer, cookie.as_bytes(), (), now), Begun::First, "{cookie}");
        cookies.finish(peer, cookie.as_bytes(), Arc::from(cookie.as_bytes()), now);
    }

    fn is_kept(cookies: &mut Cookies<u8, ()>, peer: u8, cookie: u32, now: Instant) -> bool {
        let cookie = cookie.to_string();
        match cookies.begin(peer, cookie.as_bytes(), (), now) {
            Begun::Done((), reply) => *reply == *cookie.as_bytes(),
            Begun::First => {
                cookies.abandon(peer, cookie.as_bytes());
                false
            }
            Begun::Waits | Begun::Full => panic!("nothing is worked on"),
        }
    }

    #[test]
    fn a_reply_is_kept_for_thirty_to_sixty_seconds() {
        for (asked_at, kept_until) in [(0, 59), (29, 59), (30, 89), (59, 89)] {
            let start = clock();
            let at = |seconds| start + Duration::from_secs(seconds);
            let mut cookies = Cookies::new(ROOMY, start);
            // Somebody else's requests make the time pass.
            for second in 0..kept_until {
                ask(&mut cookies, 2, u32::try_from(second).expect("few"), at(second));
                if second == asked_at {
                    ask(&mut cookies, 1, 7, at(second));
                }
            }
            assert!(is_kept(&mut cookies, 1, 7, at(kept_until)), "asked at {asked_at}");
            assert!(!is_kept(&mut cookies, 1, 7, at(kept_until + 1)), "asked at {asked_at}");
        }
    }

    #[test]
    fn after_a_long_silence_nothing_is_left() {
        let start = clock();
        let mut cookies = Cookies::new(ROOMY, start);
        ask(&mut cookies, 1, 7, start);
        assert!(!is_kept(&mut cookies, 1, 7, start + Duration::from_secs(60)));
    }

    #[test]
    fn a_cookie_is_known_only_from_its_peer() {
        let now = clock();
        let mut cookies = Cookies::new(ROOMY, now);
        ask(&mut cookies, 1, 7, now);
        ask(&mut cookies, 2, 7, now);
        assert_eq!(cookies.counters(), Counters::default());
    }

    #[test]
    fn whoever_asks_again_waits_for_the_first_one_s_reply() {
        let now = clock();
        let mut cookies = Cookies::new(ROOMY, now);
        assert_eq!(cookies.begin(1, b"a", 0, now), Begun::First);
        for waiter in 1..MAX_WAITERS {
            assert_eq!(cookies.begin(1, b"a", waiter, now), Begun::Waits);
        }
        assert_eq!(cookies.begin(1, b"a", MAX_WAITERS, now), Begun::Full);
        let later = now + Duration::from_secs(600);
        let everybody: Vec<_> = (0..MAX_WAITERS).collect();
        assert_eq!(cookies.finish(1, b"a", Arc::from(&b"r"[..]), later), everybody);
        assert_eq!(cookies.begin(1, b"a", 9, later), Begun::Done(9, Arc::from(&b"r"[..])));
        assert_eq!(cookies.counters(), Counters { repeated: 9, evicted: 0, full: 1 });
    }

    #[test]
    fn what_was_abandoned_may_be_asked_anew() {
        let now = clock();
        let mut cookies = Cookies::new(ROOMY, now);
        assert_eq!(cookies.begin(1, b"a", 0, now), Begun::First);
        assert_eq!(cookies.abandon(1, b"a"), [0]);
        assert_eq!(cookies.begin(1, b"a", 1, now), Begun::First);
        assert_eq!(cookies.finish(1, b"b", Arc::from(&b"r"[..]), now), [0; 0]);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let now = clock();
        for limits in [Limits { entries: 10, bytes: 10_000 }, Limits { entries: 1000, bytes: 10 * 6 }] {
            let mut cookies = Cookies::new(limits, now);
            for cookie in 100..1100 {
                ask(&mut cookies, 1, cookie, now);
                assert!(cookies.young.replies.len() + cookies.old.replies.len() <= 10, "{limits:?}");
                assert!(is_kept(&mut cookies, 1, cookie, now), "{limits:?}");
            }
            assert!((990..1000).contains(&cookies.counters().evicted), "{:?}", cookies.counters());
        }
    }

    #[test]
    fn no_more_is_worked_on_than_there_is_room_for() {
        let now = clock();
        let mut cookies = Cookies::new(Limits { entries: 2, bytes: 100 }, now);
        assert_eq!(cookies.begin(1, b"a", (), now), Begun::First);
        assert_eq!(cookies.begin(1, b"b", (), now), Begun::First);
        assert_eq!(cookies.begin(1, b"c", (), now), Begun::Full);
        cookies.abandon(1, b"a");
        assert_eq!(cookies.begin(1, b"c", (), now), Begun::First);
    }
}
