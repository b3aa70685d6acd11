//! What a leg offers or answers, in neither Jingle's nor SDP's words.

use serde::{Deserialize, Serialize};

use crate::{MediaPath, PayloadType, StreamId};

/// An offer or an answer (RFC 3264): what its writer wants to receive, and where.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Description {
    /// The streams in the order of the m-lines or contents.
    pub streams: Vec<MediaStream>,
    /// The streams that share one transport (RFC 8843, XEP-0338), first one first. Empty: none do.
    pub bundle: Vec<StreamId>,
}

/// One medium: an `m=` section or a `<content/>`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MediaStream {
    /// Which stream of the call this is; the same on both legs.
    pub id: StreamId,
    /// What this leg calls it: `a=mid` or the content's name. Empty where an SDP has no `a=mid`.
    pub name: String,
    /// Audio or video.
    pub kind: MediaKind,
    /// True for a port of zero: the stream keeps its place but carries nothing (RFC 3264 §6).
    pub rejected: bool,
    /// Which way media flows, as seen by the writer of the description.
    pub direction: Direction,
    /// The formats in order of preference. The payload types are what the writer wants to receive.
    pub codecs: Vec<Codec>,
    /// RTP header extensions (RFC 8285).
    pub extensions: Vec<HeaderExtension>,
    /// RTCP feedback that holds for all codecs (`a=rtcp-fb:*`).
    pub feedback: Vec<Feedback>,
    /// `a=rtcp-rsize`, `<rtcp-reduced-size/>` (RFC 5506).
    pub rtcp_reduced_size: bool,
    /// Milliseconds of media a packet should hold.
    pub ptime: Option<u32>,
    /// Milliseconds of media a packet may hold at most.
    pub maxptime: Option<u32>,
    /// `b=` lines.
    pub bandwidth: Vec<Bandwidth>,
    /// How bytes reach the writer. The translator leaves it at its default; the relay fills it in.
    pub path: MediaPath,
}

impl MediaStream {
    /// Makes a stream with no codecs yet, flowing both ways, with a path that the relay has still to fill in.
    pub fn new(id: StreamId, name: impl Into<String>, kind: MediaKind) -> Self {
        Self {
            id,
            name: name.into(),
            kind,
            rejected: false,
            direction: Direction::SendRecv,
            codecs: Vec::new(),
            extensions: Vec::new(),
            feedback: Vec::new(),
            rtcp_reduced_size: false,
            ptime: None,
            maxptime: None,
            bandwidth: Vec::new(),
            path: MediaPath::default(),
        }
    }
}

/// The media the relay forwards.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum MediaKind {
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
}

/// Which way media flows, as seen by the writer (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// The writer only sends.
    SendOnly,
    /// The writer only receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// Says whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Says whether the writer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// Puts the two halves together.
    pub const fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The same flow as the other side sees it.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self::new(self.receives(), self.sends())
    }

    /// What remains when both this and `other` have to allow a way.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self::new(self.sends() && other.sends(), self.receives() && other.receives())
    }
}

/// A format: what a payload type stands for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Codec {
    /// The number on the wire, as the writer wants to receive it.
    pub payload_type: PayloadType,
    /// Encoding name, in the writer's spelling. Compare with [`Codec::is_same_format`].
    pub name: String,
    /// Ticks of the RTP timestamp per second.
    pub clock_rate: u32,
    /// Channels; 1 where nothing is said.
    pub channels: u8,
    /// Format parameters (`a=fmtp`, `<parameter/>`), in order.
    pub parameters: Vec<Parameter>,
    /// RTCP feedback for this payload type.
    pub feedback: Vec<Feedback>,
}

impl Codec {
    /// Makes a codec without parameters.
    pub fn new(payload_type: PayloadType, name: impl Into<String>, clock_rate: u32, channels: u8) -> Self {
        Self { payload_type, name: name.into(), clock_rate, channels, parameters: Vec::new(), feedback: Vec::new() }
    }

    /// The value of a parameter; names are compared without regard to case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|p| p.name.eq_ignore_ascii_case(name)).map(|p| p.value.as_str())
    }

    /// Says whether packets of one can be passed on as packets of the other: same encoding name (whatever the case,
    /// RFC 8866 §6.6), clock rate and channels, and for H.264 also packetization-mode and profile (RFC 6184 §8.2.2).
    ///
    /// Repair formats (`rtx`, `red`, `ulpfec`, `flexfec`) describe payload types of their own leg, so they never match.
    pub fn is_same_format(&self, other: &Self) -> bool {
        const LEG_LOCAL: [&str; 5] = ["rtx", "red", "ulpfec", "flexfec", "flexfec-03"];
        if LEG_LOCAL.iter().any(|name| self.name.eq_ignore_ascii_case(name)) {
            return false;
        }
        if !self.name.eq_ignore_ascii_case(&other.name)
            || self.clock_rate != other.clock_rate
            || self.channels.max(1) != other.channels.max(1)
        {
            return false;
        }
        if self.name.eq_ignore_ascii_case("H264") {
            let mode = |codec: &Self| codec.parameter("packetization-mode").unwrap_or("0").to_owned();
            return mode(self) == mode(other) && h264_profile(self) == h264_profile(other);
        }
        true
    }

    /// Says whether this carries key presses (RFC 4733).
    pub fn is_telephone_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }

    /// Says whether this is comfort noise (RFC 3389).
    pub fn is_comfort_noise(&self) -> bool {
        self.name.eq_ignore_ascii_case("CN")
    }
}

/// The profile of an H.264 codec by one of its spellings: those that RFC 6184 §8.1 (Table 5) has for the same become equal.
fn h264_profile(codec: &Codec) -> [u8; 2] {
    const CONSTRAINED_BASELINE: [u8; 2] = [0x42, 0x40];
    const BASELINE: [u8; 2] = [0x42, 0];
    // profile_idc, the bits of profile-iop that count and their values, and what that is.
    const SPELLINGS: [(u8, u8, u8, [u8; 2]); 7] = [
        (0x42, 0b0100_1111, 0b0100_0000, CONSTRAINED_BASELINE),
        (0x4D, 0b1000_1111, 0b1000_0000, CONSTRAINED_BASELINE),
        (0x58, 0b1100_1111, 0b1100_0000, CONSTRAINED_BASELINE),
        (0x42, 0b0100_1111, 0, BASELINE),
        (0x58, 0b1100_1111, 0b1000_0000, BASELINE),
        (0x58, 0b1100_1111, 0, [0x58, 0]),
        (0x4D, 0b1010_1111, 0, [0x4D, 0]),
    ];
    let said = codec.parameter("profile-level-id").unwrap_or("42000A");
    let byte = |place: std::ops::Range<usize>| u8::from_str_radix(said.get(place)?, 16).ok();
    // What is no such parameter has the profile that is meant where there is none.
    let (idc, iop) = byte(0..2).zip(byte(2..4)).unwrap_or((0x42, 0));
    let known = SPELLINGS.iter().find(|(of, mask, value, _)| *of == idc && iop & mask == *value);
    known.map_or([idc, iop], |(.., profile)| *profile)
}

/// One format parameter. A value without a name (telephone-event's `0-15`) has an empty name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Parameter {
    /// The name, or nothing.
    pub name: String,
    /// The value, or nothing.
    pub value: String,
}

impl Parameter {
    /// Makes a parameter.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// An RTP header extension (RFC 8285 §5).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HeaderExtension {
    /// Its number on the wire, 1 to 14 in the one-byte form and to 255 in the two-byte form.
    pub id: u16,
    /// What it is.
    pub uri: String,
    /// Which way it is used, as seen by the writer.
    pub direction: Direction,
}

/// One kind of RTCP feedback (RFC 4585 §4.2): `nack`, `nack pli`, `ccm fir`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Feedback {
    /// First word.
    pub kind: String,
    /// The rest, or nothing.
    pub subtype: String,
}

/// A `b=` line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Bandwidth {
    /// `AS` (kbit/s), `TIAS` (bit/s), `RS`, `RR`, …
    pub kind: String,
    /// The number, in the unit of the kind.
    pub value: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(name: &str, clock_rate: u32, channels: u8) -> Codec {
        Codec::new(PayloadType::try_from(96).expect("96 is a payload type"), name, clock_rate, channels)
    }

    #[test]
    fn names_of_codecs_are_compared_without_regard_to_case() {
        assert!(codec("PCMU", 8000, 1).is_same_format(&codec("pcmu", 8000, 0)));
        assert!(!codec("opus", 48000, 2).is_same_format(&codec("opus", 48000, 1)));
        assert!(!codec("telephone-event", 8000, 1).is_same_format(&codec("telephone-event", 48000, 1)));
    }

    #[test]
    fn spellings_of_one_h264_profile_are_one_format() {
        let h264 = |profile: &str| {
            let mut h264 = codec("H264", 90_000, 1);
            h264.parameters = vec![Parameter::new("profile-level-id", profile)];
            h264
        };
        let same = |one, other| h264(one).is_same_format(&h264(other));
        for (one, others) in [
            ("42e01f", &["42c01f", "42401f", "4d801f", "58c01f", "42E00A"][..]),
            ("42001f", &["428016", "420029", "58801f"]),
            ("4d001f", &["4d401f", "4D0029"]),
            ("58001f", &["580029"]),
            ("64001f", &["640029"]),
        ] {
            assert!(others.iter().all(|other| same(one, *other)), "{one}");
        }
        let all = ["42e01f", "42001f", "4d001f", "58001f", "64001f", "640c1f", "6e001f"];
        for (place, one) in all.iter().enumerate() {
            assert!(all[place + 1..].iter().all(|other| !same(one, *other)), "{one}");
        }
        assert!(same("42001f", "?"), "what cannot be read says nothing");
    }

    #[test]
    fn repair_formats_stay_on_their_leg() {
        assert!(!codec("red", 48000, 2).is_same_format(&codec("red", 48000, 2)));
    }

    #[test]
    fn h264_of_another_packetization_mode_is_another_format() {
        let mut single = codec("H264", 90000, 1);
        single.parameters.push(Parameter::new("profile-level-id", "42e01f"));
        let mut interleaved = single.clone();
        interleaved.parameters.push(Parameter::new("packetization-mode", "1"));
        assert!(single.is_same_format(&single.clone()));
        assert!(!single.is_same_format(&interleaved));
    }

    #[test]
    fn a_direction_reversed_twice_is_itself() {
        for direction in [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive] {
            assert_eq!(direction.reversed().reversed(), direction);
            assert_eq!(direction.and(Direction::SendRecv), direction);
        }
    }
}
