//! Candidates and ICE restarts.

use model::{Command, News, StreamId};

use crate::world::*;

fn transport(name: &str, attributes: &str, candidates: usize) -> String {
    let candidate = "<candidate component='1' foundation='2' ip='192.0.2.50' port='5002' priority='7' protocol='udp'/>";
    format!(
        "<content creator='responder' name='{name}'><transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' \
         {attributes}>{}</transport></content>",
        candidate.repeat(candidates)
    )
}

#[test]
fn candidates_that_come_before_the_accept_wait_for_it() {
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    world.message("proceed", "");
    world.answer_all();
    assert_eq!(world.jingle("transport-info", &transport("0", "ufrag='clientufrag'", 2)), ["-> result"]);
    assert_eq!(
        world.jingle("session-accept", &content_with(PCMU, "active")),
        ["-> result", "relay take-answer jingle", "relay candidates jingle", "relay give-answer sip", "=> 200 sdp"]
    );
    let Some(Command::AddCandidates { ufrag, candidates, stream, .. }) =
        world.commands.iter().find(|command| matches!(command, Command::AddCandidates { .. }))
    else {
        panic!("candidates were added")
    };
    assert_eq!((ufrag.as_deref(), candidates.len(), *stream), (Some("clientufrag"), 2, StreamId(0)));
    assert_eq!(
        world.jingle("transport-info", &transport("0", "ufrag='clientufrag'", 1)),
        ["-> result", "relay candidates jingle"]
    );
    assert_eq!(world.jingle("transport-info", &transport("9", "", 1)), ["-> result"], "of no stream");
    assert_eq!(world.translator.counters().refused.get("candidates-of-no-stream"), Some(&1));
}

#[test]
fn early_candidates_are_bounded() {
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    world.message("proceed", "");
    for _ in 0..70 {
        assert_eq!(world.jingle("transport-info", &transport("0", "", 1)), ["-> result"]);
    }
    assert_eq!(world.translator.counters().refused.get("too-many-early-candidates"), Some(&6));
}

#[test]
fn there_are_no_candidates_before_there_is_a_session() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    assert_eq!(world.jingle("transport-info", &transport("0", "", 1)), ["-> error unexpected-request out-of-order"]);
}

#[test]
fn an_ice_restart_is_answered_with_our_credentials_and_candidates() {
    let mut world = World::new();
    world.call_from_xmpp();
    let same = transport("0", "ufrag='clientufrag' pwd='client-password-0123456789'", 0);
    assert_eq!(world.jingle("transport-info", &same), ["-> result"], "nothing new");
    let new = transport("0", "ufrag='clientufrag2' pwd='client-password-0123456789'", 0);
    assert_eq!(world.jingle("transport-info", &new), ["-> result", "relay restart jingle", "-> transport-info"]);
    let sent = String::from(world.last.as_ref().expect("a stanza was sent")).replace('"', "'");
    assert!(sent.contains("ufrag='newufrag'") && sent.contains("pwd='") && sent.contains("<candidate "), "{sent}");
    assert_eq!(sent.matches("<content ").count(), 1);
    assert_eq!(world.jingle("transport-info", &new), ["-> result"], "the same restart");
}

#[test]
fn a_candidate_of_ours_that_is_found_later_is_told() {
    let mut world = World::new();
    world.call_from_xmpp();
    let news = News::Candidate { leg: JINGLE, stream: StreamId(0), candidate: candidate() };
    assert_eq!(world.news(news.clone()), ["-> transport-info"]);
    let sent = String::from(world.last.as_ref().expect("a stanza was sent")).replace('"', "'");
    assert!(sent.contains("ufrag='ourufrag'") && sent.contains("pwd='our-password-0123456789ab'"), "{sent}");
    let mut before = World::new();
    before.sid = "session-1".into();
    before.message("propose", AUDIO);
    assert_eq!(before.news(news), [""; 0], "it will be in the accept");
}
