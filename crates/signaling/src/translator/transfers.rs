//! Transfers and redirections: whom one may be sent to, and which calls take part. What becomes of the calls is theirs
//! (`call::transfer`).

use std::ops::RangeInclusive;
use std::time::Instant;

use jid::{BareJid, Jid};
use model::CallId;
use sdp::Session;
use sip::address::SipUri;
use sip::message::{Failure, FromAgent, InDialogId, IncomingInvite, Replaced, Response, ToAgent};
use sip::transfer::ReferTo;
use xmpp::jingle::{Info, Jingle};
use xmpp::stanza::{Stanza, StanzaError};

use super::Translator;
use crate::call::{Replacement, SipNames, Target};
use crate::caller;
use crate::codecs;
use crate::config::Config;
use crate::ending::Refusal;
use crate::limits::Whose;
use crate::plan;

/// A call is to be made elsewhere (RFC 3261 §21.3).
const REDIRECTION: RangeInclusive<u16> = 300..=399;
/// Places that are tried of one redirection.
const MAX_CONTACTS: usize = 4;

impl Translator {
    /// The SIP side's peer of a call wants the XMPP side to talk to somebody else (RFC 3515). That one may do so as if it
    /// called there itself.
    pub(super) fn handle_refer(&mut self, id: CallId, event: FromAgent, now: Instant) {
        let FromAgent::Refer { dialog, request, refer_to, replaced, referred_by } = event else { return };
        match self.find_target(id, &refer_to, replaced.is_some(), now) {
            Ok(mut target) => {
                target.first.replaces = refer_to.replaces;
                target.first.referred_by = referred_by;
                self.with_call(id, now, |call, cx| match call.dialog() == dialog {
                    true => call.begin_transfer(cx, request, target),
                    false => cx.out.sip(refused(dialog, request, Refusal::NoTransfer)),
                });
            }
            Err(refusal) => {
                self.refuse(
                    &format!("the SIP side of a call, which transfers it to {:?}", refer_to.uri),
                    refusal.into(),
                );
                self.out.sip(refused(dialog, request, refusal));
            }
        }
    }

    fn find_target(&mut self, id: CallId, refer_to: &ReferTo, is_ours: bool, now: Instant) -> Result<Target, Refusal> {
        let call = self.calls.get(&id).ok_or(Refusal::NoTransfer)?;
        let (user, trunk) = (call.peer().to_bare(), call.trunk().map(str::to_owned));
        // Two users of the XMPP side would be left alone with each other.
        if is_ours {
            return Err(Refusal::NoTransfer);
        }
        let callee = callee(&self.config, trunk.as_deref(), &refer_to.uri).ok_or(Refusal::Unmappable)?;
        if !self.limits.attempt(Whose::Caller(user.clone()), self.config.max_attempts_per_user, now) {
            return Err(Refusal::UserTooOften);
        }
        let planned = plan::to_sip(&self.config, &user, &callee).map_err(|not_made| not_made.refusal)?;
        let is_alike = |other: Option<&str>| media_is_alike(&self.config, trunk.as_deref(), other);
        if !planned.attempts.iter().all(|attempt| is_alike(attempt.trunk.as_deref())) {
            return Err(Refusal::NoTransfer); // what protects the media of a call is decided
        }
        let mut attempts: Vec<_> = planned.attempts.into_iter().map(|attempt| self.invite(attempt)).collect();
        if refer_to.replaces.is_some() {
            attempts.truncate(1); // the dialog to replace is at one place
        }
        let first = attempts.remove(0);
        self.check_trunk(first.trunk.as_deref(), now)?;
        Ok(Target { first, others: attempts.into() })
    }

    /// Follows a redirection (RFC 3261 §8.1.3.4) of a call from XMPP: the places it names, as far as the caller may call
    /// there itself, are tried before any other. False where it is none, or leads nowhere.
    pub(super) fn redirect(&mut self, id: CallId, failure: &Failure) -> bool {
        let is_redirection = REDIRECTION.contains(&failure.status) && self.config.follow_redirects;
        let Some(call) = self.calls.get(&id).filter(|call| is_redirection && call.may_be_redirected()) else {
            return false;
        };
        let (user, trunk) = (call.peer().to_bare(), call.trunk());
        let planned = |contact: &String| {
            let callee = callee(&self.config, trunk, contact)?;
            plan::to_sip(&self.config, &user, &callee).ok()
        };
        let attempts = failure.contacts.iter().take(MAX_CONTACTS).filter_map(planned).flat_map(|plan| plan.attempts);
        let alike: Vec<_> =
            attempts.filter(|attempt| media_is_alike(&self.config, trunk, attempt.trunk.as_deref())).collect();
        let invites: Vec<_> = alike.into_iter().take(MAX_CONTACTS).map(|attempt| self.invite(attempt)).collect();
        let is_followed = !invites.is_empty();
        if let Some(call) = self.calls.get_mut(&id).filter(|_| is_followed) {
            call.redirect(invites);
        }
        is_followed
    }

    /// A call from SIP takes the place of another (RFC 3891). Only the trunk that has the other one may do so.
    pub(super) fn handle_replacement(
        &mut self,
        invite: &IncomingInvite,
        replaced: Replaced,
        now: Instant,
    ) -> Result<(), Refusal> {
        let id = self.dialogs.get(&replaced.dialog).copied().ok_or(Refusal::NoTransfer)?;
        let call = self.calls.get(&id).ok_or(Refusal::NoTransfer)?;
        if invite.trunk.is_none() || invite.trunk.as_deref() != call.trunk() {
            return Err(Refusal::Forbidden);
        }
        if replaced.early_only || call.dialog() != replaced.dialog {
            return Err(Refusal::UserBusy);
        }
        let mut session = Session::new(self.out.random());
        // Without an offer it would have to wait for ours, as long as the call lasts on with another.
        let described = session.read_offer(invite.sdp.as_deref().ok_or(Refusal::NoMedia)?);
        let offer = codecs::carried(&described.map_err(|_| Refusal::Malformed)?.description, self.config.video);
        if offer.streams.is_empty() {
            return Err(Refusal::NoMedia);
        }
        let names = SipNames {
            from: invite.from.clone(),
            to: invite.request_uri.clone(),
            call_id: Some(invite.sip_call_id.clone()),
        };
        let replacement = Replacement { dialog: invite.dialog, session, offer, names };
        let mut is_taken = false;
        self.with_call(id, now, |call, cx| is_taken = call.begin_replacement(cx, replacement));
        if is_taken { Ok(()) } else { Err(Refusal::NoTransfer) }
    }

    /// A client wants the SIP side's peer to talk to somebody else (XEP-0251): the peer is asked to call there. False
    /// where it is something else that the client tells.
    pub(super) fn handle_jingle_transfer(
        &mut self,
        id: CallId,
        stanza: &Stanza,
        jingle: &Jingle,
        now: Instant,
    ) -> Option<Result<(), StanzaError>> {
        let Some(Info::Transfer { to, sid }) = &jingle.info else { return None };
        Some(self.transfer_peer(id, stanza, to, sid.as_deref(), now))
    }

    fn transfer_peer(
        &mut self,
        id: CallId,
        stanza: &Stanza,
        to: &Jid,
        sid: Option<&str>,
        now: Instant,
    ) -> Result<(), StanzaError> {
        let call = self.calls.get(&id).ok_or_else(StanzaError::unknown_session)?;
        if *call.peer() != stanza.from || call.us().to_bare() != stanza.to.to_bare() {
            return Err(StanzaError::unknown_session());
        }
        // Whether it can is known of peers that were called; one that calls says so with its INVITE.
        if !call.can_refer() {
            return Err(StanzaError::unsupported_info());
        }
        let (user, trunk) = (stanza.from.to_bare(), call.trunk().map(str::to_owned));
        let trunk = trunk.as_deref().and_then(|name| self.config.trunks.get(name));
        let by = caller::identity(&self.config, trunk, &user).map(|identity| format!("<{}>", identity.from));
        let (refer_to, replaces) = match sid {
            Some(sid) => {
                let other = self.sessions.get(&(user, sid.to_owned())).filter(|other| **other != id);
                let far_end = other.and_then(|other| self.calls.get(other)?.far_end());
                let (uri, dialog) = far_end.ok_or_else(StanzaError::unknown_session)?;
                (uri, Some(dialog))
            }
            None => (self.uri_of(trunk.is_some(), &user, to, now).map_err(Refusal::stanza_error)?, None),
        };
        self.with_call(id, now, |call, cx| call.refer(cx, refer_to, replaces, by));
        Ok(())
    }

    /// Where the SIP side finds whom a user wants to transfer to.
    fn uri_of(&mut self, has_trunk: bool, user: &BareJid, to: &Jid, now: Instant) -> Result<String, Refusal> {
        if !self.limits.attempt(Whose::Caller(user.clone()), self.config.max_attempts_per_user, now) {
            return Err(Refusal::UserTooOften);
        }
        if to.domain().as_str() == self.config.component {
            let planned = plan::to_sip(&self.config, user, to).map_err(|not_made| not_made.refusal)?;
            return planned.attempts.into_iter().next().map(|attempt| attempt.to).ok_or(Refusal::NoRoute);
        }
        // Somebody on the XMPP side is called as it calls.
        let identity = caller::identity(&self.config, None, &to.to_bare()).filter(|_| has_trunk);
        identity.map(|identity| identity.from).ok_or(Refusal::NoTransfer)
    }
}

fn refused(dialog: sip::message::DialogId, request: InDialogId, refusal: Refusal) -> ToAgent {
    // What is refused is the transfer, not a call: no table has a status for it (RFC 3515 §2.4.2).
    let status = if refusal == Refusal::Malformed { 400 } else { 603 };
    ToAgent::RespondInDialog { dialog, request, response: Response::new(status) }
}

/// The JID under which an XMPP user would dial a SIP URI that the peer of a trunk has named.
fn callee(config: &Config, trunk: Option<&str>, target: &str) -> Option<Jid> {
    let uri = SipUri::parse(target).ok()?;
    let trunk = trunk.and_then(|name| config.trunks.get(name));
    let host = uri.port.map_or_else(|| uri.host.clone(), |port| format!("{}:{port}", uri.host));
    let is_known = |known: &str| known.eq_ignore_ascii_case(&host) || known.eq_ignore_ascii_case(&uri.host);
    let is_near = is_known(&config.component) || config.trunks.values().any(|trunk| is_known(&trunk.host));
    if !is_near && !uri.host.is_empty() {
        return caller::jid_of_prompt(config, target);
    }
    let user = uri.user_text().ok()??;
    let number = trunk.map_or_else(|| user.clone(), |trunk| trunk.numbers.to_global(&user));
    caller::jid(config, &number).map(|jid| jid.to_bare().into())
}

/// Says whether what one trunk sends goes to another as well: the relay's leg is made for one kind.
fn media_is_alike(config: &Config, one: Option<&str>, other: Option<&str>) -> bool {
    let terms = |name: Option<&str>| {
        let trunk = name.and_then(|name| config.trunks.get(name));
        trunk.map(|trunk| (trunk.media, trunk.learning, trunk.address.clone(), trunk.unencrypted_srtcp))
    };
    terms(one) == terms(other)
}
