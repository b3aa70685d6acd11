//! Why a session ends (XEP-0166 §7.4, XEP-0167 §9).

use minidom::Element;

use super::NS;
use super::info::TRANSFER_NS;
use crate::address::display_name;
use crate::xml::element;

/// Namespace of RTP's own error conditions.
const RTP_ERRORS: &str = "urn:xmpp:jingle:apps:rtp:errors:1";
/// Namespace of the status of the SIP side, ours.
const SIP_STATUS: &str = "urn:xmpp:sip-status:0";

/// Why a session ends (XEP-0166 §7.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Reason {
    /// The condition.
    pub condition: ReasonCondition,
    /// The text.
    pub text: Option<String>,
    /// The status of the SIP side, as a foreign element `<sip xmlns='urn:xmpp:sip-status:0' code='486'/>`.
    pub sip_status: Option<u16>,
    /// RTP's own condition (XEP-0167 §9): `crypto-required`, `invalid-crypto`.
    pub rtp_error: Option<String>,
    /// The other side talks to somebody else now (XEP-0251 §3).
    pub is_transferred: bool,
}

impl Reason {
    /// A reason with nothing but its condition.
    pub const fn new(condition: ReasonCondition) -> Self {
        Self { condition, text: None, sip_status: None, rtp_error: None, is_transferred: false }
    }

    pub(crate) fn parse(reason: &Element) -> Self {
        let mut parsed = Self::new(ReasonCondition::GeneralError);
        for child in reason.children() {
            if child.is("text", NS) {
                parsed.text = Some(display_name(&child.text())).filter(|text| !text.is_empty());
            } else if child.is("sip", SIP_STATUS) {
                parsed.sip_status = child.attr("code").and_then(|code| code.parse().ok());
            } else if child.is("transferred", TRANSFER_NS) {
                parsed.is_transferred = true;
            } else if child.has_ns(RTP_ERRORS) {
                parsed.rtp_error = Some(child.name().to_owned());
            } else if let Some(condition) = ReasonCondition::from_word(child.name()) {
                parsed.condition = condition;
            }
        }
        parsed
    }

    pub(crate) fn to_element(&self) -> Element {
        let mut reason = element!("reason", NS);
        reason.append_child(Element::bare(self.condition.as_str(), NS));
        if let Some(text) = &self.text {
            let mut element = element!("text", NS);
            element.append_text(text.as_str());
            reason.append_child(element);
        }
        if let Some(code) = self.sip_status {
            reason.append_child(element!("sip", SIP_STATUS, "code" = code));
        }
        if self.is_transferred {
            reason.append_child(Element::bare("transferred", TRANSFER_NS));
        }
        if let Some(condition) = &self.rtp_error {
            reason.append_child(Element::bare(condition.as_str(), RTP_ERRORS));
        }
        reason
    }
}

/// The conditions of a reason (XEP-0166 §7.4). An unknown one reads as `general-error`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum ReasonCondition {
    AlternativeSession,
    Busy,
    Cancel,
    ConnectivityError,
    Decline,
    Expired,
    FailedApplication,
    FailedTransport,
    GeneralError,
    Gone,
    IncompatibleParameters,
    MediaError,
    SecurityError,
    Success,
    Timeout,
    UnsupportedApplications,
    UnsupportedTransports,
}

/// Each condition and its word.
const CONDITIONS: [(ReasonCondition, &str); 17] = [
    (ReasonCondition::AlternativeSession, "alternative-session"),
    (ReasonCondition::Busy, "busy"),
    (ReasonCondition::Cancel, "cancel"),
    (ReasonCondition::ConnectivityError, "connectivity-error"),
    (ReasonCondition::Decline, "decline"),
    (ReasonCondition::Expired, "expired"),
    (ReasonCondition::FailedApplication, "failed-application"),
    (ReasonCondition::FailedTransport, "failed-transport"),
    (ReasonCondition::GeneralError, "general-error"),
    (ReasonCondition::Gone, "gone"),
    (ReasonCondition::IncompatibleParameters, "incompatible-parameters"),
    (ReasonCondition::MediaError, "media-error"),
    (ReasonCondition::SecurityError, "security-error"),
    (ReasonCondition::Success, "success"),
    (ReasonCondition::Timeout, "timeout"),
    (ReasonCondition::UnsupportedApplications, "unsupported-applications"),
    (ReasonCondition::UnsupportedTransports, "unsupported-transports"),
];

impl ReasonCondition {
    /// The element's name.
    pub const fn as_str(self) -> &'static str {
        CONDITIONS[self as usize].1
    }

    fn from_word(word: &str) -> Option<Self> {
        CONDITIONS.iter().find(|(_, known)| *known == word).map(|(condition, _)| *condition)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_parses_back() {
        for (number, (condition, word)) in CONDITIONS.into_iter().enumerate() {
            assert_eq!(condition as usize, number);
            assert_eq!(ReasonCondition::from_word(word), Some(condition));
            let reason = Reason {
                text: Some("486 Busy Here".into()),
                sip_status: Some(486),
                rtp_error: Some("crypto-required".into()),
                ..Reason::new(condition)
            };
            assert_eq!(Reason::parse(&reason.to_element()), reason);
        }
    }

    #[test]
    fn an_unknown_condition_is_a_general_error() {
        let reason: Element =
            format!("<reason xmlns='{NS}'><tired/><text>Good night</text></reason>").parse().expect("it is XML");
        let parsed = Reason::parse(&reason);
        assert_eq!(parsed.condition, ReasonCondition::GeneralError);
        assert_eq!(parsed.text.as_deref(), Some("Good night"));
    }
}
