//! Names for calls, legs and streams.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A call: the whole conversation being bridged. Random, never derived from a Jingle `sid` or a SIP Call-ID.
///
/// Shown as sixteen hexadecimal digits, which is how it appears on log lines.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct CallId(u64);

impl From<u64> for CallId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<CallId> for u64 {
    fn from(id: CallId) -> Self {
        id.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One side of a call, unique within it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct LegId(pub u16);

/// One medium within a call. The same number on every leg: stream 0 of one leg is forwarded to stream 0 of the other.
///
/// What a leg calls the stream on the wire (`a=mid`, content name) is [`crate::MediaStream::name`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct StreamId(pub u16);
