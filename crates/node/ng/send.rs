//! `stox ng send`: one request to a relay, from the command line.

mod web;

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use control::{Dictionary, Encoding, Frame, Reply, Stream, Value, json};

/// How long a reply may take before the request is repeated, and how often it is sent, as Kamailio does it.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: u32 = 5;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where the relay takes requests: udp:HOST:PORT, tcp:HOST:PORT, http:HOST:PORT or ws:HOST:PORT.
    #[arg(long, value_name = "TRANSPORT:HOST:PORT", default_value = "udp:127.0.0.1:2223")]
    to: String,
    /// What the relay asks of requests over TCP, HTTP and WebSocket; @FILE stands for what is in a file.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// A file with a whole request in JSON, to which the words are added.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The command ("ping", "block media"), and KEY=VALUE. KEY=@FILE stands for what is in a file; a key that is given
    /// more than once has a list.
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

/// Sends, waits, prints the reply. Exit code 1 unless it is `ok` or `pong`.
pub(crate) fn send(arguments: &Arguments) -> ExitCode {
    match request(arguments).and_then(|request| exchange(arguments, &request)) {
        Ok(reply) => {
            print!("{}", readable(&reply));
            match Reply::of(&reply) {
                Ok(Reply::Done(_) | Reply::Pong) => ExitCode::SUCCESS,
                Ok(Reply::Error(_) | Reply::LoadLimit(_)) | Err(_) => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn request(arguments: &Arguments) -> anyhow::Result<Dictionary<'static>> {
    let mut request = match &arguments.json {
        Some(path) => match json::parse(&file(path)?).with_context(|| path.display().to_string())? {
            Value::Dictionary(dictionary) => dictionary,
            Value::Integer(_) | Value::Bytes(_) | Value::List(_) => bail!("{}: no dictionary", path.display()),
        },
        None => Dictionary::new(),
    };
    let mut said = Dictionary::new();
    for word in &arguments.words {
        let (key, value) = word.split_once('=').unwrap_or(("command", word));
        let value = Value::Bytes(meant(value)?.into());
        let value = match said.get(key) {
            Some(before) => Value::List([before.members(), &[value]].concat()),
            None => value,
        };
        said.insert(key.as_bytes(), value);
    }
    for (key, value) in said.iter() {
        request.insert(key.to_vec(), value.clone().into_owned());
    }
    Ok(request)
}

/// What `@FILE` or a word stands for.
fn meant(word: &str) -> anyhow::Result<Vec<u8>> {
    word.strip_prefix('@').map_or_else(|| Ok(word.as_bytes().to_vec()), |path| file(Path::new(path)))
}

fn file(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn exchange(arguments: &Arguments, request: &Dictionary<'_>) -> anyhow::Result<Dictionary<'static>> {
    let mut cookie = [0; 8];
    getrandom::fill(&mut cookie).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let cookie = format!("{:016x}", u64::from_be_bytes(cookie));
    let token = arguments.token.as_deref().map(meant).transpose()?;
    let token = token.as_deref().map(<[u8]>::trim_ascii);
    let to = &arguments.to;
    let (transport, address) = to.split_once(':').unwrap_or_default();
    if !["udp", "tcp", "http", "ws"].contains(&transport) {
        bail!("--to {to}: expected udp:HOST:PORT, or tcp:, http: or ws: in the place of udp:");
    }
    let addresses = address.to_socket_addrs().with_context(|| format!("--to {to}"))?;
    let relay = addresses.into_iter().next().with_context(|| format!("--to {to}: the name has no address"))?;
    let mut request = request.clone();
    if let Some(token) = token.filter(|_| transport == "tcp") {
        request.put("token", Value::Bytes(token.into()));
    }
    let message = Frame::write(cookie.as_bytes(), Encoding::Bencode, &request);
    let reply = match transport {
        "udp" => over_udp(relay, cookie.as_bytes(), &message),
        "tcp" => over_tcp(relay, cookie.as_bytes(), &message),
        "http" => web::over_http(relay, address, token, &message),
        _ => web::over_web_socket(relay, address, token, &message),
    };
    let reply = reply.with_context(|| to.to_owned())?;
    let (_, reply) = Frame::split(&reply)?.read()?;
    Ok(reply.into_owned())
}

fn over_udp(relay: SocketAddr, cookie: &[u8], message: &[u8]) -> io::Result<Vec<u8>> {
    let any = if relay.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(relay)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    for _ in 0..TRIES {
        socket.send(message)?;
        match socket.recv(&mut buffer) {
            Ok(length) if is_of(cookie, &buffer[..length]) => return Ok(buffer[..length].to_vec()),
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(error);
            }
            Ok(_) | Err(_) => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "nobody answers"))
}

fn over_tcp(relay: SocketAddr, cookie: &[u8], message: &[u8]) -> io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect_timeout(&relay, TRIES * PATIENCE)?;
    connection.set_read_timeout(Some(TRIES * PATIENCE))?;
    connection.write_all(message)?;
    let (mut stream, mut buffer) = (Stream::new(), vec![0; 16 * 1024]);
    loop {
        match connection.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => stream.push(&buffer[..length]),
        }
        while let Some(message) = stream.next_message().map_err(io::Error::other)? {
            if is_of(cookie, message) {
                return Ok(message.to_vec());
            }
        }
    }
}

/// Says whether a reply is to the request with this cookie.
fn is_of(cookie: &[u8], reply: &[u8]) -> bool {
    Frame::split(reply).is_ok_and(|frame| frame.cookie == cookie)
}

/// A reply for people: a line for each value, and what is in it further in.
fn readable(reply: &Dictionary<'_>) -> String {
    let mut text = String::new();
    members(reply, 0, &mut text);
    text
}

fn members(dictionary: &Dictionary<'_>, depth: usize, text: &mut String) {
    for (name, value) in dictionary.iter() {
        let _ = write!(text, "{:width$}{}:", "", shown(name), width = 4 * depth);
        inside(value, depth + 1, text);
    }
}

/// What stands behind a name, on its line or on those below it.
fn inside(value: &Value<'_>, depth: usize, text: &mut String) {
    let width = 4 * depth;
    // Writing to a string does not fail.
    let _ = match value {
        Value::Integer(number) => writeln!(text, " {number}"),
        Value::Bytes(bytes) if bytes.contains(&b'\n') => {
            text.push('\n');
            for line in bytes.split(|byte| *byte == b'\n') {
                let line = shown(line.strip_suffix(b"\r").unwrap_or(line));
                let _ = if line.is_empty() { Ok(()) } else { writeln!(text, "{:width$}{line}", "") };
            }
            Ok(())
        }
        Value::Bytes(bytes) => writeln!(text, " {}", shown(bytes)),
        Value::List(values) => {
            text.push('\n');
            for value in values {
                let _ = write!(text, "{:width$}-", "");
                inside(value, depth + 1, text);
            }
            Ok(())
        }
        Value::Dictionary(dictionary) => {
            text.push('\n');
            members(dictionary, depth, text);
            Ok(())
        }
    };
}

/// Text without what a terminal would obey.
pub(super) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(char::is_control, "\u{FFFD}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(words: &[&str]) -> Arguments {
        Arguments {
            to: String::new(),
            token: None,
            json: None,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    #[test]
    fn words_make_a_request() {
        let request = request(&arguments(&["block media", "flags=all", "flags=x=y", "flags=", "call-id=a"]));
        let request = request.expect("they do");
        assert_eq!((request.text("command"), request.text("call-id")), (Some("block media"), Some("a")));
        assert_eq!(request.get("flags"), Some(&Value::from(vec!["all", "x=y", ""])));
    }

    #[test]
    fn a_reply_is_printed_line_by_line() {
        let reply = Dictionary::new()
            .with("sdp", "v=0\r\ns=-\r\n")
            .with("created", 7)
            .with("calls", vec!["a", "b\u{1b}[0m"])
            .with("totals", Dictionary::new().with("RTP", Dictionary::new().with("packets", 1)));
        let lines = "calls:\n    - a\n    - b\u{FFFD}[0m\ncreated: 7\nsdp:\n    v=0\n    s=-\ntotals:\n    RTP:\n        packets: 1\n";
        assert_eq!(readable(&reply), lines);
    }
}
