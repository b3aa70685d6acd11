//! Calls that are not even begun.

use signaling::{Config, RouteTable};
use sip::message::{FromAgent, InDialogId, IncomingInvite, Replaced};

use crate::world::*;

fn changed(event: FromAgent, change: impl FnOnce(&mut IncomingInvite)) -> FromAgent {
    let FromAgent::Invite(mut invite) = event else { panic!("it is an INVITE") };
    change(&mut invite);
    FromAgent::Invite(invite)
}

#[test]
fn a_call_from_sip_is_refused_with_its_status() {
    let mut world = World::new();
    let base = || invite(Some(phone()));
    let to = |uri: &str| invite_from(Some("phones"), "sip:100@127.0.0.1", uri, Some(phone()));
    for (event, status) in [
        (changed(base(), |invite| invite.max_forwards = 0), 483),
        (changed(base(), |invite| invite.replaces = Some(Replaced { dialog: OURS, early_only: false })), 603),
        (invite_from(None, "sip:x@evil.example", "sip:alice@127.0.0.1", Some(phone())), 403),
        (to("sips:alice@127.0.0.1"), 480),
        (to("im:alice@127.0.0.1"), 416),
        (to("https://127.0.0.1"), 416),
        (to("sip:a b@c"), 400),
        (to("sip:127.0.0.1"), 404),
        (to("sip:%20x@127.0.0.1"), 404),
        (to("sip:%FF@127.0.0.1"), 400),
        (to("sip:%00@127.0.0.1"), 404),
        (invite(Some("garbage".into())), 400),
        (invite(Some(phone().replace("m=audio 7000", "m=audio 0"))), 488),
        (invite(Some(phone().replace("m=audio", "m=application"))), 488),
        (invite(Some(sdp("101", ""))), 488),
    ] {
        assert_eq!(world.sip(event.clone()), [format!("=> {status}")], "{event:?}");
    }
    assert!(world.translator.is_idle());
    assert_eq!(world.translator.counters().from_sip.started, 0);
    assert_eq!(world.translator.counters().refused.get("no-media"), Some(&3));
}

#[test]
fn without_a_stream_to_the_server_nobody_can_be_called() {
    let mut world = World::new();
    world.translator.handle_xmpp_link(false, world.now);
    assert_eq!(world.sip(invite(Some(phone()))), ["=> 503"]);
    world.translator.handle_xmpp_link(true, world.now);
    assert_eq!(world.sip(invite(Some(phone()))).last().map(String::as_str), Some("-> propose"));
}

#[test]
fn a_call_goes_on_while_the_server_is_away() {
    let mut world = World::new();
    world.call_from_sip();
    world.translator.handle_xmpp_link(false, world.now);
    assert!(!world.translator.is_idle());
    assert_eq!(world.finish(), [""; 0]);
}

#[test]
fn a_session_is_refused_with_its_error() {
    let mut world = World::new();
    world.sid = "session-1".into();
    let to = |user: &str, from: &str, attributes: &str| {
        format!(
            "<iq from='{from}' to='{user}' type='set'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate' \
             sid='$sid' {attributes}>{}</jingle></iq>",
            browser()
        )
    };
    for (xml, error) in [
        (to("bob@sip.localhost/sip", ALICE, ""), "item-not-found"),
        (to("sip.localhost", ALICE, ""), "item-not-found"),
        (to(PHONE, "200@sip.localhost/sip", ""), "not-acceptable"),
        (to(PHONE, ALICE, "initiator='mallory@localhost/x'"), "not-allowed"),
    ] {
        assert_eq!(world.stanza(&xml), [format!("-> error {error}")], "{xml}");
    }
    assert!(world.translator.is_idle());
}

#[test]
fn a_proposal_is_refused_with_its_reason() {
    let mut world = World::new();
    world.sid = "session-1".into();
    let propose = |to: &str| {
        format!(
            "<message from='{ALICE}' to='{to}' type='chat'><propose xmlns='urn:xmpp:jingle-message:0' \
             id='$sid'>{AUDIO}</propose></message>"
        )
    };
    assert_eq!(world.stanza(&propose("bob@sip.localhost")), ["-> reject gone"]);
    assert_eq!(world.stanza(&propose("sip.localhost")), ["-> reject gone"]);
    assert!(world.translator.is_idle());
}

#[test]
fn what_cannot_be_read_or_is_about_nothing_is_answered() {
    let mut world = World::new();
    world.sid = "nothing".into();
    assert_eq!(world.jingle("session-terminate", ""), ["-> error item-not-found unknown-session"]);
    assert_eq!(world.jingle("session-info", ""), ["-> error item-not-found unknown-session"]);
    assert_eq!(world.jingle("dance", ""), ["-> error bad-request"]);
    assert_eq!(world.jingle("session-initiate", ""), ["-> error bad-request"]);
    assert_eq!(world.jingle("session-initiate", "<content creator='initiator'/>"), ["-> error bad-request"]);
    assert_eq!(world.message("retract", ""), [""; 0]);
    let dialog = OURS;
    let request = InDialogId(3);
    assert_eq!(world.sip(FromAgent::Reinvited { dialog, request, sdp: None }), ["=> in dialog 481"]);
    assert_eq!(
        world.sip(FromAgent::Info { dialog, request, content_type: String::new(), body: Vec::new() }),
        ["=> in dialog 481"]
    );
    assert_eq!(world.sip(FromAgent::Ended { dialog, reason: Vec::new() }), [""; 0]);
}

#[test]
fn a_session_belongs_to_the_device_that_began_it() {
    let mut world = World::new();
    world.call_from_xmpp();
    for from in ["alice@localhost/tablet", "mallory@localhost/phone"] {
        assert_eq!(
            world.jingle_from(from, "session-terminate", ""),
            ["-> error item-not-found unknown-session"],
            "{from}"
        );
    }
    assert!(!world.translator.is_idle());
}

#[test]
fn calls_are_limited_in_all_and_for_each_user() {
    let mut world = World::with(Config { max_calls: 3, max_calls_per_user: 2, ..config() });
    let propose = |world: &mut World, user: &str, sid: &str| {
        world.sid = sid.into();
        world.message_from(&format!("{user}@localhost/x"), "propose", AUDIO).last().cloned().unwrap_or_default()
    };
    for sid in ["1", "2"] {
        assert!(propose(&mut world, "alice", sid).starts_with("=> INVITE"));
    }
    assert_eq!(propose(&mut world, "alice", "3"), "-> reject busy");
    assert_eq!(world.sip(invite(Some(phone()))), ["=> 486"], "in both directions");
    assert!(propose(&mut world, "bob", "4").starts_with("=> INVITE"));
    assert_eq!(propose(&mut world, "carol", "5"), "-> reject connectivity-error");
    assert_eq!(world.sip(invite(Some(phone()))), ["=> 503"]);
    let counters = world.translator.counters();
    assert_eq!(counters.refused.get("user-busy"), Some(&2));
    assert_eq!(counters.refused.get("too-many-calls"), Some(&2));
    world.translator.stop(world.now);
    world.finish();
    assert_eq!(propose(&mut world, "carol", "6"), "-> reject gone");
    assert_eq!(world.sip(invite(Some(phone()))), ["=> 480"]);
}

#[test]
fn strangers_are_limited_by_their_address() {
    let routes = RouteTable::new(&[row("sip", "(.+)", "xmpp:{1}@localhost")], &[]).expect("the row is right");
    let mut world = World::with(Config { max_half_open_per_source: 2, ..Config::new("sip.localhost", routes) });
    let call = |number: u64, user: &str| {
        let to = format!("sip:{user}@127.0.0.1");
        changed(invite_from(None, "sip:x@example.org", &to, Some(phone())), |invite| {
            invite.dialog = sip::message::DialogId(number);
        })
    };
    for (number, user) in [(1, "alice"), (2, "bob")] {
        let actions = world.sip(call(number, user));
        assert_eq!(actions.last().map(String::as_str), Some("-> propose"));
    }
    let propose = String::from(world.last.as_ref().expect("a stanza was sent")).replace('"', "'");
    assert!(propose.contains("from='x\\40example.org@sip.localhost/sip'"), "{propose}");
    assert_eq!(world.sip(call(3, "carol")), ["=> 503"]);
    world.sip(FromAgent::Cancelled { dialog: sip::message::DialogId(1), reason: Vec::new() });
    assert_eq!(world.sip(call(4, "carol")).last().map(String::as_str), Some("-> propose"));
}

#[test]
fn a_call_that_comes_back_is_a_loop() {
    let mut world = World::new();
    world.sid = "session-1".into();
    world.message("propose", AUDIO);
    let back = |to: &str| invite_from(Some("phones"), "sip:alice%40localhost@SIP.localhost", to, Some(phone()));
    assert_eq!(world.sip(back("sip:bob@127.0.0.1")), ["=> 482"]);

    let rows = [row("trunk:phones", "(.+)", "xmpp:{1}@sip.localhost"), row("xmpp", "(.+)@(.+)", "sip:{1}@{2}")];
    let routes = RouteTable::new(&rows, &["phones"]).expect("the rows are right");
    let mut world = World::with(Config { routes, ..config() });
    assert_eq!(world.sip(invite(Some(phone()))), ["=> 482"], "to ourselves");
    world.sid = "session-1".into();
    let to_us = format!(
        "<message from='{ALICE}' to='x\\40sip.localhost@sip.localhost' type='chat'>\
         <propose xmlns='urn:xmpp:jingle-message:0' id='$sid'>{AUDIO}</propose></message>"
    );
    assert_eq!(world.stanza(&to_us), ["-> reject general-error"]);
}

#[test]
fn an_escaped_address_is_called_directly() {
    let routes = RouteTable::new(&[row("xmpp", "(.+)@(.+)", "sip:{1}@{2}")], &[]).expect("the row is right");
    let mut world = World::with(Config::new("sip.localhost", routes));
    world.sid = "session-1".into();
    let xml = format!(
        "<message from='{ALICE}' to='romeo\\40sip.example@sip.localhost' type='chat'>\
         <propose xmlns='urn:xmpp:jingle-message:0' id='$sid'>{AUDIO}</propose></message>"
    );
    assert_eq!(world.stanza(&xml).last().map(String::as_str), Some("=> INVITE sip:romeo@sip.example sdp"));
}
