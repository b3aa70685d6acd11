//! The ordered address table: who may call whom, and who is called, as the other side has it.
//!
//! ```text
//! 100@sip.localhost            from "xmpp"          user "(\+?[0-9]+)"   to "trunk:phones/{1}"      a dial plan
//! romeo\40a.example@gateway    from "xmpp"          user "(.+)@(.+)"     to "sip:{1}@{2}"           escaped addresses
//! romeo@sip.example            from "xmpp"          user "(.+)"          to "sip:{1}@{host}"        equal domains
//! sip:juliet%40b.example@gw    from "trunk:phones"  user "(.+)@(.+)"     to "xmpp:{1}@{2}"          the way back
//! sip:+4930123456@gw           from "trunk:phones"  user ".+"            to "user"                  a number of a user
//! +19005551234@sip.localhost   from "xmpp"          user "\+1900.*"      to "refuse"                nobody may
//! ```
//!
//! Local parts are matched and put together as plain text; escaping (XEP-0106, RFC 7247 §6) is undone before and done
//! after, so that no text can break out of its part of an address.

mod keypad;

use jid::BareJid;
use regex::Regex;
use sip::address::{SipUri, host_to_ascii, host_to_unicode, normalise_number};
use thiserror::Error;
use xmpp::address::to_localpart;

use crate::users::Users;

/// Places that a row may have for a call to go to.
const MAX_TARGETS: usize = 8;

/// One row as it is written in the configuration.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RouteRow {
    /// Whose calls: `xmpp`, `trunk:NAME`, or `sip` for those from nobody's trunk.
    pub from: String,
    /// Only calls of these: a regular expression on the whole address of the caller, unescaped. That is the bare JID, of
    /// a trunk's caller the number or name alone, of another SIP caller `user@host`, and `anonymous`.
    pub caller: Option<String>,
    /// Only calls to this domain.
    pub domain: Option<String>,
    /// A regular expression on the whole local part, unescaped.
    pub user: String,
    /// The local part is digits that spell the text which `user` is about.
    pub keypad: bool,
    /// The row is for emergency numbers, too.
    pub emergency: bool,
    /// Where they go: `trunk:NAME/user`, `sip:user@host` or `xmpp:user@domain`; `user` for whom the number rings, or
    /// `refuse`. `{1}` is the first group of `user`, `{host}` the domain that was called. Several trunks or SIP
    /// addresses are tried in order.
    pub to: Vec<String>,
}

/// The rows, checked. The first one that matches decides.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    /// Numbers that only rows made for them take.
    emergency: Vec<String>,
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

/// What somebody dialled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dialled<'a> {
    pub(crate) origin: &'a Origin,
    /// Who calls, plain.
    pub(crate) caller: &'a str,
    /// Who is called, plain.
    pub(crate) user: &'a str,
    pub(crate) domain: &'a str,
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

/// What the table says of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Found {
    /// The row, counted from 1.
    pub(crate) row: usize,
    /// Where the call goes, best first. Never empty.
    pub(crate) destinations: Vec<Destination>,
}

/// Why a call has no destination. Rows are counted from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NoDestination {
    /// No row matches.
    NoRoute,
    /// The row makes an address that cannot be.
    Unmappable { row: usize },
    /// The row says so.
    Refused { row: usize },
    /// It would be an emergency call, and no row is for those.
    Emergency,
}

#[derive(Clone, Debug)]
struct Route {
    from: Origin,
    caller: Option<Regex>,
    domain: Option<String>,
    user: Regex,
    keypad: bool,
    emergency: bool,
    to: Vec<Target>,
}

#[derive(Clone, Debug)]
enum Target {
    Trunk { name: String, user: Template },
    Sip { user: Template, host: Template },
    Xmpp { user: Template, domain: Template },
    User,
    Refuse,
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
    /// `user` or `caller` is no regular expression.
    #[error("route {row}: {key} = {text:?}: {problem}")]
    Regex { row: usize, key: &'static str, text: String, problem: String },
    /// `to` has none of its forms.
    #[error(
        "route {row}: to = {to:?}: expected \"trunk:NAME/user\", \"sip:user@host\", \"xmpp:user@domain\", \"user\" or \
         \"refuse\""
    )]
    To { row: usize, to: String },
    /// A place that nothing fills in.
    #[error("route {row}: to = {to:?}: expected {{1}} to {{{groups}}}, the groups of user, or {{host}}")]
    Placeholder { row: usize, to: String, groups: usize },
    /// From one side to the same side.
    #[error("route {row}: calls from {from:?} cannot go to {to:?}: one of them has to be xmpp")]
    SameSide { row: usize, from: String, to: String },
    /// None, or too many, or several of what there can be one of.
    #[error("route {row}: to has {count}: expected one, or up to {MAX_TARGETS} trunks or sip: addresses")]
    Several { row: usize, count: usize },
}

impl RouteTable {
    /// Numbers of emergency services that are the same in many countries.
    pub const EMERGENCY: [&str; 2] = ["112", "911"];

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
        let emergency = Self::EMERGENCY.map(str::to_owned).to_vec();
        if errors.is_empty() { Ok(Self { routes, emergency }) } else { Err(errors) }
    }

    /// The same table with other numbers that only rows made for them take.
    pub fn with_emergency(self, emergency: Vec<String>) -> Self {
        Self { emergency, ..self }
    }

    /// The trunks that one row tries in turn, with its number.
    pub fn alternatives(&self) -> impl Iterator<Item = (usize, Vec<&str>)> {
        self.routes.iter().enumerate().map(|(index, route)| {
            let trunks = route.to.iter().filter_map(|target| match target {
                Target::Trunk { name, .. } => Some(name.as_str()),
                Target::Sip { .. } | Target::Xmpp { .. } | Target::User | Target::Refuse => None,
            });
            (index + 1, trunks.collect())
        })
    }

    /// Finds where a call goes.
    pub(crate) fn find(&self, dialled: Dialled<'_>, users: &Users) -> Result<Found, NoDestination> {
        let domain = host_to_ascii(dialled.domain).map_err(|_| NoDestination::NoRoute)?;
        let spelled = keypad::spelled(dialled.user);
        let is_emergency = *dialled.origin == Origin::Xmpp && self.is_emergency(dialled.user);
        for (index, route) in self.routes.iter().enumerate() {
            let row = index + 1;
            let asked = if route.keypad { spelled.as_deref() } else { Some(dialled.user) };
            let Some(groups) = asked.and_then(|user| route.user.captures(user)) else { continue };
            if !route.is_for(&dialled, &domain) || is_emergency && !route.emergency {
                continue;
            }
            let mut destinations = Vec::new();
            for target in &route.to {
                match target {
                    Target::Refuse => return Err(NoDestination::Refused { row }),
                    Target::User => destinations.extend(users.by_number(dialled.user).cloned().map(Destination::Xmpp)),
                    Target::Trunk { .. } | Target::Sip { .. } | Target::Xmpp { .. } => {
                        let filled = target.fill(&groups, &domain).ok_or(NoDestination::Unmappable { row })?;
                        destinations.push(filled);
                    }
                }
            }
            if !route.emergency && destinations.iter().any(|destination| self.is_emergency_at(destination)) {
                return Err(NoDestination::Emergency);
            }
            // A number that is no user's is for the next row.
            if !destinations.is_empty() {
                return Ok(Found { row, destinations });
            }
        }
        Err(if is_emergency { NoDestination::Emergency } else { NoDestination::NoRoute })
    }

    fn is_emergency(&self, user: &str) -> bool {
        self.emergency.contains(&normalise_number(user))
    }

    /// Says whether rewriting has made an emergency number of something else.
    fn is_emergency_at(&self, destination: &Destination) -> bool {
        match destination {
            Destination::Trunk { user, .. } => self.is_emergency(user),
            Destination::Sip(uri) => uri.user_text().ok().flatten().is_some_and(|user| self.is_emergency(&user)),
            Destination::Xmpp(_) => false,
        }
    }
}

impl Route {
    fn new(row: &RouteRow, number: usize, trunks: &[&str]) -> Result<Self, RouteError> {
        let from = match (row.from.as_str(), row.from.strip_prefix("trunk:")) {
            ("xmpp", _) => Origin::Xmpp,
            ("sip", _) => Origin::Stranger,
            (_, Some(name)) => Origin::Trunk(known_trunk(name, number, trunks)?),
            (_, None) => return Err(RouteError::From { row: number, from: row.from.clone() }),
        };
        let domain = row.domain.as_deref().map(|domain| {
            host_to_ascii(domain).map_err(|_| RouteError::Domain { row: number, domain: domain.to_owned() })
        });
        let whole = |key: &'static str, text: &str| {
            Regex::new(&format!(r"\A(?:{text})\z")).map_err(|error| RouteError::Regex {
                row: number,
                key,
                text: text.to_owned(),
                problem: error.to_string().lines().last().unwrap_or_default().to_owned(),
            })
        };
        let caller = row.caller.as_deref().map(|caller| whole("caller", caller)).transpose()?;
        let user = whole("user", &row.user)?;
        let groups = user.captures_len() - 1;
        let to: Vec<_> = row.to.iter().map(|to| Target::new(to, number, groups, trunks)).collect::<Result<_, _>>()?;
        for (target, text) in to.iter().zip(&row.to) {
            let same_side = match target {
                Target::Trunk { .. } | Target::Sip { .. } => from != Origin::Xmpp,
                Target::Xmpp { .. } | Target::User => from == Origin::Xmpp,
                Target::Refuse => false,
            };
            if same_side {
                return Err(RouteError::SameSide { row: number, from: row.from.clone(), to: text.clone() });
            }
        }
        let tried = |target: &Target| matches!(target, Target::Trunk { .. } | Target::Sip { .. });
        if to.is_empty() || to.len() > MAX_TARGETS || to.len() > 1 && !to.iter().all(tried) {
            return Err(RouteError::Several { row: number, count: to.len() });
        }
        let (keypad, emergency) = (row.keypad, row.emergency);
        Ok(Self { from, caller, domain: domain.transpose()?, user, keypad, emergency, to })
    }

    fn is_for(&self, dialled: &Dialled<'_>, domain: &str) -> bool {
        self.from == *dialled.origin
            && self.domain.as_ref().is_none_or(|only| only == domain)
            && self.caller.as_ref().is_none_or(|only| only.is_match(dialled.caller))
    }
}

fn known_trunk(name: &str, row: usize, trunks: &[&str]) -> Result<String, RouteError> {
    let unknown = RouteError::UnknownTrunk { row, name: name.to_owned() };
    if trunks.contains(&name) { Ok(name.to_owned()) } else { Err(unknown) }
}

impl Target {
    fn new(text: &str, row: usize, groups: usize, trunks: &[&str]) -> Result<Self, RouteError> {
        let template = |part: &str| {
            Template::parse(part, groups).ok_or(RouteError::Placeholder { row, to: text.to_owned(), groups })
        };
        let wrong = || RouteError::To { row, to: text.to_owned() };
        match text {
            "user" => return Ok(Self::User),
            "refuse" => return Ok(Self::Refuse),
            _ => (),
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
        if scheme == "trunk" {
            let (name, user) = rest.split_once('/').filter(|(_, user)| !user.is_empty()).ok_or_else(wrong)?;
            return Ok(Self::Trunk { name: known_trunk(name, row, trunks)?, user: template(user)? });
        }
        let (user, host) = rest.rsplit_once('@').ok_or_else(wrong)?;
        if user.is_empty() || host.is_empty() {
            return Err(wrong());
        }
        match scheme {
            "sip" => Ok(Self::Sip { user: template(user)?, host: template(host)? }),
            "xmpp" => Ok(Self::Xmpp { user: template(user)?, domain: template(host)? }),
            _ => Err(wrong()),
        }
    }

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
            Self::User | Self::Refuse => None, // they have nothing to fill in
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
    use crate::users::UserRow;

    fn row(from: &str, user: &str, to: &str) -> RouteRow {
        RouteRow { from: from.into(), user: user.into(), to: vec![to.into()], ..RouteRow::default() }
    }

    impl RouteTable {
        /// Where an anonymous caller would get first.
        fn first(&self, origin: &Origin, user: &str, domain: &str) -> Result<Destination, NoDestination> {
            let dialled = Dialled { origin, caller: "anonymous", user, domain };
            self.find(dialled, &Users::default()).map(|found| found.destinations[0].clone())
        }
    }

    fn several(from: &str, to: &[&str]) -> RouteRow {
        RouteRow { to: to.iter().map(|to| (*to).to_owned()).collect(), ..row(from, ".*", "") }
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
        assert_eq!(routes.first(&Origin::Xmpp, "030", "gw"), phones("+4930"));
        assert_eq!(routes.first(&Origin::Xmpp, "100", "gw"), phones("100"));
        assert_eq!(routes.first(&Origin::Xmpp, "romeo@b.example", "a.example"), sip("sip:romeo@b.example"));
        assert_eq!(routes.first(&Origin::Xmpp, "x@y@b.example", "a.example"), sip("sip:x%40y@b.example"));
        assert_eq!(routes.first(&Origin::Xmpp, "romeo", "bücher.example"), sip("sip:romeo@xn--bcher-kva.example:5070"));
        assert_eq!(routes.first(&Origin::Stranger, "100", "gw"), Err(NoDestination::NoRoute));
        assert_eq!(routes.first(&Origin::Trunk("phones".into()), "100", "gw"), Err(NoDestination::NoRoute));
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
            assert_eq!(routes.first(&Origin::Xmpp, &plain, domain), sip(called), "{localpart}@{domain}");
        }
        for (uri, called) in [
            ("sip:juliet%40xmpp.example@gw.example", "juliet@xmpp.example"),
            ("sip:AT%26T%40xmpp.example@gw.example", "at\\26t@xmpp.example"),
            ("sip:juliet@xmpp.example", "juliet@xmpp.example"),
            ("sip:space%20cadet@xmpp.example", "space\\20cadet@xmpp.example"),
        ] {
            let parsed = SipUri::parse(uri).expect("a URI");
            let text = parsed.user_text().expect("it unescapes").expect("it has a user");
            assert_eq!(routes.first(&Origin::Stranger, &text, &parsed.host), xmpp(called), "{uri}");
        }
        let number = Ok(Destination::Trunk { name: "phones".into(), user: "+15551234567".into() });
        assert_eq!(routes.first(&Origin::Xmpp, "+15551234567", "gw.example"), number);
        assert_eq!(routes.first(&Origin::Trunk("phones".into()), "alice", "192.0.2.1"), xmpp("alice@xmpp.example"));
        assert_eq!(routes.first(&Origin::Stranger, "alice", "elsewhere.example"), Err(NoDestination::NoRoute));
    }

    #[test]
    fn rows_say_who_may_call_whom() {
        let by = |caller: &str, row| RouteRow { caller: Some(caller.into()), ..row };
        let routes = table(&[
            row("xmpp", r"\+1900.*", "refuse"),
            by(r"mallory@.*", row("xmpp", ".*", "refuse")),
            by(r".*@staff\.example", row("xmpp", r"(\+[0-9]+)", "trunk:phones/{1}")),
            row("xmpp", "([0-9]{3})", "trunk:phones/{1}"),
            by("anonymous", row("trunk:phones", ".*", "refuse")),
            row("trunk:phones", "(.*)", "xmpp:{1}@localhost"),
        ]);
        let ask = |origin: &Origin, caller: &str, user: &str| {
            let dialled = Dialled { origin, caller, user, domain: "gw" };
            routes.find(dialled, &Users::default()).map(|found| found.row)
        };
        assert_eq!(ask(&Origin::Xmpp, "alice@staff.example", "+4930123456"), Ok(3));
        assert_eq!(ask(&Origin::Xmpp, "alice@staff.example", "+19005551234"), Err(NoDestination::Refused { row: 1 }));
        assert_eq!(ask(&Origin::Xmpp, "mallory@staff.example", "100"), Err(NoDestination::Refused { row: 2 }));
        assert_eq!(ask(&Origin::Xmpp, "guest@example.org", "100"), Ok(4));
        assert_eq!(ask(&Origin::Xmpp, "guest@example.org", "+4930123456"), Err(NoDestination::NoRoute));
        assert_eq!(ask(&Origin::Xmpp, "x@staff.example.evil", "+4930123456"), Err(NoDestination::NoRoute));
        let trunk = Origin::Trunk("phones".into());
        assert_eq!(ask(&trunk, "anonymous", "alice"), Err(NoDestination::Refused { row: 5 }));
        assert_eq!(ask(&trunk, "+4930123456", "alice"), Ok(6));
    }

    #[test]
    fn a_row_may_have_several_trunks_in_order() {
        let routes = table(&[RouteRow {
            to: vec!["trunk:phones/{1}".into(), "sip:0{1}@backup.example".into()],
            ..row("xmpp", "([0-9]+)", "")
        }]);
        let dialled = Dialled { origin: &Origin::Xmpp, caller: "a@b", user: "100", domain: "gw" };
        let found = routes.find(dialled, &Users::default()).expect("there is a row");
        let phones = Destination::Trunk { name: "phones".into(), user: "100".into() };
        assert_eq!(found.destinations, [phones, sip("sip:0100@backup.example").expect("a URI")]);
        assert_eq!(routes.alternatives().collect::<Vec<_>>(), [(1, vec!["phones"])]);
    }

    #[test]
    fn a_number_rings_its_user_and_digits_may_spell_one() {
        let routes = table(&[
            row("trunk:phones", ".*", "user"),
            RouteRow { keypad: true, ..row("trunk:phones", "(.+)@(localhost)", "xmpp:{1}@{2}") },
            row("trunk:phones", "([a-z]+)", "xmpp:{1}@localhost"),
        ]);
        let user = UserRow { jid: "bob@localhost".into(), numbers: vec!["+4930123456".into()], ..UserRow::default() };
        let users = Users::new(&[user]).expect("the user is right");
        let trunk = Origin::Trunk("phones".into());
        let ask = |user: &str| {
            let dialled = Dialled { origin: &trunk, caller: "x", user, domain: "gw" };
            routes.find(dialled, &users).map(|found| (found.row, found.destinations[0].clone()))
        };
        let to = |row, jid| Ok((row, xmpp(jid).expect("a JID")));
        assert_eq!(ask("+4930123456"), to(1, "bob@localhost"));
        assert_eq!(ask("+4930123457"), Err(NoDestination::NoRoute));
        assert_eq!(ask("677875697134788169677874818586"), to(2, "alice@localhost"));
        assert_eq!(ask("alice"), to(3, "alice@localhost"));
    }

    #[test]
    fn emergency_numbers_need_a_row_of_their_own() {
        let all = row("xmpp", "(.*)", "trunk:phones/{1}");
        let stripped = row("xmpp", "0(.*)", "trunk:phones/{1}");
        let routes = table(&[stripped.clone(), all.clone()]);
        for refused in ["112", "911", "0112", "1-1-2"] {
            assert_eq!(routes.first(&Origin::Xmpp, refused, "gw"), Err(NoDestination::Emergency), "{refused}");
        }
        assert!(routes.first(&Origin::Xmpp, "113", "gw").is_ok());
        let other = table(std::slice::from_ref(&all)).with_emergency(vec!["113".into()]);
        assert_eq!(other.first(&Origin::Xmpp, "113", "gw"), Err(NoDestination::Emergency));
        assert!(other.first(&Origin::Xmpp, "112", "gw").is_ok());
        let explicit = RouteRow { emergency: true, ..row("xmpp", "112", "trunk:phones/0112") };
        let routes = table(&[stripped, all, explicit]);
        let alarm = Destination::Trunk { name: "phones".into(), user: "0112".into() };
        assert_eq!(routes.first(&Origin::Xmpp, "112", "gw"), Ok(alarm));
        assert_eq!(routes.first(&Origin::Xmpp, "911", "gw"), Err(NoDestination::Emergency));
    }

    #[test]
    fn a_group_cannot_break_out_of_its_part() {
        let routes = table(&[row("xmpp", "(?s)(.+)/(.+)", "sip:{1}@{2}"), row("sip", "(.+)/(.+)", "xmpp:{1}@{2}")]);
        assert_eq!(routes.first(&Origin::Xmpp, "a@evil;x/b", "gw"), sip("sip:a%40evil;x@b"));
        for host in ["b@c", "b c", "b;x=y", "b\r\nVia: x", "b:x"] {
            let called = format!("a/{host}");
            assert_eq!(routes.first(&Origin::Xmpp, &called, "gw"), Err(NoDestination::Unmappable { row: 1 }), "{host}");
        }
        assert_eq!(routes.first(&Origin::Stranger, "a@b/c.example", "gw"), xmpp("a\\40b@c.example"));
        assert_eq!(routes.first(&Origin::Stranger, "a/b/c", "gw"), xmpp("a\\2fb@c"));
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
            assert_eq!(routes.first(&Origin::Stranger, &text, "gw"), Ok(Destination::Xmpp(expected)), "{user}");
            let plain = xmpp::address::unescape(localpart);
            let Ok(Destination::Sip(uri)) = routes.first(&Origin::Xmpp, &plain, "gw") else { panic!("{localpart}") };
            assert_eq!(uri.user.as_deref(), Some(back), "{localpart}");
        }
        for unmappable in [" x", "x ", "\u{0}"] {
            assert_eq!(routes.first(&Origin::Stranger, unmappable, "gw"), Err(NoDestination::Unmappable { row: 1 }));
        }
        for (plain, user) in
            [("#x", "%23x"), ("{x}", "%7Bx%7D"), ("per%cent", "per%25cent"), ("tschüss", "tsch%C3%BCss")]
        {
            assert_eq!(routes.first(&Origin::Xmpp, plain, "gw"), sip(&format!("sip:{user}@b.example")));
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
            (RouteRow { caller: Some("[".into()), ..row("xmpp", ".*", "sip:a@b") }, "route 1: caller = \"[\""),
            (row("xmpp", ".*", "user"), "one of them has to be xmpp"),
            (RouteRow { to: Vec::new(), ..row("xmpp", ".*", "") }, "to has 0: expected one"),
            (several("sip", &["xmpp:a@b", "xmpp:c@d"]), "to has 2: expected one"),
            (several("xmpp", &["sip:a@b", "refuse"]), "to has 2: expected one"),
            (several("xmpp", &["sip:a@b"; 9]), "to has 9: expected one"),
        ] {
            let errors = RouteTable::new(&[row], &["phones"]).expect_err("the row is wrong");
            assert!(errors[0].to_string().contains(part), "{} lacks {part}", errors[0]);
        }
    }
}
