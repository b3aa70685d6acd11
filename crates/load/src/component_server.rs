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

use anyhow::{Context, bail, ensure};
use jid::{BareJid, FullJid};
use minidom::Element;
use minidom::rxml::error::EndOrError;
use minidom::rxml::{Parse, RawParser};
use minidom::tree_builder::TreeBuilder;
use model::Secret;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};
use xmpp::stanza::{Condition, Payload, Stanza, StanzaError};

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
    let mut stream = Incoming { read, parser: RawParser::new(), tree: TreeBuilder::new(), bytes: Vec::new() };

    let header = stream.header().await?;
    let domain = header.attr("to").context("a stream header without an address")?;
    let id = random_id();
    let answer = format!(
        "<?xml version='1.0'?><stream:stream xmlns='{ns}' xmlns:stream='http://etherx.jabber.org/streams' \
         from='{domain}' id='{id}'>",
        ns = xmpp::stanza::NS,
        domain = router.domain
    );
    write.write_all(answer.as_bytes()).await?;
    if domain != router.domain {
        return refuse(&mut write, "host-unknown").await;
    }

    let handshake = stream.element().await?.context("the stream ended before its handshake")?;
    ensure!(handshake.name() == "handshake", "a <{}/> in place of the handshake", handshake.name());
    if !handshake.text().trim().eq_ignore_ascii_case(&digest(&id, secret)) {
        return refuse(&mut write, "not-authorized").await;
    }
    write.write_all(b"<handshake/>").await?;

    let (to_component, mut from_users) = mpsc::channel(QUEUE);
    router.readers().component = Some(to_component);
    connected.send_replace(true);
    loop {
        tokio::select! {
            element = stream.element() => match element? {
                Some(element) => take(&element, router, &mut write).await?,
                None => return Ok(write.write_all(b"</stream:stream>").await?),
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
    let mut bytes = Vec::new();
    element.write_to(&mut bytes).context("an element that XML cannot hold")?;
    Ok(write.write_all(&bytes).await?)
}

/// What the component proves that it knows the secret with (XEP-0114 §3).
fn digest(id: &str, secret: &Secret<String>) -> String {
    let digest = Sha1::digest(format!("{id}{}", secret.reveal()));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random_id() -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reading half of an XML stream.
struct Incoming {
    read: OwnedReadHalf,
    parser: RawParser,
    tree: TreeBuilder,
    bytes: Vec<u8>,
}

impl Incoming {
    /// The opening tag of the stream, as an element.
    async fn header(&mut self) -> anyhow::Result<Element> {
        loop {
            while self.step()? {
                if let Some(header) = self.tree.top() {
                    return Ok(header.clone());
                }
            }
            ensure!(self.fill().await?, "the connection closed before its stream began");
        }
    }

    /// The next element of the stream; `None` at its closing tag or the connection's end. May be cancelled.
    async fn element(&mut self) -> anyhow::Result<Option<Element>> {
        loop {
            while self.step()? {
                if self.tree.root.is_some() {
                    return Ok(None);
                }
                if self.tree.depth() == 1
                    && let Some(element) = self.tree.unshift_child()
                {
                    return Ok(Some(element));
                }
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads on by one event, if the bytes suffice.
    fn step(&mut self) -> anyhow::Result<bool> {
        let mut rest = self.bytes.as_slice();
        let event = self.parser.parse(&mut rest, false);
        let used = self.bytes.len() - rest.len();
        self.bytes.drain(..used);
        match event {
            Ok(Some(event)) => {
                self.tree.process_event(event).context("XML without its namespaces")?;
                Ok(true)
            }
            Ok(None) | Err(EndOrError::NeedMoreData) => Ok(false),
            Err(EndOrError::Error(error)) => Err(error).context("not well-formed"),
        }
    }

    async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.read.read_buf(&mut self.bytes).await? > 0)
    }
}
