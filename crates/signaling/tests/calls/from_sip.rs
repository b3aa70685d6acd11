//! Calls from SIP to XMPP.

use std::time::Duration;

use model::CommandError;
use sip::message::{FromAgent, Reason};

use crate::world::*;

fn accept() -> String {
    content_with(&[PCMU, PCMA, EVENTS].concat(), "active")
}

#[test]
fn a_call_is_proposed_to_all_devices_and_answered_by_one() {
    let mut world = World::new();
    let actions = ["-> presence probe", "relay create", "relay take-offer sip", "-> propose"];
    assert_eq!(world.sip(invite(Some(phone()))), actions);
    let propose = String::from(world.last.as_ref().expect("a stanza was sent")).replace('"', "'");
    assert!(propose.contains("to='alice@localhost'") && propose.contains("from='100@sip.localhost/sip'"), "{propose}");
    assert!(propose.contains("type='chat'") && propose.contains("<store"), "{propose}");
    assert_eq!(propose.matches("<description").count(), 1, "the media of the session that will come");
    assert_eq!(world.sid.len(), 36, "a UUID");
    assert_eq!(world.message("ringing", ""), ["=> 180"]);
    assert_eq!(world.message("ringing", ""), [""; 0], "once");
    assert_eq!(world.message("proceed", ""), ["relay give-offer jingle", "-> session-initiate"]);
    let initiate = String::from(world.last.as_ref().expect("a stanza was sent")).replace('"', "'");
    assert!(initiate.contains("to='alice@localhost/phone'") && initiate.contains("from='100@sip.localhost/sip'"));
    assert!(initiate.contains("initiator='100@sip.localhost/sip'") && initiate.contains("setup='actpass'"));
    assert_eq!(initiate.matches("<content ").count(), 2, "one content, and its name in the group");
    assert_eq!(world.message_from("alice@localhost/tablet", "proceed", ""), [""; 0], "one device is enough");
    assert_eq!(world.answer_iq(None), [""; 0]);
    assert_eq!(
        world.jingle("session-accept", &accept()),
        ["-> result", "relay take-answer jingle", "relay give-answer sip", "=> 200 sdp"]
    );
    assert!(world.sdp.contains("RTP/AVP 0 8 101\r\n"), "the client's order, the phone's numbers: {}", world.sdp);
    assert_eq!(world.sip(FromAgent::Acknowledged { dialog: THEIRS, sdp: None }), [""; 0]);
    let counters = &world.translator.counters().from_sip;
    assert_eq!((counters.started, counters.answered, counters.active), (1, 1, 1));

    let bye = FromAgent::Ended { dialog: THEIRS, reason: Vec::new() };
    assert_eq!(world.sip(bye), ["-> session-terminate success", "-> finish success", "relay end"]);
    // The client's own stanzas cross the end.
    assert_eq!(world.jingle("session-terminate", ""), ["-> result"]);
    assert_eq!(world.jingle("transport-info", &accept()), ["-> result"]);
    assert_eq!(world.message("finish", ""), [""; 0]);
    world.pass(Duration::from_secs(61));
    assert_eq!(world.jingle("session-terminate", ""), ["-> error item-not-found unknown-session"]);
}

#[test]
fn a_delayed_offer_is_ours_and_the_ack_answers() {
    let mut world = World::new();
    assert_eq!(world.sip(invite(None)), ["-> presence probe", "relay create", "-> propose"]);
    assert_eq!(world.message("proceed", ""), ["relay give-offer jingle", "-> session-initiate"]);
    world.answer_all();
    assert_eq!(
        world.jingle("session-accept", &accept()),
        ["-> result", "relay take-answer jingle", "relay give-offer sip", "=> 200 sdp"]
    );
    assert!(world.sdp.contains("RTP/AVP 0 8 126\r\n"), "{}", world.sdp);
    let ack = FromAgent::Acknowledged { dialog: THEIRS, sdp: Some(phone()) };
    assert_eq!(world.sip(ack), ["relay take-answer sip"]);
}

#[test]
fn a_delayed_offer_that_is_never_answered_ends_the_call() {
    let mut world = World::new();
    world.sip(invite(None));
    world.message("proceed", "");
    world.answer_all();
    world.jingle("session-accept", &accept());
    let ack = FromAgent::Acknowledged { dialog: THEIRS, sdp: None };
    assert_eq!(
        world.sip(ack),
        ["-> session-terminate failed-application", "-> finish failed-application", "=> BYE 65", "relay end"]
    );
}

#[test]
fn each_refusal_of_the_callee_is_told_in_the_caller_s_words() {
    for (reason, status) in [
        ("<busy/>", 486),
        ("<decline/>", 486),
        ("<cancel/>", 480),
        ("<expired/>", 480),
        ("<gone/>", 480),
        ("<timeout/>", 480),
        ("<connectivity-error/>", 500),
        ("<failed-transport/>", 500),
        ("<alternative-session/>", 486),
        ("<incompatible-parameters/>", 488),
        ("<media-error/>", 488),
        ("<security-error/>", 488),
        ("<unsupported-applications/>", 488),
        ("<unsupported-transports/>", 488),
        ("<failed-application/>", 488),
        ("<general-error/>", 500),
        ("<success/>", 480),
    ] {
        let reason = format!("<reason xmlns='urn:xmpp:jingle:1'>{reason}</reason>");
        let mut rejected = World::new();
        rejected.sip(invite(Some(phone())));
        assert_eq!(rejected.message("reject", &reason), [format!("=> {status}"), "relay end".into()], "{reason}");

        let mut terminated = World::new();
        terminated.sip(invite(Some(phone())));
        terminated.message("proceed", "");
        assert_eq!(
            terminated.jingle("session-terminate", &reason),
            ["-> result".into(), format!("=> {status}"), "relay end".into()],
            "{reason}"
        );
    }
    let mut plain = World::new();
    plain.sip(invite(Some(phone())));
    assert_eq!(plain.message("reject", ""), ["=> 486", "relay end"], "busy is what a bare reject means");
    let mut global = World::with(signaling::Config { global_failures: true, ..config() });
    global.sip(invite(Some(phone())));
    let decline = "<reason xmlns='urn:xmpp:jingle:1'><decline/></reason>";
    assert_eq!(global.message("reject", decline), ["=> 603", "relay end"]);
}

#[test]
fn a_callee_who_is_not_there_is_unavailable() {
    for (condition, status) in
        [("service-unavailable", 480), ("recipient-unavailable", 480), ("item-not-found", 404), ("forbidden", 403)]
    {
        let mut world = World::new();
        world.sip(invite(Some(phone())));
        let error = format!(
            "<message id='jm-propose-$sid' from='alice@localhost' to='{PHONE}' type='error'><error type='cancel'>\
             <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        );
        assert_eq!(world.stanza(&error), [format!("=> {status}"), "relay end".into()], "{condition}");
    }
}

#[test]
fn a_device_that_refuses_the_session_is_unavailable() {
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    world.message("proceed", "");
    assert_eq!(world.answer_iq(Some("service-unavailable")), ["=> 480", "relay end"]);
    let mut silent = World::new();
    silent.sip(invite(Some(phone())));
    silent.message("proceed", "");
    assert_eq!(
        silent.pass(Duration::from_secs(20)),
        ["-> retract connectivity-error", "-> session-terminate connectivity-error", "=> 480", "relay end"]
    );
}

#[test]
fn nobody_answers_for_three_minutes() {
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    world.message("ringing", "");
    assert_eq!(world.pass(Duration::from_secs(180)), ["-> retract timeout", "=> 480", "relay end"]);
}

#[test]
fn a_caller_who_gives_up_takes_the_proposal_back() {
    let cancelled = |reason| FromAgent::Cancelled { dialog: THEIRS, reason };
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    assert_eq!(world.sip(cancelled(Vec::new())), ["-> retract cancel", "relay end"]);
    assert_eq!(world.message("proceed", ""), [""; 0], "too late");

    let mut taken = World::new();
    taken.sip(invite(Some(phone())));
    taken.message("proceed", "");
    assert_eq!(taken.sip(cancelled(Vec::new())), ["-> retract cancel", "-> session-terminate cancel", "relay end"]);
    assert_eq!(taken.jingle("session-accept", &accept()), ["-> result"], "it crossed");

    let mut elsewhere = World::new();
    elsewhere.sip(invite(Some(phone())));
    let reason = Reason { protocol: "SIP".into(), cause: 200, text: None };
    assert_eq!(elsewhere.sip(cancelled(vec![reason])), ["-> retract success", "relay end"]);
}

#[test]
fn an_offer_that_the_relay_refuses_rings_nowhere() {
    let mut world = World::new();
    world.failures.insert("take-offer sip".into(), CommandError::SecurityRequired);
    let actions = ["-> presence probe", "relay create", "relay take-offer sip", "=> 488", "relay end"];
    assert_eq!(world.sip(invite(Some(phone()))), actions);
    let mut full = World::new();
    full.failures.insert("create".into(), CommandError::TooManyCalls);
    let actions = full.sip(invite(Some(phone())));
    assert!(actions.contains(&"=> 503".to_owned()), "{actions:?}");
}

#[test]
fn without_a_common_codec_both_sides_hear_why() {
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    world.message("proceed", "");
    world.answer_all();
    assert_eq!(
        world.jingle("session-accept", &content_with(OPUS, "active")),
        [
            "-> result",
            "relay take-answer jingle",
            "-> session-terminate failed-application",
            "-> finish failed-application",
            "=> 488",
            "relay end"
        ]
    );
}

#[test]
fn one_codec_without_key_presses_is_a_good_answer() {
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    world.message("proceed", "");
    world.answer_all();
    world.jingle("session-accept", &content_with(PCMU, "active"));
    assert!(world.sdp.contains("RTP/AVP 0\r\n"), "{}", world.sdp);
}

const GAJIM: &str = "alice@localhost/gajim";
const PSI: &str = "alice@localhost/psi";

/// Two devices of alice without proposals, and a call from the phone that rings at both.
fn ringing_at_two_devices() -> World {
    let mut world = World::new();
    for device in [GAJIM, PSI] {
        let presence = format!("<presence from='{device}' to='100@sip.localhost'/>");
        assert_eq!(world.stanza(&presence), ["-> query http://jabber.org/protocol/disco#info"]);
        let asked = world.iqs.remove(0);
        let features = ["urn:xmpp:jingle:1", "urn:xmpp:jingle:apps:rtp:1", "urn:xmpp:jingle:transports:ice-udp:1"]
            .map(|feature| format!("<feature var='{feature}'/>"))
            .concat();
        let query = format!("<query xmlns='http://jabber.org/protocol/disco#info'>{features}</query>");
        let answer = asked.result(Some(query.parse().expect("it is XML")));
        world.translator.handle_stanza(answer, world.now);
        assert_eq!(world.stanza(&presence), [""; 0], "it is asked once");
        assert_eq!(world.finish(), [""; 0]);
    }
    assert_eq!(
        world.sip(invite(Some(phone()))),
        [
            "relay create",
            "relay take-offer sip",
            "relay give-offer jingle",
            "-> session-initiate",
            "-> session-initiate"
        ]
    );
    assert_eq!(world.iqs.iter().map(|iq| iq.to.as_str()).collect::<Vec<_>>(), [GAJIM, PSI]);
    world
}

#[test]
fn devices_without_proposals_ring_together_and_one_takes_the_call() {
    let mut world = ringing_at_two_devices();
    let ringing = "<ringing xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>";
    world.answer_all();
    assert_eq!(world.jingle_from(PSI, "session-info", ringing), ["-> result", "=> 180"]);
    assert_eq!(world.jingle_from(GAJIM, "session-info", ringing), ["-> result"], "once");
    let candidates = content_with(PCMU, "active");
    assert_eq!(world.jingle_from(GAJIM, "transport-info", &candidates), ["-> result"]);
    assert_eq!(world.jingle_from(PSI, "transport-info", &candidates), ["-> result"]);
    assert_eq!(
        world.jingle_from(PSI, "session-accept", &accept()),
        [
            "-> result",
            "-> session-terminate cancel",
            "relay take-answer jingle",
            "relay candidates jingle",
            "relay give-answer sip",
            "=> 200 sdp"
        ],
        "the candidates of the one that took it"
    );
    let terminated = world.iqs.iter().find(|iq| iq.to.as_str() == GAJIM).expect("a stanza to the other device");
    assert!(format!("{terminated:?}").contains("answered elsewhere"), "{terminated:?}");
    // What the loser says meanwhile changes nothing.
    assert_eq!(world.jingle_from(GAJIM, "session-accept", &accept()), ["-> error item-not-found unknown-session"]);
    assert_eq!(world.jingle_from(GAJIM, "session-terminate", "<reason><success/></reason>"), ["-> result"]);
    let bye = FromAgent::Ended { dialog: THEIRS, reason: Vec::new() };
    assert_eq!(world.sip(bye), ["-> session-terminate success", "relay end"], "nothing was proposed");
}

#[test]
fn one_device_after_the_other_may_drop_out() {
    // One is gone, the other rings on.
    let mut world = ringing_at_two_devices();
    assert_eq!(world.answer_iq(Some("service-unavailable")), [""; 0]);
    world.answer_all();
    assert_eq!(
        world.jingle_from(PSI, "session-terminate", "<reason><busy/></reason>"),
        ["-> result", "=> 486", "relay end"],
        "the last one speaks for all"
    );
    // Neither says anything.
    let mut world = ringing_at_two_devices();
    assert_eq!(
        world.pass(Duration::from_secs(20)),
        ["-> session-terminate connectivity-error", "-> session-terminate connectivity-error", "=> 480", "relay end"]
    );
    // A user who declines does so everywhere.
    let mut world = ringing_at_two_devices();
    world.answer_all();
    assert_eq!(
        world.jingle_from(GAJIM, "session-terminate", "<reason><decline/></reason>"),
        ["-> result", "-> session-terminate decline", "=> 486", "relay end"]
    );
    // The caller gives up.
    let mut world = ringing_at_two_devices();
    world.answer_all();
    assert_eq!(
        world.sip(FromAgent::Cancelled { dialog: THEIRS, reason: Vec::new() }),
        ["-> session-terminate cancel", "-> session-terminate cancel", "relay end"]
    );
}

#[test]
fn calls_that_cross_become_one() {
    // The lower id wins: it is the client's.
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    world.sid = "!first".into();
    assert_eq!(
        world.message("propose", AUDIO),
        [
            "-> retract expired",
            "=> 486",
            "relay end",
            "relay create",
            "relay give-offer sip",
            "=> INVITE sip:100@127.0.0.1:5081 sdp"
        ]
    );
    // It is ours.
    let mut world = World::new();
    world.sip(invite(Some(phone())));
    world.sid = "zzz".into();
    assert_eq!(world.message("propose", AUDIO), ["-> reject expired"]);
    let reject = String::from(world.last.as_ref().expect("a stanza was sent"));
    assert!(reject.contains("tie-break"), "{reject}");
    assert_eq!(world.translator.counters().from_sip.active, 1);
}

#[test]
fn video_is_offered_and_answered_where_it_is_wanted() {
    let mut world = World::with(signaling::Config { video: true, ..config() });
    let both = phone() + "m=video 7004 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n";
    world.sip(invite(Some(both)));
    let propose = String::from(world.last.as_ref().expect("a stanza was sent"));
    assert_eq!(propose.matches("<description").count(), 2);
    world.message("proceed", "");
    world.answer_all();
    // The client takes the sound alone.
    world.jingle("session-accept", &accept());
    assert!(world.sdp.contains("m=audio 30000") && world.sdp.contains("m=video 0"), "{}", world.sdp);
}
