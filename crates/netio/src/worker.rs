//! A worker: one thread with its own poll, sockets, clock and relay.

use std::collections::HashSet;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use dtls::{Certificate, FailureReason, FromDtls, ToDtls};
use mio::{Events, Poll, Token, Waker};
use model::{CallId, Command, CommandError, Event, FromRelay, News, Request};
use relay::{CertificatePolicy, Datagram, Forward, Relay, SocketId, Sockets as _, Transmit};

use crate::counters::{Counters, IoCounters, Published};
use crate::handshakes::Handshakes;
use crate::kernel::{self, Arrival, Arrivals, BATCH, Departure, Segmentation};
use crate::pace::Pace;
use crate::random::RandomStore;
use crate::sockets::{OpenSockets, SocketOptions};

/// Where a worker's replies and events go. It runs on the worker's thread, so it must not wait.
pub(crate) type Sink = Arc<dyn Fn(FromRelay) + Send + Sync>;

/// The token of the waker; sockets have theirs from 0.
const WAKER: Token = Token(usize::MAX);

/// Datagrams read from one socket before the others have their turn.
const PER_TURN: usize = 64;

/// Sockets that are read before what they had goes on: enough to hash a batch side by side, and few enough that nothing
/// waits long for the rest.
const TOGETHER: usize = 16;

/// What is taken from other threads in one turn of the loop.
const MESSAGES_PER_TURN: usize = 64;

/// DTLS associations a call may have: two legs, each with audio and video, RTP and RTCP apart.
const ASSOCIATIONS_PER_CALL: usize = 8;

/// How often counters are published, and so the longest sleep.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// What ties a worker to the rest of the process.
pub(crate) struct Outside {
    /// Commands; the waker tells of them.
    pub(crate) inbox: Receiver<Request>,
    /// Set when the waker told of commands; cleared before they are taken.
    pub(crate) woken: Arc<AtomicBool>,
    /// Replies and events.
    pub(crate) sink: Sink,
    /// Counters.
    pub(crate) published: Arc<Published>,
    /// Set when all is to end; the waker tells of it.
    pub(crate) stopping: Arc<AtomicBool>,
}

/// One thread's share of the relay.
pub(crate) struct Worker {
    name: String,
    config: relay::Config,
    relay: Relay,
    handshakes: Handshakes,
    waker: Arc<Waker>,
    poll: Poll,
    sockets: OpenSockets,
    outside: Outside,
    publish_at: Instant,
    /// The calls to answer for, should the relay fail.
    calls: HashSet<CallId>,
    arrivals: Arrivals,
    /// What goes on from the batch in `arrivals`: its slot there, and where to.
    forwards: Vec<(usize, Forward)>,
    segmentation: Segmentation,
    /// What the relay itself wants sent.
    transmits: Vec<Transmit>,
    /// Replies and events of this turn, which leave together, so that who waits for them is woken once.
    told: Vec<FromRelay>,
    /// Sockets that may have something to read.
    readable: Vec<SocketId>,
    /// Packets of this turn.
    packets: u32,
    pace: Pace,
    /// More commands may wait than one turn took.
    commands_wait: bool,
    io: IoCounters,
    /// What relays counted that failed.
    past: relay::Counters,
}

impl Worker {
    /// Makes a worker, and the waker that tells it of what is in its inbox. The name is for its threads.
    pub(crate) fn new(
        name: String,
        config: relay::Config,
        options: SocketOptions,
        most_sockets: usize,
        longest_wait: Duration,
        outside: Outside,
    ) -> io::Result<(Self, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let mut sockets = OpenSockets::new(poll.registry().try_clone()?, options, most_sockets);
        let worker = Self {
            handshakes: start_handshakes(&name, &config, &waker)?,
            waker: Arc::clone(&waker),
            name,
            relay: new_relay(&config, &mut sockets)?,
            sockets,
            config,
            poll,
            outside,
            publish_at: clock() + PUBLISH_EVERY,
            calls: HashSet::new(),
            arrivals: Arrivals::new(),
            forwards: Vec::with_capacity(BATCH),
            segmentation: Segmentation::of_kernel(),
            transmits: Vec::new(),
            told: Vec::new(),
            readable: Vec::new(),
            packets: 0,
            pace: Pace::new(longest_wait, clock()),
            commands_wait: false,
            io: IoCounters::default(),
            past: relay::Counters::default(),
        };
        Ok((worker, waker))
    }

    /// Works until it is told to stop, or its poll fails.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut now = clock();
        loop {
            self.flush();
            self.wait(&mut events, now)?;
            now = clock();
            self.receive(now);
            self.timers(now);
            let turn = self.commands(now);
            self.tell();
            if turn == Turn::Stop {
                return Ok(());
            }
        }
    }

    /// Sends what the relay itself wanted sent, then closes what it needs no more: goodbyes leave before their sockets go.
    fn flush(&mut self) {
        let mut transmits = mem::take(&mut self.transmits);
        for group in transmits.chunk_by(|one, next| one.from == next.from) {
            let departures = group.iter().map(|transmit| Departure { bytes: &transmit.bytes, to: transmit.to });
            send(&self.sockets, group[0].from, departures, self.segmentation, &mut self.io);
        }
        transmits.clear();
        self.transmits = transmits;
        while let Some(socket) = self.relay.poll_close() {
            self.sockets.close(socket);
        }
    }

    /// Hands out the replies and events of a turn, in order.
    fn tell(&mut self) {
        self.told.drain(..).for_each(&*self.outside.sink);
    }

    /// Sleeps until a datagram, a command or a deadline; not at all when work is left over.
    fn wait(&mut self, events: &mut Events, now: Instant) -> io::Result<()> {
        let left_over = !self.readable.is_empty();
        let timeout = if self.commands_wait || left_over || !self.transmits.is_empty() {
            Duration::ZERO
        } else {
            let next = self.relay.poll_timeout().map_or(self.publish_at, |due| due.min(self.publish_at));
            self.gather_until(next);
            next.saturating_duration_since(now)
        };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => events.clear(),
            outcome => outcome?,
        }
        for event in &*events {
            match event.token() {
                WAKER => self.commands_wait = true,
                token => self.readable.extend(self.sockets.readable(token)),
            }
        }
        if left_over {
            // One of those may have become readable again.
            self.readable.sort_unstable();
            self.readable.dedup();
        }
        Ok(())
    }

    /// Lets packets gather, but not beyond a deadline.
    #[expect(clippy::disallowed_methods, reason = "a pause within the bound that the configuration sets")]
    fn gather_until(&self, deadline: Instant) {
        if let Some(at) = self.pace.look_at() {
            let time = at.min(deadline).saturating_duration_since(clock());
            if !time.is_zero() {
                thread::sleep(time);
            }
        }
    }

    /// Reads what arrived and passes it on.
    fn receive(&mut self, now: Instant) {
        self.packets = 0;
        let mut readable = mem::take(&mut self.readable);
        let mut together = 0;
        readable.retain(|socket| {
            let left = self.receive_from(*socket, now);
            together += 1;
            if together == TOGETHER {
                together = 0;
                self.handle_batch(now);
            }
            left == Left::Perhaps
        });
        self.readable = readable;
        self.handle_batch(now);
        self.pace.count(self.packets, now);
    }

    /// Reads one socket's share into the batch, which is handled whenever it is full.
    fn receive_from(&mut self, socket: SocketId, now: Instant) -> Left {
        let mut share = PER_TURN;
        while share > 0 {
            let Some(descriptor) = self.sockets.socket(socket) else { return Left::Nothing };
            let asked = share.min(self.arrivals.room());
            match self.arrivals.receive(socket, descriptor, asked) {
                Ok(count) if count < asked => return Left::Nothing,
                Ok(count) => share -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Left::Nothing,
                Err(error) => {
                    tracing::debug!(%error, ?socket, "receiving failed");
                    self.io.receive_errors += 1;
                    share -= 1;
                }
            }
            if self.arrivals.room() == 0 {
                self.handle_batch(now);
            }
        }
        Left::Perhaps
    }

    /// Gives the relay what was read, and sends what goes on.
    fn handle_batch(&mut self, now: Instant) {
        self.packets = self.packets.saturating_add(u32::try_from(self.arrivals.len()).unwrap_or(u32::MAX));
        let oversized = &mut self.io.oversized;
        let datagrams = self.arrivals.iter_mut().enumerate().filter_map(|(slot, arrival)| {
            let Arrival { socket: arrived_on, buffer, length, from } = arrival;
            *oversized += u64::from(from.is_none());
            Some((slot, Datagram { arrived_on, from: from?, buffer, length }))
        });
        self.relay.handle_batch(datagrams, now, &mut self.forwards);
        self.collect(now);
        for group in self.forwards.chunk_by(|(_, one), (_, next)| one.from == next.from) {
            let departures = group.iter().map(|(slot, forward)| Departure {
                bytes: &self.arrivals.buffer(*slot)[forward.bytes.clone()],
                to: forward.to,
            });
            send(&self.sockets, group[0].1.from, departures, self.segmentation, &mut self.io);
        }
        self.forwards.clear();
        self.arrivals.clear();
    }

    /// Does what is due.
    fn timers(&mut self, now: Instant) {
        if self.relay.poll_timeout().is_some_and(|due| due <= now) {
            self.relay.handle_timeout(now);
            self.collect(now);
        }
        if now >= self.publish_at {
            self.publish_at = now + PUBLISH_EVERY;
            self.publish();
        }
    }

    /// Takes what other threads have to say: the DTLS engine first, whose news calls wait for.
    fn commands(&mut self, now: Instant) -> Turn {
        if !mem::take(&mut self.commands_wait) {
            return Turn::GoOn;
        }
        if self.outside.stopping.load(Ordering::Relaxed) {
            return Turn::Stop;
        }
        // What is put into the inbox from here on wakes again.
        self.outside.woken.swap(false, Ordering::AcqRel);
        for _ in 0..MESSAGES_PER_TURN {
            if let Some(told) = self.handshakes.next() {
                self.relay.handle_dtls(told, now);
                self.collect(now);
            } else if let Ok(request) = self.outside.inbox.try_recv() {
                self.carry_out(request, now);
            } else {
                return Turn::GoOn;
            }
        }
        self.commands_wait = true;
        Turn::GoOn
    }

    fn carry_out(&mut self, Request { id, command }: Request, now: Instant) {
        let call = command.call();
        let begins = matches!(command, Command::CreateCall { .. });
        let ends = matches!(command, Command::End { .. });
        let outcome = self.relay.handle_command(command, now, &mut self.sockets);
        if begins && outcome.is_ok() {
            self.calls.insert(call);
        }
        if ends {
            self.calls.remove(&call);
        }
        self.told.push(FromRelay::Reply { id, outcome });
        self.collect(now);
    }

    /// Takes what the relay has to say after each thing it was told.
    fn collect(&mut self, now: Instant) {
        while let Some(input) = self.relay.poll_dtls() {
            let Err(refused) = self.handshakes.tell(input) else { continue };
            self.io.dtls_queue_full += 1;
            if let ToDtls::Open { association, .. } = refused {
                let failed = FromDtls::Failed { association, reason: FailureReason::TooMany };
                self.relay.handle_dtls(failed, now);
            }
        }
        while let Some(transmit) = self.relay.poll_transmit() {
            self.transmits.push(transmit);
        }
        while let Some(event) = self.relay.poll_event() {
            self.told.push(FromRelay::Event(event));
        }
    }

    fn publish(&self) {
        let mut relay = self.past.clone();
        relay.add(self.relay.counters());
        let io = IoCounters { late: self.sockets.late(), ..self.io };
        self.outside.published.publish(Counters { relay, io });
    }

    /// Begins anew after a failure: the calls are lost, and whoever set them up is told.
    ///
    /// # Errors
    ///
    /// The machine refuses a thread, or the ICE port.
    pub(crate) fn recover(&mut self) -> io::Result<()> {
        self.past.add(self.relay.counters());
        self.past.calls = 0;
        self.past.ports_in_use = 0;
        self.past.streams = 0;
        self.io.failures += 1;
        self.sockets.close_all();
        self.relay = new_relay(&self.config, &mut self.sockets)?;
        self.arrivals.clear();
        self.forwards.clear();
        self.transmits.clear();
        self.readable.clear();
        self.commands_wait = true;
        let lost = mem::take(&mut self.calls).into_iter().map(|call| Event { call, news: News::Lost });
        self.told.extend(lost.map(FromRelay::Event));
        self.tell();
        self.publish();
        // Another engine too, because the new relay may name an association as the old one did.
        let handshakes = start_handshakes(&self.name, &self.config, &self.waker)?;
        mem::replace(&mut self.handshakes, handshakes).stop();
        Ok(())
    }

    /// Refuses the commands that still wait, and ends what runs beside.
    pub(crate) fn finish(self) {
        for Request { id, .. } in self.outside.inbox.try_iter() {
            (self.outside.sink)(FromRelay::Reply { id, outcome: Err(CommandError::Stopping) });
        }
        self.publish();
        self.handshakes.stop();
    }
}

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    GoOn,
    Stop,
}

/// Whether a socket has more to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Left {
    Nothing,
    Perhaps,
}

/// Sends through one socket; what the kernel does not take is counted, as UDP would lose it too.
fn send<'a>(
    sockets: &OpenSockets,
    from: SocketId,
    departures: impl ExactSizeIterator<Item = Departure<'a>> + Clone,
    segmentation: Segmentation,
    io: &mut IoCounters,
) {
    let Some(descriptor) = sockets.socket(from) else {
        io.send_errors += departures.len() as u64;
        return;
    };
    let mut done = 0;
    while done < departures.len() {
        match kernel::send(descriptor, departures.clone().skip(done), segmentation) {
            Ok(sent) => done += sent.max(1),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                io.send_queue_full += (departures.len() - done) as u64;
                return;
            }
            Err(error) => {
                tracing::debug!(%error, ?from, "sending failed");
                io.send_errors += 1;
                done += 1;
            }
        }
    }
}

fn new_relay(config: &relay::Config, sockets: &mut OpenSockets) -> io::Result<Relay> {
    let mut store = RandomStore::default();
    let mut relay = Relay::new(config.clone(), Box::new(move |bytes| store.fill(bytes)));
    relay.open_ice_port(sockets).map_err(|error| {
        io::Error::other(format!("cannot open the ICE port {}: {error}", config.ice_port.unwrap_or_default()))
    })?;
    relay.set_clock(clock(), wall_clock());
    Ok(relay)
}

fn start_handshakes(name: &str, config: &relay::Config, waker: &Arc<Waker>) -> io::Result<Handshakes> {
    let certificate = match &config.certificates {
        CertificatePolicy::PerProcess(certificate) => Arc::clone(certificate),
        CertificatePolicy::PerCall => Arc::new(Certificate::generate().map_err(io::Error::other)?),
    };
    let config = dtls::Config { certificate, max_associations: config.max_calls.saturating_mul(ASSOCIATIONS_PER_CALL) };
    Handshakes::start(config, format!("{name}-dtls"), Arc::clone(waker))
}

/// The clock, read once per turn of the loop, and once more before it sleeps.
#[expect(clippy::disallowed_methods, reason = "this is the shell that gives the cores their time")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// The time since 1970.
#[expect(clippy::disallowed_methods, reason = "this is the shell that gives the cores their time")]
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
