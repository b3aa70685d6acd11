//! Where we listen, how the next hop is found (RFC 3263), and what a connection to it is called in Via and Contact.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket as StdUdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rsipstack::platform::CancellationToken;
use rsipstack::resolver::SipResolver;
use rsipstack::sip::{Domain, Host, HostWithPort, Transport as WireTransport};
use rsipstack::transport::tls::TlsConnection;
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{SipAddr, SipConnection, TlsConfig, TransportLayer};
use socket2::{Domain as Family, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};

use super::{Listen, Transport};
use crate::address::{AddressError, SipUri};

/// How long a TCP or TLS connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// TLS connections of ours that are remembered to be used again.
const MAX_OPEN: usize = 256;
/// How long names are looked up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

impl Transport {
    /// The word in Via and in a URI's `transport` parameter.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    pub(super) const fn wire(self) -> WireTransport {
        match self {
            Self::Udp => WireTransport::Udp,
            Self::Tcp => WireTransport::Tcp,
            Self::Tls => WireTransport::Tls,
            Self::Ws => WireTransport::Ws,
            Self::Wss => WireTransport::Wss,
        }
    }

    /// What a URI asks for: `sips:`, or a `transport` parameter. `Ok(None)`: it leaves the choice to us.
    pub(super) fn of_uri(uri: &SipUri) -> Result<Option<Self>, AddressError> {
        let named = match uri.parameter("transport").map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("udp") => Some(Self::Udp),
            Some("tcp") => Some(Self::Tcp),
            Some("tls") => Some(Self::Tls),
            Some(_) => return Err(AddressError::Syntax),
        };
        Ok(if uri.scheme == "sips" { Some(Self::Tls) } else { named })
    }

    /// The transport of a connection.
    pub(super) fn of(connection: &SipConnection) -> Self {
        // A WebSocket is ours, and to the stack a channel that says what it is by its address.
        let named = if let SipConnection::Channel(channel) = connection { channel.get_addr().r#type } else { None };
        match named.unwrap_or_else(|| connection.transport()) {
            WireTransport::Tcp => Self::Tcp,
            WireTransport::Tls | WireTransport::TlsSctp => Self::Tls,
            WireTransport::Ws => Self::Ws,
            WireTransport::Wss => Self::Wss,
            WireTransport::Udp | WireTransport::Sctp => Self::Udp,
        }
    }
}

/// Binds a UDP socket; one of IPv6 leaves IPv4 to others.
pub(super) fn bind_udp(address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    let family = if address.is_ipv6() { Family::IPV6 } else { Family::IPV4 };
    let socket = Socket::new(family, Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(Arc::new(UdpSocket::from_std(socket.into())?))
}

/// Binds a TCP socket, likewise.
pub(super) fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { Family::IPV6 } else { Family::IPV4 };
    let socket = Socket::new(family, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

/// A next hop: an address to try.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Hop {
    pub(super) transport: Transport,
    pub(super) address: SocketAddr,
    /// The name it was found under; a TLS certificate must be for it.
    pub(super) host: String,
}

/// A way to a next hop, ready to send.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) connection: SipConnection,
    pub(super) transport: Transport,
    pub(super) peer: SocketAddr,
    /// What we call ourselves there.
    pub(super) own: SocketAddr,
}

/// Our sockets.
pub(super) struct Sockets {
    pub(super) listeners: Vec<Listen>,
    /// The UDP listeners, by the address they are bound to.
    pub(super) udp: Vec<(SocketAddr, UdpConnection)>,
    pub(super) advertise: Option<IpAddr>,
    pub(super) resolver: SipResolver,
    pub(super) tls: TlsConfig,
    /// TLS connections that we opened, by address and the name that was verified.
    pub(super) tls_open: Mutex<HashMap<(SocketAddr, String), SipConnection>>,
    pub(super) cancel: CancellationToken,
}

impl Sockets {
    /// The addresses of a URI's host, best first (RFC 3263 §4).
    pub(super) async fn resolve(&self, uri: &SipUri) -> Vec<Hop> {
        let Ok(transport) = Transport::of_uri(uri) else {
            return Vec::new();
        };
        let bare = uri.host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            let transport = transport.unwrap_or(Transport::Udp);
            let port = uri.port.unwrap_or_else(|| default_port(transport));
            return vec![Hop { transport, address: SocketAddr::new(ip, port), host: bare.to_owned() }];
        }
        let lookup = self.look_up(uri, transport);
        tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await.unwrap_or_default()
    }

    /// Asks DNS for SRV and addresses, else the system, which also knows names that are not in DNS.
    async fn look_up(&self, uri: &SipUri, transport: Option<Transport>) -> Vec<Hop> {
        let domain = Domain(uri.host.clone());
        let wire = transport.map(Transport::wire);
        let secure = transport == Some(Transport::Tls);
        let targets = self.resolver.lookup(&domain, uri.port.map(Into::into), wire, secure).await.unwrap_or_default();
        let hop = |transport, address| Hop { transport, address, host: uri.host.clone() };
        if targets.is_empty() {
            let transport = transport.unwrap_or(Transport::Udp);
            let port = uri.port.unwrap_or_else(|| default_port(transport));
            let found = tokio::net::lookup_host((uri.host.as_str(), port)).await;
            return found.into_iter().flatten().map(|address| hop(transport, address)).collect();
        }
        targets
            .into_iter()
            .filter_map(|target| match target.transport {
                WireTransport::Udp => Some(hop(Transport::Udp, target.addr)),
                WireTransport::Tcp => Some(hop(Transport::Tcp, target.addr)),
                WireTransport::Tls => Some(hop(Transport::Tls, target.addr)),
                WireTransport::TlsSctp | WireTransport::Sctp | WireTransport::Ws | WireTransport::Wss => None,
            })
            .collect()
    }

    /// Opens, or finds open, a way to a hop. `None`: there is none.
    pub(super) async fn open(&self, hop: &Hop, layer: &TransportLayer) -> Option<Link> {
        let Hop { transport, address, .. } = *hop;
        let connection = match transport {
            Transport::Udp => SipConnection::Udp(self.udp_towards(address)?.clone()),
            Transport::Tls if hop.host.parse::<IpAddr>().is_err() => self.tls_towards(hop, layer).await?,
            // Those open them who want to be reached.
            Transport::Ws | Transport::Wss => return None,
            Transport::Tcp | Transport::Tls => {
                let (host, port) = (Host::IpAddr(address.ip()), Some(address.port().into()));
                let target = SipAddr::new(transport.wire(), HostWithPort { host, port });
                let lookup = tokio::time::timeout(CONNECT_TIMEOUT, layer.lookup(&target, None));
                match lookup.await {
                    Ok(Ok((connection, _))) => connection,
                    Ok(Err(error)) => {
                        tracing::debug!(%address, %error, "cannot connect");
                        return None;
                    }
                    Err(_) => {
                        tracing::debug!(%address, "connecting takes too long");
                        return None;
                    }
                }
            }
        };
        let own = self.own_address(transport, address, &connection)?;
        Some(Link { connection, transport, peer: address, own })
    }

    /// Connects over TLS to an address whose certificate must be for the name it was found under, or finds such a
    /// connection. The transport layer itself would look the name up again, and take the first address.
    async fn tls_towards(&self, hop: &Hop, layer: &TransportLayer) -> Option<SipConnection> {
        let key = (hop.address, hop.host.clone());
        let is_open = |connection: &SipConnection| connection.cancel_token().is_some_and(|own| !own.is_cancelled());
        {
            let mut open = self.tls_open.lock().unwrap_or_else(PoisonError::into_inner);
            open.retain(|_, connection| is_open(connection));
            if let Some(connection) = open.get(&key) {
                return Some(connection.clone());
            }
        }
        let config = TlsConfig { sni_hostname: Some(hop.host.clone()), ..self.tls.clone() };
        let target = SipAddr::new(WireTransport::Tls, hop.address.into());
        let connect = TlsConnection::connect(&target, Some(&config), None, Some(self.cancel.child_token()));
        let connection = match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(Ok(connection)) => SipConnection::Tls(connection),
            Ok(Err(error)) => {
                tracing::debug!(address = %hop.address, host = hop.host, %error, "cannot connect");
                return None;
            }
            Err(_) => {
                tracing::debug!(address = %hop.address, "connecting takes too long");
                return None;
            }
        };
        layer.add_connection(connection.clone());
        let mut open = self.tls_open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() < MAX_OPEN {
            open.insert(key, connection.clone());
        }
        Some(connection)
    }

    /// A way along a connection that is open already.
    pub(super) fn along(&self, connection: &SipConnection) -> Option<Link> {
        let transport = Transport::of(connection);
        let peer = connection.get_remote_addr()?.get_socketaddr().ok()?;
        let own = self.own_address(transport, peer, connection)?;
        Some(Link { connection: connection.clone(), transport, peer, own })
    }

    /// The UDP socket from which a peer is reached.
    fn udp_towards(&self, peer: SocketAddr) -> Option<&UdpConnection> {
        let source = source_towards(peer)?;
        let fitting = || self.udp.iter().filter(|(bound, _)| bound.is_ipv4() == peer.is_ipv4());
        let exact = fitting().find(|(bound, _)| bound.ip() == source);
        exact.or_else(|| fitting().next()).map(|(_, connection)| connection)
    }

    /// What we call ourselves towards a peer: the listener that it would reach, by the address that it sees.
    pub(super) fn own_address(
        &self,
        transport: Transport,
        peer: SocketAddr,
        connection: &SipConnection,
    ) -> Option<SocketAddr> {
        let source = source_towards(peer)?;
        let listener = || {
            let fitting = self
                .listeners
                .iter()
                .filter(|listen| listen.transport == transport && listen.address.is_ipv4() == peer.is_ipv4());
            let fitting: Vec<&Listen> = fitting.collect();
            fitting.iter().find(|listen| listen.address.ip() == source).or_else(|| fitting.first()).map(|l| l.address)
        };
        let mut own = listener().or_else(|| connection.get_addr().get_socketaddr().ok())?;
        match self.advertise {
            Some(advertise) if advertise.is_ipv4() == own.is_ipv4() => own.set_ip(advertise),
            Some(_) | None if own.ip().is_unspecified() => own.set_ip(source),
            Some(_) | None => {}
        }
        Some(own)
    }
}

const fn default_port(transport: Transport) -> u16 {
    match transport {
        Transport::Udp | Transport::Tcp => 5060,
        Transport::Tls => 5061,
        Transport::Ws => 80,
        Transport::Wss => 443,
    }
}

/// The address from which the system would send to a peer; `None`: it knows no way there.
fn source_towards(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = StdUdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}
