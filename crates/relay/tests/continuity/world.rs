//! A call through the relay, and everything that may happen to it.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::rtp::Header;
use model::{
    CallId, Command, CommandError, Description, Direction, DtmfDigit, IceRole, Learning, LegId, LegPolicy, MediaPath,
    PathPolicy, Reply, Security, SrtpSuite, Ssrc, StreamStatistics,
};
use relay::{
    Address, CertificatePolicy, Config, Datagram, Dropped, OpenError, PortShare, Relay, SocketId, Sockets, Traffic,
};

use crate::endpoint::{Endpoint, Kind};
use crate::network::{Dice, Flying, Network, Weather};
use crate::source::FRAME;
use crate::watcher::{Indices, nearest};

const A: LegId = LegId(0);
const B: LegId = LegId(1);
const START_OF_INDICES: u64 = 1 << 16;

/// The sockets that the relay thinks it has.
#[derive(Default)]
struct Fakes(HashMap<SocketId, SocketAddr>);

impl Sockets for Fakes {
    fn open(&mut self, id: SocketId, address: SocketAddr, _: Traffic) -> Result<(), OpenError> {
        self.0.insert(id, address);
        Ok(())
    }

    fn close(&mut self, id: SocketId) {
        self.0.remove(&id);
    }
}

/// The whole of a test.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) relay: Relay,
    pub(crate) network: Network,
    pub(crate) ends: [Endpoint; 2],
    pub(crate) dice: Dice,
    /// Which way media flows, as a hold towards each endpoint says.
    holds: [Direction; 2],
    /// What reached the relay from each endpoint.
    pub(crate) arrived: [Arrived; 2],
    /// Key presses that were asked for towards each endpoint.
    pub(crate) pressed: [u32; 2],
    sockets: Fakes,
    indices: Indices,
    start: Instant,
    next_frame: Instant,
}

/// The RTP packets of one source that reached the relay.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    pub(crate) packets: HashSet<Vec<u8>>,
    /// Of those that came twice, both, unless they are told apart by their protection.
    pub(crate) counted: u64,
    first: u64,
    highest: Option<u64>,
}

impl Arrived {
    fn count(&mut self, bytes: &[u8], is_protected: bool) {
        if !(128..=191).contains(&bytes[0]) || is_rtcp(bytes) {
            return;
        }
        let header = Header::parse(bytes).expect("an endpoint sends RTP");
        let index = nearest(self.highest, header.seq);
        self.first = if self.highest.is_none() { index } else { self.first };
        self.highest = self.highest.max(Some(index));
        let is_new = self.packets.insert(bytes.to_vec());
        self.counted += u64::from(is_new || !is_protected);
    }

    /// Packets from the first to the highest.
    pub(crate) fn expected(&self) -> i64 {
        self.highest.map_or(0, |highest| (highest + 1 - self.first).cast_signed())
    }

    /// Those that never came.
    pub(crate) fn missing(&self) -> u64 {
        self.expected().cast_unsigned() - self.packets.len() as u64
    }
}

/// What may happen to a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Happening {
    Hold,
    HoldWithStoppedClock,
    Silence,
    SsrcChange,
    SsrcChangeWithTail,
    Restart,
    OtherCodec,
    KeyPress,
    SameOffer,
    NewKeys,
    OtherSuite,
    OurOffer,
    IceRestart,
    Outage,
    Weather,
}

impl Happening {
    pub(crate) const ALL: [Self; 15] = [
        Self::Hold,
        Self::HoldWithStoppedClock,
        Self::Silence,
        Self::SsrcChange,
        Self::SsrcChangeWithTail,
        Self::Restart,
        Self::OtherCodec,
        Self::KeyPress,
        Self::SameOffer,
        Self::NewKeys,
        Self::OtherSuite,
        Self::OurOffer,
        Self::IceRestart,
        Self::Outage,
        Self::Weather,
    ];
}

impl World {
    pub(crate) fn new(a: Kind, b: Kind, seed: u64) -> Self {
        #[allow(clippy::disallowed_methods, reason = "any instant will do as the beginning of virtual time")]
        let now = Instant::now();
        let mut dice = Dice::new(seed);
        let certificate = Arc::new(dtls::Certificate::generate().expect("OpenSSL works"));
        let address = Address { name: None, bind: [198, 51, 100, 1].into(), advertise: None };
        let ports = PortShare { range: 30_000..=30_099, number: 0, of: 1 };
        let config = Config::new(vec![address], ports, CertificatePolicy::PerProcess(certificate));
        let mut random = Dice::new(seed ^ 0x5A5A);
        let random = move |bytes: &mut [u8]| {
            bytes.iter_mut().for_each(|byte| *byte = random.next().to_be_bytes()[3]);
            if let [_, _, _, _, time @ .., _, _] = bytes
                && time.len() == 4
            {
                (time[0], time[1]) = (0xFF, 0xFF); // a stream that begins with a timestamp that soon wraps
            }
        };
        let ends = [
            Endpoint::new(A, a, "192.0.2.10:5000", 111, 101, &mut dice),
            Endpoint::new(B, b, "192.0.2.20:5000", 96, 110, &mut dice),
        ];
        let mut world = Self {
            now,
            relay: Relay::new(config, Box::new(random)),
            network: Network::new(seed, Weather::default()),
            ends,
            dice,
            holds: [Direction::SendRecv; 2],
            arrived: [Arrived::default(), Arrived::default()],
            pressed: [0; 2],
            sockets: Fakes::default(),
            indices: Indices::default(),
            start: now,
            next_frame: now,
        };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        let legs = self.ends.iter().map(policy).collect();
        self.command(Command::CreateCall { call: call(), legs }).expect("a call can be made");
        let offer = self.ends[0].offer();
        self.done(Command::RemoteOffer { call: call(), leg: A, offer: offer.clone() });
        let other = pathless(&self.ends[1].offer()); // each endpoint has numbers of its own
        let ours = self.local(Command::LocalOffer { call: call(), leg: B, offer: other });
        let answer = self.ends[1].answer(&ours);
        self.done(Command::RemoteAnswer { call: call(), leg: B, answer: answer.clone() });
        self.ends[1].take(&ours, true, self.now);
        let ours = self.local(Command::LocalAnswer { call: call(), leg: A, answer: pathless(&offer) });
        self.ends[0].take(&ours, true, self.now);
        while !self.ends.iter().all(Endpoint::is_ready) {
            self.ends.iter_mut().for_each(|end| end.source.is_silent = true);
            self.run(FRAME);
        }
        self.ends.iter_mut().for_each(|end| end.source.is_silent = false);
        self.run(50 * FRAME);
    }

    fn command(&mut self, command: Command) -> Result<Reply, CommandError> {
        let reply = self.relay.handle_command(command, self.now, &mut self.sockets);
        self.drain();
        reply
    }

    fn done(&mut self, command: Command) {
        assert_eq!(self.command(command), Ok(Reply::Done));
    }

    fn local(&mut self, command: Command) -> Description {
        match self.command(command) {
            Ok(Reply::Local(description)) => description,
            other => panic!("not a description: {other:?}"),
        }
    }

    /// Lets one thing happen, and some time pass with it.
    pub(crate) fn happen(&mut self, what: Happening) {
        let side = usize::from(self.dice.below(2) == 0);
        let other = 1 - side;
        let while_it_lasts = FRAME * u32::try_from(50 + self.dice.below(300)).expect("seconds");
        match what {
            Happening::Hold => self.hold(side, while_it_lasts),
            Happening::HoldWithStoppedClock => {
                let source = &mut self.ends[other].source;
                (source.is_silent, source.stops_its_clock) = (true, true);
                self.ends[side].watcher.clock_stopped = true;
                self.hold_with(side, while_it_lasts, |world| {
                    // It begins again just before it is taken off hold, as phones do.
                    world.ends[other].source.is_silent = false;
                    world.run(5 * FRAME);
                    world.ends[side].watcher.clock_stopped = true;
                });
                self.ends[other].source.stops_its_clock = false;
            }
            Happening::Silence => {
                self.ends[side].source.is_silent = true;
                self.run(while_it_lasts);
                self.ends[side].source.is_silent = false;
            }
            Happening::SsrcChange => {
                self.run(10 * FRAME); // nothing of the old one is on its way
                self.ends[side].source.is_silent = true;
                self.run(10 * FRAME);
                self.ends[side].source.is_silent = false;
                self.ends[side].source.change_ssrc(&mut self.dice);
            }
            Happening::SsrcChangeWithTail => self.ends[side].source.change_ssrc(&mut self.dice),
            Happening::Restart if self.ends[side].kind.suites.is_empty() => {
                self.ends[side].source.restart(&mut self.dice);
            }
            // Under one key a sequence must not be begun again.
            Happening::Restart => {
                let source = &mut self.ends[side].source;
                source.seq = source.seq.wrapping_add(4000 + u16::try_from(self.dice.below(20_000)).expect("below"));
                source.time = any_time(&mut self.dice);
                source.run += 1;
            }
            Happening::OtherCodec => {
                let end = &mut self.ends[side];
                let [first, second] = end.formats;
                end.source.format = if end.source.format == first { second } else { first };
                if self.dice.below(2) == 0 {
                    end.source.time = any_time(&mut self.dice); // not as RFC 7160 has it
                    end.source.run += 1;
                }
            }
            Happening::KeyPress => {
                let digit = DtmfDigit::from_event(u8::try_from(self.dice.below(16)).expect("below")).expect("a key");
                let duration_ms = 40 + u32::try_from(self.dice.below(400)).expect("below");
                let leg = self.ends[side].leg;
                self.done(Command::SendDtmf { call: call(), leg, digit, duration_ms });
                self.pressed[side] += 1;
            }
            Happening::SameOffer => self.offer(side, true),
            Happening::NewKeys => self.offer_new_keys(side),
            Happening::OtherSuite => {
                self.ends[side].rotate_suites();
                self.offer_new_keys(side);
            }
            Happening::OurOffer => {
                let (leg, now) = (self.ends[side].leg, self.now);
                let offer = pathless(&self.ends[side].offer());
                let ours = self.local(Command::LocalOffer { call: call(), leg, offer });
                let answer = self.ends[side].answer(&ours);
                self.done(Command::RemoteAnswer { call: call(), leg, answer });
                self.ends[side].take(&ours, true, now);
            }
            Happening::IceRestart => self.restart_ice(side),
            Happening::Outage => {
                let ip = self.ends[side].address.ip();
                self.network.cut.push(ip);
                let frames = u32::try_from(self.dice.below(100)).expect("below");
                self.run(FRAME * frames);
                self.network.cut.clear();
            }
            Happening::Weather => {
                let jitter = Duration::from_millis(self.dice.below(51));
                self.network.weather = Weather { loss: self.dice.below(50), duplication: self.dice.below(20), jitter };
                for end in &mut self.ends {
                    end.watcher.jitter = end.watcher.jitter.max(jitter);
                }
            }
        }
    }

    fn hold(&mut self, side: usize, time: Duration) {
        self.hold_with(side, time, |_| {});
    }

    fn hold_with(&mut self, side: usize, time: Duration, before_it_ends: impl FnOnce(&mut Self)) {
        let leg = self.ends[side].leg;
        let direction = if self.dice.below(2) == 0 { Direction::RecvOnly } else { Direction::Inactive };
        self.done(Command::Hold { call: call(), leg, direction });
        self.holds[side] = direction;
        self.run(time);
        before_it_ends(self);
        self.done(Command::Hold { call: call(), leg, direction: Direction::SendRecv });
        self.holds[side] = Direction::SendRecv;
        self.ends.iter_mut().for_each(|end| end.watcher.is_interrupted = true);
    }

    /// The endpoint offers again, and the relay answers.
    /// Only new keys let a peer begin its rollover counter anew: under those it had, indices would come twice.
    fn offer_new_keys(&mut self, side: usize) {
        self.ends[side].draw_keys(&mut self.dice);
        let keeps_rollovers = self.dice.below(2) == 0;
        self.offer(side, keeps_rollovers);
    }

    fn offer(&mut self, side: usize, keeps_rollovers: bool) {
        let (leg, now) = (self.ends[side].leg, self.now);
        let offer = self.ends[side].offer();
        self.done(Command::RemoteOffer { call: call(), leg, offer: offer.clone() });
        let ours = self.local(Command::LocalAnswer { call: call(), leg, answer: pathless(&offer) });
        self.ends[side].take(&ours, keeps_rollovers, now);
    }

    fn restart_ice(&mut self, side: usize) {
        let (leg, now) = (self.ends[side].leg, self.now);
        let Some(theirs) = self.ends[side].restart_ice(now) else { return };
        let restart = Command::RestartIce { call: call(), leg, stream: None, remote: Some(theirs) };
        let Ok(Reply::Restarted(paths)) = self.command(restart) else { panic!("ICE is restarted") };
        self.ends[side].take_restart(&paths[0].ice, &paths[0].candidates, now);
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = [self.network.next_arrival(), self.relay.poll_timeout(), Some(self.next_frame)];
            let agents = self.ends.iter().filter_map(|end| end.agent.as_ref()?.poll_timeout());
            let next = next.into_iter().flatten().chain(agents).min().expect("frames never end");
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
            self.deliver(datagram);
        }
        if self.relay.poll_timeout().is_some_and(|at| at <= self.now) {
            self.relay.handle_timeout(self.now);
        }
        for agent in self.ends.iter_mut().filter_map(|end| end.agent.as_mut()) {
            if agent.poll_timeout().is_some_and(|at| at <= self.now) {
                agent.handle_timeout(self.now);
            }
        }
        if self.next_frame <= self.now {
            self.next_frame += FRAME;
            for end in &mut self.ends {
                if let Some(to) = end.destination()
                    && let Some(bytes) = end.talk(self.start, self.now)
                {
                    self.network.send(Flying { from: end.address, to, bytes }, self.now);
                }
            }
        }
        self.drain();
    }

    fn deliver(&mut self, datagram: Flying) {
        let Flying { from, to, bytes } = datagram;
        let socket = self.sockets.0.iter().find(|(_, address)| **address == to).map(|(id, _)| *id);
        if let Some(arrived_on) = socket {
            let side = usize::from(from == self.ends[1].address);
            let is_protected = !self.ends[side].kind.suites.is_empty();
            self.arrived[side].count(&bytes, is_protected);
            let length = bytes.len();
            let mut buffer = bytes;
            buffer.resize(length + Datagram::TAIL_ROOM, 0);
            let datagram = Datagram { arrived_on, from, buffer: &mut buffer, length };
            if let Ok(Some(forward)) = self.relay.handle_packet(datagram, self.now) {
                let bytes = buffer[forward.bytes].to_vec();
                self.leave(forward.from, forward.to, bytes);
            }
        } else if let Some(end) = self.ends.iter_mut().find(|end| end.address == to) {
            match (bytes[0], &mut end.agent) {
                (0..=3, Some(agent)) => {
                    let _ = agent.handle_packet(&bytes, ice::Pair { local: to, remote: from }, self.now);
                }
                (0..=3, None) => {}
                _ if is_rtcp(&bytes) || end.kind.suites.is_empty() => {}
                _ => assert!(end.behind.open(&bytes).is_some(), "the receiver opens what reaches it"),
            }
        }
        self.drain();
    }

    /// Sees what leaves the relay, and gives it to the network.
    fn leave(&mut self, from: SocketId, to: SocketAddr, bytes: Vec<u8>) {
        let end = self.ends.iter_mut().find(|end| end.address == to).expect("it goes to one of them");
        let is_plain = end.kind.suites.is_empty();
        if (128..=191).contains(&bytes[0]) && is_rtcp(&bytes) {
            if let Some((key, tag)) = end.before.newest() {
                let index = bytes[..bytes.len() - tag].last_chunk().expect("an SRTCP index");
                let ssrc = Ssrc(u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]));
                let index = u64::from(u32::from_be_bytes(*index));
                self.indices.used(key.key_and_salt.reveal(), "SRTCP", ssrc, index);
            }
        } else if (128..=191).contains(&bytes[0]) {
            let (plain, key) = match is_plain {
                true => (bytes.clone(), None),
                false => end.before.open(&bytes).map(|(plain, key)| (plain, Some(key))).expect("a receiver opens it"),
            };
            let header = Header::parse(&plain).expect("the relay sends RTP");
            let payload = header.payload(&plain).expect("with good padding");
            let index = end.watcher.see(&header, &plain[payload], self.now);
            if let Some(key) = key {
                self.indices.used(&key, "SRTP", header.ssrc, index - START_OF_INDICES);
            }
        }
        self.network.send(Flying { from: self.sockets.0[&from], to, bytes }, self.now);
    }

    fn drain(&mut self) {
        while let Some(relay::Transmit { from, to, bytes }) = self.relay.poll_transmit() {
            if self.sockets.0.contains_key(&from) {
                self.leave(from, to, bytes);
            }
        }
        while self.relay.poll_dtls().is_some() || self.relay.poll_event().is_some() {}
        for end in &mut self.ends {
            let Some(agent) = &mut end.agent else { continue };
            while let Some(transmit) = agent.poll_transmit() {
                let ice::Pair { local: from, remote: to } = transmit.pair;
                self.network.send(Flying { from, to, bytes: transmit.bytes }, self.now);
            }
            while agent.poll_event().is_some() {}
        }
    }

    /// What the relay counted of what an endpoint sends.
    pub(crate) fn figures(&mut self, side: usize) -> StreamStatistics {
        let Ok(Reply::Statistics(figures)) = self.command(Command::Query { call: call() }) else {
            panic!("no figures")
        };
        figures.legs[side].streams[0].clone()
    }

    /// What the relay dropped for a reason.
    pub(crate) fn dropped(&self, reason: Dropped) -> u64 {
        self.relay.counters().dropped(reason)
    }
}

fn any_time(dice: &mut Dice) -> u32 {
    let [a, b, c, d, ..] = dice.next().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn is_rtcp(bytes: &[u8]) -> bool {
    (192..=223).contains(&bytes[1])
}

fn policy(end: &Endpoint) -> LegPolicy {
    let is_plain = end.kind.suites.is_empty();
    LegPolicy {
        path: if end.kind.ice {
            PathPolicy::Ice { role: IceRole::Offerer, required: true }
        } else {
            PathPolicy::Plain { learning: Learning::Off }
        },
        security: vec![if is_plain { Security::Rtp } else { Security::Sdes }],
        suites: if is_plain { SrtpSuite::ALL.to_vec() } else { end.kind.suites.clone() },
        rtcp_mux: true,
        ..LegPolicy::plain_sip(end.leg)
    }
}

fn call() -> CallId {
    CallId::from(7)
}

fn pathless(description: &Description) -> Description {
    let mut description = description.clone();
    for stream in &mut description.streams {
        stream.path = MediaPath::default();
    }
    description
}
