//! The tables of correspondences between what ends a call in one world and in the other: one row is one of them.
//!
//! Most have two tables, one for each direction, because the documents they are from are no inverse of each other.

use xmpp::jingle::ReasonCondition;
use xmpp::stanza::Condition;

/// What a message about a call says of its end: it is kept in archives, where others may read it (XEP-0353 §6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Told {
    /// By a `reject`.
    Reject,
    /// By a `retract`.
    Retract,
    /// By a `finish`.
    Finish,
}

/// What such a message says where it shall give nothing away, whatever the reason.
pub(super) const PRIVATE: [(Told, ReasonCondition); 3] = [
    (Told::Reject, ReasonCondition::Busy),
    (Told::Retract, ReasonCondition::Cancel),
    (Told::Finish, ReasonCondition::Success),
];

/// What else a `finish` may say then.
pub(super) const PRIVATE_FINISH: [(ReasonCondition, ReasonCondition); 6] = [
    (ReasonCondition::Expired, ReasonCondition::Expired),
    (ReasonCondition::Timeout, ReasonCondition::Expired),
    (ReasonCondition::ConnectivityError, ReasonCondition::ConnectivityError),
    (ReasonCondition::FailedTransport, ReasonCondition::ConnectivityError),
    (ReasonCondition::MediaError, ReasonCondition::ConnectivityError),
    (ReasonCondition::SecurityError, ReasonCondition::ConnectivityError),
];

/// Each Jingle reason (XEP-0166 §7.4), the status that answers an INVITE for it, and its cause (ITU-T Q.850 as RFC 3398
/// §7.2.4.1 has it).
pub(super) const REASONS: [(ReasonCondition, u16, u16); 17] = [
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

/// Each final status of SIP (RFC 3261 §21) that has a Jingle reason of its own; all others are `general-error`.
pub(super) const STATUSES: [(u16, ReasonCondition); 20] = [
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

/// The causes in a BYE that say more than that the call is over (ITU-T Q.850 §2.2.7).
pub(super) const BYE_CAUSES: [(u16, ReasonCondition); 9] = [
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

/// From a cause to the status it stands for (RFC 3398 §7.2.4.1); all others are 500.
pub(super) const CAUSE_TO_STATUS: [(u16, u16); 31] = [
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
    (87, 403),
    (88, 503),
    (102, 504),
    (111, 500),
    (127, 500),
];

/// From a status to its cause (RFC 3398 §8.2.6.1); all others are 31.
pub(super) const STATUS_TO_CAUSE: [(u16, u16); 36] = [
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
    (604, 1),
    (606, 31),
];

/// From a stanza error to the status of an INVITE (RFC 7247 §7.1): about a full JID, and about a bare one where 6xx is
/// wanted. 503 is never sent, because it would take the whole gateway out of service for the peer.
pub(super) const CONDITIONS: [(Condition, u16, u16); 22] = [
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
pub(super) const STATUS_TO_CONDITION: [(u16, Condition); 38] = [
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
pub(super) const CLASS_TO_CONDITION: [(u16, Condition); 4] = [
    (3, Condition::Redirect),
    (4, Condition::BadRequest),
    (5, Condition::InternalServerError),
    (6, Condition::RecipientUnavailable),
];

/// The statuses after which another trunk is tried: what lies behind this one was not reached (RFC 3263 §4.3 has 503,
/// RFC 3261 §21.5 the others). Our own agent says 408 and 503 where nobody answers.
pub(super) const TRY_ANOTHER: [u16; 3] = [502, 503, 504];

/// The causes with which 480 means the same (RFC 3398 §7.2.4.1): no circuit, and what is out of order or congested.
pub(super) const TRY_ANOTHER_CAUSES: [u16; 4] = [34, 38, 41, 42];

pub(super) fn reason_of_status(status: u16) -> ReasonCondition {
    let known = if status / 100 == 3 { 300 } else { status };
    STATUSES.iter().find(|row| row.0 == known).map_or(ReasonCondition::GeneralError, |row| row.1)
}

pub(super) fn condition_of_status(status: u16) -> Condition {
    let exact = STATUS_TO_CONDITION.iter().find(|row| row.0 == status);
    let by_class = || CLASS_TO_CONDITION.iter().find(|row| row.0 == status / 100);
    exact.or_else(by_class).map_or(Condition::UndefinedCondition, |row| row.1)
}

pub(super) fn cause_of_status(status: u16) -> u16 {
    STATUS_TO_CAUSE.iter().find(|row| row.0 == status).map_or(31, |row| row.1)
}

pub(super) fn status_of_cause(cause: u16) -> u16 {
    CAUSE_TO_STATUS.iter().find(|row| row.0 == cause).map_or(500, |row| row.1)
}

pub(super) fn private_reason(told: Told, reason: ReasonCondition) -> ReasonCondition {
    let of_finish = PRIVATE_FINISH.iter().find(|row| told == Told::Finish && row.0 == reason);
    of_finish.map_or(PRIVATE[told as usize].1, |row| row.1)
}
