//! Contents that come, change and go in a running session (XEP-0166 §7.2.1 to §7.2.5).
//!
//! ```text
//! the client adds                              the phone adds
//!
//!            <- content-add                               <- INVITE, another m-line
//!            -> relay: take the offer                     -> relay: take the offer
//! Wanted     -> INVITE, another m-line         Preparing  -> relay: make an offer
//!            <- 200, its port or 0             Offered    -> content-add
//! Answering  -> relay: make an answer                     <- content-accept or content-reject
//!            -> content-accept                            -> 200, our port or 0
//!               or content-reject
//! ```
//!
//! A content that was accepted is never removed by us: Conversations ends the call then. One that the SIP side has no
//! more of is modified until nobody sends.

use std::time::{Duration, Instant};

use model::{Command, Description, Direction, MediaKind, MediaStream, Setup, StreamId};
use tracing::Level;
use xmpp::description;
use xmpp::jingle::{Action, Content, Jingle, Party, Reason, ReasonCondition, Senders};
use xmpp::stanza::{Payload, StanzaError};

use super::jingle_leg::{JingleLeg, Phase};
use super::{Call, JINGLE, Side, both_ways, sip_leg};
use crate::codecs;
use crate::ending::Ending;
use crate::outbox::{Context, Purpose, Question};

/// How long the user of a client may think about a content that the SIP side adds; its INVITE waits so long.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);

/// What one side is adding to the session. One addition at a time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Addition {
    /// Nothing.
    #[default]
    None,
    /// The peer adds; the SIP side is asked.
    Wanted {
        /// What.
        streams: Vec<StreamId>,
        /// The contents are there, and only the SIP side has no such streams any more.
        again: bool,
    },
    /// The relay makes our answer.
    Answering {
        /// What the peer adds.
        streams: Vec<StreamId>,
    },
    /// The SIP side adds; the relay makes our offer.
    Preparing {
        /// What.
        streams: Vec<StreamId>,
    },
    /// Our content-add is sent.
    Offered {
        /// What it adds.
        streams: Vec<StreamId>,
        /// How long its answer is waited for.
        until: Instant,
    },
}

impl Addition {
    /// Says whether the peer is adding a stream.
    pub(super) fn wants(&self, id: StreamId) -> bool {
        matches!(self, Self::Wanted { streams, .. } | Self::Answering { streams } if streams.contains(&id))
    }

    const fn is_ours(&self) -> bool {
        match self {
            Self::Preparing { .. } | Self::Offered { .. } => true,
            Self::None | Self::Wanted { .. } | Self::Answering { .. } => false,
        }
    }
}

impl JingleLeg {
    /// What of a description of this session stands, with other streams added.
    fn extended(&self, description: &Description, added: Vec<MediaStream>, bundled: bool) -> Description {
        let stands = |stream: &&MediaStream| self.is_live(stream.id) && added.iter().all(|new| new.id != stream.id);
        let mut streams: Vec<MediaStream> = description.streams.iter().filter(stands).cloned().collect();
        let mut bundle: Vec<StreamId> =
            description.bundle.iter().copied().filter(|id| streams.iter().any(|stream| stream.id == *id)).collect();
        if bundled {
            bundle.extend(added.iter().map(|stream| stream.id));
        }
        streams.extend(added);
        Description { streams, bundle }
    }

    /// What we say of the streams that stand, as far as it was agreed on.
    fn settled(&self) -> Description {
        let mut settled = self.local.clone();
        for stream in &mut settled.streams {
            let agreed = self.agreed.streams.iter().find(|agreed| agreed.id == stream.id);
            let formats = agreed.map(|agreed| agreed.codecs.as_slice()).unwrap_or_default();
            stream.codecs.retain(|codec| formats.iter().any(|format| format.payload_type == codec.payload_type));
        }
        settled
    }

    /// The peer's streams as an answer would have them: whoever left the DTLS role to us has the other one now.
    fn as_answer(&self) -> Description {
        let mut answer = self.remote.clone();
        for stream in &mut answer.streams {
            let ours = self.local.streams.iter().find(|ours| ours.id == stream.id);
            let ours = ours.and_then(|ours| ours.path.dtls.as_ref()).map(|dtls| dtls.setup);
            if let Some(dtls) = stream.path.dtls.as_mut().filter(|dtls| dtls.setup == Setup::Actpass) {
                dtls.setup = if ours == Some(Setup::Passive) { Setup::Active } else { Setup::Passive };
            }
        }
        answer
    }

    /// Takes streams into the session.
    fn admit(&mut self, streams: impl IntoIterator<Item = MediaStream>, bundle: &[StreamId], creator: Party) {
        for stream in streams {
            self.by_responder.retain(|id| *id != stream.id);
            if creator == Party::Responder {
                self.by_responder.push(stream.id);
            }
            self.agreed.streams.retain(|other| other.id != stream.id);
            if bundle.contains(&stream.id) && !self.agreed.bundle.contains(&stream.id) {
                self.agreed.bundle.push(stream.id);
            }
            self.agreed.streams.push(stream);
        }
    }

    /// Takes streams out of the session.
    fn dismiss(&mut self, gone: &[StreamId]) {
        for description in [&mut self.remote, &mut self.local, &mut self.agreed] {
            description.streams.retain(|stream| !gone.contains(&stream.id));
            description.bundle.retain(|id| !gone.contains(id));
        }
    }

    /// Streams as contents that say nothing but which they are.
    fn contents_of(&self, streams: &[StreamId], creator: Party) -> Vec<Content> {
        streams.iter().filter_map(|id| self.content_of(*id)).map(|name| Content::new(creator, name)).collect()
    }
}

impl Call {
    pub(super) fn is_running(&self) -> bool {
        self.jingle.phase == Phase::Accepted && self.sip.phase == sip_leg::Phase::Answered
    }

    // The client adds.

    /// Takes a content-add. What the call does not carry, or has already, is rejected at once.
    pub(super) fn handle_add(&mut self, cx: &mut Context<'_>, jingle: &Jingle) -> Result<(), StanzaError> {
        if !self.is_running() {
            return Err(StanzaError::out_of_order());
        }
        match &self.jingle.addition {
            Addition::None => (),
            Addition::Wanted { .. } | Addition::Answering { .. } => return Err(StanzaError::out_of_order()),
            // Of two at once that of the initiator goes first (XEP-0166 §7.2.16).
            Addition::Preparing { .. } | Addition::Offered { .. } if self.jingle.party == Party::Initiator => {
                return Err(StanzaError::tie_break());
            }
            Addition::Preparing { .. } | Addition::Offered { .. } => self.withdraw_addition(cx),
        }
        let described = description::describe(&jingle.contents, &[], self.jingle.peer_party());
        self.losses(cx, "XMPP", &described.losses);
        let mut added = codecs::carried(&described.description, cx.config.video).streams;
        added.retain(|stream| !self.has_kind(stream.kind) && self.jingle.stream_of(&stream.name).is_none());
        let left: Vec<Content> =
            jingle.contents.iter().filter(|c| added.iter().all(|stream| stream.name != c.name)).cloned().collect();
        if !left.is_empty() {
            let reason = Some(Reason::new(ReasonCondition::FailedApplication));
            self.jingle.send_about(cx, Action::ContentReject, &left, reason);
        }
        if !added.is_empty() {
            self.want(cx, added, &jingle.bundle);
        }
        Ok(())
    }

    /// Has the SIP side asked for streams that the peer adds.
    fn want(&mut self, cx: &mut Context<'_>, mut added: Vec<MediaStream>, bundle: &[String]) {
        for place in 0..added.len() {
            added[place].id = self.number_for(added[place].kind, &added[..place]);
        }
        let streams: Vec<StreamId> = added.iter().map(|stream| stream.id).collect();
        let bundled = !self.jingle.remote.bundle.is_empty() && added.iter().all(|s| bundle.contains(&s.name));
        self.jingle.remote = self.jingle.extended(&self.jingle.remote, added, bundled);
        self.jingle.addition = Addition::Wanted { streams, again: false };
        self.sip.refused = None;
        let offer = self.jingle.remote.clone();
        cx.out.relay(Command::RemoteOffer { call: self.id, leg: JINGLE, offer }, Purpose::TakeOffer(JINGLE), cx.now);
        self.adjust_sip(cx);
    }

    fn has_kind(&self, kind: MediaKind) -> bool {
        self.jingle.agreed.streams.iter().any(|stream| stream.kind == kind && !stream.rejected)
    }

    /// A number for another stream: that of one of its kind which the SIP side has no more, so that its m-line is used
    /// again (RFC 3264 §8.2), else a new one.
    fn number_for(&self, kind: MediaKind, others: &[MediaStream]) -> StreamId {
        let is_free = |id: StreamId| !self.jingle.is_live(id) && others.iter().all(|other| other.id != id);
        let sip = || self.sip.local.iter().flat_map(|local| &local.streams);
        if let Some(gone) = sip().find(|stream| stream.rejected && stream.kind == kind && is_free(stream.id)) {
            return gone.id;
        }
        let jingle = self.jingle.local.streams.iter().chain(&self.jingle.remote.streams);
        let known = jingle.chain(sip()).chain(others).map(|stream| stream.id);
        let highest = known.chain(self.sip.session.streams().into_iter().flatten()).max();
        StreamId(highest.map_or(0, |id| id.0.saturating_add(1)))
    }

    /// The SIP side answered an offer of ours, or refused it: what the peer adds was part of it, or waits for the next.
    pub(super) fn settle_addition(&mut self, cx: &mut Context<'_>, offer: &Description, answer: Option<&Description>) {
        let Addition::Wanted { streams, again } = &self.jingle.addition else { return };
        let (streams, again) = (streams.clone(), *again);
        let offered = |id: &StreamId| offer.streams.iter().any(|stream| stream.id == *id && !stream.rejected);
        if !streams.iter().all(offered) {
            return;
        }
        self.jingle.addition = Addition::None;
        if again {
            return self.tell_directions(cx);
        }
        let wanted = |stream: &&MediaStream| streams.contains(&stream.id);
        let wanted: Vec<MediaStream> = self.jingle.remote.streams.iter().filter(wanted).cloned().collect();
        let asked = Description { streams: wanted, bundle: Vec::new() };
        let Some(answered) = answer.and_then(|answer| codecs::answer(&asked, &both_ways(answer))) else {
            cx.out.relay(Command::Rollback { call: self.id, leg: JINGLE }, Purpose::Aside, cx.now);
            return self.reject_addition(cx, &streams);
        };
        let mut full = self.jingle.extended(&self.jingle.settled(), answered.streams, false);
        full.bundle.clone_from(&self.jingle.remote.bundle);
        let answer = codecs::directed(&full, |stream| stream.direction);
        cx.out.relay(Command::LocalAnswer { call: self.id, leg: JINGLE, answer }, Purpose::GiveAnswer(JINGLE), cx.now);
        self.jingle.addition = Addition::Answering { streams };
    }

    /// The relay completed our answer to what the peer adds.
    pub(super) fn accept_addition(&mut self, cx: &mut Context<'_>, answer: Description) {
        let Addition::Answering { streams } = std::mem::take(&mut self.jingle.addition) else { return };
        let creator = self.jingle.peer_party();
        let (contents, bundle) = description::contents(&answer, self.jingle.party, creator);
        let is_added = |name: &str| streams.iter().any(|id| self.jingle.content_of(*id) == Some(name));
        let contents: Vec<Content> = contents.into_iter().filter(|content| is_added(&content.name)).collect();
        if !contents.is_empty() {
            let bundle =
                if contents.iter().all(|content| bundle.contains(&content.name)) { bundle } else { Vec::new() };
            self.jingle.send(cx, Jingle { contents, bundle, ..self.jingle.action(Action::ContentAccept) });
        }
        let is_new = |stream: &&MediaStream| streams.contains(&stream.id);
        let (refused, accepted): (Vec<_>, Vec<_>) =
            answer.streams.iter().filter(is_new).cloned().partition(|stream| stream.rejected);
        self.jingle.admit(accepted, &answer.bundle, creator);
        self.jingle.local = answer;
        if !refused.is_empty() {
            self.reject_addition(cx, &refused.iter().map(|stream| stream.id).collect::<Vec<_>>());
        }
        self.adjust_sip(cx);
    }

    fn reject_addition(&mut self, cx: &mut Context<'_>, streams: &[StreamId]) {
        let contents = self.jingle.contents_of(streams, self.jingle.peer_party());
        let reason = Some(Reason::new(ReasonCondition::FailedApplication));
        self.jingle.send(cx, Jingle { contents, reason, ..self.jingle.action(Action::ContentReject) });
        self.jingle.dismiss(streams);
    }

    // The phone adds.

    /// Asks the peer for streams that the SIP side adds. False where it cannot be asked now.
    pub(super) fn ask_for(&mut self, cx: &mut Context<'_>, added: Vec<MediaStream>) -> bool {
        if added.is_empty() || self.jingle.addition != Addition::None {
            return false;
        }
        let mut added = codecs::offer_like(&Description { streams: added, bundle: Vec::new() }, false).streams;
        for stream in &mut added {
            stream.name = self.free_name(stream.id);
            self.jingle.told.insert(stream.id, stream.direction.reversed());
        }
        let streams = added.iter().map(|stream| stream.id).collect();
        let bundled = !self.jingle.agreed.bundle.is_empty();
        let mut offer = self.jingle.extended(&self.jingle.settled(), added, bundled);
        if bundled {
            codecs::make_payload_types_unique(&mut offer);
        }
        let offer = codecs::directed(&offer, |stream| stream.direction);
        cx.out.relay(Command::LocalOffer { call: self.id, leg: JINGLE, offer }, Purpose::GiveOffer(JINGLE), cx.now);
        self.jingle.addition = Addition::Preparing { streams };
        true
    }

    /// A name that no content of the session has.
    fn free_name(&self, id: StreamId) -> String {
        let names = (0..).map(|suffix: u32| if suffix == 0 { id.0.to_string() } else { format!("{}-{suffix}", id.0) });
        let mut free = names.filter(|name| self.jingle.stream_of(name).is_none());
        free.next().unwrap_or_default()
    }

    /// The relay completed our offer of what the SIP side adds.
    pub(super) fn offer_addition(&mut self, cx: &mut Context<'_>, offer: Description) {
        let Addition::Preparing { streams } = std::mem::take(&mut self.jingle.addition) else { return };
        let (contents, bundle) = description::contents(&offer, self.jingle.party, self.jingle.party);
        let of_added = offer.streams.iter().filter(|stream| streams.contains(&stream.id));
        let names: Vec<&str> = of_added.map(|stream| stream.name.as_str()).collect();
        let contents = contents.into_iter().filter(|content| names.contains(&content.name.as_str())).collect();
        let add = Jingle { contents, bundle, ..self.jingle.action(Action::ContentAdd) };
        let payload = Payload::Jingle(Box::new(add));
        cx.out.ask(&self.jingle.us, &self.jingle.peer, payload, Question::Content(self.id), cx.now);
        let of_added = offer.streams.into_iter().filter(|stream| streams.contains(&stream.id));
        self.jingle.local.streams.retain(|stream| !streams.contains(&stream.id));
        self.jingle.local.streams.extend(of_added);
        self.jingle.local.bundle = offer.bundle;
        self.jingle.addition = Addition::Offered { streams, until: cx.now + ACCEPT_TIMEOUT };
    }

    /// Takes a content-accept, or a session-accept that stands for one (Movim).
    pub(super) fn handle_content_accept(&mut self, cx: &mut Context<'_>, jingle: &Jingle) -> Result<(), StanzaError> {
        let Addition::Offered { streams, .. } = &self.jingle.addition else { return Err(StanzaError::out_of_order()) };
        let streams = streams.clone();
        let described = description::describe(&jingle.contents, &[], self.jingle.peer_party());
        self.losses(cx, "XMPP", &described.losses);
        let is_added = |stream: &&MediaStream| streams.contains(&stream.id);
        let ours: Vec<MediaStream> = self.jingle.local.streams.iter().filter(is_added).cloned().collect();
        let asked = Description { streams: ours, bundle: Vec::new() };
        let mut answered = codecs::renumbered(&described.description, &asked).streams;
        answered.retain(|stream| !stream.rejected && codecs::has_media(&stream.codecs));
        if answered.is_empty() {
            self.withdraw_addition(cx);
            return Ok(());
        }
        let creator = self.jingle.party;
        let bundle = self.jingle.local.bundle.clone();
        let missing = asked.streams.into_iter().filter(|stream| answered.iter().all(|other| other.id != stream.id));
        let missing: Vec<MediaStream> = missing.map(|stream| MediaStream { rejected: true, ..stream }).collect();
        let mut answer = self.jingle.extended(&self.jingle.as_answer(), answered.clone(), false);
        answer.streams.extend(missing.iter().cloned());
        answer.bundle = bundle.iter().copied().filter(|id| missing.iter().all(|other| other.id != *id)).collect();
        let command = Command::RemoteAnswer { call: self.id, leg: JINGLE, answer: answer.clone() };
        cx.out.relay(command, Purpose::TakeAnswer(JINGLE), cx.now);
        self.add_waiting(cx);
        self.jingle.addition = Addition::None;
        self.jingle.remote = self.jingle.extended(&self.jingle.remote, answered.clone(), false);
        self.jingle.remote.bundle.clone_from(&answer.bundle);
        self.jingle.admit(answered, &answer.bundle, creator);
        let gone: Vec<StreamId> = missing.iter().map(|stream| stream.id).collect();
        self.jingle.dismiss(&gone);
        self.answer_asking(cx);
        Ok(())
    }

    /// Takes a content-reject.
    pub(super) fn handle_content_reject(&mut self, cx: &mut Context<'_>) -> Result<(), StanzaError> {
        if !matches!(self.jingle.addition, Addition::Offered { .. }) {
            return Err(StanzaError::out_of_order());
        }
        self.withdraw_addition(cx);
        Ok(())
    }

    /// The peer cannot take our content-add.
    pub(crate) fn handle_content_error(&mut self, cx: &mut Context<'_>, why: &str) {
        if matches!(self.jingle.addition, Addition::Offered { .. }) {
            self.log(cx, Level::INFO, format!("the XMPP side takes no further content: {why}"));
            self.withdraw_addition(cx);
        }
    }

    /// Gives up what the SIP side adds, and tells it so.
    pub(super) fn withdraw_addition(&mut self, cx: &mut Context<'_>) {
        if let Addition::Preparing { streams } | Addition::Offered { streams, .. } =
            std::mem::take(&mut self.jingle.addition)
        {
            cx.out.relay(Command::Rollback { call: self.id, leg: JINGLE }, Purpose::Aside, cx.now);
            self.jingle.dismiss(&streams);
            self.answer_asking(cx);
        }
    }

    /// The relay could not do what an addition needs: the session stays as it is. False where there was none.
    pub(super) fn addition_failed(&mut self, cx: &mut Context<'_>) -> bool {
        match std::mem::take(&mut self.jingle.addition) {
            Addition::None => return false,
            Addition::Wanted { streams, .. } => {
                self.reject_addition(cx, &streams);
                self.adjust_sip(cx);
            }
            Addition::Answering { streams } => {
                cx.out.relay(Command::Rollback { call: self.id, leg: JINGLE }, Purpose::Aside, cx.now);
                self.reject_addition(cx, &streams);
                self.adjust_sip(cx);
            }
            Addition::Preparing { streams } => {
                self.jingle.dismiss(&streams);
                self.answer_asking(cx);
            }
            offered @ Addition::Offered { .. } => {
                self.jingle.addition = offered;
                return false;
            }
        }
        true
    }

    // Contents that change and go.

    /// Takes a content-modify.
    pub(super) fn handle_modify(&mut self, cx: &mut Context<'_>, contents: &[Content]) {
        let party = self.jingle.peer_party();
        let mut again = Vec::new();
        for content in contents {
            let id = self.jingle.stream_of(&content.name).filter(|id| self.jingle.is_live(*id));
            let stream = self.jingle.remote.streams.iter_mut().find(|stream| Some(stream.id) == id);
            if let (Some(stream), Some(senders)) = (stream, content.senders) {
                stream.direction = senders.direction(party);
                let is_carried = stream.kind == MediaKind::Audio || cx.config.video;
                if is_carried && stream.direction != Direction::Inactive && !self.sip.has(stream.id) {
                    again.push(stream.id);
                    self.jingle.told.remove(&stream.id);
                }
            }
        }
        // What the SIP side has no more is asked for again.
        if !again.is_empty() && self.jingle.addition == Addition::None && self.is_running() {
            self.jingle.addition = Addition::Wanted { streams: again, again: true };
            self.sip.refused = None;
        }
        self.adjust_jingle(cx);
        self.adjust_sip(cx);
    }

    /// Takes a content-remove. Without its last content a session is over.
    pub(super) fn handle_remove(&mut self, cx: &mut Context<'_>, contents: &[Content]) {
        let gone: Vec<StreamId> = contents.iter().filter_map(|content| self.jingle.stream_of(&content.name)).collect();
        for id in gone.iter().copied() {
            let is_asked = matches!(self.jingle.addition, Addition::Wanted { again: false, .. });
            let command = match self.jingle.addition.wants(id) {
                true if is_asked => Command::Rollback { call: self.id, leg: JINGLE },
                true | false => Command::RemoveStream { call: self.id, stream: id },
            };
            if self.jingle.addition.wants(id) {
                self.jingle.addition = Addition::None;
            } else if !self.jingle.is_live(id) {
                continue;
            }
            cx.out.relay(command, Purpose::Aside, cx.now);
        }
        if self.jingle.addition.is_ours() {
            self.withdraw_addition(cx);
        }
        self.jingle.dismiss(&gone);
        if self.jingle.agreed.streams.iter().all(|stream| stream.rejected) {
            self.end(cx, Side::Neither, Ending::new(ReasonCondition::Success));
        } else {
            self.adjust_sip(cx);
        }
    }

    /// Tells the XMPP side which way pictures flow, where the SIP side changed that. A call that is held altogether says
    /// so in another way.
    pub(super) fn tell_directions(&mut self, cx: &mut Context<'_>) {
        if self.sip.told_hold {
            return;
        }
        let party = self.jingle.peer_party();
        let live: Vec<(StreamId, Direction)> = self
            .jingle
            .agreed
            .streams
            .iter()
            .filter(|stream| stream.kind == MediaKind::Video && !stream.rejected)
            .map(|stream| stream.id)
            .map(|id| (id, if self.sip.has(id) { self.sip.wish(id).reversed() } else { Direction::Inactive }))
            .collect();
        for (id, direction) in live {
            if self.jingle.told.insert(id, direction).unwrap_or_default() == direction {
                continue;
            }
            // Whether it sends is for the client to say, as far as the SIP side listens; what it gets is for the SIP side.
            let wish = self.jingle.remote.streams.iter_mut().find(|stream| stream.id == id);
            let Some(wish) = wish else { continue };
            let sends = wish.direction.sends();
            wish.direction = Direction::new(sends, direction.receives());
            let modified = Direction::new(sends && direction.sends(), direction.receives());
            let Some(name) = self.jingle.content_of(id) else { continue };
            let senders = Some(Senders::from_direction(modified, party));
            let content = Content { senders, ..Content::new(self.jingle.creator_of(id), name) };
            self.jingle.send(cx, Jingle { contents: vec![content], ..self.jingle.action(Action::ContentModify) });
        }
    }

    /// When our content-add is given up.
    pub(super) const fn addition_timeout(&self) -> Option<Instant> {
        match &self.jingle.addition {
            Addition::Offered { until, .. } => Some(*until),
            Addition::None | Addition::Wanted { .. } | Addition::Answering { .. } | Addition::Preparing { .. } => None,
        }
    }
}
