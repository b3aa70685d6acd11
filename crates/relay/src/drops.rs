//! Why a datagram went no further, and how often.

/// Why a datagram went no further. One variant is one counter and one metric label.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Dropped {
    /// It came to a socket that no call has any more.
    UnknownSocket,
}

impl Dropped {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::UnknownSocket];

    /// The label under which it is counted.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownSocket => "unknown_socket",
        }
    }
}

/// What the relay counts. The counters only grow; the gauges `calls` and `ports_in_use` do not.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counters {
    /// Datagrams that arrived.
    pub packets_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Media packets that went on to the other leg.
    pub packets_forwarded: u64,
    /// Their bytes, as sent.
    pub bytes_forwarded: u64,
    /// Calls made since the start.
    pub calls_created: u64,
    /// Calls now.
    pub calls: usize,
    /// Sockets open now.
    pub ports_in_use: usize,
    dropped: [u64; Dropped::ALL.len()],
}

impl Counters {
    /// How many datagrams were dropped for a reason.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize]
    }

    /// Adds what another relay counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            packets_received,
            bytes_received,
            packets_forwarded,
            bytes_forwarded,
            calls_created,
            calls,
            ports_in_use,
            dropped,
        } = other;
        self.packets_received += packets_received;
        self.bytes_received += bytes_received;
        self.packets_forwarded += packets_forwarded;
        self.bytes_forwarded += bytes_forwarded;
        self.calls_created += calls_created;
        self.calls += calls;
        self.ports_in_use += ports_in_use;
        for (sum, more) in self.dropped.iter_mut().zip(dropped) {
            *sum += more;
        }
    }
}
