//! Two agents and a network between them, on virtual time. Loss and delay come from a seed.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use ice::{Agent, Config, Event, LocalAddress, Pair, Role};
use model::{Component, IceState};

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

/// Anything that takes and gives datagrams on virtual time.
pub(crate) trait Peer {
    fn handle_packet(&mut self, datagram: &[u8], pair: Pair, now: Instant);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_transmit(&mut self) -> Option<ice::Transmit>;
    fn poll_timeout(&mut self) -> Option<Instant>;
}

impl Peer for Agent {
    fn handle_packet(&mut self, datagram: &[u8], pair: Pair, now: Instant) {
        let _ = Agent::handle_packet(self, datagram, pair, now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        Agent::handle_timeout(self, now);
    }

    fn poll_transmit(&mut self) -> Option<ice::Transmit> {
        Agent::poll_transmit(self)
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        Agent::poll_timeout(self)
    }
}

pub(crate) struct Network<X, Y> {
    pub(crate) a: X,
    pub(crate) b: Y,
    pub(crate) now: Instant,
    pub(crate) began: Instant,
    /// Percent of datagrams that are lost.
    pub(crate) loss: u64,
    /// Nothing arrives at these addresses.
    pub(crate) dead: HashSet<IpAddr>,
    /// 1:1 NATs: the public address and the private one behind it.
    pub(crate) nats: Vec<(SocketAddr, SocketAddr)>,
    pub(crate) sent: u64,
    seed: u64,
    in_flight: BTreeMap<(Instant, u64), (usize, Pair, Vec<u8>)>,
}

impl<X: Peer, Y: Peer> Network<X, Y> {
    pub(crate) fn new(a: X, b: Y, now: Instant, seed: u64) -> Self {
        Self {
            a,
            b,
            now,
            began: now,
            loss: 0,
            dead: HashSet::new(),
            nats: Vec::new(),
            sent: 0,
            seed,
            in_flight: BTreeMap::new(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.began
    }

    /// Runs until the condition holds, or the time is over: then says so.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn(&X, &Y) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.carry();
            if done(&self.a, &self.b) {
                return true;
            }
            let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
            let next = [arrival, self.a.poll_timeout(), self.b.poll_timeout()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return false;
            };
            self.now = self.now.max(next);
            while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (to, pair, datagram) = entry.remove();
                match to {
                    A => self.a.handle_packet(&datagram, pair, self.now),
                    _ => self.b.handle_packet(&datagram, pair, self.now),
                }
                self.carry();
            }
            if self.a.poll_timeout().is_some_and(|at| at <= self.now) {
                self.a.handle_timeout(self.now);
            }
            if self.b.poll_timeout().is_some_and(|at| at <= self.now) {
                self.b.handle_timeout(self.now);
            }
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(time, |_, _| false);
    }

    fn carry(&mut self) {
        while let Some(transmit) = self.a.poll_transmit() {
            self.send(B, transmit);
        }
        while let Some(transmit) = self.b.poll_transmit() {
            self.send(A, transmit);
        }
    }

    fn send(&mut self, to: usize, transmit: ice::Transmit) {
        let ice::Transmit { pair: Pair { local, remote }, bytes } = transmit;
        self.sent += 1;
        let public = self.nats.iter().find(|(_, private)| *private == local).map_or(local, |(public, _)| *public);
        let private = self.nats.iter().find(|(public, _)| *public == remote).map_or(remote, |(_, private)| *private);
        let hidden = self.nats.iter().any(|(_, private)| *private == remote);
        let unreachable = hidden || self.dead.contains(&remote.ip()) || self.dead.contains(&local.ip());
        if unreachable || self.random() % 100 < self.loss {
            return;
        }
        let delay = Duration::from_millis(20 + self.random() % 60);
        let arrived = Pair { local: private, remote: public };
        let order = self.random();
        self.in_flight.insert((self.now + delay, order), (to, arrived, bytes));
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A clock's only reading; everything after is virtual.
pub(crate) fn start() -> Instant {
    #[allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    Instant::now()
}

pub(crate) fn agent(role: Role, addresses: &[&str]) -> Agent {
    let addresses = addresses.iter().map(|bound| LocalAddress { bound: address(bound), advertised: None }).collect();
    agent_at(role, addresses)
}

pub(crate) fn agent_at(role: Role, addresses: Vec<LocalAddress>) -> Agent {
    let credentials = ice::new_credentials();
    let tie_breaker = ice::new_tie_breaker();
    Agent::new(Config { component: Component::Rtp, role, credentials, tie_breaker, addresses })
        .expect("the addresses of the tests are fit")
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().expect("the addresses of the tests are addresses")
}

/// Tells one agent of the other's credentials.
pub(crate) fn introduce(to: &mut Agent, other: &Agent, now: Instant) {
    to.set_remote_credentials(other.local_credentials(), now).expect("our credentials are well-formed");
}

/// Tells one agent of the other's candidates.
pub(crate) fn trickle(to: &mut Agent, other: &Agent, now: Instant) {
    let ufrag = other.local_credentials().ufrag.clone();
    for candidate in other.local_candidates() {
        to.add_remote_candidate(&candidate, Some(&ufrag), now).expect("our candidates are fit");
    }
}

pub(crate) fn events(agent: &mut Agent) -> Vec<Event> {
    std::iter::from_fn(|| agent.poll_event()).collect()
}

pub(crate) fn connected(a: &Agent, b: &Agent) -> bool {
    a.state() == IceState::Connected && b.state() == IceState::Connected
}
