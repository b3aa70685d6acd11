//! Requests as the module of Kamailio sends them.

use super::*;
use crate::Encoding;

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 2000 RTP/AVP 8\r\n";

/// As the module writes it: in the order in which it adds keys.
fn message(entries: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut message = b"1234_5678_1 d".to_vec();
    for (key, value) in entries {
        crate::bencode::write(&Value::from(*key), &mut message);
        crate::bencode::write(value, &mut message);
    }
    message.push(b'e');
    message
}

fn read(entries: &[(&str, Value<'_>)]) -> Request {
    let message = message(entries);
    let (encoding, dictionary) = Frame::split(&message).expect("a cookie").read().expect("bencode");
    assert_eq!(encoding, Encoding::Bencode);
    Request::read(&dictionary).expect("it has all that it needs")
}

#[test]
fn an_offer_whose_flags_it_took_apart() {
    let request = read(&[
        ("supports", vec!["load limit"].into()),
        ("sdp", SDP.into()),
        ("ICE", "force".into()),
        ("DTLS", "passive".into()),
        ("flags", vec!["trust-address", "generate-mid"].into()),
        ("replace", vec!["origin"].into()),
        ("SDES", vec!["off"].into()),
        ("rtcp-mux", vec!["offer"].into()),
        ("transport-protocol", "UDP/TLS/RTP/SAVPF".into()),
        ("direction", vec!["pub", "priv"].into()),
        ("codec", Dictionary::new().with("transcode", vec!["opus"]).with("mask", vec!["all"]).into()),
        ("TOS", 184.into()),
        ("call-id", "3c26701d5f3a".into()),
        ("via-branch", "z9hG4bKnashds8".into()),
        ("received-from", vec!["IP4", "192.0.2.1"].into()),
        ("sip-message-type", "sip_request".into()),
        ("from-tag", "9fxced76sl".into()),
        ("command", "offer".into()),
    ]);
    assert_eq!(request.findings, []);
    let Action::Offer { to_tag: None, exchange } = request.action else { panic!("it is a first offer") };
    assert_eq!((&*exchange.call_id, &*exchange.from_tag, &*exchange.sdp), ("3c26701d5f3a", "9fxced76sl", SDP));
    assert_eq!(exchange.via_branch.as_deref(), Some("z9hG4bKnashds8"));
    let options = exchange.options;
    assert_eq!(options.transport, Some(Transport::Profile(Profile::TlsSavpf)));
    assert_eq!((options.dtls, options.tos), (Some(Dtls::Passive), Some(Tos::Set(184))));
    assert_eq!(options.codecs.mask, [CodecMatch::All]);
    assert_eq!(options.sip_message, Some(SipMessage::Request));
    assert!(options.supports.has(Supports::LoadLimit));
}

#[test]
fn an_offer_whose_flags_it_leaves_to_us() {
    let request = read(&[
        ("supports", vec!["load limit"].into()),
        ("sdp", SDP.into()),
        ("rtpp_flags", "replace-origin ICE=remove RTP/AVP via-branch=1 direction=[pub priv] replace-sesion".into()),
        ("call-id", "c".into()),
        ("via-branch", "b".into()),
        ("sip-message-type", "sip_request".into()),
        ("from-tag", "f".into()),
        ("command", "offer".into()),
    ]);
    let told: Vec<_> = request.findings.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["`replace` does not have \"sesion\""], "what is mistyped is told, and the rest is done");
    let (options, _) = exchange(request);
    assert_eq!(options.ice, Some(Ice::Remove));
    assert_eq!(options.interfaces.to.as_deref(), Some("priv"));
}

#[test]
fn an_answer_in_a_reply() {
    let request = read(&[
        ("supports", vec!["load limit"].into()),
        ("sdp", SDP.into()),
        ("flags", vec!["trust-address"].into()),
        ("replace", vec!["origin"].into()),
        ("call-id", "c".into()),
        ("received-from", vec!["IP6", "2001:db8::1"].into()),
        ("sip-message-type", "sip_reply".into()),
        ("from-tag", "f".into()),
        ("to-tag", "t".into()),
        ("command", "answer".into()),
    ]);
    assert_eq!(request.findings, []);
    let Action::Answer { to_tag, exchange } = request.action else { panic!("it is an answer") };
    assert_eq!((&*to_tag, exchange.options.sip_message), ("t", Some(SipMessage::Response)));
}

#[test]
fn candidates_that_trickle() {
    let request = read(&[
        ("supports", vec!["load limit"].into()),
        ("sdp", "a=ice-ufrag:8hhY\r\na=candidate:1 1 UDP 1 192.0.2.1 5000 typ host\r\n".into()),
        ("flags", vec!["fragment"].into()),
        ("call-id", "c".into()),
        ("from-tag", "f".into()),
        ("to-tag", "t".into()),
        ("command", "offer".into()),
    ]);
    assert_eq!(request.findings, []);
    let Action::Offer { to_tag: Some(_), exchange } = request.action else { panic!("it is an offer") };
    assert!(exchange.options.flags.has(Flag::Fragment));
}

#[test]
fn the_end_and_what_it_asks_about_it() {
    let common = |command: &'static str| {
        [
            ("supports", vec!["load limit"].into()),
            ("call-id", "c".into()),
            ("received-from", vec!["IP4", "192.0.2.1"].into()),
            ("sip-message-type", "sip_request".into()),
            ("from-tag", "f".into()),
            ("command", command.into()),
        ]
    };
    for command in ["delete", "query", "block media", "unsilence media"] {
        assert_eq!(read(&common(command)).findings, [], "{command}");
    }
    let ping = received("1234_5678_2 d7:command4:pinge").expect("it needs nothing");
    assert_eq!(ping, Request { action: Action::Ping, findings: vec![] });
}
