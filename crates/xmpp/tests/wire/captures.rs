//! What real clients put on the wire is understood.

use minidom::Element;
use model::{Direction, Fingerprint, HashFunction, Profile, Setup};
use xmpp::description::describe;
use xmpp::jingle::{Action, Info, Jingle, Party, ReasonCondition, Transport};
use xmpp::stanza::{Payload, Stanza};

const CAPTURES: [&str; 2] =
    [include_str!("../../fixtures/stanzajs-initiator.xml"), include_str!("../../fixtures/stanzajs-responder.xml")];

/// All stanzas of a capture, with the address that its client leaves to the server.
fn stanzas(capture: &str) -> Vec<Stanza> {
    capture
        .lines()
        .filter(|line| line.starts_with("<iq"))
        .map(|line| {
            let missing = if line.contains(" from=") { "" } else { " from='alice@localhost/zjWsbk8kdsBL'" };
            let element: Element = line.replacen("<iq", &format!("<iq{missing}"), 1).parse().expect("it is XML");
            Stanza::parse(&element).expect("it is a stanza")
        })
        .collect()
}

fn jingles(capture: &str) -> Vec<Jingle> {
    let jingle = |stanza: Stanza| if let Payload::Jingle(jingle) = stanza.payload { Some(*jingle) } else { None };
    stanzas(capture).into_iter().filter_map(jingle).collect()
}

#[test]
fn every_stanza_is_an_action_or_a_result() {
    for capture in CAPTURES {
        let stanzas = stanzas(capture);
        assert_eq!(stanzas.len(), 28);
        let results = stanzas.iter().filter(|stanza| stanza.payload == Payload::Result(None)).count();
        assert_eq!((results, jingles(capture).len()), (14, 14));
    }
}

#[test]
fn both_ears_hear_the_same() {
    let [initiator, responder] = CAPTURES.map(|capture| {
        let mut jingles: Vec<String> = jingles(capture).iter().map(|jingle| format!("{jingle:?}")).collect();
        jingles.sort();
        jingles
    });
    assert_eq!(initiator, responder);
}

#[test]
fn the_offer_says_what_the_browser_said() {
    for capture in CAPTURES {
        let offer = jingles(capture).remove(0);
        assert_eq!(offer.action, Action::SessionInitiate);
        assert_eq!((offer.sid.as_str(), &offer.initiator), ("c41f57cd-0904-4f3d-88b8-6275f07e301d", &None));
        assert_eq!(offer.bundle, ["0"]);
        let described = describe(&offer.contents, &offer.bundle, Party::Initiator);
        assert!(described.losses.is_empty(), "{:?}", described.losses);
        let [stream] = &described.description.streams[..] else { panic!("one stream") };
        let codecs: Vec<String> = stream
            .codecs
            .iter()
            .map(|codec| format!("{} {}/{}/{}", codec.payload_type, codec.name, codec.clock_rate, codec.channels))
            .collect();
        assert_eq!(
            codecs,
            [
                "111 opus/48000/2",
                "63 red/48000/2",
                "9 G722/8000/1",
                "0 PCMU/8000/1",
                "8 PCMA/8000/1",
                "13 CN/8000/1",
                "110 telephone-event/48000/1",
                "126 telephone-event/8000/1",
            ]
        );
        assert_eq!(stream.codecs[0].parameter("useinbandfec"), Some("1"));
        assert_eq!(stream.codecs[0].feedback[0].kind, "transport-cc");
        assert_eq!(stream.codecs[1].parameter(""), Some("111/111"));
        assert_eq!((stream.name.as_str(), stream.direction), ("0", Direction::SendRecv));
        assert_eq!(described.description.bundle, [stream.id]);
        assert_eq!(stream.extensions.len(), 4);
        assert!(stream.rtcp_reduced_size && stream.path.rtcp_mux && stream.path.candidates.is_empty());
        assert_eq!(stream.path.profile, Profile::TlsSavpf);
        let ice = stream.path.ice.as_ref().expect("both credentials");
        assert_eq!((ice.ufrag.as_str(), ice.pwd.reveal().as_str()), ("sRjH", "/d87mZW/wBS4McE8aLCBeKPC"));
        let dtls = stream.path.dtls.as_ref().expect("a fingerprint");
        let hex = "22:75:F7:C2:B6:2A:1D:14:7B:BF:FF:D0:E9:BF:33:EC:35:9C:F8:35:97:73:80:58:B9:10:C1:06:F6:C4:7D:BE";
        assert_eq!(dtls.fingerprints, [Fingerprint::parse(HashFunction::Sha256, hex).expect("it is one")]);
        assert_eq!(dtls.setup, Setup::Actpass);
    }
}

#[test]
fn the_answer_is_active_and_the_session_rings_and_ends() {
    for capture in CAPTURES {
        let jingles = jingles(capture);
        let ringing = jingles.iter().find(|jingle| jingle.action == Action::SessionInfo).expect("it rings");
        assert_eq!(ringing.info, Some(Info::Ringing));
        let answer = jingles.iter().find(|jingle| jingle.action == Action::SessionAccept).expect("it is accepted");
        let described = describe(&answer.contents, &answer.bundle, Party::Responder);
        assert_eq!(described.description.streams[0].path.dtls.as_ref().map(|dtls| dtls.setup), Some(Setup::Active));
        let last = jingles.last().expect("there is one");
        assert_eq!(last.reason.as_ref().map(|reason| reason.condition), Some(ReasonCondition::Success));
    }
}

#[test]
fn candidates_trickle_without_password_id_generation_or_network() {
    for capture in CAPTURES {
        let mut addresses = Vec::new();
        let mut complete = 0;
        for jingle in jingles(capture).iter().filter(|jingle| jingle.action == Action::TransportInfo) {
            let [content] = &jingle.contents[..] else { panic!("one content") };
            let Some(Transport::IceUdp(transport)) = &content.transport else { panic!("a transport") };
            assert!(transport.ufrag.is_some() && transport.ice.is_none());
            addresses.extend(transport.candidates.iter().map(|candidate| candidate.address.to_string()));
            complete += usize::from(transport.gathering_complete);
        }
        addresses.sort();
        assert_eq!(
            addresses,
            [
                "127.0.0.1:34445",
                "127.0.0.1:58900",
                "192.0.2.2:37423",
                "192.0.2.2:52710",
                "[::1]:50809",
                "[::1]:55863",
                "[fd00::2]:36709",
                "[fd00::2]:41682",
            ]
        );
        assert_eq!(complete, 2);
    }
}
