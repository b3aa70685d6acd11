//! What happens in a session (XEP-0167 §8), and keys that are pressed in it (XEP-0181).

use jid::Jid;
use minidom::Element;
use model::DtmfDigit;

use super::Party;
use crate::xml::element;

/// Namespace of RTP's session-info payloads.
const NS: &str = "urn:xmpp:jingle:apps:rtp:info:1";

/// Namespace of key presses.
const DTMF_NS: &str = "urn:xmpp:jingle:dtmf:0";

/// Namespace of transfers.
pub(super) const TRANSFER_NS: &str = "urn:xmpp:jingle:transfer:0";

/// What a session-info tells (XEP-0167 §8).
#[derive(Clone, Debug, PartialEq)]
pub enum Info {
    /// The phone rings.
    Ringing,
    /// On hold.
    Hold,
    /// No longer on hold.
    Unhold,
    /// Active again: neither held nor muted.
    Active,
    /// Does not send, but listens. The content's name, or all.
    Mute(Option<String>),
    /// Sends again.
    Unmute(Option<String>),
    /// A key of the telephone (XEP-0181).
    Dtmf {
        /// Which.
        digit: DtmfDigit,
        /// It is held down, or let go; where neither is said, both.
        down: Option<bool>,
        /// How long, in milliseconds.
        duration_ms: Option<u32>,
    },
    /// The other party shall talk to somebody else (XEP-0251).
    Transfer {
        /// To whom.
        to: Jid,
        /// The session with that one, which the new one is to replace.
        sid: Option<String>,
    },
    /// Something else, as namespace and name.
    Other(String, String),
}

impl Info {
    pub(super) fn parse(child: &Element) -> Self {
        let other = || Self::Other(child.ns(), child.name().to_owned());
        if child.is("dtmf", DTMF_NS) {
            return parse_dtmf(child).unwrap_or_else(other);
        }
        if child.is("transfer", TRANSFER_NS) {
            let to = child.attr("to").and_then(|to| Jid::new(to).ok());
            let sid = child.attr("sid").map(str::to_owned);
            return to.map_or_else(other, |to| Self::Transfer { to, sid });
        }
        if !child.has_ns(NS) {
            return other();
        }
        let content = || child.attr("name").map(str::to_owned);
        match child.name() {
            "ringing" => Self::Ringing,
            "hold" => Self::Hold,
            "unhold" => Self::Unhold,
            "active" => Self::Active,
            "mute" => Self::Mute(content()),
            "unmute" => Self::Unmute(content()),
            _ => other(),
        }
    }

    pub(super) fn to_element(&self) -> Element {
        match self {
            Self::Ringing => element!("ringing", NS),
            Self::Hold => element!("hold", NS),
            Self::Unhold => element!("unhold", NS),
            Self::Active => element!("active", NS),
            Self::Mute(content) => {
                element!("mute", NS, "name" = content.as_deref(), "creator" = creator_of(content.as_deref()))
            }
            Self::Unmute(content) => {
                element!("unmute", NS, "name" = content.as_deref(), "creator" = creator_of(content.as_deref()))
            }
            Self::Dtmf { digit, down, duration_ms } => element!(
                "dtmf",
                DTMF_NS,
                "action" = down.map(|down| if down { "button-down" } else { "button-up" }),
                "code" = char::from(*digit).to_string(),
                "duration" = duration_ms.map(|duration| duration.to_string()),
            ),
            Self::Transfer { to, sid } => {
                element!("transfer", TRANSFER_NS, "to" = to.as_str(), "sid" = sid.as_deref())
            }
            Self::Other(namespace, name) => Element::bare(name.as_str(), namespace.as_str()),
        }
    }
}

fn parse_dtmf(child: &Element) -> Option<Info> {
    let mut code = child.attr("code")?.chars();
    let (key, None) = (code.next()?, code.next()) else { return None };
    let down = match child.attr("action") {
        Some("button-down") => Some(true),
        Some("button-up") => Some(false),
        _ => None,
    };
    let duration_ms = child.attr("duration").and_then(|duration| duration.parse().ok());
    Some(Info::Dtmf { digit: DtmfDigit::try_from(key).ok()?, down, duration_ms })
}

/// A content is named with its creator, which several clients take to be the initiator always.
fn creator_of(content: Option<&str>) -> Option<&'static str> {
    content.map(|_| Party::Initiator.as_str())
}
