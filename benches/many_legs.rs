//! One packet through the relay core when it has few legs or many, on ports of their own and on the shared one.
//!
//! 172-byte RTP packets (20 ms of G.711) between clients with ICE and plain phones, one from each client in turn, in a
//! single thread and without any input or output: `cargo bench -p stox-relay --bench many_legs`.

mod measure;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use media::rtp::{FIXED_HEADER, Header, RtpTime, SeqNo};
use model::{
    CallId, Codec, Command, Component, Description, LegId, LegPolicy, MediaKind, MediaPath, MediaStream, PayloadType,
    Reply, Security, Ssrc, StreamId,
};
use relay::{
    Address, CertificatePolicy, Config, Datagram, OpenError, PortShare, Relay, SocketId, Sockets, Traffic, Transmit,
};

const CLIENT: LegId = LegId(0);
const PHONE: LegId = LegId(1);

/// Which socket of the relay is bound to which address.
#[derive(Default)]
struct Bound(HashMap<SocketAddr, SocketId>, HashMap<SocketId, SocketAddr>);

impl Sockets for Bound {
    fn open(&mut self, id: SocketId, address: SocketAddr, _: Traffic) -> Result<(), OpenError> {
        self.0.insert(address, id);
        self.1.insert(id, address);
        Ok(())
    }

    fn close(&mut self, id: SocketId) {
        if let Some(address) = self.1.remove(&id) {
            self.0.remove(&address);
        }
    }
}

/// A relay with many calls that are up.
struct Exchange {
    relay: Relay,
    sockets: Bound,
    now: Instant,
    clients: Vec<Client>,
    next: usize,
    round: u16,
}

struct Client {
    agent: ice::Agent,
    address: SocketAddr,
    /// The socket of the relay that it sends to.
    to: SocketId,
}

impl Exchange {
    fn new(calls: usize, ice_port: Option<u16>) -> Self {
        let address = Address { name: None, bind: [198, 51, 100, 1].into(), advertise: None };
        let ports = PortShare { range: 2048..=u16::MAX, number: 0, of: 1 };
        let certificate = Arc::new(dtls::Certificate::generate().expect("OpenSSL works"));
        let config = Config {
            ice_port,
            max_calls: calls,
            max_streams: 2 * calls,
            ..Config::new(vec![address], ports, CertificatePolicy::PerProcess(certificate))
        };
        let mut seed = 1_u64;
        let random = move |bytes: &mut [u8]| {
            bytes.fill_with(|| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed.to_be_bytes()[0]
            });
        };
        let mut relay = Relay::new(config, Box::new(random));
        let mut sockets = Bound::default();
        relay.open_ice_port(&mut sockets).expect("nothing is refused");
        let mut exchange = Self { relay, sockets, now: start(), clients: Vec::new(), next: 0, round: 0 };
        (0..calls).for_each(|number| exchange.call(number));
        exchange.connect();
        exchange
    }

    fn command(&mut self, command: Command) -> Option<Description> {
        match self.relay.handle_command(command, self.now, &mut self.sockets).expect("a good command") {
            Reply::Local(description) => Some(description),
            Reply::Done | Reply::Restarted(_) | Reply::Statistics(_) => None,
        }
    }

    fn call(&mut self, number: usize) {
        let call = CallId::from(number as u64);
        let address = SocketAddr::new(numbered(18, number), 5000);
        let mut agent = ice::Agent::new(ice::Config {
            component: Component::Rtp,
            role: ice::Role::Controlling,
            credentials: ice::new_credentials(),
            tie_breaker: ice::new_tie_breaker(),
            addresses: vec![ice::LocalAddress { bound: address, advertised: None }],
        })
        .expect("a good address");
        let client = LegPolicy { security: vec![Security::Rtp], ..LegPolicy::jingle(CLIENT) };
        self.command(Command::CreateCall { call, legs: vec![client, LegPolicy::plain_sip(PHONE)] });
        let offer = sound(MediaPath {
            rtp: Some(address),
            rtcp_mux: true,
            ice: Some(agent.local_credentials().clone()),
            candidates: agent.local_candidates(),
            ..MediaPath::default()
        });
        let phone = sound(MediaPath { rtp: Some(SocketAddr::new(numbered(19, number), 4000)), ..MediaPath::default() });
        self.command(Command::RemoteOffer { call, leg: CLIENT, offer });
        self.command(Command::LocalOffer { call, leg: PHONE, offer: sound(MediaPath::default()) });
        self.command(Command::RemoteAnswer { call, leg: PHONE, answer: phone });
        let answer = Command::LocalAnswer { call, leg: CLIENT, answer: sound(MediaPath::default()) };
        let path = self.command(answer).expect("our answer").streams.remove(0).path;
        agent.set_remote_credentials(&path.ice.expect("it uses ICE"), self.now).expect("good credentials");
        for candidate in &path.candidates {
            agent.add_remote_candidate(candidate, None, self.now).expect("a good candidate");
        }
        self.clients.push(Client { agent, address, to: self.sockets.0[&path.candidates[0].address] });
    }

    /// Carries STUN to and fro until every client has a pair.
    fn connect(&mut self) {
        let numbers: HashMap<SocketAddr, usize> =
            self.clients.iter().enumerate().map(|(number, client)| (client.address, number)).collect();
        while self.clients.iter().any(|client| client.agent.selected().is_none()) {
            self.now += Duration::from_millis(20);
            self.relay.handle_timeout(self.now);
            for number in 0..self.clients.len() {
                self.clients[number].agent.handle_timeout(self.now);
                self.answer(number);
            }
            while let Some(Transmit { from, to, bytes }) = self.relay.poll_transmit() {
                let Some(number) = numbers.get(&to).copied() else { continue }; // RTCP to a phone
                let local = self.sockets.1[&from];
                let pair = ice::Pair { local: to, remote: local };
                // It may be for a candidate that is not tried any more.
                let _ = self.clients[number].agent.handle_packet(&bytes, pair, self.now);
                self.answer(number);
            }
            while self.relay.poll_event().is_some() {}
        }
    }

    fn answer(&mut self, number: usize) {
        while let Some(transmit) = self.clients[number].agent.poll_transmit() {
            let mut buffer = transmit.bytes;
            let length = buffer.len();
            buffer.resize(length + Datagram::TAIL_ROOM, 0);
            let Client { address: from, to: arrived_on, .. } = self.clients[number];
            let datagram = Datagram { arrived_on, from, buffer: &mut buffer, length };
            let _ = self.relay.handle_packet(datagram, self.now);
        }
    }

    /// The next client's packet.
    fn forward(&mut self, buffer: &mut [u8; 512]) {
        if self.next == self.clients.len() {
            (self.next, self.round) = (0, self.round.wrapping_add(1));
            self.now += Duration::from_millis(20);
        }
        let Client { address: from, to: arrived_on, .. } = self.clients[self.next];
        self.next += 1;
        let time = RtpTime(u32::from(self.round) * 160);
        let header = Header::new(payload_type(), SeqNo(self.round), time, Ssrc(7));
        header.write(buffer).expect("it fits");
        let datagram = Datagram { arrived_on, from, buffer, length: FIXED_HEADER + 160 };
        assert!(matches!(self.relay.handle_packet(datagram, self.now), Ok(Some(_))));
        while self.relay.poll_event().is_some() {}
    }
}

fn many_legs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("many legs");
    group.throughput(Throughput::Elements(1));
    for (calls, ice_port) in [(500, None), (4500, None), (500, Some(1024)), (10_000, Some(1024))] {
        let name = format!("{calls} calls, {}", if ice_port.is_some() { "shared port" } else { "a port per leg" });
        let mut exchange = Exchange::new(calls, ice_port);
        let mut buffer = [0x55; 512];
        measure::again(&mut group, name, || exchange.forward(&mut buffer));
    }
    group.finish();
}

fn numbered(net: u8, number: usize) -> IpAddr {
    let [.., high, low] = number.to_be_bytes();
    Ipv4Addr::new(198, net, high, low).into()
}

fn payload_type() -> PayloadType {
    PayloadType::try_from(0).expect("a payload type")
}

fn sound(path: MediaPath) -> Description {
    let codecs = vec![Codec::new(payload_type(), "PCMU", 8000, 1)];
    let stream = MediaStream { codecs, path, ..MediaStream::new(StreamId(0), "0", MediaKind::Audio) };
    Description { streams: vec![stream], bundle: Vec::new() }
}

#[allow(clippy::disallowed_methods, reason = "any instant will do as the beginning of virtual time")]
fn start() -> Instant {
    Instant::now()
}

criterion_group!(benches, many_legs);
criterion_main!(benches);
