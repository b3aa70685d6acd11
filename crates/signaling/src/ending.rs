//! Why a call ends, in the words of both sides.
//!
//! A leg that ends a call says why in its own words: a Jingle reason, a SIP status, a cause of Q.850, a stanza error. The
//! tables here turn them into an [`Ending`], and an ending into the words of the other leg. One row is one
//! correspondence.

use model::CommandError;
use sip::message::{Failure, Reason as SipReason, Response};
use xmpp::jingle::{Reason, ReasonCondition};
use xmpp::stanza::{Condition, StanzaError};

/// Each Jingle reason (XEP-0166 §7.4), the status that answers an INVITE for it, and its cause (ITU-T Q.850 as RFC 3398
/// §7.2.4.1 has it).
const REASONS: [(ReasonCondition, u16, u16); 17] = [
    (ReasonCondition::Success, 480, 16),
    (ReasonCondition::Busy, 486, 17),
    (ReasonCondition::Decline, 486, 21),
    (ReasonCondition::Cancel, 480, 16),
    (ReasonCondition::Expired, 480, 19),
    (ReasonCondition::Gone, 480, 20),
    (ReasonCondition::ConnectivityError, 500, 127),
    (ReasonCondition::FailedTransport, 500, 127),
    (ReasonCondition::AlternativeSession, 486, 17),
    (ReasonCondition::IncompatibleParameters, 488, 65),
    (ReasonCondition::MediaError, 488, 65),
    (ReasonCondition::SecurityError, 488, 111),
    (ReasonCondition::Timeout, 480, 19),
    (ReasonCondition::UnsupportedApplications, 488, 79),
    (ReasonCondition::UnsupportedTransports, 488, 79),
    (ReasonCondition::FailedApplication, 488, 65),
    (ReasonCondition::GeneralError, 500, 41),
];

/// What a decline becomes where the operator wants it to end all branches of a forked call (RFC 3261 §21.6.2).
const GLOBAL_DECLINE: u16 = 603;

/// The callee is known, but was not reached; after ringing: did not answer.
const UNAVAILABLE: u16 = 480;

/// Each final status of SIP (RFC 3261 §21) that has a Jingle reason of its own; all others are `general-error`.
const STATUSES: [(u16, ReasonCondition); 20] = [
    (403, ReasonCondition::Decline),
    (404, ReasonCondition::Gone),
    (406, ReasonCondition::IncompatibleParameters),
    (408, ReasonCondition::Timeout),
    (410, ReasonCondition::Gone),
    (415, ReasonCondition::IncompatibleParameters),
    (480, ReasonCondition::Gone),
    (484, ReasonCondition::Gone),
    (485, ReasonCondition::Gone),
    (486, ReasonCondition::Busy),
    (487, ReasonCondition::Cancel),
    (488, ReasonCondition::IncompatibleParameters),
    (502, ReasonCondition::ConnectivityError),
    (503, ReasonCondition::ConnectivityError),
    (504, ReasonCondition::ConnectivityError),
    (600, ReasonCondition::Busy),
    (603, ReasonCondition::Decline),
    (604, ReasonCondition::Gone),
    (606, ReasonCondition::IncompatibleParameters),
    (300, ReasonCondition::Gone), // and all of 3xx, none of which is followed
];

/// The causes in a BYE that say more than that the call is over.
const BYE_CAUSES: [(u16, ReasonCondition); 9] = [
    (17, ReasonCondition::Busy),
    (18, ReasonCondition::Timeout),
    (19, ReasonCondition::Timeout),
    (21, ReasonCondition::Decline),
    (34, ReasonCondition::ConnectivityError),
    (38, ReasonCondition::ConnectivityError),
    (41, ReasonCondition::ConnectivityError),
    (42, ReasonCondition::ConnectivityError),
    (47, ReasonCondition::ConnectivityError),
];

/// From a cause to the status it stands for (RFC 3398 §7.2.4.1).
const CAUSE_TO_STATUS: [(u16, u16); 27] = [
    (1, 404),
    (2, 404),
    (3, 404),
    (17, 486),
    (18, 408),
    (19, 480),
    (20, 480),
    (21, 403),
    (22, 410),
    (23, 410),
    (26, 404),
    (27, 502),
    (28, 484),
    (29, 501),
    (31, 480),
    (34, 503),
    (38, 503),
    (41, 503),
    (42, 503),
    (47, 503),
    (55, 403),
    (57, 403),
    (58, 503),
    (65, 488),
    (70, 488),
    (79, 501),
    (88, 503),
];

/// From a status to its cause (RFC 3398 §8.2.6.1); all others are 31.
const STATUS_TO_CAUSE: [(u16, u16); 34] = [
    (400, 41),
    (401, 21),
    (402, 21),
    (403, 21),
    (404, 1),
    (405, 63),
    (406, 79),
    (407, 21),
    (408, 102),
    (410, 22),
    (413, 127),
    (414, 127),
    (415, 79),
    (416, 127),
    (420, 127),
    (421, 127),
    (423, 127),
    (480, 18),
    (481, 41),
    (482, 25),
    (483, 25),
    (484, 28),
    (485, 1),
    (486, 17),
    (488, 31),
    (500, 41),
    (501, 79),
    (502, 38),
    (503, 41),
    (504, 102),
    (505, 127),
    (513, 127),
    (600, 17),
    (603, 21),
];

/// From a stanza error to the status of an INVITE (RFC 7247 §7.1): about a full JID, and about a bare one where 6xx is
/// wanted. 503 is never sent, because it would take the whole gateway out of service for the peer.
const CONDITIONS: [(Condition, u16, u16); 22] = [
    (Condition::BadRequest, 400, 400),
    (Condition::Conflict, 400, 400),
    (Condition::FeatureNotImplemented, 405, 501),
    (Condition::Forbidden, 403, 603),
    (Condition::Gone, 410, 410),
    (Condition::InternalServerError, 500, 500),
    (Condition::ItemNotFound, 404, 604),
    (Condition::JidMalformed, 400, 400),
    (Condition::NotAcceptable, 406, 606),
    (Condition::NotAllowed, 403, 403),
    (Condition::NotAuthorized, 403, 403),
    (Condition::PolicyViolation, 403, 403),
    (Condition::RecipientUnavailable, 480, 600),
    (Condition::Redirect, 302, 302),
    (Condition::RegistrationRequired, 403, 403),
    (Condition::RemoteServerNotFound, 404, 404),
    (Condition::RemoteServerTimeout, 408, 408),
    (Condition::ResourceConstraint, 500, 500),
    (Condition::ServiceUnavailable, 480, 480),
    (Condition::SubscriptionRequired, 400, 400),
    (Condition::UndefinedCondition, 400, 400),
    (Condition::UnexpectedRequest, 400, 400),
];

/// From a status to a stanza error (RFC 7247 §7.2); others go by their class.
const STATUS_TO_CONDITION: [(u16, Condition); 38] = [
    (301, Condition::Gone),
    (380, Condition::NotAcceptable),
    (401, Condition::NotAuthorized),
    (403, Condition::Forbidden),
    (404, Condition::ItemNotFound),
    (405, Condition::FeatureNotImplemented),
    (406, Condition::NotAcceptable),
    (407, Condition::RegistrationRequired),
    (408, Condition::RemoteServerTimeout),
    (410, Condition::Gone),
    (413, Condition::PolicyViolation),
    (414, Condition::PolicyViolation),
    (415, Condition::NotAcceptable),
    (416, Condition::NotAcceptable),
    (420, Condition::FeatureNotImplemented),
    (421, Condition::NotAcceptable),
    (423, Condition::ResourceConstraint),
    (430, Condition::RecipientUnavailable),
    (439, Condition::FeatureNotImplemented),
    (440, Condition::PolicyViolation),
    (480, Condition::RecipientUnavailable),
    (481, Condition::ItemNotFound),
    (482, Condition::NotAcceptable),
    (483, Condition::NotAcceptable),
    (484, Condition::ItemNotFound),
    (485, Condition::ItemNotFound),
    (486, Condition::RecipientUnavailable),
    (487, Condition::RecipientUnavailable),
    (488, Condition::NotAcceptable),
    (489, Condition::PolicyViolation),
    (491, Condition::UnexpectedRequest),
    (501, Condition::FeatureNotImplemented),
    (502, Condition::RemoteServerNotFound),
    (504, Condition::RemoteServerTimeout),
    (505, Condition::NotAcceptable),
    (513, Condition::PolicyViolation),
    (604, Condition::ItemNotFound),
    (606, Condition::NotAcceptable),
];

/// The classes of statuses, for those not in the table above (RFC 7247 §7.2).
const CLASS_TO_CONDITION: [(u16, Condition); 4] = [
    (3, Condition::Redirect),
    (4, Condition::BadRequest),
    (5, Condition::InternalServerError),
    (6, Condition::RecipientUnavailable),
];

/// What the relay could not do, and the reason it gives the call. What is not here is our own mistake: `general-error`.
const RELAY_ERRORS: [(CommandError, ReasonCondition); 7] = [
    (CommandError::SecurityRequired, ReasonCondition::SecurityError),
    (CommandError::NoUsableKey, ReasonCondition::SecurityError),
    (CommandError::BadSetup, ReasonCondition::SecurityError),
    (CommandError::IceRequired, ReasonCondition::UnsupportedTransports),
    (CommandError::NoUsableAddress, ReasonCondition::FailedTransport),
    (CommandError::AnswerMismatch, ReasonCondition::FailedApplication),
    (CommandError::UnknownStream, ReasonCondition::FailedApplication),
];

/// What RTP has words of its own for (XEP-0167 §9).
const RTP_ERRORS: [(CommandError, &str); 2] =
    [(CommandError::SecurityRequired, "crypto-required"), (CommandError::NoUsableKey, "invalid-crypto")];

/// What the relay has too much of; those who call are to try later.
const RELAY_IS_FULL: [CommandError; 8] = [
    CommandError::NoFreePort,
    CommandError::NoFreeDescriptor,
    CommandError::NoMemory,
    CommandError::NoSocket,
    CommandError::TooManyCalls,
    CommandError::TooManyStreams,
    CommandError::Overloaded,
    CommandError::Stopping,
];

/// Seconds after which a refused caller may try again.
const RETRY_AFTER: u32 = 30;

/// The longest text that is passed on (RFC 7247 §7 leaves it open).
const TEXT_LENGTH: usize = 256;

/// Why a call ends.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ending {
    /// The reason for the XMPP side.
    pub(crate) reason: ReasonCondition,
    /// The status for a SIP caller that still waits.
    pub(crate) status: u16,
    /// The cause for the SIP side.
    pub(crate) cause: u16,
    /// In words.
    pub(crate) text: Option<String>,
    /// What the SIP side said, where it was the one that ended the call.
    sip_status: Option<u16>,
    /// RTP's own condition (XEP-0167 §9).
    rtp_error: Option<&'static str>,
    retry_after: Option<u32>,
}

impl Ending {
    /// An ending for a Jingle reason.
    pub(crate) fn new(reason: ReasonCondition) -> Self {
        let (_, status, cause) = REASONS[REASONS.iter().position(|row| row.0 == reason).unwrap_or(REASONS.len() - 1)];
        Self { reason, status, cause, text: None, sip_status: None, rtp_error: None, retry_after: None }
    }

    /// An ending in our own words.
    pub(crate) fn with_text(reason: ReasonCondition, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::new(reason) }
    }

    /// What the XMPP side said when it ended the session or refused the call.
    pub(crate) fn from_jingle(reason: Option<&Reason>, default: ReasonCondition, global_failures: bool) -> Self {
        let mut ending = Self::new(reason.map_or(default, |reason| reason.condition));
        ending.text = reason.and_then(|reason| reason.text.as_deref()).map(one_line);
        if ending.reason == ReasonCondition::Decline && global_failures {
            ending.status = GLOBAL_DECLINE;
        }
        ending
    }

    /// How our INVITE failed. `rang` says whether somebody was found first: then nobody answered.
    pub(crate) fn from_failure(failure: &Failure, rang: bool) -> Self {
        let said = reason_of_status(failure.status);
        // A gateway to the telephone network says the status in general and the cause in particular.
        let is_vague = [ReasonCondition::GeneralError, ReasonCondition::ConnectivityError].contains(&said);
        let cause = q850(&failure.reason).filter(|_| is_vague).and_then(status_of_cause);
        let refined = match cause {
            Some(status) => reason_of_status(status),
            None if failure.local && !rang => ReasonCondition::ConnectivityError, // nobody there said anything
            None if failure.status == UNAVAILABLE && rang => ReasonCondition::Timeout,
            None => said,
        };
        let text = one_line(&format!("{} {}", failure.status, failure.phrase));
        Self { sip_status: Some(failure.status), ..Self::with_text(refined, text) }
    }

    /// What a BYE said.
    pub(crate) fn from_bye(reasons: &[SipReason]) -> Self {
        let row = q850(reasons).and_then(|cause| BYE_CAUSES.iter().find(|row| row.0 == cause));
        Self { text: text_of(reasons), ..Self::new(row.map_or(ReasonCondition::Success, |row| row.1)) }
    }

    /// What a CANCEL said. One with `SIP;cause=200` was answered elsewhere (RFC 3326 §3.1).
    pub(crate) fn from_cancel(reasons: &[SipReason]) -> Self {
        if reasons.iter().any(|reason| reason.protocol.eq_ignore_ascii_case("SIP") && reason.cause == 200) {
            return Self::with_text(ReasonCondition::Success, "answered elsewhere");
        }
        Self { text: text_of(reasons), ..Self::new(ReasonCondition::Cancel) }
    }

    /// The stanza error that answered our call. `full`: it is about a full JID.
    pub(crate) fn from_stanza_error(error: &StanzaError, full: bool, global_failures: bool) -> Self {
        let row = CONDITIONS.iter().find(|row| row.0 == error.condition);
        let status = row.map_or(500, |row| if global_failures && !full { row.2 } else { row.1 });
        Self { text: error.text.as_deref().map(one_line), ..Self::from_status(status) }
    }

    /// An ending for a status of our own.
    pub(crate) fn from_status(status: u16) -> Self {
        Self { status, cause: cause_of_status(status), ..Self::new(reason_of_status(status)) }
    }

    /// No device of the callee can be reached.
    pub(crate) fn unavailable(reason: ReasonCondition) -> Self {
        Self { status: UNAVAILABLE, cause: cause_of_status(UNAVAILABLE), ..Self::new(reason) }
    }

    /// What the relay could not do.
    pub(crate) fn from_relay(error: &CommandError) -> Self {
        if RELAY_IS_FULL.contains(error) {
            let full = Self::from_status(503);
            return Self { retry_after: Some(RETRY_AFTER), text: Some(error.to_string()), ..full };
        }
        let row = RELAY_ERRORS.iter().find(|row| row.0 == *error);
        let mut ending = Self::with_text(row.map_or(ReasonCondition::GeneralError, |row| row.1), error.to_string());
        ending.rtp_error = RTP_ERRORS.iter().find(|row| row.0 == *error).map(|row| row.1);
        ending
    }

    /// The reason for the XMPP side.
    pub(crate) fn jingle_reason(&self) -> Reason {
        Reason {
            condition: self.reason,
            text: self.text.clone(),
            sip_status: self.sip_status,
            rtp_error: self.rtp_error.map(str::to_owned),
        }
    }

    /// The final response for a SIP caller that still waits.
    pub(crate) fn response(&self) -> Response {
        let warning = (self.reason == ReasonCondition::SecurityError)
            .then(|| (399, self.text.clone().unwrap_or_else(|| "encryption required".to_owned())));
        Response { reason: vec![self.q850()], warning, retry_after: self.retry_after, ..Response::new(self.status) }
    }

    /// The reasons in a CANCEL of ours.
    pub(crate) fn cancel_reasons(&self) -> Vec<SipReason> {
        vec![SipReason { protocol: "SIP".to_owned(), cause: 487, text: None }, self.q850()]
    }

    /// The reasons in a BYE of ours.
    pub(crate) fn bye_reasons(&self) -> Vec<SipReason> {
        vec![self.q850()]
    }

    fn q850(&self) -> SipReason {
        SipReason { protocol: "Q.850".to_owned(), cause: self.cause, text: self.text.clone() }
    }
}

/// Why a call is not even begun.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// An address that the other side cannot have.
    Unmappable,
    /// No row of the address table is for it.
    NoRoute,
    /// There is no stream to the XMPP server.
    XmppDown,
    /// Not from there.
    Forbidden,
    /// As many calls as there may be.
    TooManyCalls,
    /// As many calls as this user may have.
    UserBusy,
    /// It came from here.
    Loop,
    /// It has been through too many hands (RFC 3261 §16.3).
    TooManyHops,
    /// It demands TLS to the last hop, which nobody can promise (RFC 5630).
    Sips,
    /// A scheme nobody calls with.
    UnknownScheme,
    /// An address, or a body, that cannot be read.
    Malformed,
    /// Nothing in the offer that we could carry.
    NoMedia,
    /// We are going down.
    Stopping,
}

/// Each refusal: its name in the counters, its status, and the stanza error where it is not the one of the status.
const REFUSALS: [(Refusal, &str, u16, Option<Condition>); 13] = [
    (Refusal::Unmappable, "unmappable-address", 404, Some(Condition::JidMalformed)),
    (Refusal::NoRoute, "no-route", 404, None),
    (Refusal::XmppDown, "xmpp-down", 503, None),
    (Refusal::Forbidden, "forbidden", 403, None),
    (Refusal::TooManyCalls, "too-many-calls", 503, Some(Condition::ResourceConstraint)),
    (Refusal::UserBusy, "user-busy", 486, Some(Condition::ResourceConstraint)),
    (Refusal::Loop, "loop", 482, None),
    (Refusal::TooManyHops, "too-many-hops", 483, None),
    (Refusal::Sips, "sips", 480, None),
    (Refusal::UnknownScheme, "unknown-scheme", 416, None),
    (Refusal::Malformed, "malformed", 400, None),
    (Refusal::NoMedia, "no-media", 488, None),
    (Refusal::Stopping, "stopping", 480, Some(Condition::ServiceUnavailable)),
];

impl Refusal {
    /// Its name in the counters.
    pub(crate) const fn word(self) -> &'static str {
        REFUSALS[self as usize].1
    }

    /// The response for a SIP caller.
    pub(crate) fn response(self, host: &str) -> Response {
        let status = REFUSALS[self as usize].2;
        let mut response = Response::new(status);
        match self {
            Self::XmppDown | Self::TooManyCalls => response.retry_after = Some(RETRY_AFTER),
            Self::Sips => response.warning = Some((380, format!("{host} SIPS Not Allowed"))),
            Self::NoMedia => response.warning = Some((304, "no media that can be carried".to_owned())),
            Self::Unmappable
            | Self::NoRoute
            | Self::Forbidden
            | Self::UserBusy
            | Self::Loop
            | Self::TooManyHops
            | Self::UnknownScheme
            | Self::Malformed
            | Self::Stopping => (),
        }
        response
    }

    /// The stanza error for a session-initiate.
    pub(crate) fn stanza_error(self) -> StanzaError {
        let (.., status, condition) = REFUSALS[self as usize];
        StanzaError::new(condition.unwrap_or_else(|| condition_of_status(status)))
    }

    /// The reason for a call that was only proposed.
    pub(crate) fn reason(self) -> Reason {
        Reason { text: Some(self.word().replace('-', " ")), ..Reason::new(reason_of_status(REFUSALS[self as usize].2)) }
    }
}

fn reason_of_status(status: u16) -> ReasonCondition {
    let known = if status / 100 == 3 { 300 } else { status };
    STATUSES.iter().find(|row| row.0 == known).map_or(ReasonCondition::GeneralError, |row| row.1)
}

fn condition_of_status(status: u16) -> Condition {
    let exact = STATUS_TO_CONDITION.iter().find(|row| row.0 == status);
    let by_class = || CLASS_TO_CONDITION.iter().find(|row| row.0 == status / 100);
    exact.or_else(by_class).map_or(Condition::UndefinedCondition, |row| row.1)
}

fn cause_of_status(status: u16) -> u16 {
    STATUS_TO_CAUSE.iter().find(|row| row.0 == status).map_or(31, |row| row.1)
}

fn status_of_cause(cause: u16) -> Option<u16> {
    CAUSE_TO_STATUS.iter().find(|row| row.0 == cause).map(|row| row.1)
}

fn q850(reasons: &[SipReason]) -> Option<u16> {
    reasons.iter().find(|reason| reason.protocol.eq_ignore_ascii_case("Q.850")).map(|reason| reason.cause)
}

fn text_of(reasons: &[SipReason]) -> Option<String> {
    reasons.iter().find_map(|reason| reason.text.as_deref()).map(one_line)
}

/// A text that can stand in a header and in XML, and is not too long for either.
fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jingle_reason_has_its_status_and_cause() {
        for (condition, status, cause) in REASONS {
            let ending = Ending::from_jingle(Some(&Reason::new(condition)), ReasonCondition::GeneralError, false);
            assert_eq!(ending.response().status, status, "{condition:?}");
            assert_eq!(ending.response().reason, ending.bye_reasons());
            assert_eq!(ending.bye_reasons()[0].cause, cause, "{condition:?}");
            let cancel = ending.cancel_reasons();
            assert_eq!((cancel[0].cause, cancel[1].cause), (487, cause), "{condition:?}");
            assert_eq!(ending.jingle_reason().condition, condition);
        }
        let decline = Reason::new(ReasonCondition::Decline);
        assert_eq!(Ending::from_jingle(Some(&decline), ReasonCondition::Busy, true).status, 603);
        assert_eq!(Ending::from_jingle(None, ReasonCondition::Busy, true).status, 486);
    }

    fn failure(status: u16, reason: Vec<SipReason>) -> Failure {
        Failure { status, phrase: "Why\r\nNot".into(), local: false, reason, contacts: Vec::new(), retry_after: None }
    }

    #[test]
    fn every_status_has_its_jingle_reason() {
        for (status, condition) in STATUSES {
            let ending = Ending::from_failure(&failure(status, Vec::new()), false);
            assert_eq!(ending.reason, condition, "{status}");
            let reason = ending.jingle_reason();
            assert_eq!(reason.sip_status, Some(status));
            assert_eq!(reason.text, Some(format!("{status} WhyNot")));
        }
        for status in [400, 401, 405, 407, 420, 421, 481, 482, 483, 491, 500, 501, 505, 513, 699] {
            let ending = Ending::from_failure(&failure(status, Vec::new()), true);
            assert_eq!(ending.reason, ReasonCondition::GeneralError, "{status}");
        }
        assert_eq!(Ending::from_failure(&failure(480, Vec::new()), true).reason, ReasonCondition::Timeout);
        assert_eq!(Ending::from_failure(&failure(302, Vec::new()), true).reason, ReasonCondition::Gone);
        let silence = Failure { local: true, ..failure(408, Vec::new()) };
        assert_eq!(Ending::from_failure(&silence, false).reason, ReasonCondition::ConnectivityError);
        assert_eq!(Ending::from_failure(&silence, true).reason, ReasonCondition::Timeout);
    }

    #[test]
    fn every_cause_has_its_reason() {
        let q850 = |cause| vec![SipReason { protocol: "q.850".into(), cause, text: Some("because".into()) }];
        for (cause, condition) in BYE_CAUSES {
            let ending = Ending::from_bye(&q850(cause));
            assert_eq!((ending.reason, ending.text.as_deref()), (condition, Some("because")), "{cause}");
        }
        assert_eq!(Ending::from_bye(&q850(16)).reason, ReasonCondition::Success);
        assert_eq!(Ending::from_bye(&[]).reason, ReasonCondition::Success);
        for (cause, status) in CAUSE_TO_STATUS {
            let ending = Ending::from_failure(&failure(500, q850(cause)), false);
            assert_eq!(ending.reason, reason_of_status(status), "{cause}");
        }
        let busy = Ending::from_failure(&failure(486, q850(1)), false);
        assert_eq!(busy.reason, ReasonCondition::Busy, "a status that says enough is believed");
    }

    #[test]
    fn a_cancel_of_a_call_that_was_answered_elsewhere_is_no_missed_call() {
        let reasons = [SipReason { protocol: "SIP".into(), cause: 200, text: None }];
        let ending = Ending::from_cancel(&reasons);
        assert_eq!((ending.reason, ending.text.as_deref()), (ReasonCondition::Success, Some("answered elsewhere")));
        assert_eq!(Ending::from_cancel(&[]).reason, ReasonCondition::Cancel);
    }

    #[test]
    fn every_stanza_error_has_its_status_and_cause() {
        for (number, (condition, full, bare)) in CONDITIONS.into_iter().enumerate() {
            assert_eq!(condition as usize, number, "{condition:?} comes once");
            let error = StanzaError::new(condition);
            assert_eq!(Ending::from_stanza_error(&error, true, true).status, full, "{condition:?}");
            assert_eq!(Ending::from_stanza_error(&error, false, true).status, bare, "{condition:?}");
            let ending = Ending::from_stanza_error(&error, false, false);
            assert!(ending.status < 600 && ending.status != 503, "{condition:?}");
            assert_eq!(ending.cause, cause_of_status(ending.status));
        }
        for (status, cause) in STATUS_TO_CAUSE {
            assert_eq!(Ending::from_status(status).response().reason[0].cause, cause, "{status}");
        }
        assert_eq!(Ending::from_status(699).cause, 31);
    }

    #[test]
    fn every_status_has_its_stanza_error() {
        for (status, condition) in STATUS_TO_CONDITION {
            assert_eq!(condition_of_status(status), condition, "{status}");
        }
        for (class, condition) in CLASS_TO_CONDITION {
            assert_eq!(condition_of_status(class * 100 + 99), condition, "{class}xx");
        }
    }

    #[test]
    fn every_refusal_is_said_on_both_sides() {
        for (number, (refusal, word, status, condition)) in REFUSALS.into_iter().enumerate() {
            assert_eq!(refusal as usize, number);
            assert_eq!(refusal.word(), word);
            let response = refusal.response("sip.localhost");
            assert_eq!(response.status, status, "{word}");
            assert_eq!(response.retry_after.is_some(), status == 503, "{word}");
            let error = refusal.stanza_error();
            assert_eq!(error.condition, condition.unwrap_or(condition_of_status(status)), "{word}");
            assert_eq!(refusal.reason().condition, reason_of_status(status), "{word}");
        }
        assert_eq!(Refusal::NoRoute.stanza_error().condition, Condition::ItemNotFound);
        assert_eq!(Refusal::Sips.response("gw").warning, Some((380, "gw SIPS Not Allowed".into())));
    }

    #[test]
    fn what_the_relay_cannot_do_ends_a_call_with_its_reason() {
        for (error, condition) in RELAY_ERRORS {
            let ending = Ending::from_relay(&error);
            assert_eq!(ending.reason, condition, "{error}");
            assert_eq!(ending.response().warning.is_some(), condition == ReasonCondition::SecurityError, "{error}");
        }
        for error in RELAY_IS_FULL {
            let response = Ending::from_relay(&error).response();
            assert_eq!((response.status, response.retry_after), (503, Some(30)), "{error}");
        }
        assert_eq!(Ending::from_relay(&CommandError::UnknownCall).reason, ReasonCondition::GeneralError);
        let required = Ending::from_relay(&CommandError::SecurityRequired).jingle_reason();
        assert_eq!(required.rtp_error.as_deref(), Some("crypto-required"));
    }
}
