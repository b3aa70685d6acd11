//! What is known of single users of the XMPP side: their numbers, and how they want to be seen.

use std::collections::HashMap;

use jid::BareJid;
use thiserror::Error;

use crate::number::is_global;

/// A user as it is written in the configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct UserRow {
    /// The bare JID.
    pub jid: String,
    /// The numbers that ring this user, with `+` and country code; the first is what it calls from.
    pub numbers: Vec<String>,
    /// The name that callees see.
    pub name: Option<String>,
    /// Callees shall not know who calls (RFC 3325 §9.3).
    pub anonymous: bool,
}

/// The users, checked.
#[derive(Clone, Debug, Default)]
pub struct Users {
    by_jid: HashMap<BareJid, User>,
    by_number: HashMap<String, BareJid>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    /// What it calls from.
    pub(crate) number: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) anonymous: bool,
}

/// What is wrong with a user.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum UserError {
    /// `jid` is none.
    #[error("user: jid = {jid:?}: expected \"user@domain\"")]
    Jid { jid: String },
    /// Two users of one JID.
    #[error("user: jid = {jid:?} is there twice")]
    Twice { jid: String },
    /// Something in `numbers` is no number.
    #[error("user {jid}: numbers has {number:?}: expected \"+\", country code and number, 7 to 15 digits")]
    Number { jid: String, number: String },
    /// Two users have the same number.
    #[error("user {jid}: numbers has {number:?}, which is another user's, too")]
    Shared { jid: String, number: String },
}

impl Users {
    /// Checks the users.
    ///
    /// # Errors
    ///
    /// All that is wrong with them.
    pub fn new(rows: &[UserRow]) -> Result<Self, Vec<UserError>> {
        let (mut users, mut errors) = (Self::default(), Vec::new());
        for row in rows {
            let jid = row.jid.clone();
            let Some(user) = BareJid::new(&jid).ok().filter(|jid| jid.node().is_some()) else {
                errors.push(UserError::Jid { jid });
                continue;
            };
            for number in &row.numbers {
                let (jid, number) = (jid.clone(), number.clone());
                if !is_global(&number) {
                    errors.push(UserError::Number { jid, number });
                } else if users.by_number.insert(number.clone(), user.clone()).is_some() {
                    errors.push(UserError::Shared { jid, number });
                }
            }
            let number = row.numbers.first().cloned();
            let known = User { number, name: row.name.clone(), anonymous: row.anonymous };
            if users.by_jid.insert(user, known).is_some() {
                errors.push(UserError::Twice { jid });
            }
        }
        if errors.is_empty() { Ok(users) } else { Err(errors) }
    }

    pub(crate) fn of(&self, jid: &BareJid) -> Option<&User> {
        self.by_jid.get(jid)
    }

    /// Whom a number rings.
    pub(crate) fn by_number(&self, number: &str) -> Option<&BareJid> {
        self.by_number.get(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_is_named() {
        let row = |jid: &str, numbers: &[&str]| UserRow {
            jid: jid.into(),
            numbers: numbers.iter().map(|number| (*number).to_owned()).collect(),
            ..UserRow::default()
        };
        let rows = [
            row("alice@localhost", &["+4930123456"]),
            row("bob@localhost", &["+4930123456", "030123456", "+1"]),
            row("localhost", &[]),
            row("Alice@localhost", &[]),
        ];
        let errors: Vec<_> = Users::new(&rows).expect_err("they are wrong").iter().map(ToString::to_string).collect();
        let parts = ["another user's", "\"030123456\"", "\"+1\"", "user@domain", "there twice"];
        assert_eq!(errors.len(), parts.len(), "{errors:?}");
        for (error, part) in errors.iter().zip(parts) {
            assert!(error.contains(part), "{error} lacks {part}");
        }
        assert!(Users::new(&rows[..1]).is_ok());
    }
}
