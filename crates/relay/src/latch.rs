//! Whose packets are believed on a component without ICE (RFC 4961, RFC 7362 §4).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use model::{Learning, Ssrc, Surroundings};

use crate::Dropped;

/// How long after a description an unnamed source may still be learnt.
const LEARNING_TIME: Duration = Duration::from_secs(5);

/// How long after the first packet a better source may still take the place of the one that sent it.
const SETTLING_TIME: Duration = Duration::from_secs(3);

/// Packets in a row that an unnamed source has to send before it is learnt.
const LEARNING_PACKETS: u8 = 3;

/// The one source that is believed, and whether another may still take its place. The fields stand as a packet needs them,
/// so that it fetches few cache lines.
#[derive(Clone, Debug)]
#[repr(C)]
pub(crate) struct Latch {
    learning: Learning,
    learnt: Option<SocketAddr>,
    /// What was learnt before a description that names the same address again.
    before: Option<SocketAddr>,
    signalled: Option<SocketAddr>,
    surroundings: Surroundings,
    /// Whether a packet of the peer was believed, where it matters that one was.
    heard: bool,
    /// When learning ends; nothing where it only ends some time after the first packet.
    until: Option<Instant>,
    trial: Option<Trial>,
    /// An unnamed source of DTLS, which is answered, and is learnt if its handshake shows that it is the peer.
    greeted: Option<SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    from: SocketAddr,
    ssrc: Ssrc,
    packets: u8,
}

/// What a source is to us before its packet was looked into.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// Believed.
    Known,
    /// May become believed, if [`Latch::learn`] agrees.
    OnTrial,
}

impl Latch {
    /// Begins with what a description names, which may be nothing, and what is known beside it.
    pub(crate) fn new(
        learning: Learning,
        signalled: Option<SocketAddr>,
        surroundings: Surroundings,
        now: Instant,
    ) -> Self {
        let until = match learning {
            Learning::Off | Learning::SignalledAddress | Learning::Any | Learning::First => Some(now + LEARNING_TIME),
            Learning::Best | Learning::Settled => None,
        };
        Self {
            learning,
            until,
            signalled,
            surroundings,
            heard: false,
            before: None,
            learnt: None,
            trial: None,
            greeted: None,
        }
    }

    /// Goes on from the latch of the last description. Where the peer names the same address again, what was learnt stands
    /// beside it until something else is: a phone that is silent when its session is refreshed is not lost.
    pub(crate) fn after(self, last: &Self) -> Self {
        let is_same = self.signalled == last.signalled;
        let stays = self.learning != Learning::Off && is_same;
        let before = if stays { last.learnt.or(last.before) } else { None };
        Self { before, heard: is_same && last.heard, ..self }
    }

    /// Where packets are sent.
    pub(crate) fn destination(&self) -> Option<SocketAddr> {
        if self.surroundings.waits && !self.heard {
            return None;
        }
        self.reached_at()
    }

    fn reached_at(&self) -> Option<SocketAddr> {
        self.learnt.or(self.before).or(self.signalled)
    }

    /// The address that the description names.
    pub(crate) const fn named(&self) -> Option<SocketAddr> {
        self.signalled
    }

    /// Where empty datagrams are still to be sent, to open the way for the peer's packets.
    pub(crate) fn to_pierce(&self) -> Option<SocketAddr> {
        self.reached_at().filter(|_| self.surroundings.pierces && !self.heard)
    }

    /// Says whether it matters that the peer is heard.
    const fn listens(&self) -> bool {
        !self.heard && (self.surroundings.waits || self.surroundings.pierces)
    }

    /// Says what a source is to us.
    ///
    /// # Errors
    ///
    /// Why its packets are dropped.
    pub(crate) fn standing(&self, from: SocketAddr, now: Instant) -> Result<Standing, Dropped> {
        if let Some(learnt) = self.learnt {
            let is_better = || self.learning == Learning::Best && self.likeness(from) > self.likeness(learnt);
            return match learnt == from {
                true if self.listens() => Ok(Standing::OnTrial),
                true => Ok(Standing::Known),
                false if self.is_open(now) && is_better() => Ok(Standing::OnTrial),
                false => Err(Dropped::SourceNotLearnt),
            };
        }
        match (self.learning, self.names(from)) {
            (Learning::Off, true) if self.listens() => Ok(Standing::OnTrial),
            (Learning::Off, true) => Ok(Standing::Known),
            (Learning::SignalledAddress | Learning::Any, true) => Ok(Standing::OnTrial),
            (Learning::First | Learning::Best | Learning::Settled, _) => Ok(Standing::OnTrial),
            (Learning::Any, false) if self.is_open(now) => Ok(Standing::OnTrial),
            (Learning::Any, false) => Err(Dropped::SourceTooLate),
            (Learning::Off | Learning::SignalledAddress, false) => Err(Dropped::UnknownSource),
        }
    }

    fn is_open(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now <= until)
    }

    /// How much a source is like the named one: its address and port, its address, its port, nothing.
    fn likeness(&self, from: SocketAddr) -> u8 {
        let signalled =
            |is_like: fn(SocketAddr, SocketAddr) -> bool| self.signalled.is_some_and(|it| is_like(it, from));
        match () {
            () if self.names(from) => 3,
            () if self.surroundings.sender == Some(from.ip()) || signalled(|one, other| one.ip() == other.ip()) => 2,
            () if signalled(|one, other| one.port() == other.port()) => 1,
            () => 0,
        }
    }

    /// Says whether a source was named, or learnt: it need not be tried.
    pub(crate) fn vouches_for(&self, from: SocketAddr) -> bool {
        self.learnt.map_or_else(|| self.names(from), |learnt| learnt == from)
    }

    /// Says whether DTLS may come from a source: also from an unnamed one where any may be learnt at any time.
    pub(crate) fn takes_dtls_from(&self, from: SocketAddr) -> bool {
        let is_open = match self.learning {
            Learning::First | Learning::Best | Learning::Settled => self.learnt.is_none(),
            Learning::Off | Learning::SignalledAddress | Learning::Any => false,
        };
        is_open || self.vouches_for(from)
    }

    /// Takes note of where DTLS came from last.
    pub(crate) fn greet(&mut self, from: SocketAddr) {
        self.greeted = (!self.vouches_for(from)).then_some(from);
    }

    /// Where DTLS is sent.
    pub(crate) fn dtls_destination(&self) -> Option<SocketAddr> {
        self.greeted.or(self.reached_at())
    }

    /// Learns where DTLS came from, after a handshake with the peer whose certificate was promised.
    pub(crate) fn learn_greeted(&mut self) {
        self.learnt = self.greeted.take().or(self.learnt);
        self.heard = true;
    }

    /// Takes a packet of a source on trial, which is authentic if the leg has keys and of a negotiated payload type.
    /// Says whether the source is believed now; then no other will be, until the next description.
    pub(crate) fn learn(&mut self, from: SocketAddr, ssrc: Ssrc, now: Instant) -> bool {
        let is_believed = self.judge(from, ssrc, now);
        self.heard |= is_believed;
        is_believed
    }

    fn judge(&mut self, from: SocketAddr, ssrc: Ssrc, now: Instant) -> bool {
        match self.learning {
            Learning::Off => return self.vouches_for(from),
            Learning::First | Learning::Best => {
                self.until.get_or_insert(now + SETTLING_TIME);
                self.learnt = Some(from);
                return true;
            }
            Learning::Settled => {
                if now > *self.until.get_or_insert(now + SETTLING_TIME) {
                    self.learnt = Some(from);
                }
                return true;
            }
            Learning::SignalledAddress | Learning::Any => {}
        }
        let packets = match self.trial {
            Some(trial) if (trial.from, trial.ssrc) == (from, ssrc) => trial.packets.saturating_add(1),
            Some(_) | None => 1,
        };
        self.trial = Some(Trial { from, ssrc, packets });
        if self.names(from) || packets >= LEARNING_PACKETS {
            self.learnt = Some(from);
        }
        self.learnt == Some(from)
    }

    /// Whether signalling has named a source as one that may send.
    fn names(&self, from: SocketAddr) -> bool {
        self.before == Some(from)
            || self.signalled.is_some_and(|signalled| {
                let port = signalled.port() == from.port() || self.learning == Learning::SignalledAddress;
                port && (signalled.ip() == from.ip() || self.surroundings.sender == Some(from.ip()))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("a literal address")
    }

    fn start() -> Instant {
        #[allow(clippy::disallowed_methods, reason = "any instant will do as the beginning of a test")]
        Instant::now()
    }

    fn latch(learning: Learning) -> (Latch, Instant) {
        let now = start();
        let sender = Some(address("192.0.2.3:5060").ip());
        let surroundings = Surroundings { sender, ..Surroundings::default() };
        (Latch::new(learning, Some(address("192.0.2.1:4000")), surroundings, now), now)
    }

    #[test]
    fn the_signalled_port_is_believed_at_the_address_that_signalling_comes_from() {
        let (latch, now) = latch(Learning::Off);
        assert_eq!(latch.standing(address("192.0.2.3:4000"), now), Ok(Standing::Known));
        assert_eq!(latch.standing(address("192.0.2.3:5060"), now), Err(Dropped::UnknownSource));
        assert_eq!(latch.destination(), Some(address("192.0.2.1:4000")));
    }

    #[test]
    fn with_learning_off_only_the_named_source_is_believed() {
        let (latch, now) = latch(Learning::Off);
        assert_eq!(latch.standing(address("192.0.2.1:4000"), now), Ok(Standing::Known));
        assert_eq!(latch.standing(address("192.0.2.1:4002"), now), Err(Dropped::UnknownSource));
        assert_eq!(latch.standing(address("192.0.2.2:4000"), now), Err(Dropped::UnknownSource));
    }

    #[test]
    fn another_port_of_the_named_address_is_learnt_once() {
        let (mut latch, now) = latch(Learning::SignalledAddress);
        assert_eq!(latch.standing(address("192.0.2.2:4000"), now), Err(Dropped::UnknownSource));
        assert_eq!(latch.standing(address("192.0.2.1:5000"), now), Ok(Standing::OnTrial));
        assert!(latch.learn(address("192.0.2.1:5000"), Ssrc(1), now));
        assert_eq!(latch.destination(), Some(address("192.0.2.1:5000")));
        let named = latch.standing(address("192.0.2.1:4000"), now);
        assert_eq!(named, Err(Dropped::SourceNotLearnt), "the named port came too late");
    }

    #[test]
    fn any_source_is_learnt_by_three_packets_in_a_row_of_one_ssrc() {
        let (mut latch, now) = latch(Learning::Any);
        let (ours, theirs) = (address("198.51.100.7:6000"), address("203.0.113.9:7000"));
        assert_eq!(latch.standing(ours, now), Ok(Standing::OnTrial));
        assert!(!latch.learn(ours, Ssrc(1), now));
        assert!(!latch.learn(ours, Ssrc(1), now));
        assert!(!latch.learn(theirs, Ssrc(1), now), "somebody else interrupts");
        assert!(!latch.learn(ours, Ssrc(2), now));
        assert!(!latch.learn(ours, Ssrc(2), now));
        assert_eq!(latch.destination(), Some(address("192.0.2.1:4000")));
        assert!(latch.learn(ours, Ssrc(2), now));
        assert_eq!(latch.destination(), Some(ours));
        assert_eq!(latch.standing(theirs, now), Err(Dropped::SourceNotLearnt));
    }

    #[test]
    fn nobody_is_learnt_late() {
        let (latch, now) = latch(Learning::Any);
        let late = now + LEARNING_TIME + Duration::from_millis(1);
        assert_eq!(latch.standing(address("198.51.100.7:6000"), late), Err(Dropped::SourceTooLate));
        assert_eq!(latch.standing(address("192.0.2.1:4000"), late), Ok(Standing::OnTrial));
    }

    #[test]
    fn the_source_of_the_first_packet_is_learnt_at_once_where_that_is_asked_for() {
        let (mut latch, now) = latch(Learning::First);
        let (ours, theirs) = (address("198.51.100.7:6000"), address("192.0.2.1:4000"));
        let late = now + Duration::from_secs(60);
        assert_eq!(latch.standing(ours, late), Ok(Standing::OnTrial), "a phone may be silent for long");
        assert!(latch.learn(ours, Ssrc(1), late));
        assert_eq!(latch.destination(), Some(ours));
        assert_eq!(latch.standing(theirs, late), Err(Dropped::SourceNotLearnt));
    }

    #[test]
    fn the_source_most_like_the_named_one_is_learnt_within_some_time_after_the_first_packet() {
        let (mut latch, now) = latch(Learning::Best);
        let [other, port, ip, named] =
            ["198.51.100.7:6000", "198.51.100.7:4000", "192.0.2.1:6000", "192.0.2.1:4000"].map(address);
        let began = now + Duration::from_secs(60);
        for source in [other, port, ip] {
            assert_eq!(latch.standing(source, began), Ok(Standing::OnTrial));
            assert!(latch.learn(source, Ssrc(1), began));
            assert_eq!((latch.standing(source, began), latch.destination()), (Ok(Standing::Known), Some(source)));
        }
        for worse in [other, port, address("192.0.2.1:7000")] {
            assert_eq!(latch.standing(worse, began), Err(Dropped::SourceNotLearnt));
        }
        assert_eq!(latch.standing(named, began + SETTLING_TIME), Ok(Standing::OnTrial));
        let settled = began + SETTLING_TIME + Duration::from_millis(1);
        assert_eq!(latch.standing(named, settled), Err(Dropped::SourceNotLearnt));
        assert_eq!(latch.standing(ip, settled), Ok(Standing::Known));
    }

    #[test]
    fn the_source_of_the_first_packet_after_some_time_is_learnt_where_that_is_asked_for() {
        let (mut latch, now) = latch(Learning::Settled);
        let [first, second] = ["198.51.100.7:6000", "198.51.100.8:6000"].map(address);
        assert!(latch.learn(first, Ssrc(1), now));
        assert_eq!(latch.destination(), Some(address("192.0.2.1:4000")), "not yet");
        assert_eq!(latch.standing(second, now + SETTLING_TIME), Ok(Standing::OnTrial));
        let settled = now + SETTLING_TIME + Duration::from_millis(1);
        assert!(latch.learn(second, Ssrc(1), settled));
        assert_eq!(latch.destination(), Some(second));
        assert_eq!(latch.standing(first, settled), Err(Dropped::SourceNotLearnt));
    }

    #[test]
    fn what_was_learnt_stands_until_the_next_description_names_another_address() {
        let (mut latch, now) = latch(Learning::SignalledAddress);
        let learnt = address("192.0.2.1:5000");
        assert!(latch.learn(learnt, Ssrc(1), now));
        let again = |signalled| {
            Latch::new(Learning::SignalledAddress, Some(address(signalled)), latch.surroundings, now).after(&latch)
        };
        let mut same = again("192.0.2.1:4000");
        assert_eq!(same.destination(), Some(learnt), "the peer may be silent for long");
        assert_eq!(same.standing(learnt, now), Ok(Standing::OnTrial));
        assert!(same.learn(address("192.0.2.1:6000"), Ssrc(1), now), "but it may have moved");
        assert_eq!(same.standing(learnt, now), Err(Dropped::SourceNotLearnt));
        let other = again("192.0.2.9:4000");
        assert_eq!(other.destination(), Some(address("192.0.2.9:4000")));
        assert_eq!(other.standing(learnt, now), Err(Dropped::UnknownSource));
    }
}
