//! Contents that come, change and go in a running call.

use std::time::Duration;

use model::{Command, CommandError, Description, StreamId};
use signaling::Config;
use sip::message::{FromAgent, InDialogId};
use xmpp::stanza::Payload;

use crate::world::*;

fn with_video() -> World {
    World::with(Config { video: true, ..config() })
}

/// A call of audio that the client began; we are the responder.
fn from_xmpp() -> World {
    let mut world = with_video();
    world.call_from_xmpp();
    world
}

/// A call of audio that the phone began; we are the initiator.
fn from_sip() -> World {
    let mut world = with_video();
    world.call_from_sip();
    world
}

const BUNDLE: &str = "<group xmlns='urn:xmpp:jingle:apps:grouping:0' semantics='BUNDLE'><content name='0'/>\
                      <content name='camera'/></group>";

/// The client's camera.
fn camera(creator: &str, setup: &str) -> String {
    content_of(creator, "camera", "video", VP8, setup)
}

/// What a phone with a camera says.
fn pictures(port: u16, lines: &str) -> String {
    phone() + &format!("m=video {port} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n{lines}")
}

fn agreed(sdp: String) -> FromAgent {
    FromAgent::ReinviteAnswered { dialog: OURS, sdp: Some(sdp) }
}

fn reinvited(sdp: String) -> FromAgent {
    FromAgent::Reinvited { dialog: THEIRS, request: InDialogId(7), sdp: Some(sdp) }
}

fn refused(status: u16) -> FromAgent {
    FromAgent::ReinviteFailed { dialog: OURS, failure: failure(status) }
}

/// The last description that a command gave the relay.
fn described(world: &World, wanted: &str) -> Description {
    let last = world.commands.iter().rev().find(|command| word(command) == wanted);
    match last {
        Some(
            Command::RemoteOffer { offer: description, .. }
            | Command::LocalOffer { offer: description, .. }
            | Command::LocalAnswer { answer: description, .. }
            | Command::RemoteAnswer { answer: description, .. },
        ) => description.clone(),
        other => panic!("{wanted}: {other:?}"),
    }
}

fn ids(description: &Description) -> Vec<(u16, bool)> {
    description.streams.iter().map(|stream| (stream.id.0, stream.rejected)).collect()
}

const ASKED: [&str; 4] = ["-> result", "relay take-offer jingle", "relay give-offer sip", "=> re-INVITE"];

#[test]
fn the_client_adds_its_camera() {
    let mut world = from_xmpp();
    assert_eq!(world.jingle("content-add", &(camera("initiator", "actpass") + BUNDLE)), ASKED);
    assert!(world.sdp.contains("m=video 30000 RTP/AVP 96\r\n"), "{}", world.sdp);
    assert!(world.sdp.contains("m=audio 30000 RTP/AVP 0 8 101\r\n"), "the sound goes on: {}", world.sdp);
    assert_eq!(
        world.sip(agreed(pictures(7100, ""))),
        ["relay take-answer sip", "relay give-answer jingle", "-> content-accept"]
    );
    let accept = String::from(world.last.as_ref().expect("a stanza"));
    assert!(accept.contains("creator='initiator'") || accept.contains("creator=\"initiator\""), "{accept}");
    assert!(accept.contains("camera") && accept.contains("VP8") && !accept.contains("PCMU"), "{accept}");
    // The next offer has both.
    world.jingle("session-info", "<hold xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>");
    assert_eq!(world.sdp.matches("a=sendonly").count(), 2, "{}", world.sdp);
}

#[test]
fn a_bundle_takes_in_what_is_added() {
    let mut world = with_video();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    world.sip(answered(phone()));
    let group = "<group xmlns='urn:xmpp:jingle:apps:grouping:0' semantics='BUNDLE'><content name='0'/></group>";
    world.jingle("session-initiate", &(browser() + group));
    world.jingle("content-add", &(camera("initiator", "actpass") + BUNDLE));
    let offer = described(&world, "take-offer jingle");
    assert_eq!((ids(&offer), offer.bundle), (vec![(0, false), (1, false)], vec![StreamId(0), StreamId(1)]));
    world.sip(agreed(pictures(7100, "")));
    let answer = described(&world, "give-answer jingle");
    assert_eq!((ids(&answer), answer.bundle), (vec![(0, false), (1, false)], vec![StreamId(0), StreamId(1)]));
    let accept = String::from(world.last.as_ref().expect("a stanza"));
    assert!(accept.contains("BUNDLE"), "{accept}");
}

#[test]
fn the_phone_has_no_camera() {
    for refusal in [agreed(pictures(0, "")), agreed(phone()), refused(488)] {
        let mut world = from_xmpp();
        world.jingle("content-add", &camera("initiator", "actpass"));
        let lines = world.sip(refusal.clone());
        let tail = &lines[lines.len() - 2..];
        assert_eq!(tail, ["relay rollback jingle", "-> content-reject failed-application"], "{refusal:?}");
        // And may be asked again, in the same m-line.
        assert_eq!(world.jingle("content-add", &camera("initiator", "actpass")), ASKED);
        assert_eq!(world.sdp.matches("m=video").count(), 1, "{}", world.sdp);
        let taken = world.sip(agreed(pictures(7100, "")));
        assert_eq!(taken.last().map(String::as_str), Some("-> content-accept"), "{taken:?}");
    }
}

#[test]
fn what_is_not_carried_is_rejected_at_once() {
    let mut world = World::new();
    world.call_from_xmpp();
    let add = camera("initiator", "actpass");
    assert_eq!(world.jingle("content-add", &add), ["-> result", "-> content-reject failed-application"], "no video");
    let mut world = from_xmpp();
    let sound = content_of("initiator", "more", "audio", PCMU, "actpass");
    assert_eq!(world.jingle("content-add", &sound), ["-> result", "-> content-reject failed-application"], "a second");
    // One of two.
    assert_eq!(
        world.jingle("content-add", &(sound + &add)),
        [
            "-> result",
            "-> content-reject failed-application",
            "relay take-offer jingle",
            "relay give-offer sip",
            "=> re-INVITE"
        ]
    );
    assert_eq!(world.jingle("content-add", &add), ["-> error unexpected-request out-of-order"], "one at a time");
}

#[test]
fn what_is_added_waits_for_the_change_under_way() {
    let mut world = from_xmpp();
    world.jingle("session-info", "<hold xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>");
    let add = camera("initiator", "actpass");
    assert_eq!(world.jingle("content-add", &add), ["-> result", "relay take-offer jingle"]);
    let held = sdp("0 8 101", "a=recvonly\r\n");
    assert_eq!(world.sip(agreed(held)), ["relay take-answer sip", "relay give-offer sip", "=> re-INVITE"]);
    assert_eq!(world.sip(refused(491)), ["relay rollback sip"]);
    assert_eq!(world.pass(Duration::from_secs(5)), ["relay give-offer sip", "=> re-INVITE"]);
    let taken = world.sip(agreed(pictures(7100, "")));
    assert_eq!(taken.last().map(String::as_str), Some("-> content-accept"), "{taken:?}");
}

#[test]
fn the_client_takes_its_camera_away() {
    let mut world = from_xmpp();
    world.jingle("content-add", &camera("initiator", "actpass"));
    world.sip(agreed(pictures(7100, "")));
    let of = |name: &str| format!("<content creator='initiator' name='{name}'/>");
    assert_eq!(
        world.jingle("content-remove", &of("camera")),
        ["-> result", "relay remove-stream", "relay give-offer sip", "=> re-INVITE"]
    );
    assert!(world.sdp.contains("m=video 0 "), "{}", world.sdp);
    assert_eq!(ids(&described(&world, "give-offer sip")), [(0, false), (1, true)], "the relay knows both m-lines");
    assert_eq!(world.sip(agreed(pictures(0, ""))), ["relay take-answer sip"]);
    assert_eq!(ids(&described(&world, "take-answer sip")), [(0, false), (1, true)]);
    assert_eq!(world.jingle("content-remove", &of("never")), ["-> result"]);
    assert_eq!(
        world.jingle("content-remove", &of("0")),
        [
            "-> result",
            "relay remove-stream",
            "-> session-terminate success",
            "-> finish success",
            "=> BYE 16",
            "relay end"
        ],
        "without its last content a session is over"
    );
}

#[test]
fn the_client_changes_its_mind() {
    let mut world = from_xmpp();
    world.jingle("content-add", &camera("initiator", "actpass"));
    let gone = "<content creator='initiator' name='camera'/>";
    assert_eq!(world.jingle("content-remove", gone), ["-> result", "relay rollback jingle"]);
    assert_eq!(
        world.sip(agreed(pictures(7100, ""))),
        ["relay take-answer sip", "relay give-offer sip", "=> re-INVITE"],
        "the phone has taken it meanwhile"
    );
    assert!(world.sdp.contains("m=video 0 "), "{}", world.sdp);
}

#[test]
fn the_phone_adds_its_camera() {
    for action in ["content-accept", "session-accept"] {
        let mut world = from_sip();
        assert_eq!(
            world.sip(reinvited(pictures(7100, ""))),
            ["relay take-offer sip", "relay give-offer jingle", "-> content-add"]
        );
        let add = String::from(world.last.as_ref().expect("a stanza"));
        assert!(add.contains("VP8") && !add.contains("PCMU"), "only what is new: {add}");
        let add = world.iqs.last().expect("a content-add");
        let Payload::Jingle(add) = &add.payload else { panic!("{add:?}") };
        let name = add.contents.first().expect("a content").name.clone();
        world.answer_all();
        let accept = content_of("initiator", &name, "video", VP8, "active");
        assert_eq!(
            world.jingle(action, &accept),
            ["-> result", "relay take-answer jingle", "relay give-answer sip", "=> in dialog 200 sdp"]
        );
        assert!(world.sdp.contains("m=video 30000"), "{}", world.sdp);
        assert_eq!(world.jingle("content-accept", &accept), ["-> error unexpected-request out-of-order"]);
        assert_eq!(world.sip(reinvited(pictures(7100, ""))), ["=> in dialog 200 sdp"], "a refresh asks nobody");
    }
}

#[test]
fn the_client_does_not_take_the_phone_s_camera() {
    let begun = || {
        let mut world = from_sip();
        world.sip(reinvited(pictures(7100, "")));
        world
    };
    let given_up = ["relay rollback jingle", "relay give-answer sip", "=> in dialog 200 sdp"];
    let mut rejected = begun();
    rejected.answer_all();
    let reject = "<content creator='initiator' name='1'/><reason><decline/></reason>";
    assert_eq!(rejected.jingle("content-reject", reject)[1..], given_up);
    assert!(rejected.sdp.contains("m=video 0 "), "{}", rejected.sdp);
    let mut unknown = begun();
    assert_eq!(unknown.answer_iq(Some("feature-not-implemented")), given_up);
    assert!(unknown.sdp.contains("m=video 0 "), "{}", unknown.sdp);
    let mut silent = begun();
    assert_eq!(silent.pass(Duration::from_secs(21)), given_up, "no answer to the IQ");
    let mut undecided = begun();
    undecided.answer_all();
    assert_eq!(undecided.pass(Duration::from_secs(31)), given_up, "no content-accept");
    let mut plain = World::new();
    plain.call_from_sip();
    let lines = plain.sip(reinvited(pictures(7100, "")));
    assert_eq!(lines, ["=> in dialog 200 sdp"], "no video");
    assert!(plain.sdp.contains("m=video 0 "), "{}", plain.sdp);
}

#[test]
fn both_add_at_once() {
    // We are the initiator: ours goes first.
    let mut ours = from_sip();
    ours.sip(reinvited(pictures(7100, "")));
    let add = camera("responder", "actpass");
    assert_eq!(ours.jingle("content-add", &add), ["-> error conflict tie-break"]);
    // The client is the initiator: its own does.
    let mut theirs = from_xmpp();
    let offered = FromAgent::Reinvited { dialog: OURS, request: InDialogId(7), sdp: Some(pictures(7100, "")) };
    theirs.sip(offered);
    assert_eq!(
        theirs.jingle("content-add", &camera("initiator", "actpass")),
        [
            "-> result",
            "relay rollback jingle",
            "relay give-answer sip",
            "relay take-offer jingle",
            "=> in dialog 200 sdp",
            "relay give-offer sip",
            "=> re-INVITE"
        ]
    );
    assert_eq!(theirs.answer_iq(Some("conflict")), [""; 0], "its refusal of ours comes too late to matter");
    let third = pictures(0, "") + "m=video 7100 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    let taken = theirs.sip(agreed(third));
    assert_eq!(taken.last().map(String::as_str), Some("-> content-accept"), "{taken:?}");
}

#[test]
fn the_phone_takes_its_camera_away_and_brings_it_back() {
    let mut world = from_xmpp();
    world.jingle("content-add", &camera("initiator", "actpass"));
    world.sip(agreed(pictures(7100, "")));
    let offered = |sdp| FromAgent::Reinvited { dialog: OURS, request: InDialogId(7), sdp: Some(sdp) };
    assert_eq!(
        world.sip(offered(pictures(0, ""))),
        ["relay take-offer sip", "relay give-answer sip", "=> in dialog 200 sdp", "-> content-modify"]
    );
    assert_eq!(ids(&described(&world, "give-answer sip")), [(0, false), (1, true)], "the relay stops it");
    let modify = String::from(world.last.as_ref().expect("a stanza"));
    assert!(modify.contains("none"), "a content that was accepted is not removed: {modify}");
    assert_eq!(
        world.sip(offered(pictures(7100, "a=recvonly\r\n"))).last().map(String::as_str),
        Some("-> content-modify")
    );
    let modify = String::from(world.last.as_ref().expect("a stanza"));
    assert!(
        modify.contains("\"initiator\" xmlns")
            || modify.contains("senders='initiator'")
            || modify.contains("senders=\"initiator\""),
        "{modify}"
    );
    // Held altogether, it says so in one word.
    let held = pictures(7100, "a=inactive\r\n").replacen("a=rtpmap:101", "a=inactive\r\na=rtpmap:101", 1);
    assert_eq!(world.sip(offered(held)).last().map(String::as_str), Some("-> session-info Hold"));
}

#[test]
fn the_client_wants_back_what_the_phone_took_away() {
    let mut world = from_xmpp();
    world.jingle("content-add", &camera("initiator", "actpass"));
    world.sip(agreed(pictures(7100, "")));
    world.sip(FromAgent::Reinvited { dialog: OURS, request: InDialogId(7), sdp: Some(pictures(0, "")) });
    let back = "<content creator='initiator' name='camera' senders='both'/>";
    assert_eq!(
        world.jingle("content-modify", back),
        ["-> result", "relay hold jingle SendRecv", "relay give-offer sip", "=> re-INVITE"]
    );
    assert!(world.sdp.contains("m=video 30000 RTP/AVP 96"), "{}", world.sdp);
    assert_eq!(world.sip(agreed(pictures(7100, ""))), ["relay take-answer sip"]);
    // It may say no again.
    world.sip(FromAgent::Reinvited { dialog: OURS, request: InDialogId(8), sdp: Some(pictures(0, "")) });
    world.jingle("content-modify", back);
    let lines = world.sip(agreed(pictures(0, "")));
    assert_eq!(lines, ["relay take-answer sip", "-> content-modify"], "asked once, and not over and over");
    assert_eq!(world.pass(Duration::from_secs(60)), [""; 0]);
}

#[test]
fn a_relay_that_cannot_leaves_the_call_as_it_was() {
    for command in ["take-offer jingle", "give-offer sip", "give-answer jingle"] {
        let mut world = from_xmpp();
        world.failures.insert(command.into(), CommandError::NoFreePort);
        let mut lines = world.jingle("content-add", &camera("initiator", "actpass"));
        lines.extend(world.sip(agreed(pictures(7100, ""))));
        assert!(lines.contains(&"-> content-reject failed-application".to_owned()), "{command}: {lines:#?}");
        assert!(!lines.contains(&"relay end".to_owned()), "{command}: {lines:#?}");
    }
    let mut world = from_sip();
    world.failures.insert("give-offer jingle".into(), CommandError::NoFreePort);
    assert_eq!(
        world.sip(reinvited(pictures(7100, ""))),
        ["relay take-offer sip", "relay give-offer jingle", "relay give-answer sip", "=> in dialog 200 sdp"]
    );
    assert!(world.sdp.contains("m=video 0 "), "{}", world.sdp);
}
