//! The ordered address table.

use thiserror::Error;

/// One row as it is written in the configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RouteRow {
    /// Whose calls: `xmpp`, `trunk:NAME`, or `sip` for those from nobody's trunk.
    pub from: String,
    /// Only calls to this domain.
    pub domain: Option<String>,
    /// A regular expression on the whole local part, unescaped.
    pub user: String,
    /// Where they go: `trunk:NAME/user`, `sip:user@host` or `xmpp:user@domain`. `{1}` is the first group of `user`, `{host}`
    /// the domain that was called.
    pub to: String,
}

/// The rows, checked.
#[derive(Clone, Debug, Default)]
pub struct RouteTable;

impl RouteTable {
    /// Checks the rows.
    ///
    /// # Errors
    ///
    /// All that is wrong with them.
    pub fn new(rows: &[RouteRow], trunks: &[&str]) -> Result<Self, Vec<RouteError>> {
        let _ = (rows, trunks);
        Ok(Self)
    }
}

/// What is wrong with a row.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RouteError {
    /// No such trunk.
    #[error("route {row}: there is no trunk {name:?}")]
    UnknownTrunk {
        /// Which row, counted from 1.
        row: usize,
        /// The name.
        name: String,
    },
}
