//! Connections that peers open: TCP, TLS and WebSocket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rsipstack::platform::CancellationToken;
use rsipstack::sip::Transport as WireTransport;
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transport::tcp::TcpConnection;
use rsipstack::transport::tls::TlsConnection;
use rsipstack::transport::{SipAddr, SipConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Transport;
use super::endpoint::count;
use super::ingress::{Ingress, MAX_CONNECTIONS};
use super::trunk::Trunks;
use super::websocket::Visitor;

/// How long a handshake may take, of TLS or of a WebSocket.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at once.
const MAX_HANDSHAKES: usize = 64;
/// A pause when the system has no more sockets.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub(super) struct Acceptor {
    pub(super) listener: TcpListener,
    pub(super) transport: Transport,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Acceptor {
    /// Accepts connections for ever.
    pub(super) async fn run(
        self,
        stack: EndpointInnerRef,
        gate: Arc<Ingress>,
        trunks: Arc<Trunks>,
        cancel: CancellationToken,
    ) {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        let sockets = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if !gate.lets_in(peer.ip(), &trunks) {
                continue;
            }
            if self.transport == Transport::Tcp {
                let connection = stream
                    .local_addr()
                    .ok()
                    .and_then(|own| TcpConnection::from_stream(stream, address(WireTransport::Tcp, own), None).ok());
                // `None`: it broke at once.
                if let Some(connection) = connection {
                    stack.transport_layer.add_connection(SipConnection::Tcp(connection));
                }
                continue;
            }
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                count(&gate.counters.connections_refused);
                continue;
            };
            let (tls, stack, gate) = (self.tls.clone(), Arc::clone(&stack), Arc::clone(&gate));
            let (transport, cancel, sockets) = (self.transport, cancel.child_token(), Arc::clone(&sockets));
            tokio::spawn(async move {
                let ended = cancel.clone();
                let shake = begin(transport, tls, stream, peer, (stack, gate, cancel), (permit, sockets));
                tokio::select! {
                    () = ended.cancelled() => {}
                    () = shake => {}
                }
            });
        }
    }
}

/// Shakes hands, and hands the connection over; a WebSocket is served to its end.
async fn begin(
    transport: Transport,
    tls: Option<TlsAcceptor>,
    stream: TcpStream,
    peer: SocketAddr,
    (stack, gate, cancel): (EndpointInnerRef, Arc<Ingress>, CancellationToken),
    (permit, sockets): (OwnedSemaphorePermit, Arc<Semaphore>),
) {
    let visitor = Visitor { transport, peer, gate: &gate, cancel, permit, sockets: &sockets };
    match (transport, tls) {
        (Transport::Ws, _) => visitor.serve(stream, HANDSHAKE).await,
        (Transport::Wss, Some(tls)) => {
            if let Some(stream) = handshake(&tls, stream, peer).await {
                visitor.serve(stream, HANDSHAKE).await;
            }
        }
        (Transport::Tls, Some(tls)) => {
            if let Some(connection) = tls_connection(&tls, stream, peer).await {
                stack.transport_layer.add_connection(SipConnection::Tls(connection));
            }
        }
        (Transport::Udp | Transport::Tcp | Transport::Tls | Transport::Wss, _) => {}
    }
}

async fn tls_connection(tls: &TlsAcceptor, stream: TcpStream, peer: SocketAddr) -> Option<TlsConnection> {
    let own = stream.local_addr().ok()?;
    let stream = handshake(tls, stream, peer).await?;
    let [own, peer] = [own, peer].map(|socket| address(WireTransport::Tls, socket));
    TlsConnection::from_server_stream(stream, own, peer, None).await.ok()
}

async fn handshake(tls: &TlsAcceptor, stream: TcpStream, peer: SocketAddr) -> Option<TlsStream<TcpStream>> {
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake takes too long");
            None
        }
    }
}

fn address(transport: WireTransport, socket: SocketAddr) -> SipAddr {
    SipAddr::new(transport, socket.into())
}
