//! The channel's client without its process: commands out, replies in.

use std::collections::{HashMap, VecDeque};

use model::{
    CallId, Command, CommandError, Description, FromRelay, IceRole, Learning, LegId, LegPolicy, PathPolicy, Reply,
    Request, RequestId, Security, SrtpSuite, ToRelay,
};

use crate::trial::plan::MediaSecurity;
use crate::trial::target::calls::Told;
use crate::trial::target::{CallNumber, Ends, TargetError};

const FIRST: LegId = LegId(0);
const SECOND: LegId = LegId(1);

/// All commands on their way.
///
/// After any call, drain [`Client::poll_transmit`] and [`Client::poll`].
pub(super) struct Client {
    legs: [LegPolicy; 2],
    next: u64,
    commands: HashMap<RequestId, (CallNumber, Step)>,
    transmits: VecDeque<ToRelay>,
    told: VecDeque<(CallNumber, Told)>,
}

/// What a command is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// Others that follow it at once will tell.
    Prelude,
    Offer,
    Answer,
    End,
}

impl Client {
    /// Makes a client whose calls have such legs.
    pub(super) fn new(ends: &Ends) -> Self {
        Self {
            legs: [policy(FIRST, ends.media, ends.ice), policy(SECOND, MediaSecurity::Rtp, false)],
            next: 0,
            commands: HashMap::new(),
            transmits: VecDeque::new(),
            told: VecDeque::new(),
        }
    }

    /// Begins a call with what the first end offers.
    pub(super) fn offer(&mut self, number: CallNumber, offer: &Description) {
        let call = CallId::from(u64::from(number.0));
        self.send(number, Step::Prelude, Command::CreateCall { call, legs: self.legs.to_vec() });
        self.send(number, Step::Prelude, Command::RemoteOffer { call, leg: FIRST, offer: offer.clone() });
        self.send(number, Step::Offer, Command::LocalOffer { call, leg: SECOND, offer: offer.clone() });
    }

    /// Goes on with what the second end answers.
    pub(super) fn answer(&mut self, number: CallNumber, answer: &Description) {
        let call = CallId::from(u64::from(number.0));
        self.send(number, Step::Prelude, Command::RemoteAnswer { call, leg: SECOND, answer: answer.clone() });
        self.send(number, Step::Answer, Command::LocalAnswer { call, leg: FIRST, answer: answer.clone() });
    }

    /// Ends a call. What was asked of it before tells nothing more.
    pub(super) fn end(&mut self, number: CallNumber) {
        self.forget(number);
        self.send(number, Step::End, Command::End { call: CallId::from(u64::from(number.0)) });
    }

    fn forget(&mut self, number: CallNumber) {
        self.commands.retain(|_, (call, _)| *call != number);
    }

    fn send(&mut self, number: CallNumber, step: Step, command: Command) {
        let id = RequestId(self.next);
        self.next += 1;
        self.commands.insert(id, (number, step));
        self.transmits.push_back(ToRelay::Command(Request { id, command }));
    }

    /// Takes what the relay says. Its news is not needed: the ends see for themselves.
    pub(super) fn handle(&mut self, told: FromRelay) {
        let FromRelay::Reply { id, outcome } = told else { return };
        let Some((number, step)) = self.commands.remove(&id) else { return };
        let told = match (step, outcome) {
            (Step::Prelude, Ok(_)) => return,
            (Step::Offer, Ok(Reply::Local(offer))) => Told::Offer(offer),
            (Step::Answer, Ok(Reply::Local(answer))) => Told::Answer(answer),
            (Step::End, Ok(_) | Err(CommandError::UnknownCall)) => Told::Ended,
            (Step::Offer | Step::Answer, Ok(_)) => refused(number, step, &"the reply has no description"),
            (_, Err(error)) => {
                self.forget(number);
                refused(number, step, &error)
            }
        };
        self.told.push_back((number, told));
    }

    /// The next message to send.
    pub(super) fn poll_transmit(&mut self) -> Option<ToRelay> {
        self.transmits.pop_front()
    }

    /// What the relay said next.
    pub(super) fn poll(&mut self) -> Option<(CallNumber, Told)> {
        self.told.pop_front()
    }
}

fn refused(number: CallNumber, step: Step, why: &dyn std::fmt::Display) -> Told {
    Told::Refused(TargetError::Refused(format!("{step:?} of call {}: {why}", number.0)))
}

/// What the relay is to expect of an end.
fn policy(leg: LegId, media: MediaSecurity, ice: bool) -> LegPolicy {
    let (security, suites) = match media {
        MediaSecurity::Rtp => (Security::Rtp, SrtpSuite::USUAL.to_vec()),
        MediaSecurity::SdesCm80 => (Security::Sdes, vec![SrtpSuite::AesCm128Sha1_80]),
        MediaSecurity::SdesGcm => (Security::Sdes, vec![SrtpSuite::AeadAes128Gcm]),
        MediaSecurity::Dtls => (Security::Dtls, SrtpSuite::USUAL.to_vec()),
    };
    let path = if ice {
        PathPolicy::Ice { role: IceRole::Offerer, required: true }
    } else {
        PathPolicy::Plain { learning: Learning::Off }
    };
    LegPolicy { path, security: vec![security], suites, ..LegPolicy::jingle(leg) }
}
