//! The keys.

use std::net::IpAddr;

use model::{DtmfDigit, HashFunction, SrtpSuite};

use super::options::{
    AddressFamily, CodecList, CodecMatch, Dtls, Ice, IceLite, IceWord, Interfaces, ProfilePart, SdesWord, SdpPart, Tos,
    Transport,
};
use super::reader::{Reader, only, parse_address, spoken};
use super::rtpp_flags::unescaped;
use super::words::{Words, after, same};
use super::{Flag, Kind};
use crate::Value;

/// A key.
pub(super) struct Key {
    /// Its names, the usual one first.
    pub(super) names: &'static [&'static str],
    /// The commands that it means something to.
    pub(super) is_heeded_by: fn(Kind) -> bool,
    /// Takes its value.
    pub(super) read: fn(&mut Reader, &'static str, &Value<'_>),
}

const fn key(
    names: &'static [&'static str],
    is_heeded_by: fn(Kind) -> bool,
    read: fn(&mut Reader, &'static str, &Value<'_>),
) -> Key {
    Key { names, is_heeded_by, read }
}

const ANY: fn(Kind) -> bool = |_| true;
const SDP: fn(Kind) -> bool = |kind| matches!(kind, Kind::Offer | Kind::Answer);
const OFFER: fn(Kind) -> bool = |kind| matches!(kind, Kind::Offer);
const DELETE: fn(Kind) -> bool = |kind| matches!(kind, Kind::Delete);
const ROLLBACK: fn(Kind) -> bool = |kind| matches!(kind, Kind::Rollback);
const LIST: fn(Kind) -> bool = |kind| matches!(kind, Kind::List);
const PARTY: fn(Kind) -> bool = |kind| matches!(kind, Kind::Block(_) | Kind::Unblock(_) | Kind::PlayDtmf);
const LABEL: fn(Kind) -> bool = |kind| SDP(kind) || PARTY(kind);
const PLAY_DTMF: fn(Kind) -> bool = |kind| matches!(kind, Kind::PlayDtmf);
const BLOCK_DTMF: fn(Kind) -> bool = |kind| matches!(kind, Kind::Block(super::Blocked::Dtmf));

/// All that are read here, but `rtpp-flags`. Those that a proxy adds to every command are heeded by any.
pub(super) const KEYS: &[Key] = &[
    // What the request is about.
    key(&["command"], ANY, |_, _, _| {}),
    key(&["call-id"], ANY, |reader, key, value| reader.text(key, value, |said| &mut said.call_id)),
    key(&["from-tag"], ANY, |reader, key, value| reader.text(key, value, |said| &mut said.from_tag)),
    key(&["to-tag"], ANY, |reader, key, value| reader.text(key, value, |said| &mut said.to_tag)),
    key(&["via-branch"], ANY, |reader, key, value| reader.text(key, value, |said| &mut said.via_branch)),
    key(&["label", "from-label"], LABEL, |reader, key, value| reader.text(key, value, |said| &mut said.label)),
    key(&["to-label"], LABEL, |reader, key, value| reader.text(key, value, |said| &mut said.to_label)),
    key(&["set-label"], LABEL, |reader, key, value| reader.text(key, value, |said| &mut said.set_label)),
    key(&["address"], PARTY, |reader, key, value| reader.address(key, value, |said| &mut said.address)),
    key(&["all"], PARTY, |reader, key, value| reader.word(key, value, |said| &mut said.all)),
    key(&["sdp"], SDP, sdp),
    key(&["flags"], ANY, |reader, key, value| reader.each(key, value, Reader::flag)),
    // Where it comes from.
    key(&["token"], ANY, |_, _, _| {}),
    key(&["supports"], ANY, |reader, key, value| reader.words(key, value, |said| &mut said.options.supports)),
    key(&["sip-message-type"], ANY, |reader, key, value| {
        reader.word(key, value, |said| &mut said.options.sip_message);
    }),
    key(&["SIP code"], ANY, |reader, key, value| {
        reader.number(key, value, 100..=699, |said| &mut said.options.sip_code);
    }),
    key(&["received from"], ANY, received_from),
    // Where media goes.
    key(&["direction"], SDP, direction),
    key(&["from-interface"], SDP, |reader, key, value| {
        reader.text(key, value, |said| &mut said.options.interfaces.from);
    }),
    key(&["to-interface"], SDP, |reader, key, value| reader.text(key, value, |said| &mut said.options.interfaces.to)),
    key(&["address family"], SDP, |reader, key, value| {
        reader.word(key, value, |said| &mut said.options.address_family);
    }),
    key(&["media address"], SDP, |reader, key, value| {
        reader.address(key, value, |said| &mut said.options.media_address);
    }),
    key(&["endpoint-learning"], SDP, |reader, key, value| {
        reader.word(key, value, |said| &mut said.options.endpoint_learning);
    }),
    key(&["alias key"], OFFER, |reader, key, value| reader.word(key, value, |said| &mut said.options.alias_key)),
    key(&["TOS"], SDP, tos),
    key(&["media echo"], SDP, |reader, key, value| reader.word(key, value, |said| &mut said.options.media_echo)),
    key(&["drop-traffic"], SDP, |reader, key, value| reader.word(key, value, |said| &mut said.options.drop_traffic)),
    // How it is sent.
    key(&["transport protocol"], SDP, transport),
    key(&["ICE"], SDP, ice),
    key(&["ICE-lite"], OFFER, |reader, key, value| reader.word(key, value, |said| &mut said.options.ice_lite)),
    key(&["DTLS"], SDP, dtls),
    key(&["DTLS-reverse"], SDP, |reader, key, value| reader.word(key, value, |said| &mut said.options.dtls_reverse)),
    key(&["DTLS-fingerprint"], SDP, fingerprint),
    key(&["SDES"], SDP, sdes),
    key(&["OSRTP"], SDP, |reader, key, value| reader.words(key, value, |said| &mut said.options.osrtp)),
    key(&["rtcp-mux"], SDP, |reader, key, value| reader.words(key, value, |said| &mut said.options.rtcp_mux)),
    key(&["bundle"], SDP, |reader, key, value| reader.words(key, value, |said| &mut said.options.bundle)),
    key(&["generate RTCP"], SDP, |reader, key, value| {
        reader.word(key, value, |said| &mut said.options.generate_rtcp);
    }),
    // What it is.
    key(&["codec"], SDP, codec),
    key(&["ptime", "repacketize"], OFFER, |reader, key, value| {
        reader.number(key, value, 1..=1000, |said| &mut said.options.ptime);
    }),
    key(&["ptime-reverse"], OFFER, |reader, key, value| {
        reader.number(key, value, 1..=1000, |said| &mut said.options.ptime_reverse);
    }),
    key(&["replace"], SDP, |reader, key, value| reader.words(key, value, |said| &mut said.options.replace)),
    key(&["extmap"], SDP, extmap),
    key(&["sdp-attr"], SDP, sdp_attr),
    key(&["sdp-media-remove"], OFFER, |reader, key, value| {
        reader.list(key, value, owned, |said| &mut said.options.media_remove);
    }),
    // What other commands want.
    key(&["delete delay"], DELETE, |reader, key, value| {
        reader.number(key, value, 0..=i64::from(u32::MAX), |said| &mut said.delete_delay);
    }),
    key(&["limit"], LIST, |reader, key, value| {
        reader.number(key, value, 1..=i64::from(u32::MAX), |said| &mut said.limit);
    }),
    key(&["generation"], ROLLBACK, |reader, key, value| {
        reader.number(key, value, 0..=i64::from(u32::MAX), |said| &mut said.generation);
    }),
    key(&["code", "digit"], PLAY_DTMF, digit),
    key(&["duration"], PLAY_DTMF, |reader, key, value| {
        reader.number(key, value, 100..=5000, |said| &mut said.duration)
    }),
    key(&["pause"], PLAY_DTMF, |reader, key, value| reader.number(key, value, 100..=5000, |said| &mut said.pause)),
    key(&["volume"], PLAY_DTMF, |reader, key, value| reader.number(key, value, -63..=63, |said| &mut said.volume)),
    key(&["DTMF-security"], BLOCK_DTMF, |reader, key, value| {
        reader.word(key, value, |said| &mut said.dtmf_security);
    }),
];

/// Keys of commands that are not done here.
pub(super) const ELSEWHERE: &[&str] = &[
    "from-tags",
    "interface",
    "file",
    "blob",
    "blob64",
    "db-id",
    "repeat-times",
    "repeat-duration",
    "start-pos",
    "to-call-id",
    "medias",
    "codecs-offer",
    "source-tag",
    "source-call-id",
];

/// Keys that are known, and not done here.
pub(super) const UNSUPPORTED: &[&str] = &[
    "template",
    "inbound-peer",
    "outbound-peer",
    "peer",
    "metadata",
    "output-destination",
    "delay-buffer",
    "DTMF-delay",
    "DTMF-log-dest",
    "trigger",
    "frequency",
    "audio player",
    "T.38",
    "T38",
    "moh",
    "xmlrpc-callback",
    "instance",
    "passthrough",
];

/// The same of all keys that begin so.
pub(super) const UNSUPPORTED_PREFIXES: &[&str] = &["recording-", "DTMF-security-", "trigger-", "T.38-", "T38-", "VSC"];

fn sdp(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    match value.bytes() {
        Some([]) => {}
        Some(bytes) => reader.put(key, |said| &mut said.sdp, String::from_utf8_lossy(bytes).into_owned()),
        None => reader.bad(key, value),
    }
}

/// `[IP4, address]`, or the address alone.
fn received_from(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    let address = match value.members() {
        [address] => spoken(address).and_then(|text| parse_address(&text)),
        [family, address] => {
            let family = spoken(family).and_then(|word| AddressFamily::find(&word));
            let address = spoken(address).and_then(|text| parse_address(&text));
            address.filter(|address| family == Some(family_of(address)))
        }
        _ => None,
    };
    match address {
        Some(address) => reader.put(key, |said| &mut said.options.received_from, address),
        None => reader.bad(key, value),
    }
}

const fn family_of(address: &IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Ip4,
        IpAddr::V6(_) => AddressFamily::Ip6,
    }
}

/// First the interface towards the sender, then the one towards the receiver.
fn direction(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    reader.each(key, value, |reader, name| {
        let Interfaces { from, to } = &mut reader.said.options.interfaces;
        if from.is_none() {
            *from = Some(name.to_owned());
        } else if to.is_none() {
            *to = Some(name.to_owned());
        } else {
            reader.unknown_member(key, name);
        }
    });
}

/// Beyond a byte it means the default.
fn tos(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    let Some(number) = only(value).and_then(|digits| digits.parse::<i64>().ok()) else {
        return reader.bad(key, value);
    };
    if number < 0 {
        reader.put(key, |said| &mut said.options.tos, Tos::Keep);
    } else if let Ok(byte) = u8::try_from(number) {
        reader.put(key, |said| &mut said.options.tos, Tos::Set(byte));
    }
}

fn transport(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    reader.each(key, value, |reader, name| {
        if let Some(part) = ProfilePart::find(name) {
            reader.said.profile_parts.insert(part);
            return;
        }
        match Transport::find(name) {
            Some(Transport::Accept) if reader.kind == Kind::Offer => reader.no_effect("transport protocol=accept"),
            Some(transport) => reader.put(key, |said| &mut said.options.transport, transport),
            None => reader.unknown_member(key, name),
        }
    });
}

fn ice(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    reader.each(key, value, |reader, name| {
        let Some(word) = IceWord::find(name) else {
            return reader.unknown_member(key, name);
        };
        match word {
            IceWord::Remove => reader.put(key, |said| &mut said.options.ice, Ice::Remove),
            IceWord::Force => reader.put(key, |said| &mut said.options.ice, Ice::Force),
            IceWord::Default => reader.put(key, |said| &mut said.options.ice, Ice::Default),
            IceWord::Optional => reader.put(key, |said| &mut said.options.ice, Ice::Optional),
            IceWord::ForceRelay => {
                reader.unsupported("ICE=force-relay");
                reader.put(key, |said| &mut said.options.ice, Ice::Force);
            }
            IceWord::Lite => reader.put("ICE-lite", |said| &mut said.options.ice_lite, IceLite::Both),
            IceWord::LiteForward => reader.put("ICE-lite", |said| &mut said.options.ice_lite, IceLite::Forward),
            IceWord::LiteBackward => reader.put("ICE-lite", |said| &mut said.options.ice_lite, IceLite::Backward),
            IceWord::NoLite => reader.put("ICE-lite", |said| &mut said.options.ice_lite, IceLite::Off),
            IceWord::Trickle => reader.said.options.flags.insert(Flag::TrickleIce),
            IceWord::Ice2 => reader.said.options.ice2 = true,
        }
    });
}

fn dtls(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    reader.each(key, value, |reader, name| match Dtls::find(name) {
        Some(Dtls::Passive) if reader.kind == Kind::Answer => reader.no_effect("DTLS=passive"),
        Some(word) => reader.put(key, |said| &mut said.options.dtls, word),
        None => reader.unknown_member(key, name),
    });
}

fn fingerprint(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    reader.each(key, value, |reader, name| {
        match HashFunction::ALL.into_iter().find(|hash| same(hash.as_str(), name)) {
            Some(hash) => reader.put(key, |said| &mut said.options.fingerprint, hash),
            None => reader.unknown_member(key, name),
        }
    });
}

/// Words of `SDES` that would send media, or take it, without protection.
const UNPROTECTED: &[&str] = &["unencrypted_srtp", "unencrypted_srtcp", "unauthenticated_srtp"];

/// Suites that others speak.
const OTHER_SUITES: &[&str] = &["F8_128_HMAC_SHA1_80", "F8_128_HMAC_SHA1_32", "NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32"];

fn sdes(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    reader.each(key, value, |reader, word| {
        if let Some(word) = SdesWord::find(word) {
            reader.said.options.sdes.words.insert(word);
        } else if UNPROTECTED.iter().any(|refused| same(refused, word)) {
            reader.unsupported(&format!("SDES={word}"));
        } else if let Some(name) = after(word, "no-") {
            suites(reader, name, |reader| &mut reader.said.options.sdes.no);
        } else if let Some(name) = after(word, "only-") {
            suites(reader, name, |reader| reader.said.options.sdes.only.get_or_insert_default());
        } else if let Some(names) = after(word, "order:") {
            suites(reader, names, |reader| &mut reader.said.options.sdes.order);
        } else if let Some(names) = after(word, "offerer_pref:") {
            suites(reader, names, |reader| &mut reader.said.options.sdes.offerer_pref);
        } else {
            reader.unknown_member(key, word);
        }
    });
}

fn suites(reader: &mut Reader, names: &str, list: fn(&mut Reader) -> &mut Vec<SrtpSuite>) {
    for name in names.split(';').filter(|name| !name.is_empty()) {
        // A list of suites that we do not speak is a list all the same.
        let suites = list(reader);
        match SrtpSuite::ALL.into_iter().find(|suite| same(suite.as_str(), name)) {
            Some(suite) if suites.contains(&suite) => {}
            Some(suite) => suites.push(suite),
            None if OTHER_SUITES.iter().any(|suite| same(suite, name)) => {
                reader.unsupported(&format!("SDES suite {name}"))
            }
            None => reader.unknown_member("SDES", name),
        }
    }
}

fn codec(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    // A proxy that takes the flags apart leaves what they escape.
    let take = |member: &Value<'_>| CodecMatch::parse(&unescaped(&spoken(member)?));
    reader.entries(key, value, |reader, name, codecs| match CodecList::find(name) {
        Some(list @ (CodecList::Transcode | CodecList::Mask | CodecList::Set)) if reader.kind == Kind::Answer => {
            reader.no_effect(&format!("codec {}", list.as_str()));
        }
        Some(list) => reader.list(key, codecs, take, |said| said.options.codecs.list(list)),
        None => reader.unknown_member(key, name),
    });
}

fn extmap(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    reader.entries(key, value, |reader, name, uris| {
        if same("strip", name) {
            reader.list(key, uris, owned, |said| &mut said.options.extmap.strip);
        } else if same("mask", name) {
            reader.list(key, uris, owned, |said| &mut said.options.extmap.mask);
        } else {
            reader.unknown_member(key, name);
        }
    });
}

fn sdp_attr(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    reader.entries(key, value, |reader, part, changes| {
        let Some(part) = SdpPart::find(part) else {
            return reader.unknown_member(key, part);
        };
        reader.entries(key, changes, |reader, change, attributes| {
            if same("add", change) {
                reader.list(key, attributes, owned, |said| &mut said.options.sdp_attributes.part(part).add);
            } else if same("remove", change) {
                reader.list(key, attributes, owned, |said| &mut said.options.sdp_attributes.part(part).remove);
            } else if same("substitute", change) {
                reader
                    .list(key, attributes, substitution, |said| &mut said.options.sdp_attributes.part(part).substitute);
            } else {
                reader.unknown_member(key, change);
            }
        });
    });
}

/// `[from, to]`, or `from>to`.
fn substitution(value: &Value<'_>) -> Option<(String, String)> {
    if let Value::List(pair) = value {
        let [from, to] = &pair[..] else { return None };
        return Some((owned(from)?, spoken(to)?.into_owned()));
    }
    let text = spoken(value)?;
    let (from, to) = text.split_once('>').filter(|(from, _)| !from.is_empty())?;
    Some((from.to_owned(), to.to_owned()))
}

/// A text that is not empty.
fn owned(value: &Value<'_>) -> Option<String> {
    spoken(value).filter(|text| !text.is_empty()).map(|text| text.into_owned())
}

/// A key of a telephone: the sign on it, or the number of its event (RFC 4733 §3.2).
fn digit(reader: &mut Reader, key: &'static str, value: &Value<'_>) {
    let digit = only(value).and_then(|text| {
        let mut signs = text.chars();
        match (signs.next(), signs.next()) {
            (Some(sign), None) => DtmfDigit::try_from(sign).ok(),
            _ => text.parse().ok().and_then(DtmfDigit::from_event),
        }
    });
    match digit {
        Some(digit) => reader.put(key, |said| &mut said.digit, digit),
        None => reader.bad(key, value),
    }
}
