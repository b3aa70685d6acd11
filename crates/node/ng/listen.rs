//! Where requests are taken.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};

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
    /// With WebSocket.
    Http,
}

impl Transport {
    const ALL: [(Self, &str); 3] = [(Self::Udp, "udp"), (Self::Tcp, "tcp"), (Self::Http, "http")];
}

impl Listen {
    /// Serves until the process ends.
    ///
    /// # Errors
    ///
    /// The address cannot be listened on.
    pub(crate) async fn serve(&self, intake: &Arc<Intake>, metrics: &Arc<Metrics>) -> io::Result<()> {
        let intake = Arc::clone(intake);
        match self.transport {
            Transport::Udp => drop(tokio::spawn(udp::serve(UdpSocket::bind(self.address).await?, intake))),
            Transport::Tcp => drop(tokio::spawn(tcp::serve(TcpListener::bind(self.address).await?, intake))),
            Transport::Http => {
                let listener = TcpListener::bind(self.address).await?;
                drop(tokio::spawn(http::serve(listener, intake, Arc::clone(metrics))));
            }
        }
        Ok(())
    }
}

impl FromStr for Listen {
    type Err = ();

    /// Reads `udp:address:port`, `tcp:…` or `http:…`.
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
