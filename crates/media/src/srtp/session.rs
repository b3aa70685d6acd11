//! The session keys under one master key, and the two packet formats they make.
//!
//! ```text
//! SRTP   counter mode   header | encrypted payload | MKI | tag             tag also covers the rollover counter
//!        GCM            header | encrypted payload | tag | MKI             header is authenticated
//! SRTCP  counter mode   8 bytes | encrypted | E, index | MKI | tag
//!        GCM            8 bytes | encrypted | tag | E, index | MKI         8 bytes, E and index are authenticated
//! ```

use lanes::{CODE_LENGTH, Message};
use model::SrtpSuite;

use super::{
    MasterKey, SrtpError,
    counter::CounterMode,
    gcm::{Gcm, TAG_LENGTH},
    kdf::{Label, derive},
    tag::{Tag, Untagged},
};
use crate::{demux::Media, packet::Packet, rtp::ExtSeqNo};

/// Bytes of an RTCP packet that stay clear: header and SSRC (RFC 3711 §3.4).
pub(super) const RTCP_CLEAR: usize = 8;

const INDEX_LENGTH: usize = 4;
const ENCRYPTED: u32 = 1 << 31;

/// The keys that protect RTP and RTCP in one direction.
pub(super) struct Session {
    rtp: Protection,
    rtcp: Protection,
    mki: Vec<u8>,
    /// RTCP goes in clear, and may come so.
    unencrypted_srtcp: bool,
}

#[expect(clippy::large_enum_variant, reason = "two per direction of a transport; a box would cost every packet a step")]
enum Protection {
    CounterMode(CounterMode),
    Gcm(Gcm),
}

impl Session {
    pub(super) fn new(master: &MasterKey) -> Self {
        const RTP: [Label; 3] = [Label::RtpEncryption, Label::RtpAuthentication, Label::RtpSalt];
        const RTCP: [Label; 3] = [Label::RtcpEncryption, Label::RtcpAuthentication, Label::RtcpSalt];
        Self {
            rtp: Protection::derive(master, RTP, Media::Rtp),
            rtcp: Protection::derive(master, RTCP, Media::Rtcp),
            mki: master.mki.clone(),
            unencrypted_srtcp: master.unencrypted_srtcp,
        }
    }

    /// Says whether a packet carries our master key identifier.
    pub(super) fn is_meant_by(&self, packet: &[u8], media: Media) -> bool {
        if self.mki.is_empty() {
            return true;
        }
        let behind = match self.protection(media) {
            Protection::CounterMode(keys) => keys.tag_length(),
            Protection::Gcm(_) => 0,
        };
        packet.len().checked_sub(behind).is_some_and(|end| packet[..end].ends_with(&self.mki))
    }

    /// Says whether tag, index and MKI fit behind a packet.
    pub(super) fn fits(&self, packet: &Packet<'_>, media: Media) -> bool {
        packet.tail_room() >= self.overhead(media)
    }

    /// Encrypts; in counter mode the tag is left to be computed.
    pub(super) fn seal_rtp(
        &self,
        packet: &mut Packet<'_>,
        header: usize,
        ssrc: u32,
        index: ExtSeqNo,
    ) -> Result<Option<Untagged>, SrtpError> {
        let (clear, payload) = packet.split_at_mut_checked(header).ok_or(SrtpError::Malformed)?;
        match &self.rtp {
            Protection::CounterMode(keys) => {
                keys.apply(ssrc, index.index(), payload);
                let authenticated = packet.len();
                packet.append(&self.mki)?;
                let place = packet.len()..packet.len() + keys.tag_length();
                packet.append(&[0; CODE_LENGTH][..keys.tag_length()])?;
                let rollovers = index.rollovers().to_be_bytes();
                let key = keys.authentication().clone();
                return Ok(Some(Untagged { key, rollovers, authenticated, place }));
            }
            Protection::Gcm(keys) => {
                let tag = keys.seal(ssrc, index.index(), clear, payload).ok_or(SrtpError::Malformed)?;
                packet.append(&tag)?;
                packet.append(&self.mki)?;
            }
        }
        Ok(None)
    }

    /// What the tag of a packet is computed of; nothing where there is more to it than that.
    pub(super) fn message<'a>(&'a self, packet: &'a [u8], index: ExtSeqNo) -> Option<Message<'a>> {
        match &self.rtp {
            Protection::CounterMode(keys) => {
                let end = packet.len().checked_sub(self.overhead(Media::Rtp))?;
                let trailer = index.rollovers().to_be_bytes();
                Some(Message { key: keys.authentication(), bytes: &packet[..end], trailer })
            }
            Protection::Gcm(_) => None,
        }
    }

    /// Checks the tag, for which one may have been computed ahead, and decrypts.
    pub(super) fn open_rtp(
        &self,
        packet: &mut Packet<'_>,
        header: usize,
        ssrc: u32,
        index: ExtSeqNo,
        ahead: Option<&Tag>,
    ) -> Sealed {
        let end = packet.len().checked_sub(self.overhead(Media::Rtp)).ok_or(SrtpError::Malformed)?;
        if end < header {
            return Err(SrtpError::Malformed);
        }
        let (bytes, behind) = packet.split_at_mut(end);
        let authentic = match &self.rtp {
            Protection::CounterMode(keys) => {
                let rollovers = index.rollovers().to_be_bytes();
                let ahead = ahead.and_then(|tag| tag.under(rollovers));
                let expected = ahead.copied().unwrap_or_else(|| keys.tag(bytes, &rollovers));
                keys.verify(&expected, &behind[self.mki.len()..]) && {
                    keys.apply(ssrc, index.index(), &mut bytes[header..]);
                    true
                }
            }
            Protection::Gcm(keys) => {
                let (clear, payload) = bytes.split_at_mut(header);
                keys.open(ssrc, index.index(), clear, &behind[..TAG_LENGTH], payload)
            }
        };
        if !authentic {
            return Err(SrtpError::Authentication);
        }
        packet.truncate(end);
        Ok(())
    }

    /// Encrypts, unless RTCP goes in clear, and appends tag and index.
    pub(super) fn seal_rtcp(&self, packet: &mut Packet<'_>, ssrc: u32, index: u32) -> Sealed {
        if packet.len() < RTCP_CLEAR {
            return Err(SrtpError::Malformed);
        }
        let number = u64::from(index);
        let word = RtcpIndex { index, encrypted: !self.unencrypted_srtcp }.word();
        let clear = if self.unencrypted_srtcp { packet.len() } else { RTCP_CLEAR };
        match &self.rtcp {
            Protection::CounterMode(keys) => {
                keys.apply(ssrc, number, &mut packet[clear..]);
                packet.append(&word)?;
                let tag = keys.tag(packet, &[]);
                packet.append(&self.mki)?;
                packet.append(&tag[..keys.tag_length()])?;
            }
            Protection::Gcm(keys) => {
                let end = packet.len();
                packet.append(&word)?;
                let tag = with_word(packet, word, clear, |clear, rest| keys.seal(ssrc, number, clear, rest));
                packet.truncate(end);
                packet.append(&tag.flatten().ok_or(SrtpError::Malformed)?)?;
                packet.append(&word)?;
                packet.append(&self.mki)?;
            }
        }
        Ok(())
    }

    /// The SRTCP index that a packet claims.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Result<RtcpIndex, SrtpError> {
        let behind = match &self.rtcp {
            Protection::CounterMode(keys) => keys.tag_length() + self.mki.len(),
            Protection::Gcm(_) => self.mki.len(),
        };
        if packet.len() < RTCP_CLEAR + self.overhead(Media::Rtcp) {
            return Err(SrtpError::Malformed);
        }
        let word = packet[..packet.len() - behind].last_chunk().ok_or(SrtpError::Malformed)?;
        let claimed = RtcpIndex::of(*word);
        if claimed.encrypted || self.unencrypted_srtcp { Ok(claimed) } else { Err(SrtpError::Unencrypted) }
    }

    pub(super) fn open_rtcp(&self, packet: &mut Packet<'_>, ssrc: u32, claimed: RtcpIndex) -> Sealed {
        let end = packet.len().checked_sub(self.overhead(Media::Rtcp)).ok_or(SrtpError::Malformed)?;
        if end < RTCP_CLEAR {
            return Err(SrtpError::Malformed);
        }
        let number = u64::from(claimed.index);
        let clear = if claimed.encrypted { RTCP_CLEAR } else { end };
        let authentic = match &self.rtcp {
            Protection::CounterMode(keys) => {
                let (bytes, behind) = packet.split_at_mut(end + INDEX_LENGTH);
                keys.verify(&keys.tag(bytes, &[]), &behind[self.mki.len()..]) && {
                    keys.apply(ssrc, number, &mut bytes[clear..end]);
                    true
                }
            }
            Protection::Gcm(keys) => {
                let tag: [u8; TAG_LENGTH] = *packet[end..].first_chunk().ok_or(SrtpError::Malformed)?;
                let bytes = &mut packet[..end + INDEX_LENGTH];
                let open = |clear: &[u8], rest: &mut [u8]| keys.open(ssrc, number, clear, &tag, rest);
                with_word(bytes, claimed.word(), clear, open).unwrap_or(false)
            }
        };
        if !authentic {
            return Err(SrtpError::Authentication);
        }
        packet.truncate(end);
        Ok(())
    }

    /// Bytes behind the encrypted part.
    fn overhead(&self, media: Media) -> usize {
        let tag = match self.protection(media) {
            Protection::CounterMode(keys) => keys.tag_length(),
            Protection::Gcm(_) => TAG_LENGTH,
        };
        let index = match media {
            Media::Rtp => 0,
            Media::Rtcp => INDEX_LENGTH,
        };
        tag + index + self.mki.len()
    }

    const fn protection(&self, media: Media) -> &Protection {
        match media {
            Media::Rtp => &self.rtp,
            Media::Rtcp => &self.rtcp,
        }
    }
}

type Sealed = Result<(), SrtpError>;

/// Lets GCM have the part of an RTCP packet that stays clear, behind which it authenticates the word with E flag and
/// index, and the rest (RFC 7714 §9.2, §9.3). Behind the packet there is space for the word.
fn with_word<T>(
    bytes: &mut [u8],
    word: [u8; INDEX_LENGTH],
    clear: usize,
    run: impl FnOnce(&[u8], &mut [u8]) -> T,
) -> Option<T> {
    let (packet, space) = bytes.split_last_chunk_mut::<INDEX_LENGTH>()?;
    if clear == packet.len() {
        *space = word;
        return Some(run(bytes, &mut []));
    }
    let (clear, rest) = packet.split_first_chunk_mut::<RTCP_CLEAR>()?;
    let mut first = [0; RTCP_CLEAR + INDEX_LENGTH];
    first[..RTCP_CLEAR].copy_from_slice(clear);
    first[RTCP_CLEAR..].copy_from_slice(&word);
    Some(run(&first, rest))
}

/// What an SRTCP packet says of itself (RFC 3711 §3.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RtcpIndex {
    pub(super) index: u32,
    /// The E flag.
    pub(super) encrypted: bool,
}

impl RtcpIndex {
    const fn of(word: [u8; INDEX_LENGTH]) -> Self {
        let word = u32::from_be_bytes(word);
        Self { index: word & !ENCRYPTED, encrypted: word & ENCRYPTED != 0 }
    }

    const fn word(self) -> [u8; INDEX_LENGTH] {
        let flag = if self.encrypted { ENCRYPTED } else { 0 };
        (flag | self.index).to_be_bytes()
    }
}

impl Protection {
    fn derive(master: &MasterKey, [encryption, authentication, salt]: [Label; 3], media: Media) -> Self {
        let key = derive::<32>(master, encryption);
        let key = &key[..master.key.len()];
        let tag_length = match (master.suite, media) {
            (SrtpSuite::AeadAes128Gcm | SrtpSuite::AeadAes256Gcm, _) => {
                return Self::Gcm(Gcm::new(key, derive(master, salt)));
            }
            (SrtpSuite::Aes256CmSha1_32 | SrtpSuite::Aes192CmSha1_32 | SrtpSuite::AesCm128Sha1_32, Media::Rtp) => 4,
            (SrtpSuite::Aes256CmSha1_80 | SrtpSuite::Aes192CmSha1_80 | SrtpSuite::AesCm128Sha1_80, _)
            | (SrtpSuite::Aes256CmSha1_32 | SrtpSuite::Aes192CmSha1_32 | SrtpSuite::AesCm128Sha1_32, Media::Rtcp) => 10,
        };
        Self::CounterMode(CounterMode::new(key, &derive(master, salt), &derive(master, authentication), tag_length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::{RTCP, RTP, unhex};

    struct Vector {
        suite: SrtpSuite,
        key: &'static str,
        salt: &'static str,
    }

    const RFC_3711: Vector = Vector {
        suite: SrtpSuite::AesCm128Sha1_80,
        key: "E1F97A0D3E018BE0D64FA32C06DE4139",
        salt: "0EC675AD498AFEEBB6960B3AABE6",
    };
    const RFC_6188: Vector = Vector {
        suite: SrtpSuite::Aes256CmSha1_80,
        key: "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6",
        salt: "3b04803de51ee7c96423ab5b78d2",
    };
    const GCM_128: Vector = Vector {
        suite: SrtpSuite::AeadAes128Gcm,
        key: "000102030405060708090a0b0c0d0e0f",
        salt: "a0a1a2a3a4a5a6a7a8a9aaab",
    };
    const GCM_256: Vector = Vector {
        suite: SrtpSuite::AeadAes256Gcm,
        key: "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        salt: "a0a1a2a3a4a5a6a7a8a9aaab",
    };

    impl Vector {
        fn session(&self) -> Session {
            let master = MasterKey::new(self.suite, &unhex(self.key), &unhex(self.salt));
            Session::new(&master.expect("lengths of the suite"))
        }

        fn rtp(&self, rollovers: u32) -> String {
            let session = self.session();
            let index = ExtSeqNo::new(rollovers, crate::rtp::SeqNo(0x1234));
            both_ways(
                &unhex(RTP),
                |packet| seal_rtp(&session, packet, 0xcafe_babe, index),
                |packet| session.open_rtp(packet, 12, 0xcafe_babe, index, None),
            )
        }

        fn rtcp(&self) -> String {
            let session = self.session();
            both_ways(
                &unhex(RTCP),
                |packet| session.seal_rtcp(packet, 0xcafe_babe, 1),
                |packet| {
                    let claimed = session.rtcp_index(packet)?;
                    assert_eq!(claimed, RtcpIndex { index: 1, encrypted: true });
                    session.open_rtcp(packet, 0xcafe_babe, claimed)
                },
            )
        }
    }

    fn seal_rtp(session: &Session, packet: &mut Packet<'_>, ssrc: u32, index: ExtSeqNo) -> Sealed {
        if let Some(untagged) = session.seal_rtp(packet, 12, ssrc, index)? {
            let code = untagged.message(packet).code();
            untagged.complete(packet, &code);
        }
        Ok(())
    }

    /// Seals a packet, opens it again, and gives the sealed form.
    fn both_ways(
        plain: &[u8],
        seal: impl Fn(&mut Packet<'_>) -> Sealed,
        open: impl Fn(&mut Packet<'_>) -> Sealed,
    ) -> String {
        let mut buffer = [0; 128];
        buffer[..plain.len()].copy_from_slice(plain);
        let mut packet = Packet::new(&mut buffer, plain.len()).expect("it fits");
        seal(&mut packet).expect("it seals");
        let sealed = packet.iter().map(|byte| format!("{byte:02x}")).collect();
        open(&mut packet).expect("it opens");
        assert_eq!(&*packet, plain);
        sealed
    }

    /// The first is the packet of libsrtp's own validation test; the others were computed from RFC 3711 and RFC 6188.
    #[test]
    fn whole_packets_in_counter_mode() {
        let sealed = "800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb";
        assert_eq!(RFC_3711.rtp(0), sealed);
        let short = Vector { suite: SrtpSuite::AesCm128Sha1_32, ..RFC_3711 };
        assert_eq!(short.rtp(0), sealed[..sealed.len() - 12]);
        assert_eq!(RFC_3711.rtp(1), "800f1234decafbadcafebabe179265c8bf303e4c24e7279f739bb5a6f8b3916fd670057bf1dc");
        let sealed = "81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798";
        assert_eq!(RFC_3711.rtcp(), sealed);
        assert_eq!(short.rtcp(), sealed, "SRTCP keeps its tag of 80 bits (RFC 5764 §4.1.2)");
        let sealed = "800f1234decafbadcafebabef1d9de17ff251ff1aa007774b0b4b40da08d9d9a5b3a55d8873b";
        assert_eq!(RFC_6188.rtp(0), sealed);
        let short = Vector { suite: SrtpSuite::Aes256CmSha1_32, ..RFC_6188 };
        assert_eq!(short.rtp(0), sealed[..sealed.len() - 12]);
        assert_eq!(short.rtcp(), RFC_6188.rtcp(), "SRTCP keeps its tag of 80 bits");
        assert_eq!(RFC_6188.rtcp(), "81c8000bcafebabeb4d0e7a917d24b9faab9d3b6127b3ba680000001e04ac0ec2846f71bd31c");
    }

    /// Computed from RFC 7714; the first is also in libsrtp's validation test.
    #[test]
    fn whole_packets_in_gcm() {
        assert_eq!(
            GCM_128.rtp(0),
            "800f1234decafbadcafebabec5002ede04cfdd2eb91159e0880aa06ed2976826f796b201df3131a127e8a392"
        );
        assert_eq!(
            GCM_128.rtcp(),
            "81c8000bcafebabec98b8b5df0392a55852b6c21ac8e7025c52c6fbea2b3b446ea31123ba88ce61e80000001"
        );
        assert_eq!(
            GCM_256.rtp(0),
            "800f1234decafbadcafebabe0af7f21e8a90bdad7a425c9c31ed4bb1d90238917e7390a2793500e1681acaea"
        );
    }

    /// RFC 7714 §16 and §17 give session keys, not master keys.
    fn rfc_7714(wide: bool) -> Session {
        let key: Vec<u8> = (0..if wide { 32 } else { 16 }).collect();
        let protection = || Protection::Gcm(Gcm::new(&key, zeroize::Zeroizing::new(*b"Quid pro quo")));
        Session { rtp: protection(), rtcp: protection(), mki: Vec::new(), unencrypted_srtcp: false }
    }

    #[test]
    fn rtp_is_that_of_rfc_7714_16() {
        let plain = [&unhex("8040f17b8041f8d35501a0b2")[..], b"Gallia est omnis divisa in partes tres"].concat();
        let sealed = |wide| {
            let (session, index) = (rfc_7714(wide), ExtSeqNo::new(0, crate::rtp::SeqNo(0xf17b)));
            both_ways(
                &plain,
                |packet| seal_rtp(&session, packet, 0x5501_a0b2, index),
                |packet| session.open_rtp(packet, 12, 0x5501_a0b2, index, None),
            )
        };
        assert_eq!(
            sealed(false),
            concat!(
                "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf88",
                "33899d7f27beb16a9152cf765ee4390cce"
            )
        );
        assert_eq!(
            sealed(true),
            concat!(
                "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b8",
                "7b7aa3db36dfffd6b0f9bb7878d7a76c13"
            )
        );
    }

    #[test]
    fn rtcp_is_that_of_rfc_7714_17() {
        let plain = unhex(concat!(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61",
            "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef"
        ));
        let sealed = |wide| {
            let session = rfc_7714(wide);
            both_ways(
                &plain,
                |packet| session.seal_rtcp(packet, 0x4d61_7273, 0x5d4),
                |packet| session.open_rtcp(packet, 0x4d61_7273, RtcpIndex { index: 0x5d4, encrypted: true }),
            )
        };
        assert_eq!(
            sealed(false),
            concat!(
                "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9",
                "275bc84aa45896cf4d2fc5abf87245d9eade800005d4"
            )
        );
        assert_eq!(
            sealed(true),
            concat!(
                "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b",
                "6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4"
            )
        );
    }

    #[test]
    fn rtcp_without_encryption_is_refused() {
        let session = rfc_7714(false);
        let mut packet = unhex("81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeef");
        packet.extend(unhex("841dd9683dd78ec92ae58790125f62b3000005d4"));
        assert_eq!(session.rtcp_index(&packet), Err(SrtpError::Unencrypted));
    }

    /// RFC 7714 §17.3.
    #[test]
    fn rtcp_without_encryption_is_that_of_rfc_7714_17_where_it_is_agreed_on() {
        let plain = unhex(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        );
        let session = Session { unencrypted_srtcp: true, ..rfc_7714(false) };
        let sealed = both_ways(
            &plain,
            |packet| session.seal_rtcp(packet, 0x4d61_7273, 0x5d4),
            |packet| {
                let claimed = session.rtcp_index(packet)?;
                assert_eq!(claimed, RtcpIndex { index: 0x5d4, encrypted: false });
                session.open_rtcp(packet, 0x4d61_7273, claimed)
            },
        );
        assert_eq!(sealed[..2 * plain.len()], plain.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        assert_eq!(sealed[2 * plain.len()..], *"841dd9683dd78ec92ae58790125f62b3000005d4");
    }
}
