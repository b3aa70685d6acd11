//! A call: two legs, and what their agreements come to between them.

use std::time::{Duration, Instant};

use media::dtmf::KeyPress;
use media::packet::Packet;
use media::rewrite::Newcomers;
use model::{CallId, CallStatistics, CommandError, DtmfDigit, LegId, LegPolicy, News, StreamId};

use crate::component::Destination;
use crate::keypress::{Carrier, Due};
use crate::leg::Leg;
use crate::quality::MEASURE_INTERVAL;
use crate::report;
use crate::resources::{Resources, Side, Work};
use crate::stream::{Agreed, LegStream};
use crate::{Dropped, Transmit};

/// How often the figures of a call are told while media may flow.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(30);

/// A call of two legs. The fields stand as a packet needs them, so that it fetches few cache lines.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    /// A packet moved a deadline.
    pub(crate) alarm_moved: bool,
    pub(crate) legs: [Leg; 2],
    /// The deadline that the relay's timers have for it.
    pub(crate) alarm: Option<Instant>,
    /// When its figures are told next.
    statistics_at: Option<Instant>,
    /// When its quality is measured next, and whether it was ever.
    measure_at: Option<Instant>,
    is_measured: bool,
}

/// The leg that something comes from, and the other one.
pub(crate) struct Sides<'a> {
    pub(crate) near: &'a mut Leg,
    pub(crate) far: &'a mut Leg,
}

impl Call {
    /// Makes a call whose legs hold nothing yet.
    ///
    /// # Errors
    ///
    /// There are not two legs of different numbers, or one of them cannot be.
    pub(crate) fn new(
        id: CallId,
        at: usize,
        legs: Vec<LegPolicy>,
        resources: &mut Resources,
    ) -> Result<Self, CommandError> {
        let [first, second] = <[LegPolicy; 2]>::try_from(legs).map_err(|_| CommandError::BadLegs)?;
        if first.leg == second.leg {
            return Err(CommandError::BadLegs);
        }
        let mut legs =
            [Leg::new(id, at, Side::First, first, resources)?, Leg::new(id, at, Side::Second, second, resources)?];
        let terminates = legs.iter().any(Leg::wants_reports);
        legs.iter_mut().for_each(|leg| leg.terminates = terminates);
        Ok(Self {
            id,
            legs,
            alarm: None,
            alarm_moved: false,
            statistics_at: None,
            measure_at: None,
            is_measured: false,
        })
    }

    /// Closes everything.
    pub(crate) fn close(&mut self, work: &mut Work<'_>) {
        for leg in &mut self.legs {
            leg.close(work);
        }
    }

    /// The leg of a number.
    pub(crate) fn leg_mut(&mut self, id: LegId) -> Result<&mut Leg, CommandError> {
        self.legs.iter_mut().find(|leg| leg.id == id).ok_or(CommandError::UnknownLeg)
    }

    /// The leg of a side.
    pub(crate) const fn near(&self, side: Side) -> &Leg {
        let [first, second] = &self.legs;
        match side {
            Side::First => first,
            Side::Second => second,
        }
    }

    /// One leg as the near one.
    pub(crate) fn sides(&mut self, side: Side) -> Sides<'_> {
        sides(&mut self.legs, side)
    }

    /// Ends a stream on both legs.
    pub(crate) fn remove_stream(&mut self, id: StreamId, work: &mut Work<'_>) -> Result<(), CommandError> {
        let [first, second] = &mut self.legs;
        let had = [first.remove_stream(id, work), second.remove_stream(id, work)];
        if had.contains(&true) { Ok(()) } else { Err(CommandError::UnknownStream) }
    }

    /// Works out what may pass from each leg to the other, after an agreement or a hold changed.
    pub(crate) fn connect(&mut self, now: Instant) {
        let expected = self.legs.each_ref().map(|leg| leg.expects_media());
        for side in [Side::First, Side::Second] {
            let Sides { near, far } = self.sides(side);
            let (hold, numbers) = (far.hold(), far.numbers());
            for stream in &mut far.streams {
                let source = near.stream(stream.id);
                let newcomers = match source.is_some_and(|source| near.is_secure(source)) {
                    true => Newcomers::Welcome,
                    false => Newcomers::Probation,
                };
                let agreed: Option<&Agreed> = source.and_then(|source| source.agreed.as_deref());
                stream.connect(agreed.map(|agreed| (agreed, newcomers, numbers)));
                stream.flow(stream.direction(hold));
            }
        }
        if self.legs.iter().all(Leg::is_agreed) {
            for (leg, expected) in self.legs.iter_mut().zip(expected) {
                leg.listen(expected, now);
            }
            self.statistics_at.get_or_insert(now + STATISTICS_INTERVAL);
            self.measure_at.get_or_insert(now + MEASURE_INTERVAL);
        }
    }

    /// Asks a leg's peer for a whole picture of one stream, or of all its video.
    pub(crate) fn request_picture(
        &mut self,
        leg: LegId,
        stream: Option<StreamId>,
        resources: &mut Resources,
        now: Instant,
    ) -> Result<(), CommandError> {
        let call = self.id;
        let side = if self.legs[0].id == leg { Side::First } else { Side::Second };
        let Sides { near, far } = self.sides(side);
        if near.id != leg {
            return Err(CommandError::UnknownLeg);
        }
        let meant = |of: &&LegStream| stream.map_or(of.is_video(), |stream| of.id == stream);
        let streams: Vec<StreamId> = near.streams.iter().filter(meant).map(|of| of.id).collect();
        if streams.is_empty() {
            return Err(CommandError::UnknownStream);
        }
        for id in streams {
            report::request_picture(call, Sides { near: &mut *near, far: &mut *far }, id, resources, now);
        }
        Ok(())
    }

    /// Sends a key press towards a leg's peer.
    pub(crate) fn send_dtmf(
        &mut self,
        leg: LegId,
        digit: DtmfDigit,
        duration: Duration,
        resources: &mut Resources,
        now: Instant,
    ) -> Result<(), CommandError> {
        let leg = self.leg_mut(leg)?;
        press(leg, digit, duration, now)?;
        send_key_presses(leg, resources, now);
        Ok(())
    }

    /// The figures so far.
    fn statistics(&self, now: Instant) -> CallStatistics {
        let [first, second] = &self.legs;
        CallStatistics { legs: vec![first.statistics(second, now), second.statistics(first, now)] }
    }

    /// The same, with scores even if there was no time yet to take any.
    pub(crate) fn statistics_now(&mut self, resources: &mut Resources, now: Instant) -> CallStatistics {
        if !self.is_measured {
            self.measure(resources, now);
        }
        self.statistics(now)
    }

    /// Takes the scores of what has come since the last time.
    fn measure(&mut self, resources: &mut Resources, now: Instant) {
        let [first, second] = &mut self.legs;
        for here in &mut first.streams {
            let Some(there) = second.streams.iter_mut().find(|there| there.id == here.id) else { continue };
            let (from_here, from_there) = (here.arrival(), there.arrival());
            self.is_measured |= from_here.tally.expected > 0 || from_there.tally.expected > 0;
            let scores = [here.quality.measure(from_here, from_there), there.quality.measure(from_there, from_here)];
            scores.as_flattened().iter().flatten().for_each(|score| resources.counters.count_score(*score));
        }
        self.measure_at = self.measure_at.map(|_| now + MEASURE_INTERVAL);
    }

    /// When [`Call::handle_timeout`] is due.
    pub(crate) fn deadline(&self, resources: &Resources) -> Option<Instant> {
        self.legs
            .iter()
            .filter_map(|leg| leg_deadline(leg, resources))
            .chain(self.statistics_at)
            .chain(self.measure_at)
            .min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, resources: &mut Resources, now: Instant) {
        let call = self.id;
        for side in [Side::First, Side::Second] {
            let Sides { near, far } = self.sides(side);
            for place in near.places() {
                let name = near.name_of(place);
                if let Some(transport) = near.transport_mut(place) {
                    for component in transport.components_mut() {
                        component.handle_timeout(name, resources, now);
                    }
                }
            }
            for key in near.streams.iter_mut().filter_map(|stream| stream.handle_timeout(now)) {
                tell_key(call, near.id, key, resources);
            }
            send_key_presses(near, resources, now);
            if near.report_at.is_some_and(|at| at <= now) {
                report::send_reports(Sides { near: &mut *near, far: &mut *far }, resources, now);
                near.report_at = near.next_report(now);
            }
            tell_silence(call, near, resources, now);
        }
        if self.measure_at.is_some_and(|at| at <= now) {
            self.measure(resources, now);
        }
        if self.statistics_at.is_some_and(|at| at <= now) {
            resources.tell(call, News::Statistics(self.statistics(now)));
            self.statistics_at = Some(now + STATISTICS_INTERVAL);
        }
    }
}

/// One of two legs as the near one.
pub(crate) fn sides([first, second]: &mut [Leg; 2], side: Side) -> Sides<'_> {
    match side {
        Side::First => Sides { near: first, far: second },
        Side::Second => Sides { near: second, far: first },
    }
}

/// Tells that a key was pressed by a leg's peer.
pub(crate) fn tell_key(call: CallId, leg: LegId, KeyPress { digit, duration }: KeyPress, resources: &mut Resources) {
    let duration_ms = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
    resources.tell(call, News::Dtmf { leg, digit, duration_ms });
}

/// Puts a key press behind those on their way to a leg's peer.
fn press(leg: &mut Leg, digit: DtmfDigit, duration: Duration, now: Instant) -> Result<(), CommandError> {
    let by = leg.streams.iter().find_map(|stream| {
        let codec = stream.outgoing_telephone_event()?;
        Some(Carrier { stream: stream.id, payload_type: codec.payload_type, clock_rate: codec.clock_rate })
    });
    leg.key_presses.push(digit, duration, by.ok_or(CommandError::NoTelephoneEvent)?, now)
}

/// Sends the packets of key presses that are due.
fn send_key_presses(leg: &mut Leg, resources: &mut Resources, now: Instant) {
    while let Some(due) = leg.key_presses.next_due(now) {
        if let Err(reason) = send_key_press(leg, &due, resources, now) {
            resources.count_drop(reason);
        }
    }
}

fn send_key_press(leg: &mut Leg, due: &Due, resources: &mut Resources, now: Instant) -> Result<(), Dropped> {
    use media::demux::Media::Rtp;
    use media::rtp::FIXED_HEADER;

    let payload = due.update.payload;
    let stream = leg.stream_mut(due.by.stream).filter(|stream| stream.sends).ok_or(Dropped::NotSending)?;
    let mut header = stream.rewriter.originate(due.by.payload_type, payload.len(), now);
    header.time = due.time.map_or(header.time, |first| first.plus(due.update.time_offset));
    header.marker = due.update.marker;
    let place = stream.transport;
    let mut bytes = vec![0; FIXED_HEADER + payload.len() + crate::Datagram::TAIL_ROOM];
    header.write(&mut bytes)?;
    bytes[FIXED_HEADER..FIXED_HEADER + payload.len()].copy_from_slice(&payload);
    leg.key_presses.sent_at(header.time);
    let component = leg.transport_mut(place).ok_or(Dropped::OtherLegNotReady)?.carrier(Rtp);
    let Destination { from, to } = component.destination().ok_or(Dropped::NoDestination)?;
    let mut packet = Packet::new(&mut bytes, FIXED_HEADER + payload.len()).ok_or(Dropped::NoRoom)?;
    component.seal(&mut packet, Rtp)?;
    let bytes = packet.to_vec();
    resources.transmits.push_back(Transmit { from, to, bytes });
    Ok(())
}

/// Tells once when nothing that could be believed has come from a leg for too long.
fn tell_silence(call: CallId, leg: &mut Leg, resources: &mut Resources, now: Instant) {
    if silence_deadline(leg, resources).is_some_and(|at| at <= now) {
        leg.told_silence = true;
        resources.tell(call, News::MediaTimeout { leg: leg.id });
    }
}

fn silence_deadline(leg: &Leg, resources: &Resources) -> Option<Instant> {
    let timeout = if leg.expects_media() { resources.config.media_timeout } else { resources.config.silent_timeout };
    leg.silent_since.filter(|_| !leg.told_silence).and_then(|since| since.checked_add(timeout))
}

fn leg_deadline(leg: &Leg, resources: &Resources) -> Option<Instant> {
    [leg.transport_deadline(), leg.key_presses.deadline(), leg.report_at, silence_deadline(leg, resources)]
        .into_iter()
        .chain(leg.streams.iter().map(LegStream::deadline))
        .flatten()
        .min()
}
