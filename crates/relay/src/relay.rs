//! The relay: everything one worker owns.

use std::fmt;
use std::time::{Duration, Instant};

use dtls::{FromDtls, ToDtls};
use lanes::{Lanes, Message};
use media::demux::Protocol;
use media::packet::Packet;
use model::{CallId, Command, CommandError, Reply};

use crate::batch::{Arrival, Batch, Tags};
use crate::call::Call;
use crate::calls::Calls;
use crate::report::WallClock;
use crate::resources::{Resources, Route, Work};
use crate::{Config, Counters, Datagram, Dropped, Forward, OpenError, SocketId, Sockets, Transmit};

/// A source of random bytes that nobody can guess; a test seeds it.
pub type Random = Box<dyn FnMut(&mut [u8]) + Send>;

/// The packet relay core: the calls of one worker.
///
/// After any `handle_*`, drain the `poll_*` before the next one.
pub struct Relay {
    calls: Calls,
    resources: Resources,
    lanes: Lanes,
}

impl Relay {
    /// Makes a relay without calls.
    pub fn new(config: Config, random: Random) -> Self {
        Self { calls: Calls::default(), resources: Resources::new(config, random), lanes: Lanes::detect() }
    }

    /// Opens the port that legs share, where the configuration has one; before the first command.
    ///
    /// # Errors
    ///
    /// Why it was not opened. Legs then have ports of their own.
    pub fn open_ice_port(&mut self, sockets: &mut impl Sockets) -> Result<(), OpenError> {
        self.resources.open_shared(sockets)
    }

    /// Tells what the clock on the wall shows at an instant: the time since the beginning of 1970. Without, reports of
    /// ours count from the first (RFC 3550 §6.4.1).
    pub fn set_clock(&mut self, at: Instant, since_1970: Duration) {
        self.resources.clock = WallClock::set(at, since_1970);
    }

    /// Carries out a command.
    ///
    /// # Errors
    ///
    /// Why it was not carried out; the call stays as it was before.
    pub fn handle_command(
        &mut self,
        command: Command,
        now: Instant,
        sockets: &mut impl Sockets,
    ) -> Result<Reply, CommandError> {
        let id = command.call();
        if let Command::CreateCall { legs, .. } = command {
            return self.create_call(id, legs);
        }
        let place = self.calls.place_of(id).ok_or(CommandError::UnknownCall)?;
        let mut work = Work { resources: &mut self.resources, sockets, now };
        if let Command::End { .. } = command {
            let mut call = self.calls.remove(place).ok_or(CommandError::UnknownCall)?;
            let last = call.statistics_now(work.resources, now);
            call.close(&mut work);
            self.resources.counters.calls = self.calls.len();
            return Ok(Reply::Statistics(last));
        }
        let call = self.calls.get_mut(place).ok_or(CommandError::UnknownCall)?;
        let reply = carry_out(call, command, &mut work);
        call.connect(now);
        self.calls.set_alarm(place, &self.resources);
        reply
    }

    fn create_call(&mut self, id: CallId, legs: Vec<model::LegPolicy>) -> Result<Reply, CommandError> {
        if self.calls.place_of(id).is_some() {
            return Err(CommandError::CallExists);
        }
        if self.calls.len() >= self.resources.config.max_calls {
            return Err(CommandError::TooManyCalls);
        }
        self.calls.insert(Call::new(id, self.calls.next_place(), legs, &mut self.resources)?);
        self.resources.counters.calls_created += 1;
        self.resources.counters.calls = self.calls.len();
        Ok(Reply::Done)
    }

    /// Takes datagrams that arrived together, in order and from any sockets, each with the number of its buffer. What
    /// goes on is added to `forwards` with that number; it lies in the same buffer. What does not is counted.
    pub fn handle_batch<'b>(
        &mut self,
        datagrams: impl IntoIterator<Item = (usize, Datagram<'b>)>,
        now: Instant,
        forwards: &mut Vec<(usize, Forward)>,
    ) {
        let mut datagrams = datagrams.into_iter();
        while let Some(mut batch) = Batch::take(&mut datagrams) {
            batch.compute_ahead(self, self.lanes, now);
            for arrival in batch.iter_mut() {
                if let Ok(Some(forward)) = self.handle_arrival(arrival, now) {
                    forwards.push((arrival.number, forward));
                }
            }
            batch.complete(self.lanes);
        }
    }

    /// Whose a datagram is, and what its tag will be computed of, if it is an SRTP packet that seems welcome.
    pub(crate) fn foresee<'a>(
        &'a self,
        datagram: &'a Datagram<'_>,
        now: Instant,
    ) -> (Option<Route>, Option<Message<'a>>) {
        let Ok(route) = self.resources.route(datagram) else { return (None, None) };
        let packet = datagram.buffer.get(..datagram.length);
        let call = self.calls.get(route.place.call);
        let message = call.zip(packet).and_then(|(call, packet)| call.foresee(route, datagram.from, packet, now));
        (Some(route), message)
    }

    /// Takes a datagram: media goes on to the other leg, STUN and DTLS are kept (`None`).
    ///
    /// # Errors
    ///
    /// Why it went no further; already counted.
    pub fn handle_packet(&mut self, datagram: Datagram<'_>, now: Instant) -> Result<Option<Forward>, Dropped> {
        let mut arrival = Arrival::new((0, datagram));
        let handled = self.handle_arrival(&mut arrival, now);
        if let Some(message) = arrival.to_be_tagged() {
            let code = message.code();
            arrival.complete(&code);
        }
        handled
    }

    fn handle_arrival(&mut self, arrival: &mut Arrival<'_>, now: Instant) -> Result<Option<Forward>, Dropped> {
        let Arrival { datagram, tags, leaves, route, .. } = arrival;
        self.resources.counters.packets_received += 1;
        self.resources.counters.bytes_received += datagram.length as u64;
        let route = route.map_or_else(|| self.resources.route(datagram), Ok); // found ahead, or by now
        let handled = route.and_then(|route| self.handle_routed(route, datagram, tags, now));
        match (&handled, route) {
            (Ok(Some(forward)), _) => {
                self.resources.counters.packets_forwarded += 1;
                self.resources.counters.bytes_forwarded += forward.bytes.len() as u64;
                *leaves = Some(forward.bytes.clone());
            }
            (Err(reason), route) => {
                self.resources.count_drop(*reason);
                if let Ok(Route { place, .. }) = route
                    && let Some(call) = self.calls.get_mut(place.call)
                {
                    call.sides(place.side).near.count_drop(*reason);
                }
            }
            (Ok(None), _) => {}
        }
        handled
    }

    fn handle_routed(
        &mut self,
        route: Route,
        datagram: &mut Datagram<'_>,
        tags: &mut Tags,
        now: Instant,
    ) -> Result<Option<Forward>, Dropped> {
        let Datagram { arrived_on, from, length, .. } = *datagram;
        let packet = Packet::new(datagram.buffer, length).ok_or(Dropped::Empty)?;
        let Route { place, bound } = route;
        let call = self.calls.get_mut(place.call).ok_or(Dropped::UnknownSocket)?;
        let resources = &mut self.resources;
        let protocol = Protocol::of(&packet)?;
        if protocol == Protocol::Media {
            let forwarded = call.forward(route, from, packet, tags, resources, now);
            if call.alarm_moved {
                self.calls.set_alarm(place.call, &self.resources);
            }
            return forwarded.map(Some);
        }
        let near = call.sides(place.side).near;
        let name = near.name_of(place.transport);
        let transport = near.transport_mut(place.transport).ok_or(Dropped::UnknownSocket)?;
        let component = transport.component_mut(place.component).ok_or(Dropped::UnknownSocket)?;
        let kept = if protocol == Protocol::Stun {
            component.handle_stun(&packet, from, bound, name, resources, now)
        } else {
            let on = component.socket(arrived_on).ok_or(Dropped::UnknownSocket)?;
            component.handle_dtls(&packet, from, on, name, resources, now)
        };
        self.calls.set_alarm(place.call, &self.resources);
        kept.map(|()| None)
    }

    /// Takes what the DTLS engine tells: datagrams to be sent, keys, verdicts.
    pub fn handle_dtls(&mut self, from: FromDtls, now: Instant) {
        let (FromDtls::Transmit { association, .. }
        | FromDtls::Connected { association, .. }
        | FromDtls::Refused { association, .. }
        | FromDtls::Failed { association, .. }
        | FromDtls::Closed { association }) = from;
        let Some(place) = self.resources.association(association) else {
            return self.resources.handle_farewell(from); // closed meanwhile
        };
        let Some(call) = self.calls.get_mut(place.call) else { return };
        let near = call.sides(place.side).near;
        let name = near.name_of(place.transport);
        let transport = near.transport_mut(place.transport);
        if let Some(component) = transport.and_then(|transport| transport.component_mut(place.component)) {
            component.handle_from_dtls(from, name, &mut self.resources, now);
        }
        self.calls.set_alarm(place.call, &self.resources);
    }

    /// Does what is due. Call it at [`Relay::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) {
        self.resources.stop_lingering(now);
        let due: Vec<usize> = std::iter::from_fn(|| self.calls.take_due(now)).collect();
        for place in due {
            if let Some(call) = self.calls.get_mut(place) {
                call.handle_timeout(&mut self.resources, now);
            }
            self.calls.set_alarm(place, &self.resources);
        }
    }

    /// The next datagram that the relay itself wants sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.resources.transmits.pop_front()
    }

    /// The next socket to close, once all of [`Relay::poll_transmit`] was sent. Its number may be used again then.
    pub fn poll_close(&mut self) -> Option<SocketId> {
        self.resources.next_closed()
    }

    /// What the DTLS engine beside the relay is to be told next.
    pub fn poll_dtls(&mut self) -> Option<ToDtls> {
        self.resources.to_dtls.pop_front()
    }

    /// The next news for whoever set up the calls.
    pub fn poll_event(&mut self) -> Option<model::Event> {
        self.resources.events.pop_front()
    }

    /// When to call [`Relay::handle_timeout`] next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.calls.next_alarm().into_iter().chain(self.resources.deadline()).min()
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.resources.counters
    }
}

fn carry_out(call: &mut Call, command: Command, work: &mut Work<'_>) -> Result<Reply, CommandError> {
    match command {
        Command::CreateCall { .. } | Command::End { .. } => Err(CommandError::CallExists), // done before
        Command::RemoteOffer { leg, offer, .. } => call.leg_mut(leg)?.remote_offer(offer, work).map(|()| Reply::Done),
        Command::LocalAnswer { leg, answer, .. } => call.leg_mut(leg)?.local_answer(answer, work).map(Reply::Local),
        Command::LocalOffer { leg, offer, .. } => call.leg_mut(leg)?.local_offer(offer, work).map(Reply::Local),
        Command::RemoteAnswer { leg, answer, .. } => {
            call.leg_mut(leg)?.remote_answer(answer, work).map(|()| Reply::Done)
        }
        Command::Renew { leg, .. } => call.leg_mut(leg)?.renew().map(|()| Reply::Done),
        Command::Rollback { leg, .. } => call.leg_mut(leg)?.rollback(work).map(|()| Reply::Done),
        Command::AddCandidates { leg, stream, ufrag, candidates, end_of_candidates, .. } => {
            let leg = call.leg_mut(leg)?;
            leg.add_candidates(stream, ufrag.as_deref(), candidates, end_of_candidates, work)?;
            Ok(Reply::Done)
        }
        Command::RestartIce { leg, stream, remote, .. } => {
            call.leg_mut(leg)?.restart_ice(stream, remote.as_ref(), work).map(Reply::Restarted)
        }
        Command::Hold { leg, direction, .. } => {
            call.leg_mut(leg)?.set_hold(direction);
            Ok(Reply::Done)
        }
        Command::Mute { leg, mute, .. } => {
            call.leg_mut(leg)?.mute = mute;
            Ok(Reply::Done)
        }
        Command::RemoveStream { stream, .. } => call.remove_stream(stream, work).map(|()| Reply::Done),
        Command::SendDtmf { leg, digit, duration_ms, .. } => {
            let duration = Duration::from_millis(u64::from(duration_ms));
            call.send_dtmf(leg, digit, duration, work.resources, work.now).map(|()| Reply::Done)
        }
        Command::RequestPicture { leg, stream, .. } => {
            call.request_picture(leg, stream, work.resources, work.now).map(|()| Reply::Done)
        }
        Command::Query { .. } => Ok(Reply::Statistics(call.statistics_now(work.resources, work.now))),
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("counters", &self.resources.counters).finish_non_exhaustive()
    }
}
