//! What changes in a running call.

use std::time::Duration;

use model::{Command, CommandError, News, StreamId};
use sip::message::{FromAgent, InDialogId, ToAgent};

use crate::world::*;

fn reinvited(sdp: Option<String>) -> FromAgent {
    FromAgent::Reinvited { dialog: THEIRS, request: InDialogId(7), sdp }
}

fn from_sip() -> World {
    let mut world = World::new();
    world.call_from_sip();
    world
}

fn from_xmpp() -> World {
    let mut world = World::new();
    world.call_from_xmpp();
    world
}

fn info(word: &str) -> String {
    format!("<{word} xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>")
}

#[test]
fn a_refresh_without_change_gets_the_same_answer() {
    let mut world = from_sip();
    let before = world.sdp.clone();
    assert_eq!(world.sip(reinvited(Some(phone()))), ["=> in dialog 200 sdp"]);
    assert_eq!(world.sdp, before);
}

#[test]
fn the_phone_holds_and_comes_back() {
    for (line, answer) in [("a=sendonly\r\n", "a=recvonly"), ("a=inactive\r\n", "a=inactive")] {
        let mut world = from_sip();
        assert_eq!(
            world.sip(reinvited(Some(sdp("8 0 101", line)))),
            ["relay take-offer sip", "relay give-answer sip", "=> in dialog 200 sdp", "-> session-info Hold"]
        );
        assert!(world.sdp.contains(answer), "{}", world.sdp);
        assert_eq!(
            world.sip(reinvited(Some(phone()))),
            ["relay take-offer sip", "relay give-answer sip", "=> in dialog 200 sdp", "-> session-info Unhold"]
        );
        assert!(world.sdp.contains("a=sendrecv"), "{}", world.sdp);
    }
    let mut old = from_sip();
    let zero = phone().replace("c=IN IP4 203.0.113.9", "c=IN IP4 0.0.0.0");
    assert!(old.sip(reinvited(Some(zero))).contains(&"-> session-info Hold".to_owned()));
    assert!(old.sdp.contains("a=inactive"), "{}", old.sdp);
}

#[test]
fn a_new_address_is_the_relay_s_business_alone() {
    let mut world = from_sip();
    let moved = phone().replace("m=audio 7000", "m=audio 7002");
    assert_eq!(
        world.sip(reinvited(Some(moved))),
        ["relay take-offer sip", "relay give-answer sip", "=> in dialog 200 sdp"]
    );
}

#[test]
fn a_refresh_without_an_offer_gets_ours() {
    let mut world = from_sip();
    assert_eq!(world.sip(reinvited(None)), ["relay give-offer sip", "=> in dialog 200 sdp"]);
    assert!(world.sdp.contains("RTP/AVP 0 8 101\r\n"), "the numbers of this dialog: {}", world.sdp);
    assert_eq!(world.sip(reinvited(None)), ["=> in dialog 491"], "before the ACK");
    let ack = FromAgent::Acknowledged { dialog: THEIRS, sdp: Some(phone()) };
    assert_eq!(world.sip(ack), ["relay take-answer sip"]);
    assert_eq!(world.sip(reinvited(None)), ["relay give-offer sip", "=> in dialog 200 sdp"]);
    let empty = FromAgent::Acknowledged { dialog: THEIRS, sdp: None };
    assert_eq!(world.sip(empty), ["relay rollback sip"], "the call stays as it was");
    assert!(!world.translator.is_idle());
}

#[test]
fn an_offer_that_cannot_be_taken_leaves_the_call_as_it_was() {
    let mut world = from_sip();
    assert_eq!(world.sip(reinvited(Some("v=0\r\n".into()))), ["=> in dialog 488"]);
    assert_eq!(world.sip(reinvited(Some("garbage".into()))), ["=> in dialog 488"]);
    assert_eq!(
        world.sip(reinvited(Some(sdp("9", "")))),
        ["relay take-offer sip", "relay rollback sip", "=> in dialog 488"],
        "no common codec"
    );
    world.failures.insert("take-offer sip".into(), CommandError::NoUsableAddress);
    let hold = || sdp("8 0 101", "a=sendonly\r\n");
    assert_eq!(world.sip(reinvited(Some(hold()))), ["relay take-offer sip", "=> in dialog 488"]);
    world.failures.insert("give-answer sip".into(), CommandError::NoFreePort);
    assert_eq!(
        world.sip(reinvited(Some(hold()))),
        ["relay take-offer sip", "relay give-answer sip", "relay rollback sip", "=> in dialog 488"]
    );
    // And goes on from where it was.
    let actions = world.sip(reinvited(Some(hold())));
    assert_eq!(actions.last().map(String::as_str), Some("-> session-info Hold"));
}

#[test]
fn one_offer_after_the_other() {
    let mut world = from_sip();
    world.mode = RelayMode::Late;
    let hold = sdp("8 0 101", "a=sendonly\r\n");
    assert_eq!(world.sip(reinvited(Some(hold.clone()))), ["relay take-offer sip"]);
    assert_eq!(world.sip(reinvited(Some(hold.clone()))), ["=> in dialog 500"]);
    assert_eq!(world.relay_answers(), ["relay give-answer sip", "=> in dialog 200 sdp", "-> session-info Hold"]);
    assert_eq!(
        world.jingle("session-info", &info("hold")),
        ["-> result", "relay hold jingle RecvOnly", "relay give-offer sip"]
    );
    assert_eq!(world.sip(reinvited(Some(hold))), ["=> in dialog 491"], "ours is under way");
}

#[test]
fn a_call_that_ends_refuses_what_was_under_way() {
    let mut world = from_sip();
    world.mode = RelayMode::Late;
    world.sip(reinvited(Some(sdp("8 0 101", "a=sendonly\r\n"))));
    assert_eq!(
        world.jingle("session-terminate", "<reason><success/></reason>"),
        ["-> result", "-> finish success", "=> in dialog 487", "=> BYE 16", "relay end"]
    );
    assert_eq!(world.relay_answers(), [""; 0]);
}

#[test]
fn the_client_holds_and_comes_back() {
    let mut world = from_xmpp();
    assert_eq!(
        world.jingle("session-info", &info("hold")),
        ["-> result", "relay hold jingle RecvOnly", "relay give-offer sip", "=> re-INVITE"]
    );
    assert!(world.sdp.contains("a=sendonly"), "{}", world.sdp);
    assert!(world.sdp.contains("RTP/AVP 0 8 101\r\n"), "what both have, in the offer's order: {}", world.sdp);
    // Both at once: nothing is queued, the difference is made up for.
    assert_eq!(world.jingle("session-info", &info("unhold")), ["-> result", "relay hold jingle SendRecv"]);
    let answer = FromAgent::ReinviteAnswered { dialog: OURS, sdp: Some(sdp("0 8 101", "a=recvonly\r\n")) };
    assert_eq!(world.sip(answer), ["relay take-answer sip", "relay give-offer sip", "=> re-INVITE"]);
    assert!(world.sdp.contains("a=sendrecv"), "{}", world.sdp);
    let answer = FromAgent::ReinviteAnswered { dialog: OURS, sdp: Some(sdp("0 8 101", "")) };
    assert_eq!(world.sip(answer), ["relay take-answer sip"]);
}

#[test]
fn both_hold() {
    let mut world = from_sip();
    world.sip(reinvited(Some(sdp("8 0 101", "a=sendonly\r\n"))));
    world.jingle("session-info", &info("hold"));
    assert!(world.sdp.contains("a=inactive"), "{}", world.sdp);
    let answer = FromAgent::ReinviteAnswered { dialog: THEIRS, sdp: Some(sdp("0 8 101", "a=inactive\r\n")) };
    world.sip(answer);
    // The phone comes back first.
    let actions = world.sip(reinvited(Some(phone())));
    assert!(actions.contains(&"-> session-info Unhold".to_owned()), "{actions:?}");
    assert!(world.sdp.contains("a=sendonly"), "the client still holds: {}", world.sdp);
}

#[test]
fn a_direction_may_change_by_content_modify() {
    let mut world = from_xmpp();
    let modify = |senders: &str| format!("<content creator='initiator' name='0' senders='{senders}'/>");
    world.jingle("content-modify", &modify("initiator"));
    assert!(world.sdp.contains("a=sendonly"), "{}", world.sdp);
    world.sip(FromAgent::ReinviteAnswered { dialog: OURS, sdp: Some(sdp("0 8 101", "a=recvonly\r\n")) });
    world.jingle("content-modify", &modify("none"));
    assert!(world.sdp.contains("a=inactive"), "{}", world.sdp);
    let mut called = from_sip();
    called.jingle("content-modify", &modify("initiator"));
    assert!(called.sdp.contains("a=recvonly"), "the client is the responder here: {}", called.sdp);
}

#[test]
fn muting_is_the_relay_s_business_alone() {
    let mut world = from_xmpp();
    assert_eq!(world.jingle("session-info", &info("mute")), ["-> result", "relay hold jingle SendOnly"]);
    assert_eq!(world.jingle("session-info", &info("unmute")), ["-> result", "relay hold jingle SendRecv"]);
    world.jingle("session-info", &info("mute"));
    assert_eq!(world.jingle("session-info", &info("active")), ["-> result", "relay hold jingle SendRecv"]);
}

#[test]
fn an_offer_that_crossed_another_is_repeated() {
    let mut world = from_xmpp();
    world.jingle("session-info", &info("hold"));
    let refused = |status| FromAgent::ReinviteFailed { dialog: OURS, failure: failure(status) };
    assert_eq!(world.sip(refused(491)), ["relay rollback sip"]);
    assert_eq!(world.pass(Duration::from_millis(2_099)), [""; 0], "we made the call, so we wait longer");
    assert_eq!(world.pass(Duration::from_millis(1_901)), ["relay give-offer sip", "=> re-INVITE"]);
    assert_eq!(world.sip(refused(488)), ["relay rollback sip"]);
    assert_eq!(world.pass(Duration::from_secs(60)), [""; 0], "what was refused is not repeated");
    assert_eq!(world.jingle("session-info", &info("unhold")), ["-> result", "relay hold jingle SendRecv"]);
    world.jingle("session-info", &info("hold"));
    assert!(!world.translator.is_idle());
}

#[test]
fn a_dialog_that_is_gone_ends_the_call() {
    for status in [408, 481] {
        let mut world = from_xmpp();
        world.jingle("session-info", &info("hold"));
        let gone = FromAgent::ReinviteFailed { dialog: OURS, failure: failure(status) };
        let actions = world.sip(gone);
        assert!(actions.contains(&"relay end".to_owned()), "{actions:?}");
        assert!(world.translator.is_idle());
    }
}

#[test]
fn a_key_press_by_info_is_pressed_at_the_relay() {
    let mut world = from_sip();
    let mut press = |content_type: &str, body: &str| {
        world.sip(FromAgent::Info {
            dialog: THEIRS,
            request: InDialogId(9),
            content_type: content_type.into(),
            body: body.into(),
        })
    };
    assert_eq!(
        press("application/dtmf-relay", "Signal= 5\r\nDuration = 250\r\n"),
        ["relay dtmf jingle 5", "=> in dialog 200"]
    );
    assert_eq!(press("application/dtmf", "#"), ["relay dtmf jingle #", "=> in dialog 200"]);
    assert_eq!(press("application/dtmf", "55"), ["=> in dialog 400"]);
    assert_eq!(press("application/dtmf-relay", "Duration=1"), ["=> in dialog 400"]);
    assert_eq!(press("application/x", "<x/>"), ["=> in dialog 415"]);
    assert_eq!(press("", ""), ["=> in dialog 200"]);
}

const KEY: &str = "xmlns='urn:xmpp:jingle:dtmf:0' code='7'";

#[test]
fn a_key_press_by_session_info_is_pressed_at_the_relay() {
    let mut world = from_xmpp();
    let mut press = |attributes: &str| world.jingle("session-info", &format!("<dtmf {KEY} {attributes}/>"));
    assert_eq!(press(""), ["-> result", "relay dtmf sip 7"]);
    assert_eq!(press("action='button-down'"), ["-> result", "relay dtmf sip 7"]);
    assert_eq!(press("action='button-up'"), ["-> result"], "the same key");
    assert_eq!(press("action='button-up' duration='300'"), ["-> result", "relay dtmf sip 7"]);
    let Some(Command::SendDtmf { duration_ms: 300, .. }) = world.commands.last() else { panic!("300 ms") };
    assert_eq!(
        world.jingle("session-info", "<dtmf xmlns='urn:xmpp:jingle:dtmf:0' code='77'/>"),
        ["-> error feature-not-implemented unsupported-info"]
    );
}

#[test]
fn keys_find_their_way_to_a_side_without_telephone_events() {
    let mut world = from_xmpp();
    world.failures.insert("dtmf sip 7".into(), CommandError::NoTelephoneEvent);
    assert_eq!(
        world.jingle("session-info", &format!("<dtmf {KEY}/>")),
        ["-> result", "relay dtmf sip 7", "=> INFO application/dtmf-relay"]
    );
    let Some(ToAgent::Info { body, .. }) = world.sip_actions.last() else { panic!("an INFO") };
    assert_eq!(body, "Signal=7\r\nDuration=160\r\n");
    // The phone has no such events, the client has.
    let mut world = World::new();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    world.sip(answered(sdp("8 0", "")));
    world.jingle("session-initiate", &browser());
    let digit = '5'.try_into().expect("a key");
    let pressed = |leg| News::Dtmf { leg, digit, duration_ms: 200 };
    assert_eq!(world.news(pressed(JINGLE)), ["=> INFO application/dtmf-relay"]);
    // The other way round.
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    world.message("proceed", "");
    world.jingle("session-accept", &content_with(PCMU, "active"));
    let lines = world.news(pressed(SIP));
    assert!(lines.len() == 1 && lines[0].starts_with("-> session-info Dtmf"), "{lines:?}");
    let mut both = from_sip();
    assert_eq!(both.news(pressed(SIP)), [""; 0], "the relay's business alone");
    assert_eq!(both.news(pressed(JINGLE)), [""; 0]);
}

#[test]
fn a_request_for_a_picture_becomes_one_on_the_other_side() {
    let mut world = from_sip();
    let mut info = |body: &str| {
        world.sip(FromAgent::Info {
            dialog: THEIRS,
            request: InDialogId(9),
            content_type: sip::media_control::MEDIA_TYPE.into(),
            body: body.into(),
        })
    };
    let asks = sip::media_control::Primitive::PictureFastUpdate.write();
    assert_eq!(info(&asks), ["relay picture jingle", "=> in dialog 200"]);
    assert_eq!(info("<media_control><general_error/></media_control>"), ["=> in dialog 200"]);
    assert_eq!(info("<x/>"), ["=> in dialog 400"]);
    let news = |leg| News::PictureRequested { leg, stream: StreamId(1) };
    assert_eq!(world.news(news(SIP)), ["=> INFO application/media_control+xml"]);
    assert_eq!(world.news(news(JINGLE)), Vec::<String>::new(), "XMPP has no words for it");
}

#[test]
fn what_asks_nothing_of_the_other_side_is_answered_alone() {
    let mut world = from_xmpp();
    assert_eq!(world.jingle("session-info", ""), ["-> result"], "a ping");
    assert_eq!(world.jingle("description-info", &content(PCMU)), ["-> result"]);
    assert_eq!(
        world.jingle("session-info", "<tea xmlns='urn:x-tea'/>"),
        ["-> error feature-not-implemented unsupported-info"]
    );
    assert_eq!(
        world.jingle("security-info", "<x xmlns='urn:x'/>"),
        ["-> error feature-not-implemented unsupported-info"]
    );
    assert_eq!(world.jingle("transport-replace", &browser()), ["-> result", "-> transport-reject"]);
    for action in [
        "session-initiate",
        "session-accept",
        "content-accept",
        "content-reject",
        "transport-accept",
        "transport-reject",
    ] {
        assert_eq!(world.jingle(action, &browser()), ["-> error unexpected-request out-of-order"], "{action}");
    }
    assert!(!world.translator.is_idle());
}

#[test]
fn a_phone_that_calls_on_hold_can_come_back() {
    let mut world = World::new();
    world.sip(invite(Some(sdp("8 0 101", "a=inactive\r\n"))));
    world.message("proceed", "");
    let initiate = String::from(world.last.as_ref().expect("a stanza was sent")).replace('"', "'");
    assert!(initiate.contains("senders='both'"), "{initiate}");
    world.answer_all();
    assert_eq!(
        world.jingle("session-accept", &content_with(PCMU, "active")),
        ["-> result", "relay take-answer jingle", "relay give-answer sip", "=> 200 sdp", "-> session-info Hold"]
    );
    assert!(world.sdp.contains("a=inactive"), "{}", world.sdp);
    let actions = world.sip(reinvited(Some(phone())));
    assert_eq!(actions.last().map(String::as_str), Some("-> session-info Unhold"));
    assert!(world.sdp.contains("a=sendrecv"), "{}", world.sdp);
}

#[test]
fn a_phone_that_answers_on_hold_can_come_back() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.jingle("session-initiate", &browser());
    world.sip(answered(sdp("8 0 101", "a=inactive\r\n")));
    let accept = String::from(world.last.as_ref().expect("a stanza was sent")).replace('"', "'");
    assert!(accept.contains("senders='both'"), "{accept}");
    world.answer_all();
    let back = FromAgent::Reinvited { dialog: OURS, request: InDialogId(7), sdp: Some(phone()) };
    assert_eq!(world.sip(back), ["relay take-offer sip", "relay give-answer sip", "=> in dialog 200 sdp"]);
    assert!(world.sdp.contains("a=sendrecv"), "{}", world.sdp);
}
