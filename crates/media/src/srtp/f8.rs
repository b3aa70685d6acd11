//! AES in f8 mode (RFC 3711 §4.1.2).

use zeroize::Zeroizing;

use super::counter::Keystream;
use crate::demux::Media;

const BLOCK: usize = 16;

/// The E flag of SRTCP.
const ENCRYPTED: u32 = 1 << 31;

/// AES in f8 mode for RTP or for RTCP.
pub(super) struct F8 {
    media: Media,
    key: Keystream,
    /// Encrypts what the keystream begins with.
    masked: Keystream,
}

impl F8 {
    /// Takes the session key and the session salt, which is masked up to the length of the key (RFC 3711 §4.1.2.1).
    pub(super) fn new(key: &[u8; BLOCK], salt: &[u8], media: Media) -> Self {
        let mut masked = Zeroizing::new(*key);
        let mask = salt.iter().copied().chain(std::iter::repeat(0x55));
        masked.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        Self { media, key: Keystream::new(key), masked: Keystream::new(masked.as_slice()) }
    }

    /// Encrypts or decrypts what stands behind the clear bytes of a packet with an index.
    pub(super) fn apply(&self, clear: &[u8], index: u64, bytes: &mut [u8]) {
        let start = block(&self.masked, self.start(clear, index));
        let mut stream = [0; BLOCK];
        for (number, part) in (0_u128..).zip(bytes.chunks_mut(BLOCK)) {
            let input = u128::from_be_bytes(start) ^ number ^ u128::from_be_bytes(stream);
            stream = block(&self.key, input.to_be_bytes());
            part.iter_mut().zip(stream).for_each(|(byte, stream)| *byte ^= stream);
        }
    }

    /// The vector that a packet begins with, made of what it says in clear (RFC 3711 §4.1.2.2, §4.1.2.3).
    fn start(&self, clear: &[u8], index: u64) -> [u8; BLOCK] {
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
        let mut start = [0; BLOCK];
        match self.media {
            Media::Rtp => {
                start[1..12].iter_mut().zip(clear.iter().skip(1)).for_each(|(byte, header)| *byte = *header);
                start[12..].copy_from_slice(&low(index >> 16).to_be_bytes());
            }
            Media::Rtcp => {
                start[4..8].copy_from_slice(&(ENCRYPTED | low(index)).to_be_bytes());
                start[8..].iter_mut().zip(clear).for_each(|(byte, header)| *byte = *header);
            }
        }
        start
    }
}

/// One block encrypted: the keystream that begins with it is just that.
fn block(key: &Keystream, block: [u8; BLOCK]) -> [u8; BLOCK] {
    let mut encrypted = [0; BLOCK];
    key.apply(block, &mut encrypted);
    encrypted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::unhex;

    #[test]
    fn a_packet_is_that_of_rfc_3711_b_1() {
        let key = unhex("234829008467be186c3de14aae72d62c");
        let f8 = F8::new(key.as_slice().try_into().expect("sixteen"), &unhex("32f2870d"), Media::Rtp);
        let header = unhex("806e5cba50681de55c621599");
        let mut payload = *b"pseudorandomness is the next best thing";
        f8.apply(&header, 0xd462_564a_5cba, &mut payload);
        let sealed = "019ce7a26e7854014a6366aa95d4eefd1ad4172a14f9faf455b7f1d4b62bd08f562c0eef7c4802";
        assert_eq!(payload.to_vec(), unhex(sealed));
        f8.apply(&header, 0xd462_564a_5cba, &mut payload);
        assert_eq!(&payload, b"pseudorandomness is the next best thing");
    }

    #[test]
    fn rtcp_begins_with_its_index_its_first_word_and_its_ssrc() {
        let f8 = F8::new(&[1; BLOCK], &[2; 14], Media::Rtcp);
        let start = f8.start(&unhex("81c8000bcafebabe"), 0x5d4);
        assert_eq!(start.to_vec(), unhex("00000000800005d481c8000bcafebabe"));
    }
}
