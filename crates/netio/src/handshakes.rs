//! The thread beside a worker that does the arithmetic of its DTLS handshakes.
//!
//! ```text
//! worker --ToDtls--> queue --> engine --FromDtls--> queue, waker --> worker
//! ```
//!
//! Both queues are bounded. The worker never waits for the engine: what a full queue does not take is lost, as a
//! datagram may be, and an association that could not be opened has failed. The engine may wait for the worker.

use std::any::Any;
use std::collections::HashSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dtls::{AssociationId, Engine, FailureReason, FromDtls, ToDtls};
use mio::Waker;

use crate::kernel;
use crate::worker::clock;

/// Values that may wait in each direction.
const QUEUE: usize = 2048;

/// How long the memory of ended handshakes may wait for others.
const GIVE_BACK_AFTER: Duration = Duration::from_secs(5);

/// The worker's end of the engine.
pub(crate) struct Handshakes {
    to_engine: SyncSender<ToDtls>,
    from_engine: Receiver<FromDtls>,
    thread: JoinHandle<()>,
}

impl Handshakes {
    /// Starts an engine of its own for the worker that `waker` wakes.
    pub(crate) fn start(config: dtls::Config, name: String, waker: Arc<Waker>) -> io::Result<Self> {
        let (to_engine, inbox) = mpsc::sync_channel(QUEUE);
        let (outbox, from_engine) = mpsc::sync_channel(QUEUE);
        let thread = thread::Builder::new().name(name).spawn(move || {
            let engine = Engine::new(config.clone());
            let mut beside =
                Beside { engine, open: HashSet::new(), inbox, outbox, waker, released: 0, give_back_at: None };
            while let Err(panic) = catch_unwind(AssertUnwindSafe(|| beside.run())) {
                tracing::error!(reason = reason_of(&*panic), "DTLS engine failed and begins anew");
                beside.recover(config.clone());
            }
        })?;
        Ok(Self { to_engine, from_engine, thread })
    }

    /// Tells the engine something. Gives it back where too much waits already.
    pub(crate) fn tell(&self, input: ToDtls) -> Result<(), ToDtls> {
        self.to_engine.try_send(input).map_err(|refused| match refused {
            mpsc::TrySendError::Full(input) | mpsc::TrySendError::Disconnected(input) => input,
        })
    }

    /// What the engine told, if anything.
    pub(crate) fn next(&self) -> Option<FromDtls> {
        self.from_engine.try_recv().ok()
    }

    /// Ends the thread.
    pub(crate) fn stop(self) {
        let Self { to_engine, from_engine, thread } = self;
        drop((to_engine, from_engine));
        // Without its queues the thread ends after the step it is at; a panic was logged where it was caught.
        drop(thread.join());
    }
}

/// What to show for a panic.
pub(crate) fn reason_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}

/// The thread's end.
struct Beside {
    engine: Engine,
    /// Associations whose handshake is not done, to answer for should the engine fail.
    open: HashSet<AssociationId>,
    inbox: Receiver<ToDtls>,
    outbox: SyncSender<FromDtls>,
    waker: Arc<Waker>,
    /// What the engine had let go of when memory was last to be given back, and when that is to be done.
    released: u64,
    give_back_at: Option<Instant>,
}

impl Beside {
    /// Works until the worker lets go of its end.
    fn run(&mut self) {
        while let Some(input) = self.wait() {
            if let Some(input) = input {
                if let ToDtls::Open { association, .. } = &input {
                    self.open.insert(*association);
                }
                self.engine.handle(input, clock());
                if !self.deliver() {
                    return;
                }
            }
            let now = clock();
            if self.engine.poll_timeout().is_some_and(|due| due <= now) {
                self.engine.handle_timeout(now);
                if !self.deliver() {
                    return;
                }
            }
            self.give_back(now);
        }
    }

    /// Gives back to the kernel what handshakes took, once they have let go of it. The allocator keeps it for others
    /// otherwise: after a rush of calls, twice what the calls need.
    fn give_back(&mut self, now: Instant) {
        let released = self.engine.counters().released;
        if std::mem::replace(&mut self.released, released) != released {
            self.give_back_at.get_or_insert(now + GIVE_BACK_AFTER);
        }
        if self.give_back_at.take_if(|at| *at <= now).is_some() {
            kernel::give_back_memory();
        }
    }

    /// The next input, or nothing when a timer is due first; `None` when the worker is gone.
    fn wait(&self) -> Option<Option<ToDtls>> {
        const LONG: Duration = Duration::from_secs(3600);
        let due = self.engine.poll_timeout().into_iter().chain(self.give_back_at).min();
        let timeout = due.map_or(LONG, |due| due.saturating_duration_since(clock()));
        match self.inbox.recv_timeout(timeout) {
            Ok(input) => Some(Some(input)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Brings the engine's output to the worker. False: the worker is gone.
    fn deliver(&mut self) -> bool {
        let mut told = false;
        while let Some(output) = self.engine.poll() {
            match &output {
                FromDtls::Transmit { .. } => {}
                FromDtls::Connected { association, .. }
                | FromDtls::Refused { association, .. }
                | FromDtls::Failed { association, .. }
                | FromDtls::Closed { association } => drop(self.open.remove(association)),
            }
            if !self.send(output) {
                return false;
            }
            told = true;
        }
        if told {
            self.wake();
        }
        true
    }

    /// Waits for room where there is none.
    fn send(&self, output: FromDtls) -> bool {
        match self.outbox.try_send(output) {
            Ok(()) => true,
            Err(mpsc::TrySendError::Full(output)) => {
                self.wake();
                self.outbox.send(output).is_ok()
            }
            Err(mpsc::TrySendError::Disconnected(_)) => false,
        }
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a worker cannot be woken");
        }
    }

    fn recover(&mut self, config: dtls::Config) {
        self.engine = Engine::new(config);
        self.released = 0;
        for association in std::mem::take(&mut self.open) {
            self.send(FromDtls::Failed { association, reason: FailureReason::Handshake });
        }
        self.wake();
    }
}
