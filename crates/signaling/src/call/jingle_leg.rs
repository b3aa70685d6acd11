//! The XMPP side of a call.
//!
//! ```text
//! a call from XMPP                                   a call to XMPP
//!
//! Proposed    <- propose                             Idle
//!             -> ringing, on 18x                     Proposing   -> propose
//! Proceeded   -> proceed                                         <- ringing
//! Initiated   <- session-initiate                    Preparing   <- proceed
//!             -> session-info ringing, on 18x        Initiating  -> session-initiate
//! Accepted    -> session-accept                      Accepted    <- session-accept
//!             <> session-terminate, finish                       <> session-terminate, finish
//! ```
//!
//! Without proposals a call from XMPP starts at Initiated, and one to XMPP goes from Idle to Preparing. What is added to
//! an accepted session has states of its own, see [`Addition`].

use std::collections::BTreeMap;

use jid::{FullJid, Jid};
use model::{Description, Direction, DtmfDigit, StreamId};
use xmpp::jingle::{Action, Content, Info, Jingle, Party, Reason, ReasonCondition};
use xmpp::jingle_message::JingleMessage;
use xmpp::stanza::{Payload, Stanza};

use super::contents::Addition;
use super::trickle::Trickled;
use crate::directory::Way;
use crate::ending::{Ending, Told};
use crate::outbox::Context;

/// The XMPP side of a call.
#[derive(Debug)]
pub(super) struct JingleLeg {
    /// Our user.
    pub(super) us: Jid,
    /// Who we talk to: the bare JID until a device is known.
    pub(super) peer: Jid,
    pub(super) sid: String,
    /// Which party of the session we are.
    pub(super) party: Party,
    /// The call was proposed first (XEP-0353).
    pub(super) jmi: bool,
    pub(super) phase: Phase,
    /// What the peer described last.
    pub(super) remote: Description,
    /// What we described last.
    pub(super) local: Description,
    /// What both have agreed on: the answer, whoever gave it.
    pub(super) agreed: Description,
    /// What one of both is adding.
    pub(super) addition: Addition,
    /// The streams that the responder added: the contents of all others were created by the initiator.
    pub(super) by_responder: Vec<StreamId>,
    /// Which way the SIP side lets pictures flow, as the peer sees it, where it was told; else both ways.
    pub(super) told: BTreeMap<StreamId, Direction>,
    /// Candidates that came before the relay could know what they belong to.
    pub(super) waiting: Vec<Trickled>,
    /// The peer does not listen (XEP-0167 §8).
    pub(super) held: bool,
    /// The peer does not send.
    pub(super) muted: bool,
    /// A key that it holds down (XEP-0181).
    pub(super) key_down: Option<DtmfDigit>,
}

/// Where the session is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// Nothing was said yet.
    Idle {
        /// How to begin.
        way: Way,
    },
    /// The caller's device proposed.
    Proposed,
    /// We told it to go on.
    Proceeded,
    /// Its session-initiate came.
    Initiated,
    /// We proposed to all devices of the callee.
    Proposing,
    /// We know the devices; the relay makes our offer.
    Preparing {
        /// Whom to call.
        devices: Vec<FullJid>,
    },
    /// Our session-initiate is sent.
    Initiating {
        /// Who has not answered.
        devices: Vec<FullJid>,
    },
    /// One of us accepted.
    Accepted,
    /// It is over.
    Ended,
}

impl JingleLeg {
    pub(super) fn new(us: Jid, peer: Jid, sid: String, party: Party, phase: Phase) -> Self {
        Self {
            us,
            peer,
            sid,
            party,
            jmi: false,
            phase,
            remote: Description::default(),
            local: Description::default(),
            agreed: Description::default(),
            addition: Addition::None,
            by_responder: Vec::new(),
            told: BTreeMap::new(),
            waiting: Vec::new(),
            held: false,
            muted: false,
            key_down: None,
        }
    }

    /// The other party.
    pub(super) const fn peer_party(&self) -> Party {
        match self.party {
            Party::Initiator => Party::Responder,
            Party::Responder => Party::Initiator,
        }
    }

    /// Says whether a stream is part of the session.
    pub(super) fn is_live(&self, id: StreamId) -> bool {
        self.agreed.streams.iter().any(|stream| stream.id == id && !stream.rejected)
    }

    /// The stream of a content. Who created it is not looked at, because several clients always say the initiator.
    pub(super) fn stream_of(&self, content: &str) -> Option<StreamId> {
        let mut streams = self.local.streams.iter().chain(&self.remote.streams);
        streams.find(|stream| stream.name == content).map(|stream| stream.id)
    }

    /// What the session calls a stream.
    pub(super) fn content_of(&self, id: StreamId) -> Option<&str> {
        let mut streams = self.local.streams.iter().chain(&self.remote.streams);
        streams.find(|stream| stream.id == id).map(|stream| stream.name.as_str())
    }

    /// Who created the content of a stream.
    pub(super) fn creator_of(&self, id: StreamId) -> Party {
        if self.by_responder.contains(&id) { Party::Responder } else { Party::Initiator }
    }

    /// Which way the peer wants a stream to flow, as it sees it. One that holds sends, but does not listen.
    pub(super) fn wish(&self, id: StreamId) -> Direction {
        let stream = self.remote.streams.iter().find(|stream| stream.id == id);
        let said = stream.map_or(Direction::SendRecv, |stream| stream.direction);
        if self.held { said.and(Direction::SendOnly) } else { said }
    }

    /// An action of this session.
    pub(super) fn action(&self, action: Action) -> Jingle {
        Jingle::new(action, self.sid.clone())
    }

    /// Sends an action whose answer changes nothing: to the peer's device, or to all that are called.
    pub(super) fn send(&self, cx: &mut Context<'_>, jingle: Jingle) {
        let payload = Payload::Jingle(Box::new(jingle));
        if !matches!(self.phase, Phase::Initiating { .. }) {
            return cx.out.tell(&self.us, &self.peer, payload);
        }
        for device in self.devices() {
            cx.out.tell(&self.us, &Jid::from(device.clone()), payload.clone());
        }
    }

    /// Sends an action that repeats contents by name alone.
    pub(super) fn send_about(&self, cx: &mut Context<'_>, action: Action, about: &[Content], reason: Option<Reason>) {
        let contents = about.iter().map(|content| Content::new(content.creator, content.name.as_str())).collect();
        self.send(cx, Jingle { contents, reason, ..self.action(action) });
    }

    /// Tells what happens in the session.
    pub(super) fn inform(&self, cx: &mut Context<'_>, info: Info) {
        self.send(cx, Jingle { info: Some(info), ..self.action(Action::SessionInfo) });
    }

    /// Sends a message: to the device that is known, or to all.
    pub(super) fn message(&self, cx: &mut Context<'_>, message: JingleMessage) {
        let (verb, to) = match &message {
            JingleMessage::Propose { .. } => ("propose", Jid::from(self.peer.to_bare())),
            JingleMessage::Retract { .. } => ("retract", Jid::from(self.peer.to_bare())),
            JingleMessage::Ringing { .. } => ("ringing", self.peer.clone()),
            JingleMessage::Proceed { .. } => ("proceed", self.peer.clone()),
            JingleMessage::Accept { .. } => ("accept", self.peer.clone()),
            JingleMessage::Reject { .. } => ("reject", self.peer.clone()),
            JingleMessage::Finish { .. } => ("finish", self.peer.clone()),
        };
        let id = format!("jm-{verb}-{}", self.sid);
        cx.out.stanza(Stanza { from: self.us.clone(), to, id, payload: Payload::JingleMessage(message) });
    }

    /// Tells the caller that it rings.
    pub(super) fn ring(&self, cx: &mut Context<'_>) {
        match self.phase {
            Phase::Proposed => self.message(cx, JingleMessage::Ringing { id: self.sid.clone() }),
            Phase::Initiated => self.inform(cx, Info::Ringing),
            Phase::Idle { .. }
            | Phase::Proceeded
            | Phase::Proposing
            | Phase::Preparing { .. }
            | Phase::Initiating { .. }
            | Phase::Accepted
            | Phase::Ended => (),
        }
    }

    /// Tells the peer that it is over, in the words of where the session is.
    pub(super) fn end(&mut self, cx: &mut Context<'_>, ending: &Ending) {
        match &self.phase {
            Phase::Idle { .. } | Phase::Ended => (),
            Phase::Proposed | Phase::Proceeded => {
                let reason = Some(ending.message_reason(Told::Reject, cx.config.privacy_reasons));
                let id = self.sid.clone();
                self.message(cx, JingleMessage::Reject { id, reason, tie_break: false });
            }
            Phase::Proposing => self.retract(cx, ending),
            Phase::Preparing { .. } if self.jmi => self.retract(cx, ending),
            Phase::Preparing { .. } => (),
            Phase::Initiating { .. } => {
                if self.jmi {
                    self.retract(cx, ending);
                }
                self.terminate(cx, ending);
            }
            Phase::Initiated | Phase::Accepted => {
                self.terminate(cx, ending);
                self.finish(cx, ending);
            }
        }
        self.phase = Phase::Ended;
    }

    /// Learns that the peer ended it: other devices that ring still are told. A session that was proposed is finished,
    /// too, as the archives want it.
    pub(super) fn ended_by_peer(&mut self, cx: &mut Context<'_>, ending: &Ending) {
        match &self.phase {
            Phase::Initiated | Phase::Accepted => self.finish(cx, ending),
            Phase::Initiating { devices } if !devices.is_empty() => self.terminate(cx, ending),
            Phase::Initiating { .. } => (),
            Phase::Idle { .. }
            | Phase::Proposed
            | Phase::Proceeded
            | Phase::Proposing
            | Phase::Preparing { .. }
            | Phase::Ended => (),
        }
        self.phase = Phase::Ended;
    }

    /// Takes our proposal back because the other one has the lower id.
    pub(super) fn lose_tie(&self, cx: &mut Context<'_>) {
        let reason = Some(Reason::new(ReasonCondition::Expired));
        self.message(cx, JingleMessage::Retract { id: self.sid.clone(), reason, tie_break: true });
    }

    /// Takes our proposal back: the call goes on without.
    pub(super) fn take_back(&mut self, cx: &mut Context<'_>) {
        let reason = Some(Reason::new(ReasonCondition::Cancel));
        self.message(cx, JingleMessage::Retract { id: self.sid.clone(), reason, tie_break: false });
        self.jmi = false;
    }

    fn retract(&self, cx: &mut Context<'_>, ending: &Ending) {
        let reason = Some(ending.message_reason(Told::Retract, cx.config.privacy_reasons));
        self.message(cx, JingleMessage::Retract { id: self.sid.clone(), reason, tie_break: false });
    }

    fn terminate(&self, cx: &mut Context<'_>, ending: &Ending) {
        let reason = Some(ending.jingle_reason());
        self.send(cx, Jingle { reason, ..self.action(Action::SessionTerminate) });
    }

    fn finish(&self, cx: &mut Context<'_>, ending: &Ending) {
        if self.jmi {
            let reason = Some(ending.message_reason(Told::Finish, cx.config.privacy_reasons));
            self.message(cx, JingleMessage::Finish { id: self.sid.clone(), reason, migrated_to: None });
        }
    }
}
