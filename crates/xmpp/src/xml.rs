//! Shorthand for building elements, and for reading attributes.

use minidom::Element;

/// Longest name that somebody else may choose: a session, a content.
const MAX_NAME: usize = 256;

/// An attribute's value without white space around it. One with control characters, which a character reference brings
/// in, is as good as absent: it could become a line of its own in an SDP or a log.
pub(crate) fn value<'a>(element: &'a Element, attribute: &'a str) -> Option<&'a str> {
    element.attr(attribute).map(str::trim).filter(|value| !value.contains(char::is_control))
}

/// The name in an attribute: neither empty nor without end.
pub(crate) fn name<'a>(element: &'a Element, attribute: &'a str) -> Option<&'a str> {
    value(element, attribute).filter(|name| (1..=MAX_NAME).contains(&name.len()))
}

/// Builds an element: its name, its namespace, its attributes. A value of `None` leaves the attribute out.
macro_rules! element {
    ($name:literal, $namespace:expr $(, $attribute:literal = $value:expr)* $(,)?) => {
        minidom::Element::builder($name, $namespace)
            $(.attr(rxml::xml_ncname!($attribute).to_owned(), $value))*
            .build()
    };
}

pub(crate) use element;
