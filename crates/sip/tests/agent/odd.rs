//! Odd peers, played by hand.

use std::time::Duration;

use sip::agent::Transport;
use sip::message::{DialogId, FromAgent, OutgoingInvite, Response, ToAgent};
use tokio::io::AsyncReadExt;

use crate::peer::{Message, Peer};
use crate::{Side, T1, sdp};

/// An agent, and a peer that calls it.
pub(crate) async fn called() -> (Side, Peer) {
    let side = Side::start(Side::config(Transport::Udp)).await;
    let peer = Peer::towards(side.address()).await;
    (side, peer)
}

/// An agent that calls a peer: the INVITE it got.
pub(crate) async fn calling(offer: Option<String>) -> (Side, Peer, DialogId, Message) {
    let mut peer = Peer::bind().await;
    let mut side = Side::with_trunk(Transport::Udp, peer.address()).await;
    let dialog = side.call(offer).await;
    let invite = peer.until("INVITE").await;
    (side, peer, dialog, invite)
}

pub(crate) fn contact(peer: &Peer) -> String {
    format!("Contact: <sip:bob@{}>\r\n", peer.address())
}

/// The agent called, and the peer answered.
pub(crate) async fn answered_by_peer() -> (Side, Peer, DialogId, Message) {
    let (mut side, mut peer, dialog, invite) = calling(Some(sdp(1))).await;
    peer.send(invite.response("200 OK", "b1", &contact(&peer), &sdp(2))).await;
    assert_eq!(peer.receive().await.method(), "ACK");
    assert!(matches!(side.news().await, FromAgent::Answered { .. }));
    (side, peer, dialog, invite)
}

/// The peer called, and the agent answered: the dialog, and the 2xx.
pub(crate) async fn answered_by_agent() -> (Side, Peer, DialogId, Message) {
    let (mut side, mut peer) = called().await;
    peer.send(peer.request("INVITE", 1, "", &sdp(1))).await;
    let dialog = side.invited().await.dialog;
    side.respond(dialog, Response::with_sdp(200, sdp(2))).await;
    let ok = peer.until("SIP/2.0 200").await;
    let ack = peer.request_in("ACK", 1, ("sip:stox@127.0.0.1", "c1", "a1", ok.tag("To")), "", "");
    peer.send(ack).await;
    assert!(matches!(side.news().await, FromAgent::Acknowledged { .. }));
    (side, peer, dialog, ok)
}

#[tokio::test]
async fn an_invite_that_is_resent_makes_one_call() {
    let (mut side, mut peer) = called().await;
    let invite = peer.request("INVITE", 1, "", &sdp(1));
    peer.send(&invite).await;
    peer.send(&invite).await;
    assert_eq!(peer.receive().await.status(), 100);
    let dialog = side.invited().await.dialog;
    side.silence(T1).await;
    side.respond(dialog, Response::with_sdp(200, sdp(2))).await;
    let ok = peer.until("SIP/2.0 200").await;
    // Even after the 2xx (RFC 6026 §7.1).
    peer.send(&invite).await;
    side.silence(T1).await;
    let again = peer.until("SIP/2.0 200").await;
    assert_eq!(again.tag("To"), ok.tag("To"));
    assert_eq!(ok.body(), sdp(2));
}

#[tokio::test]
async fn a_2xx_is_resent_until_its_ack_and_the_call_ended_without_one() {
    let (mut side, mut peer) = called().await;
    peer.send(peer.request("INVITE", 1, "", &sdp(1))).await;
    let dialog = side.invited().await.dialog;
    side.respond(dialog, Response::with_sdp(200, sdp(2))).await;
    for _ in 0..4 {
        peer.until("SIP/2.0 200").await;
    }
    let bye = peer.until("BYE").await;
    assert!(bye.required("Reason").contains("no ACK"));
    assert!(matches!(side.news().await, FromAgent::Ended { .. }));
}

#[tokio::test]
async fn each_copy_of_a_2xx_is_acknowledged() {
    let (mut side, mut peer, _, invite) = answered_by_peer().await;
    let ok = invite.response("200 OK", "b1", &contact(&peer), &sdp(2));
    for _ in 0..3 {
        peer.send(&ok).await;
        let ack = peer.receive().await;
        assert_eq!((ack.method(), ack.required("CSeq")), ("ACK", "1 ACK"));
    }
    side.silence(T1).await;
}

#[tokio::test]
async fn another_branch_that_answers_is_ended() {
    let (mut side, mut peer, _, invite) = answered_by_peer().await;
    peer.send(invite.response("200 OK", "b2", &contact(&peer), &sdp(3))).await;
    let ack = peer.receive().await;
    assert_eq!((ack.method(), ack.tag("To")), ("ACK", "b2"));
    let bye = peer.receive().await;
    assert_eq!((bye.method(), bye.tag("To")), ("BYE", "b2"));
    peer.send(bye.response("200 OK", "b2", "", "")).await;
    side.silence(T1).await;
}

#[tokio::test]
async fn a_2xx_that_crosses_a_cancel_is_acknowledged_and_ended() {
    let (mut side, mut peer, dialog, invite) = calling(Some(sdp(1))).await;
    peer.send(invite.response("180 Ringing", "b1", &contact(&peer), "")).await;
    assert!(matches!(side.news().await, FromAgent::Provisional { .. }));
    side.tell(ToAgent::Cancel { dialog, reason: Vec::new() }).await;
    let cancel = peer.until("CANCEL").await;
    assert_eq!((cancel.required("Via"), cancel.required("CSeq")), (invite.required("Via"), "1 CANCEL"));
    peer.send(invite.response("200 OK", "b1", &contact(&peer), &sdp(2))).await;
    peer.send(cancel.response("200 OK", "b1", "", "")).await;
    assert_eq!(peer.until("ACK").await.tag("To"), "b1");
    let bye = peer.until("BYE").await;
    peer.send(bye.response("200 OK", "b1", "", "")).await;
    match side.news().await {
        FromAgent::Failed { failure, .. } => assert_eq!(failure.status, 487),
        other => panic!("expected the end, got {other:?}"),
    }
}

#[tokio::test]
async fn a_cancel_waits_for_a_provisional_response() {
    let (side, mut peer, dialog, invite) = calling(Some(sdp(1))).await;
    side.tell(ToAgent::Cancel { dialog, reason: Vec::new() }).await;
    assert_eq!(peer.receive().await.method(), "INVITE");
    peer.send(invite.response("100 Trying", "b1", "", "")).await;
    peer.until("CANCEL").await;
}

#[tokio::test]
async fn a_cancel_that_nobody_answers_ends_all_the_same() {
    let (mut side, peer, dialog, invite) = calling(Some(sdp(1))).await;
    peer.send(invite.response("180 Ringing", "b1", &contact(&peer), "")).await;
    assert!(matches!(side.news().await, FromAgent::Provisional { .. }));
    side.tell(ToAgent::Cancel { dialog, reason: Vec::new() }).await;
    match side.news().await {
        FromAgent::Failed { failure, .. } => assert_eq!((failure.status, failure.local), (487, true)),
        other => panic!("expected the end, got {other:?}"),
    }
}

#[tokio::test]
async fn reliable_responses_out_of_order_are_acknowledged_in_order() {
    let (mut side, mut peer, _, invite) = calling(Some(sdp(1))).await;
    let contact = contact(&peer);
    let reliable = |number: u32, status: &str, body: &str| {
        invite.response(status, "b1", &format!("{contact}Require: 100rel\r\nRSeq: {number}\r\n"), body)
    };
    peer.send(reliable(10, "180 Ringing", "")).await;
    let prack = peer.receive().await;
    assert_eq!((prack.method(), prack.required("RAck")), ("PRACK", "10 1 INVITE"));
    peer.send(prack.response("200 OK", "b1", "", "")).await;
    // 12 comes before 11, and 11 twice.
    peer.send(reliable(12, "183 Session Progress", &sdp(2))).await;
    assert!(peer.within(T1 / 2).await.is_none());
    peer.send(reliable(11, "182 Queued", "")).await;
    peer.send(reliable(11, "182 Queued", "")).await;
    for expected in ["11 1 INVITE", "12 1 INVITE"] {
        let prack = peer.receive().await;
        assert_eq!((prack.method(), prack.required("RAck")), ("PRACK", expected));
        peer.send(prack.response("200 OK", "b1", "", "")).await;
    }
    let mut told = Vec::new();
    for _ in 0..3 {
        match side.news().await {
            FromAgent::Provisional { status, reliable: true, sdp, .. } => told.push((status, sdp.is_some())),
            other => panic!("expected a reliable response, got {other:?}"),
        }
    }
    assert_eq!(told, [(180, false), (182, false), (183, true)]);
    // The answer came early: what the 2xx says is not told again.
    peer.send(invite.response("200 OK", "b1", &contact, &sdp(2))).await;
    assert!(matches!(side.news().await, FromAgent::Answered { sdp: None, .. }));
    let ack = peer.until("ACK").await;
    assert_eq!(ack.required("CSeq"), "1 ACK");
}

#[tokio::test]
async fn a_caller_that_requires_reliable_ringing_gets_it() {
    let (mut side, mut peer) = called().await;
    peer.send(peer.request("INVITE", 1, "Require: 100rel\r\n", &sdp(1))).await;
    let dialog = side.invited().await.dialog;
    side.respond(dialog, Response::new(180)).await;
    side.respond(dialog, Response::with_sdp(200, sdp(2))).await;
    let ringing = peer.until("SIP/2.0 180").await;
    assert_eq!(ringing.required("Require"), "100rel");
    // Without a PRACK it comes again, and the 2xx waits.
    let again = peer.receive().await;
    assert_eq!((again.status(), again.required("RSeq")), (180, ringing.required("RSeq")));
    let their = ringing.tag("To").to_owned();
    let wrong = peer.request_in("PRACK", 2, ("sip:stox@127.0.0.1", "c1", "a1", &their), "RAck: 1 7 INVITE\r\n", "");
    peer.send(wrong).await;
    peer.until("SIP/2.0 481").await;
    let rack = format!("RAck: {} 1 INVITE\r\n", ringing.required("RSeq"));
    peer.send(peer.request_in("PRACK", 3, ("sip:stox@127.0.0.1", "c1", "a1", &their), &rack, "")).await;
    let ok = peer.until("SIP/2.0 200").await;
    assert_eq!(ok.required("CSeq"), "3 PRACK");
    assert_eq!(peer.until("SIP/2.0 200").await.required("CSeq"), "1 INVITE");
}

#[tokio::test]
async fn a_caller_that_never_acknowledges_its_ringing_is_given_up() {
    let (mut side, mut peer) = called().await;
    peer.send(peer.request("INVITE", 1, "Supported: 100rel\r\n", &sdp(1))).await;
    let dialog = side.invited().await.dialog;
    side.respond(dialog, Response::with_sdp(183, sdp(2))).await;
    assert!(matches!(side.news().await, FromAgent::Cancelled { .. }));
    peer.until("SIP/2.0 504").await;
}

#[tokio::test]
async fn a_request_for_no_dialog_gets_481() {
    let (mut side, mut peer) = called().await;
    for method in ["BYE", "INFO", "UPDATE", "PRACK", "NOTIFY", "INVITE"] {
        peer.send(peer.request_in(method, 1, ("sip:x@127.0.0.1", method, "a1", "nobody"), "", "")).await;
        assert_eq!(peer.receive().await.status(), 481, "{method}");
        // The one that acknowledges this is not answered.
        let ack = peer.request_in("ACK", 1, ("sip:x@127.0.0.1", method, "a1", "nobody"), "", "");
        peer.send(ack.replace("ACK1;", &format!("{method}1;"))).await;
    }
    peer.send(peer.request("CANCEL", 1, "", "")).await;
    assert_eq!(peer.receive().await.status(), 481);
    side.silence(T1).await;
    assert_eq!(side.agent.statistics().unknown_dialog, 6);
}

#[tokio::test]
async fn what_we_do_not_do_is_refused_with_the_right_status() {
    let (mut side, mut peer) = called().await;
    for (method, more, body, status) in [
        ("OPTIONS", "", "", 200),
        ("REGISTER", "", "", 405),
        ("REFER", "Refer-To: <sip:x@example.org>\r\n", "", 403),
        ("MESSAGE", "Content-Type: text/plain\r\n", "hello", 405),
        ("SUBSCRIBE", "Event: presence\r\n", "", 489),
        ("SUBSCRIBE", "Event: refer;id=1\r\n", "", 403),
        ("INFO", "", "", 405),
        ("INFO", "Info-Package: trickle-ice\r\n", "", 469),
        ("FLY", "", "", 501),
        ("OPTIONS", "Require: foo, 100rel\r\n", "", 420),
        ("INVITE", "Require: foo\r\n", "", 420),
        ("INVITE", "Content-Type: text/plain\r\n", "hello", 415),
        ("INVITE", "Content-Encoding: gzip\r\n", "zip", 415),
        ("INVITE", "Session-Expires: 30\r\nSupported: timer\r\n", "", 422),
    ]
    .into_iter()
    {
        let call_id = format!("{method}{status}{}", more.len());
        peer.send(peer.request_in(method, 1, ("sip:bob@example.org", &call_id, "a1", ""), more, body)).await;
        let answer = peer.until("SIP/2.0").await;
        assert_eq!(answer.status(), status, "{method} {more}");
        let needed = match status {
            200 | 405 | 501 => Some(("Allow", "INVITE, ACK")),
            420 => Some(("Unsupported", "foo")),
            415 if more.contains("gzip") => Some(("Accept-Encoding", "identity")),
            415 => Some(("Accept", "application/sdp")),
            422 => Some(("Min-SE", "90")),
            _ => None,
        };
        if let Some((name, value)) = needed {
            assert!(answer.required(name).starts_with(value), "{}", answer.text);
        }
        if method == "INVITE" {
            let tag = answer.tag("To").to_owned();
            let ack = peer.request_in("ACK", 1, ("sip:bob@example.org", &call_id, "a1", &tag), "", "");
            peer.send(ack.replace("ACK1\r\n", "INVITE1\r\n")).await;
        }
    }
    side.silence(T1).await;
}

#[tokio::test]
async fn hops_run_out_and_loops_are_noticed() {
    let (mut side, mut peer) = called().await;
    peer.send(peer.request("INVITE", 1, "", &sdp(1)).replace("Max-Forwards: 70", "Max-Forwards: 0")).await;
    assert_eq!(peer.receive().await.status(), 483);
    // The same request by two ways.
    let request = peer.request_in("INVITE", 1, ("sip:bob@example.org", "c2", "a1", ""), "", &sdp(1));
    peer.send(&request).await;
    side.invited().await;
    peer.send(request.replace("z9hG4bK", "z9hG4bKother")).await;
    peer.until("SIP/2.0 482").await;
    side.silence(T1).await;
}

#[tokio::test]
async fn a_challenge_is_answered_by_each_who_asks() {
    let mut peer = Peer::bind().await;
    let mut config = Side::config(Transport::Udp);
    let mut trunk = crate::trunk(Transport::Udp, peer.address());
    trunk.username = Some("gw".to_owned());
    trunk.password = Some(model::Secret::new("s3cret".to_owned()));
    config.trunks.push(trunk);
    let mut side = Side::start(config).await;
    let dialog = side.call(Some(sdp(1))).await;
    let first = peer.until("INVITE").await;
    let ask = "Proxy-Authenticate: Digest realm=\"p\", nonce=\"n1\", algorithm=MD5\r\n\
               Proxy-Authenticate: Digest realm=\"p\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth\"\r\n";
    peer.send(first.response("407 Proxy Authentication Required", "x", ask, "")).await;
    assert_eq!(peer.until("ACK").await.required("Via"), first.required("Via"));
    let second = peer.until("INVITE").await;
    assert_eq!(second.required("CSeq"), "2 INVITE");
    assert_ne!(second.required("Via"), first.required("Via"));
    assert_eq!(second.tag("From"), first.tag("From"));
    assert!(second.required("Proxy-Authorization").contains("nonce=\"n1\""));
    let ask = "WWW-Authenticate: Digest realm=\"u\", nonce=\"n3\", qop=\"auth,auth-int\", opaque=\"o\"\r\n";
    peer.send(second.response("401 Unauthorized", "y", ask, "")).await;
    let third = peer.until("INVITE sip:bob@example.org SIP/2.0").await;
    let third = if third.required("CSeq") == "3 INVITE" { third } else { peer.until("INVITE").await };
    assert!(third.required("Authorization").contains("opaque=\"o\""));
    assert!(third.header("Proxy-Authorization").is_some());
    peer.send(third.response("200 OK", "b1", &contact(&peer), &sdp(2))).await;
    let ack = peer.until("ACK sip:bob@127").await;
    // It carries what the INVITE carried (RFC 3261 §22.1).
    assert_eq!(ack.header("Authorization"), third.header("Authorization"));
    assert!(matches!(side.news().await, FromAgent::Answered { .. }));
    side.bye(dialog).await;
    let bye = peer.until("BYE").await;
    let ask = "WWW-Authenticate: Digest realm=\"u\", nonce=\"n4\", stale=true, qop=\"auth\"\r\n";
    peer.send(bye.response("401 Unauthorized", "b1", ask, "")).await;
    let again = peer.until("BYE").await;
    let again = if again.required("CSeq") == bye.required("CSeq") { peer.until("BYE").await } else { again };
    assert!(again.required("Authorization").contains("nonce=\"n4\""));
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_for_ever() {
    let (mut side, mut peer, _, invite) = calling(Some(sdp(1))).await;
    let ask = "WWW-Authenticate: Digest realm=\"u\", nonce=\"n\"\r\n";
    peer.send(invite.response("401 Unauthorized", "x", ask, "")).await;
    match side.news().await {
        FromAgent::Failed { failure, .. } => assert_eq!((failure.status, failure.local), (401, false)),
        other => panic!("expected a failure, got {other:?}"),
    }
    assert_eq!(peer.until("ACK").await.tag("To"), "x");
}

#[tokio::test]
async fn a_redirection_tells_where_to() {
    let (mut side, peer, _, invite) = calling(Some(sdp(1))).await;
    let contacts = "Contact: <sip:x@example.org>;q=0.5, \"Y, Z\" <sip:y@example.org>\r\n";
    peer.send(invite.response("302 Moved Temporarily", "x", contacts, "")).await;
    match side.news().await {
        FromAgent::Failed { failure, .. } => {
            assert_eq!(failure.contacts, ["sip:x@example.org", "sip:y@example.org"]);
        }
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[tokio::test]
async fn a_refresh_without_sdp_is_answered_by_the_agent() {
    let (mut side, mut peer, _, ok) = answered_by_agent().await;
    let theirs = ok.tag("To").to_owned();
    let names = ("sip:stox@127.0.0.1", "c1", "a1", theirs.as_str());
    let refresh = "Session-Expires: 1800;refresher=uac\r\nSupported: timer\r\n";
    peer.send(peer.request_in("UPDATE", 2, names, refresh, "")).await;
    let answer = peer.receive().await;
    assert_eq!((answer.status(), answer.required("Session-Expires")), (200, "1800;refresher=uac"));
    assert_eq!(answer.required("Require"), "timer");
    peer.send(peer.request_in("OPTIONS", 3, names, "", "")).await;
    assert_eq!(peer.receive().await.status(), 200);
    // An old number (RFC 3261 §12.2.2).
    peer.send(peer.request_in("INFO", 2, names, "", "x")).await;
    assert_eq!(peer.receive().await.status(), 500);
    side.silence(T1).await;
}

#[tokio::test]
async fn a_reinvite_without_sdp_asks_the_translator_for_an_offer() {
    let (mut side, mut peer, dialog, ok) = answered_by_agent().await;
    let theirs = ok.tag("To").to_owned();
    let names = ("sip:stox@127.0.0.1", "c1", "a1", theirs.as_str());
    peer.send(peer.request_in("INVITE", 2, names, "", "")).await;
    let (request, offer) = side.reinvited().await;
    assert_eq!(offer, None);
    // A second one before the first is answered has to wait.
    peer.send(peer.request_in("INVITE", 3, names, "", &sdp(9))).await;
    let busy = peer.until("SIP/2.0 500").await;
    assert!(busy.required("Retry-After").parse::<u32>().expect("a number") <= 10);
    let response = Response::with_sdp(200, sdp(3));
    side.tell(ToAgent::RespondInDialog { dialog, request, response }).await;
    let ok = peer.until("SIP/2.0 200").await;
    assert_eq!((ok.required("CSeq"), ok.body()), ("2 INVITE", sdp(3).as_str()));
    peer.send(peer.request_in("ACK", 2, names, "", &sdp(4))).await;
    assert_eq!(side.news().await, FromAgent::Acknowledged { dialog, sdp: Some(sdp(4)) });
}

#[tokio::test]
async fn an_update_with_an_offer_that_crosses_ours_gets_491() {
    let (mut side, mut peer, dialog, invite) = answered_by_peer().await;
    side.tell(ToAgent::Reinvite { dialog, sdp: sdp(3) }).await;
    let reinvite = peer.until("INVITE").await;
    let ours = invite.tag("From").to_owned();
    let call_id = invite.required("Call-ID").to_owned();
    let names = (invite.uri(), call_id.as_str(), "b1", ours.as_str());
    for (method, number) in [("UPDATE", 1), ("INVITE", 2)] {
        peer.send(peer.request_in(method, number, names, "", &sdp(9))).await;
        peer.until("SIP/2.0 491").await;
    }
    peer.send(reinvite.response("491 Request Pending", "b1", "", "")).await;
    match side.news().await {
        FromAgent::ReinviteFailed { failure, .. } => assert_eq!((failure.status, failure.local), (491, false)),
        other => panic!("expected a failure, got {other:?}"),
    }
    // The call lives on.
    side.bye(dialog).await;
    peer.until("BYE").await;
}

#[tokio::test]
async fn a_reinvite_that_finds_no_dialog_ends_the_call() {
    let (mut side, mut peer, dialog, _) = answered_by_peer().await;
    side.tell(ToAgent::Reinvite { dialog, sdp: sdp(3) }).await;
    let reinvite = peer.until("INVITE").await;
    peer.send(reinvite.response("481 Call/Transaction Does Not Exist", "b1", "", "")).await;
    assert!(matches!(side.news().await, FromAgent::ReinviteFailed { .. }));
    assert!(matches!(side.news().await, FromAgent::Ended { .. }));
    peer.until("BYE").await;
}

#[tokio::test]
async fn a_bye_ends_a_call_with_a_change_under_way() {
    let (mut side, mut peer, dialog, invite) = answered_by_peer().await;
    side.tell(ToAgent::Reinvite { dialog, sdp: sdp(3) }).await;
    peer.until("INVITE").await;
    let ours = invite.tag("From").to_owned();
    let call_id = invite.required("Call-ID").to_owned();
    let names = (invite.uri(), call_id.as_str(), "b1", ours.as_str());
    peer.send(peer.request_in("BYE", 1, names, "Reason: Q.850;cause=16;text=\"bye\"\r\n", "")).await;
    peer.until("SIP/2.0 200").await;
    match side.news().await {
        FromAgent::Ended { reason, .. } => assert_eq!(reason[0].cause, 16),
        other => panic!("expected the end, got {other:?}"),
    }
}

#[tokio::test]
async fn key_presses_in_info_reach_the_translator() {
    let (mut side, mut peer, dialog, ok) = answered_by_agent().await;
    let theirs = ok.tag("To").to_owned();
    let names = ("sip:stox@127.0.0.1", "c1", "a1", theirs.as_str());
    let body = "Signal=5\r\nDuration=160\r\n";
    peer.send(peer.request_in("INFO", 2, names, "Content-Type: Application/DTMF-Relay;x=y\r\n", body)).await;
    match side.news().await {
        FromAgent::Info { request, content_type, body: told, .. } => {
            assert_eq!((content_type.as_str(), told.as_slice()), ("application/dtmf-relay", body.as_bytes()));
            side.tell(ToAgent::RespondInDialog { dialog, request, response: Response::new(200) }).await;
        }
        other => panic!("expected an INFO, got {other:?}"),
    }
    assert_eq!(peer.receive().await.status(), 200);
    peer.send(peer.request_in("INFO", 3, names, "", "")).await;
    assert_eq!(peer.receive().await.status(), 200);
}

#[tokio::test]
async fn an_info_of_ours_goes_to_the_peer_and_its_refusal_harms_nothing() {
    let (mut side, mut peer, dialog, _) = answered_by_agent().await;
    let (content_type, body) = (sip::media_control::MEDIA_TYPE.to_owned(), "<media_control/>".to_owned());
    side.tell(ToAgent::Info { dialog, content_type, body }).await;
    let info = peer.until("INFO").await;
    assert_eq!((info.required("Content-Type"), info.body()), ("application/media_control+xml", "<media_control/>"));
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    peer.send(info.response("401 Unauthorized", "a1", challenge, "")).await;
    side.silence(T1).await;
    // The next request has the next number, whatever became of the first.
    side.tell(ToAgent::Bye { dialog, reason: Vec::new() }).await;
    let bye = peer.until("BYE").await;
    let number = |message: &Message| message.required("CSeq").split(' ').next().and_then(|n| n.parse::<u32>().ok());
    assert!(number(&bye) > number(&info), "{:?} {:?}", number(&bye), number(&info));
}

#[tokio::test]
async fn a_caller_may_hang_up_before_the_answer() {
    let (mut side, mut peer) = called().await;
    let invite = peer.request("INVITE", 1, "", &sdp(1));
    peer.send(&invite).await;
    let dialog = side.invited().await.dialog;
    side.respond(dialog, Response::new(180)).await;
    let ringing = peer.until("SIP/2.0 180").await;
    let theirs = ringing.tag("To").to_owned();
    peer.send(peer.request_in("BYE", 2, ("sip:stox@127.0.0.1", "c1", "a1", &theirs), "", "")).await;
    assert_eq!(peer.receive().await.status(), 200);
    assert_eq!(peer.receive().await.status(), 487);
    assert!(matches!(side.news().await, FromAgent::Cancelled { .. }));
}

#[tokio::test]
async fn a_call_goes_through_the_routers_that_recorded_themselves() {
    let (mut side, mut peer, dialog, invite) = calling(Some(sdp(1))).await;
    let mut far = Peer::bind().await;
    let routes = format!(
        "Record-Route: <sip:far.example.org;lr>, <sip:{};lr>\r\nContact: <sip:bob@192.0.2.1:5999>\r\n",
        far.address()
    );
    peer.send(invite.response("200 OK", "b1", &routes, &sdp(2))).await;
    assert!(matches!(side.news().await, FromAgent::Answered { .. }));
    let ack = far.receive().await;
    assert_eq!((ack.method(), ack.uri()), ("ACK", "sip:bob@192.0.2.1:5999"));
    assert_eq!(ack.required("Route"), format!("<sip:{};lr>", far.address()));
    side.bye(dialog).await;
    assert_eq!(far.receive().await.method(), "BYE");
    assert!(peer.within(T1 / 2).await.is_none());
}

#[tokio::test]
async fn a_registration_is_kept_and_withdrawn() {
    let mut peer = Peer::bind().await;
    let mut config = Side::config(Transport::Udp);
    let mut trunk = crate::trunk(Transport::Udp, peer.address());
    trunk.username = Some("gw".to_owned());
    trunk.password = Some(model::Secret::new("s3cret".to_owned()));
    trunk.register = true;
    config.trunks.push(trunk);
    let side = Side::start(config).await;
    let first = peer.until("REGISTER sip:127.0.0.1 ").await;
    assert_eq!((first.required("To"), first.required("Expires")), ("<sip:gw@127.0.0.1>", "3600"));
    let ask = "WWW-Authenticate: Digest realm=\"u\", nonce=\"n\", qop=\"auth\"\r\n";
    peer.send(first.response("401 Unauthorized", "r", ask, "")).await;
    let second = peer.until("REGISTER").await;
    assert_eq!((second.required("Call-ID"), second.required("CSeq")), (first.required("Call-ID"), "2 REGISTER"));
    peer.send(second.response("423 Interval Too Brief", "r", "Min-Expires: 7200\r\n", "")).await;
    let third = peer.until("REGISTER").await;
    assert_eq!(third.required("Expires"), "7200");
    assert!(third.required("Authorization").contains("nc=00000002"));
    let contact = format!("Contact: {};expires=7200\r\n", third.required("Contact"));
    peer.send(third.response("200 OK", "r", &contact, "")).await;
    assert!(peer.within(2 * T1).await.is_none());
    let stop = tokio::spawn(side.stop());
    let last = peer.until("REGISTER").await;
    assert_eq!(last.required("Expires"), "0");
    peer.send(last.response("200 OK", "r", "", "")).await;
    tokio::time::timeout(Duration::from_secs(2), stop).await.expect("stops at once").expect("stops");
}

#[tokio::test]
async fn a_response_goes_back_where_rport_asks_for_it() {
    let (_side, mut peer) = called().await;
    let address = peer.address();
    let request = peer.request("OPTIONS", 1, "", "");
    peer.send(request.replace(&format!("UDP {address};"), "UDP 10.9.8.7:5060;rport;")).await;
    let answer = peer.receive().await;
    let via = answer.required("Via");
    assert!(via.contains("received=127.0.0.1") && via.contains(&format!("rport={}", address.port())), "{via}");
}

#[tokio::test]
async fn the_called_address_is_told_as_it_came() {
    let (mut side, peer) = called().await;
    for (number, uri) in [
        "sip:juliet%40xmpp.example@gw.example",
        "sip:+1555;ext=12@gw.example;user=phone",
        "sip:o'malley&$1@gw.example:5070;transport=UDP",
        "tel:+1-555-1234;phone-context=example.org",
        "sips:[2001:db8::1]:5061",
        "sip:gw.example;gr=x%20y",
    ]
    .into_iter()
    .enumerate()
    {
        let call_id = format!("uri{number}");
        peer.send(peer.request_in("INVITE", 1, (uri, &call_id, "a1", ""), "", &sdp(1))).await;
        assert_eq!(side.invited().await.request_uri, uri);
    }
    peer.send(peer.request_in("INVITE", 1, ("http://gw.example/", "c2", "a1", ""), "", &sdp(1))).await;
    side.silence(T1).await;
}

#[tokio::test]
async fn the_called_address_goes_out_as_it_was_given() {
    let mut peer = Peer::bind().await;
    let mut side = Side::with_trunk(Transport::Udp, peer.address()).await;
    let to = "sip:juliet%40xmpp.example;x=1@gw.example;user=phone".to_owned();
    let from = "sip:f%C3%BC@example.com".to_owned();
    let invite = OutgoingInvite {
        trunk: Some("other".to_owned()),
        from_display: Some("F\"\u{fc}\"\r\nX: y".to_owned()),
        sdp: Some(sdp(1)),
        max_forwards: 7,
        ..OutgoingInvite::new(DialogId(1 << 63), to, from)
    };
    side.tell(ToAgent::Invite(invite.clone())).await;
    let arrived = peer.until("INVITE").await;
    assert_eq!((arrived.uri(), arrived.required("Max-Forwards")), (invite.to.as_str(), "7"));
    assert_eq!(arrived.required("To"), format!("<{}>", invite.to));
    assert!(arrived.required("From").starts_with("\"F\\\"\u{fc}\\\"X: y\" <sip:f%C3%BC@example.com>;tag="));
    // What the peer calls itself is kept just as carefully.
    let contact = format!("Contact: <sip:b%20b;y@{};z=%20>\r\n", peer.address());
    peer.send(arrived.response("200 OK", "b1", &contact, &sdp(2))).await;
    assert_eq!(peer.until("ACK").await.uri(), format!("sip:b%20b;y@{};z=%20", peer.address()));
    assert!(matches!(side.news().await, FromAgent::Answered { .. }));

    for bad in ["sip:", "tel:+1555", "bob", "sip:b@x>\r\nX: y"] {
        let dialog = DialogId((1 << 63) + 1);
        side.tell(ToAgent::Invite(OutgoingInvite { to: bad.to_owned(), dialog, ..invite.clone() })).await;
        assert!(matches!(side.news().await, FromAgent::Failed { .. }), "{bad}");
    }
}

#[tokio::test]
async fn a_large_invite_to_a_stranger_goes_over_tcp() {
    let mut peer = Peer::bind().await;
    let listener = tokio::net::TcpListener::bind(peer.address()).await.expect("a TCP port of the same number");
    let mut side = Side::start(Side::config(Transport::Udp)).await;
    let large = format!("{}a=x-filler:{}\r\n", sdp(1), "x".repeat(1_200));
    let invite = |dialog, sdp| {
        let (to, from) = (format!("sip:bob@{}", peer.address()), "sip:alice@example.com".to_owned());
        ToAgent::Invite(OutgoingInvite { sdp: Some(sdp), ..OutgoingInvite::new(DialogId(dialog), to, from) })
    };
    let (small, large, again) =
        (invite(1 << 63, sdp(1)), invite((1 << 63) + 1, large.clone()), invite((1 << 63) + 2, large));
    side.tell(small).await;
    assert!(peer.until("INVITE").await.required("Via").starts_with("SIP/2.0/UDP "));
    side.tell(large).await;
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut start = [0; 10];
    stream.read_exact(&mut start).await.expect("a request");
    assert_eq!(&start, b"INVITE sip");
    // Without TCP it is better than nothing (RFC 3261 §18.1.1).
    drop((stream, listener));
    side.silence(T1).await;
    side.tell(again).await;
    let invite = loop {
        let invite = peer.until("INVITE").await;
        if invite.text.len() > 1_300 {
            break invite;
        }
    };
    assert!(invite.required("Via").starts_with("SIP/2.0/UDP "));
}

/// `rsip` is another parser than the one below the agent.
#[tokio::test]
async fn another_parser_reads_what_the_agent_sends() {
    use rsip::headers::ToTypedHeader;
    use rsip::prelude::{HeadersExt, UntypedHeader};

    let (mut side, mut peer, dialog, invite) = calling(Some(sdp(1))).await;
    peer.send(invite.response("200 OK", "b1", &contact(&peer), &sdp(2))).await;
    let ack = peer.until("ACK").await;
    assert!(matches!(side.news().await, FromAgent::Answered { .. }));
    side.bye(dialog).await;
    let bye = peer.until("BYE").await;
    for (message, cseq) in [(invite, "1 INVITE"), (ack, "1 ACK"), (bye, "2 BYE")] {
        let request = rsip::Request::try_from(message.text.as_bytes()).expect("a request");
        assert_eq!(request.method().to_string(), message.method());
        assert_eq!(request.cseq_header().expect("a CSeq").value(), cseq);
        assert_eq!(request.call_id_header().expect("a Call-ID").value(), message.required("Call-ID"));
        let via = request.via_header().expect("a Via").typed().expect("a Via");
        assert_eq!(via.uri.host_with_port.to_string(), side.address().to_string());
        assert_eq!(request.body, message.body().as_bytes());
    }
}
