//! Who may call whom, who is called, and as whom: the address table in whole calls.

use signaling::{CallerForm, Config, NumberPlan, RouteRow, RouteTable, Trunk, TrunkMedia, UserRow, Users, route_test};
use sip::message::{DialogId, Failure, FromAgent, OutgoingInvite, PeerSupport, Reason, ToAgent};

use crate::world::*;

/// Two trunks, the second for when the first is out of reach; alice has a number; some may not call.
fn two_trunks() -> Config {
    let by = |caller: &str, row| RouteRow { caller: Some(caller.into()), ..row };
    let rows = [
        row("xmpp", r"\+1900.*", "refuse"),
        by("mallory@.*", row("xmpp", ".*", "refuse")),
        RouteRow {
            to: vec!["trunk:phones/{1}".into(), "trunk:backup/{1}".into(), "sip:{1}@last.example".into()],
            ..row("xmpp", r"(\+?[0-9]+)", "")
        },
        by(r"\+4930666.*", row("trunk:phones", ".*", "refuse")),
        row("trunk:phones", ".*", "user"),
        RouteRow { keypad: true, ..row("trunk:phones", "(.+)@(localhost)", "xmpp:{1}@{2}") },
    ];
    let routes = RouteTable::new(&rows, &["phones", "backup"]).expect("the rows are right");
    let numbers = NumberPlan { country_code: Some("49".into()), ..NumberPlan::default() };
    let trunk = |uri: &str| Trunk::new(uri, TrunkMedia::Rtp).expect("the URI is right");
    let phones =
        Trunk { numbers, caller: Some(CallerForm::Number), assert_identity: true, ..trunk("sip:127.0.0.1:5081") };
    let user = |name: &str, number: &str, anonymous| UserRow {
        jid: format!("{name}@localhost"),
        numbers: vec![number.into()],
        name: Some(name.into()),
        anonymous,
    };
    let users = Users::new(&[user("alice", "+4930123456", false), user("eve", "+4930123457", true)]);
    let mut config = Config::new("sip.localhost", routes);
    config.users = users.expect("they are right");
    config.trunks.insert("phones".into(), phones);
    config.trunks.insert("backup".into(), trunk("sip:backup.example"));
    config
}

fn propose(world: &mut World, from: &str, to: &str) -> Vec<String> {
    world.sid = format!("session-{from}-{to}");
    world.stanza(&format!(
        "<message from='{from}' to='{to}@sip.localhost' type='chat'><propose xmlns='urn:xmpp:jingle-message:0' \
         id='$sid'>{AUDIO}</propose></message>"
    ))
}

fn invites(world: &World) -> Vec<OutgoingInvite> {
    let mut invites = Vec::new();
    for action in &world.sip_actions {
        if let ToAgent::Invite(invite) = action {
            invites.push(invite.clone());
        }
    }
    invites
}

fn failed_at(number: u64, status: u16, causes: &[u16]) -> FromAgent {
    let reason = causes.iter().map(|cause| Reason { protocol: "Q.850".into(), cause: *cause, text: None }).collect();
    FromAgent::Failed { dialog: DialogId((1_u64 << 63) | number), failure: Failure { reason, ..failure(status) } }
}

fn refused(world: &World, why: &str) -> u64 {
    world.translator.counters().refused.get(why).copied().unwrap_or_default()
}

#[test]
fn a_trunk_that_is_out_of_reach_is_passed_by() {
    let mut world = World::with(two_trunks());
    assert_eq!(
        propose(&mut world, ALICE, "100").last().map(String::as_str),
        Some("=> INVITE sip:100@127.0.0.1:5081 sdp")
    );
    assert_eq!(world.sip(provisional(180)), ["-> ringing"]);
    assert_eq!(world.sip(failed_at(1, 503, &[])), ["=> INVITE sip:100@backup.example sdp"]);
    let late = FromAgent::Provisional { dialog: OURS, status: 180, to_tag: "t".into(), reliable: false, sdp: None };
    assert_eq!(world.sip(late), [""; 0], "the first is over");
    let ringing = |number| FromAgent::Provisional {
        dialog: DialogId((1_u64 << 63) | number),
        status: 180,
        to_tag: "t".into(),
        reliable: false,
        sdp: None,
    };
    assert_eq!(world.sip(ringing(2)), [""; 0], "that it rings was told");
    assert_eq!(world.sip(failed_at(2, 480, &[34])), ["=> INVITE sip:100@last.example sdp"]);
    let trunks: Vec<_> = invites(&world).iter().map(|invite| (invite.trunk.clone(), invite.from.clone())).collect();
    let escaped = "sip:alice%40localhost@sip.localhost".to_owned();
    let number = "sip:+4930123456@127.0.0.1".to_owned();
    let expected = [(Some("phones".to_owned()), number), (Some("backup".to_owned()), escaped.clone()), (None, escaped)];
    assert_eq!(trunks, expected);
    let first = invites(&world)[0].sdp.clone();
    assert!(invites(&world).iter().all(|invite| invite.sdp == first), "the offer is the same");
    let answered = FromAgent::Answered {
        dialog: DialogId(1 << 63 | 3),
        to_tag: "t".into(),
        sdp: Some(phone()),
        peer: PeerSupport::default(),
    };
    assert_eq!(world.sip(answered), ["relay take-answer sip", "-> proceed"]);
    world.jingle("session-initiate", &browser());
    world.answer_all();
    assert_eq!(world.translator.counters().tried_another, 2);
    let bye = FromAgent::Ended { dialog: DialogId(1 << 63 | 3), reason: Vec::new() };
    assert!(world.sip(bye).contains(&"-> session-terminate success".to_owned()));
    assert!(world.translator.is_idle());
}

#[test]
fn whoever_is_reached_has_the_last_word() {
    for (status, causes) in [(486, &[34][..]), (603, &[]), (404, &[]), (480, &[19])] {
        let mut world = World::with(two_trunks());
        propose(&mut world, ALICE, "100");
        let end = world.sip(failed_at(1, status, causes));
        assert!(end.iter().any(|line| line.starts_with("-> reject")), "{status}: {end:?}");
    }
    let mut world = World::with(two_trunks());
    propose(&mut world, ALICE, "100");
    let heard =
        FromAgent::Provisional { dialog: OURS, status: 183, to_tag: "t".into(), reliable: false, sdp: Some(phone()) };
    world.sip(heard);
    let end = world.sip(failed_at(1, 503, &[]));
    assert!(end.contains(&"-> reject connectivity-error".to_owned()), "{end:?}");
    // The caller gives up while the second is tried.
    let mut world = World::with(two_trunks());
    propose(&mut world, ALICE, "100");
    world.sip(failed_at(1, 503, &[]));
    world.message("retract", "");
    let last = world.sip_actions.last();
    assert!(matches!(last, Some(ToAgent::Cancel { dialog, .. }) if dialog.0 == 1 << 63 | 2), "{last:?}");
    assert!(world.translator.is_idle());
}

#[test]
fn a_user_calls_under_its_number_or_under_none() {
    let mut world = World::with(two_trunks());
    propose(&mut world, ALICE, "100");
    propose(&mut world, "eve@localhost/x", "100");
    propose(&mut world, "bob@localhost/x", "100");
    let seen: Vec<_> = invites(&world)
        .into_iter()
        .map(|invite| (invite.from, invite.from_display, invite.asserted_identity, invite.private))
        .collect();
    let (alice, eve) = ("sip:+4930123456@127.0.0.1".to_owned(), "sip:+4930123457@127.0.0.1".to_owned());
    let (nobody, bob) = ("sip:anonymous@anonymous.invalid".to_owned(), "sip:bob%40localhost@sip.localhost".to_owned());
    assert_eq!(seen[0], (alice.clone(), Some("alice".into()), Some(alice), false));
    assert_eq!(seen[1], (nobody, Some("Anonymous".into()), Some(eve), true));
    assert_eq!(seen[2], (bob.clone(), None, Some(bob), false));
    // Other anonymous callers are not taken for eve's call that came back, nor a call from alice's number for hers.
    for from in ["sip:anonymous@anonymous.invalid", "sip:+4930123456@127.0.0.1"] {
        let line = world.sip(invite_from(Some("phones"), from, "sip:+4930123457@gw", Some(phone())));
        assert!(line.contains(&"-> propose".to_owned()), "{from}: {line:?}");
        world.sip(FromAgent::Cancelled { dialog: THEIRS, reason: Vec::new() });
    }
    let back = invite_from(Some("phones"), "sip:bob%40localhost@sip.localhost", "sip:+4930123457@gw", Some(phone()));
    assert_eq!(world.sip(back), ["=> 482"]);
}

#[test]
fn a_number_is_dialled_with_and_without_separators() {
    for dialled in ["+49-30-1234567", "+49.30.1234567", "+49(30)1234567"] {
        let mut world = World::with(two_trunks());
        let lines = propose(&mut world, ALICE, dialled);
        assert!(lines.contains(&"=> INVITE sip:+49301234567@127.0.0.1:5081 sdp".to_owned()), "{dialled}: {lines:?}");
    }
}

#[test]
fn a_phone_reaches_a_user_by_number_or_by_keypad() {
    for called in [
        "sip:+4930123456@gw",
        "sip:+49-30-123456@gw;user=phone",
        "sip:004930123456@gw",
        "sip:030123456@gw",
        "tel:+49-30-123456",
        "sip:677875697134788169677874818586@gw",
    ] {
        let mut world = World::with(two_trunks());
        let lines = world.sip(invite_from(Some("phones"), "sip:0301234@127.0.0.1", called, Some(phone())));
        assert!(lines.contains(&"-> propose".to_owned()), "{called}: {lines:?}");
        let propose = world.last.take().expect("the proposal");
        assert_eq!(
            (propose.attr("to"), propose.attr("from")),
            (Some("alice@localhost"), Some("+49301234@sip.localhost/sip"))
        );
    }
    let mut world = World::with(two_trunks());
    assert_eq!(world.sip(invite_from(Some("phones"), "sip:1@b", "sip:+4930123458@gw", Some(phone()))), ["=> 404"]);
}

#[test]
fn a_caller_who_hides_is_anonymous_to_xmpp() {
    let mut world = World::with(two_trunks());
    let FromAgent::Invite(mut hidden) =
        invite_from(Some("phones"), "sip:+4930999@127.0.0.1", "sip:+4930123456@gw", Some(phone()))
    else {
        panic!("it is an INVITE");
    };
    hidden.private = true;
    hidden.asserted_identity = Some("sip:+4930999@127.0.0.1".into());
    world.sip(FromAgent::Invite(hidden));
    let propose = world.last.take().expect("the proposal");
    assert_eq!(propose.attr("from"), Some("anonymous@sip.localhost/sip"));
    assert!(!String::from(&propose).contains("4930999"));
}

#[test]
fn the_table_says_who_may_not_call() {
    let mut world = World::with(two_trunks());
    for (from, to) in [("alice@localhost/x", "+19005551234"), ("mallory@localhost/x", "100")] {
        assert_eq!(propose(&mut world, from, to), ["-> reject decline"], "{from} {to}");
    }
    let unwanted = invite_from(Some("phones"), "sip:+4930666123@127.0.0.1", "sip:+4930123456@gw", Some(phone()));
    assert_eq!(world.sip(unwanted), ["=> 403"]);
    assert_eq!(refused(&world, "denied"), 3);
    let lines =
        ["mallory@localhost/x to 100@sip.localhost: denied, by route 2", "127.0.0.1:5081 (phones, \"sip:+4930666123"];
    for line in lines {
        assert!(world.log.iter().any(|own| own.contains(line)), "{line} in {:?}", world.log);
    }
    assert_eq!(propose(&mut world, ALICE, "112"), ["-> reject decline"]);
    assert_eq!(refused(&world, "emergency"), 1);
}

#[test]
fn a_test_of_a_route_says_what_a_call_shows() {
    let config = two_trunks();
    let test = |from, to, trunk| route_test::route_test(&config, from, to, trunk);
    let verdict = test("eve@localhost/x", "100@sip.localhost", None).expect("addresses are right");
    assert_eq!((verdict.made, verdict.row), (true, Some(3)));
    let text = verdict.to_string();
    for line in [
        "route               3",
        "trunk               phones",
        "Request-URI         sip:100@127.0.0.1:5081",
        "From                \"Anonymous\" <sip:anonymous@anonymous.invalid>",
        "P-Asserted-Identity <sip:+4930123457@127.0.0.1>",
        "Privacy             id",
        "SIP media           RTP in clear",
        "trunk               backup",
        "XMPP sees           100@sip.localhost/sip",
        "XMPP media          DTLS-SRTP",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
    }
    let verdict = test("sip:0301234@127.0.0.1", "sip:030123456@gw", Some("phones")).expect("addresses are right");
    let text = verdict.to_string();
    for line in [
        "route               5",
        "XMPP callee         alice@localhost",
        "XMPP sees           +49301234@sip.localhost/sip",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
    }
    let verdict = test("mallory@localhost", "100@sip.localhost", None).expect("addresses are right");
    assert_eq!((verdict.made, verdict.row), (false, Some(2)));
    assert_eq!(verdict.lines[0], ("refused", "denied".to_owned()));
    assert!(test("a@b", "@", None).is_err() && test("sip:a@b", "sip:a@b", Some("x")).is_err());
    assert!(test("a@b", "c@d", Some("phones")).is_err());
}

#[test]
fn a_trunk_has_so_many_calls_and_then_the_next_has_them() {
    let mut config = two_trunks();
    for trunk in config.trunks.values_mut() {
        trunk.max_calls = 1;
    }
    let mut world = World::with(config);
    let callers = ["a@localhost/x", "b@localhost/x", "c@localhost/x"];
    let trunks: Vec<_> = callers
        .iter()
        .map(|caller| {
            propose(&mut world, caller, "100");
            invites(&world).pop().expect("it is called").trunk
        })
        .collect();
    assert_eq!(trunks, [Some("phones".to_owned()), Some("backup".to_owned()), None]);
    let incoming = || invite_from(Some("phones"), "sip:0301234@127.0.0.1", "sip:+4930123456@gw", Some(phone()));
    assert_eq!(world.sip(incoming()), ["=> 503"]);
    assert_eq!(refused(&world, "trunk-busy"), 1);
    // The first is out of reach: the second has no room, the third has. Then there is room in the first.
    assert_eq!(world.sip(failed_at(1, 503, &[])), ["=> INVITE sip:100@last.example sdp"]);
    assert_eq!(refused(&world, "trunk-busy"), 2);
    assert!(world.sip(incoming()).contains(&"-> propose".to_owned()));
    world.sip(FromAgent::Cancelled { dialog: THEIRS, reason: Vec::new() });
    assert!(world.sip(incoming()).contains(&"-> propose".to_owned()), "the room is given back");
}

#[test]
fn nobody_calls_more_often_in_a_minute_than_allowed() {
    let mut world = World::with(Config { max_attempts_per_user: 2, ..two_trunks() });
    for attempt in 0..2 {
        world.sid = format!("attempt-{attempt}");
        world.message("propose", AUDIO);
        world.message("retract", "");
        world.pass(std::time::Duration::from_secs(1));
    }
    world.sid = "third".into();
    assert_eq!(world.message("propose", AUDIO), ["-> reject busy"]);
    let session = format!(
        "<iq from='{ALICE}' to='{PHONE}' type='set'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' \
         sid='fourth'>{}</jingle></iq>",
        browser()
    );
    assert_eq!(world.stanza(&session), ["-> error resource-constraint"]);
    assert_eq!(refused(&world, "user-too-often"), 2);
    let incoming = || invite_from(Some("phones"), "sip:0301234@127.0.0.1", "sip:+4930123456@gw", Some(phone()));
    for _ in 0..2 {
        assert!(world.sip(incoming()).contains(&"-> propose".to_owned()), "being called is another thing");
        world.sip(FromAgent::Cancelled { dialog: THEIRS, reason: Vec::new() });
    }
    assert_eq!(world.sip(incoming()), ["=> 486"]);
    world.pass(std::time::Duration::from_secs(60));
    assert!(world.sip(incoming()).contains(&"-> propose".to_owned()));

    let mut config = two_trunks();
    config.trunks.get_mut("phones").expect("it is there").max_attempts = 1;
    let mut world = World::with(config);
    propose(&mut world, ALICE, "100");
    propose(&mut world, "bob@localhost/x", "100");
    assert_eq!(invites(&world).last().and_then(|invite| invite.trunk.clone()).as_deref(), Some("backup"));
    assert_eq!(world.sip(incoming()), ["=> 503"]);
    assert_eq!(refused(&world, "trunk-too-often"), 1);
}

#[test]
fn keys_are_offered_beside_a_plain_profile_where_they_are_preferred() {
    let mut config = two_trunks();
    config.trunks.get_mut("phones").expect("it is there").media = TrunkMedia::Osrtp;
    let mut world = World::with(config);
    propose(&mut world, ALICE, "100");
    let Some(model::Command::CreateCall { legs, .. }) = world.commands.first() else { panic!("a call is made") };
    let sip = &legs[1];
    assert_eq!((sip.security.as_slice(), sip.offers_all), (&[model::Security::Rtp, model::Security::Sdes][..], true));
}
