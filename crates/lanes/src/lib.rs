//! HMAC-SHA1 (RFC 2104) of many short messages side by side, each under its own key: one message per lane of a vector.
//!
//! A processor with AVX-512 hashes sixteen in little more time than one, with AVX2 eight. Which of them is used is found
//! out once, by [`Lanes::detect`]; every one gives the same codes. Where there are too few messages, or neither of the
//! two, messages are hashed one after the other by `sha1`, which uses the processor's instructions for SHA if it has any.
//!
//! ```
//! use lanes::{Key, Lanes, Message};
//!
//! let key = Key::new(&[0x0b; 20]);
//! let messages = [Some(Message { key: &key, bytes: b"Hi T", trailer: *b"here" }); 16];
//! let mut codes = [[0; 20]; 16];
//! Lanes::detect().authenticate(&messages, &mut codes);
//! assert_eq!(codes[7], key.code(b"Hi There", b""));
//! ```
//!
//! - `key`: the state after a key, and one message under it
//! - `plan`: which messages are hashed together
//! - `vector`: the arithmetic, and the only `unsafe`

mod key;
mod plan;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vectors are loaded through pointers, and their instructions are not everywhere")]
mod vector;

pub use key::Key;
pub use plan::Lanes;

/// Bytes of a code.
pub const CODE_LENGTH: usize = 20;

/// A message to be authenticated: some bytes, and four more which lie elsewhere (RFC 3711 §4.2: the rollover counter).
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Under which key.
    pub key: &'a Key,
    /// All but the last four bytes.
    pub bytes: &'a [u8],
    /// The last four bytes.
    pub trailer: [u8; 4],
}
