//! Which payload types of one leg pass to another, and as what.

use model::PayloadType;
use smallvec::SmallVec;

/// From the payload types of one leg to those of another.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PayloadTypeMap {
    /// Those that pass; in a call of sound alone seldom more than one codec and its key presses.
    passages: SmallVec<[(PayloadType, Passage); 2]>,
}

/// What a payload type becomes on the other leg.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Passage {
    /// Its number there.
    pub outgoing: PayloadType,
    /// Ticks of its timestamps per second; `None` for one that speaks of the time of others, as key presses do.
    pub clock_rate: Option<u32>,
    /// The clocks that durations of key presses tick by, where they differ.
    pub durations: Option<Durations>,
}

/// The clocks that the durations of key presses tick by (RFC 4733 §2.3.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Durations {
    /// Ticks per second on the leg that they come from.
    pub incoming: u32,
    /// Ticks per second on the leg that they go to.
    pub outgoing: u32,
}

impl PayloadTypeMap {
    /// Lets one payload type pass, under another number, by the clock that all share.
    pub fn insert(&mut self, incoming: PayloadType, outgoing: PayloadType) {
        self.insert_passage(incoming, Passage { outgoing, clock_rate: None, durations: None });
    }

    /// Lets one payload type pass.
    pub fn insert_passage(&mut self, incoming: PayloadType, passage: Passage) {
        match self.passages.iter_mut().find(|(known, _)| *known == incoming) {
            Some((_, known)) => *known = passage,
            None => self.passages.push((incoming, passage)),
        }
    }

    /// What becomes of a payload type; `None` if it must not pass.
    pub fn passage(&self, incoming: PayloadType) -> Option<&Passage> {
        self.passages.iter().find(|(known, _)| *known == incoming).map(|(_, passage)| passage)
    }

    /// The number on the other leg; `None` if it must not pass.
    pub fn outgoing(&self, incoming: PayloadType) -> Option<PayloadType> {
        self.passage(incoming).map(|passage| passage.outgoing)
    }

    /// The way back: the lowest payload type that becomes `outgoing`.
    pub fn incoming(&self, outgoing: PayloadType) -> Option<PayloadType> {
        self.passages.iter().filter(|(_, passage)| passage.outgoing == outgoing).map(|(incoming, _)| *incoming).min()
    }
}
