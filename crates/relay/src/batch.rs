//! Datagrams that arrived together, and the SRTP tags that are computed for all of them at a time.
//!
//! ```text
//! ahead       what can be told of each packet before its turn: the tag it should have, side by side
//! in turn     each packet through the spine, in the order of arrival
//! afterwards  the tags of what goes on, side by side
//! ```
//!
//! A tag computed ahead is a guess: the spine takes it only for the index that the packet turns out to have.

use std::ops::Range;
use std::time::Instant;

use lanes::{CODE_LENGTH, Lanes, Message};
use media::srtp::{Tag, Untagged};

use crate::resources::Route;
use crate::{Datagram, Relay};

/// Datagrams whose tags are computed together.
const LENGTH: usize = 64;

/// Some datagrams that arrived together.
pub(crate) struct Batch<'b>([Option<Arrival<'b>>; LENGTH]);

/// One of them.
pub(crate) struct Arrival<'b> {
    /// What the shell knows its buffer by.
    pub(crate) number: usize,
    pub(crate) datagram: Datagram<'b>,
    pub(crate) tags: Tags,
    /// Whose it is, as far as that was found ahead.
    pub(crate) route: Option<Route>,
    /// Which bytes of the buffer leave.
    pub(crate) leaves: Option<Range<usize>>,
}

/// The tags of a packet that are computed apart from it.
#[derive(Default)]
pub(crate) struct Tags {
    /// What its tag should be.
    pub(crate) ahead: Option<Tag>,
    /// Where its tag goes, once it was sealed.
    pub(crate) untagged: Option<Untagged>,
}

impl<'b> Batch<'b> {
    /// Takes the next datagrams; `None` if there are no more.
    pub(crate) fn take(datagrams: &mut impl Iterator<Item = (usize, Datagram<'b>)>) -> Option<Self> {
        let first = Arrival::new(datagrams.next()?);
        let mut batch = [const { None }; LENGTH];
        batch[0] = Some(first);
        for (slot, datagram) in batch[1..].iter_mut().zip(datagrams) {
            *slot = Some(Arrival::new(datagram));
        }
        Some(Self(batch))
    }

    /// The datagrams in the order of arrival.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Arrival<'b>> {
        self.0.iter_mut().map_while(Option::as_mut)
    }

    /// Computes the tags that packets should have, where the relay can tell what they are computed of.
    pub(crate) fn compute_ahead(&mut self, relay: &Relay, lanes: Lanes, now: Instant) {
        let mut messages = [None; LENGTH];
        let mut routes = [None; LENGTH];
        let arrivals = self.0.iter().map_while(Option::as_ref);
        for ((message, route), arrival) in messages.iter_mut().zip(&mut routes).zip(arrivals) {
            (*route, *message) = relay.foresee(&arrival.datagram, now);
        }
        let mut codes = [[0; CODE_LENGTH]; LENGTH];
        lanes.authenticate(&messages, &mut codes);
        let trailers = messages.map(|message| message.map(|message| message.trailer));
        for (((arrival, trailer), code), route) in self.0.iter_mut().flatten().zip(trailers).zip(codes).zip(routes) {
            arrival.route = route;
            arrival.tags.ahead = trailer.map(|trailer| Tag::new(trailer, code));
        }
    }

    /// Computes and writes the tags of what leaves.
    pub(crate) fn complete(&mut self, lanes: Lanes) {
        let mut messages = [None; LENGTH];
        for (message, arrival) in messages.iter_mut().zip(self.0.iter().map_while(Option::as_ref)) {
            *message = arrival.to_be_tagged();
        }
        let mut codes = [[0; CODE_LENGTH]; LENGTH];
        lanes.authenticate(&messages, &mut codes);
        for (arrival, code) in self.iter_mut().zip(codes) {
            arrival.complete(&code);
        }
    }
}

impl<'b> Arrival<'b> {
    pub(crate) fn new((number, datagram): (usize, Datagram<'b>)) -> Self {
        Self { number, datagram, tags: Tags::default(), route: None, leaves: None }
    }

    /// What the tag is computed of, if it leaves and has none yet.
    pub(crate) fn to_be_tagged(&self) -> Option<Message<'_>> {
        let leaves = self.leaves.clone()?;
        Some(self.tags.untagged.as_ref()?.message(&self.datagram.buffer[leaves]))
    }

    /// Writes the tag, if it leaves and has none yet.
    pub(crate) fn complete(&mut self, code: &[u8; CODE_LENGTH]) {
        if let (Some(leaves), Some(untagged)) = (self.leaves.clone(), self.tags.untagged.take()) {
            untagged.complete(&mut self.datagram.buffer[leaves], code);
        }
    }
}
