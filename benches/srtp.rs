//! SRTP of one packet, ours beside that of webrtc-srtp: 172 bytes (20 ms of G.711), in place, replay window on.
//!
//! `cargo bench -p stox-media --bench srtp`
//!
//! Opening has to be shown a fresh packet each time, so a batch is sealed before the clock runs; both implementations
//! are measured in the same way.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use media::{
    Packet,
    demux::Media,
    rtp::{Header, RtpTime, SeqNo},
    srtp::{Inbound, MAX_OVERHEAD, MasterKey, Outbound},
};
use model::{PayloadType, SrtpSuite, Ssrc};
use webrtc_srtp::{context::Context, option, protection_profile::ProtectionProfile};

const SUITES: [(SrtpSuite, ProtectionProfile); 5] = [
    (SrtpSuite::AesCm128Sha1_80, ProtectionProfile::Aes128CmHmacSha1_80),
    (SrtpSuite::AesCm128Sha1_32, ProtectionProfile::Aes128CmHmacSha1_32),
    (SrtpSuite::Aes256CmSha1_80, ProtectionProfile::Aes256CmHmacSha1_80),
    (SrtpSuite::AeadAes128Gcm, ProtectionProfile::AeadAes128Gcm),
    (SrtpSuite::AeadAes256Gcm, ProtectionProfile::AeadAes256Gcm),
];

const LENGTH: usize = 172;
const ROOM: usize = LENGTH + MAX_OVERHEAD;
const MATERIAL: [u8; 32] = [0x5A; 32];
const WINDOW: usize = 128;

/// Packets one after the other, their sequence numbers without end.
struct Source(u16);

impl Source {
    fn next(&mut self) -> [u8; ROOM] {
        let mut buffer = [0xAB; ROOM];
        self.0 = self.0.wrapping_add(1);
        let payload_type = PayloadType::try_from(0).expect("a payload type");
        let header = Header::new(payload_type, SeqNo(self.0), RtpTime(160), Ssrc(0xCAFE_BABE));
        header.write(&mut buffer).expect("there is room");
        buffer
    }
}

fn our_key(suite: SrtpSuite) -> MasterKey {
    MasterKey::new(suite, &MATERIAL[..suite.key_length()], &MATERIAL[..suite.salt_length()])
        .expect("lengths of the suite")
}

fn their_context(suite: SrtpSuite, profile: ProtectionProfile) -> Context {
    let (key, salt) = (&MATERIAL[..suite.key_length()], &MATERIAL[..suite.salt_length()]);
    let window = Some(option::srtp_replay_protection(WINDOW));
    Context::new(key, salt, profile, window, None).expect("lengths of the suite")
}

fn ours(criterion: &mut Criterion, suite: SrtpSuite) {
    let mut group = criterion.benchmark_group(suite.as_str());
    let (mut source, mut outbound) = (Source(0), Outbound::new(&our_key(suite)));
    group.bench_function("seal, stox", |bencher| {
        let seal = |buffer: &mut [u8; ROOM]| {
            let mut packet = Packet::new(buffer, LENGTH).expect("it fits");
            outbound.seal(&mut packet, Media::Rtp).expect("a fresh index");
        };
        bencher.iter_batched_ref(|| source.next(), seal, BatchSize::SmallInput);
    });
    let (mut source, mut outbound) = (Source(0), Outbound::new(&our_key(suite)));
    let mut inbound = Inbound::new(&our_key(suite));
    group.bench_function("open, stox", |bencher| {
        let sealed = || {
            let mut buffer = source.next();
            let mut packet = Packet::new(&mut buffer, LENGTH).expect("it fits");
            outbound.seal(&mut packet, Media::Rtp).expect("a fresh index");
            let length = packet.len();
            (buffer, length)
        };
        let open = |(buffer, length): &mut ([u8; ROOM], usize)| {
            let mut packet = Packet::new(buffer, *length).expect("it fits");
            inbound.open(&mut packet, Media::Rtp).expect("authentic");
        };
        bencher.iter_batched_ref(sealed, open, BatchSize::SmallInput);
    });
}

fn theirs(criterion: &mut Criterion, suite: SrtpSuite, profile: ProtectionProfile) {
    let mut group = criterion.benchmark_group(suite.as_str());
    let (mut source, mut context) = (Source(0), their_context(suite, profile));
    group.bench_function("seal, webrtc-srtp", |bencher| {
        let seal = |buffer: &mut [u8; ROOM]| context.encrypt_rtp(&buffer[..LENGTH]).expect("it seals");
        bencher.iter_batched_ref(|| source.next(), seal, BatchSize::SmallInput);
    });
    let (mut source, mut sender) = (Source(0), their_context(suite, profile));
    let mut receiver = their_context(suite, profile);
    group.bench_function("open, webrtc-srtp", |bencher| {
        let sealed = || sender.encrypt_rtp(&source.next()[..LENGTH]).expect("it seals").to_vec();
        let open = |sealed: &mut Vec<u8>| receiver.decrypt_rtp(sealed).expect("authentic");
        bencher.iter_batched_ref(sealed, open, BatchSize::SmallInput);
    });
}

fn srtp(criterion: &mut Criterion) {
    for (suite, profile) in SUITES {
        ours(criterion, suite);
        theirs(criterion, suite, profile);
    }
}

criterion_group!(benches, srtp);
criterion_main!(benches);
