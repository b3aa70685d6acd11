//! AES in Galois/counter mode (RFC 7714).

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Bytes of the tag (RFC 7714 §13.2).
pub(super) const TAG_LENGTH: usize = 16;

/// The key of RTP or of RTCP.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: Zeroizing<[u8; 12]>,
}

impl Gcm {
    /// Takes a key of 16 or 32 bytes.
    pub(super) fn new(key: &[u8], salt: Zeroizing<[u8; 12]>) -> Self {
        let algorithm = if key.len() == 32 { &AES_256_GCM } else { &AES_128_GCM };
        let key = UnboundKey::new(algorithm, key).expect("session keys have 16 or 32 bytes");
        Self { key: LessSafeKey::new(key), salt }
    }

    /// Encrypts in place and gives the tag; `None` for more than 2^36 bytes.
    pub(super) fn seal(&self, ssrc: u32, index: u64, clear: &[u8], bytes: &mut [u8]) -> Option<[u8; TAG_LENGTH]> {
        let nonce = self.nonce(ssrc, index);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(clear), bytes).ok()?;
        tag.as_ref().try_into().ok()
    }

    /// Decrypts in place; false if the tag does not fit, and then `bytes` are lost.
    pub(super) fn open(&self, ssrc: u32, index: u64, clear: &[u8], tag: &[u8], bytes: &mut [u8]) -> bool {
        let nonce = self.nonce(ssrc, index);
        self.key.open_in_place_separate_tag(nonce, Aad::from(clear), tag, bytes).is_ok()
    }

    /// Two zero bytes, SSRC, packet index in 48 bits; all XOR the salt (RFC 7714 §8.1, §9.1).
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let [.., r0, r1, r2, r3, s0, s1] = index.to_be_bytes();
        let [c0, c1, c2, c3] = ssrc.to_be_bytes();
        let mut nonce = [0, 0, c0, c1, c2, c3, r0, r1, r2, r3, s0, s1];
        for (byte, salt) in nonce.iter_mut().zip(self.salt.iter()) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}
