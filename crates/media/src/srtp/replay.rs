//! Which packet indices were used already (RFC 3711 §3.3.2).

/// A window over the indices up to the highest one used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    highest: u64,
    /// Bit n stands for `highest - n`.
    used: u128,
}

impl Window {
    /// Begins with the first index used.
    pub(super) const fn new(first: u64) -> Self {
        Self { highest: first, used: 1 }
    }

    /// Begins after a gap in our memory: nothing up to `highest` may be used again.
    pub(super) const fn closed_at(highest: u64) -> Self {
        Self { highest, used: u128::MAX }
    }

    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// Says whether an index was not used yet. One that lies before the window counts as used.
    pub(super) fn is_fresh(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(age) => age < u64::from(u128::BITS) && self.used >> age & 1 == 0,
        }
    }

    /// Marks an index as used.
    pub(super) fn insert(&mut self, index: u64) {
        if let Some(age) = self.highest.checked_sub(index) {
            self.used |= bit(age);
        } else {
            let steps = index - self.highest;
            self.used = u32::try_from(steps).ok().and_then(|steps| self.used.checked_shl(steps)).unwrap_or(0) | 1;
            self.highest = index;
        }
    }
}

fn bit(age: u64) -> u128 {
    u32::try_from(age).ok().and_then(|age| 1_u128.checked_shl(age)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_too_old_to_know_counts_as_used() {
        let mut window = Window::new(1000);
        assert!(window.is_fresh(1000 - 127));
        assert!(!window.is_fresh(1000 - 128));
        window.insert(5000);
        assert!(!window.is_fresh(1000));
        assert!(window.is_fresh(4999));
        assert!(!Window::closed_at(5).is_fresh(5));
        assert!(Window::closed_at(5).is_fresh(6));
    }

    proptest! {
        #[test]
        fn no_index_is_ever_fresh_twice(indices in prop::collection::vec(0_u64..400, 1..400)) {
            let mut window = Window::new(indices[0]);
            let mut used = HashSet::from([indices[0]]);
            for index in indices {
                if window.is_fresh(index) {
                    prop_assert!(used.insert(index));
                    window.insert(index);
                }
                prop_assert!(!window.is_fresh(index));
            }
        }
    }
}
