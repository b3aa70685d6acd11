//! Shorthand for building elements.

/// Builds an element: its name, its namespace, its attributes. A value of `None` leaves the attribute out.
macro_rules! element {
    ($name:literal, $namespace:expr $(, $attribute:literal = $value:expr)* $(,)?) => {
        minidom::Element::builder($name, $namespace)
            $(.attr(rxml::xml_ncname!($attribute).to_owned(), $value))*
            .build()
    };
}

pub(crate) use element;
