//! What a forwarded packet costs the relay's worker thread, all kernel time included: calls of two plain legs on
//! loopback, 50 packets of 172 bytes per second each way, one worker.
//!
//! `cargo bench -p stox-netio --bench relay_threads`
//!
//! Prints for each number of calls: processor time per packet, how often the worker went to sleep, and what was lost.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use model::{
    CallId, Codec, Command, Description, FromRelay, LegId, LegPolicy, MediaKind, MediaStream, PayloadType, Reply,
    Request, RequestId, StreamId, ToRelay,
};
use netio::{Config, RelayThreads};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LEGS: [LegId; 2] = [LegId(0), LegId(1)];
const PTIME: Duration = Duration::from_millis(20);
const ROUNDS: u32 = 150;

fn main() {
    for longest_wait in [Duration::ZERO, Duration::from_millis(1)] {
        println!("packets gather for {longest_wait:?} at most");
        for calls in [1, 50, 200, 500] {
            measure(calls, longest_wait);
        }
    }
}

/// Runs some calls for a while.
fn measure(calls: u16, longest_wait: Duration) {
    let (tell, told) = mpsc::channel();
    let threads =
        RelayThreads::start(config(longest_wait), move |news| drop(tell.send(news))).expect("loopback can be bound");
    let sockets: Vec<_> = (0..calls).map(|number| call(&threads, &told, number)).collect();

    let before = Usage::of_worker();
    let begun = clock();
    for round in 0..ROUNDS {
        for (number, call) in (0..u32::from(calls)).zip(&sockets) {
            // Packets of different calls come evenly spread over the time of one packet.
            wait_until(begun + PTIME * round + PTIME * number / u32::from(calls));
            for (socket, relay) in call {
                let packet = rtp(round);
                socket.send_to(&packet, relay).expect("loopback takes it");
            }
        }
    }
    wait_until(clock() + Duration::from_millis(1100)); // counters are published every second
    let used = Usage::of_worker().since(&before);
    let sent = u64::from(ROUNDS) * u64::from(calls) * 2;
    let forwarded = threads.counters().relay.packets_forwarded;
    let seconds = (PTIME * ROUNDS).as_secs_f64();
    println!(
        "{calls:>4} calls: {:>5.1} us per packet, {:>6.0} sleeps per second, {} of {sent} packets lost",
        used.nanoseconds as f64 / 1e3 / forwarded.max(1) as f64,
        used.sleeps as f64 / seconds,
        sent - forwarded
    );
}

/// Makes a call; gives each end's socket, and where it sends to.
fn call(threads: &RelayThreads, told: &Receiver<FromRelay>, number: u16) -> [(UdpSocket, SocketAddr); 2] {
    let call = CallId::from(u64::from(number));
    let ends = LEGS.map(|_| UdpSocket::bind((LOOPBACK, 0)).expect("loopback has ports"));
    let [offer, answer] = ends.each_ref().map(plain);
    let legs = LEGS.map(LegPolicy::plain_sip).to_vec();
    let ask = |command| {
        threads.send(ToRelay::Command(Request { id: RequestId(1), command }));
        match told.recv().expect("the relay answers") {
            FromRelay::Reply { outcome: Ok(Reply::Local(description)), .. } => description.streams[0].path.rtp,
            FromRelay::Reply { outcome: Ok(_), .. } => None,
            other @ (FromRelay::Reply { .. } | FromRelay::Event(_)) => panic!("{other:?}"),
        }
    };
    ask(Command::CreateCall { call, legs });
    ask(Command::RemoteOffer { call, leg: LEGS[0], offer: offer.clone() });
    let second = ask(Command::LocalOffer { call, leg: LEGS[1], offer });
    ask(Command::RemoteAnswer { call, leg: LEGS[1], answer: answer.clone() });
    let first = ask(Command::LocalAnswer { call, leg: LEGS[0], answer });
    let [here, there] = ends;
    [(here, first.expect("an address")), (there, second.expect("an address"))]
}

fn config(longest_wait: Duration) -> Config {
    let address = relay::Address { name: None, bind: LOOPBACK, advertise: None };
    let ports = relay::PortShare { range: 30_000..=39_999, number: 0, of: 1 };
    let relay = relay::Config {
        max_calls: 10_000,
        ..relay::Config::new(vec![address], ports, relay::CertificatePolicy::PerCall)
    };
    Config { workers: NonZeroUsize::new(1), longest_wait, ..Config::new(relay) }
}

fn plain(socket: &UdpSocket) -> Description {
    let mut stream = MediaStream::new(StreamId(0), "0", MediaKind::Audio);
    stream.codecs = vec![Codec::new(PayloadType::try_from(0).expect("below 128"), "PCMU", 8000, 1)];
    stream.path.rtp = socket.local_addr().ok();
    Description { streams: vec![stream], bundle: Vec::new() }
}

fn rtp(round: u32) -> [u8; 172] {
    let mut packet = [0x55; 172];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&round.to_be_bytes()[2..]);
    packet[4..8].copy_from_slice(&(round * 160).to_be_bytes());
    packet
}

/// What the worker's thread has used.
struct Usage {
    nanoseconds: u64,
    sleeps: u64,
}

impl Usage {
    fn of_worker() -> Self {
        let task = fs::read_dir("/proc/self/task")
            .expect("Linux shows its threads")
            .filter_map(|task| task.ok().map(|task| task.path()))
            .find(|path| fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "relay-0"))
            .expect("the worker runs");
        let read = |file: &str| fs::read_to_string(task.join(file)).expect("Linux shows it");
        let number = |text: &str| text.trim().parse().expect("a number");
        let nanoseconds = number(read("schedstat").split(' ').next().expect("three numbers"));
        let status = read("status");
        let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        Self { nanoseconds, sleeps: number(sleeps.expect("Linux counts them")) }
    }

    fn since(&self, before: &Self) -> Self {
        Self { nanoseconds: self.nanoseconds - before.nanoseconds, sleeps: self.sleeps - before.sleeps }
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn clock() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "packets are sent at their times")]
fn wait_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(clock()));
}
