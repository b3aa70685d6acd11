//! The component's stream to its server (XEP-0114).

use std::time::Duration;

use minidom::Element;
use model::Secret;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::stanza::Stanza;

/// What a component needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's component port, `host:port`.
    pub server: String,
    /// Our domain.
    pub domain: String,
    /// The shared secret.
    pub secret: Secret<String>,
    /// Silence after which the server is pinged.
    pub keepalive: Duration,
    /// Silence after the ping after which the stream is given up.
    pub response_timeout: Duration,
}

/// What the stream tells.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The server took us.
    Connected,
    /// The stream is gone; another attempt follows by itself.
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
}

/// Why a stanza was not taken for sending.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum SendError {
    /// Too many wait already.
    #[error("too many stanzas wait for the server")]
    Full,
    /// It holds characters that XML cannot.
    #[error("not writable as XML")]
    NotXml,
    /// The component was stopped.
    #[error("the component was stopped")]
    Stopped,
}

/// A running component. Dropping every clone stops it.
#[derive(Clone, Debug)]
pub struct Component {
    status: watch::Receiver<Status>,
}

impl Component {
    /// Starts to connect, for as long as the component runs.
    pub fn start(config: Config) -> (Self, mpsc::Receiver<Event>) {
        let (_, status) = watch::channel(Status::Disconnected("not yet".into()));
        let (_, events) = mpsc::channel(1);
        let _ = config;
        (Self { status }, events)
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
        let _ = element;
        Err(SendError::Stopped)
    }

    /// How the stream is.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Sends what is queued, closes the stream and ends.
    pub async fn stop(&self) {}
}
