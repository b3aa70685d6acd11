//! The threads together: starting, sending, counting, stopping.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::Waker;
use model::{CallId, CommandError, FromRelay, Request, ToRelay};

use crate::counters::Published;
use crate::handshakes::reason_of;
use crate::sockets::SocketOptions;
use crate::worker::{Outside, Sink, Worker};
use crate::{Config, Counters, kernel};

/// How long [`RelayThreads::stop`] waits for the threads.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// The relay on its threads. They stop when it is dropped.
pub struct RelayThreads {
    workers: Vec<WorkerHandle>,
    sink: Sink,
    commands_refused: AtomicU64,
    stopping: Arc<AtomicBool>,
    running: Mutex<Running>,
}

/// What it takes to wait for the threads.
struct Running {
    handles: Vec<JoinHandle<()>>,
    /// Disconnects when the last thread has ended.
    ended: Receiver<()>,
}

/// What the outside holds of a worker.
struct WorkerHandle {
    inbox: SyncSender<Request>,
    waker: Arc<Waker>,
    /// It was woken, and has not looked into its inbox since.
    woken: Arc<AtomicBool>,
    published: Arc<Published>,
}

impl RelayThreads {
    /// Starts the workers. Replies and events go to `sink`, which runs on the workers' threads and must not wait.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, or the machine refuses a thread; the text says which.
    pub fn start(config: Config, sink: impl Fn(FromRelay) + Send + Sync + 'static) -> io::Result<Self> {
        let options =
            SocketOptions { tos: config.tos, video_tos: config.video_tos, receive_buffer: config.receive_buffer };
        check_addresses(&config, options)?;
        tracing::info!(hashing = relay::Lanes::detect().reason(), "SRTP tags");
        let cores = kernel::allowed_cores()?;
        let count = u16::try_from(config.workers.map_or(cores.len(), NonZeroUsize::get))
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "more workers than there are ports"))?;
        let sink: Sink = Arc::new(sink);
        let (alive, ended) = mpsc::channel();
        let mut threads = Self {
            workers: Vec::new(),
            sink,
            commands_refused: AtomicU64::new(0),
            stopping: Arc::default(),
            running: Mutex::new(Running { handles: Vec::new(), ended }),
        };
        for number in 0..count {
            let core = cores[usize::from(number) % cores.len()];
            threads.start_worker(&config, options, number, count, core, alive.clone())?;
        }
        Ok(threads)
    }

    fn start_worker(
        &mut self,
        config: &Config,
        options: SocketOptions,
        number: u16,
        count: u16,
        core: usize,
        alive: Sender<()>,
    ) -> io::Result<()> {
        let (inbox, outbox) = mpsc::sync_channel(config.command_queue);
        let published = Arc::new(Published::default());
        let woken = Arc::<AtomicBool>::default();
        let outside = Outside {
            inbox: outbox,
            woken: Arc::clone(&woken),
            sink: Arc::clone(&self.sink),
            published: Arc::clone(&published),
            stopping: Arc::clone(&self.stopping),
        };
        let name = format!("relay-{number}");
        // What rests leaves half of the descriptors to the rest of the process, and to calls on other workers.
        let most_sockets = kernel::most_open_files()? / 2 / usize::from(count);
        let relay = config.share(number, count);
        let (worker, waker) = Worker::new(name.clone(), relay, options, most_sockets, config.longest_wait, outside)?;
        let handle = thread::Builder::new().name(name).spawn(move || {
            let _alive = alive;
            if let Err(error) = kernel::pin_to(core) {
                tracing::warn!(number, core, %error, "relay worker runs on any core");
            }
            supervise(worker, number);
        })?;
        self.running().handles.push(handle);
        self.workers.push(WorkerHandle { inbox, waker, woken, published });
        Ok(())
    }

    /// Sends a command to the worker of its call. Its reply comes to the sink, also when the command is refused.
    pub fn send(&self, message: ToRelay) {
        let ToRelay::Command(request) = message;
        let id = request.id;
        let worker = &self.workers[self.worker_of(request.command.call())];
        let refusal = match worker.inbox.try_send(request) {
            Ok(()) => return worker.wake_once(),
            Err(TrySendError::Full(_)) => CommandError::Overloaded,
            Err(TrySendError::Disconnected(_)) => CommandError::Stopping,
        };
        self.commands_refused.fetch_add(1, Ordering::Relaxed);
        (self.sink)(FromRelay::Reply { id, outcome: Err(refusal) });
    }

    /// Both legs of a call live on one worker, which the call's number decides.
    fn worker_of(&self, call: CallId) -> usize {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(call);
        usize::try_from(hash % self.workers.len() as u64).expect("less than the number of workers")
    }

    /// What was counted, at most a second ago.
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for worker in &self.workers {
            sum.add(&worker.published.read());
        }
        sum.io.commands_refused += self.commands_refused.load(Ordering::Relaxed);
        sum
    }

    /// Stops the threads, which drop their calls and close their sockets. Says whether all of them ended in time.
    pub fn stop(&self) -> bool {
        self.stopping.store(true, Ordering::Relaxed);
        for worker in &self.workers {
            worker.wake();
        }
        let mut running = self.running();
        if running.ended.recv_timeout(STOP_WITHIN) != Err(RecvTimeoutError::Disconnected) {
            return false;
        }
        // They are past their last line, so joining does not wait; what panicked was logged when it did.
        running.handles.drain(..).for_each(|handle| drop(handle.join()));
        true
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RelayThreads {
    fn drop(&mut self) {
        if !self.stop() {
            tracing::error!("a relay thread did not stop");
        }
    }
}

impl WorkerHandle {
    /// Wakes it, unless it is still to look after it was woken before. What is in its inbox by now it will see.
    fn wake_once(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a worker cannot be woken");
        }
    }
}

/// Refuses to start where an address is not this machine's.
fn check_addresses(config: &Config, options: SocketOptions) -> io::Result<()> {
    for address in &config.relay.addresses {
        options.bind(SocketAddr::new(address.bind, 0), relay::Traffic::Audio).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot bind the media address {}: {error}", address.bind))
        })?;
    }
    Ok(())
}

/// Runs a worker; one that panics is reported and begins anew without its calls.
fn supervise(mut worker: Worker, number: u16) {
    loop {
        let outcome = catch_unwind(AssertUnwindSafe(|| worker.run()));
        match &outcome {
            Ok(Ok(())) => break,
            Ok(Err(error)) => tracing::error!(number, %error, "relay worker cannot wait for its sockets and ends"),
            Err(panic) => tracing::error!(number, reason = reason_of(&**panic), "relay worker failed"),
        }
        if let Err(error) = worker.recover() {
            tracing::error!(number, %error, "relay worker ends");
            break;
        }
        if outcome.is_ok() {
            break;
        }
    }
    worker.finish();
}
