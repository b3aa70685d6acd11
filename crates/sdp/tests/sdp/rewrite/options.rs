//! What a rewriting can be told, and what no SDP gets around.

use std::net::SocketAddr;

use model::{Crypto, Direction, Secret, SrtpSuite, StreamId};
use sdp::rewrite::{Edits, Fate, OriginChanges, Rewriting, rewrite};
use sdp::{Role, RtcpAttribute, SdpError, Trickle};

use super::{Passage, assert_text, crlf, ice};

const PHONE: &str = "v=0
o=alice 7 8 IN IP4 192.0.2.1
s= 
c=IN IP4 192.0.2.1
t=0 0
a=tool:x
m=audio 4000 RTP/AVP 8 0
a=x-first
a=x-second:1
m=video 4002 RTP/AVP 99
a=rtpmap:99 VP8/90000
a=x-second:2
";

fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.starts_with(start)).collect()
}

#[test]
fn the_origin_and_the_name_stay_unless_they_are_replaced() {
    let passage = Passage::new(PHONE);
    let text = passage.text();
    assert!(text.starts_with("v=0\no=alice 7 8 IN IP4 192.0.2.1\ns= \nc=IN IP4 198.51.100.1\n"), "{text}");
    let address = Some("2001:db8::1".parse().expect("an address"));
    let text = passage.text_by(|how| how.origin.address = address);
    assert!(text.contains("o=alice 7 8 IN IP6 2001:db8::1\ns= \n"), "{text}");
    let text = passage.text_by(|how| {
        how.origin = OriginChanges { username: Some("a b\r\nk=x"), session: Some("1"), version: Some(2), address };
        how.session_name = Some("call\r\na=x");
    });
    assert!(text.contains("o=a_b__k=x 1 2 IN IP6 2001:db8::1\ns=calla=x\n"), "{text}");
    let broken = Passage::new(&PHONE.replace("o=alice 7", "o=")).text_by(|how| how.origin.address = address);
    assert!(broken.contains("o=- 0 0 IN IP6 2001:db8::1\n"), "{broken}");
}

#[test]
fn rtcp_is_told_where_it_has_to_be_or_always_or_never() {
    let mut passage = Passage::new(PHONE);
    let of = |passage: &Passage, when| {
        let text = passage.text_by(|how| how.wording.rtcp = when);
        lines(&text, "a=rtcp").iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()
    };
    assert!(of(&passage, RtcpAttribute::WhereNeeded).is_empty());
    assert_eq!(
        of(&passage, RtcpAttribute::Full),
        ["a=rtcp:30001 IN IP4 198.51.100.1", "a=rtcp:30003 IN IP4 198.51.100.1"]
    );
    passage.stream(0).path.rtcp = Some(SocketAddr::from(([198, 51, 100, 1], 31_000)));
    passage.stream(1).path.rtcp_mux = true;
    assert_eq!(of(&passage, RtcpAttribute::WhereNeeded), ["a=rtcp:31000", "a=rtcp-mux"]);
    let full = of(&passage, RtcpAttribute::Full);
    assert_eq!(full, ["a=rtcp:31000 IN IP4 198.51.100.1", "a=rtcp:30002 IN IP4 198.51.100.1", "a=rtcp-mux"]);
    assert_eq!(of(&passage, RtcpAttribute::Always), ["a=rtcp:31000", "a=rtcp:30002", "a=rtcp-mux"]);
    assert_eq!(of(&passage, RtcpAttribute::Never), ["a=rtcp-mux"]);
}

#[test]
fn hold_by_having_no_address_goes_through_unless_it_is_replaced() {
    let held = Passage::new(&PHONE.replace("c=IN IP4 192.0.2.1", "c=IN IP4 0.0.0.0"));
    let text = held.text();
    assert_eq!(
        (lines(&text, "c="), lines(&text, "m=audio")),
        (vec!["c=IN IP4 0.0.0.0"], vec!["m=audio 30000 RTP/AVP 8 0"])
    );
    let text = held.text_by(|how| how.replace_zero_address = true);
    assert_eq!((lines(&text, "c="), lines(&text, "a=inactive").len()), (vec!["c=IN IP4 198.51.100.1"], 2));

    let mut one = Passage::new(&PHONE.replace("a=x-second:2", "c=IN IP4 0.0.0.0\na=x-second:2"));
    assert_eq!(lines(&one.text(), "c="), ["c=IN IP4 198.51.100.1", "c=IN IP4 0.0.0.0"]);
    one.stream(0).path.rtp = Some("[2001:db8::1]:30000".parse().expect("an address"));
    one.stream(1).path.rtp = Some("[2001:db8::1]:30002".parse().expect("an address"));
    assert_eq!(lines(&one.text(), "c="), ["c=IN IP6 2001:db8::1", "c=IN IP6 ::"]);

    let credentials = "a=ice-ufrag:abcd\na=ice-pwd:abcdefghijklmnopqrstuv\n";
    let trickles = format!("{}{credentials}", PHONE.replace("a=x-second:2", "c=IN IP4 0.0.0.0"));
    assert_eq!(lines(&Passage::new(&trickles).text(), "c="), ["c=IN IP4 198.51.100.1"; 2], "that is no hold");
}

#[test]
fn an_m_line_whose_address_is_not_the_sessions_says_its_own() {
    let mut passage = Passage::new(PHONE);
    passage.stream(1).path.rtp = Some("198.51.100.9:30002".parse().expect("an address"));
    let text = passage.text();
    assert!(text.contains("m=video 30002 RTP/AVP 99\nc=IN IP4 198.51.100.9\na=rtpmap:99 "), "{text}");
    passage.local.streams.iter_mut().for_each(|stream| stream.rejected = true);
    let text = passage.text();
    assert_eq!(
        (lines(&text, "c="), lines(&text, "m=audio")),
        (vec!["c=IN IP4 0.0.0.0"], vec!["m=audio 0 RTP/AVP 8 0"])
    );
}

#[test]
fn every_m_line_says_its_address_where_the_session_says_none() {
    let mut passage = Passage::new(&PHONE.replace("c=IN IP4 192.0.2.1\n", "").replace("a=x-first", "i=x\na=x-first"));
    let ours = "c=IN IP4 198.51.100.1";
    assert_eq!(lines(&passage.text(), "c="), [ours; 2]);
    passage.stream(0).rejected = true;
    let text = passage.text();
    assert_eq!(lines(&text, "c="), [ours; 2]);
    assert!(text.contains("m=audio 0 RTP/AVP 8 0\ni=x\nc=IN IP4 198.51.100.1\na=x-first\n"), "{text}");
}

#[test]
fn a_line_that_says_what_we_say_stays_as_it_is() {
    let fmtp = "a=rtpmap:99 VP8/90000\na=fmtp:99  a=1; b = 2\na=extmap:5/sendrecv uri:x more\na=rtcp-fb:99  nack  pli";
    let passage = Passage::new(&PHONE.replace("a=rtpmap:99 VP8/90000", fmtp));
    let text = passage.text();
    assert!(text.contains(&format!("m=video 30002 RTP/AVP 99\n{fmtp}\na=x-second:2\na=sendrecv\n")), "{text}");
}

#[test]
fn what_holds_for_a_format_follows_the_format() {
    let pair =
        "a=imageattr:* send *\na=rtpmap:99 VP8/90000\na=framesize:99 1-1\na=rtpmap:100 VP8/90000\na=framesize:100 2-2";
    let original = PHONE.replace("RTP/AVP 99", "RTP/AVP 99 100").replace("a=rtpmap:99 VP8/90000", pair);
    let mut passage = Passage::new(&original);
    passage.stream(1).codecs.remove(0);
    let kept = "RTP/AVP 100\na=imageattr:* send *\na=rtpmap:100 VP8/90000\na=framesize:100 2-2\na=x-second:2\n";
    assert!(passage.text().contains(kept), "{}", passage.text());
}

#[test]
fn what_the_session_says_of_packets_is_said_by_the_m_lines() {
    let passage = Passage::new(&PHONE.replace("a=tool:x", "a=extmap:5 uri:x\na=tool:x"));
    let text = passage.text();
    assert_eq!(text.matches("a=extmap:5 uri:x\n").count(), 2, "{text}");
    assert!(text.contains("t=0 0\na=tool:x\nm=audio"), "{text}");
}

#[test]
fn mids_are_kept_or_ours_or_generated() {
    let mut passage = Passage::new(&PHONE.replace("a=x-first", "a=mid:1"));
    assert_eq!(lines(&passage.text(), "a=mid"), ["a=mid:1"]);
    assert_eq!(lines(&passage.text_by(|how| how.generate_mid = true), "a=mid"), ["a=mid:1", "a=mid:2"]);
    passage.local.bundle = vec![StreamId(0), StreamId(1)];
    assert_eq!(lines(&passage.text(), "a=group"), ["a=group:BUNDLE 1 2"]);
    passage.stream(0).name = "ours".to_owned();
    passage.stream(1).name = "bad name".to_owned();
    assert_eq!(lines(&passage.text(), "a=mid"), ["a=mid:ours", "a=mid:2"]);
}

#[test]
fn directions_are_ours_or_stay_the_senders() {
    let session = PHONE.replace("a=tool:x", "a=recvonly").replace("a=x-first", "a=sendonly");
    let mut passage = Passage::new(&session);
    passage.stream(0).direction = Direction::Inactive;
    let text = passage.text();
    assert!(text.contains("0\na=inactive\na=x-second:1\nm=video"), "{text}");
    assert_eq!((lines(&text, "a=recvonly").len(), lines(&text, "a=send").len()), (1, 0));
    let kept = passage.text_by(|how| how.keep_direction = true);
    assert!(kept.contains("t=0 0\na=recvonly\nm=audio 30000 RTP/AVP 8 0\na=sendonly\na=x-second:1\nm=video"), "{kept}");
    assert_eq!((lines(&kept, "a=inactive").len(), lines(&kept, "a=recvonly").len()), (0, 1));
}

#[test]
fn packet_times_are_ours() {
    let mut passage = Passage::new(&PHONE.replace("a=x-first", "a=ptime:20.0\na=maxptime:60"));
    let text = passage.text();
    assert!(text.contains("\na=ptime:20.0\na=maxptime:60\n"), "{text}");
    (passage.stream(0).ptime, passage.stream(0).maxptime) = (Some(40), None);
    let text = passage.text();
    assert!(text.contains("8 0\na=ptime:40\na=x-second:1\n") && !text.contains("maxptime"), "{text}");
}

#[test]
fn ice_says_whether_the_peer_may_trickle() {
    let mut passage = Passage::new(PHONE);
    passage.stream(0).path.ice = Some(ice());
    passage.stream(0).path.end_of_candidates = true;
    assert!(!passage.text().contains("ice-options"));
    let text = passage.text_by(|how| how.wording.trickle = Trickle::Always);
    assert!(text.contains("a=end-of-candidates\na=ice-options:trickle\nm=video"), "{text}");
    passage.stream(0).path.ice.as_mut().expect("it is there").lite = true;
    let text = passage.text();
    assert!(text.contains("a=tool:x\na=ice-lite\nm=audio"), "{text}");
}

#[test]
fn a_key_keeps_its_padding_unless_told() {
    let mut passage = Passage::new(PHONE);
    passage.stream(0).path.crypto = vec![Crypto::new(1, SrtpSuite::AeadAes128Gcm, Secret::new(vec![7; 28]))];
    assert!(passage.text().contains("inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw==\n"));
    let text = passage.text_by(|how| how.wording.key_padding = false);
    assert!(text.contains("inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw\n"), "{text}");
}

#[test]
fn attributes_are_changed_by_name_by_beginning_or_whole() {
    let passage = Passage::new(&format!("{PHONE}a=x-third:3\na=x-four:4 4\n"));
    let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (session, audio) = (own(&["stox:1"]), own(&["x-new:\r\n1"]));
    let (gone, video) = (own(&["x-first", "sendrecv", "x-sec"]), own(&["x-second:1", "rtpmap:99", "x-third"]));
    let pairs = [("tool:x".to_owned(), "tool:y".to_owned()), ("tool:y".to_owned(), "tool:z".to_owned())];
    let whole = [("sendrecv".to_owned(), "inactive".to_owned()), ("x-four:4".to_owned(), "x-five".to_owned())];
    let text = passage.text_by(|how| {
        how.session_edits = Edits { add: &session, substitute: &pairs, ..Edits::default() };
        how.audio_edits = Edits { add: &audio, remove: &gone, ..Edits::default() };
        how.video_edits = Edits { remove: &video, substitute: &whole, ..Edits::default() };
    });
    assert!(
        text.contains("t=0 0\na=tool:y\na=stox:1\nm=audio 30000 RTP/AVP 8 0\na=x-second:1\na=x-new:1\nm=video"),
        "{text}"
    );
    assert!(text.ends_with("m=video 30002 RTP/AVP 99\na=x-second:2\na=x-five\na=inactive\n"), "{text}");
}

#[test]
fn an_m_line_may_be_left_out_and_all_must_be_spoken_of() {
    let mut passage = Passage::new(PHONE);
    passage.lines[0] = Fate::Removed;
    let text = passage.text();
    assert_eq!(lines(&text, "m="), ["m=video 30002 RTP/AVP 99"]);
    passage.lines.pop();
    let how = Rewriting::new(Role::Offer, &passage.lines, &passage.local);
    let mismatch = rewrite(&passage.original, &how);
    assert!(matches!(mismatch, Err(SdpError::MediaMismatch { index: 1, .. })), "{mismatch:?}");
    let broken = rewrite("v=0\r\nm=audio\r\n", &how);
    assert!(matches!(broken, Err(SdpError::Syntax(_))), "{broken:?}");
}

/// Attributes that tell of the sender's transport, each with what must not arrive.
const TELLING: &str = "a=rtcp:1 IN IP4 192.0.2.66
a=rtcp-mux
a=rtcp-mux-only
a=rtcp-xr:voip-metrics
a=candidate:1 1 udp 1 192.0.2.66 1 typ host
a=remote-candidates:1 192.0.2.66 1
a=end-of-candidates
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuv
a=ice-options:trickle ice2
a=ice-lite
a=ice-mismatch
a=ice-pacing:50
a=alt:1 1 : a b 192.0.2.66 1
a=x-candidate-ipv6:192.0.2.66
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz
a=key-mgmt:mikey AQAFgM0X
a=zrtp-hash:1.10 fe30
a=fingerprint:sha-1 AA
a=setup:actpass
a=connection:new
a=tls-id:abc3de65cddef001be82
a=dtls-id:1
a=identity:eyJp
a=ssrc:1 cname:x
a=ssrc-group:FID 1 2
a=x-ssrc-range:1-1
a=rid:hi send pt=99
a=simulcast:send hi;lo
a=bundle-only
a=path:msrp://192.0.2.66:1/x;tcp
a=altc:1 IP4 192.0.2.66 1
a=source-filter: incl IN IP4 * 192.0.2.66
a=oldmediaip:192.0.2.66
a=oldcip:192.0.2.66
a=oldoip:192.0.2.66
a=acap:1 crypto:1 x
a=tcap:1 RTP/SAVP
a=pcfg:1 t=1
a=acfg:1 t=1
a=lcfg:1 t=1
a=csup:med-v0
a=creq:med-v0
a=ccap:1 IN IP4 192.0.2.66
k=clear:x
";

#[test]
fn nothing_tells_of_the_senders_transport_at_any_level() {
    let plain = Passage::new(&format!("{PHONE}m=image 4004 udptl t38\na=T38FaxVersion:0\n"));
    let more = PHONE.replace("m=", &format!("{TELLING}m="));
    let telling = crlf(&format!("{more}{TELLING}m=image 4004 udptl t38\n{TELLING}a=T38FaxVersion:0\n"));
    let telling = Passage { original: telling, ..Passage::new(&format!("{PHONE}m=image 4004 udptl t38\n")) };
    assert_text(&telling.text(), &plain.text());
}

#[test]
fn no_spelling_hides_a_line_of_the_senders_transport() {
    let hidden = crlf(PHONE)
        .replace("a=x-first", "a=x\ra=candidate:192.0.2.1\r\n \ta=candidate:192.0.2.1\r\na = Candidate :192.0.2.1\r\na=SSRC:192.0.2.1\r\n c=IN IP4 192.0.2.1\r\nc =IN IP4 192.0.2.1\r\nxx=192.0.2.1\r\n192.0.2.1")
        .replace("a=tool:x", "a=acap:1 crypto:1 192.0.2.1\r\na=pcfg:1 t=1\r\na=alt:1 1 : a b 192.0.2.1 4000\r\nc=IN IP4 192.0.2.1");
    let passage = Passage { original: hidden, ..Passage::new(PHONE) };
    let text = passage.text();
    assert_eq!(text.matches("192.0.2.1").count(), 1, "only in the origin: {text}");
    let indented = Passage::new(&PHONE.replace("a=x-first", " \ta=x-first"));
    assert!(indented.text().contains("\na=x-first\n"));
}
