//! The numbers of RTP that signalling names.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// RTP payload type, seven bits on the wire (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct PayloadType(u8);

/// A number above 127 is no payload type.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("payload type {0} is above 127")]
pub struct PayloadTypeError(u8);

impl TryFrom<u8> for PayloadType {
    type Error = PayloadTypeError;

    fn try_from(number: u8) -> Result<Self, PayloadTypeError> {
        if number > 127 { Err(PayloadTypeError(number)) } else { Ok(Self(number)) }
    }
}

impl From<PayloadType> for u8 {
    fn from(payload_type: PayloadType) -> Self {
        payload_type.0
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Synchronisation source, a random number that names a stream of packets (RFC 3550 §3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
