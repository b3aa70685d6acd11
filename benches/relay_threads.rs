//! What the relay's threads cost: one worker on loopback, packets of 172 bytes, a port for each component of each leg.
//!
//! `cargo bench -p stox-netio --bench relay_threads`
//!
//! - saturated: packets as fast as one thread sends them, round and round the calls; processor time of the worker for
//!   each forwarded packet, all kernel time included, and what it could not keep up with
//! - paced: 50 packets per second each way, evenly spread; the same, with how long packets took from end to end, of
//!   which some 0.02 ms are the kernel's
//! - calls set up and torn down through the channel, with a hundred under way, and processor time of the worker for each
//! - memory of the process for each call that stands, both legs with RTCP on a port of its own
//!
//! The worker is pinned to the first core; the ends of the calls run on a thread that is never idle, so it wants two
//! cores, with nothing else to do. Differences of less than 10 % say little.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};
use model::{
    CallId, Codec, Command, Description, FromRelay, LegId, LegPolicy, MediaKind, MediaStream, PayloadType, Reply,
    Request, RequestId, StreamId, ToRelay,
};
use netio::{Config, RelayThreads};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LEGS: [LegId; 2] = [LegId(0), LegId(1)];
const PTIME: Duration = Duration::from_millis(20);
const DURATION: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

fn main() {
    netio::raise_open_files().expect("the kernel allows what it allows");
    memory(2000); // first, since freed memory does not leave a process at once
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}");
        for calls in [1, 10, 200] {
            Ends::new(calls).saturate();
        }
        for calls in [200, 500, 1000, 2000] {
            Ends::new(calls).pace();
        }
        set_up(20_000);
    }
}

/// The ends of some calls, and the relay between them.
struct Ends {
    relay: Threads,
    poll: Poll,
    ends: Vec<End>,
    begun: Instant,
    sent: u64,
    received: u64,
    /// Nanoseconds that each packet took.
    took: Vec<u64>,
}

struct End {
    socket: mio::net::UdpSocket,
    /// Where it sends to.
    relay: SocketAddr,
    number: u16,
}

impl Ends {
    fn new(calls: u16) -> Self {
        let poll = Poll::new().expect("the machine has descriptors");
        let relay = Threads::start();
        let mut ends = Vec::with_capacity(usize::from(calls) * 2);
        for number in 0..calls {
            ends.extend(relay.call(number));
        }
        for (number, end) in ends.iter_mut().enumerate() {
            poll.registry().register(&mut end.socket, Token(number), Interest::READABLE).expect("it is a socket");
        }
        Self { relay, poll, ends, begun: clock(), sent: 0, received: 0, took: Vec::new() }
    }

    /// Sends as fast as this thread can.
    fn saturate(mut self) {
        let mut events = Events::with_capacity(1024);
        let before = Usage::of_worker();
        self.begun = clock();
        let mut next = (0..self.ends.len()).cycle();
        while clock() < self.begun + DURATION {
            for end in next.by_ref().take(16) {
                self.send(end);
            }
            self.receive(&mut events);
        }
        self.report("saturated", &before, &mut events);
    }

    /// Sends each packet at its time.
    fn pace(mut self) {
        let mut events = Events::with_capacity(1024);
        let before = Usage::of_worker();
        let ends = u32::try_from(self.ends.len()).expect("a few thousand");
        self.begun = clock();
        for (number, end) in (0..).zip((0..self.ends.len()).cycle()) {
            let due = self.begun + PTIME * (number / ends) + PTIME * (number % ends) / ends;
            if due > self.begun + DURATION {
                break;
            }
            while clock() < due {
                self.receive(&mut events);
            }
            self.send(end);
            if number % 16 == 0 {
                self.receive(&mut events); // also when it is late
            }
        }
        self.report("paced", &before, &mut events);
    }

    fn send(&mut self, end: usize) {
        let now = clock() - self.begun;
        let end = &mut self.ends[end];
        end.number = end.number.wrapping_add(1);
        // What the socket does not take was not sent.
        if end.socket.send_to(&rtp(end.number, now), end.relay).is_ok() {
            self.sent += 1;
        }
    }

    fn receive(&mut self, events: &mut Events) {
        self.poll.poll(events, Some(Duration::ZERO)).expect("it can be polled");
        let mut packet = [0; 2048];
        for event in &*events {
            let socket = &self.ends[event.token().0].socket;
            while let Ok(length) = socket.recv(&mut packet) {
                if packet[1] & 0x7f != 0 {
                    continue; // a report of the relay's, for the port above another end's
                }
                let stamp = packet[12..length].first_chunk().map(|stamp| u64::from_be_bytes(*stamp));
                let now = u64::try_from((clock() - self.begun).as_nanos()).expect("a few seconds");
                self.took.extend(stamp.map(|stamp| now - stamp));
                self.received += 1;
            }
        }
    }

    fn report(mut self, what: &str, before: &Usage, events: &mut Events) {
        let used = Usage::of_worker().since(before);
        let (seconds, in_time) = ((clock() - self.begun).as_secs_f64(), self.received);
        let last = clock() + Duration::from_millis(100);
        while clock() < last {
            self.receive(events);
        }
        self.took.sort_unstable();
        let percentile =
            |part: usize| self.took.get(self.took.len() * part / 100).map_or(0.0, |time| *time as f64 / 1e6);
        println!(
            "{what:>9}, {:>4} calls: {:>5.2} us for each of {:>6.0} packets/s, {:>5.0} sleeps/s, {} lost, {:.2} ms (p50) {:.2} ms (p99)",
            self.ends.len() / 2,
            used.nanoseconds as f64 / 1e3 / in_time.max(1) as f64,
            in_time as f64 / seconds,
            used.sleeps as f64 / seconds,
            self.sent - self.received,
            percentile(50),
            percentile(99),
        );
        self.relay.threads.stop();
    }
}

/// Sets up calls that stay for a while.
fn memory(calls: u16) {
    let relay = Threads::start();
    let before = resident();
    let ends: Vec<_> = (0..calls).map(|number| relay.call(number)).collect();
    println!("memory: {:.1} KiB for each call", (resident() - before) as f64 / 1024.0 / f64::from(calls));
    drop(ends);
    relay.threads.stop();
}

/// Sets up calls and tears them down.
fn set_up(calls: u64) {
    let relay = Threads::start();
    let [offer, answer] = [1, 2].map(|port| plain(SocketAddr::new(LOOPBACK, port)));
    let before = Usage::of_worker();
    let begun = clock();
    let mut done = 0;
    for number in 0..calls {
        let call = CallId::from(number);
        for command in commands(call, &offer, &answer).into_iter().chain([Command::End { call }]) {
            relay.send(command);
        }
        while number + 1 - done >= if number + 1 == calls { 1 } else { 100 } {
            done += u64::from(matches!(relay.reply(), Some(Reply::Statistics(_))));
        }
    }
    let used = Usage::of_worker().since(&before);
    let rate = calls as f64 / (clock() - begun).as_secs_f64();
    println!(
        "set-up and tear-down: {rate:.0} calls/s, {:.1} us for each",
        used.nanoseconds as f64 / 1e3 / calls as f64
    );
    relay.threads.stop();
}

/// The relay and its replies.
struct Threads {
    threads: RelayThreads,
    told: Receiver<FromRelay>,
}

impl Threads {
    fn start() -> Self {
        let (tell, told) = mpsc::channel();
        let threads = RelayThreads::start(config(), move |news| drop(tell.send(news)));
        let relay = Self { threads: threads.expect("loopback can be bound"), told };
        relay.send(Command::Query { call: CallId::from(0) });
        relay.told.recv().expect("there is no such call, which says that the worker runs");
        relay
    }

    fn send(&self, command: Command) {
        self.threads.send(ToRelay::Command(Request { id: RequestId(1), command }));
    }

    /// The next reply, if it is not an event that comes first.
    fn reply(&self) -> Option<Reply> {
        match self.told.recv().expect("the relay answers") {
            FromRelay::Reply { outcome, .. } => Some(outcome.expect("the relay has room")),
            FromRelay::Event(_) => None,
        }
    }

    /// Makes a call between two ends.
    fn call(&self, number: u16) -> [End; 2] {
        let sockets = LEGS.map(|_| bind().expect("loopback has ports"));
        let [offer, answer] = sockets.each_ref().map(|socket| plain(socket.local_addr().expect("it is bound")));
        let addresses: Vec<SocketAddr> = commands(CallId::from(u64::from(number)), &offer, &answer)
            .into_iter()
            .filter_map(|command| {
                self.send(command);
                match std::iter::repeat_with(|| self.reply()).flatten().next() {
                    Some(Reply::Local(description)) => description.streams[0].path.rtp,
                    _ => None,
                }
            })
            .collect();
        let mut addresses = addresses.into_iter().rev(); // the second leg's was told first
        sockets.map(|socket| End {
            socket: mio::net::UdpSocket::from_std(socket),
            relay: addresses.next().expect("each leg has one"),
            number: 0,
        })
    }
}

/// What sets up a call.
fn commands(call: CallId, offer: &Description, answer: &Description) -> [Command; 5] {
    let [first, second] = LEGS;
    [
        Command::CreateCall { call, legs: LEGS.map(LegPolicy::plain_sip).to_vec() },
        Command::RemoteOffer { call, leg: first, offer: offer.clone() },
        Command::LocalOffer { call, leg: second, offer: offer.clone() },
        Command::RemoteAnswer { call, leg: second, answer: answer.clone() },
        Command::LocalAnswer { call, leg: first, answer: answer.clone() },
    ]
}

fn bind() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((LOOPBACK, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn config() -> Config {
    let address = relay::Address { name: None, bind: LOOPBACK, advertise: None };
    let ports = relay::PortShare { range: 20_000..=32_000, number: 0, of: 1 };
    let relay = relay::Config {
        max_calls: 10_000,
        port_quarantine: Duration::ZERO, // or there were no ports left after some thousand calls
        ..relay::Config::new(vec![address], ports, relay::CertificatePolicy::PerCall)
    };
    Config { workers: NonZeroUsize::new(1), ..Config::new(relay) }
}

fn plain(address: SocketAddr) -> Description {
    let mut stream = MediaStream::new(StreamId(0), "0", MediaKind::Audio);
    stream.codecs = vec![Codec::new(PayloadType::try_from(0).expect("below 128"), "PCMU", 8000, 1)];
    stream.path.rtp = Some(address);
    Description { streams: vec![stream], bundle: Vec::new() }
}

/// A packet that says when it was sent.
fn rtp(number: u16, time: Duration) -> [u8; 172] {
    let mut packet = [0x55; 172];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&number.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(number) * 160).to_be_bytes());
    packet[12..20].copy_from_slice(&u64::try_from(time.as_nanos()).expect("a few seconds").to_be_bytes());
    packet
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux shows it");
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux counts it");
    1024 * kilobytes.trim_end_matches("kB").trim().parse::<u64>().expect("a number")
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
