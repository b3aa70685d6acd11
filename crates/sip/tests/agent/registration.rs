//! Registrations that have to be renewed: nonces that are over, connections that go (RFC 5626).

use std::time::Duration;

use model::Secret;
use sip::agent::{Transport, Trunk};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::peer::{Message, Peer};
use crate::{Side, T1, pass, trunk};

fn registering(transport: Transport, address: std::net::SocketAddr, outbound: bool) -> Trunk {
    Trunk {
        username: Some("gw".to_owned()),
        password: Some(Secret::new("s3cret".to_owned())),
        register: true,
        outbound,
        ..trunk(transport, address)
    }
}

#[tokio::test]
async fn a_nonce_that_is_over_is_followed_by_the_next_even_if_nobody_says_so() {
    let mut peer = Peer::bind().await;
    let mut config = Side::config(Transport::Udp);
    config.trunks.push(registering(Transport::Udp, peer.address(), false));
    let _side = Side::start(config).await;
    for nonce in ["n1", "n2"] {
        let register = peer.until("REGISTER").await;
        let ask = format!("WWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"\r\n");
        peer.send(register.response("401 Unauthorized", "r", &ask, "")).await;
        let register = peer.until("REGISTER").await;
        assert!(register.required("Authorization").contains(&format!("nonce=\"{nonce}\"")));
        assert_eq!(register.header("Supported"), None);
        peer.send(register.response("200 OK", "r", "Expires: 100\r\n", "")).await;
        assert!(peer.within(T1).await.is_none());
        pass(91).await;
    }
    // A password that is wrong stays wrong.
    for _ in 0..2 {
        let register = peer.until("REGISTER").await;
        let ask = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n3\", qop=\"auth\"\r\n";
        peer.send(register.response("401 Unauthorized", "r", ask, "")).await;
    }
    assert!(peer.within(2 * T1).await.is_none());
}

async fn read(stream: &mut TcpStream) -> Message {
    let mut text = String::new();
    while !text.trim_start().contains("\r\n\r\n") {
        let mut buffer = [0; 4_096];
        let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer)).await;
        let length = read.expect("something in time").expect("the connection works");
        assert!(length > 0, "the connection is open");
        text.push_str(std::str::from_utf8(&buffer[..length]).expect("text"));
    }
    Message { text }
}

#[tokio::test]
async fn a_connection_that_is_gone_is_made_again_and_kept_open() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut config = Side::config(Transport::Tcp);
    config.trunks.push(registering(Transport::Tcp, listener.local_addr().expect("bound"), true));
    let _side = Side::start(config).await;
    let mut instances = Vec::new();
    for lasts in [70, 1] {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let register = read(&mut stream).await;
        assert_eq!(register.method(), "REGISTER");
        assert!(register.required("Supported").contains("outbound"));
        let contact = register.required("Contact").to_owned();
        assert!(contact.contains(";reg-id=1;+sip.instance=\"<urn:uuid:"), "{contact}");
        instances.push(contact.split("urn:uuid:").nth(1).expect("an instance").to_owned());
        let ok = register.response("200 OK", "r", "Expires: 3600\r\nFlow-Timer: 20\r\nRequire: outbound\r\n", "");
        stream.write_all(ok.as_bytes()).await.expect("it is read");
        tokio::time::sleep(2 * T1).await;
        pass(20).await;
        let mut ping = [0; 4];
        stream.read_exact(&mut ping).await.expect("a keep-alive");
        assert_eq!(&ping, b"\r\n\r\n");
        pass(lasts).await;
        tokio::time::sleep(T1).await;
    }
    // The first time it lasted, the second it did not.
    let again = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await;
    assert!(again.is_err(), "not at once");
    pass(61).await;
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let register = read(&mut stream).await;
    assert_eq!(instances[0], instances[1]);
    // Whoever cannot do that says so, and gets a plain one.
    let refusal = register.response("439 First Hop Lacks Outbound Support", "r", "", "");
    stream.write_all(refusal.as_bytes()).await.expect("it is read");
    let register = read(&mut stream).await;
    assert_eq!(register.header("Supported"), None);
    assert!(!register.required("Contact").contains("reg-id"));
}
