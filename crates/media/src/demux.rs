//! What arrived on a socket, by its first bytes (RFC 7983 §7, RFC 5761 §4).

/// The protocol of a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// STUN: first byte 0 to 3, and a header that holds together.
    Stun,
    /// DTLS: first byte 20 to 63.
    Dtls,
    /// RTP or RTCP, plain or protected: first byte 128 to 191.
    Media,
}

impl Protocol {
    /// Tells the protocol of a datagram.
    ///
    /// # Errors
    ///
    /// It is none that we speak.
    pub fn of(datagram: &[u8]) -> Result<Self, DemuxError> {
        match datagram.first().ok_or(DemuxError::Empty)? {
            0..=3 => check_stun(datagram).map(|()| Self::Stun),
            16..=19 => Err(DemuxError::Zrtp),
            20..=63 => Ok(Self::Dtls),
            64..=79 => Err(DemuxError::TurnChannel),
            128..=191 => Ok(Self::Media),
            4..=15 | 80..=127 | 192..=255 => Err(DemuxError::Unknown),
        }
    }
}

/// The header of a STUN message and its length (RFC 8489 §5).
fn check_stun(datagram: &[u8]) -> Result<(), DemuxError> {
    const HEADER: usize = 20;
    const COOKIE: [u8; 4] = 0x2112_A442_u32.to_be_bytes();
    let [_, _, high, low, c0, c1, c2, c3, ..] = *datagram else { return Err(DemuxError::Stun) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = length % 4 == 0 && datagram.len() == HEADER + length;
    if whole && [c0, c1, c2, c3] == COOKIE { Ok(()) } else { Err(DemuxError::Stun) }
}

/// The two kinds of media packet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Media {
    /// Media itself.
    Rtp,
    /// Reports and feedback about it.
    Rtcp,
}

impl Media {
    /// Tells RTCP from RTP where both share a port: its second byte is 192 to 223 (RFC 5761 §4).
    ///
    /// Where they do not share one, the port tells, and must be asked instead: there RTP may use payload types 64 to 95.
    pub fn of(datagram: &[u8]) -> Self {
        match datagram.get(1) {
            Some(192..=223) => Self::Rtcp,
            Some(0..=191 | 224..=255) | None => Self::Rtp,
        }
    }
}

/// Why a datagram belongs to no protocol that we speak.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DemuxError {
    /// It has no bytes.
    #[error("empty datagram")]
    Empty,
    /// It begins like STUN, but length or magic cookie are wrong.
    #[error("malformed STUN header")]
    Stun,
    /// ZRTP, which we do not speak.
    #[error("ZRTP")]
    Zrtp,
    /// TURN ChannelData, which we never ask for.
    #[error("TURN channel data")]
    TurnChannel,
    /// A first byte that is nobody's.
    #[error("unknown protocol")]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_decides() {
        let protocol = |first: u8| Protocol::of(&[first, 0, 0, 0]);
        for first in 0..=255 {
            let expected = match first {
                0..=3 => Err(DemuxError::Stun),
                16..=19 => Err(DemuxError::Zrtp),
                20..=63 => Ok(Protocol::Dtls),
                64..=79 => Err(DemuxError::TurnChannel),
                128..=191 => Ok(Protocol::Media),
                _ => Err(DemuxError::Unknown),
            };
            assert_eq!(protocol(first), expected, "first byte {first}");
        }
        assert_eq!(Protocol::of(&[]), Err(DemuxError::Empty));
    }

    #[test]
    fn stun_needs_its_cookie_and_an_honest_length() {
        let mut message = [0; 24];
        message[..8].copy_from_slice(&[0, 1, 0, 4, 0x21, 0x12, 0xA4, 0x42]);
        assert_eq!(Protocol::of(&message), Ok(Protocol::Stun));
        assert_eq!(Protocol::of(&message[..20]), Err(DemuxError::Stun));
        message[4] = 0;
        assert_eq!(Protocol::of(&message), Err(DemuxError::Stun));
    }

    #[test]
    fn rtcp_is_told_by_its_second_byte() {
        assert_eq!(Media::of(&[0x80, 200]), Media::Rtcp);
        assert_eq!(Media::of(&[0x80, 191]), Media::Rtp);
        assert_eq!(Media::of(&[0x80, 224]), Media::Rtp);
        assert_eq!(Media::of(&[0x80, 0x80 | 111]), Media::Rtp);
    }
}
