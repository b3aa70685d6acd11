//! Candidates that come one by one, and ICE restarts (XEP-0176 §5.7, §5.10).
//!
//! ```text
//! client                              gateway
//!   | transport-info, candidate         |
//!   |---------------------------------->|  -> relay: add it, or keep it until the relay knows the leg
//!   |                            result |
//!   |<----------------------------------|
//!   | transport-info, new ufrag and pwd |
//!   |---------------------------------->|  -> relay: restart
//!   |                            result |
//!   |<----------------------------------|
//!   | transport-info, ours              |
//!   |<----------------------------------|
//! ```

use jid::Jid;
use model::{Candidate, Command, IceParameters, RestartedPath, StreamId};
use tracing::Level;
use xmpp::jingle::{Action, Content, IceUdp, Jingle, Transport};
use xmpp::stanza::StanzaError;

use super::jingle_leg::Phase;
use super::{Call, JINGLE};
use crate::outbox::{Context, Purpose};

/// Transports that are kept for a leg that the relay does not know yet; a client has a dozen candidates.
const MAX_WAITING: usize = 64;

/// Candidates of one stream, as they came.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trickled {
    /// Whose they are.
    from: Jid,
    stream: StreamId,
    ufrag: Option<String>,
    candidates: Vec<Candidate>,
    end_of_candidates: bool,
}

impl Call {
    /// Takes a transport-info.
    pub(super) fn handle_transport(
        &mut self,
        cx: &mut Context<'_>,
        from: &Jid,
        contents: &[Content],
    ) -> Result<(), StanzaError> {
        let known = match self.jingle.phase {
            Phase::Initiated | Phase::Accepted => true,
            Phase::Initiating { .. } => false,
            Phase::Idle { .. }
            | Phase::Proposed
            | Phase::Proceeded
            | Phase::Proposing
            | Phase::Preparing { .. }
            | Phase::Ended => return Err(StanzaError::out_of_order()),
        };
        for content in contents {
            let (Some(stream), Some(Transport::IceUdp(transport))) =
                (self.jingle.stream_of(&content.name), &content.transport)
            else {
                cx.out.count("candidates-of-no-stream");
                continue;
            };
            if let Some(ice) = transport.ice.as_ref().filter(|ice| known && self.is_restart(stream, ice)) {
                self.restart(cx, stream, ice);
            }
            let trickled = Trickled {
                from: from.clone(),
                stream,
                ufrag: transport.ufrag.clone(),
                candidates: transport.candidates.clone(),
                end_of_candidates: transport.gathering_complete,
            };
            if trickled.candidates.is_empty() && !trickled.end_of_candidates {
                continue;
            }
            if known {
                self.add(cx, trickled);
            } else if self.jingle.waiting.len() < MAX_WAITING {
                self.jingle.waiting.push(trickled);
            } else {
                cx.out.count("too-many-early-candidates");
            }
        }
        Ok(())
    }

    /// Gives the relay what came before it knew the leg.
    pub(super) fn add_waiting(&mut self, cx: &mut Context<'_>) {
        let waiting = std::mem::take(&mut self.jingle.waiting);
        for trickled in waiting.into_iter().filter(|trickled| trickled.from == self.jingle.peer) {
            self.add(cx, trickled);
        }
    }

    fn add(&self, cx: &mut Context<'_>, trickled: Trickled) {
        let Trickled { from: _, stream, ufrag, candidates, end_of_candidates } = trickled;
        let command =
            Command::AddCandidates { call: self.id, leg: JINGLE, stream, ufrag, candidates, end_of_candidates };
        cx.out.relay(command, Purpose::Aside, cx.now);
    }

    /// Says whether credentials are other ones than those the peer described.
    fn is_restart(&self, id: StreamId, ice: &IceParameters) -> bool {
        let stream = self.jingle.remote.streams.iter().find(|stream| stream.id == id);
        stream.and_then(|stream| stream.path.ice.as_ref()).is_some_and(|known| known.ufrag != ice.ufrag)
    }

    /// Restarts the transport of a stream: that of all its bundle, which clients name content by content.
    fn restart(&mut self, cx: &mut Context<'_>, id: StreamId, ice: &IceParameters) {
        let bundle = self.jingle.agreed.bundle.clone();
        let shares = |other: StreamId| other == id || (bundle.contains(&id) && bundle.contains(&other));
        for stream in self.jingle.remote.streams.iter_mut().filter(|stream| shares(stream.id)) {
            stream.path.ice = Some(ice.clone());
            stream.path.candidates.clear(); // they belong to the credentials before
        }
        self.log(cx, Level::DEBUG, "the XMPP side restarts ICE");
        let command = Command::RestartIce { call: self.id, leg: JINGLE, stream: Some(id), remote: Some(ice.clone()) };
        cx.out.relay(command, Purpose::Restart, cx.now);
    }

    /// Tells the peer our new credentials. With candidates, or it would be taken for an offer; each content in a stanza
    /// of its own, because Dino takes no more.
    pub(super) fn restarted(&mut self, cx: &mut Context<'_>, paths: Vec<RestartedPath>) {
        for path in paths {
            for stream in self.jingle.local.streams.iter_mut().filter(|stream| stream.id == path.stream) {
                stream.path.ice = Some(path.ice.clone());
            }
            self.tell_transport(cx, path.stream, Some(path.ice), path.candidates);
        }
    }

    /// Tells the peer another candidate of ours, if it knows the others. Monal wants the credentials with it.
    pub(super) fn candidate_found(&self, cx: &mut Context<'_>, id: StreamId, candidate: Candidate) {
        match self.jingle.phase {
            Phase::Initiating { .. } | Phase::Accepted => {
                let stream = self.jingle.local.streams.iter().find(|stream| stream.id == id);
                let ice = stream.and_then(|stream| stream.path.ice.clone());
                self.tell_transport(cx, id, ice, vec![candidate]);
            }
            Phase::Idle { .. }
            | Phase::Proposed
            | Phase::Proceeded
            | Phase::Initiated
            | Phase::Proposing
            | Phase::Preparing { .. }
            | Phase::Ended => (), // it will be in our description
        }
    }

    fn tell_transport(
        &self,
        cx: &mut Context<'_>,
        id: StreamId,
        ice: Option<IceParameters>,
        candidates: Vec<Candidate>,
    ) {
        let Some(name) = self.jingle.content_of(id) else { return };
        let ufrag = ice.as_ref().map(|ice| ice.ufrag.clone());
        let transport = IceUdp { ufrag, ice, candidates, ..IceUdp::default() };
        let transport = Some(Transport::IceUdp(transport));
        let content = Content { transport, ..Content::new(self.jingle.creator_of(id), name) };
        self.jingle.send(cx, Jingle { contents: vec![content], ..self.jingle.action(Action::TransportInfo) });
    }
}
