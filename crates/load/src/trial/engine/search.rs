//! The search for the highest load: doubling until it is too much, then halving the distance.

/// How a step went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Within the limits.
    Passed,
    /// Beyond a limit.
    Failed,
}

/// Which load to try next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    most: u32,
    /// The highest that passed; 0 for none.
    passed: u32,
    /// The lowest that failed.
    failed: Option<u32>,
    next: u32,
}

impl Search {
    /// Calls of the first step.
    const FIRST: u32 = 25;

    /// Begins a search up to `most` calls.
    pub(super) fn new(most: u32) -> Self {
        Self { most, passed: 0, failed: None, next: Self::FIRST.min(most) }
    }

    /// The load to try, unless the highest is known: within two percent, or one call.
    pub(super) fn next(&self) -> Option<u32> {
        let known = match self.failed {
            Some(failed) => failed - self.passed <= (self.passed / 50).max(1),
            None => self.passed == self.most,
        };
        (!known).then_some(self.next)
    }

    /// Takes how the step went.
    pub(super) fn take(&mut self, calls: u32, outcome: Outcome) {
        match outcome {
            Outcome::Passed => self.passed = self.passed.max(calls),
            Outcome::Failed => self.failed = Some(self.failed.map_or(calls, |failed| failed.min(calls))),
        }
        self.next = match self.failed {
            None => self.passed.saturating_mul(2).min(self.most),
            Some(failed) => self.passed + (failed - self.passed.min(failed)) / 2,
        };
    }

    /// The highest load that passed.
    pub(super) fn best(&self) -> Option<u32> {
        (self.passed > 0).then_some(self.passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches at a relay that bears so many calls; says what was found and in how many steps.
    fn find(most: u32, capacity: u32) -> (Option<u32>, u32) {
        let mut search = Search::new(most);
        let mut steps = 0;
        while let Some(calls) = search.next() {
            assert!((1..=most).contains(&calls), "{calls} of {most}");
            search.take(calls, if calls <= capacity { Outcome::Passed } else { Outcome::Failed });
            steps += 1;
            assert!(steps < 60, "it ends");
        }
        (search.best(), steps)
    }

    #[test]
    fn the_highest_load_is_found_within_two_percent() {
        for capacity in [1, 2, 24, 25, 26, 100, 777, 4_000, 99_999] {
            let (found, steps) = find(100_000, capacity);
            let found = found.expect("one call passes");
            assert!(found <= capacity && capacity - found <= capacity / 49 + 1, "{found} for {capacity}");
            assert!(steps <= 25, "{steps} steps for {capacity}");
        }
    }

    #[test]
    fn nothing_above_the_most_is_tried() {
        assert_eq!(find(60, 1_000), (Some(60), 3));
        assert_eq!(find(3, 1_000), (Some(3), 1));
    }

    #[test]
    fn a_relay_that_bears_nothing_is_found_out() {
        assert_eq!(find(1_000, 0).0, None);
    }
}
