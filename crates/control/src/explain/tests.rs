//! What is said of a wish is held against what a relay is asked and a party is told with it and without it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::FromRelay;
use relay::{Address, CertificatePolicy, OpenError, PortShare, Relay, SocketId, Sockets, Traffic};

use super::*;
use crate::Dictionary;
use crate::calls::{Calls, Config, Ticket};
use crate::request::{
    AddressFamily, AliasKey, Bundle, DropTraffic, Dtls, DtlsReverse, EndpointLearning, Ice, IceLite, MediaEcho, Osrtp,
    Replace, RtcpMux, SdesWord, Switch,
};

const KEY: &str = "inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd";
const LONG_KEY: &str = "inline:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLQ==";

/// Offers: of a phone, of a phone on hold, of one with keys, of one with keys beside a plain profile, of a browser, of one
/// that leaves the choice, of one of two families, of one with DTLS and without feedback, and of one with ICE alone.
fn offers() -> Vec<String> {
    let begun = |address: &str| {
        format!("v=0\r\no=alice 1 7 IN IP4 {address}\r\ns=x\r\nc=IN IP4 {address}\r\nt=0 0\r\na=x:y\r\n")
    };
    let start = begun("192.0.2.10");
    let codecs = "a=rtpmap:101 telephone-event/8000\r\n";
    let keys = format!("a=crypto:1 AES_256_CM_HMAC_SHA1_80 {LONG_KEY}\r\na=crypto:2 AES_CM_128_HMAC_SHA1_80 {KEY}\r\n");
    let print = ["00"; 32].join(":");
    let dtls = format!("a=fingerprint:sha-256 {print}\r\na=setup:actpass\r\na=rtcp-mux\r\n");
    let level = "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";
    let ice =
        "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=candidate:1 1 udp 1 192.0.2.10 4000 typ host\r\n";
    vec![
        format!("{start}m=audio 4000 RTP/AVP 0 8 101\r\n{codecs}m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"),
        format!("{}m=audio 4000 RTP/AVP 0 8 101\r\n{codecs}a=sendonly\r\n", begun("0.0.0.0")),
        format!("{start}m=audio 4000 RTP/SAVPF 0 8 101\r\n{codecs}{keys}"),
        format!("{start}m=audio 4000 RTP/AVP 0 8 101\r\n{codecs}{keys}"),
        format!(
            "{start}a=group:BUNDLE 0\r\nm=audio 4000 UDP/TLS/RTP/SAVPF 0 8 101\r\na=mid:0\r\n{codecs}{dtls}{ice}{level}"
        ),
        format!("{start}m=audio 4000 RTP/SAVP 0 8 101\r\n{codecs}{keys}{dtls}"),
        format!("{start}m=audio 4000 RTP/AVPF 0 8 101\r\nc=IN IP6 2001:db8::9\r\n{codecs}"),
        format!("{start}m=audio 4000 UDP/TLS/RTP/SAVP 0 8 101\r\n{codecs}{dtls}"),
        format!("{start}m=audio 4000 RTP/AVP 0 8 101\r\n{codecs}{ice}"),
    ]
}

/// Answers: usual, and on hold.
const ANSWERS: [&str; 2] = [
    "v=0\r\no=bob 2 7 IN IP4 192.0.2.20\r\ns=x\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\na=x:y\r\n\
     m=audio 5000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n",
    "v=0\r\no=bob 2 7 IN IP4 192.0.2.20\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 5000 RTP/AVP 8 0 102\r\n\
     a=rtpmap:102 telephone-event/8000\r\na=recvonly\r\na=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n",
];

/// What else is wished for, so that each wish can show.
const BESIDE: [&str; 7] = [
    "received-from=203.0.113.5",
    "RTP/SAVP",
    "UDP/TLS/RTP/SAVPF",
    "codec-strip-all",
    "codec-strip-PCMU",
    "endpoint-learning=immediate",
    "drop-traffic=start",
];

/// What a party says that calls itself and its session something else than before, and likes another codec better.
fn by_another_name(sdp: &str) -> String {
    let (_, rest) = sdp.split_once("s=x").expect("all have it");
    let rest = match rest.contains("AVP 0 8 ") {
        true => rest.replace("AVP 0 8 ", "AVP 9 0 8 "),
        false => rest.replace("AVP 8 0 ", "AVP 0 8 "),
    };
    format!("v=0\r\no=carol 9 2 IN IP4 192.0.2.30\r\ns=y{rest}")
}

struct Open;

impl Sockets for Open {
    fn open(&mut self, _: SocketId, _: SocketAddr, _: Traffic) -> Result<(), OpenError> {
        Ok(())
    }

    fn close(&mut self, _: SocketId) {}
}

/// What a relay is asked and replies where requests come one after the other.
fn outcome(certificates: &CertificatePolicy, requests: &[Dictionary<'_>]) -> String {
    let address = |name: Option<&str>, bind: &str| Address {
        name: name.map(str::to_owned),
        bind: bind.parse().expect("it is one"),
        advertise: None,
    };
    let addresses =
        vec![address(None, "198.51.100.1"), address(Some("in"), "198.51.100.2"), address(None, "2001:db8::1")];
    let ports = PortShare { range: 30_000..=30_099, number: 0, of: 1 };
    let mut next = 0_u8;
    let random = move |bytes: &mut [u8]| bytes.iter_mut().for_each(|byte| (*byte, next) = (next, next.wrapping_add(7)));
    let mut relay = Relay::new(relay::Config::new(addresses, ports, certificates.clone()), Box::new(random));
    #[expect(clippy::disallowed_methods, reason = "any time will do to begin with")]
    let now = Instant::now();
    let config = Config {
        max_calls: 1,
        delete_delay: Duration::ZERO,
        offer_timeout: Duration::from_secs(1),
        endpoint_learning: EndpointLearning::Off,
        interfaces: [("in".to_owned(), "in".to_owned())].into(),
        usual_interface: None,
    };
    let mut calls = Calls::new(config, now, Duration::ZERO);
    let mut all = String::new();
    for (number, request) in (0..).zip(requests) {
        calls.handle_request(Ticket(number), Request::read(request).expect("it is one"), now);
        while let Some(model::Request { id, command }) = calls.poll_command() {
            all += &format!("{command:?}\n");
            let outcome = relay.handle_command(command, now, &mut Open);
            calls.handle_relay(FromRelay::Reply { id, outcome }, now);
        }
        while let Some((_, reply)) = calls.poll_reply() {
            let reason = reply.text("error-reason").unwrap_or_default();
            let generation = reply.get("generation");
            // These the ICE agent makes up anew each time.
            let is_made_up = |line: &&str| line.starts_with("a=ice-ufrag:") || line.starts_with("a=ice-pwd:");
            let sdp: Vec<_> = reply.text("sdp").unwrap_or_default().lines().filter(|line| !is_made_up(line)).collect();
            all += &format!("{reason} {generation:?} {sdp:?}\n");
        }
    }
    all
}

fn request(command: &'static str, sdp: &str, flags: &str) -> Dictionary<'static> {
    let named = Dictionary::new().with("command", command).with("call-id", "c").with("from-tag", "a");
    let named = if command == "answer" { named.with("to-tag", "b") } else { named };
    named.with("sdp", sdp.to_owned()).with("rtpp-flags", flags.to_owned())
}

/// Everything that can be wished for, each by itself.
fn wishes() -> Vec<String> {
    fn words<T: Words>(key: &str) -> Vec<String> {
        let usual = T::WORDS.iter().filter(|(name, word)| word.as_str() == *name);
        usual.map(|(name, _)| format!("{key}={}", name.replace(' ', "-"))).collect()
    }
    let flags = Flag::WORDS.iter().filter(|(_, flag)| *flag != Flag::Fragment);
    let mut wishes: Vec<String> = flags.map(|(name, _)| name.replace(' ', "-")).collect();
    wishes.extend(words::<AddressFamily>("address-family"));
    wishes.extend(words::<Ice>("ICE"));
    wishes.extend(words::<IceLite>("ICE-lite"));
    wishes.extend(words::<Dtls>("DTLS"));
    wishes.extend(words::<DtlsReverse>("DTLS-reverse"));
    wishes.extend(words::<SdesWord>("SDES"));
    wishes.extend(words::<Osrtp>("OSRTP"));
    wishes.extend(words::<RtcpMux>("rtcp-mux"));
    wishes.extend(words::<Bundle>("bundle"));
    wishes.extend(words::<Replace>("replace"));
    wishes.extend(words::<EndpointLearning>("endpoint-learning"));
    wishes.extend(words::<Switch>("generate-RTCP"));
    wishes.extend(words::<MediaEcho>("media-echo"));
    wishes.extend(words::<DropTraffic>("drop-traffic"));
    wishes.extend(words::<AliasKey>("alias-key"));
    let others = "RTP/AVP RTP/AVPF RTP/SAVP RTP/SAVPF UDP/TLS/RTP/SAVP UDP/TLS/RTP/SAVPF transport-protocol=accept ICE=ice2 \
        SDES=only-AEAD_AES_128_GCM SDES=no-AES_CM_128_HMAC_SHA1_80 SDES=order:AES_192_CM_HMAC_SHA1_32 \
        SDES=offerer_pref:AES_CM_128_HMAC_SHA1_80 DTLS-fingerprint=sha-1 DTLS-fingerprint=sha-256 from-interface=in \
        to-interface=in received-from=203.0.113.5 media-address=203.0.113.7 codec=[strip=[PCMU]] codec=[except=[PCMA]] \
        codec=[offer=[PCMA]] codec=[ignore=[PCMU]] codec=[transcode=[opus]] codec=[mask=[PCMU]] codec=[consume=[PCMU]] \
        codec=[accept=[PCMU]] codec=[set=[opus]] ptime=40 ptime-reverse=40 TOS=8 TOS=-1 sdp-media-remove=video \
        extmap=[strip=[all]] extmap=[mask=[all]] sdp-attr=[global=[add=[z]]] sdp-attr=[global=[remove=[x]]] \
        sdp-attr=[global=[substitute=[x>z]]]";
    wishes.extend(others.split(' ').map(str::to_owned));
    wishes
}

/// Whether it is said of a wish that it does something; `None` if it is said to be for other commands.
fn is_said_to_do(command: &'static str, wish: &str) -> Option<bool> {
    let request = Request::read(&request(command, "v=0\r\n", wish)).expect("it is one");
    let explanation = explain(&request);
    if !explanation.oddities.is_empty() {
        assert!(request.findings.iter().all(|finding| matches!(finding, crate::Finding::NoEffect { .. })), "{wish}");
        return None;
    }
    assert!(!explanation.notes.is_empty(), "nothing is said of {wish} in an {command}");
    assert!(explanation.notes.iter().all(|note| !note.text.is_empty()), "{wish}: {explanation:?}");
    Some(explanation.notes.iter().any(|note| note.effect == Effect::Does))
}

fn hold_against_calls(command: &'static str, requests: impl Fn(&str, &str, &str) -> Vec<Dictionary<'static>>) {
    let certificate = dtls::Certificate::generate().expect("it can be made");
    let certificates = CertificatePolicy::PerProcess(Arc::new(certificate));
    let outcome = |requests: &[Dictionary<'_>]| outcome(&certificates, requests);
    let offers = offers();
    let alone = offers.iter().map(|offer| (offer, ""));
    let scenes: Vec<_> = alone
        .chain(BESIDE.map(|beside| (&offers[0], beside)))
        .chain(["RTP/SAVP", "UDP/TLS/RTP/SAVPF"].map(|beside| (&offers[5], beside)))
        .collect();
    let without: Vec<_> = scenes.iter().map(|(offer, beside)| outcome(&requests(offer, beside, ""))).collect();
    for ((offer, beside), without) in scenes.iter().zip(&without) {
        let again = outcome(&requests(offer, beside, ""));
        assert_eq!(again, *without, "the same comes of the same");
    }
    let mut wrong = Vec::new();
    for wish in wishes() {
        let Some(said) = is_said_to_do(command, &wish) else { continue };
        let does = scenes.iter().zip(&without).any(|((offer, beside), without)| {
            // What is said last counts.
            outcome(&requests(offer, beside, &wish)) != *without
        });
        if does != said {
            wrong.push(format!("{wish} does {}", if does { "something" } else { "nothing" }));
        }
    }
    assert!(wrong.is_empty(), "in an {command}, other than `explain` says: {wrong:#?}");
}

#[test]
fn a_wish_of_an_offer_does_something_if_it_is_said_to() {
    hold_against_calls("offer", |offer, beside, wish| {
        let wishes = format!("{beside} {wish}");
        let again = request("offer", &by_another_name(offer), &wishes);
        let mut by_another_tag = request("offer", &by_another_name(offer), &wishes);
        by_another_tag.put("from-tag", "another");
        vec![request("offer", offer, &wishes), request("answer", ANSWERS[0], ""), again, by_another_tag]
    });
}

#[test]
fn a_wish_of_an_answer_does_something_if_it_is_said_to() {
    hold_against_calls("answer", |offer, beside, wish| {
        let is_for_answers = ["codec", "received", "drop"].iter().any(|kind| beside.starts_with(kind));
        let beside = if is_for_answers { beside } else { "" };
        let answer = if beside.is_empty() { ANSWERS[1] } else { ANSWERS[0] };
        let first = request("offer", offer, "RTP/AVP ICE=remove");
        let wishes = format!("{beside} {wish}");
        let again = request("answer", &by_another_name(answer), &wishes);
        vec![first, request("answer", answer, &wishes), again]
    });
}

#[test]
fn what_contradicts_itself_comes_to_what_is_said_of_it() {
    let certificate = dtls::Certificate::generate().expect("it can be made");
    let certificates = CertificatePolicy::PerProcess(Arc::new(certificate));
    for (both, instead) in [
        ("ICE=remove trickle-ICE", "ICE=remove"),
        ("symmetric asymmetric endpoint-learning=immediate", "asymmetric"),
        ("trust-address SIP-source-address received-from=203.0.113.5", "SIP-source-address received-from=203.0.113.5"),
        ("full-rtcp-attribute no-rtcp-attribute", "no-rtcp-attribute"),
        ("RTP/SAVP DTLS=off SDES=off", "RTP/SAVP DTLS=off"),
        ("UDP/TLS/RTP/SAVPF DTLS=off SDES=off", "UDP/TLS/RTP/SAVPF"),
        ("rtcp-mux=[demux offer]", "rtcp-mux=offer"),
        ("rtcp-mux=[demux accept]", "rtcp-mux=demux"),
        ("bundle=[reject accept]", "bundle=accept"),
        (
            "WebRTC RTP/AVP",
            "RTP/AVP ICE=force rtcp-mux=[offer require] SDES=off trickle-ICE no-rtcp-attribute generate-mid",
        ),
        ("WebRTC DTLS=off", "WebRTC"),
    ] {
        for offer in offers() {
            let of =
                |flags| outcome(&certificates, &[request("offer", &offer, flags), request("answer", ANSWERS[0], "")]);
            assert!(of(both) == of(instead), "{both}");
        }
    }
}
