//! A party's SDP on its way to another: what the relay owns becomes ours, all else stays as it was, where it was.
//!
//! Ours are addresses, ports, profiles, payload types and what is said of them, RTCP, ICE, keys, fingerprints, bundles,
//! header extensions, direction and packet times. They are written as [`Session`](crate::Session) would write them; a
//! line of the sender that says the same stays in their stead. What a relay cannot vouch for goes: SSRCs, capability
//! negotiation (RFC 5939), RTCP XR, MIKEY, and attributes known to name addresses.
//!
//! ```
//! use sdp::rewrite::{Fate, Rewriting, rewrite};
//! use sdp::{Role, Session};
//!
//! let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=x-y:z\r\n";
//! let mut local = Session::new(1).read_offer(offer)?.description;
//! local.streams[0].path.rtp = Some("198.51.100.1:30000".parse()?);
//!
//! let lines = [Fate::Carried(local.streams[0].id)];
//! let text = rewrite(offer, &Rewriting::new(Role::Offer, &lines, &local))?;
//! assert!(text.contains("c=IN IP4 198.51.100.1\r\nt=0 0\r\nm=audio 30000 RTP/AVP 8\r\na=x-y:z\r\na=sendrecv\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod edits;
mod renumber;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::{Description, StreamId};
use sdp_types::{Attribute, Media};

pub use self::edits::Edits;
use self::renumber::Renumbering;
use super::document::{Document, Line, Section};
use super::write::{self, Wording};
use super::{Role, SdpError, Slot, codec, read};

/// What is to become of an SDP, besides its paths.
#[derive(Clone, Debug)]
pub struct Rewriting<'a> {
    /// Whether it is an offer or an answer.
    pub role: Role,
    /// What becomes of each m-line, in order.
    pub lines: &'a [Fate],
    /// What we say to the receiver, its paths filled in by the relay. A name of a stream becomes its `a=mid`; without
    /// one, the sender's `a=mid` stays.
    pub local: &'a Description,
    /// How our transport is put in words.
    pub wording: Wording,
    /// What is replaced in the `o=` line.
    pub origin: OriginChanges<'a>,
    /// The new `s=` line.
    pub session_name: Option<&'a str>,
    /// Every m-line that is carried gets an `a=mid`; otherwise, of those without one, only those in a bundle do.
    pub generate_mid: bool,
    /// The sender's direction attributes stay, and those of `local` are not written.
    pub keep_direction: bool,
    /// Hold by the address `0.0.0.0` or `::` (RFC 2543) gets our address.
    pub replace_zero_address: bool,
    /// Changes to the session's attributes, made last.
    pub session_edits: Edits<'a>,
    /// Changes to the attributes of m-lines of audio, made last.
    pub audio_edits: Edits<'a>,
    /// Changes to the attributes of m-lines of video, made last.
    pub video_edits: Edits<'a>,
}

impl<'a> Rewriting<'a> {
    /// Nothing but what the relay needs.
    pub fn new(role: Role, lines: &'a [Fate], local: &'a Description) -> Self {
        Self {
            role,
            lines,
            local,
            wording: Wording::default(),
            origin: OriginChanges::default(),
            session_name: None,
            generate_mid: false,
            keep_direction: false,
            replace_zero_address: false,
            session_edits: Edits::default(),
            audio_edits: Edits::default(),
            video_edits: Edits::default(),
        }
    }
}

/// What becomes of an m-line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It carries this stream. If the description has none of this number, or rejects it, the m-line is refused.
    Carried(StreamId),
    /// Port 0 (RFC 3264 §6).
    Refused,
    /// It is left out, so that the indices of the m-lines behind it change.
    Removed,
}

/// What is replaced in an `o=` line (RFC 8866 §5.2).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct OriginChanges<'a> {
    /// First word.
    pub username: Option<&'a str>,
    /// Second word.
    pub session: Option<u64>,
    /// Third word.
    pub version: Option<u64>,
    /// The address.
    pub address: Option<IpAddr>,
}

impl OriginChanges<'_> {
    /// The new value; a line that has not its six words gets them.
    fn apply(&self, value: &str) -> String {
        let mut words: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
        if words.len() != 6 {
            words = ["-", "0", "0", "IN", "IP4", "0.0.0.0"].map(str::to_owned).to_vec();
        }
        let address = self.address.map(|ip| (if ip.is_ipv4() { "IP4" } else { "IP6" }.to_owned(), ip.to_string()));
        let (family, address) = address.unzip();
        let username = self.username.map(|name| name.replace(char::is_whitespace, "_"));
        let username = username.map(|name| if name.is_empty() { "-".to_owned() } else { name });
        let session = self.session.map(|number| number.to_string());
        let version = self.version.map(|number| number.to_string());
        for (word, new) in words.iter_mut().zip([username, session, version, None, family, address]) {
            if let Some(new) = new {
                *word = new;
            }
        }
        words.join(" ")
    }
}

/// Attributes that are ours to write, at both levels, or that nobody may write for the sender's transport behind us.
const TRANSPORT: &[&[&str]] = &[
    // RFC 3605, 5761, 8858, 3611
    &["rtcp", "rtcp-mux", "rtcp-mux-only", "rtcp-xr"],
    // RFC 8839, and what came before it
    &["candidate", "remote-candidates", "end-of-candidates", "ice-ufrag", "ice-pwd", "ice-options", "ice-lite"],
    &["ice-mismatch", "ice-pacing", "alt", "x-candidate-ipv6"],
    // RFC 4568, 4567, 6189
    &["crypto", "key-mgmt", "zrtp-hash"],
    // RFC 8122, 4145, 8842, 8827
    &["fingerprint", "setup", "connection", "tls-id", "dtls-id", "identity"],
    // RFC 5576, 9143
    &["ssrc", "ssrc-group", "x-ssrc-range", "bundle-only"],
    // Addresses: RFC 4975, 6947, 4570, and the marks of proxies
    &["path", "altc", "source-filter", "oldmediaip", "oldcip", "oldoip"],
    // RFC 5939, 6871, 7006: other transports, with keys and addresses
    &["acap", "tcap", "pcfg", "acfg", "lcfg", "csup", "creq", "ccap"],
];

/// Attributes of the session that [`write`] says for each m-line.
const SAID_BY_MEDIA: &[&str] = &["extmap", "rtcp-rsize"];

/// Rewrites an SDP.
///
/// # Errors
///
/// It is not SDP, it is a bomb, or it does not have as many m-lines as are spoken of.
pub fn rewrite(original: &str, how: &Rewriting<'_>) -> Result<String, SdpError> {
    let mut document = Document::parse(original)?;
    if document.sections.len() != how.lines.len() {
        let index = document.sections.len().min(how.lines.len());
        let found = document.sections.get(index).map_or("missing", |section| section.media).to_owned();
        let expected = if index < how.lines.len() { "there" } else { "missing" }.to_owned();
        return Err(SdpError::MediaMismatch { index, expected, found });
    }
    let mut fates = how.lines.iter();
    document.sections.retain(|_| fates.next() != Some(&Fate::Removed));
    Ok(Rewriter::new(how, document).rewrite())
}

/// The sender's SDP and ours, side by side.
struct Rewriter<'a> {
    how: &'a Rewriting<'a>,
    document: Document<'a>,
    ours: sdp_types::Session,
    /// The stream of each m-line.
    streams: Vec<Option<StreamId>>,
    /// The address that the `c=` of the session says, if it has one.
    address: IpAddr,
    text: String,
}

impl<'a> Rewriter<'a> {
    fn new(how: &'a Rewriting<'a>, document: Document<'a>) -> Self {
        let stream = |fate: &Fate| match fate {
            Fate::Carried(stream) => Some(Some(*stream)),
            Fate::Refused => Some(None),
            Fate::Removed => None,
        };
        let streams: Vec<_> = how.lines.iter().filter_map(stream).collect();
        let first = how.local.streams.iter().filter(|stream| streams.contains(&Some(stream.id)));
        let first = first.filter_map(|stream| stream.path.rtp).map(|rtp| rtp.ip()).next();
        let origin = sdp_types::Origin::with_ip_addr(0, 0, first.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        let mut slots = slots(how, &document, &streams);
        let ours = write::write(origin, &[], &mut slots, how.local, how.role, how.wording);
        let mut rewriter =
            Self { how, document, ours, streams, address: Ipv4Addr::UNSPECIFIED.into(), text: String::new() };
        let carried = rewriter.document.sections.iter().zip(&rewriter.ours.medias).find(|(_, media)| is_carried(media));
        rewriter.address = carried.map_or(rewriter.address, |(section, media)| rewriter.address_of(section, media));
        rewriter
    }

    fn rewrite(mut self) -> String {
        let session = self.session();
        self.write(&session, &self.how.session_edits);
        for index in 0..self.document.sections.len() {
            let Some((section, ours)) = self.document.sections.get(index).zip(self.ours.medias.get(index)) else {
                break;
            };
            let edits = match section.media.to_ascii_lowercase().as_str() {
                "audio" => self.how.audio_edits,
                "video" => self.how.video_edits,
                _ => Edits::default(),
            };
            let lines = if is_carried(ours) { self.carried(index, section, ours) } else { self.refused(section, ours) };
            self.write(&lines, &edits);
        }
        self.text
    }

    /// Writes the lines of a part. None of them can hold another (RFC 8866 §5).
    fn write(&mut self, lines: &[String], edits: &Edits<'_>) {
        for line in edits.apply(lines) {
            self.text.extend(line.chars().filter(|c| !matches!(c, '\0' | '\r' | '\n')));
            self.text.push_str("\r\n");
        }
    }

    /// The lines above the first m-line.
    fn session(&self) -> Vec<String> {
        let mut connection = Some(format!("c={}", connection(self.address)));
        let mut bundle = self.ours.attributes.iter().find(|attribute| attribute.attribute == "group");
        let mut lines = Vec::new();
        for line in &self.document.session {
            match line.kind {
                'o' if self.how.origin != OriginChanges::default() => {
                    lines.push(format!("o={}", self.how.origin.apply(line.value)));
                }
                's' => lines.push(self.how.session_name.map_or(line.text.to_owned(), |name| format!("s={name}"))),
                'c' => lines.extend(connection.take()),
                'a' if is_bundle(line) => lines.extend(bundle.take().map(text_of)),
                'a' if self.is_ours(line) || SAID_BY_MEDIA.iter().any(|name| line.is(name)) => {}
                'k' => {}
                _ => lines.push(line.text.to_owned()),
            }
        }
        lines.extend(bundle.map(text_of));
        lines.extend(self.ours.attributes.iter().filter(|attribute| attribute.attribute != "group").map(text_of));
        lines
    }

    /// Says whether an attribute must not stay as the sender wrote it.
    fn is_ours(&self, line: &Line<'_>) -> bool {
        let is_direction = || line.attribute().is_some_and(|(name, _)| codec::direction_of(name).is_some());
        is_transport(line) || (!self.how.keep_direction && is_direction())
    }

    /// An m-line that carries nothing. Its formats and its place are the sender's.
    fn refused(&self, section: &Section<'_>, ours: &Media) -> Vec<String> {
        let mut lines = vec![m_line(ours)];
        let connection = (!self.has_connection()).then(|| connection(self.address));
        let mut connection = connection.map(|connection| format!("c={connection}"));
        for line in &section.lines {
            match line.kind {
                'i' => lines.push(line.text.to_owned()),
                'c' | 'k' => {}
                'a' if self.is_ours(line) => {}
                _ => {
                    lines.extend(connection.take());
                    lines.push(line.text.to_owned());
                }
            }
        }
        lines.extend(connection);
        lines
    }

    fn carried(&self, index: usize, section: &Section<'_>, ours: &Media) -> Vec<String> {
        let mut lines = vec![m_line(ours)];
        let address = self.address_of(section, ours);
        let own = section.lines.iter().any(|line| line.kind == 'c');
        let mut connection =
            (own || !self.has_connection() || address != self.address).then(|| format!("c={}", connection(address)));
        let mut attributes = Merge::new(self.how, section, self.streams.get(index).copied().flatten(), ours);
        for line in &section.lines {
            if line.kind != 'i' {
                lines.extend(connection.take());
            }
            match line.kind {
                'c' | 'k' => {}
                'a' if is_transport(line) => {}
                'a' => lines.extend(attributes.take(line)),
                _ => lines.push(line.text.to_owned()),
            }
        }
        lines.extend(connection);
        lines.extend(attributes.rest());
        lines
    }

    fn has_connection(&self) -> bool {
        self.document.session.iter().any(|line| line.kind == 'c')
    }

    /// Our address for an m-line, or none for one that the sender holds by having none.
    fn address_of(&self, section: &Section<'_>, ours: &Media) -> IpAddr {
        let connection = ours.connections.first().or(self.ours.connection.as_ref());
        let address = connection.and_then(|connection| connection.try_address().ok());
        let address = address.map_or(Ipv4Addr::UNSPECIFIED.into(), |address| address.ip);
        match address {
            _ if self.how.replace_zero_address || !self.document.held_by_address(section) => address,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        }
    }
}

/// What [`write`] has to know of the m-lines. Those in a bundle need a name (RFC 9143 §7).
fn slots(how: &Rewriting<'_>, document: &Document<'_>, streams: &[Option<StreamId>]) -> Vec<Slot> {
    let given = |section: &Section<'_>| {
        section.value("mid").map(str::trim).filter(|mid| codec::is_token(mid)).map(str::to_owned)
    };
    let mut taken: Vec<String> = document.sections.iter().filter_map(given).collect();
    taken.extend(how.local.streams.iter().map(|stream| stream.name.clone()));
    let mut slots = Vec::new();
    for (section, id) in document.sections.iter().zip(streams) {
        let stream = how.local.streams.iter().find(|stream| Some(stream.id) == *id && !stream.rejected);
        let named = stream.map(|stream| stream.name.clone()).filter(|name| codec::is_token(name));
        let mut mid = named.or_else(|| given(section));
        if mid.is_none() && stream.is_some_and(|s| how.generate_mid || how.local.bundle.contains(&s.id)) {
            mid = (slots.len()..).map(|number| number.to_string()).find(|mid| !taken.contains(mid));
            taken.extend(mid.clone());
        }
        slots.push(Slot {
            stream: *id,
            media: section.media.to_owned(),
            proto: section.proto.to_owned(),
            formats: section.formats.join(" "),
            mid,
        });
    }
    slots
}

/// The attributes of an m-line, the sender's and ours becoming one list.
struct Merge<'a> {
    how: &'a Rewriting<'a>,
    numbers: Renumbering,
    /// Ours that no line has said yet.
    ours: Vec<&'a Attribute>,
}

impl<'a> Merge<'a> {
    fn new(how: &'a Rewriting<'a>, section: &Section<'_>, stream: Option<StreamId>, ours: &'a Media) -> Self {
        let now = how.local.streams.iter().find(|local| Some(local.id) == stream).map(|local| local.codecs.as_slice());
        let media = section.to_media();
        let numbers = Renumbering::new(codec::read(&media, &mut Vec::new()), now.unwrap_or_default());
        // A static payload type needs no `a=rtpmap`, and had none.
        let explained = |attribute: &Attribute| {
            let Some(number) = attribute.value.as_deref().and_then(|value| value.split_whitespace().next()) else {
                return false;
            };
            let said = |line: &Line<'_>| {
                line.attribute().is_some_and(|(name, value)| name == "rtpmap" && first_word(value) == number)
            };
            attribute.attribute == "rtpmap" && numbers.is_unchanged(number) && !section.lines.iter().any(said)
        };
        let left_out = |attribute: &&Attribute| {
            explained(attribute) || (how.keep_direction && codec::direction_of(&attribute.attribute).is_some())
        };
        let ours = ours.attributes.iter().filter(|attribute| !left_out(attribute)).collect();
        Self { how, numbers, ours }
    }

    /// What stands in the place of a line of the sender.
    fn take(&mut self, line: &Line<'_>) -> Option<String> {
        let (name, value) = line.attribute()?;
        let mut text = line.text.to_owned();
        let mut value = value.to_owned();
        if FORMAT_SPECIFIC.contains(&name) {
            let renumbered = self.numbers.apply(&value)?;
            if renumbered != value {
                text = format!("a={name}:{renumbered}");
                value = renumbered;
            }
        }
        if self.how.keep_direction && codec::direction_of(name).is_some() {
            return Some(text);
        }
        let Some(subject) = subject(name, &value) else {
            return Some(text);
        };
        let same_subject = |ours: &&Attribute| {
            let theirs = crate::rewrite::subject(&ours.attribute, ours.value.as_deref().unwrap_or_default());
            theirs.as_ref() == Some(&subject)
        };
        let index = self.ours.iter().position(same_subject)?;
        let ours = self.ours.remove(index);
        let said = says_the_same(name, &value, ours);
        Some(if said { text } else { text_of(ours) })
    }

    fn rest(self) -> impl Iterator<Item = String> {
        self.ours.into_iter().map(text_of)
    }
}

/// Attributes whose value begins with a payload type, or with `*` (RFC 8866 §6.6, 4585, 6236, and 3GPP TS 26.114).
const FORMAT_SPECIFIC: &[&str] = &["rtpmap", "fmtp", "rtcp-fb", "imageattr", "framesize"];

/// What an attribute is about, if that is ours to say: two that are about the same cannot both stand.
fn subject(name: &str, value: &str) -> Option<String> {
    match name {
        "rtpmap" | "fmtp" => Some(format!("{name} {}", first_word(value))),
        "rtcp-fb" => Some(format!("{name} {}", value.split_whitespace().collect::<Vec<_>>().join(" "))),
        "extmap" => Some(format!("{name} {}", first_word(value).split('/').next().unwrap_or_default())),
        "ptime" | "maxptime" | "rtcp-rsize" | "mid" => Some(name.to_owned()),
        _ => codec::direction_of(name).map(|_| "direction".to_owned()),
    }
}

/// Says whether the sender's line, about the same as ours, says it, too.
fn says_the_same(name: &str, value: &str, ours: &Attribute) -> bool {
    let our_value = ours.value.as_deref().unwrap_or_default();
    match name {
        "fmtp" => {
            let parameters = |value: &str| -> Vec<_> {
                let rest = value.trim_start().split_once(' ').map_or("", |(_, rest)| rest);
                codec::read_parameters(rest).collect()
            };
            parameters(value) == parameters(our_value)
        }
        "extmap" => codec::read_extension(value) == codec::read_extension(our_value),
        "ptime" | "maxptime" => read::read_milliseconds(value) == read::read_milliseconds(our_value),
        "mid" => value.trim() == our_value,
        // A format that has kept its subject has kept its name (see `Renumbering`).
        "rtpmap" | "rtcp-fb" | "rtcp-rsize" => true,
        _ => name == ours.attribute,
    }
}

fn first_word(value: &str) -> &str {
    value.split_whitespace().next().unwrap_or_default()
}

fn is_transport(line: &Line<'_>) -> bool {
    let is = |name: &str| TRANSPORT.iter().any(|ours| ours.iter().any(|ours| ours.eq_ignore_ascii_case(name)));
    line.attribute().is_some_and(|(name, _)| is(name))
}

fn is_bundle(line: &Line<'_>) -> bool {
    line.attribute().is_some_and(|(name, value)| name == "group" && first_word(value) == "BUNDLE")
}

/// Says whether an m-line of ours has a transport: its own, or that of its bundle.
fn is_carried(ours: &Media) -> bool {
    ours.port != 0 || ours.has_attribute("bundle-only")
}

fn m_line(ours: &Media) -> String {
    format!("m={} {} {} {}", ours.media, ours.port, ours.proto, ours.fmt)
}

fn connection(address: IpAddr) -> String {
    format!("IN {} {address}", if address.is_ipv4() { "IP4" } else { "IP6" })
}

fn text_of(attribute: &Attribute) -> String {
    match &attribute.value {
        Some(value) => format!("a={}:{value}", attribute.attribute),
        None => format!("a={}", attribute.attribute),
    }
}
