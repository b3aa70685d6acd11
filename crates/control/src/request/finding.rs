//! What is odd about a request that is taken all the same.

use thiserror::Error;

/// Findings of which a request keeps one each, besides contradictions.
pub(super) const MAX_FINDINGS: usize = 32;

/// Characters of what was said that a finding repeats.
const MAX_SAID: usize = 64;

/// One oddity. Others' words are shortened to 64 characters, and escaped where they are displayed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// A key that no command has.
    #[error("unknown key {0:?}")]
    UnknownKey(String),
    /// A flag that no command has.
    #[error("unknown flag {0:?}")]
    UnknownFlag(String),
    /// A word that the key does not have.
    #[error("`{key}` does not have {member:?}")]
    UnknownMember {
        /// The key.
        key: &'static str,
        /// The word.
        member: String,
    },
    /// A value that is not of the key's form, or out of its range. The key is as if it were not there.
    #[error("the value of `{key}` is not understood: {value:?}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// A list that goes on beyond what is taken.
    #[error("`{0}` has more members than are taken")]
    TooMany(&'static str),
    /// Well known, but not to this command.
    #[error("`{said}` has no effect on `{command}`")]
    NoEffect {
        /// The key, flag or value.
        said: String,
        /// The command.
        command: &'static str,
    },
    /// Well known, but not done here.
    #[error("`{0}` is not supported")]
    Unsupported(String),
    /// A key that has one value was given several. The last one counts.
    #[error("`{0}` is given more than once, with different values")]
    Repeated(&'static str),
    /// Two wishes of which only one can be granted.
    #[error("`{0}` and `{1}` contradict each other")]
    Contradiction(&'static str, &'static str),
}

impl Finding {
    /// Says whether the client contradicts itself, and should be told by a `warning` in the reply.
    pub const fn is_contradiction(&self) -> bool {
        matches!(self, Self::Repeated(_) | Self::Contradiction(..))
    }
}

/// What was said, shortened.
pub(super) fn shortened(said: &str) -> String {
    said.chars().take(MAX_SAID).collect()
}
