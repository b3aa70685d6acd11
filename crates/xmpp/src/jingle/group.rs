//! Which contents share one transport (XEP-0338).

use minidom::Element;

use crate::xml::element;

pub(super) const NS: &str = "urn:xmpp:jingle:apps:grouping:0";

/// The names in a group of semantics BUNDLE; of another one, none.
pub(super) fn parse_bundle(group: &Element) -> Vec<String> {
    if !group.attr("semantics").is_some_and(|semantics| semantics.eq_ignore_ascii_case("BUNDLE")) {
        return Vec::new();
    }
    group.children().filter_map(|content| content.attr("name")).map(str::to_owned).collect()
}

pub(super) fn bundle_element(names: &[String]) -> Element {
    let mut group = element!("group", NS, "semantics" = "BUNDLE");
    for name in names {
        group.append_child(element!("content", NS, "name" = name.as_str()));
    }
    group
}
