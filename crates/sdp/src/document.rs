//! The lines of an SDP, as they were sent.

use std::net::IpAddr;

use sdp_types::{Attribute, Media};

use super::{SdpError, write};

/// A WebRTC offer for audio and video has some 8 KiB in 150 lines.
const MAX_BYTES: usize = 64 * 1024;
const MAX_LINES: usize = 1_000;
const MAX_LINE_BYTES: usize = 4 * 1024;
pub(super) const MAX_MEDIA: usize = 32;

/// The lines that are not empty, without the white space before them, which the grammar does not allow but phones
/// send. A lone CR ends a line, too: some reader may take it so, and then no line hides in another.
pub(super) fn lines(text: &str) -> Result<Vec<&str>, SdpError> {
    if text.len() > MAX_BYTES {
        return Err(SdpError::TooLarge("bytes"));
    }
    let lines: Vec<&str> =
        text.split(['\r', '\n']).map(str::trim_start).filter(|line| !line.is_empty()).take(MAX_LINES + 1).collect();
    if lines.len() > MAX_LINES {
        return Err(SdpError::TooLarge("lines"));
    }
    if lines.iter().any(|line| line.len() > MAX_LINE_BYTES) {
        return Err(SdpError::TooLarge("bytes in a line"));
    }
    Ok(lines)
}

/// An SDP in its order. What is no line of SDP (RFC 8866 §5) is left out.
pub(super) struct Document<'a> {
    pub(super) session: Vec<Line<'a>>,
    pub(super) sections: Vec<Section<'a>>,
}

/// An m-line and what belongs to it.
pub(super) struct Section<'a> {
    pub(super) media: &'a str,
    /// Without the number of ports behind it.
    pub(super) port: u16,
    pub(super) proto: &'a str,
    pub(super) formats: Vec<&'a str>,
    /// Those below the m-line.
    pub(super) lines: Vec<Line<'a>>,
}

/// `<type>=<value>`.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    pub(super) kind: char,
    pub(super) value: &'a str,
}

impl<'a> Document<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, SdpError> {
        let (mut session, mut sections) = (Vec::new(), Vec::<Section<'a>>::new());
        for line in lines(text)?.into_iter().filter_map(Line::parse) {
            if line.kind == 'm' {
                sections.push(Section::parse(line.value).ok_or_else(|| SdpError::Syntax(line.text.to_owned()))?);
            } else {
                sections.last_mut().map_or(&mut session, |section| &mut section.lines).push(line);
            }
        }
        if sections.len() > MAX_MEDIA {
            return Err(SdpError::TooLarge("m-lines"));
        }
        Ok(Self { session, sections })
    }

    /// The address of a section: that of its `c=`, or of the session's.
    pub(super) fn address(&self, section: &Section<'_>) -> Option<IpAddr> {
        let connection = |lines: &[Line<'_>]| lines.iter().find(|line| line.kind == 'c').map(|line| line.address());
        connection(&section.lines).or_else(|| connection(&self.session))?
    }

    /// Says whether a section has an attribute, or the session for it.
    pub(super) fn says(&self, section: &Section<'_>, name: &str) -> bool {
        section.lines.iter().chain(&self.session).any(|line| line.is(name))
    }

    /// A section without ICE whose address is none although its port is one: hold, as in RFC 2543.
    pub(super) fn held_by_address(&self, section: &Section<'_>) -> bool {
        let ice = self.says(section, "ice-ufrag");
        section.port != 0 && !ice && self.address(section).is_some_and(|address| address.is_unspecified())
    }
}

impl<'a> Section<'a> {
    fn parse(value: &'a str) -> Option<Self> {
        let mut words = value.split_whitespace();
        let (media, port, proto) = (words.next()?, words.next()?, words.next()?);
        let port = port.split('/').next()?.parse().ok()?;
        Some(Self { media, port, proto, formats: words.collect(), lines: Vec::new() })
    }

    /// The value of its first attribute of a name.
    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.lines.iter().filter_map(Line::attribute).find(|attribute| attribute.0 == name).map(|(_, value)| value)
    }

    /// Its formats and attributes, for those who read one kind of them each.
    pub(super) fn to_media(&self) -> Media {
        Media { attributes: attributes(&self.lines), ..write::m_line(self.media, self.port, &self.formats.join(" ")) }
    }
}

impl<'a> Line<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (kind, value) = text.split_once('=')?;
        let mut kind = kind.chars();
        let line = Self { text, kind: kind.next().filter(char::is_ascii_alphabetic)?, value };
        kind.next().is_none().then_some(line)
    }

    /// Name and value of an attribute, the value empty for a property.
    pub(super) fn attribute(&self) -> Option<(&'a str, &'a str)> {
        let (name, value) = self.value.split_once(':').unwrap_or((self.value, ""));
        (self.kind == 'a').then_some((name.trim(), value))
    }

    /// Says whether it is an attribute of this name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.attribute().is_some_and(|attribute| attribute.0 == name)
    }

    /// The address of a `c=` (RFC 8866 §5.7).
    fn address(&self) -> Option<IpAddr> {
        self.value.split_whitespace().nth(2)?.split('/').next()?.parse().ok()
    }
}

/// The attributes among lines, for those who read one kind of them each.
pub(super) fn attributes(lines: &[Line<'_>]) -> Vec<Attribute> {
    let attributes = lines.iter().filter_map(Line::attribute);
    attributes.map(|(name, value)| Attribute::with_value(name, value)).collect()
}
