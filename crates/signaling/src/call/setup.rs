//! From the first word to the answer.
//!
//! ```text
//! from XMPP, on answer         from XMPP, early or direct       from SIP
//!
//! <- propose                   <- session-initiate              <- INVITE
//! -> INVITE, guessed offer     -> relay: take the offer         -> relay: take the offer
//! <- 180    -> ringing         -> INVITE, its codecs            -> propose
//! <- 200    -> proceed         <- 180    -> ringing             <- ringing   -> 180
//! <- session-initiate          <- 200                           <- proceed   -> session-initiate
//! -> session-accept            -> session-accept                <- session-accept   -> 200
//! ```
//!
//! The relay works off its commands in order, so that an offer can follow the one it is made of without waiting.

use std::time::Duration;

use jid::{FullJid, Jid};
use model::{Command, Description, Direction, IceRole, LegPolicy, MediaKind, MediaStream, PathPolicy, Security};
use sip::message::{Failure, OutgoingInvite, Response, ToAgent};
use tracing::Level;
use xmpp::description;
use xmpp::jingle::{Action, Content, Jingle, Party, ReasonCondition};
use xmpp::jingle_message::JingleMessage;
use xmpp::stanza::{Payload, StanzaError};

use super::change::Change;
use super::{Call, JINGLE, SIP, Side, SipNames, jingle_leg, sip_leg};
use crate::codecs;
use crate::config::{JmiMode, TrunkMedia};
use crate::directory::Way;
use crate::ending::Ending;
use crate::outbox::{Context, Purpose, Question};

/// How often one call is sent elsewhere: farther lead only loops.
const MAX_REDIRECTIONS: usize = 3;

/// How long a device may take from `proceed` to its session-initiate.
const INITIATE_TIMEOUT: Duration = Duration::from_secs(10);

impl Call {
    /// A proposal came: calls the SIP side, or asks for the session first.
    pub(super) fn begin_proposed(&mut self, cx: &mut Context<'_>, media: &[MediaKind]) {
        self.create(cx);
        match cx.config.jmi {
            JmiMode::OnAnswer => self.have_sip_offer_made(cx, codecs::generic_offer(media)),
            JmiMode::EarlyProceed => self.proceed(cx),
            JmiMode::EarlyAccept => {
                self.jingle.ring(cx);
                self.proceed(cx);
            }
        }
    }

    /// A session-initiate came, with what the call carries of its offer.
    pub(super) fn begin_initiated(&mut self, cx: &mut Context<'_>, offer: Description) {
        self.create(cx);
        self.take_initiate(cx, offer);
    }

    /// An INVITE came, with what the call carries of its offer, if it has one.
    pub(super) fn begin_invited(&mut self, cx: &mut Context<'_>, offer: Option<Description>) {
        self.create(cx);
        if let Some(offer) = offer {
            self.sip.remote = Some(offer.clone());
            self.sip.offered = Some(offer.clone());
            let command = Command::RemoteOffer { call: self.id, leg: SIP, offer };
            cx.out.relay(command, Purpose::TakeOffer(SIP), cx.now);
        }
    }

    fn create(&mut self, cx: &mut Context<'_>) {
        self.give_up_at = Some(cx.now + cx.config.ring_timeout);
        let mut jingle = LegPolicy { address: cx.config.jingle_address.clone(), ..LegPolicy::jingle(JINGLE) };
        if cx.config.allow_plain_jingle {
            // Offered is the first: what the callee knows, since a leg that offered DTLS never goes without.
            let plain = matches!(self.jingle.phase, jingle_leg::Phase::Idle { way: Way::Initiate { plain: true, .. } });
            jingle.security = match plain {
                true => vec![Security::Rtp],
                false => vec![Security::Dtls, Security::Sdes, Security::Rtp],
            };
        }
        let mut sip = LegPolicy::plain_sip(SIP);
        sip.sender = self.sip_address;
        match self.trunk.as_ref().and_then(|name| cx.config.trunks.get(name)) {
            Some(trunk) => {
                sip.path = PathPolicy::Plain { learning: trunk.learning };
                sip.address.clone_from(&trunk.address);
                sip.unencrypted_srtcp = trunk.unencrypted_srtcp;
                match trunk.media {
                    TrunkMedia::Rtp => (),
                    TrunkMedia::Sdes => sip.security = vec![Security::Sdes],
                    TrunkMedia::Osrtp => {
                        sip.security = vec![Security::Rtp, Security::Sdes];
                        sip.offers_all = true;
                    }
                    TrunkMedia::Dtls => {
                        sip.security = vec![Security::Dtls];
                        sip.path = PathPolicy::Ice { role: IceRole::Offerer, required: false };
                        sip.rtcp_mux = true;
                    }
                }
            }
            // Somebody we know nothing of may protect its media, or not.
            None => sip.security = vec![Security::Rtp, Security::Sdes],
        }
        for leg in [&mut jingle, &mut sip] {
            leg.suites.clone_from(&cx.config.suites);
            leg.reporting = cx.config.reporting;
        }
        cx.out.relay(Command::CreateCall { call: self.id, legs: vec![jingle, sip] }, Purpose::Create, cx.now);
    }

    fn have_sip_offer_made(&self, cx: &mut Context<'_>, offer: Description) {
        cx.out.relay(Command::LocalOffer { call: self.id, leg: SIP, offer }, Purpose::GiveOffer(SIP), cx.now);
    }

    /// The relay completed our first offer to the SIP side.
    pub(super) fn offer_to_sip(&mut self, cx: &mut Context<'_>, offer: Description) {
        match std::mem::replace(&mut self.sip.phase, sip_leg::Phase::Answered) {
            sip_leg::Phase::Idle { invite } => {
                let sdp = Some(self.sip.write_offer(&offer));
                cx.out.sip(ToAgent::Invite(OutgoingInvite { sdp, ..*invite }));
                self.sip.local = Some(offer);
                self.sip.phase = sip_leg::Phase::Calling { rang: false, answer: None };
            }
            sip_leg::Phase::Called { .. } => {
                let sdp = self.sip.write_offer(&offer);
                self.sip.respond(cx, Response::with_sdp(200, sdp));
                self.sip.local = Some(offer.clone());
                self.sip.change = Change::AwaitingAck { offer, first: true };
                self.answered(cx);
            }
            sip_leg::Phase::Answered => self.offer_made(cx, offer),
            other @ (sip_leg::Phase::Calling { .. } | sip_leg::Phase::Ended) => self.sip.phase = other,
        }
    }

    /// Says whether it waits for an answer, and has not been sent elsewhere too often.
    pub(crate) fn may_be_redirected(&self) -> bool {
        matches!(self.sip.phase, sip_leg::Phase::Calling { .. }) && self.redirections < MAX_REDIRECTIONS
    }

    /// Has other places tried before those that are left.
    pub(crate) fn redirect(&mut self, places: Vec<OutgoingInvite>) {
        self.redirections += 1;
        for place in places.into_iter().rev() {
            self.others.push_front(place);
        }
    }

    /// Says whether it waits for an answer, and there is another place to try.
    pub(crate) fn can_try_another(&self) -> bool {
        matches!(self.sip.phase, sip_leg::Phase::Calling { .. }) && self.sip.local.is_some() && !self.others.is_empty()
    }

    /// Nobody was reached at the last place: the next one gets the same offer.
    pub(crate) fn try_another(&mut self, cx: &mut Context<'_>, failure: &Failure) {
        let rang = self.sip.rang();
        let Some((next, offer)) = self.others.pop_front().zip(self.sip.local.as_ref()) else { return };
        let sdp = Some(self.sip.session.write_offer(offer));
        let by = next.trunk.clone().unwrap_or_else(|| next.to.clone());
        self.log(cx, Level::INFO, format!("not reached ({} {}), trying {by}", failure.status, failure.phrase));
        self.sip.dialog = next.dialog;
        self.trunk.clone_from(&next.trunk);
        self.names = SipNames { from: next.from.clone(), to: next.to.clone(), call_id: None };
        self.sip.phase = sip_leg::Phase::Calling { rang, answer: None };
        cx.out.sip(ToAgent::Invite(OutgoingInvite { sdp, ..next }));
        cx.out.counters.tried_another += 1;
    }

    /// Takes a provisional response.
    pub(super) fn handle_provisional(&mut self, cx: &mut Context<'_>, status: u16, reliable: bool, sdp: Option<&str>) {
        let sip_leg::Phase::Calling { rang, .. } = self.sip.phase else { return };
        if !rang && sip_leg::SipLeg::is_ringing(status) {
            self.jingle.ring(cx);
            self.sip.phase = sip_leg::Phase::Calling { rang: true, answer: self.early_answer() };
        }
        // Only in an accepted session is there somebody to hear it; the relay is ready for it in any other, and it is kept
        // if it is the answer.
        let heard = self.jingle.phase == jingle_leg::Phase::Accepted;
        if let Some(answer) = sdp.and_then(|sdp| self.read_first_answer(cx, sdp)) {
            let purpose = if heard { Purpose::TakeAnswer(SIP) } else { Purpose::Aside };
            let command = Command::RemoteAnswer { call: self.id, leg: SIP, answer: answer.clone() };
            cx.out.relay(command, purpose, cx.now);
            if let (true, sip_leg::Phase::Calling { answer: known @ None, .. }) = (reliable, &mut self.sip.phase) {
                *known = Some(Box::new(answer));
            }
        }
    }

    /// Reads the answer to the offer in our INVITE.
    fn read_first_answer(&mut self, cx: &mut Context<'_>, sdp: &str) -> Option<Description> {
        let offer = self.sip.local.clone()?;
        self.read_answer(cx, sdp, &offer)
    }

    fn early_answer(&self) -> Option<Box<Description>> {
        match &self.sip.phase {
            sip_leg::Phase::Calling { answer, .. } => answer.clone(),
            sip_leg::Phase::Idle { .. }
            | sip_leg::Phase::Called { .. }
            | sip_leg::Phase::Answered
            | sip_leg::Phase::Ended => None,
        }
    }

    /// Our INVITE was answered with a 2xx.
    pub(super) fn handle_answer(&mut self, cx: &mut Context<'_>, sdp: Option<&str>) {
        if !matches!(self.sip.phase, sip_leg::Phase::Calling { .. }) {
            return; // the same again
        }
        let early = self.early_answer().map(|answer| *answer);
        self.sip.phase = sip_leg::Phase::Answered;
        let answer = sdp.and_then(|sdp| self.read_first_answer(cx, sdp)).or(early);
        let usable = answer.filter(|answer| answer.streams.iter().any(|s| !s.rejected && codecs::has_media(&s.codecs)));
        let Some(answer) = usable else {
            let text = "the SIP side gave no usable answer";
            return self.end(cx, Side::Neither, Ending::with_text(ReasonCondition::FailedApplication, text));
        };
        let command = Command::RemoteAnswer { call: self.id, leg: SIP, answer: answer.clone() };
        cx.out.relay(command, Purpose::TakeAnswer(SIP), cx.now);
        self.sip.remote = Some(answer.clone());
        match self.jingle.phase {
            jingle_leg::Phase::Proposed => self.proceed(cx),
            jingle_leg::Phase::Initiated => self.answer_jingle(cx),
            jingle_leg::Phase::Accepted => match codecs::answer(&self.jingle.remote, &answer) {
                Some(_) => self.answered(cx),
                None => self.no_common_codec(cx),
            },
            // A call to SIP is in none of these.
            jingle_leg::Phase::Idle { .. }
            | jingle_leg::Phase::Proceeded
            | jingle_leg::Phase::Proposing
            | jingle_leg::Phase::Preparing { .. }
            | jingle_leg::Phase::Initiating { .. }
            | jingle_leg::Phase::Ended => (),
        }
    }

    fn proceed(&mut self, cx: &mut Context<'_>) {
        self.jingle.message(cx, JingleMessage::Proceed { id: self.jingle.sid.clone() });
        self.jingle.phase = jingle_leg::Phase::Proceeded;
        self.give_up_at = Some(cx.now + INITIATE_TIMEOUT);
    }

    /// Takes the session-initiate of a call that was proposed.
    pub(super) fn handle_initiate(&mut self, cx: &mut Context<'_>, jingle: &Jingle) -> Result<(), StanzaError> {
        if self.jingle.phase != jingle_leg::Phase::Proceeded {
            return Err(StanzaError::out_of_order());
        }
        let described = description::describe(&jingle.contents, &jingle.bundle, Party::Initiator);
        self.losses(cx, "XMPP", &described.losses);
        let offer = codecs::one_of_each_kind(&described.description);
        // What the SIP side has been offered already numbers the streams.
        let offer = self.sip.local.as_ref().map_or(offer.clone(), |like| codecs::renumbered(&offer, &unnamed(like)));
        if codecs::carried(&offer, cx.config.video).streams.is_empty() {
            self.jingle.phase = jingle_leg::Phase::Initiated;
            self.end(cx, Side::Neither, Ending::new(why_not_carried(&jingle.contents)));
        } else {
            self.take_initiate(cx, offer);
        }
        Ok(())
    }

    fn take_initiate(&mut self, cx: &mut Context<'_>, offer: Description) {
        self.jingle.phase = jingle_leg::Phase::Initiated;
        self.jingle.remote = offer.clone();
        self.give_up_at = Some(cx.now + cx.config.ring_timeout);
        let command = Command::RemoteOffer { call: self.id, leg: JINGLE, offer: offer.clone() };
        cx.out.relay(command, Purpose::TakeOffer(JINGLE), cx.now);
        match self.sip.phase {
            sip_leg::Phase::Answered => self.answer_jingle(cx),
            sip_leg::Phase::Idle { .. } => {
                let offer = codecs::carried(&offer, cx.config.video);
                let early = self.jingle.jmi && cx.config.jmi == JmiMode::EarlyAccept;
                let offer = codecs::offer_like(&if early { codecs::promised(&offer) } else { offer }, false);
                if early {
                    self.answer_jingle_with(cx, &offer);
                }
                self.have_sip_offer_made(cx, offer);
            }
            sip_leg::Phase::Calling { .. } | sip_leg::Phase::Called { .. } | sip_leg::Phase::Ended => (),
        }
    }

    /// Answers the XMPP side with what the SIP side answered.
    fn answer_jingle(&mut self, cx: &mut Context<'_>) {
        let agreed = self.sip.remote.clone().unwrap_or_default();
        self.answer_jingle_with(cx, &agreed);
    }

    fn answer_jingle_with(&mut self, cx: &mut Context<'_>, agreed: &Description) {
        match codecs::answer(&self.jingle.remote, &both_ways(agreed)) {
            Some(answer) => {
                let idle = answer.streams.iter().filter(|stream| stream.rejected).map(|stream| stream.id);
                self.jingle.told.extend(idle.map(|id| (id, Direction::Inactive)));
                let answer = codecs::kept_idle(answer, &self.jingle.remote);
                let command = Command::LocalAnswer { call: self.id, leg: JINGLE, answer };
                cx.out.relay(command, Purpose::GiveAnswer(JINGLE), cx.now);
            }
            None => self.no_common_codec(cx),
        }
    }

    fn no_common_codec(&mut self, cx: &mut Context<'_>) {
        self.end(cx, Side::Neither, Ending::with_text(ReasonCondition::FailedApplication, "no common codec"));
    }

    /// The relay completed our answer to the XMPP side.
    pub(super) fn accept(&mut self, cx: &mut Context<'_>, answer: Description) {
        let (contents, bundle) = description::contents(&answer, self.jingle.party, Party::Initiator);
        let responder = Some(self.jingle.us.to_string());
        let accept = Jingle { contents, bundle, responder, ..self.jingle.action(Action::SessionAccept) };
        self.ask(cx, accept);
        self.jingle.agreed = answer.clone();
        self.jingle.local = answer;
        self.jingle.phase = jingle_leg::Phase::Accepted;
        if self.sip.phase == sip_leg::Phase::Answered {
            self.answered(cx);
        }
    }

    fn ask(&self, cx: &mut Context<'_>, jingle: Jingle) {
        let payload = Payload::Jingle(Box::new(jingle));
        cx.out.ask(&self.jingle.us, &self.jingle.peer, payload, Question::Session(self.id), cx.now);
    }

    /// The relay is ready for a call from SIP: now the callee is called.
    pub(super) fn call_xmpp(&mut self, cx: &mut Context<'_>) {
        let jingle_leg::Phase::Idle { way } = self.jingle.phase.clone() else { return };
        match way {
            Way::Propose => {
                self.jingle.jmi = true;
                self.jingle.phase = jingle_leg::Phase::Proposing;
                let media = self.offer_for_xmpp(cx).streams.iter().map(|stream| stream.kind).collect();
                self.jingle.message(cx, JingleMessage::Propose { id: self.jingle.sid.clone(), media });
            }
            Way::Initiate { devices, .. } => self.prepare(cx, devices),
        }
    }

    /// What the XMPP side is offered: what the SIP side offered, or what it is certain to take when it has to answer.
    pub(super) fn offer_for_xmpp(&self, cx: &Context<'_>) -> Description {
        let kinds: &[MediaKind] =
            if cx.config.video { &[MediaKind::Audio, MediaKind::Video] } else { &[MediaKind::Audio] };
        let certain = || codecs::certain_offer(kinds);
        both_ways(&codecs::offer_like(&self.sip.remote.clone().unwrap_or_else(certain), true))
    }

    /// Takes a message about a call that was proposed.
    pub(crate) fn handle_jingle_message(&mut self, cx: &mut Context<'_>, from: &Jid, message: &JingleMessage) {
        let calling = self.jingle.phase == jingle_leg::Phase::Proposing;
        let global = cx.config.global_failures;
        match message {
            JingleMessage::Ringing { .. } if calling => self.sip.ring(cx),
            JingleMessage::Proceed { .. } if calling => {
                let device = FullJid::try_from(from.clone());
                self.prepare(cx, device.into_iter().collect());
            }
            JingleMessage::Reject { reason, .. } if calling || self.jingle.rings(from) => {
                let ending = Ending::from_jingle(reason.as_ref(), ReasonCondition::Busy, global);
                self.end(cx, Side::Xmpp, ending);
            }
            JingleMessage::Retract { reason, .. } if self.caller == Side::Xmpp => {
                let ending = Ending::from_jingle(reason.as_ref(), ReasonCondition::Cancel, global);
                self.end(cx, Side::Xmpp, ending);
            }
            JingleMessage::Finish { reason, .. } if *from == self.jingle.peer || self.jingle.rings(from) => {
                let ending = Ending::from_jingle(reason.as_ref(), ReasonCondition::Success, global);
                self.end(cx, Side::Xmpp, ending);
            }
            JingleMessage::Propose { .. }
            | JingleMessage::Ringing { .. }
            | JingleMessage::Proceed { .. }
            | JingleMessage::Accept { .. }
            | JingleMessage::Reject { .. }
            | JingleMessage::Retract { .. }
            | JingleMessage::Finish { .. } => cx.out.count("message-out-of-order"),
        }
    }

    /// Our proposal could not be delivered.
    pub(crate) fn handle_undelivered(&mut self, cx: &mut Context<'_>, error: &StanzaError) {
        if self.jingle.phase == jingle_leg::Phase::Proposing {
            let full = false;
            self.end(cx, Side::Xmpp, Ending::from_stanza_error(error, full, cx.config.global_failures));
        }
    }

    /// Takes a session-accept.
    pub(super) fn handle_accept(
        &mut self,
        cx: &mut Context<'_>,
        from: &Jid,
        jingle: &Jingle,
    ) -> Result<(), StanzaError> {
        if !self.choose(cx, from) {
            return Err(StanzaError::out_of_order());
        }
        let described = description::describe(&jingle.contents, &jingle.bundle, Party::Responder);
        self.losses(cx, "XMPP", &described.losses);
        let mut answer = codecs::renumbered(&described.description, &self.jingle.local);
        for offered in &self.jingle.local.streams {
            if answer.streams.iter().all(|stream| stream.id != offered.id) {
                answer.streams.push(MediaStream { rejected: true, ..offered.clone() });
            }
        }
        self.jingle.remote = answer.clone();
        self.jingle.agreed = answer.clone();
        let command = Command::RemoteAnswer { call: self.id, leg: JINGLE, answer: answer.clone() };
        cx.out.relay(command, Purpose::TakeAnswer(JINGLE), cx.now);
        self.add_waiting(cx);
        let taken = answer.streams.iter().any(|stream| !stream.rejected && codecs::has_media(&stream.codecs));
        match &self.sip.remote {
            _ if !taken => self.no_common_codec(cx),
            Some(offer) => match codecs::answer(offer, &answer) {
                Some(answer) => {
                    let command = Command::LocalAnswer { call: self.id, leg: SIP, answer };
                    cx.out.relay(command, Purpose::GiveAnswer(SIP), cx.now);
                }
                None => self.no_common_codec(cx),
            },
            None => {
                answer.streams.retain(|stream| !stream.rejected);
                self.have_sip_offer_made(cx, codecs::offer_like(&answer, false));
            }
        }
        Ok(())
    }

    /// The relay completed our answer to the SIP side.
    pub(super) fn answer_sip(&mut self, cx: &mut Context<'_>, answer: Description) {
        if !matches!(self.sip.phase, sip_leg::Phase::Called { .. }) {
            return self.answer_made(cx, answer);
        }
        let sdp = self.sip.session.write_answer(&answer);
        self.sip.respond(cx, Response::with_sdp(200, sdp));
        self.sip.phase = sip_leg::Phase::Answered;
        self.sip.local = Some(answer);
        self.answered(cx);
    }
}

/// The description as the XMPP side gets it: a SIP side that begins on hold says so by session-info, and may come back
/// without another negotiation, which few clients know.
pub(super) fn both_ways(description: &Description) -> Description {
    codecs::directed(description, |_| Direction::SendRecv)
}

/// A description whose streams are found by their kind alone.
fn unnamed(description: &Description) -> Description {
    let mut unnamed = description.clone();
    for stream in &mut unnamed.streams {
        stream.name.clear();
    }
    unnamed
}

/// Why nothing of a session's offer is carried (XEP-0166 §7.4).
pub(crate) fn why_not_carried(contents: &[Content]) -> ReasonCondition {
    use xmpp::jingle::{RtpDescription, Transport};
    let audio = |content: &&Content| matches!(&content.description, Some(RtpDescription::Rtp(stream)) if stream.kind == MediaKind::Audio);
    match contents.iter().find(audio) {
        None => ReasonCondition::UnsupportedApplications,
        Some(content) if matches!(content.transport, Some(Transport::Unsupported(_))) => {
            ReasonCondition::UnsupportedTransports
        }
        Some(_) => ReasonCondition::FailedApplication,
    }
}
