//! A datagram inside a larger buffer, so that bytes can go and come at either end without a copy.

use std::ops::{Deref, DerefMut, Range};

/// The bytes of one datagram, with the room before and behind them in the buffer they were received into.
///
/// It reads and writes as the slice of its bytes.
#[derive(Debug)]
pub struct Packet<'b> {
    buffer: &'b mut [u8],
    start: usize,
    end: usize,
}

/// The buffer has no room for what a packet needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no room behind the packet")]
pub struct NoRoom;

impl<'b> Packet<'b> {
    /// Takes the first `length` bytes of a buffer; `None` if it is shorter.
    pub fn new(buffer: &'b mut [u8], length: usize) -> Option<Self> {
        (length <= buffer.len()).then_some(Self { buffer, start: 0, end: length })
    }

    /// Where the bytes lie in the buffer.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Bytes that can still be appended.
    pub fn tail_room(&self) -> usize {
        self.buffer.len() - self.end
    }

    /// Cuts the packet to `length` bytes, if it is longer.
    pub fn truncate(&mut self, length: usize) {
        self.end = self.end.min(self.start.saturating_add(length));
    }

    /// Gives the first `length` bytes (or all there are) back to the head room.
    pub fn advance(&mut self, length: usize) {
        self.start = self.end.min(self.start.saturating_add(length));
    }

    /// Appends bytes.
    ///
    /// # Errors
    ///
    /// The buffer ends before them; nothing is appended.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.end + bytes.len();
        self.buffer.get_mut(self.end..end).ok_or(NoRoom)?.copy_from_slice(bytes);
        self.end = end;
        Ok(())
    }

    /// Replaces the whole packet by other bytes.
    ///
    /// # Errors
    ///
    /// The buffer is shorter; the packet stays as it was.
    pub fn replace(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.start + bytes.len();
        self.buffer.get_mut(self.start..end).ok_or(NoRoom)?.copy_from_slice(bytes);
        self.end = end;
        Ok(())
    }
}

impl Deref for Packet<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }
}

impl DerefMut for Packet<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_never_leaves_its_buffer() {
        let mut buffer = *b"abcdef..";
        assert!(Packet::new(&mut buffer, 9).is_none());
        let mut packet = Packet::new(&mut buffer, 6).expect("six fit");
        packet.advance(2);
        packet.truncate(3);
        assert_eq!(&*packet, b"cde");
        assert_eq!(packet.append(b"1234"), Err(NoRoom));
        assert_eq!(packet.append(b"123"), Ok(()));
        assert_eq!(&*packet, b"cde123");
        assert_eq!(packet.range(), 2..8);
        packet.advance(100);
        assert!(packet.is_empty());
    }
}
