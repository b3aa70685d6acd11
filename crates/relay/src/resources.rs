//! What all calls share: sockets, ports, randomness, and the queues of what is to be done outside.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dtls::{AssociationId, FromDtls, ToDtls};
use model::{CallId, CommandError, Component, Event, News};

use crate::component::Destination;
use crate::ports::{PortPair, Ports};
use crate::relay::Random;
use crate::report::WallClock;
use crate::scope::Reach;
use crate::shared::SharedPort;
use crate::strangers::Strangers;
use crate::{Address, Config, Counters, Datagram, Dropped, OpenError, SocketId, Sockets, Traffic, Transmit};

/// One of the two sides of a call.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Side {
    /// The leg that was named first.
    First,
    /// The other.
    Second,
}

/// Which part of which call something belongs to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Place {
    /// The call's place in the relay.
    pub(crate) call: usize,
    /// Which of its legs.
    pub(crate) side: Side,
    /// The transport's place in the leg.
    pub(crate) transport: usize,
    /// Which of its components.
    pub(crate) component: Component,
}

/// Which part of which call a datagram is for, and the address of ours that it came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) place: Place,
    pub(crate) bound: SocketAddr,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug)]
struct Opening {
    purpose: Purpose,
    bound: SocketAddr,
}

/// Whose what arrives on a socket is.
#[derive(Clone, Copy, Debug)]
enum Purpose {
    /// One component's.
    Component(Place),
    /// What [`SharedPort`] says.
    Shared,
}

/// A socket of ours, and what peers know it by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Socket {
    pub(crate) id: SocketId,
    pub(crate) bound: SocketAddr,
    pub(crate) advertised: SocketAddr,
}

/// What all calls share.
pub(crate) struct Resources {
    pub(crate) config: Config,
    pub(crate) reach: Reach,
    pub(crate) random: Random,
    pub(crate) counters: Counters,
    pub(crate) transmits: VecDeque<Transmit>,
    pub(crate) to_dtls: VecDeque<ToDtls>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) shared: SharedPort,
    pub(crate) strangers: Strangers,
    /// What the clock on the wall shows.
    pub(crate) clock: WallClock,
    /// Sockets to be closed, once what waits in `transmits` was sent.
    closing: VecDeque<Socket>,
    /// Sockets through which a close_notify is to be sent yet, the oldest first.
    lingering: VecDeque<Lingering>,
    ports: Ports,
    openings: Vec<Option<Opening>>,
    free_sockets: Vec<SocketId>,
    own: HashSet<SocketAddr>,
    associations: HashMap<AssociationId, Place>,
    next_association: u64,
}

impl Resources {
    pub(crate) fn new(config: Config, mut random: Random) -> Self {
        let mut begin = [0; 2];
        random(&mut begin);
        Self {
            reach: Reach::of(config.addresses.iter().map(|address| address.bind)),
            ports: Ports::new(&config.ports, usize::from(u16::from_be_bytes(begin)), config.port_quarantine),
            strangers: Strangers::new(config.max_wrong_packets),
            config,
            random,
            counters: Counters::default(),
            transmits: VecDeque::new(),
            to_dtls: VecDeque::new(),
            events: VecDeque::new(),
            shared: SharedPort::default(),
            openings: Vec::new(),
            free_sockets: Vec::new(),
            clock: WallClock::UNSET,
            closing: VecDeque::new(),
            lingering: VecDeque::new(),
            own: HashSet::new(),
            associations: HashMap::new(),
            next_association: 0,
        }
    }

    /// Whose a datagram is: one look into an array, and on the shared port one more into a table.
    ///
    /// # Errors
    ///
    /// Nobody's.
    pub(crate) fn route(&self, datagram: &Datagram<'_>) -> Result<Route, Dropped> {
        let opening = self.openings.get(datagram.arrived_on.0 as usize).copied().flatten();
        let Opening { purpose, bound } = opening.ok_or(Dropped::UnknownSocket)?;
        let place = match purpose {
            Purpose::Component(place) => place,
            Purpose::Shared => self.shared.find(datagram)?,
        };
        Ok(Route { place, bound })
    }

    /// Opens the shared port, if there is to be one. Addresses that differ only in what peers are told share a socket.
    ///
    /// # Errors
    ///
    /// There is no such socket to be had.
    pub(crate) fn open_shared(&mut self, sockets: &mut dyn Sockets) -> Result<(), OpenError> {
        let Some(port) = self.config.ice_port else { return Ok(()) };
        for address in self.config.addresses.clone() {
            let socket = match self.shared.bound_to(SocketAddr::new(address.bind, port)) {
                Some(socket) => {
                    let advertised = SocketAddr::new(address.advertise.unwrap_or(address.bind), port);
                    self.own.insert(advertised);
                    Socket { advertised, ..socket }
                }
                None => self.open_socket(Purpose::Shared, Traffic::Shared, &address, port, sockets)?,
            };
            self.shared.add(socket);
        }
        Ok(())
    }

    /// Takes a pair of ports and opens sockets on each of the addresses for some of a transport's components; no pair
    /// for none of them. Pairs that somebody else uses are passed over.
    ///
    /// # Errors
    ///
    /// There is no such pair, or no socket to be had: which of the machine's means ran out.
    pub(crate) fn open(
        &mut self,
        place: Place,
        addresses: &[Address],
        components: &[Component],
        traffic: Traffic,
        sockets: &mut dyn Sockets,
        now: Instant,
    ) -> Result<Opened, CommandError> {
        if components.is_empty() {
            return Ok(Opened::default());
        }
        let mut passed_over = Vec::new();
        let opened = loop {
            let Some(ports) = self.ports.take(now) else { break Err(CommandError::NoFreePort) };
            match self.open_pair(place, addresses, ports, components, traffic, sockets) {
                Ok(opened) => break Ok(opened),
                Err(error) => {
                    passed_over.push(ports);
                    if !matches!(error, OpenError::PortTaken) {
                        break Err(error.into());
                    }
                }
            }
        };
        for pair in passed_over {
            self.ports.pass_over(pair);
        }
        opened
    }

    fn open_pair(
        &mut self,
        place: Place,
        addresses: &[Address],
        ports: PortPair,
        components: &[Component],
        traffic: Traffic,
        sockets: &mut dyn Sockets,
    ) -> Result<Opened, OpenError> {
        let mut opened = Opened { ports: Some(ports), ..Opened::default() };
        for component in components {
            let port = match component {
                Component::Rtp => ports.rtp,
                Component::Rtcp => ports.rtcp,
            };
            let purpose = Purpose::Component(Place { component: *component, ..place });
            for address in addresses {
                match self.open_socket(purpose, traffic, address, port, sockets) {
                    Ok(socket) => match component {
                        Component::Rtp => opened.rtp.push(socket),
                        Component::Rtcp => opened.rtcp.push(socket),
                    },
                    Err(error) => {
                        self.close(opened.rtp.iter().chain(&opened.rtcp), sockets);
                        return Err(error);
                    }
                }
            }
        }
        opened.rtp.shrink_to_fit();
        opened.rtcp.shrink_to_fit();
        Ok(opened)
    }

    fn open_socket(
        &mut self,
        purpose: Purpose,
        traffic: Traffic,
        address: &Address,
        port: u16,
        sockets: &mut dyn Sockets,
    ) -> Result<Socket, OpenError> {
        let bound = SocketAddr::new(address.bind, port);
        let advertised = SocketAddr::new(address.advertise.unwrap_or(address.bind), port);
        let id = match self.free_sockets.last() {
            Some(id) => *id,
            None => SocketId(u32::try_from(self.openings.len()).map_err(|_| OpenError::NoDescriptor)?),
        };
        sockets.open(id, bound, traffic)?;
        let opening = Some(Opening { purpose, bound });
        match self.free_sockets.pop() {
            Some(id) => self.openings[id.0 as usize] = opening,
            None => self.openings.push(opening),
        }
        self.own.extend([bound, advertised]);
        self.counters.ports_in_use += 1;
        Ok(Socket { id, bound, advertised })
    }

    /// Closes sockets that were opened in vain.
    fn close<'s>(&mut self, closed: impl IntoIterator<Item = &'s Socket>, sockets: &mut dyn Sockets) {
        for socket in closed {
            sockets.close(socket.id);
            self.forget(socket);
        }
    }

    fn forget(&mut self, socket: &Socket) {
        self.openings[socket.id.0 as usize] = None;
        self.free_sockets.push(socket.id);
        self.own.remove(&socket.bound);
        self.own.remove(&socket.advertised);
        self.counters.ports_in_use -= 1;
    }

    /// Has sockets closed whose use is over, once what was to be sent through them was sent: also the close_notify of
    /// an association that is being closed, for which the engine needs a moment. Those of the shared port stay.
    pub(crate) fn retire(
        &mut self,
        mut sockets: Vec<Socket>,
        farewell: Option<(AssociationId, Destination)>,
        now: Instant,
    ) {
        sockets.retain(|socket| {
            let own =
                self.openings[socket.id.0 as usize].take_if(|opening| !matches!(opening.purpose, Purpose::Shared));
            own.is_some()
        });
        match farewell {
            Some((association, to)) => {
                self.lingering.push_back(Lingering { association, to, sockets, until: now + LINGER });
            }
            None => self.closing.extend(sockets),
        }
    }

    /// Takes the last that the engine has to say of an association that was closed.
    pub(crate) fn handle_farewell(&mut self, from: FromDtls) {
        let FromDtls::Transmit { association, bytes } = from else { return };
        let place = self.lingering.iter().position(|lingering| lingering.association == association);
        if let Some(Lingering { to: Destination { from, to }, sockets, .. }) =
            place.and_then(|place| self.lingering.remove(place))
        {
            self.transmits.push_back(Transmit { from, to, bytes });
            self.closing.extend(sockets);
        }
    }

    /// When [`Resources::stop_lingering`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lingering.front().map(|lingering| lingering.until)
    }

    /// Waits no longer for what the engine has not said.
    pub(crate) fn stop_lingering(&mut self, now: Instant) {
        while self.deadline().is_some_and(|until| until <= now) {
            self.closing.extend(self.lingering.pop_front().into_iter().flat_map(|lingering| lingering.sockets));
        }
    }

    /// The next socket that nobody needs any more.
    pub(crate) fn next_closed(&mut self) -> Option<SocketId> {
        let socket = self.closing.pop_front()?;
        self.forget(&socket);
        Some(socket.id)
    }

    /// Gives a pair of ports back, once its sockets are closed.
    pub(crate) fn give_back(&mut self, ports: PortPair, now: Instant) {
        self.ports.give_back(ports, now);
    }

    /// How many more streams there may be.
    pub(crate) fn room_for_streams(&self) -> usize {
        self.config.max_streams.saturating_sub(self.counters.streams)
    }

    /// Says whether media may be sent to an address: it is within reach, and not our own.
    pub(crate) fn may_send_to(&self, to: SocketAddr) -> bool {
        self.reach.allows(to) && !self.own.contains(&to)
    }

    /// Names a new DTLS association.
    pub(crate) fn new_association(&mut self, place: Place) -> AssociationId {
        let id = AssociationId(self.next_association);
        self.next_association += 1;
        self.associations.insert(id, place);
        id
    }

    /// Whose an association is.
    pub(crate) fn association(&self, id: AssociationId) -> Option<Place> {
        self.associations.get(&id).copied()
    }

    /// Forgets an association, without a word to the engine.
    pub(crate) fn forget_association(&mut self, id: AssociationId) {
        self.associations.remove(&id);
    }

    /// Ends an association.
    pub(crate) fn close_association(&mut self, id: AssociationId) {
        if self.associations.remove(&id).is_some() {
            self.to_dtls.push_back(ToDtls::Close { association: id });
        }
    }

    pub(crate) fn tell(&mut self, call: CallId, news: News) {
        self.events.push_back(Event { call, news });
    }

    pub(crate) fn count_drop(&mut self, reason: Dropped) {
        self.counters.dropped.count(reason);
    }
}

impl From<OpenError> for CommandError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::PortTaken => Self::NoFreePort,
            OpenError::AddressGone => Self::NoUsableAddress,
            OpenError::NoDescriptor => Self::NoFreeDescriptor,
            OpenError::NoMemory => Self::NoMemory,
            OpenError::Other(_) => Self::NoSocket,
        }
    }
}

/// A pair of ports with its sockets; nothing where none was asked for.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    pub(crate) ports: Option<PortPair>,
    pub(crate) rtp: Vec<Socket>,
    pub(crate) rtcp: Vec<Socket>,
}

/// How long to wait for a close_notify.
const LINGER: Duration = Duration::from_secs(2);

/// Sockets whose call is over, and what is still to be sent through them.
#[derive(Debug)]
struct Lingering {
    association: AssociationId,
    to: Destination,
    sockets: Vec<Socket>,
    until: Instant,
}

/// What carrying out a command takes, beside the call.
pub(crate) struct Work<'a> {
    pub(crate) resources: &'a mut Resources,
    pub(crate) sockets: &'a mut dyn Sockets,
    pub(crate) now: Instant,
}
