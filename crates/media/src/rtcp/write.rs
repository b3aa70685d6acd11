//! Writing RTCP.

use model::Ssrc;

use super::{ReportBlock, RtcpError, SenderInfo, feedback, packet_type};

/// The most blocks or SSRCs that five bits can count.
const MAX_COUNT: usize = 31;

/// Writes a compound packet into a buffer, one packet after the other.
///
/// Every method fails with [`RtcpError::NoRoom`] if the buffer has no room for its packet, or the packet none for what
/// it is to hold; then nothing is added.
#[derive(Debug)]
pub struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl<'b> Writer<'b> {
    /// Begins at the start of a buffer.
    pub const fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Bytes written so far.
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Adds a sender report with at most 31 blocks (RFC 3550 §6.4.1).
    ///
    /// # Errors
    ///
    /// No room.
    pub fn sender_report(&mut self, ssrc: Ssrc, info: &SenderInfo, blocks: &[ReportBlock]) -> Result<(), RtcpError> {
        self.packet(packet_type::SR, |out| {
            out.word(ssrc.0)?;
            out.sender_info(info)?;
            out.blocks(blocks)
        })
    }

    /// Adds a receiver report with at most 31 blocks (RFC 3550 §6.4.2).
    ///
    /// # Errors
    ///
    /// No room.
    pub fn receiver_report(&mut self, ssrc: Ssrc, blocks: &[ReportBlock]) -> Result<(), RtcpError> {
        self.packet(packet_type::RR, |out| {
            out.word(ssrc.0)?;
            out.blocks(blocks)
        })
    }

    /// Adds a source description: one chunk with the canonical name (at most 255 bytes) for each of at most 31 SSRCs
    /// (RFC 3550 §6.5.1).
    ///
    /// # Errors
    ///
    /// No room.
    pub fn cname(&mut self, ssrcs: &[Ssrc], cname: &str) -> Result<(), RtcpError> {
        const CNAME: u8 = 1;
        let length = u8::try_from(cname.len()).map_err(|_| RtcpError::NoRoom)?;
        self.packet(packet_type::SDES, |out| {
            for ssrc in ssrcs {
                out.word(ssrc.0)?;
                out.bytes(&[CNAME, length])?;
                out.bytes(cname.as_bytes())?;
                // At least one null octet ends the chunk, and it ends on a word.
                out.bytes(&[0; 4][..4 - out.length % 4])?;
            }
            count(ssrcs.len())
        })
    }

    /// Adds a goodbye of at most 31 SSRCs (RFC 3550 §6.6).
    ///
    /// # Errors
    ///
    /// No room.
    pub fn bye(&mut self, ssrcs: &[Ssrc]) -> Result<(), RtcpError> {
        self.packet(packet_type::BYE, |out| {
            ssrcs.iter().try_for_each(|ssrc| out.word(ssrc.0))?;
            count(ssrcs.len())
        })
    }

    /// Adds a request for a new picture (RFC 4585 §6.3.1).
    ///
    /// # Errors
    ///
    /// No room.
    pub fn picture_loss(&mut self, sender: Ssrc, media: Ssrc) -> Result<(), RtcpError> {
        self.packet(packet_type::PSFB, |out| {
            out.word(sender.0)?;
            out.word(media.0)?;
            Ok(feedback::PLI)
        })
    }

    /// Adds a request for a new picture that the sender has to obey (RFC 5104 §4.3.1). The number is another one than
    /// that of the request before, unless this repeats it.
    ///
    /// # Errors
    ///
    /// No room.
    pub fn full_intra_request(&mut self, sender: Ssrc, media: Ssrc, number: u8) -> Result<(), RtcpError> {
        self.packet(packet_type::PSFB, |out| {
            [sender.0, 0, media.0].into_iter().try_for_each(|word| out.word(word))?;
            out.bytes(&[number, 0, 0, 0])?;
            Ok(feedback::FIR)
        })
    }

    /// Adds a packet whose body `write` adds; it returns the count, or takes everything back with an error.
    fn packet(
        &mut self,
        packet_type: u8,
        write: impl FnOnce(&mut Self) -> Result<u8, RtcpError>,
    ) -> Result<(), RtcpError> {
        let start = self.length;
        let written = self.open().and_then(|start| {
            let count = write(self)?;
            self.close(start, packet_type, count)
        });
        written.inspect_err(|_| self.truncate(start))
    }

    /// Begins a packet; what it returns is for [`Writer::close`].
    pub(super) fn open(&mut self) -> Result<usize, RtcpError> {
        let start = self.length;
        self.word(0)?;
        Ok(start)
    }

    /// Ends the packet that was begun at `start`: writes its first four bytes.
    pub(super) fn close(&mut self, start: usize, packet_type: u8, count: u8) -> Result<(), RtcpError> {
        const VERSION: u8 = 2 << 6;
        let words = u16::try_from((self.length - start) / 4 - 1).map_err(|_| RtcpError::NoRoom)?;
        let [high, low] = words.to_be_bytes();
        self.buffer[start..start + 4].copy_from_slice(&[VERSION | count, packet_type, high, low]);
        Ok(())
    }

    /// Changes a byte that was written.
    pub(super) fn set(&mut self, place: usize, byte: u8) {
        self.buffer[place] = byte;
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), RtcpError> {
        let end = self.length + bytes.len();
        self.buffer.get_mut(self.length..end).ok_or(RtcpError::NoRoom)?.copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    pub(super) fn word(&mut self, word: u32) -> Result<(), RtcpError> {
        self.bytes(&word.to_be_bytes())
    }

    pub(super) fn sender_info(&mut self, info: &SenderInfo) -> Result<(), RtcpError> {
        self.bytes(&info.ntp.to_be_bytes())?;
        [info.time.0, info.packets, info.octets].into_iter().try_for_each(|word| self.word(word))
    }

    pub(super) fn block(&mut self, block: &ReportBlock) -> Result<(), RtcpError> {
        self.bytes(&block.bytes())
    }

    /// Takes back what was written after some length.
    pub(super) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    fn blocks(&mut self, blocks: &[ReportBlock]) -> Result<u8, RtcpError> {
        blocks.iter().try_for_each(|block| self.block(block))?;
        count(blocks.len())
    }
}

/// A number that fits into the five bits of a header.
fn count(number: usize) -> Result<u8, RtcpError> {
    u8::try_from(number).ok().filter(|_| number <= MAX_COUNT).ok_or(RtcpError::NoRoom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_ends_with_a_null_octet_on_a_word() {
        for (cname, length) in [("", 12), ("a", 12), ("ab", 16), ("abcde", 16), ("abcdef", 20)] {
            let mut buffer = [0xFF; 64];
            let mut writer = Writer::new(&mut buffer);
            writer.cname(&[Ssrc(1)], cname).expect("room");
            assert_eq!(writer.length(), length, "{cname}");
            assert_eq!(buffer[length - 1], 0, "{cname}");
            assert_eq!(buffer[..4], [0x81, 202, 0, u8::try_from(length / 4 - 1).expect("small")]);
        }
    }

    #[test]
    fn what_does_not_fit_leaves_nothing_behind() {
        let mut buffer = [0; 20];
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(writer.picture_loss(Ssrc(1), Ssrc(2)), Ok(()));
        assert_eq!(writer.picture_loss(Ssrc(1), Ssrc(2)), Err(RtcpError::NoRoom));
        assert_eq!(writer.length(), 12);
        assert_eq!(writer.receiver_report(Ssrc(1), &[]), Ok(()));
        assert_eq!(writer.bye(&[Ssrc(1)]), Err(RtcpError::NoRoom));
        let mut buffer = [0; 2048];
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(writer.bye(&[Ssrc(1); 32]), Err(RtcpError::NoRoom), "five bits count to 31");
        assert_eq!(writer.cname(&[Ssrc(1)], &"x".repeat(256)), Err(RtcpError::NoRoom));
        assert_eq!(writer.length(), 0);
    }
}
