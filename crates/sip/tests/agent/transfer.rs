//! Transfers: REFER and NOTIFY (RFC 3515), calls that replace others (RFC 3891).

use sip::agent::Transport;
use sip::message::{DialogId, FromAgent, InDialogId, OutgoingInvite, PeerSupport, Reason, Response, ToAgent};
use sip::transfer::{ReferTo, Replaces};

use crate::odd::{answered_by_agent, answered_by_peer, called, calling, contact};
use crate::peer::{Message, Peer};
use crate::{Side, T1, connect, invite, pair, sdp};

/// A request of the peer in the call that it made.
fn within(peer: &Peer, ok: &Message, method: &str, number: u32, more: &str) -> String {
    peer.request_in(method, number, ("sip:stox@127.0.0.1", "c1", "a1", ok.tag("To")), more, "")
}

/// A NOTIFY of the peer in the call that the agent made.
fn told(peer: &Peer, refer: &Message, number: u32, event: &str, state: &str, body: &str) -> String {
    let dialog = (refer.uri(), refer.required("Call-ID"), refer.tag("To"), refer.tag("From"));
    let more = format!("Event: {event}\r\nSubscription-State: {state}\r\nContent-Type: message/sipfrag\r\n");
    peer.request_in("NOTIFY", number, dialog, &more, body)
}

async fn referred(side: &mut Side) -> (InDialogId, ReferTo, Option<DialogId>, Option<String>) {
    match side.news().await {
        FromAgent::Refer { request, refer_to, replaced, referred_by, .. } => (request, refer_to, replaced, referred_by),
        other => panic!("expected a REFER, got {other:?}"),
    }
}

async fn progress(side: &mut Side) -> (u16, bool) {
    match side.news().await {
        FromAgent::ReferProgress { status, finished, .. } => (status, finished),
        other => panic!("expected progress, got {other:?}"),
    }
}

#[tokio::test]
async fn the_peer_is_told_how_the_call_fares_that_it_asked_for() {
    let (mut side, mut peer, dialog, ok) = answered_by_agent().await;
    let more = "Refer-To: <sip:carol@example.net>\r\nReferred-By: <sip:alice@example.com>;cid=x\r\n";
    peer.send(within(&peer, &ok, "REFER", 2, more)).await;
    let (request, target, replaced, referred_by) = referred(&mut side).await;
    assert_eq!((target.uri.as_str(), target.replaces, replaced), ("sip:carol@example.net", None, None));
    assert_eq!(referred_by.as_deref(), Some("<sip:alice@example.com>;cid=x"));
    side.tell(ToAgent::RespondInDialog { dialog, request, response: Response::new(202) }).await;
    assert_eq!(peer.until("SIP/2.0 202").await.required("CSeq"), "2 REFER");
    let notify = peer.receive().await;
    assert_eq!((notify.method(), notify.body()), ("NOTIFY", "SIP/2.0 100 Trying\r\n"));
    assert_eq!(notify.required("Event"), "refer;id=2");
    assert!(notify.required("Subscription-State").starts_with("active;expires="));
    assert_eq!(notify.required("Content-Type"), "message/sipfrag;version=2.0");
    assert!(notify.required("Contact").contains("127.0.0.1"));

    // The next waits for its response, and what was overtaken meanwhile is left out.
    let notify_of = |status, terminated| {
        let phrase = (status == 180).then(|| "Ringing\r\nX: y".to_owned());
        ToAgent::Notify { dialog, subscription: request, status, phrase, terminated }
    };
    side.tell(notify_of(183, false)).await;
    side.tell(notify_of(180, false)).await;
    assert!(peer.within(T1 / 2).await.is_none());
    peer.send(notify.response("200 OK", "", "", "")).await;
    let ringing = peer.until("NOTIFY").await;
    assert_eq!((ringing.body(), ringing.header("X")), ("SIP/2.0 180 Ringing  X: y\r\n", None));
    peer.send(ringing.response("200 OK", "", "", "")).await;
    // The BYE of the one who transferred ends the call, and not what it waits for.
    peer.send(within(&peer, &ok, "BYE", 3, "")).await;
    assert!(matches!(side.news().await, FromAgent::Ended { .. }));
    side.tell(notify_of(200, true)).await;
    let last = peer.until("NOTIFY").await;
    assert_eq!(
        (last.body(), last.required("Subscription-State")),
        ("SIP/2.0 200 OK\r\n", "terminated;reason=noresource")
    );
    peer.send(last.response("200 OK", "", "", "")).await;
    side.tell(notify_of(486, true)).await;
    assert!(peer.within(2 * T1).await.is_none(), "that was the last one");
}

#[tokio::test]
async fn who_does_not_want_to_know_is_not_told() {
    let (mut side, mut peer, dialog, ok) = answered_by_agent().await;
    peer.send(within(&peer, &ok, "REFER", 2, "Refer-To: <sip:c@d>\r\nRefer-Sub: false\r\n")).await;
    let (request, ..) = referred(&mut side).await;
    side.tell(ToAgent::RespondInDialog { dialog, request, response: Response::new(202) }).await;
    assert_eq!(peer.until("SIP/2.0 202").await.required("Refer-Sub"), "false");
    peer.send(within(&peer, &ok, "REFER", 3, "Refer-To: <sip:c@d>\r\n")).await;
    let (request, ..) = referred(&mut side).await;
    side.tell(ToAgent::RespondInDialog { dialog, request, response: Response::new(202) }).await;
    let notify = peer.until("NOTIFY").await;
    assert_eq!(notify.required("Event"), "refer;id=3", "the first made no subscription");
    // One that refuses it gets no more.
    peer.send(notify.response("481 Gone", "", "", "")).await;
    side.silence(T1).await;
    side.tell(ToAgent::Notify { dialog, subscription: request, status: 200, phrase: None, terminated: true }).await;
    assert!(peer.within(2 * T1).await.is_none());
}

#[tokio::test]
async fn a_refer_that_cannot_be_meant_is_refused() {
    let (mut side, mut peer, dialog, ok) = answered_by_agent().await;
    for (number, more, status) in [
        (2, "", 400),
        (3, "Refer-To: <sip:a@b>\r\nRefer-To: <sip:c@d>\r\n", 400),
        (4, "Refer-To: <sip:a@b\r\n", 400),
        (5, "Refer-To: <http://example.org>\r\n", 603),
        (6, "Refer-To: <sip:a@b;method=BYE>\r\n", 603),
        (7, "Refer-To: <sip:a@b?Replaces=x>\r\n", 400),
    ] {
        peer.send(within(&peer, &ok, "REFER", number, more)).await;
        assert_eq!(peer.receive().await.status(), status, "{more}");
    }
    assert_eq!(side.agent.statistics().transfers_refused, 6);
    peer.send(within(&peer, &ok, "REFER", 8, "Refer-To: <sip:a@b;method=INVITE>\r\n")).await;
    let (request, ..) = referred(&mut side).await;
    side.tell(ToAgent::RespondInDialog { dialog, request, response: Response::new(603) }).await;
    peer.until("SIP/2.0 603").await;
    assert!(peer.within(2 * T1).await.is_none());
}

#[tokio::test]
async fn transfers_without_end_do_not_pile_up() {
    let (mut side, mut peer, dialog, ok) = answered_by_agent().await;
    for number in 2..6 {
        peer.send(within(&peer, &ok, "REFER", number, "Refer-To: <sip:c@d>\r\n")).await;
        let (request, ..) = referred(&mut side).await;
        side.tell(ToAgent::RespondInDialog { dialog, request, response: Response::new(202) }).await;
        let notify = peer.until("NOTIFY").await;
        peer.send(notify.response("200 OK", "", "", "")).await;
    }
    peer.send(within(&peer, &ok, "REFER", 6, "Refer-To: <sip:c@d>\r\n")).await;
    assert_eq!(peer.until("SIP/2.0 500").await.required("CSeq"), "6 REFER");
}

#[tokio::test]
async fn the_peer_of_a_call_is_asked_to_call_somebody_else() {
    let (mut side, mut peer, dialog, _) = answered_by_peer().await;
    let referred_by = Some("<sip:alice@example.com>".to_owned());
    let ask = |refer_to: &str| ToAgent::Refer {
        dialog,
        refer_to: refer_to.to_owned(),
        replaces: None,
        referred_by: referred_by.clone(),
    };
    side.tell(ask("sip:carol@example.net")).await;
    let refer = peer.receive().await;
    assert_eq!((refer.method(), refer.required("Refer-To")), ("REFER", "<sip:carol@example.net>"));
    assert_eq!(refer.required("Referred-By"), "<sip:alice@example.com>");
    assert!(refer.required("Contact").contains("127.0.0.1"));
    // A NOTIFY may come before the 202.
    peer.send(told(&peer, &refer, 1, "refer", "active;expires=60", "SIP/2.0 180 Ringing\r\n")).await;
    assert_eq!(peer.receive().await.status(), 200);
    assert_eq!(progress(&mut side).await, (180, false));
    peer.send(refer.response("202 Accepted", "", "", "")).await;
    peer.send(told(&peer, &refer, 2, "refer;id=7", "active", "SIP/2.0 200 OK\r\n")).await;
    assert_eq!(peer.receive().await.status(), 481, "of another REFER");
    peer.send(told(&peer, &refer, 3, "refer;id=2", "active", "garbage")).await;
    assert_eq!(peer.receive().await.status(), 400);
    peer.send(told(&peer, &refer, 4, "refer;id=2", "active", "SIP/2.0 200 OK\r\n")).await;
    assert_eq!(peer.receive().await.status(), 200);
    assert_eq!(progress(&mut side).await, (200, true));
    peer.send(told(&peer, &refer, 5, "refer;id=2", "terminated;reason=noresource", "SIP/2.0 200 OK\r\n")).await;
    assert_eq!(peer.receive().await.status(), 200, "it is only polite");
    peer.send(told(&peer, &refer, 6, "refer;id=2", "terminated", "SIP/2.0 200 OK\r\n")).await;
    assert_eq!(peer.receive().await.status(), 481);
    side.silence(T1).await;

    side.tell(ask("sip:carol@example.net")).await;
    let refer = peer.receive().await;
    peer.send(refer.response("603 Decline", "", "", "")).await;
    assert_eq!(progress(&mut side).await, (603, true));
    side.tell(ask("sip:carol@example.net")).await;
    let refer = peer.receive().await;
    peer.send(refer.response("202 Accepted", "", "Refer-Sub: false\r\n", "")).await;
    assert_eq!(progress(&mut side).await, (202, true));
    side.tell(ask("carol")).await;
    assert_eq!(progress(&mut side).await, (404, true));
}

#[tokio::test]
async fn a_refer_may_be_challenged() {
    let mut peer = Peer::bind().await;
    let mut config = Side::config(Transport::Udp);
    let mut trunk = crate::trunk(Transport::Udp, peer.address());
    (trunk.username, trunk.password) = (Some("gw".to_owned()), Some(model::Secret::new("s3cret".to_owned())));
    config.trunks.push(trunk);
    let mut side = Side::start(config).await;
    let dialog = side.call(Some(sdp(1))).await;
    let call = peer.until("INVITE").await;
    peer.send(call.response("200 OK", "b1", &contact(&peer), &sdp(2))).await;
    assert!(matches!(side.news().await, FromAgent::Answered { .. }));
    peer.until("ACK").await;
    side.tell(ToAgent::Refer { dialog, refer_to: "sip:c@d".to_owned(), replaces: None, referred_by: None }).await;
    let refer = peer.receive().await;
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    peer.send(refer.response("401 Unauthorized", "", challenge, "")).await;
    let refer = peer.until("REFER").await;
    assert!(refer.required("Authorization").contains("username=\"gw\""));
    peer.send(refer.response("202 Accepted", "", "", "")).await;
    assert_eq!(progress(&mut side).await, (202, false));
    let id = refer.required("CSeq").split(' ').next().unwrap_or_default();
    assert_eq!(id, "3");
    peer.send(told(&peer, &refer, 1, "refer;id=3", "terminated", "SIP/2.0 486 Busy\r\n")).await;
    assert_eq!(progress(&mut side).await, (486, true));
}

/// Two calls of a phone go through us, and it joins their other ends.
#[tokio::test]
async fn an_attended_transfer_names_the_other_call_that_goes_through_us() {
    let (mut phone, mut gateway) = pair(Transport::Udp).await;
    let (first, first_here) = connect(&mut phone, &mut gateway).await;
    let (second, second_here) = connect(&mut phone, &mut gateway).await;
    let refer_to = "sip:carol@example.net".to_owned();
    phone.tell(ToAgent::Refer { dialog: first, refer_to, replaces: Some(second), referred_by: None }).await;
    let (request, target, replaced, _) = referred(&mut gateway).await;
    assert_eq!(replaced, Some(second_here));
    assert!(target.replaces.is_some());
    let response = Response::new(202);
    gateway.tell(ToAgent::RespondInDialog { dialog: first_here, request, response }).await;
    assert_eq!(progress(&mut phone).await, (202, false));
    let notify = |status, terminated| ToAgent::Notify {
        dialog: first_here,
        subscription: request,
        status,
        phrase: None,
        terminated,
    };
    assert_eq!(progress(&mut phone).await, (100, false));
    gateway.tell(notify(200, true)).await;
    assert_eq!(progress(&mut phone).await, (200, true));
    phone.bye(first).await;
    assert!(matches!(gateway.news().await, FromAgent::Ended { .. }));
    let gone = ToAgent::Refer { dialog: second, refer_to: "sip:a@b".into(), replaces: Some(first), referred_by: None };
    phone.tell(gone).await;
    assert_eq!(progress(&mut phone).await, (481, true), "that call has ended");
}

/// An INVITE of the peer that would replace a call.
fn replacing(peer: &Peer, number: u32, (call_id, to, from): (&str, &str, &str), more: &str) -> String {
    let more = format!("Require: replaces\r\nReplaces: {call_id};to-tag={to};from-tag={from}{more}\r\n");
    peer.request_in("INVITE", number, ("sip:stox@127.0.0.1", &format!("r{number}"), "r1", ""), &more, &sdp(1))
}

#[tokio::test]
async fn an_answered_call_may_be_replaced() {
    let (mut side, mut peer, dialog, ok) = answered_by_agent().await;
    let own = ok.tag("To");
    for (number, named, more, status) in [
        (1, ("c1", own, "a1"), ";early-only", 486),
        (2, ("c1", own, "a2"), "", 481),
        (3, ("c1", "b9", "a1"), "", 481),
        (4, ("c2", own, "a1"), "", 481),
        (5, ("c1", own, ""), "", 400),
        (6, ("c1", own, "a1"), "\r\nReplaces: x;to-tag=1;from-tag=2", 400),
        (7, ("c1", own, "a1"), "\r\nJoin: x;to-tag=1;from-tag=2", 400),
    ] {
        peer.send(replacing(&peer, number, named, more)).await;
        assert_eq!(peer.until("SIP/2.0").await.status(), status, "{named:?}{more}");
    }
    assert_eq!(side.agent.statistics().transfers_refused, 7);
    peer.send(replacing(&peer, 8, ("c1", own, "a1"), "\r\nReferred-By: <sip:x@y>")).await;
    let invite = side.invited().await;
    let replaced = invite.replaces.expect("it replaces one");
    assert_eq!((replaced.dialog, replaced.early_only), (dialog, false));
    assert_eq!(invite.referred_by.as_deref(), Some("<sip:x@y>"));
    side.respond(invite.dialog, Response::new(403)).await;
    peer.until("SIP/2.0 403").await;
    // One that is over is declined, as long as it is remembered.
    side.bye(dialog).await;
    let bye = peer.until("BYE").await;
    peer.send(replacing(&peer, 9, ("c1", own, "a1"), "")).await;
    peer.until("SIP/2.0 603").await;
    peer.send(bye.response("200 OK", "", "", "")).await;
    side.silence(T1).await;
    peer.send(replacing(&peer, 10, ("c1", own, "a1"), "")).await;
    peer.until("SIP/2.0 481").await;
}

#[tokio::test]
async fn a_call_that_rings_may_be_replaced_by_who_is_called_alone() {
    let (mut side, mut peer) = called().await;
    peer.send(peer.request("INVITE", 1, "", &sdp(1))).await;
    let ringing = side.invited().await.dialog;
    side.respond(ringing, Response::new(180)).await;
    let own = peer.until("SIP/2.0 180").await.tag("To").to_owned();
    peer.send(replacing(&peer, 2, ("c1", &own, "a1"), "")).await;
    peer.until("SIP/2.0 481").await;

    let (mut side, peer, dialog, invite) = calling(Some(sdp(1))).await;
    let ids = (invite.required("Call-ID"), invite.tag("From"), "b2");
    peer.send(invite.response("180 Ringing", "b1", &contact(&peer), "")).await;
    // (A branch that says no more than another before it does not get through the transactions of the stack.)
    peer.send(invite.response("182 Queued", "b2", &contact(&peer), "")).await;
    for _ in 0..2 {
        assert!(matches!(side.news().await, FromAgent::Provisional { .. }));
    }
    peer.send(replacing(&peer, 2, ids, ";early-only")).await;
    let replaced = side.invited().await.replaces.expect("it replaces one");
    assert_eq!((replaced.dialog, replaced.early_only), (dialog, true));
}

#[tokio::test]
async fn a_call_of_ours_says_what_it_replaces_and_for_whom() {
    let mut peer = Peer::bind().await;
    let mut side = Side::with_trunk(Transport::Udp, peer.address()).await;
    let replaces = Replaces { call_id: "x@y".into(), to_tag: "1".into(), from_tag: "2".into(), early_only: false };
    let call = OutgoingInvite {
        sdp: Some(sdp(1)),
        asserted_identity: Some("sip:+1555@example.com".to_owned()),
        private: true,
        replaces: Some(replaces),
        referred_by: Some("<sip:x@y>;cid=z".to_owned()),
        ..invite(DialogId(1 << 63))
    };
    side.tell(ToAgent::Invite(call)).await;
    let invite = peer.until("INVITE").await;
    for (name, value) in [
        ("Replaces", "x@y;to-tag=1;from-tag=2"),
        ("Require", "replaces"),
        ("Referred-By", "<sip:x@y>;cid=z"),
        ("P-Asserted-Identity", "<sip:+1555@example.com>"),
        ("Privacy", "id"),
    ] {
        assert_eq!(invite.required(name), value);
    }
    let more = format!("{}Allow: INVITE, REFER\r\nSupported: timer, Replaces\r\n", contact(&peer));
    peer.send(invite.response("200 OK", "b1", &more, &sdp(2))).await;
    match side.news().await {
        FromAgent::Answered { peer, .. } => {
            assert_eq!(peer, PeerSupport { refer: true, update: false, replaces: true, timer: true });
        }
        other => panic!("expected an answer, got {other:?}"),
    }
}

#[tokio::test]
async fn a_transfer_that_is_forgotten_ends_by_itself() {
    let (mut side, mut peer, dialog, ok) = answered_by_agent().await;
    peer.send(within(&peer, &ok, "REFER", 2, "Refer-To: <sip:c@d>\r\n")).await;
    let (request, ..) = referred(&mut side).await;
    side.tell(ToAgent::RespondInDialog { dialog, request, response: Response::new(202) }).await;
    let notify = peer.until("NOTIFY").await;
    peer.send(notify.response("200 OK", "", "", "")).await;
    side.tell(ToAgent::Refer { dialog, refer_to: "sip:c@d".to_owned(), replaces: None, referred_by: None }).await;
    let refer = peer.until("REFER").await;
    peer.send(refer.response("202 Accepted", "", "", "")).await;
    assert_eq!(progress(&mut side).await, (202, false));
    crate::pass(301).await;
    let last = peer.until("NOTIFY").await;
    assert_eq!(
        (last.required("Subscription-State"), last.body()),
        ("terminated;reason=timeout", "SIP/2.0 408 Request Timeout\r\n")
    );
    assert_eq!(progress(&mut side).await, (408, true));
    side.tell(ToAgent::Bye { dialog, reason: Vec::<Reason>::new() }).await;
    peer.until("BYE").await;
}
