//! SRTP and SRTCP, in both directions, for every suite both speak.

use media::{
    Packet,
    demux::Media,
    rtp::{Header, RtpTime, SeqNo},
    srtp::{Inbound, MasterKey, Outbound},
};
use model::{PayloadType, SrtpSuite, Ssrc};
use proptest::prelude::*;
use webrtc_srtp::{context::Context, protection_profile::ProtectionProfile};

const TAIL_ROOM: usize = 64;

#[derive(Clone, Debug)]
struct Rtp {
    ssrc: u32,
    seq: u16,
    csrcs: u8,
    extension: Option<u8>,
    payload: Vec<u8>,
}

impl Rtp {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; 12];
        let payload_type = PayloadType::try_from(111).expect("a payload type");
        let header = Header::new(payload_type, SeqNo(self.seq), RtpTime(960), Ssrc(self.ssrc));
        header.write(&mut bytes).expect("twelve bytes are there");
        bytes[0] |= self.csrcs;
        bytes.extend((0..4 * self.csrcs).map(|byte| byte + 1));
        if let Some(words) = self.extension {
            // One element over the whole of it (RFC 8285 §4.3), so that webrtc-rs can parse it.
            bytes[0] |= 0x10;
            bytes.extend([0x10, 0x00, 0x00, words, 1, 4 * words - 2]);
            bytes.extend((2..4 * words).map(|byte| byte | 0x80));
        }
        bytes.extend(&self.payload);
        bytes
    }
}

fn rtp() -> impl Strategy<Value = Rtp> {
    let payload = prop::collection::vec(any::<u8>(), 1..1200);
    (1..4_u32, any::<u16>(), 0..3_u8, prop::option::of(1..4_u8), payload)
        .prop_map(|(ssrc, seq, csrcs, extension, payload)| Rtp { ssrc, seq, csrcs, extension, payload })
}

/// Packets whose sequence numbers go on by small steps, over a rollover, now and then back.
fn stream() -> impl Strategy<Value = Vec<Rtp>> {
    prop::collection::vec((rtp(), 0..20_u16), 1..100).prop_map(|packets| {
        let mut seq = 65_000_u16;
        let step = |(packet, step): (Rtp, u16)| {
            seq = seq.wrapping_add(step * 3).wrapping_sub(2);
            Rtp { seq, ..packet }
        };
        packets.into_iter().map(step).collect()
    })
}

const SUITES: [(SrtpSuite, ProtectionProfile); 5] = [
    (SrtpSuite::AesCm128Sha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
    (SrtpSuite::AesCm128Sha1_32, ProtectionProfile::Aes128CmHmacSha1_32),
    (SrtpSuite::Aes256CmSha1_80, ProtectionProfile::Aes256CmHmacSha1_80),
    (SrtpSuite::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (SrtpSuite::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
];

/// Both implementations under one random key.
fn keyed(suite: usize, material: [u8; 46]) -> (MasterKey, Context) {
    let (suite, profile) = SUITES[suite];
    let key = &material[..suite.key_length()];
    let salt = &material[32..32 + suite.salt_length()];
    let theirs = Context::new(key, salt, profile, None, None).expect("lengths of the suite");
    (MasterKey::new(suite, key, salt).expect("lengths of the suite"), theirs)
}

fn through(bytes: &[u8], work: impl FnOnce(&mut Packet<'_>)) -> Vec<u8> {
    let mut buffer = bytes.to_vec();
    buffer.resize(bytes.len() + TAIL_ROOM, 0);
    let mut packet = Packet::new(&mut buffer, bytes.len()).expect("it fits");
    work(&mut packet);
    packet.to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_we_seal_they_open_and_the_bytes_are_those_they_would_seal(
        suite in 0..SUITES.len(), material in any::<[u8; 46]>(), stream in stream()
    ) {
        let (key, mut theirs) = keyed(suite, material);
        let (_, mut peer) = keyed(suite, material);
        let mut outbound = Outbound::new(&key);
        let mut used = std::collections::HashSet::new();
        for packet in stream.iter().filter(|packet| used.insert((packet.ssrc, packet.seq))) {
            let plain = packet.bytes();
            let sealed = through(&plain, |packet| outbound.seal(packet, Media::Rtp).expect("it seals"));
            prop_assert_eq!(&theirs.decrypt_rtp(&sealed).expect("it opens")[..], &plain[..]);
            prop_assert_eq!(&peer.encrypt_rtp(&plain).expect("it seals")[..], &sealed[..]);
        }
    }

    #[test]
    fn what_they_seal_we_open(suite in 0..SUITES.len(), material in any::<[u8; 46]>(), stream in stream()) {
        let (key, mut theirs) = keyed(suite, material);
        let mut inbound = Inbound::new(&key);
        let mut used = std::collections::HashSet::new();
        for packet in stream.iter().filter(|packet| used.insert((packet.ssrc, packet.seq))) {
            let plain = packet.bytes();
            let sealed = theirs.encrypt_rtp(&plain).expect("it seals");
            let opened = through(&sealed, |packet| inbound.open(packet, Media::Rtp).expect("it opens"));
            prop_assert_eq!(opened, plain);
        }
    }

    #[test]
    fn rtcp_goes_both_ways(
        suite in 0..SUITES.len(),
        material in any::<[u8; 46]>(),
        packets in prop::collection::vec((1..4_u32, prop::collection::vec(any::<[u8; 4]>(), 0..200)), 1..50),
    ) {
        let (key, mut theirs) = keyed(suite, material);
        let (mut outbound, mut inbound) = (Outbound::new(&key), Inbound::new(&key));
        for (ssrc, words) in packets {
            let length = u16::try_from(words.len() + 1).expect("a few words");
            let mut plain = vec![0x80, 201];
            plain.extend(length.to_be_bytes());
            plain.extend(ssrc.to_be_bytes());
            plain.extend(words.as_flattened());
            let sealed = through(&plain, |packet| outbound.seal(packet, Media::Rtcp).expect("it seals"));
            prop_assert_eq!(&theirs.decrypt_rtcp(&sealed).expect("it opens")[..], &plain[..]);
            let sealed = theirs.encrypt_rtcp(&plain).expect("it seals");
            let opened = through(&sealed, |packet| inbound.open(packet, Media::Rtcp).expect("it opens"));
            prop_assert_eq!(opened, plain);
        }
    }
}
