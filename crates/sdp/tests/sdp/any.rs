//! Any description that can be written.

use std::net::SocketAddr;

use model::{
    Bandwidth, Candidate, CandidateKind, Codec, Component, Crypto, Direction, DtlsParameters, Feedback, Fingerprint,
    HashFunction, HeaderExtension, IceParameters, MediaKind, MediaPath, MediaStream, Parameter, PayloadType, Profile,
    Secret, Setup, SrtpSuite, StreamId,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A word of letters.
fn word() -> impl Strategy<Value = String> {
    "[a-zA-Z][a-zA-Z0-9-]{0,8}"
}

fn socket() -> impl Strategy<Value = SocketAddr> {
    let port = 1_024..=65_534_u16;
    prop_oneof![
        (1..=223_u8, any::<[u8; 3]>(), port.clone()).prop_filter_map("usable", |(a, [b, c, d], port)| {
            Some(SocketAddr::from(([a, b, c, d], port))).filter(|s| !s.ip().is_multicast() && !s.ip().is_unspecified())
        }),
        (any::<[u16; 7]>(), port).prop_map(|(rest, port)| {
            let [b, c, d, e, f, g, h] = rest;
            SocketAddr::from(([0x2001, b, c, d, e, f, g | 1, h].map(|part| part), port))
        }),
    ]
}

fn direction() -> impl Strategy<Value = Direction> {
    (any::<bool>(), any::<bool>()).prop_map(|(sends, receives)| Direction::new(sends, receives))
}

fn feedback() -> impl Strategy<Value = Vec<Feedback>> {
    vec(
        (word(), option::of(word())).prop_map(|(kind, rest)| Feedback { kind, subtype: rest.unwrap_or_default() }),
        0..3,
    )
}

fn codec(number: u8) -> impl Strategy<Value = Codec> {
    let parameter = (word(), "[a-zA-Z0-9=,/+-]{1,12}").prop_map(|(name, value)| Parameter { name, value });
    let name = word().prop_filter("opus is stereo", |name| !name.eq_ignore_ascii_case("opus"));
    (name, 1..200_000_u32, 1..8_u8, vec(parameter, 0..3), feedback()).prop_map(
        move |(name, clock_rate, channels, parameters, feedback)| Codec {
            payload_type: PayloadType::try_from(number).expect("below 128"),
            name,
            clock_rate,
            channels,
            parameters,
            feedback,
        },
    )
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let kind = prop_oneof![
        Just(CandidateKind::Host),
        Just(CandidateKind::ServerReflexive),
        Just(CandidateKind::PeerReflexive),
        Just(CandidateKind::Relayed)
    ];
    ("[a-zA-Z0-9+/]{1,32}", any::<bool>(), 1..=0x7fff_ffff_u32, socket(), kind, option::of(socket()), 0..5_u32)
        .prop_map(|(foundation, rtp, priority, address, kind, related, generation)| Candidate {
            foundation,
            component: if rtp { Component::Rtp } else { Component::Rtcp },
            priority,
            address,
            kind,
            related,
            generation,
        })
}

fn dtls() -> impl Strategy<Value = DtlsParameters> {
    let fingerprint = (0..5_usize, any::<[u8; 32]>(), any::<[u8; 32]>()).prop_map(|(hash, a, b)| {
        let hash = HashFunction::ALL[hash];
        let digest = a.iter().chain(&b).copied().take(hash.length()).collect();
        Fingerprint { hash, digest }
    });
    let setup = prop_oneof![Just(Setup::Active), Just(Setup::Passive), Just(Setup::Actpass), Just(Setup::Holdconn)];
    (vec(fingerprint, 1..3), setup).prop_map(|(fingerprints, setup)| DtlsParameters {
        fingerprints,
        setup,
        tls_id: None,
    })
}

fn crypto(tag: u32) -> impl Strategy<Value = Crypto> {
    let mki = option::of((any::<u64>(), 1..=128_u8));
    let lifetime = option::of(1..=1_u64 << 48).prop_map(|packets| packets.and_then(|packets| packets.try_into().ok()));
    (0..8_usize, vec(any::<u8>(), 64), mki, lifetime, any::<bool>()).prop_map(
        move |(suite, bytes, mki, lifetime, clear)| {
            let suite = SrtpSuite::ALL[suite];
            let key = bytes[..suite.key_length() + suite.salt_length()].to_vec();
            Crypto { mki, lifetime, unencrypted_srtcp: clear, ..Crypto::new(tag, suite, Secret::new(key)) }
        },
    )
}

fn path() -> impl Strategy<Value = MediaPath> {
    let ice = ("[a-zA-Z0-9+/]{4,32}", "[a-zA-Z0-9+/]{22,40}", vec(candidate(), 0..4), any::<bool>());
    (
        socket(),
        socket(),
        any::<[bool; 2]>(),
        0..6_usize,
        option::of(ice),
        option::of(dtls()),
        (crypto(1), crypto(2), 0..3_usize),
    )
        .prop_map(|(rtp, rtcp, [mux, mux_only], profile, ice, dtls, (first, second, keys))| MediaPath {
            rtp: Some(rtp),
            rtcp: Some(rtcp).filter(|rtcp| rtcp != &rtp),
            rtcp_mux: mux || mux_only,
            rtcp_mux_only: mux_only,
            profile: Profile::ALL[profile],
            candidates: ice.as_ref().map(|ice| ice.2.clone()).unwrap_or_default(),
            end_of_candidates: ice.as_ref().is_some_and(|ice| ice.3),
            ice: ice.map(|(ufrag, pwd, ..)| IceParameters { ufrag, pwd: Secret::new(pwd), lite: false }),
            dtls,
            crypto: [first, second].into_iter().take(keys).collect(),
            surroundings: model::Surroundings::default(),
        })
}

prop_compose! {
    pub(crate) fn stream(id: u16)(
        audio: bool,
        direction in direction(),
        codecs in (codec(96), codec(0), 1..3_usize),
        feedback in feedback(),
        extensions in vec((word(), direction()), 0..3),
        rtcp_reduced_size: bool,
        ptime in option::of(1..200_u32),
        maxptime in option::of(1..200_u32),
        bandwidth in vec((word(), any::<u64>()), 0..2),
        path in path(),
    ) -> MediaStream {
        let (first, second, count) = codecs;
        let extension = |(index, (uri, direction)): (usize, (String, Direction))| HeaderExtension {
            id: u16::try_from(index + 1).expect("few"), uri, direction,
        };
        MediaStream {
            id: StreamId(id),
            name: String::new(),
            kind: if audio { MediaKind::Audio } else { MediaKind::Video },
            rejected: false,
            direction,
            codecs: [first, second].into_iter().take(count).collect(),
            extensions: extensions.into_iter().enumerate().map(extension).collect(),
            feedback,
            rtcp_reduced_size,
            ptime,
            maxptime,
            bandwidth: bandwidth.into_iter().map(|(kind, value)| Bandwidth { kind, value }).collect(),
            path,
        }
    }
}
