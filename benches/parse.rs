//! Reading what arrives: its protocol, the RTP header, RTCP; and saying RTCP again in the words of the other leg.
//!
//! `cargo bench -p stox-media --bench parse`

mod measure;

use std::hint::black_box;
use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use media::{
    Packet,
    demux::{Media, Protocol},
    extension::ExtensionMap,
    rewrite::{Newcomers, Numbers, Origin, PayloadTypeMap, Rewriter, Sent, Settings},
    rtcp::{OtherLeg, PictureRequests, ReportBlock, SenderInfo, Streams, Translated, Walk, Writer, translate},
    rtp::{Header, RtpTime, SeqNo},
};
use model::{MediaKind, PayloadType, Ssrc};
use webrtc_util::marshal::Unmarshal;

/// What the near leg calls its source, and what we call it towards the far leg.
const NEAR: (Ssrc, Ssrc) = (Ssrc(0xA), Ssrc(0xAAAA_0000));
/// What the far leg calls its source, and what we call it towards the near leg.
const FAR: (Ssrc, Ssrc) = (Ssrc(0xF), Ssrc(0xFFFF_0000));

const FULL: OtherLeg<'_> = OtherLeg {
    cname: "3f1c2a7be09d4d55@stox.invalid",
    feedback: true,
    pictures: PictureRequests { loss: true, intra: true },
    reduced_size: true,
    terminated: false,
};

const STUN: &[u8] = b"\x00\x01\x00\x08\x21\x12\xA4\x42transaction!\x80\x28\x00\x04\0\0\0\0";
const DTLS: &[u8] = b"\x16\xFE\xFD\0\0\0\0\0\0\0\0\0\0";
const RTP: &[u8] = b"\x80\x60\x00\x64\0\0\x13\x88\0\0\0\x0A20 ms of something";
/// With two elements of RFC 8285 in the one-byte form: audio level and MID.
const RTP_EXTENDED: &[u8] = b"\x90\x60\x00\x64\0\0\x13\x88\0\0\0\x0A\xBE\xDE\x00\x01\x10\x7F\x200more";

fn demultiplex(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("demultiplex");
    let report = receiver_report();
    for (name, datagram) in [("STUN", STUN), ("DTLS", DTLS), ("RTP", RTP), ("RTCP", &report)] {
        measure::again(&mut group, name, || {
            let datagram = black_box(datagram);
            Protocol::of(datagram).map(|protocol| (protocol, Media::of(datagram))).expect("it is one that we speak")
        });
    }
    group.finish();
}

fn header(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("RTP header");
    for (name, packet) in [("plain", RTP), ("with an extension", RTP_EXTENDED)] {
        measure::again(&mut group, format!("{name}, stox"), || Header::parse(black_box(packet)).expect("it is sound"));
        measure::again(&mut group, format!("{name}, rtp"), || {
            rtp::header::Header::unmarshal(&mut black_box(packet)).expect("it is sound")
        });
    }
    group.finish();
}

fn walk(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("RTCP walk");
    for (name, compound) in compounds() {
        measure::again(&mut group, format!("{name}, stox"), || {
            for packet in Walk::new(black_box(&compound)) {
                let packet = packet.expect("it is sound");
                black_box((packet.sender(), packet.sender_info()));
                for block in packet.report_blocks() {
                    black_box(block);
                }
            }
        });
        measure::again(&mut group, format!("{name}, rtcp"), || {
            rtcp::packet::unmarshal(&mut black_box(&compound[..])).expect("it is sound")
        });
    }
    group.finish();
}

fn rewrite(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("RTCP rewriting");
    let mut legs = Legs::new();
    for (name, compound) in compounds() {
        let arrival = || {
            let mut buffer = [0; 512];
            buffer[..compound.len()].copy_from_slice(&compound);
            buffer
        };
        measure::each(&mut group, name, BatchSize::SmallInput, arrival, |buffer| {
            let mut packet = Packet::new(buffer, compound.len()).expect("it fits");
            assert_eq!(translate(&mut packet, &mut legs, FULL), Ok(Translated::default()), "nothing is left out");
            packet.len()
        });
    }
    group.finish();
}

/// What the near leg sends.
fn compounds() -> [(&'static str, Vec<u8>); 4] {
    let receiver_report = receiver_report();
    let nack = feedback(0x81, 205, &[(60 << 16) | 3]);
    let picture_loss = feedback(0x81, 206, &[]);
    [
        ("SR, SDES", sender_report()),
        ("RR, SDES", receiver_report.clone()),
        ("RR, SDES, NACK", [&receiver_report[..], &nack].concat()),
        ("PLI alone", picture_loss),
    ]
}

fn sender_report() -> Vec<u8> {
    let info = SenderInfo::new(1 << 32, RtpTime(5160), Sent { packets: 4, octets: 12 });
    written(|out| out.sender_report(NEAR.0, &info, &[block()]))
}

fn receiver_report() -> Vec<u8> {
    written(|out| out.receiver_report(NEAR.0, &[block()]))
}

/// A compound of one report and a CNAME.
fn written<E: std::fmt::Debug>(report: impl FnOnce(&mut Writer<'_>) -> Result<(), E>) -> Vec<u8> {
    let mut buffer = [0; 256];
    let mut out = Writer::new(&mut buffer);
    report(&mut out).expect("there is room");
    out.cname(&[NEAR.0], "{0c1f6e0e-5b6a-4e5f}").expect("there is room");
    let length = out.length();
    buffer[..length].to_vec()
}

fn block() -> ReportBlock {
    let (last_sr, delay_since_last_sr) = (0x1234_5678, 65_536);
    ReportBlock { ssrc: FAR.1, fraction_lost: 0, lost: 0, highest: 63, jitter: 7, last_sr, delay_since_last_sr }
}

/// Feedback of the near leg on what it gets (RFC 4585 §6.1).
fn feedback(first: u8, packet_type: u8, information: &[u32]) -> Vec<u8> {
    let length = u8::try_from(2 + information.len()).expect("few");
    let words = [NEAR.0.0, FAR.1.0].into_iter().chain(information.iter().copied());
    [first, packet_type, 0, length].into_iter().chain(words.flat_map(u32::to_be_bytes)).collect()
}

/// A stream each way, of which four packets have passed.
struct Legs {
    forward: Rewriter,
    reverse: Rewriter,
}

impl Legs {
    fn new() -> Self {
        let mut legs = Self { forward: rewriter(NEAR.1, 40), reverse: rewriter(FAR.1, 60) };
        let now = start();
        for step in 0..4 {
            send(&mut legs.forward, NEAR.0, 100 + step, now);
            send(&mut legs.reverse, FAR.0, 500 + step, now);
        }
        legs
    }
}

impl Streams for Legs {
    fn fed_by(&mut self, source: Ssrc) -> Option<&mut Rewriter> {
        Some(&mut self.forward).filter(|rewriter| rewriter.is_fed_by(source))
    }

    fn sent_as(&mut self, ssrc: Ssrc) -> Option<&mut Rewriter> {
        Some(&mut self.reverse).filter(|rewriter| rewriter.ssrc() == ssrc)
    }

    fn speaker(&self) -> Ssrc {
        self.forward.ssrc()
    }
}

fn rewriter(ssrc: Ssrc, seq: u16) -> Rewriter {
    let mut payload_types = PayloadTypeMap::default();
    payload_types.insert(payload_type(), payload_type());
    let settings = Settings {
        kind: MediaKind::Video,
        clock_rate: 90_000,
        payload_types,
        extensions: ExtensionMap::NONE,
        newcomers: Newcomers::Welcome,
        numbers: Numbers::Ours,
    };
    Rewriter::new(Origin { ssrc, seq: SeqNo(seq), time: RtpTime(1000) }, settings)
}

fn send(rewriter: &mut Rewriter, ssrc: Ssrc, seq: u16, now: Instant) {
    let mut bytes = [0; 15];
    let time = RtpTime(5000 + 160 * u32::from(seq % 100));
    Header::new(payload_type(), SeqNo(seq), time, ssrc).write(&mut bytes).expect("there is room");
    let mut packet = Packet::new(&mut bytes, 15).expect("it fits");
    rewriter.apply(&mut packet, now).expect("it passes");
}

fn payload_type() -> PayloadType {
    PayloadType::try_from(96).expect("a payload type")
}

#[allow(clippy::disallowed_methods, reason = "any instant will do as the beginning of virtual time")]
fn start() -> Instant {
    Instant::now()
}

criterion_group!(benches, demultiplex, header, walk, rewrite);
criterion_main!(benches);
