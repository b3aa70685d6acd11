//! What all calls share: the sockets, the directory of calls, the counters, and the stack below.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rsipstack::platform::CancellationToken;
use rsipstack::sip::{Header, Headers, Request, Response as WireResponse};
use rsipstack::transaction::endpoint::EndpointInnerRef;
use rsipstack::transport::SipConnection;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::call::Input;
use super::socket::{Hop, Link, Sockets};
use super::trunk::Trunks;
use super::wire::{self, header};
use super::{Config, Transport, Trunk};
use crate::address::SipUri;
use crate::message::{DialogId, FromAgent, Response, TrunkName};
use crate::transfer::Replaces;

/// Marks a response that the stack made up because none came.
pub(super) const LOCAL: &str = "X-Stox-Local";
/// Carries the source of a request from the socket to the dispatcher.
pub(super) const SOURCE: &str = "X-Stox-Source";

/// Addresses that one request is sent to, one after the other.
const MAX_ATTEMPTS: usize = 16;
/// Larger requests are not for UDP (RFC 3261 §18.1.1).
const MAX_UDP_REQUEST: usize = 1_300;

/// What all calls share.
pub(super) struct Endpoint {
    pub(super) config: Config,
    pub(super) stack: EndpointInnerRef,
    pub(super) sockets: Sockets,
    pub(super) trunks: Arc<Trunks>,
    pub(super) directory: Arc<Directory>,
    pub(super) counters: Arc<Counters>,
    pub(super) from_agent: mpsc::Sender<FromAgent>,
    /// Ends all that the agent started.
    pub(super) cancel: CancellationToken,
}

/// Where a request is to go.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    /// The next hops, best first.
    pub(super) uris: Vec<String>,
    /// A stream connection that is known to reach it; tried first.
    pub(super) flow: Option<SipConnection>,
    /// The peer is known to take UDP whatever the size.
    pub(super) any_size: bool,
    /// The trunk it belongs to: addresses that do not answer are left out.
    pub(super) trunk: Option<TrunkName>,
}

impl Destination {
    /// One next hop, of no trunk.
    pub(super) fn of_uri(uri: String) -> Self {
        Self { uris: vec![uri], flow: None, any_size: false, trunk: None }
    }

    /// The proxies of a trunk.
    pub(super) fn of_trunk(trunk: &Trunk) -> Self {
        let uris = [&trunk.uri].into_iter().chain(&trunk.further).cloned().collect();
        Self { uris, flow: None, any_size: true, trunk: Some(trunk.name.clone()) }
    }
}

/// A way to a destination that has not been tried yet.
pub(super) enum Attempt {
    Flow(SipConnection),
    Hop(Hop),
}

impl Endpoint {
    /// The ways to a destination, best first.
    pub(super) async fn attempts(&self, destination: &Destination, size: usize) -> Vec<Attempt> {
        let flow = destination.flow.clone().map(Attempt::Flow);
        let mut hops = Vec::new();
        for uri in &destination.uris {
            let Ok(uri) = SipUri::parse(uri) else { continue };
            let found = self.sockets.resolve(&uri).await;
            let free = matches!(Transport::of_uri(&uri), Ok(None));
            let large = free && !destination.any_size && size > MAX_UDP_REQUEST;
            hops.extend(if large { prefer_tcp(found) } else { found });
        }
        if let Some(known) = destination.trunk.as_ref().and_then(|name| self.trunks.by_name(name)) {
            let found = hops.len();
            hops.retain(|hop| known.answers(hop));
            if hops.is_empty() && found > 0 {
                count(&self.counters.trunk_down);
                tracing::info!(trunk = known.trunk.name, "none of its addresses answers: not tried");
            }
        }
        hops.truncate(MAX_ATTEMPTS);
        flow.into_iter().chain(hops.into_iter().map(Attempt::Hop)).collect()
    }

    /// Notes a 503 that came from an address of a trunk: it is left alone as long as it wants.
    pub(super) fn overloaded(&self, destination: &Destination, attempt: &Attempt, response: &WireResponse) {
        let known = destination.trunk.as_ref().and_then(|name| self.trunks.by_name(name));
        let wait = wire::number(&response.headers, "Retry-After").filter(|seconds| *seconds > 0);
        if let (Some(known), Attempt::Hop(hop), Some(seconds), 503, false) =
            (known, attempt, wait, response.status_code.code(), is_local(response))
        {
            known.block(hop, seconds);
        }
    }

    /// Opens a way.
    pub(super) async fn open(&self, attempt: &Attempt) -> Option<Link> {
        match attempt {
            Attempt::Flow(connection) => self.sockets.along(connection),
            Attempt::Hop(hop) => self.sockets.open(hop, &self.stack.transport_layer).await,
        }
    }

    /// Puts a Via on a request, and a Contact if it wants one.
    pub(super) fn address(&self, mut request: Request, link: &Link, contact: Option<&str>) -> Request {
        let branch = wire::random(12);
        let via = format!("SIP/2.0/{} {};rport;branch=z9hG4bK{branch}", link.transport.as_str(), link.own);
        request.headers.push_front(header("Via", via));
        if let Some(user) = contact {
            request.headers.push(header("Contact", contact_of(user, link.transport, link.own)));
        }
        request.headers.push(header("Content-Length", request.body.len().to_string()));
        request
    }

    /// The Contact of a response, by the connection on which its request came.
    pub(super) fn contact(&self, user: &str, request: &Request, connection: Option<&SipConnection>) -> Option<Header> {
        let connection = connection?;
        let transport = Transport::of(connection);
        let peer = source_of(&request.headers)?;
        let own = self.sockets.own_address(transport, peer, connection)?;
        Some(header("Contact", contact_of(user, transport, own)))
    }

    /// Makes the response to a request.
    pub(super) fn respond(&self, request: &Request, local_tag: Option<&str>, response: &Response) -> WireResponse {
        wire::respond(request, local_tag, &self.config.user_agent, response)
    }

    /// The response to a request that got none.
    pub(super) fn made_up(&self, request: &Request, status: u16) -> WireResponse {
        let mut response = self.respond(request, None, &Response::new(status));
        response.headers.push(Header::Other(LOCAL.to_owned(), String::new()));
        response
    }

    /// Starts a task that ends with the agent.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        let cancel = self.cancel.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = task => {}
            }
        })
    }

    /// Tells the translator. If it has gone, nobody wants to know.
    pub(super) async fn tell(&self, news: FromAgent) {
        if self.from_agent.send(news).await.is_err() {
            tracing::debug!("nobody listens to the user agent any more");
        }
    }
}

/// Tries TCP at each UDP address before UDP itself.
fn prefer_tcp(hops: Vec<Hop>) -> Vec<Hop> {
    let udp = hops.iter().filter(|hop| hop.transport == Transport::Udp);
    let tcp: Vec<Hop> = udp.map(|hop| Hop { transport: Transport::Tcp, ..hop.clone() }).collect();
    tcp.into_iter().chain(hops).collect()
}

/// The Contact that names us on a transport.
pub(super) fn contact_of(user: &str, transport: Transport, own: std::net::SocketAddr) -> String {
    match transport {
        Transport::Udp => format!("<sip:{user}@{own}>"),
        Transport::Tcp => format!("<sip:{user}@{own};transport=tcp>"),
        Transport::Tls => format!("<sip:{user}@{own};transport=tls>"),
        // RFC 7118 §5.2.1: wss has no word of its own.
        Transport::Ws | Transport::Wss => format!("<sip:{user}@{own};transport=ws>"),
    }
}

/// Says whether a response was made up by our side.
pub(super) fn is_local(response: &WireResponse) -> bool {
    wire::value(&response.headers, LOCAL).is_some()
}

/// Where a request came from.
pub(super) fn source_of(headers: &Headers) -> Option<std::net::SocketAddr> {
    wire::value(headers, SOURCE)?.parse().ok()
}

/// Who gets what arrives: calls by their number, and by Call-ID and our tag.
#[derive(Debug, Default)]
pub(super) struct Directory {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: HashMap<DialogId, Entry>,
    by_tag: HashMap<(String, String), DialogId>,
    /// Call-ID, From tag and CSeq number of the INVITEs being served: one that comes by another way is merged
    /// (RFC 3261 §8.2.2.2).
    served: HashSet<(String, String, u32)>,
}

/// A call.
#[derive(Debug)]
struct Entry {
    /// Its Call-ID, and our tag.
    key: (String, String),
    stage: Stage,
    events: mpsc::Sender<Input>,
}

/// How far a call is, for whoever would replace it (RFC 3891 §3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// It arrived, and is not answered.
    Called {
        /// The peer's tag.
        remote: String,
    },
    /// It is ours, and not answered.
    Calling {
        /// The tags of those who ring.
        remotes: Vec<String>,
    },
    /// It is answered.
    Answered {
        /// The peer's tag.
        remote: String,
    },
    /// It has ended.
    Over {
        /// The peer's tag.
        remote: String,
    },
}

impl Directory {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing can panic while it is held, so what is behind the lock is whole.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a call; it is struck off when the listing is dropped.
    pub(super) fn list(
        self: &Arc<Self>,
        id: DialogId,
        call_id: &str,
        tag: &str,
        stage: Stage,
        events: mpsc::Sender<Input>,
    ) -> Listing {
        let key = (call_id.to_owned(), tag.to_owned());
        let mut entries = self.entries();
        entries.by_tag.insert(key.clone(), id);
        entries.by_id.insert(id, Entry { key: key.clone(), stage, events });
        Listing { directory: Arc::clone(self), id, key, served: None }
    }

    pub(super) fn by_id(&self, id: DialogId) -> Option<mpsc::Sender<Input>> {
        self.entries().by_id.get(&id).map(|entry| entry.events.clone())
    }

    pub(super) fn by_tag(&self, call_id: &str, tag: &str) -> Option<mpsc::Sender<Input>> {
        let entries = self.entries();
        let id = entries.by_tag.get(&(call_id.to_owned(), tag.to_owned()))?;
        entries.by_id.get(id).map(|entry| entry.events.clone())
    }

    /// The call that an INVITE would replace (RFC 3891 §3).
    ///
    /// # Errors
    ///
    /// The status that refuses it.
    pub(super) fn replaced(&self, replaces: &Replaces) -> Result<DialogId, u16> {
        let entries = self.entries();
        let id = *entries.by_tag.get(&(replaces.call_id.clone(), replaces.to_tag.clone())).ok_or(481_u16)?;
        let stage = &entries.by_id.get(&id).ok_or(481_u16)?.stage;
        let is_peer = |remote: &String| *remote == replaces.from_tag;
        match stage {
            Stage::Answered { remote } if is_peer(remote) && replaces.early_only => Err(486),
            Stage::Answered { remote } if is_peer(remote) => Ok(id),
            Stage::Calling { remotes } if remotes.iter().any(is_peer) => Ok(id),
            Stage::Over { remote } if is_peer(remote) => Err(603),
            // One that rings here is for its caller to end, not for others to take.
            Stage::Called { .. } | Stage::Calling { .. } | Stage::Answered { .. } | Stage::Over { .. } => Err(481),
        }
    }

    /// An answered call as its peer would be asked to replace it.
    pub(super) fn as_replaced(&self, id: DialogId) -> Option<Replaces> {
        let entries = self.entries();
        let Entry { key: (call_id, tag), stage, .. } = entries.by_id.get(&id)?;
        match stage {
            Stage::Answered { remote } => Some(Replaces {
                call_id: call_id.clone(),
                to_tag: remote.clone(),
                from_tag: tag.clone(),
                early_only: false,
            }),
            Stage::Called { .. } | Stage::Calling { .. } | Stage::Over { .. } => None,
        }
    }

    /// Notes an INVITE that is about to be served. False: it is being served already.
    pub(super) fn serve(&self, invite: &(String, String, u32)) -> bool {
        self.entries().served.insert(invite.clone())
    }

    /// Takes back what [`Self::serve`] noted.
    pub(super) fn forget(&self, invite: &(String, String, u32)) {
        self.entries().served.remove(invite);
    }

    pub(super) fn all(&self) -> Vec<mpsc::Sender<Input>> {
        self.entries().by_id.values().map(|entry| entry.events.clone()).collect()
    }
}

/// A call's entry in the directory.
#[derive(Debug)]
pub(super) struct Listing {
    directory: Arc<Directory>,
    id: DialogId,
    key: (String, String),
    pub(super) served: Option<(String, String, u32)>,
}

impl Listing {
    /// Notes how far the call is.
    pub(super) fn note(&self, stage: Stage) {
        if let Some(entry) = self.directory.entries().by_id.get_mut(&self.id) {
            entry.stage = stage;
        }
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        let mut entries = self.directory.entries();
        entries.by_id.remove(&self.id);
        entries.by_tag.remove(&self.key);
        if let Some(served) = &self.served {
            entries.served.remove(served);
        }
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The agent's counters, to be read at any time.
        #[derive(Debug, Default)]
        pub struct Counters {
            $(pub(super) $name: AtomicU64,)*
        }

        /// What the agent has counted since it started.
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        #[non_exhaustive]
        pub struct Statistics {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// What has been counted.
            pub fn read(&self) -> Statistics {
                Statistics { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }

        impl Statistics {
            /// Every counter with its name.
            pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// INVITEs that arrived and became calls.
    calls_in,
    /// Calls made.
    calls_out,
    /// INVITEs refused because too many were unanswered.
    refused_busy,
    /// Datagrams that were no SIP, dropped.
    not_sip,
    /// Requests answered by 400, 501, 505 or 513 because they broke the grammar or our limits.
    malformed,
    /// Requests dropped because the agent was flooded.
    flooded,
    /// Connections refused because there were too many.
    connections_refused,
    /// Messages for a call that could not keep up.
    call_overrun,
    /// REFERs, and INVITEs that would replace a call, refused before anybody was asked.
    transfers_refused,
    /// Requests refused by 422 because their session timer was too short.
    session_too_short,
    /// Calls ended because the peer did not refresh the session, or was gone when we did.
    session_expired,
    /// Calls answered by 401 for want of a password, or of a fresh nonce.
    challenged,
    /// Calls answered by 401 after a wrong password, or an unknown user.
    password_wrong,
    /// Calls answered by 403 because too many wrong passwords came from there.
    password_throttled,
    /// Calls of strangers answered by 403.
    strangers_refused,
    /// Requests of strangers that got no answer.
    strangers_ignored,
    /// Requests not sent, because no address of their trunk answers.
    trunk_down,
    /// Addresses of trunks that stopped answering OPTIONS.
    trunk_addresses_lost,
    /// Addresses of trunks that answer again.
    trunk_addresses_back,
    /// Requests for a dialog that does not exist.
    unknown_dialog,
    /// Responses dropped: of a branch of a fork beyond the eighth, or out of order beyond repair.
    responses_dropped,
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
