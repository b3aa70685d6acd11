//! What one leg offers to what the other offered, and answers to what the other answered (RFC 3264).
//!
//! Streams, codecs and directions cross the gateway, paths never do: every description made here has empty ones, which
//! the relay fills in for its leg.

use model::{
    Bandwidth, Codec, Description, Direction, Feedback, HeaderExtension, MediaKind, MediaPath, MediaStream, Parameter,
    PayloadType, StreamId,
};

/// What every phone has: name and clock rate.
const CERTAIN: [(&str, u32); 3] = [("PCMU", 8_000), ("telephone-event", 8_000), ("H264", 90_000)];

/// Header extensions that mean the same on both legs; the relay renumbers them. Not the names of streams in a bundle (RFC
/// 8843 §15): a browser that has agreed on those plays no packet without one, and by payload type it finds the stream, too.
const EXTENSIONS: [&str; 1] = ["urn:ietf:params:rtp-hdrext:ssrc-audio-level"];
/// Feedback that the relay passes on for video: lost packets and new pictures (RFC 4585, RFC 5104).
const VIDEO_FEEDBACK: [(&str, &str); 3] = [("nack", ""), ("nack", "pli"), ("ccm", "fir")];
/// Limits that hold for what is relayed unchanged.
const BANDWIDTHS: [&str; 2] = ["AS", "TIAS"];

/// Formats that have a number of their own (RFC 3551 §6) and are common: name, clock rate, number.
const STATIC: [(&str, u32, u8); 5] =
    [("PCMU", 8_000, 0), ("GSM", 8_000, 3), ("PCMA", 8_000, 8), ("G722", 8_000, 9), ("CN", 8_000, 13)];

/// A format as it is offered: number, name, clock rate, channels, parameters.
type Format = (u8, &'static str, u32, u8, &'static [(&'static str, &'static str)]);

/// What is offered where nothing is known of the other side yet.
const GENERIC_AUDIO: [Format; 6] = [
    (111, "opus", 48_000, 2, &[("useinbandfec", "1")]),
    (9, "G722", 8_000, 1, &[]),
    (0, "PCMU", 8_000, 1, &[]),
    (8, "PCMA", 8_000, 1, &[]),
    (110, "telephone-event", 48_000, 1, &[("", "0-15")]),
    (101, "telephone-event", 8_000, 1, &[("", "0-15")]),
];

/// The same for video.
const GENERIC_VIDEO: [Format; 2] = [
    (96, "VP8", 90_000, 1, &[]),
    (97, "H264", 90_000, 1, &[("profile-level-id", "42e01f"), ("packetization-mode", "1")]),
];

/// The streams of an offer that a call carries: the first of each kind, as far as the kind is wanted. Others are refused
/// by leaving them out.
pub(crate) fn carried(offer: &Description, video: bool) -> Description {
    let mut carried = one_of_each_kind(offer);
    carried.streams.retain(|stream| stream.kind == MediaKind::Audio || video);
    restricted(offer, carried.streams)
}

/// The first stream of each kind in an offer.
pub(crate) fn one_of_each_kind(offer: &Description) -> Description {
    let mut streams: Vec<MediaStream> = Vec::new();
    for stream in offer.streams.iter().filter(|stream| !stream.rejected) {
        if has_media(&stream.codecs) && streams.iter().all(|other| other.kind != stream.kind) {
            streams.push(stream.clone());
        }
    }
    restricted(offer, streams)
}

/// The description of these streams, in the bundle they were in.
fn restricted(of: &Description, streams: Vec<MediaStream>) -> Description {
    let kept = |id: &StreamId| streams.iter().any(|stream| stream.id == *id);
    let bundle = of.bundle.iter().copied().filter(kept).collect();
    Description { streams, bundle }
}

/// Gives streams the numbers that the streams of another description have: those of the same name, else those of the same
/// kind. What has no counterpart is left out.
pub(crate) fn renumbered(description: &Description, like: &Description) -> Description {
    let counterpart = |stream: &MediaStream| {
        let named = like.streams.iter().find(|other| !other.name.is_empty() && other.name == stream.name);
        named.or_else(|| like.streams.iter().find(|other| other.kind == stream.kind)).map(|other| other.id)
    };
    let mut numbers: Vec<(StreamId, StreamId)> = Vec::new();
    let mut streams = Vec::new();
    for stream in &description.streams {
        if let Some(id) = counterpart(stream)
            && numbers.iter().all(|(_, taken)| *taken != id)
        {
            numbers.push((stream.id, id));
            streams.push(MediaStream { id, ..stream.clone() });
        }
    }
    let number = |old: &StreamId| numbers.iter().find(|(from, _)| from == old).map(|(_, to)| *to);
    Description { streams, bundle: description.bundle.iter().filter_map(number).collect() }
}

/// The offer where the other side has said no more than which kinds it wants.
pub(crate) fn generic_offer(kinds: &[MediaKind]) -> Description {
    let streams = (0..).zip(kinds).map(|(number, kind)| {
        let formats: &[Format] = match kind {
            MediaKind::Audio => &GENERIC_AUDIO,
            MediaKind::Video => &GENERIC_VIDEO,
        };
        let codecs = formats.iter().filter_map(|(number, name, rate, channels, parameters)| {
            let mut codec = Codec::new(PayloadType::try_from(*number).ok()?, *name, *rate, *channels);
            codec.parameters = parameters.iter().map(|(name, value)| Parameter::new(*name, *value)).collect();
            codec.feedback = wanted_feedback(*kind);
            Some(codec)
        });
        let codecs = codecs.collect();
        MediaStream { codecs, ..MediaStream::new(StreamId(number), number.to_string(), *kind) }
    });
    Description { streams: streams.collect(), bundle: Vec::new() }
}

/// The offer where the other side answers only after this one has accepted, and sends what it likes best of it: there is
/// one codec to choose, the one that everybody has.
pub(crate) fn certain_offer(kinds: &[MediaKind]) -> Description {
    let mut offer = generic_offer(kinds);
    for stream in &mut offer.streams {
        stream.codecs.retain(|codec| CERTAIN.contains(&(codec.name.as_str(), codec.clock_rate)));
    }
    offer
}

fn wanted_feedback(kind: MediaKind) -> Vec<Feedback> {
    match kind {
        MediaKind::Audio => Vec::new(),
        MediaKind::Video => VIDEO_FEEDBACK
            .map(|(kind, subtype)| Feedback { kind: kind.to_owned(), subtype: subtype.to_owned() })
            .to_vec(),
    }
}

/// What we offer on one leg, given what the other leg offers or has agreed to. `bundled`: on a leg where streams may
/// share a transport.
pub(crate) fn offer_like(other: &Description, bundled: bool) -> Description {
    let streams: Vec<MediaStream> = other.streams.iter().map(offered_stream).collect();
    let bundle = if bundled { streams.iter().map(|stream| stream.id).collect() } else { Vec::new() };
    let mut offer = Description { streams, bundle };
    if !offer.bundle.is_empty() {
        make_payload_types_unique(&mut offer);
    }
    offer
}

fn offered_stream(other: &MediaStream) -> MediaStream {
    let mut codecs: Vec<Codec> = Vec::new();
    for codec in other.codecs.iter().filter(|codec| is_forwardable(codec)) {
        if codecs.iter().any(|known| known.is_same_format(codec)) {
            continue;
        }
        let taken = |number: u8| codecs.iter().any(|known| u8::from(known.payload_type) == number);
        let number = number_for(codec, taken);
        if let Some(payload_type) = number.and_then(|number| PayloadType::try_from(number).ok()) {
            let feedback = wanted_feedback(other.kind);
            codecs.push(Codec { payload_type, feedback, parameters: parameters_of(codec), ..codec.clone() });
        }
    }
    let passes = |extension: &&HeaderExtension| EXTENSIONS.contains(&extension.uri.as_str()) && extension.id <= 14;
    MediaStream {
        direction: other.direction,
        codecs,
        extensions: other.extensions.iter().filter(passes).cloned().collect(),
        ptime: other.ptime,
        maxptime: other.maxptime,
        bandwidth: passing_bandwidth(other),
        ..MediaStream::new(other.id, other.id.0.to_string(), other.kind)
    }
}

/// The parameters of a format, and those of telephone-event where they are left out (RFC 4733 §2.4.1).
fn parameters_of(codec: &Codec) -> Vec<Parameter> {
    if codec.is_telephone_event() && codec.parameters.is_empty() {
        vec![Parameter::new("", "0-15")]
    } else {
        codec.parameters.clone()
    }
}

/// What can be promised of an offer before the other side has answered: of each stream one format, the one that a phone
/// has most surely, and the key presses of its clock rate. So the other side can take it or leave it, but not differ.
pub(crate) fn promised(offer: &Description) -> Description {
    let mut promised = offer.clone();
    for stream in &mut promised.streams {
        let speaks = |codec: &&Codec| has_media(std::slice::from_ref(*codec));
        let every_phone_has =
            |codec: &&Codec| codec.name.eq_ignore_ascii_case("PCMA") || codec.name.eq_ignore_ascii_case("PCMU");
        let best = stream.codecs.iter().filter(speaks).find(every_phone_has);
        let Some(best) = best.or_else(|| stream.codecs.iter().find(speaks)).cloned() else { continue };
        stream.codecs.retain(|codec| {
            codec.payload_type == best.payload_type || codec.is_telephone_event() && codec.clock_rate == best.clock_rate
        });
    }
    promised
}

fn passing_bandwidth(stream: &MediaStream) -> Vec<Bandwidth> {
    stream.bandwidth.iter().filter(|bandwidth| BANDWIDTHS.contains(&bandwidth.kind.as_str())).cloned().collect()
}

/// Its static number, else the one the other leg uses, else the first that is free.
fn number_for(codec: &Codec, taken: impl Fn(u8) -> bool) -> Option<u8> {
    let fixed = STATIC
        .iter()
        .find(|row| codec.name.eq_ignore_ascii_case(row.0) && codec.clock_rate == row.1 && codec.channels.max(1) == 1);
    let own = u8::from(codec.payload_type);
    let usual = fixed.map_or(own, |row| row.2);
    if (fixed.is_some() || own >= 96) && !taken(usual) {
        Some(usual)
    } else {
        (96..=127).find(|number| !taken(*number))
    }
}

/// Within a bundle one number means one thing (RFC 8843 §9.1). What finds no free number is left out.
pub(crate) fn make_payload_types_unique(offer: &mut Description) {
    let mut taken: Vec<u8> = Vec::new();
    for stream in &mut offer.streams {
        stream.codecs.retain_mut(|codec| {
            let own = Some(u8::from(codec.payload_type)).filter(|own| !taken.contains(own));
            let number = own.or_else(|| (96..=127).find(|free| !taken.contains(free)));
            let Some(payload_type) = number.and_then(|number| PayloadType::try_from(number).ok()) else { return false };
            codec.payload_type = payload_type;
            taken.push(payload_type.into());
            true
        });
    }
}

/// Our answer to an offer on one leg, given what the other leg has agreed to. The numbers are the offerer's. A stream
/// without a common format is rejected; nothing where that leaves none.
pub(crate) fn answer(offer: &Description, agreed: &Description) -> Option<Description> {
    let answered: Vec<MediaStream> = offer.streams.iter().map(|stream| answered_stream(stream, agreed)).collect();
    if answered.iter().all(|stream| stream.rejected) {
        return None;
    }
    let accepted = |id: &StreamId| answered.iter().any(|stream| stream.id == *id && !stream.rejected);
    let bundle: Vec<StreamId> = offer.bundle.iter().copied().filter(accepted).collect();
    Some(Description { streams: answered, bundle })
}

/// The answer with what it rejects kept, although nothing flows there: many clients take an answer only with every content
/// of their offer (RFC 8829 §5.3.1 knows no other), and can make use of it later.
pub(crate) fn kept_idle(answer: Description, offer: &Description) -> Description {
    let mut kept = answer;
    for stream in kept.streams.iter_mut().filter(|stream| stream.rejected) {
        let offered = offer.streams.iter().find(|offered| offered.id == stream.id && !offered.rejected);
        let Some(offered) = offered.filter(|offered| has_media(&offered.codecs)) else { continue };
        let codecs = offered.codecs.iter().filter(|codec| is_forwardable(codec));
        let said = |codec: &Codec| Codec { feedback: Vec::new(), parameters: parameters_of(codec), ..codec.clone() };
        let codecs = codecs.map(said).collect();
        *stream = MediaStream { rejected: false, direction: Direction::Inactive, codecs, ..stream.clone() };
    }
    let is_kept = |id: &StreamId| kept.streams.iter().any(|stream| stream.id == *id && !stream.rejected);
    kept.bundle = offer.bundle.iter().copied().filter(is_kept).collect();
    kept
}

fn extension<'a>(stream: &'a MediaStream, uri: &str) -> Option<&'a HeaderExtension> {
    stream.extensions.iter().find(|extension| extension.uri == uri)
}

fn answered_stream(offered: &MediaStream, agreed: &Description) -> MediaStream {
    let rejected = MediaStream {
        rejected: true,
        codecs: offered.codecs.clone(),
        ..MediaStream::new(offered.id, offered.name.clone(), offered.kind)
    };
    let other = agreed.streams.iter().find(|stream| stream.id == offered.id && !stream.rejected);
    let Some(other) = other.filter(|_| !offered.rejected) else { return rejected };
    let mut codecs: Vec<Codec> = Vec::new();
    for wanted in &other.codecs {
        let Some(codec) = offered.codecs.iter().find(|codec| codec.is_same_format(wanted)) else { continue };
        if codecs.iter().all(|known| known.payload_type != codec.payload_type) {
            let feedback = codec.feedback.iter().filter(|f| wanted_feedback(offered.kind).contains(f)).cloned();
            codecs.push(Codec { parameters: parameters_of(wanted), feedback: feedback.collect(), ..codec.clone() });
        }
    }
    if !has_media(&codecs) {
        return rejected;
    }
    let both_have =
        |own: &&HeaderExtension| EXTENSIONS.contains(&own.uri.as_str()) && extension(other, &own.uri).is_some();
    MediaStream {
        rejected: false,
        direction: other.direction.and(offered.direction.reversed()),
        codecs,
        extensions: offered.extensions.iter().filter(both_have).cloned().collect(),
        rtcp_reduced_size: offered.rtcp_reduced_size,
        ptime: other.ptime,
        maxptime: other.maxptime,
        bandwidth: passing_bandwidth(other),
        ..rejected
    }
}

/// Says whether a format can pass from one leg to the other: not the repair of one leg's losses.
fn is_forwardable(codec: &Codec) -> bool {
    codec.is_same_format(codec)
}

/// Says whether there is more than key presses and silence.
pub(crate) fn has_media(codecs: &[Codec]) -> bool {
    codecs.iter().any(|codec| is_forwardable(codec) && !codec.is_telephone_event() && !codec.is_comfort_noise())
}

/// The description with other directions, and without paths.
pub(crate) fn directed(description: &Description, direction: impl Fn(&MediaStream) -> Direction) -> Description {
    let mut directed = description.clone();
    for stream in &mut directed.streams {
        stream.direction = direction(stream);
        stream.path = MediaPath::default();
    }
    directed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn codec(number: u8, name: &str, rate: u32, channels: u8) -> Codec {
        Codec::new(PayloadType::try_from(number).expect("a payload type"), name, rate, channels)
    }

    fn audio(codecs: Vec<Codec>) -> MediaStream {
        MediaStream { codecs, ..MediaStream::new(StreamId(0), "0", MediaKind::Audio) }
    }

    fn only(stream: MediaStream) -> Description {
        Description { streams: vec![stream], bundle: Vec::new() }
    }

    /// What a browser offers, more or less.
    fn browser() -> Description {
        let mut stream = audio(vec![
            codec(111, "opus", 48_000, 2),
            codec(63, "red", 48_000, 2),
            codec(9, "G722", 8_000, 1),
            codec(0, "PCMU", 8_000, 1),
            codec(8, "PCMA", 8_000, 1),
            codec(13, "CN", 8_000, 1),
            codec(110, "telephone-event", 48_000, 1),
            codec(126, "telephone-event", 8_000, 1),
        ]);
        stream.codecs[0].feedback.push(Feedback { kind: "transport-cc".into(), subtype: String::new() });
        stream.extensions = [EXTENSIONS[0], "urn:x-other", "urn:ietf:params:rtp-hdrext:sdes:mid"]
            .into_iter()
            .zip(1..)
            .map(|(uri, id)| HeaderExtension { id, uri: uri.into(), direction: Direction::SendRecv })
            .collect();
        stream.path.rtcp_mux = true;
        only(stream)
    }

    fn numbers(description: &Description) -> Vec<u8> {
        description.streams[0].codecs.iter().map(|codec| codec.payload_type.into()).collect()
    }

    #[test]
    fn an_offer_goes_on_without_what_belongs_to_its_leg() {
        let offer = offer_like(&browser(), false);
        assert_eq!(numbers(&offer), [111, 9, 0, 8, 13, 110, 126]);
        let stream = &offer.streams[0];
        assert_eq!(stream.path, MediaPath::default());
        assert!(stream.codecs.iter().all(|codec| codec.feedback.is_empty()));
        assert_eq!(stream.extensions.len(), 1);
    }

    #[test]
    fn a_dynamic_number_below_96_or_taken_gets_another() {
        let offer =
            only(audio(vec![codec(35, "opus", 48_000, 2), codec(96, "iLBC", 8_000, 1), codec(97, "PCMU", 8_000, 1)]));
        assert_eq!(numbers(&offer_like(&offer, false)), [96, 97, 0]);
    }

    #[test]
    fn an_answer_has_the_numbers_of_the_offer_and_the_order_of_the_answerer() {
        let phone = only(audio(vec![
            codec(8, "pcma", 8_000, 1),
            codec(0, "PCMU", 8_000, 1),
            codec(101, "telephone-event", 8_000, 1),
        ]));
        let answer = answer(&browser(), &phone).expect("they have formats in common");
        assert_eq!(numbers(&answer), [8, 0, 126]);
        assert!(answer.streams[0].extensions.is_empty(), "the phone has none");
    }

    #[test]
    fn what_is_promised_is_what_every_phone_has() {
        let names = |offer: Description| {
            let codecs = promised(&offer).streams.remove(0).codecs;
            codecs.into_iter().map(|codec| format!("{}/{}", codec.name, codec.clock_rate)).collect::<Vec<_>>()
        };
        assert_eq!(names(browser()), ["PCMU/8000", "telephone-event/8000"]);
        let only_opus = audio(vec![codec(13, "CN", 8_000, 1), codec(111, "opus", 48_000, 2)]);
        assert_eq!(names(only(only_opus)), ["opus/48000"]);
    }

    #[test]
    fn without_a_common_codec_there_is_no_answer() {
        let phone = only(audio(vec![codec(18, "G729", 8_000, 1), codec(101, "telephone-event", 8_000, 1)]));
        assert_eq!(answer(&browser(), &phone), None);
        assert_eq!(carried(&only(audio(vec![codec(101, "telephone-event", 8_000, 1)])), true).streams, []);
    }

    #[test]
    fn video_is_carried_only_where_it_is_wanted() {
        let mut offer = browser();
        let video = MediaStream {
            codecs: vec![codec(96, "VP8", 90_000, 1)],
            ..MediaStream::new(StreamId(1), "1", MediaKind::Video)
        };
        offer.streams.insert(0, video);
        offer.bundle = vec![StreamId(1), StreamId(0)];
        let ids = |description: &Description| description.streams.iter().map(|stream| stream.id.0).collect::<Vec<_>>();
        assert_eq!(ids(&carried(&offer, false)), [0]);
        assert_eq!(carried(&offer, false).bundle, [StreamId(0)]);
        assert_eq!(ids(&carried(&offer, true)), [1, 0]);
        // Movim has video first; a generic offer has audio first.
        let numbered = renumbered(
            &offer,
            &Description { streams: vec![MediaStream::new(StreamId(5), "x", MediaKind::Audio)], bundle: Vec::new() },
        );
        assert_eq!(ids(&numbered), [5]);
        assert_eq!(numbered.bundle, [StreamId(5)]);
    }

    #[test]
    fn directions_cross_the_gateway() {
        for (offered, agreed, answered) in [
            (Direction::SendRecv, Direction::SendRecv, Direction::SendRecv),
            (Direction::SendOnly, Direction::SendRecv, Direction::RecvOnly),
            (Direction::SendRecv, Direction::RecvOnly, Direction::RecvOnly),
            (Direction::RecvOnly, Direction::RecvOnly, Direction::Inactive),
        ] {
            let offer = directed(&browser(), |_| offered);
            let answer = answer(&offer, &directed(&browser(), |_| agreed)).expect("they have formats in common");
            assert_eq!(answer.streams[0].direction, answered, "{offered:?} {agreed:?}");
        }
    }

    proptest! {
        #[test]
        fn no_two_formats_of_an_offer_share_a_number(
            codecs in prop::collection::vec((0_u8..128, 0_usize..8, prop::bool::ANY), 0..40),
        ) {
            const NAMES: [(&str, u32); 8] = [
                ("opus", 48_000), ("PCMU", 8_000), ("PCMA", 16_000), ("red", 8_000),
                ("speex", 8_000), ("CN", 8_000), ("telephone-event", 8_000), ("G722", 8_000),
            ];
            let codecs: Vec<Codec> = codecs
                .into_iter()
                .map(|(number, name, stereo)| codec(number, NAMES[name].0, NAMES[name].1, u8::from(stereo) + 1))
                .collect();
            let mut two = only(audio(codecs.clone()));
            two.streams.push(MediaStream { id: StreamId(1), ..audio(codecs) });
            for bundled in [false, true] {
                let offer = offer_like(&two, bundled);
                let streams: Vec<Vec<u8>> = offer
                    .streams
                    .iter()
                    .map(|stream| stream.codecs.iter().map(|codec| codec.payload_type.into()).collect())
                    .collect();
                let groups = if bundled { vec![streams.concat()] } else { streams };
                for mut numbers in groups {
                    let count = numbers.len();
                    numbers.sort_unstable();
                    numbers.dedup();
                    prop_assert_eq!(numbers.len(), count);
                }
            }
        }
    }
}
