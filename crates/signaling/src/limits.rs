//! How many calls there are by each trunk, and how many were attempted in the last minute: by each trunk, by each user
//! of the XMPP side, and to each.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use jid::BareJid;

/// The time in which attempts are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// How many are counted for at once; more than these would be an attack, and are refused.
const MAX_COUNTED: usize = 20_000;

/// Whose attempts are counted. Those to a user are none of its own, so that a flood of calls does not keep it from
/// calling.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Whose {
    Caller(BareJid),
    Callee(BareJid),
    Trunk(String),
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    /// The last attempts, of each no more than its limit.
    attempts: HashMap<Whose, VecDeque<Instant>>,
    /// Calls by each trunk, answered or not.
    calls: HashMap<String, usize>,
    /// When what is old is thrown away next.
    sweep_at: Option<Instant>,
}

impl Limits {
    /// Counts an attempt. False: it would be more than `most` in a minute; 0 is without limit.
    pub(crate) fn attempt(&mut self, whose: Whose, most: usize, now: Instant) -> bool {
        if most == 0 {
            return true;
        }
        self.sweep(now);
        if self.attempts.len() >= MAX_COUNTED && !self.attempts.contains_key(&whose) {
            return false;
        }
        let times = self.attempts.entry(whose).or_default();
        forget_old(times, now);
        let is_allowed = times.len() < most;
        if is_allowed {
            times.push_back(now);
        }
        is_allowed
    }

    /// How many calls there are by a trunk.
    pub(crate) fn calls(&self, trunk: &str) -> usize {
        self.calls.get(trunk).copied().unwrap_or_default()
    }

    /// A call goes from one trunk, if it had one, to another, if it has one now.
    pub(crate) fn moved(&mut self, from: Option<&str>, to: Option<&str>) {
        if from == to {
            return;
        }
        if let Some(count) = from.and_then(|name| self.calls.get_mut(name)) {
            *count -= 1;
        }
        if let Some(name) = to {
            *self.calls.entry(name.to_owned()).or_default() += 1;
        }
    }

    /// Once a minute, so that whoever has called once is not remembered for ever.
    fn sweep(&mut self, now: Instant) {
        if self.sweep_at.is_some_and(|at| now < at) {
            return;
        }
        self.sweep_at = Some(now + MINUTE);
        self.attempts.retain(|_, times| {
            forget_old(times, now);
            !times.is_empty()
        });
    }
}

fn forget_old(times: &mut VecDeque<Instant>, now: Instant) {
    while times.front().is_some_and(|at| now.saturating_duration_since(*at) >= MINUTE) {
        times.pop_front();
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
mod tests {
    use super::*;

    fn user(number: usize) -> Whose {
        Whose::Caller(BareJid::new(&format!("user{number}@localhost")).expect("a JID"))
    }

    #[test]
    fn no_minute_has_more_than_its_limit() {
        let (mut limits, begin) = (Limits::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        for (seconds, is_allowed) in
            [(0, true), (50, true), (51, false), (59, false), (60, true), (61, false), (110, true)]
        {
            assert_eq!(limits.attempt(user(1), 2, at(seconds)), is_allowed, "{seconds}");
        }
        assert!(limits.attempt(user(2), 2, at(110)), "others are counted apart");
        assert!((0..100).all(|_| limits.attempt(user(3), 0, at(110))));
        assert_eq!(limits.attempts.len(), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let (mut limits, begin) = (Limits::default(), Instant::now());
        assert!((0..MAX_COUNTED).all(|number| limits.attempt(user(number), 1, begin)));
        assert!(!limits.attempt(user(MAX_COUNTED), 1, begin));
        assert!(limits.attempt(user(MAX_COUNTED), 1, begin + MINUTE));
        assert_eq!(limits.attempts.len(), 1);
    }

    #[test]
    fn calls_of_a_trunk_are_counted_wherever_they_go() {
        let mut limits = Limits::default();
        limits.moved(None, Some("a"));
        limits.moved(Some("a"), Some("a"));
        limits.moved(Some("a"), Some("b"));
        assert_eq!((limits.calls("a"), limits.calls("b")), (0, 1));
        limits.moved(Some("b"), None);
        assert_eq!(limits.calls("b"), 0);
    }
}
