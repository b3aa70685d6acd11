//! Calls through the binary: what it counts, what it logs, and how SIGTERM ends them.

use std::time::Duration;

use load::{jingle, phone};
use model::Security;
use tokio::time::Instant;

use crate::scene::{PATIENCE, SECRET, Scene};

/// Everything that is logged, as a machine reads it.
const LOG_ALL: &str = "[log]\nlevel = \"trace,rsipstack::transaction=trace,rsipstack::transport=trace,is::agent=trace\"\nformat = \"json\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_counted_and_sigterm_ends_it_on_both_sides() {
    let more = format!("certificate = \"call\"\n[call]\nstop_timeout = \"3s\"\n{LOG_ALL}");
    let mut scene = Scene::set_up(Security::Sdes, &more).await;
    scene.metric("stox_xmpp_connected", |value| value == 1).await;
    assert_eq!(scene.get("/healthz").await, ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));

    scene.alice_calls().await;
    scene.phone.reject(486).expect("it rings");
    let busy = jingle::Event::Ended(xmpp::jingle::ReasonCondition::Busy);
    scene.alice_sees("refusal", |event| *event == busy).await;
    scene.metric("stox_setup_failures_total{direction=\"xmpp_to_sip\",reason=\"busy\"}", |value| value == 1).await;

    scene.alice_calls_and_is_answered().await;
    scene.both_hear_each_other().await;
    scene.metric("stox_calls", |value| value == 1).await;
    scene.metric("stox_calls_answered_total{direction=\"xmpp_to_sip\"}", |value| value == 1).await;
    scene.metric("stox_packets_forwarded_total", |value| value > 0).await;
    scene.metric("stox_packets_dropped_total{reason=\"srtp_replayed\"}", |value| value == 0).await;

    scene.stox.signal("TERM");
    scene.alice_sees("session-terminate", |event| matches!(event, jingle::Event::Ended(_))).await;
    scene.phone_sees("BYE", |event| *event == phone::Event::Ended).await;
    assert!(scene.stox.ends(PATIENCE).await.success());
    assert_log(&scene.stox.output());
}

/// Each line about a call carries the call's id, and none a secret.
fn assert_log(log: &str) {
    let about_calls: Vec<&str> = log.lines().filter(|line| line.contains("\"call\":\"")).collect();
    assert!(about_calls.len() > 4, "{log}");
    for (what, said) in [("start", "call from alice@localhost"), ("answer", "answered"), ("end", "ended")] {
        assert!(about_calls.iter().any(|line| line.contains(said)), "no line about the {what} in:\n{log}");
    }
    // The shared secret, the keys of SDES, and the passwords of ICE in SDP and in Jingle.
    for secret in [SECRET, "inline:", "ice-pwd", "pwd="] {
        assert!(!log.contains(secret), "{secret} in:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_calls_a_user_and_they_hear_each_other() {
    let mut scene = Scene::set_up(Security::Rtp, "").await;
    scene.phone_calls().await;
    scene.phone_sees("ringing", |event| *event == phone::Event::Ringing).await;
    scene.alice.answer().expect("it rings");
    scene.phone_sees("answer", |event| *event == phone::Event::Answered).await;
    scene.both_hear_each_other().await;
    scene.alice.hang_up();
    scene.phone_sees("BYE", |event| *event == phone::Event::Ended).await;
    scene.metric("stox_calls_ended_total{direction=\"sip_to_xmpp\",reason=\"success\"}", |value| value == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trunk_that_nobody_is_at_is_passed_by() {
    let nobody = crate::scene::free_tcp();
    let more = format!(
        "[sip.trunk.gone]\nuri = \"sip:{nobody};transport=tcp\"\n[[route]]\nfrom = \"xmpp\"\nuser = 'either-([0-9]+)'\n\
         to = [\"trunk:gone/{{1}}\", \"trunk:phones/{{1}}\"]\n"
    );
    let mut scene = Scene::set_up(Security::Rtp, &more).await;
    scene.alice.call("either-100@sip.localhost/sip".parse().expect("a JID")).expect("she has no call");
    scene.phone_sees("call", |event| matches!(event, phone::Event::Incoming { .. })).await;
    scene.phone.answer().expect("it rings");
    scene.alice_sees("answer", |event| *event == jingle::Event::Answered).await;
    scene.both_hear_each_other().await;
    scene.metric("stox_calls_tried_another_total", |value| value == 1).await;
    scene.alice.hang_up();
    scene.phone_sees("BYE", |event| *event == phone::Event::Ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_does_not_wait_for_peers_that_say_nothing() {
    let mut scene = Scene::set_up(Security::Rtp, "[call]\nstop_timeout = \"1s\"").await;
    scene.alice_calls_and_is_answered().await;
    // From here on neither of them looks at what comes: the phone's agent still answers, but is stopped now.
    let phone = std::mem::replace(&mut scene.phone, silent().await);
    phone.stop(Duration::ZERO).await;
    let before = Instant::now();
    scene.stox.signal("TERM");
    assert!(scene.stox.ends(PATIENCE).await.success());
    assert!(before.elapsed() < Duration::from_secs(8), "it took {:?}", before.elapsed());
}

/// A phone that nobody calls.
async fn silent() -> phone::Phone {
    let listen = (std::net::Ipv4Addr::LOCALHOST, 0).into();
    let config = phone::Config { listen, user: "101".to_owned(), security: Security::Rtp, tone: 700.0 };
    phone::Phone::start(config).await.expect("loopback has ports")
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_xmpp_server_the_gateway_is_not_healthy() {
    let scene = Scene::set_up(Security::Rtp, "").await.without_server();
    scene.metric("stox_xmpp_connected", |value| value == 0).await;
    let (status, why) = scene.get("/healthz").await;
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(why.contains("XMPP server"), "{why}");
}
