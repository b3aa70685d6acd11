//! What a message holds.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// A value of a message. Bytes that were read are borrowed from the message where its encoding allows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value<'a> {
    /// A number.
    Integer(i64),
    /// A string, which need not be UTF-8.
    Bytes(Cow<'a, [u8]>),
    /// Values in order.
    List(Vec<Value<'a>>),
    /// Values by their names.
    Dictionary(Dictionary<'a>),
}

/// Values by their names. The order in which they were written means nothing; of two with one name the last counts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Dictionary<'a>(BTreeMap<Cow<'a, [u8]>, Value<'a>>);

impl<'a> Value<'a> {
    /// The number, which may also be written as a string of decimal digits.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Bytes(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
            Self::List(_) | Self::Dictionary(_) => None,
        }
    }

    /// The string.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Integer(_) | Self::List(_) | Self::Dictionary(_) => None,
        }
    }

    /// The string, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// The members of a list. Anything else stands for a list that holds only itself.
    pub fn members(&self) -> &[Self] {
        match self {
            Self::List(members) => members,
            Self::Integer(_) | Self::Bytes(_) | Self::Dictionary(_) => std::slice::from_ref(self),
        }
    }

    /// The dictionary.
    pub const fn dictionary(&self) -> Option<&Dictionary<'a>> {
        match self {
            Self::Dictionary(dictionary) => Some(dictionary),
            Self::Integer(_) | Self::Bytes(_) | Self::List(_) => None,
        }
    }

    /// The same without a borrow.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Integer(number) => Value::Integer(number),
            Self::Bytes(bytes) => Value::Bytes(Cow::Owned(bytes.into_owned())),
            Self::List(members) => Value::List(members.into_iter().map(Value::into_owned).collect()),
            Self::Dictionary(dictionary) => Value::Dictionary(dictionary.into_owned()),
        }
    }
}

impl<'a> Dictionary<'a> {
    /// Makes an empty one.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.get(name.as_bytes())
    }

    /// The value of a name, as text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// Names a value, in the place of any that had the name before.
    pub fn insert(&mut self, name: impl Into<Cow<'a, [u8]>>, value: impl Into<Value<'a>>) {
        self.0.insert(name.into(), value.into());
    }

    /// The same by a name that is text.
    pub fn put(&mut self, name: impl Into<String>, value: impl Into<Value<'a>>) {
        self.insert(name.into().into_bytes(), value);
    }

    /// The same with one more value.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: impl Into<Value<'a>>) -> Self {
        self.insert(name.as_bytes(), value);
        self
    }

    /// All names with their values, in the order of the names' bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Value<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// How many names it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same without a borrow.
    pub fn into_owned(self) -> Dictionary<'static> {
        let owned = |(name, value): (Cow<'a, [u8]>, Value<'a>)| (Cow::Owned(name.into_owned()), value.into_owned());
        Dictionary(self.0.into_iter().map(owned).collect())
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Bytes(Cow::Owned(text.into_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a> From<Dictionary<'a>> for Value<'a> {
    fn from(dictionary: Dictionary<'a>) -> Self {
        Self::Dictionary(dictionary)
    }
}

impl<'a, V: Into<Value<'a>>> From<Vec<V>> for Value<'a> {
    fn from(members: Vec<V>) -> Self {
        Self::List(members.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any value that is not nested too deeply.
    pub(crate) fn any_value() -> impl Strategy<Value = Value<'static>> {
        value_of(prop::collection::vec(any::<u8>(), 0..12).boxed())
    }

    /// Any value whose strings are UTF-8.
    pub(crate) fn any_text_value() -> impl Strategy<Value = Value<'static>> {
        value_of(any::<String>().prop_map(String::into_bytes).boxed())
    }

    fn value_of(bytes: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Value<'static>> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(Value::Integer),
            bytes.clone().prop_map(|bytes| Value::Bytes(Cow::Owned(bytes))),
        ];
        leaf.prop_recursive(6, 32, 4, move |inner| {
            let entries = prop::collection::btree_map(bytes.clone().prop_map(Cow::Owned), inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::List),
                entries.prop_map(|entries| Value::Dictionary(Dictionary(entries))),
            ]
        })
    }

    #[test]
    fn a_number_may_be_a_string_and_a_list_may_be_its_only_member() {
        assert_eq!(Value::from("-12").integer(), Some(-12));
        assert_eq!(Value::from("12a").integer(), None);
        assert_eq!(Value::from("remove").members(), [Value::from("remove")]);
        assert_eq!(Value::from(vec!["a", "b"]).members().len(), 2);
    }

    #[test]
    fn of_two_values_with_one_name_the_last_counts() {
        let dictionary = Dictionary::new().with("ICE", "force").with("ICE", "remove");
        assert_eq!((dictionary.len(), dictionary.text("ICE")), (1, Some("remove")));
    }
}
