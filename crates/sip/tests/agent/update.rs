//! UPDATE (RFC 3311): changes of a call, before it is answered and after.

use sip::message::{DialogId, Failure, FromAgent, Response, ToAgent};

use crate::odd::{answered_by_agent, called, calling, contact};
use crate::peer::{Message, Peer};
use crate::{Side, T1, sdp};

fn failure(news: FromAgent) -> Failure {
    match news {
        FromAgent::ReinviteFailed { failure, .. } => failure,
        other => panic!("expected a failure, got {other:?}"),
    }
}

/// The agent called, and the peer gave its answer while it rings.
async fn settled_by_peer(more: &str) -> (Side, Peer, DialogId, Message) {
    let (mut side, mut peer, dialog, invite) = calling(Some(sdp(1))).await;
    let more = format!("{}Require: 100rel\r\nRSeq: 1\r\n{more}", contact(&peer));
    peer.send(invite.response("183 Session Progress", "b1", &more, &sdp(2))).await;
    let prack = peer.receive().await;
    peer.send(prack.response("200 OK", "", "", "")).await;
    assert!(matches!(side.news().await, FromAgent::Provisional { reliable: true, .. }));
    (side, peer, dialog, invite)
}

/// The peer called, and the agent gave its answer while it rings: the 183.
async fn settled_by_agent() -> (Side, Peer, DialogId, Message) {
    let (mut side, mut peer) = called().await;
    peer.send(peer.request("INVITE", 1, "Supported: 100rel\r\nAllow: INVITE, UPDATE\r\n", &sdp(1))).await;
    let dialog = side.invited().await.dialog;
    side.respond(dialog, Response::with_sdp(183, sdp(2))).await;
    let progress = peer.until("SIP/2.0 183").await;
    peer.send(within(&peer, &progress, "UPDATE", 2, &sdp(3))).await;
    assert!(peer.until("SIP/2.0 500").await.header("Retry-After").is_some(), "the PRACK is still missing");
    let rack = format!("RAck: {} 1 INVITE\r\n", progress.required("RSeq"));
    let prack = peer.request_in("PRACK", 3, ("sip:stox@127.0.0.1", "c1", "a1", progress.tag("To")), &rack, "");
    peer.send(prack).await;
    peer.until("SIP/2.0 200").await;
    (side, peer, dialog, progress)
}

fn within(peer: &Peer, ok: &Message, method: &str, number: u32, body: &str) -> String {
    peer.request_in(method, number, ("sip:stox@127.0.0.1", "c1", "a1", ok.tag("To")), "", body)
}

#[tokio::test]
async fn a_caller_changes_the_call_before_it_is_answered() {
    let (mut side, mut peer, dialog, progress) = settled_by_agent().await;
    peer.send(within(&peer, &progress, "UPDATE", 4, &sdp(3))).await;
    let (request, offer) = side.reinvited().await;
    assert_eq!(offer, Some(sdp(3)));
    peer.send(within(&peer, &progress, "UPDATE", 5, &sdp(3))).await;
    assert_eq!(peer.until("SIP/2.0 500").await.required("CSeq"), "5 UPDATE");
    let response = Response::with_sdp(200, sdp(4));
    side.tell(ToAgent::RespondInDialog { dialog, request, response }).await;
    let ok = peer.until("SIP/2.0 200").await;
    assert_eq!((ok.required("CSeq"), ok.body()), ("4 UPDATE", sdp(4).as_str()));
    assert!(ok.required("Contact").contains("127.0.0.1"));

    // The other way, while which the caller's has to wait.
    side.tell(ToAgent::Update { dialog, sdp: sdp(5) }).await;
    let update = peer.until("UPDATE").await;
    assert_eq!(update.body(), sdp(5));
    peer.send(within(&peer, &progress, "UPDATE", 6, &sdp(6))).await;
    peer.until("SIP/2.0 491").await;
    side.tell(ToAgent::Update { dialog, sdp: sdp(7) }).await;
    assert_eq!(failure(side.news().await).status, 491);
    peer.send(update.response("200 OK", "", &contact(&peer), &sdp(6))).await;
    assert_eq!(side.news().await, FromAgent::ReinviteAnswered { dialog, sdp: Some(sdp(6)) });

    // One that is under way when the call is answered is answered after it.
    peer.send(within(&peer, &progress, "UPDATE", 7, &sdp(8))).await;
    let (request, _) = side.reinvited().await;
    side.respond(dialog, Response::new(200)).await;
    assert_eq!(peer.until("SIP/2.0 200").await.required("CSeq"), "1 INVITE");
    peer.send(within(&peer, &progress, "ACK", 1, "")).await;
    assert!(matches!(side.news().await, FromAgent::Acknowledged { .. }));
    let response = Response::with_sdp(200, sdp(9));
    side.tell(ToAgent::RespondInDialog { dialog, request, response }).await;
    assert_eq!(peer.until("SIP/2.0 200").await.required("CSeq"), "7 UPDATE");
    // And what was agreed early is what a refresh repeats or is told by.
    crate::pass(900).await;
    let refresh = peer.until("UPDATE").await;
    assert_eq!(refresh.body(), "");
}

#[tokio::test]
async fn a_callee_changes_the_call_before_it_is_answered() {
    let (mut side, mut peer, dialog, invite) = settled_by_peer("Allow: UPDATE\r\n").await;
    peer.send(peer.request_back(&invite, "UPDATE", 1, "", &sdp(3))).await;
    let (request, offer) = side.reinvited().await;
    assert_eq!(offer, Some(sdp(3)));
    side.tell(ToAgent::RespondInDialog { dialog, request, response: Response::new(488) }).await;
    peer.until("SIP/2.0 488").await;
    peer.send(peer.request_back(&invite, "UPDATE", 2, "Content-Type: text/plain\r\n", "x")).await;
    peer.until("SIP/2.0 415").await;

    side.tell(ToAgent::Update { dialog, sdp: sdp(5) }).await;
    let update = peer.until("UPDATE").await;
    assert_eq!((update.body(), update.tag("To")), (sdp(5).as_str(), "b1"));
    // It is answered after the call is.
    peer.send(invite.response("200 OK", "b1", &contact(&peer), "")).await;
    peer.until("ACK").await;
    assert!(matches!(side.news().await, FromAgent::Answered { sdp: None, .. }));
    peer.send(peer.request_back(&invite, "INVITE", 3, "", &sdp(6))).await;
    peer.until("SIP/2.0 491").await;
    peer.send(peer.request_back(&invite, "ACK", 3, "", "").replace("ACK3", "INVITE3")).await;
    peer.send(peer.request_back(&invite, "INVITE", 4, "", "")).await;
    peer.until("SIP/2.0 500").await;
    peer.send(update.response("200 OK", "", &contact(&peer), &sdp(6))).await;
    assert_eq!(side.news().await, FromAgent::ReinviteAnswered { dialog, sdp: Some(sdp(6)) });
    side.bye(dialog).await;
    peer.until("BYE").await;
}

#[tokio::test]
async fn nothing_is_changed_before_there_is_something_to_change() {
    let (mut side, mut peer, dialog, invite) = calling(Some(sdp(1))).await;
    side.tell(ToAgent::Update { dialog, sdp: sdp(5) }).await;
    assert_eq!(failure(side.news().await).status, 491);
    // A description in an unreliable response is a preview.
    peer.send(invite.response("183 Session Progress", "b1", &contact(&peer), &sdp(2))).await;
    assert!(matches!(side.news().await, FromAgent::Provisional { reliable: false, .. }));
    side.tell(ToAgent::Update { dialog, sdp: sdp(5) }).await;
    assert_eq!(failure(side.news().await).status, 491);
    peer.send(peer.request_back(&invite, "UPDATE", 1, "", &sdp(3))).await;
    peer.until("SIP/2.0 491").await;

    let (mut side, _peer, dialog, _) = settled_by_peer("").await;
    side.tell(ToAgent::Update { dialog, sdp: sdp(5) }).await;
    assert_eq!(failure(side.news().await).status, 405, "it did not say that it takes them");
}

#[tokio::test]
async fn an_answered_call_is_changed_by_update() {
    let (mut side, mut peer, dialog, ok) = answered_by_agent().await;
    side.tell(ToAgent::Update { dialog, sdp: sdp(5) }).await;
    assert_eq!(failure(side.news().await).status, 405);
    // It says so later.
    let more = "Allow: INVITE, UPDATE\r\n";
    peer.send(peer.request_in("UPDATE", 2, ("sip:stox@127.0.0.1", "c1", "a1", ok.tag("To")), more, "")).await;
    peer.until("SIP/2.0 200").await;
    side.tell(ToAgent::Update { dialog, sdp: sdp(5) }).await;
    let update = peer.until("UPDATE").await;
    assert_eq!(update.body(), sdp(5));
    side.tell(ToAgent::Reinvite { dialog, sdp: sdp(6) }).await;
    assert_eq!(failure(side.news().await).status, 491);
    peer.send(update.response("488 Not Acceptable Here", "", "", "")).await;
    let refused = failure(side.news().await);
    assert_eq!((refused.status, refused.local), (488, false));
    side.silence(T1).await;
    side.tell(ToAgent::Update { dialog, sdp: sdp(7) }).await;
    let update = peer.until("UPDATE").await;
    peer.send(update.response("481 Gone", "", "", "")).await;
    assert_eq!(failure(side.news().await).status, 481);
    assert!(matches!(side.news().await, FromAgent::Ended { .. }));
}
