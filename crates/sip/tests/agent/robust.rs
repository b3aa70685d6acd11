//! Garbage, floods and pieces.

use sip::agent::Transport;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::peer::Peer;
use crate::{Side, connect, pair, sdp};

/// xorshift64: garbage that is the same in each run.
struct Random(u64);

impl Random {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.to_be_bytes()[0]
    }

    fn below(&mut self, bound: usize) -> usize {
        (usize::from(self.byte()) * 256 + usize::from(self.byte())) % bound
    }
}

#[tokio::test]
async fn a_broken_request_gets_400() {
    let side = Side::start(Side::config(Transport::Udp)).await;
    let mut peer = Peer::towards(side.address()).await;
    let good = peer.request("INVITE", 1, "", &sdp(1));
    for (number, broken) in [
        good.replace(";tag=a1", ""),
        good.replace("CSeq: 1 INVITE", "CSeq: 1 BYE"),
        good.replace("CSeq: 1 INVITE", "CSeq: x INVITE"),
        good.replace("Max-Forwards: 70", "Max-Forwards: 700"),
        good.replace("Call-ID: c1", "Call-ID: c1\r\nCall-ID: c2"),
        good.replace("Contact:", "X-Contact:"),
        good.replace("Content-Length: ", "Content-Length: 9"),
        good.replace("INVITE sip:bob@example.org SIP/2.0", "INVITE SIP/2.0"),
    ]
    .into_iter()
    .enumerate()
    {
        peer.send(broken.replace("c1", &format!("broken{number}"))).await;
        assert_eq!(peer.until("SIP/2.0").await.status(), 400, "{broken}");
    }
    peer.send(good.replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia")).await;
    assert_eq!(peer.until("SIP/2.0").await.status(), 505);
    assert!(side.agent.statistics().malformed >= 8);
}

#[tokio::test]
async fn no_garbage_stops_the_agent() {
    let (mut caller, mut callee) = pair(Transport::Udp).await;
    let peer = Peer::towards(callee.address()).await;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let seeds: Vec<String> = ["INVITE", "BYE", "ACK", "CANCEL", "OPTIONS", "PRACK"]
        .iter()
        .map(|method| peer.request(method, 1, "RAck: 1 1 INVITE\r\nRequire: 100rel\r\n", &sdp(1)))
        .chain([format!("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n", callee.address())])
        .collect();
    for round in 0..3_000_usize {
        let mut bytes = if round % 10 == 0 {
            (0..random.below(600)).map(|_| random.byte()).collect()
        } else {
            seeds[round % seeds.len()].replace("c1", &format!("c{round}")).into_bytes()
        };
        for _ in 0..random.below(4) {
            if bytes.is_empty() {
                break;
            }
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] = random.byte(),
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        peer.send(&bytes).await;
        if round % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    // Those that were whole made calls; nobody answers them.
    while let Ok(news) = callee.from.try_recv() {
        drop(news);
    }
    let mut fresh = Peer::towards(callee.address()).await;
    fresh.send(fresh.request("OPTIONS", 77, "", "")).await;
    assert_eq!(fresh.until("SIP/2.0").await.status(), 200);
    assert!(callee.agent.statistics().not_sip > 0);
    caller.silence(std::time::Duration::from_millis(1)).await;
}

#[tokio::test]
async fn a_message_may_come_in_pieces_over_tcp() {
    let mut side = Side::start(Side::config(Transport::Tcp)).await;
    let peer = Peer::bind().await;
    let mut stream = TcpStream::connect(side.address()).await.expect("connects");
    let address = stream.local_addr().expect("an address");
    let via = format!("SIP/2.0/TCP {address};");
    let request = peer.request("INVITE", 1, "", &sdp(1)).replace(&format!("SIP/2.0/UDP {};", peer.address()), &via);
    stream.write_all(b"\r\n\r\n").await.expect("writes");
    for byte in request.as_bytes() {
        stream.write_all(&[*byte]).await.expect("writes");
        stream.flush().await.expect("writes");
    }
    assert_eq!(side.invited().await.sdp, Some(sdp(1)));
    let mut buffer = vec![0; 4096];
    let mut text = String::new();
    while !text.contains("SIP/2.0 100") {
        let length = stream.read(&mut buffer).await.expect("reads");
        assert!(length > 0, "closed after {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    assert!(text.starts_with("\r\n"), "the ping is answered: {text}");
}

#[tokio::test]
async fn garbage_over_tcp_costs_the_connection_and_no_more() {
    let (mut caller, mut callee) = pair(Transport::Tcp).await;
    for garbage in [&b"\x00\x01\x02 no SIP\r\n\r\n"[..], b"OPTIONS x\r\nContent-Length: 99999999999999999999\r\n\r\n"] {
        let mut stream = TcpStream::connect(callee.address()).await.expect("connects");
        stream.write_all(garbage).await.expect("writes");
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    }
    connect(&mut caller, &mut callee).await;
}
