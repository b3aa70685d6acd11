//! Whole trials against a small relay that misbehaves on demand: each fault has to be found.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use media::srtp::{Inbound, MasterKey, Outbound};
use model::SrtpSuite;

use super::{net, run};
use crate::trial::end::{End, Protection};
use crate::trial::plan::{Plan, RawPlan};
use crate::trial::progress::Phase;
use crate::trial::report::{Reason, Report, Verdict};
use crate::trial::target::{CallNumber, Churned, ReadyCall, Target, TargetError};

/// What the relay does beside forwarding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Nothing,
    /// It gives the packets of each call to the next.
    SwapsCalls,
    /// It sends packets back.
    Reflects,
    /// It changes a byte of the payload.
    Corrupts,
    /// It forwards twice.
    Duplicates,
    /// It drops every tenth packet.
    Drops,
    /// It forwards nothing.
    Silent,
    /// It does nothing for 200 ms, once.
    Stalls,
    /// It drops every second packet when there are more calls than 30.
    Overloaded,
    /// It cannot set up calls.
    Refuses,
}

impl Fault {
    /// How often a packet is forwarded.
    fn times(self, packet: u64, calls: usize) -> usize {
        match self {
            Self::Silent => 0,
            Self::Drops => usize::from(!packet.is_multiple_of(10)),
            Self::Overloaded => usize::from(calls <= 30 || packet.is_multiple_of(2)),
            Self::Duplicates => 2,
            Self::Nothing | Self::SwapsCalls | Self::Reflects | Self::Corrupts | Self::Stalls | Self::Refuses => 1,
        }
    }
}

/// What the ends do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keys {
    /// Plain RTP.
    None,
    /// The same on both ends, so that a relay that does nothing is right.
    Both,
    /// The second end is protected, which this relay does not know.
    Second,
}

#[test]
fn a_good_relay_passes_with_every_packet() {
    for keys in [Keys::None, Keys::Both] {
        let report = trial(Fault::Nothing, keys, quick());
        assert_eq!(serious(&report), Vec::<Reason>::new());
        let totals = report.totals;
        assert!(totals.sent >= 300 && totals.lost == 0 && totals.received == totals.sent, "{totals:?}");
        assert_eq!((totals.duplicates, totals.strays, report.flows.count), (0, 0, 20));
        assert!(report.flows.mos.min > 4.0 && report.latency.count == totals.received, "{:?}", report.flows);
        assert_eq!((report.set_up.calls, report.set_up.failed), (10, 0));
    }
}

#[test]
fn a_relay_that_misbehaves_fails() {
    type Named = fn(&Reason) -> bool;
    let cases: [(Fault, Keys, Named); 8] = [
        (Fault::SwapsCalls, Keys::None, |reason| matches!(reason, Reason::WrongCall(_))),
        (Fault::Reflects, Keys::None, |reason| matches!(reason, Reason::WrongDirection(_))),
        (Fault::Corrupts, Keys::None, |reason| matches!(reason, Reason::Altered(_))),
        (Fault::Corrupts, Keys::Both, |reason| matches!(reason, Reason::NotAuthentic(_))),
        (Fault::Duplicates, Keys::None, |reason| matches!(reason, Reason::Replayed(_))),
        (Fault::Duplicates, Keys::Both, |reason| matches!(reason, Reason::Replayed(_))),
        (Fault::Nothing, Keys::Second, |reason| matches!(reason, Reason::InClear(_))),
        (Fault::Silent, Keys::None, |reason| matches!(reason, Reason::Silence)),
    ];
    for (fault, keys, named) in cases {
        let report = trial(fault, keys, quick());
        assert!(serious(&report).iter().any(named), "{fault:?} {keys:?}: {:?}", report.verdict);
    }
}

#[test]
fn packets_that_a_relay_drops_are_counted_and_limited() {
    let report = trial(Fault::Drops, Keys::None, RawPlan { max_loss: Some(0.05), ..quick() });
    let share = report.totals.loss();
    assert!((0.08..0.12).contains(&share), "{:?}", report.totals);
    assert!(serious(&report).iter().any(|reason| matches!(reason, Reason::Loss { .. })), "{:?}", report.verdict);
    assert!(report.flows.mos.min < 4.0, "{:?}", report.flows.mos);
}

#[test]
fn a_stall_shows_in_the_latency_of_all_packets_that_it_held_up() {
    let report = trial(Fault::Stalls, Keys::None, quick());
    let latency = &report.latency;
    assert!(latency.p99_9_us > 150_000.0, "{} of {:?}", latency.p99_9_us, latency.count);
    let held_up: u64 = latency.histogram.iter().filter(|bucket| bucket.up_to_us > 50_000.0).map(|b| b.count).sum();
    assert!(held_up >= 100, "20 flows send 7 packets each in 150 ms, not {held_up}");
    assert_eq!(report.totals.lost, 0);
}

#[test]
fn what_the_sender_does_to_its_packets_is_not_the_relays_doing() {
    let impair = "loss=10%,jitter=5ms,reorder=5%,duplicate=10%".to_owned();
    for keys in [Keys::None, Keys::Both] {
        let report = trial(Fault::Nothing, keys, RawPlan { impair: impair.clone(), ..quick() });
        assert_eq!(serious(&report), Vec::<Reason>::new());
        let totals = report.totals;
        assert!(totals.withheld > 0 && totals.copies > 0, "{totals:?}");
        assert_eq!((totals.lost, totals.reordered, totals.received), (0, 0, totals.sent));
        assert_eq!(totals.scheduled, totals.sent + totals.withheld);
    }
}

#[test]
fn every_packet_of_a_run_without_a_ramp_is_measured() {
    for impair in ["", "jitter=5ms,reorder=50%,duplicate=10%"] {
        let plan = Plan::try_from(RawPlan { impair: impair.into(), ..quick() }).expect("it is possible");
        let mut relay = Relay::start(Fault::Nothing, Keys::None);
        let mut stalled = false;
        let report = run(&plan, &mut relay, &mut |shown| {
            // As on a machine with too much to do: five packets of each flow could be due before anyone goes on.
            if shown.phase == Phase::Measuring && !std::mem::replace(&mut stalled, true) {
                net::sleep_until(net::now() + 100_000_000);
            }
            ControlFlow::Continue(())
        });
        let totals = report.totals;
        assert!(stalled && totals.sent > 0, "{totals:?}");
        assert_eq!((totals.received, totals.lost), (totals.sent, 0), "{totals:?}");
        assert_eq!(totals.sent + totals.copies, relay.forwarded.load(Ordering::Relaxed), "{totals:?}");
    }
}

#[test]
fn a_saturated_relay_gets_more_than_by_the_schedule() {
    let report = trial(Fault::Nothing, Keys::None, RawPlan { mode: "saturate".into(), ..quick() });
    assert_eq!(serious(&report), Vec::<Reason>::new());
    assert!(report.totals.received > 2_000, "{:?}", report.totals);
}

#[test]
fn calls_come_and_go() {
    let raw = RawPlan {
        mode: "churn".into(),
        rate: Some(50.0),
        hold: Duration::from_millis(100),
        duration: Duration::from_millis(800),
        ..quick()
    };
    let report = trial(Fault::Nothing, Keys::None, RawPlan { calls: 40, ..raw });
    let set_up = &report.set_up;
    assert!(set_up.calls >= 10 && set_up.torn_down >= 5 && set_up.failed == 0, "{set_up:?}");
    assert!(report.totals.received > 0 && report.totals.lost == 0, "{:?}", report.totals);
    assert!(report.flows.count >= 20, "{:?}", report.flows);
}

#[test]
fn calls_without_media_are_reported_by_their_requests() {
    let raw = RawPlan { mode: "churn".into(), no_media: true, ..quick() };
    let report = trial(Fault::Nothing, Keys::None, raw.clone());
    assert_eq!(serious(&report), Vec::<Reason>::new());
    assert_eq!((report.set_up.calls, report.set_up.per_second), (10, 20.0));
    let found: Vec<_> =
        report.requests.iter().map(|one| (one.command.as_str(), one.count, one.p99_us.round())).collect();
    assert_eq!(found, [("offer", 10, 1_000.0), ("answer", 10, 2_001.0), ("delete", 10, 3_000.0)]);
    let report = trial(Fault::Refuses, Keys::None, raw);
    assert!(matches!(&serious(&report)[..], [Reason::CallsFailed { .. }]), "{:?}", report.verdict);
}

#[test]
fn a_search_never_passes_what_the_relay_does_not_bear() {
    let report = trial(Fault::Overloaded, Keys::None, RawPlan { calls: 60, mode: "find-max".into(), ..quick() });
    assert!(report.steps.len() >= 2, "{:?}", report.steps);
    for step in &report.steps {
        assert!(step.calls <= 30 || (!step.passed && step.loss > 0.3), "{step:?}");
    }
}

#[test]
fn a_relay_that_refuses_calls_fails() {
    let report = trial(Fault::Refuses, Keys::None, quick());
    let refused = |reason: &Reason| matches!(reason, Reason::CallsFailed { first, .. } if first.contains("no room"));
    assert!(serious(&report).iter().any(refused), "{:?}", report.verdict);
}

#[test]
fn calls_are_added_over_the_ramp_and_seen_in_snapshots() {
    let raw = RawPlan { ramp: Duration::from_millis(300), ..quick() };
    let plan = Plan::try_from(raw).expect("it is possible");
    let mut snapshots = Vec::new();
    let report = run(&plan, &mut Relay::start(Fault::Nothing, Keys::None), &mut |shown| {
        snapshots.push(shown.clone());
        ControlFlow::Continue(())
    });
    assert_eq!(serious(&report), Vec::<Reason>::new());
    let last = snapshots.last().expect("there is always one");
    assert_eq!((last.calls, last.lost), (10, 0));
    assert!(last.sent > 0 && last.received > 0 && snapshots.len() >= 2);
}

#[test]
fn a_trial_that_is_not_to_go_on_ends_with_what_it_measured() {
    for mode in ["paced", "saturate", "churn", "find-max"] {
        let raw = RawPlan { mode: mode.into(), duration: Duration::from_secs(3_600), ..quick() };
        let plan = Plan::try_from(raw).expect("it is possible");
        let report = run(&plan, &mut Relay::start(Fault::Nothing, Keys::None), &mut |shown| {
            if shown.received > 100 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(report.rates.seconds < 60.0, "{mode}: {:?}", report.rates);
    }
}

/// A short trial with ten calls.
fn quick() -> RawPlan {
    RawPlan { calls: 10, duration: Duration::from_millis(500), ..RawPlan::default() }
}

fn trial(fault: Fault, keys: Keys, raw: RawPlan) -> Report {
    let plan = Plan::try_from(raw).expect("it is possible");
    run(&plan, &mut Relay::start(fault, keys), &mut |_| ControlFlow::Continue(()))
}

/// Why a trial failed, apart from a machine that has too much to do.
fn serious(report: &Report) -> Vec<Reason> {
    let Verdict::Failed(reasons) = &report.verdict else { return Vec::new() };
    let of_the_machine = |reason: &&Reason| {
        !matches!(
            reason,
            Reason::GeneratorBusy { .. }
                | Reason::GeneratorLate { .. }
                | Reason::CallsLate { .. }
                | Reason::SearchLimited { .. }
        )
    };
    reasons.iter().filter(of_the_machine).cloned().collect()
}

/// A relay in a thread.
struct Relay {
    fault: Fault,
    keys: Keys,
    /// Packets that it took.
    forwarded: Arc<AtomicU64>,
    news: Option<Sender<News>>,
    thread: Option<JoinHandle<()>>,
}

enum News {
    /// A call: the relay's sockets, and the addresses of the ends that they face.
    Call(CallNumber, [(UdpSocket, SocketAddr); 2]),
    Over(CallNumber),
}

impl Relay {
    fn start(fault: Fault, keys: Keys) -> Self {
        let (news, coming) = channel();
        let forwarded = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&forwarded);
        let thread = std::thread::spawn(move || forward(fault, &coming, &counted));
        Self { fault, keys, forwarded, news: Some(news), thread: Some(thread) }
    }

    fn call(&self, number: CallNumber) -> ReadyCall {
        let socket = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
        let address = |socket: &UdpSocket| socket.local_addr().expect("it is bound");
        let (ours, theirs) = ([socket(), socket()], [socket(), socket()]);
        let [first, second] = ours.map(|socket| {
            socket.set_nonblocking(true).expect("the kernel can");
            socket
        });
        let [one, other] = theirs;
        let protections = protections(self.keys);
        let (to_one, to_other) = (address(&first), address(&second));
        let faces = [(first, address(&one)), (second, address(&other))];
        self.news.as_ref().expect("it runs").send(News::Call(number, faces)).expect("it runs");
        let [protection, other_protection] = protections;
        let end = |rtp, to, protection| End { rtp, to, protection, payload_type: 0, keeper: None };
        let ends = [end(one, to_one, protection), end(other, to_other, other_protection)];
        ReadyCall { number, ends, took: Duration::ZERO }
    }
}

fn protections(keys: Keys) -> [Protection; 2] {
    let key = |byte| MasterKey::new(SrtpSuite::AeadAes128Gcm, &[byte; 16], &[byte; 12]).expect("the lengths are right");
    let (there, back) = (key(1), key(2));
    let srtp = |out, into| Protection::Srtp(Box::new((Outbound::new(out), Inbound::new(into))));
    match keys {
        Keys::None => [Protection::Plain, Protection::Plain],
        Keys::Both => [srtp(&there, &back), srtp(&back, &there)],
        Keys::Second => [Protection::Plain, srtp(&back, &there)],
    }
}

impl Target for Relay {
    fn set_up(&mut self, calls: &[CallNumber]) -> Vec<Result<ReadyCall, TargetError>> {
        let refused = || Err(TargetError::Refused("no room".into()));
        calls.iter().map(|call| if self.fault == Fault::Refuses { refused() } else { Ok(self.call(*call)) }).collect()
    }

    fn open(&mut self, _calls: &[CallNumber]) -> Result<(), TargetError> {
        if self.fault == Fault::Refuses { Err(TargetError::Refused("no room".into())) } else { Ok(()) }
    }

    fn churn(&mut self, _first: CallNumber, at_once: usize, time: Duration) -> Result<Churned, TargetError> {
        let replies = [vec![1_000_000; at_once], vec![2_000_000; at_once], vec![3_000_000; at_once]];
        Ok(Churned { calls: at_once as u64, took: time, replies })
    }

    fn tear_down(&mut self, calls: &[CallNumber]) -> Result<(), TargetError> {
        for call in calls {
            self.news.as_ref().expect("it runs").send(News::Over(*call)).expect("it runs");
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.news = None;
        self.thread.take().map(JoinHandle::join);
    }
}

/// The relay's thread.
fn forward(fault: Fault, coming: &Receiver<News>, counted: &AtomicU64) {
    let mut calls: HashMap<CallNumber, [(UdpSocket, SocketAddr); 2]> = HashMap::new();
    let (mut count, mut buffer) = (0_u64, [0; 2048]);
    loop {
        match coming.try_recv() {
            Ok(News::Call(number, call)) => drop(calls.insert(number, call)),
            Ok(News::Over(number)) => drop(calls.remove(&number)),
            Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
            Err(std::sync::mpsc::TryRecvError::Empty) => net::sleep_until(net::now() + 200_000),
        }
        for (number, call) in &calls {
            for side in [0, 1] {
                while let Some(length) = receive(&call[side].0, &mut buffer) {
                    count += 1;
                    counted.store(count, Ordering::Relaxed);
                    if fault == Fault::Stalls && count == 100 {
                        net::sleep_until(net::now() + 200_000_000);
                    }
                    let (socket, to) = &call[1 - side];
                    let next = calls.get(&CallNumber((number.0 + 1) % 10));
                    let to = if fault == Fault::SwapsCalls { next.map_or(*to, |next| next[1 - side].1) } else { *to };
                    let times = fault.times(count, calls.len());
                    buffer[100] ^= u8::from(fault == Fault::Corrupts);
                    for _ in 0..times {
                        let _ = socket.send_to(&buffer[..length], to);
                    }
                    if fault == Fault::Reflects {
                        let _ = call[side].0.send_to(&buffer[..length], call[side].1);
                    }
                }
            }
        }
    }
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<usize> {
    match socket.recv_from(buffer) {
        Ok((length, _)) => Some(length),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => receive(socket, buffer),
        Err(error) => panic!("{error}"),
    }
}
