//! From a party's SDP to what the relay is told of it, and from what the relay says to the SDP for the other party.

use std::net::SocketAddr;

use model::{AddressFamily, Description, Direction, Profile, StreamId};
use sdp::facts::Facts;
use sdp::rewrite::{Edits, Fate, Layout, OriginChanges, Rewriting};
use sdp::{Role, RtcpAttribute, SdpError, Trickle, Wording};

use crate::request::{AttributeChanges, Flag, Options, Replace, SdesWord};

/// The family of the address that a party names, even where it names none of it.
pub(crate) fn family(sdp: &str) -> Option<AddressFamily> {
    let lines = Facts::read(sdp).ok()?.lines;
    let carried = lines.iter().find(|line| line.port != 0).or(lines.first());
    carried?.address.map(AddressFamily::of)
}

/// What a party describes, with its media where the wishes say that it is. A party that holds by having no address may
/// still send (RFC 3264 §8.4).
pub(crate) fn described(
    mut description: Description,
    sdp: &str,
    session: &sdp::Session,
    options: &Options,
) -> Description {
    let facts = Facts::read(sdp).map(|facts| facts.lines).unwrap_or_default();
    for (line, id) in facts.iter().zip(session.streams()) {
        let stream = description.streams.iter_mut().find(|stream| Some(stream.id) == id);
        if let Some(stream) = stream.filter(|_| line.held_by_address) {
            stream.direction = line.direction.and(Direction::SendOnly);
            stream.path.rtp = line.address.map(|none| SocketAddr::new(none, line.port));
        }
    }
    let source = options.received_from.filter(|_| options.flags.has(Flag::SipSourceAddress));
    if let Some(address) = options.media_address.or(source) {
        for stream in &mut description.streams {
            let moved = |path: Option<SocketAddr>| path.map(|path| SocketAddr::new(address, path.port()));
            stream.path.rtp = moved(stream.path.rtp);
            stream.path.rtcp = moved(stream.path.rtcp);
        }
    }
    description
}

/// The profile that the receiver of an offer is to see: what kind of key the relay has for it does not show in it.
pub(crate) fn with_profile(mut local: Description, profile: Profile) -> Description {
    for stream in &mut local.streams {
        if stream.path.profile.is_secure() == profile.is_secure() {
            stream.path.profile = profile;
        }
    }
    local
}

/// What a description that we wrote is called in its `o=`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edition {
    /// The same for all that a party gets.
    pub(crate) session: u64,
    /// One more each time.
    pub(crate) version: u64,
}

/// Foundations as clients of rtpengine know them, of sixteen letters or digits.
fn with_long_foundations(local: &Description) -> Description {
    let mut local = local.clone();
    for candidate in local.streams.iter_mut().flat_map(|stream| &mut stream.path.candidates) {
        candidate.foundation = format!("{:0>16}", candidate.foundation);
    }
    local
}

/// The SDP for the other party, laid out as clients of rtpengine know it. `streams`: which one each m-line is.
pub(crate) fn rewrite(
    original: &str,
    options: &Options,
    role: Role,
    streams: &[Option<StreamId>],
    local: &Description,
    edition: Edition,
) -> Result<String, SdpError> {
    let facts = Facts::read(original)?;
    let local = &with_long_foundations(local);
    let fate = |(line, stream): (&sdp::facts::MediaFacts, &Option<StreamId>)| match stream {
        Some(stream) if !options.media_remove.contains(&line.media) => Fate::Carried(*stream),
        Some(_) | None => Fate::Refused,
    };
    let lines: Vec<Fate> = facts.lines.iter().zip(streams).map(fate).collect();
    let flag = |flag| options.flags.has(flag);
    let replaces = |part| options.replace.has(part);
    let own = local.streams.iter().find_map(|stream| stream.path.rtp).map(|rtp| rtp.ip());
    let all = replaces(Replace::OriginFull);
    let counts = all || replaces(Replace::SdpVersion) || replaces(Replace::ForceIncrement);
    let origin = OriginChanges {
        username: (all || replaces(Replace::Username)).then_some("-"),
        session: all.then_some(edition.session),
        version: counts.then_some(edition.version),
        address: own.filter(|_| all || replaces(Replace::Origin)),
    };
    let rtcp = match (flag(Flag::NoRtcpAttribute), flag(Flag::FullRtcpAttribute)) {
        (true, _) => RtcpAttribute::Never,
        (false, true) => RtcpAttribute::Full,
        (false, false) => RtcpAttribute::Always,
    };
    let trickle = if flag(Flag::TrickleIce) { Trickle::Always } else { Trickle::Never };
    let key_padding = options.sdes.words.has(SdesWord::Pad);
    let how = Rewriting {
        wording: Wording { rtcp, key_padding, trickle, tls_id: !flag(Flag::NoTlsId) },
        layout: Layout::ByKind,
        origin,
        session_name: replaces(Replace::SessionName).then_some("-"),
        generate_mid: flag(Flag::GenerateMid),
        keep_direction: flag(Flag::OriginalSendrecv),
        replace_zero_address: replaces(Replace::ZeroAddress),
        session_edits: edits(&options.sdp_attributes.session),
        audio_edits: edits(&options.sdp_attributes.audio),
        video_edits: edits(&options.sdp_attributes.video),
        ..Rewriting::new(role, &lines, local)
    };
    sdp::rewrite::rewrite(original, &how)
}

fn edits(changes: &AttributeChanges) -> Edits<'_> {
    Edits { remove: &changes.remove, substitute: &changes.substitute, add: &changes.add }
}
