//! The SIP side of a call.
//!
//! ```text
//! a call to SIP                                      a call from SIP
//!
//! Idle                                               Called      <- INVITE
//! Calling     -> INVITE                                          -> 180
//!             <- 18x                                 Answered    -> 200
//! Answered    <- 2xx                                             <- ACK, with the answer if the INVITE had no offer
//!             <> BYE                                             <> BYE
//! ```

use model::{Description, Direction, Profile, StreamId};
use sdp::Session;
use sip::message::{DialogId, OutgoingInvite, PeerSupport, Response, ToAgent};

use super::change::Change;
use crate::ending::Ending;
use crate::outbox::Context;

/// The provisional statuses that mean that the callee was found (RFC 3261 §21.1). 183 may be an announcement rather than
/// a ringing phone, but who cannot hear it shall at least see that something happens: Monal gives up without.
const RINGING: [u16; 3] = [180, 182, 183];

/// The SIP side of a call.
#[derive(Debug)]
pub(super) struct SipLeg {
    pub(super) dialog: DialogId,
    pub(super) phase: Phase,
    pub(super) session: Session,
    /// What the peer described last.
    pub(super) remote: Option<Description>,
    /// What we described last.
    pub(super) local: Option<Description>,
    /// What the peer offered last, if the last offer was its own: what it wishes by itself.
    pub(super) offered: Option<Description>,
    /// What is being changed in the running call.
    pub(super) change: Change,
    /// The directions of an offer of ours that the peer refused, and that is not repeated.
    pub(super) refused: Option<Vec<(StreamId, Direction)>>,
    /// The XMPP side was told that this one holds.
    pub(super) told_hold: bool,
    /// What the peer can do.
    pub(super) support: PeerSupport,
}

/// Where the dialog is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// The INVITE waits for its offer.
    Idle {
        /// The INVITE.
        invite: Box<OutgoingInvite>,
    },
    /// The INVITE is sent.
    Calling {
        /// A ringing was passed on.
        rang: bool,
        /// The answer that a reliable provisional response gave.
        answer: Option<Box<Description>>,
    },
    /// An INVITE came.
    Called {
        /// A 180 was sent.
        rang: bool,
    },
    /// A 2xx came, or was sent.
    Answered,
    /// It is over.
    Ended,
}

impl SipLeg {
    pub(super) const fn new(dialog: DialogId, phase: Phase, session: Session) -> Self {
        Self {
            dialog,
            phase,
            session,
            remote: None,
            local: None,
            offered: None,
            change: Change::None,
            refused: None,
            told_hold: false,
            support: PeerSupport { refer: false, update: false, replaces: false, timer: false },
        }
    }

    pub(super) fn write_offer(&mut self, offer: &Description) -> String {
        write_offer(&mut self.session, offer)
    }

    /// Says whether a provisional status means ringing.
    pub(super) fn is_ringing(status: u16) -> bool {
        RINGING.contains(&status)
    }

    /// Says whether a stream is there.
    pub(super) fn has(&self, id: StreamId) -> bool {
        self.local.iter().flat_map(|local| &local.streams).any(|stream| stream.id == id && !stream.rejected)
    }

    /// Which way the peer wishes a stream to flow, as it sees it.
    pub(super) fn wish(&self, id: StreamId) -> Direction {
        let stream = self.offered.iter().flat_map(|offer| &offer.streams).find(|stream| stream.id == id);
        match stream {
            Some(stream) if stream.rejected => Direction::Inactive,
            Some(stream) => stream.direction,
            None => Direction::SendRecv,
        }
    }

    /// Says whether the callee was heard to ring.
    pub(super) const fn rang(&self) -> bool {
        match self.phase {
            Phase::Calling { rang, .. } | Phase::Called { rang } => rang,
            Phase::Idle { .. } | Phase::Answered | Phase::Ended => false,
        }
    }

    pub(super) fn respond(&self, cx: &mut Context<'_>, response: Response) {
        cx.out.sip(ToAgent::Respond { dialog: self.dialog, response });
    }

    /// Tells the caller that it rings, once.
    pub(super) fn ring(&mut self, cx: &mut Context<'_>) {
        if let Phase::Called { rang: rang @ false } = &mut self.phase {
            *rang = true;
            self.respond(cx, Response::new(180));
        }
    }

    /// Tells the peer that it is over, in the words of where the dialog is.
    pub(super) fn end(&mut self, cx: &mut Context<'_>, ending: &Ending) {
        self.refuse_change(cx);
        let dialog = self.dialog;
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Idle { .. } | Phase::Ended => (),
            Phase::Calling { .. } => cx.out.sip(ToAgent::Cancel { dialog, reason: ending.cancel_reasons() }),
            Phase::Called { .. } => self.respond(cx, ending.response()),
            Phase::Answered => cx.out.sip(ToAgent::Bye { dialog, reason: ending.bye_reasons() }),
        }
    }

    /// Learns that the peer ended it.
    pub(super) fn ended_by_peer(&mut self) {
        self.phase = Phase::Ended;
        self.change = Change::None;
    }
}

/// Writes an offer. Where it asks for feedback (RFC 4585) it does so below the profile that every phone takes: many refuse
/// RTP/AVPF, and those that know feedback find its attributes.
pub(super) fn write_offer(session: &mut Session, offer: &Description) -> String {
    let mut offer = offer.clone();
    for stream in &mut offer.streams {
        stream.path.profile = match stream.path.profile {
            Profile::Avp | Profile::Avpf => Profile::Avp,
            Profile::Savp | Profile::Savpf => Profile::Savp,
            dtls @ (Profile::TlsSavp | Profile::TlsSavpf) => dtls,
        };
    }
    session.write_offer(&offer)
}
