//! The words of the protocol, however they are spelled.

use std::fmt;
use std::marker::PhantomData;

/// Says whether a key, a flag or a word of ours is what was said: case, `-`, `_` and space make no difference.
pub(super) fn same(ours: &str, said: &str) -> bool {
    ours.len() == said.len() && begins(said, ours)
}

/// What follows a prefix of ours.
pub(super) fn after<'a>(said: &'a str, prefix: &str) -> Option<&'a str> {
    // What equals our ASCII is ASCII itself, so a character begins behind it.
    begins(said, prefix).then(|| &said[prefix.len()..])
}

fn begins(said: &str, ours: &str) -> bool {
    said.len() >= ours.len() && ours.bytes().zip(said.bytes()).all(|(ours, said)| fold(ours) == fold(said))
}

const fn fold(byte: u8) -> u8 {
    match byte {
        b'_' | b' ' => b'-',
        other => other.to_ascii_lowercase(),
    }
}

/// Words of which a key takes one or several.
pub trait Words: Copy + Eq + fmt::Debug + 'static {
    /// Each with what it means; the usual spelling of a meaning is its first.
    const WORDS: &'static [(&'static str, Self)];

    /// Its place among the others, less than 64.
    fn place(self) -> u32;

    /// The word, as it is usually spelled.
    fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, meaning)| *meaning == self).map_or("", |(word, _)| word)
    }

    /// What a word means.
    fn find(said: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(word, _)| same(word, said)).map(|(_, meaning)| *meaning)
    }
}

/// Makes an enum of words: each row is what it does, its name here, and its spellings.
macro_rules! words {
    ($(#[$of:meta])* $visible:vis $name:ident { $($(#[$does:meta])* $meaning:ident = $($word:literal)|+,)+ }) => {
        $(#[$of])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        $visible enum $name {
            $($(#[$does])* $meaning,)+
        }

        impl $crate::request::words::Words for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$($(($word, Self::$meaning),)+)+];

            fn place(self) -> u32 {
                self as u32
            }
        }
    };
}
pub(super) use words;

/// Some of the words of a kind.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Set<T>(u64, PhantomData<T>);

impl<T: Words> Set<T> {
    /// Says whether it is among them.
    pub fn has(self, word: T) -> bool {
        self.0 >> word.place() & 1 == 1
    }

    /// Says whether any of these is among them.
    pub fn has_any(self, words: &[T]) -> bool {
        words.iter().any(|word| self.has(*word))
    }

    /// Says whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one.
    pub fn insert(&mut self, word: T) {
        self.0 |= 1 << word.place();
    }
}

impl<T: Words> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(words: I) -> Self {
        let mut set = Self::default();
        words.into_iter().for_each(|word| set.insert(word));
        set
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self(0, PhantomData)
    }
}

impl<T: Words> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = |(word, meaning): &&(_, T)| self.has(*meaning) && meaning.as_str() == *word;
        f.debug_set().entries(T::WORDS.iter().filter(usual).map(|(_, meaning)| meaning)).finish()
    }
}
