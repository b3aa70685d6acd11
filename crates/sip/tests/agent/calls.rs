//! Calls between two agents.

use std::path::Path;
use std::time::Duration;

use sip::agent::{Agent, Config, StartError, Tls, Transport, Trunk};
use sip::message::{DialogId, Failure, FromAgent, OutgoingInvite, Reason, Response, ToAgent};

use crate::{Side, T1, connect, pair, sdp, trunk};

fn failure(news: FromAgent) -> Failure {
    match news {
        FromAgent::Failed { failure, .. } | FromAgent::ReinviteFailed { failure, .. } => failure,
        other => panic!("expected a failure, got {other:?}"),
    }
}

fn ended(news: FromAgent) -> Vec<Reason> {
    match news {
        FromAgent::Ended { reason, .. } => reason,
        other => panic!("expected the end, got {other:?}"),
    }
}

#[tokio::test]
async fn a_call_is_made_and_ended_by_either_side() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut caller, mut callee) = pair(transport).await;
        let (out, _) = connect(&mut caller, &mut callee).await;
        let reason = vec![Reason { protocol: "Q.850".to_owned(), cause: 16, text: None }];
        caller.tell(ToAgent::Bye { dialog: out, reason: reason.clone() }).await;
        assert_eq!(ended(callee.news().await), reason);

        let (_, into) = connect(&mut caller, &mut callee).await;
        callee.bye(into).await;
        assert!(ended(caller.news().await).is_empty());
        caller.stop().await;
        callee.stop().await;
    }
}

/// Certificates for 127.0.0.1 by an authority of their own; they end in 2126.
fn with_tls(mut config: Config) -> Config {
    let file = |name| Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/agent/tls").join(name));
    let (certificate, key, authorities) = (file("certificate.pem"), file("key.pem"), file("authority.pem"));
    config.tls = Tls { certificate, key, authorities };
    config
}

#[tokio::test]
async fn tls_is_one_more_transport() {
    let mut callee = Side::start(with_tls(Side::config(Transport::Tls))).await;
    let mut config = with_tls(Side::config(Transport::Tls));
    config.trunks.push(crate::trunk(Transport::Tls, callee.address()));
    let mut caller = Side::start(config.clone()).await;
    let (out, _) = connect(&mut caller, &mut callee).await;
    caller.bye(out).await;
    ended(callee.news().await);
    let (_, into) = connect(&mut caller, &mut callee).await;
    callee.bye(into).await;
    ended(caller.news().await);

    // Whoever does not know the authority does not call.
    config.tls.authorities = None;
    let mut stranger = Side::start(config).await;
    stranger.call(Some(sdp(1))).await;
    let refused = failure(stranger.news().await);
    assert_eq!((refused.status, refused.local), (503, true));
}

#[tokio::test]
async fn a_call_goes_over_ipv6_and_from_a_socket_of_all_addresses() {
    for (listen, reach) in [("[::1]:0", "[::1]"), ("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "[::1]")] {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut config = Side::config(transport);
            config.listen[0].address = listen.parse().expect("an address");
            let mut callee = Side::start(config.clone()).await;
            let there = format!("{reach}:{}", callee.address().port()).parse().expect("an address");
            config.trunks.push(crate::trunk(transport, there));
            let mut caller = Side::start(config).await;
            let (_, into) = connect(&mut caller, &mut callee).await;
            callee.bye(into).await;
            ended(caller.news().await);
        }
    }
}

#[tokio::test]
async fn a_trunk_may_have_a_name() {
    let mut callee = Side::start(Side::config(Transport::Udp)).await;
    let mut config = Side::config(Transport::Udp);
    let trunk = crate::trunk(Transport::Udp, callee.address());
    config.trunks.push(Trunk { uri: format!("sip:localhost:{}", callee.address().port()), ..trunk });
    let mut caller = Side::start(config).await;
    let (out, _) = connect(&mut caller, &mut callee).await;
    caller.bye(out).await;
    ended(callee.news().await);
    callee = Side::with_trunk(Transport::Udp, caller.address()).await;
    callee.call(Some(sdp(1))).await;
    assert_eq!(caller.invited().await.trunk.as_deref(), Some("other"), "known by its host");
}

#[tokio::test]
async fn a_stopped_agent_leaves_its_ports() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut caller, mut callee) = pair(transport).await;
        connect(&mut caller, &mut callee).await;
        let mut config = Side::config(transport);
        config.listen[0].address = callee.address();
        caller.stop().await;
        callee.stop().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        Side::start(config).await;
    }
}

#[tokio::test]
async fn the_agent_does_not_start_on_what_it_cannot_have() {
    let side = Side::start(Side::config(Transport::Udp)).await;
    let mut config = Side::config(Transport::Udp);
    config.listen[0].address = side.address();
    assert!(matches!(Agent::start(config).await, Err(StartError::Listen { .. })));
    assert!(matches!(Agent::start(Side::config(Transport::Tls)).await, Err(StartError::Tls(_))));
    for uri in ["mailto:x@y", "tel:+1555", "sip:host;transport=carrier-pigeon"] {
        let mut config = Side::config(Transport::Udp);
        config.trunks.push(Trunk { uri: uri.to_owned(), ..crate::trunk(Transport::Udp, side.address()) });
        assert!(matches!(Agent::start(config).await, Err(StartError::Trunk { .. })), "{uri}");
    }
}

#[tokio::test]
async fn an_invite_says_who_calls_whom() {
    let (mut caller, mut callee) = pair(Transport::Udp).await;
    caller.call(Some(sdp(1))).await;
    let invite = callee.invited().await;
    assert_eq!(invite.request_uri, "sip:bob@example.org");
    assert_eq!((invite.from.as_str(), invite.from_display.as_deref()), ("sip:alice@example.com", Some("Alice")));
    assert_eq!((invite.trunk, invite.max_forwards, invite.sdp), (None, 70, Some(sdp(1))));
    assert_eq!(invite.source, caller.address());
}

#[tokio::test]
async fn a_trunk_is_known_by_its_address() {
    let (caller, mut callee) = pair(Transport::Udp).await;
    let mut other = Side::with_trunk(Transport::Udp, caller.address()).await;
    drop(callee.from);
    callee = Side::with_trunk(Transport::Udp, other.address()).await;
    callee.call(Some(sdp(1))).await;
    assert_eq!(other.invited().await.trunk.as_deref(), Some("other"));
}

#[tokio::test]
async fn trunks_of_one_address_are_told_apart_over_tcp() {
    let caller = Side::start(Side::config(Transport::Tcp)).await;
    let mut config = Side::config(Transport::Tcp);
    let elsewhere = std::net::SocketAddr::new(caller.address().ip(), 1);
    config.trunks = vec![Trunk { name: "first".to_owned(), ..trunk(Transport::Tcp, elsewhere) }];
    config.trunks.push(trunk(Transport::Tcp, caller.address()));
    let mut callee = Side::start(config).await;
    let to = format!("sip:bob@{};transport=tcp", callee.address());
    let invite = OutgoingInvite::new(DialogId(1), to, "sip:alice@example.com".to_owned());
    let invite = OutgoingInvite { sdp: Some(sdp(1)), ..invite };
    caller.tell(ToAgent::Invite(invite)).await;
    assert_eq!(callee.invited().await.trunk.as_deref(), Some("other"));
}

#[tokio::test]
async fn a_refusal_comes_with_its_reasons() {
    let (mut caller, mut callee) = pair(Transport::Udp).await;
    caller.call(Some(sdp(1))).await;
    let invite = callee.invited().await;
    let reason = vec![Reason { protocol: "Q.850".to_owned(), cause: 17, text: Some("User \"busy\"".to_owned()) }];
    let response = Response {
        phrase: Some("Busy now".to_owned()),
        reason: reason.clone(),
        retry_after: Some(30),
        warning: Some((399, "later".to_owned())),
        ..Response::new(486)
    };
    callee.respond(invite.dialog, response).await;
    let failure = failure(caller.news().await);
    assert_eq!((failure.status, failure.local, failure.retry_after), (486, false, Some(30)));
    assert_eq!(failure.phrase, "Busy now");
    assert_eq!(failure.reason[0].cause, 17);
}

#[tokio::test]
async fn a_call_is_cancelled_while_it_rings() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut caller, mut callee) = pair(transport).await;
        let dialog = caller.call(Some(sdp(1))).await;
        let invite = callee.invited().await;
        callee.respond(invite.dialog, Response::new(180)).await;
        assert!(matches!(caller.news().await, FromAgent::Provisional { status: 180, reliable: false, .. }));
        let reason = vec![Reason { protocol: "SIP".to_owned(), cause: 200, text: None }];
        caller.tell(ToAgent::Cancel { dialog, reason: reason.clone() }).await;
        assert_eq!(callee.news().await, FromAgent::Cancelled { dialog: invite.dialog, reason });
        assert_eq!(failure(caller.news().await).status, 487);
    }
}

#[tokio::test]
async fn a_call_that_is_cancelled_at_once_still_ends() {
    let (mut caller, mut callee) = pair(Transport::Udp).await;
    let dialog = caller.call(Some(sdp(1))).await;
    caller.tell(ToAgent::Cancel { dialog, reason: Vec::new() }).await;
    let invite = callee.invited().await;
    assert!(matches!(callee.news().await, FromAgent::Cancelled { dialog, .. } if dialog == invite.dialog));
    assert_eq!(failure(caller.news().await).status, 487);
}

#[tokio::test]
async fn the_callee_may_offer_first() {
    let (mut caller, mut callee) = pair(Transport::Udp).await;
    let dialog = caller.call(None).await;
    let invite = callee.invited().await;
    assert_eq!(invite.sdp, None);
    callee.respond(invite.dialog, Response::with_sdp(200, sdp(5))).await;
    match caller.news().await {
        FromAgent::Answered { sdp: offer, .. } => assert_eq!(offer, Some(sdp(5))),
        other => panic!("expected an offer, got {other:?}"),
    }
    // Copies of the 2xx come meanwhile.
    callee.silence(3 * T1).await;
    caller.tell(ToAgent::Ack { dialog, sdp: sdp(6) }).await;
    assert_eq!(callee.news().await, FromAgent::Acknowledged { dialog: invite.dialog, sdp: Some(sdp(6)) });
    callee.bye(invite.dialog).await;
    ended(caller.news().await);
}

#[tokio::test]
async fn ringing_with_sdp_is_reliable_and_carries_the_answer() {
    let (mut caller, mut callee) = pair(Transport::Udp).await;
    caller.call(Some(sdp(1))).await;
    let invite = callee.invited().await;
    callee.respond(invite.dialog, Response::with_sdp(183, sdp(2))).await;
    callee.respond(invite.dialog, Response::with_sdp(200, sdp(2))).await;
    match caller.news().await {
        FromAgent::Provisional { status: 183, reliable: true, sdp: answer, .. } => assert_eq!(answer, Some(sdp(2))),
        other => panic!("expected a reliable response, got {other:?}"),
    }
    assert!(matches!(caller.news().await, FromAgent::Answered { sdp: None, .. }));
    assert!(matches!(callee.news().await, FromAgent::Acknowledged { sdp: None, .. }));
}

#[tokio::test]
async fn either_side_may_change_a_call() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let (mut caller, mut callee) = pair(transport).await;
        let (out, into) = connect(&mut caller, &mut callee).await;
        caller.tell(ToAgent::Reinvite { dialog: out, sdp: sdp(3) }).await;
        let (request, offer) = callee.reinvited().await;
        assert_eq!(offer, Some(sdp(3)));
        let response = Response::with_sdp(200, sdp(4));
        callee.tell(ToAgent::RespondInDialog { dialog: into, request, response }).await;
        assert_eq!(caller.news().await, FromAgent::ReinviteAnswered { dialog: out, sdp: Some(sdp(4)) });
        assert!(matches!(callee.news().await, FromAgent::Acknowledged { .. }));

        callee.tell(ToAgent::Reinvite { dialog: into, sdp: sdp(5) }).await;
        let (request, _) = caller.reinvited().await;
        let response = Response::new(488);
        caller.tell(ToAgent::RespondInDialog { dialog: out, request, response }).await;
        assert_eq!(failure(callee.news().await).status, 488);
        caller.bye(out).await;
        ended(callee.news().await);
    }
}

#[tokio::test]
async fn changes_that_cross_are_both_refused() {
    let (mut caller, mut callee) = pair(Transport::Udp).await;
    let (out, into) = connect(&mut caller, &mut callee).await;
    caller.tell(ToAgent::Reinvite { dialog: out, sdp: sdp(3) }).await;
    let (request, _) = callee.reinvited().await;
    // The callee has an offer to answer: its own has to wait.
    callee.tell(ToAgent::Reinvite { dialog: into, sdp: sdp(4) }).await;
    let refused = failure(callee.news().await);
    assert_eq!((refused.status, refused.local), (491, true));
    let response = Response::with_sdp(200, sdp(5));
    callee.tell(ToAgent::RespondInDialog { dialog: into, request, response }).await;
    assert!(matches!(caller.news().await, FromAgent::ReinviteAnswered { .. }));
}

#[tokio::test]
async fn hang_ups_that_cross_hurt_nobody() {
    let (mut caller, mut callee) = pair(Transport::Udp).await;
    let (out, into) = connect(&mut caller, &mut callee).await;
    tokio::join!(caller.bye(out), callee.bye(into));
    caller.silence(2 * T1).await;
    callee.silence(Duration::from_millis(1)).await;
    // Both still work.
    connect(&mut caller, &mut callee).await;
}

#[tokio::test]
async fn a_peer_that_is_not_there_is_told_at_once_over_tcp_and_in_time_over_udp() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number");
    let mut caller = Side::with_trunk(Transport::Tcp, closed).await;
    caller.call(Some(sdp(1))).await;
    let refused = failure(caller.news().await);
    assert_eq!((refused.status, refused.local), (503, true));

    let mut caller = Side::with_trunk(Transport::Udp, closed).await;
    caller.call(Some(sdp(1))).await;
    let silent = failure(caller.news().await);
    assert_eq!((silent.status, silent.local), (408, true));
}

#[tokio::test]
async fn too_many_unanswered_calls_are_refused() {
    let mut config = Side::config(Transport::Udp);
    config.max_half_open = 1;
    let mut callee = Side::start(config).await;
    let mut caller = Side::with_trunk(Transport::Udp, callee.address()).await;
    caller.call(Some(sdp(1))).await;
    let first = callee.invited().await;
    caller.call(Some(sdp(1))).await;
    let refused = failure(caller.news().await);
    assert_eq!((refused.status, refused.local, refused.retry_after), (503, false, Some(5)));
    assert_eq!(callee.agent.statistics().refused_busy, 1);
    callee.respond(first.dialog, Response::with_sdp(200, sdp(2))).await;
    assert!(matches!(caller.news().await, FromAgent::Answered { .. }));
    assert!(matches!(callee.news().await, FromAgent::Acknowledged { .. }));
    // Until then the caller keeps away (RFC 3261 §21.5.4).
    crate::pass(5).await;
    caller.call(Some(sdp(1))).await;
    callee.invited().await;
}

#[tokio::test]
async fn stopping_ends_every_call() {
    let (mut caller, mut callee) = pair(Transport::Udp).await;
    connect(&mut caller, &mut callee).await;
    caller.call(Some(sdp(1))).await;
    let ringing = callee.invited().await;
    callee.respond(ringing.dialog, Response::new(180)).await;
    assert!(matches!(caller.news().await, FromAgent::Provisional { .. }));
    let Side { agent, from, to, .. } = caller;
    let before = std::time::Duration::from_secs(3);
    tokio::time::timeout(before, agent.stop(Duration::from_secs(10))).await.expect("stops in time");
    drop((from, to));
    let mut news = vec![callee.news().await, callee.news().await];
    news.sort_by_key(|news| matches!(news, FromAgent::Cancelled { .. }));
    assert!(matches!(news[0], FromAgent::Ended { .. }), "{news:?}");
    assert!(matches!(&news[1], FromAgent::Cancelled { dialog, .. } if *dialog == ringing.dialog), "{news:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_run_at_once() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut config = Side::config(transport);
        // So many calls at once on a busy machine are not answered within fifty milliseconds.
        config.timers = sip::agent::Timers::default();
        let mut callee = Side::start(config.clone()).await;
        config.trunks.push(crate::trunk(transport, callee.address()));
        let mut caller = Side::start(config).await;
        let mut calls = Vec::new();
        for _ in 0..100 {
            calls.push(caller.call(Some(sdp(1))).await);
        }
        let (mut answered, mut ended) = (0, 0);
        while ended < 100 {
            tokio::select! {
                news = callee.news() => match news {
                    FromAgent::Invite(invite) => {
                        callee.respond(invite.dialog, Response::new(180)).await;
                        callee.respond(invite.dialog, Response::with_sdp(200, sdp(2))).await;
                    }
                    // The hang-up may come first.
                    FromAgent::Acknowledged { .. } => {}
                    FromAgent::Ended { .. } => ended += 1,
                    other => panic!("unexpected {other:?}"),
                },
                news = caller.news() => match news {
                    FromAgent::Provisional { .. } => {}
                    FromAgent::Answered { dialog, .. } => {
                        answered += 1;
                        caller.bye(dialog).await;
                    }
                    other => panic!("unexpected {other:?}"),
                }
            }
        }
        assert_eq!(answered, 100);
        assert_eq!(callee.agent.statistics().calls_in, 100);
    }
}
