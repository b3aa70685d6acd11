//! Changes to attributes that whoever drives the relay asks for, as text.

/// What becomes of the attributes of a part of an SDP, written without `a=`. One is meant by its name, or by its name
/// and the beginning of its value.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Edits<'a> {
    /// Taken out.
    pub remove: &'a [String],
    /// All that the first of a pair means become the second.
    pub substitute: &'a [(String, String)],
    /// Added at the end.
    pub add: &'a [String],
}

impl Edits<'_> {
    /// The lines of a part after the changes.
    pub(super) fn apply(&self, lines: &[String]) -> Vec<String> {
        let changed = lines.iter().filter_map(|line| {
            let Some(attribute) = line.strip_prefix("a=") else {
                return Some(line.clone());
            };
            if self.remove.iter().any(|meant| means(meant, attribute)) {
                return None;
            }
            let substitute = self.substitute.iter().find(|(meant, _)| means(meant, attribute));
            Some(substitute.map_or_else(|| line.clone(), |(_, new)| format!("a={new}")))
        });
        changed.chain(self.add.iter().map(|added| format!("a={added}"))).collect()
    }
}

fn means(meant: &str, attribute: &str) -> bool {
    let name = attribute.split(':').next().unwrap_or_default();
    meant == name || (meant.contains(':') && attribute.starts_with(meant))
}
