//! Which codecs go on to the other party.

use model::{Codec, Description, Direction, HeaderExtension, MediaKind, MediaPath, MediaStream, StreamId};

use sdp::Role;

use crate::request::{CodecMatch, CodecName, Codecs, Extmap, Flag, Options};

/// What a party has heard and said so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Past<'a> {
    /// What it was told last.
    pub(super) told: Option<&'a Description>,
    /// What it said last.
    pub(super) said: Option<&'a Description>,
}

/// The codecs of a stream in a description that there may be.
fn codecs_of(description: Option<&Description>, id: StreamId) -> &[Codec] {
    let stream = description.and_then(|description| description.streams.iter().find(|stream| stream.id == id));
    stream.map_or(&[], |stream| &stream.codecs)
}

/// What the receiver is offered: what the sender offers, as far as the wishes let it pass, by the same numbers.
pub(super) fn offered(offer: &Description, options: &Options, receiver: Past<'_>, with_bundle: bool) -> Description {
    let streams: Vec<MediaStream> = offer.streams.iter().map(|stream| passed(stream, options, receiver)).collect();
    let bundle = match with_bundle {
        true => streams.iter().filter(|stream| !stream.rejected).map(|stream| stream.id).collect(),
        false => Vec::new(),
    };
    Description { streams, bundle }
}

fn passed(stream: &MediaStream, options: &Options, receiver: Past<'_>) -> MediaStream {
    let told_before = codecs_of(receiver.told, stream.id);
    let mut codecs = match options.flags.has(Flag::StaticCodecs) {
        true => still_there(told_before, &stream.codecs),
        false => Vec::new(),
    };
    if !codecs.iter().any(is_medium) {
        codecs = chosen(&stream.codecs, options, Role::Offer);
    }
    if options.flags.has(Flag::ReuseCodecs) {
        put_first(&mut codecs, codecs_of(receiver.said, stream.id));
    }
    let is_removed = options.media_remove.iter().any(|media| media.eq_ignore_ascii_case(media_word(stream.kind)));
    let rejected = stream.rejected || is_removed || !codecs.iter().any(is_medium);
    let ptime = options.ptime.or(stream.ptime);
    let Extmap { strip, mask } = &options.extmap;
    let mut extensions = stream.extensions.clone();
    extensions.retain(|extension| !is_among(extension, strip) && !is_among(extension, mask));
    MediaStream { codecs, rejected, ptime, extensions, path: MediaPath::default(), ..stream.clone() }
}

/// The codecs of a list, by its numbers and in its order, that are in another: nothing is translated, so the others are of
/// no use.
fn still_there(list: &[Codec], present: &[Codec]) -> Vec<Codec> {
    list.iter().filter(|codec| present.iter().any(|one| one.is_same_format(codec))).cloned().collect()
}

/// Puts what was liked best before first, and all that was not named behind.
fn put_first(codecs: &mut [Codec], liked: &[Codec]) {
    codecs.sort_by_key(|codec| liked.iter().position(|one| one.is_same_format(codec)).unwrap_or(usize::MAX));
}

fn is_among(extension: &HeaderExtension, uris: &[String]) -> bool {
    uris.iter().any(|uri| uri == "all" || *uri == extension.uri)
}

/// The wishes that came with an offer and with its answer, and what is known of the two parties.
#[derive(Clone, Copy)]
pub(super) struct Wishes<'a> {
    pub(super) offer: &'a Options,
    pub(super) answer: &'a Options,
    pub(super) offerer: Past<'a>,
    pub(super) answerer: Past<'a>,
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
    let answered = chosen(&taken.codecs, wishes.answer, Role::Answer);
    let told = codecs_of(wishes.answerer.told, offered.id);
    let mut codecs = numbered(&offered.codecs, &by_offerers_numbers(&answered, told, &offered.codecs), wishes);
    if wishes.answer.flags.has(Flag::ReuseCodecs) {
        put_first(&mut codecs, codecs_of(wishes.offerer.told, offered.id));
    }
    if wishes.answer.flags.has(Flag::SingleCodec) {
        let first = codecs.iter().find(|codec| is_medium(codec)).cloned();
        let goes_along = |codec: &Codec| first.as_ref().is_some_and(|first| first.clock_rate == codec.clock_rate);
        codecs.retain(|codec| match is_medium(codec) {
            true => first.as_ref().is_some_and(|first| first.payload_type == codec.payload_type),
            false => goes_along(codec),
        });
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

/// The codecs of an answer, those that the answerer calls as it was told by the numbers that the offerer has for them.
fn by_offerers_numbers(answered: &[Codec], told: &[Codec], offered: &[Codec]) -> Vec<Codec> {
    let is_told = |codec: &Codec| {
        told.iter().any(|one| one.payload_type == codec.payload_type && one.is_same_format(codec))
            && !offered.iter().any(|one| one.payload_type == codec.payload_type && one.is_same_format(codec))
    };
    let own = |codec: &Codec| offered.iter().find(|one| one.is_same_format(codec)).map(|one| one.payload_type);
    let renumbered = answered.iter().map(|codec| match own(codec).filter(|_| is_told(codec)) {
        Some(payload_type) => Codec { payload_type, ..codec.clone() },
        None => codec.clone(),
    });
    renumbered.collect()
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
    if left.iter().any(is_medium) || options.flags.has(Flag::AllowNoCodecMedia) {
        drop_what_goes_along_with_none(&mut left, &present);
    } else {
        left = present;
    }
    // Sorting keeps the order of equals, so what is not named stays behind as it was.
    left.sort_by_key(|codec| offer.iter().position(|one| names(one, codec)).unwrap_or(usize::MAX));
    left
}

/// What goes along with codecs of a clock rate (RFC 4733 §2.1, RFC 3389 §4) goes with the last of them.
fn drop_what_goes_along_with_none(left: &mut Vec<Codec>, present: &[Codec]) {
    let has = |codecs: &[Codec], rate| codecs.iter().any(|codec| is_medium(codec) && codec.clock_rate == rate);
    let is_left_alone = |codec: &Codec| has(present, codec.clock_rate) && !has(left, codec.clock_rate);
    let stays: Vec<bool> = left.iter().map(|codec| is_medium(codec) || !is_left_alone(codec)).collect();
    let mut stays = stays.into_iter();
    left.retain(|_| stays.next().unwrap_or_default());
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
