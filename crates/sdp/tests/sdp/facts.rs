//! What an SDP says beside its streams.

use model::Direction;
use sdp::facts::{Facts, MediaFacts, Origin};

#[test]
fn each_level_says_its_facts() {
    let text = "v=0\r\no=alice 1 2 IN IP4 host.example\r\ns=a call\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n\
                a=stox:1\r\na=fingerprint:sha-1 x\r\n\
                m=audio 4000/2 RTP/SAVP 8 0\r\na=mid: m1 \r\na=crypto:x\r\na=rtcp-mux-only\r\n\
                m=image 0 udptl t38\r\nc=IN IP6 2001:db8::1/3\r\na=setup:active\r\na=recvonly\r\na=ice-ufrag:x\r\n\
                m=video 4004 RTP/AVP 99\r\nc=IN IP4 name.example\r\na=rtcp-mux\r\n";
    let facts = Facts::read(text).expect("an SDP");
    let [username, session, version, address] = ["alice", "1", "2", "host.example"].map(str::to_owned);
    assert_eq!(facts.origin, Some(Origin { username, session, version, address }));
    assert_eq!(facts.session_name.as_deref(), Some("a call"));
    assert_eq!(facts.attributes, ["stox:1", "fingerprint:sha-1 x"]);
    let audio = MediaFacts {
        media: "audio".to_owned(),
        port: 4_000,
        proto: "RTP/SAVP".to_owned(),
        formats: vec!["8".to_owned(), "0".to_owned()],
        mid: Some("m1".to_owned()),
        address: Some([0, 0, 0, 0].into()),
        direction: Direction::SendRecv,
        held_by_address: true,
        rtcp_mux: true,
        ice: false,
        fingerprint: true,
        setup: false,
        crypto: true,
    };
    assert_eq!(facts.lines[0], audio);
    let image = MediaFacts {
        media: "image".to_owned(),
        port: 0,
        proto: "udptl".to_owned(),
        formats: vec!["t38".to_owned()],
        mid: None,
        address: Some("2001:db8::1".parse().expect("an address")),
        direction: Direction::RecvOnly,
        held_by_address: false,
        rtcp_mux: false,
        ice: true,
        fingerprint: true,
        setup: true,
        crypto: false,
    };
    assert_eq!(facts.lines[1], image);
    assert_eq!((facts.lines[2].address, facts.lines[2].rtcp_mux), (None, true));
    assert_eq!(facts.first_address(), Some("0.0.0.0:4000".parse().expect("an address")));
}

#[test]
fn a_port_without_an_address_is_hold_unless_there_is_ice() {
    let held = |more: &str| {
        let text = format!("v=0\r\nc=IN IP6 ::\r\nm=audio 4000 RTP/AVP 0\r\n{more}");
        Facts::read(&text).expect("an SDP").lines[0].held_by_address
    };
    assert!(held("") && !held("a=ice-ufrag:abcd\r\n") && !held("c=IN IP6 2001:db8::1\r\n"));
    let refused = Facts::read("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 0 RTP/AVP 0\r\n").expect("an SDP");
    assert_eq!((refused.lines[0].held_by_address, refused.first_address()), (false, None));
}
