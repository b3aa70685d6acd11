//! Connections that peers open: TCP and TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rsipstack::sip::Transport as WireTransport;
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transport::tcp::TcpConnection;
use rsipstack::transport::tls::TlsConnection;
use rsipstack::transport::{SipAddr, SipConnection};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::endpoint::count;
use super::ingress::Ingress;
use super::trunk::Trunks;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// TLS handshakes at once.
const MAX_HANDSHAKES: usize = 64;
/// A pause when the system has no more sockets.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound listener.
pub(super) struct Acceptor {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<TlsAcceptor>,
}

impl Acceptor {
    /// Accepts connections for ever.
    pub(super) async fn run(self, stack: EndpointInnerRef, gate: Arc<Ingress>, trunks: Arc<Trunks>) {
        let handshakes = Arc::new(Semaphore::new(MAX_HANDSHAKES));
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
            let Some(tls) = &self.tls else {
                let connection = stream
                    .local_addr()
                    .ok()
                    .and_then(|own| TcpConnection::from_stream(stream, address(WireTransport::Tcp, own), None).ok());
                // `None`: it broke at once.
                if let Some(connection) = connection {
                    stack.transport_layer.add_connection(SipConnection::Tcp(connection));
                }
                continue;
            };
            let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
                count(&gate.counters.connections_refused);
                continue;
            };
            let (tls, stack) = (tls.clone(), Arc::clone(&stack));
            tokio::spawn(async move {
                if let Some(connection) = handshake(&tls, stream, peer).await {
                    stack.transport_layer.add_connection(SipConnection::Tls(connection));
                }
                drop(permit);
            });
        }
    }
}

async fn handshake(tls: &TlsAcceptor, stream: TcpStream, peer: SocketAddr) -> Option<TlsConnection> {
    let own = stream.local_addr().ok()?;
    let stream = match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "TLS handshake failed");
            return None;
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake takes too long");
            return None;
        }
    };
    let [own, peer] = [own, peer].map(|socket| address(WireTransport::Tls, socket));
    TlsConnection::from_server_stream(stream, own, peer, None).await.ok()
}

fn address(transport: WireTransport, socket: SocketAddr) -> SipAddr {
    SipAddr::new(transport, socket.into())
}
