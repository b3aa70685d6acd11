//! SRTP and SRTCP (RFC 3711), with AES in counter mode and HMAC-SHA1, or AES-GCM (RFC 7714).
//!
//! One [`Inbound`] or [`Outbound`] is one direction of one transport, under one master key at a time: all SSRCs of a bundle
//! share it. What is kept per SSRC (rollover counter, replay window) is bounded, and on the receiving side exists only
//! once a packet of that SSRC has authenticated. Of a key that was replaced it is kept too, since the key may come back.

mod counter;
mod gcm;
mod inbound;
mod kdf;
mod key;
mod keyring;
mod outbound;
mod replay;
mod session;
mod source;
mod tag;

use crate::{packet::NoRoom, rtp::ExtSeqNo};
use model::Ssrc;

pub use inbound::Inbound;
pub use key::{DtlsKeys, KeyError, MasterKey};
pub use outbound::Outbound;
pub use tag::{Tag, Untagged};

/// How many SSRCs of one master key have a replay window of their own in one direction at a time.
pub const MAX_SOURCES: usize = 16;

/// How many SSRCs one master key serves in one direction, one after the other.
pub const MAX_SOURCES_EVER: usize = 256;

/// How many master keys before the one in force are remembered in one direction. It is one for each suite, as a leg that
/// changes suites may come back to each. A key before those is one never seen: what came under it may come again.
pub const MAX_FORMER_KEYS: usize = model::SrtpSuite::ALL.len();

/// The most bytes that protection adds to a packet, without a master key identifier: tag and SRTCP index.
pub const MAX_OVERHEAD: usize = 16 + 4;

/// How far a source has come: what must be carried over when its keys, or the process, are exchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rollover {
    /// The source.
    pub ssrc: Ssrc,
    /// The highest RTP packet index it has used, if any.
    pub rtp: Option<ExtSeqNo>,
    /// The highest SRTCP index it has used, if any.
    pub rtcp: Option<u32>,
}

/// Why a packet was not opened or sealed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SrtpError {
    /// It is no RTP or RTCP packet, or too short for its tag.
    #[error("malformed packet")]
    Malformed,
    /// Its master key identifier is not ours.
    #[error("unknown master key identifier")]
    UnknownMki,
    /// An index that was seen before, or is too old to know.
    #[error("replayed packet")]
    Replayed,
    /// The tag does not fit.
    #[error("authentication failed")]
    Authentication,
    /// SRTCP without encryption, which was not agreed on.
    #[error("unencrypted SRTCP")]
    Unencrypted,
    /// A source beyond [`MAX_SOURCES_EVER`].
    #[error("too many sources")]
    TooManySources,
    /// The key has protected as many packets as it may (RFC 3711 §9.2): rekey.
    #[error("key used up")]
    KeyUsedUp,
    /// We were about to protect two packets with one index, which would give both away.
    #[error("packet index used before")]
    IndexReused,
    /// The buffer has no room for tag and index.
    #[error("no room for the tag")]
    NoRoom,
}

impl From<NoRoom> for SrtpError {
    fn from(NoRoom: NoRoom) -> Self {
        Self::NoRoom
    }
}

#[cfg(test)]
mod tests {
    use model::{Crypto, Secret, SrtpSuite};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Packet,
        demux::Media,
        rtp::{Header, RtpTime, SeqNo},
    };

    const PEER: Ssrc = Ssrc(0xcafe_babe);

    #[test]
    fn every_suite_opens_what_it_seals() {
        for suite in SrtpSuite::ALL {
            let (mut outbound, mut inbound) = pair(&key(suite, 1));
            for seq in 0..300 {
                assert_eq!(
                    inbound.open(&mut sealed(&mut outbound, PEER, seq).packet(), Media::Rtp),
                    Ok(()),
                    "{suite:?}"
                );
                assert_eq!(open_rtcp(&mut inbound, &mut sealed_rtcp(&mut outbound, PEER)), Ok(()), "{suite:?}");
            }
        }
    }

    #[test]
    fn a_replayed_packet_is_dropped() {
        let (mut outbound, mut inbound) = pair(&key(SrtpSuite::AesCm128Sha1_80, 1));
        let mut rtp = sealed(&mut outbound, PEER, 7);
        let mut rtcp = sealed_rtcp(&mut outbound, PEER);
        for expected in [Ok(()), Err(SrtpError::Replayed)] {
            assert_eq!(open(&mut inbound, &mut rtp.clone()), expected);
            assert_eq!(open_rtcp(&mut inbound, &mut rtcp.clone()), expected);
        }
        rtp.bytes[20] ^= 1;
        rtcp.bytes[10] ^= 1;
        assert_eq!(open(&mut inbound, &mut rtp), Err(SrtpError::Replayed), "before any arithmetic");
        assert_eq!(open_rtcp(&mut inbound, &mut rtcp), Err(SrtpError::Replayed));
    }

    #[test]
    fn two_payloads_never_get_one_index() {
        let (mut outbound, _) = pair(&key(SrtpSuite::AeadAes128Gcm, 1));
        assert_eq!(seal(&mut outbound, PEER, 7).map(drop), Ok(()));
        assert_eq!(seal(&mut outbound, PEER, 7).map(drop), Err(SrtpError::IndexReused));
        assert_eq!(seal(&mut outbound, PEER, 6).map(drop), Ok(()));
        assert_eq!(seal(&mut outbound, PEER, 400).map(drop), Ok(()));
        assert_eq!(seal(&mut outbound, PEER, 8).map(drop), Err(SrtpError::IndexReused), "too old to know");
    }

    #[test]
    fn packets_reordered_around_a_rollover_keep_their_index() {
        let (mut outbound, mut inbound) = pair(&key(SrtpSuite::AesCm128Sha1_80, 1));
        for seq in [40_000, 65_000, 65_534, 0, 65_535, 2, 1] {
            assert_eq!(open(&mut inbound, &mut sealed(&mut outbound, PEER, seq)), Ok(()), "{seq}");
        }
        let highest = Some(ExtSeqNo::new(1, SeqNo(2)));
        let expected = Rollover { ssrc: PEER, rtp: highest, rtcp: None };
        assert_eq!(outbound.rollovers().collect::<Vec<_>>(), [expected]);
        assert_eq!(inbound.rollovers().collect::<Vec<_>>(), [expected]);
    }

    #[test]
    fn forged_packets_leave_nothing_behind() {
        let key = key(SrtpSuite::AeadAes128Gcm, 1);
        let mut forger = Outbound::new(&self::key(SrtpSuite::AeadAes128Gcm, 2));
        let (mut outbound, mut inbound) = pair(&key);
        for ssrc in 0..16 {
            assert_eq!(open(&mut inbound, &mut sealed(&mut forger, Ssrc(ssrc), 1)), Err(SrtpError::Authentication));
        }
        assert_eq!(inbound.rollovers().count(), 0);
        assert_eq!(open(&mut inbound, &mut sealed(&mut outbound, PEER, 1)), Ok(()));
    }

    #[test]
    fn sources_are_bounded() {
        let (mut outbound, mut inbound) = pair(&key(SrtpSuite::AesCm128Sha1_80, 1));
        for ssrc in 0..256 {
            assert_eq!(open(&mut inbound, &mut sealed(&mut outbound, Ssrc(ssrc), 1)), Ok(()));
        }
        assert_eq!(inbound.rollovers().count(), MAX_SOURCES_EVER);
        assert_eq!(seal(&mut outbound, PEER, 1).map(drop), Err(SrtpError::TooManySources));
        let mut other = Outbound::new(&key(SrtpSuite::AesCm128Sha1_80, 1));
        assert_eq!(open(&mut inbound, &mut sealed(&mut other, PEER, 1)), Err(SrtpError::TooManySources));
        assert_eq!(open_rtcp(&mut inbound, &mut sealed_rtcp(&mut other, PEER)), Err(SrtpError::TooManySources));
    }

    #[test]
    fn a_source_that_made_room_goes_on_where_it_was_and_nothing_of_it_counts_twice() {
        for suite in SrtpSuite::ALL {
            let (mut outbound, mut inbound) = pair(&key(suite, 1));
            let mut taken: Vec<Sealed> =
                [40_000, 65_000, 10, 12].map(|seq| sealed(&mut outbound, PEER, seq)).into_iter().collect();
            let mut late = sealed(&mut outbound, PEER, 11);
            let mut report = sealed_rtcp(&mut outbound, PEER);
            assert!(taken.iter().all(|packet| open(&mut inbound, &mut packet.clone()) == Ok(())), "{suite:?}");
            assert_eq!(open_rtcp(&mut inbound, &mut report.clone()), Ok(()));
            for ssrc in 0..40 {
                assert_eq!(open(&mut inbound, &mut sealed(&mut outbound, Ssrc(ssrc), 1)), Ok(()), "{ssrc}");
            }
            for packet in taken.iter_mut().chain([&mut late]) {
                assert_eq!(open(&mut inbound, packet), Err(SrtpError::Replayed), "{suite:?}");
            }
            assert_eq!(open_rtcp(&mut inbound, &mut report), Err(SrtpError::Replayed));
            for used in [40_000, 65_000, 10, 11, 12] {
                assert_eq!(seal(&mut outbound, PEER, used).map(drop), Err(SrtpError::IndexReused), "{used}");
            }
            assert_eq!(open(&mut inbound, &mut sealed(&mut outbound, PEER, 13)), Ok(()), "{suite:?}");
            assert_eq!(open_rtcp(&mut inbound, &mut sealed_rtcp(&mut outbound, PEER)), Ok(()));
            for rollovers in [outbound.rollovers().collect::<Vec<_>>(), inbound.rollovers().collect()] {
                let peer = rollovers.into_iter().find(|rollover| rollover.ssrc == PEER);
                let rtp = Some(ExtSeqNo::new(1, SeqNo(13)));
                assert_eq!(peer, Some(Rollover { ssrc: PEER, rtp, rtcp: Some(1) }));
            }
        }
    }

    #[test]
    fn the_old_key_is_accepted_until_it_is_forgotten() {
        let (old, new) = (key(SrtpSuite::AeadAes128Gcm, 1), key(SrtpSuite::AesCm128Sha1_80, 2));
        let (mut before, mut inbound) = pair(&old);
        let mut late = sealed(&mut before, PEER, 1);
        let mut later = sealed(&mut before, PEER, 2);
        let mut after = Outbound::new(&new);
        inbound.rekey(&new);
        assert_eq!(open(&mut inbound, &mut sealed(&mut after, PEER, 3)), Ok(()));
        assert_eq!(open(&mut inbound, &mut late), Ok(()));
        inbound.forget_previous();
        assert_eq!(open(&mut inbound, &mut later), Err(SrtpError::Authentication));
        assert_eq!(open(&mut inbound, &mut sealed(&mut after, PEER, 4)), Ok(()));
    }

    #[test]
    fn nothing_that_came_under_a_key_counts_when_the_key_comes_back() {
        for suite in SrtpSuite::ALL {
            let first = key(suite, 0);
            let (mut outbound, mut inbound) = pair(&first);
            let go_on = |outbound: &mut Outbound, inbound: &mut Inbound| {
                for seq in [30_000, 60_000, 10] {
                    assert_eq!(open(inbound, &mut sealed(outbound, PEER, seq)), Ok(()), "{suite:?}");
                }
                assert_eq!(open_rtcp(inbound, &mut sealed_rtcp(outbound, PEER)), Ok(()));
            };
            let rtp = [40_000, 65_000, 10].map(|seq| sealed(&mut outbound, PEER, seq));
            let rtcp = sealed_rtcp(&mut outbound, PEER);
            assert_eq!(rtp.each_ref().map(|packet| open(&mut inbound, &mut packet.clone())), [Ok(()); 3]);
            assert_eq!(open_rtcp(&mut inbound, &mut rtcp.clone()), Ok(()));
            for other in (1..).take(MAX_FORMER_KEYS) {
                inbound.rekey(&key(suite, other));
                outbound.rekey(&key(suite, other));
                go_on(&mut outbound, &mut inbound);
            }
            inbound.rekey(&first);
            outbound.rekey(&first);
            let again = rtp.map(|mut packet| open(&mut inbound, &mut packet));
            assert_eq!(again, [Err(SrtpError::Replayed); 3], "{suite:?}");
            assert_eq!(open_rtcp(&mut inbound, &mut rtcp.clone()), Err(SrtpError::Replayed));
            go_on(&mut outbound, &mut inbound);
        }
    }

    #[test]
    fn a_peer_may_come_back_to_where_it_stood_under_its_first_key() {
        let [first, second] = [1, 2].map(|fill| key(SrtpSuite::AesCm128Sha1_80, fill));
        let (mut before, mut inbound) = pair(&first);
        assert_eq!(open(&mut inbound, &mut sealed(&mut before, PEER, 100)), Ok(()));
        inbound.rekey(&second);
        let mut between = Outbound::new(&second);
        for seq in [101, 30_000, 60_000, 101] {
            assert_eq!(open(&mut inbound, &mut sealed(&mut between, PEER, seq)), Ok(()));
        }
        inbound.rekey(&first);
        assert_eq!(open(&mut inbound, &mut sealed(&mut before, PEER, 102)), Ok(()), "without the rollover");
        assert_eq!(open(&mut inbound, &mut sealed(&mut between, PEER, 103)), Ok(()), "the second is still accepted");
    }

    #[test]
    fn a_rekeying_peer_may_keep_its_rollover_counter_or_begin_at_zero() {
        for keeps in [true, false] {
            for suite in SrtpSuite::ALL {
                let (mut outbound, mut inbound) = pair(&key(suite, 1));
                for seq in [30_000, 60_000, 10] {
                    assert_eq!(open(&mut inbound, &mut sealed(&mut outbound, PEER, seq)), Ok(()));
                }
                inbound.rekey(&key(suite, 2));
                if keeps {
                    outbound.rekey(&key(suite, 2));
                } else {
                    outbound = Outbound::new(&key(suite, 2));
                }
                for seq in 11..20 {
                    assert_eq!(open(&mut inbound, &mut sealed(&mut outbound, PEER, seq)), Ok(()), "{suite:?} {keeps}");
                }
            }
        }
    }

    #[test]
    fn rollovers_survive_a_restart() {
        let key = key(SrtpSuite::AeadAes256Gcm, 1);
        let (mut outbound, mut inbound) = pair(&key);
        for seq in [30_000, 60_000, 10] {
            assert_eq!(open(&mut inbound, &mut sealed(&mut outbound, PEER, seq)), Ok(()));
        }
        let mut old = sealed_rtcp(&mut outbound, PEER);
        assert_eq!(open_rtcp(&mut inbound, &mut old.clone()), Ok(()));
        let mut outbound = Outbound::resume(&key, &outbound.rollovers().collect::<Vec<_>>());
        let mut inbound = Inbound::resume(&key, &inbound.rollovers().collect::<Vec<_>>());
        assert_eq!(seal(&mut outbound, PEER, 10).map(drop), Err(SrtpError::IndexReused));
        assert_eq!(open(&mut inbound, &mut sealed(&mut outbound, PEER, 11)), Ok(()));
        assert_eq!(open_rtcp(&mut inbound, &mut old), Err(SrtpError::Replayed));
        assert_eq!(open_rtcp(&mut inbound, &mut sealed_rtcp(&mut outbound, PEER)), Ok(()));
    }

    #[test]
    fn a_receiver_that_joins_late_finds_the_rollover_counter() {
        for suite in SrtpSuite::ALL {
            let (mut outbound, mut inbound) = pair(&key(suite, 1));
            for seq in [30_000, 60_000, 10, 30_000, 60_000] {
                sealed(&mut outbound, PEER, seq);
            }
            let opened = (10..50).filter(|seq| open(&mut inbound, &mut sealed(&mut outbound, PEER, *seq)).is_ok());
            assert_eq!(opened.count(), 20, "{suite:?}");
        }
    }

    #[test]
    fn a_key_is_not_used_beyond_its_lifetime() {
        let mut key = key(SrtpSuite::AesCm128Sha1_80, 1);
        key.max_rtp_packets = 2;
        let mut outbound = Outbound::new(&key);
        assert!(seal(&mut outbound, PEER, 1).is_ok() && seal(&mut outbound, PEER, 2).is_ok());
        assert_eq!(seal(&mut outbound, PEER, 3).map(drop), Err(SrtpError::KeyUsedUp));
        let other = self::key(SrtpSuite::AesCm128Sha1_80, 2);
        outbound.rekey(&other);
        assert!(seal(&mut outbound, PEER, 3).is_ok());
        key.mki = vec![7];
        for key in [&key, &other, &key] {
            outbound.rekey(key);
            let outcome = seal(&mut outbound, PEER, 4).map(drop);
            assert_eq!(outcome.is_ok(), key.mki.is_empty(), "its packets count on, on whatever terms: {outcome:?}");
        }
        key.max_rtp_packets = 3;
        outbound.rekey(&key);
        assert!(seal(&mut outbound, PEER, 5).is_ok(), "a longer lifetime");
        assert_eq!(seal(&mut outbound, PEER, 6).map(drop), Err(SrtpError::KeyUsedUp));
        let end = [Rollover { ssrc: PEER, rtp: Some(ExtSeqNo::MAX), rtcp: Some((1 << 31) - 1) }];
        let mut outbound = Outbound::resume(&key, &end);
        assert_eq!(seal(&mut outbound, PEER, 0).map(drop), Err(SrtpError::KeyUsedUp));
        let mut buffer = Sealed::rtcp(PEER);
        assert_eq!(outbound.seal(&mut buffer.packet(), Media::Rtcp), Err(SrtpError::KeyUsedUp));
    }

    #[test]
    fn a_key_protects_as_many_packets_as_its_lifetime_says() {
        let suite = SrtpSuite::AesCm128Sha1_80;
        let secret = Secret::new(vec![1; suite.key_length() + suite.salt_length()]);
        let crypto = Crypto { lifetime: "2^1".parse().ok(), ..Crypto::new(1, suite, secret) };
        let mut outbound = Outbound::new(&MasterKey::from_sdes(&crypto).expect("lengths of the suite"));
        for media in [Media::Rtp, Media::Rtcp] {
            let outcomes = [1, 2, 3].map(|seq| {
                let plain = if media == Media::Rtp { Sealed::rtp(PEER, seq) } else { Sealed::rtcp(PEER) };
                plain.protect(&mut outbound, media).map(drop)
            });
            assert_eq!(outcomes, [Ok(()), Ok(()), Err(SrtpError::KeyUsedUp)], "{media:?}");
        }
    }

    #[test]
    fn rtcp_goes_in_clear_where_that_is_agreed_on_and_nowhere_else() {
        for suite in SrtpSuite::ALL {
            let secret = Secret::new(vec![1; suite.key_length() + suite.salt_length()]);
            let encrypted = Crypto { mki: Some((7, 2)), ..Crypto::new(1, suite, secret) };
            let clear = Crypto { unencrypted_srtcp: true, ..encrypted.clone() };
            let [encrypted, clear] = [encrypted, clear].map(|key| MasterKey::from_sdes(&key).expect("its lengths"));
            let (mut outbound, mut inbound) = pair(&clear);
            let sealed = sealed_rtcp(&mut outbound, PEER);
            assert_eq!(sealed.bytes[..28], Sealed::rtcp(PEER).bytes[..28], "{suite:?}");
            let mut forged = sealed.clone();
            forged.bytes[20] ^= 1;
            assert_eq!(open_rtcp(&mut inbound, &mut forged), Err(SrtpError::Authentication), "{suite:?}");
            assert_eq!(open_rtcp(&mut inbound, &mut sealed.clone()), Ok(()), "{suite:?}");
            assert_eq!(open_rtcp(&mut inbound, &mut sealed.clone()), Err(SrtpError::Replayed), "{suite:?}");
            let (mut strict, mut other) = (Inbound::new(&encrypted), Outbound::new(&encrypted));
            assert_eq!(open_rtcp(&mut strict, &mut sealed.clone()), Err(SrtpError::Unencrypted), "{suite:?}");
            sealed_rtcp(&mut other, PEER);
            assert_eq!(open_rtcp(&mut inbound, &mut sealed_rtcp(&mut other, PEER)), Ok(()), "encrypted may come too");
        }
    }

    #[test]
    fn the_master_key_identifier_chooses_the_key() {
        for suite in SrtpSuite::ALL {
            let with_mki = |fill, mki| {
                let bytes = vec![fill; suite.key_length() + suite.salt_length()];
                let crypto = Crypto { mki: Some((mki, 3)), ..Crypto::new(1, suite, Secret::new(bytes)) };
                MasterKey::from_sdes(&crypto).expect("lengths of the suite")
            };
            let (mut first, mut inbound) = pair(&with_mki(1, 1));
            let mut second = Outbound::new(&with_mki(2, 2));
            assert_eq!(open(&mut inbound, &mut sealed(&mut second, PEER, 1)), Err(SrtpError::UnknownMki));
            inbound.rekey(&with_mki(2, 2));
            for seq in 2..10 {
                assert_eq!(open(&mut inbound, &mut sealed(&mut first, PEER, seq)), Ok(()), "{suite:?}");
                assert_eq!(open(&mut inbound, &mut sealed(&mut second, PEER, seq)), Ok(()), "{suite:?}");
                assert_eq!(open_rtcp(&mut inbound, &mut sealed_rtcp(&mut second, PEER)), Ok(()), "{suite:?}");
            }
        }
    }

    #[test]
    fn key_material_of_the_wrong_size_is_refused() {
        let suite = SrtpSuite::AesCm128Sha1_80;
        let crypto = |length, mki| Crypto { mki, ..Crypto::new(1, suite, Secret::new(vec![0; length])) };
        assert!(MasterKey::from_sdes(&crypto(30, None)).is_ok());
        for refused in [crypto(29, None), crypto(31, None), crypto(0, None)] {
            assert_eq!(MasterKey::from_sdes(&refused).map(drop), Err(KeyError::Length));
        }
        for mki in [(1, 0), (256, 1), (1, 129)] {
            assert_eq!(MasterKey::from_sdes(&crypto(30, Some(mki))).map(drop), Err(KeyError::Mki));
        }
        assert_eq!(DtlsKeys::split(suite, &[0; 61]).map(drop), Err(KeyError::Length));
        assert_eq!(DtlsKeys::split(SrtpSuite::Aes256CmSha1_80, &[0; 92]).map(drop), Err(KeyError::Suite));
    }

    #[test]
    fn keys_exported_by_dtls_are_both_keys_and_then_both_salts() {
        let exported: Vec<u8> = (0..60).collect();
        let keys = DtlsKeys::split(SrtpSuite::AesCm128Sha1_80, &exported).expect("the length of the suite");
        assert_eq!((&keys.client.key[..], &keys.client.salt[..]), (&exported[..16], &exported[32..46]));
        assert_eq!((&keys.server.key[..], &keys.server.salt[..]), (&exported[16..32], &exported[46..]));
    }

    #[test]
    fn a_packet_without_room_behind_it_is_not_sealed() {
        let mut outbound = Outbound::new(&key(SrtpSuite::AeadAes128Gcm, 1));
        let mut buffer = Sealed::rtp(PEER, 1);
        let mut packet = Packet::new(&mut buffer.bytes[..buffer.length + 15], buffer.length).expect("it fits");
        assert_eq!(outbound.seal(&mut packet, Media::Rtp), Err(SrtpError::NoRoom));
        assert_eq!(seal(&mut outbound, PEER, 1).map(drop), Ok(()), "its index was not used");
    }

    proptest! {
        #[test]
        fn anything_that_was_sealed_opens_to_what_it_was(
            suite in prop::sample::select(SrtpSuite::ALL.to_vec()),
            ssrc in any::<u32>(),
            seq in any::<u16>(),
            payload in prop::collection::vec(any::<u8>(), 0..1200),
        ) {
            let (mut outbound, mut inbound) = pair(&key(suite, 1));
            let mut buffer = [0; 1300];
            let header = Header::new(111.try_into().expect("a payload type"), SeqNo(seq), RtpTime(1), Ssrc(ssrc));
            header.write(&mut buffer).expect("room");
            buffer[12..12 + payload.len()].copy_from_slice(&payload);
            let plain = buffer;
            let length = 12 + payload.len();
            let mut packet = Packet::new(&mut buffer, length).expect("it fits");
            prop_assert_eq!(outbound.seal(&mut packet, Media::Rtp), Ok(()));
            prop_assert_eq!(inbound.open(&mut packet, Media::Rtp), Ok(()));
            prop_assert_eq!(&*packet, &plain[..length]);
        }

        #[test]
        fn no_bytes_panic_and_none_authenticate(
            suite in prop::sample::select(SrtpSuite::ALL.to_vec()),
            mut bytes in prop::collection::vec(any::<u8>(), 0..200),
            valid_start in any::<bool>(),
        ) {
            if valid_start && let Some(first) = bytes.first_mut() {
                *first = 0x80 | *first & 0x3F;
            }
            let (mut outbound, mut inbound) = pair(&key(suite, 1));
            for media in [Media::Rtp, Media::Rtcp] {
                let mut copy = bytes.clone();
                let length = copy.len();
                prop_assert!(inbound.open(&mut Packet::new(&mut copy, length).expect("it fits"), media).is_err());
                let mut copy = bytes.clone();
                copy.resize(length + MAX_OVERHEAD, 0);
                let _ = outbound.seal(&mut Packet::new(&mut copy, length).expect("it fits"), media);
            }
        }
    }

    fn key(suite: SrtpSuite, fill: u8) -> MasterKey {
        let (key, salt) = (vec![fill; suite.key_length()], vec![fill; suite.salt_length()]);
        MasterKey::new(suite, &key, &salt).expect("lengths of the suite")
    }

    fn pair(key: &MasterKey) -> (Outbound, Inbound) {
        (Outbound::new(key), Inbound::new(key))
    }

    /// A packet with its buffer.
    #[derive(Clone)]
    struct Sealed {
        bytes: [u8; 128],
        length: usize,
    }

    impl Sealed {
        fn rtp(ssrc: Ssrc, seq: u16) -> Self {
            let mut bytes = [0xab; 128];
            let header = Header::new(0.try_into().expect("a payload type"), SeqNo(seq), RtpTime(1), ssrc);
            header.write(&mut bytes).expect("room");
            Self { bytes, length: 12 + 20 }
        }

        fn rtcp(ssrc: Ssrc) -> Self {
            let mut bytes = [0xab; 128];
            bytes[..4].copy_from_slice(&[0x80, 201, 0, 1]);
            bytes[4..8].copy_from_slice(&ssrc.0.to_be_bytes());
            Self { bytes, length: 28 }
        }

        fn packet(&mut self) -> Packet<'_> {
            Packet::new(&mut self.bytes, self.length).expect("it fits")
        }

        fn protect(mut self, outbound: &mut Outbound, media: Media) -> Result<Self, SrtpError> {
            let mut packet = self.packet();
            outbound.seal(&mut packet, media)?;
            self.length = packet.len();
            Ok(self)
        }
    }

    fn seal(outbound: &mut Outbound, ssrc: Ssrc, seq: u16) -> Result<Sealed, SrtpError> {
        Sealed::rtp(ssrc, seq).protect(outbound, Media::Rtp)
    }

    fn sealed(outbound: &mut Outbound, ssrc: Ssrc, seq: u16) -> Sealed {
        seal(outbound, ssrc, seq).expect("it seals")
    }

    fn sealed_rtcp(outbound: &mut Outbound, ssrc: Ssrc) -> Sealed {
        Sealed::rtcp(ssrc).protect(outbound, Media::Rtcp).expect("it seals")
    }

    fn open(inbound: &mut Inbound, sealed: &mut Sealed) -> Result<(), SrtpError> {
        inbound.open(&mut sealed.packet(), Media::Rtp)
    }

    fn open_rtcp(inbound: &mut Inbound, sealed: &mut Sealed) -> Result<(), SrtpError> {
        inbound.open(&mut sealed.packet(), Media::Rtcp)
    }
}
