//! What waits to be written to the server, bounded in bytes and in age.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::SendError;

/// A queue of written stanzas, each with the time it came in.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: Notify,
    expired: AtomicU64,
    max_bytes: usize,
    max_age: Duration,
}

#[derive(Debug, Default)]
struct Queue {
    stanzas: VecDeque<(Instant, Arc<[u8]>)>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn new(max_bytes: usize, max_age: Duration) -> Self {
        let (queue, filled, expired) = (Mutex::default(), Notify::new(), AtomicU64::new(0));
        Self { queue, filled, expired, max_bytes, max_age }
    }

    pub(super) fn push(&self, stanza: Vec<u8>) -> Result<(), SendError> {
        let mut queue = self.fresh();
        if queue.bytes + stanza.len() > self.max_bytes {
            return Err(SendError::Full);
        }
        queue.bytes += stanza.len();
        queue.stanzas.push_back((Instant::now(), stanza.into()));
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// The oldest stanza. It stays until it is written, so that a broken connection does not lose it.
    pub(super) fn first(&self) -> Option<Arc<[u8]>> {
        self.fresh().stanzas.front().map(|(_, stanza)| Arc::clone(stanza))
    }

    /// Takes off the oldest stanza once it is written, unless it has expired meanwhile.
    pub(super) fn remove(&self, written: &Arc<[u8]>) {
        let mut queue = self.lock();
        if queue.stanzas.front().is_some_and(|(_, stanza)| Arc::ptr_eq(stanza, written)) {
            queue.remove_first();
        }
    }

    /// Waits until something was pushed.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    pub(super) fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// The queue without what is too old.
    fn fresh(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.lock();
        let now = Instant::now();
        while queue.stanzas.front().is_some_and(|(since, _)| now.duration_since(*since) > self.max_age) {
            queue.remove_first();
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
        queue
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the lock, so that a poisoned queue is whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn remove_first(&mut self) {
        if let Some((_, stanza)) = self.stanzas.pop_front() {
            self.bytes -= stanza.len();
        }
    }
}
