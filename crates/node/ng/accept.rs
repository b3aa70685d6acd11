//! Connections that peers open: only of those whose requests are taken, in clear or over TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::counters::Odd;
use super::intake::Intake;

/// How long a peer may take for a handshake, or leave a reply unread. Otherwise it may be silent for as long as it likes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Who we say we are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tls {
    /// PEM, with its chain.
    pub(crate) certificate: PathBuf,
    /// PEM.
    pub(crate) key: PathBuf,
}

/// What bytes go through.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A connection that stands.
pub(crate) struct Accepted {
    pub(crate) stream: Pin<Box<dyn Duplex>>,
    pub(crate) peer: IpAddr,
    /// Its place among all connections, for as long as it lasts.
    pub(crate) permit: OwnedSemaphorePermit,
}

/// Where connections come in.
pub(crate) struct Acceptor {
    listener: TcpListener,
    intake: Arc<Intake>,
    tls: Option<TlsAcceptor>,
    /// As many as there may be connections, at most.
    handshakes: JoinSet<Option<Accepted>>,
}

impl Tls {
    /// Reads the files. `protocol` is what is spoken over the connection (RFC 7301), if it has a name.
    ///
    /// # Errors
    ///
    /// A file cannot be read, is no PEM, or certificate and key do not belong together.
    pub(crate) fn acceptor(&self, protocol: Option<&[u8]>) -> io::Result<TlsAcceptor> {
        let chain = CertificateDer::pem_file_iter(&self.certificate).and_then(Iterator::collect);
        let chain: Vec<_> = chain.map_err(|error| problem(&self.certificate, &error))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| problem(&self.key, &error))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|config| config.with_no_client_auth().with_single_cert(chain, key))
            .map_err(|error| problem(&self.certificate, &error))?;
        config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn problem(path: &Path, error: &dyn fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

impl Acceptor {
    pub(crate) fn new(listener: TcpListener, intake: Arc<Intake>, tls: Option<TlsAcceptor>) -> Self {
        Self { listener, intake, tls, handshakes: JoinSet::new() }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection. Nobody waits for the handshake of somebody else. May be cancelled.
    pub(crate) async fn accept(&mut self) -> Accepted {
        loop {
            let (stream, from) = tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "a connection cannot be taken");
                        sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
                Some(shaken) = self.handshakes.join_next() => match shaken {
                    Ok(Some(accepted)) => return accepted,
                    Ok(None) | Err(_) => continue,
                },
            };
            let Some((peer, permit)) = self.intake.connect(from) else { continue };
            // Replies are short and wait for no more.
            let _ = stream.set_nodelay(true);
            match self.tls.clone() {
                None => return Accepted { stream: Box::pin(stream), peer, permit },
                Some(tls) => {
                    drop(self.handshakes.spawn(handshake(tls, stream, peer, permit, Arc::clone(&self.intake))))
                }
            }
        }
    }
}

async fn handshake(
    tls: TlsAcceptor,
    stream: TcpStream,
    peer: IpAddr,
    permit: OwnedSemaphorePermit,
    intake: Arc<Intake>,
) -> Option<Accepted> {
    let error = match timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => return Some(Accepted { stream: Box::pin(stream), peer, permit }),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it takes too long".to_owned(),
    };
    tracing::debug!(%peer, error, "no handshake");
    intake.odd(Odd::Handshake, peer);
    None
}
