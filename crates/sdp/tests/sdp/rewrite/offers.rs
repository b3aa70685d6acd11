//! Offers of phones and browsers, and what of them arrives.

use model::{
    Candidate, CandidateKind, Codec, Component, Crypto, DtlsParameters, Fingerprint, HashFunction, MediaPath,
    PayloadType, Profile, Secret, Setup, SrtpSuite, StreamId,
};

use sdp::rewrite::Layout;
use sdp::{RtcpAttribute, Trickle};

use super::{Passage, assert_text, ice};

const GRANDSTREAM: &str = "v=0
o=1001 8000 8000 IN IP4 192.168.1.20
s=SIP Call
c=IN IP4 192.168.1.20
t=0 0
m=audio 5004 RTP/AVP 0 8 18 101
a=sendrecv
a=rtpmap:0 PCMU/8000
a=ptime:20
a=rtpmap:8 PCMA/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtcp:5005 IN IP4 192.168.1.20
";

#[test]
fn a_plain_phone_keeps_its_lines() {
    assert_text(
        &Passage::new(GRANDSTREAM).text(),
        "v=0
o=1001 8000 8000 IN IP4 192.168.1.20
s=SIP Call
c=IN IP4 198.51.100.1
t=0 0
m=audio 30000 RTP/AVP 0 8 18 101
a=sendrecv
a=rtpmap:0 PCMU/8000
a=ptime:20
a=rtpmap:8 PCMA/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
",
    );
}

#[test]
fn lines_may_stand_in_an_order_of_their_own() {
    let offer = GRANDSTREAM
        .replace(
            "a=rtpmap:0 PCMU/8000\n",
            "b=TIAS:64000\nb=AS:80\na=x-y:z\na=maxptime:40\na=mid:sound\na=rtcp-fb:* nack\n",
        )
        .replace("t=0 0\n", "b=RS:0\nb=CT:9\nt=0 0\na=x-session\n")
        + "m=video 0 RTP/AVP 31\nc=IN IP4 192.168.1.20\nb=AS:10\na=mid:pictures\na=x-of:video\n";
    let mut passage = Passage::new(&offer);
    passage.stream(1).rejected = true;
    let text = passage.text_by(|how| {
        (how.layout, how.wording.rtcp) = (Layout::ByKind, RtcpAttribute::Always);
    });
    assert_text(
        &text,
        "v=0
o=1001 8000 8000 IN IP4 192.168.1.20
s=SIP Call
b=CT:9
b=RS:0
t=0 0
a=x-session
m=audio 30000 RTP/AVP 0 8 18 101
c=IN IP4 198.51.100.1
b=AS:80
b=TIAS:64000
a=mid:sound
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:18 G729/8000
a=fmtp:18 annexb=no
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=rtcp-fb:* nack
a=x-y:z
a=sendrecv
a=rtcp:30001
a=ptime:20
a=maxptime:40
m=video 0 RTP/AVP 31
c=IN IP4 0.0.0.0
b=AS:10
a=mid:pictures
",
    );
}

#[test]
fn the_transport_stands_behind_the_senders_own_attributes_when_lines_are_ordered() {
    let mut passage = Passage::new(&GRANDSTREAM.replace("a=ptime:20\n", "a=x-y:z\n"));
    let stream = passage.stream(0);
    stream.codecs.truncate(1);
    let candidate = Candidate {
        foundation: "1".to_owned(),
        component: Component::Rtp,
        priority: 9,
        address: "198.51.100.1:30000".parse().expect("an address"),
        kind: CandidateKind::Host,
        related: None,
        generation: 0,
    };
    stream.path = MediaPath {
        profile: Profile::Savpf,
        rtcp_mux: true,
        crypto: vec![Crypto::new(1, SrtpSuite::AesCm128Sha1_80, Secret::new(vec![7; 30]))],
        ice: Some(ice()),
        candidates: vec![candidate],
        end_of_candidates: true,
        ..stream.path.clone()
    };
    let of = |trickle| {
        let text = passage.text_by(|how| {
            (how.layout, how.wording.rtcp, how.wording.trickle) = (Layout::ByKind, RtcpAttribute::Always, trickle);
        });
        text.lines().skip_while(|line| *line != "a=sendrecv").map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    let start = "a=sendrecv
a=rtcp:30000
a=rtcp-mux
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH
a=ice-ufrag:ours
a=ice-pwd:ourpasswordourpassword
";
    let candidate = "a=candidate:1 1 UDP 9 198.51.100.1 30000 typ host";
    assert_eq!(of(Trickle::Never), format!("{start}{candidate}"));
    assert_eq!(of(Trickle::Always), format!("{start}a=ice-options:trickle\n{candidate}\na=end-of-candidates"));
}

const ASTERISK: &str = "v=0
o=- 1821 1821 IN IP4 203.0.113.9
s=Asterisk
t=0 0
a=X-vendor:a b  c
m=audio 11792/2 RTP/SAVP 8 0 3 101
i=the sound
c=IN IP4 203.0.113.9
b=AS:64
k=clear:sender-key
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:3 GSM/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=maxptime:150
a=ssrc:123456 cname:sender
a=sendonly
a=silenceSupp:off - - - -
m=image 4500 udptl t38
c=IN IP4 203.0.113.9
a=T38FaxVersion:0
a=T38FaxUdpEC:t38UDPRedundancy
";

#[test]
fn addresses_of_m_lines_are_replaced_where_they_stand_and_keys_become_ours() {
    let mut passage = Passage::new(ASTERISK);
    let stream = passage.stream(0);
    stream.path.profile = Profile::Savp;
    stream.path.crypto = vec![Crypto::new(1, SrtpSuite::AesCm128Sha1_80, Secret::new(vec![7; 30]))];
    stream.codecs.retain(|codec| codec.name != "GSM");
    assert_text(
        &passage.text(),
        "v=0
o=- 1821 1821 IN IP4 203.0.113.9
s=Asterisk
t=0 0
a=X-vendor:a b  c
m=audio 30000 RTP/SAVP 8 0 101
i=the sound
c=IN IP4 198.51.100.1
b=AS:64
a=rtpmap:8 PCMA/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-16
a=maxptime:150
a=sendonly
a=silenceSupp:off - - - -
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH
m=image 0 udptl t38
c=IN IP4 198.51.100.1
a=T38FaxVersion:0
a=T38FaxUdpEC:t38UDPRedundancy
",
    );
}

const LINPHONE: &str = "v=0
o=alice 3405 2108 IN IP4 192.0.2.77
s=Talk
c=IN IP4 192.0.2.77
b=AS:380
t=0 0
a=ice-pwd:31ec21eb38b2ec6d36e8dc7b
a=ice-ufrag:3f2b
a=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics
a=record:off
m=audio 7078 RTP/AVPF 96 97 98 0 101
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:97 speex/16000
a=fmtp:97 vbr=on
a=rtpmap:98 speex/8000
a=fmtp:98 vbr=on
a=rtpmap:101 telephone-event/48000
a=candidate:1 1 UDP 2130706303 192.0.2.77 7078 typ host
a=candidate:1 2 UDP 2130706302 192.0.2.77 7079 typ host
a=candidate:2 1 UDP 1694498687 203.0.113.77 7078 typ srflx raddr 192.0.2.77 rport 7078
a=rtcp-fb:* trr-int 5000
a=rtcp-fb:* ccm tmmbr
m=video 9078 RTP/AVPF 96
c=IN IP4 192.0.2.78
a=rtpmap:96 VP8/90000
a=candidate:1 1 UDP 2130706303 192.0.2.78 9078 typ host
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 nack sli
a=rtcp-fb:96 ack rpsi
a=rtcp-fb:96 ccm fir
a=recvonly
";

#[test]
fn ice_goes_from_both_levels_and_feedback_is_what_we_say() {
    let mut passage = Passage::new(LINPHONE);
    passage.stream(0).feedback.truncate(1);
    passage.stream(0).path.profile = Profile::Avp;
    passage.stream(1).codecs[0].feedback.retain(|feedback| feedback.kind != "ack" && feedback.subtype != "sli");
    passage.stream(1).path.profile = Profile::Avpf;
    assert_text(
        &passage.text(),
        "v=0
o=alice 3405 2108 IN IP4 192.0.2.77
s=Talk
c=IN IP4 198.51.100.1
b=AS:380
t=0 0
a=record:off
m=audio 30000 RTP/AVP 96 97 98 0 101
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:97 speex/16000
a=fmtp:97 vbr=on
a=rtpmap:98 speex/8000
a=fmtp:98 vbr=on
a=rtpmap:101 telephone-event/48000
a=rtcp-fb:* trr-int 5000
a=sendrecv
m=video 30002 RTP/AVPF 96
c=IN IP4 198.51.100.1
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack pli
a=rtcp-fb:96 ccm fir
a=recvonly
",
    );
}

const CISCO: &str = "v=0
o=Cisco-SIPUA 16550 0 IN IP4 10.1.1.5
s=SIP Call
b=AS:4064
t=0 0
m=audio 22714 RTP/AVP 114 9 124 0 8 101
c=IN IP4 10.1.1.5
b=TIAS:64000
a=rtpmap:114 opus/48000/2
a=fmtp:114 maxplaybackrate=16000;sprop-maxcapturerate=16000;maxaveragebitrate=64000;stereo=0;sprop-stereo=0;usedtx=0
a=rtpmap:9 G722/8000
a=rtpmap:124 ISAC/16000
a=rtpmap:0 PCMU/8000
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendrecv
m=video 27358 RTP/AVP 100 126
c=IN IP4 10.1.1.5
b=TIAS:4000000
a=rtpmap:100 H264/90000
a=fmtp:100 profile-level-id=640C16;packetization-mode=1;max-mbps=108000
a=imageattr:100 recv [x=800,y=480,q=0.60]
a=rtpmap:126 H264/90000
a=fmtp:126 profile-level-id=428016;packetization-mode=0
a=imageattr:126 recv [x=640,y=480,q=0.60]
a=rtcp-fb:* nack pli
a=sendrecv
m=application 0 UDP/BFCP *
c=IN IP4 0.0.0.0
a=setup:actpass
a=floorctrl:c-s
a=confid:1
a=key-mgmt:mikey AQAFgM0XflABAAAAAAAAAAAAAAsAyO
";

#[test]
fn payload_types_are_renumbered_wherever_they_are_named() {
    let mut passage = Passage::new(CISCO);
    let number = |number: u8| PayloadType::try_from(number).expect("below 128");
    passage.stream(0).codecs.retain(|codec| ["opus", "PCMA", "telephone-event"].contains(&codec.name.as_str()));
    passage.stream(0).codecs[0].payload_type = number(96);
    passage.stream(0).codecs.push(Codec::new(number(3), "GSM", 8_000, 1));
    passage.stream(1).codecs.remove(0);
    passage.stream(1).codecs[0].payload_type = number(100);
    passage.stream(1).feedback.clear();
    assert_text(
        &passage.text(),
        "v=0
o=Cisco-SIPUA 16550 0 IN IP4 10.1.1.5
s=SIP Call
b=AS:4064
t=0 0
m=audio 30000 RTP/AVP 96 8 101 3
c=IN IP4 198.51.100.1
b=TIAS:64000
a=rtpmap:96 opus/48000/2
a=fmtp:96 maxplaybackrate=16000;sprop-maxcapturerate=16000;maxaveragebitrate=64000;stereo=0;sprop-stereo=0;usedtx=0
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
a=sendrecv
a=rtpmap:3 GSM/8000
m=video 30002 RTP/AVP 100
c=IN IP4 198.51.100.1
b=TIAS:4000000
a=rtpmap:100 H264/90000
a=fmtp:100 profile-level-id=428016;packetization-mode=0
a=imageattr:100 recv [x=640,y=480,q=0.60]
a=sendrecv
m=application 0 UDP/BFCP *
c=IN IP4 198.51.100.1
a=floorctrl:c-s
a=confid:1
",
    );
}

pub(super) const CHROMIUM: &str = "v=0
o=- 7595655801978680453 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1 2
a=group:LS 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS 5Y2wZK8nANNAoVw6dSAHVjNxrD1ObBM2kBPV
a=fingerprint:sha-256 F5:2C:9D:2D:75:90:2D:B4:7E:E0:68:A0:F5:5B:DE:20:32:A5:2A:46:58:F5:40:BD:E1:DF:B3:C4:AF:D3:44:2B
a=ice-options:trickle
m=audio 54609 UDP/TLS/RTP/SAVPF 111 63 9 0 13 110
c=IN IP4 203.0.113.2
a=rtcp:54610 IN IP4 203.0.113.2
a=candidate:2373012600 1 udp 2122260223 192.168.0.196 36768 typ host generation 0 network-id 1
a=candidate:842163049 1 udp 1677729535 203.0.113.2 54609 typ srflx raddr 192.168.0.196 rport 36768
a=candidate:3627567176 1 tcp 1518280447 192.168.0.196 9 typ host tcptype active generation 0
a=candidate:1 1 udp 2122260223 1ab3c6a0-9d3c-4b1f-9f3a-1bb0b1d5a1aa.local 55123 typ host
a=ice-ufrag:ETEn
a=ice-pwd:OtSK0WpNtpUjkY4+86js7Z/l
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:5Y2wZK8nANNAoVw6dSAHVjNxrD1ObBM2kBPV f7a0e6ad
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=ssrc:2602412571 cname:gWYh6t8qBmmbJHIM
a=ssrc:2602412571 msid:5Y2wZK8nANNAoVw6dSAHVjNxrD1ObBM2kBPV f7a0e6ad
m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:ETEn
a=ice-pwd:OtSK0WpNtpUjkY4+86js7Z/l
a=setup:actpass
a=mid:1
a=extmap:14 urn:ietf:params:rtp-hdrext:toffset
a=sendrecv
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 goog-remb
a=rtcp-fb:96 transport-cc
a=rtcp-fb:96 ccm fir
a=rtcp-fb:96 nack
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:102 H264/90000
a=rtcp-fb:102 nack pli
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
a=ssrc-group:FID 2231627014 632943048
a=ssrc:2231627014 cname:gWYh6t8qBmmbJHIM
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:ETEn
a=ice-pwd:OtSK0WpNtpUjkY4+86js7Z/l
a=setup:actpass
a=mid:2
a=sctp-port:5000
a=max-message-size:262144
";

#[test]
fn a_browser_arrives_at_a_phone_as_plain_rtp() {
    let mut passage = Passage::new(CHROMIUM);
    for stream in &mut passage.local.streams {
        stream.extensions.clear();
        stream.rtcp_reduced_size = false;
        stream.feedback.clear();
        stream.codecs.retain(|codec| !["red", "rtx", "VP8"].contains(&codec.name.as_str()));
        stream.codecs.iter_mut().for_each(|codec| codec.feedback.clear());
    }
    assert_text(
        &passage.text(),
        "v=0
o=- 7595655801978680453 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:LS 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS 5Y2wZK8nANNAoVw6dSAHVjNxrD1ObBM2kBPV
m=audio 30000 RTP/AVP 111 9 0 13 110
c=IN IP4 198.51.100.1
a=mid:0
a=sendrecv
a=msid:5Y2wZK8nANNAoVw6dSAHVjNxrD1ObBM2kBPV f7a0e6ad
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
m=video 30002 RTP/AVP 102
c=IN IP4 198.51.100.1
a=mid:1
a=sendrecv
a=rtpmap:102 H264/90000
a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
m=application 0 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 198.51.100.1
a=mid:2
a=sctp-port:5000
a=max-message-size:262144
",
    );
}

#[test]
fn a_browser_arrives_at_a_browser_with_our_transport() {
    let mut passage = Passage::new(CHROMIUM);
    let first = passage.local.streams[0].path.rtp.expect("it has one");
    for stream in &mut passage.local.streams {
        stream.extensions.truncate(1);
        stream.codecs.iter_mut().for_each(|codec| codec.feedback.retain(|feedback| feedback.kind == "nack"));
        let path = &mut stream.path;
        (path.rtcp_mux, path.profile) = (true, Profile::TlsSavpf);
        path.ice = Some(ice());
        path.end_of_candidates = true;
        let fingerprint = Fingerprint { hash: HashFunction::Sha1, digest: vec![0xab; 20] };
        path.dtls = Some(DtlsParameters { fingerprints: vec![fingerprint], setup: Setup::Actpass, tls_id: None });
        path.candidates = vec![Candidate {
            foundation: "1".to_owned(),
            component: Component::Rtp,
            priority: 2_130_706_431,
            address: first,
            kind: CandidateKind::Host,
            related: None,
            generation: 0,
        }];
    }
    // VP8 goes, H.264 and its repair take other numbers.
    let video = passage.stream(1);
    video.codecs.drain(..2);
    video.codecs[0].payload_type = PayloadType::try_from(97).expect("97");
    video.codecs[1].payload_type = PayloadType::try_from(98).expect("98");
    video.codecs[1].parameters[0].value = "97".to_owned();
    video.path.rtp = None;
    video.path.candidates.clear();
    passage.local.bundle = vec![StreamId(0), StreamId(1)];
    assert_text(
        &passage.text(),
        "v=0
o=- 7595655801978680453 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=group:LS 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS 5Y2wZK8nANNAoVw6dSAHVjNxrD1ObBM2kBPV
m=audio 30000 UDP/TLS/RTP/SAVPF 111 63 9 0 13 110
c=IN IP4 198.51.100.1
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=sendrecv
a=msid:5Y2wZK8nANNAoVw6dSAHVjNxrD1ObBM2kBPV f7a0e6ad
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:0 PCMU/8000
a=rtpmap:13 CN/8000
a=rtpmap:110 telephone-event/48000
a=rtcp-mux
a=setup:actpass
a=fingerprint:sha-1 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB
a=ice-ufrag:ours
a=ice-pwd:ourpasswordourpassword
a=candidate:1 1 UDP 2130706431 198.51.100.1 30000 typ host
a=end-of-candidates
m=video 0 UDP/TLS/RTP/SAVPF 97 98
c=IN IP4 198.51.100.1
a=mid:1
a=extmap:14 urn:ietf:params:rtp-hdrext:toffset
a=sendrecv
a=rtcp-rsize
a=rtpmap:97 H264/90000
a=rtcp-fb:97 nack pli
a=fmtp:97 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f
a=rtpmap:98 rtx/90000
a=fmtp:98 apt=97
a=bundle-only
a=rtcp-mux
a=setup:actpass
a=fingerprint:sha-1 AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB
a=ice-ufrag:ours
a=ice-pwd:ourpasswordourpassword
a=end-of-candidates
m=application 0 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 198.51.100.1
a=mid:2
a=sctp-port:5000
a=max-message-size:262144
",
    );
}
