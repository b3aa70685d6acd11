//! A built-in Jingle client, which calls and is called as the real ones are.
//!
//! ```text
//!  calls                                   is called
//!  1. propose            -> bare JID       1. propose            <-
//!  2. ringing, proceed   <-                2. ringing, proceed   ->  full JID
//!  3. session-initiate   ->                3. session-initiate   <-
//!  4. transport-info     <->               4. session-accept     ->
//!  5. session-accept     <-                5. transport-info     <->
//!  6. session-terminate  <->               6. session-terminate  <->
//! ```
//!
//! A client without XEP-0353 leaves out the first two steps: it sends `session-info ringing` when it is called.

mod profile;

use std::collections::VecDeque;
use std::net::IpAddr;

use anyhow::{Context, bail};
use jid::{BareJid, Jid};
use model::{Candidate, Description, MediaKind, Security, StreamId};
use xmpp::description;
use xmpp::disco::DiscoInfo;
use xmpp::jingle::{Action, Content, IceUdp, Info, Jingle, Party, Reason, ReasonCondition, Transport};
use xmpp::jingle_message::JingleMessage;
use xmpp::presence;
use xmpp::query::Question;
use xmpp::stanza::{Condition, Payload, PresenceKind, Stanza, StanzaError};

pub use profile::{Profile, Trickle};

use crate::component_server::User;
use crate::endpoint::{self, Endpoint};

/// What happens to a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Whom we call is being rung.
    Ringing,
    /// Somebody calls; [`Client::answer`] or [`Client::hang_up`] it.
    Incoming {
        /// Who.
        from: Jid,
    },
    /// The call is answered; media follows.
    Answered,
    /// The call is over, and not by us.
    Ended(ReasonCondition),
}

/// A client with at most one call.
#[derive(Debug)]
pub struct Client {
    user: User,
    profile: Profile,
    address: IpAddr,
    tone: f32,
    state: State,
    events: VecDeque<Event>,
    requests: u64,
}

/// Where its call is.
#[derive(Debug)]
enum State {
    /// There is none.
    Idle,
    /// We proposed one.
    Proposing { sid: String, to: BareJid },
    /// We sent session-initiate, in this request.
    Initiating { session: Session, request: String },
    /// One was proposed to us.
    Proposed { sid: String, from: Jid, media: Vec<MediaKind> },
    /// We took it; session-initiate has to come.
    Proceeded { sid: String, from: Jid, media: Vec<MediaKind> },
    /// Session-initiate came without a proposal, with this offer.
    Offered { session: Session, offer: Description },
    /// It is answered.
    Active(Session),
}

/// A Jingle session.
#[derive(Debug)]
struct Session {
    sid: String,
    peer: Jid,
    /// Which party we are.
    party: Party,
    /// It was proposed first.
    proposed: bool,
    endpoint: Endpoint,
}

impl Client {
    /// Makes a client of a user's connection, whose sockets are bound to `address` and whose calls play `tone`, in
    /// hertz.
    pub fn new(user: User, profile: Profile, address: IpAddr, tone: f32) -> Self {
        Self { user, profile, address, tone, state: State::Idle, events: VecDeque::new(), requests: 0 }
    }

    /// Tells somebody that we are here and what we can do, as a client's presence does.
    pub fn announce(&self, to: Jid) {
        self.user.send(presence::available(self.jid(), to, &self.features().caps()));
    }

    /// Calls somebody. A client that does not propose needs a full JID.
    ///
    /// # Errors
    ///
    /// There is a call already, or no socket for its media.
    pub fn call(&mut self, to: Jid) -> anyhow::Result<()> {
        let State::Idle = self.state else { bail!("there is a call already") };
        let sid = random_sid();
        if self.profile.proposes {
            let propose = JingleMessage::Propose { id: sid.clone(), media: vec![MediaKind::Audio] };
            let to = to.to_bare();
            self.send_message(to.clone().into(), propose);
            self.state = State::Proposing { sid, to };
            return Ok(());
        }
        self.initiate(sid, to, false)
    }

    /// Answers the call that comes in.
    ///
    /// # Errors
    ///
    /// None comes in, or nothing in its offer suits us.
    pub fn answer(&mut self) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Proposed { sid, from, media } => {
                self.send_message(from.clone(), JingleMessage::Proceed { id: sid.clone() });
                self.state = State::Proceeded { sid, from, media };
                Ok(())
            }
            State::Offered { session, offer } => self.accept(session, &offer),
            other @ (State::Idle
            | State::Proposing { .. }
            | State::Initiating { .. }
            | State::Proceeded { .. }
            | State::Active(_)) => {
                self.state = other;
                bail!("nobody calls")
            }
        }
    }

    /// Ends the call, whatever it is at: refuses it, gives it up, or hangs up.
    pub fn hang_up(&mut self) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {}
            State::Proposing { sid, to } => {
                let reason = Some(Reason::new(ReasonCondition::Cancel));
                self.send_message(to.into(), JingleMessage::Retract { id: sid, reason, tie_break: false });
            }
            State::Proposed { sid, from, .. } | State::Proceeded { sid, from, .. } => {
                let reason = Some(Reason::new(ReasonCondition::Busy));
                self.send_message(from, JingleMessage::Reject { id: sid, reason, tie_break: false });
            }
            State::Initiating { session, .. } => self.terminate(&session, ReasonCondition::Cancel),
            State::Offered { session, .. } => self.terminate(&session, ReasonCondition::Decline),
            State::Active(session) => self.terminate(&session, ReasonCondition::Success),
        }
    }

    /// How the media of the call is, once there is a session.
    pub fn media(&self) -> Option<endpoint::Status> {
        self.session().map(|session| session.endpoint.status())
    }

    /// Waits for the next event. May be cancelled.
    ///
    /// # Errors
    ///
    /// The server is gone, or the call's media cannot be set up.
    pub async fn next(&mut self) -> anyhow::Result<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let stanza = self.user.next().await.context("the XMPP server is gone")?;
            self.handle(&stanza)?;
        }
    }

    fn handle(&mut self, stanza: &Stanza) -> anyhow::Result<()> {
        match &stanza.payload {
            Payload::JingleMessage(message) => return self.handle_message(&stanza.from, message),
            Payload::Jingle(jingle) => return self.handle_jingle(stanza, jingle),
            Payload::MalformedJingle(_) => self.refuse(stanza, StanzaError::new(Condition::BadRequest)),
            Payload::Query { .. } => self.handle_query(stanza),
            Payload::Presence { kind: PresenceKind::Subscribe, .. } => {
                self.user.send(presence::bare(self.jid(), stanza.from.clone(), PresenceKind::Subscribed));
            }
            Payload::Error { .. } => self.handle_error(stanza),
            Payload::Result(_) | Payload::Presence { .. } | Payload::Message { .. } => {}
        }
        Ok(())
    }

    fn handle_message(&mut self, from: &Jid, message: &JingleMessage) -> anyhow::Result<()> {
        if let JingleMessage::Propose { id, media } = message {
            self.handle_propose(from, id, media);
            return Ok(());
        }
        if Some(message.id()) != self.sid() {
            return Ok(());
        }
        match (std::mem::replace(&mut self.state, State::Idle), message) {
            (State::Proposing { sid, to }, JingleMessage::Ringing { .. }) => {
                self.state = State::Proposing { sid, to };
                self.events.push_back(Event::Ringing);
            }
            (State::Proposing { sid, .. }, JingleMessage::Proceed { .. }) => {
                return self.initiate(sid, from.clone(), true);
            }
            (State::Proposing { .. }, JingleMessage::Reject { reason, .. })
            | (State::Proposed { .. } | State::Proceeded { .. }, JingleMessage::Retract { reason, .. }) => {
                self.ended(reason.as_ref());
            }
            (unchanged, _) => self.state = unchanged,
        }
        Ok(())
    }

    fn handle_propose(&mut self, from: &Jid, id: &str, media: &[MediaKind]) {
        if !self.profile.proposes {
            return; // it does not know what this is
        }
        if !matches!(self.state, State::Idle) {
            let reason = Some(Reason::new(ReasonCondition::Busy));
            self.send_message(from.clone(), JingleMessage::Reject { id: id.to_owned(), reason, tie_break: false });
            return;
        }
        if self.profile.sends_ringing {
            self.send_message(from.clone(), JingleMessage::Ringing { id: id.to_owned() });
        }
        self.state = State::Proposed { sid: id.to_owned(), from: from.clone(), media: media.to_vec() };
        self.events.push_back(Event::Incoming { from: from.clone() });
    }

    fn handle_jingle(&mut self, stanza: &Stanza, jingle: &Jingle) -> anyhow::Result<()> {
        if jingle.action == Action::SessionInitiate {
            return self.handle_initiate(stanza, jingle);
        }
        let ours = self.session().is_some_and(|session| session.sid == jingle.sid && session.peer == stanza.from);
        if !ours {
            self.refuse(stanza, StanzaError::unknown_session());
            return Ok(());
        }
        match jingle.action {
            Action::SessionAccept => return self.handle_accept(stanza, jingle),
            Action::TransportInfo => {
                self.user.send(stanza.result(None));
                self.add_candidates(jingle);
            }
            Action::SessionInfo => {
                self.user.send(stanza.result(None));
                if jingle.info == Some(Info::Ringing) {
                    self.events.push_back(Event::Ringing);
                }
            }
            Action::SessionTerminate => {
                self.user.send(stanza.result(None));
                self.state = State::Idle;
                self.ended(jingle.reason.as_ref());
            }
            Action::DescriptionInfo | Action::ContentModify => self.user.send(stanza.result(None)),
            Action::SessionInitiate
            | Action::ContentAccept
            | Action::ContentAdd
            | Action::ContentReject
            | Action::ContentRemove
            | Action::SecurityInfo
            | Action::TransportAccept
            | Action::TransportReject
            | Action::TransportReplace => self.refuse(stanza, StanzaError::new(Condition::FeatureNotImplemented)),
        }
        Ok(())
    }

    fn handle_initiate(&mut self, stanza: &Stanza, jingle: &Jingle) -> anyhow::Result<()> {
        self.user.send(stanza.result(None));
        let offer = description::describe(&jingle.contents, &jingle.bundle, Party::Initiator).description;
        let session = Session {
            sid: jingle.sid.clone(),
            peer: stanza.from.clone(),
            party: Party::Responder,
            proposed: matches!(self.state, State::Proceeded { .. }),
            endpoint: self.endpoint(Party::Responder)?,
        };
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Proceeded { sid, from, media } if sid == jingle.sid && from == stanza.from => {
                let offered: Vec<MediaKind> = offer.streams.iter().map(|stream| stream.kind).collect();
                if offered != media {
                    // Conversations and Monal take media that was not proposed for an attack.
                    self.terminate(&session, ReasonCondition::SecurityError);
                    bail!("{media:?} was proposed, but {offered:?} is offered");
                }
                self.accept(session, &offer)
            }
            State::Idle => {
                self.send_jingle(&session, |jingle| jingle.info = Some(Info::Ringing), Action::SessionInfo);
                self.events.push_back(Event::Incoming { from: stanza.from.clone() });
                self.state = State::Offered { session, offer };
                Ok(())
            }
            busy @ (State::Proposing { .. }
            | State::Initiating { .. }
            | State::Proposed { .. }
            | State::Proceeded { .. }
            | State::Offered { .. }
            | State::Active(_)) => {
                self.state = busy;
                self.terminate(&session, ReasonCondition::Busy);
                Ok(())
            }
        }
    }

    fn handle_accept(&mut self, stanza: &Stanza, jingle: &Jingle) -> anyhow::Result<()> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Initiating { session, .. } => {
                self.user.send(stanza.result(None));
                let answer = description::describe(&jingle.contents, &jingle.bundle, Party::Responder).description;
                if let Err(error) = session.endpoint.accept(&answer) {
                    self.terminate(&session, ReasonCondition::FailedApplication);
                    return Err(error).context("the answer was not taken");
                }
                self.state = State::Active(session);
                self.events.push_back(Event::Answered);
            }
            other @ (State::Idle
            | State::Proposing { .. }
            | State::Proposed { .. }
            | State::Proceeded { .. }
            | State::Offered { .. }
            | State::Active(_)) => {
                self.state = other;
                self.refuse(stanza, StanzaError::out_of_order());
            }
        }
        Ok(())
    }

    fn handle_query(&self, stanza: &Stanza) {
        match Question::parse(&stanza.payload) {
            Some(Question::Info(node)) => {
                let info = DiscoInfo { node, ..self.features() };
                self.user.send(stanza.result(Some(info.to_element())));
            }
            Some(Question::Ping) => self.user.send(stanza.result(None)),
            _ => self.refuse(stanza, StanzaError::new(Condition::ServiceUnavailable)),
        }
    }

    /// An error that answers our proposal or session-initiate ends the call.
    fn handle_error(&mut self, stanza: &Stanza) {
        let ends = match &self.state {
            State::Proposing { sid, to } => stanza.id == message_id(sid) && stanza.from.to_bare() == *to,
            State::Initiating { request, .. } => stanza.id == *request,
            State::Idle
            | State::Proposed { .. }
            | State::Proceeded { .. }
            | State::Offered { .. }
            | State::Active(_) => false,
        };
        if ends {
            self.state = State::Idle;
            self.events.push_back(Event::Ended(ReasonCondition::GeneralError));
        }
    }

    fn initiate(&mut self, sid: String, peer: Jid, proposed: bool) -> anyhow::Result<()> {
        let endpoint = self.endpoint(Party::Initiator)?;
        let session = Session { sid, peer, party: Party::Initiator, proposed, endpoint };
        let offer = session.endpoint.offer();
        let request = self.describe(&session, Action::SessionInitiate, offer);
        self.state = State::Initiating { session, request };
        Ok(())
    }

    fn accept(&mut self, session: Session, offer: &Description) -> anyhow::Result<()> {
        let answer = match session.endpoint.answer(offer) {
            Ok(answer) => answer,
            Err(error) => {
                self.terminate(&session, ReasonCondition::FailedApplication);
                return Err(error).context("the offer was not taken");
            }
        };
        self.describe(&session, Action::SessionAccept, answer);
        self.state = State::Active(session);
        self.events.push_back(Event::Answered);
        Ok(())
    }

    /// Sends our description, its candidates as the profile has it. Returns the request's id.
    fn describe(&mut self, session: &Session, action: Action, mut description: Description) -> String {
        let mut trickled = Vec::new();
        if self.profile.trickle != Trickle::No {
            for stream in &mut description.streams {
                trickled.push((stream.id, std::mem::take(&mut stream.path.candidates)));
            }
        }
        if self.profile.bundle {
            description.bundle = description.streams.iter().map(|stream| stream.id).collect();
        }
        let (contents, bundle) = description::contents(&description, session.party, Party::Initiator);
        let (initiator, responder) = match session.party {
            Party::Initiator => (Some(self.user.jid().to_string()), None),
            Party::Responder => (None, Some(self.user.jid().to_string())),
        };
        let complete = |jingle: &mut Jingle| {
            *jingle = Jingle { contents, bundle, initiator, responder, ..Jingle::new(action, session.sid.clone()) };
        };
        let request = self.send_jingle(session, complete, action);
        for (stream, candidates) in trickled {
            self.trickle(session, &description, stream, candidates);
        }
        request
    }

    fn trickle(&mut self, session: &Session, description: &Description, stream: StreamId, candidates: Vec<Candidate>) {
        let Some(stream) = description.streams.iter().find(|known| known.id == stream) else { return };
        let Some(ice) = &stream.path.ice else { return };
        let with_password = self.profile.trickle == Trickle::OneByOne;
        let transport =
            IceUdp { ufrag: Some(ice.ufrag.clone()), ice: with_password.then(|| ice.clone()), ..IceUdp::default() };
        for candidate in candidates {
            let transport = IceUdp { candidates: vec![candidate], ..transport.clone() };
            self.send_transport(session, &stream.name, transport);
        }
        if !with_password {
            self.send_transport(session, &stream.name, IceUdp { gathering_complete: true, ..transport });
        }
    }

    fn send_transport(&mut self, session: &Session, content: &str, transport: IceUdp) {
        let transport = Some(Transport::IceUdp(transport));
        let content = Content { transport, ..Content::new(Party::Initiator, content) };
        self.send_jingle(session, |jingle| jingle.contents = vec![content], Action::TransportInfo);
    }

    fn add_candidates(&self, jingle: &Jingle) {
        let Some(session) = self.session() else { return };
        for content in &jingle.contents {
            if let Some(Transport::IceUdp(transport)) = &content.transport {
                let ufrag = transport.ufrag.as_deref();
                session.endpoint.add_candidates(&transport.candidates, ufrag, transport.gathering_complete);
            }
        }
    }

    fn terminate(&mut self, session: &Session, condition: ReasonCondition) {
        let reason = Reason::new(condition);
        self.send_jingle(session, |jingle| jingle.reason = Some(reason.clone()), Action::SessionTerminate);
        if session.proposed && self.profile.sends_finish {
            let id = session.sid.clone();
            let finish = JingleMessage::Finish { id, reason: Some(reason), migrated_to: None };
            self.send_message(session.peer.clone(), finish);
        }
    }

    fn ended(&mut self, reason: Option<&Reason>) {
        let condition = reason.map_or(ReasonCondition::GeneralError, |reason| reason.condition);
        self.events.push_back(Event::Ended(condition));
    }

    fn endpoint(&self, party: Party) -> anyhow::Result<Endpoint> {
        let config = endpoint::Config {
            address: self.address,
            offers: party == Party::Initiator,
            ice: true,
            security: self.profile.security,
            rtcp_mux: self.profile.rtcp_mux,
            tone: self.tone,
        };
        Endpoint::start(config).context("no socket for media")
    }

    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Initiating { session, .. } | State::Offered { session, .. } | State::Active(session) => {
                Some(session)
            }
            State::Idle | State::Proposing { .. } | State::Proposed { .. } | State::Proceeded { .. } => None,
        }
    }

    fn sid(&self) -> Option<&str> {
        match &self.state {
            State::Idle => None,
            State::Proposing { sid, .. } | State::Proposed { sid, .. } | State::Proceeded { sid, .. } => Some(sid),
            State::Initiating { session, .. } | State::Offered { session, .. } | State::Active(session) => {
                Some(&session.sid)
            }
        }
    }

    fn jid(&self) -> Jid {
        self.user.jid().clone().into()
    }

    /// What disco#info tells of us.
    fn features(&self) -> DiscoInfo {
        let mut info = DiscoInfo::user(false);
        let encrypts = self.profile.security == Security::Dtls;
        info.features.retain(|feature| match feature.as_str() {
            xmpp::jingle_message::NS => self.profile.proposes,
            "urn:xmpp:jingle:apps:dtls:0" => encrypts,
            _ => true,
        });
        info
    }

    fn send_message(&self, to: Jid, message: JingleMessage) {
        let id = message_id(message.id());
        self.user.send(Stanza { from: self.jid(), to, id, payload: Payload::JingleMessage(message) });
    }

    /// Sends an action of a session, completed by `complete`. Returns the request's id.
    fn send_jingle(&mut self, session: &Session, complete: impl FnOnce(&mut Jingle), action: Action) -> String {
        let mut jingle = Jingle::new(action, session.sid.clone());
        complete(&mut jingle);
        self.requests += 1;
        let id = format!("{}-{}", session.sid, self.requests);
        let payload = Payload::Jingle(Box::new(jingle));
        self.user.send(Stanza { from: self.jid(), to: session.peer.clone(), id: id.clone(), payload });
        id
    }

    fn refuse(&self, stanza: &Stanza, error: StanzaError) {
        if let Some(answer) = stanza.error(error) {
            self.user.send(answer);
        }
    }
}

/// The id of a message about a session, as Conversations forms it.
fn message_id(sid: &str) -> String {
    format!("jm-{sid}")
}

/// A session's id, as hard to guess as a random UUID.
fn random_sid() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use model::Secret;
    use tokio::time::timeout;

    use super::*;
    use crate::component_server::ComponentServer;

    #[tokio::test]
    async fn every_client_can_call_the_others_and_be_called() {
        let server = server().await;
        for (calls, is_called) in [
            (Profile::CONVERSATIONS, Profile::DINO),
            (Profile::DINO, Profile::MONAL),
            (Profile::STANZA_JS, Profile::CONVERSATIONS),
            (Profile::GAJIM, Profile::GAJIM),
        ] {
            let (mut alice, mut bob) = (client(&server, "alice", calls), client(&server, "bob", is_called));
            alice.call(bob.jid()).expect("there is no call yet");
            incoming(&mut bob).await;
            if is_called.sends_ringing || !calls.proposes {
                assert_eq!(next(&mut alice).await, Event::Ringing, "{calls:?}");
            }
            bob.answer().expect("alice calls");
            // The two have to take turns, for each answers the other's stanzas only when it is asked for news.
            let (answered, answers) = tokio::join!(next(&mut alice), next(&mut bob));
            assert_eq!((answered, answers), (Event::Answered, Event::Answered), "{calls:?} {is_called:?}");
            assert!(alice.media().is_some() && bob.media().is_some());
            alice.hang_up();
            assert_eq!(next(&mut bob).await, Event::Ended(ReasonCondition::Success));
        }
    }

    #[tokio::test]
    async fn a_call_can_be_refused_and_given_up() {
        let server = server().await;
        for profile in [Profile::CONVERSATIONS, Profile::STANZA_JS] {
            let (mut alice, mut bob) = (client(&server, "alice", profile), client(&server, "bob", profile));
            alice.call(bob.jid()).expect("there is no call yet");
            incoming(&mut bob).await;
            assert_eq!(next(&mut alice).await, Event::Ringing);
            bob.hang_up();
            assert!(matches!(next(&mut alice).await, Event::Ended(ReasonCondition::Busy | ReasonCondition::Decline)));

            alice.call(bob.jid()).expect("there is no call yet");
            incoming(&mut bob).await;
            alice.hang_up();
            assert_eq!(next(&mut bob).await, Event::Ended(ReasonCondition::Cancel));
        }
    }

    #[tokio::test]
    async fn a_call_to_nobody_ends() {
        let server = server().await;
        let mut alice = client(&server, "alice", Profile::CONVERSATIONS);
        alice.call("carol@localhost".parse().expect("a bare JID")).expect("there is no call yet");
        assert_eq!(next(&mut alice).await, Event::Ended(ReasonCondition::GeneralError));
    }

    async fn server() -> ComponentServer {
        let anywhere = "127.0.0.1:0".parse().expect("an address");
        ComponentServer::start(anywhere, "sip.localhost", Secret::new("s3cret".into())).await.expect("a free port")
    }

    fn client(server: &ComponentServer, name: &str, profile: Profile) -> Client {
        let user = server.join(format!("{name}@localhost/test").parse().expect("a full JID"));
        Client::new(user, profile, IpAddr::V4(Ipv4Addr::LOCALHOST), 440.0)
    }

    async fn incoming(bob: &mut Client) {
        assert!(matches!(next(bob).await, Event::Incoming { .. }));
    }

    async fn next(client: &mut Client) -> Event {
        timeout(Duration::from_secs(10), client.next()).await.expect("in time").expect("the server runs")
    }
}
