//! What a payload of ours says, so that its receiver can check it and measure.
//!
//! ```text
//!  0       4       8      12      16              24              32              40              48
//! | magic | trial | call  |  end  |   sequence    |   scheduled   |     sent      |     check     | filler ...
//! ```
//!
//! Numbers are big-endian, times are nanoseconds of `CLOCK_MONOTONIC`. The check covers what stands before it; the
//! filler is different for each flow.

use crate::trial::plan::Plan;

/// Marks a payload of ours.
const MAGIC: [u8; 4] = *b"stox";

/// Bytes before the filler.
pub(super) const LENGTH: usize = 48;
const _: () = assert!(LENGTH == Plan::SHORTEST_PAYLOAD as usize, "the shortest payload is a stamp");

/// What a payload says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    /// The trial, so that a packet of an earlier one is known.
    pub(super) trial: u32,
    /// The call.
    pub(super) call: u32,
    /// The end that sends: 0 or 1.
    pub(super) end: u32,
    /// Counts the packets of the flow, from 0.
    pub(super) sequence: u64,
    /// When it was due.
    pub(super) scheduled: u64,
    /// When it was written.
    pub(super) sent: u64,
}

/// A payload is not as we wrote it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Altered;

impl Stamp {
    /// Writes the whole payload: stamp and filler.
    pub(super) fn write(&self, payload: &mut [u8]) {
        let Some((stamp, filler)) = payload.split_at_mut_checked(LENGTH) else { return };
        stamp[..4].copy_from_slice(&MAGIC);
        stamp[4..8].copy_from_slice(&self.trial.to_be_bytes());
        stamp[8..12].copy_from_slice(&self.call.to_be_bytes());
        stamp[12..16].copy_from_slice(&self.end.to_be_bytes());
        stamp[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        stamp[24..32].copy_from_slice(&self.scheduled.to_be_bytes());
        stamp[32..40].copy_from_slice(&self.sent.to_be_bytes());
        stamp[40..48].copy_from_slice(&self.check().to_be_bytes());
        self.fill(filler);
    }

    /// Reads a payload of that many bytes and checks all of it.
    ///
    /// # Errors
    ///
    /// A byte of it changed, or there are more or fewer.
    pub(super) fn read(payload: &[u8], length: usize) -> Result<Self, Altered> {
        let (stamp, filler) = payload.split_at_checked(LENGTH).ok_or(Altered)?;
        let long = |at: usize| stamp[at..].first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let short = |at: usize| stamp[at..].first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        let read = Self {
            trial: short(4),
            call: short(8),
            end: short(12),
            sequence: long(16),
            scheduled: long(24),
            sent: long(32),
        };
        let intact = payload.len() == length && looks_like_ours(payload) && long(40) == read.check();
        if intact && read.filler_is_intact(filler) { Ok(read) } else { Err(Altered) }
    }

    fn check(&self) -> u64 {
        let owner = mix((u64::from(self.trial) << 32) ^ u64::from(self.call)) ^ u64::from(self.end);
        mix(mix(mix(owner) ^ self.sequence) ^ self.scheduled) ^ mix(self.sent)
    }

    /// The word that the filler repeats.
    fn filler(&self) -> [u8; 8] {
        mix((u64::from(self.call) << 1) ^ u64::from(self.end) ^ 0x5EED).to_be_bytes()
    }

    fn fill(&self, filler: &mut [u8]) {
        let word = self.filler();
        for chunk in filler.chunks_mut(word.len()) {
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    fn filler_is_intact(&self, filler: &[u8]) -> bool {
        let word = self.filler();
        filler.chunks(word.len()).all(|chunk| *chunk == word[..chunk.len()])
    }
}

/// Whether bytes begin as a payload of ours does.
pub(super) fn looks_like_ours(payload: &[u8]) -> bool {
    payload.starts_with(&MAGIC)
}

/// Makes of any number one that looks random (SplitMix64).
pub(super) const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_read_as_it_was_written_and_any_changed_byte_is_found() {
        let stamp = Stamp { trial: 7, call: 9, end: 1, sequence: 70_000, scheduled: 12, sent: 34 };
        let mut payload = [0; 161];
        stamp.write(&mut payload);
        assert_eq!(Stamp::read(&payload, 161), Ok(stamp));
        for at in 0..payload.len() {
            let mut changed = payload;
            changed[at] ^= 1;
            assert_eq!(Stamp::read(&changed, 161), Err(Altered), "byte {at}");
        }
    }

    #[test]
    fn a_payload_of_another_length_is_altered() {
        let mut payload = [0; 161];
        Stamp { trial: 7, call: 9, end: 1, sequence: 0, scheduled: 0, sent: 0 }.write(&mut payload);
        assert_eq!(Stamp::read(&payload[..160], 161), Err(Altered));
        assert_eq!(Stamp::read(&payload[..3], 3), Err(Altered));
    }
}
