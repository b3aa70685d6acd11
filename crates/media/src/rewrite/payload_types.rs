//! Which payload types of one leg pass to another, and as what.

use model::PayloadType;

/// From the payload types of one leg to those of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PayloadTypeMap {
    /// For each of the 128, its place in `passages`.
    places: [u8; 128],
    passages: Vec<Passage>,
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

/// The place of a payload type that does not pass.
const NOWHERE: u8 = u8::MAX;

impl Default for PayloadTypeMap {
    fn default() -> Self {
        Self { places: [NOWHERE; 128], passages: Vec::new() }
    }
}

impl PayloadTypeMap {
    /// Lets one payload type pass, under another number, by the clock that all share.
    pub fn insert(&mut self, incoming: PayloadType, outgoing: PayloadType) {
        self.insert_passage(incoming, Passage { outgoing, clock_rate: None, durations: None });
    }

    /// Lets one payload type pass.
    pub fn insert_passage(&mut self, incoming: PayloadType, passage: Passage) {
        let place = &mut self.places[usize::from(u8::from(incoming))];
        match self.passages.get_mut(usize::from(*place)) {
            Some(known) => *known = passage,
            None => {
                *place = u8::try_from(self.passages.len()).unwrap_or(NOWHERE); // one for each of 128 at most
                self.passages.push(passage);
            }
        }
    }

    /// What becomes of a payload type; `None` if it must not pass.
    pub fn passage(&self, incoming: PayloadType) -> Option<&Passage> {
        self.passages.get(usize::from(self.places[usize::from(u8::from(incoming))]))
    }

    /// The number on the other leg; `None` if it must not pass.
    pub fn outgoing(&self, incoming: PayloadType) -> Option<PayloadType> {
        self.passage(incoming).map(|passage| passage.outgoing)
    }

    /// The way back: the first payload type that becomes `outgoing`.
    pub fn incoming(&self, outgoing: PayloadType) -> Option<PayloadType> {
        (0..=127)
            .filter_map(|number| PayloadType::try_from(number).ok())
            .find(|pt| self.outgoing(*pt) == Some(outgoing))
    }
}
