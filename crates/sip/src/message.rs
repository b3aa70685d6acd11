//! What the translator and the SIP user agent say to each other: calls as a B2BUA sees them, without transactions.
//!
//! The user agent owns transactions, dialogs, retransmission, digest answers, PRACK and the ACK of a 2xx. Bodies are
//! passed as they came, because it is the translator that has to answer for them.

use std::net::SocketAddr;

use crate::transfer::{ReferTo, Replaces};

/// A SIP call leg: one dialog, from its INVITE on. Chosen by the agent for calls that arrive, by the translator for
/// calls it makes (see [`ToAgent::Invite`]); unique for the life of the process.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DialogId(pub u64);

/// A request inside a dialog that waits for its response.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct InDialogId(pub u64);

/// The name of a trunk in the configuration.
pub type TrunkName = String;

/// What the translator asks of the agent.
#[derive(Clone, Debug, PartialEq)]
pub enum ToAgent {
    /// Calls somebody.
    Invite(OutgoingInvite),
    /// Answers a call that arrived: provisional (180, 183), final. A 2xx is resent until its ACK comes.
    Respond {
        /// The call.
        dialog: DialogId,
        /// What to say.
        response: Response,
    },
    /// Ends a call of ours that is not answered yet. A 2xx that crosses it is acknowledged and ended by the agent.
    Cancel {
        /// The call.
        dialog: DialogId,
        /// Why, for the Reason header (RFC 3326).
        reason: Vec<Reason>,
    },
    /// Ends an answered call.
    Bye {
        /// The call.
        dialog: DialogId,
        /// Why.
        reason: Vec<Reason>,
    },
    /// Changes an answered call by a re-INVITE. Answered by [`FromAgent::ReinviteAnswered`] or
    /// [`FromAgent::ReinviteFailed`].
    Reinvite {
        /// The call.
        dialog: DialogId,
        /// The offer.
        sdp: String,
    },
    /// Changes a call by an UPDATE (RFC 3311), which may be done before it is answered too, as soon as a reliable response
    /// has carried the answer to the first offer. Answered as [`Self::Reinvite`] is. The peer must answer at once, without
    /// asking anybody; one that takes no UPDATE (see [`PeerSupport`]) is not asked.
    Update {
        /// The call.
        dialog: DialogId,
        /// The offer.
        sdp: String,
    },
    /// Gives the ACK of a 2xx the answer to the offer which that 2xx carried (delayed offer).
    Ack {
        /// The call.
        dialog: DialogId,
        /// The answer.
        sdp: String,
    },
    /// Sends an INFO in an answered call, as it was before INFO packages (RFC 6086 §9). What becomes of it is not told:
    /// the call does not depend on it.
    Info {
        /// The call.
        dialog: DialogId,
        /// The media type of the body.
        content_type: String,
        /// The body.
        body: String,
    },
    /// Asks the peer of an answered call to call somebody else (RFC 3515). What becomes of it comes as
    /// [`FromAgent::ReferProgress`].
    Refer {
        /// The call.
        dialog: DialogId,
        /// Who is to be called: a SIP or tel URI.
        refer_to: String,
        /// A call of ours with that party, which the new one is to replace (RFC 5589 §7).
        replaces: Option<DialogId>,
        /// The value for Referred-By (RFC 3892).
        referred_by: Option<String>,
    },
    /// Tells the peer how the call fares that it asked for by a REFER, by NOTIFY (RFC 3515 §2.4.4). The first one, of
    /// 100, the agent sends itself. What is overtaken by further progress before it could be sent is left out.
    Notify {
        /// The call.
        dialog: DialogId,
        /// The REFER.
        subscription: InDialogId,
        /// The status of the response that the new call got, 100 to 699.
        status: u16,
        /// Its phrase; the usual one of the status if `None`.
        phrase: Option<String>,
        /// This is the last one.
        terminated: bool,
    },
    /// Answers a re-INVITE, UPDATE, INFO or REFER.
    RespondInDialog {
        /// The call.
        dialog: DialogId,
        /// Which request.
        request: InDialogId,
        /// What to say.
        response: Response,
    },
}

/// A call we make.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingInvite {
    /// A number not used before; use the upper half (bit 63 set), the agent takes the lower.
    pub dialog: DialogId,
    /// Through which trunk. `None`: straight to the host of `to` (RFC 3263).
    pub trunk: Option<TrunkName>,
    /// Who is called: Request-URI and To, as `sip:user@host`.
    pub to: String,
    /// Who calls: the From URI, as `sip:user@host`.
    pub from: String,
    /// The caller's name, if it is known.
    pub from_display: Option<String>,
    /// The offer; `None`: the peer shall offer in its 2xx, and [`ToAgent::Ack`] answers (delayed offer).
    pub sdp: Option<String>,
    /// Hops left (RFC 3261 §8.1.1.6).
    pub max_forwards: u8,
    /// P-Asserted-Identity: the caller as we know it, a URI (RFC 3325 §9.1). Only for trunks.
    pub asserted_identity: Option<String>,
    /// The caller wants to be known to nobody beyond the trunk: `Privacy: id` (RFC 3325 §9.3).
    pub private: bool,
    /// The dialog of the callee that this call replaces (RFC 3891).
    pub replaces: Option<Replaces>,
    /// The value of the Referred-By that came with the REFER (RFC 3892).
    pub referred_by: Option<String>,
}

impl OutgoingInvite {
    /// A call without an offer (delayed), and with nothing out of the ordinary.
    pub fn new(dialog: DialogId, to: String, from: String) -> Self {
        Self {
            dialog,
            trunk: None,
            to,
            from,
            from_display: None,
            sdp: None,
            max_forwards: 70,
            asserted_identity: None,
            private: false,
            replaces: None,
            referred_by: None,
        }
    }
}

/// What the peer of a call says it can do.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PeerSupport {
    /// Takes REFER (its Allow).
    pub refer: bool,
    /// Takes UPDATE (its Allow).
    pub update: bool,
    /// Takes calls that replace others (its Supported).
    pub replaces: bool,
    /// Knows session timers (its Supported).
    pub timer: bool,
}

/// A response to something that arrived.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// The status, 101 to 699.
    pub status: u16,
    /// The phrase; the usual one of the status if `None`.
    pub phrase: Option<String>,
    /// A body of type application/sdp.
    pub sdp: Option<String>,
    /// Reason headers (RFC 6432).
    pub reason: Vec<Reason>,
    /// Warning code and text (RFC 3261 §20.43).
    pub warning: Option<(u16, String)>,
    /// Seconds for Retry-After.
    pub retry_after: Option<u32>,
}

impl Response {
    /// A response with nothing but its status.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// A response that carries a description.
    pub fn with_sdp(status: u16, sdp: String) -> Self {
        Self { sdp: Some(sdp), ..Self::new(status) }
    }
}

/// One value of a Reason header (RFC 3326 §2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reason {
    /// `SIP` or `Q.850`.
    pub protocol: String,
    /// The cause.
    pub cause: u16,
    /// The text.
    pub text: Option<String>,
}

/// What the agent tells the translator.
#[derive(Clone, Debug, PartialEq)]
pub enum FromAgent {
    /// Somebody calls. A 100 has been sent.
    Invite(IncomingInvite),
    /// A provisional response to our INVITE (101 to 199). A reliable one has been acknowledged by PRACK.
    Provisional {
        /// The call.
        dialog: DialogId,
        /// The status.
        status: u16,
        /// The To tag: another one is another branch of a forked call.
        to_tag: String,
        /// Came reliably (RFC 3262): a description in it is the answer, not a preview.
        reliable: bool,
        /// Its description.
        sdp: Option<String>,
    },
    /// Our INVITE was answered with a 2xx, which the agent has acknowledged, unless the INVITE carried no offer.
    /// Later 2xx of other branches have been ended by the agent.
    Answered {
        /// The call.
        dialog: DialogId,
        /// The To tag.
        to_tag: String,
        /// The answer; `None` where a reliable provisional response carried it.
        sdp: Option<String>,
        /// What the peer can do.
        peer: PeerSupport,
    },
    /// Our INVITE failed for good: a final response, or none.
    Failed {
        /// The call.
        dialog: DialogId,
        /// Why.
        failure: Failure,
    },
    /// The ACK of our 2xx came.
    Acknowledged {
        /// The call.
        dialog: DialogId,
        /// The answer, if our 2xx carried the offer.
        sdp: Option<String>,
    },
    /// The caller gave up before we answered. 487 has been sent.
    Cancelled {
        /// The call.
        dialog: DialogId,
        /// Why.
        reason: Vec<Reason>,
    },
    /// The call is over: a BYE, which has been answered; or nothing came where something had to (no ACK, a dead
    /// dialog), and the agent has sent the BYE itself.
    Ended {
        /// The call.
        dialog: DialogId,
        /// Why.
        reason: Vec<Reason>,
    },
    /// A re-INVITE, or an UPDATE, with an offer or (re-INVITE only) asking for one. It must be answered. Those without
    /// any change in them arrive here too. An UPDATE may come before the call is answered, once its first offer is.
    Reinvited {
        /// The call.
        dialog: DialogId,
        /// What to answer.
        request: InDialogId,
        /// The offer.
        sdp: Option<String>,
    },
    /// Our re-INVITE or UPDATE was answered with a 2xx. It comes unasked where the peer describes itself anew when the
    /// agent refreshes the session by repeating our last description (RFC 4028 §7.4).
    ReinviteAnswered {
        /// The call.
        dialog: DialogId,
        /// The answer.
        sdp: Option<String>,
    },
    /// Our re-INVITE or UPDATE failed; the call stays as it was.
    ReinviteFailed {
        /// The call.
        dialog: DialogId,
        /// Why.
        failure: Failure,
    },
    /// An INFO. It must be answered.
    Info {
        /// The call.
        dialog: DialogId,
        /// What to answer.
        request: InDialogId,
        /// Media type of the body, in lower case, without parameters.
        content_type: String,
        /// The body.
        body: Vec<u8>,
    },
    /// The peer of an answered call asks us to call somebody else (RFC 3515). It must be answered: by 202, then told
    /// how that call fares ([`ToAgent::Notify`]), or by a refusal. The call itself goes on, until its peer ends it.
    Refer {
        /// The call.
        dialog: DialogId,
        /// What to answer, and what the progress belongs to.
        request: InDialogId,
        /// Who is to be called.
        refer_to: ReferTo,
        /// The call of ours that `refer_to` would replace, if it is one of ours: both calls of the peer go through us.
        replaced: Option<DialogId>,
        /// The value of Referred-By, to be passed on unchanged (RFC 3892).
        referred_by: Option<String>,
    },
    /// How our REFER fares: the peer's answer to it, then what its NOTIFYs tell of the new call.
    ReferProgress {
        /// The call.
        dialog: DialogId,
        /// The status: of the refused REFER, or 202, or of the last response that the new call got.
        status: u16,
        /// Nothing more will come. A status of 2xx says that the target was reached, other than 202 and those below 200:
        /// the peer tells no more, and nobody knows (RFC 4488).
        finished: bool,
    },
}

impl FromAgent {
    /// The call it is about.
    pub const fn dialog(&self) -> DialogId {
        match self {
            Self::Invite(IncomingInvite { dialog, .. })
            | Self::Provisional { dialog, .. }
            | Self::Answered { dialog, .. }
            | Self::Failed { dialog, .. }
            | Self::Acknowledged { dialog, .. }
            | Self::Cancelled { dialog, .. }
            | Self::Ended { dialog, .. }
            | Self::Reinvited { dialog, .. }
            | Self::ReinviteAnswered { dialog, .. }
            | Self::ReinviteFailed { dialog, .. }
            | Self::Info { dialog, .. }
            | Self::Refer { dialog, .. }
            | Self::ReferProgress { dialog, .. } => *dialog,
        }
    }
}

/// A call that arrives.
#[derive(Clone, Debug, PartialEq)]
pub struct IncomingInvite {
    /// Names it from now on.
    pub dialog: DialogId,
    /// The trunk it came from, by its source address; `None`: a stranger.
    pub trunk: Option<TrunkName>,
    /// Where the packet came from.
    pub source: SocketAddr,
    /// Who is called: the Request-URI.
    pub request_uri: String,
    /// Who calls: the From URI.
    pub from: String,
    /// The caller's name.
    pub from_display: Option<String>,
    /// P-Asserted-Identity, first URI (RFC 3325); to be believed only from a trunk.
    pub asserted_identity: Option<String>,
    /// The offer; `None`: the caller wants ours (delayed offer).
    pub sdp: Option<String>,
    /// Hops left.
    pub max_forwards: u8,
    /// Its Call-ID, for the log.
    pub sip_call_id: String,
    /// The caller wants to be known to nobody beyond us: `Privacy: id`, `user` or `header` (RFC 3323, RFC 3325).
    pub private: bool,
    /// The call of ours that this one is to replace (RFC 3891 §3). Whoever accepts it ends the other one.
    pub replaces: Option<Replaced>,
    /// The value of Referred-By (RFC 3892).
    pub referred_by: Option<String>,
    /// What the peer can do.
    pub peer: PeerSupport,
}

/// A call of ours that another is to replace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Replaced {
    /// The call.
    pub dialog: DialogId,
    /// Only as long as it is not answered.
    pub early_only: bool,
}

/// How an INVITE failed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The status of the final response; 408 if none came, 503 if the peer could not be reached.
    pub status: u16,
    /// Its phrase.
    pub phrase: String,
    /// Made up by the agent, because no response came.
    pub local: bool,
    /// Reason headers.
    pub reason: Vec<Reason>,
    /// Contact URIs of a 3xx.
    pub contacts: Vec<String>,
    /// Seconds of Retry-After.
    pub retry_after: Option<u32>,
}

impl Failure {
    /// A failure that no response told.
    pub fn local(status: u16, phrase: &str) -> Self {
        Self {
            status,
            phrase: phrase.to_owned(),
            local: true,
            reason: Vec::new(),
            contacts: Vec::new(),
            retry_after: None,
        }
    }
}
