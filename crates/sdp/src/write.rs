//! From streams to text, slot by slot.

use std::net::{IpAddr, SocketAddr};

use model::{Description, MediaPath, MediaStream};
use sdp_types::{Attribute, Connection, Media, Origin, Time};

use super::{Role, Slot, candidate, codec, crypto};

/// The port of an m-line whose address is still to be found (RFC 8840 §4.1.1).
const DISCARD: u16 = 9;

/// How a transport is put in words, where there is a choice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wording {
    /// When `a=rtcp` is written.
    pub rtcp: RtcpAttribute,
    /// Keys keep the `=` at the end of their base64 (RFC 4648 §3.2).
    pub key_padding: bool,
    /// What is said of trickling.
    pub trickle: Trickle,
    /// `a=tls-id` is written (RFC 8842 §5.1), which some old peers do not know.
    pub tls_id: bool,
}

impl Default for Wording {
    fn default() -> Self {
        Self { rtcp: RtcpAttribute::WhereNeeded, key_padding: true, trickle: Trickle::WhereNeeded, tls_id: false }
    }
}

/// When `a=ice-options:trickle` and `a=end-of-candidates` are written (RFC 8840 §4.1.1, §8.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trickle {
    /// The one while candidates are still to come, the other when all are there.
    WhereNeeded,
    /// The one always: the peer may trickle, even if all our candidates are there (half trickle, RFC 8838 §16).
    Always,
    /// Neither, where all are there, as before there was trickling.
    Never,
}

/// When `a=rtcp` is written (RFC 3605 §2.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RtcpAttribute {
    /// Where it says anything that is not so by default.
    WhereNeeded,
    /// Always, with its address where that is not RTP's.
    Always,
    /// Always, with its address.
    Full,
    /// Never.
    Never,
}

pub(super) fn write(
    origin: Origin,
    times: &[Time],
    slots: &mut [Slot],
    description: &Description,
    role: Role,
    wording: Wording,
) -> sdp_types::Session {
    let address = origin.try_parse_unicast_ip_address().ok();
    let mut sdp = sdp_types::Session::new(origin, "-");
    sdp.connection = address.map(Connection::from_ip_addr);
    sdp.times = if times.is_empty() { vec![Time::new(0, 0)] } else { times.to_vec() };
    let bundle = bundle_of(slots, description);
    if !bundle.is_empty() {
        sdp.add_attribute(Attribute::with_value("group", format!("BUNDLE {}", bundle.join(" "))));
    }
    if description.streams.iter().any(|stream| stream.path.ice.as_ref().is_some_and(|ice| ice.lite)) {
        sdp.add_attribute(Attribute::new("ice-lite"));
    }
    for slot in slots {
        let stream = description.streams.iter().find(|stream| slot.stream == Some(stream.id) && !stream.rejected);
        sdp.add_media(match stream {
            Some(stream) => {
                let media = Writer { description, stream, slot, role, wording, session: address }.write();
                (slot.proto, slot.formats) = (media.proto.clone(), media.fmt.clone());
                media
            }
            None => refused(slot),
        });
    }
    sdp
}

/// The mids of the streams that share a transport. Those refused are no part of it (RFC 8843 §7.3.3).
fn bundle_of(slots: &[Slot], description: &Description) -> Vec<String> {
    let carried =
        description.bundle.iter().filter(|id| description.streams.iter().any(|s| s.id == **id && !s.rejected));
    carried.filter_map(|id| slots.iter().find(|slot| slot.stream == Some(*id))?.mid.clone()).collect()
}

/// The m-line of a stream that carries nothing: port 0, the rest as it was (RFC 3264 §6, §8.2).
fn refused(slot: &Slot) -> Media {
    let formats = if slot.formats.is_empty() { "0" } else { &slot.formats };
    let mut media = Media { proto: slot.proto.clone(), ..m_line(&slot.media, 0, formats) };
    if let Some(mid) = &slot.mid {
        media.add_attribute_with_value("mid", mid);
    }
    media
}

pub(super) fn m_line(media: &str, port: u16, formats: &str) -> Media {
    Media {
        media: media.to_owned(),
        port,
        num_ports: None,
        proto: String::new(),
        fmt: formats.to_owned(),
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    }
}

struct Writer<'a> {
    description: &'a Description,
    stream: &'a MediaStream,
    slot: &'a Slot,
    role: Role,
    wording: Wording,
    /// The address of the session's `c=`.
    session: Option<IpAddr>,
}

impl Writer<'_> {
    fn write(&self) -> Media {
        let stream = self.stream;
        let codecs: Vec<_> = stream.codecs.iter().filter(|codec| codec::is_token(&codec.name)).collect();
        if codecs.is_empty() {
            return refused(self.slot);
        }
        let formats: Vec<String> = codecs.iter().map(|codec| codec.payload_type.to_string()).collect();
        let (mut media, rtp) = self.m_line(&formats.join(" "));
        for bandwidth in stream.bandwidth.iter().filter(|bandwidth| codec::is_token(&bandwidth.kind)) {
            media.bandwidths.push(sdp_types::Bandwidth { bwtype: bandwidth.kind.clone(), bandwidth: bandwidth.value });
        }
        if let Some(mid) = &self.slot.mid {
            media.add_attribute_with_value("mid", mid);
        }
        for codec in codecs {
            codec::write(codec, &mut media);
        }
        stream.feedback.iter().for_each(|feedback| codec::write_feedback(feedback, "*", &mut media));
        stream.extensions.iter().for_each(|extension| codec::write_extension(extension, &mut media));
        for (name, value) in [("ptime", stream.ptime), ("maxptime", stream.maxptime)] {
            if let Some(milliseconds) = value {
                media.add_attribute_with_value(name, milliseconds);
            }
        }
        media.add_attribute(Attribute::new(codec::direction_word(stream.direction)));
        if stream.rtcp_reduced_size {
            media.add_attribute(Attribute::new("rtcp-rsize"));
        }
        write_path(&stream.path, rtp, self.wording, &mut media);
        media
    }

    /// The m-line with its port and, where it is not the session's, its address. A stream without an address of its own
    /// shares that of its bundle.
    fn m_line(&self, formats: &str) -> (Media, Option<SocketAddr>) {
        let stream = self.stream;
        let shared = || {
            let first = self.description.bundle.first().filter(|_| self.description.bundle.contains(&stream.id))?;
            self.description.streams.iter().find(|other| other.id == *first && other.id != stream.id)?.path.rtp
        };
        let bundle_only = stream.path.rtp.is_none() && shared().is_some() && self.role == Role::Offer;
        let rtp = stream.path.rtp.or_else(shared);
        let port = if bundle_only { 0 } else { rtp.map_or(DISCARD, |rtp| rtp.port()) };
        let mut media = m_line(&self.slot.media, port, formats);
        media.proto = stream.path.profile.as_str().to_owned();
        let address = rtp.map(|rtp| rtp.ip());
        if address.is_some() && address != self.session {
            media.connections.extend(address.map(Connection::from_ip_addr));
        }
        if bundle_only {
            media.add_attribute(Attribute::new("bundle-only"));
        }
        (media, rtp)
    }
}

fn write_path(path: &MediaPath, rtp: Option<SocketAddr>, wording: Wording, media: &mut Media) {
    if let Some(value) = rtp.and_then(|rtp| rtcp_value(rtp, path, wording.rtcp)) {
        media.add_attribute_with_value("rtcp", value);
    }
    if path.rtcp_mux {
        media.add_attribute(Attribute::new("rtcp-mux"));
    }
    if path.rtcp_mux_only {
        media.add_attribute(Attribute::new("rtcp-mux-only"));
    }
    path.crypto.iter().for_each(|c| media.add_attribute_with_value("crypto", crypto::write(c, wording.key_padding)));
    if let Some(dtls) = &path.dtls {
        media.add_attribute_with_value("setup", dtls.setup.as_str());
        for fingerprint in &dtls.fingerprints {
            let value = format!("{} {}", fingerprint.hash.as_str(), fingerprint.hex());
            media.add_attribute_with_value("fingerprint", value);
        }
        if let Some(name) = dtls.tls_id.as_ref().filter(|_| wording.tls_id) {
            media.add_attribute_with_value("tls-id", name);
        }
    }
    if let Some(ice) = &path.ice {
        media.add_attribute_with_value("ice-ufrag", &ice.ufrag);
        media.add_attribute_with_value("ice-pwd", ice.pwd.reveal());
        path.candidates.iter().for_each(|c| media.add_attribute_with_value("candidate", candidate::write(c)));
        if path.end_of_candidates && wording.trickle != Trickle::Never {
            media.add_attribute(Attribute::new("end-of-candidates"));
        }
        if !path.end_of_candidates || wording.trickle == Trickle::Always {
            media.add_attribute_with_value("ice-options", "trickle");
        }
    }
}

/// The value of `a=rtcp` (RFC 3605 §2.1).
fn rtcp_value(rtp: SocketAddr, path: &MediaPath, when: RtcpAttribute) -> Option<String> {
    let next = || Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?));
    let full = |rtcp: SocketAddr| {
        let family = if rtcp.is_ipv4() { "IP4" } else { "IP6" };
        format!("{} IN {family} {}", rtcp.port(), rtcp.ip())
    };
    match when {
        RtcpAttribute::Never => None,
        RtcpAttribute::Always => {
            let rtcp = path.rtcp.or_else(|| if path.rtcp_mux { Some(rtp) } else { next() })?;
            Some(if rtcp.ip() == rtp.ip() { rtcp.port().to_string() } else { full(rtcp) })
        }
        RtcpAttribute::Full => path.rtcp.or_else(|| if path.rtcp_mux { Some(rtp) } else { next() }).map(full),
        RtcpAttribute::WhereNeeded => {
            let rtcp = path.rtcp.filter(|rtcp| *rtcp != rtp && Some(*rtcp) != next())?;
            Some(if rtcp.ip() == rtp.ip() { rtcp.port().to_string() } else { full(rtcp) })
        }
    }
}
