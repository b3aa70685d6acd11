//! Session timers (RFC 4028): the agent refreshes, is refreshed, and ends what nobody refreshes.

use sip::agent::Transport;
use sip::message::{DialogId, FromAgent, Reason, Response, ToAgent};

use crate::odd::{called, calling, contact};
use crate::peer::{Message, Peer};
use crate::{Side, T1, pass, sdp};

/// The agent called, and the peer answered with what it says of timers.
async fn answered(more: &str) -> (Side, Peer, DialogId, Message) {
    let (mut side, mut peer, dialog, invite) = calling(Some(sdp(1))).await;
    let more = format!("{}{more}", contact(&peer));
    peer.send(invite.response("200 OK", "b1", &more, &sdp(2))).await;
    peer.until("ACK").await;
    assert!(matches!(side.news().await, FromAgent::Answered { .. }));
    (side, peer, dialog, invite)
}

/// The peer called with what it says of timers, and the agent answered: the 2xx.
async fn accepted(more: &str) -> (Side, Peer, DialogId, Message) {
    let (mut side, mut peer) = called().await;
    peer.send(peer.request("INVITE", 1, more, &sdp(1))).await;
    let dialog = side.invited().await.dialog;
    side.respond(dialog, Response::with_sdp(200, sdp(2))).await;
    let ok = peer.until("SIP/2.0 200").await;
    peer.send(peer.request_in("ACK", 1, ("sip:stox@127.0.0.1", "c1", "a1", ok.tag("To")), "", "")).await;
    assert!(matches!(side.news().await, FromAgent::Acknowledged { .. }));
    (side, peer, dialog, ok)
}

async fn ended(side: &mut Side) -> Vec<Reason> {
    match side.news().await {
        FromAgent::Ended { reason, .. } => reason,
        other => panic!("expected the end, got {other:?}"),
    }
}

const TIMER: &str = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n";

#[tokio::test]
async fn a_call_is_refreshed_by_update_where_the_peer_takes_it() {
    let (mut side, mut peer, dialog, invite) = answered(&format!("{TIMER}Allow: INVITE, UPDATE\r\n")).await;
    assert_eq!((invite.required("Session-Expires"), invite.required("Min-SE")), ("1800", "90"));
    assert!(invite.required("Supported").contains("timer"));
    for number in 2..4 {
        pass(299).await;
        assert!(peer.within(T1).await.is_none(), "not yet");
        pass(1).await;
        let update = peer.receive().await;
        assert_eq!((update.method(), update.body()), ("UPDATE", ""));
        assert_eq!(update.required("CSeq"), format!("{number} UPDATE"));
        assert_eq!(update.required("Session-Expires"), "600;refresher=uac");
        assert!(update.required("Contact").contains("127.0.0.1"));
        peer.send(update.response("200 OK", "", &format!("{TIMER}Require: timer\r\n"), "")).await;
        side.silence(T1).await;
    }
    // An answer without an interval turns the timer off.
    pass(300).await;
    let update = peer.until("UPDATE").await;
    peer.send(update.response("200 OK", "", "Supported: timer\r\n", "")).await;
    side.silence(T1).await;
    pass(4_000).await;
    assert!(peer.within(2 * T1).await.is_none());
    side.bye(dialog).await;
    peer.until("BYE").await;
}

#[tokio::test]
async fn a_call_is_refreshed_by_what_we_described_last_where_the_peer_takes_no_update() {
    let (mut side, mut peer, dialog, invite) = answered(TIMER).await;
    pass(300).await;
    let again = peer.receive().await;
    assert_eq!((again.method(), again.body()), ("INVITE", sdp(1).as_str()));
    assert_eq!(again.required("Session-Expires"), "600;refresher=uac");
    let more = format!("{}{TIMER}", contact(&peer));
    peer.send(again.response("200 OK", "", &more, &sdp(3))).await;
    peer.until("ACK").await;
    side.silence(T1).await;

    // What was changed meanwhile is what is repeated.
    side.tell(ToAgent::Reinvite { dialog, sdp: sdp(5) }).await;
    let change = peer.receive().await;
    assert_eq!(change.required("Session-Expires"), "600;refresher=uac", "a change refreshes too");
    peer.send(change.response("200 OK", "", &more, &sdp(6))).await;
    peer.until("ACK").await;
    assert!(matches!(side.news().await, FromAgent::ReinviteAnswered { .. }));
    peer.send(peer.request_back(&invite, "INVITE", 1, "", &sdp(7))).await;
    let (request, _) = side.reinvited().await;
    let response = Response::with_sdp(200, sdp(8));
    side.tell(ToAgent::RespondInDialog { dialog, request, response }).await;
    peer.until("SIP/2.0 200").await;
    peer.send(peer.request_back(&invite, "ACK", 1, "", "")).await;
    assert!(matches!(side.news().await, FromAgent::Acknowledged { .. }));
    pass(900).await;
    let again = peer.receive().await;
    assert_eq!((again.method(), again.body()), ("INVITE", sdp(8).as_str()));
    // One that describes itself anew is told.
    let other = sdp(9).replace("m=audio 4000", "m=audio 4444");
    peer.send(again.response("200 OK", "", &more, &other)).await;
    peer.until("ACK").await;
    assert_eq!(side.news().await, FromAgent::ReinviteAnswered { dialog, sdp: Some(other) });
}

#[tokio::test]
async fn a_refresh_that_fails_ends_the_call_only_if_the_peer_has_gone() {
    let (mut side, mut peer, _, _) = answered(&format!("{TIMER}Allow: INVITE, UPDATE\r\n")).await;
    pass(300).await;
    // Glare: soon once more.
    let update = peer.until("UPDATE").await;
    peer.send(update.response("491 Request Pending", "", "", "")).await;
    side.silence(T1).await;
    pass(4).await;
    // A longer interval is wanted.
    let update = peer.until("UPDATE").await;
    peer.send(update.response("422 Too Small", "", "Min-SE: 1200\r\n", "")).await;
    let update = peer.until("UPDATE").await;
    assert_eq!((update.required("Session-Expires"), update.required("Min-SE")), ("1200;refresher=uac", "1200"));
    // It says that it takes UPDATE, and does not.
    peer.send(update.response("405 Method Not Allowed", "", "", "")).await;
    let again = peer.until("INVITE").await;
    assert_eq!(again.body(), sdp(1));
    // Something went wrong there.
    peer.send(again.response("500 Oops", "", "", "")).await;
    peer.until("ACK").await;
    side.silence(T1).await;
    pass(10).await;
    let again = peer.until("INVITE").await;
    peer.send(again.response("481 Gone", "", "", "")).await;
    assert_eq!(ended(&mut side).await[0].cause, 481);
    peer.until("BYE").await;
    assert_eq!(side.agent.statistics().session_expired, 1);
}

#[tokio::test]
async fn a_peer_that_does_not_answer_the_refresh_is_gone() {
    for more in [&format!("{TIMER}Allow: INVITE, UPDATE\r\n"), TIMER, "Allow: UPDATE\r\n", ""] {
        let (mut side, mut peer, _, _) = answered(more).await;
        pass(900).await;
        peer.receive().await;
        assert_eq!(ended(&mut side).await[0].cause, 408, "{more}");
        peer.until("BYE").await;
        assert_eq!(side.agent.statistics().session_expired, 1);
    }
}

#[tokio::test]
async fn a_peer_without_timers_is_asked_whether_it_is_there_and_may_refuse_to_say() {
    let (mut side, mut peer, dialog, _) = answered("").await;
    for status in ["488 No", "500 Oops", "200 OK"] {
        pass(899).await;
        assert!(peer.within(T1).await.is_none());
        pass(1).await;
        let again = peer.until("INVITE").await;
        let body = if status == "200 OK" { sdp(2) } else { String::new() };
        peer.send(again.response(status, "", &contact(&peer), &body)).await;
        peer.until("ACK").await;
        side.silence(T1).await;
    }
    side.bye(dialog).await;
    peer.until("BYE").await;
}

#[tokio::test]
async fn a_peer_that_promised_to_refresh_has_to() {
    let refresher = "Supported: timer\r\nSession-Expires: 600;refresher=uas\r\n";
    let (mut side, mut peer, dialog, invite) = answered(refresher).await;
    pass(560).await;
    let more = "Supported: timer\r\nSession-Expires: 600;refresher=uac\r\n";
    peer.send(peer.request_back(&invite, "UPDATE", 1, more, "")).await;
    let ok = peer.until("SIP/2.0 200").await;
    assert_eq!((ok.required("Session-Expires"), ok.required("Require")), ("600;refresher=uac", "timer"));
    assert_eq!(ok.body(), "");
    pass(560).await;
    // By re-INVITE it is the translator's answer.
    peer.send(peer.request_back(&invite, "INVITE", 2, more, &sdp(2))).await;
    let (request, _) = side.reinvited().await;
    let response = Response::with_sdp(200, sdp(1));
    side.tell(ToAgent::RespondInDialog { dialog, request, response }).await;
    let ok = peer.until("SIP/2.0 200").await;
    assert_eq!(ok.required("Session-Expires"), "600;refresher=uac");
    peer.send(peer.request_back(&invite, "ACK", 2, "", "")).await;
    assert!(matches!(side.news().await, FromAgent::Acknowledged { .. }));
    pass(567).await;
    side.silence(T1).await;
    pass(2).await;
    assert_eq!(ended(&mut side).await[0].cause, 408);
    peer.until("BYE").await;
}

#[tokio::test]
async fn a_caller_gets_the_timer_that_it_wants() {
    for (more, answer, refreshed_at) in [
        ("Supported: timer\r\nSession-Expires: 3600\r\n", "1800;refresher=uas", Some(900)),
        ("Supported: timer\r\nSession-Expires: 200;refresher=uac\r\n", "200;refresher=uac", None),
        ("Supported: timer\r\n", "1800;refresher=uas", Some(900)),
        ("", "1800;refresher=uas", Some(900)),
    ] {
        let more = format!("{more}Allow: UPDATE\r\n");
        let (mut side, mut peer, _, ok) = accepted(&more).await;
        assert_eq!(ok.required("Session-Expires"), answer, "{more}");
        assert_eq!(ok.header("Require").is_some(), more.contains("timer"), "{more}");
        match refreshed_at {
            Some(seconds) => {
                pass(seconds).await;
                let update = peer.receive().await;
                assert_eq!((update.method(), update.required("Session-Expires")), ("UPDATE", "1800;refresher=uac"));
            }
            None => {
                pass(170).await;
                assert_eq!(ended(&mut side).await[0].cause, 408);
                peer.until("BYE").await;
            }
        }
    }
}

#[tokio::test]
async fn an_interval_that_is_too_short_is_refused_everywhere() {
    let mut config = Side::config(Transport::Udp);
    config.session.min_se = std::time::Duration::from_secs(300);
    let mut side = Side::start(config).await;
    let mut peer = Peer::towards(side.address()).await;
    let short = "Supported: timer\r\nSession-Expires: 299\r\n";
    peer.send(peer.request("INVITE", 1, short, &sdp(1))).await;
    assert_eq!(peer.until("SIP/2.0 422").await.required("Min-SE"), "300");
    peer.send(peer.request("INVITE", 2, "Supported: timer\r\nSession-Expires: 300\r\n", &sdp(1))).await;
    let dialog = side.invited().await.dialog;
    side.respond(dialog, Response::with_sdp(200, sdp(2))).await;
    let ok = peer.until("SIP/2.0 200").await;
    let within = |peer: &Peer, method, number, body: &str| {
        peer.request_in(method, number, ("sip:stox@127.0.0.1", "c1", "a1", ok.tag("To")), short, body)
    };
    peer.send(within(&peer, "ACK", 2, "")).await;
    assert!(matches!(side.news().await, FromAgent::Acknowledged { .. }));
    for (number, method, body) in [(3, "UPDATE", String::new()), (4, "UPDATE", sdp(3)), (5, "INVITE", sdp(3))] {
        peer.send(within(&peer, method, number, &body)).await;
        assert_eq!(peer.until("SIP/2.0 422").await.required("Min-SE"), "300");
    }
    assert_eq!(side.agent.statistics().session_too_short, 4);
    side.silence(T1).await;
}

#[tokio::test]
async fn a_callee_that_wants_a_longer_interval_gets_it_but_not_for_ever() {
    let (mut side, mut peer, _, invite) = calling(Some(sdp(1))).await;
    peer.send(invite.response("422 Session Interval Too Small", "b1", "Min-SE: 3600\r\n", "")).await;
    peer.until("ACK").await;
    let mut invite = peer.until("INVITE").await;
    assert_eq!(invite.required("CSeq"), "2 INVITE");
    assert_eq!((invite.required("Session-Expires"), invite.required("Min-SE")), ("3600", "3600"));
    for least in 3_601..3_604 {
        peer.send(invite.response("422 Too Small", "b1", &format!("Min-SE: {least}\r\n"), "")).await;
        invite = peer.until("INVITE").await;
    }
    peer.send(invite.response("422 Too Small", "b1", "Min-SE: 4000\r\n", "")).await;
    match side.news().await {
        FromAgent::Failed { failure, .. } => assert_eq!((failure.status, failure.local), (422, false)),
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[tokio::test]
async fn who_wants_no_timers_asks_for_none() {
    let mut peer = Peer::bind().await;
    let mut config = Side::config(Transport::Udp);
    config.session.expires = std::time::Duration::ZERO;
    config.trunks.push(crate::trunk(Transport::Udp, peer.address()));
    let mut side = Side::start(config).await;
    side.call(Some(sdp(1))).await;
    let invite = peer.until("INVITE").await;
    assert_eq!(invite.header("Session-Expires"), None);
    peer.send(invite.response("200 OK", "b1", &contact(&peer), &sdp(2))).await;
    peer.until("ACK").await;
    assert!(matches!(side.news().await, FromAgent::Answered { .. }));
    pass(100_000).await;
    side.silence(T1).await;
    assert!(peer.within(T1).await.is_none());
}
