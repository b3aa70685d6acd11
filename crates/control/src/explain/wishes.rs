//! What an offer or an answer asks for, wish by wish.

use super::Effect::{Does, Nothing, Usual};
use super::flags::{self, NOT_YET, SETTLED};
use super::{Note, Side};
use crate::request::{
    AliasKey, AttributeChanges, Bundle, CodecMatch, CodecName, Codecs, DropTraffic, Dtls, DtlsReverse,
    EndpointLearning, Extmap, Flag, Ice, IceLite, Interfaces, MediaEcho, Options, Osrtp, Replace, RtcpMux, Sdes,
    SdesWord, SdpAttributes, Set, Switch, Tos, Transport, Words,
};
use model::{HashFunction, SrtpSuite};

const NO_TRANSCODING: &str = "Nothing is transcoded: codecs pass as they are, or not at all.";

/// Notes, as they are made.
struct Wishes {
    side: Side,
    notes: Vec<Note>,
}

/// What comes of what is wished for.
pub(super) fn of(options: &Options, side: Side) -> Vec<Note> {
    // A new wish has to be put in words here.
    let Options {
        flags,
        interfaces,
        address_family,
        received_from,
        media_address,
        transport,
        ice,
        ice_lite,
        ice2,
        dtls,
        dtls_reverse,
        fingerprint,
        sdes,
        osrtp,
        rtcp_mux,
        bundle,
        replace,
        codecs,
        ptime,
        ptime_reverse,
        tos,
        supports: _,
        sip_message: _,
        sip_code: _,
        endpoint_learning,
        generate_rtcp,
        media_echo,
        drop_traffic,
        extmap,
        sdp_attributes,
        media_remove,
        alias_key,
    } = options;
    let mut wishes = Wishes { side, notes: Vec::new() };
    if flags.has(Flag::WebRtc) {
        wishes.flag(Flag::WebRtc);
    }
    wishes.transport(*transport);
    wishes.ice(*ice, *ice_lite, *ice2);
    wishes.dtls(*dtls, *dtls_reverse, *fingerprint);
    wishes.sdes(sdes);
    wishes.osrtp(*osrtp);
    wishes.rtcp(*rtcp_mux, *generate_rtcp);
    wishes.bundle(*bundle);
    wishes.interfaces(interfaces);
    let family = address_family.map(|family| format!("address-family={}", family.as_str()));
    if let Some(family) = family {
        wishes.offer(family, "The receiver is told an address of this family first, if the relay has one.");
    }
    let by_source = flags.has(Flag::SipSourceAddress);
    if let Some(address) = received_from.filter(|_| !by_source) {
        wishes.does(format!("received-from={address}"), "Media of the sender may come from there, too.");
    }
    if let Some(address) = media_address {
        wishes.does(format!("media-address={address}"), "Media of the sender is there, whatever its SDP says.");
    }
    wishes.learning(*endpoint_learning, flags.has(Flag::Asymmetric));
    wishes.codecs(codecs);
    for (said, whom) in [
        (ptime.map(|ms| format!("ptime={ms}")), "receiver"),
        (ptime_reverse.map(|ms| format!("ptime-reverse={ms}")), "sender"),
    ] {
        let text = format!("The {whom} is told this packet time; nothing is put into other packets.");
        said.into_iter().for_each(|said| wishes.offer(said, text.clone()));
    }
    wishes.replaced(*replace);
    wishes.extmap(extmap);
    wishes.attributes(sdp_attributes);
    for media in media_remove {
        let text = "M-lines of this kind are left out towards the receiver, and refused towards the sender.";
        wishes.offer(format!("sdp-media-remove={media}"), text.to_owned());
    }
    match tos {
        Some(Tos::Set(byte)) => wishes.offer(
            format!("TOS={byte}"),
            "What is sent to either party is marked so, on ports that are opened now: not on a shared one.",
        ),
        Some(Tos::Keep) => wishes.usual("TOS=-1".to_owned(), "Marks stay as they are."),
        None => {}
    }
    wishes.nothing(media_echo.map(MediaEcho::as_str).map(|word| format!("media-echo={word}")), NOT_YET);
    if let Some(drop) = drop_traffic {
        let text = match drop {
            DropTraffic::Start => "No media of the call goes through, until it is said to stop.",
            DropTraffic::Stop => "Media of the call goes through again.",
        };
        wishes.does(format!("drop-traffic={}", drop.as_str()), text);
    }
    match alias_key {
        Some(AliasKey::Off) => wishes.usual("alias-key=off".to_owned(), "An unknown tag of an offer is a new party."),
        Some(key @ (AliasKey::Sdp | AliasKey::Address)) => {
            let same = if *key == AliasKey::Sdp { "SDP" } else { "first media address" };
            let text = format!("An unknown tag is another name of whoever sent the same {same} before.");
            wishes.does(format!("alias-key={}", key.as_str()), text);
        }
        None => {}
    }
    wishes.flags(*flags);
    wishes.notes
}

/// What comes of what an offer does not say.
pub(super) fn otherwise(options: &Options) -> Vec<&'static str> {
    let unless = |said: bool, text: &'static str| (!said).then_some(text);
    let lines = [
        unless(options.transport.is_some(), "The receiver is offered the profile that the sender offers."),
        unless(
            options.ice.is_some(),
            "The receiver is offered ICE, with our candidates alone, if the sender offers it first, and later if it was \
             before and did not refuse it.",
        ),
        unless(
            options.dtls.is_some() || options.sdes != Sdes::default(),
            "An encrypted profile has keys by DTLS where it says so (UDP/TLS), and otherwise both keys by SDES and a \
             fingerprint, of which the answer chooses; suites of the sender come first, all others after them.",
        ),
        unless(!options.rtcp_mux.is_empty(), "rtcp-mux is taken from the sender, and offered on if it was offered."),
        unless(
            !options.bundle.is_empty(),
            "Bundles are not taken, so that each m-line has ports of its own; those of an earlier offer stay.",
        ),
        unless(
            options.endpoint_learning.is_some() || options.flags.has(Flag::Asymmetric),
            "Without ICE, addresses are learnt from packets as `[ng] endpoint_learning` says, and then kept.",
        ),
        unless(
            options.codecs != Codecs::default(),
            "Codecs stay as they are, but for those that the relay does not know.",
        ),
    ];
    lines.into_iter().flatten().collect()
}

impl Wishes {
    fn does(&mut self, said: String, text: impl Into<String>) {
        self.notes.push(Note::new(said, Does, text));
    }

    fn usual(&mut self, said: String, text: &str) {
        self.notes.push(Note::new(said, Usual, text));
    }

    fn nothing(&mut self, said: Option<String>, text: &str) {
        self.notes.extend(said.map(|said| Note::new(said, Nothing, text)));
    }

    /// Something that only an offer settles.
    fn offer(&mut self, said: String, text: impl Into<String>) {
        match self.side {
            Side::Offer => self.does(said, text),
            Side::Answer => self.nothing(Some(said), SETTLED),
        }
    }

    fn transport(&mut self, transport: Option<Transport>) {
        match transport {
            Some(Transport::Profile(profile)) => {
                let text = match self.side {
                    Side::Offer => "The receiver is offered this; the sender is answered with what it offered.",
                    Side::Answer => "The offerer is answered so, if it offered the same with or without feedback.",
                };
                self.does(profile.to_string(), text);
            }
            Some(Transport::Accept) => {
                let said = "transport-protocol=accept".to_owned();
                match self.side {
                    Side::Offer => self.nothing(Some(said), "It is for answers."),
                    Side::Answer => self.does(
                        said,
                        "The offerer is answered with the answerer's profile, if that is its own with or without \
                         feedback.",
                    ),
                }
            }
            None => {}
        }
    }

    fn ice(&mut self, ice: Option<Ice>, lite: Option<IceLite>, ice2: bool) {
        if let Some(ice) = ice {
            let said = format!("ICE={}", ice.as_str());
            match ice {
                Ice::Remove => self.offer(said, "The receiver is offered no ICE."),
                Ice::Force => self.offer(
                    said,
                    "The receiver is offered ICE with our candidates, and no others, unless it refused ICE before.",
                ),
                Ice::Optional => {
                    self.offer(said, "As `force`: others' candidates never stay, since media would pass the relay by.");
                }
                Ice::Default if self.side == Side::Offer => {
                    self.usual(
                        said,
                        "The receiver is offered ICE, with our candidates alone, if the sender offers it first, and \
                         later if it was before.",
                    );
                }
                Ice::Default => self.nothing(Some(said), SETTLED),
            }
        }
        match lite {
            Some(IceLite::Off) => self.usual("ICE-lite=off".to_owned(), "The relay is a full agent."),
            Some(lite) => {
                let said = format!("ICE-lite={}", lite.as_str());
                let whom = match lite {
                    IceLite::Forward => "The receiver",
                    IceLite::Backward => "The sender",
                    IceLite::Both | IceLite::Off => "Either party",
                };
                self.offer(said, format!("{whom} is told `a=ice-lite`, and controls; paths are checked all the same."));
            }
            None => {}
        }
        self.nothing(ice2.then(|| "ICE=ice2".to_owned()), "`ice2` is not written; RFC 8445 is followed all the same.");
    }

    fn dtls(&mut self, dtls: Option<Dtls>, reverse: Option<DtlsReverse>, hash: Option<HashFunction>) {
        match dtls {
            Some(Dtls::Off) => {
                self.offer("DTLS=off".to_owned(), "The receiver is offered keys by SDES, and no fingerprint.");
            }
            Some(Dtls::Passive) => self.offer(
                "DTLS=passive".to_owned(),
                "The sender's DTLS has us as its server where it leaves that to us; what we offer says `actpass`.",
            ),
            Some(Dtls::Active) => self.usual("DTLS=active".to_owned(), "We are the client where we may choose."),
            None => {}
        }
        match reverse {
            Some(DtlsReverse::Passive) => {
                self.offer("DTLS-reverse=passive".to_owned(), "As `DTLS=passive`.");
            }
            Some(DtlsReverse::Active) => {
                self.usual("DTLS-reverse=active".to_owned(), "We are the client where we may choose.");
            }
            None => {}
        }
        if let Some(hash) = hash.map(HashFunction::as_str) {
            let text = format!("The fingerprint that the receiver is offered is by {hash}.");
            self.offer(format!("DTLS-fingerprint={hash}"), text);
        }
    }

    fn sdes(&mut self, sdes: &Sdes) {
        let Sdes { words, only, no, order, offerer_pref } = sdes;
        for (name, word) in words_of(*words) {
            let said = format!("SDES={name}");
            match word {
                SdesWord::Off => self.offer(said, "The receiver is offered no keys in the SDP: DTLS, where encrypted."),
                SdesWord::NoNew => self.offer(said, "No suite is offered on that the sender does not offer."),
                SdesWord::Pad => self.does(said, "Keys in the SDP have the padding of base64."),
                SdesWord::Prefer => {
                    self.offer(said, "The sender's SDES is taken rather than its DTLS, if it offers both.")
                }
                SdesWord::Lifetime => self.does(said, "Keys in the SDP have a lifetime of 2^31 packets."),
                SdesWord::Static => self.nothing(Some(said), "A suite stays anyway if it is still offered."),
                SdesWord::EncryptedSrtp | SdesWord::EncryptedSrtcp | SdesWord::AuthenticatedSrtp => {
                    self.usual(said, "Nothing of SRTP is ever left without protection.");
                }
            }
        }
        if let Some(only) = only {
            self.offer(
                format!("SDES=only-{}", names(only)),
                "These suites are offered to the receiver, and no others.",
            );
        }
        if !no.is_empty() {
            self.offer(format!("SDES=no-{}", names(no)), "These suites are not offered to the receiver.");
        }
        if !order.is_empty() {
            self.offer(
                format!("SDES=order:{}", names(order)),
                "These suites come first in what the receiver is offered.",
            );
        }
        if !offerer_pref.is_empty() {
            self.offer(
                format!("SDES=offerer_pref:{}", names(offerer_pref)),
                "The first of these that the sender offers is taken; otherwise the one that the receiver takes.",
            );
        }
    }

    fn osrtp(&mut self, osrtp: Set<Osrtp>) {
        for (name, word) in words_of(osrtp) {
            let said = format!("OSRTP={name}");
            match word {
                Osrtp::Offer => self.offer(said, "Keys are offered beside a plain profile (RFC 8643)."),
                Osrtp::AcceptRfc | Osrtp::Accept => {
                    self.offer(said, "The sender's keys are taken where it offers them beside a plain profile.");
                }
                Osrtp::OfferLegacy | Osrtp::AcceptLegacy => {
                    self.nothing(
                        Some(said),
                        "Of two m-lines, a plain and an encrypted one, none is made and none dropped.",
                    );
                }
            }
        }
    }

    fn rtcp(&mut self, mux: Set<RtcpMux>, generate: Option<Switch>) {
        for (name, word) in words_of(mux) {
            let said = format!("rtcp-mux={name}");
            match word {
                RtcpMux::Offer => {
                    self.offer(said, "The receiver is offered rtcp-mux, even if the sender did not offer it.")
                }
                RtcpMux::Require => self.offer(said, "As `offer`, and there is no port for RTCP alone."),
                RtcpMux::Demux => self.offer(said, "rtcp-mux is taken from the sender, and not offered on."),
                RtcpMux::Reject => self.offer(said, "The sender is refused rtcp-mux."),
                RtcpMux::Accept if self.side == Side::Offer => {
                    self.usual(said, "rtcp-mux is taken from the sender, and offered on if it was offered.");
                }
                RtcpMux::Accept => self.nothing(Some(said), SETTLED),
            }
        }
        match generate {
            Some(Switch::On) => {
                self.offer(
                    "generate-RTCP".to_owned(),
                    "What parties report by RTCP ends here; we report to both ourselves.",
                );
            }
            Some(Switch::Off) => {
                self.usual("generate-RTCP=off".to_owned(), "Parties' reports go on to each other, in our numbers.");
            }
            None => {}
        }
    }

    fn bundle(&mut self, bundle: Set<Bundle>) {
        for (name, word) in words_of(bundle) {
            let said = format!("bundle={name}");
            match word {
                Bundle::Accept => self.offer(said, "The sender's bundle is taken: its m-lines share one port."),
                Bundle::Offer => self.offer(said, "The receiver is offered a bundle."),
                Bundle::Require => self.offer(said, "As `offer`: without `a=bundle-only`."),
                Bundle::Strict => self.nothing(Some(said), "Bundles are read leniently."),
                Bundle::Reject => self.usual(said, "Bundles are not taken, nor any longer if they were before."),
            }
        }
    }

    fn interfaces(&mut self, interfaces: &Interfaces) {
        let Interfaces { from, to } = interfaces;
        for (name, key, whom) in [(from, "from", "sender"), (to, "to", "receiver")] {
            let Some(name) = name else { continue };
            let text = format!(
                "The {whom} is told addresses of this name; if the relay has none of it, as if none were named."
            );
            self.offer(format!("{key}-interface={name}"), text);
        }
    }

    fn learning(&mut self, learning: Option<EndpointLearning>, is_off: bool) {
        let Some(learning) = learning else { return };
        let said = format!("endpoint-learning={}", learning.as_str());
        match learning {
            EndpointLearning::Off => {
                self.offer(said, "No address is learnt from packets: media goes where the SDPs say.")
            }
            _ if is_off => self.nothing(Some(said), "`asymmetric` turns it off."),
            EndpointLearning::Immediate => {
                self.offer(said, "Without ICE, the address that the first packet comes from is learnt, and kept.");
            }
            EndpointLearning::Delayed => self.offer(
                said,
                "Without ICE, the address that the first packet comes from after three seconds of packets is learnt, \
                 and kept.",
            ),
            EndpointLearning::Heuristic => self.offer(
                said,
                "Without ICE, the address that is most like the one in the SDP is learnt from the packets of the first \
                 three seconds, and kept.",
            ),
        }
    }

    fn codecs(&mut self, codecs: &Codecs) {
        let Codecs { strip, except, offer, transcode, mask, consume, accept, ignore, set } = codecs;
        let heeded = [
            ("strip", strip, "Not named to the receiver; if none would be left, all are."),
            ("except", except, "Named in spite of `strip` and `mask`."),
            ("offer", offer, "Named in spite of `strip`, first, in this order."),
            ("ignore", ignore, "As if the sender had not named them."),
        ];
        for (list, codecs, text) in heeded {
            if !codecs.is_empty() {
                self.does(said_of(list, codecs), text);
            }
        }
        for (list, codecs) in [("mask", mask), ("consume", consume)] {
            if !codecs.is_empty() {
                self.offer(
                    said_of(list, codecs),
                    "Not named to the receiver; nothing is transcoded, so not used at all.",
                );
            }
        }
        for (list, codecs) in [("transcode", transcode), ("accept", accept), ("set", set)] {
            self.nothing((!codecs.is_empty()).then(|| said_of(list, codecs)), NO_TRANSCODING);
        }
    }

    fn replaced(&mut self, replace: Set<Replace>) {
        for (name, word) in words_of(replace) {
            let text = match word {
                Replace::Origin => "The address in `o=` becomes the relay's.",
                Replace::OriginFull => {
                    "User name and number in `o=` stay as the party was told them first, its address and version \
                     become the relay's."
                }
                Replace::SessionName => "`s=` stays as the party was told it first.",
                Replace::Username => "The user name in `o=` stays as the party was told it first.",
                Replace::SdpVersion => "The version in `o=` becomes ours: it counts up where something else changes.",
                Replace::ForceIncrement => "The version in `o=` becomes ours: it counts up each time.",
                Replace::ZeroAddress => {
                    "`0.0.0.0` and `::` in `c=`, by which a call is held, become the relay's address."
                }
            };
            self.does(format!("replace-{name}"), text);
        }
    }

    fn extmap(&mut self, extmap: &Extmap) {
        let Extmap { strip, mask } = extmap;
        let said = |list, uris: &[String]| (!uris.is_empty()).then(|| format!("extmap {list}=[{}]", uris.join(" ")));
        if let Some(said) = said("strip", strip) {
            self.does(said, "These header extensions (RFC 8285) are not passed on, nor told.");
        }
        if let Some(said) = said("mask", mask) {
            let text =
                "These header extensions (RFC 8285) are taken from the sender, and not passed on to the receiver.";
            self.offer(said, text.to_owned());
        }
    }

    fn attributes(&mut self, attributes: &SdpAttributes) {
        let SdpAttributes { session, audio, video } = attributes;
        for (part, changes) in [("global", session), ("audio", audio), ("video", video)] {
            let AttributeChanges { add, remove, substitute } = changes;
            for line in remove {
                self.does(
                    format!("sdp-attr {part} remove {line}"),
                    "Attributes that are this, or begin so, are taken out.",
                );
            }
            for (from, to) in substitute {
                self.does(format!("sdp-attr {part} substitute {from}>{to}"), "The first becomes the second.");
            }
            for line in add {
                self.does(format!("sdp-attr {part} add {line}"), format!("`a={line}` is added."));
            }
        }
    }

    fn flags(&mut self, flags: Set<Flag>) {
        for (_, flag) in words_of(flags).into_iter().filter(|(_, flag)| *flag != Flag::WebRtc) {
            self.flag(flag);
        }
    }

    fn flag(&mut self, flag: Flag) {
        let (effect, text) = flags::effect(flag, self.side);
        self.notes.push(Note::new(flag.as_str(), effect, text));
    }
}

/// Those of a set, each by its usual spelling.
fn words_of<T: Words>(set: Set<T>) -> Vec<(&'static str, T)> {
    let all = T::WORDS.iter().copied();
    all.filter(|(name, word)| set.has(*word) && word.as_str() == *name).collect()
}

fn names(suites: &[SrtpSuite]) -> String {
    suites.iter().map(|suite| suite.as_str()).collect::<Vec<_>>().join(";")
}

fn said_of(list: &str, codecs: &[CodecMatch]) -> String {
    let name = |one: &CodecMatch| match one {
        CodecMatch::All => "all".to_owned(),
        CodecMatch::Full => "full".to_owned(),
        CodecMatch::Codec(CodecName { name, clock_rate, channels, .. }) => {
            let number = |number: &Option<u32>| number.map_or_else(String::new, |number| format!("/{number}"));
            format!("{name}{}{}", number(clock_rate), number(channels))
        }
    };
    format!("codec {list}=[{}]", codecs.iter().map(name).collect::<Vec<_>>().join(" "))
}
