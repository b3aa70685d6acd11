//! What clients get wrong is understood; what leaves no meaning is refused; nothing panics.

use minidom::Element;
use model::{Direction, HashFunction, Parameter, Profile, Setup, SrtpSuite};
use proptest::prelude::*;
use xmpp::description::describe;
use xmpp::disco::{Caps, DiscoInfo};
use xmpp::jingle::{Content, Described, Info, Jingle, JingleError, Party, RtpDescription, Senders, Transport};
use xmpp::jingle_message::JingleMessage;
use xmpp::query::Question;
use xmpp::stanza::{Condition, ErrorKind, Payload, Stanza, StanzaKind};
use xmpp::stream::{self, Incoming, StreamReader};

fn jingle(action: &str, inner: &str) -> Result<Jingle, JingleError> {
    let xml = format!("<jingle xmlns='urn:xmpp:jingle:1' action='{action}' sid='s'>{inner}</jingle>");
    Jingle::parse(&xml.parse().expect("it is XML"))
}

/// A session-initiate of one audio content, as the initiator's description.
fn offer(description: &str, transport: &str) -> Described {
    let offer = jingle("session-initiate", &content("", description, transport)).expect("it can be read");
    describe(&offer.contents, &offer.bundle, Party::Initiator)
}

fn content(attributes: &str, description: &str, transport: &str) -> String {
    format!(
        "<content creator='initiator' name='voice' {attributes}>
        <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'>{description}</description>
        <transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='u' pwd='p'>{transport}</transport></content>"
    )
}

#[test]
fn a_jingle_element_without_a_meaning_is_refused() {
    assert_eq!(jingle("session-dance", ""), Err(JingleError::UnknownAction));
    let no_sid: Element = "<jingle xmlns='urn:xmpp:jingle:1' action='session-info'/>".parse().expect("it is XML");
    assert_eq!(Jingle::parse(&no_sid), Err(JingleError::NoSid));
    assert_eq!(jingle("content-remove", "<content creator='initiator'/>"), Err(JingleError::ContentName));
    let twice = "<content creator='initiator' name='a'/><content creator='responder' name='a'/>";
    assert_eq!(jingle("content-remove", twice), Err(JingleError::ContentName));
    assert_eq!(jingle("session-initiate", ""), Err(JingleError::Incomplete));
    assert_eq!(jingle("session-accept", "<content name='a'/>"), Err(JingleError::Incomplete));
    assert_eq!(jingle("content-modify", "<content name='a'/>"), Err(JingleError::Incomplete));
    for id in ["", "id='128'", "id='-1'", "id='x'"] {
        let wrong = content("", &format!("<payload-type {id} name='opus'/>"), "");
        assert_eq!(jingle("session-initiate", &wrong), Err(JingleError::PayloadType), "{id}");
    }
}

#[test]
fn static_payload_types_are_filled_in() {
    let described = offer(
        "<payload-type id='0'/><payload-type id='8' name='pcma'/><payload-type id='9' name='G722' clockrate='16000'/>
        <payload-type id='96' name='OPUS' clockrate='48000'/><payload-type id='97'/><payload-type id='98' name='speex'/>
        <payload-type id='0' name='PCMU' clockrate='8000'/>",
        "",
    );
    let codecs: Vec<(u8, &str, u32, u8)> = described.description.streams[0]
        .codecs
        .iter()
        .map(|codec| (codec.payload_type.into(), codec.name.as_str(), codec.clock_rate, codec.channels))
        .collect();
    assert_eq!(codecs, [(0, "PCMU", 8000, 1), (8, "pcma", 8000, 1), (9, "G722", 8000, 1), (96, "OPUS", 48000, 2)]);
    assert_eq!(described.losses.len(), 3, "{:?}", described.losses);
}

#[test]
fn parameters_become_what_sdp_has() {
    let described = offer(
        "<payload-type id='101' name='telephone-event' clockrate='8000'><parameter name='events' value='0-16'/></payload-type>
        <payload-type id='63' name='red' clockrate='48000'><parameter name='pt' value='111,111'/></payload-type>
        <payload-type id='62' name='red' clockrate='48000'><parameter name='111/111'/></payload-type>
        <payload-type id='97' name='AMR' clockrate='8000'><parameter name='octet-align' value=' 1 '/><parameter/></payload-type>",
        "",
    );
    let parameters: Vec<&[Parameter]> =
        described.description.streams[0].codecs.iter().map(|codec| &codec.parameters[..]).collect();
    assert_eq!(
        parameters,
        [
            &[Parameter::new("", "0-16")][..],
            &[Parameter::new("", "111/111")],
            &[Parameter::new("", "111/111")],
            &[Parameter::new("octet-align", "1"), Parameter::new("", "")],
        ]
    );
}

#[test]
fn no_attribute_can_become_a_line_of_its_own() {
    let described = offer(
        "<payload-type id='96' name='PCMU&#13;&#10;a=evil' clockrate='8000'/>
        <payload-type id='97' name='PCMU/8000 a' clockrate='8000'/>
        <payload-type id='98' name='AMR' clockrate='8000'><parameter name='a&#10;b' value='c&#10;d'/></payload-type>
        <bandwidth type='AS&#10;' value='1'/>",
        "",
    );
    let stream = &described.description.streams[0];
    assert_eq!((stream.codecs.len(), described.losses.len()), (1, 2));
    assert!(!format!("{:?}", described.description).contains("\\n"));
    for sid in ["a&#13;b", " ", &"x".repeat(257)] {
        let xml = format!("<jingle xmlns='urn:xmpp:jingle:1' action='session-info' sid='{sid}'/>");
        assert_eq!(Jingle::parse(&xml.parse().expect("it is XML")), Err(JingleError::NoSid), "{sid}");
    }
    let reason = "<reason><busy/><text>a&#13;&#10;Via: b</text></reason>";
    let reason = jingle("session-terminate", reason).expect("it can be read").reason.expect("there is one");
    assert_eq!(reason.text.as_deref(), Some("aVia: b"));
}

#[test]
fn bandwidth_ptime_and_feedback_are_found_where_clients_put_them() {
    let movim = offer(
        "<bandwidth type='AS' value='64'/><bandwidth type='TIAS'>64000</bandwidth><bandwidth/>
        <payload-type id='0'/>
        <rtcp-fb xmlns='urn:xmpp:jingle:apps:rtp:rtcp-fb:0' type='nack' subtype='pli'/>
        <rtcp-fb-trr-int xmlns='urn:xmpp:jingle:apps:rtp:rtcp-fb:0' value='100'/>",
        "",
    );
    let stream = &movim.description.streams[0];
    let bandwidth: Vec<(&str, u64)> = stream.bandwidth.iter().map(|line| (line.kind.as_str(), line.value)).collect();
    assert_eq!(bandwidth, [("AS", 64), ("TIAS", 64_000)]);
    let feedback: Vec<(&str, &str)> =
        stream.feedback.iter().map(|feedback| (feedback.kind.as_str(), feedback.subtype.as_str())).collect();
    assert_eq!(feedback, [("nack", "pli"), ("trr-int", "100")]);
    assert_eq!(stream.path.profile, Profile::Avpf);

    let xml =
        "<content name='a'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio' ptime='30' maxptime='60'>
        <payload-type id='8' ptime='20'/><payload-type id='0' ptime='10'/></description></content>";
    let info = jingle("description-info", xml).expect("it can be read");
    let Some(RtpDescription::Rtp(stream)) = &info.contents[0].description else { panic!("audio") };
    assert_eq!((stream.ptime, stream.maxptime), (Some(20), Some(60)));
}

#[test]
fn only_usable_candidates_are_kept() {
    let candidate = |attributes: &str| {
        format!(
            "<candidate component='1' foundation='1' ip='192.0.2.1' port='5000' priority='1' protocol='udp' type='host' {attributes}/>"
        )
    };
    let usable = candidate("id='3f1c' generation='2' network='1'");
    let described = offer(
        "",
        &[
            usable.clone(),
            usable.replace("'udp'", "'tcp'"),
            usable.replace("'udp'", "'ssltcp'"),
            usable.replace("192.0.2.1", "8d2a.local"),
            usable.replace("192.0.2.1", "fe80::1%eth0"),
            usable.replace("'5000'", "'0'"),
            usable.replace("component='1'", "component='3'"),
            usable.replace("'host'", "'guess'"),
            usable.replace("'udp'", "'UDP'").replace("192.0.2.1", "2001:db8::1").replace("generation='2'", ""),
            usable.replace("priority='1'", "priority='4294967296'").replace("'5000'", "'5001'"),
            usable.replace("'host'", "'srflx' rel-addr='0.0.0.0' rel-port='0'").replace("'5000'", "'5002'"),
        ]
        .concat(),
    );
    let candidates = &described.description.streams[0].path.candidates;
    let addresses: Vec<String> = candidates.iter().map(|candidate| candidate.address.to_string()).collect();
    assert_eq!(addresses, ["192.0.2.1:5000", "[2001:db8::1]:5000", "192.0.2.1:5001", "192.0.2.1:5002"]);
    assert_eq!((candidates[0].generation, candidates[1].generation), (2, 0));
    assert_eq!(candidates[2].priority, 0x7fff_ffff);
    assert_eq!(candidates[3].related.map(|related| related.to_string()).as_deref(), Some("0.0.0.0:0"));
}

#[test]
fn fingerprints_are_read_in_any_case_and_with_white_space() {
    let lower = vec!["ab"; 32].join(":");
    let fingerprint = |hash: &str, setup: &str, hex: &str| {
        format!("<fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='{hash}' {setup}>{hex}</fingerprint>")
    };
    let described = offer(
        "",
        &[
            fingerprint("SHA-256", "setup='actpass'", &format!("\n  {lower}\n")),
            fingerprint("sha-1", "setup='actpass'", &vec!["CD"; 20].join(":")),
            fingerprint("md5", "setup='actpass'", "AA"),
            fingerprint("sha-256", "setup='actpass'", "ABC"),
        ]
        .concat(),
    );
    let dtls = described.description.streams[0].path.dtls.clone().expect("there are fingerprints");
    let hashes: Vec<HashFunction> = dtls.fingerprints.iter().map(|fingerprint| fingerprint.hash).collect();
    assert_eq!((hashes, dtls.setup), (vec![HashFunction::Sha256, HashFunction::Sha1], Setup::Actpass));
}

#[test]
fn a_peer_that_spoke_of_encryption_never_gets_plain_rtp() {
    let unreadable = "<fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-3' setup='active'>AA</fingerprint>";
    let described = offer("", unreadable);
    let path = &described.description.streams[0].path;
    assert_eq!(path.profile, Profile::TlsSavp);
    assert!(path.dtls.as_ref().is_some_and(|dtls| dtls.fingerprints.is_empty()));

    let unknown = "<encryption required='1'><crypto tag='1' crypto-suite='F8' key-params='inline:AAAA'/></encryption>";
    let described = offer(unknown, "");
    let path = &described.description.streams[0].path;
    assert_eq!((path.profile, path.crypto.len()), (Profile::Savp, 0));

    let zrtp =
        "<encryption><zrtp-hash xmlns='urn:xmpp:jingle:apps:rtp:zrtp:1' version='1.10'>ab</zrtp-hash></encryption>";
    assert_eq!(offer(zrtp, "").description.streams[0].path.profile, Profile::Avp);
}

#[test]
fn a_missing_setup_means_what_it_meant_before_it_was_mandatory() {
    let hex = vec!["AB"; 32].join(":");
    let fingerprint = format!("<fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256'>{hex}</fingerprint>");
    let setup = |action| {
        let jingle = jingle(action, &content("", "", &fingerprint)).expect("it can be read");
        let Some(Transport::IceUdp(transport)) = &jingle.contents[0].transport else { panic!("a transport") };
        transport.dtls.as_ref().map(|dtls| dtls.setup)
    };
    assert_eq!(setup("session-initiate"), Some(Setup::Actpass));
    assert_eq!(setup("session-accept"), Some(Setup::Active));
}

#[test]
fn keys_are_read_as_rfc_4568_writes_them() {
    let key = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR"; // RFC 4568 §10.1
    let line = |suite: &str, params: &str, session: &str| {
        format!("<crypto tag='7' crypto-suite='{suite}' key-params='{params}' session-params='{session}'/>")
    };
    let read = |line: &str| {
        let described = offer(&format!("<encryption>{line}</encryption>"), "");
        described.description.streams[0].path.crypto.first().cloned()
    };
    let suite = SrtpSuite::AesCm128Sha1_80.as_str();
    let crypto = read(&line(suite, &format!("inline:{key}|2^20|1:4"), "WSH=64 KDR=0")).expect("it is understood");
    assert_eq!((crypto.tag, crypto.suite, crypto.mki), (7, SrtpSuite::AesCm128Sha1_80, Some((1, 4))));
    assert_eq!(crypto.key_and_salt.reveal().len(), 30);
    assert!(read(&line(suite, &format!("inline:{key}"), "")).is_some());
    for wrong in [
        line(suite, &format!("inline:{key}"), "UNENCRYPTED_SRTP"),
        line(suite, &format!("inline:{key}"), "KDR=1"),
        line(suite, &format!("inline:{key};inline:{key}"), ""),
        line(suite, &format!("inline:{key}|1:0"), ""),
        line(suite, "inline:AAAA", ""),
        line(suite, key, ""),
        line("AES_192_CM_HMAC_SHA1_80", &format!("inline:{key}"), ""),
    ] {
        assert!(read(&wrong).is_none(), "{wrong}");
    }
}

#[test]
fn senders_are_absolute_and_directions_are_the_writers() {
    let parsed = |senders: &str| {
        let attribute = format!("senders='{senders}'");
        let extension =
            format!("<rtp-hdrext xmlns='urn:xmpp:jingle:apps:rtp:rtp-hdrext:0' id='1' uri='u' {attribute}/>");
        jingle("session-initiate", &content(&attribute, &extension, "")).expect("it can be read").contents
    };
    for (senders, initiator, responder) in [
        ("both", Direction::SendRecv, Direction::SendRecv),
        ("initiator", Direction::SendOnly, Direction::RecvOnly),
        ("responder", Direction::RecvOnly, Direction::SendOnly),
        ("none", Direction::Inactive, Direction::Inactive),
    ] {
        for (writer, direction) in [(Party::Initiator, initiator), (Party::Responder, responder)] {
            let described = describe(&parsed(senders), &[], writer);
            let stream = &described.description.streams[0];
            assert_eq!((stream.direction, stream.extensions[0].direction), (direction, direction), "{senders}");
            assert_eq!(Senders::from_direction(direction, writer).as_str(), senders);
        }
    }
    assert_eq!(describe(&parsed("all"), &[], Party::Initiator).description.streams[0].direction, Direction::SendRecv);
}

#[test]
fn what_cannot_be_described_is_a_loss() {
    let file = "<content name='f'><description xmlns='urn:xmpp:jingle:apps:file-transfer:5'/>
        <transport xmlns='urn:xmpp:jingle:transports:ibb:1'/></content>";
    let raw = "<content name='r'><description xmlns='urn:xmpp:jingle:apps:rtp:1' media='video'/>
        <transport xmlns='urn:xmpp:jingle:transports:raw-udp:1'/></content>";
    let group = "<group xmlns='urn:xmpp:jingle:apps:grouping:0' semantics='BUNDLE'>
        <content name='voice'/><content name='gone'/></group>";
    let all = format!("{file}{raw}{}{group}", content("", "<payload-type id='0'/>", ""));
    let offer = jingle("session-initiate", &all).expect("it can be read");
    let described = describe(&offer.contents, &offer.bundle, Party::Initiator);
    let streams: Vec<(u16, &str, bool)> = described
        .description
        .streams
        .iter()
        .map(|stream| (stream.id.0, stream.name.as_str(), stream.rejected))
        .collect();
    assert_eq!(streams, [(0, "r", true), (1, "voice", false)]);
    assert_eq!(described.losses.len(), 2, "{:?}", described.losses);
    assert_eq!(described.description.bundle, [described.description.streams[1].id]);
    let unsupported = Some(Transport::Unsupported("urn:xmpp:jingle:transports:raw-udp:1".into()));
    assert_eq!(offer.contents[1].transport, unsupported);
}

#[test]
fn session_info_is_named_or_passed_on() {
    let info = |inner: &str| jingle("session-info", inner).expect("it can be read").info;
    let rtp =
        |name: &str| info(&format!("<{name} xmlns='urn:xmpp:jingle:apps:rtp:info:1' name='a' creator='initiator'/>"));
    assert_eq!(info(""), None);
    assert_eq!((rtp("ringing"), rtp("hold")), (Some(Info::Ringing), Some(Info::Hold)));
    assert_eq!((rtp("unhold"), rtp("active")), (Some(Info::Unhold), Some(Info::Active)));
    assert_eq!(
        (rtp("mute"), rtp("unmute")),
        (Some(Info::Mute(Some("a".into()))), Some(Info::Unmute(Some("a".into()))))
    );
    let transfer = info("<transfer xmlns='urn:xmpp:jingle:transfer:0'/>");
    assert_eq!(transfer, Some(Info::Other("urn:xmpp:jingle:transfer:0".into(), "transfer".into())));
}

fn stanza(xml: &str) -> Result<Stanza, xmpp::stanza::Refusal> {
    Stanza::parse(&xml.replacen(' ', " xmlns='jabber:component:accept' ", 1).parse().expect("it is XML"))
}

const ADDRESSES: &str = "from='a@b/c' to='d@e'";

#[test]
fn jingle_messages_are_read_in_both_namespaces() {
    for namespace in ["urn:xmpp:jingle-message:0", "urn:xmpp:jingle:jingle-message:0"] {
        let message = format!(
            "<message {ADDRESSES} type='chat' id='m'><body>hi</body><proceed xmlns='{namespace}' id='s'>
            <device xmlns='http://gultsch.de/xmpp/drafts/omemo/dlts-srtp-verification' id='1'/></proceed></message>"
        );
        let read = stanza(&message).expect("it can be read");
        assert_eq!(read.payload, Payload::JingleMessage(JingleMessage::Proceed { id: "s".into() }));
    }
    let without_id = format!("<message {ADDRESSES}><proceed xmlns='urn:xmpp:jingle-message:0'/></message>");
    let payload = stanza(&without_id).expect("it can be read").payload;
    assert!(matches!(payload, Payload::Message { kind, children } if kind == "normal" && children.len() == 1));
}

#[test]
fn a_malformed_stanza_is_refused_with_the_right_error() {
    for (xml, condition) in [
        (format!("<iq {ADDRESSES} type='ask' id='1'/>"), Condition::BadRequest),
        (format!("<iq {ADDRESSES} id='1'><a/></iq>"), Condition::BadRequest),
        (format!("<iq {ADDRESSES} type='get' id='1'/>"), Condition::BadRequest),
        (format!("<iq {ADDRESSES} type='set' id='1'><a/><b/></iq>"), Condition::BadRequest),
        (format!("<iq {ADDRESSES} type='set'><a/></iq>"), Condition::BadRequest),
        (format!("<presence {ADDRESSES} type='here'/>"), Condition::BadRequest),
        ("<message from='a@b' to='@' id='1'/>".into(), Condition::JidMalformed),
        ("<message from='a@b' id='1'/>".into(), Condition::JidMalformed),
    ] {
        let answer = stanza(&xml).expect_err("it is malformed").answer.expect("there is somebody to answer");
        let error = answer.get_child("error", "jabber:component:accept").expect("it is an error");
        assert!(error.has_child(condition.as_str(), "urn:ietf:params:xml:ns:xmpp-stanzas"), "{xml}");
        assert_eq!((answer.attr("type"), answer.attr("id")), (Some("error"), xml.contains("id=").then_some("1")));
    }
    for silent in [
        "<message from='@' to='a@b'/>".to_owned(),
        "<message to='a@b'/>".to_owned(),
        "<message from='a@b' to='@' type='error'/>".to_owned(),
        format!("<iq {ADDRESSES} type='result'/>"),
        format!("<whatever {ADDRESSES}/>"),
    ] {
        assert_eq!(stanza(&silent).expect_err("it is malformed").answer, None, "{silent}");
    }
}

#[test]
fn an_error_is_read_with_its_application_condition() {
    let error = |inner: &str| {
        let xml = format!("<iq {ADDRESSES} type='error' id='1'><jingle xmlns='urn:xmpp:jingle:1'/>{inner}</iq>");
        let payload = stanza(&xml).expect("it can be read").payload;
        let Payload::Error { of: StanzaKind::Iq, error } = payload else { panic!("{payload:?}") };
        error
    };
    let full = error(
        "<error type='wait'><unexpected-request xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>
        <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>later</text>
        <out-of-order xmlns='urn:xmpp:jingle:errors:1'/></error>",
    );
    assert_eq!((full.kind, full.condition), (ErrorKind::Wait, Condition::UnexpectedRequest));
    assert_eq!(full.text.as_deref(), Some("later"));
    assert_eq!(full.application, Some(("urn:xmpp:jingle:errors:1".into(), "out-of-order".into())));
    assert_eq!(error("").condition, Condition::UndefinedCondition);
    assert_eq!(error("<error><tired xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>").kind, ErrorKind::Cancel);
}

/// Elements made of the words that the parsers look for, in places where they do not expect them.
fn any_element() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "jingle",
        "content",
        "description",
        "payload-type",
        "parameter",
        "transport",
        "candidate",
        "fingerprint",
        "encryption",
        "crypto",
        "group",
        "reason",
        "text",
        "sip",
        "propose",
        "finish",
        "migrated",
        "query",
        "identity",
        "feature",
        "c",
        "error",
        "rtcp-fb",
        "rtcp-fb-trr-int",
        "rtp-hdrext",
        "bandwidth",
        "ringing",
        "prompt",
        "x",
    ]);
    let namespace = prop::sample::select(vec![
        "urn:xmpp:jingle:1",
        "urn:xmpp:jingle:apps:rtp:1",
        "urn:xmpp:jingle:transports:ice-udp:1",
        "urn:xmpp:jingle:apps:dtls:0",
        "urn:xmpp:jingle:apps:grouping:0",
        "urn:xmpp:jingle:apps:rtp:rtcp-fb:0",
        "urn:xmpp:jingle:apps:rtp:rtp-hdrext:0",
        "urn:xmpp:jingle-message:0",
        "urn:xmpp:jingle:apps:rtp:info:1",
        "http://jabber.org/protocol/disco#info",
        "http://jabber.org/protocol/caps",
        "jabber:iq:gateway",
        "urn:ietf:params:xml:ns:xmpp-stanzas",
        "jabber:component:accept",
        "urn:xmpp:sip-status:0",
    ]);
    let attribute = prop::sample::select(vec![
        "action",
        "sid",
        "name",
        "id",
        "media",
        "senders",
        "creator",
        "ip",
        "port",
        "priority",
        "component",
        "type",
        "hash",
        "setup",
        "tag",
        "crypto-suite",
        "key-params",
        "session-params",
        "value",
        "uri",
        "code",
        "ver",
        "node",
        "semantics",
        "clockrate",
        "channels",
        "ptime",
        "ufrag",
        "pwd",
        "foundation",
        "protocol",
        "rel-addr",
        "rel-port",
        "generation",
        "required",
        "var",
        "category",
    ]);
    let value = prop_oneof![
        "[a-z:0-9 |^=\\-\u{e9}]{0,12}",
        prop::sample::select(vec![
            "session-initiate",
            "session-info",
            "transport-info",
            "audio",
            "video",
            "0",
            "127",
            "65536",
            "-1",
            "99999999999999999999",
            "host",
            "udp",
            "192.0.2.1",
            "::1",
            "sha-256",
            "active",
            "inline:AAAA|2^|:",
            "AES_CM_128_HMAC_SHA1_80",
            "BUNDLE",
            "urn:xmpp:jingle:1",
            "both",
            "1",
        ])
        .prop_map(str::to_owned),
    ];
    let attributes = prop::collection::btree_map(attribute, value, 0..8);
    let text = "[A-Fa-f0-9: \u{e9}]{0,20}";
    let leaf = (word.clone(), namespace.clone(), attributes.clone(), text)
        .prop_map(|(name, namespace, attributes, text)| write(name, namespace, &attributes, &text));
    leaf.prop_recursive(6, 64, 6, move |inner| {
        (word.clone(), namespace.clone(), attributes.clone(), prop::collection::vec(inner, 0..6))
            .prop_map(|(name, namespace, attributes, children)| write(name, namespace, &attributes, &children.concat()))
    })
}

fn write(name: &str, ns: &str, attributes: &std::collections::BTreeMap<&str, String>, inner: &str) -> String {
    let attributes: String = attributes.iter().map(|(name, value)| format!(" {name}='{value}'")).collect();
    format!("<{name} xmlns='{ns}'{attributes}>{inner}</{name}>")
}

proptest! {
    #[test]
    fn no_element_makes_a_parser_panic(xml in any_element()) {
        let element: Element = xml.parse().expect("it is XML");
        if let Ok(jingle) = Jingle::parse(&element) {
            for writer in [Party::Initiator, Party::Responder] {
                let described = describe(&jingle.contents, &jingle.bundle, writer);
                xmpp::description::contents(&described.description, writer, writer);
            }
            stream::write(&jingle.to_element()).expect("what was read can be written");
        }
        let _ = (JingleMessage::parse(&element), DiscoInfo::parse(&element), Caps::parse(std::slice::from_ref(&element)));
        let _ = Question::parse(&Payload::Query { get: true, child: element.clone() });
        for (name, kind) in [("iq", "set"), ("iq", "get"), ("iq", "error"), ("message", "chat"), ("presence", "probe")] {
            let xml = format!("<{name} {ADDRESSES} type='{kind}' id='1'>{xml}</{name}>");
            let read = stanza(&xml).expect("its frame is right");
            stream::write(&read.to_element()).expect("what was read can be written");
        }
    }

    #[test]
    fn no_bytes_make_a_stream_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "[<>/='&;a-c! \\-\\[\\]?]{0,200}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            let mut reader = StreamReader::new();
            let opened = reader.read(&mut stream::open("a.example").as_bytes()).expect("it is a stream");
            prop_assert_eq!(opened, Some(Incoming::Opened { id: None, to: Some("a.example".into()) }));
            let mut rest = bytes;
            while let Ok(Some(_)) = reader.read(&mut rest) {}
        }
    }
}

#[test]
fn a_content_is_known_by_its_name_alone() {
    let accept = jingle("content-accept", "<content name='v' creator='responder'/><content name='a'/>");
    let names: Vec<(Party, String)> = accept
        .expect("it can be read")
        .contents
        .into_iter()
        .map(|Content { creator, name, .. }| (creator, name))
        .collect();
    assert_eq!(names, [(Party::Responder, "v".to_owned()), (Party::Initiator, "a".to_owned())]);
}
