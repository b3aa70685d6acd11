//! What `stox route-test` tells: which row is for a call, and what each side will see of it.

use std::fmt;

use jid::Jid;
use sip::address::SipUri;

use crate::caller::{self, SipCaller};
use crate::config::{Config, TrunkMedia};
use crate::plan::{self, FromSip, NotMade, ToSip, ToXmpp};

/// What becomes of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// It would be made.
    pub made: bool,
    /// The row of the address table that decides, counted from 1; none where nothing is for it.
    pub row: Option<usize>,
    /// What there is to say, as pairs of a word and its value.
    pub lines: Vec<(&'static str, String)>,
}

/// Says what becomes of a call, without making it. A caller that is a JID calls from XMPP, one that is a URI from SIP:
/// through the trunk, or from nobody's.
///
/// # Errors
///
/// An address cannot be read, or there is no such trunk.
pub fn route_test(config: &Config, from: &str, to: &str, trunk: Option<&str>) -> Result<Verdict, String> {
    if let Some(name) = trunk.filter(|name| !config.trunks.contains_key(*name)) {
        return Err(format!("there is no trunk {name:?}"));
    }
    if SipUri::parse(from).is_ok() {
        let caller = SipCaller { from, asserted: None, private: false };
        return Ok(from_sip(config, FromSip { trunk, request_uri: to, caller }));
    }
    let jid =
        |text: &str| Jid::new(text).map_err(|error| format!("{text}: {error}; expected a JID or a sip: or tel: URI"));
    if trunk.is_some() {
        return Err(format!("{from}: a call that comes from a trunk has a caller such as sip:100@example.org"));
    }
    Ok(from_xmpp(config, &jid(from)?, &jid(to)?))
}

fn from_xmpp(config: &Config, from: &Jid, to: &Jid) -> Verdict {
    let ToSip { row, attempts } = match plan::to_sip(config, &from.to_bare(), to) {
        Ok(planned) => planned,
        Err(not_made) => return refused(config, not_made),
    };
    let mut lines = Vec::new();
    for (number, attempt) in attempts.into_iter().enumerate() {
        if number > 0 {
            lines.push(("otherwise", "where no answer comes, or 502, 503 or 504".to_owned()));
        }
        let trunk = attempt.trunk.as_ref().and_then(|name| config.trunks.get(name));
        lines.push(("trunk", attempt.trunk.unwrap_or_else(|| "none".to_owned())));
        lines.push(("Request-URI", attempt.to));
        let caller = attempt.caller;
        lines.push(("From", sip::address::write_name_addr(caller.display.as_deref(), &caller.from)));
        lines.extend(caller.asserted.map(|uri| ("P-Asserted-Identity", format!("<{uri}>"))));
        if caller.private {
            lines.push(("Privacy", "id".to_owned()));
        }
        lines.push(("SIP media", sip_media(trunk.map(|trunk| trunk.media)).to_owned()));
    }
    lines.push(("XMPP caller", from.to_string()));
    lines.extend(caller::with_resource(&to.to_bare()).map(|us| ("XMPP sees", us.to_string())));
    lines.push(("XMPP media", xmpp_media(config).to_owned()));
    Verdict { made: true, row: Some(row), lines }
}

fn from_sip(config: &Config, call: FromSip<'_>) -> Verdict {
    let ToXmpp { row, caller, callee } = match plan::to_xmpp(config, call) {
        Ok(planned) => planned,
        Err(not_made) => return refused(config, not_made),
    };
    let trunk = call.trunk.and_then(|name| config.trunks.get(name));
    let lines = vec![
        ("trunk", call.trunk.unwrap_or("none").to_owned()),
        ("Request-URI", call.request_uri.to_owned()),
        ("From", format!("<{}>", call.caller.from)),
        ("SIP media", sip_media(trunk.map(|trunk| trunk.media)).to_owned()),
        ("XMPP callee", callee.to_string()),
        ("XMPP sees", caller.to_string()),
        ("XMPP media", xmpp_media(config).to_owned()),
    ];
    Verdict { made: true, row: Some(row), lines }
}

fn refused(config: &Config, NotMade { refusal, row }: NotMade) -> Verdict {
    let status = refusal.response(&config.component).status;
    let lines = vec![
        ("refused", refusal.word().replace('-', " ")),
        ("SIP status", status.to_string()),
        ("XMPP error", refusal.stanza_error().condition.as_str().to_owned()),
    ];
    Verdict { made: false, row, lines }
}

/// What protects the media of a trunk, or of nobody's.
const fn sip_media(media: Option<TrunkMedia>) -> &'static str {
    match media {
        Some(TrunkMedia::Rtp) => "RTP in clear",
        Some(TrunkMedia::Sdes) => "SRTP, keys in the SDP",
        Some(TrunkMedia::Osrtp) => "SRTP, keys in the SDP, or RTP in clear where the peer wants no keys",
        Some(TrunkMedia::Dtls) => "DTLS-SRTP",
        None => "RTP in clear, or SRTP with keys in the SDP where that is offered",
    }
}

const fn xmpp_media(config: &Config) -> &'static str {
    if config.allow_plain_jingle {
        "DTLS-SRTP, or RTP in clear where the client knows nothing else"
    } else {
        "DTLS-SRTP"
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = self.row {
            writeln!(f, "{:<20}{row}", "route")?;
        }
        self.lines.iter().try_for_each(|(word, value)| writeln!(f, "{word:<20}{value}"))
    }
}
