//! Random bytes of the kernel, some at a time: a call needs a dozen numbers, and a system call for each costs more than
//! they do.

/// Bytes taken from the kernel and not used yet.
pub(crate) struct RandomStore {
    bytes: [u8; STORE],
    /// How many of the first are left.
    left: usize,
}

/// What is taken at a time.
const STORE: usize = 512;

impl Default for RandomStore {
    fn default() -> Self {
        Self { bytes: [0; STORE], left: 0 }
    }
}

impl RandomStore {
    /// Fills a buffer. No byte is given out twice, and none stays behind.
    pub(crate) fn fill(&mut self, buffer: &mut [u8]) {
        for part in buffer.chunks_mut(STORE) {
            if part.len() > self.left {
                getrandom::fill(&mut self.bytes).expect("the kernel has randomness");
                self.left = STORE;
            }
            let given = &mut self.bytes[self.left - part.len()..self.left];
            part.copy_from_slice(given);
            given.fill(0);
            self.left -= part.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nothing_is_given_out_twice_and_nothing_stays_behind() {
        let mut store = RandomStore::default();
        let mut seen = HashSet::new();
        for length in [16, 30, 500, 13, STORE, 2 * STORE + 40, 64].repeat(20) {
            let mut buffer = vec![0; length];
            store.fill(&mut buffer);
            for part in buffer.chunks_exact(8) {
                assert!(seen.insert(part.to_vec()), "64 bits do not come twice by chance");
            }
            assert!(store.bytes[store.left..].iter().all(|byte| *byte == 0));
        }
    }
}
