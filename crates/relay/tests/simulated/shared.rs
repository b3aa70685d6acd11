//! Many legs on one port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use media::rtp::Header;
use model::{CallId, Command, Component, IceState, LegPolicy, News, Reply, Security, Setup};
use relay::{Config, Datagram, Dropped, Forward, Relay, SocketId, Sockets};

use crate::network::{Flying, Weather};
use crate::peer::{Habits, Peer};
use crate::world::{A, B, Fakes, World, audio_and_video, call, config, pathless, policy, seeded, start};

const SECOND: Duration = Duration::from_secs(1);
const ICE_PORT: u16 = 3478;

fn shared() -> Config {
    Config { ice_port: Some(ICE_PORT), ..config() }
}

#[test]
fn a_leg_on_the_shared_port_is_like_any_other() {
    let kinds = audio_and_video();
    let clients = [
        Habits::jingle(),
        Habits { setup: Setup::Passive, ..Habits::jingle() },
        Habits { rtcp_mux: false, ..Habits::jingle() },
        Habits { kinds: kinds.clone(), ..Habits::jingle() },
        Habits { kinds, bundle: false, rtcp_mux: false, ..Habits::jingle() },
    ];
    let weather = Weather { loss: 50, duplication: 50, jitter: Duration::from_millis(20) };
    for (seed, client) in (1..).zip(&clients) {
        for ((caller, callee), weather) in [((A, B), Weather::default()), ((B, A), weather)] {
            let phone = Habits { kinds: client.kinds.clone(), ..Habits::phone() };
            let mut world = World::with(client.clone(), phone, seed, weather, shared());
            world.call_from(caller, callee);
            world.run(10 * SECOND);
            world.forget();
            world.run(2 * SECOND);
            let (a, b) = world.heard();
            assert!(a.iter().chain(&b).all(|heard| *heard > 80), "{caller:?} calls: {a:?} {b:?} {:?}", world.relay);
            let shared = world.sockets.open.values().filter(|open| open.port() == ICE_PORT).count();
            assert_eq!(shared, 1);
            let to = world.a.transports[0].rtp.destination();
            assert_eq!(to.map(|to| to.port()), Some(ICE_PORT), "muxed or not, RTP is there");
        }
    }
}

#[test]
fn a_muxed_leg_that_is_called_opens_no_socket() {
    let mut world = World::with(Habits::jingle(), Habits::phone(), 1, Weather::default(), shared());
    let offer = world.a.offer();
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    world.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
    assert_eq!(world.sockets.open.len(), 1);
    assert_eq!(world.command(Command::End { call: call() }).map(drop), Ok(()));
    assert_eq!(world.sockets.open.len(), 1, "the shared port stays");
}

#[test]
fn a_leg_that_may_do_without_ice_has_a_port_of_its_own() {
    let mut world = World::with(Habits::jingle(), Habits::phone(), 1, Weather::default(), shared());
    let path = model::PathPolicy::Ice { role: model::IceRole::Offerer, required: false };
    let legs = vec![policy(A, &world.a.habits), LegPolicy { path, ..policy(B, &world.b.habits) }];
    world.create(legs);
    let offer = world.a.offer();
    world.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
    let ours = world.local(Command::LocalOffer { call: call(), leg: B, offer: pathless(&offer) });
    assert!(ours.streams[0].path.candidates.iter().all(|candidate| candidate.address.port() != ICE_PORT));
}

/// Many calls between clients with ICE and plain phones, without a network between: what is sent arrives.
struct Crowd {
    relay: Relay,
    sockets: Fakes,
    now: Instant,
    /// Each call's client and phone.
    pairs: Vec<(Peer, Peer)>,
    /// What the relay sent to whom, beside STUN.
    heard: Vec<(SocketAddr, Vec<u8>)>,
}

const SHARED: SocketId = SocketId(0);

impl Crowd {
    fn new() -> Self {
        let ports = relay::PortShare { range: 20_000..=29_999, number: 0, of: 1 };
        let mut relay = Relay::new(Config { ports, max_calls: 2000, ..shared() }, seeded(1));
        let mut sockets = Fakes::default();
        relay.open_ice_port(&mut sockets).expect("nobody else has the port");
        Self { relay, sockets, now: start(), pairs: Vec::new(), heard: Vec::new() }
    }

    fn command(&mut self, command: Command) -> Reply {
        self.relay.handle_command(command, self.now, &mut self.sockets).expect("a good command")
    }

    fn local(&mut self, command: Command) -> model::Description {
        match self.command(command) {
            Reply::Local(description) => description,
            other @ (Reply::Done | Reply::Restarted(_) | Reply::Statistics(_)) => {
                panic!("not a description: {other:?}")
            }
        }
    }

    /// Begins one more call, from a client at an address.
    fn call_from(&mut self, client: IpAddr) {
        let number = self.pairs.len();
        let call = CallId::from(number as u64);
        let habits = Habits { ip: client, security: Security::Rtp, ..Habits::jingle() };
        let (mut client, mut phone) =
            (Peer::new(habits), Peer::new(Habits { ip: numbered(19, number), ..Habits::phone() }));
        self.command(Command::CreateCall { call, legs: vec![policy(A, &client.habits), policy(B, &phone.habits)] });
        let offer = client.offer();
        self.command(Command::RemoteOffer { call, leg: A, offer: offer.clone() });
        let ours = self.local(Command::LocalOffer { call, leg: B, offer: pathless(&offer) });
        let answer = phone.answer(&ours, self.now);
        self.command(Command::RemoteAnswer { call, leg: B, answer: answer.clone() });
        let ours = self.local(Command::LocalAnswer { call, leg: A, answer: pathless(&answer) });
        client.take_answer(&ours, self.now);
        self.pairs.push((client, phone));
    }

    fn end(&mut self, number: usize) {
        self.command(Command::End { call: CallId::from(number as u64) });
    }

    fn packet(&mut self, arrived_on: SocketId, from: SocketAddr, bytes: &[u8]) -> Result<bool, Dropped> {
        let mut buffer = bytes.to_vec();
        buffer.resize(bytes.len() + Datagram::TAIL_ROOM, 0);
        let datagram = Datagram { arrived_on, from, buffer: &mut buffer, length: bytes.len() };
        let forward = self.relay.handle_packet(datagram, self.now)?;
        let forwarded = forward.is_some();
        if let Some(Forward { to, bytes, .. }) = forward {
            self.heard.push((to, buffer[bytes].to_vec()));
        }
        Ok(forwarded)
    }

    /// A packet of a call's client.
    fn say(&mut self, number: usize) -> Option<Result<bool, Dropped>> {
        let Flying { from, bytes, .. } = self.pairs[number].0.talk().pop()?;
        Some(self.packet(SHARED, from, &bytes))
    }

    /// Lets time pass, and STUN with it.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += Duration::from_millis(50);
            if self.relay.poll_timeout().is_some_and(|at| at <= self.now) {
                self.relay.handle_timeout(self.now);
            }
            for (client, _) in &mut self.pairs {
                client.handle_timeout(self.now);
            }
            while self.exchange() {}
        }
    }

    fn exchange(&mut self) -> bool {
        let (now, mut associations) = (self.now, 0);
        let sent: Vec<Flying> = self.pairs.iter_mut().flat_map(|pair| pair.0.drain(now, &mut associations)).collect();
        let went = !sent.is_empty();
        for Flying { from, bytes, .. } in sent {
            let _ = self.packet(SHARED, from, &bytes);
        }
        let mut came = false;
        while let Some(transmit) = self.relay.poll_transmit() {
            came = true;
            let flying = Flying { from: self.sockets.open[&transmit.from], to: transmit.to, bytes: transmit.bytes };
            // An address is its newest owner's.
            self.pairs.iter_mut().rev().any(|(client, _)| client.handle(&flying, now, &mut Vec::new()));
        }
        went || came
    }

    /// The calls whose leg with ICE has a pair, since this was last asked.
    fn connected(&mut self) -> Vec<u64> {
        let events = std::iter::from_fn(|| self.relay.poll_event());
        let is_connected =
            |news: &News| matches!(news, News::Ice { state: IceState::Connected, component: Component::Rtp, .. });
        events.filter(|event| is_connected(&event.news)).map(|event| u64::from(event.call)).collect()
    }
}

fn numbered(net: u8, number: usize) -> IpAddr {
    let [.., high, low] = number.to_be_bytes();
    Ipv4Addr::new(198, net, high, low).into()
}

#[test]
fn a_thousand_legs_share_a_port_and_none_hears_another_s() {
    const CALLS: usize = 1000;
    let mut crowd = Crowd::new();
    (0..CALLS).for_each(|number| crowd.call_from(numbered(18, number)));
    crowd.run(2 * SECOND);
    assert_eq!(crowd.connected().len(), CALLS);
    assert_eq!(crowd.sockets.open.len(), 1 + 2 * CALLS, "the phones have two ports each, the clients one together");
    for number in 0..CALLS {
        crowd.heard.clear();
        assert_eq!(crowd.say(number), Some(Ok(true)));
        let phone = crowd.pairs[number].1.transports[0].rtp.address;
        let [(to, bytes)] = crowd.heard.as_slice() else { panic!("{:?}", crowd.heard) };
        assert_eq!(*to, phone);
        assert!(Header::parse(bytes).is_ok());
    }
    let checks: Vec<Flying> = crowd.pairs.iter_mut().flat_map(|pair| pair.0.talk()).collect();
    (0..CALLS).for_each(|number| crowd.end(number));
    while crowd.relay.poll_transmit().is_some() {} // goodbyes
    while let Some(socket) = crowd.relay.poll_close() {
        crowd.sockets.close(socket);
    }
    assert_eq!((crowd.sockets.open.len(), crowd.relay.counters().ports_in_use), (1, 1));
    for Flying { from, bytes, .. } in checks {
        assert_eq!(crowd.packet(SHARED, from, &bytes), Err(Dropped::UnknownSource), "nothing is left of its leg");
    }
}

#[test]
fn a_stranger_at_the_shared_port_is_not_answered() {
    let mut crowd = Crowd::new();
    crowd.call_from(numbered(18, 0));
    crowd.run(SECOND);
    while crowd.relay.poll_transmit().is_some() {}
    let stranger: SocketAddr = "203.0.113.66:5000".parse().expect("a literal address");
    let mut other = Crowd::new();
    other.call_from(numbered(18, 0));
    other.now += SECOND;
    other.pairs[0].0.handle_timeout(other.now);
    let check = other.pairs[0].0.drain(other.now, &mut 0).pop().expect("it checks").bytes;
    let mut response = check.clone();
    response[0] = 1;
    for (bytes, reason) in [
        (check.as_slice(), Dropped::StunUsername),
        (&response, Dropped::StunResponse),
        (&check[..19], Dropped::StunMalformed),
        (&[22, 254, 253, 0], Dropped::UnknownSource),
        (&[0x80, 0, 0, 1], Dropped::UnknownSource),
        (&[], Dropped::Empty),
    ] {
        let before = crowd.relay.counters().dropped(reason);
        assert_eq!(crowd.packet(SHARED, stranger, bytes), Err(reason));
        assert_eq!(crowd.relay.counters().dropped(reason), before + 1);
        assert_eq!(crowd.relay.poll_transmit(), None);
    }
}

#[test]
fn a_source_goes_to_the_next_call_when_its_own_is_over() {
    let mut crowd = Crowd::new();
    crowd.call_from(numbered(18, 0));
    crowd.run(SECOND);
    crowd.end(0);
    crowd.call_from(numbered(18, 0));
    crowd.run(SECOND);
    assert_eq!(crowd.connected(), [0, 1]);
    let _ = crowd.say(1);
    assert_eq!(crowd.say(1), Some(Ok(true)));
    assert_eq!(crowd.heard[0].0, crowd.pairs[1].1.transports[0].rtp.address);
}

#[test]
fn a_client_that_begins_anew_gets_its_address_back_once_its_old_call_is_silent() {
    let mut crowd = Crowd::new();
    crowd.call_from(numbered(18, 0));
    crowd.run(SECOND);
    crowd.call_from(numbered(18, 0)); // the first call does not end, but nobody answers for it any more
    crowd.run(SECOND);
    assert_eq!(crowd.connected(), [0, 1]);
    assert!(crowd.relay.counters().dropped(Dropped::SourceTaken) > 0, "it is still the first call's");
    crowd.run(15 * SECOND);
    crowd.heard.clear();
    let _ = crowd.say(1);
    assert_eq!(crowd.say(1), Some(Ok(true)));
    assert_eq!(crowd.heard[0].0, crowd.pairs[1].1.transports[0].rtp.address);
}
