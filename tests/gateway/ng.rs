//! `stox relay` as other people's gateways meet it: the ng protocol over every transport.

mod client;
mod explain;
mod import;

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use control::MAX_MESSAGE;
use load::trial::target::channel::RelayProcess;
use load::trial::target::{self, CallNumber};
use load::trial::{Plan, RawPlan, Target};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use self::client::{Relay, Socket, WebSocket};
use crate::binary::{command, directory_with};
use crate::carry::carry_every_kind;
use crate::scene::PATIENCE;

const PINGS: [(&str, &str); 2] =
    [("1_1 d7:command4:pinge", "1_1 d6:result4:ponge"), (r#"1_2 {"command":"ping"}"#, r#"1_2 {"result":"pong"}"#)];

const NG: &str = "application/x-rtpengine-ng";

fn plain(message: &str) -> &str {
    message.split_once(' ').expect("it has a cookie").1
}

#[tokio::test]
async fn each_transport_answers_in_both_encodings() {
    let relay = Relay::start("").await;
    let socket = Socket::connect(relay.udp).await;
    let mut tcp = TcpStream::connect(relay.tcp).await.expect("it listens");
    let mut web_socket = WebSocket::connect(relay.http, "ng.rtpengine.com").await;
    let mut plain_socket = WebSocket::connect(relay.http, "other.example, ng-plain.rtpengine.com").await;
    for (ping, pong) in PINGS {
        assert_eq!(socket.ask(ping).await, pong);
        tcp.write_all(ping.as_bytes()).await.expect("it reads");
        assert_eq!(client::read(&mut tcp, pong.len()).await, pong);
        let (status, body) = relay.post("/ng", &[("Content-Type", NG)], ping).await;
        assert_eq!((status, body.as_str()), (200, pong));
        for media_type in [NG, "application/json; charset=utf-8"] {
            let (status, body) = relay.post("/ng-plain", &[("Content-Type", media_type)], plain(ping)).await;
            assert_eq!((status, body.as_str()), (200, plain(pong)));
        }
        assert_eq!(web_socket.ask(ping).await, pong);
        assert_eq!(plain_socket.ask(plain(ping)).await, plain(pong));
    }
    assert_eq!(relay.request("GET", "/ping", &[], "").await, (200, "pong".to_owned()));
    let (status, metrics) = relay.request("GET", "/metrics", &[], "").await;
    assert_eq!(status, 200);
    let counted = "stox_ng_requests_total{peer=\"127.0.0.1\",command=\"ping\",result=\"pong\"} 8";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(metrics.contains("stox_relay_calls 0"), "{metrics}");
}

#[tokio::test]
async fn dashboards_of_rtpengine_find_what_means_the_same() {
    let relay = Relay::start("").await;
    let socket = Socket::connect(relay.udp).await;
    let sdp = r"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    for (cookie, call) in [(1, "one"), (2, "another")] {
        let offer = format!(r#"{cookie} {{"command":"offer","call-id":"{call}","from-tag":"a","sdp":"{sdp}"}}"#);
        let reply = socket.ask(&offer).await;
        assert!(reply.contains(r#""result":"ok""#), "{reply}");
    }
    socket.ask(r#"3 {"command":"delete","call-id":"one","delete-delay":0}"#).await;
    socket.ask(r#"4 {"command":"offer"}"#).await;
    let (_, metrics) = relay.request("GET", "/metrics", &[], "").await;
    for line in [
        "rtpengine_sessions{type=\"own\"} 1",
        "rtpengine_sessions_total 2",
        "rtpengine_closed_sessions_total{reason=\"terminated\"} 1",
        "rtpengine_closed_sessions_total{reason=\"timeout\"} 0",
        "rtpengine_packets_total{type=\"userspace\"} 0",
        "rtpengine_ports{name=\"default\",address=\"127.0.0.1\"} 10000",
        "rtpengine_requests_total{proxy=\"127.0.0.1\",request=\"offer\"} 3",
        "rtpengine_requests_total{proxy=\"127.0.0.1\",request=\"delete\"} 1",
        "rtpengine_errors_total{proxy=\"127.0.0.1\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    // Its workers tell of themselves now and then.
    client::eventually(async || {
        let (_, metrics) = relay.request("GET", "/metrics", &[], "").await;
        let figure = |name: &str| -> u64 {
            let line = metrics.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.rsplit(' ').next().and_then(|figure| figure.parse().ok()).expect(line)
        };
        let (used, free) = (figure("rtpengine_ports_used{"), figure("rtpengine_ports_free{"));
        used > 0 && used + free == 10_000
    })
    .await;
}

#[tokio::test]
async fn the_log_names_the_call_and_the_parties_of_a_request() {
    let relay = Relay::start("[log]\nlevel = \"debug\"").await;
    let socket = Socket::connect(relay.udp).await;
    let about = r#""call-id":"one\nmore","from-tag":"a","to-tag":"b""#;
    socket.ask(&format!(r#"1 {{"command":"answer",{about},"sdp":"v=0","flags":["zzz"]}}"#)).await;
    socket.ask(&format!(r#"2 {{"command":"delete",{about}}}"#)).await;
    let named = r#"call_id="one\nmore" from_tag="a" to_tag="b""#;
    for (begin, end) in [
        ("WARN stox::ng: unknown flag \"zzz\" peer=127.0.0.1 command=\"answer\" ", ""),
        ("INFO stox::ng::intake: refused peer=127.0.0.1 command=\"answer\" ", " reason="),
        ("DEBUG stox::ng::intake: answered peer=127.0.0.1 command=\"delete\" ", " took="),
    ] {
        relay.stox.prints(&format!("{begin}{named}{end}"), PATIENCE).await;
    }
}

#[tokio::test]
async fn a_request_that_is_repeated_is_done_once() {
    let relay = Relay::start("").await;
    let socket = Socket::connect(relay.udp).await;
    let list = r#"7 {"command":"list"}"#;
    let first = socket.ask(list).await;
    assert_eq!(first, r#"7 {"calls":[],"result":"ok"}"#);
    assert_eq!(socket.ask(list).await, first);
    // Also where it was asked over another transport, and from another port.
    assert_eq!(relay.post("/ng", &[("Content-Type", NG)], list).await, (200, first));
    let (_, metrics) = relay.request("GET", "/metrics", &[], "").await;
    assert!(metrics.contains("stox_ng_repeated_total 2"), "{metrics}");
    assert!(metrics.contains("command=\"list\",result=\"ok\"} 1"), "{metrics}");
}

#[tokio::test]
async fn what_is_no_request_is_refused_in_words_that_others_know() {
    let relay = Relay::start("").await;
    let socket = Socket::connect(relay.udp).await;
    for (request, reason) in [
        ("1 ", "Invalid data (no payload)"),
        ("2 x", "Invalid NG data format"),
        ("3 d7:command", "Could not decode bencode dictionary"),
        ("4 {\"command\"}", "Failed to parse JSON document"),
        ("5 de", "Dictionary contains no key \"command\""),
        ("6 d7:command4:pinG1:a1:be", "Unrecognized command"),
        ("7 d7:command5:offere", "No SDP body in message"),
        ("8 d7:command4:meshe", "unsupported"),
    ] {
        let reply = socket.ask(request).await;
        assert!(reply.starts_with(&request[..2]) && reply.contains(reason), "{request}: {reply}");
        assert!(reply.contains("error"), "{request}: {reply}");
        let (status, over_http) = relay.post("/ng-plain", &[("Content-Type", NG)], plain(request)).await;
        assert_eq!((status, over_http.as_str()), (200, plain(&reply)));
    }
    for nobodys in ["", "x", " d7:command4:pinge"] {
        socket.tell(nobodys.as_bytes()).await;
    }
    assert_eq!(socket.ask("9 d7:command4:pinge").await, "9 d6:result4:ponge", "nothing else was answered");
    relay.stox.prints("sent a message without a cookie", PATIENCE).await;
    assert_eq!(relay.stox.output().matches("without a cookie").count(), 1, "it does not fill the log");
}

#[tokio::test]
async fn a_datagram_may_be_as_long_as_there_are() {
    let relay = Relay::start("").await;
    let socket = Socket::connect(relay.udp).await;
    let padding = 65_507 - "1 d7:command4:ping4:pads65467:e".len();
    let longest = format!("1 d7:command4:ping4:pads{padding}:{}e", "x".repeat(padding));
    assert_eq!(longest.len(), 65_507);
    assert_eq!(socket.ask(&longest).await, "1 d6:result4:ponge");
}

#[tokio::test]
async fn messages_over_tcp_may_come_in_pieces_and_together() {
    let relay = Relay::start("").await;
    let mut tcp = TcpStream::connect(relay.tcp).await.expect("it listens");
    tcp.set_nodelay(true).expect("it can be set");
    let requests = PINGS.map(|(ping, _)| ping).concat();
    let replies = PINGS.map(|(_, pong)| pong).concat();
    for piece in requests.as_bytes().chunks(5) {
        tcp.write_all(piece).await.expect("it reads");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client::read(&mut tcp, replies.len()).await, replies);
    let many: String = (0..100).map(|number| format!("{number} d7:command4:pinge")).collect();
    let pongs: String = (0..100).map(|number| format!("{number} d6:result4:ponge")).collect();
    tcp.write_all(many.as_bytes()).await.expect("it reads");
    assert_eq!(client::read(&mut tcp, pongs.len()).await, pongs);
    // Who sends no more is answered all the same.
    tcp.write_all(b"z d7:command4:pinge").await.expect("it reads");
    tcp.shutdown().await.expect("it can be");
    assert_eq!(client::read_all(&mut tcp).await, "z d6:result4:ponge");
}

#[tokio::test]
async fn a_stream_of_garbage_is_refused_and_closed() {
    let relay = Relay::start("").await;
    let too_long = |start: &str| format!("{start}{}", "x".repeat(MAX_MESSAGE + 100_000));
    for (garbage, reason) in [
        ("1 x".to_owned(), "Invalid NG data format"),
        ("1 dxxx".to_owned(), "Could not decode bencode dictionary"),
        (too_long("1 d262140:"), "Could not decode bencode dictionary"),
        (too_long("1 {\""), "Failed to parse JSON document"),
        (too_long(""), ""),
        (" 1 de".to_owned(), ""),
    ] {
        let mut tcp = TcpStream::connect(relay.tcp).await.expect("it listens");
        // It may close before it has read all.
        let _ = tcp.write_all(garbage.as_bytes()).await;
        let reply = client::read_all(&mut tcp).await;
        assert_eq!(reply.is_empty(), reason.is_empty(), "{reply}");
        assert!(reply.contains(reason), "{reply}");
    }
}

#[tokio::test]
async fn http_says_what_it_does_not_take() {
    let relay = Relay::start("").await;
    let ping = PINGS[0].0;
    for (path, headers, body, status) in [
        ("/ng", &[("Content-Type", "application/json")][..], ping, 415),
        ("/ng-plain", &[("Content-Type", "text/plain")], plain(ping), 415),
        ("/ng", &[], ping, 415),
        ("/ng", &[("Content-Type", NG)], plain(ping), 400),
        ("/ng", &[("Content-Type", NG)], &"x".repeat(MAX_MESSAGE + 1), 413),
        ("/offer", &[("Content-Type", NG)], ping, 404),
    ] {
        assert_eq!(relay.post(path, headers, body).await.0, status, "{path} {headers:?}");
    }
    assert_eq!(relay.request("GET", "/", &[], "").await.0, 404);
    let (status, text) = WebSocket::attempt(relay.http, "cli.rtpengine.com, echo.rtpengine.com").await;
    assert!(status == 400 && text.contains("ng-plain.rtpengine.com"), "{status} {text}");
    let mut web_socket = WebSocket::connect(relay.http, "ng.rtpengine.com").await;
    web_socket.send(&"x".repeat(MAX_MESSAGE + 1)).await;
    assert_eq!(web_socket.receive().await, None);
}

#[tokio::test]
async fn requests_over_http_and_tcp_show_the_token_where_there_is_one() {
    let relay = Relay::start("token = \"s3cret\"").await;
    let (ping, pong) = PINGS[0];
    for (authorization, status) in
        [("Bearer s3cret", 200), ("Bearer s3creT", 401), ("Bearer s3cre", 401), ("s3cret", 401), ("", 401)]
    {
        let headers = [("Content-Type", NG), ("Authorization", authorization)];
        let (said, body) = relay.post("/ng", &headers, ping).await;
        assert_eq!((said, body == pong), (status, status == 200), "{authorization}");
        assert_eq!(relay.request("GET", "/metrics", &headers, "").await.0, status, "{authorization}");
    }
    let [http, ws] = ["http", "ws"].map(|transport| format!("{transport}:{}", relay.http));
    let tcp = format!("tcp:{}", relay.tcp);
    let file = relay.stox.directory().join("token");
    fs::write(&file, "s3cret\n").expect("the directory can be written to");
    let file = format!("--token=@{}", file.display());
    for (words, said) in [
        (&[&http, "--token=s3cret"][..], "result: pong"),
        (&[&http, &file], "result: pong"),
        (&[&http, "--token=other"], "it asks for another token"),
        (&[&http], "it asks for a token"),
        (&[&ws, &file], "result: pong"),
        (&[&ws], "it asks for a token"),
        (&[&tcp, &file], "result: pong"),
        (&[&tcp], "has to show the token"),
    ] {
        let output = command(&["ng", "send", "ping", "--to"], None).args(words).output().expect("it was built");
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(text.contains(said), "{words:?}: {text}");
    }
    assert_eq!(WebSocket::attempt(relay.http, "ng.rtpengine.com").await.0, 401);
    let first = "1_1 d7:command4:ping5:token6:s3crete";
    let refusal = "1_1 d12:error-reason39:The first request has to show the token6:result5:errore";
    for (messages, said) in [
        (format!("{first}{ping}"), pong.repeat(2)),
        (format!("{ping}{first}"), refusal.to_owned()),
        (first.replace("s3cret", "s3creT"), refusal.to_owned()),
    ] {
        let mut tcp = TcpStream::connect(relay.tcp).await.expect("it listens");
        tcp.write_all(messages.as_bytes()).await.expect("it reads");
        tcp.shutdown().await.expect("it can be");
        assert_eq!(client::read_all(&mut tcp).await, said);
    }
    assert_eq!(relay.request("GET", "/ping", &[], "").await.0, 200);
    assert!(!relay.stox.output().contains("s3cret"), "{}", relay.stox.output());
}

#[tokio::test]
async fn strangers_are_not_answered() {
    let relay = Relay::start("peers = [\"192.0.2.0/24\"]").await;
    let socket = Socket::connect(relay.udp).await;
    socket.tell(PINGS[0].0.as_bytes()).await;
    for address in [relay.tcp, relay.http] {
        let mut tcp = TcpStream::connect(address).await.expect("it listens");
        assert_eq!(client::read_all(&mut tcp).await, "");
    }
    relay.stox.prints("is none of those whose requests are taken", PATIENCE).await;
    assert!(!socket.hears().await);
}

#[tokio::test]
async fn only_so_many_connections_are_held() {
    let relay = Relay::start("max_connections = 3").await;
    let (ping, pong) = PINGS[0];
    let web_socket = WebSocket::connect(relay.http, "ng.rtpengine.com").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut tcp = TcpStream::connect(relay.tcp).await.expect("it listens");
        tcp.write_all(ping.as_bytes()).await.expect("it reads");
        assert_eq!(client::read(&mut tcp, pong.len()).await, pong);
        held.push(tcp);
    }
    let mut one_more = TcpStream::connect(relay.tcp).await.expect("it listens");
    assert_eq!(client::read_all(&mut one_more).await, "");
    relay.stox.prints("one connection more than there is room for", PATIENCE).await;
    drop(web_socket);
    // Its place is free as soon as its end has been seen.
    client::eventually(async || relay.try_get("/ping").await == Some((200, "pong".to_owned()))).await;
}

#[tokio::test]
async fn a_signal_ends_a_relay_without_calls() {
    for signal in ["TERM", "INT"] {
        let mut relay = Relay::start("").await;
        let _idle = TcpStream::connect(relay.tcp).await.expect("it listens");
        relay.stox.signal(signal);
        assert!(relay.stox.ends(PATIENCE).await.success(), "{}", relay.stox.output());
    }
}

#[tokio::test]
async fn a_signal_ends_a_relay_with_a_call_when_that_is_over_or_when_it_comes_again() {
    let offer = |cookie: u8, call: &str| {
        let sdp =
            r"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
        format!(r#"{cookie} {{"command":"offer","call-id":"{call}","from-tag":"a","sdp":"{sdp}"}}"#)
    };
    for is_deleted in [true, false] {
        let mut relay = Relay::start("").await;
        let socket = Socket::connect(relay.udp).await;
        let reply = socket.ask(&offer(1, "one")).await;
        assert!(reply.contains(r#""result":"ok""#), "{reply}");
        relay.stox.signal("TERM");
        relay.stox.prints("stopping when the last call is over", PATIENCE).await;
        let reply = socket.ask(&offer(2, "another")).await;
        assert!(reply.contains("Parallel session limit reached"), "{reply}");
        if is_deleted {
            let reply = socket.ask(r#"3 {"command":"delete","call-id":"one","delete-delay":0}"#).await;
            assert!(reply.contains(r#""result":"ok""#), "{reply}");
        } else {
            relay.stox.signal("TERM");
        }
        assert!(relay.stox.ends(PATIENCE).await.success(), "{}", relay.stox.output());
        assert_eq!(relay.stox.output().contains("stopping at once"), !is_deleted);
    }
}

#[test]
fn a_relay_that_cannot_be_does_not_start() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback has ports");
    let taken = format!("udp:{}", taken.local_addr().expect("it is bound"));
    let with_key = [
        "--address",
        "127.0.0.1",
        "--ng",
        "https:127.0.0.1:0",
        "--tls-certificate",
        "/nonexistent",
        "--tls-key",
        "/nonexistent",
    ];
    for (words, code, said) in [
        (&["--address", "127.0.0.1", "--ng", "udp:localhost"][..], 2, "ng.listen = \"udp:localhost\""),
        (&["--address", "a/127.0.0.1", "--address", "b=c"], 2, "ng.aliases b = \"c\""),
        (&[], 2, "relay.addresses is empty"),
        (&["--address", "127.0.0.1", "--ng", "tls:127.0.0.1:1"], 2, "needs ng.tls with certificate and key"),
        (&["--address", "127.0.0.1", "--tls-key", "/nonexistent"], 2, "certificate and key go together"),
        (&with_key, 1, "/nonexistent"),
        (&["--config", "/nonexistent.toml"], 2, "/nonexistent.toml"),
        (&["--address", "127.0.0.1", "--ng", &taken], 1, "cannot listen on udp:"),
    ] {
        let output = command(&["relay"], None).args(words).output().expect("the binary was built");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), text.contains(said)), (Some(code), true), "{words:?}: {text}");
    }
}

#[tokio::test]
async fn the_command_line_is_enough() {
    let address: SocketAddr = crate::scene::free_udp();
    let words = ["relay", "--address", "127.0.0.1", "--workers", "1", "--ng", &format!("udp:{address}")];
    let directory = directory_with("");
    fs::remove_file(directory.join("stox.toml")).expect("it is ours");
    let stox = crate::binary::Stox::start(command(&words, None), directory);
    stox.prints("ready", PATIENCE).await;
    let (ping, pong) = PINGS[0];
    assert_eq!(Socket::connect(address).await.ask(ping).await, pong);
}

#[tokio::test]
async fn a_request_may_be_sent_from_the_command_line() {
    let relay = Relay::start("").await;
    let request = relay.stox.directory().join("request.json");
    fs::write(&request, r#"{"command": "list", "limit": 7}"#).expect("the directory can be written to");
    let request = format!("--json={}", request.display());
    let (udp, tcp, http) = (format!("udp:{}", relay.udp), format!("tcp:{}", relay.tcp), format!("http:{}", relay.http));
    let ws = format!("ws:{}", relay.http);
    let sdp = format!("sdp=@{}", relay.stox.directory().join("stox.toml").display());
    for (words, code, said) in [
        (&["--to", &udp, "ping"][..], 0, "result: pong\n"),
        (&["--to", &tcp, "ping"], 0, "result: pong\n"),
        (&["--to", &http, "ping"], 0, "result: pong\n"),
        (&["--to", &ws, "ping"], 0, "result: pong\n"),
        (&["--to", &http, "offer", "call-id=a"], 1, "error-reason: No SDP body in message\nresult: error\n"),
        (&["--to", &udp, &request], 0, "calls:\nresult: ok\n"),
        (&["--to", &udp, &request, "command=ping"], 0, "result: pong\n"),
        (&["--to", &udp, "offer", "call-id=a"], 1, "error-reason: No SDP body in message\nresult: error\n"),
        (&["--to", &tcp, "offer", &sdp], 1, "error-reason: No call-id in message\nresult: error\n"),
        (&["--to", "sctp:127.0.0.1:1", "ping"], 1, "expected udp:HOST:PORT"),
        (&["--to", &udp, "offer", "sdp=@/nonexistent"], 1, "cannot read /nonexistent"),
    ] {
        let mut command = command(&["ng", "send"], None);
        let output = command.args(words).output().expect("the binary was built");
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert_eq!((output.status.code(), text.contains(said)), (Some(code), true), "{words:?}: {text}");
    }
}

#[tokio::test]
async fn what_is_odd_about_a_request_is_logged_also_where_it_is_refused() {
    let relay = Relay::start("").await;
    let socket = Socket::connect(relay.udp).await;
    let reply = socket.ask(r#"1 {"command":"offer","flags":["x-y","symmetric","asymmetric"]}"#).await;
    assert!(reply.contains("No SDP body in message"), "{reply}");
    relay.stox.prints("unknown flag", PATIENCE).await;
    relay.stox.prints("`symmetric` and `asymmetric` contradict each other", PATIENCE).await;
}

fn target(relay: SocketAddr, media: &str, ice: bool) -> Box<dyn Target> {
    let raw = RawPlan { target: format!("ng:{relay}"), media: media.into(), ice, ..RawPlan::default() };
    let plan = Plan::try_from(raw).expect("the plan is possible");
    target::open(&plan, &RelayProcess::new("no relay is started".into())).expect("it answers a ping")
}

#[tokio::test]
async fn calls_of_every_kind_carry_media_both_ways() {
    let relay = Relay::start("").await;
    let address = relay.udp;
    let carried = tokio::task::spawn_blocking(move || carry_every_kind(|media, ice| target(address, media, ice)));
    carried.await.expect("all arrived");
}

#[tokio::test]
async fn calls_come_and_go_by_the_hundred() {
    let relay = Relay::start("").await;
    let address = relay.udp;
    let carried = tokio::task::spawn_blocking(move || {
        let mut relay = target(address, "rtp", false);
        for round in 0..3 {
            let calls: Vec<_> = (round * 100..(round + 1) * 100).map(CallNumber).collect();
            let outcome = relay.set_up(&calls);
            assert!(outcome.iter().all(Result::is_ok), "{:?}", outcome.iter().find_map(|call| call.as_ref().err()));
            assert_eq!(relay.tear_down(&calls), Ok(()));
        }
    });
    carried.await.expect("there was room");
}
