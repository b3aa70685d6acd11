//! Where requests are taken.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};

use super::accept::{Acceptor, Tls};
use super::intake::Intake;
use super::metrics::Metrics;
use super::{http, tcp, udp};

/// An address, and how requests come to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Listen {
    transport: Transport,
    address: SocketAddr,
}

/// How requests come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Transport {
    Udp,
    Tcp,
    /// TCP with TLS.
    Tls,
    /// With WebSocket.
    Http,
    /// The same with TLS.
    Https,
}

impl Transport {
    const ALL: [(Self, &str); 5] =
        [(Self::Udp, "udp"), (Self::Tcp, "tcp"), (Self::Tls, "tls"), (Self::Http, "http"), (Self::Https, "https")];
}

impl Listen {
    /// Whether a certificate is needed.
    pub(crate) const fn is_secure(&self) -> bool {
        matches!(self.transport, Transport::Tls | Transport::Https)
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on, or not with this certificate.
    pub(crate) async fn serve(
        &self,
        intake: &Arc<Intake>,
        metrics: &Arc<Metrics>,
        tls: Option<&Tls>,
    ) -> io::Result<()> {
        let intake = Arc::clone(intake);
        match self.transport {
            Transport::Udp => drop(tokio::spawn(udp::serve(UdpSocket::bind(self.address).await?, intake))),
            Transport::Tcp | Transport::Tls => {
                let acceptor = self.acceptor(&intake, tls, None).await?;
                drop(tokio::spawn(tcp::serve(acceptor, intake)));
            }
            Transport::Http | Transport::Https => {
                let acceptor = self.acceptor(&intake, tls, Some(b"http/1.1")).await?;
                drop(tokio::spawn(http::serve(acceptor, intake, Arc::clone(metrics))));
            }
        }
        Ok(())
    }

    async fn acceptor(&self, intake: &Arc<Intake>, tls: Option<&Tls>, protocol: Option<&[u8]>) -> io::Result<Acceptor> {
        let tls = match tls {
            Some(tls) if self.is_secure() => Some(tls.acceptor(protocol)?),
            // A configuration that is right has one where it is needed.
            None if self.is_secure() => return Err(io::Error::other("there is no certificate")),
            Some(_) | None => None,
        };
        Ok(Acceptor::new(TcpListener::bind(self.address).await?, Arc::clone(intake), tls))
    }

    /// Says why the address cannot be listened on, if it cannot.
    pub(crate) fn try_open(&self) -> io::Result<()> {
        match self.transport {
            Transport::Udp => std::net::UdpSocket::bind(self.address).map(drop),
            Transport::Tcp | Transport::Tls | Transport::Http | Transport::Https => {
                std::net::TcpListener::bind(self.address).map(drop)
            }
        }
    }
}

impl FromStr for Listen {
    type Err = ();

    /// Reads `udp:address:port`, `tcp:…`, `tls:…`, `http:…` or `https:…`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let (transport, address) = text.split_once(':').ok_or(())?;
        let (transport, _) = Transport::ALL.into_iter().find(|(_, name)| *name == transport).ok_or(())?;
        Ok(Self { transport, address: address.parse().map_err(|_| ())? })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name =
            Transport::ALL.iter().find(|(transport, _)| *transport == self.transport).map_or("", |(_, name)| name);
        write!(f, "{name}:{}", self.address)
    }
}
