//! `rtpp-flags`: keys and flags in one string, as a proxy's script has them.
//!
//! `replace-origin ICE=force codec=[strip=[G722] transcode=[PCMA opus]]`: words between spaces. A word is a flag, or
//! `key=value`, whose value may be a list in square brackets. A list of such pairs is a dictionary.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::{Dictionary, MAX_DEPTH, Value};

/// One word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Word<'a> {
    /// It stands for itself.
    Flag(&'a str),
    /// It gives a key its value.
    Key(&'a str, Value<'a>),
    /// Brackets are not closed, or lie deeper in each other than [`MAX_DEPTH`]. It is the last one.
    Malformed,
}

/// The words of a string.
pub(super) struct RtppFlags<'a> {
    text: &'a str,
    at: usize,
}

/// See [`Word::Malformed`].
struct Malformed;

impl<'a> RtppFlags<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn pair(&mut self, key: &'a str) -> Result<Word<'a>, Malformed> {
        if self.skip("[") {
            return Ok(Word::Key(key, self.list(MAX_DEPTH)?));
        }
        Ok(Word::Key(key, Value::from(self.until(""))))
    }

    /// What stands in brackets, the first of which is behind us.
    fn list(&mut self, depth: usize) -> Result<Value<'a>, Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed)?;
        let (mut members, mut entries, mut are_pairs) = (Vec::new(), BTreeMap::new(), true);
        loop {
            self.until_not_space();
            if self.skip("]") {
                break;
            }
            if self.at == self.text.len() {
                return Err(Malformed);
            }
            if self.skip("[") {
                are_pairs = false;
                members.push(self.list(depth)?);
                continue;
            }
            let start = self.at;
            let key = self.until("=]");
            if !self.skip("=") {
                are_pairs = false;
                members.push(text(key));
                continue;
            }
            let value = if self.skip("[") { self.list(depth)? } else { text(self.until("]")) };
            let value = match entries.remove(key) {
                Some(before) => joined(before, value),
                None => value,
            };
            entries.insert(key, value);
            members.push(text(&self.text[start..self.at]));
        }
        if members.is_empty() || !are_pairs {
            return Ok(Value::List(members));
        }
        let mut dictionary = Dictionary::new();
        entries.into_iter().for_each(|(key, value)| dictionary.insert(key.as_bytes(), value));
        Ok(dictionary.into())
    }

    /// Goes on to a space or one of these signs, or to the end, and returns what is passed.
    fn until(&mut self, signs: &str) -> &'a str {
        let rest = &self.text[self.at..];
        let length = rest.find(|sign: char| sign.is_ascii_whitespace() || signs.contains(sign)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn until_not_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_ascii_start().len();
    }

    fn skip(&mut self, sign: &str) -> bool {
        let found = self.text[self.at..].starts_with(sign);
        self.at += if found { sign.len() } else { 0 };
        found
    }
}

impl<'a> Iterator for RtppFlags<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        self.until_not_space();
        if self.at == self.text.len() {
            return None;
        }
        let name = self.until("=");
        if !self.skip("=") {
            return Some(Word::Flag(name));
        }
        let pair = self.pair(name);
        Some(pair.unwrap_or_else(|Malformed| {
            self.at = self.text.len();
            Word::Malformed
        }))
    }
}

/// What a flag or a list says where `=` and space part words: `--` is `=`, `..` is a space.
pub(super) fn unescaped(text: &str) -> Cow<'_, str> {
    if text.contains("--") || text.contains("..") {
        return Cow::Owned(text.replace("--", "=").replace("..", " "));
    }
    Cow::Borrowed(text)
}

fn text(text: &str) -> Value<'_> {
    match unescaped(text) {
        Cow::Borrowed(text) => Value::from(text),
        Cow::Owned(text) => Value::from(text),
    }
}

/// The members of both.
fn joined<'a>(one: Value<'a>, other: Value<'a>) -> Value<'a> {
    let members = |value| match value {
        Value::List(members) => members,
        Value::Integer(_) | Value::Bytes(_) | Value::Dictionary(_) => vec![value],
    };
    let mut joined = members(one);
    joined.extend(members(other));
    Value::List(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Word<'_>> {
        RtppFlags::new(text).collect()
    }

    fn only_value(text: &str) -> Value<'_> {
        match &words(text)[..] {
            [Word::Key(_, value)] => value.clone(),
            words => panic!("{text} is {words:?}"),
        }
    }

    #[test]
    fn words_are_flags_or_keys_with_values() {
        assert_eq!(
            words("  replace-origin\r\n\tICE=force  label= from-tag=a--b..c="),
            [
                Word::Flag("replace-origin"),
                Word::Key("ICE", "force".into()),
                Word::Key("label", "".into()),
                Word::Key("from-tag", "a--b..c=".into()),
            ]
        );
        assert_eq!(words(" "), []);
    }

    #[test]
    fn brackets_hold_lists_and_dictionaries() {
        assert_eq!(only_value("direction=[pub priv]"), vec!["pub", "priv"].into());
        assert_eq!(only_value("direction=[]"), Value::List(vec![]));
        let codecs = Dictionary::new().with("strip", vec!["G722"]).with("transcode", vec!["PCMA", "opus"]);
        assert_eq!(only_value("codec=[strip=[G722] transcode=[ PCMA opus ]]"), codecs.into());
        assert_eq!(only_value("x=[[a b] c]"), Value::List(vec![vec!["a", "b"].into(), "c".into()]));
        assert_eq!(words("a=[b]c").len(), 2, "what follows a bracket is a word of its own");
    }

    #[test]
    fn in_brackets_the_signs_that_part_words_are_written_as_two_others() {
        assert_eq!(only_value("add=[fmtp:96..x--1 y]"), vec!["fmtp:96 x=1", "y"].into());
        assert_eq!(only_value("add=[fmtp:96..x=1 y]"), vec!["fmtp:96 x=1", "y"].into());
    }

    #[test]
    fn a_key_that_is_repeated_in_brackets_has_all_its_values() {
        let codecs = Dictionary::new().with("strip", vec!["a", "b", "c"]);
        assert_eq!(only_value("codec=[strip=a strip=[b c]]"), codecs.into());
    }

    #[test]
    fn brackets_that_are_open_or_too_deep_end_the_string() {
        assert_eq!(words("a codec=[strip=[b] c"), [Word::Flag("a"), Word::Malformed]);
        let nested = |depth: usize| format!("x={}{} y", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(words(&nested(MAX_DEPTH)).len(), 2);
        assert_eq!(words(&nested(MAX_DEPTH + 1)), [Word::Malformed]);
        assert_eq!(words(&nested(100_000)), [Word::Malformed]);
    }
}
