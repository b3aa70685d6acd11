//! SDP of real phones and browsers, and descriptions that come back as they were written.

use std::net::SocketAddr;

use model::{
    Bandwidth, CandidateKind, Codec, Description, Direction, Feedback, HashFunction, HeaderExtension, Lifetime,
    MediaKind, MediaStream, Parameter, PayloadType, Profile, Setup, StreamId,
};
use proptest::prelude::*;
use sdp::{Described, SdpError, Session};

use crate::any;

fn offer(text: &str) -> Described {
    Session::new(1).read_offer(&text.replace('\n', "\r\n")).expect("an SDP")
}

fn names(stream: &MediaStream) -> Vec<String> {
    stream.codecs.iter().map(|c| format!("{} {}/{}/{}", c.payload_type, c.name, c.clock_rate, c.channels)).collect()
}

fn stream(id: u16, kind: MediaKind, rtp: &str) -> MediaStream {
    let mut stream = MediaStream::new(StreamId(id), "", kind);
    stream.codecs.push(Codec::new(PayloadType::try_from(8).expect("8"), "PCMA", 8_000, 1));
    stream.path.rtp = Some(rtp.parse().expect("an address"));
    stream
}

const PHONE: &str = "v=0
o=root 1821 1821 IN IP4 pbx.example.net
s=call
p=+46 8 52018010
c=IN IP4 192.0.2.40
b=CT:384
t=0 0
m=audio 11792 RTP/AVP 8 0 9 3 18 101 13
a=rtpmap:8 PCMA/8000
a=rtpmap:9 G722/8000
a=fmtp:18 annexb=no
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=ptime:20
a=maxptime:150
a=sendrecv
";

#[test]
fn the_offer_of_a_plain_phone_is_understood() {
    let Described { description, losses } = offer(PHONE);
    let stream = &description.streams[0];
    assert_eq!(
        names(stream),
        [
            "8 PCMA/8000/1",
            "0 PCMU/8000/1",
            "9 G722/8000/1",
            "3 GSM/8000/1",
            "18 G729/8000/1",
            "101 telephone-event/8000/1",
            "13 CN/8000/1"
        ]
    );
    assert_eq!(stream.codecs[4].parameters, [Parameter::new("annexb", "no")]);
    assert_eq!(stream.codecs[5].parameters, [Parameter::new("", "0-16")]);
    assert_eq!((stream.ptime, stream.maxptime, stream.direction), (Some(20), Some(150), Direction::SendRecv));
    assert_eq!(stream.path.rtp, Some("192.0.2.40:11792".parse().expect("an address")));
    assert_eq!(stream.path.rtcp, Some("192.0.2.40:11793".parse().expect("an address")));
    assert_eq!((stream.path.profile, stream.path.rtcp_mux, losses.len()), (Profile::Avp, false, 0));
}

const BROWSER: &str = "v=0
o=- 4611731400430051336 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=extmap-allow-mixed
a=msid-semantic: WMS stream
a=fingerprint:SHA-256 1B:EA:BF:33:B8:11:26:6D:91:AD:1B:A0:16:FD:5D:60:59:33:F7:46:A3:BA:99:2A:1D:04:99:A6:F2:C6:2D:43
a=setup:actpass
m=audio 54609 UDP/TLS/RTP/SAVPF 111 63 9 110
c=IN IP4 203.0.113.1
a=rtcp:54610 IN IP4 203.0.113.2
a=candidate:1467250027 1 udp 2122260223 192.168.0.196 46243 typ host generation 0 network-id 1
a=candidate:435653019 2 tcp 1845501695 192.168.0.196 9 typ host tcptype active generation 0
a=candidate:3 1 udp 2122260223 c2b1c9f0-5d6f-4f0f-8b6e-1b3ad1f4e0f1.local 46243 typ host
a=candidate:1853887674 1 UDP 1518280447 203.0.113.1 36768 typ srflx raddr 192.168.0.196 rport 36768 generation 0
a=ice-ufrag:ETEn
a=ice-pwd:OtSK0WpNtpUjkY4+86js7ZQl
a=ice-options:trickle
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:4/recvonly urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:110 telephone-event/48000
a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
b=AS:2500
a=ice-ufrag:ETEn
a=ice-pwd:OtSK0WpNtpUjkY4+86js7ZQl
a=mid:1
a=recvonly
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtcp-fb:* nack pli
a=rtcp-fb:96 ccm fir
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=mid:2
a=sctp-port:5000
";

#[test]
fn the_offer_of_a_browser_is_understood() {
    let Described { description, losses } = offer(BROWSER);
    let [audio, video] = &description.streams[..] else { panic!("two streams") };
    assert_eq!(description.bundle, [StreamId(0), StreamId(1)]);
    assert_eq!((audio.name.as_str(), video.name.as_str()), ("0", "1"));
    assert_eq!(names(audio)[0], "111 opus/48000/2");
    assert_eq!(audio.codecs[1].parameters, [Parameter::new("", "111/111")]);
    assert_eq!(audio.codecs[0].feedback[0].kind, "transport-cc");
    assert_eq!(audio.extensions[1].direction, Direction::RecvOnly);
    assert!(audio.rtcp_reduced_size && audio.path.rtcp_mux && !audio.path.end_of_candidates);
    assert_eq!(audio.path.rtcp, Some("203.0.113.2:54610".parse().expect("an address")));
    let candidates = &audio.path.candidates;
    assert_eq!((candidates.len(), candidates[1].kind), (2, CandidateKind::ServerReflexive));
    assert_eq!(candidates[1].related, Some("192.168.0.196:36768".parse().expect("an address")));
    let dtls = audio.path.dtls.as_ref().expect("a fingerprint of the session");
    assert_eq!((dtls.setup, dtls.fingerprints[0].hash), (Setup::Actpass, HashFunction::Sha256));
    assert_eq!(video.direction, Direction::RecvOnly, "0.0.0.0 with ICE is no hold");
    assert_eq!((video.path.rtp, video.rejected), (None, false));
    assert_eq!(video.feedback, [Feedback { kind: "nack".to_owned(), subtype: "pli".to_owned() }]);
    assert_eq!(video.bandwidth, [Bandwidth { kind: "AS".to_owned(), value: 2_500 }]);
    assert!(losses.iter().any(|loss| loss.contains("application")), "{losses:?}");
}

#[test]
fn the_answer_has_the_lines_of_the_offer() {
    let mut session = Session::new(7);
    let with_fax = format!("{BROWSER}m=image 4000 udptl t38\nm=audio 0 RTP/AVP 0\nm=audio 4002 RTP/XAVP 0\n");
    let mut description = session.read_offer(&with_fax).expect("an SDP").description;
    description.streams.retain(|stream| stream.kind == MediaKind::Audio && !stream.rejected);
    let audio = &mut description.streams[0];
    audio.codecs.truncate(1);
    audio.path.rtp = Some("198.51.100.1:30000".parse().expect("an address"));
    audio.path.candidates.clear();
    let answer = session.write_answer(&description);
    let lines: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(
        lines,
        [
            "m=audio 30000 UDP/TLS/RTP/SAVPF 111",
            "m=video 0 UDP/TLS/RTP/SAVPF 96 97",
            "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
            "m=image 0 udptl t38",
            "m=audio 0 RTP/AVP 0",
            "m=audio 0 RTP/XAVP 0",
        ]
    );
    assert!(answer.contains("a=group:BUNDLE 0\r\n") && answer.contains("a=mid:2\r\n"));
    assert!(answer.contains("c=IN IP4 198.51.100.1\r\n"));
}

#[test]
fn hold_has_four_forms() {
    let phone = |more: &str, address: &str| {
        offer(&format!("v=0\no=- 1 1 IN IP4 h\ns=-\nc=IN IP4 {address}\nt=0 0\n{more}")).description.streams[0]
            .direction
    };
    let media = "m=audio 4000 RTP/AVP 0\n";
    assert_eq!(phone(&format!("a=sendonly\n{media}"), "192.0.2.1"), Direction::SendOnly);
    assert_eq!(phone(&format!("a=sendonly\n{media}a=recvonly\n"), "192.0.2.1"), Direction::RecvOnly);
    assert_eq!(phone(&format!("{media}a=inactive\n"), "192.0.2.1"), Direction::Inactive);
    assert_eq!(phone(media, "0.0.0.0"), Direction::Inactive);
    assert_eq!(phone(media, "192.0.2.1"), Direction::SendRecv);
}

#[test]
fn keys_in_the_description_are_read_and_bad_ones_left_out() {
    let Described { description, losses } = offer(
        "v=0\no=- 1 1 IN IP4 h\ns=-\nc=IN IP6 2001:db8::1\nt=0 0\nm=audio 4000 RTP/AVP 0\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 FEC_ORDER=FEC_SRTP\n\
         a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz;inline:xx -ODD\n\
         a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:c2hvcnQ=\n\
         a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNENCRYPTED_SRTP\n\
         a=crypto:5 F8_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\n\
         a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\n\
         a=crypto:6 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz UNENCRYPTED_SRTCP\n\
         a=crypto:7 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^49\n\
         a=crypto:8 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|0\n",
    );
    let path = &description.streams[0].path;
    assert_eq!(path.crypto.iter().map(|crypto| crypto.tag).collect::<Vec<_>>(), [1, 2, 6]);
    assert_eq!((path.crypto[0].mki, path.crypto[1].mki), (Some((1, 4)), None));
    assert_eq!(path.crypto[0].lifetime.map(Lifetime::packets), Some(1 << 20));
    assert!(path.crypto[2].unencrypted_srtcp && !path.crypto[0].unencrypted_srtcp);
    assert_eq!((path.profile, losses.len()), (Profile::Avp, 6));
    assert!(!format!("{path:?}{losses:?}").contains("WVNf"), "a key in the log");
}

#[test]
fn a_multicast_address_is_refused_and_a_name_is_told() {
    let multicast = offer("v=0\no=- 1 1 IN IP4 h\ns=-\nc=IN IP4 224.2.1.1/127\nt=0 0\nm=audio 4000 RTP/AVP 0\n");
    assert!(multicast.description.streams.is_empty() && multicast.losses[0].contains("multicast"));
    let named = offer("v=0\no=- 1 1 IN IP4 h\ns=-\nc=IN IP4 phone.example\nt=0 0\nm=audio 4000 RTP/AVP 0\n");
    assert_eq!((named.description.streams[0].path.rtp, named.losses.len()), (None, 1));
}

#[test]
fn what_the_grammar_forbids_but_phones_send_is_taken() {
    let odd = "\u{feff}v=0 \no=x y z\ns=\ne=\nt=0 0 \nz=nonsense\nb=AS:many\nb=AS:64\n\nc=IN IP4 192.0.2.1\n\
               m=audio  4000/1  RTP/AVP  0   0 300 x \na=fmtp:0\na=ptime:20.0\na=rtcp:0\na=\nno line\n";
    let Described { description, losses } = offer(odd.trim_start_matches('\u{feff}'));
    let stream = &description.streams[0];
    assert_eq!((names(stream), stream.ptime, stream.path.rtcp), (vec!["0 PCMU/8000/1".to_owned()], Some(20), None));
    assert!(losses.len() >= 4, "{losses:?}");
}

#[test]
fn a_bomb_is_refused() {
    let head = "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\n";
    let mut session = Session::new(1);
    for (bomb, what) in [
        (format!("{head}{}", "m=audio 1 RTP/AVP 0\r\n".repeat(33)), "m-lines"),
        (format!("{head}{}", "a=x\r\n".repeat(1_001)), "lines"),
        (format!("{head}a={}\r\n", "x".repeat(5_000)), "bytes in a line"),
        (format!("{head}{}", "a=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(2_000)), "bytes"),
    ] {
        assert_eq!(session.read_offer(&bomb), Err(SdpError::TooLarge(what)));
    }
    assert!(matches!(session.read_offer("hello"), Err(SdpError::Syntax(_))));
    assert!(matches!(session.read_offer(""), Err(SdpError::Syntax(_))));
    let many = format!(
        "{head}m=audio 1 RTP/AVP 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:{}\r\n{}",
        "p".repeat(22),
        "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(500)
    );
    assert_eq!(session.read_offer(&many).expect("an SDP").description.streams[0].path.candidates.len(), 100);
}

#[test]
fn the_version_changes_with_the_text_only() {
    let mut session = Session::new(0x1234_5678);
    let mut description = Description { streams: vec![stream(0, MediaKind::Audio, "192.0.2.1:4000")], bundle: vec![] };
    let first = session.write_offer(&description);
    assert!(first.contains(&format!("o=- {} 1 IN IP4 192.0.2.1\r\n", 0x1234_5678_u64 >> 2)), "{first}");
    assert_eq!(session.write_offer(&description), first);
    description.streams[0].direction = Direction::SendOnly;
    let held = session.write_offer(&description);
    assert!(held.contains(" 2 IN IP4 192.0.2.1\r\n") && held.contains("a=sendonly\r\n"));
    description.streams[0].path.rtp = Some("192.0.2.9:4000".parse().expect("an address"));
    let moved = session.write_offer(&description);
    assert!(
        moved.contains(" 3 IN IP4 192.0.2.1\r\n")
            && moved.contains("t=0 0\r\nm=audio 4000 RTP/AVP 8\r\nc=IN IP4 192.0.2.9")
    );
}

#[test]
fn an_m_line_never_goes_away() {
    let mut session = Session::new(1);
    let audio = stream(0, MediaKind::Audio, "192.0.2.1:4000");
    let video = stream(5, MediaKind::Video, "192.0.2.1:4002");
    session.write_offer(&Description { streams: vec![audio.clone(), video.clone()], bundle: vec![] });
    let without = session.write_offer(&Description { streams: vec![audio.clone()], bundle: vec![] });
    assert!(without.contains("m=audio 4000 RTP/AVP 8\r\n") && without.contains("m=video 0 RTP/AVP 8\r\n"));
    let back = session.write_offer(&Description { streams: vec![video, audio], bundle: vec![] });
    let lines: Vec<&str> = back.lines().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(lines, ["m=audio 4000 RTP/AVP 8", "m=video 4002 RTP/AVP 8"]);
}

#[test]
fn an_answer_is_matched_to_the_offer_by_its_lines() {
    let mut session = Session::new(1);
    let streams = vec![stream(3, MediaKind::Audio, "192.0.2.1:4000"), stream(9, MediaKind::Video, "192.0.2.1:4002")];
    session.write_offer(&Description { streams, bundle: vec![] });
    let head = "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n";
    let audio = "m=audio 5000 RTP/AVP 8\r\n";
    let full = session.read_answer(&format!("{head}{audio}m=video 0 RTP/AVP 8\r\n")).expect("an answer").description;
    assert_eq!((full.streams[0].id, full.streams[1].id, full.streams[1].rejected), (StreamId(3), StreamId(9), true));
    let short = session.read_answer(&format!("{head}{audio}")).expect("an answer");
    assert!(short.description.streams[1].rejected && !short.losses.is_empty());
    let long = session.read_answer(&format!("{head}{audio}m=video 1 RTP/AVP 8\r\n{audio}")).expect("an answer");
    assert_eq!((long.description.streams.len(), long.losses.len()), (2, 1));
    let swapped = session.read_answer(&format!("{head}m=video 0 RTP/AVP 8\r\n{audio}"));
    assert!(matches!(swapped, Err(SdpError::MediaMismatch { index: 0, .. })));
    assert!(matches!(session.read_offer(head), Err(SdpError::MediaMismatch { index: 0, .. })));
}

#[test]
fn a_later_offer_keeps_the_numbers_of_the_streams() {
    let mut session = Session::new(1);
    let head = "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n";
    let ids = |described: Described| described.description.streams.iter().map(|s| s.id.0).collect::<Vec<_>>();
    let fax = "m=image 4000 udptl t38\r\n";
    let audio = "m=audio 5000 RTP/AVP 8\r\n";
    let video = "m=video 5002 RTP/AVP 8\r\n";
    assert_eq!(ids(session.read_offer(&format!("{head}{fax}{audio}")).expect("an SDP")), [0]);
    assert_eq!(ids(session.read_offer(&format!("{head}{fax}{audio}{video}")).expect("an SDP")), [0, 1]);
    // The place of the fax is used again (RFC 3264 §8.1).
    assert_eq!(ids(session.read_offer(&format!("{head}{audio}{audio}{video}")).expect("an SDP")), [2, 0, 1]);
}

#[test]
fn a_name_from_the_other_side_cannot_add_a_line() {
    let mut evil = stream(0, MediaKind::Audio, "192.0.2.1:4000");
    evil.name = "x\r\na=inactive".to_owned();
    evil.codecs[0].parameters.push(Parameter::new("a\r\na=inactive", "b\r\nm=audio 1 RTP/AVP 0"));
    evil.codecs.push(Codec::new(PayloadType::try_from(96).expect("96"), "bad name\r\n", 8_000, 1));
    evil.extensions.push(HeaderExtension { id: 1, uri: "u\r\na=inactive".to_owned(), direction: Direction::SendRecv });
    evil.bandwidth.push(Bandwidth { kind: "AS:1\r\na=inactive".to_owned(), value: 1 });
    let text = Session::new(1).write_offer(&Description { streams: vec![evil], bundle: vec![StreamId(0)] });
    assert!(!text.lines().any(|line| line == "a=inactive"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("m=")).count(), 1);
}

#[test]
fn an_answer_repeats_the_times_of_the_offer() {
    let mut session = Session::new(1);
    let text =
        "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=3034423619 3042462419\r\nm=audio 1 RTP/AVP 8\r\n";
    let description = session.read_offer(text).expect("an SDP").description;
    assert!(session.write_answer(&description).contains("t=3034423619 3042462419\r\n"));
    assert!(session.write_offer(&description).contains("t=0 0\r\n"));
}

proptest! {
    #[test]
    fn a_description_comes_back_as_it_was_written(first in any::stream(0), second in any::stream(1), bundled: bool) {
        let bundle = if bundled { vec![StreamId(0), StreamId(1)] } else { Vec::new() };
        let mut given = Description { streams: vec![first, second], bundle };
        let text = Session::new(1).write_offer(&given);
        let read = Session::new(2).read_offer(&text).expect("our own SDP");
        // Names are those of the m-lines, and RTCP has the next port where nothing is said.
        for (index, stream) in given.streams.iter_mut().enumerate() {
            if bundled || stream.path.ice.is_some() {
                stream.name = index.to_string();
            }
            let next = stream.path.rtp.map(|rtp| SocketAddr::new(rtp.ip(), rtp.port() + 1));
            stream.path.rtcp = stream.path.rtcp.or(next);
        }
        prop_assert_eq!(read.losses, Vec::<String>::new());
        prop_assert_eq!(read.description, given);
    }

    #[test]
    fn no_text_breaks_the_reader(text in "\\PC*", cut in 0..BROWSER.len(), change in any::<char>()) {
        let _ = Session::new(1).read_offer(&text);
        let mut browser = BROWSER.to_owned();
        browser.replace_range(cut..=cut, &change.to_string());
        let mut session = Session::new(1);
        if let Ok(read) = session.read_offer(&browser) {
            let answer = session.write_answer(&read.description);
            // A lone CR ends a line, too.
            prop_assert_eq!(answer.matches("\r\nm=").count(), browser.replace('\r', "\n").matches("\nm=").count());
        }
        let _ = Session::new(1).read_answer(&browser[..cut]);
    }
}
