//! The component's stream to its server (XEP-0114).
//!
//! 1. connect, `<stream:stream to=domain>` → `<stream:stream id=…>`
//! 2. `<handshake>` SHA-1 of id and secret → `<handshake/>`: [`Event::Connected`]
//! 3. stanzas both ways; after [`Config::keepalive`] of silence a ping to ourselves, which the server has to route back
//! 4. anything that ends the stream: [`Event::Disconnected`], and from the start again after a growing pause
//!
//! What waits to be sent waits on over a reconnection, for [`Config::queue_age`] at most.

mod outbox;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jid::{DomainPart, Jid};
use minidom::Element;
use model::Secret;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use self::outbox::Outbox;
use crate::query;
use crate::stanza::{self, Condition, Stanza, StanzaError, StanzaKind};
use crate::stream::{self, Incoming, StreamReader};

/// What a component needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's component port, `host:port`.
    pub server: String,
    /// Our domain.
    pub domain: String,
    /// The shared secret.
    pub secret: Secret<String>,
    /// How long connecting and the handshake may take together.
    pub connect_timeout: Duration,
    /// Silence after which the server is pinged.
    pub keepalive: Duration,
    /// Silence after the ping after which the stream is given up.
    pub response_timeout: Duration,
    /// Pause before the first new attempt; each next one is twice as long.
    pub first_retry: Duration,
    /// Longest pause between attempts.
    pub longest_retry: Duration,
    /// Most bytes that wait to be sent.
    pub queue_bytes: usize,
    /// How long a stanza may wait to be sent.
    pub queue_age: Duration,
}

impl Config {
    /// What everybody can use who does not test.
    pub fn new(server: impl Into<String>, domain: impl Into<String>, secret: Secret<String>) -> Self {
        let domain = domain.into();
        Self {
            server: server.into(),
            domain: DomainPart::new(&domain).map_or(domain.clone(), |prepared| prepared.as_str().to_owned()),
            secret,
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(60),
            response_timeout: Duration::from_secs(15),
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
            queue_bytes: 4 * 1024 * 1024,
            queue_age: Duration::from_secs(30),
        }
    }
}

/// What the stream tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server took us.
    Connected,
    /// The stream is gone, and why; another attempt follows by itself.
    Disconnected(String),
    /// Something arrived.
    Stanza(Box<Stanza>),
}

/// How the stream is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Status {
    /// Open.
    Connected,
    /// Not open, and why.
    Disconnected(String),
    /// Stopped for good.
    Stopped,
}

/// Why a stanza was not taken for sending.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SendError {
    /// Too much waits already.
    #[error("too much waits for the server")]
    Full,
    /// It holds characters that XML cannot.
    #[error("not expressible in XML")]
    NotXml,
    /// The component was stopped.
    #[error("the component was stopped")]
    Stopped,
}

/// What happened so far, in stanzas unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Statistics {
    /// Times that the server took us.
    pub connections: u64,
    /// Handed out.
    pub received: u64,
    /// Written to the server.
    pub sent: u64,
    /// Answered with an error, or dropped where there is nobody to answer, because they break the rules.
    pub malformed: u64,
    /// Answered with `policy-violation`, because they are too large or too deep.
    pub too_large: u64,
    /// Dropped, because they are for another domain.
    pub misrouted: u64,
    /// Not taken for sending, because too much waited.
    pub overflowed: u64,
    /// Not sent, because they waited too long.
    pub expired: u64,
}

#[derive(Debug, Default)]
struct Counters {
    connections: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    malformed: AtomicU64,
    too_large: AtomicU64,
    misrouted: AtomicU64,
    overflowed: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A running component. It ends when it is told to, or when nobody takes its events any more.
#[derive(Clone, Debug)]
pub struct Component {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outbox: Outbox,
    counters: Counters,
    status: watch::Sender<Status>,
    stop: watch::Sender<bool>,
}

/// Most events that wait to be taken; beyond, the server has to wait.
const EVENTS: usize = 256;
/// How long the stream's proper end may take.
const CLOSING_TIME: Duration = Duration::from_secs(2);

impl Component {
    /// Starts to connect. Has to be called on a tokio runtime.
    pub fn start(config: Config) -> (Self, mpsc::Receiver<Event>) {
        let shared = Arc::new(Shared {
            outbox: Outbox::new(config.queue_bytes, config.queue_age),
            counters: Counters::default(),
            status: watch::Sender::new(Status::Disconnected("not connected yet".to_owned())),
            stop: watch::Sender::new(false),
        });
        let (events, receiver) = mpsc::channel(EVENTS);
        tokio::spawn(run(config, Arc::clone(&shared), events));
        (Self { shared }, receiver)
    }

    /// Queues a stanza; it is kept over a reconnection, for a bounded time.
    ///
    /// # Errors
    ///
    /// It cannot be queued.
    pub fn send(&self, stanza: &Stanza) -> Result<(), SendError> {
        self.send_element(&stanza.to_element())
    }

    /// Queues an element.
    ///
    /// # Errors
    ///
    /// It cannot be queued.
    pub fn send_element(&self, element: &Element) -> Result<(), SendError> {
        self.shared.send(element)
    }

    /// How the stream is.
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// What happened so far.
    pub fn statistics(&self) -> Statistics {
        let counters = &self.shared.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            connections: read(&counters.connections),
            received: read(&counters.received),
            sent: read(&counters.sent),
            malformed: read(&counters.malformed),
            too_large: read(&counters.too_large),
            misrouted: read(&counters.misrouted),
            overflowed: read(&counters.overflowed),
            expired: self.shared.outbox.expired(),
        }
    }

    /// Sends what is queued, closes the stream and ends, within a bounded time.
    pub async fn stop(&self) {
        self.shared.stop.send_replace(true);
        let stopped = |status: &Status| *status == Status::Stopped;
        // The sender is ours, so that waiting cannot fail.
        let _ = self.shared.status.subscribe().wait_for(stopped).await;
    }
}

impl Shared {
    fn send(&self, element: &Element) -> Result<(), SendError> {
        if *self.status.borrow() == Status::Stopped {
            return Err(SendError::Stopped);
        }
        let bytes = stream::write(element).map_err(|_| SendError::NotXml)?;
        self.outbox.push(bytes).inspect_err(|_| count(&self.counters.overflowed))
    }

    fn is_stopping(&self) -> bool {
        *self.stop.borrow()
    }

    async fn stopping(&self) {
        // The sender is ours, so that waiting cannot fail.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

async fn run(config: Config, shared: Arc<Shared>, events: mpsc::Sender<Event>) {
    let mut pause = config.first_retry;
    while !shared.is_stopping() && !events.is_closed() {
        let was = shared.counters.connections.load(Ordering::Relaxed);
        let why = tokio::select! {
            why = connection(&config, &shared, &events) => why,
            () = events.closed() => break,
            () = async { shared.stopping().await; sleep(CLOSING_TIME).await } => break,
        };
        shared.status.send_replace(Status::Disconnected(why.clone()));
        if shared.is_stopping() {
            break;
        }
        warn!(server = %config.server, domain = %config.domain, %why, "component stream is down");
        if shared.counters.connections.load(Ordering::Relaxed) > was {
            pause = config.first_retry;
            // A receiver that is gone ends the loop.
            let _ = events.send(Event::Disconnected(why)).await;
        }
        tokio::select! {
            () = sleep(jitter(pause)) => pause = (pause * 2).min(config.longest_retry),
            () = shared.stopping() => break,
            () = events.closed() => break,
        }
    }
    shared.status.send_replace(Status::Stopped);
}

/// Between half of a pause and all of it, so that components which lost one server do not return in step.
fn jitter(pause: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX);
    pause / 2 + (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// One connection from its beginning to its end; says why it ended.
async fn connection(config: &Config, shared: &Shared, events: &mpsc::Sender<Event>) -> String {
    let (mut input, output) = match timeout(config.connect_timeout, connect(config)).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(why)) => return why,
        Err(_) => return "no answer from the server".to_owned(),
    };
    info!(server = %config.server, domain = %config.domain, "component stream is up");
    count(&shared.counters.connections);
    shared.status.send_replace(Status::Connected);
    if events.send(Event::Connected).await.is_err() {
        return "nobody takes our events".to_owned();
    }
    tokio::select! {
        why = read_stanzas(config, shared, events, &mut input) => why,
        why = write_stanzas(shared, output) => why,
    }
}

async fn connect(config: &Config) -> Result<(Input, OwnedWriteHalf), String> {
    let socket = TcpStream::connect(&config.server).await.map_err(|error| error.to_string())?;
    socket.set_nodelay(true).map_err(|error| error.to_string())?;
    let (read, mut output) = socket.into_split();
    let mut input = Input { socket: read, reader: StreamReader::new(), buffer: Vec::with_capacity(READ), used: 0 };
    let mut put = async |text: String| output.write_all(text.as_bytes()).await.map_err(|error| error.to_string());
    put(stream::open(&config.domain)).await?;
    let mut incoming = input.next().await?;
    if let Incoming::Opened { id: Some(id), .. } = &incoming {
        let proof = stream::handshake(id, config.secret.reveal());
        put(format!("<handshake>{proof}</handshake>")).await?;
        incoming = input.next().await?;
    } else if let Incoming::Opened { id: None, .. } = &incoming {
        incoming = input.next().await?; // the server has nothing to offer but an error
    }
    match incoming {
        Incoming::Element(element) if element.name() == "handshake" => Ok((input, output)),
        Incoming::Element(element) => Err(stream_error(&element).unwrap_or("no handshake".to_owned())),
        Incoming::Opened { .. } | Incoming::TooLarge(_) | Incoming::Closed => Err("no handshake".to_owned()),
    }
}

/// Bytes asked for at once.
const READ: usize = 16 * 1024;

/// The server's half of the stream.
struct Input {
    socket: OwnedReadHalf,
    reader: StreamReader,
    buffer: Vec<u8>,
    /// How much of the buffer the reader has had.
    used: usize,
}

impl Input {
    /// What comes next. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Incoming, String> {
        loop {
            let mut bytes = &self.buffer[self.used..];
            let incoming = self.reader.read(&mut bytes).map_err(|error| error.to_string())?;
            self.used = self.buffer.len() - bytes.len();
            if let Some(incoming) = incoming {
                return Ok(incoming);
            }
            self.buffer.clear();
            self.used = 0;
            match self.socket.read_buf(&mut self.buffer).await {
                Ok(0) => return Err("the server closed the connection".to_owned()),
                Ok(_) => (),
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// Hands out stanzas until the stream ends; says why it did.
async fn read_stanzas(config: &Config, shared: &Shared, events: &mpsc::Sender<Event>, input: &mut Input) -> String {
    let mut pinged = false;
    loop {
        let patience = if pinged { config.response_timeout } else { config.keepalive };
        let incoming = match timeout(patience, input.next()).await {
            Ok(Ok(incoming)) => incoming,
            Ok(Err(why)) => return why,
            Err(_) if pinged => return "no answer to a ping".to_owned(),
            Err(_) => {
                // A full queue is no reason to give up waiting.
                let _ = shared.send(&self_ping(&config.domain));
                pinged = true;
                continue;
            }
        };
        pinged = false;
        let stanza = match incoming {
            Incoming::Element(element) => match stream_error(&element) {
                Some(why) => return why,
                None => read_stanza(config, shared, &element),
            },
            Incoming::TooLarge(header) => {
                count(&shared.counters.too_large);
                refuse_large(config, shared, &header);
                None
            }
            Incoming::Opened { .. } => None,
            Incoming::Closed => return "the server closed the stream".to_owned(),
        };
        if let Some(stanza) = stanza {
            count(&shared.counters.received);
            if events.send(Event::Stanza(Box::new(stanza))).await.is_err() {
                return "nobody takes our events".to_owned();
            }
        }
    }
}

/// Reads a stanza that is for us; answers or counts any other.
fn read_stanza(config: &Config, shared: &Shared, element: &Element) -> Option<Stanza> {
    match Stanza::parse(element) {
        Ok(stanza) if stanza.to.domain().as_str() != config.domain => {
            count(&shared.counters.misrouted);
            debug!(to = %stanza.to, "stanza for another domain");
            None
        }
        Ok(stanza) if stanza.from == stanza.to && stanza.from.as_str() == config.domain => None, // our own ping
        Ok(stanza) => Some(stanza),
        Err(refusal) => {
            count(&shared.counters.malformed);
            debug!(why = refusal.why, "malformed stanza");
            if let Some(answer) = refusal.answer {
                send_answer(config, shared, *answer);
            }
            None
        }
    }
}

fn refuse_large(config: &Config, shared: &Shared, header: &Element) {
    let error = StanzaError::new(Condition::PolicyViolation).with_text("stanza too large");
    let answer = StanzaKind::from_word(header.name()).and_then(|of| stanza::error_for(header, of, error));
    if let Some(answer) = answer {
        send_answer(config, shared, answer);
    }
}

/// Sends an error about a stanza that could not be read. It comes from where that was sent to, unless this is no
/// address of ours, which the server would not let pass.
fn send_answer(config: &Config, shared: &Shared, mut answer: Element) {
    let from = answer.attr("from").and_then(|from| Jid::new(from).ok());
    if from.is_none_or(|from| from.domain().as_str() != config.domain) {
        answer.set_attr(rxml::Namespace::NONE, rxml::xml_ncname!("from").to_owned(), config.domain.as_str());
    }
    if let Err(error) = shared.send(&answer) {
        debug!(%error, "cannot refuse a stanza");
    }
}

/// A ping that the server has to route back to us, so that it proves both ways.
fn self_ping(domain: &str) -> Element {
    let ping = Element::builder("iq", stanza::NS)
        .attr(rxml::xml_ncname!("type").to_owned(), "get")
        .attr(rxml::xml_ncname!("id").to_owned(), "keepalive")
        .attr(rxml::xml_ncname!("from").to_owned(), domain)
        .attr(rxml::xml_ncname!("to").to_owned(), domain);
    ping.append(query::ping()).build()
}

/// The condition of a stream error, and its text (RFC 6120 §4.9).
fn stream_error(element: &Element) -> Option<String> {
    if !element.is("error", stream::NS) {
        return None;
    }
    let mut children = element.children();
    let condition = children.find(|child| child.name() != "text").map_or("undefined-condition", Element::name);
    let text = element.children().find(|child| child.name() == "text").map(Element::text);
    Some(text.map_or_else(|| condition.to_owned(), |text| format!("{condition}: {text}")))
}

/// Writes what is queued until the stream ends; says why it did. When the component stops, it ends the stream after
/// what was queued, and leaves the rest to the reader.
async fn write_stanzas(shared: &Shared, mut output: OwnedWriteHalf) -> String {
    loop {
        let written = match shared.outbox.first() {
            Some(stanza) => output.write_all(&stanza).await.map(|()| {
                shared.outbox.remove(&stanza);
                count(&shared.counters.sent);
            }),
            None if shared.is_stopping() => {
                let closed = output.write_all(stream::CLOSE.as_bytes()).await;
                if closed.is_ok() && output.shutdown().await.is_ok() {
                    std::future::pending::<()>().await;
                }
                closed
            }
            None => {
                tokio::select! {
                    () = shared.outbox.filled() => (),
                    () = shared.stopping() => (),
                }
                Ok(())
            }
        };
        if let Err(error) = written {
            return error.to_string();
        }
    }
}
