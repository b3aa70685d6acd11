//! A party's SDP on its way to another: what the relay owns becomes ours, all else stays as it was, where it was.
//!
//! Ours are addresses, ports, profiles, payload types and what is said of them, RTCP, ICE, keys, fingerprints, bundles,
//! header extensions, direction and packet times. They are written as [`Session`](crate::Session) would write them; a
//! line of the sender that says the same stays in their stead. What a relay cannot vouch for goes: SSRCs, simulcast,
//! capability negotiation (RFC 5939), RTCP XR, MIKEY, ZRTP, and attributes known to name addresses.
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
mod merge;
mod order;
mod renumber;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::{Description, StreamId};
use sdp_types::{Attribute, Media, Origin};

pub use self::edits::Edits;
use self::merge::Merge;
use super::document::{Document, Line, Section};
use super::write::{self, Wording};
use super::{Role, SdpError, Slot, codec};

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
    /// Where what is ours to say stands.
    pub layout: Layout,
    /// What is replaced in the `o=` line.
    pub origin: OriginChanges<'a>,
    /// The new `s=` line.
    pub session_name: Option<&'a str>,
    /// Every m-line that is carried gets an `a=mid`; otherwise, of those without one, only those in a bundle do.
    pub generate_mid: bool,
    /// The sender's direction attributes stay, and those of `local` are not written.
    pub keep_direction: bool,
    /// What the sender says of its SSRCs stays: the relay passes packets with them.
    pub keep_sources: bool,
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
            layout: Layout::InPlace,
            origin: OriginChanges::default(),
            session_name: None,
            generate_mid: false,
            keep_direction: false,
            keep_sources: false,
            replace_zero_address: false,
            session_edits: Edits::default(),
            audio_edits: Edits::default(),
            video_edits: Edits::default(),
        }
    }
}

/// Where the lines stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// Where the sender said it; a static payload type (RFC 3551 §6) that it did not explain stays unexplained.
    InPlace,
    /// All lines stand in an order of their own, by what they are about; the sender's where it left that open. Each m-line
    /// has its own `c=`, and explains each payload type; one that is refused has little more than its `a=mid`.
    ByKind,
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
    /// Second word, a number.
    pub session: Option<&'a str>,
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
        let is_number = |word: &&str| !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
        let session = self.session.filter(is_number).map(str::to_owned);
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
    // RFC 8851, 8853, 9143: what tells the RTP streams of one m-line apart
    &["x-ssrc-range", "rid", "simulcast", "bundle-only"],
    // Addresses: RFC 4975, 6947, 4570, and the marks of proxies
    &["path", "altc", "source-filter", "oldmediaip", "oldcip", "oldoip"],
    // RFC 5939, 6871, 7006: other transports, with keys and addresses
    &["acap", "tcap", "pcfg", "acfg", "lcfg", "csup", "creq", "ccap"],
];

/// What the sender says of the sources of its RTP streams (RFC 5576).
const SOURCES: [&str; 2] = ["ssrc", "ssrc-group"];

/// Attributes of the session that [`write::write`] says for each m-line.
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
        let expected = if index < how.lines.len() { "spoken of" } else { "not spoken of" }.to_owned();
        return Err(SdpError::MediaMismatch { index, expected, found });
    }
    let mut fates = how.lines.iter();
    document.sections.retain(|_| fates.next() != Some(&Fate::Removed));
    let rewriter = Rewriter::new(how, document);
    let mut text = String::new();
    write_lines(&rewriter.session(), how.session_edits, &mut text);
    for (section, ours) in rewriter.document.sections.iter().zip(&rewriter.ours.medias) {
        let lines = if is_carried(ours) { rewriter.carried(section, ours) } else { rewriter.refused(section, ours) };
        let edits = match section.media.to_ascii_lowercase().as_str() {
            "audio" => how.audio_edits,
            "video" => how.video_edits,
            _ => Edits::default(),
        };
        write_lines(&lines, edits, &mut text);
    }
    Ok(text)
}

/// Writes the lines of a part. None of them can hold another (RFC 8866 §5).
fn write_lines(lines: &[String], edits: Edits<'_>, text: &mut String) {
    for line in edits.apply(lines) {
        text.extend(line.chars().filter(|c| !matches!(c, '\0' | '\r' | '\n')));
        text.push_str("\r\n");
    }
}

/// The sender's SDP and ours, m-line by m-line.
struct Rewriter<'a> {
    how: &'a Rewriting<'a>,
    document: Document<'a>,
    ours: sdp_types::Session,
    /// The address that the `c=` of the session says, if it has one.
    address: IpAddr,
}

impl<'a> Rewriter<'a> {
    fn new(how: &'a Rewriting<'a>, document: Document<'a>) -> Self {
        let mut slots = slots(how, &document);
        let carried = how.local.streams.iter().filter(|stream| slots.iter().any(|slot| slot.stream == Some(stream.id)));
        let first = carried.filter_map(|stream| stream.path.rtp).map(|rtp| rtp.ip()).next();
        let origin = Origin::with_ip_addr(0, 0, first.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        let ours = write::write(origin, &[], &mut slots, how.local, how.role, how.wording);
        let mut rewriter = Self { how, document, ours, address: Ipv4Addr::UNSPECIFIED.into() };
        let mut lines = rewriter.document.sections.iter().zip(&rewriter.ours.medias);
        if let Some((section, media)) = lines.find(|(_, media)| is_carried(media)) {
            rewriter.address = rewriter.address_of(section, media);
        }
        rewriter
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
                'c' if self.how.layout == Layout::InPlace => lines.extend(connection.take()),
                'c' => {}
                'a' if is_bundle(line) => lines.extend(bundle.take().map(text_of)),
                'a' if self.is_ours(line) || SAID_BY_MEDIA.iter().any(|name| line.is(name)) => {}
                'k' => {}
                _ => lines.push(line.text.to_owned()),
            }
        }
        lines.extend(bundle.map(text_of));
        lines.extend(self.ours.attributes.iter().filter(|attribute| attribute.attribute != "group").map(text_of));
        if self.how.layout == Layout::ByKind {
            order::sort_session(&mut lines);
        }
        lines
    }

    /// Says whether an attribute must not stay as the sender wrote it.
    fn is_ours(&self, line: &Line<'_>) -> bool {
        let is_direction = line.attribute().is_some_and(|(name, _)| is_direction(name));
        self.is_dropped(line) || (is_direction && !self.how.keep_direction)
    }

    /// An m-line that carries nothing. Its formats and its place are the sender's.
    fn refused(&self, section: &Section<'_>, ours: &Media) -> Vec<String> {
        let mut lines = vec![m_line(ours)];
        if self.how.layout == Layout::ByKind {
            lines.push(format!("c={}", connection(Ipv4Addr::UNSPECIFIED.into())));
            lines.extend(section.lines.iter().filter(|line| line.kind == 'b').map(|line| line.text.to_owned()));
            lines.extend(ours.attributes.iter().map(text_of));
            return lines;
        }
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

    fn carried(&self, section: &Section<'_>, ours: &Media) -> Vec<String> {
        let mut lines = vec![m_line(ours)];
        let address = self.address_of(section, ours);
        let own = section.lines.iter().any(|line| line.kind == 'c');
        let own = own || self.how.layout == Layout::ByKind || !self.has_connection() || address != self.address;
        let mut connection = own.then(|| format!("c={}", connection(address)));
        let mut attributes = Merge::new(section, ours, self.how.keep_direction, self.how.layout);
        for line in &section.lines {
            if line.kind != 'i' {
                lines.extend(connection.take());
            }
            match line.kind {
                'c' | 'k' => {}
                'a' if self.is_dropped(line) => {}
                'a' => lines.extend(attributes.take(line)),
                _ => lines.push(line.text.to_owned()),
            }
        }
        lines.extend(connection);
        lines.extend(attributes.rest());
        if self.how.layout == Layout::ByKind {
            order::sort(&mut lines, &ours.fmt);
        }
        lines
    }

    /// Says whether a line speaks of a transport that the relay does not pass on, or of what it makes itself.
    fn is_dropped(&self, line: &Line<'_>) -> bool {
        is_transport(line) || !self.how.keep_sources && line.attribute().is_some_and(|(name, _)| is_source(name))
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

/// What [`write::write`] has to know of the m-lines. Those in a bundle need a name (RFC 9143 §7).
fn slots(how: &Rewriting<'_>, document: &Document<'_>) -> Vec<Slot> {
    let streams = how.lines.iter().filter_map(|fate| match fate {
        Fate::Carried(stream) => Some(Some(*stream)),
        Fate::Refused => Some(None),
        Fate::Removed => None,
    });
    let given = |section: &Section<'_>| {
        section.value("mid").map(str::trim).filter(|mid| codec::is_token(mid)).map(str::to_owned)
    };
    let mut taken: Vec<String> = document.sections.iter().filter_map(given).collect();
    taken.extend(how.local.streams.iter().map(|stream| stream.name.clone()));
    let mut slots = Vec::new();
    for (section, id) in document.sections.iter().zip(streams) {
        let known = how.local.streams.iter().find(|stream| Some(stream.id) == id);
        let stream = known.filter(|stream| !stream.rejected);
        let named = known.map(|stream| stream.name.clone()).filter(|name| codec::is_token(name));
        // An answer repeats the names of the offer, and gives none of its own (RFC 5888 §9.1).
        let is_unnamed = how.role == Role::Answer && known.is_some();
        let mut mid = named.or_else(|| given(section).filter(|_| !is_unnamed));
        if mid.is_none() && stream.is_some_and(|s| how.generate_mid || how.local.bundle.contains(&s.id)) {
            mid = (slots.len() + 1..).map(|number| number.to_string()).find(|mid| !taken.contains(mid));
            taken.extend(mid.clone());
        }
        slots.push(Slot {
            stream: id,
            media: section.media.to_owned(),
            proto: section.proto.to_owned(),
            formats: section.formats.join(" "),
            mid,
        });
    }
    slots
}

fn first_word(value: &str) -> &str {
    value.split_whitespace().next().unwrap_or_default()
}

fn is_transport(line: &Line<'_>) -> bool {
    let is = |name: &str| TRANSPORT.iter().any(|ours| ours.iter().any(|ours| ours.eq_ignore_ascii_case(name)));
    line.attribute().is_some_and(|(name, _)| is(name))
}

fn is_source(name: &str) -> bool {
    SOURCES.iter().any(|source| source.eq_ignore_ascii_case(name))
}

fn is_direction(name: &str) -> bool {
    codec::direction_of(name).is_some()
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
