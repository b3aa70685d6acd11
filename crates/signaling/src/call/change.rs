//! What changes in a running call: hold, refresh, other codecs or addresses (RFC 3261 §14, RFC 3264 §8, XEP-0167 §8).
//!
//! ```text
//! SIP changes                                  XMPP changes
//!
//! Taking     <- INVITE, offer                  <- session-info hold, content-modify, …
//!            -> relay: take the offer          Preparing   -> relay: make an offer
//! Answering  -> relay: make an answer          Reinviting  -> INVITE, offer
//!            -> 200, answer                                <- 200, answer
//!            -> session-info hold, unhold      Retrying    <- 491: both at once, again after a while
//!
//! Offering   <- INVITE without an offer
//! AwaitingAck -> 200, offer
//!            <- ACK, answer
//! ```
//!
//! One exchange at a time. What the XMPP side wants meanwhile is not queued: when an exchange is over, what is wanted is
//! compared with what was said last, and the difference is the next offer.

use std::time::{Duration, Instant};

use model::{Command, Description, Direction, MediaStream, StreamId};
use sdp::Session;
use sip::message::{Failure, InDialogId, Response, ToAgent};
use tracing::Level;
use xmpp::jingle::{Content, Info, ReasonCondition};
use xmpp::stanza::StanzaError;

use super::sip_leg::SipLeg;
use super::{Call, JINGLE, SIP, Side, jingle_leg, sip_leg};
use crate::codecs;
use crate::ending::Ending;
use crate::outbox::{Context, Purpose};

/// Both offer at once (RFC 3261 §14.1).
const REQUEST_PENDING: u16 = 491;
/// An offer while the last one is not answered (RFC 3261 §14.2).
const ONE_AFTER_THE_OTHER: u16 = 500;
/// An offer of which nothing can be used.
const NOT_ACCEPTABLE: u16 = 488;
/// The call ends while a request waits (RFC 3261 §15.1.2).
const TERMINATED: u16 = 487;
/// The failures of a re-INVITE that end the call (RFC 3261 §14.1).
const DIALOG_IS_GONE: [u16; 2] = [408, 481];

/// What is being changed on the SIP side.
#[derive(Debug)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The relay looks at the peer's offer.
    Taking {
        request: InDialogId,
        offer: Description,
        /// The SDP session as it was before.
        before: Box<Session>,
    },
    /// The relay makes our answer.
    Answering { request: InDialogId, offer: Description, before: Box<Session> },
    /// The relay makes the offer that the peer asked for.
    Offering { request: InDialogId },
    /// The peer will answer in its ACK.
    AwaitingAck {
        offer: Description,
        /// It is the first exchange of the call, without which there is none.
        first: bool,
    },
    /// The relay makes our offer.
    Preparing,
    /// Our offer is sent.
    Reinviting { offer: Description },
    /// Our offer crossed the peer's.
    Retrying { at: Instant },
}

impl Change {
    /// Takes the step that is under way if it is this one.
    fn take_if(&mut self, is_this: impl Fn(&Self) -> bool) -> Self {
        if is_this(self) { std::mem::replace(self, Self::None) } else { Self::None }
    }
}

impl SipLeg {
    /// Refuses what the peer wanted to change in a call that ends.
    pub(super) fn refuse_change(&mut self, cx: &mut Context<'_>) {
        match std::mem::replace(&mut self.change, Change::None) {
            Change::Taking { request, .. } | Change::Answering { request, .. } | Change::Offering { request } => {
                self.respond_in_dialog(cx, request, Response::new(TERMINATED));
            }
            Change::None
            | Change::AwaitingAck { .. }
            | Change::Preparing
            | Change::Reinviting { .. }
            | Change::Retrying { .. } => (),
        }
    }

    pub(super) fn respond_in_dialog(&self, cx: &mut Context<'_>, request: InDialogId, response: Response) {
        cx.out.sip(ToAgent::RespondInDialog { dialog: self.dialog, request, response });
    }
}

impl Call {
    /// Takes a re-INVITE or UPDATE.
    pub(super) fn handle_reinvite(&mut self, cx: &mut Context<'_>, request: InDialogId, sdp: Option<&str>) {
        let running = self.jingle.phase == jingle_leg::Phase::Accepted && self.sip.phase == sip_leg::Phase::Answered;
        let refusal = match &self.sip.change {
            Change::None | Change::Retrying { .. } if running => None,
            Change::Taking { .. } | Change::Answering { .. } | Change::Offering { .. } => Some(ONE_AFTER_THE_OTHER),
            Change::None
            | Change::Retrying { .. }
            | Change::AwaitingAck { .. }
            | Change::Preparing
            | Change::Reinviting { .. } => Some(REQUEST_PENDING),
        };
        match (refusal, sdp) {
            (Some(status), _) => {
                let retry_after = (status == ONE_AFTER_THE_OTHER).then_some(5);
                self.sip.respond_in_dialog(cx, request, Response { retry_after, ..Response::new(status) });
            }
            (None, Some(sdp)) => self.take_offer(cx, request, sdp),
            (None, None) => {
                self.sip.change = Change::Offering { request };
                self.have_offer_made(cx);
            }
        }
    }

    fn take_offer(&mut self, cx: &mut Context<'_>, request: InDialogId, sdp: &str) {
        let before = Box::new(self.sip.session.clone());
        let described = match self.sip.session.read_offer(sdp) {
            Ok(described) => described,
            Err(error) => return self.refuse_offer(cx, request, *before, &error.to_string()),
        };
        self.losses(cx, "SIP", &described.losses);
        let mut offer = codecs::carried(&described.description, cx.config.video);
        offer.streams.retain(|stream| self.jingle.agreed().streams.iter().any(|agreed| agreed.id == stream.id));
        if offer.streams.is_empty() {
            return self.refuse_offer(cx, request, *before, "nothing in it that the call carries");
        }
        // The same again is a refresh of the session, and gets the same answer.
        if self.sip.offered.as_ref() == Some(&offer)
            && self.sip.remote.as_ref() == Some(&offer)
            && let Some(local) = &self.sip.local
        {
            let answer = self.sip.session.write_answer(local);
            return self.sip.respond_in_dialog(cx, request, Response::with_sdp(200, answer));
        }
        cx.out.relay(
            Command::RemoteOffer { call: self.id, leg: SIP, offer: offer.clone() },
            Purpose::TakeOffer(SIP),
            cx.now,
        );
        self.sip.change = Change::Taking { request, offer, before };
    }

    fn refuse_offer(&mut self, cx: &mut Context<'_>, request: InDialogId, before: Session, why: &str) {
        self.sip.session = before;
        self.sip.change = Change::None;
        self.log(cx, Level::INFO, format!("refused a change from the SIP side: {why}"));
        let warning = Some((399, why.to_owned()));
        self.sip.respond_in_dialog(cx, request, Response { warning, ..Response::new(NOT_ACCEPTABLE) });
        self.adjust_sip(cx);
    }

    /// The relay took the peer's offer in a running call.
    pub(super) fn offer_taken(&mut self, cx: &mut Context<'_>) {
        let taking = self.sip.change.take_if(|change| matches!(change, Change::Taking { .. }));
        let Change::Taking { request, offer, before } = taking else { return };
        let wish = |stream: &MediaStream| self.jingle.wish(stream.id);
        match codecs::answer(&offer, &codecs::directed(self.jingle.agreed(), wish)) {
            Some(answer) => {
                let command = Command::LocalAnswer { call: self.id, leg: SIP, answer };
                cx.out.relay(command, Purpose::GiveAnswer(SIP), cx.now);
                self.sip.change = Change::Answering { request, offer, before };
            }
            None => {
                self.rollback(cx);
                self.refuse_offer(cx, request, *before, "no common codec");
            }
        }
    }

    /// The relay completed our answer in a running call.
    pub(super) fn answer_made(&mut self, cx: &mut Context<'_>, answer: Description) {
        let answering = self.sip.change.take_if(|change| matches!(change, Change::Answering { .. }));
        let Change::Answering { request, offer, .. } = answering else { return };
        let sdp = self.sip.session.write_answer(&answer);
        self.sip.respond_in_dialog(cx, request, Response::with_sdp(200, sdp));
        self.sip.remote = Some(offer.clone());
        self.sip.offered = Some(offer);
        self.sip.local = Some(answer);
        self.sip.refused = None;
        self.tell_hold(cx);
        self.adjust_sip(cx);
    }

    /// The relay completed our offer in a running call.
    pub(super) fn offer_made(&mut self, cx: &mut Context<'_>, offer: Description) {
        let offering = self.sip.change.take_if(|change| matches!(change, Change::Offering { .. } | Change::Preparing));
        match offering {
            Change::Offering { request } => {
                let sdp = self.sip.session.write_offer(&offer);
                self.sip.respond_in_dialog(cx, request, Response::with_sdp(200, sdp));
                self.sip.change = Change::AwaitingAck { offer, first: false };
            }
            Change::Preparing => {
                let sdp = self.sip.session.write_offer(&offer);
                cx.out.sip(ToAgent::Reinvite { dialog: self.sip.dialog, sdp });
                self.sip.change = Change::Reinviting { offer };
            }
            Change::None
            | Change::Taking { .. }
            | Change::Answering { .. }
            | Change::AwaitingAck { .. }
            | Change::Reinviting { .. }
            | Change::Retrying { .. } => (),
        }
    }

    /// The relay could not do what a change needs: the call stays as it is. False where there was no change.
    pub(super) fn change_failed(&mut self, cx: &mut Context<'_>, why: &str) -> bool {
        match std::mem::replace(&mut self.sip.change, Change::None) {
            Change::Taking { request, before, .. } => self.refuse_offer(cx, request, *before, why),
            Change::Answering { request, before, .. } => {
                self.rollback(cx);
                self.refuse_offer(cx, request, *before, why);
            }
            Change::Offering { request } => {
                self.sip.respond_in_dialog(cx, request, Response::new(ONE_AFTER_THE_OTHER));
            }
            Change::Preparing => {
                self.sip.refused = Some(self.wanted());
                self.log(cx, Level::WARN, format!("no change on the SIP side: {why}"));
            }
            unchanged @ (Change::None
            | Change::AwaitingAck { .. }
            | Change::Reinviting { .. }
            | Change::Retrying { .. }) => {
                self.sip.change = unchanged;
                return false;
            }
        }
        true
    }

    /// Takes the ACK of our 2xx.
    pub(super) fn handle_ack(&mut self, cx: &mut Context<'_>, sdp: Option<&str>) {
        let awaiting = self.sip.change.take_if(|change| matches!(change, Change::AwaitingAck { .. }));
        let Change::AwaitingAck { offer, first } = awaiting else { return };
        if self.take_answer(cx, sdp, offer) {
            self.adjust_sip(cx);
        } else if first {
            let text = "no usable answer in the ACK";
            self.end(cx, Side::Neither, Ending::with_text(ReasonCondition::FailedApplication, text));
        } else {
            self.rollback(cx);
            self.adjust_sip(cx);
        }
    }

    /// Our re-INVITE was answered.
    pub(super) fn handle_reinvite_answer(&mut self, cx: &mut Context<'_>, sdp: Option<&str>) {
        let reinviting = self.sip.change.take_if(|change| matches!(change, Change::Reinviting { .. }));
        let Change::Reinviting { offer } = reinviting else { return };
        if self.take_answer(cx, sdp, offer) {
            self.adjust_sip(cx);
        } else {
            let text = "no usable answer to a re-INVITE";
            self.end(cx, Side::Neither, Ending::with_text(ReasonCondition::FailedApplication, text));
        }
    }

    /// Gives the relay the answer to an offer of ours. False where there is none that can be used.
    fn take_answer(&mut self, cx: &mut Context<'_>, sdp: Option<&str>, offer: Description) -> bool {
        let Some(answer) = sdp.and_then(|sdp| self.read_answer(cx, sdp)) else { return false };
        cx.out.relay(
            Command::RemoteAnswer { call: self.id, leg: SIP, answer: answer.clone() },
            Purpose::TakeAnswer(SIP),
            cx.now,
        );
        self.sip.remote = Some(answer);
        self.sip.local = Some(offer);
        self.sip.refused = None;
        true
    }

    /// Our re-INVITE failed.
    pub(super) fn handle_reinvite_failure(&mut self, cx: &mut Context<'_>, failure: &Failure) {
        let reinviting = self.sip.change.take_if(|change| matches!(change, Change::Reinviting { .. }));
        let Change::Reinviting { offer } = reinviting else { return };
        self.rollback(cx);
        if DIALOG_IS_GONE.contains(&failure.status) {
            self.end(cx, Side::Neither, Ending::from_failure(failure, true));
        } else if failure.status == REQUEST_PENDING {
            self.sip.change = Change::Retrying { at: cx.now + self.retry_delay(cx) };
        } else {
            self.sip.refused = Some(directions(&offer));
            self.log(cx, Level::INFO, format!("the SIP side refused a change: {}", failure.status));
            self.adjust_sip(cx);
        }
    }

    /// Who made the call waits longer, so that the two do not meet again (RFC 3261 §14.1).
    fn retry_delay(&self, cx: &mut Context<'_>) -> Duration {
        let tens = match self.caller {
            Side::Xmpp => 210 + cx.out.random() % 191,
            Side::Sip | Side::Neither => cx.out.random() % 201,
        };
        Duration::from_millis(tens * 10)
    }

    /// Offers to the SIP side what the XMPP side wants, if it is not what was said last.
    pub(super) fn adjust_sip(&mut self, cx: &mut Context<'_>) {
        let running = self.jingle.phase == jingle_leg::Phase::Accepted && self.sip.phase == sip_leg::Phase::Answered;
        let Some(local) = self.sip.local.as_ref().filter(|_| running && matches!(self.sip.change, Change::None)) else {
            return;
        };
        let wanted = self.wanted();
        if directions(local) != wanted && self.sip.refused.as_ref() != Some(&wanted) {
            self.sip.change = Change::Preparing;
            self.have_offer_made(cx);
        }
    }

    /// Which streams the SIP side is to have, and which way they flow: as the XMPP side wants it, without what the SIP
    /// side does not want itself.
    fn wanted(&self) -> Vec<(StreamId, Direction)> {
        let local = self.sip.local.iter().flat_map(|local| &local.streams).filter(|stream| !stream.rejected);
        let agreed = &self.jingle.agreed().streams;
        local
            .filter(|stream| agreed.iter().any(|other| other.id == stream.id && !other.rejected))
            .map(|stream| (stream.id, self.jingle.wish(stream.id).and(self.sip.wish(stream.id).reversed())))
            .collect()
    }

    /// Has the relay make our next offer: what was agreed, in the numbers of this leg, in the directions that are wanted.
    fn have_offer_made(&mut self, cx: &mut Context<'_>) {
        let wanted = self.wanted();
        let direction = |stream: &MediaStream| {
            wanted.iter().find(|(id, _)| *id == stream.id).map_or(Direction::Inactive, |(_, direction)| *direction)
        };
        let mut offer = codecs::directed(&self.sip.local.clone().unwrap_or_default(), direction);
        offer.streams.retain(|stream| wanted.iter().any(|(id, _)| *id == stream.id));
        for stream in &mut offer.streams {
            let agreed = self.jingle.agreed().streams.iter().find(|agreed| agreed.id == stream.id);
            let formats = agreed.map(|agreed| agreed.codecs.as_slice()).unwrap_or_default();
            stream.codecs.retain(|codec| formats.iter().any(|format| format.is_same_format(codec)));
        }
        let command = Command::LocalOffer { call: self.id, leg: SIP, offer };
        cx.out.relay(command, Purpose::GiveOffer(SIP), cx.now);
    }

    fn rollback(&self, cx: &mut Context<'_>) {
        cx.out.relay(Command::Rollback { call: self.id, leg: SIP }, Purpose::Aside, cx.now);
    }

    /// Tells the XMPP side when the SIP side begins or ends to hold.
    pub(super) fn tell_hold(&mut self, cx: &mut Context<'_>) {
        let offer = self.sip.offered.iter().flat_map(|offer| &offer.streams);
        let held = !offer.clone().any(|stream| stream.direction.receives()) && offer.count() > 0;
        if held != self.sip.told_hold {
            self.sip.told_hold = held;
            self.jingle.inform(cx, if held { Info::Hold } else { Info::Unhold });
        }
    }

    /// Takes what the XMPP side tells.
    pub(super) fn handle_info(&mut self, cx: &mut Context<'_>, info: &Info) -> Result<(), StanzaError> {
        match info {
            Info::Ringing => self.sip.ring(cx),
            Info::Hold => self.jingle.held = true,
            Info::Unhold => self.jingle.held = false,
            Info::Active => (self.jingle.held, self.jingle.muted) = (false, false),
            Info::Mute(_) => self.jingle.muted = true,
            Info::Unmute(_) => self.jingle.muted = false,
            Info::Other(..) => return Err(StanzaError::unsupported_info()),
        }
        if *info != Info::Ringing && self.jingle.phase == jingle_leg::Phase::Accepted {
            self.adjust_jingle(cx);
            self.adjust_sip(cx);
        }
        Ok(())
    }

    /// Tells the relay what is to be expected from the XMPP side, which sends nothing while it is muted.
    fn adjust_jingle(&self, cx: &mut Context<'_>) {
        let streams = &self.jingle.agreed().streams;
        let wish = streams.first().map_or(Direction::SendRecv, |stream| self.jingle.wish(stream.id));
        let wish = if self.jingle.muted { wish.and(Direction::RecvOnly) } else { wish };
        let command = Command::Hold { call: self.id, leg: JINGLE, direction: wish.reversed() };
        cx.out.relay(command, Purpose::Aside, cx.now);
    }

    /// Takes a content-modify.
    pub(super) fn handle_modify(&mut self, cx: &mut Context<'_>, contents: &[Content]) {
        let party = self.jingle.peer_party();
        for content in contents {
            let id = self.jingle.stream_of(&content.name);
            let stream = self.jingle.remote.streams.iter_mut().find(|stream| Some(stream.id) == id);
            if let (Some(stream), Some(senders)) = (stream, content.senders) {
                stream.direction = senders.direction(party);
            }
        }
        self.adjust_jingle(cx);
        self.adjust_sip(cx);
    }

    /// Takes a content-remove. Without its last content a session is over.
    pub(super) fn handle_remove(&mut self, cx: &mut Context<'_>, contents: &[Content]) {
        for id in contents.iter().filter_map(|content| self.jingle.stream_of(&content.name)).collect::<Vec<_>>() {
            cx.out.relay(Command::RemoveStream { call: self.id, stream: id }, Purpose::Aside, cx.now);
            for description in [&mut self.jingle.remote, &mut self.jingle.local] {
                description.streams.retain(|stream| stream.id != id);
                description.bundle.retain(|other| *other != id);
            }
        }
        if self.jingle.agreed().streams.iter().all(|stream| stream.rejected) {
            self.end(cx, Side::Neither, Ending::new(ReasonCondition::Success));
        } else {
            self.adjust_sip(cx);
        }
    }
}

/// Which streams a description has, and which way they flow.
fn directions(description: &Description) -> Vec<(StreamId, Direction)> {
    description.streams.iter().filter(|stream| !stream.rejected).map(|s| (s.id, s.direction)).collect()
}
