//! What keeps a connected ICE agent going: a check of the peer, and the peer's answer to a consent check of ours.
//!
//! `cargo bench -p stox-ice --bench ice`
//!
//! Two agents on virtual time make each other's messages, so that no transaction comes twice. One message is measured
//! at a time, which adds the price of reading the clock twice.

mod measure;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::Instant;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use ice::{Agent, Config, LocalAddress, Pair, Role};
use model::Component;

const REQUEST: [u8; 2] = [0x00, 0x01];
const SUCCESS: [u8; 2] = [0x01, 0x01];

/// Our agent, its peer, and the wire between them.
struct Agents {
    ours: Agent,
    peer: Agent,
    here: SocketAddr,
    there: SocketAddr,
    now: Instant,
}

impl Agents {
    /// Agents that have selected their pair.
    fn connected() -> Self {
        let (here, there) = (([192, 0, 2, 1], 30_000).into(), ([198, 51, 100, 1], 40_000).into());
        let (ours, peer) = (agent(Role::Controlled, here), agent(Role::Controlling, there));
        let mut agents = Self { ours, peer, here, there, now: start() };
        introduce(&mut agents.ours, &agents.peer, agents.now);
        introduce(&mut agents.peer, &agents.ours, agents.now);
        while agents.ours.selected().is_none() || agents.peer.selected().is_none() {
            let request = agents.next_to_us(REQUEST);
            agents.handle(&request);
        }
        agents
    }

    /// Lets time pass until the peer sends a message of this type, which does not reach us.
    fn next_to_us(&mut self, message_type: [u8; 2]) -> Vec<u8> {
        loop {
            while let Some(transmit) = self.peer.poll_transmit() {
                if transmit.bytes.starts_with(&message_type) {
                    return transmit.bytes;
                }
                self.handle(&transmit.bytes);
            }
            match self.ours.poll_transmit() {
                Some(transmit) => {
                    let pair = Pair { local: self.there, remote: self.here };
                    self.peer.handle_packet(&transmit.bytes, pair, self.now).expect("it is used");
                }
                None => self.wait(),
            }
        }
    }

    /// Lets our agent have a message.
    fn handle(&mut self, message: &[u8]) {
        let pair = Pair { local: self.here, remote: self.there };
        self.ours.handle_packet(message, pair, self.now).expect("it is used");
    }

    fn wait(&mut self) {
        let due = [self.ours.poll_timeout(), self.peer.poll_timeout()].into_iter().flatten().min();
        self.now = self.now.max(due.expect("consent is asked for again and again"));
        for agent in [&mut self.ours, &mut self.peer] {
            agent.handle_timeout(self.now);
            while agent.poll_event().is_some() {}
        }
    }
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ice");
    for (name, message_type) in [("a request, answered", REQUEST), ("a response to a consent check", SUCCESS)] {
        let agents = RefCell::new(Agents::connected());
        measure::each(
            &mut group,
            name,
            BatchSize::PerIteration,
            || agents.borrow_mut().next_to_us(message_type),
            |message| agents.borrow_mut().handle(message),
        );
        assert!(agents.borrow().ours.selected().is_some(), "consent was kept all the time");
    }
    group.finish();
}

/// Tells one agent of the other, as signalling does.
fn introduce(one: &mut Agent, other: &Agent, now: Instant) {
    one.set_remote_credentials(other.local_credentials(), now).expect("good credentials");
    for candidate in other.local_candidates() {
        one.add_remote_candidate(&candidate, None, now).expect("a good candidate");
    }
}

fn agent(role: Role, bound: SocketAddr) -> Agent {
    Agent::new(Config {
        component: Component::Rtp,
        role,
        credentials: ice::new_credentials(),
        tie_breaker: ice::new_tie_breaker(),
        addresses: vec![LocalAddress { bound, advertised: None }],
    })
    .expect("a good address")
}

#[allow(clippy::disallowed_methods, reason = "any instant will do as the beginning of virtual time")]
fn start() -> Instant {
    Instant::now()
}

criterion_group!(benches, messages);
criterion_main!(benches);
