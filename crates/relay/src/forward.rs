//! The life of a media packet: from one leg to the other, through every stage in order.

use std::net::SocketAddr;
use std::time::Instant;

use lanes::Message;
use media::demux::Media;
use media::dtmf::KeyPress;
use media::packet::Packet;
use media::rewrite::Rewriter;
use media::rtcp::{self, OtherLeg};
use media::rtp::Header;
use model::{Mute, News, Ssrc, StreamId, Way};

use crate::batch::Tags;
use crate::call::{self, Call, Sides};
use crate::component::{Component, Destination};
use crate::latch::Standing;
use crate::leg::{Leg, Outlet};
use crate::report;
use crate::resources::{Place, Resources, Route};
use crate::stream::LegStream;
use crate::{Dropped, Forward, Transmit};

impl Call {
    /// What the tag of a packet will be computed of, as far as it can be told before the packet's turn.
    pub(crate) fn foresee<'a>(
        &'a self,
        Route { place, bound }: Route,
        from: SocketAddr,
        packet: &'a [u8],
        now: Instant,
    ) -> Option<Message<'a>> {
        let transport = self.near(place.side).transport(place.transport)?;
        match transport.media(place.component, packet) {
            Media::Rtp => transport.component(place.component)?.foresee(from, bound, packet, now),
            Media::Rtcp => None,
        }
    }

    /// Takes a media packet of one leg's peer to the other's.
    pub(crate) fn forward(
        &mut self,
        route: Route,
        from: SocketAddr,
        mut packet: Packet<'_>,
        tags: &mut Tags,
        resources: &mut Resources,
        now: Instant,
    ) -> Result<Forward, Dropped> {
        let Route { place, bound } = route;
        let Sides { near, .. } = self.sides(place.side);
        let transport = near.transport_mut(place.transport).ok_or(Dropped::UnknownSocket)?;
        let kind = transport.media(place.component, &packet); // RFC 5761 §4, or the port
        let component = transport.component_mut(place.component).ok_or(Dropped::UnknownSocket)?;
        let standing = component.check_source(from, bound, now)?; // ICE or the description vouches for it
        match standing {
            // RFC 3711 §3.3, or nothing for plain RTP
            Standing::Known => component.open(&mut packet, kind, tags.ahead.as_ref())?,
            Standing::OnTrial => component.try_open(&mut packet, kind, from.ip(), &mut resources.strangers, now)?,
        }
        let arrived = Arrived { place, from, standing };
        let destination = match kind {
            Media::Rtp => self.forward_rtp(arrived, &mut packet, tags, resources, now)?,
            Media::Rtcp => self.forward_rtcp(arrived, &mut packet, resources, now)?,
        };
        Ok(Forward { from: destination.from, to: destination.to, bytes: packet.range() })
    }

    fn forward_rtp(
        &mut self,
        arrived: Arrived,
        packet: &mut Packet<'_>,
        tags: &mut Tags,
        resources: &mut Resources,
        now: Instant,
    ) -> Result<Destination, Dropped> {
        let Self { id: call, legs, alarm_moved, .. } = self;
        let Sides { near, far } = call::sides(legs, arrived.place.side);
        let header = Header::parse(packet)?;
        let received = near.receive(arrived, &header, packet, now)?; // which stream's (RFC 8843 §9.2), and counted
        let stream = received.stream;
        if received.is_first {
            resources.tell(*call, News::FirstPacket { leg: near.id, stream, way: Way::Received });
        }
        if received.is_new_source {
            report::resolve_collision(near, header.ssrc, resources, now); // RFC 3550 §8.2
        }
        if received.is_key {
            *alarm_moved = true;
            if let Some(key) = received.key {
                call::tell_key(*call, near.id, key, resources);
            }
        }
        let sent = far.pass_on(&received, &header, packet, tags, now)?; // SSRC, numbers, payload type; RFC 3711 §3.3
        if sent.is_first {
            resources.tell(*call, News::FirstPacket { leg: far.id, stream, way: Way::Sent });
        }
        if sent.needs_picture {
            report::request_picture(*call, Sides { near, far }, stream, resources, now);
        }
        Ok(sent.destination)
    }

    /// RTCP of a bundle may speak of streams that leave on several transports: each gets its part.
    fn forward_rtcp(
        &mut self,
        arrived: Arrived,
        packet: &mut Packet<'_>,
        resources: &mut Resources,
        now: Instant,
    ) -> Result<Destination, Dropped> {
        let call = self.id;
        let place = arrived.place.transport;
        let Sides { near, far } = self.sides(arrived.place.side);
        near.believe(arrived, sender(packet, arrived.standing)?, now)?;
        near.rtcp_received = (near.rtcp_received.0 + 1, near.rtcp_received.1 + packet.len() as u64);
        report::learn(near, place, packet, resources, now);
        report::pass_pictures(call, Sides { near: &mut *near, far: &mut *far }, place, packet, resources, now);
        let mut places = far.places();
        let first = places.find(|place| carries_any(near, arrived.place.transport, far, *place));
        let first = first.ok_or(Dropped::OtherLegNotReady)?;
        while let Some(place) = places.find(|place| carries_any(near, arrived.place.transport, far, *place)) {
            let mut copy = vec![0; packet.len() + crate::Datagram::TAIL_ROOM];
            copy[..packet.len()].copy_from_slice(packet);
            let Some(mut copy) = Packet::new(&mut copy, packet.len()) else { continue };
            match translate(near, arrived.place.transport, far, place, &mut copy, resources, now) {
                Ok(Destination { from, to }) => {
                    resources.transmits.push_back(Transmit { from, to, bytes: copy.to_vec() });
                }
                Err(reason) => resources.count_drop(reason),
            }
        }
        translate(near, arrived.place.transport, far, first, packet, resources, now)
    }
}

/// Where a packet came from, and whether that is to be trusted.
#[derive(Clone, Copy, Debug)]
struct Arrived {
    place: Place,
    from: SocketAddr,
    standing: Standing,
}

/// What a packet is to the leg it came from.
#[derive(Clone, Copy, Debug)]
struct Received {
    stream: StreamId,
    /// The direction of the leg lets it in.
    is_allowed: bool,
    /// What the leg's mute makes of it.
    heard: Heard,
    is_first: bool,
    is_new_source: bool,
    is_key: bool,
    /// The key press that it ends.
    key: Option<KeyPress>,
}

/// What is heard of a packet.
#[derive(Clone, Copy, Debug)]
enum Heard {
    All,
    /// Silence: its payload becomes this byte.
    Silence(u8),
    Nothing,
}

/// What a packet is to the leg it goes to.
#[derive(Clone, Copy, Debug)]
struct Sent {
    destination: Destination,
    is_first: bool,
    needs_picture: bool,
}

impl Leg {
    /// Finds the stream of an authentic packet and counts it there.
    fn receive(&mut self, arrived: Arrived, header: &Header, packet: &[u8], now: Instant) -> Result<Received, Dropped> {
        let payload = header.payload(packet)?;
        let stream = self.stream_of(arrived.place.transport, header, packet)?;
        if !stream.knows(header.payload_type) {
            return Err(Dropped::PayloadType);
        }
        let id = stream.id;
        self.believe(arrived, header.ssrc, now)?;
        let mute = self.mute;
        let stream = self.stream_mut(id).ok_or(Dropped::NoAnswer)?;
        let is_new_source = stream.count(header, payload.len(), now);
        let is_first = !std::mem::replace(&mut stream.told_received, true);
        let (is_allowed, is_key) = (stream.receives, stream.is_telephone_event(header.payload_type));
        let key = if is_key && is_allowed { stream.handle_key(header, &packet[payload], now) } else { None };
        let heard = match mute {
            Mute { sound: false, key_presses: false } => Heard::All,
            Mute { key_presses, .. } if is_key => {
                if key_presses {
                    Heard::Nothing
                } else {
                    Heard::All
                }
            }
            Mute { sound: false, .. } => Heard::All,
            Mute { sound: true, .. } => stream.silence(header.payload_type).map_or(Heard::Nothing, Heard::Silence),
        };
        Ok(Received { stream: id, is_allowed, heard, is_first, is_new_source, is_key, key })
    }

    /// Takes note that the leg's peer is alive, and learns its address where that is allowed.
    fn believe(&mut self, arrived: Arrived, ssrc: Ssrc, now: Instant) -> Result<(), Dropped> {
        if arrived.standing == Standing::OnTrial {
            let transport = self.transport_mut(arrived.place.transport).ok_or(Dropped::UnknownSocket)?;
            let component = transport.component_mut(arrived.place.component).ok_or(Dropped::UnknownSocket)?;
            component.learn(arrived.from, ssrc, now)?;
        }
        if let Some(since) = &mut self.silent_since {
            *since = now;
        }
        self.told_silence = false;
        Ok(())
    }

    /// Rewrites and protects a packet of the other leg for this leg's peer.
    fn pass_on(
        &mut self,
        received: &Received,
        header: &Header,
        packet: &mut Packet<'_>,
        tags: &mut Tags,
        now: Instant,
    ) -> Result<Sent, Dropped> {
        let occupied = self.key_presses.occupies(received.stream);
        let Outlet { stream, transport } = self.outlet(received.stream).ok_or(Dropped::OtherLegNotReady)?;
        let component = transport.carrier(Media::Rtp);
        let destination = match may_pass(received, stream, component, occupied) {
            Ok(destination) => destination,
            Err(reason) => {
                stream.rewriter.skip(header); // kept back, not lost
                return Err(reason);
            }
        };
        if let Heard::Silence(byte) = received.heard {
            let payload = header.payload(packet)?;
            packet[payload].fill(byte);
        }
        stream.rewriter.apply(packet, now)?;
        tags.untagged = component.seal_untagged(packet, Media::Rtp)?;
        let is_first = !std::mem::replace(&mut stream.told_sent, true);
        Ok(Sent { destination, is_first, needs_picture: std::mem::take(&mut stream.needs_picture) })
    }
}

/// Says where a packet goes, if nothing keeps it back.
fn may_pass(
    received: &Received,
    out: &LegStream,
    component: &Component,
    occupied: bool,
) -> Result<Destination, Dropped> {
    if !received.is_allowed {
        Err(Dropped::NotReceiving)
    } else if !out.sends {
        Err(Dropped::NotSending)
    } else if !component.is_protected() {
        Err(Dropped::OtherLegNotReady)
    } else if occupied {
        Err(Dropped::KeyPress)
    } else if matches!(received.heard, Heard::Nothing) {
        Err(Dropped::Muted)
    } else {
        component.destination().ok_or(Dropped::NoDestination)
    }
}

/// Who sends an RTCP packet (RFC 3550 §6.4). Nothing is learnt from a goodbye.
fn sender(packet: &[u8], standing: Standing) -> Result<Ssrc, Dropped> {
    match packet {
        _ if standing == Standing::OnTrial && says_goodbye(packet) => Err(Dropped::SourceGoodbye),
        [_, _, _, _, a, b, c, d, ..] => Ok(Ssrc(u32::from_be_bytes([*a, *b, *c, *d]))),
        _ => Err(Dropped::RtcpMalformed),
    }
}

/// Says whether a packet of a compound is a BYE (RFC 3550 §6.6).
fn says_goodbye(mut compound: &[u8]) -> bool {
    const GOODBYE: u8 = 203;
    while let [_, kind, high, low, ..] = *compound {
        let length = 4 * (1 + usize::from(u16::from_be_bytes([high, low])));
        match compound.get(length..) {
            _ if kind == GOODBYE => return true,
            Some(rest) => compound = rest,
            None => return false,
        }
    }
    false
}

/// Says whether a stream on one transport of the near leg leaves on one of the far leg.
fn carries_any(near: &Leg, near_place: usize, far: &Leg, far_place: usize) -> bool {
    far.streams
        .iter()
        .filter(|stream| stream.transport == far_place && stream.agreed.is_some())
        .any(|stream| near.stream(stream.id).is_some_and(|from| from.transport == near_place && from.agreed.is_some()))
}

/// Translates RTCP to what one transport of the far leg understands, and protects it.
fn translate(
    near: &mut Leg,
    near_place: usize,
    far: &mut Leg,
    far_place: usize,
    packet: &mut Packet<'_>,
    resources: &mut Resources,
    now: Instant,
) -> Result<Destination, Dropped> {
    let transport = far.transport_mut(far_place).ok_or(Dropped::OtherLegNotReady)?;
    let destination = transport.carrier(Media::Rtcp).destination().ok_or(Dropped::NoDestination)?;
    let agreed = || far.streams.iter().filter(|s| s.transport == far_place).filter_map(|s| s.agreed.as_deref());
    let feedback = agreed().any(crate::stream::Agreed::has_feedback);
    let reduced_size = agreed().all(crate::stream::Agreed::has_reduced_size);
    let pictures = far.pictures(far_place);
    let speaker = far.streams.iter().find(|s| s.transport == far_place).map(|s| s.rewriter.ssrc());
    let mut streams = Between {
        near: &mut near.streams,
        near_place,
        far: &mut far.streams,
        far_place,
        speaker: speaker.ok_or(Dropped::OtherLegNotReady)?,
    };
    let to = OtherLeg { cname: &far.cname, feedback, pictures, reduced_size, terminated: far.terminates };
    let translated = rtcp::translate(packet, &mut streams, to)?;
    for (reason, times) in Dropped::parts(&translated) {
        (0..times).for_each(|_| resources.count_drop(reason));
    }
    report::note_reports(far, packet, now);
    report::put_off(far, far_place, resources, now);
    let transport = far.transport_mut(far_place).ok_or(Dropped::OtherLegNotReady)?;
    transport.carrier(Media::Rtcp).seal(packet, Media::Rtcp)?;
    Ok(destination)
}

/// The streams that pass from one transport to another.
struct Between<'a> {
    near: &'a mut [LegStream],
    near_place: usize,
    far: &'a mut [LegStream],
    far_place: usize,
    speaker: Ssrc,
}

impl rtcp::Streams for Between<'_> {
    fn fed_by(&mut self, source: Ssrc) -> Option<&mut Rewriter> {
        let from = self.near.iter().find(|s| s.transport == self.near_place && s.has_source(source))?;
        let to = self.far.iter_mut().find(|s| s.transport == self.far_place && s.id == from.id)?;
        Some(&mut to.rewriter)
    }

    fn sent_as(&mut self, ssrc: Ssrc) -> Option<&mut Rewriter> {
        let to = self.near.iter_mut().find(|s| s.transport == self.near_place && s.rewriter.ssrc() == ssrc)?;
        let passes = self.far.iter().any(|s| s.transport == self.far_place && s.id == to.id);
        passes.then_some(&mut to.rewriter)
    }

    fn speaker(&self) -> Ssrc {
        self.speaker
    }
}
