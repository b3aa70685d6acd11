//! Codecs, directions, header extensions and feedback: `a=rtpmap`, `a=fmtp`, `a=rtcp-fb`, `a=extmap`.

use model::{Codec, Direction, Feedback, HeaderExtension, Parameter, PayloadType};

/// The payload types that need no `a=rtpmap` (RFC 3551 §6).
const STATIC: [(u8, &str, u32, u8); 21] = [
    (0, "PCMU", 8_000, 1),
    (3, "GSM", 8_000, 1),
    (4, "G723", 8_000, 1),
    (5, "DVI4", 8_000, 1),
    (6, "DVI4", 16_000, 1),
    (7, "LPC", 8_000, 1),
    (8, "PCMA", 8_000, 1),
    (9, "G722", 8_000, 1),
    (10, "L16", 44_100, 2),
    (11, "L16", 44_100, 1),
    (12, "QCELP", 8_000, 1),
    (13, "CN", 8_000, 1),
    (14, "MPA", 90_000, 1),
    (15, "G728", 8_000, 1),
    (16, "DVI4", 11_025, 1),
    (17, "DVI4", 22_050, 1),
    (18, "G729", 8_000, 1),
    (26, "JPEG", 90_000, 1),
    (31, "H261", 90_000, 1),
    (32, "MPV", 90_000, 1),
    (34, "H263", 90_000, 1),
];

const DIRECTIONS: [(&str, Direction); 4] = [
    ("sendrecv", Direction::SendRecv),
    ("sendonly", Direction::SendOnly),
    ("recvonly", Direction::RecvOnly),
    ("inactive", Direction::Inactive),
];

/// Reads the formats of an m-line, in its order. A payload type that nothing explains is left out.
pub(super) fn read(media: &sdp_types::Media, losses: &mut Vec<String>) -> Vec<Codec> {
    let mut codecs: Vec<Codec> = Vec::new();
    for format in media.fmt.split_whitespace() {
        let number = format.parse::<u8>().ok().and_then(|number| PayloadType::try_from(number).ok());
        let known = number.filter(|number| codecs.iter().all(|codec| codec.payload_type != *number));
        match known.and_then(|number| read_codec(media, format, number)) {
            Some(codec) => codecs.push(codec),
            None => losses.push(format!("format {format}")),
        }
    }
    codecs
}

fn read_codec(media: &sdp_types::Media, format: &str, number: PayloadType) -> Option<Codec> {
    let mut codec = match value_for(media, "rtpmap", format).next() {
        Some(rtpmap) => read_rtpmap(rtpmap, number)?,
        None => {
            let (_, name, clock_rate, channels) = STATIC.iter().find(|row| row.0 == u8::from(number))?;
            Codec::new(number, *name, *clock_rate, *channels)
        }
    };
    codec.parameters = value_for(media, "fmtp", format).flat_map(read_parameters).collect();
    codec.feedback = read_feedback(media, format);
    Some(codec)
}

/// `name/clock[/channels]`. Opus has two channels whatever is said (RFC 7587 §7).
fn read_rtpmap(value: &str, number: PayloadType) -> Option<Codec> {
    let mut parts = value.trim().split('/');
    let name = parts.next().filter(|name| is_token(name))?;
    let clock_rate = parts.next()?.trim().parse().ok().filter(|rate| *rate != 0)?;
    let channels = match parts.next() {
        Some(channels) => channels.trim().parse().ok().filter(|channels| *channels != 0)?,
        None => 1,
    };
    let channels = if name.eq_ignore_ascii_case("opus") { 2 } else { channels };
    Some(Codec::new(number, name, clock_rate, channels))
}

/// `a=1;b=2`, or a bare value: `0-15` of telephone-event, `0/103` of red.
pub(super) fn read_parameters(value: &str) -> impl Iterator<Item = Parameter> {
    value.split(';').map(str::trim).filter(|part| !part.is_empty()).map(|part| match part.split_once('=') {
        Some((name, value)) => Parameter::new(name.trim_end(), value.trim_start()),
        None => Parameter::new("", part),
    })
}

/// The feedback for a format, or for `*`.
pub(super) fn read_feedback(media: &sdp_types::Media, format: &str) -> Vec<Feedback> {
    value_for(media, "rtcp-fb", format)
        .filter_map(|value| {
            let (kind, subtype) = value.split_once(' ').unwrap_or((value, ""));
            let feedback = Feedback { kind: kind.to_owned(), subtype: subtype.trim().to_owned() };
            (!kind.is_empty()).then_some(feedback)
        })
        .collect()
}

/// Reads `a=extmap:id[/direction] uri`; those of the session hold for each m-line (RFC 8285 §5).
pub(super) fn read_extensions(
    sdp: &sdp_types::Session,
    media: &sdp_types::Media,
    losses: &mut Vec<String>,
) -> Vec<HeaderExtension> {
    let mut extensions: Vec<HeaderExtension> = Vec::new();
    for attribute in media.attributes.iter().chain(&sdp.attributes).filter(|a| a.attribute == "extmap") {
        match attribute.value.as_deref().and_then(read_extension) {
            Some(extension) if extensions.iter().all(|other| other.id != extension.id) => extensions.push(extension),
            Some(_) | None => losses.push("a header extension".to_owned()),
        }
    }
    extensions
}

pub(super) fn read_extension(value: &str) -> Option<HeaderExtension> {
    let mut words = value.split_whitespace();
    let number = words.next()?;
    let (id, direction) = match number.split_once('/') {
        Some((id, word)) => (id, direction_of(word)?),
        None => (number, Direction::SendRecv),
    };
    let id = id.parse().ok().filter(|id| (1..=255).contains(id))?;
    Some(HeaderExtension { id, uri: words.next()?.to_owned(), direction })
}

/// The m-line's direction, else the session's, else both ways (RFC 3264 §5.1).
pub(super) fn read_direction(sdp: &sdp_types::Session, media: &sdp_types::Media) -> Direction {
    let said = |attributes: &[sdp_types::Attribute]| attributes.iter().find_map(|a| direction_of(&a.attribute));
    said(&media.attributes).or_else(|| said(&sdp.attributes)).unwrap_or_default()
}

/// The direction of a word.
pub(super) fn direction_of(word: &str) -> Option<Direction> {
    DIRECTIONS.iter().find(|(name, _)| *name == word).map(|row| row.1)
}

/// The word of a direction.
pub(super) fn direction_word(direction: Direction) -> &'static str {
    DIRECTIONS.iter().find(|row| row.1 == direction).map_or("sendrecv", |row| row.0)
}

/// The rest of `a=<name>:<format> <rest>`, for each such line.
fn value_for<'a>(media: &'a sdp_types::Media, name: &'a str, format: &'a str) -> impl Iterator<Item = &'a str> {
    media
        .attributes
        .iter()
        .filter(move |attribute| attribute.attribute == name)
        .filter_map(|attribute| attribute.value.as_deref()?.trim().split_once(' '))
        .filter(move |(number, _)| *number == format)
        .map(|(_, rest)| rest.trim())
}

/// Adds the lines of a codec. A codec whose name is no token cannot be written; the caller leaves it out.
pub(super) fn write(codec: &Codec, media: &mut sdp_types::Media) {
    let number = codec.payload_type;
    let channels = if codec.channels > 1 { format!("/{}", codec.channels) } else { String::new() };
    media.add_attribute_with_value("rtpmap", format!("{number} {}/{}{channels}", codec.name, codec.clock_rate));
    if !codec.parameters.is_empty() {
        let parameters: Vec<String> = codec.parameters.iter().map(write_parameter).collect();
        media.add_attribute_with_value("fmtp", format!("{number} {}", parameters.join(";")));
    }
    for feedback in &codec.feedback {
        write_feedback(feedback, &number.to_string(), media);
    }
}

fn write_parameter(parameter: &Parameter) -> String {
    if parameter.name.is_empty() { parameter.value.clone() } else { format!("{}={}", parameter.name, parameter.value) }
}

/// Adds a line of feedback for a format, or for `*`.
pub(super) fn write_feedback(feedback: &Feedback, format: &str, media: &mut sdp_types::Media) {
    let value = format!("{format} {} {}", feedback.kind, feedback.subtype);
    media.add_attribute_with_value("rtcp-fb", value.trim_end());
}

/// Adds the line of a header extension.
pub(super) fn write_extension(extension: &HeaderExtension, media: &mut sdp_types::Media) {
    let direction = match extension.direction {
        Direction::SendRecv => String::new(),
        Direction::SendOnly | Direction::RecvOnly | Direction::Inactive => {
            format!("/{}", direction_word(extension.direction))
        }
    };
    media.add_attribute_with_value("extmap", format!("{}{direction} {}", extension.id, extension.uri));
}

/// Says whether a word is a token (RFC 8866 §9).
pub(super) fn is_token(word: &str) -> bool {
    const ALSO: &[u8] = b"!#$%&'*+-.^_`{|}~";
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || ALSO.contains(&byte))
}
