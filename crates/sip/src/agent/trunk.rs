//! Which trunk a request came from, by its source address.

use std::net::{IpAddr, SocketAddr};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::socket::Sockets;
use super::{StartError, Transport, Trunk};
use crate::address::SipUri;

/// How often the names of trunks are looked up again.
pub(super) const REFRESH: Duration = Duration::from_secs(60);

/// The trunks with the addresses they were last found at.
#[derive(Debug)]
pub(super) struct Trunks {
    trunks: Vec<(Trunk, SipUri)>,
    addresses: RwLock<Vec<Vec<SocketAddr>>>,
}

impl Trunks {
    /// Checks the URIs.
    pub(super) fn new(trunks: &[Trunk]) -> Result<Self, StartError> {
        let check = |trunk: &Trunk| {
            let problem = |problem: &str| StartError::Trunk { trunk: trunk.name.clone(), problem: problem.to_owned() };
            let uri = SipUri::parse(&trunk.uri).map_err(|error| problem(&error.to_string()))?;
            if uri.host.is_empty() {
                return Err(problem("the URI must be sip: or sips:"));
            }
            Transport::of_uri(&uri).map_err(|_| problem("the transport must be udp, tcp or tls"))?;
            if trunk.register && trunk.username.is_none() {
                return Err(problem("to register, a username is needed"));
            }
            Ok((trunk.clone(), uri))
        };
        let trunks: Vec<_> = trunks.iter().map(check).collect::<Result<_, _>>()?;
        let addresses = RwLock::new(vec![Vec::new(); trunks.len()]);
        Ok(Self { trunks, addresses })
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Trunk> {
        self.trunks.iter().map(|(trunk, _)| trunk).find(|trunk| trunk.name == name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(Trunk, SipUri)> {
        self.trunks.iter()
    }

    /// Looks the names up again; an address that is not found any more stays until another one is.
    pub(super) async fn refresh(&self, sockets: &Sockets) {
        for (index, (trunk, uri)) in self.trunks.iter().enumerate() {
            let found: Vec<SocketAddr> = sockets.resolve(uri).await.into_iter().map(|hop| hop.address).collect();
            if found.is_empty() {
                tracing::warn!(trunk = trunk.name, host = uri.host, "cannot find the trunk's address");
            } else if let Some(addresses) =
                self.addresses.write().unwrap_or_else(PoisonError::into_inner).get_mut(index)
            {
                *addresses = found;
            }
        }
    }

    /// The trunk of a request: of the address and port it came from, else of that address and the port its Via names,
    /// since a connection comes from any port (RFC 3261 §18.1.1), else of that address.
    pub(super) fn of_request(&self, source: SocketAddr, via: Option<&str>) -> Option<&Trunk> {
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        let at = |port| {
            let address = SocketAddr::new(source.ip(), port);
            addresses.iter().position(|known| known.contains(&address))
        };
        let index = at(source.port())
            .or_else(|| at(via.and_then(sent_by_port)?))
            .or_else(|| addresses.iter().position(|all| all.iter().any(|one| one.ip() == source.ip())))?;
        self.trunks.get(index).map(|(trunk, _)| trunk)
    }

    /// Says whether an address is that of a trunk.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        let addresses = self.addresses.read().unwrap_or_else(PoisonError::into_inner);
        addresses.iter().flatten().any(|known| known.ip() == address)
    }
}

/// The port that a Via says its sender listens on.
fn sent_by_port(via: &str) -> Option<u16> {
    let sent_by = via.split([';', ',']).next()?.split_whitespace().last()?;
    SipUri::parse(&format!("sip:{sent_by}")).ok()?.port
}
