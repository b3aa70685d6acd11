//! AES in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1; RFC 6188 for 192 and 256 bits).

use aws_lc_rs::{
    cipher::{AES_128, AES_192, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey},
    constant_time,
};
use lanes::{CODE_LENGTH, Key};
use zeroize::Zeroizing;

/// The AES counter-mode keystream of one key; the key schedule is computed once.
pub(super) struct Keystream(EncryptingKey);

impl Keystream {
    /// Takes a key of 16, 24 or 32 bytes.
    pub(super) fn new(key: &[u8]) -> Self {
        let algorithm = match key.len() {
            32 => &AES_256,
            24 => &AES_192,
            _ => &AES_128,
        };
        let key = UnboundCipherKey::new(algorithm, key).and_then(EncryptingKey::ctr);
        Self(key.expect("session keys have 16, 24 or 32 bytes"))
    }

    /// Adds the keystream that begins at a counter block to some bytes.
    pub(super) fn apply(&self, counter: [u8; 16], bytes: &mut [u8]) {
        let context = EncryptionContext::Iv128(counter.into());
        self.0.less_safe_encrypt(bytes, context).expect("counter mode takes any number of bytes");
    }
}

/// Encryption and authentication keys of RTP or of RTCP.
pub(super) struct CounterMode {
    keystream: Keystream,
    /// Session salt, shifted 16 bits up: the counter block of SSRC 0 and index 0.
    salt: Zeroizing<u128>,
    authentication: Key,
    tag_length: usize,
}

impl CounterMode {
    pub(super) fn new(key: &[u8], salt: &[u8; 14], authentication: &[u8; CODE_LENGTH], tag_length: usize) -> Self {
        let salt = salt.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)) << 16;
        Self {
            keystream: Keystream::new(key),
            salt: Zeroizing::new(salt),
            authentication: Key::new(authentication),
            tag_length,
        }
    }

    pub(super) const fn tag_length(&self) -> usize {
        self.tag_length
    }

    /// Encrypts or decrypts the packet of an SSRC and index.
    pub(super) fn apply(&self, ssrc: u32, index: u64, bytes: &mut [u8]) {
        let counter = *self.salt ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16;
        self.keystream.apply(counter.to_be_bytes(), bytes);
    }

    /// What makes tags.
    pub(super) const fn authentication(&self) -> &Key {
        &self.authentication
    }

    /// The tag over some bytes and a trailer that is not sent; only the first [`CounterMode::tag_length`] bytes count.
    pub(super) fn tag(&self, bytes: &[u8], trailer: &[u8]) -> [u8; CODE_LENGTH] {
        self.authentication.code(bytes, trailer)
    }

    /// Compares a tag in constant time.
    pub(super) fn verify(&self, expected: &[u8; CODE_LENGTH], tag: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&expected[..self.tag_length], tag).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::unhex;

    const RFC_3711_COUNTER: u128 = 0xF0F1_F2F3_F4F5_F6F7_F8F9_FAFB_FCFD_0000;

    fn keystream(key: &str, block: u128) -> Vec<u8> {
        let mut bytes = [0; 48];
        Keystream::new(&unhex(key)).apply((RFC_3711_COUNTER + block).to_be_bytes(), &mut bytes);
        bytes.to_vec()
    }

    #[test]
    fn the_keystream_is_that_of_rfc_3711_b_2() {
        let key = "2B7E151628AED2A6ABF7158809CF4F3C";
        assert_eq!(
            keystream(key, 0),
            unhex("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB41E95B3BB0A2E8DD477901E4FCA894C0")
        );
        assert_eq!(
            keystream(key, 0xFEFF),
            unhex("EC8CDF7398607CB0F2D21675EA9EA1E4362B7C3C6773516318A077D7FC5073AE6A2CC3787889374FBEB4C81B17BA6C44")
        );
    }

    #[test]
    fn the_keystream_of_256_bits_is_that_of_rfc_6188_7_1() {
        let key = "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98";
        assert_eq!(keystream(key, 0)[..16], unhex("92bdd28a93c3f52511c677d08b5515a4"));
    }

    #[test]
    fn the_keystream_of_192_bits_is_that_of_rfc_6188_7_3() {
        let key = "eab234764e517b2d3d160d587d8c86219740f65f99b6bcf7";
        assert_eq!(keystream(key, 0)[..16], unhex("35096cba4610028dc1b57503804ce37c"));
    }
}
