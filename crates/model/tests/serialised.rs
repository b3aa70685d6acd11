//! Everything that travels between translator and relay survives being written and read.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::{
    Bandwidth, CallId, CallStatistics, Candidate, CandidateKind, Codec, Command, CommandError, Component, Crypto,
    Description, Direction, DtlsParameters, DtlsState, DtmfDigit, Event, Feedback, Fingerprint, FingerprintVerdict,
    FromRelay, HashFunction, HeaderExtension, IceParameters, IceRole, IceState, Learning, LegId, LegPolicy,
    LegStatistics, MediaKind, MediaPath, MediaStream, Mos, Mute, News, Parameter, PathPolicy, PayloadType, Profile,
    Reply, Reporting, Request, RequestId, RestartedPath, Secret, Security, Setup, SourceStatistics, SrtpSuite, Ssrc,
    StreamId, StreamStatistics, Surroundings, ToRelay, Way,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const CALL: u64 = u64::MAX;
const LEG: LegId = LegId(1);
const STREAM: StreamId = StreamId(2);

#[test]
fn every_command_survives() {
    let commands = commands();
    let kinds: BTreeSet<usize> = commands.iter().map(kind_of_command).collect();
    assert_eq!(kinds, (0..16).collect(), "one of each");
    for (id, command) in (0..).zip(commands) {
        assert_survives(&ToRelay::Command(Request { id: RequestId(id), command }));
    }
}

#[test]
fn every_reply_survives() {
    let statistics = Reply::Statistics(statistics());
    let restarted = RestartedPath { stream: STREAM, ice: ice(), candidates: candidates() };
    let replies = [Reply::Done, Reply::Local(description()), Reply::Restarted(vec![restarted]), statistics];
    for reply in &replies {
        // A new kind of reply stops the build here, to be added above.
        match reply {
            Reply::Done | Reply::Local(_) | Reply::Restarted(_) | Reply::Statistics(_) => (),
        }
    }
    for reply in replies {
        assert_survives(&FromRelay::Reply { id: RequestId(u64::MAX), outcome: Ok(reply) });
    }
}

#[test]
fn every_error_survives() {
    for error in [
        CommandError::UnknownCall,
        CommandError::CallExists,
        CommandError::BadLegs,
        CommandError::UnknownLeg,
        CommandError::UnknownStream,
        CommandError::OutOfOrder,
        CommandError::AnswerMismatch,
        CommandError::SecurityRequired,
        CommandError::NoUsableKey,
        CommandError::BadSetup,
        CommandError::IceRequired,
        CommandError::NoUsableAddress,
        CommandError::NoFreePort,
        CommandError::NoFreeDescriptor,
        CommandError::NoMemory,
        CommandError::NoSocket,
        CommandError::TooManyStreams,
        CommandError::TooManyCalls,
        CommandError::NoTelephoneEvent,
        CommandError::Overloaded,
        CommandError::Stopping,
    ] {
        assert_survives(&FromRelay::Reply { id: RequestId(0), outcome: Err(error) });
    }
}

#[test]
fn every_event_survives() {
    let news = news();
    let kinds: BTreeSet<usize> = news.iter().map(kind_of_news).collect();
    assert_eq!(kinds, (0..10).collect(), "one of each");
    for news in news {
        assert_survives(&FromRelay::Event(Event { call: CALL.into(), news }));
    }
}

#[test]
fn what_cannot_be_is_not_read() {
    assert!(serde_json::from_str::<PayloadType>("128").is_err());
    assert!(serde_json::from_str::<DtmfDigit>("\"E\"").is_err());
    assert!(serde_json::from_str::<Reply>("\"Maybe\"").is_err());
}

fn assert_survives<T: Debug + DeserializeOwned + PartialEq + Serialize>(value: &T) {
    let written = serde_json::to_string(value).expect("it can be written");
    let read: T = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(read, *value, "{written}");
}

/// A new command stops the build here, to be added to [`commands`].
fn kind_of_command(command: &Command) -> usize {
    match command {
        Command::CreateCall { .. } => 0,
        Command::RemoteOffer { .. } => 1,
        Command::LocalAnswer { .. } => 2,
        Command::LocalOffer { .. } => 3,
        Command::RemoteAnswer { .. } => 4,
        Command::Rollback { .. } => 5,
        Command::AddCandidates { .. } => 6,
        Command::RestartIce { .. } => 7,
        Command::Hold { .. } => 8,
        Command::RemoveStream { .. } => 9,
        Command::SendDtmf { .. } => 10,
        Command::Query { .. } => 11,
        Command::End { .. } => 12,
        Command::RequestPicture { .. } => 13,
        Command::Mute { .. } => 14,
        Command::Renew { .. } => 15,
    }
}

fn commands() -> Vec<Command> {
    let call = CallId::from(CALL);
    let mut commands = vec![
        Command::CreateCall { call, legs: policies() },
        Command::RemoteOffer { call, leg: LEG, offer: description() },
        Command::LocalAnswer { call, leg: LEG, answer: description() },
        Command::LocalOffer { call, leg: LEG, offer: description() },
        Command::RemoteAnswer { call, leg: LEG, answer: Description::default() },
        Command::Rollback { call, leg: LEG },
        Command::Renew { call, leg: LEG },
        Command::AddCandidates {
            call,
            leg: LEG,
            stream: STREAM,
            ufrag: Some("ufrag".to_owned()),
            candidates: candidates(),
            end_of_candidates: true,
        },
        Command::RestartIce { call, leg: LEG, stream: None, remote: None },
        Command::RestartIce { call, leg: LEG, stream: Some(STREAM), remote: Some(ice()) },
        Command::RemoveStream { call, stream: STREAM },
        Command::RequestPicture { call, leg: LEG, stream: None },
        Command::RequestPicture { call, leg: LEG, stream: Some(STREAM) },
        Command::Query { call },
        Command::End { call },
    ];
    for direction in [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive] {
        commands.push(Command::Hold { call, leg: LEG, direction });
    }
    for (sound, key_presses) in [(false, false), (true, false), (false, true)] {
        commands.push(Command::Mute { call, leg: LEG, mute: Mute { sound, key_presses } });
    }
    for event in 0..16 {
        let digit = DtmfDigit::from_event(event).expect("sixteen keys");
        commands.push(Command::SendDtmf { call, leg: LEG, digit, duration_ms: u32::MAX });
    }
    commands
}

fn policies() -> Vec<LegPolicy> {
    let paths = [
        PathPolicy::Ice { role: IceRole::Offerer, required: true },
        PathPolicy::Ice { role: IceRole::Controlling, required: false },
        PathPolicy::Ice { role: IceRole::Controlled, required: false },
        PathPolicy::Plain { learning: Learning::Off },
        PathPolicy::Plain { learning: Learning::SignalledAddress },
        PathPolicy::Plain { learning: Learning::Any },
        PathPolicy::Plain { learning: Learning::First },
        PathPolicy::Plain { learning: Learning::Best },
        PathPolicy::Plain { learning: Learning::Settled },
    ];
    let security = vec![Security::Dtls, Security::Sdes, Security::Rtp];
    paths
        .map(|path| LegPolicy {
            path,
            security: security.clone(),
            address: Some("inside".to_owned()),
            sender: Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            reporting: Reporting::Terminated,
            ..LegPolicy::jingle(LEG)
        })
        .to_vec()
}

fn ice() -> IceParameters {
    IceParameters { ufrag: "abcd".to_owned(), pwd: Secret::new("0123456789012345678901".to_owned()), lite: true }
}

fn candidates() -> Vec<Candidate> {
    let kinds = [
        (CandidateKind::Host, Component::Rtp),
        (CandidateKind::ServerReflexive, Component::Rtcp),
        (CandidateKind::PeerReflexive, Component::Rtp),
        (CandidateKind::Relayed, Component::Rtcp),
    ];
    kinds
        .map(|(kind, component)| Candidate {
            foundation: "1".to_owned(),
            component,
            priority: 2_130_706_431,
            address: SocketAddr::from((Ipv6Addr::LOCALHOST, 9)),
            kind,
            related: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 10))),
            generation: 3,
        })
        .to_vec()
}

/// A description in which everything is set.
fn description() -> Description {
    let payload_type = PayloadType::try_from(111).expect("below 128");
    let feedback = vec![Feedback { kind: "nack".to_owned(), subtype: "pli".to_owned() }];
    let codec = Codec {
        parameters: vec![Parameter::new("", "0-15"), Parameter::new("useinbandfec", "1")],
        feedback: feedback.clone(),
        ..Codec::new(payload_type, "opus", 48_000, 2)
    };
    let extension = HeaderExtension { id: 14, uri: "urn:x".to_owned(), direction: Direction::RecvOnly };
    let fingerprint = Fingerprint { hash: HashFunction::Sha256, digest: vec![0xAB; 32] };
    let crypto = SrtpSuite::ALL.map(|suite| Crypto {
        tag: 1,
        suite,
        key_and_salt: Secret::new(vec![0, 127, 255]),
        mki: Some((u64::MAX, 128)),
        lifetime: "2^31".parse().ok(),
        unencrypted_srtcp: true,
    });
    let path = MediaPath {
        rtp: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 30_000))),
        rtcp: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 30_001))),
        rtcp_mux: true,
        rtcp_mux_only: true,
        profile: Profile::TlsSavpf,
        ice: Some(ice()),
        candidates: candidates(),
        end_of_candidates: true,
        dtls: Some(DtlsParameters { fingerprints: vec![fingerprint], setup: Setup::Actpass, tls_id: None }),
        crypto: crypto.to_vec(),
        surroundings: Surroundings { sender: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), waits: true, pierces: true },
    };
    let stream = MediaStream {
        rejected: true,
        direction: Direction::Inactive,
        codecs: vec![codec],
        extensions: vec![extension],
        feedback,
        rtcp_reduced_size: true,
        ptime: Some(20),
        maxptime: Some(60),
        bandwidth: vec![Bandwidth { kind: "TIAS".to_owned(), value: u64::MAX }],
        path,
        ..MediaStream::new(STREAM, "näme", MediaKind::Video)
    };
    Description { streams: vec![stream, MediaStream::new(StreamId(0), "", MediaKind::Audio)], bundle: vec![STREAM] }
}

/// A new kind of news stops the build here, to be added to [`news`].
fn kind_of_news(news: &News) -> usize {
    match news {
        News::Candidate { .. } => 0,
        News::Ice { .. } => 1,
        News::Dtls { .. } => 2,
        News::FirstPacket { .. } => 3,
        News::ConsentLost { .. } => 4,
        News::MediaTimeout { .. } => 5,
        News::Dtmf { .. } => 6,
        News::Statistics(_) => 7,
        News::Lost => 8,
        News::PictureRequested { .. } => 9,
    }
}

fn news() -> Vec<News> {
    let (leg, stream, component) = (LEG, STREAM, Component::Rtcp);
    let digit = DtmfDigit::try_from('#').expect("a key");
    let mut news = vec![
        News::ConsentLost { leg, stream },
        News::MediaTimeout { leg },
        News::Dtmf { leg, digit, duration_ms: 160 },
        News::Statistics(statistics()),
        News::Lost,
        News::PictureRequested { leg, stream },
    ];
    news.extend(candidates().into_iter().map(|candidate| News::Candidate { leg, stream, candidate }));
    news.extend([Way::Received, Way::Sent].map(|way| News::FirstPacket { leg, stream, way }));
    for state in [IceState::Checking, IceState::Connected, IceState::Disconnected, IceState::Failed] {
        news.push(News::Ice { leg, stream, component, state });
    }
    let verdicts = [FingerprintVerdict::Matched, FingerprintVerdict::Mismatched, FingerprintVerdict::NoCertificate];
    let connected = verdicts.map(|fingerprint| DtlsState::Connected { suite: SrtpSuite::AeadAes256Gcm, fingerprint });
    for state in [DtlsState::Handshaking, DtlsState::Failed, DtlsState::Closed].into_iter().chain(connected) {
        news.push(News::Dtls { leg, stream, component, state });
    }
    news
}

fn statistics() -> CallStatistics {
    let stream = StreamStatistics {
        stream: STREAM,
        packets_received: u64::MAX,
        bytes_received: 1,
        packets_sent: 2,
        bytes_sent: 3,
        packets_lost: -4,
        jitter_ms: 0.1,
        peer_lost: 5,
        peer_jitter_ms: 0.2,
        round_trip_ms: Some(31.5),
        received_mos: Some(Mos { current: 4.4, min: 1.0, max: 4.5, average: 4.25 }),
        sent_mos: None,
        sources: vec![SourceStatistics {
            ssrc: Ssrc(u32::MAX),
            packets: 6,
            bytes: 7,
            packets_lost: -1,
            jitter_ms: 0.3,
            last_timestamp: u32::MAX,
            last_sequence_number: u16::MAX,
        }],
        sent_ssrc: Some(Ssrc(0)),
    };
    let leg = LegStatistics {
        leg: LEG,
        security: Some(Security::Sdes),
        suite: Some(SrtpSuite::AesCm128Sha1_32),
        streams: vec![stream],
        rtcp_packets_received: 8,
        rtcp_bytes_received: 9,
        silent_ms: Some(10),
        dropped: vec![("replayed".to_owned(), u64::MAX)],
    };
    CallStatistics { legs: vec![leg] }
}
