//! The ordered address table: who is called, as the other side has it.
//!
//! ```text
//! 100@sip.localhost            from "xmpp"          user "(\+?[0-9]+)"   to "trunk:phones/{1}"      a dial plan
//! romeo\40a.example@gateway    from "xmpp"          user "(.+)@(.+)"     to "sip:{1}@{2}"           escaped addresses
//! romeo@sip.example            from "xmpp"          user "(.+)"          to "sip:{1}@{host}"        equal domains
//! sip:juliet%40b.example@gw    from "trunk:phones"  user "(.+)@(.+)"     to "xmpp:{1}@{2}"          the way back
//! ```
//!
//! Local parts are matched and put together as plain text; escaping (XEP-0106, RFC 7247 §6) is undone before and done
//! after, so that no text can break out of its part of an address.

use jid::BareJid;
use regex::Regex;
use sip::address::{SipUri, host_to_ascii, host_to_unicode};
use thiserror::Error;
use xmpp::address::to_localpart;

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

/// The rows, checked. The first one that matches decides.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
}

/// Where a call comes from, as far as the table cares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// The XMPP side.
    Xmpp,
    /// A trunk.
    Trunk(String),
    /// A SIP peer that is no trunk.
    Stranger,
}

/// Where a call goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Destination {
    /// To a user of a trunk.
    Trunk {
        /// The trunk.
        name: String,
        /// The user, plain.
        user: String,
    },
    /// To a SIP URI.
    Sip(SipUri),
    /// To an XMPP user.
    Xmpp(BareJid),
}

/// Why a call has no destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoDestination {
    /// No row matches.
    NoRoute,
    /// The row makes an address that cannot be.
    Unmappable,
}

#[derive(Clone, Debug)]
struct Route {
    from: Origin,
    domain: Option<String>,
    user: Regex,
    to: Target,
}

#[derive(Clone, Debug)]
enum Target {
    Trunk { name: String, user: Template },
    Sip { user: Template, host: Template },
    Xmpp { user: Template, domain: Template },
}

/// Text with places to fill in.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Template(Vec<Part>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Text(String),
    Group(usize),
    Host,
}

/// What is wrong with a row. Rows are counted from 1.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum RouteError {
    /// `from` is none of its words.
    #[error("route {row}: from = {from:?}: expected \"xmpp\", \"trunk:NAME\" or \"sip\"")]
    From { row: usize, from: String },
    /// No such trunk.
    #[error("route {row}: there is no trunk {name:?}")]
    UnknownTrunk { row: usize, name: String },
    /// `domain` is none.
    #[error("route {row}: domain = {domain:?}: expected a domain")]
    Domain { row: usize, domain: String },
    /// `user` is no regular expression.
    #[error("route {row}: user = {user:?}: {problem}")]
    Regex { row: usize, user: String, problem: String },
    /// `to` has none of its forms.
    #[error("route {row}: to = {to:?}: expected \"trunk:NAME/user\", \"sip:user@host\" or \"xmpp:user@domain\"")]
    To { row: usize, to: String },
    /// A place that nothing fills in.
    #[error("route {row}: to = {to:?}: expected {{1}} to {{{groups}}}, the groups of user, or {{host}}")]
    Placeholder { row: usize, to: String, groups: usize },
    /// From one side to the same side.
    #[error("route {row}: calls from {from:?} cannot go to {to:?}: one of them has to be xmpp")]
    SameSide { row: usize, from: String, to: String },
}

impl RouteTable {
    /// Checks the rows.
    ///
    /// # Errors
    ///
    /// All that is wrong with them.
    pub fn new(rows: &[RouteRow], trunks: &[&str]) -> Result<Self, Vec<RouteError>> {
        let (mut routes, mut errors) = (Vec::new(), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            match Route::new(row, index + 1, trunks) {
                Ok(route) => routes.push(route),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self { routes }) } else { Err(errors) }
    }

    /// Finds where a call to a user, given plain, of a domain goes.
    pub(crate) fn find(&self, origin: &Origin, user: &str, domain: &str) -> Result<Destination, NoDestination> {
        let domain = host_to_ascii(domain).map_err(|_| NoDestination::Unmappable)?;
        let of_origin = self.routes.iter().filter(|route| route.from == *origin);
        let mut matching = of_origin
            .filter(|route| route.domain.as_ref().is_none_or(|only| *only == domain))
            .filter_map(|route| Some((&route.to, route.user.captures(user)?)));
        let (target, groups) = matching.next().ok_or(NoDestination::NoRoute)?;
        target.fill(&groups, &domain).ok_or(NoDestination::Unmappable)
    }
}

impl Route {
    fn new(row: &RouteRow, number: usize, trunks: &[&str]) -> Result<Self, RouteError> {
        let known = |name: &str| {
            let unknown = RouteError::UnknownTrunk { row: number, name: name.to_owned() };
            if trunks.contains(&name) { Ok(name.to_owned()) } else { Err(unknown) }
        };
        let from = match (row.from.as_str(), row.from.strip_prefix("trunk:")) {
            ("xmpp", _) => Origin::Xmpp,
            ("sip", _) => Origin::Stranger,
            (_, Some(name)) => Origin::Trunk(known(name)?),
            (_, None) => return Err(RouteError::From { row: number, from: row.from.clone() }),
        };
        let domain = row.domain.as_deref().map(|domain| {
            host_to_ascii(domain).map_err(|_| RouteError::Domain { row: number, domain: domain.to_owned() })
        });
        let user = Regex::new(&format!(r"\A(?:{})\z", row.user)).map_err(|error| RouteError::Regex {
            row: number,
            user: row.user.clone(),
            problem: error.to_string().lines().last().unwrap_or_default().to_owned(),
        })?;
        let groups = user.captures_len() - 1;
        let template = |text: &str| {
            Template::parse(text, groups).ok_or(RouteError::Placeholder { row: number, to: row.to.clone(), groups })
        };
        let wrong = || RouteError::To { row: number, to: row.to.clone() };
        let (scheme, rest) = row.to.split_once(':').ok_or_else(wrong)?;
        let to = if scheme == "trunk" {
            let (name, user) = rest.split_once('/').filter(|(_, user)| !user.is_empty()).ok_or_else(wrong)?;
            Target::Trunk { name: known(name)?, user: template(user)? }
        } else {
            let (user, host) = rest.rsplit_once('@').ok_or_else(wrong)?;
            if user.is_empty() || host.is_empty() {
                return Err(wrong());
            }
            match scheme {
                "sip" => Target::Sip { user: template(user)?, host: template(host)? },
                "xmpp" => Target::Xmpp { user: template(user)?, domain: template(host)? },
                _ => return Err(wrong()),
            }
        };
        if (from == Origin::Xmpp) == matches!(to, Target::Xmpp { .. }) {
            return Err(RouteError::SameSide { row: number, from: row.from.clone(), to: row.to.clone() });
        }
        Ok(Self { from, domain: domain.transpose()?, user, to })
    }
}

impl Target {
    fn fill(&self, groups: &regex::Captures<'_>, host: &str) -> Option<Destination> {
        match self {
            Self::Trunk { name, user } => {
                let user = plain(user.fill(groups, host))?;
                Some(Destination::Trunk { name: name.clone(), user })
            }
            Self::Sip { user, host: template } => {
                let filled = template.fill(groups, host);
                // A bracket closes an IPv6 address, whose colons are none of a port.
                let (name, port) = match filled.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
                    Some((name, port)) => (name, Some(port.parse().ok()?)),
                    None => (filled.as_str(), None),
                };
                let user = plain(user.fill(groups, host))?;
                Some(Destination::Sip(SipUri { port, ..SipUri::new(&user, &host_to_ascii(name).ok()?) }))
            }
            Self::Xmpp { user, domain } => {
                let domain = host_to_ascii(&domain.fill(groups, host)).ok()?;
                let localpart = to_localpart(&user.fill(groups, host)).ok()?;
                let jid = BareJid::new(&format!("{localpart}@{}", host_to_unicode(&domain))).ok()?;
                Some(Destination::Xmpp(jid))
            }
        }
    }
}

/// A user that a SIP URI can have: not empty, no control characters.
fn plain(user: String) -> Option<String> {
    Some(user).filter(|user| !user.is_empty() && !user.chars().any(char::is_control))
}

impl Template {
    /// Takes `text{1}text{host}` apart; nothing where a place is unknown or not closed.
    fn parse(text: &str, groups: usize) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}')?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match name {
                "host" => Part::Host,
                number => Part::Group(number.parse().ok().filter(|group| (1..=groups).contains(group))?),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Some(Self(parts))
    }

    fn fill(&self, groups: &regex::Captures<'_>, host: &str) -> String {
        let fill = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Group(group) => groups.get(*group).map_or("", |found| found.as_str()).to_owned(),
            Part::Host => host.to_owned(),
        };
        self.0.iter().map(fill).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(from: &str, user: &str, to: &str) -> RouteRow {
        RouteRow { from: from.into(), domain: None, user: user.into(), to: to.into() }
    }

    fn table(rows: &[RouteRow]) -> RouteTable {
        RouteTable::new(rows, &["phones"]).expect("the rows are right")
    }

    fn sip(uri: &str) -> Result<Destination, NoDestination> {
        Ok(Destination::Sip(SipUri::parse(uri).expect("a URI")))
    }

    fn xmpp(jid: &str) -> Result<Destination, NoDestination> {
        Ok(Destination::Xmpp(BareJid::new(jid).expect("a JID")))
    }

    #[test]
    fn the_first_row_that_matches_decides() {
        let phones = |user: &str| Ok(Destination::Trunk { name: "phones".into(), user: user.into() });
        let routes = table(&[
            row("xmpp", "0(.*)", "trunk:phones/+49{1}"),
            row("xmpp", r"(\+?[0-9]+)", "trunk:phones/{1}"),
            RouteRow { domain: Some("A.Example.".into()), ..row("xmpp", "(.+)@(.+)", "sip:{1}@{2}") },
            row("xmpp", "(.+)", "sip:{1}@{host}:5070"),
        ]);
        assert_eq!(routes.find(&Origin::Xmpp, "030", "gw"), phones("+4930"));
        assert_eq!(routes.find(&Origin::Xmpp, "100", "gw"), phones("100"));
        assert_eq!(routes.find(&Origin::Xmpp, "romeo@b.example", "a.example"), sip("sip:romeo@b.example"));
        assert_eq!(routes.find(&Origin::Xmpp, "x@y@b.example", "a.example"), sip("sip:x%40y@b.example"));
        assert_eq!(routes.find(&Origin::Xmpp, "romeo", "bücher.example"), sip("sip:romeo@xn--bcher-kva.example:5070"));
        assert_eq!(routes.find(&Origin::Stranger, "100", "gw"), Err(NoDestination::NoRoute));
        assert_eq!(routes.find(&Origin::Trunk("phones".into()), "100", "gw"), Err(NoDestination::NoRoute));
    }

    #[test]
    fn three_ways_to_address_go_both_ways_in_one_table() {
        let of = |domain: &str, row| RouteRow { domain: Some(domain.into()), ..row };
        let routes = table(&[
            // Numbers, by a trunk.
            row("xmpp", r"(\+?[0-9]+)", "trunk:phones/{1}"),
            row("trunk:phones", "(.+)", "xmpp:{1}@xmpp.example"),
            // Whole addresses, escaped, at the component.
            of("gw.example", row("xmpp", "(.+)@(.+)", "sip:{1}@{2}")),
            of("gw.example", row("sip", "(.+)@(.+)", "xmpp:{1}@{2}")),
            // Domains that are one on both sides.
            of("sip.example", row("xmpp", "(.+)", "sip:{1}@{host}")),
            of("xmpp.example", row("sip", "(.+)", "xmpp:{1}@{host}")),
        ]);
        // As a JID's local part, with its domain; as the user of a SIP URI, with its host.
        for (localpart, domain, called) in [
            ("romeo\\40sip.example", "gw.example", "sip:romeo@sip.example"),
            ("o\\27malley\\40sip.example", "gw.example", "sip:o'malley@sip.example"),
            ("romeo", "sip.example", "sip:romeo@sip.example"),
            ("tschüss", "sip.example", "sip:tsch%C3%BCss@sip.example"),
        ] {
            let plain = xmpp::address::unescape(localpart);
            assert_eq!(routes.find(&Origin::Xmpp, &plain, domain), sip(called), "{localpart}@{domain}");
        }
        for (uri, called) in [
            ("sip:juliet%40xmpp.example@gw.example", "juliet@xmpp.example"),
            ("sip:AT%26T%40xmpp.example@gw.example", "at\\26t@xmpp.example"),
            ("sip:juliet@xmpp.example", "juliet@xmpp.example"),
            ("sip:space%20cadet@xmpp.example", "space\\20cadet@xmpp.example"),
        ] {
            let parsed = SipUri::parse(uri).expect("a URI");
            let text = parsed.user_text().expect("it unescapes").expect("it has a user");
            assert_eq!(routes.find(&Origin::Stranger, &text, &parsed.host), xmpp(called), "{uri}");
        }
        let number = Ok(Destination::Trunk { name: "phones".into(), user: "+15551234567".into() });
        assert_eq!(routes.find(&Origin::Xmpp, "+15551234567", "gw.example"), number);
        assert_eq!(routes.find(&Origin::Trunk("phones".into()), "alice", "192.0.2.1"), xmpp("alice@xmpp.example"));
        assert_eq!(routes.find(&Origin::Stranger, "alice", "elsewhere.example"), Err(NoDestination::NoRoute));
    }

    #[test]
    fn a_group_cannot_break_out_of_its_part() {
        let routes = table(&[row("xmpp", "(?s)(.+)/(.+)", "sip:{1}@{2}"), row("sip", "(.+)/(.+)", "xmpp:{1}@{2}")]);
        assert_eq!(routes.find(&Origin::Xmpp, "a@evil;x/b", "gw"), sip("sip:a%40evil;x@b"));
        for host in ["b@c", "b c", "b;x=y", "b\r\nVia: x", "b:x"] {
            let called = format!("a/{host}");
            assert_eq!(routes.find(&Origin::Xmpp, &called, "gw"), Err(NoDestination::Unmappable), "{host}");
        }
        assert_eq!(routes.find(&Origin::Stranger, "a@b/c.example", "gw"), xmpp("a\\40b@c.example"));
        assert_eq!(routes.find(&Origin::Stranger, "a/b/c", "gw"), xmpp("a\\2fb@c"));
    }

    /// SIP user, localpart, and the SIP user that becomes of it (RFC 7247 §6, XEP-0106 §5).
    const VECTORS: [(&str, &str, &str); 12] = [
        ("f%C3%BC", "fü", "f%C3%BC"),
        ("o'malley", "o\\27malley", "o'malley"),
        ("AT&T", "at\\26t", "at&t"),
        ("a%40b.example", "a\\40b.example", "a%40b.example"),
        ("space%20cadet", "space\\20cadet", "space%20cadet"),
        ("x%3Ay", "x\\3ay", "x%3Ay"),
        ("bob%2Fdesk", "bob\\2fdesk", "bob/desk"),
        ("c%3A%5C5commas", "c\\3a\\5c5commas", "c%3A%5C5commas"),
        ("%5C27", "\\5c27", "%5C27"),
        ("%5C2F", "\\5c2f", "%5C2f"),
        ("caf%C3%A9%5Cbar", "café\\bar", "caf%C3%A9%5Cbar"),
        ("100%25", "100%", "100%25"),
    ];

    #[test]
    fn the_vectors_of_rfc_7247_and_xep_0106_go_both_ways() {
        let routes =
            table(&[row("sip", "(?s)(.+)", "xmpp:{1}@b.example"), row("xmpp", "(?s)(.+)", "sip:{1}@b.example")]);
        for (user, localpart, back) in VECTORS {
            let uri = SipUri::parse(&format!("sip:{user}@gw")).expect("a URI");
            let text = uri.user_text().expect("it unescapes").expect("it has a user");
            let expected = BareJid::new(&format!("{localpart}@b.example")).expect("a JID");
            assert_eq!(routes.find(&Origin::Stranger, &text, "gw"), Ok(Destination::Xmpp(expected)), "{user}");
            let plain = xmpp::address::unescape(localpart);
            let Ok(Destination::Sip(uri)) = routes.find(&Origin::Xmpp, &plain, "gw") else { panic!("{localpart}") };
            assert_eq!(uri.user.as_deref(), Some(back), "{localpart}");
        }
        for unmappable in [" x", "x ", "\u{0}"] {
            assert_eq!(routes.find(&Origin::Stranger, unmappable, "gw"), Err(NoDestination::Unmappable));
        }
        for (plain, user) in
            [("#x", "%23x"), ("{x}", "%7Bx%7D"), ("per%cent", "per%25cent"), ("tschüss", "tsch%C3%BCss")]
        {
            assert_eq!(routes.find(&Origin::Xmpp, plain, "gw"), sip(&format!("sip:{user}@b.example")));
        }
    }

    #[test]
    fn each_mistake_in_a_row_is_named() {
        for (row, part) in [
            (row("jabber", ".*", "sip:a@b"), "route 1: from = \"jabber\": expected \"xmpp\""),
            (row("trunk:x", ".*", "xmpp:a@b"), "there is no trunk \"x\""),
            (row("xmpp", ".*", "trunk:x/1"), "there is no trunk \"x\""),
            (row("xmpp", "(", "sip:a@b"), "unclosed group"),
            (row("xmpp", "(.)", "sip:{9}@b"), "expected {1} to {1}, the groups of user, or {host}"),
            (row("xmpp", "(.)", "sip:{0}@b"), "expected {1} to {1}"),
            (row("xmpp", "(.)", "sip:{user}@b"), "expected {1} to {1}"),
            (row("xmpp", "(.)", "sip:{1@b"), "expected {1} to {1}"),
            (row("xmpp", ".*", "sip:b"), "expected \"trunk:NAME/user\""),
            (row("xmpp", ".*", "tel:a@b"), "expected \"trunk:NAME/user\""),
            (row("xmpp", ".*", "trunk:phones"), "expected \"trunk:NAME/user\""),
            (row("xmpp", ".*", "xmpp:a@b"), "one of them has to be xmpp"),
            (row("sip", ".*", "sip:a@b"), "one of them has to be xmpp"),
            (RouteRow { domain: Some("a b".into()), ..row("xmpp", ".*", "sip:a@b") }, "expected a domain"),
        ] {
            let errors = RouteTable::new(&[row], &["phones"]).expect_err("the row is wrong");
            assert!(errors[0].to_string().contains(part), "{} lacks {part}", errors[0]);
        }
    }
}
