//! From a party's SDP to what the relay is told of it, and from what the relay says to the SDP for the other party.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use model::{AddressFamily, Description, Direction, IceRole, LegPolicy, PathPolicy, Profile, StreamId, Surroundings};
use sdp::facts::{Facts, MediaFacts};
use sdp::rewrite::{Edits, Fate, Layout, OriginChanges, Rewriting};
use sdp::{Role, RtcpAttribute, SdpError, Trickle, Wording};

use crate::calls::Said;
use crate::request::{AttributeChanges, Flag, Options, Replace, SdesWord, Set, Transport};

/// The family of the address that a party names, even where it names none of it.
pub(crate) fn family(said: &Facts) -> Option<AddressFamily> {
    let carried = said.lines.iter().find(|line| line.port != 0).or(said.lines.first());
    carried?.address.map(AddressFamily::of)
}

/// What a party describes, with its media where the wishes say that it is. A party that holds by having no address may
/// still send (RFC 3264 §8.4).
pub(crate) fn described(
    mut description: Description,
    said: &Facts,
    session: &sdp::Session,
    options: &Options,
) -> Description {
    for (line, id) in said.lines.iter().zip(session.streams()) {
        let stream = description.streams.iter_mut().find(|stream| Some(stream.id) == id);
        if let Some(stream) = stream.filter(|_| line.held_by_address) {
            stream.direction = line.direction.and(Direction::SendOnly);
            stream.path.rtp = line.address.map(|none| SocketAddr::new(none, line.port));
        }
    }
    for stream in &mut description.streams {
        stream.path.surroundings = Surroundings {
            sender: options.received_from,
            waits: options.flags.has(Flag::NatWait),
            pierces: options.flags.has(Flag::PierceNat),
        };
    }
    let source = options.received_from.filter(|_| options.flags.has(Flag::SipSourceAddress));
    if let Some(address) = options.media_address.or(source) {
        for stream in &mut description.streams {
            let moved = |path: Option<SocketAddr>| path.map(|path| SocketAddr::new(address, path.port()));
            stream.path.rtp = moved(stream.path.rtp);
            stream.path.rtcp = moved(stream.path.rtcp);
        }
    }
    description
}

/// The profile that the receiver of an offer is to see: what kind of key the relay has for it does not show in it, nor that
/// it has any if they are only offered (RFC 8643 §3).
pub(crate) fn with_profile(mut local: Description, profile: Profile) -> Description {
    for stream in &mut local.streams {
        let offers_keys = !stream.path.crypto.is_empty() && !profile.is_secure();
        if offers_keys || stream.path.profile.is_secure() == profile.is_secure() {
            stream.path.profile = profile;
        }
    }
    local
}

/// The profile that the offerer is answered: the one that is wished for, where it differs in feedback alone (RFC 4585,
/// RFC 5124). What protects media was settled by the offer.
pub(crate) fn with_answered_profile(
    mut local: Description,
    wished: Option<Transport>,
    answered: &Description,
) -> Description {
    for stream in local.streams.iter_mut().filter(|stream| !stream.rejected) {
        let answered = answered.streams.iter().find(|answered| answered.id == stream.id);
        let profile = match wished {
            Some(Transport::Profile(profile)) => Some(profile),
            Some(Transport::Accept) => answered.map(|answered| answered.path.profile),
            None => None,
        };
        let own = stream.path.profile;
        let is_alike = |profile: &Profile| profile.with_feedback(false) == own.with_feedback(false);
        stream.path.profile = profile.filter(is_alike).unwrap_or(own);
    }
    local
}

/// What the party of a leg is told of our ICE: to one that is to control we are a lite agent.
pub(crate) fn with_ice(mut local: Description, policy: &LegPolicy) -> Description {
    let lite = matches!(policy.path, PathPolicy::Ice { role: IceRole::Controlled, .. });
    local.streams.iter_mut().filter_map(|stream| stream.path.ice.as_mut()).for_each(|ice| ice.lite = lite);
    local
}

/// The most packets that a key may protect, as clients of rtpengine know it: those of RTCP (RFC 3711 §9.2).
const LIFETIME: &str = "2^31";

/// What a party is told in the same words each time, where the wishes say so.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The user name and the number of its first `o=`.
    origin: Option<[String; 2]>,
    session_name: Option<String>,
    version: Option<u64>,
    /// What the version stands for: what was said, and what became of it.
    stood_for: Option<[u64; 2]>,
}

impl Told {
    /// What is replaced in the `o=` of a description, with the version that the party was told last.
    fn origin(&mut self, original: &str, replace: Set<Replace>, own: Option<IpAddr>) -> OriginChanges<'_> {
        let value = session_line(original, "o=").unwrap_or_default();
        let mut words = value.split_whitespace().map(str::to_owned);
        let mut word = || words.next().unwrap_or_default();
        let (username, session, version) = (word(), word(), word());
        let all = replace.has(Replace::OriginFull);
        if all || replace.has(Replace::Username) {
            self.origin.get_or_insert([username, session]);
        }
        if counts(replace) {
            self.version.get_or_insert(version.parse().unwrap_or_default());
        }
        let kept = self.origin.as_ref();
        let name = kept.map(|kept| kept[0].as_str()).filter(|_| all || replace.has(Replace::Username));
        OriginChanges {
            username: name,
            session: kept.map(|kept| kept[1].as_str()).filter(|_| all),
            version: self.version.filter(|_| counts(replace)),
            address: own.filter(|_| all || replace.has(Replace::Origin)),
        }
    }

    /// Says whether the version counts up for a description.
    fn is_news(&mut self, original: &str, rewritten: &str, replace: Set<Replace>) -> bool {
        let now = Some([original, rewritten].map(digest));
        let before = std::mem::replace(&mut self.stood_for, now);
        replace.has(Replace::ForceIncrement) || before.is_some_and(|before| Some(before) != now)
    }
}

/// Whether the version in `o=` is ours.
fn counts(replace: Set<Replace>) -> bool {
    [Replace::OriginFull, Replace::SdpVersion, Replace::ForceIncrement].iter().any(|part| replace.has(*part))
}

/// The value of the session's first line of a kind.
fn session_line<'a>(sdp: &'a str, kind: &str) -> Option<&'a str> {
    let mut lines = sdp.split(['\r', '\n']).map(str::trim_start).take_while(|line| !line.starts_with("m="));
    lines.find_map(|line| line.strip_prefix(kind))
}

/// What a description says besides its `o=`.
fn digest(sdp: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    sdp.lines().filter(|line| !line.starts_with("o=")).for_each(|line| line.hash(&mut hasher));
    hasher.finish()
}

/// Foundations as clients of rtpengine know them, of sixteen letters or digits.
fn with_long_foundations(local: &Description) -> Description {
    let mut local = local.clone();
    for candidate in local.streams.iter_mut().flat_map(|stream| &mut stream.path.candidates) {
        candidate.foundation = format!("{:0>16}", candidate.foundation);
    }
    local
}

/// The attribute that says that a description has come by here. It differs from one process to the next.
pub(crate) fn mark(began: Duration) -> String {
    let mut hasher = DefaultHasher::new();
    began.hash(&mut hasher);
    format!("rtpengine:{:012x}", hasher.finish() >> 16)
}

/// Says whether a description has come by here before.
pub(crate) fn is_marked(sdp: &str, mark: &str) -> bool {
    Facts::read(sdp).is_ok_and(|facts| facts.attributes.iter().any(|attribute| attribute == mark))
}

/// Says whether m-lines of a kind are left out of an offer.
fn is_removed(media: &str, options: &Options) -> bool {
    const USUAL: [&str; 4] = ["audio", "video", "image", "message"];
    options.media_remove.iter().any(|removed| match removed.as_str() {
        "other" => !USUAL.contains(&media),
        removed => removed.eq_ignore_ascii_case(media),
    })
}

/// An answer with an m-line for each of the offer (RFC 3264 §6): those that its writer was not offered, and those that it
/// left out at the end, are refused.
///
/// Nothing is returned for one that is whole.
pub(crate) fn completed(answer: &str, answered: &Facts, offered: &Facts, options: &Options) -> Option<String> {
    if answered.lines.len() >= offered.lines.len() {
        return None;
    }
    let removed = offered.lines.iter().filter(|line| is_removed(&line.media, options)).count();
    let lacks_removed = answered.lines.len() + removed <= offered.lines.len();
    let mut parts = Vec::new();
    for line in answer.split(['\r', '\n']).filter(|line| !line.trim().is_empty()) {
        if parts.is_empty() || line.trim_start().starts_with("m=") {
            parts.push(String::new());
        }
        parts.last_mut().into_iter().for_each(|part| *part += &format!("{line}\r\n"));
    }
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap_or_default();
    for line in &offered.lines {
        let own = if lacks_removed && is_removed(&line.media, options) { None } else { parts.next() };
        whole += &own.unwrap_or_else(|| format!("m={} 0 {} 0\r\n", line.media, line.proto));
    }
    Some(whole)
}

/// The SDP for the other party, laid out as clients of rtpengine know it. `streams`: which one each m-line is.
pub(crate) fn rewrite(
    said: &Said,
    role: Role,
    streams: &[Option<StreamId>],
    local: &Description,
    told: &mut Told,
    mark: &str,
) -> Result<String, SdpError> {
    let Said { sdp: original, facts, options, .. } = said;
    let mut local = with_long_foundations(local);
    if options.sdes.words.has(SdesWord::Lifetime) {
        let keys = local.streams.iter_mut().flat_map(|stream| &mut stream.path.crypto);
        keys.for_each(|key| key.lifetime = LIFETIME.parse().ok());
    }
    let local = &local;
    let fate = |(line, stream): (&MediaFacts, &Option<StreamId>)| match stream {
        Some(_) | None if role == Role::Offer && is_removed(&line.media, options) => Fate::Removed,
        Some(stream) => Fate::Carried(*stream),
        None => Fate::Refused,
    };
    let lines: Vec<Fate> = facts.lines.iter().zip(streams).map(fate).collect();
    let flag = |flag| options.flags.has(flag);
    let replace = options.replace;
    let replaces = |part| replace.has(part);
    let own = local.streams.iter().find_map(|stream| stream.path.rtp).map(|rtp| rtp.ip());
    let rtcp = match (flag(Flag::NoRtcpAttribute), flag(Flag::FullRtcpAttribute)) {
        (true, _) => RtcpAttribute::Never,
        (false, true) => RtcpAttribute::Full,
        (false, false) => RtcpAttribute::Always,
    };
    let trickle = if flag(Flag::TrickleIce) { Trickle::Always } else { Trickle::Never };
    let session_name = replaces(Replace::SessionName).then(|| {
        let said = || session_line(original, "s=").unwrap_or("-").to_owned();
        told.session_name.get_or_insert_with(said).clone()
    });
    let mut session_edits = options.sdp_attributes.session.clone();
    session_edits.add.extend(flag(Flag::LoopProtect).then(|| mark.to_owned()));
    let key_padding = options.sdes.words.has(SdesWord::Pad);
    let how = Rewriting {
        wording: Wording { rtcp, key_padding, trickle, tls_id: !flag(Flag::NoTlsId) },
        layout: Layout::ByKind,
        session_name: session_name.as_deref(),
        generate_mid: flag(Flag::GenerateMid),
        keep_direction: flag(Flag::OriginalSendrecv),
        keep_sources: true,
        replace_zero_address: replaces(Replace::ZeroAddress),
        session_edits: edits(&session_edits),
        audio_edits: edits(&options.sdp_attributes.audio),
        video_edits: edits(&options.sdp_attributes.video),
        ..Rewriting::new(role, &lines, local)
    };
    let rewritten =
        sdp::rewrite::rewrite(original, &Rewriting { origin: told.origin(original, replace, own), ..how.clone() })?;
    if !counts(replace) || !told.is_news(original, &rewritten, replace) {
        return Ok(rewritten);
    }
    told.version = told.version.map(|version| version.saturating_add(1));
    sdp::rewrite::rewrite(original, &Rewriting { origin: told.origin(original, replace, own), ..how })
}

fn edits(changes: &AttributeChanges) -> Edits<'_> {
    Edits { remove: &changes.remove, substitute: &changes.substitute, add: &changes.add }
}
