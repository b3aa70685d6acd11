//! A call between two legs without ICE, and packets for it: what the spine is measured with.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use media::demux::Media;
use media::packet::Packet;
use media::rtp::{FIXED_HEADER, Header, RtpTime, SeqNo};
use media::srtp::{MasterKey, Outbound};
use model::{
    CallId, Codec, Command, Crypto, Description, LegId, LegPolicy, MediaKind, MediaPath, MediaStream, PayloadType,
    Profile, Reply, Secret, Security, SrtpSuite, Ssrc, StreamId,
};
use relay::{
    Address, CertificatePolicy, Config, Datagram, Dropped, Forward, OpenError, PortShare, Relay, SocketId, Sockets,
    Traffic,
};

/// Sockets that are no more than a number.
struct NoSockets;

impl Sockets for NoSockets {
    fn open(&mut self, _: SocketId, _: SocketAddr, _: Traffic) -> Result<(), OpenError> {
        Ok(())
    }

    fn close(&mut self, _: SocketId) {}
}

/// A call, and the peer of its first leg, who sends.
pub(crate) struct Fixture {
    relay: Relay,
    now: Instant,
    socket: SocketId,
    seal: Option<Outbound>,
    /// Its numbers roll over after a while.
    seq: u16,
    forwards: Vec<(usize, Forward)>,
}

/// A datagram with room behind it.
#[derive(Clone)]
pub(crate) struct Arrival {
    pub(crate) buffer: [u8; 2048],
    pub(crate) length: usize,
}

const PAYLOAD: usize = 160;

impl Fixture {
    /// Sets up a call whose legs are protected so.
    pub(crate) fn new(near: Option<SrtpSuite>, far: Option<SrtpSuite>) -> Self {
        #[allow(clippy::disallowed_methods, reason = "any instant will do as the beginning")]
        let now = Instant::now();
        let mut relay = Relay::new(config(), Box::new(|bytes| bytes.fill(0x33)));
        let call = CallId::from(1);
        let legs = vec![policy(LegId(0), near), policy(LegId(1), far)];
        let mut command = |command| relay.handle_command(command, now, &mut NoSockets).expect("a good command");
        command(Command::CreateCall { call, legs });
        for (leg, suite, port) in [(LegId(0), near, 4000), (LegId(1), far, 5000)] {
            let Reply::Local(ours) = command(Command::LocalOffer { call, leg, offer: sound(MediaPath::default()) })
            else {
                panic!("an offer is answered by a description");
            };
            let crypto = suite.map(|suite| Crypto { tag: ours.streams[0].path.crypto[0].tag, ..key(suite) });
            let path = MediaPath {
                rtp: Some(SocketAddr::new([192, 0, 2, 1].into(), port)),
                profile: if suite.is_some() { Profile::Savp } else { Profile::Avp },
                crypto: crypto.into_iter().collect(),
                ..MediaPath::default()
            };
            command(Command::RemoteAnswer { call, leg, answer: sound(path) });
        }
        let seal = near.map(|suite| Outbound::new(&MasterKey::from_sdes(&key(suite)).expect("a good key")));
        Self { relay, now, socket: SocketId(0), seal, seq: u16::MAX - 1500, forwards: Vec::with_capacity(BATCH) }
    }

    /// The next packet that the peer sends: 160 bytes of sound.
    pub(crate) fn next_packet(&mut self) -> Arrival {
        let payload_type = PayloadType::try_from(0).expect("a payload type");
        let time = RtpTime(u32::from(self.seq) * 160);
        let header = Header::new(payload_type, SeqNo(self.seq), time, Ssrc(0xCAFE));
        self.seq = self.seq.wrapping_add(1);
        let mut buffer = [0x55; 2048];
        header.write(&mut buffer).expect("it fits");
        let mut packet = Packet::new(&mut buffer, FIXED_HEADER + PAYLOAD).expect("it fits");
        if let Some(seal) = &mut self.seal {
            seal.seal(&mut packet, Media::Rtp).expect("a good packet");
        }
        let length = packet.len();
        Arrival { buffer, length }
    }

    /// Lets the relay forward a packet, and says which bytes leave.
    pub(crate) fn forward(&mut self, arrival: &mut Arrival) -> Range<usize> {
        self.take(arrival).expect("a good packet").expect("media goes on").bytes
    }

    /// Lets the relay have a packet.
    pub(crate) fn take(&mut self, arrival: &mut Arrival) -> Result<Option<Forward>, Dropped> {
        self.now += Duration::from_micros(20);
        let from = SocketAddr::new([192, 0, 2, 1].into(), 4000);
        let Arrival { buffer, length } = arrival;
        let datagram = Datagram { arrived_on: self.socket, from, buffer, length: *length };
        self.relay.handle_packet(datagram, self.now)
    }
}

/// Datagrams that arrive together.
pub(crate) const BATCH: usize = 32;

impl Fixture {
    /// The next packets that the peer sends.
    pub(crate) fn next_batch(&mut self) -> Vec<Arrival> {
        (0..BATCH).map(|_| self.next_packet()).collect()
    }

    /// Lets the relay forward packets that arrived together, and gives what leaves: which of them, and how.
    pub(crate) fn forward_batch(&mut self, arrivals: &mut [Arrival]) -> &[(usize, Forward)] {
        self.now += Duration::from_micros(20);
        let from = SocketAddr::new([192, 0, 2, 1].into(), 4000);
        let datagrams = arrivals.iter_mut().enumerate().map(|(number, Arrival { buffer, length })| {
            (number, Datagram { arrived_on: self.socket, from, buffer, length: *length })
        });
        self.forwards.clear();
        self.relay.handle_batch(datagrams, self.now, &mut self.forwards);
        &self.forwards
    }
}

fn config() -> Config {
    let certificate = Arc::new(dtls::Certificate::generate().expect("OpenSSL works"));
    let address = Address { name: None, bind: [198, 51, 100, 1].into(), advertise: None };
    let ports = PortShare { range: 30_000..=30_009, number: 0, of: 1 };
    Config::new(vec![address], ports, CertificatePolicy::PerProcess(certificate))
}

fn policy(leg: LegId, suite: Option<SrtpSuite>) -> LegPolicy {
    match suite {
        Some(suite) => LegPolicy { security: vec![Security::Sdes], suites: vec![suite], ..LegPolicy::plain_sip(leg) },
        None => LegPolicy::plain_sip(leg),
    }
}

fn key(suite: SrtpSuite) -> Crypto {
    let key_and_salt = Secret::new(vec![0x77; suite.key_length() + suite.salt_length()]);
    Crypto::new(1, suite, key_and_salt)
}

fn sound(path: MediaPath) -> Description {
    let payload_type = PayloadType::try_from(0).expect("a payload type");
    let codecs = vec![Codec::new(payload_type, "PCMU", 8000, 1)];
    let stream = MediaStream { codecs, path, ..MediaStream::new(StreamId(0), "0", MediaKind::Audio) };
    Description { streams: vec![stream], bundle: Vec::new() }
}
