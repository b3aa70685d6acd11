//! Who calls, as the other side sees it (RFC 7247 §6, XEP-0106).

use jid::{BareJid, FullJid, Jid};
use sip::address::{SipUri, host_to_ascii, normalise_number};
use sip::message::IncomingInvite;
use xmpp::address::{to_localpart, unescape};

use crate::{CallerForm, Config};

/// The one resource of all our users: clients tie a call to the full JID it comes from.
pub(crate) const RESOURCE: &str = "sip";

/// The local part of a caller who does not say who it is, or says it in a way that has no JID.
const ANONYMOUS: &str = "anonymous";

/// Our user that stands for a SIP address that an XMPP user called or was called by.
pub(crate) fn with_resource(user: &BareJid) -> Option<FullJid> {
    user.with_resource_str(RESOURCE).ok()
}

/// The From URI of an XMPP caller. Nothing where a domain has no form in SIP.
pub(crate) fn sip_uri(config: &Config, caller: &BareJid) -> Option<String> {
    let domain = host_to_ascii(caller.domain().as_str()).ok()?;
    let node = caller.node().map(|node| unescape(node.as_str()));
    let (user, host) = match (config.caller, node) {
        (CallerForm::Escaped, Some(node)) => (format!("{node}@{domain}"), host_to_ascii(&config.component).ok()?),
        (CallerForm::Domain, Some(node)) => (node, domain),
        (_, None) => (domain, host_to_ascii(&config.component).ok()?),
    };
    Some(SipUri::new(&user, &host).to_string())
}

/// The JID of a SIP caller: from a trunk the user alone, so that it can be called back; from elsewhere the whole
/// address, which nobody can fake into an address of ours.
pub(crate) fn jid(config: &Config, invite: &IncomingInvite) -> Option<FullJid> {
    let asserted = invite.asserted_identity.as_deref().filter(|_| invite.trunk.is_some());
    let uri = asserted.and_then(|uri| SipUri::parse(uri).ok()).or_else(|| SipUri::parse(&invite.from).ok());
    let named = uri.as_ref().and_then(|uri| name(uri, invite.trunk.is_some()));
    let localpart = named.and_then(|name| to_localpart(&name).ok()).unwrap_or_else(|| ANONYMOUS.to_owned());
    with_resource(&BareJid::new(&format!("{localpart}@{}", config.component)).ok()?)
}

fn name(uri: &SipUri, trusted: bool) -> Option<String> {
    if uri.host == "anonymous.invalid" {
        return None;
    }
    let user = uri.user_text().ok()??;
    let user = normalise_number(&user);
    if trusted || uri.host.is_empty() { Some(user) } else { Some(format!("{user}@{}", uri.host)) }
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

#[cfg(test)]
mod tests {
    use sip::message::PeerSupport;

    use super::*;
    use crate::RouteTable;

    fn config() -> Config {
        Config::new("sip.localhost", RouteTable::default())
    }

    fn bare(jid: &str) -> BareJid {
        BareJid::new(jid).expect("a JID")
    }

    #[test]
    fn sip_sees_the_whole_jid_as_a_user_of_the_gateway() {
        let seen = |jid| sip_uri(&config(), &bare(jid)).expect("it has a SIP form");
        assert_eq!(seen("alice@localhost"), "sip:alice%40localhost@sip.localhost");
        assert_eq!(seen("o\\27malley@bücher.example"), "sip:o'malley%40xn--bcher-kva.example@sip.localhost");
        let domains = Config { caller: CallerForm::Domain, ..config() };
        assert_eq!(sip_uri(&domains, &bare("juliet@xmpp.example")).as_deref(), Some("sip:juliet@xmpp.example"));
    }

    fn invite(trunk: bool, from: &str, asserted: Option<&str>) -> IncomingInvite {
        IncomingInvite {
            dialog: sip::message::DialogId(1),
            trunk: trunk.then(|| "phones".to_owned()),
            source: ([127, 0, 0, 1], 5081).into(),
            request_uri: "sip:bob@127.0.0.1".into(),
            from: from.into(),
            from_display: None,
            asserted_identity: asserted.map(str::to_owned),
            sdp: None,
            max_forwards: 70,
            sip_call_id: "x".into(),
            private: false,
            replaces: None,
            referred_by: None,
            peer: PeerSupport::default(),
        }
    }

    #[test]
    fn xmpp_sees_a_user_of_the_component() {
        let seen = |trunk, from, asserted| {
            let jid = jid(&config(), &invite(trunk, from, asserted)).expect("there is always a JID");
            jid.to_string()
        };
        assert_eq!(seen(true, "sip:100@127.0.0.1:5081", None), "100@sip.localhost/sip");
        assert_eq!(seen(true, "sip:+1-555-123@pbx", None), "+1555123@sip.localhost/sip");
        assert_eq!(seen(true, "sip:x@pbx", Some("tel:+1-555")), "+1555@sip.localhost/sip");
        assert_eq!(seen(false, "sip:x@evil", Some("sip:boss@pbx")), "x\\40evil@sip.localhost/sip");
        assert_eq!(seen(true, "sip:anonymous@anonymous.invalid", None), "anonymous@sip.localhost/sip");
        assert_eq!(seen(true, "sip:%20x@pbx", None), "anonymous@sip.localhost/sip");
        assert_eq!(seen(false, "garbage", None), "anonymous@sip.localhost/sip");
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
