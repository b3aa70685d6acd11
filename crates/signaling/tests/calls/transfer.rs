//! Somebody else takes the place of the SIP side's peer, or is asked to call somebody else.

use std::time::Duration;

use model::{CommandError, News};
use sip::message::{DialogId, Failure, FromAgent, InDialogId, IncomingInvite, PeerSupport, Replaced, ToAgent};
use sip::transfer::ReferTo;

use crate::world::*;

/// The dialog with the target of the first transfer.
const TARGET: DialogId = DialogId(1 << 63 | 2);

fn refer(dialog: DialogId, refer_to: &str) -> FromAgent {
    FromAgent::Refer {
        dialog,
        request: InDialogId(9),
        refer_to: ReferTo::parse(refer_to).expect("a target"),
        replaced: None,
        referred_by: Some("<sip:100@127.0.0.1>".into()),
    }
}

fn provisional(status: u16) -> FromAgent {
    FromAgent::Provisional { dialog: TARGET, status, to_tag: "t".into(), reliable: false, sdp: None }
}

fn answered_by_target(sdp: String) -> FromAgent {
    FromAgent::Answered { dialog: TARGET, to_tag: "t".into(), sdp: Some(sdp), peer: PeerSupport::default() }
}

fn ended(dialog: DialogId) -> FromAgent {
    FromAgent::Ended { dialog, reason: Vec::new() }
}

/// A call of the client to 100, which transfers it to 200.
fn being_transferred() -> World {
    let mut world = World::new();
    world.call_from_xmpp();
    assert_eq!(
        world.sip(refer(OURS, "<sip:200@127.0.0.1:5081?Replaces=c%3Bto-tag%3Da%3Bfrom-tag%3Db>")),
        ["=> in dialog 202", "relay renew sip", "relay give-offer sip", "=> INVITE sip:200@127.0.0.1:5081 sdp"]
    );
    world
}

#[test]
fn a_phone_transfers_the_client_to_another() {
    let mut world = being_transferred();
    let Some(ToAgent::Invite(invite)) = world.sip_actions.last() else { panic!("an INVITE") };
    assert_eq!(invite.referred_by.as_deref(), Some("<sip:100@127.0.0.1>"), "as it came");
    assert_eq!(invite.replaces.as_ref().map(|replaces| replaces.call_id.as_str()), Some("c"));
    assert_eq!(invite.from, "sip:alice%40localhost@sip.localhost");
    assert!(world.sdp.contains("RTP/AVP 8 0 126"), "what the client has agreed on: {}", world.sdp);
    assert_eq!(world.sip(provisional(180)), ["=> NOTIFY 180"]);
    assert_eq!(world.sip(answered_by_target(sdp("0 101", ""))), ["relay take-answer sip", "=> NOTIFY 200 last"]);
    assert_eq!(world.sip(ended(OURS)), [""; 0], "whoever transferred it has left");
    // From here on it is a call like any other.
    world.jingle("session-info", "<hold xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>");
    let Some(ToAgent::Reinvite { dialog: TARGET, .. }) = world.sip_actions.last() else { panic!("a re-INVITE") };
    let held = FromAgent::ReinviteAnswered { dialog: TARGET, sdp: Some(sdp("0 126", "a=recvonly\r\n")) };
    assert_eq!(world.sip(held), ["relay take-answer sip"]);
    assert_eq!(world.sip(ended(TARGET)), ["-> session-terminate success", "-> finish success", "relay end"]);
    assert!(world.translator.is_idle());
}

#[test]
fn who_does_not_leave_after_a_transfer_is_hung_up_on() {
    let mut world = being_transferred();
    world.sip(answered_by_target(phone()));
    assert_eq!(world.sip(refer(OURS, "sip:300@127.0.0.1:5081")), ["=> in dialog 603"], "it has no call any more");
    assert_eq!(world.pass(Duration::from_secs(10)), ["=> BYE"]);
    assert_eq!(world.sip(ended(OURS)), [""; 0]);
    let lines = world.jingle("session-terminate", "<reason><success/></reason>");
    assert_eq!(lines, ["-> result", "-> finish success", "=> BYE 16", "relay end"]);
}

#[test]
fn a_transfer_that_fails_leaves_the_call_with_whom_it_had() {
    let fail = |status| FromAgent::Failed { dialog: TARGET, failure: failure(status) };
    let mut world = being_transferred();
    assert_eq!(world.sip(fail(486)), ["relay rollback sip", "=> NOTIFY 486 last"]);
    assert_eq!(world.sip(FromAgent::Reinvited { dialog: OURS, request: InDialogId(7), sdp: Some(phone()) }).len(), 3);
    assert!(!world.translator.is_idle());
    // No answer that can be used, and none at all.
    let mut world = being_transferred();
    assert_eq!(world.sip(answered_by_target(sdp("18", ""))), ["=> BYE", "relay rollback sip", "=> NOTIFY 488 last"]);
    let mut world = being_transferred();
    assert_eq!(world.pass(Duration::from_secs(180)), ["relay rollback sip", "=> CANCEL 487 19", "=> NOTIFY 408 last"]);
    // The relay cannot.
    for command in ["renew sip", "give-offer sip"] {
        let mut world = World::new();
        world.call_from_xmpp();
        world.failures.insert(command.into(), CommandError::NoFreePort);
        let lines = world.sip(refer(OURS, "sip:200@127.0.0.1:5081"));
        assert_eq!(lines.last().map(String::as_str), Some("=> NOTIFY 500 last"), "{command}: {lines:?}");
        assert!(!world.translator.is_idle());
    }
    // Whoever transferred the call has left before: nobody remains.
    let mut world = being_transferred();
    assert_eq!(world.sip(ended(OURS)), [""; 0]);
    let lines = world.sip(fail(486));
    assert_eq!(lines, ["relay rollback sip", "-> session-terminate busy", "-> finish busy", "relay end"]);
}

#[test]
fn who_left_early_may_be_followed_by_the_target() {
    let mut world = being_transferred();
    world.sip(ended(OURS));
    assert_eq!(world.sip(provisional(180)), [""; 0], "nobody to tell");
    assert_eq!(world.news(News::MediaTimeout { leg: SIP }), [""; 0], "nobody to be heard");
    assert_eq!(world.sip(answered_by_target(phone())), ["relay take-answer sip"]);
    assert_eq!(world.sip(ended(TARGET)).last().map(String::as_str), Some("relay end"));
}

#[test]
fn a_call_that_ends_takes_its_transfer_with_it() {
    let mut world = being_transferred();
    assert_eq!(
        world.jingle("session-terminate", "<reason><success/></reason>"),
        ["-> result", "-> finish success", "=> BYE 16", "=> CANCEL 487 16", "relay end"]
    );
    assert_eq!(world.sip(answered_by_target(phone())), ["=> BYE"], "it crossed the CANCEL");
}

#[test]
fn a_transfer_needs_a_route_and_a_quiet_moment() {
    let mut world = World::new();
    world.call_from_xmpp();
    for target in ["sip:nobody@127.0.0.1:5081", "sip:alice@localhost", "sip:200@elsewhere.example"] {
        assert_eq!(world.sip(refer(OURS, target)), ["=> in dialog 603"], "{target}");
    }
    world.jingle("session-info", "<hold xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>");
    assert_eq!(world.sip(refer(OURS, "sip:200@127.0.0.1:5081")), ["=> in dialog 491"]);
    let mut busy = being_transferred();
    assert_eq!(busy.sip(refer(OURS, "sip:300@127.0.0.1:5081")), ["=> in dialog 491"], "one at a time");
    let reinvited = FromAgent::Reinvited { dialog: OURS, request: InDialogId(7), sdp: Some(phone()) };
    assert_eq!(busy.sip(reinvited), ["=> in dialog 491"]);
}

const TAKER: DialogId = DialogId(7);

fn take_over(trunk: Option<&str>, sdp: Option<String>) -> FromAgent {
    let FromAgent::Invite(invite) = invite_from(trunk, "sip:101@127.0.0.1:5081", "sip:alice@127.0.0.1:5060", sdp)
    else {
        panic!("an INVITE")
    };
    let replaces = Some(Replaced { dialog: THEIRS, early_only: false });
    FromAgent::Invite(IncomingInvite { dialog: TAKER, replaces, ..invite })
}

#[test]
fn another_phone_takes_the_call_over() {
    let mut world = World::new();
    world.call_from_sip();
    assert_eq!(world.sip(take_over(None, Some(phone()))), ["=> 403"], "a stranger");
    assert_eq!(world.sip(take_over(Some("phones"), None)), ["=> 488"], "without an offer");
    assert_eq!(
        world.sip(take_over(Some("phones"), Some(sdp("8 101", "")))),
        ["relay renew sip", "relay take-offer sip", "relay give-answer sip", "=> 200 sdp", "=> BYE"]
    );
    assert_eq!(world.sip(ended(THEIRS)), [""; 0]);
    assert_eq!(world.sip(FromAgent::Acknowledged { dialog: TAKER, sdp: None }), [""; 0]);
    assert_eq!(world.sip(ended(TAKER)), ["-> session-terminate success", "-> finish success", "relay end"]);
    // Or it does not.
    let mut world = World::new();
    world.call_from_sip();
    let lines = world.sip(take_over(Some("phones"), Some(sdp("18", ""))));
    assert_eq!(lines, ["relay renew sip", "relay take-offer sip", "relay rollback sip", "=> 488"]);
    world.mode = RelayMode::Late;
    world.sip(take_over(Some("phones"), Some(phone())));
    let given_up = FromAgent::Cancelled { dialog: TAKER, reason: Vec::new() };
    assert_eq!(world.sip(given_up.clone()), ["relay rollback sip"]);
    assert!(!world.translator.is_idle());
    // Or not, and the one before has gone as well.
    let mut world = World::new();
    world.call_from_sip();
    world.mode = RelayMode::Late;
    world.sip(take_over(Some("phones"), Some(phone())));
    assert_eq!(world.sip(ended(THEIRS)), [""; 0], "the other one is on its way");
    let lines = ["relay rollback sip", "-> session-terminate success", "-> finish success", "relay end"];
    assert_eq!(world.sip(given_up), lines);
}

/// A call from a phone that can be asked to call somebody else.
fn from_a_phone_that_refers() -> World {
    let mut world = World::new();
    let FromAgent::Invite(invite) = invite(Some(phone())) else { panic!("an INVITE") };
    let peer = PeerSupport { refer: true, ..PeerSupport::default() };
    world.sip(FromAgent::Invite(IncomingInvite { peer, ..invite }));
    world.message("proceed", "");
    world.answer_all();
    world.jingle("session-accept", &content_with(PCMU, "active"));
    world.answer_all();
    world
}

fn transfer_to(target: &str) -> String {
    format!("<transfer xmlns='urn:xmpp:jingle:transfer:0' to='{target}'/>")
}

#[test]
fn the_client_transfers_the_phone() {
    for (target, uri) in
        [("200@sip.localhost", "sip:200@127.0.0.1:5081"), ("bob@localhost/desk", "sip:bob%40localhost@sip.localhost")]
    {
        let mut world = from_a_phone_that_refers();
        let lines = world.jingle("session-info", &transfer_to(target));
        assert_eq!(lines, ["-> result".to_owned(), format!("=> REFER {uri}")]);
        assert_eq!(
            world.jingle("session-info", &transfer_to(target)),
            ["-> error feature-not-implemented unsupported-info"],
            "once"
        );
        let progress = |status, finished| FromAgent::ReferProgress { dialog: THEIRS, status, finished };
        assert_eq!(world.sip(progress(202, false)), [""; 0]);
        assert_eq!(world.sip(progress(180, false)), [""; 0]);
        assert_eq!(
            world.sip(progress(200, true)),
            ["-> session-terminate success", "-> finish success", "=> BYE 16", "relay end"]
        );
        let terminate = world.iqs.last().expect("a session-terminate");
        assert!(format!("{terminate:?}").contains("is_transferred: true"), "{terminate:?}");
    }
}

#[test]
fn a_phone_that_is_not_transferred_stays() {
    let mut world = from_a_phone_that_refers();
    world.jingle("session-info", &transfer_to("200@sip.localhost"));
    let failed = FromAgent::ReferProgress { dialog: THEIRS, status: 486, finished: true };
    assert_eq!(world.sip(failed), ["-> session-info Unhold"]);
    assert_eq!(
        world.jingle("session-info", &transfer_to("nobody@sip.localhost")),
        ["-> error item-not-found"],
        "no route"
    );
    let mut plain = World::new();
    plain.call_from_sip();
    assert_eq!(
        plain.jingle("session-info", &transfer_to("200@sip.localhost")),
        ["-> error feature-not-implemented unsupported-info"],
        "a phone that cannot"
    );
}

#[test]
fn the_client_joins_two_phones_of_its_own() {
    let mut world = from_a_phone_that_refers();
    let sid = world.sid.clone();
    world.sid = "second".into();
    world.message("propose", AUDIO);
    world.sip(answered(phone()));
    world.jingle("session-initiate", &browser());
    world.answer_all();
    world.sid = sid;
    let transfer = |sid: &str| {
        format!("<transfer xmlns='urn:xmpp:jingle:transfer:0' from='{ALICE}' to='100@sip.localhost' sid='{sid}'/>")
    };
    assert_eq!(
        world.jingle("session-info", &transfer("none")),
        ["-> error item-not-found unknown-session"],
        "no such session of hers"
    );
    assert_eq!(
        world.jingle("session-info", &transfer("second")),
        ["-> result", "=> REFER sip:100@127.0.0.1:5081 replacing"]
    );
    let Some(ToAgent::Refer { replaces: Some(OURS), dialog: THEIRS, .. }) = world.sip_actions.last() else {
        panic!("the other call is to be replaced: {:?}", world.sip_actions.last());
    };
}

#[test]
fn a_redirection_is_followed_to_where_the_caller_may_call() {
    let redirected = |dialog, contacts: &[&str]| {
        let contacts = contacts.iter().map(|contact| (*contact).to_owned()).collect();
        FromAgent::Failed { dialog, failure: Failure { contacts, ..failure(302) } }
    };
    let calling = || {
        let mut world = World::new();
        world.sid = "session-1".into();
        world.message("propose", AUDIO);
        world
    };
    let mut world = calling();
    let far = ["sip:x@elsewhere.example", "sip:200@127.0.0.1:5081", "sip:201@127.0.0.1:5081"];
    assert_eq!(world.sip(redirected(OURS, &far)), ["=> INVITE sip:200@127.0.0.1:5081 sdp"]);
    let busy = FromAgent::Failed { dialog: TARGET, failure: failure(503) };
    assert_eq!(world.sip(busy), ["=> INVITE sip:201@127.0.0.1:5081 sdp"], "the next of those that were named");
    // Round and round.
    let again =
        |world: &mut World, number: u64| world.sip(redirected(DialogId(1 << 63 | number), &["sip:200@127.0.0.1:5081"]));
    assert_eq!(again(&mut world, 3), ["=> INVITE sip:200@127.0.0.1:5081 sdp"]);
    assert_eq!(again(&mut world, 4), ["=> INVITE sip:200@127.0.0.1:5081 sdp"]);
    assert_eq!(again(&mut world, 5), ["-> reject gone", "relay end"], "three times");
    // Nowhere, and not at all.
    for contacts in [&[][..], &["sip:x@elsewhere.example"][..], &["mailto:x@example.org"][..]] {
        assert_eq!(calling().sip(redirected(OURS, contacts)), ["-> reject gone", "relay end"], "{contacts:?}");
    }
    let mut strict = World::with(signaling::Config { follow_redirects: false, ..config() });
    strict.sid = "session-1".into();
    strict.message("propose", AUDIO);
    assert_eq!(strict.sip(redirected(OURS, &far)), ["-> reject gone", "relay end"]);
}
