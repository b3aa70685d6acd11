//! The calls of a relay, by number and by place, and when each has something to do.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use model::CallId;

use crate::call::Call;
use crate::resources::Resources;

/// All calls. A call keeps its place as long as it lives, so that a packet finds it by one look into an array.
#[derive(Default)]
pub(crate) struct Calls {
    slots: Vec<Option<Box<Call>>>,
    free: Vec<usize>,
    by_id: HashMap<CallId, usize>,
    /// The deadlines in order, so that the next one is the first.
    alarms: BTreeSet<(Instant, usize)>,
}

impl Calls {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Where a call is.
    pub(crate) fn place_of(&self, id: CallId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// Where the next call will be.
    pub(crate) fn next_place(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    /// Keeps a call that was made for [`Calls::next_place`].
    pub(crate) fn insert(&mut self, call: Call) {
        let place = self.next_place();
        self.by_id.insert(call.id, place);
        match self.free.pop() {
            Some(place) => self.slots[place] = Some(Box::new(call)),
            None => self.slots.push(Some(Box::new(call))),
        }
    }

    /// The call at a place.
    pub(crate) fn get(&self, place: usize) -> Option<&Call> {
        self.slots.get(place)?.as_deref()
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut Call> {
        self.slots.get_mut(place)?.as_deref_mut()
    }

    /// Takes a call out.
    pub(crate) fn remove(&mut self, place: usize) -> Option<Box<Call>> {
        let call = self.slots.get_mut(place)?.take()?;
        self.free.push(place);
        self.by_id.remove(&call.id);
        if let Some(alarm) = call.alarm {
            self.alarms.remove(&(alarm, place));
        }
        Some(call)
    }

    /// Sets a call's alarm anew, after something may have moved its deadlines.
    pub(crate) fn set_alarm(&mut self, place: usize, resources: &Resources) {
        let Some(call) = self.slots.get_mut(place).and_then(Option::as_deref_mut) else { return };
        call.alarm_moved = false;
        let deadline = call.deadline(resources);
        if call.alarm == deadline {
            return;
        }
        if let Some(alarm) = std::mem::replace(&mut call.alarm, deadline) {
            self.alarms.remove(&(alarm, place));
        }
        if let Some(deadline) = deadline {
            self.alarms.insert((deadline, place));
        }
    }

    /// The first deadline of all.
    pub(crate) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Takes a call whose alarm is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<usize> {
        let (at, place) = self.alarms.first().copied().filter(|(at, _)| *at <= now)?;
        self.alarms.remove(&(at, place));
        if let Some(call) = self.get_mut(place) {
            call.alarm = None;
        }
        Some(place)
    }
}
