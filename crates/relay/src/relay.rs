//! The relay: everything one worker owns.

use std::fmt;
use std::time::Instant;

use crate::{Config, Counters, Datagram, Dropped, Forward, Sockets, Transmit};

/// A source of random bytes that nobody can guess; a test seeds it.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// The packet relay core: the calls of one worker.
pub struct Relay {
    counters: Counters,
}

impl Relay {
    /// Makes a relay without calls.
    pub fn new(config: Config, random: Random) -> Self {
        let _ = (config, random);
        Self { counters: Counters::default() }
    }

    /// Carries out a command.
    ///
    /// # Errors
    ///
    /// The call stays as it was before.
    pub fn handle_command(
        &mut self,
        command: model::Command,
        now: Instant,
        sockets: &mut impl Sockets,
    ) -> Result<model::Reply, model::CommandError> {
        let _ = (command, now, sockets);
        Err(model::CommandError::UnknownCall)
    }

    /// Takes a datagram: media goes on to the other leg, STUN and DTLS are kept (`None`).
    ///
    /// # Errors
    ///
    /// Why it went no further; already counted.
    pub fn handle_packet(&mut self, packet: Datagram<'_>, now: Instant) -> Result<Option<Forward>, Dropped> {
        let _ = (packet, now);
        Err(Dropped::UnknownSocket)
    }

    /// Takes what the DTLS engine tells: datagrams to be sent, keys, verdicts.
    pub fn handle_dtls(&mut self, from: dtls::FromDtls, now: Instant) {
        let _ = (from, now);
    }

    /// Does what is due. Call it at [`Relay::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// The next datagram that the relay itself wants sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        None
    }

    /// What the DTLS engine beside the relay is to be told next.
    pub fn poll_dtls(&mut self) -> Option<dtls::ToDtls> {
        None
    }

    /// The next news for whoever set up the calls.
    pub fn poll_event(&mut self) -> Option<model::Event> {
        None
    }

    /// When to call [`Relay::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("counters", &self.counters).finish_non_exhaustive()
    }
}
