//! Anything at any moment: nothing panics, every IQ is answered once, both sides hear the end once, and nothing is left.

use std::time::Duration;

use model::{CommandError, Component, DtlsState, IceState, News, StreamId};
use proptest::prelude::*;
use signaling::{Config, JmiMode, RouteRow, RouteTable, Trunk};
use sip::message::{DialogId, FromAgent, InDialogId, IncomingInvite, PeerSupport, Replaced, ToAgent};
use sip::transfer::ReferTo;

use crate::world::*;

/// An input, good or bad at the moment it comes.
#[derive(Clone, Debug)]
enum Input {
    Message(&'static str),
    Jingle(&'static str, usize),
    AnswerIq(bool),
    Provisional(u16, bool),
    Answered(usize),
    Failed(u16),
    Invite(usize),
    Acknowledged(bool),
    Cancelled(bool),
    Ended(bool),
    Reinvited(bool, usize),
    ReinviteAnswered(bool, usize),
    ReinviteFailed(bool, u16),
    Info(bool),
    Refer(bool),
    Target(usize),
    TakeOver,
    Progress(u16),
    News(usize),
    RelayFails(&'static str),
    RelayAnswers,
    Late(bool),
    Link(bool),
    Wait(u64),
}

const WORDS: [&str; 7] = ["propose", "ringing", "proceed", "accept", "reject", "retract", "finish"];
const ACTIONS: [&str; 15] = [
    "content-accept",
    "content-add",
    "content-modify",
    "content-reject",
    "content-remove",
    "description-info",
    "security-info",
    "session-accept",
    "session-info",
    "session-initiate",
    "session-terminate",
    "transport-accept",
    "transport-info",
    "transport-reject",
    "transport-replace",
];
const COMMANDS: [&str; 10] = [
    "create",
    "take-offer sip",
    "take-offer jingle",
    "give-answer sip",
    "give-answer jingle",
    "give-offer sip",
    "give-offer jingle",
    "take-answer sip",
    "take-answer jingle",
    "restart jingle",
];

fn inside(number: usize) -> String {
    match number {
        0 => String::new(),
        1 => browser(),
        2 => content_with(PCMU, "active"),
        3 => content(OPUS),
        4 => "<content creator='initiator' name='0' senders='none'/>".into(),
        5 => "<hold xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>".into(),
        6 => "<ringing xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>".into(),
        7 => browser().replace("clientufrag", "clientufrag2"),
        8 => content_of("initiator", "camera", "video", VP8, "actpass"),
        9 => content_of("initiator", "1", "video", VP8, "active"),
        10 => "<content creator='initiator' name='camera' senders='initiator'/>".into(),
        11 => "<dtmf xmlns='urn:xmpp:jingle:dtmf:0' code='7' action='button-down'/>".into(),
        _ => "<content creator='initiator' name='9'/>".into(),
    }
}

fn body(number: usize) -> Option<String> {
    match number {
        0 => None,
        1 => Some(phone()),
        2 => Some(sdp("0 101", "a=sendonly\r\n")),
        3 => Some(sdp("9", "")),
        4 => Some(phone().replace("m=audio 7000", "m=audio 0")),
        5 => Some(phone() + "m=video 7100 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n"),
        6 => Some(phone() + "m=video 0 RTP/AVP 96\r\n"),
        _ => Some("garbage".into()),
    }
}

fn news(number: usize) -> News {
    let (leg, stream, component) = (JINGLE, StreamId(0), Component::Rtp);
    match number {
        0 => News::Ice { leg, stream, component, state: IceState::Failed },
        1 => News::Ice { leg, stream, component, state: IceState::Connected },
        2 => News::Dtls { leg, stream, component, state: DtlsState::Failed },
        3 => News::ConsentLost { leg, stream },
        4 => News::MediaTimeout { leg: SIP },
        5 => News::Candidate { leg, stream, candidate: candidate() },
        6 => News::Dtmf { leg, digit: '5'.try_into().expect("a key"), duration_ms: 100 },
        _ => News::Lost,
    }
}

fn input() -> impl Strategy<Value = Input> {
    let status = prop::sample::select(vec![180_u16, 183, 199]);
    let failure = prop::sample::select(vec![302_u16, 408, 480, 481, 486, 487, 488, 491, 503, 603]);
    let ours = any::<bool>();
    prop_oneof![
        6 => prop::sample::select(WORDS.to_vec()).prop_map(Input::Message),
        10 => (prop::sample::select(ACTIONS.to_vec()), 0_usize..9).prop_map(|(action, inside)| Input::Jingle(action, inside)),
        4 => prop::bool::weighted(0.9).prop_map(Input::AnswerIq),
        2 => (status, any::<bool>()).prop_map(|(status, reliable)| Input::Provisional(status, reliable)),
        4 => (0_usize..8).prop_map(Input::Answered),
        1 => failure.clone().prop_map(Input::Failed),
        4 => (0_usize..8).prop_map(Input::Invite),
        2 => any::<bool>().prop_map(Input::Acknowledged),
        1 => ours.prop_map(Input::Cancelled),
        1 => any::<bool>().prop_map(Input::Ended),
        3 => (any::<bool>(), 0_usize..8).prop_map(|(ours, body)| Input::Reinvited(ours, body)),
        2 => (any::<bool>(), 0_usize..8).prop_map(|(ours, body)| Input::ReinviteAnswered(ours, body)),
        1 => (any::<bool>(), failure).prop_map(|(ours, status)| Input::ReinviteFailed(ours, status)),
        1 => any::<bool>().prop_map(Input::Info),
        2 => any::<bool>().prop_map(Input::Refer),
        2 => (0_usize..5).prop_map(Input::Target),
        1 => Just(Input::TakeOver),
        1 => prop::sample::select(vec![100_u16, 180, 200, 202, 486]).prop_map(Input::Progress),
        1 => (0_usize..8).prop_map(Input::News),
        1 => prop::sample::select(COMMANDS.to_vec()).prop_map(Input::RelayFails),
        3 => Just(Input::RelayAnswers),
        1 => any::<bool>().prop_map(Input::Late),
        1 => any::<bool>().prop_map(Input::Link),
        2 => (0_u64..30).prop_map(Input::Wait),
    ]
}

/// The dialog of the last call we made, or of theirs.
fn dialog(world: &World, ours: bool) -> DialogId {
    let invited = |action: &ToAgent| if let ToAgent::Invite(invite) = action { Some(invite.dialog) } else { None };
    let last = world.sip_actions.iter().rev().find_map(invited);
    if ours { last.unwrap_or(OURS) } else { THEIRS }
}

fn feed(world: &mut World, input: &Input) -> Vec<String> {
    match input {
        Input::Message(verb) => {
            if world.sid.is_empty() {
                world.sid = "session-1".into();
            }
            world.message(verb, if *verb == "propose" { AUDIO } else { "" })
        }
        Input::Jingle(action, number) => {
            if world.sid.is_empty() {
                world.sid = "session-1".into();
            }
            world.jingle(action, &inside(*number))
        }
        Input::AnswerIq(well) if !world.iqs.is_empty() => {
            world.answer_iq(if *well { None } else { Some("service-unavailable") })
        }
        Input::AnswerIq(_) => Vec::new(),
        Input::Provisional(status, reliable) => world.sip(FromAgent::Provisional {
            dialog: dialog(world, true),
            status: *status,
            to_tag: "t".into(),
            reliable: *reliable,
            sdp: if *status == 183 { Some(phone()) } else { None },
        }),
        Input::Answered(number) => {
            let (dialog, peer) = (dialog(world, true), PeerSupport::default());
            world.sip(FromAgent::Answered { dialog, to_tag: "t".into(), sdp: body(*number), peer })
        }
        Input::Failed(status) => {
            let (dialog, failure) = (dialog(world, true), failure(*status));
            world.sip(FromAgent::Failed { dialog, failure })
        }
        // The agent gives each call a number of its own.
        Input::Invite(_) if !world.translator.is_idle() => Vec::new(),
        Input::Invite(number) => world.sip(invite(body(*number))),
        Input::Acknowledged(with) => world.sip(FromAgent::Acknowledged { dialog: THEIRS, sdp: with.then(phone) }),
        Input::Cancelled(ours) => world.sip(FromAgent::Cancelled { dialog: dialog(world, *ours), reason: Vec::new() }),
        Input::Ended(ours) => world.sip(FromAgent::Ended { dialog: dialog(world, *ours), reason: Vec::new() }),
        Input::Reinvited(ours, number) => {
            let (dialog, request) = (dialog(world, *ours), InDialogId(5));
            world.sip(FromAgent::Reinvited { dialog, request, sdp: body(*number) })
        }
        Input::ReinviteAnswered(ours, number) => {
            world.sip(FromAgent::ReinviteAnswered { dialog: dialog(world, *ours), sdp: body(*number) })
        }
        Input::ReinviteFailed(ours, status) => {
            world.sip(FromAgent::ReinviteFailed { dialog: dialog(world, *ours), failure: failure(*status) })
        }
        Input::Info(ours) => world.sip(FromAgent::Info {
            dialog: dialog(world, *ours),
            request: InDialogId(6),
            content_type: "application/dtmf".into(),
            body: b"5".to_vec(),
        }),
        Input::Refer(ours) => world.sip(FromAgent::Refer {
            dialog: dialog(world, *ours),
            request: InDialogId(8),
            refer_to: ReferTo::parse("sip:200@127.0.0.1:5081").expect("a target"),
            replaced: None,
            referred_by: None,
        }),
        Input::Target(number) => {
            // The last dialog of ours that was begun, whichever it is for.
            let invites = world.sip_actions.iter().rev();
            let last =
                invites.filter_map(|action| if let ToAgent::Invite(invite) = action { Some(invite) } else { None });
            let Some(dialog) = last.map(|invite| invite.dialog).next() else { return Vec::new() };
            world.sip(match number {
                0 => FromAgent::Provisional { dialog, status: 180, to_tag: "t".into(), reliable: false, sdp: None },
                1 => {
                    FromAgent::Answered { dialog, to_tag: "t".into(), sdp: Some(phone()), peer: PeerSupport::default() }
                }
                2 => FromAgent::Failed { dialog, failure: failure(486) },
                3 => FromAgent::Failed { dialog, failure: failure(503) },
                _ => FromAgent::Ended { dialog, reason: Vec::new() },
            })
        }
        Input::TakeOver => {
            let FromAgent::Invite(invite) = invite(Some(phone())) else { return Vec::new() };
            let (dialog, replaces) = (DialogId(7), Some(Replaced { dialog: THEIRS, early_only: false }));
            // The agent gives each call a number of its own.
            match world.taken_over {
                true => Vec::new(),
                false => {
                    world.taken_over = true;
                    world.sip(FromAgent::Invite(IncomingInvite { dialog, replaces, ..invite }))
                }
            }
        }
        Input::Progress(status) => {
            let (status, finished) = (*status, *status >= 200 && *status != 202);
            world.sip(FromAgent::ReferProgress { dialog: THEIRS, status, finished })
        }
        Input::News(number) if world.call.is_some() => world.news(news(*number)),
        Input::News(_) => Vec::new(),
        Input::RelayFails(command) => {
            world.failures.insert((*command).into(), CommandError::NoFreePort);
            Vec::new()
        }
        Input::RelayAnswers => world.relay_answers(),
        Input::Late(late) => {
            world.mode = if *late { RelayMode::Late } else { RelayMode::Instant };
            world.finish()
        }
        Input::Link(up) => {
            world.translator.handle_xmpp_link(*up, world.now);
            world.finish()
        }
        Input::Wait(seconds) => world.pass(Duration::from_secs(*seconds)),
    }
}

/// Of every call, the relay is told the end once.
fn check_ends(lines: &[String]) {
    let created = lines.iter().filter(|line| *line == "relay create").count();
    let ended = lines.iter().filter(|line| *line == "relay end").count();
    assert_eq!(created, ended, "{lines:#?}");
}

/// No dialog of ours is ended twice. (A BYE without a reason answers a 2xx that nobody waits for any more.)
fn check_dialogs(world: &World) {
    let mut ended = Vec::new();
    for action in &world.sip_actions {
        if let ToAgent::Cancel { dialog, .. } | ToAgent::Bye { dialog, .. } = action
            && !matches!(action, ToAgent::Bye { reason, .. } if reason.is_empty())
            && *dialog != THEIRS
        {
            assert!(!ended.contains(dialog), "{:#?}", world.sip_actions);
            ended.push(*dialog);
        }
    }
}

/// With another trunk for when the first is out of reach.
fn with_backup() -> Config {
    let both = vec!["trunk:phones/{1}".into(), "trunk:backup/{1}".into()];
    let rows =
        [RouteRow { to: both, ..row("xmpp", r"(\+?[0-9]+)", "") }, row("trunk:phones", "(.+)", "xmpp:{1}@localhost")];
    let mut config = config();
    config.routes = RouteTable::new(&rows, &["phones", "backup"]).expect("the rows are right");
    let backup = Trunk { max_calls: 1, ..config.trunks["phones"].clone() };
    config.trunks.insert("backup".into(), backup);
    config
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn nothing_panics_and_nothing_is_left(
        inputs in prop::collection::vec(input(), 1..60),
        jmi in prop::sample::select(vec![JmiMode::OnAnswer, JmiMode::EarlyProceed, JmiMode::EarlyAccept]),
        video in any::<bool>(),
        stop in any::<bool>(),
        backup in any::<bool>(),
    ) {
        let base = if backup { with_backup() } else { config() };
        let mut world = World::with(Config { jmi, video, ..base });
        let mut lines = Vec::new();
        for input in &inputs {
            lines.extend(feed(&mut world, input));
        }
        if !stop {
            // Only calls that were answered may last.
            lines.extend(world.relay_answers());
            lines.extend(world.pass(Duration::from_secs(400)));
            let counters = world.translator.counters();
            prop_assert_eq!(counters.from_xmpp.half_open + counters.from_sip.half_open, 0, "{:#?}", lines);
        }
        world.translator.stop(world.now);
        lines.extend(world.finish());
        lines.extend(world.relay_answers());
        prop_assert!(world.translator.is_idle());
        check_ends(&lines);
        check_dialogs(&world);
        let counters = world.translator.counters();
        for counters in [&counters.from_xmpp, &counters.from_sip] {
            let over: u64 = counters.failed.values().chain(counters.ended.values()).sum();
            prop_assert_eq!((counters.active, counters.half_open, over), (0, 0, counters.started));
        }
        let started = counters.from_xmpp.started + counters.from_sip.started;
        world.pass(Duration::from_secs(100));
        prop_assert_eq!(world.translator.poll_timeout(), None);
        prop_assert!(!world.translator.owes_records());
        prop_assert_eq!(world.records.len() as u64, started, "each is on record once");
    }
}
