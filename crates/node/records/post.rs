//! A POST for each record (RFC 9110 §9.3.3), on a connection of its own.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use super::Counters;

/// How long a connection, and then an answer, is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses after which a record that was not taken is sent again; after the last one it is given up.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];
/// The longest head of a response.
const LONGEST: u64 = 16 * 1024;

/// Where records are posted: `http://host:port/path`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Url {
    /// With the port.
    authority: String,
    path: String,
}

impl FromStr for Url {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let rest = text.strip_prefix("http://").ok_or(())?;
        let is_plain = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}#".contains(c);
        let (authority, path) =
            rest.split_once('/').map_or((rest, String::new()), |(host, path)| (host, path.to_owned()));
        let (host, port) =
            authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')).unwrap_or((authority, "80"));
        let is_right = !host.is_empty() && port.parse::<u16>().is_ok() && !authority.contains('@');
        if !is_right || !rest.chars().all(is_plain) {
            return Err(());
        }
        Ok(Self { authority: format!("{host}:{port}"), path: format!("/{path}") })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// Posts records until nothing more will come.
pub(super) fn run(url: &Url, records: &Receiver<String>, counters: &Counters) {
    let (mut next, mut is_closing) = (None, false);
    while let Some(record) = next.take().or_else(|| records.recv().ok()) {
        let mut pauses = PAUSES.into_iter();
        loop {
            match post(url, &record) {
                Ok(()) => {
                    counters.posted.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(error) => {
                    let Some(pause) = pauses.next().filter(|_| !is_closing) else {
                        tracing::error!("a record was not taken by {url}: {error}");
                        counters.not_posted.fetch_add(1, Ordering::Relaxed);
                        break;
                    };
                    tracing::warn!("a record is sent to {url} again in {pause:?}: {error}");
                    counters.retried.fetch_add(1, Ordering::Relaxed);
                    std::thread::park_timeout(pause);
                    if next.is_none() {
                        match records.try_recv() {
                            Ok(record) => next = Some(record),
                            Err(TryRecvError::Empty) => {}
                            Err(TryRecvError::Disconnected) => is_closing = true,
                        }
                    }
                }
            }
        }
    }
}

/// One request. A status of 2xx is what is wanted, and any other the peer's own trouble.
fn post(url: &Url, record: &str) -> io::Result<()> {
    let addresses: Vec<_> = url.authority.to_socket_addrs()?.collect();
    let address = addresses.first().ok_or(io::ErrorKind::NotFound)?;
    let mut connection = TcpStream::connect_timeout(address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        url.path,
        url.authority,
        record.len()
    );
    connection.write_all(&[head.as_bytes(), record.as_bytes()].concat())?;
    let mut status = String::new();
    BufReader::new(connection.take(LONGEST)).read_line(&mut status)?;
    match status.split(' ').nth(1) {
        Some(code) if code.len() == 3 && code.starts_with('2') => Ok(()),
        Some(_) => {
            Err(io::Error::other(status.trim().chars().filter(|c| !c.is_control()).take(100).collect::<String>()))
        }
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_url_has_a_host_and_may_have_more() {
        for (text, whole) in [
            ("http://localhost", "http://localhost:80/"),
            ("http://127.0.0.1:8080/calls?x=1", "http://127.0.0.1:8080/calls?x=1"),
            ("http://[::1]/a/b", "http://[::1]:80/a/b"),
            ("http://[::1]:81", "http://[::1]:81/"),
        ] {
            assert_eq!(text.parse::<Url>().map(|url| url.to_string()).as_deref(), Ok(whole));
        }
        for wrong in
            ["https://localhost", "localhost", "http://", "http://:1/", "http://a:x/", "http://u@a/", "http://a/b c"]
        {
            assert_eq!(wrong.parse::<Url>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn a_record_that_is_not_taken_is_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let url: Url =
            format!("http://{}/calls", listener.local_addr().expect("it is bound")).parse().expect("it is one");
        let (queue, records) = sync_channel(2);
        queue.send("{\"call\":1}".to_owned()).expect("there is room");
        drop(queue);
        let peer = std::thread::spawn(move || {
            ["503 Later", "204 No Content"].map(|status| {
                let (mut connection, _) = listener.accept().expect("it connects");
                let mut request = vec![0; 10_000];
                let mut length = 0;
                while !request[..length].ends_with(b"}") {
                    length += connection.read(&mut request[length..]).expect("it sends");
                }
                write!(connection, "HTTP/1.1 {status}\r\n\r\n").expect("it listens");
                String::from_utf8_lossy(&request[..length]).into_owned()
            })
        });
        let counters = Counters::default();
        run(&url, &records, &counters);
        let requests = peer.join().expect("it ends");
        assert_eq!(requests[0], requests[1]);
        assert!(requests[0].starts_with("POST /calls HTTP/1.1\r\nHost: 127.0.0.1:"), "{}", requests[0]);
        assert!(requests[0].ends_with("Content-Length: 10\r\n\r\n{\"call\":1}"), "{}", requests[0]);
        let counted = counters.rows();
        assert_eq!(counted.map(|(_, count)| count), [0, 0, 1, 1, 0, 0], "{counted:?}");
    }
}
