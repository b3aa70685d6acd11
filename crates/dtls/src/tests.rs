//! Engines against each other and against bare OpenSSL, over a simulated network on virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use model::{Fingerprint, FingerprintVerdict, HashFunction, SrtpSuite};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslStream, SslVerifyMode, SslVersion};

use crate::{AssociationId, Certificate, Config, Engine, FailureReason, FromDtls, Role, SUITES, ToDtls};

const ID: AssociationId = AssociationId(7);
const A: usize = 0;
const B: usize = 1;
const SECOND: Duration = Duration::from_secs(1);

static ECDSA: LazyLock<Arc<Certificate>> = LazyLock::new(|| Arc::new(Certificate::generate().expect("OpenSSL works")));
static OTHER: LazyLock<Arc<Certificate>> = LazyLock::new(|| Arc::new(Certificate::generate().expect("OpenSSL works")));
/// RSA-2048 signed with SHA-1, as old FreeSWITCH makes them.
static RSA: LazyLock<Arc<Certificate>> = LazyLock::new(|| {
    let key = PKey::from_rsa(Rsa::generate(2048).expect("OpenSSL works")).expect("a key is a key");
    Arc::new(Certificate::of(key, MessageDigest::sha1()).expect("OpenSSL works"))
});

static P521: LazyLock<Arc<Certificate>> = LazyLock::new(|| {
    let group = EcGroup::from_curve_name(Nid::SECP521R1).expect("OpenSSL knows it");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("OpenSSL works")).expect("a key is a key");
    Arc::new(Certificate::of(key, MessageDigest::sha512()).expect("OpenSSL works"))
});
static ED25519: LazyLock<Arc<Certificate>> = LazyLock::new(|| {
    let key = PKey::generate_ed25519().expect("OpenSSL works");
    Arc::new(Certificate::of(key, MessageDigest::null()).expect("OpenSSL works"))
});

/// Two engines with one association, and a network between them. Loss and delay come from a seed.
struct Network {
    engines: [Engine; 2],
    told: [Vec<FromDtls>; 2],
    sent: [u32; 2],
    now: Instant,
    loss: u64,
    seed: u64,
    in_flight: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
}

impl Network {
    fn new(certificates: [&Arc<Certificate>; 2], seed: u64) -> Self {
        #[allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
        let now = Instant::now();
        let engine = |certificate: &Arc<Certificate>| {
            Engine::new(Config { certificate: certificate.clone(), max_associations: 2 })
        };
        Self {
            engines: certificates.map(engine),
            told: [Vec::new(), Vec::new()],
            sent: [0, 0],
            now,
            loss: 0,
            seed,
            in_flight: BTreeMap::new(),
        }
    }

    /// A as client and B as server, each told the other's fingerprint, with these suites.
    fn open(certificates: [&Arc<Certificate>; 2], suites: [&[SrtpSuite]; 2], seed: u64) -> Self {
        let mut network = Self::new(certificates, seed);
        network.handle(B, open(Role::Server, suites[B], vec![sha256(certificates[A])]));
        network.handle(A, open(Role::Client, suites[A], vec![sha256(certificates[B])]));
        network
    }

    fn handle(&mut self, at: usize, input: ToDtls) {
        self.engines[at].handle(input, self.now);
        self.carry();
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
            let timers = self.engines.iter().map(Engine::poll_timeout);
            let Some(next) = timers.chain([arrival]).flatten().min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            if let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, bytes) = entry.remove();
                self.handle(to, ToDtls::Packet { association: ID, bytes });
            }
            for engine in &mut self.engines {
                if engine.poll_timeout().is_some_and(|at| at <= self.now) {
                    engine.handle_timeout(self.now);
                }
            }
            self.carry();
        }
        self.now = end;
    }

    fn carry(&mut self) {
        for from in [A, B] {
            while let Some(output) = self.engines[from].poll() {
                let FromDtls::Transmit { bytes, .. } = output else {
                    self.told[from].push(output);
                    continue;
                };
                assert!(bytes.len() <= 1200, "a datagram of {} bytes", bytes.len());
                self.sent[from] += 1;
                if self.random() % 100 >= self.loss {
                    let at = self.now + Duration::from_millis(20 + self.random() % 30);
                    let order = self.random();
                    self.in_flight.insert((at, order), (1 - from, bytes));
                }
            }
        }
    }

    fn connected(&self) -> bool {
        self.told.iter().all(|told| told.iter().any(|news| matches!(news, FromDtls::Connected { .. })))
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

fn open(role: Role, suites: &[SrtpSuite], fingerprints: Vec<Fingerprint>) -> ToDtls {
    ToDtls::Open { association: ID, role, suites: suites.to_vec(), fingerprints, certificate: None }
}

fn sha256(certificate: &Certificate) -> Fingerprint {
    certificate.fingerprint(HashFunction::Sha256)
}

#[test]
fn both_ends_connect_and_hold_the_same_keys_whatever_their_certificates() {
    let same = [(&*ECDSA, &*OTHER), (&*RSA, &*RSA)];
    let mixed = [&*RSA, &*P521].into_iter().flat_map(|other| [(&*ECDSA, other), (other, &*ECDSA)]);
    let client_only = [(&*ED25519, &*ECDSA)]; // OpenSSL serves TLS with it, but not DTLS
    for (a, b) in mixed.chain(same).chain(client_only) {
        let mut network = Network::open([a, b], [&SUITES, &SUITES], 1);
        network.run(SECOND);
        let [told_a, told_b] = &network.told;
        let [FromDtls::Connected { suite, keys: ours, .. }] = &told_a[..] else { panic!("{told_a:?}") };
        let [FromDtls::Connected { suite: also, keys: theirs, .. }] = &told_b[..] else { panic!("{told_b:?}") };
        assert_eq!((suite, also), (&SrtpSuite::AeadAes128Gcm, &SrtpSuite::AeadAes128Gcm));
        assert_eq!((&ours.local, &ours.remote), (&theirs.remote, &theirs.local));
        assert_ne!(ours.local, ours.remote);
        assert_eq!(ours.local.reveal().len(), 28);
        assert!(network.sent.iter().sum::<u32>() <= 6, "without loss nothing is repeated: {:?}", network.sent);
    }
}

#[test]
fn the_suite_is_the_best_of_those_that_both_ends_allow() {
    for suite in SUITES {
        let mut network = Network::open([&ECDSA, &OTHER], [&SUITES, &[suite]], 2);
        network.run(SECOND);
        let [FromDtls::Connected { suite: chosen, keys, .. }] = &network.told[A][..] else { panic!("{suite:?}") };
        assert_eq!((*chosen, keys.local.reveal().len()), (suite, suite.key_length() + suite.salt_length()));
    }
    let reversed = [SrtpSuite::AesCm128Sha1_32, SrtpSuite::AeadAes256Gcm];
    let mut network = Network::open([&ECDSA, &OTHER], [&reversed, &SUITES], 3);
    network.run(SECOND);
    assert!(matches!(network.told[B][..], [FromDtls::Connected { suite: SrtpSuite::AeadAes256Gcm, .. }]));
}

#[test]
fn without_a_common_suite_both_ends_fail() {
    let (a, b) = ([SrtpSuite::AesCm128Sha1_80], [SrtpSuite::AeadAes128Gcm]);
    let mut network = Network::open([&ECDSA, &OTHER], [&a, &b], 4);
    network.run(SECOND);
    for told in &network.told {
        assert_eq!(told, &[FromDtls::Failed { association: ID, reason: FailureReason::NoCommonSuite }]);
    }
    let mut network = Network::new([&ECDSA, &OTHER], 4);
    network.handle(A, open(Role::Client, &[SrtpSuite::Aes256CmSha1_80], Vec::new()));
    assert_eq!(network.told[A], [FromDtls::Failed { association: ID, reason: FailureReason::NoCommonSuite }]);
}

#[test]
fn a_tenth_of_loss_fails_no_handshake() {
    for seed in 0..100 {
        for certificates in [[&*ECDSA, &*OTHER], [&*RSA, &*RSA]] {
            let mut network = Network::open(certificates, [&SUITES, &SUITES], seed);
            network.loss = 10;
            network.run(31 * SECOND);
            assert!(network.connected(), "seed {seed}: {:?}", network.told);
        }
    }
}

#[test]
fn a_quarter_of_loss_fails_few_handshakes_and_leaves_none_hanging() {
    let mut failed = 0;
    for seed in 0..200 {
        let mut network = Network::open([&ECDSA, &RSA], [&SUITES, &SUITES], seed);
        network.loss = 25;
        network.run(31 * SECOND);
        for told in &network.told {
            let timeout = FromDtls::Failed { association: ID, reason: FailureReason::Timeout };
            assert!(matches!(told[..], [FromDtls::Connected { .. }]) || *told == [timeout], "seed {seed}: {told:?}");
        }
        failed += u32::from(!network.connected());
    }
    assert!(failed <= 4, "{failed} of 200 failed");
}

#[test]
fn a_client_without_an_answer_repeats_its_hello_by_our_clock_and_gives_up() {
    let mut network = Network::new([&ECDSA, &OTHER], 5);
    network.loss = 100;
    network.handle(A, open(Role::Client, &SUITES, vec![sha256(&OTHER)]));
    let mut sent = Vec::new();
    for tick in 0..=300 {
        if u32::try_from(sent.len()) != Ok(network.sent[A]) {
            sent.push(tick * 100);
        }
        network.run(Duration::from_millis(100));
    }
    assert_eq!(sent, [0, 400, 1200, 2800, 6000, 10000, 14000, 18000, 22000, 26000]);
    assert_eq!(network.told[A], [FromDtls::Failed { association: ID, reason: FailureReason::Timeout }]);
    assert_eq!(network.engines[A].poll_timeout(), None);
}

#[test]
fn a_lost_last_flight_is_repeated_when_the_peer_asks() {
    let mut network = Network::open([&ECDSA, &OTHER], [&SUITES, &SUITES], 6);
    while !network.told[B].iter().any(|news| matches!(news, FromDtls::Connected { .. })) {
        network.run(Duration::from_millis(1));
    }
    network.in_flight.clear();
    network.run(200 * Duration::from_millis(1));
    assert!(network.told[A].is_empty());
    network.run(SECOND);
    assert!(network.connected());
}

#[test]
fn a_certificate_that_was_not_promised_is_refused_without_keys() {
    let mut network = Network::new([&ECDSA, &OTHER], 7);
    network.handle(B, open(Role::Server, &SUITES, vec![sha256(&OTHER)]));
    network.handle(A, open(Role::Client, &SUITES, vec![sha256(&ECDSA)]));
    network.run(SECOND);
    let refused =
        FromDtls::Refused { association: ID, suite: SrtpSuite::AeadAes128Gcm, verdict: FingerprintVerdict::Mismatched };
    assert_eq!(network.told, [vec![refused.clone()], vec![refused]]);
}

#[test]
fn nothing_is_told_before_the_fingerprints_are_known() {
    for (promised, right) in [(&*ECDSA, true), (&*OTHER, false)] {
        let mut network = Network::new([&ECDSA, &OTHER], 8);
        network.handle(B, open(Role::Server, &SUITES, Vec::new()));
        network.handle(A, open(Role::Client, &SUITES, vec![sha256(&OTHER)]));
        network.run(SECOND);
        assert!(network.told[B].is_empty());
        network.handle(B, ToDtls::SetFingerprints { association: ID, fingerprints: vec![sha256(promised)] });
        assert_eq!(matches!(network.told[B][..], [FromDtls::Connected { .. }]), right);
        assert_eq!(matches!(network.told[B][..], [FromDtls::Refused { .. }]), !right);
    }
}

#[test]
fn an_association_may_show_a_certificate_of_its_own() {
    let mut network = Network::new([&ECDSA, &OTHER], 9);
    network.handle(B, open(Role::Server, &SUITES, vec![sha256(&RSA)]));
    network.handle(
        A,
        ToDtls::Open {
            association: ID,
            role: Role::Client,
            suites: SUITES.to_vec(),
            fingerprints: vec![sha256(&OTHER)],
            certificate: Some(RSA.clone()),
        },
    );
    network.run(SECOND);
    assert!(network.connected());
}

#[test]
fn a_close_reaches_the_peer_and_frees_both_ends() {
    let mut network = Network::open([&ECDSA, &OTHER], [&SUITES, &SUITES], 10);
    network.run(SECOND);
    network.handle(A, ToDtls::Close { association: ID });
    network.run(SECOND);
    assert_eq!(network.told[A].len(), 1, "who closes is told nothing more");
    assert_eq!(network.told[B].last(), Some(&FromDtls::Closed { association: ID }));
    assert!(network.engines.iter().all(|engine| engine.poll_timeout().is_none()));
}

#[test]
fn goodbye_is_said_long_after_the_handshake_was_forgotten() {
    let mut network = Network::open([&ECDSA, &OTHER], [&SUITES, &SUITES], 11);
    network.run(120 * SECOND);
    assert!(network.engines.iter().all(|engine| engine.poll_timeout().is_none()));
    let sent = network.sent[A];
    network.handle(A, ToDtls::Close { association: ID });
    assert_eq!(network.sent[A], sent + 1);
    network.run(SECOND);
    assert!(network.connected() && network.engines[B].counters().unwanted == 1);
}

#[test]
fn garbage_neither_panics_nor_spoils_a_handshake() {
    for seed in 0..20 {
        let mut network = Network::open([&ECDSA, &OTHER], [&SUITES, &SUITES], seed);
        for round in 0..100 {
            let length = usize::try_from(network.random() % 200).expect("small");
            let mut bytes: Vec<u8> = (0..length).map(|_| network.random().to_le_bytes()[0]).collect();
            // Some of it looks like records of epoch 1, which OpenSSL keeps for later.
            if round % 2 == 0 && length > 13 {
                bytes[..5].copy_from_slice(&[22, 0xfe, 0xfd, 0, 1]);
            }
            network.handle(usize::from(round % 4 < 2), ToDtls::Packet { association: ID, bytes });
            network.run(Duration::from_millis(1));
        }
        network.run(5 * SECOND);
        assert!(network.connected(), "seed {seed}: {:?}", network.told);
    }
}

#[test]
fn a_broken_handshake_message_is_never_a_panic() {
    for seed in 0..300 {
        let mut network = Network::open([&ECDSA, &OTHER], [&SUITES, &SUITES], seed);
        for _ in 0..8 {
            network.run(Duration::from_millis(15));
            let draw = network.random();
            if let Some((_, bytes)) = network.in_flight.values_mut().next() {
                let bit = usize::try_from(draw).expect("64-bit") % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
        network.run(40 * SECOND);
        assert!(network.told.iter().all(|told| told.len() <= 2));
    }
}

#[test]
fn a_flood_during_the_handshake_is_cut_off_and_counted() {
    let mut network = Network::new([&ECDSA, &OTHER], 12);
    network.handle(B, open(Role::Server, &SUITES, Vec::new()));
    for _ in 0..600 {
        network.handle(B, ToDtls::Packet { association: ID, bytes: vec![22; 40] });
    }
    network.handle(B, ToDtls::Packet { association: AssociationId(8), bytes: vec![22; 40] });
    let counters = network.engines[B].counters();
    assert_eq!((counters.unwanted, counters.unknown_association), (100, 1));
}

#[test]
fn associations_are_limited() {
    let mut network = Network::new([&ECDSA, &OTHER], 13);
    for number in 0..3 {
        let association = AssociationId(number);
        let suites = SUITES.to_vec();
        let fingerprints = Vec::new();
        let input = ToDtls::Open { association, role: Role::Server, suites, fingerprints, certificate: None };
        network.handle(A, input);
    }
    assert_eq!(network.told[A], [FromDtls::Failed { association: AssociationId(2), reason: FailureReason::TooMany }]);
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let mut bare = Bare::client(|_| {});
    assert_eq!(
        bare.against_our_server(),
        Some(FromDtls::Refused {
            association: ID,
            suite: SrtpSuite::AeadAes128Gcm,
            verdict: FingerprintVerdict::NoCertificate,
        })
    );
}

#[test]
fn dtls_1_0_is_refused() {
    let mut bare = Bare::client(|context| {
        context.set_max_proto_version(Some(SslVersion::DTLS1)).expect("OpenSSL knows it");
        context.set_min_proto_version(Some(SslVersion::DTLS1)).expect("OpenSSL knows it");
    });
    let failed = FromDtls::Failed { association: ID, reason: FailureReason::Handshake };
    assert_eq!(bare.against_our_server(), Some(failed));
}

#[test]
fn a_client_without_use_srtp_is_refused() {
    let mut bare = Bare::new(SslContext::builder(SslMethod::dtls()).expect("OpenSSL works"), 1200);
    let failed = FromDtls::Failed { association: ID, reason: FailureReason::NoCommonSuite };
    assert_eq!(bare.against_our_server(), Some(failed));
}

#[test]
fn a_hello_in_two_datagrams_is_put_together() {
    let mut context = SslContext::builder(SslMethod::dtls()).expect("OpenSSL works");
    context.set_tlsext_use_srtp("SRTP_AES128_CM_SHA1_80").expect("OpenSSL knows it");
    context.set_certificate(&RSA.x509).expect("a certificate");
    context.set_private_key(&RSA.key).expect("its key");
    let mut bare = Bare::new(context, 256);
    assert_eq!(bare.hello_datagrams(), 2);
    let Some(FromDtls::Connected { suite, keys, .. }) = bare.against_our_server() else { panic!("not connected") };
    assert_eq!((suite, keys.remote.reveal().len()), (SrtpSuite::AesCm128Sha1_80, 30));
    let mut exported = [0; 60];
    bare.0.ssl().export_keying_material(&mut exported, "EXTRACTOR-dtls_srtp", None).expect("connected");
    assert_eq!(keys.remote.reveal()[..], [&exported[..16], &exported[32..46]].concat());
    assert_eq!(keys.local.reveal()[..], [&exported[16..32], &exported[46..]].concat());
}

/// A client of OpenSSL's own.
struct Bare(SslStream<Queues>);

impl Bare {
    fn client(configure: impl FnOnce(&mut SslContextBuilder)) -> Self {
        let mut context = SslContext::builder(SslMethod::dtls()).expect("OpenSSL works");
        context.set_tlsext_use_srtp("SRTP_AEAD_AES_128_GCM").expect("OpenSSL knows it");
        configure(&mut context);
        Self::new(context, 1200)
    }

    fn new(mut context: SslContextBuilder, mtu: u32) -> Self {
        context.set_verify(SslVerifyMode::NONE);
        context.set_options(SslOptions::NO_QUERY_MTU);
        context.set_cipher_list("ALL:@SECLEVEL=0").expect("OpenSSL knows them");
        let mut ssl = Ssl::new(&context.build()).expect("OpenSSL works");
        ssl.set_mtu(mtu).expect("a fit size");
        ssl.set_connect_state();
        Self(SslStream::new(ssl, Queues::default()).expect("OpenSSL works"))
    }

    fn hello_datagrams(&mut self) -> usize {
        let _ = self.0.do_handshake();
        self.0.get_ref().outgoing.len()
    }

    /// What our server tells about it, which is promised an RSA certificate.
    fn against_our_server(&mut self) -> Option<FromDtls> {
        let mut network = Network::new([&ECDSA, &OTHER], 14);
        let server = &mut network.engines[B];
        server.handle(open(Role::Server, &SUITES, vec![sha256(&RSA)]), network.now);
        let mut news = None;
        for _ in 0..10 {
            let _ = self.0.do_handshake();
            for bytes in self.0.get_mut().outgoing.drain(..) {
                server.handle(ToDtls::Packet { association: ID, bytes }, network.now);
            }
            while let Some(output) = server.poll() {
                match output {
                    FromDtls::Transmit { bytes, .. } => self.0.get_mut().incoming.push_back(bytes),
                    told @ (FromDtls::Connected { .. }
                    | FromDtls::Refused { .. }
                    | FromDtls::Failed { .. }
                    | FromDtls::Closed { .. }) => news = Some(told),
                }
            }
        }
        news
    }
}

#[derive(Default)]
struct Queues {
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

impl Read for Queues {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.pop_front().ok_or(ErrorKind::WouldBlock)?;
        buffer[..datagram.len()].copy_from_slice(&datagram);
        Ok(datagram.len())
    }
}

impl Write for Queues {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.outgoing.push(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
