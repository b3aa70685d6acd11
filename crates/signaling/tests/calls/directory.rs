//! Presence, service discovery and the small questions.

use std::time::{Duration, UNIX_EPOCH};

use crate::world::*;

fn query(to: &str, kind: &str, inside: &str) -> String {
    format!("<iq from='{ALICE}' to='{to}' type='{kind}'>{inside}</iq>")
}

#[test]
fn a_subscription_is_granted_returned_and_answered_with_presence() {
    let mut world = World::new();
    let subscribe = "<presence from='alice@localhost' to='100@sip.localhost' type='subscribe'/>";
    assert_eq!(world.stanza(subscribe), ["-> presence subscribed", "-> presence subscribe", "-> presence available"]);
    let available = String::from(world.last.as_ref().expect("a stanza was sent")).replace('"', "'");
    assert!(available.contains("from='100@sip.localhost/sip'") && available.contains("<c "), "{available}");
    let probe = "<presence from='alice@localhost' to='100@sip.localhost' type='probe'/>";
    assert_eq!(world.stanza(probe), ["-> presence available"]);
    assert_eq!(String::from(world.last.as_ref().expect("a stanza was sent")).replace('"', "'"), available);
    let unsubscribe = "<presence from='alice@localhost' to='100@sip.localhost' type='unsubscribe'/>";
    assert_eq!(world.stanza(unsubscribe), ["-> presence unsubscribed"]);
    for silent in ["subscribed", "unsubscribed", "unavailable"] {
        let presence = format!("<presence from='alice@localhost' to='100@sip.localhost' type='{silent}'/>");
        assert_eq!(world.stanza(&presence), [""; 0]);
    }
    let probe = "<presence from='alice@localhost' to='sip.localhost' type='probe'/>";
    assert_eq!(world.stanza(probe), ["-> presence available"], "the gateway itself");
}

#[test]
fn caps_lead_to_the_features_that_show_a_call_button() {
    let mut world = World::new();
    world.stanza("<presence from='alice@localhost' to='100@sip.localhost' type='probe'/>");
    let presence = world.last.clone().expect("a stanza was sent");
    let caps = presence.children().next().expect("it has caps");
    let node = format!("{}#{}", caps.attr("node").unwrap_or_default(), caps.attr("ver").unwrap_or_default());
    let info = format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/>");
    assert_eq!(world.stanza(&query(PHONE, "get", &info)), ["-> result query"]);
    let answer = world.last.clone().expect("a stanza was sent");
    let info =
        xmpp::disco::DiscoInfo::parse(answer.children().next().expect("it has a query")).expect("it is disco#info");
    assert!(info.can_call() && info.can_be_proposed_to());
    assert_eq!(Some(info.ver().as_str()), caps.attr("ver"));
    let unknown = "<query xmlns='http://jabber.org/protocol/disco#info' node='other#x'/>";
    assert_eq!(world.stanza(&query(PHONE, "get", unknown)), ["-> error item-not-found"]);
}

#[test]
fn each_question_gets_one_answer() {
    let mut world = World::new();
    for (to, kind, inside, answer) in [
        ("sip.localhost", "get", "<query xmlns='http://jabber.org/protocol/disco#info'/>", "-> result query"),
        ("sip.localhost", "get", "<query xmlns='http://jabber.org/protocol/disco#items'/>", "-> result query"),
        (PHONE, "get", "<ping xmlns='urn:xmpp:ping'/>", "-> result"),
        (PHONE, "get", "<query xmlns='jabber:iq:version'/>", "-> result query"),
        ("sip.localhost", "get", "<query xmlns='jabber:iq:gateway'/>", "-> result query"),
        ("sip.localhost", "set", "<query xmlns='jabber:iq:gateway'><prompt>+1-555</prompt></query>", "-> result query"),
        (
            "sip.localhost",
            "set",
            "<query xmlns='jabber:iq:gateway'><prompt> </prompt></query>",
            "-> error jid-malformed",
        ),
        (PHONE, "get", "<query xmlns='jabber:iq:gateway'/>", "-> error service-unavailable"),
        (PHONE, "get", "<time xmlns='urn:xmpp:time'/>", "-> error service-unavailable"),
        (PHONE, "get", "<vCard xmlns='vcard-temp'/>", "-> error service-unavailable"),
        (PHONE, "set", "<x xmlns='urn:x'/>", "-> error service-unavailable"),
    ] {
        assert_eq!(world.stanza(&query(to, kind, inside)), [answer], "{inside}");
    }
}

#[test]
fn a_message_is_answered_only_if_somebody_wrote_it() {
    let mut world = World::new();
    let message =
        |kind: &str, inside: &str| format!("<message from='{ALICE}' to='{PHONE}' type='{kind}'>{inside}</message>");
    assert_eq!(world.stanza(&message("chat", "<body>hello</body>")), ["-> error service-unavailable"]);
    assert_eq!(world.stanza(&message("chat", "<received xmlns='urn:xmpp:receipts'/>")), [""; 0]);
    assert_eq!(world.stanza(&message("headline", "<body>news</body>")), [""; 0]);
    assert_eq!(world.stanza(&message("error", "<error type='cancel'/>")), [""; 0]);
}

#[test]
fn a_hash_is_asked_about_once() {
    let mut world = World::new();
    let info = xmpp::disco::DiscoInfo::user(false);
    let presence = |user: &str| {
        let ver = info.ver();
        format!(
            "<presence from='{user}@localhost/x' to='100@sip.localhost'><c \
             xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:x' ver='{ver}'/></presence>"
        )
    };
    assert_eq!(world.stanza(&presence("alice")), ["-> query http://jabber.org/protocol/disco#info"]);
    let asked = world.iqs.remove(0);
    let answer = asked.result(Some(info.to_element()));
    world.translator.handle_stanza(answer, world.now);
    assert_eq!(world.stanza(&presence("bob")), [""; 0]);
    assert_eq!(world.stanza("<presence from='alice@localhost/x' to='100@sip.localhost' type='unavailable'/>"), [""; 0]);
    assert_eq!(world.stanza(&presence("alice")), [""; 0]);
}

#[test]
fn a_device_without_proposals_is_called_as_soon_as_it_is_known() {
    let mut world = World::new();
    let mut info = xmpp::disco::DiscoInfo::user(false);
    info.features.retain(|feature| feature != "urn:xmpp:jingle-message:0");
    let actions = world.sip(invite(Some(phone())));
    assert_eq!(actions.first().map(String::as_str), Some("-> presence probe"), "nobody is known");
    assert_eq!(actions.last().map(String::as_str), Some("-> propose"));
    world.stanza("<presence from='alice@localhost/phone' to='100@sip.localhost'/>");
    let answer = world.iqs.remove(0).result(Some(info.to_element()));
    world.translator.handle_stanza(answer, world.now);
    assert_eq!(world.finish(), ["-> retract cancel", "relay give-offer jingle", "-> session-initiate"]);
}

#[test]
fn a_device_that_rings_for_a_proposal_is_not_passed_over() {
    let mut world = World::new();
    let mut info = xmpp::disco::DiscoInfo::user(false);
    info.features.retain(|feature| feature != "urn:xmpp:jingle-message:0");
    world.sip(invite(Some(phone())));
    world.message("ringing", "");
    world.stanza("<presence from='alice@localhost/desk' to='100@sip.localhost'/>");
    let answer = world.iqs.remove(0).result(Some(info.to_element()));
    world.translator.handle_stanza(answer, world.now);
    assert_eq!(world.finish(), [""; 0]);
}

#[test]
fn who_asks_for_the_time_is_told_it_where_it_is_known() {
    let begun = World::new().now;
    let clock = Some((begun, UNIX_EPOCH + Duration::from_secs(1_166_549_915)));
    let mut world = World::with(signaling::Config { clock, ..config() });
    world.now = begun + Duration::from_secs(60);
    assert_eq!(world.stanza(&query(PHONE, "get", "<time xmlns='urn:xmpp:time'/>")), ["-> result time"]);
    let told = String::from(world.last.as_ref().expect("a stanza"));
    assert!(told.contains("2006-12-19T17:39:35Z"), "{told}");
}
