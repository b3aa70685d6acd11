//! SRTP of one packet, ours beside that of webrtc-srtp and rtc-srtp: 172 bytes (20 ms of G.711), replay window on.
//!
//! `cargo bench -p stox-media --bench srtp`
//!
//! Opening has to be shown a fresh packet each time, so a batch is sealed before the clock runs; all implementations
//! are measured in the same way.

mod measure;

use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use media::{
    Packet,
    demux::Media,
    rtp::{Header, RtpTime, SeqNo},
    srtp::{Inbound, MAX_OVERHEAD, MasterKey, Outbound},
};
use model::{PayloadType, SrtpSuite, Ssrc};
use rtc_srtp::crypto::{RTCCryptoProvider, providers::RingProvider};
use rtc_srtp::protection_profile::ProtectionProfile as Rtc;
use webrtc_srtp::protection_profile::ProtectionProfile as Webrtc;

const SUITES: [(SrtpSuite, Webrtc, Rtc); 5] = [
    (SrtpSuite::AesCm128Sha1_80, Webrtc::Aes128CmHmacSha1_80, Rtc::Aes128CmHmacSha1_80),
    (SrtpSuite::AesCm128Sha1_32, Webrtc::Aes128CmHmacSha1_32, Rtc::Aes128CmHmacSha1_32),
    (SrtpSuite::Aes256CmSha1_80, Webrtc::Aes256CmHmacSha1_80, Rtc::Aes256CmHmacSha1_80),
    (SrtpSuite::AeadAes128Gcm, Webrtc::AeadAes128Gcm, Rtc::AeadAes128Gcm),
    (SrtpSuite::AeadAes256Gcm, Webrtc::AeadAes256Gcm, Rtc::AeadAes256Gcm),
];

const LENGTH: usize = 172;
const ROOM: usize = LENGTH + MAX_OVERHEAD;
static MATERIAL: [u8; 32] = [0x5A; 32];
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

fn material(suite: SrtpSuite) -> (&'static [u8], &'static [u8]) {
    (&MATERIAL[..suite.key_length()], &MATERIAL[..suite.salt_length()])
}

fn our_key(suite: SrtpSuite) -> MasterKey {
    let (key, salt) = material(suite);
    MasterKey::new(suite, key, salt).expect("lengths of the suite")
}

fn ours(group: &mut BenchmarkGroup<'_, WallTime>, suite: SrtpSuite) {
    let (mut source, mut outbound) = (Source(0), Outbound::new(&our_key(suite)));
    let fresh = || source.next();
    measure::each(group, "seal, stox", BatchSize::SmallInput, fresh, |buffer| {
        let mut packet = Packet::new(buffer, LENGTH).expect("it fits");
        outbound.seal(&mut packet, Media::Rtp).expect("a fresh index");
    });
    let (mut source, mut outbound) = (Source(0), Outbound::new(&our_key(suite)));
    let mut inbound = Inbound::new(&our_key(suite));
    let sealed = || {
        let mut buffer = source.next();
        let mut packet = Packet::new(&mut buffer, LENGTH).expect("it fits");
        outbound.seal(&mut packet, Media::Rtp).expect("a fresh index");
        let length = packet.len();
        (buffer, length)
    };
    measure::each(group, "open, stox", BatchSize::SmallInput, sealed, |(buffer, length)| {
        let mut packet = Packet::new(buffer, *length).expect("it fits");
        inbound.open(&mut packet, Media::Rtp).expect("authentic");
    });
}

fn theirs<C: Context>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, context: impl Fn() -> C) {
    let (mut source, mut sender) = (Source(0), context());
    let fresh = || source.next();
    measure::each(group, format!("seal, {name}"), BatchSize::SmallInput, fresh, |buffer| {
        sender.seal(&buffer[..LENGTH])
    });
    let (mut source, mut sender, mut receiver) = (Source(0), context(), context());
    let sealed = || sender.seal(&source.next()[..LENGTH]).as_ref().to_vec();
    measure::each(group, format!("open, {name}"), BatchSize::SmallInput, sealed, |sealed| receiver.open(sealed));
}

/// One direction of another implementation.
trait Context {
    fn seal(&mut self, packet: &[u8]) -> impl AsRef<[u8]> + use<Self>;
    fn open(&mut self, packet: &[u8]) -> impl AsRef<[u8]> + use<Self>;
}

impl Context for webrtc_srtp::context::Context {
    fn seal(&mut self, packet: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.encrypt_rtp(packet).expect("it seals")
    }

    fn open(&mut self, packet: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.decrypt_rtp(packet).expect("authentic")
    }
}

impl Context for rtc_srtp::context::Context {
    fn seal(&mut self, packet: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.encrypt_rtp(packet).expect("it seals")
    }

    fn open(&mut self, packet: &[u8]) -> impl AsRef<[u8]> + use<> {
        self.decrypt_rtp(packet).expect("authentic")
    }
}

fn webrtc_context(suite: SrtpSuite, profile: Webrtc) -> webrtc_srtp::context::Context {
    let (key, salt) = material(suite);
    let window = Some(webrtc_srtp::option::srtp_replay_protection(WINDOW));
    webrtc_srtp::context::Context::new(key, salt, profile, window, None).expect("lengths of the suite")
}

fn rtc_context(suite: SrtpSuite, profile: Rtc) -> rtc_srtp::context::Context {
    let (key, salt) = material(suite);
    let window = Some(rtc_srtp::option::srtp_replay_protection(WINDOW));
    rtc_srtp::context::Context::new(key, salt, profile, window, None, RingProvider::new().crypto())
        .expect("lengths of the suite")
}

fn srtp(criterion: &mut Criterion) {
    for (suite, webrtc, rtc) in SUITES {
        let mut group = criterion.benchmark_group(suite.as_str());
        ours(&mut group, suite);
        theirs(&mut group, "webrtc-srtp", || webrtc_context(suite, webrtc));
        theirs(&mut group, "rtc-srtp", || rtc_context(suite, rtc));
        group.finish();
    }
}

criterion_group!(benches, srtp);
criterion_main!(benches);
