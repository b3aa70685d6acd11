//! A relay, and clients of it that are written by hand, so that they may be odd.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use crate::binary::{Stox, command, directory_with};
use crate::scene::{PATIENCE, free_tcp, free_udp};

pub(super) struct Relay {
    pub(super) stox: Stox,
    pub(super) udp: SocketAddr,
    pub(super) tcp: SocketAddr,
    pub(super) http: SocketAddr,
}

impl Relay {
    /// Starts it on every transport. `more` is added to `[ng]`.
    pub(super) async fn start(more: &str) -> Self {
        let (udp, tcp, http) = (free_udp(), free_tcp(), free_tcp());
        let listen = format!("[\"udp:{udp}\", \"tcp:{tcp}\", \"http:{http}\"]");
        let relay = "[relay]\naddresses = [{ bind = \"127.0.0.1\" }]\nworkers = 1";
        let directory = directory_with(&format!("{relay}\n[ng]\nlisten = {listen}\n{more}"));
        let stox = Stox::start(command(&["relay"], Some(&directory)), directory);
        stox.prints("ready", PATIENCE).await;
        Self { stox, udp, tcp, http }
    }

    pub(super) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        self.request("POST", path, headers, body).await
    }

    /// A request over a connection of its own: status and body.
    pub(super) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).await.expect("it listens");
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        // It may answer without having read all.
        let _ = stream.write_all(body.as_bytes()).await;
        let reply = read_all(&mut stream).await;
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
        (status(head), body.to_owned())
    }

    /// The same without a body, if there is any answer.
    pub(super) async fn try_get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.http).await.ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
        let reply = read_all(&mut stream).await;
        let (head, body) = reply.split_once("\r\n\r\n")?;
        Some((status(head), body.to_owned()))
    }
}

fn status(head: &str) -> u16 {
    head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {head:?}"))
}

/// So many bytes of a stream.
pub(super) async fn read(stream: &mut TcpStream, length: usize) -> String {
    let mut bytes = vec![0; length];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.expect("it answers").expect("it answers with so much");
    String::from_utf8(bytes).expect("it is text")
}

/// All of a stream, until it is closed or torn down.
pub(super) async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it is closed");
    String::from_utf8(bytes).expect("it is text")
}

/// Tries until it is so.
pub(super) async fn eventually(is_so: impl AsyncFn() -> bool) {
    let trying = async {
        while !is_so().await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, trying).await.expect("it becomes so");
}

/// A client over UDP.
pub(super) struct Socket(UdpSocket);

impl Socket {
    pub(super) async fn connect(relay: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has ports");
        socket.connect(relay).await.expect("it is on loopback");
        Self(socket)
    }

    pub(super) async fn tell(&self, message: &[u8]) {
        self.0.send(message).await.expect("it is on loopback");
    }

    pub(super) async fn ask(&self, message: &str) -> String {
        self.tell(message.as_bytes()).await;
        let mut buffer = vec![0; 65_536];
        let length = timeout(PATIENCE, self.0.recv(&mut buffer)).await.expect("it answers").expect("it is there");
        String::from_utf8(buffer[..length].to_vec()).expect("it is text")
    }

    /// Says whether there is anything to hear for a while.
    pub(super) async fn hears(&self) -> bool {
        timeout(Duration::from_millis(300), self.0.readable()).await.is_ok()
    }
}

/// A client over WebSocket (RFC 6455), which masks with zeros.
pub(super) struct WebSocket(TcpStream);

impl WebSocket {
    pub(super) async fn connect(relay: SocketAddr, protocols: &str) -> Self {
        let (stream, head) = Self::upgrade(relay, protocols).await;
        assert_eq!(status(&head), 101, "{head}");
        let selected = protocols.split(", ").last().expect("there is always one");
        assert!(head.to_lowercase().contains(&format!("sec-websocket-protocol: {selected}")), "{head}");
        Self(stream)
    }

    /// The answer to an attempt that fails.
    pub(super) async fn attempt(relay: SocketAddr, protocols: &str) -> (u16, String) {
        let (mut stream, head) = Self::upgrade(relay, protocols).await;
        let length = head.to_lowercase();
        let length = length.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse().ok());
        (status(&head), read(&mut stream, length.expect("it has a length")).await)
    }

    async fn upgrade(relay: SocketAddr, protocols: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(relay).await.expect("it listens");
        let head = format!(
            "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {protocols}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push_str(&read(&mut stream, 1).await);
        }
        (stream, head)
    }

    pub(super) async fn ask(&mut self, message: &str) -> String {
        self.send(message).await;
        self.receive().await.expect("it answers")
    }

    /// Sends a text (§5.2).
    pub(super) async fn send(&mut self, message: &str) {
        let length = message.len() as u64;
        let mut frame = vec![0x81];
        match u8::try_from(length) {
            Ok(short) if short < 126 => frame.push(0x80 | short),
            _ => {
                frame.push(0x80 | 127);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(message.as_bytes());
        // It may close before it has read all.
        let _ = self.0.write_all(&frame).await;
    }

    /// The next short text, unless the connection is closed.
    pub(super) async fn receive(&mut self) -> Option<String> {
        let mut head = [0; 2];
        let read_head = timeout(PATIENCE, self.0.read_exact(&mut head)).await.expect("it answers or closes");
        if read_head.is_err() || head[0] != 0x81 {
            return None;
        }
        assert!(head[1] < 126, "it is short");
        Some(read(&mut self.0, head[1].into()).await)
    }
}
