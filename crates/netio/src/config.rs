//! What the threads are told once, when they start.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The settings of the relay's threads.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many workers; one per core that the process may use where nothing is said.
    pub workers: Option<NonZeroUsize>,
    /// The relay's own settings. Its ports are divided among the workers; each may hold as many calls and streams as it
    /// says, since chance decides which worker a call falls to.
    pub relay: relay::Config,
    /// The octet for the Type of Service or Traffic Class field of what is sent (RFC 2474): DSCP in the upper six
    /// bits. 184 is Expedited Forwarding.
    pub tos: u8,
    /// The same where only video is sent. 136 is Assured Forwarding 41.
    pub video_tos: u8,
    /// Bytes the kernel may hold for each socket until they are read; its own default where nothing is said.
    pub receive_buffer: Option<usize>,
    /// How long a worker with much to do may let packets gather, so that one wake-up serves several; zero: not at all.
    pub longest_wait: Duration,
    /// Commands that may wait for one worker. One more is answered by [`model::CommandError::Overloaded`].
    pub command_queue: usize,
}

impl Config {
    /// The usual settings around a relay's own.
    pub fn new(relay: relay::Config) -> Self {
        Self {
            workers: None,
            relay,
            tos: 184,
            video_tos: 136,
            receive_buffer: None,
            longest_wait: Duration::from_millis(1),
            command_queue: 1024,
        }
    }

    /// The settings of one of `count` relays.
    pub(crate) fn share(&self, number: u16, count: u16) -> relay::Config {
        let whole = &self.relay.ports;
        let ports = relay::PortShare {
            range: whole.range.clone(),
            number: whole.number + number * whole.of,
            of: whole.of * count,
        };
        let ice_port = self.relay.ice_port.map(|first| first.saturating_add(number));
        relay::Config { ports, ice_port, ..self.relay.clone() }
    }
}
