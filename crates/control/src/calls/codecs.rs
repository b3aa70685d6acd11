//! Which codecs go on to the other party.

use model::{Codec, Description, Direction, HeaderExtension, MediaKind, MediaPath, MediaStream};

use sdp::Role;

use crate::request::{CodecMatch, CodecName, Codecs, Extmap, Flag, Options};

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
    let codecs = chosen(&stream.codecs, options, Role::Offer);
    let is_removed = options.media_remove.iter().any(|media| media.eq_ignore_ascii_case(media_word(stream.kind)));
    let rejected = stream.rejected || is_removed || !codecs.iter().any(is_medium);
    let ptime = options.ptime.or(stream.ptime);
    let Extmap { strip, mask } = &options.extmap;
    let mut extensions = stream.extensions.clone();
    extensions.retain(|extension| !is_among(extension, strip) && !is_among(extension, mask));
    MediaStream { codecs, rejected, ptime, extensions, path: MediaPath::default(), ..stream.clone() }
}

fn is_among(extension: &HeaderExtension, uris: &[String]) -> bool {
    uris.iter().any(|uri| uri == "all" || *uri == extension.uri)
}

/// The wishes that came with an offer and with its answer.
#[derive(Clone, Copy)]
pub(super) struct Wishes<'a> {
    pub(super) offer: &'a Options,
    pub(super) answer: &'a Options,
}

/// What an offerer is answered: of what it offered, what the answerer takes, in the answerer's order.
pub(super) fn answered(
    offer: &Description,
    answer: &Description,
    wishes: Wishes<'_>,
    takes_bundle: bool,
) -> Description {
    let streams: Vec<MediaStream> =
        offer.streams.iter().map(|stream| answered_stream(stream, answer, wishes)).collect();
    let carried = |id: &_| streams.iter().any(|stream| stream.id == *id && !stream.rejected);
    let bundle = if takes_bundle { offer.bundle.iter().copied().filter(carried).collect() } else { Vec::new() };
    Description { streams, bundle }
}

fn answered_stream(offered: &MediaStream, answer: &Description, wishes: Wishes<'_>) -> MediaStream {
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
    let mut codecs = numbered(&offered.codecs, &chosen(&taken.codecs, wishes.answer, Role::Answer), wishes);
    if wishes.answer.flags.has(Flag::SingleCodec) {
        let first = codecs.iter().find(|codec| is_medium(codec)).map(|codec| codec.payload_type);
        codecs.retain(|codec| Some(codec.payload_type) == first || !is_medium(codec));
    }
    let rejected = !codecs.iter().any(is_medium);
    // Who was told another packet time than the offerer's does not answer that.
    let is_own = wishes.offer.ptime.is_none() && wishes.offer.ptime_reverse.is_none();
    let answered_ptime = taken.ptime.filter(|_| is_own);
    let ptime = wishes.offer.ptime_reverse.or(answered_ptime).or(offered.ptime);
    // What the receiver was not to know of is taken from the sender, and goes no further.
    let Extmap { strip, mask } = &wishes.offer.extmap;
    let masked = offered.extensions.iter().filter(|extension| is_among(extension, mask));
    let mut extensions = taken.extensions.clone();
    extensions.retain(|one| ![strip, mask, &wishes.answer.extmap.strip].into_iter().any(|list| is_among(one, list)));
    extensions.extend(masked.cloned());
    let name = offered.name.clone();
    MediaStream { name, codecs, rejected, ptime, extensions, path: MediaPath::default(), ..taken.clone() }
}

/// The codecs of an answer that were offered, by the offerer's numbers. One that the answerer calls by another number
/// stays only if nothing else does, if that was wished for, or with the answerer's number if that is allowed.
fn numbered(offered: &[Codec], answered: &[Codec], wishes: Wishes<'_>) -> Vec<Codec> {
    let keeps_numbers = wishes.answer.flags.has(Flag::AllowAsymmetricCodecs);
    let is_same_number = |codec: &Codec| {
        offered.iter().any(|known| known.payload_type == codec.payload_type && known.is_same_format(codec))
    };
    let is_accepted = |codec: &Codec| wishes.offer.codecs.accept.iter().any(|one| names(one, codec));
    let has_own = answered.iter().any(|codec| is_same_number(codec) && is_medium(codec));
    let mut codecs: Vec<Codec> = Vec::new();
    for codec in answered {
        let is_free = |number| codecs.iter().all(|one| one.payload_type != number);
        let same = || offered.iter().filter(|known| known.is_same_format(codec));
        let number = if is_same_number(codec) || (keeps_numbers && same().next().is_some()) {
            Some(codec.payload_type)
        } else if !has_own || is_accepted(codec) {
            same().map(|known| known.payload_type).find(|number| is_free(*number))
        } else {
            None
        };
        if let Some(payload_type) = number.filter(|number| is_free(*number)) {
            codecs.push(Codec { payload_type, ..codec.clone() });
        }
    }
    codecs
}

/// The codecs that the wishes let pass, in their order. Where none is left, all are, unless that is wished for.
fn chosen(codecs: &[Codec], options: &Options, role: Role) -> Vec<Codec> {
    let Codecs { strip, mask, consume, except, offer, transcode, ignore, .. } = &options.codecs;
    let named = |list: &[CodecMatch], codec: &Codec| list.iter().any(|one| names(one, codec));
    let present: Vec<Codec> =
        codecs.iter().filter(|codec| codec.is_same_format(codec) && !named(ignore, codec)).cloned().collect();
    // What may only be offered to be translated is not offered, and what is to be added is there already.
    let (out, back): (&[&Vec<CodecMatch>], &[&Vec<CodecMatch>]) = match role {
        Role::Offer => (&[strip, mask, consume], &[except, offer, transcode]),
        Role::Answer => (&[strip], &[except, offer]),
    };
    let goes = |codec: &Codec| out.iter().any(|list| named(list, codec));
    let returns = |codec: &Codec| back.iter().any(|list| named(list, codec));
    let stays = |codec: &&Codec| !goes(codec) || returns(codec);
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

/// The first word of an m-line.
const fn media_word(kind: MediaKind) -> &'static str {
    match kind {
        MediaKind::Audio => "audio",
        MediaKind::Video => "video",
    }
}

fn is_medium(codec: &Codec) -> bool {
    codec.is_same_format(codec) && !codec.is_telephone_event() && !codec.is_comfort_noise()
}
