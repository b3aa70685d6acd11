//! Requests over HTTP and WebSocket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{PATIENCE, TRIES, shown};
use crate::ng::http::{NG, PROTOCOLS};

/// One request on a connection of its own (RFC 9112).
pub(super) fn over_http(relay: SocketAddr, host: &str, token: Option<&[u8]>, message: &[u8]) -> io::Result<Vec<u8>> {
    let mut connection = connect(relay)?;
    let length = message.len();
    let head = format!(
        "POST /ng HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {NG}\r\nContent-Length: {length}\r\n"
    );
    connection.get_mut().write_all(&[head.as_bytes(), &authorization(token), b"\r\n", message].concat())?;
    expect(&mut connection, "200", token)?;
    let mut body = Vec::new();
    connection.read_to_end(&mut body)?;
    Ok(body)
}

/// One message (RFC 6455).
pub(super) fn over_web_socket(
    relay: SocketAddr,
    host: &str,
    token: Option<&[u8]>,
    message: &[u8],
) -> io::Result<Vec<u8>> {
    let mut connection = connect(relay)?;
    let (key, protocol) = (BASE64_STANDARD.encode(random::<16>()?), PROTOCOLS[0]);
    let head = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {protocol}\r\n"
    );
    connection.get_mut().write_all(&[head.as_bytes(), &authorization(token), b"\r\n"].concat())?;
    expect(&mut connection, "101", token)?;
    connection.get_mut().write_all(&frame(message, random()?))?;
    loop {
        match read_frame(&mut connection)? {
            (TEXT | BINARY, message) => return Ok(message),
            (CLOSE, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            // Somebody asks whether we are there, which we will not be for long.
            _ => {}
        }
    }
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

fn connect(relay: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let connection = TcpStream::connect_timeout(&relay, TRIES * PATIENCE)?;
    connection.set_read_timeout(Some(TRIES * PATIENCE))?;
    Ok(BufReader::new(connection))
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    Ok(bytes)
}

fn authorization(token: Option<&[u8]>) -> Vec<u8> {
    token.map(|token| [b"Authorization: Bearer ", token, b"\r\n"].concat()).unwrap_or_default()
}

/// Reads the head of a response, and says what is wrong if it is another one.
fn expect(connection: &mut impl BufRead, wanted: &str, token: Option<&[u8]>) -> io::Result<()> {
    const LONGEST: u64 = 16 * 1024;
    let (mut head, mut connection) = (Vec::new(), connection.take(LONGEST));
    while !head.ends_with(b"\r\n\r\n") && connection.read_until(b'\n', &mut head)? > 0 {}
    let status = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default());
    match status.split(' ').nth(1) {
        Some(code) if code == wanted => Ok(()),
        Some("401") if token.is_none() => Err(io::Error::other("it asks for a token: --token")),
        Some("401") => Err(io::Error::other("it asks for another token")),
        Some("503") => Err(io::Error::other("it has no room for the request now")),
        Some(_) => Err(io::Error::other(shown(status.as_bytes()))),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A whole message in one frame, masked as those of clients are (RFC 6455 §5.2, §5.3).
fn frame(message: &[u8], mask: [u8; 4]) -> Vec<u8> {
    const MASKED: u8 = 0x80;
    let mut frame = vec![0x80 | BINARY];
    match (u8::try_from(message.len()), u16::try_from(message.len())) {
        (Ok(length @ ..=125), _) => frame.push(MASKED | length),
        (_, Ok(length)) => {
            frame.push(MASKED | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(MASKED | 127);
            frame.extend((message.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(message.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// What a server's frame is, and what is in it.
fn read_frame(connection: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    connection.read_exact(&mut start)?;
    let length = match start[1] & 0x7F {
        126 => {
            let mut length = [0; 2];
            connection.read_exact(&mut length)?;
            u64::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            connection.read_exact(&mut length)?;
            u64::from_be_bytes(length)
        }
        length => length.into(),
    };
    let mut message = Vec::new();
    connection.take(length).read_to_end(&mut message)?;
    if message.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((start[0] & 0x0F, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_length_go_into_a_frame() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let message = vec![b'x'; length];
            // Without a mask it is one of a server.
            let mut frame = frame(&message, [0; 4]);
            let head = frame.len() - length;
            frame.drain(head - 4..head);
            assert_eq!(read_frame(&mut &frame[..]).expect("it is whole"), (BINARY, message));
            assert!(read_frame(&mut &frame[..frame.len() - 1]).is_err());
        }
        assert_eq!(
            frame(b"Hello", [0x37, 0xFA, 0x21, 0x3D])[2..],
            [0x37, 0xFA, 0x21, 0x3D, 0x7F, 0x9F, 0x4D, 0x51, 0x58]
        );
    }
}
