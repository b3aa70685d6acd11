//! Which codecs go on to the other party.

use model::{Codec, Description, Direction, MediaPath, MediaStream};

use crate::request::{CodecMatch, CodecName, Codecs, Flag, Options};

/// What the receiver is offered: what the sender offers, as far as the wishes let it pass, by the same numbers.
pub(super) fn offered(offer: &Description, options: &Options, with_bundle: bool) -> Description {
    let streams: Vec<MediaStream> = offer.streams.iter().map(|stream| passed(stream, options)).collect();
    let bundle = match with_bundle {
        true => streams.iter().filter(|stream| !stream.rejected).map(|stream| stream.id).collect(),
        false => Vec::new(),
    };
    Description { streams, bundle }
}

fn passed(stream: &MediaStream, options: &Options) -> MediaStream {
    let codecs = chosen(&stream.codecs, options);
    let rejected = stream.rejected || !codecs.iter().any(is_medium);
    MediaStream { codecs, rejected, path: MediaPath::default(), ..stream.clone() }
}

/// What an offerer is answered: of what it offered, what the answerer takes, in the answerer's order. The numbers are
/// the offerer's.
pub(super) fn answered(
    offer: &Description,
    answer: &Description,
    options: &Options,
    takes_bundle: bool,
) -> Description {
    let streams: Vec<MediaStream> =
        offer.streams.iter().map(|stream| answered_stream(stream, answer, options)).collect();
    let carried = |id: &_| streams.iter().any(|stream| stream.id == *id && !stream.rejected);
    let bundle = if takes_bundle { offer.bundle.iter().copied().filter(carried).collect() } else { Vec::new() };
    Description { streams, bundle }
}

fn answered_stream(offered: &MediaStream, answer: &Description, options: &Options) -> MediaStream {
    let taken = answer.streams.iter().find(|stream| stream.id == offered.id && !stream.rejected && !offered.rejected);
    let Some(taken) = taken else {
        let name = offered.name.clone();
        return MediaStream {
            rejected: true,
            direction: Direction::Inactive,
            codecs: offered.codecs.clone(),
            ..MediaStream::new(offered.id, name, offered.kind)
        };
    };
    let mut codecs: Vec<Codec> = Vec::new();
    for codec in chosen(&taken.codecs, options) {
        let known = offered.codecs.iter().find(|known| known.is_same_format(&codec));
        if let Some(known) = known.filter(|known| codecs.iter().all(|one| one.payload_type != known.payload_type)) {
            codecs.push(Codec { payload_type: known.payload_type, ..codec });
        }
    }
    if options.flags.has(Flag::SingleCodec) {
        let first = codecs.iter().find(|codec| is_medium(codec)).map(|codec| codec.payload_type);
        codecs.retain(|codec| Some(codec.payload_type) == first || !is_medium(codec));
    }
    let rejected = !codecs.iter().any(is_medium);
    MediaStream { name: offered.name.clone(), codecs, rejected, path: MediaPath::default(), ..taken.clone() }
}

/// The codecs that the wishes let pass, in their order. Where none is left, all are, unless that is wished for.
fn chosen(codecs: &[Codec], options: &Options) -> Vec<Codec> {
    let Codecs { strip, except, offer, ignore, .. } = &options.codecs;
    let named = |list: &[CodecMatch], codec: &Codec| list.iter().any(|one| names(one, codec));
    let present: Vec<Codec> =
        codecs.iter().filter(|codec| codec.is_same_format(codec) && !named(ignore, codec)).cloned().collect();
    let stays = |codec: &&Codec| !named(strip, codec) || named(except, codec) || named(offer, codec);
    let mut left: Vec<Codec> = present.iter().filter(stays).cloned().collect();
    if !left.iter().any(is_medium) && !options.flags.has(Flag::AllowNoCodecMedia) {
        left = present;
    }
    // Sorting keeps the order of equals, so what is not named stays behind as it was.
    left.sort_by_key(|codec| offer.iter().position(|one| names(one, codec)).unwrap_or(usize::MAX));
    left
}

fn names(one: &CodecMatch, codec: &Codec) -> bool {
    match one {
        CodecMatch::All | CodecMatch::Full => true,
        CodecMatch::Codec(CodecName { name, clock_rate, channels, .. }) => {
            *name == codec.name
                && clock_rate.is_none_or(|rate| rate == codec.clock_rate)
                && channels.is_none_or(|channels| channels == u32::from(codec.channels.max(1)))
        }
    }
}

fn is_medium(codec: &Codec) -> bool {
    codec.is_same_format(codec) && !codec.is_telephone_event() && !codec.is_comfort_noise()
}
