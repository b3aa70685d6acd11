//! The relay's threads with real sockets on loopback.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use load::endpoint::{self, Endpoint, Status};
use model::{
    CallId, Codec, Command, CommandError, Description, Event, FromRelay, LegId, LegPolicy, MediaKind, MediaStream,
    News, PayloadType, Reply, Request, RequestId, Security, StreamId, ToRelay,
};
use netio::{Config, RelayThreads};
use tokio::time::{interval, timeout};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const JINGLE: LegId = LegId(0);
const SIP: LegId = LegId(1);

fn call() -> CallId {
    CallId::from(7)
}

#[test]
fn an_address_of_another_machine_is_refused_by_name() {
    let mut config = config();
    config.relay.addresses[0].bind = "192.0.2.1".parse().expect("an address");
    let error = RelayThreads::start(config, |_| {}).map(drop).expect_err("it is not ours");
    assert!(error.to_string().contains("192.0.2.1"), "{error}");
}

#[test]
fn a_packet_of_one_plain_leg_leaves_on_the_other() {
    let (threads, told) = start(config());
    let ask = Asker { threads: &threads, told: &told };
    let bind = || UdpSocket::bind((LOOPBACK, 0)).expect("loopback has ports");
    let (here, there) = (bind(), bind());
    ask.done(Command::CreateCall {
        call: call(),
        legs: [LegPolicy::plain_sip(JINGLE), LegPolicy::plain_sip(SIP)].to_vec(),
    });
    let relay = ask.negotiate(&plain(&here), |_| plain(&there));

    let packet = rtp();
    here.send_to(&packet, relay).expect("loopback takes it");
    there.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
    let mut buffer = [0; 1500];
    let (length, _) = there.recv_from(&mut buffer).expect("it is passed on");
    assert_eq!(&buffer[12..length], &packet[12..], "the payload is untouched");
    assert_ne!(buffer[8..12], packet[8..12], "the SSRC is the relay's");
    assert!(matches!(ask.reply(Command::End { call: call() }), Ok(Reply::Statistics(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_jingle_leg_and_a_sip_leg_hear_each_other() {
    hear_each_other(config()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_where_jingle_legs_share_a_port() {
    let mut config = config();
    config.relay.ice_port = Some(two_free_ports());
    hear_each_other(config).await;
}

#[test]
fn a_shared_port_that_is_taken_is_named() {
    let taken = UdpSocket::bind((LOOPBACK, 0)).expect("loopback has ports");
    let port = taken.local_addr().expect("it is bound").port();
    let mut config = config();
    config.relay.ice_port = Some(port);
    let error = RelayThreads::start(config, |_| {}).map(drop).expect_err("somebody else has it");
    assert!(error.to_string().contains(&format!("ICE port {port}: port is taken")), "{error}");
}

/// A port that is free, and the next one too: there are two workers.
fn two_free_ports() -> u16 {
    let bind = |port| UdpSocket::bind((LOOPBACK, port)).ok()?.local_addr().ok().map(|address| address.port());
    let mut tries = std::iter::repeat_with(|| bind(0).filter(|first| bind(first.saturating_add(1)).is_some()));
    tries.by_ref().take(100).flatten().next().expect("loopback has ports")
}

async fn hear_each_other(config: Config) {
    let (threads, told) = start(config);
    let ask = Asker { threads: &threads, told: &told };
    ask.done(Command::CreateCall { call: call(), legs: vec![LegPolicy::jingle(JINGLE), LegPolicy::plain_sip(SIP)] });
    let alice = endpoint::Config {
        address: LOOPBACK,
        offers: true,
        ice: true,
        security: Security::Dtls,
        rtcp_mux: true,
        tone: 440.0,
    };
    let phone = endpoint::Config {
        offers: false,
        ice: false,
        security: Security::Rtp,
        rtcp_mux: false,
        tone: 660.0,
        ..alice.clone()
    };
    let alice = Endpoint::start(alice).expect("loopback has ports");
    let phone = Endpoint::start(phone).expect("loopback has ports");
    let answer = ask.answer(&alice.offer(), |offer| phone.answer(offer).expect("the relay's offer is good"));
    alice.accept(&answer).expect("the relay's answer is good");

    let hear = async {
        let mut tick = interval(Duration::from_millis(20));
        let near = |status: Status, tone: f32| status.heard.is_some_and(|heard| (heard - tone).abs() <= 10.0);
        while !(near(alice.status(), 660.0) && near(phone.status(), 440.0)) {
            tick.tick().await;
        }
    };
    let heard = timeout(Duration::from_secs(10), hear).await;
    assert!(heard.is_ok(), "{:?} {:?} {:?}", alice.status(), phone.status(), threads.counters());
}

#[test]
fn stopping_leaves_no_thread_and_no_socket() {
    // The third worker is this test's alone; the others run beside in the same process.
    let third = || {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux shows its threads");
        let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|name| name.starts_with("relay-2")).count()
    };
    let (threads, told) = start(Config { workers: NonZeroUsize::new(3), ..config() });
    // The worker and its DTLS engine, which name themselves when they first run.
    while third() < 2 {
        thread::yield_now();
    }
    let ask = Asker { threads: &threads, told: &told };
    ask.done(Command::CreateCall {
        call: call(),
        legs: [LegPolicy::plain_sip(JINGLE), LegPolicy::plain_sip(SIP)].to_vec(),
    });
    let socket = UdpSocket::bind((LOOPBACK, 0)).expect("loopback has ports");
    let relay = ask.negotiate(&plain(&socket), |_| plain(&socket));
    assert!(UdpSocket::bind(relay).is_err(), "the relay has its port");
    assert!(threads.stop(), "they end in time");
    assert_eq!(third(), 0);
    assert!(UdpSocket::bind(relay).is_ok(), "the relay's port is free again");
    assert_eq!(ask.reply(Command::Query { call: call() }), Err(CommandError::Stopping));
}

#[test]
fn a_command_without_room_is_refused_at_once() {
    let (threads, told) = start(Config { command_queue: 0, ..config() });
    let ask = Asker { threads: &threads, told: &told };
    assert_eq!(ask.reply(Command::Query { call: call() }), Err(CommandError::Overloaded));
    assert_eq!(threads.counters().io.commands_refused, 1);
}

#[test]
fn a_worker_that_fails_reports_its_calls_and_begins_anew() {
    const FATAL: RequestId = RequestId(13);
    let (tell, told) = mpsc::channel();
    let threads = RelayThreads::start(config(), move |news| {
        assert!(!matches!(news, FromRelay::Reply { id: FATAL, .. }), "the worker fails here");
        tell.send(news).expect("the test listens");
    })
    .expect("loopback can be bound");
    let ask = Asker { threads: &threads, told: &told };
    let legs = vec![LegPolicy::plain_sip(JINGLE), LegPolicy::plain_sip(SIP)];
    ask.done(Command::CreateCall { call: call(), legs: legs.clone() });
    let fatal = Request { id: FATAL, command: Command::Query { call: call() } };
    threads.send(ToRelay::Command(fatal));
    let lost = told.recv_timeout(Duration::from_secs(5)).expect("it is told");
    assert_eq!(lost, FromRelay::Event(Event { call: call(), news: News::Lost }));
    ask.done(Command::CreateCall { call: call(), legs });
    assert_eq!(threads.counters().io.failures, 1);
}

/// Sends commands and waits for their replies.
struct Asker<'a> {
    threads: &'a RelayThreads,
    told: &'a Receiver<FromRelay>,
}

impl Asker<'_> {
    fn reply(&self, command: Command) -> Result<Reply, CommandError> {
        const ID: RequestId = RequestId(1);
        self.threads.send(ToRelay::Command(Request { id: ID, command }));
        loop {
            match self.told.recv_timeout(Duration::from_secs(5)).expect("every command is answered") {
                FromRelay::Reply { id: ID, outcome } => return outcome,
                FromRelay::Reply { .. } | FromRelay::Event(_) => {}
            }
        }
    }

    fn done(&self, command: Command) {
        assert_eq!(self.reply(command.clone()), Ok(Reply::Done), "{command:?}");
    }

    fn local(&self, command: Command) -> Description {
        match self.reply(command.clone()) {
            Ok(Reply::Local(description)) => description,
            other => panic!("{command:?}: {other:?}"),
        }
    }

    /// Takes the offer of the first leg's peer to the second leg's peer, and the answer back.
    fn answer(&self, offer: &Description, peer: impl Fn(&Description) -> Description) -> Description {
        self.done(Command::RemoteOffer { call: call(), leg: JINGLE, offer: offer.clone() });
        let ours = self.local(Command::LocalOffer { call: call(), leg: SIP, offer: offer.clone() });
        let theirs = peer(&ours);
        self.done(Command::RemoteAnswer { call: call(), leg: SIP, answer: theirs.clone() });
        self.local(Command::LocalAnswer { call: call(), leg: JINGLE, answer: theirs })
    }

    /// The same for plain legs; gives where the first leg's peer sends to.
    fn negotiate(&self, offer: &Description, peer: impl Fn(&Description) -> Description) -> std::net::SocketAddr {
        let answer = self.answer(offer, peer);
        answer.streams[0].path.rtp.expect("a plain leg has an address")
    }
}

fn start(config: Config) -> (RelayThreads, Receiver<FromRelay>) {
    let (tell, told) = mpsc::channel();
    // A test that is over no longer listens.
    let threads = RelayThreads::start(config, move |news| drop(tell.send(news)));
    (threads.expect("loopback can be bound"), told)
}

fn config() -> Config {
    let certificate = Arc::new(dtls::Certificate::generate().expect("the system has randomness"));
    let address = relay::Address { name: None, bind: LOOPBACK, advertise: None };
    let ports = relay::PortShare { range: 30_000..=39_999, number: 0, of: 1 };
    let relay = relay::Config {
        max_calls: 10,
        ..relay::Config::new(vec![address], ports, relay::CertificatePolicy::PerProcess(certificate))
    };
    Config { workers: NonZeroUsize::new(2), ..Config::new(relay) }
}

/// What a plain phone at a socket offers or answers.
fn plain(socket: &UdpSocket) -> Description {
    let mut stream = MediaStream::new(StreamId(0), "0", MediaKind::Audio);
    stream.codecs = vec![Codec::new(PayloadType::try_from(0).expect("below 128"), "PCMU", 8000, 1)];
    stream.path.rtp = socket.local_addr().ok();
    Description { streams: vec![stream], bundle: Vec::new() }
}

/// A packet of 20 ms of PCMU.
fn rtp() -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef];
    packet.extend([0x55; 160]);
    packet
}
