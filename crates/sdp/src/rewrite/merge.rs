//! What one m-line says in the end: the sender's attributes and ours as one list.

use sdp_types::{Attribute, Media};

use super::renumber::Renumbering;
use super::{Layout, first_word, is_direction, text_of};
use crate::document::{Line, Section};
use crate::{codec, read};

/// The attributes of an m-line, the sender's and ours becoming one list.
pub(super) struct Merge<'a> {
    numbers: Renumbering,
    /// Ours that stand nowhere yet.
    ours: Vec<&'a Attribute>,
    keep_direction: bool,
}

impl<'a> Merge<'a> {
    pub(super) fn new(section: &Section<'_>, ours: &'a Media, keep_direction: bool, layout: Layout) -> Self {
        let theirs = section.to_media();
        let codecs = |media| codec::read(media, &mut Vec::new());
        let numbers = Renumbering::new(&codecs(&theirs), &codecs(ours));
        let left_out = |attribute: &Attribute| match attribute.attribute.as_str() {
            "rtpmap" if layout == Layout::InPlace => {
                // A static payload type needs none, and had none.
                let number = first_word(attribute.value.as_deref().unwrap_or_default());
                let mut said = theirs.get_attribute_values("rtpmap").flatten();
                numbers.is_unchanged(number) && !said.any(|value| first_word(value) == number)
            }
            name => keep_direction && is_direction(name),
        };
        let ours = ours.attributes.iter().filter(|attribute| !left_out(attribute)).collect();
        Self { numbers, ours, keep_direction }
    }

    /// What stands in the place of a line of the sender.
    pub(super) fn take(&mut self, line: &Line<'_>) -> Option<String> {
        let (name, value) = line.attribute()?;
        let mut text = line.text.to_owned();
        let mut value = value.to_owned();
        if FORMAT_SPECIFIC.contains(&name) {
            let renumbered = self.numbers.apply(&value)?;
            if renumbered != value {
                text = format!("a={name}:{renumbered}");
                value = renumbered;
            }
        }
        if self.keep_direction && is_direction(name) {
            return Some(text);
        }
        let about = subject(name, &value);
        if about.is_none() {
            return Some(text);
        }
        let is_about = |ours: &&Attribute| subject(&ours.attribute, ours.value.as_deref().unwrap_or_default()) == about;
        let place = self.ours.iter().position(is_about)?;
        let ours = self.ours.remove(place);
        Some(if says_the_same(name, &value, ours) { text } else { text_of(ours) })
    }

    pub(super) fn rest(self) -> impl Iterator<Item = String> {
        self.ours.into_iter().map(text_of)
    }
}

/// Attributes whose value begins with a payload type, or with `*` (RFC 8866 §6.6, 4585, 6236, and 3GPP TS 26.114).
const FORMAT_SPECIFIC: &[&str] = &["rtpmap", "fmtp", "rtcp-fb", "imageattr", "framesize"];

/// What an attribute is about, if that is ours to say: two that are about the same cannot both stand.
fn subject(name: &str, value: &str) -> Option<String> {
    match name {
        "rtpmap" | "fmtp" => Some(format!("{name} {}", first_word(value))),
        "rtcp-fb" => Some(format!("{name} {}", value.split_whitespace().collect::<Vec<_>>().join(" "))),
        "extmap" => Some(format!("{name} {}", first_word(value).split('/').next().unwrap_or_default())),
        "ptime" | "maxptime" | "rtcp-rsize" | "mid" => Some(name.to_owned()),
        _ => is_direction(name).then(|| "direction".to_owned()),
    }
}

/// Says whether the sender's line, about the same as ours, says it, too.
fn says_the_same(name: &str, value: &str, ours: &Attribute) -> bool {
    let our_value = ours.value.as_deref().unwrap_or_default();
    match name {
        "fmtp" => {
            let parameters = |value: &str| -> Vec<_> {
                let rest = value.trim_start().split_once(' ').map_or("", |(_, rest)| rest);
                codec::read_parameters(rest).collect()
            };
            parameters(value) == parameters(our_value)
        }
        "extmap" => codec::read_extension(value) == codec::read_extension(our_value),
        "ptime" | "maxptime" => read::read_milliseconds(value) == read::read_milliseconds(our_value),
        "mid" => value.trim() == our_value,
        // A format that has kept its subject has kept its name (see `Renumbering`).
        "rtpmap" | "rtcp-fb" | "rtcp-rsize" => true,
        _ => name == ours.attribute,
    }
}
