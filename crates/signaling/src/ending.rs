//! Why a call ends, in the words of both sides.
//!
//! A leg that ends a call says why in its own words: a Jingle reason, a SIP status, a cause of Q.850, a stanza error.
//! [`tables`] turn them into an [`Ending`], and an ending into the words of the other leg.

mod tables;

use model::CommandError;
use sip::message::{Failure, Reason as SipReason, Response};
use xmpp::jingle::{Reason, ReasonCondition};
use xmpp::stanza::{Condition, StanzaError};

pub(crate) use self::tables::Told;
use self::tables::{
    BYE_CAUSES, CONDITIONS, REASONS, TRY_ANOTHER, TRY_ANOTHER_CAUSES, cause_of_status, condition_of_status,
    private_reason, reason_of_status, status_of_cause,
};

/// What a decline becomes where the operator wants it to end all branches of a forked call (RFC 3261 §21.6.2).
const GLOBAL_DECLINE: u16 = 603;

/// The status in the CANCEL of a forked call that another branch has answered (RFC 3326 §3.1).
const ANSWERED_ELSEWHERE: u16 = 200;

/// The status in a CANCEL of ours (RFC 3326 §2).
const GIVEN_UP: u16 = 487;

/// The callee is known, but was not reached; after ringing: did not answer.
const UNAVAILABLE: u16 = 480;

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
    /// Both ends talk on without us.
    is_transferred: bool,
}

impl Ending {
    /// An ending for a Jingle reason.
    pub(crate) fn new(reason: ReasonCondition) -> Self {
        let (_, status, cause) = REASONS[REASONS.iter().position(|row| row.0 == reason).unwrap_or(REASONS.len() - 1)];
        Self {
            reason,
            status,
            cause,
            text: None,
            sip_status: None,
            rtp_error: None,
            retry_after: None,
            is_transferred: false,
        }
    }

    /// An ending in our own words.
    pub(crate) fn with_text(reason: ReasonCondition, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::new(reason) }
    }

    /// Both ends talk on without us (XEP-0251 §3).
    pub(crate) fn transferred() -> Self {
        Self { is_transferred: true, ..Self::new(ReasonCondition::Success) }
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
        let cause = cause_of(&failure.reason, "Q.850").filter(|_| is_vague).map(status_of_cause);
        let refined = match cause {
            Some(status) => reason_of_status(status),
            None if failure.local && !rang => ReasonCondition::ConnectivityError, // nobody there said anything
            None if failure.status == UNAVAILABLE && rang => ReasonCondition::Timeout,
            None => said,
        };
        let text = one_line(&format!("{} {}", failure.status, failure.phrase));
        Self { sip_status: Some(failure.status), ..Self::with_text(refined, text) }
    }

    /// Says whether a failure means that the peer is out of reach, and another may not be.
    pub(crate) fn is_for_another(failure: &Failure) -> bool {
        let out_of_order =
            || cause_of(&failure.reason, "Q.850").is_some_and(|cause| TRY_ANOTHER_CAUSES.contains(&cause));
        failure.local || TRY_ANOTHER.contains(&failure.status) || failure.status == UNAVAILABLE && out_of_order()
    }

    /// What a BYE said: a cause, or a status, which is what our own agent says of a dialog that died.
    pub(crate) fn from_bye(reasons: &[SipReason]) -> Self {
        let row = cause_of(reasons, "Q.850").and_then(|cause| BYE_CAUSES.iter().find(|row| row.0 == cause));
        let status = cause_of(reasons, "SIP").filter(|status| *status >= 300);
        let of_status = || status.map_or(ReasonCondition::Success, reason_of_status);
        Self { text: text_of(reasons), ..Self::new(row.map_or_else(of_status, |row| row.1)) }
    }

    /// What a CANCEL said. One with `SIP;cause=200` was answered elsewhere (RFC 3326 §3.1).
    pub(crate) fn from_cancel(reasons: &[SipReason]) -> Self {
        if cause_of(reasons, "SIP") == Some(ANSWERED_ELSEWHERE) {
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
            is_transferred: self.is_transferred,
        }
    }

    /// The reason for a message about the call; `private`: one that gives nothing away.
    pub(crate) fn message_reason(&self, told: Told, private: bool) -> Reason {
        if private { Reason::new(private_reason(told, self.reason)) } else { self.jingle_reason() }
    }

    /// The final response for a SIP caller that still waits.
    pub(crate) fn response(&self) -> Response {
        let warning = (self.reason == ReasonCondition::SecurityError)
            .then(|| (399, self.text.clone().unwrap_or_else(|| "encryption required".to_owned())));
        Response { reason: vec![self.q850()], warning, retry_after: self.retry_after, ..Response::new(self.status) }
    }

    /// The final response to the INVITE of a call that was not answered: what the SIP side said, or, where that is who
    /// called, what it was told.
    pub(crate) fn final_status(&self, from_sip: bool) -> Option<u16> {
        self.sip_status.or_else(|| from_sip.then_some(self.status))
    }

    /// The reasons in a CANCEL of ours.
    pub(crate) fn cancel_reasons(&self) -> Vec<SipReason> {
        vec![SipReason { protocol: "SIP".to_owned(), cause: GIVEN_UP, text: None }, self.q850()]
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
    /// A row of the address table says so.
    Denied,
    /// It would be an emergency call, which nobody has provided for.
    Emergency,
    /// As many calls as there may be.
    TooManyCalls,
    /// As many calls as this user may have.
    UserBusy,
    /// As many calls as this user may make, or get, in a minute.
    UserTooOften,
    /// As many calls as this trunk may have.
    TrunkBusy,
    /// As many calls as this trunk may make, or get, in a minute.
    TrunkTooOften,
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
    /// In somebody else's name.
    Impostor,
    /// Nothing in the offer that we could carry.
    NoMedia,
    /// A transfer that nobody here can carry out.
    NoTransfer,
    /// We are going down.
    Stopping,
}

/// Each refusal: its name in the counters, its status, and the stanza error where it is not the one of the status.
const REFUSALS: [(Refusal, &str, u16, Option<Condition>); 20] = [
    (Refusal::Unmappable, "unmappable-address", 404, Some(Condition::JidMalformed)),
    (Refusal::NoRoute, "no-route", 404, None),
    (Refusal::XmppDown, "xmpp-down", 503, None),
    (Refusal::Forbidden, "forbidden", 403, None),
    (Refusal::Denied, "denied", 403, None),
    (Refusal::Emergency, "emergency", 403, None),
    (Refusal::TooManyCalls, "too-many-calls", 503, Some(Condition::ResourceConstraint)),
    (Refusal::UserBusy, "user-busy", 486, Some(Condition::ResourceConstraint)),
    (Refusal::UserTooOften, "user-too-often", 486, Some(Condition::ResourceConstraint)),
    (Refusal::TrunkBusy, "trunk-busy", 503, Some(Condition::ResourceConstraint)),
    (Refusal::TrunkTooOften, "trunk-too-often", 503, Some(Condition::ResourceConstraint)),
    (Refusal::Loop, "loop", 482, None),
    (Refusal::TooManyHops, "too-many-hops", 483, None),
    (Refusal::Sips, "sips", 480, None),
    (Refusal::UnknownScheme, "unknown-scheme", 416, None),
    (Refusal::Malformed, "malformed", 400, None),
    (Refusal::Impostor, "impostor", 403, Some(Condition::NotAllowed)),
    (Refusal::NoMedia, "no-media", 488, None),
    (Refusal::NoTransfer, "no-transfer", 603, None),
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
            Self::XmppDown | Self::TooManyCalls | Self::TrunkBusy | Self::TrunkTooOften => {
                response.retry_after = Some(RETRY_AFTER)
            }
            Self::Sips => response.warning = Some((380, format!("{host} SIPS Not Allowed"))),
            Self::NoMedia => response.warning = Some((304, "no media that can be carried".to_owned())),
            Self::Unmappable
            | Self::NoRoute
            | Self::Forbidden
            | Self::Denied
            | Self::Emergency
            | Self::UserBusy
            | Self::UserTooOften
            | Self::Loop
            | Self::TooManyHops
            | Self::UnknownScheme
            | Self::Malformed
            | Self::NoTransfer
            | Self::Impostor
            | Self::Stopping => (),
        }
        response
    }

    /// The stanza error for a session-initiate.
    pub(crate) fn stanza_error(self) -> StanzaError {
        let (.., status, condition) = REFUSALS[self as usize];
        StanzaError::new(condition.unwrap_or_else(|| condition_of_status(status)))
    }

    /// The reason for a call that was only proposed; `private`: one that gives nothing away.
    pub(crate) fn reason(self, private: bool) -> Reason {
        let reason = reason_of_status(REFUSALS[self as usize].2);
        if private {
            return Reason::new(private_reason(Told::Reject, reason));
        }
        Reason { text: Some(self.word().replace('-', " ")), ..Reason::new(reason) }
    }
}

fn cause_of(reasons: &[SipReason], protocol: &str) -> Option<u16> {
    reasons.iter().find(|reason| reason.protocol.eq_ignore_ascii_case(protocol)).map(|reason| reason.cause)
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
    use super::tables::{
        CAUSE_TO_STATUS, CLASS_TO_CONDITION, PRIVATE, PRIVATE_FINISH, STATUS_TO_CAUSE, STATUS_TO_CONDITION, STATUSES,
    };
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
    fn another_trunk_is_tried_where_the_first_is_out_of_reach() {
        let q850 = |cause| vec![SipReason { protocol: "Q.850".into(), cause, text: None }];
        for status in TRY_ANOTHER {
            assert!(Ending::is_for_another(&failure(status, Vec::new())), "{status}");
        }
        for cause in TRY_ANOTHER_CAUSES {
            assert!(Ending::is_for_another(&failure(480, q850(cause))), "{cause}");
            assert!(!Ending::is_for_another(&failure(486, q850(cause))), "{cause}");
        }
        assert!(Ending::is_for_another(&Failure { local: true, ..failure(408, Vec::new()) }));
        for status in [404, 408, 480, 486, 487, 488, 500, 600, 603] {
            assert!(!Ending::is_for_another(&failure(status, Vec::new())), "{status}");
        }
    }

    #[test]
    fn every_cause_has_its_reason() {
        let q850 = |cause| vec![SipReason { protocol: "q.850".into(), cause, text: Some("because".into()) }];
        for (cause, condition) in BYE_CAUSES {
            let ending = Ending::from_bye(&q850(cause));
            assert_eq!((ending.reason, ending.text.as_deref()), (condition, Some("because")), "{cause}");
        }
        assert_eq!(Ending::from_bye(&q850(16)).reason, ReasonCondition::Success);
        let status = |cause| vec![SipReason { protocol: "SIP".into(), cause, text: None }];
        assert_eq!(Ending::from_bye(&status(200)).reason, ReasonCondition::Success);
        for (status_code, condition) in STATUSES {
            assert_eq!(Ending::from_bye(&status(status_code)).reason, condition, "{status_code}");
        }
        assert_eq!(Ending::from_bye(&[q850(17), status(408)].concat()).reason, ReasonCondition::Busy);
        assert_eq!(Ending::from_bye(&[]).reason, ReasonCondition::Success);
        for (cause, status) in CAUSE_TO_STATUS {
            let ending = Ending::from_failure(&failure(500, q850(cause)), false);
            assert_eq!(ending.reason, reason_of_status(status), "{cause}");
        }
        let unknown = Ending::from_failure(&failure(503, q850(99)), false);
        assert_eq!(unknown.reason, ReasonCondition::GeneralError);
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
            assert_eq!(refusal.reason(false).condition, reason_of_status(status), "{word}");
            assert_eq!(refusal.reason(true), Reason::new(ReasonCondition::Busy), "{word}");
        }
        assert_eq!(Refusal::NoRoute.stanza_error().condition, Condition::ItemNotFound);
        assert_eq!(Refusal::Sips.response("gw").warning, Some((380, "gw SIPS Not Allowed".into())));
    }

    #[test]
    fn what_archives_keep_may_give_nothing_away() {
        for (number, (told, condition)) in PRIVATE.into_iter().enumerate() {
            assert_eq!(told as usize, number);
            let ending = Ending::from_failure(&failure(603, Vec::new()), false);
            assert_eq!(ending.message_reason(told, true), Reason::new(condition), "{told:?}");
            assert_eq!(ending.message_reason(told, false), ending.jingle_reason(), "{told:?}");
        }
        for (reason, condition) in PRIVATE_FINISH {
            let ending = Ending::with_text(reason, "because");
            assert_eq!(ending.message_reason(Told::Finish, true), Reason::new(condition), "{reason:?}");
            assert_eq!(ending.message_reason(Told::Reject, true), Reason::new(ReasonCondition::Busy), "{reason:?}");
        }
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
