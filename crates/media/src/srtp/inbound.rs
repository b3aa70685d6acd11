//! The receiving side.

use super::{MasterKey, Rollover, SrtpError};
use crate::{demux::Media, packet::Packet};

/// Opens what one peer sends on one transport.
pub struct Inbound {}

impl Inbound {
    /// Begins with a master key.
    pub fn new(_key: &MasterKey) -> Self {
        Self {}
    }

    /// Authenticates, decrypts and shortens a packet in place.
    ///
    /// # Errors
    ///
    /// The packet is to be dropped; nothing was learnt from it, and its bytes may have changed.
    pub fn open(&mut self, _packet: &mut Packet<'_>, _media: Media) -> Result<(), SrtpError> {
        Err(SrtpError::Authentication)
    }

    /// Takes a new master key. The old one is still accepted until [`Inbound::forget_previous`].
    pub fn rekey(&mut self, _key: &MasterKey) {}

    /// Stops accepting the key before the last [`Inbound::rekey`].
    pub fn forget_previous(&mut self) {}

    /// How far each source has come, to be kept with the key.
    pub fn rollovers(&self) -> impl Iterator<Item = Rollover> {
        std::iter::empty()
    }

    /// Goes on where an earlier life of the same key had come to: nothing up to there is accepted again.
    pub fn resume(&mut self, _rollovers: &[Rollover]) {}
}
