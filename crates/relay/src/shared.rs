//! The one port that the ICE legs of a worker may share, and whose what arrives there is.
//!
//! ```text
//! STUN request              our user name fragment, the first half of USERNAME (RFC 8445 §7.2.2)
//! STUN response             the transaction that it answers
//! DTLS, SRTP, indications   the source address, once ICE validated it
//! ```
//!
//! Each is one look into a table. What is in none of them is dropped before anything else is done with it.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ice::stun::{Addressee, TransactionId};

use crate::resources::{Place, Socket};
use crate::{Address, Datagram, Dropped, SocketId};

/// Requests whose response may still come; the oldest makes room.
const MAX_ASKED: usize = 1 << 18;

/// A response that comes later than this is of no use.
const RESPONSE_TIME: Duration = Duration::from_secs(10);

/// A source that has not answered a component for this long may be another's: that of a client that began anew.
const SILENT_AFTER: Duration = Duration::from_secs(10);

/// A peer's address, and the socket of ours that it sends to.
pub(crate) type Source = (SocketId, SocketAddr);

/// Whose what arrives on the shared port is.
#[derive(Debug, Default)]
pub(crate) struct SharedPort {
    /// One for each address.
    sockets: Vec<Socket>,
    by_ufrag: HashMap<String, Place>,
    by_source: HashMap<Source, Holder>,
    by_transaction: HashMap<TransactionId, Place>,
    /// The transactions in the order in which they began.
    asked: VecDeque<(Instant, TransactionId)>,
}

/// Who holds a source.
#[derive(Clone, Copy, Debug)]
struct Holder {
    place: Place,
    /// When the peer there last answered a check of ours, which shows that it is not only claimed to be there.
    answered: Option<Instant>,
}

impl SharedPort {
    /// Takes a socket into use.
    pub(crate) fn add(&mut self, socket: Socket) {
        self.sockets.push(socket);
    }

    /// The socket that is bound to an address.
    pub(crate) fn bound_to(&self, bound: SocketAddr) -> Option<Socket> {
        self.sockets.iter().copied().find(|socket| socket.bound == bound)
    }

    /// Says whether there is a shared port at all.
    pub(crate) fn is_open(&self) -> bool {
        !self.sockets.is_empty()
    }

    /// The sockets of some of our addresses.
    pub(crate) fn sockets(&self, addresses: &[Address]) -> Vec<Socket> {
        let of = |address: &Address| {
            let advertised = address.advertise.unwrap_or(address.bind);
            let is_of = |socket: &&Socket| (socket.bound.ip(), socket.advertised.ip()) == (address.bind, advertised);
            self.sockets.iter().find(is_of).copied()
        };
        addresses.iter().filter_map(of).collect()
    }

    /// The component that a datagram is for.
    ///
    /// # Errors
    ///
    /// No component is known by what it says, or by where it comes from.
    pub(crate) fn find(&self, datagram: &Datagram<'_>) -> Result<Place, Dropped> {
        let bytes = datagram.buffer.get(..datagram.length).ok_or(Dropped::Empty)?;
        let addressee = match bytes.first() {
            Some(0..=3) => ice::stun::addressee(bytes).ok_or(Dropped::StunMalformed)?, // RFC 7983 §7
            Some(_) => Addressee::Source,
            None => return Err(Dropped::Empty),
        };
        match addressee {
            Addressee::Ufrag(ufrag) => self.by_ufrag.get(ufrag).copied().ok_or(Dropped::StunUsername),
            Addressee::Transaction(id) => self.by_transaction.get(&id).copied().ok_or(Dropped::StunResponse),
            Addressee::Source => {
                let source = (datagram.arrived_on, datagram.from);
                self.by_source.get(&source).map(|holder| holder.place).ok_or(Dropped::UnknownSource)
            }
        }
    }

    /// Knows a component by a user name fragment of ours.
    pub(crate) fn know_by_ufrag(&mut self, ufrag: &str, place: Place) {
        self.by_ufrag.insert(ufrag.to_owned(), place);
    }

    /// Forgets a user name fragment.
    pub(crate) fn forget_ufrag(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag);
    }

    /// Expects the response to a request that a component sends.
    pub(crate) fn expect(&mut self, transaction: TransactionId, place: Place, now: Instant) {
        let late = |(asked, _): &(Instant, TransactionId)| *asked + RESPONSE_TIME <= now;
        while self.asked.len() >= MAX_ASKED || self.asked.front().is_some_and(late) {
            let Some((_, old)) = self.asked.pop_front() else { break };
            self.by_transaction.remove(&old);
        }
        if self.by_transaction.insert(transaction, place).is_none() {
            self.asked.push_back((now, transaction));
        }
    }

    /// Knows a component by a source that ICE validated for it, and says whether it does. A source of another
    /// component changes hands only when the peer there has answered this one, and not the other for a while: so
    /// nobody takes an address away by claiming to be there, and a client that begins anew gets its own.
    pub(crate) fn know_by_source(
        &mut self,
        source: Source,
        place: Place,
        answered: Option<Instant>,
        now: Instant,
    ) -> bool {
        let holder = self.by_source.entry(source).or_insert(Holder { place, answered });
        let is_alive = holder.answered.is_some_and(|answered| answered + SILENT_AFTER > now);
        if holder.place != place && (is_alive || answered.is_none()) {
            return false;
        }
        *holder = Holder { place, answered };
        true
    }

    /// Forgets a source, if it is still that of a component.
    pub(crate) fn forget_source(&mut self, source: Source, place: Place) {
        if self.by_source.get(&source).is_some_and(|holder| holder.place == place) {
            self.by_source.remove(&source);
        }
    }
}
