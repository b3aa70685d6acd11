//! What belongs to a master key, for as long as it may come back.
//!
//! An offer may change the key and a later one change it back. Replay list, rollover counters and the number of packets
//! belong to the key (RFC 3711 §3.2.3, §9.2), on whatever terms it is used: neither master key identifier nor length of the
//! tag is authenticated, and a lifetime counts from the first packet.

use super::{MAX_FORMER_KEYS, MasterKey};

/// The master key in force and those before it, each with what belongs to it.
pub(super) struct Keyring<T> {
    current: T,
    key: MasterKey,
    /// At most [`MAX_FORMER_KEYS`]; the one in force last comes last.
    former: Vec<(MasterKey, T)>,
}

impl<T> Keyring<T> {
    /// Begins with a key.
    pub(super) fn new(key: &MasterKey, current: T) -> Self {
        Self { current, key: key.clone(), former: Vec::new() }
    }

    /// What belongs to the key in force.
    pub(super) const fn current(&self) -> &T {
        &self.current
    }

    /// The same, to be changed.
    pub(super) const fn current_mut(&mut self) -> &mut T {
        &mut self.current
    }

    /// What belongs to the key that was in force before.
    pub(super) fn last_mut(&mut self) -> Option<&mut T> {
        self.former.last_mut().map(|(_, last)| last)
    }

    /// Puts a key in force, with what belongs to it if it is remembered, else with something new. Says whether it is
    /// another key than before, not the same on other terms.
    pub(super) fn turn_to(&mut self, key: &MasterKey, new: impl FnOnce() -> T) -> bool {
        if self.key.is_same(key) {
            return false;
        }
        let known = self.former.iter().position(|(former, _)| former.is_same(key));
        let current = known.map_or_else(new, |place| self.former.remove(place).1);
        if self.former.len() == MAX_FORMER_KEYS {
            self.former.remove(0);
        }
        let last = std::mem::replace(&mut self.key, key.clone());
        self.former.push((last, std::mem::replace(&mut self.current, current)));
        true
    }
}
