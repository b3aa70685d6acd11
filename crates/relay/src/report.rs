//! RTCP of our own: reports where the other leg sends none, and requests for a picture.

use std::time::Instant;

use media::demux::Media;
use media::packet::Packet;
use media::rtcp::{ReportBlock, RtcpError, SenderInfo, Walk, Writer};
use media::srtp;
use model::{Ssrc, StreamId};

use crate::component::Destination;
use crate::leg::{Leg, REPORT_INTERVAL};
use crate::resources::Resources;
use crate::{Dropped, Transmit};

/// Bytes of the longest RTCP packet we write, before protection.
const LONGEST: usize = 1200;

/// Sends reports on every transport whose peer has heard no RTCP for a while, so that it always sees that we are there
/// (RFC 3550 §6.2; RFC 6263 §4.6 for the mappings of translators on the way).
pub(crate) fn send_reports(leg: &mut Leg, resources: &mut Resources, now: Instant) {
    for place in leg.places() {
        let due = leg
            .transport(place)
            .is_some_and(|transport| transport.terms().is_some() && transport.rtcp_sent + REPORT_INTERVAL <= now);
        if !due {
            continue;
        }
        let cname = leg.cname.clone();
        let mut blocks: Vec<ReportBlock> = Vec::new();
        let mut speaker = None;
        for stream in leg.streams.iter_mut().filter(|stream| stream.transport == place) {
            speaker.get_or_insert(stream.rewriter.ssrc());
            blocks.extend(stream.receptions().filter_map(|reception| reception.report(now)));
        }
        blocks.truncate(31);
        let Some(speaker) = speaker else { continue };
        send(leg, place, resources, now, |writer| {
            writer.receiver_report(speaker, &blocks)?;
            writer.cname(&[speaker], &cname)
        });
    }
}

/// Asks a leg's peer for a whole picture, if it understands that (RFC 4585 §6.3.1).
pub(crate) fn request_picture(leg: &mut Leg, id: StreamId, resources: &mut Resources, now: Instant) {
    let Some(stream) = leg.stream(id) else { return };
    let understood = stream.agreed.as_ref().is_some_and(|agreed| agreed.has_picture_loss());
    let (Some(source), place, ours) = (stream.newest_source(), stream.transport, stream.rewriter.ssrc()) else {
        return;
    };
    if understood {
        let cname = leg.cname.clone();
        send(leg, place, resources, now, |writer| {
            writer.receiver_report(ours, &[])?;
            writer.cname(&[ours], &cname)?;
            writer.picture_loss(ours, source)
        });
    }
}

/// Writes, protects and sends an RTCP packet on a transport.
fn send(
    leg: &mut Leg,
    place: usize,
    resources: &mut Resources,
    now: Instant,
    write: impl FnOnce(&mut Writer<'_>) -> Result<(), RtcpError>,
) {
    let Some(transport) = leg.transport_mut(place) else { return };
    let component = transport.carrier(Media::Rtcp);
    let Some(Destination { from, to }) = component.destination().filter(|_| component.is_protected()) else { return };
    let mut bytes = vec![0; LONGEST + srtp::MAX_OVERHEAD];
    let mut writer = Writer::new(&mut bytes[..LONGEST]);
    let written = write(&mut writer).map(|()| writer.length()).map_err(Dropped::from);
    let sealed = written.and_then(|length| {
        let mut packet = Packet::new(&mut bytes, length).ok_or(Dropped::NoRoom)?;
        component.seal(&mut packet, Media::Rtcp)?;
        Ok(packet.to_vec())
    });
    match sealed {
        Ok(bytes) => {
            transport.rtcp_sent = now;
            resources.transmits.push_back(Transmit { from, to, bytes });
        }
        Err(reason) => resources.count_drop(reason),
    }
}

/// The sender report that a compound packet begins with, if it does (RFC 3550 §6.4.1).
pub(crate) fn sender_report(packet: &[u8]) -> Option<(Ssrc, SenderInfo)> {
    let first = Walk::new(packet).next()?.ok()?;
    Some((first.sender()?, first.sender_info()?))
}
