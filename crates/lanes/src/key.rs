//! One key, and the code of one message.

use sha1::block_api::compress;
use zeroize::Zeroizing;

use crate::{CODE_LENGTH, Message};

/// Bytes of a block of SHA-1.
pub(crate) const BLOCK: usize = 64;

/// The state before the first block (FIPS 180-4 §5.3.1).
const INITIAL: State = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0];

pub(crate) type State = [u32; 5];

/// A key of HMAC-SHA1: the states after its two padded forms, computed once. It has no `Debug`.
#[derive(Clone)]
pub struct Key {
    pub(crate) inner: Zeroizing<State>,
    pub(crate) outer: Zeroizing<State>,
}

impl Key {
    /// Takes a key of twenty bytes, as long as a code.
    pub fn new(key: &[u8; CODE_LENGTH]) -> Self {
        let padded = |pad: u8| {
            let mut block = Zeroizing::new([pad; BLOCK]);
            for (byte, of_key) in block.iter_mut().zip(key) {
                *byte ^= of_key;
            }
            let mut state = Zeroizing::new(INITIAL);
            compress(&mut state, &[*block]);
            state
        };
        Self { inner: padded(0x36), outer: padded(0x5C) }
    }

    /// The code of `bytes` followed by `trailer`, which has at most 55 bytes.
    pub fn code(&self, bytes: &[u8], trailer: &[u8]) -> [u8; CODE_LENGTH] {
        let mut state = *self.inner;
        compress(&mut state, bytes.as_chunks().0);
        let (end, blocks) = end(bytes, trailer);
        compress(&mut state, &end[..blocks]);
        let digest = to_bytes(state);
        let mut state = *self.outer;
        compress(&mut state, &self::end(&digest, &[]).0[..1]);
        to_bytes(state)
    }
}

impl Message<'_> {
    /// Its code, by itself.
    pub fn code(&self) -> [u8; CODE_LENGTH] {
        self.key.code(self.bytes, &self.trailer)
    }

    /// Blocks behind that of the key.
    pub(crate) const fn blocks(&self) -> usize {
        (self.bytes.len() + self.trailer.len() + PADDING).div_ceil(BLOCK)
    }
}

/// The least that is appended to a message: one bit, and its length.
const PADDING: usize = 1 + 8;

/// The last blocks of a message that follows the block of a key: what is left of it, the trailer and the padding. One
/// block or two.
pub(crate) fn end(bytes: &[u8], trailer: &[u8]) -> ([[u8; BLOCK]; 2], usize) {
    let left = bytes.as_chunks::<BLOCK>().1;
    let length = left.len() + trailer.len();
    let blocks = (length + PADDING).div_ceil(BLOCK);
    let mut end = [[0; BLOCK]; 2];
    let flat = end.as_flattened_mut();
    flat[..left.len()].copy_from_slice(left);
    flat[left.len()..length].copy_from_slice(trailer);
    flat[length] = 0x80;
    let bits = 8 * (BLOCK + bytes.len() + trailer.len()) as u64;
    flat[blocks * BLOCK - 8..blocks * BLOCK].copy_from_slice(&bits.to_be_bytes());
    (end, blocks)
}

pub(crate) fn to_bytes(state: State) -> [u8; CODE_LENGTH] {
    let mut bytes = [0; CODE_LENGTH];
    for (four, word) in bytes.as_chunks_mut().0.iter_mut().zip(state) {
        *four = word.to_be_bytes();
    }
    bytes
}

/// Says whether one message after the other is hashed by the processor's instructions for SHA.
pub(crate) fn has_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3");
    #[cfg(not(target_arch = "x86_64"))]
    return true;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_does_not_depend_on_where_the_trailer_begins() {
        let key = Key::new(&[7; 20]);
        let message: Vec<u8> = (0..200).collect();
        for length in 4..message.len() {
            let (bytes, trailer) = message[..length].split_at(length - 4);
            assert_eq!(key.code(bytes, trailer), key.code(&message[..length], &[]), "{length} bytes");
        }
    }
}
