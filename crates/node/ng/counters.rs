//! What is counted about requests, and the log's lines about those that were dropped.

use std::array;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Peers that are counted one by one; all further ones are counted as one.
const MAX_PEERS: usize = 64;

/// Of messages that were dropped for one reason a line is logged so often at most.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Why a message was dropped, or answered without being looked at any further.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Odd {
    /// From nobody whose requests are taken.
    Peer,
    /// Without the token that requests over HTTP and TCP have to show.
    Token,
    /// It did not agree with us on TLS.
    Handshake,
    /// Without a cookie, so that nobody can be answered.
    NoCookie,
    /// Neither bencode nor JSON.
    Unreadable,
    /// More often than it may.
    Rate,
    /// There is no room for one more request.
    Busy,
    /// There is no room for one more connection.
    Connection,
    /// A reply that does not fit into a datagram.
    TooLong,
}

impl Odd {
    /// All with the label of their counter, in order.
    pub(crate) const ALL: [(Self, &str); 9] = [
        (Self::Peer, "peer"),
        (Self::Token, "token"),
        (Self::Handshake, "handshake"),
        (Self::NoCookie, "no_cookie"),
        (Self::Unreadable, "unreadable"),
        (Self::Rate, "rate"),
        (Self::Busy, "busy"),
        (Self::Connection, "connection"),
        (Self::TooLong, "too_long"),
    ];

    const fn text(self) -> &'static str {
        match self {
            Self::Peer => "is none of those whose requests are taken",
            Self::Token => "did not show the token",
            Self::Handshake => "did not agree on TLS",
            Self::NoCookie => "sent a message without a cookie",
            Self::Unreadable => "sent what is neither bencode nor JSON",
            Self::Rate => "asks more often than it may",
            Self::Busy => "sent one request more than there is room for",
            Self::Connection => "opened one connection more than there is room for",
            Self::TooLong => "asked for what does not fit into a datagram",
        }
    }
}

/// Requests that were answered, by who asked, what, and how it went.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Kind {
    /// One for all the rest where there are too many.
    pub(crate) peer: Option<IpAddr>,
    pub(crate) command: &'static str,
    pub(crate) result: &'static str,
}

impl Kind {
    pub(crate) fn peer_label(&self) -> String {
        self.peer.map_or_else(|| "other".to_owned(), |peer| peer.to_string())
    }

    pub(crate) fn is_refused(&self) -> bool {
        !matches!(self.result, "ok" | "pong")
    }
}

/// How many there were, and how long they took: together, the quickest, and the slowest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) time: Duration,
    pub(crate) shortest: Duration,
    pub(crate) longest: Duration,
}

impl Tally {
    /// One that took so long.
    const fn one(time: Duration) -> Self {
        Self { count: 1, time, shortest: time, longest: time }
    }

    #[must_use]
    pub(crate) fn plus(self, other: Self) -> Self {
        let shortest = match (self.count, other.count) {
            (0, _) => other.shortest,
            (_, 0) => self.shortest,
            (1.., 1..) => self.shortest.min(other.shortest),
        };
        Self {
            count: self.count + other.count,
            time: self.time + other.time,
            shortest,
            longest: self.longest.max(other.longest),
        }
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    answered: Mutex<BTreeMap<Kind, Tally>>,
    odd: Mutex<[(u64, Option<Instant>); Odd::ALL.len()]>,
}

impl Counters {
    /// Counts a request.
    pub(crate) fn answered(&self, peer: IpAddr, command: &'static str, result: &'static str, time: Duration) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kind = Kind { peer: Some(peer), command, result };
        if !answered.contains_key(&kind) {
            let mut peers: Vec<_> = answered.keys().filter_map(|kind| kind.peer).collect();
            peers.dedup();
            if peers.len() >= MAX_PEERS && !peers.contains(&peer) {
                kind.peer = None;
            }
        }
        let tally = answered.entry(kind).or_default();
        *tally = tally.plus(Tally::one(time));
    }

    /// Counts a message that went no further, and logs it now and then.
    pub(crate) fn odd(&self, odd: Odd, peer: IpAddr, now: Instant) {
        let mut counts = self.odd.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, logged_at) = &mut counts[odd as usize];
        *count += 1;
        if logged_at.is_none_or(|at| now.saturating_duration_since(at) >= LOG_EVERY) {
            *logged_at = Some(now);
            tracing::warn!(%peer, so_far = *count, "it {}", odd.text());
        }
    }

    /// Requests that were answered.
    pub(crate) fn all_answered(&self) -> Vec<(Kind, Tally)> {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.iter().map(|(kind, tally)| (*kind, *tally)).collect()
    }

    /// Messages that went no further, by reason.
    pub(crate) fn all_odd(&self) -> [(&'static str, u64); Odd::ALL.len()] {
        let counts = self.odd.lock().unwrap_or_else(PoisonError::into_inner);
        array::from_fn(|number| (Odd::ALL[number].1, counts[number].0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_counter() {
        let counters = Counters::default();
        for (number, (odd, label)) in Odd::ALL.into_iter().enumerate() {
            assert_eq!(odd as usize, number);
            counters.odd(odd, [127, 0, 0, 1].into(), crate::gateway::now());
            assert_eq!(counters.all_odd()[number], (label, 1));
        }
    }

    #[test]
    fn no_number_of_peers_takes_more_room() {
        let counters = Counters::default();
        for number in 0..1000 {
            counters.answered(std::net::Ipv4Addr::from_bits(number).into(), "ping", "pong", Duration::ZERO);
        }
        counters.answered([0, 0, 0, 0].into(), "ping", "pong", Duration::from_secs(2));
        let all = counters.all_answered();
        assert_eq!((all.len(), all[0].0.peer, all[0].1.count), (1 + MAX_PEERS, None, 1000 - MAX_PEERS as u64));
        assert_eq!((all[1].1.count, all[1].1.time), (2, Duration::from_secs(2)));
        // One that is known keeps its name, whatever it asks.
        counters.answered([0, 0, 0, 0].into(), "list", "ok", Duration::ZERO);
        assert_eq!(counters.all_answered().iter().filter(|(kind, _)| kind.peer.is_none()).count(), 1);
    }
}
