//! The world around a translator: a relay that fills in paths, and both sides as XML and plain events.
//!
//! Each step gives an input and returns what came of it, one line for each action: `->` to the XMPP side, `=>` to the
//! SIP side, `relay` to the relay. What must hold for every step is checked here: each IQ request is answered once,
//! nothing of one leg's path is seen on the other, and no log line has a secret.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use minidom::Element;
use model::{
    CallId, CallStatistics, Candidate, CandidateKind, Command, CommandError, Description, DtlsParameters, Event,
    Fingerprint, FromRelay, HashFunction, IceParameters, LegId, MediaPath, News, Profile, Reply, RequestId,
    RestartedPath, Secret, Setup, ToRelay,
};
use signaling::{Action, Config, JmiMode, Record, RouteRow, RouteTable, Translator, Trunk, TrunkMedia};
use sip::message::{DialogId, Failure, FromAgent, IncomingInvite, PeerSupport, Reason, Response, ToAgent};
use xmpp::stanza::{Payload, Stanza};

pub(crate) const JINGLE: LegId = LegId(0);
pub(crate) const SIP: LegId = LegId(1);

/// Alice's client and the phone's user behind the gateway.
pub(crate) const ALICE: &str = "alice@localhost/phone";
pub(crate) const PHONE: &str = "100@sip.localhost/sip";
/// The dialog of the first call we make, and of the first that comes.
pub(crate) const OURS: DialogId = DialogId(1 << 63 | 1);
pub(crate) const THEIRS: DialogId = DialogId(1);

/// What must not be seen on the other leg: of the client, of the phone, and of our own legs.
const CLIENT_SECRETS: [&str; 4] = ["192.0.2.50", "clientufrag", "client-password-0123456789", "C1:1E:17"];
const PHONE_SECRETS: [&str; 1] = ["203.0.113.9"];
const JINGLE_SECRETS: [&str; 3] = ["198.51.100.1", "ourufrag", "our-password-0123456789ab"];
const SIP_SECRETS: [&str; 1] = ["198.51.100.2"];

/// How the relay answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum RelayMode {
    /// At once.
    Instant,
    /// When it is told to by [`World::relay_answers`].
    Late,
}

pub(crate) struct World {
    pub(crate) translator: Translator,
    pub(crate) now: Instant,
    pub(crate) mode: RelayMode,
    /// The next commands to fail, by their word.
    pub(crate) failures: BTreeMap<String, CommandError>,
    replies: VecDeque<FromRelay>,
    /// Requests of ours to the XMPP side that were not answered.
    pub(crate) iqs: Vec<Stanza>,
    pub(crate) call: Option<CallId>,
    /// A call has come that replaces another.
    pub(crate) taken_over: bool,
    /// The last session id seen in a stanza of ours.
    pub(crate) sid: String,
    /// The last SDP that went out.
    pub(crate) sdp: String,
    /// The last stanza that went out.
    pub(crate) last: Option<Element>,
    pub(crate) commands: Vec<Command>,
    pub(crate) sip_actions: Vec<ToAgent>,
    pub(crate) records: Vec<Record>,
    /// The lines of the log.
    pub(crate) log: Vec<String>,
    next_id: u32,
}

pub(crate) fn row(from: &str, user: &str, to: &str) -> RouteRow {
    RouteRow { from: from.into(), user: user.into(), to: vec![to.into()], ..RouteRow::default() }
}

pub(crate) fn config() -> Config {
    let rows = [row("xmpp", r"(\+?[0-9]+)", "trunk:phones/{1}"), row("trunk:phones", "(.+)", "xmpp:{1}@localhost")];
    let routes = RouteTable::new(&rows, &["phones"]).expect("the rows are right");
    let trunk = Trunk::new("sip:127.0.0.1:5081", TrunkMedia::Rtp).expect("the URI is right");
    let mut config = Config::new("sip.localhost", routes);
    config.trunks.insert("phones".into(), trunk);
    config
}

pub(crate) fn with_jmi(jmi: JmiMode) -> Config {
    Config { jmi, ..config() }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(config())
    }

    #[allow(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    pub(crate) fn with(config: Config) -> Self {
        let mut seed: u8 = 0;
        let random = move |bytes: &mut [u8]| {
            for byte in bytes {
                seed = seed.wrapping_mul(141).wrapping_add(51);
                *byte = seed;
            }
        };
        let mut world = Self {
            translator: Translator::new(config, Box::new(random)),
            now: Instant::now(),
            mode: RelayMode::Instant,
            failures: BTreeMap::new(),
            replies: VecDeque::new(),
            iqs: Vec::new(),
            call: None,
            taken_over: false,
            sid: String::new(),
            sdp: String::new(),
            last: None,
            commands: Vec::new(),
            sip_actions: Vec::new(),
            records: Vec::new(),
            log: Vec::new(),
            next_id: 0,
        };
        world.translator.handle_xmpp_link(true, world.now);
        world
    }

    /// A stanza comes. An IQ gets an id of its own, and must be answered once.
    pub(crate) fn stanza(&mut self, xml: &str) -> Vec<String> {
        self.next_id += 1;
        let id = format!("in-{}", self.next_id);
        let xml = xml.replace("$sid", &self.sid).replacen("<iq ", &format!("<iq id='{id}' "), 1);
        let spliced = xml.replacen(' ', " xmlns='jabber:component:accept' ", 1);
        let element: Element = spliced.parse().unwrap_or_else(|error| panic!("{error}: {spliced}"));
        let is_request = element.name() == "iq" && matches!(element.attr("type"), Some("get" | "set"));
        let stanza = Stanza::parse(&element).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        self.translator.handle_stanza(stanza, self.now);
        let actions = self.drain();
        let answers = actions.iter().filter(|action| is_answer(action, &id)).count();
        assert_eq!(answers, usize::from(is_request), "answers to {xml}: {actions:?}");
        self.render(actions)
    }

    /// A Jingle action of Alice's client comes.
    pub(crate) fn jingle(&mut self, action: &str, inside: &str) -> Vec<String> {
        self.jingle_from(ALICE, action, inside)
    }

    pub(crate) fn jingle_from(&mut self, from: &str, action: &str, inside: &str) -> Vec<String> {
        self.stanza(&format!(
            "<iq from='{from}' to='{PHONE}' type='set'><jingle xmlns='urn:xmpp:jingle:1' action='{action}' \
             sid='$sid'>{inside}</jingle></iq>"
        ))
    }

    /// A message about a call of Alice's client comes.
    pub(crate) fn message(&mut self, verb: &str, inside: &str) -> Vec<String> {
        self.message_from(ALICE, verb, inside)
    }

    pub(crate) fn message_from(&mut self, from: &str, verb: &str, inside: &str) -> Vec<String> {
        self.stanza(&format!(
            "<message from='{from}' to='100@sip.localhost' type='chat'><{verb} xmlns='urn:xmpp:jingle-message:0' \
             id='$sid'>{inside}</{verb}></message>"
        ))
    }

    /// An answer to our oldest IQ comes.
    pub(crate) fn answer_iq(&mut self, error: Option<&str>) -> Vec<String> {
        let asked = self.iqs.remove(0);
        let (kind, inside) = match error {
            None => ("result", String::new()),
            Some(condition) => (
                "error",
                format!("<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"),
            ),
        };
        let xml = format!(
            "<iq xmlns='jabber:component:accept' id='{}' from='{}' to='{}' type='{kind}'>{inside}</iq>",
            asked.id, asked.to, asked.from
        );
        let element: Element = xml.parse().expect("it is XML");
        let stanza = Stanza::parse(&element).expect("it is a stanza");
        self.translator.handle_stanza(stanza, self.now);
        self.finish()
    }

    /// All our IQs are answered well.
    pub(crate) fn answer_all(&mut self) {
        while !self.iqs.is_empty() {
            assert_eq!(self.answer_iq(None), [""; 0]);
        }
    }

    pub(crate) fn sip(&mut self, event: FromAgent) -> Vec<String> {
        self.translator.handle_sip(event, self.now);
        self.finish()
    }

    pub(crate) fn news(&mut self, news: News) -> Vec<String> {
        let call = self.call.expect("there was a call");
        self.translator.handle_relay(FromRelay::Event(Event { call, news }), self.now);
        self.finish()
    }

    /// Time passes; everything due is done at its time.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<String> {
        let until = self.now + time;
        let mut lines = Vec::new();
        while let Some(at) = self.translator.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.translator.handle_timeout(self.now);
            lines.extend(self.finish());
        }
        self.now = until;
        lines
    }

    /// A relay that was late answers all it was asked.
    pub(crate) fn relay_answers(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(reply) = self.replies.pop_front() {
            self.translator.handle_relay(reply, self.now);
            lines.extend(self.finish());
        }
        lines
    }

    pub(crate) fn finish(&mut self) -> Vec<String> {
        let actions = self.drain();
        self.render(actions)
    }

    /// All actions, including those that follow from the relay's replies.
    fn drain(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        loop {
            while let Some(action) = self.translator.poll_action() {
                self.look_at(&action);
                actions.push(action);
            }
            match self.replies.pop_front() {
                Some(reply) if self.mode == RelayMode::Instant => self.translator.handle_relay(reply, self.now),
                Some(reply) => {
                    self.replies.push_front(reply);
                    return actions;
                }
                None => return actions,
            }
        }
    }

    fn look_at(&mut self, action: &Action) {
        let unseen = |text: &str, secrets: &[&str]| {
            let seen = secrets.iter().find(|secret| text.contains(**secret));
            assert_eq!(seen, None, "{text}");
        };
        match action {
            Action::Stanza(stanza) => {
                let element = stanza.to_element();
                let text = String::from(&element);
                unseen(&text, &PHONE_SECRETS);
                unseen(&text, &SIP_SECRETS);
                assert_eq!(Stanza::parse(&element).as_ref(), Ok(&**stanza), "what is written can be read");
                assert!(stanza.from.resource().is_none_or(|resource| resource.as_str() == "sip"), "{text}");
                self.last = Some(element);
                match &stanza.payload {
                    Payload::Jingle(jingle) => {
                        self.sid.clone_from(&jingle.sid);
                        self.iqs.push((**stanza).clone());
                    }
                    Payload::JingleMessage(message) => message.id().clone_into(&mut self.sid),
                    Payload::Query { .. } => self.iqs.push((**stanza).clone()),
                    Payload::MalformedJingle(_)
                    | Payload::Result(_)
                    | Payload::Error { .. }
                    | Payload::Presence { .. }
                    | Payload::Message { .. } => (),
                }
            }
            Action::Sip(request) => {
                let text = format!("{request:?}");
                unseen(&text, &CLIENT_SECRETS);
                unseen(&text, &JINGLE_SECRETS);
                self.sip_actions.push(request.clone());
                if let Some(sdp) = sdp_of(request) {
                    sdp.clone_into(&mut self.sdp);
                }
            }
            Action::Relay(ToRelay::Command(request)) => {
                self.call = Some(request.command.call());
                self.commands.push(request.command.clone());
                let reply = self.reply(request.id, &request.command);
                self.replies.push_back(reply);
            }
            Action::Record(record) => self.records.push((**record).clone()),
            Action::Log(line) => {
                unseen(&line.text, &["client-password-0123456789", "our-password-0123456789ab"]);
                self.log.push(line.text.clone());
            }
        }
    }

    fn reply(&mut self, id: RequestId, command: &Command) -> FromRelay {
        let outcome = match (self.failures.remove(&word(command)), command) {
            (Some(error), _) => Err(error),
            (None, Command::LocalOffer { leg, offer, .. }) => Ok(Reply::Local(completed(offer, *leg, true))),
            (None, Command::LocalAnswer { leg, answer, .. }) => Ok(Reply::Local(completed(answer, *leg, false))),
            (None, Command::RestartIce { .. }) => Ok(Reply::Restarted(vec![RestartedPath {
                stream: model::StreamId(0),
                ice: IceParameters { ufrag: "newufrag".into(), ..ice() },
                candidates: vec![candidate()],
            }])),
            (None, Command::End { .. } | Command::Query { .. }) => Ok(Reply::Statistics(CallStatistics::default())),
            (None, _) => Ok(Reply::Done),
        };
        FromRelay::Reply { id, outcome }
    }

    fn render(&self, actions: Vec<Action>) -> Vec<String> {
        actions.iter().filter_map(render).collect()
    }
}

/// What the relay makes of a description.
fn completed(description: &Description, leg: LegId, offer: bool) -> Description {
    let mut completed = description.clone();
    for stream in &mut completed.streams {
        assert_eq!(stream.path, MediaPath::default(), "paths come from the relay");
        stream.path = if leg == JINGLE {
            MediaPath {
                rtcp_mux: true,
                profile: Profile::TlsSavpf,
                ice: Some(ice()),
                candidates: vec![candidate()],
                end_of_candidates: true,
                dtls: Some(DtlsParameters {
                    fingerprints: vec![Fingerprint { hash: HashFunction::Sha256, digest: vec![0xab; 32] }],
                    setup: if offer { Setup::Actpass } else { Setup::Active },
                    tls_id: None,
                }),
                ..MediaPath::default()
            }
        } else {
            MediaPath { rtp: Some(SocketAddr::from(([198, 51, 100, 2], 30_000))), ..MediaPath::default() }
        };
    }
    completed
}

fn ice() -> IceParameters {
    IceParameters { ufrag: "ourufrag".into(), pwd: Secret::new("our-password-0123456789ab".into()), lite: false }
}

pub(crate) fn candidate() -> Candidate {
    Candidate {
        foundation: "1".into(),
        component: model::Component::Rtp,
        priority: 2_130_706_431,
        address: SocketAddr::from(([198, 51, 100, 1], 40_000)),
        kind: CandidateKind::Host,
        related: None,
        generation: 0,
    }
}

fn is_answer(action: &Action, id: &str) -> bool {
    matches!(action, Action::Stanza(stanza) if stanza.id == id
        && matches!(stanza.payload, Payload::Result(_) | Payload::Error { .. }))
}

fn sdp_of(request: &ToAgent) -> Option<&str> {
    match request {
        ToAgent::Invite(invite) => invite.sdp.as_deref(),
        ToAgent::Reinvite { sdp, .. } | ToAgent::Update { sdp, .. } | ToAgent::Ack { sdp, .. } => Some(sdp),
        ToAgent::Respond { response, .. } | ToAgent::RespondInDialog { response, .. } => response.sdp.as_deref(),
        ToAgent::Cancel { .. }
        | ToAgent::Bye { .. }
        | ToAgent::Info { .. }
        | ToAgent::Refer { .. }
        | ToAgent::Notify { .. } => None,
    }
}

fn render(action: &Action) -> Option<String> {
    Some(match action {
        Action::Stanza(stanza) => format!("-> {}", render_stanza(stanza)),
        Action::Sip(request) => format!("=> {}", render_sip(request)),
        Action::Relay(ToRelay::Command(request)) => format!("relay {}", word(&request.command)),
        Action::Log(_) | Action::Record(_) => return None,
    })
}

fn render_stanza(stanza: &Stanza) -> String {
    match &stanza.payload {
        Payload::Jingle(jingle) => {
            let reason = jingle.reason.as_ref().map(|reason| format!(" {}", reason.condition.as_str()));
            let info = jingle.info.as_ref().map(|info| format!(" {info:?}"));
            format!("{}{}{}", jingle.action.as_str(), reason.unwrap_or_default(), info.unwrap_or_default())
        }
        Payload::JingleMessage(message) => {
            let element = message.to_element();
            let reason = element.children().find(|child| child.name() == "reason");
            let word = reason.and_then(|reason| reason.children().next()).map(|word| format!(" {}", word.name()));
            format!("{}{}", element.name(), word.unwrap_or_default())
        }
        Payload::Result(None) => "result".into(),
        Payload::Result(Some(child)) => format!("result {}", child.name()),
        Payload::Error { error, .. } => {
            let application = error.application.as_ref().map(|(_, name)| format!(" {name}"));
            format!("error {}{}", error.condition.as_str(), application.unwrap_or_default())
        }
        Payload::Query { child, .. } => format!("query {}", child.ns()),
        Payload::Presence { kind, .. } => format!("presence {}", kind.as_str().unwrap_or("available")),
        Payload::Message { .. } | Payload::MalformedJingle(_) => unreachable!("the translator sends no such stanzas"),
    }
}

fn render_sip(request: &ToAgent) -> String {
    let with_sdp = |sdp: Option<&String>| sdp.map_or("", |_| " sdp");
    let response = |response: &Response| format!("{}{}", response.status, with_sdp(response.sdp.as_ref()));
    let causes = |reasons: &[Reason]| reasons.iter().map(|reason| format!(" {}", reason.cause)).collect::<String>();
    match request {
        ToAgent::Invite(invite) => format!("INVITE {}{}", invite.to, with_sdp(invite.sdp.as_ref())),
        ToAgent::Respond { response: said, .. } => response(said),
        ToAgent::Cancel { reason, .. } => format!("CANCEL{}", causes(reason)),
        ToAgent::Bye { reason, .. } => format!("BYE{}", causes(reason)),
        ToAgent::Reinvite { .. } => "re-INVITE".into(),
        ToAgent::Update { .. } => "UPDATE".into(),
        ToAgent::Ack { .. } => "ACK".into(),
        ToAgent::Info { content_type, .. } => format!("INFO {content_type}"),
        ToAgent::Refer { refer_to, replaces, .. } => {
            format!("REFER {refer_to}{}", if replaces.is_some() { " replacing" } else { "" })
        }
        ToAgent::Notify { status, terminated, .. } => {
            format!("NOTIFY {status}{}", if *terminated { " last" } else { "" })
        }
        ToAgent::RespondInDialog { response: said, .. } => format!("in dialog {}", response(said)),
    }
}

/// A command in one or two words.
pub(crate) fn word(command: &Command) -> String {
    let leg = |leg: &LegId| if *leg == JINGLE { "jingle" } else { "sip" };
    match command {
        Command::CreateCall { .. } => "create".into(),
        Command::RemoteOffer { leg: of, .. } => format!("take-offer {}", leg(of)),
        Command::LocalAnswer { leg: of, .. } => format!("give-answer {}", leg(of)),
        Command::LocalOffer { leg: of, .. } => format!("give-offer {}", leg(of)),
        Command::RemoteAnswer { leg: of, .. } => format!("take-answer {}", leg(of)),
        Command::Rollback { leg: of, .. } => format!("rollback {}", leg(of)),
        Command::AddCandidates { leg: of, .. } => format!("candidates {}", leg(of)),
        Command::RestartIce { leg: of, .. } => format!("restart {}", leg(of)),
        Command::Hold { leg: of, direction, .. } => format!("hold {} {direction:?}", leg(of)),
        Command::Mute { leg: of, mute, .. } => format!("mute {} {mute:?}", leg(of)),
        Command::RemoveStream { .. } => "remove-stream".into(),
        Command::SendDtmf { leg: of, digit, .. } => format!("dtmf {} {}", leg(of), char::from(*digit)),
        Command::Query { .. } => "query".into(),
        Command::RequestPicture { leg: of, .. } => format!("picture {}", leg(of)),
        Command::Renew { leg: of, .. } => format!("renew {}", leg(of)),
        Command::End { .. } => "end".into(),
    }
}

// What the two sides say.

/// A content as a browser has it, with these formats.
pub(crate) fn content(formats: &str) -> String {
    content_with(formats, "actpass")
}

pub(crate) fn content_with(formats: &str, setup: &str) -> String {
    content_of("initiator", "0", "audio", formats, setup)
}

/// A content of any name and medium.
pub(crate) fn content_of(creator: &str, name: &str, media: &str, formats: &str, setup: &str) -> String {
    format!(
        "<content creator='{creator}' name='{name}' senders='both'>\
         <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='{media}'>{formats}<rtcp-mux/></description>\
         <transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='clientufrag' pwd='client-password-0123456789'>\
         <fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256' setup='{setup}'>{}</fingerprint>\
         <candidate component='1' foundation='1' generation='0' id='c1' ip='192.0.2.50' network='0' port='5000' \
         priority='2130706431' protocol='udp' type='host'/></transport></content>",
        ["C1:1E:17:00"; 8].join(":")
    )
}

pub(crate) const OPUS: &str = "<payload-type id='111' name='opus' clockrate='48000' channels='2'/>";
pub(crate) const PCMU: &str = "<payload-type id='0' name='PCMU' clockrate='8000'/>";
pub(crate) const PCMA: &str = "<payload-type id='8' name='PCMA' clockrate='8000'/>";
pub(crate) const EVENTS: &str = "<payload-type id='126' name='telephone-event' clockrate='8000'/>";
pub(crate) const AUDIO: &str = "<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/>";

/// What a browser offers.
pub(crate) fn browser() -> String {
    content(&[OPUS, PCMU, PCMA, EVENTS].concat())
}

pub(crate) const VP8: &str = "<payload-type id='96' name='VP8' clockrate='90000'/>";

/// What a phone says, with these formats and lines.
pub(crate) fn sdp(formats: &str, lines: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 203.0.113.9\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\n\
         m=audio 7000 RTP/AVP {formats}\r\na=rtpmap:101 telephone-event/8000\r\n{lines}"
    )
}

/// What a phone usually says.
pub(crate) fn phone() -> String {
    sdp("8 0 101", "")
}

pub(crate) fn invite(sdp: Option<String>) -> FromAgent {
    invite_from(Some("phones"), "sip:100@127.0.0.1:5081", "sip:alice@127.0.0.1:5060", sdp)
}

pub(crate) fn invite_from(trunk: Option<&str>, from: &str, to: &str, sdp: Option<String>) -> FromAgent {
    FromAgent::Invite(IncomingInvite {
        dialog: THEIRS,
        trunk: trunk.map(str::to_owned),
        source: SocketAddr::from(([127, 0, 0, 1], 5081)),
        request_uri: to.into(),
        from: from.into(),
        from_display: None,
        asserted_identity: None,
        sdp,
        max_forwards: 70,
        sip_call_id: "call@phone".into(),
        private: false,
        replaces: None,
        referred_by: None,
        peer: PeerSupport::default(),
    })
}

pub(crate) fn provisional(status: u16) -> FromAgent {
    FromAgent::Provisional { dialog: OURS, status, to_tag: "t".into(), reliable: false, sdp: None }
}

pub(crate) fn answered(sdp: String) -> FromAgent {
    answered_with(Some(sdp))
}

pub(crate) fn answered_with(sdp: Option<String>) -> FromAgent {
    FromAgent::Answered { dialog: OURS, to_tag: "t".into(), sdp, peer: PeerSupport::default() }
}

pub(crate) fn failed(status: u16) -> FromAgent {
    FromAgent::Failed { dialog: OURS, failure: failure(status) }
}

pub(crate) fn failure(status: u16) -> Failure {
    Failure { status, phrase: "No".into(), local: false, reason: Vec::new(), contacts: Vec::new(), retry_after: None }
}

impl World {
    /// A call of Alice to the phone, up to the answer, in the default mode.
    pub(crate) fn call_from_xmpp(&mut self) {
        self.sid = "session-1".into();
        self.message("propose", AUDIO);
        self.sip(provisional(180));
        self.sip(answered(phone()));
        self.jingle("session-initiate", &browser());
        self.answer_all();
    }

    /// A call of the phone to Alice, up to the answer.
    pub(crate) fn call_from_sip(&mut self) {
        self.sip(invite(Some(phone())));
        self.message("ringing", "");
        self.message("proceed", "");
        self.answer_all();
        self.jingle("session-accept", &content_with(&[PCMU, PCMA, EVENTS].concat(), "active"));
        self.answer_all();
        self.sip(FromAgent::Acknowledged { dialog: THEIRS, sdp: None });
    }
}
