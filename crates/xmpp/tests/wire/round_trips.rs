//! What is written can be read, and is the same.

use std::net::SocketAddr;

use jid::Jid;
use minidom::Element;
use model::{
    Bandwidth, Candidate, CandidateKind, Codec, Component, Crypto, Description, Direction, DtlsParameters, Feedback,
    Fingerprint, HashFunction, HeaderExtension, IceParameters, MediaKind, MediaStream, Parameter, PayloadType, Profile,
    Secret, Setup, SrtpSuite, StreamId,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use xmpp::description::{contents, describe};
use xmpp::disco::{Caps, DiscoInfo, Identity};
use xmpp::jingle::{Action, Info, Jingle, Party, Reason, ReasonCondition};
use xmpp::jingle_message::JingleMessage;
use xmpp::stanza::{Condition, ErrorKind, Payload, PresenceKind, Stanza, StanzaError, StanzaKind};
use xmpp::stream::{self, Incoming, StreamReader};

/// Text that XML can hold, with everything that has to be escaped in it.
const TEXT: &str = "[a-zA-Z0-9<>&'\"]([a-z<>&'\" \u{e9}]{0,9}[a-zA-Z0-9\u{1f600}])?";
/// A word without white space, as ICE and codecs have.
const WORD: &str = "[a-zA-Z0-9+/]{1,16}";

fn codec() -> impl Strategy<Value = Codec> {
    let parameter = ("[a-z-]{0,8}", WORD).prop_map(|(name, value)| Parameter::new(name, value));
    let name = select(vec!["PCMU", "speex", "VP8", "H264", "telephone-event", "red", "AMR-WB"]);
    (name, 1..200_000_u32, 1..8_u8, vec(parameter, 1..4), vec(feedback(), 0..3)).prop_map(
        |(name, clock_rate, channels, parameters, feedback)| Codec {
            parameters,
            feedback,
            ..Codec::new(payload_type(0), name, clock_rate, channels)
        },
    )
}

fn payload_type(number: usize) -> PayloadType {
    u8::try_from(number).ok().and_then(|number| PayloadType::try_from(number).ok()).expect("few enough")
}

fn feedback() -> impl Strategy<Value = Feedback> {
    let kind = select(vec![("nack", ""), ("nack", "pli"), ("ccm", "fir"), ("trr-int", "100"), ("transport-cc", "")]);
    kind.prop_map(|(kind, subtype)| Feedback { kind: kind.to_owned(), subtype: subtype.to_owned() })
}

fn extension() -> impl Strategy<Value = HeaderExtension> {
    // Directions are not written, on purpose.
    (1..256_u16, TEXT).prop_map(|(id, uri)| HeaderExtension { id, uri, direction: Direction::SendRecv })
}

fn candidate() -> impl Strategy<Value = Candidate> {
    let kind = select(vec![
        CandidateKind::Host,
        CandidateKind::ServerReflexive,
        CandidateKind::PeerReflexive,
        CandidateKind::Relayed,
    ]);
    let component = select(vec![Component::Rtp, Component::Rtcp]);
    let address = (any::<std::net::IpAddr>(), 1..=u16::MAX).prop_map(SocketAddr::from);
    (WORD, component, 1..(1_u32 << 31), address.clone(), kind, option::of(address), any::<u32>()).prop_map(
        |(foundation, component, priority, address, kind, related, generation)| Candidate {
            foundation,
            component,
            priority,
            address,
            kind,
            related,
            generation,
        },
    )
}

fn dtls() -> impl Strategy<Value = DtlsParameters> {
    let fingerprint = select(HashFunction::ALL.to_vec())
        .prop_flat_map(|hash| vec(any::<u8>(), hash.length()).prop_map(move |digest| Fingerprint { hash, digest }));
    let setup = select(vec![Setup::Active, Setup::Passive, Setup::Actpass, Setup::Holdconn]);
    (vec(fingerprint, 1..4), setup).prop_map(|(fingerprints, setup)| DtlsParameters {
        fingerprints,
        setup,
        tls_id: None,
    })
}

fn crypto() -> impl Strategy<Value = Crypto> {
    select(SrtpSuite::ALL.to_vec()).prop_flat_map(|suite| {
        let key = vec(any::<u8>(), suite.key_length() + suite.salt_length());
        let lifetime =
            option::of(1..=1_u64 << 48).prop_map(|packets| packets.and_then(|packets| packets.try_into().ok()));
        let mki = option::of((any::<u64>(), 1..=128_u8));
        (any::<u32>(), key, mki, lifetime, any::<bool>()).prop_map(move |(tag, key, mki, lifetime, clear)| Crypto {
            mki,
            lifetime,
            unencrypted_srtcp: clear,
            ..Crypto::new(tag, suite, Secret::new(key))
        })
    })
}

fn stream() -> impl Strategy<Value = MediaStream> {
    let kind = select(vec![MediaKind::Audio, MediaKind::Video]);
    let direction = select(vec![Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]);
    let bandwidth = (WORD, any::<u64>()).prop_map(|(kind, value)| Bandwidth { kind, value });
    let ice = (WORD, TEXT).prop_map(|(ufrag, pwd)| IceParameters { ufrag, pwd: Secret::new(pwd), lite: false });
    let media = (
        (kind, direction, any::<bool>(), any::<bool>()),
        vec(codec(), 1..6),
        vec(extension(), 0..3),
        vec(feedback(), 0..3),
        (option::of(1..1000_u32), option::of(1..1000_u32)),
        vec(bandwidth, 0..3),
    );
    let path = (option::of(ice), vec(candidate(), 0..4), option::of(dtls()), vec(crypto(), 0..3));
    (media, path).prop_map(|(media, path)| {
        let ((kind, direction, mux, reduced), codecs, extensions, feedback, (ptime, maxptime), bandwidth) = media;
        let mut stream = MediaStream::new(StreamId(0), "", kind);
        stream.direction = direction;
        stream.codecs = codecs;
        for (number, codec) in stream.codecs.iter_mut().enumerate() {
            codec.payload_type = payload_type(number + 96);
        }
        stream.extensions = extensions;
        stream.feedback = feedback;
        stream.rtcp_reduced_size = reduced;
        (stream.ptime, stream.maxptime, stream.bandwidth) = (ptime, maxptime, bandwidth);
        stream.path.rtcp_mux = mux;
        (stream.path.ice, stream.path.candidates, stream.path.dtls, stream.path.crypto) = path;
        let profile = match (&stream.path.dtls, stream.path.crypto.is_empty()) {
            (Some(_), _) => Profile::TlsSavp,
            (None, false) => Profile::Savp,
            (None, true) => Profile::Avp,
        };
        let codec_feedback = stream.codecs.iter().any(|codec| !codec.feedback.is_empty());
        stream.path.profile = profile.with_feedback(codec_feedback || !stream.feedback.is_empty());
        stream
    })
}

fn description() -> impl Strategy<Value = Description> {
    (vec(stream(), 1..4), any::<bool>()).prop_map(|(mut streams, bundled)| {
        for (number, stream) in (0..).zip(&mut streams) {
            stream.id = StreamId(number);
            stream.name = number.to_string();
        }
        let bundle = if bundled { streams.iter().map(|stream| stream.id).collect() } else { Vec::new() };
        Description { streams, bundle }
    })
}

fn reason() -> impl Strategy<Value = Reason> {
    let condition =
        select(vec![ReasonCondition::Success, ReasonCondition::GeneralError, ReasonCondition::UnsupportedTransports]);
    let rtp_error = select(vec![None, Some("crypto-required".to_owned())]);
    (condition, option::of(TEXT), option::of(any::<u16>()), rtp_error).prop_map(
        |(condition, text, sip_status, rtp_error)| Reason {
            condition,
            text,
            sip_status,
            rtp_error,
            is_transferred: sip_status.is_some_and(|status| status % 2 == 0),
        },
    )
}

fn party() -> impl Strategy<Value = Party> {
    select(vec![Party::Initiator, Party::Responder])
}

fn jingle() -> impl Strategy<Value = Jingle> {
    let about_contents = (
        select(vec![Action::SessionInitiate, Action::SessionAccept, Action::ContentAdd, Action::TransportInfo]),
        description(),
        party(),
        party(),
    )
        .prop_map(|(action, description, writer, creator)| {
            let (contents, bundle) = contents(&description, writer, creator);
            Jingle { contents, bundle, ..Jingle::new(action, "s") }
        });
    let info = select(vec![
        None,
        Some(Info::Ringing),
        Some(Info::Hold),
        Some(Info::Unhold),
        Some(Info::Active),
        Some(Info::Mute(None)),
        Some(Info::Unmute(Some("0".into()))),
        Some(Info::Dtmf { digit: '#'.try_into().expect("a key"), down: Some(false), duration_ms: Some(160) }),
        Some(Info::Dtmf { digit: '1'.try_into().expect("a key"), down: None, duration_ms: None }),
        Some(Info::Transfer { to: Jid::new("bob@localhost/desk").expect("a JID"), sid: None }),
        Some(Info::Transfer { to: Jid::new("200@sip.localhost").expect("a JID"), sid: Some("s2".into()) }),
        Some(Info::Other("urn:x-other".into(), "other".into())),
    ]);
    prop_oneof![
        (about_contents, option::of(TEXT), option::of(TEXT)).prop_map(|(jingle, initiator, responder)| Jingle {
            initiator,
            responder,
            ..jingle
        }),
        (reason(), TEXT)
            .prop_map(|(reason, sid)| Jingle { reason: Some(reason), ..Jingle::new(Action::SessionTerminate, sid) }),
        (info, TEXT).prop_map(|(info, sid)| Jingle { info, ..Jingle::new(Action::SessionInfo, sid) }),
    ]
}

fn jingle_message() -> impl Strategy<Value = JingleMessage> {
    let media = select(vec![vec![], vec![MediaKind::Audio], vec![MediaKind::Video, MediaKind::Audio]]);
    prop_oneof![
        (TEXT, media).prop_map(|(id, media)| JingleMessage::Propose { id, media }),
        TEXT.prop_map(|id| JingleMessage::Ringing { id }),
        TEXT.prop_map(|id| JingleMessage::Proceed { id }),
        TEXT.prop_map(|id| JingleMessage::Accept { id }),
        (TEXT, option::of(reason()), any::<bool>()).prop_map(|(id, reason, tie_break)| JingleMessage::Reject {
            id,
            reason,
            tie_break
        }),
        (TEXT, option::of(reason()), any::<bool>()).prop_map(|(id, reason, tie_break)| JingleMessage::Retract {
            id,
            reason,
            tie_break
        }),
        (TEXT, option::of(reason()), option::of(TEXT)).prop_map(|(id, reason, migrated_to)| JingleMessage::Finish {
            id,
            reason,
            migrated_to
        }),
    ]
}

fn error() -> impl Strategy<Value = StanzaError> {
    let condition = select(vec![Condition::BadRequest, Condition::UndefinedCondition, Condition::UnexpectedRequest]);
    let kind =
        select(vec![ErrorKind::Auth, ErrorKind::Cancel, ErrorKind::Continue, ErrorKind::Modify, ErrorKind::Wait]);
    let application = select(vec![None, Some(("urn:xmpp:jingle:errors:1".to_owned(), "tie-break".to_owned()))]);
    (condition, kind, option::of(TEXT), application).prop_map(|(condition, kind, text, application)| StanzaError {
        kind,
        condition,
        text,
        application,
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    let element = || select(ELEMENTS.to_vec()).prop_map(|xml| xml.parse::<Element>().expect("it is XML"));
    let presence = select(vec![
        PresenceKind::Available,
        PresenceKind::Unavailable,
        PresenceKind::Subscribe,
        PresenceKind::Subscribed,
        PresenceKind::Unsubscribe,
        PresenceKind::Unsubscribed,
        PresenceKind::Probe,
    ]);
    let of = select(vec![StanzaKind::Iq, StanzaKind::Message, StanzaKind::Presence]);
    let message = select(vec!["normal", "chat", "groupchat", "headline"]);
    prop_oneof![
        jingle().prop_map(|jingle| Payload::Jingle(Box::new(jingle))),
        jingle_message().prop_map(Payload::JingleMessage),
        option::of(element()).prop_map(Payload::Result),
        (of, error()).prop_map(|(of, error)| Payload::Error { of, error }),
        (any::<bool>(), element()).prop_map(|(get, child)| Payload::Query { get, child }),
        (presence, vec(element(), 0..3)).prop_map(|(kind, children)| Payload::Presence { kind, children }),
        (message, vec(element(), 0..3))
            .prop_map(|(kind, children)| Payload::Message { kind: kind.to_owned(), children }),
    ]
}

/// Some elements that are nothing else.
const ELEMENTS: [&str; 3] = [
    "<query xmlns='http://jabber.org/protocol/disco#info' node='a&amp;b'><feature var='x'/></query>",
    "<ping xmlns='urn:xmpp:ping'/>",
    "<x xmlns='urn:a'>text &lt; <y xmlns='urn:b' xml:lang='de'/></x>",
];

fn info() -> impl Strategy<Value = DiscoInfo> {
    let text = || option::of(TEXT).prop_map(Option::unwrap_or_default);
    let identity = (text(), text(), text(), text()).prop_map(|(category, kind, lang, name)| Identity {
        category,
        kind,
        lang,
        name,
    });
    (option::of(TEXT), vec(identity, 0..4), vec(TEXT, 0..8)).prop_map(|(node, identities, features)| DiscoInfo {
        node,
        identities,
        features,
    })
}

fn through_the_wire(stanza: &Stanza) -> Stanza {
    let mut reader = StreamReader::new();
    reader.read(&mut stream::open("a.example").as_bytes()).expect("it is a stream");
    let bytes = stream::write(&stanza.to_element()).expect("it can be written");
    match reader.read(&mut &bytes[..]).expect("it is well-formed") {
        Some(Incoming::Element(element)) => Stanza::parse(&element).expect("it can be read"),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn a_stanza_comes_back(payload in payload(), id in TEXT) {
        let address = |text| Jid::new(text).expect("it is a JID");
        let stanza = Stanza { from: address("a@b.example/c d"), to: address("x\\40y@z.example"), id, payload };
        prop_assert_eq!(through_the_wire(&stanza), stanza);
    }

    #[test]
    fn what_somebody_can_do_comes_back(info in info()) {
        prop_assert_eq!(DiscoInfo::parse(&info.to_element()), Some(info.clone()));
        prop_assert_eq!(Caps::parse(&[info.caps().to_element()]), Some(info.caps()));
    }

    #[test]
    fn a_description_comes_back(description in description(), writer in party(), creator in party()) {
        let (contents, bundle) = contents(&description, writer, creator);
        let described = describe(&contents, &bundle, writer);
        prop_assert_eq!(described.description, description);
        prop_assert!(described.losses.is_empty());
    }
}

#[test]
fn an_answer_to_an_answer_is_never_made() {
    let stanza = |payload| Stanza {
        from: Jid::new("a@b").expect("it is a JID"),
        to: Jid::new("c@d").expect("it is a JID"),
        id: "1".into(),
        payload,
    };
    let error = StanzaError::unknown_session();
    assert_eq!(stanza(Payload::Result(None)).error(error.clone()), None);
    assert_eq!(stanza(Payload::Error { of: StanzaKind::Iq, error: error.clone() }).error(error.clone()), None);
    let request = stanza(Payload::Jingle(Box::new(Jingle::new(Action::SessionInfo, "s"))));
    let answer = request.error(error.clone()).expect("a request is answered");
    assert_eq!((answer.from, answer.to, answer.id), (request.to, request.from, request.id));
    assert_eq!(answer.payload, Payload::Error { of: StanzaKind::Iq, error });
}

#[test]
fn telephone_events_are_named_and_no_parameter_lacks_a_value() {
    let mut stream = MediaStream::new(StreamId(0), "0", MediaKind::Audio);
    for (number, name) in [(101, "telephone-event"), (63, "red"), (97, "AMR")] {
        stream.codecs.push(Codec::new(payload_type(number), name, 8_000, 1));
    }
    stream.codecs[1].parameters.push(Parameter::new("", "0/103"));
    stream.codecs[2].parameters = vec![Parameter::new("mode-set", "0, 2"), Parameter::new("", "flag")];
    let description = Description { streams: vec![stream], bundle: Vec::new() };
    let (contents, _) = contents(&description, Party::Initiator, Party::Initiator);
    let jingle = Jingle { contents, ..Jingle::new(Action::SessionInitiate, "s") };
    let xml = String::from_utf8(stream::write(&jingle.to_element()).expect("it is XML")).expect("it is UTF-8");
    for parameter in [
        "<parameter name='events' value='0-15'/>",
        "<parameter name='pt' value='0,103'/>",
        "<parameter name='mode-set' value='0,2'/>",
        "<parameter name='' value='flag'/>",
    ] {
        assert!(xml.contains(parameter), "{parameter} in {xml}");
    }
}

#[test]
fn candidates_and_fingerprints_are_written_for_strict_readers() {
    let mut stream = MediaStream::new(StreamId(0), "0", MediaKind::Audio);
    stream.path.candidates = vec![Candidate {
        foundation: "1".into(),
        component: Component::Rtp,
        priority: 7,
        address: "[2001:db8::1]:30000".parse().expect("it is an address"),
        kind: CandidateKind::Host,
        related: None,
        generation: 0,
    }];
    let digest = vec![0xab; 32];
    stream.path.dtls = Some(DtlsParameters {
        fingerprints: vec![Fingerprint { hash: HashFunction::Sha256, digest }],
        setup: Setup::Active,
        tls_id: None,
    });
    let description = Description { streams: vec![stream], bundle: vec![StreamId(0)] };
    let (contents, bundle) = contents(&description, Party::Responder, Party::Initiator);
    let jingle = Jingle { contents, bundle, ..Jingle::new(Action::SessionAccept, "s") };
    let xml = String::from_utf8(stream::write(&jingle.to_element()).expect("it is XML")).expect("it is UTF-8");
    let hex = vec!["AB"; 32].join(":");
    for part in [
        "component='1'",
        "foundation='1'",
        "generation='0'",
        "id='c0-1-host-2001-db8--1-30000'",
        "ip='2001:db8::1'",
        "network='0'",
        "protocol='udp'",
        "creator='initiator'",
        "senders='both'",
        "<content name='0'/>",
        &format!("hash='sha-256' setup='active'>{hex}<"),
    ] {
        assert!(xml.contains(part), "{part} in {xml}");
    }
    assert!(!xml.contains("rel-addr") && !xml.contains("initiator='"), "{xml}");
}
