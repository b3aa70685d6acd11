//! A small XMPP server for one component and users inside this process (XEP-0114), on loopback.
//!
//! It stands in for Prosody in the demonstration and in tests: it checks the component's secret, routes stanzas
//! between the component and its users by the rules of RFC 6121 §8 as far as a call needs them, and answers for
//! nobody but itself.
//!
//! ```text
//! component                       server                        user
//!     | <stream:stream to='sip.…'>  |                             |
//!     |<----- <stream:stream id=…>  |                             |
//!     | <handshake>SHA-1</…>        |                             |
//!     |<-------------- <handshake/> |                             |
//!     | stanzas <-------------------+-----------------> stanzas   |
//! ```

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{bail, ensure};
use jid::{BareJid, FullJid};
use minidom::Element;
use model::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};
use xmpp::stanza::{Condition, Payload, Stanza, StanzaError};
use xmpp::stream::{self, Incoming, StreamReader};

/// Stanzas that may wait for one reader.
const QUEUE: usize = 256;

/// The server. It stops when it is dropped.
#[derive(Debug)]
pub struct ComponentServer {
    address: SocketAddr,
    router: Arc<Router>,
    connected: watch::Receiver<bool>,
    acceptor: JoinHandle<()>,
}

impl ComponentServer {
    /// Listens for the component `domain`, which has to know `secret`.
    ///
    /// # Errors
    ///
    /// The address cannot be listened at.
    pub async fn start(listen: SocketAddr, domain: &str, secret: Secret<String>) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let router = Arc::new(Router { domain: domain.to_owned(), readers: Mutex::default() });
        let (tell_connected, connected) = watch::channel(false);
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&router), secret, tell_connected));
        Ok(Self { address, router, connected, acceptor })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the component is connected.
    pub async fn connected(&self) {
        // The acceptor holds the sender for as long as the server lives.
        let _ = self.connected.clone().wait_for(|connected| *connected).await;
    }

    /// Brings a user online.
    pub fn join(&self, jid: FullJid) -> User {
        let (write, read) = mpsc::channel(QUEUE);
        self.router.readers().users.insert(jid.clone(), write);
        User { jid, router: Arc::clone(&self.router), read }
    }
}

impl Drop for ComponentServer {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// A user's connection. The user goes offline when it is dropped.
#[derive(Debug)]
pub struct User {
    jid: FullJid,
    router: Arc<Router>,
    read: mpsc::Receiver<Stanza>,
}

impl User {
    /// Who it is.
    pub fn jid(&self) -> &FullJid {
        &self.jid
    }

    /// The next stanza for this user; `None` when the server has stopped.
    pub async fn next(&mut self) -> Option<Stanza> {
        self.read.recv().await
    }

    /// Sends a stanza, which then comes from this user whatever it says (RFC 6120 §8.1.2.1).
    pub fn send(&self, mut stanza: Stanza) {
        stanza.from = self.jid.clone().into();
        self.router.route(stanza);
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.router.readers().users.remove(&self.jid);
    }
}

/// Who is there.
#[derive(Debug)]
struct Router {
    domain: String,
    readers: Mutex<Readers>,
}

#[derive(Debug, Default)]
struct Readers {
    component: Option<mpsc::Sender<Stanza>>,
    users: HashMap<FullJid, mpsc::Sender<Stanza>>,
}

impl Router {
    fn readers(&self) -> std::sync::MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a stanza to everybody it is for, or its sender an error.
    fn route(&self, stanza: Stanza) {
        let readers = self.recipients(&stanza);
        let mut delivered = false;
        for reader in readers {
            delivered |= reader.try_send(stanza.clone()).is_ok();
        }
        if !delivered {
            debug!(to = %stanza.to, "nobody there");
            self.bounce(&stanza);
        }
    }

    fn recipients(&self, stanza: &Stanza) -> Vec<mpsc::Sender<Stanza>> {
        let readers = self.readers();
        if stanza.to.domain().as_str() == self.domain {
            return readers.component.iter().cloned().collect();
        }
        match stanza.to.try_as_full() {
            Ok(full) => readers.users.get(full).into_iter().cloned().collect(),
            Err(bare) => readers.resources(bare, &stanza.payload),
        }
    }

    /// Answers a stanza that nobody took; presence is ignored (RFC 6121 §8.5.1).
    fn bounce(&self, stanza: &Stanza) {
        if matches!(stanza.payload, Payload::Presence { .. }) {
            return;
        }
        let error = StanzaError::new(Condition::ServiceUnavailable);
        let Some(answer) = stanza.error(error) else { return };
        for reader in self.recipients(&answer) {
            if reader.try_send(answer.clone()).is_err() {
                warn!(to = %answer.to, "an error was not taken");
            }
        }
    }
}

impl Readers {
    /// The resources that get a stanza addressed to a bare JID (RFC 6121 §8.5.2): all of them, but an IQ is the
    /// server's own business.
    fn resources(&self, bare: &BareJid, payload: &Payload) -> Vec<mpsc::Sender<Stanza>> {
        match payload {
            Payload::Message { .. } | Payload::JingleMessage(_) | Payload::Presence { .. } | Payload::Error { .. } => {
                self.users.iter().filter(|(jid, _)| &jid.to_bare() == bare).map(|(_, reader)| reader.clone()).collect()
            }
            Payload::Jingle(_) | Payload::MalformedJingle(_) | Payload::Result(_) | Payload::Query { .. } => Vec::new(),
        }
    }
}

/// Takes one connection after another; a component that comes back replaces the one that was there.
async fn accept(listener: TcpListener, router: Arc<Router>, secret: Secret<String>, connected: watch::Sender<bool>) {
    loop {
        let (socket, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => return warn!(%error, "the component server stops"),
        };
        match serve(socket, &router, &secret, &connected).await {
            Ok(()) => info!(%peer, "the component left"),
            Err(error) => warn!(%peer, "the component's stream ended: {error:#}"),
        }
        router.readers().component = None;
        connected.send_replace(false);
    }
}

/// Serves one component until its stream ends.
async fn serve(
    socket: TcpStream,
    router: &Router,
    secret: &Secret<String>,
    connected: &watch::Sender<bool>,
) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    let (read, mut write) = socket.into_split();
    let mut stream = Reading { read, reader: StreamReader::new(), bytes: Vec::new() };

    let Some(Incoming::Opened { to: Some(domain), .. }) = stream.next().await? else { bail!("not for a component") };
    let id = random_id();
    write.write_all(stream::accept(&router.domain, &id).as_bytes()).await?;
    if domain != router.domain {
        return refuse(&mut write, "host-unknown").await;
    }

    let Some(Incoming::Element(handshake)) = stream.next().await? else {
        bail!("the stream ended before its handshake")
    };
    ensure!(handshake.name() == "handshake", "a <{}/> in place of the handshake", handshake.name());
    if !handshake.text().trim().eq_ignore_ascii_case(&stream::handshake(&id, secret.reveal())) {
        return refuse(&mut write, "not-authorized").await;
    }
    write.write_all(b"<handshake/>").await?;

    let (to_component, mut from_users) = mpsc::channel(QUEUE);
    router.readers().component = Some(to_component);
    connected.send_replace(true);
    loop {
        tokio::select! {
            incoming = stream.next() => match incoming? {
                Some(Incoming::Element(element)) => take(&element, router, &mut write).await?,
                Some(Incoming::TooLarge(_) | Incoming::Opened { .. }) => return refuse(&mut write, "policy-violation").await,
                Some(Incoming::Closed) | None => return Ok(write.write_all(stream::CLOSE.as_bytes()).await?),
            },
            Some(stanza) = from_users.recv() => write_element(&mut write, &stanza.to_element()).await?,
        }
    }
}

/// Ends a stream with an error (RFC 6120 §4.9).
async fn refuse(write: &mut OwnedWriteHalf, condition: &str) -> anyhow::Result<()> {
    let error = format!(
        "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
    );
    write.write_all(error.as_bytes()).await?;
    bail!("refused: {condition}")
}

/// Takes a stanza from the component.
async fn take(element: &Element, router: &Router, write: &mut OwnedWriteHalf) -> anyhow::Result<()> {
    match Stanza::parse(element) {
        Ok(stanza) if stanza.from.domain().as_str() != router.domain => refuse(write, "invalid-from").await,
        Ok(stanza) => {
            router.route(stanza);
            Ok(())
        }
        Err(refusal) => {
            warn!("the component sent what is no stanza: {}", refusal.why);
            match refusal.answer {
                Some(answer) => write_element(write, &answer).await,
                None => Ok(()),
            }
        }
    }
}

async fn write_element(write: &mut OwnedWriteHalf, element: &Element) -> anyhow::Result<()> {
    Ok(write.write_all(&stream::write(element)?).await?)
}

fn random_id() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reading half of a stream.
struct Reading {
    read: OwnedReadHalf,
    reader: StreamReader,
    bytes: Vec<u8>,
}

impl Reading {
    /// What the component sends next; `None` when the connection ends. May be cancelled.
    async fn next(&mut self) -> anyhow::Result<Option<Incoming>> {
        loop {
            let mut rest = self.bytes.as_slice();
            let incoming = self.reader.read(&mut rest)?;
            let used = self.bytes.len() - rest.len();
            self.bytes.drain(..used);
            if incoming.is_some() {
                return Ok(incoming);
            }
            if self.read.read_buf(&mut self.bytes).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;
    use xmpp::component::{Component, Config, Event};
    use xmpp::jingle_message::JingleMessage;

    use super::*;

    #[tokio::test]
    async fn a_component_with_the_secret_talks_with_a_user() {
        let server = server().await;
        let (component, mut events) = Component::start(config(&server));
        server.connected().await;
        assert_eq!(next(&mut events).await, Event::Connected);
        let mut alice = server.join("alice@localhost/phone".parse().expect("a full JID"));

        let ringing =
            stanza("123@sip.localhost/gw", "alice@localhost/phone", JingleMessage::Ringing { id: "a".into() });
        component.send(&ringing).expect("the queue is empty");
        assert_eq!(alice.next().await, Some(ringing));

        let proceed =
            stanza("alice@localhost/phone", "123@sip.localhost/gw", JingleMessage::Proceed { id: "a".into() });
        alice.send(proceed.clone());
        assert_eq!(next(&mut events).await, Event::Stanza(Box::new(proceed)));
    }

    #[tokio::test]
    async fn a_message_to_nobody_comes_back_as_an_error() {
        let server = server().await;
        let (component, mut events) = Component::start(config(&server));
        server.connected().await;
        assert_eq!(next(&mut events).await, Event::Connected);
        let lost = stanza("123@sip.localhost/gw", "bob@localhost", JingleMessage::Ringing { id: "a".into() });
        component.send(&lost).expect("the queue is empty");
        let Event::Stanza(answer) = next(&mut events).await else { panic!("a stanza was expected") };
        assert!(matches!(answer.payload, Payload::Error { .. }), "{answer:?}");
    }

    #[tokio::test]
    async fn a_component_without_the_secret_is_turned_away() {
        let server = server().await;
        let mut socket = TcpStream::connect(server.address()).await.expect("it listens");
        let opening = format!("{}<handshake>{}</handshake>", stream::open("sip.localhost"), "0".repeat(40));
        socket.write_all(opening.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("it answers and closes");
        assert!(answer.contains("<not-authorized "), "{answer}");
    }

    async fn server() -> ComponentServer {
        let anywhere = "127.0.0.1:0".parse().expect("an address");
        ComponentServer::start(anywhere, "sip.localhost", Secret::new("s3cret".into())).await.expect("a free port")
    }

    fn config(server: &ComponentServer) -> Config {
        Config::new(server.address().to_string(), "sip.localhost", Secret::new("s3cret".into()))
    }

    async fn next(events: &mut mpsc::Receiver<Event>) -> Event {
        timeout(Duration::from_secs(10), events.recv()).await.expect("in time").expect("the component runs")
    }

    fn stanza(from: &str, to: &str, message: JingleMessage) -> Stanza {
        Stanza {
            from: from.parse().expect("a JID"),
            to: to.parse().expect("a JID"),
            id: "m1".into(),
            payload: Payload::JingleMessage(message),
        }
    }
}
