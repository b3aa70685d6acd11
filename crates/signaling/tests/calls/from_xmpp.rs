//! Calls from XMPP to SIP.

use std::time::Duration;

use model::{Command, CommandError, LegPolicy, PathPolicy, Security};
use signaling::{JmiMode, Trunk, TrunkMedia};
use sip::message::{FromAgent, ToAgent};

use crate::world::*;

#[test]
fn a_proposed_call_is_answered_when_the_phone_answers() {
    let mut world = World::new();
    world.sid = "session-1".into();
    assert_eq!(
        world.message("propose", AUDIO),
        ["relay create", "relay give-offer sip", "=> INVITE sip:100@127.0.0.1:5081 sdp"]
    );
    assert!(world.sdp.contains("m=audio 30000 RTP/AVP 111 9 0 8 110 101\r\n"), "{}", world.sdp);
    assert_eq!(world.sip(provisional(100)), [""; 0]);
    assert_eq!(world.sip(provisional(180)), ["-> ringing"]);
    assert_eq!(world.sip(provisional(180)), [""; 0], "once");
    assert_eq!(world.sip(answered(phone())), ["relay take-answer sip", "-> proceed"]);
    assert_eq!(world.translator.counters().from_xmpp.half_open, 1);
    assert_eq!(
        world.jingle("session-initiate", &browser()),
        ["-> result", "relay take-offer jingle", "relay give-answer jingle", "-> session-accept"]
    );
    let accept = world.last.clone().map(|element| String::from(&element)).expect("a stanza was sent");
    assert!(
        accept.contains("responder='100@sip.localhost/sip'") || accept.contains("responder=\"100@sip.localhost/sip\"")
    );
    let order: Vec<_> = ["id='8'", "id='0'", "id='126'"].map(|id| accept.replace('"', "'").find(id)).to_vec();
    assert!(
        order.is_sorted() && order.iter().all(Option::is_some),
        "the phone's order, the client's numbers: {accept}"
    );
    assert!(!accept.contains("opus"), "{accept}");
    assert_eq!(world.answer_iq(None), [""; 0]);
    let counters = world.translator.counters();
    assert_eq!((counters.from_xmpp.answered, counters.from_xmpp.active, counters.from_xmpp.half_open), (1, 1, 0));

    assert_eq!(
        world.jingle("session-terminate", "<reason><success/></reason>"),
        ["-> result", "-> finish success", "=> BYE 16", "relay end"]
    );
    assert!(world.translator.is_idle());
    assert_eq!(world.translator.counters().from_xmpp.ended.get("success"), Some(&1));
}

#[test]
fn the_invite_says_who_calls() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    let Some(ToAgent::Invite(invite)) = world.sip_actions.first() else { panic!("there is an INVITE") };
    assert_eq!(invite.from, "sip:alice%40localhost@sip.localhost");
    assert_eq!(invite.trunk.as_deref(), Some("phones"));
    assert_eq!((invite.dialog, invite.max_forwards), (OURS, 70));
}

#[test]
fn a_direct_call_carries_the_client_s_codecs() {
    let mut world = World::new();
    world.sid = "session-1".into();
    assert_eq!(
        world.jingle(
            "session-initiate",
            &content(&[OPUS, "<payload-type id='63' name='red' clockrate='48000' channels='2'/>", PCMU].concat())
        ),
        [
            "-> result",
            "relay create",
            "relay take-offer jingle",
            "relay give-offer sip",
            "=> INVITE sip:100@127.0.0.1:5081 sdp"
        ]
    );
    assert!(world.sdp.contains("RTP/AVP 111 0\r\n"), "red stays on its leg: {}", world.sdp);
    assert_eq!(world.sip(provisional(183)), ["-> session-info Ringing"]);
    assert_eq!(world.sip(provisional(180)), [""; 0]);
    assert_eq!(
        world.sip(answered(phone())),
        ["relay take-answer sip", "relay give-answer jingle", "-> session-accept"]
    );
    world.answer_all();
    let bye = FromAgent::Ended { dialog: OURS, reason: Vec::new() };
    assert_eq!(world.sip(bye), ["-> session-terminate success", "relay end"], "there was no proposal to finish");
}

#[test]
fn a_client_is_asked_at_once_for_its_session_in_early_proceed() {
    let mut world = World::with(with_jmi(JmiMode::EarlyProceed));
    world.sid = "session-1".into();
    assert_eq!(world.message("propose", AUDIO), ["relay create", "-> proceed"]);
    assert_eq!(
        world.jingle("session-initiate", &content(PCMA)),
        ["-> result", "relay take-offer jingle", "relay give-offer sip", "=> INVITE sip:100@127.0.0.1:5081 sdp"]
    );
    assert!(world.sdp.contains("RTP/AVP 8\r\n"), "{}", world.sdp);
    assert_eq!(world.sip(provisional(180)), ["-> session-info Ringing"]);
    assert_eq!(
        world.sip(answered(phone())),
        ["relay take-answer sip", "relay give-answer jingle", "-> session-accept"]
    );
}

#[test]
fn early_media_is_heard_in_early_accept() {
    let mut world = World::with(with_jmi(JmiMode::EarlyAccept));
    world.sid = "session-1".into();
    assert_eq!(world.message("propose", AUDIO), ["relay create", "-> ringing", "-> proceed"]);
    assert_eq!(
        world.jingle("session-initiate", &browser()),
        [
            "-> result",
            "relay take-offer jingle",
            "relay give-answer jingle",
            "relay give-offer sip",
            "-> session-accept",
            "=> INVITE sip:100@127.0.0.1:5081 sdp"
        ]
    );
    // The phone cannot answer with another codec than the client was promised.
    assert!(world.sdp.contains("RTP/AVP 0 126\r\n"), "{}", world.sdp);
    let progress =
        FromAgent::Provisional { dialog: OURS, status: 183, to_tag: "t".into(), reliable: false, sdp: Some(phone()) };
    assert_eq!(world.sip(progress), ["relay take-answer sip"]);
    assert_eq!(world.translator.counters().from_xmpp.half_open, 1);
    assert_eq!(world.sip(answered(phone())), ["relay take-answer sip"]);
    assert_eq!(world.translator.counters().from_xmpp.answered, 1);
}

#[test]
fn an_answer_in_a_reliable_provisional_response_is_kept() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.jingle("session-initiate", &browser());
    let progress =
        FromAgent::Provisional { dialog: OURS, status: 183, to_tag: "t".into(), reliable: true, sdp: Some(phone()) };
    assert_eq!(world.sip(progress), ["-> session-info Ringing", "relay take-answer sip"]);
    let answer = answered_with(None);
    assert_eq!(world.sip(answer), ["relay take-answer sip", "relay give-answer jingle", "-> session-accept"]);
}

#[test]
fn every_failure_of_the_phone_is_told_in_its_words() {
    for (status, reason) in [
        (486, "busy"),
        (600, "busy"),
        (603, "decline"),
        (403, "decline"),
        (480, "gone"),
        (404, "gone"),
        (302, "gone"),
        (408, "timeout"),
        (488, "incompatible-parameters"),
        (503, "connectivity-error"),
        (500, "general-error"),
    ] {
        let mut proposed = World::new();
        proposed.sid = "session-1".into();
        proposed.message("propose", AUDIO);
        assert_eq!(proposed.sip(failed(status)), [format!("-> reject {reason}"), "relay end".into()]);
        assert!(proposed.translator.is_idle());
        assert_eq!(proposed.translator.counters().from_xmpp.failed.get(reason), Some(&1));

        let mut direct = World::new();
        direct.sid = "session-1".into();
        direct.jingle("session-initiate", &browser());
        assert_eq!(direct.sip(failed(status)), [format!("-> session-terminate {reason}"), "relay end".into()]);
    }
    let mut rang = World::new();
    rang.sid = "session-1".into();
    rang.message("propose", AUDIO);
    rang.sip(provisional(180));
    assert_eq!(rang.sip(failed(480)), ["-> reject timeout", "relay end"], "it rang, and nobody came");
}

#[test]
fn the_reason_carries_the_status() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    world.sip(failed(486));
    let reject = String::from(world.last.as_ref().expect("a stanza was sent")).replace('"', "'");
    assert!(reject.contains("<text>486 No</text>"), "{reject}");
    assert!(reject.contains("urn:xmpp:sip-status:0") && reject.contains("code='486'"), "{reject}");
    assert!(reject.contains("to='alice@localhost/phone'") && reject.contains("from='100@sip.localhost/sip'"));
}

#[test]
fn a_phone_that_nobody_answers_is_given_up() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    world.sip(provisional(180));
    assert_eq!(world.pass(Duration::from_secs(179)), [""; 0]);
    assert_eq!(world.pass(Duration::from_secs(1)), ["-> reject timeout", "=> CANCEL 487 19", "relay end"]);
    assert_eq!(world.pass(Duration::from_secs(100)), [""; 0]);
    assert_eq!(world.translator.poll_timeout(), None);
}

#[test]
fn a_client_that_does_not_come_after_proceed_is_given_up() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    world.sip(answered(phone()));
    assert_eq!(world.pass(Duration::from_secs(10)), ["-> reject timeout", "=> BYE 19", "relay end"]);
    // And comes after all.
    assert_eq!(world.jingle("session-initiate", &browser()), ["-> result", "-> session-terminate timeout"]);
}

#[test]
fn without_a_common_codec_both_sides_hear_why() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.jingle("session-initiate", &content(OPUS));
    assert_eq!(
        world.sip(answered(phone())),
        ["relay take-answer sip", "-> session-terminate failed-application", "=> BYE 65", "relay end"]
    );
    let mut later = World::new();
    later.sid = "session-1".into();
    later.message("propose", AUDIO);
    later.sip(answered(phone()));
    assert_eq!(
        later.jingle("session-initiate", &content(OPUS)),
        [
            "-> result",
            "relay take-offer jingle",
            "-> session-terminate failed-application",
            "-> finish failed-application",
            "=> BYE 65",
            "relay end"
        ]
    );
}

#[test]
fn what_cannot_be_carried_is_refused_with_its_reason() {
    let video = browser().replace("media='audio'", "media='video'");
    let other = browser().replace("urn:xmpp:jingle:transports:ice-udp:1", "urn:xmpp:jingle:transports:s5b:1");
    for (contents, reason) in [
        (video, "unsupported-applications"),
        (other, "unsupported-transports"),
        (content(EVENTS), "failed-application"),
    ] {
        let mut world = World::new();
        world.sid = "session-1".into();
        assert_eq!(
            world.jingle("session-initiate", &contents),
            ["-> result".to_owned(), format!("-> session-terminate {reason}")]
        );
        assert!(world.translator.is_idle());
    }
    let mut world = World::new();
    world.sid = "session-1".into();
    assert_eq!(world.message("propose", &AUDIO.replace("audio", "video")), ["-> reject unsupported-applications"]);
}

#[test]
fn a_call_goes_on_without_the_video_that_was_offered() {
    let mut world = World::new();
    world.sid = "session-1".into();
    let video = browser().replace("media='audio'", "media='video'").replace("name='0'", "name='1'");
    let group = "<group xmlns='urn:xmpp:jingle:apps:grouping:0' semantics='BUNDLE'><content name='1'/><content name='0'/></group>";
    world.jingle("session-initiate", &[video.as_str(), &browser(), group].concat());
    assert_eq!(world.sdp.matches("m=").count(), 1, "{}", world.sdp);
    world.sip(answered(phone()));
    let accept = String::from(world.last.as_ref().expect("a stanza was sent"));
    assert_eq!(accept.matches("<content ").count(), 4, "both contents, as browsers need it, and the group: {accept}");
    let [video, audio] = [accept.find("senders='none'"), accept.find("senders='both'")];
    assert!(video.is_some() && video < audio, "nothing flows in the first: {accept}");
}

#[test]
fn a_relay_that_fails_ends_the_call_with_the_right_words() {
    for (command, error, lines) in [
        ("create", CommandError::TooManyCalls, vec!["-> session-terminate connectivity-error", "relay end"]),
        ("take-offer jingle", CommandError::SecurityRequired, vec!["-> session-terminate security-error", "relay end"]),
        (
            "take-offer jingle",
            CommandError::IceRequired,
            vec!["-> session-terminate unsupported-transports", "relay end"],
        ),
        ("give-offer sip", CommandError::NoFreePort, vec!["-> session-terminate connectivity-error", "relay end"]),
    ] {
        let mut world = World::new();
        world.sid = "session-1".into();
        world.failures.insert(command.into(), error);
        let actions = world.jingle("session-initiate", &browser());
        assert!(actions.ends_with(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()), "{actions:?}");
        assert!(world.translator.is_idle());
    }
    let mut world = World::new();
    world.sid = "session-1".into();
    world.jingle("session-initiate", &browser());
    world.failures.insert("give-answer jingle".into(), CommandError::BadSetup);
    assert_eq!(
        world.sip(answered(phone())),
        [
            "relay take-answer sip",
            "relay give-answer jingle",
            "-> session-terminate security-error",
            "=> BYE 111",
            "relay end"
        ]
    );
}

#[test]
fn a_relay_that_is_silent_ends_the_call() {
    let mut world = World::new();
    world.mode = RelayMode::Late;
    world.sid = "session-1".into();
    assert_eq!(world.message("propose", AUDIO), ["relay create", "relay give-offer sip"]);
    assert_eq!(world.pass(Duration::from_secs(10)), ["-> reject general-error", "relay end"]);
    assert_eq!(world.relay_answers(), [""; 0], "too late");
}

#[test]
fn a_slow_relay_changes_nothing() {
    let mut world = World::new();
    world.mode = RelayMode::Late;
    world.sid = "session-1".into();
    world.jingle("session-initiate", &browser());
    // The candidates come while the relay still thinks.
    let more = "<content creator='initiator' name='0'><transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' \
                ufrag='clientufrag'><candidate component='1' ip='192.0.2.50' port='5001' priority='1'/></transport></content>";
    assert_eq!(world.jingle("transport-info", more), ["-> result", "relay candidates jingle"]);
    assert_eq!(world.relay_answers(), ["=> INVITE sip:100@127.0.0.1:5081 sdp"]);
    assert_eq!(world.sip(answered(phone())), ["relay take-answer sip", "relay give-answer jingle"]);
    assert_eq!(world.relay_answers(), ["-> session-accept"]);
}

#[test]
fn each_leg_gets_the_policy_of_its_side() {
    let mut config = config();
    let trunk = Trunk {
        unencrypted_srtcp: true,
        learning: model::Learning::Any,
        ..Trunk::new("sip:pbx.example", TrunkMedia::Sdes).expect("a URI")
    };
    config.trunks.insert("phones".into(), trunk);
    config.allow_plain_jingle = true;
    let mut world = World::with(config);
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    let Some(Command::CreateCall { legs, .. }) = world.commands.first() else { panic!("the call is made first") };
    let [jingle, sip] = legs.as_slice() else { panic!("a call has two legs") };
    assert_eq!(jingle.security, [Security::Dtls, Security::Sdes, Security::Rtp]);
    assert_eq!(jingle.path, LegPolicy::jingle(JINGLE).path);
    assert_eq!(sip.security, [Security::Sdes]);
    assert_eq!(sip.path, PathPolicy::Plain { learning: model::Learning::Any });
    assert_eq!((jingle.unencrypted_srtcp, sip.unencrypted_srtcp), (false, true));
}

#[test]
fn a_retract_that_crosses_the_answer_ends_the_call() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    world.sip(answered(phone()));
    assert_eq!(
        world.message("retract", "<reason xmlns='urn:xmpp:jingle:1'><cancel/></reason>"),
        ["=> BYE 16", "relay end"]
    );
    assert_eq!(world.jingle("session-initiate", &browser()), ["-> result", "-> session-terminate cancel"]);
}

#[test]
fn a_2xx_that_crosses_our_cancel_is_ended() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    assert_eq!(world.message("retract", ""), ["=> CANCEL 487 16", "relay end"]);
    assert_eq!(world.sip(answered(phone())), ["=> BYE"]);
}

#[test]
fn both_legs_may_use_the_suites_of_the_configuration_and_no_others() {
    let suites = vec![model::SrtpSuite::AesCm128Sha1_32];
    let mut world = World::with(signaling::Config { suites: suites.clone(), ..config() });
    world.sid = "session-1".into();
    world.jingle("session-initiate", &browser());
    let Some(model::Command::CreateCall { legs, .. }) = world.commands.first() else { panic!("{:?}", world.commands) };
    assert!(legs.iter().all(|leg| leg.suites == suites), "{legs:?}");
}
