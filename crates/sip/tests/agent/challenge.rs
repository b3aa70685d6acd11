//! Who may call: passwords (digest, RFC 7616), and what strangers get.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use model::Secret;
use sip::agent::{Strangers, Transport, Trunk, User};
use sip::message::{FromAgent, Response};

use crate::peer::{Message, Peer};
use crate::{Side, T1, pass, sdp, trunk};

/// An agent that asks the trunk `other` for a password.
async fn asking(strangers: Strangers, address: SocketAddr) -> Side {
    let mut config = Side::config(Transport::Udp);
    config.strangers = strangers;
    let challenge = User { username: "pbx".to_owned(), password: Secret::new("s3cret".to_owned()) };
    config.trunks.push(Trunk { challenge: Some(challenge), ..trunk(Transport::Udp, address) });
    Side::start(config).await
}

/// An agent that answers challenges with a password, and calls the other as its trunk.
async fn knowing(password: &str, other: SocketAddr) -> Side {
    let mut config = Side::config(Transport::Udp);
    let mut trunk = trunk(Transport::Udp, other);
    (trunk.username, trunk.password) = (Some("pbx".to_owned()), Some(Secret::new(password.to_owned())));
    config.trunks.push(trunk);
    Side::start(config).await
}

/// What the agent computes from a challenge, with MD5 or as the challenge says.
fn shown(challenge: &Message, count: u32, password: &str, uri: &str) -> String {
    use std::fmt::Write as _;
    let text = challenge.required("WWW-Authenticate");
    let field = |name: &str| {
        let rest = text.split_once(&format!("{name}=\"")).map(|(_, rest)| rest).expect("the field is there");
        rest.split('"').next().expect("a value").to_owned()
    };
    let (realm, nonce) = (field("realm"), field("nonce"));
    let hash = |text: &str| {
        use sha2::Digest as _;
        sha2::Sha256::digest(text).iter().fold(String::new(), |mut hex, octet| {
            write!(hex, "{octet:02x}").expect("a string");
            hex
        })
    };
    let (one, two) = (hash(&format!("pbx:{realm}:{password}")), hash(&format!("INVITE:{uri}")));
    let response = hash(&format!("{one}:{nonce}:{count:08x}:c0ffee:auth:{two}"));
    format!(
        "Authorization: Digest username=\"pbx\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
         response=\"{response}\", algorithm=SHA-256, qop=auth, nc={count:08x}, cnonce=\"c0ffee\"\r\n"
    )
}

/// Refuses the call that got through, so that the next may come.
async fn through(side: &mut Side, peer: &mut Peer) {
    let invite = side.invited().await;
    assert_eq!(invite.trunk.as_deref(), Some("other"));
    side.respond(invite.dialog, Response::new(486)).await;
    peer.until("SIP/2.0 486").await;
}

/// Where nobody in these tests is.
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)), 5060);
const BOB: &str = "sip:bob@example.org";

#[tokio::test]
async fn a_trunk_shows_its_password() {
    for (password, lets_in) in [("s3cret", true), ("guess", false)] {
        // It is told by its password, wherever it is.
        let mut side = asking(Strangers::Challenge, ELSEWHERE).await;
        let mut caller = knowing(password, side.address()).await;
        caller.call(Some(sdp(1))).await;
        if lets_in {
            let invite = side.invited().await;
            assert_eq!(invite.trunk.as_deref(), Some("other"));
            let statistics = side.agent.statistics();
            assert_eq!((statistics.challenged, statistics.password_wrong), (1, 0));
        } else {
            match caller.news().await {
                FromAgent::Failed { failure, .. } => assert_eq!((failure.status, failure.local), (401, false)),
                other => panic!("expected a failure, got {other:?}"),
            }
            side.silence(T1).await;
            assert_eq!(side.agent.statistics().password_wrong, 1);
        }
    }
}

#[tokio::test]
async fn a_nonce_is_for_a_while_for_one_source_and_counts_upwards() {
    let mut peer = Peer::bind().await;
    let mut side = asking(Strangers::Route, peer.address()).await;
    peer.meet(side.address());
    peer.send(peer.request("INVITE", 1, "", &sdp(1))).await;
    let challenge = peer.until("SIP/2.0 401").await;
    let both: Vec<&str> = challenge.text.lines().filter(|line| line.starts_with("WWW-Authenticate")).collect();
    assert!(both[0].contains("algorithm=SHA-256") && both[1].contains("algorithm=MD5"), "{both:?}");
    assert!(!both[0].contains("stale") && both[0].contains("qop=\"auth\""));

    peer.send(peer.request("INVITE", 2, &shown(&challenge, 1, "s3cret", BOB), &sdp(1))).await;
    through(&mut side, &mut peer).await;
    peer.send(peer.request("INVITE", 3, &shown(&challenge, 5, "s3cret", BOB), &sdp(1))).await;
    through(&mut side, &mut peer).await;
    // Used before, or counted backwards.
    for (number, count) in [(4, 5), (5, 4), (6, 0)] {
        peer.send(peer.request("INVITE", number, &shown(&challenge, count, "s3cret", BOB), &sdp(1))).await;
        assert!(peer.until("SIP/2.0 401").await.required("WWW-Authenticate").contains("stale=true"));
    }
    // Another call than the one that was signed.
    peer.send(peer.request("INVITE", 7, &shown(&challenge, 6, "s3cret", "sip:mallory@example.org"), &sdp(1))).await;
    assert!(!peer.until("SIP/2.0 401").await.required("WWW-Authenticate").contains("stale"));
    // Too old; and one that is not ours.
    pass(301).await;
    peer.send(peer.request("INVITE", 8, &shown(&challenge, 7, "s3cret", BOB), &sdp(1))).await;
    let fresh = peer.until("SIP/2.0 401").await;
    assert!(fresh.required("WWW-Authenticate").contains("stale=true"));
    let nonce = fresh.required("WWW-Authenticate").split("nonce=\"").nth(1).expect("a nonce")[..96].to_owned();
    let forged = Message { text: fresh.text.replace(&nonce, &nonce.replace('a', "b")) };
    peer.send(peer.request("INVITE", 9, &shown(&forged, 1, "s3cret", BOB), &sdp(1))).await;
    assert!(peer.until("SIP/2.0 401").await.required("WWW-Authenticate").contains("stale=true"));
    peer.send(peer.request("INVITE", 10, &shown(&fresh, 1, "s3cret", BOB), &sdp(1))).await;
    through(&mut side, &mut peer).await;
    side.silence(T1).await;
}

#[tokio::test]
async fn guessing_ends_soon_and_unknown_users_are_asked_like_any() {
    let mut peer = Peer::bind().await;
    let mut side = asking(Strangers::Challenge, ELSEWHERE).await;
    peer.meet(side.address());
    peer.send(peer.request("INVITE", 1, "", &sdp(1))).await;
    let challenge = peer.until("SIP/2.0 401").await;
    for number in 2..12 {
        let mut guess = shown(&challenge, number, "guess", BOB);
        if number % 2 == 0 {
            guess = guess.replace("\"pbx\"", "\"nobody\"");
        }
        peer.send(peer.request("INVITE", number, &guess, &sdp(1))).await;
        let again = peer.until("SIP/2.0 401").await;
        assert_eq!(again.text.matches("WWW-Authenticate").count(), 2);
    }
    let right = shown(&challenge, 20, "s3cret", BOB);
    peer.send(peer.request("INVITE", 20, &right, &sdp(1))).await;
    peer.until("SIP/2.0 403").await;
    let statistics = side.agent.statistics();
    assert_eq!((statistics.challenged, statistics.password_wrong, statistics.password_throttled), (1, 10, 1));
    pass(61).await;
    peer.send(peer.request("INVITE", 21, &right, &sdp(1))).await;
    through(&mut side, &mut peer).await;
}

#[tokio::test]
async fn strangers_get_what_is_configured() {
    for (strangers, status) in
        [(Strangers::Refuse, Some(403)), (Strangers::Drop, None), (Strangers::Challenge, Some(401))]
    {
        let mut side = asking(strangers, ELSEWHERE).await;
        let mut peer = Peer::towards(side.address()).await;
        peer.send(peer.request("INVITE", 1, "", &sdp(1))).await;
        assert_eq!(peer.within(2 * T1).await.map(|answer| answer.status()), status, "{strangers:?}");
        if strangers == Strangers::Drop {
            peer.send(peer.request("OPTIONS", 2, "", "")).await;
            peer.send(peer.request_in("BYE", 3, ("sip:x@127.0.0.1", "c9", "a1", "b1"), "", "")).await;
            assert!(peer.within(2 * T1).await.is_none());
            assert!(side.agent.statistics().strangers_ignored >= 3);
        }
        side.silence(T1).await;
    }
}

#[tokio::test]
async fn a_trunk_without_a_challenge_is_known_by_its_address() {
    let mut peer = Peer::bind().await;
    let mut config = Side::config(Transport::Udp);
    config.strangers = Strangers::Drop;
    config.trunks.push(trunk(Transport::Udp, peer.address()));
    let mut side = Side::start(config).await;
    peer.meet(side.address());
    peer.send(peer.request("INVITE", 1, "", &sdp(1))).await;
    through(&mut side, &mut peer).await;
}
