//! Somebody else takes the place of the SIP side's peer, while the XMPP side stays (RFC 5589).
//!
//! ```text
//! the phone transfers the client               another phone takes the call over
//!
//!           <- REFER                           Taking     <- INVITE, Replaces, offer
//! Preparing -> 202                                        -> relay: somebody else; take the offer
//!           -> relay: somebody else; an offer  Answering  -> relay: make an answer
//! Calling   -> INVITE, to the target                      -> 200, answer
//!           <- 180       -> NOTIFY 180                    -> BYE, to the one before
//!           <- 200       -> NOTIFY 200
//!           -> relay: take the answer
//!           <- BYE, from the one before
//! ```
//!
//! Until the end everything stays as it was: a transfer that fails leaves the call with whom it had. Only if that one has
//! gone meanwhile, as some phones do once they have been promised to be told, the call ends with the transfer.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use model::{Command, Description, MediaStream};
use sdp::Session;
use sip::message::{DialogId, Failure, FromAgent, InDialogId, OutgoingInvite, Response, ToAgent};
use tracing::Level;
use xmpp::jingle::{Info, ReasonCondition};

use super::change::Change;
use super::contents::Addition;
use super::sip_leg::{self, SipLeg, write_offer};
use super::{Call, SIP, Side, SipNames, answer_stray};
use crate::codecs;
use crate::ending::Ending;
use crate::outbox::{Context, Purpose};

/// How long whoever transferred a call may take to hang up (RFC 5589 §6.1 leaves it to it).
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A transfer is under way, or a change.
const REQUEST_PENDING: u16 = 491;
/// The transfer is taken (RFC 3515 §2.4.2).
const ACCEPTED: u16 = 202;
/// Nothing that the offer and the call have in common.
const NOT_ACCEPTABLE: u16 = 488;
/// The relay cannot.
pub(super) const SERVER_ERROR: u16 = 500;
/// The target did not answer in time.
const TIMED_OUT: u16 = 408;

/// A transfer on its way.
#[derive(Debug)]
pub(super) struct Transfer {
    /// The dialog with whom is to come.
    dialog: DialogId,
    session: Session,
    stage: Stage,
    /// The REFER to be told about, in the dialog of whom it came from.
    told: Option<(DialogId, InDialogId)>,
    /// Where else the target may be.
    others: VecDeque<OutgoingInvite>,
    trunk: Option<String>,
    names: SipNames,
    until: Instant,
}

#[derive(Debug)]
enum Stage {
    /// The relay makes our offer.
    Preparing { invite: Box<OutgoingInvite> },
    /// The target was called.
    Calling { offer: Description },
    /// The relay looks at the offer of whom takes over.
    Taking { offer: Description },
    /// The relay makes our answer to it.
    Answering { offer: Description },
}

/// A call that takes the place of another.
pub(crate) struct Replacement {
    pub(crate) dialog: DialogId,
    pub(crate) session: Session,
    pub(crate) offer: Description,
    pub(crate) names: SipNames,
}

/// Whom a transfer is to reach.
pub(crate) struct Target {
    pub(crate) first: OutgoingInvite,
    pub(crate) others: VecDeque<OutgoingInvite>,
}

impl Call {
    /// Says whether the SIP side's peer may change now.
    fn may_transfer(&self) -> bool {
        let is_quiet = matches!(self.sip.change, Change::None) && self.jingle.addition == Addition::None;
        self.is_running() && is_quiet && self.transfer.is_none()
    }

    /// The dialogs whose events are this call's.
    pub(crate) fn dialogs(&self) -> Vec<DialogId> {
        let coming = self.transfer.as_ref().map(|transfer| transfer.dialog);
        let leaving = self.leaving.iter().map(|(dialog, _)| *dialog);
        [self.sip.dialog].into_iter().chain(coming).chain(leaving).collect()
    }

    /// When something about a transfer is due.
    pub(super) fn transfer_timeout(&self) -> Option<Instant> {
        let coming = self.transfer.as_ref().map(|transfer| transfer.until);
        self.leaving.iter().map(|(_, until)| *until).chain(coming).min()
    }

    pub(super) fn handle_transfer_timeout(&mut self, cx: &mut Context<'_>) {
        let (late, leaving) = self.leaving.drain(..).partition(|(_, until)| *until <= cx.now);
        self.leaving = leaving;
        let late: Vec<(DialogId, Instant)> = late;
        for (dialog, _) in late {
            cx.out.sip(ToAgent::Bye { dialog, reason: Vec::new() });
        }
        if let Some(transfer) = self.transfer.take_if(|transfer| transfer.until <= cx.now) {
            self.give_up_transfer(cx, transfer, &Failure::local(TIMED_OUT, "Request Timeout"));
        }
    }

    /// The SIP side's peer wants the XMPP side to talk to somebody else.
    pub(crate) fn begin_transfer(
        &mut self,
        cx: &mut Context<'_>,
        request: InDialogId,
        Target { first, others }: Target,
    ) {
        if !self.may_transfer() {
            return self.sip.respond_in_dialog(cx, request, Response::new(REQUEST_PENDING));
        }
        self.sip.respond_in_dialog(cx, request, Response::new(ACCEPTED));
        self.log(cx, Level::INFO, format!("the SIP side transfers the call to {}", first.to));
        let told = Some((self.sip.dialog, request));
        let names = SipNames { from: first.from.clone(), to: first.to.clone(), call_id: None };
        let (dialog, trunk) = (first.dialog, first.trunk.clone());
        let stage = Stage::Preparing { invite: Box::new(first) };
        let session = Session::new(cx.out.random());
        let until = cx.now + cx.config.ring_timeout;
        self.transfer = Some(Transfer { dialog, session, stage, told, others, trunk, names, until });
        cx.out.relay(Command::Renew { call: self.id, leg: SIP }, Purpose::Renew, cx.now);
    }

    /// Another call takes the place of the SIP side's (RFC 3891). False where it may not now.
    pub(crate) fn begin_replacement(&mut self, cx: &mut Context<'_>, replacement: Replacement) -> bool {
        if !self.may_transfer() {
            return false;
        }
        let Replacement { dialog, session, offer, names } = replacement;
        self.log(cx, Level::INFO, format!("{} takes the call over", names.from));
        self.transfer = Some(Transfer {
            dialog,
            session,
            stage: Stage::Taking { offer },
            told: None,
            others: VecDeque::new(),
            trunk: self.trunk.clone(),
            names,
            until: cx.now + cx.config.ring_timeout,
        });
        cx.out.relay(Command::Renew { call: self.id, leg: SIP }, Purpose::Renew, cx.now);
        true
    }

    /// The relay is ready for somebody else.
    pub(super) fn renewed(&mut self, cx: &mut Context<'_>) {
        let call = self.id;
        match self.transfer.as_ref().map(|transfer| &transfer.stage) {
            Some(Stage::Preparing { .. }) => {
                let mut agreed = self.jingle.agreed.clone();
                agreed.streams.retain(|stream| !stream.rejected);
                let wish = |stream: &MediaStream| self.jingle.wish(stream.id);
                let offer = codecs::directed(&codecs::offer_like(&agreed, false), wish);
                cx.out.relay(Command::LocalOffer { call, leg: SIP, offer }, Purpose::GiveOffer(SIP), cx.now);
            }
            Some(Stage::Taking { offer }) => {
                let command = Command::RemoteOffer { call, leg: SIP, offer: offer.clone() };
                cx.out.relay(command, Purpose::TakeOffer(SIP), cx.now);
            }
            // It was given up meanwhile.
            Some(Stage::Calling { .. } | Stage::Answering { .. }) | None => {
                cx.out.relay(Command::Rollback { call, leg: SIP }, Purpose::Aside, cx.now);
            }
        }
    }

    /// The relay completed our offer to the target of a transfer. False where there is none.
    pub(super) fn call_target(&mut self, cx: &mut Context<'_>, offer: &Description) -> bool {
        let Some(transfer) = &mut self.transfer else { return false };
        let Stage::Preparing { invite } = &transfer.stage else { return false };
        let sdp = Some(write_offer(&mut transfer.session, offer));
        cx.out.sip(ToAgent::Invite(OutgoingInvite { sdp, ..(**invite).clone() }));
        transfer.stage = Stage::Calling { offer: offer.clone() };
        true
    }

    /// The relay took the offer of whom takes over. False where there is none.
    pub(super) fn answer_replacement(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(Transfer { stage: Stage::Taking { offer }, .. }) = &self.transfer else { return false };
        let offer = offer.clone();
        let wish = |stream: &MediaStream| self.jingle.wish(stream.id);
        match codecs::answer(&offer, &codecs::directed(&self.jingle.agreed, wish)) {
            Some(answer) => {
                let command = Command::LocalAnswer { call: self.id, leg: SIP, answer };
                cx.out.relay(command, Purpose::GiveAnswer(SIP), cx.now);
                if let Some(transfer) = &mut self.transfer {
                    transfer.stage = Stage::Answering { offer };
                }
            }
            None => return self.transfer_failed(cx, NOT_ACCEPTABLE),
        }
        true
    }

    /// The relay completed our answer to whom takes over. False where there is none.
    pub(super) fn replaced(&mut self, cx: &mut Context<'_>, answer: &Description) -> bool {
        let transfer = self.transfer.take_if(|transfer| matches!(transfer.stage, Stage::Answering { .. }));
        let Some(mut transfer) = transfer else { return false };
        let Stage::Answering { offer } = transfer.stage else { return false };
        let sdp = transfer.session.write_answer(answer);
        let dialog = transfer.dialog;
        cx.out.sip(ToAgent::Respond { dialog, response: Response::with_sdp(200, sdp) });
        let before = self.sip.dialog;
        let mut leg = SipLeg::new(dialog, sip_leg::Phase::Answered, transfer.session);
        leg.remote = Some(offer.clone());
        leg.offered = Some(offer);
        leg.local = Some(answer.clone());
        if self.sip.phase == sip_leg::Phase::Answered {
            cx.out.sip(ToAgent::Bye { dialog: before, reason: Vec::new() });
        }
        self.take_place(cx, leg, transfer.trunk, transfer.names);
        true
    }

    /// What a transfer needed of the relay, or of the target's words, is not to be had. False where there is none.
    pub(super) fn transfer_failed(&mut self, cx: &mut Context<'_>, status: u16) -> bool {
        let Some(transfer) = self.transfer.take() else { return false };
        self.give_up_transfer(cx, transfer, &Failure::local(status, "transfer not possible"));
        true
    }

    fn give_up_transfer(&mut self, cx: &mut Context<'_>, transfer: Transfer, failure: &Failure) {
        cx.out.relay(Command::Rollback { call: self.id, leg: SIP }, Purpose::Aside, cx.now);
        self.log(cx, Level::INFO, format!("the transfer came to nothing: {} {}", failure.status, failure.phrase));
        match &transfer.stage {
            Stage::Preparing { .. } => (),
            Stage::Calling { .. } if failure.local => {
                let reason = Ending::from_failure(failure, true).cancel_reasons();
                cx.out.sip(ToAgent::Cancel { dialog: transfer.dialog, reason });
            }
            Stage::Calling { .. } => (),
            Stage::Taking { .. } | Stage::Answering { .. } => {
                let response = Response::new(failure.status);
                cx.out.sip(ToAgent::Respond { dialog: transfer.dialog, response });
            }
        }
        self.tell_progress(cx, transfer.told, failure.status, Some(&failure.phrase), true);
        self.go_on_without(cx, Ending::from_failure(failure, true));
    }

    /// Goes on with whom the call had before a transfer; if that one has gone meanwhile, there is nobody.
    fn go_on_without(&mut self, cx: &mut Context<'_>, ending: Ending) {
        if self.sip.phase == sip_leg::Phase::Ended {
            self.end(cx, Side::Neither, ending);
        } else {
            self.adjust_sip(cx);
        }
    }

    fn tell_progress(
        &self,
        cx: &mut Context<'_>,
        told: Option<(DialogId, InDialogId)>,
        status: u16,
        phrase: Option<&str>,
        terminated: bool,
    ) {
        if let Some((dialog, subscription)) = told.filter(|_| self.sip.phase == sip_leg::Phase::Answered) {
            let phrase = phrase.map(str::to_owned);
            cx.out.sip(ToAgent::Notify { dialog, subscription, status, phrase, terminated });
        }
    }

    /// Takes an event of another dialog than the one that the call is held in. False where it is of that one.
    pub(super) fn handle_side_dialog(&mut self, cx: &mut Context<'_>, event: &FromAgent) -> bool {
        let dialog = event.dialog();
        if self.leaving.iter().any(|(leaving, _)| *leaving == dialog) {
            if matches!(event, FromAgent::Ended { .. }) {
                self.leaving.retain(|(leaving, _)| *leaving != dialog);
            } else {
                answer_stray(cx, event);
            }
            return true;
        }
        match &self.transfer {
            Some(transfer) if transfer.dialog == dialog => self.handle_target(cx, event),
            Some(_) if matches!(event, FromAgent::Ended { .. }) && dialog == self.sip.dialog => {
                self.log(cx, Level::DEBUG, "whoever transfers the call has left it already");
                self.sip.ended_by_peer();
            }
            Some(_) | None => return false,
        }
        true
    }

    fn handle_target(&mut self, cx: &mut Context<'_>, event: &FromAgent) {
        match event {
            FromAgent::Provisional { status, .. } => {
                let told = self.transfer.as_ref().and_then(|transfer| transfer.told);
                self.tell_progress(cx, told, *status, None, false);
            }
            FromAgent::Answered { dialog, sdp, .. } => {
                if !self.take_target(cx, sdp.as_deref()) {
                    cx.out.sip(ToAgent::Bye { dialog: *dialog, reason: Vec::new() });
                    let failure = Failure { local: false, ..Failure::local(NOT_ACCEPTABLE, "Not Acceptable Here") };
                    if let Some(transfer) = self.transfer.take() {
                        self.give_up_transfer(cx, transfer, &failure);
                    }
                }
            }
            FromAgent::Failed { failure, .. } => self.target_failed(cx, failure),
            // Who takes over has changed its mind.
            FromAgent::Cancelled { .. } | FromAgent::Ended { .. } => {
                if self.transfer.take().is_some() {
                    cx.out.relay(Command::Rollback { call: self.id, leg: SIP }, Purpose::Aside, cx.now);
                    self.go_on_without(cx, Ending::new(ReasonCondition::Success));
                }
            }
            FromAgent::Invite(_)
            | FromAgent::Acknowledged { .. }
            | FromAgent::Reinvited { .. }
            | FromAgent::ReinviteAnswered { .. }
            | FromAgent::ReinviteFailed { .. }
            | FromAgent::Info { .. }
            | FromAgent::Refer { .. }
            | FromAgent::ReferProgress { .. } => answer_stray(cx, event),
        }
    }

    /// Takes the answer of a transfer's target. False where it cannot be used.
    fn take_target(&mut self, cx: &mut Context<'_>, sdp: Option<&str>) -> bool {
        let Some(Transfer { session, stage: Stage::Calling { offer }, .. }) = &mut self.transfer else { return false };
        let (offer, Some(Ok(described))) = (offer.clone(), sdp.map(|sdp| session.read_answer(sdp))) else {
            return false;
        };
        self.losses(cx, "SIP", &described.losses);
        let mut answer = described.description;
        answer.streams.retain(|stream| offer.streams.iter().any(|offered| offered.id == stream.id));
        if codecs::answer(&offer, &answer).is_none() {
            return false; // nothing in common
        }
        let Some(transfer) = self.transfer.take() else { return false };
        let command = Command::RemoteAnswer { call: self.id, leg: SIP, answer: answer.clone() };
        cx.out.relay(command, Purpose::TakeAnswer(SIP), cx.now);
        self.tell_progress(cx, transfer.told, 200, None, true);
        if self.sip.phase == sip_leg::Phase::Answered {
            self.leaving.push((self.sip.dialog, cx.now + LEAVE_TIMEOUT));
        }
        let mut leg = SipLeg::new(transfer.dialog, sip_leg::Phase::Answered, transfer.session);
        leg.local = Some(offer);
        leg.remote = Some(answer);
        self.take_place(cx, leg, transfer.trunk, transfer.names);
        true
    }

    /// The target was not reached: elsewhere it may be.
    fn target_failed(&mut self, cx: &mut Context<'_>, failure: &Failure) {
        let Some(mut transfer) = self.transfer.take() else { return };
        let next = if Ending::is_for_another(failure) { transfer.others.pop_front() } else { None };
        let (Some(next), Stage::Calling { offer }) = (next, &transfer.stage) else {
            let failure = Failure { local: false, ..failure.clone() };
            return self.give_up_transfer(cx, transfer, &failure);
        };
        let sdp = Some(write_offer(&mut transfer.session, offer));
        transfer.dialog = next.dialog;
        transfer.trunk.clone_from(&next.trunk);
        transfer.names = SipNames { from: next.from.clone(), to: next.to.clone(), call_id: None };
        cx.out.sip(ToAgent::Invite(OutgoingInvite { sdp, ..next }));
        self.transfer = Some(transfer);
    }

    /// The SIP side's leg from now on.
    fn take_place(&mut self, cx: &mut Context<'_>, mut leg: SipLeg, trunk: Option<String>, names: SipNames) {
        leg.told_hold = self.sip.told_hold;
        self.log(cx, Level::INFO, format!("transferred: the SIP side is {} now", names.to));
        self.sip = leg;
        self.trunk = trunk;
        self.names = names;
        self.tell_hold(cx);
        self.tell_directions(cx);
        self.adjust_sip(cx);
    }

    /// Ends what a call that ends has begun beside its own dialog.
    pub(super) fn end_transfer(&mut self, cx: &mut Context<'_>, ending: &Ending) {
        for (dialog, _) in self.leaving.drain(..) {
            cx.out.sip(ToAgent::Bye { dialog, reason: ending.bye_reasons() });
        }
        let Some(transfer) = self.transfer.take() else { return };
        let dialog = transfer.dialog;
        match transfer.stage {
            Stage::Preparing { .. } => (),
            Stage::Calling { .. } => cx.out.sip(ToAgent::Cancel { dialog, reason: ending.cancel_reasons() }),
            Stage::Taking { .. } | Stage::Answering { .. } => {
                cx.out.sip(ToAgent::Respond { dialog, response: ending.response() });
            }
        }
    }

    // The XMPP side transfers the SIP side's peer (XEP-0251).

    /// Says whether the SIP side's peer can be asked to call somebody else.
    pub(crate) fn can_refer(&self) -> bool {
        self.may_transfer() && self.sip.support.refer && !self.refers
    }

    /// Who is at the other end on the SIP side, and in which dialog.
    pub(crate) fn far_end(&self) -> Option<(String, DialogId)> {
        let uri = if self.caller == Side::Xmpp { &self.names.to } else { &self.names.from };
        self.is_running().then(|| (uri.clone(), self.sip.dialog))
    }

    /// Asks the SIP side's peer to call somebody else, in the place of another call where it is named.
    pub(crate) fn refer(
        &mut self,
        cx: &mut Context<'_>,
        refer_to: String,
        replaces: Option<DialogId>,
        referred_by: Option<String>,
    ) {
        self.log(cx, Level::INFO, format!("the XMPP side transfers the SIP side to {refer_to}"));
        self.refers = true;
        cx.out.sip(ToAgent::Refer { dialog: self.sip.dialog, refer_to, replaces, referred_by });
    }

    /// The SIP side's peer tells how the call fares that it was asked for.
    pub(super) fn handle_progress(&mut self, cx: &mut Context<'_>, status: u16, finished: bool) {
        if !self.refers || !finished {
            return;
        }
        self.refers = false;
        match status {
            200..=299 if status != ACCEPTED => self.end(cx, Side::Neither, Ending::transferred()),
            // Nobody will tell: the peer hangs up if it went well.
            100..=299 => (),
            _ => {
                self.log(cx, Level::INFO, format!("the SIP side was not transferred: {status}"));
                self.jingle.inform(cx, Info::Unhold);
            }
        }
    }
}
