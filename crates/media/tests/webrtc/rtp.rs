//! RTP headers.

use media::{
    Packet,
    extension::{ExtensionMap, FORWARDABLE},
    rtp::{Header, RtpTime, SeqNo, Strip},
};
use model::{Direction, HeaderExtension, PayloadType, Ssrc};
use proptest::prelude::*;
use webrtc_util::marshal::{Marshal, Unmarshal};

fn theirs() -> impl Strategy<Value = rtp::packet::Packet> {
    let numbers = (any::<bool>(), 0_u8..128, any::<u16>(), any::<u32>(), any::<u32>());
    let csrcs = prop::collection::vec(any::<u32>(), 0..16);
    let elements = prop::collection::btree_map(1_u8..15, prop::collection::vec(any::<u8>(), 1..17), 0..4);
    (numbers, csrcs, elements, prop::collection::vec(any::<u8>(), 0..50)).prop_map(
        |((marker, payload_type, sequence_number, timestamp, ssrc), csrc, elements, payload)| {
            let header = rtp::header::Header {
                version: 2,
                marker,
                payload_type,
                sequence_number,
                timestamp,
                ssrc,
                csrc,
                ..Default::default()
            };
            let mut packet = rtp::packet::Packet { header, payload: payload.into() };
            for (id, element) in elements {
                packet.header.set_extension(id, element.into()).expect("an id and a length of the one-byte form");
            }
            packet
        },
    )
}

proptest! {
    #[test]
    fn what_they_write_we_read(theirs in theirs()) {
        let bytes = theirs.marshal().expect("sound");
        let header = Header::parse(&bytes).expect("sound");
        prop_assert_eq!(header.marker, theirs.header.marker);
        prop_assert_eq!(u8::from(header.payload_type), theirs.header.payload_type);
        prop_assert_eq!(header.seq, SeqNo(theirs.header.sequence_number));
        prop_assert_eq!(header.time, RtpTime(theirs.header.timestamp));
        prop_assert_eq!(header.ssrc, Ssrc(theirs.header.ssrc));
        prop_assert_eq!(header.has_csrcs(), !theirs.header.csrc.is_empty());
        prop_assert_eq!(header.has_extension(), theirs.header.extension);
        prop_assert_eq!(&bytes[header.payload(&bytes).expect("sound")], &theirs.payload[..]);
    }

    #[test]
    fn what_we_rewrite_they_read(theirs in theirs(), to in 1_u8..15, strip_all in any::<bool>()) {
        let from = theirs.header.extensions.first().map_or(1, |element| element.id);
        let extension = |id: u8| HeaderExtension {
            id: id.into(),
            uri: FORWARDABLE[0].to_owned(),
            direction: Direction::SendRecv,
        };
        let map = ExtensionMap::between(&[extension(from)], &[extension(to)]);
        let mut bytes = theirs.marshal().expect("sound").to_vec();
        let length = bytes.len();
        let mut packet = Packet::new(&mut bytes, length).expect("it fits");
        let mut header = Header::parse(&packet).expect("sound");
        header.ssrc = Ssrc(7);
        header.payload_type = PayloadType::try_from(96).expect("a payload type");
        if let Some(range) = header.extension() {
            map.apply(&mut packet[range]);
        }
        let what = if strip_all { Strip::CsrcsAndExtension } else { Strip::Csrcs };
        header.strip(&mut packet, what).expect("sound");

        let ours = rtp::packet::Packet::unmarshal(&mut &packet[..]).expect("they read it");
        prop_assert_eq!((ours.header.ssrc, ours.header.payload_type), (7, 96));
        prop_assert_eq!(ours.header.sequence_number, theirs.header.sequence_number);
        prop_assert!(ours.header.csrc.is_empty());
        prop_assert_eq!(ours.payload, theirs.payload);
        let passed: Vec<_> = ours.header.extensions.iter().map(|element| (element.id, element.payload.clone())).collect();
        let kept = theirs.header.extensions.first().filter(|_| !strip_all);
        prop_assert_eq!(passed, kept.map(|element| (to, element.payload.clone())).into_iter().collect::<Vec<_>>());
    }
}
