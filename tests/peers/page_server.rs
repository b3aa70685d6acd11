//! The web server behind the browser's page: it serves the page, hands it commands and takes its reports.
//!
//! `GET /` and `/page.js` are the page; `GET /command` waits for the next command; `POST /report` brings one report.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::log::Log;

const HTML: &str = "<!doctype html><title>Jingle client</title><script type=\"module\" src=\"/page.js\"></script>";

/// Serves one page until the browser is gone.
pub(crate) struct PageServer {
    address: SocketAddr,
    commands: Sender<String>,
}

impl PageServer {
    /// Starts to serve the page whose code is `script`; its reports go to `reports`.
    pub(crate) fn start(script: Arc<str>, reports: Log) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (commands, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, reports, queue) = (Arc::clone(&script), reports.clone(), Arc::clone(&queue));
                // A browser that goes away in the middle of a request is no concern of the test.
                thread::spawn(move || serve(&stream, &script, &reports, &queue).ok());
            }
        });
        Self { address, commands }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}/", self.address.port())
    }

    pub(crate) fn send(&self, command: String) {
        self.commands.send(command).expect("the page is being served");
    }
}

fn serve(stream: &TcpStream, script: &str, reports: &Log, queue: &Mutex<Receiver<String>>) -> io::Result<()> {
    let mut lines = BufReader::new(stream);
    let mut request = String::new();
    lines.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        lines.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body)?;
    match request.split_whitespace().nth(1) {
        Some("/") => reply(stream, "200 OK", "text/html", HTML),
        Some("/page.js") => reply(stream, "200 OK", "text/javascript", script),
        Some("/command") => match queue.lock().map(|queue| queue.recv()) {
            Ok(Ok(command)) => reply(stream, "200 OK", "application/json", &command),
            _ => reply(stream, "410 Gone", "text/plain", ""),
        },
        Some("/report") => {
            reports.push(String::from_utf8_lossy(&body).into_owned());
            reply(stream, "200 OK", "text/plain", "")
        }
        _ => reply(stream, "404 Not Found", "text/plain", ""),
    }
}

fn reply(mut stream: &TcpStream, status: &str, kind: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}
