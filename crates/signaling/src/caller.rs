//! Who calls, as the other side sees it (RFC 7247 §6, XEP-0106).

use jid::{BareJid, FullJid, Jid};
use sip::address::{SipUri, host_to_ascii, normalise_number};
use xmpp::address::{to_localpart, unescape};

use crate::config::{CallerForm, Trunk};
use crate::number::is_global;
use crate::{Config, NumberPlan};

/// The one resource of all our users: clients tie a call to the full JID it comes from.
pub(crate) const RESOURCE: &str = "sip";

/// The local part of a caller who does not say who it is, or says it in a way that has no JID.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// The From of a caller that nobody is to know (RFC 3323 §4.1.1.3).
const ANONYMOUS_URI: &str = "sip:anonymous@anonymous.invalid";

/// Our user that stands for a SIP address that an XMPP user called or was called by.
pub(crate) fn with_resource(user: &BareJid) -> Option<FullJid> {
    user.with_resource_str(RESOURCE).ok()
}

/// An XMPP caller as SIP sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Identity {
    /// The From URI.
    pub(crate) from: String,
    /// The name beside it.
    pub(crate) display: Option<String>,
    /// Who it is for those that may know (RFC 3325 §9.1).
    pub(crate) asserted: Option<String>,
    /// Nobody else is to know (RFC 3325 §9.3).
    pub(crate) private: bool,
    /// The URI is made of the JID: a call from SIP that bears it is one of ours that came back.
    pub(crate) is_jid: bool,
}

/// How a trunk, or somebody who is none, sees an XMPP caller. Nothing where its domain has no form in SIP.
pub(crate) fn identity(config: &Config, trunk: Option<&Trunk>, caller: &BareJid) -> Option<Identity> {
    let user = config.users.of(caller);
    let form = trunk.and_then(|trunk| trunk.caller).unwrap_or(config.caller);
    let number = user.and_then(|user| user.number.clone()).or_else(|| trunk?.number.clone());
    let number = number.filter(|_| form == CallerForm::Number);
    let is_jid = number.is_none();
    let uri = match number {
        Some(number) => number_uri(config, trunk, &number)?,
        None => jid_uri(config, form, caller)?,
    };
    let asserted = trunk.is_some_and(|trunk| trunk.assert_identity).then(|| uri.clone());
    if user.is_some_and(|user| user.anonymous) {
        let (from, display) = (ANONYMOUS_URI.to_owned(), Some("Anonymous".to_owned()));
        return Some(Identity { from, display, asserted, private: true, is_jid: false });
    }
    let display = user.and_then(|user| user.name.clone());
    Some(Identity { from: uri, display, asserted, private: false, is_jid })
}

/// The URI of a caller who is known by its number.
fn number_uri(config: &Config, trunk: Option<&Trunk>, number: &str) -> Option<String> {
    let Some(trunk) = trunk else {
        return Some(SipUri::new(number, &host_to_ascii(&config.component).ok()?).to_string());
    };
    let host = SipUri::parse(&format!("sip:{}", trunk.host)).ok()?.host;
    Some(trunk.user_at(number, &host))
}

/// The URI of a caller that is made of its JID.
fn jid_uri(config: &Config, form: CallerForm, caller: &BareJid) -> Option<String> {
    let domain = host_to_ascii(caller.domain().as_str()).ok()?;
    let node = caller.node().map(|node| unescape(node.as_str()));
    let (user, host) = match (form, node) {
        (CallerForm::Escaped | CallerForm::Number, Some(node)) => {
            (format!("{node}@{domain}"), host_to_ascii(&config.component).ok()?)
        }
        (CallerForm::Domain, Some(node)) => (node, domain),
        (_, None) => (domain, host_to_ascii(&config.component).ok()?),
    };
    Some(SipUri::new(&user, &host).to_string())
}

/// What a SIP caller says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SipCaller<'a> {
    /// The From URI.
    pub(crate) from: &'a str,
    /// P-Asserted-Identity, which is believed from trunks alone.
    pub(crate) asserted: Option<&'a str>,
    /// It does not want to be known (RFC 3325 §9.3).
    pub(crate) private: bool,
}

/// A SIP caller in plain words: from a trunk the user alone, so that it can be called back; from elsewhere the whole
/// address, which nobody can fake into an address of ours. `anonymous` where it does not say who it is.
pub(crate) fn plain(trunk: Option<&Trunk>, caller: SipCaller<'_>) -> String {
    let asserted = caller.asserted.filter(|_| trunk.is_some());
    let uri = asserted.and_then(|uri| SipUri::parse(uri).ok()).or_else(|| SipUri::parse(caller.from).ok());
    let named = uri.filter(|_| !caller.private).and_then(|uri| name(&uri, trunk.map(|trunk| &trunk.numbers)));
    named.filter(|name| to_localpart(name).is_ok()).unwrap_or_else(|| ANONYMOUS.to_owned())
}

fn name(uri: &SipUri, trunk: Option<&NumberPlan>) -> Option<String> {
    if uri.host == "anonymous.invalid" {
        return None;
    }
    let user = uri.user_text().ok()??;
    match trunk {
        Some(numbers) => Some(numbers.to_global(&user)),
        None if uri.host.is_empty() => Some(normalise_number(&user)),
        None => Some(format!("{}@{}", normalise_number(&user), uri.host)),
    }
}

/// The JID of a SIP caller who is this, plain.
pub(crate) fn jid(config: &Config, plain: &str) -> Option<FullJid> {
    let localpart = to_localpart(plain).ok()?;
    with_resource(&BareJid::new(&format!("{localpart}@{}", config.component)).ok()?)
}

/// The JID that stands for an address typed by a user (XEP-0100 §6.1): `sip:`, `tel:` or bare.
pub(crate) fn jid_of_prompt(config: &Config, prompt: &str) -> Option<Jid> {
    let plain = match SipUri::parse(prompt) {
        Ok(uri) if uri.host.is_empty() => uri.user_text().ok()??,
        Ok(uri) => format!("{}@{}", uri.user_text().ok()??, uri.host),
        Err(_) => normalise_number(prompt),
    };
    Jid::new(&format!("{}@{}", to_localpart(&plain).ok()?, config.component)).ok()
}

impl Trunk {
    /// The URI of one of its users, given plain, at a host: a number as it wants it.
    pub(crate) fn user_at(&self, user: &str, host: &str) -> String {
        let mut uri = SipUri::new(&self.numbers.to_local(user), host);
        let digits = user.strip_prefix('+').unwrap_or(user);
        let is_number = is_global(user) || !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if self.user_phone && is_number {
            uri.parameters.push(("user".to_owned(), Some("phone".to_owned())));
        }
        uri.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NumberFormat, RouteTable, TrunkMedia, UserRow, Users};

    fn config() -> Config {
        Config::new("sip.localhost", RouteTable::default())
    }

    fn trunk() -> Trunk {
        Trunk::new("sip:pbx.example:5070", TrunkMedia::Rtp).expect("a URI")
    }

    fn bare(jid: &str) -> BareJid {
        BareJid::new(jid).expect("a JID")
    }

    #[test]
    fn sip_sees_the_whole_jid_as_a_user_of_the_gateway() {
        let seen = |config: &Config, jid| identity(config, None, &bare(jid)).expect("it has a SIP form").from;
        assert_eq!(seen(&config(), "alice@localhost"), "sip:alice%40localhost@sip.localhost");
        assert_eq!(seen(&config(), "o\\27malley@bücher.example"), "sip:o'malley%40xn--bcher-kva.example@sip.localhost");
        let domains = Config { caller: CallerForm::Domain, ..config() };
        assert_eq!(seen(&domains, "juliet@xmpp.example"), "sip:juliet@xmpp.example");
    }

    #[test]
    fn a_trunk_sees_the_number_of_a_user() {
        let row = |jid: &str, number: &str, anonymous| UserRow {
            jid: jid.into(),
            numbers: vec![number.into()],
            name: Some("Alice".into()),
            anonymous,
        };
        let users =
            Users::new(&[row("alice@localhost", "+4930123456", false), row("eve@localhost", "+4930123457", true)]);
        let config = Config { users: users.expect("they are right"), ..config() };
        let numbers = NumberPlan { format: NumberFormat::Digits, ..NumberPlan::default() };
        let provider =
            Trunk { caller: Some(CallerForm::Number), assert_identity: true, user_phone: true, numbers, ..trunk() };
        let seen = |trunk: &Trunk, jid| identity(&config, Some(trunk), &bare(jid)).expect("it has a SIP form");
        let alice = seen(&provider, "alice@localhost");
        assert_eq!((alice.from.as_str(), alice.private), ("sip:4930123456@pbx.example;user=phone", false));
        assert_eq!((alice.asserted.as_ref(), alice.display.as_deref()), (Some(&alice.from), Some("Alice")));
        let eve = seen(&provider, "eve@localhost");
        assert_eq!((eve.from.as_str(), eve.private), (ANONYMOUS_URI, true));
        assert_eq!(eve.asserted.as_deref(), Some("sip:4930123457@pbx.example;user=phone"));
        assert_eq!(seen(&trunk(), "eve@localhost").asserted, None, "this one is not to be told");
        let bob = seen(&provider, "bob@localhost");
        assert_eq!((bob.from.as_str(), bob.is_jid), ("sip:bob%40localhost@sip.localhost", true));
        let with_number = Trunk { number: Some("+4930123450".into()), ..provider };
        let bob = seen(&with_number, "bob@localhost");
        assert_eq!((bob.from.as_str(), bob.is_jid), ("sip:4930123450@pbx.example;user=phone", false));
    }

    #[test]
    fn xmpp_sees_a_user_of_the_component() {
        let seen = |trusted: bool, from, asserted, private| {
            let trunk = trunk();
            let plain = plain(trusted.then_some(&trunk), SipCaller { from, asserted, private });
            jid(&config(), &plain).expect("there is always a JID").to_string()
        };
        assert_eq!(seen(true, "sip:100@127.0.0.1:5081", None, false), "100@sip.localhost/sip");
        assert_eq!(seen(true, "sip:+1-555-123@pbx", None, false), "+1555123@sip.localhost/sip");
        assert_eq!(seen(true, "sip:x@pbx", Some("tel:+1-555"), false), "+1555@sip.localhost/sip");
        assert_eq!(seen(false, "sip:x@evil", Some("sip:boss@pbx"), false), "x\\40evil@sip.localhost/sip");
        for from in ["sip:anonymous@anonymous.invalid", "sip:%20x@pbx", "garbage"] {
            assert_eq!(seen(true, from, None, false), "anonymous@sip.localhost/sip", "{from}");
            assert_eq!(seen(false, from, None, false).split('@').next_back(), Some("sip.localhost/sip"), "{from}");
        }
        assert_eq!(seen(true, "sip:100@pbx", Some("sip:boss@pbx"), true), "anonymous@sip.localhost/sip");
    }

    #[test]
    fn a_typed_address_has_a_jid() {
        let jid = |prompt| jid_of_prompt(&config(), prompt).map(|jid| jid.to_string());
        assert_eq!(jid("romeo@sip.example").as_deref(), Some("romeo\\40sip.example@sip.localhost"));
        assert_eq!(jid("sip:romeo@sip.example").as_deref(), Some("romeo\\40sip.example@sip.localhost"));
        assert_eq!(jid("tel:+1-555").as_deref(), Some("+1555@sip.localhost"));
        assert_eq!(jid("+1 ").as_deref(), None);
    }
}
