//! What a request comes to, in words, for whoever writes a proxy's script.
//!
//! [`explain`] says what each key and flag does, which do nothing, and which are odd, each with its reason; [`changes`] what
//! became of an SDP. Both speak of what [`calls`](crate::calls) does, to which tests hold them.
//!
//! ```
//! use control::explain::{Effect, explain};
//! use control::{Dictionary, Request};
//!
//! let offer = Dictionary::new().with("command", "offer").with("call-id", "1").with("from-tag", "a").with("sdp", "v=0\r\n");
//! let request = Request::read(&offer.with("rtpp-flags", "ICE=remove no-port-latching replace-orign"))?;
//! let explanation = explain(&request);
//! assert!(explanation.notes.iter().any(|note| note.said == "ICE=remove" && note.effect == Effect::Does));
//! assert!(explanation.notes.iter().any(|note| note.said == "no port latching" && note.effect == Effect::Nothing));
//! assert!(explanation.oddities[0].what.contains("orign"));
//! # Ok::<(), control::request::RequestError>(())
//! ```
//!
//! - `flags`, `wishes`: what an offer or an answer asks for
//! - `oddities`: why a finding is one
//! - [`changes`]: an SDP before and after

pub mod changes;
mod flags;
mod oddities;
#[cfg(test)]
mod tests;
mod wishes;

use crate::request::{
    Action, All, Block, Blocked, Delete, DtmfSecurity, Exchange, Flag, Party, PlayDtmf, Query, Request, Rollback,
    Selection, Towards, Words,
};

pub use oddities::Oddity;

/// A request in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// What is to be done, as a sentence.
    pub summary: String,
    /// What was said, each with what comes of it.
    pub notes: Vec<Note>,
    /// What comes of what was not said.
    pub otherwise: Vec<&'static str>,
    /// What is odd, each with its reason.
    pub oddities: Vec<Oddity>,
}

/// Something that was said, and what comes of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    /// As one would write it.
    pub said: String,
    /// Whether anything comes of it.
    pub effect: Effect,
    /// What, or why nothing.
    pub text: String,
}

/// Whether anything comes of what was said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// It changes what is done.
    Does,
    /// It asks for what is done anyway.
    Usual,
    /// It changes nothing.
    Nothing,
}

/// Which description an exchange carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Offer,
    Answer,
}

impl Explanation {
    /// Says whether all that was asked for is understood, and done.
    pub fn is_clean(&self) -> bool {
        self.oddities.is_empty() && self.notes.iter().all(|note| note.effect != Effect::Nothing)
    }
}

impl Note {
    fn new(said: impl Into<String>, effect: Effect, text: impl Into<String>) -> Self {
        Self { said: said.into(), effect, text: text.into() }
    }
}

/// Says what a request comes to.
pub fn explain(request: &Request) -> Explanation {
    let (summary, notes, otherwise) = match &request.action {
        Action::Ping => ("The relay says that it is there.".to_owned(), Vec::new(), Vec::new()),
        Action::Offer { to_tag, exchange } => of_offer(to_tag.as_deref(), exchange),
        Action::Answer { to_tag, exchange } => of_answer(to_tag, exchange),
        Action::Delete(delete) => of_delete(delete),
        Action::Query(query) => (of_query(query), Vec::new(), Vec::new()),
        Action::Rollback(rollback) => (of_rollback(rollback), Vec::new(), Vec::new()),
        Action::List(limit) => (format!("The ids of {limit} calls at most are told."), Vec::new(), Vec::new()),
        Action::Statistics => ("It is told what all calls come to.".to_owned(), Vec::new(), Vec::new()),
        Action::Block(block) => of_block(block, true),
        Action::Unblock(block) => of_block(block, false),
        Action::PlayDtmf(press) => of_press(press),
        Action::Unsupported(name) => unsupported((*name).to_owned()),
    };
    Explanation { summary, notes, otherwise, oddities: oddities::of(&request.findings) }
}

type Told = (String, Vec<Note>, Vec<&'static str>);

fn of_offer(to_tag: Option<&str>, exchange: &Exchange) -> Told {
    let Exchange { call_id, from_tag, options, .. } = exchange;
    if options.flags.has(Flag::Fragment) {
        let text = format!("Candidates of {from_tag} in call {call_id} are taken; the reply has no SDP.");
        return (text, Vec::new(), Vec::new());
    }
    let to = to_tag.map_or_else(|| "a party that has no tag yet".to_owned(), ToOwned::to_owned);
    let text = format!(
        "The SDP of {from_tag}, the sender, is rewritten for {to}, the receiver, in call {call_id}: both are told the \
         relay's addresses, ports, candidates, keys and fingerprints, and never each other's."
    );
    let notes = [named(exchange), wishes::of(options, Side::Offer)].concat();
    (text, notes, wishes::otherwise(options))
}

fn of_answer(to_tag: &str, exchange: &Exchange) -> Told {
    let Exchange { call_id, from_tag, options, .. } = exchange;
    let text = format!(
        "The SDP of {to_tag}, the sender, is rewritten for {from_tag}, the receiver, who made the offer in call {call_id}: \
         profile, ICE, keys and RTCP are as the receiver offered them, and media flows."
    );
    (text, [named(exchange), wishes::of(options, Side::Answer)].concat(), Vec::new())
}

/// By which names the parties go from now on.
fn named(exchange: &Exchange) -> Vec<Note> {
    let label = |key: &str, name: &Option<String>, whose: &str| {
        let name = name.as_ref()?;
        Some(Note::new(format!("{key}={name}"), Effect::Does, format!("{whose} can be named so in other commands.")))
    };
    let branch = exchange.via_branch.as_ref().map(|branch| {
        Note::new(format!("via-branch={branch}"), Effect::Does, "Each branch of a forked offer has ports of its own.")
    });
    let labels = [
        label("label", &exchange.label, "The party of the from-tag"),
        label("to-label", &exchange.to_label, "The other party"),
    ];
    branch.into_iter().chain(labels.into_iter().flatten()).collect()
}

fn of_delete(delete: &Delete) -> Told {
    let Delete { call_id, from_tag, to_tag, via_branch, delay, flags } = delete;
    let of = match (from_tag, to_tag, via_branch) {
        (None, _, _) => format!("Call {call_id} ends."),
        (Some(_), Some(tag), _) if flags.has(Flag::ToTag) => {
            format!("In call {call_id}, what {tag} takes part in ends.")
        }
        (Some(tag), _, Some(branch)) => {
            format!("In call {call_id}, branch {branch} ends, or what {tag} takes part in if there is no such branch.")
        }
        (Some(tag), _, None) => format!("In call {call_id}, what {tag} takes part in ends."),
    };
    let is_fast = flags.has(Flag::Fast);
    let when = match delay {
        _ if is_fast => "At once.".to_owned(),
        Some(delay) if delay.is_zero() => "At once.".to_owned(),
        Some(delay) => format!("The call may still be revived by an offer for {} s.", delay.as_secs()),
        None => "The call may still be revived by an offer for as long as `[ng] delete_delay` says.".to_owned(),
    };
    let does = |flag: Flag, text: &str| flags.has(flag).then(|| Note::new(flag.as_str(), Effect::Does, text));
    let notes = [
        does(Flag::Fast, "At once, and the reply has no statistics."),
        does(Flag::Fatal, "A call that is unknown is an error, not a warning."),
        does(Flag::ToTag, "The to-tag says which party."),
        does(Flag::Debug, "").map(|note| Note { effect: Effect::Nothing, text: flags::DEBUG.to_owned(), ..note }),
    ];
    (format!("{of} {when}"), notes.into_iter().flatten().collect(), Vec::new())
}

fn of_query(query: &Query) -> String {
    let of = query.from_tag.as_ref().or(query.to_tag.as_ref());
    let whose = of.map_or_else(String::new, |tag| format!(", of party {tag} and its partners alone"));
    format!("It is told what is known of call {}{whose}.", query.call_id)
}

fn of_rollback(rollback: &Rollback) -> String {
    let Rollback { call_id, from_tag, to_tag, generation, .. } = rollback;
    let which = generation.map_or_else(String::new, |generation| format!(", if it is of generation {generation}"));
    format!(
        "The offer between {from_tag} and {to_tag} that is not answered yet is taken back in call {call_id}{which}: what \
         their last answer came to stays."
    )
}

fn of_block(block: &Block, is_blocked: bool) -> Told {
    let what = match block.what {
        Blocked::Media => "All media",
        Blocked::Sound => "Sound",
        Blocked::Dtmf => "What is pressed on the keys (RFC 4733)",
    };
    let becomes = match (is_blocked, block.what) {
        (false, _) => "passes again, unless it is held back of the whole call, or of one party, by another request",
        (true, Blocked::Sound) => "is held back: G.711 and G.722 become silence, other codecs are left out",
        (true, Blocked::Media | Blocked::Dtmf) => "is held back",
    };
    let (whose, mut notes) = selected(&block.of);
    if let Some(all) = block.of.all.filter(|all| *all != All::None) {
        let (effect, text) = match all {
            All::All if !is_blocked => (Effect::Does, "Whatever was held back of this kind passes again."),
            All::All | All::None | All::OfferAnswer | All::ExceptOfferAnswer | All::Flows => {
                (Effect::Nothing, "Without a party that is named, all are meant anyway.")
            }
        };
        notes.push(Note::new(format!("all={}", all.as_str()), effect, text));
    }
    if let Some(label) = &block.of.set_label {
        let (effect, text) = match block.of.party {
            Party::Everybody => (Effect::Nothing, "No party is named that could be labelled."),
            Party::Label(_) | Party::Address(_) | Party::Tag(_) => {
                (Effect::Does, "The party can be named so in other commands.")
            }
        };
        notes.push(Note::new(format!("set-label={label}"), effect, text));
    }
    if let Some(security) = block.dtmf_security {
        let effect = if security == DtmfSecurity::Drop { Effect::Usual } else { Effect::Nothing };
        let said = format!("DTMF-security={}", security.as_str());
        notes.push(Note::new(said, effect, "What is held back is left out; nothing takes its place."));
    }
    (format!("{what} {whose} {becomes}."), notes, Vec::new())
}

fn unsupported(command: String) -> Told {
    let note = Note::new(command, Effect::Nothing, flags::NOT_YET);
    ("The relay answers `unsupported`.".to_owned(), vec![note], Vec::new())
}

fn of_press(press: &PlayDtmf) -> Told {
    let (whose, notes) = selected(&press.of);
    let (key, ms) = (char::from(press.digit), press.duration.as_millis());
    (format!("Key {key} is pressed for {ms} ms in the place {whose}; the others hear it."), notes, Vec::new())
}

/// Whose media is meant, and what of it does nothing.
fn selected(of: &Selection) -> (String, Vec<Note>) {
    let call = &of.call_id;
    let whose = match &of.party {
        Party::Everybody => format!("of everybody in call {call}"),
        Party::Label(label) => format!("of the party labelled {label} in call {call}"),
        Party::Address(address) => format!("of the party that announced {address} in call {call}"),
        Party::Tag(tag) => format!("of {tag} in call {call}"),
    };
    let nothing =
        |said: String| Note::new(said, Effect::Nothing, "It counts towards everybody: stox does not narrow it.");
    let towards = of.towards.as_ref().map(|towards| match towards {
        Towards::Label(label) => nothing(format!("to-label={label}")),
        Towards::Tag(tag) => nothing(format!("to-tag={tag}")),
    });
    (whose, towards.into_iter().collect())
}
