//! What the threads count, and how it leaves them.

use std::sync::{Mutex, PoisonError};

/// What the relay's threads counted since they started.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// What the relays counted.
    pub relay: relay::Counters,
    /// What their shells counted.
    pub io: IoCounters,
}

/// What the shells around the relays counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct IoCounters {
    /// Datagrams longer than any that media needs, which were not looked at.
    pub oversized: u64,
    /// Reads that failed.
    pub receive_errors: u64,
    /// Datagrams that were not sent because the kernel's queue was full.
    pub send_queue_full: u64,
    /// Datagrams that the kernel refused to send.
    pub send_errors: u64,
    /// Datagrams and instructions that were lost because too many waited for the DTLS engine.
    pub dtls_queue_full: u64,
    /// Commands that were refused because too many waited.
    pub commands_refused: u64,
    /// Datagrams that came for a call that was over, to a port that rests.
    pub late: u64,
    /// Times a worker failed and was made anew.
    pub failures: u64,
}

impl IoCounters {
    /// Datagrams that were lost at the sockets, by reason: the name is for metrics.
    pub fn lost(&self) -> [(&'static str, u64); 6] {
        [
            ("oversized", self.oversized),
            ("receive_error", self.receive_errors),
            ("send_queue_full", self.send_queue_full),
            ("send_error", self.send_errors),
            ("dtls_queue_full", self.dtls_queue_full),
            ("late", self.late),
        ]
    }
}

impl Counters {
    /// Adds what another worker counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.relay.add(&other.relay);
        let IoCounters {
            oversized,
            receive_errors,
            send_queue_full,
            send_errors,
            dtls_queue_full,
            commands_refused,
            late,
            failures,
        } = other.io;
        self.io.oversized += oversized;
        self.io.receive_errors += receive_errors;
        self.io.send_queue_full += send_queue_full;
        self.io.send_errors += send_errors;
        self.io.dtls_queue_full += dtls_queue_full;
        self.io.commands_refused += commands_refused;
        self.io.late += late;
        self.io.failures += failures;
    }
}

/// Where a worker leaves a copy of its counters now and then; never touched per packet.
#[derive(Debug, Default)]
pub(crate) struct Published(Mutex<Counters>);

impl Published {
    /// Replaces the copy.
    pub(crate) fn publish(&self, counters: Counters) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }

    /// The last copy.
    pub(crate) fn read(&self) -> Counters {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
