//! The trunks: which one a request came from, by its source address, and which of their addresses answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use super::socket::{Hop, Sockets};
use super::{StartError, Transport, Trunk};
use crate::address::SipUri;

/// How often the names of trunks are looked up again.
pub(super) const REFRESH: Duration = Duration::from_secs(60);
/// Addresses of one trunk that are known and watched.
const MAX_ADDRESSES: usize = 16;
/// An address is left out after so many requests in a row that nobody answered.
const MISSES: u8 = 2;
/// The longest that one 503 keeps us away (RFC 3263 §4.3).
const LONGEST_BLOCK: Duration = Duration::from_secs(300);

/// The trunks with the addresses they were last found at.
#[derive(Debug)]
pub(super) struct Trunks {
    known: Vec<Known>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) trunk: Trunk,
    /// Its proxies, best first.
    pub(super) uris: Vec<SipUri>,
    hops: RwLock<Vec<Hop>>,
    health: Mutex<HashMap<(Transport, SocketAddr), Health>>,
}

/// What became of the last requests to an address.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    misses: u8,
    blocked_until: Option<Instant>,
}

/// What an answer, or none, has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The address does not answer any more.
    Lost,
    /// It answers again.
    Back,
}

impl Trunks {
    /// Checks the URIs.
    pub(super) fn new(trunks: &[Trunk]) -> Result<Self, StartError> {
        let check = |trunk: &Trunk| {
            let problem = |problem: &str| StartError::Trunk { trunk: trunk.name.clone(), problem: problem.to_owned() };
            let parse = |text: &String| {
                let uri = SipUri::parse(text).map_err(|error| problem(&error.to_string()))?;
                if uri.host.is_empty() {
                    return Err(problem("the URI must be sip: or sips:"));
                }
                Transport::of_uri(&uri).map_err(|_| problem("the transport must be udp, tcp or tls"))?;
                Ok(uri)
            };
            let uris = [&trunk.uri].into_iter().chain(&trunk.further).map(parse).collect::<Result<_, _>>()?;
            if trunk.register && trunk.username.is_none() {
                return Err(problem("to register, a username is needed"));
            }
            let (hops, health) = (RwLock::default(), Mutex::default());
            Ok(Known { trunk: trunk.clone(), uris, hops, health })
        };
        Ok(Self { known: trunks.iter().map(check).collect::<Result<_, _>>()? })
    }

    pub(super) fn by_name(&self, name: &str) -> Option<&Known> {
        self.known.iter().find(|known| known.trunk.name == name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.known.iter()
    }

    /// Looks the names up again; addresses that are not found any more stay until others are.
    pub(super) async fn refresh(&self, sockets: &Sockets) {
        for known in &self.known {
            let mut found = Vec::new();
            for uri in &known.uris {
                let hops = sockets.resolve(uri).await;
                if hops.is_empty() {
                    tracing::warn!(trunk = known.trunk.name, host = uri.host, "cannot find the trunk's address");
                }
                found.extend(hops);
            }
            found.truncate(MAX_ADDRESSES);
            if !found.is_empty() {
                known.keep(found);
            }
        }
    }

    /// The trunk of a request, by its place in the configuration: of the address and port it came from, else of that address and the port its Via names,
    /// since a connection comes from any port (RFC 3261 §18.1.1), else of that address.
    pub(super) fn of_request(&self, source: SocketAddr, via: Option<&str>) -> Option<usize> {
        let find = |fits: &dyn Fn(SocketAddr) -> bool| {
            self.known.iter().position(|known| known.hops().iter().any(|hop| fits(hop.address)))
        };
        let at = |port| find(&|address| address == SocketAddr::new(source.ip(), port));
        at(source.port())
            .or_else(|| at(via.and_then(sent_by_port)?))
            .or_else(|| find(&|address| address.ip() == source.ip()))
    }

    /// A trunk by its place in the configuration.
    pub(super) fn by_place(&self, place: usize) -> Option<&Trunk> {
        self.known.get(place).map(|known| &known.trunk)
    }

    /// Says whether an address is that of a trunk.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        self.known.iter().any(|known| known.hops().iter().any(|hop| hop.address.ip() == address))
    }

    /// Each trunk, and whether one of its addresses answers.
    pub(super) fn states(&self) -> Vec<(String, bool)> {
        self.known.iter().map(|known| (known.trunk.name.clone(), known.is_up())).collect()
    }
}

impl Known {
    /// The addresses it was last found at, best first.
    pub(super) fn hops(&self) -> Vec<Hop> {
        self.hops.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, found: Vec<Hop>) {
        self.health().retain(|key, _| found.iter().any(|hop| key_of(hop) == *key));
        *self.hops.write().unwrap_or_else(PoisonError::into_inner) = found;
    }

    fn health(&self) -> MutexGuard<'_, HashMap<(Transport, SocketAddr), Health>> {
        // Nothing can panic while it is held.
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_up(&self) -> bool {
        let hops = self.hops();
        hops.is_empty() || hops.iter().any(|hop| self.answers(hop))
    }

    /// Says whether a call may be sent to an address.
    pub(super) fn answers(&self, hop: &Hop) -> bool {
        self.health().get(&key_of(hop)).is_none_or(|health| {
            health.misses < MISSES && health.blocked_until.is_none_or(|until| until <= Instant::now())
        })
    }

    /// Notes that an address answered a request with a status, or did not, which is 408.
    pub(super) fn note(&self, hop: &Hop, status: u16) -> Change {
        let mut health = self.health();
        let known = health.len() < MAX_ADDRESSES || health.contains_key(&key_of(hop));
        if !known {
            return Change::None;
        }
        let health = health.entry(key_of(hop)).or_default();
        let was_lost = health.misses >= MISSES;
        health.misses = if matches!(status, 408 | 503) { health.misses.saturating_add(1) } else { 0 };
        match (was_lost, health.misses >= MISSES) {
            (false, true) => Change::Lost,
            (true, false) => Change::Back,
            (false, false) | (true, true) => Change::None,
        }
    }

    /// Keeps away from an address that sent a 503, as long as it wants (RFC 3263 §4.3).
    pub(super) fn block(&self, hop: &Hop, seconds: u32) {
        let until = Instant::now() + Duration::from_secs(seconds.into()).min(LONGEST_BLOCK);
        let mut health = self.health();
        if health.len() < MAX_ADDRESSES || health.contains_key(&key_of(hop)) {
            health.entry(key_of(hop)).or_default().blocked_until = Some(until);
        }
    }
}

const fn key_of(hop: &Hop) -> (Transport, SocketAddr) {
    (hop.transport, hop.address)
}

/// The port that a Via says its sender listens on.
fn sent_by_port(via: &str) -> Option<u16> {
    let sent_by = via.split([';', ',']).next()?.split_whitespace().last()?;
    SipUri::parse(&format!("sip:{sent_by}")).ok()?.port
}
