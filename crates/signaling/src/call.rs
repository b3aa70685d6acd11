//! A call: its two legs, and the relay between them.
//!
//! Each leg has a state of its own ([`jingle_leg`], [`sip_leg`]), and what happens on one is said on the other in the
//! words of where that one is. So a hang-up means the right thing at any moment: whoever ends the call, the other leg
//! ends from its own state. [`setup`] brings both to an answer, [`change`] is what happens after it, [`contents`] is
//! about streams that come and go, [`trickle`] about paths.

mod change;
mod contents;
mod devices;
mod jingle_leg;
mod keys;
mod setup;
mod sip_leg;
mod transfer;
mod trickle;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use jid::{BareJid, FullJid, Jid};
use model::{
    CallId, Command, CommandError, Description, DtlsState, DtmfDigit, FingerprintVerdict, IceState, LegId,
    LegStatistics, MediaKind, News, Reply,
};
use sdp::Session;
use sip::media_control::{self, Primitive};
use sip::message::{DialogId, FromAgent, InDialogId, OutgoingInvite, PeerSupport, Response, ToAgent};
use tracing::Level;
use xmpp::jingle::{Action, Jingle, Party, ReasonCondition};
use xmpp::stanza::StanzaError;

use self::change::Change;
use self::jingle_leg::JingleLeg;
use self::sip_leg::SipLeg;
use self::transfer::Transfer;
pub(crate) use self::transfer::{Replacement, Target};
use crate::directory::Way;
use crate::ending::Ending;
use crate::outbox::{Context, Purpose};
use crate::record::{self, LeftOut, LegRecord, Record};

use self::setup::both_ways;
pub(crate) use self::setup::why_not_carried;

/// The XMPP side's leg.
pub(crate) const JINGLE: LegId = LegId(0);
/// The SIP side's leg.
pub(crate) const SIP: LegId = LegId(1);

/// How long a side may take to come back once it is lost, which takes half a minute to notice (RFC 7675 §5.1). The
/// relay's own patience with silence is another limit.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// A body that is none of ours (RFC 6086 §4.2.2).
const UNSUPPORTED_MEDIA_TYPE: u16 = 415;
/// A body that cannot be read.
const BAD_REQUEST: u16 = 400;

/// A side of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    Xmpp,
    Sip,
    /// We ourselves.
    Neither,
}

impl Side {
    const fn party(self) -> record::Party {
        match self {
            Self::Xmpp => record::Party::Xmpp,
            Self::Sip => record::Party::Sip,
            Self::Neither => record::Party::Gateway,
        }
    }
}

/// A side whose network went away.
#[derive(Clone, Copy, Debug)]
struct Lost {
    leg: LegId,
    /// When the call ends without it.
    until: Instant,
}

/// What a call is known by.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) id: CallId,
    /// Our user on the XMPP side.
    pub(crate) us: Jid,
    /// The user on the XMPP side, or its device.
    pub(crate) peer: Jid,
    pub(crate) sid: String,
    pub(crate) dialog: DialogId,
    pub(crate) trunk: Option<String>,
    /// Where the signalling of the SIP side comes from, if it is known.
    pub(crate) sip_address: Option<IpAddr>,
    /// The URI made of the JID of a caller on the XMPP side, if the SIP side sees that.
    pub(crate) caller_uri: Option<String>,
    pub(crate) sip: SipNames,
}

/// What the SIP side calls a call.
#[derive(Debug)]
pub(crate) struct SipNames {
    /// The From URI.
    pub(crate) from: String,
    /// The Request-URI.
    pub(crate) to: String,
    /// The Call-ID, where the agent has told it.
    pub(crate) call_id: Option<String>,
}

/// A call.
#[derive(Debug)]
pub(crate) struct Call {
    id: CallId,
    /// Who called.
    caller: Side,
    trunk: Option<String>,
    sip_address: Option<IpAddr>,
    jingle: JingleLeg,
    sip: SipLeg,
    started: Instant,
    give_up_at: Option<Instant>,
    /// Both sides have answered.
    was_answered: bool,
    /// A side that cannot be reached any more.
    lost: Option<Lost>,
    ending: Option<Ending>,
    /// The address of a caller who is no trunk.
    pub(crate) source: Option<IpAddr>,
    /// The URI made of the JID of a caller on the XMPP side.
    caller_uri: Option<String>,
    /// Somebody else who is about to take the place of the SIP side's peer.
    transfer: Option<Transfer>,
    /// Dialogs that are over for us, whose peers have not hung up.
    leaving: Vec<(DialogId, Instant)>,
    /// The SIP side's peer was asked to call somebody else.
    refers: bool,
    /// Where else the SIP side is called if nobody is reached there.
    pub(crate) others: VecDeque<OutgoingInvite>,
    /// How often it was sent elsewhere.
    redirections: usize,
    /// For the record.
    names: SipNames,
    rang_at: Option<Instant>,
    answered_at: Option<Instant>,
    ended_by: Side,
    left_out: LeftOut,
}

impl Call {
    fn new(
        names: Names,
        caller: Side,
        now: Instant,
        jingle: jingle_leg::Phase,
        sip: sip_leg::Phase,
        sdp: Session,
    ) -> Self {
        let party = if caller == Side::Xmpp { Party::Responder } else { Party::Initiator };
        Self {
            id: names.id,
            caller,
            trunk: names.trunk,
            sip_address: names.sip_address,
            jingle: JingleLeg::new(names.us, names.peer, names.sid, party, jingle),
            sip: SipLeg::new(names.dialog, sip, sdp),
            started: now,
            give_up_at: None,
            was_answered: false,
            lost: None,
            ending: None,
            source: None,
            caller_uri: names.caller_uri,
            transfer: None,
            leaving: Vec::new(),
            refers: false,
            others: VecDeque::new(),
            redirections: 0,
            names: names.sip,
            rang_at: None,
            answered_at: None,
            ended_by: Side::Neither,
            left_out: LeftOut::default(),
        }
    }

    /// A call from XMPP that was proposed.
    pub(crate) fn proposed(cx: &mut Context<'_>, names: Names, media: &[MediaKind], invite: OutgoingInvite) -> Self {
        let session = Session::new(cx.out.random());
        let idle = sip_leg::Phase::Idle { invite: Box::new(invite) };
        let mut call = Self::new(names, Side::Xmpp, cx.now, jingle_leg::Phase::Proposed, idle, session);
        call.jingle.jmi = true;
        call.start(cx);
        call.begin_proposed(cx, media);
        call
    }

    /// A call from XMPP that begins with its session.
    pub(crate) fn initiated(cx: &mut Context<'_>, names: Names, offer: Description, invite: OutgoingInvite) -> Self {
        let session = Session::new(cx.out.random());
        let idle = sip_leg::Phase::Idle { invite: Box::new(invite) };
        let mut call = Self::new(names, Side::Xmpp, cx.now, jingle_leg::Phase::Initiated, idle, session);
        call.start(cx);
        call.begin_initiated(cx, offer);
        call
    }

    /// A call from SIP.
    pub(crate) fn invited(
        cx: &mut Context<'_>,
        names: Names,
        offer: Option<Description>,
        session: Session,
        way: Way,
    ) -> Self {
        let called = sip_leg::Phase::Called { rang: false };
        let mut call = Self::new(names, Side::Sip, cx.now, jingle_leg::Phase::Idle { way }, called, session);
        call.start(cx);
        call.begin_invited(cx, offer);
        call
    }

    fn start(&self, cx: &mut Context<'_>) {
        let (xmpp, ours) = (&self.jingle.peer, self.jingle.us.to_bare());
        let trunk = self.trunk.as_ref().map_or_else(|| "nobody's trunk".to_owned(), |name| format!("trunk {name}"));
        let text = match self.caller {
            Side::Xmpp => format!("call from {xmpp} to {ours}, by {trunk}"),
            Side::Sip | Side::Neither => format!("call from {ours} to {xmpp}, by {trunk}"),
        };
        self.log(cx, Level::INFO, format!("{text}, session {:?}, dialog {}", self.jingle.sid, self.sip.dialog.0));
    }

    pub(crate) const fn id(&self) -> CallId {
        self.id
    }

    pub(crate) const fn caller(&self) -> Side {
        self.caller
    }

    /// Learns what the SIP side's peer can do, with its INVITE.
    pub(crate) const fn set_support(&mut self, peer: PeerSupport) {
        self.sip.support = peer;
    }

    pub(crate) const fn dialog(&self) -> DialogId {
        self.sip.dialog
    }

    pub(crate) fn sid(&self) -> &str {
        &self.jingle.sid
    }

    pub(crate) const fn us(&self) -> &Jid {
        &self.jingle.us
    }

    pub(crate) const fn peer(&self) -> &Jid {
        &self.jingle.peer
    }

    /// The trunk that it goes by.
    pub(crate) fn trunk(&self) -> Option<&str> {
        self.trunk.as_deref()
    }

    /// The From URI that the SIP side sees of a caller on the XMPP side.
    pub(crate) fn caller_uri(&self) -> Option<&str> {
        self.caller_uri.as_deref()
    }

    pub(crate) const fn was_answered(&self) -> bool {
        self.was_answered
    }

    /// Why it ended, if it did.
    pub(crate) const fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Notes for the record how far it has come.
    pub(crate) fn note(&mut self, now: Instant) {
        if self.sip.rang() {
            self.rang_at.get_or_insert(now);
        }
        if self.was_answered {
            self.answered_at.get_or_insert(now);
        }
    }

    /// What is put on record of it, once it is over, without the relay's figures.
    pub(crate) fn record(&self, now: Instant) -> Option<Record> {
        let ending = self.ending.as_ref()?;
        let nothing = Description::default();
        let described = |description: &Option<Description>| description.clone().unwrap_or_else(|| nothing.clone());
        let (answered, by_caller) = (self.was_answered, self.ended_by == self.caller);
        Some(Record {
            call: self.id,
            caller: self.caller.party(),
            started: self.started,
            rang: self.rang_at,
            answered: self.answered_at,
            ended: now,
            ended_by: self.ended_by.party(),
            reason: ending.reason,
            text: ending.text.clone(),
            sip_status: ending.final_status(self.caller == Side::Sip).filter(|_| !answered && !by_caller),
            cause: ending.cause,
            xmpp_user: self.jingle.peer.to_string(),
            gateway_user: self.jingle.us.to_string(),
            session: self.jingle.sid.clone(),
            trunk: self.trunk.clone(),
            from: self.names.from.clone(),
            to: self.names.to.clone(),
            sip_call_id: self.names.call_id.clone(),
            xmpp: LegRecord::of(&self.jingle.remote, &self.jingle.local),
            sip: LegRecord::of(&described(&self.sip.remote), &described(&self.sip.local)),
            left_out: self.left_out.clone(),
        })
    }

    /// Says whether it is proposed to this user, in our name, and not taken yet.
    pub(crate) fn is_proposed_to(&self, user: &BareJid, us: &BareJid) -> bool {
        self.jingle.phase == jingle_leg::Phase::Proposing
            && self.jingle.peer.to_bare() == *user
            && self.jingle.us.to_bare() == *us
    }

    /// When something is due.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let retry = match &self.sip.change {
            Change::Retrying { at } => Some(*at),
            Change::None
            | Change::Taking { .. }
            | Change::Asking { .. }
            | Change::Answering { .. }
            | Change::Offering { .. }
            | Change::AwaitingAck { .. }
            | Change::Preparing
            | Change::Reinviting { .. } => None,
        };
        let lost = self.lost.map(|lost| lost.until);
        let due = [self.give_up_at, retry, self.addition_timeout(), self.transfer_timeout(), lost];
        due.into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, cx: &mut Context<'_>) {
        if matches!(self.sip.change, Change::Retrying { at } if at <= cx.now) {
            self.sip.change = Change::None;
            self.adjust_sip(cx);
        }
        if self.transfer_timeout().is_some_and(|at| at <= cx.now) {
            self.handle_transfer_timeout(cx);
        }
        if self.addition_timeout().is_some_and(|at| at <= cx.now) {
            self.handle_content_error(cx, "no answer");
        }
        if let Some(Lost { leg, .. }) = self.lost.filter(|lost| lost.until <= cx.now) {
            let text = format!("lost the {} side", word(leg));
            self.end(cx, Side::Neither, Ending::with_text(ReasonCondition::ConnectivityError, text));
        }
        if self.give_up_at.is_some_and(|at| at <= cx.now) {
            let waited = self.jingle.phase == jingle_leg::Phase::Proceeded;
            let text = if waited { "no session-initiate came" } else { "nobody answered" };
            self.end(cx, Side::Neither, Ending::with_text(ReasonCondition::Timeout, text));
        }
    }

    /// Takes a Jingle action. The result is the answer to its IQ.
    pub(crate) fn handle_jingle(
        &mut self,
        cx: &mut Context<'_>,
        from: &Jid,
        jingle: &Jingle,
    ) -> Result<(), StanzaError> {
        if *from != self.jingle.peer && !self.jingle.rings(from) {
            // Of another device, or before there is a session. A device that was called ends what we end just now.
            let ends = jingle.action == Action::SessionTerminate && self.caller == Side::Sip;
            return if ends { Ok(()) } else { Err(StanzaError::unknown_session()) };
        }
        let accepted = self.jingle.phase == jingle_leg::Phase::Accepted;
        match jingle.action {
            Action::SessionInitiate => return self.handle_initiate(cx, jingle),
            Action::SessionAccept if accepted => return self.handle_content_accept(cx, jingle), // as Movim has it
            Action::SessionAccept => return self.handle_accept(cx, from, jingle),
            Action::SessionTerminate => {
                let global = cx.config.global_failures;
                let ending = Ending::from_jingle(jingle.reason.as_ref(), ReasonCondition::GeneralError, global);
                match self.jingle.rings(from) {
                    true => self.lose_device(cx, from, Side::Xmpp, ending),
                    false => self.end(cx, Side::Xmpp, ending),
                }
            }
            Action::SessionInfo => return jingle.info.as_ref().map_or(Ok(()), |info| self.handle_info(cx, info)),
            Action::TransportInfo => return self.handle_transport(cx, from, &jingle.contents),
            Action::TransportReplace => self.jingle.send_about(cx, Action::TransportReject, &jingle.contents, None),
            Action::DescriptionInfo => (), // advice that nothing here needs
            Action::SecurityInfo => return Err(StanzaError::unsupported_info()),
            Action::ContentAdd if accepted => return self.handle_add(cx, jingle),
            Action::ContentAccept if accepted => return self.handle_content_accept(cx, jingle),
            Action::ContentReject if accepted => return self.handle_content_reject(cx),
            Action::ContentModify if accepted => self.handle_modify(cx, &jingle.contents),
            Action::ContentRemove if accepted => self.handle_remove(cx, &jingle.contents),
            Action::ContentAccept
            | Action::ContentAdd
            | Action::ContentModify
            | Action::ContentReject
            | Action::ContentRemove
            | Action::TransportAccept
            | Action::TransportReject => return Err(StanzaError::out_of_order()),
        }
        Ok(())
    }

    /// It turns out that the callee's devices know no proposals: they are called instead, if nobody has heard ours.
    pub(crate) fn initiate_instead(&mut self, cx: &mut Context<'_>, devices: Vec<FullJid>) {
        match self.jingle.phase {
            jingle_leg::Phase::Idle { .. } => {
                self.jingle.phase = jingle_leg::Phase::Idle { way: Way::Initiate { devices, plain: false } };
            }
            jingle_leg::Phase::Proposing if !self.sip.rang() => {
                self.jingle.take_back(cx);
                self.prepare(cx, devices);
            }
            jingle_leg::Phase::Proposing
            | jingle_leg::Phase::Proposed
            | jingle_leg::Phase::Proceeded
            | jingle_leg::Phase::Initiated
            | jingle_leg::Phase::Preparing { .. }
            | jingle_leg::Phase::Initiating { .. }
            | jingle_leg::Phase::Accepted
            | jingle_leg::Phase::Ended => (),
        }
    }

    /// The callee's own proposal came first (XEP-0353 §4.2): this call makes way for it.
    pub(crate) fn lose_tie(&mut self, cx: &mut Context<'_>) {
        self.jingle.lose_tie(cx);
        self.end(cx, Side::Xmpp, Ending::with_text(ReasonCondition::Busy, "both called at the same time"));
    }

    /// Takes an event of the SIP side.
    pub(crate) fn handle_sip(&mut self, cx: &mut Context<'_>, event: FromAgent) {
        if self.handle_side_dialog(cx, &event) {
            return;
        }
        match event {
            FromAgent::Invite(_) => (), // begins a call, and is none of an existing one
            FromAgent::Provisional { status, reliable, sdp, .. } => {
                if sdp.is_some() {
                    self.others.clear(); // somebody was heard, and nobody else is to answer in its place
                }
                self.handle_provisional(cx, status, reliable, sdp.as_deref());
            }
            FromAgent::Answered { sdp, peer, .. } => {
                self.sip.support = peer;
                self.handle_answer(cx, sdp.as_deref());
            }
            FromAgent::Failed { failure, .. } => {
                let ending = Ending::from_failure(&failure, self.sip.rang());
                self.end(cx, Side::Sip, ending);
            }
            FromAgent::Acknowledged { sdp, .. } => self.handle_ack(cx, sdp.as_deref()),
            FromAgent::Cancelled { reason, .. } => self.end(cx, Side::Sip, Ending::from_cancel(&reason)),
            FromAgent::Ended { reason, .. } => self.end(cx, Side::Sip, Ending::from_bye(&reason)),
            FromAgent::Reinvited { request, sdp, .. } => self.handle_reinvite(cx, request, sdp.as_deref()),
            FromAgent::ReinviteAnswered { sdp, .. } => self.handle_reinvite_answer(cx, sdp.as_deref()),
            FromAgent::ReinviteFailed { failure, .. } => self.handle_reinvite_failure(cx, &failure),
            FromAgent::Info { request, content_type, body, .. } => self.answer_info(cx, request, &content_type, &body),
            FromAgent::Refer { .. } => (), // is for the translator, which knows whom one may call
            FromAgent::ReferProgress { status, finished, .. } => self.handle_progress(cx, status, finished),
        }
    }

    /// Takes a key press, or a request for a picture, that comes by INFO.
    fn answer_info(&self, cx: &mut Context<'_>, request: InDialogId, content_type: &str, body: &[u8]) {
        let call = self.id;
        let asked = match read_info(content_type, &String::from_utf8_lossy(body)) {
            Ok(asked) => asked,
            Err(status) => return self.sip.respond_in_dialog(cx, request, Response::new(status)),
        };
        match asked {
            Asked::Nothing => (),
            Asked::Key { digit, duration_ms } => self.press(cx, JINGLE, digit, duration_ms),
            Asked::Picture => {
                let command = Command::RequestPicture { call, leg: JINGLE, stream: None };
                cx.out.relay(command, Purpose::Aside, cx.now);
            }
        }
        self.sip.respond_in_dialog(cx, request, Response::new(200));
    }

    /// Passes on that the XMPP side needs a whole picture, to a peer that takes no RTCP feedback (RFC 5168).
    fn request_picture(&self, cx: &mut Context<'_>) {
        if self.sip.phase == sip_leg::Phase::Answered {
            let body = Primitive::PictureFastUpdate.write();
            let content_type = media_control::MEDIA_TYPE.to_owned();
            cx.out.sip(ToAgent::Info { dialog: self.sip.dialog, content_type, body });
        }
    }

    /// Takes a reply of the relay.
    pub(crate) fn handle_reply(
        &mut self,
        cx: &mut Context<'_>,
        purpose: Purpose,
        outcome: Result<Reply, CommandError>,
    ) {
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => return self.handle_relay_error(cx, purpose, &error),
        };
        match (purpose, reply) {
            // Each stream was refused for a reason of its own.
            (Purpose::GiveAnswer(_), Reply::Local(answer)) if answer.streams.iter().all(|stream| stream.rejected) => {
                self.handle_relay_error(cx, purpose, &CommandError::NoUsableAddress);
            }
            (Purpose::Create, Reply::Done) if self.sip.remote.is_none() => self.call_xmpp(cx),
            (Purpose::Renew, Reply::Done) => self.renewed(cx),
            (Purpose::TakeOffer(SIP), Reply::Done) if self.answer_replacement(cx) => (),
            (Purpose::GiveOffer(SIP), Reply::Local(offer)) if self.call_target(cx, &offer) => (),
            (Purpose::GiveAnswer(SIP), Reply::Local(answer)) if self.replaced(cx, &answer) => (),
            (Purpose::TakeOffer(SIP), Reply::Done) if self.was_answered => self.offer_taken(cx),
            (Purpose::TakeOffer(SIP), Reply::Done) => self.call_xmpp(cx),
            (Purpose::GiveOffer(SIP), Reply::Local(offer)) => self.offer_to_sip(cx, offer),
            (Purpose::GiveAnswer(SIP), Reply::Local(answer)) => self.answer_sip(cx, answer),
            (Purpose::GiveOffer(JINGLE), Reply::Local(offer)) if self.was_answered => self.offer_addition(cx, offer),
            (Purpose::GiveOffer(JINGLE), Reply::Local(offer)) => self.initiate(cx, offer),
            (Purpose::GiveAnswer(JINGLE), Reply::Local(answer)) if self.was_answered => {
                self.accept_addition(cx, answer)
            }
            (Purpose::GiveAnswer(JINGLE), Reply::Local(answer)) => self.accept(cx, answer),
            (Purpose::Restart, Reply::Restarted(paths)) => self.restarted(cx, paths),
            (
                Purpose::Create
                | Purpose::TakeOffer(_)
                | Purpose::GiveAnswer(_)
                | Purpose::GiveOffer(_)
                | Purpose::TakeAnswer(_)
                | Purpose::Restart
                | Purpose::Renew
                | Purpose::Key(..)
                | Purpose::Aside
                | Purpose::End,
                _,
            ) => (),
        }
    }

    fn handle_relay_error(&mut self, cx: &mut Context<'_>, purpose: Purpose, error: &CommandError) {
        let of_transfer = [Purpose::Renew, Purpose::TakeOffer(SIP), Purpose::GiveAnswer(SIP), Purpose::GiveOffer(SIP)];
        if of_transfer.contains(&purpose) && self.transfer_failed(cx, transfer::SERVER_ERROR) {
            return;
        }
        let of_change = [Purpose::TakeOffer(SIP), Purpose::GiveAnswer(SIP), Purpose::GiveOffer(SIP)];
        if self.was_answered && of_change.contains(&purpose) && self.change_failed(cx, &error.to_string()) {
            return;
        }
        let of_addition = [Purpose::TakeOffer(JINGLE), Purpose::GiveAnswer(JINGLE), Purpose::GiveOffer(JINGLE)];
        if self.was_answered && of_addition.contains(&purpose) && self.addition_failed(cx) {
            return;
        }
        match purpose {
            Purpose::Create
            | Purpose::TakeOffer(_)
            | Purpose::GiveAnswer(_)
            | Purpose::GiveOffer(_)
            | Purpose::TakeAnswer(_) => self.end(cx, Side::Neither, Ending::from_relay(error)),
            Purpose::Key(leg, digit, duration_ms) if *error == CommandError::NoTelephoneEvent => {
                self.tell_key(cx, leg, digit, duration_ms);
            }
            Purpose::Restart | Purpose::Renew | Purpose::Key(..) | Purpose::Aside => {
                self.log(cx, Level::DEBUG, format!("relay: {error}"))
            }
            Purpose::End => (),
        }
    }

    /// The relay did not reply.
    pub(crate) fn handle_no_reply(&mut self, cx: &mut Context<'_>) {
        self.end(cx, Side::Neither, Ending::with_text(ReasonCondition::GeneralError, "the relay does not answer"));
    }

    /// Takes news of the relay.
    pub(crate) fn handle_news(&mut self, cx: &mut Context<'_>, news: News) {
        let ending = match news {
            News::Candidate { leg: JINGLE, stream, candidate } => return self.candidate_found(cx, stream, candidate),
            News::PictureRequested { leg: SIP, .. } => return self.request_picture(cx),
            News::Dtmf { leg, digit, duration_ms } => {
                self.log(cx, Level::DEBUG, describe(&news));
                return self.pass_key(cx, leg, digit, duration_ms);
            }
            News::Ice { leg, state: IceState::Failed, .. } if self.lost.is_none_or(|lost| lost.leg != leg) => {
                Ending::with_text(ReasonCondition::ConnectivityError, format!("no path to the {} side", word(leg)))
            }
            News::Dtls { leg, state: DtlsState::Failed, .. } => {
                Ending::with_text(ReasonCondition::SecurityError, format!("no DTLS with the {} side", word(leg)))
            }
            News::Dtls { leg, state: DtlsState::Connected { fingerprint, .. }, .. }
                if fingerprint != FingerprintVerdict::Matched =>
            {
                let text = format!("the {} side has another certificate than it said", word(leg));
                Ending::with_text(ReasonCondition::SecurityError, text)
            }
            // Its network may have changed: a restart of ICE brings it back.
            News::ConsentLost { leg, .. } => {
                self.log(cx, Level::INFO, format!("lost the {} side, which may come back", word(leg)));
                self.lost.get_or_insert(Lost { leg, until: cx.now + RECONNECT_TIMEOUT });
                return;
            }
            News::Ice { leg, state: IceState::Connected, .. } if self.lost.is_some_and(|lost| lost.leg == leg) => {
                self.lost = None;
                return self.log(cx, Level::INFO, format!("the {} side is back", word(leg)));
            }
            // Whoever transfers the call has fallen silent, or left, before the other one is there.
            News::MediaTimeout { leg: SIP } if self.transfer.is_some() => return self.log(cx, Level::DEBUG, "silence"),
            News::MediaTimeout { leg } => {
                Ending::with_text(ReasonCondition::Timeout, format!("no media from the {} side", word(leg)))
            }
            News::Lost => Ending::with_text(ReasonCondition::GeneralError, "the relay lost the call"),
            News::Statistics(figures) => {
                return figures.legs.iter().for_each(|leg| self.log(cx, Level::DEBUG, describe_figures(leg)));
            }
            News::Candidate { .. }
            | News::Ice { .. }
            | News::Dtls { .. }
            | News::FirstPacket { .. }
            | News::PictureRequested { .. } => return self.log(cx, Level::DEBUG, describe(&news)),
        };
        self.end(cx, Side::Neither, ending);
    }

    /// Both sides have answered.
    fn answered(&mut self, cx: &mut Context<'_>) {
        self.give_up_at = None;
        if !self.was_answered {
            self.was_answered = true;
            self.log(cx, Level::INFO, "answered");
            self.tell_hold(cx);
            self.adjust_sip(cx);
        }
    }

    /// Ends the call. The side that did so is not told.
    pub(crate) fn end(&mut self, cx: &mut Context<'_>, by: Side, ending: Ending) {
        if self.ending.is_some() {
            return;
        }
        let ended_by = by;
        match by {
            Side::Xmpp => {
                self.jingle.ended_by_peer(cx, &ending);
                self.sip.end(cx, &ending);
            }
            Side::Sip => {
                self.sip.ended_by_peer();
                self.jingle.end(cx, &ending);
            }
            Side::Neither => {
                self.jingle.end(cx, &ending);
                self.sip.end(cx, &ending);
            }
        }
        self.end_transfer(cx, &ending);
        cx.out.relay(Command::End { call: self.id }, Purpose::End, cx.now);
        let by = match by {
            Side::Xmpp => "by the XMPP side",
            Side::Sip => "by the SIP side",
            Side::Neither => "by us",
        };
        let text = ending.text.as_ref().map_or_else(String::new, |text| format!(" ({text})"));
        let seconds = cx.now.saturating_duration_since(self.started).as_secs();
        self.log(cx, Level::INFO, format!("ended {by} after {seconds} s: {}{text}", ending.reason.as_str()));
        self.ending = Some(ending);
        self.ended_by = ended_by;
        self.give_up_at = None;
        self.lost = None;
    }

    /// Reads the SIP side's answer to an offer of ours: of each stream in it, and of no other.
    fn read_answer(&mut self, cx: &mut Context<'_>, sdp: &str, offer: &Description) -> Option<Description> {
        match self.sip.session.read_answer(sdp) {
            Ok(mut described) => {
                self.losses(cx, "SIP", &described.losses);
                described.description.streams.retain(|s| offer.streams.iter().any(|offered| offered.id == s.id));
                Some(described.description)
            }
            Err(error) => {
                self.log(cx, Level::WARN, format!("an answer from the SIP side cannot be used: {error}"));
                None
            }
        }
    }

    /// Tells the log what a side said and the other will not hear.
    pub(crate) fn losses(&mut self, cx: &mut Context<'_>, side: &str, losses: &[String]) {
        self.left_out.note(side, losses);
        if !losses.is_empty() {
            self.log(cx, Level::DEBUG, format!("left out of what the {side} side said: {}", losses.join(", ")));
        }
    }

    fn log(&self, cx: &mut Context<'_>, level: Level, text: impl Into<String>) {
        cx.out.log(Some(self.id), level, text);
    }
}

/// Answers an event of a dialog that is no call any more.
pub(crate) fn answer_stray(cx: &mut Context<'_>, event: &FromAgent) {
    /// There is no such call (RFC 3261 §12.2.2).
    const NO_DIALOG: u16 = 481;
    match event {
        // It crossed our CANCEL.
        FromAgent::Answered { dialog, .. } => cx.out.sip(ToAgent::Bye { dialog: *dialog, reason: Vec::new() }),
        FromAgent::Reinvited { dialog, request, .. }
        | FromAgent::Info { dialog, request, .. }
        | FromAgent::Refer { dialog, request, .. } => {
            let (dialog, request) = (*dialog, *request);
            cx.out.sip(ToAgent::RespondInDialog { dialog, request, response: Response::new(NO_DIALOG) });
        }
        FromAgent::Invite(_)
        | FromAgent::Provisional { .. }
        | FromAgent::Failed { .. }
        | FromAgent::Acknowledged { .. }
        | FromAgent::Cancelled { .. }
        | FromAgent::Ended { .. }
        | FromAgent::ReinviteAnswered { .. }
        | FromAgent::ReinviteFailed { .. }
        | FromAgent::ReferProgress { .. } => (),
    }
}

fn word(leg: LegId) -> &'static str {
    if leg == JINGLE { "XMPP" } else { "SIP" }
}

/// News in words. Keys that were pressed are not told: they may be a secret.
fn describe(news: &News) -> String {
    match news {
        News::Candidate { leg, .. } => format!("a candidate for the {} side", word(*leg)),
        News::Ice { leg, component, state, .. } => format!("ICE {component:?} of the {} side: {state:?}", word(*leg)),
        News::Dtls { leg, component, state, .. } => format!("DTLS {component:?} of the {} side: {state:?}", word(*leg)),
        News::FirstPacket { leg, way, .. } => format!("first packet of the {} side {way:?}", word(*leg)),
        News::Dtmf { leg, .. } => format!("a key was pressed on the {} side", word(*leg)),
        News::PictureRequested { leg, .. } => {
            format!("left out: the {} side cannot be asked for a whole picture", word(*leg))
        }
        News::ConsentLost { .. } | News::MediaTimeout { .. } | News::Statistics(_) | News::Lost => String::new(),
    }
}

/// The figures of a leg in words.
pub(crate) fn describe_figures(leg: &LegStatistics) -> String {
    let (received, sent) = leg
        .streams
        .iter()
        .fold((0, 0), |(received, sent), stream| (received + stream.packets_received, sent + stream.packets_sent));
    let mut text =
        format!("leg {}: {received} packets received, {sent} sent, {:?} {:?}", leg.leg.0, leg.security, leg.suite);
    for stream in &leg.streams {
        if let Some(mos) = stream.received_mos {
            text += &format!(", {} lost from it (MOS {:.1})", stream.packets_lost, mos.average);
        }
        if let Some(mos) = stream.sent_mos {
            text += &format!(", {} lost to it (MOS {:.1})", stream.peer_lost, mos.average);
        }
    }
    text
}

/// What an INFO asks for.
enum Asked {
    Nothing,
    Key { digit: DtmfDigit, duration_ms: u32 },
    Picture,
}

/// Reads the body of an INFO; the status of a refusal where it cannot be read, or is of no type that we know.
fn read_info(content_type: &str, text: &str) -> Result<Asked, u16> {
    let key = |(digit, duration_ms)| Asked::Key { digit, duration_ms };
    match content_type {
        _ if text.is_empty() => Ok(Asked::Nothing),
        keys::RELAY_TYPE => keys::parse_relay(text).map(key).ok_or(BAD_REQUEST),
        keys::KEY_TYPE => keys::parse_key(text).map(|digit| key((digit, keys::DURATION))).ok_or(BAD_REQUEST),
        media_control::MEDIA_TYPE => match Primitive::parse(text) {
            Some(primitives) if primitives.contains(&Primitive::PictureFastUpdate) => Ok(Asked::Picture),
            Some(_) => Ok(Asked::Nothing),
            None => Err(BAD_REQUEST),
        },
        _ => Err(UNSUPPORTED_MEDIA_TYPE),
    }
}
