//! What a request is about, for lines of the log.

use control::Dictionary;

/// Characters of an identifier that are logged.
const MAX_LENGTH: usize = 128;

/// The call and the parties that a request names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct About {
    pub(crate) call_id: Option<Box<str>>,
    pub(crate) from_tag: Option<Box<str>>,
    pub(crate) to_tag: Option<Box<str>>,
}

impl About {
    pub(crate) fn of(request: &Dictionary<'_>) -> Self {
        let [call_id, from_tag, to_tag] = ["call-id", "from-tag", "to-tag"].map(|key| request.text(key).map(shortened));
        Self { call_id, from_tag, to_tag }
    }
}

fn shortened(text: &str) -> Box<str> {
    let end = text.char_indices().nth(MAX_LENGTH).map_or(text.len(), |(end, _)| end);
    text[..end].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_about_the_call_and_the_parties_that_it_names() {
        let long = "ä".repeat(MAX_LENGTH + 1);
        let request = Dictionary::new().with("call-id", "one").with("to-tag", long.as_str()).with("from-tag", 7);
        let about = About::of(&request);
        let to_tag = "ä".repeat(MAX_LENGTH).into();
        assert_eq!(about, About { call_id: Some("one".into()), from_tag: None, to_tag: Some(to_tag) });
    }
}
