//! Where a call goes and what each side sees of it: everything about that which depends on the configuration alone.

use jid::{BareJid, FullJid, Jid};
use sip::address::{AddressError, SipUri, host_to_ascii, normalise_number};
use xmpp::address::unescape;

use crate::caller::{self, SipCaller};
use crate::config::Config;
use crate::ending::Refusal;
use crate::number::NumberPlan;
use crate::route::{Destination, Dialled, NoDestination, Origin};

/// What becomes of a call from XMPP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ToSip {
    /// The row of the address table, counted from 1.
    pub(crate) row: usize,
    /// What is tried, in order. Never empty.
    pub(crate) attempts: Vec<Attempt>,
}

/// One way to call somebody on the SIP side.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Attempt {
    /// By which trunk.
    pub(crate) trunk: Option<String>,
    /// The Request-URI.
    pub(crate) to: String,
    /// Who calls.
    pub(crate) caller: caller::Identity,
}

/// Why a call is not made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct NotMade {
    pub(crate) refusal: Refusal,
    /// The row of the address table that says so, counted from 1.
    pub(crate) row: Option<usize>,
}

/// What becomes of a call from SIP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ToXmpp {
    /// The row of the address table, counted from 1.
    pub(crate) row: usize,
    /// Who calls.
    pub(crate) caller: FullJid,
    /// Who is called.
    pub(crate) callee: BareJid,
}

/// A call from SIP, as far as that depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FromSip<'a> {
    /// The trunk it comes from.
    pub(crate) trunk: Option<&'a str>,
    pub(crate) request_uri: &'a str,
    pub(crate) caller: SipCaller<'a>,
}

/// Plans a call from XMPP.
pub(crate) fn to_sip(config: &Config, caller: &BareJid, callee: &Jid) -> Result<ToSip, NotMade> {
    if caller.domain().as_str() == config.component {
        return Err(Refusal::Loop.into());
    }
    let user = normalise_number(&unescape(callee.node().ok_or(Refusal::NoRoute)?.as_str()));
    let plain = caller.node().map_or_else(String::new, |node| format!("{}@", unescape(node.as_str())));
    let dialled = Dialled {
        origin: &Origin::Xmpp,
        caller: &format!("{plain}{}", caller.domain()),
        user: &user,
        domain: callee.domain().as_str(),
    };
    let found = config.routes.find(dialled, &config.users).map_err(refusal)?;
    let attempt = |destination: &Destination| attempt(config, caller, destination);
    let attempts = found.destinations.iter().map(attempt).collect::<Result<_, _>>();
    let attempts = attempts.map_err(|refusal| NotMade { refusal, row: Some(found.row) })?;
    Ok(ToSip { row: found.row, attempts })
}

fn attempt(config: &Config, caller: &BareJid, destination: &Destination) -> Result<Attempt, Refusal> {
    let (to, trunk) = match destination {
        Destination::Trunk { name, user } => {
            let trunk = config.trunks.get(name).ok_or(Refusal::NoRoute)?;
            (trunk.user_at(user, &trunk.host), Some((name, trunk)))
        }
        Destination::Sip(uri) if Ok(&uri.host) == host_to_ascii(&config.component).as_ref() => {
            return Err(Refusal::Loop);
        }
        Destination::Sip(uri) => (uri.to_string(), None),
        Destination::Xmpp(_) => return Err(Refusal::NoRoute), // the table has no such rows
    };
    let caller = caller::identity(config, trunk.map(|(_, trunk)| trunk), caller).ok_or(Refusal::Unmappable)?;
    Ok(Attempt { trunk: trunk.map(|(name, _)| name.clone()), to, caller })
}

/// Plans a call from SIP.
pub(crate) fn to_xmpp(config: &Config, call: FromSip<'_>) -> Result<ToXmpp, NotMade> {
    let uri = SipUri::parse(call.request_uri)
        .map_err(|error| if error == AddressError::Scheme { Refusal::UnknownScheme } else { Refusal::Malformed })?;
    match uri.scheme.as_str() {
        "sip" | "tel" => (),
        "sips" => return Err(Refusal::Sips.into()),
        _ => return Err(Refusal::UnknownScheme.into()),
    }
    let user = uri.user_text().map_err(|_| Refusal::Unmappable)?.ok_or(Refusal::NoRoute)?;
    let trunk = call.trunk.and_then(|name| config.trunks.get(name));
    let origin = call.trunk.map_or(Origin::Stranger, |name| Origin::Trunk(name.to_owned()));
    let caller = caller::plain(trunk, call.caller);
    let dialled = Dialled {
        origin: &origin,
        caller: &caller,
        user: &trunk.map_or(&NumberPlan::default(), |trunk| &trunk.numbers).to_global(&user),
        // A tel URI has no host.
        domain: if uri.host.is_empty() { &config.component } else { &uri.host },
    };
    let found = match config.routes.find(dialled, &config.users) {
        Err(NoDestination::NoRoute) if origin == Origin::Stranger => return Err(Refusal::Forbidden.into()),
        found => found.map_err(refusal)?,
    };
    let not_made = |refusal| NotMade { refusal, row: Some(found.row) };
    match found.destinations.into_iter().next() {
        Some(Destination::Xmpp(callee)) if callee.domain().as_str() == config.component => Err(not_made(Refusal::Loop)),
        Some(Destination::Xmpp(callee)) => {
            let caller = caller::jid(config, &caller).ok_or(not_made(Refusal::Unmappable))?;
            Ok(ToXmpp { row: found.row, caller, callee })
        }
        Some(Destination::Trunk { .. } | Destination::Sip(_)) | None => Err(not_made(Refusal::NoRoute)), // no such rows
    }
}

impl From<Refusal> for NotMade {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, row: None }
    }
}

const fn refusal(none: NoDestination) -> NotMade {
    match none {
        NoDestination::NoRoute => NotMade { refusal: Refusal::NoRoute, row: None },
        NoDestination::Unmappable { row } => NotMade { refusal: Refusal::Unmappable, row: Some(row) },
        NoDestination::Refused { row } => NotMade { refusal: Refusal::Denied, row: Some(row) },
        NoDestination::Emergency => NotMade { refusal: Refusal::Emergency, row: None },
    }
}
