//! Each rule of reading, with requests as a client would send them.

mod kamailio;

use std::net::IpAddr;

use model::{HashFunction, Profile, SrtpSuite};
use proptest::prelude::*;

use super::contradiction::CONTRADICTIONS;
use super::finding::MAX_FINDINGS;
use super::flag::{PREFIXES, UNSUPPORTED, VALUES};
use super::keys::{self, KEYS};
use super::options::{CodecList, IceWord, SdpPart};
use super::words::same;
use super::*;
use crate::value::tests::any_value;
use crate::{Frame, MAX_MESSAGE, Value};

/// A request as it came, in either encoding.
fn received(message: &str) -> Result<Request, RequestError> {
    let (_, dictionary) = Frame::split(message.as_bytes()).expect("it has a cookie").read().expect("it is a request");
    Request::read(&dictionary)
}

fn asked(members: &str) -> Request {
    received(&format!("1 {{{members}}}")).expect("it has all that it needs")
}

/// Any command with all that it needs.
fn complete(command: &str, more: &str) -> Request {
    let needs = match command {
        "offer" | "answer" => r#", "sdp": "v=0""#,
        "play DTMF" => r#", "code": 1"#,
        _ => "",
    };
    asked(&format!(r#""command": "{command}", "call-id": "c", "from-tag": "f", "to-tag": "t"{needs}, {more}"#))
}

fn exchange(request: Request) -> (Options, Vec<Finding>) {
    let (Action::Offer { exchange, .. } | Action::Answer { exchange, .. }) = request.action else {
        panic!("it is an offer or an answer")
    };
    (exchange.options, request.findings)
}

fn offer(more: &str) -> (Options, Vec<Finding>) {
    exchange(complete("offer", more))
}

fn answer(more: &str) -> (Options, Vec<Finding>) {
    exchange(complete("answer", more))
}

/// The options of an offer about which nothing is odd.
fn clean(more: &str) -> Options {
    let (options, findings) = offer(more);
    assert_eq!(findings, [], "{more}");
    options
}

fn line(rtpp_flags: &str) -> (Options, Vec<Finding>) {
    offer(&format!(r#""rtpp-flags": "{rtpp_flags}""#))
}

fn findings(more: &str) -> Vec<String> {
    offer(more).1.iter().map(ToString::to_string).collect()
}

const NOTHING: &str = r#""supports": []"#;

#[test]
fn a_command_is_one_of_those_that_are_known() {
    for (name, kind) in COMMANDS {
        let action = complete(name, NOTHING).action;
        assert_eq!(kind.is_none(), action == Action::Unsupported(name), "{name}");
    }
    let refusal = |message: &str| received(message).expect_err("it is refused").to_string();
    assert_eq!(refusal("1 de"), "Dictionary contains no key \"command\"");
    for command in ["6:dalate", "10:block-DTMF", "4:Ping", "0:", "i1e", "le"] {
        assert_eq!(refusal(&format!("1 d7:command{command}e")), "Unrecognized command");
    }
}

#[test]
fn what_a_command_needs_is_asked_for_in_words_that_others_know() {
    const ALL: [(&str, &str); 5] = [
        ("sdp", "No SDP body in message"),
        ("call-id", "No call-id in message"),
        ("from-tag", "No from-tag in message"),
        ("to-tag", "No to-tag in message"),
        ("code", "No DTMF code in message"),
    ];
    for (name, kind) in COMMANDS {
        let needs: &[&str] = match kind {
            None | Some(Kind::Ping | Kind::List | Kind::Statistics) => &[],
            Some(Kind::Offer) => &["sdp", "call-id", "from-tag"],
            Some(Kind::Answer) => &["sdp", "call-id", "from-tag", "to-tag"],
            Some(Kind::Delete | Kind::Query | Kind::Block(_) | Kind::Unblock(_)) => &["call-id"],
            Some(Kind::Rollback) => &["call-id", "from-tag", "to-tag"],
            Some(Kind::PlayDtmf) => &["call-id", "code"],
        };
        for (missing, text) in ALL {
            for empty in ["", r#""""#] {
                let mut request = format!(r#"1 {{"command": "{name}""#);
                for (key, _) in ALL {
                    match key == missing {
                        false => request += &format!(r#", "{key}": "1""#),
                        true if !empty.is_empty() => request += &format!(r#", "{key}": {empty}"#),
                        true => {}
                    }
                }
                let refusal = received(&(request + "}")).err().map(|error| error.to_string());
                assert_eq!(refusal.as_deref(), needs.contains(&missing).then_some(text), "{name} without {missing}");
            }
        }
    }
}

#[test]
fn what_is_missing_first_is_said_first() {
    let refusal = |keys: &str| received(&format!("1 {{{keys}}}")).expect_err("it is refused");
    assert_eq!(refusal(r#""command": "answer""#), RequestError::NoSdp);
    assert_eq!(refusal(r#""command": "answer", "sdp": "v=0""#), RequestError::NoCallId);
    assert_eq!(refusal(r#""command": "answer", "sdp": "v=0", "call-id": "c""#), RequestError::NoFromTag);
}

#[test]
fn no_name_is_in_the_tables_twice() {
    let keys = KEYS.iter().flat_map(|key| key.names).copied();
    let keys: Vec<_> = keys.chain(keys::ELSEWHERE.iter().chain(keys::UNSUPPORTED).copied()).collect();
    let flags = Flag::WORDS.iter().map(|(flag, _)| *flag).chain(VALUES.iter().map(|(flag, ..)| *flag));
    let flags: Vec<_> = flags.chain(UNSUPPORTED.iter().copied()).collect();
    for names in [keys, flags] {
        for name in &names {
            assert_eq!(names.iter().filter(|other| same(name, other)).count(), 1, "{name}");
        }
    }
    assert!(Flag::WORDS.len() <= 64, "a set has 64 places");
    for (prefix, _) in PREFIXES {
        let shadows = |(other, _): &&(&str, _)| words::after(prefix, other).is_some();
        assert_eq!(PREFIXES.iter().find(shadows).map(|(first, _)| first), Some(prefix));
    }
}

#[test]
fn case_space_hyphen_and_underscore_make_no_difference() {
    for (key, value) in [
        ("media-address", "192.0.2.1"),
        ("media address", "192.0.2.1"),
        ("MEDIA_ADDRESS", "192.0.2.1"),
        ("Media-Address", "192.0.2.1"),
    ] {
        assert!(clean(&format!(r#""{key}": "{value}""#)).media_address.is_some(), "{key}");
    }
    for flag in ["SIP source address", "SIP-source-address", "sip_source_address", "SIP-SOURCE address"] {
        assert!(clean(&format!(r#""flags": ["{flag}"]"#)).flags.has(Flag::SipSourceAddress), "{flag}");
    }
    for word in ["force-relay", "force_relay", "Force Relay"] {
        assert_eq!(offer(&format!(r#""ice": "{word}""#)).0.ice, Some(Ice::Force), "{word}");
    }
    assert_eq!(clean(r#""RTCP-mux": ["Demux"]"#).rtcp_mux, [RtcpMux::Demux].into_iter().collect());
}

#[test]
fn values_are_left_as_they_are() {
    let request = asked(
        r#""command": "offer", "call-id": "A_b C", "from-tag": "--..", "sdp": "v=0\r\n", "to_tag": 7, "label": "L",
        "to-label": "M", "via branch": "V""#,
    );
    let Action::Offer { to_tag, exchange } = request.action else { panic!("it is an offer") };
    assert_eq!(to_tag.as_deref(), Some("7"));
    let Exchange { call_id, from_tag, via_branch, label, to_label, sdp, .. } = *exchange;
    assert_eq!((&*call_id, &*from_tag, &*sdp), ("A_b C", "--..", "v=0\r\n"));
    assert_eq!([via_branch, label, to_label].map(Option::unwrap), ["V", "L", "M"]);
}

#[test]
fn the_label_of_a_party_has_two_names() {
    let label = |more: &str| {
        let Action::Offer { exchange, .. } = complete("offer", more).action else { panic!("it is an offer") };
        exchange.label
    };
    assert_eq!(label(r#""set-label": "a""#).as_deref(), Some("a"));
    assert_eq!(label(r#""from-label": "b", "set-label": "a""#).as_deref(), Some("b"));
}

#[test]
fn a_single_value_is_a_list_and_a_list_of_one_is_a_single_value() {
    assert_eq!(clean(r#""ICE": ["force"]"#), clean(r#""ICE": "force""#));
    assert_eq!(clean(r#""replace": "origin""#), clean(r#""replace": ["origin"]"#));
    assert_eq!(clean(r#""flags": "symmetric""#), clean(r#""flags": ["symmetric"]"#));
    assert_eq!(clean(r#""TOS": ["184"]"#), clean(r#""TOS": 184"#));
    assert_eq!(clean(r#""from-interface": ["pub"]"#), clean(r#""from-interface": "pub""#));
    assert_eq!(clean(r#""codec": {"strip": "G722"}"#), clean(r#""codec": {"strip": ["G722"]}"#));
}

/// Every command that is done here, by its name.
fn done() -> impl Iterator<Item = (&'static str, Kind)> {
    COMMANDS.iter().filter_map(|(name, kind)| Some((*name, (*kind)?)))
}

#[test]
fn a_flag_is_the_same_in_flags_in_rtpp_flags_and_as_a_key() {
    for (spelling, flag) in Flag::WORDS {
        for (command, kind) in done() {
            let joined = spelling.replace(' ', "-");
            let in_flags = complete(command, &format!(r#""flags": ["{spelling}"]"#));
            assert_eq!(complete(command, &format!(r#""rtpp-flags": "{joined}""#)), in_flags, "{spelling}");
            // This key has a meaning of its own.
            if *flag != Flag::ToTag {
                let as_key = complete(command, &format!(r#""{spelling}": "yes""#));
                assert_eq!(as_key, in_flags, "{spelling}");
                let off = complete(command, &format!(r#""{spelling}": 0"#));
                assert_eq!(off, complete(command, NOTHING), "{spelling}");
            }
            let has_no_effect = in_flags
                .findings
                .iter()
                .any(|finding| matches!(finding, Finding::NoEffect { said, .. } if said == spelling));
            assert_eq!(has_no_effect, !flag.is_heeded_by(kind), "{spelling} on {command}");
        }
        let heeded: Vec<_> = done().filter(|(_, kind)| flag.is_heeded_by(*kind)).map(|(name, _)| name).collect();
        assert!(!heeded.is_empty(), "{spelling}");
        if heeded.contains(&"answer") {
            assert!(answer(&format!(r#""flags": ["{spelling}"]"#)).0.flags.has(*flag), "{spelling}");
        }
    }
    assert_eq!(findings(r#""symmetric": "maybe""#), ["the value of `symmetric` is not understood: \"maybe\""]);
}

/// A key with a value, or with a dictionary that holds it.
fn at(path: &[&str], value: &str) -> String {
    let nest = |inner, key: &&str| format!(r#"{{"{key}": {inner}}}"#);
    format!(r#""{}": {}"#, path[0], path[1..].iter().rev().fold(format!(r#""{value}""#), nest))
}

#[test]
fn a_flag_that_is_a_value_is_what_the_key_with_the_value_is() {
    for (flag, path, value) in VALUES {
        let command = if *flag == "all" { "block media" } else { "offer" };
        let by_key = complete(command, &at(path, value));
        assert_ne!(by_key, complete(command, NOTHING), "{flag}");
        assert_eq!(complete(command, &format!(r#""flags": ["{flag}"]"#)), by_key, "{flag}");
    }
}

#[test]
fn a_flag_with_a_prefix_is_what_the_key_with_the_rest_is() {
    for (prefix, path) in PREFIXES {
        let rest = match path[0] {
            "rtcp-mux" | "OSRTP" | "bundle" => "offer",
            "SDES" => "only-AES_CM_128_HMAC_SHA1_80",
            "replace" => "origin",
            "endpoint-learning" => "immediate",
            "codec" => "opus/48000/2",
            "sdp-attr" => "from>to",
            "T.38" | "from-tags" => "x",
            other => panic!("{other} is new"),
        };
        let (options, findings) = offer(&at(path, rest));
        assert!(options != Options::default() || !findings.is_empty(), "{prefix}");
        assert!(
            !findings.iter().any(|finding| matches!(finding, Finding::UnknownMember { .. } | Finding::UnknownKey(_)))
        );
        let in_flags = offer(&format!(r#""flags": ["{prefix}{rest}"]"#));
        assert_eq!(in_flags, (options, findings), "{prefix}");
        assert_eq!(line(&format!("{prefix}{rest}")), in_flags, "{prefix}");
        let spaced = prefix.trim_end_matches('-').replace('-', " ");
        assert_eq!(offer(&format!(r#""flags": ["{spaced} {rest}"]"#)), in_flags, "{spaced}");
    }
}

#[test]
fn in_a_flag_with_a_prefix_equals_sign_and_space_are_written_as_two_others() {
    let options = clean(
        r#""flags": ["sdp-attr-add-audio-fmtp:96..useinbandfec--1", "sdp-attr-substitute-global-a..b>c--d",
        "codec-set-opus/48000/2///stereo--1"]"#,
    );
    assert_eq!(options.sdp_attributes.audio.add, ["fmtp:96 useinbandfec=1"]);
    assert_eq!(options.sdp_attributes.session.substitute, [("a b".to_owned(), "c=d".to_owned())]);
    // A proxy that takes such a flag apart leaves them so.
    assert_eq!(clean(r#""codec": {"set": ["opus/48000/2///stereo--1"]}"#).codecs, options.codecs);
    let [CodecMatch::Codec(codec)] = &options.codecs.set[..] else { panic!("it is one codec") };
    assert_eq!(codec.fmtp.as_deref(), Some("stereo=1"));
}

#[test]
fn rtpp_flags_are_what_their_words_are_as_keys_and_flags() {
    let (options, findings) = line(
        "replace-origin trust-address ICE=force codec=[strip=[G722] transcode=[PCMA opus]] direction=pub direction=priv \
         label=caller SDP-attr=[audio=[remove=[test] add=[foo bar] substitute=[a>b [c d]]]] TOS=184 rtcp-mux=[offer] \
         received-from=[IP4 192.0.2.1] generate-RTCP=on via-branch=auto-next",
    );
    assert_eq!(findings, []);
    let by_keys = clean(
        r#""replace": ["origin"], "flags": ["trust address"], "ICE": "force", "direction": ["pub", "priv"],
        "codec": {"strip": ["G722"], "transcode": ["PCMA", "opus"]}, "TOS": 184, "rtcp-mux": ["offer"],
        "sdp-attr": {"audio": {"remove": "test", "add": ["foo", "bar"], "substitute": [["a", "b"], ["c", "d"]]}},
        "received from": ["IP4", "192.0.2.1"], "generate RTCP": "on""#,
    );
    assert_eq!(options, by_keys);
}

#[test]
fn flags_of_scripts_are_read() {
    let (options, findings) = line(
        "RTP/AVP ICE=remove rtcp-mux-demux SDES-off DTLS=off DTLS-reverse=passive replace-origin trust-address \
         direction=pub direction=int codec-mask-PCMA codec-strip-opus transcode-opus endpoint-learning-immediate",
    );
    let by_keys = clean(
        r#""transport protocol": "RTP/AVP", "ICE": "remove", "rtcp-mux": "demux", "SDES": "off", "DTLS": "off",
        "DTLS-reverse": "passive", "replace": "origin", "flags": "trust address", "direction": ["pub", "int"],
        "codec": {"mask": "PCMA", "strip": "opus", "transcode": "opus"}, "endpoint-learning": "immediate""#,
    );
    assert_eq!((options, findings), (by_keys, vec![]));
}

#[test]
fn a_via_branch_in_rtpp_flags_is_the_proxys_business() {
    let request = complete("offer", r#""via-branch": "z9hG4bK1", "rtpp-flags": "via-branch=auto via_branch=extra""#);
    assert_eq!(request.findings, []);
    let Action::Offer { exchange, .. } = request.action else { panic!("it is an offer") };
    assert_eq!(exchange.via_branch.as_deref(), Some("z9hG4bK1"));
}

#[test]
fn rtpp_flags_do_not_hold_others() {
    let nested = "rtpp-flags=".repeat(20_000);
    assert_eq!(line(&nested).1.len(), 1);
    assert_eq!(line("a rtpp-flags=[b]").1.len(), 2);
    assert_eq!(line("replace=[origin").1.len(), 1, "brackets that are not closed are told");
    assert_eq!(line("flags=[symmetric fragment]").0.flags, [Flag::Symmetric, Flag::Fragment].into_iter().collect());
}

#[test]
fn a_profile_may_be_named_in_parts() {
    for (line_of_flags, profile) in [
        ("RTP", Profile::Avp),
        ("RTP AVPF", Profile::Avpf),
        ("AVPF", Profile::Avpf),
        ("SRTP", Profile::Savp),
        ("SRTP AVP", Profile::Savp),
        ("AVPF SRTP", Profile::Savpf),
        ("DTLS", Profile::TlsSavp),
        ("DTLS SRTP AVPF", Profile::TlsSavpf),
        ("transport-protocol=SRTP AVPF", Profile::Savpf),
        ("RTP/SAVPF", Profile::Savpf),
        ("transport-protocol=UDP/TLS/RTP/SAVPF", Profile::TlsSavpf),
        ("RTP/SAVPF SRTP AVPF", Profile::Savpf),
    ] {
        let (options, findings) = line(line_of_flags);
        assert_eq!((options.transport, findings), (Some(Transport::Profile(profile)), vec![]), "{line_of_flags}");
    }
    for contradiction in ["RTP SRTP", "RTP DTLS", "AVP AVPF", "RTP/AVP SRTP", "RTP/AVP RTP/SAVP"] {
        assert_eq!(line(contradiction).1, [Finding::Repeated("transport protocol")], "{contradiction}");
    }
}

#[test]
fn every_profile_is_taken_and_an_answer_may_have_the_answerers() {
    for profile in Profile::ALL {
        let options = clean(&format!(r#""transport-protocol": "{profile}""#));
        assert_eq!(options.transport, Some(Transport::Profile(profile)));
    }
    assert_eq!(answer(r#""transport protocol": "accept""#).0.transport, Some(Transport::Accept));
    let (options, findings) = offer(r#""transport protocol": "accept""#);
    assert_eq!((options.transport, findings.len()), (None, 1));
}

/// Each word of a key is taken, in a list and in rtpp-flags, and any other is told.
fn assert_words<T: Words>(key: &str, read: impl Fn(&Options) -> Option<T>) {
    for (spelling, word) in T::WORDS {
        let options = clean(&format!(r#""{key}": ["{spelling}"]"#));
        assert_eq!(read(&options), Some(*word), "{key}={spelling}");
        assert_eq!(line(&format!("{key}=[{}]", spelling.replace(' ', "-"))).0, options, "{key}={spelling}");
    }
    let (options, findings) = offer(&format!(r#""{key}": ["so-so"]"#));
    let [Finding::UnknownMember { member, .. }] = &findings[..] else { panic!("{key}: {findings:?}") };
    assert_eq!((read(&options), &**member), (None, "so-so"));
    assert!(matches!(offer(&format!(r#""{key}": {{}}"#)).1[..], [Finding::BadValue { .. }]), "{key}");
}

fn only<T: Words>(set: Set<T>) -> Option<T> {
    T::WORDS.iter().map(|(_, word)| *word).find(|word| set == [*word].into_iter().collect())
}

#[test]
fn every_word_of_every_key_is_taken() {
    assert_words("address-family", |options| options.address_family);
    assert_words("ICE", |options| options.ice);
    assert_words("ICE-lite", |options| options.ice_lite);
    assert_words("DTLS", |options| options.dtls);
    assert_words("DTLS-reverse", |options| options.dtls_reverse);
    assert_words("SDES", |options| only(options.sdes.words));
    assert_words("OSRTP", |options| only(options.osrtp));
    assert_words("rtcp-mux", |options| only(options.rtcp_mux));
    assert_words("BUNDLE", |options| only(options.bundle));
    assert_words("replace", |options| only(options.replace));
    assert_words("supports", |options| only(options.supports));
    assert_words("sip-message-type", |options| options.sip_message);
    assert_words("endpoint-learning", |options| options.endpoint_learning);
    assert_words("generate-RTCP", |options| options.generate_rtcp);
    assert_words("media-echo", |options| options.media_echo);
    assert_words("drop-traffic", |options| options.drop_traffic);
    assert_words("alias-key", |options| options.alias_key);
}

#[test]
fn ice_has_words_that_belong_elsewhere() {
    for (spelling, word) in IceWord::WORDS {
        let options = offer(&format!(r#""ICE": "{spelling}""#)).0;
        let trickles = options.flags.has(Flag::TrickleIce);
        let said = (options.ice, options.ice_lite, trickles, options.ice2);
        let expected = match word {
            IceWord::Remove => (Some(Ice::Remove), None, false, false),
            IceWord::Force | IceWord::ForceRelay => (Some(Ice::Force), None, false, false),
            IceWord::Default => (Some(Ice::Default), None, false, false),
            IceWord::Optional => (Some(Ice::Optional), None, false, false),
            IceWord::Lite => (None, Some(IceLite::Both), false, false),
            IceWord::LiteForward => (None, Some(IceLite::Forward), false, false),
            IceWord::LiteBackward => (None, Some(IceLite::Backward), false, false),
            IceWord::NoLite => (None, Some(IceLite::Off), false, false),
            IceWord::Trickle => (None, None, true, false),
            IceWord::Ice2 => (None, None, false, true),
        };
        assert_eq!(said, expected, "{spelling}");
    }
    assert_eq!(findings(r#""ICE": "force-relay""#), ["`ICE=force-relay` is not supported"]);
}

#[test]
fn addresses_are_read_in_all_their_forms() {
    let v4 = Some(IpAddr::from([192, 0, 2, 1]));
    let v6: Option<IpAddr> = "2001:db8::1".parse().ok();
    assert_eq!(clean(r#""received from": ["IP4", "192.0.2.1"]"#).received_from, v4);
    assert_eq!(clean(r#""received-from": "192.0.2.1""#).received_from, v4);
    assert_eq!(clean(r#""received-from": ["IP6", "2001:db8::1"]"#).received_from, v6);
    assert_eq!(clean(r#""media-address": "[2001:db8::1]""#).media_address, v6);
    assert_eq!(line("media-address=2001:db8::1").0.media_address, v6);
    for bad in [r#"["IP6", "192.0.2.1"]"#, r#"["IP4"]"#, r#""example.org""#, "[]", "{}", r#"["IP4", "192.0.2.1", "x"]"#]
    {
        let (options, findings) = offer(&format!(r#""received from": {bad}"#));
        assert_eq!(options.received_from, None, "{bad}");
        assert!(matches!(findings[..], [Finding::BadValue { key: "received from", .. }]), "{bad}");
    }
}

#[test]
fn numbers_have_their_ranges() {
    assert_eq!(clean(r#""TOS": "184""#).tos, Some(Tos::Set(184)));
    assert_eq!(clean(r#""TOS": -1"#).tos, Some(Tos::Keep));
    assert_eq!(clean(r#""TOS": 256"#).tos, None);
    assert_eq!(clean(r#""ptime": "20", "ptime reverse": 30"#).ptime, Some(20));
    assert_eq!(clean(r#""ptime": "20", "ptime reverse": 30"#).ptime_reverse, Some(30));
    assert_eq!(clean(r#""repacketize": 40"#).ptime, Some(40));
    assert_eq!(clean(r#""SIP code": 200"#).sip_code, Some(200));
    for bad in [r#""TOS": "x""#, r#""ptime": 0"#, r#""SIP-code": 99"#, r#""sip code": []"#, r#""ptime": "20ms""#] {
        let (options, findings) = offer(bad);
        assert_eq!(options, Options::default(), "{bad}");
        assert!(matches!(findings[..], [Finding::BadValue { .. }]), "{bad}");
    }
}

#[test]
fn interfaces_are_named_together_or_each() {
    let both = Interfaces { from: Some("pub".into()), to: Some("priv".into()) };
    assert_eq!(clean(r#""direction": ["pub", "priv"]"#).interfaces, both);
    assert_eq!(clean(r#""from-interface": "pub", "to-interface": "priv""#).interfaces, both);
    let legacy = Interfaces { from: Some("internal".into()), to: Some("external".into()) };
    assert_eq!(line("internal external").0.interfaces, legacy);
    assert_eq!(findings(r#""direction": ["a", "b", "c"]"#), ["`direction` does not have \"c\""]);
}

#[test]
fn fingerprints_have_their_hash_function() {
    for hash in HashFunction::ALL {
        let said = hash.as_str().to_uppercase();
        assert_eq!(clean(&format!(r#""DTLS-fingerprint": "{said}""#)).fingerprint, Some(hash));
    }
    assert_eq!(findings(r#""DTLS-fingerprint": "MD5""#), ["`DTLS-fingerprint` does not have \"MD5\""]);
}

#[test]
fn suites_are_allowed_by_only_before_no() {
    for suite in SrtpSuite::ALL {
        let name = suite.as_str();
        let only = clean(&format!(r#""SDES": ["only-{name}", "no-{name}"]"#)).sdes;
        let no = clean(&format!(r#""SDES": "no-{name}""#)).sdes;
        for other in SrtpSuite::ALL {
            assert_eq!((only.allows(other), no.allows(other)), (other == suite, other != suite));
        }
    }
    let sdes =
        clean(r#""SDES": ["order:AES_CM_128_HMAC_SHA1_32;AEAD_AES_128_GCM;", "offerer_pref:AEAD_AES_256_GCM"]"#).sdes;
    assert_eq!(sdes.order, [SrtpSuite::AesCm128Sha1_32, SrtpSuite::AeadAes128Gcm]);
    assert_eq!(sdes.offerer_pref, [SrtpSuite::AeadAes256Gcm]);
    assert_eq!(findings(r#""SDES": "no-ROT13""#), ["`SDES` does not have \"ROT13\""]);
    for refused in ["unencrypted_srtp", "unencrypted-srtcp", "unauthenticated_srtp"] {
        assert_eq!(findings(&format!(r#""SDES": "{refused}""#)), [format!("`SDES={refused}` is not supported")]);
    }
    let (options, findings) = offer(r#""SDES": "only-NULL_HMAC_SHA1_80""#);
    assert_eq!(options.sdes.only, Some(vec![]), "what we do not speak excludes the rest all the same");
    assert_eq!(findings.len(), 2);
    assert!(findings[1].is_contradiction());
}

#[test]
fn codecs_have_lists_and_parts() {
    for (name, list) in CodecList::WORDS {
        let mut options = clean(&format!(r#""codec": {{"{name}": ["all", "full", "opus"]}}"#));
        let opus = CodecName { name: "opus".into(), ..CodecName::default() };
        let expected = [CodecMatch::All, CodecMatch::Full, CodecMatch::Codec(opus)];
        assert_eq!(options.codecs.list(*list), &expected, "{name}");
        let is_for_offers = matches!(list, CodecList::Transcode | CodecList::Mask | CodecList::Set);
        let in_answer = answer(&format!(r#""codec": {{"{name}": ["PCMU"]}}"#));
        assert_eq!(in_answer.1.len(), usize::from(is_for_offers), "{name}");
        assert_eq!(in_answer.0 == Options::default(), is_for_offers, "{name}");
    }
    let whole =
        clean(r#""codec": {"offer": ["opus/48000/2/32000/20/stereo=1/complexity=5/6", "AMR//1"]}"#).codecs.offer;
    let opus = CodecName {
        name: "opus".into(),
        clock_rate: Some(48_000),
        channels: Some(2),
        bitrate: Some(32_000),
        ptime: Some(20),
        fmtp: Some("stereo=1".into()),
        options: Some("complexity=5/6".into()),
    };
    let amr = CodecName { name: "AMR".into(), channels: Some(1), ..CodecName::default() };
    assert_eq!(whole, [CodecMatch::Codec(opus), CodecMatch::Codec(amr)]);
    for bad in ["", "/8000", "PCMU/x", "PCMU/8000/-1", "PCMU/99999999999"] {
        let (options, findings) = offer(&format!(r#""codec": {{"strip": ["{bad}"]}}"#));
        assert_eq!(options, Options::default(), "{bad}");
        assert!(matches!(findings[..], [Finding::BadValue { key: "codec", .. }]), "{bad}");
    }
    assert_eq!(findings(r#""codec": {"lose": ["PCMU"]}"#), ["`codec` does not have \"lose\""]);
}

#[test]
fn attributes_change_by_part() {
    for (name, part) in SdpPart::WORDS {
        let mut options = clean(&format!(
            r#""sdp-attr": {{"{name}": {{"add": ["x:1"], "remove": ["y", "z"], "substitute": [["a", "b"]]}}}}"#
        ));
        let changes = AttributeChanges {
            add: vec!["x:1".into()],
            remove: vec!["y".into(), "z".into()],
            substitute: vec![("a".into(), "b".into())],
        };
        assert_eq!(options.sdp_attributes.part(*part), &changes, "{name}");
    }
    assert_eq!(findings(r#""sdp-attr": {"slides": {}}"#), ["`sdp-attr` does not have \"slides\""]);
    assert_eq!(findings(r#""sdp-attr": {"audio": {"lose": []}}"#), ["`sdp-attr` does not have \"lose\""]);
    let (options, findings) = offer(r#""sdp-attr": {"audio": {"substitute": [["a"], ["a", "b", "c"], "b"]}}"#);
    assert_eq!((options, findings.len()), (Options::default(), 2), "nothing but pairs is taken");
}

#[test]
fn extensions_and_media_are_taken_out_by_name() {
    let options = clean(
        r#""extmap": {"strip": "all", "mask": ["urn:ietf:params:rtp-hdrext:sdes:mid"]},
        "sdp-media-remove": ["video", "image"]"#,
    );
    assert_eq!(options.extmap.strip, ["all"]);
    assert_eq!(options.extmap.mask, ["urn:ietf:params:rtp-hdrext:sdes:mid"]);
    assert_eq!(options.media_remove, ["video", "image"]);
    assert_eq!(findings(r#""extmap": {"lose": "all"}"#), ["`extmap` does not have \"lose\""]);
}

#[test]
fn what_is_for_offers_has_no_effect_on_answers_nor_the_other_way_round() {
    for (key, told) in [
        (r#""ICE-lite": "both""#, "ICE-lite"),
        (r#""DTLS": "passive""#, "DTLS=passive"),
        (r#""ptime": 20"#, "ptime"),
        (r#""sdp-media-remove": "video""#, "sdp-media-remove"),
    ] {
        assert_eq!(clean(key), offer(key).0);
        let no_effect = Finding::NoEffect { said: told.into(), command: "answer" };
        assert_eq!(answer(key), (Options::default(), vec![no_effect]));
    }
    for flag in ["single codec", "provisional", "new branch"] {
        let key = format!(r#""flags": ["{flag}"]"#);
        assert_eq!((answer(&key).1, findings(&key)), (vec![], vec![format!("`{flag}` has no effect on `offer`")]));
    }
    assert_eq!(findings(r#""limit": 5"#), ["`limit` has no effect on `offer`"]);
}

#[test]
fn what_is_not_done_here_is_told() {
    let unsupported = keys::UNSUPPORTED.iter().map(|key| format!(r#""{key}": "x""#));
    let prefixed = keys::UNSUPPORTED_PREFIXES.iter().map(|prefix| format!(r#""{prefix}x": "x""#));
    let flags = UNSUPPORTED.iter().map(|flag| format!(r#""flags": ["{flag}"]"#));
    for member in unsupported.chain(prefixed).chain(flags) {
        assert!(matches!(offer(&member).1[..], [Finding::Unsupported(_)]), "{member}");
    }
    for key in keys::ELSEWHERE {
        assert!(matches!(offer(&format!(r#""{key}": "x""#)).1[..], [Finding::NoEffect { .. }]), "{key}");
    }
    assert_eq!(clean(r#""record call": "off""#), Options::default());
}

#[test]
fn what_nobody_knows_is_told() {
    assert_eq!(findings(r#""colour": "red""#), ["unknown key \"colour\""]);
    assert_eq!(findings(r#""flags": ["force-encrypt"]"#), ["unknown flag \"force-encrypt\""]);
    assert_eq!(findings(r#""flags": [{}]"#), ["the value of `flags` is not understood: \"a dictionary\""]);
    // It is still in many scripts.
    assert_eq!(line("replace-session-connection").1[0].to_string(), "`replace` does not have \"session-connection\"");
    let escaped = findings(&format!(r#""{}": 1"#, "\\n".repeat(1000)));
    assert_eq!(escaped, [format!("unknown key \"{}\"", "\\n".repeat(64))]);
}

#[test]
fn a_key_with_one_value_that_is_given_two_says_so() {
    let (options, findings) = offer(r#""ICE": ["remove", "force"]"#);
    assert_eq!((options.ice, findings), (Some(Ice::Force), vec![Finding::Repeated("ICE")]));
    let (options, findings) = offer(r#""TOS": 184, "rtpp-flags": "TOS=0""#);
    assert_eq!((options.tos.is_some(), findings), (true, vec![Finding::Repeated("TOS")]));
    assert_eq!(clean(r#""ICE": "force", "rtpp-flags": "ICE=force""#).ice, Some(Ice::Force));
}

#[test]
fn webrtc_stands_for_what_a_browser_wants() {
    let said_outright = clean(
        r#""transport-protocol": "UDP/TLS/RTP/SAVPF", "ICE": "force", "rtcp-mux": ["offer", "require"], "SDES": "off",
        "flags": ["WebRTC", "trickle ICE", "no rtcp attribute", "generate mid"]"#,
    );
    assert_eq!(clean(r#""flags": ["WebRTC"]"#), said_outright);
    assert!(said_outright.flags.has(Flag::GenerateMid));
    let (options, findings) = line("WebRTC RTP/SAVPF ICE=optional rtcp-mux-offer SDES-prefer");
    assert_eq!(options.transport, Some(Transport::Profile(Profile::Savpf)));
    assert_eq!((options.ice, options.rtcp_mux), (Some(Ice::Optional), [RtcpMux::Offer].into_iter().collect()));
    assert!(!options.sdes.words.has(SdesWord::Off));
    assert_eq!(findings.len(), 2);
}

#[test]
fn every_contradiction_is_found() {
    const LINES: &[&str] = &[
        "ICE=remove trickle-ICE",
        "ICE=remove ICE-lite=both",
        "symmetric asymmetric",
        "asymmetric endpoint-learning=delayed",
        "trust-address SIP-source-address",
        "port-latching no-port-latching",
        "pierce-NAT NAT-wait",
        "full-rtcp-attribute no-rtcp-attribute",
        "RTP/SAVP DTLS=off SDES=off",
        "DTLS AVPF DTLS=off",
        "SDES-off SDES-prefer",
        "SDES-only-F8_128_HMAC_SHA1_80",
        "SDES=[no-AEAD_AES_256_GCM no-AEAD_AES_128_GCM no-AES_256_CM_HMAC_SHA1_80 no-AES_CM_128_HMAC_SHA1_80 \
         no-AES_CM_128_HMAC_SHA1_32 no-AES_256_CM_HMAC_SHA1_32 no-AES_192_CM_HMAC_SHA1_80 no-AES_192_CM_HMAC_SHA1_32]",
        "rtcp-mux=[offer reject]",
        "rtcp-mux-demux rtcp-mux-accept",
        "bundle=[accept reject]",
        "reuse-codecs static-codecs",
        "WebRTC RTP/AVP",
        "WebRTC ICE=remove",
        "WebRTC DTLS=off",
        "WebRTC SDES-only-AEAD_AES_128_GCM",
        "WebRTC rtcp-mux-demux",
    ];
    assert_eq!(LINES.len(), CONTRADICTIONS.len());
    for (words, ((one, _), (other, _), _)) in LINES.iter().zip(CONTRADICTIONS) {
        let contradictions: Vec<_> = line(words).1.into_iter().filter(Finding::is_contradiction).collect();
        assert_eq!(contradictions, [Finding::Contradiction(one, other)], "{words}");
    }
}

#[test]
fn findings_are_bounded_and_each_is_told_once_but_no_contradiction_is_lost() {
    let flags: String = (0..1000).map(|number| format!("x{number} x{number} ")).collect();
    let (_, findings) = line(&(flags + "symmetric asymmetric"));
    assert_eq!(findings.len(), MAX_FINDINGS + 1);
    assert_eq!(findings[0].to_string(), "unknown flag \"x0\"");
    assert_eq!(findings[1].to_string(), "unknown flag \"x1\"");
    assert_eq!(findings[MAX_FINDINGS].to_string(), "`symmetric` and `asymmetric` contradict each other");
}

#[test]
fn lists_are_bounded() {
    let codecs: Vec<_> = (0..1000).map(|number| format!("\"c{number}\"")).collect();
    let (options, findings) = offer(&format!(r#""codec": {{"strip": [{}]}}"#, codecs.join(",")));
    assert_eq!(options.codecs.strip.len(), reader::MAX_MEMBERS);
    assert_eq!(findings, [Finding::TooMany("codec")]);
}

#[test]
fn a_delete_says_which_branch_and_when() {
    let request = complete("delete", r#""delete delay": "0", "via-branch": "b", "flags": ["fatal", "to-tag"]"#);
    assert_eq!(request.findings, []);
    let Action::Delete(delete) = request.action else { panic!("it is a delete") };
    assert_eq!((&*delete.call_id, delete.delay), ("c", Some(Duration::ZERO)));
    assert_eq!(delete.flags, [Flag::Fatal, Flag::ToTag].into_iter().collect());
    assert_eq!([delete.from_tag, delete.to_tag, delete.via_branch].map(Option::unwrap), ["f", "t", "b"]);
}

#[test]
fn a_list_has_a_limit() {
    let limit = |more: &str| asked(&format!(r#""command": "list"{more}"#)).action;
    assert_eq!(limit(""), Action::List(32));
    assert_eq!(limit(r#", "limit": "7""#), Action::List(7));
    assert_eq!(limit(r#", "limit": 0"#), Action::List(32));
}

#[test]
fn a_party_is_selected_by_label_before_address_before_tag() {
    let selection = |more: &str| {
        let request = asked(&format!(r#""command": "block DTMF", "call-id": "c", {more}"#));
        let Action::Block(Block { what: Blocked::Dtmf, of, .. }) = request.action else { panic!("it is a block") };
        of
    };
    let tagged = selection(r#""from-tag": "f""#);
    assert_eq!((tagged.party, tagged.towards, tagged.all), (Party::Everybody, None, None));
    assert_eq!(selection(r#""from-tag": "f", "flags": ["directional"]"#).party, Party::Tag("f".into()));
    let by_address = selection(r#""from-tag": "f", "flags": ["directional"], "address": "192.0.2.1""#);
    assert_eq!(by_address.party, Party::Address(IpAddr::from([192, 0, 2, 1])));
    let by_label = selection(r#""from-label": "l", "address": "192.0.2.1", "to-tag": "t", "set-label": "s""#);
    assert_eq!((by_label.party, by_label.towards), (Party::Label("l".into()), Some(Towards::Tag("t".into()))));
    assert_eq!(by_label.set_label.as_deref(), Some("s"));
    assert_eq!(selection(r#""to-tag": "t", "to-label": "m""#).towards, Some(Towards::Label("m".into())));
    for (spelling, word) in All::WORDS {
        assert_eq!(selection(&format!(r#""all": "{spelling}""#)).all, Some(*word));
    }
    for (spelling, word) in DtmfSecurity::WORDS {
        let request = asked(&format!(r#""command": "block DTMF", "call-id": "c", "DTMF-security": "{spelling}""#));
        let Action::Block(block) = request.action else { panic!("it is a block") };
        assert_eq!(block.dtmf_security, Some(*word));
    }
}

#[test]
fn a_key_press_has_its_key_and_its_times() {
    let play = |more: &str| match asked(&format!(r#""command": "play DTMF", "call-id": "c", "from-tag": "f", {more}"#))
    {
        Request { action: Action::PlayDtmf(play), findings } => (play, findings.len()),
        other => panic!("{other:?} is no key press"),
    };
    for (code, key) in [("5", '5'), (r#""5""#, '5'), ("10", '*'), (r#""11""#, '#'), (r##""#""##, '#'), (r#""d""#, 'D')]
    {
        assert_eq!(char::from(play(&format!(r#""code": {code}"#)).0.digit), key);
    }
    let (usual, _) = play(r#""digit": "1""#);
    assert_eq!(usual.of.party, Party::Tag("f".into()));
    assert_eq!((usual.duration.as_millis(), usual.pause.as_millis(), usual.volume), (250, 100, 8));
    let (other, _) = play(r#""digit": "1", "duration": 5000, "pause": "300", "volume": -12"#);
    assert_eq!((other.duration.as_millis(), other.pause.as_millis(), other.volume), (5000, 300, 12));
    let (bad, findings) = play(r#""digit": "1", "duration": 99, "pause": 5001, "volume": 64"#);
    assert_eq!((PlayDtmf { digit: usual.digit, ..bad }, findings), (usual, 3));
    for code in ["16", "-1", r#""x""#, r#""""#, "[]"] {
        let request = format!(r#"1 {{"command": "play DTMF", "call-id": "c", "code": {code}}}"#);
        assert_eq!(received(&request), Err(RequestError::NoDtmfCode), "{code}");
    }
}

#[test]
fn the_longest_messages_are_read_in_time_that_grows_with_them() {
    let long = |unit: &str| unit.repeat((MAX_MESSAGE - 200) / unit.len());
    for unit in
        ["a ", "a=[b] ", "[", "a=[", "] ", "=", "codec=[strip=[a b]] ", "-", "SDES-no-x ", "\u{e9} ", "--", "x=1 "]
    {
        line(&long(unit));
    }
    for inside in ["a=b ", "a ", "[a] ", "..", "a=[b] "] {
        line(&format!("codec=[{}]", long(inside)));
    }
    let many: Vec<_> = (0..20_000).map(|number| format!("\"{number}\": 0")).collect();
    assert_eq!(offer(&many.join(",")).1.len(), MAX_FINDINGS);
}

/// Dictionaries of which most members are read.
fn any_request() -> impl Strategy<Value = Dictionary<'static>> {
    let keys: Vec<_> = KEYS.iter().flat_map(|key| key.names).copied().chain(["rtpp-flags"]).collect();
    let flags = Flag::WORDS.iter().map(|(flag, _)| *flag).chain(PREFIXES.iter().map(|(prefix, _)| *prefix));
    let flags: Vec<_> = flags.collect();
    let text = prop_oneof![
        "[ =a-z\\[\\]./>-]{0,24}".boxed(),
        (prop::sample::select(flags), "[ =a-z\\[\\]./>-]{0,8}")
            .prop_map(|(flag, rest)| flag.to_owned() + &rest)
            .boxed(),
    ];
    let value = prop_oneof![
        any_value(),
        text.clone().prop_map(Value::from),
        prop::collection::vec(text, 0..4).prop_map(Value::from),
    ];
    let entries = prop::collection::vec((prop::sample::select(keys), value), 0..8);
    let command = prop::sample::select(COMMANDS).prop_map(|(name, _)| name);
    (command, entries).prop_map(|(command, entries)| {
        let needed = ["call-id", "from-tag", "to-tag", "sdp", "code"];
        let request = needed.into_iter().fold(Dictionary::new(), |request, key| request.with(key, "1"));
        entries.into_iter().fold(request, |request, (key, value)| request.with(key, value)).with("command", command)
    })
}

proptest! {
    #[test]
    fn no_value_panics(value in any_value()) {
        if let Some(dictionary) = value.dictionary() {
            let _ = Request::read(dictionary);
            let _ = Request::read(&dictionary.clone().with("command", "offer").with("sdp", "v=0"));
        }
    }

    #[test]
    fn no_request_panics_or_has_findings_without_bound(request in any_request()) {
        if let Ok(request) = Request::read(&request) {
            prop_assert!(request.findings.len() <= MAX_FINDINGS + KEYS.len() + CONTRADICTIONS.len());
        }
    }

    #[test]
    fn no_rtpp_flags_panic(text in "[ab =\\[\\].-]{0,64}") {
        let text = Value::from(text.as_str());
        let request = Dictionary::new().with("command", "ping").with("rtpp-flags", text);
        prop_assert_eq!(Request::read(&request).map(|request| request.action), Ok(Action::Ping));
    }
}

#[test]
fn a_set_says_what_is_in_it() {
    let set: Set<RtcpMux> = [RtcpMux::Require, RtcpMux::Offer].into_iter().collect();
    assert_eq!(format!("{set:?}"), "{Offer, Require}");
    assert!(set.has(RtcpMux::Offer) && !set.has(RtcpMux::Reject) && set.has_any(&[RtcpMux::Reject, RtcpMux::Require]));
}
