//! Which payload type of ours stands for which of the sender's.

use model::{Codec, PayloadType};

/// The payload types that go on, before and after.
pub(super) struct Renumbering(Vec<(PayloadType, PayloadType)>);

impl Renumbering {
    /// Finds the sender's format for each of ours: one that is the same, and for a repair format (RFC 4588) one that
    /// repairs the same; among several the one that has kept its number. Formats that only we have are in none.
    pub(super) fn new(before: &[Codec], now: &[Codec]) -> Self {
        let mut numbers = Self(Vec::new());
        for matches in [Self::is_same, Self::repairs_the_same] {
            for keeps_number in [true, false] {
                for new in now {
                    let old = before.iter().find(|old| {
                        let free = |pair: &(_, _)| pair.0 != old.payload_type && pair.1 != new.payload_type;
                        (!keeps_number || old.payload_type == new.payload_type)
                            && numbers.0.iter().all(free)
                            && matches(&numbers, old, new)
                    });
                    numbers.0.extend(old.map(|old| (old.payload_type, new.payload_type)));
                }
            }
        }
        numbers
    }

    fn is_same(&self, old: &Codec, new: &Codec) -> bool {
        old.is_same_format(new)
    }

    fn repairs_the_same(&self, old: &Codec, new: &Codec) -> bool {
        let repairs = !new.is_same_format(new);
        let target = old.parameter("apt").map(|target| self.apply(target));
        repairs
            && old.name.eq_ignore_ascii_case(&new.name)
            && old.clock_rate == new.clock_rate
            && target.is_none_or(|target| target.as_deref() == new.parameter("apt"))
    }

    /// A value that begins with a payload type, with its new number; nothing where that one does not go on. `*` stands
    /// for all of them.
    pub(super) fn apply(&self, value: &str) -> Option<String> {
        let value = value.trim_start();
        let word = value.split_whitespace().next()?;
        if word == "*" {
            return Some(value.to_owned());
        }
        let number = self.0.iter().find(|pair| pair.0.to_string() == word)?.1;
        Some(format!("{number}{}", value.strip_prefix(word)?))
    }

    /// Says whether a payload type of ours is the sender's, too.
    pub(super) fn is_unchanged(&self, number: &str) -> bool {
        self.0.iter().any(|(old, new)| old == new && new.to_string() == number)
    }
}
