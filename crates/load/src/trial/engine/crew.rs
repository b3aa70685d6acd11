//! All workers together: calls are spread over them, and what they say is added up.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use hdrhistogram::Histogram;

use super::net::{self, Readiness};
use super::process::overflowed;
use super::seat::Shape;
use super::worker::{Interval, Measured, Order, Pace, Retired, Worker, histogram};
use crate::trial::target::{CallNumber, ReadyCall};

/// The workers of a trial. They end when it is dropped.
#[derive(Debug)]
pub(super) struct Crew {
    hands: Vec<Hand>,
    /// Datagrams that other sockets had lost at these ports before.
    overflowed: HashMap<u16, u64>,
}

/// One worker.
#[derive(Debug)]
struct Hand {
    /// `None` once it is told to end.
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
    /// Its processor time when it was last asked, in nanoseconds.
    busy: u64,
}

/// What happened in all workers since they were asked before.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) lost: i64,
    pub(super) latency: Histogram<u64>,
    /// Nanoseconds of processor time of the busiest worker.
    pub(super) busiest: u64,
    /// Of all of them.
    pub(super) busy: u64,
}

impl Crew {
    /// Starts workers, each on a core of its own if `cores` has enough, wherever the kernel likes if it is empty.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub(super) fn start(count: usize, cores: &[usize], shape: Shape, pace: Pace) -> io::Result<Self> {
        let mut hands = Vec::with_capacity(count);
        for number in 0..count {
            let (orders, taken) = channel();
            let readiness = Readiness::new()?;
            let core = cores.get(number % cores.len().max(1)).copied();
            let body = move || {
                // A core that cannot be had is no reason not to measure; the report says where the thread may run.
                let _ = core.map_or(Ok(()), net::pin_to);
                Worker::new(shape, pace, taken, readiness).run();
            };
            let thread = std::thread::Builder::new().name(format!("load-{number}")).spawn(body)?;
            hands.push(Hand { orders: Some(orders), thread: Some(thread), busy: 0 });
        }
        Ok(Self { hands, overflowed: overflowed() })
    }

    /// How many there are.
    pub(super) const fn len(&self) -> usize {
        self.hands.len()
    }

    /// Adds calls that are ready.
    pub(super) fn add(&self, calls: Vec<ReadyCall>) {
        for (hand, calls) in self.spread(calls, |call| call.number) {
            hand.order(Order::Add(calls));
        }
    }

    /// Lets media flow, of calls that are there and of calls to come.
    pub(super) fn start_media(&self) {
        let at = net::now() + 1_000_000;
        self.hands.iter().for_each(|hand| hand.order(Order::Start(at)));
    }

    /// Lets calls fall silent.
    pub(super) fn hush(&self, calls: &[CallNumber]) {
        for (hand, calls) in self.spread(calls.to_vec(), |call| *call) {
            hand.order(Order::Hush(Some(calls)));
        }
    }

    /// Lets all calls fall silent.
    pub(super) fn hush_all(&self) {
        self.hands.iter().for_each(|hand| hand.order(Order::Hush(None)));
    }

    /// Gives calls up; their ports stay taken until what is returned is dropped.
    pub(super) fn remove(&self, calls: &[CallNumber]) -> Vec<Retired> {
        let mut retired = Vec::new();
        for (hand, calls) in self.spread(calls.to_vec(), |call| *call) {
            retired.extend(hand.ask(|answer| Order::Remove(calls, answer)).into_iter().flatten());
        }
        retired
    }

    /// Packets that were sent and did not come; those on their way are given up where there is no patience left.
    pub(super) fn missing(&self, patient: bool) -> u64 {
        self.hands.iter().filter_map(|hand| hand.ask(|answer| Order::Await { patient, answer })).sum()
    }

    /// What happened since this was asked before.
    pub(super) fn tell(&mut self) -> Told {
        let mut told = Told { sent: 0, received: 0, lost: 0, latency: histogram(), busiest: 0, busy: 0 };
        for hand in &mut self.hands {
            let Some(interval) = hand.ask(Order::Tell) else { continue };
            let Interval { sent, received, lost, latency, busy } = interval;
            told.sent += sent;
            told.received += received;
            told.lost += lost;
            told.latency.add(&latency).expect("all have the same bounds");
            let busy_since = busy.saturating_sub(std::mem::replace(&mut hand.busy, busy));
            told.busiest = told.busiest.max(busy_since);
            told.busy += busy_since;
        }
        told
    }

    /// What all workers measured since this was asked before, and how many datagrams their sockets, those that are still
    /// open, lost after they had arrived.
    pub(super) fn take(&mut self) -> (Measured, u64) {
        let (mut measured, mut overflows) = (Measured::nothing(), 0);
        let lost = overflowed();
        for hand in &mut self.hands {
            let Some(figures) = hand.ask(Order::Take) else { continue };
            hand.busy = figures.busy;
            measured.add(figures.measured);
            for port in figures.ports {
                let lost = lost.get(&port).copied().unwrap_or(0);
                let before = self.overflowed.insert(port, lost).unwrap_or(0);
                overflows += lost.saturating_sub(before);
            }
        }
        (measured, overflows)
    }

    /// Calls by the worker that has them.
    fn spread<T>(&self, calls: Vec<T>, number: impl Fn(&T) -> CallNumber) -> impl Iterator<Item = (&Hand, Vec<T>)> {
        let mut shares: Vec<Vec<T>> = self.hands.iter().map(|_| Vec::new()).collect();
        for call in calls {
            let share = number(&call).0 as usize % shares.len();
            shares[share].push(call);
        }
        self.hands.iter().zip(shares).filter(|(_, share)| !share.is_empty())
    }
}

impl Hand {
    /// Orders something. A worker ends only when it is told to.
    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
        }
    }

    /// Orders something and waits for the answer. `None` if the worker is gone.
    fn ask<T>(&self, order: impl FnOnce(Sender<T>) -> Order) -> Option<T> {
        let (answer, answered) = channel();
        self.order(order(answer));
        answered.recv().ok()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for hand in &mut self.hands {
            hand.orders = None;
        }
        for thread in self.hands.iter_mut().filter_map(|hand| hand.thread.take()) {
            // A panic in it was printed.
            let _ = thread.join();
        }
    }
}
