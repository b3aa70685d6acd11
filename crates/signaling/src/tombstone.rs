//! Sessions that are over, for as long as stanzas about them may still be on their way (XEP-0166 §6.7).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jid::BareJid;
use xmpp::jingle::Reason;

/// How long a session is remembered.
const LIFETIME: Duration = Duration::from_secs(60);
/// How many sessions are remembered; the oldest are forgotten first.
const MAX: usize = 10_000;

/// A session by its other party and its id, which that party may have chosen.
pub(crate) type SessionKey = (BareJid, String);

/// Sessions that are over.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    reasons: HashMap<SessionKey, (Instant, Reason)>,
    in_order: VecDeque<(Instant, SessionKey)>,
}

impl Tombstones {
    pub(crate) fn bury(&mut self, key: SessionKey, reason: Reason, now: Instant) {
        if self.in_order.len() >= MAX {
            self.forget_first();
        }
        let until = now + LIFETIME;
        self.in_order.push_back((until, key.clone()));
        self.reasons.insert(key, (until, reason));
    }

    /// Why a session is over, if it is one that is remembered.
    pub(crate) fn reason(&self, key: &SessionKey) -> Option<&Reason> {
        self.reasons.get(key).map(|(_, reason)| reason)
    }

    pub(crate) fn forget_until(&mut self, now: Instant) {
        while self.in_order.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_first();
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.in_order.front().map(|(until, _)| *until)
    }

    fn forget_first(&mut self) {
        // A session of the same name may have been buried again since.
        if let Some((until, key)) = self.in_order.pop_front()
            && self.reasons.get(&key).is_some_and(|(latest, _)| *latest == until)
        {
            self.reasons.remove(&key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
mod tests {
    use xmpp::jingle::ReasonCondition;

    use super::*;

    #[test]
    fn a_session_is_forgotten_after_a_minute() {
        let now = Instant::now();
        let key = |number: usize| (BareJid::new("a@b").expect("a JID"), number.to_string());
        let mut tombstones = Tombstones::default();
        for number in 0..=MAX {
            tombstones.bury(key(number), Reason::new(ReasonCondition::Success), now);
        }
        assert_eq!(tombstones.reason(&key(0)), None, "there is no room for more");
        assert!(tombstones.reason(&key(1)).is_some());
        tombstones.bury(key(1), Reason::new(ReasonCondition::Busy), now + LIFETIME / 2);
        tombstones.forget_until(now + LIFETIME);
        assert_eq!(tombstones.reason(&key(1)).map(|reason| reason.condition), Some(ReasonCondition::Busy));
        assert_eq!(tombstones.reason(&key(2)), None);
        assert_eq!(tombstones.next_timeout(), Some(now + LIFETIME * 3 / 2));
    }
}
