//! How keys and flags are read, wherever in a request they stand.

use std::borrow::Cow;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::finding::{Finding, MAX_FINDINGS, shortened};
use super::flag::{self, Flag};
use super::keys::{self, KEYS};
use super::options::Switch;
use super::rtpp_flags::{RtppFlags, Word, unescaped};
use super::said::Said;
use super::words::{Set, Words, after, same};
use super::{Kind, contradiction};
use crate::{Dictionary, Value};

/// Members of a list that are taken.
pub(super) const MAX_MEMBERS: usize = 64;

/// Reads one request.
pub(super) struct Reader {
    pub(super) kind: Kind,
    /// The command's name.
    command: &'static str,
    pub(super) said: Said,
    findings: Vec<Finding>,
}

impl Reader {
    pub(super) fn read(command: &'static str, kind: Kind, dictionary: &Dictionary<'_>) -> (Said, Vec<Finding>) {
        let mut reader = Self { kind, command, said: Said::default(), findings: Vec::new() };
        for (key, value) in dictionary.iter() {
            let key = String::from_utf8_lossy(key);
            if same("rtpp-flags", &key) {
                reader.each("rtpp-flags", value, Self::rtpp_flags);
            } else {
                reader.key(&key, value);
            }
        }
        contradiction::settle(&mut reader);
        (reader.said, reader.findings)
    }

    /// Each word counts as if it were a key or a flag of the request.
    fn rtpp_flags(&mut self, text: &str) {
        for word in RtppFlags::new(text) {
            match word {
                Word::Flag(flag) => self.flag(flag),
                // The proxy has put it where it belongs.
                Word::Key(key, _) if same("via-branch", key) => {}
                Word::Key(key, value) => self.key(key, &value),
                Word::Malformed => {
                    self.find(Finding::BadValue { key: "rtpp-flags", value: "brackets that are not closed".into() });
                }
            }
        }
    }

    /// A key with its value.
    fn key(&mut self, said: &str, value: &Value<'_>) {
        if let Some(key) = KEYS.iter().find(|key| key.names.iter().any(|name| same(name, said))) {
            let name = key.names[0];
            match (key.is_heeded_by)(self.kind) {
                true => (key.read)(self, name, value),
                false => self.no_effect(name),
            }
        } else if let Some(flag) = known_flag(said) {
            match spoken(value).and_then(|word| Switch::find(&word)) {
                Some(Switch::On) => self.flag(flag),
                Some(Switch::Off) => {}
                None => self.bad(flag, value),
            }
        } else if keys::ELSEWHERE.iter().any(|key| same(key, said)) {
            self.no_effect(said);
        } else if keys::UNSUPPORTED.iter().any(|key| same(key, said))
            || keys::UNSUPPORTED_PREFIXES.iter().any(|prefix| after(said, prefix).is_some())
        {
            self.unsupported(said);
        } else {
            self.find(Finding::UnknownKey(shortened(said)));
        }
    }

    /// A flag.
    pub(super) fn flag(&mut self, said: &str) {
        if let Some(flag) = Flag::find(said) {
            match flag.is_heeded_by(self.kind) {
                true => self.said.options.flags.insert(flag),
                false => self.no_effect(flag.as_str()),
            }
        } else if let Some((_, path, value)) = flag::VALUES.iter().find(|(flag, ..)| same(flag, said)) {
            self.value_at(path, value);
        } else if let Some((path, value)) =
            flag::PREFIXES.iter().find_map(|(prefix, path)| Some((path, after(said, prefix)?)))
        {
            self.value_at(path, &unescaped(value));
        } else if flag::UNSUPPORTED.iter().any(|flag| same(flag, said)) {
            self.unsupported(said);
        } else {
            self.find(Finding::UnknownFlag(shortened(said)));
        }
    }

    /// A value of a key, or of a dictionary in it.
    fn value_at(&mut self, path: &[&'static str], value: &str) {
        let nest = |value, key: &&'static str| Dictionary::new().with(key, value).into();
        self.key(path[0], &path[1..].iter().rev().fold(Value::from(value), nest));
    }

    /// Takes the value of a key that has one.
    pub(super) fn put<T: PartialEq>(&mut self, key: &'static str, slot: fn(&mut Said) -> &mut Option<T>, value: T) {
        let slot = slot(&mut self.said);
        let repeated = slot.as_ref().is_some_and(|before| *before != value);
        *slot = Some(value);
        if repeated {
            self.find(Finding::Repeated(key));
        }
    }

    /// Takes a text; an empty one is none.
    pub(super) fn text(&mut self, key: &'static str, value: &Value<'_>, slot: fn(&mut Said) -> &mut Option<String>) {
        match only(value) {
            Some(text) if text.is_empty() => {}
            Some(text) => self.put(key, slot, text.into_owned()),
            None => self.bad(key, value),
        }
    }

    /// Takes a number from a range.
    pub(super) fn number<T: PartialEq + TryFrom<i64>>(
        &mut self,
        key: &'static str,
        value: &Value<'_>,
        range: RangeInclusive<i64>,
        slot: fn(&mut Said) -> &mut Option<T>,
    ) {
        let number = only(value).and_then(|digits| digits.parse().ok()).filter(|number| range.contains(number));
        match number.and_then(|number| T::try_from(number).ok()) {
            Some(number) => self.put(key, slot, number),
            None => self.bad(key, value),
        }
    }

    /// Takes an address.
    pub(super) fn address(&mut self, key: &'static str, value: &Value<'_>, slot: fn(&mut Said) -> &mut Option<IpAddr>) {
        match only(value).and_then(|text| parse_address(&text)) {
            Some(address) => self.put(key, slot, address),
            None => self.bad(key, value),
        }
    }

    /// Takes the word of a key that has one.
    pub(super) fn word<T: Words>(
        &mut self,
        key: &'static str,
        value: &Value<'_>,
        slot: fn(&mut Said) -> &mut Option<T>,
    ) {
        self.each(key, value, |reader, said| match T::find(said) {
            Some(word) => reader.put(key, slot, word),
            None => reader.unknown_member(key, said),
        });
    }

    /// Takes the words of a key that has several.
    pub(super) fn words<T: Words>(&mut self, key: &'static str, value: &Value<'_>, slot: fn(&mut Said) -> &mut Set<T>) {
        self.each(key, value, |reader, said| match T::find(said) {
            Some(word) => slot(&mut reader.said).insert(word),
            None => reader.unknown_member(key, said),
        });
    }

    /// Takes members of a list, each as `take` reads it.
    pub(super) fn list<T: PartialEq>(
        &mut self,
        key: &'static str,
        value: &Value<'_>,
        take: impl Fn(&Value<'_>) -> Option<T>,
        slot: impl Fn(&mut Said) -> &mut Vec<T>,
    ) {
        for member in value.members() {
            let Some(taken) = take(member) else {
                self.bad(key, member);
                continue;
            };
            let list = slot(&mut self.said);
            if list.contains(&taken) {
                continue;
            }
            if list.len() == MAX_MEMBERS {
                return self.find(Finding::TooMany(key));
            }
            list.push(taken);
        }
    }

    /// Reads each text of a list.
    pub(super) fn each(&mut self, key: &'static str, value: &Value<'_>, read: impl Fn(&mut Self, &str)) {
        for member in value.members() {
            match spoken(member) {
                Some(text) => read(self, &text),
                None => self.bad(key, member),
            }
        }
    }

    /// Reads each entry of a dictionary, or of several.
    pub(super) fn entries(&mut self, key: &'static str, value: &Value<'_>, read: impl Fn(&mut Self, &str, &Value<'_>)) {
        for member in value.members() {
            match member.dictionary() {
                Some(dictionary) => {
                    dictionary.iter().for_each(|(name, value)| read(self, &String::from_utf8_lossy(name), value));
                }
                None => self.bad(key, member),
            }
        }
    }

    pub(super) fn unknown_member(&mut self, key: &'static str, member: &str) {
        self.find(Finding::UnknownMember { key, member: shortened(member) });
    }

    pub(super) fn bad(&mut self, key: &'static str, value: &Value<'_>) {
        let value = match value {
            Value::Integer(number) => number.to_string(),
            Value::Bytes(bytes) => shortened(&String::from_utf8_lossy(bytes)),
            Value::List(_) => "a list".to_owned(),
            Value::Dictionary(_) => "a dictionary".to_owned(),
        };
        self.find(Finding::BadValue { key, value });
    }

    pub(super) fn no_effect(&mut self, said: &str) {
        self.find(Finding::NoEffect { said: shortened(said), command: self.command });
    }

    pub(super) fn unsupported(&mut self, said: &str) {
        self.find(Finding::Unsupported(shortened(said)));
    }

    /// Keeps a finding, once. Contradictions are as few as there are keys, so they have no bound of their own.
    pub(super) fn find(&mut self, finding: Finding) {
        let has_room = self.findings.len() < MAX_FINDINGS || finding.is_contradiction();
        if has_room && !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// A flag's usual spelling.
fn known_flag(said: &str) -> Option<&'static str> {
    let values = flag::VALUES.iter().map(|(flag, ..)| *flag);
    let flags = Flag::WORDS.iter().map(|(flag, _)| *flag);
    flags.chain(values).chain(flag::UNSUPPORTED.iter().copied()).find(|flag| same(flag, said))
}

/// A text, or a number as one.
pub(super) fn spoken<'a>(value: &'a Value<'_>) -> Option<Cow<'a, str>> {
    match value {
        Value::Integer(number) => Some(Cow::Owned(number.to_string())),
        Value::Bytes(_) => value.text().map(Cow::Borrowed),
        Value::List(_) | Value::Dictionary(_) => None,
    }
}

/// The same of a list of one.
pub(super) fn only<'a>(value: &'a Value<'_>) -> Option<Cow<'a, str>> {
    match value.members() {
        [member] => spoken(member),
        _ => None,
    }
}

/// An address, which may stand in brackets.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok()
}
