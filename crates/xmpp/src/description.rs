//! Contents to and from the neutral description (XEP-0167, XEP-0176; RFC 3264 roles).

use model::Description;

use crate::jingle::{Content, Described, Party};

/// Reads contents as the description that `writer` made: directions are its, streams are numbered from 0 in the order
/// of the contents that can be described, names are the contents' names.
///
/// A content of another application is left out, one with another transport is kept as rejected; both are losses.
pub fn describe(contents: &[Content], bundle: &[String], writer: Party) -> Described {
    let _ = (contents, bundle, writer);
    Described { description: Description::default(), losses: Vec::new() }
}

/// Writes the description that `writer` made as contents that `creator` created, and the names of the bundle.
///
/// Rejected streams are left out: Jingle refuses a content by another action.
pub fn contents(description: &Description, writer: Party, creator: Party) -> (Vec<Content>, Vec<String>) {
    let _ = (description, writer, creator);
    (Vec::new(), Vec::new())
}
