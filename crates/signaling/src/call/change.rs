//! What changes in a running call: hold, refresh, other codecs or addresses (RFC 3261 §14, RFC 3264 §8, XEP-0167 §8).
//!
//! ```text
//! SIP changes                                  XMPP changes
//!
//! Taking     <- INVITE, offer                  <- session-info hold, content-modify, …
//!            -> relay: take the offer          Preparing   -> relay: make an offer
//! Asking     -> content-add, if it adds        Reinviting  -> INVITE, offer
//!            <- content-accept                             <- 200, answer
//! Answering  -> relay: make an answer          Retrying    <- 491: both at once, again after a while
//!            -> 200, answer
//!            -> session-info hold, unhold
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
use xmpp::jingle::{Info, ReasonCondition};
use xmpp::stanza::StanzaError;

use super::contents::Addition;
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
    /// The XMPP side is asked for the streams that the offer adds, see [`super::contents`].
    Asking { request: InDialogId, offer: Description, before: Box<Session> },
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
            Change::Taking { request, .. }
            | Change::Asking { request, .. }
            | Change::Answering { request, .. }
            | Change::Offering { request } => {
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
            Change::Taking { .. } | Change::Asking { .. } | Change::Answering { .. } | Change::Offering { .. } => {
                Some(ONE_AFTER_THE_OTHER)
            }
            // The XMPP side adds something, of which this side will hear next.
            Change::None | Change::Retrying { .. } if self.jingle.addition != Addition::None => Some(REQUEST_PENDING),
            // Somebody else is about to take its place.
            Change::None | Change::Retrying { .. } if self.transfer.is_some() => Some(REQUEST_PENDING),
            Change::None | Change::Retrying { .. } if running => None,
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
        if !offer.streams.iter().any(|stream| self.jingle.is_live(stream.id)) {
            return self.refuse_offer(cx, request, *before, "nothing in it that the call carries");
        }
        // What it has no more is told to the relay, too.
        let gone = described.description.streams.into_iter().filter(|stream| self.sip.has(stream.id));
        let gone: Vec<MediaStream> =
            gone.filter(|stream| offer.streams.iter().all(|other| other.id != stream.id)).collect();
        offer.streams.extend(gone.into_iter().map(|stream| MediaStream { rejected: true, ..stream }));
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
        let is_new = |stream: &&MediaStream| !stream.rejected && !self.jingle.is_live(stream.id);
        let added: Vec<MediaStream> = offer.streams.iter().filter(is_new).cloned().collect();
        let asks = self.ask_for(cx, added);
        self.sip.change = Change::Asking { request, offer, before };
        if !asks {
            self.answer_asking(cx);
        }
    }

    /// Answers the peer's offer with what the XMPP side takes of it.
    pub(super) fn answer_asking(&mut self, cx: &mut Context<'_>) {
        let asking = self.sip.change.take_if(|change| matches!(change, Change::Asking { .. }));
        let Change::Asking { request, offer, before } = asking else { return };
        let wish = |stream: &MediaStream| self.jingle.wish(stream.id);
        match codecs::answer(&offer, &codecs::directed(&self.jingle.agreed, wish)) {
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
        self.tell_directions(cx);
        self.adjust_sip(cx);
    }

    /// The relay completed our offer in a running call.
    pub(super) fn offer_made(&mut self, cx: &mut Context<'_>, offer: Description) {
        let offering = self.sip.change.take_if(|change| matches!(change, Change::Offering { .. } | Change::Preparing));
        match offering {
            Change::Offering { request } => {
                let sdp = self.sip.write_offer(&offer);
                self.sip.respond_in_dialog(cx, request, Response::with_sdp(200, sdp));
                self.sip.change = Change::AwaitingAck { offer, first: false };
            }
            Change::Preparing => {
                let sdp = self.sip.write_offer(&offer);
                cx.out.sip(ToAgent::Reinvite { dialog: self.sip.dialog, sdp });
                self.sip.change = Change::Reinviting { offer };
            }
            Change::None
            | Change::Taking { .. }
            | Change::Asking { .. }
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
                let wanted = self.wanted();
                let asked = self.next_offer(&wanted);
                self.sip.refused = Some(wanted);
                self.log(cx, Level::WARN, format!("no change on the SIP side: {why}"));
                self.settle_addition(cx, &asked, None);
            }
            unchanged @ (Change::None
            | Change::Asking { .. }
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
        if self.take_answer(cx, sdp, offer).is_some() {
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
        if let Some(answer) = self.take_answer(cx, sdp, offer.clone()) {
            self.settle_addition(cx, &offer, Some(&answer));
            self.adjust_sip(cx);
        } else {
            let text = "no usable answer to a re-INVITE";
            self.end(cx, Side::Neither, Ending::with_text(ReasonCondition::FailedApplication, text));
        }
    }

    /// Gives the relay the answer to an offer of ours. Nothing where there is none that can be used.
    fn take_answer(&mut self, cx: &mut Context<'_>, sdp: Option<&str>, mut offer: Description) -> Option<Description> {
        let answer = self.read_answer(cx, sdp?, &offer)?;
        for stream in &mut offer.streams {
            stream.rejected |= answer.streams.iter().any(|answered| answered.id == stream.id && answered.rejected);
        }
        cx.out.relay(
            Command::RemoteAnswer { call: self.id, leg: SIP, answer: answer.clone() },
            Purpose::TakeAnswer(SIP),
            cx.now,
        );
        // What it had taken away, and takes now, is wished for again.
        if let Some(offered) = &mut self.sip.offered {
            let is_back = |id| answer.streams.iter().any(|stream: &MediaStream| stream.id == id && !stream.rejected);
            offered.streams.retain(|stream| !stream.rejected || !is_back(stream.id));
        }
        self.sip.remote = Some(answer.clone());
        self.sip.local = Some(offer);
        self.sip.refused = None;
        Some(answer)
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
            // Its m-lines are there, and may be used again.
            let local = self.sip.local.get_or_insert_default();
            let unknown = offer.streams.iter().filter(|new| local.streams.iter().all(|stream| stream.id != new.id));
            let unknown: Vec<MediaStream> =
                unknown.map(|stream| MediaStream { rejected: true, ..stream.clone() }).collect();
            local.streams.extend(unknown);
            self.log(cx, Level::INFO, format!("the SIP side refused a change: {}", failure.status));
            self.settle_addition(cx, &offer, None);
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
        let is_quiet = matches!(self.sip.change, Change::None) && self.transfer.is_none();
        let Some(local) = self.sip.local.as_ref().filter(|_| running && is_quiet) else {
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
        let is_added = |id| self.jingle.addition.wants(id);
        let is_wanted = |id| is_added(id) || self.jingle.is_live(id) && self.sip.has(id);
        let theirs = |id| if is_added(id) { Direction::SendRecv } else { self.sip.wish(id).reversed() };
        let streams = self.jingle.remote.streams.iter().map(|stream| stream.id).filter(|id| is_wanted(*id));
        let mut wanted: Vec<_> = streams.map(|id| (id, self.jingle.wish(id).and(theirs(id)))).collect();
        wanted.sort_unstable_by_key(|(id, _)| *id);
        wanted
    }

    /// Our next offer: what was agreed, in the numbers of this leg, in the directions that are wanted, with what the XMPP
    /// side adds. What is not wanted is refused by name, so that it is known what becomes of its m-line.
    fn next_offer(&self, wanted: &[(StreamId, Direction)]) -> Description {
        let direction = |id| wanted.iter().find(|(other, _)| *other == id).map(|(_, direction)| *direction);
        let mut offer = self.sip.local.clone().unwrap_or_default();
        for stream in &mut offer.streams {
            let agreed = self.jingle.agreed.streams.iter().find(|agreed| agreed.id == stream.id);
            let formats = agreed.map(|agreed| agreed.codecs.as_slice()).unwrap_or_default();
            if self.sip.has(stream.id) {
                stream.codecs.retain(|codec| formats.iter().any(|format| format.is_same_format(codec)));
            }
        }
        let is_added = |stream: &&MediaStream| direction(stream.id).is_some() && !self.sip.has(stream.id);
        let added: Vec<MediaStream> = self.jingle.remote.streams.iter().filter(is_added).cloned().collect();
        let added = codecs::offer_like(&Description { streams: added, bundle: Vec::new() }, false).streams;
        offer.streams.retain(|stream| added.iter().all(|new| new.id != stream.id));
        offer.streams.extend(added);
        for stream in &mut offer.streams {
            stream.rejected = direction(stream.id).is_none();
        }
        codecs::directed(&offer, |stream| direction(stream.id).unwrap_or(Direction::Inactive))
    }

    /// Has the relay make our next offer.
    fn have_offer_made(&mut self, cx: &mut Context<'_>) {
        let offer = self.next_offer(&self.wanted());
        cx.out.relay(Command::LocalOffer { call: self.id, leg: SIP, offer }, Purpose::GiveOffer(SIP), cx.now);
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
            Info::Dtmf { digit, down, duration_ms } => {
                self.take_key(cx, *digit, *down, *duration_ms);
                return Ok(());
            }
            // A transfer is for the translator, which knows other calls and whom one may call.
            Info::Transfer { .. } | Info::Other(..) => return Err(StanzaError::unsupported_info()),
        }
        if *info != Info::Ringing && self.jingle.phase == jingle_leg::Phase::Accepted {
            self.adjust_jingle(cx);
            self.adjust_sip(cx);
        }
        Ok(())
    }

    /// Tells the relay what is to be expected from the XMPP side, which sends nothing while it is muted.
    pub(super) fn adjust_jingle(&self, cx: &mut Context<'_>) {
        let wish = self.jingle.agreed.streams.first().map_or(Direction::SendRecv, |stream| self.jingle.wish(stream.id));
        let wish = if self.jingle.muted { wish.and(Direction::RecvOnly) } else { wish };
        let command = Command::Hold { call: self.id, leg: JINGLE, direction: wish.reversed() };
        cx.out.relay(command, Purpose::Aside, cx.now);
    }
}

/// Which streams a description has, and which way they flow.
fn directions(description: &Description) -> Vec<(StreamId, Direction)> {
    let live = description.streams.iter().filter(|stream| !stream.rejected);
    let mut directions: Vec<_> = live.map(|stream| (stream.id, stream.direction)).collect();
    directions.sort_unstable_by_key(|(id, _)| *id);
    directions
}
