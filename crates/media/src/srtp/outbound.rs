//! The sending side.

use super::{MasterKey, Rollover, SrtpError};
use crate::{demux::Media, packet::Packet};

/// Seals what we send to one peer on one transport.
pub struct Outbound {}

impl Outbound {
    /// Begins with a master key.
    pub fn new(_key: &MasterKey) -> Self {
        Self {}
    }

    /// Encrypts a packet in place and appends its tag.
    ///
    /// # Errors
    ///
    /// The packet is to be dropped; its bytes may have changed.
    pub fn seal(&mut self, _packet: &mut Packet<'_>, _media: Media) -> Result<(), SrtpError> {
        Err(SrtpError::NoRoom)
    }

    /// Takes a new master key. Rollover counters and the SRTCP index go on (RFC 3711 §3.3.1, §3.2.1).
    pub fn rekey(&mut self, _key: &MasterKey) {}

    /// How far each source has come, to be kept with the key.
    pub fn rollovers(&self) -> impl Iterator<Item = Rollover> {
        std::iter::empty()
    }

    /// The SRTCP index that comes next, to be kept with the key.
    pub fn rtcp_index(&self) -> u32 {
        0
    }

    /// Goes on where an earlier life of the same key had come to: no index up to there is used again.
    pub fn resume(&mut self, _rollovers: &[Rollover], _rtcp_index: u32) {}
}
