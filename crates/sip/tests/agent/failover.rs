//! Trunks that do not answer: OPTIONS tells (RFC 3261 §11), and requests go elsewhere (RFC 3263 §4.3).

use std::net::SocketAddr;
use std::time::Duration;

use sip::agent::{Config, Transport};
use sip::message::{Failure, FromAgent, Response, ToAgent};

use crate::peer::{Message, Peer};
use crate::{Side, T1, sdp, trunk};

const SHORT: Duration = Duration::from_millis(100);

/// An agent whose trunk `other` has several addresses.
fn config(addresses: &[SocketAddr]) -> Config {
    let mut config = Side::config(Transport::Udp);
    let mut trunk = trunk(Transport::Udp, addresses[0]);
    trunk.further = addresses[1..].iter().map(|address| format!("sip:{address}")).collect();
    config.trunks.push(trunk);
    config
}

fn failure(news: FromAgent) -> Failure {
    match news {
        FromAgent::Failed { failure, .. } => failure,
        other => panic!("expected a failure, got {other:?}"),
    }
}

fn branch(message: &Message) -> &str {
    message.required("Via").split("branch=").nth(1).expect("a branch")
}

#[tokio::test]
async fn a_503_or_silence_sends_the_call_to_the_next_address() {
    let (mut first, silent, mut third) = (Peer::bind().await, Peer::bind().await, Peer::bind().await);
    let mut side = Side::start(config(&[first.address(), silent.address(), third.address()])).await;
    side.call(Some(sdp(1))).await;
    let one = first.until("INVITE").await;
    first.send(one.response("503 Service Unavailable", "b1", "", "")).await;
    first.until("ACK").await;
    let other = third.until("INVITE").await;
    assert_ne!(branch(&one), branch(&other), "it is another transaction (RFC 3263 §4.3)");
    assert_eq!((one.required("Call-ID"), one.tag("From")), (other.required("Call-ID"), other.tag("From")));
    assert_eq!(one.required("CSeq"), other.required("CSeq"));
    // Any other answer is the answer.
    third.send(other.response("486 Busy Here", "b1", "", "")).await;
    let refused = failure(side.news().await);
    assert_eq!((refused.status, refused.local), (486, false));
    assert!(first.within(T1).await.is_none());
}

#[tokio::test]
async fn an_address_that_cannot_be_connected_to_is_passed_over() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its number");
    let mut callee = Side::start(Side::config(Transport::Tcp)).await;
    let mut config = Side::config(Transport::Tcp);
    let mut trunk = trunk(Transport::Tcp, closed);
    trunk.further = vec![format!("sip:{};transport=tcp", callee.address())];
    config.trunks.push(trunk);
    let mut caller = Side::start(config).await;
    crate::connect(&mut caller, &mut callee).await;
}

#[tokio::test]
async fn an_address_that_asks_for_time_is_left_alone() {
    let (mut first, mut second) = (Peer::bind().await, Peer::bind().await);
    let mut side = Side::start(config(&[first.address(), second.address()])).await;
    for wanted in ["", "Retry-After: 0\r\n", "Retry-After: 20 (busy)\r\n"] {
        side.call(Some(sdp(1))).await;
        let invite = first.until("INVITE").await;
        first.send(invite.response("503 Service Unavailable", "b1", wanted, "")).await;
        let invite = second.until("INVITE").await;
        second.send(invite.response("404 Not Found", "b1", "", "")).await;
        assert_eq!(failure(side.news().await).status, 404, "{wanted}");
        first.until("ACK").await;
    }
    side.call(Some(sdp(1))).await;
    let invite = second.until("INVITE").await;
    second.send(invite.response("503 Service Unavailable", "b1", "Retry-After: 10\r\n", "")).await;
    assert_eq!(failure(side.news().await).status, 503);
    assert!(first.within(T1).await.is_none());
    // Both are.
    side.call(Some(sdp(1))).await;
    let refused = failure(side.news().await);
    assert_eq!((refused.status, refused.local), (503, true));
    assert_eq!(side.agent.statistics().trunk_down, 1);
    crate::pass(11).await;
    side.call(Some(sdp(1))).await;
    let invite = second.until("INVITE").await;
    assert_eq!(invite.required("CSeq"), "1 INVITE");
}

/// Answers OPTIONS until the agent has made up its mind.
async fn answer(peer: &mut Peer, status: &str, times: usize) {
    for _ in 0..times {
        let options = peer.until("OPTIONS").await;
        peer.send(options.response(status, "b1", "", "")).await;
    }
}

#[tokio::test]
async fn a_trunk_that_does_not_answer_gets_no_calls() {
    let mut peer = Peer::bind().await;
    let mut config = config(&[peer.address()]);
    config.trunks[0].keep_alive = SHORT;
    let mut side = Side::start(config).await;
    let options = peer.receive().await;
    assert_eq!((options.method(), options.uri()), ("OPTIONS", "sip:127.0.0.1"));
    assert_eq!(options.required("Max-Forwards"), "70");
    let up = |side: &Side| side.agent.trunks().read();
    // Any answer is a sign of life, but one.
    peer.send(options.response("404 Not Found", "b1", "", "")).await;
    answer(&mut peer, "503 Service Unavailable", 1).await;
    answer(&mut peer, "401 Unauthorized", 1).await;
    assert_eq!(up(&side), [("other".to_owned(), true)]);
    assert_eq!(side.agent.statistics().trunk_addresses_lost, 0);
    answer(&mut peer, "503 Service Unavailable", 2).await;
    peer.until("OPTIONS").await;
    assert_eq!(up(&side), [("other".to_owned(), false)]);
    side.call(Some(sdp(1))).await;
    let refused = failure(side.news().await);
    assert_eq!((refused.status, refused.local), (503, true));
    // The last one was not answered at all; the next one is.
    answer(&mut peer, "200 OK", 1).await;
    loop {
        answer(&mut peer, "200 OK", 1).await;
        if up(&side) == [("other".to_owned(), true)] {
            break;
        }
    }
    let statistics = side.agent.statistics();
    assert_eq!((statistics.trunk_addresses_lost, statistics.trunk_addresses_back, statistics.trunk_down), (1, 1, 1));
    side.call(Some(sdp(1))).await;
    peer.until("INVITE").await;
}

#[tokio::test]
async fn a_call_passes_over_the_address_that_does_not_answer() {
    let (silent, mut second) = (Peer::bind().await, Peer::bind().await);
    let mut config = config(&[silent.address(), second.address()]);
    config.trunks[0].keep_alive = SHORT;
    let mut side = Side::start(config).await;
    while side.agent.statistics().trunk_addresses_lost == 0 {
        answer(&mut second, "200 OK", 1).await;
    }
    assert_eq!(side.agent.trunks().read(), [("other".to_owned(), true)]);
    side.call(Some(sdp(1))).await;
    let invite = second.until("INVITE").await;
    second.send(invite.response("486 Busy Here", "b1", "", "")).await;
    assert_eq!(failure(side.news().await).status, 486);
}

#[tokio::test]
async fn options_are_answered_as_a_call_would_be() {
    let mut config = Side::config(Transport::Udp);
    config.max_half_open = 1;
    let mut side = Side::start(config).await;
    let mut peer = Peer::towards(side.address()).await;
    peer.send(peer.request("OPTIONS", 1, "", "")).await;
    let ok = peer.receive().await;
    assert_eq!(ok.status(), 200);
    for name in ["Allow", "Accept", "Accept-Encoding", "Accept-Language", "Supported"] {
        ok.required(name);
    }
    peer.send(peer.request("INVITE", 2, "", &sdp(1))).await;
    let dialog = side.invited().await.dialog;
    peer.send(peer.request("OPTIONS", 3, "", "")).await;
    let busy = peer.until("SIP/2.0 503").await;
    assert!(busy.header("Retry-After").is_some());
    side.respond(dialog, Response::new(404)).await;
    peer.until("SIP/2.0 404").await;
    // A request of ours for the agent itself is taken with its last hop (RFC 3261 §16.3 is for proxies).
    peer.send(peer.request("OPTIONS", 4, "", "").replace("Max-Forwards: 70", "Max-Forwards: 0")).await;
    peer.until("SIP/2.0 200").await;
    drop(side.to.send(ToAgent::Bye { dialog, reason: Vec::new() }).await);
}

/// RFC 3581 §4: who asks for it gets the response where the request came from; who does not, at the port it names.
#[tokio::test]
async fn a_response_finds_its_way_back_behind_a_nat() {
    let side = Side::start(Side::config(Transport::Udp)).await;
    let (mut behind, mut named) = (Peer::towards(side.address()).await, Peer::bind().await);
    let own = format!("SIP/2.0/UDP {};", behind.address());
    let with = |peer: &Peer, number, via: &str| peer.request("OPTIONS", number, "", "").replace(&own, via);
    behind.send(with(&behind, 1, "SIP/2.0/UDP 192.0.2.1:5062;rport;")).await;
    let response = behind.receive().await;
    let via = response.required("Via");
    assert!(via.contains("received=127.0.0.1") && via.contains(&format!("rport={}", behind.address().port())), "{via}");
    behind.send(with(&behind, 2, &format!("SIP/2.0/UDP 192.0.2.1:{};", named.address().port()))).await;
    let response = named.receive().await;
    assert!(response.required("Via").contains("received=127.0.0.1"));
    assert!(behind.within(T1).await.is_none());
}
