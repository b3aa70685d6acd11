//! What a client asks of a relay.
//!
//! [`Request::read`] makes a typed request of a dictionary, whichever of its spellings a client uses: case, space, `-`
//! and `_` make no difference in keys, flags and their words; a single value stands for a list of one, and a string of
//! digits for a number; flags may stand in `flags`, in the string `rtpp-flags`, or as keys of their own. What is odd is
//! never refused for that, but told as a [`Finding`].
//!
//! ```
//! use control::request::{Action, Flag, Ice, Request};
//! use control::Dictionary;
//!
//! let offer = Dictionary::new()
//!     .with("command", "offer")
//!     .with("call-id", "a84b4c76e66710")
//!     .with("from-tag", "1928301774")
//!     .with("sdp", "v=0\r\n")
//!     .with("rtpp-flags", "trust-address ICE=remove codec=[strip=[G722]]");
//! let Action::Offer { exchange, .. } = Request::read(&offer)?.action else { unreachable!() };
//! assert!(exchange.options.flags.has(Flag::TrustAddress));
//! assert_eq!(exchange.options.ice, Some(Ice::Remove));
//! # Ok::<(), control::request::RequestError>(())
//! ```

mod contradiction;
mod finding;
mod flag;
mod keys;
mod options;
mod reader;
mod rtpp_flags;
mod said;
#[cfg(test)]
mod tests;
mod words;

use std::net::IpAddr;
use std::time::Duration;

use model::DtmfDigit;
use thiserror::Error;

pub use finding::Finding;
pub use flag::Flag;
pub use options::{
    AddressFamily, AliasKey, AttributeChanges, Bundle, CodecMatch, CodecName, Codecs, DropTraffic, Dtls, DtlsReverse,
    EndpointLearning, Extmap, Ice, IceLite, Interfaces, MediaEcho, Options, Osrtp, Replace, RtcpMux, Sdes, SdesWord,
    SdpAttributes, SipMessage, Supports, Switch, Tos, Transport,
};
pub use words::{Set, Words};

use crate::Dictionary;
use reader::Reader;
use said::Said;
use words::words;

/// A request, and what is odd about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// What is to be done.
    pub action: Action,
    /// What is odd, each once.
    pub findings: Vec<Finding>,
}

/// What is to be done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Action {
    /// `ping`: to say that we are there.
    Ping,
    /// `offer`: to rewrite an offer, and set up media for it.
    Offer {
        /// The tag of the party that receives the offer, if it has one already.
        to_tag: Option<String>,
        /// The offer.
        exchange: Box<Exchange>,
    },
    /// `answer`: to rewrite an answer, and let media flow.
    Answer {
        /// The tag of the party that sends the answer.
        to_tag: String,
        /// The answer.
        exchange: Box<Exchange>,
    },
    /// `delete`: to end a call, or a branch of it.
    Delete(Delete),
    /// `query`: to tell what is known about a call.
    Query(Query),
    /// `rollback`: to take back an offer that is not answered.
    Rollback(Rollback),
    /// `list`: to tell so many calls' ids at most.
    List(u32),
    /// `statistics`: to tell what all calls come to.
    Statistics,
    /// `block media`, `silence media`, `block DTMF`: to hold back what a party sends.
    Block(Block),
    /// `unblock media`, `unsilence media`, `unblock DTMF`: to let it pass again.
    Unblock(Block),
    /// `play DTMF`: to press a key in the place of a party.
    PlayDtmf(PlayDtmf),
    /// A command that is known, and not done here.
    Unsupported(&'static str),
}

/// A description that passes from a party to another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exchange {
    /// The call.
    pub call_id: String,
    /// The tag of the party that sent the offer, also in the answer to it.
    pub from_tag: String,
    /// What tells the branches of a forked offer apart.
    pub via_branch: Option<String>,
    /// The label that the party of the from-tag gets.
    pub label: Option<String>,
    /// The label that the other party gets.
    pub to_label: Option<String>,
    /// The description. Bytes that are not UTF-8 are U+FFFD.
    pub sdp: String,
    /// What is to be done with it.
    pub options: Options,
}

/// The end of a call, or of a branch of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delete {
    /// The call.
    pub call_id: String,
    /// The tag of the party that sent the offer. Without it the whole call ends.
    pub from_tag: Option<String>,
    /// The tag of the other party, which counts with [`Flag::ToTag`].
    pub to_tag: Option<String>,
    /// The branch.
    pub via_branch: Option<String>,
    /// How long the call may still be revived; otherwise as configured.
    pub delay: Option<Duration>,
    /// [`Flag::Fast`], [`Flag::Fatal`], [`Flag::ToTag`].
    pub flags: Set<Flag>,
}

/// A question about a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    /// The call.
    pub call_id: String,
    /// Only this party and its partners.
    pub from_tag: Option<String>,
    /// Only this party and its partners.
    pub to_tag: Option<String>,
}

/// An offer that came to nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rollback {
    /// The call.
    pub call_id: String,
    /// The tag of a party of the dialogue.
    pub from_tag: String,
    /// The tag of the other.
    pub to_tag: String,
    /// The branch, which has to be that of one of them.
    pub via_branch: Option<String>,
    /// Only the offer of this generation; otherwise any that is open.
    pub generation: Option<u64>,
}

/// What is held back, and from whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Block {
    /// What is held back.
    pub what: Blocked,
    /// Of whom.
    pub of: Selection,
    /// What comes in the place of DTMF.
    pub dtmf_security: Option<DtmfSecurity>,
}

/// What can be held back.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Blocked {
    /// All media.
    Media,
    /// Sound, which is replaced by silence.
    Sound,
    /// Key presses.
    Dtmf,
}

words! {
    /// What comes in the place of DTMF that is held back; otherwise as with `drop`.
    pub DtmfSecurity {
        /// Nothing.
        Drop = "drop",
        /// Silence.
        Silence = "silence",
        /// A tone.
        Tone = "tone",
        /// Other key presses, at random.
        Random = "random",
        /// The key 0.
        Zero = "zero",
        /// Another key press.
        Dtmf = "DTMF",
        /// The key presses: they are not held back.
        Off = "off",
    }
}

/// A key press in the place of a party.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlayDtmf {
    /// The party.
    pub of: Selection,
    /// The key.
    pub digit: DtmfDigit,
    /// How long it is pressed: 100 to 5,000 ms.
    pub duration: Duration,
    /// How long none is pressed after it: 100 to 5,000 ms.
    pub pause: Duration,
    /// Its power below 0 dBm0: 0 to 63 dB.
    pub volume: u8,
}

/// The parties of a call that a command is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selection {
    /// The call.
    pub call_id: String,
    /// Whose media.
    pub party: Party,
    /// Only what goes to this party.
    pub towards: Option<Towards>,
    /// More parties.
    pub all: Option<All>,
    /// The label that the party gets.
    pub set_label: Option<String>,
}

/// Whose media.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Party {
    /// Everybody's.
    Everybody,
    /// The party with this label.
    Label(String),
    /// The party that announced this address.
    Address(IpAddr),
    /// The party with this tag.
    Tag(String),
}

/// To whom media goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Towards {
    /// The party with this label.
    Label(String),
    /// The party with this tag.
    Tag(String),
}

words! {
    /// More parties, or flows between them.
    pub All {
        /// All.
        All = "all",
        /// None.
        None = "none",
        /// Those in offers and answers.
        OfferAnswer = "offer-answer",
        /// All but those.
        ExceptOfferAnswer = "except-offer-answer",
        /// All flows.
        Flows = "flows",
    }
}

/// Why a request is refused. The texts are those that others know.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RequestError {
    /// There is no `command`.
    #[error("Dictionary contains no key \"command\"")]
    NoCommand,
    /// There is no such command.
    #[error("Unrecognized command")]
    UnknownCommand,
    /// There is no `sdp`.
    #[error("No SDP body in message")]
    NoSdp,
    /// There is no `call-id`.
    #[error("No call-id in message")]
    NoCallId,
    /// There is no `from-tag`.
    #[error("No from-tag in message")]
    NoFromTag,
    /// There is no `to-tag`.
    #[error("No to-tag in message")]
    NoToTag,
    /// There is no `code`, or none of a key.
    #[error("No DTMF code in message")]
    NoDtmfCode,
}

/// The commands that are done here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Ping,
    Offer,
    Answer,
    Delete,
    Query,
    Rollback,
    List,
    Statistics,
    Block(Blocked),
    Unblock(Blocked),
    PlayDtmf,
}

/// All that are known; the spaces are part of their names.
const COMMANDS: &[(&str, Option<Kind>)] = &[
    ("ping", Some(Kind::Ping)),
    ("offer", Some(Kind::Offer)),
    ("answer", Some(Kind::Answer)),
    ("delete", Some(Kind::Delete)),
    ("query", Some(Kind::Query)),
    ("rollback", Some(Kind::Rollback)),
    ("list", Some(Kind::List)),
    ("statistics", Some(Kind::Statistics)),
    ("block media", Some(Kind::Block(Blocked::Media))),
    ("unblock media", Some(Kind::Unblock(Blocked::Media))),
    ("silence media", Some(Kind::Block(Blocked::Sound))),
    ("unsilence media", Some(Kind::Unblock(Blocked::Sound))),
    ("block DTMF", Some(Kind::Block(Blocked::Dtmf))),
    ("unblock DTMF", Some(Kind::Unblock(Blocked::Dtmf))),
    ("play DTMF", Some(Kind::PlayDtmf)),
    ("play media", None),
    ("stop media", None),
    ("start recording", None),
    ("stop recording", None),
    ("pause recording", None),
    ("start forwarding", None),
    ("stop forwarding", None),
    ("publish", None),
    ("subscribe request", None),
    ("subscribe answer", None),
    ("unsubscribe", None),
    ("connect", None),
    ("inject start", None),
    ("inject stop", None),
    ("create", None),
    ("create answer", None),
    ("mesh", None),
    ("transform", None),
    ("cli", None),
];

/// Calls that `list` tells where it is not told how many.
const DEFAULT_LIMIT: u32 = 32;

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// There is no such command, or it lacks what it is about.
    pub fn read(dictionary: &Dictionary<'_>) -> Result<Self, RequestError> {
        let (action, findings) = Self::read_with_findings(dictionary);
        Ok(Self { action: action?, findings })
    }

    /// Reads a request, whose findings are told also where it is refused.
    pub fn read_with_findings(dictionary: &Dictionary<'_>) -> (Result<Action, RequestError>, Vec<Finding>) {
        let (name, kind) = match command(dictionary) {
            Ok((name, Some(kind))) => (name, kind),
            Ok((name, None)) => return (Ok(Action::Unsupported(name)), Vec::new()),
            Err(error) => return (Err(error), Vec::new()),
        };
        let (said, findings) = Reader::read(name, kind, dictionary);
        (said.into_action(kind), findings)
    }
}

impl Action {
    /// The call it is about; `None`: the relay as a whole.
    pub fn call_id(&self) -> Option<&str> {
        match self {
            Self::Offer { exchange, .. } | Self::Answer { exchange, .. } => Some(&exchange.call_id),
            Self::Delete(Delete { call_id, .. })
            | Self::Query(Query { call_id, .. })
            | Self::Rollback(Rollback { call_id, .. }) => Some(call_id),
            Self::Block(Block { of, .. }) | Self::Unblock(Block { of, .. }) | Self::PlayDtmf(PlayDtmf { of, .. }) => {
                Some(&of.call_id)
            }
            Self::Ping | Self::List(_) | Self::Statistics | Self::Unsupported(_) => None,
        }
    }
}

/// The name of the command in a request.
///
/// # Errors
///
/// There is none that is known.
pub fn command_name(dictionary: &Dictionary<'_>) -> Result<&'static str, RequestError> {
    command(dictionary).map(|(name, _)| name)
}

/// The commands that heed a key or a flag.
pub(crate) fn heeded_by(said: &str) -> Vec<&'static str> {
    let known = COMMANDS.iter().filter_map(|(name, kind)| Some((*name, (*kind)?)));
    let key = keys::KEYS.iter().find(|key| key.names.iter().any(|name| words::same(name, said)));
    match (key, Flag::find(said)) {
        // Of the same name there may be a key, which all commands heed.
        (_, Some(flag)) => known.filter(|(_, kind)| flag.is_heeded_by(*kind)).map(|(name, _)| name).collect(),
        (Some(key), None) => known.filter(|(_, kind)| (key.is_heeded_by)(*kind)).map(|(name, _)| name).collect(),
        // Values of a key: what is not for one of them is for the other.
        (None, None) if said == "transport protocol=accept" => vec!["answer"],
        (None, None) if said == "DTLS=passive" || said.starts_with("codec ") => vec!["offer"],
        (None, None) => Vec::new(),
    }
}

/// What is done where two wishes contradict each other.
pub(crate) fn done_instead(one: &str, other: &str) -> &'static str {
    let row = contradiction::CONTRADICTIONS.iter().find(|(a, b, _)| (a.0, b.0) == (one, other));
    row.map_or("", |(_, _, instead)| instead)
}

/// Keys and flags by their usual names.
pub(crate) fn known_words() -> impl Iterator<Item = &'static str> {
    let keys = keys::KEYS.iter().flat_map(|key| key.names.iter().copied());
    let flags = Flag::WORDS.iter().map(|(name, _)| *name).chain(flag::VALUES.iter().map(|(name, ..)| *name));
    keys.chain(flags)
}

fn command(dictionary: &Dictionary<'_>) -> Result<(&'static str, Option<Kind>), RequestError> {
    let command = dictionary.get("command").ok_or(RequestError::NoCommand)?;
    COMMANDS.iter().find(|(name, _)| command.text() == Some(name)).copied().ok_or(RequestError::UnknownCommand)
}

impl Said {
    fn into_action(mut self, kind: Kind) -> Result<Action, RequestError> {
        Ok(match kind {
            Kind::Ping => Action::Ping,
            Kind::Offer => Action::Offer { to_tag: self.to_tag.take(), exchange: self.into_exchange()? },
            Kind::Answer => {
                let to_tag = self.to_tag.take();
                let exchange = self.into_exchange()?;
                Action::Answer { to_tag: to_tag.ok_or(RequestError::NoToTag)?, exchange }
            }
            Kind::Delete => Action::Delete(self.into_delete()?),
            Kind::Query => {
                let call_id = self.call_id.ok_or(RequestError::NoCallId)?;
                Action::Query(Query { call_id, from_tag: self.from_tag, to_tag: self.to_tag })
            }
            Kind::Rollback => Action::Rollback(self.into_rollback()?),
            Kind::List => Action::List(self.limit.unwrap_or(DEFAULT_LIMIT)),
            Kind::Statistics => Action::Statistics,
            Kind::Block(what) => Action::Block(self.into_block(what)?),
            Kind::Unblock(what) => Action::Unblock(self.into_block(what)?),
            Kind::PlayDtmf => Action::PlayDtmf(self.into_play_dtmf()?),
        })
    }

    fn into_exchange(self) -> Result<Box<Exchange>, RequestError> {
        let sdp = self.sdp.ok_or(RequestError::NoSdp)?;
        Ok(Box::new(Exchange {
            call_id: self.call_id.ok_or(RequestError::NoCallId)?,
            from_tag: self.from_tag.ok_or(RequestError::NoFromTag)?,
            via_branch: self.via_branch,
            label: self.label.or(self.set_label),
            to_label: self.to_label,
            sdp,
            options: self.options,
        }))
    }

    fn into_rollback(self) -> Result<Rollback, RequestError> {
        Ok(Rollback {
            call_id: self.call_id.ok_or(RequestError::NoCallId)?,
            from_tag: self.from_tag.ok_or(RequestError::NoFromTag)?,
            to_tag: self.to_tag.ok_or(RequestError::NoToTag)?,
            via_branch: self.via_branch,
            generation: self.generation.map(u64::from),
        })
    }

    fn into_delete(self) -> Result<Delete, RequestError> {
        Ok(Delete {
            call_id: self.call_id.ok_or(RequestError::NoCallId)?,
            from_tag: self.from_tag,
            to_tag: self.to_tag,
            via_branch: self.via_branch,
            delay: self.delete_delay.map(|seconds| Duration::from_secs(seconds.into())),
            flags: self.options.flags,
        })
    }

    fn into_block(self, what: Blocked) -> Result<Block, RequestError> {
        let dtmf_security = self.dtmf_security;
        // A proxy sends a tag with every request, so here it says nothing by itself.
        let is_directional = self.options.flags.has(Flag::Directional);
        Ok(Block { what, of: self.into_selection(is_directional)?, dtmf_security })
    }

    fn into_play_dtmf(self) -> Result<PlayDtmf, RequestError> {
        let milliseconds = |said: Option<u16>, otherwise| Duration::from_millis(said.unwrap_or(otherwise).into());
        let (digit, volume) = (self.digit, self.volume.unwrap_or(-8).unsigned_abs());
        let (duration, pause) = (milliseconds(self.duration, 250), milliseconds(self.pause, 100));
        let of = self.into_selection(true)?;
        Ok(PlayDtmf { of, digit: digit.ok_or(RequestError::NoDtmfCode)?, duration, pause, volume })
    }

    fn into_selection(self, tag_selects: bool) -> Result<Selection, RequestError> {
        let by_label = self.label.map(Party::Label);
        let by_address = self.address.map(Party::Address);
        let by_tag = self.from_tag.filter(|_| tag_selects).map(Party::Tag);
        Ok(Selection {
            call_id: self.call_id.ok_or(RequestError::NoCallId)?,
            party: by_label.or(by_address).or(by_tag).unwrap_or(Party::Everybody),
            towards: self.to_label.map(Towards::Label).or(self.to_tag.map(Towards::Tag)),
            all: self.all,
            set_label: self.set_label,
        })
    }
}
