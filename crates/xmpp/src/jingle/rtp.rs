//! RTP descriptions (XEP-0167 §6), their feedback (XEP-0293) and header extensions (XEP-0294).

use minidom::Element;
use model::{
    Bandwidth, Codec, Feedback, HeaderExtension, MediaKind, MediaStream, Parameter, PayloadType, Profile, StreamId,
};

use super::{JingleError, Party, RtpDescription, Senders, encryption};
use crate::xml::{element, value};

/// Namespace of RTP descriptions.
pub(crate) const NS: &str = "urn:xmpp:jingle:apps:rtp:1";
const RTCP_FB: &str = "urn:xmpp:jingle:apps:rtp:rtcp-fb:0";
const RTP_HDREXT: &str = "urn:xmpp:jingle:apps:rtp:rtp-hdrext:0";

/// The word of a kind of media.
pub(crate) const fn media_word(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

/// The kind of media of a description, if it is one we relay.
pub(crate) fn media_kind(description: &Element) -> Option<MediaKind> {
    [MediaKind::Audio, MediaKind::Video]
        .into_iter()
        .find(|kind| description.has_ns(NS) && description.attr("media") == Some(media_word(*kind)))
}

pub(super) fn parse(description: &Element, name: &str) -> Result<RtpDescription, JingleError> {
    let Some(kind) = media_kind(description) else {
        return Ok(RtpDescription::Unsupported);
    };
    let mut stream = MediaStream::new(StreamId(0), name, kind);
    // Movim says these of the whole description; the preferred payload type's own come before.
    stream.ptime = milliseconds(description, "ptime");
    stream.maxptime = milliseconds(description, "maxptime");
    for child in description.children() {
        match (child.name(), child.ns().as_str()) {
            ("payload-type", NS) => {
                let codec = parse_codec(child, kind)?;
                if stream.codecs.is_empty() {
                    stream.ptime = milliseconds(child, "ptime").or(stream.ptime);
                    stream.maxptime = milliseconds(child, "maxptime").or(stream.maxptime);
                }
                stream.codecs.push(codec);
            }
            ("rtcp-mux", NS) => stream.path.rtcp_mux = true,
            ("rtcp-reduced-size", NS) => stream.rtcp_reduced_size = true,
            ("bandwidth", NS) => stream.bandwidth.extend(parse_bandwidth(child)),
            ("encryption", NS) => {
                stream.path.crypto = encryption::parse(child);
                // Keys we cannot read still mean that the media is not plain.
                if encryption::is_demanded(child) {
                    stream.path.profile = Profile::Savp;
                }
            }
            ("rtp-hdrext", RTP_HDREXT) => stream.extensions.extend(parse_extension(child)),
            (_, RTCP_FB) => stream.feedback.extend(parse_feedback(child)),
            _ => (), // sources (XEP-0339) and what we do not know
        }
    }
    Ok(RtpDescription::Rtp(Box::new(stream)))
}

fn milliseconds(element: &Element, attribute: &str) -> Option<u32> {
    value(element, attribute)?.parse().ok().filter(|milliseconds| *milliseconds > 0)
}

/// Reads a payload type. What it leaves out is filled in from RFC 3551 where that is possible.
fn parse_codec(payload_type: &Element, kind: MediaKind) -> Result<Codec, JingleError> {
    let number: u8 = value(payload_type, "id").and_then(|id| id.parse().ok()).ok_or(JingleError::PayloadType)?;
    let number_checked = PayloadType::try_from(number).map_err(|_| JingleError::PayloadType)?;
    let fixed = STATIC_PAYLOAD_TYPES.iter().find(|fixed| fixed.0 == number);
    let name = value(payload_type, "name").filter(|name| !name.is_empty());
    let fixed = fixed.filter(|fixed| name.is_none_or(|name| name.eq_ignore_ascii_case(fixed.1)));
    let default_rate = match kind {
        MediaKind::Audio => 0,
        MediaKind::Video => 90_000,
    };
    let attribute = |name: &str| value(payload_type, name)?.parse::<u32>().ok();
    let mut codec = Codec::new(
        number_checked,
        name.or(fixed.map(|fixed| fixed.1)).unwrap_or_default(),
        attribute("clockrate").or(fixed.map(|fixed| fixed.2)).unwrap_or(default_rate),
        attribute("channels").and_then(|channels| u8::try_from(channels).ok()).map_or(1, |channels| channels.max(1)),
    );
    if codec.name.eq_ignore_ascii_case("opus") {
        (codec.clock_rate, codec.channels) = (48_000, 2); // always, RFC 7587 §7
    }
    if codec.name.eq_ignore_ascii_case("G722") {
        codec.clock_rate = 8_000; // by RFC 3551 §4.5.2, though it samples at 16,000
    }
    for child in payload_type.children() {
        match (child.name(), child.ns().as_str()) {
            ("parameter", NS) => codec.parameters.push(parse_parameter(child, &codec.name)),
            (_, RTCP_FB) => codec.feedback.extend(parse_feedback(child)),
            _ => (),
        }
    }
    Ok(codec)
}

/// Reads a parameter as SDP has it: one without a value is a value without a name, which is what stanza.js makes of
/// `a=fmtp:63 111/111`, and the names that Jingle invents for values without one are taken off.
fn parse_parameter(parameter: &Element, codec: &str) -> Parameter {
    let name = value(parameter, "name").unwrap_or_default();
    let Some(value) = value(parameter, "value") else {
        return Parameter::new("", name);
    };
    if codec.eq_ignore_ascii_case("telephone-event") && name == "events" {
        Parameter::new("", value)
    } else if codec.eq_ignore_ascii_case("red") && name == "pt" {
        Parameter::new("", value.replace(',', "/"))
    } else {
        Parameter::new(name, value)
    }
}

fn parse_bandwidth(bandwidth: &Element) -> Option<Bandwidth> {
    let text = bandwidth.text();
    // Movim has it in an attribute.
    let number = text.trim().parse().ok().or_else(|| value(bandwidth, "value")?.parse().ok())?;
    Some(Bandwidth { kind: value(bandwidth, "type")?.to_owned(), value: number })
}

fn parse_feedback(feedback: &Element) -> Option<Feedback> {
    let (kind, subtype) = match feedback.name() {
        "rtcp-fb" => (value(feedback, "type")?, value(feedback, "subtype").unwrap_or_default()),
        "rtcp-fb-trr-int" => (TRR_INT, value(feedback, "value")?),
        _ => return None,
    };
    Some(Feedback { kind: kind.to_owned(), subtype: subtype.to_owned() })
}

/// SDP's word for `<rtcp-fb-trr-int/>` (RFC 4585 §4.2).
const TRR_INT: &str = "trr-int";

/// Reads an extension. Its `senders` is read like a content's, not like the example of XEP-0294 §4, which has it the
/// wrong way round.
fn parse_extension(extension: &Element) -> Option<HeaderExtension> {
    let senders = extension.attr("senders").and_then(Senders::from_word).unwrap_or_default();
    Some(HeaderExtension {
        id: value(extension, "id")?.parse().ok()?,
        uri: value(extension, "uri")?.to_owned(),
        direction: senders.direction(Party::Initiator),
    })
}

/// Writes a description. Keys in it are `required` where the transport has no fingerprint.
pub(super) fn to_element(stream: &MediaStream, keys_required: bool) -> Element {
    let mut description = element!("description", NS, "media" = media_word(stream.kind));
    for codec in &stream.codecs {
        description.append_child(codec_element(codec, stream));
    }
    for feedback in &stream.feedback {
        description.append_child(feedback_element(feedback));
    }
    for extension in &stream.extensions {
        // Without `senders`: clients read it in opposite ways, or not at all.
        let (id, uri) = (u32::from(extension.id), extension.uri.as_str());
        description.append_child(element!("rtp-hdrext", RTP_HDREXT, "id" = id, "uri" = uri));
    }
    if let Some(encryption) = encryption::to_element(&stream.path.crypto, keys_required) {
        description.append_child(encryption);
    }
    for bandwidth in &stream.bandwidth {
        let mut element = element!("bandwidth", NS, "type" = bandwidth.kind.as_str());
        element.append_text(bandwidth.value.to_string());
        description.append_child(element);
    }
    if stream.path.rtcp_mux {
        description.append_child(element!("rtcp-mux", NS));
    }
    if stream.rtcp_reduced_size {
        description.append_child(element!("rtcp-reduced-size", NS));
    }
    description
}

fn codec_element(codec: &Codec, stream: &MediaStream) -> Element {
    let mut payload_type = element!(
        "payload-type",
        NS,
        "id" = u8::from(codec.payload_type),
        "name" = codec.name.as_str(),
        "clockrate" = codec.clock_rate,
        "channels" = Some(codec.channels).filter(|channels| *channels > 1).map(u32::from),
        "ptime" = stream.ptime,
        "maxptime" = stream.maxptime,
    );
    if codec.is_telephone_event() && codec.parameters.is_empty() {
        payload_type.append_child(parameter_element(&Parameter::new("events", "0-15")));
    }
    for parameter in &codec.parameters {
        payload_type.append_child(match (parameter.name.as_str(), codec.name.to_ascii_lowercase().as_str()) {
            ("", "telephone-event") => parameter_element(&Parameter::new("events", parameter.value.as_str())),
            ("", "red") => parameter_element(&Parameter::new("pt", parameter.value.replace('/', ","))),
            _ => parameter_element(parameter),
        });
    }
    for feedback in &codec.feedback {
        payload_type.append_child(feedback_element(feedback));
    }
    payload_type
}

/// Always with a value, and never with white space in it: Conversations refuses the whole session otherwise.
fn parameter_element(parameter: &Parameter) -> Element {
    let compact = |text: &str| text.split_whitespace().collect::<String>();
    element!("parameter", NS, "name" = compact(&parameter.name), "value" = compact(&parameter.value))
}

fn feedback_element(feedback: &Feedback) -> Element {
    if feedback.kind == TRR_INT {
        return element!("rtcp-fb-trr-int", RTCP_FB, "value" = feedback.subtype.as_str());
    }
    let subtype = Some(feedback.subtype.as_str()).filter(|subtype| !subtype.is_empty());
    element!("rtcp-fb", RTCP_FB, "type" = feedback.kind.as_str(), "subtype" = subtype)
}

/// The payload types that mean something by themselves: number, encoding name, clock rate (RFC 3551 §6).
///
/// L16 in two channels (10) is left out, because its number alone would also have to say the channels.
const STATIC_PAYLOAD_TYPES: [(u8, &str, u32); 22] = [
    (0, "PCMU", 8_000),
    (3, "GSM", 8_000),
    (4, "G723", 8_000),
    (5, "DVI4", 8_000),
    (6, "DVI4", 16_000),
    (7, "LPC", 8_000),
    (8, "PCMA", 8_000),
    (9, "G722", 8_000),
    (11, "L16", 44_100),
    (12, "QCELP", 8_000),
    (13, "CN", 8_000),
    (14, "MPA", 90_000),
    (15, "G728", 8_000),
    (16, "DVI4", 11_025),
    (17, "DVI4", 22_050),
    (18, "G729", 8_000),
    (25, "CelB", 90_000),
    (26, "JPEG", 90_000),
    (28, "nv", 90_000),
    (31, "H261", 90_000),
    (32, "MPV", 90_000),
    (34, "H263", 90_000),
];
