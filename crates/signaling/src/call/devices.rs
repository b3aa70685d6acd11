//! Calling the devices of a user: all at once; the first that accepts has the call.
//!
//! ```text
//! Preparing    <- proceed, or a user whose devices know no proposals
//!              -> relay: make an offer
//! Initiating   -> session-initiate, to each device
//!              <- session-accept, from one          <- session-terminate or an error, from each
//! Accepted     -> session-terminate, to the others  Ended
//! ```
//!
//! A device that declines speaks for its user, all others only for themselves.

use jid::{FullJid, Jid};
use model::{Command, Description};
use tracing::Level;
use xmpp::description;
use xmpp::jingle::{Action, Jingle, Party, Reason, ReasonCondition};
use xmpp::stanza::{Condition, Payload, StanzaError};

use super::jingle_leg::{JingleLeg, Phase};
use super::{Call, JINGLE, Side};
use crate::ending::Ending;
use crate::outbox::{Context, Purpose, Question};

/// Devices of one user that are called at once.
const MAX_DEVICES: usize = 16;

/// The errors of a session-initiate that say nothing of the user.
const DEVICE_IS_GONE: [Condition; 2] = [Condition::ServiceUnavailable, Condition::ItemNotFound];

impl JingleLeg {
    /// The devices that are being called.
    pub(super) const fn devices(&self) -> &[FullJid] {
        match &self.phase {
            Phase::Preparing { devices } | Phase::Initiating { devices } => devices.as_slice(),
            Phase::Idle { .. }
            | Phase::Proposed
            | Phase::Proceeded
            | Phase::Initiated
            | Phase::Proposing
            | Phase::Accepted
            | Phase::Ended => &[],
        }
    }

    /// Says whether a device is being called.
    pub(super) fn rings(&self, device: &Jid) -> bool {
        self.devices().iter().any(|known| *known == *device)
    }

    fn terminate_at(&self, cx: &mut Context<'_>, device: &Jid, reason: Reason) {
        let terminate = Jingle { reason: Some(reason), ..self.action(Action::SessionTerminate) };
        cx.out.tell(&self.us, device, Payload::Jingle(Box::new(terminate)));
    }
}

impl Call {
    /// Has the relay make our offer for these devices.
    pub(super) fn prepare(&mut self, cx: &mut Context<'_>, mut devices: Vec<FullJid>) {
        devices.truncate(MAX_DEVICES);
        if let [device] = devices.as_slice() {
            self.jingle.peer = Jid::from(device.clone());
        }
        self.jingle.phase = Phase::Preparing { devices };
        let offer = self.offer_for_xmpp(cx);
        cx.out.relay(Command::LocalOffer { call: self.id, leg: JINGLE, offer }, Purpose::GiveOffer(JINGLE), cx.now);
    }

    /// The relay completed our offer to the XMPP side.
    pub(super) fn initiate(&mut self, cx: &mut Context<'_>, offer: Description) {
        let Phase::Preparing { devices } = self.jingle.phase.clone() else { return };
        let (contents, bundle) = description::contents(&offer, self.jingle.party, Party::Initiator);
        let initiator = Some(self.jingle.us.to_string());
        let initiate = Jingle { contents, bundle, initiator, ..self.jingle.action(Action::SessionInitiate) };
        for device in &devices {
            let (payload, device) = (Payload::Jingle(Box::new(initiate.clone())), Jid::from(device.clone()));
            cx.out.ask(&self.jingle.us, &device, payload, Question::Session(self.id), cx.now);
        }
        self.jingle.local = offer;
        self.jingle.phase = Phase::Initiating { devices };
    }

    /// Gives the call to the device that accepted it, and takes it from the others. False where it is not called.
    pub(super) fn choose(&mut self, cx: &mut Context<'_>, device: &Jid) -> bool {
        let Phase::Initiating { devices } = &self.jingle.phase else { return false };
        if !self.jingle.rings(device) {
            return false;
        }
        let elsewhere = Reason { text: Some("answered elsewhere".to_owned()), ..Reason::new(ReasonCondition::Cancel) };
        for other in devices.iter().filter(|other| **other != *device) {
            self.jingle.terminate_at(cx, &Jid::from(other.clone()), elsewhere.clone());
        }
        self.jingle.peer = device.clone();
        self.jingle.phase = Phase::Accepted;
        true
    }

    /// A device that is called does not take the call. The last one speaks for all, and one that declines as well.
    pub(super) fn lose_device(&mut self, cx: &mut Context<'_>, device: &Jid, by: Side, ending: Ending) {
        let Phase::Initiating { devices } = &mut self.jingle.phase else { return };
        devices.retain(|known| *known != *device);
        if devices.is_empty() || ending.reason == ReasonCondition::Decline {
            self.end(cx, by, ending);
        } else {
            let text = format!("{device} does not take the call ({}), others ring", ending.reason.as_str());
            self.log(cx, Level::DEBUG, text);
        }
    }

    /// Our session-initiate or session-accept was answered with an error.
    pub(crate) fn handle_session_error(&mut self, cx: &mut Context<'_>, whom: &Jid, error: &StanzaError) {
        let (full, global) = (true, cx.config.global_failures);
        let ending = match DEVICE_IS_GONE.contains(&error.condition) {
            true => Ending::unavailable(ReasonCondition::Gone),
            false => Ending::from_stanza_error(error, full, global),
        };
        if self.jingle.rings(whom) {
            self.lose_device(cx, whom, Side::Xmpp, ending);
        } else if self.jingle.phase == Phase::Accepted && self.jingle.peer == *whom {
            self.end(cx, Side::Xmpp, Ending::from_stanza_error(error, full, global));
        }
    }

    /// Nobody answered our session-initiate or session-accept. After an accept it is the media that counts.
    pub(crate) fn handle_no_session_answer(&mut self, cx: &mut Context<'_>, whom: &Jid) {
        if !self.jingle.rings(whom) {
            return;
        }
        let ending = Ending::unavailable(ReasonCondition::ConnectivityError);
        if self.jingle.devices().len() == 1 {
            self.end(cx, Side::Neither, ending);
        } else {
            self.jingle.terminate_at(cx, whom, ending.jingle_reason());
            self.lose_device(cx, whom, Side::Neither, ending);
        }
    }
}
