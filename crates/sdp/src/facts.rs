//! What an SDP says that a description cannot hold.

use std::net::{IpAddr, SocketAddr};

use model::Direction;

use super::document::{Document, Line, Section};
use super::{SdpError, codec};

/// What one SDP says beside its streams.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// The `o=` line, if it has its six words.
    pub origin: Option<Origin>,
    /// The `s=` line.
    pub session_name: Option<String>,
    /// The session's attributes, without `a=`.
    pub attributes: Vec<String>,
    /// The m-lines in order.
    pub lines: Vec<MediaFacts>,
}

/// An `o=` line (RFC 8866 §5.2), its network and address types left out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// First word.
    pub username: String,
    /// Second word, a number.
    pub session: String,
    /// Third word, a number.
    pub version: String,
    /// Last word, an address or a name.
    pub address: String,
}

/// What one m-line says, whatever its kind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MediaFacts {
    /// First word: `audio`, `image`.
    pub media: String,
    /// 0: refused, or without a transport of its own (`a=bundle-only`).
    pub port: u16,
    /// Third word: `RTP/AVP`, `udptl`.
    pub proto: String,
    /// The formats.
    pub formats: Vec<String>,
    /// `a=mid`.
    pub mid: Option<String>,
    /// The address of its `c=`, or of the session's; nothing for a name.
    pub address: Option<IpAddr>,
    /// The direction that it says, or the session for it.
    pub direction: Direction,
    /// Hold as in RFC 2543: no address, although there is a port.
    pub held_by_address: bool,
    /// `a=rtcp-mux` (RFC 5761 §5.1.1) or `a=rtcp-mux-only`.
    pub rtcp_mux: bool,
    /// `a=ice-ufrag`, here or in the session, whether or not it can be used.
    pub ice: bool,
    /// `a=fingerprint`, here or in the session, whether or not it can be used.
    pub fingerprint: bool,
    /// `a=setup`, here or in the session.
    pub setup: bool,
    /// `a=crypto`, whether or not it can be used.
    pub crypto: bool,
}

impl Facts {
    /// Reads an SDP leniently.
    ///
    /// # Errors
    ///
    /// It is a bomb, or an m-line of it is none.
    pub fn read(text: &str) -> Result<Self, SdpError> {
        let document = Document::parse(text)?;
        let value = |kind| document.session.iter().find(|line| line.kind == kind).map(|line| line.value);
        Ok(Self {
            origin: value('o').and_then(Origin::parse),
            session_name: value('s').map(str::to_owned),
            attributes: document.session.iter().filter(|l| l.kind == 'a').map(|l| l.value.trim_end().into()).collect(),
            lines: document.sections.iter().map(|section| MediaFacts::of(&document, section)).collect(),
        })
    }

    /// Where the writer wants its first medium, by its `c=` and `m=` lines.
    pub fn first_address(&self) -> Option<SocketAddr> {
        self.lines.iter().find(|l| l.port != 0).and_then(|line| Some(SocketAddr::new(line.address?, line.port)))
    }
}

impl Origin {
    fn parse(value: &str) -> Option<Self> {
        let words: Vec<&str> = value.split_whitespace().collect();
        let [username, session, version, _, _, address] = words.try_into().ok()?;
        let [username, session, version, address] = [username, session, version, address].map(str::to_owned);
        Some(Self { username, session, version, address })
    }
}

/// The first direction among lines.
fn direction(lines: &[Line<'_>]) -> Option<Direction> {
    lines.iter().filter_map(Line::attribute).find_map(|(name, _)| codec::direction_of(name))
}

impl MediaFacts {
    fn of(document: &Document<'_>, section: &Section<'_>) -> Self {
        let own = |name| section.lines.iter().any(|line| line.is(name));
        let says = |name| document.says(section, name);
        Self {
            media: section.media.to_owned(),
            port: section.port,
            proto: section.proto.to_owned(),
            formats: section.formats.iter().map(|format| (*format).to_owned()).collect(),
            mid: section.value("mid").map(|mid| mid.trim().to_owned()),
            address: document.address(section),
            direction: direction(&section.lines).or_else(|| direction(&document.session)).unwrap_or_default(),
            held_by_address: document.held_by_address(section),
            rtcp_mux: own("rtcp-mux") || own("rtcp-mux-only"),
            ice: says("ice-ufrag"),
            fingerprint: says("fingerprint"),
            setup: says("setup"),
            crypto: own("crypto"),
        }
    }
}
