//! RTCP of our own: reports, goodbyes, and requests for a picture; and what we learn from that of a peer.

use std::time::{Duration, Instant};

use media::demux::Media;
use media::packet::Packet;
use media::rtcp::{ReportBlock, RtcpError, Schedule, SenderInfo, Walk, Writer, ntp_span};
use media::srtp;
use model::{CallId, News, Ssrc, StreamId};

use crate::call::Sides;
use crate::component::Destination;
use crate::leg::Leg;
use crate::resources::Resources;
use crate::stream::LegStream;
use crate::{Dropped, Transmit};

/// Bytes of the longest RTCP packet we write, before protection.
const LONGEST: usize = 1400;

/// Blocks that fit into one report.
const MAX_BLOCKS: usize = 31;

/// Nobody who keeps RFC 3550 §6.3.1 is silent for so long: 5 s times 1.5, over e - 3/2.
const SILENCE: Duration = Duration::from_millis(6200);

/// Requests for a picture that follow each other faster are one.
const PICTURE_INTERVAL: Duration = Duration::from_secs(1);

/// A conflict of SSRCs that comes again so soon is a loop (RFC 3550 §8.2: ten intervals of reports).
const COLLISION_INTERVAL: Duration = Duration::from_secs(50);

/// A peer's clock that jumps by more is another clock.
const MAX_CLOCK_JUMP: u64 = 2 << 32;

/// The wall clock, by what it showed once (RFC 3550 §4).
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    /// An instant, and the NTP time that belongs to it.
    anchor: Option<(Instant, u64)>,
}

impl WallClock {
    /// A clock that nobody has set. It shows the time since it was first looked at, as RFC 3550 §6.4.1 allows.
    pub(crate) const UNSET: Self = Self { anchor: None };

    /// A clock that was seen, at so long after the beginning of 1970; NTP counts from that of 1900.
    pub(crate) fn set(at: Instant, since_1970: Duration) -> Self {
        const FROM_1900_TO_1970: u64 = 2_208_988_800;
        Self { anchor: Some((at, ntp_span(since_1970).wrapping_add(FROM_1900_TO_1970 << 32))) }
    }

    /// What it shows, in NTP form; never zero, which stands for no time at all.
    fn ntp(&mut self, now: Instant) -> u64 {
        const FIRST: u64 = 1 << 32;
        let (at, ntp) = *self.anchor.get_or_insert((now, FIRST));
        ntp.wrapping_add(ntp_span(now.saturating_duration_since(at)))
    }
}

// What a peer's RTCP tells us.

/// Takes what a peer's compound packet says of its streams and of ours.
pub(crate) fn learn(near: &mut Leg, place: usize, packet: &[u8], resources: &mut Resources, now: Instant) {
    if let Some(transport) = near.transport_mut(place) {
        transport.rtcp.count(packet.len());
    }
    for single in Walk::new(packet).map_while(Result::ok) {
        let Some(sender) = single.sender() else { continue };
        resolve_collision(near, sender, resources, now);
        if let Some(info) = single.sender_info() {
            near.clock_offset = Some(clock_offset(near.clock_offset, &info, &mut resources.clock, now));
            for stream in near.streams.iter_mut().filter(|stream| stream.transport == place) {
                stream.handle_sender_report(sender, &info, now);
            }
        }
        for block in single.report_blocks() {
            let about = |stream: &&mut LegStream| stream.transport == place && stream.rewriter.ssrc() == block.ssrc;
            if let Some(stream) = near.streams.iter_mut().find(about) {
                stream.handle_block(&block, now);
            }
        }
    }
}

/// What to add to a peer's clock to get ours. It stays as it was, so that its streams keep in step with each other,
/// unless the peer's clock is another one now.
fn clock_offset(before: Option<u64>, info: &SenderInfo, clock: &mut WallClock, now: Instant) -> u64 {
    let offset = clock.ntp(now).wrapping_sub(info.ntp);
    let jump = |before: &u64| offset.wrapping_sub(*before).cast_signed().unsigned_abs();
    before.filter(|before| jump(before) <= MAX_CLOCK_JUMP).unwrap_or(offset)
}

/// Remembers the sender reports that go to a leg's peer, whoever wrote them, so that its answers tell the round trip.
pub(crate) fn note_reports(leg: &mut Leg, packet: &[u8], now: Instant) {
    for single in Walk::new(packet).map_while(Result::ok) {
        if let (Some(sender), Some(info)) = (single.sender(), single.sender_info())
            && let Some(stream) = leg.streams.iter_mut().find(|stream| stream.rewriter.ssrc() == sender)
        {
            stream.quality.note_report(info.middle(), now);
        }
    }
}

/// Gives our stream another SSRC if a peer sends under the one it has (RFC 3550 §8.2).
pub(crate) fn resolve_collision(leg: &mut Leg, ssrc: Ssrc, resources: &mut Resources, now: Instant) {
    let Some(stream) = leg.streams.iter_mut().find(|stream| stream.rewriter.ssrc() == ssrc) else { return };
    if stream.rewriter.follows() {
        return; // two peers with one SSRC are theirs to tell apart
    }
    if stream.collided_at.is_some_and(|at| now < at + COLLISION_INTERVAL) {
        return; // it sends us back what we send to it
    }
    stream.collided_at = Some(now);
    let (id, place) = (stream.id, stream.transport);
    say_goodbye(leg, place, &[id], resources, now);
    if let Some(stream) = leg.stream_mut(id) {
        stream.renew(&mut resources.random);
    }
}

// When reports are due.

/// What a transport has of RTCP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RtcpTraffic {
    /// When the next report of ours is due; nothing before the first answer.
    pub(crate) due: Option<Instant>,
    /// Some of ours was sent.
    is_sent: bool,
    /// The mean size of what was sent and received, with UDP and IP.
    average_size: f64,
}

impl RtcpTraffic {
    /// Nothing was sent yet; the size is that of a report with a block and a CNAME.
    pub(crate) const NONE: Self = Self { due: None, is_sent: false, average_size: 120.0 };

    fn count(&mut self, size: usize) {
        const UDP_AND_IP: usize = 28;
        self.average_size = Schedule::average(self.average_size, size + UDP_AND_IP);
    }
}

/// Says when reports on a transport are due from now on.
fn schedule(leg: &mut Leg, place: usize, resources: &mut Resources, now: Instant) {
    let mut random = [0; 4];
    (resources.random)(&mut random);
    let on = || leg.streams.iter().filter(|stream| stream.transport == place);
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let senders = count(on().filter(|stream| stream.is_sender()).count());
    let theirs = count(on().map(LegStream::sources).sum());
    let Some(traffic) = leg.transport(place).map(|transport| transport.rtcp) else { return };
    let schedule = Schedule {
        members: count(on().count()) + theirs,
        senders: senders + theirs,
        we_send: senders > 0,
        bandwidth: on().map(LegStream::bandwidth).sum::<f64>() / 20.0,
        average_size: traffic.average_size,
        initial: !traffic.is_sent,
    };
    let interval = schedule.interval(u32::from_be_bytes(random));
    let interval = if leg.terminates { interval } else { SILENCE + interval / 4 };
    if let Some(transport) = leg.transport_mut(place) {
        transport.rtcp.due = Some(now + interval);
    }
}

/// Puts off reports of ours, because the far end's went to the peer.
pub(crate) fn put_off(leg: &mut Leg, place: usize, resources: &mut Resources, now: Instant) {
    if !leg.terminates {
        schedule(leg, place, resources, now);
    }
    if let Some(transport) = leg.transport_mut(place) {
        transport.rtcp.is_sent = true;
    }
}

/// Begins to count the time on transports that are agreed on.
pub(crate) fn begin(leg: &mut Leg, resources: &mut Resources, now: Instant) {
    for place in leg.places() {
        let begins =
            |transport: &crate::transport::Transport| transport.terms().is_some() && transport.rtcp.due.is_none();
        if leg.transport(place).is_some_and(begins) {
            schedule(leg, place, resources, now);
        }
    }
}

// What we send.

/// Sends the reports that are due: all of them where we report to both sides, or those that a peer lacks whose other
/// side is silent (RFC 3550 §6.2; RFC 6263 §4.6 for the mappings of translators on the way).
pub(crate) fn send_reports(Sides { near, far }: Sides<'_>, resources: &mut Resources, now: Instant) {
    for place in near.places() {
        let due = |transport: &crate::transport::Transport| transport.rtcp.due.is_some_and(|due| due <= now);
        if near.transport(place).is_some_and(due) {
            report(near, far, place, resources, now);
        }
    }
}

fn report(leg: &mut Leg, other: &Leg, place: usize, resources: &mut Resources, now: Instant) {
    let offset = other.clock_offset.filter(|_| leg.terminates).unwrap_or(0);
    let mut reports = Vec::new();
    let mut room = MAX_BLOCKS;
    for stream in leg.streams.iter_mut().filter(|stream| stream.transport == place && stream.agreed.is_some()) {
        let info = sender_info(stream, other.stream(stream.id), offset, &mut resources.clock, now);
        let blocks: Vec<ReportBlock> =
            stream.receptions().filter_map(|reception| reception.report(now)).take(room).collect();
        room -= blocks.len();
        stream.mark_reported();
        reports.push((stream.rewriter.ssrc(), info, blocks));
    }
    if reports.is_empty() {
        return;
    }
    let ours: Vec<Ssrc> = reports.iter().map(|(ssrc, ..)| *ssrc).collect();
    let cname = leg.cname.clone();
    let sent = send(leg, place, resources, now, |writer| {
        for (ssrc, info, blocks) in &reports {
            match info {
                Some(info) => writer.sender_report(*ssrc, info, blocks)?,
                None => writer.receiver_report(*ssrc, blocks)?,
            }
        }
        writer.cname(&ours, &cname)
    });
    if sent {
        schedule(leg, place, resources, now);
    }
}

/// What to say of a stream to the peer that hears it, if anything was sent of late: the source's last report carried on
/// to now, so that its streams keep in step, or else what our own clock shows.
fn sender_info(
    stream: &LegStream,
    source: Option<&LegStream>,
    offset: u64,
    clock: &mut WallClock,
    now: Instant,
) -> Option<SenderInfo> {
    if !stream.is_sender() {
        return None;
    }
    let told = source.zip(stream.rewriter.source()).and_then(|(from, ssrc)| from.sender_report(ssrc));
    let carried_on = told.and_then(|(info, at)| {
        let elapsed = now.saturating_duration_since(at);
        let ntp = info.ntp.wrapping_add(ntp_span(elapsed)).wrapping_add(offset);
        Some((ntp, stream.rewriter.time_after(info.time, elapsed)?))
    });
    let (ntp, time) = carried_on.or_else(|| Some((clock.ntp(now), stream.rewriter.time_at(now)?)))?;
    Some(SenderInfo::new(ntp, time, stream.rewriter.sent()))
}

/// Takes leave of a peer for some of the streams that one transport carries, if it ever heard of them
/// (RFC 3550 §6.3.7, §6.6).
pub(crate) fn say_goodbye(leg: &mut Leg, place: usize, ids: &[StreamId], resources: &mut Resources, now: Instant) {
    let reported = leg.transport(place).is_some_and(|transport| transport.rtcp.is_sent);
    let known = |stream: &&LegStream| {
        stream.transport == place
            && ids.contains(&stream.id)
            && stream.agreed.is_some()
            && (reported || stream.rewriter.sent().packets > 0)
    };
    let leavers: Vec<Ssrc> = leg.streams.iter().filter(known).map(|stream| stream.rewriter.ssrc()).collect();
    let Some(first) = leavers.first().copied() else { return };
    let cname = leg.cname.clone();
    send(leg, place, resources, now, |writer| {
        writer.receiver_report(first, &[])?;
        writer.cname(&leavers, &cname)?;
        writer.bye(&leavers)
    });
}

/// Asks the near leg's peer for a whole picture in the name of the far leg's, by RTCP as negotiated (RFC 4585 §6.3.1,
/// RFC 5104 §4.3.1); where nothing was, signalling is told to ask in its way (RFC 5168). Not too often.
pub(crate) fn request_picture(
    call: CallId,
    Sides { near, far }: Sides<'_>,
    id: StreamId,
    resources: &mut Resources,
    now: Instant,
) {
    let leg = near.id;
    let Some(stream) = near.stream_mut(id).filter(|stream| stream.agreed.is_some()) else { return };
    if stream.asked_at.is_some_and(|at| now < at + PICTURE_INTERVAL) {
        return;
    }
    stream.asked_at = Some(now);
    let (source, place, ours) = (stream.newest_source(), stream.transport, stream.rewriter.ssrc());
    let pictures = near.pictures(place);
    if !pictures.any() {
        resources.tell(call, News::PictureRequested { leg, stream: id });
        return;
    }
    let Some(source) = source else { return }; // its first picture will be whole
    let number = far.stream_mut(id).map_or(0, |asker| asker.rewriter.next_fir_number());
    let cname = near.cname.clone();
    send(near, place, resources, now, |writer| {
        writer.receiver_report(ours, &[])?;
        writer.cname(&[ours], &cname)?;
        if pictures.loss { writer.picture_loss(ours, source) } else { writer.full_intra_request(ours, source, number) }
    });
}

/// Passes on, in the form that the far leg's peer understands, the requests for a picture which its translation leaves
/// out.
pub(crate) fn pass_pictures(
    call: CallId,
    Sides { near, far }: Sides<'_>,
    place: usize,
    packet: &[u8],
    resources: &mut Resources,
    now: Instant,
) {
    for (ssrc, by) in Walk::new(packet).map_while(Result::ok).flat_map(|single| single.picture_requests()) {
        let about = |stream: &&LegStream| stream.transport == place && stream.rewriter.ssrc() == ssrc;
        let Some(id) = near.streams.iter().find(about).map(|stream| stream.id) else { continue };
        let understood = far.stream(id).map(|stream| far.pictures(stream.transport)).unwrap_or_default();
        if !(by.loss && understood.loss || by.intra && understood.intra) {
            request_picture(call, Sides { near: &mut *far, far: &mut *near }, id, resources, now);
        }
    }
}

/// Writes, protects and sends an RTCP packet on a transport. Says whether it could be sent.
fn send(
    leg: &mut Leg,
    place: usize,
    resources: &mut Resources,
    now: Instant,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), RtcpError>,
) -> bool {
    let Some(Destination { from, to }) = leg.rtcp_destination(place) else { return false };
    let mut bytes = vec![0; LONGEST + srtp::MAX_OVERHEAD];
    let mut writer = Writer::new(&mut bytes[..LONGEST]);
    let length = match write(&mut writer) {
        Ok(()) => writer.length(),
        Err(error) => {
            resources.count_drop(error.into());
            return false;
        }
    };
    note_reports(leg, &bytes[..length], now);
    match seal(leg, place, &mut bytes, length) {
        Ok(bytes) => resources.transmits.push_back(Transmit { from, to, bytes }),
        Err(reason) => {
            resources.count_drop(reason);
            return false;
        }
    }
    true
}

fn seal(leg: &mut Leg, place: usize, bytes: &mut [u8], length: usize) -> Result<Vec<u8>, Dropped> {
    let transport = leg.transport_mut(place).ok_or(Dropped::OtherLegNotReady)?;
    transport.rtcp.is_sent = true;
    transport.rtcp.count(length);
    let mut packet = Packet::new(bytes, length).ok_or(Dropped::NoRoom)?;
    transport.carrier(Media::Rtcp).seal(&mut packet, Media::Rtcp)?;
    Ok(packet.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_goes_on_from_what_it_showed() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        let start = Instant::now();
        let later = start + Duration::from_millis(2500);
        let set = WallClock::set(start, Duration::from_secs(7)).ntp(later);
        assert_eq!(set, (2_208_988_800 + 9) << 32 | 1 << 31);
        let mut unset = WallClock::UNSET;
        assert_eq!((unset.ntp(start), unset.ntp(later)), (1 << 32, 3 << 32 | 1 << 31));
    }

    #[test]
    fn a_peers_clock_keeps_its_distance_to_ours_until_it_jumps() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to count from")]
        let start = Instant::now();
        let mut clock = WallClock { anchor: Some((start, 100 << 32)) };
        let info = |seconds: u64| SenderInfo { ntp: seconds << 32, ..SenderInfo::default() };
        let first = clock_offset(None, &info(40), &mut clock, start);
        assert_eq!(first, 60 << 32);
        assert_eq!(clock_offset(Some(first), &info(41), &mut clock, start), first, "a report that was quick");
        assert_eq!(clock_offset(Some(first), &info(90), &mut clock, start), 10 << 32);
    }
}
