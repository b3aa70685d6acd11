//! A relay between two endpoints on a simulated network, on virtual time.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{
    CallId, Command, CommandError, Description, Feedback, IceRole, Learning, LegId, LegPolicy, MediaKind, MediaPath,
    News, PathPolicy, Reply, Security, SrtpSuite,
};
use relay::{
    Address, CertificatePolicy, Config, Datagram, Dropped, OpenError, PortShare, Relay, SocketId, Sockets, Traffic,
    Transmit,
};

use crate::network::{Dice, Flying, Network, Weather};
use crate::peer::{FRAME, Habits, Odd, Peer, ip};

pub(crate) const CALL: u64 = 7;
pub(crate) const A: LegId = LegId(0);
pub(crate) const B: LegId = LegId(1);

/// The sockets that the relay thinks it has.
#[derive(Default)]
pub(crate) struct Fakes {
    pub(crate) open: HashMap<SocketId, SocketAddr>,
    /// What each was opened for.
    pub(crate) traffic: HashMap<SocketAddr, Traffic>,
    /// Ports that somebody else uses.
    pub(crate) taken: Vec<u16>,
    /// Why the machine gives no more than there are.
    pub(crate) refusal: Option<fn() -> OpenError>,
}

impl Sockets for Fakes {
    fn open(&mut self, id: SocketId, address: SocketAddr, traffic: Traffic) -> Result<(), OpenError> {
        if let Some(refusal) = self.refusal {
            return Err(refusal());
        }
        if self.taken.contains(&address.port()) || self.open.values().any(|open| *open == address) {
            return Err(OpenError::PortTaken);
        }
        assert!(self.open.insert(id, address).is_none(), "{id:?} is open already");
        self.traffic.insert(address, traffic);
        Ok(())
    }

    fn close(&mut self, id: SocketId) {
        assert!(self.open.remove(&id).is_some(), "{id:?} is not open");
    }
}

/// The whole of a test.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) relay: Relay,
    pub(crate) sockets: Fakes,
    pub(crate) network: Network,
    pub(crate) a: Peer,
    pub(crate) b: Peer,
    pub(crate) news: Vec<News>,
    pub(crate) odd_a: Vec<Odd>,
    pub(crate) odd_b: Vec<Odd>,
    engine: dtls::Engine,
    next_frame: Instant,
    associations: u64,
}

pub(crate) fn config() -> Config {
    let certificate = Arc::new(dtls::Certificate::generate().expect("OpenSSL works"));
    let address = Address { name: None, bind: ip("198.51.100.1"), advertise: None };
    let ports = PortShare { range: 30_000..=30_099, number: 0, of: 1 };
    Config { max_calls: 10, ..Config::new(vec![address], ports, CertificatePolicy::PerProcess(certificate)) }
}

pub(crate) fn seeded(seed: u64) -> relay::Random {
    let mut dice = Dice::new(seed);
    Box::new(move |bytes| bytes.iter_mut().for_each(|byte| *byte = dice.next().to_be_bytes()[3]))
}

pub(crate) fn policy(leg: LegId, habits: &Habits) -> LegPolicy {
    LegPolicy {
        path: if habits.ice {
            PathPolicy::Ice { role: IceRole::Offerer, required: true }
        } else {
            PathPolicy::Plain { learning: Learning::Off }
        },
        security: vec![habits.security],
        suites: SrtpSuite::ALL.to_vec(),
        rtcp_mux: habits.rtcp_mux,
        reporting: habits.reporting,
        ..LegPolicy::plain_sip(leg)
    }
}

pub(crate) fn start() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "any instant will do as the beginning of virtual time")]
    Instant::now()
}

impl World {
    pub(crate) fn new(a: Habits, b: Habits) -> Self {
        Self::with(a, b, 1, Weather::default(), config())
    }

    pub(crate) fn with(a: Habits, b: Habits, seed: u64, weather: Weather, config: Config) -> Self {
        let now = start();
        let CertificatePolicy::PerProcess(certificate) = &config.certificates else { panic!("tests use one") };
        let engine = dtls::Config { certificate: Arc::clone(certificate), max_associations: 100 };
        let mut world = Self {
            now,
            engine: dtls::Engine::new(engine),
            relay: Relay::new(config, seeded(seed)),
            sockets: Fakes::default(),
            network: Network::new(seed, weather),
            a: Peer::new(a),
            b: Peer::new(b),
            news: Vec::new(),
            odd_a: Vec::new(),
            odd_b: Vec::new(),
            next_frame: now,
            associations: 1000,
        };
        world.relay.open_ice_port(&mut world.sockets).expect("nobody else has the port");
        let legs = vec![policy(A, &world.a.habits), policy(B, &world.b.habits)];
        world.create(legs);
        world
    }

    pub(crate) fn create(&mut self, legs: Vec<LegPolicy>) {
        let _ = self.command(Command::End { call: call() });
        self.command(Command::CreateCall { call: call(), legs }).expect("a call can be made");
    }

    pub(crate) fn command(&mut self, command: Command) -> Result<Reply, CommandError> {
        let reply = self.relay.handle_command(command, self.now, &mut self.sockets);
        self.drain();
        reply
    }

    pub(crate) fn local(&mut self, command: Command) -> Description {
        match self.command(command) {
            Ok(Reply::Local(description)) => description,
            other => panic!("not a description: {other:?}"),
        }
    }

    pub(crate) fn done(&mut self, command: Command) {
        assert_eq!(self.command(command), Ok(Reply::Done));
    }

    /// A calls B.
    pub(crate) fn call(&mut self) {
        self.call_from(A, B);
    }

    /// One calls the other: its offer becomes ours to the other, and the other's answer becomes ours to it.
    pub(crate) fn call_from(&mut self, caller: LegId, callee: LegId) {
        self.call_with(caller, callee, Vec::new());
    }

    /// The same, with feedback to be offered to the callee. Returns our offer and our answer.
    pub(crate) fn call_with(&mut self, caller: LegId, callee: LegId, feedback: Vec<Feedback>) -> [Description; 2] {
        let offer = self.peer(caller).offer();
        self.done(Command::RemoteOffer { call: call(), leg: caller, offer: offer.clone() });
        let mut handed = pathless(&offer);
        handed.streams.iter_mut().for_each(|stream| stream.feedback.clone_from(&feedback));
        let our_offer = self.local(Command::LocalOffer { call: call(), leg: callee, offer: handed });
        let now = self.now;
        let answer = self.peer(callee).answer(&our_offer, now);
        self.done(Command::RemoteAnswer { call: call(), leg: callee, answer: answer.clone() });
        let answer = Description { bundle: offer.bundle, ..pathless(&answer) };
        let our_answer = self.local(Command::LocalAnswer { call: call(), leg: caller, answer });
        self.peer(caller).take_answer(&our_answer, now);
        self.drain();
        [our_offer, our_answer]
    }

    pub(crate) fn peer(&mut self, leg: LegId) -> &mut Peer {
        if leg == A { &mut self.a } else { &mut self.b }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = [
                self.network.next_arrival(),
                self.relay.poll_timeout(),
                self.engine.poll_timeout(),
                self.a.poll_timeout(),
                self.b.poll_timeout(),
                Some(self.next_frame),
            ];
            let next = next.into_iter().flatten().min().expect("frames never end");
            if next > end {
                self.now = end;
                return;
            }
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        while let Some(datagram) = self.network.arrive(self.now) {
            self.deliver(&datagram);
        }
        if self.relay.poll_timeout().is_some_and(|at| at <= self.now) {
            self.relay.handle_timeout(self.now);
        }
        if self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.engine.handle_timeout(self.now);
        }
        self.a.handle_timeout(self.now);
        self.b.handle_timeout(self.now);
        if self.next_frame <= self.now {
            self.next_frame += FRAME;
            for datagram in self.a.talk().into_iter().chain(self.b.talk()) {
                self.network.send(datagram, self.now);
            }
        }
        self.drain();
    }

    fn deliver(&mut self, datagram: &Flying) {
        let to = self.sockets.open.iter().find(|(_, address)| **address == datagram.to).map(|(id, _)| *id);
        if let Some(arrived_on) = to {
            let _ = self.inject(arrived_on, datagram.from, &datagram.bytes);
        } else if !self.a.handle(datagram, self.now, &mut self.odd_a) {
            self.b.handle(datagram, self.now, &mut self.odd_b);
        }
        self.drain();
    }

    /// Gives the relay a datagram, and sends on what it makes of it.
    pub(crate) fn inject(&mut self, arrived_on: SocketId, from: SocketAddr, bytes: &[u8]) -> Result<bool, Dropped> {
        let mut buffer = bytes.to_vec();
        buffer.resize(bytes.len() + Datagram::TAIL_ROOM, 0);
        let datagram = Datagram { arrived_on, from, buffer: &mut buffer, length: bytes.len() };
        let forward = self.relay.handle_packet(datagram, self.now)?;
        let forwarded = forward.is_some();
        if let Some(relay::Forward { from, to, bytes }) = forward {
            let bytes = buffer[bytes].to_vec();
            self.network.send(Flying { from: self.sockets.open[&from], to, bytes }, self.now);
        }
        self.drain();
        Ok(forwarded)
    }

    fn drain(&mut self) {
        loop {
            while let Some(to) = self.relay.poll_dtls() {
                self.engine.handle(to, self.now);
            }
            let Some(from) = self.engine.poll() else { break };
            self.relay.handle_dtls(from, self.now);
        }
        while let Some(Transmit { from, to, bytes }) = self.relay.poll_transmit() {
            if let Some(from) = self.sockets.open.get(&from) {
                self.network.send(Flying { from: *from, to, bytes }, self.now);
            }
        }
        while let Some(id) = self.relay.poll_close() {
            self.sockets.close(id);
        }
        while let Some(event) = self.relay.poll_event() {
            assert_eq!(event.call, call());
            self.news.push(event.news);
        }
        for peer in [&mut self.a, &mut self.b] {
            for datagram in peer.drain(self.now, &mut self.associations) {
                self.network.send(datagram, self.now);
            }
        }
    }

    /// Forgets what was heard so far.
    pub(crate) fn forget(&mut self) {
        for stream in self.a.streams.iter_mut().chain(&mut self.b.streams) {
            stream.heard.clear();
        }
        self.odd_a.clear();
        self.odd_b.clear();
        self.news.clear();
    }

    /// How many packets each stream of each endpoint heard.
    pub(crate) fn heard(&self) -> (Vec<usize>, Vec<usize>) {
        let count = |peer: &Peer| peer.streams.iter().map(|stream| stream.heard.len()).collect();
        (count(&self.a), count(&self.b))
    }

    /// A socket of the relay, by the address it told a peer.
    pub(crate) fn socket(&self, address: SocketAddr) -> SocketId {
        *self.sockets.open.iter().find(|(_, open)| **open == address).expect("the relay told an open address").0
    }
}

pub(crate) fn call() -> CallId {
    CallId::from(CALL)
}

/// What the translator hands on: everything but the paths.
pub(crate) fn pathless(description: &Description) -> Description {
    let mut description = description.clone();
    for stream in &mut description.streams {
        stream.path = MediaPath::default();
    }
    description
}

pub(crate) fn audio_and_video() -> Vec<MediaKind> {
    vec![MediaKind::Audio, MediaKind::Video]
}

pub(crate) fn sdes(habits: Habits) -> Habits {
    Habits { security: Security::Sdes, ..habits }
}
