//! The SIP user agent: calls as a B2BUA sees them, over UDP, TCP and TLS.

mod accept;
mod call;
mod dialog;
mod digest;
mod dispatch;
mod early;
mod endpoint;
mod established;
mod gate;
mod incoming;
mod ingress;
mod keep_alive;
mod outgoing;
mod registration;
mod session;
mod socket;
mod tls;
mod transaction;
mod trunk;
mod websocket;
mod wire;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use model::Secret;
use rsipstack::platform::CancellationToken;
use rsipstack::resolver::SipResolver;
use rsipstack::transaction::endpoint::EndpointOption;
use rsipstack::transaction::{CallIdFormat, Endpoint as Stack, EndpointBuilder};
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{TlsConfig, TransportLayer};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use self::accept::Acceptor;
use self::dispatch::Dispatcher;
use self::endpoint::{Directory, Endpoint};
use self::ingress::{Ingress, LocalMark, StreamGate};
use self::registration::Registration;
use self::socket::{Sockets, bind_tcp, bind_udp};
use self::trunk::Trunks;
use crate::message::{FromAgent, ToAgent};

pub use self::endpoint::{Counters, Statistics};

/// Messages between translator and agent that may wait.
const QUEUE: usize = 1_024;
/// Our patience with a peer that only rings; the translator has its own, shorter one.
const TIMER_C: Duration = Duration::from_secs(15 * 60);
/// A connection without a byte for so long is closed.
const STREAM_IDLE: Duration = Duration::from_secs(3_600);

/// How SIP messages travel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// WebSocket (RFC 7118): calls come in by it, and none are made by it but along connections that are open.
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Transport {
    /// Says whether there is TLS below.
    pub const fn is_secure(self) -> bool {
        match self {
            Self::Tls | Self::Wss => true,
            Self::Udp | Self::Tcp | Self::Ws => false,
        }
    }
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
    /// Where else, if it does not answer there, in order (RFC 3263 §4.3).
    pub further: Vec<String>,
    /// How often each of its addresses is asked by OPTIONS whether it is there; zero: never.
    pub keep_alive: Duration,
    /// User for digest and registration.
    pub username: Option<String>,
    /// Password for both.
    pub password: Option<Secret<String>>,
    /// Keep a registration there.
    pub register: bool,
    /// Register by outbound (RFC 5626): calls come back on the connection of the registration, which is kept and renewed.
    pub outbound: bool,
    /// What it has to show for its calls to be taken, if its address is not enough.
    pub challenge: Option<User>,
}

impl Trunk {
    /// A trunk without a password, at one address, asked every half a minute whether it is there.
    pub fn new(name: &str, uri: &str) -> Self {
        Self {
            name: name.to_owned(),
            uri: uri.to_owned(),
            further: Vec::new(),
            keep_alive: Duration::from_secs(30),
            username: None,
            password: None,
            register: false,
            outbound: false,
            challenge: None,
        }
    }
}

/// A user and its password.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret<String>,
}

/// What calls get that come from no trunk's address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Strangers {
    /// The translator decides.
    #[default]
    Route,
    /// 401: who shows the password of a trunk is that trunk, wherever it is.
    Challenge,
    /// 403.
    Refuse,
    /// Nothing, as anything else that a stranger sends.
    Drop,
}

/// Which trunks answer, to be asked at any time.
#[derive(Clone, Debug)]
pub struct TrunkStates(Arc<Trunks>);

impl TrunkStates {
    /// Each trunk with its name, and whether one of its addresses answers.
    pub fn read(&self) -> Vec<(String, bool)> {
        self.0.states()
    }
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

/// The session timers of calls (RFC 4028), in whole seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SessionTimers {
    /// How long a session lasts without being refreshed, as we propose; zero: we propose none.
    pub expires: Duration,
    /// The shortest that we take, at least 90 s.
    pub min_se: Duration,
}

impl Default for SessionTimers {
    fn default() -> Self {
        Self { expires: Duration::from_secs(1_800), min_se: Duration::from_secs(90) }
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
    /// Timers of calls.
    pub session: SessionTimers,
    /// What calls get that come from no trunk's address.
    pub strangers: Strangers,
    /// What we call ourselves in challenges (RFC 7616 §3.3).
    pub realm: String,
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
            session: SessionTimers::default(),
            strangers: Strangers::default(),
            realm: "stox".to_owned(),
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
    /// The stack below did not start.
    #[error("SIP stack: {0}")]
    Stack(String),
}

/// A running user agent.
#[derive(Debug)]
pub struct Agent {
    addresses: Vec<Listen>,
    counters: Arc<Counters>,
    trunks: TrunkStates,
    stop: oneshot::Sender<()>,
    withdraw: watch::Sender<bool>,
    dispatcher: JoinHandle<()>,
    registrations: JoinSet<()>,
    /// Sockets, timers, names: aborted last.
    below: JoinSet<()>,
    cancel: CancellationToken,
}

impl Agent {
    /// Starts the agent on the current tokio runtime. The channels are how the translator talks with it; if the
    /// translator drops its sender, the calls end.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, a trunk's URI cannot be used, or certificates cannot be read.
    pub async fn start(config: Config) -> Result<(Self, mpsc::Sender<ToAgent>, mpsc::Receiver<FromAgent>), StartError> {
        let cancel = CancellationToken::new();
        let trunks = Arc::new(Trunks::new(&config.trunks)?);
        let (directory, counters) = (Arc::new(Directory::default()), Arc::new(Counters::default()));
        let layer = TransportLayer::new(cancel.clone());
        let tls = tls::config(&config.tls)?;
        let bound = Bound::bind(&config.listen, &tls).await?;
        layer.set_tls_config(tls.clone());
        layer.set_stream_idle_timeout(STREAM_IDLE);
        let ingress = Arc::new(Ingress {
            directory: Arc::clone(&directory),
            counters: Arc::clone(&counters),
            user_agent: config.user_agent.clone(),
            stack: OnceLock::new(),
        });
        let stack = stack(&config, layer, &cancel, &ingress);
        let arriving = stack.incoming_transactions().map_err(|error| StartError::Stack(error.to_string()))?;
        // Set once, here.
        let _ = ingress.stack.set(Arc::downgrade(&stack.inner));
        let addresses = bound.listeners.clone();
        let (from_agent, from_receiver) = mpsc::channel(QUEUE);
        let (to_agent, commands) = mpsc::channel(QUEUE);
        let sockets = Sockets {
            listeners: bound.listeners,
            udp: bound.udp.iter().map(|(address, _, connection)| (*address, connection.clone())).collect(),
            advertise: config.advertise,
            resolver: SipResolver::new(),
            tls,
            tls_open: Mutex::default(),
            cancel: cancel.clone(),
        };
        let endpoint = Arc::new(Endpoint {
            config,
            stack: Arc::clone(&stack.inner),
            sockets,
            trunks,
            directory,
            counters: Arc::clone(&counters),
            from_agent,
            cancel: cancel.clone(),
        });
        endpoint.trunks.refresh(&endpoint.sockets).await;
        let mut below = JoinSet::new();
        for (_, socket, connection) in bound.udp {
            below.spawn(Arc::clone(&ingress).read(socket, connection));
        }
        for acceptor in bound.acceptors {
            below.spawn(acceptor.run(
                Arc::clone(&stack.inner),
                Arc::clone(&ingress),
                Arc::clone(&endpoint.trunks),
                cancel.clone(),
            ));
        }
        below.spawn(async move { stack.serve().await });
        below.spawn(refresh_trunks(Arc::clone(&endpoint)));
        let (withdraw, withdrawn) = watch::channel(false);
        let mut registrations = JoinSet::new();
        for known in endpoint.trunks.iter() {
            if known.trunk.register {
                registrations.spawn(Registration::new(&endpoint, known)?.run(withdrawn.clone()));
            }
            if !known.trunk.keep_alive.is_zero() {
                below.spawn(keep_alive::watch(Arc::clone(&endpoint), known.trunk.name.clone()));
            }
        }
        let trunks = TrunkStates(Arc::clone(&endpoint.trunks));
        let (stop, stopped) = oneshot::channel();
        let dispatcher = tokio::spawn(Dispatcher::new(endpoint, arriving, commands, stopped).run());
        let agent = Self { addresses, counters, trunks, stop, withdraw, dispatcher, registrations, below, cancel };
        Ok((agent, to_agent, from_receiver))
    }

    /// Where it listens, with the ports that were free.
    pub fn addresses(&self) -> &[Listen] {
        &self.addresses
    }

    /// Its counters, for whoever shows them.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// Its trunks, for whoever shows them.
    pub fn trunks(&self) -> TrunkStates {
        self.trunks.clone()
    }

    /// What it has counted.
    pub fn statistics(&self) -> Statistics {
        self.counters.read()
    }

    /// Ends every call by BYE, CANCEL or 503, withdraws the registrations, and closes the sockets. Takes at most
    /// `patience`.
    pub async fn stop(mut self, patience: Duration) {
        // The dispatcher may have ended by itself, because the translator had gone.
        let _ = self.stop.send(());
        self.withdraw.send_replace(true);
        let calls = async {
            if let Err(error) = (&mut self.dispatcher).await {
                tracing::error!(%error, "the user agent broke");
            }
            while self.registrations.join_next().await.is_some() {}
        };
        if tokio::time::timeout(patience, calls).await.is_err() {
            tracing::warn!("some SIP peers did not answer in time");
        }
        self.dispatcher.abort();
        self.registrations.shutdown().await;
        self.cancel.cancel();
        self.below.shutdown().await;
    }
}

/// The sockets, bound.
#[derive(Default)]
struct Bound {
    listeners: Vec<Listen>,
    udp: Vec<(SocketAddr, Arc<UdpSocket>, UdpConnection)>,
    acceptors: Vec<Acceptor>,
}

impl Bound {
    async fn bind(listen: &[Listen], tls: &TlsConfig) -> Result<Self, StartError> {
        let mut bound = Self::default();
        for Listen { transport, address } in listen.iter().copied() {
            let refused = |source| StartError::Listen { transport, address, source };
            let address = match transport {
                Transport::Udp => {
                    let socket = bind_udp(address).map_err(refused)?;
                    let connection = UdpConnection::from_socket(Arc::<UdpSocket>::clone(&socket), None, None)
                        .await
                        .map_err(|error| refused(std::io::Error::other(error.to_string())))?;
                    let address = socket.local_addr().map_err(refused)?;
                    bound.udp.push((address, socket, connection));
                    address
                }
                Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                    let listener = bind_tcp(address).map_err(refused)?;
                    let address = listener.local_addr().map_err(refused)?;
                    let tls = transport.is_secure().then(|| tls::acceptor(tls)).transpose()?;
                    bound.acceptors.push(Acceptor { listener, transport, tls });
                    address
                }
            };
            bound.listeners.push(Listen { transport, address });
        }
        Ok(bound)
    }
}

/// The transactions, over the transports.
fn stack(config: &Config, layer: TransportLayer, cancel: &CancellationToken, ingress: &Arc<Ingress>) -> Stack {
    let Timers { t1, t2, t4 } = config.timers;
    let option = EndpointOption {
        t1,
        t2,
        t4,
        t1x64: t1 * 64,
        timerc: TIMER_C,
        callid_suffix: None,
        callid_format: CallIdFormat::Uuid,
        history_info_enabled: false,
        // The ACK of a 2xx is the call's: it may have to carry an answer.
        auto_ack_2xx: false,
    };
    EndpointBuilder::new()
        .with_user_agent(&config.user_agent)
        .with_transport_layer(layer)
        .with_cancel_token(cancel.clone())
        .with_option(option)
        .with_inspector(Box::new(LocalMark))
        .with_transport_inspector(Box::new(StreamGate(Arc::clone(ingress))))
        .build()
}

async fn refresh_trunks(endpoint: Arc<Endpoint>) {
    loop {
        tokio::time::sleep(trunk::REFRESH).await;
        endpoint.trunks.refresh(&endpoint.sockets).await;
    }
}
