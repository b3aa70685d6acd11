//! What a request says, before it is known whether that is enough for its command.

use std::net::IpAddr;

use model::DtmfDigit;

use super::options::{Options, ProfilePart};
use super::words::Set;
use super::{All, DtmfSecurity};

/// The value of every key that was read.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) call_id: Option<String>,
    pub(super) from_tag: Option<String>,
    pub(super) to_tag: Option<String>,
    pub(super) via_branch: Option<String>,
    pub(super) label: Option<String>,
    pub(super) to_label: Option<String>,
    pub(super) set_label: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) all: Option<All>,
    pub(super) sdp: Option<String>,
    pub(super) options: Options,
    pub(super) profile_parts: Set<ProfilePart>,
    /// Seconds.
    pub(super) delete_delay: Option<u32>,
    pub(super) limit: Option<u32>,
    pub(super) generation: Option<u32>,
    pub(super) dtmf_security: Option<DtmfSecurity>,
    pub(super) digit: Option<DtmfDigit>,
    /// Milliseconds.
    pub(super) duration: Option<u16>,
    /// Milliseconds.
    pub(super) pause: Option<u16>,
    /// dBm0.
    pub(super) volume: Option<i8>,
}
